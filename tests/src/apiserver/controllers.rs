//! What runs beside the API: the approver and the signer of the controller-manager, and the end of pods.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::authn::Identity;
use super::authz::{Rule, decide};
use super::csr::{add_condition, condition};
use super::options::ApprovalMode;
use super::resources::{CSRS, NODES, PODS};
use super::route::Attributes;
use super::signer::{Recognised, Unsigned, encoded, is_serving, may_serve, recognise, sign};
use super::store::Store;
use super::world::{Shared, World};

/// How often to look when nothing is due and nothing ticks.
const IDLE: Duration = Duration::from_secs(60);

/// When each step on each request was first seen to be possible, by uid and step.
type Seen = BTreeMap<(String, &'static str), Instant>;

/// Runs until it is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut ticks = shared.ticks();
    let mut seen = Seen::new();
    loop {
        ticks.mark_unchanged();
        let wake = shared.change_if(|world| {
            let before = world.store.version();
            let wake = pass(&shared, world, &mut seen);
            (world.store.version() != before, wake)
        });
        let wake = wake.unwrap_or_else(|| Instant::now() + IDLE);
        tokio::select! {
            result = ticks.changed() => if result.is_err() { return },
            () = tokio::time::sleep_until(wake) => {}
        }
    }
}

/// Does what is due; says when the next thing is.
fn pass(shared: &Shared, world: &mut World, seen: &mut Seen) -> Option<Instant> {
    let now = Instant::now();
    let mut wake = end_pods(world, now);
    let open: Vec<Value> = world.store.list(&CSRS, "").filter(|request| !is_over(request)).cloned().collect();
    let before = world.store.version();
    let mut due = |uid: &str, step: &'static str, delay: Duration| {
        let due = *seen.entry((uid.to_owned(), step)).or_insert(now) + delay;
        if due > now {
            wake = Some(wake.map_or(due, |wake: Instant| wake.min(due)));
        }
        due <= now
    };
    for request in &open {
        let uid = request["metadata"]["uid"].as_str().unwrap_or_default();
        if condition(request, "Approved").is_some() {
            if due(uid, "sign", world.signing.delay) {
                sign_one(shared, world, request.clone());
            }
        } else if is_serving(request) {
            if world.signing.serving != ApprovalMode::Manual && due(uid, "approve", world.signing.approval_delay) {
                decide_on_serving(shared, world, request.clone());
            }
        } else if world.signing.approval != ApprovalMode::Manual
            && let Some(recognised) = approvable(request, &world.rules, &world.store)
            && due(uid, "approve", world.signing.approval_delay)
        {
            decide_on(shared, world, request.clone(), recognised);
        }
    }
    seen.retain(|(uid, _), _| open.iter().any(|request| request["metadata"]["uid"] == uid.as_str()));
    // A request that was approved just now can be signed at once.
    if world.store.version() == before { wake } else { Some(now) }
}

/// Neither approver nor signer will ever touch it again.
fn is_over(request: &Value) -> bool {
    !request["status"]["certificate"].is_null()
        || ["Denied", "Failed"].iter().any(|kind| condition(request, kind).is_some())
}

fn end_pods(world: &mut World, now: Instant) -> Option<Instant> {
    let (over, waiting): (Vec<_>, Vec<_>) =
        std::mem::take(&mut world.endings).into_iter().partition(|ending| ending.at <= now);
    for ending in over {
        let pod = world.store.get(&PODS, &ending.namespace, &ending.name);
        if pod.is_some_and(|pod| pod["metadata"]["uid"] == ending.uid.as_str()) {
            world.store.remove(&PODS, &ending.namespace, &ending.name);
        }
    }
    world.endings = waiting;
    world.endings.iter().map(|ending| ending.at).min()
}

