//! Keys and chains: what rustls, webpki and rcgen know, as plain answers for core. Every certificate task uses them.

use eyewall_core::cert::{self, CertView, NODES};
use eyewall_core::hostname::NodeName;
use eyewall_core::secret::Secret;
use eyewall_core::serving::{Names, read_names};
use eyewall_core::time::Time;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PublicKeyData, SanType};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// A key and its request, not yet on disk.
#[derive(Debug)]
pub struct NewRequest {
    /// PKCS#8 PEM, ECDSA P-256 as the kubelet's own.
    pub key: Secret,
    /// PKCS#10 PEM.
    pub request: String,
}

/// Makes a key and a request for `node`: CN and O, and no name besides, since the signer refuses any.
///
/// # Errors
/// The library's words (the system's random source failed).
pub fn new_request(node: &NodeName) -> Result<NewRequest, String> {
    new_request_for(node, &Names::default())
}

/// Makes a key and a request for serving as `node` under `names`.
///
/// # Errors
/// The library's words (the system's random source failed).
pub fn new_request_for(node: &NodeName, names: &Names) -> Result<NewRequest, String> {
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let mut params = CertificateParams::default();
    for name in &names.dns {
        let name = name.as_str().try_into().map_err(|error: rcgen::Error| error.to_string())?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    params.subject_alt_names.extend(names.ips.iter().copied().map(SanType::IpAddress));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, NODES);
    params.distinguished_name.push(DnType::CommonName, node.common_name());
    let request =
        params.serialize_request(&key).and_then(|request| request.pem()).map_err(|error| error.to_string())?;
    Ok(NewRequest { key: Secret::new(key.serialize_pem()), request })
}

/// What a request on disk says: the DER of its public key and the CN it asks for. `None`: it is not a request, or the key
/// is not its own.
pub fn request_facts(key: &Secret, request: &str) -> Option<(Vec<u8>, String)> {
    serving_request_facts(key, request).map(|(public_key, name, _)| (public_key, name))
}

/// The same, and the names that it asks to serve.
pub fn serving_request_facts(key: &Secret, request: &str) -> Option<(Vec<u8>, String, Names)> {
    let key = KeyPair::from_pem(key.expose()).ok()?;
    let public_key = key.subject_public_key_info();
    let pem = x509_parser::pem::Pem::iter_from_buffer(request.as_bytes()).next()?.ok()?;
    let (_, parsed) =
        <x509_parser::certification_request::X509CertificationRequest<'_> as x509_parser::prelude::FromDer<_>>::from_der(
            &pem.contents,
        )
        .ok()?;
    let info = &parsed.certification_request_info;
    if info.subject_pki.raw != public_key {
        return None;
    }
    let name = info.subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let mut names = Names::default();
    for extension in parsed.requested_extensions().into_iter().flatten() {
        if let x509_parser::extensions::ParsedExtension::SubjectAlternativeName(list) = extension {
            names = read_names(&list.general_names);
        }
    }
    Some((public_key, name, names))
}

/// Does the private key belong to the certificate with this SubjectPublicKeyInfo? Reads PKCS#8, SEC1 (the kubelet's own) and PKCS#1.
pub fn key_matches(key: &Secret, public_key: &[u8]) -> bool {
    PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
        .ok()
        .and_then(|der| rustls::crypto::ring::sign::any_supported_type(&der).ok())
        .and_then(|key| key.public_key().map(|public| public.as_ref() == public_key))
        .unwrap_or(false)
}

/// Does the key belong to the first certificate of this PEM text? As Go reads a pair: other blocks are skipped.
pub fn is_pair(certificate: &str, key: &Secret) -> bool {
    let leaf = cert::certificates(certificate).ok().and_then(|chain| CertView::from_der(chain.first()?).ok());
    leaf.is_some_and(|leaf| key_matches(key, &leaf.public_key))
}

/// Does the leaf chain to one of the authorities, for client authentication?
/// Judged at the leaf's last second: its dates are core's business, and the signer never lets it outlive the CA.
///
/// # Errors
/// The verifier's words.
pub fn verify(chain: &[Vec<u8>], authorities: &str, not_after: Time) -> Result<(), String> {
    verify_for(KeyUsage::client_auth(), chain, authorities, not_after)
}

/// The same, for server authentication.
///
/// # Errors
/// The verifier's words.
pub fn verify_serving(chain: &[Vec<u8>], authorities: &str, not_after: Time) -> Result<(), String> {
    verify_for(KeyUsage::server_auth(), chain, authorities, not_after)
}

fn verify_for(usage: KeyUsage, chain: &[Vec<u8>], authorities: &str, not_after: Time) -> Result<(), String> {
    let authorities: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(authorities.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| "the CA cannot be read".to_owned())?;
    let anchors: Vec<_> = authorities.iter().filter_map(|authority| anchor_from_trusted_cert(authority).ok()).collect();
    let chain: Vec<CertificateDer<'_>> = chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let (leaf, intermediates) = chain.split_first().ok_or("there is no certificate")?;
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(not_after.unix().saturating_sub(1)));
    EndEntityCert::try_from(leaf)
        .and_then(|leaf| {
            leaf.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, intermediates, at, usage, None, None)
                .map(|_| ())
        })
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use eyewall_core::hostname::node_name;

    use super::*;

    #[test]
    fn a_new_request_asks_for_the_node_and_nothing_else() {
        let node = node_name(Some("node-a"), "").unwrap();
        let new = new_request(&node).unwrap();
        let (public_key, name) = request_facts(&new.key, &new.request).unwrap();
        assert_eq!(name, "system:node:node-a");
        assert!(key_matches(&new.key, &public_key));
        let other = new_request(&node).unwrap();
        assert!(!key_matches(&other.key, &public_key), "another key");
        assert!(request_facts(&other.key, &new.request).is_none(), "a key of another request");
        assert!(request_facts(&Secret::new("x".to_owned()), &new.request).is_none(), "no key");
        assert!(request_facts(&new.key, "x").is_none(), "no request");
    }

    #[test]
    fn a_request_for_serving_asks_for_the_names_too() {
        let node = node_name(Some("node-a"), "").unwrap();
        let mut names = Names { dns: ["node-a".to_owned()].into(), ips: ["10.0.0.1".parse().unwrap()].into() };
        names.ips.insert("fd00::1".parse().unwrap());
        let new = new_request_for(&node, &names).unwrap();
        let (public_key, name, asked) = serving_request_facts(&new.key, &new.request).unwrap();
        assert_eq!((name.as_str(), asked), ("system:node:node-a", names));
        assert!(key_matches(&new.key, &public_key));
        let client = new_request(&node).unwrap();
        let (.., none) = serving_request_facts(&client.key, &client.request).unwrap();
        assert_eq!(none, Names::default());
    }

    #[test]
    fn reads_the_kubelets_own_key_form() {
        // SEC1, as `openssl ecparam -name prime256v1 -genkey` and the kubelet write it; made for this test.
        let pem = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04fSeQ6tF1aY/PuoAoGCCqGSM49\nAwEHoUQDQgAEPR3tU2Fta9ktY+6P9G0cWO+0kETA6SFs38GecTyudlHz6xvCdz8q\nEKTcWGekdmdDPsHloRNtsiCa697B2O9IFA==\n-----END EC PRIVATE KEY-----\n";
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
        let public = rustls::crypto::ring::sign::any_supported_type(&key).unwrap().public_key().unwrap().to_vec();
        assert!(key_matches(&Secret::new(pem.to_owned()), &public));
        assert!(!key_matches(&Secret::new(pem.to_owned()), &public[1..]));
    }
}
