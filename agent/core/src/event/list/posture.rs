//! The claims of the security page.

use super::events;
use crate::event::{Event, Priority};

events! {
    /// A claim of the security page does not hold on this host any more.
    POSTURE_FAILED = Event {
        id: "bf37b2bbe017488da97606c56fdd0f2e",
        name: "posture-failed",
        priority: Priority::Error,
        subject: "The check @EYEWALL_CHECK@ fails on this host",
        meaning: "It was @EYEWALL_VERDICT_BEFORE@ and is @EYEWALL_VERDICT@ now, for the reason @EYEWALL_KIND@.\n\
         It was judged by: @EYEWALL_EVIDENCE@.\n\
         \n\
         `eyewall check` shows every claim, what it was judged by, and what to do. If this is meant to be so, say so in\n\
         [posture] expect, or waive it with a reason and an end.",
    };

    /// A claim of the security page cannot be judged any more.
    POSTURE_UNKNOWN = Event {
        id: "ff01f4dc2db64acfab5aee002b72b21e",
        name: "posture-unknown",
        priority: Priority::Warning,
        subject: "The check @EYEWALL_CHECK@ cannot tell",
        meaning: "It was @EYEWALL_VERDICT_BEFORE@, and the agent cannot look any more: @EYEWALL_KIND@.\n\
         What could not be looked at is not taken for good. `eyewall check` says what is in the way.",
    };

    /// A claim of the security page holds again.
    POSTURE_GOOD = Event {
        id: "54e1299a242b4fd7bcb12563fa1bcd47",
        name: "posture-good",
        priority: Priority::Info,
        subject: "The check @EYEWALL_CHECK@ is good again",
        meaning: "It was @EYEWALL_VERDICT_BEFORE@ and is @EYEWALL_VERDICT@ now.\n\
         It was judged by: @EYEWALL_EVIDENCE@.",
    };

    /// It is known who changed what a claim was judged by.
    POSTURE_ACTOR = Event {
        id: "702686357e414994b43fba32b07b4127",
        name: "posture-actor",
        priority: Priority::Info,
        subject: "The change of @EYEWALL_CHECK@ has an author",
        meaning: "The audit record names the user who logged in as uid @EYEWALL_UID@, whatever they became since.",
    };
}
