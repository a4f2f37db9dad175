//! What Flask lists of Console: the rules that it serves.

use policy::method::MethodSet;

use super::route::RouteOptions;

/// A rule that Flask lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedRoute {
    pub endpoint: String,
    pub rule: String,
    /// With HEAD and OPTIONS where Flask adds them; `flask routes` leaves them out unless asked.
    pub methods: MethodSet,
    /// Its line in the output of `flask routes`.
    pub line: Option<usize>,
    pub options: RouteOptions,
}

impl ServedRoute {
    pub(super) fn new(endpoint: &str, rule: &str, line: Option<usize>) -> ServedRoute {
        let (endpoint, rule) = (endpoint.to_owned(), rule.to_owned());
        ServedRoute { endpoint, rule, methods: MethodSet::EMPTY, line, options: RouteOptions::default() }
    }
}

/// What a file lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    pub routes: Vec<ServedRoute>,
    /// Whether the routes are in the order in which a request meets them.
    pub has_order: bool,
    /// Whether the routes have the options with which they are declared, or the defaults in their place.
    pub has_options: bool,
    /// Lines that are no route, from 1, and why; 0 where the file has no lines to speak of.
    pub unreadable: Vec<(usize, String)>,
    /// What the list leaves out, one sentence each.
    pub unlisted: Vec<String>,
}

/// Why a file lists no routes at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListingError {
    #[error("it is not JSON as `dump_routes.py` writes it: {0}")]
    Json(String),
    #[error("it was written by dump_routes.py version {0}: use the one that came with this gate")]
    Version(u32),
    #[error("it has no table of routes: expected a line of dashes under `Endpoint`, `Methods` and `Rule`")]
    NoTable,
    #[error("it does not list any route")]
    Empty,
}
