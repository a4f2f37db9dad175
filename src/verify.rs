//! The documents' tests for each route (302 for nobody, the view for the role, 403 with its audit row without), as cases
//! that a running gate can be asked. Pure.
//!
//! What is expected is worked out here, from the table and the gate in force: the running gate is not asked what it thinks
//! of itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::decision::{Control, GateInForce, gate_in_force};
use crate::mapping::{BodyField, BodyRule, Mapping, Row, RowKind, Unauthenticated, V2Gate};
use crate::method::{Method, MethodSet};
use crate::rbac::catalog::Catalog;
use crate::rbac::{LegacyRole, Requirement};

/// Where throwaway admins fall among a hundred equal shares of all: in no cohort that is not everybody.
pub const LAST_PERCENTILE: u64 = 99;

/// Everything that a throwaway admin is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holding {
    pub legacy: BTreeSet<LegacyRole>,
    /// Roles that are held directly; what they inherit comes with them.
    pub roles: BTreeSet<Arc<str>>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    Nobody,
    /// With a bearer token that only Console could verify.
    Bearer,
    Admin(Holding),
}

/// What has to come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// To the login page.
    Login,
    /// 401.
    Unauthorized,
    /// The gate would forward it.
    Allow,
    /// 403, with exactly one audit row.
    Deny,
    /// 410.
    Gone,
}

/// One request and what has to come of it.
#[derive(Clone, Debug)]
pub struct Case<'m> {
    pub row: &'m Row,
    pub method: Method,
    /// A decoded path that the row decides.
    pub path: String,
    /// For rows whose body has a say: its type and text.
    pub body: Option<(&'static str, String)>,
    pub who: Who,
    /// In a few words, for the report.
    pub said: &'static str,
    pub expect: Expect,
}

/// The cases of a mapping.
#[derive(Debug)]
pub struct Plan<'m> {
    pub cases: Vec<Case<'m>>,
    /// Rows that no request reaches, so that there is nothing to ask.
    pub out_of_reach: Vec<&'m Row>,
}

/// Works the cases out for every row that `wanted` takes.
pub fn plan<'m>(
    mapping: &'m Mapping,
    catalog: &Catalog,
    control: &Control,
    wanted: impl Fn(&Row) -> bool,
) -> Plan<'m> {
    let mut plan = Plan { cases: Vec::new(), out_of_reach: Vec::new() };
    let regions = mapping.regions(mapping);
    for row in mapping.rows().iter().filter(|row| wanted(row)) {
        let mut asked = MethodSet::EMPTY;
        for region in
            regions.all.iter().filter(|region| region.new.is_some_and(|new| new.offset == row.offset))
        {
            for method in region.methods.iter().filter(|method| row.methods.contains(*method)) {
                if !asked.contains(method) {
                    asked = asked.with(method);
                    let at = At { row, method, path: &region.example };
                    plan.cases.extend(at.cases(mapping, catalog, control));
                }
            }
        }
        if asked.is_empty() {
            plan.out_of_reach.push(row);
        }
    }
    plan
}

/// A request to a row.
struct At<'m, 'p> {
    row: &'m Row,
    method: Method,
    path: &'p str,
}

