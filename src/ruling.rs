//! The gate: the outcome of one request, and the response to its caller.
//!
//! ```text
//! request -> ruling (route, identity, access, body, decision, audit) -> a permit, or an answer
//! ```
//!
//! It knows neither the socket that a request came from nor the server that it goes to, so that any other caller, such
//! as a proxy that forwards by itself, is ruled by the same code. Nothing is decided here: the matcher and
//! [`policy::decision`] do that, and the store is reached only through [`crate::freshness`] and [`crate::journal`].

pub mod client;
pub mod evaluation;
mod explain_command;
mod lasting;
pub mod message;
pub mod offer;
pub mod own_routes;
pub mod probe;
pub mod probing;
pub mod remembered;
pub mod request;
pub mod response;
mod settling;
pub mod strangers;
pub mod tickets;
pub mod troubles;
pub mod ways;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clock::SharedClock;
use ledger::keys::KeyRing;
use policy::decision::Permit;
use policy::firewall::{Policy, Request};
use policy::identity::flask_cookie::{CookieError, CookieVerifier, SessionIdField};
use policy::identity::login::TokenKeys;
use policy::identity::session_key::{SessionKey, TokenVerifier};
use policy::ids::RequestId;
use policy::mapping::Freshness;

use crate::activation::MappingHolder;
use crate::assertion::AssertionSigner;
use crate::freshness::AccessResolver;
use crate::freshness::slides::Slides;
use crate::journal::AuditWriter;
use crate::journal::decision_log::DecisionLog;
use crate::journal::drift::DriftReporter;
use crate::journal::refusals::UpstreamRefusals;
use crate::journal::refused::RefusedSample;
use crate::journal::repeats::Repeats;
use crate::journal::tally::TallyProgress;
use crate::ruling::own_routes::ServesOwnRoutes;
use crate::ruling::probe::ProbeKeys;
use crate::ruling::remembered::RememberedCookies;
use crate::ruling::strangers::Strangers;
use crate::ruling::tickets::TicketDesk;
use crate::ruling::troubles::Troubles;
use crate::ruling::ways::Asked;
use crate::settings::{AddressDetail, Pages, Settings};
use crate::spans::Tracer;
use crate::traffic::Traffic;

/// Everything that a request needs, shared by all of them.
pub struct Gate {
    pub mappings: Arc<MappingHolder>,
    pub access: Arc<AccessResolver>,
    pub audit: AuditWriter,
    /// Denials on unmapped paths that were recorded within the hour.
    pub repeats: Repeats,
    pub drift: DriftReporter,
    /// `None` where the settings keep none.
    pub decisions: Option<DecisionLog>,
    /// What Console refuses of what the gate lets in.
    pub refusals: UpstreamRefusals,
    /// What the firewall refuses.
    pub refused: RefusedSample,
    /// `None` where probes are refused.
    pub probes: Option<ProbeKeys>,
    pub cookies: SessionCredential,
    pub remembered: RememberedCookies,
    /// What moves the idle ends of the gate's own sessions; `None` where it begins none.
    pub slides: Option<Slides>,
    /// Why a session did not identify a principal.
    pub strangers: Strangers,
    /// Why requests are not served.
    pub troubles: Troubles,
    /// The outcomes of requests.
    pub traffic: Traffic,
    /// `None` where nothing is traced.
    pub tracer: Option<Tracer>,
    /// For Console.
    pub assertions: AssertionSigner,
    /// For the servers beside Console, by their names.
    pub upstream_assertions: BTreeMap<String, AssertionSigner>,
    /// What serves the rows with `gate = true`; `None` where nothing does, and they get 503.
    pub own_routes: Option<Arc<dyn ServesOwnRoutes>>,
    /// Knows which tickets are open; `None` where rows for a ticket admit only callers that need none.
    pub tickets: Option<Arc<dyn TicketDesk>>,
    /// The audit's keys, by which its rows name sessions.
    pub audit_keys: KeyRing,
    /// The clock for the dates of records and assertions.
    pub clock: SharedClock,
    /// The clock that expiries are compared with.
    pub steady_clock: SharedClock,
    pub policy: Policy,
    pub options: Options,
}

