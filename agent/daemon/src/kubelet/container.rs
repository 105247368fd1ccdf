//! Reads the files in which podman and docker keep what they know of the kubelet's container. The agent's sandbox lets it run
//! neither program; and these files are there for a container that somebody else started.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use eyewall_core::kubelet::{Container, arguments_of_oci, of_docker, of_podman};

use super::place::Root;

/// Where containers/storage keeps what is there, if nobody changed `graphroot` (containers-storage.conf(5)).
const PODMAN: &str = "/var/lib/containers/storage";
/// The same of docker (`data-root`).
const DOCKER: &str = "/var/lib/docker";
/// The largest file that is read, in bytes; a host with many images has some 100 kB.
const LARGEST: u64 = 4 * 1024 * 1024;
/// The most containers of docker's that are looked through. The pods' are containerd's.
const CONTAINERS_MAX: usize = 64;

/// The container that is called `kubelet`, the newest if both runtimes have one; none if there is none, or nobody may look.
pub fn of_host(root: &Root) -> Option<Container> {
    [podman(root), docker(root)].into_iter().flatten().max_by_key(|container| container.created_at)
}

fn podman(root: &Root) -> Option<Container> {
    let at = |below: &str| root.at(PODMAN).join(below);
    let containers = read(&at("overlay-containers/containers.json"))?;
    let images = read(&at("overlay-images/images.json")).unwrap_or_default();
    let mut container = of_podman(&containers, &images)?;
    let is_id = container.id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_id {
        let spec = read(&at(&format!("overlay-containers/{}/userdata/config.json", container.id)));
        container.arguments = spec.and_then(|spec| arguments_of_oci(&spec));
    }
    Some(container)
}

fn docker(root: &Root) -> Option<Container> {
    let repositories = read(&root.at(DOCKER).join("image/overlay2/repositories.json")).unwrap_or_default();
    let entries = std::fs::read_dir(root.at(DOCKER).join("containers")).ok()?;
    entries
        .take(CONTAINERS_MAX)
        .filter_map(|entry| read(&entry.ok()?.path().join("config.v2.json")))
        .filter_map(|config| of_docker(&config, &repositories))
        .max_by_key(|container| container.created_at)
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(LARGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_both_is_the_kubelets() {
        let root = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("below the root")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        let of_host = || of_host(&Root::new(root.path()));
        assert_eq!(of_host(), None, "an empty host");
        let docker = |day: u32| {
            format!(
                r#"{{"ID":"cc","Created":"2026-11-{day}T00:00:00Z","Args":["--v=2"],"Image":"sha256:1","Config":{{"Image":"a/b:1"}},"Name":"/kubelet"}}"#
            )
        };
        write("var/lib/docker/containers/cc/config.v2.json", &docker(10));
        write("var/lib/docker/containers/dd/config.v2.json", "{");
        assert_eq!(of_host().map(|container| container.runtime.id), Some("docker"));
        let podman = r#"[{"id":"bb","names":["kubelet"],"image":"1","metadata":"{\"image-name\":\"a/b:1\"}","created":"2026-11-11T00:00:00Z"}]"#;
        write("var/lib/containers/storage/overlay-containers/containers.json", podman);
        let spec = r#"{"process":{"args":["kubelet","--bootstrap-kubeconfig=/a"]}}"#;
        write("var/lib/containers/storage/overlay-containers/bb/userdata/config.json", spec);
        let container = of_host().expect("podman's");
        assert_eq!((container.runtime.id, container.renews_itself()), ("podman", true));
        write("var/lib/docker/containers/cc/config.v2.json", &docker(12));
        assert_eq!(of_host().map(|container| container.renews_itself()), Some(false));
    }
}
