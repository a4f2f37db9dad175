//! Alerts: each channel against a real server with its documented answers, errors and slowness; the outbox and the work that is
//! done now and then on both databases, under a clock that the tests turn.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot do")]

#[path = "../store/database.rs"]
#[allow(dead_code, reason = "each test binary uses its own part of it")]
mod database;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/template.rs"]
mod template;

mod mail_server;
mod scene;
mod web_server;

/// Makes one test for each database of every case.
macro_rules! on_both {
    ($($case:ident),+ $(,)?) => { $(
        mod $case {
            use crate::database::Database;

            #[tokio::test]
            async fn sqlite() {
                super::$case(Database::sqlite().await).await;
            }

            #[tokio::test]
            async fn postgres() {
                super::$case(Database::postgres().await).await;
            }
        }
    )+ };
}

mod canary;
mod outbox;
mod postmark;
mod reviews;
mod slack;
mod smtp;
mod upkeep;
