//! A host, its cluster and the true time, as three numbers that only the test moves.

use std::time::Duration;

use jiff::SignedDuration;

use super::super::clock::{ClockEvidence, End, Floor, Server, Service, judge};
use super::super::clock_step::{Reading, StepBudget, after_step, is_worth_a_look};
use super::super::tests::{HOUR, POLICY, T0, attempt, joined};
use super::super::*;

const DAY: u64 = 86_400;
/// CA and serving certificate live from thirty days before the tests' day to a year after that.
pub(super) const CLUSTER: (u64, u64) = (T0 - 30 * DAY, T0 + 335 * DAY);
/// A call, or a look at a file.
const WORK: Duration = Duration::from_millis(5);

/// What happens to the host.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// Somebody sets its clock to so many seconds ahead of the true time.
    Set(i64),
    /// Its time service synchronises it.
    Synchronise,
    /// It sleeps.
    Suspend(u64),
}
use Change::{Set, Suspend, Synchronise};

/// A host, its cluster, and the true time.
pub(super) struct World {
    /// The true time, since T0; also the time since the boot.
    pub(super) real: Duration,
    pub(super) ahead: SignedDuration,
    pub(super) server_ahead: SignedDuration,
    pub(super) synchronised: bool,
    /// The kernel tells when the clock is set (timerfd); otherwise it is found out at the next look.
    pub(super) told: bool,
    pub(super) changes: Vec<(Duration, Change)>,
    pub(super) seen: Seen,
    reading: Option<Reading>,
    budget: StepBudget,
    pub(super) connections: u32,
    pub(super) requests: u32,
    pub(super) keys: u64,
    issued: u64,
    /// The last key that was signed, and when.
    signed: Option<(u64, u64)>,
    /// When the state or its reason became another one.
    pub(super) story: Vec<(Duration, &'static str, String)>,
}

impl World {
    /// A host at T0, with a right clock, that the kernel tells when its clock is set.
    pub(super) fn new(seen: Seen) -> Self {
        Self {
            real: Duration::ZERO,
            ahead: SignedDuration::ZERO,
            server_ahead: SignedDuration::ZERO,
            synchronised: false,
            told: true,
            changes: Vec::new(),
            seen,
            reading: None,
            budget: StepBudget::default(),
            connections: 0,
            requests: 0,
            keys: 0,
            issued: 0,
            signed: None,
            story: Vec::new(),
        }
    }

    fn wall(&self) -> Time {
        Time(Time::from_unix(T0).0 + self.real).moved(self.ahead)
    }

    /// The server's clock in whole seconds, as in `Date` and in certificates.
    fn server_time(&self) -> u64 {
        Time(Time::from_unix(T0).0 + self.real).moved(self.server_ahead).unix()
    }

    /// TLS, judged by this host's clock.
    fn connect(&mut self) -> Result<(), End> {
        self.connections += 1;
        self.real += WORK;
        let (begins, ends) = (Time::from_unix(CLUSTER.0), Time::from_unix(CLUSTER.1));
        match self.wall() {
            now if now < begins => Err(End::Begins(begins)),
            now if now > ends => Err(End::Ended(ends)),
            _ => Ok(()),
        }
    }

    pub(super) fn run(&mut self, until: u64) {
        let until = Duration::from_secs(until);
        let mut woken = false;
        let mut turns = 0;
        while self.real < until {
            turns += 1;
            assert!(turns < 16, "a busy loop at {:?}", self.real);
            if let Some(sleep) = self.turn(std::mem::take(&mut woken)) {
                turns = 0;
                woken = self.sleep(sleep);
            }
        }
    }

    /// One turn of the task; how long it sleeps, if it does.
    fn turn(&mut self, woken: bool) -> Option<Duration> {
        let reading = Reading { wall: self.wall(), since_boot: self.real };
        let set = self.reading.map_or(SignedDuration::ZERO, |before| reading.set_since(&before));
        self.reading = Some(reading);
        if woken || is_worth_a_look(set) {
            self.seen.clock = None;
            let now = self.wall();
            self.seen.last = self.seen.last.take().and_then(|last| last.after_step(set, now));
            if let Some(tested) = &mut self.seen.recovery {
                tested.at = after_step(tested.at, set, now);
            }
        }
        let now = self.wall();
        let decision = decide(now.0, &self.seen, &POLICY);
        let told = (decision.state.as_str(), decision.reason.kind);
        // A look at the clock that is under way is no news.
        let news = self.story.last().is_none_or(|(_, state, kind)| (*state, kind) != (told.0, &told.1));
        if news && decision.step != Step::CheckClock {
            self.story.push((self.real, told.0, told.1));
        }
        match decision.step {
            Step::Idle { until } => {
                let span = until.duration_since(now.0).unwrap_or_default();
                return Some(span.clamp(Duration::from_millis(10), LOOK_AGAIN));
            }
            Step::CheckClock => self.check_clock(),
            Step::TestRecovery => {
                let answered = self.connect().is_ok();
                self.seen.recovery = Some(Tested { at: self.wall(), answered });
            }
            Step::Prepare => {
                self.keys += 1;
                self.seen.request = Some(Request {
                    name: format!("node-csr-{}", self.keys),
                    common_name: "system:node:node-a".to_owned(),
                    public_key: self.keys.to_be_bytes().to_vec(),
                    since: now,
                });
            }
            Step::Forget(_) => self.seen.request = None,
            Step::Ask(identity) => self.ask(identity),
            Step::Quarantine(reason) => panic!("a good certificate is thrown away: {reason:?}"),
        }
        None
    }

