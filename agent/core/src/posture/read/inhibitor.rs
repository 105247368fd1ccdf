//! logind's inhibitor locks (`org.freedesktop.login1.Manager.ListInhibitors`).

use serde::{Deserialize, Serialize};

/// One lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inhibitor {
    /// What it holds up, separated by colons: `shutdown`, `sleep`, ...
    pub what: String,
    /// Who holds it, in its own words.
    pub who: String,
    /// Why, in its own words.
    pub why: String,
    /// `block`, `block-weak` or `delay`.
    pub mode: String,
    /// The user of the process that took it.
    pub uid: u32,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inhibitors {
    /// In the order in which logind lists them.
    pub inhibitors: Vec<Inhibitor>,
}

impl Inhibitor {
    /// Keeps the host from rebooting until it is let go?
    pub fn blocks_shutdown(&self) -> bool {
        self.mode == "block" && self.what.split(':').any(|what| what == "shutdown")
    }

    /// Is it the agent's own? Only root can say so.
    pub fn is_ours(&self) -> bool {
        self.who == "eyewall" && self.uid == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_on_shutdown_is_told_from_a_delay() {
        for (what, who, mode, uid, blocks, ours) in [
            ("shutdown", "eyewall", "block", 0, true, true),
            ("sleep:shutdown", "eyewall", "block", 0, true, true),
            ("shutdown", "eyewall", "block", 1000, true, false),
            ("shutdown", "kubelet", "delay", 0, false, false),
            ("shutdown", "x", "block-weak", 0, false, false),
            ("handle-power-key", "x", "block", 0, false, false),
        ] {
            let lock = Inhibitor { what: what.into(), who: who.into(), why: String::new(), mode: mode.into(), uid };
            assert_eq!((lock.blocks_shutdown(), lock.is_ours()), (blocks, ours), "{what} {who} {mode}");
        }
    }
}
