//! From which image a container runs, as its runtime has it on disk or says it: not as we asked for it.

use serde::{Deserialize, Serialize};

use super::ReadFault;
use super::fault::json;

/// A store with a hundred images is about 200 KiB.
pub const LARGEST: usize = 4 * 1024 * 1024;

/// The image of a running container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningImage {
    /// The container's id.
    pub container: String,
    /// The image's id: the digest of its configuration, 64 hex digits.
    pub id: String,
    /// The names it has, `registry/repository:tag`.
    pub names: Vec<String>,
    /// The manifest digests it is known by, `sha256:…`.
    pub digests: Vec<String>,
}

#[derive(Deserialize)]
struct StoredContainer {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    image: String,
}

#[derive(Deserialize)]
struct StoredImage {
    id: String,
    digest: Option<String>,
    names: Option<Vec<String>>,
    #[serde(default, rename = "big-data-digests")]
    parts: std::collections::BTreeMap<String, String>,
}

/// From podman's store: `overlay-containers/containers.json` and `overlay-images/images.json` below
/// `/var/lib/containers/storage`. They are read because podman itself cannot run in the agent's sandbox.
///
/// # Errors
/// [`ReadFault`]; no container of that name, or an image that is not in the store, are [`ReadFault::Missing`].
pub fn from_podman(containers: &str, images: &str, name: &str) -> Result<RunningImage, ReadFault> {
    let containers: Vec<StoredContainer> =
        json(containers, LARGEST).map_err(|fault| fault.within("containers.json"))?;
    let images: Vec<StoredImage> = json(images, LARGEST).map_err(|fault| fault.within("images.json"))?;
    let named = |container: &StoredContainer| container.names.iter().any(|given| given == name);
    let container = containers.into_iter().find(named).ok_or(ReadFault::Missing("a container of that name"))?;
    let image = images.into_iter().find(|image| image.id == container.image);
    let image = image.ok_or(ReadFault::Missing("the image of the container"))?;
    // A multi-arch image is known by the digest of its list too; every manifest that is stored has a part named for it.
    let manifests = image.parts.into_iter().filter(|(part, _)| part == "manifest" || part.starts_with("manifest-"));
    let mut digests: Vec<String> = image.digest.into_iter().chain(manifests.map(|(_, digest)| digest)).collect();
    digests.sort_unstable();
    digests.dedup();
    Ok(RunningImage { container: container.id, id: image.id, names: image.names.unwrap_or_default(), digests })
}

#[derive(Deserialize)]
struct Inspected {
    #[serde(rename = "Id")]
    id: String,
    #[serde(rename = "Image")]
    image: String,
    #[serde(rename = "State")]
    state: State,
}

#[derive(Deserialize)]
struct State {
    #[serde(rename = "Running")]
    running: bool,
}

#[derive(Deserialize)]
struct InspectedImage {
    #[serde(rename = "Id")]
    id: String,
    #[serde(default, rename = "RepoTags")]
    tags: Option<Vec<String>>,
    #[serde(default, rename = "RepoDigests")]
    digests: Option<Vec<String>>,
}

/// The id of the image that docker's container runs from, by the body of `GET /containers/kubelet/json`. It is safe in a path.
///
/// # Errors
/// [`ReadFault`]; a container that does not run is [`ReadFault::Missing`].
pub fn image_in_docker(container: &str) -> Result<String, ReadFault> {
    let container: Inspected = json(container, LARGEST).map_err(|fault| fault.within("the container"))?;
    if !container.state.running {
        return Err(ReadFault::Missing("a running container of that name"));
    }
    let digest = container.image.strip_prefix("sha256:").unwrap_or(&container.image);
    if digest.is_empty() || digest.len() > 128 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ReadFault::Missing("the id of the container's image"));
    }
    Ok(container.image)
}

