//! How the host was booted, and how it will be: the kernel's command line, and the entries of the boot loader.

use super::read::authorized_keys::parse_line;
use super::read::kernel_line::KernelLine;
use super::{Item, Seen, Source, Unseen};

/// This boot's command line.
pub const CMDLINE: Source = Source::rewritten("file:/proc/cmdline", keep);
/// The names of the boot loader's entries (Boot Loader Specification; Fedora CoreOS has these).
pub const ENTRIES: Source = Source::listing("list:/boot/loader/entries");
/// The entries; the member is the file's name.
pub const ENTRY: Source = Source::rewritten("file:/boot/loader/entries/*", keep_entry);
/// Where Flatcar's boot loader takes further arguments from.
pub const OEM_GRUB: Source = Source::rewritten("file:/oem/grub.cfg", keep_grub);

/// What stands in the place of a value that is not kept.
pub const KEPT_OUT: &str = "(kept out)";
/// Words without a value that are kept: those that a check reads, and those that most hosts have.
const KEPT_WORDS: &[&str] = &[
    "ro",
    "rw",
    "quiet",
    "debug",
    "rhgb",
    "splash",
    "nomodeset",
    "nosmt",
    "single",
    "s",
    "S",
    "1",
    "2",
    "3",
    "4",
    "5",
    "rescue",
    "emergency",
    "-b",
];
/// Names of which at least one is on every command line of a host that boots from a disk or a network.
const ANCHORS: [&str; 8] = ["BOOT_IMAGE", "root", "initrd", "mount.usr", "ostree", "console", "ro", "rw"];

/// Whose values are kept: the checks read them, and none is a secret.
const KEPT: &[&str] = &[
    "BOOT_IMAGE",
    "autorelabel",
    "console",
    "coreos.autologin",
    "coreos.oem.id",
    "enforcing",
    "flatcar.autologin",
    "flatcar.first_boot",
    "flatcar.oem.id",
    "ignition.firstboot",
    "ignition.platform.id",
    "init",
    "initrd",
    "lockdown",
    "lsm",
    "mount.usr",
    "mount.usrflags",
    "ostree",
    "rd.break",
    "rd.systemd.debug_shell",
    "rd.systemd.unit",
    "rdinit",
    "root",
    "rootflags",
    "security",
    "selinux",
    "systemd.debug_shell",
    "systemd.default_debug_tty",
    "systemd.mask",
    "systemd.ssh_auto",
    "systemd.ssh_listen",
    "systemd.unified_cgroup_hierarchy",
    "systemd.unit",
    "systemd.wants",
    "usr",
    "verity.usr",
    "verity.usrhash",
];

/// `-` and `_` are one in a name, as for the kernel and systemd.
fn same(known: &str, name: &str) -> bool {
    let unify = |b: u8| if b == b'-' { b'_' } else { b };
    known.bytes().map(unify).eq(name.bytes().map(unify))
}

/// The arguments of one boot.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Where they are from: a source's id.
    pub source: String,
    line: KernelLine,
}

impl Boot {
    /// Is it there, with or without a value?
    pub fn has(&self, name: &str) -> bool {
        self.line.arguments().iter().any(|(known, _)| same(known, name))
    }

    /// Its last value, which is the one that counts; empty without a `=`.
    pub fn last(&self, name: &str) -> Option<&str> {
        let found = self.line.arguments().iter().rev().find(|(known, _)| same(known, name))?;
        Some(found.1.as_deref().unwrap_or(""))
    }

    /// Every argument in order: its name, and its value (empty without one).
    pub fn arguments(&self) -> impl Iterator<Item = (&str, &str)> {
        self.line.arguments().iter().map(|(name, value)| (name.as_str(), value.as_deref().unwrap_or("")))
    }

    fn of(item: Item<'_>, text: &str, anchored: bool) -> Result<Self, Unseen> {
        let line = KernelLine::parse(text).map_err(|fault| item.malformed(format!("{fault}.")))?;
        let boot = Self { source: item.id.to_owned(), line };
        let is_line = !text.trim().chars().any(char::is_control) && (!anchored || ANCHORS.iter().any(|a| boot.has(a)));
        if is_line { Ok(boot) } else { Err(item.malformed("It is no kernel command line.")) }
    }
}

/// The arguments of this boot.
///
/// # Errors
/// Why they cannot be seen.
pub fn this(seen: &Seen<'_>) -> Result<Boot, Unseen> {
    let item = seen.one(&CMDLINE)?;
    Boot::of(item, item.text()?, true)
}

/// The arguments of every boot that may come next: each entry of the boot loader, and what Flatcar's OEM partition adds. A check that
/// asks for these declares [`ENTRIES`] and [`OEM_GRUB`] as possibly absent, and [`ENTRY`] as possibly without members.
///
/// # Errors
/// Why they cannot be seen: an entry that is listed and was not read is one reason, no trace of any boot loader another.
pub fn next(seen: &Seen<'_>) -> Result<Vec<Boot>, Unseen> {
    let mut boots = Vec::new();
    let listing = seen.if_there(seen.listing(&ENTRIES))?;
    let entries = listing.unwrap_or_default().iter().filter(|entry| entry.name.ends_with(".conf"));
    if listing.is_some() && entries.clone().next().is_none() {
        return Err(seen.one(&ENTRIES)?.malformed("It is there, but no entry is in it."));
    }
    for entry in entries {
        let item = seen.member(&ENTRY, &entry.name)?;
        let options: Vec<&str> = item.text()?.lines().filter_map(|line| line.strip_prefix("options")).collect();
        if options.is_empty() {
            return Err(item.malformed("It has no line with options."));
        }
        boots.push(Boot::of(item, &options.join(" "), true)?);
    }
    let grub = seen.one(&OEM_GRUB)?;
    if let Some(text) = seen.if_there(grub.text())? {
        let appended = appended(text);
        if !appended.is_empty() {
            boots.push(Boot::of(grub, &appended, false)?);
        } else if !text.lines().all(|line| line.trim().is_empty() || line.starts_with('#')) {
            return Err(grub.malformed("It sets no linux_append."));
        }
    } else if boots.is_empty() && seen.expect.os.id != crate::os::FLATCAR.id {
        // On Flatcar the arguments are built into the image where nothing adds to them.
        return Err(seen
            .one(&ENTRIES)?
            .malformed("There is no boot loader entry, so the next boot's arguments are not known."));
    }
    Ok(boots)
}

