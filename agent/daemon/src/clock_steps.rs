//! Tells whoever asks that the wall clock was set, or that the host comes back from suspension, at once and without a poll.
//!
//! One timerfd(2) on CLOCK_REALTIME that never expires, with TFD_TIMER_CANCEL_ON_SET: the kernel makes it readable when
//! the clock jumps. A clock that is only slewed does not jump. Where there is no such timer, everybody still finds a step at
//! the next look, by comparing two clocks (`eyewall_core::rotation::clock_step`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use eyewall_core::event;
use eyewall_core::rotation::clock_step::{Reading, StepBudget, is_worth_a_look};
use eyewall_core::status::Reason;
use eyewall_core::time::{Time, human};
use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::unistd::read;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use crate::clock;
use crate::events::Events;
use crate::limits::Limits;

/// How soon another timer is tried, where there was none to have.
const AGAIN: Duration = Duration::from_secs(60);
/// When the timer would expire, by a clock that says 2514.
const NEVER: Duration = Duration::from_secs(1 << 34);

/// A task's ear. Each clone hears every step.
#[derive(Clone, Debug)]
pub struct ClockSteps {
    steps: watch::Receiver<u64>,
    /// Heard, and not yet taken.
    heard: bool,
}

impl ClockSteps {
    /// Waits for the next step. Never returns where nobody can tell. Cancel safe.
    pub async fn heard(&mut self) {
        if self.steps.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.heard = true;
    }

    /// Was there a step since this was asked last?
    pub fn take(&mut self) -> bool {
        let missed = self.steps.has_changed().unwrap_or(false);
        self.steps.mark_unchanged();
        std::mem::take(&mut self.heard) || missed
    }

    /// One that never hears anything.
    #[cfg(test)]
    pub fn deaf() -> Self {
        Self { steps: watch::channel(0).1, heard: false }
    }
}

/// Begins to listen. Without a timer nobody hears anything, which is one of the agent's limits as long as it is so.
pub fn listen(events: Events, limits: Limits) -> ClockSteps {
    let (teller, steps) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            let error = match Timer::new() {
                Ok(timer) => {
                    limits.tell("clock-steps", None);
                    tell(timer, &teller, &events).await
                }
                Err(error) => error,
            };
            limits.tell("clock-steps", Some(limit(&error)));
            tokio::time::sleep(AGAIN).await;
        }
    });
    ClockSteps { steps, heard: false }
}

fn limit(error: &io::Error) -> Reason {
    Reason::new(
        "no-clock-watcher",
        format!(
            "There is no timer that tells when the clock is set ({error}), so that is found out within a minute instead of at once. \
             Does the unit forbid timerfd_create(2)?"
        ),
    )
}

/// Tells of each step, until the timer fails.
async fn tell(timer: AsyncFd<Timer>, teller: &watch::Sender<u64>, events: &Events) -> io::Error {
    let mut before = reading();
    let mut budget = StepBudget::default();
    loop {
        if let Err(error) = set(&timer).await {
            return error;
        }
        let wait = budget.wait(clock::since_boot());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        teller.send_modify(|steps| *steps += 1);
        let now = reading();
        let by = now.set_since(&before);
        before = now;
        if is_worth_a_look(by) {
            let direction = if by.is_negative() { "back" } else { "ahead" };
            let seconds = by.as_secs();
            events.emit(
                &event::CLOCK_SET,
                format!("The clock was set {direction} by {} ({seconds:+} s)", human(by.unsigned_abs())),
                &[("skew_seconds", &seconds.to_string())],
            );
        }
    }
}

fn reading() -> Reading {
    Reading { wall: Time(clock::now()), since_boot: clock::since_boot() }
}

/// The timer, as tokio wants it.
struct Timer(TimerFd);

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Timer {
    fn new() -> io::Result<AsyncFd<Self>> {
        let timer = Self(TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?);
        timer.arm()?;
        Self::watched(timer)
    }

    #[expect(
        deprecated,
        reason = "its successor is unsafe, for descriptors that change under tokio's hands; this one is owned and never changes"
    )]
    fn watched(timer: Self) -> io::Result<AsyncFd<Self>> {
        AsyncFd::with_interest(timer, Interest::READABLE)
    }

    fn arm(&self) -> nix::Result<()> {
        self.0.set(
            Expiration::OneShot(TimeSpec::from_duration(NEVER)),
            TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET,
        )
    }
}

/// Until the clock is set. The timer is armed anew before this returns: what comes after is another step.
async fn set(timer: &AsyncFd<Timer>) -> io::Result<()> {
    loop {
        let mut ready = timer.readable().await?;
        match read(timer, &mut [0; 8]) {
            Err(Errno::ECANCELED) => return Ok(timer.get_ref().arm()?),
            Err(Errno::EINTR) => {}
            // Nothing to read; or it has expired, which it does once in a year that no clock should show.
            Err(Errno::EAGAIN) | Ok(_) => ready.clear_ready(),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Setting the clock of the machine that runs the tests is out of the question (`vm-tests` does it), so this is about the rest:
    /// the kernel takes such a timer, and it is silent.
    #[tokio::test]
    async fn the_timer_is_armed_for_a_far_day_and_silent() {
        let timer = Timer::new().unwrap();
        let armed = timer.get_ref().0.get().unwrap();
        assert!(matches!(armed, Some(Expiration::OneShot(_))), "{armed:?}");
        let woken = tokio::time::timeout(Duration::from_millis(200), set(&timer)).await;
        assert!(woken.is_err(), "woken, though nobody set the clock");
    }

    #[tokio::test]
    async fn a_deaf_ear_waits_for_ever() {
        let mut deaf = ClockSteps::deaf();
        let woken = tokio::time::timeout(Duration::from_millis(50), deaf.heard()).await;
        assert!(woken.is_err() && !deaf.take());
    }

    #[tokio::test]
    async fn every_ear_hears_every_step_once() {
        let (teller, steps) = watch::channel(0);
        let mut one = ClockSteps { steps, heard: false };
        let mut two = one.clone();
        assert!(!one.take());
        teller.send_modify(|steps| *steps += 1);
        assert!(one.take(), "also without having waited for it");
        assert!(!one.take());
        two.heard().await;
        assert!(two.take());
        assert!(!two.take());
        drop(teller);
        let for_ever = tokio::time::timeout(Duration::from_millis(50), one.heard()).await;
        assert!(for_ever.is_err(), "nobody can tell any more");
        assert!(!one.take());
    }
}
