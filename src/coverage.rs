//! Console's routes against the rows of the mapping.
//!
//! Pure: routes in, as Flask lists them or as its source declares them; findings out.

pub mod cover;
pub mod flask_routes;
pub mod hits;

use std::collections::BTreeMap;

use crate::diagnostic::position;
use crate::mapping::pattern::{Pattern, PatternKind};
use crate::mapping::{Mapping, Row, RowKind, Unmapped};
use crate::method::MethodSet;
use crate::report::{Finding, Level, Place};

use self::cover::{Cover, cover, methods_to_cover};

/// A route of Console, wherever it was learned of.
#[derive(Clone, Debug)]
pub struct ConsoleRoute {
    pub place: Option<Place>,
    /// Its endpoint or view.
    pub name: String,
    pub rule: String,
    pub methods: MethodSet,
}

/// Holds every route against the rows, and every row against the routes. `name` is the mapping's file.
pub fn coverage(routes: &[ConsoleRoute], name: &str, mapping: &Mapping) -> Vec<Finding> {
    let mut coverage = Coverage { name, mapping, reached: BTreeMap::new(), findings: Vec::new() };
    routes.iter().for_each(|route| coverage.route(route));
    mapping.rows().iter().for_each(|row| coverage.row(row));
    let mut findings = coverage.findings;
    findings.sort_by(|one, other| {
        (one.level, &one.place, one.id, &one.message).cmp(&(
            other.level,
            &other.place,
            other.id,
            &other.message,
        ))
    });
    findings
}

/// Where a row stands in the mapping file `name`.
pub fn place_of_row(name: &str, mapping: &Mapping, row: &Row) -> Place {
    let (line, column) = position(mapping.source(), row.offset);
    Place { file: name.to_owned(), line, column }
}

struct Coverage<'m> {
    name: &'m str,
    mapping: &'m Mapping,
    /// The methods with which routes lead to a row, by the row's offset.
    reached: BTreeMap<usize, MethodSet>,
    findings: Vec<Finding>,
}

impl<'m> Coverage<'m> {
    fn route(&mut self, route: &ConsoleRoute) {
        let pattern = match Pattern::parse(&route.rule) {
            Ok(pattern) if pattern.kind() == PatternKind::Exact => pattern,
            Ok(_) => return self.unreadable(route, "`/*` at the end of a rule is a prefix in a mapping"),
            Err(error) => return self.unreadable(route, &error.problem().to_string()),
        };
        let mut missing = MethodSet::EMPTY;
        // By kind and row, so that a row is told once for all its methods.
        let mut told: BTreeMap<(&'static str, usize), (Cover<'m>, MethodSet)> = BTreeMap::new();
        for method in methods_to_cover(route.methods).iter() {
            let cover = cover(self.mapping, &pattern, method);
            for row in rows_of(cover) {
                let reached = self.reached.entry(row.offset).or_default();
                *reached = reached.with(method);
                if row.kind == RowKind::Gone {
                    let key = ("gone-route-exists", row.offset);
                    let methods = &mut told.entry(key).or_insert((cover, MethodSet::EMPTY)).1;
                    *methods = methods.with(method);
                }
            }
            let (id, row) = match cover {
                Cover::Nothing => {
                    missing = missing.with(method);
                    continue;
                }
                Cover::Own(row) if same_converters(&row.pattern, &pattern) => continue,
                Cover::Own(row) => ("converter-differs", row),
                Cover::Alike { row, .. } if same_converters(&row.pattern, &pattern) => ("slash-differs", row),
                Cover::Alike { row, .. } => ("converter-differs", row),
                Cover::Prefix(row) => ("covered-by-prefix", row),
                Cover::Wider(row) => ("covered-by-wider-row", row),
            };
            let methods = &mut told.entry((id, row.offset)).or_insert((cover, MethodSet::EMPTY)).1;
            *methods = methods.with(method);
        }
        if !missing.is_empty() {
            self.missing(route, &pattern, missing);
        }
        for ((id, _), (cover, methods)) in told {
            self.tell(id, route, &pattern, cover, methods);
        }
    }

