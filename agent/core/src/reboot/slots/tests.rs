use super::super::recorded::recorded;
use super::super::{BootId, Release};
use super::*;
use crate::time::Time;

fn entry(boot: &str) -> Entry {
    Entry {
        boot_id: BootId(boot.to_owned()),
        reason: "update to 44.1".to_owned(),
        since: Time::from_unix(1_795_486_508),
        cordoned: true,
        wanted: Some(Release { version: "44.1".to_owned(), checksum: None }),
        from: None,
        let_go: None,
    }
}

fn map(data: &Value) -> Vec<u8> {
    json!({"kind": "ConfigMap", "metadata": {"name": "reboot-workers", "resourceVersion": "7"}, "data": data})
        .to_string()
        .into_bytes()
}

#[test]
fn a_map_is_read() {
    let text = serde_json::to_string(&entry("b-1")).unwrap();
    let other = |node: &str, entry: Option<Entry>| Holder { node: node.to_owned(), entry };
    let seen = |mine, others, limit| Slot::Seen { mine, others, limit, refused: None };
    for (name, data, want) in [
        ("free", json!({"slots": "1"}), Ok(seen(None, vec![], 1))),
        ("mine", json!({"slots": "2", "holder.node-a": text}), Ok(seen(Some(entry("b-1")), vec![], 2))),
        (
            "of others, one of them unreadable",
            json!({"slots": "2", "holder.node-b": text, "holder.node-c": "{\"boot\":\"1\"}"}),
            Ok(seen(None, vec![other("node-b", Some(entry("b-1"))), other("node-c", None)], 2)),
        ),
        (
            "a name that begins with ours",
            json!({"slots": "1", "holder.node-a2": ""}),
            Ok(seen(None, vec![other("node-a2", None)], 1)),
        ),
        ("nothing for nobody", json!({"slots": "0"}), Ok(seen(None, vec![], 0))),
        ("less than nothing", json!({"slots": "-1"}), Ok(seen(None, vec![], 0))),
        ("keys of others are left alone", json!({"slots": "1", "note": "x"}), Ok(seen(None, vec![], 1))),
        ("no limit", json!({"holder.node-b": text}), Err("slots-limit-unreadable")),
        ("no data", Value::Null, Err("slots-limit-unreadable")),
        ("a limit in words", json!({"slots": "many"}), Err("slots-limit-unreadable")),
        ("ours, unreadable", json!({"slots": "1", "holder.node-a": "taken"}), Err("own-slot-unreadable")),
    ] {
        let got = match read(&map(&data), "workers", "node-a").unwrap().slot {
            Slot::Unknown(reason) => Err(reason.kind),
            seen => Ok(seen),
        };
        assert_eq!(got, want.map_err(str::to_owned), "{name}");
    }
    for nonsense in ["", "[]", "{\"data\":{}}", "{\"metadata\":{},\"data\":{\"slots\":1}}"] {
        assert!(read(nonsense.as_bytes(), "workers", "node-a").is_err(), "{nonsense}");
    }
}

#[test]
fn room_is_counted() {
    for (name, data, room, overfull) in [
        ("free", json!({"slots": "1"}), true, false),
        ("full", json!({"slots": "1", "holder.x": ""}), false, false),
        ("one of two", json!({"slots": "2", "holder.x": ""}), true, false),
        ("more than there are", json!({"slots": "1", "holder.x": "", "holder.y": ""}), false, true),
        ("the limit was lowered", json!({"slots": "0", "holder.x": ""}), false, true),
        ("not known", json!({"holder.x": ""}), false, false),
    ] {
        let view = read(&map(&data), "workers", "node-a").unwrap();
        assert_eq!((view.has_room(), view.is_overfull()), (room, overfull), "{name}");
    }
}

#[test]
fn patches_are_those_that_were_recorded() {
    let taken = take("node-a", &entry("b-1"));
    let keys: Vec<&String> = taken["data"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["holder.node-a"]);
    let written: Entry = serde_json::from_str(taken["data"]["holder.node-a"].as_str().unwrap()).unwrap();
    assert_eq!(written, entry("b-1"));
    let mut long = entry("b-1");
    long.reason = "ü".repeat(1_000);
    let written: Entry = serde_json::from_str(take("n", &long)["data"]["holder.n"].as_str().unwrap()).unwrap();
    assert_eq!(written.reason.chars().count(), REASON_MAX);
    assert_eq!(free("node-a"), recorded("slots: free").sent);
    let shape = |mut patch: Value| {
        patch["data"]["holder.node-a"] = Value::Null;
        patch
    };
    assert_eq!(shape(taken), shape(recorded("slots: take").sent));
}

