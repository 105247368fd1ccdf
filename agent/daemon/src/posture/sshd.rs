//! The host's sshd as evidence: what its files say for every connection that could be told apart, how it was started, which keys lie
//! where, and how it behaves when it is asked.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eyewall_core::posture::checks::ssh::config::{ADDRESSES, Addresses, EFFECTIVE};
use eyewall_core::posture::checks::ssh::daemon::{Listener, SSHD, Sshd};
use eyewall_core::posture::checks::ssh::keys::{AUTHORIZED_KEYS, KEY_FILES, KeyFile, KeyFiles};
use eyewall_core::posture::checks::ssh::probes::{
    BANNERS, Banner, Banners, HOST_KEY, HOST_KEYS, HostKey, HostKeyAnswer, HostKeys, KeyAnswer, METHODS, MethodsAnswer,
    QUERIED_KEYS,
};
use eyewall_core::posture::read::accounts::{self, Account};
use eyewall_core::posture::read::authorized_keys;
use eyewall_core::posture::read::sock_diag::Protocol;
use eyewall_core::posture::read::sshd::{Exceptions, Settings};
use eyewall_core::posture::ssh_plan::{asked_connections, key_files, probed_accounts};
use eyewall_core::posture::{Capture, Evidence, Source};
use eyewall_core::time::Time;
use nix::unistd::{SysconfVar, sysconf};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::capture::Paths;
use super::command::{self, CommandFault};
use super::files;
use super::ssh::{self, KEYS_AT_ONCE, Probe};
use super::units::{self, Bus};
use super::{netlink, selinux};

/// Where sshd is: Fedora CoreOS and Debian, Flatcar.
const PROGRAM: &[&str] = &["/usr/sbin/sshd", "/usr/bin/sshd"];
/// `sshd -T` takes some milliseconds.
const SETTINGS_WITHIN: Duration = Duration::from_secs(5);
/// A server that greets does so at once; sshd forks and executes another program before it does, which takes a busy host a while. All listeners
/// are waited for together.
const GREETING_WITHIN: Duration = Duration::from_secs(3);
/// More keys than this are not queried one by one.
const QUERIED_MAX: usize = 20;
/// Files of keys that are looked at.
const KEY_FILES_MAX: usize = 256;
/// Interfaces that are made for pods and containers: their addresses are not the node's.
const NOT_THE_HOSTS: [&str; 9] = ["cni", "veth", "cilium", "lxc", "flannel", "docker", "podman", "cali", "kube-"];

type Found = Vec<(String, Capture)>;

/// What of sshd is read without asking the running one. The sources that [`sources_of_files`] names.
pub async fn look(paths: &Paths, bus: Option<&Bus>) -> Found {
    let accounts = accounts(paths);
    let addresses = addresses();
    let mut found = vec![(ADDRESSES.id.to_owned(), Capture::record(&Addresses { addresses: addresses.clone() }))];
    let settings = effective(paths, &accounts, &addresses, &mut found).await;
    found.push((SSHD.id.to_owned(), process(paths, bus).await));
    found.push((HOST_KEYS.id.to_owned(), host_keys(paths)));
    keys(paths, &accounts, settings.as_ref(), &mut found);
    found
}

/// The ids and families that [`look`] fills.
pub fn sources_of_files() -> [&'static Source; 6] {
    [&ADDRESSES, &EFFECTIVE, &SSHD, &HOST_KEYS, &KEY_FILES, &AUTHORIZED_KEYS]
}

/// The ids and families that [`probe`] fills.
pub fn sources_of_probes() -> [&'static Source; 4] {
    [&METHODS, &QUERIED_KEYS, &HOST_KEY, &BANNERS]
}

fn accounts(paths: &Paths) -> Vec<Account> {
    ["/etc/passwd", "/usr/lib/passwd"]
        .iter()
        .filter_map(|file| std::fs::read_to_string(paths.at(file)).ok())
        .filter_map(|text| accounts::passwd(&text).ok())
        .flatten()
        .collect()
}

/// The host's own global addresses, sorted.
fn addresses() -> Vec<String> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let mut addresses: Vec<IpAddr> = interfaces
        .filter(|interface| !NOT_THE_HOSTS.iter().any(|prefix| interface.interface_name.starts_with(prefix)))
        .filter_map(|interface| {
            let address = interface.address?;
            let address = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
                (Some(v4), _) => IpAddr::V4(v4.ip()),
                (_, Some(v6)) => IpAddr::V6(v6.ip()),
                _ => return None,
            };
            let is_global = match address {
                IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && !v4.is_unspecified(),
                IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local() && !v6.is_unspecified(),
            };
            is_global.then_some(address)
        })
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses.iter().map(ToString::to_string).collect()
}

