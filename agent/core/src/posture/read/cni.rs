//! `/etc/cni/net.d/*.conflist` and `*.conf`: which network the pods are on.

use serde::Deserialize;

use super::ReadFault;
use super::fault::json;

/// Cilium's and flannel's are under 1 KiB.
pub const LARGEST: usize = 64 * 1024;

/// A network configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its name, for people.
    pub name: String,
    /// The types of its plugins: `cilium-cni`, `flannel`, `portmap`, ...
    pub plugins: Vec<String>,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    name: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    plugins: Option<Vec<Plugin>>,
}

#[derive(Deserialize)]
struct Plugin {
    #[serde(rename = "type")]
    kind: String,
}

/// Reads one file.
///
/// # Errors
/// [`ReadFault`]; one without any plugin is one.
pub fn network(text: &str) -> Result<Network, ReadFault> {
    let raw: Raw = json(text, LARGEST)?;
    let listed = raw.plugins.into_iter().flatten().map(|plugin| plugin.kind);
    let plugins: Vec<String> = listed.chain(raw.kind).filter(|kind| !kind.is_empty()).collect();
    if plugins.is_empty() {
        return Err(ReadFault::Missing("any plugin"));
    }
    Ok(Network { name: raw.name, plugins })
}

/// Is this a name that containerd reads from the directory (libcni `ConfFiles`)?
pub fn is_configuration(name: &str) -> bool {
    [".conflist", ".conf", ".json"].iter().any(|suffix| name.ends_with(suffix))
}

/// Of a file its name and plugin types alone; a network's configuration may hold credentials.
pub fn names_only(text: &str) -> String {
    match network(text) {
        Ok(network) => {
            let plugins: Vec<serde_json::Value> =
                network.plugins.iter().map(|kind| serde_json::json!({"type": kind})).collect();
            format!("{:#}\n", serde_json::json!({"name": network.name, "plugins": plugins}))
        }
        Err(fault) => format!("(not kept: {fault})\n"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn networks_have_plugins() {
        for (text, want) in [
            (
                r#"{"cniVersion":"0.3.1","name":"cilium","plugins":[{"type":"cilium-cni","enable-debug":false}]}"#,
                Ok(vec!["cilium-cni"]),
            ),
            (
                r#"{"name":"cbr0","plugins":[{"type":"flannel","delegate":{}},{"type":"portmap"}]}"#,
                Ok(vec!["flannel", "portmap"]),
            ),
            (r#"{"name":"old","type":"bridge"}"#, Ok(vec!["bridge"])),
            (r#"{"name":"none","plugins":[]}"#, Err("incomplete")),
            (r#"{"plugins":[{}]}"#, Err("malformed")),
            ("", Err("empty")),
        ] {
            let got = network(text).map(|network| network.plugins).map_err(|fault| fault.kind());
            assert_eq!(got, want.map(|plugins| plugins.into_iter().map(str::to_owned).collect()), "{text}");
        }
        let kept = names_only(r#"{"name":"n","plugins":[{"type":"calico","token":"abcdef.0123456789abcdef"}]}"#);
        assert!(!kept.contains("abcdef") && network(&kept).is_ok());
        assert!(network(&names_only("abcdef")).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_network_or_a_fault(text in "(?s).{0,200}") {
            let _ = (network(&text), names_only(&text));
        }
    }
}
