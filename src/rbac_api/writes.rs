//! What the API changes. Every change is worked out, judged and made as of one epoch, by [`grants`].

mod creation;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use grants::authority::{Powers, Refusal, Sentence, Verdict};
use grants::record::customers_events;
use grants::requests::{self, Keyed};
use grants::{AdminTable, By, PeopleError, Plan, State, Terms};
use ledger::Note;
use ledger::event::Way;
use policy::decision::Reason;
use policy::mapping::Mapping;
use policy::rbac::census::CallerKind;
use policy::rbac::grant::Origin;
use policy::text::is_line;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use store::access_grants::{AccessGrant, GrantsOf};
use store::access_requests::{AccessRequest, Edit as AskedEdit};
use store::grantors::Target;
use store::idempotency::{Once, OnceKey};
use store::rbac_changes::{GrantRow, RbacChange, TicketEnd, TicketGrant, TimedGrant};
use tokio::time::timeout;

use super::grant_id::GrantId;
use super::keys::digest;
use super::query::Query;
use super::reply::{Outcome, Problem, Reply};
use super::routes::Endpoint;
use super::views::{self, etag};
use super::{Caller, RbacApi};
use crate::freshness::barrier::Barrier;
use crate::ruling::own_routes::OwnRequest;
use crate::settings::LONGEST_BARRIER;
use crate::tickets::{TicketError, must_be_open};

/// How long a change waits for those before it.
const TURN: Duration = Duration::from_secs(30);
/// How often a change is worked out again where others change access meanwhile.
const TRIES: usize = 20;
/// Between two tries where access changed all the while.
const PAUSE: Duration = Duration::from_millis(10);
/// How long a revocation waits its turn: it does not give up because others write.
const REVOCATION: Duration = Duration::from_secs(30);
/// How far away the end of a grant may be.
const MOST_DAYS: TimeDelta = TimeDelta::days(366);
/// The longest reason.
const MOST_REASON: usize = 2_000;

/// `POST /api/rbac/grants`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewGrant {
    user: String,
    group: String,
    reason: String,
    #[serde(default)]
    until: Option<DateTime<Utc>>,
}

/// `POST /api/rbac/grants/ticket-scoped`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewTicketGrant {
    user: String,
    role: String,
    /// FreeScout's number of the conversation.
    ticket: String,
    customer: i64,
    reason: String,
    #[serde(default)]
    until: Option<DateTime<Utc>>,
}

/// The body of an edit.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Edit {
    reason: Option<String>,
    /// Of grantors: whether another person has to approve each time.
    with_approval: Option<bool>,
}

/// What an edit is made on: its view has the ETag that the client must know.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    Group(String),
    Role(String),
    Permission,
}

/// What has to be so before a change is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Precondition {
    None,
    /// `If-Match` names the ETag of the subject.
    IsKnown,
    /// `If-None-Match: *`: the subject is not there yet.
    IsNew,
}

/// What a request wants.
struct Wanted {
    change: RbacChange,
    /// What is made with it: the parts of a group or role that it creates.
    also: Vec<RbacChange>,
    precondition: Precondition,
    subject: Option<Subject>,
    reason: Option<String>,
    kind: Kind,
}

/// How long a change is worked out again where others change access meanwhile.
struct Patience {
    tries: usize,
    /// Of a revocation, which has no limit of tries.
    until: Option<Instant>,
}

impl Patience {
    fn of(change: &RbacChange) -> Patience {
        let until = change.takes_away().then(|| Instant::now() + REVOCATION);
        Patience { tries: TRIES, until }
    }

    fn lasts(&mut self) -> bool {
        let has_tries = self.tries > 0;
        self.tries = self.tries.saturating_sub(1);
        self.until.map_or(has_tries, |until| Instant::now() < until)
    }
}

/// What the answer is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Grant(NewGrant),
    /// A role for a ticket.
    Ticket(TicketGrant),
    /// A membership, of which it is not known whether it ever was.
    Leave {
        user: String,
        group: String,
    },
    /// A grant with a row of its own.
    End,
    /// The same, of the caller's own.
    OwnEnd,
    Create(String),
    Edit,
}

/// How a change is made: only looked at, only where it does what was shown, and once.
#[derive(Clone, Copy)]
struct How<'k> {
    is_dry: bool,
    /// The `preview_sha256` that the caller was shown.
    expected: Option<&'k str>,
    keyed: Option<Keyed<'k>>,
}

/// What was done.
struct Done {
    mapping: Arc<Mapping>,
    powers: Powers,
    state: State,
    plan: Plan,
    /// Whether another person has to approve it.
    verdict: Verdict,
    is_dry: bool,
    /// Whether it becomes a request that others approve.
    becomes_request: bool,
    /// The request that waits for approval, where nothing was changed for that.
    asked: Option<AccessRequest>,
}

