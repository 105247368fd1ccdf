//! What changed when: every change of a verdict, with what it was judged by before and after, and who did it where that is known. Bounded, and
//! saved with each change, so that it survives restarts and reboots of the agent.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::report::Finding;
use super::verdict::{Fact, Severity, Verdict, Word};
use crate::status::Reason;
use crate::time::Time;

/// A verdict as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// `verdict` with what belongs to it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// By what.
    pub facts: Vec<Fact>,
}

impl Remembered {
    /// More facts of a verdict are not remembered.
    pub const MOST_FACTS: usize = 8;

    /// The same verdict for the same kind of reason: sentences and facts may differ (an age, a count).
    pub fn is_same(&self, other: &Self) -> bool {
        self.verdict == other.verdict && self.reason.kind == other.reason.kind
    }
}

impl From<&Finding> for Remembered {
    fn from(finding: &Finding) -> Self {
        Self {
            verdict: finding.verdict.clone(),
            reason: finding.reason.clone(),
            facts: finding.facts.iter().take(Self::MOST_FACTS).cloned().collect(),
        }
    }
}

/// Who did something, as the audit log knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The user as they logged in (`_AUDIT_LOGINUID`), whatever they became since.
    pub login_uid: u32,
    /// Their login session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<u32>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When it was judged.
    pub at: Time,
    /// In which boot.
    pub boot_id: Option<String>,
    /// The check.
    pub check: String,
    /// How much it matters.
    pub severity: Severity,
    /// What it was; `None` if it was never judged before.
    pub before: Option<Remembered>,
    /// What it is.
    pub after: Remembered,
    /// Who did it, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
}

impl Change {
    /// From something that does not pass to something that does.
    pub fn is_better(&self) -> bool {
        let good = |word| matches!(word, Word::Pass | Word::NotApplicable);
        good(self.after.verdict.word()) && self.before.as_ref().is_some_and(|before| !good(before.verdict.word()))
    }
}

/// The changes, and what each check said last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Oldest first.
    changes: Vec<Change>,
    last: BTreeMap<String, Remembered>,
}

impl History {
    /// More changes are not kept; a check that flaps pushes out its own oldest first.
    pub const MOST: usize = 512;
    /// Of one check no more than this.
    pub const MOST_OF_ONE: usize = 64;

