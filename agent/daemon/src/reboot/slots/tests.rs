use std::collections::BTreeSet;

use ::tests::apiserver::{Fault, FaultAction};

use super::super::testing::{Cluster, entry};
use super::*;

const SOON: Duration = Duration::from_secs(10);

fn deps(cluster: &Cluster, node: &str) -> Deps {
    Deps { reach: cluster.reach(node), group: "workers".to_owned(), node: node.to_owned(), draw: crate::host::draw }
}

async fn slots(cluster: &Cluster, node: &str) -> Slots {
    let slots = Slots::spawn(deps(cluster, node));
    until(&slots, |slot| matches!(slot, Slot::Seen { .. })).await;
    slots
}

async fn until(slots: &Slots, mut wanted: impl FnMut(&Slot) -> bool) -> Slot {
    let mut seen = slots.seen();
    let found = timeout(SOON, seen.wait_for(|slot| wanted(slot))).await;
    match found {
        Ok(found) => found.expect("the sender lives").clone(),
        Err(_) => panic!("not so within {SOON:?}: {:?}", slots.seen().borrow()),
    }
}

fn holders(cluster: &Cluster) -> Vec<String> {
    let map = cluster.api.look(|view| view.object("configmaps", "kube-system", "reboot-workers")).expect("it is there");
    let data = map["data"].as_object().expect("it has data");
    data.keys().filter_map(|key| key.strip_prefix("holder.")).map(str::to_owned).collect()
}

fn mine(slot: &Slot) -> bool {
    matches!(slot, Slot::Seen { mine: Some(_), .. })
}

#[tokio::test]
async fn a_slot_is_taken_shown_and_freed() {
    let cluster = Cluster::start().await;
    cluster.api.apply_reboot_slots("workers", 1);
    let (a, b) = (slots(&cluster, "node-a").await, slots(&cluster, "node-b").await);
    a.take(&entry("b-1")).await.unwrap();
    assert!(mine(&a.seen().borrow()), "shown by the answer already");
    a.take(&entry("b-1")).await.unwrap();
    let full = until(&b, |slot| matches!(slot, Slot::Seen { others, .. } if !others.is_empty())).await;
    assert!(
        matches!(full, Slot::Seen { mine: None, ref others, limit: 1, refused: None } if others[0].node == "node-a"
        && others[0].entry == Some(entry("b-1"))),
        "{full:?}"
    );
    assert_eq!(b.take(&entry("b-2")).await.unwrap_err().kind, "no-free-slot");
    assert!(matches!(&*b.seen().borrow(), Slot::Seen { refused: Some(reason), .. } if reason.kind == "no-free-slot"));
    let mut amended = entry("b-1");
    amended.cordoned = true;
    a.amend(&amended).await.unwrap();
    assert!(matches!(&*a.seen().borrow(), Slot::Seen { mine: Some(mine), .. } if mine.cordoned));
    a.free().await.unwrap();
    a.free().await.unwrap();
    until(&b, |slot| matches!(slot, Slot::Seen { others, refused: None, .. } if others.is_empty())).await;
    b.take(&entry("b-2")).await.unwrap();
    assert_eq!(holders(&cluster), ["node-b"]);
    // A refusal that was known before it was sent costs nothing.
    let patches = cluster.api.requests().iter().filter(|request| request.method == "PATCH").count();
    assert_eq!(patches, 6, "two takes, an amendment, two frees and a take");
}

#[tokio::test]
async fn lost_answers_are_looked_after() {
    let cluster = Cluster::start().await;
    cluster.api.apply_reboot_slots("workers", 1);
    let a = slots(&cluster, "node-a").await;
    let lose = |action| cluster.api.inject(Fault::new(action).method(Method::PATCH).path(&slots::path("workers")));
    lose(FaultAction::HalfBody);
    a.take(&entry("b-1")).await.expect("the write was carried out, its answer lost");
    assert_eq!(holders(&cluster), ["node-a"]);
    lose(FaultAction::HalfBody);
    let mut long = entry("b-1");
    long.reason = "long ".repeat(200);
    a.amend(&long).await.expect("the same, though its reason is written shorter");
    lose(FaultAction::HalfBody);
    a.free().await.expect("the same");
    assert_eq!(holders(&cluster), [""; 0]);
    lose(FaultAction::Reset);
    assert_eq!(a.take(&entry("b-1")).await.unwrap_err().kind, "api-server-away", "never carried out");
    assert_eq!(holders(&cluster), [""; 0]);
    assert!(matches!(&*a.seen().borrow(), Slot::Seen { mine: None, refused: Some(_), .. }));
    until(&a, |slot| matches!(slot, Slot::Seen { refused: None, .. })).await;
    a.take(&entry("b-1")).await.unwrap();
    lose(FaultAction::Reset);
    assert!(a.free().await.is_err());
    assert!(mine(&a.seen().borrow()), "still held, and known to be");
}

#[tokio::test]
async fn a_take_that_is_dropped_hides_nothing() {
    let cluster = Cluster::start().await;
    cluster.api.apply_reboot_slots("workers", 1);
    let a = slots(&cluster, "node-a").await;
    cluster.api.inject(Fault::new(FaultAction::Delay(Duration::from_secs(2))).method(Method::PATCH));
    assert!(timeout(Duration::from_secs(1), a.take(&entry("b-1"))).await.is_err(), "dropped while it waits");
    // Whether the write went through is the server's to say; then the watch shows it.
    match timeout(Duration::from_secs(3), a.seen().wait_for(mine)).await {
        Ok(_) => assert_eq!(holders(&cluster), ["node-a"]),
        Err(_) => a.take(&entry("b-1")).await.unwrap(),
    }
    assert!(mine(&a.seen().borrow()));
}

