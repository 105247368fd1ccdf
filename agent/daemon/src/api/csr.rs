//! CREATE a certificate signing request, or find it again, and WATCH it until something comes of it.

use std::time::Duration;

use eyewall_core::csr::{self, Object, PATH, Verdict};
use eyewall_core::rotation::Outcome;
use hyper::Method;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::{Answer, ApiError, Client};

/// Sends the request, or finds the one that an earlier start sent: the name follows from the key, so `AlreadyExists`
/// is ours. Returns the object, or how the attempt ended.
///
/// # Errors
/// [`ApiError`].
pub async fn submit(client: &mut Client, name: &str, request: &str) -> Result<Result<Object, Outcome>, ApiError> {
    let answer = client.call(Method::POST, PATH, Some(&csr::object(name, request))).await?;
    let object: Object = match answer.status {
        201 => answer.json()?,
        409 => match get(client, name).await? {
            Ok(object) => object,
            Err(outcome) => return Ok(Err(outcome)),
        },
        _ => return Ok(Err(outcome(&answer))),
    };
    if !object.asks_the_same(request) {
        return Ok(Err(Outcome::Unproved(eyewall_core::status::Reason::new(
            "request-of-another",
            format!("there is a request {name} on the API server that is not ours; a new key is made"),
        ))));
    }
    Ok(Ok(object))
}

/// Reads the object. `Err` is how the attempt ended.
async fn get(client: &mut Client, name: &str) -> Result<Result<Object, Outcome>, ApiError> {
    let answer = client.call(Method::GET, &format!("{PATH}/{name}"), None).await?;
    Ok(match answer.status {
        200 => Ok(answer.json()?),
        // Collected between CREATE and GET: the next attempt creates it.
        404 => Err(Outcome::ServerError("the request vanished between two calls".to_owned())),
        _ => Err(outcome(&answer)),
    })
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

/// Waits until the request is decided and signed, `within` at most. The watch starts at the version that CREATE or GET
/// returned: without one the API server makes a watch-list of it, which an etcd without progress notify refuses.
///
/// # Errors
/// [`ApiError`].
pub async fn wait(client: &mut Client, mut object: Object, within: Duration) -> Result<Verdict, ApiError> {
    let deadline = Instant::now() + within;
    loop {
        let verdict = object.verdict();
        if !matches!(verdict, Verdict::Pending | Verdict::Approved) {
            return Ok(verdict);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left < Duration::from_secs(1) {
            return Ok(verdict);
        }
        let path = format!(
            "{PATH}?fieldSelector=metadata.name%3D{}&watch=true&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={}",
            object.metadata.name,
            object.metadata.resource_version,
            left.as_secs()
        );
        match client.stream(&path).await? {
            Ok(mut lines) => loop {
                let Ok(line) = timeout_at(deadline, lines.next()).await else {
                    return Ok(object.verdict());
                };
                let Some(line) = line? else { break };
                match news(&line)? {
                    News::Object(fresh) => {
                        object = *fresh;
                        if !matches!(object.verdict(), Verdict::Pending | Verdict::Approved) {
                            return Ok(object.verdict());
                        }
                    }
                    News::Nothing => {}
                    // Gone, or the version is too old: GET tells.
                    News::Deleted | News::Error => break,
                }
            },
            // A server that does not let us watch may let us look.
            Err(_refused) => {}
        }
        // A watch that ends at once must not become a flood.
        tokio::time::sleep(Duration::from_secs(1).min(left)).await;
        object = match get(client, &object.metadata.name).await? {
            Ok(object) => object,
            Err(_) => return Ok(Verdict::Pending),
        };
    }
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
