//! The JSON of `deploy/flask/dump_routes.py`: everything that Werkzeug knows of a rule.
//!
//! Every field that is written is read here, and an unknown one is an error: an exported field that is not read would
//! hide a difference.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::listing::{Listing, ListingError, ServedRoute};
use super::route::{OwnConverters, RouteOptions};

/// The format that this gate reads.
const VERSION: u32 = 2;
/// The release whose matching the gate repeats.
const WERKZEUG: &str = "3.1.";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dump {
    version: u32,
    flask: String,
    werkzeug: String,
    order: Order,
    rules: Vec<DumpedRule>,
    unlisted: Vec<String>,
}

/// In which order the rules are written.
#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Order {
    /// In that in which a request meets them.
    Search,
    Unknown,
}

/// A field that is left out is an error too: `deserialize_with` takes the place of serde's `None` for it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DumpedRule {
    rule: String,
    /// `None`: every method.
    #[serde(deserialize_with = "Option::deserialize")]
    methods: Option<Vec<String>>,
    endpoint: String,
    strict_slashes: bool,
    merge_slashes: bool,
    #[serde(deserialize_with = "Option::deserialize")]
    host: Option<String>,
    websocket: bool,
    automatic_options: bool,
    #[serde(deserialize_with = "Option::deserialize")]
    redirects: Option<String>,
    /// The classes of the application's own converters, by variable.
    converters: BTreeMap<String, String>,
    #[serde(deserialize_with = "Option::deserialize")]
    wider_rule: Option<String>,
    #[serde(deserialize_with = "Option::deserialize")]
    never_served: Option<String>,
}

/// What the script wrote before it had a version.
#[derive(Deserialize)]
struct OldRule {
    rule: String,
    methods: Vec<String>,
    endpoint: String,
    #[serde(default = "yes")]
    strict_slashes: bool,
}

fn yes() -> bool {
    true
}

/// Reads the JSON of this version of the script, or of the first one.
pub(super) fn parse(text: &str) -> Result<Listing, ListingError> {
    let error = |error: serde_json::Error| ListingError::Json(error.to_string());
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text).map(old_listing).map_err(error);
    }
    let dump: Dump = serde_json::from_str(text).map_err(error)?;
    if dump.version != VERSION {
        return Err(ListingError::Version(dump.version));
    }
    Ok(listing(dump))
}

fn listing(dump: Dump) -> Listing {
    let mut listing =
        Listing { has_order: dump.order == Order::Search, has_options: true, ..Listing::default() };
    if !dump.werkzeug.starts_with(WERKZEUG) {
        let (flask, werkzeug) = (&dump.flask, &dump.werkzeug);
        listing.unlisted.push(format!(
            "Console runs Werkzeug {werkzeug} (Flask {flask}), but the gate matches as Werkzeug {WERKZEUG}x does"
        ));
    }
    listing.unlisted.extend(dump.unlisted);
    for rule in dump.rules {
        let own_converters = rule
            .wider_rule
            .map(|wider_rule| OwnConverters { classes: rule.converters.into_values().collect(), wider_rule });
        let options = RouteOptions {
            strict_slashes: rule.strict_slashes,
            merge_slashes: rule.merge_slashes,
            host: rule.host,
            websocket: rule.websocket,
            automatic_options: rule.automatic_options,
            redirects: rule.redirects,
            own_converters,
            never_served: rule.never_served,
        };
        let route = ServedRoute { options, ..ServedRoute::new(&rule.endpoint, &rule.rule, None) };
        listing.add(route, rule.methods.as_ref().map(|words| words.iter().map(String::as_str)));
    }
    listing
}

fn old_listing(rules: Vec<OldRule>) -> Listing {
    let mut listing = Listing::default();
    listing.unlisted.push(
        "the list was written by an old dump_routes.py, which omits hosts, WebSockets, converters and redirects: \
         use the one that came with this gate"
            .to_owned(),
    );
    for rule in rules {
        let options = RouteOptions { strict_slashes: rule.strict_slashes, ..RouteOptions::default() };
        let route = ServedRoute { options, ..ServedRoute::new(&rule.endpoint, &rule.rule, None) };
        listing.add(route, Some(rule.methods.iter().map(String::as_str)));
    }
    listing
}
