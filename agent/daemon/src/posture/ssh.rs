//! Asks the sshd that runs, over the wire, what it would let in: the methods that it offers, the keys that it would accept
//! (RFC 4252 section 7: a query without a signature needs no private key), and its host key, whose possession the key
//! exchange proves. The host's own `ssh` speaks the protocol; nothing here does cryptography.
//!
//! Every probe leaves a line in sshd's log ("Connection closed by authenticating user …", before authentication). It comes from an address of
//! its own, so that filters can leave it out, and so that the penalties of OpenSSH 9.8 and later (PerSourcePenalties, on by
//! default) can never lock out anybody else on the loopback interface.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command::{self, CommandFault};

/// Where probes of the loopback address come from: 127.83.72.0/24, which is this host like all of 127.0.0.0/8. Each probe of a round
/// has an address of its own, since sshd adds up its penalties by address.
const SOURCES: [u8; 3] = [127, 83, 72];
/// Keys for one connection: sshd ends it at MaxAuthTries, which is six, and the first is `none`.
pub const KEYS_AT_ONCE: usize = 5;
/// For one probe: a quarter of a second on a node, and two under emulation.
const WITHIN: Duration = Duration::from_secs(15);
/// Where `ssh` is: Fedora CoreOS, Flatcar and Debian have it at the same place.
const PROGRAM: &[&str] = &["/usr/bin/ssh"];
/// Nothing an answer may have is longer.
const WORD_MAX: usize = 200;

/// A probe of one account.
#[derive(Clone, Debug)]
pub struct Probe<'a> {
    /// Where sshd is asked.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// The account; the answer is the same shape whether it exists or not.
    pub user: &'a str,
    /// Files with one public key each, at most [`KEYS_AT_ONCE`].
    pub keys: &'a [PathBuf],
    /// The last part of the address that it comes from, where sshd is asked on the loopback address.
    pub source: u8,
}

/// What sshd said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The version it announces (`SSH-2.0-` is left out).
    pub software: Option<String>,
    /// Type and fingerprint of the host key that it proved to have.
    pub host_key: Option<(String, String)>,
    /// The methods that can continue after `none`; `None`: it did not come so far.
    pub methods: Option<Vec<String>>,
    /// `none` alone let us in: an account without a password. We left at once.
    pub let_in: bool,
    /// Fingerprints of the keys that would be accepted.
    pub accepted: Vec<String>,
    /// Fingerprints of the keys that were offered.
    pub offered: Vec<String>,
    /// What `ssh` says last, for people.
    pub last: String,
}

impl Probe<'_> {
    /// Asks.
    ///
    /// # Errors
    /// [`CommandFault`]: there is no `ssh`, or it does not end.
    pub async fn ask(&self) -> Result<Answer, CommandFault> {
        let said = command::run_until(command::find(PROGRAM)?, &self.arguments(), WITHIN, is_let_in).await?;
        Ok(read(&said.err))
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = ["-F", "/dev/null", "-v", "-n", "-T"].map(str::to_owned).to_vec();
        // It must never run a command, forward, multiplex, ask, remember, or use a key that is not given here.
        for option in [
            "BatchMode=yes",
            "ClearAllForwardings=yes",
            "ConnectTimeout=5",
            "ConnectionAttempts=1",
            "ControlPath=none",
            "GlobalKnownHostsFile=/dev/null",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "LogLevel=DEBUG1",
            "PermitLocalCommand=no",
            "RemoteCommand=none",
            "RequestTTY=no",
            "SessionType=none",
            "StrictHostKeyChecking=no",
            "UpdateHostKeys=no",
            "UserKnownHostsFile=/dev/null",
        ] {
            arguments.extend(["-o".to_owned(), option.to_owned()]);
        }
        if self.address.is_loopback() && self.address.is_ipv4() {
            let [a, b, c] = SOURCES;
            arguments.extend(["-b".to_owned(), format!("{a}.{b}.{c}.{}", self.source)]);
        }
        let methods = if self.keys.is_empty() { "none" } else { "publickey" };
        arguments.extend(["-o".to_owned(), format!("PreferredAuthentications={methods}")]);
        if self.keys.is_empty() {
            arguments.extend(["-o".to_owned(), "IdentityFile=none".to_owned()]);
        }
        for key in self.keys.iter().take(KEYS_AT_ONCE) {
            arguments.extend(["-o".to_owned(), format!("IdentityFile={}", key.display())]);
        }
        arguments.extend(["-p".to_owned(), self.port.to_string(), "-l".to_owned(), self.user.to_owned()]);
        arguments.extend(["--".to_owned(), self.address.to_string()]);
        arguments
    }
}

