//! Who reaches what: routes by callers who hold the same, the legacy gate beside V2. Every cell is an answer of the function that
//! decides requests.

use std::collections::BTreeMap;

use askama::Template;
use chrono::{DateTime, Utc};
use grants::State;
use grants::apart::{let_in, outcome};
use policy::decision::{Caller, Control, Target};
use policy::mapping::{ClusterMode, Mapping, Rollout, Row, RowKind, Unauthenticated};
use policy::rbac::catalog::Catalog;
use policy::rbac::census::{CallerKind, Person};
use workbench::impact::{Population, ProfileKind};

use super::template::render;
use super::words::{counted, exact, name, part};
use super::{Outcome, PREFIX, Shown, tester};
use crate::rbac_api::local::Local;
use crate::rbac_api::query::Query;

/// Rows and columns of a page.
const ROWS: usize = 50;
const COLUMNS: usize = 12;
/// Callers that a column's head names.
const NAMED: usize = 3;

/// What somebody may reach in one cluster.
pub(super) struct Reach {
    pub(super) cluster: String,
    pub(super) mode: String,
    pub(super) routes: usize,
    pub(super) now: usize,
    pub(super) legacy: usize,
    pub(super) v2: usize,
}

/// What both gates answer, and what is answered now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    now: bool,
    legacy: bool,
    v2: bool,
    /// What a caller meets that no grant would let in.
    instead: Option<&'static str>,
}

impl Cell {
    fn sign(self) -> &'static str {
        match (self.legacy, self.v2) {
            (true, true) => "✓",
            (false, true) => "+",
            (true, false) => "−",
            (false, false) => self.instead.unwrap_or("·"),
        }
    }

    fn class(self) -> &'static str {
        match (self.legacy, self.v2) {
            (true, true) => "both",
            (false, true) => "more",
            (true, false) => "less",
            (false, false) => "none",
        }
    }

    fn words(self) -> &'static str {
        match (self.legacy, self.v2) {
            (true, true) => "both allow",
            (false, true) => "V2 allows, legacy denies",
            (true, false) => "legacy allows, V2 denies",
            (false, false) => match self.instead {
                Some("n/a") => "takes no machine",
                Some(_) => "takes a login",
                None => "both deny",
            },
        }
    }
}

struct Column {
    head: Vec<String>,
    others: usize,
    /// The caller that the cells' explanations are about.
    one: String,
    /// As the tester names it.
    kind: &'static str,
}

struct Line {
    route: String,
    asks: String,
    mode: String,
    cells: Vec<Cell>,
}

#[derive(Template)]
#[template(path = "pages/matrix.html")]
struct Matrix {
    columns: Vec<Column>,
    lines: Vec<Line>,
    clusters: Vec<String>,
    cluster: String,
    route: String,
    who: String,
    only: bool,
    total: usize,
    people: usize,
    next: Option<String>,
    /// The address of this page with its filters, to which a cell adds its question.
    here: String,
    tester: String,
    mapping: String,
    now: DateTime<Utc>,
}

/// What a caller meets on a row: now, by the legacy gate alone, and by V2 alone.
fn cell(mapping: &Mapping, row: &Row, person: &Person, catalog: &Catalog, control: &Control) -> Cell {
    let passes = |rollout: &Rollout, control: &Control| {
        let_in(Target::Row(row, rollout), person, catalog, control).is_some()
    };
    by_each(mapping, row, control, passes)
}

fn by_each(
    mapping: &Mapping,
    row: &Row,
    control: &Control,
    passes: impl Fn(&Rollout, &Control) -> bool,
) -> Cell {
    let on = Control { rbac_v2: true, may_enforce: true, ..*control };
    Cell {
        now: passes(mapping.rollout_of(row), control),
        legacy: passes(&Rollout::everybody(ClusterMode::Legacy), &on),
        v2: passes(&Rollout::everybody(ClusterMode::V2), &on),
        instead: None,
    }
}

