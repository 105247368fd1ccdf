//! Is a cluster's credential in a node's user data? The user data is an Ignition config as a rule, and anything else is searched as a text.
//!
//! Nothing of it is kept: what comes out is where a credential was found, and the SHA-256 of a bootstrap token's id (which is not the secret
//! half; RBAC and the token's Secret name it openly).

use std::io::Read as _;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::ReadFault;
use crate::cert::hex;
use crate::secret::Secret;

/// AWS allows 16 KiB, Azure 64 KiB, GCP 256 KiB, DigitalOcean 64 KiB.
pub const LARGEST: usize = 512 * 1024;
/// What all parts together may unfold to. Larger is not looked at: a bomb of a few KiB unfolds to gigabytes.
pub const UNFOLDED: usize = 8 * 1024 * 1024;
/// A config in a config in a config: Ignition allows it, nobody does it.
const DEPTH: u8 = 4;

/// Where the cluster's credential lies on a node.
pub const KUBECONFIG: &str = "/etc/kubernetes/kubeconfig";

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// `none`, `ignition`, or `text` for anything else.
    pub form: Form,
    /// The file for [`KUBECONFIG`] is written from here.
    pub kubeconfig: bool,
    /// The parts (a file's path, a unit's name) in which a bootstrap token stands.
    pub tokens_in: Vec<String>,
    /// SHA-256 of the first token's id (its six characters), lower-case hex.
    pub token_id_sha256: Option<String>,
    /// The parts in which a private key stands.
    pub keys_in: Vec<String>,
    /// The parts in which a key of a cloud account stands: DigitalOcean's and AWS' have a form of their own.
    pub accounts_in: Vec<String>,
    /// The configs and the kubeconfig that are fetched from elsewhere: what they hold is not in the user data, and not known.
    pub elsewhere: Vec<String>,
    /// The parts that could not be decoded.
    pub undecodable: Vec<String>,
}

/// What kind of user data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// There is none.
    #[default]
    None,
    /// An Ignition config.
    Ignition,
    /// Something else.
    Text,
}

impl Contents {
    /// Is a credential in it?
    pub fn has_credential(&self) -> bool {
        self.kubeconfig || !self.tokens_in.is_empty() || !self.keys_in.is_empty()
    }

    /// Was everything seen?
    pub fn is_whole(&self) -> bool {
        self.elsewhere.is_empty() && self.undecodable.is_empty()
    }
}

/// Ignition's config, versions 2 and 3, as far as contents go.
#[derive(Deserialize)]
struct Config {
    ignition: Head,
    #[serde(default)]
    storage: Storage,
    #[serde(default)]
    systemd: Systemd,
}

#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    config: Others,
}

#[derive(Deserialize, Default)]
struct Others {
    /// Version 3.
    #[serde(default)]
    merge: Vec<Resource>,
    /// Version 2.
    #[serde(default)]
    append: Vec<Resource>,
    replace: Option<Resource>,
}

#[derive(Deserialize, Default)]
struct Storage {
    #[serde(default)]
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    path: String,
    #[serde(default)]
    contents: Resource,
    /// Version 3: a list. (Version 2 has a flag of that name.)
    #[serde(default)]
    append: Appended,
}

#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Appended {
    Resources(Vec<Resource>),
    #[expect(dead_code, reason = "only its shape is of interest: it is no list")]
    Flag(bool),
    #[default]
    Nothing,
}

#[derive(Deserialize, Default)]
struct Resource {
    source: Option<Secret>,
    compression: Option<String>,
}

#[derive(Deserialize, Default)]
struct Systemd {
    #[serde(default)]
    units: Vec<Unit>,
}

#[derive(Deserialize)]
struct Unit {
    name: String,
    contents: Option<Secret>,
    #[serde(default)]
    dropins: Vec<Dropin>,
}

#[derive(Deserialize)]
struct Dropin {
    name: String,
    contents: Option<Secret>,
}

