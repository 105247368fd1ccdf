//! Bad input gets a clear reason, and nothing is lost: each case ends in a good node once it is mended.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use eyewall_core::status::CertificateState;
use tests::apiserver::{ApiServer, ApprovalMode, Authority, Fault, FaultAction, Kubeconfig, Options, Token};
use tests::node::Node;

const SOON: Duration = Duration::from_secs(10);

async fn cluster() -> Result<(ApiServer, Node)> {
    Ok((ApiServer::start(Options::default()).await?, Node::new("node-a")?))
}

async fn is_mended(node: &Node) -> Result<()> {
    node.wait_for(SOON, "valid", "certificate-valid").await?;
    Ok(())
}

#[tokio::test]
async fn bootstrap_kubeconfigs_that_cannot_be_used() -> Result<()> {
    let (api, mut node) = cluster().await?;
    let good = api.bootstrap_kubeconfig();
    let half = &good[..good.len() / 2];
    let other_ca =
        Authority::new("another", SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000))?;
    let wrong_ca = Kubeconfig::typhoon(&api.url(), other_ca.certificate_pem(), &api.token()).to_yaml();
    let unknown_token = Kubeconfig::typhoon(&api.url(), api.ca_pem(), "zzzzzz.0123456789abcdef").to_yaml();
    let nobody_there = good.replace(&api.url(), "https://127.0.0.1:9");
    let no_such_host = good.replace(&api.url(), "https://api.invalid:6443");
    node.start()?;
    node.wait_for(SOON, "absent", "bootstrap-kubeconfig-missing").await?;
    for (name, text, state, kind) in [
        ("empty", "", "absent", "bootstrap-kubeconfig-empty"),
        ("half", half, "absent", "bootstrap-kubeconfig-incomplete"),
        ("binary", "\u{0}\u{1}\u{2}", "absent", "bootstrap-kubeconfig-not-text"),
        ("not a kubeconfig", "hello: [", "absent", "bootstrap-kubeconfig-malformed"),
        ("wrong CA", &wrong_ca, "server-unreachable", "server-untrusted"),
        ("unknown token", &unknown_token, "token-rejected", "credential-rejected"),
        ("nobody there", &nobody_there, "server-unreachable", "server-unreachable"),
        ("no such host", &no_such_host, "server-unreachable", "server-unreachable"),
    ] {
        node.give_kubeconfig(text)?;
        let status = node.wait_for(SOON, state, kind).await?;
        let placeholder = std::fs::metadata(node.current())?;
        assert_eq!(placeholder.len(), 0, "{name}: the placeholder stands");
        assert!(!status.certificates.next.is_empty(), "{name}: says what comes next");
    }
    assert_eq!(api.csrs().len(), 0, "nothing was asked for in vain");
    // Not UTF-8 at all.
    std::fs::write(node.bootstrap(), [0xff, 0xfe, 0x00])?;
    node.wait_for(SOON, "absent", "bootstrap-kubeconfig-not-text").await?;
    // Cannot be read: a directory, since root may read any file.
    std::fs::remove_file(node.bootstrap())?;
    std::fs::create_dir(node.bootstrap())?;
    node.wait_for(SOON, "absent", "bootstrap-kubeconfig-unreadable").await?;
    std::fs::remove_dir(node.bootstrap())?;
    node.give_kubeconfig(&good)?;
    is_mended(&node).await
}

#[tokio::test]
async fn a_server_that_is_away_comes_back() -> Result<()> {
    let (api, mut node) = cluster().await?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    api.stop();
    node.start()?;
    node.wait_for(SOON, "server-unreachable", "server-unreachable").await?;
    api.start_again()?;
    is_mended(&node).await
}

#[tokio::test]
async fn answers_that_are_none_are_told_apart() -> Result<()> {
    let status = |code, retry_after| FaultAction::Status { code, retry_after, body: None };
    for (name, action, state, kind) in [
        ("500", status(500, None), "server-unreachable", "server-error"),
        ("429", status(429, Some(1)), "server-unreachable", "server-throttled"),
        ("503 with Retry-After", status(503, Some(1)), "server-unreachable", "server-throttled"),
        ("403", status(403, None), "denied", "request-forbidden"),
        ("422", status(422, None), "denied", "request-invalid"),
        ("reset", FaultAction::Reset, "server-unreachable", "server-unreachable"),
        ("garbage", FaultAction::Garbage, "server-unreachable", "server-error"),
        ("half a body", FaultAction::HalfBody, "server-unreachable", "server-unreachable"),
    ] {
        let (api, mut node) = cluster().await?;
        node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
        api.inject(Fault::new(action).method(hyper::Method::POST).path("/apis/certificates.k8s.io"));
        node.start()?;
        let seen = node.wait_for(SOON, state, kind).await;
        assert!(seen.is_ok(), "{name}: {seen:?}");
        // 403 and 422 are left alone for a while; another kubeconfig is a reason to ask again at once.
        node.give_kubeconfig(&api.bootstrap_kubeconfig().replace("127.0.0.1", "localhost"))?;
        let mended = is_mended(&node).await;
        assert!(mended.is_ok(), "{name}: {mended:?}");
        assert_eq!(api.csrs().len(), 1, "{name}: one request");
    }
    Ok(())
}

