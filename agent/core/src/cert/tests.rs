use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, SerialNumber};

use super::*;

fn made(change: impl FnOnce(&mut CertificateParams)) -> (Vec<u8>, String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, NODES);
    params.distinguished_name.push(DnType::CommonName, "system:node:node-a");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.serial_number = Some(SerialNumber::from_slice(&[0x0a, 0xbc]));
    change(&mut params);
    let cert = params.self_signed(&key).unwrap();
    (cert.der().to_vec(), cert.pem(), key.serialize_pem())
}

#[test]
fn reads_what_a_certificate_says() {
    let (der, ..) = made(|_| {});
    let view = CertView::from_der(&der).unwrap();
    assert_eq!(view.common_name, "system:node:node-a");
    assert_eq!(view.organizations, [NODES]);
    assert_eq!(view.serial, "0abc");
    assert_eq!(view.sha256.len(), 64);
    assert!(view.is_identity_of("system:node:node-a"));
    assert!(!view.is_identity_of("system:node:node-b"));
}

#[test]
fn knows_what_is_no_kubelet_identity() {
    type Change = fn(&mut CertificateParams);
    let cases: [(&str, Change); 4] = [
        ("another organisation", |p| p.distinguished_name.push(DnType::OrganizationName, "system:masters")),
        ("no clientAuth", |p| p.extended_key_usages.clear()),
        ("a CA", |p| p.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
        ("no organisation", |p| p.distinguished_name = DistinguishedName::new()),
    ];
    for (name, change) in cases {
        let view = CertView::from_der(&made(change).0).unwrap();
        assert!(!view.is_identity_of("system:node:node-a"), "{name}");
    }
}

#[test]
fn a_combined_pem_gives_chain_and_key() {
    let (der, cert, key) = made(|_| {});
    let read = bundle(&format!("{cert}{key}")).unwrap();
    assert_eq!(read.chain, [der]);
    let text = read.key.unwrap();
    assert!(text.expose().starts_with("-----BEGIN PRIVATE KEY-----"));
    assert!(text.expose().ends_with("-----END PRIVATE KEY-----\n"));
}

#[test]
fn every_broken_pem_has_its_own_word() {
    let (_, cert, key) = made(|_| {});
    let half = &cert[..cert.len() / 2];
    let middle = cert.replacen('M', "%", 1);
    for (name, text, want) in [
        ("empty", "", CertFault::Empty),
        ("blank", "\n\n", CertFault::Empty),
        ("zeroes", "\0\0\0\0", CertFault::NoPem),
        ("prose", "not a certificate", CertFault::NoPem),
        ("half", half, CertFault::BrokenPem),
        ("not base64", &middle, CertFault::BrokenPem),
        ("whole and then half", &format!("{cert}{half}"), CertFault::BrokenPem),
        ("key only", &key, CertFault::NoCertificate),
    ] {
        assert_eq!(bundle(text), Err(want), "{name}");
    }
    assert_eq!(CertView::from_der(b"0123"), Err(CertFault::BrokenCertificate));
    let (mut der, ..) = made(|_| {});
    der.push(0);
    assert_eq!(CertView::from_der(&der), Err(CertFault::BrokenCertificate), "trailing bytes");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(text in ".{0,400}", der in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let _ = bundle(&text);
        let _ = bundle(&format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"));
        let _ = CertView::from_der(&der);
    }
}
