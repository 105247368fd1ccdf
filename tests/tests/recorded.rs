//! The stand-in against a real kube-apiserver 1.36: every recorded scenario is asked again, in order, and the answers are
//! compared. Nothing here knows an answer: the world is set up as the recorder found it, and the rules do the rest.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hyper::Method;
use serde_json::{Value, json};
use tests::apiserver::{ApiServer, CsrState, CsrView, Options, Rule, Token};
use tests::client::{Client, Login, Reply};

const RECORDING: &str = include_str!("../recordings/kube-apiserver-1.36.json");
const CSRS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const SOON: Duration = Duration::from_secs(10);
/// Where the recorder waited 1.5 s for a controller that does nothing. Ours acts within milliseconds if at all.
const A_WHILE: Duration = Duration::from_millis(300);

/// One recorded exchange.
#[derive(Debug)]
struct Scenario {
    name: String,
    who: String,
    method: Method,
    path: String,
    content_type: String,
    body: Option<Value>,
    response: Value,
}

impl Scenario {
    fn of(recorded: &Value) -> Result<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let request = &recorded["request"];
        Ok(Self {
            name: text(&recorded["scenario"]),
            who: text(&recorded["as"]),
            method: text(&request["method"]).parse()?,
            path: text(&request["path"]),
            content_type: text(&request["content_type"]),
            body: Some(request["body"].clone()).filter(|body| !body.is_null()),
            response: recorded["response"].clone(),
        })
    }

    /// The version in the recorded answer, which tells how far the real cluster's other writers had come.
    fn version(&self) -> Option<u64> {
        self.response["body"]["metadata"]["resourceVersion"].as_str()?.parse().ok()
    }

    fn watch_lines(&self) -> Option<&Vec<Value>> {
        self.response["watch_lines"].as_array()
    }
}

/// The stand-in with everybody the recorder was.
struct Cluster {
    api: ApiServer,
    logins: BTreeMap<String, Login>,
}

impl Cluster {
    async fn new() -> Result<Self> {
        let hour = Duration::from_secs(3600);
        let ended = Token { expires: Some(std::time::UNIX_EPOCH + hour), ..Token::new("expire.0123456789abcdef") };
        let mut options = Options::default();
        options.tokens.push(ended.clone());
        let api = ApiServer::start(options).await?;
        let now = api.now();
        let node = |name: &str| api.issue_node_certificate(name, now - hour, now + hour);
        let past = api.issue_node_certificate("node-a", now - 2 * hour, now - hour)?;
        let logins = [
            ("anonymous", Login::anonymous()),
            ("bootstrap", Login::token(&api.token())),
            ("bad-token", Login::token("abcdef.ffffffffffffffff")),
            ("expired-token", Login::token(&ended.text())),
            ("node-a", Login::certificate(&node("node-a")?)),
            ("node-b", Login::certificate(&node("node-b")?)),
            ("expired-cert", Login::certificate(&past)),
            ("admin", Login::certificate(&api.admin_certificate()?)),
        ];
        let logins = logins.into_iter().map(|(name, login)| (name.to_owned(), login)).collect();
        Ok(Self { api, logins })
    }

    fn client(&self, who: &str) -> Result<Client> {
        let login = self.logins.get(who).with_context(|| format!("nobody is called {who}"))?;
        Client::new(&self.api.url(), self.api.ca_pem(), login)
    }

