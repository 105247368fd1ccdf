//! SARIF 2.1.0 (OASIS), for code-scanning and vulnerability views: a check is a rule, a finding is a result.

use serde_json::{Value, json};

use crate::posture::{Finding, Report, Severity, Verdict};

/// The report as SARIF, indented, with a line end. `version` is the agent's.
pub fn sarif(report: &Report, version: &str) -> String {
    let rules: Vec<Value> = report.findings.iter().map(rule).collect();
    let results: Vec<Value> =
        report.findings.iter().enumerate().map(|(index, finding)| result(index, finding)).collect();
    let name = report.host.name.as_deref().unwrap_or("unnamed");
    let log = json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "eyewall",
                "version": version,
                "informationUri": "https://github.com/eyewall/eyewall",
                "rules": rules,
            }},
            "automationDetails": {"id": format!("posture/{name}/")},
            "invocations": [{"executionSuccessful": true, "endTimeUtc": report.captured_at}],
            "results": results,
        }],
    });
    serde_json::to_string_pretty(&log).map_or_else(|_| String::new(), |text| text + "\n")
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Note | Severity::Low => "note",
        Severity::Medium => "warning",
        Severity::High | Severity::Critical => "error",
    }
}

fn rule(finding: &Finding) -> Value {
    let mut tags = vec![finding.claim.clone()];
    tags.extend(finding.cis.iter().map(|cis| format!("cis-k8s:{cis}")));
    json!({
        "id": finding.check,
        "shortDescription": {"text": format!("{}.", finding.title)},
        "fullDescription": {"text": finding.worth},
        "help": {"text": format!("What this does not show: {}", finding.not)},
        "defaultConfiguration": {"level": level(finding.severity)},
        "properties": {"tags": tags},
    })
}

fn result(index: usize, finding: &Finding) -> Value {
    // A result that is no failure has no level (3.27.10).
    let (kind, level) = match &finding.verdict {
        Verdict::Pass(_) => ("pass", "none"),
        Verdict::Fail | Verdict::Waived(_) => ("fail", level(finding.severity)),
        Verdict::Unknown => ("open", "none"),
        Verdict::NotApplicable => ("notApplicable", "none"),
    };
    let facts: Vec<String> = finding.facts.iter().map(|fact| format!("{}: {}", fact.name, fact.value)).collect();
    let mut result = json!({
        "ruleId": finding.check,
        "ruleIndex": index,
        "kind": kind,
        "level": level,
        "message": {"text": finding.reason.message},
        "locations": finding.sources.iter().take(8).map(|source| location(source)).collect::<Vec<_>>(),
        "partialFingerprints": {"check/v1": finding.check},
        "properties": {"verdict": finding.verdict.word(), "reason": finding.reason.kind, "severity": finding.severity, "facts": facts},
    });
    if let Verdict::Waived(waived) = &finding.verdict {
        let justification = format!("{} (until {})", waived.why, waived.until);
        result["suppressions"] = json!([{"kind": "external", "status": "accepted", "justification": justification}]);
    }
    result
}

/// A source as a place: a file by its URI, anything else by its name.
fn location(source: &str) -> Value {
    let name = json!([{"fullyQualifiedName": source, "kind": "resource"}]);
    let path = ["file:", "bytes:", "stat:", "list:"]
        .iter()
        .find_map(|kind| source.strip_prefix(kind))
        .filter(|path| path.starts_with('/'));
    match path {
        Some(path) => {
            json!({"physicalLocation": {"artifactLocation": {"uri": format!("file://{}", percent(path))}}, "logicalLocations": name})
        }
        None => json!({"logicalLocations": name}),
    }
}

/// A path as in a URI (RFC 3986).
fn percent(path: &str) -> String {
    path.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_places() {
        assert_eq!(
            location("file:/etc/a b"),
            json!({"physicalLocation": {"artifactLocation": {"uri": "file:///etc/a%20b"}},
                "logicalLocations": [{"fullyQualifiedName": "file:/etc/a b", "kind": "resource"}]})
        );
        for source in ["dbus:units", "file:{kubelet.config}"] {
            assert_eq!(
                location(source),
                json!({"logicalLocations": [{"fullyQualifiedName": source, "kind": "resource"}]})
            );
        }
    }
}
