//! The deployments, what a boot does to them, and their files.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::OSNAME;

/// One deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// `osname`
    pub osname: String,
    /// `version`
    pub version: String,
    /// `checksum`
    pub checksum: String,
    /// `booted`
    pub booted: bool,
    /// `staged`
    pub staged: bool,
    /// `finalization-locked`
    pub locked: bool,
}

impl Deployment {
    /// Of this version, with a checksum that is always the same for it.
    pub fn new(version: &str) -> Self {
        let checksum = Sha256::digest(version).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { osname: OSNAME.to_owned(), version: version.to_owned(), checksum, ..Self::default() }
    }
}

/// All of them, in the order of the boot menu.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The deployments.
    pub deployments: Vec<Deployment>,
    /// The boot in which this was written.
    pub boot_id: String,
}

impl State {
    /// `booted` runs, and `before` ran before it.
    pub fn of(booted: &str, before: Option<&str>) -> Self {
        let mut deployments = vec![Deployment { booted: true, ..Deployment::new(booted) }];
        deployments.extend(before.map(Deployment::new));
        Self { deployments, boot_id: String::new() }
    }

    /// As it was left in `directory`; `booted` where nothing was. Another boot than the one it was written in is gone through.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn load(directory: &Path, booted: &str, boot_id: &str) -> Result<Self> {
        let path = directory.join("deployments.json");
        let mut state = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("{}", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::of(booted, None),
            Err(error) => return Err(error).with_context(|| format!("{}", path.display())),
        };
        if state.boot_id != boot_id {
            state.boot();
            boot_id.clone_into(&mut state.boot_id);
        }
        Ok(state)
    }

    /// Into `directory`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, directory: &Path) -> Result<()> {
        use std::io::Write as _;

        std::fs::create_dir_all(directory)?;
        let (path, new) = (directory.join("deployments.json"), directory.join(".deployments.json"));
        let mut file = std::fs::File::create(&new)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        std::fs::rename(new, path)?;
        Ok(std::fs::File::open(directory)?.sync_all()?)
    }

    /// The version that runs.
    pub fn booted(&self) -> Option<&str> {
        self.deployments.iter().find(|deployment| deployment.booted).map(|deployment| deployment.version.as_str())
    }

    pub(super) fn stage(&mut self, version: &str, locked: bool) {
        self.deployments.retain(|deployment| !deployment.staged);
        self.deployments.insert(0, Deployment { staged: true, locked, ..Deployment::new(version) });
    }

    pub(super) fn unlock(&mut self) {
        for deployment in &mut self.deployments {
            deployment.locked = false;
        }
    }

    pub(super) fn drop_staged(&mut self) {
        self.deployments.retain(|deployment| !deployment.staged);
    }

    /// What `ostree-finalize-staged.service` does when it is stopped by an orderly shutdown.
    pub fn finalize(&mut self) {
        for deployment in &mut self.deployments {
            if deployment.staged && !deployment.locked {
                deployment.staged = false;
            }
        }
    }

    /// The next boot: what is only staged was in `/run`; the first of the rest runs.
    pub(super) fn boot(&mut self) {
        self.drop_staged();
        for (position, deployment) in self.deployments.iter_mut().enumerate() {
            deployment.booted = position == 0;
        }
        // The booted one and one to go back to are kept.
        self.deployments.truncate(2);
    }

    /// `/run/ostree/staged-deployment`, its lock, and the time of `/ostree/deploy`.
    pub(super) fn write_files(&self, root: &Path) -> Result<()> {
        let (run, deploy) = (root.join("run/ostree"), root.join("ostree/deploy"));
        std::fs::create_dir_all(&run)?;
        std::fs::create_dir_all(&deploy)?;
        let staged = self.deployments.iter().find(|deployment| deployment.staged);
        let put = |name: &str, content: Option<String>| -> std::io::Result<()> {
            let path = run.join(name);
            match content {
                // Unchanged files keep their time.
                Some(text) if std::fs::read_to_string(&path).is_ok_and(|found| found == text) => Ok(()),
                Some(text) => {
                    let new = run.join(format!(".{name}"));
                    std::fs::write(&new, text)?;
                    std::fs::rename(new, path)
                }
                None => match std::fs::remove_file(path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                },
            }
        };
        put("staged-deployment", staged.map(|deployment| deployment.checksum.clone()))?;
        put("staged-deployment-locked", staged.filter(|staged| staged.locked).map(|_| String::new()))?;
        // ostree_sysroot_bump_mtime
        let touch = deploy.join(".touch");
        std::fs::write(&touch, "")?;
        std::fs::remove_file(touch)?;
        Ok(())
    }
}
