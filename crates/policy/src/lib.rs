//! Who may do what: all decisions, as pure functions.
//!
//! - [`mapping`]: `routes.toml`: what each route requires of its caller, matched as Werkzeug matches.
//! - [`firewall`]: which requests are refused before any lookup.
//! - [`identity`]: a request's credential, verified.
//! - [`body`]: where a body ends, and which of its bytes are data.
//! - [`rbac`]: what a principal holds.
//! - [`response`]: which responses of Console are passed on, and where each ends.
//! - [`decision`]: whether that access is enough.
//! - [`ids`], [`method`], [`hex`], [`diagnostic`]: the smallest types, and findings with places.
//!
//! No clock, no randomness, no I/O: callers pass in values that depend on them.

#![forbid(unsafe_code)]

pub mod body;
pub mod decision;
pub mod diagnostic;
mod field_buffer;
pub mod firewall;
pub mod hex;
pub mod identity;
pub mod ids;
pub mod mapping;
pub mod method;
pub mod rbac;
pub mod response;
pub mod span;
pub mod text;
