//! What one of all gates does by itself: snapshots of what break-glass opens, reminders, retention.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use console_gate::upkeep::{Upkeep, glass_roles};
use store::break_glass_scope::ChangeWindow;

use crate::database::{Database, literal, noon};
use crate::scene::{Scene, notary};

on_both!(
    a_change_of_what_break_glass_opens_is_alerted_of_once,
    a_declared_change_raises_no_alert,
    a_change_beside_a_window_is_not_a_declared_one,
    what_every_gate_missed_is_done_at_once,
    holders_of_grants_that_end_soon_are_reminded_once,
    records_past_their_period_are_deleted_once_a_day,
);

fn upkeep(scene: &Scene, gate: &str) -> Upkeep {
    Upkeep {
        store: scene.database.store.clone(),
        notary: notary(),
        clock: scene.clock.clone(),
        alerts: scene.alerts(),
        gate: gate.into(),
        remind: Some(Duration::from_secs(60 * 60)),
        retention_days: Some(90),
        reviews: Default::default(),
    }
}

/// A night, and the alerts that it raised.
async fn night(scene: &Scene) -> Vec<String> {
    scene.turn(TimeDelta::days(1));
    alerts_now(scene).await
}

async fn alerts_now(scene: &Scene) -> Vec<String> {
    upkeep(scene, "gate a").glass_roles().await.unwrap();
    scene.alerts().send_due().await.unwrap();
    scene.smtp.take();
    scene.slack.take().into_iter().map(|sent| sent.text).collect()
}

async fn add_role(scene: &Scene, role: &str) {
    scene
        .database
        .execute(&format!(
            "INSERT INTO rbac_group_roles (group_id, role_id)
             SELECT g.id, r.id FROM rbac_groups g, rbac_roles r WHERE g.name = 'break-glass' AND r.name = '{role}'"
        ))
        .await;
}

async fn records(scene: &Scene, event: &str) -> i64 {
    let count = format!("SELECT count(*) FROM gate_audit_events WHERE event_type = '{event}'");
    scene.database.number(&count).await
}

async fn a_change_of_what_break_glass_opens_is_alerted_of_once(database: Database) {
    let scene = Scene::new(database);
    assert_eq!(alerts_now(&scene).await, Vec::<String>::new(), "there is nothing to compare with yet");
    assert_eq!(night(&scene).await, Vec::<String>::new());
    assert_eq!(records(&scene, "break_glass_roles").await, 0);
    add_role(&scene, "raptor-audit-admin").await;
    let alerts = night(&scene).await;
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert!(alerts[0].contains("role raptor-audit-admin added"), "{alerts:?}");
    assert!(alerts[0].contains("permission raptor:audit:read-admin added"), "{alerts:?}");
    assert_eq!(records(&scene, "break_glass_roles").await, 1);
    assert_eq!(night(&scene).await, Vec::<String>::new(), "it is known now");
    // Below the group, and not in it.
    scene
        .database
        .execute(
            "INSERT INTO rbac_role_inheritance (child_role_id, parent_role_id)
             SELECT c.id, p.id FROM rbac_roles c, rbac_roles p
              WHERE c.name = 'raptor-audit-admin' AND p.name = 'console-audit-user'",
        )
        .await;
    let alerts = night(&scene).await;
    assert!(alerts.len() == 1 && alerts[0].contains("inherited role console-audit-user added"), "{alerts:?}");
}

async fn open(scene: &Scene, hours: i64) -> ChangeWindow {
    let now = scene.now();
    let window = ChangeWindow {
        id: uuid::Uuid::new_v4().to_string(),
        opened_at: now,
        until: now + TimeDelta::hours(hours),
        opened_by: "olga".into(),
        reason: "RAXX-7".into(),
        closed_at: None,
    };
    glass_roles::open(&scene.database.store, &notary(), &window).await.unwrap();
    window
}

async fn a_declared_change_raises_no_alert(database: Database) {
    let scene = Scene::new(database);
    alerts_now(&scene).await;
    let window = open(&scene, 1).await;
    add_role(&scene, "raptor-audit-admin").await;
    let store = &scene.database.store;
    let changes = glass_roles::close(store, &notary(), &window, "olga", scene.now()).await.unwrap().unwrap();
    assert!(changes.contains(&"role raptor-audit-admin added".to_owned()), "{changes:?}");
    let again = glass_roles::close(store, &notary(), &window, "olga", scene.now()).await.unwrap();
    assert_eq!(again, None, "it is closed already");
    assert_eq!(night(&scene).await, Vec::<String>::new());
    assert_eq!(records(&scene, "change_window").await, 2);
    assert_eq!(records(&scene, "break_glass_roles").await, 1, "declared or not, it is recorded");
}

async fn a_change_beside_a_window_is_not_a_declared_one(database: Database) {
    let scene = Scene::new(database);
    alerts_now(&scene).await;
    add_role(&scene, "raptor-audit-admin").await;
    open(&scene, 1).await;
    let alerts = alerts_now(&scene).await;
    assert!(alerts.len() == 1 && alerts[0].contains("raptor-audit-admin"), "made before it: {alerts:?}");
    // The gate closes it when its time is over; what comes then is outside.
    scene.turn(TimeDelta::hours(1));
    assert_eq!(alerts_now(&scene).await, Vec::<String>::new());
    assert_eq!(scene.database.store.open_windows().await.unwrap(), []);
    add_role(&scene, "antlers-audit-self").await;
    let alerts = night(&scene).await;
    assert!(alerts.len() == 1 && alerts[0].contains("role antlers-audit-self added"), "{alerts:?}");
}

