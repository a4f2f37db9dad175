//! What a rule of Werkzeug can say and no row can: a host, converters of the application's own, redirects; and what of it
//! a row has to say in its own way: WebSockets.

use workbench::report::{Finding, Level};

use super::route::{ConsoleRoute, methods_to_cover};
use super::served::{Meeting, Served};

/// What there is to report about the routes, besides which rows decide them.
pub(super) fn findings(routes: &[ConsoleRoute], has_order: bool, served: &Served<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = routes.iter().flat_map(of_one_route).collect();
    let meetings = &served.meetings;
    findings.extend(meetings.iter().filter_map(|meeting| websocket(routes, meeting, meetings)));
    findings.extend(meetings.iter().filter_map(|meeting| host(routes, meeting, meetings)));
    if !has_order {
        findings.extend(served.rivals.iter().map(|rivals| {
            let (first, second) = (&routes[rivals.first], &routes[rivals.second]);
            let message = format!(
                "{} and {} can match the same request: the one that was added first answers, and the list does not \
                 show which one that is",
                first.title(methods_to_cover(rivals.methods)),
                second.title(methods_to_cover(rivals.methods))
            );
            Finding::new("unknown-order", first.place.clone(), message)
        }));
    }
    findings
}

fn of_one_route(route: &ConsoleRoute) -> Vec<Finding> {
    let options = &route.options;
    let finding = |id, what: String| {
        let message = format!("{} {what}", route.title(methods_to_cover(route.methods)));
        Finding::new(id, route.place.clone(), message)
    };
    if options.never_served.is_some() {
        return Vec::new();
    }
    let redirects = options.redirects.as_ref().map(|target| {
        finding("console-redirects", format!("is redirected by Console {target}: its row decides first"))
    });
    let converters = options.own_converters.as_ref().map(|own| {
        let classes = own.classes.join("`, `");
        let what = format!(
            "has converters of Console's own, `{classes}`: it was compared as `{}`, which matches more",
            own.wider_rule
        );
        finding("own-converter", what)
    });
    redirects.into_iter().chain(converters).collect()
}

/// A row that lets no WebSocket through to a WebSocket-only route, or one that lets them through to no such route.
fn websocket(routes: &[ConsoleRoute], meeting: &Meeting<'_>, all: &[Meeting<'_>]) -> Option<Finding> {
    let (route, row) = (&routes[meeting.route], meeting.row?);
    let what = route.title(methods_to_cover(route.methods));
    let is_for_websockets = |other: &Meeting<'_>| {
        routes[other.route].options.websocket && other.row.is_some_and(|other| other.offset == row.offset)
    };
    let (level, message) = match (route.options.websocket, row.websocket) {
        (true, false) => (
            Level::Error,
            format!(
                "{what} is a WebSocket, but its row `{}` does not allow WebSockets: every request is denied",
                row.route
            ),
        ),
        (false, true) if !all.iter().any(is_for_websockets) => {
            (Level::Note, format!("{what} is not a WebSocket, but its row `{}` allows WebSockets", row.route))
        }
        _ => return None,
    };
    let finding = Finding::new("websocket-differs", route.place.clone(), message);
    Some(Finding { level, ..finding })
}

/// A route that answers on one host alone: its row does so for every host, and so for another host's route of that path.
fn host(routes: &[ConsoleRoute], meeting: &Meeting<'_>, all: &[Meeting<'_>]) -> Option<Finding> {
    let route = &routes[meeting.route];
    let host = route.options.host.as_ref()?;
    let row = meeting.row?;
    let what = route.title(methods_to_cover(route.methods));
    let is_other = |other: &&Meeting<'_>| {
        other.row.is_some_and(|other| other.offset == row.offset)
            && routes[other.route].options.host != route.options.host
    };
    let message = match all.iter().find(is_other).map(|other| &routes[other.route]) {
        Some(other) => {
            let there =
                other.options.host.as_ref().map_or("elsewhere".to_owned(), |host| format!("on `{host}`"));
            format!(
                "{what} answers on `{host}`, and `{}` of `{}` {there}: the row `{}` decides for both",
                other.rule, other.name, row.route
            )
        }
        None => {
            let message =
                format!("{what} answers only on `{host}`; its row `{}` applies to every host", row.route);
            let finding = Finding::new("host-ignored", route.place.clone(), message);
            return Some(Finding { level: Level::Note, ..finding });
        }
    };
    Some(Finding::new("host-ignored", route.place.clone(), message))
}
