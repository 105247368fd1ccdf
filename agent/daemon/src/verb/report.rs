//! `eyewall report`: one page of this node for a person elsewhere, from what the socket tells.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use eyewall_core::report::{Document, render};
use eyewall_core::status::{Status, Story};
use eyewall_core::time::Time;

use super::Global;
use super::terminal::print;
use crate::query::{Client, runtime, sentence};
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
    let (status, story): (Status, Story) = runtime()?.block_on(async {
        Ok::<_, anyhow::Error>((client.get("/v1/status").await?, client.get("/v1/events").await?))
    })?;
    let page = render(&Document { status: &status, events: &story.events, now: Time(crate::clock::now()) });
    if args.output == Path::new("-") {
        print(&page);
        return Ok(());
    }
    let path = std::path::absolute(&args.output).context("the place of the file cannot be found")?;
    // Nothing in it is secret, and whoever asked for it may pass it on.
    Ok(files::write(&path, page.as_bytes(), 0o644)?)
}
