//! A cluster in memory: an API server that speaks HTTP over a pipe, and a signer with kube-controller-manager's rules.
//! It has no socket, so it can be asked on a paused clock; who asks is what the connection was opened with.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use eyewall_core::cert::CertView;
use eyewall_core::csr::PATH;
use eyewall_core::rotation::clock::End;
use eyewall_core::time::Time;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, DATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SerialNumber,
};
use serde_json::{Value, json};

use crate::api::{ApiError, Bearer, Client, Dial, Dialing, Endpoint};
use crate::chain;

/// How far kube-controller-manager sets the start back, and pulls in the end of a certificate of 8 h and more
/// (`pkg/controller/certificates/authority/policies.go`).
const BACKDATED: Duration = Duration::from_secs(300);
/// The token that the bootstrap kubeconfig has.
pub const TOKEN: &str = "abcdef.0123456789abcdef";

/// The API server and its signer.
#[derive(Clone, Debug)]
pub struct Cluster(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: fn() -> SystemTime,
    ca: Issuer<'static, KeyPair>,
    ca_pem: String,
    ca_end: SystemTime,
    life: Duration,
    book: Mutex<Book>,
}

/// What was asked and issued.
#[derive(Debug, Default)]
pub struct Book {
    /// Requests, by what they were about.
    pub requests: BTreeMap<&'static str, u32>,
    /// Every certificate, in order.
    pub issued: Vec<CertView>,
    /// When each was issued.
    pub issued_at: Vec<SystemTime>,
    /// The most requests for certificates that were open at once.
    pub most_open: usize,
    csrs: BTreeMap<String, Value>,
}

impl Cluster {
    /// A cluster whose CA lives from now on for so long, and whose certificates live so long.
    pub fn new(clock: fn() -> SystemTime, authority: Duration, life: Duration) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        // Certificates have whole seconds.
        let start = Time::from_unix(Time(clock()).unix()).0;
        params.not_before = (start - BACKDATED).into();
        params.not_after = (start + authority).into();
        let ca_pem = params.self_signed(&key).unwrap().pem();
        let ca = Issuer::new(params, key);
        let shared = Shared { clock, ca, ca_pem, ca_end: start + authority, life, book: Mutex::default() };
        Self(Arc::new(shared))
    }

    /// The bootstrap kubeconfig, as Typhoon writes it.
    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: local\n  cluster:\n    server: https://cluster.example:6443\n    \
             certificate-authority-data: {}\nusers:\n- name: kubelet\n  user:\n    token: {TOKEN}\ncontexts:\n- context:\n    \
             cluster: local\n    user: kubelet\n",
            STANDARD.encode(&self.0.ca_pem)
        )
    }

    /// When its CA ends.
    pub fn ca_end(&self) -> SystemTime {
        self.0.ca_end
    }

    /// What was asked and issued so far.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap()
    }

    async fn answer(self, who: Who, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let now = (self.0.clock)();
        let (status, answer) = match who.user(now) {
            None => self.note("refused", 401, json!({"kind": "Status", "message": "Unauthorized"})),
            Some(user) => self.serve(&head.method, &head.uri.to_string(), &body, &user, now),
        };
        let date = jiff::Timestamp::try_from(now).unwrap().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let response = Response::builder().status(status).header(CONTENT_TYPE, "application/json").header(DATE, date);
        Ok(response.body(Full::from(answer.to_string() + "\n")).unwrap())
    }

    fn note(&self, what: &'static str, status: u16, answer: Value) -> (u16, Value) {
        *self.book().requests.entry(what).or_default() += 1;
        (status, answer)
    }

    fn serve(&self, method: &Method, target: &str, body: &Value, user: &Value, now: SystemTime) -> (u16, Value) {
        let name = |target: &str| target.rsplit(['/', '?', '&', '=']).next().unwrap_or_default().to_owned();
        match (method.as_str(), target) {
            ("GET", "/version") => self.note("version", 200, json!({"major": "1", "minor": "36"})),
            ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews") => {
                self.note("who-am-i", 201, json!({"status": {"userInfo": user}}))
            }
            ("POST", PATH) => {
                let mut csr = body.clone();
                let name = csr["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                csr["metadata"]["resourceVersion"] = "1".into();
                csr["metadata"]["uid"] = name.clone().into();
                let mut book = self.book();
                assert!(!book.csrs.contains_key(&name), "asked twice for one name");
                book.csrs.insert(name, csr.clone());
                let open = book.csrs.values().filter(|csr| csr["status"]["certificate"].is_null()).count();
                book.most_open = book.most_open.max(open);
                drop(book);
                self.note("create", 201, csr)
            }
            ("GET", target) if target.starts_with(PATH) && target.contains("watch=") => {
                let wanted =
                    target.split("metadata.name%3D").nth(1).map(|rest| name(rest.split('&').next().unwrap_or(rest)));
                let Some(csr) = wanted.and_then(|name| self.issue(&name, now)) else {
                    return self.note("watch", 500, json!({"message": "no such watch"}));
                };
                // One line, and the watch ends: that is what a watch may do at any time.
                self.note("watch", 200, json!({"type": "MODIFIED", "object": csr}))
            }
            ("GET", target) if target.starts_with(&format!("{PATH}/")) => {
                let csr = self.book().csrs.get(&name(target)).cloned();
                match csr {
                    Some(csr) => self.note("get", 200, csr),
                    None => {
                        self.note("get", 404, json!({"kind": "Status", "reason": "NotFound", "message": "not found"}))
                    }
                }
            }
            ("GET", target) if target.starts_with(PATH) => {
                let wanted = target.split("metadata.name%3D").nth(1).map(|rest| rest.split('&').next().unwrap_or(rest));
                let found: Vec<Value> =
                    wanted.and_then(|name| self.book().csrs.get(name).cloned()).into_iter().collect();
                self.note("list", 200, json!({"metadata": {"resourceVersion": "1"}, "items": found}))
            }
            other => panic!("nothing asks for {other:?}"),
        }
    }

    /// Approves and signs, as kube-controller-manager would.
    fn issue(&self, name: &str, now: SystemTime) -> Option<Value> {
        let mut book = self.book();
        let serial = book.issued.len() as u64 + 1;
        let csr = book.csrs.get_mut(name)?;
        if csr["status"]["certificate"].is_null() {
            assert!(now < self.0.ca_end, "asked for a certificate after the CA's end");
            let pem = STANDARD.decode(csr["spec"]["request"].as_str()?).ok()?;
            let mut asked = CertificateSigningRequestParams::from_pem(std::str::from_utf8(&pem).ok()?).unwrap();
            let now = Time::from_unix(Time(now).unix()).0;
            asked.params.not_before = (now - BACKDATED).into();
            asked.params.not_after = (now + self.0.life - BACKDATED).min(self.0.ca_end).into();
            asked.params.serial_number = Some(SerialNumber::from(serial));
            asked.params.is_ca = IsCa::ExplicitNoCa;
            asked.params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            asked.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            let certificate = asked.signed_by(&self.0.ca).unwrap();
            csr["status"] = json!({
                "conditions": [{"type": "Approved", "reason": "AutoApproved", "message": "", "status": "True"}],
                "certificate": STANDARD.encode(certificate.pem()),
            });
            let csr = csr.clone();
            book.issued.push(CertView::from_der(certificate.der()).unwrap());
            book.issued_at.push(now);
            return Some(csr);
        }
        Some(csr.clone())
    }
}

