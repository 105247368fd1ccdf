//! authorized_keys(5): which keys open an account. A public key is no secret, but a node's keys tell who its people are: kept are kind, size,
//! fingerprint and options, never the key or its comment.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::ReadFault;
use super::fault::bounded;

/// Hundreds of keys.
pub const LARGEST: usize = 256 * 1024;

/// Key types of OpenSSH; a word that is one of these begins the key, whatever options stand before it.
const KINDS: [&str; 9] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ssh-dss",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-ed25519-cert-v01@openssh.com",
];

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// `ssh-ed25519`
    pub kind: String,
    /// The modulus of an RSA or DSA key; 0 where the kind says it.
    pub bits: u32,
    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// `cert-authority`, `from="10.0.0.0/8"`, ...; empty without.
    pub options: String,
}

/// Reads one line of a file as it is on disk; `None` if it holds no key.
pub fn parse_line(line: &str) -> Option<Key> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (options, kind, rest) = match line.split_once(char::is_whitespace) {
        Some((kind, rest)) if KINDS.contains(&kind) => ("", kind, rest),
        _ => {
            let (options, rest) = line.split_at(end_of_options(line)?);
            let (kind, rest) = rest.trim_start().split_once(char::is_whitespace)?;
            (options, KINDS.contains(&kind).then_some(kind)?, rest)
        }
    };
    let blob = STANDARD.decode(rest.split_whitespace().next()?).ok()?;
    // The blob names its kind again; one that does not is no key.
    (string(&blob)?.0 == kind.as_bytes()).then(|| Key {
        kind: kind.to_owned(),
        bits: bits(kind, &blob),
        fingerprint: fingerprint(&blob),
        options: options.to_owned(),
    })
}

/// `SHA256:` and the hash of the key's blob, without padding.
pub fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob)))
}

