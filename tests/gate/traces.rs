//! Traces over OTLP, as a collector decodes them, and what a collector that fails costs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::support::recorder::Recorder;
use crate::support::{Ask, Database, Gate, Setup, World};

const MAPPING: &str = "version = 1\n[clusters]\nV = \"v2\"\n[blueprints.p.routes]\n\"GET /open\" = { public = true }\n\
    [blueprints.v]\ncluster = \"V\"\n[blueprints.v.routes]\n\
    \"GET /gated/<name>\" = { legacy = [\"ops\"], role = \"console-user\" }\n\"GET /error\" = { public = true }\n";
const LONG: Duration = Duration::from_secs(30);

/// Everything that a collector has got, decoded by OpenTelemetry's own types.
fn received(collector: &Recorder) -> Vec<ExportTraceServiceRequest> {
    let decode = |body: Vec<u8>| ExportTraceServiceRequest::decode(body.as_slice()).expect("OTLP");
    collector.requests().into_iter().map(|request| decode(request.body)).collect()
}

fn spans(collector: &Recorder) -> Vec<Span> {
    let of_resources = received(collector).into_iter().flat_map(|request| request.resource_spans);
    of_resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
}

/// The spans of one request, once they have come, by their names; the one of all of it is the first.
async fn spans_of(collector: &Recorder, request_id: &str) -> Vec<Span> {
    let begun = Instant::now();
    loop {
        let all = spans(collector);
        let is_root = |span: &&Span| {
            attributes(&span.attributes).get("gate.request_id").is_some_and(|id| id == request_id)
        };
        if let Some(root) = all.iter().find(is_root) {
            let mut of_request = vec![root.clone()];
            of_request.extend(all.iter().filter(|span| span.parent_span_id == root.span_id).cloned());
            return of_request;
        }
        assert!(begun.elapsed() < LONG, "no trace of {request_id}: {all:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn attributes(list: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|any| any.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    };
    list.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Scene {
    world: World,
    gate: Gate,
    upstream: Recorder,
    collector: Recorder,
}

async fn scene(forwarded: &'static str) -> Scene {
    let world = World::new(Database::Sqlite).await;
    world.admin("anna", &["raxx-support-team"], &[]).await;
    world.admin("ben", &[], &[]).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let collector = Recorder::start(world.folder(), "collector.sock");
    let headers = world.folder().join("headers");
    std::fs::write(&headers, "# of the collector\nx-api-key: a key of the tests\n").expect("a file");
    let sections = format!(
        "[otlp]\nendpoint = \"unix:{}\"\nheaders_file = \"{}\"\nservice_name = \"gate-of-tests\"\n",
        collector.socket().display(),
        headers.display()
    );
    let setup = Setup {
        mapping: Some(MAPPING),
        upstream: Some(upstream.socket()),
        sections: Box::leak(sections.into_boxed_str()),
        forwarded,
        ..Setup::V2
    };
    let gate = world.gate(&setup).await;
    Scene { world, gate, upstream, collector }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_gets_the_spans_of_each_request_and_console_their_parent() {
    let Scene { world, gate, upstream, collector } = scene("").await;
    let foreign = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let ask = |who: &str| {
        let ask = Ask::get("/gated/private?q=hidden").cookie(&world.cookie(who));
        ask.header("traceparent", foreign).header("tracestate", "a=b")
    };
    let allowed = gate.send(&ask("anna")).await;
    assert_eq!(allowed.status, 200);
    let spans = spans_of(&collector, allowed.request_id()).await;
    let wanted =
        ["GET /gated/<name>", "front", "firewall", "match", "identity", "access", "decide", "upstream"];
    assert_eq!(names(&spans), wanted);
    let (root, call) = (&spans[0], &spans[7]);
    assert!(root.parent_span_id.is_empty() && (root.kind, call.kind) == (2, 3), "{root:?}");
    assert_ne!(hexadecimal(&root.trace_id), &foreign[3..35], "anybody's word");
    let of_root = attributes(&root.attributes);
    let wanted = [
        ("gate.cluster", "V"),
        ("gate.in_force", "v2"),
        ("gate.outcome", "forwarded"),
        ("gate.request_id", allowed.request_id()),
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.route", "/gated/<name>"),
        ("url.scheme", "http"),
    ];
    let wanted: BTreeMap<_, _> = wanted.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    assert_eq!(of_root, wanted);
    assert_eq!(attributes(&call.attributes)["gate.upstream"], "console");
    for span in &spans {
        assert_eq!(span.trace_id, root.trace_id);
        assert!(span.start_time_unix_nano >= root.start_time_unix_nano, "{span:?}");
        assert!(span.end_time_unix_nano <= root.end_time_unix_nano, "{span:?}");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_nanos();
    let age = now - u128::from(root.start_time_unix_nano);
    assert!(age < LONG.as_nanos(), "a Unix time: {age}");
    let sent = format!("00-{}-{}-01", hexadecimal(&root.trace_id), hexadecimal(&call.span_id));
    assert_eq!(
        upstream.requests()[0].header("traceparent"),
        Some(sent),
        "one field, with the call as the parent"
    );
    assert_eq!(upstream.requests()[0].header("tracestate"), None, "of another trace");

    let denied = gate.send(&ask("ben")).await;
    assert_eq!(denied.status, 403);
    let spans = spans_of(&collector, denied.request_id()).await;
    let wanted = ["GET /gated/<name>", "front", "firewall", "match", "identity", "access", "decide", "audit"];
    assert_eq!(names(&spans), wanted);
    assert_eq!(attributes(&spans[0].attributes)["gate.reason"], "missing_role");
    assert!(spans[0].status.is_none(), "a denial is no error");

    let failed = gate.send(&Ask::get("/error")).await;
    assert_eq!(failed.status, 500);
    let spans = spans_of(&collector, failed.request_id()).await;
    let status = |span: &Span| span.status.as_ref().map(|status| status.code);
    assert_eq!(spans.iter().filter(|span| status(span) == Some(2)).count(), 2, "the request and the call");

    let requests = collector.requests();
    let head = &requests[0].head;
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    assert_eq!(requests[0].header("content-type").as_deref(), Some("application/x-protobuf"));
    assert_eq!(requests[0].header("x-api-key").as_deref(), Some("a key of the tests"));
    let resource = received(&collector)[0].resource_spans[0].resource.clone().expect("a resource");
    assert_eq!(attributes(&resource.attributes)["service.name"], "gate-of-tests");
    for request in requests {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        for secret in ["hidden", "private", "anna", "ben", "session"] {
            assert!(!body.contains(secret), "`{secret}` in {body}");
        }
    }
    assert!(!gate.log().contains("a key of the tests"));
    assert!(gate.metric("gate_traces_sent_total").await > Some(2.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ones_own_proxy_in_front_decides() {
    let Scene { world: _world, gate, upstream, collector } = scene("trusted_hops = 1\n").await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let ask = |flags| {
        let ask = Ask::get("/open").header("tracestate", "a=b");
        ask.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-{flags}"))
    };
    let sampled = gate.send(&ask("01")).await;
    let spans = spans_of(&collector, sampled.request_id()).await;
    assert_eq!(hexadecimal(&spans[0].trace_id), trace);
    assert_eq!(hexadecimal(&spans[0].parent_span_id), "00f067aa0ba902b7");
    assert_eq!(upstream.requests()[0].header("tracestate").as_deref(), Some("a=b"));

    gate.send(&ask("00")).await;
    let passed = upstream.requests().pop().and_then(|request| request.header("traceparent"));
    assert_eq!(passed, Some(format!("00-{trace}-00f067aa0ba902b7-00")), "as it came");
    let last = gate.send(&ask("01")).await;
    spans_of(&collector, last.request_id()).await;
    let roots = self::spans(&collector).into_iter().filter(|span| span.kind == 2).count();
    assert_eq!(roots, 2, "the one that is not sampled has no spans");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_gone_or_silent_costs_requests_nothing() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    for address in [silent.local_addr().expect("its address"), gone] {
        let world = World::new(Database::Sqlite).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        let sections = format!("[otlp]\nendpoint = \"http://{address}\"\ntimeout_ms = 300\n");
        let setup = Setup {
            mapping: Some(MAPPING),
            upstream: Some(upstream.socket()),
            sections: Box::leak(sections.into_boxed_str()),
            ..Setup::V2
        };
        let gate = world.gate(&setup).await;
        let mut client = gate.client();
        for _ in 0..200 {
            assert_eq!(client.send(&Ask::get("/open")).await.status, 200);
        }
        let begun = Instant::now();
        while gate.metric("gate_traces_dropped_total{reason=\"collector\"}").await == Some(0.0) {
            assert!(begun.elapsed() < LONG, "{}", gate.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(gate.log().matches("traces were not taken by the collector").count(), 1, "{}", gate.log());
    }
}
