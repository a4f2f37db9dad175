//! Mapping files, good and bad, as an operator writes them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::method::Method;
use crate::rbac::Requirement;
use crate::rbac::catalog::Catalog;

/// Lines with one mistake each, and the end of each message.
const MISTAKES: [(&str, &str); 108] = [
    ("version = 2", "this gate reads `version = 1` only [unknown-version]"),
    ("unmaped = \"deny\"", "`unmaped` is not a key of the top level [unknown-key]"),
    ("unmapped = \"allow\"", "`allow` is not one of deny, forward [unknown-word]"),
    ("quiet = \"/x\"", "`quiet` must be a list of strings, not a string [wrong-type]"),
    ("quiet = [7]", "`quiet` must be a string, not an integer [wrong-type]"),
    ("quiet = [\"\"]", "`quiet` is empty [empty-string]"),
    ("quiet = [\"x\"]", "routes.toml:3:10: `x` does not begin with a slash [bad-quiet-path]"),
    ("quiet = [\"/\"]", "`/` is Console's first page, which is not noise [bad-quiet-path]"),
    ("quiet = [\"/a/*\"]", "`/a/*` is a pattern, and `quiet` takes exact paths [bad-quiet-path]"),
    ("quiet = [\"/<x>\"]", "`/<x>` is a pattern, and `quiet` takes exact paths [bad-quiet-path]"),
    ("quiet = [\"/a?b\"]", "contains a character that no decoded path has, or a query [bad-quiet-path]"),
    ("quiet = [\"/a%20b\"]", "contains a character that no decoded path has, or a query [bad-quiet-path]"),
    ("quiet = [\"/a//b\"]", "contains an empty segment or a dot segment [bad-quiet-path]"),
    ("quiet = [\"/a/..\"]", "contains an empty segment or a dot segment [bad-quiet-path]"),
    ("quiet = [\"/x\", \"/x\"]", "`/x` is in `quiet` twice [bad-quiet-path]"),
    (
        "quiet = [\"/x\"]\nR.\"POST /x\" = { public = true }",
        "routes.toml:3:10: `POST /x` (line 4) covers `/x`, so it cannot be quiet [quiet-row]",
    ),
    (
        "quiet = [\"/x/y\"]\nR.\"GET /x/*\" = { public = true }",
        "`GET /x/*` (line 4) covers `/x/y`, so it cannot be quiet [quiet-row]",
    ),
    (
        "quiet = [\"/x\"]\nR.\"GET /<a>/\" = { public = true }",
        "`GET /<a>/` (line 4) covers `/x`, so it cannot be quiet [quiet-row]",
    ),
    ("clusters.S1 = \"v3\"", "`v3` is not one of legacy, shadow, v2 [unknown-word]"),
    ("blueprints.b.cluster = \"S9\"", "the cluster `S9` is not in [clusters] [unknown-cluster]"),
    ("blueprints.b.route = {}", "`route` is not a key of a blueprint [unknown-key]"),
    ("R.\"GET\" = { public = true }", "`GET` is not of the form METHOD PATH [bad-route]"),
    ("R.\"FETCH /x\" = { public = true }", "`FETCH` is not an HTTP method [unknown-method]"),
    ("R.\"get /x\" = { public = true }", "`get` is not an HTTP method [unknown-method]"),
    ("R.\"GET /<inte:x>\" = { public = true }", "[bad-pattern]"),
    ("R.\"GET x\" = { public = true }", "[bad-pattern]"),
    ("R.\"GET /x\" = {}", "the row does not define who has access [no-gate]"),
    (
        "R.\"GET /x\" = { public = true, gate = true }",
        "`gate` is only for a row that identifies the caller [contradiction]",
    ),
    (
        "R.\"GET /x\" = { upstream = true, gate = true }",
        "`gate` is only for a row that identifies the caller [contradiction]",
    ),
    (
        "R.\"GET /x\" = { session = true, gate = true, websocket = true }",
        "`gate` and `websocket` exclude each other: the route does not go to Console [contradiction]",
    ),
    (
        "R.\"GET /x\" = { session = true, gate = true, stream = true }",
        "`gate` and `stream` exclude each other: the route does not go to Console [contradiction]",
    ),
    (
        "R.\"GET /x\" = { session = true, gate = true, cors = true }",
        "`gate` and `cors` exclude each other: the route does not go to Console [contradiction]",
    ),
    (
        "R.\"GET /x\" = { role = \"r\", gate = true, totp = \"inline\" }",
        "`gate` and `totp` exclude each other: the route does not go to Console [contradiction]",
    ),
    (
        "R.\"GET /x\" = { role = \"r\", gate = true, forbidden = \"302\" }",
        "`gate` and `forbidden` exclude each other: the route does not go to Console [contradiction]",
    ),
    (
        "R.\"GET /x\" = { session = true, forbidden = \"302\" }",
        "`forbidden` is only for a row that asks for a role or a permission [contradiction]",
    ),
    ("R.\"GET /x\" = { role = \"r\", forbidden = \"401\" }", "`401` is not one of 403, 302 [unknown-word]"),
    (
        "R.\"GET /x\" = { session = true, unauthenticated = \"404\" }",
        "`404` is not one of 302, 401, 403 [unknown-word]",
    ),
    (
        "R.\"GET /x\" = { permission = [] }",
        "an empty list of permissions would let in everybody who is logged in [no-v2-gate]",
    ),
    (
        "R.\"GET /x\" = { permission = [\"a\", \"b\", \"a\"] }",
        "the permission a is named twice [contradiction]",
    ),
    (
        "R.\"GET /x/<id>\" = { permission = [\"a\", \"b\"], ticket = { query = \"t\", customer = \"path:id\" } }",
        "several permissions exclude `ticket` and `decided`: those are about one [contradiction]",
    ),
    (
        "R.\"POST /x\" = { role = \"r\", when = [{ json = \"/t\", equals = \"p\", permission = [\"a\", \"b\"] }] }",
        "a body rule has one permission: write a rule for each [contradiction]",
    ),
    ("R.\"GET /x\" = { upstream = \"raptor\" }", "the row does not define who has access [no-gate]"),
    (
        "R.\"GET /x\" = { session = true, upstream = \"Raptor\" }",
        "`Raptor` cannot be the name of an upstream [bad-upstream]",
    ),
    (
        "R.\"GET /x\" = { session = true, gate = true, upstream = \"raptor\" }",
        "`upstream` and `gate` exclude each other: no server gets the request [contradiction]",
    ),
    (
        "R.\"GET /x\" = { gone = true, upstream = \"raptor\" }",
        "`upstream` and `gone` exclude each other: no server gets the request [contradiction]",
    ),
    (
        "R.\"GET /x\" = { session = true, upstream = true }",
        "exclude each other: a row has one kind [contradiction]",
    ),
    (
        "R.\"GET /x\" = { session = true, notifies = \"r\" }",
        "`notifies` is only for a row that asks for a role or a permission [contradiction]",
    ),
    (
        "R.\"GET /x\" = { role = \"r\", gate = true, notifies = \"r\" }",
        "`notifies` and `gate` exclude each other: the upstream notifies [contradiction]",
    ),
    ("R.\"GET /x\" = { role = \"r\", notifies = [] }", "`notifies` names no role [missing-key]"),
    (
        "R.\"GET /x\" = { role = \"r\", notifies = [\"a\", \"a\"] }",
        "`notifies` names a role twice [repeated-role]",
    ),
    ("R.\"GET /x\" = { session = true, gate = false }", "`gate = false` has no meaning [false-switch]"),
    ("R.\"GET /x\" = { public = false }", "`public = false` has no meaning [false-switch]"),
    (
        "R.\"GET /x\" = { public = true, role = \"r\" }",
        "exclude each other: a row has one kind [contradiction]",
    ),
    (
        "R.\"GET /x\" = { public = true, session = true }",
        "exclude each other: a row has one kind [contradiction]",
    ),
    (
        "R.\"GET /x\" = { legacy = [\"ops\"] }",
        "the row has a legacy gate, but no V2 role or permission [no-v2-gate]",
    ),
    (
        "legacy_roles = [\"ops\"]\nR.\"GET /x\" = { legacy = [\"ops\", \"opps\"], role = \"r\" }",
        "routes.toml:4:51: `legacy_roles` does not declare the legacy role `opps` [unknown-legacy-role]",
    ),
    (
        "R.\"GET /x\" = { legacy = [\"super admin\"], role = \"r\" }",
        "`super admin` cannot be a legacy role: a role is 1 to 64 characters without white space, commas and quotes \
         [malformed-legacy-role]",
    ),
    ("legacy_roles = [\"o'ps\"]", "`o'ps` cannot be a legacy role"),
    ("legacy_roles = []", "`legacy_roles` is an empty list [empty-legacy]"),
    ("legacy_roles = [\"a\", \"a\"]", "`legacy_roles` repeats a role [repeated-role]"),
    (
        "R.\"GET /x\" = { legacy = [\"ops\", \"ops\"], role = \"r\" }",
        "`legacy` repeats a role [repeated-role]",
    ),
    ("R.\"GET /x\" = { legacy = [], role = \"r\" }", "`legacy` is an empty list [empty-legacy]"),
    (
        "R.\"GET /x\" = { legacy = \"ops\", role = \"r\" }",
        "`legacy` must be a list of strings, not a string [wrong-type]",
    ),
    ("R.\"GET /x\" = { role = \"\" }", "`role` is empty [empty-string]"),
    ("R.\"GET /x\" = { role = 7 }", "`role` must be a string, not an integer [wrong-type]"),
    ("R.\"GET /x\" = { role = \"r\", permission = \"p\" }", "`role` and `permission` exclude each other"),
    ("R.\"GET /x\" = { undecided = \"A-1\" }", "an undecided row needs a legacy gate [no-legacy-gate]"),
    (
        "R.\"GET /x\" = { legacy = [\"ops\"], role = \"r\", undecided = \"A-1\" }",
        "cannot be `undecided` [contradiction]",
    ),
    (
        "R.\"GET /x\" = { role = \"r\", options = { A = \"r\" } }",
        "`options` belong to a row that is `undecided` or `decided`",
    ),
    ("R.\"GET /x\" = { role = \"r\", rolle = \"q\" }", "`rolle` is not a key of a row [unknown-key]"),
    (
        "R.\"GET /x/<id>\" = { role = \"r\", ticket = { query = \"t\" } }",
        "`ticket` must name its `customer` [missing-key]",
    ),
    (
        "R.\"GET /x/<id>\" = { role = \"r\", ticket = { customer = \"path:id\" } }",
        "`ticket` must name its `query` [missing-key]",
    ),
    (
        "R.\"GET /x/<id>\" = { role = \"r\", ticket = { query = \"t\", customer = \"path:ip\" } }",
        "`ticket` takes the customer from `ip`, which is no variable of `/x/<id>` [bad-ticket]",
    ),
    (
        "R.\"GET /x/*\" = { role = \"r\", ticket = { query = \"t\", customer = \"path:id\" } }",
        "`ticket` takes the customer from `id`, which is no variable of `/x/*` [bad-ticket]",
    ),
    (
        "R.\"GET /x\" = { role = \"r\", ticket = { query = \"t\", customer = \"header:x\" } }",
        "`header:x` names no place of the customer [bad-ticket]",
    ),
    (
        "R.\"GET /x\" = { role = \"r\", ticket = { query = \"t\", customer = \"query:t\" } }",
        "the ticket and the customer cannot be one parameter [contradiction]",
    ),
    (
        "R.\"GET /x\" = { role = \"r\", ticket = { query = \"t%\", customer = \"query:c\" } }",
        "`t%` cannot be the name of a parameter here [bad-ticket]",
    ),
    (
        "R.\"GET /x\" = { role = \"r\", ticket = { query = \"t\", customer = \"query:c\", without = [\"a\", \"a\"] } }",
        "`without` names a role twice [repeated-role]",
    ),
    (
        "R.\"GET /x\" = { role = \"r\", machine_or_session = true, ticket = { query = \"t\", customer = \"query:c\" } }",
        "tickets are granted to admins: `ticket` and `machine_or_session` exclude each other [contradiction]",
    ),
    (
        "R.\"GET /x\" = { role = \"r\", websocket = true, ticket = { query = \"t\", customer = \"query:c\" } }",
        "a WebSocket would outlast its ticket: `ticket` and `websocket` exclude each other [contradiction]",
    ),
    (
        "R.\"GET /x\" = { session = true, ticket = { query = \"t\", customer = \"query:c\" } }",
        "`session`, `ticket` exclude each other: a row has one kind [contradiction]",
    ),
    (
        "R.\"GET /x\" = { ticket = { query = \"t\", customer = \"query:c\" } }",
        "the row has a legacy gate, but no V2 role or permission [no-v2-gate]",
    ),
    (
        "R.\"POST /x\" = { role = \"r\", when = [{ json = \"t\", equals = \"a\", role = \"q\" }] }",
        "`t` is not a JSON pointer [bad-pointer]",
    ),
    (
        "R.\"POST /x\" = { role = \"r\", when = [{ json = \"/t~2\", equals = \"a\", role = \"q\" }] }",
        "`/t~2` is not a JSON pointer [bad-pointer]",
    ),
    (
        "R.\"POST /x\" = { role = \"r\", when = [{ json = \
         \"/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2\", equals = \"a\", role = \"q\" }] }",
        "the pointer is more than 32 levels deep [bad-pointer]",
    ),
    (
        "R.\"POST /x\" = { role = \"r\", when = [{ json = \"/t/u\", equals = \"a\", role = \"q\" }, { json = \
         \"/t\", equals = \"a\", role = \"q\" }] }",
        "a body cannot have a value both at `/t` and at `/t/u` [contradiction]",
    ),
    (
        "R.\"POST /x\" = { role = \"r\", when = [{ json = \"/t\", equals = \"a\", role = \"q\" }, { form = \"t\", equals = \"a\", role = \"q\" }] }",
        "`json` and `form` rules cannot be in one row [contradiction]",
    ),
    (
        "R.\"GET /x\" = { role = \"r\", when = [{ json = \"/t\", equals = \"a\", role = \"q\" }] }",
        "`GET /x` requires a role depending on the body, but GET carries no body [when-without-body]",
    ),
    (
        "R.\"* /x\" = { role = \"r\", when = [{ form = \"t\", equals = \"a\", role = \"q\" }] }",
        "`* /x` requires a role depending on the body, but GET,HEAD,OPTIONS carry no body [when-without-body]",
    ),
    (
        "R.\"POST /x\" = { role = \"r\", when = [{ json = \"/t\", role = \"q\" }] }",
        "a body rule needs `equals` [missing-key]",
    ),
    (
        "R.\"POST /x\" = { role = \"r\", when = [{ json = \"/t\", equals = \"a\" }] }",
        "a body rule needs a `role` or a `permission`",
    ),
    (
        "R.\"GET /x\" = { role = \"r\", decided = { by = \"me\", ref = \"#1\" } }",
        "`decided` must name its `option` [missing-key]",
    ),
    (
        "R.\"GET /x\" = { role = \"r\", options = { A = \"r\" }, decided = { option = \"A\", ref = \"#1\" } }",
        "`decided` must name its `by` [missing-key]",
    ),
    (
        "R.\"GET /x\" = { role = \"r\", options = { A = \"r\" }, decided = { option = \"A\", by = \"me\" } }",
        "`decided` must name its `ref` [missing-key]",
    ),
    (
        "R.\"GET /x\" = { role = \"r\", options = { A = \"r\", B = \"q\" }, decided = { option = \"C\", by = \"me\", ref = \"#1\" } }",
        "`C` is none of the row's options: A, B [unknown-option]",
    ),
    (
        "R.\"GET /x\" = { role = \"r\", decided = { option = \"A\", by = \"me\", ref = \"#1\" } }",
        "`decided` names the option `A`, and the row has no `options` [unknown-option]",
    ),
    (
        "R.\"GET /x\" = { role = \"r\", options = { A = \"r\", B = \"q\" }, decided = { option = \"B\", by = \"me\", ref = \"#1\" } }",
        "the option `B` is `q`, but the row requires the role r [decided-otherwise]",
    ),
    (
        "R.\"GET /x\" = { role = \"r\", decided = { option = \"custom\", by = \"me\", ref = \"#1\" } }",
        "a `custom` decision must name its `reason` [missing-key]",
    ),
    (
        "R.\"GET /x\" = { role = \"r\", options = { custom = \"r\" }, decided = { option = \"custom\", reason = \"y\", by = \"me\", ref = \"#1\" } }",
        "`custom` is the word for what is none of the options [contradiction]",
    ),
    (
        "R.\"GET /x\" = { legacy = [\"ops\"], undecided = \"A-1\", decided = { option = \"custom\", reason = \"y\", by = \"me\", ref = \"#1\" } }",
        "an `undecided` row cannot be `decided` [contradiction]",
    ),
    (
        "R.\"GET /x\" = { public = true, unreviewed = \"y\" }",
        "`unreviewed` is only for a row with `upstream = true`",
    ),
    (
        "R.\"GET /x\" = { role = \"r\", freshness = \"pushed\" }",
        "`pushed` is not one of push, strict [unknown-word]",
    ),
    ("blueprints.b.freshness = \"stict\"", "`stict` is not one of push, strict [unknown-word]"),
    (
        "R.\"GET /x\" = { role = \"r\", freshness = true }",
        "`freshness` must be a string, not a boolean [wrong-type]",
    ),
    (
        "R.\"GET /x\" = { public = true, freshness = \"push\" }",
        "`freshness` is only for a row that identifies the caller [contradiction]",
    ),
    (
        "R.\"GET /x\" = { public = true, cors = true }",
        "`cors` is only for a row that asks for a credential [contradiction]",
    ),
    (
        "R.\"GET /x\" = { gone = true, cors = true }",
        "`cors` is only for a row that asks for a credential [contradiction]",
    ),
    ("R.\"GET /x\" = { session = true, cors = false }", "`cors = false` has no meaning [false-switch]"),
];

