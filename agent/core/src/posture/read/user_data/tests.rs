use std::io::Write as _;

use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const TOKEN: &str = "abcdef.0123456789abcdef";
const KUBECONFIG_TEXT: &str = "users:\n- name: kubelet\n  user:\n    token: abcdef.0123456789abcdef\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("to memory");
    encoder.finish().expect("to memory")
}

fn percent(text: &str) -> String {
    let mut url = "data:,".to_owned();
    text.bytes().for_each(|b| url.push_str(&format!("%{b:02X}")));
    url
}

fn base64(bytes: &[u8]) -> String {
    format!("data:text/plain;charset=utf-8;base64,{}", STANDARD.encode(bytes))
}

fn config(files: &Value) -> Vec<u8> {
    json!({"ignition": {"version": "3.4.0"}, "storage": {"files": files}}).to_string().into_bytes()
}

fn kubeconfig(contents: &Value) -> Vec<u8> {
    config(&json!([{"path": "/etc/kubernetes/kubeconfig", "mode": 420, "contents": contents}]))
}

#[test]
fn a_credential_is_found_however_it_is_wrapped() {
    let inner = kubeconfig(&json!({"source": percent(KUBECONFIG_TEXT)}));
    let nested = json!({"ignition": {"version": "3.4.0", "config": {"merge": [{"source": base64(&inner)}]}}});
    let replaced = json!({"ignition": {"version": "3.4.0", "config": {"replace": {"source": base64(&gzip(&inner)), "compression": "gzip"}}}});
    let unit = json!({"ignition": {"version": "3.4.0"}, "systemd": {"units": [
        {"name": "a.service", "contents": format!("[Service]\nEnvironment=TOKEN={TOKEN}\n")}]}});
    let dropin = json!({"ignition": {"version": "3.4.0"}, "systemd": {"units": [
        {"name": "a.service", "dropins": [{"name": "b.conf", "contents": format!("[Service]\nEnvironment=TOKEN={TOKEN}\n")}]}]}});
    for (name, bytes, kubeconfig, place) in [
        ("percent", kubeconfig(&json!({"source": percent(KUBECONFIG_TEXT)})), true, KUBECONFIG),
        ("base64", kubeconfig(&json!({"source": base64(KUBECONFIG_TEXT.as_bytes())})), true, KUBECONFIG),
        (
            "gzip in base64, as Butane writes it",
            kubeconfig(&json!({"source": base64(&gzip(KUBECONFIG_TEXT.as_bytes())), "compression": "gzip"})),
            true,
            KUBECONFIG,
        ),
        ("gzip of it all", gzip(&kubeconfig(&json!({"source": percent(KUBECONFIG_TEXT)}))), true, KUBECONFIG),
        (
            "another file",
            config(&json!([{"path": "/opt/secret", "contents": {"source": percent(TOKEN)}}])),
            false,
            "/opt/secret",
        ),
        (
            "appended",
            config(&json!([{"path": "/opt/secret", "append": [{"source": percent(TOKEN)}]}])),
            false,
            "/opt/secret",
        ),
        (
            "version 2, where append is a flag",
            config(
                &json!([{"path": "/opt/secret", "append": true, "contents": {"source": percent(TOKEN), "verification": {}}}]),
            ),
            false,
            "/opt/secret",
        ),
        ("a config in the config", nested.to_string().into_bytes(), true, "config 1: /etc/kubernetes/kubeconfig"),
        ("a config in its place", replaced.to_string().into_bytes(), true, "config 1: /etc/kubernetes/kubeconfig"),
        ("a unit", unit.to_string().into_bytes(), false, "a.service"),
        ("a drop-in", dropin.to_string().into_bytes(), false, "a.service.d/b.conf"),
        ("a script", format!("#!/bin/sh\nkubeadm join --token {TOKEN}\n").into_bytes(), false, "the user data"),
        (
            "cloud-config",
            format!("#cloud-config\nwrite_files:\n- path: /etc/kubernetes/kubeconfig\n  content: {TOKEN}\n")
                .into_bytes(),
            true,
            "the user data",
        ),
    ] {
        let found = look(&bytes).expect(name);
        assert!(found.has_credential(), "{name}");
        assert_eq!(found.kubeconfig, kubeconfig, "{name}");
        assert_eq!(found.tokens_in, [place], "{name}");
        // echo -n abcdef | sha256sum
        let want = "bef57ec7f53a6d40beb640a780a639c83bc29ac8a9816f1fc6c5c6dcd93c4721";
        assert_eq!(found.token_id_sha256.as_deref(), Some(want), "{name}");
        let told = format!("{found:?}{}", serde_json::to_string(&found).expect("plain"));
        assert!(!told.contains("abcdef") && !told.contains("0123456789abcdef"), "{name}: {told}");
    }
}

