//! Why the gates disagree about a caller, and the smallest change that would end the disagreement.

use std::collections::BTreeSet;
use std::sync::Arc;

use policy::decision::{Direction, Reason};
use policy::identity::NOT_ENROLLED;
use policy::mapping::{BodyField, BodyRule, Mapping, Row, RowKind, V2Gate};
use policy::rbac::catalog::Catalog;
use policy::rbac::census::{BREAK_GLASS, Person};
use policy::rbac::{LegacyRole, Requirement};
use serde::Serialize;

use super::{Key, Situation};

/// One gate's present answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    pub allows: bool,
    /// Its requirement, in words.
    pub demand: String,
    /// The parts of it that the caller holds and through which grants, or those that the caller lacks.
    pub because: String,
}

/// Why there is a disagreement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// `None` if the row or the caller no longer exists.
    pub legacy: Option<Side>,
    pub v2: Option<Side>,
    /// The changes that would end it, in sentences; of several, one is enough.
    pub changes: Vec<String>,
}

/// Explains a disagreement in the present state, which may differ from the state when it was seen. `reason` is the
/// stable word for the reason why the stricter gate refused.
pub fn explain(key: &Key, reason: &str, situation: &Situation<'_>) -> Explanation {
    let nothing = |why: String| Explanation { legacy: None, v2: None, changes: vec![why] };
    let Some(row) = situation.row(key) else {
        return nothing("no change needed: the running mapping no longer has this row".into());
    };
    let Some(person) = situation.person(key) else {
        if key.actor_id == NOT_ENROLLED {
            return nothing(
                "enroll each machine that uses this row: `console-gate token enroll --sha256 HEX --name NAME --group \
                 GROUP`, with the SHA-256 of its token"
                    .into(),
            );
        }
        return nothing(format!("no change needed: no enabled caller has the id {}", key.actor_id));
    };
    let RowKind::Gated { legacy, v2: V2Gate::Requires { base, also, when, .. }, .. } = &row.kind else {
        return nothing("no change needed: the two gates no longer both decide this row".into());
    };
    if let Some(rule) = row.ticket() {
        return nothing(format!(
            "V2 asks for {base} {rule}: grant it for the ticket (`console-gate ticket grant`), and have the client name the \
             ticket"
        ));
    }
    let case = Case {
        row,
        person,
        legacy: legacy.as_deref(),
        mapping: situation.mapping,
        catalog: situation.catalog,
    };
    let further: Vec<&Requirement> = also.iter().chain(when.iter().map(|rule| &rule.requires)).collect();
    let legacy = case.legacy();
    // No grant helps against an unreadable body, as long as the row examines bodies.
    let is_unreadable = key.direction == Direction::WouldNewlyDeny
        && reason == Reason::BodyUnreadable.word()
        && !when.is_empty();
    if is_unreadable {
        let v2 = case.unreadable(base, &further);
        let changes = match legacy.allows {
            true => case.to_read(when),
            false => vec!["no change needed: both gates now agree".into()],
        };
        return Explanation { legacy: Some(legacy), v2: Some(v2), changes };
    }
    let v2 = case.v2(base, &further, key.direction);
    let changes = match (legacy.allows, v2.allows) {
        (true, false) => case.to_let_in(base, &further),
        (false, true) => case.to_keep_out(base),
        _ => vec!["no change needed: both gates now agree".into()],
    };
    Explanation { legacy: Some(legacy), v2: Some(v2), changes }
}

struct Case<'c> {
    row: &'c Row,
    person: &'c Person,
    legacy: Option<&'c BTreeSet<LegacyRole>>,
    mapping: &'c Mapping,
    catalog: &'c Catalog,
}

