//! The kubelet: what `eyewall kubelet` does before it becomes the container runtime, and the task that watches it afterwards.

pub mod container;
mod health;
pub mod place;
pub mod runtime;
mod serving;
pub mod start;
pub mod systemd;
pub mod task;

/// What `eyewall kubelet` started last ([`eyewall_core::kubelet::Started`]). On /run: it is about this boot.
pub const RECORD: &str = "/run/eyewall/kubelet.json";

/// What the container runtime's own files say of the kubelet's container.
pub fn container_of_host() -> Option<eyewall_core::kubelet::Container> {
    container::of_host(&place::Root::new(std::path::Path::new("/")))
}

/// The name of a process, if there is one of this number that we may see.
pub fn process_name(pid: u32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}
