use super::*;
use crate::config::{self, Source};
use crate::hostname::node_name;
use crate::os::{FCOS, FLATCAR, GENERIC};

/// What `fedora-coreos/kubernetes/workers/butane/worker.yaml` runs, up to the image.
const FCOS_RUN: &str = "run --name kubelet --log-driver k8s-file --privileged --pid host --network host
    --volume /etc/cni/net.d:/etc/cni/net.d:ro,z
    --volume /etc/kubernetes:/etc/kubernetes:ro,z
    --volume /etc/machine-id:/etc/machine-id:ro
    --volume /usr/lib/os-release:/etc/os-release:ro
    --volume /lib/modules:/lib/modules:ro
    --volume /run:/run
    --volume /sys/fs/cgroup:/sys/fs/cgroup
    --volume /etc/selinux:/etc/selinux
    --volume /sys/fs/selinux:/sys/fs/selinux
    --volume /var/lib/containerd:/var/lib/containerd
    --volume /var/lib/kubelet:/var/lib/kubelet:rshared,z
    --volume /var/log:/var/log
    --volume /var/run/lock:/var/run/lock:z
    --volume /opt/cni/bin:/opt/cni/bin:z
    quay.io/poseidon/kubelet:v1.36.2";

/// What `flatcar-linux/kubernetes/workers/butane/worker.yaml` runs, up to the image; but in the foreground and with one log.
const FLATCAR_RUN: &str = "run --name kubelet --log-driver none --privileged --pid host --network host
    --volume /etc/cni/net.d:/etc/cni/net.d:ro
    --volume /etc/kubernetes:/etc/kubernetes:ro
    --volume /etc/machine-id:/etc/machine-id:ro
    --volume /usr/lib/os-release:/etc/os-release:ro
    --volume /lib/modules:/lib/modules:ro
    --volume /run:/run
    --volume /sys/fs/cgroup:/sys/fs/cgroup
    --volume /var/lib/containerd:/var/lib/containerd
    --volume /var/lib/kubelet:/var/lib/kubelet:rshared
    --volume /var/log:/var/log
    --volume /opt/cni/bin:/opt/cni/bin
    quay.io/poseidon/kubelet:v1.36.2";

const BOOTSTRAP: &str = "--bootstrap-kubeconfig=/etc/kubernetes/kubeconfig";
const COMMON: &str = "--config=/etc/kubernetes/kubelet.yaml
    --container-runtime-endpoint=unix:///run/containerd/containerd.sock
    --kubeconfig=/var/lib/kubelet/kubeconfig";
const WORKER: &str = "--node-labels=node.kubernetes.io/node";
const CONTROLLER: &str = "--node-labels=node.kubernetes.io/controller=true
    --register-with-taints=node-role.kubernetes.io/controller=:NoSchedule";
const OURS: &str = "--rotate-certificates=false";
const OURS_BOTH: &str = "--rotate-certificates=false --rotate-server-certificates=false";
const KUBELETS: &str = "--rotate-certificates=true";

fn configured(text: &str) -> Config {
    let name = "f.toml".to_owned();
    let text = text.to_owned();
    config::read(&[Source { name, text }]).expect("a valid configuration")
}

fn host(os: &'static Os, runtime: Runtime) -> Host {
    Host { os, selinux: false, resolved: true, runtime }
}

fn run(config: &Config, host: &Host, named: Option<&str>, extra: &[&str]) -> String {
    let named = named.map(|name| node_name(Some(name), "").expect("a valid name"));
    let extra: Vec<String> = extra.iter().map(|&flag| flag.to_owned()).collect();
    let plan = plan(config, host, named.as_ref(), &extra).expect("a plan");
    plan.run(&plan.images[0]).join(" ")
}

