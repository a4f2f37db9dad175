//! `tests/data/upstream/answers.toml`, read by the parsers alone: every answer in pieces of several sizes.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../tests/support/answers.rs"]
#[allow(dead_code, reason = "each test binary uses its own part of it")]
mod answers;

use answers::{Case, End, Method, Outcome};
use policy::body::BodyDecoder;
use policy::response::{RequestContext, ResponseFault, ResponseFraming, ResponseHead, ResponseSearch};

/// What a reader makes of what came.
#[derive(Debug)]
struct Read {
    /// The final head, once there is one.
    head: Option<ResponseHead>,
    fault: Option<ResponseFault>,
    data: Vec<u8>,
    is_whole: bool,
    /// Bytes that came after the answer had ended.
    behind: usize,
}

impl Read {
    /// Reads bytes as they arrive, in pieces of `piece`.
    fn new(bytes: &[u8], piece: usize, asked: RequestContext) -> Read {
        let mut read = Read { head: None, fault: None, data: Vec::new(), is_whole: false, behind: 0 };
        let (mut buffer, mut search, mut body) = (Vec::new(), ResponseSearch::default(), None);
        for part in bytes.chunks(piece) {
            if body.is_none() {
                buffer.extend_from_slice(part);
            }
            let part = if body.is_none() {
                match read.heads(&mut buffer, &mut search, asked) {
                    Err(fault) => {
                        read.fault = Some(fault);
                        return read;
                    }
                    Ok(None) => continue,
                    Ok(Some(framing)) => {
                        body = Some(BodyDecoder::of_response(framing));
                        std::mem::take(&mut buffer)
                    }
                }
            } else {
                part.to_vec()
            };
            if let Some(body) = &mut body
                && read.body(body, &part).is_err()
            {
                read.fault = Some(ResponseFault::Chunk);
                return read;
            }
        }
        read
    }

    /// Reads heads until the final one is whole, and leaves what follows it in the buffer.
    fn heads(
        &mut self,
        buffer: &mut Vec<u8>,
        search: &mut ResponseSearch,
        asked: RequestContext,
    ) -> Result<Option<ResponseFraming>, ResponseFault> {
        while let Some(length) = search.advance(buffer)? {
            let head = ResponseHead::parse(&buffer[..length], asked)?;
            buffer.drain(..length);
            *search = ResponseSearch::default();
            if !head.is_interim() {
                // What follows a switch is the other protocol's.
                let framing = if head.switches() { ResponseFraming::UntilClose } else { head.framing() };
                self.head = Some(head);
                return Ok(Some(framing));
            }
        }
        Ok(None)
    }

    fn body(&mut self, body: &mut BodyDecoder, mut bytes: &[u8]) -> Result<(), policy::firewall::Refusal> {
        while !bytes.is_empty() && !body.has_ended() {
            let step = body.advance(bytes)?;
            self.data.extend_from_slice(&bytes[step.data]);
            bytes = &bytes[step.taken..];
        }
        self.behind += bytes.len();
        self.is_whole = body.has_ended();
        Ok(())
    }

    /// What the client gets of it, when the server's connection ends like that.
    fn outcome(&self, end: End) -> Outcome {
        let Some(head) = &self.head else {
            let waits = self.fault.is_none() && end == End::Open;
            return Outcome::Refuse(if waits { 504 } else { 502 });
        };
        let ends_by_close = head.switches() || head.framing() == ResponseFraming::UntilClose;
        if self.fault.is_none() && (self.is_whole || ends_by_close && end == End::Closed) {
            Outcome::Pass(head.status(), self.data.clone())
        } else {
            Outcome::Cut(head.status(), self.data.clone())
        }
    }
}

#[test]
fn every_answer_is_read_as_it_says() {
    let cases = answers::cases(include_str!("../../../tests/data/upstream/answers.toml"));
    let mut wrong = Vec::new();
    let mut read = 0;
    for case in &cases {
        for method in [Method::Get, Method::Head, Method::Post, Method::Upgrade] {
            for with_body in [true, false] {
                if case.answers(method) && (with_body || method == Method::Head) {
                    read += 1;
                    check(case, method, with_body, &mut wrong);
                }
            }
        }
    }
    assert!(read >= 1_500, "only {read} answers");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn check(case: &Case, method: Method, with_body: bool, wrong: &mut Vec<String>) {
    // Only who reads on can count them.
    if case.name == "interim: 10,000 of them" {
        return;
    }
    let bytes = if with_body { [&case.head[..], &case.body].concat() } else { case.head.clone() };
    let asked = RequestContext {
        method: match method {
            Method::Get | Method::Upgrade => policy::method::Method::Get,
            Method::Head => policy::method::Method::Head,
            Method::Post => policy::method::Method::Post,
        },
        upgrade: method == Method::Upgrade,
    };
    let pieces: &[usize] =
        if bytes.len() > 20_000 { &[usize::MAX, 4_093] } else { &[usize::MAX, 1, 7, 4_093] };
    for piece in pieces {
        let read = Read::new(&bytes, *piece, asked);
        if let Err(what) = judge(case, method, &read) {
            wrong.push(format!("{} ({method:?}, in pieces of {piece}): {what}", case.name));
        }
    }
}

fn judge(case: &Case, method: Method, read: &Read) -> Result<(), String> {
    let found = read.outcome(case.end);
    let outcomes = case.outcomes(method);
    let is_expected = outcomes.iter().any(|expected| match (expected, &found) {
        (Outcome::Cut(status, most), Outcome::Cut(other, data)) => status == other && most.starts_with(data),
        (expected, found) => expected == found,
    });
    if !is_expected {
        return Err(format!("{}, {:?}, not {}", shown(&found), read.fault, shown(&outcomes[0])));
    }
    let (Outcome::Pass(..), Some(head)) = (&found, &read.head) else { return Ok(()) };
    for (name, _) in &case.has {
        let expected: Vec<_> =
            case.has.iter().filter(|(known, _)| known == name).map(|(_, value)| value).collect();
        let of_name = head.fields().iter().filter(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
        let found: Vec<_> = of_name.map(|(_, value)| value.to_vec()).collect();
        if found.iter().collect::<Vec<_>>() != expected {
            return Err(format!("`{name}` is {found:?}"));
        }
    }
    if let Some(name) = case.lacks.iter().find(|name| head.fields().value(name).is_some()) {
        return Err(format!("`{name}` is passed on"));
    }
    let is_reused = head.is_reusable()
        && read.is_whole
        && read.behind == 0
        && case.later.is_empty()
        && case.end == End::Open;
    match case.reuse(method) {
        Some(reuse) if reuse != is_reused => Err(format!("reuse is {is_reused}, not {reuse}")),
        _ => Ok(()),
    }
}

fn shown(outcome: &Outcome) -> String {
    let (word, status, body): (_, _, &[u8]) = match outcome {
        Outcome::Pass(status, body) => ("pass", status, body),
        Outcome::Cut(status, body) => ("cut", status, body),
        Outcome::Refuse(status) => ("refuse", status, b""),
    };
    format!("{word} {status} `{}`", body[..body.len().min(60)].escape_ascii())
}
