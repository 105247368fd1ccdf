//! The wire types of posture: what `/v1/posture` serves and `eyewall check --format json` prints. Fields are only ever added.

use serde::{Deserialize, Serialize};

use super::claim::{CLAIMS, Claim, Reach};
use super::evidence::{Evidence, Host};
use super::expect::Expectations;
use super::seen::Seen;
use super::verdict::{Fact, Judged, Severity, Verdict, Word};
use super::{Check, Worth};
use crate::status::{Health, Reason};
use crate::time::Time;

/// One check's verdict on one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check's id.
    pub check: String,
    /// What is so when it passes.
    pub title: String,
    /// The id of the claim it belongs to.
    pub claim: String,
    /// How much it matters if it does not pass; raised where what was seen makes it worse.
    pub severity: Severity,
    /// `verdict`, with `grade`, `holds_only_because` and `waived` where they belong to it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Why, and what to do.
    pub reason: Reason,
    /// By what it was judged.
    pub facts: Vec<Fact>,
    /// Whether a pass proves the claim's part (`true`) or only reports it.
    pub proves: bool,
    /// What a pass proves or reports.
    pub worth: String,
    /// What a pass does not prove.
    pub not: String,
    /// The CIS Kubernetes benchmark's items it covers.
    pub cis: Vec<String>,
    /// The sources that were looked at.
    pub sources: Vec<String>,
    /// When the newest of them was looked at; the capture's own time if there is none.
    pub checked_at: Time,
}

impl Finding {
    pub(super) fn new(check: &Check, judged: Judged, seen: &Seen<'_>) -> Self {
        let (proves, worth) = match check.worth {
            Worth::Proves(worth) => (true, worth),
            Worth::Reports(worth) => (false, worth),
        };
        let sources = seen.sources();
        let checked_at = sources.iter().filter_map(|id| seen.looked_at(id)).max().unwrap_or_else(|| seen.now());
        Self {
            check: check.id.to_owned(),
            title: check.title.to_owned(),
            claim: check.claim.id.to_owned(),
            severity: judged.raised.map_or(check.severity, |raised| raised.max(check.severity)),
            verdict: judged.verdict,
            reason: judged.reason,
            facts: judged.facts,
            proves,
            worth: worth.to_owned(),
            not: check.not.to_owned(),
            cis: check.cis.iter().map(|id| (*id).to_owned()).collect(),
            sources,
            checked_at,
        }
    }

    /// What this makes of the whole: severities below `counts_from` are never held against a host.
    pub fn health(&self, counts_from: Severity) -> Health {
        match self.verdict.word() {
            Word::Fail if self.severity >= counts_from => Health::Bad,
            Word::Unknown if self.severity >= counts_from => Health::Unknown,
            _ => Health::Good,
        }
    }
}

/// A claim of the page, and what the checks made of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimView {
    /// The claim's id.
    pub id: String,
    /// The page's part.
    pub part: String,
    /// The page's words.
    pub sentence: String,
    /// What a node can do about it.
    pub reach: Reach,
    /// What a node cannot prove of it.
    pub beyond: String,
    /// What the checks say together.
    pub state: ClaimState,
    /// The ids of its checks, in the order of `findings`.
    pub checks: Vec<String>,
}

/// What the checks of a claim say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimState {
    /// A check that counts fails.
    Broken,
    /// None fails, but one that counts could not tell.
    Unknown,
    /// It does not hold, and configuration accepts that for now.
    Waived,
    /// Every check that counts passes, and one of them at least proves its part.
    Holds,
    /// What was seen is as it should be, but proves nothing.
    Reported,
    /// It is not about a host of this kind.
    NotApplicable,
    /// A node could tell, but no check about it is in this report.
    NotJudged,
    /// It cannot be proved from a node.
    CannotBeProved,
}

