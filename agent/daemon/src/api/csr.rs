//! CREATE a certificate signing request, or find it again, and WATCH it until something comes of it.

use std::time::Duration;

use eyewall_core::csr::{List, Object, PATH, Signer, Verdict};
use eyewall_core::rotation::Outcome;
use eyewall_core::status::Reason;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::{Answer, ApiError, Client};

/// The request as the API server has it.
#[derive(Debug)]
pub struct Sent {
    object: Object,
    /// Where a watch begins.
    version: String,
}

impl Sent {
    /// Nothing more will come of it than what is there.
    pub fn is_decided(&self) -> bool {
        is_final(&self.object)
    }
}

/// Sends the request, or finds the one that an earlier start sent: the name follows from the key. One that is known to be there
/// (`is_sent`) is looked for first; if it is gone, it is sent again. `Err` is how the attempt ended.
///
/// # Errors
/// [`ApiError`].
pub async fn submit(
    client: &mut Client,
    signer: &Signer,
    name: &str,
    request: &str,
    is_sent: bool,
) -> Result<Result<Sent, Outcome>, ApiError> {
    let found = if is_sent {
        match look(client, name).await? {
            Ok(found) => found,
            Err(outcome) => return Ok(Err(outcome)),
        }
    } else {
        None
    };
    let sent = match found {
        Some(sent) => sent,
        None => {
            if is_sent {
                tracing::info!("the request {name} is gone from the API server, and is sent again");
            }
            match create(client, signer, name, request).await? {
                Ok(sent) => sent,
                Err(outcome) => return Ok(Err(outcome)),
            }
        }
    };
    if !sent.object.asks_the_same(signer, request) {
        return Ok(Err(Outcome::Unproved(Reason::new(
            "request-of-another",
            format!(
                "the request {name} on the API server has our name and not our content: somebody else made it; it is left alone, \
                 and a new key with a name of its own is asked for"
            ),
        ))));
    }
    Ok(Ok(sent))
}

async fn create(
    client: &mut Client,
    signer: &Signer,
    name: &str,
    request: &str,
) -> Result<Result<Sent, Outcome>, ApiError> {
    let answer = client.call(Method::POST, PATH, Some(&signer.object(name, request))).await?;
    Ok(match StatusCode::from_u16(answer.status) {
        Ok(StatusCode::CREATED) => {
            let object: Object = answer.json()?;
            let version = object.metadata.resource_version.clone();
            Ok(Sent { object, version })
        }
        // AlreadyExists: an earlier start sent it.
        Ok(StatusCode::CONFLICT) => match look(client, name).await? {
            Ok(Some(sent)) => Ok(sent),
            Ok(None) => Err(Outcome::Deleted),
            Err(outcome) => Err(outcome),
        },
        _ => Err(outcome(&answer)),
    })
}

/// Reads the object; `None`: there is none. A LIST rather than a GET, for the version that it brings.
async fn look(client: &mut Client, name: &str) -> Result<Result<Option<Sent>, Outcome>, ApiError> {
    let answer = client.call(Method::GET, &selecting(name), None).await?;
    if answer.status != 200 {
        return Ok(Err(outcome(&answer)));
    }
    let List { metadata, items } = answer.json()?;
    let object = items.into_iter().find(|object| object.metadata.name == name);
    Ok(Ok(object.map(|object| Sent { object, version: metadata.resource_version })))
}

fn selecting(name: &str) -> String {
    format!("{PATH}?fieldSelector=metadata.name%3D{name}")
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a serde_json::value::RawValue,
}

/// What one line of the watch says.
#[derive(Debug)]
enum News {
    /// The object as it is now.
    Object(Box<Object>),
    /// Nothing about the object (a bookmark).
    Nothing,
    /// The object is gone.
    Deleted,
    /// The server ends the watch with a Status (410 Expired, 500 ...).
    Error,
}

fn news(line: &[u8]) -> Result<News, ApiError> {
    let nonsense = |error: serde_json::Error| ApiError::Nonsense(format!("a watch line is not one ({error})"));
    let line: Line<'_> = serde_json::from_slice(line).map_err(nonsense)?;
    Ok(match line.kind {
        "ADDED" | "MODIFIED" => News::Object(serde_json::from_str(line.object.get()).map_err(nonsense)?),
        "DELETED" => News::Deleted,
        "ERROR" => News::Error,
        _ => News::Nothing,
    })
}

