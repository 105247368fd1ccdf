//! Measures what the agent promises about speed and size, against the real binary and the API stand-in, and prints a table
//! with the aim beside it. It judges nothing: machines are noisy, so each row is told with its spread.
//!
//! `--quick` does the same work in fewer rounds; the labels say how many. `--posture` measures this machine as it is, and nothing else: on a node.

mod posture;
mod process;

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
    /// The posture alone, of this machine with its own bus, configuration and daemon
    #[arg(long)]
    posture: bool,
}

struct Rounds {
    joins: usize,
    renewals: u64,
    idle: Duration,
    reads: usize,
    /// Looks at the host, without probes and with them.
    looks: [usize; 2],
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let minute = Duration::from_secs(60);
    let rounds = if args.quick {
        Rounds { joins: 10, renewals: 200, idle: minute, reads: 500, looks: [20, 5] }
    } else {
        Rounds { joins: 50, renewals: 1_000, idle: minute, reads: 5_000, looks: [100, 20] }
    };
    let mut rows = Vec::new();
    if args.posture {
        let span = if args.quick { Duration::from_secs(20) } else { minute };
        posture::here(&rounds, span, &mut rows).await?;
        print(&rows);
        return Ok(());
    }
    posture::stand_in(&rounds, &mut rows)?;
    joins(&rounds, &mut rows).await?;
    ready(&rounds, &mut rows).await?;
    life(&rounds, &mut rows).await?;
    let size = std::fs::metadata(binary()?)?.len();
    rows.push(Row::new("binary, as built", "<= 6 MB (release)", format!("{:.2} MB", size as f64 / 1e6)));
    print(&rows);
    println!(
        "\nReference, of the same kind of machine (a real kubelet 1.36 against a real API server): join 159-372 ms, RSS 79-86 MB."
    );
    Ok(())
}

fn print(rows: &[Row]) {
    println!("\n| measured | aim | got |\n|---|---|---|");
    for row in rows {
        println!("| {} | {} | {} |", row.what, row.aim, row.got);
    }
    println!("\nReference, of such a machine (lynis 3.0.8, a whole audit): 50-89 s, 42 s of them CPU.");
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

    sleep(Duration::from_secs(2)).await;
    idle(pid, rounds.idle, "a good node", rows).await?;

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
    rows.push(Row::new(format!("RSS after {} renewals", rounds.renewals), "<= 8 MB, flat", process::memory(pid)?));
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

/// What a process costs while nothing happens.
async fn idle(pid: u32, span: Duration, whose: &str, rows: &mut Vec<Row>) -> Result<()> {
    let seconds = span.as_secs();
    let before = (process::switches(pid)?, process::cpu(pid)?);
    sleep(span).await;
    let after = (process::switches(pid)?, process::cpu(pid)?);
    let per_minute = (after.0 - before.0) as f64 * 60.0 / span.as_secs_f64();
    rows.push(Row::new(format!("RSS of {whose} after {seconds} s idle"), "<= 8 MB", process::memory(pid)?));
    rows.push(Row::new(
        format!("context switches a minute, idle (over {seconds} s, all threads)"),
        "<= 12",
        format!("{per_minute:.1}"),
    ));
    rows.push(Row::new(
        format!("CPU of {whose} in {seconds} s idle"),
        "0 ticks",
        format!("{} ticks, {:.2} ms", after.1.ticks - before.1.ticks, (after.1.run - before.1.run).as_secs_f64() * 1e3),
    ));
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
