//! Which service asks: its machine token, and how much it may ask.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use policy::identity::Subject;
use policy::identity::machine_token::presented;
use policy::mapping::Freshness;
use policy::rbac::Standing;

use super::AdminState;
use super::problem::Problem;
use crate::freshness::AccessResolver;

/// The services that may use some endpoints: machine tokens by name, and a rate for each of them.
pub struct Services {
    names: Vec<String>,
    rate: DefaultKeyedRateLimiter<String>,
    access: Arc<AccessResolver>,
}

impl Services {
    /// The machine tokens called `names`, each with at most `per_minute`. A whole minute's worth may come at once.
    pub fn new(names: &[String], per_minute: NonZeroU32, access: Arc<AccessResolver>) -> Services {
        Services { names: names.to_vec(), rate: RateLimiter::keyed(Quota::per_minute(per_minute)), access }
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The name of the request's token, if it is valid and one of these.
    ///
    /// # Errors
    ///
    /// 401 without a valid token, 403 for one that is not named here, 503 while the database is unavailable.
    pub async fn identify(&self, headers: &HeaderMap) -> Result<String, Problem> {
        let digest = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(presented)
            .ok_or_else(Problem::unauthorized)?;
        let subject = Subject::Machine(digest);
        let away = |error| {
            tracing::error!(%error, "a service token could not be looked up");
            Problem::unavailable("the token could not be looked up; try again")
        };
        let control = self.access.observe(Freshness::Strict).await.map_err(away)?;
        let access = self.access.resolve(&subject, control.epoch).await.map_err(away)?;
        let name = access.token.as_ref().map(|token| token.name.to_string());
        match name.filter(|_| access.standing == Standing::Active) {
            None => Err(Problem::unauthorized()),
            Some(name) if self.names.contains(&name) => Ok(name),
            Some(token) => {
                // No audit row: no access was decided.
                tracing::warn!(token, "a service asked an endpoint whose setting does not list its token");
                Err(Problem::forbidden("this token may not use this endpoint"))
            }
        }
    }

    /// Deducts `count` from the remaining rate of `name`.
    ///
    /// # Errors
    ///
    /// 429 if less than that remains.
    pub fn spend(&self, name: &String, count: usize) -> Result<(), Problem> {
        let count = u32::try_from(count).ok().and_then(NonZeroU32::new);
        let Some(count) = count else { return Ok(()) };
        match self.rate.check_key_n(name, count) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(wait)) => {
                Err(Problem::too_many(wait.wait_time_from(DefaultClock::default().now()).as_secs() + 1))
            }
            // More in one request than the rate ever allows.
            Err(_) => Err(Problem::too_many(60)),
        }
    }
}

/// A service that may ask the gate (`[api] callers`), charged with one question. An endpoint that takes it as a
/// parameter answers no other caller.
pub struct ApiCaller(pub String);

impl FromRequestParts<AdminState> for ApiCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AdminState) -> Result<ApiCaller, Problem> {
        let name = state.callers.identify(&parts.headers).await?;
        state.callers.spend(&name, 1)?;
        Ok(ApiCaller(name))
    }
}
