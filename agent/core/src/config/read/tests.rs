mod faults;

use std::time::Duration;

use proptest::prelude::*;

use super::super::{
    Certificates, Cluster, Kubelet, Metrics, Node, OnDrainTimeout, OsChoice, Owner, Posture, Reboot, Role,
    RuntimeChoice, Socket, Waiver, Window,
};
use super::*;

/// Every key, none with its default.
const FULL: &str = r#"
[node]
name = "node-a"
role = "controller"
os = "flatcar"

[cluster]
bootstrap_kubeconfig = "/a/kubeconfig"
bootstrap_kubeconfig_root_only = false
dns = ["10.100.0.10", "fd00::a"]
domain = "example.com"

[certificates]
owner = "kubelet"
directory = "/a/pki"
kubeconfig = "/b/kubeconfig"
renew_at = [0.5, 0.5]
serving = true
keep = 1
warn_off = "8h"
warn_recovery = "2d"
warn_authority = 0.5

[kubelet]
unit = "k.service"
runtime = "docker"
images = ["quay.io/a/b:1", "docker.io/a/b:1"]
require_digest = false
health = "http://localhost:10248/healthz"
config = "/c/kubelet.yaml"
extra_args = ["--v=2"]
labels = { "example.com/rack" = "r1", plain = "" }
taints = ["a=b:NoSchedule"]

[posture]
interval = "2h30m"
expect = { "selinux-mode" = "permissive" }
waive = [{ check = "ssh-keys-only", why = "a lab", until = "2027-01-01" }]

[reboot]
coordinate = false
lock = "fleetlock"
group = "lab"
fleetlock_url = "http://10.3.0.15"
windows = [{ days = ["Sat", "Sun"], start = "23:30", length = "2h" }]
time_zone = "Europe/Berlin"
drain_timeout = "90s"
on_drain_timeout = "reboot"
health_gate = "0s"
rollback = true

[socket]
path = "/run/x.sock"

[metrics]
textfile = "/var/lib/node_exporter/eyewall.prom"
"#;

