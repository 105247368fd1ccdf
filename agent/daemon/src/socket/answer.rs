//! From a question to its answer.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eyewall_core::metrics::{self, Format};
use eyewall_core::posture::Report;
use eyewall_core::posture::history::Change;
use eyewall_core::reboot::orders::{Command, Why, WhyFault};
use eyewall_core::status::{ErrorBody, EventRecord, Health, Reason, Status};
use eyewall_core::time::Time;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::audit::Audit;
use super::cache::{Cache, document};
use super::route::{Order, Query, Refusal, route};
use super::server::Limits;
use super::stream::{Body, Deadline, LINES, feed};
use super::{Deps, Peer};
use crate::orders::Orders;
use crate::posture::Posture;

/// The name of a command in audits.
const RENEW: &str = "certificates-renew";
/// And of the other.
const CHECK: &str = "posture-check";
/// How long a look at the posture may take before the asker is told to come again.
const JUDGED_WITHIN: Duration = Duration::from_secs(60);

/// All that an answer is made of.
#[derive(Debug)]
pub struct Answerer {
    deps: Deps,
    cache: Cache,
    audit: Audit,
    limits: Limits,
    followers: Arc<Semaphore>,
}

/// [`eyewall_core::status::Story`] without a copy of each record.
#[derive(Serialize)]
struct Kept<'a> {
    events: Vec<&'a EventRecord>,
}

impl Answerer {
    /// Answers from `deps` within `limits`.
    pub fn new(deps: Deps, limits: Limits) -> Self {
        Self {
            cache: Cache::new(deps.status.clone()),
            audit: Audit::new(deps.events.clone()),
            followers: Arc::new(Semaphore::new(limits.followers)),
            deps,
            limits,
        }
    }

