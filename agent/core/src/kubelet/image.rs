//! Which image was chosen, and why the ones before it were not.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Container, Runtime};
use crate::config::Image;
use crate::status::{ImageView, Reason};
use crate::time::Time;

/// The longest part of a runtime's words that is told on.
const WORDS_MAX: usize = 300;

/// How an image that the host did not have was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It is on the host now.
    Pulled,
    /// The runtime gave up; the end of what it said.
    Failed(String),
    /// The runtime was given up on, after so many seconds.
    TimedOut(u64),
}

/// What is told of an image that could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed(Reason);

impl Missed {
    /// `None` if the attempt was none in vain.
    pub fn of(image: &Image, attempt: &Attempt) -> Option<Self> {
        let (kind, why) = match attempt {
            Attempt::Pulled => return None,
            Attempt::Failed(words) => ("image-pull-failed", last_words(words)),
            Attempt::TimedOut(seconds) => ("image-pull-timed-out", format!("it was not here after {seconds} s")),
        };
        let message = format!("the image {image} could not be pulled: {why}");
        Some(Self(Reason::new(kind, message)))
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl From<Missed> for Reason {
    fn from(missed: Missed) -> Self {
        missed.0
    }
}

/// The last line that says something; the runtimes put the cause there.
fn last_words(words: &str) -> String {
    let line = words.lines().rev().map(str::trim).find(|line| !line.is_empty());
    match line {
        Some(line) => line.chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect(),
        None => "the runtime did not say why".to_owned(),
    }
}

/// None of the images could be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no kubelet image could be had: {}", .0.iter().map(|reason| reason.message.as_str()).collect::<Vec<_>>().join("; "))]
pub struct Unavailable(pub Vec<Reason>);

impl Unavailable {
    /// The word for machines.
    pub fn kind(&self) -> &'static str {
        "kubelet-image-unavailable"
    }
}

/// `/run/eyewall/kubelet.json`: what `eyewall kubelet` started last. It is written just before the container is run and
/// removed when another start begins, so that its absence means "still starting".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// `podman` or `docker`.
    pub runtime: String,
    /// The image.
    #[serde(flatten)]
    pub image: ImageView,
}

impl Started {
    /// The record of a start from `images[position]`.
    pub fn new(runtime: Runtime, image: &Image, passed_over: Vec<Missed>, now: Time) -> Self {
        let passed_over: Vec<Reason> = passed_over.into_iter().map(Reason::from).collect();
        Self {
            runtime: runtime.id.to_owned(),
            image: ImageView {
                reference: image.to_string(),
                position: u32::try_from(passed_over.len()).unwrap_or(u32::MAX),
                passed_over,
                chosen_at: now,
                digest: image.digest().map(str::to_owned),
            },
        }
    }
}

/// The image that the kubelet runs from: as it was chosen, with the digest that the runtime knows; of a container that nobody
/// here started, what the runtime says. `images` is the configured list.
pub fn image_in_use(started: Option<&Started>, container: Option<&Container>, images: &[String]) -> Option<ImageView> {
    match (started, container) {
        (Some(started), container) => {
            let same = container.filter(|container| container.reference == started.image.reference);
            let digest = started.image.digest.clone().or_else(|| same?.digest.clone());
            Some(ImageView { digest, ..started.image.clone() })
        }
        (None, Some(container)) => {
            let position = images.iter().position(|image| *image == container.reference);
            Some(ImageView {
                reference: container.reference.clone(),
                position: u32::try_from(position.unwrap_or_default()).unwrap_or_default(),
                passed_over: Vec::new(),
                chosen_at: container.created_at,
                digest: container.digest.clone(),
            })
        }
        (None, None) => None,
    }
}

