//! The callers that could make a request in the past, and those that did: the facts that the database has, and those
//! that it lacks.

mod did;
mod report;
mod rules;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use grants::registry::RegistryError;
use policy::firewall::Policy;
use policy::mapping::Mapping;
use policy::rbac::LegacyRole;
use policy::rbac::break_glass::capped;
use policy::rbac::census::CallerKind;
use policy::rbac::grant::{Origin, Span};
use serde::Serialize;
use store::access_grants::{AccessGrant, GrantsOf};
use store::access_requests::RequestState;
use store::history::{PastTicketGrant, RosterFact, SealedChange, StoredJoin};
use store::rbac_changes::{RbacChange, StoredWrite};
use store::tokens::StoredToken;
use store::{SharedStore, StoreError};
use workbench::explanation::answer::ForTicket;
use workbench::who::text::in_seconds;
use workbench::who::{Change, Changed, Held, History, Holder, Holding, Period, Present, Who, who};

pub use self::did::{Did, Use};
pub use self::report::{Report, ReportOf, report};
use self::rules::Timeline;
use super::WorkbenchError;
use crate::freshness::Posture;

/// A question about a request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub period: Period,
    /// The present. Only the grants of the present are known for certain.
    pub now: DateTime<Utc>,
    pub policy: &'a Policy,
    pub posture: Posture,
    /// The words that mean production in a promotion.
    pub production_words: &'a [String],
    /// A mapping that applies the whole time, instead of those that the gates ran.
    pub mapping: Option<&'a Mapping>,
}

/// Who could, and the assumptions behind that.
#[derive(Debug, Serialize)]
pub struct Answer {
    #[serde(flatten)]
    pub who: Who,
    /// Unknown facts about the past, and the assumptions made instead.
    pub assumptions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub did: Option<Did>,
}

/// Answers from the records.
///
/// # Errors
///
/// The database did not answer, or access changed each time while it was read.
pub async fn could(store: &SharedStore, asked: &Asked<'_>) -> Result<Answer, WorkbenchError> {
    let mut assumptions = Assumptions::default();
    let facts = Facts::read(store, asked.period.from).await?;
    let timeline = Timeline::read(store, asked, &facts.sealed, &mut assumptions).await?;
    let (holders, changes) = facts.people(asked.period.from, asked.now, &mut assumptions);
    let history = History {
        now: asked.now,
        catalog: facts.catalog,
        holders,
        changes,
        rules: timeline.rules(),
        break_glass: store.break_glass_rules(),
    };
    let who = who(asked.method, asked.path, asked.policy, &history, asked.period);
    if asked.period.from < asked.now {
        assumptions.of_the_past(facts.recording_since, asked.period.from);
    }
    if who
        .people
        .iter()
        .flat_map(|one| &one.times)
        .flat_map(|could| &could.through)
        .any(|through| through.held_by.iter().any(|held| held.origin == Origin::Ticket))
    {
        assumptions
            .add("a ticket counts as open until its grant ended: what FreeScout said then is not recorded");
    }
    who.misfits.iter().for_each(|misfit| assumptions.add(misfit));
    Ok(Answer { who, assumptions: assumptions.0, did: None })
}

/// Who could, together with who did.
///
/// # Errors
///
/// As [`could`].
pub async fn did(
    store: &SharedStore,
    asked: &Asked<'_>,
    decisions: &crate::settings::Decisions,
) -> Result<Answer, WorkbenchError> {
    let mut answer = could(store, asked).await?;
    answer.did = Some(did::did(store, asked, &answer.who, decisions).await?);
    Ok(answer)
}

/// Sentences, each only once.
#[derive(Default)]
struct Assumptions(Vec<String>);

impl Assumptions {
    fn add(&mut self, sentence: impl Into<String>) {
        let sentence = sentence.into();
        if !self.0.contains(&sentence) {
            self.0.push(sentence);
        }
    }

