//! Compares Console's `@require_role` sites with the `legacy` column of the mapping (RV-14, see docs/background.md).
//!
//! Pure: the source as it was read, the mapping, findings out.

use std::collections::{BTreeMap, BTreeSet};

use policy::mapping::pattern::Pattern;
use policy::mapping::{Mapping, Row, RowKind};
use policy::method::MethodSet;
use workbench::report::{Finding, Location};

use crate::coverage::cover::cover;
use crate::coverage::place_of_row;
use crate::coverage::route::{methods_to_cover, single_slashes};
use crate::{ConsoleSource, Deferred, Gate, Route, Site, SitePosition, TroubleKind};

/// Compares every site with its row, and every row that has a legacy gate with its view. `name` is the mapping's file.
pub fn lint(source: &ConsoleSource, name: &str, mapping: &Mapping) -> Vec<Finding> {
    let mut lint = Lint { name, mapping, served: BTreeSet::new(), findings: Vec::new() };
    source.routes.iter().for_each(|route| lint.route(route));
    lint.rows_that_nothing_serves();
    source.sites.iter().for_each(|site| lint.findings.extend(misplaced(site)));
    lint.findings.extend(source.deferred.iter().map(deferred));
    lint.findings.extend(common(source));
    sorted(lint.findings)
}

/// The gate for after the cutover: whatever asks for a legacy role is a finding, and so is what could hide one.
pub fn zero_match(source: &ConsoleSource) -> Vec<Finding> {
    let left = source.sites.iter().map(|site| {
        let roles = site.roles.as_ref().map_or_else(|_| "...".to_owned(), quoted);
        Finding {
            suggestion: Some("replace it with `@require_rbac_role` or `@require_permission`".to_owned()),
            ..finding("require-role-left", &site.place, format!("`require_role({roles})` remains"))
        }
    });
    sorted(left.chain(common(source)).collect())
}

struct Lint<'m> {
    name: &'m str,
    mapping: &'m Mapping,
    /// The rows that some route leads to, by their offsets.
    served: BTreeSet<usize>,
    findings: Vec<Finding>,
}

