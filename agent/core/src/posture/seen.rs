//! What a judge is given: the evidence of the sources that its check declares, and no other. Whatever keeps it from looking is an
//! [`Unseen`], which becomes the verdict `unknown` with a sentence that says what to do. So a judge is written with `?`.

use serde::de::DeserializeOwned;
use thiserror::Error;

use super::Check;
use super::evidence::{Capture, Entry, Evidence, Host, Stat};
use super::expect::Expectations;
use super::source::{Read, Source};
use super::verdict::Judged;
use crate::time::Time;

/// Why something could not be seen.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unseen {
    /// Nobody looked.
    #[error(
        "{source_id} was not looked at: run `eyewall check` on the host itself, or capture it again with a newer eyewall."
    )]
    NotCaptured {
        /// The source.
        source_id: String,
    },
    /// It does not exist, which says nothing here.
    #[error("{source_id} does not exist on this host, so this cannot be told.")]
    Missing {
        /// The source.
        source_id: String,
    },
    /// The agent lacks a right.
    #[error("{source_id} may not be read: the agent lacks {right}. Compare its unit with the one that is shipped.")]
    Denied {
        /// The source.
        source_id: String,
        /// A capability, a permission of the SELinux policy, ...
        right: String,
    },
    /// Reading failed.
    #[error("{source_id} could not be read ({kind}): {message}")]
    Failed {
        /// The source.
        source_id: String,
        /// The failure's word.
        kind: String,
        /// The failure's sentence.
        message: String,
    },
    /// More than is kept.
    #[error("{source_id} has {bytes} bytes, more than are kept, so it was not judged: look why it is so large.")]
    TooLarge {
        /// The source.
        source_id: String,
        /// Its size.
        bytes: usize,
    },
    /// Empty where there should be something.
    #[error("{source_id} is empty, which it never is on a host that works: look what emptied it.")]
    Empty {
        /// The source.
        source_id: String,
    },
    /// It is there, but not what it should be.
    #[error("{source_id} does not read as what it should be: {why}")]
    Malformed {
        /// The source.
        source_id: String,
        /// What is wrong, as a sentence.
        why: String,
    },
    /// A fault of the check's own declaration, which its tests find.
    #[error("The check reads {source_id} without declaring it: report this as a fault of eyewall.")]
    Undeclared {
        /// The source.
        source_id: String,
    },
}

impl Unseen {
    /// For machines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotCaptured { .. } => "not-captured",
            Self::Missing { .. } => "missing",
            Self::Denied { .. } => "denied",
            Self::Failed { .. } => "not-readable",
            Self::TooLarge { .. } => "too-large",
            Self::Empty { .. } => "empty",
            Self::Malformed { .. } => "malformed",
            Self::Undeclared { .. } => "undeclared",
        }
    }

    /// The source it is about.
    pub fn source_id(&self) -> &str {
        match self {
            Self::NotCaptured { source_id }
            | Self::Missing { source_id }
            | Self::Denied { source_id, .. }
            | Self::Failed { source_id, .. }
            | Self::TooLarge { source_id, .. }
            | Self::Empty { source_id }
            | Self::Malformed { source_id, .. }
            | Self::Undeclared { source_id } => source_id,
        }
    }
}

impl From<Unseen> for Judged {
    fn from(unseen: Unseen) -> Self {
        let judged = Self::unknown(unseen.kind(), unseen.to_string()).fact("source", unseen.source_id());
        match &unseen {
            Unseen::Denied { right, .. } => judged.fact("lacks", right),
            _ => judged,
        }
    }
}

/// One captured source, under its full id.
#[derive(Clone, Copy, Debug)]
pub struct Item<'e> {
    /// The full id; of a family's member with its name.
    pub id: &'e str,
    /// The member's name; empty for a single source.
    pub name: &'e str,
    capture: &'e Capture,
    read: Read,
}

