//! Readers of single values: each gives the typed value, or tells the fault and gives `None`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::image::Image;
use super::nearest::nearest;
use super::table::Value;
use super::{Endpoint, Waiver, Window};
use crate::hostname;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// A window that is longer than a week is always open.
const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// One of a few words.
pub(super) fn word<T: Copy>(words: &[(&str, T)]) -> impl Fn(&Value<'_>) -> Option<T> {
    move |value| {
        let text = value.text()?;
        if let Some((_, meant)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*meant);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let advice = match nearest(text, &known) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("it can be {}", known.join(", ")),
        };
        let path = value.path();
        value.wrong("unknown-word", format!("{path} cannot be {text:?}: {advice}"))
    }
}

pub(super) fn boolean(value: &Value<'_>) -> Option<bool> {
    value.boolean()
}

/// A whole number between two, both included.
pub(super) fn count(least: u32, most: u32) -> impl Fn(&Value<'_>) -> Option<u32> {
    move |value| {
        let number = value.whole_number()?;
        match u32::try_from(number) {
            Ok(count) if (least..=most).contains(&count) => Some(count),
            _ => {
                let path = value.path();
                value.wrong("out-of-range", format!("{path} must be {least} to {most}, not {number}"))
            }
        }
    }
}

/// A share of a lifetime: 0 < share < 1.
pub(super) fn fraction(value: &Value<'_>) -> Option<f64> {
    let number = value.number()?;
    if number > 0.0 && number < 1.0 {
        return Some(number);
    }
    let path = value.path();
    value.wrong("bad-fraction", format!("{path} must lie between 0 and 1 (0.6 is 60 % of the lifetime), not {number}"))
}

/// `[a, b]` with 0 < a <= b < 1.
pub(super) fn fractions(value: &Value<'_>) -> Option<[f64; 2]> {
    let path = value.path();
    let list = value.list(fraction)?;
    match list[..] {
        [from, to] if from <= to => Some([from, to]),
        [_, _] => value.wrong("bad-fraction", format!("{path} must name the earlier fraction first")),
        _ => value
            .wrong("bad-fraction", format!("{path} must be two fractions, the earliest and the latest: [0.60, 0.67]")),
    }
}

/// `90s`, `10m`, `2h30m`, between two bounds, both included.
pub(super) fn duration(least: Duration, most: Duration) -> impl Fn(&Value<'_>) -> Option<Duration> {
    move |value| {
        let path = value.path();
        let text = value.text()?;
        let Some(duration) = parse_duration(text) else {
            return value.wrong(
                "bad-duration",
                format!("{path} cannot be {text:?}: write a time like \"90s\", \"10m\" or \"2h30m\""),
            );
        };
        if (least..=most).contains(&duration) {
            return Some(duration);
        }
        let (least, most) = (spell(least), spell(most));
        value.wrong("out-of-range", format!("{path} must be {least} to {most}, not {text:?}"))
    }
}

/// `"auto"`, which is `None`, or what `read` reads.
pub(super) fn auto_or<T>(read: impl Fn(&Value<'_>) -> Option<T>) -> impl Fn(&Value<'_>) -> Option<Option<T>> {
    move |value| {
        if value.text()? == "auto" {
            return Some(None);
        }
        read(value).map(Some)
    }
}

/// Reads a span as configuration, socket and command line write it (`90s`, `10m`, `2h30m`): whole numbers with `d`, `h`, `m`, `s`,
/// each unit at most once and the larger before the smaller. `None`: it is not one.
pub fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
    let mut units = UNITS.iter();
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest.get(..end)?.parse().ok()?;
        let unit = rest.get(end..)?.chars().next()?;
        let (_, length) = units.find(|(name, _)| *name == unit)?;
        seconds = seconds.checked_add(count.checked_mul(*length)?)?;
        rest = rest.get(end + unit.len_utf8()..)?;
    }
    (!text.is_empty()).then(|| Duration::from_secs(seconds))
}

