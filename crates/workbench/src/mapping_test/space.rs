//! The callers that represent all possible ones at a row.
//!
//! There are finitely many holdings, and far fewer that a row distinguishes. Each gate only widens with what a caller
//! holds, so a row permits a caller if and only if it permits one with a minimal part of its holdings: one accepted legacy
//! role, or for each requirement of V2 one group that meets it. Which gate decides depends on the cohort alone, so each
//! minimal part is combined with each way of being inside or outside of the cohort. These callers are enough to find any
//! permitted caller, any caller without given grants, and any difference of two rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use policy::decision::body::BodyKind;
use policy::mapping::{Cohort, Rollout, Row, RowKind, TicketRule, V2Gate};
use policy::method::Method;
use policy::rbac::break_glass::BreakGlassRules;
use policy::rbac::catalog::Catalog;
use policy::rbac::census::BREAK_GLASS;
use policy::rbac::{LegacyRole, Requirement};

use super::caller::{Caller, Holdings, Kind, Share, TicketGrant};

/// The most callers of one row that are tried. A row beyond it is reported, not skipped in silence.
const MOST: usize = 20_000;

/// The callers of a row.
pub(super) struct Space {
    /// Those with the fewest grants come first.
    pub callers: Vec<Caller>,
    /// Whether these represent all.
    pub complete: bool,
}

/// The callers that represent all possible ones at this row.
pub(super) fn of_row(
    row: Option<&Row>,
    rollout: &Rollout,
    catalog: &Catalog,
    rules: &BreakGlassRules,
) -> Space {
    let mut callers: BTreeSet<Caller> = Kind::ALL.into_iter().map(Caller::bare).collect();
    let mut complete = true;
    if let Some(RowKind::Gated { legacy, v2, machine }) = row.map(|row| &row.kind) {
        let mut parts = vec![Holdings::default()];
        parts.extend(legacy.iter().flat_map(|roles| roles.iter()).map(of_legacy));
        let needs = needs(v2);
        for need in &needs {
            complete &= covers(need, catalog, rules, &mut parts);
        }
        if let V2Gate::Requires { base, when, ticket: Some(_), .. } = v2 {
            for grant in ticket_grants(base, catalog) {
                let mut with_grant = vec![Holdings { ticket: Some(grant.clone()), ..Holdings::default() }];
                for rule in when {
                    complete &=
                        covers(std::slice::from_ref(&&rule.requires), catalog, rules, &mut with_grant);
                }
                parts.extend(
                    with_grant.into_iter().map(|part| Holdings { ticket: Some(grant.clone()), ..part }),
                );
            }
        }
        for part in parts {
            for side in sides(rollout.cohort.as_ref(), &part) {
                if *machine && !side.break_glass && side.ticket.is_none() {
                    callers.insert(Caller::holding(Kind::Machine, side.clone()));
                }
                callers.insert(Caller::holding(Kind::Admin, side));
            }
        }
    }
    let mut callers: Vec<Caller> = callers.into_iter().collect();
    callers.sort_by_key(|caller| (caller.holdings.size(), caller.kind));
    Space { callers, complete }
}

fn of_legacy(role: &LegacyRole) -> Holdings {
    Holdings { legacy: [role.clone()].into(), ..Holdings::default() }
}

/// The requirements of V2, once for each kind of body and for each role that needs no ticket.
fn needs(v2: &V2Gate) -> Vec<Vec<&Requirement>> {
    let V2Gate::Requires { base, also, when, ticket } = v2 else { return Vec::new() };
    let beginnings: Vec<Vec<&Requirement>> = match ticket.as_deref() {
        None => vec![std::iter::once(base).chain(also).collect()],
        Some(TicketRule { without, .. }) => without.iter().map(|role| vec![role]).collect(),
    };
    let kinds = BodyKind::all(when, Method::Post);
    let mut needs = beginnings.clone();
    for kind in kinds.into_iter().filter(|kind| matches!(kind, BodyKind::Rule(..))) {
        let met = || when.iter().filter(|rule| kind.meets(rule)).map(|rule| &rule.requires);
        needs.extend(beginnings.iter().map(|beginning| beginning.iter().copied().chain(met()).collect()));
    }
    needs
}

/// Adds each way to meet all of `need` with one group or session for each. Returns whether these are all.
fn covers(
    need: &[&Requirement],
    catalog: &Catalog,
    rules: &BreakGlassRules,
    parts: &mut Vec<Holdings>,
) -> bool {
    let mut ways = vec![Holdings::default()];
    for requirement in need {
        let sources = sources(requirement, catalog, rules);
        if ways.len().saturating_mul(sources.len()) > MOST {
            return false;
        }
        ways = ways.iter().flat_map(|way| sources.iter().map(|source| joined(way, source))).collect();
        ways.sort();
        ways.dedup();
    }
    parts.extend(ways);
    parts.len() <= MOST
}

fn sources(requirement: &Requirement, catalog: &Catalog, rules: &BreakGlassRules) -> Vec<Holdings> {
    let mut sources = Vec::new();
    for group in catalog.groups_that_meet(requirement) {
        if *group != *BREAK_GLASS {
            sources.push(Holdings { groups: [group].into(), ..Holdings::default() });
            continue;
        }
        for eligible in rules.eligible.intersection(&catalog.groups) {
            let groups = [eligible.clone()].into();
            sources.push(Holdings { groups, break_glass: true, ..Holdings::default() });
        }
    }
    sources
}

fn joined(one: &Holdings, other: &Holdings) -> Holdings {
    Holdings {
        groups: one.groups.union(&other.groups).cloned().collect(),
        break_glass: one.break_glass || other.break_glass,
        ..one.clone()
    }
}

/// The grants for a ticket that meet a requirement.
fn ticket_grants(base: &Requirement, catalog: &Catalog) -> Vec<TicketGrant> {
    let meets = |role: &&Arc<str>| match base {
        Requirement::Role(name) => *role == name,
        Requirement::Permission(name) => {
            catalog.role_permissions.get(*role).is_some_and(|permissions| permissions.contains(name))
        }
    };
    let roles = catalog.roles.iter().filter(meets).cloned();
    roles.map(|role| TicketGrant { of: None, role, is_open: true }).collect()
}

/// The same holdings outside of the cohort, and in each way inside.
pub(super) fn sides(cohort: Option<&Cohort>, part: &Holdings) -> Vec<Holdings> {
    let mut sides = vec![part.clone()];
    if let Some(cohort) = cohort {
        sides.extend(cohort.groups.iter().map(|group| {
            let groups = part.groups.iter().chain([group]).cloned().collect();
            Holdings { groups, ..part.clone() }
        }));
        if (1..100).contains(&cohort.percent) {
            sides.push(Holdings { share: Share::Inside, ..part.clone() });
        }
    }
    sides
}
