//! Evidence that is made of several files, or of a program's own words: sockets with the control groups that made them, the kubelet's
//! command line and image, the agent's own process, the services of the OS on the bus.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use eyewall_core::posture::Capture;
use eyewall_core::posture::read::argv::Argv;
use eyewall_core::posture::read::container;
use eyewall_core::posture::read::deployments::Deployments;
use eyewall_core::posture::read::inhibitor::{Inhibitor, Inhibitors};
use eyewall_core::posture::read::probe::Binary;
use eyewall_core::posture::read::sock_diag::{SocketView, Sockets};
use eyewall_core::posture::read::update_engine::EngineStatus;
use serde_json::{Map, Value};
use zbus::Variant;

use super::capture::Paths;
use super::files::why_not;
use super::units::{Bus, UnitFault};
use super::{netlink, selinux};

/// Control groups that are looked at; a node with 110 pods has about a thousand.
const GROUPS_MAX: usize = 50_000;
/// podman's lists of containers and images are some hundred KiB.
const STORE_MAX: u64 = 4 * 1024 * 1024;
/// Where podman and docker lay the layers of a container over each other, if nobody moved it.
const STORES: [&str; 2] = ["/var/lib/containers/storage/overlay", "/var/lib/docker/overlay2"];
/// The kubelet's program has some 60 MiB.
const PROGRAM_MAX: u64 = 512 * 1024 * 1024;

/// Every socket that can be reached, with the path of the control group that it was made in.
pub fn sockets(paths: &Paths) -> Capture {
    let listeners = match netlink::listeners() {
        Ok(listeners) => listeners,
        Err(error) => return why_not(Path::new("the kernel's table of sockets"), &error),
    };
    let root = paths.at("/sys/fs/cgroup");
    // On cgroup v2 the id of a group is the inode of its directory; v1 has no such file.
    let groups = if root.join("cgroup.controllers").exists() { groups(&root) } else { BTreeMap::new() };
    let sockets = listeners.iter().map(|listener| SocketView::of(listener, |id| groups.get(&id).cloned())).collect();
    Capture::record(&Sockets { sockets })
}

/// The paths of all control groups below `root`, by their inodes.
fn groups(root: &Path) -> BTreeMap<u64, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.filter_map(Result::ok) {
            if found.len() >= GROUPS_MAX || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let path = entry.path();
            if let (Ok(meta), Ok(below)) = (entry.metadata(), path.strip_prefix(root)) {
                found.insert(meta.ino(), format!("/{}", below.display()));
            }
            left.push(path);
        }
    }
    if let Ok(meta) = std::fs::metadata(root) {
        found.insert(meta.ino(), "/".to_owned());
    }
    found
}

/// The kubelet's process, as its directory in `/proc`: the one whose short name is `kubelet`.
fn kubelet(paths: &Paths) -> Option<std::path::PathBuf> {
    selinux::processes(&paths.at("/proc")).into_iter().find(|(_, comm)| comm == "kubelet").map(|(process, _)| process)
}

/// The words of the running kubelet's command line.
pub fn kubelet_argv(paths: &Paths) -> Capture {
    let Some(process) = kubelet(paths) else { return Capture::Missing };
    let file = process.join("cmdline");
    match std::fs::read(&file) {
        Ok(bytes) => match Argv::from_proc(&bytes) {
            Ok(argv) => Capture::record(&argv),
            Err(fault) => Capture::failed(fault.kind(), &fault.to_string()),
        },
        Err(error) => why_not(&file, &error),
    }
}

/// The image of the running container called `kubelet`, from podman's own store.
pub fn kubelet_image(paths: &Paths) -> Capture {
    let store = paths.at("/var/lib/containers/storage");
    let read = |name: &str| read_text(&store.join(name), STORE_MAX);
    let (containers, images) = match (read("overlay-containers/containers.json"), read("overlay-images/images.json")) {
        (Ok(containers), Ok(images)) => (containers, images),
        (Err(error), _) | (_, Err(error)) => return why_not(&store, &error),
    };
    match container::from_podman(&containers, &images, "kubelet") {
        Ok(image) => Capture::record(&image),
        Err(fault) => Capture::failed(fault.kind(), &fault.to_string()),
    }
}

/// The kubelet's program as it lies in its image: by the process' own view of the file system.
pub fn kubelet_binary(paths: &Paths) -> Capture {
    let Some(process) = kubelet(paths) else { return Capture::Missing };
    // /proc/PID/root needs CAP_SYS_PTRACE, which the agent has not; the runtime's merged directory is readable for it.
    let mounts = match std::fs::read_to_string(process.join("mountinfo")) {
        Ok(mounts) => mounts,
        Err(error) => return why_not(&process.join("mountinfo"), &error),
    };
    let upper = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).and_then(|line| {
        let (_, rest) = line.split_once("upperdir=")?;
        let (store, id) = rest.split(',').next()?.trim_end_matches("/diff").rsplit_once('/')?;
        let store = STORES.into_iter().find(|known| *known == store)?;
        Some(paths.at(store).join(id).join("merged/usr/local/bin/kubelet"))
    });
    let Some(program) = upper else {
        return Capture::failed(
            "no-image-directory",
            "The kubelet's root is no overlay of podman's store, nor one of docker's.",
        );
    };
    match selinux::hash(&program, PROGRAM_MAX) {
        Ok(sha256) => Capture::record(&Binary { sha256 }),
        Err(error) => why_not(&program, &error),
    }
}

