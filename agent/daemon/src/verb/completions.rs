//! `eyewall completions`: not written yet.

use std::process::ExitCode;

/// The flags of `eyewall completions`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the verb.
pub fn main(_args: &Args) -> ExitCode {
    ExitCode::FAILURE
}
