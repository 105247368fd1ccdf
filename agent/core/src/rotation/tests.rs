use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::hostname::node_name;

pub(super) const POLICY: Policy = Policy { owner: Owner::Eyewall, renew_at: [0.60, 0.67], look_again: LOOK_AGAIN };
/// The start of the tests' day; certificates of 72 h begin five minutes before it, as kube-controller-manager makes them.
pub(super) const T0: u64 = 1_800_000_000;
pub(super) const HOUR: u64 = 3_600;

pub(super) fn leaf(node: &str) -> CertView {
    CertView {
        common_name: format!("system:node:{node}"),
        organizations: vec!["system:nodes".to_owned()],
        subject: String::new(),
        issuer: String::new(),
        serial: "0abc".to_owned(),
        not_before: Time::from_unix(T0 - 300),
        not_after: Time::from_unix(T0 + 72 * HOUR - 300),
        client_auth: true,
        is_ca: false,
        alternative_names: 0,
        sha256: String::new(),
        public_key: b"key-in-force".to_vec(),
    }
}

pub(super) fn usable(anchor: Anchor) -> Current {
    Current::Usable { leaf: Box::new(leaf("node-a")), installed_at: Time::from_unix(T0), anchor }
}

pub(super) fn request(node: &str, key: &[u8]) -> Request {
    Request {
        name: "node-csr-1".to_owned(),
        common_name: format!("system:node:{node}"),
        public_key: key.to_vec(),
        since: Time::from_unix(T0),
    }
}

fn trusted(at: u64) -> Clock {
    Clock::of(at, true, "clock-agrees-with-server")
}

fn doubted(at: u64) -> Clock {
    Clock::of(at, false, "clock-differs-from-server")
}

pub(super) fn attempt(at: u64, outcome: Outcome, identity: Identity, streak: u32) -> Attempt {
    Attempt { at: Time::from_unix(at), outcome, identity, streak, draw: 0.5 }
}

/// A node that has just booted for the first time, at T0.
pub(super) fn fresh() -> Seen {
    Seen {
        node: node_name(Some("node-a"), ""),
        bootstrap: Ok(Time::from_unix(T0 + 365 * 24 * HOUR)),
        current: Current::Nothing,
        request: None,
        clock: None,
        last: None,
        wish: None,
        recovery: None,
        recovery_trouble: None,
    }
}

/// The same with its certificate in force.
pub(super) fn joined() -> Seen {
    Seen { current: usable(Anchor::Bootstrap), ..fresh() }
}

type Change = fn(&mut Seen);
/// Name, seconds after T0, where it begins, what is different; state, kind of the reason, step.
type Case = (&'static str, u64, fn() -> Seen, Change, &'static str, &'static str, &'static str);

fn word(step: &Step) -> &'static str {
    match step {
        Step::Idle { .. } => "idle",
        Step::Quarantine(_) => "quarantine",
        Step::Forget(_) => "forget",
        Step::Prepare => "prepare",
        Step::CheckClock => "check-clock",
        Step::TestRecovery => "test-recovery",
        Step::Ask(Identity::Bootstrap) => "ask-bootstrap",
        Step::Ask(Identity::Node) => "ask-node",
    }
}

const WORDS: [&str; 8] =
    ["ask-bootstrap", "ask-node", "check-clock", "forget", "idle", "prepare", "quarantine", "test-recovery"];

