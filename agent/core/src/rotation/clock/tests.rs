use super::*;

const NOW: u64 = 1_800_000_000;
const YEAR: u64 = 365 * 86_400;

fn at(seconds: u64) -> Time {
    Time::from_unix(seconds)
}

/// Every combination of what the three witnesses can say, for each side of each bound.
#[test]
fn every_combination_of_witnesses() {
    use Service::{NotSynchronised, Silent, Synchronised};
    /// What the server shows: its clock's lead over ours in seconds, or that it gave no date.
    type Date = Option<i64>;
    let dates: [Date; 10] = [
        None,
        Some(0),
        Some(150),
        Some(-150),
        Some(151),
        Some(-151),
        Some(3_600),
        Some(-3_600),
        Some(3_601),
        Some(-(20 * YEAR as i64)),
    ];
    let mut combinations = 0;
    for impossible in [false, true] {
        for service in [Synchronised, NotSynchronised, Silent] {
            for date in dates {
                for shows in ["nothing", "answers", "not yet", "ended", "out of time"] {
                    let now = NOW;
                    let told = date.map(|lead| at(now.saturating_add_signed(lead)));
                    let server = match shows {
                        "nothing" if date.is_some() => continue,
                        "nothing" => Server::Silent,
                        "answers" => Server::Answers { date: told },
                        "not yet" => Server::OutOfTime { end: End::Begins(at(now + 1)), date: told },
                        "ended" => Server::OutOfTime { end: End::Ended(at(now - 1)), date: told },
                        _ => Server::OutOfTime { end: End::Unknown, date: told },
                    };
                    let begins = if impossible { now + 151 } else { now + 150 };
                    let evidence = ClockEvidence { now: at(now), floor: Floor::new(Some(at(begins))), service, server };
                    let name = format!("impossible {impossible}, {service:?}, {shows}, {date:?}");

                    // The rules once more, in other words.
                    let apart = date.map(i64::unsigned_abs);
                    let in_time = shows == "answers";
                    let want = if impossible {
                        "clock-impossible"
                    } else if apart.is_some_and(|apart| apart <= 150) {
                        if service == Synchronised { "clock-synchronised" } else { "clock-agrees-with-server" }
                    } else if service == Synchronised {
                        match apart {
                            None => "clock-synchronised",
                            Some(..=3_600) if in_time => "clock-synchronised-server-differs",
                            Some(_) => "clock-differs-from-server",
                        }
                    } else if apart.is_some() {
                        "clock-differs-from-server"
                    } else if in_time || shows == "nothing" {
                        "clock-unchecked"
                    } else {
                        "server-certificate-out-of-time"
                    };
                    let got = judge(&evidence);
                    assert_eq!(got.reason.kind, want, "{name}: {got:?}");
                    let trusted = matches!(
                        want,
                        "clock-synchronised" | "clock-agrees-with-server" | "clock-synchronised-server-differs"
                    );
                    assert_eq!((got.trusted, got.doubts), (trusted, u32::from(!trusted)), "{name}");
                    assert_eq!(got.skew.map(|skew| skew.as_secs()), date.map(|lead| -lead), "{name}");
                    assert_eq!(evidence.is_servers_fault(), trusted && !in_time && shows != "nothing", "{name}");
                    // What a question to the time service cannot change is not asked.
                    if !evidence.needs_service() {
                        for service in [Synchronised, NotSynchronised, Silent] {
                            let other = judge(&ClockEvidence { service, ..evidence });
                            assert_eq!(other.trusted, got.trusted, "{name}: {service:?}");
                        }
                    }
                    combinations += 1;
                }
            }
        }
    }
    println!("{combinations} combinations");
    assert_eq!(combinations, 2 * 3 * (1 + 10 * 4));
}

