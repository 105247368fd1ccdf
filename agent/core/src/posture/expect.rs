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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posture::fixtures::host;
    use crate::posture::{Capture, Word};

    fn waiver(check: &str, until: &str) -> Waiver {
        Waiver { check: check.to_owned(), why: "known".to_owned(), until: until.to_owned() }
    }

    #[test]
    fn every_fault_is_told_with_what_to_write() {
        let mut config = Config::default();
        let expect = [
            ("selinux-mod", "permissive"),
            ("no-such-thing-at-all", "x"),
            ("selinux-mode", "Permissive"),
            ("selinux-genuine", "yes"),
            ("selinux-transitions", "soon"),
            ("selinux-permissive-domains", "1,,2"),
        ];
        config.posture.expect = expect.map(|(check, value)| (check.to_owned(), value.to_owned())).into();
        config.posture.waive = vec![
            waiver("selinx-mode", "2027-01-01"),
            waiver("selinux-mode", "2027-01-01"),
            waiver("selinux-mode", "2028-01-01"),
            waiver("selinux-config", "tomorrow"),
        ];
        let faults = Expectations::new(&os::FCOS, &config).expect_err("faults");
        let kinds: Vec<&str> = faults.iter().map(ExpectationFault::kind).collect();
        assert_eq!(
            kinds,
            [
                "unknown-check",
                "takes-no-expectation",
                "unknown-check",
                "bad-expectation",
                "bad-expectation",
                "bad-expectation",
                "unknown-check",
                "waived-twice",
                "bad-date",
            ],
            "{faults:#?}"
        );
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(told[2].contains("did you mean \"selinux-mode\"?"), "{}", told[2]);
        assert!(
            told[3].contains("\"enforcing\", \"permissive\"") || told[4].contains("\"enforcing\", \"permissive\""),
            "{told:?}"
        );
        assert!(!told[0].contains("did you mean"), "{}", told[0]);
    }

    #[test]
    fn configuration_comes_before_the_os() {
        let mode = check("selinux-mode").expect("a check");
        for (name, os, declared, want) in [
            ("FCOS", &os::FCOS, None, Some("enforcing")),
            ("Flatcar", &os::FLATCAR, None, Some("permissive")),
            ("any", &os::GENERIC, None, None),
            ("declared", &os::GENERIC, Some(" enforcing "), Some("enforcing")),
            ("declared otherwise", &os::FCOS, Some("permissive"), Some("permissive")),
        ] {
            let mut config = Config::default();
            config.posture.expect.extend(declared.map(|value| ("selinux-mode".to_owned(), value.to_owned())));
            let expect = Expectations::new(os, &config).expect(name);
            assert_eq!(expect.of(mode), want, "{name}");
        }
    }

    /// A waiver covers what does not pass, up to the day before its end, and nothing else.
    #[test]
    fn a_waiver_ends_by_the_day_of_the_look() {
        let mode = check("selinux-mode").expect("a check");
        let mut evidence = host("fcos-worker");
        let mut config = Config::default();
        config.posture.waive = vec![waiver("selinux-mode", "2026-08-01")];
        let expect = Expectations::for_host(&evidence.host, &config).expect("valid");
        let mut said = |mode_now: Option<&str>, at: &str| {
            evidence.captured_at = Time::parse(at).expect(at);
            match mode_now {
                Some(text) => evidence.put("file:/sys/fs/selinux/enforce", None, Capture::text(text)),
                None => evidence.put("file:/sys/fs/selinux/enforce", None, Capture::Denied("x".to_owned())),
            };
            mode.judge(&evidence, &expect)
        };
        for (name, text, at, want) in [
            ("fails", Some("0"), "2026-07-31T23:59:59Z", Word::Waived),
            ("cannot be told", None, "2026-07-31T23:59:59Z", Word::Waived),
            ("passes: nothing to waive", Some("1"), "2026-07-31T23:59:59Z", Word::Pass),
            ("its last moment is over", Some("0"), "2026-08-01T00:00:00Z", Word::Fail),
            ("a clock beyond all days", Some("0"), "9999-12-30T00:00:00Z", Word::Fail),
        ] {
            assert_eq!(said(text, at).verdict.word(), want, "{name}");
        }
        let ended = said(Some("0"), "2026-08-02T00:00:00Z");
        assert!(ended.reason.message.contains("the waiver ended on 2026-08-01"), "{}", ended.reason.message);
        assert!(ended.facts.iter().any(|fact| fact.name == "waiver-ended"));
    }

    #[test]
    fn a_captured_host_is_judged_as_itself() {
        let evidence = host("flatcar-controller");
        let expect = Expectations::for_host(&evidence.host, &Config::default()).expect("valid");
        assert_eq!((expect.os.id, expect.role), ("flatcar", Role::Controller));
        let unknown = Host { os: "plan9".to_owned(), ..evidence.host };
        assert_eq!(Expectations::for_host(&unknown, &Config::default()).map(|e| e.os.id), Ok("generic"));
    }
}
