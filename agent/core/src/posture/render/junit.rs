//! JUnit XML, for the test views of build systems: a claim is a suite, a check is a case.

use std::fmt::Write as _;

use crate::posture::{Finding, Report, Verdict};

/// The report as JUnit XML. What fails is a failure, what could not be told is an error; what is waived or not applicable is skipped.
pub fn junit(report: &Report) -> String {
    let suites = report.claims.iter().filter(|claim| !claim.checks.is_empty());
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let name = report.host.name.as_deref().unwrap_or("unnamed");
    let all: Vec<&Finding> = report.findings.iter().collect();
    let _ = writeln!(out, "<testsuites name=\"eyewall {}\" {}>", escape(name), counts(&all));
    for claim in suites {
        let findings: Vec<&Finding> = report.of_claim(&claim.id).collect();
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" timestamp=\"{}\" hostname=\"{}\" {}>",
            escape(&claim.id),
            escape(&report.captured_at.to_string()),
            escape(name),
            counts(&findings)
        );
        for finding in findings {
            case(&mut out, finding);
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn counts(findings: &[&Finding]) -> String {
    let count = |wanted: fn(&Verdict) -> bool| findings.iter().filter(|finding| wanted(&finding.verdict)).count();
    format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"0\"",
        findings.len(),
        count(|verdict| matches!(verdict, Verdict::Fail)),
        count(|verdict| matches!(verdict, Verdict::Unknown)),
        count(|verdict| matches!(verdict, Verdict::Waived(_) | Verdict::NotApplicable))
    )
}

fn case(out: &mut String, finding: &Finding) {
    let _ = write!(
        out,
        "    <testcase classname=\"{}\" name=\"{}\" time=\"0\"",
        escape(&finding.claim),
        escape(&finding.check)
    );
    let facts: String =
        finding.facts.iter().map(|fact| format!("{}: {}\n", escape(&fact.name), escape(&fact.value))).collect();
    let (kind, message) = (escape(&finding.reason.kind), escape(&finding.reason.message));
    let _ = match &finding.verdict {
        Verdict::Pass(_) => writeln!(out, "><system-out>{message}\n{facts}</system-out></testcase>"),
        Verdict::Fail => writeln!(out, "><failure type=\"{kind}\" message=\"{message}\">{facts}</failure></testcase>"),
        Verdict::Unknown => writeln!(out, "><error type=\"{kind}\" message=\"{message}\">{facts}</error></testcase>"),
        Verdict::NotApplicable => writeln!(out, "><skipped message=\"{message}\"/></testcase>"),
        Verdict::Waived(waived) => {
            writeln!(
                out,
                "><skipped message=\"waived until {}: {}\"/></testcase>",
                escape(&waived.until),
                escape(&waived.why)
            )
        }
    };
}

/// XML 1.0: five characters by name; what may not stand in a document even by number becomes U+FFFD.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' | '\r' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_host_says_stays_text() {
        assert_eq!(
            escape("<a b='c' d=\"e\">&\u{1}\n\u{ffff}ä"),
            "&lt;a b=&apos;c&apos; d=&quot;e&quot;&gt;&amp;\u{fffd} \u{fffd}ä"
        );
    }
}
