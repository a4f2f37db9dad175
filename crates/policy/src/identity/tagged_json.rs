//! Flask's tagged JSON: the payload of a session cookie.
//!
//! Flask writes Python values that JSON has no word for as objects with one reserved key: `{" u": "<hex>"}`
//! is a UUID, `{" t": [...]}` a tuple (`flask.json.tag.TaggedJSONSerializer`). The text is read as Python's
//! `json.loads` reads it, which differs from RFC 8259 readers: `NaN` and `Infinity` are numbers, integers
//! have no bound, an unpaired surrogate escape is text, and of duplicate keys the last wins. A gate whose
//! reader saw another user id than Console's in the same bytes would let in the wrong person, so the dialect
//! is implemented here rather than approximated.
//!
//! Stricter than Flask, on purpose: tags over values that Flask itself never writes, keys with unpaired surrogates, and
//! nesting beyond a bound are errors. Such a session does not identify an admin.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveDateTime, Utc};
use thiserror::Error;

use super::python_base64::{STANDARD, decode_base64};

/// CPython refuses to read longer integers (`sys.int_info.default_max_str_digits`).
const MAX_INTEGER_DIGITS: usize = 4300;

/// IMF-fixdate (RFC 9110 section 5.6.7).
const HTTP_DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

/// A value of a Flask session.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    /// An integer outside `i64`, in canonical decimal digits.
    BigInteger(String),
    Float(f64),
    Text(String),
    /// Text with an unpaired surrogate, each shown as U+FFFD. Apart from `Text`, because two such texts that
    /// differ in Python may look equal here.
    IllFormedText(String),
    List(Vec<Value>),
    /// Tag ` t`.
    Tuple(Vec<Value>),
    /// Tag ` b`.
    Bytes(Vec<u8>),
    /// Tag ` m`: HTML that counts as escaped.
    Markup(String),
    /// Tag ` u`, most significant byte first.
    Uuid(u128),
    /// Tag ` d`. Text that is not a date at all is `Null` instead, as Werkzeug's `parse_date` makes it `None`.
    Time(DateTime<Utc>),
    Object(BTreeMap<String, Value>),
}

/// Why a payload is not tagged JSON. Contains no byte of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TaggedJsonError {
    #[error("the payload is not UTF-8")]
    NotUtf8,
    #[error("the payload is not valid JSON at byte {offset}")]
    Syntax { offset: usize },
    #[error("the payload nests deeper than {limit} levels")]
    TooDeep { limit: usize },
    #[error("the value under tag `{tag}` is not one that Flask writes")]
    BadTag { tag: &'static str },
}

impl Value {
    /// Reads a payload in which arrays and objects nest at most `max_depth` levels; each tag counts as a level.
    pub fn parse(payload: &[u8], max_depth: usize) -> Result<Value, TaggedJsonError> {
        let text = std::str::from_utf8(payload).map_err(|_| TaggedJsonError::NotUtf8)?;
        Value::read(text, max_depth, true)
    }

    /// Reads JSON as `json.loads` does, in which no key is a tag.
    pub fn parse_untagged(text: &str, max_depth: usize) -> Result<Value, TaggedJsonError> {
        Value::read(text, max_depth, false)
    }

    fn read(text: &str, max_depth: usize, has_tags: bool) -> Result<Value, TaggedJsonError> {
        let mut reader = Reader { text, offset: 0, max_depth, has_tags };
        reader.skip_space();
        let value = reader.value(0)?;
        reader.skip_space();
        if reader.offset < text.len() { reader.refuse() } else { Ok(value) }
    }

    /// The member `key`, if this is an object that has one.
    pub fn field(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Object(members) => members.get(key),
            _ => None,
        }
    }

    /// The id in field `key`; see [`Value::as_id`]. An id with U+0000 is dropped: Postgres cannot store such an id, and
    /// rejects a query for it.
    pub fn field_as_id(&self, key: &str) -> Option<String> {
        self.field(key).and_then(Value::as_id).filter(|id| !id.contains('\0'))
    }

    /// This value as the id of a row: a non-empty text unchanged, an integer in decimal, a UUID hyphenated and in lower
    /// case (RFC 9562 section 4). A boolean is not an id, although Python counts `True` as the integer 1.
    pub fn as_id(&self) -> Option<String> {
        match self {
            Value::Text(text) if !text.is_empty() => Some(text.clone()),
            Value::Integer(number) => Some(number.to_string()),
            Value::BigInteger(digits) => Some(digits.clone()),
            Value::Uuid(bits) => Some(hyphenated(*bits)),
            _ => None,
        }
    }

    /// Whether this value is the id that is stored as `stored`. A UUID equals each of its spellings, with and without
    /// hyphens and in either case; any other id equals only itself.
    pub fn is_id(&self, stored: &str) -> bool {
        match self {
            Value::Uuid(bits) => parse_uuid(stored) == Some(*bits),
            _ => self.as_id().is_some_and(|id| id == stored),
        }
    }
}

