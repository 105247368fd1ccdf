//! What is expected of a host: what its OS promises, what configuration says instead, and what it waives until when.

use std::collections::BTreeMap;

use thiserror::Error;

use super::evidence::Host;
use super::verdict::{Judged, Severity, Verdict, Waived};
use super::{Check, check, checks};
use crate::config::nearest::nearest;
use crate::config::{Config, Role, Waiver};
use crate::os::{self, Os};
use crate::time::Time;

/// What `[posture] expect` may say for a check.
#[derive(Clone, Copy, Debug)]
pub enum Accepts {
    /// Nothing: what is right does not depend on the site.
    Nothing,
    /// One of these words. Each is what the evidence should say.
    OneOf(&'static [&'static str]),
    /// Names that are allowed beyond what the check knows, separated by commas; what they name.
    Names(&'static str),
    /// A span like `30d` or `12h`; what it bounds.
    Span(&'static str),
    /// Any text; what it is.
    Text(&'static str),
}

/// Why `[posture]` cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ExpectationFault {
    /// No check has this id.
    #[error("There is no check {check:?}{}: `eyewall check` lists them all.", near.map(|near| format!(" (did you mean {near:?}?)")).unwrap_or_default())]
    UnknownCheck {
        /// What was written.
        check: String,
        /// The id that it is closest to.
        near: Option<&'static str>,
    },
    /// The check has nothing to expect.
    #[error(
        "What {check} wants is the same on every host: take the key out, or waive the check with a reason and an end."
    )]
    TakesNothing {
        /// The check.
        check: String,
    },
    /// The check cannot expect this.
    #[error("{check} cannot expect {value:?}: write {wanted}.")]
    BadValue {
        /// The check.
        check: String,
        /// What was written.
        value: String,
        /// What may be written.
        wanted: String,
    },
    /// The check is waived more than once.
    #[error("{check} is waived twice: leave the waiver that holds.")]
    WaivedTwice {
        /// The check.
        check: String,
    },
    /// No date.
    #[error("The waiver of {check} cannot end on {until:?}: write a day like \"2027-01-01\".")]
    BadDate {
        /// The check.
        check: String,
        /// What was written.
        until: String,
    },
}

impl ExpectationFault {
    /// For machines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::UnknownCheck { .. } => "unknown-check",
            Self::TakesNothing { .. } => "takes-no-expectation",
            Self::BadValue { .. } => "bad-expectation",
            Self::WaivedTwice { .. } => "waived-twice",
            Self::BadDate { .. } => "bad-date",
        }
    }
}

/// What is expected of a host.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectations {
    /// The OS, which promises some things.
    pub os: &'static Os,
    /// What the node is for.
    pub role: Role,
    /// The configuration, for the checks that compare with it (images, paths, owner).
    pub config: Config,
    /// From which severity on a finding makes the whole not good.
    pub counts_from: Severity,
    declared: BTreeMap<&'static str, String>,
    waivers: BTreeMap<&'static str, (Waiver, jiff::civil::Date)>,
}

