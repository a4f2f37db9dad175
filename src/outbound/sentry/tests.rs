use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tracing_subscriber::layer::SubscriberExt as _;

use super::sender::Delivery;
use super::*;

/// A tracker that keeps what it is sent and gives one answer, or none.
struct StandIn {
    dsn: Dsn,
    received: Arc<Mutex<Vec<String>>>,
}

impl StandIn {
    async fn start(answer: Option<&'static str>) -> StandIn {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let received: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = received.clone();
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = whole_request(&mut stream).await;
                kept.lock().expect("nobody panicked").push(request);
                if let Some(answer) = answer {
                    stream.write_all(answer.as_bytes()).await.expect("the gate reads the answer");
                }
                // One that hangs keeps the connection open.
                open.push(stream);
            }
        });
        let dsn = Dsn::parse(&format!("http://publickey@{address}/42")).expect("a DSN");
        StandIn { dsn, received }
    }

    fn sender(&self) -> Sender {
        let outbound = Outbound::new(Vec::new(), Duration::from_millis(200), ANSWER_BYTES).expect("TLS");
        Sender::new(outbound, self.dsn.clone())
    }

    fn received(&self) -> Vec<String> {
        self.received.lock().expect("nobody panicked").clone()
    }
}

async fn whole_request(stream: &mut tokio::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4096];
        let count = stream.read(&mut part).await.expect("the gate writes");
        bytes.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if Some(body.len()) == length.and_then(|length| length.parse().ok()) {
                return text;
            }
        }
        assert!(count > 0, "{text}");
    }
}

const OK: Option<&str> = Some("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");

/// What a report of each event would be that `log` logs.
fn reports(log: impl FnOnce()) -> Vec<Report> {
    let (queue, mut letters) = mpsc::channel(QUEUE);
    let tracker = Tracker { queue, environment: "staging" };
    tracing::subscriber::with_default(tracing_subscriber::registry().with(tracker), log);
    std::iter::from_fn(|| match letters.try_recv() {
        Ok(Message::Report(report)) => Some(*report),
        _ => None,
    })
    .collect()
}

fn a_report(message: &'static str) -> Report {
    reports(|| tracing::error!("{message}")).remove(0)
}

#[test]
fn only_errors_of_the_gate_and_notable_events_are_reported() {
    let sent = reports(|| {
        tracing::error!("an error of the gate");
        tracing::warn!(target: NOTABLE, "something notable");
        tracing::warn!("a warning");
        tracing::info!("news");
        tracing::error!(target: "pingora_core", "an error of a library");
        tracing::error!(target: "console_gateway", "an error of somebody else");
    });
    let messages: Vec<_> = sent.iter().map(|report| &report.payload["message"]["formatted"]).collect();
    assert_eq!(messages, ["an error of the gate", "something notable"]);
    let levels: Vec<_> = sent.iter().map(|report| &report.payload["level"]).collect();
    assert_eq!(levels, ["error", "warning"]);
}

