//! Measures what the agent promises about speed and size, against the real binary and the API stand-in, and prints a table
//! with the aim beside it. It judges nothing: machines are noisy, so each row is told with its spread.
//!
//! `--quick` does the same work in fewer rounds; the labels say how many.

use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use eyewall_core::status::Health;
use tests::apiserver::{ApiServer, Options};
use tests::bus::Bus;
use tests::bus::systemd::{Systemd, Unit};
use tests::node::{Node, binary};
use tokio::time::{Instant, sleep};

#[derive(Parser)]
struct Args {
    /// Fewer rounds
    #[arg(long)]
    quick: bool,
}

struct Rounds {
    joins: usize,
    renewals: u64,
    idle: Duration,
    reads: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let rounds = if Args::parse().quick {
        Rounds { joins: 10, renewals: 200, idle: Duration::from_secs(60), reads: 500 }
    } else {
        Rounds { joins: 50, renewals: 1_000, idle: Duration::from_secs(60), reads: 5_000 }
    };
    let mut rows = Vec::new();
    joins(&rounds, &mut rows).await?;
    ready(&rounds, &mut rows).await?;
    life(&rounds, &mut rows).await?;
    let size = std::fs::metadata(binary()?)?.len();
    rows.push(Row::new("binary, as built", "<= 6 MB (release)", format!("{:.2} MB", size as f64 / 1e6)));
    println!("\n| measured | aim | got |\n|---|---|---|");
    for row in rows {
        println!("| {} | {} | {} |", row.what, row.aim, row.got);
    }
    println!(
        "\nReference, of the same kind of machine (a real kubelet 1.36 against a real API server): join 159-372 ms, RSS 79-86 MB."
    );
    Ok(())
}

struct Row {
    what: String,
    aim: &'static str,
    got: String,
}

impl Row {
    fn new(what: impl Into<String>, aim: &'static str, got: impl Into<String>) -> Self {
        Self { what: what.into(), aim, got: got.into() }
    }
}

/// Median, and the range in which nine of ten lie.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: f64| times.get(((times.len() - 1) as f64 * share) as usize).copied().unwrap_or_default();
    format!(
        "median {:.2} ms (5-95 %: {:.2}-{:.2}, n = {})",
        at(0.5).as_secs_f64() * 1e3,
        at(0.05).as_secs_f64() * 1e3,
        at(0.95).as_secs_f64() * 1e3,
        times.len()
    )
}

/// Process start to an installed certificate, and the signer's own share of it in the same runs: from the request's
/// appearance on the stand-in to its issue. Looked at every 0.2 ms, so each number is that much too long at the most.
async fn joins(rounds: &Rounds, rows: &mut Vec<Row>) -> Result<()> {
    let (mut total, mut signer, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds.joins {
        let api = ApiServer::start(Options::default()).await?;
        let mut node = Node::new("node-a")?;
        node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
        let start = Instant::now();
        node.start()?;
        let (mut created, mut issued) = (None, None);
        while !is_installed(&node.current()) {
            if start.elapsed() > Duration::from_secs(10) {
                bail!("no certificate: {}", node.log());
            }
            if issued.is_none()
                && let Some(csr) = api.csrs().first()
            {
                created.get_or_insert_with(|| start.elapsed());
                issued = csr.issued().then(|| start.elapsed());
            }
            sleep(Duration::from_micros(200)).await;
        }
        let took = start.elapsed();
        let alone = issued.unwrap_or(took).saturating_sub(created.unwrap_or(took));
        total.push(took);
        signer.push(alone);
        rest.push(took.saturating_sub(alone));
        node.kill().await?;
    }
    rows.push(Row::new("process start to installed certificate", "", spread(total)));
    rows.push(Row::new("of that, the signer alone (CREATE to issued)", "", spread(signer)));
    rows.push(Row::new("of that, the agent", "<= 25 ms", spread(rest)));
    Ok(())
}

fn is_installed(current: &Path) -> bool {
    std::fs::symlink_metadata(current).is_ok_and(|meta| meta.is_symlink())
}

/// Process start to READY=1, heard as systemd hears it.
async fn ready(rounds: &Rounds, rows: &mut Vec<Row>) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..rounds.joins {
        let api = ApiServer::start(Options::default()).await?;
        let mut node = Node::new("node-a")?;
        node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
        let path = node.path("notify");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        node.environment("NOTIFY_SOCKET", &path.display().to_string());
        let start = Instant::now();
        node.start()?;
        let mut message = [0; 4_096];
        loop {
            let length = socket.recv(&mut message).context("no READY=1")?;
            if String::from_utf8_lossy(&message[..length]).lines().any(|line| line == "READY=1") {
                break;
            }
        }
        times.push(start.elapsed());
        node.kill().await?;
    }
    rows.push(Row::new("process start to READY=1", "<= 50 ms", spread(times)));
    Ok(())
}

