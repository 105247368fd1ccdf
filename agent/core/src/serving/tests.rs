use std::time::Duration;

use super::pair::Half;
use super::*;
use crate::cert::CertView;
use crate::hostname::node_name;
use crate::rotation::{Identity, Outcome};

pub(super) const POLICY: Policy = Policy { keeper: Keeper::Eyewall, renew_at: [0.60, 0.67] };
/// The start of the tests' day; certificates of 72 h begin five minutes before it, as kube-controller-manager makes them.
pub(super) const T0: u64 = 1_800_000_000;
pub(super) const HOUR: u64 = 3_600;

pub(super) fn names(texts: &[&str]) -> Names {
    let mut names = Names::default();
    for text in texts {
        match text.parse() {
            Ok(ip) => names.ips.insert(ip),
            Err(_) => names.dns.insert((*text).to_owned()),
        };
    }
    names
}

/// The names of node-a.
pub(super) fn usual() -> Names {
    names(&["node-a", "10.0.0.1"])
}

pub(super) fn leaf(node: &str) -> Leaf {
    let cert = CertView {
        common_name: format!("system:node:{node}"),
        organizations: vec!["system:nodes".to_owned()],
        subject: String::new(),
        issuer: String::new(),
        serial: "0abc".to_owned(),
        not_before: Time::from_unix(T0 - 300),
        not_after: Time::from_unix(T0 + 72 * HOUR - 300),
        client_auth: false,
        is_ca: false,
        alternative_names: 2,
        sha256: String::new(),
        public_key: b"key-in-force".to_vec(),
    };
    Leaf { cert, names: usual(), server_auth: true }
}

pub(super) fn usable() -> Current {
    Current::Usable {
        leaf: Box::new(leaf("node-a")),
        installed_at: Time::from_unix(T0),
        anchored: Some(true),
        linked: true,
    }
}

pub(super) fn request(node: &str, names: Names, key: &[u8]) -> Request {
    Request {
        name: "node-csr-1".to_owned(),
        common_name: format!("system:node:{node}"),
        names,
        public_key: key.to_vec(),
        since: Time::from_unix(T0),
    }
}

pub(super) fn clock(at: u64, trusted: bool) -> Clock {
    Clock::of(at, trusted, "clock")
}

pub(super) fn read(at: u64, found: Found) -> NodeRead {
    NodeRead { at: Time::from_unix(at), found, streak: 1, draw: 0.5 }
}

pub(super) fn attempt(at: u64, outcome: Outcome, streak: u32) -> Attempt {
    Attempt { at: Time::from_unix(at), outcome, identity: Identity::Node, streak, draw: 0.5 }
}

pub(super) const SELF_SIGNED: Pair = Pair { certificate: Half::Other, key: Half::Other, loads: true };
pub(super) const OURS: Pair = Pair { certificate: Half::Ours, key: Half::Ours, loads: true };

/// A node with its client certificate, whose kubelet serves with what it signed itself, at `at`.
fn joined(at: u64) -> Seen {
    Seen {
        node: node_name(Some("node-a"), ""),
        bootstrap: Ok(Time::from_unix(T0 + 365 * 24 * HOUR)),
        client: Ok(()),
        node_read: Some(read(at, Found::Addresses)),
        addresses: Some(usual()),
        current: Current::Nothing,
        pair: SELF_SIGNED,
        stale: false,
        request: None,
        clock: Some(clock(at, true)),
        last: None,
    }
}

/// The same with its serving certificate in force.
fn served(at: u64) -> Seen {
    Seen { current: usable(), pair: OURS, ..joined(at) }
}

fn changed(seen: &mut Seen, change: impl FnOnce(&mut Leaf)) {
    if let Current::Usable { leaf, .. } = &mut seen.current {
        change(leaf);
    }
}

