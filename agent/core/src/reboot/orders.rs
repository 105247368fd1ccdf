//! What operators may say, and what becomes of it.

use serde::{Deserialize, Serialize};

use super::{BootId, Force, Hold, Orders, Request};
use crate::status::Reason;
use crate::time::Time;

/// The longest reason, in characters: it goes whole into `systemd-inhibit --list` and into the Node's annotation.
pub const WHY_LONGEST: usize = 200;

/// A reason in an operator's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Why(String);

/// Why a reason is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhyFault {
    /// Nothing but blanks.
    #[error("A reason is needed, for whoever finds this host so: --why TEXT.")]
    Empty,
    /// Too long.
    #[error("The reason may have {WHY_LONGEST} characters at most.")]
    Long,
    /// It would draw on somebody's terminal.
    #[error("The reason may hold no control characters and no line breaks.")]
    Control,
}

impl WhyFault {
    /// The word for machines.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Empty => "why-empty",
            Self::Long => "why-too-long",
            Self::Control => "why-control-characters",
        }
    }
}

impl Why {
    /// A reason, blanks at its ends left out.
    ///
    /// # Errors
    /// [`WhyFault`].
    pub fn new(text: &str) -> Result<Self, WhyFault> {
        let text = text.trim();
        if text.is_empty() {
            Err(WhyFault::Empty)
        } else if text.chars().count() > WHY_LONGEST {
            Err(WhyFault::Long)
        } else if text.chars().any(char::is_control) {
            Err(WhyFault::Control)
        } else {
            Ok(Self(text.to_owned()))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Why {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// One word of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Reboot this host when it is its turn.
    Request(Why),
    /// Keep it up until it is released.
    Hold(Why),
    /// Let go: a hold, a request, or a slot that is kept.
    Release,
    /// Reboot it now, whatever the window, a hold, the slots and its health say.
    Force(Why),
}

impl Command {
    /// Its name in audits.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Request(_) => "reboot-request",
            Self::Hold(_) => "reboot-hold",
            Self::Release => "reboot-release",
            Self::Force(_) => "reboot-force",
        }
    }

    /// The reason that was given with it.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Request(why) | Self::Hold(why) | Self::Force(why) => Some(why.as_str()),
            Self::Release => None,
        }
    }

    /// The orders after this one, and what to answer. `keeps_slot`: this host keeps the group's slot over its own reboot and is not good, so
    /// that a release frees it.
    pub fn apply(self, orders: &Orders, by: &By, keeps_slot: bool) -> (Orders, Reason) {
        let mut next = orders.clone();
        let By { uid, now, boot_id } = by.clone();
        let reason = match self {
            Self::Request(why) => {
                // The first one's age decides when it is its turn, so asking again does not lose the place.
                let first = next.request.as_ref().filter(|request| request.boot_id == boot_id);
                let since = first.map_or(now, |request| request.since);
                next.request = Some(Request { why: why.0, since, uid, boot_id });
                Reason::new(
                    "reboot-requested",
                    "A coordinated reboot was asked for; `eyewall reboot` shows what it waits for.",
                )
            }
            Self::Hold(why) => {
                next.hold = Some(Hold { why: why.0, since: now, uid });
                Reason::new("held", "This host stays up until `eyewall release`.")
            }
            Self::Force(why) => {
                next.force = Some(Force { why: why.0, since: now, uid, boot_id });
                Reason::new(
                    "reboot-forced",
                    "The host reboots now, whatever the window, a hold, the slots and its health say; it is drained first, \
                     within [reboot] drain_timeout.",
                )
            }
            Self::Release => release(&mut next, boot_id, keeps_slot),
        };
        (next, reason)
    }
}

/// Who gives an order, when and in which boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// The user.
    pub uid: u32,
    /// The time.
    pub now: Time,
    /// The boot that runs.
    pub boot_id: BootId,
}

