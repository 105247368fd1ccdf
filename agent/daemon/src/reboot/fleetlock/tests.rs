use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::super::testing::entry;
use super::*;

const MACHINE: &str = "1c09ca98649c4c7abc779cd04c96812e";

/// A server that answers in turn, and keeps what it was asked.
async fn server(answers: Vec<&'static str>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/lock/", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.ends_with(b"}}") {
                match stream.read(&mut buffer).await.unwrap() {
                    0 => break,
                    count => request.extend_from_slice(&buffer[..count]),
                }
            }
            log.lock().unwrap().push(String::from_utf8(request).unwrap());
            if answer == "hang" {
                tokio::time::sleep(Duration::from_secs(3_600)).await;
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, asked)
}

fn answer(status: &str, body: &str) -> &'static str {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).leak()
}

fn lock(url: &str, within: Duration, directory: &std::path::Path) -> FleetLock {
    let server = Server::new(url, within).unwrap();
    FleetLock::new(server, MACHINE, "workers", Ledger::below(directory), || 0.0).unwrap()
}

fn shown(lock: &FleetLock) -> (bool, Option<String>) {
    match &*lock.seen().borrow() {
        Slot::Seen { mine, refused, .. } => (mine.is_some(), refused.as_ref().map(|reason| reason.kind.clone())),
        Slot::Unknown(reason) => (false, Some(reason.kind.clone())),
    }
}

#[tokio::test]
async fn the_protocol_is_spoken() {
    let directory = tempfile::tempdir().unwrap();
    let (url, asked) = server(vec![
        answer("423 Locked", r#"{"kind":"lock_held","value":"held by another"}"#),
        answer("200 OK", ""),
        answer("500 Internal Server Error", r#"{"kind":"internal_error","value":"x"}"#),
        answer("200 OK", ""),
    ])
    .await;
    let lock = lock(&url, LONGEST, directory.path());
    assert_eq!(shown(&lock), (false, None));
    assert_eq!(lock.take(&entry("b-1")).await.unwrap_err().kind, "no-free-slot");
    assert_eq!(shown(&lock), (false, Some("no-free-slot".to_owned())));
    lock.take(&entry("b-1")).await.unwrap();
    assert_eq!(shown(&lock), (true, None));
    let mut amended = entry("b-1");
    amended.cordoned = true;
    lock.amend(&amended).await.unwrap();
    lock.take(&amended).await.unwrap();
    assert_eq!(lock.free().await.unwrap_err().kind, "fleetlock-refused");
    assert_eq!(shown(&lock), (true, None), "still held");
    lock.free().await.unwrap();
    assert_eq!(shown(&lock), (false, None));
    let asked = asked.lock().unwrap();
    let firsts: Vec<&str> = asked.iter().map(|request| request.split_once(" HTTP").unwrap().0).collect();
    assert_eq!(
        firsts,
        [
            "POST /lock/v1/pre-reboot",
            "POST /lock/v1/pre-reboot",
            "POST /lock/v1/steady-state",
            "POST /lock/v1/steady-state"
        ]
    );
    for request in asked.iter() {
        assert!(request.contains("\r\nfleet-lock-protocol: true\r\n"), "{request}");
        let body = r#"{"client_params":{"id":"978a225b3d7b40e9acd7ce9b62f68444","group":"workers"}}"#;
        assert!(request.ends_with(body), "{request}");
    }
}

#[tokio::test]
async fn a_lost_answer_is_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let (url, asked) = server(vec!["", answer("423 Locked", "{}")]).await;
    {
        let lock = lock(&url, LONGEST, directory.path());
        assert_eq!(lock.take(&entry("b-1")).await.unwrap_err().kind, "fleetlock-away");
        assert_eq!(shown(&lock), (false, Some("fleetlock-away".to_owned())), "not held, as far as anybody knows");
    }
    // The agent starts again: what it may hold goes back, and another's 423 means that it did not.
    let lock = lock(&url, LONGEST, directory.path());
    assert_eq!(shown(&lock), (false, None));
    lock.settle().await.unwrap();
    lock.settle().await.unwrap();
    assert_eq!(asked.lock().unwrap().len(), 2);
    assert_eq!(Ledger::below(directory.path()).read(), Ok(None));
}

#[tokio::test]
async fn a_slow_server_has_its_time_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let (url, _) = server(vec!["hang", "hang"]).await;
    let short = lock(&url, Duration::from_millis(200), directory.path());
    let away = short.take(&entry("b-1")).await.unwrap_err();
    assert!(away.message.contains("no answer within"), "{}", away.message);
    // Whoever does not want to wait any more drops it.
    let (url, _) = server(vec!["hang"]).await;
    let long = lock(&url, LONGEST, directory.path());
    assert!(timeout(Duration::from_millis(200), long.take(&entry("b-1"))).await.is_err());
    assert_eq!(shown(&long), (false, None));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_over_after_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let lock = lock("http://127.0.0.1:9", LONGEST, directory.path());
    lock.show(Some(Reason::new("no-free-slot", "x")));
    let mut seen = lock.seen();
    let begun = Instant::now();
    seen.wait_for(|slot| matches!(slot, Slot::Seen { refused: None, .. })).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 24);
}

#[tokio::test]
async fn https_is_trusted_by_the_hosts_roots() {
    let directory = tempfile::tempdir().unwrap();
    // The API stand-in speaks TLS; what it answers to such a path is a clear no.
    let api = ::tests::apiserver::ApiServer::start(::tests::apiserver::Options::default()).await.unwrap();
    let roots = directory.path().join("roots.pem");
    std::fs::write(&roots, api.ca_pem()).unwrap();
    let at = |roots: &std::path::Path| {
        let server = Server::new(&api.url(), LONGEST).unwrap().trusting(roots);
        FleetLock::new(server, MACHINE, "workers", Ledger::below(directory.path()), || 0.0).unwrap()
    };
    assert_eq!(at(&roots).take(&entry("b-1")).await.unwrap_err().kind, "fleetlock-refused");
    assert_eq!(at(&directory.path().join("none")).take(&entry("b-1")).await.unwrap_err().kind, "fleetlock-no-roots");
    let stranger = ::tests::apiserver::ApiServer::start(::tests::apiserver::Options::default()).await.unwrap();
    std::fs::write(&roots, stranger.ca_pem()).unwrap();
    assert_eq!(at(&roots).take(&entry("b-1")).await.unwrap_err().kind, "fleetlock-away");
}

#[test]
fn urls() {
    for (url, want) in [
        ("http://10.3.0.15", Some(("10.3.0.15", 80, ""))),
        ("http://lock.example.org:8080/base/", Some(("lock.example.org", 8080, "/base"))),
        ("https://[2001:db8::1]", Some(("2001:db8::1", 443, ""))),
        ("ftp://x", None),
        ("lock.example.org", None),
        ("http://user@x", None),
        ("http://x/?a=b", None),
        ("", None),
    ] {
        let got = Server::new(url, LONGEST);
        assert_eq!(got.as_ref().ok().map(|server| server.parts()), want, "{url}");
        if let Err(reason) = got {
            assert_eq!(reason.kind, "fleetlock-bad-url", "{url}");
        }
    }
    assert_eq!(Server::new("http://x", Duration::MAX).unwrap().within(), LONGEST);
}