/// One long-lived daemon on a good node: idle, renewing, and read.
async fn life(rounds: &Rounds, rows: &mut Vec<Row>) -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let mut node = Node::new("node-a")?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    // A good node is what idles: a systemd on a bus that says so, and a kubelet whose port answers.
    let bus = Bus::start().await?;
    let systemd = Systemd::start(&bus).await?;
    node.environment("DBUS_SYSTEM_BUS_ADDRESS", &bus.address());
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    node.configure(&format!("[kubelet]\nhealth = \"https://{port}/healthz\"\n"))?;
    node.start()?;
    node.wait_for(Duration::from_secs(10), "valid", "certificate-valid").await?;
    let mut kubelet = tokio::process::Command::new(binary()?.with_file_name("kubelet-standin"))
        .arg(format!("--kubeconfig={}", node.path("kubelet.kubeconfig").display()))
        .arg("--hostname-override=node-a")
        .env("KUBELET_STANDIN_LISTEN", port.to_string())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("the kubelet stand-in: cargo build -p tests")?;
    systemd.set("kubelet.service", Unit::running(kubelet.id().unwrap_or(1))).await?;
    node.wait(Duration::from_secs(30), |status| status.health == Health::Good).await?;
    let pid = node.pid().context("it runs")?;
    let seconds = rounds.idle.as_secs();

    sleep(Duration::from_secs(2)).await;
    let before = switches(pid)?;
    sleep(rounds.idle).await;
    let per_minute = (switches(pid)? - before) as f64 * 60.0 / rounds.idle.as_secs_f64();
    rows.push(Row::new(format!("RSS of a good node after {seconds} s idle"), "<= 8 MB", memory(pid)?));
    rows.push(Row::new(
        format!("context switches a minute, idle (over {seconds} s, all threads)"),
        "<= 12",
        format!("{per_minute:.1}"),
    ));

    let mut times = Vec::new();
    for done in 0..rounds.renewals {
        let start = Instant::now();
        let (code, body) = node.request("POST", "/v1/certificates/renew").await?;
        if code >= 300 {
            bail!("renew: {code} {body}");
        }
        node.wait(Duration::from_secs(10), |status| status.certificates.installed_total == done + 2).await?;
        times.push(start.elapsed());
    }
    rows.push(Row::new(format!("RSS after {} renewals", rounds.renewals), "<= 8 MB, flat", memory(pid)?));
    rows.push(Row::new(
        "a renewal, asked over the socket to seen in the status (polled every 10 ms)",
        "",
        spread(times),
    ));

    let socket = node.socket();
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let (socket, reads) = (socket.clone(), rounds.reads);
            std::thread::spawn(move || read(&socket, reads))
        })
        .collect();
    let mut times = Vec::new();
    for reader in readers {
        times.extend(reader.join().map_err(|_| anyhow::anyhow!("a reader panicked"))??);
    }
    times.sort();
    let at = |share: f64| {
        times.get(((times.len() - 1) as f64 * share) as usize).copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    rows.push(Row::new(
        format!("GET /v1/status, 8 readers on kept connections ({} reads)", times.len()),
        "p99 <= 1 ms",
        format!("p50 {:.3} ms, p99 {:.3} ms, worst {:.2} ms", at(0.5), at(0.99), at(1.0)),
    ));
    node.kill().await?;
    kubelet.kill().await?;
    Ok(())
}

/// Reads the status over one kept connection. Returns how long each read took.
fn read(socket: &Path, reads: usize) -> Result<Vec<Duration>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut times = Vec::with_capacity(reads);
    let mut buffer = vec![0; 64 * 1024];
    for _ in 0..reads {
        let start = Instant::now();
        stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: eyewall\r\n\r\n")?;
        let mut got = 0;
        loop {
            let more = stream.read(&mut buffer[got..])?;
            if more == 0 {
                bail!("the daemon closed a kept connection after {} reads", times.len());
            }
            got += more;
            if is_whole(&buffer[..got])? {
                break;
            }
        }
        times.push(start.elapsed());
    }
    Ok(times)
}

fn is_whole(answer: &[u8]) -> Result<bool> {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(false) };
    let length: usize = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length:").map(|length| length.trim().to_owned())
        })
        .context("no Content-Length")?
        .parse()?;
    Ok(body.len() >= length)
}

fn memory(pid: u32) -> Result<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let of = |field: &str| {
        let line = status.lines().find(|line| line.starts_with(field))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok()
    };
    let (all, own) = (of("VmRSS:").context("VmRSS")?, of("RssAnon:").context("RssAnon")?);
    Ok(format!("{:.2} MB ({:.2} MB anonymous)", all / 1024.0, own / 1024.0))
}

/// Voluntary and other context switches of all threads.
fn switches(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = std::fs::read_to_string(task?.path().join("status"))?;
        for line in status.lines().filter(|line| line.contains("ctxt_switches")) {
            sum += line.split_whitespace().nth(1).and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(sum)
}
