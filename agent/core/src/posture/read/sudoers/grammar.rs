//! The grammar of a statement of sudoers(5).

use std::collections::BTreeMap;

use super::words::{Token, name, tokens, written};

/// sudoers(5), "Tag_Spec".
const TAGS: [&str; 18] = [
    "EXEC",
    "NOEXEC",
    "FOLLOW",
    "NOFOLLOW",
    "INTERCEPT",
    "NOINTERCEPT",
    "LOG_INPUT",
    "NOLOG_INPUT",
    "LOG_OUTPUT",
    "NOLOG_OUTPUT",
    "MAIL",
    "NOMAIL",
    "PASSWD",
    "NOPASSWD",
    "SETENV",
    "NOSETENV",
    "NOTIFY",
    "NONOTIFY",
];

/// sudoers(5), "Option_Spec".
const OPTIONS: [&str; 10] =
    ["ROLE", "TYPE", "PRIVS", "LIMITPRIVS", "NOTBEFORE", "NOTAFTER", "TIMEOUT", "CWD", "CHROOT", "APPARMOR_PROFILE"];

/// sudoers(5), "Digest_Spec".
const DIGESTS: [&str; 4] = ["sha224", "sha256", "sha384", "sha512"];

/// sudoers(5), "Aliases"; each kind has names of its own.
const ALIASES: [&str; 5] = ["User_Alias", "Runas_Alias", "Host_Alias", "Cmnd_Alias", "Cmd_Alias"];

/// What each alias of a kind stands for.
pub type Aliases = BTreeMap<String, Vec<Item>>;

/// A name, or that it is excepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// An odd number of `!` stands before it.
    pub excepted: bool,
    /// Without quotes and backslashes; of a command without arguments.
    pub name: String,
}

/// A command of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its path, `ALL`, or an alias.
    pub command: Item,
    /// `NOPASSWD` holds for it.
    pub without_password: bool,
}

/// One statement.
pub enum Said {
    /// A path; a directory's has a `/` at the end.
    Include(String),
    /// Who, and what they may run.
    Rule(Vec<Item>, Vec<Command>),
    /// Of users.
    UserAlias(Aliases),
    /// Of commands.
    CommandAlias(Aliases),
    /// Of hosts, or of whom commands run as: whoever has a rule has it anyway.
    OtherAlias,
    /// Whether passwords are not asked for.
    Defaults(bool),
}

/// Reads a statement: what it says, and what may be kept of its text.
pub fn parse(text: &str) -> Option<(Said, String)> {
    if let Some(include) = text.strip_prefix(['@', '#']).and_then(|rest| rest.strip_prefix("include")) {
        let (directory, path) = include.strip_prefix("dir").map_or((false, include), |path| (true, path));
        let is_path = path.starts_with([' ', '\t']) && !path.trim().is_empty() && !path.contains(char::is_control);
        let path = name(path.trim());
        let path = if directory { format!("{}/", path.trim_end_matches('/')) } else { path };
        return is_path.then(|| (Said::Include(path), text.to_owned()));
    }
    if text.starts_with("Defaults") {
        let (binding, settings) = defaults(text)?;
        let asks_nobody = settings.iter().any(|setting| setting == "!authenticate");
        return Some((Said::Defaults(asks_nobody), format!("Defaults{binding} {}", settings.join(", "))));
    }
    let tokens = tokens(text);
    let mut words = Words { left: &tokens, kept: Vec::new() };
    let said = match words.word() {
        Some(kind) if ALIASES.contains(&kind) => {
            words.next();
            match (kind, aliases(&mut words, kind)?) {
                ("User_Alias", aliases) => Said::UserAlias(aliases),
                ("Cmnd_Alias" | "Cmd_Alias", aliases) => Said::CommandAlias(aliases),
                _ => Said::OtherAlias,
            }
        }
        _ => rule(&mut words)?,
    };
    words.left.is_empty().then(|| (said, written(&words.kept)))
}

/// What a `Defaults` is bound to (`:user`, `@host`, ...; empty for all), and the names of its settings, with `!` where they are switched off.
fn defaults(text: &str) -> Option<(String, Vec<String>)> {
    let rest = text.strip_prefix("Defaults")?;
    let (binding, rest) = match rest.chars().next()? {
        sign @ (':' | '@' | '>' | '!') => {
            // A list: its parts are joined by commas, with or without blanks.
            let rest = rest.get(1..)?.trim_start();
            let part = |from: &str| from.find(|c: char| c.is_whitespace() || c == ',').unwrap_or(from.len());
            let mut end = part(rest);
            while let Some(more) = rest.get(end..)?.trim_start().strip_prefix(',') {
                let more = more.trim_start();
                end = rest.len() - more.len() + part(more);
            }
            let list: String = rest.get(..end)?.split_whitespace().collect();
            let plain = !list.is_empty() && list.chars().all(|c| !c.is_control() && !"\"()=".contains(c));
            (plain.then(|| format!("{sign}{list}"))?, rest.get(end..)?)
        }
        c if c.is_whitespace() => (String::new(), rest),
        _ => return None,
    };
    let mut settings = Vec::new();
    let mut rest = rest.trim_start();
    loop {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let bare = rest.trim_start_matches(['!', ' ', '\t']);
        let off = rest.get(..rest.len() - bare.len())?.matches('!').count() % 2 == 1;
        let behind = bare.trim_start_matches(is_name);
        let setting = bare.get(..bare.len() - behind.len()).filter(|setting| !setting.is_empty())?;
        settings.push(format!("{}{setting}", if off { "!" } else { "" }));
        let behind = behind.trim_start();
        rest = match behind.strip_prefix(['+', '-']).unwrap_or(behind).strip_prefix('=') {
            Some(value) => behind_value(value.trim_start())?.trim_start(),
            None => behind,
        };
        match rest.strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None => return rest.is_empty().then_some((binding, settings)),
        }
    }
}

