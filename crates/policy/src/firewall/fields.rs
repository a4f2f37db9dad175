//! Header fields, kept in one buffer.

use super::Refusal;
use crate::field_buffer::FieldBuffer;

/// The fields of a request that may reach Console, in the order of arrival, names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(FieldBuffer);

impl Fields {
    /// Room for the most that a head of `head_bytes` can contain.
    pub(super) fn with_capacity(head_bytes: usize) -> Fields {
        const USUAL_FIELDS: usize = 16;
        Fields(FieldBuffer::with_capacity(head_bytes, USUAL_FIELDS))
    }

    /// The number of fields.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names and values. A value contains no control character except the tab, and may contain bytes above 0x7F.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let text = |name| std::str::from_utf8(name).expect("a name is a token, and so ASCII");
        self.iter_bytes().map(move |(name, value)| (text(name), value))
    }

    /// The same with the names as bytes, for writing them.
    pub fn iter_bytes(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter()
    }

    /// The value of the first field with this lower-case name.
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.iter_bytes().find(|(other, _)| *other == name.as_bytes()).map(|(_, value)| value)
    }

    /// Whether there is a field with this lower-case name.
    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.iter_bytes().any(|(other, _)| other == name)
    }

    /// Adds a field whose name and value have passed [`lower_name`] and [`check_value`].
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) {
        self.0.push(name, value);
    }

    /// These fields, without those with a lower-case name.
    pub(super) fn without(&self, name: &str) -> Fields {
        let mut others = Fields::with_capacity(self.0.byte_count());
        for (other, value) in self.iter_bytes().filter(|(other, _)| *other != name.as_bytes()) {
            others.push(other, value);
        }
        others
    }
}

/// Splits a field line into name and value without the white space around the value (RFC 9112 5).
pub(super) fn split_line(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    // A folded line belongs to the field before it or is a separate field, depending on the parser.
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Refusal::FoldedField);
    }
    // Names are short, so a vectorized search would cost more.
    let colon = line.iter().position(|&byte| byte == b':').ok_or(Refusal::FieldName)?;
    Ok((&line[..colon], trim_white_space(&line[colon + 1..])))
}

/// The name of a field in lower case.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name<'b> {
    /// Letters, digits and `-`.
    Plain(&'b [u8]),
    /// A name with other marks, which a server may fold into another name.
    Folding(&'b [u8]),
}

/// Writes the lower-case form of a name into `lower`, replacing its content.
///
/// RFC 9110 5.6.2 allows more than letters, digits and `-`. But a WSGI environment folds `-` into `_`, so that
/// `SCRIPT_NAME: /login` makes gunicorn serve `/login/secrets` as `/secrets`, and other CGI-like servers fold every
/// mark. Such fields never reach Console. Those that would frame a body after folding are refused, in case a proxy in
/// front folds them. White space before the colon (`Transfer-Encoding : chunked`) fails here too.
pub(super) fn lower_name<'b>(name: &[u8], lower: &'b mut Vec<u8>) -> Result<Name<'b>, Refusal> {
    let kinds = name.iter().fold(LETTER, |kinds, &byte| kinds | NAME_BYTES[usize::from(byte)]);
    if name.is_empty() || kinds & NO_TOKEN != 0 {
        return Err(Refusal::FieldName);
    }
    lower.clear();
    lower.extend_from_slice(name);
    lower.make_ascii_lowercase();
    match lower.as_slice() {
        name if kinds & MARK == 0 => Ok(Name::Plain(name)),
        name if folds_into_framing(name) => Err(Refusal::FieldName),
        name => Ok(Name::Folding(name)),
    }
}

/// RFC 9110 5.6.2.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    NAME_BYTES[usize::from(byte)] & NO_TOKEN == 0
}

// The class of a byte in a field's name, as bits: the bits of all bytes together show what the name contains.
/// A letter, a digit or `-`.
const LETTER: u8 = 0;
/// Another mark of a token (RFC 9110 5.6.2).
const MARK: u8 = 1;
/// A byte that cannot be in a name.
const NO_TOKEN: u8 = 2;

const NAME_BYTES: [u8; 256] = {
    let mut kinds = [NO_TOKEN; 256];
    let mut byte: u8 = 0;
    while byte < 0x80 {
        kinds[byte as usize] = match byte {
            b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => LETTER,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'.' | b'^' | b'_' | b'`' | b'|'
            | b'~' => MARK,
            _ => NO_TOKEN,
        };
        byte += 1;
    }
    kinds
};