fn parse(line: &str) -> Result<Mapping, Diagnostics> {
    let line = line.replace("R.", "blueprints.b.routes.");
    let version = if line.starts_with("version") { "" } else { "version = 1\n" };
    let clusters = if line.starts_with("clusters") { "" } else { "clusters.S1 = \"legacy\"\n" };
    Mapping::parse("routes.toml", &format!("{version}{clusters}{line}\n"))
}

#[test]
fn every_kind_of_mistake_is_reported_with_its_place() {
    for (line, message) in MISTAKES {
        let diagnostics = parse(line).expect_err(line);
        let shown = diagnostics.one_line_each();
        assert!(shown.contains(message), "{line}\n  reported: {shown}\n  expected: {message}");
        assert_eq!(diagnostics.findings().len(), 1, "{line}\n{shown}");
        let place = diagnostics.position(&diagnostics.findings()[0]);
        assert!(place.0 >= 1 && place.1 >= 1, "{line} {place:?}");
    }
}

/// A list without a bound would be a way to switch the audit off, path by path.
#[test]
fn quiet_paths_are_few() {
    let list = |count: usize| {
        let paths: Vec<String> = (0..count).map(|number| format!("\"/{number}\"")).collect();
        parse(&format!("quiet = [{}]", paths.join(", ")))
    };
    let mapping = list(100).unwrap();
    assert!(mapping.is_quiet("/99") && !mapping.is_quiet("/100") && mapping.quiet().len() == 100);
    let shown = list(101).unwrap_err().one_line_each();
    assert!(shown.contains("`quiet` names 101 paths, and may name 100 [bad-quiet-path]"), "{shown}");
    let long = format!("quiet = [\"/{}\"]", "a".repeat(256));
    assert!(parse(&long).unwrap_err().one_line_each().contains("is too long"));
}