impl Case<'_> {
    fn legacy(&self) -> Side {
        let Some(accepted) = self.legacy else {
            return Side {
                allows: false,
                demand: "V2: the row has no legacy gate".into(),
                because: String::new(),
            };
        };
        let words = |roles: &mut dyn Iterator<Item = &LegacyRole>| {
            roles.map(LegacyRole::as_str).collect::<Vec<_>>().join(", ")
        };
        let used = words(&mut accepted.intersection(&self.person.legacy));
        let held = words(&mut self.person.legacy.iter());
        Side {
            allows: !used.is_empty(),
            demand: format!("one of {}", words(&mut accepted.iter())),
            because: match (used.is_empty(), held.is_empty()) {
                (false, _) => format!("has {used}"),
                (true, false) => format!("has only {held}"),
                (true, true) => "has no legacy role".into(),
            },
        }
    }

    /// Some bodies have additional requirements. The body is not stored, so these requirements count if V2 was seen to
    /// refuse.
    fn v2(&self, base: &Requirement, further: &[&Requirement], seen: Direction) -> Side {
        let demand = demand_in_words(base, further);
        let counted = if seen == Direction::WouldNewlyDeny { further } else { &[] };
        let missing = self.unmet(base, counted);
        let because = if missing.is_empty() {
            self.ways(base).join("; ")
        } else {
            let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
            let groups: Vec<&str> = self.person.granting_groups().collect();
            let groups = if groups.is_empty() { "no group".to_owned() } else { groups.join(", ") };
            format!("lacks {}; is in {groups}", missing.join(" and "))
        };
        Side { allows: missing.is_empty(), demand, because }
    }

    /// The answer of V2 to a body that its rules cannot read, whatever access the caller has.
    fn unreadable(&self, base: &Requirement, further: &[&Requirement]) -> Side {
        let missing: Vec<String> = self.unmet(base, &[]).iter().map(ToString::to_string).collect();
        let lacks =
            if missing.is_empty() { String::new() } else { format!(", and lacks {}", missing.join(" and ")) };
        Side {
            allows: false,
            demand: demand_in_words(base, further),
            because: format!("sends an unreadable or missing body{lacks}"),
        }
    }

    /// How to permit a request whose body cannot be read. A rule needs each of its fields.
    fn to_read(&self, when: &[BodyRule]) -> Vec<String> {
        let fields: BTreeSet<&str> = when.iter().map(|rule| rule.field.name()).collect();
        let fields = fields.into_iter().collect::<Vec<_>>().join(" and ");
        let form = match when.first().map(|rule| &rule.field) {
            Some(BodyField::Form(_)) => "a form",
            Some(BodyField::Json(_)) | None => "JSON",
        };
        vec![
            format!("have the client send {form} with a single value for {fields}"),
            format!("if `{}` must accept other bodies: remove `when` from the row", self.row.route),
        ]
    }

    fn unmet<'r>(&self, base: &'r Requirement, further: &[&'r Requirement]) -> Vec<&'r Requirement> {
        let roles = self.person.roles(self.catalog);
        let permissions = self.catalog.permissions_of(&roles);
        let is_met = |requirement: &Requirement| match requirement {
            Requirement::Role(name) => roles.contains(name),
            Requirement::Permission(name) => permissions.contains(name),
        };
        let all: BTreeSet<&Requirement> = std::iter::once(base).chain(further.iter().copied()).collect();
        all.into_iter().filter(|requirement| !is_met(requirement)).collect()
    }

    /// Each path of grants to the requirement.
    fn ways(&self, requirement: &Requirement) -> Vec<String> {
        let way = |group: &str| {
            let way = self.catalog.way_to(group, requirement)?;
            let steps: Vec<&str> = std::iter::once(group).chain(way.iter().map(AsRef::as_ref)).collect();
            Some(steps.join(" -> "))
        };
        self.person.granting_groups().filter_map(way).collect()
    }

    /// The group that holds everything that is missing and brings the fewest other rights.
    fn to_let_in(&self, base: &Requirement, further: &[&Requirement]) -> Vec<String> {
        let id = &self.person.id;
        let missing = self.unmet(base, further);
        let mut groups = self.catalog.groups.clone();
        for requirement in &missing {
            let meeting = self.catalog.groups_that_meet(requirement);
            groups.retain(|group| meeting.contains(group));
        }
        // A break-glass session is for an emergency, not for everyday access.
        groups.remove(BREAK_GLASS);
        let least = groups.iter().map(|group| (self.brings(group), group)).min();
        let Some(((permissions, roles), group)) = least else {
            let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
            return vec![format!(
                "no group has {}: give it to one, or require something else on `{}`",
                missing.join(" and "),
                self.row.route
            )];
        };
        let others = groups.len() - 1;
        let others =
            if others == 0 { String::new() } else { format!("; {others} other group(s) would also do") };
        vec![format!(
            "add {id} to {group}: this grants {roles} role(s) and {permissions} permission(s) that {id} does not \
             have yet{others}"
        )]
    }

    /// The number of permissions and roles that the caller lacks and a group would bring.
    fn brings(&self, group: &str) -> (usize, usize) {
        let held = self.person.roles(self.catalog);
        let roles: BTreeSet<Arc<str>> = self.catalog.roles_of_group(group);
        let (permissions_held, permissions) =
            (self.catalog.permissions_of(&held), self.catalog.permissions_of(&roles));
        (permissions.difference(&permissions_held).count(), roles.difference(&held).count())
    }

    fn to_keep_out(&self, base: &Requirement) -> Vec<String> {
        let id = &self.person.id;
        let leading: Vec<&str> = self
            .person
            .granting_groups()
            .filter(|group| self.catalog.way_to(group, base).is_some())
            .collect();
        let mut changes = Vec::new();
        // The narrowest of the roles that the row accepts.
        let accepted = self.legacy.into_iter().flatten();
        if let Some(role) = accepted.min_by_key(|role| self.mapping.rows_that_accept(role)) {
            changes
                .push(format!("if {id} should have access already today: give {id} the legacy role {role}"));
        }
        changes.push(format!("if {id} should have access with V2: sign it off, no other change is needed"));
        changes.push(format!("if {id} should not have access: remove {id} from {}", leading.join(" and ")));
        changes
    }
}

fn demand_in_words(base: &Requirement, further: &[&Requirement]) -> String {
    let further = further.iter().map(|requirement| format!(", and for some bodies {requirement}"));
    std::iter::once(base.to_string()).chain(further).collect()
}
