//! Outcomes of requests, by the rows of the running mapping: counted in memory, and shown by `/metrics`.
//!
//! Each row has one set of counters, made when its first request ends: most of 100,000 rows never have one, and
//! counters for all would take 20 MB. The labels are names of rows and clusters, and never values from a client: there
//! are at most as many series as rows times outcomes. The counters of a row end with the last mapping that has the row.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use policy::ids::MappingSha256;
use policy::mapping::Mapping;

use crate::activation::MappingHolder;

/// Every outcome of a request, as `gate_requests_total` has it.
pub const OUTCOMES: [&str; 14] = [
    "forwarded",
    "served",
    "declined",
    "denied",
    "login",
    "unauthorized",
    "gone",
    "quiet",
    "refused",
    "limited",
    "unavailable",
    "failed",
    "probe",
    "jwks",
];
/// The classes of Console's answers.
pub const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// The route of requests that no row covers.
pub const NO_ROW: &str = "unmapped";

/// A request that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'e> {
    /// Its row, where it has one.
    pub route: Option<&'e str>,
    pub outcome: &'static str,
    /// The status of the upstream's answer, and the time until its head.
    pub upstream: Option<(u16, Duration)>,
}

/// Counts requests and connections.
pub struct Traffic {
    mappings: Arc<MappingHolder>,
    routes: ArcSwap<Routes>,
    in_flight: AtomicU64,
    connections: AtomicU64,
}

/// The counters of one mapping's rows.
struct Routes {
    mapping: MappingSha256,
    rows: HashMap<Arc<str>, Arc<Row>>,
    /// For requests that no row covers.
    none: Arc<Row>,
}

/// The counters of one row.
pub struct Row {
    pub route: Arc<str>,
    /// Empty for a row without a cluster.
    pub cluster: Arc<str>,
    counts: OnceLock<Box<Counts>>,
}

#[derive(Default)]
struct Counts {
    outcomes: [AtomicU64; OUTCOMES.len()],
    answers: [AtomicU64; CLASSES.len()],
    upstream_nanos: AtomicU64,
}

/// Something that is counted until it ends.
pub struct Counted<'t>(&'t AtomicU64);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Traffic {
    /// Counts by the rows of what runs.
    pub fn new(mappings: Arc<MappingHolder>) -> Traffic {
        let routes = ArcSwap::from_pointee(Routes::of(&mappings.running(), None));
        Traffic { mappings, routes, in_flight: AtomicU64::new(0), connections: AtomicU64::new(0) }
    }

    /// Counts a request that begins.
    pub fn request(&self) -> Counted<'_> {
        counted(&self.in_flight)
    }

    /// Counts an accepted connection.
    pub fn connection(&self) -> Counted<'_> {
        counted(&self.connections)
    }

    /// Counts a request that has ended. If its row went with an older mapping, it is not counted by its row.
    pub fn ended(&self, ended: &Ended<'_>) {
        let routes = self.routes.load();
        if let Some(row) = routes.row(ended.route) {
            return row.add(ended);
        }
        drop(routes);
        if let Some(row) = self.current().row(ended.route) {
            row.add(ended);
        }
    }

    /// The requests that are being served.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// The connections that are open.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// The counters of the rows of the running mapping that had a request, in the order of their names; last, those of
    /// requests without a row.
    pub fn rows(&self) -> Vec<Arc<Row>> {
        let routes = self.current();
        let mut rows: Vec<_> =
            routes.rows.values().filter(|row| row.counts.get().is_some()).cloned().collect();
        rows.sort_by(|one, other| one.route.cmp(&other.route));
        rows.push(routes.none.clone());
        rows
    }

    /// The counters of the running mapping. After a reload they are new, with the counters of the rows that stayed.
    fn current(&self) -> Arc<Routes> {
        let running = self.mappings.running();
        let routes = self.routes.load_full();
        if routes.mapping == *running.sha256() {
            return routes;
        }
        let next = Arc::new(Routes::of(&running, Some(&routes)));
        // If two do this at once, one wins, and both continue with its counters.
        let before = self.routes.compare_and_swap(&routes, next);
        drop(before);
        self.routes.load_full()
    }
}

fn counted(count: &AtomicU64) -> Counted<'_> {
    count.fetch_add(1, Ordering::Relaxed);
    Counted(count)
}

impl Routes {
    fn of(mapping: &Mapping, before: Option<&Routes>) -> Routes {
        let row = |row: &policy::mapping::Row| {
            let cluster = row.cluster.clone().unwrap_or_default();
            let kept = before.and_then(|before| before.rows.get(&row.route));
            let kept = kept.filter(|kept| kept.cluster == cluster).cloned();
            (row.route.clone(), kept.unwrap_or_else(|| Arc::new(Row::new(row.route.clone(), cluster))))
        };
        Routes {
            mapping: mapping.sha256().clone(),
            rows: mapping.rows().iter().map(row).collect(),
            none: before.map_or_else(
                || Arc::new(Row::new(NO_ROW.into(), Arc::default())),
                |before| before.none.clone(),
            ),
        }
    }

