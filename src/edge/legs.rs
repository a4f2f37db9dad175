//! The ways to every server: to Console, and to those beside it that rows name (`upstream = "raptor"`).

use std::collections::BTreeMap;
use std::sync::Arc;

use policy::decision::Permit;
use policy::identity::Principal;

use super::leg::Leg;
use super::spool::Buffers;
use super::upstream::{Servers, Upstreams};
use super::withheld::Withheld;
use crate::settings::{Settings, Upstream};

/// The ways to all servers.
pub(super) struct Legs {
    console: Leg,
    others: BTreeMap<String, Beside>,
    pub(super) buffers: Arc<Buffers>,
    session_cookie: String,
    /// Whether the gate begins sessions of its own: only the gate has their cookies.
    has_logins: bool,
}

/// The way to a server beside Console.
struct Beside {
    leg: Leg,
    host: Option<String>,
}

/// The way of one request.
pub(super) struct Way<'l> {
    pub(super) leg: &'l Leg,
    /// The Host that the server sees; without it, the client's.
    pub(super) host: Option<&'l str>,
    /// What the server does not learn.
    pub(super) withheld: Withheld<'l>,
}

impl Legs {
    pub(super) fn new(servers: Servers, buffers: Buffers, settings: &Settings) -> Legs {
        let buffers = Arc::new(buffers);
        let leg = |upstreams: Arc<Upstreams>, of: (&str, &Upstream)| {
            Leg::new(upstreams, buffers.clone(), of, settings)
        };
        let others = servers.others.into_iter().filter_map(|(name, upstreams)| {
            let of = settings.upstreams.get(&name)?;
            let leg = leg(upstreams, (&name, of));
            Some((name, Beside { leg, host: of.host.clone() }))
        });
        Legs {
            others: others.collect(),
            console: leg(servers.console, ("console", &settings.upstream)),
            session_cookie: settings.session.cookie_name.clone(),
            has_logins: settings.identity.is_some(),
            buffers,
        }
    }

    /// The way that a permit allows; `None` where its row names a server that this gate does not have.
    pub(super) fn of(&self, permit: &Permit) -> Option<Way<'_>> {
        let Some(name) = permit.upstream() else {
            return Some(Way {
                leg: &self.console,
                host: None,
                withheld: Withheld::from_console(self.has_logins),
            });
        };
        let beside = self.others.get(&**name)?;
        let authorization = matches!(permit.principal(), Some(Principal::Machine { .. }));
        let withheld = Withheld::of(&self.session_cookie, self.has_logins, authorization);
        Some(Way { leg: &beside.leg, host: beside.host.as_deref(), withheld })
    }
}
