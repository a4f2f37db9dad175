//! A first `routes.toml` from Console's source: today's gates as they are, and no V2 role decided.
//!
//! The result lets in only callers that Console lets in today: a gate that was read exactly becomes the row's legacy
//! gate; Console goes on to gate all others by itself (`upstream`); a route that no row can express has no row, and is
//! denied until one is written. Pure: the source as it was read, text out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use policy::mapping::matcher::{Matcher, Rule};
use policy::mapping::pattern::{Part, Pattern};
use policy::method::MethodSet;
use policy::rbac::LegacyRole;
use workbench::report::Location;

use crate::coverage::route::{methods_to_cover, single_slashes};
use crate::{ConsoleSource, Gate, MayGate, Route, RuleOptions};

/// The result of `import`.
#[derive(Clone, Debug)]
pub struct Import {
    /// The file.
    pub text: String,
    /// How many rows it has.
    pub rows: usize,
    /// How many of them have a legacy gate.
    pub gated: usize,
    /// What the source has and no row expresses, and possible gates that are not understood: where, and why.
    pub left_out: Vec<(Location, String)>,
}

const HEADER: &str = "\
# Which route of Console needs which role: a first mapping, written from Console's source by `console-gate import`.
#
#   legacy      the arguments of today's @require_role; `legacy_roles` declares them all, and any other is an error
#   undecided   no V2 role is chosen yet: until one is, the legacy gate decides. To decide, replace it
#               with role = \"...\"
#   upstream    Console's own decorators decide, as today
#   unauthenticated  \"401\" where Console itself answers so instead of redirecting to its login
#   unreviewed  why the row was left to Console; `console-gate check` warns of it. Review each one: a page for
#               everyone is `public = true`, one for every admin `session = true`, one for machines
#               `machine = true`; where Console is to decide, remove `unreviewed`
#
# Routes that are declared at run time are not in the source: `console-gate coverage --flask-routes` finds them.
#
# Each blueprint is its own cluster, so that you can cut it over separately; rename the clusters as you like.

version = 1
unmapped = \"deny\"
";

/// Writes the mapping.
pub fn import(source: &ConsoleSource) -> Import {
    let mut entries: Vec<Entry<'_>> =
        source.routes.iter().map(|route| Entry::new(route, &source.json_prefixes)).collect();
    settle_overlaps(&mut entries);
    let mut blueprints: BTreeMap<&str, Vec<&Entry<'_>>> = BTreeMap::new();
    for entry in &entries {
        blueprints.entry(&entry.route.blueprint).or_default().push(entry);
    }
    let mut text = HEADER.to_owned();
    text.push_str(&declared(&entries));
    text.push_str(&clusters(&blueprints));
    let mut left_out = not_understood(source);
    for trouble in &source.troubles {
        let _ = write!(text, "\n# {}: {}\n", at(&trouble.place), trouble.message);
        left_out.push((trouble.place.clone(), trouble.message.clone()));
    }
    for (blueprint, entries) in &blueprints {
        let name = key(blueprint);
        text.push('\n');
        if is_gated(entries) {
            let _ = writeln!(text, "[blueprints.{name}]\ncluster = {}", string(blueprint));
        }
        let _ = writeln!(text, "[blueprints.{name}.routes]");
        let width = entries.iter().filter_map(|entry| entry.key_width()).max().unwrap_or(0);
        for entry in entries {
            text.push_str(&entry.render(width));
            left_out.extend(entry.left_out());
        }
    }
    let rows = entries.iter().filter(|entry| entry.row.is_ok());
    let gated =
        rows.clone().filter(|entry| matches!(&entry.row, Ok(row) if row.access.legacy().is_some())).count();
    Import { text, rows: rows.count(), gated, left_out }
}

/// Every legacy role of a row: a typing error in an edit is an error of the file then.
fn declared(entries: &[Entry<'_>]) -> String {
    let rows = entries.iter().filter_map(|entry| entry.row.as_ref().ok()?.access.legacy());
    let roles: BTreeSet<&LegacyRole> = rows.flatten().collect();
    let names: Vec<String> = roles.iter().map(|role| string(role.as_str())).collect();
    if names.is_empty() { String::new() } else { format!("legacy_roles = [{}]\n", names.join(", ")) }
}

/// A cluster for each blueprint that has a gate.
fn clusters(blueprints: &BTreeMap<&str, Vec<&Entry<'_>>>) -> String {
    let gated = blueprints.iter().filter(|(_, entries)| is_gated(entries));
    let lines: String = gated.map(|(blueprint, _)| format!("{} = \"legacy\"\n", key(blueprint))).collect();
    if lines.is_empty() { lines } else { format!("\n[clusters]\n{lines}") }
}

fn is_gated(entries: &[&Entry<'_>]) -> bool {
    entries.iter().any(|entry| matches!(&entry.row, Ok(row) if row.access.legacy().is_some()))
}

/// A route and the row that it becomes.
struct Entry<'s> {
    route: &'s Route,
    /// `Err`: why it becomes none.
    row: Result<WrittenRow, String>,
}

struct WrittenRow {
    methods: MethodSet,
    pattern: Pattern,
    access: Access,
    /// Who is not logged in gets 401.
    is_json: bool,
    websocket: bool,
    /// What a reader of the row should know.
    remarks: Vec<String>,
}

/// Who reaches a view.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Access {
    Legacy(BTreeSet<LegacyRole>),
    Session,
    Machine,
    /// Console decides, and why.
    Console(String),
}

