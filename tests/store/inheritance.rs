//! Role inheritance is a DAG: an edge that would close a cycle is refused (the RBAC V2 design, section 3.4).

use std::time::{Duration, Instant};

use sqlx::Executor as _;
use store::StoreError;

use crate::database::{Database, Raw};

/// Roles a, b, c, d and no edge among them.
const ROLES: &str = "INSERT INTO rbac_roles (id, name) VALUES ('1', 'a'), ('2', 'b'), ('3', 'c'), ('4', 'd')";

async fn edges(database: &Database) -> Vec<String> {
    let query = "SELECT c.name || ' inherits ' || p.name AS edge FROM rbac_role_inheritance
                   JOIN rbac_roles c ON c.id = child_role_id JOIN rbac_roles p ON p.id = parent_role_id
                  WHERE length(c.name) = 1 ORDER BY edge";
    database.texts(query).await
}

async fn a_cycle_is_refused_and_a_diamond_is_not(database: &Database) {
    database.execute(ROLES).await;
    let table = [
        ("a", "a", false),
        ("a", "b", true),
        ("b", "a", false),
        ("b", "c", true),
        ("c", "a", false),
        ("c", "b", false),
        ("a", "d", true),
        ("d", "c", true),
        ("c", "d", false),
        ("d", "b", true),
        ("c", "a", false),
        ("d", "d", false),
    ];
    let mut expected = Vec::new();
    for (child, parent, is_taken) in table {
        let outcome = database.store.add_inheritance(child, parent).await;
        match outcome {
            Ok(()) if is_taken => expected.push(format!("{child} inherits {parent}")),
            Err(StoreError::Refused(_)) if !is_taken => {}
            other => panic!("{child} inherits {parent}: {other:?}"),
        }
        expected.sort();
        assert_eq!(edges(database).await, expected, "after {child} inherits {parent}");
    }
}

/// SQL that comes from elsewhere is held to it as well, in one statement or by a change of an edge.
async fn a_cycle_by_plain_sql_is_refused(database: &Database) {
    database.execute(ROLES).await;
    database.execute("INSERT INTO rbac_role_inheritance VALUES ('1', '2'), ('2', '3')").await;
    let attempts = [
        "INSERT INTO rbac_role_inheritance VALUES ('1', '1')",
        "INSERT INTO rbac_role_inheritance VALUES ('2', '1')",
        "INSERT INTO rbac_role_inheritance VALUES ('3', '1')",
        "INSERT INTO rbac_role_inheritance VALUES ('3', '4'), ('4', '1')",
        "UPDATE rbac_role_inheritance SET parent_role_id = '1' WHERE child_role_id = '2'",
        "UPDATE rbac_role_inheritance SET child_role_id = '3' WHERE child_role_id = '1'",
        "UPDATE rbac_role_inheritance SET child_role_id = parent_role_id WHERE child_role_id = '1'",
    ];
    for attempt in attempts {
        assert!(database.attempt(attempt).await.is_err(), "{attempt}");
        assert_eq!(edges(database).await, ["a inherits b", "b inherits c"], "{attempt}");
    }
}

async fn an_edge_of_an_unknown_role_is_a_conflict(database: &Database) {
    database.execute(ROLES).await;
    for (child, parent) in [("a", "nobody"), ("nobody", "a"), ("1", "2")] {
        let outcome = database.store.add_inheritance(child, parent).await;
        assert!(matches!(outcome, Err(StoreError::Conflict(_))), "{child} inherits {parent}: {outcome:?}");
    }
    assert_eq!(edges(database).await, Vec::<String>::new());
}

/// Two edges, harmless each alone. The second waits for the first, and sees it if it stays.
#[tokio::test]
async fn of_two_at_once_the_second_waits_and_looks_again_on_postgres() {
    for (first_commits, expected) in [(true, "a inherits b"), (false, "b inherits a")] {
        let database = Database::postgres().await;
        database.execute(ROLES).await;
        let Raw::Postgres(pool) = &database.raw else { panic!("not Postgres") };
        let mut first = pool.begin().await.unwrap();
        first.execute("INSERT INTO rbac_role_inheritance VALUES ('1', '2')").await.unwrap();

        let store = database.store.clone();
        let second = tokio::spawn(async move { store.add_inheritance("b", "a").await });
        let deadline = Instant::now() + Duration::from_secs(30);
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted
                          AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())";
        while database.number(waiting).await == 0 {
            assert!(!second.is_finished(), "the second did not wait");
            assert!(Instant::now() < deadline, "the second neither waits nor ends");
            tokio::task::yield_now().await;
        }
        if first_commits {
            first.commit().await.unwrap();
        } else {
            first.rollback().await.unwrap();
        }
        let outcome = second.await.unwrap();
        assert_eq!(outcome.is_err(), first_commits, "{outcome:?}");
        assert_eq!(edges(&database).await, [expected]);
    }
}

/// Many at once, each of which closes a cycle with each of the others: one is taken, whichever it is.
#[tokio::test]
async fn of_many_at_once_one_is_taken_on_postgres() {
    let database = Database::postgres().await;
    for round in 0..20 {
        let (left, right) = (format!("left {round}"), format!("right {round}"));
        database
            .execute(&format!(
                "INSERT INTO rbac_roles (id, name) VALUES ('{left}', '{left}'), ('{right}', '{right}')"
            ))
            .await;
        let store = &database.store;
        let (forth, back) =
            tokio::join!(store.add_inheritance(&left, &right), store.add_inheritance(&right, &left));
        assert!(forth.is_ok() != back.is_ok(), "round {round}: {forth:?} {back:?}");
    }
}

on_both!(
    a_cycle_is_refused_and_a_diamond_is_not,
    a_cycle_by_plain_sql_is_refused,
    an_edge_of_an_unknown_role_is_a_conflict,
);
