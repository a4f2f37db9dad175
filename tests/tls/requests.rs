//! Requests over TLS: the same as over plain HTTP, and what only TLS adds.

use bytes::Bytes;
use serde_json::json;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::support::certificates::HOST;
use crate::support::{Client, Gate, PATIENCE, Setup};

const HSTS: &str = "strict-transport-security";

/// The head of an answer as it came, and one of its fields.
fn field<'a>(answer: &'a str, name: &str) -> Vec<&'a str> {
    let (head, _) = answer.split_once("\r\n\r\n").unwrap();
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

/// Who asks, for what, and the status that it has by the mapping.
const STATUSES: [(&str, &str, u16); 5] = [
    ("", "/open/page", 200),
    ("auditor", "/audit", 200),
    ("", "/audit", 302),
    ("guest", "/audit", 403),
    ("", "//audit", 400),
];

#[tokio::test]
async fn every_answer_over_tls_says_how_long_to_stay_with_it() {
    const CONSOLES_OWN: &[&str] = &["max-age=1"];
    let table: [(Setup, &[&str], &[&str]); 4] = [
        // From the gate itself, and instead of Console's own.
        (Setup::TLS, &["max-age=31536000"], &["max-age=31536000"]),
        (Setup::tls("http2 = true\nhsts_seconds = 60"), &["max-age=60"], &["max-age=60"]),
        (Setup::tls("hsts_seconds = 0"), &[], CONSOLES_OWN),
        (Setup::PLAIN, &[], CONSOLES_OWN),
    ];
    for (setup, gates, consoles) in table {
        let gate = Gate::start(&setup).await;
        for (who, target, status) in STATUSES {
            let cookie =
                if who.is_empty() { String::new() } else { format!("Cookie: {}\r\n", gate.cookie(who)) };
            let request =
                format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n{cookie}Connection: close\r\n\r\n");
            let answer = match setup.tls {
                Some(_) => gate.client().send_raw(&request).await,
                None => send_plain(&gate, &request).await,
            };
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{who} {target}: {answer}");
            let expected = if status == 200 { consoles } else { gates };
            assert_eq!(field(&answer, HSTS), expected, "{:?}: {who} {target}", setup.tls);
        }
    }
}

async fn send_plain(gate: &Gate, request: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(gate.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn console_learns_that_it_was_https() {
    let gate = Gate::start(&Setup::TLS).await;
    let claims = [("x-forwarded-proto", "http"), ("x-forwarded-for", "6.6.6.6"), ("forwarded", "proto=http")];
    for version in [&TLS12, &TLS13] {
        let client = Client::speaking(&gate.authority, gate.address, &[version], &["http/1.1"]);
        let answer = client.connect().await.send("GET", "/open/page", &claims, Bytes::new()).await;
        let headers = &answer.echo()["headers"];
        assert_eq!(headers["x-forwarded-proto"], json!("https"));
        assert_eq!(headers["x-forwarded-for"], json!("127.0.0.1"));
        assert_eq!(headers["forwarded"], json!(null));
    }
    let plain = Gate::start(&Setup::PLAIN).await;
    let request = format!(
        "GET /open/page HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n"
    );
    let answer = send_plain(&plain, &request).await;
    assert!(answer.contains("\"x-forwarded-proto\":\"http\""), "{answer}");
}

#[tokio::test]
async fn the_firewall_holds_over_tls() {
    let gate = Gate::start(&Setup::TLS).await;
    let cookie = gate.cookie("auditor");
    let start = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\n");
    let table = [
        ("another scheme", format!("{}\r\n", start("x:/audit?://"))),
        ("absolute-form of another host", format!("{}\r\n", start("https://elsewhere.test/audit"))),
        ("two slashes", format!("{}\r\n", start("//audit"))),
        ("an escaped slash", format!("{}\r\n", start("/%2Faudit"))),
        ("a dot segment", format!("{}\r\n", start("/open/../audit"))),
        ("two lengths", format!("{}Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", start("/audit"))),
        (
            "a length and chunks",
            format!("{}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", start("/audit")),
        ),
        ("a bare line feed", start("/audit").replace("\r\n", "\n") + "\n"),
        ("another host", format!("GET /audit HTTP/1.1\r\nHost: elsewhere.test\r\nCookie: {cookie}\r\n\r\n")),
        ("TLS within TLS", "\u{16}\u{3}\u{1}".to_owned()),
    ];
    for (what, request) in &table {
        let answer = gate.client().send_raw(request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{what}: {answer}");
    }
    assert_eq!(gate.console.reached(), 0);
    // The same request without the fault is served, so it was the fault that was refused.
    let sound = gate.client().send_raw(&format!("{}Connection: close\r\n\r\n", start("/audit"))).await;
    assert!(sound.starts_with("HTTP/1.1 200 "), "{sound}");
}

#[tokio::test]
async fn each_request_of_a_connection_is_judged_by_itself() {
    let gate = Gate::start(&Setup::tls("http2 = true")).await;
    let protocols: [&[&str]; 2] = [&["http/1.1"], &["h2"]];
    for offered in protocols {
        let client = Client::speaking(&gate.authority, gate.address, &[&TLS13], offered);
        let mut connection = match offered[0] {
            "h2" => client.connect_http2().await,
            _ => client.connect().await,
        };
        for (who, expected) in [("", 302), ("auditor", 200), ("guest", 403), ("auditor", 200), ("", 302)] {
            let cookie = gate.cookie(who);
            let headers = [("cookie", cookie.as_str())];
            let headers = if who.is_empty() { &[][..] } else { &headers[..] };
            let answer = connection.send("GET", "/audit", headers, Bytes::new()).await;
            assert_eq!(answer.status, expected, "{offered:?} {who}");
            assert_eq!(answer.all(HSTS), ["max-age=31536000"], "{offered:?} {who}");
            if expected == 200 {
                assert_eq!(answer.echo()["headers"]["x-forwarded-proto"], json!("https"), "{offered:?}");
                assert_eq!(answer.echo()["headers"]["x-forwarded-for"], json!("127.0.0.1"), "{offered:?}");
            }
        }
        assert_eq!(connection.get("//audit").await.status, 400, "{offered:?}");
    }
}

/// An end without TLS's closing alert could be caused by anybody, and clients report it as an error.
#[tokio::test]
async fn a_stopping_gate_takes_its_leave_of_idle_connections() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let gate = Gate::start(&Setup::TLS).await;
    let mut stream = gate.client().shake_hands().await.unwrap();
    stream.write_all(format!("HEAD /open/page HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    gate.signal("TERM");
    let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut head)).await.unwrap();
    assert_eq!(end.unwrap(), 0);
}

/// More than one record of TLS (16 kB) and than any buffer holds, both ways.
#[tokio::test]
async fn large_bodies_pass_whole() {
    let gate = Gate::start(&Setup::TLS).await;
    for version in [&TLS12, &TLS13] {
        let client = Client::speaking(&gate.authority, gate.address, &[version], &[]);
        let mut connection = client.connect().await;
        for _ in 0..2 {
            let body = Bytes::from(vec![b'x'; 3_000_000]);
            let answer = connection.send("POST", "/open/large", &[], body).await;
            assert_eq!(answer.echo()["body_bytes"], json!(3_000_000));
            assert_eq!(answer.echo()["padding"].as_str().map(str::len), Some(1_000_000));
        }
    }
}
