//! A kubelet that renews its client certificate itself: `rotateCertificates: true` with `--bootstrap-kubeconfig`, which is
//! what Typhoon's own unit runs. As client-go's certificate manager does it (`certificate_manager.go`, `bootstrap.go`), with
//! what is weak in it: a new name and key for every request, one sleep computed once, a corrupt file that ends the start.

mod csr;
mod store;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use eyewall_core::time::Time;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::time::{Instant, sleep};

use super::flags::Flags;
use super::kubeconfig::{self, Credential, Kubeconfig, Material};
use super::session::Session;
use super::{Never, say};
use crate::client::{Client, Login};
use store::Pair;

/// Between the tries of a renewal: 2 s, doubled, five tries; then every 32 s for ever.
const TRIES: u32 = 5;
const FIRST: Duration = Duration::from_secs(2);
const LATER: Duration = Duration::from_secs(32);
/// How often it looks whether its certificate is still good, before it has had one and after.
const LOOK_FIRST: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_secs(10);
/// How long it runs without a certificate while the server answers.
const WITHOUT: Duration = Duration::from_secs(300);

/// The certificate in its own memory: a file that somebody else changes is not looked at again.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<Mutex<Option<Pair>>>);

impl Held {
    /// Chain and key, if they are in force.
    pub(super) fn pem(&self) -> Result<Vec<u8>> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            None => bail!("there is no client certificate yet"),
            Some(pair) if now() >= pair.not_after => bail!("the client certificate has expired"),
            Some(pair) => Ok(pair.pem.clone()),
        }
    }

    fn pair(&self) -> Option<Pair> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, pair: Pair) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(pair);
    }
}

/// What renews.
#[derive(Debug)]
pub(super) struct Rotation {
    node: String,
    directory: PathBuf,
    server: String,
    ca: String,
    /// Who asks while there is no certificate of its own. Which it is, is decided once at the start.
    first: Option<Login>,
    held: Held,
    /// Did the server answer the last question about a request, be it with a refusal?
    healthy: AtomicBool,
}

/// Starts as `LoadClientConfig` does: a kubeconfig whose certificate is still good is used; otherwise it is written anew and
/// the bootstrap credential asks.
pub(super) fn begin(flags: &Flags, kubeconfig: &Path, node: &str) -> Result<Rotation> {
    let (config, first) = match (still_good(kubeconfig), &flags.bootstrap_kubeconfig) {
        (Some(config), _) => {
            say("the kubeconfig is still good, no bootstrap necessary");
            (config, None)
        }
        (None, None) => (kubeconfig::read(kubeconfig)?, None),
        (None, Some(bootstrap)) => {
            let bootstrap = kubeconfig::read(bootstrap)?;
            let text = kubeconfig::for_rotation(&bootstrap, &flags.cert_dir.join(store::CURRENT));
            store::write_kubeconfig(kubeconfig, &text)?;
            say("using the bootstrap kubeconfig to ask for a certificate");
            let login = login(&bootstrap)?;
            (bootstrap, Some(login))
        }
    };
    let held = Held::default();
    let current = store::current(&flags.cert_dir).context("failed to initialize client certificate manager")?;
    if let Some(pair) = current {
        held.replace(pair);
    }
    Ok(Rotation {
        node: node.to_owned(),
        directory: flags.cert_dir.clone(),
        server: config.server,
        ca: String::from_utf8(config.ca.read().context("unable to read certificate-authority")?)?,
        first,
        held,
        healthy: AtomicBool::new(false),
    })
}

/// The kubeconfig, if it names a certificate that can be read and has not ended (`isClientConfigStillValid`).
fn still_good(path: &Path) -> Option<Kubeconfig> {
    let config = kubeconfig::read(path).ok()?;
    let Credential::Certificate { certificate, .. } = &config.credential else {
        return None;
    };
    let (_, not_after) = life(&certificate.read().ok()?)?;
    (now() < not_after).then_some(config)
}

fn login(bootstrap: &Kubeconfig) -> Result<Login> {
    Ok(match &bootstrap.credential {
        Credential::Token(token) => Login::token(token),
        Credential::Certificate { certificate, key } => {
            let pem = [certificate.read()?, b"\n".to_vec(), key.read()?].concat();
            Login::certificate(&String::from_utf8(pem)?)
        }
    })
}

impl Rotation {
    /// The connections' side of it: server and CA as they were at the start, the certificate from memory.
    pub(super) fn session(&self) -> Session {
        Session::of_rotation(&self.server, Material::Inline(self.ca.clone().into_bytes()), self.held.clone())
    }

    /// Renews for ever; ends with an error where the kubelet ends.
    pub(super) async fn keep(&self, session: &Session) -> Result<Never> {
        tokio::try_join!(self.renew_for_ever(session), self.end_without_certificate()).map(|(never, _)| never)
    }

