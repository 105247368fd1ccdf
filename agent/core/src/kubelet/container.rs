//! The kubelet's container as the runtime's own files tell it: which image, which digest, which flags. It needs neither the
//! runtime's program nor its socket, and knows a container that somebody else started, as Typhoon's unit does.

use serde_json::Value;

use super::{CONTAINER, DOCKER, PODMAN, Runtime};
use crate::time::Time;

/// The container that is called `kubelet`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Who runs it.
    pub runtime: Runtime,
    /// The runtime's id.
    pub id: String,
    /// The image as it was named.
    pub reference: String,
    /// The digest of the image's manifest, `sha256:<hex>`, where the runtime knows one.
    pub digest: Option<String>,
    /// When it was made.
    pub created_at: Time,
    /// The kubelet's flags, if they could be read.
    pub arguments: Option<Vec<String>>,
}

impl Container {
    /// Does its kubelet bootstrap and renew for itself? Only then is it given a bootstrap kubeconfig.
    pub fn renews_itself(&self) -> bool {
        let flags = self.arguments.iter().flatten();
        flags.into_iter().any(|flag| flag.starts_with("--bootstrap-kubeconfig"))
    }
}

/// podman's, from `containers.json` and `images.json` of containers/storage. Its flags are elsewhere: see [`arguments_of_oci`].
/// `None` if there is no container of ours.
pub fn of_podman(containers: &str, images: &str) -> Option<Container> {
    let containers: Vec<Value> = serde_json::from_str(containers).ok()?;
    let found = containers.iter().find(|container| has_name(container, CONTAINER))?;
    let metadata: Value = serde_json::from_str(found["metadata"].as_str().unwrap_or_default()).unwrap_or_default();
    let image = text(&found["image"]);
    let images: Vec<Value> = serde_json::from_str(images).unwrap_or_default();
    let stored = images.iter().find(|stored| image.is_some() && text(&stored["id"]) == image);
    let digest = stored.and_then(|stored| text(&stored["digest"]));
    let name = text(&metadata["image-name"]).or_else(|| text(&stored?["names"][0]));
    Some(Container {
        runtime: PODMAN,
        id: text(&found["id"])?,
        reference: name.or(image)?,
        digest: digest.filter(|digest| is_digest(digest)),
        created_at: time(&found["created"])?,
        arguments: None,
    })
}

/// The kubelet's flags from the OCI `config.json` of a podman container; what stands before them is the program.
pub fn arguments_of_oci(config: &str) -> Option<Vec<String>> {
    let config: Value = serde_json::from_str(config).ok()?;
    let words = words(&config["process"]["args"])?;
    Some(words.into_iter().skip(1).collect())
}

/// docker's, from the `config.v2.json` of a container and `repositories.json` of the images. `None` if it is another's.
pub fn of_docker(config: &str, repositories: &str) -> Option<Container> {
    let config: Value = serde_json::from_str(config).ok()?;
    if config["Name"].as_str()?.trim_start_matches('/') != CONTAINER {
        return None;
    }
    let image = text(&config["Image"]);
    let repositories: Value = serde_json::from_str(repositories).unwrap_or_default();
    let names =
        repositories["Repositories"].as_object().into_iter().flatten().filter_map(|(_, names)| names.as_object());
    let digest = names.flatten().find_map(|(name, id)| {
        let (_, digest) = name.split_once('@')?;
        (image.as_deref() == id.as_str() && is_digest(digest)).then(|| digest.to_owned())
    });
    Some(Container {
        runtime: DOCKER,
        id: text(&config["ID"])?,
        reference: text(&config["Config"]["Image"]).or(image)?,
        digest,
        created_at: time(&config["Created"])?,
        arguments: words(&config["Args"]),
    })
}

fn has_name(container: &Value, name: &str) -> bool {
    container["names"].as_array().is_some_and(|names| names.iter().any(|own| own == name))
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn words(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|word| word.as_str().map(str::to_owned)).collect()
}

