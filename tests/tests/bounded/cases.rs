//! The troubles, one by one: how each is made, what it shows, and what it may cost.

use std::time::Duration;

use eyewall_core::csr;
use hyper::Method;
use tests::apiserver::{ApiServer, ApprovalMode, Fault, FaultAction};

const HOUR: u64 = 3_600;

/// A trouble, and what it may cost.
pub struct Case {
    pub name: &'static str,
    /// Makes it.
    pub make: fn(&ApiServer),
    /// Goes on making it while the node is watched.
    pub keep_up: KeepUp,
    /// What `eyewall certificates` shows: state, kind, and words that tell a person what to do.
    pub shows: (&'static str, &'static str, &'static str),
    /// The first wait and the longest, in seconds.
    pub backoff: (u64, u64),
    /// Requests about certificates in one step.
    pub a_step: usize,
    /// Objects that may come to be on the API server.
    pub objects: Objects,
    /// The server is not asked anything for so many seconds after it has answered.
    pub left_alone: u64,
    /// How much of the node's time is watched, in seconds, and how much faster than ours it goes.
    pub span: (u64, u32),
}

#[derive(Clone, Copy, PartialEq)]
pub enum KeepUp {
    Nothing,
    /// Each request is deleted as soon as it is there.
    Delete,
    /// Each request is deleted once it was denied.
    DeleteDenied,
    /// Whatever name the node is about to use is taken by an object of another key.
    TakeTheName,
}

#[derive(Clone, Copy)]
pub enum Objects {
    AtMost(usize),
    /// One a step, all of one key.
    OneAStep,
}

fn status(code: u16, retry_after: Option<u64>) -> FaultAction {
    FaultAction::Status { code, retry_after, body: None }
}

/// At every request for a certificate that is sent.
fn at_create(api: &ApiServer, action: FaultAction) {
    api.inject(Fault::new(action).method(Method::POST).path(csr::PATH).always());
}

/// At every watch; nobody approves.
fn at_watch(api: &ApiServer, lines: &[&str]) {
    api.set_approval(ApprovalMode::Manual);
    let lines = lines.iter().map(|line| (*line).to_owned()).collect();
    api.inject(Fault::new(FaultAction::EndWatch { lines }).path(csr::PATH).always());
}

pub const DECIDED: [Case; 3] = [
    Case {
        name: "denied",
        make: |api| {
            let (reason, message) = ("OperatorDenied".to_owned(), "not one of ours".to_owned());
            api.set_approval(ApprovalMode::Deny { reason, message });
        },
        keep_up: KeepUp::Nothing,
        shows: ("denied", "request-denied", "not one of ours); if this node may join after all, delete the CSR"),
        backoff: (120, HOUR),
        a_step: 1,
        objects: Objects::AtMost(1),
        left_alone: 0,
        span: (6 * HOUR, 360),
    },
    Case {
        name: "failed",
        make: |api| {
            let (reason, message) = ("SignerValidationFailure".to_owned(), "no such profile".to_owned());
            api.set_approval(ApprovalMode::Fail { reason, message });
        },
        keep_up: KeepUp::Nothing,
        shows: (
            "denied",
            "request-failed",
            "no such profile); once kube-controller-manager would sign it, delete the CSR",
        ),
        backoff: (120, HOUR),
        a_step: 1,
        objects: Objects::AtMost(1),
        left_alone: 0,
        span: (6 * HOUR, 360),
    },
    Case {
        name: "denied, and deleted while nobody watches",
        make: |api| {
            let (reason, message) = ("OperatorDenied".to_owned(), "not one of ours".to_owned());
            api.set_approval(ApprovalMode::Deny { reason, message });
        },
        keep_up: KeepUp::DeleteDenied,
        shows: ("denied", "request-denied", "delete the CSR"),
        backoff: (120, HOUR),
        // The look that finds it gone, the request, its watch.
        a_step: 3,
        objects: Objects::OneAStep,
        left_alone: 0,
        span: (6 * HOUR, 360),
    },
];

pub const WAITING: [Case; 7] = [
    Case {
        name: "never approved",
        make: |api| api.set_approval(ApprovalMode::Manual),
        keep_up: KeepUp::Nothing,
        shows: ("pending-approval", "approval-pending", "see it with: kubectl get csr"),
        backoff: (1, 30),
        // A look and a watch.
        a_step: 2,
        objects: Objects::AtMost(1),
        left_alone: 0,
        span: (HOUR, 90),
    },
    Case {
        name: "approved and never signed",
        make: |api| api.set_signing(|signing| signing.delay = Duration::from_secs(86_400)),
        keep_up: KeepUp::Nothing,
        shows: ("pending-approval", "signature-pending", "is kube-controller-manager running with its signing key?"),
        backoff: (1, 30),
        a_step: 2,
        objects: Objects::AtMost(1),
        left_alone: 0,
        span: (HOUR, 90),
    },
    Case {
        name: "410 in the watch",
        make: |api| {
            api.set_approval(ApprovalMode::Manual);
            api.inject(Fault::new(FaultAction::watch_expired()).path(csr::PATH).always());
        },
        keep_up: KeepUp::Nothing,
        shows: ("pending-approval", "approval-pending", "see it with: kubectl get csr"),
        backoff: (1, 30),
        a_step: 2,
        objects: Objects::AtMost(1),
        left_alone: 0,
        span: (HOUR, 90),
    },
    Case {
        name: "a watch that ends at once",
        make: |api| at_watch(api, &[]),
        keep_up: KeepUp::Nothing,
        shows: ("pending-approval", "approval-pending", "see it with: kubectl get csr"),
        backoff: (1, 30),
        a_step: 2,
        objects: Objects::AtMost(1),
        left_alone: 0,
        span: (HOUR, 90),
    },
    Case {
        name: "garbage in the watch",
        make: |api| at_watch(api, &["{\"type\": \u{1}"]),
        keep_up: KeepUp::Nothing,
        shows: ("server-unreachable", "server-error", "a watch line is not one"),
        backoff: (1, 60),
        // A server that answers with garbage is sent the request again; then the look and the watch.
        a_step: 3,
        objects: Objects::AtMost(1),
        left_alone: 0,
        span: (HOUR, 90),
    },
    Case {
        name: "deleted while it is watched",
        make: |api| api.set_approval(ApprovalMode::Manual),
        keep_up: KeepUp::Delete,
        shows: ("requesting", "request-deleted", "somebody deleted the request"),
        backoff: (10, 600),
        a_step: 2,
        objects: Objects::OneAStep,
        left_alone: 0,
        span: (HOUR, 90),
    },
    Case {
        name: "a foreign object of whatever name",
        // Longer than the other needs to see the name, shorter than the node waits for an answer.
        make: |api| at_create(api, FaultAction::Delay(Duration::from_millis(80))),
        keep_up: KeepUp::TakeTheName,
        shows: (
            "requesting",
            "request-of-another",
            "it is left alone, and a new key with a name of its own is asked for",
        ),
        backoff: (30, HOUR),
        // The request that is refused, and the look that finds out why.
        a_step: 2,
        objects: Objects::AtMost(0),
        left_alone: 0,
        span: (HOUR, 90),
    },
];

pub const REFUSED: [Case; 4] = [
    Case {
        name: "401",
        make: |api| api.revoke_token("abcdef"),
        keep_up: KeepUp::Nothing,
        shows: ("token-rejected", "credential-rejected", "Put a fresh bootstrap kubeconfig in its place"),
        backoff: (10, 600),
        a_step: 1,
        objects: Objects::AtMost(0),
        left_alone: 0,
        span: (2 * HOUR, 180),
    },
    Case {
        name: "403",
        make: |api| api.revoke_role("system:node-bootstrapper"),
        keep_up: KeepUp::Nothing,
        shows: ("denied", "request-forbidden", "is it bound to the ClusterRole system:node-bootstrapper?"),
        backoff: (10, 600),
        a_step: 1,
        objects: Objects::AtMost(0),
        left_alone: 0,
        span: (2 * HOUR, 180),
    },
    Case {
        name: "422",
        make: |api| at_create(api, status(422, None)),
        keep_up: KeepUp::Nothing,
        shows: ("denied", "request-invalid", "does an admission webhook stand in the way?"),
        backoff: (10, 600),
        a_step: 1,
        objects: Objects::AtMost(0),
        left_alone: 0,
        span: (2 * HOUR, 180),
    },
    Case {
        name: "401 and 500 by turns",
        make: |api| {
            for _ in 0..100 {
                api.inject(Fault::new(status(401, None)).method(Method::POST).path(csr::PATH));
                api.inject(Fault::new(status(500, None)).method(Method::POST).path(csr::PATH));
            }
        },
        keep_up: KeepUp::Nothing,
        shows: ("token-rejected", "credential-rejected", "Put a fresh bootstrap kubeconfig in its place"),
        // Each of the two has its own wait, and the longer one counts for both.
        backoff: (10, 600),
        a_step: 2,
        objects: Objects::AtMost(0),
        left_alone: 0,
        span: (2 * HOUR, 180),
    },
];

pub const FAILING: [Case; 10] = [
    busy("429 with Retry-After", |api| at_create(api, status(429, Some(90)))),
    busy("429 with a date", |api| at_create(api, FaultAction::RetryAt { code: 429, seconds: 91 })),
    busy("503 with Retry-After", |api| at_create(api, status(503, Some(90)))),
    busy("503 whatever is asked", |api| api.inject(Fault::new(status(503, Some(90))).always())),
    failing("429 alone", |api| at_create(api, status(429, None)), "server-throttled", "nothing has to be done here"),
    failing("500", |api| at_create(api, status(500, None)), "server-error", "see the log of kube-apiserver"),
    failing(
        "no answer",
        |api| at_create(api, FaultAction::Hang),
        "server-unreachable",
        "no answer within 15 s; is it running",
    ),
    failing(
        "reset",
        |api| at_create(api, FaultAction::Reset),
        "server-unreachable",
        "is it running, and does the network",
    ),
    failing("garbage", |api| at_create(api, FaultAction::Garbage), "server-error", "and of what stands before it"),
    failing("8 MiB", |api| at_create(api, FaultAction::Huge(8 << 20)), "server-error", "is longer than 1048576 bytes"),
];

const fn failing(name: &'static str, make: fn(&ApiServer), kind: &'static str, words: &'static str) -> Case {
    Case {
        name,
        make,
        keep_up: KeepUp::Nothing,
        shows: ("server-unreachable", kind, words),
        backoff: (1, 60),
        a_step: 1,
        objects: Objects::AtMost(0),
        left_alone: 0,
        span: (HOUR, 90),
    }
}

/// Asks to be left alone for 90 s.
const fn busy(name: &'static str, make: fn(&ApiServer)) -> Case {
    let words = "asks to be left alone for 9";
    Case { backoff: (90, 90), left_alone: 90, ..failing(name, make, "server-throttled", words) }
}
