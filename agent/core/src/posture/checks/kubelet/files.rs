//! What of the kubelet and the control plane lies on the disk, and who may read it.

use super::BASE;
use crate::config::Role;
use crate::posture::claim::SECRETS_ON_DISK;
use crate::posture::evidence::{FileKind, Stat};
use crate::posture::units::{self, UNITS};
use crate::posture::{Check, Grade, Item, Judged, Seen, Severity, Source, Unseen, Worth, needs};

use super::drift::FILE as CONFIGURATION_FILE;

/// The kubeconfig with the bootstrap token.
pub const BOOTSTRAP: Source = Source::stat("stat:{cluster.bootstrap_kubeconfig}");
/// The kubelet's kubeconfig.
pub const KUBECONFIG: Source = Source::stat("stat:{certificates.kubeconfig}");
/// The CA of those who may ask the kubelet something: `ca.crt` beside the KubeletConfiguration.
pub const AUTHORITY: Source = Source::stat("stat:{kubelet.authority}");
/// The kubelet's unit, where Typhoon and we put it.
pub const UNIT: Source = Source::stat("stat:/etc/systemd/system/{kubelet.unit}");
/// The certificate store.
pub const STORE: Source = Source::listing("list:{certificates.directory}");
/// What is in it.
pub const STORED: Source = Source::stat("stat:{certificates.directory}/*");
/// A controller's keys.
pub const PKI: Source = Source::listing("list:/etc/kubernetes/pki");
/// What is in it.
pub const PKI_FILES: Source = Source::stat("stat:/etc/kubernetes/pki/*");

/// The family's part.
pub const CHECKS: &[Check] = &[
    Check {
        id: "bootstrap-kubeconfig-file",
        title: "Root alone can read the bootstrap token",
        claim: &SECRETS_ON_DISK,
        severity: Severity::Medium,
        reads: &[needs(&BOOTSTRAP).or_absent()],
        judge: |seen| {
            let item = seen.one(&BOOTSTRAP)?;
            match seen.if_there(item.stat())? {
                Some(_) => private(item),
                None => Ok(Judged::pass(
                    Grade::ProvedByBehaviour,
                    "absent",
                    "There is no bootstrap kubeconfig on this host.",
                )),
            }
        },
        worth: Worth::Proves("The file with the bootstrap token is root's, and nobody else can read it."),
        not: "That the token is not in the cloud's metadata too: see the claims on that.",
        ..BASE
    },
    Check {
        id: "kubelet-store-files",
        title: "Root alone can read the kubelet's keys",
        claim: &SECRETS_ON_DISK,
        severity: Severity::High,
        reads: &[needs(&STORE), needs(&STORED)],
        judge: |seen| keys(seen, &STORE, &STORED, &[0], |name| name.ends_with(".pem") || name.ends_with(".key")),
        worth: Worth::Proves("Every key in the certificate store is root's, and nobody else can read it."),
        not: "That no copy lies elsewhere.",
        ..BASE
    },
    Check {
        id: "controller-key-files",
        title: "The cluster's keys on a controller cannot be read by everybody",
        claim: &SECRETS_ON_DISK,
        severity: Severity::High,
        reads: &[needs(&PKI), needs(&PKI_FILES)],
        // The control plane's containers read them as nobody (65534).
        judge: |seen| match seen.expect.role {
            Role::Controller => {
                keys(seen, &PKI, &PKI_FILES, &[0, 65_534], |name| name.ends_with(".key") || name.ends_with(".conf"))
            }
            Role::Worker => Ok(Judged::not_applicable("worker", "The cluster's keys are on controllers only.")),
        },
        worth: Worth::Proves(
            "ca.key, admin.conf and the other secrets of the control plane are readable by their owner and group only.",
        ),
        not: "That no container with another purpose runs as that user.",
        ..BASE
    },
    Check {
        id: "kubelet-kubeconfig-file",
        title: "Root alone can read and change the kubelet's kubeconfig",
        claim: &SECRETS_ON_DISK,
        severity: Severity::Medium,
        reads: &[needs(&KUBECONFIG)],
        judge: |seen| private(seen.one(&KUBECONFIG)?),
        worth: Worth::Proves("The kubelet's kubeconfig is root's, and nobody else can read it."),
        not: "What it points to: see kubelet-store-files.",
        cis: &["4.1.5", "4.1.6"],
        ..BASE
    },
    Check {
        id: "kubelet-configuration-file",
        title: "Root alone can read and change the kubelet's configuration",
        claim: &SECRETS_ON_DISK,
        severity: Severity::Low,
        reads: &[needs(&CONFIGURATION_FILE)],
        judge: |seen| private(seen.one(&CONFIGURATION_FILE)?),
        worth: Worth::Proves("The KubeletConfiguration is root's, and nobody else can read it."),
        not: "That its content is right: see kubelet-configuration.",
        cis: &["4.1.9", "4.1.10"],
        ..BASE
    },
    Check {
        id: "client-ca-file",
        title: "Root alone can change the CA that the kubelet trusts",
        claim: &SECRETS_ON_DISK,
        severity: Severity::Medium,
        reads: &[needs(&AUTHORITY)],
        judge: |seen| {
            root_writes(seen.one(&AUTHORITY)?).map(|writes| {
                writes.map_or_else(
                    |fault| fault.judged(),
                    |()| {
                        Judged::pass(
                            Grade::ProvedByBehaviour,
                            "roots",
                            "The CA is root's, and nobody else can change it.",
                        )
                    },
                )
            })
        },
        worth: Worth::Proves("The CA file is root's, and nobody else can change it."),
        not: "That it is this cluster's CA: see kubelet-certificate.",
        cis: &["4.1.7", "4.1.8"],
        ..BASE
    },
    Check {
        id: "kubelet-unit-file",
        title: "Root alone can change the kubelet's unit",
        claim: &SECRETS_ON_DISK,
        severity: Severity::Medium,
        reads: &[needs(&UNIT), needs(&UNITS)],
        judge: unit,
        worth: Worth::Proves("The unit's file is root's, and nobody else can change it."),
        not: "That its drop-ins are: they are listed.",
        cis: &["4.1.1", "4.1.2"],
        ..BASE
    },
];

