//! From decisions to what is told: the serving part of the status, and an event for each change.

use std::path::Path;
use std::time::SystemTime;

use eyewall_core::event::{self, Event};
use eyewall_core::rotation::{Outcome, schedule};
use eyewall_core::serving::proof::Proven;
use eyewall_core::serving::{self, Current, Decision, Keeper, Names, Policy};
use eyewall_core::status::{CertificateState as State, CertificateView, Health, Reason, RequestView, ServingStatus};
use eyewall_core::time::Time;
use tokio::sync::watch;

use super::attempt::Ended;
use super::observe::World;
use crate::events::Events;

/// Holds what was told last, so that only changes are told.
#[derive(Debug)]
pub struct Publisher {
    status: watch::Sender<Option<ServingStatus>>,
    events: Events,
    /// State, and the kind of the reason.
    told: Option<(State, String)>,
    since: Option<(State, Time)>,
    requested: Option<String>,
    installed_total: u64,
    failures_total: u64,
}

impl Publisher {
    pub fn new(status: watch::Sender<Option<ServingStatus>>, events: Events) -> Self {
        Self { status, events, told: None, since: None, requested: None, installed_total: 0, failures_total: 0 }
    }

    /// There is no serving certificate, and nobody wants one.
    pub fn nothing(&mut self) {
        self.told = None;
        self.since = None;
        self.send(None);
    }

    /// Tells a decision. `attempts`: how often the present trouble was met.
    pub fn publish(
        &mut self,
        now: SystemTime,
        policy: &Policy,
        world: &World,
        addresses: Option<&Names>,
        attempts: u32,
        decision: &Decision,
    ) {
        let status = self.view(Time(now), policy, world, addresses, attempts, decision);
        if policy.keeper == Keeper::Eyewall {
            self.change(world, &status);
        }
        self.send(Some(status));
    }

    /// Tells that a step failed on this host's own disk.
    pub fn fault(&mut self, now: SystemTime, keeper: Keeper, reason: &Reason) {
        self.failures_total += 1;
        let mut status = self.status.borrow().clone().unwrap_or_else(|| ServingStatus {
            keeper: keeper_word(keeper).to_owned(),
            health: Health::Unknown,
            state: State::Absent,
            since: Time(now),
            reason: reason.clone(),
            next: String::new(),
            next_at: None,
            current: None,
            names: Vec::new(),
            in_force: false,
            addresses: None,
            request: None,
            installed_total: self.installed_total,
            failures_total: 0,
        });
        status.reason = reason.clone();
        "it is tried again".clone_into(&mut status.next);
        status.next_at = None;
        status.failures_total = self.failures_total;
        let new = (status.state, reason.kind.clone());
        if self.told.as_ref() != Some(&new) {
            self.told = Some(new);
            self.events.emit(&event::SERVING_FAILED, reason.message.clone(), &[("kind", &reason.kind)]);
        }
        self.send(Some(status));
    }

    /// Tells that the API server has the request.
    pub fn submitted(&mut self, now: SystemTime, world: &World) {
        let (Some(mut status), Some(open)) = (self.status.borrow().clone(), &world.request) else {
            return;
        };
        let name = &open.seen.name;
        if self.requested.as_ref() != Some(name) {
            self.requested = Some(name.clone());
            let (node, names) = (node(world), blanks(&open.seen.names));
            self.events.emit(
                &event::SERVING_REQUESTED,
                format!("The request {name} for a serving certificate was sent, for {}", open.seen.names),
                &[("csr", name), ("node", &node), ("names", &names)],
            );
        }
        // What is being waited for is told at once; that nobody does it is an event only when a watch has ended without it.
        if status.state == State::Requesting {
            status.state = State::PendingApproval;
            status.since = self.since(State::PendingApproval, Time(now));
        }
        status.reason = serving::pending(name);
        "it is watched until it is issued; the kubelet serves with the certificate it has".clone_into(&mut status.next);
        status.next_at = None;
        self.send(Some(status));
    }

