//! The journal's events: each a constant id, a name and what it means. A tested public interface:
//! ids never change, and `units/eyewall.catalog` (what `journalctl -x` shows) is checked against this list.

mod list;

pub use list::*;

/// How loud an event is; the journal's priorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// `err`: someone must act.
    Error,
    /// `warning`: it heals by itself, or someone should look.
    Warning,
    /// `info`: the story.
    Info,
}

/// One kind of event. Adding one is adding one block to a file of `event/list/` and rendering the catalog again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// 32 lower-case hex digits (`systemd-id128 new`); never reused.
    pub id: &'static str,
    /// kebab-case; the journal's `EYEWALL_EVENT`.
    pub name: &'static str,
    /// The journal's priority.
    pub priority: Priority,
    /// The catalog's subject line.
    pub subject: &'static str,
    /// The catalog's text: what it means and what to do. `@EYEWALL_CSR@` stands for that field's value.
    pub meaning: &'static str,
}

/// Every field an event may carry beside its name, without the `EYEWALL_` prefix. Closed, because people write
/// alerts and dashboards on them. Times are RFC 3339, hashes and serials lower-case hex. None can hold a secret.
pub const FIELDS: &[&str] = &[
    "attempts",       // how often it was tried
    "check",          // a posture check
    "command",        // what a peer of the socket asked for: `certificates-renew`
    "credential",     // with which identity: `bootstrap` or `node`
    "csr",            // the name of the signing request
    "evidence",       // what a posture check was judged by
    "file",           // the file it is about
    "files",          // several of them, separated by blanks
    "gid",            // the group of a peer
    "group",          // the group whose slots are counted
    "image",          // an image reference, digest included if there is one
    "kind",           // the reason's machine word
    "moved_to",       // where a file went
    "names",          // what a serving certificate is for: DNS names and IP addresses, separated by blanks
    "next_at",        // when the next attempt is
    "node",           // the node's name
    "not_after",      // the end of a certificate
    "not_before",     // its start
    "pid",            // the process of a peer
    "position",       // which of the images; 0 is the first
    "release",        // a release of the OS
    "renew_at",       // when a certificate's renewal begins
    "runtime",        // `podman` or `docker`
    "serial",         // the serial of a certificate
    "sha256",         // the hash of its DER; the API server's `credential-id` names the same
    "skew_seconds",   // how far a clock is ahead or was set ahead; negative: behind, back
    "state",          // a certificate's or a reboot's state
    "state_before",   // the one it was in
    "task",           // a loop of the agent
    "uid",            // the user of a peer
    "unit",           // a systemd unit
    "until",          // an instant to which something holds
    "verdict",        // of a posture check: `pass`, `fail`, `unknown`, `not-applicable`, `waived`
    "verdict_before", // the one before
    "version",        // the agent's
];

/// `units/eyewall.catalog`: what `journalctl -x` shows below an entry, in the format of
/// <https://systemd.io/CATALOG/>.
pub fn catalog() -> String {
    let mut text = String::from(
        "# What each event of eyewall means, for `journalctl -x`. Made from agent/core/src/event/list/: change it there,\n\
         # then run `EYEWALL_WRITE_CATALOG=1 cargo test -p eyewall-core catalog`.\n",
    );
    for event in all() {
        text.push_str("\n-- ");
        text.push_str(event.id);
        text.push_str("\nSubject: ");
        text.push_str(event.subject);
        text.push_str("\nDefined-By: eyewall\n\n");
        text.push_str(event.meaning);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn is_word(text: &str, separator: char) -> bool {
        !text.is_empty()
            && text
                .split(separator)
                .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
    }

    /// The `@FIELD@`s of a text.
    fn placeholders(text: &str) -> Vec<&str> {
        text.split('@').skip(1).step_by(2).collect()
    }

    #[test]
    fn ids_are_unique_and_what_the_journal_takes() {
        let mut ids = BTreeSet::new();
        let mut names = BTreeSet::new();
        for event in all() {
            let name = event.name;
            assert_eq!(event.id.len(), 32, "{name}");
            assert!(event.id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{name}");
            assert!(ids.insert(event.id), "{name}: its id is another's");
            assert!(names.insert(name), "{name}: twice");
            assert!(is_word(name, '-'), "{name}: not kebab-case");
        }
        assert!(ids.len() > 20, "the list was read");
    }

    #[test]
    fn texts_are_told_and_fit_the_catalog() {
        for event in all() {
            let name = event.name;
            assert!(!event.subject.is_empty(), "{name}");
            assert!(!event.subject.contains('\n'), "{name}: a subject is one line");
            assert!(!event.meaning.trim().is_empty(), "{name}");
            for line in event.meaning.lines() {
                assert!(line.chars().count() <= 120, "{name}: {line}");
                assert_eq!(line.trim_end(), line, "{name}: blanks at the end");
                // systemd takes such a line for the next entry, or for a comment.
                assert!(!line.starts_with("-- ") && !line.starts_with('#'), "{name}: {line}");
            }
            for text in [event.subject, event.meaning] {
                assert_eq!(text.matches('@').count() % 2, 0, "{name}: an open @");
                for field in placeholders(text) {
                    let known = field
                        .strip_prefix("EYEWALL_")
                        .is_some_and(|f| FIELDS.contains(&f.to_ascii_lowercase().as_str()));
                    assert!(known, "{name}: @{field}@ is no field");
                }
            }
        }
    }

    #[test]
    fn fields_are_sorted_and_words() {
        assert!(FIELDS.is_sorted_by(|a, b| a < b), "{FIELDS:?}");
        for field in FIELDS {
            assert!(is_word(field, '_'), "{field}");
        }
    }

    /// The shipped file is the list. `EYEWALL_WRITE_CATALOG=1` writes it.
    #[test]
    fn the_shipped_catalog_is_the_list() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../units/eyewall.catalog");
        if std::env::var_os("EYEWALL_WRITE_CATALOG").is_some() {
            std::fs::write(&path, catalog()).expect("units/ can be written");
        }
        let shipped = std::fs::read_to_string(&path).expect("units/eyewall.catalog is there");
        assert!(
            shipped == catalog(),
            "units/eyewall.catalog is stale: run EYEWALL_WRITE_CATALOG=1 cargo test -p eyewall-core catalog"
        );
    }
}