#[test]
fn all_mistakes_of_a_file_are_reported_at_once() {
    let file = "version = 1\n[clusters]\nS1 = \"v3\"\n[blueprints.b]\ncluster = \"S2\"\n[blueprints.b.routes]\n\
                \"GET /a\" = { role = 7 }\n\"FETCH /b\" = { legacy = [\"o ps\"], role = \"r\" }\n";
    let diagnostics = Mapping::parse("routes.toml", file).unwrap_err();
    let shown = diagnostics.one_line_each();
    for place in ["3:6", "5:11", "7:21", "8:1", "8:26"] {
        assert!(shown.contains(&format!("routes.toml:{place}: ")), "{place} is missing:\n{shown}");
    }
}

#[test]
fn a_finding_points_at_the_line_and_says_what_was_probably_meant() {
    let declared = "legacy_roles = [\"superadmin\", \"ops\"]";
    let row = "R.\"GET /x\" = { legacy = [\"superadmn\"], role = \"r\" }";
    let shown = parse(&format!("{declared}\n{row}")).unwrap_err().to_string();
    assert!(shown.contains("routes.toml:4:"), "{shown}");
    assert!(shown.contains("^^^^^^^^^^^"), "{shown}");
    assert!(shown.contains("did you mean `superadmin`?"), "{shown}");
}

