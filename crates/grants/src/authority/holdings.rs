//! The rights that a principal holds from now on: each with the way it is held and its end.
//!
//! Dormant access counts: a membership that starts later, a break-glass session that could be started, a grant for a
//! ticket. One holding *covers* another if it is held at least as directly and for at least as long, so a right that is
//! held without an end covers every other way to hold it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use policy::rbac::catalog::Catalog;
use policy::rbac::census::{BREAK_GLASS, CallerKind};
use serde::Serialize;
use store::access_grants::AccessGrant;
use store::grantors::{Grantor, Target};
use store::rbac_changes::{StoredTimedGrant, TicketGrant};

use crate::joined::Joined;

/// A right that a principal can be given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Membership of a group, with each power that the group has: approving, starting break-glass, granting, a cohort.
    Group(Arc<str>),
    Role(Arc<str>),
    Permission(Arc<str>),
    /// Giving something to others without holding it, like the grantors of a group or role.
    Give(Target),
    /// Leaving a cohort: V2 decides for its members, and may be stricter than the gate for everyone else.
    OutOf(Arc<str>),
}

impl Right {
    /// The name of the group, role or permission.
    pub fn name(&self) -> &str {
        match self {
            Right::Group(name) | Right::Role(name) | Right::Permission(name) | Right::OutOf(name) => name,
            Right::Give(target) => target.name(),
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Right::Group(name) => write!(f, "membership of `{name}`"),
            Right::Role(name) => write!(f, "role `{name}`"),
            Right::Permission(name) => write!(f, "permission `{name}`"),
            Right::Give(target) => write!(f, "giving {target} to others"),
            Right::OutOf(name) => write!(f, "leaving the cohort `{name}`"),
        }
    }
}

/// How a right is held.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Through a group.
    Plain,
    /// Through a membership that begins later.
    Later,
    /// By a machine token that the admin created, until the token ends.
    Token(String),
    /// In a break-glass session, either live or not yet started.
    BreakGlass,
    /// For one ticket and one customer.
    Ticket(String, i64),
}

/// When a holding ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    At(DateTime<Utc>),
    /// It has no end.
    Never,
}

/// The grants from which holdings are computed.
#[derive(Clone, Copy)]
pub struct Grants<'g> {
    pub catalog: &'g Catalog,
    /// Memberships without an end.
    pub joined: &'g Joined,
    /// Sorted by admin: an edit of a large group asks for the holdings of each member.
    pub timed: &'g [StoredTimedGrant],
    /// Sorted by admin.
    pub tickets: &'g [TicketGrant],
    /// Break-glass sessions that were not ended.
    pub sessions: &'g [AccessGrant],
    pub machines: &'g [Machine],
    pub grantors: &'g [Grantor],
    /// The groups whose members may start a break-glass session.
    pub eligible: &'g BTreeSet<Arc<str>>,
    /// The groups of cohorts.
    pub cohorts: &'g BTreeSet<Arc<str>>,
    pub now: DateTime<Utc>,
}

/// A live machine token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    pub id: String,
    pub name: String,
    /// The creator: the id of an admin, or an operator. An admin controls whatever the admin's own token holds.
    pub created_by: String,
    pub groups: Arc<BTreeSet<Arc<str>>>,
    pub until: Until,
}

/// The holdings of one principal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    rights: BTreeMap<Right, BTreeMap<Way, Until>>,
    /// When the principal's memberships of cohorts end, by cohort and way; empty if it is in none.
    cohorts: BTreeMap<(Arc<str>, Way), Until>,
}

/// A right that a change gives, with the way it is held and its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Gain {
    pub right: Right,
    pub way: Way,
    pub until: Until,
}

impl Holdings {
    /// The holdings of a principal under these grants.
    pub fn of(kind: CallerKind, id: &str, grants: &Grants<'_>) -> Holdings {
        let mut held = Holdings::default();
        for (group, way, until) in grants.memberships_of(kind, id) {
            held.add_group(&group, &way, until, grants);
            if grants.cohorts.contains(&group) {
                let longest = held.cohorts.entry((group, way)).or_insert(until);
                *longest = until.max(*longest);
            }
        }
        if kind == CallerKind::Admin {
            let is_live = |grant: &&TicketGrant| grant.ends.is_none_or(|ends| ends > grants.now);
            for grant in of_admin(grants.tickets, id, |grant| &grant.admin).iter().filter(is_live) {
                let way = Way::Ticket(grant.ticket.clone(), grant.customer);
                let roles = grants.catalog.with_inherited([Arc::from(grant.role.as_str())]);
                held.add_roles(roles, &way, grant.ends.map_or(Until::Never, Until::At), grants.catalog);
            }
            for session in grants.sessions.iter().filter(|one| one.admin == id && one.is_live(grants.now)) {
                let roles = grants.catalog.roles_of_group(BREAK_GLASS);
                let until = session.ends.map_or(Until::Never, Until::At);
                held.add_roles(roles, &Way::BreakGlass, until, grants.catalog);
            }
            // The admin's own tokens act for the admin.
            for machine in grants.machines.iter().filter(|machine| machine.created_by == id) {
                for group in machine.groups.iter() {
                    held.add_group(group, &Way::Token(machine.id.clone()), machine.until, grants);
                }
            }
        }
        held
    }

