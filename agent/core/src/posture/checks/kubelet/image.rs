//! From which image the kubelet runs: what was asked for, what was got, and what is in it.

use super::BASE;
use crate::config::Image;
use crate::kubelet::Started;
use crate::posture::claim::{KUBELET_IMAGE, UPSTREAM_KUBELET};
use crate::posture::read::cluster::NodeView;
use crate::posture::read::container::RunningImage;
use crate::posture::read::probe::Binary;
use crate::posture::units::{self, UNITS};
use crate::posture::{Accepts, Check, Grade, Judged, Seen, Severity, Source, Unseen, Worth, also, needs};

use super::node::NODE;

/// What `eyewall kubelet` started last, a [`Started`].
pub const STARTED: Source = Source::text("file:/run/eyewall/kubelet.json");
/// [`RunningImage`] of the kubelet's container, from the runtime's own store.
pub const RUNNING: Source = Source::record("node:kubelet-image");
/// [`Binary`]: the kubelet's program in that image.
pub const BINARY: Source = Source::record("node:kubelet-binary");

/// Where Typhoon publishes its kubelet.
const OFFICIAL: &str = "quay.io/poseidon/kubelet";
/// Where it is looked for when Quay is down.
const FALLBACK: &str = "docker.io/psdn/kubelet";

/// The family's part.
pub const CHECKS: &[Check] = &[
    Check {
        id: "kubelet-image-reference",
        title: "The kubelet was started from a known repository, by a tag that is not meant to move",
        claim: &KUBELET_IMAGE,
        reads: &[needs(&STARTED).or_absent(), also(&UNITS)],
        judge: reference,
        worth: Worth::Proves("The image that was started is Typhoon's, or declared, and its tag names a build."),
        not: "That the registry serves the same image to every node: only a digest does that.",
        expects: Accepts::Names("repositories beyond Typhoon's two, like registry.example.com/kubelet"),
        ..BASE
    },
    Check {
        id: "kubelet-image-running",
        title: "The kubelet runs from the image that is wanted",
        claim: &KUBELET_IMAGE,
        reads: &[needs(&STARTED).or_absent(), also(&UNITS), needs(&RUNNING)],
        judge: running,
        worth: Worth::Proves(
            "The container runs from an image that its runtime knows by the wanted digest, or by the wanted name where no digest is given.",
        ),
        not: "What is in the image: see kubelet-version and kubelet-binary.",
        ..BASE
    },
    Check {
        id: "kubelet-version",
        title: "The kubelet that runs is of the version that its image is named for",
        claim: &UPSTREAM_KUBELET,
        reads: &[needs(&STARTED).or_absent(), also(&UNITS), needs(&NODE)],
        judge: version,
        worth: Worth::Proves("The running kubelet tells the API server the version that is wanted."),
        not: "That it is the upstream build of that version: a changed one says the same.",
        expects: Accepts::Text("the version, like \"v1.36.2\""),
        ..BASE
    },
    Check {
        id: "kubelet-binary",
        title: "The kubelet's program is the one whose checksum is declared",
        claim: &UPSTREAM_KUBELET,
        severity: Severity::High,
        reads: &[needs(&BINARY)],
        judge: binary,
        worth: Worth::Proves(
            "The program in the running image has the SHA-256 that Kubernetes publishes with the release (dl.k8s.io, kubelet.sha256).",
        ),
        not: "The rest of the image.",
        expects: Accepts::Text("the SHA-256 of upstream's kubelet for this version and architecture, 64 hex digits"),
        ..BASE
    },
];

/// What the kubelet was started from.
struct Begun {
    image: Image,
    /// Its place in `kubelet.images`, by the record of the start.
    position: u32,
    /// Why the images before it were not used.
    passed_over: Vec<String>,
}

/// By the record of its start; where Typhoon's own unit runs the kubelet, by that unit (`Environment=KUBELET_IMAGE=`).
fn started(seen: &Seen<'_>) -> Result<Begun, Unseen> {
    let item = seen.one(&STARTED)?;
    let (reference, position, passed_over) = match item.text() {
        Ok(text) => {
            let Started { image, .. } = serde_json::from_str(text)
                .map_err(|_| item.malformed("It is no record of a start by `eyewall kubelet`."))?;
            (image.reference, image.position, image.passed_over.into_iter().map(|reason| reason.message).collect())
        }
        Err(missing @ Unseen::Missing { .. }) => (by_unit(seen).ok_or(missing)?, 0, Vec::new()),
        Err(unseen) => return Err(unseen),
    };
    let image = Image::parse(&reference).map_err(|why| item.malformed(format!("The kubelet's image {why}.")))?;
    Ok(Begun { image, position, passed_over })
}

