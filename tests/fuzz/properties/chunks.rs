//! A chunked body: it ends at one place, however its bytes arrive, and a naive reader finds the same one and the same
//! data.

use policy::firewall::{ChunkBounds, ChunkDecoder};

use super::input::Input;

/// The first byte is the size of the pieces in which the others arrive.
pub fn chunks(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let piece = 1 + input.below(16);
    let bytes = input.rest();
    let is_body = check_decoder(bytes, piece);
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
    assert_eq!(by_line(&written), (Naive::Ends(body), bytes.to_vec()));
    check_decoder(&written, piece);
    is_body
}

/// No input reaches these.
const BOUNDS: ChunkBounds = ChunkBounds { extension_bytes: u32::MAX, trailer_bytes: u32::MAX };

/// Whether the decoder takes the bytes, and takes them as [`by_line`] does.
fn check_decoder(bytes: &[u8], piece: usize) -> bool {
    let at_once = decode(bytes, bytes.len().max(1));
    assert_eq!(decode(bytes, piece), at_once, "in pieces of {piece}: {}", bytes.escape_ascii());
    match (by_line(bytes), &at_once) {
        // Within a line that has not arrived whole, the decoder may know more.
        ((Naive::GoesOn, data), Some((Naive::GoesOn, decoded))) => {
            assert!(decoded.starts_with(&data), "{}", bytes.escape_ascii());
        }
        ((Naive::Malformed | Naive::GoesOn, _), None) => {}
        (naive, decoded) => assert_eq!(Some(naive), *decoded, "{}", bytes.escape_ascii()),
    }
    at_once.is_some()
}

fn decode(bytes: &[u8], piece: usize) -> Option<(Naive, Vec<u8>)> {
    let mut decoder = ChunkDecoder::new(BOUNDS);
    let (mut taken, mut data) = (0, Vec::new());
    for part in bytes.chunks(piece) {
        let here = decoder.decode(part, |bytes| data.extend_from_slice(bytes)).ok()?;
        assert!(here == part.len() || decoder.has_ended(), "bytes of an unfinished body were left");
        taken += here;
    }
    Some((if decoder.has_ended() { Naive::Ends(taken) } else { Naive::GoesOn }, data))
}

/// Reads whole lines, with extensions and trailers. What it says of data that goes on holds for whole chunks.
fn by_line(bytes: &[u8]) -> (Naive, Vec<u8>) {
    let (mut rest, mut data) = (bytes, Vec::new());
    loop {
        let Some((line, after)) = whole_line(rest) else { return (Naive::GoesOn, data) };
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size =
            std::str::from_utf8(&line[..digits]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let (Some(size), true, true) = (size, digits <= 8, is_extensions(&line[digits..])) else {
            return (Naive::Malformed, data);
        };
        if size == 0 {
            return (trailers(bytes, after), data);
        }
        match after.get(size..) {
            None | Some([] | b"\r") => return (Naive::GoesOn, data),
            Some([b'\r', b'\n', next @ ..]) => {
                data.extend_from_slice(&after[..size]);
                rest = next;
            }
            Some(_) => return (Naive::Malformed, data),
        }
    }
}

/// A line without its line feed, and what follows it.
fn whole_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&byte| byte == b'\n')?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

fn trailers(bytes: &[u8], mut rest: &[u8]) -> Naive {
    loop {
        let Some((line, after)) = whole_line(rest) else { return Naive::GoesOn };
        rest = after;
        if line == b"\r" {
            return Naive::Ends(bytes.len() - rest.len());
        }
        let is_field = line.strip_suffix(b"\r").is_some_and(|line| {
            let name = line.iter().take_while(|byte| is_token(**byte)).count();
            name > 0 && line.get(name) == Some(&b':') && !line.iter().any(|byte| is_control(*byte))
        });
        if !is_field {
            return Naive::Malformed;
        }
    }
}

/// Whether this is `*( BWS ";" BWS name [ BWS "=" BWS value ] )` and a CR.
fn is_extensions(line: &[u8]) -> bool {
    let mut rest = line;
    while rest != b"\r" {
        let Some(after) = white(rest).strip_prefix(b";").map(white) else { return false };
        let name = after.iter().take_while(|byte| is_token(**byte)).count();
        if name == 0 {
            return false;
        }
        rest = &after[name..];
        let Some(value) = white(rest).strip_prefix(b"=").map(white) else { continue };
        let Some(length) = value_length(value) else { return false };
        rest = &value[length..];
    }
    true
}

fn value_length(value: &[u8]) -> Option<usize> {
    if value.first() != Some(&b'"') {
        return Some(value.iter().take_while(|byte| is_token(**byte)).count()).filter(|length| *length > 0);
    }
    let mut at = 1;
    loop {
        at += match value.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' if !is_control(*value.get(at + 1)?) => 2,
            byte if !is_control(*byte) => 1,
            _ => return None,
        };
    }
}

fn white(bytes: &[u8]) -> &[u8] {
    let spaces = bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &bytes[spaces..]
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 && byte != b'\t' || byte == 0x7f
}

/// Where the bytes that begin a chunked body end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naive {
    /// After so many bytes.
    Ends(usize),
    GoesOn,
    Malformed,
}
