//! A node, a cluster for it, and everything between them, ready for a scenario.

use std::time::Duration;

use anyhow::Result;
use tests::apiserver::{ApiServer, Options, Signing};
use tokio::sync::{Mutex, MutexGuard};

use crate::binaries::{self, Binaries};
use crate::{KubeletImage, Lab, MadeBy, NodeSpec, Runtime, WorkDirectory};

/// The host, as QEMU's user network shows it to the guest.
const HOST: &str = "10.0.2.2";

/// One machine at a time: two on the two cores of a small CI machine would only wait for each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// What a scenario plays in.
#[derive(Debug)]
pub struct Scene {
    /// What every VM of the run shares.
    pub lab: Lab,
    /// The cluster.
    pub api: ApiServer,
    /// The programs under test.
    pub binaries: Binaries,
    /// The kubelet's image, with the stand-in in it.
    pub image: KubeletImage,
    _work: WorkDirectory,
    _turn: MutexGuard<'static, ()>,
}

impl Scene {
    /// Waits for its turn, builds what is needed and starts a cluster whose signer is this one.
    ///
    /// # Errors
    /// When something cannot be built or started.
    pub async fn open(signing: Signing) -> Result<Self> {
        let turn = ONE_AT_A_TIME.lock().await;
        let lab = Lab::open().await?;
        let binaries = binaries::build(&lab.progress).await?;
        let work = lab.cache.work_directory()?;
        let image = KubeletImage::build(&lab.root, &binaries.kubelet, work.path()).await?;
        let api = ApiServer::start(cluster(signing)).await?;
        Ok(Self { lab, api, binaries, image, _work: work, _turn: turn })
    }

    /// A worker of the cluster, called node-a.
    #[must_use]
    pub fn worker(&self, runtime: Runtime) -> NodeSpec {
        NodeSpec {
            name: "node-a".to_owned(),
            runtime,
            made_by: MadeBy::Eyewall,
            eyewall: self.binaries.eyewall.clone(),
            image: self.image.clone(),
            bootstrap_kubeconfig: self.api.bootstrap_kubeconfig(),
            config: String::new(),
            containerd: false,
            memory: 1024,
            programs: Vec::new(),
        }
    }
}

/// A Typhoon cluster that a guest can reach.
#[must_use]
pub fn cluster(signing: Signing) -> Options {
    Options { advertise: Some(HOST.to_owned()), anonymous: false, signing, ..Options::default() }
}

/// How far short-lived certificates are set back: QEMU gives the guest whole seconds, so its clock lags by up to one.
const BACKDATE: Duration = Duration::from_secs(3);

/// A signer whose certificates live so long from now on, so that a renewal comes while one looks.
#[must_use]
pub fn short_lived(duration: Duration) -> Signing {
    Signing { duration, backdate: BACKDATE, ..Signing::default() }
}