#[test]
fn every_state_and_step() {
    #[rustfmt::skip] // one case, one line
    let cases: &[Case] = &[
        // The line of a first boot.
        ("first boot", 0, fresh, |s| s.clock = None, "requesting", "certificate-absent", "check-clock"),
        ("clock good", 0, fresh, |_| {}, "requesting", "certificate-absent", "prepare"),
        ("key made", 0, fresh, |s| s.request = Some(request("node-a", b"new")), "requesting", "certificate-absent", "ask-bootstrap"),
        ("clock's verdict is old", HOUR, fresh, |s| s.clock = Some(trusted(T0)), "requesting", "certificate-absent", "check-clock"),
        ("clock's verdict is from the future", 0, fresh, |s| s.clock = Some(trusted(T0 + 60)), "requesting", "certificate-absent", "check-clock"),
        // A clock in doubt: nothing is made, asked for or put aside.
        ("clock wrong", 0, fresh, |s| s.clock = Some(doubted(T0)), "clock-suspect", "clock-differs-from-server", "idle"),
        ("clock wrong, and a key is there", 0, fresh, |s| { s.request = Some(request("node-a", b"new")); s.clock = Some(doubted(T0)); }, "clock-suspect", "clock-differs-from-server", "idle"),
        ("clock wrong, looked at again", 6, fresh, |s| s.clock = Some(doubted(T0)), "clock-suspect", "clock-differs-from-server", "check-clock"),
        ("clock wrong, looked at long ago", HOUR, fresh, |s| s.clock = Some(doubted(T0)), "clock-suspect", "clock-differs-from-server", "check-clock"),
        ("clock wrong, and the certificate is good", HOUR, joined, |s| s.clock = Some(doubted(T0 + HOUR)), "valid", "certificate-valid", "idle"),
        ("clock wrong, and it is due by it", 49 * HOUR, joined, |s| s.clock = Some(doubted(T0 + 49 * HOUR)), "renewal-due", "clock-differs-from-server", "idle"),
        ("looks expired, and nobody has looked at the clock", 72 * HOUR, joined, |s| s.clock = None, "expired-recovering", "clock-unchecked", "check-clock"),
        ("looks expired by a clock that is wrong", 200_000 * HOUR, joined, |s| s.clock = Some(doubted(T0 + 200_000 * HOUR)), "clock-suspect", "clock-differs-from-server", "idle"),
        ("the server's certificate looks expired too", 200_000 * HOUR, joined, |s| s.clock = Some(Clock::of(T0 + 200_000 * HOUR, false, "server-certificate-out-of-time")), "clock-suspect", "server-certificate-out-of-time", "idle"),
        // What stops it before anything is asked.
        ("localhost", 0, fresh, |s| s.node = node_name(None, "localhost"), "absent", "hostname-is-localhost", "idle"),
        ("no kubeconfig", 0, fresh, |s| s.bootstrap = Err(Reason::new("bootstrap-kubeconfig-missing", "")), "absent", "bootstrap-kubeconfig-missing", "idle"),
        ("CA ended", 366 * 24 * HOUR, fresh, |_| {}, "ca-expired", "authority-expired", "idle"),
        ("CA ended by a clock that is wrong", 366 * 24 * HOUR, fresh, |s| s.clock = Some(doubted(T0 + 366 * 24 * HOUR)), "clock-suspect", "clock-differs-from-server", "idle"),
        ("CA ended by a clock that nobody has looked at", 366 * 24 * HOUR, fresh, |s| s.clock = None, "requesting", "certificate-absent", "check-clock"),
        ("CA ended by a clock that was good a while ago", 366 * 24 * HOUR, fresh, |s| s.clock = Some(trusted(T0 + 365 * 24 * HOUR)), "ca-expired", "authority-expired", "idle"),
        ("unreadable", 0, fresh, |s| s.current = Current::Unreadable(Reason::new("certificate-unreadable", "")), "absent", "certificate-unreadable", "idle"),
        ("corrupt", 0, fresh, |s| s.current = Current::Unusable(Reason::new("certificate-corrupt", "")), "absent", "certificate-corrupt", "quarantine"),
        ("request of another name", 0, fresh, |s| s.request = Some(request("node-b", b"new")), "requesting", "node-name-changed", "forget"),
        // How attempts end.
        ("pending", 0, fresh, |s| s.last = Some(attempt(T0, Outcome::Pending, Identity::Bootstrap, 1)), "pending-approval", "approval-pending", "idle"),
        ("pending, watched on", 5, fresh, |s| { s.last = Some(attempt(T0, Outcome::Pending, Identity::Bootstrap, 1)); s.request = Some(request("node-a", b"new")); }, "pending-approval", "approval-pending", "ask-bootstrap"),
        ("denied", 60, fresh, |s| s.last = Some(attempt(T0, Outcome::Denied(String::new()), Identity::Bootstrap, 1)), "denied", "request-denied", "idle"),
        ("failed", 60, fresh, |s| s.last = Some(attempt(T0, Outcome::Failed(String::new()), Identity::Bootstrap, 1)), "denied", "request-failed", "idle"),
        ("token unknown", 1, fresh, |s| s.last = Some(attempt(T0, Outcome::Unauthorized, Identity::Bootstrap, 1)), "token-rejected", "credential-rejected", "idle"),
        ("forbidden", 1, fresh, |s| s.last = Some(attempt(T0, Outcome::Forbidden(String::new()), Identity::Bootstrap, 1)), "denied", "request-forbidden", "idle"),
        ("away", 0, fresh, |s| s.last = Some(attempt(T0, Outcome::Unreachable(String::new()), Identity::Bootstrap, 1)), "server-unreachable", "server-unreachable", "idle"),
        ("away, tried again", 2, fresh, |s| s.last = Some(attempt(T0, Outcome::Unreachable(String::new()), Identity::Bootstrap, 1)), "server-unreachable", "server-unreachable", "prepare"),
        ("asked to wait", 29, fresh, |s| s.last = Some(attempt(T0, Outcome::Throttled(Duration::from_secs(30)), Identity::Bootstrap, 1)), "server-unreachable", "server-throttled", "idle"),
        ("wrong CA", 1, fresh, |s| s.last = Some(attempt(T0, Outcome::Untrusted(String::new()), Identity::Bootstrap, 1)), "server-unreachable", "server-untrusted", "idle"),
        ("server's certificate out of time", 0, fresh, |s| s.last = Some(attempt(T0, Outcome::OutOfTime(String::new()), Identity::Bootstrap, 1)), "clock-suspect", "server-certificate-out-of-time", "idle"),
        ("server's certificate has ended", 4, fresh, |s| s.last = Some(attempt(T0, Outcome::ServerExpired(String::new()), Identity::Bootstrap, 1)), "server-unreachable", "server-certificate-expired", "idle"),
        ("unproved", 1, fresh, |s| { s.last = Some(attempt(T0, Outcome::Unproved(Reason::new("certificate-swapped", "")), Identity::Bootstrap, 1)) }, "requesting", "certificate-swapped", "idle"),
        ("issued by a clock ahead of ours", 2, fresh, |s| s.last = Some(attempt(T0, Outcome::NotYet(Time::from_unix(T0 + 3)), Identity::Bootstrap, 1)), "requesting", "certificate-not-yet-valid", "idle"),
        ("issued by a clock ahead of ours, and begun", 3, fresh, |s| { s.last = Some(attempt(T0, Outcome::NotYet(Time::from_unix(T0 + 3)), Identity::Bootstrap, 1)); s.request = Some(request("node-a", b"new")); }, "requesting", "certificate-not-yet-valid", "ask-bootstrap"),
        ("disk full", 0, fresh, |s| s.last = Some(attempt(T0, Outcome::Disk(Reason::new("disk-full", "")), Identity::Bootstrap, 1)), "absent", "disk-full", "idle"),
        ("clock set back behind the attempt", 0, fresh, |s| s.last = Some(attempt(T0 + HOUR, Outcome::Denied(String::new()), Identity::Bootstrap, 9)), "denied", "request-denied", "prepare"),
        // The bootstrap credential, while it is not needed.
        ("never tested", HOUR, joined, |s| s.recovery = None, "valid", "certificate-valid", "test-recovery"),
        ("tested an hour ago", 2 * HOUR, joined, |s| s.recovery = Some(Tested { at: Time::from_unix(T0 + HOUR), answered: true }), "valid", "certificate-valid", "idle"),
        ("tested a day ago", 25 * HOUR, joined, |s| s.recovery = Some(Tested { at: Time::from_unix(T0 + HOUR), answered: true }), "valid", "certificate-valid", "test-recovery"),
        ("not answered an hour ago", 2 * HOUR, joined, |s| s.recovery = Some(Tested { at: Time::from_unix(T0 + HOUR), answered: false }), "valid", "certificate-valid", "test-recovery"),
        ("no kubeconfig to test", HOUR, joined, |s| { s.recovery = None; s.bootstrap = Err(Reason::new("bootstrap-kubeconfig-missing", "")); }, "valid", "certificate-valid", "idle"),
        // A certificate in force.
        ("due, and its CA ends with it", 49 * HOUR, joined, |s| s.bootstrap = Ok(Time::from_unix(T0 + 72 * HOUR - 300)), "valid", "certificate-ends-with-authority", "idle"),
        ("not due, and its CA ends with it", HOUR, joined, |s| s.bootstrap = Ok(Time::from_unix(T0 + 72 * HOUR - 300)), "valid", "certificate-valid", "idle"),
        ("expired with its CA", 72 * HOUR, joined, |s| s.bootstrap = Ok(Time::from_unix(T0 + 72 * HOUR - 300)), "ca-expired", "authority-expired", "idle"),
        ("valid", HOUR, joined, |_| {}, "valid", "certificate-valid", "idle"),
        ("before its point", 43 * HOUR, joined, |_| {}, "valid", "certificate-valid", "idle"),
        ("valid without a kubeconfig", HOUR, joined, |s| s.bootstrap = Err(Reason::new("bootstrap-kubeconfig-missing", "")), "valid", "certificate-valid", "idle"),
        ("due", 49 * HOUR, joined, |_| {}, "renewal-due", "renewal-due", "prepare"),
        ("due, asked with itself", 49 * HOUR, joined, |s| { s.request = Some(request("node-a", b"new")); }, "renewal-due", "renewal-due", "ask-node"),
        ("due, certificate refused", 49 * HOUR, joined, |s| { s.request = Some(request("node-a", b"new")); s.clock = Some(trusted(T0 + 49 * HOUR)); s.last = Some(attempt(T0 + 49 * HOUR, Outcome::Unauthorized, Identity::Node, 1)); }, "renewal-due", "credential-rejected", "ask-bootstrap"),
        ("due, server away", 49 * HOUR, joined, |s| s.last = Some(attempt(T0 + 49 * HOUR, Outcome::Unreachable(String::new()), Identity::Node, 1)), "renewal-due", "server-unreachable", "idle"),
        ("due, no kubeconfig", 49 * HOUR, joined, |s| s.bootstrap = Err(Reason::new("bootstrap-kubeconfig-missing", "")), "renewal-due", "bootstrap-kubeconfig-missing", "idle"),
        ("overdue", 58 * HOUR, joined, |_| {}, "renewal-overdue", "renewal-overdue", "prepare"),
        ("expired", 72 * HOUR, joined, |_| {}, "expired-recovering", "certificate-expired", "prepare"),
        ("expired, asked with the token", 100 * HOUR, joined, |s| { s.request = Some(request("node-a", b"new")); }, "expired-recovering", "certificate-expired", "ask-bootstrap"),
        ("expired, token revoked", 100 * HOUR, joined, |s| s.last = Some(attempt(T0 + 100 * HOUR, Outcome::Unauthorized, Identity::Bootstrap, 3)), "token-rejected", "credential-rejected", "idle"),
        ("asked for by an operator", HOUR, joined, |s| s.wish = Some(Wish::Fresh), "renewal-due", "renewal-asked", "prepare"),
        ("renamed", HOUR, joined, |s| { s.node = node_name(Some("node-b"), ""); s.request = Some(request("node-b", b"new")); }, "renewal-due", "node-name-changed", "ask-bootstrap"),
        ("new CA", HOUR, joined, |s| { s.current = usable(Anchor::Installed); s.request = Some(request("node-a", b"new")); }, "renewal-due", "authority-changed", "ask-bootstrap"),
        ("a renewal that was cut short", HOUR, joined, |s| { s.request = Some(request("node-a", b"new")); }, "renewal-due", "renewal-cut-short", "ask-node"),
        ("an installation that was cut short", HOUR, joined, |s| s.request = Some(request("node-a", b"key-in-force")), "valid", "certificate-valid", "forget"),
    ];
    let states: BTreeSet<&str> = cases.iter().map(|case| case.4).collect();
    assert_eq!(states, State::ALL.map(State::as_str).into(), "every state has a row");
    let steps: BTreeSet<&str> = cases.iter().map(|case| case.6).collect();
    assert_eq!(steps, BTreeSet::from(WORDS), "every step has a row");
    for (name, after, base, change, state, kind, step) in cases {
        let mut seen = base();
        // Tested just now, unless the case says otherwise.
        seen.recovery = Some(Tested { at: Time::from_unix(T0 + after), answered: true });
        // And the clock was found good just now.
        seen.clock = Some(trusted(T0 + after));
        change(&mut seen);
        let got = decide(Time::from_unix(T0 + after).0, &seen, &POLICY);
        let told = (got.state.as_str(), got.reason.kind.as_str(), word(&got.step));
        assert_eq!(told, (*state, *kind, *step), "{name}: {got:?}");
    }
}