type Change = fn(&mut Seen);
/// Name, seconds after T0, where it begins, what is different; state, kind of the reason, step.
type Case = (&'static str, u64, fn(u64) -> Seen, Change, &'static str, &'static str, &'static str);

pub(super) fn word(step: &Step) -> &'static str {
    match step {
        Step::Idle { .. } => "idle",
        Step::Withdraw(_) => "withdraw",
        Step::Link => "link",
        Step::Tidy => "tidy",
        Step::Forget(_) => "forget",
        Step::ReadNode => "read-node",
        Step::Prepare => "prepare",
        Step::Ask => "ask",
    }
}

#[test]
fn every_state_and_step() {
    #[rustfmt::skip] // one case, one line
    let cases: &[Case] = &[
        // The line of a first certificate.
        ("nothing is known of the Node", 0, joined, |s| { s.node_read = None; s.addresses = None; s.clock = None; }, "requesting", "certificate-absent", "read-node"),
        ("addresses are known", 0, joined, |_| {}, "requesting", "certificate-absent", "prepare"),
        ("key made", 0, joined, |s| s.request = Some(request("node-a", usual(), b"new")), "requesting", "certificate-absent", "ask"),
        ("addresses were read a while ago", 0, joined, |s| s.node_read = Some(read(T0 - 600, Found::Addresses)), "requesting", "certificate-absent", "read-node"),
        ("addresses were read in the future", 0, joined, |s| s.node_read = Some(read(T0 + 5, Found::Addresses)), "requesting", "certificate-absent", "read-node"),
        // What stops it before anything is asked.
        ("localhost", 0, joined, |s| s.node = node_name(None, "localhost"), "absent", "hostname-is-localhost", "idle"),
        ("no kubeconfig", 0, joined, |s| s.bootstrap = Err(Reason::new("bootstrap-kubeconfig-missing", "")), "absent", "bootstrap-kubeconfig-missing", "idle"),
        ("the CA has ended", 366 * 24 * HOUR, joined, |_| {}, "ca-expired", "authority-expired", "idle"),
        ("no client certificate", 0, joined, |s| s.client = Err(Reason::new("client-certificate-missing", "")), "absent", "client-certificate-missing", "idle"),
        ("no Node", 0, joined, |s| { s.node_read = Some(read(T0, Found::NoNode)); s.addresses = None; }, "absent", "node-not-registered", "idle"),
        ("no Node, a moment later", 3, joined, |s| { s.node_read = Some(read(T0, Found::NoNode)); s.addresses = None; }, "requesting", "node-not-registered", "read-node"),
        ("a Node without addresses", 0, joined, |s| { s.node_read = Some(read(T0, Found::NoAddresses)); s.addresses = None; }, "absent", "node-without-addresses", "idle"),
        ("a Node with a hostname alone", 0, joined, |s| { s.node_read = Some(read(T0, Found::NoAddresses)); s.addresses = Some(names(&["node-a"])); }, "absent", "node-without-addresses", "idle"),
        ("the Node cannot be read", 0, joined, |s| { s.node_read = Some(read(T0, Found::Trouble(Outcome::Unreachable(String::new())))); s.addresses = None; }, "absent", "server-unreachable", "idle"),
        ("the Node may not be read", 0, joined, |s| { s.node_read = Some(read(T0, Found::Trouble(Outcome::Unauthorized))); s.addresses = None; }, "absent", "credential-rejected", "idle"),
        ("asked to wait", 100, joined, |s| { s.node_read = Some(read(T0, Found::Trouble(Outcome::Throttled(Duration::from_secs(120))))); s.addresses = None; }, "absent", "server-throttled", "idle"),
        ("clock wrong", 0, joined, |s| s.clock = Some(clock(T0, false)), "clock-suspect", "clock", "idle"),
        ("clock wrong, looked at a minute ago", 60, joined, |s| { s.clock = Some(clock(T0, false)); s.node_read = Some(read(T0, Found::Addresses)); }, "requesting", "certificate-absent", "read-node"),
        ("addresses known, and since then the server is away", HOUR, joined, |s| { s.clock = Some(clock(T0, true)); s.node_read = Some(read(T0 + HOUR, Found::Trouble(Outcome::Unreachable(String::new())))); }, "absent", "server-unreachable", "idle"),
        ("unreadable", 0, joined, |s| s.current = Current::Unreadable(Reason::new("certificate-unreadable", "")), "absent", "certificate-unreadable", "idle"),
        ("request for another name", 0, joined, |s| s.request = Some(request("node-b", usual(), b"new")), "requesting", "addresses-changed", "forget"),
        ("request for other addresses", 0, joined, |s| s.request = Some(request("node-a", names(&["10.0.0.9"]), b"new")), "requesting", "addresses-changed", "forget"),
        ("request for more addresses than there are", 0, joined, |s| s.request = Some(request("node-a", names(&["node-a", "10.0.0.1", "10.0.0.9"]), b"new")), "requesting", "addresses-changed", "forget"),
        // How attempts end.
        ("pending", 4, joined, |s| s.last = Some(attempt(T0, Outcome::Pending, 1)), "pending-approval", "approval-pending", "idle"),
        ("pending, watched on", 5, joined, |s| { s.last = Some(attempt(T0, Outcome::Pending, 1)); s.request = Some(request("node-a", usual(), b"new")); }, "pending-approval", "approval-pending", "ask"),
        ("pending for days", 59, joined, |s| s.last = Some(attempt(T0, Outcome::Pending, 500)), "pending-approval", "approval-pending", "idle"),
        ("approved and not signed", 4, joined, |s| s.last = Some(attempt(T0, Outcome::NotSigned, 1)), "pending-approval", "signature-pending", "idle"),
        ("collected after a day", 5, joined, |s| s.last = Some(attempt(T0, Outcome::Deleted, 1)), "pending-approval", "request-deleted", "prepare"),
        ("denied", 119, joined, |s| s.last = Some(attempt(T0, Outcome::Denied(String::new()), 1)), "denied", "request-denied", "idle"),
        ("failed", 119, joined, |s| s.last = Some(attempt(T0, Outcome::Failed(String::new()), 1)), "denied", "request-failed", "idle"),
        ("forbidden", 119, joined, |s| s.last = Some(attempt(T0, Outcome::Forbidden(String::new()), 1)), "denied", "request-forbidden", "idle"),
        ("the client certificate is refused", 9, joined, |s| s.last = Some(attempt(T0, Outcome::Unauthorized, 1)), "absent", "credential-rejected", "idle"),
        ("away", 0, joined, |s| s.last = Some(attempt(T0, Outcome::Unreachable(String::new()), 1)), "server-unreachable", "server-unreachable", "idle"),
        ("asked to wait for long", 299, joined, |s| s.last = Some(attempt(T0, Outcome::Throttled(Duration::from_secs(300)), 1)), "server-unreachable", "server-throttled", "idle"),
        ("unproved", 1, joined, |s| s.last = Some(attempt(T0, Outcome::Unproved(Reason::new("certificate-for-other-addresses", "")), 1)), "requesting", "certificate-for-other-addresses", "idle"),
        ("clock set back behind the attempt", 0, joined, |s| s.last = Some(attempt(T0 + HOUR, Outcome::Denied(String::new()), 9)), "denied", "request-denied", "prepare"),
        // In force.
        ("valid", HOUR, served, |_| {}, "valid", "certificate-valid", "idle"),
        ("valid, addresses to be read", HOUR, served, |s| s.node_read = Some(read(T0, Found::Addresses)), "valid", "certificate-valid", "read-node"),
        ("valid, nothing known", HOUR, served, |s| { s.node_read = None; s.addresses = None; }, "valid", "certificate-valid", "read-node"),
        ("valid, server away", HOUR, served, |s| { s.node_read = Some(read(T0 + HOUR, Found::Trouble(Outcome::Unreachable(String::new())))); }, "valid", "certificate-valid", "idle"),
        ("valid, without a client certificate", HOUR, served, |s| { s.node_read = None; s.client = Err(Reason::new("client-certificate-missing", "")); }, "valid", "certificate-valid", "idle"),
        ("valid for more than is there", HOUR, served, |s| s.addresses = Some(names(&["10.0.0.1"])), "valid", "certificate-valid", "idle"),
        ("an address more", HOUR, served, |s| s.addresses = Some(names(&["node-a", "10.0.0.1", "10.0.0.2"])), "renewal-due", "addresses-changed", "prepare"),
        ("another address", HOUR, served, |s| s.addresses = Some(names(&["node-a", "10.0.0.2"])), "renewal-due", "addresses-changed", "prepare"),
        ("another address, waiting for its approval", HOUR, served, |s| { s.addresses = Some(names(&["node-a", "10.0.0.2"])); s.last = Some(attempt(T0 + HOUR, Outcome::Pending, 1)); }, "renewal-due", "approval-pending", "idle"),
        ("an address that went away again", HOUR, served, |s| s.request = Some(request("node-a", names(&["node-a", "10.0.0.1", "10.0.0.2"]), b"new")), "valid", "certificate-valid", "forget"),
        ("due", 49 * HOUR, served, |_| {}, "renewal-due", "renewal-due", "prepare"),
        ("due, no client certificate", 49 * HOUR, served, |s| s.client = Err(Reason::new("client-certificate-expired", "")), "renewal-due", "client-certificate-expired", "idle"),
        ("overdue", 58 * HOUR, served, |_| {}, "renewal-overdue", "renewal-overdue", "prepare"),
        ("overdue, nobody approves", 58 * HOUR, served, |s| s.last = Some(attempt(T0 + 58 * HOUR, Outcome::Pending, 99)), "renewal-overdue", "approval-pending", "idle"),
        ("expired", 72 * HOUR, served, |_| {}, "expired-recovering", "certificate-expired", "prepare"),
        ("due, and its CA ends with it", 49 * HOUR, served, |s| s.bootstrap = Ok(Time::from_unix(T0 + 72 * HOUR - 300)), "valid", "certificate-ends-with-authority", "idle"),
        ("new CA", HOUR, served, |s| if let Current::Usable { anchored, .. } = &mut s.current { *anchored = Some(false); }, "renewal-due", "authority-changed", "prepare"),
        ("renamed", HOUR, served, |s| s.node = node_name(Some("node-b"), ""), "renewal-due", "node-name-changed", "prepare"),
        ("an installation that was cut short", HOUR, served, |s| s.request = Some(request("node-a", usual(), b"key-in-force")), "valid", "certificate-valid", "forget"),
        // What is on disk is put right first.
        ("corrupt", 0, served, |s| s.current = Current::Unusable(Reason::new("certificate-corrupt", "")), "absent", "certificate-corrupt", "withdraw"),
        ("links to nothing", 0, joined, |s| s.pair = Pair { loads: false, ..OURS }, "absent", "certificate-gone", "withdraw"),
        ("links to the kubelet's own, a switch cut short", 0, joined, |s| s.pair = OURS, "requesting", "certificate-absent", "prepare"),
        ("a switch cut between its links", HOUR, served, |s| s.pair = Pair { certificate: Half::Ours, key: Half::Other, loads: true }, "valid", "certificate-valid", "link"),
        ("installed, and the kubelet's own still stands", HOUR, served, |s| s.pair = SELF_SIGNED, "valid", "certificate-valid", "link"),
        ("somebody removed the pair", HOUR, served, |s| s.pair = Pair { certificate: Half::Absent, key: Half::Absent, loads: false }, "valid", "certificate-valid", "link"),
        ("an issued one that the link has left", HOUR, served, |s| if let Current::Usable { linked, .. } = &mut s.current { *linked = false; }, "valid", "certificate-valid", "link"),
        ("the one before is still there", HOUR, served, |s| s.stale = true, "valid", "certificate-valid", "tidy"),
        ("of another CA and not in force", HOUR, served, |s| { s.pair = SELF_SIGNED; if let Current::Usable { anchored, .. } = &mut s.current { *anchored = Some(false); } }, "renewal-due", "authority-changed", "prepare"),
        ("expired and not in force", 72 * HOUR, served, |s| s.pair = SELF_SIGNED, "expired-recovering", "certificate-expired", "prepare"),
    ];
    for (name, after, base, change, state, kind, step) in cases {
        let now = T0 + after;
        let mut seen = base(now);
        change(&mut seen);
        let got = decide(Time::from_unix(now).0, &seen, &POLICY);
        let told = (got.state.as_str(), got.reason.kind.as_str(), word(&got.step));
        assert_eq!(told, (*state, *kind, *step), "{name}: {got:?}");
    }
}

