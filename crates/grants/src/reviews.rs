//! Reviews of access: every grant, with the routes that it opens and its last use, is kept or ended by a reviewer other
//! than its holder.
//!
//! ```text
//! open: every live grant, an item --> decided by a reviewer: kept, or revoked --> all decided: closed
//!                                \--> not decided when due: kept, or suspended, as [reviews] specifies for the group
//! ```
//!
//! Each step is a sealed row. A grant is ended by the same functions as by every command, with their own records.
//!
//! The chain has a digest over items and decisions without ids of admins, so an erasure does not invalidate it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use ledger::event::Way;
use ledger::{AuditEvent, Notary};
use policy::mapping::Mapping;
use policy::rbac::catalog::Catalog;
use policy::rbac::census::CallerKind;
use policy::rbac::grant::Origin;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use store::access_grants::{AccessGrant, GrantsOf};
use store::people::StoredAdmin;
use store::rbac_changes::{RbacChange, TicketEnd};
use store::reviews::{Decision, Overdue, Review, ReviewItem};
use store::{SharedStore, StoreError};

use crate::record::{ActorKind, customers_events};
use crate::registry::{Registry, RegistryError};
use crate::uses::{Uses, roles_of};
use crate::{AdminTable, By, PeopleError, Plan, Terms};

/// How far back the last use is looked up, if the decision log goes back that far.
const USE: TimeDelta = TimeDelta::days(400);
/// The author of decisions about items that no reviewer decided in time.
const BY_GATE: &str = "console-gate";

/// Why an operation was refused.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    People(#[from] PeopleError),
    #[error("a review is open already: decide its items and close it (`console-gate review list`)")]
    OpenAlready,
    #[error("there is no {0} `{1}`: `console-gate review list` and `review show` list them")]
    Unknown(&'static str, String),
    #[error("the review is closed, or somebody has decided about the item already")]
    Decided,
    #[error("the review is closed already")]
    Closed,
    #[error("{0} item(s) are not decided yet: `console-gate review show` lists them")]
    Undecided(usize),
    #[error("`{0}` cannot decide about access of their own: somebody else has to")]
    OwnAccess(String),
}

impl From<RegistryError> for ReviewError {
    fn from(error: RegistryError) -> Self {
        ReviewError::People(error.into())
    }
}

/// The terms of a new review.
#[derive(Clone, Debug)]
pub struct ReviewTerms<'t> {
    /// How long its items can be decided.
    pub due_in: TimeDelta,
    /// What happens to items of groups that `groups` does not name.
    pub overdue: Overdue,
    pub groups: &'t BTreeMap<String, Overdue>,
    /// How far back the decision log goes.
    pub log_days: u32,
}

/// Opens a review of the grants in effect at `now`. `mapping` specifies which requests use which rights; without one,
/// no use is known.
///
/// # Errors
///
/// A review is already open, or the database did not answer.
pub async fn open(
    store: &SharedStore,
    notary: &Notary,
    terms: &ReviewTerms<'_>,
    mapping: Option<&Mapping>,
    (by, now): (&str, DateTime<Utc>),
) -> Result<Review, ReviewError> {
    if store.reviews(1).await?.iter().any(|last| last.closed_at.is_none()) {
        return Err(ReviewError::OpenAlready);
    }
    let registry = Registry::read(store, now).await?;
    let grants = store.access_grants(GrantsOf::default()).await?;
    let decisions = match mapping {
        Some(_) => store.decisions(now - USE).await?,
        None => Vec::new(),
    };
    let review = Review {
        id: uuid::Uuid::now_v7().to_string(),
        opened_at: now,
        due_at: now + terms.due_in,
        opened_by: by.to_owned(),
        used_since: now - TimeDelta::days(i64::from(terms.log_days)).min(USE),
        closed_at: None,
        closed_by: None,
    };
    let allowed = decisions.iter().filter(|one| one.actor_kind == "admin" && one.answer == "allow");
    let allowed = allowed.map(|one| (one.actor_id.as_str(), one.route.as_str(), one.last_seen_at_utc));
    let uses = mapping.map(|mapping| Uses::new(mapping, allowed));
    let active: BTreeSet<&str> =
        registry.people.iter().filter(|one| one.kind == CallerKind::Admin).map(|one| &*one.id).collect();
    let items: Vec<ReviewItem> = grants
        .iter()
        .filter(|grant| grant.is_live(now) && grant.origin != Origin::BreakGlass)
        .filter(|grant| active.contains(grant.admin.as_str()))
        .filter_map(|grant| item(&review, grant, &registry.catalog, uses.as_ref(), terms))
        .collect();
    let detail = json!({ "items": items.len(), "due_utc": review.due_at, "sha256": digest(&items) });
    let event = event(&review.id, "opened", (None, None), detail, by);
    store.open_review(&review, &items, &notary.note(event.into_record(now))).await.map_err(|error| {
        match error {
            StoreError::Conflict(_) => ReviewError::OpenAlready,
            other => other.into(),
        }
    })?;
    Ok(review)
}

