use proptest::prelude::*;

use super::*;

/// Europe/Berlin, Australia/Lord_Howe (half an hour of summer time) and a zone far from UTC, by their rules, so that no file is read.
const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
const LORD_HOWE: &str = "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0";
const UTC: &str = "UTC0";

fn window(days: &str, start: &str, length: &str) -> Window {
    Window {
        days: days.split_whitespace().map(str::to_owned).collect(),
        start: start.to_owned(),
        length: crate::config::parse_duration(length).unwrap(),
    }
}

fn windows(zone: &str, of: &[(&str, &str, &str)]) -> Windows {
    let of: Vec<_> = of.iter().map(|(days, start, length)| window(days, start, length)).collect();
    Windows::new(&of, TimeZone::posix(zone).unwrap()).unwrap()
}

#[test]
fn open_and_closed_until() {
    const SATURDAY: &[(&str, &str, &str)] = &[("Sat", "23:30", "2h")];
    // 2026-11-24 is a Tuesday.
    for (name, zone, of, now, want) in [
        ("none", UTC, &[][..], "2026-11-24T02:15:08Z", (true, None)),
        ("before", UTC, SATURDAY, "2026-11-28T23:29:59Z", (false, Some("2026-11-28T23:30:00Z"))),
        ("its first second", UTC, SATURDAY, "2026-11-28T23:30:00Z", (true, Some("2026-11-29T01:30:00Z"))),
        ("past midnight", UTC, SATURDAY, "2026-11-29T01:29:59Z", (true, Some("2026-11-29T01:30:00Z"))),
        ("its end is outside", UTC, SATURDAY, "2026-11-29T01:30:00Z", (false, Some("2026-12-05T23:30:00Z"))),
        (
            "over the week's end",
            UTC,
            &[("Sun", "23:00", "2h")],
            "2026-11-29T23:10:00Z",
            (true, Some("2026-11-30T01:00:00Z")),
        ),
        (
            "from last week",
            UTC,
            &[("Sun", "23:00", "2h")],
            "2026-11-30T00:30:00Z",
            (true, Some("2026-11-30T01:00:00Z")),
        ),
        (
            "two that touch are one",
            UTC,
            &[("Tue", "01:00", "1h"), ("Tue", "02:00", "1h")],
            "2026-11-24T01:30:00Z",
            (true, Some("2026-11-24T03:00:00Z")),
        ),
        (
            "two that overlap are one",
            UTC,
            &[("Tue", "01:00", "3h"), ("Tue", "02:00", "1h")],
            "2026-11-24T02:30:00Z",
            (true, Some("2026-11-24T04:00:00Z")),
        ),
        (
            "every day",
            UTC,
            &[("Mon Tue Wed", "03:00", "1h")],
            "2026-11-24T05:00:00Z",
            (false, Some("2026-11-25T03:00:00Z")),
        ),
        ("the whole week", UTC, &[("Wed", "12:00", "7d")], "2026-11-24T05:00:00Z", (true, None)),
        (
            "seven days of it",
            UTC,
            &[("Mon Tue Wed Thu Fri Sat Sun", "00:00", "1d")],
            "2026-11-29T23:59:59Z",
            (true, None),
        ),
        (
            "winter in Berlin",
            BERLIN,
            &[("Tue", "02:00", "1h")],
            "2026-11-24T00:59:59Z",
            (false, Some("2026-11-24T01:00:00Z")),
        ),
        (
            "summer in Berlin",
            BERLIN,
            &[("Tue", "02:00", "1h")],
            "2026-07-14T00:00:00Z",
            (true, Some("2026-07-14T01:00:00Z")),
        ),
        (
            "the day is the zone's",
            BERLIN,
            &[("Tue", "00:15", "30m")],
            "2026-11-23T23:20:00Z",
            (true, Some("2026-11-23T23:45:00Z")),
        ),
        // On 2027-03-28 the clock goes from 02:00 to 03:00, at 01:00Z.
        (
            "in the hour that is skipped it does not open",
            BERLIN,
            &[("Sun", "02:00", "1h")],
            "2027-03-28T00:30:00Z",
            (false, Some("2027-04-04T00:00:00Z")),
        ),
        (
            "around it, it is an hour shorter",
            BERLIN,
            &[("Sun", "01:30", "2h")],
            "2027-03-28T00:30:00Z",
            (true, Some("2027-03-28T01:30:00Z")),
        ),
        (
            "it begins in it, and so opens when the hour is over",
            BERLIN,
            &[("Sun", "02:30", "1h")],
            "2027-03-28T00:30:00Z",
            (false, Some("2027-03-28T01:00:00Z")),
        ),
        // On 2026-10-25 it goes from 03:00 back to 02:00, at 01:00Z.
        (
            "the hour that is repeated is two",
            BERLIN,
            &[("Sun", "02:00", "1h")],
            "2026-10-25T00:10:00Z",
            (true, Some("2026-10-25T02:00:00Z")),
        ),
        (
            "inside it, it opens",
            BERLIN,
            &[("Sun", "02:15", "30m")],
            "2026-10-25T00:20:00Z",
            (true, Some("2026-10-25T00:45:00Z")),
        ),
        (
            "and opens again",
            BERLIN,
            &[("Sun", "02:15", "30m")],
            "2026-10-25T00:50:00Z",
            (false, Some("2026-10-25T01:15:00Z")),
        ),
        (
            "it is cut in two",
            BERLIN,
            &[("Sun", "01:30", "1h")],
            "2026-10-25T00:10:00Z",
            (true, Some("2026-10-25T00:30:00Z")),
        ),
        (
            "and its second part begins with the repeated hour",
            BERLIN,
            &[("Sun", "01:30", "1h")],
            "2026-10-25T00:30:00Z",
            (false, Some("2026-10-25T01:00:00Z")),
        ),
        // On 2026-10-04 it goes from 02:00 to 02:30, at 15:30Z of the day before.
        (
            "half an hour is skipped",
            LORD_HOWE,
            &[("Sun", "01:00", "2h")],
            "2026-10-03T14:45:00Z",
            (true, Some("2026-10-03T16:00:00Z")),
        ),
        (
            "a fraction of a second is no second",
            UTC,
            &[("Tue", "02:00", "1m")],
            "2026-11-24T02:00:59Z",
            (true, Some("2026-11-24T02:01:00Z")),
        ),
    ] {
        let got = windows(zone, of).at(Time::parse(now).unwrap());
        let want_until = want.1.map(|until| Time::parse(until).unwrap());
        assert_eq!((got.is_open(), got.until()), (want.0, want_until), "{name}");
    }
}

