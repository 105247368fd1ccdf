//! What the running sshd said when it was asked over the wire.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::{ADDRESSES, Addresses, KEYTAB};
use super::{accounts, harmless_because, keys};
use crate::posture::ssh_plan::probed_accounts;
use crate::posture::{Grade, Item, Judged, Seen, Severity, Source, Unseen};

/// The methods that sshd offers after a request for `none`: a [`MethodsAnswer`]; the member is the account.
pub const METHODS: Source = Source::record("probe:ssh-none:*");
/// Which of some keys sshd would take for core: a [`KeyAnswer`].
pub const QUERIED_KEYS: Source = Source::record("probe:ssh-keys");
/// The host key that was proved on port 22 of an address: a [`HostKeyAnswer`]; the member is the address.
pub const HOST_KEY: Source = Source::record("probe:ssh-host-key:*");
/// This host's keys: a [`HostKeys`].
pub const HOST_KEYS: Source = Source::record("node:ssh-host-keys");
/// How the TCP listeners greet that can be reached from outside: a [`Banners`].
pub const BANNERS: Source = Source::record("probe:ssh-banners");

/// An answer that is older than this tells nothing of now: probes come hourly, and with each change.
const STALE: Duration = Duration::from_secs(6 * 3_600);

/// How sshd answered a request for `none`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodsAnswer {
    /// The methods that can continue; `None` if it did not come so far.
    pub methods: Option<Vec<String>>,
    /// `none` alone was enough. The connection was closed at once.
    pub let_in: bool,
    /// The version that it announced.
    pub software: Option<String>,
    /// Why it did not come so far, for people.
    pub trouble: Option<String>,
}

/// How sshd answered queries about keys (RFC 4252 section 7: without a signature, so no private key is needed).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyAnswer {
    /// Fingerprints of the keys that were offered for core, the fresh one left out.
    pub offered: Vec<String>,
    /// Those of them that would be taken.
    pub accepted: Vec<String>,
    /// Whether a key that was made for the probe and lies nowhere would be taken.
    pub fresh_accepted: bool,
    /// Why it did not come so far, for people.
    pub trouble: Option<String>,
}

/// Which host key was proved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostKeyAnswer {
    /// The key, if the exchange came so far.
    pub key: Option<HostKey>,
    /// Nobody listens on that address.
    pub refused: bool,
    /// Why it did not come so far, for people.
    pub trouble: Option<String>,
}

/// A host key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostKey {
    /// `ssh-ed25519`
    pub kind: String,
    /// `SHA256:…`
    pub fingerprint: String,
}

/// `/etc/ssh/ssh_host_*_key.pub`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostKeys {
    /// In the order of the files.
    pub keys: Vec<HostKey>,
}

/// Greetings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Banners {
    /// Every TCP listener that was tried: not bound to loopback, and no TLS or HTTP port of Kubernetes that is known by its owner.
    pub tried: Vec<Banner>,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Banner {
    /// `0.0.0.0`
    pub address: String,
    /// Its port.
    pub port: u16,
    /// It greeted with `SSH-`.
    pub ssh: bool,
}

/// The record of a probe that is not stale.
fn fresh<T: serde::de::DeserializeOwned>(seen: &Seen<'_>, item: Item<'_>) -> Result<T, Unseen> {
    let record = item.record()?;
    let age = seen.looked_at(item.id).and_then(|at| seen.now().0.duration_since(at.0).ok()).unwrap_or_default();
    if age > STALE {
        Err(item.malformed("It is hours old: see in the journal why probes do not run."))
    } else {
        Ok(record)
    }
}

