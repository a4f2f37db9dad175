//! Time limits over HTTP/2: a client that says nothing, or says it a byte at a time, is not waited for.

use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::version::TLS13;

use crate::support::frames::{
    DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frame, Frames, GOAWAY, HEADERS, NO_ERROR, PREFACE,
    RST_STREAM, SETTINGS, fields, frame, greeting,
};
use crate::support::{Client, Gate, Setup, until};

const HEAD: Duration = Duration::from_millis(700);
const LIMITS: &str = "head_timeout_ms = 700\nidle_timeout_ms = 1500\nbody_timeout_ms = 700\n";
const IDLE: Duration = Duration::from_millis(1500);
/// What a busy machine may add.
const GRACE: Duration = Duration::from_secs(10);
/// What a client may know later than the gate.
const MOMENT: Duration = Duration::from_millis(50);

fn setup() -> Setup {
    Setup { firewall: LIMITS, ..Setup::tls("http2 = true") }
}

fn client(gate: &Gate) -> Client {
    Client::speaking(&gate.authority, gate.address, &[&TLS13], &["h2"])
}

async fn connect(gate: &Gate) -> Frames<TlsStream<TcpStream>> {
    Frames::over(client(gate).shake_hands().await.unwrap())
}

fn goaway(frames: &[Frame]) -> Option<u8> {
    frames.iter().filter(|frame| frame.kind == GOAWAY).map(Frame::code).next_back()
}

#[tokio::test]
async fn a_greeting_or_a_head_that_does_not_come_ends_the_connection() {
    let gate = Gate::start(&setup()).await;
    let head = frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields("GET", "/open/page"));
    let begun = frame(HEADERS, END_STREAM, 1, &fields("GET", "/open/page"));
    let table: [(&str, Vec<u8>, Option<u8>); 6] = [
        ("nothing", Vec::new(), None),
        ("half of the preface", PREFACE[..10].to_vec(), None),
        ("the preface alone", PREFACE.to_vec(), Some(ENHANCE_YOUR_CALM)),
        ("half of a head", [greeting(), head[..20].to_vec()].concat(), Some(ENHANCE_YOUR_CALM)),
        ("a head without its end", [greeting(), begun].concat(), Some(ENHANCE_YOUR_CALM)),
        (
            "half of a head after a request",
            [greeting(), head.clone(), head[..5].to_vec()].concat(),
            Some(ENHANCE_YOUR_CALM),
        ),
    ];
    for (what, bytes, expected) in table {
        let mut frames = connect(&gate).await;
        frames.send(&bytes).await;
        let (received, held) = frames.rest().await;
        // The gate's time begins when it has shaken hands, a moment before the client has.
        assert!(held + MOMENT >= HEAD && held < HEAD + GRACE, "{what}: held for {held:?}");
        assert_eq!(goaway(&received), expected, "{what}: {received:?}");
    }
    assert_eq!(gate.metric("gate_refusals_total{reason=\"head_timeout\"}").await, Some(4.0));
}

#[tokio::test]
async fn a_head_a_byte_at_a_time_has_one_deadline() {
    let gate = Gate::start(&setup()).await;
    let mut frames = connect(&gate).await;
    frames.send(&greeting()).await;
    frames.next_of(SETTINGS).await;
    let head = frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields("GET", "/open/page"));
    for byte in &head {
        tokio::time::sleep(HEAD / 8).await;
        if !frames.try_send(&[*byte]).await {
            break;
        }
    }
    frames.rest().await;
    assert_eq!(gate.console.reached(), 0, "the head was waited for");
    assert_eq!(gate.metric("gate_refusals_total{reason=\"head_timeout\"}").await, Some(1.0));
}

#[tokio::test]
async fn an_idle_connection_is_taken_leave_of() {
    let gate = Gate::start(&setup()).await;
    let mut silent = connect(&gate).await;
    silent.send(&greeting()).await;
    let (received, held) = silent.rest().await;
    assert!(held >= IDLE && held < IDLE + GRACE, "held for {held:?}");
    assert_eq!(goaway(&received), Some(NO_ERROR), "{received:?}");
    // One that has asked for something is as idle afterwards, and not before its answer has come.
    let mut asking = connect(&gate).await;
    let held_page = frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields("GET", "/open/held"));
    asking.send(&[greeting(), held_page].concat()).await;
    tokio::time::sleep(2 * IDLE).await;
    gate.console.release.add_permits(1);
    assert_eq!(asking.next_of(HEADERS).await.stream, 1);
    let (received, _) = asking.rest().await;
    assert_eq!(goaway(&received), Some(NO_ERROR), "{received:?}");
}

