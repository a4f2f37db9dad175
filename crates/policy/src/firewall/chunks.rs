//! Where a chunked body ends, by the strict grammar (RFC 9112 7.1), and which of its bytes are data.
//!
//! Other parsers of chunks are lenient: they accept `5;a<LF>b` as a size, and an empty line or `;x` as the last chunk.
//! A load balancer in front may not, and one that disagrees takes the rest of a body for a request. So the gate reads
//! the framing itself: every line ends in CR LF, and a quoted string ends on the line where it begins. Extensions and
//! trailers mean nothing to Console: they are read by their grammar, dropped, and bounded in size.

use std::ops::Range;

use super::Refusal;

/// 32 bits of size. A body is bounded far below that, and leading zeros must not be unlimited.
const MOST_DIGITS: u8 = 8;

/// The most bytes without data that a chunked body may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkBounds {
    /// The extensions of all chunks together.
    pub extension_bytes: u32,
    /// The trailer section, not counting line feeds and its last blank line.
    pub trailer_bytes: u32,
}

impl ChunkBounds {
    /// Neither extensions nor trailers.
    pub const NONE: ChunkBounds = ChunkBounds { extension_bytes: 0, trailer_bytes: 0 };
}

impl Default for ChunkBounds {
    fn default() -> ChunkBounds {
        ChunkBounds { extension_bytes: 4 * 1024, trailer_bytes: 8 * 1024 }
    }
}

/// A decoder of a chunked body, which takes the bytes in pieces of any size.
///
/// It copies nothing: it reports which of the bytes are data. The caller counts the data; sizes, extensions and
/// trailers are bounded here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkDecoder {
    state: State,
    left: ChunkBounds,
}

/// The result of one step of [`ChunkDecoder::advance`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkPiece {
    /// How many bytes belong to the body, including framing: at least one, unless there was none or the body has ended.
    pub taken: usize,
    /// Which of them are data; empty if only framing was read.
    pub data: Range<usize>,
}

impl Default for ChunkDecoder {
    fn default() -> ChunkDecoder {
        ChunkDecoder::new(ChunkBounds::default())
    }
}

impl ChunkDecoder {
    /// A decoder at the beginning of a body.
    pub const fn new(bounds: ChunkBounds) -> ChunkDecoder {
        ChunkDecoder { state: State::Size { value: 0, digits: 0 }, left: bounds }
    }

    /// Reads framing up to the next data and that data, as far as `bytes` goes.
    ///
    /// Call it again with the rest of `bytes` until nothing is left or [`ChunkDecoder::has_ended`].
    ///
    /// # Errors
    ///
    /// [`Refusal::ChunkMalformed`], [`Refusal::ChunkExtras`]. After either, the rest of the body cannot be read.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<ChunkPiece, Refusal> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.state {
                State::End => break,
                State::Data { left } => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                    let left = left - here as u64;
                    self.state = if left == 0 { State::DataReturn } else { State::Data { left } };
                    return Ok(ChunkPiece { taken: at + here, data: at..at + here });
                }
                state => {
                    self.state = state.step(byte)?;
                    self.count()?;
                    at += 1;
                }
            }
        }
        Ok(ChunkPiece { taken: at, data: at..at })
    }

    /// Reads all of `bytes` that belongs to the body, passes its data to `sink`, and returns the number of bytes read,
    /// including framing: all of them until the body ends.
    ///
    /// # Errors
    ///
    /// Like [`ChunkDecoder::advance`]; the sink has already received the data before the fault.
    pub fn decode(&mut self, bytes: &[u8], mut sink: impl FnMut(&[u8])) -> Result<usize, Refusal> {
        let mut at = 0;
        while at < bytes.len() && !self.has_ended() {
            let piece = self.advance(&bytes[at..])?;
            if !piece.data.is_empty() {
                sink(&bytes[at..][piece.data]);
            }
            at += piece.taken;
        }
        Ok(at)
    }

    /// Whether the last byte of the body, including the end of its trailer section, has been read.
    pub fn has_ended(&self) -> bool {
        self.state == State::End
    }

    /// Whether the last chunk has been read: no data can follow, only trailers.
    pub fn has_all_data(&self) -> bool {
        matches!(self.state, State::Trailer(_) | State::EndLineFeed | State::End)
    }

    /// Counts the byte that led to the present state against the remaining bytes for extensions and trailers.
    fn count(&mut self) -> Result<(), Refusal> {
        let left = match self.state {
            State::Extension { .. } => &mut self.left.extension_bytes,
            State::Trailer(Trailer::Name | Trailer::Value | Trailer::LineFeed) => {
                &mut self.left.trailer_bytes
            }
            _ => return Ok(()),
        };
        *left = left.checked_sub(1).ok_or(Refusal::ChunkExtras)?;
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size {
        value: u64,
        digits: u8,
    },
    /// Inside the extensions of a chunk of this size.
    Extension {
        value: u64,
        at: Extension,
    },
    SizeLineFeed {
        value: u64,
    },
    Data {
        left: u64,
    },
    DataReturn,
    DataLineFeed,
    Trailer(Trailer),
    EndLineFeed,
    End,
}