    async fn answer(
        &self,
        query: Query,
        format: Format,
        peer: Peer,
        body: &[u8],
        deadline: &Arc<Deadline>,
    ) -> Result<Response<Body>, Refusal> {
        match query {
            Query::Status => Ok(json(StatusCode::OK, self.pages()?.status)),
            Query::Certificates => Ok(json(StatusCode::OK, self.pages()?.certificates)),
            Query::Kubelet => Ok(json(StatusCode::OK, self.pages()?.kubelet)),
            Query::Posture => match &*self.deps.posture.borrow() {
                Some(posture) => Ok(json(StatusCode::OK, told(posture)?)),
                None => Err(Refusal::not_looked_yet()),
            },
            Query::Reboot => match &self.deps.status.borrow().reboot {
                Some(reboot) => Ok(json(StatusCode::OK, document(reboot).map_err(|_| Refusal::broken())?)),
                None => Err(Refusal::not_looked_yet()),
            },
            Query::Order(order) => self.order(peer, order, body, deadline).await,
            Query::Judge => self.judge(peer, deadline).await,
            Query::Events { follow: false } => {
                let records = self.deps.events.recent();
                let events = records.iter().map(|record| &**record).collect();
                let story = document(&Kept { events }).map_err(|_| Refusal::broken())?;
                Ok(json(StatusCode::OK, story))
            }
            Query::Events { follow: true } => self.follow(deadline),
            Query::Metrics => {
                let status = Arc::clone(&self.deps.status.borrow());
                let page = metrics::render(&status, Time(crate::clock::now()), format);
                Ok(respond_with(StatusCode::OK, format.content_type(), page.into()))
            }
            Query::Health => match self.deps.heartbeats.stalled() {
                None => Ok(text("ok\n")),
                Some(task) => Err(Refusal::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "agent-stalled",
                    format!("The task {task} has stopped working; the watchdog will restart the agent."),
                )),
            },
            Query::Ready => {
                let status = Arc::clone(&self.deps.status.borrow());
                match status.health {
                    Health::Good => Ok(text("ok\n")),
                    _ => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", why_not(&status))),
                }
            }
            Query::Renew => self.renew(peer),
            Query::AtLeast { left, wait } => self.at_least(peer, left, wait, deadline).await,
        }
    }

    fn pages(&self) -> Result<super::cache::Pages, Refusal> {
        self.cache.pages().map_err(|_| Refusal::broken())
    }

    fn follow(&self, deadline: &Arc<Deadline>) -> Result<Response<Body>, Refusal> {
        let place = Arc::clone(&self.followers)
            .try_acquire_owned()
            .map_err(|_| Refusal::busy("Too many follow the events at once; stop one of them."))?;
        let (kept, coming) = self.deps.events.follow();
        let (lines, body) = mpsc::channel(LINES);
        // From here on only a stall ends it.
        deadline.send_replace(None);
        tokio::spawn(feed(kept, coming, lines, Arc::clone(deadline), self.limits.stall, place));
        let mut response = Response::new(Body::Lines(body));
        let kind = HeaderValue::from_static("application/x-ndjson");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        Ok(response)
    }

    /// Commands are for uid 0, whoever may read.
    fn admit(&self, peer: Peer, command: &'static str, what: &str) -> Result<(), Refusal> {
        if peer.may_command() {
            return Ok(());
        }
        self.audit.refused(peer, command);
        let message = format!("Only root may {what}; members of the group eyewall may read.");
        Err(Refusal::new(StatusCode::FORBIDDEN, "not-root", message))
    }

    /// A look at everything, probes included, takes seconds; a host that does not answer makes it minutes.
    async fn judge(&self, peer: Peer, deadline: &Deadline) -> Result<Response<Body>, Refusal> {
        self.admit(peer, CHECK, "have the posture checked")?;
        self.audit.accepted(peer, CHECK);
        deadline.send_replace(Some(Instant::now() + JUDGED_WITHIN + self.limits.patience));
        let (answer, answered) = oneshot::channel();
        let late = || Refusal::busy("The posture is being looked at and is not done yet; ask again.");
        self.deps.judgements.try_send(answer).map_err(|_| late())?;
        match timeout(JUDGED_WITHIN, answered).await {
            Ok(Ok(posture)) => Ok(json(StatusCode::OK, told(&posture)?)),
            _ => Err(late()),
        }
    }

    /// What an operator says about reboots. It is kept on disk before it is answered.
    async fn order(
        &self,
        peer: Peer,
        order: Order,
        body: &[u8],
        deadline: &Deadline,
    ) -> Result<Response<Body>, Refusal> {
        let (name, what) = match order {
            Order::Request => ("reboot-request", "ask for a reboot"),
            Order::Hold => ("reboot-hold", "hold the host up"),
            Order::Release => ("reboot-release", "release it"),
            Order::Force => ("reboot-force", "force a reboot"),
        };
        self.admit(peer, name, what)?;
        let command = command(order, body)?;
        self.audit.accepted_because(peer, command.name(), command.why());
        deadline.send_replace(Some(Instant::now() + Orders::patience() + self.limits.patience));
        match self.deps.orders.give(command, peer.uid).await {
            Ok(reason) => Ok(json(StatusCode::OK, document(&reason).map_err(|_| Refusal::broken())?)),
            Err(Reason { kind, message }) => {
                Err(Refusal { kind: kind.into(), ..Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "", message) })
            }
        }
    }

    fn renew(&self, peer: Peer) -> Result<Response<Body>, Refusal> {
        self.admit(peer, RENEW, "renew the certificate")?;
        if self.deps.status.borrow().certificates.owner == "kubelet" {
            return Err(Refusal::new(
                StatusCode::CONFLICT,
                "not-the-owner",
                "The kubelet renews this certificate itself: [certificates] owner is \"kubelet\", so eyewall only watches.",
            ));
        }
        self.deps
            .renewals
            .fresh()
            .map_err(|ended| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, ended.kind(), ended.to_string()))?;
        self.audit.accepted(peer, RENEW);
        let accepted =
            Reason::new("renewal-requested", "A renewal was asked for; `eyewall certificates` shows how it goes.");
        let body = document(&accepted).map_err(|_| Refusal::broken())?;
        Ok(json(StatusCode::ACCEPTED, body))
    }

    /// A no is an answer too, with status 200: the question was understood, and what it is about was found out.
    async fn at_least(
        &self,
        peer: Peer,
        left: Duration,
        wait: Duration,
        deadline: &Deadline,
    ) -> Result<Response<Body>, Refusal> {
        self.admit(peer, RENEW, "renew the certificate")?;
        self.audit.accepted(peer, RENEW);
        deadline.send_replace(Some(Instant::now() + wait + self.limits.patience));
        let answer = self.deps.renewals.at_least(left, wait).await;
        let body = document(&answer).map_err(|_| Refusal::broken())?;
        Ok(json(StatusCode::OK, body))
    }
}

