//! Strangers at the admin address: they cannot stay, and they keep nobody out.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::support::scene::create_token;
use crate::support::{Ask, Client, Database, Gate, Setup, World};

const SHORT: &str = "[admin]\nhead_timeout_ms = 700\ntransfer_timeout_ms = 700\nidle_timeout_ms = 700\n\
    [ingest]\nsources = [\"queue\"]\n[api]\ncallers = [\"queue\"]\n";
/// Far more than each of these times, and far less than for ever.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a stranger sends, a byte each time.
const BEAT: Duration = Duration::from_millis(50);

async fn gate(sections: &'static str) -> (World, Gate) {
    let world = World::new(Database::Sqlite).await;
    let gate = world.gate(&Setup { sections, ..Setup::V2 }).await;
    (world, gate)
}

async fn connect(gate: &Gate) -> UnixStream {
    UnixStream::connect(gate.admin_socket()).await.expect("the gate takes connections")
}

/// What the gate answers until it closes the connection.
async fn until_closed(stream: &mut UnixStream) -> String {
    let mut answer = Vec::new();
    let read =
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the gate closes the connection");
    // A connection that is closed with something unread is reset.
    assert!(read.is_ok() || read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends `head`, then `bytes` one by one, until the gate closes the connection. Returns what it answered, and after how
/// many of these bytes.
async fn dribble(gate: &Gate, head: &str, bytes: u8) -> (String, usize) {
    let mut stream = connect(gate).await;
    stream.write_all(head.as_bytes()).await.expect("a head");
    let (mut read, mut write) = stream.into_split();
    let reading = tokio::spawn(async move {
        let mut answer = Vec::new();
        let _ = read.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    });
    let began = Instant::now();
    let mut sent = 0;
    while !reading.is_finished() && write.write_all(&[bytes]).await.is_ok() {
        sent += 1;
        assert!(began.elapsed() < PATIENCE, "the gate lets a stranger dribble");
        tokio::time::sleep(BEAT).await;
    }
    (reading.await.expect("a reader"), sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_and_a_body_have_their_time() {
    let (_world, gate) = gate(SHORT).await;
    let token = create_token(&gate, "queue", &[]);
    // Nothing, a part of a head a byte at a time, and nothing after an answer.
    assert_eq!(until_closed(&mut connect(&gate).await).await, "");
    assert_eq!(dribble(&gate, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Y: ", b'a').await.0, "");
    let mut kept = connect(&gate).await;
    kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("a request");
    assert!(until_closed(&mut kept).await.starts_with("HTTP/1.1 200"));
    assert!(gate.metric("gate_admin_connections_closed_total{reason=\"late\"}").await >= Some(3.0));
    // Whose token is none gets an answer before a byte of the body; whose token is one has so much time for it.
    for path in ["/api/v1/audit/events", "/api/gate/diff", "/access/v1/evaluation", "/access/v1/evaluations"]
    {
        let head = |token: &str| {
            format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000\r\n\r\n"
            )
        };
        let mut stream = connect(&gate).await;
        stream.write_all(head("cgm_nobodys").as_bytes()).await.expect("a head");
        let answer = until_closed(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{path}: {answer}");
        let (answer, sent) = dribble(&gate, &head(&token), b'{').await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{path}: {answer}");
        assert!((1..1_000).contains(&sent), "{path}: {sent}");
    }
}

/// Three hundred connections that say nothing: a scrape, a health check and a service are answered all the same.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_keep_nobody_out() {
    let (_world, gate) = gate("[api]\ncallers = [\"console\"]\n").await;
    let token = create_token(&gate, "console", &[]);
    let mut scraper = Client::to(&gate.admin_socket());
    assert_eq!(scraper.send(&Ask::get("/metrics")).await.status, 200);
    let mut strangers = Vec::new();
    for number in 0..300 {
        let mut stranger = connect(&gate).await;
        if number % 2 == 0 {
            stranger.write_all(b"POST /metrics HTTP/1.1\r\nHost:").await.expect("a part of a head");
        }
        strangers.push(stranger);
    }
    let began = Instant::now();
    for ask in [Ask::get("/metrics"), Ask::get("/healthz"), Ask::get("/api/gate/mapping").bearer(&token)] {
        assert_eq!(Client::to(&gate.admin_socket()).send(&ask).await.status, 200, "{ask:?}");
    }
    assert!(began.elapsed() < PATIENCE);
    let displaced = gate.metric("gate_admin_connections_closed_total{reason=\"displaced\"}").await;
    assert!(displaced >= Some(300.0 - 128.0), "{displaced:?}");
    // The newest are still there: looked at first, for they stay only as long as a head may take.
    let mut byte = [0];
    let last = strangers.last().expect("strangers");
    assert_eq!(last.try_read(&mut byte).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
    // The oldest went, and the kept connection of a scraper with them, which it makes anew.
    for stranger in &mut strangers[..150] {
        until_closed(stranger).await;
    }
    assert_eq!(scraper.send(&Ask::get("/metrics")).await.status, 200);
}

#[tokio::test]
async fn without_sources_nobody_reports_events() {
    let (_world, gate) = gate("[api]\ncallers = [\"queue\"]\n").await;
    let token = create_token(&gate, "queue", &[]);
    let ask = Ask::new("POST", "/api/v1/audit/events").body(json!({ "events": [] }).to_string());
    for ask in [ask.clone(), ask.bearer(&token)] {
        assert_eq!(Client::to(&gate.admin_socket()).send(&ask).await.status, 404);
    }
}
