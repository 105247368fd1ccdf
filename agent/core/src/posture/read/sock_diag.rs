//! The kernel's list of listening sockets, NETLINK_SOCK_DIAG (`linux/inet_diag.h`): the request and the reply as bytes. It needs no capability,
//! and without being asked the kernel says in which control group each socket was made, so that a listener has an owner although no process can
//! be looked into.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::ReadFault;

/// The netlink family to open.
pub const NETLINK_SOCK_DIAG: i32 = 4;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH
const DUMP: u16 = 0x301;
const INET_DIAG_SKV6ONLY: u16 = 11;
const INET_DIAG_CGROUP_ID: u16 = 21;
const HEADER: usize = 16;
/// `struct inet_diag_msg`
const MESSAGE: usize = 72;
/// More sockets than that listen on no node; each is about 120 bytes.
const MOST: usize = 4_096;

/// What is asked for: listening TCP sockets, or UDP sockets that are bound and not connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// As in `22/tcp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// TCP_LISTEN, or TCP_CLOSE, which is what an unconnected UDP socket is in.
    fn states(self) -> u32 {
        match self {
            Self::Tcp => 1 << 10,
            Self::Udp => 1 << 7,
        }
    }
}

/// The address families, as the kernel numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    Inet = 2,
    /// IPv6; a socket of it that is not `v6_only` takes IPv4 too.
    Inet6 = 10,
}

/// The request to send: a dump of one protocol and family. Four make the whole list.
pub fn request(protocol: Protocol, family: Family, sequence: u32) -> Vec<u8> {
    const LENGTH: usize = HEADER + 56;
    let mut bytes = Vec::with_capacity(LENGTH);
    bytes.extend(72_u32.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(DUMP.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend([family as u8, protocol.number(), 0, 0]);
    bytes.extend(protocol.states().to_ne_bytes());
    bytes.resize(LENGTH, 0); // any address, any port
    bytes
}

/// One listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The address it is bound to.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// It takes no IPv4.
    pub v6_only: bool,
    /// The interface it is bound to; 0 for any.
    pub interface: u32,
    /// Who made it.
    pub uid: u32,
    /// Its inode.
    pub inode: u32,
    /// The id of its control group; on cgroup v2 the inode number of the group's directory.
    pub cgroup: Option<u64>,
}

/// One datagram of a reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The sockets in it.
    pub listeners: Vec<Listener>,
    /// The list ends with it. Otherwise there is more to receive.
    pub done: bool,
}

/// Reads one datagram of the reply to [`request`].
///
/// # Errors
/// [`ReadFault::CutShort`] if a message does not fit, [`ReadFault::Malformed`] for a message of another kind or an error of the kernel's.
pub fn parse(bytes: &[u8], protocol: Protocol) -> Result<Reply, ReadFault> {
    let mut reply = Reply::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let length = usize::try_from(u32_at(rest, 0)?).map_err(|_| ReadFault::CutShort)?;
        let kind = u16_at(rest, 4)?;
        let message = rest.get(HEADER..length).ok_or(ReadFault::CutShort)?;
        match kind {
            NLMSG_DONE => {
                reply.done = true;
                return Ok(reply);
            }
            NLMSG_ERROR => {
                return Err(ReadFault::Malformed { format: "list of sockets, but the kernel's refusal", line: 0 });
            }
            SOCK_DIAG_BY_FAMILY => {
                if reply.listeners.len() == MOST {
                    return Err(ReadFault::TooMany { what: "sockets", limit: MOST });
                }
                reply.listeners.push(listener(message, protocol)?);
            }
            _ => return Err(ReadFault::Malformed { format: "list of sockets", line: 0 }),
        }
        rest = rest.get(aligned(length)..).unwrap_or_default();
    }
    Ok(reply)
}

fn listener(message: &[u8], protocol: Protocol) -> Result<Listener, ReadFault> {
    let fixed: &[u8; MESSAGE] = message.first_chunk().ok_or(ReadFault::CutShort)?;
    let family = fixed.first().copied();
    let source: &[u8; 16] = fixed.get(8..24).and_then(|part| part.first_chunk()).ok_or(ReadFault::CutShort)?;
    let address = match family {
        Some(family) if family == Family::Inet as u8 => {
            let [a, b, c, d, ..] = *source;
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        Some(family) if family == Family::Inet6 as u8 => IpAddr::V6(Ipv6Addr::from(*source)),
        _ => return Err(ReadFault::Malformed { format: "socket of IPv4 or IPv6", line: 0 }),
    };
    let port: &[u8; 2] = fixed.get(4..6).and_then(|part| part.first_chunk()).ok_or(ReadFault::CutShort)?;
    let mut listener = Listener {
        protocol,
        address,
        port: u16::from_be_bytes(*port),
        v6_only: false,
        interface: u32_at(fixed, 40)?,
        uid: u32_at(fixed, 64)?,
        inode: u32_at(fixed, 68)?,
        cgroup: None,
    };
    let mut attributes = message.get(MESSAGE..).unwrap_or_default();
    while !attributes.is_empty() {
        let length = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(4..length).ok_or(ReadFault::CutShort)?;
        match u16_at(attributes, 2)? {
            INET_DIAG_SKV6ONLY => listener.v6_only = value.first().is_some_and(|flag| *flag != 0),
            INET_DIAG_CGROUP_ID => {
                let id: &[u8; 8] = value.first_chunk().ok_or(ReadFault::CutShort)?;
                listener.cgroup = Some(u64::from_ne_bytes(*id));
            }
            _ => {}
        }
        attributes = attributes.get(aligned(length)..).unwrap_or_default();
    }
    Ok(listener)
}

fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, ReadFault> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|part| u32::from_ne_bytes(*part)).ok_or(ReadFault::CutShort)
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, ReadFault> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|part| u16::from_ne_bytes(*part)).ok_or(ReadFault::CutShort)
}

