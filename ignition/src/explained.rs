//! Explained files, without their explanations.

/// The lines of `text` that say something to the program that reads it: no blank lines, and none that begin with `#`,
/// which is how a comment begins in unit files, in sysusers.d, tmpfiles.d and logind.conf.
///
/// The files in `units/` explain each line, and are four times as long for it. A fragment is a host's user data, of which
/// AWS allows 16,384 bytes, uncompressed, with Typhoon's own config in them (Ignition reads no gzip there).
pub(crate) fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        if !line.trim().is_empty() && !line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::without_comments;

    #[test]
    fn only_what_is_read_is_left() {
        for (name, text, want) in [
            ("nothing", "", ""),
            ("a comment", "# why\n", ""),
            ("a value with a hash", "[A]\n# why\nB=#1 # 2\n", "[A]\nB=#1 # 2\n"),
            ("blank lines", "\n[A]\n\n \nB=1\n", "[A]\nB=1\n"),
            ("no newline at the end", "[A]\nB=1", "[A]\nB=1\n"),
            ("an empty value", "[A]\nB=\nB=1\n", "[A]\nB=\nB=1\n"),
        ] {
            assert_eq!(without_comments(text), want, "{name}");
        }
    }
}
