//! What a step does to the world, and the rules that no step may break.

use super::super::*;
use super::world::{Certificate, Draining, Good, HOSTS, Hours, Table, Taken, Wait, World, number};

/// How a step ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is done, and its reply comes.
    Done,
    /// Nothing is done.
    Failed,
    /// It is done, and its reply is lost.
    Lost,
    /// The reply says that it is done, and nothing follows.
    Hollow,
}

impl World {
    /// The ends that a step can have; the first is what should be.
    pub(super) fn ends(step: &Step) -> &'static [End] {
        match step {
            Step::Idle { .. } => &[],
            Step::LetGo(_) | Step::Rollback(_) => &[End::Done, End::Failed, End::Lost, End::Hollow],
            Step::Renew { .. } | Step::Take(_) | Step::Amend(_) | Step::Cordon | Step::Uncordon | Step::Free => {
                &[End::Done, End::Failed]
            }
            _ => &[End::Done],
        }
    }

    /// Host `at` carries out what it decided.
    pub(super) fn carry(&self, at: usize, step: &Step, end: End) -> Self {
        let mut world = *self;
        let is_done = end != End::Failed;
        // What only memory and disk of the host know of.
        let host = &mut world.hosts[at];
        match step {
            Step::Take(_) => host.given_up = Wait::No,
            Step::LetGo(cause) => {
                let next = match cause {
                    Cause::Update(release) => Some(number(release)),
                    _ if self.eager => host.staged,
                    _ => None,
                };
                host.go(next, end);
            }
            Step::Rollback(_) => {
                let before = self.sees(at).map(|taken| taken.from);
                host.go(before, end);
            }
            Step::Renew { .. } if is_done => (host.certificate, host.refused) = (Certificate::Long, false),
            Step::Renew { .. } => host.refused = true,
            Step::Drain { .. } => host.drain = Draining::Running,
            Step::StopDrain => host.drain = Draining::No,
            Step::RememberBad(release) => host.bad |= 1 << number(release),
            Step::GiveUp(_) => (host.given_up, host.let_go) = (Wait::On, None),
            Step::ClearServed => {
                let boot = host.boot;
                host.request = host.request.filter(|of| *of == boot);
                host.force = host.force.filter(|of| *of == boot);
                let is_held = self.table[at].is_some();
                host.free = host.free.filter(|of| *of == boot && is_held);
            }
            _ => {}
        }
        if !self.api || !is_done {
            return world;
        }
        match step {
            Step::Take(entry) | Step::Amend(entry) => {
                let mut table = world.table;
                table[at] = Some(Taken::of(entry));
                // The admission policy.
                if table.iter().flatten().count() <= usize::from(self.limit) {
                    world.wrote(at, table);
                }
            }
            Step::Free => {
                let mut table = world.table;
                table[at] = None;
                world.wrote(at, table);
            }
            Step::Cordon => (world.hosts[at].unschedulable, world.hosts[at].ours) = (true, Some(self.hosts[at].boot)),
            Step::Uncordon => (world.hosts[at].unschedulable, world.hosts[at].ours) = (false, None),
            _ => {}
        }
        world
    }

    /// What host `at` sees of its own slot.
    fn sees(&self, at: usize) -> Option<Taken> {
        self.hosts[at].lags.unwrap_or(self.table)[at]
    }

    /// Host `at` sees its own writes.
    fn wrote(&mut self, at: usize, table: Table) {
        self.table = table;
        self.hosts[at].lags = None;
    }

    /// What the step of host `at` breaks, if anything.
    pub(super) fn broken(&self, at: usize, decision: &Decision) -> Option<&'static str> {
        let host = &self.hosts[at];
        let taken = self.table[at];
        let sees = self.sees(at);
        let forced = host.force == Some(host.boot);
        let rule = |holds: bool, name: &'static str| (!holds).then_some(name);
        let lets_go = matches!(decision.step, Step::LetGo(_) | Step::Rollback(_));
        let gives_up = matches!(decision.step, Step::GiveUp(_));
        let is_free = lets_go || host.let_go.is_some() && !gives_up || host.shutting;
        rule((decision.lock == HostLock::Released) == is_free, "the block lock is held except when the host is let go")
            .or_else(|| match &decision.step {
                Step::LetGo(cause) => rule(host.bad & cause_bit(cause) == 0, "a bad release is never taken again")
                    .or_else(|| rule(forced || self.hours != Hours::Closed, "no reboot without a window"))
                    .or_else(|| {
                        let mine = sees.is_some_and(|taken| taken.boot == host.boot);
                        rule(forced || mine, "no reboot without a slot")
                    })
                    .or_else(|| rule(forced || host.good != Good::Lacking, "no reboot without health"))
                    .or_else(|| rule(forced || host.certificate == Certificate::Long, "no reboot without certificate"))
                    .or_else(|| rule(forced || !host.hold, "no reboot against a hold"))
                    .or_else(|| {
                        let emptied = host.unschedulable && host.drain == Draining::Done;
                        rule(forced || emptied, "no reboot before the drain")
                    })
                    .or_else(|| {
                        let wanted = host.staged.is_some() || host.request.is_some();
                        rule(forced || wanted, "no reboot that nobody wants")
                    }),
                Step::Rollback(bad) => {
                    let for_it = sees.is_some_and(|taken| taken.wanted == Some(number(bad)));
                    let bad_here = host.runs == number(bad) && host.good == Good::Lacking && host.late;
                    rule(self.rollback && for_it && bad_here, "only what never got good is rolled back")
                        .or_else(|| rule(host.bad & 1 << number(bad) != 0, "what is rolled back is remembered"))
                        .or_else(|| rule(!host.hold, "no rollback against a hold"))
                }
                Step::Take(entry) => {
                    let bit = entry.wanted.as_ref().map_or(0, |release| 1 << number(release));
                    rule(host.bad & bit == 0, "no slot for a bad release")
                        .or_else(|| rule(forced || host.good != Good::Lacking, "no slot for a host that is not good"))
                        .or_else(|| rule(forced || self.hours == Hours::Open, "no slot outside a window"))
                        .or_else(|| rule(forced || !host.hold, "no slot against a hold"))
                }
                Step::Free => {
                    let word = host.free == Some(host.boot);
                    let over = taken.is_none_or(|taken| taken.boot == host.boot) || host.good == Good::Passed;
                    rule(word || host.good != Good::Lacking && over, "no slot is freed by a host that is not good")
                        .or_else(|| {
                            rule(
                                host.coming.is_none() || !host.away,
                                "no slot is freed by a host that may still reboot",
                            )
                        })
                        .or_else(|| rule(word || host.ours.is_none(), "what was cordoned is uncordoned before"))
                        .or_else(|| rule(host.drain == Draining::No, "what was begun is stopped before"))
                        .or_else(|| {
                            let fell_back = taken.is_some_and(|taken| {
                                taken.boot != host.boot
                                    && taken.let_go.is_some()
                                    && taken.wanted.is_some_and(|wanted| wanted != host.runs)
                                    && taken.from == host.runs
                            });
                            rule(word || !fell_back, "a release that did not come up keeps its slot")
                        })
                }
                Step::Cordon => rule(!host.unschedulable, "who is cordoned is not cordoned again"),
                Step::Uncordon => rule(host.ours.is_some(), "an admin's cordon stays"),
                _ => None,
            })
    }

    /// What is wrong with the world as it is.
    pub(super) fn wrong(&self) -> Option<&'static str> {
        if self.holders() > usize::from(self.limit) {
            return Some("never more holders than slots");
        }
        (0..HOSTS).find_map(|at| {
            let host = &self.hosts[at];
            let forced = host.force.is_some();
            let alone = host.away && self.table[at].is_none() && !forced;
            alone.then_some("a host that was let go keeps its slot until its reboot is over")
        })
    }

    /// What a host has left to do, when it should have nothing left.
    pub(super) fn left_over(&self, at: usize) -> Option<&'static str> {
        let host = &self.hosts[at];
        let wants = host.staged.is_some_and(|staged| staged != host.runs && host.bad & (1 << staged) == 0);
        let asked = host.request == Some(host.boot) || host.force == Some(host.boot);
        [
            (self.table[at].is_some(), "a slot"),
            (host.ours.is_some(), "a cordon"),
            (host.drain != Draining::No, "a drain"),
            (host.let_go.is_some() || host.coming.is_some(), "a reboot that was asked for"),
            (wants || asked, "a reboot that is wanted"),
        ]
        .into_iter()
        .find_map(|(left, name)| left.then_some(name))
    }
}

fn cause_bit(cause: &Cause) -> u8 {
    match cause {
        Cause::Update(release) => 1 << number(release),
        _ => 0,
    }
}

impl super::world::Host {
    fn go(&mut self, next: Option<u8>, end: End) {
        self.let_go = Some((0, matches!(end, End::Done | End::Hollow)));
        if matches!(end, End::Done | End::Lost) {
            self.coming = Some(2);
            self.next = next;
            self.away = true;
        }
    }
}