    /// Puts an object there as the recorder found it, at the version it had.
    fn seed(&self, object: &Value) -> Result<()> {
        let version = object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse::<u64>().ok());
        if let Some(version) = version {
            self.api.advance_version_to(version - 1);
        }
        let mut object = object.clone();
        object["metadata"].as_object_mut().context("metadata")?.remove("managedFields");
        self.api.apply(object)?;
        Ok(())
    }

    /// What was there before the first request.
    fn before_all(&self, scenarios: &[Scenario]) -> Result<()> {
        let recorded = |name: &str| find(scenarios, name).map(|scenario| &scenario.response["body"]);
        self.seed(recorded("lease: node without a role")?)?;
        let rule = Rule::new("leases", "system:nodes", &["get", "update"], "coordination.k8s.io", &["leases"]);
        self.api.grant(rule.in_namespace("kube-system"));
        self.api.advance_version_to(729);
        self.api.apply_reboot_slots("workers", 1);
        self.api.compact("certificatesigningrequests", 981);
        self.seed(recorded("node: get own")?)?;
        self.api.apply(json!({"kind": "Node", "metadata": {"name": "node-b"}, "spec": {}, "status": {}}))?;
        Ok(())
    }

    /// What the recorder did, or waited for, between two requests.
    async fn before(&self, scenario: &Scenario, scenarios: &[Scenario]) -> Result<()> {
        match scenario.name.as_str() {
            "bootstrap: get, issued" | "renewal: own name, issued" => {
                let name = scenario.path.rsplit('/').next().unwrap_or_default();
                let issued = |csr: &CsrView| csr.name == name && csr.issued();
                self.api.wait_until(SOON, |seen| seen.csrs().iter().any(issued)).await?;
            }
            name if name.contains("1.5 s later") => tokio::time::sleep(A_WHILE).await,
            "approval: deny" => {
                let spec = &scenario.body.as_ref().context("a body")?["spec"];
                self.ask_as_admin("denied-1795486508", spec, 1812).await?;
            }
            "signer refuses an approved but invalid request" => {
                let recorded = &scenario.response["body"];
                let mut created = self.ask_as_admin("forced-1795486508", &recorded["spec"], 1814).await?;
                let approved = &recorded["status"]["conditions"][0];
                created["status"] = json!({"conditions": [{
                    "type": "Approved", "status": "True", "reason": approved["reason"], "message": approved["message"],
                }]});
                let path = format!("{CSRS}/forced-1795486508/approval");
                let reply = self.client("admin")?.send(Method::PUT, &path, "application/json", Some(&created)).await?;
                assert_eq!(reply.status, 200, "approving by hand: {}", reply.text());
                let failed = |csr: &CsrView| csr.state == CsrState::Failed;
                self.api.wait_until(SOON, |seen| seen.csrs().iter().any(failed)).await?;
            }
            "pods: on own node" => {
                for pod in scenario.response["body"]["items"].as_array().into_iter().flatten() {
                    let mut pod = pod.clone();
                    pod["kind"] = Value::from("Pod");
                    self.seed(&pod)?;
                }
                let mut elsewhere = find(scenarios, "pods: on own node")?.response["body"]["items"][0].clone();
                elsewhere["kind"] = Value::from("Pod");
                elsewhere["metadata"]["name"] = Value::from("other-1795486508");
                elsewhere["spec"]["nodeName"] = Value::from("node-b");
                self.api.apply(elsewhere)?;
                for name in ["guarded-1795486508", "guarded"] {
                    let selector = json!({"matchLabels": {"app": "guarded"}});
                    let budget = json!({
                        "kind": "PodDisruptionBudget", "metadata": {"name": name, "namespace": "default"},
                        "spec": {"minAvailable": 1, "selector": selector},
                    });
                    self.api.apply(budget)?;
                }
            }
            _ => {}
        }
        // The real cluster had other writers; the version the answer was given at says how far they had come.
        if let Some(version) = scenario.version() {
            let read = scenario.method == Method::GET;
            self.api.advance_version_to(if read { version } else { version - 1 });
        }
        Ok(())
    }

    async fn ask_as_admin(&self, name: &str, spec: &Value, version: u64) -> Result<Value> {
        self.api.advance_version_to(version - 1);
        let kind = "CertificateSigningRequest";
        let object =
            json!({"apiVersion": "certificates.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        let reply = self.client("admin")?.post(CSRS, &object).await?;
        assert_eq!(reply.status, 201, "{name}: {}", reply.text());
        Ok(reply.json())
    }

    /// The recorded body, with the uid that the object has here in place of the one it had there.
    fn body(&self, scenario: &Scenario) -> Option<Value> {
        let mut body = scenario.body.clone()?;
        if body["metadata"]["uid"].is_string() {
            let name = body["metadata"]["name"].as_str()?.to_owned();
            let namespace = body["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
            let plural = format!("{}s", body["kind"].as_str()?.to_lowercase());
            let here = self.api.look(|seen| seen.object(&plural, &namespace, &name))?;
            body["metadata"]["uid"] = here["metadata"]["uid"].clone();
        }
        Some(body)
    }

    async fn ask(&self, scenario: &Scenario) -> Result<Vec<String>> {
        match scenario.watch_lines() {
            Some(lines) => self.ask_watch(scenario, lines).await,
            None => {
                let body = self.body(scenario);
                let mut client = self.client(&scenario.who)?;
                let reply =
                    client.send(scenario.method.clone(), &scenario.path, &scenario.content_type, body.as_ref()).await?;
                Ok(compared(scenario, &reply))
            }
        }
    }

    async fn ask_watch(&self, scenario: &Scenario, wanted: &[Value]) -> Result<Vec<String>> {
        let mut watch = self.client(&scenario.who)?.watch(&scenario.path).await?;
        // That client stops as soon as it has its certificate; all others read to the end.
        let until_issued = scenario.name.ends_with("until issued");
        if until_issued {
            let first = wanted.first().context("a first line")?;
            let object = json!({
                "apiVersion": first["object"]["apiVersion"], "kind": first["object"]["kind"],
                "metadata": {"name": first["object"]["metadata"]["name"]}, "spec": first["object"]["spec"],
            });
            let reply = self.client(&scenario.who)?.post(CSRS, &object).await?;
            assert_eq!(reply.status, 201, "{}", reply.text());
        }
        let mut got = Vec::new();
        while let Some(line) = watch.next().await? {
            let issued = line["object"]["status"]["certificate"].is_string();
            got.push(line);
            if until_issued && issued {
                break;
            }
        }
        let mut differences = Vec::new();
        compare("number of lines", &json!(wanted.len()), &json!(got.len()), &mut differences);
        for (index, (wanted, got)) in wanted.iter().zip(&got).enumerate() {
            compare(&format!("line {index}"), &steady(wanted), &steady(got), &mut differences);
        }
        Ok(differences)
    }
}

fn find<'a>(scenarios: &'a [Scenario], name: &str) -> Result<&'a Scenario> {
    scenarios.iter().find(|scenario| scenario.name == name).with_context(|| format!("no scenario {name:?}"))
}

