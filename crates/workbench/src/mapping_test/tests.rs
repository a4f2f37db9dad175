//! Every expectation, caller and body; mistakes; hostile files.

use policy::decision::Control;
use policy::firewall::Policy;
use policy::ids::Epoch;
use policy::mapping::Mapping;
use policy::rbac::break_glass::BreakGlassRules;
use policy::rbac::catalog::Catalog;

use super::*;

mod brute_force;
mod mutants;

pub(super) const MAPPING: &str = r#"
version = 1
legacy_roles = ["superadmin", "ops", "support", "readonly"]
quiet = ["/favicon.ico"]
[clusters]
L = "legacy"
V = "v2"
C = { mode = "v2", groups = ["team"], percent = 10 }
[blueprints.orders]
cluster = "V"
[blueprints.orders.routes]
"GET /orders"              = { legacy = ["ops"], role = "reader", machine_or_session = true }
"GET /orders/<int:id>"     = { legacy = ["ops"], role = "reader" }
"POST /orders/<int:id>/refund" = { legacy = ["superadmin"], role = "writer", totp = "elevation" }
"POST /deploys"            = { legacy = ["ops"], role = "writer", when = [{ json = "/target", equals = "prod", role = "keeper" }] }
"POST /form"               = { legacy = ["ops"], role = "reader", when = [{ form = "to", equals = "x", role = "keeper" }] }
"GET /audit/<id>"          = { legacy = ["ops"], role = "support", ticket = { query = "ticket_id", customer = "path:id", without = "keeper" } }
"GET /both"                = { permission = ["p:read", "p:write"], unauthenticated = "401" }
[blueprints.old]
cluster = "L"
[blueprints.old.routes]
"GET /old"                 = { legacy = ["ops", "support"], role = "reader" }
"GET /open"                = { legacy = ["ops"], undecided = "Q", options = { A = "reader" } }
[blueprints.part]
cluster = "C"
routes."GET /part"         = { legacy = ["ops"], role = "reader" }
[blueprints.others.routes]
"GET /me"                  = { session = true, unauthenticated = "403" }
"GET /public"              = { public = true }
"* /hook"                  = { machine = true }
"GET /gone"                = { gone = true }
"GET /api/rbac/x"          = { role = "reader", gate = true, unauthenticated = "401" }
"#;

pub(super) fn catalog() -> Catalog {
    Catalog::from_seed(
        r#"
[[group]]
name = "team"
[[group]]
name = "crew"
[[group]]
name = "break-glass"
[[role]]
name = "reader"
groups = ["crew"]
permissions = ["p:read"]
[[role]]
name = "writer"
inherits = ["reader"]
groups = ["team"]
permissions = ["p:write"]
[[role]]
name = "support"
[[role]]
name = "keeper"
groups = ["break-glass"]
"#,
    )
    .unwrap()
}

pub(super) struct Scene {
    pub mapping: Mapping,
    pub catalog: Catalog,
    policy: Policy,
    rules: BreakGlassRules,
}

impl Scene {
    pub(super) fn new(mapping: &str) -> Scene {
        Scene {
            mapping: Mapping::parse("routes.toml", mapping).unwrap(),
            catalog: catalog(),
            policy: Policy::default(),
            rules: BreakGlassRules::default(),
        }
    }

    pub(super) fn world(&self) -> World<'_> {
        World {
            mapping: &self.mapping,
            mapping_file: "routes.toml",
            catalog: &self.catalog,
            people: &[],
            control: Control { epoch: Epoch(0), rbac_v2: true, may_enforce: true },
            break_glass: &self.rules,
            policy: &self.policy,
        }
    }

    pub(super) fn read(&self, text: &str) -> Result<TestFile, Diagnostics> {
        TestFile::read("routes.test.toml", &format!("version = 1\n{text}"), &self.world())
    }

    fn failures(&self, text: &str) -> Vec<String> {
        let file = self.read(text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let outcomes = run(&file, &self.world());
        assert_eq!(findings(&file, &outcomes).len(), outcomes.iter().filter(|one| !one.holds()).count());
        outcomes.iter().filter_map(Outcome::sentence).collect()
    }

    fn mistakes(&self, text: &str) -> Vec<String> {
        let mistakes = self.read(text).expect_err("it has a mistake");
        mistakes.findings().iter().map(|found| format!("{}: {}", found.code, found.message)).collect()
    }
}

