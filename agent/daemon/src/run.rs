//! `eyewall run`: the composition root. Only this file knows all tasks.

use std::process::ExitCode;

use crate::verb::Global;

/// The daemon.
pub fn main(_global: &Global) -> ExitCode {
    let _ = crate::clock::now();
    ExitCode::FAILURE
}
