//! An answer of Console's: its head is what a naive reader finds in it or is refused, and however its bytes arrive, it
//! ends at one place with the same data.

use policy::body::BodyDecoder;
use policy::method::Method;
use policy::response::{RequestContext, ResponseFraming, ResponseHead, ResponseSearch};

use super::input::Input;
use super::naive_response;

const ASKED: [RequestContext; 4] = [
    RequestContext { method: Method::Get, upgrade: false },
    RequestContext { method: Method::Head, upgrade: false },
    RequestContext { method: Method::Post, upgrade: false },
    RequestContext { method: Method::Get, upgrade: true },
];

/// The first byte says what was asked for, the second one the size of the pieces in which the others arrive.
pub fn response(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let asked = input.choose(&ASKED);
    let piece = 1 + input.below(16);
    let bytes = input.rest();
    let Some(length) = head_length(bytes, piece) else { return false };
    let (head, rest) = bytes.split_at(length);
    let parsed = ResponseHead::parse(head, asked).ok();
    let naive = naive_response::read(head, asked);
    assert_eq!(parsed.is_some(), naive.is_some(), "{parsed:?} {naive:?}: {}", head.escape_ascii());
    let (Some(parsed), Some(naive)) = (parsed, naive) else { return false };
    check_head(&parsed, &naive);
    check_written(&parsed, asked);
    check_body(&parsed, rest, piece);
    true
}

/// Where the head ends; the same in pieces as at once.
fn head_length(bytes: &[u8], piece: usize) -> Option<usize> {
    let at_once = ResponseSearch::default().advance(bytes);
    let mut search = ResponseSearch::default();
    let mut end = 0;
    let in_pieces = loop {
        match search.advance(&bytes[..end]) {
            Ok(None) if end < bytes.len() => end = bytes.len().min(end + piece),
            found => break found,
        }
    };
    assert_eq!(in_pieces, at_once, "in pieces of {piece}: {}", bytes.escape_ascii());
    let length = at_once.ok()??;
    assert!(bytes[..length].ends_with(b"\r\n\r\n"));
    let blank = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    assert_eq!(blank.map(|place| place + 4), Some(length), "another end of the head");
    Some(length)
}

fn check_head(parsed: &ResponseHead, naive: &naive_response::NaiveResponse) {
    assert_eq!(parsed.status(), naive.status);
    assert_eq!(parsed.reason(), naive.reason);
    let fields: Vec<_> =
        parsed.fields().iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec())).collect();
    assert_eq!(fields, naive.fields);
    assert_eq!(parsed.framing(), naive.framing);
    assert_eq!(parsed.is_reusable(), naive.is_reusable);
    assert_eq!(parsed.is_interim(), (100..200).contains(&naive.status) && naive.status != 101);
    assert_eq!(parsed.switches(), naive.status == 101);
}

/// What is written of the head has one line a field, and is read as the same again.
fn check_written(parsed: &ResponseHead, asked: RequestContext) {
    let mut written = format!("HTTP/1.1 {} ", parsed.status()).into_bytes();
    written.extend_from_slice(parsed.reason());
    for (name, value) in parsed.fields().iter() {
        written.extend_from_slice(b"\r\n");
        written.extend_from_slice(name);
        written.extend_from_slice(b": ");
        written.extend_from_slice(value);
    }
    written.extend_from_slice(if parsed.switches() {
        b"\r\nConnection: upgrade\r\nUpgrade: websocket"
    } else {
        b""
    });
    written.extend_from_slice(b"\r\n\r\n");
    let again = ResponseHead::parse(&written, asked);
    let again =
        again.unwrap_or_else(|fault| panic!("{fault:?} for what was read: {}", written.escape_ascii()));
    assert_eq!((again.status(), again.reason()), (parsed.status(), parsed.reason()));
    assert_eq!(again.fields().iter().collect::<Vec<_>>(), parsed.fields().iter().collect::<Vec<_>>());
}

/// The body and what is left behind it are the same in pieces as at once, and a naive reader counts the same.
fn check_body(head: &ResponseHead, bytes: &[u8], piece: usize) {
    let at_once = read_body(head, bytes, bytes.len().max(1));
    let in_pieces = read_body(head, bytes, piece);
    match head.framing() {
        ResponseFraming::None => assert_eq!(at_once, Some((Vec::new(), bytes.len(), true))),
        ResponseFraming::UntilClose => assert_eq!(at_once, Some((bytes.to_vec(), 0, false))),
        ResponseFraming::Length(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let here = length.min(bytes.len());
            assert_eq!(at_once, Some((bytes[..here].to_vec(), bytes.len() - here, here == length)));
        }
        // Against a naive reader: `chunks`.
        ResponseFraming::Chunked => {}
    }
    assert_eq!(in_pieces, at_once, "in pieces of {piece}: {}", bytes.escape_ascii());
}

/// The data, how many bytes are behind it, and whether it has ended.
fn read_body(head: &ResponseHead, bytes: &[u8], piece: usize) -> Option<(Vec<u8>, usize, bool)> {
    let mut body = BodyDecoder::of_response(head.framing());
    let (mut data, mut behind) = (Vec::new(), 0);
    for part in bytes.chunks(piece) {
        let mut rest = part;
        while !rest.is_empty() && !body.has_ended() {
            let step = body.advance(rest).ok()?;
            assert!(step.taken > 0 && step.data.end <= step.taken, "a step that takes nothing");
            data.extend_from_slice(&rest[step.data]);
            rest = &rest[step.taken..];
        }
        behind += rest.len();
    }
    Some((data, behind, body.has_ended()))
}
