//! Whether the kubelet is still set up as Typhoon, or we, set it up (typhoon `kubelet.yaml`, equal on all its platforms).

use std::net::IpAddr;
use std::path::Path;

use serde_json::Value;

use super::BASE;
use super::files::regular;
use super::running::{ARGV, CONFIGURATION, Running, argv};
use crate::config::{Config, Owner, Role};
use crate::os::Selinux;
use crate::posture::units::{self, UNITS};
use crate::posture::{Accepts, Check, Grade, Judged, Seen, Severity, Source, Unseen, Worth, needs};

/// When the KubeletConfiguration was changed last.
pub const FILE: Source = Source::stat("stat:{kubelet.config}");

/// The family's part.
pub const CHECKS: &[Check] = &[
    Check {
        id: "kubelet-configuration",
        title: "The kubelet's configuration is the one that was installed",
        severity: Severity::Medium,
        reads: &[needs(&ARGV), needs(&CONFIGURATION), needs(&FILE), needs(&UNITS)],
        judge: configuration,
        worth: Worth::Proves(
            "Every setting that Typhoon makes has its value, and the file is older than the running kubelet.",
        ),
        not: "That a setting which Typhoon does not make is harmless: such settings are listed.",
        expects: Accepts::Names("settings that may differ, like shutdownGracePeriod"),
        ..BASE
    },
    Check {
        id: "kubelet-flags",
        title: "The running kubelet has the flags of its unit, and one owner of its certificate",
        severity: Severity::Medium,
        reads: &[needs(&ARGV)],
        judge: flags,
        worth: Worth::Proves("The running kubelet's command line has the flags that are meant, and no other."),
        not: "That the unit was not changed since: its next start may have others.",
        expects: Accepts::Names("flags that may be there, without the dashes"),
        ..BASE
    },
];

/// The settings whose value is the same everywhere.
const FIXED: [(&str, &str); 12] = [
    ("authentication.anonymous.enabled", "false"),
    ("authentication.webhook.enabled", "true"),
    ("authorization.mode", "\"Webhook\""),
    ("cgroupDriver", "\"systemd\""),
    ("healthzPort", "0"),
    ("readOnlyPort", "0"),
    ("serializeImagePulls", "false"),
    ("shutdownGracePeriod", "\"45s\""),
    ("shutdownGracePeriodCriticalPods", "\"30s\""),
    ("staticPodPath", "\"/etc/kubernetes/manifests\""),
    ("volumePluginDir", "\"/var/lib/kubelet/volumeplugins\""),
    // The flag decides; see kubelet-flags. A file left by Typhoon says true, one of ours false.
    ("rotateCertificates", ""),
];

/// The settings whose value depends on the site, so that only their form is compared.
const BY_SITE: [&str; 4] = ["authentication.x509.clientCAFile", "clusterDNS", "clusterDomain", "resolvConf"];

fn configuration(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let running = Running::see(seen)?;
    let allowed: Vec<&str> = seen.allowed().collect();
    let mut drift: Vec<String> = Vec::new();
    for (key, want) in FIXED {
        let value = running.file.get(key);
        let same = match serde_json::from_str::<Value>(want) {
            Ok(want) => value == Some(&want),
            Err(_) => value.is_none_or(Value::is_boolean),
        };
        if !same && !allowed.contains(&key) {
            drift.push(differs(key, value, want));
        }
    }
    for key in BY_SITE {
        let value = running.file.get(key);
        if !by_site(seen, key, value) && !allowed.contains(&key) {
            drift.push(differs(key, value, "of the known form"));
        }
    }
    let is_known = |key: &str| FIXED.iter().any(|(known, _)| *known == key) || BY_SITE.contains(&key);
    let additions: Vec<String> =
        running.file.iter().filter(|(key, _)| !is_known(key)).map(|(key, value)| format!("{key}: {value}")).collect();
    let (file, units) = (regular(seen.one(&FILE)?)?, units::loaded(seen)?);
    let unit = units.get(&seen.expect.config.kubelet.unit);
    let started = unit.and_then(|unit| unit.active_since);
    let judged = if !drift.is_empty() {
        Judged::fail(
            "drift",
            "The kubelet's configuration differs from what was installed: put it back, or declare the settings with [posture] expect.",
        )
    } else {
        match started {
            None => Judged::unknown(
                "not-started",
                "systemd does not say since when the kubelet's unit is active, so the running kubelet may have another configuration.",
            ),
            Some(started) if file.mtime > started => Judged::fail(
                "not-in-force",
                format!(
                    "The file was changed at {}, after the kubelet was started at {started}: restart the kubelet.",
                    file.mtime
                ),
            ),
            Some(_) if additions.is_empty() => Judged::pass(
                Grade::Configured,
                "as-installed",
                "The kubelet's configuration is the one that was installed.",
            ),
            Some(_) => Judged::pass(
                Grade::Configured,
                "with-additions",
                "Every setting of the installation has its value; others were added.",
            ),
        }
    };
    Ok(judged.facts("differs", drift).facts("added", additions))
}

