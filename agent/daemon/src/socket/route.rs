//! HTTP to a typed question: nothing past this file knows a path or a method.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;

use eyewall_core::config::{parse_duration, spell};
use eyewall_core::rotation::wish;
use hyper::{Method, StatusCode, Uri};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// The page of everything.
    Status,
    /// Its part about the certificate.
    Certificates,
    /// Its part about the kubelet.
    Kubelet,
    /// Every verdict of the posture, and what changed.
    Posture,
    /// Judge the posture now.
    Judge,
    /// The story so far, or from here on.
    Events {
        /// Go on as it happens.
        follow: bool,
    },
    /// Its part about reboots.
    Reboot,
    /// An operator's order about reboots; its reason is in the body.
    Order(Order),
    /// The status as metrics.
    Metrics,
    /// Is the agent alive?
    Health,
    /// Is the node good?
    Ready,
    /// Renew the certificate now, and do not wait for it.
    Renew,
    /// Make sure that so much of the certificate's life is left.
    AtLeast {
        /// How much.
        left: Duration,
        /// How long the answer may take.
        wait: Duration,
    },
}

/// What an operator may order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Reboot this host when it is its turn.
    Request,
    /// Keep it up.
    Hold,
    /// Let go.
    Release,
    /// Reboot it now.
    Force,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// The machine word.
    pub kind: Cow<'static, str>,
    /// The sentence.
    pub message: String,
    /// For 405: what would be allowed.
    pub allow: Option<&'static str>,
}

impl Refusal {
    /// A refusal of this kind.
    pub fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind: kind.into(), message: message.into(), allow: None }
    }
}

/// What a path means, whatever the method.
fn resource(path: &str) -> Option<(&'static str, Query)> {
    Some(match path {
        "/v1/status" => ("GET", Query::Status),
        "/v1/certificates" => ("GET", Query::Certificates),
        "/v1/kubelet" => ("GET", Query::Kubelet),
        "/v1/posture" => ("GET", Query::Posture),
        "/v1/posture/check" => ("POST", Query::Judge),
        "/v1/events" => ("GET", Query::Events { follow: false }),
        "/metrics" => ("GET", Query::Metrics),
        "/healthz" => ("GET", Query::Health),
        "/readyz" => ("GET", Query::Ready),
        "/v1/certificates/renew" => ("POST", Query::Renew),
        "/v1/reboot" => ("GET", Query::Reboot),
        "/v1/reboot/request" => ("POST", Query::Order(Order::Request)),
        "/v1/reboot/hold" => ("POST", Query::Order(Order::Hold)),
        "/v1/reboot/release" => ("POST", Query::Order(Order::Release)),
        "/v1/reboot/force" => ("POST", Query::Order(Order::Force)),
        _ => return None,
    })
}

/// The question of a request.
///
/// # Errors
/// 404, 405 or 400, each with its kind.
pub fn route(method: &Method, target: &Uri) -> Result<Query, Refusal> {
    let path = target.path();
    let Some((allow, query)) = resource(path) else {
        return Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "no-such-path",
            "There is nothing at this path; /v1/status shows everything on one page.",
        ));
    };
    if method.as_str() != allow {
        return Err(Refusal {
            allow: Some(allow),
            ..Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                format!("{path} understands {allow} only."),
            )
        });
    }
    match (query, target.query()) {
        (query, None | Some("")) => Ok(query),
        (Query::Events { .. }, Some("follow=1")) => Ok(Query::Events { follow: true }),
        (Query::Events { .. }, Some("follow=0")) => Ok(Query::Events { follow: false }),
        (Query::Renew, Some(query)) => at_least(query),
        _ => Err(bad_query(format!("{path} does not understand what follows the question mark."))),
    }
}

/// `at_least=24h`, and `wait=2m` if it is said.
fn at_least(query: &str) -> Result<Query, Refusal> {
    let (mut left, mut wait) = (None, None);
    for part in query.split('&') {
        match part.split_once('=') {
            Some(("at_least", text)) if left.is_none() => left = Some(span("at_least", text, &wish::AT_LEAST)?),
            Some(("wait", text)) if wait.is_none() => wait = Some(span("wait", text, &wish::WAIT)?),
            _ => return Err(bad_query("renew understands at_least=24h and, beside it, wait=2m, each once.")),
        }
    }
    match left {
        Some(left) => Ok(Query::AtLeast { left, wait: wait.unwrap_or(wish::USUAL_WAIT) }),
        None => Err(bad_query("wait= is for at_least=: without it nothing is waited for.")),
    }
}

fn span(name: &str, text: &str, bounds: &RangeInclusive<Duration>) -> Result<Duration, Refusal> {
    parse_duration(text).filter(|span| bounds.contains(span)).ok_or_else(|| {
        let (least, most) = (spell(*bounds.start()), spell(*bounds.end()));
        bad_query(format!("{name} must be a time from {least} to {most}, written like 90s, 10m or 2h30m."))
    })
}

