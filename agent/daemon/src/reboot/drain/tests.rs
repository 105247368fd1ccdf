use ::tests::apiserver::{Fault, FaultAction};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::super::testing::Cluster;
use super::*;
use crate::clock;

const SOON: Duration = Duration::from_secs(20);

fn deps(cluster: &Cluster, on_timeout: OnDrainTimeout) -> Deps {
    Deps {
        reach: cluster.reach("node-a"),
        node: "node-a".to_owned(),
        on_timeout,
        clock: clock::now,
        draw: crate::host::draw,
    }
}

fn begin(cluster: &Cluster, on_timeout: OnDrainTimeout, seconds: i64) -> Drainer {
    Drainer::begin(deps(cluster, on_timeout), Time(clock::now()).moved(SignedDuration::from_secs(seconds)))
}

async fn until(drainer: &Drainer, mut wanted: impl FnMut(&Drain) -> bool) -> Drain {
    let mut seen = drainer.seen();
    match timeout(SOON, seen.wait_for(|drain| wanted(drain))).await {
        Ok(found) => found.expect("it says how it ended").clone(),
        Err(_) => panic!("not so within {SOON:?}: {:?}", drainer.seen().borrow()),
    }
}

async fn ended(drainer: &Drainer) -> Drain {
    until(drainer, |drain| matches!(drain, Drain::Done | Drain::Failed { .. })).await
}

fn pod(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "default", "name": name, "labels": {"app": name},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "x", "controller": true}]},
        "spec": {"nodeName": "node-a", "terminationGracePeriodSeconds": 30},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    change(&mut pod);
    pod
}

fn budget(name: &str, app: &str, least: u64) -> Value {
    json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"namespace": "default", "name": name},
        "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": app}}}})
}

fn names(cluster: &Cluster) -> Vec<String> {
    let pods = cluster.api.look(|view| view.objects("pods"));
    let mut names: Vec<String> =
        pods.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect();
    names.sort();
    names
}

fn kinds(left: &[PodLeft]) -> Vec<(&str, &str)> {
    left.iter().map(|left| (left.pod.as_str(), left.reason.kind.as_str())).collect()
}

fn owner(kind: &'static str) -> impl FnOnce(&mut Value) {
    move |pod| pod["metadata"]["ownerReferences"][0]["kind"] = json!(kind)
}

#[tokio::test]
async fn what_can_go_goes_and_the_rest_stays() {
    let cluster = Cluster::start().await;
    for number in 0..30 {
        cluster.api.apply(pod(&format!("web-{number}"), |_| ())).unwrap();
    }
    cluster.api.apply(pod("log", owner("DaemonSet"))).unwrap();
    cluster.api.apply(pod("done", |pod| pod["status"]["phase"] = json!("Succeeded"))).unwrap();
    let mirror = |pod: &mut Value| pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    cluster.api.apply(pod("static", mirror)).unwrap();
    cluster.api.apply(pod("elsewhere", |pod| pod["spec"]["nodeName"] = json!("node-b"))).unwrap();
    let drainer = begin(&cluster, OnDrainTimeout::GiveUp, 60);
    assert_eq!(ended(&drainer).await, Drain::Done);
    assert_eq!(names(&cluster), ["done", "elsewhere", "log", "static"]);
    let evictions = cluster.api.requests().iter().filter(|request| request.path.ends_with("/eviction")).count();
    assert_eq!(evictions, 30, "each pod once");
    // Nothing to do is done.
    assert_eq!(ended(&begin(&cluster, OnDrainTimeout::GiveUp, 60)).await, Drain::Done);
}

#[tokio::test]
async fn a_budget_is_waited_for() {
    let cluster = Cluster::start().await;
    cluster.api.apply(pod("web", |_| ())).unwrap();
    cluster.api.apply(pod("free", |_| ())).unwrap();
    cluster.api.apply(budget("tight", "web", 1)).unwrap();
    let drainer = begin(&cluster, OnDrainTimeout::GiveUp, 60);
    let waiting = [("default/web", "disruption-budget")];
    let drain = until(&drainer, |drain| matches!(drain, Drain::Running { left, .. } if kinds(left) == waiting)).await;
    assert!(
        matches!(drain, Drain::Running { ref left, .. } if left[0].reason.message.contains("tight needs 1 healthy pods")),
        "{drain:?}"
    );
    cluster.api.remove("poddisruptionbudgets", "default", "tight");
    assert_eq!(ended(&drainer).await, Drain::Done);
}

