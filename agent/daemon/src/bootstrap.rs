//! The bootstrap kubeconfig as every task reads it: server, CA and credential of the cluster, afresh at each look.

use std::path::Path;

use eyewall_core::cert::{self, CertView};
use eyewall_core::kubeconfig::{self, Bootstrap, KubeconfigFault};
use eyewall_core::secret::Secret;
use eyewall_core::status::{AuthorityView, Reason};

use crate::api::Endpoint;

/// A bootstrap kubeconfig that can be used.
#[derive(Debug)]
pub struct Joined {
    /// As read; its credential is sealed, since a look is remembered.
    pub bootstrap: Bootstrap,
    /// The PEM of its CA.
    pub ca: String,
    /// The CA for people; the earliest end, if it is a bundle.
    pub authority: AuthorityView,
}

/// Reads the bootstrap kubeconfig and the CA it names.
pub fn read_bootstrap(path: &Path) -> Result<Joined, Reason> {
    let told = |fault: KubeconfigFault| Reason::new(fault.kind(), format!("{fault} ({})", path.display()));
    let bytes = match std::fs::metadata(path).and_then(|meta| {
        if meta.len() > 1024 * 1024 {
            // Read on would be read into memory; the parser's own limit names the fault.
            Ok(vec![b'#'; kubeconfig::LARGEST + 1])
        } else {
            std::fs::read(path)
        }
    }) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let fault = KubeconfigFault::Missing(path.to_owned());
            return Err(Reason::new(fault.kind(), fault.to_string()));
        }
        Err(error) => {
            let fault = KubeconfigFault::Unreadable { path: path.to_owned(), why: error.to_string() };
            return Err(Reason::new(fault.kind(), fault.to_string()));
        }
    };
    let text = String::from_utf8(bytes).map_err(|_| told(KubeconfigFault::NotText))?;
    let text = Secret::new(text);
    let directory = path.parent().unwrap_or(Path::new("/"));
    let bootstrap = kubeconfig::parse(text.expose()).map_err(told)?.relative_to(directory).sealed(path);
    let ca =
        Endpoint::ca_pem(&bootstrap.ca).map_err(|error| Reason::new("cluster-ca-unreadable", error.to_string()))?;
    let authority = authority(&ca).ok_or_else(|| {
        Reason::new(
            "cluster-ca-invalid",
            format!("the cluster CA of {} holds no certificate that can be read", path.display()),
        )
    })?;
    Ok(Joined { bootstrap, ca, authority })
}

fn authority(pem: &str) -> Option<AuthorityView> {
    let chain = cert::certificates(pem).ok()?;
    let mut views = Vec::with_capacity(chain.len());
    for der in &chain {
        views.push(CertView::from_der(der).ok()?);
    }
    // A bundle of old and new CA lives as long as its longest-lived member.
    let longest = views.into_iter().max_by_key(|view| view.not_after)?;
    Some(AuthorityView { subject: longest.subject, not_after: longest.not_after, not_before: Some(longest.not_before) })
}
