//! The tamper evidence of the audit: the chain, its checkpoints and keys, without a database.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot do")]

mod any_change;
mod checkpoints;
mod damage;
mod golden;
mod keys;
mod stored;
#[path = "../support/stored_event.rs"]
mod stored_event;
mod support;
