//! A whole look at the host, from the start of `eyewall check` to its end: every source read, every check judged. The probes, which ask other
//! programs over the network and wait for them, are measured apart.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use tests::bus::Bus;
use tests::bus::systemd::Systemd;
use tests::namespace::alone;
use tests::node::{Node, binary};
use tests::sshd::Sshd;
use tokio::process::Command;
use tokio::time::Instant;

use super::{Rounds, Row, idle, spread};

/// A node on a machine of its own, with a real sshd and a systemd on a private bus.
pub fn stand_in(rounds: &Rounds, rows: &mut Vec<Row>) -> Result<()> {
    let measured = alone(async || {
        let mut node = Node::new("node-a")?;
        let bus = Bus::start().await?;
        let _systemd = Systemd::start(&bus).await?;
        node.environment("DBUS_SYSTEM_BUS_ADDRESS", &bus.address());
        let _sshd = Sshd::start().await?;
        looks(rounds, |words| node.command(words)).await
    });
    rows.extend(measured?);
    Ok(())
}

/// This machine, and the daemon on it if one runs: what it costs in a span without events.
pub async fn here(rounds: &Rounds, span: Duration, rows: &mut Vec<Row>) -> Result<()> {
    let binary = binary()?;
    let command = |words: &[&str]| {
        let mut command = Command::new(&binary);
        command.args(words).stdin(Stdio::null());
        Ok(command)
    };
    rows.extend(looks(rounds, command).await?);
    match daemon()? {
        Some(pid) => idle(pid, span, "the daemon on this machine", rows).await?,
        None => println!("No daemon runs here, so there is nothing idle to measure."),
    }
    Ok(())
}

/// `eyewall run`, by its name and first argument.
fn daemon() -> Result<Option<u32>> {
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        if words.next().is_some_and(|program| program.ends_with(b"eyewall")) && words.next() == Some(b"run") {
            return Ok(path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok()));
        }
    }
    Ok(None)
}

async fn looks(rounds: &Rounds, command: impl Fn(&[&str]) -> Result<Command>) -> Result<Vec<Row>> {
    let [without, with] = rounds.looks;
    let (wall, cpu) = repeated(without, || command(&["check", "--json", "--no-probes"])).await?;
    let (all_wall, all_cpu) = repeated(with, || command(&["check", "--json"])).await?;
    let probes = |all: &[Duration], rest: &[Duration]| median(all).saturating_sub(median(rest)).as_secs_f64() * 1e3;
    let (probes_wall, probes_cpu) = (probes(&all_wall, &wall), probes(&all_cpu, &cpu));
    Ok(vec![
        Row::new(
            "a whole look at the host without probes (eyewall check --no-probes), wall",
            "<= 150 ms",
            spread(wall),
        ),
        Row::new("of that, CPU of the process and its children", "", spread(cpu)),
        Row::new("a whole look with probes (eyewall check), wall", "", spread(all_wall)),
        Row::new("of that, CPU of the process and its children", "", spread(all_cpu)),
        Row::new(
            "the probes apart (difference of the medians)",
            "",
            format!("{probes_wall:.1} ms, {probes_cpu:.1} ms of them CPU"),
        ),
    ])
}

/// Wall and CPU time of each of so many runs.
async fn repeated(times: usize, command: impl Fn() -> Result<Command>) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let before = of_children()?;
        let start = Instant::now();
        let output = command()?.output().await.context("eyewall check")?;
        wall.push(start.elapsed());
        cpu.push(of_children()?.saturating_sub(before));
        // Good or not is the host's matter; that it was judged is not.
        ensure!(output.stdout.starts_with(b"{"), "{}", String::from_utf8_lossy(&output.stderr));
        if output.status.code().is_none_or(|code| code > 1) {
            bail!("{:?}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        }
    }
    Ok((wall, cpu))
}

/// Of every child that ended and was waited for.
fn of_children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let length = |time: TimeVal| {
        let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
        Duration::from_micros(micros.unsigned_abs())
    };
    Ok(length(usage.user_time()) + length(usage.system_time()))
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
