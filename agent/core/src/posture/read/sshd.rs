//! sshd's configuration: what it says is in force (`sshd -T`), and where its files make exceptions (`Match`), so that each can be asked for.

use std::collections::{BTreeMap, BTreeSet};

use super::ReadFault;
use super::fault::bounded;

/// `sshd -T` prints 4 KiB.
pub const LARGEST: usize = 128 * 1024;

/// What `sshd -T` prints: the options in force for one connection, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, Vec<String>>);

impl Settings {
    /// Options without which this is not the whole output.
    const ALWAYS: [&str; 8] = [
        "port",
        "permitrootlogin",
        "pubkeyauthentication",
        "passwordauthentication",
        "kbdinteractiveauthentication",
        "permitemptypasswords",
        "authorizedkeysfile",
        "usepam",
    ];

    /// Nothing is known: for what is looked for beyond sshd's own word.
    pub fn unknown() -> Self {
        Self(BTreeMap::new())
    }

    /// Reads the output.
    ///
    /// # Errors
    /// [`ReadFault`]; every option that each `sshd -T` prints must be there.
    pub fn parse(text: &str) -> Result<Self, ReadFault> {
        let mut options: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in bounded(text, LARGEST)?.lines() {
            let (name, value) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            options.entry(name.to_ascii_lowercase()).or_default().push(value.trim().to_owned());
        }
        match Self::ALWAYS.iter().find(|name| !options.contains_key(**name)) {
            Some(name) => Err(ReadFault::Missing(name)),
            None => Ok(Self(options)),
        }
    }

    /// An option's value, the first if there are several; `None` if this sshd does not know it, or if it is not set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(|values| values.first()).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Every value of an option that may be there more than once.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(String::as_str)
    }
}

/// What the configuration files say that makes one connection differ from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exceptions {
    /// Each `Match` line: its criteria, lower-case name and patterns.
    pub matches: Vec<Vec<(String, Vec<String>)>>,
    /// The patterns of `Include` lines.
    pub includes: Vec<String>,
}

impl Exceptions {
    /// Adds those of one file (`sshd_config(5)`: keywords in any case, separated by blanks or `=`, quotes around what holds blanks).
    ///
    /// # Errors
    /// [`ReadFault`]: empty, too large, no text, or a line that has not the form of an option, which sshd would not start with either.
    pub fn add(&mut self, text: &str) -> Result<(), ReadFault> {
        for (number, line) in bounded(text, LARGEST)?.lines().enumerate() {
            let words = words(line);
            let Some((keyword, arguments)) = words.split_first() else { continue };
            if arguments.is_empty() || !keyword.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return Err(ReadFault::Malformed { format: "sshd configuration", line: number + 1 });
            }
            match keyword.to_ascii_lowercase().as_str() {
                "include" => self.includes.extend(arguments.iter().cloned()),
                "match" => self.matches.push(criteria(arguments)),
                _ => {}
            }
        }
        Ok(())
    }
}

fn criteria(arguments: &[String]) -> Vec<(String, Vec<String>)> {
    let mut criteria = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(name) = arguments.next() {
        // `Match all` has no pattern; `User=a` is one word.
        let (name, patterns) = match name.split_once('=') {
            Some((name, patterns)) => (name, patterns),
            None if name.eq_ignore_ascii_case("all") || name.eq_ignore_ascii_case("invalid-user") => {
                (name.as_str(), "")
            }
            None => (name.as_str(), arguments.next().map_or("", String::as_str)),
        };
        let patterns = patterns.split(',').filter(|pattern| !pattern.is_empty()).map(str::to_owned).collect();
        criteria.push((name.to_ascii_lowercase(), patterns));
    }
    criteria
}

/// The words of a line; the first may end in `=`. A comment begins with `#` at the start of a word.
fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut quoted, mut any) = (String::new(), false, false);
    for c in line.trim().chars() {
        match c {
            '"' => {
                quoted = !quoted;
                any = true;
            }
            '#' if !quoted && !any => break,
            c if !quoted && (c.is_whitespace() || (c == '=' && words.is_empty())) => {
                if any {
                    words.push(std::mem::take(&mut word));
                    any = false;
                }
            }
            c => {
                word.push(c);
                any = true;
            }
        }
    }
    if any {
        words.push(word);
    }
    // `Keyword = value`: the sign is no word of its own.
    if words.get(1).is_some_and(|word| word == "=") {
        words.remove(1);
    }
    words
}

