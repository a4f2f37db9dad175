//! Reports of commands, the API and pages about a mapping and its users. No I/O: the caller passes in the facts.
//!
//! - [`report`]: findings as text, JSON and SARIF; every kind of finding in one table.
//! - [`impact`]: who gains or loses which access by a change of the mapping.
//! - [`explanation`]: which row decides a request, how it ends for a caller, and why.
//! - [`drift`]: where the two gates disagree, and who signed it off; [`soak`]: when a cluster is ready.
//! - [`replay`]: recorded requests decided again; [`verify`]: the test cases for a running gate.
//! - [`mapping_test`]: the tests of a mapping, its coverage and its mutants.
//! - [`who`]: who could make a request, at a time or in a period, and by which grants.

#![forbid(unsafe_code)]

pub mod drift;
pub mod explanation;
pub mod impact;
pub mod mapping_test;
pub mod replay;
pub mod report;
pub mod soak;
pub mod verify;
pub mod who;
