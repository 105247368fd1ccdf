//! systemd's signals, as a hint that units, sockets and processes may be others now.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use zbus::export::futures_core::Stream as _;
use zbus::message::Type;
use zbus::{MatchRule, MessageStream, ObjectPath};

use super::units::Bus;

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const WITHIN: Duration = Duration::from_secs(5);
/// Where there is no bus it is tried again after this: a hint is worth no more.
const AGAIN: Duration = Duration::from_secs(300);

/// The signals that matter: a job ended, units were loaded anew, a scope is gone.
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

fn is_news(message: &zbus::Message) -> bool {
    let header = message.header();
    match header.member().map(|member| member.as_str()) {
        // A job of a scope is a container's coming; what listens in it is looked at as for any other.
        Some("JobRemoved" | "Reloading") => true,
        Some("UnitRemoved") => {
            let body = message.body();
            body.deserialize::<(&str, ObjectPath<'_>)>().is_ok_and(|(name, _)| goes_without_a_job(name))
        }
        _ => false,
    }
}

/// A scope ends with its last process: no job says so. Other units come and go with every question about one that is not loaded, our own
/// questions too: they are no news.
fn goes_without_a_job(unit: &str) -> bool {
    unit.ends_with(".scope")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_news_of_systemd() {
        let path = ObjectPath::try_from("/org/freedesktop/systemd1/unit/x").unwrap();
        let signal = |member: &str, unit: &str| {
            let builder = zbus::Message::signal(MANAGER_PATH, MANAGER, member);
            match member {
                "Reloading" => builder.build(&(true,)),
                "JobRemoved" => builder.build(&(7_u32, &path, unit, "done")),
                _ => builder.build(&(unit, &path)),
            }
            .unwrap()
        };
        for (name, message, want) in [
            ("a service was started", signal("JobRemoved", "ssh.service"), true),
            ("units were loaded anew", signal("Reloading", ""), true),
            ("a container ended", signal("UnitRemoved", "cri-containerd-0123.scope"), true),
            ("a unit that we asked about", signal("UnitRemoved", "sshd.socket"), false),
            ("a unit was loaded", signal("UnitNew", "cri-containerd-0123.scope"), false),
        ] {
            assert_eq!(is_news(&message), want, "{name}");
        }
    }
}
