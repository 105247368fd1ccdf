//! Whose a control group is, from its path: a unit's, a pod's, a container's.

/// The owner of what runs in a control group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A systemd unit: a service, or a scope that is none of a container.
    Unit(String),
    /// A pod's container, or the pod itself.
    Pod {
        /// The pod's uid.
        uid: String,
        /// The container's id.
        container: Option<String>,
    },
    /// A container that belongs to no pod: the kubelet's own, for one.
    Container {
        /// `podman` or `docker`.
        runtime: &'static str,
        /// Its id.
        id: String,
    },
    /// PID 1: the socket of a `.socket` unit is held by it until the service starts.
    Init,
    /// Something else; the path.
    Other(String),
}

impl Owner {
    /// Reads a path below `/sys/fs/cgroup` (`/system.slice/sshd.service`). Total: what is not known is [`Owner::Other`].
    pub fn of(path: &str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        if let Some(pod) = pod(&parts) {
            return pod;
        }
        for part in &parts {
            // A container's scope may be divided further inside (`libpod-….scope/container`).
            if let Some((runtime, id)) = container(part) {
                return Self::Container { runtime, id: id.to_owned() };
            }
        }
        if let ["docker", id] = parts[..]
            && is_id(id)
        {
            return Self::Container { runtime: "docker", id: id.to_owned() };
        }
        if parts == ["init.scope"] {
            return Self::Init;
        }
        // What a unit does below its own group (`Delegate=yes`) is still the unit's.
        let unit = parts.iter().find(|part| part.ends_with(".service") || part.ends_with(".scope"));
        unit.map_or_else(|| Self::Other(path.to_owned()), |unit| Self::Unit((*unit).to_owned()))
    }

    /// For people.
    pub fn name(&self) -> String {
        match self {
            Self::Unit(unit) => unit.clone(),
            Self::Pod { uid, .. } => format!("pod {uid}"),
            Self::Container { runtime, id } => format!("{runtime} container {}", id.get(..12).unwrap_or(id)),
            Self::Init => "systemd".to_owned(),
            Self::Other(path) => format!("control group {path}"),
        }
    }
}

/// `kubepods[-burstable|-besteffort]-pod<uid>.slice/<runtime>-<id>.scope` with systemd's driver (Typhoon's),
/// `kubepods/[burstable|besteffort/]pod<uid>/<id>` without.
fn pod(parts: &[&str]) -> Option<Owner> {
    let first = parts.first()?;
    if *first != "kubepods.slice" && *first != "kubepods" {
        return None;
    }
    for (index, part) in parts.iter().enumerate().skip(1) {
        let uid = match part.strip_suffix(".slice") {
            Some(slice) => slice.rsplit_once("-pod").map(|(_, uid)| uid.replace('_', "-")),
            None => part.strip_prefix("pod").map(str::to_owned),
        };
        let Some(uid) = uid.filter(|uid| is_uid(uid)) else { continue };
        let container = parts.get(index + 1).map(|part| {
            let scope = part.strip_suffix(".scope").unwrap_or(part);
            scope.rsplit_once('-').map_or(scope, |(_, id)| id).to_owned()
        });
        return Some(Owner::Pod { uid, container });
    }
    None
}

/// A UUID; a static pod's is a hash of its manifest.
fn is_uid(uid: &str) -> bool {
    (8..=64).contains(&uid.len()) && uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

fn container(part: &str) -> Option<(&'static str, &str)> {
    let scope = part.strip_suffix(".scope")?;
    [("podman", "libpod-"), ("docker", "docker-")].into_iter().find_map(|(runtime, prefix)| {
        let id = scope.strip_prefix(prefix)?;
        is_id(id).then_some((runtime, id))
    })
}

fn is_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_have_owners() {
        let id = "0123456789abcdef".repeat(4);
        let uid = "1f2e3d4c-0000-4000-8000-0123456789ab";
        let slice = uid.replace('-', "_");
        let pod = |container: Option<&str>| Owner::Pod { uid: uid.to_owned(), container: container.map(str::to_owned) };
        for (path, want) in [
            ("/system.slice/sshd.service".to_owned(), Owner::Unit("sshd.service".to_owned())),
            ("/system.slice/system-sshd.slice/sshd@0.service".to_owned(), Owner::Unit("sshd@0.service".to_owned())),
            ("/system.slice/containerd.service/deep/er".to_owned(), Owner::Unit("containerd.service".to_owned())),
            ("/user.slice/user-500.slice/session-1.scope".to_owned(), Owner::Unit("session-1.scope".to_owned())),
            (
                "/user.slice/user-500.slice/user@500.service/app.slice/x.service".to_owned(),
                Owner::Unit("user@500.service".to_owned()),
            ),
            ("/init.scope".to_owned(), Owner::Init),
            ("/".to_owned(), Owner::Other("/".to_owned())),
            ("".to_owned(), Owner::Other(String::new())),
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{slice}.slice/cri-containerd-{id}.scope"
                ),
                pod(Some(&id)),
            ),
            (format!("/kubepods.slice/kubepods-pod{slice}.slice"), pod(None)),
            (format!("/kubepods/besteffort/pod{uid}/{id}"), pod(Some(&id))),
            (
                "/kubepods.slice/kubepods-burstable.slice".to_owned(),
                Owner::Other("/kubepods.slice/kubepods-burstable.slice".to_owned()),
            ),
            (
                format!("/machine.slice/libpod-{id}.scope/container"),
                Owner::Container { runtime: "podman", id: id.clone() },
            ),
            (format!("/system.slice/docker-{id}.scope"), Owner::Container { runtime: "docker", id: id.clone() }),
            // dockerd without systemd's driver.
            (format!("/docker/{id}"), Owner::Container { runtime: "docker", id: id.clone() }),
            ("/docker/x".to_owned(), Owner::Other("/docker/x".to_owned())),
            ("/system.slice/docker-x.scope".to_owned(), Owner::Unit("docker-x.scope".to_owned())),
            // A service may be called as it likes; it is no pod for that.
            (format!("/system.slice/kubepods-pod{slice}.slice/a.service"), Owner::Unit("a.service".to_owned())),
        ] {
            assert_eq!(Owner::of(&path), want, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_has_an_owner(path in "(?s).{0,200}", near in "(/?[a-z.-]{0,12}(pod|kubepods.slice|.scope|libpod-|.service)?){0,6}") {
            let _ = (Owner::of(&path).name(), Owner::of(&near).name());
        }
    }
}
