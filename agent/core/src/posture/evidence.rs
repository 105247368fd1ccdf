//! Evidence: what was found on a host, as values. The judges see nothing else, so a captured host is judged like a living one.
//!
//! A directory of evidence holds `*.json` parts; together they are one [`Evidence`]. Texts are lists of lines there, so that a
//! difference between two captures can be read. No part holds a secret: what is kept is decided where a source is declared.

use std::collections::BTreeMap;

use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use thiserror::Error;

use crate::time::Time;

/// What was found at one source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capture {
    /// A text.
    Text(#[serde(with = "lines")] String),
    /// The first bytes of something that is no text.
    Bytes(#[serde(with = "base64_text")] Vec<u8>),
    /// A directory's entries, by name.
    Listing(Vec<Entry>),
    /// What stat(2) says.
    Stat(Stat),
    /// A typed value that the daemon made from D-Bus, netlink, a probe, ...
    Record(Value),
    /// It does not exist, and that was seen: the directory it would be in could be searched.
    Missing,
    /// It may not be read; the right that is lacking (`CAP_DAC_READ_SEARCH`, an SELinux permission, ...).
    Denied(String),
    /// It could not be read for another reason.
    Failed(Failure),
    /// It is larger than what is kept, so nothing was: half a file is no evidence.
    TooLarge {
        /// Its size, as far as it was read.
        bytes: usize,
    },
}

/// Why a source could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// kebab-case: `timeout`, `refused`, `not-text`, `exit-status`, ...
    pub kind: String,
    /// A sentence, no secret in it.
    pub message: String,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link (not followed).
    Link,
    /// A socket, device or pipe.
    Other,
}

/// What stat(2) says of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stat {
    /// Its kind; a link itself, not what it points to.
    pub kind: FileKind,
    /// The permission bits, `0644`.
    #[serde(with = "octal")]
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Last change of the content.
    pub mtime: Time,
    /// Where a link points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name in the directory.
    pub name: String,
    /// Its kind.
    pub kind: FileKind,
}

impl Capture {
    /// The most that is kept of one source. A shadow file, `sshd -T`, a unit or a kubelet.yaml are a tenth of it.
    pub const LARGEST: usize = 256 * 1024;

    /// A text, or that it is too large.
    pub fn text(text: &str) -> Self {
        if text.len() > Self::LARGEST { Self::too_large(text.len()) } else { Self::Text(text.to_owned()) }
    }

    /// Bytes, or that they are too many.
    pub fn bytes(bytes: &[u8]) -> Self {
        if bytes.len() > Self::LARGEST { Self::too_large(bytes.len()) } else { Self::Bytes(bytes.to_vec()) }
    }

    /// A typed value; one that cannot be written as JSON (a map with keys that are no text) is a failure.
    pub fn record(value: &impl Serialize) -> Self {
        match serde_json::to_value(value) {
            Ok(value) => Self::Record(value).bounded(),
            Err(error) => Self::failed("not-serializable", &error.to_string()),
        }
    }

    /// Nothing was kept of `bytes` bytes.
    pub fn too_large(bytes: usize) -> Self {
        Self::TooLarge { bytes }
    }

    /// It could not be read.
    pub fn failed(kind: &str, message: &str) -> Self {
        Self::Failed(Failure { kind: kind.to_owned(), message: message.to_owned() })
    }

    /// For sentences: `a text`, `a directory`.
    pub fn what(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Bytes(_) => "bytes that are no text",
            Self::Listing(_) => "a directory",
            Self::Stat(_) => "a file's properties",
            Self::Record(_) => "a record",
            Self::Missing => "missing",
            Self::Denied(_) => "denied",
            Self::Failed(_) => "a failure",
            Self::TooLarge { .. } => "too large",
        }
    }

    /// Is this the content itself, rather than why there is none?
    pub fn is_content(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Bytes(_) | Self::Listing(_) | Self::Stat(_) | Self::Record(_))
    }

    /// Holds nothing, though it was read.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.trim().is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Listing(entries) => entries.is_empty(),
            Self::Record(Value::Null) => true,
            Self::Record(Value::Array(items)) => items.is_empty(),
            Self::Record(Value::Object(fields)) => fields.is_empty(),
            _ => false,
        }
    }

    /// The same, or that it is too large. Evidence from a file goes through this as well.
    fn bounded(self) -> Self {
        let size = match &self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Listing(entries) => entries.iter().map(|entry| entry.name.len() + 16).sum(),
            Self::Record(value) => weight(value),
            _ => 0,
        };
        if size > Self::LARGEST { Self::too_large(size) } else { self }
    }
}

/// About the length of the JSON text. The depth is bounded by serde_json's own limit.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 10,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(|item| weight(item) + 1).sum::<usize>(),
        Value::Object(fields) => 2 + fields.iter().map(|(key, value)| key.len() + weight(value) + 4).sum::<usize>(),
    }
}

/// Which host this was, so that it can be judged elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// The Node object's name, if the host had one.
    pub name: Option<String>,
    /// `fcos`, `flatcar` or `generic`: the OS as the agent there took it.
    pub os: String,
    /// `worker` or `controller`.
    pub role: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: Option<String>,
}

/// One source as it was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// When; absent if it was when the rest was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// What.
    #[serde(flatten)]
    pub capture: Capture,
}

