//! The paths that are stored in an hour.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};

use super::{Decision, DecisionRecord, Keeping};

/// The bounds, and the paths of the present hour.
pub(super) struct Paths {
    most: usize,
    most_anonymous: usize,
    hasher: RandomState,
    met: Mutex<Met>,
}

/// Hashes: if two paths share one, both are stored, and nothing else happens.
#[derive(Default)]
struct Met {
    hour: Option<DateTime<Utc>>,
    paths: HashSet<u64>,
    anonymous: HashSet<u64>,
}

impl Paths {
    pub(super) fn new(keeping: Keeping) -> Paths {
        Paths {
            most: keeping.paths_an_hour,
            most_anonymous: keeping.anonymous_paths_an_hour,
            hasher: RandomState::new(),
            met: Mutex::default(),
        }
    }

    /// Whether this hour stores the path. A new path is added, if there is room.
    pub(super) fn admit(&self, decision: &Decision<'_>) -> bool {
        let hour = DecisionRecord::hour_of(decision.at);
        let path = self.hasher.hash_one((decision.method, decision.path));
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        // A slow request across the end of an hour does not open the old hour again.
        if met.hour.is_none_or(|present| present < hour) {
            *met = Met { hour: Some(hour), ..Met::default() };
        }
        let (paths, most) = match decision.actor {
            Some(_) => (&mut met.paths, self.most),
            None => (&mut met.anonymous, self.most_anonymous),
        };
        paths.contains(&path) || (paths.len() < most && paths.insert(path))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use policy::ids::MappingSha256;

    #[test]
    fn a_scanner_does_not_take_the_room_of_the_people() {
        let keeping = Keeping { days: 30, paths_an_hour: 2, anonymous_paths_an_hour: 1 };
        let paths = Paths::new(keeping);
        let (mapping, noon) = (MappingSha256::new("m"), DateTime::<Utc>::UNIX_EPOCH);
        let admits = |path: &str, actor, at| {
            let decision = Decision {
                at,
                method: "GET",
                path,
                route: None,
                cluster: None,
                gate: "none",
                actor,
                answer: "login",
                reason: "",
                mapping: &mapping,
            };
            paths.admit(&decision)
        };
        let anna = Some(("admin", "anna"));
        let later = noon + TimeDelta::hours(1);
        for (path, actor, at, expected) in [
            ("/scan/1", None, noon, true),
            ("/scan/2", None, noon, false),
            ("/scan/3", None, noon, false),
            ("/a", anna, noon, true),
            ("/b", anna, noon, true),
            ("/c", anna, noon, false),
            ("/a", anna, noon, true),
            ("/scan/1", None, noon, true),
            ("/a", None, noon, false),
            ("/c", anna, later, true),
            ("/scan/2", None, later, true),
            ("/d", anna, noon, true),
            ("/e", anna, later, false),
        ] {
            assert_eq!(admits(path, actor, at), expected, "{path} {actor:?} {at}");
        }
    }
}
