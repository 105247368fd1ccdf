//! From decisions to what is told: the status, and an event for each change.

use std::time::{Duration, SystemTime};

use eyewall_core::config::Owner;
use eyewall_core::event::{self, Event};
use eyewall_core::rotation::forecast::{Thresholds, may_stay_off_until};
use eyewall_core::rotation::{Clock, Current, Decision, Identity, Outcome, Policy, Step};
use eyewall_core::status::{
    CertificateState as State, CertificateView, CertificatesStatus, ClockView, Health, Reason, RequestView,
};
use eyewall_core::time::Time;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Memory;
use super::foretold::Foretold;
use super::observe::World;
use super::obtain::{Ended, Progress};
use super::story;
use crate::events::Events;

/// A renewal that goes on failing is an error again after so long. The kubelet's waits between two tries are 32 s, ours grow to
/// minutes and hours, and an alert on the increase within five minutes is to fire for both.
const ERROR_EVERY: Duration = Duration::from_secs(60);

/// One look: what was seen, by which rules it was judged, and what was decided.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    pub policy: &'a Policy,
    pub thresholds: &'a Thresholds,
    pub world: &'a World,
    pub memory: &'a Memory,
    pub decision: &'a Decision,
    /// An own write that failed: it is the reason that counts, whatever was decided.
    pub fault: Option<&'a Reason>,
}

/// Holds what was told last, so that only changes are told.
#[derive(Debug)]
pub struct Publisher {
    status: watch::Sender<Option<CertificatesStatus>>,
    events: Events,
    /// State, and the kind of the reason.
    told: Option<(State, String)>,
    since: Option<(State, Time)>,
    requested: Option<String>,
    /// The serial of the certificate in force that was told of last.
    adopted: Option<String>,
    /// The serial of the certificate in force that has ended, and was told to have.
    expired: Option<String>,
    /// What was told of the bootstrap credential.
    recovery: Option<Health>,
    foretold: Foretold,
    /// The clock was in doubt at the last look.
    doubts: bool,
    /// It was told that the clock and the server's differ.
    differs: bool,
    installed_total: u64,
    failures_total: u64,
    renew_errors: u64,
    /// When the last of those errors was counted.
    counted: Option<Instant>,
}

impl Publisher {
    pub fn new(status: watch::Sender<Option<CertificatesStatus>>, events: Events) -> Self {
        Self {
            status,
            events,
            told: None,
            since: None,
            requested: None,
            adopted: None,
            expired: None,
            recovery: None,
            foretold: Foretold::new(),
            doubts: false,
            differs: false,
            installed_total: 0,
            failures_total: 0,
            renew_errors: 0,
            counted: None,
        }
    }

    /// Tells a decision. `fault` is an own write that failed: it is the reason that counts, whatever was decided.
    pub fn publish(&mut self, now: SystemTime, look: &Look<'_>) {
        let Look { policy, thresholds, world, memory, decision, fault } = *look;
        let failing = memory.last.as_ref().is_some_and(|last| is_failure(&last.outcome));
        let counted_lately = self.counted.is_some_and(|counted| counted.elapsed() < ERROR_EVERY);
        if failing && decision.state != State::Valid && !counted_lately {
            self.count_error();
        }
        let reason = fault.unwrap_or(&decision.reason);
        let mut status = self.view(Time(now), policy, world, memory, decision, reason);
        status.forecasts = self.foretold.foresee(now, policy, thresholds, world, memory);
        self.adoption(&status);
        self.foretold.tell(&status.forecasts, &self.events);
        // A look at the clock that is under way is no news: what it finds is.
        if decision.step != Step::CheckClock {
            // By a clock in doubt nothing has ended.
            if !self.doubt(&status) {
                self.expiry(Time(now), &status);
            }
            self.change(&status);
        }
        self.send(status);
    }

