//! The accounts of the host's own files.

use std::collections::BTreeMap;

use crate::posture::read::accounts::{self, Account, Group, Password, keep_group, keep_passwd, keep_shadow};
use crate::posture::{Grade, Judged, Seen, Severity, Source, Unseen};

/// The accounts.
pub const PASSWD: Source = Source::rewritten("file:/etc/passwd", keep_passwd);
/// Those that the OS brings (nss-altfiles on Fedora CoreOS).
pub const PASSWD_OF_OS: Source = Source::rewritten("file:/usr/lib/passwd", keep_passwd);
/// The class of each password. Fedora's file has mode 0000: reading it takes CAP_DAC_READ_SEARCH even for root.
pub const SHADOW: Source = Source::rewritten("file:/etc/shadow", keep_shadow);
/// The groups.
pub const GROUP: Source = Source::rewritten("file:/etc/group", keep_group);
/// Those that the OS brings.
pub const GROUP_OF_OS: Source = Source::rewritten("file:/usr/lib/group", keep_group);
/// Drop-in user records.
pub const USERDB_ETC: Source = Source::listing("list:/etc/userdb");
/// The same for this boot.
pub const USERDB_RUN: Source = Source::listing("list:/run/userdb");

/// Groups whose members can become root without a password of root's: by sudo, by the container runtime's socket, by the disk itself.
const LIKE_ROOT: [&str; 8] = ["root", "sudo", "wheel", "docker", "podman", "disk", "shadow", "lxd"];

/// Every account, `/etc` first: where both files have a name, the first counts (nsswitch.conf: files, then altfiles).
pub(super) fn accounts(seen: &Seen<'_>) -> Result<Vec<Account>, Unseen> {
    let own = seen.one(&PASSWD)?;
    let mut accounts = accounts::passwd(own.text()?).map_err(|fault| own.malformed(format!("{fault}.")))?;
    let os = seen.one(&PASSWD_OF_OS)?;
    if let Some(text) = seen.if_there(os.text())? {
        let more = accounts::passwd(text).map_err(|fault| os.malformed(format!("{fault}.")))?;
        let new: Vec<Account> =
            more.into_iter().filter(|account| accounts.iter().all(|a| a.name != account.name)).collect();
        accounts.extend(new);
    }
    match accounts.iter().any(|account| account.name == "root") {
        true => Ok(accounts),
        false => Err(own.malformed("It has no account root.")),
    }
}

/// What each account can be opened with.
fn classes(seen: &Seen<'_>) -> Result<Vec<(Account, Password)>, Unseen> {
    let item = seen.one(&SHADOW)?;
    let shadow: BTreeMap<String, Password> =
        accounts::shadow(item.text()?).map_err(|fault| item.malformed(format!("{fault}.")))?;
    if !shadow.contains_key("root") {
        return Err(item.malformed("It has no entry for root."));
    }
    let class = |account: Account| {
        let class = match &account.password {
            // No entry: there is nothing that a password could match.
            Password::Shadowed => shadow.get(&account.name).cloned().unwrap_or(Password::Locked),
            own => own.clone(),
        };
        (account, class)
    };
    Ok(accounts(seen)?.into_iter().map(class).collect())
}

/// The accounts that a password, or none, opens: name, and `empty` or the kind of hash.
pub(super) fn openable(seen: &Seen<'_>) -> Result<Vec<String>, Unseen> {
    let name = |(account, class): (Account, Password)| match class {
        Password::Empty => Some(format!("{} (empty)", account.name)),
        Password::Usable(kind) => Some(format!("{} ({kind})", account.name)),
        Password::Locked | Password::Shadowed => None,
    };
    Ok(classes(seen)?.into_iter().filter_map(name).collect())
}

pub(super) fn passwords(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let classes = classes(seen)?;
    let allowed: Vec<&str> = seen.allowed().collect();
    let of = |wanted: fn(&Password) -> bool| -> Vec<&str> {
        classes.iter().filter(|(_, class)| wanted(class)).map(|(account, _)| account.name.as_str()).collect()
    };
    let empty = of(|class| *class == Password::Empty);
    let (known, set): (Vec<&str>, Vec<&str>) =
        of(|class| matches!(class, Password::Usable(_))).into_iter().partition(|name| allowed.contains(name));
    let judged = if let Some(name) = empty.first() {
        Judged::fail(
            "empty-password",
            format!(
                "The account {name} needs no password at all: whoever asks is in. Lock it now (`passwd --lock {name}`)."
            ),
        )
        .raised_to(Severity::Critical)
    } else if let Some(name) = set.first() {
        Judged::fail(
            "password-set",
            format!(
                "The account {name} has a password, so keys are not the only way in: lock it (`passwd --lock {name}`), or allow it in [posture] \
                 expect."
            ),
        )
    } else {
        Judged::pass(
            Grade::Configured,
            "all-locked",
            format!("None of {} accounts can be opened with a password.", classes.len()),
        )
    };
    Ok(judged
        .facts("empty", &empty)
        .facts("password", &set)
        .facts("allowed", &known)
        .fact("accounts", classes.len().to_string()))
}