fn item(
    review: &Review,
    grant: &AccessGrant,
    catalog: &Catalog,
    uses: Option<&Uses<'_>>,
    terms: &ReviewTerms<'_>,
) -> Option<ReviewItem> {
    let granted = grant.group.clone().or_else(|| grant.role.clone())?;
    let overdue = terms.groups.get(&granted).copied().unwrap_or(terms.overdue);
    Some(ReviewItem {
        id: uuid::Uuid::new_v4().to_string(),
        review: review.id.clone(),
        admin: Some(grant.admin.clone()),
        origin: grant.origin.word().to_owned(),
        grant_id: grant.id.clone(),
        last_used: uses.and_then(|uses| uses.last(grant, catalog)),
        roles: json!(roles_of(grant, catalog)).to_string(),
        granted,
        overdue: overdue.word().to_owned(),
        decision: None,
        decided_at: None,
        decided_by: None,
        comment: None,
    })
}

/// Keeps the grant of an item, or ends it. After ending it, the caller waits for the barrier.
///
/// # Errors
///
/// There is no such item, it is already decided, its review is closed, or the reviewer is its holder; or the grant
/// could not be ended, or the database did not answer. The grant ends before the decision is recorded. So after an
/// error it may have ended although the item is undecided, or another reviewer has decided about it meanwhile; deciding
/// an undecided item again completes the step.
pub async fn decide(
    store: &SharedStore,
    notary: &Notary,
    id: &str,
    keeps: bool,
    (by, comment, now): (&str, Option<&str>, DateTime<Utc>),
) -> Result<ReviewItem, ReviewError> {
    let item = decidable(store, id, by).await?;
    if !keeps {
        // First: if the process dies between the two steps, the item is decided again, and no grant is left that should
        // have ended.
        end(store, notary, item.item(), by, now).await?;
    }
    decided(store, notary, item, keeps, (by, comment, now)).await
}

/// An undecided item of an open review, about access of a person other than the reviewer.
#[derive(Debug)]
pub struct Decidable(ReviewItem);

impl Decidable {
    pub fn item(&self) -> &ReviewItem {
        &self.0
    }
}

/// The item, if `by` may decide about it.
///
/// # Errors
///
/// There is no such item, it is already decided, its review is closed, or the reviewer is its holder.
pub async fn decidable(store: &SharedStore, id: &str, by: &str) -> Result<Decidable, ReviewError> {
    let item = store.review_item(id).await?.ok_or_else(|| ReviewError::Unknown("item", id.to_owned()))?;
    if item.decision.is_some() {
        return Err(ReviewError::Decided);
    }
    let review = store.review(&item.review).await?;
    if review.is_none_or(|review| review.closed_at.is_some()) {
        return Err(ReviewError::Closed);
    }
    if let Some(admin) = &item.admin
        && is_same_person(&store.admins().await?, admin, by)
    {
        return Err(ReviewError::OwnAccess(by.to_owned()));
    }
    Ok(Decidable(item))
}

