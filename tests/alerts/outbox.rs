//! Deliveries and the outbox.

use std::time::Duration;

use chrono::TimeDelta;
use grants::alerts::{OUTBOX, look_when_due};
use store::alerts::StoredAlert;

use crate::database::{Database, noon};
use crate::scene::{Answer, PATIENCE, Scene, alert};

on_both!(
    one_acceptance_is_enough_and_the_others_try_again,
    without_an_acceptance_nothing_is_kept,
    a_channel_that_hangs_holds_nothing_up,
    a_key_is_sent_once_to_each_channel,
    pauses_grow_and_a_channel_gets_the_one_it_asks_for,
    a_channel_that_is_down_or_unknown_delays_nobody_elses,
    one_gate_sends_and_old_alerts_are_forgotten,
    a_mail_for_an_admin_goes_to_its_address_alone,
);

const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Waits until so many alerts are kept: a delivery returns before its rows are written.
async fn kept(scene: &Scene, count: usize) -> Vec<StoredAlert> {
    let look = async {
        loop {
            let kept = scene.kept().await;
            if kept.len() == count {
                return kept;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("the rows are written soon")
}

async fn one_acceptance_is_enough_and_the_others_try_again(database: Database) {
    let scene = Scene::new(database);
    let alerts = scene.alerts();
    scene.slack.will(&[Answer::Refuse]);
    let receipts = alerts.deliver(&alert("one")).await.unwrap();
    assert_eq!(receipts.len(), 1);
    assert_eq!((receipts[0].channel.as_str(), receipts[0].reference.as_str()), ("smtp", "smtp took one"));
    assert_eq!(receipts[0].at, noon());
    let rows = kept(&scene, 2).await;
    assert_eq!((rows[0].channel.as_str(), rows[0].error.as_deref()), ("slack", Some("no")));
    assert_eq!(rows[0].next_at_utc, Some(noon() + TimeDelta::seconds(30)));
    assert_eq!((rows[1].sent_at_utc, rows[1].next_at_utc), (Some(noon()), None));
    scene.slack.take();
    assert_eq!(alerts.send_due().await.unwrap(), 0, "not before its time");
    scene.turn(TimeDelta::seconds(30));
    assert_eq!(alerts.send_due().await.unwrap(), 1);
    let sent = scene.slack.take();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].subject.as_str(), sent[0].text.as_str()), ("Anna breaks the glass", "For an hour."));
    let rows = scene.kept().await;
    assert_eq!((rows[0].attempts, rows[0].next_at_utc, rows[0].error.as_deref()), (2, None, None));
    assert_eq!(rows[0].reference.as_deref(), Some("slack took one"));
    assert_eq!(scene.smtp.take().len(), 1, "who accepted it is left alone");
}

async fn without_an_acceptance_nothing_is_kept(database: Database) {
    let scene = Scene::new(database);
    scene.slack.will(&[Answer::Refuse]);
    scene.smtp.will(&[Answer::Never]);
    let error = scene.alerts_within(Duration::from_millis(100)).deliver(&alert("one")).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("slack: no") && text.contains("smtp: no answer within 100ms"), "{text}");
    assert_eq!(scene.kept().await, []);
    scene.turn(TimeDelta::hours(2));
    assert_eq!(scene.alerts().send_due().await.unwrap(), 0);
}

async fn a_channel_that_hangs_holds_nothing_up(database: Database) {
    let scene = Scene::new(database);
    scene.smtp.will(&[Answer::Never]);
    // Its deadline is much later than this test would wait.
    let delivery = scene.alerts_within(Duration::from_secs(600));
    let receipts = tokio::time::timeout(PATIENCE, delivery.deliver(&alert("one"))).await;
    assert_eq!(receipts.expect("one acceptance is enough").unwrap().len(), 1);
    // Its late failure is kept as any other.
    scene.smtp.will(&[Answer::Never]);
    scene.alerts_within(Duration::from_millis(700)).deliver(&alert("two")).await.unwrap();
    let rows = kept(&scene, 2).await;
    assert_eq!(
        (rows[1].channel.as_str(), rows[1].error.as_deref()),
        ("smtp", Some("no answer within 700ms"))
    );
    assert!(rows[1].next_at_utc.is_some());
}

async fn a_key_is_sent_once_to_each_channel(database: Database) {
    let scene = Scene::new(database);
    let alerts = scene.alerts();
    alerts.enqueue(&alert("one")).await.unwrap();
    alerts.enqueue(&alert("one")).await.unwrap();
    assert_eq!(alerts.send_due().await.unwrap(), 2);
    alerts.enqueue(&alert("one")).await.unwrap();
    assert_eq!(alerts.send_due().await.unwrap(), 0);
    alerts.enqueue(&alert("two")).await.unwrap();
    assert_eq!(alerts.send_due().await.unwrap(), 2);
    assert_eq!((scene.slack.take().len(), scene.smtp.take().len()), (2, 2));
}

