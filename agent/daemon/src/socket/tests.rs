//! The socket as its peers see it: real unix sockets, and peers that mean harm.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use eyewall_core::event;
use eyewall_core::rotation::Wish;
use eyewall_core::status::{
    CertificatesStatus, ErrorBody, EventRecord, Health, KubeletStatus, Reason, RenewalAnswer, Status, Story,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::server::{Limits, serve_with};
use super::*;
use crate::query::Client;
use crate::renewals::{Renewals, Wished};

/// Every wait of these tests ends here.
const SOON: Duration = Duration::from_secs(10);

struct Daemon {
    socket: PathBuf,
    status: watch::Sender<Arc<Status>>,
    events: Events,
    heartbeats: Heartbeats,
    wishes: mpsc::Receiver<Wished>,
    serving: JoinHandle<std::io::Error>,
    _root: tempfile::TempDir,
}

impl Daemon {
    fn start(limits: Limits) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let socket = root.path().join("s");
        let (deps, status, wishes) = deps();
        let bound = listen(&socket).expect("bound");
        Self {
            socket,
            status,
            events: deps.events.clone(),
            heartbeats: deps.heartbeats.clone(),
            wishes,
            serving: tokio::spawn(serve_with(bound, deps, limits)),
            _root: root,
        }
    }

    /// With times that a test can wait for.
    fn impatient() -> Self {
        Self::start(Limits {
            patience: Duration::from_millis(300),
            stall: Duration::from_millis(300),
            ..Limits::default()
        })
    }

    fn client(&self) -> Client {
        Client::new(&self.socket)
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).await.expect("accepted")
    }

    /// Sends octets and reads until the daemon closes.
    async fn raw(&self, request: &[u8]) -> String {
        let mut stream = self.connect().await;
        // The daemon may close before all is sent: that is what some of these tests want.
        let _ = stream.write_all(request).await;
        read_all(&mut stream).await
    }

    async fn is_well(&self) {
        let status: Status = self.client().get("/v1/status").await.expect("an answer");
        assert_eq!(status, **self.status.borrow());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn deps() -> (Deps, watch::Sender<Arc<Status>>, mpsc::Receiver<Wished>) {
    let (sender, status) = watch::channel(Arc::new(example::status()));
    let (_, certificates) = watch::channel(None);
    let (renewals, wishes) = Renewals::new(certificates);
    let events = Events::new();
    let heartbeats = Heartbeats::new(events.clone());
    // Nothing is judged here; whoever asks hears that.
    let posture = watch::channel(None).1;
    let judgements = mpsc::channel(1).0;
    let deps = Deps { status, posture, judgements, events, renewals, orders: Orders::new().0, heartbeats };
    (deps, sender, wishes)
}

async fn read_all(stream: &mut UnixStream) -> String {
    let mut answer = Vec::new();
    // A reset after the answer ends it as well as an end does.
    let _ = timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the daemon closes in time");
    String::from_utf8(answer).expect("text")
}

/// The HTTP status and the error's kind.
fn refusal(answer: &str) -> (u16, String) {
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok());
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    let body: Option<ErrorBody> = serde_json::from_str(body).ok();
    (status.expect("a status line"), body.map(|body| body.error.kind).unwrap_or_default())
}

#[tokio::test]
async fn documents_are_those_of_the_newest_status() {
    let daemon = Daemon::start(Limits::default());
    let client = daemon.client();
    daemon.is_well().await;
    daemon.status.send_modify(|status| {
        let mut next = (**status).clone();
        next.certificates.installed_total = 2;
        next.kubelet.restarts_total = 3;
        *status = Arc::new(next);
    });
    daemon.is_well().await;
    let certificates: CertificatesStatus = client.get("/v1/certificates").await.expect("a part");
    let kubelet: KubeletStatus = client.get("/v1/kubelet").await.expect("a part");
    assert_eq!(certificates.installed_total, 2);
    assert_eq!(kubelet.restarts_total, 3);

    daemon.events.emit(&event::CONFIG_APPLIED, "taken over", &[("files", "a b")]);
    let story: Story = client.get("/v1/events").await.expect("the story");
    let kept: Vec<EventRecord> = daemon.events.recent().iter().map(|record| (**record).clone()).collect();
    assert_eq!(story.events, kept);
    assert_eq!(kept.len(), 1);
}

