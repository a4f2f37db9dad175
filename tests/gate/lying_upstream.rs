//! A lying upstream: for each answer of `tests/data/upstream/answers.toml`, what the client gets, that no byte of it
//! reaches another client or another request, and that the connection carries on only where it provably can.
//!
//! After each case the same client, where its connection is open, and another client ask for something of their own.

#[path = "../support/answers.rs"]
mod answers;
#[path = "../tls/support/certificates.rs"]
#[allow(clippy::unwrap_used, dead_code, reason = "the TLS tests' own, which stop at what they cannot do")]
mod certificates;
mod client;
mod liar;
mod unasked;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use answers::{Case, Method, Outcome};
use client::{Answer, Client, Door, Got, ask_over_http2};
use liar::{BETWEEN_BYTES, Liar, Place, Sending};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::support::{Database, Gate, Setup, World, project_text};

const MAPPING: &str = r#"
version = 1
[blueprints.t.routes]
"GET /case/*" = { public = true, websocket = true }
"POST /case/*" = { public = true }
"GET /idle/*" = { public = true }
"* /own/*" = { public = true }
"#;

const SETUP: Setup = Setup {
    mapping: Some(MAPPING),
    listen: "h2c = true\n",
    upstream_settings: "read_timeout_ms = 700\n",
    ..Setup::V2
};

const FIELDS: &str = "Host: console.test\r\n";
const BODY: &str = "a=1&b=2";

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
    Http2,
}

