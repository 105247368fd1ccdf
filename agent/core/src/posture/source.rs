//! Where evidence comes from, declared as data: every source once, with how much of it may be kept.
//!
//! A source's id is a stable word that says how it is read: `file:PATH` (text), `bytes:PATH` (the first bytes), `stat:PATH`, `list:PATH` (a
//! directory), `exec:NAME` (one of the few fixed programs), `dbus:…`, `netlink:…`, `proc:…` (processes), `probe:…`, `http:…` and `tls:…` (something is
//! asked and answers), `node:…` (put together by the agent from several files, or remembered by it). A path that configuration can
//! move has its key in the place of the path: `file:{kubelet.config}`. An id that ends in `*` names a family: `dbus:unit:*` has one member for
//! each unit, and the members' ids are what evidence holds.

use super::evidence::Capture;

/// One source, or a family of them.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// The id; see the module's text for its form.
    pub id: &'static str,
    /// What may be kept of it.
    pub keep: Keep,
}

/// What is kept of a source. There is no default: whoever declares a source has thought about the secrets in it.
#[derive(Clone, Copy, Debug)]
pub enum Keep {
    /// Text in which no secret can be.
    Text,
    /// Text of which this is kept. The function is total, and what it returns holds no secret.
    Rewritten(fn(&str) -> String),
    /// This many bytes from the beginning, no secret in them. There may be more behind them.
    Head(usize),
    /// A typed value ([`Capture::Record`]) that the daemon makes; its type has no field for a secret.
    Record,
    /// Owner, mode, size and time, never content.
    Stat,
    /// Names, kinds and modes of a directory's entries, never content.
    Listing,
}

impl Source {
    /// A text without secrets.
    pub const fn text(id: &'static str) -> Self {
        Self { id, keep: Keep::Text }
    }

    /// A text of which `rewrite` leaves what may be kept.
    pub const fn rewritten(id: &'static str, rewrite: fn(&str) -> String) -> Self {
        Self { id, keep: Keep::Rewritten(rewrite) }
    }

    /// The first `most` bytes of something binary.
    pub const fn head(id: &'static str, most: usize) -> Self {
        Self { id, keep: Keep::Head(most) }
    }

    /// A typed value.
    pub const fn record(id: &'static str) -> Self {
        Self { id, keep: Keep::Record }
    }

    /// Owner, mode, size, time.
    pub const fn stat(id: &'static str) -> Self {
        Self { id, keep: Keep::Stat }
    }

    /// A directory's entries.
    pub const fn listing(id: &'static str) -> Self {
        Self { id, keep: Keep::Listing }
    }

    /// The part before the `*` of a family; `None` for a single source.
    pub fn prefix(&self) -> Option<&'static str> {
        self.id.strip_suffix('*')
    }

    /// Is `id` this source, or a member of this family?
    pub fn is(&self, id: &str) -> bool {
        match self.prefix() {
            Some(prefix) => id.strip_prefix(prefix).is_some_and(|member| !member.is_empty()),
            None => id == self.id,
        }
    }

    /// The id of a family's member; a single source's own id.
    pub fn member(&self, name: &str) -> String {
        match self.prefix() {
            Some(prefix) => format!("{prefix}{name}"),
            None => self.id.to_owned(),
        }
    }

    /// What becomes evidence of the content `raw`: bounded, and without secrets.
    pub fn capture(&self, raw: &[u8]) -> Capture {
        match (self.keep, std::str::from_utf8(raw)) {
            (Keep::Head(most), _) => Capture::bytes(raw.get(..most).unwrap_or(raw)),
            (Keep::Text, Ok(text)) => Capture::text(text),
            // The raw text may be larger than what is kept of it, but not without end.
            (Keep::Rewritten(_), _) if raw.len() > 8 * Capture::LARGEST => Capture::too_large(raw.len()),
            (Keep::Rewritten(rewrite), Ok(text)) => Capture::text(&rewrite(text)),
            (Keep::Text, Err(_)) => Capture::bytes(raw),
            (Keep::Rewritten(_), Err(_)) => {
                Capture::failed("not-text", "it is not UTF-8, so nothing of it may be kept")
            }
            (Keep::Record | Keep::Stat | Keep::Listing, _) => {
                Capture::failed("no-content", "the content of this source is not kept")
            }
        }
    }
}

/// That a check reads a source, and which of its states are answers.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// The source.
    pub source: &'static Source,
    /// No pass without it.
    pub needed: bool,
    /// That it does not exist is an answer (no `/etc/krb5.keytab`); otherwise that is `unknown`.
    pub absent: bool,
    /// That a family has no members is an answer, because another source of the check names them.
    pub none: bool,
    /// That it is empty is an answer (a drop-in directory); otherwise that is `unknown`.
    pub empty: bool,
    /// Any text in it is an answer: it is read for one mark whose absence proves something. Only for sources that cannot be told from garbage.
    pub any: bool,
}

impl Read {
    /// That it does not exist is an answer too.
    pub const fn or_absent(mut self) -> Self {
        self.absent = true;
        self
    }

    /// That no member was captured is an answer too.
    pub const fn or_none(mut self) -> Self {
        self.none = true;
        self
    }

    /// That it is empty is an answer too.
    pub const fn or_empty(mut self) -> Self {
        self.empty = true;
        self
    }

    /// Whatever text is in it is an answer.
    pub const fn whatever_it_says(mut self) -> Self {
        self.any = true;
        self
    }
}

/// The check cannot pass without this source; of a family, without any member that was captured.
pub const fn needs(source: &'static Source) -> Read {
    Read { source, needed: true, absent: false, none: false, empty: false, any: false }
}

/// The check says more with this source, and may pass without.
pub const fn also(source: &'static Source) -> Read {
    Read { source, needed: false, absent: true, none: true, empty: true, any: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_members() {
        let unit = Source::record("dbus:unit:*");
        assert!(unit.is("dbus:unit:sshd.service"));
        assert!(!unit.is("dbus:unit:"));
        assert!(!unit.is("dbus:units"));
        assert_eq!(unit.member("a.service"), "dbus:unit:a.service");
        let one = Source::text("file:/a");
        assert!(one.is("file:/a") && !one.is("file:/a/b"));
        assert_eq!(one.member("x"), "file:/a");
    }

    #[test]
    fn content_is_kept_as_declared() {
        let rewritten = Source::rewritten("file:/s", |text| text.replace("secret", ".."));
        for (name, source, raw, want) in [
            ("text", Source::text("file:/a"), &b"a\n"[..], Capture::text("a\n")),
            ("the beginning", Source::head("bytes:/a", 2), b"\x00\x01\x02", Capture::bytes(b"\x00\x01")),
            ("all there is", Source::head("bytes:/a", 9), b"\x00", Capture::bytes(b"\x00")),
            ("not text", Source::text("file:/a"), b"\xff", Capture::bytes(b"\xff")),
            ("rewritten", rewritten, b"a secret", Capture::text("a ..")),
            (
                "not to be rewritten",
                rewritten,
                b"secret\xff",
                Capture::failed("not-text", "it is not UTF-8, so nothing of it may be kept"),
            ),
            ("too large", rewritten, &vec![b'a'; 9 * Capture::LARGEST], Capture::too_large(9 * Capture::LARGEST)),
            (
                "no content at all",
                Source::stat("stat:/a"),
                b"secret",
                Capture::failed("no-content", "the content of this source is not kept"),
            ),
        ] {
            assert_eq!(source.capture(raw), want, "{name}");
        }
    }
}
