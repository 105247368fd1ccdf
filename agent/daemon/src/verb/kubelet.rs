//! `eyewall kubelet`: what kubelet.service runs. It ends in execve, so that systemd supervises the container runtime itself
//! and the agent is nowhere in between.

mod take_over;

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use eyewall_core::config::Config;
use eyewall_core::event;
use eyewall_core::hostname::node_name;
use eyewall_core::kubelet::PlanFault;
use serde_json::json;

use super::terminal::print;
use super::{CONFIG, Global, USAGE};
use crate::config_file::Files;
use crate::events::Events;
use crate::kubelet::RECORD;
use crate::kubelet::place::Root;
use crate::kubelet::start::{End, Patience, Planned, Ready, Request, StartFault, end, plan_for, prepare, take_back};
use crate::query::runtime;
use crate::{host, journal};

/// The flags of `eyewall kubelet`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A flag for the kubelet, after those of the configuration; may be given again
    #[arg(long = "extra-arg", value_name = "FLAG", allow_hyphen_values = true)]
    extra: Vec<String>,
    /// The node's name; wins over node.name
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    print: bool,
    /// With --print: as JSON
    #[arg(long, requires = "print")]
    json: bool,
    /// A directory that stands for / where files are read and written; for tests
    #[arg(long, value_name = "DIR", default_value = "/", hide = true, global = true)]
    root: PathBuf,
    #[command(subcommand)]
    end: Option<EndVerb>,
}

/// What becomes of the container.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
enum EndVerb {
    /// Stop the kubelet's container (ExecStop=)
    Stop,
    /// Remove the kubelet's container, running or not (ExecStopPost=)
    Remove,
    /// Show or write the two files that make this host's kubelet.service eyewall's, with the flags of the kubelet that runs
    TakeOver(take_over::Args),
}

/// Runs the verb. Where all goes well it does not return.
pub fn main(global: &Global, args: &Args) -> ExitCode {
    match args.end {
        None => {}
        Some(EndVerb::Stop) => return end_container(global, args, End::Stop),
        Some(EndVerb::Remove) => return end_container(global, args, End::Remove),
        Some(EndVerb::TakeOver(flags)) => {
            let plan = |config| Ok(plan_for(&request(args, config))?.plan);
            return take_over::main(&files(global, args), &Root::new(&args.root), flags, plan);
        }
    }
    if let Some(name) = &args.node_name
        && let Err(fault) = node_name(Some(name), "")
    {
        eprintln!("eyewall kubelet: --node-name: {fault}");
        return USAGE.into();
    }
    let config = match files(global, args).load() {
        Ok(loaded) => loaded.config,
        Err(faults) if args.print => {
            eprintln!("{faults}");
            return CONFIG.into();
        }
        Err(faults) => {
            journal::init();
            for fault in &faults {
                tracing::error!("{fault}");
            }
            return fail(&Events::new(), faults.kind(), &faults.reason().message, CONFIG);
        }
    };
    let request = request(args, config);
    if args.print {
        return show(&request, args.json);
    }
    journal::init();
    let events = Events::new();
    // A small runtime for the waits; it is gone before anything is executed in place of this process.
    let prepared = runtime().map(|runtime| runtime.block_on(prepare(&request, &events)));
    match prepared {
        Ok(Ok(ready)) => become_runtime(&request, &ready, &events),
        Ok(Err(fault)) => fail(&events, fault.kind(), &fault.to_string(), code(&fault)),
        Err(error) => fail(&events, "out-of-resources", &error.to_string(), 1),
    }
}

fn files(global: &Global, args: &Args) -> Files {
    Files { path: global.config.clone(), node_name: args.node_name.clone(), socket: None }
}

fn request(args: &Args, config: Config) -> Request {
    let root = Root::new(&args.root);
    Request {
        config,
        extra: args.extra.clone(),
        record: root.at(RECORD),
        root,
        path: std::env::var_os("PATH"),
        hostname: host::hostname(),
        patience: Patience::default(),
    }
}

