//! Whatever is at the address that is not the platform's service.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tests::metadata::{Answer, Manner, Metadata, Stranger};
use tests::namespace::alone;
use tests::node::Node;
use tokio::time::Instant;

use super::user_data::MARK;
use super::{boots_with, finding, http, told};

/// Nothing is good, nothing hangs, and nothing is followed.
#[test]
fn what_is_not_the_service_proves_nothing() -> Result<()> {
    let page = format!("<html><body>{MARK}: sign in, please</body></html>");
    let strangers = |word: &str| -> Result<Manner> {
        Ok(match word {
            "nobody there" => Manner::NoAddress,
            "a closed port" => Manner::Closed,
            "silence" => Manner::Silent,
            "another protocol" => Manner::Says(format!("SSH-2.0-{MARK}\r\n").into_bytes()),
            "half an answer" => {
                Manner::Says(format!("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{MARK}").into_bytes())
            }
            "no end" => Manner::Endless,
            "404 to everything" => http(Stranger(Answer::new(404, page.as_str()))),
            "401 to everything" => http(Stranger(Answer::new(401, page.as_str()))),
            "a page for everything" => http(Stranger(Answer::new(200, page.as_str()))),
            "nothing for everything" => http(Stranger(Answer::new(200, ""))),
            "elsewhere" => {
                http(Stranger(Answer::new(302, "").with("Location", "http://169.254.169.254/latest/user-data")))
            }
            "a large head" => http(Stranger(Answer::new(200, "1").with("X-Padding", &MARK.repeat(20_000)))),
            other => bail!("{other}"),
        })
    };
    let words = [
        "nobody there",
        "a closed port",
        "silence",
        "another protocol",
        "half an answer",
        "no end",
        "404 to everything",
        "401 to everything",
        "a page for everything",
        "nothing for everything",
        "elsewhere",
        "a large head",
    ];
    for (platform, checks) in [
        ("aws", &["metadata-aws", "metadata-session-required", "account-aws"][..]),
        ("azure", &["metadata-azure", "account-azure"]),
        ("gcp", &["metadata-google-cloud", "account-google-cloud"]),
        ("digitalocean", &["metadata-digitalocean", "account-digitalocean"]),
    ] {
        for word in words {
            let name = format!("{platform}: {word}");
            let manner = strangers(word)?;
            let judged = alone(async move || {
                let node = Node::new("node-a")?;
                boots_with(&node, &format!("ignition.platform.id={platform}"))?;
                let service = Metadata::start(manner, 64).await?;
                let start = Instant::now();
                let report: Value = serde_json::from_str(&told(&node, &["check", "--json"]).await?)?;
                for check in checks {
                    let finding = finding(&report, check)?;
                    // A page for everything is IMDSv1 for all that can be seen: that may be said, and is no good verdict either.
                    let bad = finding["verdict"] == "unknown" || finding["verdict"] == "fail";
                    ensure!(bad, "{check}: {finding}");
                }
                let (took, connections, sent) = (start.elapsed(), service.connections(), service.sent());
                ensure!(took < Duration::from_secs(20), "{took:?}");
                ensure!(connections <= 4, "one connection a question: {connections}");
                ensure!(sent < 32 << 20, "{sent} bytes were taken");
                let asked = service.asked();
                let twice = asked.iter().enumerate().any(|(at, one)| asked[..at].contains(one));
                ensure!(!twice, "nothing is asked twice or followed: {asked:?}");
                Ok(())
            });
            judged.with_context(|| name)?;
        }
    }
    Ok(())
}
