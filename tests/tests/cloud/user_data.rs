//! User data with a mark in everything that must not be told.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

/// Stands in every secret, and in every name that is nobody's business.
pub const MARK: &str = "qzqzmarkqzqz";

/// A bootstrap token, whose second half is the secret one.
pub fn token() -> String {
    format!("qzqzid.{MARK}0000")
}

/// A bootstrap kubeconfig as Typhoon's.
pub fn kubeconfig() -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: local\n  cluster:\n    server: https://{MARK}.example.com:6443\n\
         users:\n- name: kubelet\n  user:\n    token: {}\ncontexts:\n- context:\n    cluster: local\n    user: kubelet\n",
        token()
    )
}

/// As gzip.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(bytes);
    written.and_then(|()| encoder.finish()).unwrap_or_default()
}

/// As base64.
pub fn base64(bytes: &[u8]) -> Vec<u8> {
    STANDARD.encode(bytes).into_bytes()
}

/// An Ignition config with one file at `path`.
pub fn ignition(path: &str, contents: &Value) -> Vec<u8> {
    let file = json!({"path": path, "mode": 420, "contents": contents});
    json!({"ignition": {"version": "3.4.0"}, "storage": {"files": [file]}}).to_string().into_bytes()
}

/// With the kubeconfig as percent-encoded data URL.
pub fn plain() -> Vec<u8> {
    let url = kubeconfig().bytes().fold("data:,".to_owned(), |url, byte| format!("{url}%{byte:02X}"));
    ignition("/etc/kubernetes/kubeconfig", &json!({"source": url}))
}

/// With the kubeconfig as Butane writes it: gzip in base64 in a data URL.
pub fn packed() -> Vec<u8> {
    let url = format!("data:;base64,{}", STANDARD.encode(gzip(kubeconfig().as_bytes())));
    ignition("/etc/kubernetes/kubeconfig", &json!({"source": url, "compression": "gzip"}))
}

/// With nothing in it that anybody may not have.
pub fn harmless() -> Vec<u8> {
    ignition("/etc/motd", &json!({"source": format!("data:,{MARK}")}))
}

/// A config that lies elsewhere.
pub fn elsewhere() -> Vec<u8> {
    let source = json!([{"source": format!("https://{MARK}.example.com/config.ign")}]);
    json!({"ignition": {"version": "3.4.0", "config": {"merge": source}}}).to_string().into_bytes()
}

/// Every form in which the mark could stand in a text.
pub fn forms_of_mark() -> Vec<String> {
    let mut forms = vec![MARK.to_owned(), MARK.bytes().map(|byte| format!("{byte:02x}")).collect()];
    forms.push(MARK.bytes().map(|byte| format!("{byte}, ")).collect());
    // What stands before it moves its base64 by up to two octets; what is the same for any neighbour is looked for.
    for before in 0..3 {
        let encoded = STANDARD.encode([vec![b' '; before].as_slice(), MARK.as_bytes()].concat());
        forms.push(encoded.get(4..14).unwrap_or_default().to_owned());
    }
    forms
}
