//! A small cluster: hosts, the table of slots with its admission policy, and what a step does to them.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use super::super::*;
use crate::config;
use crate::status::Reason;
use crate::time::Time;

/// At most so many hosts.
pub(super) const HOSTS: usize = 4;
/// All of it happens at one instant; what is older is dated back.
const NOW: u64 = 1_795_500_000;
const TICK: u64 = 30;

/// What an agent has in memory of its drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Draining {
    No,
    Running,
    Done,
    Failed,
}

/// How good a host is, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Good {
    /// Something is lacking.
    Lacking,
    /// Nothing is, for a moment.
    Fresh,
    /// For as long as the gate asks for.
    Passed,
}

/// The wait after a cycle that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wait {
    No,
    On,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Certificate {
    Long,
    Short,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Hours {
    Open,
    Ending,
    Closed,
}

/// A slot's entry, with ages instead of instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Taken {
    pub(super) boot: u8,
    pub(super) wanted: Option<u8>,
    pub(super) from: u8,
    /// Ticks since the host may be let go; 4 is long ago.
    pub(super) let_go: Option<u8>,
    /// It has been held for too long.
    pub(super) old: bool,
    pub(super) cordoned: bool,
}

pub(super) type Table = [Option<Taken>; HOSTS];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Host {
    pub(super) up: bool,
    pub(super) boot: u8,
    pub(super) runs: u8,
    /// What the next boot runs, if it is another.
    pub(super) next: Option<u8>,
    /// The staged release, if one is.
    pub(super) staged: Option<u8>,
    /// The OS can be asked.
    pub(super) asked: bool,
    pub(super) drain: Draining,
    /// Ticks since the host was let go, and whether the answer was yes.
    pub(super) let_go: Option<(u8, bool)>,
    pub(super) given_up: Wait,
    pub(super) good: Good,
    /// The boot should have been good by now, and has been bad for long enough.
    pub(super) late: bool,
    pub(super) unschedulable: bool,
    pub(super) ours: Option<u8>,
    pub(super) hold: bool,
    pub(super) request: Option<u8>,
    pub(super) force: Option<u8>,
    /// The deadline of the force is over.
    pub(super) force_late: bool,
    pub(super) free: Option<u8>,
    pub(super) certificate: Certificate,
    pub(super) refused: bool,
    /// Releases that are remembered as bad, as bits.
    pub(super) bad: u8,
    /// logind says that a shutdown is under way.
    pub(super) shutting: bool,
    /// Truth: a reboot was accepted and comes within so many ticks.
    pub(super) coming: Option<u8>,
    /// Truth: it was let go by its agent, and its reboot is not over yet.
    pub(super) away: bool,
    /// What it sees of the table, where that lags behind.
    pub(super) lags: Option<Table>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct World {
    pub(super) hosts: [Host; HOSTS],
    pub(super) count: u8,
    pub(super) table: Table,
    pub(super) limit: u8,
    /// The API server answers.
    pub(super) api: bool,
    pub(super) hours: Hours,
    /// The newest release.
    pub(super) newest: u8,
    /// Releases that never get good, as bits.
    pub(super) sick: u8,
    /// A reboot takes the staged release whoever asks for it, as on Flatcar.
    pub(super) eager: bool,
    pub(super) rollback: bool,
    /// How much more may go wrong.
    pub(super) faults: u8,
}

fn ago(seconds: u64) -> Time {
    Time::from_unix(NOW - seconds)
}

pub(super) fn release(number: u8) -> Release {
    Release { version: number.to_string(), checksum: None }
}

pub(super) fn number(release: &Release) -> u8 {
    release.version.parse().unwrap()
}

fn boot(number: u8) -> BootId {
    BootId(format!("boot-{number}"))
}

fn boot_number(boot: &BootId) -> u8 {
    boot.0.trim_start_matches("boot-").parse().unwrap()
}

const DRAIN: u64 = 600;
const GATE: u64 = 300;

pub(super) fn policy(hours: Hours, rollback: bool) -> Policy {
    // NOW is a Tuesday, 06:00 in UTC.
    let window = |day: &str, start: &str| config::Window {
        days: vec![day.to_owned()],
        start: start.to_owned(),
        length: Duration::from_secs(3_600),
    };
    let windows = match hours {
        Hours::Open => Vec::new(),
        Hours::Ending => vec![window("Tue", "05:05")],
        Hours::Closed => vec![window("Wed", "02:00")],
    };
    let reboot = config::Reboot {
        windows,
        rollback,
        drain_timeout: Duration::from_secs(DRAIN),
        health_gate: Duration::from_secs(GATE),
        ..config::Reboot::default()
    };
    Policy::new(&reboot, jiff::tz::TimeZone::UTC, "node-a").unwrap()
}

impl Taken {
    fn entry(self) -> Entry {
        Entry {
            boot_id: boot(self.boot),
            reason: String::new(),
            since: ago(if self.old { DRAIN + GRANT_LASTS.as_secs() } else { 1 }),
            cordoned: self.cordoned,
            wanted: self.wanted.map(release),
            from: Some(release(self.from)),
            let_go: self.let_go.map(|ticks| ago(u64::from(ticks) * TICK)),
        }
    }

    pub(super) fn of(entry: &Entry) -> Self {
        Self {
            boot: boot_number(&entry.boot_id),
            wanted: entry.wanted.as_ref().map(number),
            from: number(entry.from.as_ref().unwrap()),
            let_go: entry.let_go.map(|at| u8::try_from((NOW - at.unix()) / TICK).unwrap()),
            old: NOW - entry.since.unix() > 60,
            cordoned: entry.cordoned,
        }
    }
}

impl World {
    pub(super) fn new(count: u8, limit: u8) -> Self {
        let host = Host {
            up: true,
            boot: 0,
            runs: 0,
            next: None,
            staged: Some(1),
            asked: true,
            drain: Draining::No,
            let_go: None,
            given_up: Wait::No,
            good: Good::Passed,
            late: false,
            unschedulable: false,
            ours: None,
            hold: false,
            request: None,
            force: None,
            force_late: false,
            free: None,
            certificate: Certificate::Long,
            refused: false,
            bad: 0,
            shutting: false,
            coming: None,
            away: false,
            lags: None,
        };
        Self {
            hosts: [host; HOSTS],
            count,
            table: [None; HOSTS],
            limit,
            api: true,
            hours: Hours::Open,
            newest: 1,
            sick: 0,
            eager: false,
            rollback: false,
            faults: 0,
        }
    }

    pub(super) fn indices(&self) -> std::ops::Range<usize> {
        0..usize::from(self.count)
    }

    pub(super) fn holders(&self) -> usize {
        self.table.iter().flatten().count()
    }

    /// What this host's agent sees; equal for equal things, so that it can be looked up.
    pub(super) fn view(&self, of: usize) -> View {
        let table = self.hosts[of].lags.unwrap_or(self.table);
        let others = table.iter().enumerate().filter(|(at, taken)| *at != of && taken.is_some()).count();
        let host = Host { coming: None, away: false, next: None, lags: None, up: true, ..self.hosts[of] };
        View {
            host,
            mine: table[of],
            others: u8::try_from(others).unwrap(),
            limit: self.limit,
            api: self.api,
            hours: self.hours,
            rollback: self.rollback,
        }
    }
}

/// Only of the hosts that there are: it is most of what the walk does.
impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let count = usize::from(self.count);
        self.hosts[..count].hash(state);
        self.table[..count].hash(state);
        (self.api, self.hours, self.newest, self.faults).hash(state);
    }
}

