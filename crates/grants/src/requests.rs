//! Requests for access: an admin asks for membership of a group for a time, and others approve that on the basis of its
//! impact. Edits of groups, roles and permissions go the same way where `[approval.edits]` requires it.
//!
//! ```text
//! request -> pending -> approvals of one impact -> quorum -> one transaction: approval, audit rows, grant or edit
//!                 \-> denied, withdrawn, or too old
//! ```
//!
//! `[approval]` of the mapping specifies who may approve what ([`ApprovalRule`]). An approver must neither have asked
//! nor gain by the request. That, and the approver's own groups, are judged as of the epoch at which the transaction
//! commits. An approval covers the impact that the approver was shown: if the impact has changed, the approval no
//! longer counts.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use ledger::event::Way;
use ledger::{AuditEvent, Notary, Note};
use policy::mapping::Mapping;
use policy::mapping::approval::ApprovalRule;
use policy::rbac::Requirement;
use policy::rbac::catalog::Catalog;
use policy::rbac::census::{CallerKind, Person};
use policy::rbac::grant::Origin;
use policy::span;
use policy::text::is_line;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use store::access_requests::{AccessRequest, Added, Approval, Approved, Edit, NewApproval, RequestState};
use store::idempotency::{OnceAnswer, OnceKey};
use store::rbac_changes::{RbacChange, RbacWork, TicketGrant, TimedGrant};
use store::{SharedStore, StoreError};

use super::authority::holdings::{Holdings, Machine, Right, Until};
use super::authority::{self, Powers, Refusal, Sentence, Weighed};
use super::plan::Plan;
use super::{AdminTable, PeopleError, State, Terms, impact_in_json};

/// How long a request waits for its approvals.
const OPEN_FOR: TimeDelta = TimeDelta::days(7);
/// The longest reason, in characters.
const MOST_REASON: usize = 2_000;
/// How often an approval is computed again if others change access or approve at the same time.
const TRIES: usize = 20;

/// A new request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRequest {
    /// The admin that is to be in the group.
    pub admin: String,
    pub requested_by: String,
    pub group: String,
    pub span: TimeDelta,
    pub reason: String,
    pub ticket: Option<String>,
    /// The route that was denied.
    pub route: Option<String>,
    /// The grant that the request extends.
    pub extends: Option<String>,
}

/// The most pending requests of one asker.
const MOST_PENDING: u32 = 20;
/// The most pending requests of a service.
const MOST_OF_A_SERVICE: u32 = 1_000;

/// Why a request was not made or not decided.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error(transparent)]
    People(#[from] PeopleError),
    #[error("nobody can ask to be in `{0}`: `[approval]` of the mapping has no rule for it")]
    NoRule(String),
    #[error("`{group}` is granted for {longest} at most")]
    TooLong { group: String, longest: String },
    #[error("too many requests of yours are pending already")]
    TooMany,
    #[error("`{0}` is disabled: enable the admin first")]
    Disabled(String),
    #[error("{0}")]
    Refused(Refusal),
    #[error(
        "a reason is needed: one line of {MOST_REASON} characters at most, without control and invisible characters"
    )]
    NoReason,
    #[error("`{admin}` has asked to be in `{group}` already: request {id}")]
    Pending { admin: String, group: String, id: String },
    #[error("this edit waits for approval already: request {0}")]
    PendingEdit(String),
    #[error("what is asked for is so already: there is nothing to approve")]
    Nothing,
    #[error("the one who asked for it may not make it any more: {0}")]
    Requester(String),
    #[error("there is no request `{0}`")]
    Unknown(String),
    #[error("the request is {0}, and cannot be decided any more")]
    Closed(&'static str),
    #[error("the request was made more than 7 days ago: ask again")]
    TooOld,
    #[error("you cannot approve a request that you made or that benefits you (rule a)")]
    OwnRequest,
    #[error("only members of {0} may decide this")]
    NotAnApprover(String),
    #[error("only who asked may withdraw a request")]
    NotRequester,
    #[error("the impact has changed since it was shown; look at it again: it is {current} now")]
    ImpactChanged { current: String },
}

impl From<StoreError> for RequestError {
    fn from(error: StoreError) -> Self {
        RequestError::People(error.into())
    }
}

