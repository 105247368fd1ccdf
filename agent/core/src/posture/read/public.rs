//! The public half of files that hold secrets: what may become evidence. Each function is total, and what it returns holds no key and no token.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_parser::pem::Pem;

use super::kubelet_configuration::KubeletConfiguration;
use super::{ReadFault, manifest};
use crate::cert::{self, CertView};

/// A file that cannot be reduced becomes this; no reader takes it for what it should be.
const NOTHING: &str = "(nothing of it may be kept: it is not of the known form)\n";

/// Of a PEM text the certificates, encoded anew, so that nothing that stands between or beside them is kept.
pub fn certificates(text: &str) -> String {
    let mut kept = String::new();
    for block in Pem::iter_from_buffer(text.as_bytes()).map_while(Result::ok) {
        if block.label == "CERTIFICATE" {
            kept.push_str(&pem(&block.contents));
        }
    }
    if kept.is_empty() { NOTHING.to_owned() } else { kept }
}

fn pem(der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    // Base64 is ASCII: every index is a boundary.
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

/// Of a kubeconfig with a client certificate in it, the certificate.
pub fn client_certificate(text: &str) -> String {
    // The line alone is read: a kubeconfig of another form must not bring its other parts along.
    let data = text.lines().find_map(|line| line.trim().strip_prefix("client-certificate-data:"));
    let data = data.map(|data| data.trim().trim_matches(['"', '\'']));
    let decoded = data.and_then(|data| STANDARD.decode(data).ok()).and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.map_or_else(|| NOTHING.to_owned(), |pem| certificates(&pem))
}

/// The flags of the API server that are judged; none of their values is a secret.
const FLAGS: [&str; 6] = [
    "anonymous-auth",
    "authentication-config",
    "authorization-config",
    "authorization-mode",
    "disable-admission-plugins",
    "enable-admission-plugins",
];

/// Of a static pod's manifest the names and images of its containers, their programs, the flags that are judged, and of other
/// flags the names; as a manifest of the same form.
pub fn command_lines(text: &str) -> String {
    let Ok(containers) = manifest::containers(text) else { return NOTHING.to_owned() };
    let containers: Vec<serde_json::Value> = containers
        .iter()
        .map(|container| {
            serde_json::json!({
                "name": container.name,
                "image": container.image,
                "command": kept_words(container.argv.words()),
            })
        })
        .collect();
    let pod = serde_json::json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": containers}});
    format!("{pod:#}\n")
}

fn kept_words(words: &[String]) -> Vec<&str> {
    let mut kept: Vec<&str> = words.first().map(String::as_str).into_iter().collect();
    let mut value_of_kept = false;
    for word in words.iter().skip(1) {
        let Some(flag) = word.strip_prefix("--") else {
            // The value of the flag before it, or nobody knows what.
            if value_of_kept {
                kept.push(word);
            }
            value_of_kept = false;
            continue;
        };
        let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
        let is_kept = FLAGS.contains(&name.replace('_', "-").as_str());
        value_of_kept = is_kept && value.is_none();
        kept.push(if is_kept { word } else { word.split('=').next().unwrap_or_default() });
    }
    kept
}

/// The settings of `/etc/etcd/etcd.env` that are judged; none of them is a secret.
pub const ETCD_SETTINGS: [&str; 15] = [
    "ETCD_NAME",
    "ETCD_DATA_DIR",
    "ETCD_ADVERTISE_CLIENT_URLS",
    "ETCD_INITIAL_ADVERTISE_PEER_URLS",
    "ETCD_LISTEN_CLIENT_URLS",
    "ETCD_LISTEN_PEER_URLS",
    "ETCD_LISTEN_METRICS_URLS",
    "ETCD_TRUSTED_CA_FILE",
    "ETCD_CERT_FILE",
    "ETCD_KEY_FILE",
    "ETCD_CLIENT_CERT_AUTH",
    "ETCD_PEER_TRUSTED_CA_FILE",
    "ETCD_PEER_CERT_FILE",
    "ETCD_PEER_KEY_FILE",
    "ETCD_PEER_CLIENT_CERT_AUTH",
];

/// Of etcd's environment the settings that are judged.
pub fn etcd_settings(text: &str) -> String {
    let is_known = |line: &&str| {
        let name = line.trim_start().split('=').next().unwrap_or_default();
        line.contains('=') && ETCD_SETTINGS.contains(&name)
    };
    let kept: String = text.lines().filter(is_known).map(|line| format!("{}\n", line.trim_start())).collect();
    if kept.is_empty() { NOTHING.to_owned() } else { kept }
}

/// A KubeletConfiguration as it is, unless it has the one field that may hold a credential. Of anything else nothing is kept.
pub fn kubelet_configuration(text: &str) -> String {
    let is_one = KubeletConfiguration::parse(text).is_ok();
    if is_one && !text.contains("staticPodURLHeader") { text.to_owned() } else { NOTHING.to_owned() }
}

/// The first certificate of a PEM text.
///
/// # Errors
/// [`ReadFault::Missing`]: the sentence of [`cert::CertFault`] is for a file that may hold a key, and this is not one.
pub fn first_certificate(text: &str) -> Result<CertView, ReadFault> {
    let chain =
        cert::certificates(text).map_err(|_| ReadFault::Malformed { format: "PEM with a certificate", line: 0 })?;
    let first = chain.first().ok_or(ReadFault::Missing("any certificate"))?;
    CertView::from_der(first).map_err(|_| ReadFault::Malformed { format: "X.509 certificate", line: 0 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair() -> (String, String) {
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate =
            rcgen::CertificateParams::new(vec!["a".to_owned()]).expect("names").self_signed(&key).expect("signs");
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn keys_do_not_come_along() {
        let (certificate, key) = pair();
        let secret = key.lines().nth(1).expect("base64").to_owned();
        let combined = format!("stray {secret}\n{certificate}{key}{certificate}");
        let public = certificates(&combined);
        assert!(!public.contains(&secret) && !public.contains("PRIVATE"));
        assert_eq!(cert::certificates(&public).expect("two").len(), 2);
        assert_eq!(
            cert::certificates(&public).expect("two"),
            cert::certificates(&format!("{certificate}{certificate}")).expect("two")
        );

        let encode = |text: &str| STANDARD.encode(text);
        let kubeconfig = format!(
            "users:\n- name: admin\n  user:\n    client-certificate-data: \"{}\"\n    client-key-data: {}\n",
            encode(&certificate),
            encode(&key)
        );
        let public = client_certificate(&kubeconfig);
        assert!(!public.contains(&secret) && first_certificate(&public).is_ok());
        for text in
            [key.as_str(), "", "client-certificate-data: x", &format!("client-certificate-data: {}", encode(&key))]
        {
            assert_eq!(client_certificate(text), NOTHING);
            assert_eq!(certificates(text), NOTHING);
        }
        assert!(first_certificate(NOTHING).is_err());
    }

    #[test]
    fn manifests_keep_what_is_judged() {
        let of = |command: &str| {
            format!(
                "kind: Pod\nspec:\n  containers:\n  - name: a\n    image: b\n    command: [{command}]\n    env: [{{name: X, value: hunter2}}]\n"
            )
        };
        for (command, want) in [
            ("kube-apiserver, --anonymous-auth=false", "kube-apiserver --anonymous-auth=false"),
            (
                "kube-apiserver, --authorization_mode, \"Node,RBAC\", --v=2",
                "kube-apiserver --authorization_mode Node,RBAC --v",
            ),
            ("kube-apiserver, --token=hunter2, --password, hunter2, hunter2", "kube-apiserver --token --password"),
            ("kube-apiserver, --anonymous-auth=false, hunter2", "kube-apiserver --anonymous-auth=false"),
        ] {
            let kept = command_lines(&of(command));
            assert!(!kept.contains("hunter2"), "{kept}");
            let containers = manifest::containers(&kept).expect(command);
            assert_eq!(containers[0].argv.words().join(" "), want);
            assert_eq!((containers[0].name.as_str(), containers[0].image.as_deref()), ("a", Some("b")));
        }
        assert_eq!(command_lines("abcdef.0123456789abcdef"), NOTHING);
        assert!(manifest::containers(NOTHING).is_err());
    }

    #[test]
    fn a_configuration_is_kept_whole_or_not_at_all() {
        let head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";
        for (text, kept) in [
            (format!("{head}readOnlyPort: 0\n"), true),
            (format!("{head}staticPodURLHeader: {{Authorization: [hunter2]}}\n"), false),
            ("token: hunter2\n".to_owned(), false),
            (format!("{head}broken: [hunter2\n"), false),
        ] {
            assert_eq!(kubelet_configuration(&text), if kept { text.as_str() } else { NOTHING }, "{text}");
        }
    }

    #[test]
    fn etcds_environment_keeps_what_is_judged() {
        for (text, want) in [
            ("ETCD_NAME=node1\nETCD_INITIAL_CLUSTER_TOKEN=secret\nOTHER=secret\n", "ETCD_NAME=node1\n"),
            ("  ETCD_CLIENT_CERT_AUTH=true", "ETCD_CLIENT_CERT_AUTH=true\n"),
            ("ETCD_NAME", NOTHING),
            ("# ETCD_NAME=a", NOTHING),
            ("", NOTHING),
        ] {
            assert_eq!(etcd_settings(text), want, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_reduced(text in "(?s).{0,300}") {
            let _ = (certificates(&text), client_certificate(&text), command_lines(&text), etcd_settings(&text));
        }

        #[test]
        fn a_key_in_any_place_stays_out(before in "(?s).{0,40}", after in "(?s).{0,40}") {
            let key = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----\n";
            let text = format!("{before}{key}{after}");
            for kept in [certificates(&text), client_certificate(&text), command_lines(&text), etcd_settings(&text)] {
                prop_assert!(!kept.contains("MIGHAgEAMBMGByqGSM49"));
            }
        }
    }
}