/// What was found on a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// Which host.
    pub host: Host,
    /// When; ages are counted to here, and waivers end by it.
    pub captured_at: Time,
    /// How it came to be, for people: by which agent, or by hand from which facts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made: Vec<String>,
    /// By source id. What is not in here was not captured.
    pub sources: BTreeMap<String, Found>,
}

/// One file of a directory of evidence. Exactly one names the host and the time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    #[serde(default)]
    host: Option<Host>,
    #[serde(default)]
    captured_at: Option<Time>,
    #[serde(default)]
    made: Vec<String>,
    #[serde(default)]
    sources: BTreeMap<String, Found>,
}

/// Why a directory is no evidence.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EvidenceFault {
    /// A part cannot be read.
    #[error("{file} is no part of a capture: {why}. Make the directory with `eyewall evidence`.")]
    Malformed {
        /// The part's file name.
        file: String,
        /// What the parser says.
        why: String,
    },
    /// Two parts say the same.
    #[error("{file} holds {what} a second time: a directory of evidence is of one host at one time.")]
    Twice {
        /// The part's file name.
        file: String,
        /// A source's id, `host` or `captured_at`.
        what: String,
    },
    /// No part says it.
    #[error("No file in it says {what}: make the directory with `eyewall evidence`.")]
    Incomplete {
        /// `host` or `captured_at`.
        what: &'static str,
    },
    /// More than anything that was captured here.
    #[error("It holds more than {} sources, which no capture does.", Evidence::MOST_SOURCES)]
    TooMany,
}

impl EvidenceFault {
    /// For machines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "evidence-malformed",
            Self::Twice { .. } => "evidence-twice",
            Self::Incomplete { .. } => "evidence-incomplete",
            Self::TooMany => "evidence-too-many",
        }
    }
}

impl Evidence {
    /// No host has more.
    pub const MOST_SOURCES: usize = 8_192;
    /// The largest file of a directory of evidence that is worth reading, in bytes.
    pub const LARGEST_PART: usize = 16 * 1024 * 1024;

    /// Nothing found yet.
    pub fn new(host: Host, captured_at: Time) -> Self {
        Self { host, captured_at, made: Vec::new(), sources: BTreeMap::new() }
    }

    /// What was found at `id`; `None` if nobody looked.
    pub fn get(&self, id: &str) -> Option<&Capture> {
        self.sources.get(id).map(|found| &found.capture)
    }

    /// When `id` was looked at.
    pub fn looked_at(&self, id: &str) -> Option<Time> {
        self.sources.get(id).map(|found| found.at.unwrap_or(self.captured_at))
    }

    /// Adds or replaces what was found at `id`; `at` is when, if not with all the rest. Returns whether that is news. At
    /// [`Self::MOST_SOURCES`] a new one is dropped, which its check reports as not captured.
    pub fn put(&mut self, id: &str, at: Option<Time>, capture: Capture) -> bool {
        if self.sources.len() >= Self::MOST_SOURCES && !self.sources.contains_key(id) {
            return false;
        }
        let capture = capture.bounded();
        let news = self.get(id) != Some(&capture);
        self.sources.insert(id.to_owned(), Found { at, capture });
        news
    }

    /// One evidence from the parts of a directory, each a file's name and text.
    ///
    /// # Errors
    /// [`EvidenceFault`]: the first part that is none, or that contradicts another.
    pub fn from_parts<'p>(parts: impl IntoIterator<Item = (&'p str, &'p str)>) -> Result<Self, EvidenceFault> {
        let (mut host, mut captured_at, mut made, mut sources) = (None, None, Vec::new(), BTreeMap::new());
        for (file, text) in parts {
            let twice = |what: &str| EvidenceFault::Twice { file: file.to_owned(), what: what.to_owned() };
            let part: Part = serde_json::from_str(text)
                .map_err(|error| EvidenceFault::Malformed { file: file.to_owned(), why: error.to_string() })?;
            if part.host.is_some() && std::mem::replace(&mut host, part.host).is_some() {
                return Err(twice("host"));
            }
            if part.captured_at.is_some() && std::mem::replace(&mut captured_at, part.captured_at).is_some() {
                return Err(twice("captured_at"));
            }
            made.extend(part.made);
            for (id, Found { at, capture }) in part.sources {
                if sources.len() >= Self::MOST_SOURCES {
                    return Err(EvidenceFault::TooMany);
                }
                if sources.insert(id.clone(), Found { at, capture: capture.bounded() }).is_some() {
                    return Err(twice(&id));
                }
            }
        }
        let host = host.ok_or(EvidenceFault::Incomplete { what: "host" })?;
        let captured_at = captured_at.ok_or(EvidenceFault::Incomplete { what: "captured_at" })?;
        Ok(Self { host, captured_at, made, sources })
    }
}

/// A text as its lines; one without line ends as it is.
mod lines {
    use super::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        One(String),
        Lines(Vec<String>),
    }

    pub fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        if text.contains('\n') {
            text.split('\n').collect::<Vec<_>>().serialize(serializer)
        } else {
            text.serialize(serializer)
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        Ok(match Form::deserialize(deserializer)? {
            Form::One(text) => text,
            Form::Lines(lines) => lines.join("\n"),
        })
    }
}

mod base64_text {
    use base64::Engine as _;

    use super::{BASE64, Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        BASE64.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Modes are written as people read them.
mod octal {
    use super::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{mode:04o}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        u32::from_str_radix(&String::deserialize(deserializer)?, 8).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
