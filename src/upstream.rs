//! Console's servers: which are up, and whose turn it is.

use std::net::ToSocketAddrs as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use metrics::gauge;
use pingora::upstreams::peer::HttpPeer;

use crate::settings::{Address, Upstream};

/// A server's address cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the upstream server `{address}` cannot be used: {problem}")]
pub struct UpstreamError {
    address: String,
    problem: String,
}

struct Server {
    address: Address,
    /// Prepared once; a request takes a clone.
    peer: HttpPeer,
    healthy: AtomicBool,
}

/// Console's servers.
pub struct Upstreams {
    servers: Vec<Server>,
    next: AtomicUsize,
    host: String,
    health_path: String,
    health_interval: Duration,
    health_timeout: Duration,
}

impl Upstreams {
    /// Resolves and prepares every server.
    ///
    /// # Errors
    ///
    /// A name does not resolve, or a socket path cannot be one.
    pub fn new(settings: &Upstream) -> Result<Upstreams, UpstreamError> {
        let servers = settings
            .servers
            .iter()
            .map(|address| {
                let peer = prepare(address, settings)
                    .map_err(|problem| UpstreamError { address: address.to_string(), problem })?;
                Ok(Server { address: address.clone(), peer, healthy: AtomicBool::new(true) })
            })
            .collect::<Result<_, _>>()?;
        Ok(Upstreams {
            servers,
            next: AtomicUsize::new(0),
            host: settings.host.clone(),
            health_path: settings.health_path.clone(),
            health_interval: settings.health_interval_ms.duration(),
            health_timeout: settings.connect_timeout_ms.duration() * 2,
        })
    }

    /// The next healthy server in turn. When none is healthy, the next one anyway: a check that fails wrongly must
    /// not take Console down.
    pub fn pick(&self) -> Option<HttpPeer> {
        let count = self.servers.len();
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let in_turn = || (0..count).map(|step| &self.servers[(start.wrapping_add(step)) % count]);
        in_turn()
            .find(|server| server.healthy.load(Ordering::Relaxed))
            .or_else(|| in_turn().next())
            .map(|server| server.peer.clone())
    }

    /// How many servers there are, healthy or not.
    pub fn count(&self) -> usize {
        self.servers.len()
    }

    /// Takes a server out of turn until its next good check.
    pub fn suspect(&self, peer: &HttpPeer) {
        use pingora::upstreams::peer::Peer as _;
        if let Some(server) = self.servers.iter().find(|server| server.peer.address() == peer.address()) {
            server.healthy.store(false, Ordering::Relaxed);
        }
    }

    /// Whether at least one server answered its last check.
    pub fn any_healthy(&self) -> bool {
        self.servers.iter().any(|server| server.healthy.load(Ordering::Relaxed))
    }

    /// Checks every server for as long as the task runs. Any answer below 500 is healthy: what the page says is
    /// Console's business, that it answers is ours.
    pub async fn watch(self: Arc<Self>) {
        loop {
            for server in &self.servers {
                let check = tokio::time::timeout(self.health_timeout, self.check(server)).await;
                let healthy = matches!(check, Ok(Ok(status)) if status.as_u16() < 500);
                if server.healthy.swap(healthy, Ordering::Relaxed) != healthy {
                    tracing::warn!(server = %server.address, healthy, "an upstream server changed its health");
                }
                gauge!("gate_upstream_healthy", "server" => server.address.to_string()).set(if healthy {
                    1.0
                } else {
                    0.0
                });
            }
            tokio::time::sleep(self.health_interval).await;
        }
    }

    async fn check(&self, server: &Server) -> anyhow::Result<http::StatusCode> {
        let request = http::Request::get(self.health_path.as_str())
            .header("host", &self.host)
            .header("user-agent", "console-gate-health")
            .body(Empty::<bytes::Bytes>::new())?;
        match &server.address {
            Address::Tcp(address) => get(tokio::net::TcpStream::connect(address).await?, request).await,
            Address::Unix(path) => get(tokio::net::UnixStream::connect(path).await?, request).await,
        }
    }
}

async fn get<S>(stream: S, request: http::Request<Empty<bytes::Bytes>>) -> anyhow::Result<http::StatusCode>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    connection.abort();
    Ok(response.status())
}

fn prepare(address: &Address, settings: &Upstream) -> Result<HttpPeer, String> {
    let mut peer = match address {
        Address::Tcp(name) => {
            let resolved = name
                .to_socket_addrs()
                .map_err(|error| error.to_string())?
                .next()
                .ok_or_else(|| "the name has no address".to_owned())?;
            HttpPeer::new(resolved, false, String::new())
        }
        Address::Unix(path) => {
            let path = path.to_str().ok_or_else(|| "the path is not UTF-8".to_owned())?;
            HttpPeer::new_uds(path, false, String::new()).map_err(|error| error.to_string())?
        }
    };
    let options = &mut peer.options;
    options.connection_timeout = Some(settings.connect_timeout_ms.duration());
    options.total_connection_timeout = Some(settings.connect_timeout_ms.duration());
    options.read_timeout = settings.read_timeout_ms.bound();
    options.write_timeout = settings.write_timeout_ms.bound();
    options.idle_timeout = settings.idle_timeout_ms.bound();
    Ok(peer)
}
