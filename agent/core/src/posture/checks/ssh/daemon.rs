//! The sshd that runs is not what `sshd -T` prints: it may have options on its command line, and it may have read older files.

use serde::{Deserialize, Serialize};

use super::DROP_INS;
use super::ways::units;
use crate::posture::units::base_name;
use crate::posture::{Grade, Judged, Seen, Source, Unseen};
use crate::time::Time;

/// The listening sshd: an [`Sshd`].
pub const SSHD: Source = Source::record("proc:sshd");
/// When the main file was last changed.
pub const CONFIG_STAT: Source = Source::stat("stat:/etc/ssh/sshd_config");
/// When a drop-in was; the member is the file's name.
pub const DROP_IN_STAT: Source = Source::stat("stat:/etc/ssh/sshd_config.d/*");

/// The sshd of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sshd {
    /// `None` where a socket unit starts one for each connection (Flatcar): then each reads the files anew.
    pub listener: Option<Listener>,
    /// The socket unit that does, if it listens.
    pub socket: Option<String>,
}

/// The listening process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Its words, from its title: `sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups`.
    pub command: Vec<String>,
    /// Its last start, or its last reload as systemd knows it, whichever is later.
    pub loaded_at: Time,
}

fn sshd(seen: &Seen<'_>) -> Result<Sshd, Unseen> {
    let item = seen.one(&SSHD)?;
    let sshd: Sshd = item.record()?;
    match (&sshd.listener, &sshd.socket) {
        (None, None) => Err(item.malformed("Neither an sshd nor a socket unit for it listens.")),
        _ => Ok(sshd),
    }
}

/// What on a command line of sshd can override its files.
fn overriding(command: &[String]) -> Vec<String> {
    let mut words = command.iter().skip_while(|word| base_name(word) != "sshd").skip(1).map(String::as_str);
    let mut overriding = Vec::new();
    while let Some(word) = words.next() {
        match word {
            // In the foreground, log to stderr, inetd mode: nothing about who may log in. What follows the title's bracket is no argument.
            "-D" | "-e" | "-i" | "-De" | "-eD" | "-R" => {}
            "[listener]" => break,
            // Left by a unit that takes options from the environment, unexpanded as systemd shows it.
            "$OPTIONS" | "$SSHD_OPTS" | "$CRYPTO_POLICY" => {}
            "-o" | "-f" | "-p" | "-c" | "-h" | "-C" | "-E" | "-g" | "-u" => {
                let value = words.next().unwrap_or_default();
                if (word, value) != ("-f", "/etc/ssh/sshd_config") {
                    overriding.push(format!("{word} {value}"));
                }
            }
            other => overriding.push(other.to_owned()),
        }
    }
    overriding
}

pub(super) fn command_line(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let sshd = sshd(seen)?;
    let units = units(seen)?;
    let mut found: Vec<String> = sshd.listener.iter().flat_map(|listener| overriding(&listener.command)).collect();
    // The unit that the next start, or the next connection, takes.
    for unit in units.units.iter().filter(|unit| unit.name.starts_with("sshd") || unit.name.starts_with("ssh.")) {
        let commands =
            unit.commands.iter().filter(|command| command.first().is_some_and(|word| base_name(word) == "sshd"));
        found.extend(commands.flat_map(|command| overriding(command)).map(|what| format!("{}: {what}", unit.name)));
    }
    let judged = match found.first() {
        Some(first) => Judged::fail(
            "options",
            format!(
                "sshd has {first:?} on its command line, which overrides its files and is not in `sshd -T`: take it out of the unit or of \
                 /etc/sysconfig/sshd, and restart sshd."
            ),
        ),
        None => {
            Judged::pass(Grade::ProvedByBehaviour, "no-options", "Nothing on sshd's command line overrides its files.")
        }
    };
    let how = match (&sshd.listener, &sshd.socket) {
        (Some(listener), _) => listener.command.join(" "),
        (None, socket) => format!("one for each connection, by {}", socket.as_deref().unwrap_or("a socket unit")),
    };
    Ok(judged.facts("option", &found).fact("sshd", how))
}

pub(super) fn loaded(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let sshd = sshd(seen)?;
    let mut newest = ("/etc/ssh/sshd_config".to_owned(), seen.stat(&CONFIG_STAT)?.mtime);
    for entry in seen.if_there(seen.listing(&DROP_INS))?.unwrap_or_default() {
        if entry.name.ends_with(".conf") {
            let mtime = seen.member(&DROP_IN_STAT, &entry.name)?.stat()?.mtime;
            if mtime > newest.1 {
                newest = (format!("/etc/ssh/sshd_config.d/{}", entry.name), mtime);
            }
        }
    }
    let Some(listener) = sshd.listener else {
        return Ok(Judged::pass(
            Grade::Configured,
            "read-each-time",
            "A socket unit starts an sshd for each connection, and each reads the files anew.",
        ));
    };
    let judged = if newest.1 > listener.loaded_at {
        Judged::fail(
            "changed-since",
            format!(
                "{} was changed after sshd was loaded, so the running sshd may do otherwise than the files say: reload it.",
                newest.0
            ),
        )
    } else {
        Judged::pass(Grade::Configured, "loaded", "sshd was loaded after its files were last changed.")
    };
    Ok(judged
        .fact("newest", &newest.0)
        .fact("changed-at", newest.1.to_string())
        .fact("loaded-at", listener.loaded_at.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overrides_the_files_is_found() {
        for (command, want) in [
            ("/usr/sbin/sshd -D $OPTIONS", &[][..]),
            ("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", &[][..]),
            (
                "sshd: /usr/sbin/sshd -D -o PasswordAuthentication=yes [listener] 0 of 10-100",
                &["-o PasswordAuthentication=yes"][..],
            ),
            ("/usr/sbin/sshd -f /etc/ssh/sshd_config -D", &[][..]),
            ("/usr/sbin/sshd -f /tmp/x -p 2222", &["-f /tmp/x", "-p 2222"][..]),
            ("/usr/sbin/sshd -oPermitRootLogin=yes", &["-oPermitRootLogin=yes"][..]),
            ("/usr/sbin/sshd -o", &["-o "][..]),
            ("/bin/true -o x", &[][..]),
            ("", &[][..]),
        ] {
            let command: Vec<String> = command.split(' ').map(str::to_owned).collect();
            assert_eq!(overriding(&command), want, "{command:?}");
        }
    }
}
