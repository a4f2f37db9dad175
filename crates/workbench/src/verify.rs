//! The documents' tests for each route (302 for an unauthenticated caller, the view for the role, 403 with its audit
//! row without it), and for requests that no row covers, as cases to run against a running gate. Pure.
//!
//! The expected answers are computed here, from the table and the gate in force, independently of the running gate.

mod body;

use std::collections::BTreeSet;
use std::sync::Arc;

use policy::decision::body::BodyKind;
use policy::decision::{Control, GateInForce, Target, WhyLegacy, gate_in_force, takes_presented};
use policy::mapping::{Forbidden, Mapping, Row, RowKind, TicketRule, Unauthenticated, Unmapped, V2Gate};
use policy::method::{Method, MethodSet};
use policy::rbac::catalog::Catalog;
use policy::rbac::{LegacyRole, Requirement};

/// The position of throwaway admins among a hundred equal shares: only a cohort of everyone includes them.
pub const LAST_PERCENTILE: u64 = 99;

/// Everything that a throwaway admin is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holding {
    pub legacy: BTreeSet<LegacyRole>,
    /// Roles that are held directly; inherited roles are added.
    pub roles: BTreeSet<Arc<str>>,
}

/// The caller of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    Nobody,
    /// With a bearer token that only Console could verify.
    Bearer,
    Admin(Holding),
}

/// The outcome that a case must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// Redirect to the login page.
    Login,
    /// 401.
    Unauthorized,
    /// 403 to an unauthenticated caller, without an audit row.
    Unknown,
    /// The gate would forward it.
    Allow,
    /// 403, with exactly one audit row.
    Deny,
    /// Redirect to the login page, with exactly one audit row.
    DenyToLogin,
    /// 410.
    Gone,
    /// 404.
    Quiet,
}

/// One request with its required outcome.
#[derive(Clone, Debug)]
pub struct Case<'m> {
    /// The row that decides; `None` if `unmapped` decides.
    pub row: Option<&'m Row>,
    pub method: Method,
    /// A decoded path.
    pub path: String,
    /// The type and text of a body that the row can read.
    pub body: Option<(&'static str, String)>,
    pub who: Who,
    /// The caller in a few words, for the report.
    pub said: &'static str,
    pub expect: Expect,
}

/// The cases of a mapping.
#[derive(Debug)]
pub struct Plan<'m> {
    pub cases: Vec<Case<'m>>,
    /// Rows that no request reaches, for which there are no cases.
    pub out_of_reach: Vec<&'m Row>,
}

/// Computes the cases for every row that `wanted` selects, with a method that its path does not have, and, if
/// `with_uncovered`, for paths without a row.
pub fn plan<'m>(
    mapping: &'m Mapping,
    catalog: &Catalog,
    control: &Control,
    wanted: impl Fn(&Row) -> bool,
    with_uncovered: bool,
) -> Plan<'m> {
    let mut plan = Plan { cases: Vec::new(), out_of_reach: Vec::new() };
    let regions = mapping.regions(mapping).all;
    let mut uncovered = BTreeSet::new();
    for row in mapping.rows().iter().filter(|row| wanted(row)) {
        let mut asked = MethodSet::EMPTY;
        for region in regions.iter().filter(|region| region.new.is_some_and(|new| new.offset == row.offset)) {
            for method in region.methods.iter().filter(|method| is_asked(row, *method)) {
                if !asked.contains(method) {
                    asked = asked.with(method);
                    let at = At { row: Some(row), method, path: &region.example };
                    plan.cases.extend(at.cases(row, mapping, catalog, control));
                }
            }
            let has_row = |method: &Method| Target::of(mapping, &region.example, *method).row().is_some();
            let undeclared = Method::ALL.into_iter().find(|method| !has_row(method));
            uncovered.extend(undeclared.map(|method| (region.example.clone(), method)));
        }
        if asked.is_empty() {
            plan.out_of_reach.push(row);
        }
    }
    if with_uncovered {
        let regions = regions.iter().filter(|region| region.is_uncovered());
        let requests =
            regions.flat_map(|region| region.methods.iter().map(|method| (region.example.clone(), method)));
        uncovered.extend(requests);
    }
    for (path, method) in uncovered {
        plan.cases.extend(At { row: None, method, path: &path }.unmapped(mapping.unmapped_at(&path)));
    }
    plan
}

/// Whether a method of a row is tested: each method that the row names. Of the methods that Flask adds, only OPTIONS is
/// tested, and only if its answer differs: if the row requires a body, which OPTIONS does not have.
fn is_asked(row: &Row, method: Method) -> bool {
    row.methods.contains(method) || (method == Method::Options && !row.kind.body_rules().is_empty())
}

/// A request.
struct At<'m, 'p> {
    row: Option<&'m Row>,
    method: Method,
    path: &'p str,
}

