//! The gate's tables: where they are, their migrations, the privileges that a role needs, copies of a SQLite file.

pub mod backup;
pub mod migrations;
pub mod placement;
pub mod privileges;
pub mod rights;
pub(crate) mod terms;
