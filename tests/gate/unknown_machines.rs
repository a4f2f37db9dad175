//! Machines of Console that the gate does not know: Console judges them until V2 decides, and enrolling needs a hash alone.

use std::time::{Duration, Instant};

use policy::identity::machine_token::TokenDigest;
use policy::rbac::LegacyRole;
use serde_json::Value;

use crate::support::recorder::Recorder;
use crate::support::{Ask, Database, Gate, Setup, World};

const MAPPING: &str = "version = 1\n\
    [clusters]\nL = \"legacy\"\nS = \"shadow\"\nV = \"v2\"\n\
    [blueprints.l]\ncluster = \"L\"\n[blueprints.l.routes]\n\
    \"GET /legacy\" = { legacy = [\"ops\"], role = \"console-user\", machine_or_session = true }\n\
    \"GET /session\" = { legacy = [\"ops\"], role = \"console-user\" }\n\
    \"GET /closed\" = { role = \"console-user\", machine_or_session = true }\n\
    [blueprints.s]\ncluster = \"S\"\n[blueprints.s.routes]\n\
    \"GET /shadow\" = { legacy = [\"ops\"], role = \"console-user\", machine_or_session = true, unauthenticated = \"401\" }\n\
    [blueprints.v]\ncluster = \"V\"\n[blueprints.v.routes]\n\
    \"GET /v2\" = { legacy = [\"ops\"], role = \"console-user\", machine_or_session = true, unauthenticated = \"401\" }\n";

/// As Console issued it; the gate is never given it.
const TOKEN: &str = "console-issued-this-one";

async fn gate(world: &World, upstream: &Recorder) -> Gate {
    let keys = ("CONSOLE_GATE_PROBE_KEYS", "probe:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".to_owned());
    let setup = Setup {
        mapping: Some(MAPPING),
        upstream: Some(upstream.socket()),
        variables: Some(vec![keys]),
        ..Setup::V2
    };
    world.gate(&setup).await
}

async fn console_judges_until_v2_does(database: Database) {
    let world = World::new(database).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    world.admin("olaf", &[], &[LegacyRole::literal("ops")]).await;
    let gate = gate(&world, &upstream).await;
    let status = async |ask: Ask| gate.send(&ask).await.status;
    let expect = async |ask: Ask, expected: u16, who: &str| {
        let before = upstream.requests().len();
        assert_eq!(status(ask).await, expected, "{who}");
        assert_eq!(upstream.requests().len() - before, usize::from(expected == 200), "{who}");
    };
    let signed = |path: &str| Ask::get(path).header("x-hub-signature", "sha256=00");
    for (path, with_token, without) in [
        ("/legacy", 200, 302),
        ("/shadow", 200, 401),
        ("/v2", 401, 401),
        ("/closed", 302, 302),
        ("/session", 302, 302),
    ] {
        expect(Ask::get(path).bearer(TOKEN), with_token, path).await;
        expect(Ask::get(path).header("authorization", "Basic b2xhZjpv"), with_token, path).await;
        expect(signed(path), with_token, path).await;
        expect(Ask::get(path), without, path).await;
    }
    // Nobody is named, and Console gets the credential.
    expect(Ask::get("/legacy").bearer(TOKEN), 200, "a token").await;
    let passed = upstream.requests().pop().expect("a request");
    assert_eq!(passed.header("authorization").as_deref(), Some("Bearer console-issued-this-one"));
    // A session counts beside a signature, and not beside a token.
    expect(signed("/v2").cookie(&world.cookie("olaf")), 403, "a signature and a session").await;
    assert_eq!(world.denials().await, 1);

    // A row without `websocket` refuses the upgrade whatever the gates say; that they disagree counts all the same.
    let socket = signed("/shadow")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    expect(socket, 400, "a WebSocket").await;

    until_drift(&gate, 4).await;
    let unknown = gate.metric("gate_unknown_machines_total{route=\"GET /shadow\"}").await;
    assert_eq!(unknown, Some(3.0));
    let (_, output) =
        gate.attempt(&["drift", "--explain", &drift(&gate)["id"].as_str().expect("an id")[..8]]);
    assert!(output.contains("console-gate token enroll --sha256 HEX"), "{output}");

    // Enrolled by its hash, it is the gate's to judge.
    let hash = TokenDigest::of(TOKEN).to_hex();
    world.store.add_group("machines", &["console-user"]).await.expect("a group");
    gate.run(&[
        "token",
        "enroll",
        "--sha256",
        &hash,
        "--name",
        "ci",
        "--group",
        "machines",
        "--legacy-role",
        "ops",
    ]);
    for path in ["/legacy", "/shadow", "/v2"] {
        expect(Ask::get(path).bearer(TOKEN), 200, path).await;
    }
    expect(Ask::get("/v2").bearer("another"), 401, "another token").await;
    for (hash, name, complaint) in [
        (hash.as_str(), "again", "this token is enrolled already as `ci`"),
        ("abc", "short", "64 hexadecimal digits"),
        ("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "empty", "empty text"),
    ] {
        let (code, output) = gate.complaint(&["token", "enroll", "--sha256", hash, "--name", name]);
        assert!(code == 2 && output.contains(complaint), "{name}: {code} {output}");
    }
    // Revoked, it is known and refused, on legacy rows too.
    gate.run(&["token", "revoke", "ci"]);
    for (path, status) in [("/legacy", 302), ("/shadow", 401), ("/v2", 401)] {
        expect(Ask::get(path).bearer(TOKEN), status, path).await;
    }

    let socket = format!("unix:{}", gate.socket().display());
    let (code, output) = gate.attempt(&["verify", "--gate", &socket, "--host", crate::support::http::HOST]);
    assert_eq!(code, 0, "{output}");
    for (path, words) in [
        ("/legacy", "unknown machines are left to Console until V2 decides\n"),
        ("/v2", "unknown machines are refused; `token enroll` enrolls one\n"),
    ] {
        let output = gate.command(&["explain", "GET", path]).env("FLAG_RBAC_V2", "1").output();
        let output =
            String::from_utf8(output.expect("the binary runs").stdout).expect("the binary writes UTF-8");
        assert!(output.contains(words), "{output}");
    }
}

fn drift(gate: &Gate) -> Value {
    let (_, text) = gate.attempt(&["drift", "--all", "--format", "json"]);
    let listing: Value = serde_json::from_str(&text).expect("JSON");
    listing["disagreements"][0].clone()
}

/// Drift is written behind the answers.
async fn until_drift(gate: &Gate, count: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let drift = drift(gate);
        if drift["count"] == count {
            assert_eq!(
                (&drift["actor_kind"], &drift["actor_id"]),
                (&"machine".into(), &"not enrolled".into())
            );
            assert_eq!(drift["route"], "GET /shadow");
            return;
        }
        assert!(Instant::now() < deadline, "{drift:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn console_judges_until_v2_does_on_sqlite() {
    console_judges_until_v2_does(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn console_judges_until_v2_does_on_postgres() {
    console_judges_until_v2_does(Database::Postgres).await;
}
