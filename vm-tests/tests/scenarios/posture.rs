//! The posture on a real host with SELinux enforcing, as the agent sees it from inside its sandbox: what is changed is found at once,
//! named rightly, and good again when it is undone. One host for all of it; how long each thing took is told by the guest's own clock.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eyewall_core::event::{POSTURE_FAILED, POSTURE_GOOD};
use serde_json::Value;
use vm_tests::scene::short_lived;
use vm_tests::{JournalEntry, Runtime, Scene, Vm};

use crate::expect::good;
use crate::{posture_selinux, posture_ssh, posture_ways};

/// What the scene declares: Debian is no OS that promises anything.
const MODE: &str = "[posture.expect]\nselinux-mode = \"enforcing\"\n";
/// An emulated host that is busy needs this long for what takes it milliseconds otherwise; what it took is measured by its own journal.
pub const SOON: Duration = Duration::from_secs(120);
/// The boot loader, the audit daemon and containerd are not part of this host, so nothing can be told of them.
const UNKNOWN: [&str; 4] = ["debug-shell", "selinux-next-boot", "selinux-denials", "selinux-runtime-domain"];

/// What every verdict is now, by check.
pub async fn findings(vm: &Vm) -> Result<BTreeMap<String, Value>> {
    // Exit code 1 says that something is not good, which is what is looked for.
    let text = vm.guest().get("/opt/bin/eyewall check --daemon --json || true").await?;
    let report: Value = serde_json::from_str(&text).with_context(|| format!("a report: {text:.200}"))?;
    let findings = report["findings"].as_array().context("findings")?;
    Ok(findings
        .iter()
        .map(|finding| (finding["check"].as_str().unwrap_or_default().to_owned(), finding.clone()))
        .collect())
}

/// One thing that was changed, and the check that tells of it.
#[derive(Debug)]
struct Row {
    what: String,
    check: &'static str,
    kind: &'static str,
    /// The guest's clock, microseconds: when it was changed, and when that was undone.
    changed: u64,
    undone: Option<u64>,
}

/// What is done to a host, and what the agent says to it.
#[derive(Debug)]
pub struct Story<'v> {
    /// The host.
    pub vm: &'v Vm,
    rows: Vec<Row>,
}

impl<'v> Story<'v> {
    fn new(vm: &'v Vm) -> Self {
        Self { vm, rows: Vec::new() }
    }

    /// Runs a script, and returns what the guest's clock said before it, in microseconds.
    async fn run(&self, script: &str) -> Result<u64> {
        let said = self.vm.guest().get(&format!("set -e; date +%s%6N; {script}")).await?;
        let first = said.lines().next().and_then(|line| line.parse().ok());
        first.with_context(|| format!("the guest's clock: {said:.200}"))
    }

    /// Changes something, and waits until each check fails for its reason. Nobody is asked: the agent has to notice.
    pub async fn change(&mut self, what: &str, script: &str, named: &[(&'static str, &'static str)]) -> Result<()> {
        self.vm.progress().say(what);
        let changed = self.run(script).await?;
        for (check, kind) in named {
            self.rows.push(Row { what: what.to_owned(), check, kind, changed, undone: None });
        }
        self.vm
            .wait_for(what, SOON, async |vm| {
                let findings = findings(vm).await?;
                for (check, kind) in named {
                    let finding = findings.get(*check).with_context(|| format!("no check {check}"))?;
                    ensure!(
                        finding["verdict"] == "fail" && finding["reason"]["kind"] == *kind,
                        "{check}: {} {}",
                        finding["verdict"],
                        finding["reason"]
                    );
                }
                Ok(())
            })
            .await
    }

    /// Undoes something, and waits until each check is as good as before.
    pub async fn undo(&mut self, script: &str, checks: &[&'static str]) -> Result<()> {
        let undone = self.run(script).await?;
        for row in self.rows.iter_mut().filter(|row| row.undone.is_none() && checks.contains(&row.check)) {
            row.undone = Some(undone);
        }
        self.vm
            .wait_for(&format!("{} to be good again", checks.join(", ")), SOON, async |vm| {
                let findings = findings(vm).await?;
                for check in checks {
                    let finding = findings.get(*check).with_context(|| format!("no check {check}"))?;
                    ensure!(finding["verdict"] == "pass", "{check}: {} {}", finding["verdict"], finding["reason"]);
                }
                Ok(())
            })
            .await
    }

    /// Has the agent look at everything now, as `POST /v1/posture/check` does: for what no event of the kernel's or of systemd's tells.
    pub fn ask() -> &'static str {
        // The guest has no other program that speaks to a socket and HTTP.
        "perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new(q(/run/eyewall/eyewall.sock)) or die; \
         print $s qq(POST /v1/posture/check HTTP/1.1\\r\\nHost: eyewall\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n); \
         $s->flush; print scalar <$s>'"
    }