/// A request with everything needed to decide it, as of one epoch.
pub struct Judged {
    pub request: AccessRequest,
    /// The edit that was requested; `None` for a membership.
    pub edit: Option<Edit>,
    pub approvals: Vec<Approval>,
    pub state: State,
    /// What it would change now; empty if the mapping no longer has a rule for the group.
    pub plan: Plan,
    /// The powers of names in the mapping, the settings and the grantors.
    pub powers: Powers,
    /// The routes that open and close, and who gains which right.
    pub impact: Value,
    /// The digest of the impact, which an approval names.
    pub impact_sha256: String,
}

impl Judged {
    /// The approvals that count: for this impact, by members of the rule's groups that neither ask nor gain.
    pub fn counting<'j>(&'j self, rule: &'j ApprovalRule) -> impl Iterator<Item = &'j Approval> {
        self.approvals.iter().filter(|approval| {
            approval.impact_sha256 == self.impact_sha256 && self.may_approve(rule, &approval.approver).is_ok()
        })
    }

    /// Whether an admin may approve it: [`may_decide`] permits it, the admin gains nothing by it (rule a), and is in
    /// one of the rule's groups for at least as long as the request gives access (rule e).
    fn may_approve(&self, rule: &ApprovalRule, by: &str) -> Result<(), RequestError> {
        may_decide(&self.request, rule, &self.state, by)?;
        // A machine acts for the admin who created its token.
        let asked = |machine: &Machine| {
            machine.created_by == by
                && [&machine.id, &machine.name].into_iter().any(|one| *one == self.request.requested_by)
        };
        if self.state.machines.iter().any(asked) {
            return Err(RequestError::OwnRequest);
        }
        let weighed = self.plan.weighed(&self.state, &self.powers);
        authority::gains_nothing((CallerKind::Admin, by), &weighed, &self.powers)
            .map_err(RequestError::Refused)?;
        let held = Holdings::of(CallerKind::Admin, by, &weighed.before);
        let longest =
            rule.by.iter().filter_map(|group| held.plainly_until(&Right::Group(group.clone()))).max();
        match longest >= Some(self.lasts_until()) {
            true => Ok(()),
            false => Err(RequestError::Refused(Refusal {
                sentence: Sentence::Approval,
                rights: rule.by.iter().cloned().map(Right::Group).collect(),
                could: vec![
                    "an approver whose membership lasts at least as long as what is given".to_owned(),
                ],
            })),
        }
    }

    /// When the access that it gives ends.
    fn lasts_until(&self) -> Until {
        let ends = self.plan.changes.iter().map(|change| match change {
            RbacChange::GrantUntil { grant } => Until::At(grant.ends),
            RbacChange::TicketGrant { grant } => grant.ends.map_or(Until::Never, Until::At),
            _ => Until::Never,
        });
        ends.max().unwrap_or(Until::Never)
    }
}

/// The outcome of an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided {
    /// The approval was counted: the number of approvals so far, and the number needed.
    Counted { approvals: usize, quorum: usize },
    /// It was the last approval: the grant with that id is live.
    Granted { grant: String },
    /// It was the last approval: the edit is made, and may have reduced the access of others.
    Edited { takes_away: bool },
}

impl Decided {
    /// The decision in the form of the API's answer.
    pub fn in_json(&self) -> Value {
        match self {
            Decided::Counted { approvals, quorum } => {
                json!({ "state": "pending", "approvals": approvals, "quorum": quorum })
            }
            Decided::Granted { grant } => json!({ "state": "approved", "grant": grant }),
            Decided::Edited { .. } => json!({ "state": "approved", "grant": null }),
        }
    }
}

/// A request's key, and how long its answer is kept.
#[derive(Clone, Copy, Debug)]
pub struct Keyed<'k> {
    pub key: &'k OnceKey,
    pub until: DateTime<Utc>,
}

impl<'k> Keyed<'k> {
    /// An answer to be kept under the key.
    pub fn with(self, answer: &'k str) -> OnceAnswer<'k> {
        OnceAnswer { key: self.key, answer, until: self.until }
    }
}

/// The further conditions of an approval.
pub trait ApprovalTerms {
    /// The powers of names in the mapping, the settings and this state's grantors.
    fn powers(&self, state: &State) -> Powers;

    /// Further records about the granted access, each in its own row.
    fn further(&self, _plan: &Plan) -> Vec<Note> {
        Vec::new()
    }

