//! Compares Console's routes with the rows of the mapping.
//!
//! Pure: routes in, as Flask lists them or as its source declares them; findings out.
//!
//! In reading order: [`route`] (a route), [`cover`] (the row that is meant for it), [`served`](self::served) (which rows
//! decide all that Console serves) and `stray`, [`beyond`](self::beyond) (what a rule can say and no row can), [`flask_routes`] and
//! `flask_dump` (what Flask lists), [`hits`].

mod beyond;
pub mod cover;
mod flask_dump;
pub mod flask_routes;
pub mod hits;
mod listing;
pub mod route;
mod served;
mod stray;

use std::collections::{BTreeMap, BTreeSet};

use policy::diagnostic::position;
use policy::mapping::pattern::{Pattern, PatternKind};
use policy::mapping::{Mapping, Row, RowKind, Unmapped};
use policy::method::{Method, MethodSet};
use workbench::report::{Finding, Level, Location};

use self::cover::{Cover, cover};
use self::route::{ConsoleRoute, methods_to_cover};
use self::served::{Served, served};

/// Compares every route with the rows, and every row with the routes. `name` is the mapping's file; `has_order` tells
/// whether the routes are in the order in which a request meets them.
pub fn coverage(routes: &[ConsoleRoute], has_order: bool, name: &str, mapping: &Mapping) -> Vec<Finding> {
    let mut coverage =
        Coverage { name, mapping, reached: BTreeMap::new(), reported: BTreeMap::new(), findings: Vec::new() };
    let mut comparable = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        match coverage.pattern(route) {
            Some(pattern) => comparable.push((index, route, pattern)),
            None => continue,
        }
    }
    comparable.iter().for_each(|(index, route, pattern)| coverage.route(*index, route, pattern));
    let served = served(&comparable, mapping);
    served.meetings.iter().for_each(|meeting| coverage.meeting(&routes[meeting.route], meeting));
    coverage.findings.extend(beyond::findings(routes, has_order, &served));
    coverage.incomplete(&served);
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
    findings.dedup();
    findings
}

/// Where a row is in the mapping file `name`.
pub fn place_of_row(name: &str, mapping: &Mapping, row: &Row) -> Location {
    let (line, column) = position(mapping.source(), row.offset);
    Location { file: name.to_owned(), line, column }
}

struct Coverage<'m> {
    name: &'m str,
    mapping: &'m Mapping,
    /// The methods with which routes lead to a row, by the row's offset.
    reached: BTreeMap<usize, MethodSet>,
    /// The known deciders of a route's requests: its row by the row's offset, or none.
    reported: BTreeMap<(usize, Method), BTreeSet<Option<usize>>>,
    findings: Vec<Finding>,
}

impl<'m> Coverage<'m> {
    /// The pattern of a route that can be compared with rows.
    fn pattern(&mut self, route: &ConsoleRoute) -> Option<Pattern> {
        if let Some(reason) = &route.options.never_served {
            let methods = methods_to_cover(route.methods);
            let message = format!("{} never answers a request: {reason}", route.title(methods));
            self.findings.push(Finding::new("never-served", route.place.clone(), message));
            return None;
        }
        match route.pattern() {
            Ok(pattern) => Some(pattern),
            Err(reason) => {
                let message = format!("no row can represent `{}` of `{}`: {reason}", route.rule, route.name);
                self.findings.push(Finding::new("unreadable-route", route.place.clone(), message));
                None
            }
        }
    }

