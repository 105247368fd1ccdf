//! The sandbox of the agent's own unit, as systemd has it loaded over D-Bus (`org.freedesktop.systemd1.Service`).

use serde::{Deserialize, Serialize};

/// The properties that are kept, under systemd's own names. One that this systemd does not have is absent, which is not the
/// same as off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SandboxView {
    /// The unit's file.
    pub fragment_path: String,
    /// Its drop-ins, in the order in which they are read.
    pub drop_in_paths: Vec<String>,
    /// What is on disk differs from what is loaded.
    pub need_daemon_reload: bool,
    /// `no`, `yes`, `full`, `strict`.
    pub protect_system: Option<String>,
    /// `no`, `yes`, `read-only`, `tmpfs`.
    pub protect_home: Option<String>,
    /// One bit for each capability.
    pub capability_bounding_set: Option<u64>,
    /// The same.
    pub ambient_capabilities: Option<u64>,
    /// The namespaces that may still be made, one bit each; 0: none.
    pub restrict_namespaces: Option<u64>,
    /// The bits of capabilities(7), `SECBIT_NOROOT` is 1 and its lock 2.
    pub secure_bits: Option<i32>,
    /// Whether the list names what is allowed (`true`) or what is denied, and the list.
    pub restrict_address_families: Option<(bool, Vec<String>)>,
    /// The same of system calls.
    pub system_call_filter: Option<(bool, Vec<String>)>,
    /// `native`
    pub system_call_architectures: Option<Vec<String>>,
    /// Paths that may be written all the same.
    pub read_write_paths: Option<Vec<String>>,
    /// The options that are on or off.
    #[serde(flatten)]
    pub switches: Switches,
}

/// The options of the sandbox that are on or off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Switches {
    /// `NoNewPrivileges=`
    pub no_new_privileges: Option<bool>,
    /// `PrivateTmp=`
    pub private_tmp: Option<bool>,
    /// `PrivateDevices=`
    pub private_devices: Option<bool>,
    /// `PrivateMounts=`
    pub private_mounts: Option<bool>,
    /// `RestrictSUIDSGID=`
    #[serde(rename = "RestrictSUIDSGID")]
    pub restrict_suid_sgid: Option<bool>,
    /// `RestrictRealtime=`
    pub restrict_realtime: Option<bool>,
    /// `LockPersonality=`
    pub lock_personality: Option<bool>,
    /// `MemoryDenyWriteExecute=`
    pub memory_deny_write_execute: Option<bool>,
    /// `ProtectClock=`
    pub protect_clock: Option<bool>,
    /// `ProtectKernelLogs=`
    pub protect_kernel_logs: Option<bool>,
    /// `ProtectKernelModules=`
    pub protect_kernel_modules: Option<bool>,
    /// `ProtectKernelTunables=`
    pub protect_kernel_tunables: Option<bool>,
    /// `ProtectControlGroups=`
    pub protect_control_groups: Option<bool>,
}

impl Switches {
    /// Each with its name in a unit file.
    pub fn named(&self) -> [(&'static str, Option<bool>); 13] {
        [
            ("NoNewPrivileges", self.no_new_privileges),
            ("PrivateTmp", self.private_tmp),
            ("PrivateDevices", self.private_devices),
            ("PrivateMounts", self.private_mounts),
            ("RestrictSUIDSGID", self.restrict_suid_sgid),
            ("RestrictRealtime", self.restrict_realtime),
            ("LockPersonality", self.lock_personality),
            ("MemoryDenyWriteExecute", self.memory_deny_write_execute),
            ("ProtectClock", self.protect_clock),
            ("ProtectKernelLogs", self.protect_kernel_logs),
            ("ProtectKernelModules", self.protect_kernel_modules),
            ("ProtectKernelTunables", self.protect_kernel_tunables),
            ("ProtectControlGroups", self.protect_control_groups),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_systemds() {
        let view: SandboxView = serde_json::from_value(serde_json::json!({
            "FragmentPath": "/etc/systemd/system/eyewall.service", "DropInPaths": [], "NeedDaemonReload": false,
            "ProtectSystem": "strict", "RestrictSUIDSGID": true, "NoNewPrivileges": true,
            "RestrictAddressFamilies": [true, ["AF_UNIX"]],
        }))
        .expect("a view");
        assert_eq!(view.switches.named()[0], ("NoNewPrivileges", Some(true)));
        assert_eq!(view.switches.restrict_suid_sgid, Some(true));
        assert_eq!(view.switches.private_tmp, None);
        let back: SandboxView = serde_json::from_value(serde_json::to_value(&view).expect("plain")).expect("the same");
        assert_eq!(back, view);
        assert!(serde_json::from_str::<SandboxView>(r#"{"ProtectSystem":"strict"}"#).is_err());
    }
}
