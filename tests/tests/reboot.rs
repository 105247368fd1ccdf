//! The real daemon through reboots: logind, the OS's updater and systemd on a bus, the API server, and the next boot.

#[path = "reboot/bench.rs"]
mod bench;

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bench::{Host, JUST_BOOTED, SOON, budget, cluster, holders, other_holder, pod};
use eyewall_core::reboot::RebootState as State;
use eyewall_core::status::{Health, RebootStatus};
use serde_json::{Value, json};
use tests::apiserver::{ApiServer, Options};
use tests::bus::logind::{Inhibitor, Kind};
use tests::bus::rpm_ostree::{Deployment, Reboot, RpmOstree, Settings};
use tests::bus::update_engine::UpdateEngine;
use tests::host_clock::HostClock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};
use zbus::connection::Builder;
use zbus::export::futures_core::Stream as _;
use zbus::{MessageStream, Variant};

const QUICK: &str = "drain_timeout = \"20s\"\nhealth_gate = \"1s\"\n";

fn flatcar(version: &str) -> String {
    format!("ID=flatcar\nNAME=\"Flatcar Container Linux\"\nVERSION={version}\nVERSION_ID={version}\n")
}

/// What a write of the agent's was to, announcements aside.
fn kind_of_write(path: &str) -> Option<&'static str> {
    match path {
        "/api/v1/namespaces/kube-system/configmaps/reboot-workers" => Some("slot"),
        path if path.ends_with("/eviction") => Some("eviction"),
        _ => None,
    }
}

/// The reboot has made the written slot the running one.
async fn flatcar_booted(host: &Host, engine: &UpdateEngine) -> Result<()> {
    for file in ["run/update_engine_autoupdate_completed", "run/reboot-required"] {
        std::fs::remove_file(host.root().join(file))?;
    }
    engine.set("UPDATE_STATUS_IDLE", "0.0.0.0", 0.0).await
}

#[tokio::test]
async fn flatcar_from_the_update_to_the_freed_slot() -> Result<()> {
    let api = cluster(1).await?;
    other_holder(&api, "node-b", true)?;
    let mut host = Host::start(&api, "node-a", &flatcar("4459.2.0"), QUICK).await?;
    let engine = UpdateEngine::start(&host.bus, &host.root()).await?;
    pod(&api, "node-a", "web")?;
    let idle = host.until(State::Idle, "no-reboot-wanted").await?;
    assert!(idle.host_lock.held, "{idle:?}");

    // Another has the only slot.
    engine.write("4459.2.1").await?;
    let waiting = host.until(State::Waiting, "slot").await?;
    assert!(waiting.reason.message.contains("1 of 1 slots are taken, by node-b"), "{waiting:?}");
    assert_eq!(waiting.health, Health::Good, "waiting is good");
    // The one reason, wherever somebody looks.
    let shown = host.order(&["reboot", "--json"]).await?;
    let shown: Value = serde_json::from_str(&shown)?;
    let message = waiting.reason.message.clone();
    assert_eq!(shown["reason"]["message"], message);
    assert_eq!(host.block().context("a block lock")?.why, message);
    api.wait_until(SOON, |view| {
        view.object("nodes", "", "node-a").is_some_and(|node| {
            node["metadata"]["annotations"]["eyewall.dev/reboot-reason"] == format!("slot: {message}")
        })
    })
    .await?;
    let condition = || {
        let node = host.object();
        let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|one| one["type"] == "EyewallReboot").unwrap_or_default()
    };
    assert_eq!((&condition()["status"], &condition()["reason"]), (&Value::from("True"), &Value::from("Slot")));
    let told = host.events().await?;
    let waits = told.iter().rfind(|event| event.event == "reboot-waits").context("it was told")?;
    assert_eq!(waits.message, message);

    // Freed: taken, cordoned, drained, the block lock dropped, rebooted.
    other_holder(&api, "node-b", false)?;
    host.until_down().await?;
    assert_eq!(holders(&api), ["node-a"]);
    assert_eq!(host.cordon(), (true, Some(host.boot_id())));
    assert!(api.look(|view| view.object("pods", "default", "web")).is_none(), "it was evicted");
    assert_eq!((host.block(), host.logind.calls().iter().filter(|call| call.starts_with("Reboot")).count()), (None, 1));
    let writes = host.requests().into_iter().filter(|one| one.method != "GET" && one.status < 300);
    let writes: Vec<&str> = writes.filter_map(|one| kind_of_write(&one.path)).collect();
    assert_eq!(writes, ["slot", "eviction", "slot"], "taken, drained, let go");
    let story = ["reboot-wanted", "reboot-waits", "reboot-granted", "reboot-draining", "reboot-let-go"];
    assert_eq!(host.story().await?, story, "each once");

    flatcar_booted(&host, &engine).await?;
    host.reboot(&flatcar("4459.2.1"), JUST_BOOTED).await?;
    let gate = host.until(State::Gate, "*").await?;
    assert_eq!(
        (gate.boot.release.context("a release")?.version, holders(&api)),
        ("4459.2.1".to_owned(), vec!["node-a".to_owned()])
    );
    let done = host.until(State::Idle, "no-reboot-wanted").await?;
    assert_eq!((holders(&api), host.cordon()), (vec![], (false, None)));
    assert!(done.lock.mine.is_none() && done.host_lock.held, "{done:?}");
    assert_eq!(host.story().await?, ["reboot-proved", "reboot-done"], "each once");
    Ok(())
}

