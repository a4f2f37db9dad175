//! The access log: a line for each request where it is asked for, and none where it is not.

use std::collections::BTreeMap;

use crate::support::recorder::Recorder;
use crate::support::{Ask, Database, Gate, Setup, World};

const MAPPING: &str = "version = 1\n[clusters]\nV = \"v2\"\n[blueprints.t.routes]\n\"GET /open\" = { public = true }\n\
    [blueprints.v]\ncluster = \"V\"\n[blueprints.v.routes]\n\
    \"GET /audit/<id>\" = { legacy = [\"ops\"], role = \"console-audit-user\" }\n";

/// The lines, each as its fields.
fn lines(gate: &Gate) -> Vec<BTreeMap<String, String>> {
    let log = gate.log();
    let lines = log.lines().filter_map(|line| Some(line.split_once(" access: ")?.1.to_owned()));
    let fields = |line: String| -> BTreeMap<String, String> {
        // A value in quotes has spaces in it.
        let mut fields = BTreeMap::new();
        let mut rest = line.trim();
        while let Some((name, after)) = rest.split_once('=') {
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
                None => after.split_once(' ').unwrap_or((after, "")),
            };
            fields.insert(name.to_owned(), value.to_owned());
            rest = after.trim_start();
        }
        fields
    };
    lines.map(fields).collect()
}

/// All lines, once there are more than `count`: a line follows the response.
async fn lines_beyond(gate: &Gate, count: usize) -> Vec<BTreeMap<String, String>> {
    for _ in 0..1_000 {
        let lines = lines(gate);
        if lines.len() > count {
            return lines;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("no line came: {}", gate.log());
}

async fn scene(sections: &'static str) -> (World, Gate, Recorder) {
    let world = World::new(Database::Sqlite).await;
    world.admin_holding("anna", &["console-audit-user"]).await;
    world.admin_holding("ben", &["console-user"]).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let setup = Setup { mapping: Some(MAPPING), upstream: Some(upstream.socket()), sections, ..Setup::V2 };
    let gate = world.gate(&setup).await;
    (world, gate, upstream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_has_a_line_with_who_and_why() {
    let (world, gate, _upstream) = scene("[log]\naccess = true\n").await;
    let table = [
        (None, "/open?token=hidden", 200, "forwarded", "GET /open", "", "", "public"),
        (Some("anna"), "/audit/7?q=hidden", 200, "forwarded", "GET /audit/<id>", "anna", "", "v2"),
        (Some("ben"), "/audit/7", 403, "denied", "GET /audit/<id>", "ben", "missing_role", ""),
        (None, "/audit/7", 302, "login", "GET /audit/<id>", "", "", ""),
        (Some("anna"), "/nowhere", 403, "denied", "", "anna", "unmapped_route", ""),
    ];
    for (who, target, status, outcome, route, actor, reason, by) in table {
        let mut ask = Ask::get(target).header("traceparent", "00-11-22-01");
        if let Some(who) = who {
            ask = ask.cookie(&world.cookie(who));
        }
        let before = lines(&gate).len();
        let answer = gate.send(&ask).await;
        assert_eq!(answer.status, status, "{target}");
        let all = lines_beyond(&gate, before).await;
        let [line] = &all[before..] else { panic!("{target}: {:?}", &all[before..]) };
        let field = |name: &str| line.get(name).map_or("", String::as_str);
        assert_eq!(field("status"), status.to_string(), "{line:?}");
        assert_eq!(field("path"), target.split('?').next().unwrap(), "{line:?}");
        let found = [field("outcome"), field("route"), field("actor"), field("reason"), field("gate")];
        assert_eq!(found, [outcome, route, actor, reason, by], "{line:?}");
        assert_eq!(field("traceparent"), "00-11-22-01", "{line:?}");
        assert_eq!(field("request_id"), answer.header("x-request-id"), "{line:?}");
        assert!(field("took_ms").parse::<f64>().unwrap() > 0.0, "{line:?}");
        assert_eq!(field("upstream_ms").is_empty(), outcome != "forwarded", "{line:?}");
    }
    assert!(!gate.log().contains("hidden"), "a query is in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_setting_there_is_none() {
    let (world, gate, _upstream) = scene("").await;
    assert_eq!(gate.send(&Ask::get("/audit/7").cookie(&world.cookie("anna"))).await.status, 200);
    assert!(lines(&gate).is_empty());
}
