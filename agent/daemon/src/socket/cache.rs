//! The status as JSON, made once for each version: a request costs a copy of a pointer.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use eyewall_core::status::Status;
use serde::Serialize;
use tokio::sync::watch;

/// The documents of one version.
#[derive(Clone, Debug)]
pub struct Pages {
    /// What they were made of.
    pub of: Arc<Status>,
    /// `GET /v1/status`.
    pub status: Bytes,
    /// `GET /v1/certificates`.
    pub certificates: Bytes,
    /// `GET /v1/kubelet`.
    pub kubelet: Bytes,
}

/// Holds the newest version's documents.
#[derive(Debug)]
pub struct Cache {
    status: watch::Receiver<Arc<Status>>,
    pages: Mutex<Option<Pages>>,
}

impl Cache {
    /// Makes nothing before the first request.
    pub fn new(status: watch::Receiver<Arc<Status>>) -> Self {
        Self { status, pages: Mutex::new(None) }
    }

    /// The documents of the status as it is now.
    ///
    /// # Errors
    /// What serde_json said; none of the wire types can bring it about today.
    pub fn pages(&self) -> Result<Pages, serde_json::Error> {
        let status = Arc::clone(&self.status.borrow());
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        // The cache holds the version it was made of, so an equal address is the same version.
        if let Some(pages) = &*pages
            && Arc::ptr_eq(&pages.of, &status)
        {
            return Ok(pages.clone());
        }
        let fresh = Pages {
            status: document(&*status)?,
            certificates: document(&status.certificates)?,
            kubelet: document(&status.kubelet)?,
            of: status,
        };
        *pages = Some(fresh.clone());
        Ok(fresh)
    }
}

/// One JSON document with a newline at its end, as a terminal likes it.
///
/// # Errors
/// What serde_json said.
pub fn document(value: &impl Serialize) -> Result<Bytes, serde_json::Error> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::example;

    #[test]
    fn a_version_is_serialized_once() {
        let (sender, receiver) = watch::channel(Arc::new(example::status()));
        let cache = Cache::new(receiver);
        let first = cache.pages().expect("serializes");
        let again = cache.pages().expect("serializes");
        assert_eq!(first.status.as_ptr(), again.status.as_ptr(), "the same bytes");

        let mut status = example::status();
        status.agent.version = "9.9.9".to_owned();
        sender.send_replace(Arc::new(status.clone()));
        let next = cache.pages().expect("serializes");
        let read: Status = serde_json::from_slice(&next.status).expect("reads back");
        assert_eq!(read, status);
        assert!(next.status.ends_with(b"}\n"));
    }
}