#[test]
fn the_kubelet_is_run_as_typhoon_runs_it() {
    let fcos = host(&FCOS, PODMAN);
    let flatcar = host(&FLATCAR, DOCKER);
    for (name, host, toml, want) in [
        ("FCOS worker", &fcos, "", [FCOS_RUN, "", COMMON, WORKER, OURS]),
        (
            "FCOS worker, kubelet's own",
            &fcos,
            "certificates.owner = 'kubelet'",
            [FCOS_RUN, BOOTSTRAP, COMMON, WORKER, KUBELETS],
        ),
        (
            "FCOS worker, its serving certificate too",
            &fcos,
            "certificates.serving = true",
            [FCOS_RUN, "", COMMON, WORKER, OURS_BOTH],
        ),
        (
            "FCOS worker, kubelet's own, whatever is said of serving",
            &fcos,
            "certificates.owner = 'kubelet'\ncertificates.serving = true",
            [FCOS_RUN, BOOTSTRAP, COMMON, WORKER, KUBELETS],
        ),
        ("FCOS controller", &fcos, "node.role = 'controller'", [FCOS_RUN, "", COMMON, CONTROLLER, OURS]),
        (
            "FCOS controller, kubelet's own",
            &fcos,
            "node.role = 'controller'\ncertificates.owner = 'kubelet'",
            [FCOS_RUN, BOOTSTRAP, COMMON, CONTROLLER, KUBELETS],
        ),
        ("Flatcar worker", &flatcar, "", [FLATCAR_RUN, "", COMMON, WORKER, OURS]),
        (
            "Flatcar worker, kubelet's own",
            &flatcar,
            "certificates.owner = 'kubelet'",
            [FLATCAR_RUN, BOOTSTRAP, COMMON, WORKER, KUBELETS],
        ),
        ("Flatcar controller", &flatcar, "node.role = 'controller'", [FLATCAR_RUN, "", COMMON, CONTROLLER, OURS]),
        (
            "Flatcar controller, kubelet's own",
            &flatcar,
            "node.role = 'controller'\ncertificates.owner = 'kubelet'",
            [FLATCAR_RUN, BOOTSTRAP, COMMON, CONTROLLER, KUBELETS],
        ),
    ] {
        let want: Vec<&str> = want.iter().flat_map(|part| part.split_whitespace()).collect();
        assert_eq!(run(&configured(toml), host, None, &[]), want.join(" "), "{name}");
    }
}

#[test]
fn what_the_node_is_told_comes_after_what_its_role_says() {
    let config = configured(
        r#"
        [kubelet]
        labels = { "example.com/rack" = "r1", edge = "" }
        taints = ["arch=arm64:NoSchedule"]
        extra_args = ["--v=2"]
        "#,
    );
    let got = run(&config, &host(&FCOS, PODMAN), Some("10.132.0.2"), &["--provider-id=aws:///eu-1a/i-0"]);
    let flags: Vec<&str> = got.split(' ').skip_while(|word| !word.contains("poseidon")).skip(1).collect();
    assert_eq!(
        flags,
        [
            "--config=/etc/kubernetes/kubelet.yaml",
            "--container-runtime-endpoint=unix:///run/containerd/containerd.sock",
            "--hostname-override=10.132.0.2",
            "--kubeconfig=/var/lib/kubelet/kubeconfig",
            "--node-labels=node.kubernetes.io/node",
            "--node-labels=edge",
            "--node-labels=example.com/rack=r1",
            "--register-with-taints=arch=arm64:NoSchedule",
            "--rotate-certificates=false",
            "--v=2",
            "--provider-id=aws:///eu-1a/i-0",
        ]
    );
}

#[test]
fn selinux_counts_where_the_os_or_the_host_says_so() {
    for (name, os, runtime, selinux, relabelled) in [
        ("FCOS, docker too", &FCOS, DOCKER, false, true),
        ("Flatcar, podman too", &FLATCAR, PODMAN, true, false),
        ("generic with it", &GENERIC, PODMAN, true, true),
        ("generic without it", &GENERIC, PODMAN, false, false),
    ] {
        let host = Host { selinux, ..host(os, runtime) };
        let got = run(&Config::default(), &host, None, &[]);
        assert_eq!(got.contains(":/sys/fs/selinux"), relabelled, "{name}: {got}");
        assert_eq!(got.contains(":/var/lib/kubelet:rshared,z "), relabelled, "{name}: {got}");
        assert_eq!(got.contains(":/var/run/lock"), relabelled, "{name}: {got}");
    }
}

#[test]
fn the_container_sees_what_a_configuration_moved() {
    let toml = r#"
        cluster.bootstrap_kubeconfig = "/srv/boot/kubeconfig"
        certificates.directory = "/srv/pki"
        certificates.kubeconfig = "/srv/kubelet/kubeconfig"
        kubelet.config = "/etc/kubernetes/sub/kubelet.yaml"
    "#;
    let moved = |owner: &str| {
        let config = configured(&format!("{toml}\ncertificates.owner = '{owner}'"));
        let got = run(&config, &host(&FCOS, PODMAN), None, &[]);
        let volumes: Vec<String> = got
            .split(" --volume ")
            .filter(|volume| volume.starts_with("/srv"))
            .map(|volume| volume.split(' ').next().unwrap_or_default().to_owned())
            .collect();
        assert!(got.contains(" --cert-dir=/srv/pki "), "{got}");
        assert!(got.contains(" --config=/etc/kubernetes/sub/kubelet.yaml "), "{got}");
        volumes
    };
    assert_eq!(moved("eyewall"), ["/srv/kubelet:/srv/kubelet:ro,z", "/srv/pki:/srv/pki:z"]);
    assert_eq!(moved("kubelet"), ["/srv/kubelet:/srv/kubelet:z", "/srv/pki:/srv/pki:z", "/srv/boot:/srv/boot:ro,z"]);
}