/// The document of `GET /v1/posture`: the report, and the changes that are kept beside it.
fn told(posture: &Posture) -> Result<Bytes, Refusal> {
    #[derive(Serialize)]
    struct Told<'a> {
        #[serde(flatten)]
        report: &'a Report,
        changes: &'a [Change],
    }
    document(&Told { report: &posture.report, changes: &posture.changes }).map_err(|_| Refusal::broken())
}

/// The order with its reason: `{"why":"..."}`.
fn command(order: Order, body: &[u8]) -> Result<Command, Refusal> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Said {
        #[serde(default)]
        why: Option<String>,
    }
    let bad = |kind: &'static str, message: String| Refusal::new(StatusCode::BAD_REQUEST, kind, message);
    let said = match body {
        [] => Said { why: None },
        body => serde_json::from_slice::<Said>(body)
            .map_err(|error| bad("bad-body", format!("The body must be {{\"why\":\"...\"}}: {error}.")))?,
    };
    let why = |usual: Option<&str>| {
        let text = said.why.as_deref().or(usual).ok_or(WhyFault::Empty);
        text.and_then(Why::new).map_err(|fault| bad(fault.kind(), fault.to_string()))
    };
    Ok(match order {
        Order::Request => Command::Request(why(Some("an operator asked for it"))?),
        Order::Hold => Command::Hold(why(None)?),
        Order::Release => Command::Release,
        Order::Force => Command::Force(why(None)?),
    })
}

/// One request. Its head has arrived, so the patience begins anew.
///
/// # Errors
/// None: whatever is wrong is an answer.
pub async fn respond(
    answerer: &Answerer,
    peer: Peer,
    deadline: &Arc<Deadline>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    deadline.send_replace(Some(Instant::now() + answerer.limits.patience));
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept);
    let answer = match route(request.method(), request.uri()) {
        // A body is read even where none is taken, so that the connection can go on behind it.
        Ok(query) => match read(request.into_body(), answerer.limits.body).await {
            Ok(body) => answerer.answer(query, format, peer, &body, deadline).await,
            Err(refusal) => Err(refusal),
        },
        Err(refusal) => Err(refusal),
    };
    Ok(answer.unwrap_or_else(|refusal| refusal.response()))
}

async fn read(body: Incoming, limit: usize) -> Result<Bytes, Refusal> {
    if hyper::body::Body::is_end_stream(&body) {
        return Ok(Bytes::new());
    }
    let too_large = || {
        Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            format!("A request's body may have {limit} octets at most."),
        )
    };
    if hyper::body::Body::size_hint(&body).lower() > limit as u64 {
        return Err(too_large());
    }
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => {
            Err(Refusal::new(StatusCode::BAD_REQUEST, "bad-body", "The request's body ended before it was complete."))
        }
    }
}

/// The first part that is not good, in its own words.
fn why_not(status: &Status) -> String {
    [(status.certificates.health, &status.certificates.reason), (status.kubelet.health, &status.kubelet.reason)]
        .into_iter()
        .find(|(health, _)| *health != Health::Good)
        .map_or_else(|| "The node is not good; /v1/status shows why.".to_owned(), |(_, reason)| reason.message.clone())
}