impl RbacApi {
    /// Carries out one request that changes something.
    pub(super) async fn write(
        &self,
        asked: &OwnRequest<'_>,
        caller: &Caller,
        endpoint: Endpoint,
        values: &[&str],
    ) -> Outcome {
        let query = Query::parse(asked.request.target().query(), &["dry_run", "reason", "expect"])?;
        let expected = query.get("expect");
        let is_dry = query.switch("dry_run")? == Some(true);
        let wanted = match (endpoint, values) {
            (Endpoint::DeleteGrant, [id]) => self.revocation(id, asked, query.get("reason"), None).await?,
            (Endpoint::DeleteOwnGrant, [id]) => {
                let own = Some(caller.id()).filter(|_| caller.kind() == CallerKind::Admin);
                let own = own.ok_or_else(|| {
                    let detail = "a machine's token has no grants of its own";
                    Problem::forbidden("people_only", detail, &["an operator, by `console-gate token`"])
                })?;
                self.revocation(id, asked, query.get("reason"), Some(own)).await?
            }
            _ => wanted(endpoint, values, asked, query.get("reason"), self.parts.clock.now())?,
        };
        is_conditional(&wanted, asked)?;
        if is_dry {
            return self.carry_out(asked, caller, &wanted, How { is_dry, expected, keyed: None }).await;
        }
        self.once(asked, caller, async |keyed| {
            self.carry_out(asked, caller, &wanted, How { is_dry, expected, keyed }).await
        })
        .await
    }

