//! The Ignition fragment that makes a Fedora CoreOS, Flatcar or any other systemd host a node with eyewall:
//! binary, configuration, units, masks and drop-ins, typed as Ignition spec 3.3.0 (the newest that Debian's Ignition
//! applies, and one that every Fedora CoreOS and Flatcar of today reads).
//!
//! [`fragment`] is a function of [`Options`] alone: it reads no file and no clock, so the same options give the same
//! bytes. Files are read by the command, in `main.rs`. What is installed on the host lies in `units/`, explained line by
//! line, and is taken from there without the comments; [`platform`] says what differs between clouds, [`Os`] what differs between systems.
//!
//! # Merged over Typhoon's own config
//!
//! Typhoon takes "snippets": further Butane configs, merged over its own as Ignition merges a child over its parent.
//! Lists are merged by key, not appended: a unit of the same `name` takes the child's `contents`, `enabled` and `mask`
//! where the child gives them, drop-ins are merged by name, and a file of the same `path` takes the child's fields.
//! So `kubelet.service` from here replaces Typhoon's, at the same path, and there is never a second owner of the
//! kubelet. All files have `overwrite: true`, so that a file which the OS image ships is replaced rather than a failure.
//!
//! What stays is Typhoon's: containerd, wait-for-dns, sysctls, `/etc/kubernetes/kubelet.yaml`. Its `rotateCertificates: true`
//! does no harm: `eyewall kubelet` says `--rotate-certificates` itself, and a flag wins over the file. What Typhoon gives
//! the kubelet as flags goes into the operator's eyewall.toml: `[kubelet]` `images`, `labels`, `taints`, `extra_args`
//! (`--cloud-provider=external`). A drop-in with `KUBELET_IMAGE` says nothing to eyewall any more.

mod build;
mod config_file;
mod error;
mod explained;
mod options;
pub mod platform;

pub use build::fragment;
pub use error::Error;
pub use options::{Binary, Options, Os, Role};
pub use platform::Platform;

/// The fragment as JSON text, with a newline at its end. Keys that say nothing are left out.
///
/// # Errors
/// Those of [`fragment`].
pub fn render(options: &Options, pretty: bool) -> Result<String, Error> {
    let mut value = serde_json::to_value(fragment(options)?).map_err(Error::Json)?;
    drop_nulls(&mut value);
    let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
    text.map(|text| text + "\n").map_err(Error::Json)
}

/// The schema's types print `null` for many absent keys; Butane prints none.
fn drop_nulls(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