/// Records the decision about an item. A grant that is not kept has been ended by then.
///
/// # Errors
///
/// Another reviewer decided first, or the database did not answer.
pub async fn decided(
    store: &SharedStore,
    notary: &Notary,
    Decidable(item): Decidable,
    keeps: bool,
    by: (&str, Option<&str>, DateTime<Utc>),
) -> Result<ReviewItem, ReviewError> {
    let decision = if keeps { Decision::Kept } else { Decision::Revoked };
    settle(store, notary, &item, decision, by).await?;
    Ok(item)
}

/// Whether `name`, a login or an admin's id, is the admin: by id, or by mail address, with or without its domain.
pub fn is_same_person(admins: &[StoredAdmin], admin: &str, name: &str) -> bool {
    let same = |one: &str| one.eq_ignore_ascii_case(name);
    if same(admin) || admin.split_once('@').is_some_and(|(local, _)| same(local)) {
        return true;
    }
    let email = admins.iter().find(|one| one.id == admin).map(|one| one.email.as_str()).unwrap_or_default();
    let local = email.split_once('@').map_or(email, |(local, _)| local);
    !name.is_empty() && (same(email) || same(local))
}

/// Records a decision.
async fn settle(
    store: &SharedStore,
    notary: &Notary,
    item: &ReviewItem,
    decision: Decision,
    (by, comment, now): (&str, Option<&str>, DateTime<Utc>),
) -> Result<(), ReviewError> {
    let detail = json!({ "item": item.id, "granted": item.granted, "origin": item.origin });
    let event = event(&item.review, decision.word(), (item.admin.as_deref(), comment), detail, by);
    let note = notary.note(event.into_record(now));
    if store.decide_review_item(&item.id, decision, (by, comment), now, &note).await? {
        Ok(())
    } else {
        Err(ReviewError::Decided)
    }
}

/// Ends the grant; has no effect if it has already ended.
async fn end(
    store: &SharedStore,
    notary: &Notary,
    item: &ReviewItem,
    by: &str,
    now: DateTime<Utc>,
) -> Result<(), ReviewError> {
    let Some(change) = ending(store, item).await? else { return Ok(()) };
    let reason = reason(item);
    let way = if by == BY_GATE { Way::Gate } else { Way::Command };
    let by = By { name: by, reason: Some(&reason), way, now };
    // Grants of deleted admins can still be ended.
    let terms = Terms { admins: AdminTable::Gate, unknown_admins: true };
    let further = |plan: &Plan| customers_events(notary, plan, by, ActorKind::System, None);
    crate::change_with(store, notary, &[change], terms, by, further).await?;
    Ok(())
}

/// Why the grant of an item ends, for its own records.
pub fn reason(item: &ReviewItem) -> String {
    format!("access review {}", item.review)
}

/// The change that ends the grant of an item; `None` if no grant is left to end.
///
/// # Errors
///
/// The database did not answer, or the item is of an unknown origin.
pub async fn ending(store: &SharedStore, item: &ReviewItem) -> Result<Option<RbacChange>, ReviewError> {
    let Some(admin) = item.admin.clone() else { return Ok(None) };
    let change = match (Origin::parse(&item.origin), item.grant_id.clone()) {
        (Some(Origin::Direct), _) => RbacChange::Leave { admin, group: item.granted.clone() },
        (Some(Origin::Timed | Origin::Request), Some(id)) => {
            RbacChange::EndGrant { id, admin, group: item.granted.clone() }
        }
        (Some(Origin::Ticket), Some(id)) => {
            let grants = store.ticket_grants(None).await?;
            let Some(grant) = grants.iter().find(|grant| grant.id == id) else { return Ok(None) };
            RbacChange::EndTicketGrant { grant: grant.into(), reason: TicketEnd::Manual }
        }
        _ => {
            let broken = format!("an item of a review of the origin `{}`", item.origin);
            return Err(StoreError::Broken(broken).into());
        }
    };
    Ok(Some(change))
}

