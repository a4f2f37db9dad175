//! Leases of gates, and the feed over which changes are pushed.

use std::time::Duration;

use chrono::TimeDelta;
use policy::ids::{Epoch, InstanceId};
use store::instances::{Hint, Lease, Renewal};

use crate::database::{Database, noon};

const LENGTH: Duration = Duration::from_millis(2_000);
/// A busy machine is slow; a sign that does not come does not come at all.
const PATIENCE: Duration = Duration::from_secs(20);

fn renewal(instance: &str, acknowledged: i64) -> Renewal {
    Renewal {
        instance: InstanceId::new(instance),
        name: format!("host/{instance}"),
        started_at: noon(),
        now: noon(),
        length: LENGTH,
        acknowledged: Epoch(acknowledged),
    }
}

fn lease(instance: &str, renewals: i64, acknowledged: i64) -> Lease {
    Lease {
        instance: InstanceId::new(instance),
        name: format!("host/{instance}"),
        renewals,
        length: LENGTH,
        acknowledged: Epoch(acknowledged),
    }
}

async fn a_renewal_is_there_for_others_when_it_returns(database: &Database) {
    let others = Database::open(&database.url).await;
    assert_eq!(others.store.leases().await.unwrap(), []);
    let mut feed = database.store.feed().await.unwrap();
    for renewals in 1..20 {
        feed.renew(&renewal("a", renewals)).await.unwrap();
        assert_eq!(others.store.leases().await.unwrap(), [lease("a", renewals, renewals)]);
    }
    feed.renew(&renewal("b", 7)).await.unwrap();
    assert_eq!(others.store.leases().await.unwrap(), [lease("a", 19, 19), lease("b", 1, 7)]);
}

async fn a_lease_is_ended_only_as_it_was_read(database: &Database) {
    let mut feed = database.store.feed().await.unwrap();
    feed.renew(&renewal("a", 1)).await.unwrap();
    feed.renew(&renewal("b", 1)).await.unwrap();
    let read = database.store.leases().await.unwrap();
    feed.renew(&renewal("a", 1)).await.unwrap();
    database.store.end_leases(&read, noon()).await.unwrap();
    assert_eq!(database.store.leases().await.unwrap(), [lease("a", 2, 1)]);
    // A gate that was taken for dead and is not has a lease again.
    feed.renew(&renewal("b", 1)).await.unwrap();
    assert_eq!(database.store.leases().await.unwrap(), [lease("a", 2, 1), lease("b", 2, 1)]);
}

async fn ended_leases_are_forgotten_after_a_day(database: &Database) {
    let mut feed = database.store.feed().await.unwrap();
    feed.renew(&renewal("dead", 1)).await.unwrap();
    feed.renew(&renewal("live", 1)).await.unwrap();
    database.store.end_leases(&[lease("dead", 1, 1)], noon()).await.unwrap();
    let rows = "SELECT count(*) FROM gate_instances";
    database.store.end_leases(&[], noon() + TimeDelta::hours(23)).await.unwrap();
    assert_eq!(database.number(rows).await, 2);
    // However old it looks: a lease that nobody has waited out may be trusted under.
    database.store.end_leases(&[], noon() + TimeDelta::hours(25)).await.unwrap();
    assert_eq!(database.number(rows).await, 1);
    assert_eq!(database.store.leases().await.unwrap(), [lease("live", 1, 1)]);
}

async fn who_leaves_has_no_lease(database: &Database) {
    let mut feed = database.store.feed().await.unwrap();
    feed.renew(&renewal("a", 1)).await.unwrap();
    feed.renew(&renewal("b", 1)).await.unwrap();
    database.store.leave(&InstanceId::new("a")).await.unwrap();
    assert_eq!(database.store.leases().await.unwrap(), [lease("b", 1, 1)]);
}

