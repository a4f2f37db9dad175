//! One suite for both databases.
//!
//! Each case is written once, as an async function over a [`Database`], and `on_both!` makes two tests of it:
//! `tokens::names_and_hashes_are_unique::sqlite` and `tokens::names_and_hashes_are_unique::postgres`. What only one database can show says
//! so in its name. Where a fact has to be put in or looked at around the gate, it is by plain SQL.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot do")]

#[path = "../support/again.rs"]
#[allow(dead_code, reason = "each test binary uses its own part of it")]
mod again;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/stored_event.rs"]
mod stored_event;
#[path = "../support/template.rs"]
mod template;

mod database;

/// Makes one test for each database of every case. `from empty_sqlite, empty_postgres: case` begins with those.
macro_rules! on_both {
    ($($case:ident),+ $(,)?) => { on_both!(from sqlite, postgres: $($case),+); };
    (from $sqlite:ident, $postgres:ident: $($case:ident),+ $(,)?) => { $(
        mod $case {
            use crate::database::Database;

            #[tokio::test]
            async fn sqlite() {
                super::$case(&Database::$sqlite().await).await;
            }

            #[tokio::test]
            async fn postgres() {
                super::$case(&Database::$postgres().await).await;
            }
        }
    )+ };
}

mod access;
mod adoption;
mod append_only;
mod audit;
mod audit_batches;
mod break_glass;
mod causes;
mod census;
mod consoles;
mod control;
mod decisions;
mod drift;
mod epoch;
mod everybody;
mod evidence;
mod grants;
mod hit_rate;
mod inheritance;
mod instances;
mod mappings;
mod migrations;
mod mirror;
mod odd_rows;
mod patient_migration;
mod people;
mod rbac_changes;
mod requests;
mod reserved;
mod retention;
mod running;
mod sealed_grants;
mod secrets;
mod seed;
mod session_changes;
mod sessions;
mod signoffs;
mod soak;
mod stranger;
mod tenants;
mod tickets;
mod tokens;
mod unavailable;
mod way_back;
mod who;
