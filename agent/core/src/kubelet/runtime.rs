//! The container runtimes, each a constant: how it runs, finds, pulls, stops and removes. Adding one is adding a constant and its line in [`ALL`].

use crate::config::RuntimeChoice;
use crate::os::Os;

/// The container's name, on every host and with every runtime: `podman logs kubelet` is what people know.
pub const CONTAINER: &str = "kubelet";

/// One container runtime. All its arguments stand after the program's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// The program, and the word in the configuration.
    pub id: &'static str,
    log_driver: &'static str,
    present: &'static [&'static str],
    stop: &'static [&'static str],
    remove: &'static [&'static str],
}

/// podman: its process is the container's supervisor, and systemd's.
pub const PODMAN: Runtime = Runtime {
    id: "podman",
    // Not journald: the unit's own output is in the journal already, and every line was there twice (typhoon#1221).
    log_driver: "k8s-file",
    present: &["image", "exists"],
    stop: &["stop", "--ignore"],
    remove: &["rm", "--force", "--ignore"],
};

/// docker: its process is a client of dockerd. It stays in the foreground all the same, so that systemd sees the
/// kubelet end, `systemctl stop` reaches it (signals are passed on) and its output is the unit's. When dockerd ends, the
/// client ends; the unit then removes what is left and starts anew.
pub const DOCKER: Runtime = Runtime {
    id: "docker",
    // The output goes to the attached client and so to the journal. dockerd's own copy (json-file) has no size limit
    // by default and would fill the disk of a node that runs for months.
    log_driver: "none",
    present: &["image", "inspect", "--format={{.Id}}"],
    stop: &["stop"],
    // With --force a container that is not there is no failure.
    remove: &["rm", "--force"],
};

/// Every runtime.
pub const ALL: [Runtime; 2] = [PODMAN, DOCKER];

impl Runtime {
    /// The runtime of this name.
    pub fn by_id(id: &str) -> Option<Self> {
        ALL.into_iter().find(|runtime| runtime.id == id)
    }

    /// Exits 0 if the host has the image.
    pub fn present(&self, image: &str) -> Vec<String> {
        words(self.present, image)
    }

    /// Fetches the image.
    pub fn pull(&self, image: &str) -> Vec<String> {
        words(&["pull", "--quiet"], image)
    }

    /// Exits 0 if there is a container of ours, running or not.
    pub fn exists(&self) -> Vec<String> {
        words(&["container", "inspect", "--format={{.Id}}"], CONTAINER)
    }

    /// SIGTERM, and after 10 s SIGKILL.
    pub fn stop(&self) -> Vec<String> {
        words(self.stop, CONTAINER)
    }

    /// Removes the container, also a running one.
    pub fn remove(&self) -> Vec<String> {
        words(self.remove, CONTAINER)
    }

    /// The first part of `run`: everything before the mounts.
    pub(super) fn run(&self) -> Vec<String> {
        [
            "run",
            "--name",
            CONTAINER,
            "--log-driver",
            self.log_driver,
            "--privileged",
            "--pid",
            "host",
            "--network",
            "host",
        ]
        .map(str::to_owned)
        .into()
    }
}

/// The runtime to use: the configured one, else the first of the OS's own that the host has.
/// `has` says whether there is a program of this name. `None`: there is none.
pub fn choose(choice: RuntimeChoice, os: &Os, has: impl Fn(&str) -> bool) -> Option<Runtime> {
    let fixed;
    let candidates = match choice {
        RuntimeChoice::Auto => os.runtimes,
        RuntimeChoice::Podman => {
            fixed = [PODMAN];
            &fixed
        }
        RuntimeChoice::Docker => {
            fixed = [DOCKER];
            &fixed
        }
    };
    candidates.iter().copied().find(|runtime| has(runtime.id))
}

fn words(words: &[&str], last: &str) -> Vec<String> {
    words.iter().chain([&last]).map(|&word| word.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::{FCOS, FLATCAR, GENERIC};

    #[test]
    fn the_oses_own_runtime_comes_first() {
        let both: &[&str] = &["docker", "podman"];
        for (name, choice, os, has, want) in [
            ("Fedora CoreOS", RuntimeChoice::Auto, &FCOS, both, Some("podman")),
            ("Flatcar", RuntimeChoice::Auto, &FLATCAR, both, Some("docker")),
            ("Flatcar with podman only", RuntimeChoice::Auto, &FLATCAR, &["podman"], Some("podman")),
            ("generic", RuntimeChoice::Auto, &GENERIC, both, Some("podman")),
            ("generic with docker only", RuntimeChoice::Auto, &GENERIC, &["docker"], Some("docker")),
            ("fixed", RuntimeChoice::Docker, &FCOS, both, Some("docker")),
            ("fixed and absent", RuntimeChoice::Docker, &FCOS, &["podman"], None),
            ("nothing", RuntimeChoice::Auto, &GENERIC, &[], None),
        ] {
            let got = choose(choice, os, |program| has.contains(&program));
            assert_eq!(got.map(|runtime| runtime.id), want, "{name}");
        }
    }

    #[test]
    fn each_runtime_has_its_words() {
        let image = "quay.io/a/b:1";
        for (runtime, action, arguments, want) in [
            (PODMAN, "present", PODMAN.present(image), "image exists quay.io/a/b:1"),
            (PODMAN, "pull", PODMAN.pull(image), "pull --quiet quay.io/a/b:1"),
            (PODMAN, "stop", PODMAN.stop(), "stop --ignore kubelet"),
            (PODMAN, "remove", PODMAN.remove(), "rm --force --ignore kubelet"),
            (DOCKER, "present", DOCKER.present(image), "image inspect --format={{.Id}} quay.io/a/b:1"),
            (DOCKER, "pull", DOCKER.pull(image), "pull --quiet quay.io/a/b:1"),
            (DOCKER, "exists", DOCKER.exists(), "container inspect --format={{.Id}} kubelet"),
            (DOCKER, "stop", DOCKER.stop(), "stop kubelet"),
            (DOCKER, "remove", DOCKER.remove(), "rm --force kubelet"),
        ] {
            assert_eq!(arguments.join(" "), want, "{} {action}", runtime.id);
            assert_eq!(Runtime::by_id(runtime.id), Some(runtime));
        }
        assert_eq!(Runtime::by_id("crio"), None);
    }
}
