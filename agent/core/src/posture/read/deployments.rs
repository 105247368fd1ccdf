//! `rpm-ostree status --json`: what is booted, what is staged, and where it came from.

use serde::{Deserialize, Serialize};

use super::ReadFault;
use super::fault::json;
use crate::time::Time;

/// With the image manifest that is in it, a status of three deployments is about 100 KiB.
pub const LARGEST: usize = 4 * 1024 * 1024;

/// The deployments, the one that boots next first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deployments {
    /// All of them.
    pub deployments: Vec<Deployment>,
}

/// One deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Deployment {
    /// This is what runs.
    pub booted: bool,
    /// It is written out at the next shutdown.
    #[serde(default)]
    pub staged: bool,
    /// Kept by an operator.
    #[serde(default)]
    pub pinned: bool,
    /// The release, `43.20260601.3.0`.
    pub version: Option<String>,
    /// When its commit was made, in seconds since 1970: the release's age, not that of its installation.
    pub timestamp: u64,
    /// The ostree commit.
    pub checksum: String,
    /// `none`, or how `/usr` was made writable: `development`, `hotfix`, `transient`.
    pub unlocked: String,
    /// An ostree origin (`fedora:fedora/x86_64/coreos/stable`); absent where the OS comes as a container image.
    pub origin: Option<String>,
    /// An image origin with how its signature is checked.
    pub container_image_reference: Option<String>,
    /// Does the ostree origin's remote check signatures?
    #[serde(default)]
    pub gpg_enabled: bool,
    /// Waits for `FinalizeDeployment`.
    #[serde(default)]
    pub finalization_locked: bool,
    #[serde(default)]
    requested_packages: Vec<String>,
    #[serde(default)]
    requested_local_packages: Vec<String>,
    #[serde(default)]
    requested_base_removals: Vec<String>,
    #[serde(default)]
    requested_base_local_replacements: Vec<String>,
    #[serde(default)]
    requested_local_fileoverride_packages: Vec<String>,
    #[serde(default)]
    base_commit_meta: CommitMeta,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct CommitMeta {
    #[serde(rename = "fedora-coreos.stream")]
    stream: Option<String>,
}

/// How the origin of a deployment vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// The container's own signature policy must hold, or the ostree remote's keys sign the commit.
    Checked,
    /// Nobody checks.
    Unchecked,
    /// No known form of an origin.
    Unclear,
}

impl Deployments {
    /// Reads the JSON. There is at least one deployment, and at most one is booted.
    ///
    /// # Errors
    /// [`ReadFault`].
    pub fn parse(text: &str) -> Result<Self, ReadFault> {
        let status: Self = json(text, LARGEST)?;
        if status.deployments.is_empty() {
            return Err(ReadFault::Missing("any deployment"));
        }
        if status.deployments.iter().filter(|deployment| deployment.booted).count() != 1 {
            return Err(ReadFault::Missing("which one deployment is booted"));
        }
        Ok(status)
    }

    /// The one that runs.
    pub fn booted(&self) -> Option<&Deployment> {
        self.deployments.iter().find(|deployment| deployment.booted)
    }

    /// The one that waits for a reboot.
    pub fn staged(&self) -> Option<&Deployment> {
        self.deployments.iter().find(|deployment| deployment.staged && !deployment.booted)
    }
}

impl Deployment {
    /// For people.
    pub fn name(&self) -> &str {
        self.version.as_deref().unwrap_or(&self.checksum)
    }

    /// When the release was made.
    pub fn made_at(&self) -> Time {
        Time::from_unix(self.timestamp)
    }

    /// The Fedora CoreOS stream, if its commit says one.
    pub fn stream(&self) -> Option<&str> {
        self.base_commit_meta.stream.as_deref()
    }

    /// The origin, for people.
    pub fn origin(&self) -> &str {
        self.container_image_reference.as_deref().or(self.origin.as_deref()).unwrap_or("no known origin")
    }

    /// Who vouches for the content (ostree-rs-ext `SignatureSource`).
    pub fn signature(&self) -> Signature {
        if let Some(image) = &self.container_image_reference {
            let is = |prefix: &str| image.starts_with(prefix);
            return if is("ostree-image-signed:") || is("ostree-remote-image:") || is("ostree-remote-registry:") {
                Signature::Checked
            } else if is("ostree-unverified-") {
                Signature::Unchecked
            } else {
                Signature::Unclear
            };
        }
        match &self.origin {
            // `remote:ref`. Without a remote it is a commit from this host, which nobody signed.
            Some(origin) if origin.contains(':') && self.gpg_enabled => Signature::Checked,
            Some(_) => Signature::Unchecked,
            None => Signature::Unclear,
        }
    }

