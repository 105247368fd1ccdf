//! `owner = "kubelet"`: the agent beside a kubelet that bootstraps and renews itself, as Typhoon's own unit runs it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use eyewall_core::status::{CertificateState, Health};
use tests::apiserver::{ApiServer, ApprovalMode, Authority, Kubeconfig, Options, Signing};
use tests::node::Node;
use tokio::process::{Child, Command};

const SOON: Duration = Duration::from_secs(20);
/// Long enough for the agent to see each renewal, short enough to see two.
const LIFE: Duration = Duration::from_secs(14);
const HOUR: Duration = Duration::from_secs(3_600);

/// Every call that changes a file, its name or what is known of it.
const CHANGES: &str = "trace=open,openat,?openat2,creat,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,mknod,\
     mknodat,link,linkat,symlink,symlinkat,chmod,fchmod,fchmodat,?fchmodat2,chown,fchown,fchownat,lchown,truncate,ftruncate,\
     utime,utimes,utimensat,futimesat,setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr,fallocate,\
     copy_file_range,mount,umount2,bind";

/// A node whose daemon only looks, traced.
fn watched(trace: bool) -> Result<Node> {
    let mut node = Node::new("node-a")?;
    std::fs::create_dir_all(node.path("etc/eyewall.toml.d"))?;
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../units/observe.toml");
    node.drop_in("10-observe.toml", &std::fs::read_to_string(shipped)?)?;
    if trace {
        let log = node.path("trace").display().to_string();
        node.wrapper(&["strace", "-D", "-f", "-qq", "-y", "-e", "signal=none", "-e", CHANGES, "-o", &log]);
    }
    Ok(node)
}

/// The kubelet of that node, by Typhoon's flags.
fn kubelet(node: &Node) -> Result<Child> {
    let yaml = node.path("kubernetes/kubelet.yaml");
    std::fs::write(&yaml, "kind: KubeletConfiguration\nrotateCertificates: true\n")?;
    Ok(Command::new(env!("CARGO_BIN_EXE_kubelet-standin"))
        .arg(format!("--bootstrap-kubeconfig={}", node.bootstrap().display()))
        .arg(format!("--config={}", yaml.display()))
        .arg(format!("--kubeconfig={}", node.path("kubelet.kubeconfig").display()))
        .arg(format!("--cert-dir={}", node.pki().display()))
        .arg("--hostname-override=node-a")
        .env("KUBELET_STANDIN_LISTEN", "127.0.0.1:0")
        .env("KUBELET_STANDIN_WEDGE", node.path("wedge"))
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?)
}

/// What the traced process changed, apart from its own socket's directory, as strace wrote it.
fn changes(node: &Node) -> Result<Vec<String>> {
    let trace = std::fs::read_to_string(node.path("trace"))?;
    ensure!(trace.lines().any(|line| line.contains("openat(")), "nothing was traced: {trace}");
    let own = node.path("run").display().to_string();
    Ok(trace.lines().filter(|line| is_change(line, &own)).map(str::to_owned).collect())
}

fn is_change(line: &str, own: &str) -> bool {
    // "1234 openat(AT_FDCWD, \"/x\", O_RDONLY|O_CLOEXEC) = 3"
    let Some((head, arguments)) = line.split_once('(') else { return false };
    let call = head.split_whitespace().last().unwrap_or_default();
    if call.starts_with("open")
        && !["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"].iter().any(|f| line.contains(f))
    {
        return false;
    }
    // SELinux' notices are heard on a socket that has a number, not a name.
    if call == "bind" && line.contains("AF_NETLINK") {
        return false;
    }
    // Its socket, and what is no file of the disk.
    let path = arguments.split('"').nth(1).unwrap_or_default();
    let is_own = path.starts_with(own) || path == "/dev/null" || path.starts_with("/proc/self/");
    // A call that is cut in two by another thread's has its arguments in the first half.
    !is_own && !line.contains("resumed>")
}

/// All that is below the node's directory, but its socket, log and trace: name, size, times, mode and inode.
fn everything(node: &Node) -> Result<BTreeSet<String>> {
    use std::os::unix::fs::MetadataExt as _;
    let mut found = BTreeSet::new();
    let mut left: Vec<PathBuf> =
        ["etc", "pki", "kubernetes", "kubelet.kubeconfig"].iter().map(|p| node.path(p)).collect();
    while let Some(path) = left.pop() {
        let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            left.extend(
                std::fs::read_dir(&path)?
                    .map(|entry| entry.map(|entry| entry.path()))
                    .collect::<Result<Vec<_>, _>>()?,
            );
        }
        found.insert(format!(
            "{} {} {}.{} {}.{} {:o} {}",
            path.display(),
            meta.size(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec(),
            meta.mode(),
            meta.ino()
        ));
    }
    Ok(found)
}