/// A place in `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )` (RFC 9112 7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    /// White space before a semicolon.
    Before,
    NameStart,
    Name,
    AfterName,
    ValueStart,
    Token,
    Quoted,
    QuotedPair,
    QuotedEnd,
}

/// A place in `*( field-line CRLF ) CRLF` (RFC 9112 7.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trailer {
    LineStart,
    Name,
    Value,
    LineFeed,
}

impl State {
    fn step(self, byte: u8) -> Result<State, Refusal> {
        match (self, byte) {
            (State::Size { value, digits }, _) if byte.is_ascii_hexdigit() && digits < MOST_DIGITS => {
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                Ok(State::Size { value: value << 4 | u64::from(digit), digits: digits + 1 })
            }
            (State::Size { value, digits: 1.. }, b'\r') => Ok(State::SizeLineFeed { value }),
            (State::Size { value, digits: 1.. }, b' ' | b'\t' | b';') => {
                Extension::Before.step(byte).map(|at| State::Extension { value, at })
            }
            (State::Extension { value, at }, b'\r') if at.may_end() => Ok(State::SizeLineFeed { value }),
            (State::Extension { value, at }, _) => at.step(byte).map(|at| State::Extension { value, at }),
            (State::SizeLineFeed { value: 0 }, b'\n') => Ok(State::Trailer(Trailer::LineStart)),
            (State::SizeLineFeed { value }, b'\n') => Ok(State::Data { left: value }),
            (State::DataReturn, b'\r') => Ok(State::DataLineFeed),
            (State::DataLineFeed, b'\n') => Ok(State::Size { value: 0, digits: 0 }),
            (State::Trailer(Trailer::LineStart), b'\r') => Ok(State::EndLineFeed),
            (State::Trailer(at), _) => at.step(byte).map(State::Trailer),
            (State::EndLineFeed, b'\n') => Ok(State::End),
            _ => Err(Refusal::ChunkMalformed),
        }
    }
}

impl Extension {
    fn step(self, byte: u8) -> Result<Extension, Refusal> {
        use Extension::{
            AfterName, Before, Name, NameStart, Quoted, QuotedEnd, QuotedPair, Token, ValueStart,
        };
        match (self, byte) {
            (Before | Token | QuotedEnd, b' ' | b'\t') => Ok(Before),
            (Before | Name | AfterName | Token | QuotedEnd, b';') => Ok(NameStart),
            (NameStart | ValueStart, b' ' | b'\t') => Ok(self),
            (NameStart | Name, _) if is_token(byte) => Ok(Name),
            (Name | AfterName, b' ' | b'\t') => Ok(AfterName),
            (Name | AfterName, b'=') => Ok(ValueStart),
            (ValueStart | Token, _) if is_token(byte) => Ok(Token),
            (ValueStart, b'"') => Ok(Quoted),
            (Quoted, b'"') => Ok(QuotedEnd),
            (Quoted, b'\\') => Ok(QuotedPair),
            (Quoted | QuotedPair, _) if is_text(byte) => Ok(Quoted),
            _ => Err(Refusal::ChunkMalformed),
        }
    }

    /// Whether the line may end here.
    const fn may_end(self) -> bool {
        matches!(self, Extension::Name | Extension::Token | Extension::QuotedEnd)
    }
}

impl Trailer {
    fn step(self, byte: u8) -> Result<Trailer, Refusal> {
        match (self, byte) {
            (Trailer::LineStart | Trailer::Name, _) if is_token(byte) => Ok(Trailer::Name),
            (Trailer::Name, b':') => Ok(Trailer::Value),
            (Trailer::Value, b'\r') => Ok(Trailer::LineFeed),
            (Trailer::Value, _) if is_text(byte) => Ok(Trailer::Value),
            (Trailer::LineFeed, b'\n') => Ok(Trailer::LineStart),
            _ => Err(Refusal::ChunkMalformed),
        }
    }
}