#[tokio::test]
async fn fedora_coreos_finalises_with_the_lock_dropped() -> Result<()> {
    let api = cluster(1).await?;
    let os = "ID=fedora\nVARIANT_ID=coreos\nVERSION_ID=44\nOSTREE_VERSION='44.1'\n";
    let mut host = Host::start(&api, "node-a", os, QUICK).await?;
    let settings = Settings { root: host.root(), state: None, reboot: Reboot::Logind };
    let rpm_ostree = RpmOstree::start(&host.bus, settings, "44.1", Some("44.0")).await?;
    host.until(State::Idle, "no-reboot-wanted").await?;
    pod(&api, "node-a", "web")?;
    budget(&api, "web")?;
    rpm_ostree.stage("44.2", true)?;
    let draining =
        host.when("the pod that stays", |status| status.drain.as_ref().is_some_and(|drain| !drain.left.is_empty()));
    assert_eq!(draining.await?.state, State::Draining);
    // Zincati in our place is told who is in the way, and why.
    let refused = finalize(&host, "44.2").await?;
    assert!(refused.contains("Held by: eyewall") && refused.contains("Reason: "), "{refused}");
    assert!(!host.logind.is_preparing() && rpm_ostree.deployments()[0].locked, "{:?}", rpm_ostree.deployments());

    assert!(api.remove("poddisruptionbudgets", "default", "web"));
    host.until_down().await?;
    let finalized = rpm_ostree.calls().iter().filter(|call| call.starts_with("FinalizeDeployment")).count();
    assert_eq!(finalized, 2, "the refused one and ours: {:?}", rpm_ostree.calls());
    assert_eq!(host.block(), None);
    assert_eq!(host.story().await?, ["reboot-wanted", "reboot-granted", "reboot-draining", "reboot-let-go"]);

    rpm_ostree.boot(true)?;
    host.reboot(&os.replace("44.1", "44.2"), JUST_BOOTED).await?;
    host.until(State::Idle, "no-reboot-wanted").await?;
    assert_eq!((holders(&api), host.cordon()), (vec![], (false, None)));
    let events = host.events().await?;
    assert_eq!(events.iter().map(|event| event.event.as_str()).collect::<Vec<_>>(), ["reboot-proved", "reboot-done"]);
    assert_eq!(events[0].fields.get("release").map(String::as_str), Some("44.2"));
    Ok(())
}

