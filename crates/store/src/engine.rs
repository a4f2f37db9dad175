//! How statements reach a database: connections and pools of Postgres and SQLite, one statement for both, transactions, errors.

pub(crate) mod change;
pub(crate) mod connection;
pub mod error;
pub(crate) mod postgres;
pub(crate) mod reused;
pub(crate) mod rows;
pub(crate) mod shared;
pub(crate) mod sql;
pub(crate) mod sqlite;
pub(crate) mod tolerant;
