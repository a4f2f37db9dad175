//! The gate logs people in: passkeys, sessions of the gate's own, and the pages for both.
//!
//! ```text
//! row (identity = true) -> here -> the session that the request came with, if any
//!                                   \-> ceremony -> session begun, rotated or ended -> barrier -> answer
//! ```
//!
//! These rows are for everybody, so nothing that reaches this room has been decided: each endpoint asks for the session that
//! it needs. What a session opens elsewhere is decided as for every other caller.

mod answers;
mod ceremonies;
mod screens;
pub mod sessions;

use std::net::IpAddr;
use std::num::NonZeroU32;

use clock::SharedClock;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use grants::passkeys::Passkeys;
use ledger::Notary;
use metrics::counter;
use policy::decision::Denial;
use policy::firewall::Request;
use policy::identity::login::TokenKeys;
use policy::mapping::Mapping;
use policy::method::Method;
use store::SharedStore;

use self::sessions::Sessions;
use crate::pages::{self, Site};
use crate::rbac_api;
use crate::rbac_api::reply::{self, Outcome, Problem, Reply};
use crate::ruling::offer::Offer;
use crate::ruling::own_routes::{Answer, OwnRequest, ServesOwnRoutes};
use crate::settings::AddressDetail;
use crate::settings::identity::Identity as Terms;
use crate::settings::secrets::NamedKey;
use crate::signed::Signer;

/// Where the endpoints for programs and scripts are (disposition, #1503 to #1508).
pub const API: &str = "/api/v1/auth";

/// How many codes one address may try in a minute. A code is 120 random bits, so this is for the log's sake and the database's.
const CODES: NonZeroU32 = NonZeroU32::new(30).expect("a literal");
/// How many challenges and signatures: whole offices come from one address, and no signature can be guessed.
const SIGNATURES: NonZeroU32 = NonZeroU32::new(1_200).expect("a literal");
/// How many addresses are remembered before those that have all their attempts again are forgotten.
const REMEMBERED: usize = 10_000;

/// What the room works with.
pub struct Parts {
    pub store: SharedStore,
    pub notary: Notary,
    pub clock: SharedClock,
    pub passkeys: Passkeys,
    pub tokens: TokenKeys,
    pub terms: Terms,
    pub address_detail: AddressDetail,
}

/// The attempts of each address.
type Attempts = DefaultKeyedRateLimiter<Option<IpAddr>>;

/// Serves the rows with `identity = true`.
pub struct Identity {
    sessions: Sessions,
    passkeys: Passkeys,
    store: SharedStore,
    notary: Notary,
    clock: SharedClock,
    /// Seals the challenges of logins.
    challenges: Signer,
    codes: Attempts,
    signatures: Attempts,
    path: String,
}

impl Identity {
    /// The room, which seals with keys that are derived from `keys`.
    pub fn new(parts: Parts, keys: &[NamedKey]) -> Identity {
        let Parts { store, notary, clock, passkeys, tokens, terms, address_detail } = parts;
        Identity {
            path: terms.path.clone(),
            sessions: Sessions {
                store: store.clone(),
                notary: notary.clone(),
                clock: clock.clone(),
                tokens,
                terms,
                address_detail,
            },
            passkeys,
            store,
            notary,
            clock,
            challenges: Signer::new(keys, "console-gate login challenge 1"),
            codes: RateLimiter::hashmap(Quota::per_minute(CODES)),
            signatures: RateLimiter::hashmap(Quota::per_minute(SIGNATURES)),
        }
    }

    /// The answer to a request.
    async fn serve(&self, asked: OwnRequest<'_>) -> Answer {
        let path = asked.request.target().path().to_owned();
        // No address has both forms.
        let response = match (below(&path, API), below(&path, &self.path)) {
            (Some(rest), _) => reply::response(Box::pin(self.api(&asked, rest)).await, asked.id),
            (None, Some(rest)) => Box::pin(self.page(&asked, rest)).await,
            (None, None) => reply::response(Err(nothing_here()), asked.id),
        };
        Answer { response: response.with("x-content-type-options", "nosniff".to_owned()), refusal: None }
    }

