use super::*;
use crate::config::{Source, read};
use crate::hostname::node_name;
use crate::kubelet::{DOCKER, Host, PODMAN, Runtime, plan};
use crate::os::{FCOS, FLATCAR};
use crate::time::Time;

const COMMON: &str = "--bootstrap-kubeconfig=/etc/kubernetes/kubeconfig --config=/etc/kubernetes/kubelet.yaml \
     --container-runtime-endpoint=unix:///run/containerd/containerd.sock --kubeconfig=/var/lib/kubelet/kubeconfig";
/// What every switch-over changes, and nothing else.
const GONE: &str = "--bootstrap-kubeconfig=/etc/kubernetes/kubeconfig";
const NEW: &str = "--rotate-certificates=false";

fn container(runtime: Runtime, flags: &str) -> Container {
    Container {
        runtime,
        id: "0123456789abcdef".to_owned(),
        reference: "quay.io/poseidon/kubelet:v1.36.1".to_owned(),
        digest: None,
        created_at: Time::from_unix(0),
        arguments: Some(flags.split_whitespace().map(str::to_owned).collect()),
    }
}

/// The flags with which `eyewall kubelet` then runs it.
fn after(container: &Container) -> (Config, Vec<String>) {
    let text = fragment(container).expect("flags that can be taken over");
    let source = Source { name: "50-take-over.toml".to_owned(), text };
    let observing = Source { name: "10-observe.toml".to_owned(), text: "certificates.owner = 'kubelet'".to_owned() };
    let config = read(&[observing, source]).expect("a valid configuration");
    let named = config.node.name.as_deref().map(|name| node_name(Some(name), "").expect("a name"));
    let os = if container.runtime == PODMAN { &FCOS } else { &FLATCAR };
    let host = Host { os, selinux: false, resolved: true, runtime: container.runtime };
    let plan = plan(&config, &host, named.as_ref(), &[]).expect("a plan");
    let run = plan.run(&plan.images[0]);
    let flags = run.iter().skip_while(|word| !word.starts_with("quay.io/")).skip(1).cloned().collect();
    (config, flags)
}

/// Every shape that Typhoon's twenty templates give the flags: the platforms, both roles, what an operator adds.
#[test]
fn the_kubelet_keeps_every_flag_but_the_owners() {
    let worker = "--node-labels=node.kubernetes.io/node";
    let controller = "--node-labels=node.kubernetes.io/controller=\"true\" --register-with-taints=node-role.kubernetes.io/controller=:NoSchedule";
    for (name, runtime, flags) in [
        ("bare metal, FCOS", PODMAN, format!("{COMMON} --hostname-override=node1.example.com {worker}")),
        ("bare metal, Flatcar", DOCKER, format!("{COMMON} --hostname-override=node1.example.com {controller}")),
        (
            "AWS worker",
            PODMAN,
            format!("{COMMON} --provider-id=aws:///us-east-1a/i-0123 {worker} --node-labels= --register-with-taints="),
        ),
        ("AWS controller", DOCKER, format!("{COMMON} --provider-id=aws:///us-east-1a/i-0123 {controller}")),
        ("GCP with a cloud provider", PODMAN, format!("{COMMON} --cloud-provider=external {worker}")),
        ("Azure", PODMAN, format!("{COMMON} {controller}")),
        (
            "DigitalOcean worker",
            PODMAN,
            format!(
                "{COMMON} --anonymous-auth=false --authentication-token-webhook --authorization-mode=Webhook \
                 --hostname-override=10.132.0.2 {worker}"
            ),
        ),
        (
            "labels and taints of a pool",
            DOCKER,
            format!(
                "{COMMON} {worker} --node-labels=pool=gpu,zone=a --node-labels=edge --register-with-taints=gpu=true:NoSchedule --register-with-taints=spot=:NoExecute"
            ),
        ),
        ("rotation said twice", PODMAN, format!("{COMMON} {worker} --rotate-certificates=true --v=2")),
        (
            "moved",
            PODMAN,
            format!("{} {worker}", COMMON.replace("/var/lib/kubelet/kubeconfig", "/srv/kubelet/kubeconfig")),
        ),
    ] {
        let container = container(runtime, &flags);
        let before = container.arguments.clone().unwrap_or_default();
        let (config, after) = after(&container);
        assert_eq!(config.kubelet.images, ["quay.io/poseidon/kubelet:v1.36.1"], "{name}");
        assert_eq!(config.certificates.owner, crate::config::Owner::Eyewall, "{name}");
        let (gone, new) = difference(&before, &after);
        // A list of labels is given one by one: the same labels.
        let gone: Vec<&str> =
            gone.iter().map(String::as_str).filter(|flag| *flag != "--node-labels=pool=gpu,zone=a").collect();
        let new: Vec<&str> = new
            .iter()
            .map(String::as_str)
            .filter(|flag| !["--node-labels=pool=gpu", "--node-labels=zone=a"].contains(flag))
            .collect();
        let gone: Vec<&str> = gone.into_iter().filter(|flag| *flag != "--rotate-certificates=true").collect();
        assert_eq!((gone, new), (vec![GONE], vec![NEW]), "{name}: {after:?}");
    }
}

