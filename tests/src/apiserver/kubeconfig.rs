//! The kubeconfig files of a Typhoon cluster, in the shapes an agent must be able to read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How the cluster's CA is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaForm {
    /// `certificate-authority-data`, base64 of the PEM.
    Inline,
    /// `certificate-authority`, the path of a file.
    File(String),
}

/// Who the holder of the kubeconfig is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A bearer token, `<id>.<secret>`.
    Token(String),
    /// `client-certificate-data` and `client-key-data` from one PEM that has chain and key.
    InlineCertificate(String),
    /// `client-certificate` and `client-key`: paths, which may be the same file.
    CertificateFiles(String, String),
    /// A user with nothing in it.
    None,
}

/// What one kubeconfig says. [`Kubeconfig::typhoon`] is the shape that terraform-render-bootstrap writes.
#[derive(Clone, Debug)]
pub struct Kubeconfig {
    /// `https://host:port`.
    pub server: String,
    /// The CA's certificate, PEM; used when `ca` is [`CaForm::Inline`].
    pub ca_pem: String,
    /// How the CA is given.
    pub ca: CaForm,
    /// The user's credential.
    pub credential: Credential,
    /// The name of the one context, which then is also the current one. Typhoon's has neither: client-go reads both
    /// as the empty string, so that works, and a strict reader would fail on it.
    pub context: Option<String>,
}

impl Kubeconfig {
    /// Typhoon's bootstrap kubeconfig: cluster `local`, user `kubelet`, one context without a name, no current-context.
    pub fn typhoon(server: &str, ca_pem: &str, token: &str) -> Self {
        Self {
            server: server.to_owned(),
            ca_pem: ca_pem.to_owned(),
            ca: CaForm::Inline,
            credential: Credential::Token(token.to_owned()),
            context: None,
        }
    }

    /// The file's text.
    pub fn to_yaml(&self) -> String {
        let ca = match &self.ca {
            CaForm::Inline => format!("certificate-authority-data: {}", STANDARD.encode(&self.ca_pem)),
            CaForm::File(path) => format!("certificate-authority: {path}"),
        };
        let user = match &self.credential {
            Credential::Token(token) => format!("\n    token: {token}"),
            Credential::InlineCertificate(pem) => {
                let data = STANDARD.encode(pem);
                format!("\n    client-certificate-data: {data}\n    client-key-data: {data}")
            }
            Credential::CertificateFiles(certificate, key) => {
                format!("\n    client-certificate: {certificate}\n    client-key: {key}")
            }
            Credential::None => " {}".to_owned(),
        };
        let (name, current) = match &self.context {
            None => ("- context:".to_owned(), String::new()),
            Some(name) => (format!("- name: {name}\n  context:"), format!("current-context: {name}\n")),
        };
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: local\n  cluster:\n    server: {server}\n    {ca}\n\
             users:\n- name: kubelet\n  user:{user}\ncontexts:\n{name}\n    cluster: local\n    user: kubelet\n{current}",
            server = self.server,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_written() {
        let typhoon = Kubeconfig::typhoon("https://api:6443", "PEM", "abcdef.0123456789abcdef");
        let want = "apiVersion: v1\nkind: Config\nclusters:\n- name: local\n  cluster:\n    server: https://api:6443\n    \
                    certificate-authority-data: UEVN\nusers:\n- name: kubelet\n  user:\n    \
                    token: abcdef.0123456789abcdef\ncontexts:\n- context:\n    cluster: local\n    user: kubelet\n";
        assert_eq!(typhoon.to_yaml(), want);

        let by_file = Kubeconfig { ca: CaForm::File("/ca.crt".to_owned()), ..typhoon.clone() };
        let named = Kubeconfig { context: Some("main".to_owned()), ..typhoon.clone() };
        let files = Credential::CertificateFiles("/a.crt".to_owned(), "/a.key".to_owned());
        let certificate = Kubeconfig { credential: files, ..typhoon.clone() };
        let empty = Kubeconfig { credential: Credential::None, ..typhoon };
        for (name, yaml, want) in [
            ("CA by file", by_file.to_yaml(), "    certificate-authority: /ca.crt\n"),
            ("named context", named.to_yaml(), "contexts:\n- name: main\n  context:\n    cluster: local\n"),
            ("current context", named.to_yaml(), "current-context: main\n"),
            (
                "certificate files",
                certificate.to_yaml(),
                "  user:\n    client-certificate: /a.crt\n    client-key: /a.key\n",
            ),
            ("no credential", empty.to_yaml(), "  user: {}\ncontexts:\n"),
        ] {
            assert!(yaml.contains(want), "{name}: {yaml}");
        }
    }
}
