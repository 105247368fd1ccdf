//! The keys. Each is one line: its name, its field, and the reader that checks it. Its default stands at the field.

use std::time::Duration;

use super::kubernetes::{label_fault, taint_fault};
use super::table::Table;
use super::value::{
    address, auto_or, boolean, count, dns_name, duration, endpoint, endpoint_or_none, fraction, fractions, images,
    is_check_id, node_name, path, service, textfile, time_zone, waiver, window, word,
};
use super::{Config, LockChoice, OnDrainTimeout, OsChoice, Owner, Role, RuntimeChoice};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// Reads one document over `config`: what it does not say stays as it is.
pub(super) fn read(root: &mut Table<'_>, config: &mut Config) {
    root.table("node", |t| {
        let c = &mut config.node;
        t.key("name", &mut c.name, node_name);
        t.key("role", &mut c.role, word(&ROLES));
        t.key("os", &mut c.os, word(&OSES));
    });
    root.table("cluster", |t| {
        let c = &mut config.cluster;
        t.key("bootstrap_kubeconfig", &mut c.bootstrap_kubeconfig, path);
        t.key("bootstrap_kubeconfig_root_only", &mut c.bootstrap_kubeconfig_root_only, boolean);
        t.key("dns", &mut c.dns, |v| v.list(address));
        t.key("domain", &mut c.domain, dns_name);
    });
    root.table("certificates", |t| {
        let c = &mut config.certificates;
        t.key("owner", &mut c.owner, word(&OWNERS));
        t.key("directory", &mut c.directory, path);
        t.key("kubeconfig", &mut c.kubeconfig, path);
        t.key("renew_at", &mut c.renew_at, fractions);
        t.key("serving", &mut c.serving, boolean);
        // A hundred files are 33 weeks of renewals: more is a mistake in the unit.
        t.key("keep", &mut c.keep, count(1, 100));
        t.key("warn_off", &mut c.warn_off, auto_or(duration(60 * SECOND, 365 * DAY)));
        t.key("warn_recovery", &mut c.warn_recovery, duration(DAY, 365 * DAY));
        t.key("warn_authority", &mut c.warn_authority, fraction);
    });
    root.table("kubelet", |t| {
        let c = &mut config.kubelet;
        t.key("unit", &mut c.unit, service);
        t.key("runtime", &mut c.runtime, word(&RUNTIMES));
        t.key("images", &mut c.images, images);
        t.key("require_digest", &mut c.require_digest, boolean);
        t.key("health", &mut c.health, endpoint);
        t.key("config", &mut c.config, path);
        // Which flags may stand here depends on the owner of the certificate: `read.rs` asks when all files are read.
        t.key("extra_args", &mut c.extra_args, |v| v.list(|v| v.text().map(str::to_owned)));
        t.extend("labels", &mut c.labels, |key, v| {
            let value = v.text()?;
            match label_fault(key, value) {
                None => Some(value.to_owned()),
                Some(why) => v.wrong("bad-label", format!("the label {key}={value}: {why}")),
            }
        });
        t.key("taints", &mut c.taints, |v| {
            v.list(|v| {
                let taint = v.text()?;
                match taint_fault(taint) {
                    None => Some(taint.to_owned()),
                    Some(why) => v.wrong("bad-taint", format!("the taint {taint:?}: {why}")),
                }
            })
        });
    });
    root.table("posture", |t| {
        let c = &mut config.posture;
        // Events come at once; this is only the look that catches what sent no event.
        t.key("interval", &mut c.interval, duration(10 * SECOND, DAY));
        t.extend("expect", &mut c.expect, |key, v| {
            let value = v.text()?.to_owned();
            if is_check_id(key) {
                return Some(value);
            }
            let advice = "the id of a check is lower-case words joined by '-'";
            v.wrong("bad-check-id", format!("{key:?} is no check: {advice}"))
        });
        t.key("waive", &mut c.waive, |v| v.list(waiver));
    });
    root.table("reboot", |t| {
        let c = &mut config.reboot;
        t.key("coordinate", &mut c.coordinate, boolean);
        t.key("lock", &mut c.lock, word(&LOCKS));
        t.key("group", &mut c.group, dns_name);
        t.key("fleetlock_url", &mut c.fleetlock_url, endpoint_or_none);
        t.key("windows", &mut c.windows, |v| v.list(window));
        t.key("time_zone", &mut c.time_zone, time_zone);
        t.key("drain_timeout", &mut c.drain_timeout, duration(SECOND, DAY));
        t.key("on_drain_timeout", &mut c.on_drain_timeout, word(&DRAINS));
        t.key("health_gate", &mut c.health_gate, duration(Duration::ZERO, DAY));
        t.key("rollback", &mut c.rollback, boolean);
    });
    root.table("socket", |t| {
        t.key("path", &mut config.socket.path, path);
    });
    root.table("metrics", |t| {
        t.key("textfile", &mut config.metrics.textfile, textfile);
    });
}

const ROLES: [(&str, Role); 2] = [("worker", Role::Worker), ("controller", Role::Controller)];
const OSES: [(&str, OsChoice); 4] = [
    ("auto", OsChoice::Auto),
    ("fcos", OsChoice::Fcos),
    ("flatcar", OsChoice::Flatcar),
    ("generic", OsChoice::Generic),
];
const OWNERS: [(&str, Owner); 2] = [("eyewall", Owner::Eyewall), ("kubelet", Owner::Kubelet)];
const RUNTIMES: [(&str, RuntimeChoice); 3] =
    [("auto", RuntimeChoice::Auto), ("podman", RuntimeChoice::Podman), ("docker", RuntimeChoice::Docker)];
const LOCKS: [(&str, LockChoice); 3] =
    [("slots", LockChoice::Slots), ("fleetlock", LockChoice::Fleetlock), ("local", LockChoice::Local)];
const DRAINS: [(&str, OnDrainTimeout); 2] = [("give-up", OnDrainTimeout::GiveUp), ("reboot", OnDrainTimeout::Reboot)];
