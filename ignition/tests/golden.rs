//! What was printed last time is printed again, and the real Ignition takes it.
//!
//! `EYEWALL_WRITE_GOLDEN=1 cargo test -p eyewall-ignition` writes the files anew; read the difference before you commit it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking, in its helpers too"
)]

mod cases;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use clap::ValueEnum;
use eyewall_ignition::{Options, Os, Platform, Role, fragment, render};
use serde_json::{Value, json};

/// One file for each thing that can differ. Azure stands for the platforms without differences of their own.
const GOLDEN: [(Os, Role, Platform); 14] = [
    (Os::Fcos, Role::Worker, Platform::Aws),
    (Os::Fcos, Role::Worker, Platform::Azure),
    (Os::Fcos, Role::Worker, Platform::DigitalOcean),
    (Os::Fcos, Role::Worker, Platform::Metal),
    (Os::Fcos, Role::Controller, Platform::Aws),
    (Os::Fcos, Role::Controller, Platform::Metal),
    (Os::Flatcar, Role::Worker, Platform::Aws),
    (Os::Flatcar, Role::Worker, Platform::Azure),
    (Os::Flatcar, Role::Worker, Platform::DigitalOcean),
    (Os::Flatcar, Role::Worker, Platform::Metal),
    (Os::Flatcar, Role::Controller, Platform::Aws),
    (Os::Flatcar, Role::Controller, Platform::Metal),
    (Os::Generic, Role::Worker, Platform::Qemu),
    (Os::Generic, Role::Controller, Platform::Metal),
];

fn name((os, role, platform): (Os, Role, Platform)) -> String {
    format!("{os}-{role}-{platform}.ign")
}

#[test]
fn what_is_printed_is_what_was_printed() {
    let directory = cases::path("golden");
    let write = std::env::var_os(cases::WRITE).is_some();
    for case in GOLDEN {
        let (os, role, platform) = case;
        let printed = render(&cases::plain(os, role, platform), true).unwrap();
        let file = directory.join(name(case));
        if write {
            std::fs::write(&file, &printed).unwrap();
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(printed, golden, "{}: see the head of this file", name(case));
    }
    let there: BTreeSet<_> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(there, GOLDEN.map(name).into(), "a golden file of no case");
}

#[test]
fn platforms_without_a_golden_file_are_as_azure() {
    for os in [Os::Fcos, Os::Flatcar] {
        let azure = render(&cases::plain(os, Role::Worker, Platform::Azure), true).unwrap();
        for platform in [Platform::Gcp, Platform::Qemu] {
            let other = render(&cases::plain(os, Role::Worker, platform), true).unwrap();
            assert_eq!(other, azure, "{os} {platform}");
        }
    }
}

/// The agent looks at each `--extra-arg` as it looks at `[kubelet] extra_args`, and refuses flags that are its own.
#[test]
fn the_agent_takes_the_flags_of_every_platform() {
    let mut seen = 0;
    for os in [Os::Fcos, Os::Flatcar] {
        for platform in Platform::value_variants() {
            let text = render(&cases::plain(os, Role::Worker, *platform), true).unwrap();
            for flag in text.split("--extra-arg=").skip(1) {
                let flag = flag.split(['\\', ' ']).next().unwrap();
                let source = eyewall_core::config::Source {
                    name: platform.to_string(),
                    text: format!("[kubelet]\nextra_args = [\"{flag}\"]\n"),
                };
                eyewall_core::config::read(&[source]).unwrap_or_else(|faults| panic!("{os}: {faults}"));
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 2, "AWS has one, on each system");
}

/// AWS allows 16,384 bytes of user data, and Typhoon's own config of a worker takes about half of it.
#[test]
fn it_fits_into_user_data_beside_typhoons() {
    const ROOM: usize = 7 * 1024;
    for os in [Os::Fcos, Os::Flatcar] {
        for role in Role::value_variants() {
            for platform in Platform::value_variants() {
                let size = render(&cases::plain(os, *role, *platform), false).unwrap().len();
                assert!(size <= ROOM, "{os} {role} {platform}: {size} bytes");
            }
        }
    }
}

#[test]
fn the_real_ignition_takes_every_golden_file() {
    for case in GOLDEN {
        let output = validate(&cases::path("golden").join(name(case)));
        assert!(output.status.success(), "{}: {output:?}", name(case));
        assert_eq!(text(&output), "", "{}: not even a warning", name(case));
    }
}

#[test]
fn the_real_ignition_takes_what_has_everything_in_it() {
    let options = Options {
        config_file: Some("[reboot]\ngroup = \"edge\"\n".to_owned()),
        bootstrap_kubeconfig: Some(KUBECONFIG.to_owned()),
        name: Some("node-a".to_owned()),
        images: vec!["quay.io/poseidon/kubelet:v1.36.2".to_owned()],
        binary: eyewall_ignition::Binary::Inline(b"\x7fELF\x02\x01\x01\x00 \xff".to_vec()),
        ..cases::plain(Os::Generic, Role::Controller, Platform::Qemu)
    };
    let output = validate_text(&render(&options, false).unwrap());
    assert!(output.status.success(), "{output:?}");
}

/// So that the tests above mean something.
#[test]
fn the_real_ignition_refuses_what_is_wrong() {
    let good = serde_json::to_value(fragment(&cases::plain(Os::Fcos, Role::Worker, Platform::Aws)).unwrap()).unwrap();
    let break_at = |pointer: &str, value: Value| {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        bad.to_string()
    };
    for (name, text) in [
        ("no JSON", "{".to_owned()),
        ("a spec it does not know", break_at("/ignition/version", json!("3.99.0"))),
        ("a relative path", break_at("/storage/files/0/path", json!("opt/bin/eyewall"))),
        ("half a hash", break_at("/storage/files/0/contents/verification/hash", json!("sha512-00"))),
        ("a scheme it does not know", break_at("/storage/files/0/contents/source", json!("ftp://a/b"))),
        ("a mode beyond modes", break_at("/storage/files/0/mode", json!(0o10_755))),
        ("no unit suffix", break_at("/systemd/units/0/name", json!("eyewall"))),
        ("no unit file", break_at("/systemd/units/0/contents", json!("[Unit"))),
    ] {
        let output = validate_text(&text);
        assert!(!output.status.success(), "{name} was accepted");
    }
}

/// Typhoon's shape: a nameless context and no current-context.
const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
clusters:
- name: local
  cluster:
    server: https://api.example.com:6443
    certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1BPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=
users:
- name: kubelet
  user:
    token: abcdef.0123456789abcdef
contexts:
- context:
    cluster: local
    user: kubelet
";

fn validate_text(text: &str) -> Output {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    validate(file.path())
}

/// Debian's package `ignition` has it.
fn validate(file: &Path) -> Output {
    Command::new("ignition-validate")
        .arg(file)
        .output()
        .expect("ignition-validate runs (Debian: apt-get install ignition)")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}