/// Looks through user data, gzip or plain.
///
/// # Errors
/// [`ReadFault::TooLarge`], or a gzip that cannot be unpacked. Text of any other kind is no fault: it is searched.
pub fn look(bytes: &[u8]) -> Result<Contents, ReadFault> {
    if bytes.len() > LARGEST {
        return Err(ReadFault::TooLarge(LARGEST));
    }
    let mut search = Search { found: Contents::default(), left: UNFOLDED };
    let unpacked = match bytes {
        [0x1f, 0x8b, ..] => Some(search.unpack(bytes)?),
        _ => None,
    };
    let bytes = unpacked.as_ref().map_or(bytes, |unpacked| unpacked.as_slice());
    let text = String::from_utf8_lossy(bytes);
    if text.trim().is_empty() {
        return Ok(search.found);
    }
    match serde_json::from_str::<Config>(&text) {
        Ok(config) => {
            search.found.form = Form::Ignition;
            search.config(config, "", DEPTH);
        }
        Err(_) => {
            search.found.form = Form::Text;
            search.text("the user data", &text);
            search.found.kubeconfig = text.contains(KUBECONFIG);
            // An Ignition config that is cut short, or of a version to come: its files are encoded, so nothing was seen.
            if text.trim_start().starts_with('{') {
                search.found.undecodable.push("the user data".to_owned());
            }
        }
    }
    Ok(search.found)
}

struct Search {
    found: Contents,
    left: usize,
}

impl Search {
    fn config(&mut self, config: Config, within: &str, depth: u8) {
        let others = config.ignition.config;
        for (index, other) in others.merge.into_iter().chain(others.append).chain(others.replace).enumerate() {
            let place = format!("{within}config {}", index + 1);
            if let Some(decoded) = self.resource(&other, &place, true) {
                match serde_json::from_slice::<Config>(&decoded) {
                    Ok(inner) if depth > 0 => self.config(inner, &format!("{place}: "), depth - 1),
                    _ => self.found.undecodable.push(place),
                }
            }
        }
        for file in config.storage.files {
            let place = format!("{within}{}", file.path);
            let is_kubeconfig = file.path == KUBECONFIG;
            let appended = match file.append {
                Appended::Resources(list) => list,
                Appended::Flag(_) | Appended::Nothing => Vec::new(),
            };
            for resource in std::iter::once(file.contents).chain(appended) {
                if let Some(decoded) = self.resource(&resource, &place, is_kubeconfig) {
                    self.found.kubeconfig |= is_kubeconfig && !decoded.trim_ascii().is_empty();
                    self.text(&place, &String::from_utf8_lossy(&decoded));
                }
            }
        }
        for unit in config.systemd.units {
            if let Some(contents) = &unit.contents {
                self.text(&format!("{within}{}", unit.name), contents.expose());
            }
            for dropin in &unit.dropins {
                if let Some(contents) = &dropin.contents {
                    self.text(&format!("{within}{}.d/{}", unit.name, dropin.name), contents.expose());
                }
            }
        }
    }

    /// The content of a resource that stands in the config itself. One that is elsewhere is remembered if it `matters`.
    fn resource(&mut self, resource: &Resource, place: &str, matters: bool) -> Option<Zeroizing<Vec<u8>>> {
        let source = resource.source.as_ref()?.expose();
        if source.is_empty() {
            return None;
        }
        let Some(data) =
            source.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("data:")).and_then(|_| source.get(5..))
        else {
            if matters {
                self.found.elsewhere.push(place.to_owned());
            }
            return None;
        };
        let decoded = decode(data).and_then(|bytes| match resource.compression.as_deref() {
            None | Some("") => Some(bytes),
            Some("gzip") => self.unpack(&bytes).ok(),
            Some(_) => None,
        });
        if decoded.is_none() {
            self.found.undecodable.push(place.to_owned());
        }
        decoded
    }

    fn unpack(&mut self, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, ReadFault> {
        let mut unpacked = Zeroizing::new(Vec::new());
        let limit = u64::try_from(self.left).unwrap_or(u64::MAX).saturating_add(1);
        let mut reader = flate2::bufread::MultiGzDecoder::new(bytes).take(limit);
        reader.read_to_end(&mut unpacked).map_err(|_| ReadFault::Malformed { format: "gzip", line: 0 })?;
        self.left = self.left.checked_sub(unpacked.len()).ok_or(ReadFault::TooLarge(UNFOLDED))?;
        Ok(unpacked)
    }

    /// Searches a text for what must not be told: only its place is kept.
    fn text(&mut self, place: &str, text: &str) {
        if let Some(id) = bootstrap_token_id(text) {
            self.found.tokens_in.push(place.to_owned());
            self.found.token_id_sha256.get_or_insert_with(|| hex(&Sha256::digest(id.as_bytes())));
        }
        if text.contains("PRIVATE KEY-----") || text.contains("client-key-data:") {
            self.found.keys_in.push(place.to_owned());
        }
        if has_account_key(text) {
            self.found.accounts_in.push(place.to_owned());
        }
    }
}

