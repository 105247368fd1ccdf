//! Certificates as values: what a PEM holds and what an X.509 certificate says. Signatures are checked elsewhere
//! (rustls-webpki, in the daemon); nothing here trusts anything.

use std::fmt;

use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;

use crate::secret::Secret;
use crate::time::Time;

/// The organisation of every kubelet identity (Kubernetes `user.NodesGroup`).
pub const NODES: &str = "system:nodes";

/// What a PEM text holds: a chain, leaf first, and perhaps a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// DER, in the order they stand.
    pub chain: Vec<Vec<u8>>,
    /// The private key's PEM block.
    pub key: Option<Secret>,
}

/// Why a PEM or a certificate cannot be read. No content of the file is told: it may hold a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertFault {
    /// No bytes at all: what a kubelet of before 1.34 leaves after a power cut.
    #[error("it is empty")]
    Empty,
    /// Bytes, but no PEM.
    #[error("it holds no PEM block")]
    NoPem,
    /// A block begins and does not end, or is not base64.
    #[error("it holds a PEM block that is cut short or damaged")]
    BrokenPem,
    /// The PEM is whole and has no certificate.
    #[error("it holds no certificate")]
    NoCertificate,
    /// The PEM is whole and has no key.
    #[error("it holds no private key")]
    NoKey,
    /// The DER is not a certificate.
    #[error("its certificate cannot be parsed")]
    BrokenCertificate,
}

/// Reads the blocks of a PEM text.
///
/// # Errors
/// [`CertFault`]; a text without any certificate is one.
pub fn bundle(text: &str) -> Result<Bundle, CertFault> {
    if text.trim().is_empty() {
        return Err(CertFault::Empty);
    }
    let mut found = Bundle { chain: Vec::new(), key: None };
    let mut blocks = 0;
    for block in Pem::iter_from_buffer(text.as_bytes()) {
        let block =
            block.map_err(|_| if text.contains("-----BEGIN ") { CertFault::BrokenPem } else { CertFault::NoPem })?;
        blocks += 1;
        match block.label.as_str() {
            "CERTIFICATE" => found.chain.push(block.contents),
            "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" if found.key.is_none() => {
                found.key = key_block(text, &block.label).map(Secret::new);
            }
            _ => {}
        }
    }
    if blocks == 0 {
        // The iterator ends quietly on text without a block and on a block without its end.
        return Err(if text.contains("-----BEGIN ") { CertFault::BrokenPem } else { CertFault::NoPem });
    }
    if text.matches("-----BEGIN ").count() != blocks {
        return Err(CertFault::BrokenPem);
    }
    if found.chain.is_empty() {
        return Err(CertFault::NoCertificate);
    }
    Ok(found)
}

fn key_block(text: &str, label: &str) -> Option<String> {
    let begin = format!("-----BEGIN {label}-----");
    let end = format!("-----END {label}-----");
    let from = text.find(&begin)?;
    let length = text.get(from..)?.find(&end)? + end.len();
    Some(format!("{}\n", text.get(from..from + length)?))
}

/// The certificates of a PEM text, DER.
///
/// # Errors
/// [`CertFault`].
pub fn certificates(text: &str) -> Result<Vec<Vec<u8>>, CertFault> {
    bundle(text).map(|bundle| bundle.chain)
}

/// What one certificate says.
#[derive(Clone, PartialEq, Eq)]
pub struct CertView {
    /// The last CN of the subject, as Go's `Subject.CommonName`.
    pub common_name: String,
    /// Every O of the subject.
    pub organizations: Vec<String>,
    /// The subject for people.
    pub subject: String,
    /// The issuer for people.
    pub issuer: String,
    /// Lower-case hex without separators.
    pub serial: String,
    /// Start of life.
    pub not_before: Time,
    /// End of life; the last second in which it is valid.
    pub not_after: Time,
    /// Has clientAuth among its extended key usages.
    pub client_auth: bool,
    /// Basic constraints say CA.
    pub is_ca: bool,
    /// Number of subject alternative names; a kubelet client certificate has none.
    pub alternative_names: usize,
    /// SHA-256 of the DER, lower-case hex; the API server's `credential-id` is `X509SHA256=` and this.
    pub sha256: String,
    /// DER of the SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
}

impl fmt::Debug for CertView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertView({} serial {} until {})", self.subject, self.serial, self.not_after)
    }
}

impl CertView {
    /// Reads a DER certificate.
    ///
    /// # Errors
    /// [`CertFault::BrokenCertificate`].
    pub fn from_der(der: &[u8]) -> Result<Self, CertFault> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| CertFault::BrokenCertificate)?;
        if !rest.is_empty() {
            return Err(CertFault::BrokenCertificate);
        }
        let seconds = |time: x509_parser::time::ASN1Time| Time::from_unix(u64::try_from(time.timestamp()).unwrap_or(0));
        let client_auth = parsed
            .extended_key_usage()
            .map_err(|_| CertFault::BrokenCertificate)?
            .is_some_and(|usage| usage.value.client_auth);
        let names = parsed.subject_alternative_name().map_err(|_| CertFault::BrokenCertificate)?.map_or(0, |names| {
            names.value.general_names.iter().filter(|name| !matches!(name, GeneralName::Invalid(..))).count()
        });
        Ok(Self {
            common_name: parsed
                .subject()
                .iter_common_name()
                .filter_map(|name| name.as_str().ok())
                .last()
                .unwrap_or_default()
                .to_owned(),
            organizations: parsed
                .subject()
                .iter_organization()
                .filter_map(|name| name.as_str().ok())
                .map(str::to_owned)
                .collect(),
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            serial: hex(parsed.raw_serial()),
            not_before: seconds(parsed.validity().not_before),
            not_after: seconds(parsed.validity().not_after),
            client_auth,
            is_ca: parsed.is_ca(),
            alternative_names: names,
            sha256: hex(&Sha256::digest(der)),
            public_key: parsed.public_key().raw.to_vec(),
        })
    }

    /// Is this the leaf of a kubelet identity for `common_name` (`system:node:<name>`)?
    pub fn is_identity_of(&self, common_name: &str) -> bool {
        self.common_name == common_name && self.organizations == [NODES] && self.client_auth && !self.is_ca
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