#[tokio::test]
async fn refusals_have_a_status_and_a_kind() {
    let daemon = Daemon::impatient();
    let long =
        format!("POST /v1/certificates/renew HTTP/1.1\r\nhost: e\r\ncontent-length: 5000\r\n\r\n{}", "x".repeat(5000));
    let chunked = format!(
        "POST /v1/certificates/renew HTTP/1.1\r\nhost: e\r\ntransfer-encoding: chunked\r\n\r\n1388\r\n{}\r\n0\r\n\r\n",
        "x".repeat(5000)
    );
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nhost: e\r\nconnection: close\r\n\r\n");
    for (name, request, want) in [
        ("unknown", get("/v2/status"), (404, "no-such-path")),
        ("reboots, not looked at yet", get("/v1/reboot"), (503, "not-looked-yet")),
        ("not looked yet", get("/v1/posture"), (503, "not-looked-yet")),
        ("query", get("/v1/status?a=b"), (400, "bad-query")),
        ("method", get("/v1/certificates/renew"), (405, "method-not-allowed")),
        ("long body", long, (413, "body-too-large")),
        ("long chunked body", chunked, (413, "body-too-large")),
        ("no HTTP", "hello\r\n\r\n".to_owned(), (400, "")),
    ] {
        let answer = daemon.raw(request.as_bytes()).await;
        assert_eq!(refusal(&answer), (want.0, want.1.to_owned()), "{name}: {answer}");
    }
    let answer = daemon.raw(get("/v1/certificates/renew").as_bytes()).await;
    assert!(answer.contains("\r\nallow: POST\r\n"), "{answer}");
    daemon.is_well().await;
}

#[tokio::test]
async fn health_and_readiness() {
    let daemon = Daemon::start(Limits::default());
    let client = daemon.client();
    assert_eq!(client.document("/healthz").await.expect("alive"), "ok\n");
    assert_eq!(client.document("/readyz").await.expect("ready"), "ok\n");

    daemon.status.send_modify(|status| {
        let mut next = (**status).clone();
        next.health = Health::Bad;
        next.kubelet.health = Health::Bad;
        next.kubelet.reason.message = "The unit has failed.".to_owned();
        *status = Arc::new(next);
    });
    let error = client.document("/readyz").await.expect_err("not ready");
    assert_eq!((error.kind(), error.to_string().as_str()), ("not-ready", "The unit has failed."));
    assert_eq!(client.document("/healthz").await.expect("alive"), "ok\n");

    let _late = daemon.heartbeats.register("certificates", Duration::ZERO);
    sleep(Duration::from_millis(2)).await;
    let error = client.document("/healthz").await.expect_err("stalled");
    assert_eq!(error.kind(), "agent-stalled");
    assert!(error.to_string().contains("certificates"), "{error}");
}

#[tokio::test]
async fn who_holds_a_connection_is_cut() {
    let daemon = Daemon::impatient();
    for (name, octets, answered) in [
        ("nothing", &b""[..], false),
        ("half a head", b"GET /v1/status HT", false),
        ("a head without its end", b"GET /v1/status HTTP/1.1\r\nhost: e\r\n", false),
        ("half a body", b"POST /v1/certificates/renew HTTP/1.1\r\ncontent-length: 9\r\n\r\nx", false),
        ("idle after an answer", b"GET /healthz HTTP/1.1\r\nhost: e\r\n\r\n", true),
    ] {
        let started = Instant::now();
        let answer = daemon.raw(octets).await;
        assert!(started.elapsed() < Duration::from_secs(3), "{name}");
        assert_eq!(answer.contains("200 OK"), answered, "{name}: {answer}");
    }
    daemon.is_well().await;
}