#[test]
fn whoever_keeps_nothing_only_looks() {
    for (name, keeper, after, current, state) in [
        ("none", Keeper::Nobody, 0, Current::Nothing, State::Absent),
        ("kept until its end", Keeper::Nobody, HOUR, usable(), State::Valid),
        ("due, and nobody renews it", Keeper::Nobody, 49 * HOUR, usable(), State::RenewalDue),
        ("ended", Keeper::Nobody, 80 * HOUR, usable(), State::ExpiredRecovering),
        ("the kubelet's", Keeper::Kubelet, HOUR, usable(), State::Valid),
        ("the kubelet's, late", Keeper::Kubelet, 60 * HOUR, usable(), State::RenewalOverdue),
        ("corrupt", Keeper::Kubelet, 0, Current::Unusable(Reason::new("certificate-corrupt", "")), State::Absent),
    ] {
        let policy = Policy { keeper, ..POLICY };
        let mut seen = Seen { current, pair: Pair { loads: false, ..OURS }, stale: true, ..joined(T0 + after) };
        changed(&mut seen, |leaf| leaf.names = names(&["10.9.9.9"]));
        seen.addresses = None;
        let got = decide(Time::from_unix(T0 + after).0, &seen, &policy);
        assert_eq!((got.state, word(&got.step)), (state, "idle"), "{name}");
    }
}

