//! Console's servers: which addresses they have, which of them answer, and whose turn it is.
//!
//! A server is a socket, an address, or a name. A name is resolved again and again ([`names`]), all of its addresses are
//! used, and each has a health of its own ([`endpoint`]): a name of which one address is dead is a server that is up.

mod endpoint;
mod names;
mod resolver;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::join_all;
use metrics::gauge;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::settings::{Address, Settings, Upstream};

pub(super) use endpoint::Endpoint;
use endpoint::{EndpointAddress, Health};
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
    endpoints: Mutex<Vec<Arc<Endpoint>>>,
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

    fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, health: Health) -> usize {
        self.endpoints().iter().filter(|endpoint| endpoint.health() == health).count()
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

/// Console's servers, and those beside Console, by their names.
#[derive(Clone)]
pub struct Servers {
    pub console: Arc<Upstreams>,
    pub others: BTreeMap<String, Arc<Upstreams>>,
}

impl Servers {
    /// Prepares all servers that the settings name.
    ///
    /// # Errors
    ///
    /// The path of a socket cannot be one.
    pub fn new(settings: &Settings, resolver: &SharedResolver) -> Result<Servers, UpstreamError> {
        let hosts = &settings.firewall.allowed_hosts;
        let prepare = |of: &Upstream| Upstreams::new(of, hosts, resolver.clone()).map(Arc::new);
        let others = settings.upstreams.iter().map(|(name, of)| Ok((name.clone(), prepare(of)?)));
        Ok(Servers { console: prepare(&settings.upstream)?, others: others.collect::<Result<_, _>>()? })
    }

    /// Begins to resolve names and to check addresses, of all of them at once.
    pub async fn start(&self) {
        join_all(std::iter::once(&self.console).chain(self.others.values()).map(Upstreams::start)).await;
    }
}

/// The servers of Console, or of one service beside it.
pub struct Upstreams {
    servers: Vec<Server>,
    /// The addresses of all of them.
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
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
                (Address::Unix(path), _) => Some(EndpointAddress::Unix(path.clone())),
                (Address::Tcp(_), target) => target.map(EndpointAddress::Tcp),
            };
            let endpoint = target.map(|target| Endpoint::new(target, settings)).transpose();
            let endpoint =
                endpoint.map_err(|problem| UpstreamError { address: address.to_string(), problem })?;
            let endpoints = Mutex::new(endpoint.into_iter().map(Arc::new).collect());
            Ok(Server { address: address.clone(), endpoints, resolve: Notify::new() })
        };
        let servers = settings.servers.iter().map(server).collect::<Result<_, _>>()?;
        let upstreams = Upstreams {
            servers,
            endpoints: ArcSwap::default(),
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

    /// The next address in turn, of those that are up; else of those that were not checked yet; else any: a check that
    /// fails wrongly must not take Console down.
    pub(super) fn pick(&self) -> Option<Arc<Endpoint>> {
        let endpoints = self.endpoints.load();
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let in_turn =
            || (0..endpoints.len()).map(|step| &endpoints[start.wrapping_add(step) % endpoints.len()]);
        let with = |health| in_turn().find(|endpoint| endpoint.health() == health);
        with(Health::Up).or_else(|| with(Health::Unknown)).or_else(|| in_turn().next()).cloned()
    }

    /// Whether a request that was not sent, because this many servers refused the connection, may try another one.
    pub fn may_try_another(&self, closed: usize) -> bool {
        let endpoints = self.endpoints.load();
        let is_up = || endpoints.iter().any(|endpoint| endpoint.health() == Health::Up);
        closed < endpoints.len().min(self.most_tries()) && (closed < self.servers.len() || is_up())
    }

    /// No request tries more servers than these.
    pub fn most_tries(&self) -> usize {
        self.servers.len().max(MOST_TRIES)
    }

    /// Takes an address out of turn until its next good check, which is soon, and has its name resolved again.
    pub(super) fn suspect(&self, suspected: &Endpoint) {
        for server in &self.servers {
            for endpoint in server.endpoints() {
                if endpoint.target == suspected.target {
                    self.note(server, &endpoint, Health::Down, "a connection failed");
                }
            }
        }
    }

    /// Whether Console can be reached, as of the last checks.
    pub fn state(&self) -> UpstreamState {
        let endpoints = self.endpoints.load();
        match endpoints.iter().any(|endpoint| endpoint.health() == Health::Up) {
            true => UpstreamState::Up,
            false if endpoints.is_empty() => UpstreamState::Unresolved,
            false => UpstreamState::Down,
        }
    }

    /// Makes the servers' addresses those that requests go to.
    fn publish(&self) {
        self.endpoints.store(Arc::new(self.servers.iter().flat_map(Server::endpoints).collect()));
        self.check.notify_one();
    }

    /// Checks every address concurrently, so that a dead one delays no other.
    async fn watch(self: Arc<Self>) {
        loop {
            let all = |server| Server::endpoints(server).into_iter().map(move |endpoint| (server, endpoint));
            join_all(
                self.servers.iter().flat_map(all).map(|(server, endpoint)| self.check(server, endpoint)),
            )
            .await;
            self.show();
            sleep(ROUND).await;
            let _ = timeout(self.settings.health_interval_ms.duration(), self.check.notified()).await;
        }
    }

    /// Any answer below 500 is healthy: the content of the page does not matter, only that the server answers.
    async fn check(&self, server: &Server, endpoint: Arc<Endpoint>) {
        let patience = self.settings.connect_timeout_ms.duration() * 2;
        let answer = timeout(patience, endpoint.ask(&self.host, &self.settings.health_path)).await;
        match answer {
            Ok(Ok(status)) if status.as_u16() < 500 => self.note(server, &endpoint, Health::Up, "it answers"),
            Ok(Ok(status)) => self.note(server, &endpoint, Health::Down, &format!("it answers {status}")),
            Ok(Err(error)) => self.note(server, &endpoint, Health::Down, &error.to_string()),
            Err(_) => self.note(server, &endpoint, Health::Down, &format!("no answer within {patience:?}")),
        }
    }

    fn note(&self, server: &Server, endpoint: &Endpoint, health: Health, why: &str) {
        if !endpoint.set(health) {
            return;
        }
        let (server_name, address) = (&server.address, &endpoint.target);
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
            for (state, count) in [("up", up), ("down", server.endpoints().len() - up)] {
                gauge!("gate_upstream_addresses", "server" => label.clone(), "state" => state)
                    .set(count as f64);
            }
        }
    }
}

#[cfg(test)]
mod tests;
