//! The command as people and scripts see it: what it refuses, in which words, and with which exit code.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking, in its helpers too"
)]

mod cases;

use std::path::Path;
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ignition_config::v3_3::Config;
use sha2::{Digest, Sha512};

/// A token that must never be seen in an error.
const TOKEN: &str = "abcdef.0123456789abcdef";

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_eyewall-ignition")).args(arguments).output().unwrap()
}

/// A directory with a file for each kind of input.
fn inputs() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let half = format!("apiVersion: v1\nusers:\n- name: kubelet\n  user:\n    token: {TOKEN}\n");
    for (name, content) in [
        ("eyewall", b"\x7fELF\x02\x01\x01\x00 the agent \xff".as_slice()),
        ("page.html", b"<html>404</html>"),
        ("half", half.as_bytes()),
        ("binary", b"\xff\xfe\x00"),
        ("empty", b""),
        ("good.toml", b"# mine\n[reboot]\ngroup = \"edge\"\n"),
        ("bad.toml", b"[node]\nrole = \"boss\"\n\n[kubelet]\nimage = \"a\"\n"),
    ] {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    let directory = inputs();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let hash = "a".repeat(128);
    let fcos = ["--os", "fcos", "--role", "worker", "--platform", "azure"];
    let inline = ["--binary-file", &at("eyewall")].map(str::to_owned);
    let url = |url: &str, hash: &str| ["--binary-url", url, "--binary-sha512", hash].map(str::to_owned).to_vec();
    let with = |more: &[&str]| {
        let mut arguments = inline.to_vec();
        arguments.extend(more.iter().map(|&more| more.to_owned()));
        arguments
    };
    for (name, arguments, code, says) in [
        ("no binary", vec![], 64, "--binary-url <URL>|--binary-file <FILE>"),
        ("both binaries", [url("https://a/b", &hash), inline.to_vec()].concat(), 64, "cannot be used with"),
        ("a URL without a hash", vec!["--binary-url".to_owned(), "https://a/b".to_owned()], 64, "--binary-sha512"),
        ("half a hash", url("https://a/b", "abc"), 64, "(bad-sha512)"),
        ("a hash of other letters", url("https://a/b", &"g".repeat(128)), 64, "(bad-sha512)"),
        ("a URL of another scheme", url("ftp://a/b", &hash), 64, "(bad-url)"),
        ("a URL without a path", url("https://a", &hash), 64, "(bad-url)"),
        ("a URL with a space", url("https://a/b c", &hash), 64, "(bad-url)"),
        ("a page for a binary", vec!["--binary-file".to_owned(), at("page.html")], 64, "(not-a-program)"),
        ("a binary that is not there", vec!["--binary-file".to_owned(), at("nowhere")], 1, "could not be read"),
        ("localhost", with(&["--name", "localhost"]), 64, "(bad-name)"),
        ("a name in capitals", with(&["--name", "Node-A"]), 64, "(bad-name)"),
        ("an image without a registry", with(&["--image", "kubelet:v1"]), 64, "(bad-image)"),
        ("an image without a tag", with(&["--image", "quay.io/poseidon/kubelet"]), 64, "(bad-image)"),
        ("two faults in a config", with(&["--config-file", &at("bad.toml")]), 64, "(config-invalid)"),
        ("the first of them", with(&["--config-file", &at("bad.toml")]), 64, "eyewall.toml:2:8:"),
        ("the second of them", with(&["--config-file", &at("bad.toml")]), 64, "eyewall.toml:5:1:"),
        ("an empty kubeconfig", with(&["--bootstrap-kubeconfig", &at("empty")]), 64, "(bootstrap-kubeconfig-empty)"),
        ("half a kubeconfig", with(&["--bootstrap-kubeconfig", &at("half")]), 64, "(bootstrap-kubeconfig-incomplete)"),
        ("a binary kubeconfig", with(&["--bootstrap-kubeconfig", &at("binary")]), 1, "could not be read"),
        ("a platform of no name", with(&["--platform", "vax"]), 64, "vax"),
    ] {
        let mut all = fcos.map(str::to_owned).to_vec();
        if arguments.iter().any(|a| a == "--platform") {
            all.truncate(4);
        }
        all.extend(arguments);
        let output = run(&all.iter().map(String::as_str).collect::<Vec<_>>());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{name}: {stderr}");
        assert!(stderr.contains(says), "{name}: {stderr}");
        assert!(output.stdout.is_empty(), "{name}: nothing half-made is printed");
        assert!(!stderr.contains(TOKEN), "{name}: the token is told");
    }
}

