//! The stand-in itself, over its own TLS: the rules and the faults that no recording reaches.

use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};
use tests::apiserver::{
    ApiServer, ApprovalMode, Authority, CsrState, Fault, FaultAction, Options, Signing, Token, typhoon_kubelet_delete,
};
use tests::client::{Client, Login};

const CSRS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const SLOTS: &str = "/api/v1/namespaces/kube-system/configmaps/reboot-workers";
const MERGE: &str = "application/merge-patch+json";
const SOON: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3600);

/// A request for a node's client certificate, and the key it is for.
fn request(name: &str, node: &str) -> Result<(Value, KeyPair)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(DnType::CommonName, format!("system:node:{node}"));
    let pem = params.serialize_request(&key)?.pem()?;
    let object = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
        "spec": {
            "request": STANDARD.encode(pem), "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
            "usages": ["digital signature", "client auth"],
        },
    });
    Ok((object, key))
}

fn client(api: &ApiServer, login: &Login) -> Result<Client> {
    Client::new(&api.url(), api.ca_pem(), login)
}

fn bootstrap(api: &ApiServer) -> Result<Client> {
    client(api, &Login::token(&api.token()))
}

fn node(api: &ApiServer, name: &str) -> Result<Client> {
    client(api, &Login::certificate(&api.issue_node_certificate(name, api.now() - HOUR, api.now() + HOUR)?))
}

fn admin(api: &ApiServer) -> Result<Client> {
    client(api, &Login::certificate(&api.admin_certificate()?))
}

/// Reads a watch to its end: type and name, or type and reason, of every line.
async fn lines(client: Client, path: &str) -> Result<Vec<String>> {
    let mut watch = client.watch(path).await?;
    let mut told = Vec::new();
    while let Some(line) = watch.next().await? {
        let object = &line["object"];
        let name = object["metadata"]["name"].as_str().or(object["reason"].as_str()).unwrap_or_default();
        told.push(format!("{} {name}", line["type"].as_str().unwrap_or_default()));
    }
    Ok(told)
}

#[tokio::test]
async fn a_node_bootstraps_and_is_known_by_its_certificate() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let (object, key) = request("node-csr-1", "node-a")?;
    let mut bootstrap_client = bootstrap(&api)?;
    assert_eq!(bootstrap_client.get(CSRS).await?.status, 200);
    let before = tokio::time::Instant::now();
    let created = bootstrap_client.post(CSRS, &object).await?;
    assert_eq!(created.status, 201, "{}", created.text());
    let version = created.json()["metadata"]["resourceVersion"].as_str().context("a version")?.to_owned();

    let query = "watch=1&fieldSelector=metadata.name%3Dnode-csr-1&timeoutSeconds=5";
    let mut watch = bootstrap(&api)?.watch(&format!("{CSRS}?{query}&resourceVersion={version}")).await?;
    let mut conditions = Vec::new();
    let certificate = loop {
        let line = watch.next().await?.context("a line before the watch ends")?;
        assert_eq!(line["type"], "MODIFIED");
        conditions.push(line["object"]["status"]["conditions"][0]["reason"].clone());
        if let Some(certificate) = line["object"]["status"]["certificate"].as_str() {
            break String::from_utf8(STANDARD.decode(certificate)?)?;
        }
    };
    println!("create to issued, over a new connection for the watch: {:?}", before.elapsed());
    assert_eq!(conditions, ["AutoApproved", "AutoApproved"], "approved in one line, issued in the next");

    let mut node = client(&api, &Login::certificate(&format!("{certificate}{}", key.serialize_pem())))?;
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let who = node.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &review).await?.json();
    assert_eq!(who["status"]["userInfo"]["username"], "system:node:node-a");
    assert_eq!(api.csrs().iter().map(|csr| csr.state).collect::<Vec<_>>(), [CsrState::Issued]);
    Ok(())
}

