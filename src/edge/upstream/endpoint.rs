//! One address at which Console answers, and whether it does.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};

use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use pingora::upstreams::peer::{HttpPeer, Peer as _};
use tokio::task::JoinSet;

use crate::settings::Upstream;

/// Where a connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EndpointAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndpointAddress::Tcp(address) => address.fmt(f),
            EndpointAddress::Unix(path) => path.display().fmt(f),
        }
    }
}

/// The health of an endpoint, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Health {
    /// Not checked yet.
    Unknown,
    Up,
    Down,
}

/// One address of a server.
#[derive(Debug)]
pub(in crate::edge) struct Endpoint {
    pub(super) target: EndpointAddress,
    /// What pingora connects to.
    pub(in crate::edge) peer: HttpPeer,
    /// The connections that may serve each other's requests have the same number.
    pub(in crate::edge) reuse: u64,
    health: AtomicU8,
}

impl Endpoint {
    /// # Errors
    ///
    /// The path of a socket cannot be one.
    pub(super) fn new(target: EndpointAddress, settings: &Upstream) -> Result<Endpoint, String> {
        let mut peer = match &target {
            EndpointAddress::Tcp(address) => HttpPeer::new(*address, false, String::new()),
            EndpointAddress::Unix(path) => {
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
        let reuse = peer.reuse_hash();
        Ok(Endpoint { target, peer, reuse, health: AtomicU8::new(Health::Unknown as u8) })
    }

    pub(super) fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            up if up == Health::Up as u8 => Health::Up,
            down if down == Health::Down as u8 => Health::Down,
            _ => Health::Unknown,
        }
    }

    /// Notes what a check or a request has found. Whether that is news.
    pub(super) fn set(&self, health: Health) -> bool {
        self.health.swap(health as u8, Ordering::Relaxed) != health as u8
    }

    /// Asks for a page over a connection of its own.
    pub(super) async fn ask(&self, host: &str, path: &str) -> anyhow::Result<http::StatusCode> {
        let request = http::Request::get(path)
            .header("host", host)
            .header("user-agent", "console-gate-health")
            .body(Empty::<bytes::Bytes>::new())?;
        match &self.target {
            EndpointAddress::Tcp(address) => {
                get(tokio::net::TcpStream::connect(address).await?, request).await
            }
            EndpointAddress::Unix(path) => get(tokio::net::UnixStream::connect(path).await?, request).await,
        }
    }
}

async fn get<S>(stream: S, request: http::Request<Empty<bytes::Bytes>>) -> anyhow::Result<http::StatusCode>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ended with this value, also when the check takes too long and is given up.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    Ok(sender.send_request(request).await?.status())
}
