//! The checks themselves, as `eyewall check --list` shows them: what each proves, what it does not, and what configuration may say.

use super::text::Lines;
use crate::posture::{Accepts, CLAIMS, Check, Worth, checks};
use crate::screen::paint::Style;

/// Every check under its claim, in lines of at most `width` characters.
pub fn list(width: usize, color: bool) -> String {
    let mut page = Lines::new(width, color);
    for claim in CLAIMS {
        page.block(0, Style::Bold, "", &format!("{} ({})", claim.sentence, claim.reach.as_str()));
        page.block(4, Style::Dim, "", claim.beyond);
        for check in checks().filter(|check| check.claim.id == claim.id) {
            one(&mut page, check);
        }
        page.blank();
    }
    page.finish()
}

fn one(page: &mut Lines, check: &Check) {
    page.block(2, Style::Good, "", &format!("{} ({})", check.id, check.severity.as_str()));
    let (word, worth) = match check.worth {
        Worth::Proves(worth) => ("proves", worth),
        Worth::Reports(worth) => ("reports", worth),
    };
    page.block(6, Style::Dim, &format!("{word}: "), worth);
    page.block(6, Style::Dim, "not: ", check.not);
    if !check.cis.is_empty() {
        page.block(6, Style::Dim, "CIS Kubernetes: ", &check.cis.join(", "));
    }
    let expects = match check.expects {
        Accepts::Nothing => return,
        Accepts::OneOf(words) => words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" or "),
        Accepts::Names(what) | Accepts::Text(what) => what.to_owned(),
        Accepts::Span(what) => format!("{what}, like \"30d\""),
    };
    page.block(6, Style::Dim, "expect: ", &expects);
}