#[tokio::test]
async fn the_deadline_is_one_and_says_what_is_left() {
    let cluster = Cluster::start().await;
    cluster.api.apply(pod("web", |_| ())).unwrap();
    cluster.api.apply(pod("both", |_| ())).unwrap();
    cluster.api.apply(pod("free", |_| ())).unwrap();
    let ending = |pod: &mut Value| {
        pod["metadata"]["deletionTimestamp"] = json!("2020-01-01T00:00:00Z");
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    };
    cluster.api.apply(pod("stuck", ending)).unwrap();
    cluster.api.apply(budget("tight", "web", 1)).unwrap();
    cluster.api.apply(budget("one", "both", 0)).unwrap();
    cluster.api.apply(budget("two", "both", 0)).unwrap();
    let drain = ended(&begin(&cluster, OnDrainTimeout::Reboot, 4)).await;
    let Drain::Failed { reason, left, .. } = drain else { panic!("{drain:?}") };
    assert_eq!(reason.kind, "drain-timeout", "{}", reason.message);
    assert!(reason.message.starts_with("3 pods are left after 4 s: "), "{}", reason.message);
    let mut left = kinds(&left);
    left.sort_unstable();
    let want = [
        ("default/both", "several-disruption-budgets"),
        ("default/stuck", "stuck-terminating"),
        ("default/web", "disruption-budget"),
    ];
    assert_eq!(left, want);
    assert_eq!(names(&cluster), ["both", "stuck", "web"]);
}

#[tokio::test]
async fn a_pod_of_nobody_is_not_lost() {
    let of_nobody = |pod: &mut Value| pod["metadata"]["ownerReferences"] = json!([]);
    for (on_timeout, survivors) in
        [(OnDrainTimeout::GiveUp, vec!["bare", "web"]), (OnDrainTimeout::Reboot, vec!["bare"])]
    {
        let cluster = Cluster::start().await;
        cluster.api.apply(pod("bare", of_nobody)).unwrap();
        cluster.api.apply(pod("web", |_| ())).unwrap();
        let drain = ended(&begin(&cluster, on_timeout, 60)).await;
        let Drain::Failed { reason, left, .. } = drain else { panic!("{on_timeout:?}: {drain:?}") };
        assert_eq!(reason.kind, "unmanaged-pod", "{on_timeout:?}");
        assert!(kinds(&left).contains(&("default/bare", "unmanaged-pod")), "{on_timeout:?}: {left:?}");
        assert_eq!(names(&cluster), survivors, "{on_timeout:?}");
    }
}

#[tokio::test]
async fn trouble_is_outlived() {
    let cluster = Cluster::start().await;
    for number in 0..4 {
        cluster.api.apply(pod(&format!("web-{number}"), |_| ())).unwrap();
    }
    let busy = FaultAction::Status { code: 429, retry_after: Some(1), body: None };
    cluster.api.inject(Fault::new(busy).method(Method::POST).times(3));
    cluster.api.inject(Fault::new(FaultAction::HalfBody).method(Method::POST));
    cluster.api.inject(Fault::new(FaultAction::Reset).method(Method::GET).times(2));
    let drainer = begin(&cluster, OnDrainTimeout::GiveUp, 60);
    assert_eq!(ended(&drainer).await, Drain::Done);

    cluster.api.apply(pod("web", |_| ())).unwrap();
    cluster.api.stop();
    let drain = ended(&begin(&cluster, OnDrainTimeout::GiveUp, 2)).await;
    assert!(matches!(drain, Drain::Failed { ref reason, .. } if reason.kind == "api-server-away"), "{drain:?}");
}

#[tokio::test]
async fn a_drain_that_is_dropped_stops() {
    let cluster = Cluster::start().await;
    cluster.api.apply(pod("web", |_| ())).unwrap();
    cluster.api.apply(budget("tight", "web", 1)).unwrap();
    let drainer = begin(&cluster, OnDrainTimeout::GiveUp, 60);
    until(&drainer, |drain| matches!(drain, Drain::Running { left, .. } if !left.is_empty())).await;
    let mut seen = drainer.seen();
    drop(drainer);
    assert!(timeout(SOON, async { while seen.changed().await.is_ok() {} }).await.is_ok(), "its channel is closed");
    cluster.api.remove("poddisruptionbudgets", "default", "tight");
    let before = cluster.api.requests().len();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!((cluster.api.requests().len(), names(&cluster)), (before, vec!["web".to_owned()]));
}
