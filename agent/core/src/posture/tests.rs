//! The table of checks and claims itself.

use super::*;
use crate::posture::source::Keep;

fn is_kebab(id: &str) -> bool {
    id.split('-').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

#[test]
fn every_check_is_written_out() {
    let mut ids = std::collections::BTreeSet::new();
    for check in checks() {
        let id = check.id;
        assert!(is_kebab(id), "{id}");
        assert!(ids.insert(id), "{id} is there twice");
        assert!(!check.title.is_empty() && !check.title.ends_with('.'), "{id}: the title is a line, not a sentence");
        assert!(CLAIMS.iter().any(|claim| claim.id == check.claim.id), "{id}: the claim is in CLAIMS");
        assert!(check.claim.reach != Reach::OutOfScope, "{id}: no check can speak for {}", check.claim.id);
        assert!(!check.reads.is_empty(), "{id} reads something");
        assert!(check.not.ends_with('.'), "{id}: what a pass does not prove is a sentence");
        let (Worth::Proves(worth) | Worth::Reports(worth)) = check.worth;
        assert!(worth.ends_with('.'), "{id}: what a pass is worth is a sentence");
        assert!(check.reads.iter().any(|read| read.needed), "{id} needs something");
        for cis in check.cis {
            assert!(cis.split('.').all(|part| part.parse::<u8>().is_ok()), "{id}: {cis}");
        }
    }
}

#[test]
fn every_source_is_declared_once() {
    let mut keeps: BTreeMap<&str, &Source> = BTreeMap::new();
    for read in checks().flat_map(|check| check.reads) {
        let source = read.source;
        let known = *keeps.entry(source.id).or_insert(source);
        let same = std::mem::discriminant(&known.keep) == std::mem::discriminant(&source.keep);
        assert!(same, "{} is declared in two ways", source.id);
        let (kind, rest) = source.id.split_once(':').unwrap_or_default();
        let kinds =
            ["file", "bytes", "stat", "list", "exec", "dbus", "netlink", "probe", "http", "proc", "node", "tls"];
        assert!(kinds.contains(&kind) && !rest.is_empty(), "{}: kind and rest", source.id);
        let fits = match source.keep {
            Keep::Head(_) => kind == "bytes",
            Keep::Stat => kind == "stat",
            Keep::Listing => kind == "list",
            Keep::Text | Keep::Rewritten(_) => matches!(kind, "file" | "exec" | "proc"),
            Keep::Record => !matches!(kind, "bytes" | "stat" | "list"),
        };
        assert!(fits, "{}: its kind and what is kept", source.id);
    }
}

#[test]
fn every_claim_is_the_pages() {
    let mut ids = std::collections::BTreeSet::new();
    for claim in CLAIMS {
        assert!(is_kebab(claim.id) && ids.insert(claim.id), "{}", claim.id);
        assert!(!claim.sentence.is_empty() && claim.beyond.ends_with('.'), "{}", claim.id);
    }
}

#[test]
fn a_changed_source_concerns_its_checks_only() {
    let concerned: Vec<&str> = checks_reading("file:/sys/fs/selinux/enforce").map(|check| check.id).collect();
    assert!(concerned.contains(&"selinux-mode"));
    assert!(!concerned.contains(&"selinux-config"));
    assert_eq!(checks_reading("file:/nothing").count(), 0);
}
