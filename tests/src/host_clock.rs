//! A wall clock of a program's own, that a test sets while the program runs (libfaketime(1)). Only CLOCK_REALTIME is false: what
//! counts from the boot is true, as on a real host. No timerfd fires when it is set; the virtual machines test that.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::node::faketime;

/// The clock.
#[derive(Debug)]
pub struct HostClock {
    file: PathBuf,
}

impl HostClock {
    /// A clock that is so many seconds ahead of the true time. It lives in a file of this directory.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn new(directory: &Path, ahead: i64) -> Result<Self> {
        let clock = Self { file: directory.join("clock") };
        clock.set(ahead)?;
        Ok(clock)
    }

    /// Sets it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set(&self, ahead: i64) -> Result<()> {
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{ahead:+}\n"))?;
        Ok(std::fs::rename(new, &self.file)?)
    }

    /// What stands before a program that is to have this clock. It ends in an exec.
    ///
    /// # Errors
    /// The library is not here; on Debian: apt-get install libfaketime.
    pub fn wrapper(&self) -> Result<Vec<String>> {
        let library = faketime()?;
        // It leaves files in /dev/shm, so there is one for this program alone. The kernel's times of files are left alone.
        let script = format!(
            "mount -t tmpfs none /dev/shm && export LD_PRELOAD={library:?} FAKETIME_TIMESTAMP_FILE={:?} FAKETIME_NO_CACHE=1 \
             FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1 && exec \"$0\" \"$@\"",
            self.file
        );
        Ok(["unshare", "--mount", "sh", "-c", &script].map(str::to_owned).into())
    }
}
