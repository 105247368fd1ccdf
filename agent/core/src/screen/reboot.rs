//! The reboot's lines: may this host reboot, why (not), who holds the slots, and what operators said.

use super::paint::{Page, Style, clean};
use super::{count, health, moment, reason, since};
use crate::reboot::{Cause, RebootState};
use crate::status::{LockView, RebootStatus};
use crate::time::Time;

/// Pods that are named; a screen is for what is in the way.
const PODS: usize = 5;

pub(super) fn part(page: &mut Page, part: &RebootStatus, now: Time) {
    let (plain, symbol, _) = health(part.health);
    let style = match part.state {
        RebootState::Idle | RebootState::Off => plain,
        _ if part.health == crate::status::Health::Good => Style::Warn,
        _ => plain,
    };
    let label = format!("{symbol} {}", part.state.as_str());
    page.heading("Reboot", style, &label, &format!("for {}", since(part.since, now)));
    page.item("why", &reason(&part.reason));
    let next = match part.next_at {
        Some(at) => format!("{} ({})", clean(&part.next), moment(at, now)),
        None => clean(&part.next),
    };
    page.item("next", &next);
    if let Some(pending) = &part.pending {
        let what = match &pending.cause {
            Cause::Update(release) => format!("to boot {}", clean(&release.version)),
            Cause::Required(packages) if packages.is_empty() => "/run/reboot-required is there".to_owned(),
            Cause::Required(packages) => format!("/run/reboot-required, for {}", clean(&packages.join(", "))),
            Cause::Request => "an operator asked for it".to_owned(),
        };
        page.item("wanted", &format!("{what}, for {}", since(pending.since, now)));
    }
    for (name, said) in [
        ("hold", part.orders.hold.as_ref().map(|hold| (&hold.why, hold.uid, hold.since))),
        ("request", part.orders.request.as_ref().map(|order| (&order.why, order.uid, order.since))),
        ("force", part.orders.force.as_ref().map(|order| (&order.why, order.uid, order.since))),
    ] {
        if let Some((why, uid, at)) = said {
            page.item(name, &format!("{}, by uid {uid}, {} ago", clean(why), since(at, now)));
        }
    }
    lock(page, &part.lock, now);
    if let Some(window) = &part.window {
        let (word, turn) = if window.open { ("open", "closes") } else { ("closed", "opens") };
        let until = window.until.map_or_else(String::new, |at| format!(", {turn} {}", moment(at, now)));
        page.item("window", &format!("{word}{until}"));
    }
    let host = &part.host_lock;
    let held = match (host.held, host.binds_root) {
        (true, Some(true)) => "held; it binds root's reboots too",
        (true, Some(false)) => "held; updaters obey it, root's reboots do not (systemd before 257)",
        (true, None) => "held",
        (false, _) => "not held",
    };
    page.item("host lock", held);
    if let Some(trouble) = &host.reason {
        page.item("", &reason(trouble));
    }
    if let Some(drain) = &part.drain {
        page.item("drain", &format!("{}, {} left", clean(&drain.state), count(drain.left.len() as u64, "pod")));
        for left in drain.left.iter().take(PODS) {
            page.item("", &format!("{}: {}", clean(&left.pod), reason(&left.reason)));
        }
    }
    if let Some(release) = &part.boot.release {
        page.item("runs", &clean(&release.version));
    }
    for bad in &part.bad {
        page.item("bad", &format!("{} never got healthy here and is not taken again", clean(&bad.version)));
    }
}

