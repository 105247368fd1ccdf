//! The manifest of a static pod, as the kubelet reads it from `/etc/kubernetes/manifests`.

use serde::Deserialize;

use super::ReadFault;
use super::argv::Argv;
use super::fault::yaml;

/// Typhoon's are under 4 KiB.
pub const LARGEST: usize = 256 * 1024;

#[derive(Deserialize)]
struct Raw {
    kind: String,
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    name: String,
    image: Option<String>,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    args: Vec<String>,
}

/// One container of a static pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticContainer {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: Option<String>,
    /// Command, then arguments.
    pub argv: Argv,
}

/// Reads the containers of a pod's manifest.
///
/// # Errors
/// [`ReadFault`]; a manifest of another kind, or without a container, is one.
pub fn containers(text: &str) -> Result<Vec<StaticContainer>, ReadFault> {
    let raw: Raw = yaml(text, LARGEST)?;
    if raw.kind != "Pod" {
        return Err(ReadFault::Missing("that it is a Pod"));
    }
    if raw.spec.containers.is_empty() {
        return Err(ReadFault::Missing("any container"));
    }
    let read = |container: Container| StaticContainer {
        name: container.name,
        image: container.image,
        argv: Argv::new(container.command.into_iter().chain(container.args)),
    };
    Ok(raw.spec.containers.into_iter().map(read).collect())
}

/// The command line of the one container that runs `program`, the last part of its path, in this manifest.
///
/// # Errors
/// [`ReadFault`]; no such container, or two, are [`ReadFault::Missing`].
pub fn argv_of(text: &str, program: &'static str) -> Result<Argv, ReadFault> {
    let runs = |container: &StaticContainer| {
        container.argv.words().first().is_some_and(|word| word.rsplit('/').next() == Some(program))
    };
    let mut found = containers(text)?.into_iter().filter(runs);
    match (found.next(), found.next()) {
        (Some(container), None) => Ok(container.argv),
        _ => Err(ReadFault::Missing("which one container runs it")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: kube-apiserver\nspec:\n  containers:\n  - name: kube-apiserver\n    image: registry.k8s.io/kube-apiserver:v1.36.2\n    command:\n    - kube-apiserver\n    - --anonymous-auth=false\n    args: [--authorization-mode, \"Node,RBAC\"]\n";

    #[test]
    fn the_command_line_is_command_and_arguments() {
        let argv = argv_of(POD, "kube-apiserver").expect("a pod");
        assert_eq!(argv.value("anonymous-auth"), Some("false"));
        assert_eq!(argv.value("authorization-mode"), Some("Node,RBAC"));
        assert_eq!(containers(POD).expect("a pod")[0].image.as_deref(), Some("registry.k8s.io/kube-apiserver:v1.36.2"));
    }

    #[test]
    fn what_is_no_pod_is_a_fault() {
        for (name, text, want) in [
            ("empty", "", "empty"),
            ("another kind", &POD.replace("kind: Pod", "kind: List"), "incomplete"),
            ("another program", &POD.replace("- kube-apiserver\n", "- /bin/sh\n"), "incomplete"),
            ("no container", "kind: Pod\nspec:\n  containers: []\n", "incomplete"),
            ("no spec", "kind: Pod\n", "malformed"),
            ("broken", "kind: [", "malformed"),
        ] {
            assert_eq!(argv_of(text, "kube-apiserver").map_err(|fault| fault.kind()), Err(want), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_pod_or_a_fault(text in "(?s).{0,200}") {
            let _ = argv_of(&text, "kube-apiserver");
        }
    }
}
