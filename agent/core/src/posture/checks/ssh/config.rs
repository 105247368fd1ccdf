//! What sshd's files resolve to, asked of sshd for every connection that a `Match` could tell apart.

use serde::{Deserialize, Serialize};

use super::{accounts, harmless_because};
use crate::posture::read::sshd::{Exceptions, Settings};
use crate::posture::ssh_plan::asked_connections;
use crate::posture::{Grade, Judged, Seen, Source, Unseen};

/// `sshd -T -C …`; the member is the value of `-C`.
pub const EFFECTIVE: Source = Source::text("exec:sshd-T:*");
/// The main file.
pub const SSHD_CONFIG: Source = Source::text("file:/etc/ssh/sshd_config");
/// The names of its drop-ins.
pub const DROP_INS: Source = Source::listing("list:/etc/ssh/sshd_config.d");
/// The drop-ins; the member is the file's name.
pub const DROP_IN: Source = Source::text("file:/etc/ssh/sshd_config.d/*");
/// The node's own addresses: an [`Addresses`].
pub const ADDRESSES: Source = Source::record("netlink:addresses");
/// Whether the host has a Kerberos identity, without which GSSAPI lets nobody in.
pub const KEYTAB: Source = Source::stat("stat:/etc/krb5.keytab");

/// The node's own addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addresses {
    /// Global ones of the host's own interfaces, loopback and pods' interfaces left out; sorted.
    pub addresses: Vec<String>,
}

/// Files that the OS includes and in which no `Match` stands.
const KNOWN_INCLUDES: [&str; 4] = [
    "/etc/ssh/sshd_config.d/*.conf",
    "sshd_config.d/*.conf",
    "/etc/crypto-policies/back-ends/opensshserver.config",
    "/usr/lib/ssh/sshd_config.d/*.conf",
];

/// Options whose value is right or wrong by itself: name, right values (the first is advised), the kind of the finding.
const RIGHT: [(&str, &[&str], &str); 7] = [
    ("passwordauthentication", &["no"], "password-authentication"),
    ("permitemptypasswords", &["no"], "empty-passwords"),
    ("hostbasedauthentication", &["no"], "host-based"),
    ("kerberosauthentication", &["no"], "kerberos"),
    ("permitrootlogin", &["prohibit-password", "without-password", "forced-commands-only", "no"], "root-login"),
    ("permituserenvironment", &["no"], "user-environment"),
    ("trustedusercakeys", &["none"], "trusted-ca"),
];

/// Programs that give sshd its keys: FCOS's reads `~/.ssh/authorized_keys.d`, for which the keys are looked at anyway.
const KEY_COMMANDS: [&str; 2] = ["none", "/usr/libexec/ssh-key-dir"];

/// Where keys may be read from, relative to the home.
const KEY_FILES: [&str; 5] = [
    ".ssh/authorized_keys",
    ".ssh/authorized_keys2",
    ".ssh/authorized_keys.d/*",
    ".ssh/authorized_keys.d/ignition",
    ".ssh/authorized_keys.d/afterburn",
];

/// The exceptions that the files make.
fn exceptions(seen: &Seen<'_>) -> Result<Exceptions, Unseen> {
    let mut exceptions = Exceptions::default();
    let main = seen.one(&SSHD_CONFIG)?;
    exceptions.add(main.text()?).map_err(|fault| main.malformed(format!("{fault}.")))?;
    let entries = seen.if_there(seen.listing(&DROP_INS))?.unwrap_or_default();
    if let Some(entry) = entries.iter().find(|entry| entry.name.chars().any(char::is_control)) {
        return Err(seen.one(&DROP_INS)?.malformed(format!("It has an entry {:?}.", entry.name)));
    }
    for entry in entries.iter().filter(|entry| entry.name.ends_with(".conf")) {
        let item = seen.member(&DROP_IN, &entry.name)?;
        let text = item.text()?;
        if !text.trim().is_empty() {
            exceptions.add(text).map_err(|fault| item.malformed(format!("{fault}.")))?;
        }
    }
    match exceptions.includes.iter().find(|include| !KNOWN_INCLUDES.contains(&include.as_str())) {
        Some(include) => Err(main.malformed(format!(
            "It includes {include:?}, which is not looked at, so a Match in there would be overlooked: put it into /etc/ssh/sshd_config.d."
        ))),
        None => Ok(exceptions),
    }
}

