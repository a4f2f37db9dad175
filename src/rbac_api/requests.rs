//! Requests for access over the API: the denied person asks, others look at the impact and decide.
//!
//! A form of the page that denied it is taken as well as JSON. The rules are in [`grants::requests`]. Here is who may see a request: who asked, who gains, those who may decide it,
//! and who may ask about others.
//!
//! No other route takes a form: a script on the page would need a weaker Content-Security-Policy.

use chrono::{DateTime, TimeDelta, Utc};
use grants::authority::{Powers, Sentence};
use grants::requests::{self, ApprovalTerms, Decided, Judged, Keyed, NewRequest, RequestError};
use grants::{Plan, State};
use ledger::Note;
use policy::mapping::Mapping;
use policy::rbac::Requirement;
use policy::rbac::census::CallerKind;
use policy::rbac::grant::Origin;
use policy::span;
use policy::text::folded;
use serde::Deserialize;
use serde_json::{Value, json};
use store::access_grants::GrantsOf;
use store::access_requests::{AccessRequest, RequestState};
use store::rbac_changes::RbacChange;

use super::grant_id::GrantId;
use super::query::Query;
use super::reply::{Outcome, Problem, Reply};
use super::routes::Endpoint;
use super::views::request as view;
use super::writes::{body, check_text, checked_reason, keep_of};
use super::{Caller, RbacApi, csrf};
use crate::ruling::own_routes::OwnRequest;

