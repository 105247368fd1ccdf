//! The operating systems eyewall knows, each a constant. Adding one is adding a constant and its line in [`ALL`].

use std::collections::BTreeMap;

use crate::config::OsChoice;
use crate::kubelet::{DOCKER, PODMAN, Runtime};

/// What differs between the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Os {
    /// kebab-case; as in `node.os` and in status.
    pub id: &'static str,
    /// For people.
    pub label: &'static str,
    /// The container runtimes it may have, the one it is made for first.
    pub runtimes: &'static [Runtime],
    /// How it mounts the host into the kubelet's container.
    pub selinux: Selinux,
    /// `ID` of `/etc/os-release`; empty for any.
    release_id: &'static str,
    /// `VARIANT_ID`; empty for any.
    variant_id: &'static str,
}

/// What an OS does with SELinux (Typhoon's security page: enforcing on Fedora CoreOS, permissive on Flatcar).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selinux {
    /// It enforces: the container's mounts are relabelled, and the policy is mounted.
    Enforcing,
    /// It has one that does not enforce: Typhoon mounts and relabels nothing there.
    Permissive,
    /// Every host as it was set up.
    AsFound,
}

impl Selinux {
    /// What `/sys/fs/selinux/enforce` and `/etc/selinux/config` should say; `None` where the OS promises nothing.
    pub fn expected(self) -> Option<&'static str> {
        match self {
            Self::Enforcing => Some("enforcing"),
            Self::Permissive => Some("permissive"),
            Self::AsFound => None,
        }
    }
}

/// Fedora CoreOS.
pub const FCOS: Os = Os {
    id: "fcos",
    label: "Fedora CoreOS",
    // docker is there too, but masked: it is not for the node's own containers.
    runtimes: &[PODMAN, DOCKER],
    selinux: Selinux::Enforcing,
    release_id: "fedora",
    variant_id: "coreos",
};

/// Flatcar Container Linux.
pub const FLATCAR: Os = Os {
    id: "flatcar",
    label: "Flatcar Container Linux",
    // podman only as a system extension that somebody added.
    runtimes: &[DOCKER, PODMAN],
    selinux: Selinux::Permissive,
    release_id: "flatcar",
    variant_id: "",
};

/// Any other host with systemd.
pub const GENERIC: Os = Os {
    id: "generic",
    label: "a systemd host",
    runtimes: &[PODMAN, DOCKER],
    selinux: Selinux::AsFound,
    release_id: "",
    variant_id: "",
};

/// Every OS; the first that fits is the host's, and [`GENERIC`] fits all.
pub const ALL: [Os; 3] = [FCOS, FLATCAR, GENERIC];

/// The OS that `choice` (`node.os`) names; for `auto`, that of `os_release`, the text of `/etc/os-release`.
pub fn choose(choice: OsChoice, os_release: &str) -> &'static Os {
    match choice {
        OsChoice::Auto => detect(os_release),
        OsChoice::Fcos => &FCOS,
        OsChoice::Flatcar => &FLATCAR,
        OsChoice::Generic => &GENERIC,
    }
}

/// The OS whose `/etc/os-release` this is. A text that says nothing is a generic host's.
pub fn detect(os_release: &str) -> &'static Os {
    let fields = parse_release(os_release);
    let says = |field: &str, wanted: &str| wanted.is_empty() || fields.get(field).is_some_and(|value| value == wanted);
    ALL.iter().find(|os| says("ID", os.release_id) && says("VARIANT_ID", os.variant_id)).unwrap_or(&GENERIC)
}

/// The fields of os-release(5): `NAME=value` lines as a shell would assign them. What is no assignment is passed over, the last of two wins.
pub fn parse_release(text: &str) -> BTreeMap<&str, String> {
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.trim().split_once('=')?;
            let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            (!name.is_empty() && name.bytes().all(is_name)).then(|| (name, unquote(value)))
        })
        .collect()
}

/// Takes off one pair of quotes, and the backslashes where the shell would.
fn unquote(value: &str) -> String {
    let inner = |quote: char| value.strip_prefix(quote).and_then(|v| v.strip_suffix(quote));
    if let Some(literal) = inner('\'') {
        return literal.to_owned();
    }
    let mut unquoted = String::with_capacity(value.len());
    let mut characters = inner('"').unwrap_or(value).chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => unquoted.extend(characters.next()),
            other => unquoted.push(other),
        }
    }
    unquoted
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEDORA_COREOS: &str = r#"NAME="Fedora Linux"
VERSION="43.20260601.3.0 (CoreOS)"
ID=fedora
VERSION_ID=43
VARIANT="CoreOS"
VARIANT_ID=coreos
OSTREE_VERSION='43.20260601.3.0'
"#;

    #[test]
    fn the_host_is_known_by_its_release() {
        for (name, release, want) in [
            ("Fedora CoreOS", FEDORA_COREOS, "fcos"),
            ("Flatcar", "NAME=\"Flatcar Container Linux by Kinvolk\"\nID=flatcar\nID_LIKE=coreos\n", "flatcar"),
            ("Fedora that is not CoreOS", "ID=fedora\nVARIANT_ID=server\n", "generic"),
            ("CoreOS that is not Fedora", "ID=rhel\nVARIANT_ID=coreos\n", "generic"),
            ("quoted", "ID=\"fedora\"\nVARIANT_ID='coreos'\n", "fcos"),
            ("the last wins", "ID=debian\nID=flatcar\n", "flatcar"),
            ("Debian", "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\n", "generic"),
            ("commented out", "#ID=flatcar\n # ID=flatcar\nX ID=flatcar\n", "generic"),
            ("nothing", "", "generic"),
            ("garbage", "=\n\"\nID\n\u{0}=flatcar", "generic"),
        ] {
            assert_eq!(detect(release).id, want, "{name}");
            assert_eq!(choose(OsChoice::Auto, release).id, want, "{name}");
            assert_eq!(choose(OsChoice::Flatcar, release), &FLATCAR, "{name}, fixed");
        }
    }

    #[test]
    fn values_are_read_as_a_shell_would() {
        for (line, want) in [
            ("A=b", "b"),
            ("A=\"b c\"", "b c"),
            ("A='b\\c'", "b\\c"),
            ("A=\"b\\\"c\\$\"", "b\"c$"),
            ("A=", ""),
            ("A=\"\"", ""),
            ("A=\"", "\""),
            ("A=b=c", "b=c"),
            ("A=b\\", "b"),
        ] {
            let fields = parse_release(line);
            assert_eq!(fields.get("A").map(String::as_str), Some(want), "{line}");
        }
    }

    #[test]
    fn ids_are_unique_and_each_os_has_a_runtime() {
        for (index, os) in ALL.iter().enumerate() {
            assert!(ALL[..index].iter().all(|other| other.id != os.id), "{}", os.id);
            assert!(!os.runtimes.is_empty(), "{}", os.id);
        }
    }
}