/// `sshd -T -C` for every connection that its files could tell apart. Returns the settings for the first.
async fn effective(paths: &Paths, accounts: &[Account], addresses: &[String], found: &mut Found) -> Option<Settings> {
    let mut exceptions = Exceptions::default();
    let directory = paths.at("/etc/ssh/sshd_config.d");
    let drop_ins = match files::listing(&directory) {
        Capture::Listing(entries) => entries.into_iter().map(|entry| directory.join(entry.name)).collect(),
        _ => Vec::new(),
    };
    for file in std::iter::once(paths.at("/etc/ssh/sshd_config")).chain(drop_ins) {
        // One that cannot be read is a source of its own, and its check says so.
        if let Ok(text) = std::fs::read_to_string(&file) {
            let _ = exceptions.add(&text);
        }
    }
    let fail = |found: &mut Found, kind: &str, message: &str| {
        found.push((EFFECTIVE.member("user=core"), Capture::failed(kind, message)));
    };
    let Some(connections) = asked_connections(accounts, addresses, &exceptions) else {
        fail(found, "too-many", "sshd's files tell more connections apart than are asked about.");
        return None;
    };
    let program = match command::find(PROGRAM) {
        Ok(program) => program,
        Err(_) => {
            found.push((EFFECTIVE.member("user=core"), Capture::Missing));
            return None;
        }
    };
    let mut first = None;
    for connection in connections {
        let specification = connection.specification();
        let arguments = ["-T".to_owned(), "-C".to_owned(), specification.clone()];
        let capture = match command::run(program, &arguments, SETTINGS_WITHIN).await {
            Ok(said) if said.code == Some(0) => {
                if first.is_none() {
                    first = Settings::parse(&said.out).ok();
                }
                Capture::text(&said.out)
            }
            Ok(said) => {
                Capture::failed("exit-status", said.err.lines().last().unwrap_or("sshd -T ends without a word"))
            }
            Err(fault) => Capture::failed("not-run", &fault.to_string()),
        };
        found.push((EFFECTIVE.member(&specification), capture));
    }
    first
}

/// How the sshd that listens was started. Its title tells its words; a reload keeps process and start time, so systemd is asked for
/// that.
async fn process(paths: &Paths, bus: Option<&Bus>) -> Capture {
    let proc = paths.at("/proc");
    let listener = selinux::processes(&proc).into_iter().filter(|(_, comm)| comm == "sshd").find_map(|(process, _)| {
        let title = std::fs::read(process.join("cmdline")).ok()?;
        let title = String::from_utf8_lossy(&title).replace('\0', " ");
        let (words, _) = title.split_once("[listener]")?;
        let words = words.trim_start_matches("sshd: ").split_whitespace().map(str::to_owned);
        Some((started_at(paths, &process)?, words.collect::<Vec<_>>()))
    });
    let (mut reloaded_at, mut socket) = (None, None);
    if let Some(bus) = bus {
        for name in ["sshd.service", "ssh.service"] {
            if let Ok(properties) = bus.properties_of(name).await {
                reloaded_at = reloaded_at.max(units::reloaded_at(&properties));
            }
        }
        for name in ["sshd.socket", "ssh.socket"] {
            if socket.is_none() && bus.unit(name).await.is_ok_and(|unit| unit.is_up()) {
                socket = Some(name.to_owned());
            }
        }
    }
    let listener = listener
        .map(|(started, command)| Listener { command, loaded_at: reloaded_at.map_or(started, |at| at.max(started)) });
    Capture::record(&Sshd { listener, socket })
}

/// When a process started: field 22 of `/proc/PID/stat` counts clock ticks from the boot.
fn started_at(paths: &Paths, process: &Path) -> Option<Time> {
    let stat = std::fs::read_to_string(process.join("stat")).ok()?;
    // The name in parentheses may hold anything.
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let per_second = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?.max(1);
    let boot = std::fs::read_to_string(paths.at("/proc/stat")).ok()?;
    let booted: u64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    // `btime` is cut to seconds; the file that was changed a moment before the start must not look younger.
    Some(Time::from_unix(booted + ticks / per_second + 1))
}

