//! The effects of a change that no profile of people shows: routes that open or close for one ticket and customer, in a
//! break-glass session, and for a machine whose token becomes known. An impact compares the access of people through
//! groups; these effects are reported separately.
//!
//! They are judged like an impact: with `FLAG_RBAC_V2` and the flag of grants for tickets on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy::decision::body::BodyFacts;
use policy::decision::{Caller, Control, LetInBy, Question, Target, decide, takes_presented};
use policy::identity::Principal;
use policy::ids::{AdminId, Epoch, MachineTokenId};
use policy::mapping::{ClusterMode, Mapping, Row, RowKind, V2Gate};
use policy::rbac::break_glass::BreakGlassRules;
use policy::rbac::catalog::Catalog;
use policy::rbac::census::{BREAK_GLASS, CallerKind, Person, granting_groups};
use policy::rbac::{Access, Requirement, Standing};
use serde::Serialize;
use store::rbac_changes::TicketGrant;
use workbench::impact::AccessChange;

use super::plan::Plan;
use super::state::State;
use crate::registry::Registry;

/// The most routes that are named in one line.
const MOST_NAMED: usize = 5;

/// Where routes open independently of groups.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// In requests that name both the ticket and the customer.
    Ticket { ticket: String, customer: i64 },
    /// In a session that the admin may start.
    BreakGlass,
}

/// What one admin gains or loses in one scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Apart {
    pub admin: String,
    pub scope: Scope,
    pub change: AccessChange,
    /// The routes that open or close now.
    pub routes: Vec<String>,
    /// The routes that do so once V2 decides them: now a legacy gate decides them, which knows neither tickets nor
    /// sessions.
    pub once_on_v2: Vec<String>,
}

impl Apart {
    /// A sentence.
    pub fn in_words(&self) -> String {
        let admin = &self.admin;
        let verb = if self.change == AccessChange::Gain { "gains" } else { "loses" };
        let scope = match &self.scope {
            Scope::Ticket { ticket, customer } => format!("for ticket {ticket} and customer {customer}"),
            Scope::BreakGlass => "in break-glass sessions of its own".to_owned(),
        };
        let later = |routes: &[String]| format!("the legacy gate decides {} until V2 does", some(routes));
        match (self.routes.as_slice(), self.once_on_v2.as_slice()) {
            ([], []) => format!("`{admin}` {verb} no route {scope}: no row asks for what is granted"),
            ([], waiting) => format!("`{admin}` {verb} no route {scope} yet: {}", later(waiting)),
            (routes, []) => format!("`{admin}` {verb} {scope}: {}", some(routes)),
            (routes, waiting) => format!("`{admin}` {verb} {scope}: {}; {}", some(routes), later(waiting)),
        }
    }
}

fn some(routes: &[String]) -> String {
    let mut named: Vec<&str> = routes.iter().take(MOST_NAMED).map(String::as_str).collect();
    let others = format!("{} other routes", routes.len().saturating_sub(MOST_NAMED));
    if routes.len() > MOST_NAMED {
        named.push(&others);
    }
    named.join(", ")
}

/// The routes that roles open in a scope, now or once V2 decides them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opens {
    pub now: BTreeSet<Arc<str>>,
    pub once_on_v2: BTreeSet<Arc<str>>,
}

impl Opens {
    /// The same while V2 decides no route.
    pub fn while_off(mut self) -> Opens {
        self.once_on_v2.append(&mut self.now);
        self
    }

    /// The message to an admin before and after a session starts.
    pub fn of_session_in_words(&self) -> String {
        let count = |routes: &BTreeSet<Arc<str>>| match routes.len() {
            1 => "1 route".to_owned(),
            count => format!("{count} routes"),
        };
        match (self.now.len(), self.once_on_v2.len()) {
            (0, 0) => "A session opens no route: no row asks for what it grants.".to_owned(),
            (0, _) => format!(
                "A session opens no route now: a legacy gate decides the {} that it would open, and knows no session.",
                count(&self.once_on_v2)
            ),
            (_, 0) => format!("A session opens {}.", count(&self.now)),
            _ => format!(
                "A session opens {}; a legacy gate, which knows no session, decides {} more.",
                count(&self.now),
                count(&self.once_on_v2)
            ),
        }
    }
}