impl Access {
    fn legacy(&self) -> Option<&BTreeSet<LegacyRole>> {
        match self {
            Access::Legacy(roles) => Some(roles),
            Access::Session | Access::Machine | Access::Console(_) => None,
        }
    }
}

impl<'s> Entry<'s> {
    fn new(route: &'s Route, json_prefixes: &[String]) -> Entry<'s> {
        Entry { route, row: WrittenRow::of(route, json_prefixes) }
    }

    fn key(&self) -> Option<String> {
        let row = self.row.as_ref().ok()?;
        Some(string(&format!("{} {}", row.methods, row.pattern)))
    }

    fn key_width(&self) -> Option<usize> {
        self.key().map(|key| key.chars().count())
    }

    fn render(&self, width: usize) -> String {
        let (place, view) = (at(&self.route.place), &self.route.view);
        let (key, row) = match (self.key(), &self.row) {
            (Some(key), Ok(row)) => (key, row),
            (_, Err(reason)) => return format!("# {place} `{view}` has no row: {}\n", comment(reason)),
            (None, Ok(_)) => return String::new(),
        };
        let mut text = String::new();
        if !row.remarks.is_empty() {
            let _ = writeln!(text, "# {place} `{view}`: {}", comment(&row.remarks.join("; ")));
        }
        let mut keys = Vec::new();
        match &row.access {
            Access::Legacy(legacy) => {
                let names: Vec<String> = legacy.iter().map(|role| string(role.as_str())).collect();
                keys.push(format!("legacy = [{}]", names.join(", ")));
                keys.push("undecided = \"no V2 role chosen yet\"".to_owned());
                if self.route.machine_or_session {
                    keys.push("machine_or_session = true".to_owned());
                }
            }
            Access::Session => keys.push("session = true".to_owned()),
            Access::Machine => keys.push("machine = true".to_owned()),
            Access::Console(reason) => {
                let reason = string(&format!("{place} {view}: {reason}"));
                keys.push(format!("upstream = true, unreviewed = {reason}"));
            }
        }
        if row.is_json && matches!(row.access, Access::Legacy(_) | Access::Session) {
            keys.push("unauthenticated = \"401\"".to_owned());
        }
        if self.route.totp {
            keys.push("totp = \"elevation\"".to_owned());
        }
        if row.websocket {
            keys.push("websocket = true".to_owned());
        }
        let _ = writeln!(text, "{key:width$} = {{ {} }}", keys.join(", "));
        text
    }

    /// What a person has to look at: a route without a row, and one whose gate was not understood and is left to Console. That
    /// a route has no gate at all is understood.
    fn left_out(&self) -> Option<(Location, String)> {
        let view = &self.route.view;
        let message = match &self.row {
            Err(_) if self.route.options.build_only => return None,
            Err(reason) => format!("the route of `{view}` has no row: {reason}"),
            Ok(WrittenRow { access: Access::Console(reason), .. }) if !self.is_open() => {
                format!("the route of `{view}` is left to Console: {reason}")
            }
            Ok(_) => return None,
        };
        Some((self.route.place.clone(), message))
    }

    /// Whether nothing in the source guards it.
    fn is_open(&self) -> bool {
        matches!(self.route.gate, Gate::None) && self.route.other_decorators.is_empty()
    }
}

impl WrittenRow {
    fn of(route: &Route, json_prefixes: &[String]) -> Result<WrittenRow, String> {
        if route.options.build_only {
            return Err("it is `build_only` and never answers a request".to_owned());
        }
        let rule = route.rule.as_ref().map_err(|reason| format!("the rule: {reason}"))?;
        let methods = route.methods.as_ref().map_err(|reason| format!("the methods: {reason}"))?;
        let (pattern, slash) = pattern(rule, &route.options)?;
        let access = access(route);
        let is_json =
            route.machine_or_session || json_prefixes.iter().any(|prefix| rule.starts_with(prefix.as_str()));
        let remarks = slash.into_iter().chain(beyond(route)).collect();
        let websocket = route.options.websocket;
        Ok(WrittenRow { methods: methods_to_cover(*methods), pattern, access, is_json, websocket, remarks })
    }
}

/// The row's pattern. Without `strict_slashes` a rule answers both spellings of its path, as a row does that ends with a
/// slash.
fn pattern(rule: &str, options: &RuleOptions) -> Result<(Pattern, Option<String>), String> {
    let rule = if options.merge_slashes { single_slashes(rule) } else { rule.to_owned() };
    let parse =
        |rule: &str| Pattern::parse(rule).map_err(|error| format!("the rule `{rule}`: {}", error.problem()));
    let pattern = parse(&rule)?;
    let takes_rest = |part: &Part| matches!(part, Part::Dynamic(part) if part.takes_rest());
    if options.strict_slashes == Some(true)
        || pattern.ends_with_slash()
        || pattern.parts().iter().any(takes_rest)
    {
        return Ok((pattern, None));
    }
    let remark = match options.strict_slashes {
        None => format!("whether `{rule}/` is also served is unknown: this row decides both"),
        Some(_) => format!("strict_slashes=False: this row decides `{rule}` and `{rule}/`"),
    };
    Ok((parse(&format!("{rule}/"))?, Some(remark)))
}

/// The access of a route, as its decorators are understood, or why Console decides.
fn access(route: &Route) -> Access {
    let asks_alone = route.other_decorators.is_empty() && !route.machine_or_session;
    Access::Console(match &route.gate {
        Gate::AnyOf(roles) => {
            let roles = roles.iter().map(|role| role.parse::<LegacyRole>());
            match roles.collect::<Result<_, _>>() {
                Ok(roles) => return Access::Legacy(roles),
                Err(error) => error.to_string(),
            }
        }
        Gate::None if asks_alone && route.session && !route.machine => return Access::Session,
        Gate::None if asks_alone && route.machine && !route.session => return Access::Machine,
        Gate::None if route.other_decorators.is_empty() => "no @require_role".to_owned(),
        Gate::None => format!("no @require_role, but @{}", route.other_decorators.join(", @")),
        Gate::UnreadableSite(place) => format!("@require_role at {} cannot be read", at(place)),
        Gate::Unreadable(reason) => reason.clone(),
    })
}

/// The parts of a route that no row can represent, and the other code that may refuse its requests.
fn beyond(route: &Route) -> Vec<String> {
    let options = &route.options;
    let host = options
        .host
        .as_ref()
        .map(|host| format!("Console serves it only on {host:?}, but a row applies to every host"));
    let redirects = options.redirects.as_ref().map(|target| format!("Console redirects it {target}"));
    let may = route.may_gate.iter().map(|may| {
        format!("{} at {} may gate it and could not be analysed: {}", may.what, at(&may.place), may.reason)
    });
    host.into_iter().chain(redirects).chain(may).collect()
}

/// Code that may refuse requests and is not understood, each with the number of routes that it runs before.
fn not_understood(source: &ConsoleSource) -> Vec<(Location, String)> {
    let mut all: BTreeMap<&Location, (&MayGate, usize)> = BTreeMap::new();
    for may in source.routes.iter().flat_map(|route| &route.may_gate) {
        all.entry(&may.place).or_insert((may, 0)).1 += 1;
    }
    let messages = all.into_iter().map(|(place, (may, count))| {
        let (what, reason) = (&may.what, &may.reason);
        let message = format!("{what} may gate {count} route(s) and could not be analysed: {reason}");
        (place.clone(), message)
    });
    messages.collect()
}

/// A mapping ranks all its rows, and Flask goes by the order in which rules were added, which no source shows.
/// Of two rows that can match the same request one stays; unless both ask for the same, Console decides there.
fn settle_overlaps(entries: &mut [Entry<'_>]) {
    // Where there are too many to be found at once, those that are settled make room for the next.
    while settle_some_overlaps(entries) {}
}

/// Returns whether there may be more.
fn settle_some_overlaps(entries: &mut [Entry<'_>]) -> bool {
    let indices: Vec<usize> = (0..entries.len()).filter(|index| entries[*index].row.is_ok()).collect();
    let rules = entries.iter().filter_map(|entry| entry.row.as_ref().ok());
    let matcher = Matcher::build(rules.map(|row| Rule::declared(row.pattern.clone(), row.methods)).collect());
    for overlap in matcher.overlaps() {
        let (first, second) = (indices[overlap.first], indices[overlap.second]);
        let place = at(&entries[first].route.place);
        let Ok(later) = &entries[second].row else { continue };
        let (later, websocket) = (later.access.clone(), later.websocket);
        let Ok(earlier) = &mut entries[first].row else { continue };
        earlier.websocket |= websocket;
        // A row that is left to Console already keeps its reason.
        if earlier.access != later && !matches!(earlier.access, Access::Console(_)) {
            earlier.access =
                Access::Console(format!("{} can match the same request", at(&entries[second].route.place)));
        }
        let reason = format!("the route of {place} can match the same request, and neither takes precedence");
        entries[second].row = Err(reason);
    }
    !matcher.knows_all_overlaps() && !matcher.overlaps().is_empty()
}

fn at(place: &Location) -> String {
    comment(&format!("{}:{}", place.file, place.line))
}

/// A text that stays on its line: the name of a file may hold anything.
fn comment(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}

fn key(name: &str) -> String {
    let is_bare = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    if !name.is_empty() && name.chars().all(is_bare) { name.to_owned() } else { string(name) }
}

/// A basic string of TOML.
fn string(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
