//! A container image as it is named: `registry/repository:tag@sha256:…`.
//!
//! The grammar is that of `distribution/reference`, less what podman and docker read differently: a name
//! without a registry, which is Docker Hub to one and a list of search registries to the other.

use std::fmt;

/// A checked image name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Image {
    reference: String,
    digest: Option<String>,
}

impl Image {
    /// Reads an image name.
    ///
    /// # Errors
    /// What keeps it from being one, to be said after "the image `…`".
    pub fn parse(reference: &str) -> Result<Self, &'static str> {
        let (name, digest) = match reference.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (reference, None),
        };
        if let Some(digest) = digest {
            let hex = digest.strip_prefix("sha256:").ok_or("has a digest that is not sha256:…")?;
            if hex.len() != 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                return Err("has a digest that is not sha256: and 64 lower-case hex digits");
            }
        }
        // A ':' before the last '/' belongs to the registry's port.
        let (path, tag) = match name.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (name, None),
        };
        let (registry, repository) = path
            .split_once('/')
            .filter(|(registry, _)| is_registry(registry))
            .ok_or("does not name its registry (quay.io/…, docker.io/…)")?;
        if !registry.split(':').next().is_some_and(is_host) {
            return Err("names a registry that cannot be a host");
        }
        if repository.is_empty() || !repository.split('/').all(is_component) {
            return Err("has a repository that is not lower-case letters, digits and . _ - /");
        }
        match tag {
            Some(tag) if !is_tag(tag) => {
                return Err("has a tag that is not up to 128 letters, digits and . _ -");
            }
            None if digest.is_none() => {
                return Err("has neither a tag nor a digest: it would be another image every day");
            }
            _ => {}
        }
        Ok(Self { reference: reference.to_owned(), digest: digest.map(str::to_owned) })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.reference
    }

    /// `sha256:…`, if it is pinned.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reference)
    }
}

/// The rule by which every client tells a registry from the first part of a repository.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

fn is_host(host: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    host.split('.')
        .all(|label| !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-'))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, near enough: it begins and ends with a letter or digit.
fn is_component(component: &str) -> bool {
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
        && bytes.iter().all(|b| edge(b) || matches!(b, b'.' | b'_' | b'-'))
}

fn is_tag(tag: &str) -> bool {
    let bytes = tag.as_bytes();
    let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    bytes.len() <= 128 && bytes.first().is_some_and(word) && bytes.iter().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_or_refused_with_the_reason() {
        let hex = "0123456789abcdef".repeat(4);
        let pinned = format!("quay.io/poseidon/kubelet:v1.36.2@sha256:{hex}");
        let digest_only = format!("localhost:5000/kubelet@sha256:{hex}");
        let short = format!("quay.io/poseidon/kubelet@sha256:{}", &hex[1..]);
        let upper = format!("quay.io/poseidon/kubelet@sha256:{}", hex.to_uppercase());
        for (reference, want) in [
            ("quay.io/poseidon/kubelet:v1.36.2", Ok(false)),
            (pinned.as_str(), Ok(true)),
            (digest_only.as_str(), Ok(true)),
            ("localhost/kubelet:test", Ok(false)),
            ("registry.example.com:5000/a/b__c:1.0-rc.1_x", Ok(false)),
            ("", Err("registry")),
            ("kubelet:v1", Err("registry")),
            ("poseidon/kubelet:v1", Err("registry")),
            ("quay.io/poseidon/kubelet", Err("neither a tag nor a digest")),
            ("quay.io:443/poseidon/kubelet", Err("neither a tag nor a digest")),
            ("quay.io/poseidon/kubelet:", Err("has a tag")),
            ("quay.io/poseidon/kubelet:v1 ", Err("has a tag")),
            ("quay.io/Poseidon/kubelet:v1", Err("has a repository")),
            ("quay.io/poseidon//kubelet:v1", Err("has a repository")),
            ("quay.io/:v1", Err("has a repository")),
            ("--privileged.x/y:v1", Err("cannot be a host")),
            ("quay..io/y:v1", Err("cannot be a host")),
            (short.as_str(), Err("64 lower-case hex")),
            (upper.as_str(), Err("64 lower-case hex")),
            ("quay.io/poseidon/kubelet@md5:00", Err("not sha256")),
        ] {
            match (Image::parse(reference), want) {
                (Ok(image), Ok(pinned)) => {
                    assert_eq!(image.digest().is_some(), pinned, "{reference}");
                    assert_eq!(image.as_str(), reference);
                }
                (Err(why), Err(part)) => assert!(why.contains(part), "{reference:?}: {why}"),
                (got, want) => panic!("{reference:?}: {got:?}, wanted {want:?}"),
            }
        }
    }
}