#[test]
fn sentences_say_what_stands_against_the_clock() {
    let evidence = |now, service, server| ClockEvidence {
        now: at(now),
        floor: Floor::new(Some(at(NOW - 30 * 86_400))),
        service,
        server,
    };
    for (name, evidence, want) in [
        (
            "1970",
            evidence(12, Service::NotSynchronised, Server::Silent),
            "this host's clock says 1970-01-01T00:00:12Z, and the cluster CA begins at 2026-12-16T08:00:00Z; is NTP reachable?",
        ),
        (
            "1970, and synchronised",
            evidence(12, Service::Synchronised, Server::Silent),
            "this host's clock says 1970-01-01T00:00:12Z, and the cluster CA begins at 2026-12-16T08:00:00Z; its time service \
             calls it synchronised, and is wrong",
        ),
        (
            "ten minutes ahead",
            evidence(NOW + 600, Service::Silent, Server::Answers { date: Some(at(NOW)) }),
            "this host's clock (2027-01-15T08:10:00Z) is 10m00s ahead of the API server's (+600 s), and no time service vouches \
             for it; is NTP reachable?",
        ),
        (
            "ten minutes behind, and synchronised",
            evidence(NOW - 600, Service::Synchronised, Server::Answers { date: Some(at(NOW)) }),
            "this host's time service says that the clock is synchronised, and the clock is 10m00s behind the API server's \
             (-600 s); are both served by NTP?",
        ),
        (
            "two hours ahead, and synchronised",
            evidence(NOW + 7_200, Service::Synchronised, Server::Answers { date: Some(at(NOW)) }),
            "this host's clock (2027-01-15T10:00:00Z) is 2h00m ahead of the API server's (+7200 s), though its time service \
             calls it synchronised: one of the two is wrong",
        ),
        (
            "years ahead of the server's certificate",
            evidence(
                NOW + 23 * YEAR,
                Service::Silent,
                Server::OutOfTime { end: End::Ended(at(NOW + YEAR)), date: None },
            ),
            "by this host's clock (2050-01-09T08:00:00Z) the API server's certificate ended at 2028-01-15T08:00:00Z, and no time \
             service vouches for the clock; is NTP reachable?",
        ),
    ] {
        assert_eq!(judge(&evidence).reason.message, want, "{name}");
    }
}

#[test]
fn the_floor_is_the_later_of_release_and_authority() {
    for (name, begins, want) in [
        ("no CA", None, RELEASE),
        ("an older CA", Some(RELEASE - 1), RELEASE),
        ("a younger CA", Some(RELEASE + 1), RELEASE + 1),
    ] {
        assert_eq!(Floor::new(begins.map(at)).at, at(want), "{name}");
    }
}

#[test]
fn a_mark_counts_while_its_service_is_alive() {
    for (name, now, touched, want) in [
        ("just now", NOW, NOW, true),
        ("at its last", NOW, NOW - 4_096, true),
        ("too long ago", NOW, NOW - 4_097, false),
        ("set ahead to 2050 since", NOW + 23 * YEAR, NOW, false),
        ("set back since", NOW, NOW + 1, false),
    ] {
        assert_eq!(mark_counts(at(now).0, at(touched).0), want, "{name}");
    }
}

#[test]
fn doubts_in_a_row_are_looked_at_less_often() {
    let evidence = |server| ClockEvidence {
        now: at(NOW),
        floor: Floor::new(None),
        service: Service::Silent,
        server: Server::Answers { date: Some(at(server)) },
    };
    let (doubted, trusted) = (judge(&evidence(NOW + 600)), judge(&evidence(NOW)));
    let mut last = None;
    for (step, seconds) in [5, 10, 20, 40, 60, 60].into_iter().enumerate() {
        let next = doubted.clone().following(last.as_ref(), 0.5);
        assert_eq!(next.again_at, at(NOW + seconds), "step {step}");
        last = Some(next);
    }
    let good = trusted.following(last.as_ref(), 0.5);
    assert_eq!(good.doubts, 0);
    assert_eq!(doubted.following(Some(&good), 0.5).again_at, at(NOW + 5), "a good one in between begins anew");
}

#[test]
fn a_verdict_lasts_a_quarter_of_an_hour() {
    let evidence =
        ClockEvidence { now: at(NOW), floor: Floor::new(None), service: Service::Synchronised, server: Server::Silent };
    let clock = judge(&evidence);
    for (name, now, want) in [
        ("at once", NOW, true),
        ("at its last", NOW + 899, true),
        ("later", NOW + 900, false),
        ("before it was given", NOW - 1, false),
    ] {
        assert_eq!(clock.is_fresh(at(now)), want, "{name}");
    }
}
