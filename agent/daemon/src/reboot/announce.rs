//! Tells the cluster where this node is with its reboots: annotations, condition and Event, on change only.

use std::sync::Arc;

use eyewall_core::reboot::announce::{self, Announcement, Budget};
use eyewall_core::reboot::node;
use eyewall_core::status::Reason;
use eyewall_core::time::Time;
use hyper::Method;

use super::node::read;
use super::reach::{Reach, away};
use crate::api::{Answer, Patch};

/// What is to be told yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Owed {
    annotations: bool,
    condition: bool,
    event: bool,
}

/// Tells, and remembers what was told.
#[derive(Debug)]
pub struct Announcer {
    reach: Arc<dyn Reach>,
    node: String,
    told: Option<Announcement>,
    owed: Owed,
    budget: Budget,
}

impl Announcer {
    /// For the Node of this name.
    pub fn new(reach: Arc<dyn Reach>, node: &str) -> Self {
        Self { reach, node: node.to_owned(), told: None, owed: Owed::default(), budget: Budget::default() }
    }

    /// Tells it, if anything has changed since it was told last. Whoever calls this again after an error tells only what is owed.
    ///
    /// # Errors
    /// Why not all of it is told.
    pub async fn tell(&mut self, what: &Announcement, now: Time) -> Result<(), Reason> {
        if self.told.as_ref() != Some(what) {
            let step = |told: &Announcement| (told.state.clone(), told.reason.kind.clone());
            // A restart of the agent is no step, and tells none again; the annotations then say what it goes on from.
            let is_step = self.told.as_ref().is_some_and(|told| step(told) != step(what));
            self.owed = Owed {
                annotations: true,
                condition: true,
                event: self.owed.event || (is_step && self.budget.spend(now)),
            };
            self.told = Some(what.clone());
        }
        if self.owed == Owed::default() {
            return Ok(());
        }
        let mut client = self.reach.connect().await?;
        if self.owed.annotations {
            let answer = client
                .patch(&node::path(&self.node), Patch::Merge, &announce::annotations(what))
                .await
                .map_err(|error| away(&error))?;
            done(&answer, "to annotate itself")?;
            self.owed.annotations = false;
        }
        if self.owed.condition {
            let was = read(&mut client, &self.node).await?.condition;
            let condition = announce::condition(what, was.as_deref(), now);
            let answer = client
                .patch(&announce::status_path(&self.node), Patch::Strategic, &condition)
                .await
                .map_err(|error| away(&error))?;
            done(&answer, "to write its condition")?;
            self.owed.condition = false;
        }
        if self.owed.event {
            // Once: an Event that was lost on the way is not worth a second one.
            self.owed.event = false;
            let event = announce::event(what, &self.node, now);
            let answer =
                client.call(Method::POST, announce::EVENTS_PATH, Some(&event)).await.map_err(|error| away(&error))?;
            done(&answer, "to write an Event")?;
        }
        Ok(())
    }
}

fn done(answer: &Answer, doing: &str) -> Result<(), Reason> {
    match answer.status {
        200 | 201 => Ok(()),
        status => Err(node::refusal(status, answer.body(), doing)),
    }
}

#[cfg(test)]
mod tests {
    use ::tests::apiserver::{Fault, FaultAction};
    use eyewall_core::status::Health;
    use serde_json::json;

    use super::super::testing::Cluster;
    use super::*;

    fn what(state: &str, kind: &str, wanted: Option<bool>) -> Announcement {
        let since = Time::from_unix(1_795_486_508);
        let reason = Reason::new(kind, "a sentence");
        Announcement { state: state.to_owned(), reason, since, wanted, health: Health::Good }
    }

    #[tokio::test]
    async fn changes_are_told_once_and_what_failed_is_owed() {
        let cluster = Cluster::start().await;
        let ready = json!([{"type": "Ready", "status": "True"}]);
        cluster.api.apply(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}, "status": {"conditions": ready}})).unwrap();
        cluster.api.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})).unwrap();
        let mut announcer = Announcer::new(cluster.reach("node-a"), "node-a");
        let at = |second: u64| Time::from_unix(1_795_486_508 + second);
        let node = || cluster.api.look(|view| view.object("nodes", "", "node-a")).unwrap();
        let condition = |field: &str| node()["status"]["conditions"][0][field].clone();
        let events = || cluster.api.look(|view| view.objects("events"));

        announcer.tell(&what("idle", "no-reboot-wanted", Some(false)), at(0)).await.unwrap();
        assert_eq!(node()["metadata"]["annotations"]["eyewall.dev/reboot-state"], "idle");
        assert_eq!((condition("type"), condition("status")), (json!("EyewallReboot"), json!("False")));
        assert_eq!(events().len(), 0, "the start is no step");

        let waiting = what("waiting", "no-free-slot", Some(true));
        announcer.tell(&waiting, at(10)).await.unwrap();
        assert_eq!(node()["metadata"]["annotations"]["eyewall.dev/reboot-reason"], "no-free-slot: a sentence");
        assert_eq!((condition("status"), condition("lastTransitionTime")), (json!("True"), json!(at(10))));
        assert_eq!(node()["status"]["conditions"][1]["type"], "Ready", "the others stay");
        assert_eq!(events().iter().map(|event| event["reason"].clone()).collect::<Vec<_>>(), ["RebootWaiting"]);

        let before = cluster.api.requests().len();
        announcer.tell(&waiting, at(20)).await.unwrap();
        assert_eq!(cluster.api.requests().len(), before, "nothing new, nothing asked");

        let fault = FaultAction::Status { code: 503, retry_after: None, body: None };
        cluster.api.inject(Fault::new(fault).path("/api/v1/nodes/node-a/status"));
        let draining = what("draining", "draining", Some(true));
        assert_eq!(announcer.tell(&draining, at(30)).await.unwrap_err().kind, "api-server-busy");
        announcer.tell(&draining, at(40)).await.unwrap();
        assert_eq!((condition("reason"), condition("lastTransitionTime")), (json!("Draining"), json!(at(10))));
        assert_eq!(events().len(), 2, "told once, though late");
    }
}
