//! The thread a stand-in runs on, with a runtime of its own.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::sync::oneshot;

use super::tls::acceptor;
use super::world::Shared;
use super::{controllers, server};

/// A running stand-in.
#[derive(Debug)]
pub(super) struct Running {
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Running {
    /// Begins to listen; connections are taken when this returns. Port 0 takes a free one: the address is the real one.
    pub(super) fn begin(shared: &Arc<Shared>, listen: SocketAddr) -> Result<(SocketAddr, Self)> {
        let acceptor = acceptor(&shared.authority, &shared.options.names, shared.now())?;
        let listener = TcpListener::bind(listen).with_context(|| format!("listening on {listen}"))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(shared);
        let thread = std::thread::Builder::new().name("apiserver".to_owned()).spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                tokio::spawn(controllers::run(Arc::clone(&shared)));
                tokio::select! {
                    () = server::serve(shared, listener, acceptor) => {}
                    _ = stopped => {}
                }
            });
            // Everything that still runs on it is dropped here, and its sockets with it.
            drop(runtime);
        })?;
        Ok((address, Self { stop, thread }))
    }

    /// Ends it: the port is closed and every connection is cut when this returns.
    pub(super) fn end(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}
