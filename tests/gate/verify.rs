//! `console-gate verify`: the documents' tests for each route, by a command, against the real gate and the real Console.

use policy::rbac::LegacyRole;
use serde_json::Value;

use crate::support::http::HOST;
use crate::support::recorder::Recorder;
use crate::support::{Ask, Database, Gate, Setup, World};

/// The key that the gate and the command share.
const KEYS: &str = "probe:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

fn with_key(setup: Setup) -> Setup {
    Setup { variables: Some(vec![("CONSOLE_GATE_PROBE_KEYS", KEYS.to_owned())]), ..setup }
}

/// What the command printed as JSON, and its exit code.
fn verify(gate: &Gate, more: &[&str]) -> (i32, Value) {
    let socket = format!("unix:{}", gate.socket().display());
    let arguments = [&["verify", "--gate", &socket, "--host", HOST, "--format", "json"], more].concat();
    let (code, output) = gate.attempt(&arguments);
    (code, serde_json::from_str(&output).unwrap_or(Value::Null))
}

fn failed(report: &Value) -> u64 {
    report["failed"].as_u64().expect("a count")
}

/// The documents' own table in front of Console, every cluster on V2; nothing of Console's runs, and nobody stays.
async fn the_documents_table_holds(database: Database) {
    let world = World::new(database).await;
    world.admin("anna", &["raxx-support-team"], &[]).await;
    let epoch = world.store.control().await.expect("the control row").epoch;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let setup = Setup { upstream: Some(upstream.socket()), ..Setup::V2 };
    let gate = world.gate(&with_key(setup)).await;
    let report_file = gate.folder().join("report.json");
    let (code, report) = verify(&gate, &["--report", report_file.to_str().expect("UTF-8")]);
    let wrong: Vec<&Value> = report["outcomes"]
        .as_array()
        .expect("outcomes")
        .iter()
        .filter(|one| one["expected"] == "allow" && one["passed"] == false)
        .collect();
    assert_eq!((code, failed(&report)), (0, 0), "{wrong:#?}");
    assert_eq!(report["rows"], 106);
    assert!(report["cases"].as_u64().is_some_and(|cases| cases > 500), "{}", report["cases"]);
    let denials = report["outcomes"].as_array().expect("outcomes").iter().filter(|one| one["status"] == 403);
    assert_eq!(denials.count(), world.denials().await, "each denial has its row");
    assert_eq!(upstream.requests().len(), 0, "nothing of Console's ran");
    let people: Vec<String> =
        world.store.admins().await.expect("the admins").into_iter().map(|admin| admin.id).collect();
    assert_eq!(people, ["anna"]);
    let groups = world.store.catalog().await.expect("the registry").groups;
    assert!(!groups.iter().any(|group| group.starts_with("gate-verify")), "{groups:?}");
    let after = world.store.control().await.expect("the control row").epoch;
    assert_eq!(after, epoch, "no table that decides was written");
    let written: Value =
        serde_json::from_str(&std::fs::read_to_string(report_file).expect("the report")).expect("JSON");
    assert_eq!(written, report);
    // It says nothing of how the routes are used.
    assert_eq!(world.store.decisions(chrono::DateTime::UNIX_EPOCH).await.expect("the log"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documents_table_holds_on_sqlite() {
    the_documents_table_holds(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documents_table_holds_on_postgres() {
    the_documents_table_holds(Database::Postgres).await;
}

/// Under every rollout: the gate that is in force is the one that is tested.
#[tokio::test(flavor = "multi_thread")]
async fn it_holds_under_legacy_shadow_and_with_the_switch_off() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    for (clusters, flag) in [("legacy", Some("1")), ("shadow", Some("1")), ("v2", None)] {
        let setup = Setup { clusters, flag, upstream: Some(upstream.socket()), ..Setup::V2 };
        let gate = world.gate(&with_key(setup)).await;
        let (code, report) = verify(&gate, &["--cluster", "S3", "--cluster", "S4"]);
        assert_eq!((code, failed(&report)), (0, 0), "{clusters} {flag:?}");
        assert_eq!(report["running"]["rbac_v2"], flag.is_some());
    }
    assert_eq!(world.store.drift().await.expect("drift"), []);
}

const ODD: &str = "version = 1\nunmapped = \"forward\"\n[clusters]\nV = \"v2\"\nG = { mode = \"v2\", groups = [\"ops-admins\"], percent = 40 }\n\
    [blueprints.v]\ncluster = \"V\"\n[blueprints.v.routes]\n\
    \"POST /deploys\" = { legacy = [\"ops\"], role = \"console-user\", when = [{ json = \"/target/name\", equals = \"prod\", role = \"console-manager\" }] }\n\
    \"POST /form\" = { legacy = [\"ops\"], role = \"console-user\", when = [{ form = \"target\", equals = \"a b\", role = \"console-manager\" }] }\n\
    \"PUT,DELETE /two\" = { role = \"console-user\", when = [{ json = \"/a\", equals = \"prod\", role = \"console-manager\" }, { json = \"/b\", equals = \"prod\", role = \"console-manager\" }] }\n\
    \"POST /hook\" = { machine = true }\n\
    \"GET /permission\" = { permission = \"raptor:audit:read-support\" }\n\
    \"GET /api\" = { legacy = [\"ops\"], role = \"console-user\", unauthenticated = \"401\" }\n\
    \"GET /any/<int(min=10):n>/<any(b, \\\"c d\\\"):word>/<path:rest>\" = { legacy = [\"ops\"], role = \"console-user\" }\n\
    [blueprints.g]\ncluster = \"G\"\nroutes.\"GET /cohort\" = { legacy = [\"ops\"], role = \"console-user\" }\n";

#[tokio::test(flavor = "multi_thread")]
async fn bodies_permissions_converters_and_cohorts_are_asked_too() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let setup = Setup { mapping: Some(ODD), upstream: Some(upstream.socket()), ..Setup::V2 };
    let gate = world.gate(&with_key(setup)).await;
    let (code, report) = verify(&gate, &[]);
    assert_eq!((code, failed(&report)), (0, 0), "{report:#}");
    let outcomes = report["outcomes"].as_array().expect("outcomes");
    let count = |holds: &dyn Fn(&Value) -> bool| outcomes.iter().filter(|one| holds(one)).count();
    let has_body = |one: &Value, text: &str| one["body"].as_str().is_some_and(|body| body.contains(text));
    let of = |one: &Value, route: &str| one["route"] == route;
    let prod = count(&|one| of(one, "POST /deploys") && has_body(one, "prod"));
    assert_eq!(prod, 2, "with both roles, and with the row's own alone");
    // Each of two methods, each of two rules, both fields in each body.
    let two = count(&|one| of(one, "PUT,DELETE /two") && has_body(one, "prod"));
    assert_eq!(two, 2 * 2 * 2);
    assert!(
        outcomes.iter().all(|one| !of(one, "PUT,DELETE /two") || !has_body(one, "/a") || has_body(one, "/b"))
    );
    // An admin with every role and no body, by each method and by OPTIONS.
    let unreadable = |one: &Value| {
        one["who"] == "an admin with every role, without a body"
            && one["expected"] == "deny"
            && one["status"] == 403
    };
    assert_eq!(count(&unreadable), 2 + 2 + 3);
    // Forwarded, for strangers too: methods of `/hook` that no row declares, and a path without a row.
    let stranger = |one: &Value| one["route"].is_null() && one["who"] == "nobody" && one["status"] == 200;
    assert!(count(&stranger) > 10, "{report:#}");
}

/// A gate that lets in whom it must not is found: here by a stored mapping that asks for another role than the one that
/// runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_answer_is_a_finding() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = world.gate(&with_key(Setup { upstream: Some(upstream.socket()), ..Setup::V2 })).await;
    world
        .execute(
            "DROP TRIGGER gate_mappings_refuse_update;
             UPDATE gate_mappings SET content = replace(content,
                 '\"* /admin/console-versions\" = { legacy = [\"superadmin\"], role = \"console-manager\" }',
                 '\"* /admin/console-versions\" = { legacy = [\"superadmin\"], role = \"console-secrets-admin\" }')",
        )
        .await;
    let (code, report) = verify(&gate, &["--cluster", "S1"]);
    assert_eq!(code, 1);
    assert!(failed(&report) > 0);
    let socket = format!("unix:{}", gate.socket().display());
    let (code, output) = gate.attempt(&["verify", "--gate", &socket, "--host", HOST, "--cluster", "S1"]);
    assert_eq!(code, 1);
    assert!(
        output.contains("  an admin with every other role: expected 403 with one audit row\n"),
        "{output}"
    );
    assert!(output.contains("  got 200 from the view, 0 audit row(s)"), "{output}");
}

/// What is meant as a probe never reaches Console, whatever the gate thinks of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_is_none_is_refused_by_every_gate() {
    let world = World::new(Database::Sqlite).await;
    world.admin("olaf", &[], &[LegacyRole::literal("ops")]).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let setup = || Setup { clusters: "legacy", upstream: Some(upstream.socket()), ..Setup::V2 };
    let (with, without) = (world.gate(&with_key(setup())).await, world.gate(&setup()).await);
    let ask = || Ask::get("/console/audit").cookie(&world.cookie("olaf"));
    for gate in [&with, &without] {
        assert_eq!(gate.send(&ask()).await.status, 200);
        for value in
            ["", "1", "1700000000.00", &format!("{}.{}", chrono::Utc::now().timestamp(), "0".repeat(64))]
        {
            assert_eq!(gate.send(&ask().header("x-gate-probe", value)).await.status, 400, "{value}");
        }
    }
    assert_eq!(upstream.requests().len(), 2);
    let socket = format!("unix:{}", without.socket().display());
    let (code, output) = without.attempt(&["verify", "--gate", &socket, "--host", HOST]);
    assert_eq!((code, output.as_str()), (2, ""));
    assert_eq!(world.store.admins().await.expect("the admins").len(), 1, "nobody was made");
}

const BEHIND: &str = "version = 1\n\
    [clusters]\nV = \"v2\"\nL = \"legacy\"\n\
    [blueprints.v]\ncluster = \"V\"\n[blueprints.v.routes]\n\
    \"GET /fine\" = { legacy = [\"superadmin\"], role = \"console-user\" }\n\
    \"GET /forbidden\" = { legacy = [\"superadmin\"], role = \"console-user\" }\n\
    \"GET /forbidden/own\" = { legacy = [\"superadmin\"], role = \"console-user\" }\n\
    \"GET /sent-to-login\" = { legacy = [\"superadmin\"], role = \"console-user\" }\n\
    \"GET /sent-elsewhere\" = { legacy = [\"superadmin\"], role = \"console-user\" }\n\
    \"POST /forbidden/post\" = { legacy = [\"superadmin\"], role = \"console-user\" }\n\
    \"GET /forbidden/secrets\" = { legacy = [\"superadmin\"], role = \"console-secrets-admin\" }\n\
    [blueprints.l]\ncluster = \"L\"\n[blueprints.l.routes]\n\
    \"GET /unauthorized\" = { legacy = [\"ops\"], role = \"console-user\" }\n\
    [blueprints.p.routes]\n\"GET /forbidden/public\" = { public = true }\n\"GET /forbidden/session\" = { session = true }\n";

/// Real requests, as somebody who is logged in, and only those that change nothing and that the gate lets in.
#[tokio::test(flavor = "multi_thread")]
async fn through_the_gate_console_must_not_refuse_what_it_lets_in() {
    let world = World::new(Database::Sqlite).await;
    world.admin("olaf", &["raxx-support-team"], &[LegacyRole::literal("ops")]).await;
    world.admin("anna", &["raxx-support-team"], &[]).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let setup = Setup {
        mapping: Some(BEHIND),
        upstream: Some(upstream.socket()),
        upstream_settings: "own_refusals = [\"GET /forbidden/own\"]\n",
        ..Setup::V2
    };
    let gate = world.gate(&with_key(setup)).await;
    assert_eq!(verify(&gate, &[]).0, 0);
    assert_eq!(upstream.requests().len(), 0, "nothing is sent that was not asked for");

    let through = format!("unix:{}", gate.socket().display());
    let cookies = ["olaf", "anna"].map(|name| format!("session={}", world.cookie(name)));
    let verified = |cookies: &[String], more: &[&str]| {
        let cookies = cookies.iter().flat_map(|cookie| ["--cookie", cookie]);
        let arguments: Vec<&str> =
            ["--through", &through].into_iter().chain(cookies).chain(more.iter().copied()).collect();
        verify(&gate, &arguments)
    };
    let (code, report) = verified(&cookies, &[]);
    assert_eq!((code, failed(&report)), (1, 0), "{report:#}");
    let mut paths: Vec<String> = upstream
        .requests()
        .iter()
        .map(|one| one.head.split(" HTTP").next().unwrap_or_default().to_owned())
        .collect();
    paths.sort();
    let once =
        ["GET /fine", "GET /forbidden", "GET /forbidden/own", "GET /sent-elsewhere", "GET /sent-to-login"];
    let mut expected: Vec<&str> = once.iter().chain(&once).copied().chain(["GET /unauthorized"]).collect();
    expected.sort_unstable();
    assert_eq!(paths, expected);
    assert!(upstream.requests().iter().all(|one| one.header("x-gate-probe").is_none()));
    let findings: Vec<&str> =
        report["through_findings"].as_array().expect("findings").iter().filter_map(Value::as_str).collect();
    assert_eq!(
        findings,
        [
            // A redirect elsewhere is an answer of the view.
            "Console answered 403 or with a redirect to its login page to 4 requests that V2 allowed: its own decorators \
             still decide (GET /forbidden 2, GET /sent-to-login 2); wrap them with the console-gate package, or, where the \
             view itself refuses, name the route in `own_refusals` of [upstream]",
            "Console refused 1 request(s) that the legacy gate allowed: its decorators differ from `legacy` of \
             GET /unauthorized",
        ]
    );
    assert_eq!(report["through"]["not_tried"], serde_json::json!(["GET /forbidden/secrets"]));
    let printed = report.to_string();
    assert!(
        cookies.iter().all(|cookie| !printed.contains(&cookie["session=".len()..])),
        "a cookie is printed"
    );

    // A forged cookie opens nothing; a cluster that Console lets through is clean.
    let forged = ["session=eyJhZG1pbl9pZCI6Im9sYWYifQ.aaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbb".to_owned()];
    let before = upstream.requests().len();
    let (code, report) = verified(&forged, &[]);
    assert_eq!((code, report["through"]["passages"].as_array().map(Vec::len)), (0, Some(0)), "{report:#}");
    assert_eq!(upstream.requests().len(), before);
    assert_eq!(verified(&cookies, &["--cluster", "L"]).0, 1);
    // Without a person there is nobody to ask as.
    assert_eq!(gate.attempt(&["verify", "--gate", &through, "--through", &through]).0, 2);
    let bad = ["verify", "--gate", &through, "--through", &through, "--cookie", "session=a;b=c"];
    assert_eq!(gate.attempt(&bad).0, 2);
}