fn differs(key: &str, value: Option<&Value>, want: &str) -> String {
    let got = value.map_or_else(|| "not set".to_owned(), Value::to_string);
    format!("{key} is {got}, not {want}")
}

fn by_site(seen: &Seen<'_>, key: &str, value: Option<&Value>) -> bool {
    let Some(value) = value else { return false };
    let text = value.as_str().unwrap_or_default();
    match key {
        "authentication.x509.clientCAFile" => text == authority(&seen.expect.config),
        "clusterDNS" => value.as_array().is_some_and(|list| {
            !list.is_empty() && list.iter().all(|one| one.as_str().is_some_and(|one| one.parse::<IpAddr>().is_ok()))
        }),
        "clusterDomain" => !text.is_empty(),
        // A host that is neither Fedora CoreOS nor Flatcar may have no resolved.
        _ => {
            text == "/run/systemd/resolve/resolv.conf"
                || (seen.expect.os.selinux == Selinux::AsFound && text == "/etc/resolv.conf")
        }
    }
}

/// The client CA lies beside the KubeletConfiguration.
fn authority(config: &Config) -> String {
    config.kubelet.config.parent().unwrap_or(Path::new("/")).join("ca.crt").display().to_string()
}

/// The flags that Typhoon's units and ours have.
const FLAGS: [&str; 11] = [
    "bootstrap-kubeconfig",
    "cert-dir",
    "cloud-provider",
    "config",
    "container-runtime-endpoint",
    "hostname-override",
    "kubeconfig",
    "node-labels",
    "provider-id",
    "register-with-taints",
    "rotate-certificates",
];

/// What DigitalOcean's workers have beside those: harmless with these values, and with no other.
const HARMLESS: [(&str, &str); 4] = [
    ("anonymous-auth", "false"),
    ("authentication-token-webhook", "true"),
    ("authorization-mode", "Webhook"),
    ("v", "2"),
];

fn flags(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let argv = argv(seen)?;
    let config = &seen.expect.config;
    let configured = config.kubelet.extra_args.iter().filter_map(|flag| flag.strip_prefix("--")?.split('=').next());
    let allowed: Vec<&str> = seen.allowed().chain(configured).chain(FLAGS).collect();
    let is_harmless =
        |name: &str| HARMLESS.iter().any(|(known, value)| *known == name && argv.value(name) == Some(value));
    let strange: Vec<&str> =
        argv.names().into_iter().filter(|name| !allowed.contains(name) && !is_harmless(name)).collect();
    let rotates = argv.value("rotate-certificates") != Some("false");
    let bootstraps = argv.value("bootstrap-kubeconfig").is_some_and(|path| !path.is_empty());
    let taint = "node-role.kubernetes.io/controller=:NoSchedule";
    let tainted = argv.values("register-with-taints").iter().any(|list| list.split(',').any(|one| one == taint));
    let judged = match config.certificates.owner {
        Owner::Eyewall if rotates || bootstraps => Judged::fail(
            "two-owners",
            "The running kubelet renews its certificate itself, and so does eyewall: restart the kubelet, or set certificates.owner = \"kubelet\".",
        ),
        Owner::Kubelet if !bootstraps || !rotates => Judged::fail(
            "no-owner",
            "The running kubelet does not renew its certificate, and eyewall is told not to: restart the kubelet, or set certificates.owner = \"eyewall\".",
        ),
        _ if seen.expect.role == Role::Controller && !tainted => Judged::fail(
            "no-taint",
            format!(
                "A controller's kubelet registers with --register-with-taints={taint}, and this one does not: workloads may land here."
            ),
        ),
        _ if !strange.is_empty() => Judged::fail(
            "another-flag",
            "The running kubelet has flags that neither Typhoon nor eyewall gives it: add them to kubelet.extra_args if they are meant.",
        ),
        _ => Judged::pass(Grade::Configured, "as-installed", "The running kubelet has the flags that are meant."),
    };
    Ok(judged.facts("flag", strange.iter().map(|name| format!("--{name}"))))
}
