//! The reader's vocabulary: tables, keys and values that tell their faults and go on.
//!
//! [`Table::key`] is what `keys.rs` is written in: it finds a key, reads its value into its field, and remembers
//! that the key exists. What was never asked for is unknown.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document::{Document, join};

/// One table being read.
#[derive(Debug)]
pub(super) struct Table<'d> {
    document: &'d Document<'d>,
    path: String,
    span: Range<usize>,
    /// `None` where the file has no such table.
    raw: Option<&'d DeTable<'d>>,
    asked: Vec<&'static str>,
}

impl<'d> Table<'d> {
    pub(super) fn new(
        document: &'d Document<'d>,
        path: String,
        span: Range<usize>,
        raw: Option<&'d DeTable<'d>>,
    ) -> Self {
        Self { document, path, span, raw, asked: Vec::new() }
    }

    /// If the file has `name`, `read`s it into `field`. A value with a fault leaves the field as it was.
    pub(super) fn key<T>(&mut self, name: &'static str, field: &mut T, read: impl FnOnce(&Value<'d>) -> Option<T>) {
        if let Some(value) = self.take(name)
            && let Some(read) = read(&value)
        {
            *field = read;
        }
    }

    /// If the file has the table `name` of free keys, adds its entries to `field`; equal keys are replaced.
    pub(super) fn extend<T>(
        &mut self,
        name: &'static str,
        field: &mut BTreeMap<String, T>,
        read: impl Fn(&str, &Value<'d>) -> Option<T>,
    ) {
        if let Some(entries) = self.take(name).and_then(|value| value.map(read)) {
            field.extend(entries);
        }
    }

    /// A key that must be there.
    pub(super) fn required<T>(&mut self, name: &'static str, read: impl FnOnce(&Value<'d>) -> Option<T>) -> Option<T> {
        let Some(value) = self.take(name) else {
            let path = join(&self.path, name);
            let sentence = format!("{name} is missing here: every entry of this list needs it");
            self.document.tell(&self.span, "missing-key", path, sentence);
            return None;
        };
        read(&value)
    }

    /// A table in this one.
    pub(super) fn table(&mut self, name: &'static str, visit: impl FnOnce(&mut Table<'d>)) {
        let path = join(&self.path, name);
        let value = self.take(name);
        let raw = value.as_ref().and_then(Value::entries);
        // Where there is none it is walked all the same: its keys must be known when a misplaced one is looked for.
        let mut table = Table::new(self.document, path, 0..0, raw);
        visit(&mut table);
        table.finish();
    }

    /// Ends the reading of this table: what nobody asked for is unknown.
    pub(super) fn finish(self) {
        for key in self.raw.into_iter().flat_map(DeTable::keys) {
            let name = key.get_ref().as_ref();
            if !self.asked.contains(&name) {
                self.document.unknown(&self.path, name, key.span());
            }
        }
    }

    fn take(&mut self, name: &'static str) -> Option<Value<'d>> {
        self.asked.push(name);
        let path = join(&self.path, name);
        self.document.know(&path);
        let raw = self.raw?.get(name)?;
        Some(Value::new(self.document, path, raw))
    }
}

/// One value being read. A reader that finds a fault tells it with [`Value::wrong`], which is `None` so that it can be returned.
#[derive(Debug)]
pub(super) struct Value<'d> {
    document: &'d Document<'d>,
    path: String,
    span: Range<usize>,
    raw: &'d DeValue<'d>,
}

impl<'d> Value<'d> {
    fn new(document: &'d Document<'d>, path: String, raw: &'d Spanned<DeValue<'d>>) -> Self {
        let span = raw.span();
        document.stands(&path, &span);
        Self { document, path, span, raw: raw.get_ref() }
    }

    /// Tells a fault of this value.
    pub(super) fn wrong<T>(&self, kind: &'static str, sentence: impl Into<String>) -> Option<T> {
        self.document.tell(&self.span, kind, self.path.clone(), sentence.into());
        None
    }

    fn wrong_type<T>(&self, wanted: &str) -> Option<T> {
        let path = &self.path;
        let is = match self.raw {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.wrong("wrong-type", format!("{path} must be {wanted}, not {is}"))
    }

    /// The dotted path, for sentences.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn text(&self) -> Option<&'d str> {
        match self.raw {
            DeValue::String(text) => Some(text),
            _ => self.wrong_type("a text in quotes"),
        }
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match self.raw {
            DeValue::Boolean(boolean) => Some(*boolean),
            _ => self.wrong_type("true or false, without quotes"),
        }
    }

    pub(super) fn whole_number(&self) -> Option<i64> {
        let DeValue::Integer(number) = self.raw else {
            return self.wrong_type("a whole number");
        };
        match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Some(number),
            Err(_) => self.wrong("out-of-range", format!("{} is too large", self.path)),
        }
    }

    pub(super) fn number(&self) -> Option<f64> {
        match self.raw {
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => Some(number),
                Err(_) => self.wrong_type("a number"),
            },
            DeValue::Integer(number) => match number.as_str().parse() {
                Ok(number) => Some(number),
                Err(_) => self.wrong_type("a number"),
            },
            _ => self.wrong_type("a number"),
        }
    }

    /// Every entry, or `None` if one of them has a fault (all of them are told).
    pub(super) fn list<T>(&self, read: impl Fn(&Value<'d>) -> Option<T>) -> Option<Vec<T>> {
        let DeValue::Array(entries) = self.raw else {
            return self.wrong_type("a list in [ ]");
        };
        let entries: Vec<Option<T>> = entries
            .iter()
            .enumerate()
            .map(|(index, entry)| {
                let path = format!("{}[{index}]", self.path);
                read(&Value::new(self.document, path, entry))
            })
            .collect();
        entries.into_iter().collect()
    }

    fn entries(&self) -> Option<&'d DeTable<'d>> {
        match self.raw {
            DeValue::Table(entries) => Some(entries),
            _ => self.wrong_type("a table"),
        }
    }

    /// A table of free keys; `read` is given each key and value.
    pub(super) fn map<T>(&self, read: impl Fn(&str, &Value<'d>) -> Option<T>) -> Option<BTreeMap<String, T>> {
        let entries: Vec<Option<(String, T)>> = self
            .entries()?
            .iter()
            .map(|(key, raw)| {
                let path = join(&self.path, &quoted(key.get_ref()));
                let value = Value::new(self.document, path, raw);
                Some((key.get_ref().to_string(), read(key.get_ref(), &value)?))
            })
            .collect();
        entries.into_iter().collect()
    }

    /// A table of known keys.
    pub(super) fn table<T>(&self, visit: impl FnOnce(&mut Table<'d>) -> Option<T>) -> Option<T> {
        let DeValue::Table(raw) = self.raw else {
            return self.wrong_type("a table");
        };
        let mut table = Table::new(self.document, self.path.clone(), self.span.clone(), Some(raw));
        let read = visit(&mut table);
        table.finish();
        read
    }
}

/// A key as TOML wants it written.
fn quoted(key: &str) -> Cow<'_, str> {
    let bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if !key.is_empty() && key.bytes().all(bare) { Cow::Borrowed(key) } else { Cow::Owned(format!("{key:?}")) }
}