async fn pauses_grow_and_a_channel_gets_the_one_it_asks_for(database: Database) {
    let scene = Scene::new(database);
    let alerts = scene.alerts();
    let long = Duration::from_secs(20 * 60);
    scene.slack.will(&[Answer::Refuse, Answer::Refuse, Answer::Throttle(long), Answer::Accept]);
    alerts.enqueue(&alert("one")).await.unwrap();
    alerts.send_due().await.unwrap();
    for (pause, is_sent) in [(30, 0), (60, 0), (20 * 60, 1)] {
        scene.turn(TimeDelta::seconds(pause - 1));
        assert_eq!(alerts.send_due().await.unwrap(), 0);
        assert!(scene.slack.take().len() <= 1);
        scene.turn(TimeDelta::seconds(1));
        assert_eq!(alerts.send_due().await.unwrap(), is_sent, "{pause}");
        assert_eq!(scene.slack.take().len(), 1, "{pause}");
    }
    assert_eq!(scene.database.store.alerts_waiting().await.unwrap(), (0, None));
}

async fn a_channel_that_is_down_or_unknown_delays_nobody_elses(database: Database) {
    let scene = Scene::new(database);
    let alerts = scene.alerts();
    // Of a channel that these gates do not have.
    let mut foreign = Vec::new();
    for number in 0..30 {
        let mut rows = alerts.rows(&alert(&format!("a foreign {number:02}")));
        rows.truncate(1);
        rows[0].channel = "pager".into();
        foreign.extend(rows);
    }
    scene.database.store.add_alerts(&foreign).await.unwrap();
    for key in ["one", "three", "two"] {
        alerts.enqueue(&alert(key)).await.unwrap();
    }
    let hour = Duration::from_secs(30 * 60);
    scene.slack.will(&[Answer::Throttle(hour)]);
    assert_eq!(alerts.send_due().await.unwrap(), 3, "the mails");
    assert_eq!((scene.slack.take().len(), scene.smtp.take().len()), (1, 3), "Slack asked to be left alone");
    scene.turn(TimeDelta::minutes(29));
    assert_eq!((alerts.send_due().await.unwrap(), scene.slack.take().len()), (0, 0));
    scene.turn(TimeDelta::minutes(1));
    assert_eq!((alerts.send_due().await.unwrap(), scene.slack.take().len()), (3, 3));
    assert_eq!(scene.database.store.alerts_waiting().await.unwrap().0, 30);
}

async fn one_gate_sends_and_old_alerts_are_forgotten(database: Database) {
    let scene = Scene::new(database);
    let alerts = scene.alerts();
    alerts.enqueue(&alert("one")).await.unwrap();
    assert_eq!(scene.database.store.alerts_waiting().await.unwrap(), (2, Some(noon())));
    assert_eq!(look_when_due(&alerts, OUTBOX, "gate a", MONTH).await.unwrap(), Some(2));
    alerts.enqueue(&alert("two")).await.unwrap();
    assert_eq!(look_when_due(&alerts, OUTBOX, "gate b", MONTH).await.unwrap(), None, "it was just done");
    scene.turn(TimeDelta::seconds(10));
    // A gate that died at it holds it for its lease.
    assert!(scene.database.store.take_on(OUTBOX, "gate dead", scene.now()).await.unwrap());
    assert_eq!(look_when_due(&alerts, OUTBOX, "gate b", MONTH).await.unwrap(), None);
    scene.turn(TimeDelta::seconds(300));
    assert_eq!(look_when_due(&alerts, OUTBOX, "gate b", MONTH).await.unwrap(), Some(2));
    assert_eq!(scene.kept().await.len(), 4);
    scene.turn(TimeDelta::days(30));
    look_when_due(&alerts, OUTBOX, "gate a", MONTH).await.unwrap();
    assert_eq!(scene.kept().await, []);
}

async fn a_mail_for_an_admin_goes_to_its_address_alone(database: Database) {
    let scene = Scene::new(database);
    let alerts = scene.alerts();
    let rows = alerts.rows_for(&alert("one"), "anna@raxx.app");
    scene.database.store.add_alerts(&rows).await.unwrap();
    assert_eq!(alerts.send_due().await.unwrap(), 1);
    assert_eq!(scene.slack.take(), []);
    assert_eq!(scene.smtp.take()[0].to.as_deref(), Some("anna@raxx.app"));
}
