//! The cases for a running gate: each has to agree with the decision.

use policy::decision::body::{self, BodyFacts, ContentHeaders};
use policy::decision::{Caller, Question, Rejection, decide};
use policy::identity::Principal;
use policy::ids::{AdminId, Epoch};
use policy::rbac::{Access, Standing};

use super::*;

const FILE: &str = r#"
version = 1
[clusters]
V = "v2"
S = "shadow"
[blueprints.v]
cluster = "V"
[blueprints.v.routes]
"GET /plain" = { legacy = ["ops"], role = "r" }
"POST,PUT /json" = { legacy = ["ops"], role = "r", when = [{ json = "/t/a~1b", equals = "gate-verify", role = "p" }, { json = "/t/0", equals = "x", permission = "p:q:r" }, { json = "/t/0", equals = "x", role = "p" }] }
"DELETE /form" = { role = "r", when = [{ form = "a b", equals = "x&y", role = "p" }, { form = "c", equals = "1", role = "nobody" }] }
"GET /machine" = { machine = true }
"GET /session" = { session = true, unauthenticated = "401" }
"GET /several" = { permission = ["p:q:r", "p:s:t"], forbidden = "302" }
"GET /unknown" = { session = true, unauthenticated = "403" }
"* /gone" = { gone = true }
[blueprints.s]
cluster = "S"
routes."POST /shadow" = { legacy = ["ops"], role = "r", when = [{ json = "/t", equals = "x", role = "p" }] }
"#;

fn catalog() -> Catalog {
    Catalog::from_seed(
        "[[group]]\nname = \"g\"\n[[role]]\nname = \"r\"\ngroups = [\"g\"]\n[[role]]\nname = \"p\"\n\
         [[role]]\nname = \"q\"\npermissions = [\"p:q:r\"]\n\
         [[role]]\nname = \"s\"\npermissions = [\"p:s:t\"]\n",
    )
    .unwrap()
}

const ON: Control = Control { epoch: Epoch(1), rbac_v2: true, may_enforce: true };

fn decided(case: &Case<'_>, mapping: &Mapping, catalog: &Catalog) -> Expect {
    let target = Target::of(mapping, &case.path, case.method);
    assert_eq!(target.row().map(|row| &row.route), case.row.map(|row| &row.route), "{case:?}");
    let body = match (&case.body, target.body_rules()) {
        (_, []) => BodyFacts::NotRead,
        (Some((content_type, text)), rules) => {
            let headers = ContentHeaders { content_type: Some(content_type), content_encoding: None };
            body::read(rules, headers, text.as_bytes())
        }
        (None, rules) => body::read(rules, ContentHeaders::default(), b""),
    };
    let principal = Principal::Admin { id: AdminId::new("a"), session: None };
    let access = match &case.who {
        Who::Admin(Holding { legacy, roles }) => {
            let roles = catalog.with_inherited(roles.iter().cloned());
            let permissions = catalog.permissions_of(&roles);
            Access {
                standing: Standing::Active,
                legacy: legacy.clone(),
                roles,
                permissions,
                ..Access::nothing(Epoch(1))
            }
        }
        Who::Nobody | Who::Bearer => Access::nothing(Epoch(1)),
    };
    let caller = match case.who {
        Who::Nobody => Caller::Nobody,
        Who::Bearer => Caller::Presented,
        Who::Admin(_) => Caller::Known(&principal, &access),
    };
    match decide(&Question { upgrade: false, target, caller, control: Some(&ON), body: &body }).outcome {
        Ok(_) => Expect::Allow,
        Err(Rejection::Denied(denial)) if denial.answer == Forbidden::Redirect => Expect::DenyToLogin,
        Err(Rejection::Denied(_)) => Expect::Deny,
        Err(Rejection::Unknown) => Expect::Unknown,
        Err(Rejection::Login) => Expect::Login,
        Err(Rejection::Unauthorized) => Expect::Unauthorized,
        Err(Rejection::Gone) => Expect::Gone,
        Err(Rejection::Quiet) => Expect::Quiet,
        Err(Rejection::Upgrade | Rejection::StepUp(_)) => panic!("neither was asked for"),
    }
}

/// The cases of one row: the body, the caller, and the outcome that it must have.
fn cases_of(plan: &Plan<'_>, method: Method, path: &str) -> Vec<(String, &'static str, Expect)> {
    let of_row = plan.cases.iter().filter(|case| case.method == method && case.path == path);
    of_row
        .map(|case| {
            let body = case.body.as_ref().map_or_else(String::new, |(_, text)| text.clone());
            (body, case.said, case.expect)
        })
        .collect()
}

