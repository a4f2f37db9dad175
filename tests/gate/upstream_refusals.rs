//! Console refuses what the gate let in: its own decorators still decide, and the operator finds out.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use policy::rbac::LegacyRole;
use serde_json::{Value, json};

use crate::support::recorder::Recorder;
use crate::support::{Ask, Client, Database, Gate, Setup, World};

const MAPPING: &str = "version = 1\n\
    [clusters]\nV = \"v2\"\nL = \"legacy\"\nS = \"shadow\"\n\
    [soak]\nshadow_days = 0\nquiet_hours = 0\nrequests = 0\nadmins = 0\n\
    [blueprints.v]\ncluster = \"V\"\n[blueprints.v.routes]\n\
    \"GET /forbidden\" = { legacy = [\"superadmin\"], role = \"console-user\" }\n\
    \"GET /forbidden/too\" = { legacy = [\"superadmin\"], role = \"console-user\" }\n\
    \"GET /forbidden/own\" = { legacy = [\"superadmin\"], role = \"console-user\" }\n\
    \"GET /fine\" = { legacy = [\"superadmin\"], role = \"console-user\" }\n\
    [blueprints.l]\ncluster = \"L\"\n[blueprints.l.routes]\n\
    \"GET /forbidden/legacy\" = { legacy = [\"ops\"], role = \"console-user\" }\n\
    [blueprints.s]\ncluster = \"S\"\n[blueprints.s.routes]\n\
    \"GET /unauthorized/shadow\" = { legacy = [\"ops\"], role = \"console-user\" }\n\
    [blueprints.p.routes]\n\"GET /forbidden/public\" = { public = true }\n";

async fn gate(world: &World, upstream: &Recorder) -> Gate {
    let setup = Setup {
        mapping: Some(MAPPING),
        upstream: Some(upstream.socket()),
        upstream_settings: "own_refusals = [\"GET /forbidden/own\"]\n",
        ..Setup::V2
    };
    world.gate(&setup).await
}

fn states(gate: &Gate) -> (i32, Value) {
    let (code, text) = gate.attempt(&["soak", "--format", "json"]);
    (code, serde_json::from_str(&text).expect("JSON"))
}

/// The totals are written behind the answers: waits for those of a cluster.
async fn until_refused(gate: &Gate, cluster: usize, expected: &Value) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let (_, states) = states(gate);
        let mut refusals = states[cluster]["refusals"].clone();
        for one in refusals.as_array_mut().expect("a list") {
            one.as_object_mut().expect("an object").remove("last_seen_at_utc");
        }
        if refusals == *expected {
            return states;
        }
        assert!(Instant::now() < deadline, "{states:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn refusals(route: &str, gate: &str, status: u16, count: u64) -> Value {
    json!({ "route": route, "gate": gate, "status": status, "count": count })
}

