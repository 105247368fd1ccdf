//! The own Node: looked at, cordoned, uncordoned.

use std::sync::Arc;

use eyewall_core::reboot::node::{self, Node};
use eyewall_core::reboot::{BootId, NodeSeen};
use eyewall_core::status::Reason;
use hyper::Method;
use serde_json::Value;

use super::reach::{Reach, away};
use crate::api::{Answer, Client, Patch};

/// How often a write is tried again when somebody else wrote in between. The kubelet and the node controllers write some times a minute.
const TRIES: usize = 5;

/// The own Node.
#[derive(Clone, Debug)]
pub struct OwnNode {
    reach: Arc<dyn Reach>,
    name: String,
}

impl OwnNode {
    /// The Node of this name.
    pub fn new(reach: Arc<dyn Reach>, name: &str) -> Self {
        Self { reach, name: name.to_owned() }
    }

    /// Looks at it.
    ///
    /// # Errors
    /// Why it cannot be looked at.
    pub async fn look(&self) -> Result<NodeSeen, Reason> {
        let mut client = self.reach.connect().await?;
        Ok(read(&mut client, &self.name).await?.seen)
    }

    /// Cordons it and notes `boot` on it, unless it is cordoned already: then it stays as it is, and is not ours to uncordon. Returns the Node
    /// as it is then.
    ///
    /// # Errors
    /// Why that is not done, as far as it is known: after a lost answer, the next look tells.
    pub async fn cordon(&self, boot: &BootId) -> Result<NodeSeen, Reason> {
        self.change("to cordon itself", |node| (!node.seen.unschedulable).then(|| node::cordon(&node.version, boot)))
            .await
    }

    /// Uncordons it if the agent cordoned it, in whatever boot. Returns the Node as it is then.
    ///
    /// # Errors
    /// As [`OwnNode::cordon`].
    pub async fn uncordon(&self) -> Result<NodeSeen, Reason> {
        self.change("to uncordon itself", |node| {
            node.seen.cordoned_by_us.as_ref()?;
            Some(if node.seen.unschedulable {
                node::uncordon(&node.version)
            } else {
                node::forget_cordon(&node.version)
            })
        })
        .await
    }

    /// Looks, writes what `change` wants, and looks again when somebody was in between.
    async fn change(&self, doing: &str, change: impl Fn(&Node) -> Option<Value>) -> Result<NodeSeen, Reason> {
        let mut client = self.reach.connect().await?;
        let mut refused = None;
        for _ in 0..TRIES {
            let node = read(&mut client, &self.name).await?;
            let Some(patch) = change(&node) else { return Ok(node.seen) };
            let answer =
                client.patch(&node::path(&self.name), Patch::Merge, &patch).await.map_err(|error| away(&error))?;
            match answer.status {
                200 => return understood(&answer).map(|node| node.seen),
                409 => refused = Some(answer),
                status => return Err(node::refusal(status, answer.body(), doing)),
            }
        }
        Err(refused.map_or_else(
            || Reason::new("node-conflict", "the Node was not written"),
            |answer| node::refusal(answer.status, answer.body(), doing),
        ))
    }
}

/// Reads the Node of this name.
pub(super) async fn read(client: &mut Client, name: &str) -> Result<Node, Reason> {
    let answer = client.call(Method::GET, &node::path(name), None).await.map_err(|error| away(&error))?;
    match answer.status {
        200 => understood(&answer),
        status => Err(node::refusal(status, answer.body(), "to read its Node")),
    }
}

fn understood(answer: &Answer) -> Result<Node, Reason> {
    node::read(answer.body()).map_err(|why| Reason::new("api-server-nonsense", why))
}

#[cfg(test)]
mod tests {
    use ::tests::apiserver::{Fault, FaultAction};
    use serde_json::json;

    use super::super::testing::Cluster;
    use super::*;

    #[tokio::test]
    async fn a_cordon_is_ours_or_left_alone() {
        let cluster = Cluster::start().await;
        let node = OwnNode::new(cluster.reach("node-a"), "node-a");
        assert_eq!(node.look().await.unwrap_err().kind, "node-missing");
        let object = |spec: Value| {
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}, "spec": spec,
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
        };
        let boot = BootId("b-1".to_owned());
        let seen =
            |unschedulable, by: Option<&BootId>| NodeSeen { unschedulable, cordoned_by_us: by.cloned(), ready: true };

        cluster.api.apply(object(json!({}))).unwrap();
        assert_eq!(node.uncordon().await.unwrap(), seen(false, None), "nothing to undo");
        assert_eq!(node.cordon(&boot).await.unwrap(), seen(true, Some(&boot)));
        assert_eq!(node.cordon(&BootId("b-2".to_owned())).await.unwrap(), seen(true, Some(&boot)), "done already");
        assert_eq!(node.look().await.unwrap(), seen(true, Some(&boot)));
        assert_eq!(node.uncordon().await.unwrap(), seen(false, None));

        cluster.api.apply(object(json!({"unschedulable": true}))).unwrap();
        assert_eq!(node.cordon(&boot).await.unwrap(), seen(true, None), "an operator's stays an operator's");
        assert_eq!(node.uncordon().await.unwrap(), seen(true, None), "and is not undone");

        let lost = Fault::new(FaultAction::HalfBody).method(Method::PATCH);
        cluster.api.apply(object(json!({}))).unwrap();
        cluster.api.inject(lost);
        assert_eq!(node.cordon(&boot).await.unwrap_err().kind, "api-server-away");
        assert_eq!(node.cordon(&boot).await.unwrap(), seen(true, Some(&boot)), "the second look tells");
        cluster.api.stop();
        assert_eq!(node.look().await.unwrap_err().kind, "api-server-away");
    }

    #[tokio::test]
    async fn who_writes_in_between_is_not_overwritten() {
        let cluster = Cluster::start().await;
        let node = OwnNode::new(cluster.reach("node-a"), "node-a");
        let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}});
        cluster.api.apply(object).unwrap();
        let conflict = FaultAction::Status { code: 409, retry_after: None, body: None };
        cluster.api.inject(Fault::new(conflict.clone()).method(Method::PATCH).times(2));
        assert!(node.cordon(&BootId("b-1".to_owned())).await.unwrap().unschedulable, "the third try");
        cluster.api.inject(Fault::new(conflict).method(Method::PATCH).always());
        assert_eq!(node.uncordon().await.unwrap_err().kind, "node-conflict");
        let sent = cluster.api.requests();
        assert!(sent.iter().all(|request| request.user_agent.starts_with("eyewall-reboot/")), "{sent:?}");
    }
}