impl Expectations {
    /// What `config` and `os` expect.
    ///
    /// # Errors
    /// Every fault of `[posture] expect` and `waive`, none of them taken.
    pub fn new(os: &'static Os, config: &Config) -> Result<Self, Vec<ExpectationFault>> {
        let mut faults = Vec::new();
        let mut declared = BTreeMap::new();
        for (id, value) in &config.posture.expect {
            match known(id).and_then(|check| accept(check, value).map(|()| check)) {
                Ok(check) => drop(declared.insert(check.id, value.trim().to_owned())),
                Err(fault) => faults.push(fault),
            }
        }
        let mut waivers = BTreeMap::new();
        for waiver in &config.posture.waive {
            match known(&waiver.check).and_then(|check| until(waiver).map(|until| (check, until))) {
                Ok((check, until)) => {
                    if waivers.insert(check.id, (waiver.clone(), until)).is_some() {
                        faults.push(ExpectationFault::WaivedTwice { check: waiver.check.clone() });
                    }
                }
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() {
            let role = config.node.role;
            Ok(Self { os, role, config: config.clone(), counts_from: Severity::Medium, declared, waivers })
        } else {
            Err(faults)
        }
    }

    /// The same for the host that evidence was captured on: its OS and role, whatever this machine is.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn for_host(host: &Host, config: &Config) -> Result<Self, Vec<ExpectationFault>> {
        let os = os::ALL.iter().find(|os| os.id == host.os).unwrap_or(&os::GENERIC);
        let mut expect = Self::new(os, config)?;
        expect.role = if host.role == "controller" { Role::Controller } else { Role::Worker };
        Ok(expect)
    }

    /// What is expected of `check`: the configuration's word, else the OS's.
    pub fn of(&self, check: &Check) -> Option<&str> {
        self.declared.get(check.id).map(String::as_str).or_else(|| (check.promised)(self.os))
    }

    /// The waiver of `check`, ended or not.
    pub fn waiver(&self, check: &Check) -> Option<&Waiver> {
        self.waivers.get(check.id).map(|(waiver, _)| waiver)
    }

    /// Takes the waiver into account: before its end it covers what does not pass; after it the verdict counts again and says so.
    pub(super) fn waive(&self, check: &Check, mut judged: Judged, now: Time) -> Judged {
        let Some((waiver, until)) = self.waivers.get(check.id) else { return judged };
        if !matches!(judged.verdict, Verdict::Fail | Verdict::Unknown) {
            return judged;
        }
        if day(now) < *until {
            judged.verdict = Verdict::Waived(Box::new(Waived {
                why: waiver.why.clone(),
                until: waiver.until.clone(),
                of: judged.verdict,
            }));
        } else {
            judged.reason.message.push_str(&format!(
                " It was waived ({}), but the waiver ended on {}: put it right, or waive it anew.",
                waiver.why, waiver.until
            ));
            judged = judged.fact("waiver-ended", &waiver.until);
        }
        judged
    }
}

/// The day (UTC) of an instant. The year 9999 for a clock beyond all days.
fn day(now: Time) -> jiff::civil::Date {
    i64::try_from(now.unix())
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or(jiff::civil::Date::MAX, |stamp| jiff::tz::TimeZone::UTC.to_datetime(stamp).date())
}

fn known(id: &str) -> Result<&'static Check, ExpectationFault> {
    check(id).ok_or_else(|| {
        let ids: Vec<&'static str> = checks().map(|check| check.id).collect();
        ExpectationFault::UnknownCheck { check: id.to_owned(), near: nearest(id, &ids) }
    })
}

fn until(waiver: &Waiver) -> Result<jiff::civil::Date, ExpectationFault> {
    let (check, until) = (waiver.check.clone(), waiver.until.clone());
    match until.parse::<jiff::civil::Date>() {
        Ok(date) if date.to_string() == until => Ok(date),
        _ => Err(ExpectationFault::BadDate { check, until }),
    }
}

fn accept(check: &Check, value: &str) -> Result<(), ExpectationFault> {
    let value = value.trim();
    let bad = |wanted: String| {
        Err(ExpectationFault::BadValue { check: check.id.to_owned(), value: value.to_owned(), wanted })
    };
    match check.expects {
        Accepts::Nothing => Err(ExpectationFault::TakesNothing { check: check.id.to_owned() }),
        Accepts::OneOf(words) if words.contains(&value) => Ok(()),
        Accepts::OneOf(words) => {
            bad(format!("one of {}", words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")))
        }
        Accepts::Names(what) if value.split(',').any(|name| name.trim().is_empty()) => {
            bad(format!("{what}, separated by commas"))
        }
        Accepts::Span(what) if crate::config::parse_duration(value).is_none() => {
            bad(format!("{what}, like \"30d\" or \"12h\""))
        }
        Accepts::Text(what) if value.is_empty() => bad(what.to_owned()),
        Accepts::Names(_) | Accepts::Span(_) | Accepts::Text(_) => Ok(()),
    }
}
