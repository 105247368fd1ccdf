//! The agent's own sandbox: what systemd says that it applied, and what the kernel shows of it.

use eyewall_core::posture::read::sandbox::{SandboxView, Switches};
use eyewall_core::posture::{Capture, Source};
use zbus::Variant;

use super::capture::Paths;
use super::files;
use super::host::on_bus;
use super::units::{Bus, Properties, text_of, texts_of};

/// The unit that the agent runs in.
const UNIT: &str = "eyewall.service";

/// What systemd applied.
pub async fn unit(bus: &Bus) -> Capture {
    match bus.properties_of(UNIT).await {
        Ok(properties) => Capture::record(&view(&properties)),
        Err(fault) => on_bus(&fault),
    }
}

/// A file of the daemon's directory in `/proc`: our own in the daemon, that of the unit's main process where a verb looks.
pub async fn process(source: &Source, paths: &Paths, file: &str, bus: Option<&Bus>) -> Capture {
    let Some(bus) = bus else { return files::content(source, &paths.at("/proc/self").join(file)) };
    match bus.properties_of(UNIT).await {
        Ok(properties) => match text_of(&properties, "MainPID").as_str() {
            "" | "0" => Capture::Missing,
            pid => files::content(source, &paths.at("/proc").join(pid).join(file)),
        },
        Err(fault) => on_bus(&fault),
    }
}

fn view(properties: &Properties) -> SandboxView {
    let value = |name: &str| properties.get(name).map(|value| &**value);
    let flag = |name: &str| match value(name) {
        Some(Variant::Bool(yes)) => Some(*yes),
        // Since systemd 257 some switches are words.
        Some(Variant::Str(word)) => Some(!matches!(word.as_str(), "no" | "")),
        _ => None,
    };
    let number = |name: &str| match value(name) {
        Some(Variant::U64(number)) => Some(*number),
        _ => None,
    };
    let word = |name: &str| value(name).map(|_| text_of(properties, name));
    let texts = |name: &str| value(name).map(|_| texts_of(properties, name));
    // `(bas)`: is it a list of what is allowed, and the list.
    let list = |name: &str| match value(name) {
        Some(Variant::Structure(fields)) => match fields.fields() {
            [Variant::Bool(allows), Variant::Array(items)] => {
                Some((*allows, items.iter().map(super::units::text).collect()))
            }
            _ => None,
        },
        _ => None,
    };
    SandboxView {
        fragment_path: text_of(properties, "FragmentPath"),
        drop_in_paths: texts_of(properties, "DropInPaths"),
        need_daemon_reload: flag("NeedDaemonReload") == Some(true),
        protect_system: word("ProtectSystem"),
        protect_home: word("ProtectHome"),
        capability_bounding_set: number("CapabilityBoundingSet"),
        ambient_capabilities: number("AmbientCapabilities"),
        restrict_namespaces: number("RestrictNamespaces"),
        secure_bits: match value("SecureBits") {
            Some(Variant::I32(bits)) => Some(*bits),
            _ => None,
        },
        restrict_address_families: list("RestrictAddressFamilies"),
        system_call_filter: list("SystemCallFilter"),
        system_call_architectures: texts("SystemCallArchitectures"),
        read_write_paths: texts("ReadWritePaths"),
        switches: Switches {
            no_new_privileges: flag("NoNewPrivileges"),
            private_tmp: flag("PrivateTmp"),
            private_devices: flag("PrivateDevices"),
            private_mounts: flag("PrivateMounts"),
            restrict_suid_sgid: flag("RestrictSUIDSGID"),
            restrict_realtime: flag("RestrictRealtime"),
            lock_personality: flag("LockPersonality"),
            memory_deny_write_execute: flag("MemoryDenyWriteExecute"),
            protect_clock: flag("ProtectClock"),
            protect_kernel_logs: flag("ProtectKernelLogs"),
            protect_kernel_modules: flag("ProtectKernelModules"),
            protect_kernel_tunables: flag("ProtectKernelTunables"),
            protect_control_groups: flag("ProtectControlGroups"),
        },
    }
}
