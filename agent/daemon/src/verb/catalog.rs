//! `eyewall catalog`: the journal's message catalog of this version's events, for `journalctl -x`.
//! `eyewall-catalog.service` compiles it at each boot.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// The flags of `eyewall catalog`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write it here; left out, to standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the verb.
pub fn main(args: &Args) -> ExitCode {
    let text = eyewall_core::event::catalog();
    let written = match &args.output {
        Some(path) => std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display())),
        None => std::io::stdout().lock().write_all(text.as_bytes()).map_err(|error| error.to_string()),
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("eyewall catalog: the catalog could not be written: {error}");
            ExitCode::FAILURE
        }
    }
}
