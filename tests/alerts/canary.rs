//! The canary: what it shows, and for how long.

use std::time::Duration;

use chrono::TimeDelta;
use grants::alerts::canary::{Sign, look_when_due, work};

use crate::database::{Database, noon};
use crate::scene::{Answer, Scene};

on_both!(a_channel_is_usable_while_its_last_canary_was_accepted);

const HOUR: Duration = Duration::from_secs(60 * 60);

async fn a_channel_is_usable_while_its_last_canary_was_accepted(database: Database) {
    let scene = Scene::new(database);
    let alerts = scene.alerts();
    let good = |signs: &[Sign]| signs.iter().map(Sign::is_good).collect::<Vec<_>>();
    let signs = look_when_due(&alerts, work(HOUR), "gate a").await.unwrap();
    assert_eq!(good(&signs), [true, true], "the first look sends one at once: {signs:?}");
    assert_eq!(signs[0], Sign { channel: "slack", last: Some(Ok(noon())) });
    let sent = scene.slack.take();
    assert!(
        sent[0].subject.contains("break-glass is usable") && sent[0].text.contains("slack, smtp"),
        "{sent:?}"
    );
    // Another gate sends none, and knows the same.
    let signs = look_when_due(&alerts, work(HOUR), "gate b").await.unwrap();
    assert_eq!((good(&signs), scene.slack.take()), (vec![true, true], vec![]));
    scene.turn(TimeDelta::hours(1));
    scene.slack.will(&[Answer::Refuse]);
    let signs = look_when_due(&alerts, work(HOUR), "gate b").await.unwrap();
    assert_eq!(good(&signs), [false, true], "{signs:?}");
    assert_eq!(signs[0].last, Some(Err("no".to_owned())));
    assert_eq!(alerts.send_due().await.unwrap(), 0, "a canary is not sent again");
    // What nobody has tested for long shows nothing.
    scene.turn(TimeDelta::minutes(123));
    assert!(scene.database.store.take_on(work(HOUR), "gate dead", scene.now()).await.unwrap());
    let signs = look_when_due(&alerts, work(HOUR), "gate a").await.unwrap();
    assert_eq!(signs.iter().map(|sign| sign.last.clone()).collect::<Vec<_>>(), [None, None]);
    // After a pause of days it is due at once.
    scene.turn(TimeDelta::days(3));
    let signs = look_when_due(&alerts, work(HOUR), "gate a").await.unwrap();
    assert_eq!(good(&signs), [true, true]);
}
