//! `eyewall check`: every posture check once, on this host or on a captured one. Exit code 0 if the posture is good.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ValueEnum;
use eyewall_core::config::Config;
use eyewall_core::posture::{ExpectationFault, Expectations, Published, Report, judge, render};
use eyewall_core::status::Health;

use super::terminal::{Terminal, print};
use super::{CONFIG, Global};
use crate::posture::once;
use crate::query::{Client, runtime, sentence};

/// The flags of `eyewall check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Judge the host that was captured into this directory by `eyewall evidence`, instead of this one
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
    /// How to tell it
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// The same as --format json
    #[arg(long)]
    json: bool,
    /// In text: also by what each passing check was judged
    #[arg(long)]
    all: bool,
    /// Show what the running daemon has judged, without a look of this process's own
    #[arg(long, conflicts_with = "evidence", conflicts_with = "no_probes")]
    daemon: bool,
    /// Show what changed, newest first, as the running daemon keeps it over its restarts
    #[arg(long, conflicts_with_all = ["evidence", "no_probes", "daemon", "format", "all"])]
    changes: bool,
    /// Show every check: what a pass proves, what it does not, and what configuration may say of it
    #[arg(long, conflicts_with_all = ["evidence", "no_probes", "daemon", "format", "all", "changes", "json"])]
    list: bool,
    /// Ask nothing over the network: neither sshd nor a metadata service, nor ports of this host
    #[arg(long, conflicts_with = "evidence")]
    no_probes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people, grouped by the claims of the security page
    Text,
    /// The document that GET /v1/posture serves
    Json,
    /// SARIF 2.1.0
    Sarif,
    /// JUnit XML
    Junit,
}

/// Runs the verb.
pub fn main(global: &Global, args: &Args) -> ExitCode {
    let terminal = Terminal::of_stdout();
    if args.list {
        print(&render::list(terminal.size().0, terminal.color));
        return ExitCode::SUCCESS;
    }
    if args.changes {
        return match changes(global, args.json, &terminal) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("eyewall check: {}", sentence(&error));
                ExitCode::FAILURE
            }
        };
    }
    let config = match global.load() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("eyewall check: {error:#}");
            return CONFIG.into();
        }
    };
    match report(global, &config, args) {
        Ok(Ok(report)) => {
            let format = if args.json { Format::Json } else { args.format };
            print(&match format {
                Format::Text => render::text(&report, terminal.size().0, terminal.color, args.all),
                Format::Json => render::json(&report),
                Format::Sarif => render::sarif(&report, env!("CARGO_PKG_VERSION")),
                Format::Junit => render::junit(&report),
            });
            if report.health == Health::Good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Ok(Err(faults)) => {
            for fault in faults {
                eprintln!("eyewall check: [posture]: {fault}");
            }
            CONFIG.into()
        }
        Err(error) => {
            eprintln!("eyewall check: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What the daemon remembers.
fn changes(global: &Global, json: bool, terminal: &Terminal) -> anyhow::Result<()> {
    let client = Client::new(&global.socket_path());
    let Published { changes, .. } = runtime()?.block_on(client.get("/v1/posture"))?;
    if json {
        print(&(serde_json::to_string_pretty(&changes)? + "\n"));
    } else if changes.is_empty() {
        print("No verdict has changed.\n");
    } else {
        print(&render::changes(&changes, terminal.size().0, terminal.color));
    }
    Ok(())
}

/// The report, or the faults of `[posture]`.
fn report(global: &Global, config: &Config, args: &Args) -> anyhow::Result<Result<Report, Vec<ExpectationFault>>> {
    if args.daemon {
        let client = Client::new(&global.socket_path());
        let document = runtime()?.block_on(client.document("/v1/posture"))?;
        return Ok(Ok(client.read(&document)?));
    }
    let (evidence, expect) = match &args.evidence {
        Some(directory) => {
            let evidence = once::read(directory).with_context(|| format!("{}", directory.display()))?;
            let expect = Expectations::for_host(&evidence.host, config);
            (evidence, expect)
        }
        None => {
            let evidence = once::capture(config, !args.no_probes)?;
            (evidence, Expectations::new(crate::host::os(config), config))
        }
    };
    Ok(expect.map(|expect| judge(&evidence, &expect)))
}