    fn route(&mut self, index: usize, route: &ConsoleRoute, pattern: &Pattern) {
        let mut missing = MethodSet::EMPTY;
        // By kind and row, so that a row is reported once for all its methods.
        let mut differences: BTreeMap<(&'static str, usize), (Cover<'m>, MethodSet)> = BTreeMap::new();
        for method in methods_to_cover(route.methods).iter() {
            let cover = cover(self.mapping, pattern, method);
            let known = self.reported.entry((index, method)).or_default();
            known.insert(cover.row().map(|row| row.offset));
            for row in rows_of(cover) {
                known.insert(Some(row.offset));
                let reached = self.reached.entry(row.offset).or_default();
                *reached = reached.with(method);
                if row.kind == RowKind::Gone {
                    let key = ("gone-route-exists", row.offset);
                    let methods = &mut differences.entry(key).or_insert((cover, MethodSet::EMPTY)).1;
                    *methods = methods.with(method);
                }
            }
            match compare_cover(route, pattern, cover) {
                Compared::Nothing => {}
                Compared::Missing => missing = missing.with(method),
                Compared::Difference(id, row) => {
                    let methods =
                        &mut differences.entry((id, row.offset)).or_insert((cover, MethodSet::EMPTY)).1;
                    *methods = methods.with(method);
                }
            }
        }
        if !missing.is_empty() {
            self.missing(route, pattern, missing);
        }
        for ((id, _), (cover, methods)) in differences {
            self.report_row(id, route, pattern, cover, methods);
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
        let what = route.title(missing);
        let (id, message) = if others.is_empty() {
            ("route-without-row", format!("{what} has no row"))
        } else {
            ("method-without-row", format!("{what} has no row; the path has rows for {others} only"))
        };
        let (level, consequence) = self.without_row(pattern.as_str());
        let message = format!("{message}: {consequence}");
        self.findings.push(Finding { level, ..Finding::new(id, route.place.clone(), message) });
    }

    /// What happens to a request that no row covers. A rule without variables is a path.
    fn without_row(&self, rule: &str) -> (Level, &'static str) {
        match self.mapping.unmapped_at(rule) {
            Unmapped::Deny => (Level::Error, "every request is denied"),
            Unmapped::Forward => (Level::Warning, "only Console's own decorators decide"),
            Unmapped::Quiet => (Level::Error, "`quiet` names it, so every request is answered 404"),
        }
    }

    fn report_row(
        &mut self,
        id: &'static str,
        route: &ConsoleRoute,
        pattern: &Pattern,
        cover: Cover<'m>,
        methods: MethodSet,
    ) {
        let what = route.title(methods);
        let Some(row) = rows_of(cover).next() else { return };
        let mut message = match id {
            "gone-route-exists" => format!("{what} still exists, but `{}` marks it as deleted", row.route),
            "covered-by-prefix" | "covered-by-wider-row" => {
                format!("{what} has no row of its own: `{}` decides", row.route)
            }
            "slash-differs" => format!("{what} and its row `{}` differ in the trailing slash", row.route),
            _ => format!("{what} and its row `{}` differ: {}", row.route, cover::differences(pattern, row)),
        };
        let mut level = None;
        if let Cover::Alike { row, decides } = cover {
            match decides {
                Some(decides) if decides.offset == row.offset => {}
                Some(decides) => message.push_str(&format!("; `{}` decides", decides.route)),
                None => {
                    message.push_str("; the row does not match its requests");
                    level = (self.mapping.unmapped() == Unmapped::Deny).then_some(Level::Error);
                }
            }
        }
        let finding = Finding::new(id, route.place.clone(), message);
        self.findings.push(Finding { level: level.unwrap_or(finding.level), ..finding });
    }

    fn incomplete(&mut self, served: &Served<'m>) {
        if !served.is_complete {
            let message = "there are too many rules and rows, or they are too long, to compare every path: some \
                           request may be decided by a row that is not meant for it";
            self.findings.push(Finding::new("not-compared", None, message));
        }
    }

    fn row(&mut self, row: &Row) {
        // Another server has the route.
        if row.kind == RowKind::Gone || row.served_by_gate() || row.upstream.is_some() {
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

/// What there is to report about a cover.
enum Compared<'m> {
    Nothing,
    Missing,
    Difference(&'static str, &'m Row),
}

fn compare_cover<'m>(route: &ConsoleRoute, pattern: &Pattern, cover: Cover<'m>) -> Compared<'m> {
    match cover {
        Cover::Nothing => Compared::Missing,
        Cover::Own(row) if cover::same_converters(&row.pattern, pattern) => Compared::Nothing,
        Cover::Own(row) => Compared::Difference("converter-differs", row),
        Cover::Alike { row, decides } if cover::same_converters(&row.pattern, pattern) => {
            // Without `strict_slashes` both spellings are the route's; a row with a slash at its end takes both.
            let takes_both = row.pattern.ends_with_slash()
                && !route.options.strict_slashes
                && decides.is_some_and(|decides| decides.offset == row.offset);
            if takes_both { Compared::Nothing } else { Compared::Difference("slash-differs", row) }
        }
        Cover::Alike { row, .. } => Compared::Difference("converter-differs", row),
        Cover::Prefix(row) => Compared::Difference("covered-by-prefix", row),
        Cover::Wider(row) => Compared::Difference("covered-by-wider-row", row),
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
