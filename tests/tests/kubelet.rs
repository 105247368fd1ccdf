//! The kubelet stand-in as a program, beside the API server stand-in.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::apiserver::{ApiServer, CaForm, Credential, Fault, FaultAction, Kubeconfig, Options, View};
use tests::client::Client;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3600);

/// The stand-in in a directory of its own, with kubeconfig, CA and PEM as files.
struct Kubelet {
    directory: tempfile::TempDir,
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    port: u16,
}

impl Kubelet {
    /// Starts it with this PEM; without one there is no file.
    async fn start(api: &ApiServer, pem: Option<&str>, flags: &[&str]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("ca.crt"), api.ca_pem())?;
        if let Some(pem) = pem {
            std::fs::write(path("current.pem"), pem)?;
        }
        let file = path("current.pem").display().to_string();
        let kubeconfig = Kubeconfig {
            ca: CaForm::File("ca.crt".to_owned()),
            credential: Credential::CertificateFiles(file.clone(), file),
            context: Some("default-context".to_owned()),
            ..api.kubeconfig()
        };
        std::fs::write(path("kubeconfig"), kubeconfig.to_yaml())?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_kubelet-standin"))
            .arg(format!("--kubeconfig={}", path("kubeconfig").display()))
            .arg("--hostname-override=node-a")
            .args(flags)
            .env("KUBELET_STANDIN_LISTEN", "127.0.0.1:0")
            .env("KUBELET_STANDIN_WEDGE", path("wedge"))
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let log = BufReader::new(child.stderr.take().context("stderr")?).lines();
        Ok(Self { directory, child, log, port: 0 })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces a file as the agent does.
    fn replace(&self, name: &str, text: &str) -> Result<()> {
        std::fs::write(self.path("new"), text)?;
        Ok(std::fs::rename(self.path("new"), self.path(name))?)
    }

    /// Reads the log up to a line with this text.
    async fn says(&mut self, text: &str) -> Result<String> {
        let mut seen = Vec::new();
        let wait = async {
            while let Some(line) = self.log.next_line().await? {
                if let Some(address) = line.strip_prefix("kubelet-standin: serving on ") {
                    self.port = address.rsplit(':').next().unwrap_or_default().parse()?;
                }
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

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id().context("it runs")?)?;
        Ok(kill(Pid::from_raw(pid), signal)?)
    }

    async fn ends(&mut self) -> Result<ExitStatus> {
        Ok(timeout(SOON, self.child.wait()).await.context("it did not end")??)
    }

    /// Asks port 10250's stand-in without credentials.
    async fn healthz(&self) -> Result<String> {
        let mut probe = Client::trusting_anyone(&format!("https://127.0.0.1:{}", self.port))?;
        let ask = timeout(Duration::from_secs(2), probe.get("/healthz")).await;
        match ask {
            Err(_) => Ok("nothing".to_owned()),
            Ok(reply) => reply.map(|reply| format!("{} {}", reply.status.as_u16(), reply.text())),
        }
    }
}

fn pem(api: &ApiServer, life: Duration) -> Result<String> {
    api.issue_node_certificate("node-a", api.now() - Duration::from_secs(60), api.now() + life)
}

fn ready(seen: &View<'_>) -> bool {
    seen.object("nodes", "", "node-a").is_some_and(|node| node["status"]["conditions"][0]["status"] == "True")
}

fn renewals(seen: &View<'_>) -> usize {
    let path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-a";
    seen.requests().iter().filter(|r| r.method == "PUT" && r.path == path && r.status == 200).count()
}

fn leased(seen: &View<'_>) -> Option<Value> {
    seen.object("leases", "kube-node-lease", "node-a")
}

#[tokio::test]
async fn it_joins_beats_and_takes_a_new_certificate_without_a_restart() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let flags = ["--node-labels=node.kubernetes.io/node", "--register-with-taints=k=:NoSchedule", "--v=4"];
    let mut kubelet = Kubelet::start(&api, Some(&pem(&api, HOUR)?), &flags).await?;
    kubelet.says("started pid=").await?;
    let first = kubelet.says("certificate serial=").await?;
    kubelet.says("watch opened").await?;
    api.wait_until(SOON, ready).await?;
    let node = api.look(|seen| seen.object("nodes", "", "node-a")).context("its Node")?;
    assert_eq!(node["metadata"]["labels"]["node.kubernetes.io/node"], "");
    assert_eq!(node["spec"]["taints"][0]["key"], "k");
    api.wait_until(SOON, |seen| renewals(seen) >= 1).await?;
    assert_eq!(api.look(leased).context("its Lease")?["spec"]["holderIdentity"], "node-a");

