//! The programs under test, built by cargo from this tree.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::process::Command;

use crate::Progress;
use crate::program::run;

/// The programs that go into a node.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The agent.
    pub eyewall: PathBuf,
    /// What answers in the kubelet's place.
    pub kubelet: PathBuf,
    /// What answers in the place of the OS's updater.
    pub os: PathBuf,
}

/// Builds them with the release profile: what is shipped is what is tested. `EYEWALL_BINARIES` names a directory of
/// programs that were built elsewhere.
///
/// # Errors
/// When cargo fails.
pub async fn build(progress: &Progress) -> Result<Binaries> {
    if let Some(directory) = std::env::var_os("EYEWALL_BINARIES") {
        let directory = Path::new(&directory);
        progress.say(&format!("taking the programs in {}", directory.display()));
        return Ok(Binaries {
            eyewall: directory.join("eyewall"),
            kubelet: directory.join("kubelet-standin"),
            os: directory.join("os-standin"),
        });
    }
    progress.say("building eyewall and the stand-ins (cargo, release)");
    Ok(Binaries {
        eyewall: cargo("eyewall", "eyewall").await?,
        kubelet: cargo("tests", "kubelet-standin").await?,
        os: cargo("tests", "os-standin").await?,
    })
}

async fn cargo(package: &str, binary: &str) -> Result<PathBuf> {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the package lies in the tree")?;
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(tree).args(["build", "--release", "--package", package, "--bin", binary]);
    command.arg("--message-format=json-render-diagnostics");
    let said = run(&mut command, Duration::from_secs(30 * 60)).await?;
    executable(&String::from_utf8_lossy(&said), binary)
}

/// cargo says for each artifact where it is, one JSON object a line.
fn executable(said: &str, binary: &str) -> Result<PathBuf> {
    said.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == binary)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo did not say where {binary} is"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found() {
        let said = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"a\"},\"executable\":null}\nnoise\n\
                    {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"a\"},\"executable\":\"/t/a\"}\n";
        assert_eq!(executable(said, "a").unwrap(), PathBuf::from("/t/a"));
        assert!(executable(said, "b").is_err());
    }
}