/// Watches until the request is decided and signed, `within` at most. A watch that the server ends, for whatever reason, is
/// not begun again here: what is known by then is the answer, and when to look again is core's to say. `Err` is how the
/// attempt ended.
///
/// # Errors
/// [`ApiError`].
pub async fn wait(client: &mut Client, sent: Sent, within: Duration) -> Result<Result<Verdict, Outcome>, ApiError> {
    let deadline = Instant::now() + within;
    let Sent { mut object, version } = sent;
    if is_final(&object) {
        return Ok(Ok(object.verdict()));
    }
    // Without a version the API server makes a watch-list of it, which an etcd without progress notify refuses.
    let path = format!(
        "{}&watch=true&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={}",
        selecting(&object.metadata.name),
        // 0 would be the server's own choice.
        within.as_secs().max(1)
    );
    let mut lines = match client.stream(&path).await? {
        Ok(lines) => lines,
        Err(answer) => {
            return Ok(match outcome(&answer) {
                // A server that does not let us watch may let us look.
                Outcome::Forbidden(_) | Outcome::Invalid(_) => Ok(object.verdict()),
                refused => Err(refused),
            });
        }
    };
    loop {
        let line = match timeout_at(deadline, lines.next()).await {
            Ok(Ok(Some(line))) => line,
            // Cut on the way, as watches are: if the server is away, the next look finds out.
            Err(_) | Ok(Ok(None) | Err(ApiError::Unreachable(_))) => return Ok(Ok(object.verdict())),
            Ok(Err(error)) => return Err(error),
        };
        match news(&line)? {
            News::Object(fresh) if fresh.metadata.uid != object.metadata.uid => return Ok(Err(Outcome::Deleted)),
            News::Object(fresh) => object = *fresh,
            News::Nothing => {}
            News::Deleted => return Ok(Err(Outcome::Deleted)),
            // The version is too old, or the server is in trouble: the next look tells.
            News::Error => return Ok(Ok(object.verdict())),
        }
        if is_final(&object) {
            return Ok(Ok(object.verdict()));
        }
    }
}

/// Nothing more will come of it than what is there.
fn is_final(object: &Object) -> bool {
    !matches!(object.verdict(), Verdict::Pending | Verdict::Approved)
}

/// What a refusal means for the attempt.
pub fn outcome(answer: &Answer) -> Outcome {
    match (answer.status, answer.retry_after) {
        (401, _) => Outcome::Unauthorized,
        (403, _) => Outcome::Forbidden(answer.words()),
        (400 | 404 | 405 | 409 | 422, _) => Outcome::Invalid(answer.words()),
        (_, Some(wait)) => Outcome::Throttled(wait),
        (429, None) => Outcome::Throttled(Duration::from_secs(1)),
        _ => Outcome::ServerError(answer.words()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_and_bookmark_lines_are_not_objects() {
        // The lines of the recordings "watch: resourceVersion too old" and "bookmarks asked".
        for (name, line, want) in [
            ("error", r#"{"type":"ERROR","object":{"kind":"Status","reason":"Expired","code":410}}"#, "Error"),
            (
                "bookmark",
                r#"{"type":"BOOKMARK","object":{"kind":"CertificateSigningRequest","metadata":{"resourceVersion":"9"}}}"#,
                "Nothing",
            ),
            ("deleted", r#"{"type":"DELETED","object":{"metadata":{"name":"x"}}}"#, "Deleted"),
            ("added", r#"{"type":"ADDED","object":{"metadata":{"name":"x","resourceVersion":"9"}}}"#, "Object"),
            ("of another day", r#"{"type":"SOMETHING","object":{}}"#, "Nothing"),
        ] {
            let got = format!("{:?}", news(line.as_bytes()).expect(name));
            assert!(got.starts_with(want), "{name}: {got}");
        }
        for line in ["", "{", "[]", r#"{"type":"ADDED"}"#, r#"{"type":"ADDED","object":{"metadata":3}}"#] {
            assert!(news(line.as_bytes()).is_err(), "{line}");
        }
    }
}
