//! One attempt: send the request or find it again, wait for it, prove what comes, install it. How it ended is a value.

use std::time::{Duration, SystemTime};

use eyewall_core::cert::{self, CertView};
use eyewall_core::csr::{CLIENT, Verdict};
use eyewall_core::hostname::NodeName;
use eyewall_core::proof::{self, Candidate, Review};
use eyewall_core::rotation::clock::ENDURED;
use eyewall_core::rotation::{Current, Identity, Outcome};
use eyewall_core::status::Reason;
use eyewall_core::time::Time;

use super::observe::Open;
use crate::api::{ApiError, Bearer, Client, Dial, Endpoint, csr, review};
use crate::bootstrap::Joined;
use crate::chain;
use crate::store::{Found, Store};

/// How long one attempt watches its request: less than a minute, so that the state is judged anew in between.
const WATCH: Duration = Duration::from_secs(50);

/// The longest an attempt may take, whatever the server does: less than the watchdog's patience.
pub const WITHIN: Duration = Duration::from_secs(100);

/// How long an attempt that begins now watches its request: not past the end of the certificate in force, with which the state
/// changes and the credential to ask with.
pub fn watch(now: SystemTime, current: &Current) -> Duration {
    match current {
        Current::Usable { leaf, .. } => leaf.not_after.0.duration_since(now).map_or(WATCH, |left| left.min(WATCH)),
        Current::Nothing | Current::Unreadable(_) | Current::Unusable(_) => WATCH,
    }
}

/// What an attempt works with.
#[derive(Debug)]
pub struct Attempt<'a> {
    pub node: &'a NodeName,
    pub joined: &'a Joined,
    pub open: &'a Open,
    /// The last attempt left the request on the API server.
    pub is_sent: bool,
    /// See [`watch`].
    pub watch: Duration,
    pub store: &'a Store,
    pub dial: &'a dyn Dial,
}

/// Told on the way, so that the state shows what is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The API server has the request.
    Submitted,
}

/// How it ended; with the certificate, if one is in force now.
#[derive(Debug)]
pub struct Ended {
    /// The end.
    pub outcome: Outcome,
    /// The new certificate.
    pub installed: Option<Box<CertView>>,
}

impl From<Outcome> for Ended {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, installed: None }
    }
}

/// Opens a connection as `identity`.
///
/// # Errors
/// [`ApiError`].
pub async fn connect(
    dial: &dyn Dial,
    joined: &Joined,
    identity: Identity,
    pem: Option<&str>,
    now: SystemTime,
) -> Result<Client, ApiError> {
    let endpoint = Endpoint::new(&joined.bootstrap, &joined.ca)?;
    let bearer = match (identity, pem) {
        (Identity::Node, Some(pem)) => Bearer::from_pem(pem, pem)?,
        _ => Bearer::from_bootstrap(&joined.bootstrap.credential)?,
    };
    dial.dial(&endpoint, bearer, now).await
}

/// Makes the attempt on an open connection.
pub async fn attempt(
    client: &mut Client,
    on: &Attempt<'_>,
    clock: fn() -> SystemTime,
    told: &mut (dyn FnMut(Progress) + Send),
) -> Ended {
    match run(client, on, clock, told).await {
        Ok(ended) => ended,
        Err(error) => outcome(error).into(),
    }
}

async fn run(
    client: &mut Client,
    on: &Attempt<'_>,
    clock: fn() -> SystemTime,
    told: &mut (dyn FnMut(Progress) + Send),
) -> Result<Ended, ApiError> {
    if let Err(fault) = on.store.settle_request() {
        return Ok(Outcome::Disk(fault.reason()).into());
    }
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &on.open.request);
    let sent = match csr::submit(client, &CLIENT, &on.open.seen.name, &encoded, on.is_sent).await? {
        Ok(sent) => sent,
        Err(outcome) => return Ok(outcome.into()),
    };
    // What was decided long ago is not waited for.
    if !sent.is_decided() {
        told(Progress::Submitted);
    }
    let words = |reason: &str, message: &str| format!("{reason}: {message}");
    let chain_pem = match csr::wait(client, sent, on.watch).await? {
        Ok(Verdict::Issued(pem)) => pem,
        Ok(Verdict::Pending) => return Ok(Outcome::Pending.into()),
        Ok(Verdict::Approved) => return Ok(Outcome::NotSigned.into()),
        Ok(Verdict::Denied { reason, message }) => {
            return Ok(Outcome::Denied(words(&reason, &message)).into());
        }
        Ok(Verdict::Failed { reason, message }) => {
            return Ok(Outcome::Failed(words(&reason, &message)).into());
        }
        Err(outcome) => return Ok(outcome.into()),
    };
    prove_and_install(on, &chain_pem, clock).await
}