fn json(status: StatusCode, body: Bytes) -> Response<Body> {
    respond_with(status, "application/json", body)
}

fn text(body: &'static str) -> Response<Body> {
    respond_with(StatusCode::OK, "text/plain", Bytes::from_static(body.as_bytes()))
}

fn respond_with(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::Document(Some(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

impl Refusal {
    /// 503, for now.
    pub fn busy(message: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
    }

    fn not_looked_yet() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not-looked-yet",
            "The agent has just started and has not looked at the host yet.",
        )
    }

    fn broken() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "not-serializable",
            "The answer could not be put into JSON; please report this.",
        )
    }

    /// Its body.
    pub fn body(&self) -> ErrorBody {
        ErrorBody { error: Reason::new(&self.kind, self.message.as_str()) }
    }

    fn response(&self) -> Response<Body> {
        let body = document(&self.body()).unwrap_or_else(|_| Bytes::new());
        let mut response = json(self.status, body);
        if let Some(allow) = self.allow {
            let allow = HeaderValue::from_static(allow);
            response.headers_mut().insert(ALLOW, allow);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use eyewall_core::status::Status;
    use tokio::sync::watch;

    use super::*;
    use crate::events::Events;
    use crate::renewals::Renewals;
    use crate::socket::example;
    use crate::supervisor::Heartbeats;

    /// The answer's status and kind, the audit's events, and how many wishes reached the task.
    fn renewed(
        uid: u32,
        change: impl FnOnce(&mut Status),
        before: usize,
        open: bool,
    ) -> (u16, String, Vec<String>, usize) {
        let mut status = example::status();
        change(&mut status);
        let (_keep, status) = watch::channel(Arc::new(status));
        let (_publish, certificates) = watch::channel(None);
        let (renewals, mut wishes) = Renewals::new(certificates);
        let events = Events::new();
        let peer = Peer { uid, gid: uid, pid: 99 };
        for _ in 0..before {
            renewals.fresh().expect("a place");
        }
        if !open {
            wishes.close();
        }
        let (_posture, posture) = watch::channel(None);
        let (judgements, _wanted) = mpsc::channel(1);
        let heartbeats = Heartbeats::new(events.clone());
        let orders = Orders::new().0;
        let deps = Deps { status, posture, judgements, events: events.clone(), renewals, orders, heartbeats };
        let answerer = Answerer::new(deps, Limits::default());
        let (status, kind) = match answerer.renew(peer) {
            Ok(response) => (response.status(), String::new()),
            Err(refusal) => (refusal.status, refusal.kind.into_owned()),
        };
        let told = events.recent().iter().map(|r| r.event.clone()).collect();
        let mut arrived = 0;
        while wishes.try_recv().is_ok() {
            arrived += 1;
        }
        (status.as_u16(), kind, told, arrived)
    }

    #[test]
    fn who_may_renew_and_when() {
        let ours = |_: &mut Status| {};
        let theirs = |status: &mut Status| status.certificates.owner = "kubelet".to_owned();
        let accepted = vec!["command-accepted".to_owned()];
        let refused = vec!["peer-refused".to_owned()];
        for (name, got, want) in [
            ("root", renewed(0, ours, 0, true), (202, "", accepted.clone(), 1)),
            ("a wish waits already", renewed(0, ours, 1, true), (202, "", accepted, 2)),
            ("a member of the group", renewed(1000, ours, 0, true), (403, "not-root", refused, 0)),
            ("the kubelet owns it", renewed(0, theirs, 0, true), (409, "not-the-owner", vec![], 0)),
            ("the task is gone", renewed(0, ours, 0, false), (503, "certificates-not-running", vec![], 0)),
        ] {
            let (status, kind, told, arrived) = want;
            assert_eq!(got, (status, kind.to_owned(), told, arrived), "{name}");
        }
    }
}
