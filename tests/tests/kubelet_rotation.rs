//! The kubelet stand-in as Typhoon's own unit runs it: it bootstraps itself and renews its certificate itself.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tests::apiserver::{ApiServer, CsrState, Options, Signing};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(30);
const CURRENT: &str = "pki/kubelet-client-current.pem";

/// The stand-in with a bootstrap kubeconfig and a configuration that says `rotateCertificates: true`.
struct Kubelet {
    directory: tempfile::TempDir,
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

fn directory(api: &ApiServer) -> Result<tempfile::TempDir> {
    let directory = tempfile::tempdir()?;
    std::fs::write(directory.path().join("bootstrap"), api.bootstrap_kubeconfig())?;
    std::fs::write(directory.path().join("kubelet.yaml"), "kind: KubeletConfiguration\nrotateCertificates: true\n")?;
    Ok(directory)
}

impl Kubelet {
    fn start(directory: tempfile::TempDir, flags: &[&str]) -> Result<Self> {
        let path = |name: &str| directory.path().join(name).display().to_string();
        let mut child = Command::new(env!("CARGO_BIN_EXE_kubelet-standin"))
            .arg(format!("--bootstrap-kubeconfig={}", path("bootstrap")))
            .arg(format!("--config={}", path("kubelet.yaml")))
            .arg(format!("--kubeconfig={}", path("kubeconfig")))
            .arg(format!("--cert-dir={}", path("pki")))
            .arg("--hostname-override=node-a")
            .args(flags)
            .env("KUBELET_STANDIN_LISTEN", "127.0.0.1:0")
            .env("KUBELET_STANDIN_WEDGE", path("wedge"))
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let log = BufReader::new(child.stderr.take().context("stderr")?).lines();
        Ok(Self { directory, child, log })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn says(&mut self, text: &str) -> Result<String> {
        let mut seen = Vec::new();
        let wait = async {
            while let Some(line) = self.log.next_line().await? {
                if line.contains(text) {
                    return Ok(line);
                }
                seen.push(line);
            }
            bail!("its log ended")
        };
        let result: Result<Result<String>, _> = timeout(SOON, wait).await;
        result.context("in time").and_then(|line| line).with_context(|| format!("{text:?} after {seen:#?}"))
    }

    async fn ends(&mut self) -> Result<Option<i32>> {
        Ok(timeout(SOON, self.child.wait()).await.context("it did not end")??.code())
    }

    /// Kills it and leaves its files.
    async fn kill(mut self) -> Result<tempfile::TempDir> {
        self.child.kill().await?;
        Ok(self.directory)
    }
}

fn short_lived(seconds: u64) -> Options {
    let duration = Duration::from_secs(seconds);
    Options { signing: Signing { duration, backdate: Duration::ZERO, ..Signing::default() }, ..Options::default() }
}

#[tokio::test]
async fn it_bootstraps_and_renews_itself() -> Result<()> {
    let api = ApiServer::start(short_lived(12)).await?;
    let mut kubelet = Kubelet::start(directory(&api)?, &[])?;
    kubelet.says("using the bootstrap kubeconfig").await?;
    kubelet.says("request csr-").await?;
    kubelet.says("watch opened").await?;
    let first = std::fs::read_link(kubelet.path(CURRENT))?;
    assert_eq!(first.parent(), Some(kubelet.path("pki").as_path()), "an absolute link into its own directory");
    let pem = std::fs::read_to_string(&first)?;
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----") && pem.contains("-----BEGIN EC PRIVATE KEY-----"));
    let kubeconfig = std::fs::read_to_string(kubelet.path("kubeconfig"))?;
    assert!(kubeconfig.contains("certificate-authority-data: ") && kubeconfig.contains("name: default-auth"));
    assert!(kubeconfig.contains(&kubelet.path(CURRENT).display().to_string()), "{kubeconfig}");

    kubelet.says("rotating certificates").await?;
    kubelet.says("certificate rotation detected").await?;
    kubelet.says("watch opened").await?;
    assert_ne!(std::fs::read_link(kubelet.path(CURRENT))?, first, "the next one");
    assert!(first.exists(), "old keys are left");
    let csrs = api.csrs();
    let names: BTreeSet<_> = csrs.iter().map(|csr| csr.name.clone()).collect();
    assert!(names.len() >= 2 && names.iter().all(|name| name.starts_with("csr-")), "{names:?}");
    assert!(csrs.iter().all(|csr| csr.node == "node-a" && csr.state == CsrState::Issued), "{csrs:#?}");
    let refused = api.requests().into_iter().filter(|request| request.status == 401).count();
    assert_eq!(refused, 0, "it renews before the end of its certificate");
    Ok(())
}

#[tokio::test]
async fn a_good_kubeconfig_is_used_and_a_changed_file_is_not_seen() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let mut kubelet = Kubelet::start(directory(&api)?, &[])?;
    let first = kubelet.says(": certificate serial=").await?;
    let directory = kubelet.kill().await?;
    let mut kubelet = Kubelet::start(directory, &[])?;
    kubelet.says("the kubeconfig is still good").await?;
    assert_eq!(kubelet.says(": certificate serial=").await?, first, "the same certificate");
    kubelet.says("watch opened").await?;
    assert_eq!(api.csrs().len(), 1, "and no request");
    let hour = Duration::from_secs(3_600);
    std::fs::write(kubelet.path("other.pem"), api.issue_node_certificate("node-a", api.now(), api.now() + hour)?)?;
    std::fs::remove_file(kubelet.path(CURRENT))?;
    std::os::unix::fs::symlink(kubelet.path("other.pem"), kubelet.path(CURRENT))?;
    let seen = timeout(Duration::from_secs(8), kubelet.says(": certificate serial=")).await;
    assert!(seen.is_err(), "its memory counts, not the file: {seen:?}");
    Ok(())
}

#[tokio::test]
async fn without_rotation_it_is_the_file_that_counts() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let mut kubelet = Kubelet::start(directory(&api)?, &["--rotate-certificates=false"])?;
    kubelet.says("unable to load kubeconfig").await?;
    assert_eq!(kubelet.ends().await?, Some(1), "the flag wins over the configuration");
    assert_eq!(api.csrs().len(), 0);
    Ok(())
}

