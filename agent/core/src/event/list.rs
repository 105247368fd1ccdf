//! The list itself: one block an event. Ids come from `systemd-id128 new` and are never reused.

use super::{Event, Priority};

/// Makes each block a constant and a line of [`ALL`], so that the two cannot differ.
macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $event:expr;)*) => {
        $($(#[$doc])* pub const $name: Event = $event;)*

        /// Every event, in the order of the catalog.
        pub const ALL: &[&Event] = &[$(&$name),*];
    };
}

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

    /// The kubelet's client certificate is now @EYEWALL_STATE@.
    CERTIFICATE_STATE_CHANGED = Event {
        id: "9d30f6357b3243ae9370d337b0922516",
        name: "certificate-state-changed",
        priority: Priority::Info,
        subject: "The kubelet's client certificate is now @EYEWALL_STATE@",
        meaning: "`eyewall certificates` shows why, and what happens next.",
    };

    /// A certificate was asked for.
    CERTIFICATE_REQUESTED = Event {
        id: "3197f6b3e6964f6389d9d79a3ff577db",
        name: "certificate-requested",
        priority: Priority::Info,
        subject: "A certificate was asked for",
        meaning: "The signing request @EYEWALL_CSR@ was made for node @EYEWALL_NODE@ with the @EYEWALL_CREDENTIAL@ credential.\n\
         Its key is on disk, and never leaves this host.",
    };

    /// The certificate request waits for its approval.
    CERTIFICATE_PENDING = Event {
        id: "d35f3b3a709e4f1091654fe85f99abb5",
        name: "certificate-pending",
        priority: Priority::Info,
        subject: "The certificate request waits for its approval",
        meaning: "The signing request @EYEWALL_CSR@ is on the API server. Approval and signature are the work of\n\
         kube-controller-manager. If it stays there, look at it:\n\
         \n\
         \x20   kubectl describe csr @EYEWALL_CSR@\n\
         \x20   kubectl certificate approve @EYEWALL_CSR@",
    };

    /// A new certificate is in force.
    CERTIFICATE_INSTALLED = Event {
        id: "84076d818bbd42308b8647a68d9ffd9d",
        name: "certificate-installed",
        priority: Priority::Info,
        subject: "A new certificate is in force",
        meaning: "The certificate with serial @EYEWALL_SERIAL@ was proved (key, name, usage, chain, dates, and the API server's own\n\
         answer) and then installed as @EYEWALL_FILE@. It ends at @EYEWALL_NOT_AFTER@ and is renewed from @EYEWALL_RENEW_AT@.\n\
         \n\
         The kubelet takes it over without a restart.",
    };

    /// A certificate that was already there was adopted.
    CERTIFICATE_ADOPTED = Event {
        id: "d414dde0e258465ab420615a5c5b2603",
        name: "certificate-adopted",
        priority: Priority::Info,
        subject: "A certificate that was already there was adopted",
        meaning: "The certificate with serial @EYEWALL_SERIAL@ in @EYEWALL_FILE@ is valid and belongs to this node.\n\
         It ends at @EYEWALL_NOT_AFTER@ and is renewed from @EYEWALL_RENEW_AT@.",
    };

    /// The kubelet has renewed its certificate itself.
    CERTIFICATE_RENEWED_BY_KUBELET = Event {
        id: "72fde33c73b04206b33b4ef390d1f609",
        name: "certificate-renewed-by-kubelet",
        priority: Priority::Info,
        subject: "The kubelet has renewed its certificate itself",
        meaning: "The certificate with serial @EYEWALL_SERIAL@ in @EYEWALL_FILE@ is in force and ends at @EYEWALL_NOT_AFTER@.\n\
         The kubelet asked for it and wrote it: with owner = \"kubelet\" Eyewall only looks.",
    };

    /// The certificate is due for renewal.
    CERTIFICATE_RENEWAL_DUE = Event {
        id: "71307959ae144867af0d593c438e05d8",
        name: "certificate-renewal-due",
        priority: Priority::Info,
        subject: "The certificate is due for renewal",
        meaning: "The certificate with serial @EYEWALL_SERIAL@ ends at @EYEWALL_NOT_AFTER@. A new one is being asked for;\n\
         the present one stays in force until the new one is proved.",
    };

    /// The certificate should have been renewed long ago.
    CERTIFICATE_RENEWAL_OVERDUE = Event {
        id: "b9891a832738444fa6c27359829d744e",
        name: "certificate-renewal-overdue",
        priority: Priority::Error,
        subject: "The certificate should have been renewed long ago",
        meaning: "The certificate with serial @EYEWALL_SERIAL@ ends at @EYEWALL_NOT_AFTER@ and its renewal keeps failing (@EYEWALL_KIND@).\n\
         When it ends the node is cut off from its cluster.\n\
         \n\
         `eyewall certificates` shows what stands in the way.",
    };

    /// A certificate file that cannot be used was set aside.
    CERTIFICATE_QUARANTINED = Event {
        id: "53007b39c952439fb91cc3963ce14462",
        name: "certificate-quarantined",
        priority: Priority::Warning,
        subject: "A certificate file that cannot be used was set aside",
        meaning: "The file @EYEWALL_FILE@ is no usable certificate and key of this node (@EYEWALL_KIND@).\n\
         It was moved to @EYEWALL_MOVED_TO@, and a new one is asked for.",
    };

    /// The certificate request was refused.
    CERTIFICATE_DENIED = Event {
        id: "d5d62a258f774809b2a61eabfe262258",
        name: "certificate-denied",
        priority: Priority::Error,
        subject: "The certificate request was refused",
        meaning: "The signing request @EYEWALL_CSR@ was denied, or its signer failed (@EYEWALL_KIND@). The agent asks again only after a\n\
         long pause, because a refusal is a decision and not a fault of the network.\n\
         \n\
         \x20   kubectl get csr @EYEWALL_CSR@ -o yaml",
    };

    /// An attempt to get a certificate failed.
    CERTIFICATE_FAILED = Event {
        id: "377053cdea7a426c966c023f551379fb",
        name: "certificate-failed",
        priority: Priority::Warning,
        subject: "An attempt to get a certificate failed",
        meaning: "The reason is @EYEWALL_KIND@. The agent tries again with growing pauses; this is said once for each new reason.\n\
         \n\
         `eyewall certificates` shows the attempts and when the next one is.",
    };

    /// The API server does not know the bootstrap token.
    BOOTSTRAP_TOKEN_REJECTED = Event {
        id: "e5e75388f91b43b094d3c52f2406a6d1",
        name: "bootstrap-token-rejected",
        priority: Priority::Error,
        subject: "The API server does not know the bootstrap token",
        meaning: "The credential in the bootstrap kubeconfig was answered with 401: the token has expired, was deleted,\n\
         or is another cluster's. Put a new token into the kubeconfig, or renew the old one in the cluster.\n\
         The agent goes on by itself.",
    };

    /// The bootstrap credential would not bring this node back.
    RECOVERY_CREDENTIAL_REJECTED = Event {
        id: "1a70cd97c05f4a9c92baf63cf369f561",
        name: "recovery-credential-rejected",
        priority: Priority::Warning,
        subject: "The bootstrap credential would not bring this node back",
        meaning: "The API server does not know the credential of the bootstrap kubeconfig (@EYEWALL_KIND@). The node goes on with its\n\
         certificate and renews it, but once it is off for longer than that lasts it cannot come back by itself.\n\
         Put a fresh bootstrap kubeconfig in its place; the agent sees and tests it at once.",
    };

    /// The bootstrap credential works again.
    RECOVERY_CREDENTIAL_GOOD = Event {
        id: "8b0e29d8096342a0bfd64b7c6bcadb12",
        name: "recovery-credential-good",
        priority: Priority::Info,
        subject: "The bootstrap credential would bring this node back",
        meaning: "The API server knows the credential of the bootstrap kubeconfig again.",
    };

    /// The cluster's certificate authority ends soon.
    CA_ENDING = Event {
        id: "84caaa11c1154c03af1ebd679c789892",
        name: "ca-ending",
        priority: Priority::Warning,
        subject: "The cluster's certificate authority ends soon",
        meaning: "The authority of the bootstrap kubeconfig ends at @EYEWALL_NOT_AFTER@. After that no certificate is issued and every\n\
         node is cut off: give the cluster a new authority, or replace the cluster, before then.\n\
         \n\
         When this is told, `warn_authority` in the section [certificates] says: the share of its life that it has lived.",
    };

    /// The cluster's certificate authority lasts.
    CA_LASTING = Event {
        id: "469fb8de37bd4f09af5355d32b58bcf4",
        name: "ca-lasting",
        priority: Priority::Info,
        subject: "The cluster's certificate authority lasts",
        meaning: "The bootstrap kubeconfig has an authority that ends at @EYEWALL_NOT_AFTER@, after it was warned that one ends soon.",
    };

    /// This host may not stay off for long.
    OFF_TIME_SHORT = Event {
        id: "55c0d67425774ce99089645034dff437",
        name: "off-time-short",
        priority: Priority::Warning,
        subject: "This host may not stay off for long",
        meaning: "Until @EYEWALL_UNTIL@ this host may be off and comes back by its certificate. That is less than it should be, because a\n\
         renewal is late or the certificates are short. After that it needs the bootstrap credential of its kubeconfig.\n\
         \n\
         `eyewall certificates` shows what stands in the way of the renewal. When this is told, `warn_off` in the section\n\
         [certificates] says.",
    };

    /// This host may stay off again.
    OFF_TIME_GOOD = Event {
        id: "644973a620414714bffb59cc969a8d77",
        name: "off-time-good",
        priority: Priority::Info,
        subject: "This host may stay off as long as it should",
        meaning: "Until @EYEWALL_UNTIL@ this host may be off and comes back by its certificate, after it was warned that\n\
         the time is short.",
    };

    /// The bootstrap credential was not found good for long.
    RECOVERY_UNTESTED = Event {
        id: "8df036f7765d4a96b13b6363d7ef7ed7",
        name: "recovery-untested",
        priority: Priority::Warning,
        subject: "The bootstrap credential was not found good for long",
        meaning: "The agent asks the API server every day whether it knows the bootstrap credential. That has had no good end for longer\n\
         than `warn_recovery` in the section [certificates] allows: should this host lose its certificate, it may not come back.\n\
         \n\
         `eyewall certificates` shows how the last test ended.",
    };

    /// The bootstrap credential is known to be good again.
    RECOVERY_TESTED = Event {
        id: "ddbc506424ed4459b9981c99b3dc11f5",
        name: "recovery-tested",
        priority: Priority::Info,
        subject: "The bootstrap credential is known to be good again",
        meaning: "The API server knows the bootstrap credential, after it was not found good for long.",
    };

    /// The certificate has expired.
    CERTIFICATE_EXPIRED = Event {
        id: "e6a896e4a5a6491cae4d187acd92382a",
        name: "certificate-expired",
        priority: Priority::Error,
        subject: "The certificate has expired",
        meaning: "The certificate with serial @EYEWALL_SERIAL@ ended at @EYEWALL_NOT_AFTER@. The node is cut off from its cluster.\n\
         A new certificate is asked for with the bootstrap credential.",
    };

    /// The certificate is good again.
    CERTIFICATE_RECOVERED = Event {
        id: "313329368eae40edb5d2ddd38159017e",
        name: "certificate-recovered",
        priority: Priority::Info,
        subject: "The certificate is good again",
        meaning: "The kubelet's client certificate is valid again after it was @EYEWALL_STATE_BEFORE@.",
    };

    /// The cluster's certificate authority has expired.
    CA_EXPIRED = Event {
        id: "676694827854478aa55cf33542df830e",
        name: "ca-expired",
        priority: Priority::Error,
        subject: "The cluster's certificate authority has expired",
        meaning: "The authority of the bootstrap kubeconfig ended at @EYEWALL_NOT_AFTER@. Nothing on this host can help:\n\
         the cluster needs a new authority, and every node its certificate in the bootstrap kubeconfig.",
    };

    /// A serving certificate was asked for.
    SERVING_REQUESTED = Event {
        id: "35a77e7560c845cb87ff0e8eb52a2e7b",
        name: "serving-requested",
        priority: Priority::Info,
        subject: "A serving certificate for the kubelet was asked for",
        meaning: "The signing request @EYEWALL_CSR@ was made for node @EYEWALL_NODE@, for the names and addresses @EYEWALL_NAMES@.\n\
         It needs an approver: kube-controller-manager signs such requests and never approves them.",
    };

    /// The serving certificate's request waits for an approver.
    SERVING_PENDING = Event {
        id: "d3baff4105094e79be72dc57b1869805",
        name: "serving-pending",
        priority: Priority::Warning,
        subject: "The serving certificate waits for an approver",
        meaning: "Nobody has approved the signing request @EYEWALL_CSR@. kube-controller-manager never approves serving certificates:\n\
         run an approver for kubernetes.io/kubelet-serving in the cluster, or approve it by hand:\n\
         \n\
         \x20   kubectl certificate approve @EYEWALL_CSR@\n\
         \n\
         Until then the kubelet serves with the certificate it has.",
    };

    /// A new serving certificate is in force.
    SERVING_INSTALLED = Event {
        id: "cea728a6e8184b5db8152b5d71341065",
        name: "serving-installed",
        priority: Priority::Info,
        subject: "A new serving certificate is in force",
        meaning: "The certificate with serial @EYEWALL_SERIAL@ for @EYEWALL_NAMES@ was proved (key, name, usage, addresses,\n\
         chain, dates) and installed as @EYEWALL_FILE@. It ends at @EYEWALL_NOT_AFTER@ and is renewed from @EYEWALL_RENEW_AT@.\n\
         \n\
         A kubelet from 1.31 on takes it over without a restart, an older one at its next start.",
    };

    /// The serving certificate is due for renewal.
    SERVING_RENEWAL_DUE = Event {
        id: "f7581243f73e4199b40c162ac501ba70",
        name: "serving-renewal-due",
        priority: Priority::Info,
        subject: "The serving certificate is due for renewal",
        meaning: "A new one is asked for (@EYEWALL_KIND@): its time has come, or the node has other addresses, another name or another\n\
         cluster CA. The present one, with serial @EYEWALL_SERIAL@, stays in force until the new one is proved.",
    };

    /// The serving certificate was not renewed in time.
    SERVING_OVERDUE = Event {
        id: "a7ad1015a26142699f816b6337da441a",
        name: "serving-overdue",
        priority: Priority::Error,
        subject: "The serving certificate was not renewed in time",
        meaning: "The serving certificate with serial @EYEWALL_SERIAL@ ends at @EYEWALL_NOT_AFTER@, or has ended, and its renewal does not\n\
         succeed (@EYEWALL_KIND@). Whoever verifies the kubelet (metrics-server, an API server with\n\
         --kubelet-certificate-authority) can then no longer ask it. The node itself stays in its cluster.\n\
         \n\
         `eyewall certificates` shows what stands in the way.",
    };

    /// The serving certificate's request was refused.
    SERVING_DENIED = Event {
        id: "610d138f850744929d23f31fc684444a",
        name: "serving-denied",
        priority: Priority::Error,
        subject: "The serving certificate's request was refused",
        meaning: "The signing request @EYEWALL_CSR@ was denied, its signer failed, or the node may not ask (@EYEWALL_KIND@). An approver\n\
         denies what is not for addresses that it knows: compare them with `kubectl get node @EYEWALL_NODE@ -o wide`.\n\
         \n\
         \x20   kubectl get csr @EYEWALL_CSR@ -o yaml",
    };

    /// The serving certificate cannot be had for now.
    SERVING_FAILED = Event {
        id: "2444ca116e614b5f82c9d5c4bd816648",
        name: "serving-failed",
        priority: Priority::Warning,
        subject: "The serving certificate cannot be had for now",
        meaning: "The reason is @EYEWALL_KIND@. The agent tries again with growing pauses; this is said once for each new reason.\n\
         The kubelet serves with the certificate it has.",
    };

    /// A serving pair that cannot be used was taken away.
    SERVING_WITHDRAWN = Event {
        id: "2d137f386b914a29849c0ff90f04d88f",
        name: "serving-withdrawn",
        priority: Priority::Warning,
        subject: "A serving pair that cannot be used was taken away",
        meaning: "What kubelet.crt and kubelet.key led to is no whole certificate with its key (@EYEWALL_KIND@), and a kubelet that starts\n\
         with it would fail for ever. A kubelet that runs goes on with what it read before; one that starts makes a\n\
         self-signed pair. A bad file was kept as @EYEWALL_MOVED_TO@.",
    };

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
