//! Postmark's REST API: its documented answers and error codes.

use std::time::Duration;

use console_gate::outbound::postmark::{MOST_ANSWER_BYTES, Postmark, PostmarkOptions};
use console_gate::outbound::{Outbound, Url};
use grants::alerts::{Channel as _, Message};
use serde_json::{Value, json};

use crate::scene::PATIENCE;
use crate::web_server::{Mood, Refusal, WebServer};

const TOKEN: &str = "hunter2-server-token";
const MESSAGE: Message<'_> =
    Message { key: "one", subject: "Glass\r\nBcc: eve@evil.example", text: "for an hour", to: None };
const TAKEN: &str = r#"{"To":"ops@raxx.app","SubmittedAt":"2026-03-29T12:00:00Z","MessageID":"0a129aee-e1cd-480d-b08d-4f48548ff48d","ErrorCode":0,"Message":"OK"}"#;

fn channel(server: &WebServer, timeout: Duration) -> Postmark {
    let options = PostmarkOptions {
        url: Url::parse(&format!("http://{}", server.address)).unwrap(),
        token: TOKEN.to_owned().into(),
        from: "gate@raxx.app".into(),
        to: vec!["ops@raxx.app".into(), "anna@raxx.app".into()],
        message_stream: "outbound".into(),
    };
    Postmark::new(Outbound::new(Vec::new(), timeout, MOST_ANSWER_BYTES).unwrap(), options)
}

#[tokio::test]
async fn a_mail_is_handed_over_and_its_id_is_kept() {
    let server = WebServer::start().await;
    let postmark = channel(&server, PATIENCE);
    server.is(Mood::Answer(200, &[], TAKEN));
    assert_eq!(postmark.send(MESSAGE).await.unwrap(), "0a129aee-e1cd-480d-b08d-4f48548ff48d");
    postmark.send(Message { to: Some("ben@raxx.app"), ..MESSAGE }).await.unwrap();
    let asked = server.take();
    assert_eq!(asked[0].path, "/email");
    assert_eq!(asked[0].headers["x-postmark-server-token"], TOKEN);
    let body: Value = serde_json::from_str(&asked[0].body).unwrap();
    let expected = json!({
        "From": "gate@raxx.app", "To": "ops@raxx.app, anna@raxx.app", "Subject": "Glass  Bcc: eve@evil.example", "TextBody": "for an hour",
        "MessageStream": "outbound", "TrackOpens": false, "TrackLinks": "None",
        "Headers": [{ "Name": "Auto-Submitted", "Value": "auto-generated" }],
    });
    assert_eq!(body, expected);
    let body: Value = serde_json::from_str(&asked[1].body).unwrap();
    assert_eq!(body["To"], "ben@raxx.app");
}

#[tokio::test]
async fn every_other_answer_is_no_acceptance() {
    let server = WebServer::start().await;
    let postmark = channel(&server, PATIENCE);
    let table: [Refusal; 14] = [
        (
            401,
            &[],
            r#"{"ErrorCode":10,"Message":"Bad or missing Server API token."}"#,
            "refused",
            "check the server token",
        ),
        (
            422,
            &[],
            r#"{"ErrorCode":300,"Message":"Invalid 'To' address: 'x'."}"#,
            "refused",
            "check `from` and `to`",
        ),
        (
            422,
            &[],
            r#"{"ErrorCode":400,"Message":"Sender signature not found"}"#,
            "refused",
            "confirm the sender signature",
        ),
        (422, &[], r#"{"ErrorCode":405,"Message":"Not allowed to send"}"#, "refused", "look at its plan"),
        (422, &[], r#"{"ErrorCode":406,"Message":"Inactive recipient"}"#, "refused", "has bounced before"),
        (
            422,
            &[],
            r#"{"ErrorCode":1235,"Message":"The stream does not exist."}"#,
            "refused",
            "message_stream",
        ),
        (429, &[("retry-after", "5")], "", "throttled", "again in 5s"),
        (500, &[], r#"{"ErrorCode":100,"Message":"Maintenance"}"#, "deferred", "status 500, error 100"),
        (503, &[], "<html></html>", "deferred", "status 503"),
        (
            200,
            &[],
            r#"{"ErrorCode":0,"Message":"Test job accepted","MessageID":"b7bc2f4a"}"#,
            "refused",
            "delivers nothing",
        ),
        (200, &[], r#"{"ErrorCode":0,"Message":"OK"}"#, "refused", "check `url`"),
        (200, &[], r#"{"ErrorCode":406,"Message":"x","MessageID":"b7"}"#, "refused", "error 406"),
        (200, &[], "<html>hello</html>", "refused", "check `url`"),
        (302, &[("location", "/login")], "", "refused", "status 302"),
    ];
    for (status, fields, body, word, text) in table {
        server.is(Mood::Answer(status, fields, body));
        let error = postmark.send(MESSAGE).await.unwrap_err();
        assert_eq!(error.word(), word, "{status} {body}: {error}");
        assert!(error.to_string().contains(text), "{status} {body}: {error}");
    }
    server.is(Mood::Silent);
    let error = channel(&server, Duration::from_millis(200)).send(MESSAGE).await.unwrap_err();
    assert_eq!(error.word(), "late", "{error}");
    assert!(!format!("{postmark:?}").contains("hunter2"));
}
