//! `kubelet.crt` and `kubelet.key` as the real kubelet treats them: made if both are absent (`InitializeTLS`), and read again when
//! what was read before changes (apiserver's `dynamic_serving_content.go` over fsnotify, which the kubelet uses since 1.31).

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;

use super::super::{Never, say};

/// The real one begins to watch anew a minute after that has failed; a test does not want to wait so long.
const WATCH_AGAIN: Duration = Duration::from_secs(2);
/// The work queue's first and longest wait after a failed reading.
const READ_AGAIN: Duration = Duration::from_millis(5);
const READ_AGAIN_MOST: Duration = Duration::from_secs(1_000);

/// The pair that is served with.
#[derive(Debug)]
pub(super) struct Pair {
    certificate: PathBuf,
    key: PathBuf,
    used: Mutex<Arc<CertifiedKey>>,
}

impl Pair {
    /// The pair of this directory. As with the real one, one file without the other is an error, and so are two that do not
    /// belong together.
    pub(super) fn begin(directory: &Path, node: &str) -> Result<Self> {
        let (certificate, key) = (directory.join("kubelet.crt"), directory.join("kubelet.key"));
        let can_read = |path: &Path| std::fs::File::open(path).is_ok();
        match (can_read(&certificate), can_read(&key)) {
            (true, true) => {}
            (false, false) => make(&certificate, &key, node)?,
            (has_certificate, _) => bail!(
                "error reading {}, certificate and key must be supplied as a pair",
                if has_certificate { &key } else { &certificate }.display()
            ),
        }
        let used = read(&certificate, &key).context("unable to load the serving pair")?;
        say(&described(&used));
        Ok(Self { certificate, key, used: Mutex::new(used) })
    }

    /// Reads again whenever what was read changes.
    pub(super) async fn keep_looking(&self) -> Result<Never> {
        loop {
            let (changed, mut changes) = watch::channel(0_u64);
            let paths = [self.certificate.clone(), self.key.clone()];
            std::thread::Builder::new().name("inotify".to_owned()).spawn(move || {
                if let Err(error) = keep_watching(&paths, &changed) {
                    say(&format!("failed to watch cert and key file, will retry later: {error:#}"));
                }
            })?;
            // Read whether or not it can be watched, and after each sign of a change.
            loop {
                self.read_until_good().await;
                if changes.changed().await.is_err() {
                    break;
                }
            }
            tokio::time::sleep(WATCH_AGAIN).await;
        }
    }

    /// A pair that does not belong together is held back, and looked at again soon.
    async fn read_until_good(&self) {
        let mut pause = READ_AGAIN;
        for _ in 0..12 {
            match read(&self.certificate, &self.key) {
                Ok(pair) => return self.take(pair),
                Err(error) => say(&format!("the serving pair is held back: {error:#}")),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(READ_AGAIN_MOST);
        }
    }

    fn take(&self, pair: Arc<CertifiedKey>) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.cert != pair.cert {
            say(&described(&pair));
            *used = pair;
        }
    }
}

impl ResolvesServerCert for Pair {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.used.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Ticks when the watch begins and at every sign of a change, until a file is gone.
fn keep_watching(paths: &[PathBuf; 2], changed: &watch::Sender<u64>) -> Result<()> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC)?;
    // By inode: two names of one file are one watch, and it has the name that was given last.
    let mut watched: BTreeMap<WatchDescriptor, &Path> = BTreeMap::new();
    for path in paths {
        watched.insert(add(&inotify, path)?, path);
    }
    changed.send_modify(|tick| *tick += 1);
    loop {
        for InotifyEvent { wd, mask, .. } in inotify.read_events()? {
            if mask.intersects(AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF)
                && let Some(path) = watched.remove(&wd)
            {
                if mask.contains(AddWatchFlags::IN_MOVE_SELF) {
                    let _ = inotify.rm_watch(wd);
                }
                watched.insert(add(&inotify, path)?, path);
            }
        }
        changed.send_modify(|tick| *tick += 1);
    }
}

/// With fsnotify's mask. inotify follows links: what is watched is the file that they lead to now.
fn add(inotify: &Inotify, path: &Path) -> Result<WatchDescriptor> {
    let mask = AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_ATTRIB
        | AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_DELETE_SELF;
    inotify.add_watch(path, mask).with_context(|| format!("error adding watch for file {}", path.display()))
}

/// Makes a self-signed pair, in the real one's order and with its plain writes.
fn make(certificate: &Path, key: &Path, node: &str) -> Result<()> {
    let own = rcgen::generate_simple_self_signed([node.to_owned()])?;
    std::fs::write(certificate, own.cert.pem())?;
    let mut file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(key)?;
    file.write_all(own.signing_key.serialize_pem().as_bytes())?;
    Ok(())
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>> {
    let (certificate, key) = (std::fs::read(certificate)?, std::fs::read(key)?);
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(&certificate).collect::<Result<_, _>>().context("no PEM")?;
    if chain.is_empty() {
        bail!("tls: failed to find any PEM data in certificate input");
    }
    let key = PrivateKeyDer::from_pem_slice(&key).context("tls: failed to find any PEM data in key input")?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key)?;
    let pair = CertifiedKey::new(chain, key);
    pair.keys_match().context("tls: private key does not match public key")?;
    Ok(Arc::new(pair))
}

/// The line by which a test sees which certificate is served with.
fn described(pair: &CertifiedKey) -> String {
    let parsed = pair.cert.first().and_then(|der| x509_parser::parse_x509_certificate(der).ok());
    match parsed {
        Some((_, certificate)) => format!(
            "serving certificate serial={} subject={:?}",
            certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
            certificate.subject().to_string(),
        ),
        None => "serving certificate cannot be read".to_owned(),
    }
}

/// A pair that is in no file.
pub(super) fn in_memory(node: &str) -> Result<Arc<CertifiedKey>> {
    let own = rcgen::generate_simple_self_signed([node.to_owned()])?;
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der())
        .map_err(|why| anyhow::anyhow!("the own key: {why}"))?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key)?;
    Ok(Arc::new(CertifiedKey::new(vec![own.cert.der().clone()], key)))
}
