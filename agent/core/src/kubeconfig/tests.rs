use super::*;

fn ca_data() -> String {
    use base64::Engine as _;
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = rcgen::CertificateParams::default().self_signed(&key).unwrap().pem();
    base64::engine::general_purpose::STANDARD.encode(pem)
}

/// As terraform-render-bootstrap renders it: the context has no name, and nothing says which is current.
fn typhoon() -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: local\n  cluster:\n    server: https://node1.example.com:6443\n    \
         certificate-authority-data: {}\nusers:\n- name: kubelet\n  user:\n    token: abcdef.0123456789abcdef\ncontexts:\n- context:\n    \
         cluster: local\n    user: kubelet\n",
        ca_data()
    )
}

#[test]
fn typhoons_nameless_context_is_valid() {
    let read = parse(&typhoon()).unwrap();
    assert_eq!(read.server.to_string(), "https://node1.example.com:6443");
    assert!(matches!(&read.ca, Ca::Inline(pem) if pem.starts_with("-----BEGIN CERTIFICATE-----")));
    assert_eq!(read.credential, Credential::Token(Secret::new("abcdef.0123456789abcdef".to_owned())));
    assert!(!format!("{read:?}").contains("0123456789abcdef"), "Debug tells the token");
}

#[test]
fn the_variants_that_people_write() {
    let base = typhoon();
    let named =
        base.replace("- context:\n    cluster", "- name: boot\n  context:\n    cluster") + "current-context: boot\n";
    let by_file = {
        let line = base.lines().find(|line| line.contains("certificate-authority-data")).unwrap();
        base.replace(line, "    certificate-authority: pki/ca.crt")
    };
    let by_cert =
        base.replace("token: abcdef.0123456789abcdef", "client-certificate: boot.crt\n    client-key: /abs/boot.key");
    let token_file = base.replace("token: abcdef.0123456789abcdef", "tokenFile: token");
    let dir = Path::new("/etc/kubernetes");
    assert!(parse(&named).is_ok(), "named context");
    assert_eq!(parse(&by_file).unwrap().relative_to(dir).ca, Ca::File("/etc/kubernetes/pki/ca.crt".into()));
    assert_eq!(
        parse(&by_cert).unwrap().relative_to(dir).credential,
        Credential::Certificate {
            certificate: Material::File("/etc/kubernetes/boot.crt".into()),
            key: Material::File("/abs/boot.key".into()),
        }
    );
    assert_eq!(
        parse(&token_file).unwrap().relative_to(dir).credential,
        Credential::TokenFile("/etc/kubernetes/token".into())
    );
    let json = r#"{"clusters":[{"cluster":{"server":"https://[2001:db8::1]","certificate-authority":"/ca"}}],"users":[{"user":{"token":"t"}}],"contexts":[{}]}"#;
    assert_eq!(parse(json).unwrap().server.authority(), "[2001:db8::1]:443", "JSON, all names empty");
}

#[test]
fn every_bad_kubeconfig_has_its_own_word_and_tells_no_secret() {
    let base = typhoon();
    let half = &base[..base.len() / 2];
    let no_user = &base[..base.find("users:").unwrap()];
    for (name, text, kind) in [
        ("empty", "", "bootstrap-kubeconfig-empty"),
        ("blank", " \n", "bootstrap-kubeconfig-empty"),
        ("binary", "\0\u{1}\u{2}", "bootstrap-kubeconfig-not-text"),
        ("not YAML", "clusters: [", "bootstrap-kubeconfig-malformed"),
        ("a list", "- 1\n- 2\n", "bootstrap-kubeconfig-malformed"),
        ("half", half, "bootstrap-kubeconfig-incomplete"),
        ("no user", no_user, "bootstrap-kubeconfig-incomplete"),
        ("prose", "hello", "bootstrap-kubeconfig-malformed"),
        ("no token", &base.replace("token: abcdef.0123456789abcdef", "x: y"), "bootstrap-kubeconfig-incomplete"),
        ("odd token", &base.replace("abcdef.0123456789abcdef", "\"abc def\""), "bootstrap-kubeconfig-invalid"),
        ("http", &base.replace("https://", "http://"), "bootstrap-kubeconfig-invalid"),
        (
            "bad CA",
            &base.replace("certificate-authority-data: ", "certificate-authority-data: _"),
            "bootstrap-kubeconfig-invalid",
        ),
        (
            "CA not PEM",
            &{
                let line = base.lines().find(|line| line.contains("-data")).unwrap();
                base.replace(line, "    certificate-authority-data: aGVsbG8=")
            },
            "bootstrap-kubeconfig-invalid",
        ),
        ("exec", &base.replace("token: abc", "exec: {command: x}\n    token: abc"), "bootstrap-kubeconfig-unsupported"),
        (
            "insecure",
            &base.replace("server:", "insecure-skip-tls-verify: true\n    server:"),
            "bootstrap-kubeconfig-unsupported",
        ),
        ("proxy", &base.replace("server:", "proxy-url: http://p\n    server:"), "bootstrap-kubeconfig-unsupported"),
        ("other current", &format!("{base}current-context: other\n"), "bootstrap-kubeconfig-incomplete"),
        ("huge", &"#".repeat(200_000), "bootstrap-kubeconfig-too-large"),
    ] {
        let fault = parse(text).expect_err(name);
        assert_eq!(fault.kind(), kind, "{name}: {fault}");
        assert!(!fault.to_string().contains("0123456789abcdef"), "{name}: the message tells the token");
    }
}