/// Requests that are looked through for a list.
pub(super) const MOST_LISTED: u32 = 1_000;

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
    /// A grant of one's own that is to be extended: what is missing here is as it was for that one.
    #[serde(default)]
    extends: Option<String>,
    /// For how long: `8h`.
    #[serde(default)]
    r#for: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    ticket: Option<String>,
    /// The admin who gets it, if that is another.
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
            (Endpoint::PostRequest, _) => {
                self.once(asked, caller, async |keyed| self.ask(asked, caller, now, keyed).await).await
            }
            (Endpoint::Request, [id]) => self.show(asked, caller, id, now).await,
            (Endpoint::ApproveRequest, [id]) => {
                self.once(asked, caller, async |keyed| self.approve(asked, caller, (id, now), keyed).await)
                    .await
            }
            (Endpoint::DenyRequest, [id]) => {
                self.once(asked, caller, async |_| self.deny(asked, caller, id, now).await).await
            }
            (Endpoint::WithdrawRequest, [id]) => {
                self.once(asked, caller, async |_| self.withdraw(asked, caller, id, now).await).await
            }
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

    async fn ask(
        &self,
        asked: &OwnRequest<'_>,
        caller: &Caller,
        now: DateTime<Utc>,
        keyed: Option<Keyed<'_>>,
    ) -> Outcome {
        Query::parse(asked.request.target().query(), &[])?;
        if caller.kind() != CallerKind::Admin {
            return Err(Problem::forbidden(
                "people_only",
                "a machine is enrolled in groups, and asks for none",
                &["an operator, by `console-gate token enroll`"],
            ));
        }
        let ask = match form(asked, Endpoint::PostRequest)? {
            Some(form) => Ask::of_form(&form),
            None => body(asked)?,
        };
        let texts =
            [("group", &ask.group), ("route", &ask.route), ("ticket", &ask.ticket), ("user", &ask.user)];
        for (name, text) in texts {
            check_text(name, text.as_deref().unwrap_or_default(), 422)?;
        }
        checked_reason(ask.reason.as_deref())?;
        let mapping = self.parts.mappings.running();
        let wanted = match ask.extends.clone() {
            Some(id) => self.extension(caller, &mapping, &id, ask).await?,
            None => self.wanted(caller, &mapping, ask).await?,
        };
        let answer = |request: &AccessRequest| keyed.map(|keyed| (keyed, keep_of(&made(request, now))));
        let (store, notary) = (&self.parts.store, &self.parts.notary);
        let request = requests::ask_once(store, notary, &mapping, wanted, now, answer).await?;
        Ok(made(&request, now))
    }

    /// What is asked for by a group or a route.
    async fn wanted(&self, caller: &Caller, mapping: &Mapping, ask: Ask) -> Result<NewRequest, Problem> {
        let missing = |name: &str| Problem::new(422, format!("`{name}` is missing"));
        let admin = ask.user.unwrap_or_else(|| caller.id().to_owned());
        let span = parsed(&ask.r#for.ok_or_else(|| missing("for"))?)?;
        let group = match (ask.group, &ask.route) {
            (Some(group), _) => group,
            (None, Some(route)) => self.smallest(mapping, route, &admin).await?,
            (None, None) => {
                return Err(Problem::new(422, "name the `group`, or the `route` that was denied"));
            }
        };
        let reason = ask.reason.ok_or_else(|| missing("reason"))?;
        let (ticket, route) = (ask.ticket, ask.route);
        let requested_by = caller.id().to_owned();
        Ok(NewRequest { admin, requested_by, group, span, reason, ticket, route, extends: None })
    }

    /// What is asked for by a grant of one's own: its group again, for as long and as it was asked for, unless `ask` says
    /// otherwise.
    async fn extension(
        &self,
        caller: &Caller,
        mapping: &Mapping,
        id: &str,
        ask: Ask,
    ) -> Result<NewRequest, Problem> {
        if ask.group.is_some() || ask.route.is_some() || ask.user.is_some() {
            return Err(Problem::new(
                422,
                "an extension is of the same group and the same admin: leave them out",
            ));
        }
        let (store, now) = (&self.parts.store, self.parts.clock.now());
        let of = GrantsOf { admin: Some(caller.id()), of: None };
        let own = store.access_grants(of).await?;
        let wanted = match GrantId::parse(id) {
            Some(GrantId::Stored(id)) => own.into_iter().find(|grant| grant.id.as_ref() == Some(&id)),
            _ => None,
        };
        let grant = wanted.ok_or_else(|| Problem::new(422, "`extends` is no grant of yours with an end"))?;
        let (Some(group), true) =
            (&grant.group, matches!(grant.origin, Origin::Timed | Origin::Request) && grant.is_live(now))
        else {
            return Err(Problem::new(
                422,
                "`extends` must be a membership until a time that has not ended; otherwise ask for the group",
            ));
        };
        let before =
            store.access_requests(Some(RequestState::Approved), Some(caller.id()), MOST_LISTED).await?;
        let before = before.into_iter().find(|request| request.grant == grant.id);
        let span = match (&ask.r#for, &before) {
            (Some(text), _) => parsed(text)?,
            (None, before) => {
                let lasted = || Some(grant.ends? - grant.starts?);
                let span = before.as_ref().map(|before| TimeDelta::minutes(before.minutes)).or_else(lasted);
                let longest = mapping.approval(group).map(|rule| rule.longest);
                let span = span.unwrap_or(TimeDelta::hours(1)).max(TimeDelta::minutes(1));
                longest.map_or(span, |longest| span.min(longest))
            }
        };
        let (ticket, route) = before.map(|before| (before.ticket, before.route)).unwrap_or_default();
        Ok(NewRequest {
            admin: caller.id().to_owned(),
            requested_by: caller.id().to_owned(),
            group: group.clone(),
            span,
            reason: ask.reason.or(grant.reason).unwrap_or_default(),
            ticket: ask.ticket.or(ticket),
            route,
            extends: grant.id,
        })
    }

    /// The group that opens a route for somebody and brings the least besides, of those that can be asked for.
    async fn smallest(&self, mapping: &Mapping, route: &str, admin: &str) -> Result<String, Problem> {
        let required = required_by(mapping, route)?;
        let catalog = self.parts.store.catalog().await?;
        let Some(group) = requests::opening(mapping, &catalog, &required).into_iter().next() else {
            return Err(Problem::new(422, "no group that can be asked for opens this route")
                .with("required", required.iter().map(ToString::to_string).collect::<Vec<_>>())
                .with("user", admin));
        };
        Ok(group.to_string())
    }

    async fn show(&self, asked: &OwnRequest<'_>, caller: &Caller, id: &str, now: DateTime<Utc>) -> Outcome {
        Query::parse(asked.request.target().query(), &[])?;
        let mapping = self.parts.mappings.running();
        self.seen_request(caller, &mapping, id).await?;
        let powers = |state: &State| self.powers(&mapping, state);
        let judged = requests::judge(&self.parts.store, &mapping, id, now, powers).await?;
        let rule = requests::rule_of_request(&mapping, &judged.request).ok();
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
        let sees_all = self.sees_all(caller, &judged.request, &mapping);
        shown["impact"] = if sees_all { judged.impact } else { about(judged.impact, &judged.request.admin) };
        shown["impact_sha256"] = judged.impact_sha256.into();
        shown["approval"] = match rule {
            Some(rule) => {
                let longest = judged.edit.is_none().then(|| span::in_words(rule.longest));
                json!({ "by": rule.by, "quorum": rule.quorum, "longest": longest })
            }
            None => Value::Null,
        };
        Ok(Reply::ok(shown))
    }

    async fn approve(
        &self,
        asked: &OwnRequest<'_>,
        caller: &Caller,
        (id, now): (&str, DateTime<Utc>),
        keyed: Option<Keyed<'_>>,
    ) -> Outcome {
        Query::parse(asked.request.target().query(), &[])?;
        let approve: Approve = body(asked)?;
        let mapping = self.parts.mappings.running();
        // The answer says no more to somebody who may not see it.
        let request = self.seen_request(caller, &mapping, id).await?;
        is_admin(caller)?;
        if let Some(RbacChange::TicketGrant { grant }) = request.as_edit()?.map(|edit| edit.change) {
            // It may have been closed since it was asked for.
            self.is_open(&grant.ticket).await?;
        }
        let look = (id, approve.impact_sha256.as_str());
        let terms = Approving { api: self, mapping: &mapping, asked, caller, now, keyed };
        let (store, notary) = (&self.parts.store, &self.parts.notary);
        let decided = requests::approve(store, notary, &mapping, look, caller.id(), now, terms).await?;
        if let Decided::Edited { takes_away: true } = decided {
            self.settle().await?;
        }
        Ok(Reply::ok(decided.in_json()))
    }

    async fn deny(&self, asked: &OwnRequest<'_>, caller: &Caller, id: &str, now: DateTime<Utc>) -> Outcome {
        Query::parse(asked.request.target().query(), &[])?;
        let deny: Deny = if asked.body.is_empty() { Deny::default() } else { body(asked)? };
        if let Some(comment) = &deny.comment {
            check_text("comment", comment, 422)?;
        }
        let mapping = self.parts.mappings.running();
        self.seen_request(caller, &mapping, id).await?;
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
        self.seen_request(caller, &mapping, id).await?;
        is_admin(caller)?;
        let withdrawn =
            requests::withdraw(&self.parts.store, &self.parts.notary, id, caller.id(), now).await?;
        Ok(Reply::ok(view(&withdrawn, now)))
    }

    /// A request that the caller may see.
    async fn seen_request(
        &self,
        caller: &Caller,
        mapping: &Mapping,
        id: &str,
    ) -> Result<AccessRequest, Problem> {
        let unknown = || Problem::from(RequestError::Unknown(id.to_owned()));
        let request = self.parts.store.access_request(id).await?.ok_or_else(unknown)?;
        match self.may_see(caller, &request, mapping) {
            true => Ok(request),
            false => Err(unknown()),
        }
    }

    fn may_see(&self, caller: &Caller, request: &AccessRequest, mapping: &Mapping) -> bool {
        let is_admin = caller.kind() == CallerKind::Admin;
        // An edit that cannot be read has no asker.
        let asks = match request.as_edit() {
            Ok(None) => is_admin,
            Ok(Some(edit)) => caller.kind() == edit.by,
            Err(_) => false,
        };
        let is_party = [&request.admin, &request.requested_by].into_iter().any(|one| one == caller.id());
        (asks && is_party) || self.sees_all(caller, request, mapping)
    }

    /// Whether the caller may see what a request changes for everybody: those who decide it, and those who may ask what others
    /// hold. The asker sees what changes for the one who is to have it.
    fn sees_all(&self, caller: &Caller, request: &AccessRequest, mapping: &Mapping) -> bool {
        let rule = requests::rule_of_request(mapping, request).ok();
        let decides = rule.is_some_and(|rule| rule.allows(&caller.access.groups));
        let is_admin = caller.kind() == CallerKind::Admin;
        (is_admin && decides) || caller.holds(self.parts.settings.check_others.as_ref())
    }
}

