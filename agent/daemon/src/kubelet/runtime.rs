//! The container runtime's commands, run with a deadline each.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use eyewall_core::config::Config;
use eyewall_core::kubelet::choose;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::time::timeout;

/// Where programs are looked for if `PATH` is not set: what systemd gives a service (systemd.exec(5)).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";
/// As much of a runtime's words as is kept, in bytes: the cause stands at the end.
const WORDS_KEPT: usize = 8 * 1024;

/// The program of this name, as a shell would find it on `path`.
pub fn find(program: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    std::env::split_paths(path.unwrap_or(OsStr::new(DEFAULT_PATH)))
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .find(|file| std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0))
}

/// The runtime that a start would use now, by its name.
pub fn of_host(config: &Config) -> Option<String> {
    let path = std::env::var_os("PATH");
    let os = crate::host::os(config);
    let has = |program: &str| find(program, path.as_deref()).is_some();
    choose(config.kubelet.runtime, os, has).map(|runtime| runtime.id.to_owned())
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Exit code 0.
    Well,
    /// Another code, a signal, or it could not be run at all; the end of its standard error.
    Badly(String),
    /// Its deadline came first, and it was killed.
    TooLate,
}

/// Runs `program` and waits for it, at most for `deadline`.
pub async fn run(program: &Path, arguments: &[String], deadline: Duration) -> Ended {
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return Ended::Badly(format!("{} cannot be run: {error}", program.display())),
    };
    let words = child.stderr.take();
    let both = async {
        // Read while it runs, or a full pipe would stop it.
        let words = match words {
            Some(words) => last_words(words).await,
            None => Ok(String::new()),
        };
        (child.wait().await, words)
    };
    match timeout(deadline, both).await {
        Err(_) => Ended::TooLate,
        Ok((Ok(status), _)) if status.success() => Ended::Well,
        Ok((Ok(status), Ok(words))) if words.trim().is_empty() => {
            Ended::Badly(format!("{} ended with {status}", program.display()))
        }
        Ok((Ok(_), Ok(words))) => Ended::Badly(words),
        Ok((Err(error), _) | (_, Err(error))) => Ended::Badly(error.to_string()),
    }
}

/// Reads to the end, keeps the end.
async fn last_words(mut reader: impl AsyncRead + Unpin) -> io::Result<String> {
    let mut kept = Vec::new();
    let mut chunk = [0_u8; 4096];
    loop {
        let read = reader.read(&mut chunk).await?;
        if read == 0 {
            return Ok(String::from_utf8_lossy(&kept).into_owned());
        }
        kept.extend_from_slice(chunk.get(..read).unwrap_or_default());
        let surplus = kept.len().saturating_sub(WORDS_KEPT);
        kept.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (PathBuf, Vec<String>) {
        let arguments = ["-c", script].map(str::to_owned);
        (PathBuf::from("/bin/sh"), arguments.into())
    }

    #[tokio::test]
    async fn a_command_ends_well_badly_or_too_late() {
        let badly = |words: &str| Ended::Badly(words.to_owned());
        for (name, script, milliseconds, want) in [
            ("well", "echo out; echo err >&2", 10_000, Ended::Well),
            ("badly", "echo one >&2; echo two >&2; exit 3", 10_000, badly("one\ntwo\n")),
            ("silently", "exit 3", 10_000, badly("/bin/sh ended with exit status: 3")),
            ("too late", "sleep 60", 100, Ended::TooLate),
        ] {
            let (program, arguments) = shell(script);
            let got = run(&program, &arguments, Duration::from_millis(milliseconds)).await;
            assert_eq!(got, want, "{name}");
        }
        let missing = run(Path::new("/nowhere"), &[], Duration::from_secs(1)).await;
        assert!(matches!(missing, Ended::Badly(words) if words.contains("/nowhere cannot be run")));
    }

    #[tokio::test]
    async fn a_flood_of_words_keeps_its_end() {
        let (program, arguments) = shell("yes | head -c 300000 >&2; echo the cause >&2; exit 1");
        match run(&program, &arguments, Duration::from_secs(10)).await {
            Ended::Badly(words) => {
                assert!(words.ends_with("the cause\n"));
                assert_eq!(words.len(), WORDS_KEPT);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        let root = tempfile::tempdir().expect("a directory");
        let at = |name: &str| root.path().join(name);
        for directory in ["a", "b", "c/podman"] {
            std::fs::create_dir_all(at(directory)).expect("made");
        }
        std::fs::write(at("a/podman"), "").expect("written");
        std::fs::write(at("b/podman"), "").expect("written");
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(at("b/podman"), executable).expect("executable");
        let path = std::env::join_paths([at("c"), PathBuf::from("."), at("a"), at("b")]).expect("a path");
        assert_eq!(find("podman", Some(&path)), Some(at("b/podman")), "not a directory, not a plain file");
        assert_eq!(find("docker", Some(&path)), None);
        assert!(find("sh", None).is_some(), "without PATH");
    }
}
