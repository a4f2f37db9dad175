//! Remarks, and above all where there must be none.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use crate::mapping::{Found, Mapping};
use crate::method::Method;
use crate::rbac::LegacyRole;
use crate::rbac::catalog::Catalog;

/// A file with these rows in an enforced cluster, each with its own role unless it says otherwise.
fn mapping(rows: &[&str]) -> Mapping {
    let mut file = "version = 1\nclusters.S1 = \"v2\"\nblueprints.b.cluster = \"S1\"\n".to_owned();
    for (index, row) in rows.iter().enumerate() {
        let (route, kind) = row.split_once(" = ").unwrap_or((row, ""));
        let kind = match kind {
            "" => format!("legacy = [\"ops\"], role = \"app-r{index}-admin\""),
            kind if kind.contains(['=', ':']) => kind.replace(':', "="),
            role => format!("legacy = [\"ops\"], role = \"{role}\""),
        };
        file.push_str(&format!("blueprints.b.routes.\"{route}\" = {{ {kind} }}\n"));
    }
    Mapping::parse("routes.toml", &file).unwrap_or_else(|mistakes| panic!("{mistakes}\n{file}"))
}

/// `id route`, for each remark but those about the tests' own file.
fn remarks(mapping: &Mapping) -> Vec<String> {
    let named = |remark: &crate::diagnostic::Diagnostic| {
        let quoted = &mapping.source()[remark.span.clone()];
        format!("{} {}", remark.code, quoted.trim_matches('"'))
    };
    mapping.review(None).iter().filter(|remark| remark.code != "idle-cluster").map(named).collect()
}

#[test]
fn a_role_for_reading_is_one_that_the_documents_call_so() {
    let table = [
        // "console-audit-user (a read role)": AMBIGUOUS-3.
        ("POST", "console-audit-user", true),
        ("GET", "console-audit-user", false),
        ("HEAD", "console-audit-user", false),
        ("GET,DELETE", "console-audit-user", true),
        // The document states no method.
        ("*", "console-audit-user", false),
        // RBAC V2 design, 3.3: they "read" events.
        ("PUT", "antlers-audit-self", true),
        ("PUT", "raptor-audit-support", true),
        ("PUT", "raptor-audit-admin", true),
        ("PUT", "raptor-audit-compliance", true),
        ("PATCH", "console-flag_promotion_queue-read", true),
        ("PATCH", "console-flag_promotion_queue-write", false),
        ("POST", "console-billing-read", true),
        ("POST", "console-audit-write", false),
        // The documents give these changes.
        ("POST", "console-user", false),
        ("POST", "console-manager", false),
        ("POST", "read", false),
    ];
    for (method, role, is_reported) in table {
        let found = remarks(&mapping(&[&format!("{method} /x = {role}")]));
        let expected: Vec<String> =
            is_reported.then(|| format!("read-role-on-mutation {method} /x")).into_iter().collect();
        assert_eq!(found, expected, "{method} {role}");
    }
}

#[test]
fn a_permission_for_reading_is_no_better_than_a_role() {
    for (permission, is_reported) in [
        ("console:audit:read", true),
        ("raptor:audit:read-admin", true),
        ("console:groups:write", false),
        ("console:audit:reader", false),
    ] {
        let file = format!(
            "version = 1\n[clusters]\nS1 = \"v2\"\n[blueprints.b]\ncluster = \"S1\"\n[blueprints.b.routes]\n\
             \"POST /x\" = {{ legacy = [\"ops\"], permission = \"{permission}\" }}\n"
        );
        assert_eq!(
            remarks(&Mapping::parse("", &file).unwrap()).len(),
            usize::from(is_reported),
            "{permission}"
        );
    }
}

#[test]
fn methods_that_fall_to_a_prefix_with_another_rule_are_reported() {
    let table: [(&[&str], &[&str]); 8] = [
        (&["GET /a/x = app-r-admin", "* /a/* = public : true"], &["prefix-shadow GET /a/x"]),
        // Nothing is left to fall.
        (&["* /a/x", "* /a/* = public : true"], &[]),
        (&["GET /a/x", "POST,PUT,PATCH,DELETE /a/x", "* /a/* = public : true"], &[]),
        // The same rule.
        (&["GET /a/x = same-r-admin", "* /a/* = same-r-admin"], &[]),
        // Another place.
        (&["GET /ab/x", "* /a/* = public : true"], &[]),
        // The prefix has no other method either.
        (&["GET /a/x", "GET /a/* = public : true"], &[]),
        (&["GET /a/<int(min=7):n>", "* /a/* = public : true"], &["prefix-shadow GET /a/<int(min=7):n>"]),
        // Prefixes among themselves: the longer one comes first.
        (&["GET /a/b/*", "* /a/* = public : true"], &["prefix-shadow GET /a/b/*"]),
    ];
    for (rows, expected) in table {
        assert_eq!(remarks(&mapping(rows)), expected, "{rows:?}");
    }
}

