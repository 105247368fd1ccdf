//! Lines: wrapped, indented, perhaps coloured.

use std::fmt::Write as _;

use super::bar::Life;
use super::{NARROWEST, WIDEST};

/// The column where an item's text begins.
const INDENT: usize = 11;
/// The width of a part's name.
const NAME: usize = 11;

/// What a piece of text means; how it looks is decided here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As it should be.
    Good,
    /// Look at it.
    Warn,
    /// Not as it should be.
    Bad,
    /// Less important.
    Dim,
    /// More important.
    Bold,
}

impl Style {
    /// The SGR code of ECMA-48.
    fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "31",
            Self::Dim => "2",
            Self::Bold => "1",
        }
    }
}

/// `text` in a style.
pub fn paint(style: Style, text: &str, color: bool) -> String {
    if color && !text.is_empty() { format!("\x1b[{}m{text}\x1b[0m", style.code()) } else { text.to_owned() }
}

/// Without control characters: a message of another machine must not move the cursor or set colours. A line end is a blank.
pub fn clean(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            '\n' | '\t' => Some(' '),
            c if c.is_control() => None,
            c => Some(c),
        })
        .collect()
}

/// A page that is being written.
#[derive(Debug)]
pub struct Page {
    out: String,
    width: usize,
    color: bool,
}

impl Page {
    /// An empty one.
    pub fn new(width: usize, color: bool) -> Self {
        Self { out: String::new(), width: width.clamp(NARROWEST, WIDEST), color }
    }

    /// The text.
    pub fn finish(self) -> String {
        self.out
    }

    /// An empty line.
    pub fn blank(&mut self) {
        self.out.push('\n');
    }

    /// Text from the first column on, in one style.
    pub fn plain(&mut self, style: Style, text: &str) {
        for line in wrap(text, self.width) {
            self.line(&paint(style, &line, self.color));
        }
    }

    /// One line with something at its right end; on a narrow screen that comes on a line of its own.
    pub fn ends(&mut self, first: (Style, &str), middle: &str, last: (Style, &str)) {
        let taken = chars(first.1) + chars(middle);
        let left = format!("{}{middle}", paint(first.0, first.1, self.color));
        let right = paint(last.0, last.1, self.color);
        match self.width.checked_sub(taken + chars(last.1)) {
            Some(gap) if gap > 0 => self.line(&format!("{left}{:gap$}{right}", "")),
            _ => {
                self.line(&left);
                self.line(&right);
            }
        }
    }

    /// A part's first line: its name, its state, and since when.
    pub fn heading(&mut self, name: &str, style: Style, state: &str, after: &str) {
        let name = paint(Style::Bold, &format!("{name:<NAME$}"), self.color);
        let state = paint(style, state, self.color);
        let joint = if after.is_empty() || after.starts_with(';') { "" } else { " " };
        self.line(&format!("{name} {state}{joint}{after}"));
    }

    /// A labelled line, wrapped under its own text.
    pub fn item(&mut self, label: &str, text: &str) {
        let label = paint(Style::Dim, &format!("  {label:<0$}", INDENT - 1), self.color);
        for (number, line) in wrap(text, self.width - INDENT - 1).iter().enumerate() {
            if number == 0 {
                self.line(&format!("{label}{line}"));
            } else {
                self.line(&format!("{:1$}{line}", "", INDENT + 1));
            }
        }
    }

    /// A life, over the whole width.
    pub fn bar(&mut self, life: &Life, style: Style) {
        let bar = life.bar(self.width - 2);
        let lived = paint(style, &bar.lived, self.color);
        let left = paint(Style::Dim, &bar.left, self.color);
        self.line(&format!("  {lived}{left}"));
    }

    fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{}", text.trim_end());
    }
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

/// Breaks at blanks; a word that is longer than a line (a path, a digest) is cut, so that nothing goes past the edge.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut length = 0;
    for word in text.split_whitespace() {
        let mut word: &str = word;
        if length > 0 && length + 1 + chars(word) > width {
            lines.push(std::mem::take(&mut line));
            length = 0;
        }
        if length > 0 {
            line.push(' ');
            length += 1;
        }
        while let Some((cut, _)) = word.char_indices().nth(width).filter(|_| width > 0) {
            let (head, rest) = word.split_at(cut);
            lines.push(format!("{}{head}", std::mem::take(&mut line)));
            length = 0;
            word = rest;
        }
        line.push_str(word);
        length += chars(word);
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_at_blanks_and_cuts_what_is_too_long() {
        for (name, text, want) in [
            ("empty", "", &[""][..]),
            ("fits", "one two", &["one two"][..]),
            ("at the edge", "12345 789012", &["12345", "789012"][..]),
            ("to the edge", "1234 678 0", &["1234 678 0"][..]),
            ("a long word", "abcdefghijkl", &["abcdefghij", "kl"][..]),
            ("after another", "a abcdefghijkl m", &["a", "abcdefghij", "kl m"][..]),
            ("wide letters", "äöüäöüäöüä x", &["äöüäöüäöüä", "x"][..]),
        ] {
            assert_eq!(wrap(text, 10), want, "{name}");
        }
    }

    #[test]
    fn control_characters_are_left_out() {
        assert_eq!(clean("a\x1b[31mb\r\nc\td\u{9b}e"), "a[31mb c de");
    }

    #[test]
    fn no_colour_no_escape() {
        assert_eq!(paint(Style::Bad, "x", false), "x");
        assert_eq!(paint(Style::Bad, "x", true), "\x1b[31mx\x1b[0m");
    }
}
