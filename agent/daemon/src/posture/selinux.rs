//! What the kernel shows of SELinux beyond the content of files: the file system behind a descriptor, the contexts of processes, the
//! hashes of policies, the denials in the audit log.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use eyewall_core::posture::Capture;
use eyewall_core::posture::checks::selinux::domains::{ContainerContext, Contexts, DenialView, Denials, PodContexts};
use eyewall_core::posture::checks::selinux::mode::SelinuxFs;
use eyewall_core::posture::checks::selinux::policy::{FileHash, PermissiveTypes, PolicyFiles};
use eyewall_core::posture::read::audit::Record;
use eyewall_core::posture::read::selinux::{BootConfig, Context};
use eyewall_core::posture::read::selinux_policy::{Policy, type_names};
use eyewall_core::time::Time;
use nix::errno::Errno;
use nix::sys::statfs::{FsType, fstatfs};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use sha2::{Digest as _, Sha256};

use super::capture::Paths;
use super::files::why_not;

/// How much of the audit log's end is read: some thousand records.
const LOG_TAIL: u64 = 512 * 1024;
/// Denials that are listed.
const RECENT: usize = 16;
/// A policy is a few megabytes.
const POLICY_MAX: u64 = 64 * 1024 * 1024;
/// The permissive map stands in the first hundred bytes, or few more where there are many.
const POLICY_HEAD: u64 = 16 * 1024;
/// Containers that are looked at.
const CONTAINERS_MAX: usize = 1_000;

/// The file system behind the descriptor that the mode is read from.
pub fn file_system(paths: &Paths) -> Capture {
    let path = paths.at("/sys/fs/selinux/enforce");
    let look = || -> io::Result<SelinuxFs> {
        let file = File::open(&path)?;
        let FsType(magic) = fstatfs(&file)?.filesystem_type();
        let read_only = fstatvfs(&file)?.flags().contains(FsFlags::ST_RDONLY);
        // The magic is 32 bits in a wider field; some architectures extend its sign.
        Ok(SelinuxFs { magic: u32::try_from(magic & 0xffff_ffff).unwrap_or_default(), read_only })
    };
    look().map_or_else(|error| why_not(&path, &error), |found| Capture::record(&found))
}

/// The contexts of the processes that matter. `kubelet` and `containerd` are found by their names in `/proc/PID/comm`.
pub fn contexts(paths: &Paths) -> Capture {
    let proc = paths.at("/proc");
    let of = |who: &Path| context(&proc.join(who));
    let (agent, init) = match (of(Path::new("self")), of(Path::new("1"))) {
        (Ok(agent), Ok(init)) => (agent, init),
        (Err(error), _) | (_, Err(error)) => return why_not(&proc.join("self/attr/current"), &error),
    };
    let processes = processes(&proc);
    let named = |name: &str| {
        let process = processes.iter().find(|(_, comm)| comm == name).map(|(pid, _)| pid.as_path());
        process.and_then(|pid| of(pid).ok())
    };
    Capture::record(&Contexts { agent, init, containerd: named("containerd"), kubelet: named("kubelet") })
}

fn context(process: &Path) -> io::Result<String> {
    let text = std::fs::read_to_string(process.join("attr/current"))?;
    Ok(text.trim_end_matches(['\n', '\0']).to_owned())
}

/// The processes by their directory, with their short names.
pub fn processes(proc: &Path) -> Vec<(PathBuf, String)> {
    let Ok(entries) = std::fs::read_dir(proc) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
        .filter_map(|entry| {
            let comm = std::fs::read_to_string(entry.path().join("comm")).ok()?;
            Some((entry.path(), comm.trim_end().to_owned()))
        })
        .collect()
}

