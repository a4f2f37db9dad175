//! Console down, slow or broken; and several of it.

use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixListener;

use crate::support::alone::{Alone, Place, free_address};
use crate::support::recorder::Recorder;
use crate::support::wire::Wire;
use crate::support::{Answer, Ask, Database, Setup, World};

const MAPPING: &str = "version = 1\n[blueprints.t.routes]\n\"* /*\" = { public = true }\n";

fn setup() -> Setup {
    Setup {
        mapping: Some(MAPPING),
        upstream_settings: "read_timeout_ms = 700\nconnect_timeout_ms = 500\nhealth_interval_ms = 100\n",
        ..Setup::V2
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_console_has_its_answer_in_time() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = world.gate(&Setup { upstream: Some(upstream.socket()), ..setup() }).await;
    for (target, expected) in [("/never", 504), ("/close", 502), ("/garbage", 502), ("/fine", 200)] {
        let started = Instant::now();
        let answer = gate.send(&Ask::get(target)).await;
        assert_eq!(answer.status, expected, "{target}");
        assert!(started.elapsed() < Duration::from_secs(20), "{target} took {:?}", started.elapsed());
        assert!(!answer.request_id().is_empty(), "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ended_badly_is_never_used_again() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = world.gate(&Setup { upstream: Some(upstream.socket()), ..setup() }).await;
    for bad in ["/never", "/garbage", "/close"] {
        gate.send(&Ask::get(bad)).await;
        let last = upstream.requests().last().map(|request| request.connection);
        assert_eq!(gate.send(&Ask::get("/fine")).await.status, 200);
        assert_ne!(upstream.requests().last().map(|request| request.connection), last, "after {bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_changes_something_is_sent_once() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = world.gate(&Setup { upstream: Some(upstream.socket()), ..setup() }).await;
    // A kept connection first, so that a retry on a fresh one would be possible.
    gate.send(&Ask::get("/fine")).await;
    assert_eq!(gate.send(&Ask::new("POST", "/close").body(b"pay".to_vec())).await.status, 502);
    let paid = upstream.requests().iter().filter(|request| request.head.starts_with("POST")).count();
    assert_eq!(paid, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_only_reads_has_one_second_chance() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = world.gate(&Setup { upstream: Some(upstream.socket()), ..setup() }).await;
    assert_eq!(gate.send(&Ask::get("/close")).await.status, 502);
    assert_eq!(upstream.requests().len(), 2, "one that the server left, and the second chance");
    // A kept connection may have been idle for too long: that is not yet the chance.
    gate.send(&Ask::get("/fine")).await;
    assert_eq!(gate.send(&Ask::get("/close")).await.status, 502);
    assert_eq!(upstream.requests().len(), 2 + 1 + 3);
    // What began to arrive is not begun again.
    let mut client = Wire::to(&gate.socket()).await;
    client.write(b"GET /half HTTP/1.1\r\nHost: console.test\r\n\r\n").await;
    assert!(client.rest().await.ends_with("only this much"));
    assert_eq!(upstream.requests().iter().filter(|request| request.head.contains("/half")).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_server_is_left_out_and_taken_back() {
    let world = World::new(Database::Sqlite).await;
    let first = Recorder::start(world.folder(), "first.sock");
    let second = Recorder::start(world.folder(), "second.sock");
    let servers = Setup { upstream: Some(first.socket()), second_upstream: Some(second.socket()), ..setup() };
    let gate = world.gate(&servers).await;
    for _ in 0..10 {
        assert_eq!(gate.send(&Ask::get("/fine")).await.status, 200);
    }
    assert!(!first.requests().is_empty() && !second.requests().is_empty(), "both serve in turn");
    drop(first);
    // From the first request on: one that finds the door closed goes to the other.
    for _ in 0..20 {
        assert_eq!(gate.send(&Ask::get("/fine")).await.status, 200);
    }
    let first = Recorder::start(world.folder(), "first.sock");
    let deadline = Instant::now() + Duration::from_secs(10);
    while first.requests().is_empty() {
        assert!(Instant::now() < deadline, "the server was not taken back");
        gate.send(&Ask::get("/fine")).await;
    }
}

/// What names resolve to is the machine's here; names that change are in `src/upstream/tests.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_resolve_is_waited_for_and_one_that_does_is_enough() {
    let folder = tempfile::Builder::new().prefix("gate-").tempdir_in("/tmp").expect("a folder in /tmp");
    let console = Alone::console();
    let (proxy, admin) = (Place::Tcp(free_address()), Place::Tcp(free_address()));
    let settings = |servers: &str| {
        format!(
            "[listen]\nproxy = \"{}\"\nadmin = \"{}\"\n[upstream]\nservers = [{servers}]\nhealth_interval_ms = 100\n",
            proxy.setting(),
            admin.setting(),
        )
    };
    // RFC 2606: this name never resolves.
    let nobody = "\"console.invalid:80\"";
    let mut gate = Alone::serve(folder.path(), &settings(nobody), &[]);
    let ready = gate.ready(&admin, 503).await;
    assert_eq!((&ready["listener"], &ready["upstream"]), (&"open".into(), &"unresolved".into()), "{ready}");
    gate.logs("the name of an upstream server does not resolve").await;
    assert_eq!(proxy.get("/x").await.expect("an answer").0, 502);
    drop(gate);
    // `localhost` is ::1 and 127.0.0.1 where a machine has both; Console listens at one of them.
    let localhost = format!("{nobody}, \"localhost:{}\"", console.port());
    let mut gate = Alone::serve(folder.path(), &settings(&localhost), &[]);
    gate.ready(&admin, 200).await;
    for _ in 0..8 {
        assert_eq!(proxy.get("/x").await.expect("an answer").0, 200);
    }
}

/// A server whose application sends a whole response more than it was asked for, once the next request has come: the one
/// before it over the connection, again. `names` is the field in which its responses name their requests.
async fn late_server(listener: UnixListener, names: &'static str) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut last = String::new();
            loop {
                let (mut target, mut id, mut line) = (String::new(), String::new(), String::new());
                while stream.read_line(&mut line).await.is_ok_and(|length| length > 2) {
                    if target.is_empty() {
                        target += line.split(' ').nth(1).unwrap_or_default();
                    }
                    id += line.strip_prefix("x-request-id: ").unwrap_or_default().trim_end();
                    line.clear();
                }
                if target.is_empty() {
                    return;
                }
                let named = if names.is_empty() { String::new() } else { format!("{names}: {id}\r\n") };
                let answer =
                    format!("HTTP/1.1 200 OK\r\n{named}Content-Length: {}\r\n\r\n{target}", target.len());
                let sent = format!("{last}{answer}");
                last = answer;
                if stream.write_all(sent.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// What comes behind a request is its response by HTTP/1.1 alone: only its name says that it is somebody else's.
#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_names_another_request_reaches_nobody() {
    let world = World::new(Database::Sqlite).await;
    // `echo`, the server's field; the second GET over a kept connection, and a POST over one.
    let table = [
        ("compared", "X-Console-Gate-Request", "200 /second", "502"),
        ("required", "x-console-gate-request", "200 /second", "502"),
        ("compared", "", "200 /first", "200 /third"),
        ("required", "", "502", "502"),
        ("off", "X-Console-Gate-Request", "200 /first", "200 /third"),
    ];
    for (number, (echo, names, get, post)) in table.into_iter().enumerate() {
        let socket = world.folder().join(format!("late{number}.sock"));
        tokio::spawn(late_server(UnixListener::bind(&socket).expect("a new socket"), names));
        let settings: &'static str = format!("echo = \"{echo}\"\nhealth_interval_ms = 600000\n").leak();
        let setup = Setup { upstream: Some(socket), upstream_settings: settings, ..setup() };
        let mut gate = world.gate(&setup).await;
        let told = |answer: Answer| {
            assert_eq!(answer.header("x-console-gate-request"), "", "{echo} {names}");
            match answer.status {
                200 => format!("200 {}", String::from_utf8_lossy(&answer.body)),
                status => status.to_string(),
            }
        };
        let first = told(gate.send(&Ask::get("/first")).await);
        assert_eq!(
            first,
            if (echo, names) == ("required", "") { "502" } else { "200 /first" },
            "{echo} {names}"
        );
        assert_eq!(told(gate.send(&Ask::get("/second")).await), get, "{echo} {names}: GET");
        let posted = gate.send(&Ask::new("POST", "/third").body(b"x".to_vec())).await;
        assert_eq!(told(posted), post, "{echo} {names}: POST");
        gate.stop().await;
    }
}