    /// Tells that a step failed on this host's own disk.
    pub fn fault(&mut self, reason: &Reason) {
        let Some(mut status) = self.status.borrow().clone() else {
            return;
        };
        status.reason = reason.clone();
        status.next = "it is tried again".to_owned();
        status.next_at = None;
        self.failures_total += 1;
        self.count_error();
        status.renew_errors_total = self.renew_errors;
        status.failures_total = self.failures_total;
        self.change(&status);
        self.send(status);
    }

    fn count_error(&mut self) {
        self.renew_errors += 1;
        self.counted = Some(Instant::now());
    }

    /// Tells how far an attempt has come.
    pub fn progress(
        &mut self,
        now: SystemTime,
        world: &World,
        memory: &Memory,
        identity: Identity,
        progress: Progress,
    ) {
        let Progress::Submitted = progress;
        let Some(mut status) = self.status.borrow().clone() else {
            return;
        };
        let credential = credential(identity);
        if let Some(open) = &world.request {
            let name = &open.seen.name;
            status.request = Some(RequestView {
                name: name.clone(),
                credential: credential.to_owned(),
                since: open.seen.since,
                attempts: attempts(memory),
            });
            if self.requested.as_ref() != Some(name) {
                self.requested = Some(name.clone());
                let node = status_node(world);
                self.events.emit(
                    &event::CERTIFICATE_REQUESTED,
                    format!("The request {name} was sent with the {credential} credential"),
                    &[("csr", name), ("node", &node), ("credential", credential)],
                );
            }
        }
        if status.current.is_none()
            && status.state != State::PendingApproval
            && status.state != State::ExpiredRecovering
        {
            status.state = State::PendingApproval;
            status.reason =
                Reason::new("request-sent", "the request is on the API server and waits for approval and signature");
            status.since = self.since(State::PendingApproval, Time(now));
        }
        "it is watched until it is issued".clone_into(&mut status.next);
        status.next_at = None;
        self.send(status);
    }

    /// Tells what a test of the bootstrap credential found, if it is news: that it works is none before it did not.
    pub fn recovery(&mut self, health: Health, reason: &Reason) {
        let before = self.recovery;
        if health != Health::Unknown {
            self.recovery = Some(health);
        }
        let event = match (before, health) {
            (Some(Health::Bad), Health::Good) => &event::RECOVERY_CREDENTIAL_GOOD,
            (Some(Health::Good) | None, Health::Bad) => &event::RECOVERY_CREDENTIAL_REJECTED,
            _ => return,
        };
        self.events.emit(event, reason.message.clone(), &[("kind", &reason.kind)]);
    }

    /// Tells what was found out about the clock, if it is news: that it and the server's differ is told once until they agree.
    pub fn clock(&mut self, clock: &Clock) {
        let differs = clock.trusted && clock.reason.kind == "clock-synchronised-server-differs";
        if differs && !self.differs {
            let seconds = clock.skew.map_or(0, |skew| skew.as_secs()).to_string();
            let fields = [("kind", clock.reason.kind.as_str()), ("skew_seconds", &seconds)];
            self.events.emit(&event::CLOCK_DIFFERS, clock.reason.message.clone(), &fields);
        }
        self.differs = differs;
    }

    /// Is the clock in doubt? Tells when it is so no more.
    fn doubt(&mut self, status: &CertificatesStatus) -> bool {
        let doubts = status.state == State::ClockSuspect || story::is_of_the_clock(&status.reason.kind);
        if self.doubts && !doubts {
            self.events.emit(
                &event::CLOCK_RIGHT_AGAIN,
                "The clock of this host is in doubt no more",
                &[("state", status.state.as_str()), ("kind", &status.reason.kind)],
            );
        }
        self.doubts = doubts;
        doubts
    }

