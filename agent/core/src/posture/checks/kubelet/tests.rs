//! The results that kube-bench gets wrong on a Typhoon node (it takes the first file that exists of a list, matches text, and counts what it cannot
//! run as a failure), and what is so. Then what depends on more of the configuration than a case of the fixtures can say.

use crate::config::{Config, Owner};
use crate::posture::fixtures::host;
use crate::posture::{Capture, Evidence, Expectations, check, checks, judge};

/// A worker as Typhoon ships it, without eyewall's certificates: the kubelet renews its own, and two files are for everybody to read.
fn typhoon() -> (Evidence, Expectations) {
    let mut evidence = host("fcos-worker");
    let mut put = |id: &str, capture| evidence.put(id, None, capture);
    let words = [
        "/usr/local/bin/kubelet",
        "--bootstrap-kubeconfig=/etc/kubernetes/kubeconfig",
        "--config=/etc/kubernetes/kubelet.yaml",
        "--container-runtime-endpoint=unix:///run/containerd/containerd.sock",
        "--kubeconfig=/var/lib/kubelet/kubeconfig",
        "--node-labels=node.kubernetes.io/node",
        "--register-with-taints=",
    ];
    put("proc:kubelet-argv", Capture::record(&serde_json::json!({ "words": words })));
    let stat = |mode: &str| {
        let stat = serde_json::json!({"kind": "file", "mode": mode, "uid": 0, "gid": 0, "size": 9, "mtime": "2026-07-14T06:00:55Z"});
        Capture::Stat(serde_json::from_value(stat).expect("a stat"))
    };
    put("stat:{kubelet.config}", stat("0644"));
    put("stat:{cluster.bootstrap_kubeconfig}", stat("0644"));
    let mut config = Config::default();
    config.certificates.owner = Owner::Kubelet;
    let expect = Expectations::for_host(&evidence.host, &config).expect("a configuration");
    (evidence, expect)
}

fn said(id: &str, evidence: &Evidence, expect: &Expectations) -> String {
    let finding = check(id).expect(id).judge(evidence, expect);
    format!("{} {}", finding.verdict.word().as_str(), finding.reason.kind)
}

#[test]
fn kube_benchs_false_results_are_not_repeated() {
    let (evidence, expect) = typhoon();
    for (item, kube_bench, ours) in [
        ("4.1.1", "FAIL", &[("kubelet-unit-file", "pass roots")][..]),
        ("4.1.2", "PASS", &[("kubelet-unit-file", "pass roots")]),
        // It looks at the wrong file; there is none of kube-proxy's on a node.
        ("4.1.3", "PASS", &[]),
        ("4.1.4", "PASS", &[]),
        ("4.1.5", "PASS", &[("kubelet-kubeconfig-file", "pass private")]),
        ("4.1.6", "PASS", &[("kubelet-kubeconfig-file", "pass private")]),
        ("4.1.7", "WARN", &[("client-ca-file", "pass roots")]),
        ("4.1.8", "WARN", &[("client-ca-file", "pass roots")]),
        // It takes the kubeconfig for the configuration.
        ("4.1.9", "PASS", &[("kubelet-configuration-file", "fail world-readable")]),
        ("4.1.10", "PASS", &[("kubelet-configuration-file", "fail world-readable")]),
        // It looks for flags, then in the wrong file.
        (
            "4.2.1",
            "FAIL",
            &[("kubelet-refuses-anonymous", "pass refused"), ("kubelet-access-configured", "pass configured")],
        ),
        (
            "4.2.2",
            "FAIL",
            &[("kubelet-asks-the-api-server", "pass refused"), ("kubelet-access-configured", "pass configured")],
        ),
        (
            "4.2.3",
            "FAIL",
            &[("kubelet-asks-the-api-server", "pass refused"), ("kubelet-access-configured", "pass configured")],
        ),
        // It passes what it does not find.
        ("4.2.4", "PASS", &[("kubelet-open-ports-closed", "pass closed")]),
        ("4.2.5", "PASS", &[("kubelet-defaults-kept", "pass kept")]),
        ("4.2.6", "PASS", &[("kubelet-defaults-kept", "pass kept")]),
        // By design on bare metal and DigitalOcean.
        ("4.2.7", "WARN", &[]),
        ("4.2.8", "PASS", &[("kubelet-defaults-kept", "pass kept")]),
        ("4.2.9", "WARN", &[("kubelet-serving-certificate", "fail self-signed")]),
        ("4.2.10", "PASS", &[("kubelet-certificate", "pass valid")]),
        ("4.2.11", "PASS", &[("kubelet-serving-certificate", "fail self-signed")]),
        ("4.2.12", "WARN", &[("kubelet-tls-ciphers", "fail not-set")]),
        ("4.2.13", "WARN", &[("kubelet-pid-limit", "fail not-set")]),
        ("4.2.14", "WARN", &[("kubelet-seccomp-default", "fail off")]),
        // No kube-proxy runs with Cilium, and what cannot be run is a failure to it.
        ("4.3.1", "FAIL", &[]),
    ] {
        let covering: Vec<&str> = checks().filter(|check| check.cis.contains(&item)).map(|check| check.id).collect();
        let named: Vec<&str> = ours.iter().map(|(id, _)| *id).collect();
        assert_eq!(covering, named, "{item}, of which kube-bench says {kube_bench}");
        for (id, want) in ours {
            assert_eq!(said(id, &evidence, &expect), *want, "{item}, of which kube-bench says {kube_bench}: {id}");
        }
    }
    // What no item asks for: the bootstrap token.
    assert_eq!(said("bootstrap-kubeconfig-file", &evidence, &expect), "fail world-readable");
}

