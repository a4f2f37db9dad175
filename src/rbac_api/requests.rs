//! Requests for access over the API: the denied person asks, others look at the impact and decide.
//!
//! The rules are in [`crate::people::requests`]. Here is who may see a request: who asked, who gains, those who may decide it,
//! and who may ask about others.

use chrono::{DateTime, Utc};
use policy::mapping::Mapping;
use policy::rbac::Requirement;
use policy::rbac::catalog::Catalog;
use policy::rbac::census::CallerKind;
use policy::span;
use serde::Deserialize;
use serde_json::{Value, json};

use super::query::Query;
use super::reply::{Outcome, Problem, Reply};
use super::routes::Endpoint;
use super::writes::body;
use super::{Caller, RbacApi};
use crate::people::requests::{self, Decided, Judged, NewRequest, RequestError};
use crate::ruling::own_routes::OwnRequest;
use crate::store::access_requests::{AccessRequest, RequestState};

/// Requests that are looked through for a list.
const MOST_LISTED: u32 = 1_000;

/// `POST /api/rbac/requests`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    /// The group to be in; or `route`.
    #[serde(default)]
    group: Option<String>,
    /// What was denied, `GET /console/flags/`: the group that is asked for is the smallest that opens it.
    #[serde(default)]
    route: Option<String>,
    /// For how long: `8h`.
    r#for: String,
    reason: String,
    #[serde(default)]
    ticket: Option<String>,
    /// For whom, where it is not for oneself.
    #[serde(default)]
    user: Option<String>,
}

/// `POST /api/rbac/requests/{id}/approve`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Approve {
    /// The `impact_sha256` that the approver was shown.
    impact_sha256: String,
}

/// `POST /api/rbac/requests/{id}/deny`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Deny {
    comment: Option<String>,
}

impl RbacApi {
    /// Answers one request about requests for access; `None` where the endpoint is another.
    pub(super) async fn requests(
        &self,
        asked: &OwnRequest<'_>,
        caller: &Caller,
        endpoint: Endpoint,
        values: &[&str],
    ) -> Option<Outcome> {
        let now = self.parts.clock.now();
        Some(match (endpoint, values) {
            (Endpoint::Requests, _) => self.list(asked, caller, now).await,
            (Endpoint::PostRequest, _) => self.ask(asked, caller, now).await,
            (Endpoint::Request, [id]) => self.show(asked, caller, id, now).await,
            (Endpoint::ApproveRequest, [id]) => self.approve(asked, caller, id, now).await,
            (Endpoint::DenyRequest, [id]) => self.deny(asked, caller, id, now).await,
            (Endpoint::WithdrawRequest, [id]) => self.withdraw(asked, caller, id, now).await,
            _ => return None,
        })
    }

    async fn list(&self, asked: &OwnRequest<'_>, caller: &Caller, now: DateTime<Utc>) -> Outcome {
        let query = Query::parse(asked.request.target().query(), &["state", "mine"])?;
        let state = match query.get("state") {
            None => None,
            Some(word) => Some(RequestState::parse(word).ok_or_else(|| {
                Problem::new(400, "`state` is `pending`, `approved`, `denied` or `withdrawn`")
            })?),
        };
        let mine = (query.switch("mine")? == Some(true)).then(|| caller.id());
        let mapping = self.parts.mappings.running();
        let mut listed = self.parts.store.access_requests(state, mine, MOST_LISTED).await?;
        listed.retain(|request| self.may_see(caller, request, &mapping));
        let listed: Vec<Value> = listed.iter().map(|request| view(request, now)).collect();
        Ok(Reply::ok(json!({ "requests": listed })))
    }