/// What is wrong with a file's owner or mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::posture::checks) struct Fault {
    kind: &'static str,
    sentence: String,
    stat: String,
}

impl Fault {
    fn new(kind: &'static str, path: &str, what: &str, remedy: &str, stat: &Stat) -> Self {
        Self { kind, sentence: format!("{path} {what}: {remedy}"), stat: shown(stat) }
    }

    /// As a verdict.
    pub(in crate::posture::checks) fn judged(&self) -> Judged {
        Judged::fail(self.kind, &*self.sentence).fact("file", &self.stat)
    }
}

fn shown(stat: &Stat) -> String {
    format!("{:04o} uid {} gid {}", stat.mode & 0o7777, stat.uid, stat.gid)
}

fn path<'i>(item: Item<'i>) -> &'i str {
    item.id.split_once(':').map_or(item.id, |(_, path)| path)
}

/// A regular file's properties; anything else in its place cannot be judged by its mode.
pub(super) fn regular(item: Item<'_>) -> Result<&Stat, Unseen> {
    let stat = item.stat()?;
    if stat.kind == FileKind::File { Ok(stat) } else { Err(item.malformed("It is no regular file.")) }
}

/// Can others than its owner (one of `owners`) and group read it, or change it?
pub(in crate::posture::checks) fn readable_by_others(
    item: Item<'_>,
    owners: &[u32],
    group: bool,
) -> Result<Result<(), Fault>, Unseen> {
    let stat = regular(item)?;
    let path = path(item);
    Ok(if !owners.contains(&stat.uid) {
        Err(Fault::new(
            "another-owner",
            path,
            &format!("belongs to uid {}", stat.uid),
            &format!("run `chown root:root {path}`."),
            stat,
        ))
    } else if stat.mode & 0o022 != 0 {
        Err(Fault::new(
            "others-write",
            path,
            "can be changed by others than its owner",
            &format!("run `chmod go-w {path}`."),
            stat,
        ))
    } else if stat.mode & 0o007 != 0 {
        Err(Fault::new(
            "world-readable",
            path,
            "can be read by every user of this host",
            &format!("run `chmod o= {path}`."),
            stat,
        ))
    } else if group && stat.mode & 0o070 != 0 {
        Err(Fault::new("group-readable", path, "can be read by its group", &format!("run `chmod go= {path}`."), stat))
    } else {
        Ok(())
    })
}