    fn of_the_past(&mut self, recording_since: Option<DateTime<Utc>>, from: DateTime<Utc>) {
        match recording_since {
            Some(since) if since > from => self.add(format!(
                "what was written before {} is not recorded: until then, everybody is taken to have held what they \
                 held at that time",
                in_seconds(since)
            )),
            Some(_) => {}
            None => self.add("since when changes are recorded is not known"),
        }
        self.add(
            "Console's own records of admins (who was disabled) and of legacy roles have no history: they are taken as \
             they are now",
        );
        self.add(
            "who may have a break-glass session, and how the firewall reads a path, is taken as set now",
        );
    }
}

/// The facts, read as of one epoch.
struct Facts {
    catalog: policy::rbac::catalog::Catalog,
    roster: Vec<RosterFact>,
    grants: Vec<AccessGrant>,
    tickets: Vec<PastTicketGrant>,
    tokens: Vec<StoredToken>,
    writes: Vec<StoredWrite>,
    joins: Vec<StoredJoin>,
    sealed: Vec<SealedChange>,
    /// The approved edits, by their requests.
    edits: BTreeMap<String, Vec<RbacChange>>,
    recording_since: Option<DateTime<Utc>>,
    has_own_admins: bool,
}

impl Facts {
    async fn read(store: &SharedStore, since: DateTime<Utc>) -> Result<Facts, WorkbenchError> {
        const TRIES: u32 = 5;
        for _ in 0..TRIES {
            let before = store.control().await?.epoch;
            let facts = Facts {
                catalog: store.catalog().await?,
                roster: store.roster().await?,
                grants: store.access_grants(GrantsOf::default()).await?,
                tickets: store.past_ticket_grants().await?,
                tokens: store.tokens().await?,
                writes: store.rbac_writes_since(since).await?,
                joins: store.joins_since(since).await?,
                sealed: store.sealed_changes(since).await?,
                edits: edits(store).await?,
                recording_since: store.recording_since().await?,
                has_own_admins: store.has_own_admins().await?,
            };
            if store.control_since(Some(before)).await?.only_sessions_changed_since(before) {
                return Ok(facts);
            }
        }
        Err(RegistryError::Changing.into())
    }

    /// Everybody who holds or held something, and what was written, the oldest first.
    fn people(
        &self,
        from: DateTime<Utc>,
        now: DateTime<Utc>,
        assumptions: &mut Assumptions,
    ) -> (Vec<Holder>, Vec<Changed>) {
        let mut changes = self.changes(assumptions);
        let mut people = People::default();
        for fact in &self.roster {
            let Some(id) = fact.id.as_deref() else { continue };
            match fact.kind.as_str() {
                "admin" => people.admin(id).standing = Present::Enabled,
                "disabled_admin" => people.admin(id).standing = Present::Disabled,
                "admin_legacy" => people.admin(id).legacy.extend(legacy(fact).map(|role| (role, None))),
                "limited_admin_legacy" => {
                    let limited = legacy(fact).zip(fact.end());
                    people.admin(id).legacy.extend(limited.map(|(role, end)| (role, Some(end))));
                }
                "blocked_admin" => {
                    people.admin(id).is_blocked = true;
                    let change = Change::Blocked { admin: id.into() };
                    changes.extend(fact.until.map(|at| Changed { at, change, is_added: true }));
                }
                "machine_legacy" => people.token(id).legacy.extend(legacy(fact).map(|role| (role, None))),
                "machine_group" => people.token(id).groups.extend(fact.name.as_deref().map(Arc::from)),
                _ => {}
            }
        }
        for grant in &self.grants {
            people.grant(grant);
        }
        for grant in &self.tickets {
            people.ticket(grant);
        }
        for token in &self.tokens {
            people.live(token);
        }
        for changed in &changes {
            if let Change::Member { admin, .. } = &changed.change {
                people.admin(admin);
            }
        }
        changes.sort_by_key(|changed| changed.at);
        changes.retain(|changed| changed.at > from || matches!(changed.change, Change::Disabled { .. }));
        // What is written in the future was written by a clock that is ahead: it has happened.
        changes.iter_mut().for_each(|changed| changed.at = changed.at.min(now));
        (people.0.into_values().collect(), changes)
    }