    async fn ask(&self, asked: &OwnRequest<'_>, caller: &Caller, now: DateTime<Utc>) -> Outcome {
        Query::parse(asked.request.target().query(), &[])?;
        if caller.kind() != CallerKind::Admin {
            return Err(Problem::new(403, "a machine is enrolled in groups, and asks for none"));
        }
        let ask: Ask = body(asked)?;
        let mapping = self.parts.mappings.running();
        let admin = ask.user.unwrap_or_else(|| caller.id().to_owned());
        let span = span::parse(&ask.r#for)
            .ok_or_else(|| Problem::new(422, format!("`for` must be {}", span::FORM)))?;
        let group = match (ask.group, &ask.route) {
            (Some(group), _) => group,
            (None, Some(route)) => self.smallest(&mapping, route, &admin).await?,
            (None, None) => {
                return Err(Problem::new(422, "name the `group`, or the `route` that was denied"));
            }
        };
        let wanted = NewRequest {
            admin,
            requested_by: caller.id().to_owned(),
            group,
            span,
            reason: ask.reason,
            ticket: ask.ticket,
            route: ask.route,
        };
        let request = requests::ask(&self.parts.store, &self.parts.notary, &mapping, wanted, now).await?;
        let place = format!("/api/rbac/requests/{}", request.id);
        Ok(Reply::ok(view(&request, now)).with_status(201).with("location", place))
    }

    /// The group that opens a route for somebody and brings the least besides, of those that can be asked for.
    async fn smallest(&self, mapping: &Mapping, route: &str, admin: &str) -> Result<String, Problem> {
        let required = required_by(mapping, route)?;
        let catalog = self.parts.store.catalog().await?;
        let opening = mapping.approvals().keys().filter(|group| meets(&catalog, group, &required));
        let least = opening.min_by_key(|group| (catalog.roles_of_group(group).len(), (*group).clone()));
        let Some(group) = least else {
            return Err(Problem::new(422, "no group that can be asked for opens this route")
                .with("required", required.iter().map(ToString::to_string).collect::<Vec<_>>())
                .with("user", admin));
        };
        Ok(group.to_string())
    }

    async fn show(&self, asked: &OwnRequest<'_>, caller: &Caller, id: &str, now: DateTime<Utc>) -> Outcome {
        Query::parse(asked.request.target().query(), &[])?;
        let mapping = self.parts.mappings.running();
        let judged = self.judged(caller, &mapping, id, now).await?;
        let rule = mapping.approval(&judged.request.group);
        let approvals: Vec<Value> = judged
            .approvals
            .iter()
            .map(|approval| {
                let counts = rule.is_some_and(|rule| judged.counting(rule).any(|one| one == approval));
                json!({ "approver": approval.approver, "at": approval.at, "counts": counts })
            })
            .collect();
        let mut shown = view(&judged.request, now);
        shown["approvals"] = approvals.into();
        shown["impact"] = judged.impact;
        shown["impact_sha256"] = judged.impact_sha256.into();
        shown["approval"] = match rule {
            Some(rule) => {
                json!({ "by": rule.by, "quorum": rule.quorum, "longest": span::in_words(rule.longest) })
            }
            None => Value::Null,
        };
        Ok(Reply::ok(shown))
    }

    async fn approve(
        &self,
        asked: &OwnRequest<'_>,
        caller: &Caller,
        id: &str,
        now: DateTime<Utc>,
    ) -> Outcome {
        Query::parse(asked.request.target().query(), &[])?;
        let approve: Approve = body(asked)?;
        let mapping = self.parts.mappings.running();
        // Who may not see it is told no more than that.
        self.judged(caller, &mapping, id, now).await?;
        is_admin(caller)?;
        let look = (id, approve.impact_sha256.as_str());
        let further = |plan: &crate::people::Plan| self.customers_events(asked, caller, plan, now);
        let decided = requests::approve(
            &self.parts.store,
            &self.parts.notary,
            &mapping,
            look,
            caller.id(),
            now,
            further,
        )
        .await?;
        Ok(Reply::ok(match decided {
            Decided::Counted { approvals, quorum } => {
                json!({ "state": "pending", "approvals": approvals, "quorum": quorum })
            }
            Decided::Granted { grant } => json!({ "state": "approved", "grant": grant }),
        }))
    }

    async fn deny(&self, asked: &OwnRequest<'_>, caller: &Caller, id: &str, now: DateTime<Utc>) -> Outcome {
        Query::parse(asked.request.target().query(), &[])?;
        let deny: Deny = if asked.body.is_empty() { Deny::default() } else { body(asked)? };
        let mapping = self.parts.mappings.running();
        self.judged(caller, &mapping, id, now).await?;
        is_admin(caller)?;
        let by = (caller.id(), deny.comment.as_deref());
        let denied = requests::deny(&self.parts.store, &self.parts.notary, &mapping, id, by, now).await?;
        Ok(Reply::ok(view(&denied, now)))
    }

    async fn withdraw(
        &self,
        asked: &OwnRequest<'_>,
        caller: &Caller,
        id: &str,
        now: DateTime<Utc>,
    ) -> Outcome {
        Query::parse(asked.request.target().query(), &[])?;
        let mapping = self.parts.mappings.running();
        self.judged(caller, &mapping, id, now).await?;
        is_admin(caller)?;
        let withdrawn =
            requests::withdraw(&self.parts.store, &self.parts.notary, id, caller.id(), now).await?;
        Ok(Reply::ok(view(&withdrawn, now)))
    }

    /// A request that the caller may see, with its impact.
    async fn judged(
        &self,
        caller: &Caller,
        mapping: &Mapping,
        id: &str,
        now: DateTime<Utc>,
    ) -> Result<Judged, Problem> {
        let judged = requests::judge(&self.parts.store, mapping, id, now).await?;
        match self.may_see(caller, &judged.request, mapping) {
            true => Ok(judged),
            false => Err(RequestError::Unknown(id.to_owned()).into()),
        }
    }

    fn may_see(&self, caller: &Caller, request: &AccessRequest, mapping: &Mapping) -> bool {
        let is_admin = caller.kind() == CallerKind::Admin;
        let is_party = [&request.admin, &request.requested_by].into_iter().any(|one| one == caller.id());
        let decides = mapping.approval(&request.group).is_some_and(|rule| rule.allows(&caller.access.groups));
        (is_admin && (is_party || decides)) || caller.holds(self.parts.settings.check_others.as_ref())
    }
}

/// Decisions are people's: a machine's token has nobody behind it.
fn is_admin(caller: &Caller) -> Result<(), Problem> {
    match caller.kind() {
        CallerKind::Admin => Ok(()),
        CallerKind::Machine => Err(Problem::new(403, "a request for access is decided by people")),
    }
}

fn view(request: &AccessRequest, now: DateTime<Utc>) -> Value {
    let is_too_old = request.state == RequestState::Pending && request.closes_at <= now;
    let mut view = json!(request);
    if is_too_old {
        view["state"] = "expired".into();
    }
    view
}

/// What V2 asks for on a route, `METHOD PATH`, whatever the body says.
fn required_by(mapping: &Mapping, route: &str) -> Result<Vec<Requirement>, Problem> {
    let bad = || Problem::new(422, "`route` is a method and a path that a row covers: `GET /console/flags/`");
    let (method, path) = route.split_once(' ').ok_or_else(bad)?;
    let method = policy::method::Method::parse(method).ok_or_else(bad)?;
    let row = mapping.find(path, method).row().ok_or_else(bad)?;
    let required: Vec<Requirement> = row.kind.requirements().into_iter().cloned().collect();
    if required.is_empty() {
        return Err(Problem::new(422, "no role opens this route"));
    }
    Ok(required)
}

fn meets(catalog: &Catalog, group: &str, required: &[Requirement]) -> bool {
    let roles = catalog.roles_of_group(group);
    let permissions = catalog.permissions_of(&roles);
    required.iter().all(|requirement| match requirement {
        Requirement::Role(name) => roles.contains(name),
        Requirement::Permission(name) => permissions.contains(name),
    })
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Problem {
        let said = error.to_string();
        match error {
            RequestError::People(error) => error.into(),
            RequestError::Unknown(_) => Problem::new(404, "there is no such request"),
            RequestError::NoRule(_) | RequestError::TooLong { .. } | RequestError::NoReason => {
                Problem::new(422, said)
            }
            RequestError::Pending { id, .. } => Problem::new(409, said).with("request", id),
            RequestError::Closed(_) | RequestError::TooOld => Problem::new(409, said),
            RequestError::OwnRequest | RequestError::NotAnApprover(_) | RequestError::NotRequester => {
                Problem::new(403, said)
            }
            RequestError::ImpactChanged { current } => Problem::new(412, said).with("impact_sha256", current),
        }
    }
}