    async fn api(&self, asked: &OwnRequest<'_>, path: &str) -> Outcome {
        let method = asked.request.method();
        if !method.is_safe() {
            self.refuse_other_sites(asked)?;
        }
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match (method, parts.as_slice()) {
            (Method::Post, ["passkey", "challenge"]) => self.challenge(asked).await,
            (Method::Post, ["passkey", "login"]) => self.login(asked).await,
            (Method::Post, ["passkey", "step-up"]) => self.step_up(asked).await,
            (Method::Post, ["invitations", "redeem"]) => self.redeem_json(asked).await,
            (Method::Get, ["passkeys"]) => self.own_passkeys(asked).await,
            (Method::Post, ["passkeys"]) => self.register(asked).await,
            (Method::Patch, ["passkeys", id]) => self.name_passkey(asked, id).await,
            (Method::Delete, ["passkeys", id]) => {
                self.remove_passkey(asked, id).await.map(|()| Reply::empty(204))
            }
            (Method::Get, ["sessions"]) => self.own_sessions(asked).await,
            (Method::Delete, ["sessions"]) => self.end_many(asked).await,
            (Method::Delete, ["sessions", id]) => self.end_one(asked, id).await.map(|()| Reply::empty(204)),
            _ => Err(nothing_here()),
        }
    }

    /// Refuses what a page of another site has caused: a browser says so, and a program sends `Origin` itself.
    fn refuse_other_sites(&self, asked: &OwnRequest<'_>) -> Result<(), Problem> {
        match crate::rbac_api::comes_from_here(asked.request) {
            Some(true) => Ok(()),
            Some(false) | None => Err(Problem::new(
                400,
                "a request that changes something must come from a page of this site, or send its `Origin`",
            )),
        }
    }

    /// Counts an attempt to prove something.
    ///
    /// # Errors
    ///
    /// The address has made too many. Sessions that live are not concerned: an address can lock out its own logins alone.
    fn attempt(&self, client: Option<IpAddr>) -> Result<(), Problem> {
        count(&self.signatures, client)
    }
}

fn count(attempts: &Attempts, client: Option<IpAddr>) -> Result<(), Problem> {
    if attempts.len() > REMEMBERED {
        attempts.retain_recent();
    }
    attempts.check_key(&client).map_err(|until| {
        counter!("gate_login_attempts_refused_total").increment(1);
        let wait = until.wait_time_from(DefaultClock::default().now()).as_secs() + 1;
        Problem::new(429, "too many attempts from this address; wait a moment")
            .with_field("retry-after", wait.to_string())
    })
}

fn nothing_here() -> Problem {
    Problem::new(404, "there is nothing at this address")
}

/// The rest of a path below a prefix.
fn below<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The one answer to every proof that failed, so that it says nothing about what exists.
fn not_proved() -> Problem {
    Problem::new(401, "that did not work. Try again, or ask an operator for an invitation")
}

/// A method and a path of each kind of route that the gate itself serves, for those who look whether a row leads to one.
pub fn own_routes(terms: Option<&Terms>) -> Vec<(Method, String)> {
    let path = terms.map_or_else(|| Terms::default().path, |terms| terms.path.clone());
    let pages = ["login", "enrol", "account", "step-up"].map(|page| (Method::Get, format!("{path}/{page}")));
    let forms = ["enrol", "logout", "account"].map(|page| (Method::Post, format!("{path}/{page}")));
    let api = [
        (Method::Post, "passkey/challenge"),
        (Method::Post, "passkey/login"),
        (Method::Post, "passkeys"),
        (Method::Get, "sessions"),
        (Method::Delete, "sessions/x"),
    ];
    let api = api.map(|(method, rest)| (method, format!("{API}/{rest}")));
    let others = rbac_api::routes::examples().into_iter().chain(pages::examples());
    let others = others.map(|(method, path)| (method, path.to_owned()));
    pages.into_iter().chain(forms).chain(api).chain(others).collect()
}

/// The routes that the gate itself serves: the login for everybody, and what takes a caller.
pub struct Doors {
    pub identity: Option<Identity>,
    pub site: Site,
}

#[async_trait::async_trait]
impl ServesOwnRoutes for Doors {
    async fn serve(&self, asked: OwnRequest<'_>) -> Answer {
        match &self.identity {
            _ if asked.permit.principal().is_some() => self.site.serve(asked).await,
            // Such a row identifies no caller, so nothing but the login may be behind it.
            Some(identity) => identity.serve(asked).await,
            None => Answer { response: reply::response(Err(nothing_here()), asked.id), refusal: None },
        }
    }

    async fn offer(&self, mapping: &Mapping, request: &Request, denial: &Denial) -> Option<Offer> {
        self.site.offer(mapping, request, denial).await
    }
}