    /// As certificates/question.rs of the daemon does it.
    fn check_clock(&mut self) {
        let mut evidence = ClockEvidence {
            now: self.wall(),
            floor: Floor::new(Some(Time::from_unix(CLUSTER.0))),
            service: Service::Silent,
            server: Server::Silent,
        };
        if !evidence.is_impossible() {
            evidence.server = match self.connect() {
                Ok(()) => Server::Answers { date: Some(Time::from_unix(self.server_time())) },
                Err(end) => {
                    // Asked again by somebody who believes the certificate for the moment.
                    self.connections += 1;
                    Server::OutOfTime { end, date: Some(Time::from_unix(self.server_time())) }
                }
            };
            evidence.now = self.wall();
        }
        if evidence.needs_service() {
            evidence.service = if self.synchronised { Service::Synchronised } else { Service::NotSynchronised };
        }
        if evidence.is_servers_fault() {
            self.ended(Outcome::ServerExpired(String::new()), Identity::Bootstrap);
        }
        self.seen.clock = Some(judge(&evidence).following(self.seen.clock.as_ref(), 0.5));
    }

    /// As kube-controller-manager signs (certs.md 1.7), and as the daemon proves.
    fn ask(&mut self, identity: Identity) {
        if self.connect().is_err() {
            self.seen.clock = None;
            return self.ended(Outcome::OutOfTime(String::new()), identity);
        }
        let request = self.seen.request.clone().expect("asked with a request");
        // Asked for again it is the same object, with the same certificate.
        let signed_at = match self.signed {
            Some((key, at)) if key == self.keys => at,
            _ => {
                self.requests += 1;
                self.server_time()
            }
        };
        self.signed = Some((self.keys, signed_at));
        let (begins, ends) = (signed_at - 300, signed_at + 72 * HOUR - 300);
        let now = self.wall();
        if Time::from_unix(begins) > now {
            return self.ended(Outcome::NotYet(Time::from_unix(begins)), identity);
        }
        if Time::from_unix(ends) <= now {
            self.seen.request = None;
            return self.ended(Outcome::Unproved(Reason::new("certificate-already-expired", "")), identity);
        }
        self.connect().expect("it was good a moment ago");
        self.issued += 1;
        let Current::Usable { leaf, .. } = joined().current else { panic!("a certificate") };
        let leaf = CertView {
            serial: format!("{:08x}", self.issued),
            not_before: Time::from_unix(begins),
            not_after: Time::from_unix(ends),
            public_key: request.public_key,
            ..*leaf
        };
        self.seen.current = Current::Usable { leaf: Box::new(leaf), installed_at: now, anchor: Anchor::Bootstrap };
        self.seen.request = None;
        self.ended(Outcome::Installed, identity);
    }

    fn ended(&mut self, outcome: Outcome, identity: Identity) {
        self.seen.last = Some(attempt(self.wall().unix(), outcome, identity, 1));
    }

    /// Sleeps on a clock that stands still while the host is suspended. Was it the kernel that woke us?
    fn sleep(&mut self, span: Duration) -> bool {
        let mut end = self.real + span;
        while let Some(change) = self.next_change(end) {
            if let Suspend(seconds) = change {
                end += Duration::from_secs(seconds);
            }
            if self.told {
                let wait = self.budget.wait(self.real);
                let tell_at = self.real + wait;
                while self.next_change(tell_at).is_some() {}
                self.real = self.real.max(tell_at);
                return true;
            }
        }
        self.real = self.real.max(end);
        false
    }

    /// The next change that comes no later than `end`, made.
    fn next_change(&mut self, end: Duration) -> Option<Change> {
        let &(at, change) = self.changes.first().filter(|(at, _)| *at <= end)?;
        self.changes.remove(0);
        self.real = self.real.max(at);
        match change {
            Set(seconds) => {
                // settimeofday(2) takes the kernel's word away that it is synchronised.
                (self.ahead, self.synchronised) = (SignedDuration::from_secs(seconds), false);
            }
            Synchronise => (self.ahead, self.synchronised) = (SignedDuration::ZERO, true),
            Suspend(seconds) => self.real += Duration::from_secs(seconds),
        }
        Some(change)
    }
}
