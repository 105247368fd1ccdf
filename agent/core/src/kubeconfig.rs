//! The bootstrap kubeconfig as Typhoon writes it, and the kubelet's kubeconfig as we write it.
//!
//! Typhoon's has one context without a name and no `current-context`; client-go takes both for the empty string
//! (terraform-render-bootstrap `auth.tf`; client-go `clientcmd/client_config.go`), so this reader does too.
//! What it does not support (exec plugins, proxies, ...) it refuses by name instead of half-working.

mod read;
mod server;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

pub use read::{LARGEST, parse};
pub use server::Server;
use sha2::{Digest, Sha256};

use crate::secret::Secret;

/// What a node needs to ask for its first certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// The API server.
    pub server: Server,
    /// The name to check the server's certificate for, if it is not the host of the URL.
    pub tls_server_name: Option<String>,
    /// The cluster CA, PEM; nothing else is trusted.
    pub ca: Ca,
    /// The identity to ask with.
    pub credential: Credential,
}

/// Where the cluster CA stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ca {
    /// PEM, decoded from `certificate-authority-data`.
    Inline(String),
    /// `certificate-authority`; relative to the kubeconfig's directory, as for client-go.
    File(PathBuf),
}

/// The bootstrap identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A bootstrap token, or any bearer token.
    Token(Secret),
    /// `tokenFile`.
    TokenFile(PathBuf),
    /// A client certificate and its key.
    Certificate {
        /// `client-certificate[-data]`
        certificate: Material,
        /// `client-key[-data]`
        key: Material,
    },
    /// It stands in the kubeconfig itself, and is read there again for each use: what is remembered between two looks holds no secret.
    Sealed {
        /// The kubeconfig.
        kubeconfig: PathBuf,
        /// SHA-256 of the secret, so that another one is seen to be another.
        sha256: [u8; 32],
    },
}

/// PEM in the kubeconfig or beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material {
    /// Decoded from base64.
    Inline(Secret),
    /// A path; relative to the kubeconfig's directory.
    File(PathBuf),
}

/// Why a kubeconfig cannot be used. No variant carries content of the file: it holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KubeconfigFault {
    /// There is no such file.
    #[error("there is no bootstrap kubeconfig at {0}; put it there, the agent sees it at once")]
    Missing(PathBuf),
    /// It is there and cannot be read.
    #[error("the bootstrap kubeconfig {path} cannot be read: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// No content.
    #[error("the bootstrap kubeconfig is empty; write it again, whole")]
    Empty,
    /// Not UTF-8, or with NUL bytes.
    #[error("the bootstrap kubeconfig is not text; write it again")]
    NotText,
    /// More than any kubeconfig needs.
    #[error("the bootstrap kubeconfig is larger than {0} bytes, which no kubeconfig is")]
    TooLarge(usize),
    /// Not YAML, or not of a kubeconfig's shape.
    #[error("the bootstrap kubeconfig is not a kubeconfig{}; is it cut short?", at(*line, *column))]
    Malformed {
        /// 1-based; 0 where the reader could not tell.
        line: u64,
        /// 1-based.
        column: u64,
    },
    /// A part is missing.
    #[error("the bootstrap kubeconfig has no {0}; is it cut short?")]
    Incomplete(&'static str),
    /// A part is there and is not what it should be.
    #[error("the bootstrap kubeconfig's {field} {why}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A feature we refuse.
    #[error(
        "the bootstrap kubeconfig uses {0}, which the agent does not support; give it a token or a client certificate"
    )]
    Unsupported(&'static str),
}

fn at(line: u64, column: u64) -> String {
    if line == 0 { String::new() } else { format!(" (line {line}, column {column})") }
}

