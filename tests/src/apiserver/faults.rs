//! Faults a test injects: the server, or the way to it, misbehaves on purpose.

use std::time::Duration;

use hyper::Method;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultAction {
    /// This answer instead of the real one, before any credential is looked at.
    Status {
        /// The HTTP status.
        code: u16,
        /// `Retry-After`, in seconds.
        retry_after: Option<u64>,
        /// The body; a `Status` object with the code when `None`.
        body: Option<String>,
    },
    /// This status with a `Retry-After` that is a date, so far ahead of the server's clock in whole seconds (RFC 9110, 10.2.3).
    RetryAt {
        /// The HTTP status.
        code: u16,
        /// Seconds from the server's now.
        seconds: u64,
    },
    /// The connection is cut with a TCP reset before anything is answered.
    Reset,
    /// No answer, for as long as the client stays.
    Hang,
    /// The right answer, after this time.
    Delay(Duration),
    /// The right answer, but the body comes in pieces of 16 bytes, each after this time.
    SlowBody(Duration),
    /// Status 200 and a body that is neither JSON nor UTF-8.
    Garbage,
    /// Status 200 and a body of so many bytes without a line's end.
    Huge(usize),
    /// The head and half of the right answer's body, then the connection is closed.
    HalfBody,
    /// A watch is cut, without the end of its stream, after so many lines.
    CloseMidWatch {
        /// Lines that still go out.
        after_lines: usize,
    },
    /// A watch ends at once, in good order, after these lines.
    EndWatch {
        /// JSON, without the line's end.
        lines: Vec<String>,
    },
}

impl FaultAction {
    /// A watch from a version that the server has forgotten: the line of the recording "watch: resourceVersion too old".
    pub fn watch_expired() -> Self {
        let line = serde_json::json!({"type": "ERROR", "object": {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "The resourceVersion for the provided watch is too old.", "reason": "Expired", "code": 410,
        }});
        Self::EndWatch { lines: vec![line.to_string()] }
    }
}

/// One fault and the requests it waits for. Faults are tried in the order in which they were injected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The method, or any.
    pub method: Option<Method>,
    /// What path and query begin with.
    pub path_prefix: String,
    /// For how many requests; it is gone after that.
    pub times: u32,
    /// What goes wrong.
    pub action: FaultAction,
}

impl Fault {
    /// Once, for any request.
    pub fn new(action: FaultAction) -> Self {
        Self { method: None, path_prefix: "/".to_owned(), times: 1, action }
    }

    /// Only for this method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Only for paths (with their query) that begin so.
    #[must_use]
    pub fn path(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.path_prefix);
        self
    }

    /// For so many requests.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Until [`super::ApiServer::clear_faults`].
    #[must_use]
    pub fn always(self) -> Self {
        self.times(u32::MAX)
    }
}

/// Takes one use out of the first fault that waits for this request.
pub(super) fn strike(faults: &mut Vec<Fault>, method: &Method, path: &str, watch: bool) -> Option<FaultAction> {
    let index = faults.iter().position(|fault| {
        let cuts_a_watch = matches!(fault.action, FaultAction::CloseMidWatch { .. } | FaultAction::EndWatch { .. });
        fault.times > 0
            && fault.method.as_ref().is_none_or(|m| m == method)
            && path.starts_with(&fault.path_prefix)
            && (watch || !cuts_a_watch)
    })?;
    let fault = faults.get_mut(index)?;
    let action = fault.action.clone();
    if fault.times != u32::MAX {
        fault.times -= 1;
    }
    faults.retain(|fault| fault.times > 0);
    Some(action)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_what_it_waits_for_and_is_used_up() {
        let status = |code| FaultAction::Status { code, retry_after: None, body: None };
        let mut faults = vec![
            Fault::new(FaultAction::CloseMidWatch { after_lines: 1 }).path("/a"),
            Fault::new(status(500)).method(Method::POST).path("/a").times(2),
            Fault::new(status(503)).path("/b").always(),
        ];
        for (step, method, path, watch, want) in [
            (1, Method::GET, "/a", false, None),
            (2, Method::GET, "/a?watch=1", true, Some(FaultAction::CloseMidWatch { after_lines: 1 })),
            (3, Method::GET, "/a?watch=1", true, None),
            (4, Method::POST, "/a/x", false, Some(status(500))),
            (5, Method::POST, "/a", false, Some(status(500))),
            (6, Method::POST, "/a", false, None),
            (7, Method::PUT, "/b", false, Some(status(503))),
            (8, Method::PUT, "/b", false, Some(status(503))),
        ] {
            assert_eq!(strike(&mut faults, &method, path, watch), want, "step {step}");
        }
        assert_eq!(faults.len(), 1);
    }
}