async fn what_every_gate_missed_is_done_at_once(database: Database) {
    let scene = Scene::new(database);
    alerts_now(&scene).await;
    add_role(&scene, "raptor-audit-admin").await;
    scene.turn(TimeDelta::hours(23));
    assert_eq!(alerts_now(&scene).await, Vec::<String>::new(), "not due yet");
    scene.turn(TimeDelta::days(3));
    let (one, two) = (upkeep(&scene, "gate a"), upkeep(&scene, "gate b"));
    let (first, second) = tokio::join!(one.glass_roles(), two.glass_roles());
    first.and(second).unwrap();
    let snapshots = scene.database.number("SELECT count(*) FROM gate_break_glass_snapshots").await;
    assert_eq!(snapshots, 2, "one of them does it");
    scene.alerts().send_due().await.unwrap();
    assert_eq!(scene.slack.take().len(), 1);
}

async fn holders_of_grants_that_end_soon_are_reminded_once(database: Database) {
    let scene = Scene::new(database);
    let (begun, soon, late) =
        (noon() - TimeDelta::hours(8), noon() + TimeDelta::minutes(50), noon() + TimeDelta::minutes(90));
    let grant = |id: &str, admin: &str, ends: DateTime<Utc>| {
        format!(
            "INSERT INTO gate_grants (id, admin_id, group_id, origin, granted_at_utc, starts_at_utc, ends_at_utc,
                                      reason, granted_by)
             SELECT '{id}', '{admin}', g.id, 'timed', {}, {}, {}, 'x', 'olga' FROM rbac_groups g
              WHERE g.name = 'raxx-support-team';",
            literal(begun),
            literal(begun),
            literal(ends)
        )
    };
    scene
        .database
        .execute(&format!(
            "INSERT INTO admins (id, email) VALUES ('anna', 'anna@raxx.app'), ('ben', 'nobody');{}{}{}",
            grant("soon", "anna", soon),
            grant("late", "anna", late),
            grant("without", "ben", soon)
        ))
        .await;
    let remind = async || {
        upkeep(&scene, "gate a").remind().await.unwrap();
        scene.alerts().send_due().await.unwrap();
        let to: Vec<_> = scene.smtp.take().into_iter().map(|sent| (sent.to, sent.subject)).collect();
        (to, scene.slack.take().len())
    };
    let (mails, posts) = remind().await;
    let subjects: Vec<&str> = mails.iter().map(|(_, subject)| subject.as_str()).collect();
    assert_eq!(mails.len(), 2, "{mails:?}");
    assert!(mails.iter().any(|(to, _)| to.as_deref() == Some("anna@raxx.app")), "{mails:?}");
    assert!(subjects.iter().any(|subject| subject.contains("access of ben ends at")), "{subjects:?}");
    assert_eq!(posts, 1, "whose address is unknown, the people on call hear of");
    scene.turn(TimeDelta::minutes(10));
    assert_eq!(remind().await, (vec![], 0));
    scene.turn(TimeDelta::minutes(30));
    let (mails, _) = remind().await;
    assert_eq!(mails.len(), 1, "the one that ends later: {mails:?}");
}

async fn records_past_their_period_are_deleted_once_a_day(database: Database) {
    let scene = Scene::new(database);
    let old = noon() - TimeDelta::days(91);
    let drift = |id: &str| {
        format!(
            "INSERT INTO gate_drift_events (id, cluster, route, method, actor_kind, actor_id, direction, legacy_answer,
                                            v2_answer, mapping_sha256, last_seen_at_utc)
             VALUES ('{id}', 'S1', '{id}', 'GET', 'admin', 'anna', 'would_newly_deny', 'allow', 'deny', 'm', {})",
            literal(old)
        )
    };
    let left = async || scene.database.number("SELECT count(*) FROM gate_drift_events").await;
    scene.database.execute(&drift("one")).await;
    upkeep(&scene, "gate a").retain().await.unwrap();
    assert_eq!((left().await, records(&scene, "retention_applied").await), (0, 1));
    scene.database.execute(&drift("two")).await;
    upkeep(&scene, "gate b").retain().await.unwrap();
    assert_eq!(left().await, 1, "not twice a day");
    scene.turn(TimeDelta::days(1));
    let off = Upkeep { retention_days: None, ..upkeep(&scene, "gate b") };
    off.retain().await.unwrap();
    assert_eq!(left().await, 1, "not where it is off");
    upkeep(&scene, "gate b").retain().await.unwrap();
    assert_eq!((left().await, records(&scene, "retention_applied").await), (0, 2));
    scene.turn(TimeDelta::days(1));
    upkeep(&scene, "gate b").retain().await.unwrap();
    assert_eq!(records(&scene, "retention_applied").await, 2, "nothing was there to delete");
}
