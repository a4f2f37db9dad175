//! Names that are resolved again: periodically, and when an address of theirs does not answer.
//!
//! An address that a name does not resolve to any more is removed; when it does not resolve at all, the known addresses
//! stay. A name that does not resolve at the start does not end the gate: it reports that it is not ready, and retries.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::{Endpoint, EndpointAddress, Health, Server, Upstreams};

/// How long a start waits for its names.
const FIRST: Duration = Duration::from_secs(5);
/// How soon a name is asked for again while none of its addresses answers, and the least time between two questions.
const RETRY: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(250);
/// How many addresses of one name are used.
const MOST_ADDRESSES: usize = 32;

impl Upstreams {
    /// Follows every name on a task of its own, so that one that takes long to resolve delays no other. Returns when
    /// each has been asked for once.
    pub(super) async fn start_names(self: Arc<Self>) {
        let mut first = Vec::new();
        for index in 0..self.servers.len() {
            if self.servers[index].name().is_some() {
                let (asked, answered) = oneshot::channel();
                tokio::spawn(self.clone().follow(index, asked));
                first.push(answered);
            }
        }
        let all = async {
            for answered in first {
                let _ = answered.await;
            }
        };
        if timeout(FIRST, all).await.is_err() {
            tracing::warn!(
                "the names of upstream servers did not resolve in time; the gate starts without them"
            );
        }
    }

    async fn follow(self: Arc<Self>, index: usize, asked: oneshot::Sender<()>) {
        let server = &self.servers[index];
        let mut asked = Some(asked);
        // The last error of each name, so that each is logged once.
        let mut trouble: Option<String> = None;
        loop {
            let found = self.look_up(server).await;
            if let Some(asked) = asked.take() {
                let _ = asked.send(());
            }
            if found != trouble {
                log_trouble(server, found.as_deref());
                trouble = found;
            }
            let interval = self.settings.resolve_interval_ms.duration();
            let pause = if server.count(Health::Up) > 0 { interval } else { interval.min(RETRY) };
            sleep(PAUSE).await;
            let _ = timeout(pause, server.resolve.notified()).await;
        }
    }

    /// Takes up the addresses that the name resolves to; otherwise returns the problem.
    async fn look_up(&self, server: &Server) -> Option<String> {
        match self.resolver.resolve(server.name()?).await {
            Ok(addresses) if addresses.is_empty() => Some("it has no address".to_owned()),
            Ok(addresses) => {
                self.replace(server, addresses);
                None
            }
            Err(error) => Some(error.to_string()),
        }
    }

    fn replace(&self, server: &Server, mut addresses: Vec<SocketAddr>) {
        if addresses.len() > MOST_ADDRESSES {
            // In an order of its own: a resolver that turns its list must not look like one whose answers change.
            addresses.sort_unstable();
            addresses.truncate(MOST_ADDRESSES);
        }
        {
            let mut endpoints = server.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
            let targets: Vec<EndpointAddress> = addresses.into_iter().map(EndpointAddress::Tcp).collect();
            if targets.len() == endpoints.len()
                && targets.iter().all(|target| endpoints.iter().any(|endpoint| endpoint.target == *target))
            {
                return;
            }
            let known = |target: &EndpointAddress| {
                endpoints.iter().find(|endpoint| endpoint.target == *target).cloned()
            };
            let endpoint =
                |target| known(&target).or_else(|| Endpoint::new(target, &self.settings).ok().map(Arc::new));
            let next: Vec<Arc<Endpoint>> = targets.into_iter().filter_map(endpoint).collect();
            let shown: Vec<String> = next.iter().map(|endpoint| endpoint.target.to_string()).collect();
            tracing::info!(server = %server.address, addresses = shown.join(" "), "an upstream server's name was resolved");
            *endpoints = next;
        }
        self.publish();
    }
}

fn log_trouble(server: &Server, trouble: Option<&str>) {
    let address = &server.address;
    match trouble {
        None => {}
        Some(why) if server.endpoints().is_empty() => tracing::error!(
            server = %address, why,
            "the name of an upstream server does not resolve: no request can be sent there. Correct `servers` in \
             [upstream] or the machine's DNS; the gate keeps retrying"
        ),
        Some(why) => tracing::warn!(
            server = %address, why,
            "the name of an upstream server does not resolve any more: its last known addresses are used"
        ),
    }
}