/// The first thing the request is recognised as, for which its requester has the permission.
fn approvable(request: &Value, rules: &[Rule], store: &Store) -> Option<Recognised> {
    let requester = Identity::of_request(request);
    recognise(request).into_iter().find(|recognised| {
        let what = Attributes {
            verb: "create".to_owned(),
            group: CSRS.group.to_owned(),
            version: "*".to_owned(),
            resource: CSRS.plural.to_owned(),
            subresource: recognised.permission().to_owned(),
            ..Attributes::default()
        };
        decide(&requester, &what, rules, store).allowed
    })
}

fn decide_on(shared: &Shared, world: &mut World, mut request: Value, recognised: Recognised) {
    let now = shared.now();
    match &world.signing.approval {
        ApprovalMode::Deny { reason, message } => add_condition(&mut request, "Denied", reason, message, now),
        ApprovalMode::Auto | ApprovalMode::Fail { .. } => {
            add_condition(&mut request, "Approved", "AutoApproved", recognised.message(), now);
        }
        ApprovalMode::Manual => return,
    }
    world.store.put(&CSRS, request);
}

/// Not the controller-manager, which never decides on these: an approver beside it.
fn decide_on_serving(shared: &Shared, world: &mut World, mut request: Value) {
    let now = shared.now();
    let name =
        request["spec"]["username"].as_str().and_then(|user| user.strip_prefix("system:node:")).unwrap_or_default();
    let verdict = may_serve(&request, world.store.get(&NODES, "", name));
    match (&world.signing.serving, verdict) {
        (ApprovalMode::Deny { reason, message }, _) => add_condition(&mut request, "Denied", reason, message, now),
        (_, Err(why)) => add_condition(&mut request, "Denied", "NotThisNodesAddresses", &why, now),
        (_, Ok(())) => add_condition(&mut request, "Approved", "ServingApprover", "the addresses are the node's", now),
    }
    world.store.put(&CSRS, request);
}

fn sign_one(shared: &Shared, world: &mut World, mut request: Value) {
    let now = shared.now();
    let mode = if is_serving(&request) { &world.signing.serving } else { &world.signing.approval };
    let result = match mode {
        ApprovalMode::Fail { reason, message } => {
            add_condition(&mut request, "Failed", reason, message, now);
            world.store.put(&CSRS, request);
            return;
        }
        _ => sign(&request, &shared.authority, &world.signing, now),
    };
    match result {
        Ok(pem) => request["status"]["certificate"] = encoded(&pem),
        Err(Unsigned::Failed(why)) => add_condition(&mut request, "Failed", "SignerValidationFailure", &why, now),
        Err(Unsigned::Retried(_) | Unsigned::NotOurs) => return,
    }
    world.store.put(&CSRS, request);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::authz::default_rules;
    use super::super::csr::fixture;
    use super::*;

    #[test]
    fn approval_asks_for_the_requesters_own_permission() {
        let token = ("system:bootstrap:abcdef", "system:bootstrappers");
        let node_a = ("system:node:a", "system:nodes");
        let person = ("jane", "developers");
        for (name, (user, group), revoked, want) in [
            ("a token asks for a node", token, "", Some(Recognised::New)),
            ("a node asks for itself", node_a, "", Some(Recognised::Own)),
            ("a node asks for another", ("system:node:b", "system:nodes"), "", None),
            ("somebody asks for a node", person, "", None),
            ("an admin asks for a node", ("admin", "system:masters"), "", Some(Recognised::New)),
            ("a token, nothing bound for it", token, "nodeclient", None),
            ("a node, nothing bound for it", node_a, "selfnodeclient", None),
        ] {
            let mut request = fixture("system:node:a", "system:nodes", &[], &["digital signature", "client auth"]);
            request["spec"]["username"] = json!(user);
            request["spec"]["groups"] = json!([group, "system:authenticated"]);
            let mut rules = default_rules();
            rules.retain(|rule| rule.role != revoked);
            assert_eq!(approvable(&request, &rules, &Store::new()), want, "{name}");
        }
    }
}
