//! `eyewall kubelet take-over`: the two files that make the kubelet.service of a Typhoon node eyewall's, from the kubelet that
//! runs there now.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use eyewall_core::config::{Config, Owner, Source};
use eyewall_core::hostname::node_name;
use eyewall_core::kubelet::take_over::{self, DROP_IN, DROP_IN_PATH};
use eyewall_core::kubelet::{Container, Plan};

use crate::config_file::Files;
use crate::kubelet::container;
use crate::kubelet::place::Root;
use crate::query::sentence;
use crate::store::files;
use crate::verb::terminal::print;

/// Its name, where it is read between `10-observe.toml` and `99-break-glass.toml`.
const FRAGMENT: &str = "50-take-over.toml";

/// The flags of `eyewall kubelet take-over`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Args {
    /// Write both files, instead of showing them
    #[arg(long)]
    write: bool,
}

/// Runs the verb; `plan` says what `eyewall kubelet` would do with a configuration.
pub fn main(files: &Files, root: &Root, args: Args, plan: impl FnOnce(Config) -> anyhow::Result<Plan>) -> ExitCode {
    match run(files, root, args, plan) {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("eyewall kubelet take-over: {}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(
    files: &Files,
    root: &Root,
    args: Args,
    plan: impl FnOnce(Config) -> anyhow::Result<Plan>,
) -> anyhow::Result<String> {
    let container = container::of_host(root).context(
        "there is no container called kubelet that can be seen: start kubelet.service, and run this as root",
    )?;
    let fragment = take_over::fragment(&container)?;
    let (drop_in, toml) = (root.at(DROP_IN_PATH), files.drop_in_directory().join(FRAGMENT));
    let merged = files.load_with(&Source { name: toml.display().to_string(), text: fragment.clone() })?.config;
    ensure!(
        merged.certificates.owner == Owner::Eyewall,
        "a file after {FRAGMENT} says owner = \"kubelet\": remove it (99-break-glass.toml?) or its line"
    );
    let name = node_name(merged.node.name.as_deref(), &crate::host::hostname()).map(|name| name.common_name());
    let plan = plan(merged)?;
    let changes = changes(&container, &plan);
    let told = name.map_or_else(|fault| fault.to_string(), |name| format!("the certificate is for {name}"));
    if args.write {
        for (path, text) in [(&drop_in, DROP_IN), (&toml, fragment.as_str())] {
            write(path, text)?;
        }
        let next = "systemctl daemon-reload && systemctl restart kubelet";
        return Ok(format!("wrote {}\nwrote {}\n{told}\n{changes}now: {next}\n", drop_in.display(), toml.display()));
    }
    let told = format!("# {told}\n{}", changes.lines().map(|line| format!("# {line}\n")).collect::<String>());
    Ok(format!("# --- {}\n{DROP_IN}\n# --- {}\n{fragment}\n{told}", drop_in.display(), toml.display()))
}

/// What changes of the kubelet's flags and its image, a line each.
fn changes(container: &Container, plan: &Plan) -> String {
    let before = container.arguments.clone().unwrap_or_default();
    let (gone, new) = take_over::difference(&before, plan.flags());
    let gone = gone.iter().map(|flag| format!("no longer given: {flag}\n"));
    let new = new.iter().map(|flag| format!("new: {flag}\n"));
    gone.chain(new).collect()
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    files::make_directory(path.parent().unwrap_or(Path::new("/")), 0o755)?;
    Ok(files::write(path, text.as_bytes(), 0o644)?)
}