/// The routes that a break-glass session opens for an admin in these groups. A row counts as opened if the session and
/// the admin's own roles together meet everything that one alternative of the row asks for, and the session meets a
/// part of it. If the row requires a ticket, each role that needs none is an alternative. Any other row has one
/// alternative: all that it requires whatever the body.
pub fn opened_by_session(
    mapping: &Mapping,
    catalog: &Catalog,
    admin: &str,
    groups: &BTreeSet<Arc<str>>,
) -> Opens {
    let asks = |row: &'_ Row| match &row.kind {
        RowKind::Gated { v2: V2Gate::Requires { ticket: Some(rule), .. }, .. } => {
            rule.without.iter().cloned().map(|role| vec![role]).collect()
        }
        kind => vec![kind.required().into_iter().cloned().collect()],
    };
    opens(mapping, (catalog, &catalog.roles_of_group(BREAK_GLASS)), (admin, groups), asks)
}

fn opened_by_tickets(
    mapping: &Mapping,
    catalog: &Catalog,
    roles: &BTreeSet<Arc<str>>,
    admin: (&str, &BTreeSet<Arc<str>>),
) -> Opens {
    let asks = |row: &'_ Row| match &row.kind {
        RowKind::Gated { v2: V2Gate::Requires { base, ticket: Some(_), .. }, .. } => vec![vec![base.clone()]],
        _ => Vec::new(),
    };
    opens(mapping, (catalog, roles), admin, asks)
}

/// The routes that these roles open together with the admin's own, which come from groups. `asks` returns a row's
/// alternatives. A row counts as opened if everything that one alternative asks for is met by these roles and the
/// admin's own, and a part of it by these roles. It counts even if the admin's own roles are enough.
fn opens(
    mapping: &Mapping,
    (catalog, roles): (&Catalog, &BTreeSet<Arc<str>>),
    (admin, groups): (&str, &BTreeSet<Arc<str>>),
    asks: impl Fn(&Row) -> Vec<Vec<Requirement>>,
) -> Opens {
    let own: BTreeSet<Arc<str>> =
        granting_groups(groups, false).flat_map(|group| catalog.roles_of_group(group)).collect();
    let held = [roles, &own].map(|roles| (roles, catalog.permissions_of(roles)));
    let meets = |(roles, permissions): &(&BTreeSet<Arc<str>>, BTreeSet<Arc<str>>),
                 requirement: &Requirement| {
        match requirement {
            Requirement::Role(name) => roles.contains(name),
            Requirement::Permission(name) => permissions.contains(name),
        }
    };
    let is_met = |alternative: &Vec<Requirement>| {
        alternative.iter().any(|one| meets(&held[0], one))
            && alternative.iter().all(|one| held.iter().any(|held| meets(held, one)))
    };
    let mut opened = Opens::default();
    for row in mapping.rows().iter().filter(|row| asks(row).iter().any(is_met)) {
        let is_v2 = mapping.rollout_of(row).mode_for(admin, groups) == ClusterMode::V2;
        let into = if is_v2 { &mut opened.now } else { &mut opened.once_on_v2 };
        into.insert(row.route.clone());
    }
    opened
}

/// The changes of a plan that are independent of groups.
pub fn apart(mapping: &Mapping, state: &State, plan: &Plan) -> Vec<Apart> {
    let [before, after] = plan.tickets();
    let sides = [(&state.registry, before), (&plan.after, after)];
    let scopes = sides.map(|(registry, tickets)| scopes(mapping, registry, tickets, &state.eligible, state));
    let keys: BTreeSet<&(String, Scope)> = scopes.iter().flat_map(BTreeMap::keys).collect();
    let mut found = Vec::new();
    for key in keys {
        let [before, after] = scopes.each_ref().map(|scopes| scopes.get(key));
        for (from, to, change) in [(before, after, AccessChange::Gain), (after, before, AccessChange::Loss)] {
            let Some(to) = to else { continue };
            let none = Opens::default();
            let known = from.unwrap_or(&none);
            let new = |to: &BTreeSet<Arc<str>>, from: &BTreeSet<Arc<str>>| -> Vec<String> {
                to.difference(from).map(ToString::to_string).collect()
            };
            let (routes, once_on_v2) = (new(&to.now, &known.now), new(&to.once_on_v2, &known.once_on_v2));
            // A scope that opens nothing is reported when it begins or ends.
            if from.is_none() || !routes.is_empty() || !once_on_v2.is_empty() {
                let (admin, scope) = key.clone();
                found.push(Apart { admin, scope, change, routes, once_on_v2 });
            }
        }
    }
    found
}

