//! The journal's events: each a constant id, a name and what it means. A tested public interface:
//! ids never change, and `units/eyewall.catalog` (what `journalctl -x` shows) is checked against this list.

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

/// One kind of event. Adding one is adding one constant and its line in [`ALL`].
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
    /// The catalog's text: what it means and what to do.
    pub meaning: &'static str,
}
