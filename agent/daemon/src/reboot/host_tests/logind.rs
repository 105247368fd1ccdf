//! The lock and the reboot.

use std::time::Duration;

use eyewall_core::reboot::host::Semantics;
use tests::bus::logind::{Inhibitor, Kind};
use tests::bus::systemd::{Systemd, Unit};

use super::{Bench, kind};
use crate::reboot::delay;
use crate::reboot::logind::{Logind, LogindFault};

fn ours(rows: &[Inhibitor], mode: &str) -> Vec<String> {
    rows.iter().filter(|row| row.who == "eyewall" && row.mode == mode).map(|row| row.why.clone()).collect()
}

#[tokio::test]
async fn a_lock_is_held_as_long_as_the_value_lives() {
    let bench = Bench::start(Kind::default()).await;
    let first = bench.logind.inhibit("waiting:\n no slot").await.expect("taken");
    assert_eq!(ours(&bench.standin.inhibitors(), "block"), ["waiting: no slot"], "one line for people");
    let second = bench.logind.inhibit("waiting: outside the window").await.expect("taken before the other is dropped");
    drop(first);
    bench
        .standin
        .until(|rows| ours(rows, "block") == ["waiting: outside the window"])
        .await
        .expect("the first is gone");
    let delay = bench.logind.delay("last writes").await.expect("taken");
    assert_eq!(ours(&bench.standin.inhibitors(), "delay"), ["last writes"]);
    assert_eq!(bench.logind.blockers().await.expect("listed"), [], "our own do not hold us up");
    drop((second, delay));
    bench.standin.until(<[Inhibitor]>::is_empty).await.expect("all are gone");
}