fn by_unit(seen: &Seen<'_>) -> Option<String> {
    let units = units::loaded(seen).ok()?;
    let unit = units.get(&seen.expect.config.kubelet.unit)?;
    unit.environment.iter().filter_map(|set| set.strip_prefix("KUBELET_IMAGE=")).next_back().map(str::to_owned)
}

/// `registry/repository`, and the tag.
fn parts(image: &Image) -> (&str, Option<&str>) {
    let name = image.as_str().split('@').next().unwrap_or_default();
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (name, None),
    }
}

/// The two styles of the page: `v1.18.4`, `v1.18.4-amd64`, `v1.18.4-2-g23228e6-arm64` from Typhoon, `build-SHA` and `build-TAG` from the registries'
/// own builds. Any other tag is one that moves (`latest`, `v1.36`), or nobody's.
fn names_a_build(tag: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    match tag.strip_prefix("build-") {
        Some(build) => is_word(build),
        None => version_of(tag).is_some(),
    }
}

/// `v1.36.2` of `v1.36.2-amd64`.
fn version_of(tag: &str) -> Option<&str> {
    let (version, suffix) = tag.split_once('-').map_or((tag, None), |(version, suffix)| (version, Some(suffix)));
    let numbers: Vec<&str> = version.strip_prefix('v')?.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.len() <= 4 && part.bytes().all(|b| b.is_ascii_digit());
    let is_version = numbers.len() == 3 && numbers.iter().all(is_number);
    (is_version && suffix.is_none_or(|suffix| !suffix.is_empty())).then_some(version)
}

fn reference(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let Begun { image, position, passed_over } = started(seen)?;
    let (repository, tag) = parts(&image);
    let known = repository == OFFICIAL || repository == FALLBACK || seen.allowed().any(|allowed| allowed == repository);
    let judged = if !known {
        Judged::fail(
            "another-repository",
            format!(
                "The kubelet was started from {repository}, which is neither Typhoon's nor declared: declare it with [posture] expect if it is meant."
            ),
        )
    } else if tag.is_some_and(|tag| !names_a_build(tag)) {
        Judged::fail(
            "floating-tag",
            format!(
                "The tag of {image} is none that names a build: it may be another image every day. Name a version, or a digest alone."
            ),
        )
    } else if image.digest().is_some() {
        let kind = if repository == FALLBACK { "fallback-pinned" } else { "pinned" };
        Judged::pass(Grade::Configured, kind, format!("The kubelet was started from {image}."))
    } else {
        let kind = if repository == FALLBACK { "fallback" } else { "by-tag" };
        let because = "the registry has not moved the tag: only a digest (@sha256:…) in kubelet.images holds an image";
        Judged::pass(
            Grade::HoldsOnlyBecause(because.to_owned()),
            kind,
            format!("The kubelet was started from {image}."),
        )
    };
    let judged = judged.fact("image", image.as_str()).fact("position", position.to_string());
    Ok(judged.facts("passed-over", passed_over))
}

/// docker leaves out the registry of its own hub, podman does not.
fn same_name(left: &str, right: &str) -> bool {
    fn short(name: &str) -> &str {
        name.strip_prefix("docker.io/").map_or(name, |name| name.strip_prefix("library/").unwrap_or(name))
    }
    short(left) == short(right)
}