    /// Counts an attempt's end, and tells an installation.
    pub fn ended(&mut self, world: &World, renew_at: [f64; 2], now: SystemTime, ended: &Ended) {
        match &ended.installed {
            Some((proven, file)) => self.installed(world, renew_at, now, proven, file),
            None => {
                // What only has to be waited for is no failure.
                let waiting = matches!(
                    ended.outcome,
                    Outcome::Pending | Outcome::NotSigned | Outcome::NotYet(_) | Outcome::Deleted
                );
                self.failures_total += u64::from(!waiting);
            }
        }
    }

    fn installed(&mut self, world: &World, renew_at: [f64; 2], now: SystemTime, proven: &Proven, file: &Path) {
        self.installed_total += 1;
        let leaf = proven.leaf();
        let cert = &leaf.cert;
        let (node, names, file) = (node(world), blanks(&leaf.names), file.display().to_string());
        let (not_before, not_after) = (cert.not_before.to_string(), cert.not_after.to_string());
        let renew_at = schedule(cert, Time(now), renew_at).renew_at.to_string();
        self.events.emit(
            &event::SERVING_INSTALLED,
            format!(
                "A serving certificate with serial {} for {} was proved and installed; it ends at {not_after}",
                cert.serial, leaf.names
            ),
            &[
                ("node", &node),
                ("names", &names),
                ("file", &file),
                ("serial", &cert.serial),
                ("sha256", &cert.sha256),
                ("not_before", &not_before),
                ("not_after", &not_after),
                ("renew_at", &renew_at),
            ],
        );
    }

    /// Tells that the names, or a PEM, were taken away.
    pub fn withdrawn(&self, reason: &Reason, moved_to: Option<&Path>) {
        let moved_to = moved_to.map_or_else(|| "nothing".to_owned(), |path| path.display().to_string());
        self.events.emit(
            &event::SERVING_WITHDRAWN,
            format!("{}; a kubelet that starts now makes a self-signed pair", reason.message),
            &[("kind", &reason.kind), ("moved_to", &moved_to)],
        );
    }

    fn send(&self, status: Option<ServingStatus>) {
        self.status.send_if_modified(|held| {
            let changed = *held != status;
            if changed {
                *held = status;
            }
            changed
        });
    }

    /// One event for each new pair of state and reason.
    fn change(&mut self, world: &World, status: &ServingStatus) {
        let new = (status.state, status.reason.kind.clone());
        if self.told.as_ref() == Some(&new) {
            return;
        }
        self.told = Some(new);
        let Some(event) = story(status.state, &status.reason.kind) else { return };
        let node = node(world);
        let next_at = status.next_at.map(|at| at.to_string());
        let not_after = status.current.as_ref().map(|current| current.not_after.to_string());
        let mut fields =
            vec![("state", status.state.as_str()), ("kind", status.reason.kind.as_str()), ("node", node.as_str())];
        let optional = [
            ("csr", status.request.as_ref().map(|request| request.name.as_str())),
            ("serial", status.current.as_ref().map(|current| current.serial.as_str())),
            ("not_after", not_after.as_deref()),
            ("next_at", next_at.as_deref()),
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
        addresses: Option<&Names>,
        attempts: u32,
        decision: &Decision,
    ) -> ServingStatus {
        let (current, names, linked) = match &world.current {
            Current::Usable { leaf, installed_at, linked, .. } => {
                let cert = &leaf.cert;
                let view = CertificateView {
                    subject: cert.subject.clone(),
                    issuer: cert.issuer.clone(),
                    serial: cert.serial.clone(),
                    not_before: cert.not_before,
                    not_after: cert.not_after,
                    renew_at: schedule(cert, *installed_at, policy.renew_at).renew_at,
                    sha256: cert.sha256.clone(),
                    file: world.file.as_ref().map_or_else(String::new, |file| file.display().to_string()),
                };
                (Some(view), leaf.names.iter().collect(), *linked)
            }
            Current::Nothing | Current::Unreadable(_) | Current::Unusable(_) => (None, Vec::new(), false),
        };
        ServingStatus {
            keeper: keeper_word(policy.keeper).to_owned(),
            health: health(decision.state),
            state: decision.state,
            since: self.since(decision.state, now),
            reason: decision.reason.clone(),
            next: decision.next.clone(),
            next_at: decision.next_at,
            in_force: current.is_some() && linked && (world.pair.is_ours() || policy.keeper == Keeper::Kubelet),
            current,
            names,
            addresses: addresses.map(|names| names.iter().collect()),
            request: world.request.as_ref().map(|open| RequestView {
                name: open.seen.name.clone(),
                credential: "node".to_owned(),
                since: open.seen.since,
                attempts,
            }),
            installed_total: self.installed_total,
            failures_total: self.failures_total,
        }
    }
}

fn keeper_word(keeper: Keeper) -> &'static str {
    match keeper {
        Keeper::Eyewall => "eyewall",
        Keeper::Kubelet => "kubelet",
        Keeper::Nobody => "nobody",
    }
}

