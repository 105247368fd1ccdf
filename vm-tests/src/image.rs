//! The kubelet's container image: built here from Debian's parts and a stand-in, or an archive that was made elsewhere.
//!
//! The archive is an OCI layout with docker's `manifest.json` beside it, so that `podman load` and `docker load` both take
//! it. It stands in for the registry: the host under test is cut off from every one.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::process::Command;

use crate::program::run;
use crate::root::Root;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What Typhoon's image is called, and eyewall's default.
pub const REFERENCE: &str = "quay.io/poseidon/kubelet:v1.36.2";

/// What a Rust program needs of Debian, and the shell that a person who looks into the container expects.
const FROM_ROOT: &[&str] = &[
    "usr/bin/busybox",
    "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    "usr/lib/x86_64-linux-gnu/libc.so.6",
    "usr/lib/x86_64-linux-gnu/libgcc_s.so.1",
    "usr/lib/x86_64-linux-gnu/libm.so.6",
];

/// An image in a file.
#[derive(Clone, Debug)]
pub struct KubeletImage {
    /// The archive.
    pub archive: PathBuf,
    /// What it is called on the host under test.
    pub reference: String,
}

impl KubeletImage {
    /// Builds `REFERENCE` with this program as `/usr/local/bin/kubelet`, in the (existing) directory.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub async fn build(root: &Root, kubelet: &Path, directory: &Path) -> Result<Self> {
        let files = directory.join("kubelet-image");
        for below in ["usr/local/bin", "etc", "proc", "sys", "dev", "run", "tmp", "var/lib", "var/log"] {
            std::fs::create_dir_all(files.join(below))?;
        }
        copy(kubelet, &files.join("usr/local/bin/kubelet"))?;
        for path in FROM_ROOT {
            copy(&root.tree().join(path), &files.join(path))?;
        }
        for (link, target) in [("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib/x86_64-linux-gnu")] {
            symlink(target, files.join(link))?;
        }
        for applet in ["sh", "cat", "ls", "ps"] {
            symlink("busybox", files.join("usr/bin").join(applet))?;
        }
        let layout = directory.join("kubelet-layout");
        std::fs::create_dir_all(layout.join("blobs/sha256"))?;
        let layer = directory.join("layer.tar");
        tar(&files, &layer).await?;
        write_layout(&layout, &std::fs::read(&layer)?)?;
        let archive = directory.join("kubelet.tar");
        tar(&layout, &archive).await?;
        for done in [&files, &layout] {
            std::fs::remove_dir_all(done)?;
        }
        std::fs::remove_file(layer)?;
        Ok(Self { archive, reference: REFERENCE.to_owned() })
    }

    /// Takes an OCI archive that someone made (`skopeo copy … oci-archive:FILE`), and makes it one that docker loads too.
    /// On the host it is called `REFERENCE`, whatever it was called before.
    ///
    /// # Errors
    /// When it is no such archive, or has no image for amd64.
    pub async fn of_archive(archive: &Path, directory: &Path) -> Result<Self> {
        let layout = directory.join("given-layout");
        std::fs::create_dir_all(&layout)?;
        let mut unpack = Command::new("tar");
        unpack.arg("-xf").arg(archive).arg("-C").arg(&layout);
        run(&mut unpack, Duration::from_secs(600)).await?;
        let docker = docker_manifest(&layout).with_context(|| format!("{} is no OCI archive", archive.display()))?;
        std::fs::write(layout.join("manifest.json"), docker.to_string())?;
        let both = directory.join("kubelet.tar");
        tar(&layout, &both).await?;
        std::fs::remove_dir_all(layout)?;
        Ok(Self { archive: both, reference: REFERENCE.to_owned() })
    }
}