/// What a caller without a session meets where a session would help.
fn without_session(row: &Row) -> Option<&'static str> {
    row.kind.asks_who().then_some(match row.unauthenticated {
        Unauthenticated::Redirect => "login",
        Unauthenticated::Status401 => "401",
        Unauthenticated::Status403 => "403",
    })
}

/// What somebody may reach, by cluster and by route.
pub(super) fn reach(
    mapping: &Mapping,
    person: &Person,
    catalog: &Catalog,
    control: &Control,
) -> (Vec<Reach>, Vec<(String, &'static str)>) {
    let mut clusters: BTreeMap<String, Reach> = BTreeMap::new();
    let mut routes = Vec::new();
    for row in mapping.rows() {
        let Some(cluster) = &row.cluster else { continue };
        let found = cell(mapping, row, person, catalog, control);
        let reach = clusters.entry(cluster.to_string()).or_insert_with(|| Reach {
            cluster: cluster.to_string(),
            mode: mapping.rollout_of(row).to_string(),
            routes: 0,
            now: 0,
            legacy: 0,
            v2: 0,
        });
        reach.routes += 1;
        reach.now += usize::from(found.now);
        reach.legacy += usize::from(found.legacy);
        reach.v2 += usize::from(found.v2);
        if found.now || found.v2 {
            routes.push((row.route.to_string(), if found.now { "open now" } else { "once on V2" }));
        }
    }
    (clusters.into_values().collect(), routes)
}

pub(super) async fn matrix(local: &Local<'_>, query: Option<&str>) -> Outcome {
    let names = ["cluster", "route", "who", "only", "from"].into_iter().chain(tester::Asked::NAMES);
    let query = Query::parse(query, &names.collect::<Vec<_>>())?;
    local.require("/api/rbac/who")?;
    let text = |name: &str| query.get(name).unwrap_or_default().trim().to_owned();
    let (cluster, route, who, only) =
        (text("cluster"), text("route"), text("who"), text("only") == "differences");
    let from: usize = text("from").parse().unwrap_or_default();
    let parts = local.parts();
    let now = parts.clock.now();
    let state = State::read(&parts.store, &[], now).await?;
    let (mapping, control) = (local.mapping(), local.control());
    let catalog = &state.registry.catalog;
    let callers = columns(&state, mapping, &who);
    let rows = mapping.rows().iter().filter(|row| {
        let is_wanted = cluster.is_empty() || row.cluster.as_deref() == Some(cluster.as_str());
        is_wanted && (route.is_empty() || row.route.contains(route.as_str()))
    });
    let line = |row: &Row| {
        let nobody = by_each(mapping, row, control, |rollout, control| {
            outcome(Target::Row(row, rollout), Caller::Nobody, control).is_some()
        });
        let takes_machines = matches!(row.kind, RowKind::Gated { machine: true, .. });
        let cells = callers.iter().map(|(_, person)| Cell {
            instead: (person.kind == CallerKind::Machine && !takes_machines).then_some("n/a"),
            ..cell(mapping, row, person, catalog, control)
        });
        let nobody = Cell { instead: without_session(row), ..nobody };
        Line {
            route: row.route.to_string(),
            asks: asks(row),
            mode: row.cluster.as_ref().map(|_| mapping.rollout_of(row).to_string()).unwrap_or_default(),
            cells: cells.chain([nobody]).collect(),
        }
    };
    let all: Vec<Line> =
        rows.map(line).filter(|line| !only || line.cells.iter().any(|cell| cell.legacy != cell.v2)).collect();
    let total = all.len();
    let lines: Vec<Line> = all.into_iter().skip(from).take(ROWS).collect();
    let filters = [("cluster", &cluster), ("route", &route), ("who", &who)];
    let kept: String = filters.iter().map(|(name, value)| format!("{name}={}&", part(value))).collect();
    let only_text = if only { "only=differences&" } else { "" };
    let page_from = |from: usize| format!("{PREFIX}/matrix?{kept}{only_text}from={from}");
    let next = (from.saturating_add(ROWS) < total).then(|| page_from(from.saturating_add(ROWS)));
    let mut heads: Vec<Column> = callers.into_iter().map(|(column, _)| column).collect();
    let head = vec!["not logged in".to_owned()];
    heads.push(Column { head, others: 0, one: String::new(), kind: "unauthenticated" });
    let people = state.registry.people.iter().filter(|one| one.kind == CallerKind::Admin).count();
    let page = Matrix {
        columns: heads,
        lines,
        clusters: mapping.clusters().keys().map(ToString::to_string).collect(),
        cluster,
        route,
        who,
        only,
        total,
        people,
        next,
        here: page_from(from),
        tester: tester::part(local, &tester::Asked::of(&query)).await?,
        mapping: mapping.sha256().short().to_owned(),
        now,
    };
    Ok(Shown::page("Matrix", render(&page)))
}

/// A column for each class of callers that hold the same; with `who`, of those whose id contains it.
fn columns<'s>(state: &'s State, mapping: &Mapping, who: &str) -> Vec<(Column, &'s Person)> {
    let registry = &state.registry;
    let none = Default::default();
    let population = Population::new(&registry.catalog, &registry.people, &none, &[mapping]);
    let mut columns = Vec::new();
    for profile in population.profiles() {
        let kind = match profile.kind {
            ProfileKind::Admin => CallerKind::Admin,
            ProfileKind::Machine => CallerKind::Machine,
            ProfileKind::LegacyRole | ProfileKind::Group | ProfileKind::NoRole => continue,
        };
        let mut members: Vec<&str> = profile.members.iter().map(AsRef::as_ref).collect();
        if !who.is_empty() {
            members.retain(|id| id.contains(who));
        }
        let Some(first) = members.first() else { continue };
        let person = registry.people.iter().find(|one| one.kind == kind && *one.id == **first);
        let Some(person) = person else { continue };
        let head = members.iter().take(NAMED).map(|id| name(id)).collect();
        let others = members.len().saturating_sub(NAMED);
        let kind = match kind {
            CallerKind::Admin => "admin",
            CallerKind::Machine => "machine",
        };
        columns.push((Column { head, others, one: (*first).to_owned(), kind }, person));
    }
    columns.truncate(COLUMNS);
    columns
}

