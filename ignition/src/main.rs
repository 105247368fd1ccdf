//! `eyewall-ignition`: prints the Ignition fragment that installs eyewall on a host.
//!
//! Exit codes: 0 printed, 1 a file could not be read, 64 the command line asks for something that cannot be.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{ArgGroup, Parser};
use eyewall_ignition::{Binary, Options, Os, Platform, Role, render};

/// EX_USAGE of sysexits(3).
const USAGE: u8 = 64;

/// Print the Ignition fragment (spec 3.3.0) that installs eyewall on a host
#[derive(Debug, Parser)]
#[command(name = "eyewall-ignition", version)]
#[command(group = ArgGroup::new("binary").required(true).args(["binary_url", "binary_file"]))]
struct Cli {
    /// The host's operating system
    #[arg(long, value_enum)]
    os: Os,
    /// What the node is for
    #[arg(long, value_enum)]
    role: Role,
    /// Where the host runs
    #[arg(long, value_enum)]
    platform: Platform,
    /// Let Ignition fetch the binary from here
    #[arg(long, value_name = "URL", requires = "binary_sha512")]
    binary_url: Option<String>,
    /// The SHA-512 that the fetched binary must have
    #[arg(long, value_name = "HEX", requires = "binary_url")]
    binary_sha512: Option<String>,
    /// Put this binary into the fragment instead
    #[arg(long, value_name = "FILE")]
    binary_file: Option<PathBuf>,
    /// An eyewall.toml to install; the other options win over it
    #[arg(long, value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Put this bootstrap kubeconfig at /etc/kubernetes/kubeconfig (0600); left out, it is delivered otherwise
    #[arg(long, value_name = "FILE")]
    bootstrap_kubeconfig: Option<PathBuf>,
    /// The Node's name; left out, the hostname
    #[arg(long, value_name = "NODE")]
    name: Option<String>,
    /// The kubelet's image; give it again for each fallback
    #[arg(long, value_name = "REF")]
    image: Vec<String>,
    /// Print it for people
    #[arg(long)]
    pretty: bool,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap's own code is 2; sysexits' EX_USAGE is what scripts are promised. Help is no error.
            let _ = error.print();
            return if error.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let pretty = cli.pretty;
    let options = match options(cli) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("eyewall-ignition: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    match render(&options, pretty) {
        Ok(text) => print(&text),
        Err(error) => {
            eprintln!("eyewall-ignition: {error} ({})", error.kind());
            USAGE.into()
        }
    }
}

/// A reader that goes away (`| head`) is its own business, a full disk is not.
fn print(text: &str) -> ExitCode {
    use std::io::Write;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("eyewall-ignition: the fragment could not be written: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options(cli: Cli) -> anyhow::Result<Options> {
    let binary = match (cli.binary_url, cli.binary_file) {
        (Some(url), _) => Binary::Url { url, sha512: cli.binary_sha512.unwrap_or_default() },
        (None, file) => {
            let file = file.unwrap_or_default();
            Binary::Inline(std::fs::read(&file).with_context(|| could_not_read(&file))?)
        }
    };
    Ok(Options {
        os: cli.os,
        role: cli.role,
        platform: cli.platform,
        binary,
        config_file: cli.config_file.as_deref().map(read).transpose()?,
        bootstrap_kubeconfig: cli.bootstrap_kubeconfig.as_deref().map(read).transpose()?,
        name: cli.name,
        images: cli.image,
    })
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| could_not_read(path))
}

fn could_not_read(path: &Path) -> String {
    format!("{} could not be read", path.display())
}
