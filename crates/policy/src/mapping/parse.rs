//! `routes.toml`: text in, a [`Mapping`] or every mistake in the file out.
//!
//! The file is walked as a tree of spanned values instead of being deserialised, because a deserialiser stops at its
//! first error and an operator at night wants all of them at once.

use std::ops::Range;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::ids::MappingSha256;
use crate::method::{Method, MethodSet};

use super::approval;
use super::clusters::{self, Clusters};
use super::legacy;
use super::matcher::{Matcher, Rule};
use super::pattern::Pattern;
use super::quiet;
use super::reader::Reader;
use super::row::{methods_carry_bodies, names_a_variable, parse_row};
use super::row_count;
use super::table::{Freshness, Mapping, Row, Unmapped};
use crate::diagnostic::{Diagnostic, Diagnostics, Lines, closest, meant_in_toml};

pub(super) const TOP_LEVEL_KEYS: [&str; 9] =
    ["version", "rows", "unmapped", "quiet", "legacy_roles", "clusters", "soak", "approval", "blueprints"];
pub(super) const BLUEPRINT_KEYS: [&str; 3] = ["cluster", "freshness", "routes"];

impl Mapping {
    /// Parses a mapping file. `path` is only for messages.
    ///
    /// # Errors
    ///
    /// Every mistake at once: syntax, unknown keys, wrong types, bad patterns, clusters that are not declared, rows
    /// that repeat or overlap each other. A file with one mistake is refused whole.
    pub fn parse(path: &str, source: &str) -> Result<Mapping, Diagnostics> {
        let mut reader = Reader::default();
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
    MappingSha256::new(crate::hex::lower(Sha256::digest(source.as_bytes())))
}

impl Reader {
    fn document(&mut self, source: &str) -> Mapping {
        let (document, syntax_errors) = DeTable::parse_recoverable(source);
        for error in &syntax_errors {
            let span = error.span().unwrap_or(0..source.len().min(1));
            let meant = meant_in_toml(source, &span, error.message());
            let finding = Diagnostic::new("syntax", span, error.message());
            self.findings.push(match meant {
                Some(meant) => finding.suggest(meant),
                None => finding,
            });
        }
        let root = document.get_ref();
        self.no_unknown_keys(root, &TOP_LEVEL_KEYS, "the top level");
        self.version(root, document.span());
        let unmapped = self.unmapped(root);
        let clusters = clusters::clusters(self, root);
        let orders = clusters::orders(self, root);
        let soak = clusters::soak(self, root, &clusters);
        let (approvals, approval_of_edits) = approval::approvals(self, root);
        row_count::check(self, root);
        self.declared_roles = root.get("legacy_roles").and_then(|value| legacy::declared(self, value));
        let rows = self.blueprints(root, &clusters);
        let matcher = self.matcher(&rows, source);
        let quiet = root.get("quiet").map(|value| quiet::paths(self, value)).unwrap_or_default();
        quiet::check_rows(self, &quiet, &matcher, &rows, source);
        let quiet = quiet.into_iter().map(Spanned::into_inner).collect();
        let declared_roles = self.declared_roles.take();
        let (source, sha256) = (source.into(), sha256_of(source));
        Mapping {
            source,
            sha256,
            unmapped,
            quiet,
            declared_roles,
            clusters,
            orders,
            soak,
            approvals,
            approval_of_edits,
            rows,
            matcher,
        }
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
        let Some(value) = root.get("unmapped") else { return Unmapped::Deny };
        let unmapped = self.word(value, "unmapped", &words);
        if unmapped.is_none() && value.get_ref().as_str().is_some_and(|word| word.starts_with("allow")) {
            self.suggest_last(
                "nothing opens what no row covers; `forward` lets Console's own decorators decide",
            );
        }
        unmapped.unwrap_or(Unmapped::Deny)
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
        if !names_a_variable(self, body.kind.ticket(), &pattern, span.clone()) {
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
            stream: body.stream,
            cors: body.cors,
            gate: body.gate,
            upstream: body.upstream,
            notifies: body.notifies,
            decided: body.decided,
            unreviewed: body.unreviewed,
            totp: body.totp,
            freshness: body.freshness,
            offset: span.start,
        })
    }

    /// `GET /console/customers/`, `GET,POST /x`, `* /x`.
    fn route_key(&mut self, route: &str, span: Range<usize>) -> Option<(MethodSet, Pattern)> {
        let Some((methods, path)) = route.split_once(' ') else {
            self.report(
                Diagnostic::new("bad-route", span, format!("`{route}` is not of the form METHOD PATH"))
                    .suggest("write it as \"GET /path\", \"GET,POST /path\" or \"* /path\""),
            );
            return None;
        };
        let begins_with_a_method =
            path.split([' ', ',']).next().is_some_and(|word| Method::parse(word).is_some());
        if methods.ends_with(',') || path.starts_with(',') || methods.contains('|') || begins_with_a_method {
            let words: Vec<&str> = route.split([' ', ',', '|']).filter(|word| !word.is_empty()).collect();
            let (methods, path): (Vec<&str>, Vec<&str>) =
                words.iter().partition(|word| !word.starts_with('/'));
            let written = format!("write \"{} {}\"", methods.join(","), path.join(" "));
            let message = "the methods of a route are separated by commas without spaces";
            self.report(Diagnostic::new("bad-route", span, message).suggest(written));
            return None;
        }
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
                    let mut finding = Diagnostic::new(
                        "unknown-method",
                        span.clone(),
                        format!("`{word}` is not an HTTP method"),
                    );
                    let upper = word.to_ascii_uppercase();
                    if matches!(&*upper, "ANY" | "ALL") {
                        finding = finding.suggest("write `*` for every method");
                    } else if let Some(known) =
                        closest(&upper, Method::ALL.iter().map(|method| method.as_str()))
                    {
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
        if !matcher.knows_all_overlaps() {
            let count = matcher.overlaps().len();
            self.report(
                Diagnostic::new(
                    "overlaps-not-counted",
                    0..0,
                    format!("at least {count} pairs of rows overlap; the rows were compared no further"),
                )
                .suggest("correct the rows that can match the same paths, then check again"),
            );
        }
        let lines = Lines::new(source);
        for overlap in matcher.overlaps() {
            let (earlier, later) = (&rows[overlap.first], &rows[overlap.second]);
            let (line, _) = lines.position(earlier.offset);
            self.report(
                Diagnostic::new(
                    "overlap",
                    later.offset..later.offset + later.route.len() + 2,
                    format!(
                        "`{}` and `{}` (line {line}) can match the same request, and neither takes precedence",
                        later.route, earlier.route
                    ),
                )
                .suggest("keep one of the two, or make one more specific"),
            );
        }
        matcher
    }
}
