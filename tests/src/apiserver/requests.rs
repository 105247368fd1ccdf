//! The log of requests: what a test looks at to know who asked for what, and how often.

use std::collections::VecDeque;
use std::time::SystemTime;

/// Answered requests that are kept; the oldest go first.
const KEPT: usize = 100_000;

/// One answered request. A request that a fault left without an answer is logged with status 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// When it came, by the server's clock.
    pub at: SystemTime,
    /// Which connection it came on, counted from 1 over the whole life of the stand-in.
    pub connection: u64,
    /// The method, upper case.
    pub method: String,
    /// Path and query as sent.
    pub path: String,
    /// The user it was judged to come from; `-` when the credentials were refused or a fault came first.
    pub user: String,
    /// `User-Agent`, or empty.
    pub user_agent: String,
    /// HTTP status of the answer; 0 for none.
    pub status: u16,
}

impl std::fmt::Display for RequestRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { at, connection, method, path, user, user_agent, status } = self;
        let at = super::clock::rfc3339(*at);
        write!(f, "{at} {status} {method} {path} user={user} agent={user_agent:?} connection={connection}")
    }
}

/// The newest requests, bounded.
#[derive(Debug, Default)]
pub(super) struct RequestLog {
    records: VecDeque<RequestRecord>,
}

impl RequestLog {
    pub(super) fn add(&mut self, record: RequestRecord) {
        if self.records.len() == KEPT {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &RequestRecord> {
        self.records.iter()
    }

    pub(super) fn clear(&mut self) {
        self.records.clear();
    }
}
