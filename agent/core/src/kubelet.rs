//! The kubelet in its container: what is made, mounted and passed. A [`Plan`] is made from values and carried out by
//! `eyewall kubelet`; with the default configuration it is Typhoon's unit, mount for mount and flag for flag.

mod configuration;
mod container;
mod flags;
mod health;
mod image;
mod mounts;
mod runtime;
pub mod take_over;
pub mod wedge;

use std::path::{Path, PathBuf};

pub use container::{Container, arguments_of_oci, of_docker, of_podman};
pub use health::{Answer, Seen, Unit, judge};
pub use image::{Attempt, Missed, Started, Unavailable, image_in_use, outdated};
pub use mounts::Mount;
pub use runtime::{ALL, CONTAINER, DOCKER, PODMAN, Runtime, choose};

use crate::config::{Config, Image, Owner};
use crate::hostname::NodeName;
use crate::os::Os;

/// The host, as far as the plan depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// Its OS.
    pub os: &'static Os,
    /// Is there an SELinux file system? Only asked of an OS that leaves it open.
    pub selinux: bool,
    /// Does systemd-resolved look names up? Only asked of an OS that leaves it open.
    pub resolved: bool,
    /// The container runtime to use.
    pub runtime: Runtime,
}

/// What `eyewall kubelet` does, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The container runtime.
    pub runtime: Runtime,
    /// Directories that must be there, made with those above them.
    pub directories: Vec<PathBuf>,
    /// The bootstrap kubeconfig, if it is to be made root's own, 0600.
    pub root_only: Option<PathBuf>,
    /// The cluster's CA for the kubelet's own server (`clientCAFile`), from the bootstrap kubeconfig.
    pub authority: PathBuf,
    /// The KubeletConfiguration; written only if it is absent.
    pub configuration: PathBuf,
    /// Its text.
    pub configuration_text: String,
    /// The images, in the order in which they are tried. Never empty.
    pub images: Vec<Image>,
    mounts: Vec<Mount>,
    flags: Vec<String>,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanFault {
    /// A flag of the command line that may not be added.
    #[error("--extra-arg {argument:?} cannot be used: {why}")]
    ExtraArg {
        /// The flag.
        argument: String,
        /// What is wrong with it.
        why: String,
    },
    /// An image name that cannot be read; a configuration that was read has none.
    #[error("the image {reference:?} {why}")]
    Image {
        /// As configured.
        reference: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An image without digest where one is wanted.
    #[error("the image {0:?} has no digest, and kubelet.require_digest wants one: add @sha256:…")]
    Digest(String),
    /// No image at all.
    #[error("kubelet.images is empty: name at least one image")]
    NoImage,
}

impl PlanFault {
    /// The word for machines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ExtraArg { .. } => "bad-argument",
            Self::Image { .. } => "bad-image",
            Self::Digest(_) => "image-without-digest",
            Self::NoImage => "empty",
        }
    }
}

/// Makes the plan.
///
/// `named` is the node's name where it is not simply the hostname. `extra` are flags of the command line
/// that only the running host knows (a provider id), after those of the configuration.
///
/// # Errors
/// Something of the command line or of a configuration that nobody has checked.
pub fn plan(config: &Config, host: &Host, named: Option<&NodeName>, extra: &[String]) -> Result<Plan, PlanFault> {
    let flags = flags::flags(config, named, extra)?;
    let mounts = mounts::mounts(config, host);
    let configuration = config.kubelet.config.clone();
    let authority = authority(config);
    let mut directories: Vec<PathBuf> = FIXED_DIRECTORIES.iter().map(PathBuf::from).collect();
    let parents = [&configuration, &authority, &config.certificates.kubeconfig];
    let parents = parents.into_iter().filter_map(|path| path.parent());
    for directory in parents.chain([config.certificates.directory.as_path()]) {
        // A fixed one below it makes it too.
        if !directories.iter().any(|made| made.starts_with(directory)) {
            directories.push(directory.to_owned());
        }
    }
    Ok(Plan {
        runtime: host.runtime,
        directories,
        root_only: root_only(config),
        configuration_text: configuration::configuration(config, host, &authority),
        authority,
        configuration,
        images: images(config)?,
        mounts,
        flags,
    })
}

impl Plan {
    /// The kubelet's flags.
    pub fn flags(&self) -> &[String] {
        &self.flags
    }

    /// The arguments after the runtime's name that run the kubelet from `image`, in the foreground.
    pub fn run(&self, image: &Image) -> Vec<String> {
        let mut arguments = self.runtime.run();
        for mount in &self.mounts {
            arguments.extend(["--volume".to_owned(), mount.to_string()]);
        }
        arguments.push(image.to_string());
        arguments.extend(self.flags.iter().cloned());
        arguments
    }
}

/// What Typhoon's `ExecStartPre=mkdir -p` lines make.
const FIXED_DIRECTORIES: [&str; 4] =
    ["/etc/cni/net.d", "/etc/kubernetes/manifests", "/opt/cni/bin", "/var/lib/kubelet/volumeplugins"];

/// Who only observes changes no file of others.
fn root_only(config: &Config) -> Option<PathBuf> {
    let is_wanted = config.cluster.bootstrap_kubeconfig_root_only && config.certificates.owner == Owner::Eyewall;
    is_wanted.then(|| config.cluster.bootstrap_kubeconfig.clone())
}

/// The CA of those who may call the kubelet, `/etc/kubernetes/ca.crt` on Typhoon: beside the KubeletConfiguration that names it.
pub fn authority(config: &Config) -> PathBuf {
    let directory = config.kubelet.config.parent().unwrap_or(Path::new("/"));
    directory.join("ca.crt")
}

fn images(config: &Config) -> Result<Vec<Image>, PlanFault> {
    let images = config.kubelet.images.iter().map(|reference| {
        let image = Image::parse(reference).map_err(|why| PlanFault::Image { reference: reference.clone(), why })?;
        if config.kubelet.require_digest && image.digest().is_none() {
            return Err(PlanFault::Digest(reference.clone()));
        }
        Ok(image)
    });
    let images: Vec<Image> = images.collect::<Result<_, _>>()?;
    if images.is_empty() {
        return Err(PlanFault::NoImage);
    }
    Ok(images)
}

#[cfg(test)]
mod tests;
