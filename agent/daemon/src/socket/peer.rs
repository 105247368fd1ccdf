//! Who is at the other end, as the kernel says (SO_PEERCRED): it cannot be forged by what is sent.

use tokio::net::UnixStream;

/// The process that connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its process id; 0 if it is not in our PID namespace.
    pub pid: u32,
}

impl Peer {
    /// Asks the kernel.
    ///
    /// # Errors
    /// What getsockopt(2) said.
    pub fn of(stream: &UnixStream) -> std::io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self {
            uid: credentials.uid(),
            gid: credentials.gid(),
            pid: credentials.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0),
        })
    }

    /// May it change anything?
    pub fn may_command(self) -> bool {
        self.uid == 0
    }
}
