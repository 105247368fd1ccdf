//! Maintenance windows, as Zincati's `periodic` strategy has them: days, a start and a length, in one time zone for all of them.
//!
//! A window is a matter of the wall clock: it is open whenever a clock on the wall of that zone shows a time inside it. So where the
//! clock is set forward an hour, a window that lies in that hour does not open on that day and one around it is an hour shorter; where it is
//! set back, a window in the repeated hour opens twice and one around it is an hour longer. Windows that touch or overlap are one, and the
//! end of the week is no border.

use std::time::Duration;

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::config::Window;
use crate::time::Time;

const DAY: u32 = 86_400;
const WEEK: u32 = 7 * DAY;
/// Instants that are looked at for the next opening or closing: two borders for each window and day, and a few changes of the clock.
const LOOKS: usize = 2_000;

/// Why a window is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowFault {
    /// An unknown day.
    #[error("{0:?} is no day of the week: write Mon, Tue, Wed, Thu, Fri, Sat or Sun")]
    Day(String),
    /// A start that is no time of day.
    #[error("{0:?} is no time of day: write one from \"00:00\" to \"23:59\"")]
    Start(String),
    /// A window of no length, or of more than a week.
    #[error("a window of {} seconds: write a length from a minute to a week", .0.as_secs())]
    Length(Duration),
    /// A window on no day.
    #[error("a window without a day never opens: name at least one")]
    NoDay,
}

impl WindowFault {
    /// A word for machines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Day(_) => "window-day",
            Self::Start(_) => "window-start",
            Self::Length(_) => "window-length",
            Self::NoDay => "window-no-day",
        }
    }
}

/// The windows of a configuration in its time zone.
#[derive(Clone, Debug)]
pub struct Windows {
    /// Seconds of the week from Monday 00:00, half open, sorted, apart from each other.
    spans: Vec<(u32, u32)>,
    shortest: Option<Duration>,
    zone: TimeZone,
}

/// What the windows say of one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// A reboot may begin.
    Open {
        /// Until then; none: there is no end to it.
        until: Option<Time>,
    },
    /// None may begin.
    Closed {
        /// Until then; none: no opening is in sight.
        until: Option<Time>,
    },
}

impl Windows {
    /// The windows; none at all is always open.
    ///
    /// # Errors
    /// The first window that is none.
    pub fn new(windows: &[Window], zone: TimeZone) -> Result<Self, WindowFault> {
        let mut spans = Vec::new();
        for window in windows {
            if window.days.is_empty() {
                return Err(WindowFault::NoDay);
            }
            let length = u32::try_from(window.length.as_secs()).unwrap_or(u32::MAX);
            if !(60..=WEEK).contains(&length) {
                return Err(WindowFault::Length(window.length));
            }
            let start = time_of_day(&window.start).ok_or_else(|| WindowFault::Start(window.start.clone()))?;
            for day in &window.days {
                let from = weekday(day).ok_or_else(|| WindowFault::Day(day.clone()))? * DAY + start;
                let to = from + length;
                spans.push((from, to.min(WEEK)));
                if to > WEEK {
                    spans.push((0, to - WEEK));
                }
            }
        }
        let shortest = windows.iter().map(|window| window.length).min();
        Ok(Self { spans: merged(spans), shortest, zone })
    }

    /// The length of the shortest; none where there are no windows.
    pub fn shortest(&self) -> Option<Duration> {
        self.shortest
    }

    /// Is it open at this instant, and until when is it so?
    pub fn at(&self, now: Time) -> Opening {
        if self.spans.is_empty() {
            return Opening::Open { until: None };
        }
        let open = self.is_open(now);
        let until = self.changes(now, open);
        if open { Opening::Open { until } } else { Opening::Closed { until } }
    }

    fn is_open(&self, at: Time) -> bool {
        self.span(self.second_of_week(at)).is_some()
    }

    /// When it is the first time not `open` any more.
    fn changes(&self, now: Time, open: bool) -> Option<Time> {
        let mut at = now;
        for _ in 0..LOOKS {
            at = self.next_border(at);
            if self.is_open(at) != open {
                return Some(at);
            }
        }
        None
    }

    /// The next instant at which the clock on the wall comes to a border of a window or of the week, or is set.
    fn next_border(&self, at: Time) -> Time {
        let second = self.second_of_week(at);
        let border = match self.span(second) {
            Some((_, to)) => to,
            None => self.spans.iter().map(|(from, _)| *from).find(|from| *from > second).unwrap_or(WEEK),
        };
        // Whole seconds: what is left of the present one is no part of the way.
        let whole = Time::from_unix(at.unix());
        let by_the_wall = Time(whole.0 + Duration::from_secs(u64::from(border - second)));
        match self.clock_is_set(whole) {
            Some(set) if set < by_the_wall => set,
            _ => by_the_wall,
        }
    }

    /// The next instant at which the offset of the zone changes.
    fn clock_is_set(&self, at: Time) -> Option<Time> {
        let transition = self.zone.following(timestamp(at)).next()?;
        u64::try_from(transition.timestamp().as_second()).ok().map(Time::from_unix)
    }

    fn span(&self, second: u32) -> Option<(u32, u32)> {
        self.spans.iter().copied().find(|(from, to)| (*from..*to).contains(&second))
    }

    /// What the clock on the wall shows, from Monday 00:00.
    fn second_of_week(&self, at: Time) -> u32 {
        let civil = self.zone.to_datetime(timestamp(at));
        let day = u32::try_from(civil.weekday().to_monday_zero_offset()).unwrap_or(0);
        let time = civil.time().duration_since(jiff::civil::Time::midnight());
        day * DAY + u32::try_from(time.as_secs()).unwrap_or(0)
    }
}

impl Opening {
    /// A reboot may begin.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// Open now, and for at least so long.
    pub fn lasts(self, now: Time, span: Duration) -> bool {
        let wanted = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
        match self {
            Self::Open { until: None } => true,
            Self::Open { until: Some(until) } => until.since(now) >= wanted,
            Self::Closed { .. } => false,
        }
    }

    /// When it opens, if it is closed; when it closes, if it is open.
    pub fn until(self) -> Option<Time> {
        match self {
            Self::Open { until } | Self::Closed { until } => until,
        }
    }
}

fn merged(mut spans: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    spans.sort_unstable();
    let mut apart: Vec<(u32, u32)> = Vec::new();
    for (from, to) in spans {
        match apart.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => apart.push((from, to)),
        }
    }
    apart
}

fn timestamp(at: Time) -> Timestamp {
    Timestamp::from_second(i64::try_from(at.unix()).unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX)
}

fn weekday(word: &str) -> Option<u32> {
    let day = match word {
        "Mon" => Weekday::Monday,
        "Tue" => Weekday::Tuesday,
        "Wed" => Weekday::Wednesday,
        "Thu" => Weekday::Thursday,
        "Fri" => Weekday::Friday,
        "Sat" => Weekday::Saturday,
        "Sun" => Weekday::Sunday,
        _ => return None,
    };
    u32::try_from(day.to_monday_zero_offset()).ok()
}

/// `HH:MM` as seconds of the day.
fn time_of_day(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str| digits.parse::<u32>().ok().filter(|_| digits.len() == 2);
    match (number(hour)?, number(minute)?) {
        (hour @ 0..24, minute @ 0..60) => Some(hour * 3_600 + minute * 60),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