/// Where the options end: at the first blank outside of quotes.
fn end_of_options(line: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in line.char_indices() {
        match c {
            '"' if !escaped => quoted = !quoted,
            c if c.is_whitespace() && !quoted => return Some(at),
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    None
}

/// The first string of an SSH blob, and what follows it.
fn string(blob: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = blob.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

fn bits(kind: &str, blob: &[u8]) -> u32 {
    let length = |integer: &[u8]| -> u32 {
        let start = integer.iter().position(|byte| *byte != 0).unwrap_or(integer.len());
        let digits = integer.get(start..).unwrap_or_default();
        let leading = digits.first().map_or(0, |byte| byte.leading_zeros());
        u32::try_from(digits.len() * 8).unwrap_or(u32::MAX).saturating_sub(leading)
    };
    let after_kind = string(blob).map(|(_, rest)| rest);
    match kind {
        // string kind, mpint e, mpint n
        "ssh-rsa" => after_kind.and_then(string).and_then(|(_, rest)| string(rest)).map_or(0, |(n, _)| length(n)),
        // string kind, mpint p, ...
        "ssh-dss" => after_kind.and_then(string).map_or(0, |(p, _)| length(p)),
        _ => 0,
    }
}

/// What may be kept: for each key `KIND BITS FINGERPRINT OPTIONS`; for a line that is neither empty, comment nor key `(no key)`.
pub fn keep(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let kept: String = lines
        .map(|line| match parse_line(line) {
            Some(key) => {
                format!("{} {} {} {}", key.kind, key.bits, key.fingerprint, keep_options(&key.options))
                    .trim_end()
                    .to_owned()
                    + "\n"
            }
            None => "(no key)\n".to_owned(),
        })
        .collect();
    if kept.is_empty() { "# no keys\n".to_owned() } else { kept }
}

/// Options with the value of `environment=` left out; a command is kept, for it is what the key may do.
fn keep_options(options: &str) -> String {
    if options.chars().any(char::is_control) {
        return "(control characters)".to_owned();
    }
    match options.split_once("environment=\"") {
        None => options.to_owned(),
        Some((before, rest)) => {
            let after = rest.split_once('"').map_or("", |(_, after)| after);
            format!("{before}environment=\"..\"{}", keep_options(after))
        }
    }
}

/// Reads what [`keep`] kept: the keys, and how many lines are none.
///
/// # Errors
/// [`ReadFault`].
pub fn kept(text: &str) -> Result<(Vec<Key>, usize), ReadFault> {
    let (mut keys, mut strange) = (Vec::new(), 0);
    for (number, line) in bounded(text, LARGEST)?.lines().enumerate() {
        if line.starts_with('#') {
            continue;
        }
        if line == "(no key)" {
            strange += 1;
            continue;
        }
        let malformed = || ReadFault::Malformed { format: "list of keys", line: number + 1 };
        let mut words = line.splitn(4, ' ');
        let (kind, bits, fingerprint) = match (words.next(), words.next(), words.next()) {
            (Some(kind), Some(bits), Some(print)) if print.starts_with("SHA256:") => (kind, bits, print),
            _ => return Err(malformed()),
        };
        keys.push(Key {
            kind: kind.to_owned(),
            bits: bits.parse().map_err(|_| malformed())?,
            fingerprint: fingerprint.to_owned(),
            options: words.next().unwrap_or("").to_owned(),
        });
    }
    Ok((keys, strange))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made by `ssh-keygen`, fingerprints and sizes by `ssh-keygen -l`.
    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII1o2i+G4AQBTMBq3qYT/GBO2RSpqkIRiVxAu6T72wQH";
    const ED25519_PRINT: &str = "SHA256:yKsC5c8IID583BGU1ifJPRi4WE0T8TNqmoeKomBt68Y";
    const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQCtajXmzEmg/5MUwy0OE0MDFvxJ1yH2/Z9rOGvZn1/p9HxBbLa+w8F8n08qRCCNz3aYmwDHJiFbLOY8mPURcOTgtl41vabYvK2HBnPFe0aa/yLjDdInmejqfSuQyE5cHNvkOwr/tRhgG059Pf/8hczHpLjJGERFDaAbxyNOK0IaeQ==";
    const RSA_PRINT: &str = "SHA256:RAwLBcNSOJ5+6zj0z0fL+0qXqkdTt+u/lk90ibCmal0";

    #[test]
    fn keys_are_read_as_ssh_keygen_does() {
        let ed25519 = Key {
            kind: "ssh-ed25519".to_owned(),
            bits: 0,
            fingerprint: ED25519_PRINT.to_owned(),
            options: String::new(),
        };
        let rsa =
            Key { kind: "ssh-rsa".to_owned(), bits: 1024, fingerprint: RSA_PRINT.to_owned(), options: String::new() };
        let with = |key: &Key, options: &str| Some(Key { options: options.to_owned(), ..key.clone() });
        for (line, want) in [
            (format!("{ED25519} jane@laptop"), with(&ed25519, "")),
            (RSA.to_owned(), with(&rsa, "")),
            (format!("from=\"10.0.0.0/8\",no-pty {RSA}"), with(&rsa, "from=\"10.0.0.0/8\",no-pty")),
            (
                format!("command=\"echo \\\"ssh-rsa x\\\" y\" {ED25519}"),
                with(&ed25519, "command=\"echo \\\"ssh-rsa x\\\" y\""),
            ),
            (format!("  cert-authority\t{ED25519}"), with(&ed25519, "cert-authority")),
            (format!("# {RSA}"), None),
            (RSA.replace("ssh-rsa ", "ssh-ed25519 "), None),
            ("ssh-rsa".to_owned(), None),
            ("ssh-rsa AAAA".to_owned(), None),
            ("garbage".to_owned(), None),
        ] {
            assert_eq!(parse_line(&line), want, "{line}");
        }
    }

    #[test]
    fn kept_files_are_read() {
        let kept_text =
            keep(&format!("# Jane\n{ED25519} jane@laptop\nenvironment=\"A=hunter2\",no-pty {RSA}\nnonsense\n\n"));
        assert!(
            !kept_text.contains("jane") && !kept_text.contains("AAAA") && !kept_text.contains("hunter2"),
            "{kept_text}"
        );
        let (keys, strange) = kept(&kept_text).expect("kept");
        assert_eq!((keys.len(), strange), (2, 1));
        assert_eq!(keys[1].options, "environment=\"..\",no-pty");
        assert_eq!(kept(&keep("\n# nothing\n")), Ok((Vec::new(), 0)));
        for text in ["", "ssh-rsa 1024", "ssh-rsa x SHA256:y", "a b c"] {
            assert!(kept(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "(?s:.{0,200})", blob in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = kept(&text);
            prop_assert!(kept(&keep(&text)).is_ok());
            for kind in KINDS {
                let _ = parse_line(&format!("{kind} {}", STANDARD.encode(&blob)));
                let named = [&u32::try_from(kind.len()).unwrap_or(0).to_be_bytes()[..], kind.as_bytes(), &blob].concat();
                let _ = parse_line(&format!("{kind} {}", STANDARD.encode(named)));
            }
        }
    }
}
