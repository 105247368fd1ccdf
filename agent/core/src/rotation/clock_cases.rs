//! Clocks that are wrong, set, set back, and fought over, minute by minute: what is decided, what it costs the API server, and
//! how soon it is right again. The time of this test is nobody's: true time, this host's and the server's are three numbers.

mod world;

use std::time::Duration;

use jiff::SignedDuration;

use super::tests::{HOUR, T0, joined};
use super::*;
use world::Change::{Set, Suspend, Synchronise};
use world::{CLUSTER, Change, World};

const MINUTE: u64 = 60;
const SECOND: Duration = Duration::from_secs(1);

/// A case: how it begins, what happens, and what must come of it.
struct Case {
    name: &'static str,
    /// There is a certificate in force, issued at T0.
    joined: bool,
    /// Seconds ahead at the start.
    ahead: i64,
    synchronised: bool,
    server_ahead: i64,
    told: bool,
    changes: Vec<(u64, Change)>,
    /// Seconds after T0 at which the test ends.
    until: u64,
    /// The states and reasons, in their order.
    story: &'static [&'static str],
    /// Connections to the API server, at most.
    connections: u32,
    /// Requests for a certificate: exactly.
    requests: u32,
    /// From the last change to the last state.
    right_within: Duration,
}

impl Case {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            joined: false,
            ahead: 0,
            synchronised: false,
            server_ahead: 0,
            told: true,
            changes: Vec::new(),
            until: 10 * MINUTE,
            story: &[],
            connections: 0,
            requests: 0,
            right_within: SECOND,
        }
    }
}

/// 1970, and 2050, as seconds ahead of T0.
const Y1970: i64 = 12 - T0 as i64;
const Y2050: i64 = 2_524_608_000 - T0 as i64;

#[test]
fn wrong_clocks_ask_little_throw_nothing_away_and_are_right_at_once() {
    const SUSPECT_THEN_IN: &[&str] =
        &["clock-suspect clock-differs-from-server", "requesting certificate-absent", "valid certificate-valid"];
    let flapping = |wrong: i64| -> Vec<(u64, Change)> {
        (0..300).map(|second| (60 + second, Set(if second % 2 == 0 { wrong } else { 0 }))).collect()
    };
    let cases = [
        Case {
            ahead: Y1970,
            changes: vec![(300, Set(0))],
            story: &["clock-suspect clock-impossible", "requesting certificate-absent", "valid certificate-valid"],
            // None before the correction: clock, request, proof, test of the bootstrap credential.
            connections: 4,
            requests: 1,
            ..Case::new("first boot in 1970")
        },
        Case {
            joined: true,
            ahead: Y1970,
            changes: vec![(300, Synchronise)],
            story: &["clock-suspect clock-impossible", "valid certificate-valid"],
            connections: 1,
            ..Case::new("boot in 1970 with a certificate in force")
        },
        Case {
            ahead: Y2050,
            changes: vec![(300, Set(0))],
            story: SUSPECT_THEN_IN,
            // Looks after 0, 5, 15, 35, 75, 135, 195, 255 s, two connections each.
            connections: 8 * 2 + 4,
            requests: 1,
            ..Case::new("first boot in 2050")
        },
        Case {
            joined: true,
            ahead: Y2050,
            changes: vec![(300, Set(0))],
            story: &["clock-suspect clock-differs-from-server", "valid certificate-valid"],
            connections: 8 * 2 + 1,
            ..Case::new("boot in 2050 with a certificate in force")
        },
        Case {
            ahead: 600,
            changes: vec![(300, Set(0))],
            story: SUSPECT_THEN_IN,
            connections: 8 + 4,
            requests: 1,
            ..Case::new("first boot ten minutes ahead")
        },
        Case {
            ahead: -600,
            changes: vec![(300, Set(0))],
            story: SUSPECT_THEN_IN,
            connections: 8 + 4,
            requests: 1,
            ..Case::new("first boot ten minutes behind")
        },
        Case {
            ahead: -600,
            told: false,
            changes: vec![(300, Set(0))],
            story: SUSPECT_THEN_IN,
            connections: 8 + 4,
            requests: 1,
            right_within: LOOK_AGAIN + SECOND,
            ..Case::new("first boot ten minutes behind, and nobody tells that the clock is set")
        },
        Case {
            ahead: 600,
            synchronised: true,
            story: &["requesting certificate-absent", "valid certificate-valid"],
            connections: 4,
            requests: 1,
            ..Case::new("first boot with a synchronised clock, and a server ten minutes behind")
        },
        Case {
            synchronised: true,
            server_ahead: 600,
            story: &[
                "requesting certificate-absent",
                "requesting certificate-not-yet-valid",
                "valid certificate-valid",
            ],
            // Clock, request; and five minutes later, when it begins: request, proof, test of the bootstrap credential.
            connections: 5,
            requests: 1,
            // From the start: there is no correction.
            right_within: 302 * SECOND,
            ..Case::new("first boot with a synchronised clock, and a server ten minutes ahead")
        },
        Case {
            joined: true,
            changes: vec![(60, Set(600)), (120, Set(0)), (180, Set(-600)), (240, Set(0))],
            story: &["valid certificate-valid"],
            connections: 1,
            ..Case::new("ten minutes ahead and behind while the certificate is good")
        },
        Case {
            joined: true,
            changes: vec![(60, Set(600)), (120, Set(0)), (180, Set(Y2050)), (240, Set(0))],
            story: &["valid certificate-valid", "clock-suspect clock-differs-from-server", "valid certificate-valid"],
            // The test of the bootstrap credential, and looks 0, 5, 15, 35 s after 2050.
            connections: 1 + 4 * 2,
            ..Case::new("ahead, back, to 2050 and back while the certificate is good")
        },
        Case {
            joined: true,
            changes: vec![(60, Set(Y1970)), (120, Set(0))],
            story: &["valid certificate-valid", "clock-suspect clock-impossible", "valid certificate-valid"],
            connections: 1,
            ..Case::new("to 1970 and back while the certificate is good")
        },
        Case {
            joined: true,
            changes: vec![(60, Set(50 * HOUR as i64)), (360, Set(0))],
            story: &["valid certificate-valid", "renewal-due clock-differs-from-server", "valid certificate-valid"],
            connections: 1 + 8,
            ..Case::new("ahead past the renewal point and back")
        },
        Case {
            joined: true,
            changes: vec![(60, Set(80 * HOUR as i64)), (120, Set(-80 * HOUR as i64)), (180, Set(0))],
            story: &["valid certificate-valid", "clock-suspect clock-differs-from-server", "valid certificate-valid"],
            connections: 1 + 4 + 4,
            ..Case::new("ahead past the end, back before the start, and right")
        },
        Case {
            changes: flapping(600),
            ahead: 600,
            until: 20 * MINUTE,
            story: SUSPECT_THEN_IN,
            connections: 5 + 4 + 1,
            requests: 1,
            ..Case::new("first boot, and set every second for five minutes")
        },
        Case {
            joined: true,
            changes: flapping(Y2050),
            until: 20 * MINUTE,
            story: &[],
            // At most six looks at once and one every ten seconds, two connections each; and the test of the bootstrap credential.
            connections: 1 + (6 + 30) * 2,
            right_within: 11 * SECOND,
            ..Case::new("to 2050 and back every second for five minutes")
        },
        Case {
            joined: true,
            changes: vec![(600, Suspend(96 * HOUR))],
            until: 600 + 96 * HOUR + 600,
            story: &["valid certificate-valid", "expired-recovering certificate-expired", "valid certificate-valid"],
            // The test of the bootstrap credential twice; clock, request, proof.
            connections: 5,
            requests: 1,
            ..Case::new("suspended across the end")
        },
        Case {
            joined: true,
            told: false,
            changes: vec![(600, Suspend(96 * HOUR))],
            until: 600 + 96 * HOUR + 600,
            story: &["valid certificate-valid", "expired-recovering certificate-expired", "valid certificate-valid"],
            connections: 5,
            requests: 1,
            right_within: LOOK_AGAIN + SECOND,
            ..Case::new("suspended across the end, and nobody tells")
        },
    ];
    for case in &cases {
        play(case);
    }
}

