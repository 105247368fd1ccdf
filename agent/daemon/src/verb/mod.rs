//! The verbs: each one function in one file. `anyhow` ends here.

pub mod catalog;
pub mod certificates;
pub mod check;
pub mod completions;
pub mod events;
pub mod evidence;
pub mod kubelet;
pub mod reboot;
pub mod report;
pub mod status;
pub mod terminal;
pub mod validate;

use std::path::PathBuf;

use eyewall_core::config::Config;

use crate::config_file::Files;

/// EX_USAGE of sysexits(3): the command line was wrong.
pub const USAGE: u8 = 64;
/// EX_CONFIG of sysexits(3): the configuration is wrong; `RestartPreventExitStatus=` in the unit knows it.
pub const CONFIG: u8 = 78;

/// What every verb understands.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// The configuration; drop-ins are read from FILE.d/*.toml
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/eyewall/eyewall.toml")]
    pub config: PathBuf,
    /// The daemon's socket; by default what the configuration says
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

impl Global {
    /// The configuration this verb was pointed at.
    ///
    /// # Errors
    /// All its faults.
    pub fn load(&self) -> anyhow::Result<Config> {
        Ok(Files::at(&self.config).load()?.config)
    }

    /// Where the daemon is asked. A configuration with faults is the daemon's matter: it goes on with the one before, so
    /// the usual path is the best guess, and `eyewall status` then tells the faults.
    pub fn socket_path(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| self.load().unwrap_or_default().socket.path)
    }
}