/// A clock that stands before the certificate's own start is wrong, or the certificate is: found out before anything is done.
#[test]
fn a_certificate_that_has_not_begun() {
    for (name, now, clock, state, kind, step) in [
        ("1970", 12, None, "expired-recovering", "clock-unchecked", "check-clock"),
        (
            "1970, and known",
            12,
            Some(Clock::of(12, false, "clock-impossible")),
            "clock-suspect",
            "clock-impossible",
            "idle",
        ),
        ("an hour before", T0 - HOUR, None, "expired-recovering", "clock-unchecked", "check-clock"),
        (
            "an hour before by a good clock",
            T0 - HOUR,
            Some(trusted(T0 - HOUR)),
            "expired-recovering",
            "certificate-not-yet-valid",
            "prepare",
        ),
        ("as much as a good clock may lag", T0 - 300 - 150, None, "valid", "certificate-valid", "idle"),
    ] {
        let mut seen = joined();
        seen.recovery = Some(Tested { at: Time::from_unix(now), answered: true });
        seen.clock = clock;
        let got = decide(Time::from_unix(now).0, &seen, &POLICY);
        assert_eq!(
            (got.state.as_str(), got.reason.kind.as_str(), word(&got.step)),
            (state, kind, step),
            "{name}: {got:?}"
        );
    }
}

