//! What the task asks the API server beside its request: its clock, and whether the bootstrap credential would work.

use std::time::{Duration, SystemTime};

use eyewall_core::cert::{self, CertView};
use eyewall_core::config::Owner;
use eyewall_core::rotation::clock::{self, ClockEvidence, End, Floor, Server, Service};
use eyewall_core::rotation::clock_step::{Reading, after_step, is_worth_a_look};
use eyewall_core::rotation::{Identity, Outcome};
use eyewall_core::status::{Health, Reason, RecoveryView};
use eyewall_core::time::Time;
use jiff::SignedDuration;
use tokio::time::timeout;

use super::observe::World;
use super::{Memory, Task, obtain};
use crate::api::{ApiError, Bearer, Client, Endpoint, csr, review};
use crate::bootstrap::Joined;
use crate::time_service;

/// For a date that is only one more piece of evidence.
const DATE_WITHIN: Duration = Duration::from_secs(5);

impl Memory {
    /// The clock was set `set` ahead: what was concluded about it is void, and what was to be waited for is waited for as
    /// long as it was to be.
    pub(super) fn clock_was_set(&mut self, set: SignedDuration, now: Time) {
        self.clock = None;
        self.last = self.last.take().and_then(|last| last.after_step(set, now));
        if let Some(recovery) = &mut self.recovery {
            recovery.tested_at = after_step(recovery.tested_at, set, now);
        }
    }
}

impl Task {
    /// Notices that the clock was set since the last look: told by the kernel, or seen by a clock that nobody sets.
    pub(super) fn notice_step(&mut self) {
        let reading = Reading { wall: Time((self.deps.clock)()), since_boot: (self.deps.since_boot)() };
        let set = self.reading.map_or(SignedDuration::ZERO, |before| reading.set_since(&before));
        self.reading = Some(reading);
        if self.deps.clock_steps.take() || is_worth_a_look(set) {
            self.memory.clock_was_set(set, reading.wall);
        }
    }

    /// Finds out whether the clock can be trusted. The API server is asked first, because its answer settles it on a good day
    /// and its connection is used again; the time service only where that is not enough.
    pub(super) async fn check_clock(&mut self, world: &World) {
        let joined = world.bootstrap.as_ref().ok();
        let mut evidence = ClockEvidence {
            now: Time((self.deps.clock)()),
            floor: Floor::new(joined.and_then(|joined| begins(&joined.ca))),
            service: Service::Silent,
            server: Server::Silent,
        };
        let mut trouble = None;
        if let Some(joined) = joined.filter(|_| !evidence.is_impossible()) {
            match self.server_clock(joined).await {
                Ok((server, words)) => {
                    evidence.server = server;
                    trouble = words.map(Outcome::ServerExpired);
                }
                Err(outcome) => trouble = Some(outcome),
            }
            evidence.now = Time((self.deps.clock)());
        }
        if evidence.needs_service() {
            evidence.service = time_service::ask(evidence.now.0).await;
        }
        let draw = (self.deps.draw)();
        let verdict = clock::judge(&evidence).following(self.memory.clock.as_ref(), draw);
        let is_trouble = matches!(evidence.server, Server::Silent) || evidence.is_servers_fault();
        match trouble.filter(|_| is_trouble) {
            // Nobody says anything about the clock: it is the server's silence that is told.
            Some(outcome) => {
                self.memory.client = None;
                self.memory.ended(evidence.now.0, outcome, Identity::Bootstrap, draw);
                // Where the kubelet asks for itself there is no attempt that would be waited for.
                let only_looks = self.deps.config.borrow().certificates.owner == Owner::Kubelet;
                self.memory.clock = Some(verdict).filter(|verdict| verdict.trusted || only_looks);
            }
            None => self.memory.clock = Some(verdict),
        }
        if let Some(clock) = &self.memory.clock {
            self.publisher.clock(clock);
        }
    }

