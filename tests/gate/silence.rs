//! Responses reveal nothing: a stranger cannot distinguish a route that exists from one that does not.

use std::time::{Duration, Instant};

use crate::support::exchange::{Exchange, RawAnswer};
use crate::support::{Ask, Client, Database, Findings, Gate, Setup, World};

const MAPPING: &str = "version = 1\n[clusters]\nL = \"legacy\"\nV = \"v2\"\n\
    [blueprints.l]\ncluster = \"L\"\n[blueprints.l.routes]\n\
    \"GET /a/legacy\" = { legacy = [\"ops\"], role = \"console-audit-user\" }\n\
    \"POST /a/legacy-post\" = { legacy = [\"ops\"], role = \"console-audit-user\" }\n\
    \"GET /a/undecided\" = { legacy = [\"ops\"], undecided = \"AMBIGUOUS-3\", options = { A = \"console-manager\", B = \"console-audit-user\" } }\n\
    [blueprints.v]\ncluster = \"V\"\n[blueprints.v.routes]\n\
    \"GET /a/v2\" = { legacy = [\"ops\"], role = \"console-audit-user\" }\n\
    \"POST /a/v2-post\" = { legacy = [\"ops\"], role = \"console-audit-user\" }\n\
    \"GET /a/<int:number>/typed\" = { legacy = [\"ops\"], role = \"console-audit-user\" }\n\
    \"GET /a/slash/\" = { legacy = [\"ops\"], role = \"console-audit-user\" }\n\
    \"GET /a/session\" = { session = true }\n\
    \"DELETE /a/prefix/*\" = { legacy = [\"ops\"], role = \"console-audit-user\" }\n";

/// What a stranger may try: rows of every kind, rows that have another method, rows that redirect, and no row.
const TARGETS: [(&str, &str); 14] = [
    ("a session row under legacy", "/a/legacy"),
    ("a session row under v2", "/a/v2"),
    ("an undecided row", "/a/undecided"),
    ("a row that any admin may use", "/a/session"),
    ("a row with a variable", "/a/7/typed"),
    ("a value that is none", "/a/x/typed"),
    ("a row of POST", "/a/legacy-post"),
    ("another row of POST", "/a/v2-post"),
    ("a row that redirects", "/a/slash"),
    ("the same with its slash", "/a/slash/"),
    ("a row of DELETE", "/a/prefix/x"),
    ("no row", "/a/nothing"),
    ("no row anywhere near", "/wp-admin"),
    ("no row, with a query", "/a/nothing?x=1"),
];

/// How a stranger may look: the fields that are sent.
const LOOKS: [(&str, &str); 5] = [
    ("a program", ""),
    ("a browser", "Accept: text/html,*/*\r\n"),
    ("htmx", "HX-Request: true\r\n"),
    ("a forged cookie", "Cookie: session=eyJhZG1pbl9pZCI6InJvb3QifQ.awDVzA.SE2Zlj58vVAk_Une2Ot4_MQkfsw\r\n"),
    ("a token of nobody", "Authorization: Bearer nobody\r\n"),
];

async fn gate(world: &World) -> Gate {
    world.gate(&Setup { mapping: Some(MAPPING), ..Setup::V2 }).await
}

