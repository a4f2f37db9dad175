//! The fields of a response, kept in one buffer.

/// Names and values in their order, as the server spelled them. No field of the connection itself is among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseFields {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

/// A name from `start` to `middle`, a value from there to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: usize,
    middle: usize,
    end: usize,
}

impl ResponseFields {
    /// Room for what a head of `head_bytes` can hold.
    pub(super) fn with_capacity(head_bytes: usize) -> ResponseFields {
        const USUAL_FIELDS: usize = 12;
        ResponseFields { bytes: Vec::with_capacity(head_bytes), spans: Vec::with_capacity(USUAL_FIELDS) }
    }

    /// The number of fields.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Names, which are tokens, and values, which hold no control character but the tab.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.spans
            .iter()
            .map(|span| (&self.bytes[span.start..span.middle], &self.bytes[span.middle..span.end]))
    }

    /// The value of the first field of this name, in any letter case.
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.spans.push(Span { start, middle, end: self.bytes.len() });
    }

    /// Drops the fields of these names.
    pub(super) fn remove(&mut self, is_dropped: impl Fn(&[u8]) -> bool) {
        let bytes = &self.bytes;
        self.spans.retain(|span| !is_dropped(&bytes[span.start..span.middle]));
    }
}
