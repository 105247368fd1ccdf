//! The beginning of a binary SELinux policy (`security/selinux/ss/policydb.c`): enough to count permissive domains without a library.
//!
//! `getenforce` and `sestatus` say "enforcing" whatever the number of domains for which nothing is enforced.

mod types;

pub use types::type_names;

use thiserror::Error;

/// `POLICYDB_MAGIC`.
const MAGIC: u32 = 0xf97c_ff8c;
/// `POLICYDB_STRING`.
const NAME: &[u8] = b"SE Linux";
/// The first version with policy capabilities, and with a permissive map.
const VERSION_PERMISSIVE: u32 = 23;
/// No policy has more types; Fedora's has about 5,000.
const MOST_BITS: u32 = 1 << 16;

/// How many bytes of a policy are enough: 12 for each 64 types, twice, if all were permissive.
pub const HEAD: usize = 16 * 1024;

/// What the beginning of a policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The version of its format.
    pub version: u32,
    /// Whether it has levels and categories.
    pub mls: bool,
    /// What happens to classes and permissions that the policy does not know.
    pub unknown: Unknown,
    /// The values of the types for which nothing is enforced, ascending. The names are further in the file.
    pub permissive: Vec<u32>,
}

/// What happens to what a policy does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// It is denied.
    Deny,
    /// The policy is not even loaded.
    Reject,
    /// It is allowed.
    Allow,
}

/// Why these bytes are no policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PolicyFault {
    /// It ends too soon.
    #[error("It ends after {0} bytes, inside of its head.")]
    Short(usize),
    /// It begins with something else.
    #[error("It does not begin as a binary SELinux policy does.")]
    NoPolicy,
    /// Versions below 23 have no permissive map.
    #[error("Its format is version {0}, which is not one that this reads (23 or later).")]
    Version(u32),
    /// A name without letters, or without end.
    #[error("A name in it is not well-formed.")]
    NoName,
    /// A bitmap is not well-formed.
    #[error("Its {0} are not well-formed.")]
    Bitmap(&'static str),
}

impl Policy {
    /// Reads the beginning of a policy; what follows is not looked at.
    ///
    /// # Errors
    /// [`PolicyFault`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyFault> {
        Reader { bytes, at: 0 }.head()
    }
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    /// The policy's beginning, up to and with the permissive map.
    fn head(&mut self) -> Result<Policy, PolicyFault> {
        if self.word()? != MAGIC || self.word()? as usize != NAME.len() || self.take(NAME.len())? != NAME {
            return Err(PolicyFault::NoPolicy);
        }
        let (version, config) = (self.word()?, self.word()?);
        let (_symbols, _contexts) = (self.word()?, self.word()?);
        if !(VERSION_PERMISSIVE..100).contains(&version) {
            return Err(PolicyFault::Version(version));
        }
        self.bitmap("policy capabilities")?;
        let permissive = self.bitmap("permissive domains")?;
        let unknown = match config & 0b110 {
            0b010 => Unknown::Reject,
            0b100 => Unknown::Allow,
            _ => Unknown::Deny,
        };
        Ok(Policy { version, mls: config & 1 != 0, unknown, permissive })
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], PolicyFault> {
        let end = self.at.saturating_add(length);
        let taken = self.bytes.get(self.at..end).ok_or(PolicyFault::Short(self.bytes.len()))?;
        self.at = end;
        Ok(taken)
    }

    fn word(&mut self) -> Result<u32, PolicyFault> {
        Ok(self.take(4)?.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte)))
    }

    /// The set bits of an ebitmap: u32 unit (64), u32 high bit, u32 nodes, then nodes of u32 start and u64 map.
    fn bitmap(&mut self, what: &'static str) -> Result<Vec<u32>, PolicyFault> {
        let (unit, high, nodes) = (self.word()?, self.word()?, self.word()?);
        if unit != 64 || high > MOST_BITS || high % unit != 0 || nodes > high / unit || (high == 0) != (nodes == 0) {
            return Err(PolicyFault::Bitmap(what));
        }
        let mut bits = Vec::new();
        let mut free = 0;
        for _ in 0..nodes {
            let start = self.word()?;
            let (low, upper) = (self.word()?, self.word()?);
            if start % unit != 0 || start < free || start >= high || (low == 0 && upper == 0) {
                return Err(PolicyFault::Bitmap(what));
            }
            free = start + unit;
            let map = u64::from(upper) << 32 | u64::from(low);
            bits.extend((0..unit).filter(|bit| map >> bit & 1 == 1).map(|bit| start + bit));
        }
        Ok(bits)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// A head as a policy of version 33 has it, with these words for the permissive map.
    fn policy(config: u32, permissive: &[u32]) -> Vec<u8> {
        let mut bytes = words(&[MAGIC, 8]);
        bytes.extend(NAME);
        bytes.extend(words(&[33, config, 8, 9]));
        bytes.extend(words(&[64, 64, 1, 0, 0x3f, 0]));
        bytes.extend(words(permissive));
        bytes.extend(b"the rest of the policy");
        bytes
    }

    #[test]
    fn permissive_domains_are_counted() {
        let none = Policy::parse(&policy(0b101, &[64, 0, 0])).expect("none");
        assert_eq!(none, Policy { version: 33, mls: true, unknown: Unknown::Allow, permissive: Vec::new() });
        let two = [64, 0xe00, 2, 0x40, 0b10, 0, 0xdc0, 0, 0x8000_0000];
        let two = Policy::parse(&policy(0b000, &two)).expect("two");
        assert_eq!(two, Policy { version: 33, mls: false, unknown: Unknown::Deny, permissive: vec![0x41, 0xdff] });
    }

    #[test]
    fn what_is_no_policy_is_none() {
        let good = policy(1, &[64, 0, 0]);
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        for (name, bytes, want) in [
            ("nothing", Vec::new(), PolicyFault::Short(0)),
            ("magic", with(0, 0), PolicyFault::NoPolicy),
            ("length of the name", with(4, 9), PolicyFault::NoPolicy),
            ("a module", with(8, b'X'), PolicyFault::NoPolicy),
            ("too old", with(16, 22), PolicyFault::Version(22)),
            ("too new by far", with(16, 200), PolicyFault::Version(200)),
            ("ends in the map", good[..60].to_vec(), PolicyFault::Short(60)),
            ("unit", policy(1, &[32, 0, 0]), PolicyFault::Bitmap("permissive domains")),
            ("high bit without nodes", policy(1, &[64, 64, 0]), PolicyFault::Bitmap("permissive domains")),
            ("nodes without end", policy(1, &[64, 64, 0xffff_ffff]), PolicyFault::Bitmap("permissive domains")),
            ("an empty node", policy(1, &[64, 64, 1, 0, 0, 0]), PolicyFault::Bitmap("permissive domains")),
            ("descending", policy(1, &[64, 128, 2, 64, 1, 0, 0, 1, 0]), PolicyFault::Bitmap("permissive domains")),
            ("past the high bit", policy(1, &[64, 64, 1, 64, 1, 0]), PolicyFault::Bitmap("permissive domains")),
        ] {
            assert_eq!(Policy::parse(&bytes), Err(want), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(tail in proptest::collection::vec(any::<u8>(), 0..300), whole: bool) {
            let head = policy(1, &[]);
            let bytes = if whole { tail } else { [&head[..56], &tail[..]].concat() };
            let _ = Policy::parse(&bytes);
        }
    }
}
