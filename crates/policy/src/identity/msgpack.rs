//! MessagePack, as Flask-Session writes sessions (`msgspec.msgpack`).
//!
//! Reads as msgspec does: exactly one value with nothing after it, text in UTF-8, the last of duplicate keys. Keys that
//! are not text are skipped with their values, because no setting can name one. Depth is bounded, and an announced
//! length is read only as far as there are bytes.

use std::collections::BTreeMap;

use thiserror::Error;

use super::tagged_json::Value;

/// Why a payload is not MessagePack. Contains no byte of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MsgpackError {
    #[error("the payload is not valid MessagePack at byte {offset}")]
    Syntax { offset: usize },
    #[error("the payload nests deeper than {limit} levels")]
    TooDeep { limit: usize },
}

/// Reads a payload in which arrays and maps nest at most `max_depth` levels.
///
/// # Errors
/// It is not exactly one value, or nests deeper.
pub fn parse(payload: &[u8], max_depth: usize) -> Result<Value, MsgpackError> {
    let mut reader = Reader { bytes: payload, offset: 0, max_depth };
    let value = reader.value(0)?;
    if reader.offset < payload.len() { reader.refuse() } else { Ok(value) }
}

struct Reader<'p> {
    bytes: &'p [u8],
    offset: usize,
    max_depth: usize,
}

