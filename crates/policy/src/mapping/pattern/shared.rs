//! The common parts of the patterns of one table, stored once.
//!
//! The paths of an application consist of few different segments and variables. A table of 100,000 rows has most of
//! them thousands of times.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use super::part::{DynamicPart, Piece, shape_of};
use super::{Part, Variable};

/// Segments, parts and variables that were parsed before. Empty for parsing a single pattern.
#[derive(Debug, Default)]
pub(crate) struct SharedParts {
    texts: HashSet<Arc<str>>,
    /// Parts by shape. Of several parts with one shape that differ in the ranges of numbers, only the first is shared:
    /// such parts are rare, and a list of them would have to be searched each time.
    parts: HashMap<String, Arc<DynamicPart>>,
    /// Variables by names and converters, under the same rule.
    variables: HashMap<String, Arc<[Variable]>>,
}

impl SharedParts {
    /// A text that many rows share.
    pub(crate) fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let shared: Arc<str> = text.into();
        self.texts.insert(shared.clone());
        shared
    }

    pub(super) fn segment(&mut self, text: &str) -> Part {
        Part::Static(self.text(text))
    }

    /// See [`DynamicPart::new`].
    pub(super) fn part(
        &mut self,
        pieces: Vec<Piece>,
        takes_rest: bool,
        slash_follows: bool,
    ) -> Result<Part, regex::Error> {
        let shape = shape_of(&pieces, slash_follows);
        let known = self.parts.get(&shape);
        if let Some(known) = known.filter(|known| known.is_of(&pieces, takes_rest, slash_follows)) {
            return Ok(Part::Dynamic(known.clone()));
        }
        let part = Arc::new(DynamicPart::new(pieces, takes_rest, slash_follows)?);
        self.parts.entry(shape).or_insert_with(|| part.clone());
        Ok(Part::Dynamic(part))
    }

    pub(super) fn variables(&mut self, variables: Vec<Variable>) -> Arc<[Variable]> {
        let mut key = String::new();
        for Variable { name, converter } in &variables {
            write!(key, "{name}{converter}").expect("writing to a string cannot fail");
        }
        if let Some(known) = self.variables.get(&key).filter(|known| ***known == *variables) {
            return known.clone();
        }
        let shared: Arc<[Variable]> = variables.into();
        self.variables.entry(key).or_insert_with(|| shared.clone());
        shared
    }
}
