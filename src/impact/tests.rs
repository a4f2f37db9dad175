//! The sets of an impact are held against the decision itself, and its text against what a reviewer should read.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::admission::{Demand, Judge};
use super::profile::LegacyAs;
use super::text::ImpactText;
use super::*;
use crate::decision::body::BodyFacts;
use crate::decision::{Answer, Caller, Control, Question, Target, decide};
use crate::identity::Principal;
use crate::ids::{AdminId, Epoch, MachineTokenId};
use crate::rbac::census::{CallerKind, Person};
use crate::rbac::{Access, LegacyRole, Standing};

fn names(names: &[&str]) -> BTreeSet<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

/// Three roles, of which `r1` inherits `r0`, and a group for each; `r2` carries a permission.
fn catalog() -> Catalog {
    Catalog::from_seed(
        r#"
[[group]]
name = "g0"
[[group]]
name = "g1"
[[group]]
name = "g2"
[[group]]
name = "break-glass"
[[role]]
name = "r0"
groups = ["g0"]
[[role]]
name = "r1"
inherits = ["r0"]
groups = ["g1"]
[[role]]
name = "r2"
groups = ["g2", "break-glass"]
permissions = ["p:x:read"]
"#,
    )
    .unwrap()
}

/// Rows of every kind, in a cluster of each rollout.
const FILE: &str = r#"
version = 1
[clusters]
L = "legacy"
S = "shadow"
V = "v2"
G = { mode = "v2", groups = ["g0"] }
P = { mode = "v2", percent = 50 }
[blueprints.open.routes]
"GET /public" = { public = true }
"GET /session" = { session = true }
"GET /machine" = { machine = true }
"GET /upstream" = { upstream = true }
"GET /gone" = { gone = true }
[blueprints.l]
cluster = "L"
routes."GET /l" = { legacy = ["ops"], role = "r0" }
[blueprints.s]
cluster = "S"
routes."GET /s" = { legacy = ["ops"], role = "r0" }
[blueprints.v]
cluster = "V"
[blueprints.v.routes]
"GET /v" = { legacy = ["ops"], role = "r0" }
"GET /deep" = { legacy = ["ops", "superadmin"], role = "r1", machine_or_session = true }
"GET /perm" = { permission = "p:x:read" }
"GET /open" = { legacy = ["support"], undecided = "AMBIGUOUS-9" }
"POST /when" = { role = "r0", when = [{ json = "/t", equals = "a", role = "r1" }, { json = "/u", equals = "b", permission = "p:x:read" }] }
[blueprints.g]
cluster = "G"
routes."GET /g" = { legacy = ["ops"], role = "r0" }
[blueprints.p]
cluster = "P"
routes."GET /p" = { legacy = ["ops"], role = "r1" }
"#;

fn person() -> impl Strategy<Value = Person> {
    let legacy = prop::sample::subsequence(LegacyRole::ALL.to_vec(), 0..=4);
    let groups = prop::sample::subsequence(vec!["g0", "g1", "g2"], 0..=3);
    (any::<bool>(), "[a-z]{1,6}", legacy, groups, any::<bool>()).prop_map(
        |(machine, id, legacy, groups, break_glass)| Person {
            kind: if machine { CallerKind::Machine } else { CallerKind::Admin },
            id: id.into(),
            legacy: legacy.into_iter().collect(),
            groups: names(&groups),
            break_glass: break_glass && !machine,
        },
    )
}

/// What the gate would do with each member of a profile.
fn decided(
    profile: &Profile,
    member: &Arc<str>,
    target: Target<'_>,
    body: &BodyFacts,
    switches: Switches,
) -> bool {
    let principal = match profile.kind {
        ProfileKind::Machine => Principal::Machine { id: MachineTokenId::new(member.clone()) },
        _ => Principal::Admin { id: AdminId::new(member.clone()), session: None },
    };
    let access = Access {
        standing: Standing::Active,
        legacy: profile.legacy.clone(),
        groups: profile.groups.clone(),
        roles: profile.roles.clone(),
        permissions: profile.permissions.clone(),
        ..Access::nothing(Epoch(1))
    };
    let control = Control { epoch: Epoch(1), rbac_v2: switches.rbac_v2, may_enforce: true };
    allows(target, Caller::Known(&principal, &access), &control, body)
}

fn allows(target: Target<'_>, caller: Caller<'_>, control: &Control, body: &BodyFacts) -> bool {
    matches!(decide(&Question { target, caller, control: Some(control), body }).answer, Answer::Allow(_))
}

/// The facts of a body that meets one rule, or none.
fn facts(row: &Row, body: Option<(&BodyField, &str)>) -> BodyFacts {
    match &row.kind {
        RowKind::Gated { v2: V2Gate::Requires { when, .. }, .. } if !when.is_empty() => BodyFacts::Read(
            when.iter().map(|rule| body == Some((&rule.field, rule.equals.as_str()))).collect(),
        ),
        _ => BodyFacts::NotRead,
    }
}

