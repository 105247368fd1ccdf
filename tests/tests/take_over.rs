//! `eyewall kubelet take-over` with the real binary, on a root with the files that podman leaves.

use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context as _, Result};
use serde_json::json;
use tests::node::binary;
use tokio::process::Command;

const DROP_IN: &str = "etc/systemd/system/kubelet.service.d/50-eyewall.conf";
const STORAGE: &str = "var/lib/containers/storage";

/// A host in a directory: podman's store, programs by the runtimes' names, a configuration.
struct Host(tempfile::TempDir);

impl Host {
    fn new(flags: &[&str]) -> Result<Self> {
        let host = Self(tempfile::tempdir()?);
        host.put("etc/eyewall/eyewall.toml.d/10-observe.toml", &shipped("observe.toml")?)?;
        host.put("usr/bin/podman", "#!/bin/sh\nexit 1\n")?;
        let podman = host.at("usr/bin/podman");
        std::fs::set_permissions(podman, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let metadata = json!({"image-name": "quay.io/poseidon/kubelet:v1.35.0"}).to_string();
        let container = json!([{
            "id": "bb00", "names": ["kubelet"], "image": "4f53", "metadata": metadata, "created": "2026-11-24T02:15:08Z",
        }]);
        host.put(&format!("{STORAGE}/overlay-containers/containers.json"), &container.to_string())?;
        let args: Vec<&str> = ["/usr/local/bin/kubelet"].iter().chain(flags).copied().collect();
        let spec = json!({"process": {"args": args}}).to_string();
        host.put(&format!("{STORAGE}/overlay-containers/bb00/userdata/config.json"), &spec)?;
        Ok(host)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn put(&self, path: &str, text: &str) -> Result<()> {
        let path = self.at(path);
        std::fs::create_dir_all(path.parent().context("below the root")?)?;
        Ok(std::fs::write(path, text)?)
    }

    async fn eyewall(&self, words: &[&str]) -> Result<Output> {
        let mut command = Command::new(binary()?);
        command.args(words).arg("--config").arg(self.at("etc/eyewall/eyewall.toml")).arg("--root").arg(self.0.path());
        Ok(command.env("PATH", self.at("usr/bin")).output().await?)
    }

    async fn take_over(&self, more: &[&str]) -> Result<Output> {
        let words: Vec<&str> = ["kubelet", "take-over"].iter().chain(more).copied().collect();
        self.eyewall(&words).await
    }
}

fn shipped(name: &str) -> Result<String> {
    Ok(std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../units").join(name))?)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

const TYPHOON: [&str; 7] = [
    "--bootstrap-kubeconfig=/etc/kubernetes/kubeconfig",
    "--config=/etc/kubernetes/kubelet.yaml",
    "--container-runtime-endpoint=unix:///run/containerd/containerd.sock",
    "--hostname-override=node-a",
    "--kubeconfig=/var/lib/kubelet/kubeconfig",
    "--node-labels=node.kubernetes.io/node",
    "--provider-id=aws:///us-east-1a/i-0123",
];

#[tokio::test]
async fn it_shows_and_then_writes_what_it_shows() -> Result<()> {
    let host = Host::new(&TYPHOON)?;
    let shown = host.take_over(&[]).await?;
    assert!(shown.status.success(), "{}", text(&shown));
    assert!(!host.at(DROP_IN).exists(), "showing writes nothing");
    let shown = text(&shown);
    for wanted in [
        "name = \"node-a\"",
        "images = [\"quay.io/poseidon/kubelet:v1.35.0\"]",
        "extra_args = [\"--provider-id=aws:///us-east-1a/i-0123\"]",
        "# the certificate is for system:node:node-a",
        "# no longer given: --bootstrap-kubeconfig=/etc/kubernetes/kubeconfig",
        "# new: --rotate-certificates=false",
    ] {
        assert!(shown.contains(wanted), "{wanted} is not in:\n{shown}");
    }
    assert_eq!(shown.matches("\n# new:").count() + shown.matches("\n# no longer").count(), 2, "{shown}");

    let written = host.take_over(&["--write"]).await?;
    assert!(written.status.success(), "{}", text(&written));
    assert!(
        text(&written).ends_with("now: systemctl daemon-reload && systemctl restart kubelet\n"),
        "{}",
        text(&written)
    );
    assert_eq!(std::fs::read_to_string(host.at(DROP_IN))?, shipped("take-over.conf")?);
    let fragment = std::fs::read_to_string(host.at("etc/eyewall/eyewall.toml.d/50-take-over.toml"))?;
    assert!(fragment.contains("owner = \"eyewall\"") && shown.contains(&fragment), "{fragment}");

    // What `eyewall kubelet` runs then is what ran, but for the two.
    let planned = host.eyewall(&["kubelet", "--print", "--json"]).await?;
    let planned: serde_json::Value = serde_json::from_slice(&planned.stdout).with_context(|| text(&planned))?;
    let run: Vec<&str> =
        planned["commands"][1].as_array().context("a command")?.iter().filter_map(|word| word.as_str()).collect();
    assert!(
        run.contains(&"quay.io/poseidon/kubelet:v1.35.0") && run.contains(&"--rotate-certificates=false"),
        "{run:?}"
    );
    for flag in &TYPHOON[1..] {
        assert!(run.contains(flag), "{flag} is lost: {run:?}");
    }
    // And again: the same.
    assert!(host.take_over(&["--write"]).await?.status.success());
    assert_eq!(std::fs::read_to_string(host.at("etc/eyewall/eyewall.toml.d/50-take-over.toml"))?, fragment);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_right_is_not_written() -> Result<()> {
    let glass = Host::new(&TYPHOON)?;
    glass.put("etc/eyewall/eyewall.toml.d/99-break-glass.toml", &shipped("break-glass.toml")?)?;
    let unreadable = Host::new(&TYPHOON)?;
    std::fs::remove_dir_all(unreadable.at(&format!("{STORAGE}/overlay-containers/bb00")))?;
    let nothing = Host::new(&TYPHOON)?;
    std::fs::remove_dir_all(nothing.at(STORAGE))?;
    let faulty = Host::new(&TYPHOON)?;
    faulty.put("etc/eyewall/eyewall.toml", "colour = 'red'\n")?;
    for (name, host, want) in [
        ("the glass is broken", glass, "99-break-glass.toml"),
        ("flags that cannot be read", unreadable, "cannot be read"),
        ("no container", nothing, "no container called kubelet"),
        (
            "a label that no kubelet may set",
            Host::new(&["--node-labels=node-role.kubernetes.io/x=y"])?,
            "no kubelet may set it",
        ),
        ("an argument", Host::new(&["kubelet"])?, "no flag"),
        ("a configuration with a fault", faulty, "colour"),
    ] {
        let output = host.take_over(&["--write"]).await?;
        assert_eq!(output.status.code(), Some(1), "{name}: {}", text(&output));
        assert!(text(&output).contains(want), "{name}: {}", text(&output));
        assert!(!host.at(DROP_IN).exists(), "{name}: it was written");
    }
    Ok(())
}