/// 64 for what was wrong on the command line, 1 for what was wrong with the host.
fn code(fault: &StartFault) -> u8 {
    match fault {
        StartFault::Plan(PlanFault::ExtraArg { .. }) => USAGE,
        StartFault::Plan(_) => CONFIG,
        _ => 1,
    }
}

fn fail(events: &Events, kind: &str, message: &str, code: u8) -> ExitCode {
    events.emit(
        &event::KUBELET_START_FAILED,
        format!("the kubelet could not be started: {message}"),
        &[("kind", kind)],
    );
    code.into()
}

fn become_runtime(request: &Request, ready: &Ready, events: &Events) -> ExitCode {
    let error = Command::new(&ready.program).args(&ready.arguments).exec();
    take_back(request);
    let message = format!("{} cannot be run: {error}", ready.program.display());
    fail(events, "container-runtime-not-run", &message, 1)
}

fn end_container(global: &Global, args: &Args, what: End) -> ExitCode {
    // A container must be stopped whatever the configuration says by now.
    let config = match files(global, args).load() {
        Ok(loaded) => loaded.config,
        Err(_) => Config::default(),
    };
    let request = request(args, config);
    let ended = runtime().map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(end(&request, what)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("eyewall kubelet: the container is still there: {why}");
            ExitCode::FAILURE
        }
    }
}

fn show(request: &Request, as_json: bool) -> ExitCode {
    let planned = match plan_for(request) {
        Ok(planned) => planned,
        Err(fault) => {
            eprintln!("eyewall kubelet: {fault} ({})", fault.kind());
            return code(&fault).into();
        }
    };
    print(&if as_json { show_json(&planned) } else { show_text(&planned) });
    ExitCode::SUCCESS
}

fn runs(planned: &Planned) -> Vec<Vec<String>> {
    let Planned { plan, program } = planned;
    let line = |arguments: Vec<String>| {
        let mut line = vec![program.display().to_string()];
        line.extend(arguments);
        line
    };
    let first = plan.images.first().map(|image| line(plan.run(image)));
    let remove = line(plan.runtime.remove());
    std::iter::once(remove).chain(first).collect()
}

fn show_json(planned: &Planned) -> String {
    let Planned { plan, program } = planned;
    let images: Vec<&str> = plan.images.iter().map(|image| image.as_str()).collect();
    let document = json!({
        "runtime": plan.runtime.id,
        "program": program,
        "directories": plan.directories,
        "root_only": plan.root_only,
        "authority": plan.authority,
        "configuration": plan.configuration,
        "images": images,
        "commands": runs(planned),
    });
    format!("{document:#}\n")
}

/// Lines that a shell would understand.
fn show_text(planned: &Planned) -> String {
    let plan = &planned.plan;
    let mut text = String::new();
    for directory in &plan.directories {
        text += &format!("mkdir -p {}\n", quoted(&directory.display().to_string()));
    }
    if let Some(file) = &plan.root_only {
        text += &format!("# {} root's own, 0600\n", shown(file));
    }
    text += &format!("# {} from the bootstrap kubeconfig\n", shown(&plan.authority));
    text += &format!("# {} if it is absent\n", shown(&plan.configuration));
    for image in &plan.images {
        text += &format!("# image {image}\n");
    }
    for line in runs(planned) {
        text += &shell_line(&line);
    }
    text
}

/// One command; a long one with a flag a line.
fn shell_line(words: &[String]) -> String {
    let is_long = words.len() > 10;
    let mut text = String::new();
    let mut in_flag = false;
    for (index, word) in words.iter().enumerate() {
        let is_flag = word.starts_with("--");
        // What stands after a flag is its value, what stands after that (the image) is not.
        let breaks = is_long && index > 1 && (is_flag || !in_flag);
        text += match (index, breaks) {
            (0, _) => "",
            (_, true) => " \\\n    ",
            (_, false) => " ",
        };
        text += &quoted(word);
        in_flag = is_flag && !word.contains('=');
    }
    text.push('\n');
    text
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Quoted for a shell, where that is needed.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=,@+%".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
