//! The claims of an assertion, written as JSON without an intermediate form: they are made for every request.

use std::io::Write as _;

/// What claims usually take; larger ones grow their buffer.
const USUAL_BYTES: usize = 1024;

/// A JSON object that is being written. Its names are written as they are.
pub(super) struct Claims(Vec<u8>);

impl Claims {
    pub(super) fn begin() -> Claims {
        let mut json = Vec::with_capacity(USUAL_BYTES);
        json.push(b'{');
        Claims(json)
    }

    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        self.string(text);
    }

    pub(super) fn number(&mut self, name: &str, number: i64) {
        self.name(name);
        // Writing into memory cannot fail.
        let _ = write!(self.0, "{number}");
    }

    pub(super) fn texts<'t>(&mut self, name: &str, texts: impl IntoIterator<Item = &'t str>) {
        self.name(name);
        self.0.push(b'[');
        for (place, text) in texts.into_iter().enumerate() {
            if place > 0 {
                self.0.push(b',');
            }
            self.string(text);
        }
        self.0.push(b']');
    }

    /// The whole object.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }

    fn name(&mut self, name: &str) {
        self.0.extend_from_slice(if self.0.len() == 1 { b"\"" } else { b",\"" });
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn string(&mut self, text: &str) {
        // Without an early end, which lets the compiler look at many bytes at a time (RFC 8259 section 7: what must be escaped).
        let is_plain =
            text.bytes().fold(true, |plain, byte| plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\'));
        if is_plain {
            self.0.push(b'"');
            self.0.extend_from_slice(text.as_bytes());
            self.0.push(b'"');
        } else {
            // A string into memory cannot fail; claims that are incomplete are no JSON and verify nowhere.
            let _ = serde_json::to_writer(&mut self.0, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str, number: i64, texts: &[String]) -> Vec<u8> {
        let mut claims = Claims::begin();
        claims.text("text", text);
        claims.number("number", number);
        claims.texts("texts", texts.iter().map(String::as_str));
        claims.end()
    }

    proptest! {
        /// Byte for byte what a library of JSON writes.
        #[test]
        fn they_are_what_serde_writes(
            text in any::<String>(),
            number in any::<i64>(),
            texts in prop::collection::vec("[ -~\"\\\\\u{0}-\u{1f}\u{7f}é€😀]{0,12}", 0..4),
        ) {
            #[derive(serde::Serialize)]
            struct Expected<'e> {
                text: &'e str,
                number: i64,
                texts: &'e [String],
            }
            let expected = serde_json::to_vec(&Expected { text: &text, number, texts: &texts }).unwrap();
            prop_assert_eq!(written(&text, number, &texts), expected);
        }
    }

    #[test]
    fn one_without_claims_is_empty() {
        assert_eq!(Claims::begin().end(), b"{}");
    }
}
