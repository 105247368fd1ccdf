//! The verbs: each one function in one file. `anyhow` ends here.

pub mod catalog;
pub mod certificates;
pub mod completions;
pub mod events;
pub mod kubelet;
pub mod status;
pub mod validate;

use std::path::PathBuf;

/// EX_USAGE of sysexits(3): the command line was wrong.
pub const USAGE: u8 = 64;
/// EX_CONFIG of sysexits(3): the configuration is wrong; `RestartPreventExitStatus=` in the unit knows it.
pub const CONFIG: u8 = 78;

/// What every verb understands.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// The configuration; drop-ins are read from FILE.d/*.toml
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "/etc/eyewall/eyewall.toml"
    )]
    pub config: PathBuf,
    /// The daemon's socket; by default what the configuration says
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}
