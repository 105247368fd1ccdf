//! What the kernel says of a process: `/proc/<pid>/status` and `/proc/<pid>/mountinfo`.

use super::ReadFault;
use super::fault::bounded;

/// `status` is about 1.5 KiB, `mountinfo` of a node with many pods under 200 KiB.
pub const LARGEST: usize = 1024 * 1024;

/// The rights of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// It can never gain a privilege by executing something.
    pub no_new_privileges: bool,
    /// 0 none, 1 strict, 2 filter.
    pub seccomp: u8,
    /// Effective capabilities, one bit each.
    pub effective: u64,
    /// What it could ever have.
    pub bounding: u64,
    /// What a program it executes would keep.
    pub ambient: u64,
    /// The user it is.
    pub uid: u32,
}

impl Rights {
    /// Reads `/proc/<pid>/status`.
    ///
    /// # Errors
    /// [`ReadFault`]; every field must be there, once and whole.
    pub fn parse(text: &str) -> Result<Self, ReadFault> {
        let text = bounded(text, LARGEST)?;
        let field = |name: &'static str| {
            let mut found = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            match (found.next(), found.next()) {
                (Some(value), None) => Ok(value.trim()),
                _ => Err(ReadFault::Missing(name)),
            }
        };
        let bits = |name| {
            let value = field(name)?;
            let whole = value.len() == 16;
            u64::from_str_radix(value, 16).ok().filter(|_| whole).ok_or(ReadFault::Missing(name))
        };
        let uid = field("Uid")?.split_whitespace().nth(1).and_then(|uid| uid.parse().ok());
        Ok(Self {
            no_new_privileges: match field("NoNewPrivs")? {
                "0" => false,
                "1" => true,
                _ => return Err(ReadFault::Missing("NoNewPrivs")),
            },
            seccomp: field("Seccomp")?.parse().ok().filter(|mode| *mode <= 2).ok_or(ReadFault::Missing("Seccomp"))?,
            effective: bits("CapEff")?,
            bounding: bits("CapBnd")?,
            ambient: bits("CapAmb")?,
            uid: uid.ok_or(ReadFault::Missing("Uid"))?,
        })
    }
}

/// The names of capabilities, by number (`linux/capability.h`).
const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The capabilities of a set, by name.
pub fn capabilities(set: u64) -> Vec<String> {
    let bits = (0..64_usize).filter(|bit| set >> bit & 1 == 1);
    bits.map(|bit| CAPABILITIES.get(bit).map_or_else(|| format!("capability {bit}"), |&name| name.to_owned())).collect()
}

/// The bit of a capability, by its name.
pub fn capability(name: &str) -> Option<u64> {
    let bit = CAPABILITIES.iter().position(|known| *known == name)?;
    Some(1 << bit)
}

/// One mount of a process' namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub at: String,
    /// This mount is read-only (`ro` among its own options), or its file system is.
    pub read_only: bool,
    /// `ext4`, `overlay`, ...
    pub kind: String,
}

/// All mounts of a process' namespace, in order; a later one covers an earlier one of the same place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts(Vec<Mount>);

