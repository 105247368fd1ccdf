//! `eyewall status`: not written yet.

use std::process::ExitCode;

use super::Global;

/// The flags of `eyewall status`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the verb.
pub fn main(_global: &Global, _args: &Args) -> ExitCode {
    ExitCode::FAILURE
}