#[tokio::test]
async fn the_approver_does_what_it_is_told() -> Result<()> {
    let words = |reason: &str| (reason.to_owned(), "because".to_owned());
    let (deny, fail) = (words("OperatorDenied"), words("SignerValidationFailure"));
    let cases = [
        ("auto", ApprovalMode::Auto, CsrState::Issued, "AutoApproved: Auto approving"),
        ("deny", ApprovalMode::Deny { reason: deny.0, message: deny.1 }, CsrState::Denied, "OperatorDenied: because"),
        (
            "fail",
            ApprovalMode::Fail { reason: fail.0, message: fail.1 },
            CsrState::Failed,
            "SignerValidationFailure: because",
        ),
    ];
    let api = ApiServer::start(Options::default()).await?;
    for (name, mode, want, why) in cases {
        api.set_approval(mode);
        bootstrap(&api)?.post(CSRS, &request(name, "node-a")?.0).await?;
        let state = |seen: &tests::apiserver::View<'_>| seen.csrs().into_iter().find(|csr| csr.name == name);
        api.wait_until(SOON, |seen| state(seen).is_some_and(|csr| csr.state == want)).await.context(name)?;
        let csr = api.look(state).context(name)?;
        assert!(csr.why.starts_with(why), "{name}: {}", csr.why);
    }

    api.set_approval(ApprovalMode::Manual);
    bootstrap(&api)?.post(CSRS, &request("manual", "node-b")?.0).await?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let manual = |seen: &tests::apiserver::View<'_>| seen.csrs().into_iter().find(|csr| csr.name == "manual");
    assert_eq!(api.look(manual).map(|csr| csr.state), Some(CsrState::Pending));
    assert!(api.approve("manual"));
    api.wait_until(SOON, |seen| manual(seen).is_some_and(|csr| csr.issued())).await?;

    api.set_approval(ApprovalMode::Auto);
    api.revoke_role("nodeclient");
    bootstrap(&api)?.post(CSRS, &request("unbound", "node-c")?.0).await?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let unbound = api.csrs().into_iter().find(|csr| csr.name == "unbound").context("unbound")?;
    assert_eq!((unbound.state, unbound.node.as_str()), (CsrState::Pending, "node-c"), "nobody may have it");
    Ok(())
}

