//! Which row decides the requests that Console serves, each of them: not only those that a rule is written for.
//!
//! A rule without `strict_slashes` answers two spellings of its path, and whatever other rules and rows there are can
//! come before it or after it. So the application's rules are searched as Werkzeug searches them, beside the rows, along
//! a path for every way in which both searches can go ([`Mapping::walk_beside`]).

use std::collections::BTreeMap;

use policy::mapping::matcher::{MatchOutcome, Matcher};
use policy::mapping::pattern::Pattern;
use policy::mapping::{Mapping, Row};
use policy::method::{Method, MethodSet};

use super::route::ConsoleRoute;

/// Requests that one route of Console answers and one row decides, or none.
#[derive(Clone, Debug)]
pub(super) struct Meeting<'m> {
    /// The route's index.
    pub(super) route: usize,
    pub(super) row: Option<&'m Row>,
    /// A path for each method.
    pub(super) examples: BTreeMap<Method, String>,
}

/// Two routes that can answer the same request: the one that was added first does.
pub(super) struct Rivals {
    pub(super) first: usize,
    pub(super) second: usize,
    pub(super) methods: MethodSet,
}

/// The result of a comparison.
#[derive(Default)]
pub(super) struct Served<'m> {
    /// By route and row.
    pub(super) meetings: Vec<Meeting<'m>>,
    pub(super) rivals: Vec<Rivals>,
    /// Whether every path was looked at.
    pub(super) is_complete: bool,
}

/// A route with its index and the pattern by which it is compared.
pub(super) type Comparable<'r> = (usize, &'r ConsoleRoute, Pattern);

/// Compares routes with the rows.
pub(super) fn served<'m>(routes: &[Comparable<'_>], mapping: &'m Mapping) -> Served<'m> {
    // Rules for different hosts are never searched together, nor are those for WebSockets with the others.
    let mut tables: BTreeMap<(Option<&str>, bool), Vec<&Comparable<'_>>> = BTreeMap::new();
    for entry in routes {
        let options = &entry.1.options;
        tables.entry((options.host.as_deref(), options.websocket)).or_default().push(entry);
    }
    let mut all = Served { is_complete: true, ..Served::default() };
    for routes in tables.values() {
        all.table(routes, mapping);
    }
    all
}

impl<'m> Served<'m> {
    fn table(&mut self, routes: &[&Comparable<'_>], mapping: &'m Mapping) {
        let rules = routes.iter().map(|(_, route, pattern)| route.served(pattern.clone()));
        let application = Matcher::build(rules.collect());
        let mut met: BTreeMap<(usize, Option<usize>), Meeting<'m>> = BTreeMap::new();
        let look = |path: &str| {
            for method in Method::ALL {
                let MatchOutcome::Match { rule, .. } = application.find(path, method) else { continue };
                let (route, about, _) = routes[rule];
                if !about.runs_view(method) {
                    continue;
                }
                let row = mapping.find(path, method).row();
                let key = (*route, row.map(|row| row.offset));
                let meeting =
                    met.entry(key).or_insert(Meeting { route: *route, row, examples: BTreeMap::new() });
                meeting.examples.entry(method).or_insert_with(|| path.to_owned());
            }
        };
        self.is_complete &= mapping.walk_beside(&application, look);
        self.is_complete &= application.knows_all_overlaps();
        self.meetings.extend(met.into_values());
        self.rivals.extend(application.overlaps().iter().map(|overlap| Rivals {
            first: routes[overlap.first].0,
            second: routes[overlap.second].0,
            methods: overlap.methods,
        }));
    }
}
