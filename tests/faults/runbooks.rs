//! The runbooks of three alerts, followed: the fault is caused, the metric of the alert moves, the commands of the runbook
//! say what is wrong, what it tells to mend is mended, and the metric stays where it is.

use std::time::{Duration, Instant};

use crate::scene::{MAPPING, people, setup};
use crate::support::postgres::Postgres;
use crate::support::recorder::Recorder;
use crate::support::{Ask, Database, Gate, World, project_text};

const LONG: Duration = Duration::from_secs(30);

/// The commands of a runbook's first look that the gate's own binary runs.
fn first_look(runbook: &str) -> Vec<String> {
    let text = project_text(&format!("deploy/runbooks/{runbook}.md"));
    let section = text.split("## First look").nth(1).and_then(|rest| rest.split("## Mend").next());
    let block = section.and_then(|section| section.split("```sh").nth(1)?.split("```").next());
    let lines = block.expect("commands").lines().filter_map(|line| line.strip_prefix("console-gate "));
    lines.map(ToOwned::to_owned).collect()
}

/// Runs them beside the gate: the exit code of each, and all that they say.
fn follow(gate: &Gate, runbook: &str) -> (Vec<(String, i32)>, String) {
    let mut said = String::new();
    let codes = first_look(runbook).into_iter().map(|command| {
        let arguments: Vec<&str> = command.split(' ').collect();
        let output = gate.command(&arguments).output().expect("the binary runs");
        said += &String::from_utf8_lossy(&output.stdout);
        said += &String::from_utf8_lossy(&output.stderr);
        (command, output.status.code().expect("it ended by itself"))
    });
    (codes.collect(), said)
}

/// That the alert asks for this metric, and names this runbook.
fn is_the_alert(alert: &str, metric: &str, runbook: &str) {
    let rules = project_text("deploy/prometheus/alerts.yaml");
    let rule =
        rules.split("- alert: ").find(|rule| rule.starts_with(&format!("{alert}\n"))).expect("the alert");
    assert!(rule.contains(metric) && rule.contains(&format!("deploy/runbooks/{runbook}.md")), "{rule}");
}

async fn until(gate: &Gate, metric: &str, is_it: impl Fn(f64) -> bool) -> f64 {
    let begun = Instant::now();
    loop {
        let value = gate.metric(metric).await;
        if let Some(value) = value.filter(|value| is_it(*value)) {
            return value;
        }
        assert!(begun.elapsed() < LONG, "{metric} is {value:?}\n{}", gate.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_database() {
    let postgres = Postgres::start();
    let world = World::on(postgres.database()).await;
    people(&world).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = world.gate(&setup(&upstream.socket())).await;
    let ask = Ask::get("/gated/x").cookie(&world.cookie("anna"));
    assert_eq!(gate.send(&ask).await.status, 200);
    is_the_alert("GateUnavailable", "gate_unavailable_total", "gate-unavailable");
    is_the_alert("GateDatabaseSilent", "gate_epoch_age_seconds", "gate-unavailable");
    assert_eq!(gate.metric("gate_unavailable_total").await, Some(0.0));

    postgres.crash();
    for _ in 0..6 {
        assert_eq!(gate.send(&ask).await.status, 503);
    }
    until(&gate, "gate_unavailable_total", |count| count > 5.0).await;
    // Longer than the gate ever leaves between two reads, with a database that answers.
    until(&gate, "gate_epoch_age_seconds", |age| age > 10.0).await;
    let (codes, said) = follow(&gate, "gate-unavailable");
    assert_eq!(codes, [("healthcheck --ready".to_owned(), 1), ("doctor".to_owned(), 1)], "{said}");
    assert!(said.contains("database"), "{said}");

    postgres.restart();
    let begun = Instant::now();
    while gate.send(&ask).await.status != 200 {
        assert!(begun.elapsed() < LONG, "{}", gate.log());
    }
    until(&gate, "gate_epoch_age_seconds", |age| age < 6.0).await;
    let after = gate.metric("gate_unavailable_total").await;
    while gate.attempt(&["healthcheck", "--ready"]).0 != 0 {
        assert!(begun.elapsed() < LONG, "{}", gate.log());
    }
    assert_eq!(gate.send(&ask).await.status, 200);
    assert_eq!(gate.metric("gate_unavailable_total").await, after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_console() {
    let world = World::new(Database::Sqlite).await;
    people(&world).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let setup = crate::support::Setup {
        upstream_settings: "health_interval_ms = 200\n",
        ..setup(&upstream.socket())
    };
    let gate = world.gate(&setup).await;
    let healthy = format!("gate_upstream_healthy{{server=\"unix:{}\"}}", upstream.socket().display());
    is_the_alert("GateUpstreamDown", "gate_upstream_healthy", "console-down");
    is_the_alert("GateUpstreamErrors", "gate_upstream_errors_total", "console-down");
    until(&gate, &healthy, |up| up > 0.5).await;

    drop(upstream);
    until(&gate, &healthy, |up| up < 0.5).await;
    let ask = Ask::get("/gated/x").cookie(&world.cookie("anna"));
    assert_eq!(gate.send(&ask).await.status, 502);
    until(&gate, "gate_upstream_errors_total{kind=\"broken\"}", |count| count > 0.5).await;
    let (codes, said) = follow(&gate, "console-down");
    assert_eq!(codes, [("doctor".to_owned(), 1)], "{said}");
    assert!(said.contains("upstream.sock"), "{said}");

    let _upstream = Recorder::start(world.folder(), "upstream.sock");
    until(&gate, &healthy, |up| up > 0.5).await;
    assert_eq!(gate.send(&ask).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_mapping_that_is_refused() {
    const REFUSED: &str = "gate_mapping_reloads_total{outcome=\"refused\"}";
    let world = World::new(Database::Sqlite).await;
    people(&world).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = world.gate(&setup(&upstream.socket())).await;
    is_the_alert("GateMappingRefused", REFUSED, "mapping-refused");
    let replace = |text: &str| {
        let new = gate.mapping_file().with_extension("toml.new");
        std::fs::write(&new, text).expect("a file");
        std::fs::rename(&new, gate.mapping_file()).expect("a swap");
    };

    replace(&MAPPING.replace("console-user", "console-usr"));
    until(&gate, REFUSED, |count| count > 0.5).await;
    let ask = Ask::get("/gated/x").cookie(&world.cookie("anna"));
    assert_eq!(gate.send(&ask).await.status, 200, "the mapping before it decides");
    let (codes, said) = follow(&gate, "mapping-refused");
    assert_eq!(codes, [("check".to_owned(), 1), ("history --limit 5".to_owned(), 0)], "{said}");
    assert!(said.contains("refused"), "{said}");
    assert!(gate.attempt(&["check"]).1.contains("console-usr"), "{said}");

    replace(&format!("{MAPPING}# corrected\n"));
    until(&gate, "gate_mapping_reloads_total{outcome=\"activated\"}", |count| count > 0.5).await;
    let (_, said) = gate.attempt(&["check"]);
    assert!(!said.contains("console-usr"), "{said}");
    assert_eq!(gate.metric(REFUSED).await, Some(1.0));
}