fn time(value: &Value) -> Option<Time> {
    Time::parse(value.as_str()?).ok()
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    algorithm == "sha256" && hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b";

    fn podman() -> (String, String) {
        let metadata =
            r#"{\"image-name\":\"quay.io/poseidon/kubelet:v1.36.2\",\"image-id\":\"4f53\",\"name\":\"kubelet\"}"#;
        let containers = format!(
            r#"[{{"id":"aa","names":["other"],"image":"11","created":"2026-01-01T00:00:00Z"}},
               {{"id":"bb","names":["kubelet"],"image":"4f53","metadata":"{metadata}","created":"2026-11-24T02:15:08.123456789Z"}}]"#
        );
        let images = format!(
            r#"[{{"id":"11","digest":"sha256:00"}},{{"id":"4f53","digest":"{DIGEST}","names":["quay.io/poseidon/kubelet:v1.36.2"]}}]"#
        );
        (containers, images)
    }

    fn docker() -> (String, String) {
        let config = r#"{"ID":"cc","Created":"2026-11-24T02:15:08.5Z","Path":"/usr/local/bin/kubelet",
            "Args":["--bootstrap-kubeconfig=/etc/kubernetes/kubeconfig","--v=2"],"Image":"sha256:4f53",
            "Config":{"Image":"quay.io/poseidon/kubelet:v1.36.2"},"Name":"/kubelet"}"#;
        let repositories = format!(
            r#"{{"Repositories":{{"quay.io/poseidon/kubelet":{{"quay.io/poseidon/kubelet:v1.36.2":"sha256:4f53",
               "quay.io/poseidon/kubelet@{DIGEST}":"sha256:4f53"}},"busybox":{{"busybox@{DIGEST}":"sha256:99"}}}}}}"#
        );
        (config.to_owned(), repositories)
    }

    #[test]
    fn both_runtimes_tell_the_image_and_its_digest() {
        let (containers, images) = podman();
        let (config, repositories) = docker();
        let of_podman = of_podman(&containers, &images).expect("podman's");
        let of_docker = of_docker(&config, &repositories).expect("docker's");
        assert_eq!((of_podman.id.as_str(), of_docker.id.as_str()), ("bb", "cc"));
        for (name, container) in [("podman", &of_podman), ("docker", &of_docker)] {
            assert_eq!(container.runtime.id, name);
            assert_eq!(container.reference, "quay.io/poseidon/kubelet:v1.36.2", "{name}");
            assert_eq!(container.digest.as_deref(), Some(DIGEST), "{name}");
            assert_eq!(container.created_at.to_string(), "2026-11-24T02:15:08Z", "{name}");
        }
        assert!(of_docker.renews_itself() && !of_podman.renews_itself());
        let flags = arguments_of_oci(r#"{"process":{"args":["/usr/local/bin/kubelet","--bootstrap-kubeconfig=/a"]}}"#);
        assert!(Container { arguments: flags, ..of_podman }.renews_itself());
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let (containers, images) = podman();
        let (config, repositories) = docker();
        let bare = containers.replace("image-name", "nothing");
        for (name, got, reference, has_digest) in [
            ("no list of images", of_podman(&containers, ""), Some("quay.io/poseidon/kubelet:v1.36.2"), false),
            ("no name but the image's own", of_podman(&bare, &images), Some("quay.io/poseidon/kubelet:v1.36.2"), true),
            ("no name at all", of_podman(&bare, ""), Some("4f53"), false),
            ("another container", of_podman(&containers.replace("\"kubelet\"", "\"etcd\""), &images), None, false),
            ("no JSON", of_podman("", &images), None, false),
            ("no repositories", of_docker(&config, ""), Some("quay.io/poseidon/kubelet:v1.36.2"), false),
            (
                "loaded from a file",
                of_docker(&config, &repositories.replace('@', "#")),
                Some("quay.io/poseidon/kubelet:v1.36.2"),
                false,
            ),
            (
                "a digest that is none",
                of_podman(&containers, &images.replace("3a7b", "../.")),
                Some("quay.io/poseidon/kubelet:v1.36.2"),
                false,
            ),
            (
                "another of docker's",
                of_docker(&config.replace("\"/kubelet\"", "\"/etcd\""), &repositories),
                None,
                false,
            ),
            ("half a file", of_docker(&config[..40], &repositories), None, false),
        ] {
            assert_eq!(got.as_ref().map(|container| container.reference.as_str()), reference, "{name}");
            assert_eq!(got.is_some_and(|container| container.digest.is_some()), has_digest, "{name}");
        }
        assert_eq!(arguments_of_oci("{}"), None);
    }
}
