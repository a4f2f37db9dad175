//! The gate at its addresses: pingora with the proxy in it, the admin address beside it, and how both end.

use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use pingora::listeners::L4BufferSettings;
use pingora::server::configuration::{Opt, ServerConf};
use pingora::server::{ExecutionPhase, Fds, ListenFds, RunArgs, Server};
use pingora::services::listening::Service;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, oneshot, watch};
use tokio::time::timeout;

use super::bound_service::{BoundService, until_accepting};
use super::listen_address::{ListenAddress, ListenAddresses};
use super::stop::{Stop, Ways};
use super::{Prepared, admin_address};
use crate::edge::front::{Connections, Front};
use crate::edge::listener::Listener;
use crate::edge::spool::Buffers;
use crate::edge::tls::Acceptor;
use crate::settings::Settings;

/// A record of TLS 1.2 at its largest (RFC 5246 6.2.3), with its header.
const TLS_RECORD: usize = 16 * 1024 + 2048 + 5;

/// A gate at its addresses.
pub(super) struct Serving {
    addresses: ListenAddresses,
    proxy: Listener,
    admin: Listener,
    connections: Connections,
    phases: broadcast::Receiver<ExecutionPhase>,
    /// Answers when pingora has returned.
    ended: oneshot::Receiver<()>,
    fds: ListenFds,
    router: Router,
    /// Kept, because the admin address closes without it: it answers while the gate drains.
    close_admin: Arc<watch::Sender<bool>>,
}

impl Serving {
    /// Listens at both addresses.
    ///
    /// # Errors
    ///
    /// Another process was faster, or the folder for temporary files cannot be used.
    pub(super) fn open(
        settings: &Settings,
        prepared: Prepared,
        mut addresses: ListenAddresses,
        fds: Fds,
        ways: Ways,
    ) -> anyhow::Result<Serving> {
        let buffers = Buffers::new(&settings.buffers)?;
        let proxy = prepared.proxy.clone();
        let fds: ListenFds = Arc::new(fds.into());
        addresses.open(&fds)?;
        let admin = Listener::default();
        let close_admin = Arc::new(watch::Sender::new(false));
        let router = prepared.router.clone();
        let listeners = (proxy.clone(), admin.clone());
        let stop = Stop::new(&settings.listen, fds.clone(), listeners, close_admin.clone(), ways)?;
        let (server, connections) = proxy_server(settings, prepared, buffers, &addresses.proxy, fds.clone());
        let phases = server.watch_execution_phase();
        let (ending, ended) = oneshot::channel();
        // pingora runs the proxy on threads of its own, and takes its tasks down wherever they are when it returns.
        std::thread::spawn(move || {
            server.run(RunArgs { shutdown_signal: Box::new(stop) });
            let _ = ending.send(());
        });
        Ok(Serving { addresses, proxy, admin, connections, phases, ended, fds, router, close_admin })
    }

    /// Serves until a signal stops the gate, and drains. Calls `listening` once both addresses have accepted a connection.
    ///
    /// # Errors
    ///
    /// No connection is accepted at one of them.
    pub(super) async fn until_it_stops(
        mut self,
        settings: &Settings,
        listening: impl FnOnce(),
    ) -> anyhow::Result<()> {
        let (proxy, admin) = (self.addresses.proxy.target(), self.addresses.admin.target());
        until_accepting(&proxy, &self.proxy).await?;
        // Only now: at a hand-over both gates accept at the admin address, and neither may say that it is not ready.
        let stop = self.close_admin.subscribe();
        let (router, limits) = (self.router.clone(), settings.admin.clone());
        admin_address::serve(&self.addresses.admin, &self.fds, router, &self.admin, limits, stop);
        until_accepting(&admin, &self.admin).await?;
        let tls = settings.tls.certificate_file.is_some();
        tracing::info!(address = %proxy, %admin, tls, "the gate listens");
        listening();
        loop {
            tokio::select! {
                ended = &mut self.ended => return ended.context("the proxy has crashed"),
                phase = self.phases.recv() => match phase {
                    // From here on pingora sleeps for as long as a request may take, whether there is one or not.
                    Ok(ExecutionPhase::ShutdownGracePeriod) => break,
                    Err(RecvError::Closed) => return self.ended.await.context("the proxy has crashed"),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                },
                () = self.proxy.gone() => anyhow::bail!(closed(self.addresses.proxy.address())),
                () = self.admin.gone() => anyhow::bail!(closed(self.addresses.admin.address())),
            }
        }
        if timeout(settings.listen.drain_ms.duration(), self.connections.none_left()).await.is_err() {
            tracing::warn!("requests were still in progress when the drain time ended");
        }
        Ok(())
    }
}

fn closed(address: &str) -> String {
    format!(
        "`{address}` no longer accepts connections, so the gate stops: start it again, and report the log before \
         this line"
    )
}

/// What pingora buffers of each connection. The front gathers what it reads and writes itself; TLS asks for a few bytes at a
/// time, so a whole record has to fit, and it writes whole records.
fn l4_buffer(is_over_tls: bool) -> L4BufferSettings {
    L4BufferSettings::new(if is_over_tls { TLS_RECORD } else { 0 }, 0)
}

/// pingora with the proxy in it, which listens at its address.
fn proxy_server(
    settings: &Settings,
    prepared: Prepared,
    buffers: Buffers,
    address: &ListenAddress,
    fds: ListenFds,
) -> (Server, Connections) {
    let Prepared { gate, servers, certificates, proxy: listener, .. } = prepared;
    let listen = &settings.listen;
    let conf = ServerConf {
        threads: listen.threads.0,
        // The listeners close at once; requests under way have this long, and the gate goes on when they are done.
        grace_period_seconds: Some(listen.drain_ms.0.div_ceil(1000)),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(Opt::default(), conf);
    server.bootstrap();
    let patience = settings.tls.handshake_timeout_ms.duration();
    let buffer = l4_buffer(certificates.is_some());
    let acceptor = certificates.map(|certificates| Acceptor::new(certificates, patience));
    let front = Front::new(gate, servers, buffers, settings, acceptor, listener.clone());
    let connections = front.connections();
    let mut service = Service::new("console-gate".to_owned(), front);
    service.add_listener(address.listener().l4_buffer(buffer));
    service.threads = Some(listen.threads.0);
    server.add_service(BoundService { service, fds, listener });
    (server, connections)
}
