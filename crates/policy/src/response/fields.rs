//! The fields of a response, kept in one buffer.

use crate::field_buffer::FieldBuffer;

/// Names and values in order, as the server spelled them. Fields about the connection itself are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseFields(FieldBuffer);

impl ResponseFields {
    /// Room for the most that a head of `head_bytes` can hold.
    pub(super) fn with_capacity(head_bytes: usize) -> ResponseFields {
        const USUAL_FIELDS: usize = 12;
        ResponseFields(FieldBuffer::with_capacity(head_bytes, USUAL_FIELDS))
    }

    /// The number of fields.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names, which are tokens, and values, which contain no control character except the tab.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter()
    }

    /// The value of the first field of this name, in any letter case.
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) {
        self.0.push(name, value);
    }

    /// Drops the fields of these names.
    pub(super) fn remove(&mut self, is_dropped: impl Fn(&[u8]) -> bool) {
        self.0.remove(is_dropped);
    }
}
