//! What can be wrong with what was asked for.

use eyewall_core::config::Faults;
use eyewall_core::kubeconfig::KubeconfigFault;

use crate::{Os, Platform};

/// Why there is no fragment. Each sentence says what to give instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The hash is not one.
    #[error(
        "the SHA-512 of the binary is {0} characters long or not hexadecimal; give the 128 hex digits that `sha512sum eyewall` prints"
    )]
    BadSha512(usize),
    /// The URL is not one that Ignition fetches.
    #[error(
        "{0:?} is not a URL that Ignition fetches a binary from; give http://, https://, s3:// or gs:// with a host and a path"
    )]
    BadUrl(String),
    /// The inline binary is not a program for Linux.
    #[error("the binary is no ELF file ({0} bytes); give the `eyewall` that `cargo build --release` made for the node")]
    NotAProgram(usize),
    /// The node's name cannot be a Node object's.
    #[error("{name:?} cannot be the name of a node: {why}")]
    BadName {
        /// As given.
        name: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// An image reference that no registry can answer.
    #[error("the image {image:?} {why}")]
    BadImage {
        /// As given.
        image: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// The configuration that the host would get has faults.
    #[error("the configuration has faults:\n{0}")]
    BadConfig(Faults),
    /// The bootstrap kubeconfig is not one; what is wrong is told without its content.
    #[error("{0}")]
    BadKubeconfig(#[from] KubeconfigFault),
    /// The platform's node facts come from a metadata unit that this OS does not have.
    #[error(
        "platform {platform} needs the cloud's metadata, and os {os} has no unit that reads it; choose fcos or flatcar, or platform metal with --name"
    )]
    NoMetadata {
        /// The OS asked for.
        os: Os,
        /// The platform asked for.
        platform: Platform,
    },
    /// The fragment could not be printed.
    #[error("the fragment could not be written as JSON: {0}; please report this")]
    Json(#[source] serde_json::Error),
}

impl Error {
    /// A word for scripts; one for each variant, never changed.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::BadSha512(_) => "bad-sha512",
            Self::BadUrl(_) => "bad-url",
            Self::NotAProgram(_) => "not-a-program",
            Self::BadName { .. } => "bad-name",
            Self::BadImage { .. } => "bad-image",
            Self::BadConfig(faults) => faults.kind(),
            Self::BadKubeconfig(fault) => fault.kind(),
            Self::NoMetadata { .. } => "no-metadata",
            Self::Json(_) => "json",
        }
    }
}
