//! A node whose kubelet has a serving certificate, or is about to: the agent, the kubelet stand-in, and what a client of port 10250
//! sees.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use eyewall_core::status::{ServingStatus, Status};
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::apiserver::{ApiServer, CsrView};
use crate::node::Node;

const HOUR: Duration = Duration::from_secs(3_600);
const LOOK: Duration = Duration::from_millis(20);

/// A node with the settings for it and a client certificate in force, so that only the serving certificate is at stake.
///
/// # Errors
/// The files cannot be written.
pub fn node(api: &ApiServer) -> Result<Node> {
    let node = Node::new("node-a")?;
    node.drop_in("10-serving.toml", "[certificates]\nserving = true\n")?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    let now = now();
    let dated = node.pki().join("kubelet-client-2026-01-01-00-00-00.pem");
    std::fs::write(&dated, api.issue_node_certificate("node-a", now - HOUR, now + 71 * HOUR)?)?;
    std::os::unix::fs::symlink(&dated, node.current())?;
    Ok(node)
}

#[expect(clippy::disallowed_methods, reason = "certificates made for a test end after today")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// The Node object with these addresses, kind and address, as its kubelet would have written it.
///
/// # Errors
/// There is none: a Node is a kind that is kept.
pub fn give_addresses(api: &ApiServer, addresses: &[(&str, &str)]) -> Result<()> {
    let addresses: Vec<_> = addresses.iter().map(|(kind, address)| json!({"type": kind, "address": address})).collect();
    let node = json!({"kind": "Node", "metadata": {"name": "node-a"}, "status": {"addresses": addresses}});
    api.apply(node).map(|_| ())
}

/// The requests for serving certificates.
pub fn requests(api: &ApiServer) -> Vec<CsrView> {
    api.csrs().into_iter().filter(|csr| csr.signer == "kubernetes.io/kubelet-serving").collect()
}

/// The serving part of a status.
pub fn part(status: &Status) -> Option<&ServingStatus> {
    status.certificates.serving.as_ref()
}

/// Waits until the serving certificate's state and reason are these.
///
/// # Errors
/// They are not within `deadline`.
pub async fn wait_for(node: &Node, deadline: Duration, state: &str, kind: &str) -> Result<ServingStatus> {
    let is = |part: &ServingStatus| part.state.as_str() == state && part.reason.kind == kind;
    let status = node
        .wait(deadline, |status| part(status).is_some_and(is))
        .await
        .with_context(|| format!("waiting for serving {state} / {kind}"))?;
    status.certificates.serving.context("waited for")
}

/// The kubelet stand-in of a node.
#[derive(Debug)]
pub struct Kubelet {
    child: Child,
    /// Where it serves.
    pub address: String,
    log: PathBuf,
}

impl Kubelet {
    /// Starts `program`, the stand-in, as `eyewall kubelet` would; waits until it serves. The agent must have written its kubeconfig.
    ///
    /// # Errors
    /// It ends, or does not serve in time.
    pub async fn start(program: &str, node: &Node) -> Result<Self> {
        let (kubeconfig, log) = (node.path("kubelet.kubeconfig"), node.path("kubelet.log"));
        let end = Instant::now() + Duration::from_secs(10);
        while !kubeconfig.exists() {
            ensure!(Instant::now() < end, "the agent wrote no kubeconfig:\n{}", node.log());
            sleep(LOOK).await;
        }
        let out = std::fs::File::create(&log)?;
        let mut child = Command::new(program)
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--cert-dir={}", node.pki().display()))
            .args(["--hostname-override=node-a", "--node-ip=127.0.0.1", "--rotate-certificates=false"])
            .env("KUBELET_STANDIN_LISTEN", "127.0.0.1:0")
            .env("KUBELET_STANDIN_WEDGE", node.path("wedge"))
            .env("KUBELET_STANDIN_ADDRESSES", node.path("addresses"))
            .stdin(Stdio::null())
            .stderr(out)
            .kill_on_drop(true)
            .spawn()?;
        loop {
            let text = std::fs::read_to_string(&log)?;
            if let Some(address) = text.lines().find_map(|line| line.strip_prefix("kubelet-standin: serving on ")) {
                return Ok(Self { child, address: address.to_owned(), log });
            }
            if let Some(ended) = child.try_wait()? {
                bail!("the kubelet ended ({ended}):\n{text}");
            }
            ensure!(Instant::now() < end, "the kubelet does not serve:\n{text}");
            sleep(LOOK).await;
        }
    }

    /// The process is still the one that was started.
    ///
    /// # Errors
    /// It ended.
    pub fn is_the_same(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(ended) => bail!("the kubelet ended ({ended}):\n{}", self.log()),
        }
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The serial of the certificate that a client gets, by openssl.
    ///
    /// # Errors
    /// No handshake.
    pub async fn serves(&self) -> Result<String> {
        let script =
            format!("openssl s_client -connect {} </dev/null 2>/dev/null | openssl x509 -noout -serial", self.address);
        let output = Command::new("sh").args(["-c", &script]).output().await?;
        let text = String::from_utf8(output.stdout)?;
        let serial = text.trim().strip_prefix("serial=").context("no certificate came")?;
        Ok(serial.to_lowercase())
    }

    /// Waits until a client gets the certificate of this serial.
    ///
    /// # Errors
    /// It does not within `deadline`.
    pub async fn wait_until_it_serves(&self, serial: &str, deadline: Duration) -> Result<()> {
        let end = Instant::now() + deadline;
        loop {
            let now = self.serves().await.unwrap_or_default();
            if now == serial {
                return Ok(());
            }
            ensure!(Instant::now() < end, "it serves {now}, not {serial}:\n{}", self.log());
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Has openssl verify what is served: by this CA, for this name and this address. Its words if it does not.
    ///
    /// # Errors
    /// openssl's verdict.
    pub async fn verify(&self, ca: &Path, name: &str, ip: &str) -> Result<()> {
        let ca = ca.display().to_string();
        let args = ["s_client", "-brief", "-connect", &self.address, "-CAfile", &ca, "-verify_return_error"];
        let names = ["-verify_hostname", name, "-verify_ip", ip, "-purpose", "sslserver"];
        let output = Command::new("openssl").args(args).args(names).stdin(Stdio::null()).output().await?;
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success() && words.contains("Verification: OK"), "{words}");
        Ok(())
    }
}

/// Does a kubelet that reads its pair now find a certificate and its own key? By openssl.
///
/// # Errors
/// What it would find instead.
pub async fn pair_loads(node: &Node) -> Result<()> {
    let path = |name: &str| node.pki().join(name).display().to_string();
    let of = |args: Vec<String>| async move {
        let output = Command::new("openssl").args(&args).output().await?;
        ensure!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    };
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let certificate = of(words(&format!("x509 -in {} -noout -pubkey", path("kubelet.crt")))).await?;
    let key = of(words(&format!("pkey -in {} -pubout", path("kubelet.key")))).await?;
    ensure!(certificate == key, "the key is not the certificate's");
    Ok(())
}