    /// What an operator asked to be other than in the release: packages layered, removed, replaced.
    pub fn changes(&self) -> Vec<String> {
        [
            ("layered", &self.requested_packages),
            ("layered from a file", &self.requested_local_packages),
            ("layered over files", &self.requested_local_fileoverride_packages),
            ("removed", &self.requested_base_removals),
            ("replaced", &self.requested_base_local_replacements),
        ]
        .into_iter()
        .flat_map(|(what, packages)| packages.iter().map(move |package| format!("{package} ({what})")))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(fields: &str) -> String {
        format!(
            r#"{{"deployments":[{{"booted":true,"staged":false,"version":"43.1","timestamp":1782000000,"checksum":"ab","unlocked":"none",{fields}"pinned":false}}],"transaction":null}}"#
        )
    }

    #[test]
    fn a_status_is_read() {
        let text = r#"{"deployments":[
            {"booted":false,"staged":true,"version":"43.2","timestamp":1782000001,"checksum":"cd","unlocked":"none",
             "container-image-reference":"ostree-image-signed:docker://quay.io/fedora/fedora-coreos:stable",
             "finalization-locked":true,"base-commit-meta":{"fedora-coreos.stream":"stable","ostree.manifest":"{}"}},
            {"booted":true,"version":"43.1","timestamp":1782000000,"checksum":"ab","unlocked":"none",
             "origin":"fedora:fedora/x86_64/coreos/stable","gpg-enabled":true,"requested-packages":["strace"]}],
            "transaction":null,"cached-update":null,"update-driver":null}"#;
        let status = Deployments::parse(text).expect("a status");
        let (booted, staged) = (status.booted().expect("booted"), status.staged().expect("staged"));
        assert_eq!((booted.name(), staged.name()), ("43.1", "43.2"));
        assert!(staged.finalization_locked);
        assert_eq!(staged.stream(), Some("stable"));
        assert_eq!((booted.signature(), staged.signature()), (Signature::Checked, Signature::Checked));
        assert_eq!(booted.changes(), ["strace (layered)"]);
        assert_eq!(staged.changes(), [""; 0]);
    }

    #[test]
    fn origins_say_who_vouches() {
        for (fields, want) in [
            (
                r#""container-image-reference":"ostree-image-signed:docker://quay.io/fedora/fedora-coreos:stable","#,
                Signature::Checked,
            ),
            (
                r#""container-image-reference":"ostree-remote-image:fedora:registry:quay.io/fedora/fedora-coreos@sha256:c4","#,
                Signature::Checked,
            ),
            (
                r#""container-image-reference":"ostree-remote-registry:fedora:quay.io/fedora/fedora-coreos:stable","#,
                Signature::Checked,
            ),
            (r#""container-image-reference":"ostree-unverified-registry:quay.io/me/os:latest","#, Signature::Unchecked),
            (r#""container-image-reference":"ostree-unverified-image:oci:/var/x","#, Signature::Unchecked),
            (r#""container-image-reference":"docker://quay.io/me/os","#, Signature::Unclear),
            (r#""origin":"fedora:fedora/x86_64/coreos/stable","gpg-enabled":true,"#, Signature::Checked),
            (r#""origin":"fedora:fedora/x86_64/coreos/stable","gpg-enabled":false,"#, Signature::Unchecked),
            (r#""origin":"fedora/x86_64/coreos/stable","gpg-enabled":true,"#, Signature::Unchecked),
            ("", Signature::Unclear),
        ] {
            let status = Deployments::parse(&one(fields)).expect(fields);
            assert_eq!(status.booted().map(Deployment::signature), Some(want), "{fields}");
        }
    }

    #[test]
    fn what_is_no_status_is_a_fault() {
        for (name, text, want) in [
            ("empty", "", "empty"),
            ("other JSON", "[]", "malformed"),
            ("no list", "{}", "malformed"),
            ("an empty list", r#"{"deployments":[]}"#, "incomplete"),
            ("none booted", &one("").replace(r#""booted":true"#, r#""booted":false"#), "incomplete"),
            ("no unlocked", &one("").replace(r#""unlocked":"none","#, ""), "malformed"),
            ("cut", &one("")[..40], "cut-short"),
        ] {
            assert_eq!(Deployments::parse(text).map_err(|fault| fault.kind()), Err(want), "{name}");
        }
        let booted = r#"{"booted":true,"timestamp":1,"checksum":"ab","unlocked":"none"}"#;
        let twice = format!(r#"{{"deployments":[{booted},{booted}]}}"#);
        assert_eq!(Deployments::parse(&twice).map_err(|fault| fault.kind()), Err("incomplete"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_status_or_a_fault(text in "(?s).{0,300}") {
            let _ = Deployments::parse(&text);
        }
    }
}