#[test]
fn the_absence_of_a_credential_is_seen_too() {
    let empty: &[u8] = b"";
    for (name, bytes, form, whole) in [
        ("nothing", empty.to_vec(), Form::None, true),
        ("blanks", b" \n".to_vec(), Form::None, true),
        ("gzip of nothing", gzip(b""), Form::None, true),
        (
            "a config",
            config(&json!([{"path": "/etc/hostname", "contents": {"source": "data:,node-a"}}])),
            Form::Ignition,
            true,
        ),
        ("no contents", config(&json!([{"path": "/etc/hostname"}])), Form::Ignition, true),
        (
            "an empty source",
            config(&json!([{"path": "/etc/hostname", "contents": {"source": ""}}])),
            Form::Ignition,
            true,
        ),
        (
            "a binary from elsewhere is no credential",
            config(&json!([{"path": "/opt/bin/eyewall", "contents": {"source": "https://example.com/eyewall"}}])),
            Form::Ignition,
            true,
        ),
        ("an empty kubeconfig", kubeconfig(&json!({"source": "data:,"})), Form::Ignition, true),
        (
            "the kubeconfig from elsewhere",
            kubeconfig(&json!({"source": "s3://bucket/kubeconfig"})),
            Form::Ignition,
            false,
        ),
        (
            "a config from elsewhere",
            br#"{"ignition":{"version":"3.4.0","config":{"merge":[{"source":"https://example.com/a.ign"}]}}}"#.to_vec(),
            Form::Ignition,
            false,
        ),
        (
            "a config in its place from elsewhere",
            br#"{"ignition":{"version":"2.3.0","config":{"replace":{"source":"https://example.com/a.ign"}}}}"#.to_vec(),
            Form::Ignition,
            false,
        ),
        (
            "base64 that is none",
            config(&json!([{"path": "/a", "contents": {"source": "data:;base64,%%%"}}])),
            Form::Ignition,
            false,
        ),
        (
            "an unknown compression",
            config(&json!([{"path": "/a", "contents": {"source": "data:,x", "compression": "zstd"}}])),
            Form::Ignition,
            false,
        ),
        (
            "gzip that is none",
            config(&json!([{"path": "/a", "contents": {"source": "data:,x", "compression": "gzip"}}])),
            Form::Ignition,
            false,
        ),
        (
            "a config that is cut short",
            br#"{"ignition":{"version":"3.4.0"},"storage":{"files":["#.to_vec(),
            Form::Text,
            false,
        ),
        ("an ssh key", b"#cloud-config\nssh_authorized_keys: []\n".to_vec(), Form::Text, true),
    ] {
        let found = look(&bytes).expect(name);
        assert!(!found.has_credential(), "{name}: {found:?}");
        assert_eq!((found.form, found.is_whole()), (form, whole), "{name}");
    }
}

#[test]
fn private_keys_are_credentials() {
    let pem = "-----BEGIN RSA PRIVATE KEY-----\nxyz\n-----END RSA PRIVATE KEY-----\n";
    let found = look(&config(&json!([{"path": "/a.key", "contents": {"source": percent(pem)}}]))).expect("a config");
    assert_eq!(found.keys_in, ["/a.key"]);
    assert!(!format!("{found:?}").contains("xyz"));
}

