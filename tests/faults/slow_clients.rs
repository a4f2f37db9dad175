//! Clients that send a body slowly, or read a response slowly, before a real gunicorn: they hold none of its threads.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::callers::{Caller, Load};
use crate::figures::{median, p99, resident_kib, size};
use crate::scene::{ALLOWED, get, people};
use crate::support::{Console, Database, Gate, Setup, World};

const MAPPING: &str = "version = 1\n[clusters]\nC = \"v2\"\n[blueprints.t]\ncluster = \"C\"\n[blueprints.t.routes]\n\
    \"GET /__test/status/<int:code>\" = { legacy = [\"ops\"], role = \"console-user\" }\n\
    \"POST /__test/echo\" = { public = true }\n\"GET /__test/big\" = { public = true }\n";
/// A body of which a part comes.
const BODY: &str =
    "POST /__test/echo HTTP/1.1\r\nHost: console.test\r\nContent-Length: 1000\r\n\r\nonly this";
/// More than gunicorn has threads: without the gate's buffers, the first of them hold them all.
const FEW: usize = 100;
const ROUNDS: usize = 3;
/// More than the sockets of a connection take.
const RESPONSE_BYTES: usize = 1_000_000;
/// How much memory HTTP/2 clients that read nothing may cost the gate; the rest of what they asked for is in files.
const UNREAD_KIB: u64 = 200 * 1024;

async fn scene(world: &World, console: &Console) -> Gate {
    people(world).await;
    let upstream = Some(console.socket());
    world.gate(&Setup { mapping: Some(MAPPING), listen: "h2c = true\n", upstream, ..Setup::V2 }).await
}

/// The p99 of requests that need a role, answered by gunicorn. Each of them is answered.
async fn allowed_p99(world: &World, gate: &Gate) -> Duration {
    let request = get("/__test/status/200", Some(&world.cookie("anna")));
    let load =
        Load::new().with(2, ALLOWED, &request, Duration::from_millis(5), || Caller::to(&gate.socket()));
    load.further(200).await;
    let samples = load.stop().await;
    for sample in &samples {
        assert_eq!(sample.status(), 200, "{sample:?}");
    }
    p99(samples.iter().map(|sample| sample.took).collect())
}

/// Requests that stay as they are for as long as they are held.
async fn open(gate: &Gate, count: usize, request: &str) -> Vec<UnixStream> {
    let mut held = Vec::new();
    for _ in 0..count {
        let mut stream = UnixStream::connect(gate.socket()).await.expect("the gate takes connections");
        stream.write_all(request.as_bytes()).await.expect("a write");
        held.push(stream);
    }
    held
}

/// Waits until what the gate's buffers hold is as it should be, and changes no more.
async fn until_buffered(gate: &Gate, is_reached: impl Fn(f64) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut before = None;
    loop {
        let held = gate.metric("gate_buffer_bytes{kind=\"files\"}").await;
        if held == before && held.is_some_and(&is_reached) {
            return;
        }
        assert!(Instant::now() < deadline, "the buffers hold {held:?} bytes");
        before = held;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Allowed traffic alone and beside such requests, in turn: the ratio of its p99. `buffered`: what the gate has taken of
/// them in files by then.
async fn beside(what: &str, console: &Console, count: usize, request: &str, buffered: usize) {
    let world = World::new(Database::Sqlite).await;
    let gate = scene(&world, console).await;
    allowed_p99(&world, &gate).await;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(allowed_p99(&world, &gate).await);
        let held = open(&gate, count, request).await;
        // What they hold is measured, not what it costs Console to make the responses.
        until_buffered(&gate, |held| held >= buffered as f64).await;
        beside.push(allowed_p99(&world, &gate).await);
        drop(held);
        until_buffered(&gate, |held| held < 1.0).await;
    }
    let ratios = alone.iter().zip(&beside).map(|(alone, beside)| beside.as_secs_f64() / alone.as_secs_f64());
    let ratio = median(ratios.collect());
    println!(
        "fault: {count} {what}: p99 of allowed traffic {:.2?}, without them {:.2?}, ratio {ratio:.2} \
         (median of {ROUNDS} rounds in turn)",
        median(beside),
        median(alone)
    );
    // The small edition runs beside other tests: there it is enough that everybody was answered.
    assert!(count == FEW || ratio <= 2.0, "allowed traffic's p99 grows to {ratio:.2} of what it was");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bodies_hold_no_thread_of_console() {
    beside("bodies that do not end, before gunicorn gthread", Console::shared(), size(FEW, 2_000), BODY, 0)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bodies_hold_no_worker_of_console() {
    beside("bodies that do not end, before gunicorn sync", Console::sync(), size(FEW, 2_000), BODY, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_hold_no_thread_of_console() {
    beside_readers("responses that nobody reads, before gunicorn gthread", Console::shared()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_hold_no_worker_of_console() {
    beside_readers("responses that nobody reads, before gunicorn sync", Console::sync()).await;
}

async fn beside_readers(what: &str, console: &Console) {
    let request = format!("GET /__test/big?bytes={RESPONSE_BYTES} HTTP/1.1\r\nHost: console.test\r\n\r\n");
    let count = size(FEW, 2_000);
    // Of each response, the sockets and the memory take a part.
    beside(what, console, count, &request, count * RESPONSE_BYTES / 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_responses_over_http2_cost_a_bounded_memory() {
    let (connections, streams) = (size(4, 20), 60);
    let world = World::new(Database::Sqlite).await;
    let gate = scene(&world, Console::shared()).await;
    let before = resident_kib(gate.id());
    let mut unread: Vec<http::Response<Incoming>> = Vec::new();
    let mut drivers = JoinSet::new();
    let mut senders = Vec::new();
    for _ in 0..connections {
        let stream = UnixStream::connect(gate.socket()).await.expect("the gate takes connections");
        let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.expect("an HTTP/2 connection");
        drivers.spawn(connection);
        for _ in 0..streams {
            let request =
                http::Request::get(format!("http://console.test/__test/big?bytes={RESPONSE_BYTES}"));
            let request = request.body(Empty::<Bytes>::new()).expect("a request");
            unread.push(sender.send_request(request).await.expect("a response"));
        }
        senders.push(sender);
    }
    let p99 = allowed_p99(&world, &gate).await;
    let after = resident_kib(gate.id());
    let cost = after.saturating_sub(before);
    println!(
        "fault: {} unread responses of {RESPONSE_BYTES} bytes over {connections} HTTP/2 connections: {} MiB of memory, \
         p99 of allowed traffic beside them {p99:.2?}",
        unread.len(),
        cost / 1024
    );
    assert!(unread.iter().all(|response| response.status() == 200));
    assert!(cost < UNREAD_KIB, "{} MiB", cost / 1024);
}
