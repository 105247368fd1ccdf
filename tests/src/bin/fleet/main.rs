//! A fleet whose nodes all want to reboot and share a slot: how soon a freed slot is taken, how many hand-overs a second there can be, what it
//! costs the API server, what an idle node costs it, and that no slot is ever granted twice. Each node is the core's decision, the daemon's
//! watch and writes of the slots, and the daemon's HTTP client with a certificate of its own; only the host below it is made up.
//!
//! Without `--kubeconfig` it runs against the stand-in, in the same process: then both share this machine's cores. It judges correctness, and ends
//! with 1 if a slot was granted twice or a node came to something that should not be. Speed is told, with its spread, and not judged.

// The daemon's files that are taken in below have their tests beside them, and those are the daemon's.
#![cfg(not(test))]

mod cluster;
mod node;
mod table;
mod tally;

/// The daemon's own parts, from their files: the daemon is a program and no library, and what is measured is to be what runs on nodes.
#[expect(dead_code, unused_imports, reason = "the daemon uses more of them")]
#[path = "../../../../agent/daemon/src"]
mod daemon {
    pub mod api;
    pub mod bootstrap;
    pub mod chain;
    pub mod host;
    pub mod store;
    pub mod reboot {
        pub mod reach;
        pub mod slots;
    }
}

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Parser;
use daemon::{api, bootstrap, chain, reboot, store};
use eyewall_core::status::Reason;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tests::apiserver::{ApiServer, Options};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use cluster::Cluster;
use node::{Node, Parts, Want, Wanted};
use reboot::reach::Reach;
use table::{Measured, print};
use tally::{Counts, Tally};

/// So many nodes boot at a time: a handshake has a deadline, and a thousand at once would wait for each other.
const BOOT_AT_ONCE: usize = 16;
/// A race is between so many nodes.
const RACERS: usize = 32;
/// A release reaches one node after the other, so far apart on the mean.
const STAGED_EACH: Duration = Duration::from_millis(5);
/// Between two looks at the counts.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Longer than any hand-over should take, beside the reboot in it.
const STUCK: Duration = Duration::from_secs(120);

/// Nodes that share the slots of a group, against a stand-in for the API server or a real one.
#[derive(Debug, Parser)]
#[command(name = "fleet")]
struct Args {
    /// Another API server: a kubeconfig of an administrator, with the credential in it. The group must be there (reboot-slots.yaml) and free. What
    /// stays behind are the nodes' signing requests, which the cluster removes after an hour
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The group whose slots are shared: the ConfigMap reboot-GROUP in kube-system
    #[arg(long, default_value = "fleet")]
    group: String,
    /// How many slots the stand-in's group has
    #[arg(long, default_value_t = 1)]
    slots: u32,
    /// How many nodes [default: 1000, quick: 50]
    #[arg(long)]
    nodes: Option<usize>,
    /// How many hand-overs are timed, with a reboot of --down in each [default: 100, quick: 20]
    #[arg(long)]
    hand_overs: Option<usize>,
    /// How long a reboot takes while hand-overs are timed, in milliseconds: long enough for the fleet to be at rest [default: 1000, quick: 100]
    #[arg(long, value_name = "MS")]
    down: Option<u64>,
    /// How long hand-overs are made as fast as they go, with reboots of no time, in seconds [default: 30, quick: 3]
    #[arg(long, value_name = "S")]
    rush: Option<u64>,
    /// How long the idle fleet is watched, in seconds; 3600 and more is a measurement of the requests an hour [default: 30, quick: 3]
    #[arg(long, value_name = "S")]
    idle: Option<u64>,
    /// How often it is tried to take a slot in races, in which 32 nodes always try at once [default: 100000, quick: 1000]
    #[arg(long)]
    tries: Option<u64>,
    /// Fewer nodes and rounds
    #[arg(long)]
    quick: bool,
}

