//! `/metrics`: what Prometheus's own linter says of it, what is read from the gate's state, and that series of an old
//! mapping end.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use policy::rbac::LegacyRole;

use crate::again::skip;
use crate::promtool::{promtool, run};
use crate::support::http::HOST;
use crate::support::recorder::Recorder;
use crate::support::{Ask, Client, Database, Gate, Setup, World};

const MAPPING: &str = "version = 1\n[clusters]\nV = \"v2\"\nS = \"shadow\"\n[blueprints.p.routes]\n\
    \"GET /open\" = { public = true }\n\"GET /never\" = { public = true }\n\"GET /error\" = { public = true }\n\
    [blueprints.v]\ncluster = \"V\"\n[blueprints.v.routes]\n\
    \"GET /gated\" = { legacy = [\"ops\"], role = \"console-user\" }\n\
    \"GET /forbidden\" = { legacy = [\"ops\"], role = \"console-user\" }\n\
    [blueprints.s]\ncluster = \"S\"\n[blueprints.s.routes]\n\
    \"GET /shadow\" = { legacy = [\"ops\"], role = \"console-user\" }\n";

/// Without the cluster S and the row of `/forbidden`.
const LATER: &str = "version = 1\n[clusters]\nV = \"v2\"\n[blueprints.p.routes]\n\
    \"GET /open\" = { public = true }\n\"GET /never\" = { public = true }\n\"GET /error\" = { public = true }\n\
    [blueprints.v]\ncluster = \"V\"\n[blueprints.v.routes]\n\
    \"GET /gated\" = { legacy = [\"ops\"], role = \"console-user\" }\n";

async fn metrics(gate: &Gate) -> String {
    let answer = Client::to(&gate.admin_socket()).send(&Ask::get("/metrics")).await;
    assert_eq!(answer.status, 200);
    String::from_utf8(answer.body.to_vec()).expect("metrics are text")
}

