//! Requests that Console serves with a route, and that another row decides than the one that is meant for it, or none.

use policy::mapping::Row;
use policy::method::{Method, MethodSet};
use workbench::report::{Finding, Level};

use super::route::{ConsoleRoute, methods_to_cover};
use super::served::Meeting;
use super::{Coverage, cover};

impl<'m> Coverage<'m> {
    /// Requests that Console serves with the route and another row decides than the one that is meant for it, or none.
    pub(super) fn meeting(&mut self, route: &ConsoleRoute, meeting: &Meeting<'m>) {
        let offset = meeting.row.map(|row| row.offset);
        let covered = methods_to_cover(route.methods);
        let is_known = |method: Method| {
            self.reported.get(&(meeting.route, method)).is_some_and(|known| known.contains(&offset))
        };
        // HEAD and OPTIONS go with the others.
        let is_reported = |method: &Method| {
            if covered.contains(*method) { is_known(*method) } else { covered.iter().any(is_known) }
        };
        let unreported: MethodSet =
            meeting.examples.keys().copied().filter(|method| !is_reported(method)).collect();
        let Some(first) = methods_to_cover(unreported).iter().next() else { return };
        let request = format!("{first} {}", meeting.examples[&first]);
        let what = route.title(methods_to_cover(unreported));
        let place = route.place.clone();
        match meeting.row {
            None => {
                let (level, consequence) = self.without_row(&meeting.examples[&first]);
                let message = format!("{what} also serves `{request}`, which no row matches: {consequence}");
                let suggestion = Some(slash_help(route, &request));
                self.findings.push(Finding {
                    level,
                    suggestion,
                    ..Finding::new("path-without-row", place, message)
                });
            }
            Some(row) => self.other_row(route, meeting, row, &request, unreported),
        }
    }

    fn other_row(
        &mut self,
        route: &ConsoleRoute,
        meeting: &Meeting<'m>,
        row: &'m Row,
        request: &str,
        methods: MethodSet,
    ) {
        let is_same_path =
            route.pattern().is_ok_and(|pattern| cover::outline(&pattern) == cover::outline(&row.pattern));
        if is_same_path {
            let reached = self.reached.entry(row.offset).or_default();
            *reached = reached.union(methods);
        }
        let meant = meeting.examples.keys().filter_map(|method| self.reported.get(&(meeting.route, *method)));
        let meant: Vec<&Row> = meant
            .flatten()
            .filter_map(|offset| self.mapping.rows().iter().find(|row| Some(row.offset) == *offset))
            .collect();
        let asks_the_same = !meant.is_empty() && meant.iter().all(|meant| meant.kind == row.kind);
        if asks_the_same && is_same_path {
            return;
        }
        let what = route.title(methods_to_cover(methods));
        let message = match meant.first() {
            Some(meant) => {
                format!(
                    "{what} also serves `{request}`: `{}` decides that request, not `{}`",
                    row.route, meant.route
                )
            }
            None => format!("{what} also serves `{request}`: `{}` decides that request", row.route),
        };
        let level = if asks_the_same { Level::Note } else { Level::Error };
        let finding = Finding::new("other-row-decides", route.place.clone(), message);
        self.findings.push(Finding { level, ..finding });
    }
}

/// What to do about a request that no row takes.
fn slash_help(route: &ConsoleRoute, request: &str) -> String {
    if route.options.strict_slashes || !request.ends_with('/') || route.rule.ends_with('/') {
        return "add a row for it, or correct the pattern of the route's row".to_owned();
    }
    format!(
        "Console serves both spellings (strict_slashes=False): write `{}/` instead of `{}`, to match both",
        route.rule, route.rule
    )
}
