//! `owner = "kubelet"`: a kubelet that renews its certificate itself, as on a Typhoon node of today. The states are the same,
//! seen in the kubelet's own store and by its own habits; no step writes anything.

use std::time::Duration;

use super::doubt::{self, Standing, standing};
use super::held::{Held, ends_with_authority, valid};
use super::schedule::Schedule;
use super::{Decision, LOOK_AGAIN, Seen, Step, Tested, after, idle};
use crate::cert::CertView;
use crate::status::{CertificateState as State, Reason};
use crate::time::Time;

/// client-go draws the moment of a renewal between these shares of the life, anew at each start, and tells nobody
/// (`certificate_manager.go`, `nextRotationDeadline`).
const RENEWS: [f64; 2] = [0.70, 0.90];
/// A kubelet tries again at least every 32 s and a signer needs some of a second: later than this a renewal is not late by chance.
const OVERDUE: f64 = 0.92;
/// While the kubelet is without a certificate, how often the credential is tested that it asks with.
const WITHOUT: Duration = Duration::from_secs(300);

/// What is said of a certificate in force.
const ITSELF: &str = "the kubelet renews it itself, at a moment between 70 and 90 % of its life; the agent only looks";

/// The kubelet's own schedule, from the certificate's own start.
pub(super) fn schedule(leaf: &CertView) -> Schedule {
    let life = leaf.not_after.0.duration_since(leaf.not_before.0).unwrap_or_default();
    let at = |share: f64| Time(leaf.not_before.0 + life.mul_f64(share));
    Schedule { starts_at: leaf.not_before, renew_at: at(RENEWS[0]), overdue_at: at(OVERDUE) }
}

/// Decides for a kubelet that owns its certificate.
pub(super) fn watch(now: Time, seen: &Seen, held: Option<&Held<'_>>) -> Decision {
    match held {
        Some(held) if held.alive => in_force(now, seen, held),
        _ => without(now, seen, held),
    }
}

/// Nothing but looking; and a test of the credential it would come back with.
fn in_force(now: Time, seen: &Seen, held: &Held<'_>) -> Decision {
    let latest = held.schedule.overdue_at;
    let (state, reason, next, next_at) = match held.due.as_ref().map(|due| (due.kind.as_str(), due)) {
        None if held.last && now >= held.schedule.renew_at => {
            (State::Valid, ends_with_authority(held.leaf), "the certificate and its CA end", Some(held.leaf.not_after))
        }
        None => (State::Valid, valid(held.leaf), ITSELF, Some(held.schedule.renew_at)),
        Some(("renewal-due", _)) => {
            let words = format!("valid until {}; the kubelet renews it before {latest}", held.leaf.not_after);
            (State::RenewalDue, Reason::new("renewal-due", words), ITSELF, Some(latest))
        }
        Some(("renewal-overdue", _)) => {
            let words = format!(
                "the kubelet should have renewed it by {latest}, and it ends at {}: see journalctl -u kubelet",
                held.leaf.not_after
            );
            let next = "it ends, and the kubelet asks for another with the bootstrap credential";
            (State::RenewalOverdue, Reason::new("renewal-overdue", words), next, Some(held.leaf.not_after))
        }
        // Another name or another CA: a kubelet sees neither before it is started anew.
        Some((_, due)) => (held.state(now), due.clone(), "the kubelet asks for another when it is restarted", None),
    };
    if seen.bootstrap.is_ok() && seen.recovery.is_none_or(|tested| tested.is_due(now)) {
        return test(state, reason);
    }
    idle(now, state, reason, next, next_at)
}

