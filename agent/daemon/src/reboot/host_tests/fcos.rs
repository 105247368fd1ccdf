//! Fedora CoreOS: what is staged, and its boot.

use eyewall_core::os::FCOS;
use eyewall_core::reboot::Cause;
use tests::bus::logind::Kind;
use tests::bus::rpm_ostree::{Reboot, RpmOstree, Settings};

use super::{Bench, kind, until, update, wanted};
use crate::reboot::bus::Bus;

async fn rpm_ostree(bench: &Bench, reboot: Reboot) -> RpmOstree {
    let settings = Settings { root: bench.root.path().to_owned(), state: None, reboot };
    RpmOstree::start(&bench.bus, settings, "44.1", Some("44.0")).await.expect("rpm-ostreed")
}

#[tokio::test]
async fn a_staged_release_is_seen_and_nobody_is_kept_awake() {
    let bench = Bench::start(Kind::default()).await;
    let daemon = rpm_ostree(&bench, Reboot::Logind).await;
    let host = bench.host(&FCOS);
    assert_eq!(wanted(host.pending().await), "none");
    let asked = daemon.calls().len();
    for _ in 0..3 {
        assert_eq!(wanted(host.pending().await), "none");
        assert_eq!(host.booted().await.expect("told").version, "44.1");
    }
    assert_eq!(daemon.calls().len(), asked, "nothing has changed, so it is not asked");
    until("no client is left", || daemon.clients() == 0).await;

    daemon.stage("44.2", true).expect("staged");
    let pending = host.pending().await.expect("told").expect("staged");
    let release = daemon.deployments()[0].clone();
    assert!(
        matches!(&pending.cause, Cause::Update(update) if update.version == "44.2"
            && update.checksum.as_deref() == Some(release.checksum.as_str())),
        "{pending:?}"
    );
    assert!(pending.since.unix() > 1_700_000_000, "the file's time: {}", pending.since);
    daemon.stage("44.3", true).expect("the newest wins");
    assert_eq!(wanted(host.pending().await), "update 44.3");
    bench.write("run/reboot-required", "");
    assert_eq!(wanted(host.pending().await), "update 44.3", "an update is more than a file");
}

#[tokio::test]
async fn not_there_and_not_to_be_asked_are_told_apart() {
    let mut bench = Bench::start(Kind::default()).await;
    bench.write("etc/os-release", "OSTREE_VERSION='44.1'\n");
    let host = bench.host(&FCOS);
    assert_eq!(wanted(host.pending().await), "none", "no rpm-ostreed, nothing staged");
    assert_eq!(host.booted().await.expect("told").version, "44.1", "by os-release");
    bench.write("run/reboot-required", "");
    bench.write("run/reboot-required.pkgs", "kernel\n");
    assert_eq!(wanted(host.pending().await), "required kernel");
    bench.write("run/ostree/staged-deployment", "x");
    assert_eq!(wanted(host.pending().await), "no-rpm-ostree", "something is staged, and nobody says what");
    std::fs::remove_file(bench.root.path().join("run/ostree/staged-deployment")).expect("removed");
    bench.bus.go_away().await.expect("killed");
    assert_eq!(wanted(host.pending().await), "no-system-bus");
}

#[tokio::test]
async fn finalising_is_the_reboot() {
    let bench = Bench::start(Kind::default()).await;
    let daemon = rpm_ostree(&bench, Reboot::Logind).await;
    let host = bench.host(&FCOS);
    daemon.stage("44.2", true).expect("staged");
    let pending = host.pending().await.expect("told").expect("staged");

    let lock = bench.logind.inhibit("no slot").await.expect("taken");
    let refused = host.finish(&pending.cause, &bench.logind).await.expect_err("held up");
    assert_eq!(refused.kind, "blocked-by-inhibitor");
    assert!(refused.message.contains("eyewall") && refused.message.contains("no slot"), "{}", refused.message);
    assert!(daemon.deployments()[0].locked, "it stays locked, so no other reboot takes it");
    drop(lock);
    bench.standin.until(<[_]>::is_empty).await.expect("let go");

    assert_eq!(kind(host.finish(&pending.cause, &bench.logind).await), "good");
    bench.standin.until_down().await.expect("down");
    let calls = bench.standin.calls();
    let reboots = calls.iter().filter(|call| call.starts_with("Reboot")).count();
    assert_eq!(reboots, 1, "rpm-ostreed's own: {calls:?}");
    daemon.boot(true).expect("booted");
    bench.standin.boot();
    assert_eq!(wanted(host.pending().await), "none");
    let booted = host.booted().await.expect("told");
    assert!(matches!(&pending.cause, Cause::Update(release) if release.is(&booted)), "{booted:?}");
    until("no client is left", || daemon.clients() == 0).await;
}

#[tokio::test]
async fn the_wedge_is_no_end() {
    for (name, reboot, unlocked) in
        [("nobody reboots after it", Reboot::Nothing, false), ("it was unlocked before", Reboot::Logind, true)]
    {
        let bench = Bench::start(Kind::default()).await;
        let daemon = rpm_ostree(&bench, reboot).await;
        let host = bench.host(&FCOS);
        daemon.stage("44.2", true).expect("staged");
        if unlocked {
            daemon.unlock().expect("unlocked");
        }
        assert_eq!(kind(host.finish(&update("44.2"), &bench.logind).await), "good", "{name}");
        bench.standin.until_down().await.expect(name);
        daemon.boot(true).expect("booted");
        assert_eq!(host.booted().await.expect("told").version, "44.2", "{name}");
    }
}