/// Without a declaration any word is a role; with one, only those.
#[test]
fn rows_take_any_legacy_role_or_those_that_are_declared() {
    let row = "R.\"GET /x\" = { legacy = [\"Billing:Read\", \"管理者\"], role = \"r\" }";
    let words =
        |mapping: &Mapping| mapping.legacy_roles().iter().map(ToString::to_string).collect::<Vec<_>>();
    let free = parse(row).unwrap();
    assert_eq!(
        (words(&free), free.declared_roles()),
        (vec!["Billing:Read".to_owned(), "管理者".to_owned()], None)
    );
    let declared = "legacy_roles = [\"管理者\", \"viewer\", \"Billing:Read\"]";
    let bound = parse(&format!("{declared}\n{row}")).unwrap();
    assert_eq!(words(&bound), ["Billing:Read", "viewer", "管理者"]);
}

/// `decided` holds exactly if the row requires what the option says, or the choice is `custom` with a reason.
#[test]
fn a_decision_is_one_of_the_options_or_says_why_not() {
    let options = [("A", "r"), ("B", "q")];
    for required in ["role = \"r\"", "role = \"q\"", "permission = \"q\"", "role = \"s\""] {
        for option in ["A", "B", "C", "custom"] {
            for reason in ["", ", reason = \"because\""] {
                let row = format!(
                    "R.\"GET /x\" = {{ {required}, options = {{ A = \"r\", B = \"q\" }}, \
                     decided = {{ option = \"{option}\", by = \"anna\", ref = \"#7\"{reason} }} }}"
                );
                let name = required.split('"').nth(1).unwrap();
                let is_option = options.contains(&(option, name));
                let is_sound = is_option || (option == "custom" && !reason.is_empty());
                let parsed = parse(&row);
                assert_eq!(parsed.is_ok(), is_sound, "{row}: {parsed:?}");
                if let Ok(mapping) = parsed {
                    let message = mapping.effective()[0].decided.unwrap().to_string();
                    let beginning = if is_option {
                        format!("option {option} by anna (#7)")
                    } else {
                        "custom by anna (#7)".into()
                    };
                    let end = if reason.is_empty() { "" } else { ": because" };
                    assert_eq!(message, format!("{beginning}{end}"));
                }
            }
        }
    }
}

