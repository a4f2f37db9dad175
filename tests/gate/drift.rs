//! `console-gate drift`: what shadow mode saw, as an operator reads it before a promotion, explains it and signs it off.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use policy::ids::AdminId;
use policy::rbac::LegacyRole;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::recorder::Recorder;
use crate::support::{Ask, Database, Gate, Setup, World};

const MAPPING: &str = "version = 1\n[clusters]\nC = \"shadow\"\nD = \"shadow\"\n[blueprints.t]\ncluster = \"C\"\n\
    [blueprints.t.routes]\n\"GET /a\" = { legacy = [\"ops\"], role = \"console-user\" }\n\
    [blueprints.u]\ncluster = \"D\"\n[blueprints.u.routes]\n\
    \"GET /b\" = { legacy = [\"ops\"], role = \"console-user\" }\n";

/// A gate in shadow, and three people: Sue would newly be allowed, Olaf newly denied; both gates agree on Bob.
async fn gate_in_shadow() -> (World, Recorder, Gate) {
    gate_with(Setup::V2).await
}

/// The same with settings of its own.
async fn gate_with(setup: Setup) -> (World, Recorder, Gate) {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    world.admin("sue", &["raxx-support-team"], &[]).await;
    world.admin("olaf", &[], &[LegacyRole::literal("ops")]).await;
    world.admin("bob", &[], &[]).await;
    let setup = Setup { mapping: Some(MAPPING), upstream: Some(upstream.socket()), ..setup };
    let gate = world.gate(&setup).await;
    (world, upstream, gate)
}

async fn ask(world: &World, gate: &Gate, path: &str, admin: &str, status: u16) {
    assert_eq!(gate.send(&Ask::get(path).cookie(&world.cookie(admin))).await.status, status);
}

