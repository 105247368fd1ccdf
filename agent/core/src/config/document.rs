//! One TOML file on its walk: it collects the faults, and knows where in the text everything stands.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::de::DeTable;

use super::fault::{Fault, Lines, Place};
use super::nearest::nearest;
use super::table::Table;

/// One file being read, and what was found on the way.
#[derive(Debug)]
pub(super) struct Document<'a> {
    file: &'a str,
    lines: Lines<'a>,
    found: RefCell<Found>,
}

/// What a walk leaves behind.
#[derive(Debug, Default)]
struct Found {
    faults: Vec<(Place, Fault)>,
    /// Where each key that was taken over stands.
    places: BTreeMap<String, Place>,
    /// The dotted path of every key there is.
    known: Vec<String>,
    unknown: Vec<Unknown>,
}

#[derive(Debug)]
struct Unknown {
    table: String,
    name: String,
    span: Range<usize>,
}

impl<'a> Document<'a> {
    /// Walks `text` with `visit`; returns its faults in the order of the text, and the place of every key that was taken over.
    pub(super) fn walk(
        file: &'a str,
        text: &'a str,
        visit: impl FnOnce(&mut Table<'_>),
    ) -> (Vec<Fault>, BTreeMap<String, Place>) {
        let (tree, syntax) = DeTable::parse_recoverable(text);
        let document = Document { file, lines: Lines::of(text), found: RefCell::default() };
        let mut root = Table::new(&document, String::new(), tree.span(), Some(tree.get_ref()));
        visit(&mut root);
        root.finish();
        document.tell_unknown();
        let mut found = document.found.take();
        // The parser goes on after an error by guessing, so of a line with a syntax error nothing else is told, nor its echoes.
        let mut broken: BTreeMap<u32, (Place, Fault)> = BTreeMap::new();
        for error in syntax {
            let place = document.lines.place(&error.span().unwrap_or(0..0));
            let sentence = format!("this is not TOML: {}", error.message());
            let fault = document.fault(place, "syntax", String::new(), sentence);
            broken.entry(place.line).or_insert((place, fault));
        }
        let lost = lost_lines(text, &broken);
        found.faults.retain(|(place, _)| !lost.contains(&place.line));
        found.faults.extend(broken.into_values());
        found.faults.sort_by_key(|(place, _)| *place);
        let faults = found.faults.into_iter().map(|(_, fault)| fault).collect();
        (faults, found.places)
    }

    fn fault(&self, place: Place, kind: &'static str, key: String, sentence: String) -> Fault {
        Fault { file: self.file.to_owned(), line: place.line, column: place.column, kind, key, sentence }
    }

    pub(super) fn tell(&self, span: &Range<usize>, kind: &'static str, key: String, sentence: String) {
        let place = self.lines.place(span);
        let fault = self.fault(place, kind, key, sentence);
        self.found.borrow_mut().faults.push((place, fault));
    }

    /// Remembers that there is such a key, whether the file has it or not.
    pub(super) fn know(&self, path: &str) {
        self.found.borrow_mut().known.push(path.to_owned());
    }

    /// Remembers where the value of a key stands.
    pub(super) fn stands(&self, path: &str, span: &Range<usize>) {
        let place = self.lines.place(span);
        self.found.borrow_mut().places.insert(path.to_owned(), place);
    }

    /// Remembers a key that nobody asked for; what to say of it is known when all keys are.
    pub(super) fn unknown(&self, table: &str, name: &str, span: Range<usize>) {
        self.found.borrow_mut().unknown.push(Unknown { table: table.to_owned(), name: name.to_owned(), span });
    }

    fn tell_unknown(&self) {
        let unknown = std::mem::take(&mut self.found.borrow_mut().unknown);
        for key in unknown {
            let path = join(&key.table, &key.name);
            let sentence = {
                let found = self.found.borrow();
                let siblings: Vec<&str> = found.known.iter().filter_map(|path| child_of(&key.table, path)).collect();
                let elsewhere = |path: &&String| last_part(path) == key.name;
                let advice = if let Some(near) = nearest(&key.name, &siblings) {
                    format!("did you mean {near:?}?")
                } else if let Some(path) = found.known.iter().find(elsewhere) {
                    format!("did you mean {path}, in another table?")
                } else {
                    format!("take it out; what may stand here is {}", siblings.join(", "))
                };
                format!("there is no key {path}: {advice}")
            };
            self.tell(&key.span, "unknown-key", path, sentence);
        }
    }
}

/// The lines of which nothing but the syntax errors is told: the broken ones and, below a broken `[header]`,
/// all that now seem to be keys of some other table.
fn lost_lines(text: &str, broken: &BTreeMap<u32, (Place, Fault)>) -> BTreeSet<u32> {
    let mut headless = false;
    (1..)
        .zip(text.lines())
        .filter(|(number, line)| {
            let is_broken = broken.contains_key(number);
            if line.trim_start().starts_with('[') {
                headless = is_broken;
            }
            is_broken || headless
        })
        .map(|(number, _)| number)
        .collect()
}

/// The dotted path of `name` in `table`.
pub(super) fn join(table: &str, name: &str) -> String {
    if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") }
}

/// `name` if `path` is `table.name`.
fn child_of<'p>(table: &str, path: &'p str) -> Option<&'p str> {
    let name = if table.is_empty() { path } else { path.strip_prefix(table)?.strip_prefix('.')? };
    (!name.contains('.')).then_some(name)
}

fn last_part(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}
