//! The few programs that are run to look at the host: fixed paths, no shell, an empty environment, a deadline and a limit.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

/// More than any of them has to say, in bytes.
const OUTPUT_MAX: u64 = 512 * 1024;

/// What a program said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

/// Why there is nothing to read.
#[derive(Debug, thiserror::Error)]
pub enum CommandFault {
    /// None of the places has it.
    #[error("{0} is not on this host")]
    Missing(String),
    /// It could not be started.
    #[error("{program} cannot be run: {source}")]
    NotRun {
        /// Which.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It did not end.
    #[error("{program} did not end within {} s", .within.as_secs())]
    Endless {
        /// Which.
        program: String,
        /// What it was given.
        within: Duration,
    },
    /// It said too much.
    #[error("{0} says more than 512 KiB")]
    TooLong(String),
}

/// Where a program is: the first of `places` that exists.
///
/// # Errors
/// [`CommandFault::Missing`].
pub fn find(places: &[&'static str]) -> Result<&'static str, CommandFault> {
    places
        .iter()
        .copied()
        .find(|place| Path::new(place).exists())
        .ok_or_else(|| CommandFault::Missing(places.first().copied().unwrap_or_default().to_owned()))
}

/// Runs `program` to its end.
///
/// # Errors
/// [`CommandFault`].
pub async fn run(program: &str, arguments: &[String], within: Duration) -> Result<Said, CommandFault> {
    run_until(program, arguments, within, |_| false).await
}

/// Runs `program` until it ends, or until a line of its standard error is one that `enough` accepts: it is then killed.
///
/// # Errors
/// [`CommandFault`].
pub async fn run_until(
    program: &str,
    arguments: &[String],
    within: Duration,
    enough: impl Fn(&str) -> bool,
) -> Result<Said, CommandFault> {
    let not_run = |source| CommandFault::NotRun { program: program.to_owned(), source };
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        // In English, whatever the host speaks: what they say is read by us.
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(not_run)?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let all = async {
        let (mut out, mut listening) = (std::pin::pin!(read(out)), std::pin::pin!(listen(err, enough)));
        let mut said = None;
        let heard = loop {
            tokio::select! {
                heard = &mut listening => break heard?,
                out = &mut out, if said.is_none() => said = Some(out?),
            }
        };
        if heard.1 == Heard::All {
            let said = match said {
                Some(said) => said,
                None => out.await?,
            };
            return Ok::<_, std::io::Error>((said, heard, child.wait().await?));
        }
        // It may have ended meanwhile, which is what is wanted. Nobody waits for its standard output: a child of its own may hold that.
        let _ = child.start_kill();
        Ok((Some(String::new()), heard, child.wait().await?))
    };
    let (out, err, ended) = match timeout(within, all).await {
        Ok(done) => done.map_err(not_run)?,
        Err(_) => return Err(CommandFault::Endless { program: program.to_owned(), within }),
    };
    match (out, err) {
        (Some(out), (err, Heard::All | Heard::Enough)) => Ok(Said { code: ended.code(), out, err }),
        _ => Err(CommandFault::TooLong(program.to_owned())),
    }
}

/// All of a pipe, or `None` if it is longer than allowed. What is beyond is not read: the writer then gets SIGPIPE.
async fn read(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<Option<String>> {
    let Some(pipe) = pipe else { return Ok(Some(String::new())) };
    let mut bytes = Vec::new();
    pipe.take(OUTPUT_MAX + 1).read_to_end(&mut bytes).await?;
    let whole = bytes.len() as u64 <= OUTPUT_MAX;
    Ok(whole.then(|| String::from_utf8_lossy(&bytes).into_owned()))
}

/// How far a pipe was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// To its end.
    All,
    /// To the line that was enough.
    Enough,
    /// To the limit.
    TooMuch,
}

/// A pipe line by line.
async fn listen(
    pipe: Option<impl AsyncRead + Unpin>,
    enough: impl Fn(&str) -> bool,
) -> std::io::Result<(String, Heard)> {
    let Some(pipe) = pipe else { return Ok((String::new(), Heard::All)) };
    let mut pipe = BufReader::new(pipe.take(OUTPUT_MAX + 1));
    let mut bytes = Vec::new();
    let heard = loop {
        let from = bytes.len();
        let ended = pipe.read_until(b'\n', &mut bytes).await? == 0;
        if bytes.len() as u64 > OUTPUT_MAX {
            break Heard::TooMuch;
        }
        if ended {
            break Heard::All;
        }
        if enough(String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).trim_end()) {
            break Heard::Enough;
        }
    };
    Ok((String::from_utf8_lossy(&bytes).into_owned(), heard))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str, within: Duration) -> Result<Said, CommandFault> {
        run("/bin/sh", &["-c".to_owned(), script.to_owned()], within).await
    }

    #[tokio::test]
    async fn a_program_is_heard_to_its_end_or_not_at_all() {
        let second = Duration::from_secs(30);
        let said = sh("echo out; echo err >&2; echo $LC_ALL $HOME; exit 3", second).await.unwrap();
        assert_eq!(said, Said { code: Some(3), out: "out\nC\n".to_owned(), err: "err\n".to_owned() });
        let fault = sh("sleep 60", Duration::from_millis(100)).await.unwrap_err();
        assert!(matches!(fault, CommandFault::Endless { .. }), "{fault}");
        let fault = sh("yes", second).await.unwrap_err();
        assert!(matches!(fault, CommandFault::TooLong(_)), "{fault}");
        let fault = run("/no/such", &[], second).await.unwrap_err();
        assert!(matches!(fault, CommandFault::NotRun { .. }), "{fault}");
        let until = |line: &str| line == "two";
        let script = ["-c".to_owned(), "echo one >&2; echo two >&2; sleep 60; echo three >&2".to_owned()];
        let said = run_until("/bin/sh", &script, second, until).await.unwrap();
        assert_eq!((said.code, said.err.as_str()), (None, "one\ntwo\n"));
        assert!(matches!(find(&["/no/such"]), Err(CommandFault::Missing(_))));
        assert_eq!(find(&["/no/such", "/bin/sh"]).unwrap(), "/bin/sh");
    }
}
