//! The node's name: which Node object this host is, and so the CN of its certificate.
//!
//! The kubelet's own rule (`pkg/util/node.GetHostname`): the configured name, else the hostname, trimmed and lower-cased.
//! Ours is stricter where the kubelet has hurt people: it once registered whole clusters as `localhost`,
//! because it asked for its certificate before the cloud had given the host a name.

use std::fmt;

use thiserror::Error;

/// The longest DNS-1123 subdomain, and so the longest name of a Node object, in bytes (RFC 1123, `validation.IsDNS1123Subdomain`).
const NAME_MAX: usize = 253;
/// The longest label between two dots, in bytes (RFC 1123).
const LABEL_MAX: usize = 63;

/// A name that a Node object may have: a DNS-1123 subdomain, lower case, and not the loopback's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName(String);

impl NodeName {
    /// The name, as in `kubectl get node NAME`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The user this node is to the API server, `system:node:<name>`: the CN of its client certificate.
    /// The Node authorizer and NodeRestriction both read the name from there.
    pub fn common_name(&self) -> String {
        format!("system:node:{}", self.0)
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why this host has no name to join with (yet).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NodeNameFault {
    /// The host has no name at all.
    #[error("the hostname is empty: give the host a name, or set node.name in the configuration")]
    HostnameIsEmpty,
    /// The host still has the name every host has.
    #[error(
        "the hostname is {0:?}, which every host has until it is given its own: \
         waiting for the network or the cloud to name it; or set node.name in the configuration"
    )]
    HostnameIsLocalhost(String),
    /// The host's name cannot be a Node's.
    #[error(
        "the hostname {name:?} cannot be a node's name: {why}; rename the host, or set node.name in the configuration"
    )]
    HostnameIsInvalid {
        /// The hostname, trimmed and lower-cased.
        name: String,
        /// What a DNS-1123 subdomain wants and it has not.
        why: &'static str,
    },
    /// `node.name` cannot be a Node's name.
    #[error("node.name {name:?} cannot be a node's name: {why}")]
    ConfiguredIsInvalid {
        /// As configured.
        name: String,
        /// What a node's name wants and it has not.
        why: &'static str,
    },
}

impl NodeNameFault {
    /// The word for machines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::HostnameIsEmpty => "hostname-is-empty",
            Self::HostnameIsLocalhost(_) => "hostname-is-localhost",
            Self::HostnameIsInvalid { .. } => "hostname-is-invalid",
            Self::ConfiguredIsInvalid { .. } => "node-name-is-invalid",
        }
    }
}

/// The node's name: `configured` (`node.name`) where there is one, else `hostname` (what the kernel says now).
///
/// A hostname is trimmed and lower-cased as the kubelet does it. A configured name is taken as it is written:
/// a person who writes `Node-A` should learn that the Node will not be called that.
///
/// # Errors
/// The name is one that no node may have. With a hostname that is a matter of waiting: the cloud names its hosts late.
pub fn node_name(configured: Option<&str>, hostname: &str) -> Result<NodeName, NodeNameFault> {
    if let Some(name) = configured {
        return match fault_of(name) {
            None => Ok(NodeName(name.to_owned())),
            Some(why) => Err(NodeNameFault::ConfiguredIsInvalid { name: name.to_owned(), why }),
        };
    }
    let name = hostname.trim().to_lowercase();
    if name.is_empty() {
        return Err(NodeNameFault::HostnameIsEmpty);
    }
    if is_localhost(&name) {
        return Err(NodeNameFault::HostnameIsLocalhost(name));
    }
    match fault_of(&name) {
        None => Ok(NodeName(name)),
        Some(why) => Err(NodeNameFault::HostnameIsInvalid { name, why }),
    }
}

/// What keeps `name` from being a node's name; `None` if nothing does.
/// The configuration asks the same question, so that both refuse the same names.
pub fn fault_of(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if is_localhost(name) {
        return Some("localhost is every host, so no host may join with it");
    }
    subdomain_fault(name)
}

/// What keeps `name` from being a DNS-1123 subdomain; `None` if nothing does.
pub(crate) fn subdomain_fault(name: &str) -> Option<&'static str> {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > NAME_MAX {
        return Some("it is longer than 253 characters");
    }
    for label in name.split('.') {
        let bytes = label.as_bytes();
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
            return Some("it has an empty part before, after or between its dots");
        };
        if bytes.len() > LABEL_MAX {
            return Some("a part between its dots is longer than 63 characters");
        }
        if !bytes.iter().all(|&byte| alphanumeric(byte) || byte == b'-') {
            return Some("only lower-case letters, digits, '-' and '.' may stand in it");
        }
        if !alphanumeric(*first) || !alphanumeric(*last) {
            return Some("every part must begin and end with a letter or a digit");
        }
    }
    None
}

/// `localhost` and what distributions make of it (`localhost.localdomain`, `localhost4`, `localhost6.localdomain6`).
fn is_localhost(name: &str) -> bool {
    let first = name.split('.').next().unwrap_or(name);
    matches!(first, "localhost" | "localhost4" | "localhost6")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_or_the_reason_is() {
        let long_label = "a".repeat(64);
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        let too_long = format!("{longest}b");
        for (name, configured, hostname, want) in [
            ("plain", None, "node-a", Ok("node-a")),
            ("upper case and a newline", None, "Node-A\n", Ok("node-a")),
            ("qualified", None, "ip-10-0-0-1.ec2.internal", Ok("ip-10-0-0-1.ec2.internal")),
            ("an address, as on DigitalOcean", Some("10.132.0.2"), "x", Ok("10.132.0.2")),
            ("configured wins", Some("node-b"), "localhost", Ok("node-b")),
            ("253 bytes", None, &longest, Ok(longest.as_str())),
            ("one label of 63", None, &long_label[1..], Ok(&long_label[1..])),
            ("empty", None, "", Err("hostname-is-empty")),
            ("blank", None, " \n", Err("hostname-is-empty")),
            ("localhost", None, "localhost", Err("hostname-is-localhost")),
            ("LOCALHOST", None, "LOCALHOST", Err("hostname-is-localhost")),
            ("localhost.localdomain", None, "localhost.localdomain", Err("hostname-is-localhost")),
            ("localhost6.localdomain6", None, "localhost6.localdomain6", Err("hostname-is-localhost")),
            ("not localhost", None, "localhost-1", Ok("localhost-1")),
            ("underscore", None, "node_a", Err("hostname-is-invalid")),
            ("non-ASCII", None, "nöde", Err("hostname-is-invalid")),
            ("trailing dot", None, "node-a.", Err("hostname-is-invalid")),
            ("leading dash", None, "-node", Err("hostname-is-invalid")),
            ("trailing dash in a label", None, "node-.a", Err("hostname-is-invalid")),
            ("label of 64", None, &long_label, Err("hostname-is-invalid")),
            ("254 bytes", None, &too_long, Err("hostname-is-invalid")),
            ("configured localhost", Some("localhost"), "node-a", Err("node-name-is-invalid")),
            ("configured empty", Some(""), "node-a", Err("node-name-is-invalid")),
            ("configured upper case", Some("Node-A"), "node-a", Err("node-name-is-invalid")),
        ] {
            let got = node_name(configured, hostname);
            let got = got.as_ref().map(NodeName::as_str).map_err(NodeNameFault::kind);
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn the_common_name_is_the_api_servers() {
        let name = node_name(Some("node-a"), "").expect("valid");
        assert_eq!(name.common_name(), "system:node:node-a");
    }
}