/// Everything of an answer that may be compared: the head without the date and the request's number, and the body
/// without the number. Of the way back after the login only its place is left.
fn comparable(answer: &RawAnswer, target: &str) -> String {
    let next = format!("/auth/login?next={}", target.replace('?', "%3F").replace('=', "%3D"));
    let id = answer.request_id();
    let mut fields: Vec<String> = answer
        .head
        .lines()
        .skip(1)
        .filter(|line| !line.is_empty())
        .map(|line| line.replace(&next, "/auth/login?next=TARGET"))
        .filter(|line| {
            !["date: ", "x-request-id: "].iter().any(|name| line.to_ascii_lowercase().starts_with(name))
        })
        .collect();
    fields.sort();
    assert!(!id.is_empty(), "every answer has a number");
    let body = String::from_utf8_lossy(&answer.body).replace(id, "NUMBER");
    format!("{} {fields:?} {body}", answer.head.lines().next().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_cannot_learn_what_exists() {
    let world = World::new(Database::Sqlite).await;
    let gate = gate(&world).await;
    let mut findings = Findings::default();
    for (who, fields) in LOOKS {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let mut first: Option<String> = None;
            for (what, target) in TARGETS {
                let mut exchange = Exchange::to(&gate.socket()).await;
                let request = format!("{method} {target} HTTP/1.1\r\nHost: console.test\r\n{fields}\r\n");
                exchange.send(request.as_bytes()).await;
                let answer = exchange.answer(method == "HEAD").await.expect("an answer");
                let expected_status = if who == "htmx" { 401 } else { 302 };
                findings.equal(&format!("{who}, {method} {target}: status"), answer.status, expected_status);
                let found = comparable(&answer, target);
                let first = first.get_or_insert_with(|| found.clone());
                findings.check(*first == found, || {
                    format!(
                        "{who}, {method} {target} ({what}):\n    {found}\n  where another has\n    {first}"
                    )
                });
            }
        }
    }
    findings.conclude(2 * LOOKS.len() * 7 * TARGETS.len());
}

/// What an admin may learn about a denial: why, and which role would have been enough. An admin may
/// learn that an address has no row: the maintainer of the mapping needs to. Nothing else differs, and no answer names
/// a route.
#[tokio::test(flavor = "multi_thread")]
async fn an_admin_without_the_role_learns_the_reason_and_what_was_needed_and_no_more() {
    let world = World::new(Database::Sqlite).await;
    let gate = gate(&world).await;
    world.admin("someone", &["antlers-user"], &[]).await;
    let cookie = world.cookie("someone");
    let mut known = gate.send(&Ask::get("/a/v2").cookie(&cookie)).await.json();
    let mut unknown = gate.send(&Ask::get("/a/nothing").cookie(&cookie)).await.json();
    assert_eq!(known["needed"], "role console-audit-user", "{known}");
    assert_eq!(unknown["needed"], "a row in the mapping", "{unknown}");
    // The request as it was sent, for the manager of access; of a path without a row, not even that.
    assert_eq!(known["explain"], "console-gate explain GET /a/v2 --as someone", "{known}");
    known.as_object_mut().expect("a problem document").remove("explain");
    for problem in [&mut known, &mut unknown] {
        let fields = problem.as_object_mut().expect("a problem document");
        for may_differ in ["type", "detail", "needed", "request_id"] {
            let value = fields.remove(may_differ).unwrap_or_else(|| panic!("no {may_differ}")).to_string();
            assert!(!value.contains("/a/"), "{may_differ} names a route: {value}");
        }
    }
    assert_eq!(known, unknown);
    assert_eq!(known["status"], 403);
    // A wrong method and a redirect that is not his to follow are as unknown or as gated as their rows.
    for (method, target, needed) in [
        ("POST", "/a/v2", "a row in the mapping"),
        ("GET", "/a/slash", "role console-audit-user"),
        ("GET", "/a/x/typed", "a row in the mapping"),
    ] {
        let answer = gate.send(&Ask::new(method, target).cookie(&cookie)).await;
        assert_eq!(answer.status, 403, "{method} {target}");
        assert_eq!(answer.json()["needed"], needed, "{method} {target}");
        assert_eq!(answer.header("location"), "", "{method} {target}");
        assert_eq!(answer.header("allow"), "", "{method} {target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn time_reveals_little_to_a_stranger() {
    const ROUNDS: usize = 500;
    let world = World::new(Database::Sqlite).await;
    let gate = gate(&world).await;
    let mut client = gate.client();
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    // In turn, so that whatever else the machine does falls on both.
    for _ in 0..ROUNDS {
        known.push(time(&mut client, "/a/v2").await);
        unknown.push(time(&mut client, "/a/nothing").await);
    }
    let (known, unknown) = (median(known), median(unknown));
    let ratio = known.as_secs_f64() / unknown.as_secs_f64();
    println!("a gated route {known:?}, no route {unknown:?}, ratio {ratio:.3}");
    assert!((0.5..2.0).contains(&ratio), "a gated route takes {known:?}, no route {unknown:?}");
}

async fn time(client: &mut Client, target: &str) -> Duration {
    let started = Instant::now();
    assert_eq!(client.send(&Ask::get(target)).await.status, 302);
    started.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
