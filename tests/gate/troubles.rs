//! Requests that were not served, in the log and the metrics: Console's errors, the gate's own, and what Console's side of
//! the gate refuses.

use std::time::Duration;

use policy::rbac::LegacyRole;

use crate::support::recorder::Recorder;
use crate::support::turned::Turned;
use crate::support::{Answer, Ask, Database, Gate, Setup, World};

const MAPPING: &str = "version = 1\n[clusters]\nV = \"v2\"\n[blueprints.p.routes]\n\
    \"GET /healthy\" = { public = true }\n\
    [blueprints.v]\ncluster = \"V\"\n[blueprints.v.routes]\n\
    \"GET /error\" = { legacy = [\"ops\"], role = \"console-user\" }\n\
    \"GET /garbage\" = { legacy = [\"ops\"], role = \"console-user\" }\n\
    \"GET /close\" = { legacy = [\"ops\"], role = \"console-user\" }\n";

/// The lines of the log with this message.
fn lines<'l>(log: &'l str, message: &str) -> Vec<&'l str> {
    log.lines().filter(|line| line.contains(message)).collect()
}

async fn until_logged(gate: &Gate, message: &str) -> String {
    for _ in 0..1_000 {
        let log = gate.log();
        if log.contains(message) {
            return log;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("`{message}` is not logged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_logged_once_with_who_asked_for_what() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    world.admin("anna", &["raxx-support-team"], &[LegacyRole::literal("ops")]).await;
    let setup = Setup { mapping: Some(MAPPING), upstream: Some(upstream.socket()), ..Setup::V2 };
    let gate = world.gate(&setup).await;
    let table = [
        ("/error", 500, "a server answered with an error of its own", "status=500"),
        ("/garbage", 502, "a request was not completed", "status=502"),
        ("/close", 502, "a request was not completed", "status=502"),
    ];
    for (path, status, message, field) in table {
        let ask = || Ask::get(path).cookie(&world.cookie("anna"));
        let first = gate.send(&ask()).await;
        assert_eq!(first.status, status, "{path}");
        assert_eq!(gate.send(&ask()).await.status, status, "{path}");
        let log = until_logged(&gate, &format!("route=\"GET {path}\"")).await;
        let of_route: Vec<_> = lines(&log, message)
            .into_iter()
            .filter(|line| line.contains(&format!("route=\"GET {path}\"")))
            .collect();
        let [line] = of_route[..] else { panic!("{path}: {of_route:?}") };
        for wanted in [
            field,
            "method=\"GET\"",
            "actor=\"anna\"",
            "upstream=\"console\"",
            &format!("request_id={}", first.request_id()),
        ] {
            assert!(line.contains(wanted), "{wanted}: {line}");
        }
    }
}

/// A gate before the real Console, whose middleware verifies its assertions.
async fn refused(
    world: &World,
    sections: &'static str,
    variables: Vec<(&'static str, String)>,
) -> (Gate, Answer) {
    let setup = Setup { sections, variables: Some(variables), ..Setup::V2 };
    let gate = world.gate(&setup).await;
    let answer = gate.send(&Ask::get("/auth/login")).await;
    (gate, answer)
}

const REFUSED: &str = "the upstream's console-gate package refused the gate's assertion";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_middleware_refuses_is_named_with_both_clocks() {
    let other = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=";
    let keys = |value: String| vec![("CONSOLE_GATE_KEYS", value)];
    let table = [
        ("signature", "", keys(format!("tests:{other}"))),
        ("key", "", keys(format!("another:{other}"))),
        ("algorithm", "[assertion]\nalgorithm = \"EdDSA\"\n", keys(format!("tests:{other}"))),
        ("audience", "[assertion]\naudience = \"elsewhere\"\n", vec![]),
    ];
    for (reason, sections, variables) in table {
        let world = World::new(Database::Sqlite).await;
        let (gate, answer) = refused(&world, sections, variables).await;
        assert_eq!(answer.status, 403, "{reason}");
        assert_eq!(answer.header("x-console-gate-refused"), "", "a client learns no reason");
        let log = until_logged(&gate, REFUSED).await;
        assert!(lines(&log, REFUSED)[0].contains(&format!("reason=\"{reason}\"")), "{reason}: {log}");
        let metric = format!("gate_assertion_refusals_total{{upstream=\"console\",reason=\"{reason}\"}}");
        assert_eq!(gate.metric(&metric).await, Some(1.0), "{reason}");
        let refusals = "gate_upstream_refusals_total";
        assert!(
            !log.contains("its own decorators still decide"),
            "{refusals}: no decorator has refused: {log}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_wrong_shows_with_the_time_on_both_sides() {
    let world = World::new(Database::Sqlite).await;
    let clock = Turned::new(world.folder());
    clock.turn("+1h");
    let (gate, answer) = refused(&world, "", clock.variables()).await;
    assert_eq!(answer.status, 403);
    let log = until_logged(&gate, REFUSED).await;
    let line = lines(&log, REFUSED)[0];
    assert!(line.contains("reason=\"clock\"") && line.contains("set both by NTP"), "{line}");
    let ahead =
        line.split("ahead_seconds=").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<i64>().ok());
    assert!(ahead.is_some_and(|ahead| (-3_700..=-3_500).contains(&ahead)), "{line}");
    assert!(line.contains("gate_time=\"") && line.contains("upstream_time=\""), "{line}");

    clock.turn("+0");
    assert_eq!(gate.send(&Ask::get("/auth/login")).await.status, 200, "the clocks agree again");
}