async fn prove_and_install(on: &Attempt<'_>, chain_pem: &str, clock: fn() -> SystemTime) -> Result<Ended, ApiError> {
    let unproved = |kind: &str, message: String| Ended::from(Outcome::Unproved(Reason::new(kind, message)));
    let chain = match cert::certificates(chain_pem) {
        Ok(chain) => chain,
        Err(fault) => {
            return Ok(unproved("certificate-unreadable", format!("what was issued is no certificate: {fault}")));
        }
    };
    let Some(leaf) = chain.first().and_then(|der| CertView::from_der(der).ok()) else {
        return Ok(unproved("certificate-unreadable", "what was issued cannot be parsed".to_owned()));
    };
    let common_name = on.node.common_name();
    let mut candidate = Candidate {
        leaf: &leaf,
        common_name: &common_name,
        key_matches: chain::key_matches(&on.open.key, &leaf.public_key),
        chain: chain::verify(&chain, &on.joined.ca, leaf.not_after),
        review: Review::default(),
    };
    // A clock that lags, by no more than one that is trusted may: the certificate is good in a while, and so is its key.
    let now = Time(clock());
    if leaf.not_before > now && leaf.not_before.0 <= now.0 + ENDURED {
        return Ok(Outcome::NotYet(leaf.not_before).into());
    }
    // What is wrong on its face is not worth a connection.
    if let Err(reason) = proof::check(clock(), &candidate) {
        return Ok(Outcome::Unproved(reason).into());
    }
    let endpoint = Endpoint::new(&on.joined.bootstrap, &on.joined.ca)?;
    let bearer = Bearer::from_pem(chain_pem, on.open.key.expose())?;
    let mut as_node = on.dial.dial(&endpoint, bearer, clock()).await?;
    candidate.review = match review::who_am_i(&mut as_node).await? {
        Ok(review) => review,
        Err(answer) if answer.status == 401 => {
            return Ok(unproved(
                "certificate-not-accepted",
                "the API server does not accept the issued certificate (401)".to_owned(),
            ));
        }
        Err(answer) => return Ok(csr::outcome(&answer).into()),
    };
    let proven = match proof::prove(clock(), &candidate) {
        Ok(proven) => proven,
        Err(reason) => return Ok(Outcome::Unproved(reason).into()),
    };
    // The CA first: a kubelet that reads both in between trusts the server that its certificate is for.
    let installed = on
        .store
        .ensure_authority(&trusted_meanwhile(on))
        .and_then(|_| on.store.install(&proven, chain_pem, &on.open.key, clock()));
    Ok(match installed {
        Ok(_) => Ended { outcome: Outcome::Installed, installed: Some(Box::new(proven.leaf().clone())) },
        Err(fault) => Outcome::Disk(fault.reason()).into(),
    })
}

/// The CA bundle for the moment in which the certificate is changed. When the CA changes with it, the old one stays beside the
/// new one until the task's next look: otherwise a power cut between the two would leave a certificate that no CA vouches for.
fn trusted_meanwhile(on: &Attempt<'_>) -> String {
    let new = &on.joined.ca;
    match on.store.read_authority() {
        Found::Text { text: old, .. } if cert::certificates(old.expose()).is_ok() => {
            if old.expose().contains(new.trim()) {
                old.expose().to_owned()
            } else {
                format!("{}\n{}", new.trim_end(), old.expose())
            }
        }
        Found::Text { .. } | Found::Missing | Found::Unreadable(_) => new.clone(),
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
