//! `eyewall check` and `eyewall evidence` on this machine, and the probes against a real sshd that is given port 22 in a network
//! namespace of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// The binary, which cargo builds beside the tests.
fn eyewall() -> Result<String> {
    Ok(tests::node::binary()?.display().to_string())
}

fn run(program: &str, arguments: &[&str]) -> Result<Output> {
    Command::new(program).args(arguments).output().with_context(|| format!("{program} {arguments:?}"))
}

fn json(output: &Output) -> Result<Value> {
    serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// check -> verdict and kind.
fn verdicts(report: &Value) -> Result<BTreeMap<String, (String, String)>> {
    let findings = report["findings"].as_array().context("findings")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(findings
        .iter()
        .map(|finding| (text(&finding["check"]), (text(&finding["verdict"]), text(&finding["reason"]["kind"]))))
        .collect())
}

/// The checks whose every source is a file: what they say does not depend on which process or port was there a moment later.
fn judged_by_files(report: &Value) -> Result<Vec<String>> {
    let is_file = |source: &Value| {
        let source = source.as_str().unwrap_or_default();
        ["file:/etc", "stat:/etc", "list:/etc", "file:/usr"].iter().any(|prefix| source.starts_with(prefix))
    };
    let findings = report["findings"].as_array().context("findings")?;
    let by_files = findings.iter().filter(|finding| {
        finding["sources"].as_array().is_some_and(|sources| !sources.is_empty() && sources.iter().all(is_file))
    });
    Ok(by_files.filter_map(|finding| finding["check"].as_str().map(str::to_owned)).collect())
}

#[test]
fn a_captured_host_is_judged_as_the_host_itself() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let captured = directory.path().join("evidence");
    let captured = captured.to_str().context("a path")?;
    let made = run(&eyewall()?, &["evidence", "--no-probes", "--output", captured])?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let again = run(&eyewall()?, &["evidence", "--no-probes", "--output", captured])?;
    ensure!(!again.status.success(), "a capture is not written over another");

    let live = run(&eyewall()?, &["check", "--no-probes", "--json"])?;
    let replayed = run(&eyewall()?, &["check", "--evidence", captured, "--json"])?;
    let (live, replayed) = (json(&live)?, json(&replayed)?);
    let of_files = judged_by_files(&live)?;
    let (live, replayed) = (verdicts(&live)?, verdicts(&replayed)?);
    ensure!(live.len() > 60 && of_files.len() > 10, "{} checks, {} of files", live.len(), of_files.len());
    ensure!(live.keys().eq(replayed.keys()), "the same checks");
    for check in &of_files {
        ensure!(live.get(check) == replayed.get(check), "{check}: {:?}, {:?}", live.get(check), replayed.get(check));
    }
    Ok(())
}

#[test]
fn a_bundle_holds_no_secret() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let captured = directory.path().join("evidence");
    let made = run(&eyewall()?, &["evidence", "--no-probes", "--output", captured.to_str().context("a path")?])?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut all = String::new();
    for entry in std::fs::read_dir(&captured)? {
        all.push_str(&std::fs::read_to_string(entry?.path())?);
    }
    let shadow = std::fs::read_to_string("/etc/shadow")?;
    let hashes: Vec<&str> =
        shadow.lines().filter_map(|line| line.split(':').nth(1)).filter(|field| field.len() > 8).collect();
    for hash in &hashes {
        ensure!(!all.contains(hash), "a password's hash is in the bundle");
    }
    ensure!(all.contains("/etc/shadow"), "the accounts' passwords were looked at");
    ensure!(!all.contains("PRIVATE KEY"), "a private key is in the bundle");
    println!("{} octets of evidence, {} hashes searched for", all.len(), hashes.len());
    Ok(())
}

