//! The one watch: LIST once, then WATCH from there for 5-10 minutes at a time. A watch ends often, and that is normal.

use std::sync::Arc;
use std::time::Duration;

use eyewall_core::backoff::Backoff;
use eyewall_core::reboot::slots::{self, Line, Verb};
use eyewall_core::status::Reason;
use hyper::Method;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::super::reach::away;
use super::{Shared, State};
use crate::api::{Answer, ApiError, Client};

/// After a watch that could not begin: the API server is away, or refuses.
const AGAIN: Backoff = Backoff::seconds(1, 60);
/// A watch that ended sooner has not been one: something on the way cuts it.
const TOO_SHORT: Duration = Duration::from_secs(5);
/// How much later than asked for a server may end a watch.
const LATE: Duration = Duration::from_secs(15);
/// A server that sends bookmarks sends one a minute; this long without a line means that the connection is dead.
const SILENT: Duration = Duration::from_secs(180);

/// Why a watch could not begin, or did not go on.
struct Trouble {
    reason: Reason,
    wait: Option<Duration>,
}

impl From<Reason> for Trouble {
    fn from(reason: Reason) -> Self {
        Self { reason, wait: None }
    }
}

/// Watches for ever.
pub(super) async fn keep(shared: Arc<Shared>) {
    tokio::join!(watch(&shared), forget_refusals(&shared));
}

async fn watch(shared: &Shared) {
    // Where the next watch goes on; none: a list comes first.
    let mut version = None;
    let mut failures = 0_u32;
    loop {
        let begun = Instant::now();
        let ended = tokio::select! {
            ended = once(shared, &mut version) => ended,
            () = shared.anew.notified() => {
                version = None;
                continue;
            }
        };
        let wait = match ended {
            Ok(()) if begun.elapsed() >= TOO_SHORT => {
                failures = 0;
                continue;
            }
            // It did show how things stand, so that stays known.
            Ok(()) => None,
            Err(Trouble { reason, wait }) => {
                version = None;
                if failures == 0 {
                    tracing::info!(
                        eyewall_kind = reason.kind,
                        "the slots of the group are not in sight: {}",
                        reason.message
                    );
                }
                shared.change(|state| state.fault(reason));
                wait
            }
        };
        failures = failures.saturating_add(1);
        let delay = AGAIN.delay(failures, (shared.deps.draw)()).max(wait.unwrap_or_default());
        tokio::select! {
            () = sleep(delay) => {}
            // Somebody needs to know, and what is known is wrong.
            () = shared.anew.notified() => {
                version = None;
                sleep(AGAIN.first.mul_f64((shared.deps.draw)().clamp(0.1, 1.0))).await;
            }
        }
    }
}

/// Ends each refusal that has an end.
async fn forget_refusals(shared: &Shared) {
    loop {
        match shared.look(State::refused_until) {
            None => shared.refused.notified().await,
            Some(until) => tokio::select! {
                () = shared.refused.notified() => {}
                () = sleep_until(until) => shared.change(|state| {
                    if state.refused_until().is_some_and(|until| until <= Instant::now()) {
                        state.forget_refusal();
                    }
                }),
            },
        }
    }
}

/// One watch, with a list before it if there is no version to go on from.
async fn once(shared: &Shared, version: &mut Option<String>) -> Result<(), Trouble> {
    let deps = &shared.deps;
    let mut client = deps.reach.connect().await?;
    let from = match version.take() {
        Some(from) => from,
        None => list(shared, &mut client).await?,
    };
    let lasts = slots::watch_lasts((deps.draw)());
    let path = slots::watch_path(&deps.group, &from, lasts);
    let mut lines = match client.stream(&path).await.map_err(|error| away(&error))? {
        Ok(lines) => lines,
        // The version is too old, or from before etcd was restored.
        Err(answer) if matches!(answer.status, 410) || answer.status == 504 => return Ok(()),
        Err(answer) => return Err(refused(shared, &answer, Verb::Watch)),
    };
    *version = Some(from);
    shared.change(State::in_sight);
    let deadline = Instant::now() + lasts + LATE;
    let mut sends_bookmarks = false;
    loop {
        let until = if sends_bookmarks { deadline.min(Instant::now() + SILENT) } else { deadline };
        let line = match timeout_at(until, lines.next()).await {
            Ok(Ok(Some(line))) => line,
            // Ended, or cut on the way, as watches are: if the server is away, the next one finds out.
            Err(_) | Ok(Ok(None) | Err(ApiError::Unreachable(_))) => return Ok(()),
            Ok(Err(error)) => return Err(away(&error).into()),
        };
        match slots::line(&line, &deps.group, &deps.node).map_err(|why| Reason::new("api-server-nonsense", why))? {
            Line::Map(view) | Line::Gone(view) => {
                *version = Some(view.version.clone());
                shared.change(|state| state.show(view, Instant::now()));
            }
            Line::Bookmark(at) => {
                sends_bookmarks = true;
                *version = Some(at);
            }
            Line::Ended => {
                *version = None;
                return Ok(());
            }
            Line::Other => {}
        }
    }
}

async fn list(shared: &Shared, client: &mut Client) -> Result<String, Trouble> {
    let deps = &shared.deps;
    let shown = shared.look(State::shown);
    let answer = client.call(Method::GET, &slots::list_path(&deps.group), None).await.map_err(|error| away(&error))?;
    if answer.status != 200 {
        return Err(refused(shared, &answer, Verb::List));
    }
    let view = slots::read_list(answer.body(), &deps.group, &deps.node)
        .map_err(|why| Reason::new("api-server-nonsense", why))?;
    let version = view.version.clone();
    shared.change(|state| state.show_list(view, shown, Instant::now()));
    Ok(version)
}

fn refused(shared: &Shared, answer: &Answer, verb: Verb) -> Trouble {
    Trouble { reason: shared.refusal(answer, verb).reason, wait: answer.retry_after }
}