fn compared(scenario: &Scenario, reply: &Reply) -> Vec<String> {
    let mut differences = Vec::new();
    compare("status", &scenario.response["status"], &json!(reply.status.as_u16()), &mut differences);
    let header = |name: &str| reply.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    compare(
        "Content-Type",
        &scenario.response["headers"]["Content-Type"],
        &Value::from(header("content-type")),
        &mut differences,
    );
    if !header("date").ends_with(" GMT") {
        differences.push(format!("Date: {:?}", header("date")));
    }
    let wanted = &scenario.response["body"];
    let got = if wanted.is_string() { Value::from(reply.text()) } else { reply.json() };
    // The issue's own list first, so that a failure names what matters most.
    for field in ["kind", "reason", "message", "code"] {
        compare(field, &wanted[field], &got[field], &mut differences);
    }
    let (mut wanted, mut got) = (steady(wanted), steady(&got));
    for (name, pointer, _why) in NOT_FOLLOWED {
        if *name == scenario.name {
            for side in [&mut wanted, &mut got] {
                if let Some(value) = side.pointer_mut(pointer) {
                    *value = Value::from("not followed");
                }
            }
        }
    }
    compare("body", &wanted, &got, &mut differences);
    differences
}

/// Parts of bodies that cannot be followed by rules, each with its reason.
const NOT_FOLLOWED: &[(&str, &str, &str)] = &[
    (
        "lease: get",
        "/spec/holderIdentity",
        "the recorder changed its copy of the answer before it wrote it down: the version is the unchanged one's",
    ),
    ("event: on own node", "/metadata/name", "the end of a generated name is random"),
];

/// What may differ between two clusters that follow the same rules: identities, times, keys, builds and field managers.
fn steady(value: &Value) -> Value {
    const DROPPED: [&str; 2] = ["managedFields", "kubectl.kubernetes.io/last-applied-configuration"];
    const MASKED: [&str; 12] = [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "lastUpdateTime",
        "lastTransitionTime",
        "certificate",
        "authentication.kubernetes.io/credential-id",
        "gitVersion",
        "gitCommit",
        "gitTreeState",
        "buildDate",
        "goVersion",
    ];
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(field, _)| !DROPPED.contains(&field.as_str()))
            .map(|(field, value)| {
                let masked = MASKED.contains(&field.as_str()) && !value.is_null();
                (field.clone(), if masked { Value::from("…") } else { steady(value) })
            })
            // An object that held only what was dropped is as good as none.
            .filter(|(field, value)| !(field == "annotations" && *value == json!({})))
            .collect(),
        Value::Array(items) => items.iter().map(steady).collect(),
        other => other.clone(),
    }
}

fn compare(what: &str, wanted: &Value, got: &Value, differences: &mut Vec<String>) {
    match (wanted, got) {
        (Value::Object(a), Value::Object(b)) => {
            for field in a.keys().chain(b.keys().filter(|field| !a.contains_key(*field))) {
                compare(&format!("{what}.{field}"), &wanted[field], &got[field], differences);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{what}[{index}]"), a, b, differences);
            }
        }
        _ if wanted == got => {}
        _ => differences.push(format!("{what}: recorded {wanted}, got {got}")),
    }
}

#[tokio::test]
async fn every_recorded_scenario_is_answered_as_the_real_server_did() -> Result<()> {
    let recorded: Vec<Value> = serde_json::from_str(RECORDING)?;
    let scenarios = recorded.iter().map(Scenario::of).collect::<Result<Vec<_>>>()?;
    let cluster = Cluster::new().await?;
    cluster.before_all(&scenarios)?;
    let mut wrong = Vec::new();
    for (number, scenario) in scenarios.iter().enumerate() {
        cluster.before(scenario, &scenarios).await.with_context(|| scenario.name.clone())?;
        let differences = cluster.ask(scenario).await.with_context(|| scenario.name.clone())?;
        let verdict = if differences.is_empty() { "as recorded" } else { "DIFFERENT" };
        println!("{number:3} {verdict}: {} ({} {})", scenario.name, scenario.method, scenario.path);
        wrong.extend(differences.into_iter().map(|difference| format!("{}: {difference}", scenario.name)));
    }
    println!("{} scenarios covered, {} parts of bodies not followed:", scenarios.len(), NOT_FOLLOWED.len());
    for (name, pointer, why) in NOT_FOLLOWED {
        println!("    {name}{pointer}: {why}");
    }
    assert_eq!(scenarios.len(), 81, "the recording is whole");
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}
