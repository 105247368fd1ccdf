//! Programs of the host, run to their end: with a deadline, and with their last words if they fail.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// How much of a failed program's output is shown.
const LAST_LINES: usize = 25;

/// Runs it and returns its standard output. It is killed when the deadline passes or the future is dropped.
///
/// # Errors
/// When it is not there, does not end in time, or fails; the last lines that it said are part of the error.
pub(crate) async fn run(command: &mut Command, deadline: Duration) -> Result<Vec<u8>> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(deadline, command.output())
        .await
        .with_context(|| format!("{name} did not end within {} s", deadline.as_secs()))?
        .with_context(|| format!("{name} could not be started; `vm-tests/up` installs what is needed"))?;
    if !output.status.success() {
        let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        bail!("{name} failed ({}):\n{}", output.status, last_lines(&String::from_utf8_lossy(&said), LAST_LINES));
    }
    Ok(output.stdout)
}

/// The last `count` lines.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_has_its_last_words() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo first; echo last >&2; exit 3"]);
        let error = run(&mut command, Duration::from_secs(20)).await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("last"), "{error}");
    }

    #[tokio::test]
    async fn a_deadline_ends_it() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let error = run(&mut command, Duration::from_millis(50)).await.unwrap_err().to_string();
        assert!(error.contains("did not end"), "{error}");
    }
}