impl KubeconfigFault {
    /// The word for machines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Missing(_) => "bootstrap-kubeconfig-missing",
            Self::Unreadable { .. } => "bootstrap-kubeconfig-unreadable",
            Self::Empty => "bootstrap-kubeconfig-empty",
            Self::NotText => "bootstrap-kubeconfig-not-text",
            Self::TooLarge(_) => "bootstrap-kubeconfig-too-large",
            Self::Malformed { .. } => "bootstrap-kubeconfig-malformed",
            Self::Incomplete(_) => "bootstrap-kubeconfig-incomplete",
            Self::Invalid { .. } => "bootstrap-kubeconfig-invalid",
            Self::Unsupported(_) => "bootstrap-kubeconfig-unsupported",
        }
    }
}

impl Credential {
    /// The same without the secret, if it holds one; `kubeconfig` is where it was read.
    #[must_use]
    pub fn sealed(self, kubeconfig: &Path) -> Self {
        let mut digest = Sha256::new();
        match &self {
            Self::Token(token) => digest.update(token.expose()),
            Self::Certificate { certificate, key } if certificate.is_inline() || key.is_inline() => {
                for (part, material) in [("certificate", certificate), ("key", key)] {
                    digest.update(part);
                    match material {
                        Material::Inline(pem) => digest.update(pem.expose()),
                        Material::File(path) => digest.update(path.as_os_str().as_encoded_bytes()),
                    }
                }
            }
            Self::Certificate { .. } | Self::TokenFile(_) | Self::Sealed { .. } => return self,
        }
        Self::Sealed { kubeconfig: kubeconfig.to_owned(), sha256: digest.finalize().into() }
    }
}

impl Material {
    fn is_inline(&self) -> bool {
        matches!(self, Self::Inline(_))
    }
}

impl Bootstrap {
    /// The same with its credential sealed, see [`Credential::sealed`].
    #[must_use]
    pub fn sealed(self, kubeconfig: &Path) -> Self {
        Self { credential: self.credential.sealed(kubeconfig), ..self }
    }

    /// The same with every relative path taken from `directory`, the kubeconfig's own.
    #[must_use]
    pub fn relative_to(self, directory: &Path) -> Self {
        let place = |material| match material {
            Material::File(path) => Material::File(directory.join(path)),
            inline @ Material::Inline(_) => inline,
        };
        Self {
            ca: match self.ca {
                Ca::File(path) => Ca::File(directory.join(path)),
                inline @ Ca::Inline(_) => inline,
            },
            credential: match self.credential {
                Credential::TokenFile(path) => Credential::TokenFile(directory.join(path)),
                Credential::Certificate { certificate, key } => {
                    Credential::Certificate { certificate: place(certificate), key: place(key) }
                }
                inline @ (Credential::Token(_) | Credential::Sealed { .. }) => inline,
            },
            ..self
        }
    }
}

/// The kubelet's kubeconfig: file references only, so that the kubelet re-reads certificate and CA by itself
/// (client-go since 1.18, CA since 1.36) and this text never changes while the node keeps its API server.
/// Names as the kubelet gives them when it writes the file itself (`kubelet/certificate/bootstrap/bootstrap.go`).
pub fn for_kubelet(bootstrap: &Bootstrap, ca: &Path, pem: &Path) -> String {
    let mut text = String::with_capacity(640);
    let quoted = |path: &Path| serde_json::Value::String(path.display().to_string()).to_string();
    text.push_str("apiVersion: v1\nkind: Config\nclusters:\n- name: default-cluster\n  cluster:\n");
    let _ = writeln!(text, "    certificate-authority: {}", quoted(ca));
    let _ = writeln!(text, "    server: {}", bootstrap.server);
    if let Some(name) = &bootstrap.tls_server_name {
        let _ = writeln!(text, "    tls-server-name: {name}");
    }
    text.push_str("users:\n- name: default-auth\n  user:\n");
    let _ = writeln!(text, "    client-certificate: {}", quoted(pem));
    let _ = writeln!(text, "    client-key: {}", quoted(pem));
    text.push_str(
        "contexts:\n- name: default-context\n  context:\n    cluster: default-cluster\n    namespace: default\n    \
         user: default-auth\ncurrent-context: default-context\npreferences: {}\n",
    );
    text
}

#[cfg(test)]
mod tests;
