//! The group's slots as one watch shows them, and the writes that take and free the own one. What is published is what the API server said
//! last; a write is judged by its answer, and where that was lost, by looking again.

mod state;
mod watching;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eyewall_core::backoff::Backoff;
use eyewall_core::reboot::slots::{self, Refusal, Then, Verb, View};
use eyewall_core::reboot::{Entry, Slot};
use eyewall_core::status::Reason;
use hyper::Method;
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::reach::{Reach, away};
use crate::api::{Answer, Patch};
use state::State;

/// How often one `take` asks when others write in between.
const TRIES: usize = 5;
/// How long the watch is waited for to show what a refusal was about.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);
/// How often it is tried to give back what was taken beyond the limit.
const GIVE_BACK: u32 = 5;
/// After a refusal that no change of the ConfigMap will end: a missing rule, a busy server.
const REFUSED: Backoff = Backoff::seconds(2, 120);

/// What it works with.
#[derive(Clone, Debug)]
pub struct Deps {
    /// The way to the API server.
    pub reach: Arc<dyn Reach>,
    /// The group.
    pub group: String,
    /// The node.
    pub node: String,
    /// A number in 0..1.
    pub draw: fn() -> f64,
}

/// The slots of one group, watched until this is dropped.
#[derive(Debug)]
pub struct Slots {
    shared: Arc<Shared>,
    watching: JoinHandle<()>,
}

impl Drop for Slots {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// What the watch and the writes have in common.
#[derive(Debug)]
struct Shared {
    deps: Deps,
    state: Mutex<State>,
    slot: watch::Sender<Slot>,
    /// The watch is to begin anew, with a list.
    anew: Notify,
    /// A refusal has an end now.
    refused: Notify,
}

/// As long as it lives, an own entry that shows up is not believed. A value, since a take may be dropped at any point.
struct Taking<'a>(&'a Shared);

impl<'a> Taking<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.change(State::begin_to_take);
        Self(shared)
    }
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        self.0.change(State::end_to_take);
    }
}

/// A write's answer.
enum Wrote {
    /// It was carried out; the map as it is then.
    Yes(Box<View>),
    /// It was not.
    No(Refusal, Option<Duration>),
    /// There is no answer: it was carried out, or not, or will be.
    Lost(Reason),
}

impl Slots {
    /// Begins to watch. A task of its own; it ends with this value.
    pub fn spawn(deps: Deps) -> Self {
        let shared = Arc::new(Shared {
            slot: watch::Sender::new(State::default().slot()),
            state: Mutex::default(),
            anew: Notify::new(),
            refused: Notify::new(),
            deps,
        });
        let watching = tokio::spawn(watching::keep(Arc::clone(&shared)));
        Self { shared, watching }
    }

    /// The slot as it is seen, and each change of it.
    pub fn seen(&self) -> watch::Receiver<Slot> {
        self.shared.slot.subscribe()
    }

    /// Takes a slot by writing `entry`; one that is held is written anew. Waits some milliseconds first, up to seconds where many want the
    /// same slot, and gives up at once when another was faster.
    ///
    /// # Errors
    /// It was not taken, as far as it is known: after a lost answer it may still come, and then [`Slots::seen`] shows it.
    pub async fn take(&self, entry: &Entry) -> Result<(), Reason> {
        let shared = &self.shared;
        let mut last = None;
        for _ in 0..TRIES {
            if shared.look(State::holds) {
                return self.amend(entry).await;
            }
            if let Err(reason) = self.wait_for_turn().await {
                // What the API server itself said of it tells more.
                let reason = last.unwrap_or(reason);
                shared.change(|state| state.refused(reason.clone(), None));
                return Err(reason);
            }
            let taken = {
                let _taking = Taking::begin(shared);
                self.take_once(entry).await
            };
            match taken {
                Ok(()) => return Ok(()),
                Err((reason, true)) => last = Some(reason),
                Err((reason, false)) => return Err(reason),
            }
        }
        let reason = last.unwrap_or_else(|| Reason::new("slots-conflict", "others wrote to the slots all the time"));
        shared.refused_for_a_while(reason.clone(), None);
        Err(reason)
    }

