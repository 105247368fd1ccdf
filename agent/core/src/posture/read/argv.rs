//! Command lines: of a running process, or of a container in a manifest.

use serde::{Deserialize, Serialize};

use super::ReadFault;

/// `/proc/<pid>/cmdline` of a kubelet is under 4 KiB; the kernel allows 2 MiB.
pub const LARGEST: usize = 256 * 1024;

/// A program and its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Argv {
    words: Vec<String>,
}

impl Argv {
    /// Words as they stand in a manifest or a plan.
    pub fn new(words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { words: words.into_iter().map(Into::into).collect() }
    }

    /// Reads `/proc/<pid>/cmdline`: words that end in NUL. Bytes that are no UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// [`ReadFault::Empty`] (a kernel thread, or a process that has ended), [`ReadFault::TooLarge`].
    pub fn from_proc(bytes: &[u8]) -> Result<Self, ReadFault> {
        if bytes.len() > LARGEST {
            return Err(ReadFault::TooLarge(LARGEST));
        }
        let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
        if bytes.iter().all(|byte| *byte == 0 || byte.is_ascii_whitespace()) {
            return Err(ReadFault::Empty);
        }
        Ok(Self::new(bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned())))
    }

    /// The words.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Every value of a flag, in order. `--name=value` and `--name value` are the same, a flag alone is `true`, and
    /// `_` counts as `-`, as the programs of Kubernetes read them (component-base `WordSepNormalizeFunc`).
    pub fn values(&self, name: &str) -> Vec<&str> {
        let mut values = Vec::new();
        let mut words = self.words.iter().peekable();
        while let Some(word) = words.next() {
            let Some(flag) = word.strip_prefix("--") else { continue };
            let (given, value) = match flag.split_once('=') {
                Some((given, value)) => (given, Some(value)),
                None => (flag, None),
            };
            let same = given.len() == name.len()
                && given.bytes().zip(name.bytes()).all(|(a, b)| a == b || (a == b'_' && b == b'-'));
            if !same {
                continue;
            }
            values.push(match value {
                Some(value) => value,
                None => match words.peek() {
                    Some(next) if !next.starts_with('-') => next.as_str(),
                    _ => "true",
                },
            });
        }
        values
    }

    /// The value in force: the last one.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).pop()
    }

    /// The names of all `--` flags, as given.
    pub fn names(&self) -> Vec<&str> {
        let flags = self.words.iter().filter_map(|word| word.strip_prefix("--"));
        flags.filter_map(|flag| flag.split('=').next()).filter(|name| !name.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_process_is_read() {
        for (name, bytes, want) in [
            ("kubelet", &b"/usr/local/bin/kubelet\0--config=/etc/kubernetes/kubelet.yaml\0"[..], Ok(2)),
            ("no last NUL", b"a\0b", Ok(2)),
            ("an empty word stays", b"a\0\0b\0", Ok(3)),
            ("not UTF-8", b"a\0\xff\0", Ok(2)),
            ("a kernel thread", b"", Err(ReadFault::Empty)),
            ("NULs", b"\0\0\0", Err(ReadFault::Empty)),
        ] {
            assert_eq!(Argv::from_proc(bytes).map(|argv| argv.words().len()), want, "{name}");
        }
        assert_eq!(Argv::from_proc(&vec![b'x'; LARGEST + 1]), Err(ReadFault::TooLarge(LARGEST)));
    }

    #[test]
    fn flags_are_read_as_kubernetes_reads_them() {
        let argv = |line: &str| Argv::new(line.split(' '));
        for (line, name, want) in [
            ("kubelet --config=/a", "config", Some("/a")),
            ("kubelet --config /a", "config", Some("/a")),
            ("kubelet --config=/a --config=/b", "config", Some("/b")),
            ("kubelet --anonymous-auth", "anonymous-auth", Some("true")),
            ("kubelet --anonymous-auth --v=2", "anonymous-auth", Some("true")),
            ("kubelet --anonymous_auth=true", "anonymous-auth", Some("true")),
            ("kubelet --config=", "config", Some("")),
            ("kubelet --config-dir=/a", "config", None),
            ("kubelet -config=/a", "config", None),
            ("kubelet config=/a", "config", None),
            ("kubelet", "config", None),
        ] {
            assert_eq!(argv(line).value(name), want, "{line}");
        }
        let labels = argv("kubelet --node-labels=a --v=2 --node-labels=b");
        assert_eq!(labels.values("node-labels"), ["a", "b"]);
        assert_eq!(labels.names(), ["node-labels", "v", "node-labels"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_words_or_a_fault(bytes in proptest::collection::vec(any::<u8>(), 0..300), name in ".{0,12}") {
            if let Ok(argv) = Argv::from_proc(&bytes) {
                let _ = argv.value(&name);
                prop_assert!(argv.names().len() <= argv.words().len());
            }
        }
    }
}