/// Reproducible: the same files give the same digest.
async fn tar(directory: &Path, to: &Path) -> Result<()> {
    let mut command = Command::new("tar");
    command.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "-C"]);
    command.arg(directory).arg("-cf").arg(to).arg(".");
    run(&mut command, Duration::from_secs(600)).await?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let parent = to.parent().context("a file has a directory")?;
    std::fs::create_dir_all(parent)?;
    std::fs::copy(from, to).with_context(|| format!("{} cannot be copied", from.display()))?;
    Ok(())
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Where a blob lies in the layout.
fn blob(digest: &str) -> Result<String> {
    let (algorithm, hex) = digest.split_once(':').context("a digest has an algorithm")?;
    if ![algorithm, hex].iter().all(|part| part.chars().all(|c| c.is_ascii_alphanumeric())) {
        bail!("{digest:?} is no digest");
    }
    Ok(format!("blobs/{algorithm}/{hex}"))
}

fn write_layout(layout: &Path, layer: &[u8]) -> Result<()> {
    let put = |media_type: &str, bytes: &[u8]| -> Result<Value> {
        let digest = digest(bytes);
        std::fs::write(layout.join(blob(&digest)?), bytes)?;
        Ok(json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}))
    };
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Entrypoint": ["/usr/local/bin/kubelet"],
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        },
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
    });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": put(CONFIG, config.to_string().as_bytes())?,
        "layers": [put(LAYER, layer)?],
    });
    let mut entry = put(MANIFEST, manifest.to_string().as_bytes())?;
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": REFERENCE});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
    std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    std::fs::write(layout.join("index.json"), index.to_string())?;
    std::fs::write(layout.join("manifest.json"), docker_manifest(layout)?.to_string())?;
    Ok(())
}

/// docker's `manifest.json` for the image of an OCI layout.
fn docker_manifest(layout: &Path) -> Result<Value> {
    let read = |path: &str| -> Result<Value> {
        let text = std::fs::read(layout.join(path)).with_context(|| format!("it has no {path}"))?;
        serde_json::from_slice(&text).with_context(|| format!("{path} is no JSON"))
    };
    let mut at = read("index.json")?;
    // An index of one image may point to an index of architectures.
    for _ in 0..3 {
        let Some(entries) = at["manifests"].as_array() else { break };
        let fits = |entry: &&Value| matches!(entry["platform"]["architecture"].as_str(), None | Some("amd64"));
        let entry = entries.iter().find(fits).context("it has no image for amd64")?;
        at = read(&blob(entry["digest"].as_str().context("an entry without a digest")?)?)?;
    }
    let path = |of: &Value| blob(of["digest"].as_str().unwrap_or_default());
    let layers: Vec<String> = at["layers"].as_array().into_iter().flatten().map(path).collect::<Result<_>>()?;
    Ok(json!([{"Config": path(&at["config"])?, "RepoTags": [REFERENCE], "Layers": layers}]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_tells_docker_the_same() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("blobs/sha256")).unwrap();
        write_layout(directory.path(), b"layer").unwrap();
        let docker: Value =
            serde_json::from_slice(&std::fs::read(directory.path().join("manifest.json")).unwrap()).unwrap();
        let layer = blob(&digest(b"layer")).unwrap();
        assert_eq!(docker[0]["Layers"], json!([layer]));
        assert_eq!(docker[0]["RepoTags"], json!([REFERENCE]));
        let config = docker[0]["Config"].as_str().unwrap();
        let config: Value = serde_json::from_slice(&std::fs::read(directory.path().join(config)).unwrap()).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"], json!([digest(b"layer")]));
    }

    #[test]
    fn what_is_no_layout_is_refused() {
        for (name, index, want) in [
            ("no index", None, "index.json"),
            ("no JSON", Some("no"), "no JSON"),
            ("other architecture", Some(r#"{"manifests":[{"platform":{"architecture":"arm64"}}]}"#), "amd64"),
            ("a path for a digest", Some(r#"{"manifests":[{"digest":"sha256:../../../etc/passwd"}]}"#), "no digest"),
        ] {
            let directory = tempfile::tempdir().unwrap();
            if let Some(text) = index {
                std::fs::write(directory.path().join("index.json"), text).unwrap();
            }
            let error = format!("{:#}", docker_manifest(directory.path()).unwrap_err());
            assert!(error.contains(want), "{name}: {error}");
        }
    }
}
