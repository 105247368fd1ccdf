//! The steps against a root in a temporary directory and a runtime that is a script: it writes down what it was asked.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use eyewall_core::config::{OsChoice, RuntimeChoice};
use eyewall_core::status::Reason;

use super::*;

const FIRST: &str = "quay.io/poseidon/kubelet:v1.36.2";
const SECOND: &str = "docker.io/psdn/kubelet:v1.36.2";
const PLACEHOLDER: &str = "var/lib/kubelet/pki/kubelet-client-current.pem";

/// What the script does for `podman` and `docker` alike. `present`, `pullable` and `running` are files with a name a line.
const SCRIPT: &str = r#"#!/bin/sh
cd "$(dirname "$0")/.." || exit 9
echo "$(basename "$0") $*" >> calls
for last; do :; done
case "$1 $2" in
  "image "*) grep -qxF "$last" present ;;
  "pull "*)
    if grep -qxF "$last" slow; then sleep 60; fi
    if grep -qxF "$last" pullable; then exit 0; fi
    echo "Trying to pull $last" >&2; echo "Error: manifest unknown" >&2; exit 125 ;;
  "container "*) grep -qxF "$last" running ;;
  "stop "*) if test -e stuck; then echo "Error: it does not want to" >&2; exit 125; fi
    grep -qxF "$last" running || test "$2" = --ignore ;;
  "rm "*) if test -e stuck; then echo "Error: device busy" >&2; exit 125; fi; : > running ;;
  *) exit 8 ;;
esac
"#;

struct Bench {
    root: tempfile::TempDir,
    request: Request,
    events: Events,
}

impl Bench {
    fn new(programs: &[&str], change: impl FnOnce(&mut Config)) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let at = |below: &str| root.path().join(below);
        std::fs::create_dir_all(at("bin")).expect("made");
        for program in programs {
            let file = at("bin").join(program);
            std::fs::write(&file, SCRIPT).expect("written");
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("executable");
        }
        for file in ["calls", "present", "pullable", "slow", "running"] {
            std::fs::write(at(file), "").expect("written");
        }
        let mut config = Config::default();
        config.node.name = Some("node-a".to_owned());
        config.node.os = OsChoice::Fcos;
        config.kubelet.images = vec![FIRST.to_owned(), SECOND.to_owned()];
        change(&mut config);
        let host = Root::new(&at("host"));
        let path = std::env::join_paths([at("bin")]).expect("a path");
        let bench = Self {
            request: Request {
                config,
                extra: Vec::new(),
                record: host.at("/run/eyewall/kubelet.json"),
                root: host,
                path: Some(path),
                hostname: "localhost".to_owned(),
                patience: Patience {
                    pull: Duration::from_secs(2),
                    command: Duration::from_secs(10),
                    kubeconfig: Duration::from_millis(300),
                    look: Duration::from_millis(5),
                },
            },
            events: Events::new(),
            root,
        };
        bench.put("host/etc/kubernetes/kubeconfig", &bootstrap(&ca("one")));
        bench.put("host/var/lib/kubelet/kubeconfig", "apiVersion: v1\n");
        bench
    }

    fn put(&self, below: &str, text: &str) {
        let path = self.root.path().join(below);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    fn host(&self, below: &str) -> PathBuf {
        self.root.path().join("host").join(below)
    }

    fn read(&self, below: &str) -> String {
        std::fs::read_to_string(self.root.path().join(below)).unwrap_or_default()
    }

    async fn prepare(&self) -> Result<Ready, StartFault> {
        prepare(&self.request, &self.events).await
    }

    async fn fault(&self) -> String {
        self.prepare().await.expect_err("it cannot start").kind().to_owned()
    }

    fn calls(&self) -> Vec<String> {
        self.read("calls").lines().map(str::to_owned).collect()
    }

    fn story(&self) -> Vec<(String, String)> {
        let records = self.events.recent();
        let told = records.iter().map(|record| {
            let image = record.fields.get("image").cloned().unwrap_or_default();
            (record.event.clone(), image)
        });
        told.collect()
    }

    fn started(&self) -> Option<Started> {
        serde_json::from_str(&self.read("host/run/eyewall/kubelet.json")).ok()
    }
}