    async fn renew_for_ever(&self, session: &Session) -> Result<Never> {
        loop {
            if let Some(pair) = self.held.pair() {
                let deadline = deadline(&pair, draw()?);
                say(&format!("certificate rotation deadline is {}", Time(deadline)));
                // One sleep, computed once: a clock that is set meanwhile does not shorten it.
                sleep(deadline.duration_since(now()).unwrap_or_default()).await;
            }
            let mut tries = 0;
            while let Err(error) = self.renew(session).await {
                say(&format!("failed to renew the certificate: {error:#}"));
                tries += 1;
                sleep(if tries < TRIES { FIRST * 2_u32.pow(tries - 1) } else { LATER }).await;
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    async fn renew(&self, session: &Session) -> Result<()> {
        say("rotating certificates");
        let mut client = Client::new(&self.server, &self.ca, &self.asker()?)?.user_agent("kubelet-standin/v1.36.1");
        let (key, request) = csr::new_request(&self.node)?;
        let answered = csr::issued(&mut client, &request).await;
        let healthy = !matches!(&answered, Err(csr::Missed::NoAnswer(_)));
        self.healthy.store(healthy, Ordering::Relaxed);
        let pem = [answered?.trim_end(), "\n", &key].concat();
        let pair = store::update(&self.directory, pem.as_bytes(), now())?;
        self.held.replace(pair);
        session.look();
        Ok(())
    }

    /// Its own certificate while it has one in force, else whoever asked at the start.
    fn asker(&self) -> Result<Login> {
        match (self.held.pem(), &self.first) {
            (Ok(pem), _) => Ok(Login::certificate(&String::from_utf8(pem)?)),
            (Err(_), Some(first)) => Ok(first.clone()),
            // The bootstrap credential was not loaded at the start and is not now (kubernetes#96256).
            (Err(_), None) => match self.held.pair() {
                Some(expired) => Ok(Login::certificate(&String::from_utf8(expired.pem)?)),
                None => Ok(Login::anonymous()),
            },
        }
    }

    /// Ends once there is no certificate while the server answers: at once if one has expired, after five minutes if there
    /// never was one. The unit then starts it again, which is how it bootstraps anew.
    async fn end_without_certificate(&self) -> Result<Never> {
        let mut since = None;
        loop {
            let pair = self.held.pair();
            sleep(if pair.is_some() { LOOK } else { LOOK_FIRST }).await;
            if self.held.pem().is_ok() {
                since = None;
                continue;
            }
            let since = *since.get_or_insert_with(Instant::now);
            match (self.healthy.load(Ordering::Relaxed), pair) {
                (true, Some(_)) => bail!("the client certificate has expired and the server is responsive, exiting"),
                (true, None) if since.elapsed() >= WITHOUT => {
                    bail!("no valid client certificate is found and the server is responsive, exiting")
                }
                _ => {}
            }
        }
    }
}

/// Between 70 and 90 % of its life (`nextRotationDeadline`); `draw` is in 0..1.
fn deadline(pair: &Pair, draw: f64) -> SystemTime {
    let life = pair.not_after.duration_since(pair.not_before).unwrap_or_default();
    pair.not_before + life.mul_f64(0.7 + 0.2 * draw)
}

/// Start and end of the first certificate of a PEM.
fn life(pem: &[u8]) -> Option<(SystemTime, SystemTime)> {
    let der = CertificateDer::from_pem_slice(pem).ok()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).ok()?;
    let at = |time: x509_parser::time::ASN1Time| Time::from_unix(u64::try_from(time.timestamp()).unwrap_or(0)).0;
    Some((at(certificate.validity().not_before), at(certificate.validity().not_after)))
}

fn draw() -> Result<f64> {
    let mut bytes = [0; 4];
    let source = rustls::crypto::ring::default_provider().secure_random;
    source.fill(&mut bytes).map_err(|_| anyhow::anyhow!("the machine has no randomness"))?;
    Ok(f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
}

#[expect(clippy::disallowed_methods, reason = "the one place where this part of the stand-in reads the clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_renews_late_in_its_life() {
        let at = |hours: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 3_600);
        let pair = Pair { pem: Vec::new(), not_before: at(1_000), not_after: at(1_100) };
        for (name, draw, want) in [("earliest", 0.0, 1_070), ("middle", 0.5, 1_080), ("latest", 1.0, 1_090)] {
            let got = deadline(&pair, draw).duration_since(at(want)).map_err(|error| error.duration());
            let apart = got.unwrap_or_else(|before| before);
            assert!(apart < Duration::from_secs(1), "{name}: {apart:?}");
        }
        for _ in 0..100 {
            let draw = draw().unwrap();
            assert!((0.0..=1.0).contains(&draw), "{draw}");
        }
    }
}
