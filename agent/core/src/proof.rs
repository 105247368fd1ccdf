//! The proof of a certificate before it is installed (DESIGN 5.4). Only [`prove`] makes a [`Proven`], and only a
//! [`Proven`] can be installed: "never install unproved" is a matter of types.

use std::time::SystemTime;

use crate::cert::CertView;
use crate::status::Reason;
use crate::time::Time;

/// What was found out about a candidate.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// The leaf.
    pub leaf: &'a CertView,
    /// `system:node:<name>`.
    pub common_name: &'a str,
    /// The private key on disk belongs to it.
    pub key_matches: bool,
    /// Whether it chains to the cluster CA, with the verifier's words if not.
    pub chain: Result<(), String>,
    /// What `SelfSubjectReview`, asked with it, answered.
    pub review: Review,
}

/// The answer of `SelfSubjectReview`: who the API server takes the bearer for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// `status.userInfo.username`
    pub username: String,
    /// `status.userInfo.groups`
    pub groups: Vec<String>,
    /// `status.userInfo.extra["authentication.kubernetes.io/credential-id"]`, since Kubernetes 1.32.
    pub credential_id: Option<String>,
}

/// A certificate that was proved. Its field is private: there is no other way to get one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven(CertView);

impl Proven {
    /// The certificate.
    pub fn leaf(&self) -> &CertView {
        &self.0
    }
}

/// A certificate whose key, names, dates and chain are right: worth asking the API server with.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check(now: SystemTime, candidate: &Candidate<'_>) -> Result<(), Reason> {
    let leaf = candidate.leaf;
    let fail = |kind, message: String| Err(Reason::new(kind, message));
    if !candidate.key_matches {
        return fail(
            "certificate-for-another-key",
            "the issued certificate is for another key than the one that asked".to_owned(),
        );
    }
    if !leaf.is_identity_of(candidate.common_name) {
        return fail(
            "certificate-for-another-identity",
            format!(
                "the issued certificate is for {:?} in {:?}, asked was {:?} in [\"system:nodes\"] for client authentication",
                leaf.common_name, leaf.organizations, candidate.common_name
            ),
        );
    }
    if let Err(why) = &candidate.chain {
        return fail(
            "certificate-of-another-authority",
            format!("the issued certificate does not chain to the cluster CA of the bootstrap kubeconfig: {why}"),
        );
    }
    let now = Time(now);
    if leaf.not_before > now {
        return fail(
            "certificate-not-yet-valid",
            format!("the issued certificate begins at {}, later than this host's clock ({now})", leaf.not_before),
        );
    }
    if leaf.not_after <= now {
        return fail(
            "certificate-already-expired",
            format!("the issued certificate ended at {}, and this host's clock says {now}", leaf.not_after),
        );
    }
    Ok(())
}

