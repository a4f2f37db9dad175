//! The commands with which a mapping is prepared, run as an operator runs them: arguments, exit codes, what is printed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot do")]

mod adopt;
mod backup;
mod check;
mod config;
mod diff;
mod doctor;
mod exec;
mod explain;
mod mapping_tests;
mod mistakes;
mod odd_rows;
mod people;
mod readme;
mod runbooks;
mod scale;
mod serve;
mod ships;
mod support;
mod who;
