//! Repeats over an hour of a paused clock, before a store in memory.

use async_trait::async_trait;
use chrono::TimeDelta;
use clock::{Clock as _, ManualClock};
use ledger::chain::Chain;
use ledger::entry::Entry;
use ledger::event::{AuditRecord, Held};
use ledger::keys::KeyRing;
use policy::ids::Epoch;
use serde_json::Value;
use store::audit::ControlChain;
use store::{AuditStore, StoreError};

use super::*;
use crate::journal::writer::WriterOptions;

#[derive(Default)]
struct Memory {
    rows: Mutex<Vec<AuditRecord>>,
}

#[async_trait]
impl AuditStore for Memory {
    async fn append(&self, entries: &[Entry]) -> Result<(), StoreError> {
        self.rows.lock().unwrap().extend(entries.iter().map(|entry| entry.record.clone()));
        Ok(())
    }

    async fn append_missing(&self, entries: &[Entry]) -> Result<u64, StoreError> {
        self.append(entries).await.map(|()| entries.len() as u64)
    }

    async fn control_chain(&self) -> Result<ControlChain, StoreError> {
        unreachable!("nothing is read here")
    }
}

struct Bench {
    store: Arc<Memory>,
    clock: Arc<ManualClock>,
    audit: AuditWriter,
    repeats: Repeats,
}

async fn bench() -> Bench {
    let store = Arc::new(Memory::default());
    let clock = Arc::new(ManualClock::starting_at("2026-11-21T12:00:00Z".parse().unwrap()));
    let chain = Chain::new("one", KeyRing::parse(&format!("test:{}=", "A".repeat(43))).unwrap());
    let options = WriterOptions { batch: 1, patience: Duration::from_secs(1), spool: None };
    let audit = AuditWriter::start(store.clone(), chain, clock.clone(), None, &options).await.unwrap();
    let repeats = Repeats::start(audit.clone(), clock.clone());
    Bench { store, clock, audit, repeats }
}

fn denied(actor: &str, path: &str) -> AccessDenied {
    AccessDenied {
        actor_kind: "admin",
        actor_id: actor.to_owned(),
        session: Some("s".to_owned()),
        request_id: "r".to_owned(),
        client_address: Some("203.0.113.0/24".to_owned()),
        method: Method::Get,
        path: path.to_owned(),
        route: None,
        reason: "unmapped_route",
        required: vec!["a row in the mapping".to_owned()],
        held: Held::default(),
        mapping_sha256: MappingSha256::new("m"),
        epoch: Some(Epoch(7)),
    }
}

impl Bench {
    /// As a request does it: whether it was counted only.
    async fn deny(&self, denied: AccessDenied) -> bool {
        let statement = Statement::of(&denied);
        if self.repeats.count(&statement, &denied.request_id).is_some() {
            return true;
        }
        let (method, reason, mapping) = (denied.method, denied.reason, denied.mapping_sha256.clone());
        let record = AuditEvent::AccessDenied(Box::new(denied)).into_record(self.clock.now());
        let row = record.id;
        self.audit.write(record).await.unwrap();
        self.repeats.begin(statement, First { row, method, reason, mapping });
        false
    }

    async fn pass(&self, time: Duration) {
        self.clock.turn(TimeDelta::from_std(time).unwrap());
        tokio::time::sleep(time).await;
    }

    fn rows(&self, event_type: &str) -> Vec<AuditRecord> {
        let rows = self.store.rows.lock().unwrap();
        rows.iter().filter(|row| row.event_type == event_type).cloned().collect()
    }
}

