//! What the task asks the API server beside its request: its clock, and whether the bootstrap credential would work.

use eyewall_core::rotation::{self, Identity, Outcome};
use eyewall_core::status::{Health, Reason, RecoveryView};
use eyewall_core::time::Time;
use tokio::time::timeout;

use super::observe::World;
use super::{Task, obtain};
use crate::api::{ApiError, Client, csr, review};
use crate::bootstrap::Joined;

/// systemd-timesyncd touches this when the clock is set (systemd-timesyncd.service(8)); where another service keeps
/// the time, the API server's date vouches.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

impl Task {
    /// Finds out whether the clock can be trusted: by the time service's own mark, else by the API server's `Date`.
    pub(super) async fn check_clock(&mut self, world: &World) {
        let synchronised = std::path::Path::new(SYNCHRONISED).exists().then_some(true);
        if synchronised == Some(true) {
            self.memory.clock = Some(rotation::clock::judge((self.deps.clock)(), synchronised, None));
            return;
        }
        let Ok(joined) = &world.bootstrap else { return };
        // Any answer has a date, a refusal too; and the connection is used again for the request.
        let answer = match self.connection(joined, Identity::Bootstrap, None).await {
            Ok(client) => client.call(hyper::Method::GET, "/version", None).await,
            Err(error) => Err(error),
        };
        let now = (self.deps.clock)();
        let outcome = match answer {
            // Asked to leave the server alone, the request would be the next to disturb it.
            Ok(answer) if answer.retry_after.is_some() => csr::outcome(&answer),
            Ok(answer) => {
                self.memory.clock = Some(rotation::clock::judge(now, synchronised, answer.date));
                return;
            }
            Err(error) => {
                self.memory.client = None;
                obtain::outcome(error)
            }
        };
        let draw = (self.deps.draw)();
        self.memory.ended(now, outcome, Identity::Bootstrap, draw);
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
        self.memory.recovery = Some(RecoveryView { health, tested_at: Time((self.deps.clock)()), reason });
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
