//! What the daemon publishes of the posture: the document of `GET /v1/posture`.

use serde::{Deserialize, Serialize};

use super::history::Change;
use super::report::Report;

/// Every verdict, and what changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The verdicts.
    #[serde(flatten)]
    pub report: Report,
    /// The changes that are kept, oldest first; over restarts of the agent.
    #[serde(default)]
    pub changes: Vec<Change>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posture::fixtures::{expect, host};
    use crate::posture::history::History;
    use crate::posture::{Capture, judge};

    #[test]
    fn it_is_the_report_with_changes_beside_it() {
        let mut evidence = host("fcos-worker");
        let mut history = History::default();
        history.record(None, &judge(&evidence, &expect(&evidence)).findings);
        evidence.put("file:/sys/fs/selinux/enforce", None, Capture::text("0"));
        let report = judge(&evidence, &expect(&evidence));
        history.record(Some("a boot"), &report.findings);
        let published = Published { report: report.clone(), changes: history.changes().to_vec() };
        assert!(!published.changes.is_empty());
        let text = serde_json::to_string(&published).expect("plain");
        assert_eq!(serde_json::from_str::<Published>(&text).expect("reads"), published);
        assert_eq!(serde_json::from_str::<Report>(&text).expect("reads"), report, "an older reader takes the report");
        let alone = serde_json::to_string(&report).expect("plain");
        assert_eq!(serde_json::from_str::<Published>(&alone).expect("reads").changes, []);
    }
}