#[test]
fn exact_rows_that_come_before_a_prefix_are_reported() {
    let table: [(&[&str], &[&str]); 8] = [
        (&["* /<page>/<id>", "* /a/b/*"], &["prefix-outranked * /a/b/*"]),
        (&["* /<path:rest>", "* /a/b/*"], &["prefix-outranked * /a/b/*"]),
        (&["* /<page>", "* /a/b/*"], &[]),
        // What is written out is meant.
        (&["* /a/b/<id>", "* /a/b/*"], &[]),
        (&["* /<int:n>/b", "* /a/b/*"], &[]),
        (&["* /<page>/c", "* /a/b/*"], &[]),
        (&["* /<page>/<id> = same-r-admin", "* /a/b/* = same-r-admin"], &[]),
        // Both have OPTIONS, which says nothing.
        (&["POST /<page>/<id>", "GET /a/b/*"], &[]),
    ];
    for (rows, expected) in table {
        let found: Vec<String> =
            remarks(&mapping(rows)).into_iter().filter(|one| one.starts_with("prefix-outranked")).collect();
        assert_eq!(found, expected, "{rows:?}");
    }
}

#[test]
fn a_row_that_no_request_reaches_is_reported() {
    let table: [(&[&str], &[&str]); 7] = [
        (&["GET /<any(a,b):k>", "GET /a", "GET /b"], &["unreachable-row GET /<any(a,b):k>"]),
        (&["GET /<any(a,b):k>", "GET /a"], &[]),
        (&["GET,POST /<any(a,b):k>", "GET /a", "GET /b"], &[]),
        (&["* /a/*", "* /a/<path:p>", "* /a"], &[]),
        (&["* /a/*", "* /a/<path:p>", "* /a/"], &["unreachable-row * /a/*"]),
        (&["* /a/*", "GET /a/<path:p>", "* /a/"], &[]),
        (&["* /a/*", "* /a/<path:p>/", "* /a/"], &[]),
    ];
    for (rows, expected) in table {
        let found: Vec<String> =
            remarks(&mapping(rows)).into_iter().filter(|one| one.starts_with("unreachable-row")).collect();
        assert_eq!(found, expected, "{rows:?}");
    }
}

/// Lengths that no path has are not spelled out.
#[test]
fn huge_lengths_cost_nothing() {
    assert!(remarks(&mapping(&["GET /<string(length=4000000000):x>", "* /a/*"])).is_empty());
}

fn patterns() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", "<any(a,b):k>", "<x>", "<int:n>", "<path:p>"]);
    let methods = prop::sample::select(vec!["GET", "POST", "*"]);
    (methods, prop::collection::vec(segment, 0..3), prop::sample::select(vec!["", "/", "/*"])).prop_map(
        |(methods, segments, end)| {
            let path: String = segments
                .iter()
                .enumerate()
                // Names must differ within a pattern.
                .map(|(index, segment)| format!("/{}", segment.replace(">", &format!("{index}>"))))
                .collect();
            let path = if path.is_empty() && end.is_empty() { "/".to_owned() } else { path };
            format!("{methods} {path}{end}")
        },
    )
}

