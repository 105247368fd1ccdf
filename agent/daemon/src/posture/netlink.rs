//! Netlink sockets: SELinux's notices and the kernel's table of sockets. Both need no capability; the first lives in the
//! initial network namespace only, which is why eyewall.service has no PrivateNetwork=.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use eyewall_core::posture::read::sock_diag::{self, Family, Listener, Protocol};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};
use tokio::io::unix::AsyncFd;

/// The kernel writes no larger message to either socket; a dump comes in several of at most this size.
const MESSAGE: usize = 32 * 1024;
/// More than listen on any node.
const LISTENERS_MAX: usize = 16_384;
/// The kernel answers a dump in microseconds; a blocked read would block the agent's only thread.
const DUMP_WITHIN: i64 = 2;

/// `SELNLGRP_AVC` (linux/selinux_netlink.h): the one multicast group that there is.
const SELINUX_GROUP: u32 = 1;

fn open(protocol: SockProtocol, groups: u32, flags: SockFlag) -> io::Result<OwnedFd> {
    let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC | flags, protocol)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(fd)
}

/// SELinux's notices: the mode was set, a policy was loaded.
#[derive(Debug)]
pub struct SelinuxNotices(AsyncFd<OwnedFd>);

impl SelinuxNotices {
    /// Joins the group. Works as any user, inside the unit's sandbox.
    ///
    /// # Errors
    /// `EPROTONOSUPPORT` where the kernel has no SELinux; whatever a sandbox says.
    pub fn open() -> io::Result<Self> {
        let fd = open(SockProtocol::NetlinkSELinux, SELINUX_GROUP, SockFlag::SOCK_NONBLOCK)?;
        Self::watch(fd)
    }

    #[expect(
        deprecated,
        reason = "tokio deprecates it for types that lie about owning their descriptor; OwnedFd does not, and the successor is unsafe"
    )]
    fn watch(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self(AsyncFd::new(fd)?))
    }

    /// The bytes of the next notice, for `selinux_netlink` of core to read. `None`: some were lost because they came faster than
    /// they were read (ENOBUFS); the status page then tells how many.
    ///
    /// # Errors
    /// The socket is of no use any more.
    pub async fn next(&self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let mut ready = self.0.readable().await?;
            let mut buffer = vec![0; MESSAGE];
            match ready.try_io(|fd| Ok(recv(fd.get_ref().as_raw_fd(), &mut buffer, MsgFlags::empty())?)) {
                Ok(Ok(length)) => {
                    buffer.truncate(length);
                    return Ok(Some(buffer));
                }
                Ok(Err(error)) if error.raw_os_error() == Some(nix::errno::Errno::ENOBUFS as i32) => return Ok(None),
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }
}

/// Every socket that listens, and every UDP socket without a peer: what can be reached from outside, as far as this network
/// namespace shows it.
///
/// # Errors
/// The kernel does not answer, or not in its own words.
pub fn listeners() -> io::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for family in [Family::Inet, Family::Inet6] {
            dump(protocol, family, &mut listeners)?;
        }
    }
    Ok(listeners)
}

fn dump(protocol: Protocol, family: Family, listeners: &mut Vec<Listener>) -> io::Result<()> {
    let fd = open(SockProtocol::NetlinkSockDiag, 0, SockFlag::empty())?;
    setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(DUMP_WITHIN))?;
    send(fd.as_raw_fd(), &sock_diag::request(protocol, family, 1), MsgFlags::empty())?;
    let mut buffer = vec![0; MESSAGE];
    loop {
        let length = recv(fd.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let reply = sock_diag::parse(buffer.get(..length).unwrap_or_default(), protocol).map_err(io::Error::other)?;
        listeners.extend(reply.listeners);
        if reply.done || length == 0 {
            return Ok(());
        }
        if listeners.len() > LISTENERS_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than 16,384 sockets listen"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_our_own_is_in_the_table() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let found = listeners().unwrap();
        for (protocol, port) in [
            (Protocol::Tcp, listener.local_addr().unwrap().port()),
            (Protocol::Udp, datagrams.local_addr().unwrap().port()),
        ] {
            assert!(found.iter().any(|one| one.protocol == protocol && one.port == port), "{port} is not in {found:?}");
        }
    }
}