/// Somebody else asks rpm-ostreed to finalise this release; what it says.
async fn finalize(host: &Host, version: &str) -> Result<String> {
    let checksum = Deployment::new(version).checksum;
    let connection = host.bus.connect().await?;
    let (name, path) = ("org.projectatomic.rpmostree1", "/org/projectatomic/rpmostree1/fedora_coreos");
    let options = HashMap::from([("checksum", Variant::from(checksum.as_str()))]);
    let interface = Some("org.projectatomic.rpmostree1.OS");
    let reply = connection.call_method(Some(name), path, interface, "FinalizeDeployment", &(options,)).await?;
    let address: String = reply.body().deserialize()?;
    let peer = Builder::address(address.as_str()).p2p().build().await?;
    let mut signals = MessageStream::from(&peer);
    peer.call_method(None::<&str>, "/", Some("org.projectatomic.rpmostree1.Transaction"), "Start", &()).await?;
    let finished = async {
        while let Some(Ok(message)) = poll_fn(|context| Pin::new(&mut signals).poll_next(context)).await {
            if message.header().member().is_some_and(|member| member.as_str() == "Finished") {
                let (good, words): (bool, String) = message.body().deserialize()?;
                anyhow::ensure!(!good, "it was finalised: {words}");
                return Ok(words);
            }
        }
        anyhow::bail!("it ended without a word")
    };
    timeout(SOON, finished).await.context("it never ends")?
}

#[tokio::test]
async fn operators_are_heard_and_what_they_said_survives_the_agent() -> Result<()> {
    let api = cluster(1).await?;
    let mut host = Host::start(&api, "node-a", &flatcar("4459.2.0"), QUICK).await?;
    let engine = UpdateEngine::start(&host.bus, &host.root()).await?;
    host.until(State::Idle, "no-reboot-wanted").await?;

    // Others than root are refused, whatever they may read.
    for words in [["hold", "--why", "x"].as_slice(), &["release"], &["force", "--why", "x"], &["reboot", "request"]] {
        let refused = host.verb_as_nobody(words).await?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(1) && said.contains("Only root may"), "{words:?}: {refused:?}");
    }
    assert!(
        host.verb_as_nobody(&["reboot"]).await?.status.success(),
        "looking is for everybody who may read the socket"
    );
    // A reason is one line of text, for the verb and for the socket.
    for why in ["", "   ", "two\nlines", "\u{1b}[2J"] {
        let refused = host.verb(&["hold", "--why", why]).await?;
        assert_eq!(refused.status.code(), Some(64), "{why:?}: {refused:?}");
        let (code, body) = post(&host, "/v1/reboot/hold", &json!({"why": why}).to_string()).await?;
        assert!(code == 400 && body.contains("why-"), "{why:?}: {code} {body}");
    }
    assert_eq!(post(&host, "/v1/reboot/hold", "{}").await?.0, 400, "a hold without a reason");
    assert_eq!(post(&host, "/v1/reboot/hold", "{\"because\":\"x\"}").await?.0, 400, "an unknown word");
    assert_eq!(host.node.status().await?.reboot.context("reboots")?.orders.hold, None);

    // A hold keeps the host up, and survives.
    host.order(&["hold", "--why", "backup until noon"]).await?;
    engine.write("4459.2.1").await?;
    let held = host.until(State::Waiting, "hold").await?;
    assert!(held.reason.message.ends_with("backup until noon"), "{held:?}");
    host.restart_agent().await?;
    let held = host.until(State::Waiting, "hold").await?;
    assert!(held.reason.message.ends_with("backup until noon") && holders(&api).is_empty(), "{held:?}");
    assert_eq!(host.block().context("a block lock")?.why, held.reason.message);
    let told = host.order(&["reboot"]).await?;
    assert!(told.contains("backup until noon"), "{told}");

    // Held while it drains: all is undone.
    pod(&api, "node-a", "web")?;
    budget(&api, "web")?;
    assert!(host.order(&["release"]).await?.contains("the hold"));
    host.until(State::Draining, "*").await?;
    host.order(&["hold", "--why", "stop"]).await?;
    host.until(State::Waiting, "hold").await?;
    assert_eq!((holders(&api), host.cordon()), (vec![], (false, None)));
    let audit = audit(&host).await?;
    assert_eq!(audit, ["reboot-release", "reboot-hold"], "since the restart");
    assert!(host.story().await?.contains(&"reboot-undone".to_owned()));

    // Forced: neither the hold nor the slot of another nor the budget keeps it.
    other_holder(&api, "node-b", true)?;
    host.node.drop_in("10-quick.toml", "[reboot]\ndrain_timeout = \"2s\"\n")?;
    host.restart_agent().await?;
    host.until(State::Waiting, "hold").await?;
    host.order(&["force", "--why", "fire"]).await?;
    let forced = host.when("forced", |status| status.reason.kind == "forced").await?;
    assert!(forced.reason.message.ends_with("fire"), "{forced:?}");
    host.until_down().await?;
    assert_eq!(holders(&api), ["node-b"], "nobody's slot is stolen");
    // The next boot: the force is done, the hold is not.
    flatcar_booted(&host, &engine).await?;
    host.reboot(&flatcar("4459.2.1"), JUST_BOOTED).await?;
    let after = host.when("served", |status| status.orders.force.is_none() && status.orders.hold.is_some());
    assert_eq!(after.await?.orders.hold.context("a hold")?.why, "stop");
    host.when("uncordoned", |_| host.cordon() == (false, None)).await?;
    assert!(host.logind.calls().iter().filter(|call| call.starts_with("Reboot")).count() == 1);

    // A request is a reboot that waits its turn, and survives too.
    assert!(api.remove("poddisruptionbudgets", "default", "web"));
    host.order(&["release"]).await?;
    host.order(&["reboot", "request", "--why", "new firmware"]).await?;
    host.until(State::Waiting, "slot").await?;
    host.restart_agent().await?;
    let waiting = host.until(State::Waiting, "slot").await?;
    assert_eq!(waiting.orders.request.context("a request")?.why, "new firmware");
    other_holder(&api, "node-b", false)?;
    host.until_down().await?;
    host.reboot(&flatcar("4459.2.1"), JUST_BOOTED).await?;
    let done = host.until(State::Idle, "no-reboot-wanted").await?;
    assert_eq!((done.orders.request, holders(&api), host.cordon()), (None, vec![], (false, None)));
    Ok(())
}