fn detail(row: &AuditRecord) -> &Value {
    row.detail.as_ref().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_hours_repeats_are_one_row_that_names_the_first() {
    let bench = bench().await;
    assert!(!bench.deny(denied("anna", "/poll")).await);
    for number in 0..59 {
        bench.pass(Duration::from_secs(60)).await;
        let repeat = AccessDenied {
            request_id: format!("r{number}"),
            epoch: Some(Epoch(number)),
            ..denied("anna", "/poll")
        };
        assert!(bench.deny(repeat).await);
    }
    assert_eq!(bench.rows("denials_repeated"), []);
    bench.pass(Duration::from_secs(70)).await;
    let (firsts, repeats) = (bench.rows("access_denied"), bench.rows("denials_repeated"));
    assert_eq!((firsts.len(), repeats.len()), (1, 1));
    let expected = json!({
        "first": firsts[0].id.to_string(),
        "count": 59,
        "since_utc": "2026-11-21T12:01:00.000000Z",
        "until_utc": "2026-11-21T12:59:00.000000Z",
    });
    assert_eq!(*detail(&repeats[0]), expected);
    // The first row names the actor, and an erasure of that one is enough.
    let [row] = &repeats[..] else { unreachable!() };
    assert_eq!((&*row.actor_kind, &row.actor_id, &row.session_id), ("gate", &None, &None));
    assert_eq!((&row.client_address, &row.path), (&None, &None));
    assert_eq!((row.request_id.as_deref(), row.method.as_deref()), (Some("r58"), Some("GET")));
    assert_eq!((row.reason.as_deref(), row.mapping_sha256.as_deref()), (Some("unmapped_route"), Some("m")));
    // The next hour begins with a row of its own, and one that nothing repeats leaves no second row.
    assert!(!bench.deny(denied("anna", "/poll")).await);
    bench.pass(Duration::from_secs(2 * 60 * 60)).await;
    assert_eq!((bench.rows("access_denied").len(), bench.rows("denials_repeated").len()), (2, 1));
}

/// Exactly an hour after the first: whatever the task that looks for ended ones is at.
#[tokio::test(start_paused = true)]
async fn an_hour_ends_by_itself_and_not_by_a_look() {
    let bench = bench().await;
    bench.deny(denied("anna", "/poll")).await;
    assert!(bench.deny(denied("anna", "/poll")).await);
    tokio::time::advance(HOUR).await;
    assert!(!bench.deny(denied("anna", "/poll")).await);
}

#[tokio::test(start_paused = true)]
async fn what_says_anything_else_has_its_own_row() {
    let bench = bench().await;
    let first = denied("anna", "/poll");
    assert!(!bench.deny(first.clone()).await);
    let others = [
        denied("bert", "/poll"),
        denied("anna", "/Poll"),
        AccessDenied { actor_kind: "machine", ..first.clone() },
        AccessDenied { client_address: Some("198.51.100.0/24".to_owned()), ..first.clone() },
        AccessDenied { method: Method::Post, ..first.clone() },
        AccessDenied { held: Held { groups: vec!["g".to_owned()], ..Held::default() }, ..first.clone() },
        AccessDenied { mapping_sha256: MappingSha256::new("n"), ..first.clone() },
        AccessDenied { reason: "missing_role", ..first.clone() },
    ];
    for other in &others {
        assert!(!bench.deny(other.clone()).await, "{other:?}");
    }
    // A session whose cookie was signed anew is the same person.
    let signed_anew = AccessDenied { session: Some("t".to_owned()), ..first.clone() };
    for again in others.into_iter().chain([first, signed_anew]) {
        assert!(bench.deny(again.clone()).await, "{again:?}");
    }
    assert_eq!(bench.rows("access_denied").len(), 9);
}

#[tokio::test(start_paused = true)]
async fn the_counts_are_written_when_the_gate_stops() {
    let bench = bench().await;
    for _ in 0..3 {
        bench.deny(denied("anna", "/poll")).await;
        bench.deny(denied("bert", "/poll")).await;
    }
    bench.deny(denied("carl", "/once")).await;
    bench.repeats.finish(Duration::from_secs(5)).await;
    let counts: Vec<Value> =
        bench.rows("denials_repeated").iter().map(|row| detail(row)["count"].clone()).collect();
    assert_eq!(counts, [2, 2]);
    // A request that is late is recorded like any other.
    assert!(!bench.deny(denied("anna", "/poll")).await);
    assert!(!bench.deny(denied("anna", "/poll")).await);
}

/// A scanner is recorded path by path, as ever, and takes no room from the others.
#[tokio::test(start_paused = true)]
async fn what_is_counted_at_a_time_is_bounded() {
    let bench = bench().await;
    let first = || First {
        row: Uuid::now_v7(),
        method: Method::Get,
        reason: "unmapped_route",
        mapping: MappingSha256::new("m"),
    };
    let statement =
        |actor: usize, path: usize| Statement::of(&denied(&format!("admin-{actor}"), &format!("/{path}")));
    for path in 0..=MOST_OF_ONE {
        bench.repeats.begin(statement(0, path), first());
    }
    let counts = |actor, path| bench.repeats.count(&statement(actor, path), "r").is_some();
    assert!(counts(0, MOST_OF_ONE - 1) && !counts(0, MOST_OF_ONE));
    for actor in 1..=MOST / MOST_OF_ONE {
        for path in 0..MOST_OF_ONE {
            bench.repeats.begin(statement(actor, path), first());
        }
    }
    let last = MOST / MOST_OF_ONE;
    assert!(counts(last - 1, MOST_OF_ONE - 1) && !counts(last, 0));
    assert_eq!(bench.repeats.shared.state().open.len(), MOST);
    // An hour later there is room again.
    bench.pass(HOUR + LOOK * 2).await;
    assert!(bench.repeats.shared.state().of_principal.is_empty());
    bench.repeats.begin(statement(0, MOST_OF_ONE), first());
    assert!(counts(0, MOST_OF_ONE));
}

/// What the audit's queue did not take waits for the next look.
#[tokio::test(start_paused = true)]
async fn a_full_audit_delays_the_counts_and_loses_none() {
    let bench = bench().await;
    let series = 200;
    for path in 0..series {
        let path = format!("/{path}");
        bench.deny(denied("anna", &path)).await;
        assert!(bench.deny(denied("anna", &path)).await);
    }
    // The queue of a writer with batches of one has 16 places, and 200 rows come at once.
    bench.pass(HOUR + LOOK * 20).await;
    assert_eq!(bench.rows("denials_repeated").len(), series);
}
