//! The sets of an impact are compared with the decision itself, and its text with what a reviewer should read.

pub mod model;

use std::collections::BTreeSet;
use std::sync::Arc;

use policy::decision::body::BodyFacts;
use policy::decision::{Caller, Control, Question, Target, decide};
use policy::identity::Principal;
use policy::ids::{AdminId, Epoch, MachineTokenId};
use policy::mapping::{RowKind, Unmapped};
use policy::method::Method;
use policy::rbac::census::{CallerKind, Person};
use policy::rbac::{Access, LegacyRole, Standing};
use proptest::prelude::*;

use super::admission::{Demand, Judge};
use super::profile::LegacyAs;
use super::text::{ImpactText, Layout, View};
use super::*;

fn names(names: &[&str]) -> BTreeSet<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

/// Three roles, of which `r1` inherits `r0`, and a group for each; `r2` carries a permission.
pub fn catalog() -> Catalog {
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
[blueprints.t]
cluster = "G"
[blueprints.t.routes]
"GET /ticket/<int:id>" = { legacy = ["ops"], role = "r0", ticket = { query = "t", customer = "path:id", without = ["r1", "r2"] } }
"GET /none/<int:id>" = { role = "r0", ticket = { query = "t", customer = "path:id" } }
"#;

fn person() -> impl Strategy<Value = Person> {
    let legacy = prop::sample::subsequence(
        ["superadmin", "ops", "support", "readonly"].map(LegacyRole::literal).to_vec(),
        0..=4,
    );
    let groups = prop::sample::subsequence(vec!["g0", "g1", "g2"], 0..=3);
    (any::<bool>(), "[a-z]{1,6}", legacy, groups, any::<bool>()).prop_map(
        |(machine, id, legacy, groups, break_glass)| Person {
            kind: if machine { CallerKind::Machine } else { CallerKind::Admin },
            id: id.into(),
            legacy: legacy.into_iter().collect::<std::collections::BTreeSet<_>>().into(),
            groups: names(&groups).into(),
            break_glass: break_glass && !machine,
        },
    )
}

fn principal_of(profile: &Profile, member: &Arc<str>) -> Principal {
    match profile.kind {
        ProfileKind::Machine => Principal::Machine { id: MachineTokenId::new(member.clone()) },
        _ => Principal::Admin { id: AdminId::new(member.clone()), session: None },
    }
}

fn access_of(profile: &Profile) -> Access {
    Access {
        standing: Standing::Active,
        legacy: profile.legacy.clone(),
        groups: profile.groups.clone(),
        roles: profile.roles.clone(),
        permissions: profile.permissions.clone(),
        ..Access::nothing(Epoch(1))
    }
}

/// What the gate would do with each member of a profile.
fn decided(
    profile: &Profile,
    member: &Arc<str>,
    target: Target<'_>,
    body: &BodyFacts,
    switches: Switches,
) -> bool {
    let (principal, access) = (principal_of(profile, member), access_of(profile));
    let control = Control { epoch: Epoch(1), rbac_v2: switches.rbac_v2, may_enforce: true };
    allows(target, Caller::at(&target, &principal, &access), &control, body)
}

fn allows(target: Target<'_>, caller: Caller<'_>, control: &Control, body: &BodyFacts) -> bool {
    decide(&Question { upgrade: false, target, caller, control: Some(control), body }).outcome.is_ok()
}

proptest! {
    /// For every row and for none, every body and every caller: the set has the callers that the decision lets in.
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
        let of_rows = mapping.rows().iter().map(|row| {
            (Target::Row(row, mapping.rollout_of(row)), Demand::of_row(&mapping, row))
        });
        let of_none = [Unmapped::Deny, Unmapped::Forward, Unmapped::Quiet]
            .map(|unmapped| (Target::Unmapped(unmapped), Demand::NoRow(unmapped)));
        for (target, demand) in of_rows.chain(of_none) {
            let kinds = BodyKind::all(target.body_rules(), Method::Post);
            let kinds = if kinds.is_empty() { vec![BodyKind::NoRule] } else { kinds };
            for body in kinds {
                let facts = body.facts(target.body_rules());
                let admitted = judge.admitted(&demand, body);
                for (index, profile) in population.profiles().iter().enumerate() {
                    let is_real = matches!(profile.kind, ProfileKind::Admin | ProfileKind::Machine);
                    // A percentage does not apply to a hypothetical caller.
                    if !is_real && target.row().is_some_and(|row| &*row.route == "GET /p") {
                        continue;
                    }
                    for member in &profile.members {
                        let decided = decided(profile, member, target, &facts, switches);
                        prop_assert_eq!(admitted.profiles[index], decided, "{:?} {:?} {:?}", target, body, profile);
                        if decided && target.row().is_some_and(|row| matches!(row.kind, RowKind::Gated { .. })) {
                            let ways = admission::ways(profile, &demand, body, switches, &catalog);
                            prop_assert!(!ways.is_empty(), "{:?} {:?}", target, profile);
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
fn by_route(impact: &Impact<'_>, file: &str) -> String {
    ImpactText::new(impact, file, View { layout: Layout::Routes, ..View::default() }).to_string()
}

/// Routes and admins of each group in a text with every name: `(routes, gains, losses)`.
fn sizes_of_groups(text: &str) -> Vec<(usize, usize, usize)> {
    let mut sizes = Vec::new();
    for block in text.split("\n\n") {
        let number = |line: &str| line.split(' ').next().and_then(|word| word.parse::<usize>().ok());
        let heading = block.lines().next().unwrap_or_default();
        let (true, Some(routes)) = (heading.contains(" route") && heading.contains(": "), number(heading))
        else {
            continue;
        };
        let admins = |sign: &str| -> usize {
            let lines = block.lines().filter_map(|line| line.strip_prefix("  ")?.strip_prefix(sign));
            lines.filter(|line| line.contains(" admin")).filter_map(number).sum()
        };
        sizes.push((routes, admins("+ "), admins("- ")));
    }
    sizes
}

/// Each gain and loss of each admin is in one group, however the changes are grouped.
#[test]
fn grouping_leaves_nobody_out() {
    let (catalog, people) = (catalog(), crowd(1_000));
    let old = Mapping::parse("t", &FILE.replace("V = \"v2\"", "V = \"legacy\"")).unwrap();
    let new = Mapping::parse("t", FILE).unwrap();
    let population = Population::new(&catalog, &people, &LegacyAs::new(), &[&old, &new]);
    let impact = impact(&old, &new, &catalog, &population, Switches { rbac_v2: true });
    let admins = |direction| -> usize {
        // A row that opens to anybody is not counted admin by admin.
        let changes = impact
            .changes
            .iter()
            .filter(|change| (direction, change.strangers) != (AccessChange::Gain, Some(AccessChange::Gain)));
        let profiles = changes.flat_map(|change| impact.who(change, direction));
        profiles
            .filter(|profile| profile.kind == ProfileKind::Admin)
            .map(|profile| profile.members.len())
            .sum()
    };
    let text = ImpactText::new(&impact, "t", View { full: true, ..View::default() }).to_string();
    let sizes = sizes_of_groups(&text);
    let summed = |of: fn(&(usize, usize, usize)) -> usize| -> usize { sizes.iter().map(of).sum() };
    assert_eq!(summed(|(routes, gains, _)| routes * gains), admins(AccessChange::Gain), "{text}");
    assert_eq!(summed(|(routes, _, losses)| routes * losses), admins(AccessChange::Loss), "{text}");
    assert!(admins(AccessChange::Gain) > 100 && admins(AccessChange::Loss) > 100);
    for person in &people {
        let gains_or_loses = impact.changes.iter().any(|change| {
            let all = [AccessChange::Gain, AccessChange::Loss];
            all.into_iter()
                .flat_map(|one| impact.who(change, one))
                .any(|who| who.members.contains(&person.id))
        });
        assert_eq!(text.contains(&*person.id), gains_or_loses, "{}", person.id);
    }
    // The length of the report usually does not grow with the people.
    let lines = |people: &[Person]| {
        let population = Population::new(&catalog, people, &LegacyAs::new(), &[&old, &new]);
        let impact = super::impact(&old, &new, &catalog, &population, Switches { rbac_v2: true });
        ImpactText::new(&impact, "t", View::default()).to_string().lines().count()
    };
    assert!(lines(&people) <= lines(&crowd(50)) + 10, "{} lines", lines(&people));
}

/// Admins with each mix of a group and a legacy role, or none.
fn crowd(count: usize) -> Vec<Person> {
    let person = |index: usize| Person {
        kind: CallerKind::Admin,
        id: format!("admin-{index:04}").into(),
        legacy: ["ops", "superadmin"][..index % 3]
            .iter()
            .map(|role| LegacyRole::literal(role))
            .collect::<std::collections::BTreeSet<_>>()
            .into(),
        groups: names(&["g0", "g1", "g2"][..index / 3 % 4]).into(),
        break_glass: false,
    };
    (0..count).map(person).collect()
}

/// By person: those who change alike share a heading, and one admin can be asked for.
#[test]
fn an_admin_can_be_asked_for() {
    let (catalog, people) = (catalog(), crowd(24));
    let old = Mapping::parse("t", &FILE.replace("V = \"v2\"", "V = \"legacy\"")).unwrap();
    let new = Mapping::parse("t", FILE).unwrap();
    let population = Population::new(&catalog, &people, &LegacyAs::new(), &[&old, &new]);
    let impact = impact(&old, &new, &catalog, &population, Switches { rbac_v2: true });
    let view = |caller: Option<&str>, only| View {
        layout: Layout::People,
        caller: caller.map(ToOwned::to_owned),
        only,
        full: true,
    };
    let text = ImpactText::new(&impact, "t", view(None, None)).to_string();
    assert!(text.contains("\n4 admins: admin-0001, admin-0002, admin-0013, admin-0014\n  - "), "{text}");
    let text = ImpactText::new(&impact, "t", view(Some("admin-0001"), None)).to_string();
    assert!(text.contains("\n1 admin: admin-0001\n  - "), "{text}");
    assert!(!text.contains("admin-0013"), "{text}");
    let text = ImpactText::new(&impact, "t", view(Some("admin-0001"), Some(AccessChange::Gain))).to_string();
    assert!(text.contains("admin-0001 neither gains nor loses access"), "{text}");
}

#[test]
fn a_reviewer_reads_how_much_then_who_and_why() {
    let catalog = catalog();
    let people = ["anna", "bert"].map(|id| Person {
        kind: CallerKind::Admin,
        id: id.into(),
        legacy: BTreeSet::from([LegacyRole::literal("ops")]).into(),
        groups: names(&["g1"]).into(),
        break_glass: false,
    });
    let old = Mapping::parse("t", &FILE.replace("V = \"v2\"", "V = \"legacy\"")).unwrap();
    let new = Mapping::parse("t", FILE).unwrap();
    let legacy_as: LegacyAs = [(LegacyRole::literal("ops"), names(&["g0"]))].into();
    let population = Population::new(&catalog, &people, &legacy_as, &[&old, &new]);
    let impact = impact(&old, &new, &catalog, &population, Switches { rbac_v2: true });
    let text = by_route(&impact, "routes.toml");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let beginning =
        "1 route closes to programs with a token or signature that Console verifies\n2 admins, 16 routes: ";
    assert!(text.starts_with(beginning), "{text}");
    assert!(
        text.contains("\nFLAG_RBAC_V2 is assumed on and promoted: V2 decides clusters in mode v2\n"),
        "{text}"
    );
    let expected = "
GET /deep                                                         routes.toml:25
  legacy role ops or superadmin -> role r1
  - programs with a token or signature that Console verifies
  + group g1
      g1 -> r1
  - legacy role ops, in g0
      had: legacy role ops
  - legacy role superadmin, in no group
      had: legacy role superadmin
";
    assert!(text.contains(expected), "{text}");
    assert!(text.contains("  + 2 admins: anna, bert\n      g1 -> r1 -> r0\n"), "{text}");
    assert!(text.contains("Clusters\n  V  legacy -> v2\n"), "{text}");
}

/// An open question that was answered: who answered it, and where that is recorded, in both forms.
#[test]
fn who_decided_a_row_is_beside_what_the_decision_changes() {
    let rows = |rest: &str| {
        let text = format!(
            "version = 1\n[clusters]\nV = \"v2\"\n[blueprints.b]\ncluster = \"V\"\n[blueprints.b.routes]\n\
             \"GET /x\" = {{ legacy = [\"ops\"], options = {{ A = \"r0\", B = \"r1\" }}, {rest} }}\n"
        );
        Mapping::parse("t", &text).unwrap()
    };
    let old = rows("undecided = \"Q-1\"");
    let new = rows("role = \"r1\", decided = { option = \"B\", by = \"ann\", ref = \"#1473\" }");
    let catalog = catalog();
    let population = Population::new(&catalog, &[], &LegacyAs::new(), &[&old, &new]);
    let impact = impact(&old, &new, &catalog, &population, Switches { rbac_v2: true });
    let text = by_route(&impact, "routes.toml");
    assert!(text.contains("legacy role ops -> role r1\n  decided: option B by ann (#1473)\n"), "{text}");
    let report = serde_json::to_value(impact.report()).unwrap();
    let expected = serde_json::json!({ "option": "B", "by": "ann", "ref": "#1473" });
    assert_eq!(report["changes"][0]["decided"], expected, "{report:#}");
}

/// The callers that a ticket lets in change with each ticket: only those who need none are reported.
#[test]
fn a_row_for_a_ticket_is_reachable_without_one_by_whom_it_names() {
    let row = |rest: &str| format!("\"GET /x/<int:id>\" = {{ role = \"r0\"{rest} }}");
    let rule = ", ticket = { query = \"t\", customer = \"path:id\", without = \"r2\" }";
    let (old, new) = before_and_after(&row(""), &row(rule));
    let catalog = catalog();
    let population = Population::new(&catalog, &[], &LegacyAs::new(), &[&old, &new]);
    let impact = impact(&old, &new, &catalog, &population, Switches { rbac_v2: true });
    let text = by_route(&impact, "new");
    assert!(text.contains("role r0 -> role r0 for the ticket query:t and the customer path:id"), "{text}");
    for line in ["  - group g0\n", "  - group g1\n", "  + group g2\n"] {
        assert!(text.contains(line), "{line}{text}");
    }
}

#[test]
fn a_row_that_opens_to_anybody_is_reported_first() {
    let catalog = catalog();
    let (old, new) = before_and_after("\"GET /x\" = { session = true }", "\"GET /x\" = { public = true }");
    let population = Population::new(&catalog, &[], &LegacyAs::new(), &[&old, &new]);
    let impact = impact(&old, &new, &catalog, &population, Switches { rbac_v2: true });
    let text = by_route(&impact, "new");
    assert!(text.starts_with("1 route opens to anyone, logged in or not\n1 route: 1 change\n"), "{text}");
    assert!(text.contains("  + anyone, logged in or not\n"), "{text}");
}

/// The whole text for a file that changes, without people.
fn text_of(old: &str, new: &str) -> (String, bool) {
    let catalog = catalog();
    let (old, new) = (Mapping::parse("old", old).unwrap(), Mapping::parse("new", new).unwrap());
    let population = Population::new(&catalog, &[], &LegacyAs::new(), &[&old, &new]);
    let impact = impact(&old, &new, &catalog, &population, Switches { rbac_v2: true });
    let text = by_route(&impact, "routes.toml");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    (text, impact.is_neutral())
}

const UNMAPPED: &str =
    "version = 1\nunmapped = \"deny\"\n[blueprints.b.routes]\n\"GET /x\" = { session = true }\n";

/// A change that opens every unmapped path is reported first; the change back reports who is affected and how.
#[test]
fn a_change_of_unmapped_paths_is_reported_first() {
    let forward = UNMAPPED.replace("deny", "forward");
    let (text, is_neutral) = text_of(UNMAPPED, &forward);
    assert!(!is_neutral);
    let beginning = "what no row covers opens to anyone, logged in or not: only Console decides\n\
                     1 route: none change\n";
    assert!(text.starts_with(beginning), "{text}");
    let section = "
what no row covers                                                 routes.toml:2
  for requests such as * /
  no row: admins get 403, everyone else is redirected to log in -> no row:
    forwarded for anyone, only Console decides
  + anyone, logged in or not
";
    assert!(text.contains(section), "{text}");

    let (text, is_neutral) = text_of(&forward, UNMAPPED);
    assert!(!is_neutral);
    let beginning = "what no row covers closes: admins get 403, everyone else is redirected to log in\n";
    assert!(text.starts_with(beginning), "{text}");
    assert!(text.contains("\n  - callers who are not logged in\n"), "{text}");
    assert!(text.contains("\n  - group g1\n"), "{text}");

    // Where every path and method has a row, nothing is left that it could open.
    let covered = |file: &str| file.replace("GET /x", "* /*");
    assert!(text_of(&covered(UNMAPPED), &covered(&forward)).1);
}

/// A quiet path is closed, so that it changes something only where `unmapped` leaves such paths to Console.
#[test]
fn what_becomes_quiet_is_reported_where_it_was_open() {
    let quiet = |file: &str| file.replace("version = 1\n", "version = 1\nquiet = [\"/favicon.ico\"]\n");
    let forward = UNMAPPED.replace("deny", "forward");
    let (text, _) = text_of(&forward, &quiet(&forward));
    assert!(text.starts_with("quiet paths close: 404 for anyone\n1 route: none change\n"), "{text}");
    let section = "
what no row covers and `quiet` names                               routes.toml:2
  for requests such as * /favicon.ico
  no row: forwarded for anyone, only Console decides -> no row: quiet, 404 for
    anyone
  - callers who are not logged in
";
    assert!(text.contains(section), "{text}");
    let (text, _) = text_of(&quiet(&forward), &forward);
    assert!(
        text.starts_with(
            "paths that are not quiet any more open to anyone, logged in or not: only Console\n"
        ),
        "{text}"
    );
    // With `unmapped = "deny"` such a path was closed to all before and is now.
    assert!(text_of(UNMAPPED, &quiet(UNMAPPED)).1);
    assert!(text_of(&quiet(UNMAPPED), UNMAPPED).1);
    // The report of the rest does not mention the quiet path.
    let (text, _) = text_of(&quiet(UNMAPPED), &quiet(&forward));
    assert!(!text.contains("quiet"), "{text}");
}

/// Where a table names no role and there are no admins yet, a hypothetical admin is reported all the same.
#[test]
fn what_closes_to_every_admin_is_reported_without_a_database() {
    let catalog = Catalog::default();
    let (old, new) = before_and_after("\"GET /x\" = { session = true }", "\"GET /x\" = { gone = true }");
    let population = Population::new(&catalog, &[], &LegacyAs::new(), &[&old, &new]);
    let impact = impact(&old, &new, &catalog, &population, Switches { rbac_v2: true });
    assert!(!impact.is_neutral());
    let text = by_route(&impact, "new");
    assert!(text.contains("\n  - an admin without a role\n"), "{text}");
}

/// A row that is removed, or a method that it does not name any more, opens where Console alone decides.
#[test]
fn a_path_that_loses_its_row_is_reported() {
    let forward = UNMAPPED.replace("deny", "forward").replace("GET /x", "GET,POST /x");
    let (text, _) = text_of(&forward, &forward.replace("GET,POST", "GET"));
    assert!(text.starts_with("1 route opens to anyone, logged in or not\n"), "{text}");
    let section = "
GET,POST /x                                                           no row now
  for requests such as POST /x
  any admin who is logged in -> no row: forwarded for anyone, only Console
    decides
  + anyone, logged in or not
";
    assert!(text.contains(section), "{text}");
    let deny = forward.replace("forward", "deny");
    let (text, _) = text_of(&deny, &deny.replace("\"GET,POST /x\" = { session = true }\n", ""));
    assert!(
        text.contains("\nGET,POST /x                                                           no row now\n"),
        "{text}"
    );
    assert!(
        text.contains("  any admin who is logged in -> no row: admins get 403, everyone else is\n"),
        "{text}"
    );
}

/// An enrolled machine passes a machine row by having a token, like any other program.
#[test]
fn an_enrolled_machine_gains_and_loses_nothing_on_machine_rows() {
    let catalog = catalog();
    let machine = |id: &str, groups: &[&str]| Person {
        kind: CallerKind::Machine,
        id: id.into(),
        legacy: Arc::default(),
        groups: names(groups).into(),
        break_glass: false,
    };
    let people = [machine("bare", &[]), machine("robot", &["g0"])];
    let changed = |before: &str, after: &str| {
        let (old, new) = before_and_after(before, after);
        let population = Population::new(&catalog, &people, &LegacyAs::new(), &[&old, &new]);
        let impact = impact(&old, &new, &catalog, &population, Switches { rbac_v2: true });
        let members = |direction| -> Vec<String> {
            let who =
                impact.changes.iter().flat_map(|change| impact.who(change, direction).collect::<Vec<_>>());
            let machines = who.filter(|profile| profile.kind == ProfileKind::Machine);
            machines.flat_map(|profile| profile.members.iter().map(ToString::to_string)).collect()
        };
        [members(AccessChange::Gain), members(AccessChange::Loss)]
    };
    let (machines, both) =
        ("\"GET /x\" = { machine = true }", "\"GET /x\" = { role = \"r0\", machine_or_session = true }");
    let none: [&str; 0] = [];
    assert_eq!(changed(machines, both), [&none[..], &["bare"]]);
    assert_eq!(changed(both, machines), [&["bare"], &none[..]]);
    assert_eq!(changed(machines, "\"GET /x\" = { public = true }"), [none, none]);
    assert_eq!(changed("\"GET /x\" = { session = true }", machines), [&["bare", "robot"], &none[..]]);
}

/// Without a readable body no caller passes V2, whatever they hold; the legacy gate lets them through.
#[test]
fn a_body_that_cannot_be_read_is_a_change_of_its_own() {
    let of = |mode: &str| {
        format!(
            "version = 1\nclusters.C = \"{mode}\"\n[blueprints.b]\ncluster = \"C\"\n[blueprints.b.routes]\n\
             \"POST /x\" = {{ legacy = [\"ops\"], role = \"r0\", when = [{{ json = \"/t\", equals = \"a\", role = \"r1\" }}] }}\n"
        )
    };
    let (text, _) = text_of(&of("shadow"), &of("v2"));
    let section = "
POST /x                                                            routes.toml:6
  for an unreadable or missing body
  legacy role ops -> no one: such a body is denied
  - legacy role ops, in no group
      had: legacy role ops
";
    assert!(text.contains(section), "{text}");
    assert!(
        text.contains("  for a body that matches no rule\n  legacy role ops -> role r0\n  + group g0\n"),
        "{text}"
    );
    assert!(
        text.contains("  for a body with /t = a\n  legacy role ops -> role r0 and role r1\n  + group g1\n"),
        "{text}"
    );
    // The legacy gate does not look: one change for every body, and none for the rules themselves.
    let legacy = of("legacy");
    let (text, _) = text_of(&legacy, &legacy.replace("[\"ops\"]", "[\"support\"]"));
    assert_eq!(text.matches("POST /x  ").count(), 1, "{text}");
    assert!(!text.contains("body"), "{text}");
    assert!(text_of(&legacy, &legacy.replace("\"a\"", "\"b\"")).1);
}

/// Callers who passed may now open a WebSocket; nothing else changes.
#[test]
fn a_row_that_newly_takes_websockets_is_reported() {
    let file = UNMAPPED.replace("session = true", "session = true, websocket = true");
    let (text, is_neutral) = text_of(UNMAPPED, &file);
    assert!(!is_neutral);
    let section = "
  for WebSocket handshakes
  no WebSocket -> any admin who is logged in
  + group ";
    assert!(text.contains(section), "{text}");
}

/// A preflight has no caller, so anybody may send one now; nothing else is another than before.
#[test]
fn a_row_that_opens_preflights_is_reported() {
    let file = UNMAPPED.replace("session = true", "session = true, cors = true");
    let (text, is_neutral) = text_of(UNMAPPED, &file);
    assert!(!is_neutral);
    let section = "
  for CORS preflights
  any admin who is logged in -> anybody
";
    assert!(text.contains(section), "{text}");
    assert!(text.contains("1 route: 1 change\n"), "{text}");
    assert!(text_of(&file, &file).1);
}

#[test]
fn the_same_file_changes_nothing_and_so_does_a_comment() {
    let catalog = catalog();
    let (old, new) =
        (Mapping::parse("t", FILE).unwrap(), Mapping::parse("t", &format!("# why\n{FILE}")).unwrap());
    let population = Population::new(&catalog, &[], &LegacyAs::new(), &[&old, &new]);
    assert!(impact(&old, &new, &catalog, &population, Switches { rbac_v2: true }).is_neutral());
}

fn member(id: &str, groups: &[&str]) -> Person {
    Person {
        kind: CallerKind::Admin,
        id: id.into(),
        legacy: Arc::default(),
        groups: names(groups).into(),
        break_glass: false,
    }
}

proptest! {
    /// For each row, a caller gains by a change of grants exactly if the row lets them in after it and did not before; and
    /// loses likewise.
    #[test]
    fn a_change_of_grants_gains_and_loses_what_each_person_does(
        before in prop::collection::vec(prop::collection::btree_set(0..3_u8, 0..3), 4),
        after in prop::collection::vec(prop::collection::btree_set(0..3_u8, 0..3), 4),
        there in prop::collection::vec(any::<(bool, bool)>(), 4),
        rbac_v2: bool,
    ) {
        let catalog = catalog();
        let mut changed = catalog.clone();
        changed.inherits.entry("r2".into()).or_default().insert("r0".into());
        let mapping = Mapping::parse("t", FILE).unwrap();
        let switches = Switches { rbac_v2 };
        let side = |groups: &[BTreeSet<u8>], is_there: &dyn Fn(usize) -> bool| -> Vec<Person> {
            groups.iter().enumerate().filter(|(index, _)| is_there(*index)).map(|(index, groups)| {
                let groups: Vec<String> = groups.iter().map(|number| format!("g{number}")).collect();
                let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
                member(&format!("p{index}"), &groups)
            }).collect()
        };
        let old = side(&before, &|index| there[index].0);
        let new = side(&after, &|index| there[index].1);
        let populations = Population::pair((&catalog, &old), (&changed, &new), &[&mapping]);
        let [was, is] = &populations;
        let impact = impact_of_grants(
            &mapping,
            Granted { catalog: &catalog, population: was },
            Granted { catalog: &changed, population: is },
            switches,
        );
        let passes = |catalog: &Catalog, people: &[Person], id: &str, row: &Row, body: BodyKind<'_>| {
            let demand = Demand::of_row(&mapping, row);
            let one: Vec<Person> = people.iter().filter(|person| *person.id == *id).cloned().collect();
            let population = Population::new(catalog, &one, &LegacyAs::new(), &[&mapping]);
            let admitted = Judge::new(&population, switches).admitted(&demand, body);
            match population.profiles().iter().position(|profile| profile.kind == ProfileKind::Admin) {
                Some(index) => admitted.profiles[index],
                None => admitted.strangers,
            }
        };
        for row in mapping.rows() {
            for index in 0..4 {
                let id = format!("p{index}");
                let reported = |direction| {
                    impact.changes.iter().any(|change| {
                        change.region.new.is_some_and(|one| one.route == row.route)
                            && impact.who(change, direction).any(|profile| {
                                profile.kind == ProfileKind::Admin && profile.members.iter().any(|one| **one == *id)
                            })
                    })
                };
                let kinds = BodyKind::all(Target::Row(row, mapping.rollout_of(row)).body_rules(), Method::Post);
                let kinds = if kinds.is_empty() { vec![BodyKind::NoRule] } else { kinds };
                let each = kinds.iter().map(|body| {
                    (passes(&catalog, &old, &id, row, *body), passes(&changed, &new, &id, row, *body))
                });
                let each: Vec<(bool, bool)> = each.collect();
                prop_assert_eq!(reported(AccessChange::Gain), each.contains(&(false, true)), "{} {}", row.route, id);
                prop_assert_eq!(reported(AccessChange::Loss), each.contains(&(true, false)), "{} {}", row.route, id);
            }
        }
    }
}

/// A route that moves to another server is listed, and so is one whose customers are not notified any more.
#[test]
fn what_another_server_gets_is_listed() {
    let file = |one: &str, two: &str, three: &str| {
        let text = format!(
            "version = 1\nclusters.V = \"v2\"\n[blueprints.b]\ncluster = \"V\"\n[blueprints.b.routes]\n\
             \"GET /one\" = {{ role = \"r0\"{one} }}\n\"GET /two\" = {{ role = \"r0\"{two} }}\n\
             \"GET /three\" = {{ role = \"r0\"{three} }}\n"
        );
        Mapping::parse("t", &text).unwrap()
    };
    let raptor = ", upstream = \"raptor\"";
    let loud = ", upstream = \"raptor\", notifies = \"r1\"";
    let refusing = ", upstream = \"raptor\", unauthenticated = \"403\", forbidden = \"302\"";
    let (old, new) = (file("", loud, raptor), file(raptor, raptor, refusing));
    let catalog = catalog();
    let population = Population::new(&catalog, &[], &LegacyAs::new(), &[&old, &new]);
    let impact = impact(&old, &new, &catalog, &population, Switches { rbac_v2: true });
    let served: Vec<[&str; 3]> = impact
        .served
        .iter()
        .map(|one| [one.route.as_str(), one.before.as_str(), one.after.as_str()])
        .collect();
    assert_eq!(
        served,
        [
            ["GET /one", "Console", "upstream raptor"],
            [
                "GET /three",
                "upstream raptor, strangers to the login, 403 for who is denied",
                "upstream raptor, 403 for strangers, to the login for who is denied"
            ],
            ["GET /two", "upstream raptor, notifying for r1", "upstream raptor"],
        ]
    );
}

/// Callers as a census lists them: in order, each once, those with equal holdings sharing them.
fn census(mut people: Vec<Person>) -> Vec<Person> {
    people.sort_by(|one, other| (one.kind, &one.id).cmp(&(other.kind, &other.id)));
    people.dedup_by(|one, other| (one.kind, &one.id) == (other.kind, &other.id));
    let mut known: Vec<Person> = Vec::new();
    for person in &mut people {
        match known.iter().find(|one| (&one.legacy, &one.groups) == (&person.legacy, &person.groups)) {
            Some(one) => (person.legacy, person.groups) = (one.legacy.clone(), one.groups.clone()),
            None => known.push(person.clone()),
        }
    }
    people
}

/// Who gains and who loses which row.
fn effects_on(
    mapping: &Mapping,
    before: (&Catalog, &[Person]),
    after: (&Catalog, &[Person]),
) -> BTreeSet<(AccessChange, ProfileKind, Arc<str>, String)> {
    let [old, new] = Population::pair(before, after, &[mapping]);
    let before = Granted { catalog: before.0, population: &old };
    let after = Granted { catalog: after.0, population: &new };
    let impact = impact_of_grants(mapping, before, after, Switches { rbac_v2: true });
    let mut effects = BTreeSet::new();
    for change in &impact.changes {
        // Kinds of requests are reported together where they are alike for all: that is no effect.
        let route = change.region.new.map_or_else(String::new, |row| row.route.to_string());
        for direction in [AccessChange::Gain, AccessChange::Loss] {
            for profile in impact.who(change, direction) {
                let members = profile
                    .members
                    .iter()
                    .filter(|_| matches!(profile.kind, ProfileKind::Admin | ProfileKind::Machine));
                effects.extend(members.map(|one| (direction, profile.kind, one.clone(), route.clone())));
            }
        }
    }
    effects
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    /// The effect of a change, worked out for classes of callers with equal holdings, is that of each caller alone.
    #[test]
    fn classes_are_as_their_members_one_by_one(
        (_, file) in model::mappings(),
        people in prop::collection::vec(person(), 0..24),
        changed in prop::collection::vec(person(), 0..24),
        (group, role) in (0..3_usize, 0..3_usize),
    ) {
        let mapping = Mapping::parse("t", &file).unwrap();
        let before = catalog();
        let mut after = before.clone();
        after.group_roles.entry(format!("g{group}").into()).or_default().insert(format!("r{role}").into());
        // The second half stays as it is: many classes have members that do not change.
        let stays = people.iter().skip(people.len() / 2).cloned();
        let (old, new) = (census(people.clone()), census(stays.chain(changed).collect()));
        let together = effects_on(&mapping, (&before, &old), (&after, &new));
        let mut alone = BTreeSet::new();
        for [one, other] in policy::rbac::census::beside(&old, &new) {
            let side = |person: Option<&Person>| person.cloned().into_iter().collect::<Vec<_>>();
            alone.extend(effects_on(&mapping, (&before, &side(one)), (&after, &side(other))));
        }
        prop_assert_eq!(together, alone, "{}", file);
    }
}

/// A few in the quick tier, thousands in the other.
fn cases() -> u32 {
    if std::env::var("GATE_TIER").is_ok_and(|tier| tier == "all") { 4_000 } else { 128 }
}
