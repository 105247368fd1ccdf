//! What has to be asked of a host so that the SSH checks can judge it. The daemon asks this, and the judges check that it was asked: so an answer
//! that is left out is never taken for a good one.

use std::collections::BTreeSet;

use super::read::accounts::Account;
use super::read::sshd::{Connection, Exceptions, Settings, connections};

/// An account that no host has: what sshd says to a stranger.
pub const NOBODY: &str = "eyewall-no-such-account";

/// Addresses that stand for the rest of the world where a `Match Address` could tell them apart: of a pod network as Typhoon lays it, and of
/// the documentation network (RFC 5737).
const ELSEWHERE: [&str; 3] = ["::1", "10.2.0.1", "192.0.2.1"];

/// More accounts with a shell than this are not probed one by one.
pub const MOST_ACCOUNTS: usize = 16;

/// The accounts whose offered methods are asked for: core, root, a stranger, and whoever else can log in.
pub fn probed_accounts(accounts: &[Account]) -> BTreeSet<String> {
    let can_log_in = accounts.iter().filter(|account| account.can_log_in()).map(|account| account.name.clone());
    let always = ["core", "root", NOBODY].map(str::to_owned);
    always.into_iter().chain(can_log_in.take(MOST_ACCOUNTS)).collect()
}

/// The connections that `sshd -T -C` is asked about; `None` if they are too many.
pub fn asked_connections(
    accounts: &[Account],
    addresses: &[String],
    exceptions: &Exceptions,
) -> Option<Vec<Connection>> {
    let addresses: BTreeSet<String> = addresses.iter().cloned().chain(ELSEWHERE.map(str::to_owned)).collect();
    connections(&probed_accounts(accounts), &addresses, exceptions)
}

/// Where keys of an account may lie, as paths with `*` for any name: what sshd reads by its settings, and the places where keys are wont to be put
/// though this sshd may not read them.
pub fn key_files(account: &Account, settings: &Settings) -> BTreeSet<String> {
    let configured = settings.all("authorizedkeysfile").flat_map(str::split_whitespace);
    let usual = [".ssh/authorized_keys", ".ssh/authorized_keys2", ".ssh/authorized_keys.d/*"];
    configured
        .chain(usual)
        .filter(|pattern| *pattern != "none")
        .map(|pattern| {
            let path = pattern
                .replace("%%", "\u{0}")
                .replace("%h", &account.home)
                .replace("%u", &account.name)
                .replace("%U", &account.uid.to_string())
                .replace('\u{0}', "%");
            if path.starts_with('/') { path } else { format!("{}/{path}", account.home.trim_end_matches('/')) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posture::read::accounts::passwd;

    #[test]
    fn keys_are_looked_for_where_sshd_looks_and_where_people_put_them() {
        let accounts = passwd("core:x:500:500::/home/core:/bin/bash\n").expect("passwd");
        let options = "port 22\npermitrootlogin no\npubkeyauthentication yes\npasswordauthentication no\nkbdinteractiveauthentication no\n\
                       permitemptypasswords no\nusepam yes\n";
        for (value, want) in [
            (".ssh/authorized_keys", "/home/core/.ssh/authorized_keys"),
            ("/etc/keys/%u-%U%%", "/etc/keys/core-500%"),
            ("%h/.ssh/k .x", "/home/core/.x"),
            ("none", "/home/core/.ssh/authorized_keys.d/*"),
        ] {
            let settings = Settings::parse(&format!("{options}authorizedkeysfile {value}\n")).expect("settings");
            let files = key_files(&accounts[0], &settings);
            assert!(files.contains(want), "{value}: {files:?}");
            assert!(!files.contains("/home/core/none"));
        }
    }

    #[test]
    fn strangers_are_probed_too() {
        let accounts =
            passwd("core:x:500:500::/home/core:/bin/bash\nbackup:x:34:34::/:/bin/sh\nbin:x:1:1::/bin:/sbin/nologin\n")
                .expect("passwd");
        let probed = probed_accounts(&accounts);
        assert_eq!(probed.iter().map(String::as_str).collect::<Vec<_>>(), ["backup", "core", NOBODY, "root"]);
    }
}
