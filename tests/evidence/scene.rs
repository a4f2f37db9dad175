//! A database, a decision log on it, and different requests.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clock::SystemClock;
use console_gate::journal::decision_log::{Decision, DecisionLog, Keeping};
use policy::ids::MappingSha256;
use store::{DatabaseUrl, SharedStore, StoreOptions};

use crate::postgres::Postgres;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

pub(crate) async fn store(database: Database, folder: &tempfile::TempDir) -> SharedStore {
    let url = match database {
        Database::Sqlite => format!("sqlite:{}", folder.path().join("gate.sqlite").display()),
        Database::Postgres => Postgres::shared().database(),
    };
    let url = DatabaseUrl::parse(&url).unwrap();
    let options = StoreOptions {
        url,
        max_connections: 4,
        timeout: Duration::from_secs(10),
        console: store::console::Relations::default(),
    };
    let store = store::open(&options).await.unwrap();
    store.migrate_seeded().await.unwrap();
    store
}

pub(crate) async fn log(store: SharedStore) -> DecisionLog {
    let keeping = Keeping { days: 30, paths_an_hour: 1_000_000, anonymous_paths_an_hour: 3 };
    DecisionLog::start(store, Arc::new(SystemClock), keeping, "tests/1").await.unwrap()
}

/// Requests, no two of which are one row: 100 people, and as many paths as it takes.
pub(crate) struct Requests {
    paths: Vec<String>,
    people: Vec<String>,
    route: Arc<str>,
    cluster: Arc<str>,
    mapping: MappingSha256,
}

impl Requests {
    pub(crate) fn different(count: usize) -> Requests {
        Requests {
            paths: (0..count.div_ceil(100))
                .map(|path| format!("/console/customers/{path}/tickets"))
                .collect(),
            people: (0..100).map(|person| format!("{person:08x}-0000-7000-8000-000000000000")).collect(),
            route: "GET /console/customers/<id>/tickets".into(),
            cluster: "S3".into(),
            mapping: MappingSha256::new("ab".repeat(32)),
        }
    }

    pub(crate) fn one(&self, number: usize, at: DateTime<Utc>) -> Decision<'_> {
        let (person, path) = (number % 100, number / 100);
        Decision {
            at,
            method: "GET",
            path: &self.paths[path % self.paths.len()],
            route: Some(&self.route),
            cluster: Some(&self.cluster),
            gate: "shadow",
            actor: Some(("admin", &self.people[person])),
            answer: "allow",
            reason: "",
            mapping: &self.mapping,
        }
    }
}

/// The size of a test: the small edition, or the one of `make faults`.
pub(crate) fn size(small: usize, full: usize) -> usize {
    if std::env::var("GATE_FAULTS").is_ok_and(|edition| edition == "full") { full } else { small }
}

/// The time that the processor has spent on this process.
pub(crate) fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The name may hold blanks; it ends with the last parenthesis. User and system time, in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}