/// Is this an account name that may stand on a command line? (The set of systemd's and shadow's strict names.)
pub fn is_account(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        && name.len() <= 64
}

/// Writes each key (`ssh-ed25519 AAAA...`) into a file of its own below `directory`: `ssh` wants files.
///
/// # Errors
/// They cannot be written.
pub fn key_files(directory: &Path, keys: &[String]) -> std::io::Result<Vec<PathBuf>> {
    keys.iter()
        .enumerate()
        .map(|(index, key)| {
            let file = directory.join(format!("{index}.pub"));
            std::fs::write(&file, format!("{key}\n"))?;
            Ok(file)
        })
        .collect()
}

/// `none` was enough. There is nothing to do in there: the connection is cut at once.
fn is_let_in(line: &str) -> bool {
    line.starts_with("Authenticated to ")
}

/// Reads what `ssh -v` tells; these lines have been the same since OpenSSH 7.
fn read(told: &str) -> Answer {
    let mut answer = Answer::default();
    for line in told.lines() {
        let line = line.trim_end();
        if let Some(said) = line.strip_prefix("debug1: ") {
            if let Some(rest) = said.strip_prefix("Remote protocol version 2.0, remote software version ") {
                answer.software = Some(short(rest));
            } else if let Some(rest) = said.strip_prefix("Server host key: ") {
                answer.host_key = rest.split_once(' ').map(|(kind, print)| (short(kind), short(print)));
            } else if let Some(rest) = said.strip_prefix("Authentications that can continue: ") {
                // Only the first is the answer to `none`; later ones repeat it.
                answer.methods.get_or_insert_with(|| rest.split(',').map(short).collect());
            } else if let Some(rest) = said.strip_prefix("Offering public key: ") {
                answer.offered.extend(fingerprint(rest));
            } else if let Some(rest) = said.strip_prefix("Server accepts key: ") {
                answer.accepted.extend(fingerprint(rest));
            }
        } else if is_let_in(line) {
            answer.let_in = true;
        } else if !line.is_empty() {
            answer.last = short(line);
        }
    }
    answer
}

fn fingerprint(rest: &str) -> Option<String> {
    rest.split(' ').find(|word| word.starts_with("SHA256:")).map(short)
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(WORD_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_tells_is_understood() {
        let told = "OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19 27 Jan 2026\n\
                    debug1: Remote protocol version 2.0, remote software version OpenSSH_9.2p1 Debian-2\r\n\
                    debug1: Server host key: ssh-ed25519 SHA256:HOST\n\
                    Warning: Permanently added '[127.0.0.1]:22' (ED25519) to the list of known hosts.\n\
                    debug1: Authentications that can continue: publickey,keyboard-interactive\n\
                    debug1: Offering public key: /run/eyewall/probe/0.pub ED25519 SHA256:ONE explicit\n\
                    debug1: Authentications that can continue: publickey\n\
                    debug1: Offering public key: /run/eyewall/probe/1.pub ED25519 SHA256:TWO explicit\n\
                    debug1: Server accepts key: /run/eyewall/probe/1.pub ED25519 SHA256:TWO explicit\n\
                    core@127.0.0.1: Permission denied (publickey,keyboard-interactive).\n";
        let answer = read(told);
        assert_eq!(answer.software.as_deref(), Some("OpenSSH_9.2p1 Debian-2"));
        assert_eq!(answer.host_key, Some(("ssh-ed25519".to_owned(), "SHA256:HOST".to_owned())));
        assert_eq!(answer.methods, Some(vec!["publickey".to_owned(), "keyboard-interactive".to_owned()]));
        assert_eq!(answer.offered, ["SHA256:ONE", "SHA256:TWO"]);
        assert_eq!(answer.accepted, ["SHA256:TWO"]);
        assert!(!answer.let_in);
        assert_eq!(answer.last, "core@127.0.0.1: Permission denied (publickey,keyboard-interactive).");
        let refused = read("ssh: connect to host 127.0.0.1 port 22: Connection refused\n");
        assert_eq!((refused.methods, refused.host_key), (None, None));
        let open = read("Authenticated to 127.0.0.1 ([127.0.0.1]:22) using \"none\".\n");
        assert!(open.let_in);
    }

    #[test]
    fn account_names_cannot_be_options() {
        for (name, want) in [
            ("core", true),
            ("_chrony", true),
            ("a.b-c_9", true),
            ("-oProxyCommand=x", false),
            ("", false),
            ("a b", false),
            ("a@b", false),
        ] {
            assert_eq!(is_account(name), want, "{name}");
        }
    }
}