    /// Waits a drawn part of the window.
    ///
    /// # Errors
    /// No slot is free any more, or that is not known.
    async fn wait_for_turn(&self) -> Result<(), Reason> {
        let shared = &self.shared;
        let mut slot = shared.slot.subscribe();
        let turn = sleep(shared.look(|state| state.contention.wait((shared.deps.draw)())));
        tokio::pin!(turn);
        loop {
            shared.look(|state| match state.slot() {
                Slot::Unknown(reason) => Err(reason),
                Slot::Seen { .. } if state.has_room() => Ok(()),
                Slot::Seen { .. } => Err(slots::full(&shared.deps.group)),
            })?;
            tokio::select! {
                () = &mut turn => return Ok(()),
                changed = slot.changed() => if changed.is_err() {
                    return Err(slots::full(&shared.deps.group));
                },
            }
        }
    }

    /// One try. The flag: it is worth another.
    async fn take_once(&self, entry: &Entry) -> Result<(), (Reason, bool)> {
        let shared = &self.shared;
        let view = match shared.write(&slots::take(&shared.deps.node, entry)).await {
            Ok(Wrote::Yes(view)) => *view,
            Ok(Wrote::No(refusal, wait)) => match refusal.then {
                Then::WhenChanged => {
                    shared.change(|state| state.contention.refused());
                    self.settle_refusal().await;
                    return Err((refusal.reason, true));
                }
                Then::AtOnce => {
                    shared.change(|state| state.contention.refused());
                    return Err((refusal.reason, true));
                }
                Then::Later => {
                    shared.refused_for_a_while(refusal.reason.clone(), wait);
                    return Err((refusal.reason, false));
                }
            },
            Ok(Wrote::Lost(reason)) => match self.look_again().await {
                Some(view) if view.mine().is_some_and(|mine| mine.boot_id == entry.boot_id) => view,
                Some(view) => {
                    shared.change(|state| state.show(view, Instant::now()));
                    shared.refused_for_a_while(reason.clone(), None);
                    return Err((reason, false));
                }
                None => return Err((reason, false)),
            },
            Err(reason) => {
                shared.lost_sight(reason.clone());
                return Err((reason, false));
            }
        };
        if view.is_overfull() {
            // The policy would not have let that happen. What was taken is no slot, so it goes back before anybody takes it for one.
            let reason = slots::unguarded(&shared.deps.group);
            self.give_back(&reason).await;
            shared.refused_for_a_while(reason.clone(), None);
            return Err((reason, false));
        }
        if view.mine().is_none_or(|mine| mine.boot_id != entry.boot_id) {
            let reason =
                Reason::new("api-server-nonsense", "the API server took the entry, and its answer does not hold it");
            shared.lost_sight(reason.clone());
            return Err((reason, false));
        }
        shared.change(|state| {
            state.end_to_take();
            state.show(view, Instant::now());
        });
        Ok(())
    }

    /// Frees what is no slot. While this runs, the entry is not shown as a slot that is held.
    async fn give_back(&self, reason: &Reason) {
        let shared = &self.shared;
        for failures in 1..=GIVE_BACK {
            if let Ok(Wrote::Yes(view)) = shared.write(&slots::free(&shared.deps.node)).await {
                shared.change(|state| state.show(*view, Instant::now()));
                return;
            }
            sleep(REFUSED.delay(failures, (shared.deps.draw)())).await;
        }
        shared.lost_sight(reason.clone());
    }

    /// All slots are taken, says the API server. If what was seen says otherwise, it is behind or ahead: a moment's wait mostly tells, else a
    /// look does.
    async fn settle_refusal(&self) {
        let shared = &self.shared;
        let mut slot = shared.slot.subscribe();
        let shown = timeout(SHOWN_WITHIN, async {
            while shared.look(State::has_room) {
                if slot.changed().await.is_err() {
                    return;
                }
            }
        });
        if shown.await.is_err()
            && let Some(view) = self.look_again().await
        {
            shared.change(|state| state.show(view, Instant::now()));
        }
    }

    /// Writes the own entry anew. One that is not there any more is taken again, or refused, as by [`Slots::take`].
    ///
    /// # Errors
    /// It was not written, as far as it is known.
    pub async fn amend(&self, entry: &Entry) -> Result<(), Reason> {
        let shared = &self.shared;
        if !shared.look(State::holds) {
            return Box::pin(self.take(entry)).await;
        }
        match shared.write(&slots::take(&shared.deps.node, entry)).await {
            Ok(Wrote::Yes(view)) => {
                // The policy refuses this while there are more holders than slots: then somebody holds one that is none.
                let is_guarded = !view.is_overfull();
                shared.change(|state| state.show(*view, Instant::now()));
                if is_guarded { Ok(()) } else { Err(slots::unguarded(&shared.deps.group)) }
            }
            Ok(Wrote::No(refusal, _)) => Err(refusal.reason),
            Ok(Wrote::Lost(reason)) => match self.look_again().await {
                Some(view) => {
                    let written = view.mine() == Some(&slots::as_written(entry));
                    shared.change(|state| state.show(view, Instant::now()));
                    if written { Ok(()) } else { Err(reason) }
                }
                None => Err(reason),
            },
            Err(reason) => Err(reason),
        }
    }