#[test]
fn a_real_server_is_understood() {
    // The recorder wrote an entry of its own, which others see as taken and its node cannot read.
    let free = read(&recorded("slots: get").body, "workers", "node-a").unwrap();
    assert_eq!((free.version.as_str(), free.taken()), ("730", Some((0, 1))));
    let taken = read(&recorded("slots: take").body, "workers", "node-b").unwrap();
    assert_eq!((taken.has_room(), taken.taken()), (false, Some((1, 1))));
    assert!(free.is_older_than(&taken) && !taken.is_older_than(&free) && !taken.is_older_than(&taken));
    assert!(matches!(read(&recorded("slots: take").body, "workers", "node-a").unwrap().slot, Slot::Unknown(_)));
    let watched = recorded("slots: watch").lines;
    let seen: Vec<_> = watched
        .iter()
        .map(|text| match line(text, "workers", "node-b").unwrap() {
            Line::Map(view) => (view.version.clone(), view.taken()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(seen, [("1850".to_owned(), Some((1, 1))), ("1851".to_owned(), Some((0, 1)))]);
    assert_eq!(line(&recorded("watch: resourceVersion too old").lines[0], "workers", "node-a").unwrap(), Line::Ended);
}

#[test]
fn lines_are_told_apart() {
    let bookmark = r#"{"type":"BOOKMARK","object":{"kind":"ConfigMap","metadata":{"resourceVersion":"9"}}}"#;
    assert_eq!(line(bookmark.as_bytes(), "workers", "a").unwrap(), Line::Bookmark("9".to_owned()));
    let gone = r#"{"type":"DELETED","object":{"metadata":{"name":"reboot-workers","resourceVersion":"9"},"data":{"slots":"1"}}}"#;
    match line(gone.as_bytes(), "workers", "a").unwrap() {
        Line::Gone(View { version, slot: Slot::Unknown(reason) }) => {
            assert_eq!((version.as_str(), reason.kind.as_str()), ("9", "slots-group-missing"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(line(br#"{"type":"SOMETHING","object":{}}"#, "workers", "a").unwrap(), Line::Other);
    for nonsense in ["", "{", r#"{"type":"ADDED"}"#, r#"{"type":"ADDED","object":3}"#] {
        assert!(line(nonsense.as_bytes(), "workers", "a").is_err(), "{nonsense}");
    }
}

#[test]
fn a_list_is_read() {
    let list = |items: Value| json!({"metadata": {"resourceVersion": "12"}, "items": items}).to_string().into_bytes();
    let one: Value = serde_json::from_slice(&map(&json!({"slots": "3"}))).unwrap();
    let found = read_list(&list(json!([one])), "workers", "node-a").unwrap();
    assert_eq!((found.version.as_str(), found.taken()), ("12", Some((0, 3))));
    let none = read_list(&list(json!([])), "workers", "node-a").unwrap();
    assert_eq!(none.version, "12");
    assert!(matches!(none.slot, Slot::Unknown(reason) if reason.kind == "slots-group-missing"));
    assert!(read_list(b"{}", "workers", "node-a").is_err());
}

#[test]
fn refusals_say_what_to_do() {
    for (name, asked, kind, then, says) in [
        ("slots: take, none free", Verb::Patch, "no-free-slot", Then::WhenChanged, "\"workers\""),
        ("slots: free another node's", Verb::Patch, "slot-of-another", Then::Later, "node.name"),
        ("slots: steal", Verb::Patch, "slot-of-another", Then::Later, "node.name"),
        ("slots: no such group", Verb::Patch, "slots-rule-missing", Then::Later, "reboot-slots.yaml"),
        ("authn: expired client certificate", Verb::List, "credential-rejected", Then::Later, "eyewall certificates"),
        ("pods: all nodes", Verb::List, "slots-rule-missing", Then::Later, "may not list the ConfigMap reboot-workers"),
        ("node: taint own", Verb::Patch, "slots-forbidden", Then::Later, "not allowed to modify taints"),
        ("eviction: pod is gone", Verb::Get, "slots-group-missing", Then::Later, "reboot.group"),
        (
            "eviction: refused by a disruption budget",
            Verb::Get,
            "api-server-refused",
            Then::Later,
            "to get the ConfigMap",
        ),
    ] {
        let answer = recorded(name);
        let got = refusal(answer.status, &answer.body, asked, "workers");
        assert_eq!((got.reason.kind.as_str(), got.then), (kind, then), "{name}");
        assert!(got.reason.message.contains(says), "{name}: {}", got.reason.message);
    }
    for (status, kind, then) in [
        (409, "slots-conflict", Then::AtOnce),
        (422, "slots-write-refused", Then::Later),
        (429, "api-server-busy", Then::Later),
        (503, "api-server-busy", Then::Later),
        (500, "api-server-refused", Then::Later),
    ] {
        let got = refusal(status, b"not json", Verb::Patch, "workers");
        assert_eq!((got.reason.kind.as_str(), got.then), (kind, then), "{status}");
    }
}

#[test]
fn watches_are_few_and_not_in_step() {
    for (draw, seconds) in [(0.0, 300), (1.0, 600), (0.5, 450), (f64::NAN, 450), (7.0, 450)] {
        assert_eq!(watch_lasts(draw), Duration::from_secs(seconds), "{draw}");
    }
    let path = watch_path("workers", "730", Duration::from_secs(300));
    let asked = path.split_once('?').map(|(_, query)| query.split('&').collect::<Vec<_>>()).unwrap();
    assert_eq!(
        asked,
        [
            "fieldSelector=metadata.name%3Dreboot-workers",
            "watch=true",
            "allowWatchBookmarks=true",
            "resourceVersion=730",
            "timeoutSeconds=300"
        ]
    );
}