/// Root's, and nobody else's to read.
fn private(item: Item<'_>) -> Result<Judged, Unseen> {
    Ok(match readable_by_others(item, &[0], true)? {
        Err(fault) => fault.judged(),
        Ok(()) => Judged::pass(Grade::ProvedByBehaviour, "private", "It is root's, and nobody else can read it."),
    })
}

fn root_writes(item: Item<'_>) -> Result<Result<(), Fault>, Unseen> {
    owners_write(item, &[0])
}

fn owners_write(item: Item<'_>, owners: &[u32]) -> Result<Result<(), Fault>, Unseen> {
    let stat = regular(item)?;
    let path = path(item);
    Ok(if !owners.contains(&stat.uid) {
        Err(Fault::new(
            "another-owner",
            path,
            &format!("belongs to uid {}", stat.uid),
            &format!("run `chown root:root {path}`."),
            stat,
        ))
    } else if stat.mode & 0o022 != 0 {
        Err(Fault::new(
            "others-write",
            path,
            "can be changed by others than its owner",
            &format!("run `chmod go-w {path}`."),
            stat,
        ))
    } else {
        Ok(())
    })
}

/// Every file of a directory: the keys can be read by their owners alone, the others changed by their owners alone. The listing says which
/// there are.
fn keys(
    seen: &Seen<'_>,
    directory: &Source,
    files: &Source,
    owners: &[u32],
    is_key: fn(&str) -> bool,
) -> Result<Judged, Unseen> {
    let listing = seen.listing(directory)?;
    let (mut faults, mut count) = (Vec::new(), 0_usize);
    for entry in listing {
        if entry.kind == FileKind::Directory {
            continue;
        }
        let item = seen.member(files, &entry.name)?;
        let judged = match (entry.kind, is_key(&entry.name)) {
            // The kubelet's link, to a file of the same directory.
            (FileKind::Link, _) if item.stat()?.kind == FileKind::Link => Ok(()),
            (FileKind::Link | FileKind::Other, _) => return Err(item.malformed("It is not what its directory says.")),
            (_, true) => {
                count += 1;
                // The kubelet's keys have no group that reads them; a controller's may.
                readable_by_others(item, owners, owners.len() == 1)?
            }
            (_, false) => owners_write(item, owners)?,
        };
        faults.extend(judged.err());
    }
    if count == 0 {
        return Err(seen.one(directory)?.malformed("There is no key in it, and there should be."));
    }
    let Some(first) = faults.first() else {
        let judged = Judged::pass(Grade::ProvedByBehaviour, "private", "Every key is its owner's alone.");
        return Ok(judged.fact("files", count.to_string()));
    };
    let more = if faults.len() > 1 { format!(" ({} more like it.)", faults.len() - 1) } else { String::new() };
    Ok(Judged::fail(first.kind, format!("{}{more}", first.sentence)).facts(
        "file",
        faults.iter().map(|fault| format!("{} {}", fault.sentence.split(' ').next().unwrap_or_default(), fault.stat)),
    ))
}

fn unit(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let item = seen.one(&UNIT)?;
    let units = units::loaded(seen)?;
    let name = &seen.expect.config.kubelet.unit;
    let Some(unit) = units.get(name) else {
        return Ok(Judged::unknown("not-loaded", format!("systemd has no {name} loaded.")));
    };
    let installed = format!("/etc/systemd/system/{name}");
    if unit.fragment != installed {
        return Ok(Judged::unknown(
            "another-file",
            format!("systemd reads {} and not {installed}, which alone was looked at.", unit.fragment),
        ));
    }
    let judged = match root_writes(item)? {
        Err(fault) => fault.judged(),
        Ok(()) if item.stat()?.mode & 0o044 != 0 => Judged::pass(
            Grade::HoldsOnlyBecause(
                "no secret stands in the unit; the benchmark asks for 0600 all the same".to_owned(),
            ),
            "roots",
            "The unit's file is root's, and nobody else can change it.",
        ),
        Ok(()) => {
            Judged::pass(Grade::ProvedByBehaviour, "private", "The unit's file is root's, and nobody else can read it.")
        }
    };
    Ok(judged.facts("drop-in", &unit.drop_ins).facts("environment", &unit.environment))
}
