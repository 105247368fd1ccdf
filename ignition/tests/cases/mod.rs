#![allow(dead_code, reason = "each test file uses some of it")]
//! What the golden files and the Butane sources are made of, and where they lie.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eyewall_ignition::{Binary, Options, Os, Platform, Role};
use ignition_config::v3_3::{Config, File};

/// Set to rewrite the golden files and the Butane sources instead of comparing them.
pub const WRITE: &str = "EYEWALL_WRITE_GOLDEN";

/// Where releases lie. The hash is what the operator fills in: an all-zero one matches no binary, so a fragment that
/// was not filled in fails at the first boot instead of running what nobody checked.
pub fn binary() -> Binary {
    Binary::Url {
        url: "https://github.com/eyewall/eyewall/releases/download/v0.1.0/eyewall-x86_64".to_owned(),
        sha512: "0".repeat(128),
    }
}

/// A fragment with nothing but what must be given.
pub fn plain(os: Os, role: Role, platform: Platform) -> Options {
    Options {
        os,
        role,
        platform,
        binary: binary(),
        config_file: None,
        bootstrap_kubeconfig: None,
        name: None,
        images: Vec::new(),
    }
}

/// A file of this crate.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The file of this path.
pub fn file<'a>(config: &'a Config, path: &str) -> &'a File {
    let files = config.storage.as_ref().and_then(|storage| storage.files.as_deref());
    files.unwrap_or_default().iter().find(|file| file.path == path).unwrap_or_else(|| panic!("no {path}"))
}

/// What a file's `data:` URL holds (RFC 2397).
pub fn content(file: &File) -> Vec<u8> {
    let source = file.contents.as_ref().and_then(|contents| contents.source.as_deref());
    let url = source.and_then(|source| source.strip_prefix("data:")).expect("a data: URL");
    let (kind, data) = url.split_once(',').expect("a comma");
    if kind.ends_with(";base64") {
        return STANDARD.decode(data).unwrap();
    }
    let mut bytes = data.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    out
}
