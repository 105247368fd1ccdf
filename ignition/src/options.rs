//! What is asked for.

use std::fmt;

use eyewall_core::config::{Image, read};
use eyewall_core::{hostname, kubeconfig};

use crate::config_file::config_files;
use crate::{Error, Platform};

/// The host's operating system: which container runtime it has, and which of its own services stand in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Os {
    /// Fedora CoreOS: podman; docker.service is masked, as Typhoon does, since its socket would start it.
    Fcos,
    /// Flatcar: docker; locksmithd is masked, as Typhoon does, since it reboots without asking the cluster.
    Flatcar,
    /// Any other systemd host that Ignition can be applied to: whatever runtime it has; nothing is masked.
    Generic,
}

impl Os {
    /// The word on the command line and in eyewall.toml.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fcos => "fcos",
            Self::Flatcar => "flatcar",
            Self::Generic => "generic",
        }
    }
}

impl fmt::Display for Os {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the node is for; the kubelet's label and taint follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Role {
    /// Runs the workloads.
    #[default]
    Worker,
    /// Runs the control plane.
    Controller,
}

impl Role {
    /// The word on the command line and in eyewall.toml.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Controller => "controller",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How the binary reaches the host.
#[derive(Clone, PartialEq, Eq)]
pub enum Binary {
    /// Ignition fetches it, and refuses it unless its hash is this one.
    Url {
        /// `https://`, `http://`, `s3://` or `gs://`.
        url: String,
        /// 128 hex digits.
        sha512: String,
    },
    /// It is part of the fragment: some 8 MB of base64, for hosts whose config comes from a file (a cloud's user data
    /// is limited to some tens of kilobytes).
    Inline(Vec<u8>),
}

impl fmt::Debug for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url { url, sha512 } => f.debug_struct("Url").field("url", url).field("sha512", sha512).finish(),
            Self::Inline(bytes) => write!(f, "Inline({} bytes)", bytes.len()),
        }
    }
}

/// Everything that a fragment is made of.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// The host's system.
    pub os: Os,
    /// What the node is for.
    pub role: Role,
    /// Where it runs.
    pub platform: Platform,
    /// How the binary gets there.
    pub binary: Binary,
    /// An eyewall.toml of the operator's; what the other options say is laid over it as a drop-in.
    pub config_file: Option<String>,
    /// The bootstrap kubeconfig, to be put at /etc/kubernetes/kubeconfig. A secret: whoever reads the fragment can join
    /// the cluster. `None` where it is delivered otherwise.
    pub bootstrap_kubeconfig: Option<String>,
    /// The Node object's name; `None` is the hostname.
    pub name: Option<String>,
    /// The kubelet's images in order; empty is eyewall's default.
    pub images: Vec<String>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("os", &self.os)
            .field("role", &self.role)
            .field("platform", &self.platform)
            .field("binary", &self.binary)
            .field("config_file", &self.config_file)
            .field("bootstrap_kubeconfig", &self.bootstrap_kubeconfig.as_ref().map(|_| ".."))
            .field("name", &self.name)
            .field("images", &self.images)
            .finish()
    }
}

impl Options {
    /// Are they such that a host can be made from them?
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), Error> {
        match &self.binary {
            Binary::Url { url, sha512 } => {
                check_url(url)?;
                if sha512.len() != 128 || !sha512.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(Error::BadSha512(sha512.chars().count()));
                }
            }
            // A page of HTML or a debug script in the binary's place would only be noticed on the node.
            Binary::Inline(bytes) => {
                if !bytes.starts_with(b"\x7fELF") {
                    return Err(Error::NotAProgram(bytes.len()));
                }
            }
        }
        if let Some(name) = &self.name
            && let Some(why) = hostname::fault_of(name)
        {
            return Err(Error::BadName { name: name.clone(), why });
        }
        for image in &self.images {
            Image::parse(image).map_err(|why| Error::BadImage { image: image.clone(), why })?;
        }
        // The node would refuse them too, but one at a time, with nobody looking, and after its first boot.
        read(&config_files(self).sources()).map_err(Error::BadConfig)?;
        if let Some(kubeconfig) = &self.bootstrap_kubeconfig {
            kubeconfig::parse(kubeconfig)?;
        }
        if self.os == Os::Generic && self.platform.needs_metadata() {
            return Err(Error::NoMetadata { os: self.os, platform: self.platform });
        }
        Ok(())
    }
}

/// The schemes are those that Ignition 3.3.0 fetches files by, without tftp, which proves nothing about its server.
fn check_url(url: &str) -> Result<(), Error> {
    let bad = || Error::BadUrl(url.to_owned());
    let rest =
        ["https://", "http://", "s3://", "gs://"].iter().find_map(|scheme| url.strip_prefix(scheme)).ok_or_else(bad)?;
    let (host, path) = rest.split_once('/').ok_or_else(bad)?;
    let printable = url.bytes().all(|b| b.is_ascii_graphic());
    if host.is_empty() || path.is_empty() || !printable {
        return Err(bad());
    }
    Ok(())
}