#[test]
fn directories_are_typhoons_and_those_of_the_configuration() {
    let paths = |config: &Config| {
        let plan = plan(config, &host(&FCOS, PODMAN), None, &[]).expect("a plan");
        let paths: Vec<String> = plan.directories.iter().map(|path| path.display().to_string()).collect();
        (paths, plan.authority.display().to_string())
    };
    let typhoon = ["/etc/cni/net.d", "/etc/kubernetes/manifests", "/opt/cni/bin", "/var/lib/kubelet/volumeplugins"];
    let (directories, authority) = paths(&Config::default());
    assert_eq!(directories[..4], typhoon);
    assert_eq!(directories[4..], ["/var/lib/kubelet/pki"]);
    assert_eq!(authority, "/etc/kubernetes/ca.crt");
    let (directories, authority) = paths(&configured("kubelet.config = '/srv/a/kubelet.yaml'"));
    assert_eq!(directories[4..], ["/srv/a", "/var/lib/kubelet/pki"]);
    assert_eq!(authority, "/srv/a/ca.crt");
}

#[test]
fn images_keep_their_order_and_their_digests() {
    let pin = format!("@sha256:{}", "0".repeat(64));
    let images = format!("['quay.io/a/b:1{pin}', 'docker.io/a/b{pin}']");
    let config = configured(&format!("[kubelet]\nrequire_digest = true\nimages = {images}"));
    let made = plan(&config, &host(&FCOS, PODMAN), None, &[]).expect("a plan");
    let references: Vec<&str> = made.images.iter().map(Image::as_str).collect();
    assert_eq!(references, [format!("quay.io/a/b:1{pin}"), format!("docker.io/a/b{pin}")]);
    assert!(made.run(&made.images[1]).contains(&format!("docker.io/a/b{pin}")));

    let unchecked = |change: fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        plan(&config, &host(&FCOS, PODMAN), None, &[]).map_err(|fault| fault.kind())
    };
    for (name, change, want) in [
        ("no digest", (|c| c.kubelet.require_digest = true) as fn(&mut Config), "image-without-digest"),
        ("no image", |c| c.kubelet.images.clear(), "empty"),
        ("no image name", |c| c.kubelet.images[0] = "--rm".to_owned(), "bad-image"),
    ] {
        assert_eq!(unchecked(change).err(), Some(want), "{name}");
    }
}

#[test]
fn a_flag_of_the_command_line_is_checked_too() {
    let extra = ["--hostname-override=x".to_owned()];
    let fault = plan(&Config::default(), &host(&FCOS, PODMAN), None, &extra).expect_err("refused");
    assert_eq!(fault.kind(), "bad-argument");
    assert!(fault.to_string().contains("node.name"), "{fault}");
}

#[test]
fn the_configuration_is_typhoons_with_one_owner() {
    let text = |config: &Config, host: &Host| plan(config, host, None, &[]).expect("a plan").configuration_text;
    let fcos = host(&FCOS, PODMAN);
    let typhoon = r#"# Written by eyewall because there was none. It is never changed again: edit it, and restart the kubelet.
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous:
    enabled: false
  webhook:
    enabled: true
  x509:
    clientCAFile: "/etc/kubernetes/ca.crt"
authorization:
  mode: Webhook
cgroupDriver: systemd
clusterDNS:
  - "10.3.0.10"
clusterDomain: "cluster.local"
healthzPort: 0
readOnlyPort: 0
resolvConf: /run/systemd/resolve/resolv.conf
rotateCertificates: false
serializeImagePulls: false
shutdownGracePeriod: 45s
shutdownGracePeriodCriticalPods: 30s
staticPodPath: /etc/kubernetes/manifests
volumePluginDir: /var/lib/kubelet/volumeplugins
"#;
    assert_eq!(text(&Config::default(), &fcos), typhoon);
    let other = text(
        &configured(
            "[cluster]\ndns = ['10.100.0.10', 'fd00::a']\ndomain = 'k8s.example'\n[certificates]\nowner = 'kubelet'",
        ),
        &Host { resolved: false, ..host(&GENERIC, PODMAN) },
    );
    for line in [
        "clusterDNS:\n  - \"10.100.0.10\"\n  - \"fd00::a\"\n",
        "clusterDomain: \"k8s.example\"\n",
        "rotateCertificates: true\n",
        "resolvConf: /etc/resolv.conf\n",
    ] {
        assert!(other.contains(line), "{line:?} is not in {other}");
    }
    assert!(text(&configured("cluster.dns = []"), &fcos).contains("\nclusterDNS: []\n"));
}