pub(super) fn judge(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let accounts = accounts::accounts(seen)?;
    let openable = accounts::openable(seen)?;
    let keytab = seen.if_there(seen.stat(&KEYTAB))?.is_some();
    // What was asked is judged before what was not: a finding for one connection stands.
    let mut findings: Vec<(&'static str, String)> = Vec::new();
    let mut unseen = None;
    let mut interactive = false;
    let asked = seen.family(&EFFECTIVE)?;
    for item in &asked {
        let settings =
            item.text().and_then(|text| Settings::parse(text).map_err(|fault| item.malformed(format!("{fault}."))));
        match settings {
            Ok(settings) => {
                interactive |= settings.get("kbdinteractiveauthentication") == Some("yes");
                let found = wrong(&settings, keytab, harmless_because(seen, &openable).is_some());
                findings.extend(found.into_iter().map(|(kind, what)| (kind, format!("{}: {what}", item.name))));
            }
            Err(fault) => unseen = unseen.or(Some(fault)),
        }
    }
    if let Some((kind, first)) = findings.first() {
        return Ok(Judged::fail(
            kind,
            format!(
                "sshd would let in otherwise than by key ({first}): set it right in a drop-in that sorts before the one that sets it, because the \
                 first value wins, and reload sshd."
            ),
        )
        .facts("setting", findings.iter().map(|(_, what)| what)));
    }
    if let Some(unseen) = unseen {
        return Err(unseen);
    }
    let addresses: Addresses = seen.record(&ADDRESSES)?;
    let exceptions = exceptions(seen)?;
    let Some(wanted) = asked_connections(&accounts, &addresses.addresses, &exceptions) else {
        return Ok(Judged::unknown(
            "too-many-exceptions",
            "The Match lines make more cases than are asked about: use fewer of them.",
        ));
    };
    for connection in &wanted {
        seen.member(&EFFECTIVE, &connection.specification())?.text()?;
    }
    let judged = match harmless_because(seen, &openable).filter(|_| interactive) {
        Some(because) => Judged::pass(
            Grade::HoldsOnlyBecause(because.to_owned()),
            "keyboard-interactive-without-passwords",
            "sshd offers keyboard-interactive, which asks PAM for a password. It lets nobody in only because no account has one: forbid it with \
             `KbdInteractiveAuthentication no`.",
        ),
        None => Judged::pass(Grade::Configured, "keys-only", "sshd's files let in by key only."),
    };
    Ok(judged
        .fact("connections-asked", asked.len().to_string())
        .fact("match-lines", exceptions.matches.len().to_string())
        .fact("keyboard-interactive", interactive.to_string()))
}

/// What is wrong in the settings of one connection.
fn wrong(settings: &Settings, keytab: bool, interactive_is_harmless: bool) -> Vec<(&'static str, String)> {
    let mut wrong = Vec::new();
    for (name, right, kind) in RIGHT {
        // An option that this sshd does not have cannot be set wrong.
        if let Some(value) = settings.get(name).filter(|value| !right.contains(value)) {
            wrong.push((kind, format!("{name} {value}")));
        }
    }
    if settings.get("kbdinteractiveauthentication") != Some("no") && !interactive_is_harmless {
        wrong.push(("keyboard-interactive", "kbdinteractiveauthentication yes".to_owned()));
    }
    if keytab && settings.get("gssapiauthentication") == Some("yes") {
        wrong.push(("gssapi", "gssapiauthentication yes, and the host has a keytab".to_owned()));
    }
    if let Some(methods) = settings.get("authenticationmethods").filter(|methods| *methods != "any") {
        let without_key = |list: &&str| !list.split(',').any(|method| method.starts_with("publickey"));
        if let Some(list) = methods.split_whitespace().find(without_key) {
            wrong.push(("authentication-methods", format!("authenticationmethods {list}")));
        }
    }
    if let Some(command) = settings.get("authorizedkeyscommand") {
        let program = command.split_whitespace().next().unwrap_or_default();
        if !KEY_COMMANDS.contains(&program) {
            wrong.push(("keys-command", format!("authorizedkeyscommand {program}")));
        }
    }
    if let Some(command) = settings.get("authorizedprincipalscommand").filter(|command| *command != "none") {
        wrong.push(("principals-command", format!("authorizedprincipalscommand {command}")));
    }
    let files = settings.all("authorizedkeysfile").flat_map(str::split_whitespace);
    let strange = files.filter(|file| *file != "none" && !KEY_FILES.contains(&file.trim_start_matches("%h/")));
    wrong.extend(strange.map(|file| ("keys-file", format!("authorizedkeysfile {file}"))));
    wrong
}