/// That there is none yet is nothing bad: the kubelet serves with what it signed itself.
fn health(state: State) -> Health {
    match state {
        State::Valid | State::RenewalDue => Health::Good,
        State::Absent
        | State::Requesting
        | State::PendingApproval
        | State::ServerUnreachable
        | State::TokenRejected
        | State::ClockSuspect => Health::Unknown,
        State::RenewalOverdue | State::ExpiredRecovering | State::Denied | State::CaExpired => Health::Bad,
    }
}

/// The event that tells that the state is now `state` for `kind`; `None` where another event tells it already, or nothing is
/// news in it: a node that boots has neither client certificate nor addresses yet.
fn story(state: State, kind: &str) -> Option<&'static Event> {
    Some(match (state, kind) {
        (State::Valid, _) => return None,
        (
            State::Absent | State::Requesting,
            "certificate-absent"
            | "addresses-changed"
            | "client-certificate-missing"
            | "node-not-registered"
            | "node-without-addresses",
        ) => return None,
        // Told by the client certificate's task, with the same reason.
        (_, "bootstrap-kubeconfig-missing" | "authority-expired") => return None,
        (State::Absent, kind) if kind.starts_with("hostname-") || kind.starts_with("node-name-") => return None,
        (_, "request-denied" | "request-failed" | "request-forbidden") => &event::SERVING_DENIED,
        (State::RenewalOverdue | State::ExpiredRecovering, _) => &event::SERVING_OVERDUE,
        (_, "approval-pending" | "signature-pending" | "request-deleted") => &event::SERVING_PENDING,
        (State::RenewalDue, "renewal-due" | "addresses-changed" | "authority-changed" | "node-name-changed") => {
            &event::SERVING_RENEWAL_DUE
        }
        _ => &event::SERVING_FAILED,
    })
}

fn node(world: &World) -> String {
    world.node.as_ref().map_or_else(|_| String::new(), |node| node.as_str().to_owned())
}

fn blanks(names: &Names) -> String {
    names.iter().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_of_each_change() {
        for (state, kind, want) in [
            (State::Valid, "certificate-valid", None),
            (State::Requesting, "certificate-absent", None),
            (State::Absent, "client-certificate-missing", None),
            (State::Absent, "node-without-addresses", None),
            (State::Absent, "bootstrap-kubeconfig-missing", None),
            (State::Absent, "hostname-is-localhost", None),
            (State::CaExpired, "authority-expired", None),
            (State::Absent, "certificate-unreadable", Some("serving-failed")),
            (State::Absent, "credential-rejected", Some("serving-failed")),
            (State::PendingApproval, "approval-pending", Some("serving-pending")),
            (State::RenewalDue, "approval-pending", Some("serving-pending")),
            (State::RenewalOverdue, "approval-pending", Some("serving-overdue")),
            (State::ExpiredRecovering, "certificate-expired", Some("serving-overdue")),
            (State::Denied, "request-denied", Some("serving-denied")),
            (State::RenewalDue, "request-denied", Some("serving-denied")),
            (State::Denied, "request-forbidden", Some("serving-denied")),
            (State::RenewalDue, "addresses-changed", Some("serving-renewal-due")),
            (State::RenewalDue, "renewal-due", Some("serving-renewal-due")),
            (State::RenewalDue, "server-unreachable", Some("serving-failed")),
            (State::ServerUnreachable, "server-unreachable", Some("serving-failed")),
            (State::Requesting, "certificate-for-other-addresses", Some("serving-failed")),
        ] {
            assert_eq!(story(state, kind).map(|event| event.name), want, "{state:?} {kind}");
        }
    }
}