fn release(orders: &mut Orders, boot_id: BootId, keeps_slot: bool) -> Reason {
    let mut let_go = Vec::new();
    if orders.hold.take().is_some() {
        let_go.push("the hold");
    }
    if orders.request.take().is_some_and(|request| request.boot_id == boot_id) {
        let_go.push("the request for a reboot");
    }
    if orders.force.take().is_some_and(|force| force.boot_id == boot_id) {
        let_go.push("the forced reboot, if it has not begun");
    }
    if keeps_slot {
        orders.free = Some(boot_id);
        let_go.push("the slot that is kept");
    }
    match let_go.as_slice() {
        [] => Reason::new("nothing-to-release", "There is no hold, no request and no kept slot to let go."),
        let_go => Reason::new("released", format!("Let go: {}.", let_go.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_of_text() {
        let long = "ä".repeat(WHY_LONGEST + 1);
        for (text, want) in [
            ("", Err(WhyFault::Empty)),
            (" \t ", Err(WhyFault::Empty)),
            (long.as_str(), Err(WhyFault::Long)),
            ("a\nb", Err(WhyFault::Control)),
            ("a\u{1b}[31mb", Err(WhyFault::Control)),
            (" backup until noon ", Ok("backup until noon")),
            (&long["ä".len()..], Ok(&long["ä".len()..])),
        ] {
            assert_eq!(Why::new(text).as_ref().map(Why::as_str).map_err(|fault| *fault), want, "{text:?}");
        }
        assert!(serde_json::from_str::<Why>("\" \"").is_err(), "what is read is checked too");
    }

    #[test]
    fn what_becomes_of_an_order() {
        let why = |text: &str| Why::new(text).unwrap();
        let boot = |name: &str| BootId(name.to_owned());
        let at = Time::from_unix;
        let by = |seconds| By { uid: 7, now: at(seconds), boot_id: boot("b") };
        let held = Orders {
            hold: Some(Hold { why: "x".to_owned(), since: at(1), uid: 0 }),
            request: Some(Request { why: "y".to_owned(), since: at(2), uid: 0, boot_id: boot("b") }),
            force: Some(Force { why: "z".to_owned(), since: at(3), uid: 0, boot_id: boot("a") }),
            free: None,
        };
        for (name, command, before, keeps, kind, want) in [
            (
                "a request keeps its place",
                Command::Request(why("again")),
                &held,
                false,
                "reboot-requested",
                Orders {
                    request: Some(Request { why: "again".to_owned(), since: at(2), uid: 7, boot_id: boot("b") }),
                    ..held.clone()
                },
            ),
            (
                "one of the boot before has been served",
                Command::Request(why("new")),
                &Orders {
                    request: Some(Request { why: "old".to_owned(), since: at(1), uid: 0, boot_id: boot("a") }),
                    ..Orders::default()
                },
                false,
                "reboot-requested",
                Orders {
                    request: Some(Request { why: "new".to_owned(), since: at(9), uid: 7, boot_id: boot("b") }),
                    ..Orders::default()
                },
            ),
            (
                "a hold replaces a hold",
                Command::Hold(why("mine")),
                &held,
                false,
                "held",
                Orders { hold: Some(Hold { why: "mine".to_owned(), since: at(9), uid: 7 }), ..held.clone() },
            ),
            (
                "the glass",
                Command::Force(why("fire")),
                &Orders::default(),
                false,
                "reboot-forced",
                Orders {
                    force: Some(Force { why: "fire".to_owned(), since: at(9), uid: 7, boot_id: boot("b") }),
                    ..Orders::default()
                },
            ),
            ("all is let go", Command::Release, &held, false, "released", Orders::default()),
            (
                "a kept slot",
                Command::Release,
                &Orders::default(),
                true,
                "released",
                Orders { free: Some(boot("b")), ..Orders::default() },
            ),
            ("nothing", Command::Release, &Orders::default(), false, "nothing-to-release", Orders::default()),
        ] {
            let (orders, reason) = command.apply(before, &by(9), keeps);
            assert_eq!((reason.kind.as_str(), orders), (kind, want), "{name}");
        }
    }
}
