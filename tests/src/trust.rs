//! Does a CA bundle vouch for the certificate in force? Asked of webpki, as a kubelet's API server would.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eyewall_core::cert::{CertView, bundle};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// The serial of the leaf of `pem`, once a certificate of `ca` vouches for it and its key is with it.
///
/// # Errors
/// What does not go together.
pub fn vouched_for(ca: &str, pem: &str) -> Result<String> {
    let authorities: Vec<_> =
        CertificateDer::pem_slice_iter(ca.as_bytes()).collect::<Result<_, _>>().context("the CA cannot be read")?;
    let anchors: Vec<_> = authorities.iter().filter_map(|authority| anchor_from_trusted_cert(authority).ok()).collect();
    let found = bundle(pem)?;
    ensure!(found.key.is_some(), "the certificate in force has no key");
    let leaf = CertView::from_der(found.chain.first().context("there is no certificate in force")?)?;
    let chain: Vec<_> = found.chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let (first, others) = chain.split_first().context("there is no certificate in force")?;
    let at = UnixTime::since_unix_epoch(Duration::from_secs(leaf.not_after.unix().saturating_sub(1)));
    EndEntityCert::try_from(first)?
        .verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, others, at, KeyUsage::client_auth(), None, None)
        .with_context(|| format!("the CA in force does not vouch for the certificate in force ({})", leaf.serial))?;
    Ok(leaf.serial)
}

/// What was seen of a store by [`watch`].
#[derive(Clone, Debug, Default)]
pub struct Sightings {
    /// How often both files were read.
    pub looks: usize,
    /// Each different pair, in its order: how many CA certificates, and the serial in force.
    pub pairs: Vec<(usize, String)>,
    /// Pairs that did not go together.
    pub faults: BTreeSet<String>,
}

/// Reads CA and certificate over and over until `until`, and judges each pair that a reader could have met.
pub fn watch(directory: &Path, until: impl Fn() -> bool) -> Sightings {
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap_or_default();
    let mut seen = Sightings::default();
    while !until() {
        let before = read("cluster-ca.crt");
        let pem = read("kubelet-client-current.pem");
        // Between two reads of one reader the files may change; what stood unchanged around the other was a pair.
        if read("cluster-ca.crt") != before {
            continue;
        }
        seen.looks += 1;
        match vouched_for(&before, &pem) {
            Ok(serial) => {
                let pair = (before.matches("BEGIN CERTIFICATE").count(), serial);
                if seen.pairs.last() != Some(&pair) {
                    seen.pairs.push(pair);
                }
            }
            Err(fault) => {
                seen.faults.insert(format!("{fault:#}"));
            }
        }
    }
    seen
}
