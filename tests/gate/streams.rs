//! What flows through: bodies, events, WebSockets, HTTP/2.

use serde_json::json;

use crate::support::http::send_http2;
use crate::support::recorder::Recorder;
use crate::support::wire::Wire;
use crate::support::{Ask, Database, Setup, World};

const MAPPING: &str = "version = 1\n[blueprints.t.routes]\n\
    \"* /__test/*\" = { public = true }\n\"* /open/*\" = { public = true }\n\"GET /socket\" = { public = true, websocket = true }\n\
    \"GET /plain\" = { public = true }\n\"GET /inside\" = { session = true }\n";

fn setup() -> Setup {
    Setup { mapping: Some(MAPPING), ..Setup::V2 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_goes_through_byte_for_byte_both_ways() {
    let world = World::new(Database::Sqlite).await;
    let gate = world.gate(&setup()).await;
    for length in [0_usize, 1, 1_000, 65_535, 65_536, 65_537, 1_000_000, 5_000_000] {
        let body: Vec<u8> =
            (0..length).map(|place| u8::try_from(place * 31 % 251).expect("below 251")).collect();
        let answer = gate.send(&Ask::new("POST", "/__test/echo").body(body.clone())).await;
        assert_eq!(answer.status, 200, "{length}");
        assert!(answer.body == body, "{length} bytes came back as {} others", answer.body.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_goes_through_and_is_bounded() {
    let world = World::new(Database::Sqlite).await;
    let gate = world.gate(&Setup { firewall: "body_bytes = 1000\n", ..setup() }).await;
    let mut wire = Wire::to(&gate.socket()).await;
    let head = "POST /__test/echo HTTP/1.1\r\nHost: console.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    wire.write(format!("{head}5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n").as_bytes()).await;
    let answer = wire.read_until("hello world").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut wire = Wire::to(&gate.socket()).await;
    wire.write(format!("{head}3e8\r\n{}\r\n1\r\nx\r\n0\r\n\r\n", "y".repeat(1_000)).as_bytes()).await;
    let answer = wire.rest().await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let declared = gate.send(&Ask::new("POST", "/__test/echo").body(vec![0; 1_001])).await;
    assert_eq!(declared.status, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_one_by_one() {
    let world = World::new(Database::Sqlite).await;
    let gate = world.gate(&setup()).await;
    let mut wire = Wire::to(&gate.socket()).await;
    wire.write(b"GET /__test/sse?n=3&delay_ms=400 HTTP/1.1\r\nHost: console.test\r\n\r\n").await;
    wire.read_until("\r\n\r\n").await;
    let started = std::time::Instant::now();
    wire.read_until("data:").await;
    let first = started.elapsed();
    wire.read_until("data:").await;
    wire.read_until("data:").await;
    // Three events 400 ms apart: buffered, they would all come with the last one.
    assert!(started.elapsed() - first > std::time::Duration::from_millis(500), "the events came together");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_opens_only_where_the_row_allows_it() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = world.gate(&Setup { upstream: Some(upstream.socket()), ..setup() }).await;
    let handshake = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: console.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    };
    let mut wire = Wire::to(&gate.socket()).await;
    wire.write(handshake("/socket").as_bytes()).await;
    let answer = wire.read_until("\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    wire.write(b"any bytes \x00\xff at all;").await;
    assert!(wire.read_until("at all;").await.starts_with("any bytes"));
    let before = upstream.requests().len();
    let mut wire = Wire::to(&gate.socket()).await;
    let smuggled = "GET /open/smuggled HTTP/1.1\r\nHost: console.test\r\n\r\n";
    // At once: the gate closes as soon as it has read the handshake.
    wire.write(format!("{}{smuggled}", handshake("/plain")).as_bytes()).await;
    let answer = wire.rest().await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(upstream.requests().len(), before, "a refused upgrade reached Console");
    // And a 101 that nobody asked for opens no tunnel.
    let unasked = gate.send(&Ask::get("/socket")).await;
    assert_eq!(unasked.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_100_continue_gets_it() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = world.gate(&Setup { upstream: Some(upstream.socket()), ..setup() }).await;
    let mut wire = Wire::to(&gate.socket()).await;
    wire.write(
        b"POST /open/x HTTP/1.1\r\nHost: console.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    )
    .await;
    assert!(wire.read_until("\r\n\r\n").await.starts_with("HTTP/1.1 100"));
    wire.write(b"hello").await;
    assert_eq!(wire.answer().await.0, 200);
    assert_eq!(upstream.requests()[0].body, b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_each_decided_and_answered_in_order() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = world.gate(&Setup { upstream: Some(upstream.socket()), ..setup() }).await;
    let mut wire = Wire::to(&gate.socket()).await;
    wire.write(
        b"POST /open/1 HTTP/1.1\r\nHost: console.test\r\nContent-Length: 3\r\n\r\nabc\
          GET /inside HTTP/1.1\r\nHost: console.test\r\n\r\n\
          GET /plain HTTP/1.1\r\nHost: console.test\r\n\r\n",
    )
    .await;
    let answers = [wire.answer().await.0, wire.answer().await.0, wire.answer().await.0];
    assert_eq!(answers, [200, 302, 200]);
    let reached: Vec<String> = upstream
        .requests()
        .iter()
        .map(|request| request.head.lines().next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(reached, ["POST /open/1 HTTP/1.1", "GET /plain HTTP/1.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_is_served_where_it_is_switched_on_and_under_the_same_rules() {
    let world = World::new(Database::Sqlite).await;
    let gate = world.gate(&Setup { listen: "h2c = true\n", ..setup() }).await;
    let table = [
        ("POST", "/__test/echo", 200),
        ("GET", "/inside", 302),
        ("GET", "/unknown", 302),
        ("GET", "/__test//echo", 400),
        ("GET", "/__test/%2e%2e/inside", 400),
    ];
    for (method, target, expected) in table {
        let answer = send_http2(&gate.socket(), method, target, b"body").await;
        assert_eq!(answer.0, expected, "{method} {target}");
        if expected == 200 {
            assert_eq!(&answer.1[..], b"body");
        }
    }
    // HTTP/1 on the same socket.
    assert_eq!(gate.send(&Ask::get("/inside")).await.status, 302);
    // And not where it is off.
    let plain = world.gate(&setup()).await;
    let mut wire = Wire::to(&plain.socket()).await;
    wire.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(wire.rest().await.starts_with("HTTP/1.1 "));
}

/// The time limits themselves: `tests/tls/http2.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_only_begins_to_speak_http2_in_clear_is_not_waited_for() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = world
        .gate(&Setup {
            upstream: Some(upstream.socket()),
            listen: "h2c = true\n",
            firewall: "head_timeout_ms = 500\nidle_timeout_ms = 1000\n",
            ..setup()
        })
        .await;
    let settings = b"\0\0\0\x04\0\0\0\0\0";
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let begun = [&preface[..], settings, b"\0\0\x20\x01\x05"].concat();
    for bytes in [&preface[..12], &preface[..], &begun, &[&preface[..], settings].concat()] {
        let mut wire = Wire::to(&gate.socket()).await;
        wire.write(bytes).await;
        // Panics where the gate keeps the connection.
        wire.rest().await;
    }
    assert_eq!(gate.metric("gate_refusals_total{reason=\"head_timeout\"}").await, Some(2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn console_sees_the_gates_word_and_not_the_clients() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = world.gate(&Setup { upstream: Some(upstream.socket()), ..setup() }).await;
    let ask = Ask::get("/open/x?y=%2f")
        .header("x-forwarded-for", "6.6.6.6")
        .header("x-forwarded-host", "evil.example")
        .header("x-request-id", "mine")
        .header("x-console-gate-assertion", "forged")
        .header("remote-user", "root")
        .header("x-original-url", "/secrets")
        .header("x-http-method-override", "DELETE")
        .header("x-kept", "kept");
    let answer = gate.send(&ask).await;
    assert_eq!(answer.status, 200);
    let seen = &upstream.requests()[0];
    assert!(seen.head.starts_with("GET /open/x?y=%2f HTTP/1.1\r\n"), "{}", seen.head);
    assert_eq!(seen.header("host").as_deref(), Some("console.test"));
    assert_eq!(seen.header("x-forwarded-host").as_deref(), Some("console.test"));
    assert_eq!(seen.header("x-request-id").as_deref(), Some(answer.request_id()));
    assert_eq!(seen.header("x-kept").as_deref(), Some("kept"));
    for gone in ["remote-user", "x-original-url", "x-http-method-override", "x-forwarded-for"] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    let assertion = seen.header("x-console-gate-assertion").expect("the gate's own");
    assert!(!assertion.contains("forged") && assertion.split('.').count() == 3, "{assertion}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_or_json_body_decides_which_role_is_needed() {
    const RULES: &str = "version = 1\n[clusters]\nV = \"v2\"\nS = \"shadow\"\n[blueprints.v]\ncluster = \"V\"\n[blueprints.v.routes]\n\
        \"POST /__test/echo\" = { legacy = [\"ops\"], role = \"console-staging-services-write\", when = [{ json = \"/target\", equals = \"prod\", role = \"console-prod-services-write\" }] }\n\
        \"PUT /__test/echo\" = { legacy = [\"ops\"], role = \"console-staging-services-write\", when = [{ form = \"target\", equals = \"prod\", role = \"console-prod-services-write\" }] }\n\
        [blueprints.s]\ncluster = \"S\"\n[blueprints.s.routes]\n\
        \"PATCH /__test/echo\" = { legacy = [\"ops\"], role = \"console-staging-services-write\", when = [{ json = \"/target\", equals = \"prod\", role = \"console-prod-services-write\" }] }\n";
    let world = World::new(Database::Sqlite).await;
    world.admin("staging", &["staging-admins"], &[policy::rbac::LegacyRole::literal("ops")]).await;
    world.admin("ops", &["ops-admins"], &[]).await;
    let gate = world.gate(&Setup { mapping: Some(RULES), ..Setup::V2 }).await;
    let (json, form) = ("application/json", "application/x-www-form-urlencoded");
    let large = json!({ "target": "staging", "pad": "x".repeat(70_000) }).to_string();
    let table: [(&str, &str, &str, &str, u16); 13] = [
        ("POST", "staging", json, r#"{"target": "staging"}"#, 200),
        ("POST", "staging", json, r#"{"target": "prod"}"#, 403),
        ("POST", "ops", json, r#"{"target": "prod"}"#, 200),
        ("POST", "ops", json, r#"{"target": "staging", "target": "prod"}"#, 403),
        ("POST", "ops", json, r#"{"target": "prod""#, 403),
        ("POST", "ops", json, "{}", 403),
        ("POST", "ops", "text/plain", r#"{"target": "staging"}"#, 403),
        ("POST", "ops", json, &large, 403),
        ("PUT", "staging", form, "target=staging&a=1", 200),
        ("PUT", "staging", form, "target=prod", 403),
        ("PUT", "ops", form, "target=prod", 200),
        ("PUT", "ops", form, "target=staging&target=prod", 403),
        // Shadow: whatever the body, the legacy gate decides.
        ("PATCH", "staging", json, &large, 200),
    ];
    for (method, who, content_type, body, expected) in table {
        let shown = &body[..body.len().min(60)];
        let cookie = world.cookie(who);
        let ask = Ask::new(method, "/__test/echo").cookie(&cookie).header("content-type", content_type);
        let answer = gate.send(&ask.body(body.as_bytes().to_vec())).await;
        assert_eq!(answer.status, expected, "{method} as {who}: {shown}");
        if expected == 200 {
            assert!(answer.body == body.as_bytes(), "{method} as {who}: the body was changed: {shown}");
        }
    }
    // Chunked, and with a client that waits for 100 Continue.
    let mut wire = Wire::to(&gate.socket()).await;
    let head = format!(
        "POST /__test/echo HTTP/1.1\r\nHost: console.test\r\nCookie: session={}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
        world.cookie("ops")
    );
    wire.write(head.as_bytes()).await;
    assert!(wire.read_until("\r\n\r\n").await.starts_with("HTTP/1.1 100"));
    wire.write(b"8\r\n{\"target\r\n9\r\n\":\"prod\"}\r\n0\r\n\r\n").await;
    let answer = wire.read_until("{\"target\":\"prod\"}").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_outlives_a_denial_whose_body_was_not_wanted() {
    let world = World::new(Database::Sqlite).await;
    let gate = world.gate(&setup()).await;
    let mut wire = Wire::to(&gate.socket()).await;
    let body = "x".repeat(100_000);
    let head = "POST /unknown HTTP/1.1\r\nHost: console.test\r\nContent-Length: 100000\r\n\r\n";
    wire.write(format!("{head}{body}").as_bytes()).await;
    assert_eq!(wire.answer().await.0, 302);
    wire.write(b"GET /inside HTTP/1.1\r\nHost: console.test\r\n\r\n").await;
    assert_eq!(wire.answer().await.0, 302);
}