/// See [`World::view`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct View {
    host: Host,
    mine: Option<Taken>,
    others: u8,
    limit: u8,
    api: bool,
    hours: Hours,
    rollback: bool,
}

impl View {
    pub(super) fn decide(&self) -> Decision {
        decide(Time::from_unix(NOW).0, &self.seen(), &policy(self.hours, self.rollback))
    }

    fn seen(&self) -> Seen {
        let host = &self.host;
        let away = || Reason::new("api-away", "no answer");
        let holder = |at: u8| Holder { node: format!("other-{at}"), entry: None };
        let lacking = host.good == Good::Lacking;
        let (why, uid, since) = (String::new(), 0, ago(1));
        Seen {
            boot: boot(host.boot),
            booted_at: ago(if host.late { GATE + GOOD_WITHIN.as_secs() } else { 60 }),
            booted: Ok(release(host.runs)),
            pending: if host.asked {
                Ok(host.staged.map(|staged| Pending { cause: Cause::Update(release(staged)), since: ago(60) }))
            } else {
                Err(Reason::new("os-away", "no answer"))
            },
            orders: Orders {
                hold: host.hold.then(|| Hold { why: why.clone(), since, uid }),
                request: host.request.map(|number| Request { why: why.clone(), since, uid, boot_id: boot(number) }),
                force: host.force.map(|number| {
                    let since = ago(if host.force_late { DRAIN } else { FORCE_PATIENCE.as_secs() });
                    Force { why: why.clone(), since, uid, boot_id: boot(number) }
                }),
                free: host.free.map(boot),
            },
            bad: (0..8).filter(|number| host.bad & (1 << number) != 0).map(release).collect(),
            lacking: if lacking { vec![Reason::new("kubelet", "does not answer")] } else { Vec::new() },
            good_since: match host.good {
                Good::Lacking => None,
                Good::Fresh => Some(ago(1)),
                Good::Passed => Some(ago(GATE)),
            },
            bad_since: (lacking && self.api).then(|| ago(if host.late { BAD_FOR.as_secs() } else { 1 })),
            certificate_until: match host.certificate {
                Certificate::Long => Some(Time::from_unix(NOW + 86_400)),
                Certificate::Short => Some(Time::from_unix(NOW + 3_600)),
                Certificate::Unknown => None,
            },
            renewal_refused: host.refused.then(|| (ago(1), Reason::new("refused", ""))),
            slot: if self.api {
                Slot::Seen {
                    mine: self.mine.map(Taken::entry),
                    others: (0..self.others).map(holder).collect(),
                    limit: u32::from(self.limit),
                    refused: None,
                }
            } else {
                Slot::Unknown(away())
            },
            slot_unknown_since: None,
            node: if self.api {
                Ok(NodeSeen { unschedulable: host.unschedulable, cordoned_by_us: host.ours.map(boot), ready: !lacking })
            } else {
                Err(away())
            },
            drain: match host.drain {
                Draining::No => Drain::NotBegun,
                Draining::Running => Drain::Running { since: ago(1), left: Vec::new() },
                Draining::Done => Drain::Done,
                Draining::Failed => {
                    Drain::Failed { at: ago(1), reason: Reason::new("drain-timeout", ""), left: Vec::new() }
                }
            },
            let_go: host.let_go.map(|(ticks, yes)| LetGo {
                at: ago(u64::from(ticks) * TICK),
                answer: if yes { Ok(()) } else { Err(Reason::new("refused", "")) },
            }),
            shutting_down: host.shutting,
            given_up: match host.given_up {
                Wait::No => None,
                Wait::On => Some((ago(1), Reason::new("given", ""))),
                Wait::Over => Some((ago(TRY_AGAIN.as_secs() * 3 / 2), Reason::new("given", ""))),
            },
            trouble: None,
        }
    }
}
