//! What every scenario expects of a node.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use eyewall_core::event::{AGENT_LIMITED, Event};
use eyewall_core::status::{Health, Status};
use tests::apiserver::{ApiServer, CsrState};
use vm_tests::{JournalEntry, Vm};

/// From an ssh server that answers to a node that is good. An emulated host needs some 20 s, on a busy machine minutes.
pub const GOOD: Duration = Duration::from_secs(240);

/// Waits until the node is good as its socket tells it.
pub async fn good(vm: &Vm) -> Result<Status> {
    let status = vm
        .wait_for("a good node", GOOD, async |vm| {
            let status = vm.status().await?;
            ensure!(status.health == Health::Good, "the node is not good: {}", reasons(&status));
            Ok(status)
        })
        .await?;
    vm.progress().say("the node is good");
    Ok(status)
}

/// Why it is as it is, short.
fn reasons(status: &Status) -> String {
    let Status { certificates, kubelet, agent, .. } = status;
    let said = [("certificate", &certificates.reason), ("kubelet", &kubelet.reason)];
    let limits = agent.limits.iter().map(|reason| ("limit", reason));
    said.into_iter()
        .chain(limits)
        .map(|(part, reason)| format!("\n  {part}: {}: {}", reason.kind, reason.message))
        .collect()
}

/// The entries of this boot's journal that tell this event; there must be one.
pub async fn told(vm: &Vm, event: &Event) -> Result<Vec<JournalEntry>> {
    let entries = vm.guest().journal(&format!("MESSAGE_ID={}", event.id)).await?;
    ensure!(!entries.is_empty(), "the journal does not tell {}\n{}", event.name, vm.journal_tail().await);
    for entry in &entries {
        ensure!(entry.field("EYEWALL_EVENT") == event.name, "{}: {:?}", event.name, entry.fields);
    }
    Ok(entries)
}

/// The serial of the certificate in force.
pub fn serial(status: &Status) -> String {
    status.certificates.current.as_ref().map(|current| current.serial.clone()).unwrap_or_default()
}

/// What holds at the end of every scenario: nothing denied, failed, limited or given away.
pub async fn clean_host(vm: &Vm, api: &ApiServer) -> Result<()> {
    let denials = vm.denials().await?;
    for (denial, why) in &denials.tolerated {
        println!("SELinux: {denial}: tolerated, {why}");
    }
    ensure!(denials.unexpected.is_empty(), "SELinux denied:\n{}", lines(&denials.unexpected));
    let failed = vm.guest().get("systemctl --failed --plain --no-legend --no-pager").await?;
    ensure!(failed.is_empty(), "units failed:\n{failed}");
    let limited = vm.guest().journal(&format!("MESSAGE_ID={}", AGENT_LIMITED.id)).await?;
    ensure!(limited.is_empty(), "the agent is limited: {limited:#?}");
    let token = api.token();
    let secret = token.split_once('.').map_or(token.as_str(), |(_, secret)| secret);
    let journal = vm.guest().get("journalctl --all --output=export").await?;
    ensure!(!journal.contains(secret), "the bootstrap token is in the journal");
    ensure!(!journal.contains("PRIVATE KEY"), "a private key is in the journal");
    Ok(())
}

/// One identity: every request is for this node, each with a key of its own, and at most one waits.
pub fn one_identity(api: &ApiServer, node: &str) -> Result<()> {
    let csrs = api.csrs();
    let others: Vec<_> = csrs.iter().filter(|csr| csr.node != node).collect();
    ensure!(others.is_empty(), "requests for another node: {others:#?}");
    let keys: BTreeSet<_> = csrs.iter().map(|csr| csr.public_key.clone()).collect();
    ensure!(keys.len() == csrs.len(), "{} requests for {} keys: {csrs:#?}", csrs.len(), keys.len());
    let open: Vec<_> = csrs.iter().filter(|csr| matches!(csr.state, CsrState::Pending | CsrState::Approved)).collect();
    ensure!(open.len() <= 1, "more than one request waits: {open:#?}");
    Ok(())
}

/// One a line.
fn lines<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(|item| format!("  {item}")).collect::<Vec<_>>().join("\n")
}
