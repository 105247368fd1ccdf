//! passwd(5), shadow(5) and group(5): who could log in, and with what. Of passwords only their class is ever kept.

use std::collections::BTreeMap;

use super::ReadFault;
use super::fault::bounded;

/// A host with thousands of accounts has its users elsewhere.
pub const LARGEST: usize = 256 * 1024;

/// What a password field allows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Password {
    /// Nothing: no password opens it.
    Locked,
    /// In the shadow file.
    Shadowed,
    /// A hash of this kind: whoever knows the password is in.
    Usable(String),
    /// No password is needed at all.
    Empty,
}

impl Password {
    /// The class of a field as it is on disk (crypt(5), shadow(5)).
    pub fn of(field: &str) -> Self {
        let hash = |kind: &str| Self::Usable(kind.to_owned());
        match field {
            "" => Self::Empty,
            "x" => Self::Shadowed,
            locked if locked.starts_with(['!', '*']) => Self::Locked,
            crypted => match crypted.strip_prefix('$').and_then(|rest| rest.split('$').next()) {
                Some("y" | "7" | "gy") => hash("yescrypt"),
                Some("2" | "2a" | "2b" | "2x" | "2y") => hash("bcrypt"),
                Some("6") => hash("sha512"),
                Some("5") => hash("sha256"),
                Some("1") => hash("md5"),
                // An old DES hash, or something that no crypt makes: as long as nobody knows, somebody may know it.
                _ => hash("other"),
            },
        }
    }

    /// The word that is kept of it.
    fn word(&self) -> String {
        match self {
            Self::Locked => "locked".to_owned(),
            Self::Shadowed => "x".to_owned(),
            Self::Usable(kind) => format!("usable-{kind}"),
            Self::Empty => "empty".to_owned(),
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        match word {
            "locked" => Some(Self::Locked),
            "x" => Some(Self::Shadowed),
            "empty" => Some(Self::Empty),
            _ => word.strip_prefix("usable-").map(|kind| Self::Usable(kind.to_owned())),
        }
    }
}

/// A name that useradd would take: in the place of one nothing else is kept, least of all a hash.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// What may be kept of a passwd file: the password's class, no full names.
pub fn keep_passwd(text: &str) -> String {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields[..] {
            [name, password, uid, gid, _, home, shell] if is_name(name) => {
                Some(format!("{name}:{}:{uid}:{gid}::{home}:{shell}\n", Password::of(password).word()))
            }
            // NIS entries (`+::::::`) and what is no entry: only that there was something.
            _ if line.trim().is_empty() => None,
            _ => Some("(no entry)\n".to_owned()),
        }
    };
    text.lines().filter_map(line).collect()
}

/// What may be kept of a shadow file: name and class.
pub fn keep_shadow(text: &str) -> String {
    let line = |line: &str| match line.split(':').collect::<Vec<_>>()[..] {
        [name, password, _, ..] if is_name(name) => Some(format!("{name}:{}\n", Password::of(password).word())),
        _ if line.trim().is_empty() => None,
        _ => Some("(no entry)\n".to_owned()),
    };
    text.lines().filter_map(line).collect()
}

/// What may be kept of a group file: all but the password, of which the class.
pub fn keep_group(text: &str) -> String {
    let line = |line: &str| match line.split(':').collect::<Vec<_>>()[..] {
        [name, password, gid, members] if is_name(name) => {
            Some(format!("{name}:{}:{gid}:{members}\n", Password::of(password).word()))
        }
        _ if line.trim().is_empty() => None,
        _ => Some("(no entry)\n".to_owned()),
    };
    text.lines().filter_map(line).collect()
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its first group.
    pub gid: u32,
    /// Where its keys are.
    pub home: String,
    /// What a login starts.
    pub shell: String,
    /// The password field of passwd.
    pub password: Password,
}

impl Account {
    /// Does a login get a shell? Those of sync, shutdown and halt do one thing and end.
    pub fn can_log_in(&self) -> bool {
        const NO_LOGIN: [&str; 6] = ["nologin", "false", "true", "sync", "shutdown", "halt"];
        !NO_LOGIN.contains(&self.shell.rsplit('/').next().unwrap_or_default())
    }
}

/// Reads what [`keep_passwd`] kept.
///
/// # Errors
/// [`ReadFault`]; a line that is no entry makes the whole unreadable, because libraries differ in what they take it for.
pub fn passwd(text: &str) -> Result<Vec<Account>, ReadFault> {
    let malformed = |line: usize| ReadFault::Malformed { format: "passwd file", line: line + 1 };
    let account = |(number, line): (usize, &str)| match line.split(':').collect::<Vec<_>>()[..] {
        [name, password, uid, gid, _, home, shell] if !name.is_empty() => Ok(Account {
            name: name.to_owned(),
            uid: uid.parse().map_err(|_| malformed(number))?,
            gid: gid.parse().map_err(|_| malformed(number))?,
            home: home.to_owned(),
            // An empty field is /bin/sh (passwd(5)).
            shell: if shell.is_empty() { "/bin/sh".to_owned() } else { shell.to_owned() },
            password: Password::from_word(password).ok_or_else(|| malformed(number))?,
        }),
        _ => Err(malformed(number)),
    };
    bounded(text, LARGEST)?.lines().enumerate().map(account).collect()
}

