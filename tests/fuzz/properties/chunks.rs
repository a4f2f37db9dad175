//! A chunked body: it ends at one place, however its bytes arrive, and a naive reader finds the same one.

use policy::firewall::ChunkWalk;

use super::input::Input;

/// The first byte is the size of the pieces in which the others arrive.
pub fn chunks(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let piece = 1 + input.below(16);
    let bytes = input.rest();
    let is_body = check_walk(bytes, piece) != Naive::Malformed;
    // The bytes as a body that is written as it should be, with another request behind it.
    let mut written = Vec::new();
    for part in bytes.chunks(piece) {
        written.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        written.extend_from_slice(part);
        written.extend_from_slice(b"\r\n");
    }
    written.extend_from_slice(b"0\r\n\r\n");
    let body = written.len();
    written.extend_from_slice(b"GET /next HTTP/1.1\r\n\r\n");
    assert_eq!(naive(&written), Naive::Ends(body));
    check_walk(&written, piece);
    is_body
}

fn check_walk(bytes: &[u8], piece: usize) -> Naive {
    let at_once = walk(bytes, bytes.len().max(1));
    assert_eq!(walk(bytes, piece), at_once, "in pieces of {piece}: {}", bytes.escape_ascii());
    assert_eq!(at_once, naive(bytes), "{}", bytes.escape_ascii());
    at_once
}

/// Where the bytes that begin a chunked body end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naive {
    /// After so many bytes.
    Ends(usize),
    GoesOn,
    Malformed,
}

fn walk(bytes: &[u8], piece: usize) -> Naive {
    let mut walk = ChunkWalk::default();
    let mut taken = 0;
    for part in bytes.chunks(piece) {
        match walk.advance(part) {
            Err(_) => return Naive::Malformed,
            Ok(here) => {
                assert!(here == part.len() || walk.has_ended(), "bytes of an unfinished body were left");
                taken += here;
            }
        }
    }
    if walk.has_ended() { Naive::Ends(taken) } else { Naive::GoesOn }
}

/// Reads line by line.
fn naive(bytes: &[u8]) -> Naive {
    let mut rest = bytes;
    loop {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if digits > 8 || digits == 0 && !rest.is_empty() {
            return Naive::Malformed;
        }
        let text = std::str::from_utf8(&rest[..digits]).expect("hexadecimal digits are ASCII");
        rest = &rest[digits..];
        // At the end of what has arrived, anything may follow.
        let Some(after) = line_end(rest) else { return Naive::Malformed };
        let (Some(after), Ok(size)) = (after, usize::from_str_radix(text, 16)) else { return Naive::GoesOn };
        let Some(data) = after.get(size..) else { return Naive::GoesOn };
        let Some(end) = line_end(data) else { return Naive::Malformed };
        let Some(next) = end else { return Naive::GoesOn };
        if size == 0 {
            return Naive::Ends(bytes.len() - next.len());
        }
        rest = next;
    }
}

/// What follows a line end; `Some(None)` if it may still become one, `None` if it cannot.
fn line_end(bytes: &[u8]) -> Option<Option<&[u8]>> {
    match bytes {
        [] | [b'\r'] => Some(None),
        [b'\r', b'\n', rest @ ..] => Some(Some(rest)),
        _ => None,
    }
}
