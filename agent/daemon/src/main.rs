//! `eyewall`: the node agent and the tool that asks it. One binary, because one file is one URL, one hash and one version.
//!
//! Exit codes: 0 good, 1 not good or failed, 64 usage, 78 configuration.

mod anybody;
mod api;
mod bootstrap;
mod capabilities;
mod certificates;
mod chain;
mod clock;
mod clock_steps;
mod config_file;
mod events;
mod hints;
mod host;
mod journal;
mod kubelet;
mod limits;
mod orders;
mod posture;
mod query;
mod reboot;
mod renewals;
mod run;
mod serving;
mod socket;
mod store;
mod supervisor;
mod textfile;
mod time_service;
mod verb;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What is freed is wiped. A private key and the bootstrap token pass through buffers of parsers, TLS and HTTP that no type of ours
/// can reach; none of them is to be found in this process once it is at rest (`tests/tests/memory.rs`).
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> = zeroizing_alloc::ZeroAlloc(std::alloc::System);

/// The node agent of a Typhoon-style cluster: the kubelet, its certificate and its host.
#[derive(Debug, Parser)]
#[command(name = "eyewall", version, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    global: verb::Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The daemon (what eyewall.service runs)
    Run(run::Args),
    /// Start the kubelet's container in place of this process (what kubelet.service runs)
    Kubelet(verb::kubelet::Args),
    /// The node on one screen
    Status(verb::status::Args),
    /// The kubelet's certificate; `renew` now; `needs-renewal` for scripts
    Certificates(verb::certificates::Args),
    /// Every claim of the security page, judged with evidence
    Check(verb::check::Args),
    /// Capture what the checks read, secrets removed
    Evidence(verb::evidence::Args),
    /// May this host reboot, and why (not); `request` a reboot in turn
    Reboot(verb::reboot::Args),
    /// Keep this host up until it is released (root only)
    Hold(verb::reboot::WhyArgs),
    /// Let go of a hold, a request, or a slot that is kept (root only)
    Release,
    /// Break the glass: reboot now, whatever window, hold, slots and health say (root only)
    Force(verb::reboot::WhyArgs),
    /// What happened, as the journal has it
    Events(verb::events::Args),
    /// One self-contained page: certificate, forecasts, kubelet, what happened
    Report(verb::report::Args),
    /// The events' message catalog, for journalctl -x
    Catalog(verb::catalog::Args),
    /// A config file's faults, all at once
    Validate(verb::validate::Args),
    /// Shell completions
    Completions(verb::completions::Args),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap's own code is 2; sysexits' EX_USAGE is what units and scripts are promised.
            let _ = error.print();
            return if error.use_stderr() { verb::USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    match cli.verb {
        Verb::Run(args) => run::main(&cli.global, &args),
        Verb::Kubelet(args) => verb::kubelet::main(&cli.global, &args),
        Verb::Status(args) => verb::status::main(&cli.global, &args),
        Verb::Certificates(args) => verb::certificates::main(&cli.global, &args),
        Verb::Check(args) => verb::check::main(&cli.global, &args),
        Verb::Evidence(args) => verb::evidence::main(&cli.global, &args),
        Verb::Reboot(args) => verb::reboot::main(&cli.global, &args),
        Verb::Hold(args) => verb::reboot::hold(&cli.global, &args),
        Verb::Release => verb::reboot::release(&cli.global),
        Verb::Force(args) => verb::reboot::force(&cli.global, &args),
        Verb::Events(args) => verb::events::main(&cli.global, &args),
        Verb::Report(args) => verb::report::main(&cli.global, &args),
        Verb::Catalog(args) => verb::catalog::main(&args),
        Verb::Validate(args) => verb::validate::main(&args),
        Verb::Completions(args) => verb::completions::main(&args),
    }
}
