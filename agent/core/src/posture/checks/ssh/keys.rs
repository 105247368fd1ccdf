//! Whose keys they are, and who put them there.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::posture::boot;
use crate::posture::read::authorized_keys::{Key, keep, kept};
use crate::posture::{Grade, Judged, Seen, Severity, Source, Unseen};

/// The files that were looked for by [`crate::posture::ssh_plan::key_files`]: a [`KeyFiles`].
pub const KEY_FILES: Source = Source::record("node:authorized-keys");
/// Those that are there; the member is the path.
pub const AUTHORIZED_KEYS: Source = Source::rewritten("file:authorized-keys:*", keep);

/// Every file that holds or could hold keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFiles {
    /// By path; those that are there, globs expanded.
    pub files: Vec<KeyFile>,
    /// The accounts that were looked at.
    pub accounts: Vec<String>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    /// Whose keys.
    pub account: String,
    /// Where.
    pub path: String,
}

/// Who put a key where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Ignition,
    Metadata,
    CommandLine,
    Other,
}

impl Origin {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ignition => "ignition",
            Self::Metadata => "afterburn",
            Self::CommandLine => "command-line",
            Self::Other => "other",
        }
    }

    /// By the name of the file in `authorized_keys.d`: the programs that put keys there each have their own.
    fn of_file(path: &str) -> Self {
        match path.rsplit_once("/.ssh/authorized_keys.d/").map(|(_, name)| name) {
            Some("ignition" | "coreos-ignition") => Self::Ignition,
            // The cloud's metadata, by Afterburn; on Flatcar under its old name.
            Some("afterburn" | "coreos-metadata" | "coreos-cloudinit") => Self::Metadata,
            _ => Self::Other,
        }
    }
}

/// The keys of every file that is there, and the lines that are none.
pub(super) fn keys(seen: &Seen<'_>) -> Result<Vec<(KeyFile, Vec<Key>, usize)>, Unseen> {
    let item = seen.one(&KEY_FILES)?;
    let files: KeyFiles = item.record()?;
    for account in ["core", "root"] {
        if !files.accounts.iter().any(|looked| looked == account) {
            return Err(item.malformed(format!("The keys of {account} were not looked for.")));
        }
    }
    let mut found = Vec::new();
    for file in files.files {
        let item = seen.member(&AUTHORIZED_KEYS, &file.path)?;
        // It went away between the look at the directory and at the file.
        if let Some(text) = seen.if_there(item.text())? {
            let (keys, strange) = kept(text).map_err(|fault| item.malformed(format!("{fault}.")))?;
            found.push((file, keys, strange));
        }
    }
    Ok(found)
}

pub(super) fn judge(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let found = keys(seen)?;
    let allowed: BTreeSet<&str> = seen.allowed().collect();
    let line: BTreeSet<String> = boot::this(seen)?
        .arguments()
        .filter(|(name, _)| *name == "sshkey")
        .filter_map(|(_, value)| Some(value.split(' ').find(|word| word.starts_with("SHA256:"))?.to_owned()))
        .collect();
    // Flatcar merges the files of authorized_keys.d into authorized_keys: a key there has the origin that it has here.
    let origin = |file: &KeyFile, key: &Key| {
        let known = found.iter().filter(|(other, keys, _)| {
            other.account == file.account && keys.iter().any(|k| k.fingerprint == key.fingerprint)
        });
        let origins: Vec<Origin> = known.map(|(other, _, _)| Origin::of_file(&other.path)).collect();
        let own = Origin::of_file(&file.path);
        if own != Origin::Other {
            own
        } else if line.contains(&key.fingerprint) {
            Origin::CommandLine
        } else if file.path.ends_with("/.ssh/authorized_keys") {
            origins.into_iter().find(|origin| *origin != Origin::Other).unwrap_or(Origin::Other)
        } else {
            Origin::Other
        }
    };
    let mut facts = Vec::new();
    let mut worst: Option<(Severity, &'static str, String)> = None;
    let mut report = |severity: Severity, kind: &'static str, what: String| {
        if worst.as_ref().is_none_or(|(known, _, _)| severity > *known) {
            worst = Some((severity, kind, what));
        }
    };
    for (file, keys, strange) in &found {
        for key in keys {
            let origin = origin(file, key);
            let size = if key.bits > 0 { format!(" {}", key.bits) } else { String::new() };
            let options = if key.options.is_empty() { String::new() } else { format!(" {}", key.options) };
            facts.push((
                file.path.clone(),
                format!("{} {}{size} {}{options}", origin.as_str(), key.kind, key.fingerprint),
            ));
            if allowed.contains(key.fingerprint.as_str()) {
                continue;
            }
            let what = format!("{} in {}", key.fingerprint, file.path);
            match file.account.as_str() {
                "root" => report(Severity::Critical, "root-key", what.clone()),
                "core" if origin == Origin::Other => report(Severity::High, "key-of-unknown-origin", what.clone()),
                "core" => {}
                _ => report(Severity::High, "key-of-another-account", what.clone()),
            }
            let authority = key.options.split(',').any(|option| option.eq_ignore_ascii_case("cert-authority"));
            if authority {
                report(Severity::High, "certificate-authority", what.clone());
            }
            if key.kind == "ssh-dss" || (key.kind == "ssh-rsa" && key.bits < 2048) {
                report(Severity::Medium, "weak-key", what);
            }
        }
        if *strange > 0 {
            facts.push((file.path.clone(), format!("{strange} lines that are no key")));
        }
    }
    let judged = match worst {
        Some((severity, kind, what)) => Judged::fail(
            kind,
            format!("There is a key that did not come with the host or opens more than it should ({what}): remove it, or allow its fingerprint in [posture] expect."),
        )
        .raised_to(severity),
        None => {
            let count: usize = found.iter().map(|(_, keys, _)| keys.len()).sum();
            Judged::pass(Grade::Configured, "known-keys", format!("All {count} keys are core's, and came with the host."))
        }
    };
    Ok(facts.into_iter().fold(judged, |judged, (path, what)| judged.fact(&path, what)))
}
