//! One attempt: send the request or find it again, watch it, prove what comes, install it. How it ended is a value.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use eyewall_core::cert;
use eyewall_core::csr::{SERVING, Verdict};
use eyewall_core::hostname::NodeName;
use eyewall_core::rotation::Outcome;
use eyewall_core::rotation::clock::AGREEMENT;
use eyewall_core::serving::proof::{self, Candidate, Proven};
use eyewall_core::serving::{Leaf, WATCH};
use eyewall_core::status::Reason;
use eyewall_core::time::Time;

use super::observe::Open;
use crate::api::{ApiError, Client, csr};
use crate::chain;
use crate::store::Store;

/// The longest an attempt may take, whatever the server does: the watch, and the calls before it.
pub const WITHIN: Duration = Duration::from_secs(WATCH.as_secs() + 50);

/// What an attempt works with.
#[derive(Debug)]
pub struct Attempt<'a> {
    pub node: &'a NodeName,
    /// PEM of the cluster CA.
    pub ca: &'a str,
    pub open: &'a Open,
    pub store: &'a Store,
    /// The API server is known to have the request.
    pub is_sent: bool,
}

/// How it ended; with the certificate and its file, if one is in force now.
#[derive(Debug)]
pub struct Ended {
    pub outcome: Outcome,
    pub installed: Option<(Proven, PathBuf)>,
}

impl From<Outcome> for Ended {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, installed: None }
    }
}

/// Makes the attempt on an open connection. `submitted` is called when the API server has the request.
pub async fn attempt(
    client: &mut Client,
    on: &Attempt<'_>,
    clock: fn() -> SystemTime,
    submitted: &mut (dyn FnMut() + Send),
) -> Ended {
    match run(client, on, clock, submitted).await {
        Ok(ended) => ended,
        Err(error) => outcome(error).into(),
    }
}

async fn run(
    client: &mut Client,
    on: &Attempt<'_>,
    clock: fn() -> SystemTime,
    submitted: &mut (dyn FnMut() + Send),
) -> Result<Ended, ApiError> {
    if let Err(fault) = on.store.settle_serving_request() {
        return Ok(Outcome::Disk(fault.reason()).into());
    }
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &on.open.request);
    let sent = match csr::submit(client, &SERVING, &on.open.seen.name, &encoded, on.is_sent).await? {
        Ok(sent) => sent,
        Err(outcome) => return Ok(outcome.into()),
    };
    submitted();
    let words = |reason: &str, message: &str| format!("{reason}: {message}");
    let pem = match csr::wait(client, sent, WATCH).await? {
        Ok(Verdict::Issued(pem)) => pem,
        Ok(Verdict::Pending) => return Ok(Outcome::Pending.into()),
        Ok(Verdict::Approved) => return Ok(Outcome::NotSigned.into()),
        Ok(Verdict::Denied { reason, message }) => return Ok(Outcome::Denied(words(&reason, &message)).into()),
        Ok(Verdict::Failed { reason, message }) => return Ok(Outcome::Failed(words(&reason, &message)).into()),
        Err(outcome) => return Ok(outcome.into()),
    };
    Ok(prove_and_install(on, &pem, clock()))
}

fn prove_and_install(on: &Attempt<'_>, pem: &str, now: SystemTime) -> Ended {
    let unreadable = |why: String| Ended::from(Outcome::Unproved(Reason::new("certificate-unreadable", why)));
    let chain = match cert::certificates(pem) {
        Ok(chain) => chain,
        Err(fault) => return unreadable(format!("what was issued is no certificate: {fault}")),
    };
    let Some(leaf) = chain.first().and_then(|der| Leaf::from_der(der).ok()) else {
        return unreadable("what was issued cannot be parsed".to_owned());
    };
    // A clock that lags by less than what counts as agreement: the certificate is good in a moment, and so is its key.
    let begins = leaf.cert.not_before;
    if begins > Time(now) && begins.0 <= now + AGREEMENT {
        return Outcome::NotYet(begins).into();
    }
    let candidate = Candidate {
        leaf: &leaf,
        common_name: &on.node.common_name(),
        asked: &on.open.seen.names,
        key_matches: chain::key_matches(&on.open.key, &leaf.cert.public_key),
        chain: chain::verify_serving(&chain, on.ca, leaf.cert.not_after),
    };
    let proven = match proof::prove(now, &candidate) {
        Ok(proven) => proven,
        Err(reason) => return Outcome::Unproved(reason).into(),
    };
    match on.store.install_serving(&proven, pem, &on.open.key, now, chain::is_pair) {
        Ok(file) => Ended { outcome: Outcome::Installed, installed: Some((proven, file)) },
        Err(fault) => Outcome::Disk(fault.reason()).into(),
    }
}

/// What a call that got no answer means for the attempt.
pub fn outcome(error: ApiError) -> Outcome {
    match error {
        ApiError::Unreachable(words) => Outcome::Unreachable(words),
        ApiError::Untrusted(words) => Outcome::Untrusted(words),
        ApiError::OutOfTime { words, .. } => Outcome::OutOfTime(words),
        ApiError::Nonsense(words) => Outcome::ServerError(words),
        ApiError::Credential(words) => Outcome::Disk(Reason::new("credential-unreadable", words)),
    }
}