fn bad_query(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "bad-query", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_methods() {
        let refused = |status: u16, kind: &'static str| Err((status, Cow::Borrowed(kind)));
        let at_least =
            |left, wait| Ok(Query::AtLeast { left: Duration::from_secs(left), wait: Duration::from_secs(wait) });
        for (request, want) in [
            ("GET /v1/status", Ok(Query::Status)),
            ("GET /v1/status?", Ok(Query::Status)),
            ("GET /v1/certificates", Ok(Query::Certificates)),
            ("GET /v1/kubelet", Ok(Query::Kubelet)),
            ("GET /v1/events", Ok(Query::Events { follow: false })),
            ("GET /v1/events?follow=1", Ok(Query::Events { follow: true })),
            ("GET /v1/events?follow=0", Ok(Query::Events { follow: false })),
            ("GET /healthz", Ok(Query::Health)),
            ("GET /readyz", Ok(Query::Ready)),
            ("POST /v1/certificates/renew", Ok(Query::Renew)),
            ("POST /v1/certificates/renew?at_least=24h", at_least(86_400, 120)),
            ("POST /v1/certificates/renew?at_least=1m&wait=1s", at_least(60, 1)),
            ("POST /v1/certificates/renew?wait=10m&at_least=365d", at_least(31_536_000, 600)),
            ("POST /v1/certificates/renew?at_least=59s", refused(400, "bad-query")),
            ("POST /v1/certificates/renew?at_least=366d", refused(400, "bad-query")),
            ("POST /v1/certificates/renew?at_least=24", refused(400, "bad-query")),
            ("POST /v1/certificates/renew?at_least=-1h", refused(400, "bad-query")),
            ("POST /v1/certificates/renew?at_least=", refused(400, "bad-query")),
            ("POST /v1/certificates/renew?at_least", refused(400, "bad-query")),
            ("POST /v1/certificates/renew?at_least=1h&at_least=2h", refused(400, "bad-query")),
            ("POST /v1/certificates/renew?at_least=1h&wait=0s", refused(400, "bad-query")),
            ("POST /v1/certificates/renew?at_least=1h&wait=11m", refused(400, "bad-query")),
            ("POST /v1/certificates/renew?wait=2m", refused(400, "bad-query")),
            ("POST /v1/certificates/renew?at_least=1h&", refused(400, "bad-query")),
            ("POST /v1/certificates/renew?force=1", refused(400, "bad-query")),
            ("GET /v1/certificates/renew?at_least=24h", refused(405, "method-not-allowed")),
            ("GET /v1/certificates/renew", refused(405, "method-not-allowed")),
            ("POST /v1/status", refused(405, "method-not-allowed")),
            ("HEAD /v1/status", refused(405, "method-not-allowed")),
            ("DELETE /v1/events", refused(405, "method-not-allowed")),
            ("GET /v1/events?follow=yes", refused(400, "bad-query")),
            ("GET /v1/status?follow=1", refused(400, "bad-query")),
            ("GET /v1/posture", Ok(Query::Posture)),
            ("POST /v1/posture/check", Ok(Query::Judge)),
            ("GET /v1/posture/check", refused(405, "method-not-allowed")),
            ("GET /v1/posture/history", refused(404, "no-such-path")),
            ("GET /v1/reboot", Ok(Query::Reboot)),
            ("POST /v1/reboot", refused(405, "method-not-allowed")),
            ("POST /v1/reboot/request", Ok(Query::Order(Order::Request))),
            ("POST /v1/reboot/hold", Ok(Query::Order(Order::Hold))),
            ("POST /v1/reboot/release", Ok(Query::Order(Order::Release))),
            ("POST /v1/reboot/force", Ok(Query::Order(Order::Force))),
            ("GET /v1/reboot/force", refused(405, "method-not-allowed")),
            ("POST /v1/reboot/hold?why=x", refused(400, "bad-query")),
            ("POST /v1/reboot/now", refused(404, "no-such-path")),
            ("GET /metrics", Ok(Query::Metrics)),
            ("POST /metrics", refused(405, "method-not-allowed")),
            ("GET /v1/rebooted", refused(404, "no-such-path")),
            ("GET /", refused(404, "no-such-path")),
            ("GET /v1/status/", refused(404, "no-such-path")),
            ("GET /v1/../v1/status", refused(404, "no-such-path")),
            ("GET /v1/%73tatus", refused(404, "no-such-path")),
        ] {
            let (method, target) = request.split_once(' ').expect("two words");
            let method = method.parse().expect("a method");
            let got = route(&method, &target.parse().expect("a target"));
            let got = got.map_err(|refusal| (refusal.status.as_u16(), refusal.kind));
            assert_eq!(got, want, "{request}");
        }
    }

    #[test]
    fn a_wrong_method_is_told_the_right_one() {
        let refusal = route(&Method::PUT, &Uri::from_static("/v1/certificates/renew"));
        assert_eq!(refusal.expect_err("refused").allow, Some("POST"));
    }
}
