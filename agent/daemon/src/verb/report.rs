//! `eyewall report`: one page of this node for a person elsewhere, from what the socket tells.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use eyewall_core::posture::Published;
use eyewall_core::report::{Document, render};
use eyewall_core::status::{Status, Story};
use eyewall_core::time::Time;

use super::Global;
use super::terminal::print;
use crate::query::{Client, QueryError, runtime, sentence};
use crate::store::files;

/// The flags of `eyewall report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the page goes: a file that is replaced as a whole, or - for standard output
    #[arg(long, short, value_name = "FILE.html")]
    output: PathBuf,
}

/// Runs the verb.
pub fn main(global: &Global, args: &Args) -> ExitCode {
    match run(global, args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("eyewall report: {}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(global: &Global, args: &Args) -> anyhow::Result<()> {
    let client = Client::new(&global.socket_path());
    let (status, story, posture): (Status, Story, Option<Published>) = runtime()?.block_on(async {
        let posture = match client.get("/v1/posture").await {
            Ok(posture) => Some(posture),
            // The host has not been looked at yet.
            Err(QueryError::Refused { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        Ok::<_, anyhow::Error>((client.get("/v1/status").await?, client.get("/v1/events").await?, posture))
    })?;
    let now = Time(crate::clock::now());
    let page = render(&Document { status: &status, events: &story.events, posture: posture.as_ref(), now });
    if args.output == Path::new("-") {
        print(&page);
        return Ok(());
    }
    let path = std::path::absolute(&args.output).context("the place of the file cannot be found")?;
    // Nothing in it is secret, and whoever asked for it may pass it on.
    Ok(files::write(&path, page.as_bytes(), 0o644)?)
}