#[test]
fn every_format_is_what_it_says() -> Result<()> {
    let binary = eyewall()?;
    let check = |format: &str| run(&binary, &["check", "--no-probes", "--format", format]);
    let sarif = json(&check("sarif")?)?;
    ensure!(sarif["version"] == "2.1.0" && sarif["runs"][0]["results"].is_array(), "SARIF: {sarif}");
    let junit = String::from_utf8(check("junit")?.stdout)?;
    ensure!(junit.starts_with("<?xml") && junit.contains("<testsuite"), "JUnit: {junit:.200}");
    let text = String::from_utf8(check("text")?.stdout)?;
    ensure!(text.contains("What a node cannot prove"), "text: {text:.200}");
    let wrong = check("html")?;
    ensure!(wrong.status.code() == Some(64), "an unknown format is a usage error: {wrong:?}");
    let none = run(&eyewall()?, &["check", "--evidence", "/nonexistent"])?;
    ensure!(none.status.code() == Some(1), "{none:?}");
    Ok(())
}

/// Runs a script in namespaces of its own, with a loopback interface and nothing else.
fn alone(directory: &Path, script: &str) -> Result<Output> {
    let script = format!("set -e\ncd {}\nip link set lo up\n{script}", directory.display());
    run("unshare", &["--net", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", &script])
}

const PREPARE: &str = r#"
mkdir -p ssh ssh/sshd_config.d home empty
mount --bind home /root
mkdir -p /root/.ssh /run/sshd
chmod 700 /root /root/.ssh
ssh-keygen -q -t ed25519 -N '' -f ssh/ssh_host_ed25519_key
ssh-keygen -q -t ed25519 -N '' -f known
printf 'Port 22\nHostKey /etc/ssh/ssh_host_ed25519_key\nUsePAM no\nInclude /etc/ssh/sshd_config.d/*.conf\n' > ssh/sshd_config
cp /etc/passwd passwd && grep -q '^core:' passwd || echo "core:x:4242:4242::/root:/bin/sh" >> passwd
mount --bind passwd /etc/passwd
mount --bind ssh /etc/ssh
cat known.pub > /root/.ssh/authorized_keys
chown -R 4242:4242 /root/.ssh 2>/dev/null || true
"#;

/// What the running sshd offers is what is judged, whatever its files say now.
#[test]
fn the_running_sshd_is_asked_and_not_its_files() -> Result<()> {
    let directory = tempfile::tempdir()?;
    // Started with passwords on; then the file says no, and nobody reloads it.
    let script = format!(
        "{PREPARE}\n\
         printf 'PasswordAuthentication yes\\nKbdInteractiveAuthentication no\\n' > /etc/ssh/sshd_config.d/10-test.conf\n\
         /usr/sbin/sshd\n\
         printf 'PasswordAuthentication no\\nKbdInteractiveAuthentication no\\n' > /etc/ssh/sshd_config.d/10-test.conf\n\
         {} check --json || true\n",
        eyewall()?
    );
    let report = json(&alone(directory.path(), &script)?)?;
    let verdicts = verdicts(&report)?;
    let offered = verdicts.get("ssh-offered-methods").context("ssh-offered-methods")?;
    ensure!(offered.0 == "fail", "the running sshd offers passwords: {offered:?}");
    let host_key = verdicts.get("ssh-host-key").context("ssh-host-key")?;
    ensure!(host_key.0 == "pass", "it is this host's sshd: {host_key:?}");
    Ok(())
}

#[test]
fn an_sshd_that_takes_keys_only_is_proved_to() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let script = format!(
        "{PREPARE}\n\
         printf 'PasswordAuthentication no\\nKbdInteractiveAuthentication no\\nPermitRootLogin no\\n' > /etc/ssh/sshd_config.d/10-test.conf\n\
         /usr/sbin/sshd\n\
         {} check --json || true\n",
        eyewall()?
    );
    let report = json(&alone(directory.path(), &script)?)?;
    let verdicts = verdicts(&report)?;
    for check in ["ssh-offered-methods", "ssh-host-key"] {
        let verdict = verdicts.get(check).context(check)?;
        ensure!(verdict.0 == "pass", "{check}: {verdict:?}");
    }
    let findings = report["findings"].as_array().context("findings")?;
    let offered = findings.iter().find(|finding| finding["check"] == "ssh-offered-methods").context("it")?;
    ensure!(offered["grade"] == "proved-by-behaviour", "{offered}");
    Ok(())
}