impl Args {
    fn or<T>(&self, given: Option<T>, full: T, quick: T) -> T {
        given.unwrap_or(if self.quick { quick } else { full })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    allow_files()?;
    let (api, cluster) = match &args.kubeconfig {
        Some(path) => (None, Cluster::read(path)?),
        None => {
            let api = ApiServer::start(Options::default()).await?;
            api.apply_reboot_slots(&args.group, args.slots);
            let cluster = Cluster::of_stand_in(&api)?;
            (Some(api), cluster)
        }
    };
    let count = args.or(args.nodes, 1_000, 50).max(2);
    let tally = Arc::new(Tally::default());
    let names: Vec<String> = (0..count).map(|number| format!("fleet-{number:04}")).collect();
    say(&format!("{count} nodes ask for their certificates"));
    let ways = cluster.join(&names, &tally).await?;
    let nothing = Wanted { want: Want::Nothing, spread: STAGED_EACH * u32::try_from(count)?, down: Duration::ZERO };
    let fleet = Fleet { names, ways, group: args.group.clone(), tally, wanted: watch::Sender::new(nothing) };

    let mut living = fleet.boot(count, daemon::host::draw).await?;
    let limit = living.limit;
    let idle = fleet.idle(Duration::from_secs(args.or(args.idle, 30, 3)), limit, api.as_ref()).await;
    let (enough, down) = (args.or(args.hand_overs, 100, 20), Duration::from_millis(args.or(args.down, 1_000, 100)));
    let timed = fleet.round(&mut living, down, |run| run.counts.waits.len() >= enough).await?;
    let span = Duration::from_secs(args.or(args.rush, 30, 3));
    let rush = fleet.round(&mut living, Duration::ZERO, |run| run.took >= span).await?;
    living.set.shutdown().await;

    let tries = args.or(args.tries, 100_000, 1_000);
    let racers = RACERS.min(count);
    let mut living = fleet.boot(racers, || 0.0).await?;
    let race = fleet.run(limit, Want::Always, Duration::ZERO, |run| run.counts.takes >= tries).await?;
    living.set.shutdown().await;

    let of = if api.is_some() { "the stand-in, in the same process" } else { "the API server of --kubeconfig" };
    let measured = Measured { of, nodes: count, racers, limit, idle, timed, rush, race };
    print(&measured);
    let doubles: u64 = measured.runs().map(|counts| counts.doubles).sum();
    let troubles: Vec<&String> = measured.runs().flat_map(|counts| &counts.troubles).collect();
    if doubles > 0 || !troubles.is_empty() {
        bail!("{doubles} double grants; {troubles:#?}");
    }
    Ok(())
}

/// A connection is two open files here, and the usual limit is 1024.
fn allow_files() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raising the limit of open files")
}

/// Progress, on stderr: the table is the output.
fn say(line: &str) {
    eprintln!("{line}");
}

/// The idle fleet.
#[derive(Clone, Debug)]
pub struct Idle {
    /// For how long it was watched.
    pub span: Duration,
    /// What it did.
    pub counts: Counts,
    /// Open connections at the end, where that can be asked.
    pub open: Option<u64>,
}

/// A fleet that hands slots over.
#[derive(Clone, Debug)]
pub struct Run {
    /// How long it did.
    pub took: Duration,
    /// What it did.
    pub counts: Counts,
}

/// The nodes that live.
struct Living {
    /// How many slots they see.
    limit: u32,
    /// The newest release that was wanted.
    release: u64,
    set: JoinSet<()>,
}

/// All there is to a fleet but its nodes.
struct Fleet {
    names: Vec<String>,
    ways: Vec<Arc<dyn Reach>>,
    group: String,
    tally: Arc<Tally>,
    wanted: watch::Sender<Wanted>,
}

