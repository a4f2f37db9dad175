//! A login loop explains itself: a session that is nobody's is a warning that names the cause and the setting, once in some
//! minutes, and a reason of a metric.

use chrono::Utc;
use policy::identity::flask_cookie::SigningKeys;
use serde_json::{Value, json};

use crate::support::recorder::Recorder;
use crate::support::{Ask, Database, Gate, Setup, World};

const MAPPING: &str = "version = 1\n[blueprints.t.routes]\n\"GET /account\" = { session = true }\n\
    \"GET /open\" = { public = true }\n";

/// Signed by another key than Console's.
fn forged(payload: &Value) -> String {
    let no_fallbacks: [&[u8]; 0] = [];
    SigningKeys::new(b"some other key", no_fallbacks).expect("a key").sign(payload, Utc::now())
}

async fn gate(world: &World, upstream: &Recorder) -> Gate {
    world.gate(&Setup { mapping: Some(MAPPING), upstream: Some(upstream.socket()), ..Setup::V2 }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_cause_is_a_warning_once_and_a_reason() {
    let world = World::new(Database::Sqlite).await;
    world.admin_holding("anna", &["console-user"]).await;
    world.admin_holding("dora", &["console-user"]).await;
    world.execute("UPDATE admins SET disabled_at_utc = '2026-01-01 00:00:00' WHERE id = 'dora'").await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate = gate(&world, &upstream).await;
    let signed = |payload: &Value| world.sign(payload, Utc::now());
    let admin = |id: &str| signed(&json!({ "admin_id": id }));
    let refused = "gate_sessions_refused_total";
    let unread = "gate_cookies_refused_total";
    let table = [
        (
            format!("session={}", forged(&json!({ "admin_id": "anna" }))),
            unread,
            "bad-signature",
            "SECRET_KEY",
        ),
        (
            format!("session={}", signed(&json!({ "_user_id": "anna" }))),
            unread,
            "no-admin-id",
            "`admin_id_key`",
        ),
        (format!("a=b; sid={}", admin("anna")), unread, "other-name", "`cookie_name`"),
        (format!("session={}", admin("zoe")), refused, "unknown-admin", "`admins` in [console]"),
        (format!("session={}", admin("dora")), refused, "disabled", ""),
    ];
    for (cookie, metric, reason, setting) in &table {
        for _ in 0..3 {
            let answer = gate.send(&Ask::get("/account").header("cookie", cookie.as_str())).await;
            assert_eq!(answer.status, 302, "{reason}");
        }
        let metric = format!("{metric}{{reason=\"{reason}\"}}");
        assert!(gate.metric(&metric).await.is_some_and(|count| (count - 3.0).abs() < 0.5), "{metric}");
        let log = gate.log();
        let lines: Vec<&str> =
            log.lines().filter(|line| line.contains(&format!("reason=\"{reason}\""))).collect();
        if setting.is_empty() {
            // Somebody who was disabled is no mistake of the settings.
            assert!(lines.is_empty(), "{lines:?}");
            continue;
        }
        let [line] = lines.as_slice() else { panic!("{reason}: {lines:?}\n{log}") };
        assert!(line.contains(setting) && line.contains(" WARN "), "{line}");
        assert!(!line.contains(&**cookie) && !line.contains(&cookie[cookie.len() - 20..]), "{line}");
    }
    // Nobody is looked for on a public row, and a good session warns of nothing.
    let before = gate.log().matches(" WARN ").count();
    for path in ["/open", "/account"] {
        let answer = gate.send(&Ask::get(path).cookie(&admin("anna"))).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    assert_eq!(gate.log().matches(" WARN ").count(), before);
}