/// `/etc/ssh/ssh_host_*_key.pub`.
fn host_keys(paths: &Paths) -> Capture {
    let directory = paths.at("/etc/ssh");
    let entries = match files::listing(&directory) {
        Capture::Listing(entries) => entries,
        other => return other,
    };
    let keys = entries
        .iter()
        .filter(|entry| entry.name.starts_with("ssh_host_") && entry.name.ends_with("_key.pub"))
        .filter_map(|entry| {
            let text = std::fs::read_to_string(directory.join(&entry.name)).ok()?;
            let key = authorized_keys::parse_line(text.lines().next()?)?;
            Some(HostKey { kind: key.kind, fingerprint: key.fingerprint })
        })
        .collect();
    Capture::record(&HostKeys { keys })
}

fn may_have_keys(account: &Account) -> bool {
    account.can_log_in() || account.uid == 0 || account.name == "core"
}

/// Where a key may appear, for whoever watches: paths with `*` for any name. By sshd's settings as `evidence` has them, and in the usual places.
pub fn places_of_keys(paths: &Paths, evidence: Option<&Evidence>) -> Vec<PathBuf> {
    let said =
        evidence.into_iter().flat_map(|evidence| &evidence.sources).find_map(|(id, found)| match &found.capture {
            Capture::Text(text) if EFFECTIVE.is(id) => Settings::parse(text).ok(),
            _ => None,
        });
    let settings = said.unwrap_or_else(Settings::unknown);
    let accounts = accounts(paths);
    let accounts = accounts.iter().filter(|account| may_have_keys(account));
    accounts.flat_map(|account| key_files(account, &settings)).map(|place| paths.at(&place)).collect()
}

/// The files of keys: which are there, and what is kept of each.
fn keys(paths: &Paths, accounts: &[Account], settings: Option<&Settings>, found: &mut Found) {
    let default;
    let settings = match settings {
        Some(settings) => settings,
        None => {
            // Without sshd's own word the usual places are looked at all the same.
            default = Settings::unknown();
            &default
        }
    };
    let mut files = Vec::new();
    let mut looked_at = Vec::new();
    for account in accounts.iter().filter(|account| may_have_keys(account)) {
        looked_at.push(account.name.clone());
        for pattern in key_files(account, settings) {
            let paths = match expand(paths, &pattern) {
                Ok(paths) => paths,
                // A place that may not be looked at could hold any key: then nothing is known of the keys.
                Err(in_the_way) => return found.push((KEY_FILES.id.to_owned(), in_the_way)),
            };
            for path in paths {
                if !files.iter().any(|file: &KeyFile| file.path == path) {
                    files.push(KeyFile { account: account.name.clone(), path });
                }
            }
        }
    }
    if files.len() > KEY_FILES_MAX {
        return found.push((KEY_FILES.id.to_owned(), Capture::too_large(files.len())));
    }
    for file in &files {
        let capture = files::content(&AUTHORIZED_KEYS, &paths.at(&file.path));
        found.push((AUTHORIZED_KEYS.member(&file.path), capture));
    }
    found.push((KEY_FILES.id.to_owned(), Capture::record(&KeyFiles { files, accounts: looked_at })));
}

/// The files that a pattern names: `*` stands for any name of the last part that does not begin with a dot. The error is why that
/// cannot be told.
fn expand(paths: &Paths, pattern: &str) -> Result<Vec<String>, Capture> {
    let Some((directory, last)) = pattern.rsplit_once('/') else { return Ok(Vec::new()) };
    let Some((before, after)) = last.split_once('*') else {
        return match files::stat(&paths.at(pattern)) {
            Capture::Stat(_) => Ok(vec![pattern.to_owned()]),
            Capture::Missing => Ok(Vec::new()),
            in_the_way => Err(in_the_way),
        };
    };
    match files::listing(&paths.at(directory)) {
        Capture::Listing(entries) => Ok(entries
            .into_iter()
            .map(|entry| entry.name)
            .filter(|name| !name.starts_with('.') && name.starts_with(before) && name.ends_with(after))
            .map(|name| format!("{directory}/{name}"))
            .collect()),
        Capture::Missing => Ok(Vec::new()),
        in_the_way => Err(in_the_way),
    }
}

