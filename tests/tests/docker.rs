//! From which image the kubelet runs where docker runs it: the real binary and dockerd's API, in a `/run` of its own. Needs root.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::container::docker::{Container, Docker, Image, State};
use tests::namespace::{alone, lay_over};
use tests::node::Node;
use tokio::time::Instant;

const TAG: &str = "quay.io/poseidon/kubelet:v1.36.2";
const SECRET: &str = "hunter2hunter2";

fn id(digit: &str) -> String {
    digit.repeat(64)
}

fn by_digest(digit: &str) -> String {
    format!("{TAG}@sha256:{}", id(digit))
}

/// docker with a kubelet from an image that it knows by these names and this digest.
fn running(tag: &str, digest: &str) -> State {
    let image = Image {
        id: id("c"),
        tags: vec![tag.to_owned()],
        digests: vec![format!("quay.io/poseidon/kubelet@sha256:{}", id(digest))],
    };
    let container = |name: &str, image: String| Container {
        name: name.to_owned(),
        running: true,
        image,
        environment: vec![format!("PASSWORD={SECRET}")],
    };
    State {
        containers: vec![container("kubelet", id("c")), container("etcd", id("d"))],
        images: vec![image, Image { id: id("d"), tags: vec!["other:latest".to_owned()], digests: Vec::new() }],
        ..State::default()
    }
}

/// How dockerd is there.
#[derive(Clone, Copy)]
enum There {
    Runs,
    /// Its socket is systemd's, and nobody has used it.
    SocketOnly,
    /// A process without a socket.
    ProcessOnly,
}

struct Case {
    name: &'static str,
    state: State,
    there: There,
    /// The image that the kubelet was started from, and that is configured.
    started: String,
    verdict: &'static str,
    kind: &'static str,
    asks: usize,
}

/// The verdict, how many questions there were, and how long all of it took.
fn judge(case: &Case) -> Result<(Value, Vec<String>, Duration)> {
    let (state, there, started) = (case.state.clone(), case.there, case.started.clone());
    alone(async move || {
        let mut node = Node::new("node-a")?;
        node.configure(&format!("[kubelet]\nimages = [{started:?}]\n"))?;
        let run = node.path("run-of-host");
        std::fs::create_dir_all(run.join("eyewall"))?;
        let record = json!({
            "runtime": "docker", "reference": started, "position": 0, "passed_over": [], "chosen_at": "2026-07-14T06:01:12Z",
        });
        std::fs::write(run.join("eyewall/kubelet.json"), record.to_string())?;
        lay_over(&run, Path::new("/run"))?;
        let (socket, elsewhere) = (Path::new("/run/docker.sock"), node.path("elsewhere.sock"));
        let docker = match there {
            There::Runs => Docker::start(socket, &node.path(""), state)?,
            There::SocketOnly => Docker::listen(socket, state)?,
            There::ProcessOnly => Docker::start(&elsewhere, &node.path(""), state)?,
        };
        if matches!(there, There::SocketOnly) {
            // The machine of whoever runs this may have a docker of its own.
            node.wrapper(&["unshare", "--pid", "--fork", "--mount-proc"]);
        }
        let start = Instant::now();
        let output = node.command(&["check", "--json", "--no-probes"])?.output().await?;
        let took = start.elapsed();
        let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        ensure!(!told.contains(SECRET), "the container's environment is told: {told}");
        let bundle = node.path("evidence");
        let words = ["evidence", "--no-probes", "--output", bundle.to_str().context("a path")?];
        ensure!(node.command(&words)?.output().await?.status.success(), "a bundle is made");
        let kept = std::fs::read_to_string(bundle.join("node.json"))?;
        ensure!(!kept.contains(SECRET), "the container's environment is kept: {kept}");
        let report: Value = serde_json::from_slice(&output.stdout)?;
        let findings = report["findings"].as_array().context("findings")?;
        let finding = findings.iter().find(|finding| finding["check"] == "kubelet-image-running").context("it")?;
        Ok((finding.clone(), docker.asked(), took))
    })
}

#[test]
fn the_running_image_is_known_where_docker_runs_it() -> Result<()> {
    let good = || running(TAG, "a");
    let case = |name, state, started: &str, verdict, kind, asks| Case {
        name,
        state,
        there: There::Runs,
        started: started.to_owned(),
        verdict,
        kind,
        asks,
    };
    let says = |status, body: &[u8]| State { says: Some((status, body.to_vec())), ..State::default() };
    let mut stopped = good();
    stopped.containers[0].running = false;
    let mut renamed = good();
    renamed.containers[0].name = "kubelet-old".to_owned();
    let mut no_image = good();
    no_image.images.clear();
    let hub = "docker.io/psdn/kubelet:v1.36.2";
    let cases = [
        case("by its name", good(), TAG, "pass", "by-name", 2),
        case("of docker's own hub", running("psdn/kubelet:v1.36.2", "a"), hub, "pass", "by-name", 2),
        case("by its digest", good(), &by_digest("a"), "pass", "by-digest", 2),
        case("another digest", good(), &by_digest("b"), "fail", "another-digest", 2),
        case("another name", running("localhost/kubelet:patched", "a"), TAG, "fail", "another-image", 2),
        case("the container has ended", stopped, TAG, "unknown", "missing", 1),
        case("no container of that name", renamed, TAG, "unknown", "missing", 1),
        case("the image was removed", no_image, TAG, "unknown", "missing", 2),
        case("silence", State { hangs: true, ..good() }, TAG, "unknown", "not-readable", 1),
        case("no JSON", says(200, b"<html>"), TAG, "unknown", "not-readable", 1),
        case("an error", says(500, b"{\"message\":\"hunter2hunter2\"}"), TAG, "unknown", "not-readable", 1),
        case("huge", says(200, &vec![b' '; 2 << 20]), TAG, "unknown", "too-large", 1),
        Case { there: There::SocketOnly, ..case("nobody has started docker", good(), TAG, "unknown", "missing", 0) },
        Case {
            there: There::ProcessOnly,
            ..case("docker listens elsewhere", good(), TAG, "unknown", "not-readable", 0)
        },
    ];
    for case in cases {
        let name = case.name;
        let (finding, asked, took) = judge(&case).context(name)?;
        let got = (finding["verdict"].as_str(), finding["reason"]["kind"].as_str());
        ensure!(got == (Some(case.verdict), Some(case.kind)), "{name}: {got:?}: {finding}");
        // By `check` and by `evidence`.
        ensure!(asked.len() == 2 * case.asks, "{name}: {asked:?}");
        ensure!(
            asked.iter().all(|path| path == "/containers/kubelet/json" || path.starts_with("/images/sha256:c")),
            "{asked:?}"
        );
        ensure!(took < Duration::from_secs(15), "{name}: {took:?}");
    }
    Ok(())
}
