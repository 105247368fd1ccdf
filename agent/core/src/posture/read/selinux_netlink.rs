//! What SELinux tells by netlink (family 7, multicast group 1), at once and without a capability.
//!
//! The message comes before `/sys/fs/selinux/status` has changed: believe its value, then read the page until its sequence has moved.

/// A message of NETLINK_SELINUX (`include/uapi/linux/selinux_netlink.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// `SELNL_MSG_SETENFORCE`: the mode is now this.
    SetEnforce(bool),
    /// `SELNL_MSG_POLICYLOAD`: a policy was loaded, or booleans committed; its sequence number.
    PolicyLoad(u32),
}

impl Message {
    /// The messages in one datagram. What is not one of the two, or is cut, is left out.
    pub fn parse(datagram: &[u8]) -> Vec<Self> {
        const HEADER: usize = 16;
        let mut messages = Vec::new();
        let mut rest = datagram;
        while let Some((header, _)) = rest.split_at_checked(HEADER) {
            let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
            let kind = u16::from_ne_bytes([header[4], header[5]]);
            let Some(body) = rest.get(HEADER..length) else { break };
            if let Some(word) = body.first_chunk::<4>() {
                match kind {
                    0x10 => messages.push(Self::SetEnforce(i32::from_ne_bytes(*word) != 0)),
                    0x11 => messages.push(Self::PolicyLoad(u32::from_ne_bytes(*word))),
                    _ => {}
                }
            }
            // NLMSG_ALIGN. A length below the header was refused above, so this ends.
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + body.len()).expect("small");
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat()
    }

    #[test]
    fn netlink_messages_are_read() {
        let flip = [message(0x10, &0_i32.to_ne_bytes()), message(0x10, &1_i32.to_ne_bytes())].concat();
        let load = message(0x11, &7_u32.to_ne_bytes());
        for (name, datagram, want) in [
            ("a flip", flip.clone(), vec![Message::SetEnforce(false), Message::SetEnforce(true)]),
            ("a load", load, vec![Message::PolicyLoad(7)]),
            ("another kind", message(0x12, &[0; 4]), vec![]),
            ("a short body", message(0x10, &[0; 2]), vec![]),
            ("cut", flip[..25].to_vec(), vec![Message::SetEnforce(false)]),
            ("no length", vec![0; 64], vec![]),
            ("empty", vec![], vec![]),
        ] {
            assert_eq!(Message::parse(&datagram), want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_datagram_is_taken(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            prop_assert!(Message::parse(&bytes).len() <= bytes.len() / 20 + 1);
        }
    }
}