/// Whatever raises the epoch, a feed leads to it: by a sign that names it, or by one to look.
async fn a_feed_leads_to_every_change(database: &Database) {
    let mut feed = database.store.feed().await.unwrap();
    let before = feed.control(None).await.unwrap().row.epoch;
    for (number, change) in [
        "INSERT INTO admins (id, email) VALUES ('anna', 'anna@example.org')",
        "INSERT INTO gate_flags (name, enabled, changed_by) VALUES ('FLAG_RBAC_V2', TRUE, 'ben')",
        "DELETE FROM admins",
        // By hand, as after a restored backup.
        "UPDATE gate_epoch SET epoch = epoch + 1000",
    ]
    .into_iter()
    .enumerate()
    {
        database.execute(change).await;
        let expected = Epoch(database.epoch().await);
        assert!(expected > before, "{change}");
        let heard = async {
            loop {
                match feed.hint().await.unwrap() {
                    Hint::Rose(Some(epoch)) if epoch == expected => break,
                    Hint::Look if !database.is_postgres() => break,
                    other => println!("{number}: {other:?}"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.unwrap_or_else(|_| panic!("no sign of: {change}"));
        assert_eq!(feed.control(None).await.unwrap().row, database.store.control().await.unwrap());
    }
}

/// The keeper drops the call whenever something else comes first.
#[tokio::test]
async fn no_sign_is_lost_when_the_wait_for_it_is_dropped_on_postgres() {
    let database = Database::postgres().await;
    let mut feed = database.store.feed().await.unwrap();
    for _ in 0..200 {
        let change = database.execute("UPDATE gate_epoch SET epoch = epoch + 1");
        tokio::pin!(change);
        // Dropped again and again, at whatever point of the message it is.
        let mut early = None;
        loop {
            tokio::select! {
                biased;
                hint = feed.hint() => early = Some(hint.unwrap()),
                () = &mut change => break,
                () = tokio::task::yield_now() => {}
            }
        }
        let expected = Hint::Rose(Some(Epoch(database.epoch().await)));
        let hint = match early {
            Some(hint) => hint,
            None => tokio::time::timeout(PATIENCE, feed.hint()).await.expect("the sign").unwrap(),
        };
        assert_eq!(hint, expected);
    }
}

/// What arrives while a statement is answered waits, and is not behind what the statement has read.
#[tokio::test]
async fn signs_that_come_during_a_statement_are_waiting_after_it_on_postgres() {
    let database = Database::postgres().await;
    let mut feed = database.store.feed().await.unwrap();
    for _ in 0..100 {
        database.execute("UPDATE gate_epoch SET epoch = epoch + 1").await;
        let row = feed.control(None).await.unwrap().row;
        let mut last = None;
        while let Some(hint) = feed.waiting_hint() {
            last = Some(hint);
        }
        // The backend may announce it before the statement or right after it; not never.
        let last = match last {
            Some(hint) => hint,
            None => tokio::time::timeout(PATIENCE, feed.hint()).await.expect("the sign").unwrap(),
        };
        assert_eq!(last, Hint::Rose(Some(row.epoch)));
    }
}

/// A feed that reconnected by itself would hide what it has missed.
#[tokio::test]
async fn a_feed_that_lost_its_connection_says_so_on_postgres() {
    let database = Database::postgres().await;
    let mut feed = database.store.feed().await.unwrap();
    let terminated = database
        .number(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
              WHERE application_name = 'console-gate push' AND datname = current_database()",
        )
        .await;
    assert_eq!(terminated, 1);
    let outcome = tokio::time::timeout(PATIENCE, feed.hint()).await.expect("an answer");
    assert!(outcome.is_err(), "{outcome:?}");
}

on_both!(
    a_renewal_is_there_for_others_when_it_returns,
    a_lease_is_ended_only_as_it_was_read,
    ended_leases_are_forgotten_after_a_day,
    who_leaves_has_no_lease,
    a_feed_leads_to_every_change,
);
