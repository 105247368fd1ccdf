//! The release that runs, by os-release(5), and what asks for a reboot by a file.

use crate::os::parse_release;
use crate::reboot::Release;

/// More packages than anybody reads; the rest is counted by nobody.
const PACKAGES_MAX: usize = 32;

/// Fedora CoreOS: `OSTREE_VERSION`, which is the release's own number; `VERSION` has a word behind it. None: the text names none.
pub fn coreos(os_release: &str) -> Option<Release> {
    named(os_release, &["OSTREE_VERSION", "VERSION"])
}

/// Flatcar: `VERSION` (`4459.2.1`).
pub fn flatcar(os_release: &str) -> Option<Release> {
    named(os_release, &["VERSION", "VERSION_ID"])
}

/// Any other: the image's version where it is one (`IMAGE_VERSION`), else the distribution's; a rolling one has only a name.
pub fn generic(os_release: &str) -> Option<Release> {
    named(os_release, &["IMAGE_VERSION", "BUILD_ID", "VERSION_ID", "PRETTY_NAME"])
}

fn named(os_release: &str, fields: &[&str]) -> Option<Release> {
    let release = parse_release(os_release);
    let version = fields.iter().filter_map(|field| release.get(field)).find_map(|value| {
        // `44.20261110.3.0 (CoreOS)`
        let value = value.split(" (").next().unwrap_or_default().trim();
        (!value.is_empty()).then(|| value.to_owned())
    })?;
    Some(Release { version, checksum: None })
}

/// The packages that `/run/reboot-required.pkgs` names (Debian's update-notifier: one a line, again for each time), each once, in order.
pub fn required(packages: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for line in packages.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if names.len() == PACKAGES_MAX {
            break;
        }
        let name: String = line.chars().filter(|c| !c.is_control()).take(128).collect();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_the_oss_own_number() {
        type Read = fn(&str) -> Option<Release>;
        let fcos = "NAME=\"Fedora Linux\"\nVERSION=\"44.20261110.3.0 (CoreOS)\"\nVERSION_ID=44\nOSTREE_VERSION='44.20261110.3.0'\n";
        let old = "VERSION=\"44.20261110.3.0 (CoreOS)\"\n";
        let flat = "NAME=\"Flatcar Container Linux by Kinvolk\"\nVERSION=4459.2.1\nVERSION_ID=4459.2.1\nBUILD_ID=2026-11-01-2137\n";
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nVERSION_ID=\"13\"\n";
        let sid = "PRETTY_NAME=\"Debian GNU/Linux trixie/sid\"\n";
        for (name, read, text, want) in [
            ("fcos", coreos as Read, fcos, Some("44.20261110.3.0")),
            ("fcos without OSTREE_VERSION", coreos, old, Some("44.20261110.3.0")),
            ("flatcar", flatcar, flat, Some("4459.2.1")),
            ("debian", generic, debian, Some("13")),
            ("rolling", generic, sid, Some("Debian GNU/Linux trixie/sid")),
            ("an empty value", generic, "VERSION_ID=\nPRETTY_NAME=x\n", Some("x")),
            ("nothing", coreos, "", None),
        ] {
            assert_eq!(read(text).map(|release| release.version).as_deref(), want, "{name}");
        }
    }

    #[test]
    fn packages_are_named_once() {
        for (name, text, want) in [
            ("none", "", vec![]),
            ("twice", "linux-image-6.12\nlibc6\n\n libc6 \n", vec!["linux-image-6.12", "libc6"]),
            ("no terminal is driven by it", "a\u{1b}[2Jb\n", vec!["a[2Jb"]),
        ] {
            assert_eq!(required(text), want, "{name}");
        }
        let many: String = (0..1_000).map(|n| format!("package-{n}\n")).collect();
        assert_eq!(required(&many).len(), PACKAGES_MAX);
    }
}