#[tokio::test]
async fn what_cannot_be_seen_is_not_known() {
    let cluster = Cluster::start().await;
    let a = Slots::spawn(deps(&cluster, "node-a"));
    let unknown = |kind: &'static str| move |slot: &Slot| matches!(slot, Slot::Unknown(reason) if reason.kind == kind);
    until(&a, unknown("slots-rule-missing")).await;
    cluster.api.apply_reboot_slots("workers", 1);
    until(&a, |slot| matches!(slot, Slot::Seen { .. })).await;
    cluster.api.remove("configmaps", "kube-system", "reboot-workers");
    until(&a, unknown("slots-group-missing")).await;
    assert!(a.take(&entry("b-1")).await.is_err());
    cluster.api.apply_reboot_slots("workers", 2);
    until(&a, |slot| matches!(slot, Slot::Seen { limit: 2, .. })).await;
    a.take(&entry("b-1")).await.unwrap();
    cluster.api.stop();
    until(&a, unknown("api-server-away")).await;
    assert!(a.free().await.is_err());
    cluster.api.start_again().unwrap();
    until(&a, mine).await;
    a.free().await.unwrap();
}

#[tokio::test]
async fn without_the_policy_the_limit_holds_all_the_same() {
    let cluster = Cluster::start().await;
    cluster.api.apply_reboot_slots("workers", 1);
    cluster.api.set_slots_policy(false);
    let (a, b) = (slots(&cluster, "node-a").await, slots(&cluster, "node-b").await);
    // Both believe that it is free: b's watch shows nothing new.
    let b_seen = b.seen();
    a.take(&entry("b-1")).await.unwrap();
    b.shared.change(|state| {
        // As if the watch were behind.
        let asked = state.shown();
        let map =
            serde_json::json!({"metadata": {"name": "reboot-workers", "resourceVersion": "1"}, "data": {"slots": "1"}});
        state.show_list(slots::read(map.to_string().as_bytes(), "workers", "node-b").unwrap(), asked, Instant::now());
    });
    let refused = b.take(&entry("b-2")).await.unwrap_err();
    assert!(matches!(refused.kind.as_str(), "slots-unguarded" | "no-free-slot"), "{refused:?}");
    assert_eq!(holders(&cluster), ["node-a"]);
    assert!(!mine(&b_seen.borrow()));
}

#[tokio::test]
async fn a_watch_goes_on_and_begins_anew_when_it_must() {
    let cluster = Cluster::start().await;
    cluster.api.apply_reboot_slots("workers", 1);
    let list = slots::list_path("workers");
    let a = slots(&cluster, "node-a").await;
    let lists = || {
        let all = cluster.api.requests();
        all.iter()
            .filter(|request| request.path.contains("fieldSelector") && !request.path.contains("watch=true"))
            .count()
    };
    assert_eq!(lists(), 1);
    let b = slots(&cluster, "node-b").await;
    b.take(&entry("b-2")).await.unwrap();
    until(&a, |slot| matches!(slot, Slot::Seen { others, .. } if others.len() == 1)).await;
    b.free().await.unwrap();
    until(&a, |slot| matches!(slot, Slot::Seen { others, .. } if others.is_empty())).await;
    // The history is gone: 410, a new list, and on.
    cluster.api.inject(Fault::new(FaultAction::watch_expired()).path(&list).times(2));
    cluster.api.stop();
    cluster.api.start_again().unwrap();
    b.take(&entry("b-2")).await.ok();
    until(&a, |slot| matches!(slot, Slot::Seen { others, .. } if others.len() == 1)).await;
}

/// Twelve nodes, two slots: each takes one, keeps it for a moment and gives it back, until each has had its turn.
#[tokio::test]
async fn all_have_their_turn_and_never_more_than_there_are() {
    let cluster = Cluster::start().await;
    cluster.api.apply_reboot_slots("workers", 2);
    let mut nodes = tokio::task::JoinSet::new();
    for number in 0..12 {
        let node = format!("node-{number}");
        let slots = Slots::spawn(deps(&cluster, &node));
        nodes.spawn(async move {
            let mut seen = slots.seen();
            loop {
                let free = |slot: &Slot| {
                    matches!(slot, Slot::Seen { others, limit, refused: None, .. }
                    if others.len() < *limit as usize)
                };
                seen.wait_for(free).await.unwrap();
                if slots.take(&entry("b-1")).await.is_ok() {
                    let held = seen.borrow().clone();
                    assert!(matches!(&held, Slot::Seen { mine: Some(_), others, .. } if others.len() < 2), "{held:?}");
                    sleep(Duration::from_millis(5)).await;
                    slots.free().await.unwrap();
                    return node;
                }
            }
        });
    }
    let mut done = BTreeSet::new();
    while let Some(node) = timeout(Duration::from_secs(60), nodes.join_next()).await.expect("all come to their turn") {
        done.insert(node.unwrap());
    }
    assert_eq!((done.len(), holders(&cluster).len()), (12, 0));
}