/// The row's own word, else its blueprint's, else nothing: then the settings decide.
#[test]
fn a_row_says_how_fresh_its_answer_has_to_be_or_its_blueprint_does() {
    use Freshness::{Push, Strict};
    let table = [
        ("", "", None),
        ("", "push", Some(Push)),
        ("", "strict", Some(Strict)),
        ("push", "", Some(Push)),
        ("push", "push", Some(Push)),
        ("push", "strict", Some(Strict)),
        ("strict", "", Some(Strict)),
        ("strict", "push", Some(Push)),
    ];
    for (blueprint, row, expected) in table {
        let blueprint_says =
            if blueprint.is_empty() { String::new() } else { format!("freshness = \"{blueprint}\"") };
        let row_says = if row.is_empty() { String::new() } else { format!(", freshness = \"{row}\"") };
        let file = format!(
            "version = 1\n[blueprints.b]\n{blueprint_says}\n[blueprints.b.routes]\n\"GET /x\" = {{ role = \"r\"{row_says} }}\n"
        );
        let mapping = Mapping::parse("routes.toml", &file).unwrap();
        assert_eq!(mapping.rows()[0].freshness, expected, "blueprint `{blueprint}`, row `{row}`");
    }
}

#[test]
fn an_unknown_freshness_is_reported_with_its_line_and_column() {
    let file = "version = 1\n[blueprints.b]\nfreshness = \"fresh\"\n[blueprints.b.routes]\n\
                \"GET /a\" = { role = \"r\", freshness = \"puss\" }\n";
    let diagnostics = Mapping::parse("routes.toml", file).unwrap_err();
    let shown = diagnostics.one_line_each();
    for place in ["3:13", "5:38"] {
        assert!(shown.contains(&format!("routes.toml:{place}: ")), "{place} is missing:\n{shown}");
    }
    assert!(diagnostics.to_string().contains("did you mean `push`?"), "{diagnostics}");
}

