//! What commands, the API and pages report of a mapping and of those who use it. No I/O: the facts are passed in.
//!
//! - [`report`]: findings as text, JSON and SARIF; every kind of finding in one table.
//! - [`impact`]: who gains or loses what by a change of the mapping.
//! - [`explanation`]: which row decides a request, how it ends for a caller, and why.
//! - [`drift`]: where the two gates disagree, and who signed it off; [`soak`]: when a cluster is ready.
//! - [`replay`]: recorded requests decided again; [`verify`]: the cases that a running gate is asked.
//! - [`who`]: who could make a request, at a time or in a period, and through what.

#![forbid(unsafe_code)]

pub mod drift;
pub mod explanation;
pub mod impact;
pub mod replay;
pub mod report;
pub mod soak;
pub mod verify;
pub mod who;
