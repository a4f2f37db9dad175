use proptest::prelude::*;

use super::{RequestContext, ResponseFault, ResponseFraming, ResponseHead, ResponseSearch};
use crate::method::Method;

const GET: RequestContext = RequestContext { method: Method::Get, upgrade: false };

fn parse(head: &str, asked: RequestContext) -> Result<ResponseHead, ResponseFault> {
    ResponseHead::parse(head.as_bytes(), asked)
}

#[test]
fn framings() {
    let asked = |method| RequestContext { method, upgrade: false };
    // the head behind the version, what was asked, the framing, whether the connection can be used again
    let table = [
        ("1.1 200 OK\r\nContent-Length: 5\r\n\r\n", GET, ResponseFraming::Length(5), true),
        ("1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n", GET, ResponseFraming::Chunked, true),
        ("1.1 200 OK\r\n\r\n", GET, ResponseFraming::UntilClose, false),
        ("1.1 200\r\nContent-Length: 0\r\n\r\n", GET, ResponseFraming::Length(0), true),
        (
            "1.1 200 OK\r\nContent-Length: 5\r\nConnection: Close\r\n\r\n",
            GET,
            ResponseFraming::Length(5),
            false,
        ),
        ("1.0 200 OK\r\nContent-Length: 5\r\n\r\n", GET, ResponseFraming::Length(5), false),
        (
            "1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
            GET,
            ResponseFraming::Length(5),
            true,
        ),
        ("1.1 200 OK\r\nContent-Length: 5\r\n\r\n", asked(Method::Head), ResponseFraming::None, false),
        (
            "1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            asked(Method::Head),
            ResponseFraming::None,
            false,
        ),
        ("1.1 204 No Content\r\n\r\n", GET, ResponseFraming::None, true),
        ("1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", GET, ResponseFraming::None, true),
        ("1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", GET, ResponseFraming::None, false),
        ("1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", GET, ResponseFraming::None, false),
        ("1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", GET, ResponseFraming::None, false),
        ("1.1 304 Not Modified\r\n\r\n", GET, ResponseFraming::None, true),
        ("1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", GET, ResponseFraming::None, true),
    ];
    for (head, asked, framing, is_reusable) in table {
        let parsed = parse(&format!("HTTP/{head}"), asked).unwrap();
        assert_eq!((parsed.framing(), parsed.is_reusable()), (framing, is_reusable), "{head}");
    }
}

#[test]
fn faults() {
    let table = [
        ("HTTP/2.0 200 OK\r\n\r\n", ResponseFault::Version),
        ("http/1.1 200 OK\r\n\r\n", ResponseFault::Version),
        ("HTTP/1.1  200 OK\r\n\r\n", ResponseFault::StatusLine),
        ("HTTP/1.1 20 OK\r\n\r\n", ResponseFault::StatusLine),
        ("HTTP/1.1 2000 OK\r\n\r\n", ResponseFault::StatusLine),
        ("HTTP/1.1 099 OK\r\n\r\n", ResponseFault::StatusLine),
        ("HTTP/1.1 600 OK\r\n\r\n", ResponseFault::StatusLine),
        ("HTTP/1.1 200 O\0K\r\n\r\n", ResponseFault::StatusLine),
        ("HTTP/1.1 200 OK\n\r\n", ResponseFault::BareLineFeed),
        ("HTTP/1.1 200 OK\r\nA: b\rc: d\r\n\r\n", ResponseFault::BareCarriageReturn),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", ResponseFault::FoldedField),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", ResponseFault::FieldName),
        ("HTTP/1.1 200 OK\r\n: b\r\n\r\n", ResponseFault::FieldName),
        ("HTTP/1.1 200 OK\r\nA\r\n\r\n", ResponseFault::FieldName),
        ("HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", ResponseFault::FieldValue),
        ("HTTP/1.1 200 OK\r\nA: \u{c}\r\n\r\n", ResponseFault::FieldValue),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", ResponseFault::ContentLength),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", ResponseFault::ContentLength),
        ("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", ResponseFault::ContentLength),
        ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", ResponseFault::ContentLength),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", ResponseFault::TransferEncoding),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n", ResponseFault::TransferEncoding),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ResponseFault::TransferEncoding),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
            ResponseFault::LengthAndCoding,
        ),
        (
            "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            ResponseFault::Upgrade,
        ),
        ("HTTP/1.1 200 OK\r\n\r\nX", ResponseFault::StatusLine),
    ];
    for (head, fault) in table {
        assert_eq!(parse(head, GET).unwrap_err(), fault, "{head:?}");
    }
}

#[test]
fn a_tunnel_opens_only_where_it_was_asked_for() {
    let asked = RequestContext { method: Method::Get, upgrade: true };
    let head = |fields: &str| format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n");
    assert!(parse(&head("Connection: Upgrade\r\nUpgrade: WebSocket\r\n"), asked).unwrap().switches());
    for fields in
        ["", "Upgrade: websocket\r\n", "Connection: upgrade\r\n", "Connection: upgrade\r\nUpgrade: h2c\r\n"]
    {
        assert_eq!(parse(&head(fields), asked).unwrap_err(), ResponseFault::Upgrade, "{fields}");
    }
}

#[test]
fn what_belongs_to_the_connection_stays_with_it() {
    let head = "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\n\
                X-Hop: 1\r\nUpgrade: h2c\r\nTrailer: X\r\nContent-Length: 0\r\nset-cookie: b=2\r\nServer: gunicorn\r\n\r\n";
    let parsed = parse(head, GET).unwrap();
    let names: Vec<_> = parsed
        .fields()
        .iter()
        .map(|(name, value)| (String::from_utf8_lossy(name), String::from_utf8_lossy(value)))
        .collect();
    let expected = [("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("Server", "gunicorn")];
    assert_eq!(names, expected.map(|(name, value)| (name.into(), value.into())));
}

#[test]
fn the_end_of_a_head_is_found_however_it_arrives() {
    let head = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody";
    let end = head.len() - 4;
    for split in 0..head.len() {
        let mut search = ResponseSearch::default();
        let first = search.advance(&head[..split]).unwrap();
        assert_eq!(first, (split >= end).then_some(end), "{split}");
        if first.is_none() {
            assert_eq!(search.advance(head).unwrap(), Some(end), "{split}");
        }
    }
    for start in ["HTTP/2", "GET / HTTP/1.1\r\n", "\r\nHTTP/1.1 200", "\x15\x03"] {
        assert_eq!(
            ResponseSearch::default().advance(start.as_bytes()),
            Err(ResponseFault::StatusLine),
            "{start:?}"
        );
    }
    let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(70_000));
    assert_eq!(ResponseSearch::default().advance(endless.as_bytes()), Err(ResponseFault::HeadTooLarge));
}

proptest! {
    /// Whatever is taken, written again, is read as the same: nothing in it ends a line or begins another field.
    #[test]
    fn what_is_taken_cannot_split_a_response(head in "HTTP/1\\.[01] [1-5][0-9]{2} ?[ -~]{0,8}\r\n([!-~]{1,6}: ?[\\x00-\\xff]{0,12}\r?\n){0,4}\r\n") {
        if let Ok(parsed) = parse(&head, GET) {
            for (name, value) in parsed.fields().iter() {
                prop_assert!(!name.is_empty() && !name.contains(&b':'));
                prop_assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
            }
        }
    }

    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), upgrade: bool) {
        let _ = ResponseHead::parse(&bytes, RequestContext { method: Method::Get, upgrade });
        let _ = ResponseSearch::default().advance(&bytes);
    }
}