impl Reader<'_> {
    fn refuse<T>(&self) -> Result<T, MsgpackError> {
        Err(MsgpackError::Syntax { offset: self.offset })
    }

    fn take(&mut self, length: usize) -> Result<&[u8], MsgpackError> {
        let end = self.offset.checked_add(length).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else { return self.refuse() };
        let taken = &self.bytes[self.offset..end];
        self.offset = end;
        Ok(taken)
    }

    /// A number of `width` bytes, most significant first.
    fn number(&mut self, width: usize) -> Result<u64, MsgpackError> {
        Ok(self.take(width)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The same in two's complement.
    fn signed(&mut self, width: usize) -> Result<Value, MsgpackError> {
        let unused = 64 - 8 * width;
        let number = self.number(width)?;
        Ok(Value::Integer((number << unused).cast_signed() >> unused))
    }

    fn length(&mut self, width: usize) -> Result<usize, MsgpackError> {
        let length = self.number(width)?;
        usize::try_from(length).or_else(|_| self.refuse())
    }

    fn value(&mut self, depth: usize) -> Result<Value, MsgpackError> {
        let [head] = *self.take(1)? else { return self.refuse() };
        match head {
            0x00..=0x7f => Ok(Value::Integer(i64::from(head))),
            0xe0..=0xff => Ok(Value::Integer(i64::from(head.cast_signed()))),
            0x80..=0x8f => self.map(usize::from(head & 0x0f), depth),
            0x90..=0x9f => self.list(usize::from(head & 0x0f), depth),
            0xa0..=0xbf => self.text(usize::from(head & 0x1f)),
            0xc0 => Ok(Value::Null),
            0xc2 | 0xc3 => Ok(Value::Bool(head == 0xc3)),
            0xc4..=0xc6 => {
                let length = self.length(1 << (head - 0xc4))?;
                Ok(Value::Bytes(self.take(length)?.to_vec()))
            }
            // Extensions, one of which is a time. None of them is an id.
            0xc7..=0xc9 => {
                let length = self.length(1 << (head - 0xc7))?;
                self.extension(length)
            }
            0xd4..=0xd8 => self.extension(1 << (head - 0xd4)),
            0xca => {
                let bits = self.number(4)?;
                let bits = u32::try_from(bits).or_else(|_| self.refuse())?;
                Ok(Value::Float(f64::from(f32::from_bits(bits))))
            }
            0xcb => Ok(Value::Float(f64::from_bits(self.number(8)?))),
            0xcc..=0xcf => {
                let number = self.number(1 << (head - 0xcc))?;
                Ok(i64::try_from(number)
                    .map_or_else(|_| Value::BigInteger(number.to_string()), Value::Integer))
            }
            0xd0..=0xd3 => self.signed(1 << (head - 0xd0)),
            0xd9..=0xdb => {
                let length = self.length(1 << (head - 0xd9))?;
                self.text(length)
            }
            0xdc | 0xdd => {
                let length = self.length(2 << (head - 0xdc))?;
                self.list(length, depth)
            }
            0xde | 0xdf => {
                let length = self.length(2 << (head - 0xde))?;
                self.map(length, depth)
            }
            // Never used (the specification of MessagePack, "formats").
            0xc1 => self.refuse(),
        }
    }

    fn text(&mut self, length: usize) -> Result<Value, MsgpackError> {
        let text = std::str::from_utf8(self.take(length)?).map(str::to_owned);
        text.map(Value::Text).or_else(|_| self.refuse())
    }

    fn extension(&mut self, length: usize) -> Result<Value, MsgpackError> {
        // A byte with the type of the extension precedes its data.
        self.take(1)?;
        Ok(Value::Bytes(self.take(length)?.to_vec()))
    }

    fn enter(&self, depth: usize) -> Result<usize, MsgpackError> {
        if depth < self.max_depth {
            Ok(depth + 1)
        } else {
            Err(MsgpackError::TooDeep { limit: self.max_depth })
        }
    }

    fn list(&mut self, length: usize, depth: usize) -> Result<Value, MsgpackError> {
        let depth = self.enter(depth)?;
        // Grows as items are read: a length of four billion takes only five bytes to announce.
        let mut items = Vec::new();
        for _ in 0..length {
            items.push(self.value(depth)?);
        }
        Ok(Value::List(items))
    }

    fn map(&mut self, length: usize, depth: usize) -> Result<Value, MsgpackError> {
        let depth = self.enter(depth)?;
        let mut members = BTreeMap::new();
        for _ in 0..length {
            let key = self.value(depth)?;
            let value = self.value(depth)?;
            if let Value::Text(key) = key {
                members.insert(key, value);
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_read() {
        let table: &[(&[u8], Value)] = &[
            (b"\x05", Value::Integer(5)),
            (b"\xff", Value::Integer(-1)),
            (b"\xcc\xff", Value::Integer(255)),
            (b"\xcd\x01\x00", Value::Integer(256)),
            (b"\xce\xff\xff\xff\xff", Value::Integer(4_294_967_295)),
            (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", Value::BigInteger("18446744073709551615".into())),
            (b"\xd0\x80", Value::Integer(-128)),
            (b"\xd1\xff\x00", Value::Integer(-256)),
            (b"\xd2\x80\x00\x00\x00", Value::Integer(-2_147_483_648)),
            (b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", Value::Integer(i64::MIN)),
            (b"\xca\x3f\x80\x00\x00", Value::Float(1.0)),
            (b"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", Value::Float(1.0)),
            (b"\xa2hi", Value::Text("hi".into())),
            (b"\xd9\x02hi", Value::Text("hi".into())),
            (b"\xda\x00\x02hi", Value::Text("hi".into())),
            (b"\xdb\x00\x00\x00\x02hi", Value::Text("hi".into())),
            (b"\xc4\x01\x00", Value::Bytes(vec![0])),
            (b"\xc5\x00\x01\x00", Value::Bytes(vec![0])),
            (b"\xc6\x00\x00\x00\x01\x00", Value::Bytes(vec![0])),
            (b"\xd6\xff\x00\x00\x00\x01", Value::Bytes(vec![0, 0, 0, 1])),
            (b"\xc7\x01\x09\x07", Value::Bytes(vec![7])),
            (b"\x92\xc0\xc3", Value::List(vec![Value::Null, Value::Bool(true)])),
            (b"\xdc\x00\x01\xc2", Value::List(vec![Value::Bool(false)])),
            (b"\xdd\x00\x00\x00\x01\xc2", Value::List(vec![Value::Bool(false)])),
            (b"\x82\xa1a\x01\xa1a\x02", Value::Object([("a".to_owned(), Value::Integer(2))].into())),
            (b"\x82\x07\x01\xa1a\x02", Value::Object([("a".to_owned(), Value::Integer(2))].into())),
            (b"\xde\x00\x00", Value::Object(BTreeMap::new())),
            (b"\xdf\x00\x00\x00\x00", Value::Object(BTreeMap::new())),
        ];
        for (bytes, expected) in table {
            assert_eq!(parse(bytes, 8).as_ref(), Ok(expected), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_is_cut_or_too_long_or_too_deep_is_refused() {
        let refused: &[&[u8]] = &[
            b"",
            b"\xc1",
            b"\x05\x05",
            b"\xa2h",
            b"\xa1\xff",
            b"\xcd\x01",
            b"\xdd\xff\xff\xff\xff",
            b"\xdf\xff\xff\xff\xff\xa1a",
            b"\xdb\xff\xff\xff\xffx",
            b"\xc7\x00",
            b"\x81\xa1a",
        ];
        for bytes in refused {
            let read = parse(bytes, 8);
            assert!(matches!(read, Err(MsgpackError::Syntax { .. })), "{}: {read:?}", bytes.escape_ascii());
        }
        let nested = |levels: usize| [vec![0x91; levels], vec![0xc0]].concat();
        assert!(parse(&nested(8), 8).is_ok());
        assert_eq!(parse(&nested(9), 8), Err(MsgpackError::TooDeep { limit: 8 }));
        assert_eq!(parse(&vec![0x81; 100_000], 8), Err(MsgpackError::TooDeep { limit: 8 }));
    }
}
