//! The claims of an assertion, written as JSON without an intermediate form: they are made for every request.
//!
//! `notify` follows from a role that the caller holds, whichever gate let the request in: the gate has no queue of its
//! own.

use ledger::canonical::write_text;

/// The usual size of claims; larger ones grow their buffer.
const USUAL_BYTES: usize = 1024;

/// A JSON object in the making, in one piece or two. Its names are written as they are.
pub(super) struct Claims(String);

impl Claims {
    pub(super) fn begin() -> Claims {
        let mut json = String::with_capacity(USUAL_BYTES);
        json.push('{');
        Claims(json)
    }

    /// The second piece: it follows the claims of the first one, which has at least one.
    pub(super) fn go_on() -> Claims {
        Claims(String::with_capacity(USUAL_BYTES))
    }

    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        write_text(text, &mut self.0);
    }

    pub(super) fn number(&mut self, name: &str, number: i64) {
        self.name(name);
        self.0.push_str(itoa::Buffer::new().format(number));
    }

    pub(super) fn texts<'t>(&mut self, name: &str, texts: impl IntoIterator<Item = &'t str>) {
        self.name(name);
        self.0.push('[');
        for (place, text) in texts.into_iter().enumerate() {
            if place > 0 {
                self.0.push(',');
            }
            write_text(text, &mut self.0);
        }
        self.0.push(']');
    }

    /// The first piece, encoded in whole groups of Base64 (three bytes, RFC 4648 section 4): spaces between claims have
    /// no meaning.
    pub(super) fn pause(mut self) -> String {
        while !self.0.len().is_multiple_of(3) {
            self.0.push(' ');
        }
        self.0
    }

    /// The whole object, or its second piece.
    pub(super) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn name(&mut self, name: &str) {
        self.0.push_str(if self.0.len() == 1 { "\"" } else { ",\"" });
        self.0.push_str(name);
        self.0.push_str("\":");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str, number: i64, texts: &[String]) -> String {
        let mut claims = Claims::begin();
        claims.text("text", text);
        claims.number("number", number);
        claims.texts("texts", texts.iter().map(String::as_str));
        claims.end()
    }

    /// The same in two pieces, of which the first has whole groups of three bytes.
    fn in_pieces(text: &str, number: i64, texts: &[String]) -> String {
        let mut claims = Claims::begin();
        claims.text("text", text);
        let mut written = claims.pause();
        assert_eq!(written.len() % 3, 0, "{written:?}");
        let mut claims = Claims::go_on();
        claims.number("number", number);
        claims.texts("texts", texts.iter().map(String::as_str));
        written.push_str(&claims.end());
        written
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
            let expected = serde_json::to_string(&Expected { text: &text, number, texts: &texts }).unwrap();
            prop_assert_eq!(written(&text, number, &texts), expected.as_str());
            let pieces: serde_json::Value = serde_json::from_str(&in_pieces(&text, number, &texts)).unwrap();
            prop_assert_eq!(pieces.to_string(), serde_json::from_str::<serde_json::Value>(&expected).unwrap().to_string());
        }
    }

    #[test]
    fn one_without_claims_is_empty() {
        assert_eq!(Claims::begin().end(), "{}");
    }
}