    /// Whether the requested change may still be made.
    ///
    /// # Errors
    ///
    /// The asker may no longer make it.
    fn check(&self, _judged: &Judged) -> Result<(), RequestError> {
        Ok(())
    }

    /// The answer to be kept with the approval, under the request's key.
    fn answer(&self, _decided: &Decided) -> Option<(Keyed<'_>, String)> {
        None
    }
}

/// Stores a request of a service, which asks for many people.
///
/// # Errors
///
/// The mapping does not allow such a request, or the request is not valid. Nothing is stored in that case.
pub async fn ask(
    store: &SharedStore,
    notary: &Notary,
    mapping: &Mapping,
    wanted: NewRequest,
    now: DateTime<Utc>,
) -> Result<AccessRequest, RequestError> {
    ask_at_most(MOST_OF_A_SERVICE, store, notary, mapping, wanted, now, |_| None).await
}

/// Stores a request of a person, with the answer to the request's key.
///
/// # Errors
///
/// As for [`ask`].
pub async fn ask_once<'k>(
    store: &SharedStore,
    notary: &Notary,
    mapping: &Mapping,
    wanted: NewRequest,
    now: DateTime<Utc>,
    answer: impl FnOnce(&AccessRequest) -> Option<(Keyed<'k>, String)>,
) -> Result<AccessRequest, RequestError> {
    ask_at_most(MOST_PENDING, store, notary, mapping, wanted, now, answer).await
}

async fn ask_at_most<'k>(
    most: u32,
    store: &SharedStore,
    notary: &Notary,
    mapping: &Mapping,
    wanted: NewRequest,
    now: DateTime<Utc>,
    answer: impl FnOnce(&AccessRequest) -> Option<(Keyed<'k>, String)>,
) -> Result<AccessRequest, RequestError> {
    let rule = rule_of(mapping, &wanted.group)?;
    if wanted.span > rule.longest {
        let longest = span::in_words(rule.longest);
        return Err(RequestError::TooLong { group: wanted.group, longest });
    }
    let reason = wanted.reason.trim();
    if reason.is_empty() || !is_line(reason, MOST_REASON) {
        return Err(RequestError::NoReason);
    }
    let request = AccessRequest {
        id: uuid::Uuid::new_v4().to_string(),
        admin: wanted.admin,
        requested_by: wanted.requested_by,
        group: wanted.group,
        minutes: wanted.span.num_minutes(),
        reason: reason.to_owned(),
        ticket: wanted.ticket,
        route: wanted.route,
        state: RequestState::Pending,
        requested_at: now,
        closes_at: now + OPEN_FOR,
        closed_at: None,
        closed_by: None,
        comment: None,
        grant: None,
        extends: wanted.extends,
        edit: None,
    };
    // An admin or group that does not exist is refused now, not at approval.
    let change = grant_of(&request, now, "preview");
    super::preview(store, &[change], terms(), now).await?;
    let mut detail = json!({ "minutes": request.minutes, "ticket": request.ticket, "route": request.route });
    if let Some(extends) = &request.extends {
        detail["extends"] = json!(extends);
    }
    let note = record(&request, "requested", &request.requested_by, Some(&request.reason), detail);
    let kept = answer(&request);
    let kept = kept.as_ref().map(|(keyed, answer)| keyed.with(answer));
    match store.add_access_request(&request, &notary.note(note.into_record(now)), kept, most).await? {
        Added::Done => Ok(request),
        Added::Same(id) => Err(RequestError::Pending { admin: request.admin, group: request.group, id }),
        Added::TooMany => Err(RequestError::TooMany),
    }
}

/// Stores an edit until it is approved.
///
/// # Errors
///
/// The same edit is already waiting. Nothing is stored in that case.
pub async fn ask_for_edit<'k>(
    store: &SharedStore,
    notary: &Notary,
    edit: Edit,
    (by, reason): (&str, Option<&str>),
    now: DateTime<Utc>,
    answer: impl FnOnce(&AccessRequest) -> Option<(Keyed<'k>, String)>,
) -> Result<AccessRequest, RequestError> {
    let edit = Edit { change: waiting(edit.change), ..edit };
    let text = serde_json::to_string(&edit).map_err(|error| PeopleError::Plan(error.to_string()))?;
    let request = AccessRequest {
        id: uuid::Uuid::new_v4().to_string(),
        // The request is deleted when its beneficiary is erased.
        admin: edit.change.admin().unwrap_or(by).to_owned(),
        requested_by: by.to_owned(),
        // Contains spaces, unlike the name of any group. It is sealed, so it names no admin.
        group: format!("edit: {}", edit.changes().map(without_admin).collect::<Vec<_>>().join(", ")),
        minutes: 1,
        reason: reason.unwrap_or_default().to_owned(),
        ticket: None,
        route: None,
        state: RequestState::Pending,
        requested_at: now,
        closes_at: now + OPEN_FOR,
        closed_at: None,
        closed_by: None,
        comment: None,
        grant: None,
        extends: None,
        edit: Some(text),
    };
    let changes: Vec<RbacChange> = edit.changes().cloned().collect();
    let detail = json!({ "edit": super::without_admins(&changes) });
    let note = record(&request, "requested", by, reason, detail);
    let kept = answer(&request);
    let kept = kept.as_ref().map(|(keyed, answer)| keyed.with(answer));
    match store.add_access_request(&request, &notary.note(note.into_record(now)), kept, MOST_PENDING).await? {
        Added::Done => Ok(request),
        Added::Same(id) => Err(RequestError::PendingEdit(id)),
        Added::TooMany => Err(RequestError::TooMany),
    }
}

/// A change as it waits: without what a grant gets when it is made, so that asking twice for the same is seen.
fn waiting(change: RbacChange) -> RbacChange {
    made_at(change, DateTime::UNIX_EPOCH, String::new)
}

/// A change that waited, with the ids and the start that its grants get when it is approved.
fn from_now(change: RbacChange, now: DateTime<Utc>) -> RbacChange {
    made_at(change, now, || uuid::Uuid::new_v4().to_string())
}

fn made_at(change: RbacChange, starts: DateTime<Utc>, id: impl FnOnce() -> String) -> RbacChange {
    match change {
        RbacChange::GrantUntil { grant } => {
            RbacChange::GrantUntil { grant: TimedGrant { id: id(), starts, ..grant } }
        }
        RbacChange::TicketGrant { grant } => {
            RbacChange::TicketGrant { grant: TicketGrant { id: id(), ..grant } }
        }
        change => change,
    }
}

/// A change in words that name no admin.
fn without_admin(change: &RbacChange) -> String {
    match change {
        RbacChange::Join { group, .. } => format!("membership of `{group}`"),
        RbacChange::GrantUntil { grant } => format!("membership of `{}` for a time", grant.group),
        RbacChange::TicketGrant { grant } => format!("the role `{}` for a ticket", grant.role),
        edit => edit.in_words(),
    }
}

/// Reads a request with its impact as of now.
///
/// # Errors
///
/// There is no such request, or access kept changing.
pub async fn judge(
    store: &SharedStore,
    mapping: &Mapping,
    id: &str,
    now: DateTime<Utc>,
    powers: impl Fn(&State) -> Powers,
) -> Result<Judged, RequestError> {
    let unknown = || RequestError::Unknown(id.to_owned());
    let request = store.access_request(id).await?.ok_or_else(unknown)?;
    let edit = request.as_edit()?;
    let wanted: Vec<RbacChange> = match &edit {
        Some(edit) => edit.changes().map(|change| from_now(change.clone(), now)).collect(),
        None => vec![grant_of(&request, now, &uuid::Uuid::new_v4().to_string())],
    };
    let (mut state, plan) = match super::preview(store, &wanted, terms(), now).await {
        // It is decided, and what it creates is there: it would do nothing now.
        Err(PeopleError::Exists { .. }) if request.state != RequestState::Pending => {
            super::preview(store, &[], terms(), now).await?
        }
        previewed => previewed?,
    };
    // Read after the state: the transaction detects an approval that comes later.
    let approvals = store.approvals(id).await?;
    let powers = powers(&state);
    let judged = |state: &State, plan: &Plan| {
        let mut impact = impact_in_json(mapping, state, plan);
        impact["gains"] = gains_in_json(&plan.weighed(state, &powers), Some(&request));
        impact
    };
    let impact = match &request.extends {
        // While the extended grant lasts, another grant of its group opens nothing: the impact is that after its end.
        Some(extended) => {
            state.without_timed(extended);
            let later = super::plan::plan(&state, &wanted, terms())?;
            judged(&state, &later)
        }
        None => judged(&state, &plan),
    };
    let impact_sha256 = digest(&impact, &request);
    Ok(Judged { request, edit, approvals, state, plan, powers, impact, impact_sha256 })
}

/// Approves a request on the basis of the impact with that digest. The last approval that is needed grants access, or
/// makes the edit, under `terms`.
///
/// # Errors
///
/// The request is not pending, `by` may not approve it, or its impact has changed. Nothing is changed in that case.
pub async fn approve(
    store: &SharedStore,
    notary: &Notary,
    mapping: &Mapping,
    (id, impact_sha256): (&str, &str),
    by: &str,
    now: DateTime<Utc>,
    terms: impl ApprovalTerms,
) -> Result<Decided, RequestError> {
    for _ in 0..TRIES {
        let judged = judge(store, mapping, id, now, |state| terms.powers(state)).await?;
        let request = &judged.request;
        is_open(request, now)?;
        let rule = rule_of_request(mapping, request)?;
        is_grantable(request, judged.edit.as_ref(), rule, &judged.state)?;
        judged.may_approve(rule, by)?;
        if judged.plan.changes.is_empty() {
            return Err(RequestError::Nothing);
        }
        terms.check(&judged)?;
        if judged.impact_sha256 != impact_sha256 {
            return Err(RequestError::ImpactChanged { current: judged.impact_sha256 });
        }
        let others = judged.counting(rule).filter(|approval| approval.approver != by).count();
        let quorum = usize::try_from(rule.quorum).unwrap_or(usize::MAX);
        let is_last = others + 1 >= quorum;
        let detail = json!({ "impact_sha256": impact_sha256, "approvals": others + 1, "quorum": quorum });
        let step = if is_last { "approved" } else { "approval" };
        let reason = Some(request.reason.as_str()).filter(|reason| !reason.is_empty());
        let note = record(request, step, by, reason, detail);
        let work = RbacWork {
            changes: &judged.plan.changes,
            rows: &judged.plan.rows,
            as_of: judged.state.epoch,
            by,
            way: Way::Api,
            notary,
            reason,
            now,
            answer: None,
        };
        let grant = judged.plan.changes.iter().find_map(|change| match change {
            RbacChange::GrantUntil { grant } => Some(grant.id.clone()),
            _ => None,
        });
        let decided = match (is_last, &grant) {
            (false, _) => Decided::Counted { approvals: others + 1, quorum },
            (true, Some(grant)) => Decided::Granted { grant: grant.clone() },
            (true, None) => {
                Decided::Edited { takes_away: judged.plan.changes.iter().any(RbacChange::takes_away) }
            }
        };
        let further = if is_last { terms.further(&judged.plan) } else { Vec::new() };
        let kept = terms.answer(&decided);
        let kept = kept.as_ref().map(|(keyed, answer)| keyed.with(answer));
        let approval = NewApproval {
            request: id,
            approver: by,
            impact_sha256,
            known: &judged.approvals,
            as_of: judged.state.epoch,
            now,
            grants: is_last.then_some((&work, grant.as_deref())),
            further: &further,
            answer: kept,
        };
        match store.approve(&approval, &notary.note(note.into_record(now))).await? {
            Approved::Done => return Ok(decided),
            // The next attempt reads its current state.
            Approved::Changed | Approved::Closed => {}
        }
    }
    Err(PeopleError::Changing.into())
}

/// Denies a request. One admin that may decide it is enough.
///
/// # Errors
///
/// The request is not pending, or `by` may not decide it.
pub async fn deny(
    store: &SharedStore,
    notary: &Notary,
    mapping: &Mapping,
    id: &str,
    (by, comment): (&str, Option<&str>),
    now: DateTime<Utc>,
) -> Result<AccessRequest, RequestError> {
    let request = store.access_request(id).await?.ok_or_else(|| RequestError::Unknown(id.to_owned()))?;
    is_open(&request, now)?;
    let rule = rule_of_request(mapping, &request)?;
    // Its effect does not matter: a request that can no longer be made can be denied as well.
    let state = State::read(store, &[], now).await?;
    may_decide(&request, rule, &state, by)?;
    close(store, notary, request, RequestState::Denied, (by, comment), now).await
}

/// Withdraws a request.
///
/// # Errors
///
/// The request is not pending, or `by` is neither its asker nor its beneficiary.
pub async fn withdraw(
    store: &SharedStore,
    notary: &Notary,
    id: &str,
    by: &str,
    now: DateTime<Utc>,
) -> Result<AccessRequest, RequestError> {
    let request = store.access_request(id).await?.ok_or_else(|| RequestError::Unknown(id.to_owned()))?;
    if by != request.requested_by && by != request.admin {
        return Err(RequestError::NotRequester);
    }
    is_open(&request, now)?;
    close(store, notary, request, RequestState::Withdrawn, (by, None), now).await
}

async fn close(
    store: &SharedStore,
    notary: &Notary,
    request: AccessRequest,
    state: RequestState,
    (by, comment): (&str, Option<&str>),
    now: DateTime<Utc>,
) -> Result<AccessRequest, RequestError> {
    let note = record(&request, state.word(), by, comment, Value::Null);
    let note = notary.note(note.into_record(now));
    if !store.close_access_request(&request.id, state, (by, comment), now, &note).await? {
        let now_is = store.access_request(&request.id).await?.map_or("gone", |request| request.state.word());
        return Err(RequestError::Closed(now_is));
    }
    let unknown = || RequestError::Unknown(request.id.clone());
    store.access_request(&request.id).await?.ok_or_else(unknown)
}

/// Whether an admin may decide a request: it is a member of one of the rule's groups, and neither the asker nor the
/// beneficiary.
fn may_decide(
    request: &AccessRequest,
    rule: &ApprovalRule,
    state: &State,
    by: &str,
) -> Result<(), RequestError> {
    if by == request.admin || by == request.requested_by {
        return Err(RequestError::OwnRequest);
    }
    let is_by = |person: &&Person| person.kind == CallerKind::Admin && *person.id == *by;
    let person = state.registry.people.iter().find(is_by);
    if person.is_some_and(|person| rule.allows(&person.groups)) {
        return Ok(());
    }
    let names: Vec<String> = rule.by.iter().map(|group| format!("`{group}`")).collect();
    Err(RequestError::NotAnApprover(names.join(", ")))
}

/// Repeats the checks made at the time of the request: the rule's longest span, and whether the beneficiary is still
/// active.
fn is_grantable(
    request: &AccessRequest,
    edit: Option<&Edit>,
    rule: &ApprovalRule,
    state: &State,
) -> Result<(), RequestError> {
    if let Some(edit) = edit {
        let gone = edit.change.admin().filter(|admin| !state.is_active(admin));
        return gone.map_or(Ok(()), |admin| Err(RequestError::Disabled(admin.to_owned())));
    }
    if TimeDelta::minutes(request.minutes) > rule.longest {
        let (group, longest) = (request.group.clone(), span::in_words(rule.longest));
        return Err(RequestError::TooLong { group, longest });
    }
    match state.is_active(&request.admin) {
        true => Ok(()),
        false => Err(RequestError::Disabled(request.admin.clone())),
    }
}

fn is_open(request: &AccessRequest, now: DateTime<Utc>) -> Result<(), RequestError> {
    match request.state {
        RequestState::Pending if request.closes_at <= now => Err(RequestError::TooOld),
        RequestState::Pending => Ok(()),
        state => Err(RequestError::Closed(state.word())),
    }
}

fn rule_of<'m>(mapping: &'m Mapping, group: &str) -> Result<&'m ApprovalRule, RequestError> {
    mapping.approval(group).ok_or_else(|| RequestError::NoRule(group.to_owned()))
}