/// Reads what [`keep_shadow`] kept: the classes by name. The first entry of a name counts.
///
/// # Errors
/// [`ReadFault`], as [`passwd`].
pub fn shadow(text: &str) -> Result<BTreeMap<String, Password>, ReadFault> {
    let mut classes = BTreeMap::new();
    for (number, line) in bounded(text, LARGEST)?.lines().enumerate() {
        let malformed = || ReadFault::Malformed { format: "shadow file", line: number + 1 };
        let (name, word) = line.split_once(':').ok_or_else(malformed)?;
        let class = Password::from_word(word).ok_or_else(malformed)?;
        classes.entry(name.to_owned()).or_insert(class);
    }
    Ok(classes)
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its number.
    pub gid: u32,
    /// Whoever is in it beside those whose first group it is.
    pub members: Vec<String>,
}

/// Reads what [`keep_group`] kept.
///
/// # Errors
/// [`ReadFault`], as [`passwd`].
pub fn group(text: &str) -> Result<Vec<Group>, ReadFault> {
    let group = |(number, line): (usize, &str)| match line.split(':').collect::<Vec<_>>()[..] {
        [name, _, gid, members] if !name.is_empty() => Ok(Group {
            name: name.to_owned(),
            gid: gid.parse().map_err(|_| ReadFault::Malformed { format: "group file", line: number + 1 })?,
            members: members.split(',').filter(|member| !member.is_empty()).map(str::to_owned).collect(),
        }),
        _ => Err(ReadFault::Malformed { format: "group file", line: number + 1 }),
    };
    bounded(text, LARGEST)?.lines().enumerate().map(group).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_have_classes() {
        for (field, want) in [
            ("", "empty"),
            ("x", "x"),
            ("*", "locked"),
            ("!", "locked"),
            ("!!", "locked"),
            ("!$6$salt$hash", "locked"),
            ("$y$j9T$salt$hash", "usable-yescrypt"),
            ("$gy$j9T$salt$hash", "usable-yescrypt"),
            ("$6$salt$hash", "usable-sha512"),
            ("$2b$12$hash", "usable-bcrypt"),
            ("ab01FAX.bQRSU", "usable-other"),
            ("$", "usable-other"),
        ] {
            assert_eq!(Password::of(field).word(), want, "{field}");
            assert_eq!(Password::from_word(want), Some(Password::of(field)), "{field}");
        }
    }

    #[test]
    fn files_are_kept_without_secrets_and_read() {
        let kept =
            keep_passwd("root:x:0:0:Jane Doe:/root:/bin/bash\ntoor:$6$a$hunter2:0:0::/:\nsync:x:5:0::/:/bin/sync\n\n");
        assert_eq!(kept, "root:x:0:0::/root:/bin/bash\ntoor:usable-sha512:0:0::/:\nsync:x:5:0::/:/bin/sync\n");
        let accounts = passwd(&kept).expect("passwd");
        assert_eq!(accounts.iter().map(Account::can_log_in).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(accounts[1].shell, "/bin/sh");

        let kept = keep_shadow("root:!locked::0:99999:7:::\ncore:$y$j9T$hunter2:19000:0:99999:7:::\nx::19000::::::\n");
        assert_eq!(kept, "root:locked\ncore:usable-yescrypt\nx:empty\n");
        assert_eq!(shadow(&kept).expect("shadow").get("x"), Some(&Password::Empty));

        let kept = keep_group("root:x:0:\nsudo:hunter2:27:core,jane\n");
        assert_eq!(kept, "root:x:0:\nsudo:usable-other:27:core,jane\n");
        assert_eq!(group(&kept).expect("group")[1].members, ["core", "jane"]);
    }

    #[test]
    fn what_is_no_entry_is_a_fault() {
        for text in
            ["", "+::::::\n", "root\n", "root:x:0:0::/root\n", "root:x:zero:0::/root:/bin/sh\n", ":x:0:0::/:/bin/sh\n"]
        {
            assert!(passwd(&keep_passwd(text)).is_err(), "{text:?}");
        }
        for text in ["", "root\n", "root:x\n"] {
            assert!(shadow(&keep_shadow(text)).is_err(), "{text:?}");
        }
        for text in ["", "root:x:0\n", "root:x:x:\n"] {
            assert!(group(&keep_group(text)).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "(?s:.{0,200})", lines in proptest::collection::vec("[a-z:$!*0-9,]{0,40}", 0..6)) {
            for text in [text, lines.join("\n")] {
                let _ = passwd(&keep_passwd(&text));
                let _ = shadow(&keep_shadow(&text));
                let _ = group(&keep_group(&text));
                let _ = (passwd(&text), shadow(&text), group(&text));
            }
        }

        /// No hash comes through, wherever the colons are.
        #[test]
        fn no_hash_is_kept(before in "[a-z:]{0,6}", after in "[a-z:]{0,8}") {
            let kept = keep_shadow(&format!("{before}$6$salt$hunter2{after}"));
            prop_assert!(!kept.contains("hunter2"), "{kept}");
        }
    }
}