/// The contexts of the pods' containers: the first process of each container's control group, named by its pod's directory of logs
/// (`/var/log/pods/NAMESPACE_NAME_UID`).
pub fn pod_contexts(paths: &Paths) -> Capture {
    let pods = pod_names(&paths.at("/var/log/pods"));
    let root = paths.at("/sys/fs/cgroup/kubepods.slice");
    let (mut containers, mut in_the_way) = (Vec::new(), None);
    let walked = walk(&root, &mut |group| {
        let Some(uid) = pod_uid(group) else { return };
        let looked =
            std::fs::read_to_string(group.join("cgroup.procs")).and_then(|members| match members.lines().next() {
                None => Ok(None),
                Some(first) => context(&paths.at("/proc").join(first)).map(Some),
            });
        let context = match looked {
            Ok(Some(context)) => context,
            Ok(None) => return,
            Err(error) if is_gone(&error) => return,
            // A container that is left out would pass for a confined one.
            Err(error) => {
                in_the_way.get_or_insert(why_not(group, &error));
                return;
            }
        };
        // The sandbox's own process is called pause, in a domain of its pod; it is a container like the others.
        let known = pods.iter().find(|(known, ..)| *known == uid);
        let (namespace, pod) =
            known.map_or((String::new(), uid), |(_, namespace, name)| (namespace.clone(), name.clone()));
        containers.push(ContainerContext { namespace, pod, context });
    });
    match walked {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return why_not(&root, &error),
        _ => {}
    }
    if let Some(in_the_way) = in_the_way {
        return in_the_way;
    }
    if containers.len() > CONTAINERS_MAX {
        return Capture::too_large(containers.len());
    }
    Capture::record(&PodContexts { containers })
}

/// The process or its group ended meanwhile.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || matches!(error.raw_os_error(), Some(number) if number == Errno::ESRCH as i32 || number == Errno::ENODEV as i32)
}

/// uid, namespace and name by the names of the log directories.
fn pod_names(logs: &Path) -> Vec<(String, String, String)> {
    let Ok(entries) = std::fs::read_dir(logs) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let mut parts = name.splitn(3, '_');
            let (namespace, pod, uid) = (parts.next()?, parts.next()?, parts.next()?);
            Some((uid.to_owned(), namespace.to_owned(), pod.to_owned()))
        })
        .collect()
}

/// The uid in `kubepods-burstable-pod1234_5678.slice/…`, for a group below a pod's slice.
fn pod_uid(group: &Path) -> Option<String> {
    let slice = group.parent()?.file_name()?.to_str()?;
    let uid = slice.strip_suffix(".slice")?.rsplit_once("-pod")?.1;
    Some(uid.replace('_', "-"))
}

fn walk(directory: &Path, each: &mut impl FnMut(&Path)) -> io::Result<()> {
    each(directory);
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            // A pod that ends meanwhile takes its directories away.
            match walk(&entry.path(), each) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// The names of the permissive types of the loaded policy. Each reading copies the whole policy in the kernel, so it is read whole only
/// where its first bytes say that there are some.
pub fn permissive_types(paths: &Paths) -> Capture {
    let path = paths.at("/sys/fs/selinux/policy");
    let read = |most: u64| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(&path)?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let head = match read(POLICY_HEAD) {
        Ok(head) => head,
        Err(error) => return why_not(&path, &error),
    };
    let permissive = match Policy::parse(&head) {
        Ok(policy) => policy.permissive,
        Err(fault) => return Capture::failed("not-readable", &fault.to_string()),
    };
    if permissive.is_empty() {
        return Capture::record(&PermissiveTypes { names: BTreeMap::new() });
    }
    match read(POLICY_MAX) {
        Ok(whole) => match type_names(&whole, &permissive) {
            Ok(names) => Capture::record(&PermissiveTypes { names }),
            Err(fault) => Capture::failed("not-readable", &fault.to_string()),
        },
        Err(error) => why_not(&path, &error),
    }
}

/// The policy that is booted with and the one that the OS ships, by their hashes.
pub fn policy_files(paths: &Paths) -> Capture {
    let config = paths.at("/etc/selinux/config");
    let text = match std::fs::read_to_string(&config) {
        Ok(text) => text,
        Err(error) => return why_not(&config, &error),
    };
    let Some(config) = BootConfig::parse(&text) else {
        return Capture::failed("no-policy-named", "/etc/selinux/config names no policy.");
    };
    if config.policy.is_empty() || config.policy.contains(['/', '.']) {
        return Capture::failed("no-policy-named", "/etc/selinux/config names a policy that is no name.");
    }
    let place = format!("etc/selinux/{}/policy", config.policy);
    let in_force = match newest(paths, &format!("/{place}")) {
        Ok(Some(hash)) => hash,
        Ok(None) => return Capture::Missing,
        Err(error) => return why_not(&paths.at(&place), &error),
    };
    let shipped = match newest(paths, &format!("/usr/{place}")) {
        Ok(shipped) => shipped,
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return why_not(&paths.at(&place), &error),
    };
    Capture::record(&PolicyFiles { in_force, shipped })
}

/// The file `policy.N` with the highest N.
fn newest(paths: &Paths, directory: &str) -> io::Result<Option<FileHash>> {
    let mut best: Option<(u32, String)> = None;
    for entry in std::fs::read_dir(paths.at(directory))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(number) = name.strip_prefix("policy.").and_then(|number| number.parse().ok())
            && best.as_ref().is_none_or(|(best, _)| number > *best)
        {
            best = Some((number, name));
        }
    }
    let Some((_, name)) = best else { return Ok(None) };
    let path = format!("{directory}/{name}");
    let sha256 = hash(&paths.at(&path), POLICY_MAX)?;
    Ok(Some(FileHash { path, sha256 }))
}