/// The rule that decides a request.
///
/// # Errors
///
/// The mapping no longer has one.
pub fn rule_of_request<'m>(
    mapping: &'m Mapping,
    request: &AccessRequest,
) -> Result<&'m ApprovalRule, RequestError> {
    match request.edit {
        Some(_) => mapping.approval_of_edits().ok_or_else(|| RequestError::NoRule(request.group.clone())),
        None => rule_of(mapping, &request.group),
    }
}

/// The groups that can be requested and meet the requirements, the one with the fewest roles first.
pub fn opening(mapping: &Mapping, catalog: &Catalog, required: &[Requirement]) -> Vec<Arc<str>> {
    let groups = mapping.approvals().keys().filter(|group| meets(catalog, group, required));
    let mut groups: Vec<Arc<str>> = groups.cloned().collect();
    groups.sort_by_cached_key(|group| (catalog.roles_of_group(group).len(), group.clone()));
    groups
}

fn meets(catalog: &Catalog, group: &str, required: &[Requirement]) -> bool {
    let roles = catalog.roles_of_group(group);
    let permissions = catalog.permissions_of(&roles);
    required.iter().all(|requirement| match requirement {
        Requirement::Role(name) => roles.contains(name),
        Requirement::Permission(name) => permissions.contains(name),
    })
}

