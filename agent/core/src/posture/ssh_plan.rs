//! What has to be asked of a host so that the SSH checks can judge it. The daemon asks this, and the judges check that it was asked: so an answer
//! that is left out is never taken for a good one.

use std::collections::BTreeSet;

use super::checks::listeners::SOCKETS;
use super::checks::ssh::{ADDRESSES, AUTHORIZED_KEYS, BANNERS, Banners, EFFECTIVE, HOST_KEYS, KEY_FILES, SHADOW, SSHD};
use super::evidence::{Capture, Evidence};
use super::read::accounts::Account;
use super::read::sock_diag::{Protocol, Sockets};
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

/// Is sshd to be asked anew over the wire, because of the sources `news`? What it answered is old when it was loaded anew, when its files, the
/// keys, the passwords or the host's addresses changed, and when there is a listener whose greeting nobody has read, or one less.
pub fn asks_anew(news: &BTreeSet<&str>, evidence: &Evidence) -> bool {
    let of_sshd = [&EFFECTIVE, &SSHD, &HOST_KEYS, &KEY_FILES, &AUTHORIZED_KEYS, &SHADOW, &ADDRESSES];
    of_sshd.iter().any(|source| news.contains(source.id))
        || (news.contains(SOCKETS.id) && greeted(evidence) != Some(listening(evidence)))
}

/// The listeners that were asked for their greeting; `None` if none was ever.
fn greeted(evidence: &Evidence) -> Option<BTreeSet<(String, u16)>> {
    let Banners { tried } = record(evidence, BANNERS.id)?;
    Some(tried.into_iter().map(|banner| (banner.address, banner.port)).collect())
}

/// The TCP listeners that can be reached from outside.
fn listening(evidence: &Evidence) -> BTreeSet<(String, u16)> {
    let Some(Sockets { sockets }) = record(evidence, SOCKETS.id) else { return BTreeSet::new() };
    let tcp = sockets.into_iter().filter(|socket| socket.protocol == Protocol::Tcp && !socket.address.is_loopback());
    tcp.map(|socket| (socket.address.to_string(), socket.port)).collect()
}

fn record<T: serde::de::DeserializeOwned>(evidence: &Evidence, id: &str) -> Option<T> {
    match evidence.get(id)? {
        Capture::Record(value) => T::deserialize(value).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posture::Host;
    use crate::posture::checks::ssh::Banner;
    use crate::posture::read::accounts::passwd;
    use crate::posture::read::sock_diag::SocketView;
    use crate::time::Time;

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

    #[test]
    fn sshd_is_asked_anew_when_its_answer_is_old() {
        let host = Host { name: None, os: "generic".to_owned(), role: "worker".to_owned(), boot_id: None };
        let evidence = |listening: &[(&str, u16)], greeted: Option<&[(&str, u16)]>| {
            let mut evidence = Evidence::new(host.clone(), Time::from_unix(0));
            let socket = |(address, port): &(&str, u16)| SocketView {
                protocol: Protocol::Tcp,
                address: address.parse().expect("an address"),
                port: *port,
                uid: 0,
                cgroup: None,
            };
            evidence.put(
                SOCKETS.id,
                None,
                Capture::record(&Sockets { sockets: listening.iter().map(socket).collect() }),
            );
            if let Some(greeted) = greeted {
                let banner =
                    |(address, port): &(&str, u16)| Banner { address: (*address).to_owned(), port: *port, ssh: true };
                evidence.put(
                    BANNERS.id,
                    None,
                    Capture::record(&Banners { tried: greeted.iter().map(banner).collect() }),
                );
            }
            evidence
        };
        let (ssh, second) = (("0.0.0.0", 22), ("0.0.0.0", 2222));
        let same = evidence(&[ssh, ("127.0.0.1", 9_000)], Some(&[ssh]));
        for (name, news, evidence, want) in [
            ("nothing", &[][..], &same, false),
            ("another file", &["file:/etc/os-release"][..], &same, false),
            ("a reload", &["proc:sshd"][..], &same, true),
            ("a setting", &["exec:sshd-T:*"][..], &same, true),
            ("a password", &["file:/etc/shadow"][..], &same, true),
            ("a key", &["file:authorized-keys:*"][..], &same, true),
            ("a passing socket", &["netlink:sockets"][..], &same, false),
            ("a new listener", &["netlink:sockets"][..], &evidence(&[ssh, second], Some(&[ssh])), true),
            ("a listener less", &["netlink:sockets"][..], &evidence(&[ssh], Some(&[ssh, second])), true),
            ("nobody ever listened", &["netlink:sockets"][..], &evidence(&[ssh], None), true),
        ] {
            assert_eq!(asks_anew(&news.iter().copied().collect(), evidence), want, "{name}");
        }
    }
}
