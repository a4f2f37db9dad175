//! Who holds what, by origin, including open requests and access that could come back. Every command that shows admins
//! and groups uses it.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use policy::rbac::catalog::Catalog;
use policy::rbac::census::BREAK_GLASS;
use policy::rbac::grant::{Liveness, Origin};
use serde::Serialize;
use store::access_grants::{AccessGrant, GrantsOf};
use store::access_requests::{AccessRequest, RequestState};
use store::rbac_changes::RbacChange;
use store::tokens::StoredToken;
use store::{SharedStore, StoreError};

/// The most open requests that are read.
const MOST_REQUESTS: u32 = 1_000;

/// Everything that counts now or will count later, whatever its origin.
#[derive(Clone, Debug, Default)]
pub struct Held {
    pub grants: Vec<AccessGrant>,
    /// Requests that can still be approved.
    pub requests: Vec<AccessRequest>,
    /// Machine tokens that are accepted.
    pub tokens: Vec<StoredToken>,
}

impl Held {
    /// What all admins hold, or one admin. The tokens are those that the admin created.
    ///
    /// # Errors
    ///
    /// The database did not answer.
    pub async fn read(
        store: &SharedStore,
        admin: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Held, StoreError> {
        let mut grants = store.access_grants(GrantsOf { admin, of: None }).await?;
        grants.retain(|grant| grant.is_live(now) || starts_later(grant, now));
        let mut requests = store.access_requests(Some(RequestState::Pending), None, MOST_REQUESTS).await?;
        requests.retain(|request| {
            request.closes_at > now
                && admin.is_none_or(|admin| beneficiary(request).as_deref() == Some(admin))
        });
        let mut tokens = store.tokens().await?;
        tokens.retain(|token| {
            let is_over = token.is_limited && token.expires_at_utc.is_none_or(|end| end <= now);
            !token.is_revoked && !is_over && admin.is_none_or(|admin| token.created_by == admin)
        });
        Ok(Held { grants, requests, tokens })
    }

    /// The memberships of a group, including the sessions that hold the roles of break-glass.
    pub fn members<'h>(&'h self, group: &'h str) -> impl Iterator<Item = &'h AccessGrant> {
        self.grants.iter().filter(move |grant| grant.group.as_deref() == Some(group))
    }

    /// The open requests for a group.
    pub fn requests_for<'h>(&'h self, group: &'h str) -> impl Iterator<Item = &'h AccessRequest> {
        self.requests.iter().filter(move |request| group_of(request).as_deref() == Some(group))
    }
}

/// Whether a membership begins later.
pub fn starts_later(grant: &AccessGrant, now: DateTime<Utc>) -> bool {
    grant.revoked_at.is_none() && matches!(grant.span().at(now), Liveness::Later(_))
}

/// The change that waits with a request, for a grant that two people have to give.
fn waiting(request: &AccessRequest) -> Option<RbacChange> {
    request.as_edit().ok().flatten().map(|edit| edit.change)
}

/// The admin that would hold more if the request were approved.
fn beneficiary(request: &AccessRequest) -> Option<String> {
    match &request.edit {
        None => Some(request.admin.clone()),
        Some(_) => waiting(request)?.admin().map(ToOwned::to_owned),
    }
}

fn group_of(request: &AccessRequest) -> Option<String> {
    match &request.edit {
        None => Some(request.group.clone()),
        Some(_) => match waiting(request)? {
            RbacChange::Join { group, .. } => Some(group),
            RbacChange::GrantUntil { grant } => Some(grant.group),
            _ => None,
        },
    }
}

/// The content of a request, in words.
pub fn asked_for(request: &AccessRequest) -> String {
    let edit = request.as_edit().ok().flatten();
    let changes = edit.map(|edit| edit.changes().map(RbacChange::in_words).collect::<Vec<_>>().join(", "));
    changes.unwrap_or_else(|| {
        format!("add `{}` to `{}` for {} minutes", request.admin, request.group, request.minutes)
    })
}

/// The command that ends a grant.
pub fn end_with(grant: &AccessGrant) -> String {
    let id = grant.id.as_deref().unwrap_or_default();
    match grant.origin {
        Origin::Direct => {
            let group = grant.group.as_deref().unwrap_or_default();
            format!("console-gate group remove {group} {}", grant.admin)
        }
        Origin::Timed | Origin::Request => format!("console-gate grant end {id}"),
        Origin::Ticket => format!("console-gate ticket end {id}"),
        Origin::BreakGlass => format!("console-gate break-glass end {id}"),
    }
}

/// Access through a group that an admin still holds after a removal, or could get back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    pub admin: String,
    /// In words.
    pub what: String,
    pub end_with: String,
    /// Whether the admin is still a member.
    pub is_member: bool,
}

