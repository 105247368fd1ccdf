//! Reading a configuration: the main file, then its drop-ins, each over the ones before it.

use std::collections::BTreeMap;

use super::document::Document;
use super::fault::{Fault, Faults, Place};
use super::image::Image;
use super::kubernetes::extra_arg_fault;
use super::{Config, LockChoice, keys};

/// One file of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// How faults name it.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// Where each key in force was written: the index of its file, and the place in it.
type Places = BTreeMap<String, (usize, Place)>;

/// Reads `files` in their order: a later one wins key by key, tables are merged, lists are replaced. No file is the defaults.
///
/// # Errors
/// Every fault of every file. What a later file overrides must be right all the same, so that taking
/// a drop-in away cannot break a node. Of a line that is not TOML only that is told.
pub fn read(files: &[Source]) -> Result<Config, Faults> {
    let mut config = Config::default();
    let mut faults = Vec::new();
    let mut places = Places::new();
    for (index, file) in files.iter().enumerate() {
        let (found, stands) = Document::walk(&file.name, &file.text, |root| {
            keys::read(root, &mut config);
        });
        faults.extend(found.into_iter().map(|fault| (index, fault)));
        places.extend(stands.into_iter().map(|(key, place)| (key, (index, place))));
    }
    let together = Together { files, places: &places };
    together.check(&config, &mut faults);
    faults.sort_by(|(a, x), (b, y)| (a, x.line, x.column).cmp(&(b, y.line, y.column)));
    match Faults::new(faults.into_iter().map(|(_, fault)| fault).collect()) {
        None => Ok(config),
        Some(faults) => Err(faults),
    }
}

/// What can only be judged when all keys are known.
struct Together<'a> {
    files: &'a [Source],
    places: &'a Places,
}

impl Together<'_> {
    fn check(&self, config: &Config, faults: &mut Vec<(usize, Fault)>) {
        // Where a part has a fault of its own, its field still has the value before it: nothing can be said of the whole.
        let whole = |faults: &[(usize, Fault)], parts: &[&str]| {
            !faults.iter().any(|(_, fault)| parts.iter().any(|part| fault.key.starts_with(part)))
        };
        if config.kubelet.require_digest && whole(faults, &["kubelet.images"]) {
            for (index, image) in config.kubelet.images.iter().enumerate() {
                if Image::parse(image).is_ok_and(|image| image.digest().is_some()) {
                    continue;
                }
                let keys = [format!("kubelet.images[{index}]"), "kubelet.require_digest".to_owned()];
                let sentence =
                    format!("the image {image:?} has no digest, and kubelet.require_digest wants one: add @sha256:…");
                faults.extend(self.fault(&keys, "image-without-digest", sentence));
            }
        }
        if config.reboot.lock == LockChoice::Fleetlock
            && config.reboot.fleetlock_url.is_empty()
            && whole(faults, &["reboot.fleetlock_url", "reboot.lock"])
        {
            let keys = ["reboot.lock".to_owned()];
            let sentence = "reboot.lock = \"fleetlock\" needs the server's address: set reboot.fleetlock_url";
            faults.extend(self.fault(&keys, "missing-key", sentence.to_owned()));
        }
        if whole(faults, &["kubelet.extra_args", "certificates.owner"]) {
            for (index, argument) in config.kubelet.extra_args.iter().enumerate() {
                if let Some(why) = extra_arg_fault(argument, config.certificates.owner) {
                    let keys = [format!("kubelet.extra_args[{index}]")];
                    let sentence = format!("kubelet.extra_args cannot hold {argument:?}: {why}");
                    faults.extend(self.fault(&keys, "bad-argument", sentence));
                }
            }
        }
    }

    /// A fault at the first of `keys` that a file has.
    fn fault(&self, keys: &[String], kind: &'static str, sentence: String) -> Option<(usize, Fault)> {
        let (key, (index, place)) = keys.iter().find_map(|key| Some((key, self.places.get(key)?)))?;
        let fault = Fault {
            line: place.line,
            column: place.column,
            key: key.clone(),
            ..Fault::of_file(&self.files.get(*index)?.name, kind, sentence)
        };
        Some((*index, fault))
    }
}

#[cfg(test)]
mod tests;