#[tokio::test]
async fn a_token_that_is_revoked_and_a_fresh_one() -> Result<()> {
    let (api, mut node) = cluster().await?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    api.revoke_token("abcdef");
    node.start()?;
    node.wait_for(SOON, "token-rejected", "credential-rejected").await?;
    api.put_token(Token::new("fresh0.0123456789abcdef"));
    let fresh = Kubeconfig::typhoon(&api.url(), api.ca_pem(), "fresh0.0123456789abcdef").to_yaml();
    node.give_kubeconfig(&fresh)?;
    node.wait_for(Duration::from_secs(2), "valid", "certificate-valid").await?;
    Ok(())
}

#[tokio::test]
async fn a_host_that_is_called_localhost_waits_for_its_name() -> Result<()> {
    let (api, mut node) = cluster().await?;
    // Its own UTS namespace, so that the machine keeps its name.
    node.wrapper(&["unshare", "--uts", "sh", "-c", "hostname localhost && exec \"$0\" \"$@\""]);
    let text = std::fs::read_to_string(node.config())?.replace("name = \"node-a\"\n", "");
    std::fs::write(node.config(), text)?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    node.start()?;
    let status = node.wait_for(SOON, "absent", "hostname-is-localhost").await?;
    assert_eq!(status.node.name, None);
    assert_eq!(api.requests().len(), 0, "a node without a name asks nobody");
    let pid = node.pid().expect("it runs").to_string();
    let renamed = tokio::process::Command::new("nsenter")
        .args(["--target", &pid, "--uts", "hostname", "Worker-7.example.com"])
        .status()
        .await?;
    assert!(renamed.success());
    let status = node.wait_for(SOON, "valid", "certificate-valid").await?;
    assert_eq!(status.node.name.as_deref(), Some("worker-7.example.com"));
    assert_eq!(api.csrs()[0].node, "worker-7.example.com");
    Ok(())
}

#[tokio::test]
async fn a_clock_that_nobody_vouches_for_asks_for_nothing() -> Result<()> {
    let (api, mut node) = cluster().await?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    for (name, offset) in [("behind", 600_000), ("ahead", -600_000)] {
        api.set_clock_offset_ms(offset);
        node.start()?;
        let status = node.wait_for(SOON, "clock-suspect", "clock-differs-from-server").await?;
        assert!(!status.certificates.clock.trusted, "{name}");
        assert_eq!(api.csrs().len(), 0, "{name}");
        node.stop().await?;
    }
    api.set_clock_offset_ms(0);
    node.start()?;
    is_mended(&node).await
}