fn hyphenated(bits: u128) -> String {
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn parse_uuid(text: &str) -> Option<u128> {
    let hex: String = text.chars().filter(|character| *character != '-').collect();
    // `from_str_radix` would also take a leading `+`.
    let is_hex = hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex { u128::from_str_radix(&hex, 16).ok() } else { None }
}

/// `TaggedJSONSerializer.untag`: an object whose only key is a tag becomes the value that the tag
/// represents.
fn untag(mut members: BTreeMap<String, Value>) -> Result<Value, TaggedJsonError> {
    let tag = match members.first_key_value() {
        Some((key, _)) if members.len() == 1 => {
            [" t", " b", " m", " u", " d", " di"].into_iter().find(|tag| tag == key)
        }
        _ => None,
    };
    let Some(tag) = tag else { return Ok(Value::Object(members)) };
    let content = members.remove(tag);
    let value = match (tag, content) {
        (" t", Some(Value::List(items))) => Some(Value::Tuple(items)),
        // `b64decode` refuses text outside ASCII and adds no padding.
        (" b", Some(Value::Text(text))) if text.is_ascii() => {
            decode_base64(text.as_bytes(), &STANDARD, 0).map(Value::Bytes)
        }
        (" m", Some(Value::Text(text))) => Some(Value::Markup(text)),
        (" m", Some(text @ Value::IllFormedText(_))) => Some(text),
        (" u", Some(Value::Text(text))) => parse_uuid(&text).map(Value::Uuid),
        (" d", Some(Value::Text(text))) => read_date(&text),
        (" d", Some(Value::Null)) => Some(Value::Null),
        // `TagDict`: a real dictionary whose only key looks like a tag, written with `__` appended to the key.
        (" di", Some(Value::Object(inner))) if inner.len() == 1 => Some(Value::Object(
            inner.into_iter().map(|(key, value)| (without_last_two(key), value)).collect(),
        )),
        _ => None,
    };
    value.ok_or(TaggedJsonError::BadTag { tag })
}

/// Reads a date in the one form in which Flask writes it (`werkzeug.http.http_date`).
///
/// Python reads many other forms, fails on some, and returns `None` for the rest. Text without a digit is certainly not
/// a date; for any other text, the gate cannot know how Console reads it.
fn read_date(text: &str) -> Option<Value> {
    let time = NaiveDateTime::parse_from_str(text, HTTP_DATE).ok().map(|time| time.and_utc());
    // chrono is lenient about space and knows leap seconds; Python adds a century to a year below 100.
    let written_by_flask = |time: &DateTime<Utc>| {
        time.format(HTTP_DATE).to_string() == text && time.timestamp_subsec_nanos() == 0 && time.year() >= 100
    };
    match time.filter(written_by_flask) {
        Some(time) => Some(Value::Time(time)),
        None if !text.contains(char::is_numeric) => Some(Value::Null),
        None => None,
    }
}

/// Python's `key[:-2]`.
fn without_last_two(mut key: String) -> String {
    key.pop();
    key.pop();
    key
}

/// A recursive reader of Python's JSON dialect (`json.scanner`, `json.decoder`), with bounded depth.
struct Reader<'a> {
    text: &'a str,
    offset: usize,
    max_depth: usize,
    has_tags: bool,
}

