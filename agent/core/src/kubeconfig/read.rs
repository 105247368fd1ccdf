//! YAML to [`Bootstrap`].

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Bootstrap, Ca, Credential, KubeconfigFault, Material, Server};
use crate::secret::Secret;

/// A kubeconfig with two certificates and a key is about 8 KiB; ten times that is not a kubeconfig.
pub const LARGEST: usize = 128 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Raw {
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    users: Vec<NamedUser>,
    #[serde(default)]
    contexts: Vec<NamedContext>,
    #[serde(default)]
    current_context: Option<String>,
}

#[derive(Deserialize)]
struct NamedCluster {
    #[serde(default)]
    name: String,
    #[serde(default)]
    cluster: RawCluster,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
struct RawCluster {
    server: Option<String>,
    tls_server_name: Option<String>,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    #[serde(default)]
    insecure_skip_tls_verify: bool,
    proxy_url: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    #[serde(default)]
    name: String,
    #[serde(default)]
    user: RawUser,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
struct RawUser {
    token: Option<Secret>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<Secret>,
    client_key: Option<PathBuf>,
    client_key_data: Option<Secret>,
    exec: Option<IgnoredAny>,
    auth_provider: Option<IgnoredAny>,
    username: Option<IgnoredAny>,
    password: Option<IgnoredAny>,
    #[serde(rename = "as")]
    impersonate: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct NamedContext {
    #[serde(default)]
    name: String,
    #[serde(default)]
    context: RawContext,
}

#[derive(Deserialize, Default)]
struct RawContext {
    #[serde(default)]
    cluster: String,
    #[serde(default)]
    user: String,
}

/// Reads a kubeconfig (YAML or JSON). Unknown fields are passed over, as client-go does.
///
/// # Errors
/// A [`KubeconfigFault`] that names the part at fault and never its content.
pub fn parse(text: &str) -> Result<Bootstrap, KubeconfigFault> {
    if text.len() > LARGEST {
        return Err(KubeconfigFault::TooLarge(LARGEST));
    }
    if text.trim().is_empty() {
        return Err(KubeconfigFault::Empty);
    }
    if text.contains('\0') {
        return Err(KubeconfigFault::NotText);
    }
    // The reader's own message may quote the file, and the file holds a secret: only its place is told.
    let raw: Raw = serde_saphyr::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((0, 0), |place| (place.line(), place.column()));
        KubeconfigFault::Malformed { line, column }
    })?;

    let wanted = raw.current_context.as_deref().unwrap_or("");
    let context = raw
        .contexts
        .into_iter()
        .find(|context| context.name == wanted)
        .ok_or(if wanted.is_empty() {
            KubeconfigFault::Incomplete("context (a nameless one, or a current-context that names one)")
        } else {
            KubeconfigFault::Incomplete("context of the name that current-context says")
        })?
        .context;
    let cluster = raw
        .clusters
        .into_iter()
        .find(|cluster| cluster.name == context.cluster)
        .ok_or(KubeconfigFault::Incomplete("cluster that the context names"))?
        .cluster;
    let user = raw
        .users
        .into_iter()
        .find(|user| user.name == context.user)
        .ok_or(KubeconfigFault::Incomplete("user that the context names"))?
        .user;

    if cluster.insecure_skip_tls_verify {
        return Err(KubeconfigFault::Unsupported("insecure-skip-tls-verify"));
    }
    if cluster.proxy_url.is_some() {
        return Err(KubeconfigFault::Unsupported("proxy-url"));
    }
    let url = cluster.server.ok_or(KubeconfigFault::Incomplete("server"))?;
    let server = Server::parse(&url).map_err(|why| KubeconfigFault::Invalid { field: "server", why })?;
    // client-go: data overrides file.
    let ca = match (cluster.certificate_authority_data, cluster.certificate_authority) {
        (Some(data), _) => Ca::Inline(authority(&data)?),
        (None, Some(path)) => Ca::File(path),
        (None, None) => return Err(KubeconfigFault::Incomplete("certificate authority")),
    };
    Ok(Bootstrap {
        server,
        tls_server_name: cluster.tls_server_name.filter(|name| !name.is_empty()),
        ca,
        credential: credential(user)?,
    })
}

fn authority(data: &str) -> Result<String, KubeconfigFault> {
    let fault = |why| KubeconfigFault::Invalid { field: "certificate-authority-data", why };
    let pem = decoded(data, "certificate-authority-data")?;
    match crate::cert::certificates(&pem) {
        Ok(list) if !list.is_empty() => Ok(pem),
        Ok(_) => Err(fault("holds no certificate")),
        Err(_) => Err(fault("holds something that is not a PEM certificate")),
    }
}

fn decoded(data: &str, field: &'static str) -> Result<String, KubeconfigFault> {
    let compact: String = data.split_whitespace().collect();
    let bytes = STANDARD
        .decode(compact.as_bytes())
        .map_err(|_| KubeconfigFault::Invalid { field, why: "is not base64; is it cut short?" })?;
    String::from_utf8(bytes).map_err(|_| KubeconfigFault::Invalid { field, why: "is not PEM text under its base64" })
}

fn credential(user: RawUser) -> Result<Credential, KubeconfigFault> {
    for (given, name) in [
        (user.exec.is_some(), "an exec plugin"),
        (user.auth_provider.is_some(), "an auth-provider"),
        (user.username.is_some() || user.password.is_some(), "a user name and password"),
        (user.impersonate.is_some(), "impersonation (as)"),
    ] {
        if given {
            return Err(KubeconfigFault::Unsupported(name));
        }
    }
    let material = |data: Option<Secret>, file: Option<PathBuf>, field| match (data, file) {
        (Some(data), _) => decoded(data.expose(), field).map(|pem| Some(Material::Inline(Secret::new(pem)))),
        (None, file) => Ok(file.map(Material::File)),
    };
    let certificate = material(user.client_certificate_data, user.client_certificate, "client-certificate-data")?;
    let key = material(user.client_key_data, user.client_key, "client-key-data")?;
    match (certificate, key) {
        (Some(certificate), Some(key)) => return Ok(Credential::Certificate { certificate, key }),
        (Some(_), None) => {
            return Err(KubeconfigFault::Incomplete("client key for its client certificate"));
        }
        (None, Some(_)) => {
            return Err(KubeconfigFault::Incomplete("client certificate for its client key"));
        }
        (None, None) => {}
    }
    match (user.token, user.token_file) {
        (Some(token), _) => {
            let text = token.expose();
            if text.is_empty() {
                Err(KubeconfigFault::Incomplete("token"))
            } else if text.bytes().any(|byte| !byte.is_ascii_graphic()) {
                Err(KubeconfigFault::Invalid { field: "token", why: "has characters that no token has" })
            } else {
                Ok(Credential::Token(token))
            }
        }
        (None, Some(path)) => Ok(Credential::TokenFile(path)),
        (None, None) => Err(KubeconfigFault::Incomplete("credential (a token or a client certificate)")),
    }
}