/// DigitalOcean's tokens (`dop_v1_` and the like, then 64 hex digits), AWS' access key ids (`AKIA` or `ASIA`, then 16 capitals and digits),
/// and the files of Google's service accounts.
fn has_account_key(text: &str) -> bool {
    let follows = |prefix: &str, length: usize, is: fn(&u8) -> bool| {
        text.match_indices(prefix).any(|(at, _)| {
            let bytes = text.as_bytes();
            let from = at + prefix.len();
            let alone =
                at.checked_sub(1).and_then(|before| bytes.get(before)).is_none_or(|b| !b.is_ascii_alphanumeric());
            let ends = bytes.get(from + length).is_none_or(|b| !b.is_ascii_alphanumeric());
            alone && ends && bytes.get(from..from + length).is_some_and(|key| key.iter().all(is))
        })
    };
    let capital: fn(&u8) -> bool = |b| b.is_ascii_uppercase() || b.is_ascii_digit();
    ["dop_v1_", "doo_v1_", "dor_v1_"].iter().any(|prefix| follows(prefix, 64, u8::is_ascii_hexdigit))
        || ["AKIA", "ASIA"].iter().any(|prefix| follows(prefix, 16, capital))
        || text.contains("\"type\": \"service_account\"")
        || text.contains("\"type\":\"service_account\"")
}

/// The id of the first bootstrap token in a text: `[a-z0-9]{6}.[a-z0-9]{16}` that stands by itself (Kubernetes
/// `bootstrap/token/api`). A part that is letters only or has a longer neighbour is a host name, not a token.
pub fn bootstrap_token_id(text: &str) -> Option<&str> {
    let part = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let joins = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/');
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(dot) = bytes.get(from..)?.iter().position(|b| *b == b'.') {
        let dot = from + dot;
        from = dot + 1;
        let Some(start) = dot.checked_sub(6) else { continue };
        let (Some(id), Some(secret)) = (bytes.get(start..dot), bytes.get(dot + 1..dot + 17)) else { continue };
        let before = start.checked_sub(1).and_then(|at| bytes.get(at));
        let after = bytes.get(dot + 17);
        let whole = !before.is_some_and(joins) && !after.is_some_and(joins);
        if whole && id.iter().all(part) && secret.iter().all(part) {
            return text.get(start..dot);
        }
    }
    None
}

/// The content of a data URL after `data:` (RFC 2397): percent-encoded, and base64 if it says so.
fn decode(url: &str) -> Option<Zeroizing<Vec<u8>>> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let (kind, data) = url.split_once(',')?;
    let mut plain = Zeroizing::new(Vec::with_capacity(data.len()));
    let mut rest = data.as_bytes();
    while let [first, more @ ..] = rest {
        if *first != b'%' {
            plain.push(*first);
            rest = more;
            continue;
        }
        let digits = std::str::from_utf8(more.get(..2)?).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        plain.push(u8::from_str_radix(digits, 16).ok()?);
        rest = more.get(2..)?;
    }
    if kind.rsplit(';').next().is_some_and(|last| last.trim().eq_ignore_ascii_case("base64")) {
        plain.retain(|b| !b.is_ascii_whitespace());
        return LENIENT.decode(plain.as_slice()).ok().map(Zeroizing::new);
    }
    Some(plain)
}

#[cfg(test)]
mod tests;
