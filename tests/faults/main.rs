//! Faults, injected for real, against the real binary: what is promised while something is broken, and after it.
//!
//! `make test` runs each fault in a small edition; `make faults` runs the large one (`GATE_FAULTS=full`), and those tests
//! that compare times, one after the other so that none of them is another's noise. Each test prints what it measured
//! in a line that begins with `fault:`.
//!
//! The upstreams are stand-ins: what Console does is not tested here. Needs what `tests/setup.sh test` installs.

#![allow(clippy::panic, reason = "a test fails by panicking")]
#![allow(
    unreachable_pub,
    reason = "a test binary has no outside; `pub` marks what the tests may use of `support`"
)]

/// What the tests share with those of `tests/gate`.
#[path = "../gate"]
mod shared {
    #[allow(dead_code, unused_imports, reason = "each test binary uses its own part of it")]
    pub mod support;
}
use shared::support;

#[path = "../support/again.rs"]
#[allow(dead_code, reason = "each test binary uses its own part of it")]
mod again;

mod callers;
mod faulty_wire;
mod figures;
mod scene;

mod clock_turned;
mod connections;
mod denial_flood;
mod disk_full;
mod gate_killed;
mod killed_between;
mod long_audit;
mod mapping_broken;
mod packets_dropped;
mod postgres_killed;
mod rolling_restart;
mod runbooks;
mod slow_clients;
mod token_flood;
mod upstream_hangs;
