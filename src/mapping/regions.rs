//! Where two mappings can answer differently: every pair of rows that some request meets.

use super::table::{Mapping, Row};
use crate::method::MethodSet;

/// Requests that are decided by one row of the old mapping and one row of the new one.
#[derive(Clone, Debug)]
pub struct Region<'m> {
    /// The methods for which this pair decides `example`.
    pub methods: MethodSet,
    /// A decoded path that belongs here.
    pub example: String,
    /// The row of the old mapping that decides; `None` where none does.
    pub old: Option<&'m Row>,
    /// The row of the new mapping that decides.
    pub new: Option<&'m Row>,
}

impl Mapping {
    /// Every pair of rows, one of this mapping and one of `new`, that some request meets, each once.
    pub fn regions<'m>(&'m self, new: &'m Mapping) -> Vec<Region<'m>> {
        let _ = new;
        Vec::new()
    }
}
