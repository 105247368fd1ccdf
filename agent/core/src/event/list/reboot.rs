//! Reboots.

use super::events;
use crate::event::{Event, Priority};

events! {
    /// A reboot of this host is wanted.
    REBOOT_WANTED = Event {
        id: "f1be28f019e3429b96ce959a7fe0d548",
        name: "reboot-wanted",
        priority: Priority::Info,
        subject: "A reboot of this host is wanted",
        meaning: "The reason is @EYEWALL_KIND@; the release that it would take into use is @EYEWALL_RELEASE@, if it is for one.\n\
         \n\
         It happens when no hold, no closed window, no taken slot and nothing that is not good stands in the way.\n\
         `eyewall reboot` shows what it waits for, `eyewall hold --why TEXT` keeps the host up.",
    };

    /// A wanted reboot waits.
    REBOOT_WAITS = Event {
        id: "9d484cfc7d1644c8b214f9bf88f14681",
        name: "reboot-waits",
        priority: Priority::Info,
        subject: "The reboot of this host waits",
        meaning: "What it waits for is @EYEWALL_KIND@. `eyewall reboot` shows the reason in full and who holds the slots.",
    };

    /// This host has the slot and goes on.
    REBOOT_GRANTED = Event {
        id: "aa2170152e6647f8a5d2f5efa45ec453",
        name: "reboot-granted",
        priority: Priority::Info,
        subject: "This host has a slot and goes on towards its reboot",
        meaning: "The slot is one of the group @EYEWALL_GROUP@; the other nodes wait until this one is good again.",
    };

    /// The pods are evicted.
    REBOOT_DRAINING = Event {
        id: "5570fca73bbb44d48cc5118f631312c1",
        name: "reboot-draining",
        priority: Priority::Info,
        subject: "The pods of this node are evicted",
        meaning: "The node was cordoned first. Budgets are honoured; what is left at @EYEWALL_UNTIL@ decides by\n\
         [reboot] on_drain_timeout.",
    };

    /// The host is let go.
    REBOOT_LET_GO = Event {
        id: "c8e8a231c7964a068718e7c34dbc563c",
        name: "reboot-let-go",
        priority: Priority::Info,
        subject: "Eyewall lets the host reboot",
        meaning: "The block lock was released and the reboot was asked for. The release that should run after it is\n\
         @EYEWALL_RELEASE@, if it is for one.",
    };

    /// A reboot was given up.
    REBOOT_UNDONE = Event {
        id: "456c1d39617049488866f6db84ad0ba1",
        name: "reboot-undone",
        priority: Priority::Warning,
        subject: "A reboot was given up, and what was done for it is undone",
        meaning: "The reason is @EYEWALL_KIND@. The node is made schedulable again if Eyewall cordoned it, and the slot is given back\n\
         when the node is good.",
    };

    /// The host has rebooted.
    REBOOT_PROVED = Event {
        id: "2eea717abb5b4a3ca990e20da426ddd0",
        name: "reboot-proved",
        priority: Priority::Info,
        subject: "The host has rebooted and is being proved",
        meaning: "The boot is another one, and the release that runs is @EYEWALL_RELEASE@. The slot is kept until all has been good for\n\
         [reboot] health_gate.",
    };

    /// The slot was given back after a reboot.
    REBOOT_DONE = Event {
        id: "ae97e4e46ce74bdcb965390958f385bd",
        name: "reboot-done",
        priority: Priority::Info,
        subject: "The reboot is over: all is good, and the slot is given back",
        meaning: "The node is schedulable again unless somebody else cordoned it. The next node of the group may go.",
    };

    /// The slot is kept.
    REBOOT_HELD_BACK = Event {
        id: "172a6962d5324b5ba5e0e84fa84c5671",
        name: "reboot-held-back",
        priority: Priority::Error,
        subject: "The slot is kept, because this host is not as it should be after its reboot",
        meaning: "The reason is @EYEWALL_KIND@. No other node of the group reboots before this one is good, so that a bad release\n\
         stops here.\n\
         \n\
         Put right what `eyewall reboot` names, stage another release, or give the slot back with `eyewall release`.",
    };

    /// The host goes back to the release of before.
    REBOOT_ROLLED_BACK = Event {
        id: "227b092f969f4cde820db665f6d71e85",
        name: "reboot-rolled-back",
        priority: Priority::Error,
        subject: "The host goes back to the release of before",
        meaning: "The release @EYEWALL_RELEASE@ never got healthy on this host; it is not taken again here.",
    };

    /// The block lock cannot be had.
    HOST_LOCK_LOST = Event {
        id: "a95d90da7b2149dd8364ef34ec890cc6",
        name: "host-lock-lost",
        priority: Priority::Warning,
        subject: "Eyewall cannot hold the host's shutdown lock",
        meaning: "The reason is @EYEWALL_KIND@. Until it is had again, an updater that finalizes a release, or root, can shut the host\n\
         down without a word from Eyewall.",
    };

    /// The block lock is held again.
    HOST_LOCK_HELD = Event {
        id: "71ea55050e0143539fa9feedadd556ab",
        name: "host-lock-held",
        priority: Priority::Info,
        subject: "Eyewall holds the host's shutdown lock again",
        meaning: "Updaters that ask logind, and from systemd 257 on root as well, are refused with Eyewall's reason.",
    };
}