#[test]
fn enough_of_it() {
    let now = Time::from_unix(1_795_500_000);
    let later = |seconds: u64| Some(Time::from_unix(1_795_500_000 + seconds));
    for (name, opening, want) in [
        ("no end", Opening::Open { until: None }, true),
        ("just enough", Opening::Open { until: later(600) }, true),
        ("too little", Opening::Open { until: later(599) }, false),
        ("closed", Opening::Closed { until: later(6_000) }, false),
    ] {
        assert_eq!(opening.lasts(now, Duration::from_secs(600)), want, "{name}");
    }
}

#[test]
fn what_is_no_window() {
    let zone = || TimeZone::UTC;
    for (name, day, start, length, want) in [
        ("day", "Caturday", "23:30", 60, "window-day"),
        ("a day in full", "Saturday", "23:30", 60, "window-day"),
        ("no such hour", "Sat", "24:00", 60, "window-start"),
        ("no such minute", "Sat", "23:60", 60, "window-start"),
        ("no two digits", "Sat", "9:00", 60, "window-start"),
        ("no time", "Sat", "noon", 60, "window-start"),
        ("no length", "Sat", "23:30", 0, "window-length"),
        ("less than a minute", "Sat", "23:30", 59, "window-length"),
        ("more than a week", "Sat", "23:30", u64::from(WEEK) + 1, "window-length"),
    ] {
        let window =
            Window { days: vec![day.to_owned()], start: start.to_owned(), length: Duration::from_secs(length) };
        let fault = Windows::new(&[window], zone()).unwrap_err();
        assert_eq!(fault.kind(), want, "{name}: {fault}");
    }
    let none = Window { days: Vec::new(), start: "23:30".to_owned(), length: Duration::from_secs(60) };
    assert_eq!(Windows::new(&[none], zone()).unwrap_err().kind(), "window-no-day");
}

/// The rule itself, as Zincati has it: what the clock on the wall shows is inside a window.
fn by_the_wall(zone: &TimeZone, of: &[(u32, u32, u32)], at: Time) -> bool {
    let civil = zone.to_datetime(timestamp(at));
    let day = u32::try_from(civil.weekday().to_monday_zero_offset()).unwrap();
    let minute = day * 1_440 + u32::try_from(i32::from(civil.hour()) * 60 + i32::from(civil.minute())).unwrap();
    of.iter().any(|(day, start, length)| (minute + 10_080 - day * 1_440 - start) % 10_080 < *length)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Nothing changes before `until`, and something does then; a change of the clock lies within reach of half of the cases.
    #[test]
    fn the_wall_is_right(
        zone in prop::sample::select(vec![BERLIN, LORD_HOWE, UTC]),
        near in prop::sample::select(vec!["2026-10-25T01:00:00Z", "2027-03-28T01:00:00Z", "2026-10-03T15:30:00Z", "2026-11-24T00:00:00Z"]),
        before in 0_u64..4 * 1_440,
        of in prop::collection::vec((0_u32..7, 0_u32..1_440, 1_u32..400), 1..4),
    ) {
        const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        let zone = TimeZone::posix(zone).unwrap();
        let written: Vec<_> = of.iter().map(|(day, start, length)| Window {
            days: vec![DAYS[*day as usize].to_owned()],
            start: format!("{:02}:{:02}", start / 60, start % 60),
            length: Duration::from_secs(u64::from(*length) * 60),
        }).collect();
        let windows = Windows::new(&written, zone.clone()).unwrap();
        let now = Time::from_unix(Time::parse(near).unwrap().unix() - before * 60);
        let got = windows.at(now);
        prop_assert_eq!(got.is_open(), by_the_wall(&zone, &of, now));
        let until = got.until().unwrap().unix();
        prop_assert_eq!(until % 60, 0);
        for at in (now.unix()..until).step_by(60) {
            prop_assert_eq!(by_the_wall(&zone, &of, Time::from_unix(at)), got.is_open(), "before {} at {}", until, at);
        }
        prop_assert_eq!(by_the_wall(&zone, &of, Time::from_unix(until)), !got.is_open());
    }
}
