use proptest::prelude::*;
use serde_json::json;

use super::*;

fn host() -> Host {
    Host { name: Some("node-a".to_owned()), os: "fcos".to_owned(), role: "worker".to_owned(), boot_id: None }
}

#[test]
fn every_capture_survives_json() {
    let stat = Stat {
        kind: FileKind::Link,
        mode: 0o644,
        uid: 0,
        gid: 500,
        size: 7,
        mtime: Time::from_unix(86_400),
        target: Some("/usr/x".to_owned()),
    };
    for (name, capture, json) in [
        ("one line", Capture::text("1"), json!({"text": "1"})),
        ("lines", Capture::text("a\n\nb\n"), json!({"text": ["a", "", "b", ""]})),
        ("bytes", Capture::bytes(b"\xff\x00"), json!({"bytes": "/wA="})),
        (
            "listing",
            Capture::Listing(vec![Entry { name: "a".to_owned(), kind: FileKind::Directory }]),
            json!({"listing": [{"name": "a", "kind": "directory"}]}),
        ),
        (
            "stat",
            Capture::Stat(stat),
            json!({"stat": {"kind": "link", "mode": "0644", "uid": 0, "gid": 500, "size": 7,
                "mtime": "1970-01-02T00:00:00Z", "target": "/usr/x"}}),
        ),
        ("record", Capture::Record(json!({"a": [1]})), json!({"record": {"a": [1]}})),
        ("missing", Capture::Missing, json!({"missing": null})),
        ("denied", Capture::Denied("CAP_X".to_owned()), json!({"denied": "CAP_X"})),
        ("failed", Capture::failed("timeout", "It."), json!({"failed": {"kind": "timeout", "message": "It."}})),
        ("too large", Capture::too_large(9), json!({"too-large": {"bytes": 9}})),
    ] {
        let found = Found { at: None, capture };
        assert_eq!(serde_json::to_value(&found).expect(name), json, "{name}");
        assert_eq!(serde_json::from_value::<Found>(json).expect(name), found, "{name}");
    }
}

#[test]
fn a_directory_is_one_evidence() {
    let head =
        r#"{"captured_at":"2026-07-01T00:00:00Z","host":{"name":null,"os":"fcos","role":"worker","boot_id":null}}"#;
    let part = r#"{"made":["by hand"],"sources":{"file:/a":{"text":"1"}}}"#;
    let evidence = Evidence::from_parts([("host.json", head), ("a.json", part)]).expect("complete");
    assert_eq!(evidence.get("file:/a"), Some(&Capture::text("1")));
    assert_eq!(evidence.get("file:/b"), None);
    let whole = serde_json::to_string(&evidence).expect("serializes");
    assert_eq!(Evidence::from_parts([("all.json", whole.as_str())]), Ok(evidence));

    for (name, parts, kind) in [
        ("nothing", &[][..], "evidence-incomplete"),
        ("no host", &[part][..], "evidence-incomplete"),
        ("a source twice", &[head, part, part][..], "evidence-twice"),
        ("two hosts", &[head, head][..], "evidence-twice"),
        ("no JSON", &["{"][..], "evidence-malformed"),
        ("a field we do not know", &[r#"{"hosts":{}}"#][..], "evidence-malformed"),
        ("a capture we do not know", &[r#"{"sources":{"a":{"txt":"1"}}}"#][..], "evidence-malformed"),
    ] {
        let fault = Evidence::from_parts(parts.iter().map(|text| ("x.json", *text))).expect_err(name);
        assert_eq!(fault.kind(), kind, "{name}: {fault}");
    }
}

#[test]
fn nothing_grows_without_end() {
    let mut evidence = Evidence::new(host(), Time::from_unix(0));
    let long = "x".repeat(Capture::LARGEST + 1);
    assert_eq!(Capture::text(&long), Capture::too_large(long.len()));
    evidence.put("file:/a", None, Capture::Text(long.clone()));
    assert_eq!(evidence.get("file:/a"), Some(&Capture::too_large(long.len())));
    assert!(matches!(Capture::record(&vec![&long]), Capture::TooLarge { .. }));
    let text = serde_json::to_string(&json!({"captured_at": "2026-07-01T00:00:00Z", "host": host(),
        "sources": {"file:/a": {"text": long}}}))
    .expect("serializes");
    let read = Evidence::from_parts([("a", text.as_str())]).expect("bounded");
    assert!(matches!(read.get("file:/a"), Some(Capture::TooLarge { .. })));

    for id in 0..2 * Evidence::MOST_SOURCES {
        evidence.put(&format!("file:/{id}"), None, Capture::Missing);
    }
    assert_eq!(evidence.sources.len(), Evidence::MOST_SOURCES);
}

#[test]
fn news_is_what_differs() {
    let mut evidence = Evidence::new(host(), Time::from_unix(0));
    assert!(evidence.put("file:/a", None, Capture::text("1")));
    assert!(!evidence.put("file:/a", Some(Time::from_unix(9)), Capture::text("1")));
    assert_eq!(evidence.looked_at("file:/a"), Some(Time::from_unix(9)));
    assert!(evidence.put("file:/a", None, Capture::Missing));
}

proptest! {
    #[test]
    fn any_directory_is_evidence_or_a_fault(text in "(?s:.{0,120})", field in "[a-z_]{1,12}", value in "[\\[\\]{}0-9a-z\",: ]{0,60}") {
        let _ = Evidence::from_parts([("a.json", text.as_str())]);
        let part = format!("{{\"sources\":{{\"file:/a\":{{\"{field}\":{value}}}}}}}");
        let _ = Evidence::from_parts([("a.json", part.as_str())]);
    }

    /// What was captured comes back from its file as it was.
    #[test]
    fn a_capture_comes_back(text in "(?s:.{0,200})", bytes in proptest::collection::vec(any::<u8>(), 0..80), mode in 0_u32..0o10000) {
        let stat = Stat { kind: FileKind::File, mode, uid: 1, gid: 2, size: u64::MAX, mtime: Time::from_unix(7), target: Some(text.clone()) };
        let captures = [Capture::text(&text), Capture::bytes(&bytes), Capture::Stat(stat), Capture::Denied(text.clone()), Capture::failed(&text, &text)];
        let mut evidence = Evidence::new(host(), Time::from_unix(9));
        for (index, capture) in captures.into_iter().enumerate() {
            evidence.put(&format!("file:/{index}"), None, capture);
        }
        let json = serde_json::to_string_pretty(&evidence).expect("serializes");
        prop_assert_eq!(Evidence::from_parts([("all.json", json.as_str())]), Ok(evidence));
    }
}
