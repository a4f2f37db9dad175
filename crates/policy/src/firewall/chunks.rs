//! Where a chunked body ends, by the strictest grammar (RFC 9112 7.1).
//!
//! What parses chunks behind the gate is lenient: it takes `5;a<LF>b` for a size, an empty line for the last chunk, and
//! `;x` too. A load balancer in front may not, and one that disagrees takes the rest of a body for a request.
//! So the gate walks the framing itself. Extensions and trailers mean nothing to Console and are refused.

use super::Refusal;

/// 32 bits of size. A body is bounded far below that, and leading zeros must not go on for ever.
const MOST_DIGITS: u8 = 8;

/// A walk along a chunked body. It takes the bytes in pieces of any size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkWalk(State);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size { value: u64, digits: u8 },
    SizeLineFeed { value: u64 },
    Data { left: u64 },
    DataReturn,
    DataLineFeed,
    EndReturn,
    EndLineFeed,
    End,
}

impl Default for ChunkWalk {
    fn default() -> ChunkWalk {
        ChunkWalk(State::Size { value: 0, digits: 0 })
    }
}

impl ChunkWalk {
    /// Walks on through `bytes` and returns how many of them belong to the body: all of them until it ends.
    ///
    /// # Errors
    ///
    /// [`Refusal::ChunkMalformed`].
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut at = 0;
        while at < bytes.len() && !self.has_ended() {
            if let State::Data { left } = self.0 {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                at += here;
                let left = left - here as u64;
                self.0 = if left == 0 { State::DataReturn } else { State::Data { left } };
            } else {
                self.0 = self.0.step(bytes[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    /// Whether the last byte of the body has been seen.
    pub fn has_ended(&self) -> bool {
        self.0 == State::End
    }
}

impl State {
    fn step(self, byte: u8) -> Result<State, Refusal> {
        match (self, byte) {
            (State::Size { value, digits }, _) if byte.is_ascii_hexdigit() && digits < MOST_DIGITS => {
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                Ok(State::Size { value: value << 4 | u64::from(digit), digits: digits + 1 })
            }
            (State::Size { value, digits: 1.. }, b'\r') => Ok(State::SizeLineFeed { value }),
            (State::SizeLineFeed { value: 0 }, b'\n') => Ok(State::EndReturn),
            (State::SizeLineFeed { value }, b'\n') => Ok(State::Data { left: value }),
            (State::DataReturn, b'\r') => Ok(State::DataLineFeed),
            (State::DataLineFeed, b'\n') => Ok(State::Size { value: 0, digits: 0 }),
            (State::EndReturn, b'\r') => Ok(State::EndLineFeed),
            (State::EndLineFeed, b'\n') => Ok(State::End),
            _ => Err(Refusal::ChunkMalformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks `bytes` in pieces of `piece`: how many were the body's, and whether it ended.
    fn walk(bytes: &[u8], piece: usize) -> Result<(usize, bool), Refusal> {
        let mut walk = ChunkWalk::default();
        let mut body = 0;
        for part in bytes.chunks(piece) {
            body += walk.advance(part)?;
        }
        Ok((body, walk.has_ended()))
    }

    #[test]
    fn a_body_ends_where_its_last_chunk_does() {
        let table: [(&[u8], usize, bool); 9] = [
            (b"0\r\n\r\n", 5, true),
            (b"5\r\nhello\r\n0\r\n\r\n", 15, true),
            (b"5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n", 15, true),
            (b"1\r\na\r\nA\r\n0123456789\r\n000\r\n\r\n", 28, true),
            (b"00000005\r\n0\r\n\r\n\r\n0\r\n\r\n", 22, true),
            (b"5\r\nhel", 6, false),
            (b"5\r\nhello\r\n", 10, false),
            (b"5\r\nhello\r\n0\r\n", 13, false),
            (b"", 0, false),
        ];
        for (bytes, body, ended) in table {
            for piece in 1..=bytes.len().max(1) {
                let shown = String::from_utf8_lossy(bytes);
                assert_eq!(walk(bytes, piece), Ok((body, ended)), "{shown} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let table: [&[u8]; 24] = [
            b"\r\n\r\n",
            b"\n",
            b" 5\r\nhello\r\n",
            b"5 \r\nhello\r\n",
            b"5\t\r\nhello\r\n",
            b"5;a=b\r\nhello\r\n",
            b"5;a\nb\r\nhello\r\n",
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
            b"0\r\nX: y\r\n\r\n",
            b"0\r\n\n",
            b"0\n\n",
            b"5\r\nhello\r\n\r\n\r\n",
        ];
        for bytes in table {
            let shown = String::from_utf8_lossy(bytes);
            assert_eq!(walk(bytes, 3), Err(Refusal::ChunkMalformed), "{shown}");
        }
    }
}