/// The fields are a list of what may go, so that a new one stays at home.
#[test]
fn a_report_names_no_person() {
    let sent = reports(|| {
        tracing::error!(
            actor = "anna@example.org",
            path = "/console/customers/anna",
            client = "192.0.2.7",
            password = "hunter2",
            route = "GET /a",
            cluster = %"S1",
            direction = "would_newly_deny",
            reason = "missing_role",
            mapping = "abc",
            request_id = "0198",
            rows = 3,
            error = "x".repeat(1_000),
            "the gates disagree"
        );
    });
    let payload = &sent[0].payload;
    let tags = serde_json::json!({
        "cluster": "S1", "direction": "would_newly_deny", "reason": "missing_role", "route": "GET /a"
    });
    assert_eq!(payload["tags"], tags);
    let beside = serde_json::json!({
        "error": "x".repeat(500), "mapping": "abc", "request_id": "0198", "rows": "3"
    });
    assert_eq!(payload["extra"], beside);
    let text = payload.to_string();
    for secret in ["anna", "customers", "192.0.2.7", "hunter2"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

#[tokio::test]
async fn a_report_is_an_envelope_with_the_key_in_its_header() {
    let tracker = StandIn::start(OK).await;
    let report = a_report("it broke");
    assert_eq!(tracker.sender().deliver(&report, Instant::now()).await, Delivery::Sent);
    let received = tracker.received();
    let (head, body) = received[0].split_once("\r\n\r\n").expect("a request");
    assert!(head.starts_with("POST /api/42/envelope/ HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\ncontent-type: application/x-sentry-envelope\r\n"), "{head}");
    assert!(head.contains("sentry_version=7") && head.contains("sentry_key=publickey"), "{head}");
    let lines: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let [envelope, item, event] = &lines[..] else { panic!("three lines: {body}") };
    assert_eq!(envelope["event_id"], event["event_id"]);
    assert_eq!((&item["type"], &item["length"]), (&"event".into(), &event.to_string().len().into()));
    assert_eq!(event["message"]["formatted"], "it broke");
    assert_eq!(event["environment"], "staging");
}

#[tokio::test]
async fn the_same_is_sent_once_a_minute() {
    let tracker = StandIn::start(OK).await;
    let mut sender = tracker.sender();
    let now = Instant::now();
    let (one, other) = (a_report("one"), a_report("other"));
    assert_eq!(sender.deliver(&one, now).await, Delivery::Sent);
    assert_eq!(sender.deliver(&a_report("one"), now + Duration::from_secs(59)).await, Delivery::Repeated);
    assert_eq!(sender.deliver(&other, now + Duration::from_secs(59)).await, Delivery::Sent);
    assert_eq!(sender.deliver(&one, now + Duration::from_secs(60)).await, Delivery::Sent);
    assert_eq!(tracker.received().len(), 3);
}

#[tokio::test]
async fn a_tracker_that_has_enough_is_left_alone_for_as_long_as_it_says() {
    let table = [
        (Some("HTTP/1.1 429 T\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n"), 120),
        (Some("HTTP/1.1 429 T\r\ncontent-length: 0\r\n\r\n"), 60),
        (Some("HTTP/1.1 429 T\r\nretry-after: soon\r\ncontent-length: 0\r\n\r\n"), 60),
        (Some("HTTP/1.1 429 T\r\nretry-after: 999999999\r\ncontent-length: 0\r\n\r\n"), 3_600),
    ];
    for (answer, seconds) in table {
        let tracker = StandIn::start(answer).await;
        let mut sender = tracker.sender();
        let now = Instant::now();
        assert_eq!(sender.deliver(&a_report("one"), now).await, Delivery::Limited);
        let last = now + Duration::from_secs(seconds - 1);
        assert_eq!(sender.deliver(&a_report("two"), last).await, Delivery::Limited);
        assert_eq!(tracker.received().len(), 1, "{answer:?}");
        sender.deliver(&a_report("three"), now + Duration::from_secs(seconds)).await;
        assert_eq!(tracker.received().len(), 2, "{answer:?}");
    }
}

#[tokio::test]
async fn a_tracker_that_hangs_refuses_or_is_away_costs_an_outcome() {
    let hanging = StandIn::start(None).await;
    assert_eq!(hanging.sender().deliver(&a_report("one"), Instant::now()).await, Delivery::Failed);
    let refusing = StandIn::start(Some("HTTP/1.1 403 F\r\ncontent-length: 0\r\n\r\n")).await;
    assert_eq!(refusing.sender().deliver(&a_report("one"), Instant::now()).await, Delivery::Failed);
    let away =
        StandIn { dsn: Dsn::parse("http://k@127.0.0.1:1/1").expect("a DSN"), received: Arc::default() };
    assert_eq!(away.sender().deliver(&a_report("one"), Instant::now()).await, Delivery::Failed);
}

/// Logging never waits: what does not fit into the queue is dropped.
#[test]
fn a_full_queue_drops_reports() {
    let sent = reports(|| (0..QUEUE * 2).for_each(|_| tracing::error!("again")));
    assert_eq!(sent.len(), QUEUE);
}

#[test]
fn a_dsn_is_read_and_never_shown() {
    let table = [
        (
            "https://abc123@o1.ingest.example.com/42",
            Some("https://o1.ingest.example.com:443/api/42/envelope/"),
        ),
        ("http://abc:secret@localhost:9000/7", Some("http://localhost:9000/api/7/envelope/")),
        ("https://abc@example.com/below/it/7", Some("https://example.com:443/below/it/api/7/envelope/")),
        ("", None),
        ("https://example.com/7", None),
        ("https://@example.com/7", None),
        ("https://abc@example.com", None),
        ("https://abc@example.com/", None),
        ("https://abc@/7", None),
        ("https://a b@example.com/7", None),
        ("https://abc@def@example.com/7", None),
        ("ftp://abc@example.com/7", None),
    ];
    for (text, expected) in table {
        let dsn = Dsn::parse(text);
        let place = dsn.as_ref().ok().map(|dsn| format!("{:?}", dsn.envelopes));
        assert_eq!(place.as_deref(), expected, "{text}");
        let shown = format!("{dsn:?} {DsnError}");
        assert!(!shown.contains("abc") && !shown.contains("secret"), "{shown}");
    }
}
