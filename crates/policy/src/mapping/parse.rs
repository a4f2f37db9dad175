//! `routes.toml`: text in, a [`Mapping`] or every mistake in the file out.
//!
//! The file is walked as a tree of spanned values instead of being deserialised, because a deserialiser stops at its
//! first error and an operator at night wants all of them at once.

use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::ids::MappingSha256;
use crate::method::{Method, MethodSet};

use super::clusters::{self, Clusters};
use super::matcher::{Matcher, Rule};
use super::pattern::Pattern;
use super::row::{methods_carry_bodies, parse_row};
use super::row_count;
use super::table::{Freshness, Mapping, Row, Unmapped};
use crate::diagnostic::{Diagnostic, Diagnostics, closest, position};

const TOP_LEVEL_KEYS: [&str; 6] = ["version", "rows", "unmapped", "clusters", "soak", "blueprints"];
const BLUEPRINT_KEYS: [&str; 3] = ["cluster", "freshness", "routes"];

impl Mapping {
    /// Parses a mapping file. `path` is only for messages.
    ///
    /// # Errors
    ///
    /// Every mistake at once: syntax, unknown keys, wrong types, bad patterns, clusters that are not declared, rows
    /// that repeat or overlap each other. A file with one mistake is refused whole.
    pub fn parse(path: &str, source: &str) -> Result<Mapping, Diagnostics> {
        let mut reader = Reader { findings: Vec::new() };
        let mapping = reader.document(source);
        if reader.findings.is_empty() {
            Ok(mapping)
        } else {
            Err(Diagnostics::new(path, source, reader.findings))
        }
    }
}

