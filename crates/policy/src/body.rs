//! A body on the wire: where it ends, and which of its bytes are data.
//!
//! Requests and responses share it. It copies nothing: it reports which of the bytes that were read are data.

use std::ops::Range;

use crate::firewall::{ChunkDecoder, Framing, Refusal};
use crate::response::ResponseFraming;

/// A body that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyDecoder {
    /// This many bytes are left.
    Length(u64),
    /// Chunks.
    Chunked(ChunkDecoder),
    /// Everything until the connection closes: the body of a response without a length.
    UntilClose,
}

/// What one step has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyStep {
    /// How many bytes belong to the body, including framing.
    pub taken: usize,
    /// Which of them are data.
    pub data: Range<usize>,
}

impl BodyDecoder {
    /// The body of a request.
    pub fn of_request(framing: Framing) -> BodyDecoder {
        match framing {
            Framing::None => BodyDecoder::Length(0),
            Framing::Length(length) => BodyDecoder::Length(length),
            Framing::Chunked => BodyDecoder::Chunked(ChunkDecoder::default()),
        }
    }

    /// The body of a response.
    pub fn of_response(framing: ResponseFraming) -> BodyDecoder {
        match framing {
            ResponseFraming::None => BodyDecoder::Length(0),
            ResponseFraming::Length(length) => BodyDecoder::Length(length),
            ResponseFraming::Chunked => BodyDecoder::Chunked(ChunkDecoder::default()),
            ResponseFraming::UntilClose => BodyDecoder::UntilClose,
        }
    }

    /// Reads up to the end of the next data. Call it again with the rest of `bytes`.
    ///
    /// # Errors
    ///
    /// A chunk is malformed; the rest of the body cannot be read.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<BodyStep, Refusal> {
        match self {
            BodyDecoder::UntilClose => Ok(BodyStep { taken: bytes.len(), data: 0..bytes.len() }),
            BodyDecoder::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= here as u64;
                Ok(BodyStep { taken: here, data: 0..here })
            }
            BodyDecoder::Chunked(decoder) => {
                let piece = decoder.advance(bytes)?;
                Ok(BodyStep { taken: piece.taken, data: piece.data })
            }
        }
    }

    /// Whether the last byte was read. Always false for a body that ends only when the connection closes.
    pub fn has_ended(&self) -> bool {
        match self {
            BodyDecoder::Length(left) => *left == 0,
            BodyDecoder::Chunked(decoder) => decoder.has_ended(),
            BodyDecoder::UntilClose => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data of `bytes` read in pieces of `piece`, how many bytes were the body's, and whether it ended.
    fn read(mut body: BodyDecoder, bytes: &[u8], piece: usize) -> (Vec<u8>, usize, bool) {
        let (mut data, mut taken) = (Vec::new(), 0);
        for part in bytes.chunks(piece) {
            let mut rest = part;
            while !rest.is_empty() && !body.has_ended() {
                let step = body.advance(rest).unwrap();
                data.extend_from_slice(&rest[step.data]);
                taken += step.taken;
                rest = &rest[step.taken..];
            }
        }
        (data, taken, body.has_ended())
    }

    #[test]
    fn a_body_is_the_same_however_it_arrives() {
        type Row = (BodyDecoder, &'static [u8], &'static [u8], usize, bool);
        let table: [Row; 6] = [
            (BodyDecoder::of_request(Framing::None), b"GET /", b"", 0, true),
            (BodyDecoder::of_request(Framing::Length(3)), b"abcGET /", b"abc", 3, true),
            (BodyDecoder::of_request(Framing::Length(9)), b"abc", b"abc", 3, false),
            (BodyDecoder::of_request(Framing::Chunked), b"3\r\nabc\r\n0\r\n\r\nGET /", b"abc", 13, true),
            (BodyDecoder::of_response(ResponseFraming::UntilClose), b"abc", b"abc", 3, false),
            (BodyDecoder::of_response(ResponseFraming::None), b"HTTP/1.1", b"", 0, true),
        ];
        for (body, bytes, data, taken, ended) in table {
            for piece in 1..=bytes.len() {
                assert_eq!(read(body, bytes, piece), (data.to_vec(), taken, ended), "{body:?} by {piece}");
            }
        }
    }
}