fn lock(page: &mut Page, lock: &LockView, now: Time) {
    let taken = lock.others.len() + usize::from(lock.mine.is_some());
    let of = lock.limit.map_or_else(String::new, |limit| format!(": {taken} of {} taken", count(limit.into(), "slot")));
    page.item("lock", &format!("{}, group {}{of}", clean(&lock.kind), clean(&lock.group)));
    if let Some(mine) = &lock.mine {
        page.item("", &format!("this node, for {}: {}", since(mine.since, now), clean(&mine.reason)));
    }
    for holder in &lock.others {
        let said = holder.entry.as_ref().map_or_else(
            || "what it wrote cannot be read".to_owned(),
            |entry| format!("for {}: {}", since(entry.since, now), clean(&entry.reason)),
        );
        page.item("", &format!("{}, {said}", clean(&holder.node)));
    }
    if let Some(trouble) = &lock.reason {
        page.item("", &reason(trouble));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reboot::{BootId, Entry, Hold, Holder, Orders, PodLeft, Release};
    use crate::status::{BootView, DrainView, Health, HostLockView, PendingView, Reason, WindowView};

    fn shown(status: &RebootStatus) -> String {
        let mut page = Page::new(100, false);
        part(&mut page, status, Time::from_unix(1_795_500_000));
        page.finish()
    }

    fn release(version: &str) -> Release {
        Release { version: version.to_owned(), checksum: None }
    }

    fn waiting() -> RebootStatus {
        let at = Time::from_unix;
        let entry = Entry {
            boot_id: BootId("b-2".to_owned()),
            reason: "44.2 is staged".to_owned(),
            since: at(1_795_499_400),
            cordoned: true,
            wanted: None,
            from: None,
            let_go: None,
        };
        RebootStatus {
            health: Health::Good,
            state: RebootState::Waiting,
            since: at(1_795_496_400),
            reason: Reason::new("slot", "the one slot of workers is held by node-b"),
            next: "the slot is taken when it is free".to_owned(),
            next_at: None,
            pending: Some(PendingView { cause: Cause::Update(release("44.2")), since: at(1_795_496_400) }),
            lock: LockView {
                kind: "slots".to_owned(),
                group: "workers".to_owned(),
                limit: Some(1),
                mine: None,
                others: vec![Holder { node: "node-b".to_owned(), entry: Some(entry) }],
                reason: None,
            },
            host_lock: HostLockView {
                held: true,
                why: Some("the one slot of workers is held by node-b".to_owned()),
                binds_root: Some(true),
                reason: None,
            },
            orders: Orders::default(),
            window: Some(WindowView { open: true, until: Some(at(1_795_503_600)) }),
            drain: None,
            boot: BootView { id: "b-1".to_owned(), release: Some(release("44.1")) },
            bad: Vec::new(),
        }
    }

    #[test]
    fn a_person_sees_what_it_waits_for_and_who_holds_the_slot() {
        let want = "\
Reboot      ● waiting for 1h00m
  why       the one slot of workers is held by node-b [slot]
  next      the slot is taken when it is free
  wanted    to boot 44.2, for 1h00m
  lock      slots, group workers: 1 of 1 slot taken
            node-b, for 10m00s: 44.2 is staged
  window    open, closes 2026-11-24T07:00:00Z, in 1h00m
  host lock held; it binds root's reboots too
  runs      44.1
";
        assert_eq!(shown(&waiting()), want, "{}", shown(&waiting()));
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let mut status = waiting();
        status.health = Health::Bad;
        status.state = RebootState::HeldBack;
        status.bad = vec![release("44.2")];
        status.orders.hold =
            Some(Hold { why: "a backup runs".to_owned(), since: Time::from_unix(1_795_499_940), uid: 7 });
        status.drain = Some(DrainView {
            state: "failed".to_owned(),
            left: vec![PodLeft {
                pod: "db/db-0".to_owned(),
                reason: Reason::new("disruption-budget", "its budget allows none"),
            }],
            reason: None,
        });
        status.host_lock.held = false;
        status.host_lock.reason = Some(Reason::new("no-logind", "nobody answers"));
        let text = shown(&status);
        for line in [
            "Reboot      ✗ held-back for 1h00m",
            "  hold      a backup runs, by uid 7, 1m00s ago",
            "  host lock not held",
            "            nobody answers [no-logind]",
            "  drain     failed, 1 pod left",
            "            db/db-0: its budget allows none [disruption-budget]",
            "  bad       44.2 never got healthy here and is not taken again",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}:\n{text}");
        }
    }
}