    fn changes(&self, assumptions: &mut Assumptions) -> Vec<Changed> {
        let mut changes = Vec::new();
        for write in &self.writes {
            changes.extend(written(write, assumptions));
        }
        for sealed in &self.sealed {
            let Some(detail) = sealed.detail.as_ref().map(|detail| &detail.0) else { continue };
            let at = sealed.occurred_at_utc;
            match sealed.event_type.as_str() {
                "rbac_changed" => {
                    let all = detail["changes"].as_array().into_iter().flatten();
                    // A membership does not name its member there, and does not parse as a change.
                    let edges = all.filter_map(|one| serde_json::from_value::<RbacChange>(one.clone()).ok());
                    changes.extend(edges.filter_map(|change| changed(at, &change)));
                }
                "access_request" if detail["step"] == "approved" => {
                    let edit = detail["request"].as_str().and_then(|request| self.edits.get(request));
                    changes.extend(edit.into_iter().flatten().filter_map(|change| changed(at, change)));
                }
                _ => {}
            }
        }
        for join in &self.joins {
            let (at, admin) = (join.at, Arc::from(join.admin.as_str()));
            let is_grant = join.event_type == "grant";
            let (change, is_added) = match &join.group {
                Some(group) => (Change::Member { admin, group: group.as_str().into() }, is_grant),
                None if self.has_own_admins => (Change::Disabled { admin }, !is_grant),
                None => (Change::Blocked { admin }, !is_grant),
            };
            changes.push(Changed { at, change, is_added });
        }
        self.look_for_lost_rows(assumptions);
        changes
    }

    /// A sealed row counts the memberships that it changed; the members are in rows that an erasure blanks or removes.
    fn look_for_lost_rows(&self, assumptions: &mut Assumptions) {
        let sealed = || self.sealed.iter().filter(|sealed| sealed.event_type == "rbac_changed");
        let ids: HashSet<&str> = sealed().map(|sealed| sealed.id.as_str()).collect();
        let is_counted =
            |join: &&StoredJoin| join.change.as_deref().is_some_and(|change| ids.contains(change));
        let found = self.joins.iter().filter(is_counted).count();
        let details = sealed().filter_map(|sealed| Some(&sealed.detail.as_ref()?.0));
        let changes = details.flat_map(|detail| detail["changes"].as_array().into_iter().flatten());
        let joins = changes.filter(|change| {
            matches!(
                change["change"].as_str(),
                Some("join" | "leave" | "disable_admin" | "enable_admin" | "block_admin" | "unblock_admin")
            )
        });
        let counted: u64 = joins.map(|change| change["count"].as_u64().unwrap_or(1)).sum();
        let lost = counted.saturating_sub(found as u64);
        if lost > 0 {
            assumptions.add(format!(
                "{lost} recorded change(s) of memberships name nobody any more: their rows went with an erased admin, or \
                 were removed"
            ));
        }
    }
}

/// The callers that are known so far.
#[derive(Default)]
struct People(BTreeMap<(CallerKind, Arc<str>), Holder>);

impl People {
    fn of(&mut self, kind: CallerKind, id: &str) -> &mut Holder {
        let id: Arc<str> = id.into();
        self.0.entry((kind, id.clone())).or_insert_with(|| Holder {
            kind,
            id,
            name: None,
            standing: Present::Gone,
            is_blocked: false,
            groups: BTreeSet::new(),
            legacy: Vec::new(),
            spans: Vec::new(),
        })
    }

    fn admin(&mut self, id: &str) -> &mut Holder {
        self.of(CallerKind::Admin, id)
    }

    fn token(&mut self, id: &str) -> &mut Holder {
        self.of(CallerKind::Machine, id)
    }

    fn grant(&mut self, grant: &AccessGrant) {
        let holder = self.admin(&grant.admin);
        let group: Option<Arc<str>> = grant.group.as_deref().map(Arc::from);
        let span = match grant.origin {
            Origin::Direct => {
                holder.groups.extend(group);
                return;
            }
            // Read from another table, with the times of their grants.
            Origin::Ticket => return,
            Origin::Timed | Origin::Request => grant.span(),
            Origin::BreakGlass => capped(grant.span()),
        };
        let what = match (grant.origin, group) {
            (Origin::BreakGlass, _) => Held::BreakGlass,
            (origin, Some(group)) => Held::Group { group, origin },
            (_, None) => return,
        };
        // Without a readable start and end, it never granted anything.
        let Span { starts: Some(from), ends: Some(ends) } = span else { return };
        let until = grant.revoked_at.map_or(ends, |revoked| revoked.min(ends));
        holder.spans.push(Holding {
            id: grant.id.clone().unwrap_or_default(),
            what,
            from,
            until: Some(until),
        });
    }

