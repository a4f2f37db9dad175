//! The fields of a head, copied into one buffer, because every head has a dozen of them.

/// Names and values, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldBuffer {
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

impl FieldBuffer {
    /// Room for this many bytes and fields.
    pub(crate) fn with_capacity(bytes: usize, fields: usize) -> FieldBuffer {
        FieldBuffer { bytes: Vec::with_capacity(bytes), spans: Vec::with_capacity(fields) }
    }

    /// The number of fields.
    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    /// The bytes of all names and values.
    pub(crate) fn byte_count(&self) -> usize {
        self.bytes.len()
    }

    /// Names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.spans
            .iter()
            .map(|span| (&self.bytes[span.start..span.middle], &self.bytes[span.middle..span.end]))
    }

    /// Adds a field at the end.
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.spans.push(Span { start, middle, end: self.bytes.len() });
    }

    /// Drops the fields of these names.
    pub(crate) fn remove(&mut self, is_dropped: impl Fn(&[u8]) -> bool) {
        let bytes = &self.bytes;
        self.spans.retain(|span| !is_dropped(&bytes[span.start..span.middle]));
    }
}
