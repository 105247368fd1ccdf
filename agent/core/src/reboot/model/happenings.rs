//! What can happen to the cluster beside the steps of its agents: time, people, faults.

use super::world::{Certificate, Draining, Good, Host, Hours, Wait, World};

/// An older let-go than this many ticks says nothing any more.
const LONG_AGO: u8 = 4;

impl World {
    fn with(&self, at: usize, change: impl FnOnce(&mut Host)) -> Self {
        let mut world = *self;
        change(&mut world.hosts[at]);
        world
    }

    /// The same with one fault less to come.
    pub(super) fn faulty(mut self) -> Self {
        self.faults -= 1;
        self
    }

    /// What comes by itself: time goes on, a reboot comes, what was away is back.
    pub(super) fn nature(&self) -> Vec<(&'static str, Self)> {
        let mut all = Vec::new();
        for at in self.indices() {
            self.nature_of(at, &mut all);
        }
        if !self.api {
            all.push(("the API server is back", Self { api: true, ..*self }));
        }
        if self.hours != Hours::Open {
            all.push(("the window opens", Self { hours: Hours::Open, ..*self }));
        }
        all
    }

    /// The same for one host.
    pub(super) fn nature_of(&self, at: usize, all: &mut Vec<(&'static str, Self)>) {
        let host = &self.hosts[at];
        if !host.up {
            all.push(("it boots", self.boots(at, host.next)));
            return;
        }
        if host.shutting {
            all.push(("the boot ends", self.with(at, |host| host.up = false)));
            return;
        }
        if host.coming.is_some() {
            all.push(("the shutdown begins", self.with(at, |host| (host.shutting, host.coming) = (true, None))));
        }
        if let Some(world) = self.tick(at) {
            all.push(("half a minute passes", world));
        }
        match host.good {
            // Nobody is kept from getting good but by a release that never does.
            Good::Lacking if self.sick & (1 << host.runs) == 0 => {
                all.push(("all is good", self.with(at, |host| (host.good, host.late) = (Good::Fresh, false))));
            }
            Good::Lacking if !host.late => {
                all.push(("it takes too long to get good", self.with(at, |host| host.late = true)));
            }
            Good::Fresh => all.push(("it stays good", self.with(at, |host| host.good = Good::Passed))),
            _ => {}
        }
        if host.drain == Draining::Running {
            all.push(("the drain ends", self.with(at, |host| host.drain = Draining::Done)));
        }
        if host.given_up == Wait::On {
            all.push(("the wait is over", self.with(at, |host| host.given_up = Wait::Over)));
        }
        if host.force.is_some() && !host.force_late {
            all.push(("the force's deadline passes", self.with(at, |host| host.force_late = true)));
        }
        if host.staged.is_none() && host.runs != self.newest {
            all.push(("a release is staged", self.with(at, |host| host.staged = Some(self.newest))));
        }
        if host.hold {
            all.push(("the hold is released", self.with(at, |host| host.hold = false)));
        }
        if !host.asked {
            all.push(("the OS answers again", self.with(at, |host| host.asked = true)));
        }
        if host.certificate == Certificate::Unknown {
            all.push(("the certificate is there", self.with(at, |host| host.certificate = Certificate::Long)));
        }
        if host.refused {
            all.push(("a renewal can be asked for again", self.with(at, |host| host.refused = false)));
        }
        if host.lags.is_some() {
            all.push(("it sees the table as it is", self.with(at, |host| host.lags = None)));
        }
        if host.unschedulable && host.ours.is_none() {
            all.push(("an admin uncordons it", self.with(at, |host| host.unschedulable = false)));
        }
    }

    /// Half a minute passes for what counts in it; a reboot that was accepted has come by then.
    fn tick(&self, at: usize) -> Option<Self> {
        let host = &self.hosts[at];
        let since = self.table[at].and_then(|taken| taken.let_go);
        let counts = host.let_go.is_some_and(|(ticks, _)| ticks < 2) || since.is_some_and(|ticks| ticks < LONG_AGO);
        if host.coming == Some(1) || !counts && host.coming.is_none() {
            return None;
        }
        let mut world = self.with(at, |host| {
            host.let_go = host.let_go.map(|(ticks, yes)| ((ticks + 1).min(2), yes));
            host.coming = host.coming.map(|left| left - 1);
        });
        let aged = |taken: &mut Option<super::world::Taken>| {
            if let Some(taken) = taken {
                taken.let_go = taken.let_go.map(|ticks| (ticks + 1).min(LONG_AGO));
            }
        };
        aged(&mut world.table[at]);
        if let Some(table) = &mut world.hosts[at].lags {
            aged(&mut table[at]);
        }
        Some(world)
    }

    /// It boots, into `next` or into what ran before.
    fn boots(&self, at: usize, next: Option<u8>) -> Self {
        self.with(at, |host| {
            host.runs = next.unwrap_or(host.runs);
            *host = Host {
                up: true,
                boot: host.boot + 1,
                next: None,
                staged: host.staged.filter(|_| self.eager && next.is_none()),
                drain: Draining::No,
                let_go: None,
                given_up: Wait::No,
                good: Good::Lacking,
                late: false,
                force_late: false,
                shutting: false,
                coming: None,
                away: host.away,
                ..*host
            };
        })
    }

    /// What people do and what goes wrong; each takes one of the faults that are left.
    pub(super) fn faults(&self) -> Vec<(&'static str, Self)> {
        let mut all = Vec::new();
        if self.faults == 0 {
            return all;
        }
        for at in self.indices() {
            self.faults_of(at, &mut all);
        }
        if self.api {
            all.push(("the API server goes away", Self { api: false, ..*self }));
        }
        for (name, hours) in [("the window closes", Hours::Closed), ("the window is about to close", Hours::Ending)] {
            if self.hours != hours {
                all.push((name, Self { hours, ..*self }));
            }
        }
        if self.newest == 1 {
            all.push(("a newer release comes out", Self { newest: 2, ..*self }));
        }
        all.into_iter().map(|(name, world)| (name, world.faulty())).collect()
    }

    fn faults_of(&self, at: usize, all: &mut Vec<(&'static str, Self)>) {
        let host = &self.hosts[at];
        if !host.up {
            if host.next.is_some() {
                all.push(("it boots the release before", self.boots(at, None)));
            }
            return;
        }
        let mut push = |name, change: &dyn Fn(&mut Host)| all.push((name, self.with(at, change)));
        push("the agent is killed", &|host| {
            host.drain = Draining::No;
            host.let_go = None;
            host.given_up = Wait::No;
            if host.good == Good::Passed {
                host.good = Good::Fresh;
            }
        });
        let staged = if self.eager { host.staged } else { None };
        push("the power is cut", &|host| {
            (host.up, host.next, host.shutting, host.coming) = (false, staged, false, None)
        });
        push("somebody reboots it", &|host| host.shutting = true);
        push("it is not good any more", &|host| host.good = Good::Lacking);
        if host.drain == Draining::Running {
            push("the drain fails", &|host| host.drain = Draining::Failed);
        }
        if !host.hold {
            push("an operator holds it", &|host| host.hold = true);
        }
        let boot = host.boot;
        if host.request.is_none() {
            push("an operator asks for a reboot", &|host| host.request = Some(boot));
        } else {
            push("the request is taken back", &|host| host.request = None);
        }
        if host.force.is_none() {
            push("an operator forces a reboot", &|host| (host.force, host.force_late) = (Some(boot), false));
        }
        if host.certificate == Certificate::Long {
            push("the certificate grows short", &|host| host.certificate = Certificate::Short);
            push("the certificate is lost", &|host| host.certificate = Certificate::Unknown);
        }
        if host.unschedulable {
            push("somebody uncordons it", &|host| host.unschedulable = false);
        } else {
            push("an admin cordons it", &|host| host.unschedulable = true);
        }
        if host.staged.is_some_and(|staged| staged != self.newest) {
            push("a newer release is staged", &|host| host.staged = Some(self.newest));
        }
        if host.staged.is_some() {
            push("the update is withdrawn", &|host| host.staged = None);
        }
        if host.asked {
            push("the OS cannot be asked", &|host| host.asked = false);
        }
        if let Some(taken) = self.table[at] {
            if taken.boot != host.boot {
                push("an operator frees the slot", &|host| host.free = Some(boot));
            } else if !taken.old {
                let mut world = *self;
                world.table[at] = Some(super::world::Taken { old: true, ..taken });
                all.push(("the slot is held for long", world));
            }
        }
        if let Some(taken) = self.table[at] {
            // Whoever does that answers for it. No view lags by the whole minute for which the last proof of the slot holds.
            let is_proved = taken.let_go.is_some_and(|ticks| ticks < 2);
            let mut without = self.with(at, |host| {
                host.away = false;
                host.lags = host.lags.filter(|_| !is_proved);
            });
            without.table[at] = None;
            all.push(("somebody takes its slot away", without));
        }
    }

    /// A view of the table that does not move on.
    pub(super) fn lagging(&self, at: usize) -> Self {
        self.with(at, |host| host.lags = Some(self.table))
    }
}