/// One line a case: the terms, the request, the outcome that it has, and one that it does not have.
const TABLE: &[(&str, &str, &str, &str)] = &[
    ("as = \"anonymous\"", "GET /orders", "login", "deny"),
    ("as = \"anonymous\"", "GET /both", "401", "login"),
    ("as = \"anonymous\"", "GET /me", "403", "deny"),
    ("as = \"anonymous\"", "GET /public", "allow", "login"),
    ("as = \"anonymous\"", "GET /gone", "410", "404"),
    ("as = \"anonymous\"", "GET /favicon.ico", "404", "login"),
    ("as = \"anonymous\"", "GET /nowhere", "login", "deny"),
    ("as = \"session\"", "GET /nowhere", "deny", "allow"),
    ("as = \"session\"", "GET /me", "allow", "deny"),
    ("as = \"session\"", "GET /hook", "401", "allow"),
    ("as = \"session\"", "GET /a/../b", "400", "deny"),
    ("as = \"session\"", "GET /orders/x", "deny", "allow"),
    ("as = \"program\"", "GET /hook", "allow", "401"),
    ("as = \"program\"", "GET /orders", "login", "allow"),
    ("as = \"program\"\nunder = \"legacy\"", "GET /orders", "allow", "login"),
    ("as = { groups = [\"crew\"], machine = true }", "GET /orders", "allow", "login"),
    ("as = { groups = [\"crew\"], machine = true }", "GET /orders/7", "login", "allow"),
    ("as = \"crew\"", "GET /orders/7", "allow", "deny"),
    ("as = \"role:reader\"", "GET /orders/7", "allow", "deny"),
    ("as = \"ops\"", "GET /orders/7", "deny", "allow"),
    ("as = \"ops\"\nunder = \"legacy\"", "GET /orders/7", "allow", "deny"),
    ("as = \"ops\"\nunder = \"kill-switch\"", "GET /orders/7", "allow", "deny"),
    ("as = \"crew\"\nunder = \"kill-switch\"", "GET /api/rbac/x", "404", "allow"),
    ("as = \"team\"", "POST /orders/7/refund", "step-up", "deny"),
    ("as = \"team\"", "POST /orders/7/refund", "allow", "deny"),
    ("as = \"team\"", "GET /orders/7", "allow", "step-up"),
    ("as = \"crew\"", "GET /both", "deny", "allow"),
    ("as = \"team\"", "GET /both", "allow", "deny"),
    ("as = \"support\"", "GET /old", "allow", "deny"),
    ("as = \"crew\"\nunder = \"v2\"", "GET /old", "allow", "deny"),
    ("as = \"ops\"\nunder = \"v2\"", "GET /open", "allow", "deny"),
    ("as = \"team\"\njson = { target = \"staging\" }", "POST /deploys", "allow", "deny"),
    ("as = \"team\"\njson = { target = \"prod\" }", "POST /deploys", "deny", "allow"),
    ("as = \"team\"\nbody = \"none\"", "POST /deploys", "deny", "allow"),
    (
        "as = { groups = [\"team\", \"break-glass\"], break_glass = true }\njson = { target = \"prod\" }",
        "POST /deploys",
        "allow",
        "deny",
    ),
    (
        "as = { groups = [\"team\", \"break-glass\"] }\njson = { target = \"prod\" }",
        "POST /deploys",
        "deny",
        "allow",
    ),
    ("as = \"crew\"\nform = { to = \"y\" }", "POST /form", "allow", "deny"),
    ("as = \"crew\"\nform = { to = \"x\" }", "POST /form", "deny", "allow"),
    ("as = \"session\"", "POST /deploys", "deny", "allow"),
    (
        "as = { ticket = { role = \"support\", id = \"42\", customer = 7 } }",
        "GET /audit/7?ticket_id=42",
        "allow",
        "deny",
    ),
    (
        "as = { ticket = { role = \"support\", id = \"42\", customer = 7 } }",
        "GET /audit/8?ticket_id=42",
        "deny",
        "allow",
    ),
    ("as = { ticket = { role = \"support\", id = \"42\", customer = 7 } }", "GET /audit/7", "deny", "allow"),
    ("as = { ticket = { role = \"support\", closed = true } }", "GET /audit/7?ticket_id=42", "deny", "allow"),
    ("as = \"role:support\"", "GET /audit/7?ticket_id=42", "deny", "allow"),
    ("as = \"break-glass\"", "GET /audit/7", "allow", "deny"),
    // A hypothetical caller is in a cohort by its groups alone.
    ("as = \"crew\"", "GET /part", "deny", "allow"),
    ("as = \"team\"", "GET /part", "allow", "deny"),
    ("as = { legacy = [\"ops\"], groups = [\"team\"] }", "GET /part", "allow", "deny"),
];

