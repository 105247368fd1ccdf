//! `eyewall kubelet` and `eyewall validate` as programs: what they become, what they print, and their exit codes.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tests::node::binary;

/// A host in a directory, with a container runtime that says who it is and what it was told.
struct Host(tempfile::TempDir);

impl Host {
    fn new(runtime: &str) -> Result<Self> {
        let host = Self(tempfile::tempdir()?);
        let script = "#!/bin/sh\ncase \"$1\" in run) echo \"$$ $*\"; exit 7 ;; esac\n";
        let program = host.put(&format!("bin/{runtime}"), script)?;
        std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755))?;
        host.put("root/var/lib/kubelet/kubeconfig", "apiVersion: v1\n")?;
        let ca = rcgen::generate_simple_self_signed(["ca".to_owned()])?.cert.pem();
        let kubeconfig = format!(
            "clusters:\n- name: local\n  cluster:\n    server: https://127.0.0.1:6443\n    \
             certificate-authority-data: {}\nusers:\n- name: kubelet\n  user:\n    token: abcdef.0123456789abcdef\n\
             contexts:\n- context:\n    cluster: local\n    user: kubelet\n",
            STANDARD.encode(ca)
        );
        host.put("root/etc/kubernetes/kubeconfig", &kubeconfig)?;
        host.put("eyewall.toml", "node.name = 'node-a'\n")?;
        Ok(host)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn put(&self, below: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().context("a parent")?)?;
        std::fs::write(&path, text)?;
        Ok(path)
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(binary()?);
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        command.args(arguments).env("PATH", path).env_remove("JOURNAL_STREAM").stdin(Stdio::null());
        Ok(command)
    }

    /// `eyewall kubelet` on this host.
    fn kubelet(&self, arguments: &[&str]) -> Result<(u32, Output)> {
        let child = self
            .command(&["kubelet"])?
            .arg("--config")
            .arg(self.path("eyewall.toml"))
            .arg("--root")
            .arg(self.path("root"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok((child.id(), child.wait_with_output()?))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_process_becomes_the_runtime() -> Result<()> {
    for (runtime, log) in [("podman", "k8s-file"), ("docker", "none")] {
        let host = Host::new(runtime)?;
        let (pid, output) = host.kubelet(&["--extra-arg=--provider-id=aws:///eu-1a/i-0", "--extra-arg", "--v=2"])?;
        let (told, log_lines) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(7), "{runtime}: the runtime's own exit code: {log_lines}");
        let start =
            format!("{pid} run --name kubelet --log-driver {log} --privileged --pid host --network host --volume ");
        assert!(told.starts_with(&start), "{runtime}: the same process: {told}");
        assert!(
            told.trim_end().ends_with(" --rotate-certificates=false --provider-id=aws:///eu-1a/i-0 --v=2"),
            "{told}"
        );
        assert!(told.contains(" --hostname-override=node-a "), "{told}");
        let record = std::fs::read_to_string(host.path("root/run/eyewall/kubelet.json"))?;
        assert!(record.contains(&format!("\"runtime\":\"{runtime}\"")), "{record}");
        assert!(host.path("root/etc/kubernetes/kubelet.yaml").is_file());
        assert!(log_lines.contains("kubelet-image-chosen"), "{log_lines}");
        assert!(!log_lines.contains("0123456789abcdef") && !log_lines.contains('\u{1b}'), "{log_lines}");
        for end in ["stop", "remove"] {
            let (_, output) = host.kubelet(&[end])?;
            assert_eq!(output.status.code(), Some(0), "{end}: {}", text(&output.stderr));
        }
    }
    Ok(())
}

#[test]
fn printing_the_plan_changes_nothing() -> Result<()> {
    let host = Host::new("podman")?;
    let (_, output) = host.kubelet(&["--print"])?;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let told = text(&output.stdout);
    assert!(told.contains("mkdir -p /etc/kubernetes/manifests\n"), "{told}");
    assert!(told.contains("# /etc/kubernetes/kubeconfig root's own, 0600\n"), "{told}");
    assert!(told.contains("\n    quay.io/poseidon/kubelet:v1.36.2 \\\n    --config="), "{told}");
    let (_, output) = host.kubelet(&["--print", "--json"])?;
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!((&plan["runtime"], &plan["commands"][1][1]), (&"podman".into(), &"run".into()));
    assert!(!host.path("root/etc/cni").exists() && !host.path("root/run").exists());
    Ok(())
}

#[test]
fn a_start_that_fails_says_why_and_how() -> Result<()> {
    let good = Host::new("podman")?;
    let faulty = Host::new("podman")?;
    faulty.put("eyewall.toml", "[node]\nname = 'node-a'\nrolle = 'worker'\n")?;
    let bare = Host::new("nerdctl")?;
    for (name, host, arguments, code, words) in [
        ("an unknown flag", &good, &["--no-such"][..], 64, "--no-such"),
        ("no name", &good, &["--node-name="], 64, "it is empty"),
        ("another owner's flag", &good, &["--extra-arg=--rotate-certificates"], 64, "certificates.owner"),
        ("a faulty configuration", &faulty, &[], 78, ":3:1: there is no key node.rolle"),
        ("no runtime", &bare, &[], 1, "no podman and no docker"),
        ("stop in spite of the configuration", &faulty, &["stop"], 0, ""),
        ("stop with no runtime", &bare, &["stop"], 0, ""),
    ] {
        let (_, output) = host.kubelet(arguments)?;
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{name}: {told}");
        assert!(told.contains(words), "{name}: {told}");
        assert_eq!(text(&output.stdout), "", "{name}: no runtime was run");
    }
    Ok(())
}

#[test]
fn five_faults_are_told_at_once() -> Result<()> {
    let host = Host::new("podman")?;
    let faulty = host.put(
        "faulty.toml",
        "[node]\nrolle = 'worker'\n[certificates]\nkeep = 0\nrenew_at = [0.60, 1.5]\n[kubelet]\n\
         images = ['quay.io/poseidon/kubelet']\n[reboot]\ndrain_timeout = 10\n",
    )?;
    let (good, faulty) = (host.path("eyewall.toml").display().to_string(), faulty.display().to_string());
    let output = host.command(&["validate", &good, &faulty])?.output()?;
    assert_eq!(output.status.code(), Some(78));
    let told = text(&output.stdout);
    let places: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix(&faulty)).collect();
    let places: Vec<&str> = places.iter().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(places, [":2:1", ":4:8", ":5:19", ":7:11", ":9:17"], "{told}");
    assert!(told.contains(&format!("{good}: good\n")), "{told}");

    let output = host.command(&["validate", &good])?.output()?;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let output = host.command(&["validate"])?.output()?;
    assert_eq!(output.status.code(), Some(64));
    Ok(())
}
