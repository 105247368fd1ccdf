//! Which pods leave a node before it reboots, and what the API server says to it. As `kubectl drain --ignore-daemonsets
//! --delete-emptydir-data` does it: pods of DaemonSets and static pods stay, and a pod that no controller would make again is in the way
//! rather than lost.

mod eviction;
mod pod;

use std::time::Duration;

use jiff::SignedDuration;

pub use eviction::{Eviction, body, eviction, path};
pub use pod::{Page, Pod, list_path, read};

use super::PodLeft;
use crate::backoff::Backoff;
use crate::status::Reason;
use crate::time::Time;

/// Between two tries to evict the same pod. A budget that is short now is often met again within seconds.
pub const RETRY: Backoff = Backoff::seconds(1, 15);
/// How long after the end of its grace period a pod counts as stuck: the kubelet kills at that end, and then needs to clean up.
const STUCK_AFTER: Duration = Duration::from_secs(60);
/// How many pods a sentence names.
const NAMED: usize = 3;

/// Why a pod stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stays {
    /// A static pod: the kubelet runs it from a file, and its mirror cannot be evicted to any effect.
    Mirror,
    /// Its DaemonSet would make it again on the same node at once.
    DaemonSet,
    /// It ran to its end; there is nothing to stop.
    Finished,
}

/// What a drain does with a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Leave(Stays),
    /// Ask the API server to evict it.
    Evict,
    /// It is on its way out.
    Wait(Reason),
    /// It is in the way, and evicting it would lose it.
    Blocked(Reason),
}

/// Decides on all pods of the node. The order stays.
pub fn plan(pods: Vec<Pod>, now: Time) -> Vec<(Pod, Action)> {
    pods.into_iter()
        .map(|pod| {
            let action = decide(&pod, now);
            (pod, action)
        })
        .collect()
}

fn decide(pod: &Pod, now: Time) -> Action {
    if pod.is_mirror {
        return Action::Leave(Stays::Mirror);
    }
    if matches!(pod.phase.as_str(), "Succeeded" | "Failed") {
        return Action::Leave(Stays::Finished);
    }
    if pod.controller.as_deref() == Some("DaemonSet") {
        return Action::Leave(Stays::DaemonSet);
    }
    if let Some(ends) = pod.ends {
        return Action::Wait(ending(ends, now));
    }
    if pod.controller.is_none() {
        return Action::Blocked(Reason::new(
            "unmanaged-pod",
            "no controller would make this pod again, so it is not evicted: delete it, or run it by a Deployment or another controller",
        ));
    }
    Action::Evict
}

fn ending(ends: Time, now: Time) -> Reason {
    let late = now.since(ends);
    if SignedDuration::try_from(STUCK_AFTER).is_ok_and(|bound| late > bound) {
        return Reason::new(
            "stuck-terminating",
            format!(
                "it should have ended at {ends}, {} s ago: the kubelet cannot stop it or clean up after it (see its Events), or a \
                 finalizer keeps it",
                late.as_secs()
            ),
        );
    }
    Reason::new("terminating", format!("it has until {ends} to end"))
}

/// Why a drain with these pods left has failed.
pub fn timed_out(left: &[PodLeft], after: Duration) -> Reason {
    Reason::new("drain-timeout", format!("{} after {} s: {}", counted(left.len()), after.as_secs(), named(left)))
}

/// Why a drain cannot go on: only pods are left that it does not remove.
pub fn blocked(left: &[PodLeft]) -> Reason {
    Reason::new(
        "unmanaged-pod",
        format!("{} that no controller would make again: {}", counted(left.len()), named(left)),
    )
}

fn counted(pods: usize) -> String {
    if pods == 1 { "1 pod is left".to_owned() } else { format!("{pods} pods are left") }
}

fn named(left: &[PodLeft]) -> String {
    let mut names: Vec<String> =
        left.iter().take(NAMED).map(|left| format!("{} ({})", left.pod, left.reason.kind)).collect();
    if left.len() > NAMED {
        names.push(format!("and {} more", left.len() - NAMED));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(controller: Option<&str>) -> Pod {
        Pod {
            namespace: "default".to_owned(),
            name: "web-1".to_owned(),
            uid: "u-1".to_owned(),
            phase: "Running".to_owned(),
            is_mirror: false,
            controller: controller.map(str::to_owned),
            ends: None,
        }
    }

    #[test]
    fn every_kind_of_pod() {
        let now = Time::from_unix(1_795_486_508);
        let at = |offset: i64| Some(now.moved(SignedDuration::from_secs(offset)));
        let phase = |phase: &str, controller| Pod { phase: phase.to_owned(), ..pod(controller) };
        let ends = |offset, controller| Pod { ends: at(offset), ..pod(controller) };
        for (name, pod, want) in [
            ("of a ReplicaSet", pod(Some("ReplicaSet")), "evict"),
            ("of a Job", pod(Some("Job")), "evict"),
            ("of a custom controller", pod(Some("CloneSet")), "evict"),
            ("not started", phase("Pending", Some("ReplicaSet")), "evict"),
            ("phase is not known", phase("Unknown", Some("ReplicaSet")), "evict"),
            ("of a DaemonSet", pod(Some("DaemonSet")), "DaemonSet"),
            ("of a DaemonSet, ending", ends(0, Some("DaemonSet")), "DaemonSet"),
            ("static", Pod { is_mirror: true, ..pod(Some("Node")) }, "Mirror"),
            ("static, ending", Pod { is_mirror: true, ..ends(-500, Some("Node")) }, "Mirror"),
            ("finished", phase("Succeeded", Some("Job")), "Finished"),
            ("failed", phase("Failed", Some("ReplicaSet")), "Finished"),
            ("finished, of nobody", phase("Succeeded", None), "Finished"),
            ("of nobody", pod(None), "unmanaged-pod"),
            ("of nobody, ending", ends(5, None), "terminating"),
            ("ending", ends(30, Some("ReplicaSet")), "terminating"),
            ("grace is over", ends(-60, Some("ReplicaSet")), "terminating"),
            ("grace is long over", ends(-61, Some("ReplicaSet")), "stuck-terminating"),
        ] {
            let [(_, action)] = <[_; 1]>::try_from(plan(vec![pod], now)).unwrap();
            let got = match action {
                Action::Evict => "evict".to_owned(),
                Action::Leave(stays) => format!("{stays:?}"),
                Action::Wait(reason) | Action::Blocked(reason) => reason.kind,
            };
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn a_sentence_names_a_few() {
        let left = |count: usize| -> Vec<PodLeft> {
            let pods =
                (0..count).map(|n| PodLeft { pod: format!("d/p-{n}"), reason: Reason::new("disruption-budget", "x") });
            pods.collect()
        };
        let timed_out = |count| timed_out(&left(count), Duration::from_secs(600)).message;
        assert_eq!(timed_out(1), "1 pod is left after 600 s: d/p-0 (disruption-budget)");
        assert!(timed_out(5).ends_with("d/p-2 (disruption-budget), and 2 more"), "{}", timed_out(5));
        assert_eq!(blocked(&left(1)).kind, "unmanaged-pod");
    }
}
