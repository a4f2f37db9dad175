//! Coverage and mutants: what they count, and that a mutant is what its sentence states.

use super::*;
use crate::mapping_test::coverage::coverage;
use crate::mapping_test::init::first_file;
use crate::mapping_test::mutants::mutation;

const SMALL: &str = r#"
version = 1
legacy_roles = ["finance", "support"]
clusters.S = "legacy"
[blueprints.b]
cluster = "S"
[blueprints.b.routes]
"GET /orders"   = { legacy = ["finance", "support"], role = "reader" }
"POST /refunds" = { legacy = ["finance"], role = "writer" }
"#;

const CASES: &str = r#"
[[case]]
as = ["finance", "legacy:support", "anonymous"]
"GET /orders" = ["allow", "allow", "login"]
"#;

const ONLY: &str = "[[only]]\n\"POST /refunds\" = \"legacy:finance\"\n";

fn survivors(scene: &Scene, tests: &str) -> Vec<String> {
    let file = scene.read(tests).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let mutation = mutation(&file, &scene.world());
    assert_eq!(
        mutation.mutants,
        mutation.killed + mutation.equivalent + mutation.refused + mutation.survivors.len()
    );
    mutation.survivors.into_iter().map(|one| one.sentence).collect()
}

#[test]
fn a_mutant_that_no_test_kills_is_a_sentence() {
    let scene = Scene::new(SMALL);
    let open = "if `POST /refunds` were open to `support`, no test would fail".to_owned();
    assert!(survivors(&scene, CASES).contains(&open));
    let left = survivors(&scene, &format!("{CASES}{ONLY}"));
    assert!(!left.contains(&open), "{left:?}");
    // V2 decides nothing while the cluster is on its legacy gate and no test asks for it.
    assert!(!left.iter().any(|one| one.contains("required role") || one.contains("held role")), "{left:#?}");
    let v2 = format!("{CASES}{ONLY}[[case]]\nas = \"crew\"\nunder = \"v2\"\n\"POST /refunds\" = \"deny\"\n");
    let left = survivors(&scene, &v2);
    assert!(
        !left.iter().any(|one| one == "if group `crew` held role `writer`, no test would fail"),
        "{left:#?}"
    );
    let of_team = "if group `team` did not hold role `writer`, no test would fail";
    assert!(left.iter().any(|one| one == of_team), "{left:#?}");
    let v2 = format!("{v2}[[case]]\nas = \"team\"\nunder = \"v2\"\n\"POST /refunds\" = \"allow\"\n");
    assert!(!survivors(&scene, &v2).iter().any(|one| one == of_team));
}

/// Everything about the two rows, in both modes: then only mistakes beyond their callers survive.
#[test]
fn thorough_tests_kill_nearly_all() {
    let scene = Scene::new(SMALL);
    let tests = r#"
[[only]]
"GET /orders" = ["legacy:finance", "legacy:support"]
"POST /refunds" = ["legacy:finance"]
[[only]]
under = "v2"
"GET /orders" = ["group:team", "group:crew"]
"POST /refunds" = ["group:team"]
[[always]]
who = ["finance", "legacy:support"]
reaches = "GET /orders"
[[always]]
who = "finance"
reaches = "POST /refunds"
[[always]]
who = ["team", "crew"]
under = "v2"
reaches = "GET /orders"
[[always]]
who = "team"
under = "v2"
reaches = "POST /refunds"
[[case]]
as = ["finance", "anonymous"]
"PUT /refunds" = ["deny", "login"]
"PUT /orders" = ["deny", "login"]
"#;
    assert_eq!(survivors(&scene, tests), Vec::<String>::new());
}

/// Of every kind of row, one mutant and whether a test kills it, worked out by hand.
#[test]
fn each_kind_of_mutant_is_made() {
    let scene = Scene::new(MAPPING);
    let left =
        survivors(&scene, "[[case]]\nas = \"anonymous\"\nunder = \"v2\"\n\"GET /public\" = \"allow\"\n");
    for sentence in [
        "`GET /orders` had no row",
        "`GET /orders` covered every method",
        "`GET /orders` were open to everyone",
        "`GET /orders` were open to every logged-in admin",
        "`GET /orders` accepted no machines",
        "`GET /orders/<int:id>` accepted machines",
        "`GET /old` were closed to `ops`",
        "`GET /open` were open to `superadmin`",
        "`POST /orders/<int:id>/refund` required role reader instead of role writer",
        "`POST /deploys` did not require role keeper for bodies with /target = prod",
        "`GET /both` did not require permission p:write",
        "`GET /audit/<id>` required no ticket",
        "cluster `V` were in `legacy`",
        "requests without a row were forwarded",
        "group `crew` held role `writer`",
        "group `crew` did not hold role `reader`",
        "role `writer` did not inherit role `reader`",
        "role `reader` inherited role `writer`",
    ] {
        let sentence = format!("if {sentence}, no test would fail");
        assert!(left.contains(&sentence), "{sentence}\n{left:#?}");
    }
    assert!(!left.iter().any(|one| one.contains("`GET /public` had no row")), "{left:#?}");
}

#[test]
fn coverage_counts_cells_that_a_caller_can_reach() {
    let scene = Scene::new(SMALL);
    let file = scene.read(CASES).unwrap();
    let found = coverage(&file, &scene.world());
    let row = &found.rows[0];
    // Anonymous and programs log in, machines are not accepted; admins pass or not.
    assert_eq!((row.reached, row.possible), (2, 5), "{row:?}");
    let missing: Vec<String> =
        row.missing.iter().map(|cell| format!("{} {}", cell.caller.word(), cell.answer.word())).collect();
    assert_eq!(missing, ["program login", "admin deny", "machine login"]);
    assert_eq!(found.rows[1].reached, 0);
    assert_eq!(found.rows.last().and_then(|row| row.route.clone()), None, "requests without a row");
    assert!(found.percent() < 50);
}

#[test]
fn the_first_file_holds() {
    for mapping in [SMALL, MAPPING] {
        let scene = Scene::new(mapping);
        let text =
            first_file("routes.test.toml", None, &scene.world()).unwrap_or_else(|found| panic!("{found}"));
        let file = TestFile::read("routes.test.toml", &text, &scene.world()).unwrap();
        let failed: Vec<String> = run(&file, &scene.world()).iter().filter_map(Outcome::sentence).collect();
        assert_eq!(failed, Vec::<String>::new(), "{text}");
        assert!(file.cases.len() > 4, "{text}");
    }
}