#[tokio::test]
async fn delays_keep_a_request_between_its_states() -> Result<()> {
    let delay = Duration::from_millis(300);
    let signing = Signing { approval_delay: delay, delay, ..Signing::default() };
    let api = ApiServer::start(Options { signing, ..Options::default() }).await?;
    let before = tokio::time::Instant::now();
    bootstrap(&api)?.post(CSRS, &request("slow", "node-a")?.0).await?;
    for (want, earliest) in [(CsrState::Pending, 0), (CsrState::Approved, 300), (CsrState::Issued, 600)] {
        api.wait_until(SOON, |seen| seen.csrs().iter().any(|csr| csr.state == want)).await?;
        let took = before.elapsed();
        assert!(took >= Duration::from_millis(earliest), "{want:?} after {took:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_ends_is_refused_on_the_same_connection() -> Result<()> {
    let signing = Signing { duration: Duration::from_secs(2), ..Signing::default() };
    let api = ApiServer::start(Options { signing, ..Options::default() }).await?;
    let (object, key) = request("short", "node-a")?;
    bootstrap(&api)?.post(CSRS, &object).await?;
    api.wait_until(SOON, |seen| seen.csrs().iter().any(|csr| csr.issued())).await?;
    let certificate = api.csrs().remove(0).certificate.context("a certificate")?;
    let mut node = client(&api, &Login::certificate(&format!("{certificate}{}", key.serialize_pem())))?;
    assert_eq!(node.get("/api/v1/nodes/node-a").await?.status, 404, "known, and the Node is not there");
    tokio::time::sleep(Duration::from_millis(3100)).await;
    assert_eq!(node.get("/api/v1/nodes/node-a").await?.status, 401);
    let connections: Vec<u64> = api.requests().iter().rev().take(2).map(|request| request.connection).collect();
    assert_eq!(connections.first(), connections.last(), "both on one connection");
    Ok(())
}

#[tokio::test]
async fn credentials_come_and_go() -> Result<()> {
    let api = ApiServer::start(Options { anonymous: false, ..Options::default() }).await?;
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let foreign = Authority::new("kubernetes-ca", api.now() - HOUR, api.now() + HOUR)?;
    let stranger = foreign.issue_node_certificate("node-a", api.now() - HOUR, api.now() + HOUR)?;
    for (name, login, want) in [
        ("nobody", Login::anonymous(), 401),
        ("token", Login::token(&api.token()), 201),
        ("certificate of another CA", Login::certificate(&stranger), 401),
        ("that and a token", Login { token: Some(api.token()), ..Login::certificate(&stranger) }, 201),
    ] {
        assert_eq!(client(&api, &login)?.post(path, &review).await?.status, want, "{name}");
    }
    assert_eq!(client(&api, &Login::anonymous())?.get("/readyz").await?.status, 401, "anonymous-auth is off");

    let mut holder = bootstrap(&api)?;
    assert_eq!(holder.get(CSRS).await?.status, 200);
    api.revoke_token("abcdef");
    assert_eq!(holder.get(CSRS).await?.status, 401, "revoked between two requests of one connection");
    api.put_token(Token::new("fedcba.0123456789abcdef"));
    assert_eq!(client(&api, &Login::token("fedcba.0123456789abcdef"))?.get(CSRS).await?.status, 200);
    api.revoke_role("system:node-bootstrapper");
    assert_eq!(client(&api, &Login::token("fedcba.0123456789abcdef"))?.get(CSRS).await?.status, 403);
    Ok(())
}

#[tokio::test]
async fn a_server_that_went_away_comes_back_with_what_it_knew() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    bootstrap(&api)?.post(CSRS, &request("kept", "node-a")?.0).await?;
    api.wait_until(SOON, |seen| seen.csrs().iter().any(|csr| csr.issued())).await?;
    let mut open = bootstrap(&api)?;
    assert_eq!(open.get(CSRS).await?.status, 200);
    let mut watching = bootstrap(&api)?.watch(&format!("{CSRS}?watch=1&resourceVersion=4")).await?;

    api.stop();
    assert!(watching.next().await.is_err(), "a watch breaks off with the server");
    assert!(open.get(CSRS).await.is_err(), "the connection was cut");
    assert!(bootstrap(&api)?.get(CSRS).await.is_err(), "the port is closed");
    assert_eq!(api.look(|seen| seen.connections_open()), 0);

    api.start_again()?;
    assert!(api.start_again().is_err(), "it runs already");
    assert_eq!(bootstrap(&api)?.get(&format!("{CSRS}/kept")).await?.status, 200, "same port, same CA, same objects");
    let told = lines(bootstrap(&api)?, &format!("{CSRS}?watch=1&resourceVersion=2&timeoutSeconds=1")).await?;
    assert_eq!(told, ["ERROR Expired"], "its watch cache is new");
    Ok(())
}

#[tokio::test]
async fn watches_tell_everything_once_and_in_order() -> Result<()> {
    let api = ApiServer::start(Options { bookmark_every: Duration::from_millis(400), ..Options::default() }).await?;
    let map = |n: u32| json!({"kind": "ConfigMap", "metadata": {"name": "m", "namespace": "default"}, "data": {"n": n.to_string()}});
    let path = "/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=1&timeoutSeconds=3";
    let mut watch = admin(&api)?.watch(path).await?;
    for n in 0..200 {
        api.apply(map(n))?;
        api.apply(json!({"kind": "ConfigMap", "metadata": {"name": "other", "namespace": "kube-system"}, "data": {}}))?;
    }
    api.remove("configmaps", "default", "m");
    let (mut seen, mut last) = (Vec::new(), 0);
    while let Some(line) = watch.next().await? {
        let version: u64 = line["object"]["metadata"]["resourceVersion"].as_str().context("a version")?.parse()?;
        assert!(version > last, "{version} after {last}");
        last = version;
        seen.push(format!("{}{}", line["type"].as_str().unwrap_or_default(), line["object"]["data"]["n"]));
    }
    let mut want = vec!["ADDED\"0\"".to_owned()];
    want.extend((1..200).map(|n| format!("MODIFIED\"{n}\"")));
    want.push("DELETED\"199\"".to_owned());
    assert_eq!(seen, want);

    let query = "watch=1&resourceVersion=400&allowWatchBookmarks=true&timeoutSeconds=1&fieldSelector=metadata.name%3Dm";
    let told = lines(admin(&api)?, &format!("/api/v1/configmaps?{query}")).await?;
    let (last, bookmarks) = (told.last().context("lines")?, told.iter().filter(|l| *l == "BOOKMARK ").count());
    assert_eq!((last.as_str(), bookmarks), ("BOOKMARK ", 2), "{told:?}");
    let filtered = lines(admin(&api)?, "/api/v1/configmaps?watch=1&fieldSelector=metadata.uid%3Dx").await;
    assert!(format!("{:#}", filtered.unwrap_err()).contains("field label not supported: metadata.uid"));
    Ok(())
}

#[tokio::test]
async fn every_fault_strikes_as_it_says() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let status = |code, retry_after, body: Option<&str>| FaultAction::Status {
        code,
        retry_after,
        body: body.map(str::to_owned),
    };
    let mut asking = bootstrap(&api)?;

    api.inject(Fault::new(status(429, Some(7), None)).method(Method::GET).path(CSRS));
    let reply = asking.get(CSRS).await?;
    assert_eq!((reply.status.as_u16(), reply.headers["retry-after"].to_str()?), (429, "7"));
    assert_eq!(reply.json()["reason"], "TooManyRequests");
    api.inject(Fault::new(status(500, None, Some("<html>no</html>"))));
    assert_eq!(asking.get(CSRS).await?.text(), "<html>no</html>");

    api.inject(Fault::new(FaultAction::Garbage));
    let reply = asking.get(CSRS).await?;
    assert!(reply.status == 200 && std::str::from_utf8(&reply.bytes).is_err());

    api.inject(Fault::new(FaultAction::Reset));
    let error = format!("{:#}", asking.get(CSRS).await.unwrap_err());
    assert!(error.contains("Connection reset by peer"), "a reset and not an orderly close: {error}");
    assert_eq!(api.requests().last().map(|request| request.status), Some(0), "logged, without an answer");

    api.inject(Fault::new(FaultAction::HalfBody));
    let error = format!("{:#}", asking.get(CSRS).await.unwrap_err());
    assert!(error.contains("broke off"), "{error}");

    for action in [FaultAction::Delay(Duration::from_millis(300)), FaultAction::SlowBody(Duration::from_millis(50))] {
        api.inject(Fault::new(action.clone()));
        let before = tokio::time::Instant::now();
        let reply = asking.get(CSRS).await?;
        assert_eq!(reply.json()["kind"], "CertificateSigningRequestList", "{action:?}: right, but late");
        assert!(before.elapsed() >= Duration::from_millis(300), "{action:?} took {:?}", before.elapsed());
    }

    api.inject(Fault::new(FaultAction::Hang));
    let hung = tokio::time::timeout(Duration::from_millis(300), bootstrap(&api)?.get(CSRS)).await;
    assert!(hung.is_err(), "no answer at all");

    api.apply(json!({"kind": "ConfigMap", "metadata": {"name": "m", "namespace": "default"}}))?;
    api.inject(Fault::new(FaultAction::CloseMidWatch { after_lines: 1 }));
    let mut watch = admin(&api)?.watch("/api/v1/configmaps?watch=1&timeoutSeconds=5").await?;
    assert_eq!(watch.next().await?.context("the first line")?["type"], "ADDED");
    assert!(watch.next().await.is_err(), "cut in the middle");

    api.inject(Fault::new(status(503, None, None)).path("/readyz").always());
    for _ in 0..3 {
        assert_eq!(asking.get("/readyz").await?.status, 503);
    }
    assert_eq!(asking.get("/livez").await?.status, 200, "only where the path begins so");
    api.clear_faults();
    assert_eq!(asking.get("/readyz").await?.status, 200);
    assert_eq!(api.faults_left(), 0);
    Ok(())
}