#[test]
fn each_expectation_holds_where_it_should_and_fails_elsewhere() {
    let scene = Scene::new(MAPPING);
    for (terms, request, right, wrong) in TABLE {
        let case = |expected: &str| format!("[callers]\n[[case]]\n{terms}\n\"{request}\" = \"{expected}\"");
        let terms = terms.replace(
            "\"support\"",
            if *request == "GET /old" { "\"legacy:support\"" } else { "\"support\"" },
        );
        let case = |expected: &str| case(expected).replace("as = \"support\"", terms.lines().next().unwrap());
        assert_eq!(scene.failures(&case(right)), Vec::<String>::new(), "{terms} {request}");
        let failed = scene.failures(&case(wrong));
        let got = if *right == "step-up" { "allow" } else { right };
        assert!(
            failed.len() == 1 && failed[0].ends_with(&format!("expected {wrong}, decided {got}")),
            "{failed:?}"
        );
    }
}

/// Every kind of body, and every request of the row, has to have the outcome.
#[test]
fn a_case_is_about_every_request_that_it_names() {
    let scene = Scene::new(MAPPING);
    let failed = scene.failures("[[case]]\nas = \"team\"\n\"POST /deploys\" = \"allow\"");
    assert_eq!(
        failed,
        ["`POST /deploys` as `team` with a body with /target = prod: expected allow, decided deny"]
    );
    for (selector, expected) in [
        ("blueprint:old", "`GET /old` as `anonymous`: expected allow, decided login"),
        ("cluster:V", "`GET /orders` as `anonymous`: expected allow, decided login"),
        ("GET /orders/<int:id>", "`GET /orders/1` as `anonymous`: expected allow, decided login"),
        ("*", "`GET /orders` as `anonymous`: expected allow, decided login"),
        ("GET,HEAD /old", "`GET /old` as `anonymous`: expected allow, decided login"),
    ] {
        let failed = scene.failures(&format!("[[case]]\nas = \"anonymous\"\n\"{selector}\" = \"allow\""));
        assert_eq!(failed, [expected]);
    }
}

#[test]
fn a_list_has_one_expectation_for_each_caller() {
    let scene = Scene::new(MAPPING);
    let table = "[[case]]\nas = [\"crew\", \"team\", \"ops\"]\n\"GET /orders/7\" = [\"allow\", \"allow\", \"deny\"]\n";
    assert_eq!(scene.failures(table), Vec::<String>::new());
    let failed = scene.failures(&table.replace("\"allow\", \"deny\"", "\"deny\", \"allow\""));
    assert_eq!(failed.len(), 2, "{failed:?}");
}

