//! From the sources that core declares to what is found at them. What a source is called says how it is read; what may be kept of
//! it is declared with it. A source that is not known here is a fault of this file, which a test finds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eyewall_core::config::Config;
use eyewall_core::kubelet;
use eyewall_core::posture::evidence::FileKind;
use eyewall_core::posture::{Capture, Keep, Source};

use super::files;

/// A family of files with more members than this is not captured whole; the rest is told as too large.
const MEMBERS_MAX: usize = 256;

/// Where to look.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The host's root: `/`, or a directory that stands in for it.
    pub root: PathBuf,
    /// The configuration, whose paths some ids name.
    pub config: Arc<Config>,
}

impl Paths {
    /// Under the root, whatever the path says.
    pub fn at(&self, path: &str) -> PathBuf {
        if self.root == Path::new("/") { PathBuf::from(path) } else { self.root.join(path.trim_start_matches('/')) }
    }

    /// An id's path with the keys of the configuration in it: `{certificates.directory}/x`.
    pub fn fill(&self, path: &str) -> Option<String> {
        let Some((before, rest)) = path.split_once('{') else { return Some(path.to_owned()) };
        let (key, after) = rest.split_once('}')?;
        let config = &self.config;
        let value = match key {
            "certificates.directory" => config.certificates.directory.display().to_string(),
            "certificates.kubeconfig" => config.certificates.kubeconfig.display().to_string(),
            "cluster.bootstrap_kubeconfig" => config.cluster.bootstrap_kubeconfig.display().to_string(),
            "kubelet.authority" => kubelet::authority(config).display().to_string(),
            "kubelet.config" => config.kubelet.config.display().to_string(),
            "kubelet.unit" => config.kubelet.unit.clone(),
            _ => return None,
        };
        Some(format!("{before}{value}{after}"))
    }
}

/// The part of an id before its first colon, and what stands behind.
pub fn scheme(id: &str) -> (&str, &str) {
    id.split_once(':').unwrap_or((id, ""))
}

/// Is this source read from the file system by its id alone?
pub fn is_file(source: &Source) -> bool {
    matches!(scheme(source.id).0, "file" | "bytes" | "stat" | "list") && !matches!(source.keep, Keep::Record)
}

/// What is found at a source of the file system: one capture, or one for each member of a family.
pub fn files(paths: &Paths, source: &'static Source) -> Vec<(String, Capture)> {
    let (scheme, rest) = scheme(source.id);
    let Some(path) = paths.fill(rest) else {
        return vec![(
            source.id.to_owned(),
            Capture::failed("no-such-key", "The id names a key that the agent does not know."),
        )];
    };
    let Some(directory) = path.strip_suffix("/*") else {
        return vec![(source.id.to_owned(), one(scheme, source, &paths.at(&path)))];
    };
    let directory = paths.at(directory);
    let Capture::Listing(entries) = files::listing(&directory) else { return Vec::new() };
    let mut members = Vec::new();
    for entry in entries {
        let (path, id) = (directory.join(&entry.name), source.member(&entry.name));
        if members.len() >= MEMBERS_MAX {
            members.push((id, Capture::too_large(usize::MAX)));
            break;
        }
        // A directory has no content, and a link may lead to a file.
        if scheme == "stat" || entry.kind != FileKind::Directory {
            members.push((id, one(scheme, source, &path)));
        }
    }
    members
}

fn one(scheme: &str, source: &Source, path: &Path) -> Capture {
    match (scheme, source.keep) {
        ("stat", _) => files::stat(path),
        ("list", _) => files::listing(path),
        (_, Keep::Head(most)) => files::first_bytes(source, path, most),
        _ => files::content(source, path),
    }
}