/// One way of asking for every case.
#[derive(Clone, Copy, Debug)]
struct Round {
    version: Version,
    method: Method,
    sending: Sending,
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_get() {
    play(Round { version: Version::Http11, method: Method::Get, sending: Sending::Whole }, 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_a_byte_at_a_time() {
    play(Round { version: Version::Http11, method: Method::Get, sending: Sending::Bytes }, 350).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_head() {
    play(Round { version: Version::Http11, method: Method::Head, sending: Sending::Whole }, 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_head_without_a_body() {
    play(Round { version: Version::Http11, method: Method::Head, sending: Sending::HeadAlone }, 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_post() {
    play(Round { version: Version::Http11, method: Method::Post, sending: Sending::Whole }, 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_for_http_1_0() {
    play(Round { version: Version::Http10, method: Method::Get, sending: Sending::Whole }, 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_for_http_2() {
    play(Round { version: Version::Http2, method: Method::Get, sending: Sending::Whole }, 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_post_for_http_2() {
    play(Round { version: Version::Http2, method: Method::Post, sending: Sending::Whole }, 400).await;
}

/// The road to the upstream is another one, with ends and resets of its own: each fourth case.
#[tokio::test(flavor = "multi_thread")]
async fn answers_over_tcp() {
    for (version, method) in
        [(Version::Http11, Method::Get), (Version::Http10, Method::Get), (Version::Http2, Method::Post)]
    {
        play_over(Road::Tcp, Round { version, method, sending: Sending::Whole }, 100).await;
    }
}

/// The same to clients over TLS, to whom a cut response of HTTP/1.0 has to look cut too.
#[tokio::test(flavor = "multi_thread")]
async fn answers_for_tls() {
    for (version, method) in
        [(Version::Http11, Method::Get), (Version::Http10, Method::Get), (Version::Http2, Method::Post)]
    {
        play_over(Road::Tls, Round { version, method, sending: Sending::Whole }, 100).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_upgrade() {
    play(Round { version: Version::Http11, method: Method::Upgrade, sending: Sending::Whole }, 10).await;
}

/// A server that never pauses for as long as the gate waits for the next byte: its answer passes, unless the total time
/// is over before it ends.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_a_byte_now_and_then() {
    let body = "x".repeat(25);
    let chunks: String = (0..5).map(|_| "1\r\nx\r\n").collect();
    let slow = [
        (
            "a length",
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()),
            body.clone(),
            body.clone(),
        ),
        (
            "chunks",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            chunks + "0\r\n\r\n",
            "x".repeat(5),
        ),
    ];
    for (what, head, sent, body) in slow {
        for (total_ms, is_cut) in [(0, false), (BETWEEN_BYTES.as_millis() * 4, true)] {
            let case = Case::whole(what, head.as_bytes(), sent.as_bytes(), body.as_bytes());
            let world = World::new(Database::Sqlite).await;
            let liar = Liar::start(world.folder(), vec![case]);
            let settings = format!("read_timeout_ms = 2000\ntotal_timeout_ms = {total_ms}\n");
            let upstream_settings = settings.leak();
            let gate = world.gate(&Setup { upstream_settings, ..before(&liar) }).await;
            let round = Round { version: Version::Http11, method: Method::Get, sending: Sending::Slowly };
            let got = Client::to(&gate.socket()).await.ask(&request("/case/0/slowly", round)).await;
            let judged = judge(&liar.cases()[0], round, &got);
            match is_cut {
                false => assert_eq!(judged, Ok("passed"), "{what}"),
                true => {
                    let is_refused = matches!(&got, Got::Answer(Answer { status: 502 | 504, .. }));
                    let is_cut = matches!(&got, Got::Nothing | Got::Answer(Answer { is_whole: false, .. }));
                    assert!(is_cut || is_refused, "{what}: {}", shown(&got));
                    liar.has_ended_all().await;
                }
            }
            assert_eq!(liar.findings().await, Vec::<String>::new(), "{what}");
        }
    }
}

/// A frame for each chunk would be too many: clients count small frames that they have not read yet, and close the connection
/// as one that attacks them.
#[tokio::test(flavor = "multi_thread")]
async fn small_chunks_come_in_few_frames() {
    let chunks = "1\r\nx\r\n".repeat(20_000) + "0\r\n\r\n";
    let body = "x".repeat(20_000);
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let case = Case::whole("small chunks", head.as_bytes(), chunks.as_bytes(), body.as_bytes());
    let world = World::new(Database::Sqlite).await;
    let liar = Liar::start(world.folder(), vec![case]);
    let gate = world.gate(&before(&liar)).await;
    let got = ask_over_http2(&Door::plain(gate.socket()), "GET", "/case/0/whole", b"").await;
    let Got::Answer(Answer { is_whole: true, frames, body: received, .. }) = got else {
        panic!("{}", shown(&got))
    };
    assert_eq!(received, body.as_bytes());
    assert!(frames < 400, "{frames} frames");
}

/// Honest clients beside those whose answers are lies, all over the same kept connections: each gets its own answers.
#[tokio::test(flavor = "multi_thread")]
async fn honest_clients_beside_lies() {
    let world = World::new(Database::Sqlite).await;
    let mut lies = answers::cases(&project_text("tests/data/upstream/answers.toml"));
    // Those that take long, and a server that closes a connection just as it is used again: a POST is not sent twice.
    let is_out = |case: &Case| {
        case.name.starts_with("limits") || !case.later.is_empty() || case.name == "behind: closed, later"
    };
    lies.retain(|case| case.answers(Method::Get) && !is_out(case));
    let liar = Arc::new(Liar::start(world.folder(), lies));
    let gate = world.gate(&before(&liar)).await;
    let round = Round { version: Version::Http11, method: Method::Get, sending: Sending::Whole };
    let lied_to = (0..4).map(|part| {
        let (liar, socket) = (liar.clone(), gate.socket());
        tokio::spawn(async move {
            for (number, case) in liar.cases().iter().enumerate().skip(part).step_by(4) {
                let target = format!("/case/{number}/whole");
                let got = Client::to(&socket).await.ask(&request(&target, round)).await;
                if let Err(what) = judge(case, round, &got) {
                    return vec![format!("{}: {what}", case.name)];
                }
            }
            Vec::new()
        })
    });
    let lied_to: Vec<_> = lied_to.collect();
    let honest = (0..4).map(|part| {
        let socket = gate.socket();
        tokio::spawn(async move {
            let mut wrong = Vec::new();
            let mut client = Client::to(&socket).await;
            for number in 0..400 {
                let target = format!("/own/{part}/{number}");
                let got = match number % 3 {
                    0 => client.ask(&format!("GET {target} HTTP/1.1\r\n{FIELDS}\r\n")).await,
                    _ => {
                        client
                            .ask(&format!(
                                "POST {target} HTTP/1.1\r\n{FIELDS}Content-Length: 7\r\n\r\n{BODY}"
                            ))
                            .await
                    }
                };
                if !is_own(&got, &target) {
                    wrong.push(format!("{target}: {}", shown(&got)));
                    client = Client::to(&socket).await;
                }
            }
            wrong
        })
    });
    let honest: Vec<_> = honest.collect();
    let mut wrong = Vec::new();
    for task in honest.into_iter().chain(lied_to) {
        wrong.extend(task.await.expect("no panic"));
    }
    wrong.extend(liar.findings().await);
    drop(gate);
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What comes over an idle connection before the next request goes out is never taken for its answer, however little
/// time is between the two.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_on_an_idle_connection_is_no_answer() {
    const ROUNDS: usize = 300;
    let world = World::new(Database::Sqlite).await;
    let socket = world.folder().join("idle.sock");
    let listener = UnixListener::bind(&socket).expect("a new socket");
    let server = unasked::Server::start(listener);
    let setup = Setup { upstream: Some(socket), listen: "threads = 4\n", ..SETUP };
    let gate = world.gate(&setup).await;
    let wrong = tokio::task::spawn_blocking({
        let gate = gate.socket();
        move || (0..ROUNDS).filter_map(|round| server.round(&gate, round)).collect::<Vec<_>>()
    });
    let wrong = wrong.await.expect("no panic");
    drop(gate);
    assert!(wrong.is_empty(), "{} of {ROUNDS} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What the requests and the answers go over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Road {
    /// Unix sockets on both sides.
    Unix,
    /// TCP to the upstream.
    Tcp,
    /// TCP to the upstream, and TLS to the gate.
    Tls,
}

/// A gate's settings before such an upstream.
fn before(liar: &Liar) -> Setup {
    match liar.place() {
        Place::Unix(socket) => Setup { upstream: Some(socket), ..SETUP },
        Place::Tcp(address) => Setup { tcp_upstream: Some(address), ..SETUP },
    }
}

/// A gate that ends TLS, and the ways in for HTTP/1 and HTTP/2.
async fn with_tls(world: &World, setup: Setup) -> (Gate, [Door; 2]) {
    let authority = certificates::Authority::new();
    let issued = authority.issue();
    let file = |name: &str, text: &str| {
        let path = world.folder().join(name);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("its mode");
        path.display().to_string()
    };
    let (certificate, key) = (file("tls.crt", &issued.certificate), file("tls.key", &issued.key));
    let sections =
        format!("[tls]\ncertificate_file = \"{certificate}\"\nkey_file = \"{key}\"\nhttp2 = true\n");
    let gate = world.gate(&Setup { sections: sections.leak(), listen: "", ..setup }).await;
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("versions");
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let doors = [Vec::new(), vec![b"h2".to_vec()]].map(|alpn_protocols| {
        let mut config = config.clone();
        config.alpn_protocols = alpn_protocols;
        Door::tls(gate.socket(), TlsConnector::from(Arc::new(config)))
    });
    (gate, doors)
}

/// Plays every case that such a request can have; `least` of them, or a loop over nothing would prove nothing.
async fn play(round: Round, least: usize) {
    play_over(Road::Unix, round, least).await;
}

async fn play_over(road: Road, round: Round, least: usize) {
    let world = World::new(Database::Sqlite).await;
    let cases = answers::cases(&project_text("tests/data/upstream/answers.toml"));
    let (liar, step) = match road {
        Road::Unix => (Liar::start(world.folder(), cases), 1),
        Road::Tcp | Road::Tls => (Liar::start_tcp(cases).await, 4),
    };
    let (gate, doors) = if road == Road::Tls {
        with_tls(&world, before(&liar)).await
    } else {
        let gate = world.gate(&before(&liar)).await;
        let door = Door::plain(gate.socket());
        (gate, [door.clone(), door])
    };
    let mut table = Table { is_tls: road == Road::Tls, ..Table::default() };
    for (number, case) in liar.cases().iter().enumerate().step_by(step) {
        let is_long = case.head.len() + case.body.len() > 3_000;
        if case.answers(round.method) && !(is_long && round.sending == Sending::Bytes) {
            one(&doors, &liar, number, case, round, &mut table).await;
        }
    }
    table.wrong.extend(liar.findings().await);
    drop(gate);
    println!("{road:?}, {round:?}: {} cases, {:?}", table.cases, table.counts);
    assert!(table.cases >= least, "only {} cases", table.cases);
    assert!(table.wrong.is_empty(), "{round:?}, {} wrong:\n{}", table.wrong.len(), table.wrong.join("\n"));
}

/// What was found.
#[derive(Default)]
struct Table {
    is_tls: bool,
    cases: usize,
    counts: BTreeMap<&'static str, usize>,
    wrong: Vec<String>,
}

impl Table {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}

async fn one(
    [door, door_of_http2]: &[Door; 2],
    liar: &Liar,
    number: usize,
    case: &Case,
    round: Round,
    table: &mut Table,
) {
    let target = format!("/case/{number}/{}", round.sending.word());
    let mut client = None;
    let got = if round.version == Version::Http2 {
        let (method, body): (_, &[u8]) =
            if round.method == Method::Post { ("POST", BODY.as_bytes()) } else { ("GET", b"") };
        ask_over_http2(door_of_http2, method, &target, body).await
    } else {
        let client = client.insert(Client::at(door).await);
        client.ask(&request(&target, round)).await
    };
    table.cases += 1;
    let mut wrong = |what: String| table.wrong.push(format!("{}: {what}", case.name));
    match judge(case, round, &got) {
        Ok("cut")
            if table.is_tls
                && matches!(&got, Got::Answer(Answer { is_whole: true, ends_by_close: true, .. })) =>
        {
            wrong(format!("a response that is cut looks whole: {}", shown(&got)));
        }
        Ok(what) => table.count(what),
        Err(what) => wrong(what),
    }
    liar.has_sent_everything(case, &target).await;
    // What was written to a Unix socket is there. What was written to TCP is there when the gate has seen it; what would come
    // behind the next request would be taken for its answer, by any client of HTTP/1.1.
    if matches!(liar.place(), Place::Tcp(_)) && !case.later.is_empty() {
        liar.has_ended_those_of(&target).await;
    }
    // The same client, where its connection goes on.
    if let (Some(client), Got::Answer(Answer { is_whole: true, status: 102.., .. })) = (&mut client, &got) {
        let target = format!("/own/{number}/same");
        match client.ask(&format!("GET {target} HTTP/1.1\r\n{FIELDS}\r\n")).await {
            Got::Nothing => {}
            got if is_own(&got, &target) => table.count("kept by the client"),
            got => table.wrong.push(format!("{}: the client's next answer: {}", case.name, shown(&got))),
        }
    }
    // Another client.
    let other = format!("/own/{number}/other");
    let got = Client::at(door).await.ask(&format!("GET {other} HTTP/1.1\r\n{FIELDS}\r\n")).await;
    if !is_own(&got, &other) {
        table.wrong.push(format!("{}: another client's answer: {}", case.name, shown(&got)));
    }
    // One that must not be sent twice: it can only be right over a connection that is open.
    let post = format!("/own/{number}/post");
    let got = Client::at(door)
        .await
        .ask(&format!("POST {post} HTTP/1.1\r\n{FIELDS}Content-Length: {}\r\n\r\n{BODY}", BODY.len()))
        .await;
    if !is_own(&got, &post) {
        table.wrong.push(format!("{}: another client's POST: {}", case.name, shown(&got)));
    }
    let asked = liar.connections(&target);
    let most = if round.method == Method::Post { 1 } else { 3 };
    if asked.is_empty() || asked.len() > most {
        table.wrong.push(format!("{}: the upstream was asked {} times", case.name, asked.len()));
    }
    if case.reuse(round.method) == Some(true) {
        let of_others = [liar.connections(&other), liar.connections(&format!("/own/{number}/same"))].concat();
        let is_reused = asked.iter().any(|connection| of_others.contains(connection));
        table.count(if is_reused { "reused" } else { "not yet reused" });
        if asked.iter().any(|connection| liar.has_ended(*connection)) {
            table.wrong.push(format!("{}: the upstream connection is not kept", case.name));
        }
    }
}

fn request(target: &str, round: Round) -> String {
    let version = if round.version == Version::Http10 { "HTTP/1.0" } else { "HTTP/1.1" };
    match round.method {
        Method::Get => format!("GET {target} {version}\r\n{FIELDS}\r\n"),
        Method::Head => format!("HEAD {target} {version}\r\n{FIELDS}\r\n"),
        Method::Post => {
            format!("POST {target} {version}\r\n{FIELDS}Content-Length: {}\r\n\r\n{BODY}", BODY.len())
        }
        Method::Upgrade => format!(
            "GET {target} {version}\r\n{FIELDS}Connection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ),
    }
}

fn is_own(got: &Got, target: &str) -> bool {
    let expected = format!("an answer to {target}");
    matches!(got, Got::Answer(answer) if answer.is_whole && answer.status == 200 && answer.body == expected.as_bytes())
}

/// What the client got, in a word, or why it may not be.
fn judge(case: &Case, round: Round, got: &Got) -> Result<&'static str, String> {
    let outcomes = case.outcomes(round.method);
    let expects = |what: &str| Err(format!("{what}, not {}: {}", wanted(outcomes), shown(got)));
    let answer = match got {
        Got::Odd(what) => return Err(what.clone()),
        Got::Nothing if outcomes.iter().any(|one| matches!(one, Outcome::Cut(..))) => return Ok("cut"),
        Got::Nothing => return expects("nothing"),
        Got::Answer(answer) => answer,
    };
    if answer.mentions("smuggled") {
        return expects("smuggled");
    }
    if round.version == Version::Http10
        && (!answer.interim.is_empty() || !answer.all("transfer-encoding").is_empty())
    {
        return expects("not for HTTP/1.0");
    }
    if answer.all("x-request-id").len() != 1 {
        return expects("no id, or two");
    }
    let Some(word) = outcomes.iter().find_map(|one| matches(one, answer, round.version)) else {
        return expects("an answer");
    };
    if word == "passed" {
        keeps_fields(case, answer)?;
    }
    Ok(word)
}

fn matches(outcome: &Outcome, answer: &Answer, version: Version) -> Option<&'static str> {
    match outcome {
        Outcome::Pass(status, body) => {
            (answer.is_whole && answer.status == *status && answer.body == *body).then_some("passed")
        }
        Outcome::Refuse(status) => {
            let is_the_gates = !answer.mentions("hello") && answer.all("set-cookie").is_empty();
            (answer.is_whole && answer.status == *status && is_the_gates).then_some("refused")
        }
        Outcome::Cut(status, body) => {
            // To HTTP/1.0, a body that is neither counted nor reset ends with its connection.
            let is_cut = !answer.is_whole || version == Version::Http10 && answer.ends_by_close;
            if answer.is_whole && matches!(answer.status, 502 | 504) && !answer.mentions("hello") {
                return Some("refused in time");
            }
            (is_cut && answer.status == *status && body.starts_with(&answer.body)).then_some("cut")
        }
    }
}

fn keeps_fields(case: &Case, answer: &Answer) -> Result<(), String> {
    for (name, _) in &case.has {
        let of_name = case.has.iter().filter(|(known, _)| known == name);
        let expected: Vec<&[u8]> = of_name.map(|(_, value)| value.as_slice()).collect();
        if answer.all(name) != expected {
            return Err(format!("`{name}` is {}", fields(answer)));
        }
    }
    for name in &case.lacks {
        // The gate's own word to its client, not the server's.
        let is_the_gates = name == "connection" && matches!(answer.all(name)[..], [b"close" | b"keep-alive"]);
        if !answer.all(name).is_empty() && !is_the_gates {
            return Err(format!("`{name}` is passed on: {}", fields(answer)));
        }
    }
    Ok(())
}

fn fields(answer: &Answer) -> String {
    let fields = answer.fields.iter().map(|(name, value)| format!("{name}: {}", short(value)));
    fields.collect::<Vec<_>>().join("; ")
}

fn wanted(outcomes: &[Outcome]) -> String {
    let outcomes = outcomes.iter().map(|outcome| match outcome {
        Outcome::Pass(status, body) => format!("pass {status} {}", short(body)),
        Outcome::Cut(status, body) => format!("cut {status} {}", short(body)),
        Outcome::Refuse(status) => format!("refuse {status}"),
    });
    outcomes.collect::<Vec<_>>().join(" or ")
}

fn shown(got: &Got) -> String {
    match got {
        Got::Nothing => "the connection ended".to_owned(),
        Got::Odd(what) => what.clone(),
        Got::Answer(answer) => format!(
            "{}{} {} [{}]{}",
            answer.interim.iter().map(|status| format!("{status}, ")).collect::<String>(),
            answer.status,
            short(&answer.body),
            fields(answer),
            if answer.is_whole { "" } else { ", cut" },
        ),
    }
}

fn short(bytes: &[u8]) -> String {
    let end = bytes.len().min(60);
    let more = if bytes.len() > end { format!("... ({} bytes)", bytes.len()) } else { String::new() };
    format!("`{}`{more}", bytes[..end].escape_ascii())
}