/// What is seen is written behind the answer: runs the command until it prints what is expected.
async fn until(gate: &Gate, arguments: &[&str], is_expected: impl Fn(&str) -> bool) -> (i32, String) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let (code, text) = gate.attempt(arguments);
        if is_expected(&text) {
            return (code, text);
        }
        assert!(Instant::now() < deadline, "{arguments:?}: {text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The id of the only disagreement in a list.
fn only_id(list: &str) -> String {
    let ids: Vec<&str> = list.lines().filter_map(|line| line.strip_prefix("    id ")).collect();
    assert_eq!(ids.len(), 1, "{list}");
    ids[0].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn disagreements_are_listed_by_who_where_and_which_way() {
    let (world, _upstream, gate) = gate_in_shadow().await;
    assert_eq!(gate.attempt(&["drift"]), (0, "no disagreement\n".to_owned()));
    for (path, admin, status) in
        [("/a", "sue", 403), ("/a", "sue", 403), ("/a", "olaf", 200), ("/b", "olaf", 200), ("/a", "bob", 403)]
    {
        ask(&world, &gate, path, admin, status).await;
    }
    let summary = "2 would newly be denied, 1 would newly be allowed; 2 caller(s), 4 request(s)\n";
    let (code, text) = until(&gate, &["drift"], |text| text.starts_with(summary)).await;
    assert_eq!(code, 1);
    assert!(
        text.contains(
            "\nC  would_newly_allow  GET /a\n    admin sue: legacy deny, V2 allow (missing_legacy_role)\n    2 time(s), "
        ),
        "{text}"
    );
    assert!(
        text.contains(
            "\nD  would_newly_deny  GET /b\n    admin olaf: legacy allow, V2 deny (missing_role)\n"
        ),
        "{text}"
    );
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let (_, only) = gate.attempt(&["drift", "--cluster", "D", "--format", "json"]);
    let listing: Value = serde_json::from_str(&only).expect("JSON");
    let rows = listing["disagreements"].as_array().expect("a list");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["route"], "GET /b");
    assert_eq!((&rows[0]["actor_kind"], &rows[0]["actor_id"]), (&Value::from("admin"), &Value::from("olaf")));
    assert_eq!(
        (&rows[0]["direction"], &rows[0]["count"]),
        (&Value::from("would_newly_deny"), &Value::from(1))
    );
    for (filter, code) in [
        (&["--cluster", "D", "--direction", "allow"][..], 0),
        (&["--direction", "allow"], 1),
        (&["--actor", "sue"], 1),
        (&["--actor", "sue", "--direction", "deny"], 0),
        (&["--route", "GET /b"], 1),
        (&["--route", "GET /b", "--actor", "sue"], 0),
    ] {
        assert_eq!(gate.attempt(&[&["drift"], filter].concat()).0, code, "{filter:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_off_is_valid_until_the_callers_grants_change() {
    let (world, _upstream, gate) = gate_in_shadow().await;
    ask(&world, &gate, "/a", "sue", 403).await;
    ask(&world, &gate, "/b", "olaf", 200).await;
    let of_olaf = ["drift", "--actor", "olaf"];
    let (_, list) = until(&gate, &of_olaf, |text| text.contains("GET /b")).await;
    let id = only_id(&list);

    // Without a reason, or with an id that is none, nothing is signed off.
    assert_eq!(gate.attempt(&["drift", "--sign-off", &id]).0, 2);
    assert_eq!(gate.attempt(&["drift", "--sign-off", &id, "--reason", "  "]).0, 2);
    assert_eq!(gate.attempt(&["drift", "--sign-off", "zzzz", "--reason", "he leaves"]).0, 2);
    assert_eq!(gate.attempt(&["drift", "--withdraw", &id]).0, 2, "there is nothing to withdraw");
    assert_eq!(gate.attempt(&of_olaf).0, 1);

    // The id may be cut short.
    gate.run(&["drift", "--sign-off", &id[..6], "--reason", "he leaves in May"]);
    assert_eq!(
        gate.attempt(&of_olaf),
        (0, "no unexplained disagreement\n1 signed off (--all lists them)\n".to_owned())
    );
    assert_eq!(gate.attempt(&["drift", "--actor", "sue"]).0, 1, "hers is another");
    let (code, all) = gate.attempt(&["drift", "--actor", "olaf", "--all"]);
    assert!(code == 0 && all.contains("he leaves in May"), "{code}: {all}");
    assert_eq!(gate.attempt(&["drift", "--explain", &id]).0, 0);
    // It is about the disagreement, not about its time: seen again, it is still explained.
    ask(&world, &gate, "/b", "olaf", 200).await;
    let again = ["drift", "--actor", "olaf", "--all"];
    assert_eq!(until(&gate, &again, |text| text.contains("2 time(s)")).await.0, 0);

    // A group that has nothing to do with the row: nobody has reviewed what he holds now.
    world
        .store
        .join_group(&AdminId::new("olaf"), "raxx-compliance-auditors", "tests")
        .await
        .expect("a group to join");
    let (code, text) = gate.attempt(&of_olaf);
    assert_eq!(code, 1);
    assert!(text.contains("the caller's grants changed since the sign-off by "), "{text}");
    // And back: he holds again what was reviewed.
    world
        .store
        .leave_group(&AdminId::new("olaf"), "raxx-compliance-auditors")
        .await
        .expect("a group to leave");
    assert_eq!(gate.attempt(&of_olaf).0, 0);

    gate.run(&["drift", "--withdraw", &id]);
    assert_eq!(gate.attempt(&of_olaf).0, 1);
    let events = world.store.recent(1_000).await.expect("the audit rows");
    let recorded: Vec<&str> = events
        .iter()
        .rev()
        .map(|event| event.event_type.as_str())
        .filter(|word| word.starts_with("drift_"))
        .collect();
    assert_eq!(recorded, ["drift_signed_off", "drift_sign_off_withdrawn"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_off_ends_when_the_row_asks_for_something_else() {
    let (world, _upstream, gate) = gate_in_shadow().await;
    ask(&world, &gate, "/b", "olaf", 200).await;
    let (_, list) = until(&gate, &["drift"], |text| text.contains("GET /b")).await;
    gate.run(&["drift", "--sign-off", &only_id(&list), "--reason", "he leaves in May"]);
    assert_eq!(gate.attempt(&["drift"]).0, 0);

    let activate = async |mapping: &str| {
        let before = gate.run(&["history"]).lines().count();
        std::fs::write(gate.mapping_file(), mapping).expect("a mapping");
        until(&gate, &["history"], |text| text.lines().count() > before).await;
    };
    // The row is further down, under another blueprint's name, and another row asks for something else.
    activate(
        &MAPPING
            .replace("[blueprints.u]", "# a comment\n[blueprints.v]")
            .replace("blueprints.u.", "blueprints.v.")
            .replace("\"GET /a\" = { legacy = [\"ops\"]", "\"GET /a\" = { legacy = [\"support\"]"),
    )
    .await;
    assert_eq!(gate.attempt(&["drift"]).0, 0);
    activate(
        &MAPPING
            .replace("\"GET /b\" = { legacy = [\"ops\"]", "\"GET /b\" = { legacy = [\"ops\", \"support\"]"),
    )
    .await;
    let (code, text) = gate.attempt(&["drift"]);
    assert_eq!(code, 1);
    assert!(text.contains("the row's requirement changed since the sign-off by "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disagreement_is_explained_with_the_smallest_change_and_its_requests() {
    let (world, _upstream, gate) = gate_in_shadow().await;
    ask(&world, &gate, "/a", "sue", 403).await;
    ask(&world, &gate, "/b", "olaf", 200).await;
    let explained = async |actor: &str| {
        let (_, list) = until(&gate, &["drift", "--actor", actor], |text| text.contains("    id ")).await;
        let id = only_id(&list);
        let (code, text) =
            until(&gate, &["drift", "--explain", &id], |text| text.contains("\nrequest ")).await;
        assert_eq!(code, 0);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        // One line each, as it was before it was wrapped.
        text.replace("\n           ", " ")
    };
    let olaf = explained("olaf").await;
    for line in [
        "row        `GET /b`\n",
        "cluster    D\n",
        "who        admin olaf\n",
        "direction  would_newly_deny\n",
        "legacy     allows: requires one of ops; has ops\n",
        "v2         denies: requires role console-user; lacks role console-user; is in no group\n",
        "request    1 time(s) `GET /b`, allow\n",
    ] {
        assert!(olaf.contains(line), "{line}\n{olaf}");
    }
    assert!(olaf.contains("change     add olaf to "), "{olaf}");
    let sue = explained("sue").await;
    for line in [
        "legacy     denies: requires one of ops; has no legacy role\n",
        "v2         allows: requires role console-user; raxx-support-team -> ",
        "change     if sue should not have access: remove sue from raxx-support-team\n",
        "request    1 time(s) `GET /a`, deny\n",
    ] {
        assert!(sue.contains(line), "{line}\n{sue}");
    }
}

/// An error tracker that keeps what it is sent and, if it is alive, confirms it.
async fn tracker(is_alive: bool) -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let dsn = format!("http://publickey@{}/42", listener.local_addr().expect("its address"));
    let received: Arc<Mutex<String>> = Arc::default();
    let kept = received.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let kept = kept.clone();
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                    let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                    // The last line of an envelope ends the request.
                    let is_whole = text.ends_with("}\n");
                    kept.lock().expect("nobody panicked").push_str(&text);
                    if is_whole && is_alive {
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                        stream.write_all(answer).await.expect("the gate reads the answer");
                    }
                }
            });
        }
    });
    (dsn, received)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_tracker_gets_a_new_disagreement_once_and_no_name() {
    let (dsn, received) = tracker(true).await;
    let (world, _upstream, gate) =
        gate_with(Setup { variables: Some(vec![("SENTRY_DSN", dsn)]), ..Setup::V2 }).await;
    let sent = async |expected: f64| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while gate.metric("gate_sentry_reports_total{outcome=\"sent\"}").await != Some(expected) {
            assert!(Instant::now() < deadline, "{received:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    ask(&world, &gate, "/b", "olaf", 200).await;
    sent(1.0).await;
    // Seen again it is no news; a mapping that is refused is.
    ask(&world, &gate, "/b", "olaf", 200).await;
    until(&gate, &["drift"], |text| text.contains("    2 time(s)")).await;
    std::fs::write(gate.mapping_file(), "version = 2").expect("a mapping");
    sent(2.0).await;
    let received = received.lock().expect("nobody panicked").clone();
    assert_eq!(received.matches("POST /api/42/envelope/ ").count(), 2, "{received}");
    assert_eq!(received.matches("a new disagreement").count() / 2, 1, "message and fingerprint: {received}");
    for part in ["\"route\":\"GET /b\"", "\"cluster\":\"D\"", "the mapping file was refused"] {
        assert!(received.contains(part), "{part}: {received}");
    }
    assert!(!received.contains("olaf"), "{received}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_tracker_that_hangs_delays_neither_answers_nor_the_end() {
    let (dsn, received) = tracker(false).await;
    let (world, _upstream, mut gate) =
        gate_with(Setup { variables: Some(vec![("SENTRY_DSN", dsn)]), ..Setup::V2 }).await;
    ask(&world, &gate, "/b", "olaf", 200).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while received.lock().expect("nobody panicked").is_empty() {
        assert!(Instant::now() < deadline, "nothing was sent");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..20 {
        ask(&world, &gate, "/b", "olaf", 200).await;
    }
    gate.signal("TERM");
    assert!(gate.ends(Duration::from_secs(20)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_bound_disagreements_are_counted_and_hold_the_soak_gate() {
    let (world, _upstream, gate) =
        gate_with(Setup { sections: "[retention]\ndrift_rows = 1\n", ..Setup::V2 }).await;
    ask(&world, &gate, "/a", "olaf", 200).await;
    until(&gate, &["drift"], |text| text.contains("GET /a")).await;
    ask(&world, &gate, "/b", "olaf", 200).await;
    ask(&world, &gate, "/b", "olaf", 200).await;
    let more = "2 more request(s) in D over the limit, would_newly_deny, ";
    let (_, list) = until(&gate, &["drift"], |text| text.contains(more)).await;
    assert!(!list.contains("GET /b"), "{list}");
    // What is beyond the bound cannot be looked at, so nobody can sign it off.
    gate.run(&["drift", "--sign-off", &only_id(&list), "--reason", "he leaves in May"]);
    assert_eq!(gate.attempt(&["drift", "--cluster", "C"]).0, 0);
    assert_eq!(gate.attempt(&["drift", "--cluster", "D"]).0, 1);
    let quiet_since = |cluster: &str| {
        let (_, text) = gate.attempt(&["soak", "--cluster", cluster, "--format", "json"]);
        let states: Value = serde_json::from_str(&text).expect("JSON");
        let shadow = &states[0]["shadow"];
        (shadow["quiet_since_utc"].clone(), shadow["since_utc"].clone())
    };
    let (quiet, since) = quiet_since("C");
    assert_eq!(quiet, since);
    let (quiet, since) = quiet_since("D");
    assert!(quiet.as_str() > since.as_str(), "{quiet} {since}");
}