impl ClaimState {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Unknown => "unknown",
            Self::Waived => "waived",
            Self::Holds => "holds",
            Self::Reported => "reported",
            Self::NotApplicable => "not-applicable",
            Self::NotJudged => "not-judged",
            Self::CannotBeProved => "cannot-be-proved",
        }
    }

    fn of(claim: &Claim, findings: &[&Finding], counts_from: Severity) -> Self {
        let health: Vec<Health> = findings.iter().map(|finding| finding.health(counts_from)).collect();
        let any = |word| findings.iter().any(|finding| finding.verdict.word() == word);
        let proved = || findings.iter().any(|finding| finding.proves && finding.verdict.word() == Word::Pass);
        if claim.reach == Reach::OutOfScope {
            Self::CannotBeProved
        } else if findings.is_empty() {
            Self::NotJudged
        } else if health.contains(&Health::Bad) {
            Self::Broken
        } else if health.contains(&Health::Unknown) {
            Self::Unknown
        } else if any(Word::Waived) {
            Self::Waived
        } else if proved() && claim.reach != Reach::Report {
            Self::Holds
        } else if any(Word::Pass) {
            Self::Reported
        } else if any(Word::NotApplicable) {
            Self::NotApplicable
        } else {
            // Only findings below what counts are left, and none of them passes.
            Self::Unknown
        }
    }
}

/// How often each word was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Passes.
    pub pass: usize,
    /// Failures.
    pub fail: usize,
    /// Not to be told.
    pub unknown: usize,
    /// Waived.
    pub waived: usize,
    /// Not about this host.
    pub not_applicable: usize,
}

/// Every check's verdict on one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this form: fields are only ever added to version 1.
    pub version: u32,
    /// Good only if nothing that counts is fail or unknown.
    pub health: Health,
    /// From which severity on a finding counts.
    pub counts_from: Severity,
    /// Which host.
    pub host: Host,
    /// When the evidence was captured.
    pub captured_at: Time,
    /// The verdicts counted.
    pub counts: Counts,
    /// Every claim of the page in its order, those without a check too.
    pub claims: Vec<ClaimView>,
    /// Every check's verdict.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The report of these findings.
    pub fn new(evidence: &Evidence, expect: &Expectations, findings: Vec<Finding>) -> Self {
        let mut report = Self {
            version: 1,
            health: Health::Unknown,
            counts_from: expect.counts_from,
            host: evidence.host.clone(),
            captured_at: evidence.captured_at,
            counts: Counts::default(),
            claims: Vec::new(),
            findings,
        };
        report.fold();
        report
    }

    /// Takes over findings that were judged anew, and says whether any verdict changed.
    pub fn renew(&mut self, captured_at: Time, renewed: impl IntoIterator<Item = Finding>) -> bool {
        self.captured_at = captured_at;
        let mut changed = false;
        for finding in renewed {
            match self.findings.iter_mut().find(|old| old.check == finding.check) {
                Some(old) => {
                    changed |= old.verdict != finding.verdict;
                    *old = finding;
                }
                None => {
                    changed = true;
                    self.findings.push(finding);
                }
            }
        }
        self.fold();
        changed
    }

    /// The findings of a claim.
    pub fn of_claim<'r>(&'r self, claim: &'r str) -> impl Iterator<Item = &'r Finding> {
        self.findings.iter().filter(move |finding| finding.claim == claim)
    }

    fn fold(&mut self) {
        let mut counts = Counts::default();
        for finding in &self.findings {
            *match finding.verdict.word() {
                Word::Pass => &mut counts.pass,
                Word::Fail => &mut counts.fail,
                Word::Unknown => &mut counts.unknown,
                Word::Waived => &mut counts.waived,
                Word::NotApplicable => &mut counts.not_applicable,
            } += 1;
        }
        self.counts = counts;
        let health: Vec<Health> = self.findings.iter().map(|finding| finding.health(self.counts_from)).collect();
        // Bad beats unknown beats good; a report of no findings has seen nothing.
        self.health = crate::status::Status::fold(&health);
        self.claims = CLAIMS
            .iter()
            .map(|claim| {
                let findings: Vec<&Finding> = self.of_claim(claim.id).collect();
                ClaimView {
                    id: claim.id.to_owned(),
                    part: claim.part.to_owned(),
                    sentence: claim.sentence.to_owned(),
                    reach: claim.reach,
                    beyond: claim.beyond.to_owned(),
                    state: ClaimState::of(claim, &findings, self.counts_from),
                    checks: findings.iter().map(|finding| finding.check.clone()).collect(),
                }
            })
            .collect();
    }
}

#[cfg(test)]
mod tests;