/// What the kubelet would say if it could be asked: why it has no certificate, or why it gets none.
fn without(now: Time, seen: &Seen, held: Option<&Held<'_>>) -> Decision {
    let state = if held.is_some() { State::ExpiredRecovering } else { State::Absent };
    let soon = Some(after(now, LOOK_AGAIN));
    if let Err(fault) = &seen.node {
        let reason = Reason::new(fault.kind(), fault.to_string());
        return idle(now, state, reason, "the hostname is read again; the kubelet may ask under a wrong name", soon);
    }
    let ca_end = match &seen.bootstrap {
        Err(reason) => {
            let next = "the kubelet bootstraps with the bootstrap kubeconfig as soon as there is one that can be used";
            return idle(now, state, reason.clone(), next, None);
        }
        Ok(ca_end) => *ca_end,
    };
    match standing(now, seen) {
        Standing::Doubted(clock) if clock.is_spoken_against() => {
            let next = "the kubelet asks by this clock all the same; it is looked at again, and at once when it is set";
            return Decision { next: next.to_owned(), ..doubt::wait(now, State::ClockSuspect, clock) };
        }
        // Out of its life by this clock, or its CA: is it the clock?
        Standing::Unknown if held.is_some() || now >= ca_end => return doubt::look_first(state),
        Standing::Trusted | Standing::Unknown | Standing::Doubted(_) => {}
    }
    if now >= ca_end {
        let words = format!(
            "the cluster CA of the bootstrap kubeconfig ended at {ca_end}: no certificate can be issued; the cluster needs a new CA"
        );
        let next = "the bootstrap kubeconfig is read again as soon as it changes";
        return idle(now, State::CaExpired, Reason::new("authority-expired", words), next, None);
    }
    let trouble = seen.recovery_trouble.as_ref();
    let (state, reason) = match (seen.recovery, trouble) {
        (Some(Tested { answered: true, .. }), Some(trouble)) => (State::TokenRejected, trouble.clone()),
        (Some(Tested { answered: false, .. }), Some(trouble)) if held.is_none() => {
            (State::ServerUnreachable, trouble.clone())
        }
        (Some(Tested { answered: false, .. }), Some(trouble)) => (state, trouble.clone()),
        _ => match held {
            Some(held) => {
                let words = format!("the certificate ended at {}", held.leaf.not_after);
                (state, Reason::new("certificate-expired", words))
            }
            None => (state, Reason::new("certificate-absent", "the kubelet has not got a certificate yet")),
        },
    };
    if seen.recovery.is_none_or(|tested| now.0.duration_since(tested.at.0).map_or(true, |age| age >= WITHOUT)) {
        return test(state, reason);
    }
    let next = match state {
        State::TokenRejected => {
            "the kubelet ends every five minutes and is started again, until the bootstrap kubeconfig has a credential \
             that the API server knows"
        }
        State::ServerUnreachable => "the kubelet asks for a certificate once the API server answers",
        _ => "the kubelet asks for a certificate with the bootstrap credential; the agent only looks",
    };
    idle(now, state, reason, next, soon)
}