/// What `set linux_append="…"` and its kin add, in order.
fn appended(grub: &str) -> String {
    grub.lines()
        .filter_map(|line| {
            let (name, value) = line.trim().strip_prefix("set ")?.trim_start().split_once('=')?;
            matches!(name, "linux_append" | "linux_console" | "linux_root").then(|| value.trim().trim_matches('"'))
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// A command line of which only known values are kept: others may hold a URL with a password, a LUKS key, a credential.
pub fn keep(text: &str) -> String {
    let Ok(line) = KernelLine::parse(text) else { return String::new() };
    let kept = |(name, value): &(String, Option<String>)| match value {
        None if !KEPT_WORDS.contains(&name.as_str()) && !KEPT.iter().any(|kept| same(name, kept)) => {
            KEPT_OUT.to_owned()
        }
        None => name.clone(),
        Some(value) if KEPT.iter().any(|kept| same(name, kept)) => {
            if value.contains(char::is_whitespace) {
                format!("{name}=\"{value}\"")
            } else {
                format!("{name}={value}")
            }
        }
        // Flatcar takes a public key from here; which one is worth knowing.
        Some(key) if name == "sshkey" => match parse_line(key) {
            Some(key) => format!("{name}=\"{} {}\"", key.kind, key.fingerprint),
            None if key.split(' ').any(|word| word.starts_with("SHA256:")) => format!("{name}=\"{key}\""),
            None => format!("{name}=\"{KEPT_OUT}\""),
        },
        Some(_) => format!("{name}=\"{KEPT_OUT}\""),
    };
    line.arguments().iter().map(kept).collect::<Vec<_>>().join(" ")
}

/// Of a boot loader entry the options, kept as a command line is, and what names it.
pub fn keep_entry(text: &str) -> String {
    const NAMES: [&str; 5] = ["title", "version", "linux", "initrd", "sort-key"];
    let line = |line: &str| {
        let (key, value) = line.trim_end().split_once([' ', '\t'])?;
        match key {
            "options" => Some(format!("options {}\n", keep(value))),
            key if NAMES.contains(&key) => Some(format!("{key} {}\n", value.trim_start())),
            _ => None,
        }
    };
    text.lines().filter_map(line).collect()
}

/// Of GRUB's script only what adds to the command line.
pub fn keep_grub(text: &str) -> String {
    let appended = appended(text);
    if appended.is_empty() {
        return "# nothing is added to the command line\n".to_owned();
    }
    // The quotes of kept values would end the script's own.
    format!("set linux_append=\"{}\"\n", keep(&appended).replace('"', ""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_known_values_are_kept() {
        let text = "root=/dev/sda ignition.config.url=https://u:hunter2@x/ sshkey=\"ssh-rsa AAAA me\" rd.luks.key=k quiet console=ttyS0";
        let kept = keep(text);
        assert_eq!(
            kept,
            "root=/dev/sda ignition.config.url=\"(kept out)\" sshkey=\"(kept out)\" rd.luks.key=\"(kept out)\" quiet console=ttyS0"
        );
        assert_eq!(keep(&kept), kept, "keeping twice changes nothing");
        assert_eq!(
            keep_entry("title Fedora CoreOS\nversion 2\noptions root=UUID=1 x=hunter2\n"),
            "title Fedora CoreOS\nversion 2\noptions root=UUID=1 x=\"(kept out)\"\n"
        );
        let grub = "set oem_id=\"qemu\"\nset linux_append=\"flatcar.autologin x=hunter2\"\n";
        assert_eq!(keep_grub(grub), "set linux_append=\"flatcar.autologin x=(kept out)\"\n");
        assert_eq!(appended(&keep_grub(grub)), "flatcar.autologin x=(kept out)");
        assert!(appended(&keep_grub("set oem_id=x")).is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "\\PC{0,200}|(?s:.{0,80})") {
            prop_assert!(keep(&text).len() <= text.len() * 20 + 20);
            let _ = keep_entry(&text);
            let _ = keep_grub(&format!("set linux_append={text}"));
        }

        /// Whatever is around it, the value of a name that is not known does not come through.
        #[test]
        fn no_secret_is_kept(before in "[a-z =\"]{0,20}", after in "[a-z =\"]{0,20}") {
            let text = format!("{before} rd.luks.key=hunter2 {after}");
            // Inside of quotes it is part of another argument's value, which is one that is kept.
            prop_assume!(before.matches('"').count() % 2 == 0);
            prop_assert!(!keep(&text).contains("hunter2"), "{}", keep(&text));
        }
    }
}
