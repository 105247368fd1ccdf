//! The kubelet in its container, and the files that are written for it.

use super::events;
use crate::event::{Event, Priority};

events! {
    /// The kubelet's kubeconfig was written.
    KUBECONFIG_WRITTEN = Event {
        id: "2da93f9b40c3443b95383d6bd95088d2",
        name: "kubeconfig-written",
        priority: Priority::Info,
        subject: "The kubelet's kubeconfig was written",
        meaning: "The file @EYEWALL_FILE@ names the certificate by its path, so a renewal never writes it again.",
    };

    /// A kubelet configuration was written.
    KUBELET_CONFIG_WRITTEN = Event {
        id: "1a60433b18104097a74639238949cc7e",
        name: "kubelet-config-written",
        priority: Priority::Info,
        subject: "A kubelet configuration was written",
        meaning: "There was no @EYEWALL_FILE@, so the default one of Typhoon was written. A file that is there is never changed.",
    };

    /// The kubelet is healthy.
    KUBELET_HEALTHY = Event {
        id: "14511f0c890347e5a1673a2ad386d7b1",
        name: "kubelet-healthy",
        priority: Priority::Info,
        subject: "The kubelet is healthy",
        meaning: "The unit @EYEWALL_UNIT@ is active and its port answers.",
    };

    /// The kubelet is not healthy.
    KUBELET_UNHEALTHY = Event {
        id: "be0ae5c21e5a4ea39da24376e63f4b1d",
        name: "kubelet-unhealthy",
        priority: Priority::Warning,
        subject: "The kubelet is not healthy",
        meaning: "The unit @EYEWALL_UNIT@ is not as it should be (@EYEWALL_KIND@).\n\
         \n\
         \x20   systemctl status @EYEWALL_UNIT@\n\
         \x20   journalctl -u @EYEWALL_UNIT@",
    };

    /// The kubelet was restarted.
    KUBELET_RESTARTED = Event {
        id: "493049c6d57246fc995a093e7eda3562",
        name: "kubelet-restarted",
        priority: Priority::Warning,
        subject: "The kubelet was restarted",
        meaning: "The unit @EYEWALL_UNIT@ did not answer for too long (@EYEWALL_KIND@), so the agent asked systemd to restart it.\n\
         Running pods are not stopped by that.",
    };

    /// The kubelet keeps failing and is no longer restarted.
    KUBELET_RESTART_BUDGET_SPENT = Event {
        id: "0a7d84abcd45417fb79fb06169ca5d26",
        name: "kubelet-restart-budget-spent",
        priority: Priority::Error,
        subject: "The kubelet keeps failing and is no longer restarted",
        meaning: "The agent has restarted @EYEWALL_UNIT@ as often as it may in this time and now leaves it alone:\n\
         more restarts would only hide the cause. See `journalctl -u @EYEWALL_UNIT@`. The budget fills again with time.",
    };

    /// The kubelet's image was chosen.
    KUBELET_IMAGE_CHOSEN = Event {
        id: "2359fa4e9df54f9a92e743f253f05c01",
        name: "kubelet-image-chosen",
        priority: Priority::Info,
        subject: "The kubelet's image was chosen",
        meaning: "The image @EYEWALL_IMAGE@ is run with @EYEWALL_RUNTIME@.",
    };

    /// The kubelet runs from a fallback image.
    KUBELET_IMAGE_FALLBACK = Event {
        id: "0433c13feae64298a2b25169792a30a6",
        name: "kubelet-image-fallback",
        priority: Priority::Warning,
        subject: "The kubelet runs from a fallback image",
        meaning: "The first image of the list could not be had, so @EYEWALL_IMAGE@ (number @EYEWALL_POSITION@ after the first) is run.\n\
         \n\
         Look at the network, the registry and the name of the first image. The next start of the kubelet tries it again.",
    };

    /// The kubelet could not be started.
    KUBELET_START_FAILED = Event {
        id: "92d8b4c8a275443c832e09812fa0f828",
        name: "kubelet-start-failed",
        priority: Priority::Error,
        subject: "The kubelet could not be started",
        meaning: "`eyewall kubelet` gave up (@EYEWALL_KIND@). systemd starts it again after the pause of the unit.\n\
         The message says what was missing.",
    };
}
