//! The drain of this node: all evictions at once within bounds, each with its own retries, and a list that tells what is left.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use eyewall_core::backoff::Backoff;
use eyewall_core::config::OnDrainTimeout;
use eyewall_core::reboot::drain::{self, Action, Eviction, Pod};
use eyewall_core::reboot::{Drain, PodLeft, node};
use eyewall_core::status::Reason;
use eyewall_core::time::Time;
use hyper::Method;
use jiff::SignedDuration;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::reach::{Reach, away};

/// Evictions under way at the same time, each on a connection of its own. The API server may keep one for 10 s (20 conflicts of 500 ms).
const AT_ONCE: usize = 8;
/// Between two lists: first fast, since most pods are gone within seconds.
const LIST_AGAIN: Backoff = Backoff { first: Duration::from_millis(250), cap: Duration::from_secs(5) };
/// Pages of one list: more than any kubelet takes (`maxPods` of 500 is the largest that anybody supports).
const PAGES: usize = 100;

/// What it works with.
#[derive(Clone, Debug)]
pub struct Deps {
    /// The way to the API server.
    pub reach: Arc<dyn Reach>,
    /// The node.
    pub node: String,
    /// With `give-up`, a drain that cannot succeed evicts nothing at all.
    pub on_timeout: OnDrainTimeout,
    /// The wall clock.
    pub clock: fn() -> SystemTime,
    /// A number in 0..1.
    pub draw: fn() -> f64,
}

/// A drain. Dropping it stops it; what it evicted stays evicted.
#[derive(Debug)]
pub struct Drainer {
    seen: watch::Receiver<Drain>,
    task: JoinHandle<()>,
}

impl Drop for Drainer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Drainer {
    /// Begins; fails at `until`.
    pub fn begin(deps: Deps, until: Time) -> Self {
        let since = Time((deps.clock)());
        let (told, seen) = watch::channel(Drain::Running { since, left: Vec::new() });
        let run = Run { deps, since, until, told, tries: BTreeMap::new(), asked: BTreeSet::new() };
        Self { seen, task: tokio::spawn(run.run()) }
    }

    /// How far it is, and each change of that.
    pub fn seen(&self) -> watch::Receiver<Drain> {
        self.seen.clone()
    }
}

/// How it went with a pod so far.
#[derive(Debug)]
struct Tries {
    failures: u32,
    next: Instant,
    /// Why it is still there.
    reason: Reason,
}

struct Run {
    deps: Deps,
    since: Time,
    until: Time,
    told: watch::Sender<Drain>,
    /// By uid.
    tries: BTreeMap<String, Tries>,
    /// Evictions under way, by uid.
    asked: BTreeSet<String>,
}

/// An eviction that was answered, or not.
type Answered = (String, Result<(Eviction, Option<Duration>), Reason>);

impl Run {
    async fn run(mut self) {
        let mut evictions: JoinSet<Answered> = JoinSet::new();
        let deadline = Instant::now() + self.left_until();
        let mut evicted_any = false;
        let mut lists = 0_u32;
        loop {
            let now = Time((self.deps.clock)());
            let listed = self.list().await;
            let mut due = VecDeque::new();
            match listed {
                Ok(pods) => {
                    let plan = drain::plan(pods, now);
                    let left = self.left(&plan);
                    if left.is_empty() {
                        self.told.send_replace(Drain::Done);
                        return;
                    }
                    let (blocked, others) = count(&plan);
                    let hopeless = blocked > 0 && self.deps.on_timeout == OnDrainTimeout::GiveUp && !evicted_any;
                    if hopeless || (blocked > 0 && others == 0) {
                        let blocking: Vec<PodLeft> =
                            left.iter().filter(|left| left.reason.kind == "unmanaged-pod").cloned().collect();
                        self.fail(drain::blocked(&blocking), left);
                        return;
                    }
                    due = self.due(plan);
                    self.told.send_replace(Drain::Running { since: self.since, left });
                }
                Err(reason) => {
                    // Nothing is known but that it is not done.
                    if Instant::now() >= deadline {
                        self.fail(reason, Vec::new());
                        return;
                    }
                    tracing::debug!("the pods cannot be listed: {}", reason.message);
                }
            }
            if Instant::now() >= deadline {
                let left = match &*self.told.borrow() {
                    Drain::Running { left, .. } => left.clone(),
                    _ => Vec::new(),
                };
                let took = Duration::try_from(now.since(self.since)).unwrap_or_default();
                self.fail(drain::timed_out(&left, took), left);
                return;
            }
            evicted_any |= !due.is_empty();
            lists = lists.saturating_add(1);
            let again = (Instant::now() + LIST_AGAIN.delay(lists, (self.deps.draw)())).min(deadline);
            self.evict(&mut evictions, due, again).await;
        }
    }

