//! Prometheus' text format, version 0.0.4: what Zincati writes to whoever connects to its metrics socket.

use std::collections::BTreeMap;

use super::ReadFault;
use super::fault::bounded;

/// Zincati's page is 8 KiB.
pub const LARGEST: usize = 1024 * 1024;
/// Zincati has about 40.
pub const MOST: usize = 10_000;

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The name of the series.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value; may be NaN.
    pub value: f64,
}

/// All samples of one page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(Vec<Sample>);

impl Samples {
    /// Reads a page. It is read strictly: half a page must not look like a whole one.
    ///
    /// # Errors
    /// [`ReadFault`]; [`ReadFault::CutShort`] if the last line does not end, [`ReadFault::Malformed`] with the line.
    pub fn parse(text: &str) -> Result<Self, ReadFault> {
        let text = bounded(text, LARGEST)?;
        if !text.ends_with('\n') {
            return Err(ReadFault::CutShort);
        }
        let mut samples = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if samples.len() == MOST {
                return Err(ReadFault::TooMany { what: "samples", limit: MOST });
            }
            let sample = sample(line).ok_or(ReadFault::Malformed { format: "Prometheus text", line: index + 1 })?;
            samples.push(sample);
        }
        Ok(Self(samples))
    }

    /// The sample of `name`, if there is exactly one; labels do not matter.
    pub fn one(&self, name: &str) -> Option<f64> {
        let mut found = self.all(name);
        let first = found.next()?;
        found.next().is_none().then_some(first.value)
    }

    /// Every sample of `name`.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| sample.name == name)
    }

    /// The sum over the labels of `name`; `None` if there is none.
    pub fn sum(&self, name: &str) -> Option<f64> {
        let mut found = self.all(name).peekable();
        found.peek()?;
        Some(found.map(|sample| sample.value).sum())
    }
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at(end);
    if !is_name(name, true) {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let mut words = rest.split_whitespace();
    let value = number(words.next()?)?;
    // A time in milliseconds may follow, nothing else.
    if words.next().is_some_and(|stamp| stamp.parse::<i64>().is_err()) || words.next().is_some() {
        return None;
    }
    Some(Sample { name: name.to_owned(), labels, value })
}

/// The labels after the `{`, and what follows the `}`.
fn labels(text: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    let mut rest = text.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once('=')?;
        let name = name.trim();
        if !is_name(name, false) {
            return None;
        }
        let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
        labels.insert(name.to_owned(), value);
        rest = after.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None if rest.starts_with('}') => rest,
            None => return None,
        };
    }
}

/// The value up to the closing quote, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                _ => return None,
            }),
            other => value.push(other),
        }
    }
    None
}

fn is_name(name: &str, colon: bool) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || (colon && b == b':');
    name.bytes().next().is_some_and(|b| !b.is_ascii_digit()) && name.bytes().all(inner)
}

/// What Go's `ParseFloat` takes of what an exporter writes.
fn number(word: &str) -> Option<f64> {
    match word {
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        // Rust also reads "infinity" and the like, which nobody writes.
        _ if word.bytes().any(|b| b.is_ascii_digit()) => word.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ZINCATI: &str =
        "# HELP zincati_update_agent_last_refresh_timestamp UTC timestamp of update-agent last refresh tick.
# TYPE zincati_update_agent_last_refresh_timestamp gauge
zincati_update_agent_last_refresh_timestamp 1782000000
# TYPE zincati_update_agent_updates_enabled gauge
zincati_update_agent_updates_enabled 1
zincati_updates_strategy_mode{strategy=\"periodic\"} 1
zincati_cincinnati_update_checks_errors_total{kind=\"client_failed_request\"} 2
zincati_cincinnati_update_checks_errors_total{kind=\"server_failed_request\"} 3
";

    #[test]
    fn a_page_is_read() {
        let page = Samples::parse(ZINCATI).expect("a page");
        assert_eq!(page.one("zincati_update_agent_last_refresh_timestamp"), Some(1_782_000_000.0));
        assert_eq!(page.one("zincati_update_agent_updates_enabled"), Some(1.0));
        assert_eq!(page.one("zincati_cincinnati_update_checks_errors_total"), None, "two are not one");
        assert_eq!(page.sum("zincati_cincinnati_update_checks_errors_total"), Some(5.0));
        assert_eq!(page.sum("absent"), None);
        let mode = page.all("zincati_updates_strategy_mode").next().expect("one");
        assert_eq!(mode.labels.get("strategy").map(String::as_str), Some("periodic"));
    }

    #[test]
    fn lines_are_read_strictly() {
        for (line, want) in [
            ("a 1\n", Ok(1.0)),
            ("a:b 1e3\n", Ok(1_000.0)),
            ("a{} 1\n", Ok(1.0)),
            ("a{b=\"c\",} 1 1700000000000\n", Ok(1.0)),
            ("a{b=\"}\",c=\"\\\"\\\\\\n\"} +Inf\n", Ok(f64::INFINITY)),
            ("a 1", Err("cut-short")),
            ("a\n", Err("malformed")),
            ("a \n", Err("malformed")),
            ("a one\n", Err("malformed")),
            ("a infinity\n", Err("malformed")),
            ("1a 1\n", Err("malformed")),
            ("a{b} 1\n", Err("malformed")),
            ("a{b=\"c\" 1\n", Err("malformed")),
            ("a{b=\"c} 1\n", Err("malformed")),
            ("a{b=\"\\x\"} 1\n", Err("malformed")),
            ("a 1 2 3\n", Err("malformed")),
            ("a 1 x\n", Err("malformed")),
            ("<html>\n", Err("malformed")),
            ("\n", Err("empty")),
        ] {
            let got = Samples::parse(line).map(|page| page.0.first().map_or(f64::NAN, |sample| sample.value));
            assert_eq!(got.map_err(|fault| fault.kind()), want, "{line:?}");
        }
        let many = "a 1\n".repeat(MOST + 1);
        assert_eq!(Samples::parse(&many).map_err(|fault| fault.kind()), Err("too-many"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_page_or_a_fault(text in "(?s).{0,300}") {
            let _ = Samples::parse(&text);
        }

        #[test]
        fn near_misses_too(text in "[a-z_:{}\"=,\\\\ 0-9.eE+\n#-]{0,200}") {
            let _ = Samples::parse(&text);
        }
    }
}
