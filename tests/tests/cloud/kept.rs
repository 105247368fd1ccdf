//! No body is kept or told.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::metadata::aws::Tokens;
use tests::metadata::azure::{Azure, Identities};
use tests::metadata::digitalocean::Digitalocean;
use tests::metadata::gcp::Gcp;
use tests::metadata::{Manner, Metadata};
use tests::namespace::alone;
use tests::node::Node;
use tokio::time::sleep;

use super::user_data::{MARK, base64, gzip, ignition, kubeconfig, packed, plain};
use super::{aws, boots_with, finding, holds_no_mark, http, told};

/// Every file below a directory.
fn files_hold_no_mark(directory: &Path) -> Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            count += files_hold_no_mark(&path)?;
        } else if path.is_file() {
            holds_no_mark(&path.display().to_string(), &String::from_utf8_lossy(&std::fs::read(&path)?))?;
            count += 1;
        }
    }
    Ok(count)
}

/// Neither in any form of the report, nor in a bundle, nor in what a daemon writes, serves and remembers.
#[test]
fn no_body_is_kept_or_told() -> Result<()> {
    let role = format!("{MARK}-role");
    let motd = ignition("/etc/motd", &serde_json::json!({"source": format!("data:,{MARK}")}));
    let services: [(&str, &str, Manner); 5] = [
        ("aws", "account-aws", aws(Tokens::Optional, Some(packed()), Some(&role))),
        ("aws", "metadata-aws", aws(Tokens::Optional, Some(gzip(&plain())[..40].to_vec()), None)),
        (
            "azure",
            "account-azure",
            http(Azure { user_data: base64(&packed()), identities: Identities::One(role.clone()) }),
        ),
        ("gcp", "account-google-cloud", http(Gcp { user_data: Some(plain()), accounts: vec![role.clone()] })),
        ("digitalocean", "metadata-digitalocean", http(Digitalocean { user_data: [motd, plain()].concat() })),
    ];
    for (platform, check, manner) in services {
        let kept = alone(async move || {
            let mut node = Node::new("node-a")?;
            boots_with(&node, &format!("ignition.platform.id={platform}"))?;
            let service = Metadata::start(manner, 64).await?;
            for format in ["text", "json", "sarif", "junit"] {
                told(&node, &["check", "--all", "--format", format]).await?;
            }
            let bundle = node.path("evidence");
            told(&node, &["evidence", "--output", bundle.to_str().context("a path")?]).await?;
            let parts = files_hold_no_mark(&bundle)?;
            ensure!(parts > 3, "{parts} parts");

            for (name, directory) in [("STATE_DIRECTORY", "state"), ("RUNTIME_DIRECTORY", "runtime")] {
                let path = node.path(directory);
                std::fs::create_dir(&path)?;
                node.environment(name, &path.display().to_string());
            }
            let before = service.connections();
            node.start()?;
            node.wait(Duration::from_secs(60), |status| status.posture.is_some()).await?;
            let (code, report) = node.request("GET", "/v1/posture").await?;
            ensure!(code == 200, "{report}");
            ensure!(finding(&serde_json::from_str(&report)?, check)?["verdict"] != "pass", "{report}");
            ensure!(service.connections() > before, "the daemon asks too");
            for target in ["/v1/posture", "/v1/status", "/v1/events", "/metrics"] {
                holds_no_mark(target, &node.request("GET", target).await?.1)?;
            }
            // The history is saved after the verdicts are published.
            let saved = node.path("state/posture.json");
            for _ in 0..100 {
                if saved.exists() {
                    break;
                }
                sleep(Duration::from_millis(50)).await;
            }
            ensure!(saved.exists(), "the history is kept");
            node.stop().await?;
            let files = files_hold_no_mark(&node.path(""))?;
            ensure!(files > 3 && node.log().len() > 200, "{files} files, {} bytes of log", node.log().len());
            Ok(())
        });
        kept.with_context(|| format!("{platform}, {check}"))?;
    }
    Ok(())
}

/// Otherwise none of the others looks for anything.
#[test]
fn the_mark_would_be_found() {
    let role = format!("{MARK}-role").into_bytes();
    let hex: String = role.iter().map(|byte| format!("{byte:02x}")).collect();
    for (name, text) in [
        ("as it is", kubeconfig().into_bytes()),
        ("hex", hex.into_bytes()),
        ("a role", role.clone()),
        ("base64", base64(&role)),
        ("base64 behind one octet", base64(&[b"x", role.as_slice()].concat())),
        ("base64 behind two octets", base64(&[b"xy", role.as_slice()].concat())),
        ("octets", format!("{role:?}").into_bytes()),
    ] {
        assert!(holds_no_mark(name, &String::from_utf8_lossy(&text)).is_err(), "{name}");
    }
}