proptest! {
    /// For every row, body and caller: the set has whom the decision lets in.
    #[test]
    fn a_set_has_whom_the_decision_lets_in(people in prop::collection::vec(person(), 0..12), rbac_v2: bool) {
        let mut people = people;
        people.sort_by(|one, other| (one.kind, &one.id).cmp(&(other.kind, &other.id)));
        people.dedup_by(|one, other| (one.kind, &one.id) == (other.kind, &other.id));
        let (catalog, switches) = (catalog(), Switches { rbac_v2 });
        let mapping = Mapping::parse("t", FILE).unwrap();
        let population = Population::new(&catalog, &people, &LegacyAs::new(), &[&mapping]);
        prop_assert_eq!(population.count(ProfileKind::Admin) + population.count(ProfileKind::Machine), people.len());
        let mut judge = Judge::new(&population, switches);
        for row in mapping.rows() {
            let target = Target::Row(row, mapping.rollout_of(row));
            let region = Region { methods: row.methods, example: String::new(), old: Some(row), new: None };
            for body in bodies(&region) {
                let facts = facts(row, body);
                let admitted = judge.admitted(&Demand::of(&mapping, Some(row)), body);
                for (index, profile) in population.profiles().iter().enumerate() {
                    let is_real = matches!(profile.kind, ProfileKind::Admin | ProfileKind::Machine);
                    // A percentage says nothing about somebody who is only imagined.
                    if !is_real && &*row.route == "GET /p" {
                        continue;
                    }
                    for member in &profile.members {
                        let decided = decided(profile, member, target, &facts, switches);
                        prop_assert_eq!(admitted.profiles[index], decided, "{} {:?} {:?}", row.route, body, profile);
                        if decided && matches!(row.kind, RowKind::Gated { .. }) {
                            let demand = Demand::of(&mapping, Some(row));
                            let ways = admission::ways(profile, &demand, body, switches, &catalog);
                            prop_assert!(!ways.is_empty(), "{} {:?}", row.route, profile);
                        }
                    }
                }
                let control = Control { epoch: Epoch(1), rbac_v2, may_enforce: true };
                prop_assert_eq!(admitted.strangers, allows(target, Caller::Nobody, &control, &facts));
                prop_assert_eq!(admitted.machines_of_console, allows(target, Caller::Presented, &control, &facts));
            }
        }
    }
}

fn before_and_after(before: &str, after: &str) -> (Mapping, Mapping) {
    let whole = |rows: &str| {
        format!(
            "version = 1\n[clusters]\nS3 = \"v2\"\n[blueprints.b]\ncluster = \"S3\"\n[blueprints.b.routes]\n{rows}\n"
        )
    };
    (Mapping::parse("old", &whole(before)).unwrap(), Mapping::parse("new", &whole(after)).unwrap())
}

/// The whole text of a change, as it is pasted into a pull request.
#[test]
fn a_reviewer_reads_how_much_then_who_and_why() {
    let catalog = catalog();
    let people = ["anna", "bert"].map(|id| Person {
        kind: CallerKind::Admin,
        id: id.into(),
        legacy: [LegacyRole::Ops].into(),
        groups: names(&["g1"]),
        break_glass: false,
    });
    let old = Mapping::parse("t", &FILE.replace("V = \"v2\"", "V = \"legacy\"")).unwrap();
    let new = Mapping::parse("t", FILE).unwrap();
    let legacy_as: LegacyAs = [(LegacyRole::Ops, names(&["g0"]))].into();
    let population = Population::new(&catalog, &people, &legacy_as, &[&old, &new]);
    let impact = impact(&old, &new, &catalog, &population, Switches { rbac_v2: true });
    let text = ImpactText::new(&impact, "routes.toml").to_string();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.starts_with("2 admins, 14 routes: "), "{text}");
    let expected = "
GET /deep                                                         routes.toml:25
  legacy role superadmin or ops -> role r1
  + group g1
      g1 -> r1
  - legacy role superadmin, in no group
      had: legacy role superadmin
  - legacy role ops, in g0
      had: legacy role ops
";
    assert!(text.contains(expected), "{text}");
    assert!(text.contains("  + 2 admins: anna, bert\n      g1 -> r1 -> r0\n"), "{text}");
    assert!(text.contains("Clusters\n  V  legacy -> v2\n"), "{text}");
}

#[test]
fn a_row_that_opens_to_anybody_is_told_first() {
    let catalog = catalog();
    let (old, new) = before_and_after("\"GET /x\" = { session = true }", "\"GET /x\" = { public = true }");
    let population = Population::new(&catalog, &[], &LegacyAs::new(), &[&old, &new]);
    let impact = impact(&old, &new, &catalog, &population, Switches { rbac_v2: true });
    let text = ImpactText::new(&impact, "new").to_string();
    assert!(text.starts_with("1 route: 1 change\n"), "{text}");
    assert!(text.contains("1 route open to anybody, logged in or not\n"), "{text}");
    assert!(text.contains("  + anybody, logged in or not\n"), "{text}");
}

#[test]
fn the_same_file_changes_nothing_and_so_does_a_comment() {
    let catalog = catalog();
    let (old, new) =
        (Mapping::parse("t", FILE).unwrap(), Mapping::parse("t", &format!("# why\n{FILE}")).unwrap());
    let population = Population::new(&catalog, &[], &LegacyAs::new(), &[&old, &new]);
    assert!(impact(&old, &new, &catalog, &population, Switches { rbac_v2: true }).is_neutral());
}
