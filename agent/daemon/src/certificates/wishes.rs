//! The wishes that stand: who asked for more than the schedule, and waits for the answer.

use std::time::{Duration, SystemTime};

use eyewall_core::rotation::wish::{self, Wish};
use eyewall_core::rotation::{Policy, Seen};
use eyewall_core::status::{Reason, RenewalAnswer};
use tokio::sync::oneshot;

use crate::renewals::Wished;

/// More than ask at once on any honest host.
const MOST: usize = 32;

/// What is wanted now.
#[derive(Debug, Default)]
pub struct Wishes {
    fresh: bool,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    left: Duration,
    answer: oneshot::Sender<RenewalAnswer>,
}

impl Wishes {
    /// Takes one in.
    pub fn take(&mut self, wished: Wished) {
        match wished {
            Wished { wish: Wish::AtLeast(left), answer: Some(answer) } => {
                self.drop_those_nobody_waits_for();
                if self.waiting.len() < MOST {
                    self.waiting.push(Waiting { left, answer });
                } else {
                    let reason =
                        Reason::new("busy", "too many wait for the certificate already; try again in a moment");
                    tell(answer, RenewalAnswer { holds: false, until: None, reason });
                }
            }
            // Nobody would hear whether it was served.
            Wished { wish: Wish::AtLeast(_), answer: None } => {}
            Wished { wish: Wish::Fresh, .. } => self.fresh = true,
        }
    }

    /// Answers all whose answer is known, and returns what the others want, as one wish.
    pub fn settle(&mut self, now: SystemTime, seen: &Seen, policy: &Policy) -> Option<Wish> {
        self.drop_those_nobody_waits_for();
        let mut open = Vec::with_capacity(self.waiting.len());
        for Waiting { left, answer } in self.waiting.drain(..) {
            match wish::answer(now, seen, policy, left) {
                Some(given) => tell(answer, given),
                None => open.push(Waiting { left, answer }),
            }
        }
        self.waiting = open;
        let wanted = self.waiting.iter().map(|waiting| Wish::AtLeast(waiting.left));
        wanted.chain(self.fresh.then_some(Wish::Fresh)).reduce(Wish::and)
    }

    /// Another certificate is in force.
    pub fn renewed(&mut self) {
        self.fresh = false;
    }

    fn drop_those_nobody_waits_for(&mut self) {
        self.waiting.retain(|waiting| !waiting.answer.is_closed());
    }
}

/// Who asked may have gone in this very moment.
fn tell(answer: oneshot::Sender<RenewalAnswer>, given: RenewalAnswer) {
    let _ = answer.send(given);
}
