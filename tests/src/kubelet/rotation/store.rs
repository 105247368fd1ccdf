//! The files of a kubelet that rotates (`certificate_store.go`): dated PEMs that nobody removes, behind an absolute link that
//! is absent for a moment at every change.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;

use super::life;

/// The link to the PEM in force.
pub(super) const CURRENT: &str = "kubelet-client-current.pem";
/// The link that takes its place.
const UPDATED: &str = "kubelet-client-updated.pem";

/// Chain and key, and their life.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(super) pem: Vec<u8>,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// What stands at the link. None is none; a file that cannot be used, an empty one too, is an error that ends the start.
pub(super) fn current(directory: &Path) -> Result<Option<Pair>> {
    let (current, updated) = (directory.join(CURRENT), directory.join(UPDATED));
    if !is_there(&current) && is_there(&updated) {
        std::fs::rename(&updated, &current)?;
    }
    match std::fs::read(&current) {
        Ok(pem) => load(pem, &current).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", current.display())),
    }
}

fn load(pem: Vec<u8>, path: &Path) -> Result<Pair> {
    let broken = || format!("could not convert data from {:?} into cert/key pair", path.display().to_string());
    let Some((not_before, not_after)) = life(&pem) else {
        bail!("{}: tls: failed to find any PEM data in certificate input", broken());
    };
    if PrivateKeyDer::from_pem_slice(&pem).is_err() {
        bail!("{}: tls: failed to find any PEM data in key input", broken());
    }
    Ok(Pair { pem, not_before, not_after })
}

/// Puts a new pair in force.
pub(super) fn update(directory: &Path, pem: &[u8], now: SystemTime) -> Result<Pair> {
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let stamp = jiff::Timestamp::from_second(i64::try_from(seconds)?)?.strftime("%Y-%m-%d-%H-%M-%S");
    let (current, updated) = (directory.join(CURRENT), directory.join(UPDATED));
    let is_link = std::fs::symlink_metadata(&current).map(|meta| meta.is_symlink());
    if is_link.is_ok_and(|is_link| !is_link) {
        bail!("expected {:?} to be a symlink", current.display().to_string());
    }
    let dated = directory.join(format!("kubelet-client-{stamp}.pem"));
    write_private(&dated, pem)?;
    let pair = load(std::fs::read(&dated)?, &dated)?;
    if is_there(&updated) {
        std::fs::remove_file(&updated)?;
    }
    symlink(&dated, &updated)?;
    if is_there(&current) {
        std::fs::remove_file(&current)?;
    }
    std::fs::rename(&updated, &current)?;
    Ok(pair)
}

/// Writes the kubeconfig as client-go does: in place.
pub(super) fn write_kubeconfig(path: &Path, text: &str) -> Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    write_private(path, text.as_bytes()).with_context(|| format!("writing {}", path.display()))
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    Ok(file.sync_all()?)
}

/// Also if what it points to is not.
fn is_there(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pem() -> String {
        let own = rcgen::generate_simple_self_signed(["node-a".to_owned()]).unwrap();
        own.cert.pem() + &own.signing_key.serialize_pem()
    }

    #[test]
    fn a_renewal_leaves_the_old_file_behind_a_new_link() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("pki");
        assert!(current(&directory).unwrap().is_none(), "no directory is no certificate");
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_486_508 + seconds);
        update(&directory, pem().as_bytes(), at(0)).unwrap();
        update(&directory, pem().as_bytes(), at(60)).unwrap();
        let target = std::fs::read_link(directory.join(CURRENT)).unwrap();
        assert_eq!(target, directory.join("kubelet-client-2026-11-24-02-16-08.pem"), "absolute, dated");
        assert!(directory.join("kubelet-client-2026-11-24-02-15-08.pem").exists(), "old keys stay for ever");
        assert!(current(&directory).unwrap().is_some());
        std::fs::rename(directory.join(CURRENT), directory.join(UPDATED)).unwrap();
        assert!(current(&directory).unwrap().is_some(), "what was cut short is finished");
    }

    #[test]
    fn what_it_cannot_use_ends_its_start() {
        let good = pem();
        let key = good.find("-----BEGIN PRIVATE KEY").unwrap();
        for (name, text, want) in [
            ("empty", "", "failed to find any PEM data in certificate input"),
            ("half", &good[..100], "failed to find any PEM data in certificate input"),
            ("no key", &good[..key], "failed to find any PEM data in key input"),
        ] {
            let root = tempfile::tempdir().unwrap();
            std::fs::write(root.path().join(CURRENT), text).unwrap();
            let error = current(root.path()).unwrap_err().to_string();
            assert!(error.contains(want), "{name}: {error}");
            let error = update(root.path(), good.as_bytes(), SystemTime::UNIX_EPOCH).unwrap_err().to_string();
            assert!(error.contains("to be a symlink"), "{name}: {error}");
        }
    }
}