impl<'m> At<'m, '_> {
    fn case(&self, who: Who, said: &'static str, expect: Expect) -> Case<'m> {
        let to_login = self.row.is_some_and(|row| row.forbidden == Forbidden::Redirect);
        let expect = if expect == Expect::Deny && to_login { Expect::DenyToLogin } else { expect };
        Case { row: self.row, method: self.method, path: self.path.to_owned(), body: None, who, said, expect }
    }

    /// The cases where no row decides.
    fn unmapped(&self, unmapped: Unmapped) -> Vec<Case<'m>> {
        let (anonymous, bearer, admin) = match unmapped {
            Unmapped::Deny => (Expect::Login, Expect::Login, Expect::Deny),
            Unmapped::Forward => (Expect::Allow, Expect::Allow, Expect::Allow),
            Unmapped::Quiet => (Expect::Quiet, Expect::Quiet, Expect::Quiet),
        };
        vec![
            self.case(Who::Nobody, "nobody", anonymous),
            self.case(Who::Bearer, "a machine client of Console", bearer),
            self.case(Who::Admin(Holding::default()), "an admin without a role", admin),
        ]
    }

    fn cases(&self, row: &Row, mapping: &Mapping, catalog: &Catalog, control: &Control) -> Vec<Case<'m>> {
        let anonymous = |expect| self.case(Who::Nobody, "nobody", expect);
        let anyone = |expect| self.case(Who::Admin(Holding::default()), "an admin without a role", expect);
        let challenge = match row.unauthenticated {
            Unauthenticated::Redirect => Expect::Login,
            Unauthenticated::Status401 => Expect::Unauthorized,
            Unauthenticated::Status403 => Expect::Unknown,
        };
        match &row.kind {
            RowKind::Gone => vec![anonymous(Expect::Gone)],
            RowKind::Public | RowKind::Upstream => vec![anonymous(Expect::Allow)],
            RowKind::Machine => {
                vec![
                    anonymous(Expect::Unauthorized),
                    anyone(Expect::Unauthorized),
                    self.case(Who::Bearer, "a machine client of Console", Expect::Allow),
                ]
            }
            RowKind::Session => vec![anonymous(challenge), anyone(Expect::Allow)],
            RowKind::Gated { legacy, v2, machine } => {
                let mode = mapping.rollout_of(row).mode_at(&BTreeSet::new(), Some(LAST_PERCENTILE));
                let mut cases = vec![anonymous(challenge)];
                if *machine {
                    let takes = takes_presented(&row.kind, mapping.rollout_of(row), control);
                    let expect = if takes { Expect::Allow } else { challenge };
                    cases.push(self.case(Who::Bearer, "a machine that is not enrolled", expect));
                }
                match (gate_in_force(v2, mode, control), v2) {
                    (GateInForce::Legacy(WhyLegacy::KillSwitch), _) if row.exists_by_v2_alone() => {
                        cases.push(anyone(Expect::Quiet));
                    }
                    (GateInForce::V2, V2Gate::Requires { ticket: Some(rule), when, .. }) => {
                        cases.extend(self.for_a_ticket(mapping, catalog, rule, when.is_empty()));
                    }
                    (GateInForce::V2, V2Gate::Requires { base, also, .. }) => {
                        cases.extend(self.v2(row, mapping, catalog, (base, also)));
                    }
                    _ => cases.extend(self.legacy(mapping, legacy.as_deref())),
                }
                cases
            }
        }
    }

    /// Each accepted legacy role is enough by itself; all the others together are not.
    fn legacy(&self, mapping: &Mapping, accepted: Option<&BTreeSet<LegacyRole>>) -> Vec<Case<'m>> {
        let none = BTreeSet::new();
        let accepted = accepted.unwrap_or(&none);
        let holding = |legacy: BTreeSet<LegacyRole>| Who::Admin(Holding { legacy, roles: BTreeSet::new() });
        let one = accepted.iter().map(|role| {
            self.case(holding([role.clone()].into()), "an admin with one accepted legacy role", Expect::Allow)
        });
        let others: BTreeSet<LegacyRole> =
            mapping.legacy_roles().into_iter().filter(|role| !accepted.contains(*role)).cloned().collect();
        // If the row accepts every role, this case would equal the next one.
        let others = (!others.is_empty())
            .then(|| self.case(holding(others), "an admin with every other legacy role", Expect::Deny));
        let without = self.case(holding(BTreeSet::new()), "an admin without a role", Expect::Deny);
        one.chain(others).chain([without]).collect()
    }

    /// For each kind of body that the row distinguishes: without any legacy role, the roles that bring everything that
    /// the row and the body require are enough, and the role for `base` is not, if it brings only a part of it. For a
    /// body that the row cannot read, none are enough. With a body that matches no rule, all roles that do not bring
    /// `base` together, with every legacy role, are not enough. If no role brings `base`, this is the only case.
    fn v2(
        &self,
        row: &Row,
        mapping: &Mapping,
        catalog: &Catalog,
        (base, also): (&Requirement, &[Requirement]),
    ) -> Vec<Case<'m>> {
        let without = |requirement: &Requirement| {
            let roles =
                catalog.roles.iter().filter(|role| !brings(catalog, role, requirement)).cloned().collect();
            Who::Admin(Holding { legacy: mapping.legacy_roles().into_iter().cloned().collect(), roles })
        };
        if holder_of(catalog, base).is_none() {
            return vec![self.case(without(base), "an admin with every existing role", Expect::Deny)];
        }
        let rules = row.kind.body_rules();
        let kinds = BodyKind::all(rules, self.method);
        let kinds = if kinds.is_empty() { vec![BodyKind::NoRule] } else { kinds };
        let mut cases = Vec::new();
        for kind in kinds {
            let met = rules.iter().filter(|rule| kind.meets(rule) || kind == BodyKind::Unreadable);
            let further: Vec<&Requirement> = also.iter().chain(met.map(|rule| &rule.requires)).collect();
            let body = body::of_kind(rules, kind);
            let by_body = self.by_body(catalog, base, &further, kind);
            cases.extend(by_body.into_iter().map(|case| Case { body: body.clone(), ..case }));
            if kind == BodyKind::NoRule {
                let denied = self.case(without(base), "an admin with every other role", Expect::Deny);
                cases.push(Case { body, ..denied });
            }
        }
        cases
    }

    /// The cases without a ticket, since a probe cannot be given one: each role that needs no ticket is enough, and all
    /// others together are not.
    fn for_a_ticket(
        &self,
        mapping: &Mapping,
        catalog: &Catalog,
        rule: &TicketRule,
        any_body: bool,
    ) -> Vec<Case<'m>> {
        let is_other = |role: &&Arc<str>| !rule.without.iter().any(|one| brings(catalog, role, one));
        let roles = catalog.roles.iter().filter(is_other).cloned().collect();
        let others =
            Who::Admin(Holding { legacy: mapping.legacy_roles().into_iter().cloned().collect(), roles });
        let mut cases = vec![self.case(others, "an admin with every other role and no ticket", Expect::Deny)];
        let holders = rule.without.iter().filter_map(|one| holder_of(catalog, one));
        cases.extend(holders.filter(|_| any_body).map(|role| {
            let holding = Holding { legacy: BTreeSet::new(), roles: [role].into() };
            self.case(Who::Admin(holding), "an admin with a role that needs no ticket", Expect::Allow)
        }));
        cases
    }

    /// Which callers pass with one kind of body, which requires `further` in addition to the row's own requirement.
    fn by_body(
        &self,
        catalog: &Catalog,
        base: &Requirement,
        further: &[&Requirement],
        kind: BodyKind<'_>,
    ) -> Vec<Case<'m>> {
        let holding = |roles: BTreeSet<Arc<str>>| Who::Admin(Holding { legacy: BTreeSet::new(), roles });
        let own: BTreeSet<Arc<str>> = holder_of(catalog, base).into_iter().collect();
        let more: Vec<Option<Arc<str>>> = further.iter().map(|one| holder_of(catalog, one)).collect();
        let all = more.iter().flatten().chain(&own).cloned().collect();
        if kind == BodyKind::Unreadable {
            return vec![self.case(holding(all), "an admin with every role, without a body", Expect::Deny)];
        }
        if further.is_empty() {
            return vec![self.case(holding(own), "an admin with the role", Expect::Allow)];
        }
        // If no body rule applies, the row itself requires several permissions.
        let by_row = kind == BodyKind::NoRule;
        let mut cases = Vec::new();
        // A probe cannot be given a permission that no role brings.
        if more.iter().all(Option::is_some) {
            cases.push(self.case(
                holding(all),
                if by_row {
                    "an admin with all that the row requires"
                } else {
                    "an admin with all roles that the body requires"
                },
                Expect::Allow,
            ));
        }
        let is_brought = |one: &&Requirement| own.iter().any(|role| brings(catalog, role, one));
        if !further.iter().all(is_brought) {
            let said = if by_row {
                "an admin with only the first of what the row requires"
            } else {
                "an admin with only the row's role, not those that the body requires"
            };
            cases.push(self.case(holding(own), said, Expect::Deny));
        }
        cases
    }
}

/// Whether a role fulfils the requirement.
fn brings(catalog: &Catalog, role: &Arc<str>, requirement: &Requirement) -> bool {
    let roles = catalog.with_inherited([role.clone()]);
    match requirement {
        Requirement::Role(name) => roles.contains(name),
        Requirement::Permission(name) => catalog.permissions_of(&roles).contains(name),
    }
}

/// The role that fulfils the requirement and brings the fewest others.
fn holder_of(catalog: &Catalog, requirement: &Requirement) -> Option<Arc<str>> {
    let bringing = catalog.roles.iter().filter(|role| brings(catalog, role, requirement));
    bringing.min_by_key(|role| catalog.with_inherited([(*role).clone()]).len()).cloned()
}

#[cfg(test)]
mod tests;
