//! One capture of this host, or of a directory that holds one: what the verbs need, with or without a daemon.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use eyewall_core::config::Config;
use eyewall_core::hostname::node_name;
use eyewall_core::posture::Evidence;
use eyewall_core::time::Time;

use super::capture::Paths;
use super::look::{Places, Round};
use super::sweep::{Given, Scope, host, sweep};
use crate::host;

/// Captures this host. Without `probes` nothing is asked over the network.
///
/// # Errors
/// There is no runtime, or no directory for the probes' files.
pub fn capture(config: &Config, probes: bool) -> anyhow::Result<Evidence> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let scratch = Scratch::new(&std::env::temp_dir()).context("no directory for the probes' files")?;
    let paths = Paths { root: PathBuf::from("/"), config: Arc::new(config.clone()) };
    let places = Places::default();
    let node = node_name(config.node.name.as_deref(), &host::hostname()).ok();
    let now = crate::clock::now();
    let mut round = Round::new(&paths, &places, node.as_ref(), now);
    let mut evidence = Evidence::new(host(&round, host::os(config).id), Time(now));
    evidence.made = vec![format!("by eyewall {}", env!("CARGO_PKG_VERSION"))];
    let scope = if probes { Scope::Everything } else { Scope::NoProbes };
    let given = Given { watch: None, scratch: scratch.path() };
    runtime.block_on(sweep(&mut round, &mut evidence, &scope, &given));
    Ok(evidence)
}

/// Reads a directory of evidence.
///
/// # Errors
/// It cannot be read, or it holds no evidence.
pub fn read(directory: &Path) -> anyhow::Result<Evidence> {
    let mut parts = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".json") {
            continue;
        }
        let length = entry.metadata()?.len();
        ensure!(length <= Evidence::LARGEST_PART as u64, "{name} is larger than a part of a capture can be");
        parts.push((name.clone(), std::fs::read_to_string(entry.path()).context(name)?));
    }
    parts.sort();
    let parts = parts.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    Ok(Evidence::from_parts(parts)?)
}

/// A directory of our own that goes with its value.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Below `parent`, for nobody else.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(parent: &Path) -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = parent.join(format!("eyewall-probe-{}", std::process::id()));
        // A left-over of a process with the same number; anybody else's is not ours to remove, and then this fails.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
