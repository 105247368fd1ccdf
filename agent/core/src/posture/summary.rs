//! The posture in a few lines: what `/v1/status` and its screen show. The whole is at `/v1/posture`.

use serde::{Deserialize, Serialize};

use super::report::{Counts, Report};
use super::verdict::{Severity, Word};
use crate::status::{Health, Reason};
use crate::time::Time;

/// The posture in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostureStatus {
    /// Good only if nothing that counts is fail or unknown. It is not part of the node's own health: a node with a finding still
    /// does its work.
    pub health: Health,
    /// The verdicts counted.
    pub counts: Counts,
    /// When the host was last looked at.
    pub checked_at: Time,
    /// What counts and does not pass, the worst first; at most [`PostureStatus::MOST`].
    pub findings: Vec<Short>,
}

/// A finding in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Short {
    /// The check.
    pub check: String,
    /// `fail` or `unknown`.
    pub verdict: String,
    /// How much it matters.
    pub severity: Severity,
    /// Why, and what to do.
    pub reason: Reason,
}

impl PostureStatus {
    /// More findings than this are counted, not listed.
    pub const MOST: usize = 8;

    /// Of a report.
    pub fn of(report: &Report) -> Self {
        let mut counted: Vec<_> = report
            .findings
            .iter()
            .filter(|finding| finding.health(report.counts_from) != Health::Good)
            .map(|finding| (finding.verdict.word(), finding))
            .collect();
        counted.sort_by(|(a, x), (b, y)| {
            (*a != Word::Fail, y.severity, &x.check).cmp(&(*b != Word::Fail, x.severity, &y.check))
        });
        Self {
            health: report.health,
            counts: report.counts,
            checked_at: report.captured_at,
            findings: counted
                .into_iter()
                .take(Self::MOST)
                .map(|(word, finding)| Short {
                    check: finding.check.clone(),
                    verdict: word.as_str().to_owned(),
                    severity: finding.severity,
                    reason: finding.reason.clone(),
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posture::fixtures::{expect, host};
    use crate::posture::{Capture, judge};

    #[test]
    fn the_worst_comes_first_and_what_does_not_count_is_left_out() {
        let mut evidence = host("fcos-worker");
        evidence.put("file:/sys/fs/selinux/enforce", None, Capture::text("0"));
        evidence.put("file:/etc/selinux/config", None, Capture::Missing);
        let report = judge(&evidence, &expect(&evidence));
        let status = PostureStatus::of(&report);
        assert_eq!(status.health, Health::Bad);
        assert_eq!(status.findings.first().map(|short| short.verdict.as_str()), Some("fail"));
        assert!(status.findings.iter().any(|short| short.check == "selinux-mode"));
        let fails = status.findings.iter().take_while(|short| short.verdict == "fail").count();
        assert!(status.findings.iter().skip(fails).all(|short| short.verdict == "unknown"));
        assert!(status.findings.iter().all(|short| short.severity >= report.counts_from));
    }
}