#[test]
fn the_missing_approver_is_named() {
    let mut seen = joined(T0);
    seen.request = Some(request("node-a", usual(), b"new"));
    seen.last = Some(attempt(T0, Outcome::Pending, 1));
    let got = decide(Time::from_unix(T0).0, &seen, &POLICY);
    for words in
        ["kube-controller-manager never approves", "kubelet-csr-approver", "kubectl certificate approve node-csr-1"]
    {
        assert!(got.reason.message.contains(words), "{words}: {}", got.reason.message);
    }
    assert!(got.next.contains("the kubelet serves with the certificate it has"), "{}", got.next);
}

/// However long nobody approves: how many attempts are begun in a day? Each is a few calls and one watch.
#[test]
fn a_day_without_an_approver_is_a_few_hundred_watches() {
    let (mut now, mut streak, mut attempts) = (T0, 0, 0);
    let mut seen = joined(T0);
    seen.request = Some(request("node-a", usual(), b"new"));
    while now < T0 + 24 * HOUR {
        seen.node_read = Some(read(now, Found::Addresses));
        seen.clock = Some(clock(now, true));
        match decide(Time::from_unix(now).0, &seen, &POLICY).step {
            Step::Idle { until } => now = Time(until).unix().max(now + 1),
            Step::Ask => {
                attempts += 1;
                streak += 1;
                now += WATCH.as_secs();
                seen.last = Some(attempt(now, Outcome::Pending, streak));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!((200..=260).contains(&attempts), "{attempts}");
}
