//! dockerd's API on a socket in the file system, as far as the agent asks it
//! (<https://docs.docker.com/reference/api/engine/version/v1.47/>), and a process of its name.

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::UnixListener;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// A container.
#[derive(Clone, Debug)]
pub struct Container {
    /// Without the slash that docker puts before it.
    pub name: String,
    /// Otherwise it has exited.
    pub running: bool,
    /// 64 hex digits.
    pub image: String,
    /// `NAME=value`.
    pub environment: Vec<String>,
}

/// An image.
#[derive(Clone, Debug)]
pub struct Image {
    /// 64 hex digits.
    pub id: String,
    /// `repository:tag`; docker's own hub is left out.
    pub tags: Vec<String>,
    /// `repository@sha256:…`.
    pub digests: Vec<String>,
}

/// What docker has, and how it is.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Its containers.
    pub containers: Vec<Container>,
    /// Its images.
    pub images: Vec<Image>,
    /// It takes requests and does not answer.
    pub hangs: bool,
    /// It answers with this, whatever is asked.
    pub says: Option<(u16, Vec<u8>)>,
}

/// The daemon, while this lives.
#[derive(Debug)]
pub struct Docker {
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
    _process: Option<Child>,
}

impl Docker {
    /// Listens at `socket`, without a process of the daemon's name: as systemd does where nobody has used docker yet.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn listen(socket: &Path, state: State) -> Result<Self> {
        let listener = UnixListener::bind(socket).with_context(|| format!("{}", socket.display()))?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(serve(listener, Arc::new(state), Arc::clone(&asked)));
        Ok(Self { asked, task, _process: None })
    }

    /// Listens at `socket`, with a process that is called `dockerd`; its program is put into `directory`.
    ///
    /// # Errors
    /// The socket or the process cannot be made.
    pub fn start(socket: &Path, directory: &Path, state: State) -> Result<Self> {
        let mut docker = Self::listen(socket, state)?;
        let program = directory.join("dockerd");
        std::os::unix::fs::symlink("/bin/sleep", &program)?;
        docker._process = Some(Command::new(program).arg("600").kill_on_drop(true).spawn()?);
        Ok(docker)
    }

    /// The paths that were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: UnixListener, state: Arc<State>, asked: Arc<Mutex<Vec<String>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (state, asked) = (Arc::clone(&state), Arc::clone(&asked));
        tokio::spawn(async move {
            let answer = |request: Request<Incoming>| {
                let path = request.uri().path().to_owned();
                asked.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
                let (status, body) = state.answer(request.method().as_str(), &path);
                let hangs = state.hangs;
                async move {
                    if hangs {
                        sleep(Duration::from_secs(600)).await;
                    }
                    let mut response = Response::new(Full::new(Bytes::from(body)));
                    *response.status_mut() = status.try_into().unwrap_or_default();
                    Ok::<_, Infallible>(response)
                }
            };
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
}

impl State {
    fn answer(&self, method: &str, path: &str) -> (u16, Vec<u8>) {
        if let Some(said) = &self.says {
            return said.clone();
        }
        let missing = |what: &str| (404, json!({"message": format!("No such {what}")}).to_string().into_bytes());
        if method != "GET" {
            return (405, json!({"message": "page not found"}).to_string().into_bytes());
        }
        let inner = |prefix: &str| path.strip_prefix(prefix).and_then(|rest| rest.strip_suffix("/json"));
        if let Some(name) = inner("/containers/") {
            return match self.containers.iter().find(|container| container.name == name) {
                Some(container) => (200, container.inspected().to_string().into_bytes()),
                None => missing(&format!("container: {name}")),
            };
        }
        if let Some(id) = inner("/images/") {
            let id = id.strip_prefix("sha256:").unwrap_or(id);
            return match self.images.iter().find(|image| image.id == id) {
                Some(image) => (200, image.inspected().to_string().into_bytes()),
                None => missing(&format!("image: {id}")),
            };
        }
        (404, json!({"message": "page not found"}).to_string().into_bytes())
    }
}

impl Container {
    fn inspected(&self) -> serde_json::Value {
        json!({
            "Id": "c0ffee".repeat(10) + "c0ff",
            "Created": "2026-07-14T06:01:12.5Z",
            "Path": "kubelet",
            "State": {
                "Status": if self.running { "running" } else { "exited" },
                "Running": self.running, "Paused": false, "Restarting": false, "ExitCode": 0, "Error": "",
            },
            "Image": format!("sha256:{}", self.image),
            "Name": format!("/{}", self.name),
            "Driver": "overlay2",
            "HostConfig": {"Privileged": true, "NetworkMode": "host", "PidMode": "host"},
            "GraphDriver": {"Name": "overlay2", "Data": {"MergedDir": "/var/lib/docker/overlay2/0a0b/merged"}},
            "Config": {"Env": self.environment, "Image": "quay.io/poseidon/kubelet:v1.36.2"},
        })
    }
}

impl Image {
    fn inspected(&self) -> serde_json::Value {
        json!({
            "Id": format!("sha256:{}", self.id),
            "RepoTags": self.tags,
            "RepoDigests": self.digests,
            "Created": "2026-07-01T00:00:00Z", "Architecture": "amd64", "Os": "linux", "Size": 400_000_000,
        })
    }
}