pub(super) fn only_root(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let accounts = accounts(seen)?;
    let others: Vec<&str> =
        accounts.iter().filter(|account| account.uid == 0 && account.name != "root").map(|a| a.name.as_str()).collect();
    let judged = match others.first() {
        Some(name) => Judged::fail(
            "second-root",
            format!(
                "The account {name} has the user number 0: it is root under another name. Find out who made it, and remove it."
            ),
        ),
        None => Judged::pass(Grade::Configured, "one-root", "Only root has the user number 0."),
    };
    Ok(judged.facts("account", &others).fact("accounts", accounts.len().to_string()))
}

pub(super) fn shells(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let accounts = accounts(seen)?;
    let allowed: Vec<&str> = seen.allowed().chain(["root", "core"]).collect();
    let others: Vec<String> = accounts
        .iter()
        .filter(|account| account.can_log_in() && !allowed.contains(&account.name.as_str()))
        .map(|account| format!("{} {}", account.name, account.shell))
        .collect();
    let judged = match others.first() {
        Some(first) => Judged::fail(
            "another-shell",
            format!(
                "An account beside core and root gets a shell ({first}): take it away, or allow the account in [posture] expect."
            ),
        ),
        None => Judged::pass(Grade::Configured, "core-only", "Only core and root get a shell."),
    };
    Ok(judged.facts("account", &others))
}

pub(super) fn groups(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let accounts = accounts(seen)?;
    let allowed: Vec<&str> = seen.allowed().chain(["root", "core"]).collect();
    let own = seen.one(&GROUP)?;
    let mut groups: Vec<Group> = accounts::group(own.text()?).map_err(|fault| own.malformed(format!("{fault}.")))?;
    let os = seen.one(&GROUP_OF_OS)?;
    if let Some(text) = seen.if_there(os.text())? {
        groups.extend(accounts::group(text).map_err(|fault| os.malformed(format!("{fault}.")))?);
    }
    if !groups.iter().any(|group| group.name == "root" && group.gid == 0) {
        return Err(own.malformed("It has no group root."));
    }
    let mut others = Vec::new();
    let mut core = Vec::new();
    for group in groups.iter().filter(|group| LIKE_ROOT.contains(&group.name.as_str()) || group.gid == 0) {
        let by_first_group = accounts.iter().filter(|account| account.gid == group.gid && account.uid != 0);
        // System accounts have such a group as their first without any way to log in (sync, operator).
        let by_first_group = by_first_group.filter(|account| account.can_log_in()).map(|account| account.name.as_str());
        for member in group.members.iter().map(String::as_str).chain(by_first_group) {
            if !allowed.contains(&member) {
                others.push(format!("{member} in {}", group.name));
            } else if member == "core" {
                core.push(group.name.as_str());
            }
        }
    }
    let judged = match others.first() {
        Some(first) => Judged::fail(
            "another-member",
            format!(
                "An account beside core is in a group that amounts to root ({first}): take it out, or allow it in [posture] expect."
            ),
        ),
        None => Judged::pass(
            Grade::Configured,
            "core-only",
            "Only core is in groups that amount to root: a login as core is one as root.",
        ),
    };
    Ok(judged.facts("member", &others).facts("core-in", &core))
}

pub(super) fn userdb(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let allowed: Vec<&str> = seen.allowed().collect();
    let mut records = Vec::new();
    for source in [&USERDB_ETC, &USERDB_RUN] {
        let item = seen.one(source)?;
        let entries = seen.if_there(item.listing())?.unwrap_or_default();
        if let Some(entry) = entries.iter().find(|entry| entry.name.chars().any(char::is_control)) {
            return Err(item.malformed(format!("It has an entry {:?}.", entry.name)));
        }
        // A record has a link by number beside it; privileged parts are of their own.
        let users =
            entries.iter().filter(|entry| entry.name.ends_with(".user") || entry.name.ends_with(".user-privileged"));
        let users = users.filter(|entry| !allowed.contains(&entry.name.as_str()));
        records.extend(users.map(|entry| format!("{}/{}", source.id.trim_start_matches("list:"), entry.name)));
    }
    let judged = match records.first() {
        Some(record) => Judged::fail(
            "record",
            format!(
                "{record} is an account that is not in /etc/passwd: find out who put it there, or allow it in [posture] expect."
            ),
        ),
        None => Judged::pass(Grade::Configured, "no-record", "No account comes from a drop-in record."),
    };
    Ok(judged.facts("record", &records))
}
