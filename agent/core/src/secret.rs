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

/// A sentence from outside without any bootstrap token in it (`[a-z0-9]{6}.[a-z0-9]{16}`, Kubernetes `bootstrap/token/api`):
/// a server, or something in front of it, may quote what it was sent.
pub fn redact(sentence: &str) -> String {
    let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_token = |word: &str| {
        word.split_once('.').is_some_and(|(id, secret)| {
            id.len() == 6 && secret.len() == 16 && id.chars().all(part) && secret.chars().all(part)
        })
    };
    sentence
        .split_inclusive(|c: char| !part(c) && c != '.')
        .map(|piece| {
            let word = piece.trim_end_matches(|c: char| !part(c) && c != '.');
            let token = word.trim_end_matches('.');
            if is_token(token) { piece.replacen(token, "(a token)", 1) } else { piece.to_owned() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_from_outside_lose_their_tokens() {
        for (sentence, want) in [
            ("no such user", "no such user"),
            ("unknown token abcdef.0123456789abcdef", "unknown token (a token)"),
            ("token \"abcdef.0123456789abcdef\".", "token \"(a token)\"."),
            ("abcdef.0123456789abcdef, abcdef.0123456789abcdef.", "(a token), (a token)."),
            ("https://api.example.com:6443", "https://api.example.com:6443"),
            ("certificates.k8s.io", "certificates.k8s.io"),
        ] {
            assert_eq!(redact(sentence), want);
        }
    }

    #[test]
    fn debug_prints_nothing() {
        let secret = Secret::new("abcdef.0123456789abcdef".to_owned());
        assert_eq!(format!("{secret:?}"), "..");
        assert_eq!(format!("{:?}", Some(secret)), "Some(..)");
    }
}
