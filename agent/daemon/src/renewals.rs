//! Asking the certificate task for more than its schedule: a renewal now, or that enough is left for an outage to come.
//!
//! Tasks do not know each other; whoever asks (the socket, a reboot) holds a [`Renewals`], and the task holds the other end.

use std::time::Duration;

use eyewall_core::rotation::Wish;
use eyewall_core::status::{CertificatesStatus, Reason, RenewalAnswer};
use eyewall_core::time::human;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// Wishes on their way. The task takes them between two steps, so more than this is a flood.
const QUEUE: usize = 8;

/// A wish on its way to the task.
#[derive(Debug)]
pub struct Wished {
    /// What is wanted.
    pub wish: Wish,
    /// Who waits for the answer, if anybody does. A wish that somebody waits for stands until then and no longer.
    pub answer: Option<oneshot::Sender<RenewalAnswer>>,
}

/// The certificate task has ended; the agent is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The agent is stopping, or its certificate task has ended; see the journal of eyewall.service.")]
pub struct Ended;

impl Ended {
    /// The machine word.
    pub fn kind(self) -> &'static str {
        "certificates-not-running"
    }
}

/// The asking end. Clones ask the same task.
#[derive(Clone, Debug)]
pub struct Renewals {
    wishes: mpsc::Sender<Wished>,
    status: watch::Receiver<Option<CertificatesStatus>>,
}

impl Renewals {
    /// Both ends. `status` is what the task publishes: it tells why a wish was not served in time.
    pub fn new(status: watch::Receiver<Option<CertificatesStatus>>) -> (Self, mpsc::Receiver<Wished>) {
        let (wishes, taken) = mpsc::channel(QUEUE);
        (Self { wishes, status }, taken)
    }

    /// Asks for another certificate than the one in force, and does not wait for it.
    ///
    /// # Errors
    /// [`Ended`].
    pub fn fresh(&self) -> Result<(), Ended> {
        match self.wishes.try_send(Wished { wish: Wish::Fresh, answer: None }) {
            // Full: with eight wishes on their way there will be a renewal.
            Ok(()) | Err(TrySendError::Full(_)) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(Ended),
        }
    }

    /// Makes sure that the certificate in force has at least `left` of its life left, by a renewal if it must be. The answer comes as soon
    /// as it is known, and `within` at the latest; dropping the question ends it.
    ///
    /// It is yes only if so much is left when it is given. It is no where a renewal cannot give so much (the CA ends, the
    /// signer gives less, the kubelet is the owner) or was not had in time, each with its reason.
    pub async fn at_least(&self, left: Duration, within: Duration) -> RenewalAnswer {
        let (answer, answered) = oneshot::channel();
        let wished = Wished { wish: Wish::AtLeast(left), answer: Some(answer) };
        let asked = async {
            self.wishes.send(wished).await.map_err(|_| Ended)?;
            // Without an answer: the task ended with the wish.
            answered.await.map_err(|_| Ended)
        };
        match timeout(within, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(ended)) => self.no(Reason::new(ended.kind(), ended.to_string())),
            Err(_) => self.no(self.in_the_way(left, within)),
        }
    }

    fn no(&self, reason: Reason) -> RenewalAnswer {
        let until =
            self.status.borrow().as_ref().and_then(|status| status.current.as_ref().map(|current| current.not_after));
        RenewalAnswer { holds: false, until, reason }
    }

    /// What the certificate waits for, in the task's own words.
    fn in_the_way(&self, left: Duration, within: Duration) -> Reason {
        let begun = format!("no certificate with {} left was had within {}", human(left), human(within));
        match &*self.status.borrow() {
            Some(status) => Reason::new(&status.reason.kind, format!("{begun}: {}", status.reason.message)),
            None => Reason::new("not-looked-yet", format!("{begun}: the agent has just started")),
        }
    }
}

#[cfg(test)]
mod tests {
    use eyewall_core::time::Time;

    use super::*;
    use crate::socket::example;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn ends() -> (Renewals, mpsc::Receiver<Wished>, watch::Sender<Option<CertificatesStatus>>) {
        let mut status = example::status().certificates;
        status.reason = Reason::new("server-unreachable", "nobody answers");
        let (publish, status) = watch::channel(Some(status));
        let (renewals, taken) = Renewals::new(status);
        (renewals, taken, publish)
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_is_the_tasks_own() {
        let (renewals, mut taken, _publish) = ends();
        let until = Some(Time::from_unix(1));
        tokio::spawn(async move {
            let Wished { wish, answer } = taken.recv().await.expect("a wish");
            assert_eq!(wish, Wish::AtLeast(HOUR));
            let reason = Reason::new("certificate-lasts", "");
            answer.expect("somebody waits").send(RenewalAnswer { holds: true, until, reason }).expect("still there");
        });
        let got = renewals.at_least(HOUR, HOUR).await;
        assert_eq!((got.holds, got.until), (true, until));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_passes_is_a_no_with_what_is_in_the_way() {
        let (renewals, mut taken, _publish) = ends();
        let got = renewals.at_least(HOUR, Duration::from_secs(90)).await;
        assert_eq!((got.holds, got.reason.kind.as_str()), (false, "server-unreachable"));
        assert_eq!(got.reason.message, "no certificate with 1h00m left was had within 1m30s: nobody answers");
        let late = taken.try_recv().expect("the wish");
        assert!(late.answer.expect("it was waited for").is_closed(), "and the task can see that nobody waits");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_is_gone_is_a_no_at_once() {
        let (renewals, taken, _publish) = ends();
        drop(taken);
        assert_eq!(renewals.fresh(), Err(Ended));
        let got = renewals.at_least(HOUR, HOUR).await;
        assert_eq!((got.holds, got.reason.kind.as_str()), (false, "certificates-not-running"));
    }

    #[tokio::test(start_paused = true)]
    async fn wishes_for_another_certificate_are_one() {
        let (renewals, mut taken, _publish) = ends();
        for _ in 0..QUEUE + 3 {
            assert_eq!(renewals.fresh(), Ok(()));
        }
        let mut arrived = 0;
        while taken.try_recv().is_ok() {
            arrived += 1;
        }
        assert_eq!(arrived, QUEUE);
    }
}
