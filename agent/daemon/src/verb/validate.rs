//! `eyewall validate`: not written yet.

use std::process::ExitCode;

/// The flags of `eyewall validate`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the verb.
pub fn main(_args: &Args) -> ExitCode {
    ExitCode::FAILURE
}