/// How the running sshd behaves: asked over the wire, as a stranger would ask. `scratch` is a directory for files with public keys.
pub async fn probe(paths: &Paths, scratch: &Path) -> Found {
    let mut found = Vec::new();
    let accounts = accounts(paths);
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut asker = Asker { source: 0 };
    for user in probed_accounts(&accounts) {
        let capture = if ssh::is_account(&user) {
            let answer = asker.ask(local, &user, &[]).await;
            if user == "core" {
                found.push((HOST_KEY.member("127.0.0.1"), host_key(&answer)));
            }
            methods(&answer)
        } else {
            Capture::failed("no-account-name", "The name cannot stand on a command line.")
        };
        found.push((METHODS.member(&user), capture));
    }
    for address in addresses() {
        if let Ok(ip) = address.parse() {
            let answer = asker.ask(ip, "core", &[]).await;
            found.push((HOST_KEY.member(&address), host_key(&answer)));
        }
    }
    found.push((QUERIED_KEYS.id.to_owned(), queried(paths, &accounts, scratch, &mut asker).await));
    found.push((BANNERS.id.to_owned(), banners().await));
    found
}

/// Asks one question after the other, each from an address of its own.
#[derive(Debug)]
struct Asker {
    source: u8,
}

impl Asker {
    async fn ask(&mut self, address: IpAddr, user: &str, keys: &[PathBuf]) -> Result<ssh::Answer, CommandFault> {
        // 127.83.72.0 is left out; after 255 questions it begins anew.
        self.source = self.source.checked_add(1).unwrap_or(1);
        Probe { address, port: 22, user, keys, source: self.source }.ask().await
    }
}

fn methods(answer: &Result<ssh::Answer, CommandFault>) -> Capture {
    match answer {
        Ok(answer) => Capture::record(&MethodsAnswer {
            methods: answer.methods.clone(),
            let_in: answer.let_in,
            software: answer.software.clone(),
            trouble: (answer.methods.is_none() && !answer.let_in).then(|| answer.last.clone()),
        }),
        Err(CommandFault::Missing(program)) => {
            Capture::failed("no-ssh-client", &format!("{program} is not on this host, and the probe needs it."))
        }
        Err(fault) => Capture::failed("probe-failed", &fault.to_string()),
    }
}

fn host_key(answer: &Result<ssh::Answer, CommandFault>) -> Capture {
    match answer {
        Ok(answer) => {
            let key = answer.host_key.clone().map(|(kind, fingerprint)| HostKey { kind, fingerprint });
            Capture::record(&HostKeyAnswer {
                refused: answer.last.contains("Connection refused"),
                trouble: key.is_none().then(|| answer.last.clone()),
                key,
            })
        }
        Err(fault) => Capture::failed("probe-failed", &fault.to_string()),
    }
}

/// Asks which of core's keys would be taken, and whether one that was made a moment ago and lies nowhere would be.
async fn queried(paths: &Paths, accounts: &[Account], scratch: &Path, asker: &mut Asker) -> Capture {
    let Some(core) = accounts.iter().find(|account| account.name == "core") else { return Capture::Missing };
    let mut keys = BTreeMap::new();
    for pattern in key_files(core, &Settings::unknown()) {
        let files = match expand(paths, &pattern) {
            Ok(files) => files,
            Err(in_the_way) => return in_the_way,
        };
        for path in files {
            let text = match std::fs::read_to_string(paths.at(&path)) {
                Ok(text) => text,
                Err(error) => return files::why_not(&paths.at(&path), &error),
            };
            for line in text.lines() {
                if let (Some(key), Some(plain)) = (authorized_keys::parse_line(line), plain(line)) {
                    keys.insert(key.fingerprint, plain);
                }
            }
        }
    }
    let Some(fresh) = fresh_key() else { return Capture::failed("no-key", "No key could be made for the probe.") };
    let fresh_print = authorized_keys::parse_line(&fresh).map(|key| key.fingerprint).unwrap_or_default();
    let mut answer = KeyAnswer {
        offered: keys.keys().take(QUERIED_MAX).cloned().collect(),
        accepted: Vec::new(),
        fresh_accepted: false,
        trouble: (keys.len() > QUERIED_MAX).then(|| format!("only {QUERIED_MAX} of {} keys were queried", keys.len())),
    };
    // The fresh one comes first: sshd answers about it before it has seen any other.
    let all: Vec<String> = std::iter::once(fresh).chain(keys.into_values().take(QUERIED_MAX)).collect();
    for (index, some) in all.chunks(KEYS_AT_ONCE).enumerate() {
        let directory = scratch.join(index.to_string());
        let asked = match std::fs::create_dir_all(&directory).and_then(|()| ssh::key_files(&directory, some)) {
            Ok(files) => asker.ask(IpAddr::V4(Ipv4Addr::LOCALHOST), "core", &files).await,
            Err(error) => return files::why_not(&directory, &error),
        };
        match asked {
            Ok(said) if said.methods.is_none() || said.offered.len() != some.len() => {
                answer.trouble.get_or_insert(if said.last.is_empty() {
                    "not every key was asked about".to_owned()
                } else {
                    said.last
                });
            }
            Ok(said) => {
                answer.fresh_accepted |= said.accepted.contains(&fresh_print);
                answer.accepted.extend(said.accepted.into_iter().filter(|print| *print != fresh_print));
            }
            Err(fault) => {
                answer.trouble.get_or_insert(fault.to_string());
            }
        }
    }
    answer.accepted.sort();
    answer.accepted.dedup();
    Capture::record(&answer)
}