/// RFC 9110 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Any byte except control characters; the tab is allowed.
const fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a decoder made of bytes: the data, how many bytes were the body's, and whether it ended.
    type Decoded = Result<(Vec<u8>, usize, bool), Refusal>;

    /// Decodes `bytes` in pieces of `piece`.
    fn decode(bytes: &[u8], piece: usize, bounds: ChunkBounds) -> Decoded {
        let mut decoder = ChunkDecoder::new(bounds);
        let (mut data, mut body) = (Vec::new(), 0);
        for part in bytes.chunks(piece) {
            body += decoder.decode(part, |bytes| data.extend_from_slice(bytes))?;
        }
        assert!(!decoder.has_ended() || decoder.has_all_data());
        Ok((data, body, decoder.has_ended()))
    }

    /// In pieces of every size.
    fn decode_all_ways(bytes: &[u8]) -> Decoded {
        let at_once = decode(bytes, bytes.len().max(1), ChunkBounds::default());
        for piece in 1..bytes.len() {
            let shown = bytes.escape_ascii();
            assert_eq!(decode(bytes, piece, ChunkBounds::default()), at_once, "{shown} in pieces of {piece}");
        }
        at_once
    }

    #[test]
    fn a_body_ends_where_its_last_chunk_does() {
        let table: [(&[u8], &[u8], usize, bool); 9] = [
            (b"0\r\n\r\n", b"", 5, true),
            (b"5\r\nhello\r\n0\r\n\r\n", b"hello", 15, true),
            (b"5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n", b"hello", 15, true),
            (b"1\r\na\r\nA\r\n0123456789\r\n000\r\n\r\n", b"a0123456789", 28, true),
            (b"00000005\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n", 22, true),
            (b"5\r\nhel", b"hel", 6, false),
            (b"5\r\nhello\r\n", b"hello", 10, false),
            (b"5\r\nhello\r\n0\r\n", b"hello", 13, false),
            (b"", b"", 0, false),
        ];
        for (bytes, data, body, ended) in table {
            assert_eq!(decode_all_ways(bytes), Ok((data.to_vec(), body, ended)), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn extensions_and_trailers_are_dropped() {
        let table: [&[u8]; 12] = [
            b"5;a\r\nhello\r\n0\r\n\r\n",
            b"5;a=b;c\r\nhello\r\n0;last\r\n\r\n",
            b"5;a=\"b;c=\\\"\\\\\"\r\nhello\r\n0\r\n\r\n",
            b"5;a=\"\";b=\"x\ty\xff\"\r\nhello\r\n0\r\n\r\n",
            b"5 ; a = b\t;\tc\r\nhello\r\n0\r\n\r\n",
            b"5; a = \"b\" ; c=d ;e\r\nhello\r\n0\r\n\r\n",
            b"5;0\r\nhello\r\n0\r\n\r\n",
            b"5\r\nhello\r\n0\r\nX: y\r\n\r\n",
            b"5\r\nhello\r\n0\r\nX:\r\nContent-Length: 7\r\nHost: evil\r\n\r\n",
            b"5\r\nhello\r\n0\r\nSCRIPT_NAME: /x\r\nx.y:\t\xff \r\n\r\n",
            b"5\r\nhello\r\n0\r\nX: 5\\\"\r\nY: GET / HTTP/1.1\r\n\r\n",
            b"5;ieof\r\nhello\r\n0;ieof\r\nExpires: 0\r\n\r\n",
        ];
        for bytes in table {
            assert_eq!(
                decode_all_ways(bytes),
                Ok((b"hello".to_vec(), bytes.len(), true)),
                "{}",
                bytes.escape_ascii()
            );
            let without = decode(bytes, bytes.len(), ChunkBounds::NONE);
            assert_eq!(without, Err(Refusal::ChunkExtras), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let table: [&[u8]; 50] = [
            b"\r\n\r\n",
            b"\n",
            b" 5\r\nhello\r\n",
            b"5 \r\nhello\r\n",
            b"5\t\r\nhello\r\n",
            b"5;\r\nhello\r\n",
            b"5;;a\r\nhello\r\n",
            b"5;a\nb\r\nhello\r\n",
            b"5;a\rb\r\nhello\r\n",
            b"5;a\n\r\nhello\r\n",
            b"5;a=\r\nhello\r\n",
            b"5;a=b \r\nhello\r\n",
            b"5;a \r\nhello\r\n",
            b"5;=b\r\nhello\r\n",
            b"5;a=b=c\r\nhello\r\n",
            b"5;a=b c\r\nhello\r\n",
            b"5;a b\r\nhello\r\n",
            b"5;a=\"b\r\nhello\r\n",
            b"5;a=\"b\nc\"\r\nhello\r\n",
            b"5;a=\"b\\\r\n\"\r\nhello\r\n",
            b"5;a=\"b\"c\r\nhello\r\n",
            b"5;a=b\"c\"\r\nhello\r\n",
            b"5;a\0\r\nhello\r\n",
            b"5;\xc3\xa9\r\nhello\r\n",
            b"5;a=\x7f\r\nhello\r\n",
            b"5,a\r\nhello\r\n",
            b";x\r\n\r\n",
            b"+5\r\nhello\r\n",
            b"-5\r\nhello\r\n",
            b"0x5\r\nhello\r\n",
            b"5_0\r\n",
            b"g\r\n",
            b"000000005\r\nhello\r\n",
            b"FFFFFFFFFFFFFFFF\r\n",
            b"5\nhello\r\n",
            b"5\rhello\r\n",
            b"5\r\nhello\n",
            b"5\r\nhelloX\r\n",
            b"5\r\nhello0\r\n\r\n",
            b"0\r\nX\r\n\r\n",
            b"0\r\n: y\r\n\r\n",
            b"0\r\n X: y\r\n\r\n",
            b"0\r\nX : y\r\n\r\n",
            b"0\r\nX: y\n\r\n",
            b"0\r\nX: y\rZ\r\n\r\n",
            b"0\r\nX: y\0\r\n\r\n",
            b"0\r\nX: y\r\n folded\r\n\r\n",
            b"0\r\n\n",
            b"0\n\n",
            b"5\r\nhello\r\n\r\n\r\n",
        ];
        for bytes in table {
            assert_eq!(decode_all_ways(bytes), Err(Refusal::ChunkMalformed), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn extras_are_bounded_over_the_whole_body() {
        let bounds = ChunkBounds { extension_bytes: 6, trailer_bytes: 9 };
        let cases: [(&[u8], Result<usize, Refusal>); 6] = [
            (b"1;a=\r\n", Err(Refusal::ChunkMalformed)),
            (b"1;a\r\nx\r\n1;b\r\nx\r\n0;c\r\n\r\n", Ok(23)),
            (b"1;a\r\nx\r\n1;b\r\nx\r\n0;cc\r\n\r\n", Err(Refusal::ChunkExtras)),
            (b"0\r\nA: b\r\nC:d\r\n\r\n", Ok(16)),
            (b"0\r\nA: b\r\nC:de\r\n\r\n", Err(Refusal::ChunkExtras)),
            (b"0\r\nABCDEFGHIJK", Err(Refusal::ChunkExtras)),
        ];
        for (bytes, expected) in cases {
            let body = decode(bytes, 1, bounds).map(|(_, body, _)| body);
            assert_eq!(body, expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_caller_learns_when_the_data_is_complete() {
        let mut decoder = ChunkDecoder::default();
        let piece = decoder.advance(b"3\r\nabcdef").unwrap();
        assert_eq!(piece, ChunkPiece { taken: 6, data: 3..6 });
        assert!(!decoder.has_all_data());
        assert_eq!(decoder.advance(b"\r\n0\r\n").unwrap(), ChunkPiece { taken: 5, data: 5..5 });
        assert!(decoder.has_all_data() && !decoder.has_ended());
        assert_eq!(decoder.advance(b"\r\nGET").unwrap(), ChunkPiece { taken: 2, data: 2..2 });
        assert!(decoder.has_ended());
        assert_eq!(decoder.advance(b"GET").unwrap(), ChunkPiece { taken: 0, data: 0..0 });
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// A body, however it is cut into chunks and whatever is added to them, is the body again.
        #[test]
        fn what_was_encoded_is_decoded(
            parts in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 1..40), "(;[a-z]{1,3}(=([a-z]{1,3}|\"[ -!#-Z]{0,5}\"))?){0,2}"),
                0..6,
            ),
            trailers in "([A-Za-z_.-]{1,5}:[ -~]{0,9}\r\n){0,3}",
            rest in prop::collection::vec(any::<u8>(), 0..20),
            piece in 1..50_usize,
        ) {
            let (mut bytes, mut data) = (Vec::new(), Vec::new());
            for (part, extension) in &parts {
                bytes.extend_from_slice(format!("{:x}{extension}\r\n", part.len()).as_bytes());
                bytes.extend_from_slice(part);
                bytes.extend_from_slice(b"\r\n");
                data.extend_from_slice(part);
            }
            bytes.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
            let body = bytes.len();
            bytes.extend_from_slice(&rest);
            prop_assert_eq!(decode(&bytes, piece, ChunkBounds::default()), Ok((data, body, true)));
        }

        /// How bytes arrive changes nothing.
        #[test]
        fn pieces_do_not_matter(bytes in "[0-3;=\"a\\\\ \t\r\n:]{0,30}", piece in 1..8_usize) {
            let at_once = decode(bytes.as_bytes(), 64, ChunkBounds::default());
            prop_assert_eq!(decode(bytes.as_bytes(), piece, ChunkBounds::default()), at_once);
        }
    }
}