/// The commands that were told as accepted.
async fn audit(host: &Host) -> Result<Vec<String>> {
    let events = host.node.events().await?.into_iter().filter(|event| event.event == "command-accepted");
    Ok(events.filter_map(|mut event| event.fields.remove("command")).collect())
}

async fn post(host: &Host, target: &str, body: &str) -> Result<(u16, String)> {
    let mut stream = UnixStream::connect(host.node.socket()).await?;
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: eyewall\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.context("no answer")??;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP")?;
    Ok((head.split(' ').nth(1).context("a status")?.parse()?, body.to_owned()))
}

#[tokio::test]
async fn two_hosts_one_slot_and_kill_9_in_each_step() -> Result<()> {
    let api = cluster(1).await?;
    let mut one = Host::start(&api, "node-a", &flatcar("1"), QUICK).await?;
    let mut two = Host::start(&api, "node-b", &flatcar("1"), QUICK).await?;
    let engine_one = UpdateEngine::start(&one.bus, &one.root()).await?;
    let engine_two = UpdateEngine::start(&two.bus, &two.root()).await?;
    for name in ["node-a", "node-b"] {
        let app = format!("web-{name}");
        pod(&api, name, &app)?;
        budget(&api, &app)?;
    }
    engine_one.write("2").await?;
    one.until(State::Draining, "*").await?;
    engine_two.write("2").await?;
    // Waiting.
    two.until(State::Waiting, "slot").await?;
    two.restart_agent().await?;
    two.until(State::Waiting, "slot").await?;
    assert!(two.block().is_some() && two.cordon() == (false, None));
    // Draining.
    let left = |status: &RebootStatus| status.drain.as_ref().is_some_and(|drain| !drain.left.is_empty());
    one.when("pods left", left).await?;
    one.restart_agent().await?;
    one.when("pods left", left).await?;
    assert_eq!((holders(&api), one.cordon()), (vec!["node-a".to_owned()], (true, Some(one.boot_id()))));
    // The update is withdrawn while the agent is away: all is undone, and the other has its turn.
    one.node.kill().await?;
    flatcar_booted(&one, &engine_one).await?;
    one.node.start()?;
    one.until(State::Idle, "no-reboot-wanted").await?;
    assert_eq!(one.cordon(), (false, None));
    two.when("pods left", left).await?;
    assert_eq!(holders(&api), ["node-b"]);
    // Right after it was let go: logind took it on, and nothing has come of it yet.
    two.logind.become_kind(Kind { stuck: true, ..Kind::default() });
    assert!(api.remove("poddisruptionbudgets", "default", "web-node-b"));
    two.when("let go", |_| two.logind.calls().iter().any(|call| call.starts_with("RebootWithFlags"))).await?;
    engine_one.write("2").await?;
    one.until(State::Waiting, "slot").await?;
    two.restart_agent().await?;
    // It is let go again, as its slot says that it may.
    let again = |status: &RebootStatus| status.state == State::Rebooting || status.state == State::LettingGo;
    two.when("let go again", again).await?;
    assert_eq!((holders(&api), one.cordon(), two.block()), (vec!["node-b".to_owned()], (false, None), None));
    two.logind.become_kind(Kind::default());
    two.restart_agent().await?;
    two.until_down().await?;
    // The next boot frees it, killed once more while it is proved; and the first goes on.
    flatcar_booted(&two, &engine_two).await?;
    two.reboot(&flatcar("2"), JUST_BOOTED).await?;
    two.until(State::Gate, "*").await?;
    assert_eq!(holders(&api), ["node-b"], "not before the gate");
    two.restart_agent().await?;
    two.until(State::Idle, "no-reboot-wanted").await?;
    assert_eq!(two.cordon(), (false, None));
    one.until(State::Draining, "*").await?;
    assert_eq!(holders(&api), ["node-a"]);
    assert!(!one.logind.is_preparing());
    Ok(())
}

