//! The real gate in front of a real Console: one test binary, one gunicorn and one Postgres for all of it.
//!
//! What is expected is stated from `tests/data/console_routes.csv` and `tests/data/rbac_seed.toml`, read here by
//! other code than the gate's own. Needs Python with `tests/console/requirements.txt` (CONSOLE_PYTHON, or `.venv` in
//! the project's folder) and a Postgres server (see `tests/support/postgres.rs`).

#![allow(clippy::panic, reason = "a test fails by panicking")]
#![allow(
    unreachable_pub,
    reason = "a test binary has no outside; `pub` marks what the tests may use of `support`"
)]

#[path = "../support/again.rs"]
#[allow(dead_code, reason = "others use more of it")]
mod again;
#[allow(dead_code, reason = "tests/faults shares it, and uses its own part")]
mod support;

#[path = "../support/promtool.rs"]
mod promtool;

mod access_log;
mod admin_address;
mod alerts;
mod audit_log;
mod auditor;
mod authzen;
mod certification;
mod cohort;
mod corpus;
mod cutover;
mod decisions;
mod drift;
mod evidence;
mod explain;
mod forward_auth;
mod framing;
mod freshness;
mod gate_api;
mod golden;
mod half_written;
mod headers;
mod honest;
mod identity;
mod key_set;
mod kill_switch;
mod late_database;
mod least_role;
mod lifecycle;
mod listening;
mod lying_upstream;
mod matrix;
mod metrics;
mod mirror;
mod odd_rows;
mod other_rows;
mod pages;
mod people_pages;
mod push;
mod quiet;
mod raptor;
mod rbac_api;
mod reports;
mod request_ids;
mod rollback;
mod routes_file;
mod schema;
mod sessions;
mod silence;
mod soak;
mod strangers;
mod streams;
mod systemd;
mod tickets;
mod traces;
mod troubles;
mod unknown_machines;
mod unrecorded;
mod upstream_refusals;
mod upstream_requests;
mod upstreams;
mod verify;