impl<'m> Lint<'m> {
    fn route(&mut self, route: &Route) {
        let (rule, methods) = match (&route.rule, &route.methods) {
            (Ok(rule), Ok(methods)) => (rule, *methods),
            (Err(reason), _) | (_, Err(reason)) => return self.unreadable(route, "the rule", reason),
        };
        let merged = if route.options.merge_slashes { single_slashes(rule) } else { rule.clone() };
        let pattern = match Pattern::parse(&merged) {
            Ok(pattern) => pattern,
            Err(error) => return self.unreadable(route, &format!("`{rule}`"), &error.problem().to_string()),
        };
        let mut rows: BTreeMap<usize, (&'m Row, MethodSet)> = BTreeMap::new();
        let mut missing = MethodSet::EMPTY;
        for method in methods_to_cover(methods).iter() {
            match cover(self.mapping, &pattern, method).row() {
                Some(row) => {
                    let methods = &mut rows.entry(row.offset).or_insert((row, MethodSet::EMPTY)).1;
                    *methods = methods.with(method);
                }
                None => missing = missing.with(method),
            }
        }
        self.served.extend(rows.keys());
        self.may_gate(route, rule, methods);
        match &route.gate {
            Gate::AnyOf(roles) => {
                if !missing.is_empty() {
                    self.without_row(route, rule, missing, roles);
                }
                rows.values().for_each(|(row, methods)| self.compare(route, rule, *methods, roles, row));
            }
            Gate::None => rows.values().for_each(|(row, methods)| self.no_site(route, rule, *methods, row)),
            // The site reports it.
            Gate::UnreadableSite(_) => {}
            Gate::Unreadable(reason) => self.unreadable(route, "its gate", reason),
        }
    }

    /// The other code that may refuse a request to the route: a row cannot be compared with that.
    fn may_gate(&mut self, route: &Route, rule: &str, methods: MethodSet) {
        for may in &route.may_gate {
            let Location { file, line, .. } = &may.place;
            let (what, reason) = (&may.what, &may.reason);
            let message = format!(
                "`{methods} {rule}` is behind {what} of {file}:{line}, which may refuse a request and could not be \
                 analysed: {reason}"
            );
            let suggestion = Some("compare what it requires with the row by hand".to_owned());
            self.findings.push(Finding { suggestion, ..finding("may-gate", &route.place, message) });
        }
    }

    fn compare(
        &mut self,
        route: &Route,
        rule: &str,
        methods: MethodSet,
        roles: &BTreeSet<String>,
        row: &Row,
    ) {
        let in_row = legacy_of(row);
        if in_row.as_ref() == Some(roles) {
            return;
        }
        let of_row = match &in_row {
            Some(legacy) => format!("has legacy = [{}]", quoted(legacy)),
            None => format!("has {}", kind(&row.kind)),
        };
        let message = format!(
            "`{methods} {rule}` is gated by `require_role({})`, but the row `{}` {of_row}",
            quoted(roles),
            row.route
        );
        let (place, line) = (&route.place, place_of_row(self.name, self.mapping, row).line);
        let suggestion = Some(format!("correct {}:{line}, or the decorator", self.name));
        self.findings.push(Finding { suggestion, ..finding("gate-differs", place, message) });
    }

    fn no_site(&mut self, route: &Route, rule: &str, methods: MethodSet, row: &Row) {
        let Some(legacy) = legacy_of(row) else { return };
        let mut message = format!(
            "`{methods} {rule}` has no `@require_role`, but the row `{}` has legacy = [{}]",
            row.route,
            quoted(&legacy)
        );
        if !route.other_decorators.is_empty() {
            message.push_str(&format!("; it is behind `@{}`", route.other_decorators.join("`, `@")));
        }
        for may in &route.may_gate {
            message.push_str(&format!("; {} may gate it", may.what));
        }
        self.findings.push(finding("row-without-site", &route.place, message));
    }

    fn without_row(&mut self, route: &Route, rule: &str, missing: MethodSet, roles: &BTreeSet<String>) {
        let message =
            format!("`{missing} {rule}` is gated by `require_role({})` and has no row", quoted(roles));
        let suggestion =
            format!("add `\"{missing} {rule}\" = {{ legacy = [{}], undecided = \"...\" }}`", quoted(roles));
        let suggestion = Some(suggestion);
        self.findings.push(Finding { suggestion, ..finding("site-without-row", &route.place, message) });
    }

    /// A route that cannot be compared with a row: worth reporting where it has a gate.
    fn unreadable(&mut self, route: &Route, what: &str, reason: &str) {
        if route.gate != Gate::None || !route.may_gate.is_empty() {
            let message =
                format!("the route of `{}` was not compared with any row: {what}: {reason}", route.view);
            self.findings.push(finding("unreadable-site", &route.place, message));
        }
    }

    fn rows_that_nothing_serves(&mut self) {
        for row in self.mapping.rows() {
            if let Some(legacy) = legacy_of(row).filter(|_| !self.served.contains(&row.offset)) {
                let legacy = quoted(&legacy);
                let message = format!("`{}` has legacy = [{legacy}], but no view in the source", row.route);
                let place = place_of_row(self.name, self.mapping, row);
                self.findings.push(finding("row-without-site", &place, message));
            }
        }
    }
}

/// Sites that no route covers.
fn misplaced(site: &Site) -> Option<Finding> {
    match (&site.roles, site.position) {
        (_, SitePosition::AboveRoute) => {
            let message =
                "this `@require_role` is above the route decorator, so Flask serves the view without it";
            let suggestion = Some("move it below the route decorator".to_owned());
            Some(Finding { suggestion, ..finding("gate-above-route", &site.place, message.to_owned()) })
        }
        (Ok(roles), SitePosition::Elsewhere) => {
            let roles = quoted(roles);
            let message = format!("`require_role({roles})` does not belong to any route that can be read");
            let suggestion = Some("compare it with the mapping by hand".to_owned());
            Some(Finding { suggestion, ..finding("site-without-route", &site.place, message) })
        }
        _ => None,
    }
}

/// A decorator that cannot be left out where the gate has decided.
fn deferred(deferred: &Deferred) -> Finding {
    let message = format!(
        "`{}` is deferred to the gate and does more than refuse: it {}",
        deferred.decorator,
        deferred.effects.join(", ")
    );
    let suggestion = "mark the function that asks for its role with `role_check` and add `own_code=True`, or name what has \
                      to run by `keep=(...)`";
    let suggestion = Some(suggestion.to_owned());
    Finding { suggestion, ..finding("deferred-effects", &deferred.place, message) }
}

/// The findings that do not depend on a mapping.
fn common(source: &ConsoleSource) -> Vec<Finding> {
    let unreadable = source.sites.iter().filter_map(|site| {
        let reason = site.roles.as_ref().err()?;
        Some(finding("unreadable-site", &site.place, format!("`require_role` cannot be read here: {reason}")))
    });
    let inline = source.inline_checks.iter().map(|check| {
        finding(
            "inline-role-check",
            &check.place,
            format!("a role is checked within the view: `{}`", check.text),
        )
    });
    let troubles = source.troubles.iter().map(|trouble| {
        let id = match trouble.kind {
            TroubleKind::Syntax => "syntax-error",
            TroubleKind::Registration | TroubleKind::Gate => "unreadable-site",
        };
        finding(id, &trouble.place, trouble.message.clone())
    });
    let hooks = source.plain_hooks.iter().map(|hook| {
        let message = format!("{} runs before views; it was not found to refuse requests", hook.what);
        finding("plain-hook", &hook.place, message)
    });
    unreadable.chain(inline).chain(troubles).chain(hooks).collect()
}

fn legacy_of(row: &Row) -> Option<BTreeSet<String>> {
    match &row.kind {
        RowKind::Gated { legacy: Some(legacy), .. } => {
            Some(legacy.iter().map(|role| role.as_str().to_owned()).collect())
        }
        _ => None,
    }
}

fn kind(kind: &RowKind) -> &'static str {
    match kind {
        RowKind::Gated { .. } => "no legacy gate",
        RowKind::Session => "session = true",
        RowKind::Public => "public = true",
        RowKind::Machine => "machine = true",
        RowKind::Upstream => "upstream = true",
        RowKind::Gone => "gone = true",
    }
}

fn quoted<'n>(names: impl IntoIterator<Item = &'n String>) -> String {
    names.into_iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

fn finding(id: &'static str, place: &Location, message: String) -> Finding {
    Finding::new(id, Some(place.clone()), message)
}

fn sorted(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|one, other| {
        (&one.place, one.id, &one.message).cmp(&(&other.place, other.id, &other.message))
    });
    findings.dedup();
    findings
}