impl Mounts {
    /// Reads `/proc/<pid>/mountinfo`.
    ///
    /// # Errors
    /// [`ReadFault`].
    pub fn parse(text: &str) -> Result<Self, ReadFault> {
        let text = bounded(text, LARGEST)?;
        if !text.ends_with('\n') {
            return Err(ReadFault::CutShort);
        }
        let read = |(index, line): (usize, &str)| {
            mount(line).ok_or(ReadFault::Malformed { format: "mountinfo", line: index + 1 })
        };
        text.lines().enumerate().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The mount that `path` is in: the longest place that leads to it, the last of two.
    pub fn holding(&self, path: &str) -> Option<&Mount> {
        let leads = |mount: &&Mount| {
            mount.at == "/"
                || path.strip_prefix(mount.at.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        // max_by_key takes the last of equals.
        self.0.iter().filter(leads).max_by_key(|mount| mount.at.len())
    }
}

/// `36 35 98:0 /root /at rw,noatime shared:1 - ext4 /dev/root rw` (proc(5)).
fn mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(4);
    let (at, options) = (fields.next()?, fields.next()?);
    let mut fields = after.split(' ');
    let (kind, _source, of_system) = (fields.next()?, fields.next()?, fields.next()?);
    let read_only = |options: &str| options.split(',').any(|option| option == "ro");
    Some(Mount { at: unescape(at), read_only: read_only(options) || read_only(of_system), kind: kind.to_owned() })
}

/// Blank, tab, line end and backslash are written `\040` and so on.
fn unescape(text: &str) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let escaped = more.get(..3).filter(|_| *first == b'\\').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        match escaped {
            Some(byte) => {
                plain.push(byte);
                rest = more.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATUS: &str = "Name:\teyewall\nUid:\t0\t0\t0\t0\nCapInh:\t0000000000000004\nCapPrm:\t0000000000000004\nCapEff:\t0000000000000004\nCapBnd:\t0000000000000004\nCapAmb:\t0000000000000004\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t8\n";

    #[test]
    fn rights_are_read() {
        let rights = Rights::parse(STATUS).expect("a status");
        assert!(rights.no_new_privileges);
        assert_eq!((rights.seccomp, rights.uid), (2, 0));
        assert_eq!(capabilities(rights.effective), ["CAP_DAC_READ_SEARCH"]);
        assert_eq!(capability("CAP_DAC_READ_SEARCH"), Some(4));
        assert_eq!(capability("CAP_FLY"), None);
        assert_eq!(capabilities(1 << 63 | 1), ["CAP_CHOWN", "capability 63"]);
        for (name, text) in [
            ("empty", String::new()),
            ("no seccomp", STATUS.replace("Seccomp:", "Sec:")),
            ("a short set", STATUS.replace("CapBnd:\t0000000000000004", "CapBnd:\t4")),
            ("no set", STATUS.replace("CapBnd:\t0000000000000004", "CapBnd:\tzzzzzzzzzzzzzzzz")),
            ("twice", format!("{STATUS}CapEff:\t0000000000000000\n")),
            ("neither", STATUS.replace("NoNewPrivs:\t1", "NoNewPrivs:\t2")),
        ] {
            assert!(Rights::parse(&text).is_err(), "{name}");
        }
    }

    #[test]
    fn the_last_and_deepest_mount_holds_a_path() {
        let mounts = Mounts::parse(
            "1 0 8:1 / / ro,relatime shared:1 - ext4 /dev/sda1 rw\n\
             2 1 8:1 /etc /etc rw - ext4 /dev/sda1 rw\n\
             3 1 8:1 /etc /etc ro - ext4 /dev/sda1 rw\n\
             4 1 0:5 / /run rw,nosuid - tmpfs tmpfs ro\n\
             5 1 0:6 / /a\\040b rw - tmpfs tmpfs rw\n",
        )
        .expect("mounts");
        for (path, at, read_only) in [
            ("/", "/", true),
            ("/usr/bin", "/", true),
            ("/etc", "/etc", true),
            ("/etc/passwd", "/etc", true),
            ("/etcetera", "/", true),
            ("/run/x", "/run", true),
            ("/a b/c", "/a b", false),
        ] {
            let mount = mounts.holding(path).expect(path);
            assert_eq!((mount.at.as_str(), mount.read_only), (at, read_only), "{path}");
        }
        for text in ["", "1 0 8:1 / / ro - ext4 x rw", "1 0 8:1 / /\n", "x - y z\n", "1 0 8:1 / / ro - ext4\n"] {
            assert!(Mounts::parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_a_fault(text in "(?s).{0,300}") {
            let _ = (Rights::parse(&text), Mounts::parse(&text), unescape(&text));
            let line = format!("1 0 8:1 / {text} ro - ext4 x rw\n");
            let _ = Mounts::parse(&line);
        }
    }
}