fn read_text(path: &Path, most: u64) -> io::Result<String> {
    if std::fs::metadata(path)?.len() > most {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    std::fs::read_to_string(path)
}

/// logind's locks.
pub async fn inhibitors(bus: &Bus) -> Capture {
    type Row = (String, String, String, String, u32, u32);
    let listed = async {
        let who = "org.freedesktop.login1";
        let reply =
            bus.call(who, "/org/freedesktop/login1", "org.freedesktop.login1.Manager", "ListInhibitors", &()).await?;
        let body = reply.body();
        Ok::<Vec<Row>, UnitFault>(body.deserialize()?)
    };
    match listed.await {
        Ok(rows) => {
            let inhibitors = rows
                .into_iter()
                .map(|(what, who, why, mode, uid, _)| Inhibitor { what, who, why, mode, uid })
                .collect();
            Capture::record(&Inhibitors { inhibitors })
        }
        Err(fault) => on_bus(&fault),
    }
}

/// `com.coreos.update1.Manager.GetStatus`.
pub async fn update_engine(bus: &Bus) -> Capture {
    let asked = async {
        let (who, path) = ("com.coreos.update1", "/com/coreos/update1");
        let reply = bus.call(who, path, "com.coreos.update1.Manager", "GetStatus", &()).await?;
        let body = reply.body();
        Ok::<(i64, f64, String, String, i64), UnitFault>(body.deserialize()?)
    };
    match asked.await {
        Ok((last_checked_time, _, current_operation, new_version, _)) => {
            Capture::record(&EngineStatus { last_checked_time, current_operation, new_version })
        }
        Err(fault) => on_bus(&fault),
    }
}

/// rpm-ostree's deployments, as `rpm-ostree status --json` makes them of the same property.
pub async fn deployments(bus: &Bus) -> Capture {
    let asked = async {
        let (who, path) = ("org.projectatomic.rpmostree1", "/org/projectatomic/rpmostree1/Sysroot");
        let mut properties = bus.properties(who, path, "org.projectatomic.rpmostree1.Sysroot").await?;
        Ok::<_, UnitFault>(properties.remove("Deployments"))
    };
    match asked.await {
        Ok(Some(list)) => {
            let text = Value::Object(Map::from_iter([("deployments".to_owned(), json(&list))])).to_string();
            match Deployments::parse(&text) {
                Ok(deployments) => Capture::record(&deployments),
                Err(fault) => Capture::failed(fault.kind(), &fault.to_string()),
            }
        }
        Ok(None) => Capture::failed("no-deployments", "rpm-ostree tells of no deployments."),
        Err(fault) => on_bus(&fault),
    }
}

/// Why the bus told nothing. Nobody of that name is no proof that nobody could be there.
pub fn on_bus(fault: &UnitFault) -> Capture {
    match fault {
        UnitFault::Nobody(_) | UnitFault::Gone(_) => Capture::Missing,
        _ => Capture::failed(fault.kind(), &fault.to_string()),
    }
}

/// A D-Bus value as JSON.
fn json(value: &Variant<'_>) -> Value {
    match value {
        Variant::U8(number) => (*number).into(),
        Variant::Bool(yes) => (*yes).into(),
        Variant::I16(number) => (*number).into(),
        Variant::U16(number) => (*number).into(),
        Variant::I32(number) => (*number).into(),
        Variant::U32(number) => (*number).into(),
        Variant::I64(number) => (*number).into(),
        Variant::U64(number) => (*number).into(),
        Variant::F64(number) => (*number).into(),
        Variant::Str(text) => text.as_str().into(),
        Variant::ObjectPath(path) => path.as_str().into(),
        Variant::Variant(inner) => json(inner),
        Variant::Array(items) => Value::Array(items.iter().map(json).collect()),
        Variant::Structure(fields) => Value::Array(fields.fields().iter().map(json).collect()),
        Variant::Dict(entries) => {
            Value::Object(entries.iter().map(|(key, value)| (super::units::text(key), json(value))).collect())
        }
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_kubelets_program_is_found_in_the_store_of_either_runtime() {
        for (name, store, want) in [
            ("podman", "/var/lib/containers/storage/overlay", true),
            ("docker", "/var/lib/docker/overlay2", true),
            ("anybody", "/srv/overlay", false),
        ] {
            let root = tempfile::tempdir().unwrap();
            let put = |path: &str, text: &str| {
                let path = root.path().join(path.trim_start_matches('/'));
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            };
            put("proc/42/comm", "kubelet\n");
            let mount = format!(
                "512 400 0:50 / / rw,relatime - overlay overlay rw,lowerdir={store}/l/A,upperdir={store}/0a0b/diff,workdir={store}/0a0b/work\n"
            );
            put("proc/42/mountinfo", &mount);
            put(&format!("{store}/0a0b/merged/usr/local/bin/kubelet"), "");
            let paths = Paths { root: root.path().to_owned(), config: Arc::default() };
            // Of nothing at all.
            let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
            let found = kubelet_binary(&paths);
            assert_eq!(found == Capture::record(&Binary { sha256: empty.to_owned() }), want, "{name}: {found:?}");
        }
    }
}
