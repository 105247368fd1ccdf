//! kill -9 at every step of a bootstrap, of a renewal and of a quarantine, and an error at every file operation of them: the
//! end is the same good state, with one request per key.

use anyhow::{Result, ensure};
use tests::cut_points::{Cut, Scene, bootstrap, points, quarantine, renewal, replaced_authority, run};

/// Runs beside each other.
const ABREAST: usize = 8;

async fn cut_at(name: &str, scene: Scene, cut: Cut, wanted: impl Fn(&str) -> bool) -> Result<()> {
    let points = points(scene).await?;
    let points: Vec<_> = points.iter().filter(|(call, _)| wanted(call)).collect();
    // Most of a run is waiting for a backoff to pass: many fit beside each other.
    let mut met = 0;
    for some in points.chunks(ABREAST) {
        let mut runs = tokio::task::JoinSet::new();
        for (call, nth) in some.iter().copied().cloned() {
            runs.spawn(async move { run(scene, &call, nth, cut).await });
        }
        while let Some(ended) = runs.join_next().await {
            met += usize::from(ended??);
        }
    }
    println!("{name}: {} cut points, {cut:?} met at {met} of them, one request per key after each", points.len());
    ensure!(met * 10 >= points.len() * 9, "only {met} of {} runs were cut", points.len());
    Ok(())
}

async fn killed_at_every_step(name: &str, scene: Scene) -> Result<()> {
    cut_at(name, scene, Cut::Kill, |_| true).await
}

#[tokio::test]
async fn at_every_step_of_a_bootstrap() -> Result<()> {
    killed_at_every_step("bootstrap", bootstrap).await
}

#[tokio::test]
async fn at_every_step_of_a_renewal() -> Result<()> {
    killed_at_every_step("renewal", renewal).await
}

#[tokio::test]
async fn at_every_step_of_a_quarantine() -> Result<()> {
    killed_at_every_step("quarantine", quarantine).await
}

#[tokio::test]
async fn at_every_step_of_a_change_of_the_authority() -> Result<()> {
    killed_at_every_step("replaced authority", replaced_authority).await
}

/// A disk that is full or fails once, at every operation on a file: the daemon gets over it without help.
#[tokio::test]
async fn an_error_at_every_file_operation() -> Result<()> {
    let changes_a_file = |call: &str| ["fsync", "rename", "symlink", "unlink", "link"].contains(&call);
    for (name, scene) in [
        ("bootstrap", bootstrap as Scene),
        ("renewal", renewal),
        ("quarantine", quarantine),
        ("replaced authority", replaced_authority),
    ] {
        for error in ["ENOSPC", "EIO"] {
            cut_at(name, scene, Cut::Fail(error), changes_a_file).await?;
        }
    }
    Ok(())
}
