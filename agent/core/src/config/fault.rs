//! What is wrong with a configuration: where, which key, and what to do about it.

use std::fmt;
use std::ops::Range;

use crate::status::Reason;

/// One fault. It prints as `file:line:column: sentence`, which editors and `grep -n` readers know how to jump to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, as it was named to [`fn@super::read`].
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// kebab-case: `syntax`, `unknown-key`, `wrong-type`, `bad-duration`, ...
    pub kind: &'static str,
    /// The dotted path (`kubelet.images[1]`); empty where the text could not be read as keys at all.
    pub key: String,
    /// What is so and what to do.
    pub sentence: String,
}

impl Fault {
    /// A fault of the file as a whole (not to be opened, not text).
    pub fn of_file(file: &str, kind: &'static str, sentence: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: 1, column: 1, kind, key: String::new(), sentence: sentence.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.sentence)
    }
}

/// All faults of all files, in the order of the files and of the lines in them; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// `None` if there is no fault.
    pub fn new(faults: Vec<Fault>) -> Option<Self> {
        (!faults.is_empty()).then_some(Self(faults))
    }

    /// The faults.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }

    /// The word for machines.
    pub fn kind(&self) -> &'static str {
        "config-invalid"
    }

    /// All of it in one sentence, for a status field: the first fault, and how many more there are.
    pub fn reason(&self) -> Reason {
        let first = self.0.first().map(Fault::to_string).unwrap_or_default();
        let message = match self.0.len() {
            0 | 1 => first,
            more => format!("{first} (and {} more: eyewall validate tells all)", more - 1),
        };
        Reason::new(self.kind(), message)
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl IntoIterator for Faults {
    type Item = Fault;
    type IntoIter = std::vec::IntoIter<Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// A place in a text: line and column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

/// Turns byte offsets of one text into places. The line starts are found once, so that a text
/// of nothing but faults stays cheap.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let after_newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(after_newlines).collect() }
    }

    /// The place where `span` begins; past the end is the end.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let offset = span.start.min(self.text.len());
        let line = self.starts.partition_point(|&start| start <= offset).saturating_sub(1);
        let start = self.starts.get(line).copied().unwrap_or(0);
        // Bytes that begin a character; `offset` may lie inside one.
        let before = self.text.as_bytes().get(start..offset).unwrap_or_default();
        let column = before.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
        Place { line: to_u32(line) + 1, column: to_u32(column).saturating_add(1) }
    }
}

/// Configurations are far below 4 GiB.
fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_from_one_and_in_characters() {
        let text = "a = 1\nbé = 2\n\n";
        let lines = Lines::of(text);
        for (offset, want) in
            [(0, (1, 1)), (4, (1, 5)), (5, (1, 6)), (6, (2, 1)), (9, (2, 3)), (14, (3, 1)), (15, (4, 1)), (99, (4, 1))]
        {
            let place = lines.place(&(offset..offset));
            assert_eq!((place.line, place.column), want, "offset {offset}");
        }
        assert_eq!(Lines::of("").place(&(7..9)), Place { line: 1, column: 1 });
    }

    #[test]
    fn the_reason_counts_what_it_leaves_out() {
        let fault = |line| Fault { line, ..Fault::of_file("a.toml", "syntax", "it is odd") };
        let one = Faults::new(vec![fault(3)]).expect("one");
        assert_eq!(one.reason().message, "a.toml:3:1: it is odd");
        let three = Faults::new(vec![fault(3), fault(4), fault(5)]).expect("three");
        assert_eq!(three.reason().message, "a.toml:3:1: it is odd (and 2 more: eyewall validate tells all)");
        assert_eq!(three.to_string(), "a.toml:3:1: it is odd\na.toml:4:1: it is odd\na.toml:5:1: it is odd");
        assert_eq!(Faults::new(Vec::new()), None);
    }
}
