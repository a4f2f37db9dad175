//! Alerts through the real binary: the canary, its metrics, the command, and what is never said.

use std::time::Duration;

#[path = "../alerts/web_server.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "it is of the tests of the channels, who use all of it")]
mod web_server;

use self::web_server::{Mood, WebServer};
use crate::support::{Database, Gate, Setup, World};

const WEBHOOK: &str = "services/T0/B0/hunter2-webhook";
const TOKEN: &str = "hunter2-postmark";
const POSTMARK_TAKES_IT: Mood = Mood::Answer(200, &[], r#"{"ErrorCode":0,"Message":"OK","MessageID":"m-1"}"#);

struct Channels {
    slack: WebServer,
    postmark: WebServer,
}

impl Channels {
    async fn start() -> Channels {
        let channels = Channels { slack: WebServer::start().await, postmark: WebServer::start().await };
        channels.slack.is(Mood::Answer(200, &[], "ok"));
        channels.postmark.is(POSTMARK_TAKES_IT);
        channels
    }

    fn setup(&self) -> Setup {
        let sections = format!(
            "[alerts.slack]\n[alerts.postmark]\nurl = \"http://{}\"\nfrom = \"gate@raxx.app\"\nto = [\"ops@raxx.app\"]\n",
            self.postmark.address
        );
        let variables = vec![
            ("CONSOLE_GATE_SLACK_WEBHOOK", format!("http://{}/{WEBHOOK}", self.slack.address)),
            ("CONSOLE_GATE_POSTMARK_TOKEN", TOKEN.to_owned()),
        ];
        // A gate's settings are read while the test runs.
        Setup { sections: sections.leak(), variables: Some(variables), ..Setup::V2 }
    }
}

async fn until_usable_is(gate: &Gate, expected: f64) {
    let look = async {
        while gate.metric("gate_break_glass_usable").await != Some(expected) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), look).await.expect("the first canary is sent at the start");
}

#[tokio::test]
async fn a_gate_shows_at_its_start_whether_alerts_reach_anybody() {
    for database in [Database::Sqlite, Database::Postgres] {
        let channels = Channels::start().await;
        let world = World::new(database).await;
        let gate = world.gate(&channels.setup()).await;
        until_usable_is(&gate, 1.0).await;
        let (asked, mailed) = (channels.slack.take(), channels.postmark.take());
        assert_eq!((asked.len(), mailed.len()), (1, 1), "one canary for each channel");
        assert!(asked[0].body.contains("break-glass is usable"), "{asked:?}");
        // A second gate of the same database knows it, and sends none.
        let second = world.gate(&channels.setup()).await;
        until_usable_is(&second, 1.0).await;
        assert_eq!((channels.slack.take().len(), channels.postmark.take().len()), (0, 0));
        let (code, listed) = gate.attempt(&["alert", "list", "--kind", "canary"]);
        assert_eq!((code, listed.matches("accepted at").count()), (0, 2), "{listed}");
    }
}

// The command runs beside the servers that it asks.
#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_fails_is_named_and_no_secret_is() {
    let channels = Channels::start().await;
    channels.slack.is(Mood::Answer(404, &[], "no_service"));
    channels.postmark.is(Mood::Answer(401, &[], r#"{"ErrorCode":10,"Message":"Bad or missing token"}"#));
    let world = World::new(Database::Sqlite).await;
    let gate = world.gate(&channels.setup()).await;
    until_usable_is(&gate, 0.0).await;
    let log = gate.log();
    assert!(log.contains("an alert channel failed its hourly test") && log.contains("no_service"), "{log}");
    channels.postmark.is(POSTMARK_TAKES_IT);
    let (code, printed) = gate.attempt(&["alert", "test"]);
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("postmark: accepted (m-1)"), "{printed}");
    assert!(printed.contains("slack: status 404, no_service"), "{printed}");
    channels.slack.is(Mood::Answer(200, &[], "ok"));
    assert_eq!(gate.attempt(&["alert", "test"]).0, 0);
    assert!(!format!("{log}{printed}").contains("hunter2"), "{log}{printed}");
}

#[tokio::test]
async fn a_webhook_in_the_clear_or_without_its_secret_is_refused() {
    let channels = Channels::start().await;
    let world = World::new(Database::Sqlite).await;
    let gate = world.gate(&channels.setup()).await;
    let with = |webhook: &str| {
        let mut command = gate.command(&["alert", "test"]);
        let output = command.env("CONSOLE_GATE_SLACK_WEBHOOK", webhook).output().expect("the binary runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for webhook in [format!("http://hooks.slack.test/{WEBHOOK}"), format!("hunter2 {WEBHOOK}")] {
        let (code, error) = with(&webhook);
        assert_eq!(code, Some(2), "{error}");
        assert!(
            error.contains("[alerts.slack] the webhook is not an address that begins with `https://`"),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
    }
    let (code, error) = with("");
    assert!(code == Some(2) && error.contains("CONSOLE_GATE_SLACK_WEBHOOK is empty"), "{error}");
}

/// What the gate does by itself, and reviews by command, need no right beyond those that are granted.
#[tokio::test(flavor = "multi_thread")]
async fn the_least_role_is_enough_and_deletes_nothing() {
    let channels = Channels::start().await;
    let world = World::of_least_role().await;
    world.admin("ben", &["raxx-support-team"], &[]).await;
    world
        .execute(
            "INSERT INTO gate_drift_events (id, cluster, route, method, actor_kind, actor_id, direction, legacy_answer,
                                            v2_answer, mapping_sha256, last_seen_at_utc)
             VALUES ('old', 'S1', 'r', 'GET', 'admin', 'ben', 'would_newly_deny', 'allow', 'deny', 'm',
                     '2020-01-01T00:00:00+00:00')",
        )
        .await;
    let gate = world.gate(&channels.setup()).await;
    until_usable_is(&gate, 1.0).await;
    let waits = async {
        while !gate.log().contains("this role may not delete them") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waits).await.expect("retention is due at the start");
    assert!(!gate.log().contains("delayed"), "{}", gate.log());
    let (code, opened) = gate.attempt(&["review", "open"]);
    assert_eq!(code, 0, "{opened}");
    let (_, shown) = gate.attempt(&["review", "show", "--format", "json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    let item = shown["items"][0]["id"].as_str().expect("an item").to_owned();
    assert_eq!(shown["items"][0]["admin"], "ben", "{shown}");
    let (code, revoked) = gate.attempt(&["review", "decide", "revoke", &item]);
    assert!(code == 0 && revoked.contains("revoked: raxx-support-team of ben"), "{revoked}");
    assert!(revoked.contains("In force"), "{revoked}");
    let review = shown["review"]["id"].as_str().expect("its id").to_owned();
    assert_eq!(gate.attempt(&["review", "close", &review]).0, 0);
    let (code, window) = gate.attempt(&["change-window", "open", "--reason", "tests"]);
    assert_eq!(code, 0, "{window}");
    let (code, closed) = gate.attempt(&["change-window", "close"]);
    assert!(code == 0 && closed.contains("changed: nothing"), "{closed}");
}
