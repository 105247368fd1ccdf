//! The credentials as client-go keeps them (`transport/cert_rotation.go`): read at every handshake and every few seconds,
//! and when they changed, every connection is closed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use eyewall_core::time::Time;
use hyper::{Method, StatusCode};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::sleep;

use super::kubeconfig::{Credential, Kubeconfig, Material};
use super::rotation::Held;
use super::{Never, say};
use crate::client::{Client, Login, Reply};

/// client-go looks every five minutes; a test does not want to wait so long.
const LOOK: Duration = Duration::from_secs(3);
/// Between two tries after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// What the files said when they were last read in order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Read {
    ca: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// Where the client certificate is.
#[derive(Debug)]
enum Own {
    /// In the kubeconfig's files.
    Files { certificate: Material, key: Material },
    /// In the memory of a kubelet that renews it itself.
    Held(Held),
}

/// The credentials and everybody who is connected with them.
#[derive(Debug)]
pub(super) struct Session {
    server: String,
    user: String,
    ca: Material,
    own: Own,
    /// What the connections of now were made with.
    used: Mutex<Option<Read>>,
    /// Ticks when the connections are to be closed.
    cuts: watch::Sender<u64>,
}

impl Session {
    /// A session. As with the real one a file that is not there is an error, and one that is empty is none yet.
    pub(super) fn new(kubeconfig: Kubeconfig) -> Result<Self> {
        let Kubeconfig { server, user, ca, credential } = kubeconfig;
        let Credential::Certificate { certificate, key } = credential else {
            bail!("the kubeconfig has a token: this stand-in wants a client certificate");
        };
        let session = Self::with(server, user, ca, Own::Files { certificate, key });
        session.read()?;
        Ok(session)
    }

    /// The session of a kubelet that renews its certificate itself.
    pub(super) fn of_rotation(server: &str, ca: Material, held: Held) -> Self {
        Self::with(server.to_owned(), "default-auth".to_owned(), ca, Own::Held(held))
    }

    fn with(server: String, user: String, ca: Material, own: Own) -> Self {
        Self { server, user, ca, own, used: Mutex::new(None), cuts: watch::Sender::new(0) }
    }

    fn read(&self) -> Result<Read> {
        let Self { user, ca, .. } = self;
        let (certificate, key) = match &self.own {
            Own::Files { certificate, key } => (
                certificate.read().with_context(|| format!("unable to read client-cert for {user}"))?,
                key.read().with_context(|| format!("unable to read client-key for {user}"))?,
            ),
            Own::Held(held) => (held.pem()?, Vec::new()),
        };
        Ok(Read { ca: ca.read().context("unable to read certificate-authority")?, certificate, key })
    }

    /// Told when the connections are to be closed.
    fn cuts(&self) -> watch::Receiver<u64> {
        self.cuts.subscribe()
    }

    /// What a handshake does: reads the files, and uses them if they are good.
    fn client(&self) -> Result<Client> {
        let read = self.read()?;
        if read.certificate.is_empty() {
            bail!("tls: failed to find any PEM data in certificate input: the file is empty");
        }
        let pem = [read.certificate.as_slice(), b"\n", read.key.as_slice()].concat();
        let login = Login::certificate(&String::from_utf8(pem).context("the certificate's file is no text")?);
        let ca = String::from_utf8(read.ca.clone()).context("the CA's file is no text")?;
        let client = Client::new(&self.server, &ca, &login)?.user_agent("kubelet-standin/v1.36.1");
        self.take(read);
        Ok(client)
    }

    /// Remembers what is used from now on, and closes what was made with something else.
    fn take(&self, read: Read) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.as_ref() == Some(&read) {
            return;
        }
        say(&described(&read.certificate));
        if used.replace(read).is_some() {
            say("certificate rotation detected, shutting down client connections to start using new credentials");
            self.cuts.send_modify(|cut| *cut += 1);
        }
    }

    /// Looks at the files every few seconds. Files that are gone or no good change nothing: the old ones stay in use.
    pub(super) async fn keep_looking(&self) -> Result<Never> {
        loop {
            sleep(LOOK).await;
            self.look();
        }
    }

    /// One look.
    pub(super) fn look(&self) {
        let known = self.used.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let changed = known.is_some() && self.read().ok() != known;
        if changed && let Err(error) = self.client() {
            say(&format!("loading the client certificate failed: {error:#}"));
        }
    }
}

/// The line by which a test sees which certificate is in use.
fn described(pem: &[u8]) -> String {
    let parsed = CertificateDer::from_pem_slice(pem).ok();
    let parsed = parsed.as_ref().and_then(|der| x509_parser::parse_x509_certificate(der).ok());
    match parsed {
        Some((_, certificate)) => format!(
            "certificate serial={} subject={:?} not_after={}",
            certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
            certificate.subject().to_string(),
            Time::from_unix(u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0)),
        ),
        None => "certificate cannot be read".to_owned(),
    }
}

/// One connection to the API server that is made anew, with what the files say then, whenever it is lost or cut.
pub(super) struct Line<'a> {
    session: &'a Session,
    cuts: watch::Receiver<u64>,
    client: Option<Client>,
    /// The last failure told, so that one that goes on is told once.
    told: String,
    purpose: &'static str,
}

impl<'a> Line<'a> {
    pub(super) fn new(session: &'a Session, purpose: &'static str) -> Self {
        Self { session, cuts: session.cuts(), client: None, told: String::new(), purpose }
    }

    /// Asks; an answer of 401 costs the connection, so that the next try shakes hands anew.
    pub(super) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Result<Reply> {
        if self.cuts.has_changed().unwrap_or(false) {
            self.cuts.mark_unchanged();
            self.client = None;
        }
        let mut client = match self.client.take() {
            Some(client) if client.is_connected() => client,
            _ => self.session.client()?,
        };
        let reply = client.send(method, path, content_type, body).await?;
        if reply.status != StatusCode::UNAUTHORIZED {
            self.client = Some(client);
        }
        Ok(reply)
    }

    /// Gives a connection away, to be held for long, with the means to know when it is to be closed.
    pub(super) fn hand_over(&mut self) -> Result<(Client, watch::Receiver<u64>)> {
        self.client = None;
        let client = self.session.client()?;
        let mut cuts = self.session.cuts();
        cuts.mark_unchanged();
        Ok((client, cuts))
    }

    /// Tells how it goes, once for each change, and rests: `every` after a success, a second after a failure. A cut while
    /// resting closes the connection at once.
    pub(super) async fn rest(&mut self, result: Result<()>, every: Duration) {
        let (now, pause) = match result {
            Ok(()) => (String::new(), every),
            Err(error) => (format!("{error:#}"), RETRY),
        };
        if now != self.told {
            let purpose = self.purpose;
            say(&if now.is_empty() { format!("{purpose}: works again") } else { format!("{purpose}: {now}") });
            self.told = now;
        }
        tokio::select! {
            () = sleep(pause) => {}
            Ok(()) = self.cuts.changed() => self.client = None,
        }
    }
}