/// The SHA-256 of a mapping file, under which it is activated, audited and rolled back.
pub fn sha256_of(source: &str) -> MappingSha256 {
    let digest = Sha256::digest(source.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    MappingSha256::new(hex)
}

/// Collects findings while it turns TOML values into typed ones.
pub(super) struct Reader {
    pub(super) findings: Vec<Diagnostic>,
}

impl Reader {
    fn document(&mut self, source: &str) -> Mapping {
        let (document, syntax_errors) = DeTable::parse_recoverable(source);
        for error in &syntax_errors {
            let span = error.span().unwrap_or(0..source.len().min(1));
            self.findings.push(Diagnostic::new("syntax", span, error.message()));
        }
        let root = document.get_ref();
        self.no_unknown_keys(root, &TOP_LEVEL_KEYS, "the top level");
        self.version(root, document.span());
        let unmapped = self.unmapped(root);
        let clusters = clusters::clusters(self, root);
        let soak = clusters::soak(self, root, &clusters);
        row_count::check(self, root);
        let rows = self.blueprints(root, &clusters);
        let matcher = self.matcher(&rows, source);
        Mapping { source: source.into(), sha256: sha256_of(source), unmapped, clusters, soak, rows, matcher }
    }

    fn version(&mut self, root: &DeTable<'_>, whole: Range<usize>) {
        match root.get("version") {
            None => self.report(
                Diagnostic::new("missing-version", whole.start..whole.start, "`version` is missing")
                    .suggest("begin the file with `version = 1`"),
            ),
            Some(value) => {
                let is_one = matches!(value.get_ref(), DeValue::Integer(number) if number.as_str() == "1");
                if !is_one {
                    self.report(Diagnostic::new(
                        "unknown-version",
                        value.span(),
                        "this gate reads `version = 1` only",
                    ));
                }
            }
        }
    }

    fn unmapped(&mut self, root: &DeTable<'_>) -> Unmapped {
        let words = [("deny", Unmapped::Deny), ("forward", Unmapped::Forward)];
        // An absent or unreadable word means deny: nothing unknown is ever let in.
        root.get("unmapped").and_then(|value| self.word(value, "unmapped", &words)).unwrap_or(Unmapped::Deny)
    }

    fn blueprints(&mut self, root: &DeTable<'_>, clusters: &Clusters) -> Vec<Row> {
        let mut rows = Vec::new();
        let Some(value) = root.get("blueprints") else { return rows };
        let Some(blueprints) = self.table(value, "blueprints") else { return rows };
        for (name, value) in blueprints.iter() {
            let Some(blueprint) = self.table(value, "a blueprint") else { continue };
            self.no_unknown_keys(blueprint, &BLUEPRINT_KEYS, "a blueprint");
            let cluster = blueprint.get("cluster").and_then(|value| self.cluster_name(value, clusters));
            let freshness =
                blueprint.get("freshness").and_then(|value| self.word(value, "freshness", &Freshness::WORDS));
            let Some(routes) = blueprint.get("routes") else { continue };
            let Some(routes) = self.table(routes, "routes") else { continue };
            let blueprint_name: Arc<str> = Arc::from(name.get_ref().as_ref());
            for (key, value) in routes.iter() {
                if let Some(row) = self.row(key, value, &blueprint_name, cluster.as_ref()) {
                    // The row's own word wins over its blueprint's.
                    rows.push(Row { freshness: row.freshness.or(freshness), ..row });
                }
            }
        }
        rows.sort_by_key(|row| row.offset);
        rows
    }

    fn cluster_name(&mut self, value: &Spanned<DeValue<'_>>, clusters: &Clusters) -> Option<Arc<str>> {
        let name = self.string(value, "cluster")?;
        if !clusters.contains_key(name.as_str()) {
            let mut finding = Diagnostic::new(
                "unknown-cluster",
                value.span(),
                format!("the cluster `{name}` is not in [clusters]"),
            );
            finding = match closest(&name, clusters.keys().map(AsRef::as_ref)) {
                Some(known) => finding.suggest(format!("did you mean `{known}`?")),
                None => finding.suggest(format!("add `{name} = \"legacy\"` to [clusters]")),
            };
            self.report(finding);
        }
        Some(name.into())
    }

    fn row(
        &mut self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        blueprint: &Arc<str>,
        cluster: Option<&Arc<str>>,
    ) -> Option<Row> {
        let route = key.get_ref().as_ref();
        let span = key.span();
        // Both halves are read even when one is wrong: all errors at once.
        let head = self.route_key(route, span.clone());
        let body = parse_row(self, value, span.clone());
        let ((methods, pattern), body) = (head?, body?);
        if !methods_carry_bodies(self, route, methods, body.kind.body_rules(), span.clone()) {
            return None;
        }
        Some(Row {
            route: route.into(),
            blueprint: blueprint.clone(),
            cluster: cluster.cloned(),
            methods,
            pattern,
            kind: body.kind,
            unauthenticated: body.unauthenticated,
            websocket: body.websocket,
            totp: body.totp,
            freshness: body.freshness,
            offset: span.start,
        })
    }

    /// `GET /console/customers/`, `GET,POST /x`, `* /x`.
    fn route_key(&mut self, route: &str, span: Range<usize>) -> Option<(MethodSet, Pattern)> {
        let Some((methods, path)) = route.split_once(' ') else {
            self.report(
                Diagnostic::new("bad-route", span, format!("`{route}` is not a method and a path"))
                    .suggest("write it as \"GET /path\", \"GET,POST /path\" or \"* /path\""),
            );
            return None;
        };
        let methods = self.methods(methods, span.clone());
        let pattern = match Pattern::parse(path) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                // The key's span holds its opening quote; the path begins after the methods and one space.
                let base = span.start + 1 + (route.len() - path.len());
                let within = error.span();
                let place = base + within.start..(base + within.end).max(base + within.start + 1);
                let mut finding = Diagnostic::new("bad-pattern", place, error.problem().to_string());
                if let Some(suggestion) = error.suggestion() {
                    finding = finding.suggest(suggestion);
                }
                self.report(finding);
                None
            }
        };
        Some((methods?, pattern?))
    }

    fn methods(&mut self, text: &str, span: Range<usize>) -> Option<MethodSet> {
        if text == "*" {
            return Some(MethodSet::ALL);
        }
        let mut methods = MethodSet::EMPTY;
        let mut sound = true;
        for word in text.split(',') {
            match Method::parse(word) {
                Some(method) => methods = methods.with(method),
                None => {
                    sound = false;
                    let mut finding =
                        Diagnostic::new("unknown-method", span.clone(), format!("`{word}` is no method"));
                    let upper = word.to_ascii_uppercase();
                    if let Some(known) = closest(&upper, Method::ALL.iter().map(|method| method.as_str())) {
                        finding = finding.suggest(format!("did you mean `{known}`?"));
                    }
                    self.report(finding);
                }
            }
        }
        sound.then_some(methods)
    }

    /// Builds the matcher and reports rows that no rule of Werkzeug's ranks.
    fn matcher(&mut self, rows: &[Row], source: &str) -> Matcher {
        let rules = rows.iter().map(|row| Rule::declared(row.pattern.clone(), row.methods)).collect();
        let matcher = Matcher::build(rules);
        for overlap in matcher.overlaps() {
            let (earlier, later) = (&rows[overlap.first], &rows[overlap.second]);
            let (line, _) = position(source, earlier.offset);
            self.report(
                Diagnostic::new(
                    "overlap",
                    later.offset..later.offset + later.route.len() + 2,
                    format!(
                        "`{}` and `{}` (line {line}) can match the same request and nothing ranks them",
                        later.route, earlier.route
                    ),
                )
                .suggest("keep one of the two, or make one more specific"),
            );
        }
        matcher
    }

    pub(super) fn report(&mut self, finding: Diagnostic) {
        self.findings.push(finding);
    }

    pub(super) fn no_unknown_keys(&mut self, table: &DeTable<'_>, known: &[&str], place: &str) {
        for (key, _) in table.iter() {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let mut finding =
                Diagnostic::new("unknown-key", key.span(), format!("`{name}` means nothing in {place}"));
            finding = match closest(name, known.iter().copied()) {
                Some(near) => finding.suggest(format!("did you mean `{near}`?")),
                None => finding.suggest(format!("known here: {}", known.join(", "))),
            };
            self.report(finding);
        }
    }

    pub(super) fn table<'t, 'i>(
        &mut self,
        value: &'t Spanned<DeValue<'i>>,
        what: &str,
    ) -> Option<&'t DeTable<'i>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(table),
            other => self.wrong_type(value, what, "a table", other),
        }
    }

    pub(super) fn string(&mut self, value: &Spanned<DeValue<'_>>, what: &str) -> Option<String> {
        match value.get_ref() {
            DeValue::String(text) if !text.is_empty() => Some(text.to_string()),
            DeValue::String(_) => {
                self.report(Diagnostic::new("empty-string", value.span(), format!("`{what}` is empty")));
                None
            }
            other => self.wrong_type(value, what, "a string", other),
        }
    }

    /// A switch that may only be `true`: `public = false` would read as a promise that nobody made.
    pub(super) fn switch(&mut self, value: &Spanned<DeValue<'_>>, what: &str) -> Option<()> {
        match value.get_ref() {
            DeValue::Boolean(true) => Some(()),
            DeValue::Boolean(false) => {
                self.report(
                    Diagnostic::new("false-switch", value.span(), format!("`{what} = false` says nothing"))
                        .suggest(format!("leave `{what}` out")),
                );
                None
            }
            other => self.wrong_type(value, what, "`true`", other),
        }
    }

    pub(super) fn word<T: Copy>(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        what: &str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let text = self.string(value, what)?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*meaning);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let mut finding = Diagnostic::new(
            "unknown-word",
            value.span(),
            format!("`{text}` is not one of {}", known.join(", ")),
        );
        if let Some(near) = closest(&text.to_lowercase(), known) {
            finding = finding.suggest(format!("did you mean `{near}`?"));
        }
        self.report(finding);
        None
    }

    pub(super) fn strings(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        what: &str,
    ) -> Option<Vec<Spanned<String>>> {
        let DeValue::Array(items) = value.get_ref() else {
            return self.wrong_type(value, what, "a list of strings", value.get_ref());
        };
        let texts: Vec<Option<Spanned<String>>> = items
            .iter()
            .map(|item| self.string(item, what).map(|text| Spanned::new(item.span(), text)))
            .collect();
        texts.into_iter().collect()
    }

    pub(super) fn integer(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        what: &str,
        range: RangeInclusive<u32>,
    ) -> Option<u32> {
        let DeValue::Integer(number) = value.get_ref() else {
            return self.wrong_type(value, what, "an integer", value.get_ref());
        };
        let number = u32::from_str_radix(number.as_str(), number.radix()).ok();
        let within = number.filter(|number| range.contains(number));
        if within.is_none() {
            let message = format!("`{what}` must be from {} to {}", range.start(), range.end());
            self.report(Diagnostic::new("out-of-range", value.span(), message));
        }
        within
    }

    fn wrong_type<T>(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        what: &str,
        wanted: &str,
        found: &DeValue<'_>,
    ) -> Option<T> {
        self.report(Diagnostic::new(
            "wrong-type",
            value.span(),
            format!("`{what}` must be {wanted}, not {}", type_name(found)),
        ));
        None
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A set of names without repeats; used where the file lists roles.
pub(super) fn distinct<T: Ord>(items: impl IntoIterator<Item = T>) -> Result<BTreeSet<T>, ()> {
    let mut set = BTreeSet::new();
    for item in items {
        if !set.insert(item) {
            return Err(());
        }
    }
    Ok(set)
}
