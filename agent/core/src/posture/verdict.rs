//! What a judge says: a verdict, its reason, and the facts it was judged by.

use serde::{Deserialize, Serialize};

use crate::screen::paint::clean;
use crate::status::Reason;

/// How much a finding matters. Fixed per check and documented there; a judge may raise it where what it saw makes things worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Told, never held against the node.
    Note,
    /// Worth a look; a Typhoon node as it is shipped has some of these.
    Low,
    /// A claim of the page does not hold as it is written. From here on it counts, unless configuration says otherwise.
    Medium,
    /// A way in, or a guard that is off.
    High,
    /// Somebody is in, or could be without trying.
    Critical,
}

impl Severity {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// How much a pass is worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// The host was asked and behaved so: a refused request, an answered probe, the kernel's own word for its state.
    ProvedByBehaviour,
    /// It is set up so; nobody has tried.
    Configured,
    /// It is so only because of something else, which is named; when that changes the claim falls.
    HoldsOnlyBecause(String),
}

impl Grade {
    /// As in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::ProvedByBehaviour => "proved-by-behaviour",
            Self::Configured => "configured",
            Self::HoldsOnlyBecause(_) => "holds-only-because",
        }
    }
}

/// A verdict. Not being able to look is [`Verdict::Unknown`], never a pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Flat", try_from = "Flat")]
pub enum Verdict {
    /// As it should be.
    Pass(Grade),
    /// Not as it should be.
    Fail,
    /// It could not be told; the reason says why and what is needed.
    Unknown,
    /// The check says nothing about a host of this kind.
    NotApplicable,
    /// It does not pass, and configuration says until when that is accepted. Judges never say this: the frame does.
    Waived(Box<Waived>),
}

/// A verdict that a waiver covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waived {
    /// Why, in the words of the configuration.
    pub why: String,
    /// `YYYY-MM-DD`, the first day (UTC) on which it counts again.
    pub until: String,
    /// What it would be without.
    pub of: Verdict,
}

/// The five words, without what belongs to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// [`Verdict::Fail`]
    Fail,
    /// [`Verdict::Unknown`]
    Unknown,
    /// [`Verdict::Waived`]
    Waived,
    /// [`Verdict::Pass`]
    Pass,
    /// [`Verdict::NotApplicable`]
    NotApplicable,
}

impl Word {
    /// Every word, the one to look at first first.
    pub const ALL: [Self; 5] = [Self::Fail, Self::Unknown, Self::Waived, Self::Pass, Self::NotApplicable];

    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Unknown => "unknown",
            Self::Waived => "waived",
            Self::Pass => "pass",
            Self::NotApplicable => "not-applicable",
        }
    }
}

impl Verdict {
    /// Which of the five.
    pub fn word(&self) -> Word {
        match self {
            Self::Pass(_) => Word::Pass,
            Self::Fail => Word::Fail,
            Self::Unknown => Word::Unknown,
            Self::NotApplicable => Word::NotApplicable,
            Self::Waived(_) => Word::Waived,
        }
    }
}

/// A verdict as JSON has it: flat, so that a query is one field.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Flat {
    verdict: Word,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grade: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    holds_only_because: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    waived: Option<Box<Waived>>,
}

impl From<Verdict> for Flat {
    fn from(verdict: Verdict) -> Self {
        let mut flat = Self { verdict: verdict.word(), grade: None, holds_only_because: None, waived: None };
        match verdict {
            Verdict::Pass(grade) => {
                flat.grade = Some(grade.as_str().to_owned());
                if let Grade::HoldsOnlyBecause(because) = grade {
                    flat.holds_only_because = Some(because);
                }
            }
            Verdict::Waived(waived) => flat.waived = Some(waived),
            Verdict::Fail | Verdict::Unknown | Verdict::NotApplicable => {}
        }
        flat
    }
}

impl TryFrom<Flat> for Verdict {
    type Error = String;

    fn try_from(flat: Flat) -> Result<Self, String> {
        Ok(match flat.verdict {
            Word::Fail => Self::Fail,
            Word::Unknown => Self::Unknown,
            Word::NotApplicable => Self::NotApplicable,
            Word::Waived => Self::Waived(flat.waived.ok_or("a waived verdict needs `waived`")?),
            Word::Pass => Self::Pass(match (flat.grade.as_deref(), flat.holds_only_because) {
                (Some("proved-by-behaviour"), _) => Grade::ProvedByBehaviour,
                (Some("configured"), _) => Grade::Configured,
                (Some("holds-only-because"), Some(because)) => Grade::HoldsOnlyBecause(because),
                (grade, _) => return Err(format!("a pass cannot have the grade {grade:?}")),
            }),
        })
    }
}

/// One thing a verdict was judged by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// A field's name, or the source's.
    pub name: String,
    /// Its value, without control characters, at most [`Fact::LONGEST`] characters.
    pub value: String,
}

