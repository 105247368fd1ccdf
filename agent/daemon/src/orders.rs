//! Giving the reboot task an operator's order.
//!
//! Tasks do not know each other; whoever commands (the socket) holds [`Orders`], and the task holds the other end.

use std::time::Duration;

use eyewall_core::reboot::orders::Command;
use eyewall_core::status::Reason;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Orders on their way: a person gives one at a time, so more than this is a flood.
const QUEUE: usize = 8;
/// An order is written to disk before it is answered; a task in the middle of a request to the API server takes it after that.
const WITHIN: Duration = Duration::from_secs(30);

/// An order on its way to the task.
#[derive(Debug)]
pub struct Ordered {
    /// What is ordered.
    pub command: Command,
    /// By whom.
    pub uid: u32,
    /// What became of it: taken, or why not.
    pub answer: oneshot::Sender<Result<Reason, Reason>>,
}

/// The commanding end.
#[derive(Clone, Debug)]
pub struct Orders(mpsc::Sender<Ordered>);

impl Orders {
    /// Both ends.
    pub fn new() -> (Self, mpsc::Receiver<Ordered>) {
        let (orders, taken) = mpsc::channel(QUEUE);
        (Self(orders), taken)
    }

    /// Gives an order and waits until it is kept. The longest wait is [`Orders::patience`].
    ///
    /// # Errors
    /// Why it was not taken: `orders-busy`, `reboots-not-running`, or what the task says (`disk-full`).
    pub async fn give(&self, command: Command, uid: u32) -> Result<Reason, Reason> {
        let ended = || {
            Reason::new("reboots-not-running", "The agent is stopping, or its reboot task has ended; see the journal.")
        };
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Ordered { command, uid, answer }).map_err(|error| match error {
            TrySendError::Full(_) => busy(),
            TrySendError::Closed(_) => ended(),
        })?;
        match timeout(WITHIN, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(ended()),
            Err(_) => Err(busy()),
        }
    }

    /// How long an answer may take.
    pub fn patience() -> Duration {
        WITHIN
    }
}

fn busy() -> Reason {
    Reason::new(
        "orders-busy",
        "The reboot task is busy and has not taken the order yet; look with `eyewall reboot`, then try again.",
    )
}

#[cfg(test)]
mod tests {
    use eyewall_core::reboot::orders::Why;

    use super::*;

    fn hold() -> Command {
        Command::Hold(Why::new("x").unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_is_answered_by_the_task_or_in_time() {
        let (orders, mut taken) = Orders::new();
        let task = async {
            let Ordered { command, uid, answer } = taken.recv().await.unwrap();
            assert_eq!((command, uid), (hold(), 7));
            answer.send(Ok(Reason::new("held", ""))).unwrap();
        };
        let (answer, ()) = tokio::join!(orders.give(hold(), 7), task);
        assert_eq!(answer.unwrap().kind, "held");
        assert_eq!(orders.give(hold(), 7).await.unwrap_err().kind, "orders-busy", "nobody takes it");
        for _ in 0..QUEUE {
            let _ = timeout(Duration::ZERO, orders.give(hold(), 7)).await;
        }
        assert_eq!(orders.give(hold(), 7).await.unwrap_err().kind, "orders-busy", "the queue is full");
        drop(taken);
        assert_eq!(orders.give(hold(), 7).await.unwrap_err().kind, "reboots-not-running");
    }
}