/// One connection that `sshd -T -C` is asked about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Connection {
    /// Who logs in.
    pub user: String,
    /// From where.
    pub address: String,
    /// The name of that address, as far as a `Match Host` asks for one.
    pub host: Option<String>,
    /// To which address of this host.
    pub local_address: Option<String>,
    /// To which port.
    pub local_port: Option<String>,
}

impl Connection {
    /// The value of `-C`, which is also the member's name in evidence.
    pub fn specification(&self) -> String {
        let host = self.host.as_deref().unwrap_or(&self.address);
        let mut specification = format!("user={},host={host},addr={}", self.user, self.address);
        for (name, value) in [("laddr", &self.local_address), ("lport", &self.local_port)] {
            if let Some(value) = value {
                specification.push_str(&format!(",{name}={value}"));
            }
        }
        specification
    }
}

/// More than this are not asked: at 7 ms each that is more than a second.
pub const MOST_CONNECTIONS: usize = 192;

/// The connections that have to be asked about so that no exception is overlooked: without `Match` one is like another; with it, every user who
/// can log in and every one who is named, from every address of interest and from every one that is named. `None`: more than
/// [`MOST_CONNECTIONS`].
pub fn connections(
    users: &BTreeSet<String>,
    addresses: &BTreeSet<String>,
    exceptions: &Exceptions,
) -> Option<Vec<Connection>> {
    let plain = |user: &str, address: &str| Connection {
        user: user.to_owned(),
        address: address.to_owned(),
        host: None,
        local_address: None,
        local_port: None,
    };
    if exceptions.matches.is_empty() {
        return Some(vec![plain("core", "127.0.0.1")]);
    }
    let named = |criterion: &str, example: fn(&str) -> Option<String>| -> BTreeSet<String> {
        let criteria = exceptions.matches.iter().flatten().filter(|(name, _)| name == criterion);
        criteria.flat_map(|(_, patterns)| patterns).filter_map(|pattern| example(pattern)).collect()
    };
    let mut all_users = users.clone();
    all_users.insert("core".to_owned());
    all_users.extend(named("user", example_name));
    let mut all_addresses = addresses.clone();
    all_addresses.insert("127.0.0.1".to_owned());
    all_addresses.extend(named("address", example_address));
    let mut connections = BTreeSet::new();
    for user in &all_users {
        connections.extend(all_addresses.iter().map(|address| plain(user, address)));
        // What else a line asks for, one example for each, with every address that the same line names.
        for line in &exceptions.matches {
            let example = |criterion: &str, example: fn(&str) -> Option<String>| {
                line.iter()
                    .find(|(name, _)| name == criterion)
                    .and_then(|(_, patterns)| patterns.iter().find_map(|p| example(p)))
            };
            let host = example("host", example_name);
            let local_address = example("localaddress", example_address);
            let local_port = example("localport", example_name);
            if host.is_some() || local_address.is_some() || local_port.is_some() {
                let address = example("address", example_address).unwrap_or_else(|| "127.0.0.1".to_owned());
                connections.insert(Connection { user: user.clone(), address, host, local_address, local_port });
            }
        }
        if connections.len() > MOST_CONNECTIONS {
            return None;
        }
    }
    Some(connections.into_iter().collect())
}

/// A name that a pattern matches; of a negated pattern the name that it excludes. `None` for what could not stand in `-C`.
fn example_name(pattern: &str) -> Option<String> {
    let name = pattern.trim_start_matches('!').replace(['*', '?'], "x");
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':');
    (!name.is_empty() && name.bytes().all(fits)).then_some(name)
}