fn folds_into_framing(name: &[u8]) -> bool {
    let folded = name.iter().map(|&byte| if byte.is_ascii_alphanumeric() { byte } else { b'-' });
    ["content-length", "transfer-encoding"].iter().any(|framing| folded.clone().eq(framing.bytes()))
}

/// Refuses control characters: a NUL ends a C string, and a CR or LF begins a field that was not checked.
pub(super) fn check_value(value: &[u8]) -> Result<(), Refusal> {
    if has_control(value) { Err(Refusal::FieldValue) } else { Ok(()) }
}

/// Whether there is a control character other than the tab.
pub(crate) fn has_control(value: &[u8]) -> bool {
    let is_control = |byte: u8| (byte < 0x20) & (byte != b'\t') | (byte == 0x7f);
    // No early exit, so that the compiler can process many bytes at once: hardly any value has one.
    value.iter().fold(false, |has, &byte| has | is_control(byte))
}

/// Optional white space is spaces and tabs (RFC 9110 5.6.3); `trim_ascii` would remove more than that.
pub(crate) fn trim_white_space(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        assert_eq!(split_line(b"Host: h"), Ok((&b"Host"[..], &b"h"[..])));
        assert_eq!(split_line(b"A:\t b c \t"), Ok((&b"A"[..], &b"b c"[..])));
        assert_eq!(split_line(b"A:"), Ok((&b"A"[..], &b""[..])));
        assert_eq!(split_line(b"A: \t "), Ok((&b"A"[..], &b""[..])));
        assert_eq!(split_line(b"A: b:c"), Ok((&b"A"[..], &b"b:c"[..])));
        assert_eq!(split_line(b"A:\x0bb"), Ok((&b"A"[..], &b"\x0bb"[..])));
        assert_eq!(split_line(b" A: b"), Err(Refusal::FoldedField));
        assert_eq!(split_line(b"\tA: b"), Err(Refusal::FoldedField));
        assert_eq!(split_line(b"A"), Err(Refusal::FieldName));
    }

    #[test]
    fn names() {
        let mut buffer = Vec::new();
        assert_eq!(lower_name(b"X-Request-ID", &mut buffer), Ok(Name::Plain(b"x-request-id")));
        assert_eq!(lower_name(b"1", &mut buffer), Ok(Name::Plain(b"1")));
        for name in ["x_a", "x.a", "script_name", "_", "x~|^`", "content_lengths", "x-forwarded_for"] {
            let upper = name.to_ascii_uppercase();
            assert_eq!(
                lower_name(upper.as_bytes(), &mut buffer),
                Ok(Name::Folding(name.as_bytes())),
                "{name}"
            );
        }
        for name in [
            &b""[..],
            b"Content_Length",
            b"transfer.encoding",
            b"TRANSFER_ENCODING",
            b"X-A ",
            b"X A",
            b"X\tA",
            b"X\0",
            b"\xc3\xa9",
            b"(x)",
            b"\"x\"",
            b"X\x7f",
        ] {
            assert_eq!(
                lower_name(name, &mut buffer),
                Err(Refusal::FieldName),
                "{:?}",
                String::from_utf8_lossy(name)
            );
        }
    }

    #[test]
    fn values() {
        for value in [&b""[..], b"a b", b"a\tb", b"caf\xc3\xa9", b"\x80\xff", b"\"quoted\""] {
            assert_eq!(check_value(value), Ok(()));
        }
        for byte in (0..0x20).filter(|&byte| byte != b'\t').chain([0x7f]) {
            assert_eq!(check_value(&[b'a', byte, b'b']), Err(Refusal::FieldValue), "{byte}");
        }
    }

    #[test]
    fn fields_keep_their_order() {
        let mut fields = Fields::default();
        assert!(fields.is_empty());
        fields.push(b"a", b"1");
        fields.push(b"b", b"");
        fields.push(b"a", b"2");
        let all: Vec<_> = fields.iter().collect();
        assert_eq!(all, [("a", &b"1"[..]), ("b", b""), ("a", b"2")]);
        assert_eq!((fields.len(), fields.value("a"), fields.value("c")), (3, Some(&b"1"[..]), None));
        assert_eq!(fields.without("a").iter().collect::<Vec<_>>(), [("b", &b""[..])]);
    }
}
