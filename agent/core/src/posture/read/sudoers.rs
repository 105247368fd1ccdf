//! sudoers(5): who may run what as whom. Read as far as it takes to tell who has a rule: of `Defaults` only names are kept, of commands no
//! arguments, for both may hold a secret. A rule counts whatever host it names: which names a host has is sudo's business.

mod grammar;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use self::grammar::{Aliases, Command, Item, Said, parse};
use self::words::statements;
use super::ReadFault;
use super::fault::bounded;

/// More than any such file has.
pub const LARGEST: usize = 256 * 1024;

/// No more statements of a file are read: a node has a dozen.
pub const MOST_STATEMENTS: usize = 1_000;

/// What is kept of a statement that sudo would not take either.
const NOT_UNDERSTOOD: &str = "(not understood)";

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    place: String,
    users: Vec<Item>,
    commands: Vec<Command>,
}

/// What somebody is granted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// A user, `%group`, `#number`, `%#number`, `+netgroup` or `ALL`.
    pub who: String,
    /// Any command, not only some.
    pub everything: bool,
    /// Without being asked for a password.
    pub without_password: bool,
    /// The file of the rule.
    pub place: String,
}

/// What several sudoers files say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sudoers {
    /// `@include` and `@includedir` with their paths, as they are written; the directory's with a `/` at the end.
    pub includes: Vec<String>,
    rules: Vec<Rule>,
    users: Aliases,
    commands: Aliases,
    /// Some `Defaults` has `!authenticate`. Whom it is for is not looked at.
    asks_nobody: bool,
}

impl Sudoers {
    /// Adds what a file, known as `place`, says, or what [`keep`] kept of it.
    ///
    /// # Errors
    /// [`ReadFault`]: of the first statement that is none. The others are added all the same, for sudo takes them too.
    pub fn add(&mut self, place: &str, text: &str) -> Result<(), ReadFault> {
        let statements = statements(bounded(text, LARGEST)?);
        let too_many = ReadFault::TooMany { what: "statements", limit: MOST_STATEMENTS };
        let mut fault = (statements.len() > MOST_STATEMENTS).then_some(too_many);
        for statement in statements.into_iter().take(MOST_STATEMENTS) {
            match statement.text.as_deref().and_then(parse).map(|(said, _)| said) {
                Some(Said::Include(path)) => self.includes.push(path),
                Some(Said::Rule(users, commands)) => {
                    self.rules.push(Rule { place: place.to_owned(), users, commands });
                }
                Some(Said::UserAlias(aliases)) => more(&mut self.users, aliases),
                Some(Said::CommandAlias(aliases)) => more(&mut self.commands, aliases),
                Some(Said::OtherAlias) => {}
                Some(Said::Defaults(asks_nobody)) => self.asks_nobody |= asks_nobody,
                None => {
                    fault = fault.or(Some(ReadFault::Malformed { format: "sudoers file", line: statement.line }));
                }
            }
        }
        fault.map_or(Ok(()), Err)
    }

    /// Who is granted anything, aliases resolved; sorted, one for each user and file.
    pub fn grants(&self) -> Vec<Grant> {
        let mut grants: BTreeMap<(String, &str), (bool, bool)> = BTreeMap::new();
        for rule in &self.rules {
            let mut everything = None;
            let mut without_password = false;
            for Command { command, without_password: free } in &rule.commands {
                let granted = resolved(std::slice::from_ref(command), &self.commands);
                if !granted.is_empty() {
                    everything = Some(everything.unwrap_or(false) || granted.contains("ALL"));
                    without_password |= *free || self.asks_nobody;
                }
            }
            let Some(everything) = everything else { continue };
            for who in resolved(&rule.users, &self.users) {
                let known = grants.entry((who, rule.place.as_str())).or_default();
                *known = (known.0 || everything, known.1 || without_password);
            }
        }
        let grant = |((who, place), (everything, without_password)): ((String, &str), _)| Grant {
            who,
            everything,
            without_password,
            place: place.to_owned(),
        };
        grants.into_iter().map(grant).collect()
    }
}

/// An alias that is there twice is a fault for sudo: whichever it takes, its members are known.
fn more(known: &mut Aliases, aliases: Aliases) {
    for (alias, items) in aliases {
        known.entry(alias).or_default().extend(items);
    }
}

/// What the items name and do not except. An alias that is not defined is a name for sudo.
fn resolved(items: &[Item], aliases: &Aliases) -> BTreeSet<String> {
    let (mut found, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut left: Vec<(bool, &str)> = items.iter().map(|item| (item.excepted, item.name.as_str())).collect();
    while let Some((excepted, name)) = left.pop() {
        match aliases.get(name) {
            Some(_) if !seen.insert((excepted, name)) => {}
            Some(members) => {
                left.extend(members.iter().map(|member| (member.excepted != excepted, member.name.as_str())));
            }
            None if !excepted => drop(found.insert(name.to_owned())),
            None => {}
        }
    }
    found
}

/// What may be kept of a sudoers file: no comments, no values of `Defaults`, no arguments of commands.
pub fn keep(text: &str) -> String {
    let line = |text: Option<String>| {
        let kept = text.as_deref().and_then(parse).map(|(_, kept)| kept);
        kept.unwrap_or_else(|| NOT_UNDERSTOOD.to_owned()) + "\n"
    };
    statements(text).into_iter().map(|statement| line(statement.text)).collect()
}

#[cfg(test)]
mod tests;