#[tokio::test]
async fn connections_over_http2_count_among_those_that_may_be_open() {
    let setup =
        Setup { firewall: "head_timeout_ms = 5000\nmax_connections = 2\n", ..Setup::tls("http2 = true") };
    let gate = Gate::start(&setup).await;
    let refused = async || gate.metric("gate_connections_refused_total").await.unwrap();
    // What the gate itself and the start of this test have knocked is gone by then.
    until("two have a place", async || {
        let before = refused().await;
        let held = (client(&gate).shake_hands().await, client(&gate).shake_hands().await);
        let third = client(&gate).shake_hands().await;
        held.0.is_ok() && held.1.is_ok() && third.is_err() && refused().await > before
    })
    .await;
    // They say nothing, so their places are free again after the deadline.
    until("there is a place again", async || client(&gate).shake_hands().await.is_ok()).await;
}

#[tokio::test]
async fn a_silent_body_ends_its_stream_and_no_other() {
    let gate = Gate::start(&setup()).await;
    let mut frames = connect(&gate).await;
    let post = frame(HEADERS, END_HEADERS, 1, &fields("POST", "/open/page"));
    let body = frame(DATA, 0, 1, b"some of it");
    let page = frame(HEADERS, END_HEADERS | END_STREAM, 3, &fields("GET", "/open/page"));
    frames.send(&[greeting(), post, body, page].concat()).await;
    let (mut answered, mut reset) = (false, false);
    while !(answered && reset) {
        let frame = frames.next().await.expect("the connection goes on");
        answered |= (frame.kind, frame.stream) == (HEADERS, 3);
        reset |= (frame.kind, frame.stream) == (RST_STREAM, 1);
    }
    // And one that keeps coming is taken.
    let post = frame(HEADERS, END_HEADERS, 5, &fields("POST", "/open/page"));
    frames.send(&post).await;
    for _ in 0..6 {
        tokio::time::sleep(HEAD / 3).await;
        frames.send(&frame(DATA, 0, 5, &[b'x'; 2048])).await;
    }
    frames.send(&frame(DATA, END_STREAM, 5, b"")).await;
    loop {
        let frame = frames.next().await.expect("the connection goes on");
        assert_ne!((frame.kind, frame.stream), (RST_STREAM, 5));
        if (frame.kind, frame.stream) == (HEADERS, 5) {
            break;
        }
    }
}

#[tokio::test]
async fn an_exchange_over_http2_has_its_total_time_too() {
    let setup = Setup { upstream: "total_timeout_ms = 1000\n", ..Setup::tls("http2 = true") };
    let gate = Gate::start(&setup).await;
    let mut frames = connect(&gate).await;
    let held = frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields("GET", "/open/held"));
    frames.send(&[greeting(), held].concat()).await;
    assert_eq!(frames.next_of(RST_STREAM).await.stream, 1);
    assert_eq!(gate.metric("gate_upstream_errors_total{kind=\"total_timeout\"}").await, Some(1.0));
    // The connection goes on.
    let page = frame(HEADERS, END_HEADERS | END_STREAM, 3, &fields("GET", "/open/page"));
    frames.send(&page).await;
    assert_eq!(frames.next_of(HEADERS).await.stream, 3);
}

/// A gate that stops does not wait for a client that ignores its GOAWAY.
#[tokio::test]
async fn a_stopping_gate_serves_what_was_asked_for_and_leaves_idle_connections() {
    let mut gate = Gate::start(&setup()).await;
    let mut idle = connect(&gate).await;
    idle.send(&greeting()).await;
    idle.next_of(SETTINGS).await;
    let mut connection = client(&gate).connect_http2().await;
    let console = gate.console.clone();
    let asked =
        tokio::spawn(async move { connection.send("GET", "/open/held", &[], Bytes::new()).await.status });
    until("Console has the request", async || console.reached() > 0).await;
    gate.signal("TERM");
    let (received, _) = idle.rest().await;
    assert_eq!(goaway(&received), Some(NO_ERROR), "{received:?}");
    console.release.add_permits(1);
    assert_eq!(asked.await.unwrap(), 200);
    assert!(gate.ends().await, "it waits for somebody");
}
