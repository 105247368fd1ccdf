//! A serving certificate as a value: what [`CertView`] tells of any certificate, and whom it may serve.

use std::net::IpAddr;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::Names;
use crate::cert::{CertFault, CertView, NODES};

/// The leaf of a serving pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Subject, dates, serial, key.
    pub cert: CertView,
    /// The DNS names and IP addresses among its subject alternative names.
    pub names: Names,
    /// Has serverAuth among its extended key usages.
    pub server_auth: bool,
}

impl Leaf {
    /// Reads a DER certificate.
    ///
    /// # Errors
    /// [`CertFault::BrokenCertificate`].
    pub fn from_der(der: &[u8]) -> Result<Self, CertFault> {
        let cert = CertView::from_der(der)?;
        let broken = |_| CertFault::BrokenCertificate;
        let (_, parsed) = X509Certificate::from_der(der).map_err(|_| CertFault::BrokenCertificate)?;
        let server_auth = parsed.extended_key_usage().map_err(broken)?.is_some_and(|usage| usage.value.server_auth);
        let names = parsed.subject_alternative_name().map_err(broken)?;
        let names = names.map_or_else(Names::default, |names| read_names(&names.value.general_names));
        Ok(Self { cert, names, server_auth })
    }

    /// Was it issued to the kubelet of `common_name` (`system:node:<name>`) for serving? What the kubelet makes itself is not.
    pub fn is_identity_of(&self, common_name: &str) -> bool {
        self.cert.common_name == common_name
            && self.cert.organizations == [NODES]
            && self.server_auth
            && !self.cert.is_ca
    }
}

/// The DNS names and addresses of a list of general names; others are of no use to a kubelet.
pub fn read_names(names: &[GeneralName<'_>]) -> Names {
    let mut read = Names::default();
    for name in names {
        match name {
            GeneralName::DNSName(name) => {
                read.dns.insert((*name).to_owned());
            }
            GeneralName::IPAddress(bytes) => read.ips.extend(address(bytes)),
            _ => {}
        }
    }
    read
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match <[u8; 4]>::try_from(bytes) {
        Ok(four) => Some(four.into()),
        Err(_) => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};

    use super::*;

    fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let names = ["node-a", "10.0.0.1", "fd00::1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, NODES);
        params.distinguished_name.push(DnType::CommonName, "system:node:node-a");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        change(&mut params);
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn reads_whom_it_may_serve() {
        let leaf = Leaf::from_der(&made(|_| {})).unwrap();
        assert_eq!(leaf.names.to_string(), "node-a, 10.0.0.1, fd00::1");
        assert!(leaf.is_identity_of("system:node:node-a"));
        assert!(!leaf.is_identity_of("system:node:node-b"));
        assert_eq!(Leaf::from_der(b"0"), Err(CertFault::BrokenCertificate));
    }

    #[test]
    fn knows_what_is_no_serving_certificate_of_a_kubelet() {
        type Change = fn(&mut CertificateParams);
        let cases: [(&str, Change); 4] = [
            ("a client's", |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
            ("of another organisation", |p| p.distinguished_name.push(DnType::OrganizationName, "system:masters")),
            ("a CA", |p| p.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
            ("as the kubelet signs itself", |p| {
                p.distinguished_name = DistinguishedName::new();
                p.distinguished_name.push(DnType::CommonName, "node-a@1795486508");
            }),
        ];
        for (name, change) in cases {
            let leaf = Leaf::from_der(&made(change)).unwrap();
            assert!(!leaf.is_identity_of("system:node:node-a"), "{name}");
        }
        let bare = Leaf::from_der(&made(|p| p.subject_alt_names.clear())).unwrap();
        assert_eq!(bare.names, Names::default(), "no names at all");
    }
}
