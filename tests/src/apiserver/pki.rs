//! The cluster's certificate authority, and the certificates a test needs from it or from a foreign one.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::clock::unix;
use super::random::random;

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// How old a cluster made here already is: CA and serving certificate are that much older than the server's clock, so a
/// client whose clock is a little behind still talks to it, as it would to a real one.
pub(super) const CLUSTER_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// A certificate authority with its key: the cluster's, or a foreign one that the cluster does not know.
pub struct Authority {
    certificate_pem: String,
    certificate: CertificateDer<'static>,
    key_pem: String,
    issuer: Issuer<'static, KeyPair>,
    not_after: SystemTime,
}

/// What is to be certified, besides the key.
pub(super) struct Subject<'a> {
    pub(super) common_name: &'a str,
    pub(super) organization: Option<&'a str>,
    pub(super) names: Vec<SanType>,
    pub(super) key_usages: Vec<KeyUsagePurpose>,
    pub(super) extended: Vec<ExtendedKeyUsagePurpose>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a CA of that common name, valid between the two times (whole seconds). Its key is P-256.
    ///
    /// # Errors
    /// When the key or the certificate cannot be made.
    pub fn new(common_name: &str, not_before: SystemTime, not_after: SystemTime) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.not_before = x509_time(not_before);
        params.not_after = x509_time(not_after);
        params.serial_number = Some(serial()?);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment, KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key)?;
        Self::from_pem(&certificate.pem(), &key.serialize_pem())
    }

    /// Takes a CA that is already there: one certificate and its key, both PEM.
    ///
    /// # Errors
    /// When either cannot be read, or they are not of the kinds this stand-in signs with.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self> {
        let certificate =
            CertificateDer::from_pem_slice(certificate_pem.as_bytes()).context("the CA's certificate")?.into_owned();
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).context("the CA's certificate")?;
        let end = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
        let key = KeyPair::from_pem(key_pem).context("the CA's key")?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self {
            certificate_pem: certificate_pem.to_owned(),
            certificate: certificate.clone(),
            key_pem: key_pem.to_owned(),
            issuer,
            not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(end),
        })
    }

    /// The CA's certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The CA's key, PEM (PKCS#8): for a test that starts another server with the same CA.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// When the CA ends; no certificate it signs for a request lives longer.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// A kubelet's client certificate for `node`, as the cluster's signer would make it, with a new P-256 key:
    /// the chain and then the PKCS#8 key in one PEM. The times are taken as they are, however strange.
    ///
    /// # Errors
    /// When the key or the certificate cannot be made.
    pub fn issue_node_certificate(&self, node: &str, not_before: SystemTime, not_after: SystemTime) -> Result<String> {
        let common_name = format!("system:node:{node}");
        self.issue(&client(&common_name, Some("system:nodes")), not_before, not_after)
    }

    /// A client certificate for a person or program, e.g. `admin` of `system:masters`: chain and key in one PEM.
    ///
    /// # Errors
    /// When the key or the certificate cannot be made.
    pub fn issue_client_certificate(
        &self,
        common_name: &str,
        organization: Option<&str>,
        not_before: SystemTime,
        not_after: SystemTime,
    ) -> Result<String> {
        self.issue(&client(common_name, organization), not_before, not_after)
    }

    /// The certificate and key this server shows to its clients, valid for a year from now.
    pub(super) fn issue_serving(
        &self,
        names: &[String],
        now: SystemTime,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
        let subject = Subject {
            common_name: "kube-apiserver",
            organization: None,
            names: CertificateParams::new(names.to_vec())?.subject_alt_names,
            key_usages: vec![KeyUsagePurpose::DigitalSignature],
            extended: vec![ExtendedKeyUsagePurpose::ServerAuth],
        };
        let not_before = now.checked_sub(CLUSTER_AGE).unwrap_or(SystemTime::UNIX_EPOCH);
        let pem = self.issue(&subject, not_before, now + YEAR)?;
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes())?.into_owned();
        Ok((certificate, PrivateKeyDer::from_pem_slice(pem.as_bytes())?))
    }

    fn issue(&self, subject: &Subject<'_>, not_before: SystemTime, not_after: SystemTime) -> Result<String> {
        let key = KeyPair::generate()?;
        let certificate = parameters(subject, not_before, not_after)?.signed_by(&key, &self.issuer)?;
        Ok(format!("{}{}", certificate.pem(), key.serialize_pem()))
    }
}

fn client<'a>(common_name: &'a str, organization: Option<&'a str>) -> Subject<'a> {
    Subject {
        common_name,
        organization,
        names: Vec::new(),
        key_usages: vec![KeyUsagePurpose::DigitalSignature],
        extended: vec![ExtendedKeyUsagePurpose::ClientAuth],
    }
}

/// What the controller-manager's signer writes: basicConstraints CA:FALSE, the authority's key id, a random serial.
pub(super) fn parameters(
    subject: &Subject<'_>,
    not_before: SystemTime,
    not_after: SystemTime,
) -> Result<CertificateParams> {
    let mut name = DistinguishedName::new();
    if let Some(organization) = subject.organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, subject.common_name);
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params.not_before = x509_time(not_before);
    params.not_after = x509_time(not_after);
    params.serial_number = Some(serial()?);
    params.subject_alt_names.clone_from(&subject.names);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages.clone_from(&subject.key_usages);
    params.extended_key_usages.clone_from(&subject.extended);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// X.509 counts whole seconds; the rest is cut off, as Go does.
fn x509_time<T>(time: SystemTime) -> T
where
    T: From<SystemTime>,
{
    T::from(SystemTime::UNIX_EPOCH + Duration::from_secs(unix(time)))
}

/// 16 random bytes, positive, as the API server's recorded certificates have.
fn serial() -> Result<SerialNumber> {
    let mut bytes: [u8; 16] = random()?;
    bytes[0] = (bytes[0] & 0x7f) | 0x01;
    Ok(SerialNumber::from_slice(&bytes))
}