    fn row(&self, route: Option<&str>) -> Option<&Row> {
        match route {
            None => Some(&self.none),
            Some(route) => self.rows.get(route).map(|row| &**row),
        }
    }
}

impl Row {
    fn new(route: Arc<str>, cluster: Arc<str>) -> Row {
        Row { route, cluster, counts: OnceLock::new() }
    }

    fn add(&self, ended: &Ended<'_>) {
        let counts = self.counts.get_or_init(Box::default);
        let outcome = OUTCOMES.iter().position(|outcome| *outcome == ended.outcome);
        if let Some(count) = outcome.and_then(|place| counts.outcomes.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let Some((status, took)) = ended.upstream else { return };
        let class = usize::from(status / 100).checked_sub(1);
        if let Some(count) = class.and_then(|class| counts.answers.get(class)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        counts.upstream_nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(0), Ordering::Relaxed);
    }

    /// The number of requests by outcome, without outcomes that did not occur.
    pub fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts().flat_map(|counts| seen(&OUTCOMES, &counts.outcomes))
    }

    /// The upstream's answers by class, without classes that did not occur.
    pub fn answers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts().flat_map(|counts| seen(&CLASSES, &counts.answers))
    }

    /// How long the upstream took for these answers.
    pub fn upstream_seconds(&self) -> f64 {
        let nanos = self.counts().map(|counts| counts.upstream_nanos.load(Ordering::Relaxed)).sum();
        Duration::from_nanos(nanos).as_secs_f64()
    }

    fn counts(&self) -> impl Iterator<Item = &Counts> {
        self.counts.get().map(|counts| &**counts).into_iter()
    }
}

fn seen<'r, const N: usize>(
    names: &'static [&'static str; N],
    counts: &'r [AtomicU64; N],
) -> impl Iterator<Item = (&'static str, u64)> + 'r {
    let counts = counts.iter().map(|count| count.load(Ordering::Relaxed));
    names.iter().copied().zip(counts).filter(|(_, count)| *count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(rows: &str) -> Mapping {
        let text = format!(
            "version = 1\n[clusters]\nC = \"v2\"\n[blueprints.b]\ncluster = \"C\"\n[blueprints.b.routes]\n{rows}"
        );
        Mapping::parse("routes.toml", &text).unwrap()
    }

    const ONE: &str = "\"GET /one\" = { legacy = [\"ops\"], role = \"r\" }\n";
    const TWO: &str = "\"GET /two\" = { legacy = [\"ops\"], role = \"r\" }\n";

    #[test]
    fn the_counters_of_rows_that_stay_go_on_and_the_others_end() {
        let first = Routes::of(&mapping(&format!("{ONE}{TWO}")), None);
        let denied = |route| Ended { route, outcome: "denied", upstream: None };
        for route in [Some("GET /one"), Some("GET /one"), Some("GET /two"), None] {
            first.row(route).unwrap().add(&denied(route));
        }
        let second = Routes::of(&mapping(TWO), Some(&first));
        assert!(second.row(Some("GET /one")).is_none(), "a row that is gone");
        let of = |route| second.row(route).unwrap().outcomes().collect::<Vec<_>>();
        assert_eq!(of(Some("GET /two")), [("denied", 1)]);
        assert_eq!(of(None), [("denied", 1)]);
        let third = Routes::of(&mapping(&format!("{ONE}{TWO}")), Some(&second));
        assert_eq!(third.row(Some("GET /one")).unwrap().outcomes().count(), 0, "it begins anew");
    }

    #[test]
    fn answers_count_by_class_with_their_time() {
        let row = Row::new("GET /one".into(), "C".into());
        for (status, milliseconds) in [(200, 10), (204, 20), (503, 30), (101, 0), (0, 0), (999, 0)] {
            let upstream = Some((status, Duration::from_millis(milliseconds)));
            row.add(&Ended { route: None, outcome: "forwarded", upstream });
        }
        assert_eq!(row.outcomes().collect::<Vec<_>>(), [("forwarded", 6)]);
        assert_eq!(row.answers().collect::<Vec<_>>(), [("1xx", 1), ("2xx", 2), ("5xx", 1)]);
        assert!((row.upstream_seconds() - 0.06).abs() < 1e-9);
        row.add(&Ended { route: None, outcome: "invented", upstream: None });
        assert_eq!(row.outcomes().map(|(_, count)| count).sum::<u64>(), 6, "no outcome of that name");
    }
}
