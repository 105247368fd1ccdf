//! `eyewall.toml`: only what differs from the defaults, so that a node follows better defaults of a later version.

use eyewall_core::config::Source;

use crate::{Options, Role};

/// The two files below `/etc/eyewall`.
pub(crate) struct ConfigFiles {
    /// `eyewall.toml`.
    pub(crate) main: String,
    /// `eyewall.toml.d/10-ignition.toml`: what the command line said, where the main file is the operator's own.
    pub(crate) dropin: Option<String>,
}

impl ConfigFiles {
    /// As the agent reads them.
    pub(crate) fn sources(&self) -> Vec<Source> {
        let source = |name: &str, text: &str| Source { name: name.to_owned(), text: text.to_owned() };
        let mut sources = vec![source("eyewall.toml", &self.main)];
        sources.extend(self.dropin.iter().map(|text| source("eyewall.toml.d/10-ignition.toml", text)));
        sources
    }
}

const HEADER: &str =
    "# Eyewall's configuration, written by eyewall-ignition. Every key has a default that is right for Typhoon.\n";

/// The files for these options.
pub(crate) fn config_files(options: &Options) -> ConfigFiles {
    let said = said(options);
    match &options.config_file {
        Some(text) => ConfigFiles {
            main: text.clone(),
            dropin: (!said.is_empty()).then(|| {
                format!("# What the command line of eyewall-ignition said; it wins over eyewall.toml.\n{said}")
            }),
        },
        None => ConfigFiles { main: format!("{HEADER}{said}"), dropin: None },
    }
}

/// The keys that the options set, as TOML.
fn said(options: &Options) -> String {
    let mut node = String::new();
    if let Some(name) = &options.name {
        node += &format!("name = {}\n", toml_string(name));
    }
    if options.role != Role::default() {
        node += &format!("role = {}\n", toml_string(options.role.as_str()));
    }
    let mut text = String::new();
    if !node.is_empty() {
        text += &format!("\n[node]\n{node}");
    }
    if !options.images.is_empty() {
        let images: Vec<String> = options.images.iter().map(|i| toml_string(i)).collect();
        text += &format!("\n[kubelet]\nimages = [{}]\n", images.join(", "));
    }
    text
}

/// A basic TOML string. What may not stand in one as it is (quotes, backslashes, control characters) is escaped.
fn toml_string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out += &format!("\\u{:04X}", c as u32),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever stands in it, it is one string to a reader of TOML.
    #[test]
    fn a_string_is_read_back_as_it_was() {
        for text in ["", "node-a", "a\"b", "a\\b", "a\nb = 1", "\u{7f}\u{1}\t", "\u{e9}\u{1f30a}"] {
            let source = Source {
                name: "test".to_owned(),
                text: format!("[kubelet]\nextra_args = [{}]\n", toml_string(&format!("--v={text}"))),
            };
            let read = eyewall_core::config::read(&[source]).map(|config| config.kubelet.extra_args);
            match read {
                Ok(arguments) => assert_eq!(arguments, [format!("--v={text}")], "{text:?}"),
                // The agent may refuse the argument; but it must have understood it as one.
                Err(faults) => assert_eq!(
                    faults.iter().map(|fault| fault.key.as_str()).collect::<Vec<_>>(),
                    ["kubelet.extra_args[0]"],
                    "{text:?}: {faults}"
                ),
            }
        }
    }
}
