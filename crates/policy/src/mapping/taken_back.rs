//! Finds the parts of a file that a rollback took back.
//!
//! A rollback replaces files by the pinned mapping. Every part that a replaced file decides differently from the pinned
//! mapping was taken back: a method of a path, a cluster, an approval. A file contains such a part if it decides the
//! part as the replaced file did, whatever else it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::approval::ApprovalRule;
use super::pattern::{Pattern, Variable};
use super::table::{Mapping, Row};
use crate::diagnostic::Diagnostic;

/// The most parts that are named in one message.
const MOST_NAMED: usize = 5;

/// A part of a file that agrees with the rolled-back file and not with the pinned mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenBack {
    /// `cluster `S1``, `the row `GET /x``.
    pub what: String,
    place: Range<usize>,
}

/// The decisions, part by part, and their places in the file.
type Parts = BTreeMap<String, (String, String, Range<usize>)>;

impl Mapping {
    /// The parts of this file that a rollback from the files `replaced` to `pinned` took back.
    pub fn taken_back(&self, pinned: &Mapping, replaced: &[Mapping]) -> Vec<TakenBack> {
        let (own, pinned) = (self.parts(), pinned.parts());
        let says = |parts: &Parts, key: &str| parts.get(key).map(|(_, says, _)| says.clone());
        let mut found: BTreeMap<String, Range<usize>> = BTreeMap::new();
        for replaced in replaced.iter().map(Mapping::parts) {
            let keys: BTreeSet<&String> = replaced.keys().chain(pinned.keys()).collect();
            for key in keys {
                let before = says(&replaced, key);
                if before == says(&pinned, key) || before != says(&own, key) {
                    continue;
                }
                let part = own.get(key).or_else(|| pinned.get(key));
                let Some((what, _, place)) = part else { continue };
                // A part that was left out has no place in this file.
                let (what, place) = match own.contains_key(key) {
                    true => (what.clone(), place.clone()),
                    false => (format!("{what}, which is left out"), 0..0),
                };
                found.insert(what, place);
            }
        }
        let mut found: Vec<TakenBack> =
            found.into_iter().map(|(what, place)| TakenBack { what, place }).collect();
        found.sort_by_key(|part| part.place.start);
        found
    }

    fn parts(&self) -> Parts {
        let mut parts = Parts::new();
        for row in &self.rows {
            for method in row.methods.iter() {
                let place = row.offset..row.offset + row.route.len();
                let part = (format!("the row `{}`", row.route), decides(row), place);
                parts.insert(format!("row {method} {}", nameless(&row.pattern)), part);
            }
        }
        for (name, rollout) in &self.clusters {
            let place = self.orders.get(name).map_or(0..0, |order| order.place.clone());
            parts.insert(
                format!("cluster {name}"),
                (format!("the cluster `{name}`"), rollout.to_string(), place),
            );
        }
        let says = |rule: &ApprovalRule| format!("{:?} {} {}", rule.by, rule.quorum, rule.longest);
        for (group, rule) in &self.approvals {
            let place = rule.offset..rule.offset + group.len();
            parts.insert(
                format!("approval {group}"),
                (format!("the approval of `{group}`"), says(rule), place),
            );
        }
        if let Some(rule) = &self.approval_of_edits {
            let place = rule.offset..rule.offset;
            parts.insert("approval of edits".into(), ("the approval of edits".into(), says(rule), place));
        }
        let unmapped = ("`unmapped`".to_owned(), format!("{:?}", self.unmapped), 0..0);
        parts.insert("unmapped".into(), unmapped);
        for path in &self.quiet {
            parts.insert(format!("quiet {path}"), (format!("the quiet path `{path}`"), String::new(), 0..0));
        }
        parts
    }
}

/// A pattern without the names of its variables: a path spelled otherwise is the same path.
fn nameless(pattern: &Pattern) -> String {
    let converters: Vec<_> = pattern.variables().iter().map(Variable::converter).collect();
    format!("{} {converters:?}", pattern.shape())
}

/// Everything that a row specifies about who may do what, and how it refuses. Lists each field by name, so that a new
/// one is not forgotten.
fn decides(row: &Row) -> String {
    let Row {
        cluster,
        kind,
        unauthenticated,
        forbidden,
        websocket,
        stream,
        cors,
        gate,
        upstream,
        notifies,
        totp,
        freshness,
        step_up,
        // The part's key, notes, and its place.
        route: _,
        blueprint: _,
        methods: _,
        pattern: _,
        decided: _,
        unreviewed: _,
        offset: _,
    } = row;
    let says = format!(
        "{cluster:?} {kind:?} {unauthenticated:?} {forbidden:?} {websocket} {stream} {cors} {gate} {upstream:?} {notifies:?} \
         {totp:?} {freshness:?} {step_up:?}"
    );
    // A ticket's customer may be a variable of the path.
    let variables = row.pattern.variables().iter().enumerate();
    variables.fold(says, |says, (place, variable)| {
        says.replace(&format!("Path({:?})", variable.name()), &format!("Path({place})"))
    })
}