#[tokio::test]
async fn the_api_server_goes_away_in_the_middle() -> Result<()> {
    let api = cluster(1).await?;
    let host = Host::start(&api, "node-a", &flatcar("1"), QUICK).await?;
    let engine = UpdateEngine::start(&host.bus, &host.root()).await?;
    pod(&api, "node-a", "web")?;
    budget(&api, "web")?;
    engine.write("2").await?;
    host.until(State::Draining, "*").await?;
    api.stop();
    let away =
        |status: &RebootStatus| status.reason.kind == "api-server-away" || status.reason.message.contains("API server");
    host.when("the API server is away", away).await?;
    assert!(host.block().is_some() && !host.logind.is_preparing());
    assert!(api.remove("poddisruptionbudgets", "default", "web"));
    api.start_again()?;
    host.until_down().await?;
    assert_eq!((holders(&api), host.cordon()), (vec!["node-a".to_owned()], (true, Some(host.boot_id()))));
    Ok(())
}

#[tokio::test]
async fn who_has_no_manifest_is_told_which() -> Result<()> {
    let api = Arc::new(ApiServer::start(Options::default()).await?);
    api.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}))?;
    let host = Host::start(&api, "node-a", &flatcar("1"), QUICK).await?;
    let engine = UpdateEngine::start(&host.bus, &host.root()).await?;
    engine.write("2").await?;
    let waiting = host.until(State::Waiting, "slots-rule-missing").await?;
    for part in ["reboot-slots.yaml", "may not patch the ConfigMap reboot-workers"] {
        assert!(waiting.reason.message.contains(part), "{part}: {}", waiting.reason.message);
    }
    assert!(!host.logind.is_preparing() && host.cordon() == (false, None));
    api.apply_reboot_slots("workers", 1);
    host.until_down().await?;
    assert_eq!(holders(&api), ["node-a"]);
    Ok(())
}

