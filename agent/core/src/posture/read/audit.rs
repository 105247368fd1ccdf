//! Lines of the audit log that tell of SELinux, from `/var/log/audit/audit.log` or, where no audit daemon takes them, from the kernel's log.
//!
//! On Fedora CoreOS denials go to the audit log only, since auditd is part of it (F39).

/// A record that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// `AVC`: something was denied, or would have been.
    Denial(Denial),
    /// `MAC_STATUS`: the mode was set.
    Mode {
        /// Seconds since 1970.
        at: u64,
        /// The mode now.
        enforcing: bool,
        /// The mode before, if the record says.
        was: Option<bool>,
        /// Who, as they logged in; `None` for nobody (a service).
        login_uid: Option<u32>,
    },
    /// `MAC_POLICY_LOAD` or `MAC_CONFIG_CHANGE`: a policy was loaded, or a boolean was set.
    Policy {
        /// Seconds since 1970.
        at: u64,
        /// Who, as they logged in; `None` for nobody (a service).
        login_uid: Option<u32>,
    },
}

/// An access that the policy does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Seconds since 1970.
    pub at: u64,
    /// What was wanted: `read write`.
    pub permissions: String,
    /// The context of the process.
    pub source: String,
    /// The context of what it wanted.
    pub target: String,
    /// The class of that: `file`, `capability`, ...
    pub class: String,
    /// The program's short name, if it is plain text.
    pub command: Option<String>,
    /// It was let through all the same: the mode, or this domain, is permissive.
    pub permissive: bool,
}

impl Record {
    /// Reads one line; `None` if it is of another type or not well-formed. The kernel itself writes `audit: type=1404 audit(…)` where auditd
    /// writes `type=MAC_STATUS msg=audit(…)`; the numbers are those of `linux/audit.h`.
    pub fn parse(line: &str) -> Option<Self> {
        let line = line.trim();
        let (kind, rest) = line.strip_prefix("audit: ").unwrap_or(line).strip_prefix("type=")?.split_once(' ')?;
        let (stamp, rest) = rest.strip_prefix("msg=").unwrap_or(rest).strip_prefix("audit(")?.split_once(')')?;
        let at = stamp.split(['.', ':']).next()?.parse().ok()?;
        let rest = rest.trim_start_matches(':').trim_start();
        let login_uid = || field(rest, "auid").and_then(|uid| uid.parse().ok()).filter(|uid| *uid != u32::MAX);
        let flag = |name| match field(rest, name) {
            Some("1") => Some(true),
            Some("0") => Some(false),
            _ => None,
        };
        match kind {
            "AVC" | "1400" => {
                let (_, denied) = rest.split_once("denied")?;
                let (permissions, rest) = denied.trim_start().strip_prefix('{')?.split_once('}')?;
                Some(Self::Denial(Denial {
                    at,
                    permissions: permissions.trim().to_owned(),
                    source: field(rest, "scontext")?.to_owned(),
                    target: field(rest, "tcontext")?.to_owned(),
                    class: field(rest, "tclass")?.to_owned(),
                    // Quoted if it is plain; in hex if it could deceive a reader.
                    command: field(rest, "comm")
                        .and_then(|comm| comm.strip_prefix('"')?.strip_suffix('"'))
                        .map(str::to_owned),
                    permissive: flag("permissive") == Some(true),
                }))
            }
            "MAC_STATUS" | "1404" => Some(Self::Mode {
                at,
                enforcing: flag("enforcing")?,
                was: flag("old_enforcing"),
                login_uid: login_uid(),
            }),
            "MAC_POLICY_LOAD" | "1403" | "MAC_CONFIG_CHANGE" | "1405" => {
                Some(Self::Policy { at, login_uid: login_uid() })
            }
            _ => None,
        }
    }
}

/// The value of ` name=value` in a record.
fn field<'t>(record: &'t str, name: &str) -> Option<&'t str> {
    record.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn records_are_read() {
        let avc = "type=AVC msg=audit(1752580800.123:456): avc:  denied  { read write } for  pid=812 comm=\"cat\" name=\"shadow\" \
                   dev=\"vda4\" ino=7 scontext=system_u:system_r:a_t:s0 tcontext=system_u:object_r:shadow_t:s0 tclass=file permissive=1";
        let denial = Denial {
            at: 1_752_580_800,
            permissions: "read write".to_owned(),
            source: "system_u:system_r:a_t:s0".to_owned(),
            target: "system_u:object_r:shadow_t:s0".to_owned(),
            class: "file".to_owned(),
            command: Some("cat".to_owned()),
            permissive: true,
        };
        let status = "type=MAC_STATUS msg=audit(1752580801.001:457): enforcing=0 old_enforcing=1 auid=1000 ses=3 enabled=1 old-enabled=1 lsm=selinux res=1";
        let load =
            "type=MAC_POLICY_LOAD msg=audit(1752580802.001:458): auid=4294967295 ses=4294967295 lsm=selinux res=1";
        for (name, line, want) in [
            ("denial", avc.to_owned(), Some(Record::Denial(denial.clone()))),
            (
                "a hidden name",
                avc.replace("\"cat\"", "636174"),
                Some(Record::Denial(Denial { command: None, ..denial.clone() })),
            ),
            (
                "denied in earnest",
                avc.replace("permissive=1", "permissive=0"),
                Some(Record::Denial(Denial { permissive: false, ..denial })),
            ),
            (
                "mode",
                status.to_owned(),
                Some(Record::Mode { at: 1_752_580_801, enforcing: false, was: Some(true), login_uid: Some(1000) }),
            ),
            ("policy", load.to_owned(), Some(Record::Policy { at: 1_752_580_802, login_uid: None })),
            (
                "mode in the kernel's log",
                status.replace("type=MAC_STATUS msg=", "audit: type=1404 "),
                Some(Record::Mode { at: 1_752_580_801, enforcing: false, was: Some(true), login_uid: Some(1000) }),
            ),
            (
                "policy in the kernel's log",
                load.replace("type=MAC_POLICY_LOAD msg=", "audit: type=1403 ").replacen("4294967295", "0", 1),
                Some(Record::Policy { at: 1_752_580_802, login_uid: Some(0) }),
            ),
            ("another type of the kernel's", status.replace("type=MAC_STATUS msg=", "audit: type=1300 "), None),
            ("granted", avc.replace("denied", "granted"), None),
            ("another type", avc.replace("type=AVC", "type=SYSCALL"), None),
            ("cut", avc[..120].to_owned(), None),
            ("empty", String::new(), None),
        ] {
            assert_eq!(Record::parse(&line), want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_taken(line in "(?s:.{0,200})", kind in "AVC|MAC_STATUS|1404", tail in "[ -~]{0,80}") {
            let _ = Record::parse(&line);
            let _ = Record::parse(&format!("type={kind} msg=audit({tail}"));
            let _ = Record::parse(&format!("type={kind} msg=audit(1.2:3): {tail}"));
            let _ = Record::parse(&format!("audit: type={kind} audit(1.2:3): {tail}"));
        }
    }
}
