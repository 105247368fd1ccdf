//! Secrets: values whose `Debug` prints nothing and whose memory is wiped when they go.

use std::fmt;

use zeroize::Zeroizing;

/// A secret text (a token, a PEM with a private key). It cannot be printed or serialized by accident;
/// whoever needs the content says so with [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over `text`; the copy in `text`'s own buffer is the one that will be wiped.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The content. Only what writes it to its one file or sends it to the API server calls this.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_nothing() {
        let secret = Secret::new("abcdef.0123456789abcdef".to_owned());
        assert_eq!(format!("{secret:?}"), "..");
        assert_eq!(format!("{:?}", Some(secret)), "Some(..)");
    }
}
