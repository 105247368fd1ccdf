//! The kubelet's client certificate.

use super::events;
use crate::event::{Event, Priority};

events! {
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
}
