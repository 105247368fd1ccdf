//! HTML as it is written: markup is in the source, everything else is text. [`Page::raw`] takes nothing that was not known when
//! this was compiled, so that no sentence of another machine becomes markup.

use std::fmt::Write as _;

use crate::screen::paint::clean;
use crate::status::{Health, Reason};
use crate::time::Time;

/// A page that is being written.
#[derive(Debug)]
pub(super) struct Page {
    out: String,
}

impl Page {
    pub(super) fn new() -> Self {
        Self { out: String::with_capacity(32 * 1024) }
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    /// Markup.
    pub(super) fn raw(&mut self, html: &'static str) -> &mut Self {
        self.out.push_str(html);
        self
    }

    /// Text, in an element or in a quoted attribute.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for c in clean(text).chars() {
            match c {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '"' => self.out.push_str("&quot;"),
                '\'' => self.out.push_str("&#39;"),
                // Not characters, and refused by some readers; and those that turn the direction of what follows.
                '\u{fffe}' | '\u{ffff}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
                c => self.out.push(c),
            }
        }
        self
    }

    /// A number for a drawing: tenths are enough.
    pub(super) fn number(&mut self, number: f64) -> &mut Self {
        let _ = write!(self.out, "{number:.1}");
        self
    }

    /// Text that is typed or copied.
    pub(super) fn code(&mut self, text: &str) -> &mut Self {
        self.raw("<code>").text(text).raw("</code>")
    }

    /// An instant, for people and for programs.
    pub(super) fn time(&mut self, time: Time) -> &mut Self {
        let text = time.to_string();
        let short = text.trim_end_matches('Z').replace('T', " ");
        self.raw("<time datetime=\"").text(&text).raw("\">").text(&short).raw("</time>")
    }

    /// A verdict: a sign and a word, so that it needs no colour.
    pub(super) fn badge(&mut self, health: Health, word: &str) -> &mut Self {
        self.raw(match health {
            Health::Good => "<span class=\"badge good\">● ",
            Health::Bad => "<span class=\"badge bad\">✗ ",
            Health::Unknown => "<span class=\"badge unknown\">? ",
        });
        self.text(word).raw("</span>")
    }

    /// The sentence, then the word one can search for.
    pub(super) fn reason(&mut self, reason: &Reason) -> &mut Self {
        self.text(&reason.message).raw(" <code class=\"kind\">").text(&reason.kind).raw("</code>")
    }

    /// A line of a list of facts.
    pub(super) fn fact(&mut self, name: &'static str, value: impl FnOnce(&mut Self)) -> &mut Self {
        self.raw("<dt>").raw(name).raw("</dt><dd>");
        value(self);
        self.raw("</dd>\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text_wherever_it_stands() {
        for (name, text, want) in [
            ("plain", "node-a · 10 %", "node-a · 10 %"),
            ("an element", "<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("out of an attribute", "\" onload='x", "&quot; onload=&#39;x"),
            ("an entity", "&lt;", "&amp;lt;"),
            ("control characters", "a\u{0}b\u{1b}[2Jc\nd", "ab[2Jc d"),
            ("the other way round", "\u{202e}gnp.exe", "gnp.exe"),
        ] {
            let mut page = Page::new();
            page.text(text);
            assert_eq!(page.finish(), want, "{name}");
        }
    }
}
