//! What honest clients send and strict parsers turn away: it passes, and Console reads it as the gate did.

use chrono::{TimeDelta, Utc};
use serde_json::json;

use crate::support::exchange::{Exchange, RawAnswer};
use crate::support::recorder::Recorder;
use crate::support::{Ask, Client, Database, Findings, Gate, Setup, World};

const MAPPING: &str = "version = 1\n[clusters]\nV = \"v2\"\n[blueprints.t.routes]\n\"* /open/*\" = { public = true }\n\
    \"GET /account\" = { session = true }\n\"PUT /shared/<id>\" = { session = true, cors = true }\n\
    \"GET /shared/<id>\" = { session = true }\n[blueprints.v]\ncluster = \"V\"\n[blueprints.v.routes]\n\
    \"GET /inside/<path:file>\" = { legacy = [\"ops\"], role = \"console-audit-user\" }\n";

/// A gate before an upstream that keeps the bytes, and two people.
struct Place {
    world: World,
    gate: Gate,
    upstream: Recorder,
}

impl Place {
    async fn new(sections: &'static str) -> Place {
        let world = World::new(Database::Sqlite).await;
        world.admin_holding("anna", &["console-audit-user"]).await;
        world.admin_holding("ben", &["console-user"]).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        let setup =
            Setup { mapping: Some(MAPPING), upstream: Some(upstream.socket()), sections, ..Setup::V2 };
        let gate = world.gate(&setup).await;
        Place { world, gate, upstream }
    }

    /// Sends a head over a connection of its own.
    async fn send(&self, head: &str) -> RawAnswer {
        let mut exchange = Exchange::to(&self.gate.socket()).await;
        exchange.send(head.as_bytes()).await;
        exchange.answer(head.starts_with("HEAD ")).await.unwrap_or_else(|| panic!("no answer to {head}"))
    }

    /// A GET with these further lines.
    async fn get(&self, target: &str, lines: &str) -> RawAnswer {
        self.send(&format!("GET {target} HTTP/1.1\r\nHost: console.test\r\n{lines}\r\n")).await
    }