/// The part of an impact that concerns one admin: other profiles have their number and no names.
fn about(mut impact: Value, admin: &str) -> Value {
    let is_it = |one: &Value| one["kind"] == "admin" && one["id"] == admin;
    if let Some(gains) = impact["gains"].as_array_mut() {
        gains.retain(is_it);
    }
    if let Some(effects) = impact["effects"].as_array_mut() {
        for effect in effects.iter_mut() {
            effect["who"].as_array_mut().into_iter().for_each(|who| who.retain(is_it));
        }
        effects.retain(|effect| effect["who"].as_array().is_some_and(|who| !who.is_empty()));
    }
    if let Some(apart) = impact["apart"].as_array_mut() {
        apart.retain(|one| one["admin"] == admin);
    }
    for profile in impact["profiles"].as_array_mut().into_iter().flatten() {
        if let Some(members) = profile["members"].as_array_mut() {
            members.retain(|member| member == admin);
        }
    }
    impact
}

/// What an approval over the API is made with.
struct Approving<'a> {
    api: &'a RbacApi,
    mapping: &'a Mapping,
    asked: &'a OwnRequest<'a>,
    caller: &'a Caller,
    now: DateTime<Utc>,
    keyed: Option<Keyed<'a>>,
}

impl ApprovalTerms for Approving<'_> {
    fn further(&self, plan: &Plan) -> Vec<Note> {
        self.api.customers_events(self.asked, self.caller, plan, self.now)
    }

    fn powers(&self, state: &State) -> Powers {
        self.api.powers(self.mapping, state)
    }

    /// Who asked for an edit may still make it: others approve what somebody may do, and give nobody the right to.
    fn check(&self, judged: &Judged) -> Result<(), RequestError> {
        let Some(edit) = &judged.edit else { return Ok(()) };
        let author = (edit.by, judged.request.requested_by.as_str());
        self.api
            .judged_again(author, self.mapping, (&judged.state, &judged.plan), edit)
            .map_err(RequestError::Requester)
    }

    fn answer(&self, decided: &Decided) -> Option<(Keyed<'_>, String)> {
        Some((self.keyed?, keep_of(&Reply::ok(decided.in_json()))))
    }
}

