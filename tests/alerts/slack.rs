//! Slack's incoming webhooks: the documented answers, and what else may answer at an address.

use std::time::Duration;

use console_gate::outbound::slack::{MOST_ANSWER_BYTES, Slack};
use console_gate::outbound::{Outbound, Url};
use grants::alerts::{Channel as _, ChannelError, Message};
use serde_json::{Value, json};

use crate::scene::PATIENCE;
use crate::web_server::{Mood, Refusal, WebServer};

const SECRET_PATH: &str = "/services/T000/B000/hunter2hunter2";
const MESSAGE: Message<'_> =
    Message { key: "one", subject: "Anna <breaks> the glass", text: "a & b\nfor an hour", to: None };

fn channel(server: &WebServer, timeout: Duration) -> Slack {
    let outbound = Outbound::new(Vec::new(), timeout, MOST_ANSWER_BYTES).unwrap();
    Slack::new(outbound, Url::parse(&format!("http://{}{SECRET_PATH}", server.address)).unwrap())
}

#[tokio::test]
async fn a_message_is_posted_and_what_slack_calls_it_is_kept() {
    let server = WebServer::start().await;
    let slack = channel(&server, PATIENCE);
    server.is(Mood::Answer(200, &[("x-slack-unique-id", "ZQ7a-1")], "ok"));
    assert_eq!(slack.send(MESSAGE).await.unwrap(), "ZQ7a-1");
    server.is(Mood::Answer(200, &[], "ok"));
    assert_eq!(slack.send(MESSAGE).await.unwrap(), "ok");
    let asked = server.take().remove(0);
    assert_eq!(asked.path, SECRET_PATH);
    assert_eq!(asked.headers["content-type"], "application/json");
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(body, json!({ "text": "*Anna &lt;breaks&gt; the glass*\na &amp; b\nfor an hour" }));
}

#[tokio::test]
async fn every_other_answer_is_no_acceptance() {
    let server = WebServer::start().await;
    let slack = channel(&server, PATIENCE);
    let table: [Refusal; 16] = [
        (400, &[], "invalid_payload", "refused", "status 400, invalid_payload"),
        (400, &[], "user_not_found", "refused", "status 400, user_not_found"),
        (403, &[], "action_prohibited", "refused", "an administrator of the workspace has forbidden it"),
        (403, &[], "invalid_token", "refused", "make a new webhook"),
        (404, &[], "channel_not_found", "refused", "make a webhook for another one"),
        (404, &[], "no_service", "refused", "make a new webhook"),
        (410, &[], "channel_is_archived", "refused", "archived or gone"),
        (429, &[("retry-after", "90")], "rate_limited", "throttled", "again in 90s"),
        (429, &[], "", "throttled", "again in 60s"),
        (500, &[], "rollup_error", "deferred", "status 500, rollup_error"),
        (502, &[], "<html>Bad Gateway</html>", "deferred", "status 502"),
        (503, &[], "", "deferred", "status 503"),
        (302, &[("location", "https://slack.com/")], "", "refused", "status 302"),
        (200, &[], "<html>log in</html>", "refused", "not Slack's `ok`"),
        (200, &[], "", "refused", "not Slack's `ok`"),
        (204, &[], "ok", "refused", "status 204"),
    ];
    for (status, fields, body, word, text) in table {
        server.is(Mood::Answer(status, fields, body));
        let error = slack.send(MESSAGE).await.unwrap_err();
        assert_eq!(error.word(), word, "{status} {body}: {error}");
        assert!(error.to_string().contains(text), "{status} {body}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(!error.to_string().contains("html"), "{error}");
    }
    assert_eq!(server.take().len(), 16, "each is asked once");
}

#[tokio::test]
async fn one_that_is_slow_or_gone_has_not_accepted() {
    let server = WebServer::start().await;
    server.is(Mood::Silent);
    let limit = Duration::from_millis(200);
    let error = channel(&server, limit).send(MESSAGE).await.unwrap_err();
    assert!(matches!(error, ChannelError::Late(late) if late == limit), "{error}");
    let slack = channel(&server, PATIENCE);
    drop(server);
    // The task is aborted where it next waits; until then a connection may still be taken.
    let error = loop {
        match tokio::time::timeout(limit, slack.send(MESSAGE)).await {
            Ok(outcome) => break outcome.unwrap_err(),
            Err(_) => continue,
        }
    };
    assert_eq!(error.word(), "unreachable", "{error}");
    assert!(!format!("{error} {slack:?}").contains("hunter2"), "{error}");
}
