//! What differs between clouds: what the node is called there, and how the bootstrap kubeconfig arrives.
//!
//! Values that only the running host knows come from a file of `NAME=value` lines, which Afterburn writes from the
//! cloud's metadata. systemd expands them in `ExecStart=`, and only there; a configuration file cannot. So a platform
//! that needs them gets a drop-in, `10-platform.conf`, which gives `ExecStart=` again with the flags that carry them.

use std::fmt;

use crate::Os;

/// Where the host runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Platform {
    /// The kubelet is given its provider id, by which the cloud's controllers find its instance.
    Aws,
    /// Nothing special.
    Azure,
    /// Nothing special.
    Gcp,
    /// The node's name is its private address, and the bootstrap kubeconfig comes later, over ssh.
    #[value(name = "digitalocean")]
    DigitalOcean,
    /// The bootstrap kubeconfig comes later, over ssh.
    Metal,
    /// A virtual machine whose config is complete.
    Qemu,
}

/// Which unit reads the cloud's metadata, where it writes it, and how it names the variables.
struct Metadata {
    unit: &'static str,
    file: &'static str,
    aws: &'static str,
    digitalocean: &'static str,
}

/// On Fedora CoreOS (`afterburn.service`).
const AFTERBURN: Metadata = Metadata {
    unit: "afterburn.service",
    file: "/run/metadata/afterburn",
    aws: "AFTERBURN_AWS",
    digitalocean: "AFTERBURN_DIGITALOCEAN",
};

/// On Flatcar: Afterburn too, under the name and with the variables it had before.
const COREOS_METADATA: Metadata = Metadata {
    unit: "coreos-metadata.service",
    file: "/run/metadata/coreos",
    aws: "COREOS_EC2",
    digitalocean: "COREOS_DIGITALOCEAN",
};

impl Platform {
    /// The word on the command line; as Ignition and Typhoon name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Gcp => "gcp",
            Self::DigitalOcean => "digitalocean",
            Self::Metal => "metal",
            Self::Qemu => "qemu",
        }
    }

    /// Does the node need to know something that only the cloud's metadata tells?
    pub fn needs_metadata(self) -> bool {
        matches!(self, Self::Aws | Self::DigitalOcean)
    }

    /// Is the bootstrap kubeconfig copied to the host after its boot, so that it is not in the cloud's metadata?
    /// Then `kubelet.path` waits for it, as on Typhoon.
    pub fn delivers_kubeconfig_later(self) -> bool {
        matches!(self, Self::DigitalOcean | Self::Metal)
    }

    /// The text of `kubelet.service.d/10-platform.conf`, if there is one.
    pub(crate) fn kubelet_dropin(self, os: Os) -> Option<String> {
        let metadata = metadata_of(os)?;
        let (why, flag) = match self {
            Self::Aws => (
                "The cloud's controllers find the instance of a Node by its provider id.",
                format!(
                    "--extra-arg=--provider-id=aws:///${{{0}_AVAILABILITY_ZONE}}/${{{0}_INSTANCE_ID}}",
                    metadata.aws
                ),
            ),
            Self::DigitalOcean => (
                "The Node is called by its private address, as Typhoon does on DigitalOcean.",
                node_name_flag(metadata),
            ),
            _ => return None,
        };
        let Metadata { unit, file, .. } = metadata;
        Some(format!(
            "# {why}\n\
             # Only the running host knows it: {unit} asks the cloud's metadata and leaves it here.\n\
             [Unit]\nRequires={unit}\nAfter={unit}\n\n\
             [Service]\nEnvironmentFile={file}\n\
             # The empty one clears what kubelet.service says; systemd expands the variables.\n\
             ExecStart=\nExecStart=/opt/bin/eyewall kubelet {flag}\n"
        ))
    }

    /// The text of `eyewall.service.d/10-platform.conf`, if there is one: the agent must ask for the certificate of the
    /// very name that the kubelet registers.
    pub(crate) fn agent_dropin(self, os: Os) -> Option<String> {
        let metadata = metadata_of(os)?;
        if self != Self::DigitalOcean {
            return None;
        }
        let Metadata { unit, file, .. } = metadata;
        let flag = node_name_flag(metadata);
        Some(format!(
            "# The Node is called by its private address, as Typhoon does on DigitalOcean.\n\
             # Only the running host knows it: {unit} asks the cloud's metadata and leaves it here. Without the file the\n\
             # start fails and is tried again, so the agent never asks for a certificate of another name.\n\
             [Unit]\nWants={unit}\nAfter={unit}\n\n\
             [Service]\nEnvironmentFile={file}\n\
             # The empty one clears what eyewall.service says; systemd expands the variable.\n\
             ExecStart=\nExecStart=/opt/bin/eyewall run {flag}\n"
        ))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn metadata_of(os: Os) -> Option<&'static Metadata> {
    match os {
        Os::Fcos => Some(&AFTERBURN),
        Os::Flatcar => Some(&COREOS_METADATA),
        Os::Generic => None,
    }
}

fn node_name_flag(metadata: &Metadata) -> String {
    format!("--node-name=${{{}_IPV4_PRIVATE_0}}", metadata.digitalocean)
}
