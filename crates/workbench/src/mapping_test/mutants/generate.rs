//! The mutants of a mapping and of its grants: each a mistake that a person could make.

use std::sync::Arc;

use policy::mapping::{ClusterMode, Mapping, Rollout, Row, RowKind, Unmapped, V2Gate};
use policy::method::MethodSet;
use policy::rbac::catalog::Catalog;
use policy::rbac::{LegacyRole, Requirement};

/// One change.
#[derive(Debug)]
pub(super) enum Change {
    /// This row decides in place of the one with the same place.
    Row(Box<Row>),
    /// The row at this index is missing, or has other methods.
    Dropped(usize),
    Methods(usize, MethodSet),
    Cluster(Arc<str>, Rollout),
    Unmapped(Unmapped),
    Grants(Box<Catalog>),
}

/// A change, and its effect as the condition of a sentence.
#[derive(Debug)]
pub(super) struct Mutant {
    pub change: Change,
    /// After "if".
    pub condition: String,
    /// The offset of the row; `None` if the change is not of one row.
    pub offset: Option<usize>,
}

/// Every mutant of the mapping, then every mutant of the grants.
pub(super) fn all(mapping: &Mapping, catalog: &Catalog) -> Vec<Mutant> {
    let mut mutants = Vec::new();
    for (index, row) in mapping.rows().iter().enumerate() {
        of_row(index, row, mapping, catalog, &mut mutants);
    }
    for (name, rollout) in mapping.clusters() {
        for (word, mode) in [("legacy", ClusterMode::Legacy), ("v2", ClusterMode::V2)] {
            let other = Rollout::everybody(mode);
            if *rollout != other {
                mutants.push(Mutant {
                    change: Change::Cluster(name.clone(), other),
                    condition: format!("cluster `{name}` were in `{word}`"),
                    offset: None,
                });
            }
        }
    }
    let (other, words) = match mapping.unmapped() {
        Unmapped::Forward => (Unmapped::Deny, "denied"),
        Unmapped::Deny | Unmapped::Quiet => (Unmapped::Forward, "forwarded"),
    };
    mutants.push(Mutant {
        change: Change::Unmapped(other),
        condition: format!("requests without a row were {words}"),
        offset: None,
    });
    grants(catalog, &mut mutants);
    mutants
}

fn of_row(index: usize, row: &Row, mapping: &Mapping, catalog: &Catalog, mutants: &mut Vec<Mutant>) {
    let route = &row.route;
    let mut add = |change: Change, condition: String| {
        mutants.push(Mutant { change, condition, offset: Some(row.offset) });
    };
    let with = |kind: RowKind| Change::Row(Box::new(Row { kind, ..row.clone() }));
    add(Change::Dropped(index), format!("`{route}` had no row"));
    if row.methods != MethodSet::ALL {
        add(Change::Methods(index, MethodSet::ALL), format!("`{route}` covered every method"));
    }
    if row.kind != RowKind::Public {
        add(with(RowKind::Public), format!("`{route}` were open to everyone"));
    }
    if row.kind != RowKind::Session {
        add(with(RowKind::Session), format!("`{route}` were open to every logged-in admin"));
    }
    let RowKind::Gated { legacy, v2, machine } = &row.kind else { return };
    let gated = |legacy: &Option<Arc<std::collections::BTreeSet<LegacyRole>>>, v2: V2Gate, machine: bool| {
        with(RowKind::Gated { legacy: legacy.clone(), v2, machine })
    };
    let of_machines = if *machine { "accepted no machines" } else { "accepted machines" };
    add(gated(legacy, v2.clone(), !machine), format!("`{route}` {of_machines}"));
    if let Some(accepted) = legacy {
        for role in mapping.legacy_roles() {
            let mut other = (**accepted).clone();
            let (is_closed, words) = match other.remove(role) {
                true => (other.is_empty(), "closed"),
                false => (!other.insert(role.clone()), "open"),
            };
            if !is_closed {
                let other = Some(Arc::new(other));
                add(gated(&other, v2.clone(), *machine), format!("`{route}` were {words} to `{role}`"));
            }
        }
    }
    for (other, condition) in of_v2(v2, catalog) {
        add(gated(legacy, other, *machine), format!("`{route}` {condition}"));
    }
}

/// The mutants of a V2 gate.
fn of_v2(v2: &V2Gate, catalog: &Catalog) -> Vec<(V2Gate, String)> {
    let V2Gate::Requires { base, also, when, ticket } = v2 else { return Vec::new() };
    let mut all = Vec::new();
    let requires = |base: &Requirement, also: &[Requirement], when: &[_]| V2Gate::Requires {
        base: base.clone(),
        also: also.to_vec(),
        when: when.to_vec(),
        ticket: ticket.clone(),
    };
    let holders = catalog.groups_that_meet(base);
    for role in &catalog.roles {
        let other = Requirement::Role(role.clone());
        // A role that opens the row to a group for which it is closed.
        if other != *base && !catalog.groups_that_meet(&other).is_subset(&holders) {
            all.push((requires(&other, also, when), format!("required {other} instead of {base}")));
        }
    }
    for at in 0..also.len() {
        let mut fewer = also.clone();
        let dropped = fewer.remove(at);
        all.push((requires(base, &fewer, when), format!("did not require {dropped}")));
    }
    for at in 0..when.len() {
        let mut fewer = when.clone();
        let rule = fewer.remove(at);
        let body = format!("for bodies with {} = {}", rule.field.name(), rule.equals);
        all.push((requires(base, also, &fewer), format!("did not require {} {body}", rule.requires)));
    }
    if ticket.is_some() {
        let (base, also, when) = (base.clone(), also.clone(), when.clone());
        all.push((V2Gate::Requires { base, also, when, ticket: None }, "required no ticket".to_owned()));
    }
    all
}

fn grants(catalog: &Catalog, mutants: &mut Vec<Mutant>) {
    let mut edges = |from: &Arc<str>, to: &Arc<str>, is_group: bool| {
        let mut other = catalog.clone();
        let edges = if is_group { &mut other.group_roles } else { &mut other.inherits };
        let ends = edges.entry(from.clone()).or_default();
        let condition = match (is_group, ends.remove(to)) {
            (true, true) => format!("group `{from}` did not hold role `{to}`"),
            (false, true) => format!("role `{from}` did not inherit role `{to}`"),
            (is_group, false) => {
                ends.insert(to.clone());
                let verb = if is_group { "held" } else { "inherited" };
                format!("{} `{from}` {verb} role `{to}`", if is_group { "group" } else { "role" })
            }
        };
        mutants.push(Mutant { change: Change::Grants(Box::new(other)), condition, offset: None });
    };
    for role in &catalog.roles {
        catalog.groups.iter().for_each(|group| edges(group, role, true));
        catalog.roles.iter().filter(|from| *from != role).for_each(|from| edges(from, role, false));
    }
}