#[tokio::test]
async fn an_empty_file_ends_its_start_and_an_expired_one_bootstraps() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let empty = directory(&api)?;
    std::fs::create_dir(empty.path().join("pki"))?;
    std::fs::write(empty.path().join(CURRENT), "")?;
    let mut kubelet = Kubelet::start(empty, &[])?;
    kubelet.says("failed to find any PEM data in certificate input").await?;
    assert_eq!(kubelet.ends().await?, Some(1), "kubernetes#131111 and its family");

    let expired = directory(&api)?;
    let pki = expired.path().join("pki");
    std::fs::create_dir(&pki)?;
    let hour = Duration::from_secs(3_600);
    let dated = pki.join("kubelet-client-2026-01-01-00-00-00.pem");
    std::fs::write(&dated, api.issue_node_certificate("node-a", api.now() - 80 * hour, api.now() - hour)?)?;
    std::os::unix::fs::symlink(&dated, expired.path().join(CURRENT))?;
    let mut kubelet = Kubelet::start(expired, &[])?;
    kubelet.says("using the bootstrap kubeconfig").await?;
    kubelet.says("watch opened").await?;
    assert_eq!(api.csrs().len(), 1);
    Ok(())
}

#[tokio::test]
async fn it_ends_when_its_certificate_has_expired_and_the_server_says_no() -> Result<()> {
    let api = ApiServer::start(short_lived(8)).await?;
    let mut kubelet = Kubelet::start(directory(&api)?, &[])?;
    kubelet.says("watch opened").await?;
    api.set_approval(tests::apiserver::ApprovalMode::Manual);
    kubelet.says("the client certificate has expired and the server is responsive, exiting").await?;
    assert_eq!(kubelet.ends().await?, Some(1));
    Ok(())
}