fn running(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let image = started(seen)?.image;
    let running: RunningImage = seen.record(&RUNNING)?;
    let name = image.as_str().split('@').next().unwrap_or_default();
    let wanted = &seen.expect.config.kubelet.images;
    let judged = if !wanted.iter().any(|wanted| wanted == image.as_str()) {
        Judged::fail(
            "outdated",
            format!(
                "The kubelet was started from {image}, which kubelet.images does not name: restart the kubelet, or name it."
            ),
        )
    } else if let Some(digest) = image.digest() {
        if running.digests.iter().any(|known| known == digest) {
            Judged::pass(
                Grade::ProvedByBehaviour,
                "by-digest",
                "The container runs from the image with the wanted digest.",
            )
        } else {
            Judged::fail(
                "another-digest",
                format!(
                    "The container runs from an image that is not {digest}: restart the kubelet, and find out who changed it."
                ),
            )
        }
    } else if running.names.iter().any(|known| same_name(known, name)) {
        let because = "the registry has not moved the tag, and nobody gave this name to another image on this host";
        Judged::pass(
            Grade::HoldsOnlyBecause(because.to_owned()),
            "by-name",
            "The container runs from the image with the wanted name.",
        )
    } else {
        Judged::fail(
            "another-image",
            format!(
                "The container runs from an image that is not called {name}: restart the kubelet, and find out who changed it."
            ),
        )
    };
    Ok(judged
        .fact("wanted", image.as_str())
        .fact("id", &running.id)
        .facts("name", &running.names)
        .facts("digest", &running.digests))
}

fn version(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let image = started(seen)?.image;
    let node = seen.one(&NODE)?;
    let view: NodeView = node.record()?;
    let Some(version) = view.kubelet_version.as_deref() else {
        return Err(node.malformed("It does not say the kubelet's version: has the kubelet registered?"));
    };
    let Some(want) = seen.expected().or_else(|| parts(&image).1.and_then(version_of)) else {
        return Ok(Judged::unknown(
            "nothing-to-compare",
            format!("{image} does not name a version: declare it with [posture] expect."),
        )
        .fact("kubelet", version));
    };
    let judged = if version == want {
        Judged::pass(Grade::ProvedByBehaviour, "as-named", format!("The running kubelet is {version}."))
    } else {
        Judged::fail(
            "another-version",
            format!(
                "The running kubelet says that it is {version}, and its image is named for {want}: restart the kubelet, and look at the image."
            ),
        )
    };
    Ok(judged.fact("kubelet", version).fact("wanted", want))
}

fn binary(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let Some(want) = seen.expected() else {
        return Ok(Judged::not_applicable(
            "nothing-declared",
            "No checksum is declared: set [posture] expect, kubelet-binary to the value of dl.k8s.io's kubelet.sha256.",
        ));
    };
    let item = seen.one(&BINARY)?;
    let is_digest = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let got = item.record::<Binary>()?.sha256;
    if !is_digest(&got) {
        return Err(item.malformed("It is no SHA-256."));
    }
    let judged = if !is_digest(want) {
        Judged::unknown("bad-checksum", "What is declared is no SHA-256: write 64 hex digits.")
    } else if got.eq_ignore_ascii_case(want) {
        Judged::pass(Grade::ProvedByBehaviour, "upstreams", "The kubelet's program has the declared checksum.")
    } else {
        Judged::fail(
            "another-checksum",
            "The kubelet's program is not the declared one: look at the image, and at who made it.",
        )
    };
    Ok(judged.fact("sha256", got).fact("wanted", want))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_that_name_a_build_are_told_from_those_that_move() {
        for (tag, build, version) in [
            ("v1.36.2", true, Some("v1.36.2")),
            ("v1.36.2-amd64", true, Some("v1.36.2")),
            ("v1.18.4-2-g23228e6-arm64", true, Some("v1.18.4")),
            ("build-23228e6", true, None),
            ("build-v1.18.4", true, None),
            ("latest", false, None),
            ("v1.36", false, None),
            ("v1.36.x", false, None),
            ("v1.36.2-", false, None),
            ("1.36.2", false, None),
            ("build-", false, None),
            ("v1.36.2.1", false, None),
            ("v..", false, None),
        ] {
            assert_eq!((names_a_build(tag), version_of(tag)), (build, version), "{tag}");
        }
    }

    #[test]
    fn the_hubs_own_names_are_short_for_docker() {
        for (left, right, want) in [
            ("quay.io/poseidon/kubelet:v1", "quay.io/poseidon/kubelet:v1", true),
            ("psdn/kubelet:v1", "docker.io/psdn/kubelet:v1", true),
            ("docker.io/library/kubelet:v1", "kubelet:v1", true),
            ("quay.io/psdn/kubelet:v1", "psdn/kubelet:v1", false),
        ] {
            assert_eq!(same_name(left, right), want, "{left} {right}");
        }
    }
}
