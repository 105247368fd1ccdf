//! `vm-tests/up`: a node in a virtual machine, to be looked at. The script beside this package builds and starts it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use eyewall_core::status::Health;
use tests::apiserver::{ApiServer, Signing};
use tokio::signal::unix::{SignalKind, signal};
use vm_tests::{KubeletImage, Lab, MadeBy, NodeSpec, Runtime, Vm, scene};

/// How long a node may take to be good, with `--once`.
const GOOD: Duration = Duration::from_secs(300);
/// Memory for the kubelet's stand-in, MiB, and for a real kubelet with its containerd.
const SMALL: u32 = 1024;
const LARGE: u32 = 2048;

/// Boot a node in a virtual machine and show `eyewall status --watch` of it; Ctrl-C ends all of it
#[derive(Debug, Parser)]
#[command(name = "vm-tests/up")]
struct Cli {
    /// Print the status when the node is good, and end: 0 if it is good within five minutes, 1 if not
    #[arg(long)]
    once: bool,
    /// What runs the kubelet's container: podman as on Fedora CoreOS, docker as on Flatcar
    #[arg(long, value_enum, default_value_t = RuntimeArg::Podman)]
    runtime: RuntimeArg,
    /// Join this cluster instead of a stand-in on this machine, which the node sees as 10.0.2.2
    #[arg(long, value_name = "FILE")]
    bootstrap_kubeconfig: Option<PathBuf>,
    /// Run this image instead of a stand-in for the kubelet, and containerd beside it (skopeo copy docker://... oci-archive:FILE)
    #[arg(long, value_name = "OCI-ARCHIVE")]
    kubelet_image: Option<PathBuf>,
    /// The node's hostname
    #[arg(long, default_value = "node-a", value_name = "NAME")]
    name: String,
    /// The life of the stand-in's certificates in seconds; 60 is short enough to watch renewals
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(30..), conflicts_with = "bootstrap_kubeconfig")]
    certificate_life: Option<u64>,
    /// Memory of the machine, MiB; 1024, or 2048 with --kubelet-image
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(512..))]
    memory: Option<u32>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RuntimeArg {
    Podman,
    Docker,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime")
        .and_then(|runtime| runtime.block_on(until_told_to_end(&cli)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vm-tests/up: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whatever ends it, the machine is switched off and its files are removed: they are dropped.
async fn until_told_to_end(cli: &Cli) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        result = up(cli) => result,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        _ = terminate.recv() => bail!("ended by SIGTERM"),
        _ = hang_up.recv() => bail!("the terminal is gone"),
    }
}

async fn up(cli: &Cli) -> Result<()> {
    // Before minutes are spent: what was given must be there.
    let given = cli.bootstrap_kubeconfig.as_deref().map(|file| {
        std::fs::read_to_string(file).with_context(|| format!("the kubeconfig {} cannot be read", file.display()))
    });
    let given = given.transpose()?;
    if let Some(archive) = &cli.kubelet_image {
        ensure!(archive.is_file(), "the image {} is not there", archive.display());
    }

    let lab = Lab::open().await?;
    let work = lab.cache.work_directory()?;
    let image = match &cli.kubelet_image {
        Some(archive) => KubeletImage::of_archive(archive, work.path()).await?,
        None => KubeletImage::build(&lab.root, &beside_this("kubelet-standin")?, work.path()).await?,
    };
    let (_api, bootstrap_kubeconfig) = match given {
        Some(text) => (None, text),
        None => {
            let signing = cli
                .certificate_life
                .map_or_else(Signing::default, |seconds| scene::short_lived(Duration::from_secs(seconds)));
            let api = ApiServer::start(scene::cluster(signing)).await?;
            lab.progress.say(&format!("an API server stand-in listens on {}", api.address()));
            let kubeconfig = api.bootstrap_kubeconfig();
            (Some(api), kubeconfig)
        }
    };
    let spec = NodeSpec {
        name: cli.name.clone(),
        runtime: match cli.runtime {
            RuntimeArg::Podman => Runtime::Podman,
            RuntimeArg::Docker => Runtime::Docker,
        },
        made_by: MadeBy::Eyewall,
        eyewall: beside_this("eyewall")?,
        image,
        bootstrap_kubeconfig,
        config: String::new(),
        containerd: cli.kubelet_image.is_some(),
        memory: cli.memory.unwrap_or(if cli.kubelet_image.is_some() { LARGE } else { SMALL }),
        programs: Vec::new(),
    };
    let vm = Vm::boot(&lab, &spec).await?;
    if cli.once { once(&vm).await } else { watch(&vm).await }
}

async fn once(vm: &Vm) -> Result<()> {
    vm.progress().say("waiting for a good node");
    let good = vm.wait_for("a good node", GOOD, async |vm| {
        let status = vm.status().await?;
        ensure!(
            status.health == Health::Good,
            "{}; {}",
            status.certificates.reason.message,
            status.kubelet.reason.message
        );
        Ok(())
    });
    let result = good.await;
    // Also of a node that is not good: it says why.
    print!("{}", vm.guest().run("/opt/bin/eyewall status").await?.stdout);
    result
}

async fn watch(vm: &Vm) -> Result<()> {
    vm.progress().say(&format!("from another terminal: {}", vm.guest().ssh_line()));
    let mut ssh = vm.guest().ssh();
    // With a terminal Ctrl-C goes to the program in the guest; its end is then ours.
    ssh.args(["-t", "--", "/opt/bin/eyewall status --watch"]);
    let status = ssh.status().await.context("ssh")?;
    // 130: it was ended by Ctrl-C.
    ensure!(matches!(status.code(), Some(0 | 1 | 130)), "the node is gone ({status}):\n{}", vm.console_tail(20));
    Ok(())
}

/// A program that cargo built together with this one.
fn beside_this(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.is_file(), "{} is not there: start this with vm-tests/up, which builds it", path.display());
    Ok(path)
}
