//! Every command line of ours in `units/` and in the Ignition fragments is one that the binary understands: a verb or a flag
//! that is renamed must not first be missed on a node.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tests::node::binary;

fn tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The arguments of each `Exec…=/opt/bin/eyewall …`, with a word in place of what systemd expands.
fn command_lines(unit: &str, found: &mut BTreeSet<Vec<String>>) {
    for line in unit.lines().filter(|line| line.starts_with("Exec")) {
        let command = line.split_once('=').map_or("", |(_, command)| command);
        let mut words = command.trim_start_matches(['-', '+', '!', ':', '@']).split_whitespace();
        if words.next() == Some("/opt/bin/eyewall") {
            found.insert(words.map(|word| expand(word, "node-a")).collect());
        }
    }
}

fn expand(word: &str, value: &str) -> String {
    let mut out = String::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        out.push_str(value);
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    out + rest
}

/// All of `text`'s strings that are units, at whatever depth.
fn units_of(value: &Value, found: &mut BTreeSet<Vec<String>>) {
    match value {
        Value::String(text) => command_lines(text, found),
        Value::Array(items) => items.iter().for_each(|item| units_of(item, found)),
        Value::Object(map) => map.values().for_each(|value| units_of(value, found)),
        _ => {}
    }
}

#[test]
fn the_binary_understands_what_the_units_say() -> Result<()> {
    let mut found = BTreeSet::new();
    for directory in ["units", "ignition/golden"] {
        for entry in std::fs::read_dir(tree(directory)).context(directory)? {
            let path = entry?.path();
            let text = std::fs::read_to_string(&path)?;
            if path.extension().is_some_and(|extension| extension == "ign") {
                units_of(&serde_json::from_str(&text)?, &mut found);
            } else {
                command_lines(&text, &mut found);
            }
        }
    }
    let verbs: BTreeSet<_> = found.iter().map(|words| words[0].as_str()).collect();
    assert_eq!(verbs, ["catalog", "kubelet", "run"].into(), "{found:?}");
    assert!(found.iter().any(|words| words.len() > 1 && words[1].starts_with("--node-name=")));

    // `--help` at the end: whatever stands before it was read and found to be right, and nothing is done.
    let code = |words: &[String]| -> Result<Option<i32>> {
        let output = Command::new(binary()?).args(words).arg("--help").output()?;
        Ok(output.status.code())
    };
    for words in &found {
        assert_eq!(code(words)?, Some(0), "eyewall {}", words.join(" "));
        let mut wrong = words.clone();
        wrong.push("--no-such-flag".to_owned());
        assert_eq!(code(&wrong)?, Some(64), "eyewall {} --no-such-flag", words.join(" "));
    }
    Ok(())
}