    /// Does the work of a request, once where it has an Idempotency-Key. The work keeps its answer under the key in the
    /// transaction of what it changes; what changes nothing is kept here.
    pub(super) async fn once(
        &self,
        asked: &OwnRequest<'_>,
        caller: &Caller,
        work: impl AsyncFnOnce(Option<Keyed<'_>>) -> Outcome,
    ) -> Outcome {
        let Some(key) = once_key(asked, caller)? else { return work(None).await };
        let (store, now) = (&self.parts.store, self.parts.clock.now());
        let hours = i64::try_from(self.parts.settings.idempotency_hours.0).unwrap_or(i64::MAX);
        let keep = TimeDelta::try_hours(hours).unwrap_or(TimeDelta::MAX);
        let until = now.checked_add_signed(keep).unwrap_or(now);
        match store.begin_once(&key, now).await? {
            Once::Begun => {}
            Once::Answered(answer) => {
                // Who made it may have gone before every gate had heard of it.
                self.settle().await?;
                return kept(&answer);
            }
            Once::UnderWay => {
                let problem = Problem::new(
                    409,
                    "a request with this Idempotency-Key is under way; repeat it in a moment",
                );
                return Err(problem.with_field("retry-after", "1"));
            }
            Once::OfAnother => {
                return Err(Problem::new(422, "this Idempotency-Key was used for another request"));
            }
        }
        let outcome = work(Some(Keyed { key: &key, until })).await;
        let noted = match &outcome {
            Ok(reply) => store.answer_once(&key, &keep_of(reply), until).await,
            // What changed nothing may be made again. What did change something has its answer already, and keeps it.
            Err(_) => store.forget_once(&key).await,
        };
        if let Err(error) = noted {
            tracing::warn!(%error, request_id = %asked.id, "the answer to an Idempotency-Key was not kept");
        }
        outcome
    }

    /// What ends the grant with this id; where it has to be somebody's own, one of that admin.
    async fn revocation(
        &self,
        id: &str,
        asked: &OwnRequest<'_>,
        reason: Option<&str>,
        own: Option<&str>,
    ) -> Result<Wanted, Problem> {
        if !asked.body.is_empty() {
            return Err(Problem::new(400, "a DELETE has no body; say why as `?reason=`"));
        }
        let reason = checked_reason(reason)?;
        let unknown = || Problem::new(404, "there is no such grant");
        let (change, kind) = match GrantId::parse(id).ok_or_else(unknown)? {
            GrantId::Direct { user, .. } if own.is_some_and(|own| own != user) => return Err(unknown()),
            GrantId::Direct { .. } if own.is_some() => {
                let detail = "a membership without an end is ended by those who may revoke it: \
                              DELETE /api/rbac/grants/{id}";
                return Err(Problem::new(422, detail));
            }
            GrantId::Direct { user, group } => {
                check_text("the id", &user, 404)?;
                check_text("the id", &group, 404)?;
                let change = RbacChange::Leave { admin: user.clone(), group: group.clone() };
                (change, Kind::Leave { user, group })
            }
            GrantId::Stored(id) => {
                let stored = self.parts.store.access_grants(GrantsOf::default()).await?;
                let found = stored.into_iter().find(|grant| grant.id.as_deref() == Some(id.as_str()));
                let grant = found.filter(|grant| own.is_none_or(|own| grant.admin == own));
                let kind = if own.is_some() { Kind::OwnEnd } else { Kind::End };
                (ending(id, grant.ok_or_else(unknown)?), kind)
            }
        };
        Ok(Wanted { change, also: Vec::new(), precondition: Precondition::None, subject: None, reason, kind })
    }

    async fn carry_out(
        &self,
        asked: &OwnRequest<'_>,
        caller: &Caller,
        wanted: &Wanted,
        how: How<'_>,
    ) -> Outcome {
        if let Kind::Ticket(grant) = &wanted.kind {
            self.is_open(&grant.ticket).await?;
        }
        let done = self.make(asked, caller, wanted, how).await?;
        if how.is_dry {
            return Ok(Reply::ok(looked_at(done).await?.1));
        }
        if let Some(request) = &done.asked {
            return Ok(waits(request, self.parts.clock.now()));
        }
        self.is_known_grant(wanted, &done).await?;
        let takes_away = wanted.change.takes_away();
        if takes_away {
            self.settle().await?;
        }
        Ok(answer(wanted, &done, caller.id()))
    }

    /// Works the change out, judges it, and makes it unless it is only to be looked at.
    async fn make(
        &self,
        asked: &OwnRequest<'_>,
        caller: &Caller,
        wanted: &Wanted,
        How { is_dry, expected, keyed }: How<'_>,
    ) -> Result<Done, Problem> {
        let store = &self.parts.store;
        let admins = if store.has_own_admins().await? { AdminTable::Gate } else { AdminTable::Console };
        // Whoever is gone can still be taken out of a group.
        let unknown_admins = matches!(wanted.kind, Kind::Leave { .. } | Kind::End | Kind::OwnEnd);
        let terms = Terms { admins, unknown_admins };
        let mapping = self.parts.mappings.running();
        let is_own_end = matches!(wanted.kind, Kind::OwnEnd);
        // Changes of one gate take turns: each would be worked out anew for every other that is made meanwhile.
        let crowded = |_| Problem::new(503, "too many changes are under way; try again");
        let _turn = timeout(TURN, self.turn.lock()).await.map_err(crowded)?;
        let mut patience = Patience::of(&wanted.change);
        while patience.lasts() {
            let now = self.parts.clock.now();
            let changes: Vec<RbacChange> =
                [&wanted.change].into_iter().chain(&wanted.also).cloned().collect();
            let previewed = grants::preview(store, &changes, terms, now).await;
            let (state, plan) = match previewed {
                Err(PeopleError::Changing) => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                previewed => previewed.map_err(|error| not_made(wanted, error))?,
            };
            is_current(wanted, asked, &state)?;
            let verdict = self
                .judged((caller, asked.permit), &mapping, (&state, &plan), &wanted.also, is_own_end)
                .inspect_err(|problem| {
                    tracing::info!(?problem, request_id = %asked.id, actor = caller.id(), "a change was refused");
                })?;
            let rule = mapping.approval_of_edits();
            let waits = match &verdict {
                Verdict::Allow => rule.is_some() && wanted.change.is_edit(),
                Verdict::Approve(_) => true,
            };
            let waits = waits && !plan.changes.is_empty();
            let (powers, mapping) = (self.powers(&mapping, &state), mapping.clone());
            let becomes_request = waits && rule.is_some();
            let mut done =
                Done { mapping, powers, state, plan, verdict, is_dry, becomes_request, asked: None };
            if is_dry {
                return Ok(done);
            }
            if let Some(expected) = expected {
                let (same, shown) = looked_at(done).await?;
                done = same;
                let current = &shown["preview_sha256"];
                if *current != expected {
                    let detail = "the change does not do any more what was shown; look at it again";
                    return Err(Problem::new(412, detail).with("preview_sha256", current.clone()));
                }
            }
            if waits {
                if rule.is_none() {
                    return Err(alone(&done.verdict));
                }
                done.asked = Some(self.ask_for_edit(caller, wanted, keyed, now).await?);
                return Ok(done);
            }
            let Done { state, plan, .. } = &done;
            let by = By { name: caller.id(), reason: wanted.reason.as_deref(), way: Way::Api, now };
            let further = self.customers_events(asked, caller, plan, now);
            let answer = keep_of(&answer(wanted, &done, caller.id()));
            let answer = keyed.map(|keyed| keyed.with(&answer));
            if grants::apply_with(store, &self.parts.notary, state, plan, by, (&further, answer)).await? {
                return Ok(done);
            }
        }
        Err(PeopleError::Changing.into())
    }

    /// Keeps an edit until others have approved it.
    async fn ask_for_edit(
        &self,
        caller: &Caller,
        wanted: &Wanted,
        keyed: Option<Keyed<'_>>,
        now: DateTime<Utc>,
    ) -> Result<AccessRequest, Problem> {
        let edit = AskedEdit { by: caller.kind(), change: wanted.change.clone(), also: wanted.also.clone() };
        let by = (caller.id(), wanted.reason.as_deref());
        let answer = |request: &AccessRequest| keyed.map(|keyed| (keyed, keep_of(&waits(request, now))));
        let (store, notary) = (&self.parts.store, &self.parts.notary);
        Ok(requests::ask_for_edit(store, notary, edit, by, now, answer).await?)
    }

    /// Refuses what is not granted while FreeScout does not call the ticket open.
    pub(super) async fn is_open(&self, ticket: &str) -> Result<(), Problem> {
        let word = Reason::TicketGrantsOff.word();
        let off = || {
            let detail = "grants for tickets are switched off, or the gate has no FreeScout";
            Problem::forbidden(word, detail, &["an operator, by `console-gate flag ticket-grants on`"])
        };
        let tickets = self.parts.tickets.as_ref().ok_or_else(off)?;
        if self.parts.store.ticket_grants_flag().await? == Some(false) {
            return Err(off());
        }
        must_be_open(tickets.freescout(), ticket).await.map_err(|error| match error {
            TicketError::NotOpen(..) | TicketError::NoTicket(_) => Problem::new(422, error.to_string()),
            TicketError::People(error) => error.into(),
            TicketError::FreeScout(error) => {
                tracing::warn!(%error, ticket, "nothing is granted for a ticket that FreeScout says nothing of");
                Problem::new(503, "FreeScout does not say whether the ticket is open; try again")
            }
        })
    }

    /// The rows of `customer_audit_events` for what a request grants and revokes.
    pub(super) fn customers_events(
        &self,
        asked: &OwnRequest<'_>,
        caller: &Caller,
        plan: &Plan,
        now: DateTime<Utc>,
    ) -> Vec<Note> {
        let by = By { name: caller.id(), reason: None, way: Way::Api, now };
        let id = asked.id.to_string();
        customers_events(&self.parts.notary, plan, by, caller.kind().into(), Some(&id))
    }

    /// Refuses to end what never was; what has ended already may be ended again.
    async fn is_known_grant(&self, wanted: &Wanted, done: &Done) -> Result<(), Problem> {
        let Kind::Leave { user, group } = &wanted.kind else { return Ok(()) };
        if !done.plan.changes.is_empty() {
            return Ok(());
        }
        let before = self.parts.store.grants_audit(Some(user), Some(group), 1).await?;
        match before.is_empty() {
            true => Err(Problem::new(404, "there is no such grant")),
            false => Ok(()),
        }
    }

    /// Ends a grant as a part of a decision about it, as a DELETE of it does: only looked at, or made where it does what was shown. The
    /// answer, if the decision is not to be recorded.
    pub(super) async fn end_within(
        &self,
        asked: &OwnRequest<'_>,
        caller: &Caller,
        change: RbacChange,
        (reason, is_dry, expected): (String, bool, Option<&str>),
    ) -> Result<Option<Reply>, Problem> {
        let (precondition, reason) = (Precondition::None, Some(reason));
        let wanted =
            Wanted { change, also: Vec::new(), precondition, subject: None, reason, kind: Kind::End };
        let done = self.make(asked, caller, &wanted, How { is_dry, expected, keyed: None }).await?;
        if is_dry {
            return Ok(Some(Reply::ok(looked_at(done).await?.1)));
        }
        Ok(done.asked.as_ref().map(|request| waits(request, self.parts.clock.now())))
    }

    /// Waits until no gate acts on what was before.
    pub(super) async fn settle(&self) -> Result<(), Problem> {
        let barrier = Barrier::new(self.parts.store.clone(), self.parts.clock.clone());
        barrier.settle_now(LONGEST_BARRIER).await.map(drop).map_err(|error| {
            tracing::error!(%error, "a revocation is committed, and whether every gate applies it is not known");
            Problem::new(
                503,
                "the change is made, but whether every gate applies it yet could not be determined; repeat the request",
            )
        })
    }
}

/// What a request wants, by its route and body.
fn wanted(
    endpoint: Endpoint,
    values: &[&str],
    asked: &OwnRequest<'_>,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Wanted, Problem> {
    for value in values {
        check_text("the path", value, 400)?;
    }
    match endpoint {
        Endpoint::PostGrant => return new_grant(body(asked)?, reason, now),
        Endpoint::PostTicketGrant => return new_ticket_grant(body(asked)?, reason, now),
        Endpoint::PutGroup => return creation::group(values, asked, reason),
        Endpoint::PutRole => return creation::role(values, asked, reason),
        _ => {}
    }
    let edit: Edit = if asked.body.is_empty() { Edit::default() } else { body(asked)? };
    let reason = checked_reason(edit.reason.as_deref().or(reason))?;
    let with_approval = edit.with_approval.unwrap_or(true);
    let own = |text: &&str| (*text).to_owned();
    let group = |name: &&str| Some(Subject::Group(own(name)));
    let role = |name: &&str| Some(Subject::Role(own(name)));
    let (change, subject, kind) = match (endpoint, values) {
        (Endpoint::PutPermission, [name]) => (
            RbacChange::CreatePermission { permission: own(name) },
            Some(Subject::Permission),
            Kind::Create(own(name)),
        ),
        (Endpoint::PutGroupRole, [name, other]) => {
            (RbacChange::GrantRole { group: own(name), role: own(other) }, group(name), Kind::Edit)
        }
        (Endpoint::DeleteGroupRole, [name, other]) => {
            (RbacChange::RevokeRole { group: own(name), role: own(other) }, group(name), Kind::Edit)
        }
        (Endpoint::PutParent, [name, other]) => {
            (RbacChange::Inherit { role: own(name), parent: own(other) }, role(name), Kind::Edit)
        }
        (Endpoint::DeleteParent, [name, other]) => {
            (RbacChange::Disinherit { role: own(name), parent: own(other) }, role(name), Kind::Edit)
        }
        (Endpoint::PutRolePermission, [name, other]) => {
            (RbacChange::Permit { role: own(name), permission: own(other) }, role(name), Kind::Edit)
        }
        (Endpoint::DeleteRolePermission, [name, other]) => {
            (RbacChange::Forbid { role: own(name), permission: own(other) }, role(name), Kind::Edit)
        }
        (Endpoint::PutGroupGrantor, [name, by]) => {
            let (of, by) = (Target::Group(own(name)), own(by));
            (RbacChange::AddGrantor { of, by, with_approval }, group(name), Kind::Edit)
        }
        (Endpoint::DeleteGroupGrantor, [name, by]) => {
            let (of, by) = (Target::Group(own(name)), own(by));
            (RbacChange::RemoveGrantor { of, by }, group(name), Kind::Edit)
        }
        (Endpoint::PutRoleGrantor, [name, by]) => {
            let (of, by) = (Target::Role(own(name)), own(by));
            (RbacChange::AddGrantor { of, by, with_approval }, role(name), Kind::Edit)
        }
        (Endpoint::DeleteRoleGrantor, [name, by]) => {
            let (of, by) = (Target::Role(own(name)), own(by));
            (RbacChange::RemoveGrantor { of, by }, role(name), Kind::Edit)
        }
        _ => return Err(Problem::nothing_here()),
    };
    let precondition = match kind {
        Kind::Create(_) => Precondition::IsNew,
        _ => Precondition::IsKnown,
    };
    Ok(Wanted { change, also: Vec::new(), precondition, subject, reason, kind })
}

fn new_grant(grant: NewGrant, reason: Option<&str>, now: DateTime<Utc>) -> Result<Wanted, Problem> {
    check_text("user", &grant.user, 422)?;
    check_text("group", &grant.group, 422)?;
    if reason.is_some() {
        return Err(Problem::new(400, "`reason` is in the body"));
    }
    let reason = checked_reason(Some(&grant.reason))?;
    // As both databases keep times.
    let now = now.trunc_subsecs(6);
    let until = checked_end(grant.until, now)?;
    let (admin, group) = (grant.user.clone(), grant.group.clone());
    let change = match until {
        None => RbacChange::Join { admin, group },
        Some(ends) => {
            let id = uuid::Uuid::new_v4().to_string();
            let grant =
                TimedGrant { id, admin, group, origin: Origin::Timed, request: None, starts: now, ends };
            RbacChange::GrantUntil { grant }
        }
    };
    let kind = Kind::Grant(grant);
    Ok(Wanted { change, also: Vec::new(), precondition: Precondition::None, subject: None, reason, kind })
}

fn new_ticket_grant(
    grant: NewTicketGrant,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Wanted, Problem> {
    let NewTicketGrant { user: admin, role, ticket, customer, reason: why, until } = grant;
    check_text("user", &admin, 422)?;
    check_text("role", &role, 422)?;
    check_text("ticket", &ticket, 422)?;
    if reason.is_some() {
        return Err(Problem::new(400, "`reason` is in the body"));
    }
    let reason = checked_reason(Some(&why))?;
    let ends = checked_end(until, now.trunc_subsecs(6))?;
    let grant = TicketGrant { id: uuid::Uuid::new_v4().to_string(), admin, role, ticket, customer, ends };
    let change = RbacChange::TicketGrant { grant: grant.clone() };
    let kind = Kind::Ticket(grant);
    Ok(Wanted { change, also: Vec::new(), precondition: Precondition::None, subject: None, reason, kind })
}

/// What ends a grant with a row of its own.
fn ending(id: String, grant: AccessGrant) -> RbacChange {
    let AccessGrant { origin, admin, group, role, ticket, customer, ends, .. } = grant;
    match origin {
        Origin::Direct | Origin::Timed | Origin::Request => {
            RbacChange::EndGrant { id, admin, group: group.unwrap_or_default() }
        }
        Origin::Ticket => {
            let (role, ticket) = (role.unwrap_or_default(), ticket.unwrap_or_default());
            let grant = TicketGrant { id, admin, role, ticket, customer: customer.unwrap_or_default(), ends };
            RbacChange::EndTicketGrant { grant, reason: TicketEnd::Manual }
        }
        Origin::BreakGlass => RbacChange::EndBreakGlass { id, admin },
    }
}

/// An end as both databases keep times.
fn checked_end(until: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, Problem> {
    let until = until.map(|until| until.trunc_subsecs(6));
    match until.is_some_and(|until| until <= now || until > now + MOST_DAYS) {
        false => Ok(until),
        true => Err(Problem::new(
            422,
            format!("`until` is in the future, and at most {} days away", MOST_DAYS.num_days()),
        )),
    }
}

/// 403: the mapping names nobody who could approve it.
fn alone(verdict: &Verdict) -> Problem {
    let rights = match verdict {
        Verdict::Allow => Vec::new(),
        Verdict::Approve(rights) => rights.clone(),
    };
    let could = vec![
        "an operator, by `console-gate group`, `role` and `grantors`".to_owned(),
        "two people, once `[approval.edits]` of the mapping names who approves".to_owned(),
    ];
    Refusal { sentence: Sentence::FourEyes, rights, could }.into()
}

/// 202: the edit waits for approval.
fn waits(request: &AccessRequest, now: DateTime<Utc>) -> Reply {
    let place = format!("/api/rbac/requests/{}", request.id);
    Reply::ok(views::request(request, now)).with_status(202).with("location", place)
}

pub(super) fn checked_reason(reason: Option<&str>) -> Result<Option<String>, Problem> {
    let Some(reason) = reason else { return Ok(None) };
    match !reason.trim().is_empty() && is_line(reason, MOST_REASON) {
        true => Ok(Some(reason.to_owned())),
        false => Err(Problem::new(
            422,
            format!(
                "`reason` is 1 to {MOST_REASON} characters: one line, without control and invisible characters"
            ),
        )),
    }
}

/// Refuses what no name of anything can be, and what no database takes.
pub(super) fn check_text(name: &str, text: &str, status: u16) -> Result<(), Problem> {
    match is_line(text, MOST_REASON) {
        true => Ok(()),
        false => Err(Problem::new(
            status,
            format!("{name} is too long, or has control or invisible characters in it"),
        )),
    }
}

pub(super) fn body<T: DeserializeOwned>(asked: &OwnRequest<'_>) -> Result<T, Problem> {
    serde_json::from_slice(asked.body).map_err(|error| {
        // What was sent is not repeated.
        let (line, column) = (error.line(), error.column());
        match error.is_data() {
            true => Problem::new(
                422,
                format!("the body does not have the form that is documented, line {line} column {column}"),
            ),
            false => Problem::new(400, format!("the body is no JSON, line {line} column {column}")),
        }
    })
}

/// The single value of a field.
pub(super) fn field<'r>(asked: &'r OwnRequest<'_>, name: &str) -> Result<Option<&'r str>, Problem> {
    let fields = asked.request.fields();
    let mut values = fields.iter().filter(|(other, _)| *other == name).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            let text = std::str::from_utf8(value).ok();
            text.map(Some).ok_or_else(|| Problem::new(400, format!("the field {name} cannot be read")))
        }
        (Some(_), Some(_)) => Err(Problem::new(400, format!("the field {name} is repeated"))),
    }
}

/// Why a change cannot be worked out: what the address itself names may be missing, or there already.
fn not_made(wanted: &Wanted, error: PeopleError) -> Problem {
    let is_subject = |kind: &str, name: &str| match &wanted.subject {
        Some(Subject::Group(group)) => kind == "group" && group == name,
        Some(Subject::Role(role)) => kind == "role" && role == name,
        Some(Subject::Permission) | None => false,
    };
    match (&error, &wanted.kind) {
        (PeopleError::Unknown { .. }, Kind::Leave { .. } | Kind::End | Kind::OwnEnd) => {
            Problem::new(404, "there is no such grant")
        }
        (PeopleError::Unknown { kind, name, .. }, _) if is_subject(kind, name) => {
            Problem::new(404, format!("there is no such {kind}"))
        }
        (PeopleError::Exists { .. }, Kind::Create(_)) => Problem::new(412, error.to_string()),
        _ => error.into(),
    }
}

/// Refuses a request that does not say what it is made on: two clients would undo each other's edits unseen.
fn is_conditional(wanted: &Wanted, asked: &OwnRequest<'_>) -> Result<(), Problem> {
    let (known, new) = (field(asked, "if-match")?, field(asked, "if-none-match")?);
    match (wanted.precondition, known, new) {
        (Precondition::None, None, None)
        | (Precondition::IsNew, None, Some("*"))
        | (Precondition::IsKnown, Some(_), None) => Ok(()),
        (Precondition::None, ..) => Err(Problem::new(412, "a grant has no ETag")),
        (Precondition::IsNew, ..) => {
            Err(Problem::new(428, "send `If-None-Match: *`: this creates what is not there yet"))
        }
        (Precondition::IsKnown, ..) => {
            Err(Problem::new(428, "send `If-Match` with the ETag of the group or role that you have read"))
        }
    }
}

/// Refuses an edit of something that the client has not read as it is.
fn is_current(wanted: &Wanted, asked: &OwnRequest<'_>, state: &State) -> Result<(), Problem> {
    if wanted.precondition != Precondition::IsKnown {
        return Ok(());
    }
    let view = match &wanted.subject {
        Some(Subject::Group(name)) => views::group(&state.registry, state, &state.grantors, name),
        Some(Subject::Role(name)) => views::role(&state.registry.catalog, &state.grantors, name),
        Some(Subject::Permission) | None => None,
    };
    let known = field(asked, "if-match")?.unwrap_or_default();
    let current = view.as_ref().map(etag);
    match current.is_some_and(|current| known.split(',').any(|one| one.trim() == current)) {
        true => Ok(()),
        false => Err(Problem::new(412, "it has changed since you have read it; read it again")),
    }
}

fn answer(wanted: &Wanted, done: &Done, by: &str) -> Reply {
    let is_made = !done.plan.changes.is_empty();
    match &wanted.kind {
        Kind::Leave { .. } | Kind::End | Kind::OwnEnd => Reply::empty(204),
        Kind::Ticket(grant) => {
            let location = format!("/api/rbac/grants/{}", grant.id);
            let shown = json!({
                "id": grant.id,
                "origin": Origin::Ticket,
                "user": grant.admin,
                "group": null,
                "role": grant.role,
                "ticket_id": grant.ticket,
                "customer_id": grant.customer,
                "granted_by": by,
                "starts_at_utc": null,
                "ends_at_utc": grant.ends,
                "reason": wanted.reason,
                "revoked_at_utc": null,
                "revoked_by": null,
                "live": true,
                "audit": audit(&done.plan.rows),
            });
            Reply::ok(shown).with_status(201).with("location", location)
        }
        Kind::Grant(NewGrant { user, group, .. }) => {
            let (id, timed) = match &wanted.change {
                RbacChange::GrantUntil { grant } => (grant.id.clone(), Some(grant)),
                _ => (GrantId::direct(user, group), None),
            };
            let location = format!("/api/rbac/grants/{id}");
            let stored =
                done.state.memberships.iter().find(|one| *one.admin == **user && *one.group == **group);
            let stored = stored.filter(|_| !is_made);
            let grant = json!({
                "id": id,
                "origin": timed.map_or(Origin::Direct, |grant| grant.origin),
                "user": user,
                "group": group,
                "role": null,
                "ticket_id": null,
                "customer_id": null,
                "granted_by": stored.map_or(Some(by), |one| one.granted_by.as_deref()),
                "starts_at_utc": timed.map(|grant| grant.starts),
                "ends_at_utc": timed.map(|grant| grant.ends),
                "reason": timed.and(wanted.reason.as_ref()),
                "revoked_at_utc": null,
                "revoked_by": null,
                "live": true,
                "audit": audit(&done.plan.rows),
            });
            Reply::ok(grant).with_status(if is_made { 201 } else { 200 }).with("location", location)
        }
        Kind::Create(_) | Kind::Edit => {
            let (after, grantors) = (&done.plan.after, &done.plan.grantors);
            let view = match &wanted.subject {
                Some(Subject::Group(name)) => views::group(after, &done.state, grantors, name),
                Some(Subject::Role(name)) => views::role(&after.catalog, grantors, name),
                Some(Subject::Permission) | None => None,
            };
            let reply = match view {
                Some(view) => {
                    let tag = etag(&view);
                    Reply::ok(view).with("etag", tag)
                }
                None => Reply::ok(
                    json!({ "name": match &wanted.kind { Kind::Create(name) => name, _ => "" }, "roles": [] }),
                ),
            };
            match wanted.kind {
                Kind::Create(_) => reply.with_status(201),
                _ => reply,
            }
        }
    }
}

/// The rows of `rbac_grants_audit`, as they are shown before they have ids.
fn audit(rows: &[GrantRow]) -> Vec<Value> {
    let row = |row: &GrantRow| {
        let event = if row.is_grant { "grant" } else { "revoke" };
        json!({ "event": event, "user": row.admin, "group": row.group, "role": row.role })
    };
    rows.iter().map(row).collect()
}

/// What a change would do, exactly: the rows of the audit, and who gains and loses which routes and rights by it.
async fn looked_at(done: Done) -> Result<(Done, Value), Problem> {
    let looked_at = tokio::task::spawn_blocking(move || {
        let shown = preview(&done);
        (done, shown)
    });
    looked_at.await.map_err(|error| Problem::unavailable(&error))
}

fn preview(done: &Done) -> Value {
    let Done { mapping, powers, state, plan, verdict, is_dry, becomes_request, .. } = done;
    let mut impact = grants::impact_in_json(mapping, state, plan);
    impact["gains"] = requests::gains_in_json(&plan.weighed(state, powers), None);
    let mut shown = json!({
        "dry_run": is_dry,
        "becomes_request": becomes_request,
        "changes": plan.changes,
        "already": plan.already,
        "audit": audit(&plan.rows),
        "needs_approval": match verdict {
            Verdict::Allow => Vec::new(),
            Verdict::Approve(rights) => rights.iter().map(ToString::to_string).collect::<Vec<_>>(),
        },
        "mapping_sha256": mapping.sha256().as_str(),
        "impact": impact,
    });
    // Without the ids that it would get.
    let of_change = ["becomes_request", "already", "audit", "needs_approval"].map(|name| &shown[name]);
    let of_impact = requests::confirmed(&shown["impact"]);
    shown["preview_sha256"] = digest(json!([of_change, of_impact]).to_string().as_bytes()).into();
    shown
}

/// The request's `Idempotency-Key`, with whom and what it is of.
fn once_key(asked: &OwnRequest<'_>, caller: &Caller) -> Result<Option<OnceKey>, Problem> {
    let Some(key) = field(asked, "idempotency-key")? else { return Ok(None) };
    let is_key = (1..=255).contains(&key.len()) && key.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if !is_key {
        return Err(Problem::new(400, "`Idempotency-Key` is 1 to 255 printable ASCII characters"));
    }
    let request = asked.request;
    let parts = |parts: &[&[u8]]| {
        let framed: Vec<Vec<u8>> =
            parts.iter().map(|part| [part.len().to_string().as_bytes(), b":", part].concat()).collect();
        digest(&framed.concat())
    };
    let condition = |name| field(asked, name).map(|value| value.unwrap_or_default().as_bytes().to_vec());
    let (known, new) = (condition("if-match")?, condition("if-none-match")?);
    Ok(Some(OnceKey {
        key_sha256: parts(&[caller.principal.kind().as_bytes(), caller.id().as_bytes(), key.as_bytes()]),
        request_sha256: parts(&[
            request.method().as_str().as_bytes(),
            request.target().raw().as_bytes(),
            &known,
            &new,
            asked.body,
        ]),
    }))
}

pub(super) fn keep_of(reply: &Reply) -> String {
    json!({ "status": reply.status, "fields": reply.fields, "body": reply.body }).to_string()
}

/// An answer that was kept, as it was given.
fn kept(answer: &str) -> Outcome {
    #[derive(Deserialize)]
    struct Kept {
        status: u16,
        fields: Vec<(String, String)>,
        body: Option<Value>,
    }
    let kept: Kept = serde_json::from_str(answer).map_err(|error| Problem::unavailable(&error))?;
    let mut reply = Reply { status: kept.status, fields: Vec::new(), body: kept.body };
    for (name, value) in kept.fields {
        let name = ["location", "etag"].into_iter().find(|known| **known == *name);
        reply.fields.extend(name.map(|name| (name, value)));
    }
    Ok(reply.with("idempotency-replayed", "true"))
}
