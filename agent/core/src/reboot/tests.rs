//! A row for every state and for everything that is waited for: what is seen, and then state, reason, step and lock.

mod after;
mod before;
mod cycle;
mod forced;

use std::time::Duration;

use super::*;
use crate::config::{self, OnDrainTimeout};
use crate::status::Reason;
use crate::time::Time;

/// A Tuesday, 06:00 in UTC.
const NOW: u64 = 1_795_500_000;
const MINUTE: u64 = 60;

fn ago(seconds: u64) -> Time {
    Time::from_unix(NOW - seconds)
}

fn release(version: &str) -> Release {
    Release { version: version.to_owned(), checksum: None }
}

fn boot(name: &str) -> BootId {
    BootId(name.to_owned())
}

fn why(kind: &str) -> Reason {
    Reason::new(kind, format!("{kind} said so"))
}

/// A host that runs release 1, is good, holds nothing, and wants nothing.
fn quiet() -> Seen {
    Seen {
        boot: boot("now"),
        booted_at: ago(86_400),
        booted: Ok(release("1")),
        pending: Ok(None),
        orders: Orders::default(),
        bad: Vec::new(),
        lacking: Vec::new(),
        good_since: Some(ago(86_000)),
        bad_since: None,
        certificate_until: Some(Time::from_unix(NOW + 86_400)),
        renewal_refused: None,
        slot: Slot::Seen { mine: None, others: Vec::new(), limit: 1, refused: None },
        slot_unknown_since: None,
        node: Ok(NodeSeen { unschedulable: false, cordoned_by_us: None, ready: true }),
        drain: Drain::NotBegun,
        let_go: None,
        shutting_down: false,
        given_up: None,
        trouble: None,
    }
}

/// Release 2 is staged.
fn staged() -> Seen {
    Seen { pending: Ok(Some(Pending { cause: Cause::Update(release("2")), since: ago(600) })), ..quiet() }
}

fn entry(of: &str) -> Entry {
    Entry {
        boot_id: boot(of),
        reason: "release 2 is staged".to_owned(),
        since: ago(5 * MINUTE),
        cordoned: true,
        wanted: Some(release("2")),
        from: Some(release("1")),
        let_go: None,
    }
}

fn holds(entry: Entry) -> Slot {
    Slot::Seen { mine: Some(entry), others: Vec::new(), limit: 1, refused: None }
}

fn cordoned(of: &str) -> Result<NodeSeen, Reason> {
    Ok(NodeSeen { unschedulable: true, cordoned_by_us: Some(boot(of)), ready: true })
}

/// A slot was taken for release 2 in this boot.
fn granted() -> Seen {
    Seen { slot: holds(entry("now")), ..staged() }
}

/// The same, and the node is empty.
fn drained() -> Seen {
    Seen { node: cordoned("now"), drain: Drain::Done, ..granted() }
}

/// The boot that was wanted, three minutes old.
fn rebooted() -> Seen {
    let let_go = Some(ago(4 * MINUTE));
    Seen {
        booted: Ok(release("2")),
        booted_at: ago(3 * MINUTE),
        good_since: Some(ago(MINUTE)),
        slot: holds(Entry { let_go, ..entry("before") }),
        node: cordoned("before"),
        ..quiet()
    }
}

/// An hour after it, and bad for ten minutes.
fn unhealthy() -> Seen {
    Seen {
        booted_at: ago(60 * MINUTE),
        lacking: vec![why("kubelet-dead")],
        good_since: None,
        bad_since: Some(ago(10 * MINUTE)),
        ..rebooted()
    }
}

/// The release before runs, though the host was let go for release 2, and is good.
fn fallen_back() -> Seen {
    Seen { booted: Ok(release("1")), booted_at: ago(60 * MINUTE), good_since: Some(ago(50 * MINUTE)), ..rebooted() }
}

fn orders(change: impl FnOnce(&mut Orders)) -> Orders {
    let mut orders = Orders::default();
    change(&mut orders);
    orders
}

fn hold() -> Orders {
    orders(|orders| orders.hold = Some(Hold { why: "no".to_owned(), since: ago(60), uid: 0 }))
}

fn request(of: &str) -> Orders {
    orders(|orders| {
        orders.request = Some(Request { why: "please".to_owned(), since: ago(60), uid: 0, boot_id: boot(of) });
    })
}

