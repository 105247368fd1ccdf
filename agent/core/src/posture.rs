//! Posture: every claim of Typhoon's security page, judged by evidence.
//!
//! A check is data ([`Check`]) with a pure judge; what it judges is [`Evidence`], captured elsewhere. So a captured host is judged like a
//! living one, and every case of a test is such a capture.
//!
//! # To add a check
//! 1. In a file of `checks/`, declare what it reads (`const NAME: Source = Source::text("file:/…")`; how much may be kept is part of the
//!    declaration), write `fn judge(seen: &Seen<'_>) -> Result<Judged, Unseen>`, and put a [`Check`] into that file's `CHECKS`. A new file gets
//!    its line in [`FAMILIES`].
//! 2. Read with `seen.text(&NAME)?`: a source that is missing, denied, empty or too large becomes `unknown` by the `?` and says which right
//!    is lacking. A judge passes only when it has recognised what it read: text that a parser does not know is [`Item::malformed`], not "no
//!    finding". Look for what fails before what is unknown: a finding in one source stands though another cannot be read.
//!    `not-applicable` comes from OS, role or platform, not from a source that says nothing.
//! 3. Add what a good host shows to the directories `fixtures/{fcos,flatcar}-{worker,controller}/` (a file of your own there), and each bad
//!    case as a small overlay in `fixtures/cases/`. `mutation.rs` then runs the judge with each of its sources missing, denied,
//!    empty, garbage, huge and not captured, and wants no pass; every source that is not needed must be declared so ([`also`],
//!    [`Read::or_absent`], [`Read::or_none`], [`Read::or_empty`], [`Read::whatever_it_says`]).
//!
//! Sources that several families read are declared once: [`boot::CMDLINE`], [`units::UNITS`].
//!
//! The daemon captures by [`sources`], hands over [`Evidence`], and re-judges what a change concerns by [`checks_reading`].

pub mod boot;
pub mod checks;
pub mod claim;
pub mod evidence;
pub mod expect;
pub mod history;
pub mod published;
pub mod read;
pub mod render;
pub mod report;
pub mod seen;
pub mod selinux_watch;
pub mod source;
pub mod ssh_plan;
pub mod summary;
pub mod units;
pub mod verdict;

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod mutation;
#[cfg(test)]
mod tests;

pub use checks::FAMILIES;
pub use claim::{CLAIMS, Claim, Reach};
pub use evidence::{Capture, Evidence, EvidenceFault, Host};
pub use expect::{Accepts, ExpectationFault, Expectations};
pub use published::Published;
pub use report::{Finding, Report};
pub use seen::{Item, Seen, Unseen};
pub use source::{Keep, Read, Source, also, needs};
pub use summary::PostureStatus;
pub use verdict::{Fact, Grade, Judged, Severity, Verdict, Waived, Word};

use std::collections::BTreeMap;

use crate::os::Os;

/// What a pass of a check is worth, and what it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// A pass proves this.
    Proves(&'static str),
    /// A pass only reports this: the claim itself is decided elsewhere. Never shown as good.
    Reports(&'static str),
}

/// One check: data, and a pure judge.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// kebab-case; equal in configuration, JSON, journal and documentation. It stays.
    pub id: &'static str,
    /// What is so when it passes, in a line.
    pub title: &'static str,
    /// The sentence of the page it belongs to.
    pub claim: &'static Claim,
    /// How much a failure matters.
    pub severity: Severity,
    /// What it reads, and which states of that are answers.
    pub reads: &'static [Read],
    /// The judge. It sees nothing but what `reads` declares.
    pub judge: fn(&Seen<'_>) -> Result<Judged, Unseen>,
    /// What a pass proves or reports.
    pub worth: Worth,
    /// What a pass does not prove, so that nobody takes it for more.
    pub not: &'static str,
    /// The items of the CIS Kubernetes benchmark (`4.2.1`) that it covers.
    pub cis: &'static [&'static str],
    /// What `[posture] expect` may say for it.
    pub expects: Accepts,
    /// What the OS promises where configuration says nothing.
    pub promised: fn(&Os) -> Option<&'static str>,
}

/// For [`Check::promised`] where no OS promises anything.
pub fn nothing_promised(_: &Os) -> Option<&'static str> {
    None
}

impl Check {
    /// Does it read the source (or family's member) `id`?
    pub fn reads_source(&self, id: &str) -> bool {
        self.reads.iter().any(|read| read.source.is(id))
    }

    /// The verdict of this check on `evidence`, waivers applied.
    pub fn judge(&'static self, evidence: &Evidence, expect: &Expectations) -> Finding {
        let seen = Seen::new(self, evidence, expect);
        let judged = (self.judge)(&seen).unwrap_or_else(Judged::from);
        // Whatever the judge made of it: without a source that the check needs nothing passes.
        let judged = match (&judged.verdict, seen.lacking()) {
            (Verdict::Pass(_), Some(unseen)) => Judged::from(unseen),
            _ => judged,
        };
        let judged = expect.waive(self, judged, evidence.captured_at);
        Finding::new(self, judged, &seen)
    }
}

/// Every check, family by family.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    FAMILIES.iter().copied().flatten()
}

/// The check with this id.
pub fn check(id: &str) -> Option<&'static Check> {
    checks().find(|check| check.id == id)
}

/// The checks that a change of the source `id` concerns.
pub fn checks_reading(id: &str) -> impl Iterator<Item = &'static Check> {
    checks().filter(move |check| check.reads_source(id))
}

/// Every source that some check reads, once, by id. This is what the daemon captures.
pub fn sources() -> BTreeMap<&'static str, &'static Source> {
    checks().flat_map(|check| check.reads).map(|read| (read.source.id, read.source)).collect()
}

/// Every check's verdict on `evidence`.
pub fn judge(evidence: &Evidence, expect: &Expectations) -> Report {
    Report::new(evidence, expect, checks().map(|check| check.judge(evidence, expect)).collect())
}