fn test(state: State, reason: Reason) -> Decision {
    let next = "the bootstrap credential is tested".to_owned();
    Decision { state, reason, next, next_at: None, step: Step::TestRecovery }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{HOUR, POLICY, T0, joined, request, usable};
    use super::super::{Anchor, Clock, Current, Policy, decide};
    use super::*;
    use crate::config::Owner;
    use crate::hostname::node_name;

    const KUBELETS: Policy = Policy { owner: Owner::Kubelet, ..POLICY };

    fn bare() -> Seen {
        Seen { current: Current::Nothing, ..joined() }
    }

    fn tested(seen: &mut Seen, at: u64, answered: bool, trouble: Option<&str>) {
        seen.recovery = Some(Tested { at: Time::from_unix(at), answered });
        seen.recovery_trouble = trouble.map(|kind| Reason::new(kind, ""));
    }

    type Change = fn(&mut Seen);
    type Case = (&'static str, u64, fn() -> Seen, Change, &'static str, &'static str, bool);

    #[test]
    fn a_kubelet_that_renews_itself_is_told_in_the_same_words() {
        #[rustfmt::skip] // one case, one line
        let cases: &[Case] = &[
            ("just issued", 1, joined, |_| {}, "valid", "certificate-valid", true),
            ("tested", HOUR, joined, |s| tested(s, T0, true, None), "valid", "certificate-valid", false),
            ("tested yesterday", 25 * HOUR, joined, |s| tested(s, T0, true, None), "valid", "certificate-valid", true),
            ("no kubeconfig left", 1, joined, |s| s.bootstrap = Err(Reason::new("bootstrap-kubeconfig-missing", "")), "valid", "certificate-valid", false),
            ("ours would be due, the kubelet's not", 49 * HOUR, joined, |s| tested(s, T0 + 48 * HOUR, true, None), "valid", "certificate-valid", false),
            ("it may renew now", 51 * HOUR, joined, |s| tested(s, T0 + 50 * HOUR, true, None), "renewal-due", "renewal-due", false),
            ("and still", 64 * HOUR, joined, |s| tested(s, T0 + 63 * HOUR, true, None), "renewal-due", "renewal-due", false),
            ("it has not renewed", 67 * HOUR, joined, |s| tested(s, T0 + 66 * HOUR, true, None), "renewal-overdue", "renewal-overdue", false),
            ("its last, the CA ends too", 60 * HOUR, joined, |s| { tested(s, T0 + 59 * HOUR, true, None); s.bootstrap = Ok(Time::from_unix(T0 + 72 * HOUR)); }, "valid", "certificate-ends-with-authority", false),
            ("another name", HOUR, joined, |s| { tested(s, T0, true, None); s.node = node_name(Some("node-b"), ""); }, "renewal-due", "node-name-changed", false),
            ("another CA", HOUR, joined, |s| { tested(s, T0, true, None); s.current = usable(Anchor::Installed); }, "renewal-due", "authority-changed", false),
            ("a request of ours is left", HOUR, joined, |s| { tested(s, T0, true, None); s.request = Some(request("node-a", b"next")); }, "valid", "certificate-valid", false),
            ("expired", 73 * HOUR, joined, |s| tested(s, T0 + 72 * HOUR, true, None), "expired-recovering", "certificate-expired", true),
            ("expired, token good", 73 * HOUR, joined, |s| tested(s, T0 + 73 * HOUR - 9, true, None), "expired-recovering", "certificate-expired", false),
            ("expired, token refused", 73 * HOUR, joined, |s| tested(s, T0 + 73 * HOUR - 9, true, Some("credential-rejected")), "token-rejected", "credential-rejected", false),
            ("expired, no server", 73 * HOUR, joined, |s| tested(s, T0 + 73 * HOUR - 9, false, Some("server-unreachable")), "expired-recovering", "server-unreachable", false),
            ("expired, CA too", 73 * HOUR, joined, |s| s.bootstrap = Ok(Time::from_unix(T0 + 72 * HOUR)), "ca-expired", "authority-expired", false),
            ("absent", 1, bare, |_| {}, "absent", "certificate-absent", true),
            ("absent, token good", 1, bare, |s| tested(s, T0, true, None), "absent", "certificate-absent", false),
            ("absent, token refused", 1, bare, |s| tested(s, T0, true, Some("credential-rejected")), "token-rejected", "credential-rejected", false),
            ("absent, no server", 1, bare, |s| tested(s, T0, false, Some("server-unreachable")), "server-unreachable", "server-unreachable", false),
            ("absent, tested a while ago", 301, bare, |s| tested(s, T0, true, Some("credential-rejected")), "token-rejected", "credential-rejected", true),
            ("absent, no kubeconfig", 1, bare, |s| s.bootstrap = Err(Reason::new("bootstrap-kubeconfig-missing", "")), "absent", "bootstrap-kubeconfig-missing", false),
            ("absent, no name", 1, bare, |s| s.node = node_name(None, "localhost"), "absent", "hostname-is-localhost", false),
            ("absent, wrong clock", 1, bare, |s| s.clock = Some(Clock::of(T0, false, "clock-differs-from-server")), "clock-suspect", "clock-differs-from-server", false),
            ("looks expired, and nobody has looked at the clock", 73 * HOUR, joined, |s| s.clock = None, "expired-recovering", "clock-unchecked", false),
            ("looks expired by a wrong clock", 73 * HOUR, joined, |s| s.clock = Some(Clock::of(T0 + 73 * HOUR, false, "clock-differs-from-server")), "clock-suspect", "clock-differs-from-server", false),
            ("expired, and nobody to ask for the time", 73 * HOUR, joined, |s| { tested(s, T0 + 73 * HOUR - 9, true, None); s.clock = Some(Clock::of(T0 + 73 * HOUR, false, "clock-unchecked")); }, "expired-recovering", "certificate-expired", false),
            ("corrupt", 1, bare, |s| s.current = Current::Unusable(Reason::new("certificate-corrupt", "")), "absent", "certificate-corrupt", false),
            ("unreadable", 1, bare, |s| s.current = Current::Unreadable(Reason::new("file-unreadable", "")), "absent", "file-unreadable", false),
        ];
        for (name, after, begin, change, state, kind, tests) in cases {
            let mut seen = begin();
            seen.clock = Some(Clock::of(T0 + after, true, ""));
            change(&mut seen);
            let now = Time::from_unix(T0 + after);
            let got = decide(now.0, &seen, &KUBELETS);
            assert_eq!((got.state.as_str(), got.reason.kind.as_str()), (*state, *kind), "{name}");
            assert_eq!(got.step == Step::TestRecovery, *tests, "{name}: {:?}", got.step);
            assert!(
                matches!(got.step, Step::TestRecovery | Step::CheckClock | Step::Idle { .. }),
                "{name} would write: {:?}",
                got.step
            );
            assert!(!got.next.is_empty(), "{name}");
        }
    }

    #[test]
    fn its_schedule_is_the_kubelets() {
        let Current::Usable { leaf, .. } = usable(Anchor::Bootstrap) else { panic!("usable") };
        let schedule = schedule(&leaf);
        // 72 h from five minutes before T0.
        assert_eq!(schedule.renew_at, Time::from_unix(T0 - 300 + 72 * HOUR * 70 / 100));
        assert_eq!(schedule.overdue_at, Time::from_unix(T0 - 300 + 72 * HOUR * 92 / 100));
    }
}
