//! What every VM of a run shares.

use anyhow::Result;

use crate::qemu::{self, Accelerator};
use crate::root::Root;
use crate::{Cache, Progress};

/// The cache, the root file system and the accelerator.
#[derive(Debug)]
pub struct Lab {
    /// Where the images are.
    pub cache: Cache,
    /// The root file system of every node.
    pub root: Root,
    /// What executes the guests' code.
    pub accelerator: Accelerator,
    /// Where the steps are told.
    pub progress: Progress,
}

impl Lab {
    /// Makes or takes what is needed: minutes and the network the first time, nothing later.
    ///
    /// # Errors
    /// When QEMU is missing, this is not root, or Debian cannot be reached.
    pub async fn open() -> Result<Self> {
        let progress = Progress::start();
        let version = qemu::version().await?;
        let cache = Cache::of_environment()?;
        let root = Root::get(&cache, &progress).await?;
        let accelerator = Accelerator::find(&cache, &root.kernel(), &progress).await?;
        progress.say(&format!("{version}, {accelerator:?}"));
        Ok(Self { cache, root, accelerator, progress })
    }
}