#[tokio::test]
async fn a_boot_that_is_not_good_keeps_the_slot_until_it_is_released() -> Result<()> {
    let api = cluster(1).await?;
    let mut host = Host::start(&api, "node-a", &flatcar("1"), QUICK).await?;
    let engine = UpdateEngine::start(&host.bus, &host.root()).await?;
    engine.write("2").await?;
    host.until_down().await?;
    host.kubelet_fails().await?;
    flatcar_booted(&host, &engine).await?;
    host.reboot(&flatcar("2"), JUST_BOOTED).await?;
    let early =
        host.when("not good", |status| status.state == State::Gate && status.reason.message.contains("kubelet"));
    assert_eq!(early.await?.health, Health::Good, "a kubelet has some minutes to come up");
    // The same boot, a quarter of an hour later.
    host.node.kill().await?;
    host.same_boot_up_for(20 * 60)?;
    host.node.start()?;
    let kept = host.until(State::HeldBack, "health").await?;
    assert!(kept.health == Health::Bad && kept.reason.message.contains("kubelet.service"), "{kept:?}");
    assert_eq!(
        (holders(&api), host.cordon()),
        (vec!["node-a".to_owned()], (true, Some("00000001-0000-4000-8000-000000000000".to_owned())))
    );
    assert!(host.story().await?.contains(&"reboot-held-back".to_owned()));
    assert!(!host.verb(&["reboot"]).await?.status.success(), "a script sees it");

    let said = host.order(&["release"]).await?;
    assert!(said.contains("the slot that is kept"), "{said}");
    host.when("freed", |status| status.lock.limit.is_some() && status.lock.mine.is_none()).await?;
    assert_eq!(holders(&api), Vec::<String>::new());
    // It takes no pods before it is good.
    assert!(host.cordon().0);
    host.restart_agent().await?;
    host.kubelet_runs().await?;
    host.until(State::Idle, "no-reboot-wanted").await?;
    assert_eq!(host.cordon(), (false, None));
    Ok(())
}

#[tokio::test]
async fn a_clock_that_is_set_after_the_boot_makes_no_boot_late() -> Result<()> {
    let api = cluster(1).await?;
    let mut host = Host::start(&api, "node-a", &flatcar("1"), QUICK).await?;
    let engine = UpdateEngine::start(&host.bus, &host.root()).await?;
    engine.write("2").await?;
    host.until_down().await?;
    host.kubelet_fails().await?;
    flatcar_booted(&host, &engine).await?;
    // Its battery is empty.
    host.clock = Some(HostClock::new(&host.root(), -3_600)?);
    host.reboot(&flatcar("2"), JUST_BOOTED).await?;
    host.until(State::Gate, "*").await?;
    host.clock.as_ref().context("a clock")?.set(0)?;
    host.node.wait_for(SOON, "valid", "certificate-valid").await?;
    let early = |status: &RebootStatus| status.reason.message.contains("kubelet.service is failed");
    let early = host.when("the kubelet is waited for", early).await?;
    assert_eq!((early.state, early.health), (State::Gate, Health::Good), "it has its quarter of an hour");
    assert_eq!(host.story().await?, ["reboot-proved"]);
    Ok(())
}

#[tokio::test]
async fn a_slot_that_was_taken_away_by_hand_leaves_no_cordon() -> Result<()> {
    let api = cluster(1).await?;
    let mut host = Host::start(&api, "node-a", &flatcar("1"), QUICK).await?;
    let engine = UpdateEngine::start(&host.bus, &host.root()).await?;
    engine.write("2").await?;
    host.until_down().await?;
    flatcar_booted(&host, &engine).await?;
    other_holder(&api, "node-a", false)?;
    host.reboot(&flatcar("2"), JUST_BOOTED).await?;
    host.when("uncordoned", |status| status.state == State::Idle && host.cordon() == (false, None)).await?;
    Ok(())
}