#[test]
fn typhoon_as_it_is_shipped_has_no_other_finding_of_the_kubelets() {
    let (evidence, expect) = typhoon();
    let report = judge(&evidence, &expect);
    let failed: Vec<&str> = report
        .findings
        .iter()
        .filter(|finding| finding.verdict.word() == crate::posture::Word::Fail)
        .map(|finding| finding.check.as_str())
        .collect();
    assert_eq!(
        failed,
        [
            "kubelet-serving-certificate",
            "bootstrap-kubeconfig-file",
            "kubelet-configuration-file",
            "kubelet-tls-ciphers",
            "kubelet-pid-limit",
            "kubelet-seccomp-default",
        ]
    );
}

#[test]
fn who_owns_the_certificate_is_told_by_the_flags() {
    let (evidence, kubelet) = typhoon();
    let eyewall = Expectations::for_host(&evidence.host, &Config::default()).expect("defaults");
    let ours = host("fcos-worker");
    for (name, evidence, expect, want) in [
        ("Typhoon's, as configured", &evidence, &kubelet, "pass as-installed"),
        ("Typhoon's, and eyewall is the owner", &evidence, &eyewall, "fail two-owners"),
        ("ours, as configured", &ours, &eyewall, "pass as-installed"),
        ("ours, and the kubelet is the owner", &ours, &kubelet, "fail no-owner"),
    ] {
        assert_eq!(said("kubelet-flags", evidence, expect), want, "{name}");
    }
}

#[test]
fn a_pinned_image_is_compared_by_its_digest() {
    let evidence = host("fcos-worker");
    let of = |digest: &str| format!("quay.io/poseidon/kubelet:v1.36.2@sha256:{}", digest.repeat(16));
    for (name, images, started, want) in [
        ("the wanted digest", vec![of("3f5a")], of("3f5a"), "pass by-digest"),
        ("another digest", vec![of("0000")], of("0000"), "fail another-digest"),
        ("a fallback with the wanted digest", vec![of("0000"), of("3f5a")], of("3f5a"), "pass by-digest"),
        (
            "by its name",
            vec!["quay.io/poseidon/kubelet:v1.36.2".to_owned()],
            "quay.io/poseidon/kubelet:v1.36.2".to_owned(),
            "pass by-name",
        ),
        ("not configured any more", vec![of("3f5a")], "quay.io/poseidon/kubelet:v1.36.2".to_owned(), "fail outdated"),
    ] {
        let mut evidence = evidence.clone();
        let record = serde_json::json!({
            "runtime": "podman", "reference": started, "position": 0, "passed_over": [], "chosen_at": "2026-07-14T06:01:12Z",
        });
        evidence.put("file:/run/eyewall/kubelet.json", None, Capture::text(&record.to_string()));
        let mut config = Config::default();
        config.kubelet.images = images;
        let expect = Expectations::for_host(&evidence.host, &config).expect("a configuration");
        assert_eq!(said("kubelet-image-running", &evidence, &expect), want, "{name}");
    }
}
