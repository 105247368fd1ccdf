//! Answers: bounded bodies, the few headers that count, and the lines of a watch.

use std::time::{Duration, SystemTime};

use bytes::{Buf, BytesMut};
use eyewall_core::time::Time;
use http_body_util::{BodyExt, Limited};
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::{DATE, HeaderMap, RETRY_AFTER};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{ApiError, broken};

/// The longest `Retry-After` that is obeyed to the letter; a server that says more is asked again all the same, later.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The server's clock.
    pub date: Option<SystemTime>,
    /// How long it asks to be left alone.
    pub retry_after: Option<Duration>,
    body: bytes::Bytes,
}

/// A Kubernetes `Status` object, as far as people need it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Failure {
    message: String,
}

impl Answer {
    pub(super) async fn read(response: Response<Incoming>, largest: usize, within: Duration) -> Result<Self, ApiError> {
        let (head, body) = response.into_parts();
        let body = match timeout(within, Limited::new(body, largest).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) => {
                return Err(match error.downcast_ref::<hyper::Error>() {
                    Some(error) => broken(error),
                    None => ApiError::Nonsense(format!("the answer is longer than {largest} bytes")),
                });
            }
            Err(_) => {
                return Err(ApiError::Unreachable(format!(
                    "the answer began and did not end within {} s",
                    within.as_secs()
                )));
            }
        };
        Ok(Self {
            status: head.status.as_u16(),
            date: date(&head.headers),
            retry_after: retry_after(&head.headers),
            body,
        })
    }

    /// The body as `T`.
    ///
    /// # Errors
    /// [`ApiError::Nonsense`]. The body is not quoted: it is not ours to repeat.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            ApiError::Nonsense(format!("status {} with a body that is not what was asked for ({error})", self.status))
        })
    }

    /// The body as it came.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The server's sentence about a failure, or the bare status.
    pub fn words(&self) -> String {
        let failure: Failure = serde_json::from_slice(&self.body).unwrap_or_default();
        if failure.message.is_empty() {
            format!("status {}", self.status)
        } else {
            // A sentence from outside goes into logs and status: bounded, on one line, without what we sent.
            let line: String =
                failure.message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect();
            eyewall_core::secret::redact(&line)
        }
    }
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    http_date(headers.get(DATE)?.to_str().ok()?)
}

/// The three forms of an HTTP-date (RFC 9110, 5.6.7), of which only the first is still written.
fn http_date(text: &str) -> Option<SystemTime> {
    let read = |form| jiff::fmt::strtime::parse(form, text).and_then(|parsed| parsed.to_datetime()).ok();
    let date = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]
        .into_iter()
        .find_map(read)?;
    let seconds = jiff::tz::TimeZone::UTC.to_timestamp(date).ok()?.as_second();
    Some(Time::from_unix(u64::try_from(seconds).ok()?).0)
}

/// Seconds, or a date (RFC 9110, 10.2.3): kube-apiserver writes seconds, what stands before it may not. A date is taken from the
/// answer's own date, so that it does not matter what this host's clock says.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => http_date(text)?.duration_since(date(headers)?).unwrap_or_default(),
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

/// The lines of a watch.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    buffer: BytesMut,
    largest: usize,
}

impl Lines {
    pub(super) fn new(body: Incoming, largest: usize) -> Self {
        Self { body, buffer: BytesMut::new(), largest }
    }

    /// The next line, without its end; `None` when the server ended the watch, which it does often.
    /// Cancelling this loses nothing: what was read stays in the buffer.
    ///
    /// # Errors
    /// [`ApiError`] when the connection broke or a line is too long.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end).to_vec();
                self.buffer.advance(1);
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Ok(Some(line));
            }
            if self.buffer.len() > self.largest {
                return Err(ApiError::Nonsense(format!("a watch line is longer than {} bytes", self.largest)));
            }
            match self.body.frame().await {
                None if self.buffer.iter().all(u8::is_ascii_whitespace) => return Ok(None),
                None => {
                    return Err(ApiError::Unreachable("the watch ended in the middle of a line".to_owned()));
                }
                Some(Err(error)) => return Err(broken(&error)),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn headers_that_count() {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, HeaderValue::from_static("Tue, 24 Nov 2026 02:15:08 GMT"));
        assert_eq!(date(&headers), Some(Time::from_unix(1_795_486_508).0));
        for (text, want) in [
            ("5", Some(5)),
            (" 7 ", Some(7)),
            ("999999", Some(3_600)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("Tue, 24 Nov 2026 02:15:38 GMT", Some(30)),
            ("Tue, 24 Nov 2026 02:15:08 GMT", Some(0)),
            ("Tue, 24 Nov 2026 02:00:00 GMT", Some(0)),
            ("Wed, 25 Nov 2026 02:15:08 GMT", Some(3_600)),
            ("Tuesday, 24-Nov-26 02:15:38 GMT", Some(30)),
            ("Tue Nov 24 02:15:38 2026", Some(30)),
            ("Tue Nov  3 02:15:38 2026", Some(0)),
        ] {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            assert_eq!(retry_after(&headers), want.map(Duration::from_secs), "{text}");
        }
        headers.insert(DATE, HeaderValue::from_static("today"));
        assert_eq!(date(&headers), None);
        headers.insert(RETRY_AFTER, HeaderValue::from_static("Tue, 24 Nov 2026 02:15:38 GMT"));
        assert_eq!(retry_after(&headers), None, "a date, and nothing to count it from");
    }
}