#[test]
fn a_plain_worker_needs_its_owner_and_its_image_only() {
    let flags = format!("{COMMON} --node-labels=node.kubernetes.io/node");
    let text = fragment(&container(PODMAN, &flags)).expect("taken over");
    assert_eq!(
        text,
        "# Made by `eyewall kubelet take-over` from the running container 0123456789ab. It goes with 50-eyewall.conf of kubelet.service.\n\
         [certificates]\nowner = \"eyewall\"\n[kubelet]\nruntime = \"podman\"\nimages = [\"quay.io/poseidon/kubelet:v1.36.1\"]\n"
    );
}

/// A host with both runtimes would else stop a container that is not there, and start a second kubelet beside the first.
#[test]
fn the_runtime_is_the_one_that_it_runs_in() {
    for (runtime, want) in [(PODMAN, "podman"), (DOCKER, "docker")] {
        let (config, _) = after(&container(runtime, COMMON));
        let chosen = crate::kubelet::choose(config.kubelet.runtime, &crate::os::GENERIC, |_| true);
        assert_eq!(chosen.map(|runtime| runtime.id), Some(want));
    }
}

#[test]
fn what_cannot_be_read_is_not_guessed() {
    let unreadable = Container { arguments: None, ..container(PODMAN, "") };
    for (name, container, want) in [
        ("no flags", unreadable, "container-flags-unreadable"),
        ("an argument", container(PODMAN, "kubelet --v=2"), "not-a-flag"),
        ("a short flag", container(PODMAN, "-v 2"), "not-a-flag"),
        ("a value of its own", container(PODMAN, "--node-ip 10.0.0.1"), "not-a-flag"),
    ] {
        assert_eq!(fragment(&container).map_err(|fault| fault.kind()), Err(want), "{name}");
    }
}

#[test]
fn a_quote_in_a_flag_stays_in_its_string() {
    let text = fragment(&container(PODMAN, "--system-reserved=\"\\ --v=3")).expect("taken over");
    let source = Source { name: "f".to_owned(), text };
    let config = read(&[source]).expect("valid TOML");
    assert_eq!(config.kubelet.extra_args, ["--system-reserved=\"\\", "--v=3"]);
}

#[test]
fn the_way_over_depends_on_who_stands_in_it() {
    let files = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    let observing = files(&["/etc/eyewall/eyewall.toml.d/10-observe.toml"]);
    let broken = files(&["/etc/eyewall/eyewall.toml", "/etc/eyewall/eyewall.toml.d/99-break-glass.toml"]);
    for (name, owner, files, want) in [
        ("ours", Owner::Eyewall, &observing, ""),
        (
            "watched",
            Owner::Kubelet,
            &observing,
            "/opt/bin/eyewall kubelet take-over --write; systemctl daemon-reload && systemctl restart kubelet",
        ),
        (
            "watched by a file of its own",
            Owner::Kubelet,
            &files(&[]),
            "/opt/bin/eyewall kubelet take-over --write; systemctl daemon-reload && systemctl restart kubelet",
        ),
        (
            "the glass is broken",
            Owner::Kubelet,
            &broken,
            "rm /etc/eyewall/eyewall.toml.d/99-break-glass.toml; systemctl restart kubelet",
        ),
    ] {
        assert_eq!(commands(owner, files).join("; "), want, "{name}");
    }
    // And the drop-in says the same.
    for command in commands(Owner::Kubelet, &observing) {
        assert!(DROP_IN.contains(&format!("#   {command}\n")), "{command}");
    }
    for path in [DROP_IN_PATH, FRAGMENT_PATH] {
        assert!(DROP_IN.contains(path), "{path}");
    }
}
