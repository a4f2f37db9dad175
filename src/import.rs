//! A first `routes.toml` from Console's source: today's gates as they are, and no V2 role decided.
//!
//! What is written lets nobody in whom Console does not let in today: a gate that was read exactly becomes the row's
//! legacy gate; whatever was not, Console goes on to gate by itself (`upstream`); what no row can say has no row, and is
//! denied until somebody writes one. Pure: the source as it was read, text out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::console_source::{ConsoleSource, Gate, Route};
use crate::coverage::cover::methods_to_cover;
use crate::mapping::matcher::{Matcher, Rule};
use crate::mapping::pattern::Pattern;
use crate::method::MethodSet;
use crate::rbac::LegacyRole;
use crate::report::Place;

/// What `import` makes of a source.
#[derive(Clone, Debug)]
pub struct Import {
    /// The file.
    pub text: String,
    /// How many rows it has.
    pub rows: usize,
    /// How many of them have a legacy gate.
    pub gated: usize,
    /// What the source has and no row says: where, and why.
    pub left_out: Vec<(Place, String)>,
}

const HEADER: &str = "\
# Which route of Console needs which role: a first mapping, written from Console's source by `console-gate import`.
#
#   legacy      the arguments of today's @require_role
#   undecided   no V2 role has been chosen: until then the row stays on its legacy gate. To decide, write
#               role = \"...\" in its place
#   upstream    Console's own decorators decide, as today. Look at each one: a page for everybody is
#               `public = true`, one for every admin `session = true`, one for machines `machine = true`
#
# Flask's own route for static files is in no source: `console-gate coverage --flask-routes` finds it, and whatever else
# is declared at run time.
#
# Each blueprint is a cluster of its own, so that it can be cut over by itself; name the clusters as you like.

version = 1
unmapped = \"deny\"
";

/// Writes the mapping.
pub fn import(source: &ConsoleSource) -> Import {
    let mut entries: Vec<Entry<'_>> = source.routes.iter().map(Entry::new).collect();
    settle_overlaps(&mut entries);
    let mut blueprints: BTreeMap<&str, Vec<&Entry<'_>>> = BTreeMap::new();
    for entry in &entries {
        blueprints.entry(&entry.route.blueprint).or_default().push(entry);
    }
    let mut text = HEADER.to_owned();
    text.push_str(&clusters(&blueprints));
    let mut left_out = Vec::new();
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
    let gated = rows.clone().filter(|entry| matches!(&entry.row, Ok(row) if row.legacy.is_some())).count();
    Import { text, rows: rows.count(), gated, left_out }
}

/// A cluster for each blueprint that has a gate.
fn clusters(blueprints: &BTreeMap<&str, Vec<&Entry<'_>>>) -> String {
    let gated = blueprints.iter().filter(|(_, entries)| is_gated(entries));
    let lines: String = gated.map(|(blueprint, _)| format!("{} = \"legacy\"\n", key(blueprint))).collect();
    if lines.is_empty() { lines } else { format!("\n[clusters]\n{lines}") }
}

fn is_gated(entries: &[&Entry<'_>]) -> bool {
    entries.iter().any(|entry| matches!(&entry.row, Ok(row) if row.legacy.is_some()))
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
    /// `None`: Console decides.
    legacy: Option<BTreeSet<LegacyRole>>,
    /// What a reader of the row should know.
    remark: Option<String>,
}

impl<'s> Entry<'s> {
    fn new(route: &'s Route) -> Entry<'s> {
        Entry { route, row: WrittenRow::of(route) }
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
        if let Some(remark) = &row.remark {
            let _ = writeln!(text, "# {place} `{view}`: {}", comment(remark));
        }
        let mut keys = Vec::new();
        match &row.legacy {
            Some(legacy) => {
                let names: Vec<String> = legacy.iter().map(|role| string(role.as_str())).collect();
                keys.push(format!("legacy = [{}]", names.join(", ")));
                keys.push("undecided = \"no V2 role chosen\"".to_owned());
                if self.route.machine_or_session {
                    keys.push("machine_or_session = true".to_owned());
                }
            }
            None => keys.push("upstream = true".to_owned()),
        }
        if self.route.totp {
            keys.push("totp = \"elevation\"".to_owned());
        }
        let _ = writeln!(text, "{key:width$} = {{ {} }}", keys.join(", "));
        text
    }

    fn left_out(&self) -> Option<(Place, String)> {
        let reason = self.row.as_ref().err()?;
        Some((self.route.place.clone(), format!("the route of `{}` has no row: {reason}", self.route.view)))
    }
}

impl WrittenRow {
    fn of(route: &Route) -> Result<WrittenRow, String> {
        let rule = route.rule.as_ref().map_err(|reason| format!("the rule: {reason}"))?;
        let methods = route.methods.as_ref().map_err(|reason| format!("the methods: {reason}"))?;
        let pattern =
            Pattern::parse(rule).map_err(|error| format!("the rule `{rule}`: {}", error.problem()))?;
        let (legacy, remark) = match &route.gate {
            Gate::AnyOf(roles) => {
                match roles.iter().map(|role| LegacyRole::parse(role).ok_or(role)).collect() {
                    Ok(legacy) => (Some(legacy), None),
                    Err(role) => (None, Some(format!("`{role}` is no legacy role; Console decides"))),
                }
            }
            Gate::None if route.other_decorators.is_empty() => {
                (None, Some("no @require_role; Console decides".to_owned()))
            }
            Gate::None => {
                let others = route.other_decorators.join(", @");
                (None, Some(format!("no @require_role, but @{others}; Console decides")))
            }
            Gate::UnreadableSite(place) => {
                (None, Some(format!("@require_role at {} cannot be read; Console decides", at(place))))
            }
            Gate::Unreadable(reason) => (None, Some(format!("{reason}; Console decides"))),
        };
        Ok(WrittenRow { methods: methods_to_cover(*methods), pattern, legacy, remark })
    }
}

/// A mapping ranks all its rows, and Flask goes by the order in which rules were added, which no source tells for sure.
/// Of two rows that can match the same request one stays; unless both ask for the same, Console decides there.
fn settle_overlaps(entries: &mut [Entry<'_>]) {
    let indices: Vec<usize> = (0..entries.len()).filter(|index| entries[*index].row.is_ok()).collect();
    let rules = entries.iter().filter_map(|entry| entry.row.as_ref().ok());
    let matcher = Matcher::build(rules.map(|row| Rule::declared(row.pattern.clone(), row.methods)).collect());
    for overlap in matcher.overlaps() {
        let (first, second) = (indices[overlap.first], indices[overlap.second]);
        let place = at(&entries[first].route.place);
        let Ok(later) = &entries[second].row else { continue };
        let later = later.legacy.clone();
        let Ok(earlier) = &mut entries[first].row else { continue };
        if earlier.legacy != later {
            earlier.legacy = None;
            let other = at(&entries[second].route.place);
            earlier.remark = Some(format!("{other} can match the same request; Console decides"));
        }
        let reason = format!("the route of {place} can match the same request, and nothing ranks the two");
        entries[second].row = Err(reason);
    }
}

fn at(place: &Place) -> String {
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
