//! A thread that is a machine of its own, with a network and mounts that nobody else sees; and a machine beside it, one hop away. Programs that a
//! thread starts, and the threads of its runtime, are in there with it. All of it needs root.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;
use tokio::sync::oneshot;

/// Of the machine of [`alone`] on its way to a neighbour.
const OWN: &str = "192.0.2.2/32";

/// Runs `work` on a thread with a runtime that is a machine of its own: with a loopback interface and no other.
///
/// # Errors
/// No namespaces, or what `work` says.
pub fn alone<T: Send>(work: impl AsyncFnOnce() -> Result<T> + Send) -> Result<T> {
    let live = move || {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).context("no namespaces: the tests need root")?;
        let none = None::<&Path>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("the mounts are not private")?;
        ip("link set lo up")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(work())
    };
    std::thread::scope(|scope| scope.spawn(live).join().map_err(|_| anyhow!("the thread panicked"))?)
}

/// Lays `file` over `place`. Only inside of [`alone`].
///
/// # Errors
/// What mount(2) says.
pub fn lay_over(file: &Path, place: &Path) -> Result<()> {
    mount(Some(file), place, None::<&Path>, MsFlags::MS_BIND, None::<&Path>)
        .with_context(|| format!("{} over {}", file.display(), place.display()))
}

/// A machine at the other end of a cable. Dropping it turns it off.
#[derive(Debug)]
pub struct Neighbour {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Neighbour {
    /// Turns on a machine with this address, which does `work` until it is turned off and says when it is ready. Only inside of [`alone`], and once.
    ///
    /// # Errors
    /// No namespace, or it ends before it is ready.
    pub async fn start(
        address: &str,
        work: impl AsyncFnOnce(oneshot::Sender<()>) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let (number, numbers) = mpsc::channel();
        let (connected, connection) = mpsc::channel();
        let (ready, is_ready) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let its_address = address.to_owned();
        let live = move || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            number.send(gettid())?;
            connection.recv()?;
            ip(&format!("address add {its_address}/32 dev cable"))?;
            ip("link set cable up")?;
            ip(&format!("route add {OWN} dev cable"))?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                tokio::select! {
                    done = work(ready) => done,
                    _ = ended => Ok(()),
                }
            })
        };
        let mut neighbour = Self { end: Some(end), thread: Some(std::thread::spawn(live)) };
        let thread = numbers.recv().context("the neighbour has no namespace")?;
        ip(&format!("link add cable type veth peer name cable netns {thread}"))?;
        ip(&format!("address add {OWN} dev cable"))?;
        ip("link set cable up")?;
        ip(&format!("route add {address}/32 dev cable"))?;
        connected.send(()).context("the neighbour is gone")?;
        if is_ready.await.is_err() {
            let thread = neighbour.thread.take().context("it was started")?;
            thread.join().map_err(|_| anyhow!("the neighbour panicked"))??;
            anyhow::bail!("the neighbour ended before it was ready");
        }
        Ok(neighbour)
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip").args(arguments.split(' ')).output().context("ip: Debian's package iproute2")?;
    ensure!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