pub(super) fn methods(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let mut found: Vec<(Severity, &'static str, String)> = Vec::new();
    let (mut unseen, mut offered, mut facts) = (None, BTreeSet::new(), Vec::new());
    let openable = accounts::openable(seen);
    let keytab = seen.if_there(seen.stat(&KEYTAB));
    // If it cannot be told whether a password method is harmless, it is not.
    let harmless = openable.as_ref().ok().and_then(|openable| harmless_because(seen, openable));
    for item in seen.family(&METHODS)? {
        let answer: MethodsAnswer = match fresh(seen, item) {
            Ok(answer) => answer,
            Err(fault) => {
                unseen = unseen.or(Some(fault));
                continue;
            }
        };
        let user = item.name;
        if answer.let_in {
            found.push((Severity::Critical, "let-in", format!("{user}: none is enough")));
            continue;
        }
        let Some(methods) = answer.methods.filter(|methods| !methods.is_empty()) else {
            let trouble = answer.trouble.unwrap_or_else(|| "sshd named no methods".to_owned());
            unseen = unseen.or(Some(item.malformed(format!("sshd did not say which methods it offers: {trouble}."))));
            continue;
        };
        facts.push((user.to_owned(), methods.join(",")));
        for method in methods {
            let kind = match method.as_str() {
                "publickey" => None,
                "password" => Some("password-offered"),
                "keyboard-interactive" if harmless.is_some() => None,
                "keyboard-interactive" => Some("keyboard-interactive-offered"),
                gssapi if gssapi.starts_with("gssapi") => match &keytab {
                    Ok(None) => None,
                    _ => Some("gssapi-offered"),
                },
                _ => Some("another-method-offered"),
            };
            if let Some(kind) = kind {
                found.push((Severity::High, kind, format!("{user}: {method}")));
            }
            offered.insert(method);
        }
    }
    let judged = if let Some((severity, kind, what)) = found.iter().max_by_key(|(severity, _, _)| *severity) {
        Judged::fail(
            kind,
            format!(
                "The running sshd lets in, or offers to, otherwise than by key ({what}): look at its command line and its files, and restart it."
            ),
        )
        .raised_to(*severity)
    } else {
        if let Some(unseen) = unseen {
            return Err(unseen);
        }
        openable?;
        keytab?;
        for account in probed_accounts(&accounts::accounts(seen)?) {
            seen.member(&METHODS, &account)?;
        }
        match harmless.filter(|_| offered.contains("keyboard-interactive")) {
            Some(because) => Judged::pass(
                Grade::HoldsOnlyBecause(because.to_owned()),
                "keyboard-interactive-without-passwords",
                "sshd offers keyboard-interactive, which asks PAM for a password. It lets nobody in only because no account has one: forbid it \
                 with `KbdInteractiveAuthentication no`.",
            ),
            None => Judged::pass(Grade::ProvedByBehaviour, "keys-only", "The running sshd offers keys only."),
        }
    };
    Ok(facts.into_iter().fold(judged, |judged, (user, methods)| judged.fact(&user, methods)))
}

pub(super) fn accepted_keys(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let item = seen.one(&QUERIED_KEYS)?;
    let answer: KeyAnswer = fresh(seen, item)?;
    if answer.fresh_accepted {
        return Ok(Judged::fail(
            "any-key-accepted",
            "sshd would take a key for core that was made a moment ago and lies nowhere: look for AuthorizedKeysCommand, TrustedUserCAKeys and \
             for another program on port 22.",
        )
        .raised_to(Severity::Critical));
    }
    let on_disk: BTreeSet<String> = keys::keys(seen)?
        .into_iter()
        .filter(|(file, _, _)| file.account == "core")
        .flat_map(|(_, keys, _)| keys.into_iter().map(|key| key.fingerprint))
        .collect();
    let strange: Vec<&String> = answer.accepted.iter().filter(|key| !on_disk.contains(*key)).collect();
    if let Some(key) = strange.first() {
        return Ok(Judged::fail(
            "key-accepted-that-is-gone",
            format!("sshd still takes {key}, which is in no file of core's: look where it comes from (AuthorizedKeysCommand, a copy elsewhere)."),
        )
        .facts("key", strange));
    }
    if let Some(trouble) = answer.trouble {
        return Err(item.malformed(format!("The keys could not be offered: {trouble}.")));
    }
    let refused: Vec<&String> = on_disk.iter().filter(|key| !answer.accepted.contains(key)).collect();
    let unasked = refused.iter().find(|key| !answer.offered.contains(key));
    if let Some(key) = unasked {
        return Err(item.malformed(format!("{key} is on disk, and sshd was not asked about it.")));
    }
    let judged = match refused.first() {
        Some(_) => Judged::pass(
            Grade::ProvedByBehaviour,
            "some-refused",
            format!(
                "sshd takes {} of core's {} keys and no fresh one; it refuses the rest (see its log: modes, or another file).",
                answer.accepted.len(),
                on_disk.len()
            ),
        ),
        None => Judged::pass(
            Grade::ProvedByBehaviour,
            "own-keys-only",
            format!("sshd takes core's {} keys, and no fresh one.", on_disk.len()),
        ),
    };
    Ok(judged.facts("accepted", &answer.accepted).facts("refused", refused))
}

pub(super) fn host_key(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let known: HostKeys = seen.record(&HOST_KEYS)?;
    if known.keys.is_empty() {
        return Err(seen.one(&HOST_KEYS)?.malformed("The host has no host key."));
    }
    let (mut impostors, mut unseen, mut facts) = (Vec::new(), None, Vec::new());
    for item in seen.family(&HOST_KEY)? {
        match fresh::<HostKeyAnswer>(seen, item) {
            Ok(HostKeyAnswer { key: Some(key), .. }) => {
                facts.push((item.name, format!("{} {}", key.kind, key.fingerprint)));
                if !known.keys.contains(&key) {
                    impostors.push(item.name);
                }
            }
            // sshd may listen on some addresses only; on loopback it must answer, or nothing is proved.
            Ok(HostKeyAnswer { refused: true, .. }) if item.name != "127.0.0.1" => {
                facts.push((item.name, "nobody listens".to_owned()))
            }
            Ok(answer) => {
                let trouble = answer.trouble.unwrap_or_else(|| "nobody listens".to_owned());
                unseen = unseen.or(Some(item.malformed(format!("No host key was proved there: {trouble}."))));
            }
            Err(fault) => unseen = unseen.or(Some(fault)),
        }
    }
    let judged = if let Some(address) = impostors.first() {
        Judged::fail(
            "another-server",
            format!(
                "What answers on port 22 of {address} has none of this host's keys: another program, or a DNAT rule such as a pod's hostPort \
                 (`nft list ruleset`)."
            ),
        )
        .raised_to(Severity::Critical)
    } else {
        if let Some(unseen) = unseen {
            return Err(unseen);
        }
        let addresses: Addresses = seen.record(&ADDRESSES)?;
        for address in addresses.addresses.iter().map(String::as_str).chain(["127.0.0.1"]) {
            seen.member(&HOST_KEY, address)?;
        }
        Judged::pass(Grade::ProvedByBehaviour, "own-key", "This host's own sshd answers on port 22 of each address.")
    };
    Ok(facts.into_iter().fold(judged, |judged, (address, what)| judged.fact(address, what)))
}