/// Waits until a line is there, and returns everything.
async fn until(gate: &Gate, line: &str) -> String {
    for _ in 0..1_000 {
        let text = metrics(gate).await;
        if text.lines().any(|one| one == line) {
            return text;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("`{line}` does not come\n{}", metrics(gate).await);
}

async fn scene(world: &World, upstream: &Recorder) -> Gate {
    world.admin("anna", &["raxx-support-team"], &[LegacyRole::literal("ops")]).await;
    world.admin("ben", &[], &[]).await;
    let setup = Setup { mapping: Some(MAPPING), upstream: Some(upstream.socket()), ..Setup::V2 };
    let gate = world.gate(&setup).await;
    let anna = world.cookie("anna");
    let asks = [
        (Ask::get("/open"), 200),
        (Ask::get("/error"), 500),
        (Ask::get("/gated").cookie(&anna), 200),
        (Ask::get("/gated").cookie(&anna), 200),
        (Ask::get("/gated").cookie(&world.cookie("ben")), 403),
        (Ask::get("/gated"), 302),
        (Ask::get("/forbidden").cookie(&anna), 403),
        (Ask::get("/shadow").cookie(&anna), 200),
        (Ask::get("/nowhere").cookie(&anna), 403),
        (Ask::new("BREW", "/open"), 405),
    ];
    for (ask, status) in asks {
        assert_eq!(gate.send(&ask).await.status, status, "{ask:?}");
    }
    gate
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_own_linter_finds_nothing() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = scene(&world, &upstream).await;
    let text =
        until(&gate, "gate_route_requests_total{route=\"unmapped\",cluster=\"\",outcome=\"denied\"} 1").await;
    let program = match promtool() {
        Ok(program) => program,
        Err(why) => return skip("gate::metrics::prometheus_own_linter_finds_nothing", &why),
    };
    let (is_content, said) = run(&program, &["check", "metrics"], &text);
    assert!(is_content && said.trim().is_empty(), "{said}");
    let (is_content, _) = run(&program, &["check", "metrics"], &format!("{text}gate_undescribed_total 1\n"));
    assert!(!is_content, "the linter looks at each metric");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_counted_by_their_rows_and_series_of_an_old_mapping_end() {
    let world = World::new(Database::Postgres).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = scene(&world, &upstream).await;
    let row = |name: &str, route: &str, cluster: &str, label: &str, value: &str, count: u64| {
        format!("{name}{{route=\"{route}\",cluster=\"{cluster}\",{label}=\"{value}\"}} {count}")
    };
    let requests = "gate_route_requests_total";
    let answers = "gate_upstream_answers_total";
    let text = until(&gate, &row(requests, "unmapped", "", "outcome", "denied", 1)).await;
    for line in [
        row(requests, "GET /open", "", "outcome", "forwarded", 1),
        row(requests, "GET /gated", "V", "outcome", "forwarded", 2),
        row(requests, "GET /gated", "V", "outcome", "denied", 1),
        row(requests, "GET /gated", "V", "outcome", "login", 1),
        row(requests, "GET /forbidden", "V", "outcome", "forwarded", 1),
        row(answers, "GET /gated", "V", "status", "2xx", 2),
        row(answers, "GET /error", "", "status", "5xx", 1),
        row(answers, "GET /forbidden", "V", "status", "4xx", 1),
        "gate_upstream_seconds_count{upstream=\"console\"} 6".to_owned(),
        "gate_upstream_refusals_total{route=\"GET /forbidden\",status=\"403\",gate=\"v2\"} 1".to_owned(),
        "gate_requests_in_flight 0".to_owned(),
        "gate_rbac_v2_enabled 1".to_owned(),
        "gate_rbac_v2_promoted 1".to_owned(),
        "gate_mapping_pinned 0".to_owned(),
        "gate_cluster_mode{cluster=\"V\",mode=\"v2\"} 1".to_owned(),
        "gate_cluster_mode{cluster=\"V\",mode=\"legacy\"} 0".to_owned(),
        "gate_cluster_mode{cluster=\"S\",mode=\"shadow\"} 1".to_owned(),
        format!("gate_build_info{{version=\"{}\",commit=\"unknown\"}} 1", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
    for begin in [
        "process_resident_memory_bytes ",
        "gate_epoch_age_seconds ",
        "gate_database_connections{pool=\"access\",state=\"idle\"} ",
    ] {
        assert!(text.lines().any(|one| one.starts_with(begin)), "{begin}\n{text}");
    }
    assert!(text.lines().any(|one| {
        one.starts_with("gate_route_upstream_seconds_total{route=\"GET /gated\",cluster=\"V\"} 0.")
    }));

    let mut hanging = UnixStream::connect(gate.socket()).expect("a connection");
    write!(hanging, "GET /never HTTP/1.1\r\nhost: {HOST}\r\n\r\n").expect("a request");
    until(&gate, "gate_requests_in_flight 1").await;

    // The kill-switch: what is on V2 falls back.
    gate.run(&["flag", "rbac-v2", "off"]);
    let ask = Ask::get("/gated").cookie(&world.cookie("anna"));
    assert_eq!(gate.send(&ask).await.status, 200);
    let text = until(&gate, "gate_cluster_mode{cluster=\"V\",mode=\"legacy\"} 1").await;
    assert!(
        text.contains("gate_rbac_v2_enabled 0\n") && text.contains("cluster=\"V\",mode=\"v2\"} 0\n"),
        "{text}"
    );

    std::fs::write(gate.mapping_file(), LATER).expect("a mapping");
    for _ in 0..1_000 {
        let text = metrics(&gate).await;
        if !text.contains("cluster=\"S\"") {
            assert!(!text.contains("GET /forbidden") && !text.contains("GET /shadow"), "{text}");
            assert!(text.contains(&row(requests, "GET /gated", "V", "outcome", "denied", 1)), "{text}");
            assert_eq!(
                text.lines().filter(|line| line.starts_with("gate_mapping_info{")).count(),
                1,
                "{text}"
            );
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the series of the old mapping do not end: {}", metrics(&gate).await);
}
