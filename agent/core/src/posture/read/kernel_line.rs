//! The kernel's command line, `/proc/cmdline`, and the options line of a boot loader entry.

use super::ReadFault;
use super::fault::bounded;

/// x86 takes 2 KiB, the generic limit is 2 KiB to 4 KiB; ten times that is none.
pub const LARGEST: usize = 64 * 1024;

/// The arguments, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelLine(Vec<(String, Option<String>)>);

impl KernelLine {
    /// Splits the line as the kernel does (`lib/cmdline.c`, `next_arg`): at blanks outside of double quotes, then at the first `=`.
    ///
    /// # Errors
    /// [`ReadFault::Empty`], [`ReadFault::TooLarge`], [`ReadFault::NotText`].
    pub fn parse(text: &str) -> Result<Self, ReadFault> {
        let text = bounded(text, LARGEST)?;
        let mut arguments = Vec::new();
        let (mut word, mut quoted) = (String::new(), false);
        for character in text.chars() {
            match character {
                '"' => quoted = !quoted,
                c if c.is_ascii_whitespace() && !quoted => {
                    if !word.is_empty() {
                        arguments.push(std::mem::take(&mut word));
                    }
                }
                c => word.push(c),
            }
        }
        if !word.is_empty() {
            // A quote that never ends takes the rest, as in the kernel.
            arguments.push(word);
        }
        let split = |word: String| match word.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        Ok(Self(arguments.into_iter().map(split).collect()))
    }

    /// Is the argument there, with or without a value?
    pub fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(given, _)| given == key)
    }

    /// Every value of the argument, in order; without a `=` it has an empty one.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(given, _)| given == key).map(|(_, value)| value.as_deref().unwrap_or(""))
    }

    /// The last value, which is the one that counts for nearly everything that reads the line.
    pub fn value<'a>(&'a self, key: &'a str) -> Option<&'a str> {
        self.values(key).last()
    }

    /// Everything, in order.
    pub fn arguments(&self) -> &[(String, Option<String>)] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn arguments_are_split_as_the_kernel_does() {
        for (line, key, want) in [
            ("BOOT_IMAGE=(hd0,gpt3)/vmlinuz ignition.platform.id=aws ro\n", "ignition.platform.id", Some("aws")),
            ("a=1 a=2", "a", Some("2")),
            ("ro quiet", "ro", Some("")),
            ("verity.usrhash=0123=4", "verity.usrhash", Some("0123=4")),
            ("sshkey=\"ssh-rsa AAAA core\" ro", "sshkey", Some("ssh-rsa AAAA core")),
            ("\"sshkey=ssh-rsa AAAA core\" ro", "sshkey", Some("ssh-rsa AAAA core")),
            ("a=\"b c", "a", Some("b c")),
            ("xignition.platform.id=aws", "ignition.platform.id", None),
        ] {
            let parsed = KernelLine::parse(line).expect("a line");
            assert_eq!(parsed.value(key), want, "{line}");
            assert_eq!(parsed.has(key), want.is_some(), "{line}");
        }
    }

    #[test]
    fn what_is_no_line_is_a_fault() {
        assert_eq!(KernelLine::parse("\n"), Err(ReadFault::Empty));
        assert_eq!(KernelLine::parse("a\0b"), Err(ReadFault::NotText));
        assert_eq!(KernelLine::parse(&"x".repeat(LARGEST + 1)), Err(ReadFault::TooLarge(LARGEST)));
    }

    proptest! {
        #[test]
        fn any_text_is_arguments_or_a_fault(text in "(?s).{0,300}") {
            if let Ok(line) = KernelLine::parse(&text) {
                for (key, _) in line.arguments() {
                    prop_assert!(line.has(key));
                }
            }
        }
    }
}