    /// Tells once that the certificate in force has ended, whatever stands in the way of the next, and that there is one again.
    fn expiry(&mut self, now: Time, status: &CertificatesStatus) {
        let Some(current) = &status.current else { return };
        if current.not_after <= now {
            if self.expired.as_ref() != Some(&current.serial) {
                self.expired = Some(current.serial.clone());
                let not_after = current.not_after.to_string();
                self.events.emit(
                    &event::CERTIFICATE_EXPIRED,
                    format!("The certificate with serial {} ended at {not_after}", current.serial),
                    &[
                        ("serial", &current.serial),
                        ("not_after", &not_after),
                        ("state", status.state.as_str()),
                        ("kind", &status.reason.kind),
                    ],
                );
            }
        } else if self.expired.take().is_some() {
            let before = self.told.as_ref().map_or(State::ExpiredRecovering, |(state, _)| *state);
            self.events.emit(
                &event::CERTIFICATE_RECOVERED,
                "The kubelet's client certificate is valid again after it had expired",
                &[("state_before", before.as_str()), ("serial", &current.serial)],
            );
        }
    }

    /// Counts an attempt's end, and tells an installation.
    pub fn ended(&mut self, world: &World, ended: &Ended) {
        let Some(leaf) = &ended.installed else {
            if is_failure(&ended.outcome) {
                self.failures_total += 1;
                self.count_error();
            }
            return;
        };
        self.installed_total += 1;
        let (node, not_after, not_before) =
            (status_node(world), leaf.not_after.to_string(), leaf.not_before.to_string());
        let fields = [
            ("node", node.as_str()),
            ("serial", &leaf.serial),
            ("sha256", &leaf.sha256),
            ("not_before", &not_before),
            ("not_after", &not_after),
        ];
        self.events.emit(
            &event::CERTIFICATE_INSTALLED,
            format!("A certificate with serial {} was proved and installed; it ends at {not_after}", leaf.serial),
            &fields,
        );
        self.adopted = Some(leaf.serial.clone());
    }

    fn send(&self, status: CertificatesStatus) {
        self.status.send_if_modified(|held| {
            let changed = held.as_ref() != Some(&status);
            if changed {
                *held = Some(status);
            }
            changed
        });
    }

    /// A certificate that was there before us is told, and where the kubelet renews itself each new one of its own.
    fn adoption(&mut self, status: &CertificatesStatus) {
        let Some(current) = &status.current else {
            return;
        };
        let (not_after, renew_at) = (current.not_after.to_string(), current.renew_at.to_string());
        let (event, words) = match &self.adopted {
            None => (&event::CERTIFICATE_ADOPTED, "that was there already is in force"),
            Some(told) if *told != current.serial && status.owner == "kubelet" => {
                (&event::CERTIFICATE_RENEWED_BY_KUBELET, "was installed by the kubelet itself")
            }
            Some(_) => return,
        };
        self.adopted = Some(current.serial.clone());
        let not_before = current.not_before.to_string();
        self.events.emit(
            event,
            format!("The certificate with serial {} {words}; it ends at {not_after}", current.serial),
            &[
                ("serial", current.serial.as_str()),
                ("file", &current.file),
                ("not_before", &not_before),
                ("not_after", &not_after),
                ("renew_at", &renew_at),
            ],
        );
    }

    /// One event for each new pair of state and reason.
    fn change(&mut self, status: &CertificatesStatus) {
        let new = (status.state, status.reason.kind.clone());
        if self.told.as_ref() == Some(&new) {
            return;
        }
        let before = self.told.replace(new);
        let Some(event) = story::event(status.state, &status.reason.kind) else {
            return;
        };
        self.tell(event, status, before.map(|(state, _)| state));
    }

    fn tell(&self, event: &'static Event, status: &CertificatesStatus, before: Option<State>) {
        let next_at = status.next_at.map(|at| at.to_string());
        let attempts = status.request.as_ref().map(|request| request.attempts.to_string());
        let not_after = match (&status.current, &status.ca) {
            (Some(current), _) => Some(current.not_after.to_string()),
            (None, Some(ca)) if status.state == State::CaExpired => Some(ca.not_after.to_string()),
            _ => None,
        };
        let mut fields = vec![("state", status.state.as_str()), ("kind", status.reason.kind.as_str())];
        let optional = [
            ("state_before", before.map(State::as_str)),
            ("csr", status.request.as_ref().map(|request| request.name.as_str())),
            ("serial", status.current.as_ref().map(|current| current.serial.as_str())),
            ("not_after", not_after.as_deref()),
            ("next_at", next_at.as_deref()),
            ("attempts", attempts.as_deref()),
        ];
        fields.extend(optional.iter().filter_map(|(name, value)| value.map(|value| (*name, value))));
        self.events.emit(event, status.reason.message.clone(), &fields);
    }

