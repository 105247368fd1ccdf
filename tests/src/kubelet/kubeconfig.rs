//! The kubelet's kubeconfig, read once as client-go reads it: the files it names are read again and again, it is not.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// Bytes that a kubeconfig or a PEM file has at most.
const LIMIT: u64 = 1024 * 1024;

/// PEM in the kubeconfig, or in a file beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Material {
    Inline(Vec<u8>),
    File(PathBuf),
}

impl Material {
    /// What it says now.
    pub(super) fn read(&self) -> std::io::Result<Vec<u8>> {
        use std::io::Read as _;

        match self {
            Self::Inline(bytes) => Ok(bytes.clone()),
            Self::File(path) => {
                let mut bytes = Vec::new();
                std::fs::File::open(path)?.take(LIMIT).read_to_end(&mut bytes)?;
                Ok(bytes)
            }
        }
    }
}

/// Who the current context's user is.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credential {
    /// A client certificate and its key, which may be the same file.
    Certificate { certificate: Material, key: Material },
    /// A bearer token: a bootstrap kubeconfig's.
    Token(String),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Certificate { certificate, .. } => write!(f, "Certificate({certificate:?})"),
            Self::Token(_) => f.write_str("Token(...)"),
        }
    }
}

/// What the current context points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kubeconfig {
    pub(super) server: String,
    pub(super) user: String,
    pub(super) ca: Material,
    pub(super) credential: Credential,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Raw {
    current_context: String,
    contexts: Vec<Named<Context>>,
    clusters: Vec<Named<Cluster>>,
    users: Vec<Named<User>>,
}