#[test]
fn overlapping_rows_are_refused() {
    let table = [
        ("GET /a/<x>", "GET /a/<y>", true),
        ("GET /a/<x>", "POST /a/<y>", false),
        ("GET /a/<int:x>", "GET /a/<x>", false),
        ("GET /a/b", "GET /a/<x>", false),
        ("* /a/b", "GET /a/b", true),
        ("GET /a/<int:x>", "GET /a/<float:x>", false),
        ("GET /a/<any(b,c):x>", "GET /a/<any(c,d):x>", true),
        ("GET /a/<any(b,c):x>", "GET /a/<any(d,e):x>", false),
    ];
    for (first, second, refused) in table {
        let file = format!(
            "version = 1\n[blueprints.b.routes]\n\"{first}\" = {{ public = true }}\n\"{second}\" = {{ session = true }}\n"
        );
        let outcome = Mapping::parse("routes.toml", &file);
        assert_eq!(
            outcome.is_err(),
            refused,
            "{first} and {second}: {:?}",
            outcome.err().map(|e| e.one_line_each())
        );
    }
}

#[test]
fn a_repeated_key_is_refused() {
    let file = "version = 1\n[blueprints.b.routes]\n\"GET /a\" = { public = true }\n\"GET /a\" = { session = true }\n";
    assert!(Mapping::parse("routes.toml", file).is_err());
}