#[test]
fn keys_of_cloud_accounts_are_found() {
    let token = "0123456789abcdef".repeat(4);
    for (name, text, want) in [
        ("DigitalOcean", format!("TOKEN=dop_v1_{token}\n"), true),
        ("DigitalOcean, cut short", format!("TOKEN=dop_v1_{}\n", &token[1..]), false),
        ("AWS", "aws_access_key_id = AKIAIOSFODNN7EXAMPLE\n".to_owned(), true),
        ("AWS, for a session", "ASIAIOSFODNN7EXAMPLE".to_owned(), true),
        ("part of a word", "XAKIAIOSFODNN7EXAMPLE".to_owned(), false),
        ("longer", "AKIAIOSFODNN7EXAMPLES".to_owned(), false),
        ("Google", "{\n  \"type\": \"service_account\",\n".to_owned(), true),
        ("nothing", "AKIA and dop_v1_\n".to_owned(), false),
    ] {
        let found = look(&config(&json!([{"path": "/a", "contents": {"source": percent(&text)}}]))).expect(name);
        assert_eq!(!found.accounts_in.is_empty(), want, "{name}");
        assert!(!format!("{found:?}").contains("EXAMPLE"), "{name}");
    }
}

#[test]
fn bombs_do_not_unfold() {
    let bomb = gzip(&vec![b' '; UNFOLDED + 1]);
    assert!(bomb.len() < LARGEST, "it would be refused by its size alone");
    assert_eq!(look(&bomb), Err(ReadFault::TooLarge(UNFOLDED)));

    // Many small ones count together.
    let part = base64(&gzip(&vec![b' '; UNFOLDED / 4]));
    let files: Vec<Value> =
        (0..6).map(|n| json!({"path": format!("/{n}"), "contents": {"source": part, "compression": "gzip"}})).collect();
    let found = look(&config(&Value::Array(files))).expect("a config");
    assert_eq!(found.undecodable, ["/4", "/5"]);

    // A config that holds itself again and again ends at a depth.
    let mut config = json!({"ignition": {"version": "3.4.0"}});
    for _ in 0..10 {
        config = json!({"ignition": {"version": "3.4.0", "config": {"merge": [{"source": base64(config.to_string().as_bytes())}]}}});
    }
    assert!(!look(config.to_string().as_bytes()).expect("a config").is_whole());

    assert_eq!(look(&vec![b'a'; LARGEST + 1]), Err(ReadFault::TooLarge(LARGEST)));
    assert_eq!(look(&[0x1f, 0x8b, 0, 0]).map_err(|fault| fault.kind()), Err("malformed"));
}

#[test]
fn tokens_are_told_from_names() {
    for (text, want) in [
        ("abcdef.0123456789abcdef", Some("abcdef")),
        ("token: \"abcdef.0123456789abcdef\"", Some("abcdef")),
        ("--token=abcdef.0123456789abcdef\n", Some("abcdef")),
        ("a.b abcdef.0123456789abcdef", Some("abcdef")),
        ("abcdef.0123456789abcdefg", None),
        ("xabcdef.0123456789abcdef", None),
        ("abcdef.0123456789abcdef.example.com", None),
        ("https/abcdef.0123456789abcdef", None),
        ("ABCDEF.0123456789abcdef", None),
        ("abcdef.0123456789abcde", None),
        (".", None),
        ("äbcdef.0123456789abcdef", None),
        ("", None),
    ] {
        assert_eq!(bootstrap_token_id(text), want, "{text}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_looked_through(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = look(&bytes);
        let mut packed = vec![0x1f, 0x8b];
        packed.extend(&bytes);
        let _ = look(&packed);
        let _ = bootstrap_token_id(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_source_is_decoded_or_told(source in "(?s)(data:)?.{0,60}", compression in proptest::option::of("gzip|zstd|")) {
        let found = look(&kubeconfig(&json!({"source": source, "compression": compression}))).expect("a config");
        prop_assert_eq!(found.form, Form::Ignition);
        if source.starts_with("http") {
            prop_assert!(!found.is_whole());
        }
    }
}
