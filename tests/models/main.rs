//! Models written from the documents and not from the code, compared with running gates.
//!
//! One model says what somebody holds (section 3.4 of the RBAC V2 design), one the outcome of a request (the cutover
//! design, docs/, docs/decisions). Random people in a real database, random mappings with every key of the
//! format and random requests are put to two real gates, one with a mapping and one with the mapping that takes its place:
//! each answer must be the model's, and `explain`, `replay`, `verify` and `diff` must say what the gates answered.
//! `diff` is worked out by brute force: every request to both gates shows who gained what.
//!
//! Nothing here reads the gate's own mapping, decision or impact code. `make test` runs a short edition, `make models`
//! 100,000 pairs of request and caller (`GATE_MODELS`). The choices of `make models` are random, those of `make test`
//! always the same; each run prints its seed, and `GATE_SEED` repeats it.

#![allow(clippy::panic, reason = "a test fails by panicking")]
#![allow(
    unreachable_pub,
    reason = "a test binary has no outside; `pub` marks what the modules use of each other"
)]

/// What the tests share with those of `tests/gate`.
#[path = "../gate"]
mod shared {
    #[allow(dead_code, unused_imports, reason = "each test binary uses its own part of it")]
    pub mod support;
}
use shared::support;

/// The audit verifies, but for rows that a model has written into these tables itself, which `audit verify` has to find.
fn verifies_beside(gate: &support::Gate, written: &[&str]) {
    let (_, said) = gate.attempt(&["audit", "verify", "--all"]);
    let findings =
        said.lines().take_while(|line| !line.starts_with("clean:") && !line.starts_with("NOT CLEAN:"));
    let others: Vec<&str> =
        findings.filter(|line| !written.iter().any(|table| line.contains(table))).collect();
    assert!(others.is_empty() && (said.contains("clean:") || said.contains("NOT CLEAN:")), "{said}");
}

mod access_model;
mod agreement;
mod bench;
mod bodies;
mod callers;
mod decision_model;
mod diff_brute_force;
mod disagreement;
mod explain_report;
mod format;
mod gate_answers;
mod grants;
mod guards;
mod mappings;
mod paths;
mod random;
mod replay_report;
mod round;
mod run;
mod scenario;
mod shares;
mod shrink;
mod stand_in;
mod tally;
mod test_report;
mod verify_report;
mod ways;
mod world;
mod world_sql;

use bench::Place;
use run::{Extent, run};
use support::Database;

/// The number of pairs without `GATE_MODELS`, quick and full.
const SHORT: [usize; 2] = [3_000, 12_000];

/// Runs a share of the pairs in one place. `percent` of them all.
async fn agree(name: &str, place: Place, percent: usize) -> tally::Tally {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let wanted = number("GATE_MODELS").map(|pairs| usize::try_from(pairs).expect("a number of pairs"));
    // Without a number of pairs the seed is always the same: `make test` must say the same of the same code.
    let any = || wanted.map_or(1, |_| u64::from(rand::random::<u32>()));
    let seed = number("GATE_SEED").unwrap_or_else(any);
    let pairs = wanted.unwrap_or_else(|| support::tier::in_tier(SHORT[0], SHORT[1])) * percent / 100;
    let (explained, verified_every) = if wanted.is_some() { (usize::MAX, 5) } else { (12, 4) };
    let tally = run(name, place, Extent { pairs, explained, verified_every }, seed).await;
    assert_eq!(tally.total(), 0, "{name}: see the disagreements above; GATE_SEED={seed}");
    tally
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gates_and_reports_agree_with_the_models_on_sqlite() {
    let place = Place { database: Database::Sqlite, production: false, keeps_sessions: false };
    let tally = agree("sqlite", place, 70).await;
    assert_eq!(tally.missing_keys(), Vec::<&str>::new(), "the run was too short to meet every key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gates_and_reports_agree_with_the_models_on_postgres() {
    let place = Place { database: Database::Postgres, production: false, keeps_sessions: false };
    agree("postgres", place, 10).await;
}

/// Under I-11: V2 is enforced once it is promoted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gates_agree_with_the_models_in_production() {
    let place = Place { database: Database::Sqlite, production: true, keeps_sessions: false };
    agree("production", place, 10).await;
}

/// Where Console keeps sessions and a cookie names its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gates_agree_with_the_models_about_sessions() {
    let place = Place { database: Database::Sqlite, production: false, keeps_sessions: true };
    agree("sessions", place, 10).await;
}