impl<'m> At<'m, '_> {
    fn case(&self, who: Who, said: &'static str, expect: Expect) -> Case<'m> {
        Case { row: self.row, method: self.method, path: self.path.to_owned(), body: None, who, said, expect }
    }

    fn cases(&self, mapping: &Mapping, catalog: &Catalog, control: &Control) -> Vec<Case<'m>> {
        let nobody = |expect| self.case(Who::Nobody, "nobody", expect);
        let anyone = || self.case(Who::Admin(Holding::default()), "an admin without a role", Expect::Allow);
        let challenge = match self.row.unauthenticated {
            Unauthenticated::Redirect => Expect::Login,
            Unauthenticated::Status401 => Expect::Unauthorized,
        };
        match &self.row.kind {
            RowKind::Gone => vec![nobody(Expect::Gone)],
            RowKind::Public | RowKind::Upstream => vec![nobody(Expect::Allow)],
            RowKind::Machine => {
                vec![
                    nobody(Expect::Unauthorized),
                    self.case(Who::Bearer, "a machine of Console's", Expect::Allow),
                ]
            }
            RowKind::Session => vec![nobody(challenge), anyone()],
            RowKind::Gated { legacy, v2, .. } => {
                let mode = mapping.rollout_of(self.row).mode_at(&BTreeSet::new(), Some(LAST_PERCENTILE));
                let mut cases = vec![nobody(challenge)];
                match (gate_in_force(v2, mode, control), v2) {
                    (GateInForce::V2, V2Gate::Requires { base, when }) => {
                        cases.extend(self.v2(catalog, base, when));
                    }
                    _ => cases.extend(self.legacy(legacy.as_ref())),
                }
                cases
            }
        }
    }

    /// Each accepted legacy role is enough by itself; all the others together are not.
    fn legacy(&self, accepted: Option<&BTreeSet<LegacyRole>>) -> Vec<Case<'m>> {
        let none = BTreeSet::new();
        let accepted = accepted.unwrap_or(&none);
        let holding = |legacy: BTreeSet<LegacyRole>| Who::Admin(Holding { legacy, roles: BTreeSet::new() });
        let one = accepted.iter().map(|role| {
            self.case(holding([*role].into()), "an admin with one accepted legacy role", Expect::Allow)
        });
        let others = LegacyRole::ALL.into_iter().filter(|role| !accepted.contains(role)).collect();
        one.chain([
            self.case(holding(others), "an admin with every other legacy role", Expect::Deny),
            self.case(holding(BTreeSet::new()), "an admin without a role", Expect::Deny),
        ])
        .collect()
    }

    /// The role is enough by itself, without any legacy role; all others together, with every legacy role, are not.
    fn v2(&self, catalog: &Catalog, base: &Requirement, when: &[BodyRule]) -> Vec<Case<'m>> {
        let holding = |roles: BTreeSet<Arc<str>>| Who::Admin(Holding { legacy: BTreeSet::new(), roles });
        let without = |requirement: &Requirement| {
            let roles =
                catalog.roles.iter().filter(|role| !brings(catalog, role, requirement)).cloned().collect();
            Who::Admin(Holding { legacy: LegacyRole::ALL.into(), roles })
        };
        let with_body = |case: Case<'m>, body: Option<(&'static str, String)>| Case { body, ..case };
        let Some(role) = holder_of(catalog, base) else {
            return vec![self.case(without(base), "an admin with every role that there is", Expect::Deny)];
        };
        let enough: BTreeSet<Arc<str>> = [role].into();
        let neutral = when.first().map(|rule| body_of(&rule.field, "gate-verify"));
        let mut cases = vec![
            with_body(
                self.case(holding(enough.clone()), "an admin with the role", Expect::Allow),
                neutral.clone(),
            ),
            with_body(self.case(without(base), "an admin with every other role", Expect::Deny), neutral),
        ];
        for rule in when {
            let body = Some(body_of(&rule.field, &rule.equals));
            let Some(further) = holder_of(catalog, &rule.requires) else { continue };
            let both = enough.iter().cloned().chain([further]).collect();
            cases.push(with_body(
                self.case(holding(both), "an admin with both roles, by the body", Expect::Allow),
                body.clone(),
            ));
            if !enough.iter().any(|role| brings(catalog, role, &rule.requires)) {
                cases.push(with_body(
                    self.case(
                        holding(enough.clone()),
                        "an admin with the row's role alone, by the body",
                        Expect::Deny,
                    ),
                    body,
                ));
            }
        }
        cases
    }
}

/// Whether a role brings what is required with it.
fn brings(catalog: &Catalog, role: &Arc<str>, requirement: &Requirement) -> bool {
    let roles = catalog.with_inherited([role.clone()]);
    match requirement {
        Requirement::Role(name) => roles.contains(name),
        Requirement::Permission(name) => catalog.permissions_of(&roles).contains(name),
    }
}

/// The role that brings what is required, and least besides.
fn holder_of(catalog: &Catalog, requirement: &Requirement) -> Option<Arc<str>> {
    let bringing = catalog.roles.iter().filter(|role| brings(catalog, role, requirement));
    bringing.min_by_key(|role| catalog.with_inherited([(*role).clone()]).len()).cloned()
}

/// A body in which one field has this value.
fn body_of(field: &BodyField, value: &str) -> (&'static str, String) {
    match field {
        BodyField::Json(pointer) => {
            let body = pointer.split('/').skip(1).collect::<Vec<_>>().into_iter().rev().fold(
                serde_json::Value::from(value),
                |inner, key| {
                    let key = key.replace("~1", "/").replace("~0", "~");
                    serde_json::json!({ key: inner })
                },
            );
            ("application/json", body.to_string())
        }
        BodyField::Form(name) => {
            let encode = |text: &str| {
                percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
            };
            ("application/x-www-form-urlencoded", format!("{}={}", encode(name), encode(value)))
        }
    }
}
