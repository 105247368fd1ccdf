//! Small facts of this host, read anew each time.

use eyewall_core::config::{Config, Role};
use eyewall_core::hostname::node_name;
use eyewall_core::os::{self, Os};
use eyewall_core::status::NodeStatus;

/// The kernel's hostname; empty if it cannot be read, which no node may be called.
pub fn hostname() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}

/// A number in 0..1 from the system's random source; the middle if it fails, since it only spreads waits.
pub fn draw() -> f64 {
    let mut bytes = [0_u8; 4];
    match rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}

/// Which OS this is: as configured, else by `/etc/os-release`, else by the one in `/usr/lib` (os-release(5)).
pub fn os(config: &Config) -> &'static Os {
    let release = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
        .unwrap_or_default();
    os::choose(config.node.os, &release)
}

/// Which node this is.
pub fn node(config: &Config) -> NodeStatus {
    NodeStatus {
        name: node_name(config.node.name.as_deref(), &hostname()).ok().map(|name| name.as_str().to_owned()),
        role: match config.node.role {
            Role::Worker => "worker",
            Role::Controller => "controller",
        }
        .to_owned(),
        os: os(config).id.to_owned(),
        boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned()),
    }
}
