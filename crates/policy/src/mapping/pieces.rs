//! Splits a file into pieces: the text before the blueprints, and each blueprint.
//!
//! A TOML document in memory takes thirty times the size of its text, and a file of 100,000 rows consists almost
//! entirely of blueprints. So the blueprints are read one after the other, each as a separate document.
//!
//! The result is the same mapping as from the whole file. Each piece begins with a header on its own line; if all text
//! before it is a valid document, nothing is left open there. No two pieces write below the same blueprint, and none
//! writes elsewhere, so pieces cannot contradict each other. A file that does not have this form, or has any mistake in
//! a piece, is read as a whole, so the reported findings do not depend on the splitting.

use std::collections::HashSet;
use std::ops::Range;

const BLUEPRINTS: &str = "[blueprints.";

/// The pieces of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pieces<'s> {
    /// Where the first blueprint begins.
    pub(super) head: usize,
    /// The name and place of each blueprint.
    pub(super) blueprints: Vec<(&'s str, Range<usize>)>,
}

/// The pieces; `None` for a file that has to be read as a whole.
pub(super) fn of(source: &str) -> Option<Pieces<'_>> {
    let mut names = HashSet::new();
    let mut blueprints: Vec<(&str, Range<usize>)> = Vec::new();
    for start in headers(source) {
        match (name(&source[start..]), blueprints.last_mut()) {
            (Some(name), Some((last, _))) if name == *last => {}
            (Some(name), last) => {
                if let Some((_, place)) = last {
                    place.end = start;
                }
                if !names.insert(name) {
                    return None;
                }
                blueprints.push((name, start..source.len()));
            }
            (None, Some(_)) => return None,
            (None, None) => {}
        }
    }
    let head = blueprints.first()?.1.start;
    Some(Pieces { head, blueprints })
}

/// The places where a line begins with a bracket.
fn headers(source: &str) -> impl Iterator<Item = usize> {
    let first = source.starts_with('[').then_some(0);
    first.into_iter().chain(memchr::memmem::find_iter(source.as_bytes(), "\n[").map(|newline| newline + 1))
}

/// The blueprint in a header, if its name is written without quotes.
fn name(header: &str) -> Option<&str> {
    let path = header.strip_prefix(BLUEPRINTS)?;
    let end = path.find(|one: char| !(one.is_ascii_alphanumeric() || matches!(one, '_' | '-')))?;
    (end > 0 && path[end..].starts_with([']', '.'])).then_some(&path[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Mapping;
    use super::super::parse::{parsed_as_a_whole, parsed_in_pieces};
    use super::*;

    #[test]
    fn a_piece_is_a_blueprint_with_its_tables() {
        let names =
            |source| of(source).map(|pieces| pieces.blueprints.into_iter().map(|(name, _)| name).collect());
        let table: [(&str, Option<Vec<&str>>); 10] = [
            ("", None),
            ("version = 1\n", None),
            (
                "[clusters]\n[blueprints.a]\n[blueprints.a.routes]\n[blueprints.b-1.routes]\n",
                Some(vec!["a", "b-1"]),
            ),
            ("[blueprints.a]", Some(vec!["a"])),
            ("[blueprints.a.routes]\n[blueprints.a]\n", Some(vec!["a"])),
            ("[blueprints.a]\n[blueprints.b]\n[blueprints.a.routes]\n", None),
            ("[blueprints.a]\n[clusters]\n", None),
            ("[blueprints.a]\n[blueprints.\"b\"]\n", None),
            ("[blueprints.a]\n[[blueprints.b]]\n", None),
            ("[blueprints.a ]\n", None),
        ];
        for (source, expected) in table {
            assert_eq!(names(source), expected, "{source}");
        }
    }

    #[test]
    fn the_shipped_file_is_read_in_pieces() {
        let source = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../routes.toml"));
        assert_eq!(
            shown(&parsed_in_pieces(source).expect("in pieces")),
            shown(&parsed_as_a_whole(source).unwrap())
        );
    }

    fn shown(mapping: &Mapping) -> String {
        format!("{:?} {:?}", mapping.rows(), mapping.clusters())
    }

    /// Lines that mean something else where something is open, defined or repeated.
    const LINES: [&str; 22] = [
        "[blueprints.a]",
        "[blueprints.a.routes]",
        "[blueprints.b]",
        "[blueprints.b.routes]",
        "[blueprints.\"a\"]",
        "[blueprints.a.routes.x]",
        " [blueprints.c.routes]",
        "[blueprints]",
        "[clusters]",
        "[[blueprints.a]]",
        "S1 = \"legacy\"",
        "cluster = \"S1\"",
        "routes.\"GET /r\" = { public = true }",
        "\"GET /x\" = { public = true }",
        "\"GET /y\" = { gone = true, note = \"\"\"",
        "\"\"\" }",
        "\"GET /<int:n>\" = { legacy = [",
        "\"ops\"], role = \"r\" }",
        "blueprints.d.routes.\"GET /d\" = { session = true }",
        "# a comment",
        "quiet = [",
        "]",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        /// What is read in pieces is what is read as a whole; and a mistake that all pieces together have is found.
        #[test]
        fn pieces_make_the_whole(lines in prop::collection::vec(prop::sample::select(&LINES), 0..9)) {
            let source = format!("version = 1\n{}", lines.join("\n"));
            if let Some(in_pieces) = parsed_in_pieces(&source) {
                let whole = parsed_as_a_whole(&source);
                prop_assert_eq!(whole.ok().map(|whole| shown(&whole)), Some(shown(&in_pieces)));
            }
        }
    }
}
