//! Why something that a host gave cannot be read.

/// Why a text or some bytes cannot be read. Nothing of the content is told: it may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadFault {
    /// No content, or blanks only.
    #[error("it is empty")]
    Empty,
    /// More bytes than anything of its kind has.
    #[error("it is larger than {0} bytes, which none of its kind is")]
    TooLarge(usize),
    /// Not UTF-8, or with NUL bytes.
    #[error("it is not text")]
    NotText,
    /// Not of its format.
    #[error("it is no {format}{}", at(*line))]
    Malformed {
        /// The format, as people call it: `JSON`, `TOML`, ...
        format: &'static str,
        /// 1-based; 0 where the reader could not tell.
        line: usize,
    },
    /// It ends in the middle of something.
    #[error("it is cut short")]
    CutShort,
    /// Of its format, but without what it must say.
    #[error("it does not say {0}")]
    Missing(&'static str),
    /// More entries than are looked through.
    #[error("it has more than {limit} {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many are looked through.
        limit: usize,
    },
    /// One of several files.
    #[error("{place}: {fault}")]
    In {
        /// The file's path, or the name of the part.
        place: String,
        /// What is wrong with it.
        fault: Box<ReadFault>,
    },
}

fn at(line: usize) -> String {
    if line == 0 { String::new() } else { format!(" (line {line})") }
}

impl ReadFault {
    /// The word for machines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLarge(_) => "too-large",
            Self::NotText => "not-text",
            Self::Malformed { .. } => "malformed",
            Self::CutShort => "cut-short",
            Self::Missing(_) => "incomplete",
            Self::TooMany { .. } => "too-many",
            Self::In { fault, .. } => fault.kind(),
        }
    }

    /// The same as a sentence of its own.
    pub fn sentence(&self) -> String {
        let text = self.to_string();
        let mut characters = text.chars();
        let first = characters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
        format!("{first}{}.", characters.as_str())
    }

    /// The same fault, with the place it stands in.
    #[must_use]
    pub fn within(self, place: &str) -> Self {
        Self::In { place: place.to_owned(), fault: Box::new(self) }
    }
}

/// `text`, if it has content, is no larger than `limit` bytes and holds no NUL.
///
/// # Errors
/// [`ReadFault::TooLarge`], [`ReadFault::Empty`], [`ReadFault::NotText`].
pub fn bounded(text: &str, limit: usize) -> Result<&str, ReadFault> {
    if text.len() > limit {
        return Err(ReadFault::TooLarge(limit));
    }
    if text.trim().is_empty() {
        return Err(ReadFault::Empty);
    }
    if text.contains('\0') {
        return Err(ReadFault::NotText);
    }
    Ok(text)
}

/// Reads `text` as JSON of the shape of `T`.
///
/// # Errors
/// As [`bounded`]; [`ReadFault::Malformed`] with the line.
pub fn json<T: serde::de::DeserializeOwned>(text: &str, limit: usize) -> Result<T, ReadFault> {
    serde_json::from_str(bounded(text, limit)?).map_err(|error| {
        if error.is_eof() {
            return ReadFault::CutShort;
        }
        ReadFault::Malformed { format: "JSON of the known shape", line: error.line() }
    })
}

/// Reads `text` as YAML of the shape of `T`.
///
/// # Errors
/// As [`bounded`]; [`ReadFault::Malformed`] with the line.
pub fn yaml<T: serde::de::DeserializeOwned>(text: &str, limit: usize) -> Result<T, ReadFault> {
    serde_saphyr::from_str(bounded(text, limit)?).map_err(|error| {
        let line = error.location().map_or(0, |place| usize::try_from(place.line()).unwrap_or(0));
        ReadFault::Malformed { format: "YAML of the known shape", line }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_have_a_word_and_a_sentence_without_content() {
        let secret = "token: abcdef.0123456789abcdef";
        for (name, fault, kind, sentence) in [
            ("empty", bounded(" \n", 10).unwrap_err(), "empty", "it is empty"),
            (
                "large",
                bounded("xxx", 2).unwrap_err(),
                "too-large",
                "it is larger than 2 bytes, which none of its kind is",
            ),
            ("nul", bounded("a\0", 9).unwrap_err(), "not-text", "it is not text"),
            ("json", json::<u8>(secret, 99).unwrap_err(), "malformed", "it is no JSON of the known shape (line 1)"),
            ("cut", json::<Vec<u8>>("[1,", 9).unwrap_err(), "cut-short", "it is cut short"),
            (
                "yaml",
                yaml::<Vec<u8>>(secret, 99).unwrap_err().within("/etc/x"),
                "malformed",
                "/etc/x: it is no YAML of the known shape (line 1)",
            ),
        ] {
            assert_eq!(fault.kind(), kind, "{name}");
            assert_eq!(fault.to_string(), sentence, "{name}");
            assert!(fault.sentence().ends_with('.'), "{name}");
            assert!(!format!("{fault:?}{fault}").contains("abcdef"), "{name}");
        }
    }

    #[test]
    fn a_yaml_that_unfolds_itself_is_refused() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let last = format!("*a{}", level - 1);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", [last.as_str(); 10].join(",")));
        }
        assert!(yaml::<serde_json::Value>(&bomb, 1 << 20).is_err());
        let deep = "[".repeat(100_000);
        assert!(yaml::<serde_json::Value>(&deep, 1 << 20).is_err());
        assert!(json::<serde_json::Value>(&deep, 1 << 20).is_err());
    }
}