/// From docker's API: the bodies of `GET /containers/kubelet/json` and `GET /images/<id>/json`.
///
/// # Errors
/// [`ReadFault`]; an image other than the container's is [`ReadFault::Missing`].
pub fn from_docker(container: &str, image: &str) -> Result<RunningImage, ReadFault> {
    let container: Inspected = json(container, LARGEST).map_err(|fault| fault.within("the container"))?;
    let image: InspectedImage = json(image, LARGEST).map_err(|fault| fault.within("the image"))?;
    if container.image != image.id {
        return Err(ReadFault::Missing("the image of the container"));
    }
    let digests = image.digests.unwrap_or_default();
    let digests = digests.iter().filter_map(|name| name.split_once('@')).map(|(_, digest)| digest.to_owned());
    Ok(RunningImage {
        container: container.id,
        id: image.id.strip_prefix("sha256:").unwrap_or(&image.id).to_owned(),
        names: image.tags.unwrap_or_default(),
        digests: digests.collect(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONTAINERS: &str = r#"[{"id":"c0ffee","names":["kubelet"],"image":"ab12","layer":"l","metadata":"{\"image-name\":\"quay.io/poseidon/kubelet:v1.36.2\"}","created":"2026-06-01T00:00:00Z"},
        {"id":"d00d","names":["etcd"],"image":"cd34"}]"#;
    const IMAGES: &str = r#"[{"id":"ab12","digest":"sha256:aa","names":["quay.io/poseidon/kubelet:v1.36.2"],"big-data-digests":{"manifest":"sha256:aa","manifest-sha256:bb":"sha256:bb","sha256:ab12":"sha256:ab12"}},
        {"id":"cd34","digest":"sha256:cc","names":null}]"#;

    #[test]
    fn podmans_store_is_read() {
        let image = from_podman(CONTAINERS, IMAGES, "kubelet").expect("the kubelet");
        assert_eq!(image.names, ["quay.io/poseidon/kubelet:v1.36.2"]);
        assert_eq!(image.digests, ["sha256:aa", "sha256:bb"]);
        assert_eq!((image.id.as_str(), image.container.as_str()), ("ab12", "c0ffee"));
        assert_eq!(from_podman(CONTAINERS, IMAGES, "etcd").expect("etcd").names, [""; 0]);
        for (name, containers, images, wanted, kind) in [
            ("another name", CONTAINERS, IMAGES, "kube", "incomplete"),
            ("no image", CONTAINERS, "[]", "kubelet", "incomplete"),
            ("broken", "[", IMAGES, "kubelet", "cut-short"),
            ("another shape", CONTAINERS, "{}", "kubelet", "malformed"),
        ] {
            assert_eq!(from_podman(containers, images, wanted).map_err(|fault| fault.kind()), Err(kind), "{name}");
        }
    }

    #[test]
    fn docker_is_read() {
        let container = r#"{"Id":"c0ffee","Image":"sha256:ab12","State":{"Status":"running","Running":true},"Config":{"Image":"quay.io/poseidon/kubelet:v1.36.2"}}"#;
        let image = r#"{"Id":"sha256:ab12","RepoTags":["quay.io/poseidon/kubelet:v1.36.2"],"RepoDigests":["quay.io/poseidon/kubelet@sha256:aa"]}"#;
        let read = from_docker(container, image).expect("the kubelet");
        assert_eq!((read.id.as_str(), &read.digests[..]), ("ab12", &["sha256:aa".to_owned()][..]));
        let other = image.replace("ab12", "ab13");
        assert_eq!(from_docker(container, &other).map_err(|fault| fault.kind()), Err("incomplete"));
        for (name, text, want) in [
            ("running", container.to_owned(), Ok("sha256:ab12")),
            ("another path", container.replace("ab12", "../../secrets"), Err("incomplete")),
            ("no id", container.replace("sha256:ab12", ""), Err("incomplete")),
            ("stopped", container.replace("true", "false"), Err("incomplete")),
            ("no state", container.replace("State", "Status"), Err("malformed")),
            ("no such container", r#"{"message":"No such container: kubelet"}"#.to_owned(), Err("malformed")),
        ] {
            let read = image_in_docker(&text);
            assert_eq!(read.as_deref().map_err(|fault| fault.kind()), want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_a_fault(text in "(?s).{0,200}") {
            let _ = (from_podman(&text, IMAGES, "kubelet"), from_podman(CONTAINERS, &text, "kubelet"), from_docker(&text, &text), image_in_docker(&text));
        }
    }
}
