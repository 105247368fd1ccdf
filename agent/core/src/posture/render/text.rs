//! Text for a terminal, grouped by the page's claims: what holds, what does not, what a node cannot prove.

use std::fmt::Write as _;

use crate::posture::history::Change;
use crate::posture::report::{ClaimState, ClaimView};
use crate::posture::{Finding, Grade, Report, Verdict, Word};
use crate::screen::paint::{Style, clean, paint, wrap};
use crate::screen::{NARROWEST, WIDEST};
use crate::status::Health;

/// The report, in lines of at most `width` characters. `all` also tells what each passing check was judged by.
pub fn text(report: &Report, width: usize, color: bool, all: bool) -> String {
    let mut page = Lines::new(width, color);
    let (style, word) = match report.health {
        Health::Good => (Style::Good, "✓ good"),
        Health::Bad => (Style::Bad, "✗ not good"),
        Health::Unknown => (Style::Warn, "? not known"),
    };
    let name = clean(report.host.name.as_deref().unwrap_or("a host without a node name"));
    let head = format!(
        "{} · {} on {}   {}",
        paint(Style::Bold, &name, color),
        clean(&report.host.role),
        clean(&report.host.os),
        paint(style, word, color)
    );
    page.raw(&head);
    let counts = &report.counts;
    page.block(
        0,
        Style::Dim,
        "",
        &format!(
            "{} pass, {} fail, {} unknown, {} waived, {} not applicable; as of {}. Findings count from {} on.",
            counts.pass,
            counts.fail,
            counts.unknown,
            counts.waived,
            counts.not_applicable,
            report.captured_at,
            report.counts_from.as_str()
        ),
    );
    let mut part = "";
    for claim in report.claims.iter().filter(|claim| !claim.checks.is_empty()) {
        if claim.part != part {
            part = &claim.part;
            page.raw("");
            page.raw(&paint(Style::Bold, &clean(part), color));
        }
        page.claim(claim);
        for finding in report.of_claim(&claim.id) {
            page.finding(finding, report, all);
        }
    }
    page.raw("");
    page.raw(&paint(Style::Bold, "What a node cannot prove", color));
    for claim in report.claims.iter().filter(|claim| claim.state == ClaimState::CannotBeProved) {
        page.block(0, Style::Dim, "· ", &claim.sentence);
        page.block(4, Style::Dim, "", &claim.beyond);
    }
    page.finish()
}

/// Changes of verdicts, newest first, as lines.
pub fn changes(changes: &[Change], width: usize, color: bool) -> String {
    let mut page = Lines::new(width, color);
    for change in changes.iter().rev() {
        let before = change.before.as_ref().map_or("new", |before| before.verdict.word().as_str());
        let (style, _) = look(change.after.verdict.word());
        let after = paint(style, change.after.verdict.word().as_str(), color);
        let who =
            change.actor.as_ref().map_or(String::new(), |actor| format!(", by the login of user {}", actor.login_uid));
        page.raw(&format!(
            "{}  {}  {before} -> {after}{who}",
            change.at,
            paint(Style::Bold, &clean(&change.check), color)
        ));
        page.block(4, Style::Dim, "", &change.after.reason.message);
    }
    page.finish()
}

fn look(word: Word) -> (Style, &'static str) {
    match word {
        Word::Pass => (Style::Good, "✓ "),
        Word::Fail => (Style::Bad, "✗ "),
        Word::Unknown => (Style::Warn, "? "),
        Word::Waived => (Style::Warn, "~ "),
        Word::NotApplicable => (Style::Dim, "- "),
    }
}

/// Lines that are being written.
pub(super) struct Lines {
    out: String,
    width: usize,
    color: bool,
}

impl Lines {
    /// None yet.
    pub(super) fn new(width: usize, color: bool) -> Self {
        Self { out: String::new(), width: width.clamp(NARROWEST, WIDEST), color }
    }

    /// The text.
    pub(super) fn finish(self) -> String {
        self.out
    }

    /// An empty line.
    pub(super) fn blank(&mut self) {
        self.raw("");
    }

    fn raw(&mut self, line: &str) {
        let _ = writeln!(self.out, "{}", line.trim_end());
    }

    /// `text` wrapped at `indent`, `mark` before its first line.
    pub(super) fn block(&mut self, indent: usize, style: Style, mark: &str, text: &str) {
        let hanging = indent + mark.chars().count();
        for (number, line) in wrap(&clean(text), self.width.saturating_sub(hanging)).iter().enumerate() {
            let lead = if number == 0 { format!("{:indent$}{mark}", "") } else { " ".repeat(hanging) };
            let line = paint(style, &format!("{lead}{line}"), self.color);
            self.raw(&line);
        }
    }

    fn claim(&mut self, claim: &ClaimView) {
        let (style, mark) = match claim.state {
            ClaimState::Holds => (Style::Good, "✓ "),
            ClaimState::Broken => (Style::Bad, "✗ "),
            ClaimState::Unknown => (Style::Warn, "? "),
            ClaimState::Waived => (Style::Warn, "~ "),
            // Seen, and as it should be; but what was seen proves nothing, so it is never green.
            ClaimState::Reported | ClaimState::NotJudged | ClaimState::CannotBeProved => (Style::Bold, "· "),
            ClaimState::NotApplicable => (Style::Dim, "- "),
        };
        self.block(0, style, mark, &format!("{} [{}]", claim.sentence, claim.state.as_str()));
        if claim.state != ClaimState::NotApplicable {
            self.block(4, Style::Dim, "", &claim.beyond);
        }
    }

    fn finding(&mut self, finding: &Finding, report: &Report, all: bool) {
        let word = finding.verdict.word();
        let (style, mark) = match (word, finding.proves) {
            (Word::Pass, false) => (Style::Bold, "· "),
            (Word::Fail | Word::Unknown, _) if finding.severity < report.counts_from => (Style::Warn, look(word).1),
            _ => look(word),
        };
        let grade = match &finding.verdict {
            Verdict::Pass(grade) => match grade {
                Grade::ProvedByBehaviour => "proved by behaviour".to_owned(),
                Grade::Configured => "configured".to_owned(),
                Grade::HoldsOnlyBecause(because) => format!("holds only because {because}"),
            },
            Verdict::Fail | Verdict::Unknown => format!("{}, {}", finding.severity.as_str(), finding.reason.kind),
            Verdict::NotApplicable => "not applicable".to_owned(),
            Verdict::Waived(waived) => format!("waived until {}: {}", waived.until, waived.why),
        };
        self.block(2, style, mark, &format!("{} ({}): {grade}", finding.title, finding.check));
        let told = all || !matches!(word, Word::Pass | Word::NotApplicable);
        let only_because = matches!(finding.verdict, Verdict::Pass(Grade::HoldsOnlyBecause(_)));
        if told || only_because {
            self.block(6, Style::Dim, "", &finding.reason.message);
        }
        if told {
            for fact in &finding.facts {
                self.block(6, Style::Dim, "", &format!("{}: {}", fact.name, fact.value));
            }
        }
    }
}
