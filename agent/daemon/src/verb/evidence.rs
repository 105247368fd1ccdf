//! `eyewall evidence --output DIR`: captures what the checks read, secrets removed, for a bug report or as a test's fixture.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use eyewall_core::posture::Evidence;
use eyewall_core::posture::evidence::Found;

use super::terminal::print;
use super::{CONFIG, Global};
use crate::posture::capture::scheme;
use crate::posture::once;

/// The flags of `eyewall evidence`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The directory to make
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Ask nothing over the network
    #[arg(long)]
    no_probes: bool,
}

/// Runs the verb.
pub fn main(global: &Global, args: &Args) -> ExitCode {
    let config = match global.load() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("eyewall evidence: {error:#}");
            return CONFIG.into();
        }
    };
    let done = once::capture(&config, !args.no_probes).and_then(|evidence| {
        write(&args.output, &evidence)?;
        Ok(evidence)
    });
    match done {
        Ok(evidence) => {
            print(&format!(
                "{}: {} sources, no secret among them; judge it with `eyewall check --evidence {}`\n",
                args.output.display(),
                evidence.sources.len(),
                args.output.display()
            ));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("eyewall evidence: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One file for each kind of source, and one that names the host.
fn write(directory: &Path, evidence: &Evidence) -> anyhow::Result<()> {
    let context = || format!("{} cannot be written", directory.display());
    if directory.exists() {
        let empty = std::fs::read_dir(directory).with_context(context)?.next().is_none();
        ensure!(empty, "{} is not empty: a capture is of one host at one time", directory.display());
    } else {
        // Accounts and keys of a host are nobody else's business, though none of it is secret.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).with_context(context)?;
    }
    for (name, text) in parts(evidence)? {
        let mut file = std::fs::File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(directory.join(&name))
            .with_context(context)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(context)?;
    }
    Ok(())
}

/// `host.json`, and a part for each way of looking (`file.json`, `dbus.json`, …).
fn parts(evidence: &Evidence) -> anyhow::Result<Vec<(String, String)>> {
    let mut of_scheme: BTreeMap<&str, BTreeMap<&str, &Found>> = BTreeMap::new();
    for (id, found) in &evidence.sources {
        of_scheme.entry(scheme(id).0).or_default().insert(id, found);
    }
    let head = serde_json::json!({
        "host": evidence.host, "captured_at": evidence.captured_at, "made": evidence.made,
    });
    let mut parts = vec![("host.json".to_owned(), serde_json::to_string_pretty(&head)?)];
    for (scheme, sources) in of_scheme {
        let part = serde_json::to_string_pretty(&serde_json::json!({ "sources": sources }))?;
        parts.push((format!("{scheme}.json"), part));
    }
    Ok(parts)
}
