//! Parses `routes.toml`: the input is text, the output is a [`Mapping`] or every mistake in the file.
//!
//! The file is walked as a tree of spanned values instead of being deserialised, because a deserialiser stops at its
//! first error and an operator at night wants all of them at once.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

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
use super::pieces::{self, Pieces};
use super::quiet;
use super::reader::Reader;
use super::row::{methods_carry_bodies, names_a_variable, parse_row, step_up_age, takes_step_up};
use super::row_count;
use super::table::{Freshness, Mapping, Row, Unmapped};
use crate::diagnostic::{Diagnostic, Diagnostics, Lines, Syntax, closest};

pub(super) const TOP_LEVEL_KEYS: [&str; 9] =
    ["version", "rows", "unmapped", "quiet", "legacy_roles", "clusters", "soak", "approval", "blueprints"];
pub(super) const BLUEPRINT_KEYS: [&str; 4] = ["cluster", "freshness", "step_up", "routes"];

impl Mapping {
    /// Parses a mapping file. `path` is only for messages.
    ///
    /// # Errors
    ///
    /// Every mistake at once: unknown keys, wrong types, bad patterns, undeclared clusters, rows that repeat or overlap
    /// each other. A syntax error is reported alone. A file with one mistake is refused as a whole.
    pub fn parse(path: &str, source: &str) -> Result<Mapping, Diagnostics> {
        let mut reader = Reader::default();
        let in_pieces = pieces::of(source).and_then(|pieces| reader.document(source, Some(&pieces)));
        let mapping = match in_pieces {
            Some(mapping) => mapping,
            None => {
                reader = Reader::default();
                reader.document(source, None).expect("a file can be read as a whole")
            }
        };
        if let Some(cause) = reader.broken {
            Err(Diagnostics::new(path, source, vec![cause]))
        } else if reader.findings.is_empty() {
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
    /// Reads a file; `None` if [`pieces`] were given but the file has to be read as a whole.
    fn document(&mut self, source: &str, pieces: Option<&Pieces<'_>>) -> Option<Mapping> {
        let head = pieces.map_or(source, |pieces| &source[..pieces.head]);
        let (document, syntax_errors) = DeTable::parse_recoverable(head);
        match Syntax::of(head, &syntax_errors) {
            Syntax::Sound => {}
            _ if pieces.is_some() => return None,
            Syntax::Repeats(repeats) => self.findings.extend(repeats),
            Syntax::Broken(cause) => self.broken = Some(cause),
        }
        let (whole, mut root) = (document.span(), document.into_inner());
        let blueprints = root.remove("blueprints");
        let root = &root;
        self.no_unknown_keys(root, &TOP_LEVEL_KEYS, "the top level");
        self.version(root, whole);
        let unmapped = self.unmapped(root);
        let clusters = clusters::clusters(self, root);
        let orders = clusters::orders(self, root);
        let soak = clusters::soak(self, root, &clusters);
        let (approvals, approval_of_edits) = approval::approvals(self, root);
        self.declared_roles = root.get("legacy_roles").and_then(|value| legacy::declared(self, value));
        let (rows, written) = match (pieces, blueprints) {
            (Some(pieces), None) => {
                let rows = self.pieces(source, pieces, &clusters)?;
                let count = rows.len();
                (rows, count)
            }
            (Some(_), Some(_)) => return None,
            (None, blueprints) => {
                let count = blueprints.as_ref().map_or(0, row_count::written);
                (self.blueprints(blueprints, count, &clusters), count)
            }
        };
        row_count::check(self, root, written);
        let matcher = self.matcher(&rows, source);
        let quiet = root.get("quiet").map(|value| quiet::paths(self, value)).unwrap_or_default();
        quiet::check_rows(self, &quiet, &matcher, &rows, source);
        let quiet = quiet.into_iter().map(Spanned::into_inner).collect();
        let declared_roles = self.declared_roles.take();
        let (source, sha256) = (source.into(), sha256_of(source));
        Some(Mapping {
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
            on_v2: OnceLock::new(),
        })
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
        // An absent or unreadable word means deny: an unknown value never permits anything.
        let Some(value) = root.get("unmapped") else { return Unmapped::Deny };
        let unmapped = self.word(value, "unmapped", &words);
        if unmapped.is_none() && value.get_ref().as_str().is_some_and(|word| word.starts_with("allow")) {
            self.suggest_last(
                "nothing opens what no row covers; `forward` lets Console's own decorators decide",
            );
        }
        unmapped.unwrap_or(Unmapped::Deny)
    }

    fn blueprints(
        &mut self,
        blueprints: Option<Spanned<DeValue<'_>>>,
        count: usize,
        clusters: &Clusters,
    ) -> Vec<Row> {
        let mut rows = Vec::with_capacity(count);
        let blueprints = blueprints.and_then(|value| self.take_table(value, "blueprints"));
        for (name, value) in blueprints.into_iter().flatten() {
            self.blueprint(name.get_ref(), value, clusters, &mut rows);
        }
        rows.sort_by_key(|row| row.offset);
        rows
    }

    /// The rows of a file that is read in pieces; `None` if it has a mistake and has to be read as a whole.
    fn pieces(&mut self, source: &str, pieces: &Pieces<'_>, clusters: &Clusters) -> Option<Vec<Row>> {
        let mut rows = Vec::new();
        for (name, place) in &pieces.blueprints {
            let (document, syntax_errors) = DeTable::parse_recoverable(&source[place.clone()]);
            let mut root = document.into_inner();
            let Some(DeValue::Table(mut blueprints)) = root.remove("blueprints").map(Spanned::into_inner)
            else {
                return None;
            };
            let blueprint = blueprints.remove(*name)?;
            let first = rows.len();
            self.blueprint(name, blueprint, clusters, &mut rows);
            // The places of findings are relative to the piece, so such findings must never be shown.
            let is_alone = root.is_empty() && blueprints.is_empty();
            if !(syntax_errors.is_empty() && is_alone && self.findings.is_empty()) {
                return None;
            }
            rows[first..].iter_mut().for_each(|row| row.offset += place.start);
        }
        rows.shrink_to_fit();
        rows.sort_by_key(|row| row.offset);
        Some(rows)
    }

    fn blueprint(
        &mut self,
        name: &str,
        value: Spanned<DeValue<'_>>,
        clusters: &Clusters,
        rows: &mut Vec<Row>,
    ) -> Option<()> {
        let mut blueprint = self.take_table(value, "a blueprint")?;
        self.no_unknown_keys(&blueprint, &BLUEPRINT_KEYS, "a blueprint");
        let cluster = blueprint.get("cluster").and_then(|value| self.cluster_name(value, clusters));
        let freshness =
            blueprint.get("freshness").and_then(|value| self.word(value, "freshness", &Freshness::WORDS));
        let step_up = blueprint.get("step_up").and_then(|value| step_up_age(self, value));
        let routes = blueprint.remove("routes")?;
        let routes = self.take_table(routes, "routes")?;
        let name = self.shared.text(name);
        // Each row is taken out of the document when it is read.
        for (key, value) in routes {
            if let Some(row) = self.row(&key, &value, &name, cluster.as_ref()) {
                // The row's own value takes precedence over its blueprint's.
                let of_blueprint = step_up.filter(|_| takes_step_up(&row.kind));
                let step_up = row.step_up.or(of_blueprint);
                rows.push(Row { freshness: row.freshness.or(freshness), step_up, ..row });
            }
        }
        Some(())
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
        Some(self.shared.text(&name))
    }

    fn row(
        &mut self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        blueprint: &Arc<str>,
        cluster: Option<&Arc<str>>,
    ) -> Option<Row> {
        let route: &Arc<str> = &key.get_ref().as_ref().into();
        let span = key.span();
        // Both halves are read even if one is wrong: all errors at once.
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
            route: route.clone(),
            blueprint: blueprint.clone(),
            cluster: cluster.cloned(),
            methods,
            pattern,
            kind: body.kind,
            unauthenticated: body.unauthenticated,
            forbidden: body.forbidden,
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
            step_up: body.step_up,
            offset: span.start,
        })
    }

    /// `GET /console/customers/`, `GET,POST /x`, `* /x`.
    fn route_key(&mut self, route: &Arc<str>, span: Range<usize>) -> Option<(MethodSet, Pattern)> {
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
        let pattern = match Pattern::parse_shared(route, route.len() - path.len(), &mut self.shared) {
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

    /// Builds the matcher and reports rows between which Werkzeug defines no precedence.
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

/// The mapping of a sound file, if it can be read in pieces.
#[cfg(test)]
pub(super) fn parsed_in_pieces(source: &str) -> Option<Mapping> {
    let mut reader = Reader::default();
    let mapping = reader.document(source, Some(&pieces::of(source)?))?;
    reader.findings.is_empty().then_some(mapping)
}

#[cfg(test)]
pub(super) fn parsed_as_a_whole(source: &str) -> Result<Mapping, Diagnostics> {
    let mut reader = Reader::default();
    let mapping = reader.document(source, None).expect("a file can be read as a whole");
    match reader.findings.is_empty() {
        true => Ok(mapping),
        false => Err(Diagnostics::new("routes.toml", source, reader.findings)),
    }
}