impl Ask {
    /// What a page's form asks for; an empty field is none.
    fn of_form(form: &Query) -> Ask {
        let text = |name| form.get(name).filter(|text| !text.is_empty()).map(ToOwned::to_owned);
        Ask {
            group: None,
            route: text("route"),
            extends: None,
            r#for: text("for"),
            reason: form.get("reason").map(folded).filter(|text| !text.is_empty()),
            ticket: text("ticket"),
            user: None,
        }
    }
}

/// The form that a page of the gate has sent, where the route takes one.
pub(super) fn form(asked: &OwnRequest<'_>, endpoint: Endpoint) -> Result<Option<Query>, Problem> {
    if endpoint != Endpoint::PostRequest || !csrf::is_form(asked.request) {
        return Ok(None);
    }
    let text = std::str::from_utf8(asked.body).map_err(|_| Problem::new(400, "the form is not UTF-8"))?;
    Query::parse(Some(text), &["route", "for", "reason", "ticket", csrf::TOKEN_MEMBER]).map(Some)
}

fn parsed(text: &str) -> Result<TimeDelta, Problem> {
    span::parse(text).ok_or_else(|| Problem::new(422, format!("`for` must be {}", span::FORM)))
}

/// 201: a request was made.
fn made(request: &AccessRequest, now: DateTime<Utc>) -> Reply {
    let place = format!("/api/rbac/requests/{}", request.id);
    Reply::ok(view(request, now)).with_status(201).with("location", place)
}

/// Decisions are people's: no person answers for what a machine's token does.
pub(super) fn is_admin(caller: &Caller) -> Result<(), Problem> {
    match caller.kind() {
        CallerKind::Admin => Ok(()),
        CallerKind::Machine => {
            let detail = "requests for access and reviews of it are decided by people";
            Err(Problem::forbidden("people_only", detail, &["an approver or reviewer, in a session"]))
        }
    }
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
            RequestError::PendingEdit(ref id) => Problem::new(409, said.clone()).with("request", id.as_str()),
            RequestError::Closed(_)
            | RequestError::TooOld
            | RequestError::Nothing
            | RequestError::Disabled(_) => Problem::new(409, said),
            RequestError::TooMany => Problem::new(429, said).with_field("retry-after", "3600"),
            RequestError::Refused(refusal) => refusal.into(),
            RequestError::OwnRequest => {
                Problem::by_rule(Sentence::Own, said, &["another approver, who gains nothing by it"])
            }
            RequestError::Requester(_) => {
                let could = ["whoever may still make the change, by asking for it anew"];
                Problem::by_rule(Sentence::Approval, said, &could)
            }
            RequestError::NotAnApprover(groups) => {
                let could = [&*format!("members of {groups}")];
                Problem::forbidden("not_an_approver", said, &could)
                    .with("rule", Sentence::Approval.letter().to_string())
            }
            RequestError::NotRequester => {
                Problem::forbidden("not_the_requester", said, &["who asked", "an approver, who may deny it"])
            }
            RequestError::ImpactChanged { current } => Problem::new(412, said).with("impact_sha256", current),
        }
    }
}