impl<'e> Item<'e> {
    /// What the capture holds, if it is content.
    fn content(self) -> Result<&'e Capture, Unseen> {
        let source_id = self.id.to_owned();
        match self.capture {
            Capture::Missing => Err(Unseen::Missing { source_id }),
            Capture::Denied(right) => Err(Unseen::Denied { source_id, right: right.clone() }),
            Capture::Failed(failure) => {
                Err(Unseen::Failed { source_id, kind: failure.kind.clone(), message: failure.message.clone() })
            }
            Capture::TooLarge { bytes } => Err(Unseen::TooLarge { source_id, bytes: *bytes }),
            empty if empty.is_empty() && !self.read.empty => Err(Unseen::Empty { source_id }),
            content => Ok(content),
        }
    }

    /// It is not what it should be; `why` is a sentence.
    pub fn malformed(self, why: impl Into<String>) -> Unseen {
        Unseen::Malformed { source_id: self.id.to_owned(), why: why.into() }
    }

    fn not(self, wanted: &str) -> Unseen {
        self.malformed(format!("It is {}, not {wanted}.", self.capture.what()))
    }

    /// As text.
    ///
    /// # Errors
    /// Why it cannot be seen.
    pub fn text(self) -> Result<&'e str, Unseen> {
        match self.content()? {
            Capture::Text(text) => Ok(text),
            _ => Err(self.not("a text")),
        }
    }

    /// As bytes.
    ///
    /// # Errors
    /// Why it cannot be seen.
    pub fn bytes(self) -> Result<&'e [u8], Unseen> {
        match self.content()? {
            Capture::Bytes(bytes) => Ok(bytes),
            Capture::Text(text) => Ok(text.as_bytes()),
            _ => Err(self.not("bytes")),
        }
    }

    /// As a directory's entries.
    ///
    /// # Errors
    /// Why it cannot be seen.
    pub fn listing(self) -> Result<&'e [Entry], Unseen> {
        match self.content()? {
            Capture::Listing(entries) => Ok(entries),
            _ => Err(self.not("a directory")),
        }
    }

    /// As a file's properties.
    ///
    /// # Errors
    /// Why it cannot be seen.
    pub fn stat(self) -> Result<&'e Stat, Unseen> {
        match self.content()? {
            Capture::Stat(stat) => Ok(stat),
            _ => Err(self.not("a file's properties")),
        }
    }

    /// As a typed value. A record is a JSON object: serde would take an array for a struct, field by field.
    ///
    /// # Errors
    /// Why it cannot be seen; a record of another form is malformed.
    pub fn record<T: DeserializeOwned>(self) -> Result<T, Unseen> {
        match self.content()? {
            Capture::Record(value @ serde_json::Value::Object(_)) => {
                T::deserialize(value).map_err(|error| self.malformed(format!("{error}.")))
            }
            _ => Err(self.not("a record")),
        }
    }
}

/// The evidence of one check's sources, and what is expected of the host.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'e> {
    check: &'e Check,
    evidence: &'e Evidence,
    /// What configuration and OS expect.
    pub expect: &'e Expectations,
}

impl<'e> Seen<'e> {
    /// The evidence as `check` may see it.
    pub fn new(check: &'e Check, evidence: &'e Evidence, expect: &'e Expectations) -> Self {
        Self { check, evidence, expect }
    }

    /// The present of the judgement: when the evidence was captured.
    pub fn now(&self) -> Time {
        self.evidence.captured_at
    }