/// A head that trickles does not buy time: the deadline does not move with octets.
#[tokio::test]
async fn a_trickle_is_cut() {
    let daemon = Daemon::impatient();
    let mut stream = daemon.connect().await;
    let started = Instant::now();
    let mut sent = 0;
    while stream.write_all(b"x").await.is_ok() && sent < 200 {
        sent += 1;
        sleep(Duration::from_millis(20)).await;
    }
    assert!(sent < 100, "cut after {sent} octets and {:?}", started.elapsed());
    daemon.is_well().await;
}

#[tokio::test]
async fn a_head_of_a_mebibyte_is_refused() {
    let daemon = Daemon::impatient();
    let mut request = b"GET /v1/status HTTP/1.1\r\nx: ".to_vec();
    request.resize(1024 * 1024, b'x');
    let answer = daemon.raw(&request).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    daemon.is_well().await;
}

/// Asks without an end and never reads: the answers fill the socket, then nothing more is taken, then it is cut.
#[tokio::test]
async fn who_never_reads_is_cut() {
    let daemon = Daemon::impatient();
    for _ in 0..crate::events::KEPT {
        daemon.events.emit(&event::CONFIG_APPLIED, "x".repeat(2000), &[]);
    }
    let mut stream = daemon.connect().await;
    let request = b"GET /v1/events HTTP/1.1\r\nhost: e\r\n\r\n";
    let flood = async {
        let mut sent = 0_usize;
        while stream.write_all(request).await.is_ok() {
            sent += 1;
        }
        sent
    };
    let sent = timeout(SOON, flood).await.expect("cut");
    assert!(sent > 0);
    daemon.is_well().await;
}