#[tokio::test]
async fn racing_nodes_never_hold_more_slots_than_there_are() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    api.apply_reboot_slots("workers", 3);
    let mut racers = tokio::task::JoinSet::new();
    for n in 0..12 {
        let mut racer = node(&api, &format!("node-{n}"))?;
        racers.spawn(async move {
            let patch = json!({"data": {format!("holder.node-{n}"): "{}"}});
            racer.send(Method::PATCH, SLOTS, MERGE, Some(&patch)).await.map(|reply| reply.status.as_u16())
        });
    }
    let mut statuses = racers.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
    statuses.sort_unstable();
    assert_eq!(statuses, [[200].repeat(3), [422].repeat(9)].concat());
    Ok(())
}

#[tokio::test]
async fn a_drain_meets_its_budget_and_its_grace() -> Result<()> {
    let api = ApiServer::start(Options { pod_stop: Duration::from_millis(300), ..Options::default() }).await?;
    for name in ["web-1", "web-2"] {
        api.apply(json!({
            "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
            "spec": {"nodeName": "node-a"},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }))?;
    }
    api.apply(json!({
        "kind": "PodDisruptionBudget", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    }))?;
    let mut kubelet = node(&api, "node-a")?;
    let mut evicted = Vec::new();
    for name in ["web-1", "web-2", "web-1"] {
        let path = format!("/api/v1/namespaces/default/pods/{name}/eviction");
        let eviction =
            json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}});
        let reply = kubelet.post(&path, &eviction).await?;
        evicted.push((reply.status.as_u16(), reply.json()["details"]["causes"][0]["message"].clone()));
    }
    let refused = json!("The disruption budget web needs 1 healthy pods and has 1 currently");
    assert_eq!(evicted, [(201, Value::Null), (429, refused), (201, Value::Null)], "a second order for web-1 is fine");
    let pods = "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-a";
    assert_eq!(kubelet.get(pods).await?.json()["items"].as_array().map(Vec::len), Some(2), "it is still ending");
    api.wait_until(SOON, |seen| seen.objects("pods").len() == 1).await?;

    api.apply(json!({"kind": "Node", "metadata": {"name": "node-a"}}))?;
    assert_eq!(kubelet.send(Method::DELETE, "/api/v1/nodes/node-a", "", None).await?.status, 403);
    typhoon_kubelet_delete().into_iter().for_each(|rule| api.grant(rule));
    assert_eq!(kubelet.send(Method::DELETE, "/api/v1/nodes/node-a", "", None).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn writers_that_are_late_are_told_so() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    let mut kubelet = node(&api, "node-a")?;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let lease = |version: Option<&str>, seconds: i64| {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "node-a", "namespace": "kube-node-lease", "resourceVersion": version},
            "spec": {"holderIdentity": "node-a", "leaseDurationSeconds": seconds},
        })
    };
    let created = kubelet.post(leases, &lease(None, 40)).await?;
    let first = created.json()["metadata"]["resourceVersion"].as_str().context("a version")?.to_owned();
    let own = format!("{leases}/node-a");
    for (name, body, want) in [
        ("in time", lease(Some(&first), 41), 200),
        ("late", lease(Some(&first), 42), 409),
        ("no version", lease(None, 43), 422),
        ("nonsense", lease(Some("2"), 0), 409),
    ] {
        let reply = kubelet.send(Method::PUT, &own, "application/json", Some(&body)).await?;
        assert_eq!(reply.status, want, "{name}: {}", reply.text());
    }
    let too_big = json!({"data": "x".repeat(4 * 1024 * 1024)});
    assert_eq!(kubelet.post(leases, &too_big).await?.status, 413);
    kubelet.disconnect();
    let reply = kubelet.send(Method::POST, leases, "application/yaml", Some(&json!({}))).await?;
    assert_eq!(reply.status, 415);
    assert_eq!(kubelet.post(leases, &json!({"kind": "Node"})).await?.status, 400);
    let mut unreadable = request("unreadable", "node-a")?.0;
    unreadable["spec"]["request"] = json!("%");
    assert_eq!(kubelet.post(CSRS, &unreadable).await?.status, 400);
    assert_eq!(admin(&api)?.get("/apis/example.org/v1/things").await?.status, 404);
    assert_eq!(admin(&api)?.get("/nowhere").await?.json()["reason"], "NotFound");
    Ok(())
}

#[tokio::test]
async fn the_clock_is_the_servers_own() -> Result<()> {
    let api = ApiServer::start(Options { clock_offset_ms: 86_400_000, ..Options::default() }).await?;
    let (object, _) = request("tomorrow", "node-a")?;
    let created = bootstrap(&api)?.post(CSRS, &object).await?;
    let day = tests::apiserver::rfc3339(api.now()).get(..10).unwrap_or_default().to_owned();
    let at = created.json()["metadata"]["creationTimestamp"].clone();
    assert!(at.as_str().is_some_and(|at| at.starts_with(&day)), "{at} on {day}");
    api.set_clock_offset_ms(0);
    let mut later =
        client(&api, &Login::certificate(&api.issue_node_certificate("a", api.now() + HOUR, api.now() + 2 * HOUR)?))?;
    assert_eq!(later.get("/api/v1/nodes/a").await?.status, 401, "not valid yet");
    api.set_clock_offset_ms(90 * 60 * 1000);
    assert_eq!(later.get("/api/v1/nodes/a").await?.status, 404, "valid, and the Node is not there");
    Ok(())
}