/// What follows a value: in quotes, or up to a blank or comma.
fn behind_value(text: &str) -> Option<&str> {
    let (mut quoted, mut escaped, mut end) = (false, false, text.len());
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            c if !quoted && (c.is_whitespace() || c == ',') => {
                end = index;
                break;
            }
            _ => {}
        }
    }
    text.get(end..).filter(|_| end > 0)
}

/// The words of a statement that are left, and of those before them what may be kept.
struct Words<'t> {
    left: &'t [Token],
    kept: Vec<Token>,
}

impl<'t> Words<'t> {
    fn next(&mut self) -> Option<&'t Token> {
        let first = self.pass_over()?;
        self.kept.push(first.clone());
        Some(first)
    }

    /// Takes the next and keeps nothing of it.
    fn pass_over(&mut self) -> Option<&'t Token> {
        let (first, left) = self.left.split_first()?;
        self.left = left;
        Some(first)
    }

    fn word(&self) -> Option<&'t str> {
        match self.left.first() {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    /// Takes this sign, if it is next.
    fn sign(&mut self, sign: char) -> bool {
        let is = self.left.first() == Some(&Token::Sign(sign));
        if is {
            self.next();
        }
        is
    }

    /// Takes a word of these, if it is next with this sign behind it.
    fn one_of(&mut self, words: &[&str], sign: char) -> Option<&'t str> {
        match self.left {
            [Token::Word(word), Token::Sign(behind), ..] if *behind == sign && words.contains(&word.as_str()) => {
                self.next();
                self.next();
                Some(word)
            }
            _ => None,
        }
    }

    /// `!` any number of times: is what follows excepted?
    fn excepted(&mut self) -> bool {
        let mut excepted = false;
        while self.sign('!') {
            excepted = !excepted;
        }
        excepted
    }

    /// Names with commas between them.
    fn items(&mut self) -> Option<Vec<Item>> {
        let mut items = Vec::new();
        loop {
            let excepted = self.excepted();
            let name = name(self.word()?);
            if name.is_empty() || name.contains(char::is_control) {
                return None;
            }
            self.next();
            items.push(Item { excepted, name });
            if !self.sign(',') {
                return Some(items);
            }
        }
    }

    /// A command with whatever stands before and behind it.
    fn command(&mut self) -> Option<Item> {
        let mut excepted = self.excepted();
        while self.one_of(&DIGESTS, ':').is_some() {
            self.next().filter(|token| matches!(token, Token::Word(_)))?;
            // Base64 may end in these.
            while self.sign('=') {}
            self.sign(',');
        }
        excepted ^= self.excepted();
        let command = self.word()?;
        self.next();
        if command.starts_with('/') || matches!(command, "sudoedit" | "list") {
            while let Some(Token::Word(_) | Token::Sign('!')) = self.left.first() {
                // A pattern of regular expressions may hold signs that end a command elsewhere.
                if self.word().is_some_and(|word| word.starts_with('^')) {
                    return None;
                }
                self.pass_over();
            }
        } else if !is_alias(command) {
            return None;
        }
        Some(Item { excepted, name: name(command) })
    }

    /// The commands of a rule behind `=`; tags hold for those that follow, too.
    fn commands(&mut self) -> Option<Vec<Command>> {
        let (mut commands, mut without_password) = (Vec::new(), false);
        loop {
            if self.sign('(') {
                let mut closed = self.sign(')');
                if !closed && !self.sign(':') {
                    self.items()?;
                    closed = self.sign(')');
                    if !closed && !self.sign(':') {
                        return None;
                    }
                }
                if !closed && !self.sign(')') {
                    self.items()?;
                    self.sign(')').then_some(())?;
                }
            }
            loop {
                if self.one_of(&OPTIONS, '=').is_some() {
                    self.next().filter(|token| matches!(token, Token::Word(_)))?;
                } else if let Some(tag) = self.one_of(&TAGS, ':') {
                    without_password = (without_password || tag == "NOPASSWD") && tag != "PASSWD";
                } else {
                    break;
                }
            }
            commands.push(Command { command: self.command()?, without_password });
            if !self.sign(',') {
                return Some(commands);
            }
        }
    }
}

/// `ALL`, or what an alias may be called.
fn is_alias(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// `NAME = a, b : NAME = c`.
fn aliases(words: &mut Words<'_>, kind: &str) -> Option<Aliases> {
    let mut aliases = Aliases::new();
    loop {
        let alias = words.word().filter(|word| is_alias(word) && *word != "ALL")?;
        words.next();
        words.sign('=').then_some(())?;
        let items = if kind.starts_with("Cm") {
            let mut items = vec![words.command()?];
            while words.sign(',') {
                items.push(words.command()?);
            }
            items
        } else {
            words.items()?
        };
        aliases.entry(alias.to_owned()).or_default().extend(items);
        if !words.sign(':') {
            return Some(aliases);
        }
    }
}

/// `users hosts = commands : hosts = commands`.
fn rule(words: &mut Words<'_>) -> Option<Said> {
    let users = words.items()?;
    let mut commands = Vec::new();
    loop {
        words.items()?;
        words.sign('=').then_some(())?;
        commands.extend(words.commands()?);
        if !words.sign(':') {
            return Some(Said::Rule(users, commands));
        }
    }
}
