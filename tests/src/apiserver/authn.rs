//! Who is asking: client certificates and bootstrap tokens, judged anew for every request as the API server does.

use std::time::SystemTime;

use hyper::header::AUTHORIZATION;
use hyper::{HeaderMap, header::HeaderValue};
use rustls_pki_types::{CertificateDer, UnixTime};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::clock::unix;
use super::options::Token;
use super::pki::Authority;
use super::refusal::Refusal;

/// A user, as the rules see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) username: String,
    pub(super) groups: Vec<String>,
    /// `X509SHA256=<hash of the certificate>`, for users known by a certificate.
    credential_id: Option<String>,
}

impl Identity {
    fn anonymous() -> Self {
        Self {
            username: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
            credential_id: None,
        }
    }

    /// The user who made a request for a certificate, as the API server wrote it into the object.
    pub(super) fn of_request(object: &Value) -> Self {
        let groups = object["spec"]["groups"].as_array().into_iter().flatten();
        Self {
            username: object["spec"]["username"].as_str().unwrap_or_default().to_owned(),
            groups: groups.filter_map(Value::as_str).map(str::to_owned).collect(),
            credential_id: None,
        }
    }

    pub(super) fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// The node this is, by name and group as the Node authorizer's identifier asks for both.
    pub(super) fn node(&self) -> Option<&str> {
        let name = self.username.strip_prefix("system:node:")?;
        self.in_group("system:nodes").then_some(name)
    }

    /// As `userInfo` and as the fields that a request for a certificate carries.
    pub(super) fn user_info(&self) -> Value {
        let mut info = json!({"username": self.username, "groups": self.groups});
        if let Some(id) = &self.credential_id {
            info["extra"] = json!({"authentication.kubernetes.io/credential-id": [id]});
        }
        info
    }
}

/// What the rules of authentication need to know.
pub(super) struct Authentication<'a> {
    pub(super) authority: &'a Authority,
    pub(super) tokens: &'a [Token],
    pub(super) anonymous: bool,
    pub(super) now: SystemTime,
}

impl Authentication<'_> {
    /// Certificate first, then token; a credential that is no good is only forgiven if another one is.
    pub(super) fn judge(&self, chain: &[CertificateDer<'_>], headers: &HeaderMap) -> Result<Identity, Refusal> {
        if let Some(identity) = self.by_certificate(chain) {
            return Ok(identity);
        }
        let token = bearer(headers);
        if let Some(identity) = token.and_then(|text| self.by_token(text)) {
            return Ok(identity);
        }
        if chain.is_empty() && token.is_none() && self.anonymous {
            return Ok(Identity::anonymous());
        }
        Err(Refusal::unauthorized())
    }

    fn by_certificate(&self, chain: &[CertificateDer<'_>]) -> Option<Identity> {
        let (leaf, intermediates) = chain.split_first()?;
        let provider = rustls::crypto::ring::default_provider();
        let anchor = webpki::anchor_from_trusted_cert(self.authority.certificate()).ok()?;
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(unix(self.now)));
        webpki::EndEntityCert::try_from(leaf)
            .ok()?
            .verify_for_usage(
                provider.signature_verification_algorithms.all,
                &[anchor],
                intermediates,
                at,
                webpki::KeyUsage::client_auth(),
                None,
                None,
            )
            .ok()?;
        let (_, certificate) = x509_parser::parse_x509_certificate(leaf).ok()?;
        let subject = certificate.subject();
        let username = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let mut groups: Vec<String> =
            subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_owned).collect();
        groups.push("system:authenticated".to_owned());
        let hash: String = Sha256::digest(leaf).iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Identity { username, groups, credential_id: Some(format!("X509SHA256={hash}")) })
    }

    fn by_token(&self, text: &str) -> Option<Identity> {
        let token = self.tokens.iter().find(|token| token.text() == text)?;
        if token.revoked || token.expires.is_some_and(|end| end <= self.now) {
            return None;
        }
        let mut groups = vec!["system:bootstrappers".to_owned()];
        groups.extend(token.extra_groups.iter().cloned());
        groups.push("system:authenticated".to_owned());
        Some(Identity { username: format!("system:bootstrap:{}", token.id), groups, credential_id: None })
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION).map(HeaderValue::to_str)?.ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls_pki_types::pem::PemObject as _;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn chain(authority: &Authority, name: &str, from: u64, to: u64) -> Vec<CertificateDer<'static>> {
        let pem = authority.issue_client_certificate(name, Some("system:nodes"), at(from), at(to)).unwrap();
        vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().into_owned()]
    }

    #[test]
    fn credentials_are_judged_at_the_time_of_the_request() {
        let ours = Authority::new("kubernetes-ca", at(0), at(100_000)).unwrap();
        let foreign = Authority::new("kubernetes-ca", at(0), at(100_000)).unwrap();
        let expiring = Token { expires: Some(at(1000)), ..Token::new("eeeeee.0123456789abcdef") };
        let revoked = Token { revoked: true, ..Token::new("rrrrrr.0123456789abcdef") };
        let tokens = [Token::new("abcdef.0123456789abcdef"), expiring, revoked];
        let node = chain(&ours, "system:node:a", 500, 1500);
        let stranger = chain(&foreign, "system:node:a", 500, 1500);
        let judge = |now, anonymous, chain: &[CertificateDer<'_>], token: &str| {
            let mut headers = HeaderMap::new();
            if !token.is_empty() {
                headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
            }
            Authentication { authority: &ours, tokens: &tokens, anonymous, now: at(now) }
                .judge(chain, &headers)
                .map_or_else(|refusal| refusal.code.to_string(), |identity| identity.username)
        };
        const REFUSED: &str = "401 Unauthorized";
        let good = "abcdef.0123456789abcdef";
        for (name, now, anonymous, shown, token, want) in [
            ("nothing", 1000, true, [].as_slice(), "", "system:anonymous"),
            ("nothing, anonymous off", 1000, false, &[], "", REFUSED),
            ("token", 1000, true, &[], good, "system:bootstrap:abcdef"),
            ("token of another secret", 1000, true, &[], "abcdef.0000000000000000", REFUSED),
            ("token before its end", 999, true, &[], "eeeeee.0123456789abcdef", "system:bootstrap:eeeeee"),
            ("token at its end", 1000, true, &[], "eeeeee.0123456789abcdef", REFUSED),
            ("revoked token", 1000, true, &[], "rrrrrr.0123456789abcdef", REFUSED),
            ("certificate", 1000, false, &node, "", "system:node:a"),
            ("certificate not valid yet", 499, true, &node, "", REFUSED),
            ("certificate that has ended", 1501, true, &node, "", REFUSED),
            ("certificate of another CA", 1000, true, &stranger, "", REFUSED),
            ("ended certificate and good token", 1501, true, &node, good, "system:bootstrap:abcdef"),
            ("certificate and token", 1000, true, &node, good, "system:node:a"),
        ] {
            assert_eq!(judge(now, anonymous, shown, token), want, "{name}");
        }
    }
}
