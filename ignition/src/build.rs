//! From options to the typed fragment.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ignition_config::v3_3::{Config, Directory, Dropin, File, Resource, Storage, Systemd, Unit, Verification};
use sha2::{Digest, Sha512};

use crate::config_file::config_files;
use crate::explained::without_comments;
use crate::{Binary, Error, Options, Os};

/// Where the binary lies, on every OS: the units name it.
const BINARY: &str = "/opt/bin/eyewall";
/// Where Typhoon's bootstrap kubeconfig lies: `[cluster] bootstrap_kubeconfig`'s default.
const KUBECONFIG: &str = "/etc/kubernetes/kubeconfig";
/// What must be there before the agent's sandbox is set up. eyewall.tmpfiles.conf has the same, but SELinux does not let
/// systemd-tmpfiles make the kubelet's directory everywhere (Debian's policy does not), and Ignition labels what it makes.
const DIRECTORIES: [&str; 4] =
    ["/etc/eyewall/eyewall.toml.d", "/etc/kubernetes", "/var/lib/kubelet", "/var/lib/kubelet/pki"];

/// The fragment for these options.
///
/// # Errors
/// What [`Options::check`] finds.
pub fn fragment(options: &Options) -> Result<Config, Error> {
    options.check()?;
    Ok(Config {
        storage: Some(Storage {
            directories: Some(DIRECTORIES.map(directory).into()),
            files: Some(files(options)),
            ..Storage::default()
        }),
        systemd: Some(Systemd { units: Some(units(options)) }),
        ..Config::default()
    })
}

fn files(options: &Options) -> Vec<File> {
    let config = config_files(options);
    let mut files = vec![
        file(BINARY, 0o755, binary(&options.binary)),
        file("/etc/eyewall/eyewall.toml", 0o644, inline_text(&config.main)),
    ];
    if let Some(dropin) = &config.dropin {
        files.push(file("/etc/eyewall/eyewall.toml.d/10-ignition.toml", 0o644, inline_text(dropin)));
    }
    if let Some(kubeconfig) = &options.bootstrap_kubeconfig {
        // 0600 where Typhoon has 0644: it holds the bootstrap token, and both its readers are root.
        files.push(file(KUBECONFIG, 0o600, inline_text(kubeconfig)));
    }
    files.extend([
        explained("/etc/systemd/logind.conf.d/inhibitors.conf", include_str!("../../units/10-eyewall-logind.conf")),
        explained("/etc/sysusers.d/eyewall.conf", include_str!("../../units/eyewall.sysusers.conf")),
        explained("/etc/tmpfiles.d/eyewall.conf", include_str!("../../units/eyewall.tmpfiles.conf")),
    ]);
    files
}

/// One of root's that everyone may pass through.
fn directory(path: &str) -> Directory {
    Directory { mode: Some(0o755), ..Directory::new(path.to_owned()) }
}

fn units(options: &Options) -> Vec<Unit> {
    let later = options.platform.delivers_kubeconfig_later();
    let mut units = vec![
        enabled("eyewall-catalog.service", include_str!("../../units/eyewall-catalog.service")),
        Unit {
            dropins: dropin(options.platform.agent_dropin(options.os)),
            ..enabled("eyewall.service", include_str!("../../units/eyewall.service"))
        },
        enabled("eyewall.socket", include_str!("../../units/eyewall.socket")),
        Unit {
            // Where kubelet.path starts it, it is not enabled: it would fail every 10 s until the kubeconfig comes.
            enabled: Some(!later),
            dropins: dropin(options.platform.kubelet_dropin(options.os)),
            ..enabled("kubelet.service", include_str!("../../units/kubelet.service"))
        },
    ];
    if later {
        units.push(enabled("kubelet.path", include_str!("../../units/kubelet.path")));
    }
    match options.os {
        Os::Fcos => units.push(Unit { mask: Some(true), ..Unit::new("docker.service".to_owned()) }),
        Os::Flatcar => units.extend([
            Unit { enabled: Some(true), ..Unit::new("docker.service".to_owned()) },
            Unit { mask: Some(true), ..Unit::new("locksmithd.service".to_owned()) },
        ]),
        Os::Generic => {}
    }
    units
}

fn enabled(name: &str, contents: &str) -> Unit {
    Unit { contents: Some(without_comments(contents)), enabled: Some(true), ..Unit::new(name.to_owned()) }
}

fn dropin(contents: Option<String>) -> Option<Vec<Dropin>> {
    contents.map(|contents| {
        vec![Dropin { contents: Some(without_comments(&contents)), name: "10-platform.conf".to_owned() }]
    })
}

/// One of `units/`, which everyone may read.
fn explained(path: &str, contents: &str) -> File {
    file(path, 0o644, inline_text(&without_comments(contents)))
}

fn file(path: &str, mode: i64, contents: Resource) -> File {
    File {
        contents: Some(contents),
        mode: Some(mode),
        // A file that the image ships is replaced; without this Ignition fails, and with it the host's first boot.
        overwrite: Some(true),
        ..File::new(path.to_owned())
    }
}

fn binary(binary: &Binary) -> Resource {
    let (source, hash) = match binary {
        Binary::Url { url, sha512 } => (url.clone(), sha512.to_ascii_lowercase()),
        Binary::Inline(bytes) => {
            (format!("data:application/octet-stream;base64,{}", STANDARD.encode(bytes)), hex(&Sha512::digest(bytes)))
        }
    };
    Resource {
        source: Some(source),
        verification: Some(Verification { hash: Some(format!("sha512-{hash}")) }),
        ..Resource::default()
    }
}

/// A `data:` URL (RFC 2397), percent-encoded so that a person can still read it in the fragment.
fn inline_text(text: &str) -> Resource {
    let mut source = String::from("data:,");
    for byte in text.bytes() {
        match byte {
            // RFC 3986's unreserved characters and those of its reserved ones that mean nothing after the comma.
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => source.push(char::from(byte)),
            b'-' | b'.' | b'_' | b'~' | b'/' | b':' | b'=' | b',' | b'@' => {
                source.push(char::from(byte));
            }
            _ => source += &format!("%{byte:02X}"),
        }
    }
    Resource { source: Some(source), ..Resource::default() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