/// SHA-256 of a file's first `most` bytes, in lower-case hex.
///
/// # Errors
/// It cannot be read, or it is longer.
pub fn hash(path: &Path, most: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() > most {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let (mut digest, mut buffer) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => digest.update(buffer.get(..length).unwrap_or_default()),
        }
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Denials from the end of the audit log, of this boot.
pub fn denials(paths: &Paths, booted_at: Time) -> Capture {
    let path = paths.at("/var/log/audit/audit.log");
    let (text, whole) = match tail(&path) {
        Ok(read) => read,
        Err(error) => {
            let lacks = match error.kind() {
                io::ErrorKind::NotFound => "no /var/log/audit/audit.log: auditd does not run".to_owned(),
                io::ErrorKind::PermissionDenied => {
                    "CAP_DAC_READ_SEARCH, or SELinux' permission to read the audit log".to_owned()
                }
                _ => error.to_string(),
            };
            return Capture::record(&Denials {
                stream: "none".to_owned(),
                lacks: Some(lacks),
                since: booted_at,
                count: 0,
                permissive: 0,
                recent: Vec::new(),
            });
        }
    };
    let own = context(&paths.at("/proc/self")).ok();
    let mut counted = Denials {
        stream: "audit-log".to_owned(),
        lacks: None,
        since: booted_at,
        count: 0,
        permissive: 0,
        recent: Vec::new(),
    };
    let mut first = None;
    for record in text.lines().filter_map(Record::parse) {
        let at = match &record {
            Record::Denial(denial) => denial.at,
            Record::Mode { at, .. } | Record::Policy { at, .. } => *at,
        };
        first.get_or_insert(at);
        let Record::Denial(denial) = record else { continue };
        if denial.at < booted_at.unix() || own.as_deref() == Some(denial.source.as_str()) {
            continue;
        }
        counted.count += 1;
        counted.permissive += u64::from(denial.permissive);
        let kind = |context: &str| {
            Context::parse(context).map_or_else(|| context.to_owned(), |context| context.domain.to_owned())
        };
        if counted.recent.len() >= RECENT {
            counted.recent.remove(0);
        }
        counted.recent.push(DenialView {
            at: Time::from_unix(denial.at),
            source: kind(&denial.source),
            target: kind(&denial.target),
            access: format!("{} {{ {} }}", denial.class, denial.permissions),
            permissive: denial.permissive,
        });
    }
    // What was before the part that was read is not known.
    if !whole && let Some(first) = first {
        counted.since = counted.since.max(Time::from_unix(first));
    }
    Capture::record(&counted)
}

/// The end of a log, and whether that is all of it.
///
/// # Errors
/// It cannot be read.
pub fn tail(path: &Path) -> io::Result<(String, bool)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LOG_TAIL);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // The first line is cut.
    let text =
        if from == 0 { text } else { text.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or_default() };
    Ok((text, from == 0))
}
