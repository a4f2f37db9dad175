//! What arrives at Console: a head of the strict grammar with exactly the fields that it should have, and a body that is
//! framed once, whatever the client has sent. Byte for byte, from a server that keeps what it reads.

mod tap;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tap::Tap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::support::chunks::unchunk;
use crate::support::exchange::Exchange;
use crate::support::recorder::{Recorded, Recorder};
use crate::support::{Database, Findings, Gate, Setup, World};

/// Bodies are here before Console is asked.
const BUFFERED: &str = "version = 1\n[blueprints.t.routes]\n\"* /open/*\" = { public = true }\n";
/// Console reads them while they come.
const STREAMED: &str =
    "version = 1\n[blueprints.t.routes]\n\"* /open/*\" = { public = true, stream = true }\n";

/// The fields that the gate sets itself, each once.
const OF_THE_GATE: [&str; 4] = ["host", "x-request-id", "x-forwarded-proto", "x-forwarded-host"];
/// The fields that it may set: the assertion, the client's address where there is one, and Expect for a body that
/// waits.
const MAY_BE_OF_THE_GATE: [&str; 3] = ["x-console-gate-assertion", "x-forwarded-for", "expect"];

/// Over HTTP/2: the method, fields and body that are sent, and the fields that arrive.
type Http2Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>, &'a [&'a str]);

/// What is tested; what is sent, `@` being the number of the case; the request line upstream; the fields that are the
/// client's, in their order; the data of the body.
type Case = (&'static str, String, &'static str, &'static [&'static str], Option<String>);

fn get(fields: &str) -> String {
    format!("GET /open/@ HTTP/1.1\r\nHost: console.test\r\n{fields}\r\n")
}

fn post(fields: &str, rest: &str) -> String {
    format!("POST /open/@ HTTP/1.1\r\nHost: console.test\r\n{fields}\r\n{rest}")
}

fn chunked(rest: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", rest)
}

const GET: &str = "GET /open/@ HTTP/1.1";
const POST: &str = "POST /open/@ HTTP/1.1";