    /// Frees the own slot; one that is free already, or whose group is gone, is freed.
    ///
    /// # Errors
    /// It was not freed, as far as it is known.
    pub async fn free(&self) -> Result<(), Reason> {
        let shared = &self.shared;
        match shared.write(&slots::free(&shared.deps.node)).await {
            Ok(Wrote::Yes(view)) => {
                shared.change(|state| state.show(*view, Instant::now()));
                Ok(())
            }
            Ok(Wrote::No(refusal, _)) if refusal.reason.kind == "slots-group-missing" => Ok(()),
            Ok(Wrote::No(refusal, _)) => Err(refusal.reason),
            Ok(Wrote::Lost(reason)) => match self.look_again().await {
                Some(view) => {
                    let freed = matches!(view.slot, Slot::Seen { mine: None, .. });
                    shared.change(|state| state.show(view, Instant::now()));
                    if freed { Ok(()) } else { Err(reason) }
                }
                None => Err(reason),
            },
            Err(reason) => Err(reason),
        }
    }

    /// Reads the map by itself. None: that was not possible, and it is not known any more how things stand.
    async fn look_again(&self) -> Option<View> {
        match self.shared.get().await {
            Ok(view) => Some(view),
            Err(reason) => {
                self.shared.lost_sight(reason);
                None
            }
        }
    }
}

impl Shared {
    fn look<T>(&self, at: impl FnOnce(&State) -> T) -> T {
        at(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the state, and publishes what follows from it.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let out = change(&mut state);
        let slot = state.slot();
        drop(state);
        self.slot.send_if_modified(|shown| {
            let changed = *shown != slot;
            if changed {
                *shown = slot;
            }
            changed
        });
        out
    }

    /// How things stand is not known until the watch has begun anew.
    fn lost_sight(&self, reason: Reason) {
        self.change(|state| state.fault(reason));
        self.anew.notify_one();
    }

    /// A refusal that ends by itself after a while.
    fn refused_for_a_while(&self, reason: Reason, asked: Option<Duration>) {
        self.change(|state| {
            let wait = REFUSED.delay(state.next_refusal(), (self.deps.draw)()).max(asked.unwrap_or_default());
            state.refused(reason, Some(Instant::now() + wait));
        });
        self.refused.notify_one();
    }

    /// One PATCH, on a connection of its own. The error is that there was none, so nothing was sent.
    async fn write(&self, patch: &Value) -> Result<Wrote, Reason> {
        let mut client = self.deps.reach.connect().await?;
        let answer = match client.patch(&slots::path(&self.deps.group), Patch::Merge, patch).await {
            Ok(answer) => answer,
            Err(error) => return Ok(Wrote::Lost(away(&error))),
        };
        Ok(match answer.status {
            200 => match self.understood(&answer) {
                Ok(view) => Wrote::Yes(Box::new(view)),
                Err(reason) => Wrote::Lost(reason),
            },
            // A server that fails may have written all the same.
            500 | 502 | 504 => Wrote::Lost(self.refusal(&answer, Verb::Patch).reason),
            _ => Wrote::No(self.refusal(&answer, Verb::Patch), answer.retry_after),
        })
    }

    async fn get(&self) -> Result<View, Reason> {
        let mut client = self.deps.reach.connect().await?;
        let answer =
            client.call(Method::GET, &slots::path(&self.deps.group), None).await.map_err(|error| away(&error))?;
        match answer.status {
            200 => self.understood(&answer),
            _ => Err(self.refusal(&answer, Verb::Get).reason),
        }
    }

    fn understood(&self, answer: &Answer) -> Result<View, Reason> {
        slots::read(answer.body(), &self.deps.group, &self.deps.node)
            .map_err(|why| Reason::new("api-server-nonsense", why))
    }

    fn refusal(&self, answer: &Answer, verb: Verb) -> Refusal {
        slots::refusal(answer.status, answer.body(), verb, &self.deps.group)
    }
}

#[cfg(test)]
mod tests;