/// One listening socket as evidence: with the path of its control group in the place of the id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketView {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The address it is bound to.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// Who made it.
    pub uid: u32,
    /// The path of its control group below `/sys/fs/cgroup`; `None` where it cannot be told (cgroup v1, or the group is gone).
    pub cgroup: Option<String>,
}

/// Every listening socket of the host's own network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sockets {
    /// TCP and UDP, IPv4 and IPv6.
    pub sockets: Vec<SocketView>,
}

impl SocketView {
    /// `path_of` finds the path of a control group by its id. The root's id (1) on a host with cgroup v1 says nothing, so the
    /// caller gives none there.
    pub fn of(listener: &Listener, path_of: impl Fn(u64) -> Option<String>) -> Self {
        Self {
            protocol: listener.protocol,
            address: listener.address,
            port: listener.port,
            uid: listener.uid,
            cgroup: listener.cgroup.and_then(path_of),
        }
    }

    /// Can only this host itself reach it?
    pub fn is_loopback(&self) -> bool {
        match self.address {
            IpAddr::V4(address) => address.is_loopback(),
            IpAddr::V6(address) => {
                address.is_loopback() || address.to_ipv4_mapped().is_some_and(|mapped| mapped.is_loopback())
            }
        }
    }

    /// `22/tcp`.
    pub fn port_name(&self) -> String {
        format!("{}/{}", self.port, self.protocol.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What Linux 6 answered to [`request`] (little-endian): 0.0.0.0:2024, 127.0.0.1:53749, then the end.
    const TCP: &str = "7c0000001400020007000000c5530000020a000007e800000000000000000000000000000000000000000000000000000000000000000000000000000100000000000000000000000000000080000000000000005d060000050008000000000008000f00000000000c001500010000000000000006001600520000007c0000001400020007000000c5530000020a0000d1f500007f0000010000000000000000000000000000000000000000000000000000000000000000011000000000000000000000000000008000000000000000608d1200050008000000000008000f00000000000c00150001000000000000000600160052000000140000000300020007000000c553000000000000";
    /// [::]:44051, dual-stack, without the end.
    const TCP6: &str = "840000001400020007000000c55300000a0a0000ac1300000000000000000000000000000000000000000000000000000000000000000000000000000210000000000000000000000000000080000000000000005f8d1200050008000000000005000b000000000008000f00000000000c00150001000000000000000600160012000000";

    fn bytes(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex"))
            .collect()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn what_a_kernel_answered_is_read() {
        let reply = parse(&bytes(TCP), Protocol::Tcp).expect("a reply");
        assert!(reply.done);
        let seen: Vec<(String, u16, u32, Option<u64>)> =
            reply.listeners.iter().map(|l| (l.address.to_string(), l.port, l.inode, l.cgroup)).collect();
        assert_eq!(
            seen,
            [("0.0.0.0".to_owned(), 2024, 1629, Some(1)), ("127.0.0.1".to_owned(), 53749, 1_215_840, Some(1)),]
        );
        let reply = parse(&bytes(TCP6), Protocol::Tcp).expect("a reply");
        assert!(!reply.done);
        assert_eq!(reply.listeners[0].address, IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        assert_eq!((reply.listeners[0].port, reply.listeners[0].v6_only), (44051, false));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_request_is_the_one_that_was_answered() {
        let zeros = "0".repeat(96);
        for (protocol, family, want) in [
            (Protocol::Tcp, Family::Inet, "4800000014000103070000000000000002060000000400 00"),
            (Protocol::Tcp, Family::Inet6, "480000001400010307000000000000000a060000000400 00"),
            (Protocol::Udp, Family::Inet, "48000000140001030700000000000000021100008000 0000"),
        ] {
            let want = format!("{}{zeros}", want.replace(' ', ""));
            assert_eq!(crate::cert::hex(&request(protocol, family, 7)), want, "{protocol:?} {family:?}");
        }
    }

    #[test]
    fn half_a_reply_is_a_fault() {
        let whole = bytes(TCP);
        for length in [1, 15, 16, 17, 87, 100, 123, 125, 200, 249] {
            assert!(parse(&whole[..length], Protocol::Tcp).is_err(), "{length}");
        }
        let mut refused = whole.clone();
        refused[4] = 2;
        assert_eq!(parse(&refused, Protocol::Tcp).map_err(|fault| fault.kind()), Err("malformed"));
        let mut other = whole;
        other[16] = 1; // AF_UNIX
        assert_eq!(parse(&other, Protocol::Tcp).map_err(|fault| fault.kind()), Err("malformed"));
        assert_eq!(parse(&[], Protocol::Tcp), Ok(Reply::default()));
    }

    #[test]
    fn loopback_is_told_from_the_rest() {
        for (address, want) in [
            ("127.0.0.1", true),
            ("127.0.0.53", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("0.0.0.0", false),
            ("::", false),
            ("10.0.0.1", false),
        ] {
            let socket = SocketView {
                protocol: Protocol::Tcp,
                address: address.parse().expect("an address"),
                port: 22,
                uid: 0,
                cgroup: None,
            };
            assert_eq!(socket.is_loopback(), want, "{address}");
            assert_eq!(socket.port_name(), "22/tcp");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_reply_or_a_fault(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            at in 0_usize..268,
            flip in any::<u8>(),
        ) {
            let _ = parse(&bytes, Protocol::Udp);
            let mut near = super::tests::bytes(TCP);
            near[at] ^= flip;
            let _ = parse(&near, Protocol::Tcp);
        }
    }
}