#[test]
fn the_renewal_point_does_not_move_and_lies_between_its_fractions() {
    let issued = Time::from_unix(T0);
    for serial in 0..500_u32 {
        let leaf = CertView { serial: format!("{serial:08x}"), ..leaf("node-a") };
        let got = schedule(&leaf, issued, POLICY.renew_at);
        assert_eq!(got, schedule(&leaf, issued, POLICY.renew_at));
        let share = got.renew_at.unix().abs_diff(T0) as f64 / (72.0 * 3_600.0 - 300.0);
        assert!((0.5999..=0.6701).contains(&share), "{serial}: {share}");
        assert!(got.overdue_at > got.renew_at);
    }
}

#[test]
fn short_lives_are_counted_from_the_installation() {
    // kube-controller-manager sets the start back five minutes: 40 s of life have a span of 340 s.
    let short = CertView { not_after: Time::from_unix(T0 + 40), ..leaf("node-a") };
    for (name, installed, earliest, latest) in [
        ("installed when issued", T0, T0 + 24, T0 + 27),
        ("an adopted file of unknown age, later than its end", T0 + 3_000, T0 - 300 + 204, T0 - 300 + 228),
        ("installed late in its life", T0 - 20, T0 + 16, T0 + 21),
        ("installed before it began", T0 - 900, T0 - 300 + 204, T0 - 300 + 228),
    ] {
        let got = schedule(&short, Time::from_unix(installed), POLICY.renew_at).renew_at.unix();
        assert!((earliest..=latest).contains(&got), "{name}: {got} not in {earliest}..={latest}");
    }
}

/// The flood of kubernetes#97680: by a clock ahead of the signer's each new certificate is past its point when it comes.
#[test]
fn no_certificate_is_due_when_it_comes() {
    // An hour and a half of life, by a clock that is up to its whole life ahead.
    let leaf = CertView { not_after: Time::from_unix(T0 + 5_100), ..leaf("node-a") };
    for (name, installed, want) in [
        ("past its point", T0 + 3_500, T0 + 3_500 + 540),
        ("in its last minutes", T0 + 5_000, T0 + 5_000 + 50),
        ("in its last second", T0 + 5_100, T0 + 5_100),
    ] {
        let got = schedule(&leaf, Time::from_unix(installed), POLICY.renew_at);
        assert_eq!(got.renew_at, Time::from_unix(want), "{name}");
        assert!(got.overdue_at >= got.renew_at, "{name}");
    }
}
