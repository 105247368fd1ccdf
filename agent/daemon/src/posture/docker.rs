//! docker, asked over its socket from which image the kubelet's container runs. Its own files do not say so in a form that is promised.

use std::path::Path;
use std::time::Duration;

use eyewall_core::kubelet::CONTAINER;
use eyewall_core::posture::Capture;
use eyewall_core::posture::read::ReadFault;
use eyewall_core::posture::read::container;

use super::capture::Paths;
use super::http::{Answer, AskFault, BODY_MAX, SocketFault, get_from_socket};
use super::selinux;

/// Where docker.socket listens, unless somebody moved it.
const SOCKET: &str = "/run/docker.sock";
/// The daemon. Its socket is systemd's, so connecting would start it where it is not used: on Fedora CoreOS.
const DAEMON: &str = "dockerd";
/// For one question; an idle docker takes a millisecond, one that pulls an image somewhat more.
const WITHIN: Duration = Duration::from_secs(3);

/// The image of the running container that is called `kubelet`. Missing where docker does not run, or has no such container running.
pub async fn kubelet_image(paths: &Paths) -> Capture {
    if !selinux::processes(&paths.at("/proc")).iter().any(|(_, comm)| comm == DAEMON) {
        return Capture::Missing;
    }
    let socket = paths.at(SOCKET);
    match asked(&socket).await {
        Ok(capture) | Err(capture) => capture,
    }
}

/// The capture, whether it is what was wanted or why there is none.
async fn asked(socket: &Path) -> Result<Capture, Capture> {
    // What comes holds the container's environment too, so only the image's id and names go on from here.
    let fault = |fault: ReadFault| match fault {
        ReadFault::Missing(_) => Capture::Missing,
        fault => Capture::failed(fault.kind(), &fault.to_string()),
    };
    let container = body(socket, &format!("/containers/{CONTAINER}/json")).await?;
    let container = String::from_utf8_lossy(&container);
    let id = container::image_in_docker(&container).map_err(fault)?;
    let image = body(socket, &format!("/images/{id}/json")).await?;
    let image = container::from_docker(&container, &String::from_utf8_lossy(&image));
    image.map(|image| Capture::record(&image)).map_err(|fault| Capture::failed(fault.kind(), &fault.to_string()))
}

async fn body(socket: &Path, path: &str) -> Result<zeroize::Zeroizing<Vec<u8>>, Capture> {
    match get_from_socket(socket, path, WITHIN).await {
        Ok(Answer { status: 200, body: Some(body) }) => Ok(body),
        Ok(Answer { body: None, .. }) => Err(Capture::too_large(BODY_MAX)),
        // docker's own words name the container, and nothing that is not known.
        Ok(Answer { status: 404, .. }) => Err(Capture::Missing),
        Ok(Answer { status, .. }) => {
            Err(Capture::failed("docker-refused", &format!("docker answers {status} to {path}.")))
        }
        Err(SocketFault::Connect(error)) => Err(match error.kind() {
            std::io::ErrorKind::NotFound => Capture::failed(
                "no-socket",
                &format!("docker runs, and its socket {} is not there: it is asked nowhere else.", socket.display()),
            ),
            std::io::ErrorKind::PermissionDenied => Capture::Denied(format!(
                "to use {}: the agent must be root, and SELinux must allow it",
                socket.display()
            )),
            _ => Capture::failed("docker-away", &format!("{}: {error}", socket.display())),
        }),
        Err(SocketFault::Answer(fault @ AskFault::Unreachable(_))) => {
            Err(Capture::failed("docker-silent", &format!("docker, asked for {path}: {fault}")))
        }
        Err(SocketFault::Answer(fault)) => Err(Capture::failed(fault.kind(), &format!("docker: {fault}"))),
    }
}
