//! The proof of a serving certificate before it is installed. As with the client's ([`crate::proof`]), only [`prove`] makes
//! a [`Proven`], and only a [`Proven`] can be installed.

use std::time::SystemTime;

use super::{Leaf, Names};
use crate::status::Reason;
use crate::time::Time;

/// What was found out about a candidate.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// The leaf.
    pub leaf: &'a Leaf,
    /// `system:node:<name>`.
    pub common_name: &'a str,
    /// What was asked for.
    pub asked: &'a Names,
    /// The private key on disk belongs to it.
    pub key_matches: bool,
    /// Whether it chains to the cluster CA for serving, with the verifier's words if not.
    pub chain: Result<(), String>,
}

/// A serving certificate that was proved. Its field is private: there is no other way to get one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven(Leaf);

impl Proven {
    /// The certificate.
    pub fn leaf(&self) -> &Leaf {
        &self.0
    }
}

/// Proves a candidate by all that can be known on this host: the one thing that only the cluster knows, whether the API server
/// would accept it, follows from the chain.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn prove(now: SystemTime, candidate: &Candidate<'_>) -> Result<Proven, Reason> {
    let leaf = candidate.leaf;
    let fail = |kind, message: String| Err(Reason::new(kind, message));
    if !candidate.key_matches {
        return fail(
            "certificate-for-another-key",
            "the issued serving certificate is for another key than the one that asked".to_owned(),
        );
    }
    if !leaf.is_identity_of(candidate.common_name) {
        return fail(
            "certificate-for-another-identity",
            format!(
                "the issued serving certificate is for {:?} in {:?}, asked was {:?} in [\"system:nodes\"] for server authentication",
                leaf.cert.common_name, leaf.cert.organizations, candidate.common_name
            ),
        );
    }
    let missing = candidate.asked.beyond(&leaf.names);
    if missing != Names::default() {
        return fail(
            "certificate-for-other-addresses",
            format!(
                "the issued serving certificate is not for {missing}, which was asked for; what changes requests in this cluster?"
            ),
        );
    }
    if let Err(why) = &candidate.chain {
        return fail(
            "certificate-of-another-authority",
            format!(
                "the issued serving certificate does not chain to the cluster CA of the bootstrap kubeconfig: {why}; has \
                 kube-controller-manager another CA for the signer kubernetes.io/kubelet-serving?"
            ),
        );
    }
    let now = Time(now);
    if leaf.cert.not_before > now {
        return fail(
            "certificate-not-yet-valid",
            format!(
                "the issued serving certificate begins at {}, later than this host's clock ({now})",
                leaf.cert.not_before
            ),
        );
    }
    if leaf.cert.not_after <= now {
        return fail(
            "certificate-already-expired",
            format!(
                "the issued serving certificate ended at {}, and this host's clock says {now}",
                leaf.cert.not_after
            ),
        );
    }
    Ok(Proven(leaf.clone()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{T0, leaf, names};
    use super::*;

    type Change = fn(&mut Leaf, &mut Candidate<'_>);

    #[test]
    fn each_flaw_has_its_own_word() {
        let cases: [(&str, Change); 10] = [
            ("", |_, _| {}),
            ("", |l, _| l.names = names(&["node-a", "10.0.0.1", "10.0.0.2"])),
            ("certificate-for-another-key", |_, c| c.key_matches = false),
            ("certificate-for-another-identity", |l, _| l.cert.common_name = "system:node:node-b".to_owned()),
            ("certificate-for-another-identity", |l, _| l.server_auth = false),
            ("certificate-for-other-addresses", |l, _| l.names = names(&["node-a"])),
            ("certificate-for-other-addresses", |l, _| l.names = names(&["node-a", "10.0.0.9"])),
            ("certificate-of-another-authority", |_, c| c.chain = Err("unknown issuer".to_owned())),
            ("certificate-not-yet-valid", |l, _| l.cert.not_before = Time::from_unix(T0 + 101)),
            ("certificate-already-expired", |l, _| l.cert.not_after = Time::from_unix(T0 + 100)),
        ];
        for (index, (want, change)) in cases.into_iter().enumerate() {
            let (plain, asked) = (leaf("node-a"), names(&["node-a", "10.0.0.1"]));
            let mut changed = plain.clone();
            let mut given = Candidate {
                leaf: &plain,
                common_name: "system:node:node-a",
                asked: &asked,
                key_matches: true,
                chain: Ok(()),
            };
            change(&mut changed, &mut given);
            given.leaf = &changed;
            let got = prove(Time::from_unix(T0 + 100).0, &given).map_or_else(|reason| reason.kind, |_| String::new());
            assert_eq!(got, want, "case {index}");
        }
    }
}