    /// What the API server shows of its time; with words, if its certificate is out of time by our clock.
    async fn server_clock(&mut self, joined: &Joined) -> Result<(Server, Option<String>), Outcome> {
        let answer = match self.connection(joined, Identity::Bootstrap, None).await {
            // Any answer has a date, a refusal too.
            Ok(client) => client.call(hyper::Method::GET, "/version", None).await,
            Err(error) => Err(error),
        };
        match answer {
            // Asked to leave the server alone, the request would be the next to disturb it.
            Ok(answer) if answer.retry_after.is_some() => Err(csr::outcome(&answer)),
            Ok(answer) => Ok((Server::Answers { date: answer.date.map(Time) }, None)),
            Err(ApiError::OutOfTime { words, end }) => {
                // A second inside its life.
                let at = match end {
                    End::Begins(at) => Some(at.moved(SignedDuration::from_secs(1))),
                    End::Ended(at) => Some(at.moved(SignedDuration::from_secs(-1))),
                    End::Unknown => None,
                };
                let date = match at {
                    Some(at) => {
                        timeout(DATE_WITHIN, self.date_at(joined, at)).await.ok().and_then(Result::ok).flatten()
                    }
                    None => None,
                };
                Ok((Server::OutOfTime { end, date: date.map(Time) }, Some(words)))
            }
            Err(error) => Err(obtain::outcome(error)),
        }
    }

    /// What the server's `Date` says to somebody who believes its certificate as it was at `at`, and hands over no credential.
    /// That is evidence about our own clock while the certificate is out of time by it, and good for nothing else.
    async fn date_at(&self, joined: &Joined, at: Time) -> Result<Option<SystemTime>, ApiError> {
        let endpoint = Endpoint::new(&joined.bootstrap, &joined.ca)?;
        let mut client = self.deps.dial.dial(&endpoint, Bearer::Nobody, at.0).await?;
        Ok(client.call(hyper::Method::GET, "/version", None).await?.date)
    }

    /// Asks the API server whom it takes the bearer of the bootstrap credential for. Nothing is changed by it.
    pub(super) async fn test_recovery(&mut self, world: &World) {
        let Ok(joined) = &world.bootstrap else { return };
        let answer = match self.connection(joined, Identity::Bootstrap, None).await {
            Ok(client) => match timeout(obtain::WITHIN, review::who_am_i(client)).await {
                Ok(answer) => answer,
                Err(_) => Err(ApiError::Unreachable("no answer".to_owned())),
            },
            Err(error) => Err(error),
        };
        let (health, reason) = match answer {
            Ok(Ok(review)) => {
                let message = format!("the API server knows the bootstrap credential, as {}", review.username);
                (Health::Good, Reason::new("recovery-credential-good", message))
            }
            Ok(Err(answer)) if answer.status == 401 => (Health::Bad, Outcome::Unauthorized.reason(Identity::Bootstrap)),
            Ok(Err(answer)) => (Health::Unknown, csr::outcome(&answer).reason(Identity::Bootstrap)),
            Err(error) => (Health::Unknown, obtain::outcome(error).reason(Identity::Bootstrap)),
        };
        self.publisher.recovery(health, &reason);
        let tested_at = Time((self.deps.clock)());
        let good_at = match health {
            Health::Good => Some(tested_at),
            Health::Bad | Health::Unknown => self.memory.recovery.as_ref().and_then(|before| before.good_at),
        };
        self.memory.recovery = Some(RecoveryView { health, tested_at, reason, good_at });
    }

    pub(super) async fn connection(
        &mut self,
        joined: &Joined,
        identity: Identity,
        pem: Option<&str>,
    ) -> Result<&mut Client, ApiError> {
        let reusable =
            matches!(&self.memory.client, Some((as_whom, client)) if *as_whom == identity && client.is_usable());
        if !reusable {
            self.memory.client = None;
        }
        match &mut self.memory.client {
            Some((_, client)) => Ok(client),
            empty => {
                let client = obtain::connect(&*self.deps.dial, joined, identity, pem, (self.deps.clock)()).await?;
                Ok(&mut empty.insert((identity, client)).1)
            }
        }
    }
}

/// The start of the cluster's CA; of the oldest, if it is a bundle.
fn begins(ca: &str) -> Option<Time> {
    let bundle = cert::certificates(ca).ok()?;
    bundle.iter().filter_map(|der| CertView::from_der(der).ok()).map(|view| view.not_before).min()
}
