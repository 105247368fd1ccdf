//! `eyewall validate FILE…`: every fault of every file. Each file is a configuration of its own; `-` is standard input.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use eyewall_core::config::{Fault, Source, read};
use serde::Serialize;

use super::CONFIG;
use super::terminal::print;
use crate::config_file::{from_reader, posture_faults};

/// The flags of `eyewall validate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The files; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A list of faults, each with file, line, column, kind, key and message
    #[arg(long)]
    json: bool,
}

/// A fault as JSON.
#[derive(Serialize)]
struct Row<'a> {
    file: &'a str,
    line: u32,
    column: u32,
    kind: &'a str,
    key: &'a str,
    message: &'a str,
}

/// Runs the verb: 0 if no file has a fault, 78 if one has.
pub fn main(args: &Args) -> ExitCode {
    let mut faults = Vec::new();
    for path in &args.files {
        let found = validate(path);
        if !args.json && found.is_empty() {
            print(&format!("{}: good\n", path.display()));
        }
        faults.extend(found);
    }
    if args.json {
        print(&json(&faults));
    } else {
        for fault in &faults {
            print(&format!("{fault}\n"));
        }
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { CONFIG.into() }
}

fn validate(path: &Path) -> Vec<Fault> {
    let source = if path == Path::new("-") { from_reader("-", io::stdin().lock()) } else { open(path) };
    match source.map(|source| (source.name.clone(), read(&[source]))) {
        Ok((name, Ok(config))) => posture_faults(&name, &config),
        Ok((_, Err(faults))) => faults.into_iter().collect(),
        Err(fault) => vec![fault],
    }
}

fn open(path: &Path) -> Result<Source, Fault> {
    let name = path.display().to_string();
    let file = std::fs::File::open(path)
        .map_err(|error| Fault::of_file(&name, "unreadable", format!("the file cannot be read: {error}")))?;
    from_reader(&name, file)
}

fn json(faults: &[Fault]) -> String {
    let rows: Vec<Row<'_>> = faults
        .iter()
        .map(|fault| Row {
            file: &fault.file,
            line: fault.line,
            column: fault.column,
            kind: fault.kind,
            key: &fault.key,
            message: &fault.sentence,
        })
        .collect();
    let mut text = serde_json::to_string_pretty(&rows).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_judged_by_itself() {
        let root = tempfile::tempdir().expect("a directory");
        let good = root.path().join("good.toml");
        let bad = root.path().join("bad.toml");
        std::fs::write(&good, "node.role = 'controller'\n[posture.expect]\nselinux-mode = 'permissive'")
            .expect("written");
        let unjudged = root.path().join("unjudged.toml");
        std::fs::write(&unjudged, "[posture.expect]\nselinux-mod = 'x'").expect("written");
        let kinds: Vec<&str> = validate(&unjudged).iter().map(|fault| fault.kind).collect();
        assert_eq!(kinds, ["unknown-check"], "{:?}", validate(&unjudged));
        std::fs::write(&bad, "[node]\nrolle = 1\nos = 'x'").expect("written");
        assert_eq!(validate(&good), []);
        let lines: Vec<(u32, &str)> = validate(&bad).iter().map(|f| (f.line, f.kind)).collect();
        assert_eq!(lines, [(2, "unknown-key"), (3, "unknown-word")]);
        let missing = validate(&root.path().join("missing.toml"));
        assert_eq!(missing.len(), 1);
        assert_eq!(missing[0].kind, "unreadable");
        let rows: serde_json::Value = serde_json::from_str(&json(&validate(&bad))).expect("JSON");
        assert_eq!(rows[0]["key"], "node.rolle");
        assert_eq!(rows[1]["column"], 6);
    }
}