#[tokio::test]
async fn a_logind_that_was_started_again_has_no_lock_of_ours() {
    let mut bench = Bench::start(Kind::default()).await;
    let lock = bench.logind.inhibit("no slot").await.expect("taken");
    assert!(bench.logind.holds(&lock));
    bench.standin.go_away().await.expect("gone");
    assert!(bench.is_woken().await, "it went");
    assert!(!bench.logind.holds(&lock), "nobody holds it");
    assert!(!bench.logind.is_lost(), "the bus is there");
    assert_eq!(bench.logind.inhibit("x").await.expect_err("nobody there").kind(), "no-logind");
    bench.standin.come_back().await.expect("back");
    assert!(bench.is_woken().await, "it came");
    let again = loop {
        // What was told of its coming may be on its way still.
        let again = bench.logind.inhibit("no slot").await.expect("taken again");
        if bench.logind.holds(&again) {
            break again;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(!bench.logind.holds(&lock) && bench.logind.holds(&again));
    drop(lock);
    bench.standin.until(|rows| rows.len() == 1).await.expect("the old one is nobody's");
}

#[tokio::test]
async fn the_end_of_the_bus_is_seen() {
    let mut bench = Bench::start(Kind::default()).await;
    let lock = bench.logind.inhibit("no slot").await.expect("taken");
    bench.bus.go_away().await.expect("killed");
    assert!(bench.is_woken().await);
    assert!(bench.logind.is_lost() && !bench.logind.holds(&lock));
    let error = Logind::connect(&bench.at(), &bench.wake).await.expect_err("no bus");
    assert_eq!(error.kind(), "no-system-bus");
}

#[tokio::test]
async fn a_reboot_is_taken_on_or_refused_for_its_reason() {
    let old = |version| Kind { version, ..Kind::default() };
    for (name, kind, blocked, want) in [
        ("nobody minds", old(257), None, "good"),
        ("257", old(257), Some("block"), "blocked-by-inhibitor"),
        ("258", old(258), Some("block"), "blocked-by-inhibitor"),
        ("256: root passes", old(256), Some("block"), "good"),
        ("no RebootWithFlags yet", old(247), None, "good"),
        ("a weak block", old(257), Some("block-weak"), "good"),
        ("stuck", Kind { stuck: true, ..old(257) }, None, "shutdown-not-begun"),
    ] {
        let bench = Bench::start(kind).await;
        let held = match blocked {
            Some(mode) => Some(bench.blocked_by("backup", "runs", mode).await),
            None => None,
        };
        let answer = super::super::backend::reboot_now(&bench.logind).await;
        if let Err(reason) = &answer
            && want == "blocked-by-inhibitor"
        {
            assert!(
                reason.message.contains(r#""backup""#) && reason.message.contains(r#""runs""#),
                "{}",
                reason.message
            );
        }
        assert_eq!(super::kind(answer), want, "{name}");
        if want == "good" {
            bench.standin.until_down().await.expect(name);
        }
        assert_eq!(bench.standin.is_preparing(), want == "good", "{name}");
        drop(held);
    }
}

#[tokio::test]
async fn our_own_lock_binds_us_and_is_named() {
    let bench = Bench::start(Kind::default()).await;
    let lock = bench.logind.inhibit("no slot").await.expect("taken");
    let fault = bench.logind.reboot().await.expect_err("it is held");
    assert!(matches!(&fault, LogindFault::Blocked { holders } if holders.contains("eyewall")), "{fault}");
    drop(lock);
    bench.standin.until(<[Inhibitor]>::is_empty).await.expect("gone");
    bench.logind.reboot().await.expect("taken on");
    assert_eq!(bench.logind.reboot().await.expect_err("one is enough").kind(), "shutdown-in-progress");
    assert_eq!(kind(super::super::backend::reboot_now(&bench.logind).await), "good", "it goes down, whoever asked");
}

#[tokio::test]
async fn a_masked_target_is_told_from_a_lock() {
    let bench = Bench::start(Kind { masked: true, ..Kind::default() }).await;
    let systemd = Systemd::start(&bench.bus).await.expect("systemd");
    systemd.set("reboot.target", Unit::masked()).await.expect("masked");
    assert_eq!(bench.logind.reboot().await.expect_err("masked").kind(), "reboot-masked");
}

#[tokio::test]
async fn a_shutdown_is_seen_and_waits_for_last_writes() {
    let bench = Bench::start(Kind::default()).await;
    let delay = bench.logind.delay("last writes").await.expect("taken");
    assert!(!bench.logind.preparing().await.expect("told"));
    bench.logind.reboot().await.expect("taken on");
    assert!(bench.is_woken().await, "PrepareForShutdown");
    assert!(bench.logind.preparing().await.expect("told"));
    assert_eq!(bench.logind.inhibit("too late").await.expect_err("it goes down").kind(), "shutdown-in-progress");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!bench.standin.is_down(), "it waits");
    drop(delay);
    bench.standin.until_down().await.expect("down");
}

#[tokio::test]
async fn a_logind_that_hangs_does_not_hang_us() {
    let bench = Bench::start(Kind::default()).await;
    bench.standin.hang(true);
    assert_eq!(bench.logind.inhibitors().await.expect_err("silent").kind(), "logind-silent");
    assert_eq!(bench.logind.inhibit("x").await.expect_err("silent").kind(), "logind-silent");
}

#[tokio::test]
async fn the_version_says_whom_a_block_binds() {
    let bench = Bench::start(Kind::default()).await;
    let systemd = Systemd::start(&bench.bus).await.expect("systemd");
    for (text, want) in
        [("257.9-1~deb13u1", (257, Semantics::BindsRoot)), ("252.38-1~deb12u1", (252, Semantics::RootPasses))]
    {
        systemd.set_version(text);
        assert_eq!(bench.logind.semantics().await.expect("told"), want, "{text}");
    }
}

#[tokio::test]
async fn the_time_for_pods_is_compared() {
    let bench = Bench::start(Kind::default()).await;
    let config = bench.root.path().join("kubelet.yaml");
    let drift = || async {
        match delay::drift(&bench.logind, &config).await {
            Ok(None) => "good".to_owned(),
            Ok(Some(reason)) | Err(reason) => reason.kind,
        }
    };
    assert_eq!(drift().await, "good", "there is no kubelet yet");
    bench.write("kubelet.yaml", "shutdownGracePeriod: 45s\n");
    assert_eq!(drift().await, "shutdown-delay-short");
    bench.standin.become_kind(Kind { delay_max: Duration::from_secs(45), ..Kind::default() });
    assert_eq!(drift().await, "good");
}