impl Fleet {
    /// Boots the first `count` nodes, none of which wants anything yet.
    async fn boot(&self, count: usize, draw: fn() -> f64) -> Result<Living> {
        let (begun, turns) = (Instant::now(), Arc::new(Semaphore::new(BOOT_AT_ONCE)));
        let mut booting = JoinSet::new();
        for (name, reach) in self.names.iter().zip(&self.ways).take(count) {
            let parts = Parts {
                name: name.clone(),
                group: self.group.clone(),
                reach: Arc::clone(reach),
                wanted: self.wanted.subscribe(),
                tally: Arc::clone(&self.tally),
                draw,
            };
            let turns = Arc::clone(&turns);
            booting.spawn(async move {
                let _turn = turns.acquire().await;
                Node::boot(parts).await
            });
        }
        let mut living = Living { limit: 0, release: 0, set: JoinSet::new() };
        while let Some(node) = booting.join_next().await {
            let node = node?.map_err(|Reason { kind, message }| anyhow!("{kind}: {message}"))?;
            let (limit, holders) = node.limit();
            if limit == 0 || holders > 0 {
                bail!(
                    "the group {} has {limit} slots, {holders} of them taken: it must have some, all free",
                    self.group
                );
            }
            living.limit = limit;
            living.set.spawn(node.live());
        }
        say(&format!("{count} nodes see the {} slots of {} after {:.1?}", living.limit, self.group, begun.elapsed()));
        Ok(living)
    }

    /// Watches a fleet that wants nothing.
    async fn idle(&self, span: Duration, limit: u32, api: Option<&ApiServer>) -> Idle {
        // The connections of the boots are closed by then.
        sleep(Duration::from_secs(1)).await;
        self.tally.begin(limit);
        sleep(span).await;
        let open = api.map(|api| api.look(|view| view.connections_open()));
        say(&format!("idle for {} s", span.as_secs()));
        Idle { span, counts: self.tally.counts(), open }
    }

    /// Lets all nodes reboot into a release, once each, and into the next one when all have, until it is enough.
    async fn round(&self, living: &mut Living, down: Duration, enough: impl Fn(&Run) -> bool) -> Result<Run> {
        let nodes = u64::try_from(living.set.len())?;
        let mut whole = Run { took: Duration::ZERO, counts: Counts::default() };
        loop {
            living.release += 1;
            let want = Want::Release(living.release);
            let so_far = |run: &Run| whole.clone().with(run);
            let run = self.run(living.limit, want, down, |run| enough(&so_far(run)) || run.counts.grants >= nodes);
            whole = so_far(&run.await?);
            if enough(&whole) {
                return Ok(whole);
            }
        }
    }

    /// Lets all nodes want this until it is enough, and then nothing until no slot is held any more.
    async fn run(&self, limit: u32, want: Want, down: Duration, enough: impl Fn(&Run) -> bool) -> Result<Run> {
        self.tally.begin(limit);
        self.wanted.send_modify(|wanted| {
            wanted.want = want;
            wanted.down = down;
        });
        let begun = Instant::now();
        let mut run = Run { took: Duration::ZERO, counts: Counts::default() };
        let mut progress = begun;
        while !enough(&run) {
            sleep(LOOK_EVERY).await;
            let counts = self.tally.counts();
            if counts.grants > run.counts.grants {
                progress = Instant::now();
            } else if progress.elapsed() > STUCK {
                bail!("no slot was granted for {} s: {:#?}", STUCK.as_secs(), counts.troubles);
            }
            run = Run { took: begun.elapsed(), counts };
        }
        self.wanted.send_modify(|wanted| wanted.want = Want::Nothing);
        let stopping = Instant::now();
        while self.tally.holders() > 0 {
            if stopping.elapsed() > STUCK {
                bail!("a slot is still held after {} s: {:#?}", STUCK.as_secs(), self.tally.counts().troubles);
            }
            sleep(LOOK_EVERY).await;
        }
        // What is counted as freed is freed when its PATCH is answered, and all have seen it.
        sleep(Duration::from_secs(1)).await;
        let ended = self.tally.counts();
        run.counts.doubles = ended.doubles;
        run.counts.troubles = ended.troubles;
        say(&format!("{} slots granted in {:.1?}", run.counts.grants, run.took));
        Ok(run)
    }
}

impl Run {
    /// This and what followed, as one.
    fn with(mut self, more: &Self) -> Self {
        self.took += more.took;
        self.counts.add(&more.counts);
        self
    }
}