    /// Reads what was saved. Something else, or a damaged file, is no history: the agent begins anew and says so.
    ///
    /// # Errors
    /// What the parser says.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut history: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        history.last.retain(|id, _| super::check(id).is_some());
        history.bound();
        Ok(history)
    }

    /// The changes, oldest first.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// What `check` said last.
    pub fn last(&self, check: &str) -> Option<&Remembered> {
        self.last.get(check)
    }

    /// Compares `findings` with what their checks said last, takes over the changes and returns them. The first verdict of a check is a change
    /// only if it does not pass.
    pub fn record<'f>(
        &mut self,
        boot_id: Option<&str>,
        findings: impl IntoIterator<Item = &'f Finding>,
    ) -> Vec<Change> {
        let mut new = Vec::new();
        for finding in findings {
            let after = Remembered::from(finding);
            let before = self.last.insert(finding.check.clone(), after.clone());
            let changed = match &before {
                Some(before) => !before.is_same(&after),
                None => !matches!(after.verdict.word(), Word::Pass | Word::NotApplicable),
            };
            if changed {
                new.push(Change {
                    at: finding.checked_at,
                    boot_id: boot_id.map(str::to_owned),
                    check: finding.check.clone(),
                    severity: finding.severity,
                    before,
                    after,
                    actor: None,
                });
            }
        }
        self.changes.extend(new.iter().cloned());
        self.bound();
        new
    }

    /// Names who did what changed `check` at about `at`: the audit record comes after the change was judged. Returns the change, if one is near and has
    /// no actor yet.
    pub fn attribute(&mut self, check: &str, at: Time, actor: &Actor) -> Option<&Change> {
        const NEAR: Duration = Duration::from_secs(10);
        let apart =
            |a: Time, b: Time| a.0.duration_since(b.0).or_else(|_| b.0.duration_since(a.0)).unwrap_or(Duration::MAX);
        let change = self
            .changes
            .iter_mut()
            .rev()
            .find(|change| change.check == check && change.actor.is_none() && apart(change.at, at) <= NEAR)?;
        change.actor = Some(actor.clone());
        Some(change)
    }

    fn bound(&mut self) {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for change in &self.changes {
            *counts.entry(change.check.clone()).or_default() += 1;
        }
        let mut over = self.changes.len().saturating_sub(Self::MOST);
        self.changes.retain(|change| {
            let count = counts.entry(change.check.clone()).or_default();
            let drop = *count > Self::MOST_OF_ONE;
            *count -= usize::from(drop);
            over = over.saturating_sub(usize::from(drop));
            !drop
        });
        self.changes.drain(..over.min(self.changes.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posture::fixtures::{expect, host};
    use crate::posture::{Capture, Evidence, judge};

    fn findings(evidence: &Evidence) -> Vec<Finding> {
        judge(evidence, &expect(evidence)).findings
    }

    #[test]
    fn a_change_is_told_once_and_again_when_it_is_undone() {
        let mut evidence = host("fcos-worker");
        let mut history = History::default();
        let first = history.record(Some("b"), &findings(&evidence));
        assert!(first.iter().all(|change| change.before.is_none() && change.after.verdict.word() != Word::Pass));
        assert_eq!(history.record(Some("b"), &findings(&evidence)), []);

        let at = Time::from_unix(1_784_116_900);
        evidence.put("file:/sys/fs/selinux/enforce", Some(at), Capture::text("0"));
        let broken = history.record(Some("b"), &findings(&evidence));
        let [change] = &broken[..] else { panic!("{broken:#?}") };
        assert_eq!((change.check.as_str(), change.at, change.is_better()), ("selinux-mode", at, false));
        assert_eq!(change.after.reason.kind, "permissive");
        assert_eq!(change.before.as_ref().map(|before| before.verdict.word()), Some(Word::Pass));
        assert_eq!(history.record(Some("b"), &findings(&evidence)), []);

        let actor = Actor { login_uid: 1000, session: Some(3) };
        assert!(
            history.attribute("selinux-mode", Time::from_unix(at.unix() + 60), &actor).is_none(),
            "a minute is not near"
        );
        assert_eq!(
            history.attribute("selinux-mode", Time::from_unix(at.unix() + 1), &actor).map(|c| c.actor.clone()),
            Some(Some(actor.clone()))
        );
        assert!(history.attribute("selinux-mode", at, &actor).is_none(), "it has one");

        // A restart of the agent: what was told is not told again.
        let saved = serde_json::to_string(&history).expect("serializes");
        let mut restored = History::parse(&saved).expect("reads");
        assert_eq!(restored, history);
        assert_eq!(restored.record(Some("b"), &findings(&evidence)), []);
        evidence.put("file:/sys/fs/selinux/enforce", Some(at), Capture::text("1"));
        let healed = restored.record(Some("c"), &findings(&evidence));
        assert!(healed.len() == 1 && healed[0].is_better(), "{healed:?}");
        assert_eq!(restored.changes().last(), healed.last());
    }

    #[test]
    fn it_is_bounded_and_a_flapping_check_pushes_out_itself() {
        let good = host("fcos-worker");
        let findings = findings(&good);
        let mut history = History::default();
        let of = |check: &str, kind: &str| {
            let mut finding = findings.iter().find(|finding| finding.check == check).expect(check).clone();
            finding.reason.kind = kind.to_owned();
            finding
        };
        history.record(None, &[of("selinux-config", "a")]);
        history.record(None, &[of("selinux-config", "b")]);
        for n in 0..1_000 {
            history.record(None, &[of("selinux-mode", if n % 2 == 0 { "a" } else { "b" })]);
        }
        let count = |check: &str| history.changes().iter().filter(|change| change.check == check).count();
        assert_eq!((count("selinux-mode"), count("selinux-config")), (History::MOST_OF_ONE, 1));

        let many: Vec<Change> =
            (0..2_000).map(|n| Change { check: format!("c{}", n % 100), ..history.changes()[0].clone() }).collect();
        let text =
            serde_json::json!({"changes": many, "last": {"gone-check": history.last("selinux-mode")}}).to_string();
        let read = History::parse(&text).expect("reads");
        assert_eq!((read.changes().len(), read.last("gone-check")), (History::MOST, None));
        for text in ["", "{", "[]", r#"{"changes":[{}],"last":{}}"#] {
            assert!(History::parse(text).is_err(), "{text}");
        }
    }
}