impl Reader<'_> {
    fn refuse<T>(&self) -> Result<T, TaggedJsonError> {
        Err(TaggedJsonError::Syntax { offset: self.offset })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.offset).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.offset += usize::from(found);
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.text.as_bytes()[self.offset..].starts_with(word.as_bytes());
        self.offset += if found { word.len() } else { 0 };
        found
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.offset += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, TaggedJsonError> {
        match self.peek() {
            Some(b'{' | b'[') if depth >= self.max_depth => {
                Err(TaggedJsonError::TooDeep { limit: self.max_depth })
            }
            Some(b'{') if self.has_tags => self.object(depth + 1).and_then(untag),
            Some(b'{') => self.object(depth + 1).map(Value::Object),
            Some(b'[') => self.list(depth + 1).map(Value::List),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'n') if self.take_word("null") => Ok(Value::Null),
            Some(b't') if self.take_word("true") => Ok(Value::Bool(true)),
            Some(b'f') if self.take_word("false") => Ok(Value::Bool(false)),
            Some(b'N') if self.take_word("NaN") => Ok(Value::Float(f64::NAN)),
            Some(b'I') if self.take_word("Infinity") => Ok(Value::Float(f64::INFINITY)),
            _ => self.refuse(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<BTreeMap<String, Value>, TaggedJsonError> {
        let mut members = BTreeMap::new();
        self.offset += 1;
        self.skip_space();
        if self.take(b'}') {
            return Ok(members);
        }
        loop {
            if self.peek() != Some(b'"') {
                return self.refuse();
            }
            let Value::Text(key) = self.string()? else { return self.refuse() };
            self.skip_space();
            if !self.take(b':') {
                return self.refuse();
            }
            self.skip_space();
            let value = self.value(depth)?;
            // The last of several duplicate keys wins, as in a Python dictionary.
            members.insert(key, value);
            self.skip_space();
            if self.take(b'}') {
                return Ok(members);
            }
            if !self.take(b',') {
                return self.refuse();
            }
            self.skip_space();
        }
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Value>, TaggedJsonError> {
        let mut items = Vec::new();
        self.offset += 1;
        self.skip_space();
        if self.take(b']') {
            return Ok(items);
        }
        loop {
            items.push(self.value(depth)?);
            self.skip_space();
            if self.take(b']') {
                return Ok(items);
            }
            if !self.take(b',') {
                return self.refuse();
            }
            self.skip_space();
        }
    }

    /// Reads a string from its opening quote: `Text`, or `IllFormedText` when it contains an unpaired surrogate.
    fn string(&mut self) -> Result<Value, TaggedJsonError> {
        self.offset += 1;
        let mut text = String::new();
        let mut well_formed = true;
        loop {
            let rest = &self.text[self.offset..];
            // Every byte that ends a run is ASCII, so the cut is a character boundary.
            let run =
                rest.bytes().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len());
            text.push_str(&rest[..run]);
            self.offset += run;
            if self.take(b'"') {
                return Ok(if well_formed { Value::Text(text) } else { Value::IllFormedText(text) });
            }
            if !self.take(b'\\') {
                return self.refuse();
            }
            let escaped = self.escape()?;
            well_formed &= escaped.is_some();
            text.push(escaped.unwrap_or(char::REPLACEMENT_CHARACTER));
        }
    }

    /// The character of an escape, read from after its backslash; `None` for an unpaired surrogate.
    fn escape(&mut self) -> Result<Option<char>, TaggedJsonError> {
        let Some(letter) = self.peek() else { return self.refuse() };
        let character = match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.offset += 1;
                return self.unicode_escape();
            }
            _ => return self.refuse(),
        };
        self.offset += 1;
        Ok(Some(character))
    }

    fn unicode_escape(&mut self) -> Result<Option<char>, TaggedJsonError> {
        let first = self.four_hex_digits()?;
        let behind_first = self.offset;
        if (0xd800..0xdc00).contains(&first) && self.take_word("\\u") {
            let second = self.four_hex_digits()?;
            if (0xdc00..0xe000).contains(&second) {
                return Ok(char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)));
            }
            // No partner: the next characters are a separate escape.
            self.offset = behind_first;
        }
        Ok(char::from_u32(first))
    }

    fn four_hex_digits(&mut self) -> Result<u32, TaggedJsonError> {
        let mut code = 0;
        for _ in 0..4 {
            let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(16)) else {
                return self.refuse();
            };
            code = code * 16 + digit;
            self.offset += 1;
        }
        Ok(code)
    }

    fn number(&mut self) -> Result<Value, TaggedJsonError> {
        let start = self.offset;
        if self.take(b'-') && self.take_word("Infinity") {
            return Ok(Value::Float(f64::NEG_INFINITY));
        }
        let leading_zero = self.peek() == Some(b'0');
        let digits = self.digits()?;
        if leading_zero && digits > 1
            || digits > MAX_INTEGER_DIGITS && !matches!(self.peek(), Some(b'.' | b'e' | b'E'))
        {
            return self.refuse();
        }
        let mut integer = true;
        if self.take(b'.') {
            integer = false;
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            integer = false;
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        let literal = &self.text[start..self.offset];
        if !integer {
            return literal.parse().map(Value::Float).or_else(|_| self.refuse());
        }
        Ok(literal.parse().map_or_else(|_| Value::BigInteger(literal.to_owned()), Value::Integer))
    }

    /// Skips one or more decimal digits and counts them.
    fn digits(&mut self) -> Result<usize, TaggedJsonError> {
        let start = self.offset;
        while let Some(b'0'..=b'9') = self.peek() {
            self.offset += 1;
        }
        if self.offset == start { self.refuse() } else { Ok(self.offset - start) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Value, TaggedJsonError> {
        Value::parse(text.as_bytes(), 8)
    }

    #[test]
    fn accepts_and_refuses_what_python_does() {
        for accepted in
            ["{}", " [1 , 2]\n", "-0", "NaN", "[-Infinity]", "1e999", "\"\\ud83d\\ude00\"", "\"\u{7f}\""]
        {
            assert!(parse(accepted).is_ok(), "{accepted}");
        }
        let without_space =
            r#"01 1. - +1 .5 1e -NaN [1,] {"a":1,} {a:1} 'a' "\x" "\u12g4" "\ud800\u12" " nul {"\ud800":1}"#;
        let with_space = ["", "1 2", "\u{a0}1", "\u{feff}{}", "\"\t\""];
        for refused in without_space.split(' ').chain(with_space) {
            assert!(matches!(parse(refused), Err(TaggedJsonError::Syntax { .. })), "{refused}");
        }
        assert!(parse(&"9".repeat(4300)).is_ok());
        assert!(parse(&"9".repeat(4301)).is_err());
        assert_eq!(Value::parse(b"\"\xff\"", 8), Err(TaggedJsonError::NotUtf8));
    }

    #[test]
    fn a_tag_becomes_the_value_that_it_represents() {
        let member = |key: &str, value| Value::Object(BTreeMap::from([(key.to_owned(), value)]));
        for (text, expected) in [
            (r#"{" t":[1,{" t":[]}]}"#, Value::Tuple(vec![Value::Integer(1), Value::Tuple(vec![])])),
            (r#"{" b":"AP/+"}"#, Value::Bytes(vec![0, 255, 254])),
            (r#"{" m":"<b>"}"#, Value::Markup("<b>".to_owned())),
            (r#"{" d":"nope"}"#, Value::Null),
            (r#"{" d":"Thu, 01 Jan 1970 00:00:00 GMT"}"#, Value::Time(DateTime::UNIX_EPOCH)),
            (r#"{" di":{" t__":[1]}}"#, member(" t", Value::List(vec![Value::Integer(1)]))),
            (r#"{"a":1,"a":2}"#, member("a", Value::Integer(2))),
            (r#"{" x":1}"#, member(" x", Value::Integer(1))),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        assert!(matches!(parse(r#"{" t":[1],"a":2}"#), Ok(Value::Object(members)) if members.len() == 2));
        for (text, tag) in [
            (r#"{" t":1}"#, " t"),
            (r#"{" b":"AP_+"}"#, " b"),
            (r#"{" u":"+0"}"#, " u"),
            (r#"{" d":"Thu, 01 Jan 1970 00:00:00 PST"}"#, " d"),
            (r#"{" di":[]}"#, " di"),
        ] {
            assert_eq!(parse(text), Err(TaggedJsonError::BadTag { tag }), "{text}");
        }
    }

    #[test]
    fn without_tags_every_key_is_a_key() {
        let text = r#"{" t":[1]," u":"no uuid"}"#;
        for text in [text, r#"{" u":"no uuid"}"#] {
            assert!(matches!(Value::parse_untagged(text, 8), Ok(Value::Object(_))), "{text}");
        }
        assert_eq!(Value::parse_untagged("[[]]", 1), Err(TaggedJsonError::TooDeep { limit: 1 }));
    }

    #[test]
    fn only_ids_are_ids() {
        let uuid = r#"{" u":"12345678123412341234123456789ABC"}"#;
        for (text, id) in [
            ("\"anna\"", Some("anna")),
            ("42", Some("42")),
            ("-0", Some("0")),
            ("18446744073709551617", Some("18446744073709551617")),
            (uuid, Some("12345678-1234-1234-1234-123456789abc")),
            ("\"\"", None),
            ("\"\\ud800\"", None),
            ("true", None),
            ("1.0", None),
            ("null", None),
            ("[1]", None),
            (r#"{" m":"anna"}"#, None),
        ] {
            assert_eq!(parse(text).unwrap().as_id().as_deref(), id, "{text}");
        }
        let value = parse(uuid).unwrap();
        assert!(
            value.is_id("12345678-1234-1234-1234-123456789abc")
                && value.is_id("12345678123412341234123456789abc")
        );
        assert!(!value.is_id("12345678-1234-1234-1234-123456789abd") && !parse("42").unwrap().is_id("042"));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(parse(&nested(8)).is_ok());
        assert_eq!(parse(&nested(9)), Err(TaggedJsonError::TooDeep { limit: 8 }));
        assert_eq!(parse(&"[".repeat(100_000)), Err(TaggedJsonError::TooDeep { limit: 8 }));
    }
}