#[test]
fn every_kind_of_row_is_read() {
    let file = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/routes_small.toml"));
    let mapping = Mapping::parse("routes_small.toml", file).unwrap();
    let kinds: BTreeSet<&str> = mapping
        .rows()
        .iter()
        .map(|row| match &row.kind {
            RowKind::Gated { v2: V2Gate::Undecided { .. }, .. } => "undecided",
            RowKind::Gated { machine: true, .. } => "machine_or_session",
            RowKind::Gated { v2: V2Gate::Requires { when, .. }, .. } if !when.is_empty() => "when",
            RowKind::Gated { v2: V2Gate::Requires { base: Requirement::Permission(_), .. }, .. } => {
                "permission"
            }
            RowKind::Gated { .. } => "role",
            RowKind::Session => "session",
            RowKind::Public => "public",
            RowKind::Machine => "machine",
            RowKind::Upstream => "upstream",
            RowKind::Gone => "gone",
        })
        .collect();
    let all = [
        "role",
        "permission",
        "when",
        "undecided",
        "machine_or_session",
        "session",
        "public",
        "machine",
        "upstream",
        "gone",
    ];
    assert_eq!(kinds, all.into_iter().collect());
}

#[test]
fn a_request_finds_its_row_as_flask_would() {
    let file = "version = 1\n[blueprints.b.routes]\n\
        \"GET /c/\" = { public = true }\n\"GET /c/new\" = { public = true }\n\"POST /c/<id>\" = { public = true }\n\
        \"* /beta/*\" = { session = true }\n\"GET /beta/exact\" = { public = true }\n";
    let mapping = Mapping::parse("routes.toml", file).unwrap();
    let table = [
        ("/c/", Method::Get, "GET /c/"),
        ("/c/", Method::Head, "GET /c/"),
        ("/c", Method::Get, "redirect GET /c/"),
        ("/c/new", Method::Get, "GET /c/new"),
        // A wrong method on a static rule falls through to its dynamic sibling, as in Werkzeug.
        ("/c/new", Method::Post, "POST /c/<id>"),
        ("/c/new", Method::Delete, "wrong method"),
        ("/c/new/x", Method::Get, "nothing"),
        ("/beta", Method::Get, "* /beta/*"),
        ("/beta/any/thing", Method::Put, "* /beta/*"),
        ("/beta/exact", Method::Get, "GET /beta/exact"),
        ("/beta/exact", Method::Post, "* /beta/*"),
        ("/betas", Method::Get, "nothing"),
    ];
    for (path, method, expected) in table {
        let found = match mapping.find(path, method) {
            Found::Row(row) => row.route.to_string(),
            Found::Redirect(row) => format!("redirect {}", row.route),
            Found::WrongMethod(_) => "wrong method".to_owned(),
            Found::Nothing => "nothing".to_owned(),
        };
        assert_eq!(found, expected, "{method} {path}");
    }
}

fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    catalog.roles.extend(["held".into(), "orphan".into()]);
    catalog.groups.insert("g".into());
    catalog.group_roles.insert("g".into(), BTreeSet::from(["held".into()]));
    catalog
}

#[test]
fn a_mapping_is_checked_against_the_roles_that_exist() {
    let table = [
        ("legacy", "held", None),
        ("legacy", "orphan", None),
        ("shadow", "orphan", None),
        ("v2", "held", None),
        ("v2", "orphan", Some("unreachable")),
        ("legacy", "hled", Some("missing-role")),
    ];
    for (mode, role, expected) in table {
        let file = format!(
            "version = 1\nclusters.S1 = \"{mode}\"\nblueprints.b.cluster = \"S1\"\n\
             blueprints.b.routes.\"GET /x\" = {{ legacy = [\"ops\"], role = \"{role}\" }}\n"
        );
        let mapping = Mapping::parse("routes.toml", &file).unwrap();
        let found = mapping.check_against("routes.toml", &catalog()).err();
        let code = found.as_ref().map(|diagnostics| diagnostics.findings()[0].code);
        assert_eq!(code, expected, "{mode} {role}");
    }
}