/// The shortest way to write a duration that [`parse_duration`] reads back.
pub fn spell(duration: Duration) -> String {
    let mut seconds = duration.as_secs();
    let mut text = String::new();
    for (unit, length) in [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)] {
        if seconds >= length {
            text.push_str(&format!("{}{unit}", seconds / length));
            seconds %= length;
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

/// An absolute path. A `:` would end the host's part of a container's mount, so none may stand in it.
pub(super) fn path(value: &Value<'_>) -> Option<PathBuf> {
    let path = value.path();
    let text = value.text()?;
    let why = if !text.starts_with('/') {
        "an absolute path is needed, one that begins with /"
    } else if text.trim_end_matches('/').is_empty() {
        "that is the whole file system"
    } else if text.contains([':', ',']) || text.chars().any(char::is_control) {
        "no ':', ',' or control character may stand in it, because it is mounted into a container"
    } else if text.split('/').any(|part| part == "..") {
        "write it without .."
    } else {
        return Some(PathBuf::from(text));
    };
    value.wrong("bad-path", format!("{path} cannot be {text:?}: {why}"))
}

/// An absolute path to a file of node_exporter's collector, or `""` for none.
pub(super) fn textfile(value: &Value<'_>) -> Option<Option<PathBuf>> {
    if value.text()?.is_empty() {
        return Some(None);
    }
    let path = path(value)?;
    if path.extension().is_some_and(|extension| extension == "prom") {
        return Some(Some(path));
    }
    let key = value.path();
    value.wrong("bad-path", format!("{key} must end in .prom: node_exporter's collector reads no other file"))
}

pub(super) fn node_name(value: &Value<'_>) -> Option<Option<String>> {
    let path = value.path();
    let text = value.text()?;
    match hostname::fault_of(text) {
        None => Some(Some(text.to_owned())),
        Some(why) => value.wrong("bad-node-name", format!("{path} {text:?} cannot be a node's name: {why}")),
    }
}

/// A name that may be part of an object's name in the cluster.
pub(super) fn dns_name(value: &Value<'_>) -> Option<String> {
    let path = value.path();
    let text = value.text()?;
    match hostname::subdomain_fault(text) {
        None => Some(text.to_owned()),
        Some(why) => value.wrong("bad-name", format!("{path} cannot be {text:?}: {why}")),
    }
}

/// An IPv4 or IPv6 address.
pub(super) fn address(value: &Value<'_>) -> Option<IpAddr> {
    let path = value.path();
    let text = value.text()?;
    match text.parse() {
        Ok(address) => Some(address),
        Err(_) => value.wrong("bad-address", format!("{path} cannot be {text:?}: write an address like \"10.3.0.10\"")),
    }
}

/// A systemd service (systemd.unit(5): letters, digits, `:-_.\@`, at most 255 characters).
pub(super) fn service(value: &Value<'_>) -> Option<String> {
    let path = value.path();
    let text = value.text()?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'-' | b'_' | b'.' | b'\\' | b'@');
    let stem = text.strip_suffix(".service").unwrap_or_default();
    if !stem.is_empty() && text.len() <= 255 && text.bytes().all(allowed) {
        return Some(text.to_owned());
    }
    value.wrong(
        "bad-unit",
        format!("{path} cannot be {text:?}: the name of a systemd service is needed, like \"kubelet.service\""),
    )
}

/// At least one image, each with a tag or a digest.
pub(super) fn images(value: &Value<'_>) -> Option<Vec<String>> {
    let images = value.list(|entry| {
        let text = entry.text()?;
        match Image::parse(text) {
            Ok(_) => Some(text.to_owned()),
            Err(why) => entry.wrong("bad-image", format!("the image {text:?} {why}")),
        }
    })?;
    if images.is_empty() {
        let path = value.path();
        return value.wrong("empty", format!("{path} must name at least one image"));
    }
    Some(images)
}

pub(super) fn endpoint(value: &Value<'_>) -> Option<String> {
    let path = value.path();
    let text = value.text()?;
    match Endpoint::parse(text) {
        Ok(_) => Some(text.to_owned()),
        Err(why) => value.wrong("bad-url", format!("{path} {text:?} {why}")),
    }
}

/// An address, or `""` for none.
pub(super) fn endpoint_or_none(value: &Value<'_>) -> Option<String> {
    if value.text()?.is_empty() {
        return Some(String::new());
    }
    endpoint(value)
}

/// An IANA name, by its form: whether the host knows it, the host says.
pub(super) fn time_zone(value: &Value<'_>) -> Option<String> {
    let path = value.path();
    let text = value.text()?;
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+'))
    };
    if text.len() <= 64 && text.split('/').all(part) {
        return Some(text.to_owned());
    }
    value.wrong(
        "bad-time-zone",
        format!("{path} cannot be {text:?}: write an IANA name, like \"UTC\" or \"Europe/Berlin\""),
    )
}