    /// A field of the last request that came upstream.
    fn upstream_field(&self, name: &str) -> Option<String> {
        self.upstream.requests().pop().and_then(|request| request.header(name))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_reach_console_as_they_were_written() {
    let place = Place::new("").await;
    let cookie = format!("Cookie: session={}\r\n", place.world.cookie("anna"));
    let stranger = format!("Cookie: session={}\r\n", place.world.cookie("ben"));
    let mut findings = Findings::default();
    for target in [
        "/open/a?ids[]=1&x={y}|z^`\\",
        "/open/a?a;b=%&c=100%zz",
        "/open/a[1];v=2",
        "/open/caf%c3%a9%7E%2d%5F",
        "/inside/a%2Fb",
        "/inside/a%2fb%20c%23d%3Fe%3Bf%25g%5Ch",
        "/inside/%F0%9F%91%A8%E2%80%8D%F0%9F%91%A9.png",
        "/inside/%D9%85%DB%8C%E2%80%8C%D8%AE.txt",
        "/inside/Screenshot%20at%2010.12.13%E2%80%AFAM.png",
        "/inside/a%C2%A0b%E3%80%80%D9%A4",
        "/%69nside/x",
    ] {
        let answer = place.get(target, &cookie).await;
        findings.equal(&format!("{target}: status"), answer.status, 200);
        let arrived = place.upstream.requests().pop().map(|request| request.head);
        let line = format!("GET {target} HTTP/1.1\r\n");
        findings
            .check(arrived.is_some_and(|head| head.starts_with(&line)), || format!("{target}: rewritten"));
        // However the path is spelled, it is the same row for a caller without the role.
        let expected = if target.starts_with("/open/") { 200 } else { 403 };
        findings.equal(&format!("{target}: as ben"), place.get(target, &stranger).await.status, expected);
    }
    for (target, status) in
        [("/open/a?b#c", 400), ("/open/%2e%2e/inside/x", 400), ("/open/%2Finside", 400), ("/open/a%0A", 400)]
    {
        findings.equal(target, place.get(target, &cookie).await.status, status);
    }
    findings.conclude(35);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_session_that_verifies_counts_and_console_sees_no_other() {
    let place = Place::new("[api]\nforward_auth = true\n").await;
    let (anna, ben) = (place.world.cookie("anna"), place.world.cookie("ben"));
    let hour_ago = Utc::now() - TimeDelta::hours(1);
    let older = place.world.sign(&json!({ "admin_id": "anna", "old": 1 }), hour_ago);
    let nobodys = place.world.sign(&json!({ "csrf": "x" }), hour_ago);
    let siblings = "eyJzaWJsaW5nIjoxfQ.aaaaaa.AAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let mut findings = Findings::default();
    // The Cookie fields, the status for `/account`, and the Cookie field that Console gets there and on a public row.
    let table: Vec<(String, u16, Option<String>)> = vec![
        (format!("Cookie: session={anna}\r\n"), 200, Some(format!("session={anna}"))),
        (format!("Cookie: session={siblings}; session={anna}\r\n"), 200, Some(format!("session={anna}"))),
        (
            format!("Cookie: session={anna}; a=b; session={siblings}\r\n"),
            200,
            Some(format!("session={anna}; a=b")),
        ),
        (format!("Cookie: a=b\r\nCookie: session={anna}\r\n"), 200, Some(format!("session={anna}; a=b"))),
        (format!("Cookie: session={older}; session={anna}\r\n"), 200, Some(format!("session={anna}"))),
        (format!("Cookie: session={nobodys}; session={anna}\r\n"), 200, Some(format!("session={anna}"))),
        (format!("Cookie: a=\"b; session={anna}\r\n"), 200, Some(format!("session={anna}; a=\"b"))),
        (format!("Cookie: a=\"; session={anna}; b=\"\r\n"), 200, Some(format!("session={anna}; a=\"; b=\""))),
        (
            format!("Cookie: caf\u{e9}=1; session={anna}\r\n"),
            200,
            Some(format!("caf\u{e9}=1; session={anna}")),
        ),
        (format!("Cookie: session={anna}; session={ben}; a=b\r\n"), 302, Some("a=b".to_owned())),
        (format!("Cookie: session={anna}\r\nCookie: session={ben}\r\n"), 302, None),
        (format!("Cookie: session={siblings}; session=x\r\n"), 302, None),
        (
            format!("Cookie: session={nobodys}; session={siblings}\r\n"),
            302,
            Some(format!("session={nobodys}")),
        ),
        (format!("Cookie: session={anna} x\r\n"), 302, None),
    ];
    for (cookies, status, forwarded) in &table {
        let answer = place.get("/account", cookies).await;
        findings.equal(&format!("{cookies}: status"), answer.status, *status);
        if *status == 200 {
            let seen = place.upstream_field("cookie");
            findings.equal(&format!("{cookies}: Console"), seen.as_ref(), forwarded.as_ref());
        }
        findings.equal(&format!("{cookies}: public"), place.get("/open/x", cookies).await.status, 200);
        let seen = place.upstream_field("cookie");
        findings.equal(&format!("{cookies}: Console on a public row"), seen.as_ref(), forwarded.as_ref());
    }
    // A proxy that asks the gate forwards the client's own field.
    let mut admin = Client::to(&place.gate.admin_socket());
    for (cookie, status) in [
        (format!("session={anna}"), 200),
        (format!("session={siblings}; session={anna}"), 302),
        (format!("a=\"; session={anna}; b=\""), 302),
    ] {
        let ask = Ask::get("/forward-auth")
            .header("x-forwarded-method", "GET")
            .header("x-forwarded-uri", "/account")
            .header("x-forwarded-host", "console.test")
            .header("cookie", cookie.clone());
        findings.equal(&format!("{cookie}: forward-auth"), admin.send(&ask).await.status, status);
    }
    findings.check(
        place.gate.metric("gate_cookies_refused_total{reason=\"two-people\"}").await >= Some(2.0),
        || "two people were not counted".to_owned(),
    );
    findings.conclude(50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preflight_passes_without_a_caller_where_its_row_says_so() {
    let place = Place::new("").await;
    let preflight = |target: &str, method: &str, further: &str| {
        format!(
            "OPTIONS {target} HTTP/1.1\r\nHost: console.test\r\nOrigin: https://app.example\r\n\
             Access-Control-Request-Method: {method}\r\n{further}\r\n"
        )
    };
    let anna = format!("Cookie: session={}\r\n", place.world.cookie("anna"));
    // What is sent, its status, and whether Console sees it.
    let table = [
        (preflight("/shared/1", "PUT", ""), 200, true),
        (
            preflight("/shared/1", "PUT", "Access-Control-Request-Headers: x-a\r\nContent-Length: 0\r\n"),
            200,
            true,
        ),
        (preflight("/shared/1", "GET", ""), 302, false),
        (preflight("/shared/1", "DELETE", ""), 302, false),
        (preflight("/shared/1", "put", ""), 302, false),
        (preflight("/account", "GET", ""), 302, false),
        (preflight("/nowhere", "PUT", ""), 302, false),
        (preflight("/shared/1", "PUT", "Cookie: session=x\r\n"), 302, false),
        (preflight("/shared/1", "PUT", "Authorization: Bearer x\r\n"), 302, false),
        (preflight("/shared/1", "PUT", "Content-Length: 1\r\n") + "x", 302, false),
        (preflight("/shared/1", "PUT", &anna), 200, true),
        (preflight("/shared/1", "PUT", "").replace("Origin: https://app.example\r\n", ""), 302, false),
        (preflight("/shared/1", "PUT", "").replace("OPTIONS", "PUT"), 302, false),
        (preflight("/shared/1", "PUT", "").replace("OPTIONS", "GET"), 302, false),
    ];
    let mut findings = Findings::default();
    for (head, status, is_seen) in table {
        let before = place.upstream.requests().len();
        findings.equal(&head, place.send(&head).await.status, status);
        findings.equal(
            &format!("{head}: seen"),
            place.upstream.requests().len() - before,
            usize::from(is_seen),
        );
    }
    findings.conclude(28);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_names_and_hosts_that_are_only_unusual() {
    let place = Place::new("").await;
    // The same for every path: a stranger does not learn which ones there are.
    for target in ["/open/a", "/account", "/nowhere"] {
        let answer = place.send(&format!("PROPFIND {target} HTTP/1.1\r\nHost: console.test\r\n\r\n")).await;
        let allowed = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
        assert_eq!((answer.status, answer.header("allow")), (405, allowed), "{target}");
    }
    assert!(place.upstream.requests().is_empty());

    assert_eq!(place.get("/open/a", "X_Trace: 1\r\nx.y: 2\r\nX-Kept: 3\r\n").await.status, 200);
    let head = place.upstream.requests().pop().expect("a request").head.to_ascii_lowercase();
    assert!(head.contains("x-kept: 3") && !head.contains("trace") && !head.contains("x.y"), "{head}");
    assert_eq!(place.gate.metric("gate_dropped_fields_total").await, Some(2.0));

    for (host, status) in
        [("console.test.", 200), ("Console.Test", 200), ("console.test..", 400), ("evil.test", 400)]
    {
        let answer = place.send(&format!("GET /open/a HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(answer.status, status, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_of_a_console_whose_clock_is_a_little_ahead() {
    let place = Place::new("").await;
    let status = async |ahead: i64| {
        let cookie = place.world.sign(&json!({ "admin_id": "anna" }), Utc::now() + TimeDelta::seconds(ahead));
        place.get("/account", &format!("Cookie: session={cookie}\r\n")).await.status
    };
    assert_eq!((status(-60).await, status(0).await, status(4).await, status(60).await), (200, 200, 200, 302));
}

/// RFC 6265 4.1.1 lets a cookie's value have quotes, and Werkzeug takes them off.
#[tokio::test]
async fn a_session_cookie_may_have_quotes() {
    let place = Place::new("").await;
    let anna = place.world.cookie("anna");
    let table = [
        (format!("Cookie: session=\"{anna}\"\r\n"), 200),
        (format!("Cookie: session=\"{anna}\r\n"), 302),
        (format!("Cookie: session=\"\\\\{anna}\"\r\n"), 302),
        ("Cookie: session=\"\"\r\n".to_owned(), 302),
    ];
    for (cookies, status) in table {
        assert_eq!(place.get("/account", &cookies).await.status, status, "{cookies}");
    }
}