    /// Which host this is.
    pub fn host(&self) -> &'e Host {
        &self.evidence.host
    }

    /// What configuration expects of this check, or what its OS promises; see [`Check::expects`].
    pub fn expected(&self) -> Option<&'e str> {
        self.expect.of(self.check)
    }

    /// A list of what configuration allows beyond what the check knows.
    pub fn allowed(&self) -> impl Iterator<Item = &'e str> {
        self.expected().into_iter().flat_map(|list| list.split(',')).map(str::trim).filter(|word| !word.is_empty())
    }

    fn read(&self, source: &Source) -> Option<Read> {
        self.check.reads.iter().find(|read| read.source.id == source.id).copied()
    }

    fn item(&self, source: &Source, id: &str) -> Result<Item<'e>, Unseen> {
        let Some(read) = self.read(source) else { return Err(Unseen::Undeclared { source_id: source.id.to_owned() }) };
        match self.evidence.sources.get_key_value(id) {
            Some((id, found)) => {
                let name = source.prefix().and_then(|prefix| id.strip_prefix(prefix)).unwrap_or("");
                Ok(Item { id, name, capture: &found.capture, read })
            }
            None => Err(Unseen::NotCaptured { source_id: id.to_owned() }),
        }
    }

    /// One source.
    ///
    /// # Errors
    /// Nobody looked.
    pub fn one(&self, source: &Source) -> Result<Item<'e>, Unseen> {
        self.item(source, source.id)
    }

    /// The family's member `name`.
    ///
    /// # Errors
    /// Nobody looked.
    pub fn member(&self, source: &Source, name: &str) -> Result<Item<'e>, Unseen> {
        self.item(source, &source.member(name))
    }

    /// Every captured member of a family, by name. None is an error where the check needs the family.
    ///
    /// # Errors
    /// Nobody looked at any.
    pub fn family(&self, source: &Source) -> Result<Vec<Item<'e>>, Unseen> {
        let not_captured = || Unseen::NotCaptured { source_id: source.id.to_owned() };
        let Some(read) = self.read(source) else { return Err(Unseen::Undeclared { source_id: source.id.to_owned() }) };
        let prefix = source.prefix().ok_or_else(not_captured)?;
        let items: Vec<Item<'e>> = self
            .evidence
            .sources
            .range(prefix.to_owned()..)
            .take_while(|(id, _)| id.starts_with(prefix))
            .filter(|(id, _)| source.is(id))
            .map(|(id, found)| Item { id, name: id.strip_prefix(prefix).unwrap_or(""), capture: &found.capture, read })
            .collect();
        if items.is_empty() && !read.none { Err(not_captured()) } else { Ok(items) }
    }

    /// One source as text.
    ///
    /// # Errors
    /// Why it cannot be seen.
    pub fn text(&self, source: &Source) -> Result<&'e str, Unseen> {
        self.one(source)?.text()
    }

    /// One source as a typed value.
    ///
    /// # Errors
    /// Why it cannot be seen.
    pub fn record<T: DeserializeOwned>(&self, source: &Source) -> Result<T, Unseen> {
        self.one(source)?.record()
    }

    /// One source as a file's properties.
    ///
    /// # Errors
    /// Why it cannot be seen.
    pub fn stat(&self, source: &Source) -> Result<&'e Stat, Unseen> {
        self.one(source)?.stat()
    }

    /// One source as a directory's entries.
    ///
    /// # Errors
    /// Why it cannot be seen.
    pub fn listing(&self, source: &Source) -> Result<&'e [Entry], Unseen> {
        self.one(source)?.listing()
    }

    /// What is not there, as an answer: for sources that the check declares [`Read::or_absent`].
    ///
    /// # Errors
    /// Why it cannot be seen, other than that it does not exist.
    pub fn if_there<T>(&self, seen: Result<T, Unseen>) -> Result<Option<T>, Unseen> {
        match seen {
            Ok(value) => Ok(Some(value)),
            Err(Unseen::Missing { source_id }) if self.absence_is_an_answer(&source_id) => Ok(None),
            Err(unseen) => Err(unseen),
        }
    }

    fn absence_is_an_answer(&self, id: &str) -> bool {
        self.check.reads.iter().any(|read| read.absent && read.source.is(id))
    }

    /// What keeps a pass from being one: the first source the check needs that was not seen. The frame asks this after every judge.
    pub fn lacking(&self) -> Option<Unseen> {
        self.check.reads.iter().filter(|read| read.needed).find_map(|read| {
            let seen = match read.source.prefix() {
                None => self.one(read.source).and_then(|item| item.content().map(|_| ())),
                Some(_) => self
                    .family(read.source)
                    .and_then(|items| items.into_iter().try_for_each(|item| self.if_there(item.content()).map(|_| ()))),
            };
            self.if_there(seen).err()
        })
    }

    /// When the source `id` was looked at.
    pub fn looked_at(&self, id: &str) -> Option<Time> {
        self.evidence.looked_at(id)
    }

    /// The ids of what was captured of the check's sources.
    pub fn sources(&self) -> Vec<String> {
        let mut ids: Vec<String> = Vec::new();
        for read in self.check.reads {
            match read.source.prefix() {
                None if self.evidence.get(read.source.id).is_some() => ids.push(read.source.id.to_owned()),
                None => {}
                Some(_) => ids.extend(self.family(read.source).into_iter().flatten().map(|item| item.id.to_owned())),
            }
        }
        ids
    }
}
