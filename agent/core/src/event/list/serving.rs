//! The kubelet's serving certificate.

use super::events;
use crate::event::{Event, Priority};

events! {
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
}
