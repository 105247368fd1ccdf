//! Asks the API server what this node may do, before it is needed.

use eyewall_core::reboot::rights::{self, Right};
use eyewall_core::status::Reason;
use hyper::Method;

use super::reach::{Reach, away};
use crate::api::Patch;

/// What is missing of what the reboots of `node` need; with `group`, also of its slots: the rules of the manifest, and whether its admission
/// policy is in force. Nothing is changed. Ten requests, so it is for the start, and for when a 403 came.
///
/// # Errors
/// It cannot be asked.
pub async fn missing(reach: &dyn Reach, node: &str, group: Option<&str>) -> Result<Vec<Reason>, Reason> {
    let mut client = reach.connect().await?;
    let mut missing: Vec<Reason> = Vec::new();
    for right in Right::all(node, group) {
        let answer =
            client.call(Method::POST, rights::PATH, Some(&right.review())).await.map_err(|error| away(&error))?;
        let allowed = rights::allowed(answer.status, answer.body()).map_err(|why| {
            Reason::new("rights-unknown", format!("the API server does not say what this node may do: {why}"))
        })?;
        if !allowed {
            missing.push(right.missing());
        }
    }
    let may_write = !missing.iter().any(|reason| reason.kind == "slots-rule-missing");
    if let Some(group) = group
        && may_write
    {
        let answer = client
            .patch(&rights::probe_path(group), Patch::Merge, &rights::probe())
            .await
            .map_err(|error| away(&error))?;
        missing.extend(rights::guarded(answer.status, answer.body(), group));
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Cluster;
    use super::*;

    #[tokio::test]
    async fn each_missing_rule_is_named() {
        let cluster = Cluster::start().await;
        let reach = cluster.reach("node-a");
        let kinds = async |group| -> Vec<String> {
            missing(&*reach, "node-a", group).await.unwrap().into_iter().map(|reason| reason.kind).collect()
        };
        assert_eq!(kinds(None).await, [""; 0], "the Node authorizer is enough");
        let all = missing(&*reach, "node-a", Some("workers")).await.unwrap();
        let verbs: Vec<bool> = ["get", "list", "watch", "patch"]
            .iter()
            .map(|verb| {
                all.iter()
                    .any(|reason| reason.message.contains(&format!("may not {verb} the ConfigMap reboot-workers")))
            })
            .collect();
        assert_eq!((all.len(), verbs), (4, vec![true; 4]), "{all:?}");
        cluster.api.apply_reboot_slots("workers", 1);
        assert_eq!(kinds(Some("workers")).await, [""; 0]);
        assert_eq!(kinds(Some("lab")).await, ["slots-rule-missing"; 4], "another group's map is not in the role");
        cluster.api.set_slots_policy(false);
        assert_eq!(kinds(Some("workers")).await, ["slots-unguarded"]);
        let map = cluster.api.look(|view| view.object("configmaps", "kube-system", "reboot-workers"));
        assert_eq!(map.unwrap()["data"], serde_json::json!({"slots": "1"}), "nothing was written");
    }
}