/// The routes that each enabled admin can use in each scope. Contains only admins that a change could concern: holders
/// of tickets, and admins that may start a session.
fn scopes(
    mapping: &Mapping,
    registry: &Registry,
    tickets: &[TicketGrant],
    eligible: &BreakGlassRules,
    state: &State,
) -> BTreeMap<(String, Scope), Opens> {
    let catalog = &registry.catalog;
    let admins = registry.people.iter().filter(|person| person.kind == CallerKind::Admin);
    let mut by_admin: BTreeMap<&str, &Person> = BTreeMap::new();
    let mut scopes = BTreeMap::new();
    for person in admins {
        by_admin.insert(&person.id, person);
        if eligible.allow(&person.groups) {
            let opened = opened_by_session(mapping, catalog, &person.id, &person.groups);
            scopes.insert((person.id.to_string(), Scope::BreakGlass), opened);
        }
    }
    let mut roles: BTreeMap<(&str, &str, i64), BTreeSet<Arc<str>>> = BTreeMap::new();
    for grant in tickets.iter().filter(|grant| grant.ends.is_none_or(|ends| ends > state.now)) {
        let held = roles.entry((&grant.admin, &grant.ticket, grant.customer)).or_default();
        held.extend(catalog.with_inherited([Arc::from(grant.role.as_str())]));
    }
    for ((admin, ticket, customer), roles) in roles {
        let Some(person) = by_admin.get(admin) else { continue };
        let scope = Scope::Ticket { ticket: ticket.to_owned(), customer };
        let opened = opened_by_tickets(mapping, catalog, &roles, (admin, &person.groups));
        scopes.insert((admin.to_owned(), scope), opened);
    }
    scopes
}

/// The effect on a machine of the gate learning its token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Known {
    /// The routes for machines that permit this one.
    pub opens: Vec<String>,
    /// The routes on which Console judges tokens that the gate does not know, and on which the gate refuses this
    /// machine from now on.
    pub cut_off: Vec<String>,
}

impl Known {
    /// The effect for a machine with these groups and legacy roles.
    pub fn of(mapping: &Mapping, catalog: &Catalog, machine: &Person) -> Known {
        let control = Control { epoch: Epoch(0), rbac_v2: true, may_enforce: true };
        let mut known = Known::default();
        for row in mapping.rows() {
            let RowKind::Gated { machine: true, .. } = &row.kind else { continue };
            let rollout = mapping.rollout_of(row);
            let target = Target::Row(row, rollout);
            if let_in(target, machine, catalog, &control).is_some() {
                known.opens.push(row.route.to_string());
            } else if takes_presented(&row.kind, rollout, &control) {
                known.cut_off.push(row.route.to_string());
            }
        }
        known
    }

    /// One sentence for each of the two lists.
    pub fn in_words(&self, name: &str, is_enrolled: bool) -> Vec<String> {
        let mut lines = Vec::new();
        lines.push(match self.opens.as_slice() {
            [] => format!("`{name}` opens no route that takes machines"),
            opens => format!("`{name}` opens {}", some(opens)),
        });
        if is_enrolled && !self.cut_off.is_empty() {
            lines.push(format!(
                "`{name}` is cut off at once from {}: Console judged it there until now, and the gate finds none of the legacy \
                 roles; `--legacy-role` gives it one",
                some(&self.cut_off)
            ));
        }
        lines
    }
}

/// What permits a principal, according to the decision itself, with a body that meets none of the row's rules.
pub fn let_in(target: Target<'_>, person: &Person, catalog: &Catalog, control: &Control) -> Option<LetInBy> {
    let roles = person.roles(catalog);
    let access = Access {
        standing: Standing::Active,
        legacy: (*person.legacy).clone(),
        groups: (*person.groups).clone(),
        permissions: catalog.permissions_of(&roles),
        roles,
        ..Access::nothing(control.epoch)
    };
    let principal = match person.kind {
        CallerKind::Admin => Principal::Admin { id: AdminId::new(person.id.clone()), session: None },
        CallerKind::Machine => Principal::Machine { id: MachineTokenId::new(person.id.clone()) },
    };
    outcome(target, Caller::Known(&principal, &access), control)
}

/// What permits a caller, with a body that meets none of the row's rules.
pub fn outcome(target: Target<'_>, caller: Caller<'_>, control: &Control) -> Option<LetInBy> {
    let rules = target.row().map_or(0, |row| row.kind.body_rules().len());
    let body = if rules == 0 { BodyFacts::NotRead } else { BodyFacts::Read(vec![false; rules]) };
    let question = Question { upgrade: false, target, caller, control: Some(control), body: &body };
    decide(&question).outcome.ok().map(|permit| permit.let_in_by())
}