/// What `admin` keeps of a group after a removal, once the changes in `ended` are made.
///
/// # Errors
///
/// The database did not answer.
pub async fn left(
    store: &SharedStore,
    (admin, group): (&str, &str),
    ended: &[RbacChange],
    now: DateTime<Utc>,
) -> Result<Vec<Left>, StoreError> {
    let catalog = store.catalog().await?;
    let held = Held::read(store, Some(admin), now).await?;
    let groups_of_tokens = store.census(now).await?;
    let roles = catalog.roles_of_group(group);
    let stays = held.grants.iter().filter(|grant| !ended.iter().any(|change| ends(change, grant)));
    let stays: Vec<&AccessGrant> = stays.collect();
    let mut left = Vec::new();
    let mut add = |what: String, end_with: String, is_member: bool| {
        left.push(Left { admin: admin.to_owned(), what, end_with, is_member });
    };
    for grant in &stays {
        let is_member = grant.group.as_deref() == Some(group);
        let same = named(&roles_by(grant, &catalog), &roles);
        if is_member {
            add(format!("`{admin}` is in `{group}` still ({})", grant.origin), end_with(grant), true);
        } else if let Some(same) = same {
            add(format!("`{admin}` still holds {same} {}", through(grant)), end_with(grant), false);
        }
    }
    let groups: BTreeSet<Arc<str>> = stays
        .iter()
        .filter(|grant| is_membership(grant))
        .filter_map(|grant| grant.group.as_deref())
        .map(Arc::from)
        .collect();
    let glass = named(&catalog.roles_of_group(BREAK_GLASS), &roles);
    if let Some(same) = glass.filter(|_| store.break_glass_rules().allow(&groups)) {
        let eligible = groups.iter().filter(|one| store.break_glass_rules().eligible.contains(*one));
        let eligible: Vec<String> = eligible.map(ToString::to_string).collect();
        let what = format!(
            "`{admin}` may start a break-glass session with {same}, as a member of `{}`",
            eligible.join("`, `")
        );
        let first = eligible.first().cloned().unwrap_or_default();
        add(what, format!("console-gate group remove {first} {admin}"), false);
    }
    for token in &held.tokens {
        let machine = groups_of_tokens.iter().find(|person| *person.id == *token.id);
        if machine.is_some_and(|machine| machine.groups.contains(group)) {
            let what = format!("the token `{}`, which `{admin}` created, is in `{group}`", token.name);
            add(what, format!("console-gate token revoke {}", token.name), false);
        }
    }
    for request in held.requests_for(group) {
        let what = format!("the request {} is open: {}", request.id, asked_for(request));
        add(what, format!("POST /api/rbac/requests/{}/deny", request.id), false);
    }
    Ok(left)
}

/// Whether a change ends a grant.
fn ends(change: &RbacChange, grant: &AccessGrant) -> bool {
    match change {
        RbacChange::Leave { admin, group } => {
            grant.origin == Origin::Direct && grant.admin == *admin && grant.group.as_ref() == Some(group)
        }
        RbacChange::EndGrant { id, .. } | RbacChange::EndBreakGlass { id, .. } => {
            grant.id.as_ref() == Some(id)
        }
        _ => false,
    }
}

fn is_membership(grant: &AccessGrant) -> bool {
    matches!(grant.origin, Origin::Direct | Origin::Timed | Origin::Request)
}

/// The roles that a grant brings. Membership of break-glass brings them only in a session (RBAC V2 design, I-4).
fn roles_by(grant: &AccessGrant, catalog: &Catalog) -> BTreeSet<Arc<str>> {
    match (&grant.group, &grant.role) {
        (Some(group), _) if group == BREAK_GLASS && grant.origin != Origin::BreakGlass => BTreeSet::new(),
        (Some(group), _) => catalog.roles_of_group(group),
        (None, Some(role)) => catalog.with_inherited([Arc::from(role.as_str())]),
        (None, None) => BTreeSet::new(),
    }
}

fn named(these: &BTreeSet<Arc<str>>, those: &BTreeSet<Arc<str>>) -> Option<String> {
    let same: Vec<String> = these.intersection(those).map(|role| format!("`{role}`")).collect();
    (!same.is_empty()).then(|| same.join(", "))
}

fn through(grant: &AccessGrant) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    match grant.origin {
        Origin::Direct | Origin::Timed | Origin::Request => {
            format!("as a member of `{}`", text(&grant.group))
        }
        Origin::Ticket => format!("for ticket {}", text(&grant.ticket)),
        Origin::BreakGlass => "in a break-glass session".to_owned(),
    }
}
