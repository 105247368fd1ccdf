//! Under which names and addresses a kubelet is reached: what its serving certificate is for.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;

/// The longest DNS name, in bytes (RFC 1035).
const DNS_MAX: usize = 253;

/// One of a Node's `status.addresses`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Address {
    /// `Hostname`, `InternalIP`, `ExternalIP`, `InternalDNS` or `ExternalDNS`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The address or name.
    pub address: String,
}

/// DNS names and IP addresses, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// DNS names, as they are written.
    pub dns: BTreeSet<String>,
    /// IP addresses.
    pub ips: BTreeSet<IpAddr>,
}

impl Names {
    /// What the kubelet itself would ask for (`pkg/kubelet/certificate/kubelet.go`, `addressesToHostnamesAndIPs`): IP addresses of
    /// the two IP kinds, names of the two DNS kinds, and a hostname as whichever of the two it is. An entry that cannot stand in a
    /// certificate is left out: the signer would refuse all of it for one.
    pub fn of_node(addresses: &[Address]) -> Self {
        let mut names = Self::default();
        for Address { kind, address } in addresses {
            match (kind.as_str(), address.parse::<IpAddr>()) {
                ("Hostname" | "InternalIP" | "ExternalIP", Ok(ip)) => {
                    names.ips.insert(ip);
                }
                ("Hostname" | "InternalDNS" | "ExternalDNS", Err(_)) if is_dns(address) => {
                    names.dns.insert(address.clone());
                }
                _ => {}
            }
        }
        names
    }

    /// Is there an IP address among them? The kubelet asks for nothing before there is one
    /// (`NewKubeletServerCertificateManager`): until the cloud has told the Node its addresses, only the hostname is there, and
    /// approvers refuse what the API server will not dial.
    pub fn are_complete(&self) -> bool {
        !self.ips.is_empty()
    }

    /// Does a certificate for these serve whoever asks for `wanted`?
    pub fn cover(&self, wanted: &Self) -> bool {
        self.dns.is_superset(&wanted.dns) && self.ips.is_superset(&wanted.ips)
    }

    /// Those that `others` lack.
    #[must_use]
    pub fn beyond(&self, others: &Self) -> Self {
        Self { dns: &self.dns - &others.dns, ips: &self.ips - &others.ips }
    }

    /// Each as text, names first.
    pub fn iter(&self) -> impl Iterator<Item = String> {
        self.dns.iter().cloned().chain(self.ips.iter().map(IpAddr::to_string))
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(&name)?;
        }
        Ok(())
    }
}

/// Letters, digits, `-`, `.` and the `_` that people use all the same.
fn is_dns(name: &str) -> bool {
    (1..=DNS_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(addresses: &[(&str, &str)]) -> Names {
        let addresses: Vec<Address> = addresses
            .iter()
            .map(|(kind, address)| Address { kind: (*kind).to_owned(), address: (*address).to_owned() })
            .collect();
        Names::of_node(&addresses)
    }

    #[test]
    fn a_node_is_asked_for_as_the_kubelet_would() {
        for (name, addresses, want, complete) in [
            ("none", &[][..], "", false),
            ("a hostname alone", &[("Hostname", "node-a")], "node-a", false),
            ("bare metal", &[("InternalIP", "10.0.0.1"), ("Hostname", "node-a")], "node-a, 10.0.0.1", true),
            ("a hostname that is an address", &[("Hostname", "10.132.0.2")], "10.132.0.2", true),
            (
                "a cloud's five, some twice",
                &[
                    ("ExternalIP", "203.0.113.9"),
                    ("InternalIP", "10.0.0.1"),
                    ("InternalIP", "fd00::1"),
                    ("InternalIP", "10.0.0.1"),
                    ("Hostname", "ip-10-0-0-1.ec2.internal"),
                    ("InternalDNS", "ip-10-0-0-1.ec2.internal"),
                    ("ExternalDNS", "ec2-203-0-113-9.example.com"),
                ],
                "ec2-203-0-113-9.example.com, ip-10-0-0-1.ec2.internal, 10.0.0.1, 203.0.113.9, fd00::1",
                true,
            ),
            ("an IP kind without an IP", &[("InternalIP", "node-a")], "", false),
            ("an address under a DNS kind", &[("InternalDNS", "10.0.0.1")], "", false),
            ("a kind of tomorrow", &[("Telepathy", "node-a")], "", false),
            ("no name at all", &[("Hostname", ""), ("InternalDNS", "nöde"), ("ExternalDNS", "a b")], "", false),
        ] {
            let got = of(addresses);
            assert_eq!((got.to_string().as_str(), got.are_complete()), (want, complete), "{name}");
        }
    }

    #[test]
    fn more_covers_less() {
        let (one, two) = (of(&[("InternalIP", "10.0.0.1")]), of(&[("InternalIP", "10.0.0.1"), ("Hostname", "a")]));
        assert!(two.cover(&one) && two.cover(&two) && !one.cover(&two));
        assert_eq!(two.beyond(&one).to_string(), "a");
        assert_eq!(one.beyond(&two), Names::default());
    }
}