fn body(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn framings() -> Vec<Case> {
    let large = "0123456789".repeat(30_000);
    let in_chunks: String =
        large.as_bytes().chunks(1_000).map(|_| format!("3e8\r\n{}\r\n", &large[..1_000])).collect();
    vec![
        ("nothing", get(""), GET, &[], None),
        ("HEAD", get("").replace("GET", "HEAD"), "HEAD /open/@ HTTP/1.1", &[], None),
        ("OPTIONS", get("").replace("GET", "OPTIONS"), "OPTIONS /open/@ HTTP/1.1", &[], None),
        ("POST without a body", post("", ""), POST, &[], body("")),
        ("a length", post("Content-Length: 5\r\n", "hello"), POST, &[], body("hello")),
        ("a length of 0", post("Content-Length: 0\r\n", ""), POST, &[], body("")),
        ("a length in capitals", post("CONTENT-LENGTH: 5\r\n", "hello"), POST, &[], body("hello")),
        ("a long body", post("Content-Length: 300000\r\n", &large), POST, &[], body(&large)),
        (
            "a body that looks like a request",
            post("Content-Length: 30\r\n", "GET /open/smuggled HTTP/1.1\r\n\r"),
            POST,
            &[],
            body("GET /open/smuggled HTTP/1.1\r\n\r"),
        ),
        (
            "a body that looks like chunks",
            post("Content-Length: 8\r\n", "3\r\nabc\r\n"),
            POST,
            &[],
            body("3\r\nabc\r\n"),
        ),
        ("a body on GET", get("Content-Length: 5\r\n") + "hello", GET, &[], body("hello")),
        (
            "a body on DELETE",
            (get("Content-Length: 5\r\n") + "hello").replace("GET", "DELETE"),
            "DELETE /open/@ HTTP/1.1",
            &[],
            body("hello"),
        ),
        (
            "PUT",
            post("Content-Length: 5\r\n", "hello").replace("POST", "PUT"),
            "PUT /open/@ HTTP/1.1",
            &[],
            body("hello"),
        ),
        ("one chunk", chunked("5\r\nhello\r\n0\r\n\r\n"), POST, &[], body("hello")),
        ("chunks", chunked("1\r\nh\r\n04\r\nello\r\n000\r\n\r\n"), POST, &[], body("hello")),
        ("no data in chunks", chunked("0\r\n\r\n"), POST, &[], body("")),
        ("chunks on GET", chunked("5\r\nhello\r\n0\r\n\r\n").replace("POST", "GET"), GET, &[], body("hello")),
        (
            "many chunks",
            chunked(&format!("{in_chunks}0\r\n\r\n")),
            POST,
            &[],
            body(&large[..1_000].repeat(300)),
        ),
        (
            "Expect, and the body at once",
            post("Content-Length: 5\r\nExpect: 100-continue\r\n", "hello"),
            POST,
            &[],
            body("hello"),
        ),
        ("Expect without a body", get("Expect: 100-continue\r\n"), GET, &[], None),
        ("HTTP/1.0", get("").replace("HTTP/1.1", "HTTP/1.0"), GET, &[], None),
        (
            "HTTP/1.0, kept, a body",
            post("Connection: keep-alive\r\nContent-Length: 5\r\n", "hello").replace("HTTP/1.1", "HTTP/1.0"),
            POST,
            &[],
            body("hello"),
        ),
        ("a whole URL", get("").replace("/open", "http://console.test/open"), GET, &[], None),
    ]
}

fn fields() -> Vec<Case> {
    vec![
        ("a field", get("X-A: 1\r\n"), GET, &["x-a: 1"], None),
        ("white space around a value", get("X-A: \t 1 2 \t\r\n"), GET, &["x-a: 1 2"], None),
        ("an empty value", get("X-A:\r\n"), GET, &["x-a: "], None),
        ("a field twice", get("X-A: 1\r\nX-B: 2\r\nx-a: 3\r\n"), GET, &["x-a: 1", "x-b: 2", "x-a: 3"], None),
        ("a value in UTF-8", get("X-A: \u{20ac}\r\n"), GET, &["x-a: \u{20ac}"], None),
        (
            "what a browser sends",
            get(
                "Accept: text/html,*/*;q=0.8\r\nAccept-Encoding: gzip, br\r\nUser-Agent: Mozilla/5.0 (X11)\r\n\
                 Cookie: a=1; b=2\r\nReferer: http://console.test/\r\nSec-Fetch-Mode: navigate\r\n\
                 If-None-Match: W/\"a\"\r\nRange: bytes=0-9\r\n",
            ),
            GET,
            &[
                "accept: text/html,*/*;q=0.8",
                "accept-encoding: gzip, br",
                "user-agent: Mozilla/5.0 (X11)",
                "cookie: a=1; b=2",
                "referer: http://console.test/",
                "sec-fetch-mode: navigate",
                "if-none-match: W/\"a\"",
                "range: bytes=0-9",
            ],
            None,
        ),
        (
            "a form",
            post(
                "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\nOrigin: http://console.test\r\n",
                "a=1&b=2",
            ),
            POST,
            &["content-type: application/x-www-form-urlencoded", "origin: http://console.test"],
            body("a=1&b=2"),
        ),
        ("close", get("Connection: close\r\n"), GET, &[], None),
        ("keep-alive", get("Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n"), GET, &[], None),
        ("Proxy-Connection", get("Proxy-Connection: keep-alive\r\n"), GET, &[], None),
        ("a forged id", get("X-Request-Id: smuggled\r\n"), GET, &[], None),
        ("a forged proof", get("X-Console-Gate-Assertion: smuggled\r\n"), GET, &[], None),
        (
            "forged hops",
            get("X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: smuggled\r\nX-Forwarded-Host: smuggled\r\n\
                 Forwarded: for=10.0.0.1\r\nX-Real-Ip: 10.0.0.1\r\n"),
            GET,
            &[],
            None,
        ),
        (
            "a query as it was written",
            get("").replace("/open/@", "/open/@?a=%2f&b=%C3%A9&&c=+&d"),
            "GET /open/@?a=%2f&b=%C3%A9&&c=+&d HTTP/1.1",
            &[],
            None,
        ),
        (
            "a path as it was written",
            get("").replace("/open/@", "/open/@/%C3%A9~-._"),
            "GET /open/@/%C3%A9~-._ HTTP/1.1",
            &[],
            None,
        ),
    ]
}

fn setup(upstream: PathBuf, mapping: &'static str) -> Setup {
    Setup {
        mapping: Some(mapping),
        upstream: Some(upstream),
        listen: "h2c = true\n",
        upstream_settings: "write_timeout_ms = 2000\nread_timeout_ms = 5000\n",
        firewall: "head_timeout_ms = 5000\nbody_timeout_ms = 5000\nbody_bytes = 10000000\n",
        ..Setup::V2
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_arrives_in_one_form() {
    requests_arrive(BUFFERED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_arrives_in_one_form_where_bodies_are_streamed() {
    requests_arrive(STREAMED).await;
}

async fn requests_arrive(mapping: &'static str) {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = world.gate(&setup(upstream.socket(), mapping)).await;
    let mut findings = Findings::default();
    let cases = [framings(), fields()].concat();
    for (number, (what, sent, line, fields, body)) in cases.iter().enumerate() {
        let mut exchange = Exchange::to(&gate.socket()).await;
        exchange.send(sent.replace('@', &number.to_string()).as_bytes()).await;
        let answer = exchange.answer(sent.starts_with("HEAD")).await;
        findings.equal(&format!("{what}: status"), answer.map(|answer| answer.status), Some(200));
        let arrived = of_case(&upstream, number);
        findings.equal(&format!("{what}: requests upstream"), arrived.len(), 1);
        if let [request] = &arrived[..] {
            check(
                &mut findings,
                what,
                request,
                &line.replace('@', &number.to_string()),
                fields,
                body.as_deref(),
            );
        }
    }
    let of_none = upstream.requests().iter().filter(|request| request.head.contains("smuggled")).count();
    findings.equal("what was smuggled", of_none, 0);
    findings.conclude(200);
}

/// The requests of one case.
fn of_case(upstream: &Recorder, number: usize) -> Vec<Recorded> {
    let is_of_it = |request: &Recorded| {
        let target = request.head.split(' ').nth(1).unwrap_or_default();
        let rest = target.strip_prefix(&format!("/open/{number}"));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
    };
    upstream.requests().into_iter().filter(is_of_it).collect()
}

fn check(
    findings: &mut Findings,
    what: &str,
    request: &Recorded,
    line: &str,
    fields: &[&str],
    body: Option<&str>,
) {
    let head = request.head.strip_suffix("\r\n\r\n").unwrap_or_default();
    let mut lines = head.split("\r\n");
    findings.equal(&format!("{what}: request line"), lines.next(), Some(line));
    let mut names = BTreeSet::new();
    let mut of_the_client = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap_or(("", line));
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let is_plain = value.trim_ascii() == value
            && !value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t');
        findings.check(!name.is_empty() && name.bytes().all(is_token) && is_plain, || {
            format!("{what}: no field: {line:?}")
        });
        let name = name.to_ascii_lowercase();
        let is_the_gates =
            [&OF_THE_GATE[..], &MAY_BE_OF_THE_GATE, &["content-length", "transfer-encoding"]].concat();
        if is_the_gates.contains(&name.as_str()) {
            findings.check(names.insert(name.clone()), || format!("{what}: `{name}` twice"));
        } else {
            of_the_client.push(format!("{name}: {value}"));
        }
    }
    for name in OF_THE_GATE {
        findings.check(names.contains(name), || format!("{what}: no `{name}`: {head}"));
    }
    // The order of different names means nothing (RFC 9110 5.3).
    let by_name = |field: &String| field.split(':').next().unwrap_or_default().to_owned();
    let mut expected: Vec<String> = fields.iter().map(ToString::to_string).collect();
    expected.sort_by_key(by_name);
    of_the_client.sort_by_key(by_name);
    findings.equal(&format!("{what}: fields"), of_the_client, expected);
    let framing = (request.header("content-length"), request.header("transfer-encoding"));
    let holds = match (framing.0.as_deref(), framing.1.as_deref(), body) {
        (None, None, None) => request.body.is_empty(),
        (None, None, Some(data)) => data.is_empty() && request.body.is_empty(),
        (Some(length), None, Some(data)) => {
            length == data.len().to_string() && request.body == data.as_bytes()
        }
        (None, Some("chunked"), Some(data)) => unchunk(&request.body).as_deref() == Some(data.as_bytes()),
        _ => false,
    };
    findings.check(holds, || {
        let shown = request.body[..request.body.len().min(80)].escape_ascii();
        format!("{what}: {framing:?} with {} bytes, `{shown}`", request.body.len())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_2_each_request_arrives_in_the_same_form() {
    requests_arrive_over_http_2(BUFFERED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_2_each_request_arrives_in_the_same_form_where_bodies_are_streamed() {
    requests_arrive_over_http_2(STREAMED).await;
}

async fn requests_arrive_over_http_2(mapping: &'static str) {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = world.gate(&setup(upstream.socket(), mapping)).await;
    let mut findings = Findings::default();
    let large = "0123456789".repeat(30_000);
    let table: [Http2Case; 10] = [
        ("GET", &[], None, &[]),
        ("HEAD", &[], None, &[]),
        ("POST", &[], Some(""), &[]),
        ("POST", &[], Some("hello"), &[]),
        ("PUT", &[("x-a", "1")], Some("hello"), &["x-a: 1"]),
        ("POST", &[], Some(&large), &[]),
        ("GET", &[("cookie", "a=1"), ("cookie", "b=2")], None, &["cookie: a=1; b=2"]),
        ("GET", &[("x-a", "1"), ("x-b", "2"), ("x-a", "3")], None, &["x-a: 1", "x-a: 3", "x-b: 2"]),
        ("GET", &[("x-request-id", "smuggled"), ("x-console-gate-assertion", "smuggled")], None, &[]),
        ("GET", &[("te", "trailers"), ("accept", "*/*")], None, &["accept: */*"]),
    ];
    for (number, (method, fields, body, expected)) in table.iter().enumerate() {
        let what = format!("{number}, {method}");
        let status = http2(&gate, method, &format!("/open/{number}"), fields, body.unwrap_or_default()).await;
        findings.equal(&format!("{what}: status"), status, Some(200));
        let arrived = of_case(&upstream, number);
        findings.equal(&format!("{what}: requests upstream"), arrived.len(), 1);
        if let [request] = &arrived[..] {
            let line = format!("{method} /open/{number} HTTP/1.1");
            check(&mut findings, &what, request, &line, expected, *body);
        }
    }
    findings.conclude(60);
}

/// The status of one answer.
async fn http2(gate: &Gate, method: &str, target: &str, fields: &[(&str, &str)], body: &str) -> Option<u16> {
    let stream = UnixStream::connect(gate.socket()).await.expect("the gate takes connections");
    let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.expect("an HTTP/2 connection");
    tokio::spawn(connection);
    let mut request = http::Request::builder().method(method).uri(format!("http://console.test{target}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).expect("a request");
    sender.send_request(request).await.ok().map(|answer| answer.status().as_u16())
}

/// A body that does not come whole is never one upstream: the request has not been sent, or its connection ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_in_the_middle_of_its_body_leaves_no_connection_behind() {
    clients_go(BUFFERED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_in_the_middle_of_its_body_leaves_no_connection_behind_where_bodies_are_streamed()
{
    clients_go(STREAMED).await;
}

async fn clients_go(mapping: &'static str) {
    let world = World::new(Database::Sqlite).await;
    let tap = Tap::start(world.folder());
    let gate = world.gate(&setup(tap.socket(), mapping)).await;
    let mut findings = Findings::default();
    let large = "x".repeat(200_000);
    let table: [(&str, String); 8] = [
        ("none of a length", post("Content-Length: 5\r\n", "")),
        ("a part of a length", post("Content-Length: 50\r\n", "hello")),
        ("a large part of a length", post("Content-Length: 300000\r\n", &large)),
        ("no chunk", chunked("")),
        ("half a chunk", chunked("a\r\nhello")),
        ("a large part of chunks", chunked(&format!("30d40\r\n{large}\r\n30d40\r\nx"))),
        ("no last chunk", chunked("5\r\nhello\r\n")),
        ("half a last chunk", chunked("5\r\nhello\r\n0\r\n")),
    ];
    for (number, (what, sent)) in table.iter().enumerate() {
        let mut exchange = Exchange::to(&gate.socket()).await;
        exchange.send(sent.replace('@', &number.to_string()).as_bytes()).await;
        drop(exchange);
        another_client_is_served(&mut findings, what, &gate).await;
        let Some(connections) = tap.ended(&format!("/open/{number}")).await else {
            findings.check(false, || format!("{what}: the upstream connection is left open"));
            continue;
        };
        for seen in connections {
            let requests = seen.requests();
            let last = requests.as_ref().ok().and_then(|requests| requests.last());
            findings.check(last.is_some_and(|(_, is_whole)| !is_whole), || format!("{what}: {requests:?}"));
        }
    }
    findings.conclude(8);
}

/// Console may answer before it has read the body (RFC 9112 9.3): the client gets the answer, and the connection to
/// Console carries nothing else unless the whole body has gone over it.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_the_end_of_the_body_reaches_the_client() {
    answers_come_early(BUFFERED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_the_end_of_the_body_reaches_the_client_where_bodies_are_streamed() {
    answers_come_early(STREAMED).await;
}

async fn answers_come_early(mapping: &'static str) {
    let world = World::new(Database::Sqlite).await;
    let tap = Tap::start(world.folder());
    let gate = world.gate(&setup(tap.socket(), mapping)).await;
    let mut findings = Findings::default();
    let large = "x".repeat(3_000_000);
    let chunks = format!("{}0\r\n\r\n", format!("2710\r\n{}\r\n", &large[..10_000]).repeat(300));
    let bodies = [
        ("a short length", post("Content-Length: 5\r\n", "hello")),
        ("a long length", post("Content-Length: 3000000\r\n", &large)),
        ("short chunks", chunked("5\r\nhello\r\n0\r\n\r\n")),
        ("long chunks", chunked(&chunks)),
    ];
    for (number, (what, sent)) in bodies.iter().enumerate() {
        // Of a short body the gate has sent everything: that nobody reads it does not show.
        let places = if what.contains("short") {
            &["early-and-gone", "early-and-reading"][..]
        } else {
            &["early", "early-and-gone", "early-and-reading"]
        };
        for place in places {
            let what = format!("{what}, {place}");
            let target = format!("/open/{number}/{place}");
            let answer = answer_while_sending(&gate, sent.replace("/open/@", &target)).await;
            let head = answer.split("\r\n").next().unwrap_or_default().to_owned();
            findings.check(head.starts_with("HTTP/1.1 413") && answer.ends_with("too much"), || {
                format!("{what}: {answer:?}")
            });
            another_client_is_served(&mut findings, &what, &gate).await;
            if *place == "early" {
                let ended = tap.ended(&target).await;
                findings.check(ended.is_some_and(|seen| seen.len() == 1), || {
                    format!("{what}: the upstream connection is left open, or the request was sent twice")
                });
            }
        }
    }
    for seen in tap.connections() {
        let requests = seen.requests();
        let is_sound = requests.as_ref().is_ok_and(|requests| {
            let before_last = &requests[..requests.len().saturating_sub(1)];
            before_last.iter().all(|(line, is_whole)| *is_whole && !line.ends_with("/early HTTP/1.1"))
        });
        findings.check(is_sound, || format!("an upstream connection carried {requests:?}"));
    }
    findings.conclude(30);
}

/// What comes back until the gate closes the connection or the answer is whole, while the request is still being sent.
async fn answer_while_sending(gate: &Gate, sent: String) -> String {
    let stream = UnixStream::connect(gate.socket()).await.expect("the gate takes connections");
    let (mut from, mut to) = stream.into_split();
    let sending = tokio::spawn(async move {
        let _ = to.write_all(sent.as_bytes()).await;
        to
    });
    let mut answer = Vec::new();
    let reading = async {
        while !answer.ends_with(b"too much") && matches!(from.read_buf(&mut answer).await, Ok(1..)) {}
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), reading).await;
    sending.abort();
    let mut answer = String::from_utf8_lossy(&answer).into_owned();
    if in_time.is_err() {
        answer += " (and no end)";
    }
    answer
}

async fn another_client_is_served(findings: &mut Findings, what: &str, gate: &Gate) {
    let mut other = Exchange::to(&gate.socket()).await;
    other.send(b"POST /open/other HTTP/1.1\r\nHost: console.test\r\nContent-Length: 2\r\n\r\nhi").await;
    let answer = other.answer(false).await.map(|answer| (answer.status, answer.body));
    findings.equal(&format!("{what}: another client"), answer, Some((200, b"ok".to_vec())));
}
