//! A stand-in for systemd-timedated on a private bus: the one property that says whether a time service keeps the clock
//! (org.freedesktop.timedate1(5)).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use zbus::Connection;
use zbus::connection::Builder;

use super::Bus;

/// What it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The kernel says that the clock is synchronised, or that it is not.
    Synchronised(bool),
    /// Nothing, ever: as where an SELinux policy drops the reply.
    Nothing,
}

/// timedated. Dropping it takes it off the bus.
#[derive(Debug)]
pub struct Timedate {
    _connection: Connection,
    asked: Arc<AtomicU32>,
}

struct Interface {
    answer: Answer,
    asked: Arc<AtomicU32>,
}

#[zbus::interface(name = "org.freedesktop.timedate1")]
impl Interface {
    #[zbus(property(emits_changed_signal = "false"), name = "NTPSynchronized")]
    async fn ntp_synchronized(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match self.answer {
            Answer::Synchronised(is) => is,
            Answer::Nothing => std::future::pending().await,
        }
    }
}

impl Timedate {
    /// On this bus, with this answer.
    ///
    /// # Errors
    /// The bus is away, or has a timedated already.
    pub async fn start(bus: &Bus, answer: Answer) -> Result<Self> {
        let asked = Arc::new(AtomicU32::new(0));
        let interface = Interface { answer, asked: Arc::clone(&asked) };
        let connection = Builder::address(bus.address().as_str())
            .name("org.freedesktop.timedate1")
            .serve_at("/org/freedesktop/timedate1", interface)
            .build()
            .await?;
        Ok(Self { _connection: connection, asked })
    }

    /// How often it was asked.
    pub fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}
