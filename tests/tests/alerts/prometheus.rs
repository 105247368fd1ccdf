//! As much of Prometheus as the rules need: scrapes, `series < number`, `increase(series[5m]) > 0`, and `for`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Written>,
}

#[derive(Deserialize)]
struct Written {
    alert: String,
    expr: String,
    #[serde(default, rename = "for")]
    hold: Option<String>,
    labels: BTreeMap<String, String>,
}

enum Expression {
    Below(String, f64),
    Rises(String, Duration),
}

struct Rule {
    name: String,
    expression: Expression,
    hold: Duration,
    /// Since when the expression has been true.
    since: Option<Duration>,
}

/// Rules, and the samples of one target.
pub struct Prometheus {
    rules: Vec<Rule>,
    samples: BTreeMap<String, Vec<(Duration, f64)>>,
}

impl Prometheus {
    /// With the rules of a file.
    ///
    /// # Errors
    /// It has an expression of another form.
    pub fn new(rules: &str) -> Result<Self> {
        let file: File = serde_saphyr::from_str(rules)?;
        let rules = file.groups.into_iter().flat_map(|group| group.rules).map(rule).collect::<Result<_>>()?;
        Ok(Self { rules, samples: BTreeMap::new() })
    }

    /// Takes a scrape at `now` and evaluates all rules. Returns what fires, as `alert/severity`.
    ///
    /// # Errors
    /// The page is not in the text format.
    pub fn scrape(&mut self, now: Duration, page: &str) -> Result<BTreeSet<String>> {
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').with_context(|| format!("no sample: {line}"))?;
            let value = value.parse().with_context(|| format!("no value: {line}"))?;
            self.samples.entry(series.to_owned()).or_default().push((now, value));
        }
        let samples = &self.samples;
        let mut firing = BTreeSet::new();
        for rule in &mut self.rules {
            let holds = match &rule.expression {
                Expression::Below(series, bound) => {
                    samples.get(series).and_then(|all| all.last()).is_some_and(|(_, v)| v < bound)
                }
                Expression::Rises(series, window) => {
                    let within = |(at, _): &&(Duration, f64)| *at + *window > now;
                    let all: Vec<f64> =
                        samples.get(series).into_iter().flatten().filter(within).map(|(_, v)| *v).collect();
                    // A counter that falls has begun anew: what it has then is its increase.
                    all.windows(2).map(|pair| if pair[1] < pair[0] { pair[1] } else { pair[1] - pair[0] }).sum::<f64>()
                        > 0.0
                }
            };
            rule.since = if holds { Some(rule.since.unwrap_or(now)) } else { None };
            if rule.since.is_some_and(|since| now - since >= rule.hold) {
                firing.insert(rule.name.clone());
            }
        }
        Ok(firing)
    }
}

fn rule(written: Written) -> Result<Rule> {
    let Written { alert, expr, hold, labels } = written;
    let expression = if let Some((series, bound)) = expr.split_once(" < ") {
        Expression::Below(series.to_owned(), bound.parse()?)
    } else if let Some(inner) = expr.strip_prefix("increase(").and_then(|rest| rest.strip_suffix(") > 0")) {
        let (series, window) = inner.strip_suffix(']').and_then(|inner| inner.split_once('[')).context("no window")?;
        Expression::Rises(series.to_owned(), span(window)?)
    } else {
        bail!("not an expression of these rules: {expr}");
    };
    let severity = labels.get("severity").context("no severity")?;
    let hold = hold.as_deref().map_or(Ok(Duration::ZERO), span)?;
    Ok(Rule { name: format!("{alert}/{severity}"), expression, hold, since: None })
}

fn span(text: &str) -> Result<Duration> {
    eyewall_core::config::parse_duration(text).with_context(|| format!("no time: {text}"))
}
