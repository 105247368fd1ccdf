//! What the kernel says of SELinux in other forms: the status page, contexts, `/etc/selinux/config`.

/// The status page (`/sys/fs/selinux/status`, `security/selinux/status.c`): five words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusPage {
    /// 2 more after each change of mode, policy load and boolean commit since the page was first opened in this boot; odd while it is
    /// being written.
    pub sequence: u32,
    /// Enforcing now, as the page says. On a netlink message the page still says what was before.
    pub enforcing: bool,
    /// How many policy loads.
    pub policy_loads: u32,
    /// Are unknown classes denied?
    pub deny_unknown: bool,
}

impl StatusPage {
    /// The size of the page's content.
    pub const LENGTH: usize = 20;

    /// Reads the page; `None` if this is not version 1 of it, or if it is being written (read it again). The words are little-endian, as
    /// they are on every machine that the hosts here run on.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |index: usize| -> Option<u32> {
            let bytes = bytes.get(index * 4..index * 4 + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        let [version, sequence, enforcing, policy_loads, deny_unknown] =
            [word(0)?, word(1)?, word(2)?, word(3)?, word(4)?];
        let flags_are_flags = enforcing <= 1 && deny_unknown <= 1;
        (bytes.len() == Self::LENGTH && version == 1 && sequence % 2 == 0 && flags_are_flags).then_some(Self {
            sequence,
            enforcing: enforcing == 1,
            policy_loads,
            deny_unknown: deny_unknown == 1,
        })
    }

    /// How many changes lie between two readings of one boot; the counter may wrap.
    pub fn changes(before: u32, now: u32) -> u32 {
        now.wrapping_sub(before) / 2
    }
}

/// A context `user:role:type[:level]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context<'t> {
    /// The type; of a process its domain.
    pub domain: &'t str,
    /// The level and categories, empty without MLS.
    pub level: &'t str,
}

impl<'t> Context<'t> {
    /// Reads a context as `/proc/PID/attr/current` has it. `kernel` alone is what every process has before a policy is loaded.
    pub fn parse(text: &'t str) -> Option<Self> {
        let text = text.trim_end_matches(['\n', '\0']);
        let is_name = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        if text == "kernel" {
            return Some(Self { domain: "kernel", level: "" });
        }
        let mut parts = text.splitn(4, ':');
        let (user, role, domain) = (parts.next()?, parts.next()?, parts.next()?);
        let level = parts.next().unwrap_or("");
        let is_level =
            level.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b',' | b'.' | b'-' | b'_'));
        (is_name(user) && is_name(role) && is_name(domain) && is_level).then_some(Self { domain, level })
    }
}

/// What `/etc/selinux/config` asks for at boot, as libselinux reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootConfig<'t> {
    /// `enforcing`, `permissive` or `disabled`.
    pub mode: &'static str,
    /// The policy's name.
    pub policy: &'t str,
    /// Every mode that is written; more than one is a trap for the reader.
    pub modes: Vec<&'static str>,
}

impl<'t> BootConfig<'t> {
    /// Reads the file; `None` if it says neither mode nor policy. The *first* line that begins with `SELINUX=` and goes on with a known
    /// word, in any case, decides the mode (`selinux_getenforcemode`): whoever appends a line changes nothing. The last `SELINUXTYPE=` decides.
    pub fn parse(text: &'t str) -> Option<Self> {
        const MODES: [&str; 3] = ["enforcing", "permissive", "disabled"];
        let modes: Vec<&'static str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("SELINUX="))
            .filter_map(|value| {
                MODES.into_iter().find(|mode| value.get(..mode.len()).is_some_and(|v| v.eq_ignore_ascii_case(mode)))
            })
            .collect();
        let policy = text.lines().rev().find_map(|line| line.strip_prefix("SELINUXTYPE="))?.trim();
        Some(Self { mode: modes.first()?, policy, modes })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(words: [u32; 5]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn the_status_page_is_read_or_not() {
        let good = page([1, 6, 1, 2, 0]);
        let want = StatusPage { sequence: 6, enforcing: true, policy_loads: 2, deny_unknown: false };
        assert_eq!(StatusPage::parse(&good), Some(want));
        for (name, bytes) in [
            ("short", good[..19].to_vec()),
            ("long", [&good[..], &[0]].concat()),
            ("another version", page([2, 6, 1, 2, 0])),
            ("being written", page([1, 7, 1, 2, 0])),
            ("no flag", page([1, 6, 2, 2, 0])),
        ] {
            assert_eq!(StatusPage::parse(&bytes), None, "{name}");
        }
        for (before, now, want) in [(0, 0, 0), (0, 4, 2), (6, 8, 1), (u32::MAX - 1, 2, 2)] {
            assert_eq!(StatusPage::changes(before, now), want, "{before} {now}");
        }
    }

    #[test]
    fn contexts_are_read() {
        for (text, want) in [
            ("system_u:system_r:init_t:s0\0", Some(("init_t", "s0"))),
            ("system_u:system_r:container_t:s0:c1,c2\n", Some(("container_t", "s0:c1,c2"))),
            ("u:r:t", Some(("t", ""))),
            ("kernel\0", Some(("kernel", ""))),
            ("", None),
            ("unconfined", None),
            ("docker-default (enforce)", None),
            ("a:b:", None),
            ("a:b:c d", None),
        ] {
            assert_eq!(Context::parse(text).map(|c| (c.domain, c.level)), want, "{text:?}");
        }
    }

    #[test]
    fn the_first_mode_wins_as_in_libselinux() {
        for (name, text, want) in [
            ("as shipped", "# x\nSELINUX=enforcing\nSELINUXTYPE=targeted\n", Some(("enforcing", "targeted"))),
            ("appended", "SELINUX=permissive\nSELINUXTYPE=a\nSELINUX=enforcing\n", Some(("permissive", "a"))),
            (
                "a word it does not know first",
                "SELINUX=on\nSELINUX=Disabled # x\nSELINUXTYPE=a",
                Some(("disabled", "a")),
            ),
            ("indented is none", " SELINUX=enforcing\nSELINUXTYPE=a", None),
            ("no policy", "SELINUX=enforcing\n", None),
            ("commented out", "#SELINUX=enforcing\nSELINUXTYPE=a\n", None),
            ("nothing", "", None),
        ] {
            let got = BootConfig::parse(text);
            assert_eq!(got.map(|config| (config.mode, config.policy)), want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..120), text in "(?s:.{0,120})") {
            let _ = StatusPage::parse(&bytes);
            let _ = Context::parse(&text);
            let _ = BootConfig::parse(&text);
        }
    }
}
