//! systemd's signals, as a hint that units, sockets and processes may be others now.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use zbus::export::futures_core::Stream as _;
use zbus::message::Type;
use zbus::{MatchRule, MessageStream};

use super::units::Bus;

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const WITHIN: Duration = Duration::from_secs(5);
/// Where there is no bus it is tried again after this: a hint is worth no more.
const AGAIN: Duration = Duration::from_secs(300);

/// The signals that matter: a job ended, units were loaded anew.
#[derive(Debug)]
pub struct Signals(Option<(Bus, MessageStream)>);

impl Signals {
    /// Listens, if there is a bus.
    pub async fn connect() -> Self {
        Self(subscribe().await)
    }

    /// Returns when units may have changed. Without a bus it tries to get one, now and then.
    pub async fn changed(&mut self) {
        loop {
            let Some((_, stream)) = &mut self.0 else {
                sleep(AGAIN).await;
                self.0 = subscribe().await;
                if self.0.is_some() {
                    return;
                }
                continue;
            };
            let next = std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await;
            match next {
                Some(Ok(message)) if is_news(&message) => return,
                Some(Ok(_)) => {}
                _ => self.0 = None,
            }
        }
    }
}

/// The end of a job of a scope is a pod's coming or going; what listens in it is looked at as for any other.
fn is_news(message: &zbus::Message) -> bool {
    let header = message.header();
    matches!(header.member().map(|member| member.as_str()), Some("JobRemoved" | "Reloading"))
}

async fn subscribe() -> Option<(Bus, MessageStream)> {
    let bus = Bus::connect().await.ok()?;
    bus.call(SYSTEMD, MANAGER_PATH, MANAGER, "Subscribe", &()).await.ok()?;
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(SYSTEMD)
        .interface(MANAGER)
        .path(MANAGER_PATH)
        .build()
        .ok()?;
    let stream = timeout(WITHIN, MessageStream::for_match_rule(rule, bus.connection(), None)).await.ok()?.ok()?;
    Some((bus, stream))
}