async fn consoles_refusals_are_counted_and_hold_a_cluster(database: Database) {
    let world = World::new(database).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    // Both gates let olaf in, so that only Console refuses.
    world.admin("olaf", &["raxx-support-team"], &[LegacyRole::literal("ops")]).await;
    let mut gate = gate(&world, &upstream).await;
    let (code, _) = states(&gate);
    assert_eq!(code, 0);
    let ask = async |path: &str, status: u16| {
        assert_eq!(gate.send(&Ask::get(path).cookie(&world.cookie("olaf"))).await.status, status, "{path}");
    };
    for _ in 0..3 {
        ask("/forbidden", 403).await;
    }
    ask("/forbidden/too", 403).await;
    ask("/forbidden/own", 403).await;
    ask("/forbidden/legacy", 403).await;
    ask("/unauthorized/shadow", 401).await;
    ask("/forbidden/public", 403).await;
    ask("/fine", 200).await;

    // In the order of the names: L, S, V.
    let seen =
        json!([refusals("GET /forbidden", "v2", 403, 3), refusals("GET /forbidden/too", "v2", 403, 1)]);
    let states = until_refused(&gate, 2, &seen).await;
    assert_eq!(states[2]["verdict"], "refused");
    let phrase = states[2]["missing"][0].as_str().expect("a phrase");
    assert!(
        phrase.starts_with(
            "Console answered 403 to 4 requests that V2 allowed: its own decorators still decide \
             (GET /forbidden 3, GET /forbidden/too 1); wrap them with the console-gate package"
        ) && phrase.contains("name the route in `own_refusals` of [upstream]; not ready until "),
        "{phrase}"
    );
    until_refused(&gate, 0, &json!([refusals("GET /forbidden/legacy", "legacy", 403, 1)])).await;
    let shadow = json!([refusals("GET /unauthorized/shadow", "legacy", 401, 1)]);
    let states = until_refused(&gate, 1, &shadow).await;
    assert_eq!(states[1]["missing"], json!([]), "no word about V2");
    assert_eq!(gate.attempt(&["soak", "--cluster", "V"]).0, 1);

    let answer = Client::to(&gate.admin_socket()).send(&Ask::get("/metrics")).await;
    let metrics = String::from_utf8(answer.body.to_vec()).expect("metrics are text");
    for line in [
        "gate_upstream_refusals_total{route=\"GET /forbidden\",status=\"403\",gate=\"v2\"} 3",
        "gate_upstream_refusals_total{route=\"GET /forbidden/own\",status=\"403\",gate=\"v2\"} 1",
        "gate_upstream_refusals_total{route=\"GET /forbidden/legacy\",status=\"403\",gate=\"legacy\"} 1",
        "gate_upstream_refusals_total{route=\"GET /unauthorized/shadow\",status=\"401\",gate=\"legacy\"} 1",
        "gate_upstream_refusals_total{route=\"GET /forbidden/public\",status=\"403\",gate=\"public\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let message = "Console refused a request that V2 allowed: its own decorators still decide; wrap them with the \
                   console-gate package, or, where the view itself refuses, name the route in `own_refusals`";
    assert_eq!(gate.log().matches(message).count(), 2, "one line for each route\n{}", gate.log());

    // What a gate saw last is written when it stops, and the next process adds to it.
    ask("/forbidden/too", 403).await;
    gate.stop().await;
    gate.restart().await;
    assert_eq!(gate.send(&Ask::get("/forbidden/too").cookie(&world.cookie("olaf"))).await.status, 403);
    let seen =
        json!([refusals("GET /forbidden", "v2", 403, 3), refusals("GET /forbidden/too", "v2", 403, 3)]);
    until_refused(&gate, 2, &seen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consoles_refusals_are_counted_and_hold_a_cluster_on_sqlite() {
    consoles_refusals_are_counted_and_hold_a_cluster(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consoles_refusals_are_counted_and_hold_a_cluster_on_postgres() {
    consoles_refusals_are_counted_and_hold_a_cluster(Database::Postgres).await;
}

const REDIRECTS: &str = "version = 1\n[clusters]\nV = \"v2\"\n\
    [soak]\nshadow_days = 0\nquiet_hours = 0\nrequests = 0\nadmins = 0\n\
    [blueprints.v]\ncluster = \"V\"\n[blueprints.v.routes]\n\
    \"GET /sent-to-login\" = { legacy = [\"superadmin\"], role = \"console-user\" }\n\
    \"GET /sent-elsewhere\" = { legacy = [\"superadmin\"], role = \"console-user\" }\n\
    [blueprints.p.routes]\n\"GET /sent-to-login/public\" = { public = true }\n";

/// Console's own `login_required` refuses by a redirect.
async fn a_redirect_to_the_login_page_is_a_refusal(database: Database) {
    let world = World::new(database).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    world.admin("olaf", &["raxx-support-team"], &[]).await;
    let setup = Setup { mapping: Some(REDIRECTS), upstream: Some(upstream.socket()), ..Setup::V2 };
    let gate = world.gate(&setup).await;
    let ask = async |path: &str, status: u16| {
        assert_eq!(gate.send(&Ask::get(path).cookie(&world.cookie("olaf"))).await.status, status, "{path}");
    };
    ask("/sent-to-login", 303).await;
    ask("/sent-elsewhere", 302).await;
    ask("/sent-to-login/public", 303).await;
    let states = until_refused(&gate, 0, &json!([refusals("GET /sent-to-login", "v2", 302, 1)])).await;
    assert_eq!(states[0]["verdict"], "refused");
    let phrase = states[0]["missing"][0].as_str().expect("a phrase");
    assert!(
        phrase.starts_with(
            "Console answered with a redirect to its login page to 1 request that V2 allowed: its own decorators still \
             decide (GET /sent-to-login 1)"
        ),
        "{phrase}"
    );
    let counted =
        |route: &str| format!("gate_upstream_refusals_total{{route=\"{route}\",status=\"302\",gate=\"v2\"}}");
    assert_eq!(gate.metric(&counted("GET /sent-to-login")).await, Some(1.0));
    assert_eq!(gate.metric(&counted("GET /sent-elsewhere")).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_the_login_page_is_a_refusal_on_sqlite() {
    a_redirect_to_the_login_page_is_a_refusal(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_the_login_page_is_a_refusal_on_postgres() {
    a_redirect_to_the_login_page_is_a_refusal(Database::Postgres).await;
}

/// What Console's own checks step back for.
#[tokio::test(flavor = "multi_thread")]
async fn the_assertion_says_what_let_the_request_in() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    world.admin("olaf", &["raxx-support-team"], &[LegacyRole::literal("ops")]).await;
    let gate = gate(&world, &upstream).await;
    let claims = async |path: &str| -> Value {
        gate.send(&Ask::get(path).cookie(&world.cookie("olaf"))).await;
        let requests = upstream.requests();
        let token = requests.last().and_then(|one| one.header("x-console-gate-assertion")).expect("one");
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).expect("claims")).expect("base64url");
        serde_json::from_slice(&claims).expect("JSON")
    };
    let log = gate.log();
    for (path, let_in_by, cluster, groups) in [
        ("/fine", "v2", "V", json!(["raxx-support-team"])),
        ("/forbidden/legacy", "legacy", "L", json!(["raxx-support-team"])),
        ("/unauthorized/shadow", "legacy", "S", json!(["raxx-support-team"])),
        ("/forbidden/public", "public", "", json!([])),
    ] {
        let claims = claims(path).await;
        assert_eq!(
            (&claims["gate"], &claims["cluster"], &claims["groups"]),
            (&let_in_by.into(), &cluster.into(), &groups),
            "{path}"
        );
        let mapping = claims["mapping"].as_str().expect("a hash");
        assert_eq!(mapping.len(), 64);
        assert!(log.contains(&format!("mapping activated sha256={mapping}")), "{mapping}\n{log}");
    }
    gate.run(&["flag", "rbac-v2", "off"]);
    let claims = claims("/forbidden/legacy").await;
    assert_eq!(claims["gate"], "legacy");
}