/// The caller of a column, for a link's name.
fn title(column: &Column) -> &str {
    if column.one.is_empty() { "not logged in" } else { &column.one }
}

/// The query of the tester for a cell: the first method of its row, and its path with examples in place of variables.
fn asked(line: &Line, column: &Column) -> String {
    let (methods, path) = line.route.split_once(' ').unwrap_or(("GET", line.route.as_str()));
    let method = methods.split(',').next().filter(|method| *method != "*").unwrap_or("GET");
    let segments = path.split('/').map(|segment| match segment.split_once('<') {
        Some((before, _)) => format!("{before}1"),
        None => segment.replace('*', ""),
    });
    let path = segments.collect::<Vec<_>>().join("/");
    format!("method={method}&path={}&kind={}&as={}", part(&path), column.kind, part(&column.one))
}

/// What a row asks for, in a word.
fn asks(row: &Row) -> String {
    let required: Vec<&str> =
        row.kind.requirements().iter().map(|requirement| &**requirement.name()).collect();
    match &row.kind {
        RowKind::Gated { .. } if required.is_empty() => "undecided".to_owned(),
        RowKind::Gated { .. } => required.join(", "),
        RowKind::Session => "a session".to_owned(),
        RowKind::Public => "nothing".to_owned(),
        RowKind::Machine => "a token".to_owned(),
        RowKind::Upstream => "Console decides".to_owned(),
        RowKind::Gone => "deleted".to_owned(),
    }
}
