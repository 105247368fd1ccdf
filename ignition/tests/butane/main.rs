//! The Butane sources say what the fragments say: the same paths, modes, contents, units, masks and drop-ins.
//!
//! Butane itself is not needed: its YAML is read here key by key (a key that this reader does not know is a failure), with
//! its own rules for `inline` and `source`, and snippets are merged as Ignition merges them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking, in its helpers too"
)]

#[path = "../cases/mod.rs"]
mod cases;
mod write;

use std::collections::BTreeMap;

use eyewall_ignition::{Os, Platform, Role, fragment};
use ignition_config::v3_3::Config;
use serde::Deserialize;

/// What a host is told, without the order in which it is told.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    /// Path and mode.
    directories: BTreeMap<String, Option<i64>>,
    files: BTreeMap<String, ToldFile>,
    units: BTreeMap<String, ToldUnit>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct ToldFile {
    mode: Option<i64>,
    overwrite: Option<bool>,
    /// The text itself, or the URL and the hash that it must have.
    content: String,
    hash: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct ToldUnit {
    contents: Option<String>,
    enabled: Option<bool>,
    mask: Option<bool>,
    dropins: BTreeMap<String, String>,
}

impl Told {
    fn by(config: &Config) -> Self {
        let mut told = Self::default();
        for directory in config.storage.iter().flat_map(|s| s.directories.iter().flatten()) {
            told.directories.insert(directory.path.clone(), directory.mode);
        }
        for file in config.storage.iter().flat_map(|s| s.files.iter().flatten()) {
            let contents = file.contents.as_ref().unwrap();
            let source = contents.source.as_ref().unwrap();
            let content = if source.starts_with("data:") {
                String::from_utf8(cases::content(file)).unwrap()
            } else {
                source.clone()
            };
            let told_file = ToldFile {
                mode: file.mode,
                overwrite: file.overwrite,
                content,
                hash: contents.verification.as_ref().and_then(|v| v.hash.clone()),
            };
            assert!(told.files.insert(file.path.clone(), told_file).is_none(), "{} twice", file.path);
        }
        for unit in config.systemd.iter().flat_map(|s| s.units.iter().flatten()) {
            let told_unit = ToldUnit {
                contents: unit.contents.clone(),
                enabled: unit.enabled,
                mask: unit.mask,
                dropins: unit
                    .dropins
                    .iter()
                    .flatten()
                    .map(|dropin| (dropin.name.clone(), dropin.contents.clone().unwrap()))
                    .collect(),
            };
            assert!(told.units.insert(unit.name.clone(), told_unit).is_none(), "{} twice", unit.name);
        }
        told
    }

    /// Ignition's merge of a child over its parent: by path and name; what the child does not say stays.
    fn merge(mut self, child: Self) -> Self {
        self.directories.extend(child.directories);
        self.files.extend(child.files);
        for (name, child) in child.units {
            let unit = self.units.entry(name).or_default();
            unit.contents = child.contents.or(unit.contents.take());
            unit.enabled = child.enabled.or(unit.enabled);
            unit.mask = child.mask.or(unit.mask);
            unit.dropins.extend(child.dropins);
        }
        self
    }
}

/// The parts of Butane's `fcos` 1.4.0 and `flatcar` 1.0.0 that the sources use. Both make Ignition 3.3.0.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Butane {
    variant: String,
    version: String,
    #[serde(default)]
    storage: Storage,
    #[serde(default)]
    systemd: Systemd,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Storage {
    #[serde(default)]
    directories: Vec<Directory>,
    #[serde(default)]
    files: Vec<File>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Directory {
    path: String,
    mode: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    path: String,
    mode: String,
    overwrite: bool,
    contents: Contents,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    inline: Option<String>,
    source: Option<String>,
    verification: Option<Verification>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Verification {
    hash: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Systemd {
    units: Vec<Unit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unit {
    name: String,
    enabled: Option<bool>,
    mask: Option<bool>,
    contents: Option<String>,
    #[serde(default)]
    dropins: Vec<Dropin>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dropin {
    name: String,
    contents: String,
}

/// Reads one source, of this system's variant.
fn butane(name: &str, os: Os) -> Told {
    let text = std::fs::read_to_string(cases::path("butane").join(name))
        .unwrap_or_else(|error| panic!("{name}: {error}; {}=1 writes it", cases::WRITE));
    let source: Butane = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!((source.variant.as_str(), source.version.as_str()), variant(os), "{name}");
    let mut told = Told::default();
    // Octal with a leading zero, as Butane's reader (YAML 1.1) takes it.
    let octal = |mode: &str| {
        let digits = mode.strip_prefix('0').unwrap_or_else(|| panic!("{name}: mode {mode}"));
        Some(i64::from_str_radix(digits, 8).unwrap())
    };
    for directory in source.storage.directories {
        told.directories.insert(directory.path, octal(&directory.mode));
    }
    for file in source.storage.files {
        let (content, hash) = match (file.contents.inline, file.contents.source) {
            (Some(text), None) => (text, None),
            (None, Some(url)) => (url, file.contents.verification.map(|v| v.hash)),
            _ => panic!("{name}: {}: inline or source", file.path),
        };
        let told_file = ToldFile { mode: octal(&file.mode), overwrite: Some(file.overwrite), content, hash };
        assert!(told.files.insert(file.path, told_file).is_none(), "{name}: a path twice");
    }
    for unit in source.systemd.units {
        let told_unit = ToldUnit {
            contents: unit.contents,
            enabled: unit.enabled,
            mask: unit.mask,
            dropins: unit.dropins.into_iter().map(|d| (d.name, d.contents)).collect(),
        };
        assert!(told.units.insert(unit.name, told_unit).is_none(), "{name}: a unit twice");
    }
    told
}

fn variant(os: Os) -> (&'static str, &'static str) {
    match os {
        Os::Fcos => ("fcos", "1.4.0"),
        Os::Flatcar => ("flatcar", "1.0.0"),
        Os::Generic => unreachable!("Butane knows no generic host"),
    }
}

fn fragment_of(os: Os, role: Role, platform: Platform) -> Told {
    Told::by(&fragment(&cases::plain(os, role, platform)).unwrap())
}

/// The platforms that need a snippet over the role's. The others need none.
const SNIPPETS: [Platform; 3] = [Platform::Aws, Platform::DigitalOcean, Platform::Metal];

#[test]
fn the_sources_say_what_the_fragments_say() {
    if std::env::var_os(cases::WRITE).is_some() {
        write::all();
    }
    let mut read = 0;
    for os in [Os::Fcos, Os::Flatcar] {
        for role in [Role::Worker, Role::Controller] {
            let base = butane(&format!("{os}-{role}.yaml"), os);
            assert_eq!(base, fragment_of(os, role, Platform::Azure), "{os}-{role}.yaml");
            read += 1;
            for platform in SNIPPETS {
                let snippet = butane(&format!("{os}-{platform}.yaml"), os);
                let merged = base.clone().merge(snippet);
                assert_eq!(merged, fragment_of(os, role, platform), "{os}-{role} with {platform}");
            }
        }
        read += SNIPPETS.len();
    }
    assert_eq!(std::fs::read_dir(cases::path("butane")).unwrap().count(), read, "a source of no case");
}

/// So that the test above means something.
#[test]
fn a_difference_is_seen() {
    let told = fragment_of(Os::Fcos, Role::Worker, Platform::Azure);
    assert_ne!(told, fragment_of(Os::Fcos, Role::Controller, Platform::Azure), "a role");
    assert_ne!(told, fragment_of(Os::Fcos, Role::Worker, Platform::Metal), "a platform");
    assert_ne!(told, fragment_of(Os::Flatcar, Role::Worker, Platform::Azure), "a system");
    let mut other = told.clone();
    other.files.get_mut("/opt/bin/eyewall").unwrap().mode = Some(0o644);
    assert_ne!(told, other, "a mode");
}
