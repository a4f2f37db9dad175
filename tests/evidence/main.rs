//! What it costs to keep evidence, and that nothing of it is lost in a flood. A binary of its own, for it counts every
//! allocation of its process.
//!
//! `make faults` runs it optimised and in its large edition (`GATE_FAULTS=full`). Each test prints what it measured in a
//! line that begins with `evidence:`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot do")]

#[path = "../support/postgres.rs"]
mod postgres;

mod flood;
mod memory;
mod scene;

#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

/// What one test allocates must not be counted in another.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
