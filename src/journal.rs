//! The journal: what happened, made durable.
//!
//! The audit's records go through the [`writer`], which makes a denial's record durable before the denial is answered:
//!
//! ```text
//! event -> record -> draft -> (chain) -> entry -> database, or spool -> database
//!                                           \-> checkpoint, now and then, to a second place
//! ```
//!
//! A denial on a path that no row covers is written once an hour, with the count of its [`repeats`] in a second row.
//!
//! The other reports of requests, drift and the decision log, are added up in memory ([`tally`]) and written behind the
//! answers; so are Console's own refusals of requests that the gate let in ([`refusals`]). The last requests that the
//! firewall refused are kept only in memory ([`refused`]).

mod backlog;
mod bringing;
mod chain_writer;
pub mod checkpoint_sink;
pub mod checkpoints;
pub mod control_watch;
pub mod decision_log;
pub mod drift;
pub mod erasure;
mod finishing;
pub mod key_file;
pub mod kms;
pub(crate) mod log_limit;
pub mod mirror;
pub mod orphans;
pub mod refusals;
pub mod refused;
pub mod repeats;
pub mod spool;
pub mod tally;
pub mod writer;

pub use writer::{AuditError, AuditWriter};