fn full() -> Config {
    let strings = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    Config {
        node: Node { name: Some("node-a".to_owned()), role: Role::Controller, os: OsChoice::Flatcar },
        cluster: Cluster {
            bootstrap_kubeconfig: "/a/kubeconfig".into(),
            bootstrap_kubeconfig_root_only: false,
            dns: vec![[10, 100, 0, 10].into(), [0xfd00, 0, 0, 0, 0, 0, 0, 0xa].into()],
            domain: "example.com".to_owned(),
        },
        certificates: Certificates {
            owner: Owner::Kubelet,
            directory: "/a/pki".into(),
            kubeconfig: "/b/kubeconfig".into(),
            renew_at: [0.5, 0.5],
            serving: true,
            keep: 1,
            warn_off: Some(Duration::from_secs(8 * 3_600)),
            warn_recovery: Duration::from_secs(2 * 86_400),
            warn_authority: 0.5,
        },
        kubelet: Kubelet {
            unit: "k.service".to_owned(),
            runtime: RuntimeChoice::Docker,
            images: strings(&["quay.io/a/b:1", "docker.io/a/b:1"]),
            require_digest: false,
            health: "http://localhost:10248/healthz".to_owned(),
            config: "/c/kubelet.yaml".into(),
            extra_args: strings(&["--v=2"]),
            labels: [("example.com/rack", "r1"), ("plain", "")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            taints: strings(&["a=b:NoSchedule"]),
        },
        posture: Posture {
            interval: Duration::from_secs(9_000),
            expect: [("selinux-mode".to_owned(), "permissive".to_owned())].into(),
            waive: vec![Waiver {
                check: "ssh-keys-only".to_owned(),
                why: "a lab".to_owned(),
                until: "2027-01-01".to_owned(),
            }],
        },
        reboot: Reboot {
            coordinate: false,
            lock: LockChoice::Fleetlock,
            group: "lab".to_owned(),
            fleetlock_url: "http://10.3.0.15".to_owned(),
            windows: vec![Window {
                days: strings(&["Sat", "Sun"]),
                start: "23:30".to_owned(),
                length: Duration::from_secs(7_200),
            }],
            time_zone: "Europe/Berlin".to_owned(),
            drain_timeout: Duration::from_secs(90),
            on_drain_timeout: OnDrainTimeout::Reboot,
            health_gate: Duration::ZERO,
            rollback: true,
        },
        socket: Socket { path: "/run/x.sock".into() },
        metrics: Metrics { textfile: Some("/var/lib/node_exporter/eyewall.prom".into()) },
    }
}

fn source(name: &str, text: &str) -> Source {
    Source { name: name.to_owned(), text: text.to_owned() }
}

#[test]
fn nothing_is_the_defaults_and_every_key_is_read() {
    let read_text = |text| read(&[source("f.toml", text)]);
    assert_eq!(read(&[]), Ok(Config::default()), "no file");
    assert_eq!(read_text(""), Ok(Config::default()), "an empty file");
    assert_eq!(read_text("[node]\n[kubelet.labels]\n"), Ok(Config::default()), "empty tables");
    assert_eq!(read_text(FULL), Ok(full()), "every key");
    let defaults = Config::default();
    let dotted = r#"certificates.renew_at = [0.60, 0.67]
        kubelet.images = ["quay.io/poseidon/kubelet:v1.36.2"]
        metrics.textfile = ""
        reboot.fleetlock_url = """#;
    assert_eq!(read_text(dotted), Ok(defaults), "the defaults, written out");
}

#[test]
fn drop_ins_win_by_key_tables_merge_and_lists_are_replaced() {
    let main = r#"
        [node]
        role = "controller"
        [kubelet]
        images = ["quay.io/a/b:1", "quay.io/a/b:2"]
        labels = { a = "1", b = "2" }
    "#;
    let first = "[kubelet]\nimages = [\"quay.io/c/d:3\"]\nlabels = { b = \"3\" }\n";
    let second = "[kubelet.labels]\nc = \"4\"\n";
    let files = [source("m", main), source("1", first), source("2", second)];
    let config = read(&files).expect("valid");
    assert_eq!(config.node.role, Role::Controller);
    assert_eq!(config.kubelet.images, ["quay.io/c/d:3"]);
    let labels: Vec<(&str, &str)> =
        config.kubelet.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(labels, [("a", "1"), ("b", "3"), ("c", "4")]);
}

#[test]
fn five_faults_are_five_sentences() {
    let text = r#"[node]
rolle = "worker"
[certificates]
keep = 0
renew_at = [0.60, 1.5]
[kubelet]
images = ["quay.io/poseidon/kubelet:v1.36.2", "quay.io/poseidon/kubelet"]
[reboot]
drain_timeout = 10
"#;
    let faults = read(&[source("/etc/eyewall/eyewall.toml", text)]).expect_err("five faults");
    let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
    assert_eq!(
        lines,
        [
            "/etc/eyewall/eyewall.toml:2:1: there is no key node.rolle: did you mean \"role\"?",
            "/etc/eyewall/eyewall.toml:4:8: certificates.keep must be 1 to 100, not 0",
            "/etc/eyewall/eyewall.toml:5:19: certificates.renew_at[1] must lie between 0 and 1 (0.6 is 60 % of the lifetime), not 1.5",
            "/etc/eyewall/eyewall.toml:7:47: the image \"quay.io/poseidon/kubelet\" has neither a tag nor a digest: it would be another image every day",
            "/etc/eyewall/eyewall.toml:9:17: reboot.drain_timeout must be a text in quotes, not a whole number",
        ]
    );
}

#[test]
fn advice_names_what_was_meant() {
    for (text, want) in [
        ("[nodes]\n", "there is no key nodes: did you mean \"node\"?"),
        ("[kubelet]\nrequire-digest = true", "did you mean \"require_digest\"?"),
        ("[node]\nkeep = 3", "did you mean certificates.keep, in another table?"),
        ("node = 1\nrole = \"worker\"", "did you mean node.role, in another table?"),
        ("[metrics]\ncolour = 3", "take it out; what may stand here is textfile"),
        ("[node]\nrole = \"controler\"", "did you mean \"controller\"?"),
        ("[node]\nrole = \"server\"", "it can be worker, controller"),
        ("[kubelet]\nextra_args = [\"--hostname-override=x\"]", "set node.name"),
    ] {
        let faults = read(&[source("f.toml", text)]).expect_err(text);
        let told = faults.to_string();
        assert!(told.contains(want), "{text:?} told {told:?}");
    }
}

#[test]
fn faults_come_in_the_order_of_the_files_and_an_overridden_one_counts() {
    let files = [
        source("b.toml", "[certificates]\nkeep = 0\n[kubelet]\nrequire_digest = true"),
        source("a.toml", "\n\n\n[certificates]\nkeep = 2\nx = 1"),
        source("c.toml", "[kubelet]\nimages = [\"quay.io/a/b:1\"]"),
    ];
    let faults = read(&files).expect_err("faults");
    let told: Vec<(&str, u32, &str)> =
        faults.iter().map(|fault| (fault.file.as_str(), fault.line, fault.kind)).collect();
    assert_eq!(
        told,
        [("b.toml", 2, "out-of-range"), ("a.toml", 6, "unknown-key"), ("c.toml", 2, "image-without-digest"),]
    );
}

proptest! {
    /// Whatever the text: no panic, and every fault lies within it.
    #[test]
    fn garbage_is_told_and_never_panics(text in "(?s).{0,200}") {
        within(&text)?;
    }

    /// The same for texts that are nearly right: the full one with a piece replaced.
    #[test]
    fn damage_is_told_and_never_panics(
        from in 0..FULL.len(),
        length in 0usize..40,
        with in r#"[\[\]{}"'=.,#\n a-z0-9é]{0,12}"#,
    ) {
        let until = (from + length).min(FULL.len());
        let text = format!("{}{with}{}", &FULL[..from], &FULL[until..]);
        within(&text)?;
    }
}

fn within(text: &str) -> Result<(), TestCaseError> {
    let Err(faults) = read(&[source("f.toml", text)]) else {
        return Ok(());
    };
    let lines: Vec<&str> = text.split('\n').collect();
    for fault in &faults {
        let line = lines.get(fault.line as usize - 1);
        prop_assert!(line.is_some(), "{fault} is below the last line of {text:?}");
        let end = line.map_or(0, |line| line.chars().count()) + 1;
        prop_assert!(fault.column as usize <= end, "{fault} is past its line in {text:?}");
        prop_assert!(!fault.sentence.is_empty() && !fault.kind.is_empty());
    }
    Ok(())
}