/// One `[[reboot.windows]]`.
pub(super) fn window(value: &Value<'_>) -> Option<Window> {
    value.table(|table| {
        let days = table.required("days", days);
        let start = table.required("start", time_of_day);
        let length = table.required("length", duration(Duration::from_secs(60), WEEK));
        Some(Window { days: days?, start: start?, length: length? })
    })
}

fn days(value: &Value<'_>) -> Option<Vec<String>> {
    let words = DAYS.map(|day| (day, day));
    let days = value.list(word(&words))?;
    if days.is_empty() {
        let path = value.path();
        return value.wrong("empty", format!("{path} must name at least one day"));
    }
    Some(days.into_iter().map(str::to_owned).collect())
}

/// `HH:MM`, 00:00 to 23:59.
fn time_of_day(value: &Value<'_>) -> Option<String> {
    let path = value.path();
    let text = value.text()?;
    let number = |digits: &str| match digits.as_bytes() {
        [a, b] if a.is_ascii_digit() && b.is_ascii_digit() => Some((a - b'0') * 10 + (b - b'0')),
        _ => None,
    };
    let split = text.split_once(':');
    let parsed = split.and_then(|(hour, minute)| Some((number(hour)?, number(minute)?)));
    match parsed {
        Some((0..24, 0..60)) => Some(text.to_owned()),
        _ => value
            .wrong("bad-window", format!("{path} cannot be {text:?}: write a time of day from \"00:00\" to \"23:59\"")),
    }
}

/// One `[[posture.waive]]`.
pub(super) fn waiver(value: &Value<'_>) -> Option<Waiver> {
    value.table(|table| {
        let check = table.required("check", check_id);
        let why = table.required("why", |value| {
            let text = value.text()?;
            if text.trim().is_empty() {
                return value.wrong("empty", "why must say why: a waiver is read by people");
            }
            Some(text.to_owned())
        });
        let until = table.required("until", |value| {
            let text = value.text()?;
            match text.parse::<jiff::civil::Date>() {
                // jiff reads more forms than the one that is promised.
                Ok(date) if date.to_string() == text => Some(text.to_owned()),
                _ => value.wrong("bad-date", format!("until cannot be {text:?}: write a day like \"2027-01-01\"")),
            }
        });
        Some(Waiver { check: check?, why: why?, until: until? })
    })
}

/// kebab-case; which checks there are, the checks themselves know.
fn check_id(value: &Value<'_>) -> Option<String> {
    let path = value.path();
    let text = value.text()?;
    if is_check_id(text) {
        return Some(text.to_owned());
    }
    value.wrong(
        "bad-check-id",
        format!("{path} cannot be {text:?}: the id of a check is lower-case words joined by '-'"),
    )
}

/// Is this kebab-case?
pub(super) fn is_check_id(text: &str) -> bool {
    text.split('-').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_spelled() {
        for (text, want) in [
            ("90s", Some(90)),
            ("10m", Some(600)),
            ("2h30m", Some(9_000)),
            ("1d12h", Some(129_600)),
            ("0s", Some(0)),
            ("", None),
            ("10", None),
            ("m", None),
            ("10 m", None),
            ("-1m", None),
            ("+1m", None),
            ("1.5h", None),
            ("30m2h", None),
            ("1m1m", None),
            ("1ms", None),
            ("10м", None),
            ("99999999999999999999s", None),
            ("999999999999999999d", None),
        ] {
            let got = parse_duration(text);
            assert_eq!(got, want.map(Duration::from_secs), "{text:?}");
            if let Some(duration) = got {
                assert_eq!(parse_duration(&spell(duration)), got, "{text:?} spelled");
            }
        }
        assert_eq!(spell(Duration::from_secs(90)), "1m30s");
    }
}
