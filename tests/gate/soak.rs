//! `console-gate soak`: whether a promotion is held, with a real gate in shadow.

use std::time::{Duration, Instant};

use policy::rbac::LegacyRole;
use serde_json::Value;

use crate::support::recorder::Recorder;
use crate::support::{Ask, Database, Gate, Setup, World};

/// A day and an hour would have to be waited for; requests and people have not.
const MAPPING: &str = "version = 1\n\
    [clusters]\nC = \"shadow\"\nE = \"v2\"\nL = \"legacy\"\n\
    [soak]\nshadow_days = 0\nquiet_hours = 0\nrequests = 4\nadmins = 2\n\
    [blueprints.t]\ncluster = \"C\"\n[blueprints.t.routes]\n\
    \"GET /a\" = { legacy = [\"ops\"], role = \"console-user\" }\n\
    \"GET /u\" = { legacy = [\"ops\"], undecided = \"AMBIGUOUS-1\", options = { A = \"console-user\" } }\n\
    [blueprints.e]\ncluster = \"E\"\n[blueprints.e.routes]\n\
    \"GET /e\" = { legacy = [\"ops\"], role = \"console-user\" }\n\
    [blueprints.l]\ncluster = \"L\"\n[blueprints.l.routes]\n\
    \"GET /l\" = { legacy = [\"ops\"], role = \"console-user\" }\n";

async fn gate(world: &World, upstream: &Recorder) -> Gate {
    let setup = Setup { mapping: Some(MAPPING), upstream: Some(upstream.socket()), ..Setup::V2 };
    world.gate(&setup).await
}

fn state(gate: &Gate) -> Value {
    let (_, text) = gate.attempt(&["soak", "--cluster", "C", "--format", "json"]);
    let states: Value = serde_json::from_str(&text).expect("JSON");
    states[0].clone()
}

/// The log is written behind the answers: waits until it has counted so many.
async fn until_requests(gate: &Gate, requests: u64) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let state = state(gate);
        if state["shadow"]["requests"] == requests {
            return state;
        }
        assert!(Instant::now() < deadline, "{state}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_ready_when_enough_people_have_made_enough_requests() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    for admin in ["anna", "ben", "cleo"] {
        world.admin(admin, &["raxx-support-team"], &[LegacyRole::literal("ops")]).await;
    }
    let gate = gate(&world, &upstream).await;
    let ask = async |path: &str, admin: &str| {
        assert_eq!(gate.send(&Ask::get(path).cookie(&world.cookie(admin))).await.status, 200);
    };
    let (code, text) = gate.attempt(&["soak"]);
    assert_eq!(code, 1, "{text}");
    for line in [
        "C  shadow: not ready\n",
        "    missing: 4 more requests (0 of 4) that both gates decided\n",
        "    missing: 2 more admins (0 of 2) with the legacy role ops\n",
        "\nE  v2: enforced\n",
        "\nL  legacy: not in shadow\n    missing: the cluster is in legacy mode\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }

    for path in ["/a", "/a", "/u", "/e", "/l"] {
        ask(path, "anna").await;
    }
    let after_two = until_requests(&gate, 2).await;
    assert_eq!(after_two["shadow"]["undecided_rows"], 1);
    assert_eq!(
        after_two["missing"],
        serde_json::json!([
            "2 more requests (2 of 4) that both gates decided",
            "1 more admin (1 of 2) with the legacy role ops"
        ])
    );
    ask("/a", "ben").await;
    ask("/a", "ben").await;
    let after_four = until_requests(&gate, 4).await;
    assert_eq!((&after_four["verdict"], &after_four["missing"]), (&"ready".into(), &serde_json::json!([])));
    assert_eq!(gate.attempt(&["soak"]).0, 0, "legacy clusters are not asked about");
    for (arguments, code) in [
        (&["--cluster", "C"][..], 0),
        (&["--cluster", "E"], 0),
        (&["--cluster", "C", "--cluster", "E"], 0),
        (&["--cluster", "L"], 1),
        (&["--cluster", "C", "--cluster", "L"], 1),
        (&["--cluster", "X"], 2),
    ] {
        assert_eq!(gate.attempt(&[&["soak"], arguments].concat()).0, code, "{arguments:?}");
    }
    // Without the switch nothing is computed beside the legacy gate.
    gate.run(&["flag", "rbac-v2", "off"]);
    let (code, text) = gate.attempt(&["soak", "--cluster", "C"]);
    assert_eq!((code, text.as_str()), (1, "C  shadow: not ready\n    missing: FLAG_RBAC_V2 is off\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn unexplained_drift_holds_a_promotion_and_a_sign_off_lets_it_go_on() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    world.admin("olaf", &[], &[LegacyRole::literal("ops")]).await;
    let gate = gate(&world, &upstream).await;
    let drift = async |count: usize| {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let (_, text) = gate.attempt(&["drift", "--all", "--format", "json"]);
            let listing: Value = serde_json::from_str(&text).expect("JSON");
            if listing["disagreements"][0]["count"] == count {
                return listing["disagreements"][0].clone();
            }
            assert!(Instant::now() < deadline, "{text}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert_eq!(gate.send(&Ask::get("/a").cookie(&world.cookie("olaf"))).await.status, 200);
    let seen = drift(1).await;
    let held = state(&gate)["shadow"].clone();
    assert_eq!((&held["unexplained"], &held["signed_off"]), (&1.into(), &0.into()));
    assert_eq!(held["quiet_since_utc"], seen["last_seen_at_utc"], "quiet since the disagreement");

    let id = seen["id"].as_str().expect("an id");
    gate.run(&["drift", "--sign-off", id, "--reason", "he leaves in May"]);
    let explained = state(&gate)["shadow"].clone();
    assert_eq!((&explained["unexplained"], &explained["signed_off"]), (&0.into(), &1.into()));
    assert_eq!(explained["quiet_since_utc"], explained["since_utc"], "quiet since the beginning");
}