/// What to say of a kubelet that runs from an image which the configuration no longer names, digest included: that the next
/// start takes another. `None` while it is one of `images`.
pub fn outdated(started: &Started, images: &[String]) -> Option<String> {
    let running = &started.image.reference;
    let next = images.first()?;
    let is_wanted = images.iter().any(|image| image == running);
    (!is_wanted).then(|| format!("it runs from {running}, which is no longer configured: its next start takes {next}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::PODMAN;

    fn image(reference: &str) -> Image {
        Image::parse(reference).expect("an image")
    }

    #[test]
    fn a_miss_says_what_the_runtime_said_last() {
        let long = "x".repeat(1_000);
        for (name, attempt, want) in [
            ("pulled", Attempt::Pulled, None),
            (
                "failed",
                Attempt::Failed("Trying to pull …\nError: manifest unknown\n\n".to_owned()),
                Some(("image-pull-failed", "pulled: Error: manifest unknown")),
            ),
            ("silent", Attempt::Failed(" \n".to_owned()), Some(("image-pull-failed", "did not say why"))),
            ("escapes", Attempt::Failed("\u{1b}[31mno".to_owned()), Some(("image-pull-failed", "pulled: [31mno"))),
            ("long", Attempt::Failed(long), Some(("image-pull-failed", "xxx"))),
            ("slow", Attempt::TimedOut(600), Some(("image-pull-timed-out", "600 s"))),
        ] {
            let got = Missed::of(&image("quay.io/a/b:1"), &attempt).map(Reason::from);
            match (&got, want) {
                (None, None) => {}
                (Some(reason), Some((kind, part))) => {
                    assert_eq!(reason.kind, kind, "{name}");
                    assert!(reason.message.contains(part), "{name}: {}", reason.message);
                    assert!(reason.message.contains("quay.io/a/b:1"), "{name}: {}", reason.message);
                    assert!(reason.message.len() < 400, "{name}");
                }
                _ => panic!("{name}: {got:?}, wanted {want:?}"),
            }
        }
    }

    #[test]
    fn the_record_is_an_image_view_with_the_runtime() {
        let missed = Missed::of(&image("quay.io/a/b:1"), &Attempt::TimedOut(9)).expect("a miss");
        let started = Started::new(PODMAN, &image("docker.io/a/b:1"), vec![missed], Time::from_unix(60));
        let json = serde_json::to_string(&started).expect("plain data");
        assert_eq!(
            json,
            r#"{"runtime":"podman","reference":"docker.io/a/b:1","position":1,"passed_over":[{"kind":"image-pull-timed-out","message":"the image quay.io/a/b:1 could not be pulled: it was not here after 9 s"}],"chosen_at":"1970-01-01T00:01:00Z"}"#
        );
        let view: ImageView = serde_json::from_str(&json).expect("an ImageView too");
        assert_eq!(view, started.image);
        let back: Started = serde_json::from_str(&json).expect("what was written");
        assert_eq!(back, started);
    }

    #[test]
    fn the_image_is_the_chosen_one_or_the_containers() {
        let started = Started::new(PODMAN, &image("quay.io/a/b:1"), Vec::new(), Time::from_unix(60));
        let container = Container {
            runtime: PODMAN,
            id: "bb".to_owned(),
            reference: "quay.io/a/b:1".to_owned(),
            digest: Some("sha256:1".to_owned()),
            created_at: Time::from_unix(61),
            arguments: None,
        };
        let other = Container { reference: "quay.io/a/b:2".to_owned(), ..container.clone() };
        let images = ["quay.io/a/b:2".to_owned(), "quay.io/a/b:1".to_owned()];
        for (name, started, container, want) in [
            ("ours", Some(&started), Some(&container), Some(("quay.io/a/b:1", 0, Some("sha256:1"), 60))),
            ("ours, of which no runtime knows", Some(&started), None, Some(("quay.io/a/b:1", 0, None, 60))),
            ("ours, and another is left over", Some(&started), Some(&other), Some(("quay.io/a/b:1", 0, None, 60))),
            ("another's", None, Some(&container), Some(("quay.io/a/b:1", 1, Some("sha256:1"), 61))),
            ("none", None, None, None),
        ] {
            let got = image_in_use(started, container, &images);
            let got = got
                .as_ref()
                .map(|got| (got.reference.as_str(), got.position, got.digest.as_deref(), got.chosen_at.unix()));
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn an_image_that_is_no_longer_wanted_is_told() {
        let started = Started::new(PODMAN, &image("quay.io/a/b:1"), Vec::new(), Time::from_unix(0));
        for (name, images, told) in [
            ("the first", &["quay.io/a/b:1"][..], false),
            ("a fallback", &["quay.io/a/b:2", "quay.io/a/b:1"], false),
            ("another tag", &["quay.io/a/b:2"], true),
            ("another registry", &["docker.io/a/b:1"], true),
            ("nothing is known", &[], false),
        ] {
            let images: Vec<String> = images.iter().map(|&image| image.to_owned()).collect();
            let got = outdated(&started, &images);
            assert_eq!(got.is_some(), told, "{name}: {got:?}");
            assert!(got.is_none_or(|words| words.contains(&images[0]) && words.contains("quay.io/a/b:1")), "{name}");
        }
    }
}