/// An address that a pattern matches: of a network its first, of a wildcard one of those it stands for.
fn example_address(pattern: &str) -> Option<String> {
    let pattern = pattern.trim_start_matches('!');
    let address = pattern.split_once('/').map_or(pattern, |(network, _)| network);
    let address = address.replace(['*', '?'], "1");
    address.parse::<std::net::IpAddr>().ok().map(|address| address.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exceptions(text: &str) -> Exceptions {
        let mut exceptions = Exceptions::default();
        exceptions.add(text).expect("text");
        exceptions
    }

    #[test]
    fn settings_are_read_whole_or_not() {
        let all: String = Settings::ALWAYS.iter().map(|name| format!("{name} yes\n")).collect();
        let text = format!("{all}listenaddress [::]:22\nlistenaddress 0.0.0.0:22\nauthenticationmethods any\nbanner\n");
        let settings = Settings::parse(&text).expect("whole");
        assert_eq!(settings.get("usepam"), Some("yes"));
        assert_eq!(settings.get("banner"), None);
        assert_eq!(settings.get("trustedusercakeys"), None);
        assert_eq!(settings.all("listenaddress").count(), 2);
        for cut in [0, 1, text.len() / 4] {
            assert!(Settings::parse(&text[..cut]).is_err(), "{cut}");
        }
        assert_eq!(Settings::parse("port 22\n"), Err(ReadFault::Missing("permitrootlogin")));
    }

    #[test]
    fn lines_are_read_as_sshd_does() {
        for (line, want) in [
            ("  Match user core # a comment", &["Match", "user", "core"][..]),
            ("match=User a", &["match", "User", "a"][..]),
            ("Match = User a", &["Match", "User", "a"][..]),
            ("Include \"/etc/a b/*.conf\" /etc/c", &["Include", "/etc/a b/*.conf", "/etc/c"][..]),
            ("# Match User a", &[][..]),
            ("", &[][..]),
            ("Banner \"\"", &["Banner", ""][..]),
        ] {
            assert_eq!(words(line), want, "{line}");
        }
        let found =
            exceptions("Include /etc/ssh/sshd_config.d/*.conf\nmatch User=a,!b Address 10.0.0.0/8\nMatch all\nX y\n");
        assert_eq!(found.includes, ["/etc/ssh/sshd_config.d/*.conf"]);
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            found.matches,
            [
                vec![("user".to_owned(), list(&["a", "!b"])), ("address".to_owned(), list(&["10.0.0.0/8"]))],
                vec![("all".to_owned(), list(&[]))],
            ]
        );
    }

    #[test]
    fn every_exception_is_asked_about() {
        let set = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<BTreeSet<_>>();
        let (users, addresses) = (set(&["core", "root"]), set(&["127.0.0.1", "::1", "10.0.0.7"]));
        let ask = |text: &str| -> Vec<String> {
            let connections = connections(&users, &addresses, &exceptions(text)).expect("few");
            connections.iter().map(Connection::specification).collect()
        };
        assert_eq!(ask("PasswordAuthentication no\n"), ["user=core,host=127.0.0.1,addr=127.0.0.1"]);
        assert_eq!(ask("Match all\n").len(), 6);
        for (text, want) in [
            ("Match User backup", "user=backup,host=10.0.0.7,addr=10.0.0.7"),
            ("Match User back*", "user=backx,host=127.0.0.1,addr=127.0.0.1"),
            ("Match User *,!evil", "user=evil,host=::1,addr=::1"),
            ("Match Address 192.168.0.0/16", "user=root,host=192.168.0.0,addr=192.168.0.0"),
            ("Match Address 192.168.7.*", "user=root,host=192.168.7.1,addr=192.168.7.1"),
            ("Match Address 2001:db8::/32", "user=core,host=2001:db8::,addr=2001:db8::"),
            ("Match LocalPort 2222", "user=core,host=127.0.0.1,addr=127.0.0.1,lport=2222"),
            ("Match Host *.example.com User a", "user=a,host=x.example.com,addr=127.0.0.1"),
            ("Match LocalAddress 10.0.0.7 Address 10.1.2.3", "user=core,host=10.1.2.3,addr=10.1.2.3,laddr=10.0.0.7"),
        ] {
            let asked = ask(&format!("{text}\n"));
            assert!(asked.iter().any(|specification| specification == want), "{text}: {asked:?}");
        }
        let many: String = (0..300).map(|n| format!("Match User u{n}\n")).collect();
        assert_eq!(connections(&users, &addresses, &exceptions(&many)), None);
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "(?s:.{0,200})", line in "(Match|Include)[ =][ -~]{0,60}") {
            let _ = Settings::parse(&text);
            let mut exceptions = Exceptions::default();
            let _ = exceptions.add(&text);
            let _ = exceptions.add(&line);
            let none = BTreeSet::new();
            if let Some(connections) = connections(&none, &none, &exceptions) {
                for connection in connections {
                    // It becomes an argument of a program, and a member's name.
                    prop_assert!(!connection.specification().contains(char::is_whitespace));
                }
            }
        }
    }
}
