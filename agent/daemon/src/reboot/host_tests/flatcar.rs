//! Flatcar and any other host.

use std::time::Duration;

use eyewall_core::os::{FLATCAR, GENERIC};
use eyewall_core::reboot::Cause;
use eyewall_core::reboot::host::Phase;
use tests::bus::logind::Kind;
use tests::bus::update_engine::UpdateEngine;
use tokio::time::timeout;

use super::{Bench, kind, update, wanted};

const COORDINATOR: &str = "run/update-engine/coordinator.conf";

#[tokio::test]
async fn a_written_update_waits() {
    let bench = Bench::start(Kind::default()).await;
    let engine = UpdateEngine::start(&bench.bus, bench.root.path()).await.expect("update_engine");
    let host = bench.host(&FLATCAR);
    assert_eq!(wanted(host.pending().await), "none");
    let ear = host.listen(&bench.wake).await.expect("a bus").expect("signals");
    engine.set("UPDATE_STATUS_DOWNLOADING", "4459.2.1", 0.4).await.expect("told");
    let quiet = timeout(Duration::from_millis(300), bench.wake.notified()).await;
    assert!(quiet.is_err(), "progress is no news");
    assert_eq!(wanted(host.pending().await), "none");
    engine.write("4459.2.1").await.expect("told");
    assert!(bench.is_woken().await, "StatusUpdate");
    assert_eq!(wanted(host.pending().await), "update 4459.2.1");

    // It is started again, and knows no more than that there is something.
    engine.go_away().await.expect("gone");
    assert!(bench.is_woken().await, "it went");
    let engine = UpdateEngine::start(&bench.bus, bench.root.path()).await.expect("update_engine");
    assert_eq!(wanted(host.pending().await), "update 4459.2.1", "it was told before");
    let fresh = bench.host(&FLATCAR);
    assert_eq!(wanted(fresh.pending().await), "required update_engine", "nobody knows which");
    engine.go_away().await.expect("gone");
    assert_eq!(wanted(fresh.pending().await), "required update_engine", "by its marker");
    assert!(!ear.has_ended());
}

#[tokio::test]
async fn an_update_is_booted_by_logind() {
    let bench = Bench::start(Kind::default()).await;
    bench.write("etc/os-release", "ID=flatcar\nVERSION=4459.2.0\n");
    let engine = UpdateEngine::start(&bench.bus, bench.root.path()).await.expect("update_engine");
    let host = bench.host(&FLATCAR);
    assert_eq!(host.booted().await.expect("told").version, "4459.2.0");
    assert_eq!(kind(host.finish(&update("4459.2.1"), &bench.logind).await), "update-changed", "nothing waits");
    engine.write("4459.2.2").await.expect("told");
    assert_eq!(kind(host.finish(&update("4459.2.1"), &bench.logind).await), "update-changed", "another waits");
    assert!(!bench.standin.is_preparing());
    assert_eq!(kind(host.finish(&update("4459.2.2"), &bench.logind).await), "good");
    bench.standin.until_down().await.expect("down");
    let reason = host.rollback(&bench.logind).await.expect_err("by hand");
    assert_eq!(reason.kind, "rollback-not-supported");
    assert!(reason.message.contains("cgpt prioritize"), "{}", reason.message);
}

#[tokio::test]
async fn one_coordinator_a_host() {
    let bench = Bench::start(Kind::default()).await;
    let (host, other) = (bench.host(&FLATCAR), bench.host(&FLATCAR));
    let read = || std::fs::read_to_string(bench.root.path().join(COORDINATOR)).expect("written");
    for (phase, want) in [
        (Phase::Running, "NAME=eyewall\nSTRATEGY=slots\nSTATE=running\n"),
        (Phase::RebootPlanned, "NAME=eyewall\nSTRATEGY=slots\nSTATE=reboot-planned\n"),
        (Phase::Running, "NAME=eyewall\nSTRATEGY=slots\nSTATE=running\n"),
    ] {
        assert_eq!(kind(host.coordinate("slots", phase)), "good");
        assert_eq!(read(), want);
    }
    let reason = other.coordinate("slots", Phase::Running).expect_err("it is taken");
    assert_eq!(reason.kind, "other-coordinator");
    assert!(reason.message.contains(r#""eyewall", running"#), "{}", reason.message);
    assert_eq!(read(), "NAME=eyewall\nSTRATEGY=slots\nSTATE=running\n", "it is left as it is");
    drop(host);
    assert_eq!(kind(other.coordinate("local", Phase::Disabled)), "good");
    assert_eq!(read(), "NAME=eyewall\nSTRATEGY=local\nSTATE=disabled\n");
    bench.write("blocked/run/update-engine", "no directory");
    let places = crate::reboot::generic::Places::at(&bench.root.path().join("blocked"));
    let host = crate::reboot::backend::Host::new(&FLATCAR, bench.at(), places);
    assert_eq!(kind(host.coordinate("slots", Phase::Running)), "coordinator-not-written");
}

#[tokio::test]
async fn any_other_host_asks_by_a_file() {
    let bench = Bench::start(Kind::default()).await;
    let host = bench.host(&GENERIC);
    assert_eq!(wanted(host.pending().await), "none");
    assert_eq!(kind(host.booted().await), "release-unknown");
    bench.write("usr/lib/os-release", "VERSION_ID=\"13\"\n");
    assert_eq!(host.booted().await.expect("told").version, "13");
    bench.write("run/reboot-required", "");
    assert_eq!(wanted(host.pending().await), "required ");
    bench.write("run/reboot-required.pkgs", "linux-image-6.12\nlibc6\nlibc6\n");
    let pending = host.pending().await.expect("told").expect("wanted");
    assert_eq!(pending.cause, Cause::Required(vec!["linux-image-6.12".to_owned(), "libc6".to_owned()]));
    assert!(host.listen(&bench.wake).await.expect("nothing to hear").is_none());
    assert_eq!(kind(host.coordinate("slots", Phase::Running)), "good", "there is no such file here");
    assert_eq!(kind(host.rollback(&bench.logind).await), "rollback-not-supported");
    assert_eq!(kind(host.finish(&pending.cause, &bench.logind).await), "good");
    bench.standin.until_down().await.expect("down");
}
