//! The statements of a sudoers file, and their words. sudo takes a comment to the end of its line even where a backslash ends it: were lines joined
//! before comments are cut, a rule behind such a comment would be overlooked.

use std::str::Chars;

/// One statement: comments cut, lines that go on put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Where it begins, 1-based.
    pub line: usize,
    /// Its text; `None` where a quote does not end.
    pub text: Option<String>,
}

/// Every statement of a file that says something.
pub fn statements(text: &str) -> Vec<Statement> {
    let mut statements = Vec::new();
    let (mut rest, mut line) = (text.chars(), 1);
    while !rest.as_str().is_empty() {
        let begin = line;
        let text = statement(&mut rest, &mut line);
        if text.as_ref().is_none_or(|text| !text.is_empty()) {
            statements.push(Statement { line: begin, text });
        }
    }
    statements
}

/// The statement that begins here; `rest` is behind its line then.
fn statement(rest: &mut Chars<'_>, line: &mut usize) -> Option<String> {
    let mut text = String::new();
    let mut quoted = false;
    while let Some(c) = rest.next() {
        match c {
            '\n' => {
                *line += 1;
                return (!quoted).then(|| text.trim().to_owned());
            }
            '"' => {
                quoted = !quoted;
                text.push(c);
            }
            '\\' => match goes_on(rest.as_str()) {
                Some(behind) => {
                    *line += 1;
                    *rest = behind.chars();
                    text.push(' ');
                }
                None => {
                    text.push(c);
                    text.extend(rest.next());
                }
            },
            '#' if !quoted && !is_no_comment(&text, rest.as_str()) => {
                let (_, behind) = rest.as_str().split_once('\n').unwrap_or(("", ""));
                *line += 1;
                *rest = behind.chars();
                break;
            }
            c => text.push(c),
        }
    }
    (!quoted).then(|| text.trim().to_owned())
}

/// What is behind the line's end, if nothing but blanks is before it.
fn goes_on(rest: &str) -> Option<&str> {
    rest.trim_start_matches([' ', '\t', '\r']).strip_prefix('\n')
}

/// Is the `#` between these two a number's sign (`#1000`, `%#10`) or the old form of an include, and no comment?
fn is_no_comment(before: &str, behind: &str) -> bool {
    if before.trim().is_empty() && ["include", "includedir"].iter().any(|word| first_word(behind) == *word) {
        return true;
    }
    let number = behind.strip_prefix('-').unwrap_or(behind).starts_with(|c: char| c.is_ascii_digit());
    let begins = before.chars().next_back().is_none_or(|c| c.is_whitespace() || ",:=!(%".contains(c));
    number && begins
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().filter(|word| text.starts_with(word)).unwrap_or_default()
}

/// A word, or one of `, : = ! ( )`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// As it is written, with its quotes and backslashes.
    Word(String),
    /// A sign.
    Sign(char),
}

/// The words of a statement.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    let mut chars = text.chars();
    let end = |word: &mut String, tokens: &mut Vec<Token>| {
        if !word.is_empty() {
            tokens.push(Token::Word(std::mem::take(word)));
        }
    };
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                word.push(c);
                word.extend(chars.next());
            }
            '"' => {
                quoted = !quoted;
                word.push(c);
            }
            c if quoted => word.push(c),
            c if c.is_whitespace() => end(&mut word, &mut tokens),
            // `%:name` is a group of another source than the system's.
            ':' if word == "%" => word.push(c),
            ',' | ':' | '=' | '!' | '(' | ')' => {
                end(&mut word, &mut tokens);
                tokens.push(Token::Sign(c));
            }
            c => word.push(c),
        }
    }
    end(&mut word, &mut tokens);
    tokens
}

/// The statement of these words again.
pub fn written(tokens: &[Token]) -> String {
    let mut text = String::new();
    for (index, token) in tokens.iter().enumerate() {
        let (Token::Word(part), next) = (token, tokens.get(index + 1)) else {
            if let Token::Sign(sign) = token {
                text.push(*sign);
            }
            continue;
        };
        text.push_str(part);
        if matches!(next, Some(Token::Word(_) | Token::Sign('!' | '('))) {
            text.push(' ');
        }
    }
    text
}

/// The name that is written so.
pub fn name(word: &str) -> String {
    let mut name = String::new();
    let mut chars = word.chars().filter(|c| *c != '"');
    while let Some(c) = chars.next() {
        match c {
            '\\' => name.extend(chars.next()),
            c => name.push(c),
        }
    }
    name
}