fn short_lived() -> Options {
    Options {
        signing: Signing { duration: LIFE, backdate: Duration::ZERO, ..Signing::default() },
        ..Options::default()
    }
}

#[expect(clippy::disallowed_methods, reason = "certificates made for a test end after today")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Puts a certificate in force as the kubelet does.
fn in_force(node: &Node, pem: &str) -> Result<()> {
    let dated = node.pki().join("kubelet-client-2026-01-01-00-00-00.pem");
    std::fs::write(&dated, pem)?;
    let _ = std::fs::remove_file(node.current());
    Ok(std::os::unix::fs::symlink(&dated, node.current())?)
}

#[tokio::test]
async fn a_kubelet_that_renews_itself_is_watched_and_nothing_is_written() -> Result<()> {
    let api = ApiServer::start(short_lived()).await?;
    let mut node = watched(true)?;
    node.start()?;
    let status = node.wait_for(SOON, "absent", "bootstrap-kubeconfig-missing").await?;
    assert_eq!(status.certificates.owner, "kubelet");
    assert_eq!(status.certificates.take_over[0], "/opt/bin/eyewall kubelet take-over --write");
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    node.wait_for(SOON, "absent", "certificate-absent").await?;

    let mut kubelet = kubelet(&node)?;
    let first = node.wait(SOON, |status| status.certificates.state == CertificateState::Valid).await?;
    let part = &first.certificates;
    let current = part.current.clone().context("a certificate")?;
    assert_eq!(part.health, Health::Good);
    assert!(part.may_be_off_until.is_some_and(|until| until <= current.not_after), "{part:#?}");
    assert!(part.ca.is_some() && part.next_at == Some(current.renew_at), "{part:#?}");
    // Times are told in whole seconds.
    let young = current.renew_at.0.duration_since(current.not_before.0)?;
    let seventy = LIFE.mul_f64(0.7);
    assert!(
        (seventy - Duration::from_secs(1)..=seventy).contains(&young),
        "its own schedule begins at 70 %: {young:?}"
    );
    let good = |status: &eyewall_core::status::Status| {
        status.certificates.recovery.as_ref().is_some_and(|recovery| recovery.health == Health::Good)
    };
    node.wait(SOON, good).await.context("the bootstrap credential is tested here too")?;

    // Its own renewals are seen as they come, and told.
    for _ in 0..2 {
        let before = node.status().await?.certificates.current;
        let after =
            node.wait(SOON, |status| status.certificates.current.is_some() && status.certificates.current != before);
        after.await.context("the kubelet's own renewal")?;
    }
    let told: Vec<_> =
        node.events().await?.into_iter().filter(|e| e.event == "certificate-renewed-by-kubelet").collect();
    assert!(told.len() >= 2 && told[0].fields["serial"] != told[1].fields["serial"], "{told:#?}");
    assert!(api.csrs().iter().all(|csr| csr.name.starts_with("csr-")), "no request of the agent's: {:#?}", api.csrs());
    let refused = node.command(&["certificates", "renew"])?.output().await?;
    assert!(!refused.status.success(), "who only looks renews nothing");

    kubelet.kill().await?;
    let before = everything(&node)?;
    node.stop().await?;
    assert_eq!(before, everything(&node)?);
    let changes = changes(&node)?;
    assert!(changes.is_empty(), "it wrote: {changes:#?}");
    Ok(())
}

/// Each state that a kubelet of its own can be in; at none of them anything is changed.
#[tokio::test]
async fn every_state_is_told_and_nothing_is_written() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let mut node = watched(true)?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    let issue = |from: SystemTime, to: SystemTime| api.issue_node_certificate("node-a", from, to);
    in_force(&node, &issue(now() - 5 * HOUR, now() + 67 * HOUR)?)?;
    node.start()?;
    node.wait_for(SOON, "valid", "certificate-valid").await?;
    let mut before = everything(&node)?;
    for (name, pem, state, kind) in [
        ("due", issue(now() - 60 * HOUR, now() + 12 * HOUR)?, "renewal-due", "renewal-due"),
        ("overdue", issue(now() - 68 * HOUR, now() + 4 * HOUR)?, "renewal-overdue", "renewal-overdue"),
        ("expired", issue(now() - 80 * HOUR, now() - 8 * HOUR)?, "expired-recovering", "certificate-expired"),
        ("empty", String::new(), "absent", "certificate-empty"),
        ("garbage", "-----BEGIN CERTIFICATE-----\ncut".to_owned(), "absent", "certificate-corrupt"),
        (
            "another node's",
            api.issue_node_certificate("node-b", now(), now() + HOUR)?,
            "renewal-due",
            "node-name-changed",
        ),
    ] {
        assert_eq!(before, everything(&node)?, "before {name}");
        in_force(&node, &pem)?;
        before = everything(&node)?;
        node.wait_for(SOON, state, kind).await.with_context(|| name.to_owned())?;
    }
    // No certificate, and nobody who would give one.
    std::fs::remove_file(node.current())?;
    api.revoke_token("abcdef");
    node.give_kubeconfig(&api.bootstrap_kubeconfig().replace("127.0.0.1", "localhost"))?;
    before = everything(&node)?;
    node.wait_for(SOON, "token-rejected", "credential-rejected").await?;
    assert_eq!(before, everything(&node)?);
    let other =
        Authority::new("another", SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))?;
    node.give_kubeconfig(&Kubeconfig::typhoon(&api.url(), other.certificate_pem(), &api.token()).to_yaml())?;
    before = everything(&node)?;
    node.wait_for(SOON, "ca-expired", "authority-expired").await?;
    assert_eq!(before, everything(&node)?);
    node.stop().await?;
    let changes = changes(&node)?;
    assert!(changes.is_empty(), "it wrote: {changes:#?}");
    assert_eq!(api.csrs().len(), 0);
    Ok(())
}

