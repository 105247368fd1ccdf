//! The kubelet: what `eyewall kubelet` does before it becomes the container runtime, and the task that watches it afterwards.

pub mod place;
mod runtime;
pub mod start;

/// What `eyewall kubelet` started last ([`eyewall_core::kubelet::Started`]). On /run: it is about this boot.
pub const RECORD: &str = "/run/eyewall/kubelet.json";