fn ca(name: &str) -> String {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("a key");
    parameters.self_signed(&key).expect("a certificate").pem()
}

/// As terraform-render-bootstrap writes it: a context without a name, no current one.
fn bootstrap(ca: &str) -> String {
    use base64::Engine as _;
    let data = base64::engine::general_purpose::STANDARD.encode(ca);
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: local\n  cluster:\n    server: https://127.0.0.1:6443\n    \
         certificate-authority-data: {data}\nusers:\n- name: kubelet\n  user:\n    token: abcdef.0123456789abcdef\n\
         contexts:\n- context:\n    cluster: local\n    user: kubelet\n"
    )
}

#[tokio::test]
async fn a_first_start_lays_out_the_host_and_runs_the_first_image() {
    let bench = Bench::new(&["podman"], |_| {});
    bench.put("present", FIRST);
    let ready = bench.prepare().await.expect("ready");
    assert_eq!(ready.program, bench.root.path().join("bin/podman"));
    assert_eq!(ready.arguments[..3], ["run", "--name", "kubelet"]);
    assert!(ready.arguments.contains(&FIRST.to_owned()));
    assert!(ready.arguments.contains(&"--hostname-override=node-a".to_owned()));
    assert_eq!(
        bench.calls(),
        [format!("podman image exists {FIRST}"), "podman rm --force --ignore kubelet".to_owned()],
        "asked for, and the name made free, in this order"
    );
    for directory in ["etc/cni/net.d", "etc/kubernetes/manifests", "opt/cni/bin", "var/lib/kubelet/volumeplugins"] {
        let mode = std::fs::metadata(bench.host(directory)).expect(directory).mode();
        assert_eq!(mode & 0o777, 0o755, "{directory}");
    }
    let placeholder = std::fs::metadata(bench.host(PLACEHOLDER)).expect("there");
    assert_eq!((placeholder.len(), placeholder.mode() & 0o777), (0, 0o600));
    assert!(bench.read("host/etc/kubernetes/ca.crt").starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(bench.read("host/etc/kubernetes/kubelet.yaml").contains("\nrotateCertificates: false\n"));
    let started = bench.started().expect("recorded");
    assert_eq!((started.runtime.as_str(), started.image.position), ("podman", 0));
    assert_eq!(started.image.reference, FIRST);
    let event = |name: &str, image: &str| (name.to_owned(), image.to_owned());
    assert_eq!(bench.story(), [event("kubelet-config-written", ""), event("kubelet-image-chosen", FIRST)]);
}

#[tokio::test]
async fn images_are_tried_in_their_order_and_the_reasons_are_kept() {
    for (name, runtime, present, pullable, slow, want) in [
        ("present", "podman", "both", "", "", Ok((FIRST, &[][..]))),
        ("pulled", "podman", "", "first", "", Ok((FIRST, &[]))),
        ("pulled rather than a fallback that is here", "podman", "second", "first", "", Ok((FIRST, &[]))),
        ("fallback that is here", "podman", "second", "", "", Ok((SECOND, &["image-pull-failed"]))),
        ("fallback that is pulled", "docker", "", "second", "", Ok((SECOND, &["image-pull-failed"]))),
        ("too slow", "docker", "second", "first", "first", Ok((SECOND, &["image-pull-timed-out"]))),
        ("none", "docker", "", "", "", Err("kubelet-image-unavailable")),
    ] {
        let names = |word: &str| match word {
            "first" => FIRST.to_owned(),
            "second" => SECOND.to_owned(),
            "both" => format!("{FIRST}\n{SECOND}"),
            _ => String::new(),
        };
        let bench = Bench::new(&[runtime], |_| {});
        bench.put("present", &names(present));
        bench.put("pullable", &names(pullable));
        bench.put("slow", &names(slow));
        bench.put("host/run/eyewall/kubelet.json", "{}");
        let got = bench.prepare().await;
        let told = bench.started().map(|started| {
            let kinds: Vec<String> = started.image.passed_over.iter().map(|r| r.kind.clone()).collect();
            (started.image.reference, kinds)
        });
        match (got, want) {
            (Ok(ready), Ok((image, kinds))) => {
                assert!(ready.arguments.contains(&image.to_owned()), "{name}: {ready:?}");
                let kinds = kinds.iter().map(|&kind| kind.to_owned()).collect();
                assert_eq!(told, Some((image.to_owned(), kinds)), "{name}");
                let event = if image == FIRST { "kubelet-image-chosen" } else { "kubelet-image-fallback" };
                let last = bench.story().pop();
                assert_eq!(last, Some((event.to_owned(), image.to_owned())), "{name}");
            }
            (Err(fault), Err(kind)) => {
                assert_eq!(fault.kind(), kind, "{name}");
                let sentence = fault.to_string();
                assert!(sentence.contains(FIRST) && sentence.contains(SECOND), "{name}: {sentence}");
                assert!(sentence.contains("manifest unknown"), "{name}: {sentence}");
                assert_eq!(told, None, "{name}: the record of the start before is gone");
            }
            (got, want) => panic!("{name}: {got:?}, wanted {want:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_missing_has_its_word() {
    let bench = Bench::new(&[], |_| {});
    assert_eq!(bench.fault().await, "no-container-runtime");
    let sentence = bench.prepare().await.expect_err("none").to_string();
    assert!(sentence.contains("no podman and no docker"), "{sentence}");

    let bench = Bench::new(&["podman"], |c| c.kubelet.runtime = RuntimeChoice::Docker);
    assert_eq!(bench.fault().await, "no-container-runtime");

    let bench = Bench::new(&["podman"], |c| c.node.name = None);
    assert_eq!(bench.fault().await, "hostname-is-localhost");

    let mut bench = Bench::new(&["podman"], |_| {});
    bench.request.extra = vec!["--hostname-override=x".to_owned()];
    assert_eq!(bench.fault().await, "bad-argument");

    let bench = Bench::new(&["podman"], |_| {});
    bench.put("present", FIRST);
    bench.put("host/var/lib/kubelet/kubeconfig", "");
    assert_eq!(bench.fault().await, "kubelet-kubeconfig-missing");
    assert!(
        bench.calls().iter().all(|call| !call.contains(" rm ")),
        "nothing is removed for a start that does not come"
    );

    let bench = Bench::new(&["podman"], |_| {});
    std::fs::remove_file(bench.host("etc/kubernetes/kubeconfig")).expect("removed");
    assert_eq!(bench.fault().await, "bootstrap-kubeconfig-missing");
}

#[tokio::test]
async fn a_kubeconfig_that_comes_is_waited_for_and_a_kubelet_of_its_own_needs_none() {
    let bench = Bench::new(&["podman"], |_| {});
    bench.put("present", FIRST);
    let kubeconfig = bench.host("var/lib/kubelet/kubeconfig");
    std::fs::remove_file(&kubeconfig).expect("removed");
    let (ready, ()) = tokio::join!(bench.prepare(), async {
        sleep(Duration::from_millis(100)).await;
        std::fs::write(&kubeconfig, "x").expect("written");
    });
    ready.expect("ready");

    let bench = Bench::new(&["podman"], |c| c.certificates.owner = Owner::Kubelet);
    bench.put("present", FIRST);
    std::fs::remove_file(bench.host("var/lib/kubelet/kubeconfig")).expect("removed");
    let ready = bench.prepare().await.expect("the kubelet bootstraps itself");
    assert!(ready.arguments.contains(&"--bootstrap-kubeconfig=/etc/kubernetes/kubeconfig".to_owned()));
    assert!(!bench.host(PLACEHOLDER).exists(), "the store is the kubelet's");
    // What was left for it as our kubelet is, it would end at.
    std::fs::write(bench.host(PLACEHOLDER), "").expect("written");
    bench.prepare().await.expect("ready");
    assert!(!bench.host(PLACEHOLDER).exists(), "the empty placeholder is gone");
    std::fs::write(bench.host(PLACEHOLDER), "a certificate").expect("written");
    bench.prepare().await.expect("ready");
    assert!(bench.host(PLACEHOLDER).exists(), "anything else stays");
}

#[tokio::test]
async fn what_is_there_is_left_as_it_is() {
    let bench = Bench::new(&["podman"], |_| {});
    bench.put("present", FIRST);
    bench.put("host/etc/kubernetes/kubelet.yaml", "mine: true\n");
    let pem = "var/lib/kubelet/pki/kubelet-client-2026-11-24-00-00-00.pem";
    bench.put(&format!("host/{pem}"), "a certificate");
    symlink(bench.host(pem), bench.host(PLACEHOLDER)).expect("a link");
    bench.prepare().await.expect("ready");
    assert_eq!(bench.read("host/etc/kubernetes/kubelet.yaml"), "mine: true\n");
    assert_eq!(std::fs::read_link(bench.host(PLACEHOLDER)).expect("still a link"), bench.host(pem));
    assert_eq!(bench.read(&format!("host/{pem}")), "a certificate");

    // A link to nothing: the kubelet must find an empty file behind it.
    std::fs::remove_file(bench.host(pem)).expect("removed");
    bench.prepare().await.expect("ready");
    let behind = std::fs::metadata(bench.host(PLACEHOLDER)).expect("something is behind it");
    assert_eq!((behind.len(), behind.mode() & 0o777), (0, 0o600));
    assert_eq!(std::fs::read_link(bench.host(PLACEHOLDER)).expect("still a link"), bench.host(pem));
}

#[tokio::test]
async fn the_ca_is_never_worse_than_it_was() {
    let (one, two) = (ca("one"), ca("two"));
    let cut = &two[..two.len() / 2];
    let broken = bootstrap("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let both = format!("{two}{one}");
    for (name, kubeconfig, before, want) in [
        ("none yet", bootstrap(&one), "", Ok(one.as_str())),
        ("the same", bootstrap(&one), &one, Ok(one.as_str())),
        ("another cluster's", bootstrap(&one), &two, Ok(one.as_str())),
        ("beside another", bootstrap(&one), &both, Ok(both.as_str())),
        ("cut short before", bootstrap(&one), cut, Ok(one.as_str())),
        ("no kubeconfig any more", String::new(), &two, Ok(two.as_str())),
        ("a broken CA", broken.clone(), &two, Ok(two.as_str())),
        ("half a kubeconfig", bootstrap(&one)[..90].to_owned(), &two, Ok(two.as_str())),
        ("no kubeconfig, none before", String::new(), "", Err("bootstrap-kubeconfig-empty")),
        ("no kubeconfig, a broken one before", String::new(), cut, Err("bootstrap-kubeconfig-empty")),
        ("a broken CA, none before", broken, "", Err("cluster-ca-invalid")),
    ] {
        let bench = Bench::new(&["podman"], |_| {});
        bench.put("present", FIRST);
        bench.put("host/etc/kubernetes/kubeconfig", &kubeconfig);
        bench.put("host/etc/kubernetes/ca.crt", before);
        let ca = bench.host("etc/kubernetes/ca.crt");
        let inode = std::fs::metadata(&ca).expect("there").ino();
        let got = bench.prepare().await;
        let after = bench.read("host/etc/kubernetes/ca.crt");
        match (got, want) {
            (Ok(_), Ok(want)) => {
                assert_eq!(after, want, "{name}");
                let same = std::fs::metadata(&ca).expect("there").ino() == inode;
                assert_eq!(same, after == before, "{name}: written only if it changes");
            }
            (Err(fault), Err(kind)) => {
                assert_eq!(fault.kind(), kind, "{name}");
                assert_eq!(after, before, "{name}");
            }
            (got, want) => panic!("{name}: {got:?}, wanted {want:?}"),
        }
    }
}

#[tokio::test]
async fn stop_and_remove_end_what_runs_and_are_content_with_nothing() {
    for (name, programs, recorded, running, stuck, what, want) in [
        ("podman, running", &["podman"][..], None, true, false, End::Stop, Ok("podman stop --ignore kubelet")),
        ("podman, nothing runs", &["podman"], None, false, false, End::Stop, Ok("podman stop --ignore kubelet")),
        ("docker, running", &["docker"], None, true, false, End::Stop, Ok("docker stop kubelet")),
        (
            "docker, nothing runs",
            &["docker"],
            None,
            false,
            false,
            End::Stop,
            Ok("docker container inspect --format={{.Id}} kubelet"),
        ),
        ("remove", &["docker"], None, true, false, End::Remove, Ok("docker rm --force kubelet")),
        ("as it was started", &["docker", "podman"], Some("docker"), true, false, End::Stop, Ok("docker stop kubelet")),
        (
            "started by what is gone",
            &["podman"],
            Some("docker"),
            true,
            false,
            End::Stop,
            Ok("podman stop --ignore kubelet"),
        ),
        ("stuck", &["podman"], None, true, true, End::Remove, Err("Error: device busy")),
        ("no runtime", &[], None, true, false, End::Remove, Ok("")),
    ] {
        let bench = Bench::new(programs, |_| {});
        if running {
            bench.put("running", "kubelet");
        }
        if stuck {
            bench.put("stuck", "");
        }
        if let Some(runtime) = recorded {
            let runtime = Runtime::by_id(runtime).expect("known");
            let image = Image::parse(FIRST).expect("an image");
            let started = Started::new(runtime, &image, Vec::new(), Time::from_unix(0));
            bench.put("host/run/eyewall/kubelet.json", &serde_json::to_string(&started).expect("JSON"));
        }
        let got = end(&bench.request, what).await;
        match want {
            Ok(last) => {
                assert_eq!(got, Ok(()), "{name}");
                assert_eq!(bench.calls().pop().unwrap_or_default(), last, "{name}");
            }
            Err(words) => assert_eq!(got, Err(words.to_owned()), "{name}"),
        }
    }
}

#[test]
fn a_fault_is_a_reason() {
    let fault = StartFault::from(Unavailable(vec![Reason::new("image-pull-failed", "a sentence")]));
    assert_eq!(fault.kind(), "kubelet-image-unavailable");
    assert!(fault.to_string().contains("a sentence"));
}

#[tokio::test]
async fn the_bootstrap_kubeconfig_is_made_roots_alone_at_each_start_unless_told_otherwise() {
    const FILE: &str = "etc/kubernetes/kubeconfig";
    type Change = fn(&mut Config);
    let cases: [(&str, Change, u32); 3] = [
        ("by default", |_| {}, 0o600),
        ("turned off", |config| config.cluster.bootstrap_kubeconfig_root_only = false, 0o644),
        ("observing", |config| config.certificates.owner = Owner::Kubelet, 0o644),
    ];
    for (name, change, want) in cases {
        let bench = Bench::new(&["podman"], change);
        bench.put("present", &format!("{FIRST}\n"));
        let mode = || std::fs::metadata(bench.host(FILE)).expect("it is there").permissions().mode() & 0o777;
        let set = || std::fs::set_permissions(bench.host(FILE), std::fs::Permissions::from_mode(0o644)).expect("set");
        set();
        bench.prepare().await.expect(name);
        assert_eq!(mode(), want, "{name}");
        // A fresh one is dropped while the kubelet runs.
        set();
        bench.prepare().await.expect(name);
        assert_eq!(mode(), want, "{name}, the next start");
    }
    // What cannot be changed is no reason to stop a kubelet.
    let bench = Bench::new(&["podman"], |_| {});
    bench.put("present", &format!("{FIRST}\n"));
    std::fs::rename(bench.host(FILE), bench.host("etc/elsewhere")).expect("moved");
    symlink(bench.host("etc/elsewhere"), bench.host(FILE)).expect("linked");
    bench.prepare().await.expect("it starts all the same");
}