/// So that the tests above mean something: the same trace of an agent that owns the certificate.
#[tokio::test]
async fn an_owner_is_seen_to_write() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let mut node = watched(true)?;
    node.drop_in("50-take-over.toml", "[certificates]\nowner = \"eyewall\"\n")?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    node.start()?;
    node.wait_for(SOON, "valid", "certificate-valid").await?;
    node.stop().await?;
    let changes = changes(&node)?;
    for wanted in ["cluster-ca.crt", "kubelet.kubeconfig", "kubelet-client-current.pem", "kubelet-client-request.pem"] {
        assert!(changes.iter().any(|line| line.contains(wanted)), "{wanted} is not in {changes:#?}");
    }
    for call in ["rename", "symlink", "unlink", "O_CREAT"] {
        assert!(changes.iter().any(|line| line.contains(call)), "{call} is not in {changes:#?}");
    }
    Ok(())
}

/// The owner changes while the agent runs and the kubelet is restarted once: the certificate stays, both ways.
#[tokio::test]
async fn a_certificate_is_handed_over_and_back() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let mut node = watched(false)?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    node.start()?;
    let mut theirs = kubelet(&node)?;
    let before = node.wait_for(SOON, "valid", "certificate-valid").await?.certificates.current.context("theirs")?;

    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../units");
    node.drop_in("50-take-over.toml", &std::fs::read_to_string(units.join("take-over.toml"))?)?;
    theirs.kill().await?;
    let ours = node.wait(SOON, |status| status.certificates.owner == "eyewall").await?;
    let adopted = ours.certificates.current.context("adopted")?;
    assert_eq!((&adopted.serial, &adopted.file), (&before.serial, &before.file), "the same certificate");
    assert!(adopted.renew_at < before.renew_at, "renewed by our schedule from now on");
    assert!(ours.certificates.take_over.is_empty());
    assert_eq!(api.csrs().len(), 1, "no request was needed");
    let kubeconfig = std::fs::read_to_string(node.path("kubelet.kubeconfig"))?;
    assert!(kubeconfig.contains("cluster-ca.crt") && !kubeconfig.contains("-data:"), "{kubeconfig}");

    // A renewal of ours, and back: the kubelet goes on with it and asks for nothing.
    let renewed = node.command(&["certificates", "renew"])?.output().await?;
    assert!(renewed.status.success(), "{}", String::from_utf8_lossy(&renewed.stderr));
    let ours = node.wait(SOON, |status| {
        status.certificates.current.as_ref().is_some_and(|current| current.serial != before.serial)
    });
    let ours = ours.await?.certificates.current.context("ours")?;
    node.drop_in("99-break-glass.toml", &std::fs::read_to_string(units.join("break-glass.toml"))?)?;
    let back = node.wait(SOON, |status| status.certificates.owner == "kubelet").await?.certificates;
    assert_eq!(back.take_over[0], format!("rm {}", node.path("etc/eyewall.toml.d/99-break-glass.toml").display()));
    api.set_approval(ApprovalMode::Manual);
    let _theirs = kubelet(&node)?;
    let registered = |seen: &tests::apiserver::View<'_>| {
        seen.requests().iter().rev().take_while(|request| request.path.contains("node-a")).count() > 2
    };
    api.wait_until(SOON, registered).await?;
    let status = node.wait_for(SOON, "valid", "certificate-valid").await?;
    assert_eq!(status.certificates.current.map(|current| current.serial), Some(ours.serial), "the same certificate");
    assert_eq!(api.csrs().len(), 2, "and no request");
    Ok(())
}
