//! `console-gate drift`: what shadow mode saw, as an operator reads it before a promotion.

use std::time::{Duration, Instant};

use console_gate::rbac::LegacyRole;
use serde_json::Value;

use crate::support::recorder::Recorder;
use crate::support::{Ask, Database, Setup, World};

const MAPPING: &str = "version = 1\n[clusters]\nC = \"shadow\"\nD = \"shadow\"\n[blueprints.t]\ncluster = \"C\"\n\
    [blueprints.t.routes]\n\"GET /a\" = { legacy = [\"ops\"], role = \"console-user\" }\n\
    [blueprints.u]\ncluster = \"D\"\n[blueprints.u.routes]\n\
    \"GET /b\" = { legacy = [\"ops\"], role = \"console-user\" }\n";

#[tokio::test(flavor = "multi_thread")]
async fn disagreements_are_listed_by_who_where_and_which_way() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    // Sue would newly be allowed, Olaf newly denied; both gates agree on Bob.
    world.admin("sue", &["raxx-support-team"], &[]).await;
    world.admin("olaf", &[], &[LegacyRole::Ops]).await;
    world.admin("bob", &[], &[]).await;
    let setup = Setup { mapping: Some(MAPPING), upstream: Some(upstream.socket()), ..Setup::V2 };
    let gate = world.gate(&setup).await;
    assert_eq!(gate.attempt(&["drift"]), (0, "no disagreement\n".to_owned()));
    for (path, admin, status) in
        [("/a", "sue", 403), ("/a", "sue", 403), ("/a", "olaf", 200), ("/b", "olaf", 200), ("/a", "bob", 403)]
    {
        assert_eq!(gate.send(&Ask::get(path).cookie(&world.cookie(admin))).await.status, status);
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    let summary = "2 would newly be denied, 1 would newly be allowed; 2 caller(s), 4 request(s)\n";
    let text = loop {
        let (code, text) = gate.attempt(&["drift"]);
        if text.starts_with(summary) {
            assert_eq!(code, 1);
            break text;
        }
        assert!(Instant::now() < deadline, "{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(
        text.contains("\nC  would_newly_allow  GET /a\n    admin sue: legacy deny, V2 allow ("),
        "{text}"
    );
    assert!(
        text.contains(
            "\nD  would_newly_deny  GET /b\n    admin olaf: legacy allow, V2 deny (missing_role)\n"
        ),
        "{text}"
    );
    assert!(text.contains("    2 time(s), "), "{text}");
    let (_, only) = gate.attempt(&["drift", "--cluster", "D", "--format", "json"]);
    let rows: Value = serde_json::from_str(&only).expect("JSON");
    assert_eq!(rows.as_array().map(Vec::len), Some(1));
    assert_eq!((&rows[0]["route"], &rows[0]["actor_id"]), (&Value::from("GET /b"), &Value::from("olaf")));
    assert_eq!(gate.attempt(&["drift", "--cluster", "D", "--direction", "allow"]).0, 0);
    assert_eq!(gate.attempt(&["drift", "--direction", "allow"]).0, 1);
}