    fn ticket(&mut self, grant: &PastTicketGrant) {
        let (Some(from), Ok(customer)) = (grant.granted_at, grant.customer.parse()) else { return };
        if grant.is_limited && grant.ends.is_none() || grant.is_revoked && grant.revoked_at.is_none() {
            return;
        }
        let until = [grant.ends, grant.revoked_at].into_iter().flatten().min();
        let PastTicketGrant { id, admin, role, ticket, .. } = grant.clone();
        let what = Held::Ticket(ForTicket { ticket, customer, role });
        self.admin(&admin).spans.push(Holding { id, what, from, until });
    }

    fn live(&mut self, token: &StoredToken) {
        let holder = self.token(&token.id);
        holder.name = Some(token.name.clone());
        let is_over = token.is_limited && token.expires_at_utc.is_none()
            || token.is_revoked && token.revoked_at_utc.is_none();
        let Some(from) = token.created_at_utc.filter(|_| !is_over) else { return };
        let until = [token.expires_at_utc, token.revoked_at_utc].into_iter().flatten().min();
        holder.spans.push(Holding { id: token.id.clone(), what: Held::Token, from, until });
    }
}

fn legacy(fact: &RosterFact) -> Option<LegacyRole> {
    fact.name.as_deref().and_then(LegacyRole::parse)
}

/// A change by another writer.
fn written(write: &StoredWrite, assumptions: &mut Assumptions) -> Option<Changed> {
    let (Some(subject), Some(object)) = (&write.subject, &write.object) else {
        assumptions.add(format!(
            "`{}` was emptied or written without names at {}: what it held before is not known",
            write.relation,
            in_seconds(write.at_utc)
        ));
        return None;
    };
    let [subject, object] = [subject, object].map(|name| Arc::from(name.as_str()));
    let change = match write.relation.as_str() {
        "rbac_user_groups" => Change::Member { admin: subject, group: object },
        "rbac_group_roles" => Change::GroupRole { group: subject, role: object },
        "rbac_role_inheritance" => Change::Inherits { role: subject, parent: object },
        "rbac_role_permissions" => Change::Permits { role: subject, permission: object },
        // Its rows have times of their own.
        _ => return None,
    };
    Some(Changed { at: write.at_utc, change, is_added: write.change == "added" })
}

/// The edge that a command changed. A membership has a sealed row of its own.
fn changed(at: DateTime<Utc>, change: &RbacChange) -> Option<Changed> {
    let arc = |name: &String| Arc::from(name.as_str());
    let (change, is_added) = match change {
        RbacChange::GrantRole { group, role } => {
            (Change::GroupRole { group: arc(group), role: arc(role) }, true)
        }
        RbacChange::RevokeRole { group, role } => {
            (Change::GroupRole { group: arc(group), role: arc(role) }, false)
        }
        RbacChange::Inherit { role, parent } => {
            (Change::Inherits { role: arc(role), parent: arc(parent) }, true)
        }
        RbacChange::Disinherit { role, parent } => {
            (Change::Inherits { role: arc(role), parent: arc(parent) }, false)
        }
        RbacChange::Permit { role, permission } => {
            (Change::Permits { role: arc(role), permission: arc(permission) }, true)
        }
        RbacChange::Forbid { role, permission } => {
            (Change::Permits { role: arc(role), permission: arc(permission) }, false)
        }
        _ => return None,
    };
    Some(Changed { at, change, is_added })
}

/// The changes by approved requests for an edit.
async fn edits(store: &SharedStore) -> Result<BTreeMap<String, Vec<RbacChange>>, StoreError> {
    let approved = store.access_requests(Some(RequestState::Approved), None, u32::MAX).await?;
    let edit = |request: &store::access_requests::AccessRequest| {
        Some((request.id.clone(), request.as_edit().ok()??.changes().cloned().collect()))
    };
    Ok(approved.iter().filter_map(edit).collect())
}
