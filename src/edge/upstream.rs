//! Console's servers: which addresses they have, which of them answer, and whose turn it is.
//!
//! A server is a socket, an address, or a name. A name is resolved again and again ([`names`]), all of its addresses are
//! used, and each has a health of its own ([`place`]): a name of which one address is dead is a server that is up.

mod endpoint;
mod names;
mod resolver;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::join_all;
use metrics::gauge;
use pingora::upstreams::peer::{HttpPeer, Peer as _};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::settings::{Address, Upstream};

use endpoint::{Endpoint, Health, Target};
pub use resolver::{Resolve, SharedResolver, SystemResolver};

/// The least time between two rounds of checks, whatever asks for one.
const ROUND: Duration = Duration::from_millis(100);
/// How many addresses a request may be sent to that do not take the connection, where there are fewer servers.
const MOST_TRIES: usize = 16;

/// A server's address cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the upstream server `{address}` cannot be used: {problem}. Correct `servers` in [upstream]")]
pub struct UpstreamError {
    address: String,
    problem: String,
}

/// A server as the settings name it.
struct Server {
    address: Address,
    places: Mutex<Vec<Arc<Endpoint>>>,
    /// Asks for its name to be resolved before it is time.
    resolve: Notify,
}

impl Server {
    /// The name, where the address is one that has to be resolved.
    fn name(&self) -> Option<&str> {
        match &self.address {
            Address::Tcp(name) if self.address.socket_address().is_none() => Some(name),
            Address::Tcp(_) | Address::Unix(_) => None,
        }
    }

    fn places(&self) -> Vec<Arc<Endpoint>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, health: Health) -> usize {
        self.places().iter().filter(|place| place.health() == health).count()
    }
}

/// Whether Console can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamState {
    /// At least one address answered its last check.
    Up,
    /// None did, or none was asked yet.
    Down,
    /// No name resolves, and none ever did.
    Unresolved,
}

impl UpstreamState {
    /// The word that `/readyz` uses.
    pub fn word(self) -> &'static str {
        match self {
            UpstreamState::Up => "up",
            UpstreamState::Down => "down",
            UpstreamState::Unresolved => "unresolved",
        }
    }
}

/// Console's servers.
pub struct Upstreams {
    servers: Vec<Server>,
    /// The addresses of all of them.
    places: ArcSwap<Vec<Arc<Endpoint>>>,
    next: AtomicUsize,
    settings: Upstream,
    /// What checks ask for.
    host: String,
    resolver: SharedResolver,
    /// Asks for a round of checks before it is time.
    check: Notify,
}

impl Upstreams {
    /// Prepares every server that needs no resolving.
    ///
    /// # Errors
    ///
    /// The path of a socket cannot be one.
    pub fn new(
        settings: &Upstream,
        allowed_hosts: &[String],
        resolver: SharedResolver,
    ) -> Result<Upstreams, UpstreamError> {
        // Requests carry their client's Host, which these are: a check has none of its own.
        let host = settings.host.as_ref().or(allowed_hosts.first());
        let host = host.map_or_else(|| "localhost".to_owned(), ToOwned::to_owned);
        let server = |address: &Address| {
            let target = match (address, address.socket_address()) {
                (Address::Unix(path), _) => Some(Target::Unix(path.clone())),
                (Address::Tcp(_), target) => target.map(Target::Tcp),
            };
            let place = target.map(|target| Endpoint::new(target, settings)).transpose();
            let place = place.map_err(|problem| UpstreamError { address: address.to_string(), problem })?;
            let places = Mutex::new(place.into_iter().map(Arc::new).collect());
            Ok(Server { address: address.clone(), places, resolve: Notify::new() })
        };
        let servers = settings.servers.iter().map(server).collect::<Result<_, _>>()?;
        let upstreams = Upstreams {
            servers,
            places: ArcSwap::default(),
            next: AtomicUsize::new(0),
            settings: settings.clone(),
            host,
            resolver,
            check: Notify::new(),
        };
        upstreams.publish();
        Ok(upstreams)
    }

    /// Begins to resolve names and to check addresses, for as long as the runtime lives. Returns when every name was
    /// asked for once, or has had its time.
    pub async fn start(self: &Arc<Self>) {
        self.clone().start_names().await;
        tokio::spawn(self.clone().watch());
    }