    /// Methods that no row covers.
    fn missing(&mut self, route: &ConsoleRoute, pattern: &Pattern, missing: MethodSet) {
        let outline = cover::outline(pattern);
        let others: MethodSet = self
            .mapping
            .rows()
            .iter()
            .filter(|row| row.pattern.kind() == PatternKind::Exact && cover::outline(&row.pattern) == outline)
            .flat_map(|row| methods_to_cover(row.methods).iter())
            .collect();
        let (what, name) = (format!("`{missing} {}`", route.rule), &route.name);
        let (id, message) = if others.is_empty() {
            ("route-without-row", format!("{what} of `{name}` has no row"))
        } else {
            (
                "method-without-row",
                format!("{what} of `{name}` has no row; the path has rows for {others} only"),
            )
        };
        let (level, consequence) = match self.mapping.unmapped() {
            Unmapped::Deny => (Level::Error, "everybody is locked out"),
            Unmapped::Forward => (Level::Warning, "Console's own decorators decide alone"),
        };
        let message = format!("{message}: {consequence}");
        self.findings.push(Finding { level, ..Finding::new(id, route.place.clone(), message) });
    }

    fn tell(
        &mut self,
        id: &'static str,
        route: &ConsoleRoute,
        pattern: &Pattern,
        cover: Cover<'m>,
        methods: MethodSet,
    ) {
        let (what, name) = (format!("`{methods} {}`", route.rule), &route.name);
        let Some(row) = rows_of(cover).next() else { return };
        let mut message = match id {
            "gone-route-exists" => {
                format!("{what} of `{name}` still exists, and `{}` says that it is gone", row.route)
            }
            "covered-by-prefix" | "covered-by-wider-row" => {
                format!("{what} of `{name}` has no row of its own: `{}` decides", row.route)
            }
            "slash-differs" => {
                format!("{what} of `{name}` and its row `{}` differ in the slash at the end", row.route)
            }
            _ => format!(
                "{what} of `{name}` and its row `{}` differ: {}",
                row.route,
                differences(pattern, row)
            ),
        };
        let mut level = None;
        if let Cover::Alike { row, decides } = cover {
            match decides {
                Some(decides) if decides.offset == row.offset => {}
                Some(decides) => message.push_str(&format!("; `{}` decides", decides.route)),
                None => {
                    message.push_str("; the row does not take its requests");
                    level = (self.mapping.unmapped() == Unmapped::Deny).then_some(Level::Error);
                }
            }
        }
        let finding = Finding::new(id, route.place.clone(), message);
        self.findings.push(Finding { level: level.unwrap_or(finding.level), ..finding });
    }

    fn unreadable(&mut self, route: &ConsoleRoute, reason: &str) {
        let message = format!("no row can stand for `{}` of `{}`: {reason}", route.rule, route.name);
        self.findings.push(Finding::new("unreadable-route", route.place.clone(), message));
    }

    fn row(&mut self, row: &Row) {
        if row.kind == RowKind::Gone {
            return;
        }
        let place = || Some(place_of_row(self.name, self.mapping, row));
        let Some(reached) = self.reached.get(&row.offset) else {
            let message = format!("`{}` matches no route of Console", row.route);
            return self.findings.push(Finding::new("row-without-route", place(), message));
        };
        let idle: MethodSet =
            methods_to_cover(row.methods).iter().filter(|method| !reached.contains(*method)).collect();
        if row.methods != MethodSet::ALL && !idle.is_empty() {
            let message = format!("`{}` names {idle}, which Console does not serve there", row.route);
            self.findings.push(Finding::new("method-without-route", place(), message));
        }
    }
}

/// The rows that a rule leads to: the one that is meant for it first, then the one that decides.
fn rows_of<'m>(cover: Cover<'m>) -> impl Iterator<Item = &'m Row> {
    let meant = match cover {
        Cover::Alike { row, .. } => Some(row),
        _ => None,
    };
    let decides = cover.row().filter(|row| meant.is_none_or(|meant| meant.offset != row.offset));
    meant.into_iter().chain(decides)
}

fn same_converters(one: &Pattern, other: &Pattern) -> bool {
    let converters = |pattern: &Pattern| {
        pattern.variables().iter().map(|variable| variable.converter().clone()).collect::<Vec<_>>()
    };
    converters(one) == converters(other)
}

/// `<id> is <int> in Console and <string> in the row`
fn differences(pattern: &Pattern, row: &Row) -> String {
    let pairs = pattern.variables().iter().zip(row.pattern.variables());
    let differing = pairs.filter(|(one, other)| one.converter() != other.converter());
    let told: Vec<String> = differing
        .map(|(one, other)| {
            let (console, gate) = (one.converter().to_string(), other.converter().to_string());
            if console == gate {
                format!("the range of `{}`", one.name())
            } else {
                format!("`{}` is `{console}` in Console and `{gate}` in the row", one.name())
            }
        })
        .collect();
    told.join(", ")
}