fn force(age: u64) -> Orders {
    orders(|orders| {
        orders.force = Some(Force { why: "now".to_owned(), since: ago(age), uid: 0, boot_id: boot("now") });
    })
}

fn free() -> Orders {
    orders(|orders| orders.free = Some(boot("now")))
}

fn policy() -> Policy {
    Policy::new(&config::Reboot::default(), jiff::tz::TimeZone::UTC, "node-a").unwrap()
}

fn with_window(day: &str, start: &str) -> Policy {
    let length = Duration::from_secs(3_600);
    let window = config::Window { days: vec![day.to_owned()], start: start.to_owned(), length };
    let reboot = config::Reboot { windows: vec![window], ..config::Reboot::default() };
    Policy::new(&reboot, jiff::tz::TimeZone::UTC, "node-a").unwrap()
}

fn given_up(age: u64) -> Option<(Time, Reason)> {
    Some((ago(age), why("drain-timeout")))
}

fn let_go(age: u64, answer: Result<(), Reason>) -> Option<LetGo> {
    Some(LetGo { at: ago(age), answer })
}

fn left() -> Vec<PodLeft> {
    vec![PodLeft { pod: "default/web-0".to_owned(), reason: why("budget") }]
}

type Row = (&'static str, Seen, Policy, &'static str);

fn check(rows: Vec<Row>) {
    for (name, seen, policy, want) in rows {
        let got = decide(Time::from_unix(NOW).0, &seen, &policy);
        let lock = if got.lock == HostLock::Held { "held" } else { "released" };
        let text = format!("{} {} {} {lock}", got.state, got.reason.kind, got.step.as_str());
        assert_eq!(text, want, "{name}: {got:?}");
    }
}

#[test]
fn what_goes_into_the_slot() {
    for (name, node, want) in [
        ("we cordon", quiet().node, true),
        ("an admin has", Ok(NodeSeen { unschedulable: true, cordoned_by_us: None, ready: true }), false),
        ("we have", cordoned("before"), true),
    ] {
        let seen = Seen { node, ..staged() };
        let got = super::wanted::entry(Time::from_unix(NOW), &seen, &Cause::Update(release("2")));
        let want = Entry { since: ago(0), cordoned: want, reason: got.reason.clone(), ..entry("now") };
        assert_eq!(got, want, "{name}");
        assert!(got.reason.contains("release 2"), "{name}: {}", got.reason);
    }
    // What is let go is what is staged at that moment, however long ago the slot was taken.
    let slot = holds(Entry { let_go: Some(ago(1)), ..entry("now") });
    let got = decide(Time::from_unix(NOW).0, &Seen { slot, ..drained() }, &policy());
    assert_eq!(got.step, Step::LetGo(Cause::Update(release("2"))));
}

#[test]
fn nothing_is_slept_over() {
    let soon = Time::from_unix(NOW).0 + LOOK_AGAIN;
    for (name, seen, next_at) in [
        ("far ahead", Seen { given_up: given_up(0), ..staged() }, true),
        ("nothing in sight", quiet(), false),
        ("soon", Seen { good_since: Some(ago(299)), ..rebooted() }, true),
    ] {
        let got = decide(Time::from_unix(NOW).0, &seen, &policy());
        let Step::Idle { until } = got.step else { panic!("{name}: {got:?}") };
        assert!(until <= soon && until > Time::from_unix(NOW).0, "{name}: {got:?}");
        assert_eq!(got.next_at.is_some(), next_at, "{name}: {got:?}");
    }
}

#[test]
fn draws_are_stable_and_differ() {
    let (a, b) = (policy(), Policy { seed: seed("node-b"), ..policy() });
    let draws: Vec<_> = (0..50).map(|age| a.draw(ago(age))).collect();
    assert_eq!(draws, (0..50).map(|age| a.draw(ago(age))).collect::<Vec<_>>(), "a restart draws the same");
    assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)), "{draws:?}");
    assert_ne!(a.draw(ago(0)), b.draw(ago(0)));
    // Nobody is always first.
    let wins = (0..1_000).filter(|age| a.draw(ago(*age)) < b.draw(ago(*age))).count();
    assert!((400..600).contains(&wins), "{wins}");
}

#[test]
fn names_are_those_of_the_wire() {
    for state in RebootState::ALL {
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
}