    /// What is not good now and was to be.
    async fn is_good(&self) -> Result<()> {
        let findings = findings(self.vm).await?;
        let claims = ["selinux", "ssh"];
        let bad: Vec<String> = findings
            .values()
            .filter(|finding| finding["verdict"] == "fail" || finding["verdict"] == "unknown")
            .filter(|finding| {
                let check = finding["check"].as_str().unwrap_or_default();
                let family = check.split('-').next().unwrap_or_default();
                !UNKNOWN.contains(&check)
                    && (claims.contains(&family) || matches!(family, "accounts" | "console" | "second"))
            })
            .map(|finding| format!("{}: {}", finding["check"], finding["reason"]["message"]))
            .collect();
        ensure!(bad.is_empty(), "not good to begin with:\n{}", bad.join("\n"));
        Ok(())
    }

    /// Each thing with the time until the journal told it, by the guest's clock.
    async fn table(&self) -> Result<()> {
        let matches = format!("MESSAGE_ID={} MESSAGE_ID={}", POSTURE_FAILED.id, POSTURE_GOOD.id);
        let journal = self.vm.guest().journal(&matches).await?;
        let after = |row: &Row, since: u64, is_it: &dyn Fn(&JournalEntry) -> bool| -> Option<f64> {
            let told = journal.iter().filter(|entry| entry.field("EYEWALL_CHECK") == row.check && is_it(entry));
            #[expect(clippy::cast_precision_loss, reason = "microseconds of some minutes")]
            told.map(at).find(|at| *at >= since).map(|at| (at - since) as f64 / 1e6)
        };
        println!("{:<44} {:<27} {:<29} {:>9} {:>9}", "what was done", "check", "reason", "found, s", "good, s");
        for row in &self.rows {
            let found = after(row, row.changed, &|entry| entry.field("EYEWALL_KIND") == row.kind);
            let good =
                row.undone.and_then(|undone| after(row, undone, &|entry| entry.field("EYEWALL_VERDICT") == "pass"));
            let seconds = |time: Option<f64>| time.map_or_else(|| "-".to_owned(), |time| format!("{time:.2}"));
            println!("{:<44} {:<27} {:<29} {:>9} {:>9}", row.what, row.check, row.kind, seconds(found), seconds(good));
            ensure!(found.is_some(), "the journal does not tell that {} failed for {}", row.check, row.kind);
        }
        Ok(())
    }
}

/// When an entry was written, by the guest's clock, in microseconds.
pub fn at(entry: &JournalEntry) -> u64 {
    let sent = [entry.field("_SOURCE_REALTIME_TIMESTAMP"), entry.field("__REALTIME_TIMESTAMP")];
    sent.iter().find_map(|text| text.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn what_is_changed_is_found_and_good_again_when_it_is_undone() -> Result<()> {
    let scene = Scene::open(short_lived(Duration::from_secs(3_600))).await?;
    let mut spec = scene.worker(Runtime::Podman);
    spec.config = MODE.to_owned();
    let vm = Vm::boot(&scene.lab, &spec).await?;
    good(&vm).await?;
    let mut story = Story::new(&vm);
    posture_ssh::make_a_login(&vm, MODE).await?;
    vm.wait_for("a host as it should be", SOON, async |_| story.is_good().await).await?;

    posture_ssh::tell(&mut story).await?;
    posture_ways::tell(&mut story).await?;
    // Before the mode is touched: nothing of the agent's was denied in all that it looked at.
    let denials = vm.denials().await?;
    let own: Vec<_> = denials.unexpected.iter().filter(|denial| denial.program.starts_with("eyewall")).collect();
    ensure!(own.is_empty(), "SELinux denied the agent: {own:#?}");
    posture_selinux::tell(&mut story).await?;
    story.table().await
}