    fn add_group(&mut self, group: &Arc<str>, way: &Way, until: Until, grants: &Grants<'_>) {
        self.add(Right::Group(group.clone()), way, until);
        // A member of this group holds its roles only in a session (RBAC V2 design, I-4).
        if **group != *BREAK_GLASS {
            self.add_roles(grants.catalog.roles_of_group(group), way, until, grants.catalog);
        }
        for grantor in grants.grantors.iter().filter(|grantor| *grantor.by == **group) {
            self.add(Right::Give(grantor.of.clone()), way, until);
        }
        // Machines cannot start a session. Members whose membership begins later can then.
        let session = match way {
            Way::Plain => Some(Way::BreakGlass),
            Way::Later => Some(Way::Later),
            Way::Token(_) | Way::BreakGlass | Way::Ticket(..) => None,
        };
        if let Some(way) = session.filter(|_| grants.eligible.contains(group)) {
            let roles = grants.catalog.roles_of_group(BREAK_GLASS);
            self.add_roles(roles, &way, until, grants.catalog);
        }
    }

    fn add_roles(&mut self, roles: BTreeSet<Arc<str>>, way: &Way, until: Until, catalog: &Catalog) {
        for permission in catalog.permissions_of(&roles) {
            self.add(Right::Permission(permission), way, until);
        }
        for role in roles {
            self.add(Right::Role(role), way, until);
        }
    }

    fn add(&mut self, right: Right, way: &Way, until: Until) {
        let longest = self.rights.entry(right).or_default().entry(way.clone()).or_insert(until);
        *longest = until.max(*longest);
    }

    /// Whether a right is held without an end, and neither in a session nor for a ticket.
    pub fn is_lasting(&self, right: &Right) -> bool {
        self.plainly_until(right) == Some(Until::Never)
    }

    /// When a right that is held through groups ends.
    pub fn plainly_until(&self, right: &Right) -> Option<Until> {
        self.rights.get(right)?.get(&Way::Plain).copied()
    }

    /// Whether these holdings cover `gain`.
    fn covers(&self, gain: &Gain) -> bool {
        let ways = self.rights.get(&gain.right);
        let until = |way: &Way| ways.and_then(|ways| ways.get(way)).copied();
        until(&Way::Plain).max(until(&gain.way)) >= Some(gain.until)
    }

    /// The holdings here that those `before` did not cover.
    pub fn gained_since(&self, before: &Holdings) -> Vec<Gain> {
        let all = self.rights.iter().flat_map(|(right, ways)| {
            ways.iter().map(|(way, until)| Gain { right: right.clone(), way: way.clone(), until: *until })
        });
        let stays = |cohort: &Arc<str>, way: &Way| {
            let until = |way: &Way| self.cohorts.get(&(cohort.clone(), way.clone())).copied();
            until(&Way::Plain).max(until(way))
        };
        let left = before.cohorts.iter().filter(|((cohort, way), until)| stays(cohort, way) < Some(**until));
        let left = left.map(|((cohort, _), _)| Gain {
            right: Right::OutOf(cohort.clone()),
            way: Way::Plain,
            until: Until::Never,
        });
        all.filter(|gain| !before.covers(gain)).chain(left).collect()
    }
}

impl<'g> Grants<'g> {
    /// The groups of a principal, each with the way it is held and its end.
    fn memberships_of(&self, kind: CallerKind, id: &str) -> Vec<(Arc<str>, Way, Until)> {
        if kind == CallerKind::Machine {
            let own = self.machines.iter().filter(|machine| machine.id == id);
            let groups = own.flat_map(|machine| machine.groups.iter().map(|group| (group, machine.until)));
            return groups.map(|(group, until)| (group.clone(), Way::Plain, until)).collect();
        }
        let joined = self.joined.groups_of(id);
        let joined = joined.map(|group| (group.clone(), Way::Plain, Until::Never));
        let timed = of_admin(self.timed, id, |grant| &grant.admin).iter().filter_map(|grant| {
            let (starts, ends) = (grant.starts?, grant.ends.filter(|ends| *ends > self.now)?);
            let way = if starts > self.now { Way::Later } else { Way::Plain };
            Some((Arc::from(grant.group.as_str()), way, Until::At(ends)))
        });
        joined.chain(timed).collect()
    }

    /// The members of some groups, and every admin with a ticket or a session.
    pub fn principals(&self, is_wanted: impl Fn(&str) -> bool) -> BTreeSet<(CallerKind, &'g str)> {
        let joined = self.joined.iter().filter(|(_, group)| is_wanted(group)).map(|(admin, _)| &**admin);
        let timed = self.timed.iter().filter(|grant| is_wanted(&grant.group)).map(|grant| &*grant.admin);
        let tickets = self.tickets.iter().map(|grant| &*grant.admin);
        let sessions = self.sessions.iter().map(|session| &*session.admin);
        let machines = self.machines.iter().filter(|machine| machine.groups.iter().any(|one| is_wanted(one)));
        let machines = machines.collect::<Vec<_>>();
        let owners = machines.iter().map(|machine| &*machine.created_by);
        let admins = joined.chain(timed).chain(tickets).chain(sessions).chain(owners);
        let admins: BTreeSet<_> = admins.map(|id| (CallerKind::Admin, id)).collect();
        let tokens = machines.iter().map(|machine| (CallerKind::Machine, machine.id.as_str()));
        admins.into_iter().chain(tokens).collect()
    }
}

/// The items of one admin, in a slice sorted by admin.
pub(crate) fn of_admin<'g, T>(sorted: &'g [T], id: &str, admin: impl Fn(&T) -> &str) -> &'g [T] {
    let from = sorted.partition_point(|one| admin(one) < id);
    let to = from + sorted[from..].partition_point(|one| admin(one) == id);
    &sorted[from..to]
}
