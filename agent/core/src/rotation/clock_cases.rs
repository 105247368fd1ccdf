//! Clocks that are wrong, set, set back, and fought over, minute by minute: what is decided, what it costs the API server, and
//! how soon it is right again. The time of this test is nobody's: true time, this host's and the server's are three numbers.

use std::time::Duration;

use jiff::SignedDuration;

use super::clock::{ClockEvidence, End, Floor, Server, Service, judge};
use super::clock_step::{Reading, StepBudget, is_worth_a_look};
use super::tests::{HOUR, POLICY, T0, attempt, joined};
use super::*;

const MINUTE: u64 = 60;
const DAY: u64 = 86_400;
const SECOND: Duration = Duration::from_secs(1);
/// CA and serving certificate live from thirty days before the tests' day to a year after that.
const CLUSTER: (u64, u64) = (T0 - 30 * DAY, T0 + 335 * DAY);
/// A call, or a look at a file.
const WORK: Duration = Duration::from_millis(5);

/// What happens to the host.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// Somebody sets its clock to so many seconds ahead of the true time.
    Set(i64),
    /// Its time service synchronises it.
    Synchronise,
    /// It sleeps.
    Suspend(u64),
}
use Change::{Set, Suspend, Synchronise};

/// A host, its cluster, and the true time.
struct World {
    /// The true time, since T0; also the time since the boot.
    real: Duration,
    ahead: SignedDuration,
    server_ahead: SignedDuration,
    synchronised: bool,
    /// The kernel tells when the clock is set (timerfd); otherwise it is found out at the next look.
    told: bool,
    changes: Vec<(Duration, Change)>,
    seen: Seen,
    reading: Option<Reading>,
    budget: StepBudget,
    connections: u32,
    requests: u32,
    keys: u64,
    issued: u64,
    /// The last key that was signed, and when.
    signed: Option<(u64, u64)>,
    /// When the state or its reason became another one.
    story: Vec<(Duration, &'static str, String)>,
}

impl World {
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

    fn run(&mut self, until: u64) {
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
            self.seen.last = self.seen.last.take().and_then(|last| last.after_step(set));
            if let Some(tested) = &mut self.seen.recovery {
                tested.at = tested.at.moved(set);
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
    for case in cases {
        play(case);
    }
}

fn play(case: Case) {
    let Case { name, until, connections, requests, .. } = case;
    let mut seen = joined();
    if !case.joined {
        seen.current = Current::Nothing;
    }
    seen.bootstrap = Ok(Time::from_unix(CLUSTER.1));
    let before = seen.current.clone();
    let mut world = World {
        real: Duration::ZERO,
        ahead: SignedDuration::from_secs(case.ahead),
        server_ahead: SignedDuration::from_secs(case.server_ahead),
        synchronised: case.synchronised,
        told: case.told,
        changes: case.changes.iter().map(|(at, change)| (Duration::from_secs(*at), *change)).collect(),
        seen,
        reading: None,
        budget: StepBudget::default(),
        connections: 0,
        requests: 0,
        keys: 0,
        issued: 0,
        signed: None,
        story: Vec::new(),
    };
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