#[tokio::test]
async fn one_too_many_is_told_so_and_a_place_comes_back() {
    let daemon = Daemon::start(Limits { connections: 2, reserved: 0, ..Limits::default() });
    let first = daemon.connect().await;
    let second = daemon.connect().await;
    let error = daemon.client().document("/healthz").await.expect_err("no place");
    assert_eq!(error.kind(), "busy", "{error}");
    drop(first);
    // The daemon has to see the end first.
    let mut answer = Err(error);
    for _ in 0..100 {
        answer = daemon.client().document("/healthz").await;
        if answer.is_ok() {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(answer.expect("a place"), "ok\n");
    drop(second);
}

#[tokio::test]
async fn a_follower_sees_what_was_and_what_comes() {
    let daemon = Daemon::impatient();
    daemon.events.emit(&event::CONFIG_APPLIED, "one", &[]);
    let mut lines = daemon.client().follow("/v1/events?follow=1").await.expect("a stream");
    let mut next = async || {
        let line = timeout(SOON, lines.next()).await.expect("in time").expect("a line");
        serde_json::from_slice::<EventRecord>(&line.expect("not the end")).expect("a record")
    };
    assert_eq!(next().await.message, "one");
    // Longer than the patience: a follower has no deadline.
    sleep(Duration::from_millis(600)).await;
    daemon.events.emit(&event::CONFIG_APPLIED, "two", &[("files", "a")]);
    let record = next().await;
    assert_eq!((record.sequence, record.message.as_str()), (2, "two"));
    assert_eq!(record.fields["files"], "a");
}

#[tokio::test]
async fn a_follower_that_does_not_read_is_cut_and_frees_its_place() {
    let daemon = Daemon::start(Limits { followers: 1, stall: Duration::from_millis(300), ..Limits::default() });
    let mut deaf = daemon.connect().await;
    deaf.write_all(b"GET /v1/events?follow=1 HTTP/1.1\r\nhost: e\r\n\r\n").await.expect("asked");
    deaf.readable().await.expect("answered");
    let error = daemon.client().follow("/v1/events?follow=1").await.expect_err("one only");
    assert_eq!(error.kind(), "busy");

    let mut freed = false;
    for _ in 0..500 {
        daemon.events.emit(&event::CONFIG_APPLIED, "x".repeat(4000), &[]);
        sleep(Duration::from_millis(5)).await;
        freed = daemon.client().follow("/v1/events?follow=1").await.is_ok();
        if freed {
            break;
        }
    }
    assert!(freed, "the deaf one still holds the place");
    daemon.is_well().await;
}

#[tokio::test]
async fn renew_is_for_root_and_audited() {
    let mut daemon = Daemon::start(Limits::default());
    let answer = daemon.client().post("/v1/certificates/renew").await;
    let told = daemon.events.recent();
    let record = &told[0];
    assert_eq!(record.fields["command"], "certificates-renew");
    assert_eq!(record.fields["pid"], std::process::id().to_string());
    // Whoever runs this test is who the kernel names.
    if nix::unistd::geteuid().is_root() {
        assert_eq!(answer.expect("accepted").kind, "renewal-requested");
        assert_eq!(record.event, "command-accepted");
        assert_eq!(daemon.wishes.try_recv().expect("a wish").wish, Wish::Fresh);
    } else {
        assert_eq!(answer.expect_err("refused").kind(), "not-root");
        assert_eq!(record.event, "peer-refused");
        assert!(daemon.wishes.try_recv().is_err());
    }
}

#[tokio::test]
async fn an_answer_that_is_waited_for_outlives_the_patience_with_idlers() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let mut daemon = Daemon::impatient();
    let client = daemon.client();
    let asked = tokio::spawn(async move {
        let wait = Duration::from_secs(10);
        client.post_within::<RenewalAnswer>("/v1/certificates/renew?at_least=24h&wait=10s", wait).await
    });
    let Wished { wish, answer } = timeout(SOON, daemon.wishes.recv()).await.expect("in time").expect("a wish");
    assert_eq!(wish, Wish::AtLeast(Duration::from_secs(86_400)));
    sleep(Duration::from_millis(900)).await;
    let given = RenewalAnswer { holds: true, until: None, reason: Reason::new("certificate-lasts", "") };
    answer.expect("somebody waits").send(given.clone()).expect("still there");
    assert_eq!(asked.await.expect("no panic").expect("an answer"), given);
}

#[tokio::test]
async fn a_wish_ends_with_its_connection() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let mut daemon = Daemon::start(Limits::default());
    let mut stream = daemon.connect().await;
    let request = b"POST /v1/certificates/renew?at_least=24h HTTP/1.1\r\nhost: e\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let wished = timeout(SOON, daemon.wishes.recv()).await.expect("in time").expect("a wish");
    drop(stream);
    let mut answer = wished.answer.expect("somebody waits");
    timeout(SOON, answer.closed()).await.expect("nobody waits any more");
}

#[tokio::test(flavor = "current_thread")]
async fn eight_readers_at_once() {
    let daemon = Daemon::start(Limits::default());
    let want = serde_json::to_string(&**daemon.status.borrow()).expect("serializes") + "\n";
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let client = daemon.client();
        let want = want.clone();
        readers.spawn(async move {
            for _ in 0..100 {
                let document = client.document("/v1/status").await.expect("an answer");
                assert_eq!(document, want);
            }
        });
    }
    while let Some(reader) = readers.join_next().await {
        reader.expect("all answers were right");
    }
}

#[tokio::test]
async fn dropping_the_server_ends_its_connections_and_its_file() {
    let daemon = Daemon::start(Limits::default());
    daemon.is_well().await;
    let mut open = daemon.connect().await;
    open.write_all(b"GET /v1/events?follow=1 HTTP/1.1\r\nhost: e\r\n\r\n").await.expect("asked");
    open.readable().await.expect("answered");
    daemon.serving.abort();
    read_all(&mut open).await;
    assert!(!daemon.socket.exists());
}