    fn since(&mut self, state: State, now: Time) -> Time {
        match self.since {
            Some((held, since)) if held == state => since,
            _ => {
                self.since = Some((state, now));
                now
            }
        }
    }

    fn view(
        &mut self,
        now: Time,
        policy: &Policy,
        world: &World,
        memory: &Memory,
        decision: &Decision,
        reason: &Reason,
    ) -> CertificatesStatus {
        let current = match &world.current {
            Current::Usable { leaf, installed_at, .. } => Some(CertificateView {
                subject: leaf.subject.clone(),
                issuer: leaf.issuer.clone(),
                serial: leaf.serial.clone(),
                not_before: leaf.not_before,
                not_after: leaf.not_after,
                renew_at: policy.schedule(leaf, *installed_at).renew_at,
                sha256: leaf.sha256.clone(),
                file: world.file.as_ref().map_or_else(String::new, |file| file.display().to_string()),
            }),
            Current::Nothing | Current::Unreadable(_) | Current::Unusable(_) => None,
        };
        CertificatesStatus {
            owner: match policy.owner {
                Owner::Eyewall => "eyewall",
                Owner::Kubelet => "kubelet",
            }
            .to_owned(),
            health: match decision.state {
                State::Valid | State::RenewalDue => Health::Good,
                _ => Health::Bad,
            },
            state: decision.state,
            since: self.since(decision.state, now),
            reason: reason.clone(),
            next: decision.next.clone(),
            next_at: decision.next_at,
            current,
            request: world.request.as_ref().map(|open| RequestView {
                name: open.seen.name.clone(),
                credential: credential(memory.last.as_ref().map_or(Identity::Bootstrap, |last| last.identity))
                    .to_owned(),
                since: open.seen.since,
                attempts: attempts(memory),
            }),
            ca: world.bootstrap.as_ref().ok().map(|joined| joined.authority.clone()),
            may_be_off_until: match &world.current {
                Current::Usable { leaf, installed_at, .. } => {
                    Some(may_stay_off_until(leaf, &policy.schedule(leaf, *installed_at))).filter(|until| *until > now)
                }
                Current::Nothing | Current::Unreadable(_) | Current::Unusable(_) => None,
            },
            recovery: memory.recovery.clone(),
            forecasts: Vec::new(),
            clock: memory.clock.as_ref().map_or_else(
                || ClockView {
                    trusted: false,
                    reason: Reason::new("clock-unchecked", "the clock is checked before a certificate is asked for"),
                    skew_seconds: None,
                },
                |clock| ClockView {
                    trusted: clock.trusted,
                    reason: clock.reason.clone(),
                    skew_seconds: clock.skew.map(|skew| skew.as_secs()),
                },
            ),
            installed_total: self.installed_total,
            failures_total: self.failures_total,
            renew_errors_total: self.renew_errors,
            serving: None,
            take_over: Vec::new(),
        }
    }
}

/// What only has to be waited for is no failure.
fn is_failure(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::Installed | Outcome::Pending | Outcome::NotSigned | Outcome::NotYet(_))
}

fn credential(identity: Identity) -> &'static str {
    match identity {
        Identity::Bootstrap => "bootstrap",
        Identity::Node => "node",
    }
}

fn attempts(memory: &Memory) -> u32 {
    memory.last.as_ref().map_or(0, |last| last.streak)
}

fn status_node(world: &World) -> String {
    world.node.as_ref().map_or_else(|_| String::new(), |node| node.as_str().to_owned())
}