fn play(case: &Case) {
    let Case { name, until, connections, requests, .. } = *case;
    let mut seen = joined();
    if !case.joined {
        seen.current = Current::Nothing;
    }
    seen.bootstrap = Ok(Time::from_unix(CLUSTER.1));
    let before = seen.current.clone();
    let mut world = World::new(seen);
    world.ahead = SignedDuration::from_secs(case.ahead);
    world.server_ahead = SignedDuration::from_secs(case.server_ahead);
    world.synchronised = case.synchronised;
    world.told = case.told;
    world.changes = case.changes.iter().map(|(at, change)| (Duration::from_secs(*at), *change)).collect();
    world.run(until);

    let told: Vec<String> = world.story.iter().map(|(_, state, kind)| format!("{state} {kind}")).collect();
    let (right_at, ..) = *world.story.last().expect("a story");
    let last_change = case.changes.last().map_or(Duration::ZERO, |(at, change)| {
        let asleep = if let Suspend(seconds) = change { *seconds } else { 0 };
        Duration::from_secs(at + asleep)
    });
    let took = right_at.saturating_sub(last_change);
    println!(
        "{name}: {} connections (at most {connections}), {} requests, {} keys, right {} ms after the last change, in {until} s",
        world.connections,
        world.requests,
        world.keys,
        took.as_millis()
    );
    for (at, state, kind) in world.story.iter().take(8) {
        println!("    {:>9.3} s  {state} {kind}", at.as_secs_f64());
    }
    assert_eq!(told.last().map(String::as_str), Some("valid certificate-valid"), "{name}: {told:?}");
    if !case.story.is_empty() {
        assert_eq!(told, case.story, "{name}");
    }
    assert!(took <= case.right_within, "{name}: right only {took:?} after the last change");
    assert!(world.connections <= connections, "{name}: {} connections", world.connections);
    assert_eq!(world.requests, requests, "{name}: requests for a certificate");
    assert_eq!(world.keys, u64::from(requests > 0), "{name}: keys");
    assert!(world.seen.request.is_none(), "{name}: a request is left on disk");
    if requests == 0 {
        assert_eq!(world.seen.current, before, "{name}: the certificate in force is another one");
    }
}