#[test]
fn servers_are_taken_apart() {
    for (url, want) in [
        ("https://a.example", Ok("https://a.example:443")),
        ("https://a.example:6443/", Ok("https://a.example:6443")),
        ("https://10.0.0.1:6443/k8s/clusters/c-1/", Ok("https://10.0.0.1:6443/k8s/clusters/c-1")),
        ("https://[::1]:6443", Ok("https://[::1]:6443")),
        ("http://a", Err(())),
        ("a.example:6443", Err(())),
        ("https://", Err(())),
        ("https://u:p@a", Err(())),
        ("https://a:0", Err(())),
        ("https://a:70000", Err(())),
        ("https://[nonsense]", Err(())),
        ("https://a?x=y", Err(())),
    ] {
        let got = Server::parse(url).map(|server| server.to_string()).map_err(|_| ());
        assert_eq!(got, want.map(str::to_owned), "{url}");
    }
}

#[test]
fn the_kubelets_kubeconfig_reads_back_and_refers_to_files() {
    let bootstrap = parse(&typhoon()).unwrap();
    let text = for_kubelet(&bootstrap, Path::new("/pki/cluster-ca.crt"), Path::new("/pki/current \"x\".pem"));
    let read = parse(&text).unwrap();
    assert_eq!(read.server, bootstrap.server);
    assert_eq!(read.ca, Ca::File("/pki/cluster-ca.crt".into()));
    assert_eq!(
        read.credential,
        Credential::Certificate {
            certificate: Material::File("/pki/current \"x\".pem".into()),
            key: Material::File("/pki/current \"x\".pem".into()),
        }
    );
    assert!(!text.contains("abcdef"), "no secret goes into it");
}

#[test]
fn a_sealed_credential_holds_no_secret_and_tells_another_from_the_same() {
    let at = Path::new("/etc/kubernetes/kubeconfig");
    let seal = |credential: &Credential| credential.clone().sealed(at);
    let secret = |text: &str| Secret::new(text.to_owned());
    let token = |text: &str| Credential::Token(secret(text));
    let pair = |certificate: &str, key: &str| Credential::Certificate {
        certificate: Material::Inline(secret(certificate)),
        key: Material::Inline(secret(key)),
    };
    let inline = [token("abcdef.0123456789abcdef"), token("abcdef.0123456789abcdeg"), pair("c", "k"), pair("ck", "")];
    for (index, one) in inline.iter().enumerate() {
        assert!(matches!(seal(one), Credential::Sealed { .. }), "{index}");
        assert_eq!(seal(&seal(one)), seal(one), "{index}");
        for (other_index, other) in inline.iter().enumerate() {
            assert_eq!(seal(one) == seal(other), index == other_index, "{index} and {other_index}");
        }
    }
    for by_file in [
        Credential::TokenFile("/run/token".into()),
        Credential::Certificate { certificate: Material::File("c".into()), key: Material::File("k".into()) },
    ] {
        assert_eq!(seal(&by_file), by_file, "what is in files of its own is read anew anyway");
    }
}
