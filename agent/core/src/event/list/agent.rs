//! The agent itself: its start, its limits, its configuration, the clock, its socket.

use super::events;
use crate::event::{Event, Priority};

events! {
    /// Eyewall has started.
    AGENT_STARTED = Event {
        id: "ee15cfab0c264b34b5f0dd7209caaa8f",
        name: "agent-started",
        priority: Priority::Info,
        subject: "Eyewall has started",
        meaning: "Version @EYEWALL_VERSION@ of the node agent is running for node @EYEWALL_NODE@.\n\
         \n\
         It holds no state of its own: it looks at the certificate store, the kubelet and the host afresh\n\
         and goes on from what it finds. `eyewall status` shows the result.",
    };

    /// Eyewall is stopping.
    AGENT_STOPPING = Event {
        id: "60d9c9e243e644febd25925ed44df565",
        name: "agent-stopping",
        priority: Priority::Info,
        subject: "Eyewall is stopping",
        meaning: "The node agent was told to stop. The kubelet goes on running, with the certificate it has.\n\
         While the agent is stopped nobody renews that certificate.",
    };

    /// Eyewall cannot see or do a part of its work on this host.
    AGENT_LIMITED = Event {
        id: "98b5d53f2fac424f98d46cf6923f1e3d",
        name: "agent-limited",
        priority: Priority::Warning,
        subject: "Eyewall cannot see or do a part of its work on this host",
        meaning: "The reason is @EYEWALL_KIND@. The agent does the rest of its work and shows what it cannot see as unknown.\n\
         \n\
         On a host that was made from the Ignition configuration of Eyewall this does not happen.\n\
         Compare the unit with the one that was shipped: `systemctl cat eyewall.service`.",
    };

    /// Eyewall can do again what it could not.
    AGENT_UNLIMITED = Event {
        id: "caf390de2a0d4f83b9a5c891e1a8f7ce",
        name: "agent-unlimited",
        priority: Priority::Info,
        subject: "Eyewall can see or do again what it could not on this host",
        meaning: "The reason @EYEWALL_KIND@, for which a part of the agent's work was left undone, is gone.",
    };

    /// The metrics could not be written.
    METRICS_NOT_WRITTEN = Event {
        id: "9f148fc4128e444480a2d255a9be477a",
        name: "metrics-not-written",
        priority: Priority::Warning,
        subject: "The metrics could not be written to their file",
        meaning: "The file @EYEWALL_FILE@, which `textfile` in the section [metrics] names for node_exporter's collector, could not be\n\
         written (@EYEWALL_KIND@). What the collector has of it grows old. It is tried again every minute.\n\
         \n\
         The unit may write below /run/eyewall and /var/lib/kubelet only. For another directory, make it and open it by a\n\
         drop-in: `systemctl edit eyewall.service` with [Service] and ReadWritePaths=/the/directory.",
    };

    /// The metrics are written again.
    METRICS_WRITTEN = Event {
        id: "fdebbdd0be924d3c98f907e0bb7cb5b1",
        name: "metrics-written",
        priority: Priority::Info,
        subject: "The metrics are written to their file again",
        meaning: "The file @EYEWALL_FILE@ is fresh again.",
    };

    /// A part of Eyewall has stopped working.
    AGENT_STALLED = Event {
        id: "ea821b89d72845d7b94f95096f1371c5",
        name: "agent-stalled",
        priority: Priority::Error,
        subject: "A part of Eyewall has stopped working",
        meaning: "The task @EYEWALL_TASK@ has not reported within its bound, so the agent no longer feeds the watchdog.\n\
         systemd will restart it. No state is lost by that.\n\
         \n\
         If it happens again, keep the journal of eyewall.service and report it.",
    };

    /// The configuration is in force.
    CONFIG_APPLIED = Event {
        id: "d8d6bb1e3a35420882849923307d4bab",
        name: "config-applied",
        priority: Priority::Info,
        subject: "The configuration is in force",
        meaning: "The files @EYEWALL_FILES@ were read, found good and taken over. No restart is needed.",
    };

    /// The configuration was refused.
    CONFIG_REFUSED = Event {
        id: "096adde852cf4b63b7c7eb081d95d477",
        name: "config-refused",
        priority: Priority::Error,
        subject: "The configuration was refused",
        meaning: "The files on disk have faults. The configuration before them stays in force.\n\
         \n\
         `eyewall validate FILE` shows every fault with its line and column.",
    };

    /// This host has no name that a node may have.
    NODE_NAME_MISSING = Event {
        id: "1dae2523a6ef46ae99fb14b2493c7608",
        name: "node-name-missing",
        priority: Priority::Error,
        subject: "This host has no name that a node may have",
        meaning: "The hostname is empty or `localhost`. A certificate is never asked for under such a name, because\n\
         every such host would claim the same node.\n\
         \n\
         Set the hostname, or `name` in the section [node] of /etc/eyewall/eyewall.toml. The agent goes on by itself.",
    };

    /// The clock of this host cannot be trusted.
    CLOCK_SUSPECT = Event {
        id: "24b269cb965d45bdbeefb9e8afef5344",
        name: "clock-suspect",
        priority: Priority::Warning,
        subject: "The clock of this host cannot be trusted",
        meaning: "Certificates are neither judged nor asked for while the clock is in doubt (@EYEWALL_KIND@): a wrong clock\n\
         makes a good certificate look expired. The one in force stays where it is.\n\
         \n\
         See `timedatectl status` and `chronyc tracking`. The agent goes on by itself.",
    };

    /// The clock of this host is in doubt no more.
    CLOCK_RIGHT_AGAIN = Event {
        id: "8d4f97474f0c44b1bb3ddbda2a45ad37",
        name: "clock-right-again",
        priority: Priority::Info,
        subject: "The clock of this host is in doubt no more",
        meaning: "What was held back because of the clock goes on. The certificate is now @EYEWALL_STATE@ (@EYEWALL_KIND@).",
    };

    /// The clock of this host was set.
    CLOCK_SET = Event {
        id: "5b97ec443a244ccebfaf644981fee748",
        name: "clock-set",
        priority: Priority::Info,
        subject: "The clock of this host was set by @EYEWALL_SKEW_SECONDS@ seconds",
        meaning: "A time service or a person set the clock (a negative number: back). Everything that was concluded by the clock\n\
         before is looked at again; no certificate is thrown away for it.\n\
         \n\
         A node whose clock is set again and again has two services that keep it, or a virtual machine's host that does.",
    };

    /// This host's clock and the API server's differ.
    CLOCK_DIFFERS = Event {
        id: "4f61d5e3b0b8413184d5e4451e38d527",
        name: "clock-differs",
        priority: Priority::Warning,
        subject: "This host's clock and the API server's differ by @EYEWALL_SKEW_SECONDS@ seconds",
        meaning: "A time service keeps this host's clock, so it is trusted, and certificates are asked for. But one of the two clocks\n\
         is wrong (a positive number: this host's is ahead), and certificates are issued and judged by the other one.\n\
         \n\
         Compare `timedatectl timesync-status` or `chronyc tracking` on this host and on the control plane.",
    };

    /// A command was accepted over the socket.
    COMMAND_ACCEPTED = Event {
        id: "99215545711d4882814ac8bc377fdb9b",
        name: "command-accepted",
        priority: Priority::Info,
        subject: "A command was accepted over the socket",
        meaning: "The process @EYEWALL_PID@ of user @EYEWALL_UID@ asked for @EYEWALL_COMMAND@.",
    };

    /// A command over the socket was refused.
    PEER_REFUSED = Event {
        id: "0908c2203e2e4cd88874b8525f7a0303",
        name: "peer-refused",
        priority: Priority::Warning,
        subject: "A command over the socket was refused",
        meaning: "The process @EYEWALL_PID@ of user @EYEWALL_UID@ asked for @EYEWALL_COMMAND@. Only root may do that;\n\
         members of the group eyewall may read.",
    };
}
