//! What is loaded again when, and what is not: a change of a session concerns its own subject alone.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use console_gate::freshness::AccessResolver;
use policy::identity::Subject;
use policy::ids::Epoch;
use policy::mapping::Freshness;
use policy::rbac::{Access, Standing};
use tokio::time::sleep;

use crate::fake::{Fake, ROLE, admin, admin_in};

const BOTH: [Freshness; 2] = [Freshness::Strict, Freshness::Push];

/// As a request does it.
async fn ask(gate: &AccessResolver, subject: &Subject, freshness: Freshness) -> Arc<Access> {
    let control = gate.observe(freshness).await.unwrap();
    gate.resolve(subject, control.epoch).await.unwrap()
}

fn loads(database: &Fake) -> u64 {
    database.loads.load(Ordering::SeqCst)
}

/// A gate that is pushed to, and has answered for ten admins in sessions of their own and for one without.
async fn warm_gate(database: &Arc<Fake>) -> (Arc<AccessResolver>, Vec<Subject>) {
    let gate = database.gate();
    let mut subjects: Vec<Subject> = (0..10).map(|number| admin_in("anna", &format!("s{number}"))).collect();
    subjects.push(admin("anna"));
    for number in 0..10 {
        database.log_in(&format!("s{number}"));
    }
    // Trust begins after it was first asked for.
    gate.observe(Freshness::Push).await.unwrap();
    sleep(Duration::from_millis(20)).await;
    for subject in &subjects {
        assert_eq!(ask(&gate, subject, Freshness::Push).await.standing, Standing::Active);
    }
    (gate, subjects)
}

#[tokio::test(start_paused = true)]
async fn a_login_costs_nobody_else_a_load() {
    for freshness in BOTH {
        let database = Fake::new();
        let (gate, subjects) = warm_gate(&database).await;
        let before = loads(&database);
        for number in 0..200 {
            database.log_in(&format!("another {number}"));
            if number % 3 == 0 {
                database.log_out(&format!("another {number}"));
            }
            sleep(Duration::from_millis(3)).await;
            for subject in &subjects {
                ask(&gate, subject, freshness).await;
            }
        }
        assert_eq!(loads(&database), before, "{freshness:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_logout_is_seen_at_once_and_costs_one_load() {
    for freshness in BOTH {
        let database = Fake::new();
        let (gate, subjects) = warm_gate(&database).await;
        for (number, subject) in subjects.iter().take(10).enumerate() {
            let before = loads(&database);
            database.log_out(&format!("s{number}"));
            sleep(Duration::from_millis(3)).await;
            assert_eq!(ask(&gate, subject, freshness).await.standing, Standing::SessionEnded, "{number}");
            for other in &subjects[number + 1..] {
                assert_eq!(ask(&gate, other, freshness).await.standing, Standing::Active);
            }
            assert_eq!(loads(&database), before + 1, "{freshness:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_role_costs_everybody_a_load() {
    for freshness in BOTH {
        let database = Fake::new();
        let (gate, subjects) = warm_gate(&database).await;
        let before = loads(&database);
        database.grant("anna");
        database.log_in("another");
        sleep(Duration::from_millis(3)).await;
        for subject in &subjects {
            assert!(ask(&gate, subject, freshness).await.roles.contains(ROLE));
        }
        assert_eq!(loads(&database), before + subjects.len() as u64, "{freshness:?}");
    }
}

/// The list is short. What it has forgotten is taken for a change that concerns everybody.
#[tokio::test(start_paused = true)]
async fn what_the_list_has_forgotten_is_loaded_again() {
    let database = Fake::new();
    let (gate, subjects) = warm_gate(&database).await;
    gate.leave().await.unwrap();
    database.log_out("s3");
    for number in 0..100 {
        database.log_in(&format!("another {number}"));
    }
    let before = loads(&database);
    assert_eq!(ask(&gate, &subjects[3], Freshness::Strict).await.standing, Standing::SessionEnded);
    assert_eq!(ask(&gate, &subjects[4], Freshness::Strict).await.standing, Standing::Active);
    assert_eq!(loads(&database), before + 2);
}

/// Somebody raises the number by hand, as after a restored backup.
#[tokio::test(start_paused = true)]
async fn a_jump_of_the_epoch_concerns_everybody() {
    let database = Fake::new();
    let (gate, subjects) = warm_gate(&database).await;
    let before = loads(&database);
    database.go_back(Epoch(database.epoch().0 + 1_000));
    ask(&gate, &subjects[0], Freshness::Strict).await;
    assert_eq!(loads(&database), before + 1);
}

/// The database is another one now, and in time its number is one that the gate has seen.
#[tokio::test(start_paused = true)]
async fn a_database_that_went_back_brings_nothing_back() {
    let database = Fake::new();
    let (gate, subjects) = warm_gate(&database).await;
    let (anna, granted) = (&subjects[0], database.grant("anna"));
    assert!(ask(&gate, anna, Freshness::Strict).await.roles.contains(ROLE));
    database.go_back(Epoch(granted.0 - 4));
    for _ in 0..10 {
        assert!(!ask(&gate, anna, Freshness::Strict).await.roles.contains(ROLE), "{}", database.epoch());
        database.log_in("another");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_for_one_subject_share_a_load() {
    let database = Fake::new();
    let gate = database.gate();
    database.grant("anna");
    database.log_in("s");
    let subject = admin_in("anna", "s");
    let asking = (0..100).map(|_| ask(&gate, &subject, Freshness::Strict));
    for access in futures::future::join_all(asking).await {
        assert!(access.roles.contains(ROLE));
    }
    assert_eq!(loads(&database), 1);
}

/// As many admins as there is room for, each asked for now and then, while others come by once.
#[tokio::test(start_paused = true)]
async fn those_who_come_often_keep_their_place() {
    let database = Fake::new();
    let gate = database.gate_that_keeps(50);
    let subjects: Vec<Subject> = (0..40).map(|number| admin(&format!("admin {number}"))).collect();
    for subject in &subjects {
        ask(&gate, subject, Freshness::Strict).await;
    }
    let before = loads(&database);
    for round in 0..100 {
        for subject in &subjects {
            ask(&gate, subject, Freshness::Strict).await;
        }
        ask(&gate, &admin(&format!("visitor {round}")), Freshness::Strict).await;
        database.log_in("another");
    }
    assert_eq!(loads(&database), before + 100, "one for each visitor");
}