#[tokio::test]
async fn a_full_disk_is_said_and_waited_for() -> Result<()> {
    let (api, mut node) = cluster().await?;
    // A file system of one page in the daemon's own mount namespace, already full.
    let script = format!(
        "mount -t tmpfs -o size=4k none {0:?} && head -c 4096 /dev/zero > {0:?}/ballast; exec \"$0\" \"$@\"",
        node.pki()
    );
    node.wrapper(&["unshare", "--mount", "sh", "-c", &script]);
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    node.start()?;
    let status = node.wait(SOON, |status| status.certificates.reason.kind == "disk-full").await?;
    assert!(status.certificates.reason.message.contains("free some space"), "{status:?}");
    assert_eq!(api.csrs().len(), 0, "nothing is asked for before its key can be kept");
    let pid = node.pid().expect("it runs").to_string();
    let grown = tokio::process::Command::new("nsenter")
        .args(["--target", &pid, "--mount", "mount", "-o", "remount,size=1m"])
        .arg(node.pki())
        .status()
        .await?;
    assert!(grown.success());
    is_mended(&node).await?;
    assert_eq!(api.csrs().len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_directory_that_cannot_be_written() -> Result<()> {
    let (api, mut node) = cluster().await?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    // The daemon gives up CAP_DAC_OVERRIDE, so that modes bind it even as root.
    std::fs::set_permissions(node.pki(), std::fs::Permissions::from_mode(0o500))?;
    node.start()?;
    node.wait(SOON, |status| status.certificates.reason.kind == "permission-denied").await?;
    std::fs::set_permissions(node.pki(), std::fs::Permissions::from_mode(0o755))?;
    is_mended(&node).await
}

#[tokio::test]
async fn what_stands_in_the_store_and_is_not_ours() -> Result<()> {
    let now = SystemTime::now_for_tests();
    let day = Duration::from_secs(86_400);
    for name in ["half", "zeroes", "foreign", "no key", "another key", "regular file"] {
        let (api, mut node) = cluster().await?;
        node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
        let good = api.issue_node_certificate("node-a", now - day, now + day)?;
        let other = api.issue_node_certificate("node-a", now - day, now + day)?;
        let key = good.find("-----BEGIN PRIVATE KEY").or_else(|| good.find("-----BEGIN EC")).expect("a key");
        let other_key = other.find("-----BEGIN PRIVATE KEY").or_else(|| other.find("-----BEGIN EC")).expect("a key");
        let foreign = Authority::new("another", now - day, now + 300 * day)?;
        let (text, kind) = match name {
            "half" => (good[..good.len() / 3].to_owned(), "certificate-corrupt"),
            "zeroes" => ("\0".repeat(1_000), "certificate-corrupt"),
            "foreign" => (foreign.issue_node_certificate("node-a", now - day, now + day)?, "certificate-foreign"),
            "no key" => (good[..key].to_owned(), "certificate-corrupt"),
            "another key" => (format!("{}{}", &good[..key], &other[other_key..]), "certificate-corrupt"),
            _ => ("not a PEM".to_owned(), "certificate-corrupt"),
        };
        if name == "regular file" {
            std::fs::write(node.current(), &text)?;
        } else {
            let dated = node.pki().join("kubelet-client-2026-01-02-03-04-05.pem");
            std::fs::write(&dated, &text)?;
            std::os::unix::fs::symlink(&dated, node.current())?;
        }
        node.start()?;
        let mended = is_mended(&node).await;
        assert!(mended.is_ok(), "{name}: {mended:?}");
        let events = node.events().await?;
        let aside = events.iter().find(|event| event.event == "certificate-quarantined");
        let aside = aside.unwrap_or_else(|| panic!("{name}: no event: {}", node.log()));
        assert_eq!(aside.fields["kind"], kind, "{name}");
        assert_eq!(std::fs::read_to_string(&aside.fields["moved_to"])?, text, "{name}: nothing is lost");
        assert!(std::fs::symlink_metadata(node.current())?.is_symlink(), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_corrupt_file_gives_way_to_a_usable_older_one() -> Result<()> {
    let (api, mut node) = cluster().await?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    let now = SystemTime::now_for_tests();
    let older = node.pki().join("kubelet-client-2026-01-01-00-00-00.pem");
    let newer = node.pki().join("kubelet-client-2026-01-02-00-00-00.pem");
    std::fs::write(&older, api.issue_node_certificate("node-a", now, now + Duration::from_secs(86_400))?)?;
    std::fs::write(&newer, "")?;
    std::fs::write(&newer, "half")?;
    std::os::unix::fs::symlink(&newer, node.current())?;
    node.start()?;
    is_mended(&node).await?;
    assert_eq!(std::fs::canonicalize(node.current())?, std::fs::canonicalize(&older)?);
    assert_eq!(api.csrs().len(), 0, "what is still good needs no new one");
    Ok(())
}

#[tokio::test]
async fn requests_that_are_denied_or_fail_stop_the_line() -> Result<()> {
    let words = |reason: &str| (reason.to_owned(), "not one of ours".to_owned());
    for (name, mode, kind) in [
        (
            "denied",
            {
                let (reason, message) = words("OperatorDenied");
                ApprovalMode::Deny { reason, message }
            },
            "request-denied",
        ),
        (
            "failed",
            {
                let (reason, message) = words("SignerValidationFailure");
                ApprovalMode::Fail { reason, message }
            },
            "request-failed",
        ),
    ] {
        let (api, mut node) = cluster().await?;
        api.set_approval(mode);
        node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
        node.start()?;
        let status = node.wait_for(SOON, "denied", kind).await?;
        assert!(status.certificates.reason.message.contains("not one of ours"), "{name}: {status:?}");
        let asked = api.requests_about_certificates().len();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(api.requests_about_certificates().len(), asked, "{name}: the server is left alone");
        assert_eq!(api.csrs().len(), 1, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn an_unapproved_request_is_waited_for_with_one_object() -> Result<()> {
    let (api, mut node) = cluster().await?;
    api.set_approval(ApprovalMode::Manual);
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    node.start()?;
    let status = node.wait(SOON, |status| status.certificates.state == CertificateState::PendingApproval).await?;
    let name = status.certificates.request.expect("a request").name;
    for _ in 0..3 {
        node.kill().await?;
        node.start()?;
        node.wait(SOON, |status| status.certificates.state == CertificateState::PendingApproval).await?;
    }
    assert_eq!(api.csrs().len(), 1, "killed thrice, one request");
    assert!(api.approve(&name));
    is_mended(&node).await
}

#[tokio::test]
async fn a_kubeconfig_that_changes_while_approval_is_waited_for_is_seen_at_once() -> Result<()> {
    let (never, mut node) = cluster().await?;
    never.set_approval(ApprovalMode::Manual);
    node.give_kubeconfig(&never.bootstrap_kubeconfig())?;
    node.start()?;
    node.wait(SOON, |status| status.certificates.state == CertificateState::PendingApproval).await?;
    let other = ApiServer::start(Options::default()).await?;
    node.give_kubeconfig(&other.bootstrap_kubeconfig())?;
    node.wait_for(Duration::from_secs(2), "valid", "certificate-valid").await?;
    Ok(())
}

/// The wall clock, for certificates that are made for a test.
trait NowForTests {
    fn now_for_tests() -> SystemTime;
}

impl NowForTests for SystemTime {
    #[expect(clippy::disallowed_methods, reason = "certificates made for a test begin today")]
    fn now_for_tests() -> SystemTime {
        SystemTime::now()
    }
}