impl Fact {
    /// A value is cut here; a fact is for reading.
    pub const LONGEST: usize = 300;

    fn new(name: &str, value: &str) -> Self {
        let shorten = |text: &str| {
            let text = clean(text);
            match text.char_indices().nth(Self::LONGEST) {
                None => text,
                Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
            }
        };
        Self { name: shorten(name), value: shorten(value) }
    }
}

/// What a judge says.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// Why, and what to do about it.
    pub reason: Reason,
    /// By what; at most [`Judged::MOST_FACTS`].
    pub facts: Vec<Fact>,
    /// The check's severity is at least this, for what was seen.
    pub raised: Option<Severity>,
}

impl Judged {
    /// More facts than this are counted, not listed.
    pub const MOST_FACTS: usize = 40;

    fn new(verdict: Verdict, kind: &'static str, message: impl Into<String>) -> Self {
        Self { verdict, reason: Reason::new(kind, clean(&message.into())), facts: Vec::new(), raised: None }
    }

    /// As it should be; `kind` is kebab-case and stays, `message` is a sentence.
    pub fn pass(grade: Grade, kind: &'static str, message: impl Into<String>) -> Self {
        Self::new(Verdict::Pass(grade), kind, message)
    }

    /// Not as it should be; the sentence says what to do.
    pub fn fail(kind: &'static str, message: impl Into<String>) -> Self {
        Self::new(Verdict::Fail, kind, message)
    }

    /// It cannot be told; the sentence says what is needed to tell.
    pub fn unknown(kind: &'static str, message: impl Into<String>) -> Self {
        Self::new(Verdict::Unknown, kind, message)
    }

    /// Nothing to judge on a host of this kind. This must come from what the host *is* (OS, role, platform), or from evidence that was
    /// read in full: a source that could not be read makes no check inapplicable.
    pub fn not_applicable(kind: &'static str, message: impl Into<String>) -> Self {
        Self::new(Verdict::NotApplicable, kind, message)
    }

    /// Adds what it was judged by.
    pub fn fact(mut self, name: &str, value: impl AsRef<str>) -> Self {
        match self.facts.len() {
            0..Self::MOST_FACTS => self.facts.push(Fact::new(name, value.as_ref())),
            Self::MOST_FACTS => self.facts.push(Fact::new("more", "1")),
            _ => {
                if let Some(more) = self.facts.last_mut() {
                    more.value = (more.value.parse::<u64>().unwrap_or(1) + 1).to_string();
                }
            }
        }
        self
    }

    /// Adds several of one name.
    pub fn facts<T: AsRef<str>>(self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        values.into_iter().fold(self, |judged, value| judged.fact(name, value))
    }

    /// What was seen is worse than the check usually finds.
    pub fn raised_to(mut self, severity: Severity) -> Self {
        self.raised = Some(severity);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_survive_json() {
        let waived = Waived { why: "known".to_owned(), until: "2027-01-01".to_owned(), of: Verdict::Fail };
        for (verdict, json) in [
            (Verdict::Fail, r#"{"verdict":"fail"}"#),
            (Verdict::Unknown, r#"{"verdict":"unknown"}"#),
            (Verdict::NotApplicable, r#"{"verdict":"not-applicable"}"#),
            (Verdict::Pass(Grade::Configured), r#"{"verdict":"pass","grade":"configured"}"#),
            (Verdict::Pass(Grade::ProvedByBehaviour), r#"{"verdict":"pass","grade":"proved-by-behaviour"}"#),
            (
                Verdict::Pass(Grade::HoldsOnlyBecause("x".to_owned())),
                r#"{"verdict":"pass","grade":"holds-only-because","holds_only_because":"x"}"#,
            ),
            (
                Verdict::Waived(Box::new(waived)),
                r#"{"verdict":"waived","waived":{"why":"known","until":"2027-01-01","of":{"verdict":"fail"}}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&verdict).expect("serializes"), json);
            assert_eq!(serde_json::from_str::<Verdict>(json).expect(json), verdict);
        }
        for json in [r#"{"verdict":"pass"}"#, r#"{"verdict":"waived"}"#, r#"{"verdict":"good"}"#] {
            assert!(serde_json::from_str::<Verdict>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn facts_are_bounded_and_clean() {
        let judged = Judged::fail("x", "a\u{1b}[31mb").facts("n", (0..100).map(|n| n.to_string()));
        assert_eq!(judged.reason.message, "a[31mb");
        assert_eq!(judged.facts.len(), Judged::MOST_FACTS + 1);
        assert_eq!(judged.facts.last().map(|f| (f.name.as_str(), f.value.as_str())), Some(("more", "60")));
        let long = Judged::fail("x", "y").fact("n", "ä".repeat(1_000));
        assert_eq!(long.facts[0].value.chars().count(), Fact::LONGEST + 1);
    }
}