#[tokio::test]
async fn after_a_finalisation_that_came_to_nothing_the_next_try_reboots() {
    let bench = Bench::start(Kind { stuck: true, ..Kind::default() }).await;
    let daemon = rpm_ostree(&bench, Reboot::Logind).await;
    let host = bench.host(&FCOS);
    daemon.stage("44.2", true).expect("staged");
    assert_eq!(kind(host.finish(&update("44.2"), &bench.logind).await), "shutdown-not-begun");
    bench.standin.become_kind(Kind::default());
    assert_eq!(wanted(host.pending().await), "update 44.2", "it waits all the same");
    assert_eq!(kind(host.finish(&update("44.2"), &bench.logind).await), "good");
}

#[tokio::test]
async fn only_what_was_granted_is_booted() {
    let bench = Bench::start(Kind::default()).await;
    let daemon = rpm_ostree(&bench, Reboot::Logind).await;
    let host = bench.host(&FCOS);
    assert_eq!(kind(host.finish(&update("44.2"), &bench.logind).await), "update-changed", "nothing is staged");
    daemon.stage("44.3", true).expect("staged");
    assert_eq!(kind(host.finish(&update("44.2"), &bench.logind).await), "update-changed", "another is staged");
    assert!(!bench.standin.is_preparing());
    assert_eq!(kind(host.finish(&Cause::Request, &bench.logind).await), "good", "a plain reboot");
    bench.standin.until_down().await.expect("down");
    daemon.boot(true).expect("booted");
    assert_eq!(host.booted().await.expect("told").version, "44.1", "what is locked is not taken by it");
}

#[tokio::test]
async fn anothers_transaction_is_waited_for_as_far_as_it_reboots() {
    let bench = Bench::start(Kind::default()).await;
    let daemon = rpm_ostree(&bench, Reboot::Logind).await;
    let host = bench.host(&FCOS);
    daemon.stage("44.2", true).expect("staged");
    let other = bench.bus.connect().await.expect("connected");
    let elements = (&["repomd"][..],);
    let (name, os) = ("org.projectatomic.rpmostree1", "/org/projectatomic/rpmostree1/fedora_coreos");
    let interface = "org.projectatomic.rpmostree1.OS";
    other.call_method(Some(name), os, Some(interface), "Cleanup", &elements).await.expect("opened");
    assert_eq!(kind(host.finish(&update("44.2"), &bench.logind).await), "rpm-ostree-busy");
    assert!(daemon.deployments()[0].locked);
    bench.logind.reboot().await.expect("taken on");
    assert_eq!(kind(host.finish(&update("44.2"), &bench.logind).await), "good", "the host goes down all the same");
}

#[tokio::test]
async fn going_back_drops_what_is_staged() {
    for (name, staged) in [("nothing staged", false), ("the next release staged meanwhile", true)] {
        let bench = Bench::start(Kind::default()).await;
        let daemon = rpm_ostree(&bench, Reboot::Logind).await;
        let host = bench.host(&FCOS);
        if staged {
            daemon.stage("44.2", true).expect("staged");
        }
        let held = bench.blocked_by("backup", "runs", "block").await;
        assert_eq!(kind(host.rollback(&bench.logind).await), "blocked-by-inhibitor", "{name}");
        drop(held);
        bench.standin.until(<[_]>::is_empty).await.expect("let go");
        // The first try has changed the order already.
        assert_eq!(wanted(host.pending().await), "update 44.0", "{name}");
        assert_eq!(kind(host.rollback(&bench.logind).await), "good", "{name}");
        bench.standin.until_down().await.expect(name);
        daemon.boot(true).expect("booted");
        assert_eq!(host.booted().await.expect("told").version, "44.0", "{name}");
    }
}

#[tokio::test]
async fn with_one_deployment_there_is_no_way_back() {
    let bench = Bench::start(Kind::default()).await;
    let settings = Settings { root: bench.root.path().to_owned(), state: None, reboot: Reboot::Logind };
    let _daemon = RpmOstree::start(&bench.bus, settings, "44.1", None).await.expect("rpm-ostreed");
    let reason = bench.host(&FCOS).rollback(&bench.logind).await.expect_err("nothing to go back to");
    assert_eq!(reason.kind, "rpm-ostree-refused");
    assert!(reason.message.contains("No rollback deployment found"), "{}", reason.message);
    assert!(!bench.standin.is_preparing());
}

#[tokio::test]
async fn the_files_that_tell_are_watched() {
    let bench = Bench::start(Kind::default()).await;
    let host = bench.host(&FCOS);
    let watched = host.watched();
    for path in ["run/ostree/staged-deployment", "ostree/deploy", "run/reboot-required"] {
        assert!(watched.contains(&bench.root.path().join(path)), "{path}: {watched:?}");
    }
    assert!(host.listen(&bench.wake).await.expect("a bus").is_some());
    let away = Bus::At("unix:path=/nowhere".to_owned());
    let host = crate::reboot::backend::Host::new(&FCOS, away, crate::reboot::generic::Places::at(bench.root.path()));
    assert_eq!(kind(host.listen(&bench.wake).await), "no-system-bus");
}