/// [`check`], and the API server's own word that it takes the bearer for this node, by this certificate.
///
/// # Errors
/// The first thing that is wrong.
pub fn prove(now: SystemTime, candidate: &Candidate<'_>) -> Result<Proven, Reason> {
    check(now, candidate)?;
    let Review { username, groups, credential_id } = &candidate.review;
    if username != candidate.common_name || !groups.iter().any(|group| group == crate::cert::NODES) {
        return Err(Reason::new(
            "certificate-not-accepted",
            format!(
                "the API server takes the bearer of the issued certificate for {username:?}, not for {:?}",
                candidate.common_name
            ),
        ));
    }
    // Absent before Kubernetes 1.32; where it is there, a proxy that swaps certificates is found out by it.
    if let Some(id) = credential_id
        && *id != format!("X509SHA256={}", candidate.leaf.sha256)
    {
        return Err(Reason::new(
            "certificate-swapped",
            format!(
                "the API server saw another certificate ({id}) than the issued one; is there a proxy that speaks TLS in between?"
            ),
        ));
    }
    Ok(Proven(candidate.leaf.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf() -> CertView {
        CertView {
            common_name: "system:node:node-a".to_owned(),
            organizations: vec!["system:nodes".to_owned()],
            subject: String::new(),
            issuer: String::new(),
            serial: "01".to_owned(),
            not_before: Time::from_unix(1_000),
            not_after: Time::from_unix(2_000),
            client_auth: true,
            is_ca: false,
            alternative_names: 0,
            sha256: "ab".to_owned(),
            public_key: Vec::new(),
        }
    }

    fn candidate(leaf: &CertView) -> Candidate<'_> {
        Candidate {
            leaf,
            common_name: "system:node:node-a",
            key_matches: true,
            chain: Ok(()),
            review: Review {
                username: "system:node:node-a".to_owned(),
                groups: vec!["system:nodes".to_owned(), "system:authenticated".to_owned()],
                credential_id: Some("X509SHA256=ab".to_owned()),
            },
        }
    }

    type Change = fn(&mut CertView, &mut Candidate<'_>);

    #[test]
    fn each_flaw_has_its_own_word() {
        let cases: [(&str, Change); 12] = [
            ("", |_, _| {}),
            ("", |_, c| c.review.credential_id = None),
            ("certificate-for-another-key", |_, c| c.key_matches = false),
            ("certificate-for-another-identity", |l, _| l.common_name = "system:node:node-b".to_owned()),
            ("certificate-for-another-identity", |l, _| l.organizations.push("system:masters".to_owned())),
            ("certificate-for-another-identity", |l, _| l.client_auth = false),
            ("certificate-of-another-authority", |_, c| c.chain = Err("unknown issuer".to_owned())),
            ("certificate-not-yet-valid", |l, _| l.not_before = Time::from_unix(1_501)),
            ("certificate-already-expired", |l, _| l.not_after = Time::from_unix(1_500)),
            ("certificate-not-accepted", |_, c| c.review.username = "system:anonymous".to_owned()),
            ("certificate-not-accepted", |_, c| c.review.groups.clear()),
            ("certificate-swapped", |_, c| c.review.credential_id = Some("X509SHA256=cd".to_owned())),
        ];
        for (want, change) in cases {
            let plain = leaf();
            let mut changed = leaf();
            let mut given = candidate(&plain);
            change(&mut changed, &mut given);
            given.leaf = &changed;
            let got = prove(Time::from_unix(1_500).0, &given).map_or_else(|reason| reason.kind, |_| String::new());
            assert_eq!(got, want);
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(4_000))]

        /// Only a [`Proven`] can be installed (`store/install.rs`), and there is none of a certificate with any flaw.
        #[test]
        fn never_installs_unproved(
            flaws in proptest::collection::vec(proptest::prelude::any::<bool>(), 9),
            age in 0_u64..3_000,
        ) {
            let flaw = |index: usize| flaws[index];
            let mut leaf = leaf();
            if flaw(0) { leaf.common_name = "system:node:node-b".to_owned() }
            if flaw(1) { leaf.organizations.clear() }
            if flaw(2) { leaf.client_auth = false }
            let mut given = candidate(&leaf);
            given.key_matches = !flaw(3);
            if flaw(4) { given.chain = Err("unknown issuer".to_owned()) }
            if flaw(5) { given.review.username = "system:anonymous".to_owned() }
            if flaw(6) { given.review.groups = vec!["system:authenticated".to_owned()] }
            if flaw(7) { given.review.credential_id = Some("X509SHA256=cd".to_owned()) }
            // No flaw: an API server before 1.32 does not tell it.
            if flaw(8) && !flaw(7) { given.review.credential_id = None }
            let in_life = (1_000..2_000).contains(&age);
            let is_flawless = in_life && !(0..8).any(flaw);
            let got = prove(Time::from_unix(age).0, &given);
            proptest::prop_assert_eq!(got.is_ok(), is_flawless, "{:?}", got);
        }
    }
}