    /// Has the pods evicted, so many at once, until it is time for the next list.
    async fn evict(&mut self, evictions: &mut JoinSet<Answered>, mut due: VecDeque<Pod>, again: Instant) {
        loop {
            while evictions.len() < AT_ONCE {
                let Some(pod) = due.pop_front() else { break };
                self.asked.insert(pod.uid.clone());
                evictions.spawn(evict(Arc::clone(&self.deps.reach), pod));
            }
            tokio::select! {
                () = sleep_until(again) => return,
                Some(answered) = evictions.join_next() => if let Ok((uid, answer)) = answered {
                    self.answered(uid, answer);
                },
            }
        }
    }

    fn left_until(&self) -> Duration {
        let now = Time((self.deps.clock)());
        Duration::try_from(self.until.since(now).max(SignedDuration::ZERO)).unwrap_or_default()
    }

    fn fail(&self, reason: Reason, left: Vec<PodLeft>) {
        self.told.send_replace(Drain::Failed { at: Time((self.deps.clock)()), reason, left });
    }

    /// What is left, each with why.
    fn left(&self, plan: &[(Pod, Action)]) -> Vec<PodLeft> {
        plan.iter()
            .filter_map(|(pod, action)| {
                let reason = match action {
                    Action::Leave(_) => return None,
                    Action::Wait(reason) | Action::Blocked(reason) => reason.clone(),
                    Action::Evict => self.tries.get(&pod.uid).map_or_else(
                        || Reason::new("evicting", "its eviction is asked for"),
                        |tries| tries.reason.clone(),
                    ),
                };
                Some(PodLeft { pod: pod.id(), reason })
            })
            .collect()
    }

    /// Those whose eviction is to be asked for now.
    fn due(&self, plan: Vec<(Pod, Action)>) -> VecDeque<Pod> {
        let now = Instant::now();
        plan.into_iter()
            .filter(|(pod, action)| {
                *action == Action::Evict
                    && !self.asked.contains(&pod.uid)
                    && self.tries.get(&pod.uid).is_none_or(|tries| tries.next <= now)
            })
            .map(|(pod, _)| pod)
            .collect()
    }

    fn answered(&mut self, uid: String, answer: Result<(Eviction, Option<Duration>), Reason>) {
        self.asked.remove(&uid);
        let (reason, asked) = match answer {
            // The list tells how it goes on.
            Ok((Eviction::Accepted | Eviction::Gone, _)) => {
                self.tries.remove(&uid);
                return;
            }
            Ok((Eviction::Refused(reason), wait)) => (reason, wait),
            Err(reason) => (reason, None),
        };
        let failures = self.tries.get(&uid).map_or(0, |tries| tries.failures).saturating_add(1);
        let wait = drain::RETRY.delay(failures, (self.deps.draw)()).max(asked.unwrap_or_default());
        self.tries.insert(uid, Tries { failures, next: Instant::now() + wait, reason });
    }

    /// All pods of the node, page by page.
    async fn list(&self) -> Result<Vec<Pod>, Reason> {
        let mut client = self.deps.reach.connect().await?;
        let mut pods = Vec::new();
        let mut next: Option<String> = None;
        for _ in 0..PAGES {
            let path = drain::list_path(&self.deps.node, next.as_deref());
            let answer = client.call(Method::GET, &path, None).await.map_err(|error| away(&error))?;
            if answer.status != 200 {
                return Err(node::refusal(answer.status, answer.body(), "to list its pods"));
            }
            let page = drain::read(answer.body()).map_err(|why| Reason::new("api-server-nonsense", why))?;
            pods.extend(page.pods);
            match page.next {
                Some(more) => next = Some(more),
                None => return Ok(pods),
            }
        }
        Err(Reason::new("too-many-pods", "the list of this node's pods has no end"))
    }
}

/// How many pods are in the way for good, and how many others are left.
fn count(plan: &[(Pod, Action)]) -> (usize, usize) {
    plan.iter().fold((0, 0), |(blocked, others), (_, action)| match action {
        Action::Leave(_) => (blocked, others),
        Action::Blocked(_) => (blocked + 1, others),
        Action::Evict | Action::Wait(_) => (blocked, others + 1),
    })
}

async fn evict(reach: Arc<dyn Reach>, pod: Pod) -> Answered {
    let asked = async {
        let mut client = reach.connect().await?;
        let answer = client
            .call(Method::POST, &drain::path(&pod), Some(&drain::body(&pod)))
            .await
            .map_err(|error| away(&error))?;
        Ok((drain::eviction(answer.status, answer.body()), answer.retry_after))
    };
    let answer = asked.await;
    (pod.uid, answer)
}

#[cfg(test)]
mod tests;
