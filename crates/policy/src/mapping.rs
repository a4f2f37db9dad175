//! `routes.toml`: what each route requires of its caller.
//!
//! Reading order: [`table`] (the types), [`pattern`] and [`matcher`] (Werkzeug's routing, exactly), [`parse`] (text to
//! table, all mistakes at once), [`catalog_check`] (the table against the existing roles), [`Mapping::review`] (remarks
//! that are not mistakes). Pure: no I/O.

pub mod approval;
pub mod catalog_check;
mod clusters;
pub mod converter;
pub mod effective;
mod legacy;
pub mod matcher;
pub mod order;
pub mod parse;
pub mod pattern;
pub mod pattern_error;
mod pieces;
mod quiet;
pub mod reader;
pub mod regions;
mod review;
pub mod rollout;
mod row;
mod row_count;
mod schema;
pub mod table;
pub mod taken_back;
mod turned;

pub use crate::diagnostic::{Diagnostic, Diagnostics};
pub use rollout::{ClusterMode, Cohort, Rollout, SoakTerms};
pub use row_count::{Counted, counted};
pub use table::{
    BodyField, BodyRule, CustomerPlace, Decided, Forbidden, Found, Freshness, Mapping, Row, RowKind,
    TicketRule, Totp, Unauthenticated, Unmapped, V2Gate,
};
pub use turned::{NotTurned, turned};

#[cfg(test)]
mod tests;