#[test]
fn options_may_name_roles_that_do_not_exist_yet() {
    let file = "version = 1\nclusters.S1 = \"v2\"\nblueprints.b.cluster = \"S1\"\n\
         blueprints.b.routes.\"GET /x\" = { legacy = [\"ops\"], undecided = \"A-1\", options = { B = \"future\" } }\n";
    assert!(Mapping::parse("routes.toml", file).unwrap().check_against("routes.toml", &catalog()).is_ok());
}

#[test]
fn the_file_that_ships_is_sound() {
    Mapping::parse("routes.toml", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../routes.toml")))
        .unwrap();
}

#[test]
fn a_cluster_can_come_first_for_a_cohort() {
    let mapping = Mapping::parse(
        "t",
        r#"
version = 1
[clusters]
S1 = { mode = "v2", groups = ["ops-admins"], percent = 5 }
S2 = { mode = "shadow" }
[soak]
quiet_hours = 24
[soak.S1]
requests = 50
"#,
    )
    .unwrap();
    assert_eq!(
        mapping.clusters()["S1"].to_string(),
        "v2 for ops-admins and 5 % of admins, shadow for the rest"
    );
    assert_eq!(mapping.clusters()["S2"], Rollout::everybody(ClusterMode::Shadow));
    let of_all = SoakTerms { quiet_hours: 24, ..SoakTerms::default() };
    assert_eq!(mapping.soak_terms("S2"), of_all);
    assert_eq!(mapping.soak_terms("S1"), SoakTerms { requests: 50, ..of_all });
}

fn codes(source: &str) -> Vec<&'static str> {
    let diagnostics = Mapping::parse("t", source).unwrap_err();
    diagnostics.findings().iter().map(|finding| finding.code).collect()
}

#[test]
fn a_cohort_that_says_nothing_or_too_much_is_refused() {
    let table = [
        (r#"S = { groups = ["g"] }"#, "missing-key"),
        (r#"S = { mode = "shadow", percent = 5 }"#, "contradiction"),
        (r#"S = { mode = "legacy", groups = ["g"] }"#, "contradiction"),
        (r#"S = { mode = "v2", groups = [] }"#, "empty-cohort"),
        (r#"S = { mode = "v2", percent = 0 }"#, "empty-cohort"),
        (r#"S = { mode = "v2", percent = 101 }"#, "out-of-range"),
        (r#"S = { mode = "v2", percent = -1 }"#, "out-of-range"),
        (r#"S = { mode = "v2", percent = "5" }"#, "wrong-type"),
        (r#"S = { mode = "v2", percentage = 5 }"#, "unknown-key"),
        ("S = 5", "wrong-type"),
    ];
    for (line, code) in table {
        assert_eq!(codes(&format!("version = 1\n[clusters]\n{line}\n")), [code], "{line}");
    }
    let soak = [
        ("[soak]\nquiet_hours = -1", "out-of-range"),
        ("[soak]\nshadow_days = 4294967295", "out-of-range"),
        ("[soak]\nquiet_hours = 87601", "out-of-range"),
        ("[soak]\nquite_hours = 1", "unknown-key"),
        ("[soak.S9]\nrequests = 1", "unknown-key"),
        ("[soak.S]\nrequest = 1", "unknown-key"),
    ];
    for (lines, code) in soak {
        assert_eq!(codes(&format!("version = 1\n[clusters]\nS = \"v2\"\n{lines}\n")), [code], "{lines}");
    }
}

#[test]
fn a_cohort_of_a_group_that_does_not_exist_is_refused() {
    let source = "version = 1\n[clusters]\nS = { mode = \"v2\", groups = [\"ops-admin\"] }\n";
    let catalog = Catalog { groups: [Arc::from("ops-admins")].into(), ..Catalog::default() };
    let diagnostics = Mapping::parse("t", source).unwrap().check_against("t", &catalog).unwrap_err();
    let report = diagnostics.one_line_each();
    assert!(report.starts_with("t:3:"), "{report}");
    assert!(
        report.ends_with("names the group `ops-admin`, which the database does not have [missing-group]"),
        "{report}"
    );
    assert_eq!(diagnostics.findings()[0].suggestion.as_deref(), Some("did you mean `ops-admins`?"));
}
