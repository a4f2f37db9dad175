//! Console's routes, combined from Flask's list and the source.

use console_source::coverage::flask_routes::Listing;
use console_source::coverage::route::{ConsoleRoute, RouteOptions, methods_to_cover};
use console_source::{ConsoleSource, Route, TroubleKind};
use policy::mapping::pattern::Pattern;
use policy::method::{Method, MethodSet};
use workbench::report::{Finding, Location};

/// Console's routes as far as they are known, and what kept the list incomplete.
#[derive(Default)]
pub(super) struct Learned {
    pub(super) routes: Vec<ConsoleRoute>,
    /// Whether the routes are in the order in which a request meets them.
    pub(super) has_order: bool,
    /// Whether the list includes the options of the rules.
    has_options: bool,
    pub(super) findings: Vec<Finding>,
}

impl Learned {
    /// Adds the routes that Flask lists.
    pub(super) fn listed(&mut self, file: &str, listing: &Listing) {
        let place = |line: usize| (line > 0).then(|| Location { file: file.to_owned(), line, column: 1 });
        self.routes.extend(listing.routes.iter().map(|route| ConsoleRoute {
            place: route.line.and_then(place),
            name: route.endpoint.clone(),
            rule: route.rule.clone(),
            methods: route.methods,
            options: route.options.clone(),
        }));
        (self.has_order, self.has_options) = (listing.has_order, listing.has_options);
        let unlisted = listing.unlisted.iter().cloned();
        self.findings.extend(unlisted.map(|what| Finding::new("unlisted", None, what)));
        let unreadable = listing.unreadable.iter();
        self.findings.extend(
            unreadable.map(|(line, reason)| Finding::new("unreadable-route", place(*line), reason.clone())),
        );
    }

    /// Console serves the routes that Flask lists. The source adds their places, and routes that are not listed.
    pub(super) fn declared(&mut self, source: &ConsoleSource, has_list: bool) {
        let shapes: Vec<String> = self.routes.iter().map(|route| shape(&route.rule)).collect();
        let mut in_source = vec![false; self.routes.len()];
        let mut unlisted = Vec::new();
        for route in &source.routes {
            let (Ok(rule), Ok(methods)) = (&route.rule, &route.methods) else {
                self.findings.extend((!has_list).then(|| unreadable(route)));
                continue;
            };
            let (shape, mut found) = (shape(rule), false);
            for (index, listed) in self.routes.iter_mut().enumerate() {
                let of_list = methods_to_cover(listed.methods);
                if shapes[index] == shape && !of_list.intersection(methods_to_cover(*methods)).is_empty() {
                    listed.place = Some(route.place.clone());
                    if !self.has_options {
                        let host = listed.options.host.take();
                        listed.options = options(route, *methods);
                        listed.options.host = host.or(listed.options.host.take());
                    }
                    (found, in_source[index]) = (true, true);
                }
            }
            if !found {
                let (place, name) = (Some(route.place.clone()), route.view.clone());
                let options = options(route, *methods);
                let methods = methods.served();
                unlisted.push(ConsoleRoute { place, name, rule: rule.clone(), methods, options });
            }
        }
        if has_list {
            let listed = self.routes.iter().zip(&in_source).filter(|(_, known)| !**known);
            let listed =
                listed.map(|(route, _)| (route, "is listed by Flask, but cannot be read in the source"));
            let declared = unlisted.iter().map(|route| (route, "is in the source, but not listed by Flask"));
            let one_sided = listed.chain(declared).map(|(route, what)| {
                let methods = methods_to_cover(route.methods);
                let message = format!("`{methods} {}` of `{}` {what}", route.rule, route.name);
                Finding::new("only-in-one-list", route.place.clone(), message)
            });
            self.findings.extend(one_sided);
        }
        self.has_order &= unlisted.is_empty();
        self.routes.extend(unlisted);
        self.findings.extend(
            source.troubles.iter().filter(|trouble| hides_routes(trouble.kind, has_list)).map(|trouble| {
                Finding::new("unreadable-route", Some(trouble.place.clone()), trouble.message.clone())
            }),
        );
    }
}

/// Whether an unread part of the source may hide a route that no list has.
fn hides_routes(kind: TroubleKind, has_list: bool) -> bool {
    match kind {
        TroubleKind::Syntax => true,
        TroubleKind::Registration => !has_list,
        TroubleKind::Gate => false,
    }
}

/// The options of a rule in the source, as Flask would list them.
fn options(route: &Route, methods: MethodSet) -> RouteOptions {
    let options = &route.options;
    RouteOptions {
        // A rule whose option is unknown is taken to serve both spellings.
        strict_slashes: options.strict_slashes == Some(true),
        merge_slashes: options.merge_slashes,
        host: options.host.clone(),
        websocket: options.websocket,
        automatic_options: !methods.contains(Method::Options),
        redirects: options.redirects.clone(),
        own_converters: None,
        never_served: options.build_only.then(|| "it is `build_only`".to_owned()),
    }
}

fn unreadable(route: &Route) -> Finding {
    let reason = route.rule.as_ref().err().or(route.methods.as_ref().err());
    let reason = reason.map_or("", String::as_str);
    let message = format!("the route of `{}` cannot be read: {reason}", route.view);
    Finding::new("unreadable-route", Some(route.place.clone()), message)
}

/// The form that two spellings of one rule share, whatever their variables are called.
fn shape(rule: &str) -> String {
    Pattern::parse(rule).map_or_else(|_| rule.to_owned(), |pattern| pattern.shape())
}