    let before = api.look(|seen| seen.connections_opened());
    kubelet.replace("current.pem", &pem(&api, HOUR)?)?;
    let second = kubelet.says("certificate serial=").await?;
    assert_ne!(first, second);
    kubelet.says("certificate rotation detected").await?;
    kubelet.says("watch cut: by this side").await?;
    kubelet.says("watch opened").await?;
    assert!(api.look(|seen| seen.connections_opened()) > before, "new connections");

    kubelet.replace("current.pem", "")?;
    let beats = api.look(renewals);
    api.wait_until(SOON, |seen| renewals(seen) > beats + 1).await.context("an empty file changes nothing")?;

    kubelet.signal(Signal::SIGTERM)?;
    let before = tokio::time::Instant::now();
    assert_eq!(kubelet.ends().await?.code(), Some(0));
    assert!(before.elapsed() < Duration::from_secs(1), "at once, not after {:?}", before.elapsed());
    Ok(())
}

#[tokio::test]
async fn it_starts_with_an_empty_file_and_not_without_one() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let mut without = Kubelet::start(&api, None, &[]).await?;
    without.says("unable to read client-cert for kubelet").await?;
    assert_eq!(without.ends().await?.code(), Some(1));

    let mut unknown = Kubelet::start(&api, Some(""), &["--no-such-flag=1"]).await?;
    unknown.says("unexpected argument '--no-such-flag'").await?;
    assert_eq!(unknown.ends().await?.code(), Some(1));

    let mut unconfigured = Kubelet::start(&api, Some(""), &["--config=/nonexistent/kubelet.yaml"]).await?;
    unconfigured.says("failed to load kubelet config file").await?;
    assert_eq!(unconfigured.ends().await?.code(), Some(1));

    let mut empty = Kubelet::start(&api, Some(""), &[]).await?;
    empty.says("failed to find any PEM data").await?;
    empty.replace("current.pem", &pem(&api, HOUR)?)?;
    let placed = tokio::time::Instant::now();
    api.wait_until(SOON, ready).await?;
    assert!(placed.elapsed() < Duration::from_secs(5), "a real one needs 2 s, this one {:?}", placed.elapsed());
    Ok(())
}

#[tokio::test]
async fn it_outlives_its_certificate_and_a_server_that_goes_away() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let mut kubelet = Kubelet::start(&api, Some(&pem(&api, Duration::from_secs(3))?), &[]).await?;
    kubelet.says("watch opened").await?;
    kubelet.says("401 Unauthorized").await?;
    kubelet.replace("current.pem", &pem(&api, HOUR)?)?;
    kubelet.says("works again").await?;
    kubelet.says("watch opened").await?;

    api.stop();
    kubelet.says("watch cut: the watch broke off").await?;
    api.start_again()?;
    kubelet.says("watch opened").await?;
    api.inject(Fault::new(FaultAction::CloseMidWatch { after_lines: 0 }).path("/api/v1/nodes?"));
    kubelet.replace("current.pem", &pem(&api, HOUR)?)?;
    kubelet.says("watch cut: the watch broke off").await?;
    kubelet.says("watch opened").await?;
    Ok(())
}

#[tokio::test]
async fn its_port_answers_401_unless_it_is_wedged() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let mut kubelet = Kubelet::start(&api, Some(&pem(&api, HOUR)?), &[]).await?;
    kubelet.says("serving on").await?;
    assert_eq!(kubelet.healthz().await?, "401 Unauthorized");

    std::fs::write(kubelet.path("wedge"), "")?;
    assert_eq!(kubelet.healthz().await?, "nothing", "in two seconds");
    let mut tcp = TcpStream::connect(("127.0.0.1", kubelet.port)).await.context("connections are taken")?;
    tcp.write_all(b"\x16\x03\x01").await?;
    let silent = timeout(Duration::from_millis(300), tcp.read_u8()).await;
    assert!(silent.is_err(), "not even a handshake: {silent:?}");
    std::fs::remove_file(kubelet.path("wedge"))?;
    assert_eq!(kubelet.healthz().await?, "401 Unauthorized", "it comes back");
    kubelet.signal(Signal::SIGINT)?;
    assert_eq!(kubelet.ends().await?.code(), Some(0));
    Ok(())
}