fn terms() -> Terms {
    // A request neither adds nor disables admins.
    Terms { admins: AdminTable::Console, unknown_admins: false }
}

fn grant_of(request: &AccessRequest, now: DateTime<Utc>, id: &str) -> RbacChange {
    RbacChange::GrantUntil {
        grant: TimedGrant {
            id: id.to_owned(),
            admin: request.admin.clone(),
            group: request.group.clone(),
            origin: Origin::Request,
            request: Some(request.id.clone()),
            starts: now,
            ends: now + TimeDelta::minutes(request.minutes),
        },
    }
}

/// Who gains which right by a change, and until when. The end of a requested membership depends on the time of
/// approval, so with its `request` it is given in minutes.
pub fn gains_in_json(weighed: &Weighed<'_>, request: Option<&AccessRequest>) -> Value {
    let request = request.filter(|request| request.edit.is_none());
    let asked = weighed.changes.iter().find_map(|change| match change {
        RbacChange::GrantUntil { grant } => Some((grant.ends, request?.minutes)),
        _ => None,
    });
    let until = |until: Until| match (until, asked) {
        (Until::Never, _) => Value::Null,
        (Until::At(end), Some((ends, minutes))) if end == ends => json!({ "minutes": minutes }),
        (Until::At(end), _) => json!(end),
    };
    let gains = authority::gains(weighed).into_iter().map(|(kind, id, gained)| {
        let rights = gained
            .into_iter()
            .map(|gain| json!({ "right": gain.right, "way": gain.way, "until": until(gain.until) }));
        json!({ "kind": kind, "id": id, "rights": rights.collect::<Vec<_>>() })
    });
    gains.collect()
}