#[derive(Debug, Deserialize)]
struct Named<T> {
    #[serde(default)]
    name: String,
    #[serde(alias = "context", alias = "cluster", alias = "user")]
    value: T,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Context {
    cluster: String,
    user: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Cluster {
    server: String,
    certificate_authority: String,
    certificate_authority_data: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    client_certificate: String,
    client_certificate_data: String,
    client_key: String,
    client_key_data: String,
    token: String,
}

/// Reads the file; paths in it are relative to its directory.
pub(super) fn read(path: &Path) -> Result<Kubeconfig> {
    let bytes = Material::File(path.to_owned()).read();
    let bytes = bytes.with_context(|| format!("unable to load kubeconfig {}", path.display()))?;
    let text = String::from_utf8(bytes).with_context(|| format!("{} is no text", path.display()))?;
    parse(&text, path.parent().unwrap_or(Path::new("/"))).with_context(|| format!("kubeconfig {}", path.display()))
}

fn parse(text: &str, directory: &Path) -> Result<Kubeconfig> {
    // The reader's own message shows the text around the fault, and that may be a key.
    let raw: Raw = serde_saphyr::from_str(text).map_err(|error| match error.location() {
        Some(at) => anyhow!("it is no kubeconfig: line {}, column {}", at.line(), at.column()),
        None => anyhow!("it is no kubeconfig"),
    })?;
    let context = named(&raw.contexts, &raw.current_context).context("there is no current context")?;
    let cluster = named(&raw.clusters, &context.cluster).context("the context's cluster is not there")?;
    let user = named(&raw.users, &context.user).context("the context's user is not there")?;
    if cluster.server.is_empty() {
        bail!("the cluster has no server");
    }
    let material = |what: &str, data: &str, file: &str| -> Result<Material> {
        // Data overrides the file (client-go `rest.Config.TLSClientConfig`).
        if !data.is_empty() {
            let compact: String = data.split_whitespace().collect();
            return Ok(Material::Inline(
                STANDARD.decode(compact).with_context(|| format!("{what}-data is no base64"))?,
            ));
        }
        if file.is_empty() {
            bail!("there is no {what}");
        }
        Ok(Material::File(directory.join(file)))
    };
    Ok(Kubeconfig {
        server: cluster.server.clone(),
        user: context.user.clone(),
        ca: material("certificate-authority", &cluster.certificate_authority_data, &cluster.certificate_authority)?,
        credential: if user.token.is_empty() {
            Credential::Certificate {
                certificate: material("client-certificate", &user.client_certificate_data, &user.client_certificate)?,
                key: material("client-key", &user.client_key_data, &user.client_key)?,
            }
        } else {
            Credential::Token(user.token.clone())
        },
    })
}

/// What a kubelet with rotation writes for itself (`bootstrap.go`, `writeKubeconfigFromBootstrapping`): server and CA in the
/// form in which the bootstrap kubeconfig has them, and `pem` for certificate and key.
pub(super) fn for_rotation(bootstrap: &Kubeconfig, pem: &Path) -> String {
    let ca = match &bootstrap.ca {
        Material::Inline(bytes) => format!("certificate-authority-data: {}", STANDARD.encode(bytes)),
        Material::File(path) => format!("certificate-authority: {}", path.display()),
    };
    let (server, pem) = (&bootstrap.server, pem.display());
    format!(
        "apiVersion: v1\nclusters:\n- cluster:\n    {ca}\n    server: {server}\n  name: default-cluster\ncontexts:\n- context:\n    \
         cluster: default-cluster\n    namespace: default\n    user: default-auth\n  name: default-context\n\
         current-context: default-context\nkind: Config\nusers:\n- name: default-auth\n  user:\n    \
         client-certificate: {pem}\n    client-key: {pem}\n"
    )
}

fn named<'a, T>(list: &'a [Named<T>], name: &str) -> Option<&'a T> {
    list.iter().find(|entry| entry.name == name).map(|entry| &entry.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: &str = "apiVersion: v1\nkind: Config\nclusters:\n- name: default-cluster\n  cluster:\n    \
        certificate-authority: /etc/kubernetes/ca.crt\n    server: https://10.0.2.2:6443\nusers:\n- name: default-auth\n  user:\n    \
        client-certificate: pki/current.pem\n    client-key: pki/current.pem\ncontexts:\n- name: default-context\n  context:\n    \
        cluster: default-cluster\n    user: default-auth\ncurrent-context: default-context\npreferences: {}\n";

    #[test]
    fn files_and_data_are_found() {
        let directory = Path::new("/var/lib/kubelet");
        let read = parse(FILES, directory).unwrap();
        assert_eq!(read.server, "https://10.0.2.2:6443");
        assert_eq!(read.ca, Material::File("/etc/kubernetes/ca.crt".into()), "absolute as it is");
        let pem = || Material::File("/var/lib/kubelet/pki/current.pem".into());
        let files = Credential::Certificate { certificate: pem(), key: pem() };
        assert_eq!(read.credential, files, "relative to the file");
        let inline = FILES.replace("certificate-authority: /etc/kubernetes/ca.crt", "certificate-authority-data: UEVN");
        assert_eq!(parse(&inline, directory).unwrap().ca, Material::Inline(b"PEM".to_vec()));
        let unnamed = FILES
            .replace("- name: default-context\n  context:", "- context:")
            .replace("current-context: default-context\n", "");
        assert_eq!(parse(&unnamed, directory).unwrap().user, "default-auth", "no name and no current context match");
        for (name, text, want) in [
            ("empty", "", "there is no current context"),
            (
                "other context",
                &FILES.replace("current-context: default", "current-context: other"),
                "there is no current context",
            ),
            ("no server", &FILES.replace("    server: https://10.0.2.2:6443\n", ""), "the cluster has no server"),
            ("no key", &FILES.replace("    client-key: pki/current.pem\n", ""), "there is no client-key"),
            ("no YAML", "users: [", "it is no kubeconfig: line 1"),
            ("bad data", &inline.replace("UEVN", "U"), "certificate-authority-data is no base64"),
        ] {
            let error = format!("{:#}", parse(text, directory).unwrap_err());
            assert!(error.contains(want), "{name}: {error}");
        }
    }

    #[test]
    fn the_own_one_is_written_in_the_form_of_the_bootstrap_kubeconfig() {
        let directory = Path::new("/etc/kubernetes");
        let pem = Path::new("/var/lib/kubelet/pki/kubelet-client-current.pem");
        let token = |ca: &str| {
            format!(
                "clusters:\n- name: local\n  cluster:\n    server: https://a:6443\n    {ca}\nusers:\n- name: kubelet\n  user:\n    \
                 token: abcdef.0123456789abcdef\ncontexts:\n- context:\n    cluster: local\n    user: kubelet\n"
            )
        };
        for (name, ca, want) in [
            ("inline", "certificate-authority-data: UEVN", Material::Inline(b"PEM".to_vec())),
            ("a file", "certificate-authority: ca.crt", Material::File("/etc/kubernetes/ca.crt".into())),
        ] {
            let bootstrap = parse(&token(ca), directory).unwrap();
            assert_eq!(bootstrap.credential, Credential::Token("abcdef.0123456789abcdef".to_owned()), "{name}");
            let own = parse(&for_rotation(&bootstrap, pem), Path::new("/var/lib/kubelet")).unwrap();
            assert_eq!((own.server.as_str(), &own.ca), ("https://a:6443", &want), "{name}");
            let file = || Material::File(pem.to_owned());
            assert_eq!(own.credential, Credential::Certificate { certificate: file(), key: file() }, "{name}");
        }
        assert!(!format!("{:?}", Credential::Token("secret".to_owned())).contains("secret"));
    }
}
