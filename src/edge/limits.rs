//! The limits of one client at a time: connections, requests, streamed bodies, and requests without identity.
//!
//! A client is its address: that of the connection, or, behind the operator's own proxies, the one that these report.
//! Of IPv6 it is the /64, because that is what one customer has.
//!
//! Requests without identity are unlimited unless set: a gate that does not know its proxies would take everyone for one client.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use governor::clock::DefaultClock;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use policy::decision::Permit;

use crate::settings::Settings;

/// How many clients' rates are remembered before those that are idle are forgotten.
const MOST_RATES: usize = 10_000;

/// Which limit a client has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OverLimit {
    /// `connections_per_client`, counted as requests behind the operator's own proxies.
    Requests,
    /// `streams_per_client`.
    Streams,
    /// `anonymous_streams`.
    AnonymousStreams,
    /// `anonymous_per_second`.
    AnonymousRate,
}

impl OverLimit {
    /// The stable word for metrics and logs.
    pub(super) fn word(self) -> &'static str {
        match self {
            OverLimit::Requests => "requests",
            OverLimit::Streams => "streams",
            OverLimit::AnonymousStreams => "anonymous_streams",
            OverLimit::AnonymousRate => "anonymous_rate",
        }
    }
}

/// The limits, shared by all connections.
pub struct ClientLimits {
    connections: Slots<IpAddr>,
    requests: Option<Slots<IpAddr>>,
    streams: Slots<IpAddr>,
    anonymous_streams: Slots<()>,
    anonymous_rate: Option<RateLimiter<IpAddr, HashMapStateStore<IpAddr>, DefaultClock>>,
}

/// What a request has while it is served.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Admitted {
    _request: Option<Slot<IpAddr>>,
    _stream: Option<Slot<IpAddr>>,
    _anonymous_stream: Option<Slot<()>>,
}

impl ClientLimits {
    /// The limits that the settings name.
    pub fn new(settings: &Settings) -> ClientLimits {
        let firewall = &settings.firewall;
        let is_behind_proxies = settings.forwarded.trusted_hops > 0;
        let per_client = firewall.connections_per_client.0;
        let rate = NonZeroU32::new(firewall.anonymous_per_second);
        // Twice as many at once: a page asks for its style sheets and pictures in one go.
        let quota = rate.map(|rate| Quota::per_second(rate).allow_burst(rate.saturating_mul(TWICE)));
        ClientLimits {
            // Behind proxies all connections are theirs.
            connections: Slots::at_most(if is_behind_proxies { usize::MAX } else { per_client }),
            requests: is_behind_proxies.then(|| Slots::at_most(per_client)),
            streams: Slots::at_most(firewall.streams_per_client.0),
            anonymous_streams: Slots::at_most(firewall.anonymous_streams.0),
            anonymous_rate: quota.map(RateLimiter::hashmap),
        }
    }

    /// A slot for a connection; `None` where its client has as many as it may.
    pub(super) fn connect(&self, peer: Option<IpAddr>) -> Option<Option<Slot<IpAddr>>> {
        match peer {
            // A Unix socket: every process that may use it is trusted.
            None => Some(None),
            Some(peer) => self.connections.take(client(peer)).map(Some),
        }
    }

    /// Slots for a request that may pass.
    pub(super) fn admit(&self, address: Option<IpAddr>, permit: &Permit) -> Result<Admitted, OverLimit> {
        let Some(client) = address.map(client) else { return Ok(Admitted::default()) };
        let is_anonymous = permit.principal().is_none();
        if let Some(rate) = self.anonymous_rate.as_ref().filter(|_| is_anonymous) {
            if rate.len() > MOST_RATES {
                rate.retain_recent();
            }
            rate.check_key(&client).map_err(|_| OverLimit::AnonymousRate)?;
        }
        let take = |slots: &Slots<IpAddr>, over| slots.take(client).ok_or(over);
        let streams = permit.stream();
        Ok(Admitted {
            _request: self
                .requests
                .as_ref()
                .map(|requests| take(requests, OverLimit::Requests))
                .transpose()?,
            _stream: streams.then(|| take(&self.streams, OverLimit::Streams)).transpose()?,
            _anonymous_stream: (streams && is_anonymous)
                .then(|| self.anonymous_streams.take(()).ok_or(OverLimit::AnonymousStreams))
                .transpose()?,
        })
    }
}

const TWICE: NonZeroU32 = NonZeroU32::new(2).expect("not 0");

/// Whose address it is.
fn client(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => mapped.into(),
            None => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
        },
    }
}

/// A limited number of slots for each key.
#[derive(Clone, Debug)]
struct Slots<K> {
    taken: Arc<Mutex<HashMap<K, usize>>>,
    most: usize,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot<K: Copy + Eq + std::hash::Hash> {
    taken: Arc<Mutex<HashMap<K, usize>>>,
    key: K,
}

impl<K: Copy + Eq + std::hash::Hash> Slots<K> {
    fn at_most(most: usize) -> Slots<K> {
        Slots { taken: Arc::default(), most }
    }

    fn take(&self, key: K) -> Option<Slot<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(key).or_default();
        // An entry is only made for a slot that is taken: there is at least one.
        (*count < self.most).then(|| {
            *count += 1;
            Slot { taken: self.taken.clone(), key }
        })
    }
}

impl<K: Copy + Eq + std::hash::Hash> Drop for Slot<K> {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_holder_is_gone() {
        let slots = Slots::at_most(2);
        let first = slots.take('a').unwrap();
        let _second = slots.take('a').unwrap();
        assert!(slots.take('a').is_none());
        let _other = slots.take('b').unwrap();
        drop(first);
        assert!(slots.take('a').is_some());
        assert_eq!(slots.taken.lock().unwrap().len(), 2);
    }

    #[test]
    fn a_client_is_its_address_or_its_network() {
        let table = [
            ("203.0.113.9", "203.0.113.9"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ];
        for (address, expected) in table {
            assert_eq!(client(address.parse().unwrap()).to_string(), expected);
        }
    }
}