#[test]
fn each_mistake_is_named_at_once() {
    let scene = Scene::new(MAPPING);
    let case = |text: &str| format!("[[case]]\n{text}\n");
    for (text, expected) in [
        (case("as = \"crew\""), "no-request: the case has no request"),
        (case("\"GET /x\" = \"deny\""), "missing-key: the case does not name its caller"),
        (
            case("as = \"support\"\n\"GET /x\" = \"deny\""),
            "unknown-name: `support` is ambiguous: there is role support and legacy role support",
        ),
        (
            case("as = \"crw\"\n\"GET /x\" = \"deny\""),
            "unknown-name: there is no group, role or legacy role `crw`",
        ),
        (case("as = \"group:ops\"\n\"GET /x\" = \"deny\""), "unknown-name: there is no group `ops`"),
        (
            case("as = \"person:anna\"\n\"GET /x\" = \"deny\""),
            "unknown-name: `anna` is in no registry file: people are in the database",
        ),
        (case("as = []\n\"GET /x\" = \"deny\""), "empty-list: `as` is empty"),
        (
            case("as = \"crew\"\n\"GET /x\" = \"denied\""),
            "unknown-word: `denied` is not one of allow, deny, login, step-up, 400, 401, 403, 404, 410",
        ),
        (case("as = \"crew\"\n\"GET /x\" = [\"deny\"]"), "length-mismatch: 1 expectations for 1 callers"),
        (case("as = \"crew\"\n\"FETCH /x\" = \"deny\""), "unknown-name: `FETCH` is not an HTTP method"),
        (
            case("as = \"crew\"\n\"GET /orders/<id>\" = \"deny\""),
            "unknown-name: the mapping has no row `GET /orders/<id>`",
        ),
        (case("as = \"crew\"\n\"GET orders\" = \"deny\""), "unknown-name: `GET orders` is not a request"),
        (case("as = \"crew\"\n\"cluster:X\" = \"deny\""), "unknown-name: the mapping has no cluster `X`"),
        (
            case("as = \"crew\"\nget = \"deny\"\n\"GET /x\" = \"deny\""),
            "unknown-key: `get` is not a key of a case",
        ),
        (case("as = \"crew\"\n\"GET /x\" = \"deny\"\n\"GET /x\" = \"allow\""), "syntax: duplicate key"),
        (
            case("as = \"crew\"\njson = { a = 1.5 }\n\"GET /x\" = \"deny\""),
            "wrong-type: `json` holds a value that JSON does not have, or nests too deeply",
        ),
        (
            case("as = \"crew\"\njson = {}\nform = {}\n\"GET /x\" = \"deny\""),
            "contradiction: `json` and `form` exclude each other: a request has one body",
        ),
        (
            case("as = { ticket = { id = \"4\", role = \"support\" } }\n\"GET /x\" = \"deny\""),
            "missing-key: a grant is for a ticket and a customer: name `id` and `customer`, or neither",
        ),
        (
            "[callers]\ncrew = { legacy = [\"ops\"] }".to_owned(),
            "ambiguous-name: `crew` is a group, role or legacy role already",
        ),
        (
            "[callers]\na = { as = \"b\" }\nb = { as = \"a\" }".to_owned(),
            "unknown-key: `as` is not a key of a caller",
        ),
        ("case = 1".to_owned(), "wrong-type: `case` must be a list of tables"),
        ("[[cases]]".to_owned(), "unknown-key: `cases` is not a key of the top level"),
    ] {
        let mistakes = scene.mistakes(&text);
        assert!(mistakes.iter().any(|found| found == expected), "{text}\n{mistakes:#?}");
    }
    let version = TestFile::read("t", "", &scene.world()).expect_err("no version");
    assert_eq!(version.findings()[0].code, "missing-version");
    let broken = scene.read("[[case]\nas = 1").expect_err("a syntax error");
    assert_eq!(broken.findings().len(), 1, "{broken}");
}

/// A hostile file costs no more than its size, and never the stack.
#[test]
fn hostile_files_are_read_or_refused() {
    let scene = Scene::new(MAPPING);
    let deep = format!(
        "[[case]]\nas = \"crew\"\njson = {{ a = {}1{} }}\n\"GET /x\" = \"deny\"",
        "[".repeat(60),
        "]".repeat(60)
    );
    assert!(scene.read(&deep).is_err());
    let deeper = format!("x = {}", "[".repeat(100_000));
    assert!(scene.read(&deeper).is_err());
    let odd = "[[case]]\nas = \"crew\"\n\"GET /\\u202e\\u0007\" = \"400\"";
    assert_eq!(scene.failures(odd), Vec::<String>::new());
    let wrong: String =
        (0..5_000).map(|n| format!("[[case]]\nas = \"nobody{n}\"\n\"GET /x\" = \"deny\"\n")).collect();
    assert_eq!(scene.read(&wrong).expect_err("unknown names").findings().len(), 5_000);
}

/// Agreement with `explain`, and the time that 10,000 cases take.
#[test]
fn ten_thousand_cases_are_decided_quickly() {
    let scene = Scene::new(MAPPING);
    let cases: String =
        (0..10_000).map(|n| format!("[[case]]\nas = \"crew\"\n\"GET /orders/{n}\" = \"allow\"\n")).collect();
    let file = scene.read(&cases).unwrap();
    let outcomes = run(&file, &scene.world());
    assert_eq!(outcomes.iter().filter(|one| one.holds()).count(), 10_000);
}