#[test]
fn what_is_expected_is_what_is_decided() {
    for unmapped in ["deny", "forward"] {
        let mapping = Mapping::parse("t", &format!("unmapped = \"{unmapped}\"\n{FILE}")).unwrap();
        let catalog = catalog();
        let plan = plan(&mapping, &catalog, &ON, |_| true, true);
        for case in &plan.cases {
            assert_eq!(decided(case, &mapping, &catalog), case.expect, "{case:?}");
        }
        assert_eq!(plan.out_of_reach.len(), 0);
    }
}

/// With every field that the row reads, or it would not be read; and with none.
#[test]
fn each_kind_of_body_is_asked() {
    let mapping = Mapping::parse("t", FILE).unwrap();
    let catalog = catalog();
    let plan = plan(&mapping, &catalog, &ON, |_| true, false);
    let neutral = r#"{"t":{"0":"gate-verify-","a/b":"gate-verify-"}}"#;
    let expected = [
        ("", "nobody", Expect::Login),
        (neutral, "an admin with the role", Expect::Allow),
        (neutral, "an admin with every other role", Expect::Deny),
        (
            r#"{"t":{"0":"gate-verify-","a/b":"gate-verify"}}"#,
            "an admin with all roles that the body requires",
            Expect::Allow,
        ),
        (
            r#"{"t":{"0":"gate-verify-","a/b":"gate-verify"}}"#,
            "an admin with only the row's role, not those that the body requires",
            Expect::Deny,
        ),
        (
            r#"{"t":{"0":"x","a/b":"gate-verify-"}}"#,
            "an admin with all roles that the body requires",
            Expect::Allow,
        ),
        (
            r#"{"t":{"0":"x","a/b":"gate-verify-"}}"#,
            "an admin with only the row's role, not those that the body requires",
            Expect::Deny,
        ),
        ("", "an admin with every role, without a body", Expect::Deny),
    ];
    let expected: Vec<_> = expected.into_iter().map(|(body, who, end)| (body.to_owned(), who, end)).collect();
    assert_eq!(cases_of(&plan, Method::Post, "/json"), expected);
    assert_eq!(cases_of(&plan, Method::Put, "/json"), expected);
    // OPTIONS has no body, so that no caller passes.
    assert_eq!(cases_of(&plan, Method::Options, "/json"), [expected[0].clone(), expected[7].clone()]);
    let form = cases_of(&plan, Method::Delete, "/form");
    assert!(form.iter().any(|(body, ..)| body == "a%20b=x%26y&c=gate%2Dverify"), "{form:?}");
    // A probe cannot be given what no role brings; an admin who has only the row's role is still a case.
    let with_1: Vec<_> = form.iter().filter(|(body, ..)| body.contains("c=1")).collect();
    assert_eq!(with_1.iter().map(|(.., end)| *end).collect::<Vec<_>>(), [Expect::Deny]);
    // In shadow no body is looked at.
    let shadow = cases_of(&plan, Method::Post, "/shadow");
    assert!(shadow.iter().all(|(body, ..)| body.is_empty()), "{shadow:?}");
}

/// A method that a path does not have is asked for every path; a path without a row where the whole mapping is verified.
#[test]
fn what_no_row_covers_is_asked() {
    let mapping = Mapping::parse("t", FILE).unwrap();
    let catalog = catalog();
    let uncovered = |with_uncovered| -> Vec<String> {
        let plan = plan(&mapping, &catalog, &ON, |_| true, with_uncovered);
        let cases = plan.cases.iter().filter(|case| case.row.is_none());
        cases.map(|case| format!("{} {} {:?}", case.method, case.path, case.expect)).collect()
    };
    let some = uncovered(false);
    for expected in ["POST /plain Login", "POST /plain Deny", "GET /json Login", "GET /form Deny"] {
        assert!(some.iter().any(|one| one == expected), "{expected}: {some:?}");
    }
    assert!(!some.iter().any(|one| one.contains(" / ")), "{some:?}");
    let all = uncovered(true);
    for method in Method::ALL {
        assert!(all.contains(&format!("{method} / Deny")), "{method}: {all:?}");
    }
}

/// A row states how it refuses and may ask for several permissions; the cases expect exactly that.
#[test]
fn how_a_row_refuses_is_expected() {
    let (mapping, catalog) = (Mapping::parse("t", FILE).unwrap(), catalog());
    let cases = |path: &str| -> Vec<(&str, Expect)> {
        let plan = plan(&mapping, &catalog, &ON, |row| row.pattern.as_str() == path, false);
        plan.cases.iter().filter(|case| case.row.is_some()).map(|case| (case.said, case.expect)).collect()
    };
    assert_eq!(cases("/unknown"), [("nobody", Expect::Unknown), ("an admin without a role", Expect::Allow)]);
    assert_eq!(
        cases("/several"),
        [
            ("nobody", Expect::Login),
            ("an admin with all that the row requires", Expect::Allow),
            ("an admin with only the first of what the row requires", Expect::DenyToLogin),
            ("an admin with every other role", Expect::DenyToLogin),
        ]
    );
}
