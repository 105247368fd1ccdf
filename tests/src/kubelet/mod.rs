//! A small stand-in for the kubelet: what runs as `/usr/local/bin/kubelet` in the test's container image.
//!
//! It runs no pods. What it does is what an agent beside it can see: it takes the kubelet's flags, reads its kubeconfig as
//! client-go does, keeps its Node and its Lease, holds one long connection, and serves port 10250. With rotation on it
//! bootstraps and renews its client certificate itself.

mod cluster;
mod flags;
mod kubeconfig;
mod rotation;
mod serving;
mod session;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use flags::Flags;
use session::Session;

/// Writes a line as the container's log shows it.
fn say(line: &str) {
    use std::io::Write as _;

    // A log that cannot be written is no reason for a kubelet to end.
    let _ = writeln!(std::io::stderr().lock(), "kubelet-standin: {line}");
}

/// The program: parses the process's arguments and runs until SIGTERM or SIGINT. What the real kubelet refuses at its start,
/// such as an unknown flag or a missing file, ends it with 1.
pub fn main() -> ExitCode {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) if error.use_stderr() => {
            say(&format!("failed to parse kubelet flag: {error}"));
            return ExitCode::FAILURE;
        }
        Err(help) => {
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    match run(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("failed to run Kubelet: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Flags) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(until_told_to_end(flags));
    // A name that is just being looked up must not hold up the end: this may be process 1 of a container.
    runtime.shutdown_background();
    result
}

async fn until_told_to_end(flags: &Flags) -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let node = flags.node_name()?;
    say(&format!("started pid={} node={node}", std::process::id()));
    let mut configuration = String::new();
    if let Some(config) = &flags.config {
        configuration = std::fs::read_to_string(config)
            .with_context(|| format!("failed to load kubelet config file, path: {}", config.display()))?;
    }
    let kubeconfig =
        flags.kubeconfig.as_deref().context("--kubeconfig is needed: this stand-in has no standalone mode")?;
    let rotation = flags.rotates(&configuration).then(|| rotation::begin(flags, kubeconfig, &node)).transpose()?;
    let session = Arc::new(match &rotation {
        Some(rotation) => rotation.session(),
        None => Session::new(kubeconfig::read(kubeconfig)?)?,
    });
    let renewing = async {
        match &rotation {
            Some(rotation) => rotation.keep(&session).await,
            None => std::future::pending().await,
        }
    };
    let work = async {
        tokio::try_join!(
            serving::serve(&node, &flags.cert_dir),
            cluster::keep_node(&session, &node, flags),
            cluster::keep_lease(&session, &node),
            cluster::keep_watch(&session, &node),
            session.keep_looking(),
            renewing,
        )
    };
    tokio::select! {
        result = work => result.map(|_: (Never, Never, Never, Never, Never, Never)| ()),
        _ = terminate.recv() => { say("ended by SIGTERM"); Ok(()) }
        _ = interrupt.recv() => { say("ended by SIGINT"); Ok(()) }
    }
}

/// What a loop that never ends returns.
type Never = std::convert::Infallible;