#[test]
fn metadata_is_refused_where_no_unit_reads_it() {
    let directory = inputs();
    let binary = directory.path().join("eyewall");
    for platform in ["aws", "digitalocean"] {
        let output = run(&[
            "--os",
            "generic",
            "--role",
            "worker",
            "--platform",
            platform,
            "--binary-file",
            binary.to_str().unwrap(),
        ]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{platform}: {stderr}");
        assert!(stderr.contains("(no-metadata)"), "{platform}: {stderr}");
    }
}

#[test]
fn what_is_given_is_in_the_fragment() {
    let directory = inputs();
    let at = |name: &str| directory.path().join(name);
    let kubeconfig = at("kubeconfig");
    std::fs::write(
        &kubeconfig,
        format!(
            "clusters:\n- name: local\n  cluster:\n    server: https://api.example.com:6443\n    \
         certificate-authority-data: {}\nusers:\n- name: kubelet\n  user:\n    token: {TOKEN}\n\
         contexts:\n- context:\n    cluster: local\n    user: kubelet\n",
            STANDARD.encode("-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"),
        ),
    )
    .unwrap();
    let output = run(&[
        "--os",
        "generic",
        "--role",
        "controller",
        "--platform",
        "qemu",
        "--binary-file",
        at("eyewall").to_str().unwrap(),
        "--bootstrap-kubeconfig",
        kubeconfig.to_str().unwrap(),
        "--config-file",
        at("good.toml").to_str().unwrap(),
        "--name",
        "node-a.example",
        "--image",
        "quay.io/poseidon/kubelet:v1.36.2",
        "--image",
        "docker.io/psdn/kubelet:v1.36.2",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let config: Config = serde_json::from_slice(&output.stdout).unwrap();

    let agent = std::fs::read(at("eyewall")).unwrap();
    let file = cases::file(&config, "/opt/bin/eyewall");
    assert_eq!((file.mode, cases::content(file)), (Some(0o755), agent.clone()));
    let hash = file.contents.as_ref().unwrap().verification.as_ref().unwrap().hash.clone().unwrap();
    let want: String = Sha512::digest(&agent).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash, format!("sha512-{want}"));

    let file = cases::file(&config, "/etc/kubernetes/kubeconfig");
    assert_eq!((file.mode, cases::content(file)), (Some(0o600), std::fs::read(&kubeconfig).unwrap()));

    let file = cases::file(&config, "/etc/eyewall/eyewall.toml");
    assert_eq!(cases::content(file), std::fs::read(at("good.toml")).unwrap());

    let file = cases::file(&config, "/etc/eyewall/eyewall.toml.d/10-ignition.toml");
    let dropin = String::from_utf8(cases::content(file)).unwrap();
    for line in [
        "name = \"node-a.example\"",
        "role = \"controller\"",
        "images = [\"quay.io/poseidon/kubelet:v1.36.2\", \"docker.io/psdn/kubelet:v1.36.2\"]",
    ] {
        assert!(dropin.lines().any(|l| l == line), "{line} is not in\n{dropin}");
    }
    assert_no_secret_elsewhere(&output.stdout, Path::new(&kubeconfig));
}

/// The token is in the one file it was asked to be in.
fn assert_no_secret_elsewhere(printed: &[u8], kubeconfig: &Path) {
    let printed = String::from_utf8_lossy(printed);
    assert_eq!(printed.matches(TOKEN).count(), 1, "{}", kubeconfig.display());
}