/// Who a connection was opened as.
#[derive(Clone, Debug)]
enum Who {
    Token,
    Node(Box<CertView>),
    Nobody,
}

impl Who {
    /// A SelfSubjectReview's userInfo; a certificate is judged at each request.
    fn user(&self, now: SystemTime) -> Option<Value> {
        match self {
            Self::Token => Some(json!({"username": "system:bootstrap:abcdef", "groups": ["system:bootstrappers"]})),
            Self::Node(leaf) if leaf.not_before.0 <= now && now < leaf.not_after.0 => Some(json!({
                "username": leaf.common_name,
                "groups": ["system:nodes", "system:authenticated"],
                "extra": {"authentication.kubernetes.io/credential-id": [format!("X509SHA256={}", leaf.sha256)]},
            })),
            Self::Node(_) | Self::Nobody => None,
        }
    }
}

impl Dial for Cluster {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint, bearer: Bearer, now: SystemTime) -> Dialing<'a> {
        let who = match &bearer {
            Bearer::Token(token) if token.expose() == TOKEN => Who::Token,
            Bearer::Token(_) | Bearer::Nobody => Who::Nobody,
            Bearer::Certificate(chain, _) => {
                let leaf = CertView::from_der(&chain[0]).unwrap();
                let der: Vec<Vec<u8>> = chain.iter().map(|der| der.to_vec()).collect();
                let vouched = chain::verify(&der, &self.0.ca_pem, leaf.not_after);
                if vouched.is_ok() { Who::Node(Box::new(leaf)) } else { Who::Nobody }
            }
        };
        Box::pin(async move {
            if now >= self.0.ca_end {
                return Err(ApiError::OutOfTime {
                    words: "the server's certificate has ended with its CA".to_owned(),
                    end: End::Ended(Time(self.ca_end())),
                });
            }
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let cluster = self.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| cluster.clone().answer(who.clone(), request));
                let server = hyper::server::conn::http1::Builder::new()
                    .auto_date_header(false)
                    .serve_connection(TokioIo::new(theirs), service);
                // It ends with its client.
                let _ = server.await;
            });
            endpoint.speak(ours, None).await as Result<Client, ApiError>
        })
    }
}