#[tokio::test]
async fn a_take_that_came_to_nothing_is_no_measure_of_the_host() -> Result<()> {
    let api = cluster(1).await?;
    let mut host = Host::start(&api, "node-a", &flatcar("1"), QUICK).await?;
    let engine = UpdateEngine::start(&host.bus, &host.root()).await?;
    host.node.kill().await?;
    // So it is left where no slot was got; some checks fail on this machine, as it is no node.
    std::fs::write(host.node.path("state/reboot.json"), "{\"failed_before\": []}")?;
    host.node.start()?;
    engine.write("2").await?;
    host.until_down().await?;
    // With the slot in hand it is one.
    flatcar_booted(&host, &engine).await?;
    std::fs::write(host.node.path("state/reboot.json"), "{\"failed_before\": []}")?;
    host.reboot(&flatcar("2"), JUST_BOOTED).await?;
    let worse = |status: &RebootStatus| status.state == State::Gate && status.reason.message.contains("posture-worse");
    host.when("the posture is worse", worse).await?;
    assert_eq!(holders(&api), ["node-a"]);
    Ok(())
}

#[tokio::test]
async fn the_lock_outlives_logind_and_the_bus() -> Result<()> {
    let api = cluster(1).await?;
    let mut host = Host::start(&api, "node-a", &flatcar("1"), QUICK).await?;
    host.until(State::Idle, "no-reboot-wanted").await?;
    let held = |rows: &[Inhibitor]| rows.iter().any(|row| row.who == "eyewall" && row.mode == "block");
    host.logind.until(held).await?;
    host.logind.go_away().await?;
    let lost = host.when("no lock", |status| status.host_lock.reason.is_some()).await?;
    assert_eq!(lost.host_lock.reason.as_ref().map(|reason| reason.kind.as_str()), Some("no-logind"), "{lost:?}");
    host.logind.come_back().await?;
    host.logind.until(held).await?;
    host.when("held again", |status| status.host_lock.held && status.host_lock.reason.is_none()).await?;
    host.bus.go_away().await?;
    host.bus.come_back().await?;
    host.logind.go_away().await.ok();
    host.logind.come_back().await?;
    host.logind.until(held).await?;
    assert_eq!(
        host.story().await?.iter().filter(|name| name.starts_with("host-lock")).count() % 2,
        0,
        "each loss has its end: {:?}",
        host.story().await?
    );
    Ok(())
}

#[tokio::test]
async fn who_does_not_coordinate_holds_nothing_and_asks_nobody() -> Result<()> {
    let api = cluster(1).await?;
    let mut host = Host::start(&api, "node-a", &flatcar("1"), "coordinate = false\n").await?;
    let engine = UpdateEngine::start(&host.bus, &host.root()).await?;
    host.until(State::Off, "off").await?;
    engine.write("2").await?;
    host.when("seen", |status| status.pending.is_some()).await?;
    sleep(Duration::from_secs(1)).await;
    let asked = host.requests();
    assert!(asked.is_empty(), "{asked:#?}");
    assert_eq!((host.logind.inhibitors(), holders(&api)), (vec![], vec![]));
    let refused = host.verb(&["hold", "--why", "x"]).await?;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("coordinate is false"), "{refused:?}");

    // Switched on, and off again in the middle: what was begun is undone, and then nobody is asked any more.
    pod(&api, "node-a", "web")?;
    budget(&api, "web")?;
    host.node.drop_in("10-on.toml", "[reboot]\ncoordinate = true\n")?;
    host.restart_agent().await?;
    host.until(State::Draining, "*").await?;
    host.node.drop_in("10-on.toml", "[reboot]\ncoordinate = false\n")?;
    host.restart_agent().await?;
    host.when("undone", |status| status.state == State::Off && holders(&api).is_empty()).await?;
    assert_eq!(host.cordon(), (false, None));
    api.wait_until(SOON, |view| {
        view.object("nodes", "", "node-a")
            .is_some_and(|node| node["metadata"]["annotations"]["eyewall.dev/reboot-state"] == "off")
    })
    .await?;
    sleep(Duration::from_millis(300)).await;
    api.forget_requests();
    engine.set("UPDATE_STATUS_IDLE", "0.0.0.0", 0.0).await?;
    sleep(Duration::from_secs(1)).await;
    let asked = host.requests();
    assert!(asked.is_empty(), "{asked:#?}");
    assert_eq!(host.logind.inhibitors(), vec![]);
    Ok(())
}