proptest! {
    /// No request that is tried reaches a row that is reported as unreachable.
    #[test]
    fn what_is_called_unreachable_is(routes in prop::collection::btree_set(patterns(), 1..7)) {
        let mut file = "version = 1\n[blueprints.b.routes]\n".to_owned();
        for route in &routes {
            file.push_str(&format!("\"{route}\" = {{ legacy = [\"ops\"], role = \"r\" }}\n"));
        }
        let mapping = Mapping::parse("", &file);
        // Tables that are refused are drawn again, and too many of them fail the test.
        prop_assume!(mapping.is_ok());
        let mapping = mapping.unwrap();
        let unreachable: BTreeSet<usize> = mapping
            .review(None)
            .iter()
            .filter(|remark| remark.code == "unreachable-row")
            .map(|remark| remark.span.start)
            .collect();
        let segments = ["", "/a", "/b", "/c", "/7"];
        for one in segments {
            for two in segments {
                for three in segments {
                    for end in ["", "/"] {
                        for method in Method::ALL {
                            let path = format!("{one}{two}{three}{end}");
                            if let Found::Row(row) | Found::Redirect(row) = mapping.find(&path, method) {
                                prop_assert!(!unreachable.contains(&row.offset), "{method} {path} reaches {}", row.route);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `admin` and `lead` inherit `reader`; groups hold `reader` and `lead`. Nobody holds `auditor`, which grants `see`.
fn catalog() -> Catalog {
    let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect::<BTreeSet<Arc<str>>>();
    Catalog {
        groups: names(&["readers", "leads"]),
        roles: names(&["reader", "lead", "admin", "auditor", "idle"]),
        permissions: names(&["see"]),
        inherits: ["admin", "lead"].map(|role| (role.into(), names(&["reader"]))).into(),
        group_roles: [("readers".into(), names(&["reader"])), ("leads".into(), names(&["lead"]))].into(),
        role_permissions: [("auditor".into(), names(&["see"]))].into(),
    }
}

#[test]
fn what_no_group_holds_is_reported_once_and_where_it_matters() {
    let table: [(&str, &str, &[&str]); 7] = [
        // `admin` would bring `reader`, and nobody has `admin`.
        (
            "legacy",
            "role = \"reader\"",
            &["no group has the role admin, which would give access to `GET /x`"],
        ),
        ("legacy", "role = \"admin\"", &["no group has the role admin, which `GET /x` requires"]),
        ("shadow", "role = \"admin\"", &["no group has the role admin, which `GET /x` requires"]),
        // That is the error `unreachable`.
        ("v2", "role = \"admin\"", &[]),
        // That is the error `missing-role`.
        ("legacy", "role = \"nobody-has-made-it\"", &[]),
        ("v2", "public = true", &[]),
        (
            "legacy",
            "permission = \"see\"",
            &[
                "no group has the permission see, which `GET /x` requires",
                "no group has the role auditor, which would give access to `GET /x`",
            ],
        ),
    ];
    for (mode, gate, expected) in table {
        let legacy = if gate.starts_with("public") { "" } else { "legacy = [\"ops\"], " };
        let file = format!(
            "version = 1\n[clusters]\nS1 = \"{mode}\"\n[blueprints.b]\ncluster = \"S1\"\n[blueprints.b.routes]\n\
             \"GET /x\" = {{ {legacy}{gate} }}\n"
        );
        let mapping = Mapping::parse("", &file).unwrap();
        let found: Vec<String> = mapping
            .review(Some(&catalog()))
            .into_iter()
            .filter(|remark| remark.code == "role-without-group")
            .map(|remark| remark.message)
            .collect();
        assert_eq!(found, expected, "{mode} {gate}");
    }
}

#[test]
fn an_option_that_needs_a_migration_is_reported_as_such() {
    let file = "version = 1\nclusters.S1 = \"v2\"\nblueprints.b.cluster = \"S1\"\n\
         blueprints.b.routes.\"GET /x\" = { legacy = [\"ops\"], undecided = \"Q\", \
         options = { A = \"reader\", B = \"future\" } }\n";
    let suggestion = |catalog: Option<Catalog>| {
        let remarks = Mapping::parse("", file).unwrap().review(catalog.as_ref());
        remarks.into_iter().find(|remark| remark.code == "undecided").unwrap().suggestion.unwrap()
    };
    assert!(suggestion(Some(catalog())).contains("(A: reader; B: future, which needs a migration)"));
    assert!(suggestion(None).contains("(A: reader; B: future)"));
}

/// What nobody holds may be a typing error, unless the file says which roles there are; what is held and not declared
/// may be one in the database.
#[test]
fn legacy_roles_are_compared_with_those_that_somebody_holds() {
    let table: [(&str, &[&str], &[&str]); 7] = [
        ("", &["ops", "viewer"], &[]),
        ("", &["viewer"], &["unheld-legacy-role `ops` None"]),
        ("", &["oops"], &["unheld-legacy-role `ops` Some(\"did you mean `oops`?\")"]),
        // Nobody holds any: nothing is known.
        ("", &[], &[]),
        ("legacy_roles = [\"ops\", \"viewer\"]\n", &["ops"], &[]),
        ("legacy_roles = [\"ops\", \"viewer\"]\n", &["viewer"], &[]),
        (
            "legacy_roles = [\"ops\"]\n",
            &["ops", "Ops", "zebra"],
            &[
                "undeclared-legacy-role `Ops` Some(\"correct the admin's or token's role if `ops` is meant, or declare `Ops` too\")",
                "undeclared-legacy-role `zebra` None",
            ],
        ),
    ];
    for (declared, held, expected) in table {
        let file = format!(
            "version = 1\n{declared}blueprints.b.routes.\"GET /a\" = {{ legacy = [\"ops\"], role = \"r\" }}\n\
             blueprints.b.routes.\"GET /b\" = {{ legacy = [\"ops\"], role = \"r\" }}\n"
        );
        let mapping = Mapping::parse("routes.toml", &file).unwrap();
        let held = held.iter().map(|word| LegacyRole::parse(word).unwrap()).collect();
        let named = |remark: crate::diagnostic::Diagnostic| {
            let role =
                remark.message.split("legacy role ").nth(1).unwrap().split(',').next().unwrap().to_owned();
            let meant = remark.suggestion.filter(|suggestion| suggestion.contains("mean"));
            format!("{} {role} {meant:?}", remark.code)
        };
        let found: Vec<String> = mapping.review_legacy_roles(&held).into_iter().map(named).collect();
        assert_eq!(found, expected, "{declared:?} {held:?}");
    }
}
