//! Where one request ends and the next begins: for every odd framing a refusal, or exactly the upstream requests that
//! are written here, byte for byte.
//!
//! What Console gets is written by the gate, so no extension, trailer or spelling of a size of the client's gets there:
//! every body below is read back by a parser that accepts the canonical spelling only.

mod cases;

use cases::{After, Body, Case, FIELDS, chunks, heads, lengths};

use crate::support::chunks::unchunk;
use crate::support::exchange::Exchange;
use crate::support::recorder::{Recorded, Recorder};
use crate::support::{Database, Findings, Setup, World};

const BUFFERED: &str = "version = 1\n[blueprints.t.routes]\n\
    \"* /open/*\" = { public = true }\n\"* /inside/*\" = { session = true }\n";
const STREAMED: &str = "version = 1\n[blueprints.t.routes]\n\
    \"* /open/*\" = { public = true, stream = true }\n\"* /inside/*\" = { session = true }\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_framing_is_refused_or_has_one_meaning_upstream() {
    each_framing_has_one_meaning(BUFFERED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_framing_is_refused_or_has_one_meaning_upstream_on_a_row_that_streams() {
    each_framing_has_one_meaning(STREAMED).await;
}

async fn each_framing_has_one_meaning(mapping: &'static str) {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = world.gate(&Setup { mapping: Some(mapping), ..setup(&upstream) }).await;
    let mut findings = Findings::default();
    let cases: Vec<Case> = [lengths(), chunks(), heads()].concat();
    for (number, (what, sent, statuses, _, after)) in cases.iter().enumerate() {
        let mut exchange = Exchange::to(&gate.socket()).await;
        exchange.send(sent.replace('@', &number.to_string()).as_bytes()).await;
        let mut answered = Vec::new();
        while answered.len() < statuses.len()
            && let Some(answer) = exchange.answer(sent.starts_with("HEAD")).await
        {
            answered.push(answer.status);
        }
        let name = format!("{number}, {what}: {:?}", sent.chars().take(160).collect::<String>());
        findings.equal(&format!("{name}: statuses"), answered.as_slice(), *statuses);
        exchange.send(format!("GET /open/{number}/after HTTP/1.1\r\n{FIELDS}\r\n").as_bytes()).await;
        let found = if exchange.answer(false).await.is_some() { After::Open } else { After::Closed };
        findings.equal(&format!("{name}: the connection"), found, *after);
    }
    // What the gate still holds open upstream ends with it, and is on record then.
    drop(gate);
    let arrived = upstream.requests();
    println!("{} cases, {} upstream requests", cases.len(), arrived.len());
    for (number, (what, _, _, expected, after)) in cases.iter().enumerate() {
        let prefix = format!(" /open/{number}/");
        let mut found: Vec<&Recorded> =
            arrived.iter().filter(|request| first_line(request).contains(&prefix)).collect();
        if *after == After::Open {
            let last = found.pop();
            findings.check(last.is_some_and(|request| first_line(request).contains("/after")), || {
                format!("{number}, {what}: nothing after it")
            });
        }
        check_upstream(
            &mut findings,
            &format!("{number}, {what}"),
            number,
            &found,
            expected,
            mapping == STREAMED,
        );
    }
    let strays = arrived.iter().filter(|request| {
        first_line(request).split('/').nth(2).is_none_or(|number| number.parse::<usize>().is_err())
    });
    findings.equal("requests of no case", strays.map(first_line).collect::<Vec<_>>(), vec![]);
    findings.conclude(300);
}

fn check_upstream(
    findings: &mut Findings,
    name: &str,
    number: usize,
    found: &[&Recorded],
    expected: &[(&str, Body)],
    is_streamed: bool,
) {
    let is_unfinished = matches!(expected, [(_, Body::Unfinished)]);
    let may_be_missing = is_unfinished && found.is_empty();
    findings
        .check(is_streamed || !is_unfinished || found.is_empty(), || format!("{name}: Console was asked"));
    findings.check(found.len() == expected.len() || may_be_missing, || {
        let heads: Vec<&str> = found.iter().map(|request| request.head.as_str()).collect();
        format!("{name}: {} came upstream, not {}: {heads:?}", found.len(), expected.len())
    });
    for (request, (what, body)) in found.iter().zip(expected) {
        let (method, place) = what.split_once(' ').expect("a method and a place");
        findings.equal(
            &format!("{name}: request line"),
            first_line(request),
            &format!("{method} /open/{number}/{place} HTTP/1.1"),
        );
        let framing = (request.header("content-length"), request.header("transfer-encoding"));
        let framing = (framing.0.as_deref(), framing.1.as_deref());
        let shown = String::from_utf8_lossy(&request.body);
        let holds = match body {
            Body::None => framing == (None, None) && request.body.is_empty(),
            Body::Length(text) => framing == (Some(text.len().to_string().as_str()), None) && shown == *text,
            // A body that is complete before it goes on has a length.
            Body::Chunks(text) if !is_streamed => {
                framing == (Some(text.len().to_string().as_str()), None) && shown == *text
            }
            Body::Chunks(text) => {
                framing == (None, Some("chunked"))
                    && unchunk(&request.body).as_deref() == Some(text.as_bytes())
            }
            Body::Unfinished => match framing {
                (Some(length), None) => length.parse().is_ok_and(|length: usize| request.body.len() < length),
                (None, Some("chunked")) => unchunk(&request.body).is_none() && !shown.contains("smuggled"),
                _ => false,
            },
        };
        findings.check(holds, || format!("{name}: not {body:?} upstream: {:?} {shown:?}", request.head));
        let has_trailer_or_extension =
            ["trailer", "evil", "ext", "99"].iter().any(|text| shown.contains(text));
        findings.check(!has_trailer_or_extension, || format!("{name}: {shown:?}"));
    }
}

fn first_line(request: &Recorded) -> &str {
    request.head.lines().next().unwrap_or_default()
}

fn setup(upstream: &Recorder) -> Setup {
    Setup {
        mapping: Some(BUFFERED),
        upstream: Some(upstream.socket()),
        firewall: "head_timeout_ms = 700\nbody_timeout_ms = 700\nbody_bytes = 1000000\n",
        ..Setup::V2
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_pipeline_each_request_is_decided_by_itself() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = world.gate(&setup(&upstream)).await;
    let mut expected = Vec::new();
    for count in 2..=20 {
        let mut exchange = Exchange::to(&gate.socket()).await;
        let mut sent = String::new();
        let mut statuses = Vec::new();
        for place in 0..count {
            // Every third one is for people who are logged in, and nobody is.
            let is_open = place % 3 != 1;
            sent += &match is_open {
                true => format!("POST /open/{count}/{place} HTTP/1.1\r\n{FIELDS}Content-Length: 2\r\n\r\nhi"),
                false => format!("GET /inside/{count}/{place} HTTP/1.1\r\n{FIELDS}\r\n"),
            };
            statuses.push(if is_open { 200 } else { 302 });
            if is_open {
                expected.push((format!("POST /open/{count}/{place} HTTP/1.1"), b"hi".to_vec()));
            }
        }
        exchange.send(sent.as_bytes()).await;
        for status in &statuses {
            let answer = exchange.answer(false).await.map(|answer| answer.status);
            assert_eq!(answer, Some(*status), "{count} requests, expected {statuses:?}");
        }
    }
    let arrived: Vec<(String, Vec<u8>)> = upstream
        .requests()
        .iter()
        .map(|request| (first_line(request).to_owned(), request.body.clone()))
        .collect();
    assert_eq!(arrived, expected);
}