/// Type and key of a line, without options and comment.
fn plain(line: &str) -> Option<String> {
    let key = authorized_keys::parse_line(line)?;
    let mut words = line.split_whitespace().skip_while(|word| *word != key.kind);
    Some(format!("{} {}", words.next()?, words.next()?))
}

/// The public half of a key that is made here and forgotten.
fn fresh_key() -> Option<String> {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).ok()?;
    let raw = rcgen::PublicKeyData::der_bytes(&pair);
    let string = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes();
        [&length[..], bytes].concat()
    };
    let blob = [string(b"ssh-ed25519"), string(raw)].concat();
    Some(format!("ssh-ed25519 {}", STANDARD.encode(blob)))
}

/// How every TCP listener greets that can be reached from outside. One that greets as SSH and is not the sshd is a second door.
async fn banners() -> Capture {
    let listeners = match netlink::listeners() {
        Ok(listeners) => listeners,
        Err(error) => return files::why_not(Path::new("the kernel's table of sockets"), &error),
    };
    let mut asked = tokio::task::JoinSet::new();
    let mut tried = Vec::new();
    for listener in listeners.iter().filter(|one| one.protocol == Protocol::Tcp && !one.address.is_loopback()) {
        if tried.contains(&(listener.address, listener.port)) {
            continue;
        }
        tried.push((listener.address, listener.port));
        let (address, port) = (listener.address, listener.port);
        // What listens on every address answers on this one.
        let to = match address {
            address if !address.is_unspecified() => SocketAddr::new(address, port),
            IpAddr::V4(_) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
            IpAddr::V6(_) => SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), port),
        };
        asked.spawn(async move { Banner { address: address.to_string(), port, ssh: greets_as_ssh(to).await } });
    }
    let mut banners = asked.join_all().await;
    banners.sort_by(|a, b| (a.port, &a.address).cmp(&(b.port, &b.address)));
    Capture::record(&Banners { tried: banners })
}

async fn greets_as_ssh(to: SocketAddr) -> bool {
    let read = async {
        let mut stream = TcpStream::connect(to).await?;
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting).await?;
        Ok::<_, std::io::Error>(greeting)
    };
    matches!(timeout(GREETING_WITHIN, read).await, Ok(Ok(greeting)) if greeting == *b"SSH-")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_place_that_cannot_be_looked_at_is_not_an_empty_one() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths { root: root.path().to_owned(), config: Arc::default() };
        std::fs::create_dir_all(root.path().join("home/core/.ssh/authorized_keys.d")).unwrap();
        std::fs::write(root.path().join("home/core/.ssh/authorized_keys.d/ignition"), "").unwrap();
        std::fs::write(root.path().join("home/core/.ssh/authorized_keys.d/.hidden"), "").unwrap();
        // A link to itself: neither there nor missing.
        std::os::unix::fs::symlink("loop", root.path().join("home/loop")).unwrap();
        for (pattern, want) in [
            ("/home/core/.ssh/authorized_keys.d/*", Ok(vec!["/home/core/.ssh/authorized_keys.d/ignition".to_owned()])),
            ("/home/core/.ssh/authorized_keys", Ok(Vec::new())),
            ("/home/nobody/.ssh/*", Ok(Vec::new())),
            ("/home/loop/.ssh/authorized_keys", Err(())),
            ("/home/loop/*", Err(())),
        ] {
            assert_eq!(expand(&paths, pattern).map_err(drop), want, "{pattern}");
        }
    }
}
