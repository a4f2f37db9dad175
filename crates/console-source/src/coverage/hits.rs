//! Paths that were asked for and that no row covers, from what a running gate has seen.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use policy::mapping::{Found, Mapping, Unmapped};
use policy::method::Method;
use workbench::report::{Finding, Level};

/// What a caller is, and its id.
pub type Caller = (String, String);

/// Requests for one path that no row covered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub method: Method,
    /// Decoded, without its query; empty where it was not kept.
    pub path: String,
    /// The caller's kind and id; `None` for an unauthenticated caller.
    pub caller: Option<Caller>,
    pub count: u64,
    pub last_seen: DateTime<Utc>,
}

/// All hits of one method and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hits {
    pub method: Method,
    pub path: String,
    /// How many different callers that the gate knew.
    pub people: usize,
    /// Requests by callers that the gate did not know.
    pub by_strangers: u64,
    pub count: u64,
    pub last_seen: DateTime<Utc>,
}

/// Adds hits up by method and path: most people first, then most requests.
pub fn hits(all: impl IntoIterator<Item = Hit>) -> Vec<Hits> {
    let mut sums: BTreeMap<(Method, String), (Hits, BTreeSet<Caller>)> = BTreeMap::new();
    for Hit { method, path, caller, count, last_seen } in all {
        let (sum, people) = sums.entry((method, path.clone())).or_insert_with(|| {
            (Hits { method, path, people: 0, by_strangers: 0, count: 0, last_seen }, BTreeSet::new())
        });
        sum.count += count;
        sum.last_seen = sum.last_seen.max(last_seen);
        match caller {
            Some(caller) => drop(people.insert(caller)),
            None => sum.by_strangers += count,
        }
    }
    let mut hits: Vec<Hits> =
        sums.into_values().map(|(sum, people)| Hits { people: people.len(), ..sum }).collect();
    hits.sort_by(|one, other| {
        (other.people, other.count, &one.path).cmp(&(one.people, one.count, &other.path))
    });
    hits
}

impl Hits {
    /// `None` where a row of the mapping covers the path by now, or `quiet` names it. What only strangers asked for is only noted: they ask for
    /// anything.
    pub fn finding(&self, mapping: &Mapping) -> Option<Finding> {
        let is_covered =
            || matches!(mapping.find(&self.path, self.method), Found::Row(_) | Found::Redirect(_));
        if !self.path.is_empty() && is_covered() {
            return None;
        }
        let path = if self.path.is_empty() { "(paths that were not recorded)" } else { &self.path };
        let now = match mapping.unmapped_at(&self.path) {
            // Listing it in `quiet` was the decision about it.
            Unmapped::Quiet => return None,
            Unmapped::Deny => "denied",
            Unmapped::Forward => "forwarded",
        };
        let message = format!(
            "`{} {path}` has no row and was requested {} time(s), by {} known caller(s) and {} time(s) by unknown \
             callers, last at {}: {now}",
            self.method,
            self.count,
            self.people,
            self.by_strangers,
            self.last_seen.format("%Y-%m-%d %H:%M:%SZ"),
        );
        let finding = Finding::new("unmapped-hit", None, message);
        let level = if self.people > 0 { finding.level } else { Level::Note };
        Some(Finding { level, ..finding })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_are_added_up_by_path_and_people_weigh_more_than_requests() {
        let at = |hour| format!("2026-11-21T{hour:02}:00:00Z").parse().unwrap();
        let hit = |path: &str, who: &str, count, hour| Hit {
            method: Method::Get,
            path: path.into(),
            caller: (!who.is_empty()).then(|| ("admin".into(), who.into())),
            count,
            last_seen: at(hour),
        };
        let all = [
            hit("/wp-login", "", 900, 3),
            hit("/new", "anna", 2, 1),
            hit("/new", "bert", 1, 2),
            hit("/new", "anna", 1, 0),
        ];
        let hits = hits(all);
        let listed: Vec<_> = hits
            .iter()
            .map(|hit| (&*hit.path, hit.people, hit.count, hit.by_strangers, hit.last_seen))
            .collect();
        assert_eq!(listed, [("/new", 2, 4, 0, at(2)), ("/wp-login", 0, 900, 900, at(3))]);

        let without = Mapping::parse("t", "version = 1").unwrap();
        let levels: Vec<_> =
            hits.iter().filter_map(|hit| hit.finding(&without)).map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Warning, Level::Note]);
        let with = "version = 1\n[blueprints.b.routes]\n\"GET /new\" = { session = true }\n";
        let with = Mapping::parse("t", with).unwrap();
        assert_eq!(hits.iter().filter_map(|hit| hit.finding(&with)).count(), 1, "a row was added since");
    }
}
