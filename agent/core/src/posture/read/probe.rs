//! What a probe saw: requests that the agent makes to prove how something behaves. No body is kept.

use serde::{Deserialize, Serialize};

/// The answer to one request over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
}

/// What a server did when a TLS client came without a certificate, and sent a byte after the handshake: in TLS 1.3 a
/// client learns of the refusal only then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stranger {
    /// An alert that a certificate is wanted (`certificate_required`, `bad_certificate`, `handshake_failure`).
    Refused,
    /// It went on talking.
    Admitted,
    /// It speaks no TLS.
    PlainText,
    /// Nobody listens.
    Closed,
}

/// The record of [`Stranger`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsAnswer {
    /// What it did.
    pub stranger: Stranger,
}

/// The kubelet's program, as it lies in the image that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binary {
    /// SHA-256, lower-case hex.
    pub sha256: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_strictly() {
        assert_eq!(
            serde_json::from_str::<TlsAnswer>(r#"{"stranger":"refused"}"#).ok(),
            Some(TlsAnswer { stranger: Stranger::Refused })
        );
        for text in ["{}", r#"{"status":"401"}"#, r#"{"status":401,"body":"x"}"#, "[]"] {
            assert!(serde_json::from_str::<HttpAnswer>(text).is_err(), "{text}");
        }
    }
}