/// The finding about a file that contains these parts. `pinned` and `by` name the rollback.
pub fn finding(parts: &[TakenBack], pinned: &str, by: &str) -> Option<Diagnostic> {
    let first = parts.first()?;
    let mut names: Vec<&str> = parts.iter().take(MOST_NAMED).map(|part| part.what.as_str()).collect();
    let others = format!("{} other(s)", parts.len().saturating_sub(MOST_NAMED));
    if parts.len() > MOST_NAMED {
        names.push(&others);
    }
    let place = parts.iter().map(|part| &part.place).find(|place| !place.is_empty()).unwrap_or(&first.place);
    let message = format!(
        "the rollback to {pinned} by {by} is in force, and this file contains what it took back: {}",
        names.join(", ")
    );
    Some(Diagnostic::new("taken-back", place.clone(), message).suggest(
        "take that out of the file; or, if it is meant, `console-gate rollback --release` lets the files decide again",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "version = 1\n[clusters]\nC = \"legacy\"\n[blueprints.t]\ncluster = \"C\"\n[blueprints.t.routes]\n\
        \"GET,POST /x\" = { legacy = [\"ops\"], role = \"r\" }\n\"GET /y\" = { session = true }\n";

    fn parsed(text: &str) -> Mapping {
        Mapping::parse("t", text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    #[test]
    fn a_file_contains_what_it_decides_as_the_replaced_file_did() {
        let v2 = |text: &str| text.replace("C = \"legacy\"", "C = \"v2\"");
        let public = |text: &str| text.replace("session = true", "public = true");
        let without = |text: &str| text.replace("\"GET /y\" = { session = true }\n", "");
        let unrelated = |text: &str| format!("{text}\"GET /z\" = {{ public = true }}\n# and a comment\n");
        let split = |text: &str| {
            text.replace(
                "\"GET,POST /x\"",
                "\"GET /x\" = { legacy = [\"ops\"], role = \"other\" }\n\"POST /x\"",
            )
        };
        let other = |text: &str| text.replace("role = \"r\"", "role = \"other\"");
        let redirecting = |text: &str| text.replace("role = \"r\" }", "role = \"r\", forbidden = \"302\" }");
        let cluster: &[&str] = &["the cluster `C`"];
        // The file that was rolled back, the file now, and what it contains.
        let table: [(String, String, &[&str]); 11] = [
            (v2(BASE), v2(BASE), cluster),
            (v2(BASE), unrelated(&v2(BASE)), cluster),
            (v2(BASE), unrelated(BASE), &[]),
            // Another answer to the same question is a change of its own.
            (v2(BASE), BASE.replace("C = \"legacy\"", "C = \"shadow\""), &[]),
            (public(&v2(BASE)), public(BASE), &["the row `GET /y`"]),
            (public(&v2(BASE)), unrelated(&public(&v2(BASE))), &["the cluster `C`", "the row `GET /y`"]),
            (without(BASE), unrelated(&without(BASE)), &["the row `GET /y`, which is left out"]),
            (other(BASE), split(BASE), &["the row `GET /x`"]),
            (redirecting(BASE), unrelated(&redirecting(BASE)), &["the row `GET,POST /x`"]),
            // A comment alone was rolled back.
            (format!("{BASE}# b\n"), format!("{BASE}# c\n"), &[]),
            (unrelated(BASE), unrelated(&v2(BASE)), &["the row `GET /z`"]),
        ];
        for (replaced, file, expected) in table {
            let found = parsed(&file).taken_back(&parsed(BASE), &[parsed(&replaced)]);
            let found: Vec<&str> = found.iter().map(|part| part.what.as_str()).collect();
            assert_eq!(found, expected, "{replaced}\n{file}");
        }
    }

    /// The old row is gone and another is there, but the same requests meet the same rule.
    #[test]
    fn a_path_spelled_otherwise_is_the_same_path() {
        let rows = |rows: &str| parsed(&format!("{BASE}{rows}\n"));
        let row =
            |path: &str, role: &str| format!("\"GET {path}\" = {{ legacy = [\"ops\"], role = \"{role}\" }}");
        let ticket = |path: &str, customer: &str, query: &str| {
            format!(
                "\"GET {path}\" = {{ role = \"r\", ticket = {{ query = \"{query}\", customer = \"path:{customer}\" }} }}"
            )
        };
        // The pinned mapping, the replaced file, the file now, and whether it contains what was taken back.
        let table = [
            (row("/c/<int:x>", "r"), row("/c/<int:x>", "wide"), row("/c/<int:y>", "wide"), true),
            (row("/c/<x>", "r"), row("/c/<x>", "wide"), row("/c/<string:other>", "wide"), true),
            (row("/c/<int:x>", "r"), row("/c/<int:x>", "wide"), row("/c/<y>", "wide"), false),
            (row("/c/<int:x>", "r"), row("/c/<int:x>", "wide"), row("/c/<int(min=5):y>", "wide"), false),
            (
                ticket("/c/<int:x>", "x", "t"),
                ticket("/c/<int:x>", "x", "u"),
                ticket("/c/<int:y>", "y", "u"),
                true,
            ),
            (
                ticket("/c/<int:x>", "x", "t"),
                ticket("/c/<int:x>", "x", "u"),
                ticket("/c/<int:y>", "y", "t"),
                false,
            ),
        ];
        for (pinned, replaced, file, contains) in table {
            let found = rows(&file).taken_back(&rows(&pinned), &[rows(&replaced)]);
            let here = found.iter().any(|part| !part.what.ends_with("left out"));
            assert_eq!(here, contains, "{pinned}\n{replaced}\n{file}\n{found:?}");
        }
    }

    #[test]
    fn a_finding_names_the_rollback_and_the_parts() {
        let v2 = parsed(&BASE.replace("C = \"legacy\"", "C = \"v2\""));
        let parts = v2.taken_back(&parsed(BASE), std::slice::from_ref(&v2));
        let found = finding(&parts, "0123456789ab", "anna@host").unwrap();
        assert!(found.message.contains("to 0123456789ab by anna@host"), "{}", found.message);
        assert!(found.message.ends_with("took back: the cluster `C`"), "{}", found.message);
        assert_eq!(finding(&[], "0123456789ab", "anna"), None);
    }
}