/// Closes a review in which every item is decided; its sealed row has the digest of all decisions.
///
/// # Errors
///
/// An item is not decided, or the review is already closed; or the database did not answer.
pub async fn close(
    store: &SharedStore,
    notary: &Notary,
    id: &str,
    (by, now): (&str, DateTime<Utc>),
) -> Result<(), ReviewError> {
    let review = store.review(id).await?.ok_or_else(|| ReviewError::Unknown("review", id.to_owned()))?;
    if review.closed_at.is_some() {
        return Err(ReviewError::Closed);
    }
    let items = store.review_items(id).await?;
    let undecided = items.iter().filter(|item| item.decision.is_none()).count();
    if undecided > 0 {
        return Err(ReviewError::Undecided(undecided));
    }
    let mut decisions: BTreeMap<&str, usize> = BTreeMap::new();
    for item in &items {
        *decisions.entry(item.decision.as_deref().unwrap_or_default()).or_default() += 1;
    }
    let detail = json!({ "decisions": decisions, "sha256": digest(&items) });
    let note = notary.note(event(id, "closed", (None, None), detail, by).into_record(now));
    if store.close_review(id, by, now, &note).await? { Ok(()) } else { Err(ReviewError::Closed) }
}

/// The outcome of an overdue review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverdueReview {
    pub id: String,
    pub kept: usize,
    pub suspended: usize,
}

/// Decides the items that were not decided in time, as each item specifies, and closes their reviews.
///
/// # Errors
///
/// The database did not answer. Decisions made before that remain; the rest is decided on the next call.
pub async fn settle_overdue(
    store: &SharedStore,
    notary: &Notary,
    now: DateTime<Utc>,
) -> Result<Vec<OverdueReview>, ReviewError> {
    let mut settled = Vec::new();
    for review in
        store.reviews(10).await?.into_iter().filter(|one| one.closed_at.is_none() && one.due_at <= now)
    {
        let mut outcome = OverdueReview { id: review.id.clone(), kept: 0, suspended: 0 };
        for item in store.review_items(&review.id).await? {
            if item.decision.is_some() {
                continue;
            }
            let (decision, count) = match item.overdue.as_str() {
                "suspend" => (Decision::Suspended, &mut outcome.suspended),
                _ => (Decision::KeptOverdue, &mut outcome.kept),
            };
            if decision == Decision::Suspended {
                end(store, notary, &item, BY_GATE, now).await?;
            }
            match settle(store, notary, &item, decision, (BY_GATE, Some("nobody decided in time"), now)).await
            {
                Ok(()) => *count += 1,
                // A reviewer decided first.
                Err(ReviewError::Decided) => {}
                Err(error) => return Err(error),
            }
        }
        match close(store, notary, &review.id, (BY_GATE, now)).await {
            Ok(()) | Err(ReviewError::Closed) => settled.push(outcome),
            Err(error) => return Err(error),
        }
    }
    Ok(settled)
}

fn event(
    review: &str,
    step: &'static str,
    (about, reason): (Option<&str>, Option<&str>),
    detail: serde_json::Value,
    by: &str,
) -> AuditEvent {
    AuditEvent::AccessReview {
        review: review.to_owned(),
        step,
        about: about.map(ToOwned::to_owned),
        reason: reason.map(ToOwned::to_owned),
        detail,
        by: by.to_owned(),
    }
}

/// The SHA-256 of the items without their admins, so that an erasure does not change it.
pub fn digest(items: &[ReviewItem]) -> String {
    let mut lines: Vec<String> = items
        .iter()
        .map(|item| {
            json!([
                item.id,
                item.origin,
                item.granted,
                item.roles,
                item.overdue,
                item.decision,
                item.decided_by
            ])
            .to_string()
        })
        .collect();
    lines.sort();
    policy::hex::lower(Sha256::digest(lines.join("\n")))
}
