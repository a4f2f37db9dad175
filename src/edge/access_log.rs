//! The data on a request that has ended, for the metrics and the access log.
//!
//! The access log: a line for each request that was read, where `[log] access` asks for one. It is part of the gate's log,
//! under the name `access`, so it has that log's form and goes where it goes.
//!
//! It has neither a query nor an address, which could hold a secret or a person's whereabouts. Requests that the firewall
//! refuses are not in it: `GET /api/gate/refusals` has them.

use std::sync::Arc;
use std::time::Duration;

use policy::decision::Permit;
use policy::firewall::Request;
use policy::ids::RequestId;

use crate::ruling::response::About;

/// The content of a line besides the request itself.
#[derive(Default)]
pub(super) struct Line {
    pub(super) route: Option<Arc<str>>,
    /// An admin or a machine, where one had to be known.
    pub(super) actor: Option<String>,
    /// Why it was denied.
    pub(super) reason: Option<&'static str>,
    /// What let it in.
    pub(super) gate: Option<&'static str>,
    pub(super) cluster: Option<Arc<str>>,
    /// The server beside Console that it went to.
    pub(super) upstream: Option<Arc<str>>,
    /// Until the head of the upstream's response, or until it was given up.
    pub(super) upstream_took: Option<Duration>,
    /// The status of that response.
    pub(super) upstream_status: Option<u16>,
}

impl Line {
    pub(super) fn of_permit(&mut self, permit: &Permit) {
        self.route = permit.route().cloned();
        self.actor = permit.principal().map(|principal| principal.id().to_owned());
        self.gate = Some(permit.let_in_by().word());
        self.cluster = permit.cluster().cloned();
        self.upstream = permit.upstream().cloned();
    }

    pub(super) fn of_answer(&mut self, about: Option<&About>) {
        let Some(about) = about else { return };
        self.route.clone_from(&about.route);
        self.cluster.clone_from(&about.cluster);
        self.actor.clone_from(&about.actor);
        self.reason = about.reason;
    }

    pub(super) fn write(
        &self,
        request: &Request,
        id: RequestId,
        (status, outcome): (u16, &'static str),
        took: Duration,
    ) {
        let milliseconds = |took: Duration| took.as_secs_f64() * 1_000.0;
        let field = |name: &str| {
            let mut values =
                request.fields().iter().filter(|(other, _)| *other == name).map(|(_, value)| value);
            values.next().and_then(|value| std::str::from_utf8(value).ok())
        };
        tracing::info!(
            target: "access",
            method = request.method().as_str(),
            path = request.target().path_raw(),
            status,
            outcome,
            route = self.route.as_deref(),
            reason = self.reason,
            actor = self.actor.as_deref(),
            gate = self.gate,
            cluster = self.cluster.as_deref(),
            upstream = self.upstream.as_deref(),
            took_ms = milliseconds(took),
            upstream_ms = self.upstream_took.map(milliseconds),
            request_id = %id,
            traceparent = field("traceparent"),
        );
    }
}