/// The content of an impact that a person confirms: which routes open and close for which people, now and once on V2, what
/// tickets and sessions open, and who gains which right until when. Changes to people that it does not concern do not
/// affect it.
pub fn confirmed(impact: &Value) -> Value {
    let mut changes = impact["changes"].clone();
    let sides = changes.as_array_mut().into_iter().flatten().flat_map(|change| {
        let change = change.as_object_mut();
        change.into_iter().flat_map(|change| {
            change
                .iter_mut()
                .filter(|(key, _)| ["gains", "losses"].contains(&key.as_str()))
                .map(|(_, who)| who)
        })
    });
    // The report identifies a profile by its index; here it is identified by its members.
    for one in sides.filter_map(Value::as_array_mut).flatten() {
        let place = one["profile"].as_u64().and_then(|place| usize::try_from(place).ok());
        let profile = &impact["profiles"][place.unwrap_or(usize::MAX)];
        one["profile"] = json!([profile["kind"], profile["members"]]);
    }
    json!({
        "changes": changes, "effects": impact["effects"], "apart": impact["apart"], "gains": impact["gains"],
        "warnings": impact["warnings"], "complete": impact["complete"],
    })
}

/// The digest of the approved content, and of who gets the membership for how long.
fn digest(impact: &Value, request: &AccessRequest) -> String {
    let mut whole = confirmed(impact);
    (whole["admin"], whole["group"]) = (json!(request.admin), json!(request.group));
    whole["minutes"] = request.minutes.into();
    if let Some(edit) = &request.edit {
        whole["edit"] = json!(edit);
    }
    policy::hex::lower(Sha256::digest(whole.to_string()))
}

fn record(
    request: &AccessRequest,
    step: &'static str,
    by: &str,
    reason: Option<&str>,
    detail: Value,
) -> AuditEvent {
    AuditEvent::AccessRequest {
        request: request.id.clone(),
        step,
        group: request.group.clone(),
        about: request.admin.clone(),
        reason: reason.map(ToOwned::to_owned),
        detail,
        by: by.to_owned(),
    }
}