/// What verifies session cookies, by what they contain.
pub enum SessionCredential {
    /// The session itself.
    Flask(CookieVerifier),
    /// A token that the session is looked up by.
    Token(TokenVerifier),
    /// A token that the gate gave out.
    Gate(TokenKeys),
}

impl SessionCredential {
    /// The session that a cookie names, where it names one and is not the session itself.
    pub(crate) fn key_of(&self, cookie: &str, now: DateTime<Utc>) -> Result<SessionKey, CookieError> {
        match self {
            SessionCredential::Flask(_) => Err(CookieError::MalformedToken),
            SessionCredential::Token(tokens) => tokens.verify(cookie, now),
            SessionCredential::Gate(keys) => keys.verify(cookie),
        }
    }
}

impl Gate {
    /// A request, for an answer of the gate's own.
    pub fn asked<'r>(&'r self, request: &'r Request, id: RequestId) -> Asked<'r> {
        Asked { request, id, options: &self.options }
    }

    /// What signs for the server that a permitted request goes to; `None` where this gate does not have it.
    pub fn assertions_for(&self, permit: &Permit) -> Option<&AssertionSigner> {
        match permit.upstream() {
            None => Some(&self.assertions),
            Some(name) => self.upstream_assertions.get(&**name),
        }
    }

    /// How the writing of what requests report goes, by its kind.
    pub fn evidence(&self) -> impl Iterator<Item = (&'static str, TallyProgress)> {
        let decisions = self.decisions.as_ref().map(|log| ("decisions", log.progress()));
        [("drift", self.drift.progress())].into_iter().chain(decisions)
    }
}

/// The settings that a request meets on its way.
#[derive(Clone, Debug)]
pub struct Options {
    pub admin_id_key: String,
    /// The name of the session's cookie.
    pub cookie_name: String,
    /// The field of Flask's session that holds its own id.
    pub session_id: Option<SessionIdField>,
    pub login_path: String,
    /// Where the pages of the gate's own login are, if it has one.
    pub identity_path: Option<String>,
    /// Where the gate's own pages lead.
    pub pages: Pages,
    /// The Host that Console sees; without it, the client's.
    pub upstream_host: Option<String>,
    pub trusted_hops: usize,
    pub address_detail: AddressDetail,
    pub body_rule_bytes: usize,
    /// For rows that say nothing.
    pub freshness: Freshness,
    /// What the database may take of one decision, in all: every read and the audit row.
    pub decision_time: std::time::Duration,
    /// For the whole of a body that is read to decide, and for any other that does not keep up a least rate.
    pub body_time: Option<std::time::Duration>,
    /// Strict-Transport-Security, on every answer over TLS.
    pub hsts: Option<String>,
    /// Whether each request has a line in the log.
    pub access_log: bool,
}

impl Options {
    /// Takes what requests need out of the settings.
    pub fn from_settings(settings: &Settings) -> Options {
        Options {
            admin_id_key: settings.session.admin_id_key.clone(),
            cookie_name: settings.session.cookie().to_owned(),
            session_id: settings.session.session_id_field(),
            login_path: settings.login_path(),
            identity_path: settings.identity.as_ref().map(|identity| identity.path.clone()),
            pages: settings.pages.clone(),
            upstream_host: settings.upstream.host.clone(),
            trusted_hops: settings.forwarded.trusted_hops,
            address_detail: settings.audit.client_address,
            freshness: settings.access.freshness,
            decision_time: settings.database.timeout_ms.duration().max(settings.audit.timeout_ms.duration()),
            body_rule_bytes: settings.firewall.body_rule_bytes.0,
            body_time: settings.firewall.body_timeout_ms.bound(),
            hsts: settings.tls.hsts(),
            access_log: settings.log.access,
        }
    }
}