    /// The next address in turn, of those that are up; else of those that nobody has asked yet; else any: a check that
    /// fails wrongly must not take Console down.
    pub fn pick(&self) -> Option<HttpPeer> {
        let places = self.places.load();
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let in_turn = || (0..places.len()).map(|step| &places[start.wrapping_add(step) % places.len()]);
        let with = |health| in_turn().find(|place| place.health() == health);
        with(Health::Up)
            .or_else(|| with(Health::Unknown))
            .or_else(|| in_turn().next())
            .map(|place| place.peer.clone())
    }

    /// Whether a request that found so many servers refusing, and was not sent, may try another one.
    pub fn may_try_another(&self, closed: usize) -> bool {
        let places = self.places.load();
        let is_up = || places.iter().any(|place| place.health() == Health::Up);
        closed < places.len().min(self.most_tries()) && (closed < self.servers.len() || is_up())
    }

    /// No request tries more servers than these.
    pub fn most_tries(&self) -> usize {
        self.servers.len().max(MOST_TRIES)
    }

    /// Takes an address out of turn until its next good check, which is soon, and has its name resolved again.
    pub fn suspect(&self, peer: &HttpPeer) {
        for server in &self.servers {
            for place in server.places() {
                if place.peer.address() == peer.address() {
                    self.note(server, &place, Health::Down, "a connection failed");
                }
            }
        }
    }

    /// Whether Console can be reached, as of the last checks.
    pub fn state(&self) -> UpstreamState {
        let places = self.places.load();
        match places.iter().any(|place| place.health() == Health::Up) {
            true => UpstreamState::Up,
            false if places.is_empty() => UpstreamState::Unresolved,
            false => UpstreamState::Down,
        }
    }

    /// Makes the servers' addresses those that requests go to.
    fn publish(&self) {
        self.places.store(Arc::new(self.servers.iter().flat_map(Server::places).collect()));
        self.check.notify_one();
    }

    /// Checks every address, one beside the other: a dead one that takes its time delays no other.
    async fn watch(self: Arc<Self>) {
        loop {
            let all = |server| Server::places(server).into_iter().map(move |place| (server, place));
            join_all(self.servers.iter().flat_map(all).map(|(server, place)| self.check(server, place)))
                .await;
            self.show();
            sleep(ROUND).await;
            let _ = timeout(self.settings.health_interval_ms.duration(), self.check.notified()).await;
        }
    }

    /// Any answer below 500 is healthy: what the page says is Console's business, that it answers is ours.
    async fn check(&self, server: &Server, place: Arc<Endpoint>) {
        let patience = self.settings.connect_timeout_ms.duration() * 2;
        let answer = timeout(patience, place.ask(&self.host, &self.settings.health_path)).await;
        match answer {
            Ok(Ok(status)) if status.as_u16() < 500 => self.note(server, &place, Health::Up, "it answers"),
            Ok(Ok(status)) => self.note(server, &place, Health::Down, &format!("it answers {status}")),
            Ok(Err(error)) => self.note(server, &place, Health::Down, &error.to_string()),
            Err(_) => self.note(server, &place, Health::Down, &format!("no answer within {patience:?}")),
        }
    }

    fn note(&self, server: &Server, place: &Endpoint, health: Health, why: &str) {
        if !place.set(health) {
            return;
        }
        let (server_name, address) = (&server.address, &place.target);
        if health == Health::Up {
            tracing::info!(server = %server_name, %address, "an upstream server is available");
        } else {
            let page = &self.settings.health_path;
            tracing::warn!(
                server = %server_name, %address, why, page,
                "an upstream server is not used until it passes its health check: check that Console runs there"
            );
            server.resolve.notify_one();
            self.check.notify_one();
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "addresses are few")]
    fn show(&self) {
        for server in &self.servers {
            let up = server.count(Health::Up);
            let label = server.address.to_string();
            gauge!("gate_upstream_healthy", "server" => label.clone()).set(f64::from(u8::from(up > 0)));
            for (state, count) in [("up", up), ("down", server.places().len() - up)] {
                gauge!("gate_upstream_addresses", "server" => label.clone(), "state" => state)
                    .set(count as f64);
            }
        }
    }
}

#[cfg(test)]
mod tests;
