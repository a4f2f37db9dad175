//! The audit as an auditor meets it: proved, exported, erased, reported to, and whole when the database was not.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http::{Answer, Client};
use crate::support::recorder::Recorder;
use crate::support::transit::{TOKEN, Transit};
use crate::support::{Ask, Database, Gate, Setup, World};

const MAPPING: &str = "version = 1\n[clusters]\nC = \"v2\"\n[blueprints.t]\ncluster = \"C\"\n[blueprints.t.routes]\n\
    \"GET /denied/<path:rest>\" = { legacy = [\"superadmin\"], role = \"console-manager\" }\n";

struct Scene {
    world: World,
    gate: Gate,
    cookie: String,
    _upstream: Recorder,
}

/// A gate, and somebody whom it denies everything.
async fn scene(database: Database, setup: Setup) -> Scene {
    let world = World::new(database).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    world.admin("anna", &["raxx-support-team"], &[]).await;
    let gate =
        world.gate(&Setup { mapping: Some(MAPPING), upstream: Some(upstream.socket()), ..setup }).await;
    let cookie = world.cookie("anna");
    Scene { world, gate, cookie, _upstream: upstream }
}

impl Scene {
    async fn deny(&self, number: u32) -> String {
        let answer = self.gate.send(&Ask::get(&format!("/denied/{number}")).cookie(&self.cookie)).await;
        assert_eq!(answer.status, 403);
        answer.request_id().to_owned()
    }

    /// The verdict of `audit verify`, and the kinds of its findings.
    fn verify(&self, arguments: &[&str]) -> (i32, Vec<String>, Value) {
        let arguments = [&["audit", "verify", "--format", "json"], arguments].concat();
        let (code, printed) = self.gate.attempt(&arguments);
        let report: Value = serde_json::from_str(&printed).expect("a report");
        let kinds = report["findings"].as_array().expect("findings").iter();
        (code, kinds.map(|finding| finding["kind"].as_str().unwrap_or_default().to_owned()).collect(), report)
    }

    /// A statement around the triggers, as somebody who has the database for himself would make it.
    async fn tamper(&self, statement: &str) {
        let sqlite = self.world.database_url.starts_with("sqlite:");
        let before = if sqlite {
            "DROP TRIGGER IF EXISTS gate_audit_events_refuse_update;
             DROP TRIGGER IF EXISTS gate_audit_events_refuse_delete;
             DROP TRIGGER IF EXISTS customer_audit_events_refuse_update;"
        } else {
            "ALTER TABLE gate_audit_events DISABLE TRIGGER USER;
             ALTER TABLE customer_audit_events DISABLE TRIGGER USER;"
        };
        self.world.execute(&format!("{before} {statement}")).await;
    }

    async fn until_replayed(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.readiness().await["audit"] != "database" {
            assert!(Instant::now() < deadline, "rows still wait\n{}", self.gate.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn readiness(&self) -> Value {
        Client::to(&self.gate.admin_socket()).send(&Ask::get("/readyz")).await.json()
    }
}

/// What somebody with the database for himself might do to a chain of `chain_started` and the denials 1 to 6.
const DAMAGES: [(&str, &str); 5] = [
    ("UPDATE gate_audit_events SET reason = 'none' WHERE path = '/denied/3'", "edited"),
    ("UPDATE gate_audit_events SET actor_id = 'ben' WHERE path = '/denied/3'", "edited"),
    ("DELETE FROM gate_audit_events WHERE path = '/denied/3'", "removed"),
    (
        "UPDATE gate_audit_events SET actor_id = NULL, session_id = NULL, client_address = NULL, path = NULL,
                personal_salt = NULL, erased_by = 'nobody' WHERE path = '/denied/3'",
        "erasure_unaccounted",
    ),
    (
        "INSERT INTO gate_audit_events (id, event_type, occurred_at_utc, actor_kind, chain_id, sequence, key_id,
                personal_digest, content_hash, mac)
         SELECT '00000000-0000-0000-0000-000000000007', 'access_denied', occurred_at_utc, 'admin', chain_id, 8,
                key_id, personal_digest, content_hash, mac FROM gate_audit_events WHERE path = '/denied/3'",
        // Made up, with the seal of another row: it is not what that seal was made of.
        "edited",
    ),
];

async fn what_was_done_to_a_row_is_found(database: Database) {
    for (statement, expected) in DAMAGES {
        let scene = scene(database, Setup::V2).await;
        for number in 1..=6 {
            scene.deny(number).await;
        }
        assert_eq!(scene.verify(&[]).1, [""; 0]);
        scene.tamper(statement).await;
        let (code, kinds, report) = scene.verify(&[]);
        assert_eq!(code, 1, "{statement}");
        assert!(kinds.contains(&expected.to_owned()), "{statement}: {report}");
        assert!(kinds.len() <= 2, "one damage, few findings: {report}");
        let (code, text) = scene.gate.attempt(&["audit", "verify"]);
        assert!(code == 1 && text.contains(expected) && text.contains("NOT CLEAN"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_to_a_row_is_found_on_sqlite() {
    what_was_done_to_a_row_is_found(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_to_a_row_is_found_on_postgres() {
    what_was_done_to_a_row_is_found(Database::Postgres).await;
}

/// What the chain alone cannot show: its last rows are missing. A checkpoint in a second place does.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_tail_is_found_by_a_checkpoint() {
    let setup = Setup { audit: "checkpoint_file = \"checkpoints\"\n", ..Setup::V2 };
    let mut scene = scene(Database::Sqlite, setup).await;
    for number in 1..=6 {
        scene.deny(number).await;
    }
    scene.gate.signal("TERM");
    assert!(scene.gate.ends(Duration::from_secs(30)).await, "{}", scene.gate.log());
    assert_eq!(scene.verify(&[]).1, [""; 0], "a gate that stops leaves a checkpoint of all that it wrote");
    scene.tamper("DELETE FROM gate_audit_events WHERE path IN ('/denied/5', '/denied/6')").await;
    assert_eq!(scene.verify(&[]).1, ["cut"]);
    std::fs::write(scene.gate.folder().join("none"), "").expect("an empty file");
    let none = scene.gate.folder().join("none").display().to_string();
    assert_eq!(scene.verify(&["--checkpoints", &none]).1, [""; 0], "without checkpoints nobody can know");
}

/// Who holds the database can take out what a command has recorded and set the head of the chain back, and the chain is
/// in order. The command itself has written a checkpoint before it ended.
async fn a_command_whose_record_was_taken_out_is_found(database: Database) {
    const SET_BACK: &str = "UPDATE gate_audit_control SET
        sequence = (SELECT MAX(sequence) FROM gate_audit_events WHERE chain_id = 'control'),
        mac = (SELECT mac FROM gate_audit_events WHERE chain_id = 'control' ORDER BY sequence DESC LIMIT 1);";
    const TAKE_OUT: &str = "DELETE FROM gate_audit_events WHERE event_type = 'token_created';";
    let clean_slate = "DELETE FROM gate_audit_events WHERE chain_id = 'control';
         UPDATE gate_audit_control SET sequence = 0, mac = '0000000000000000000000000000000000000000000000000000000000000000';";
    for (statement, and_then, expected) in [
        (format!("{TAKE_OUT} {SET_BACK}"), false, "cut"),
        // The next command seals another row in its place.
        (format!("{TAKE_OUT} {SET_BACK}"), true, "rewritten"),
        (format!("{TAKE_OUT} DELETE FROM gate_audit_control;"), false, "control_head"),
        (TAKE_OUT.to_owned(), false, "cut"),
        (clean_slate.to_owned(), false, "cut"),
        ("UPDATE gate_audit_control SET sequence = 1;".to_owned(), false, "control_head"),
        ("UPDATE gate_audit_control SET mac = upper(mac);".to_owned(), false, "control_head"),
    ] {
        let setup = Setup { audit: "checkpoint_file = \"checkpoints\"\n", ..Setup::V2 };
        let scene = scene(database, setup).await;
        scene.gate.run(&["token", "create", "breaker"]);
        assert_eq!(scene.verify(&[]).1, [""; 0]);
        scene.tamper(&statement).await;
        if and_then {
            scene.gate.run(&["token", "create", "other"]);
        }
        let (code, kinds, report) = scene.verify(&[]);
        assert_eq!(code, 1, "{statement}");
        assert!(kinds.contains(&expected.to_owned()), "{statement}: {report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_record_was_taken_out_is_found_on_sqlite() {
    a_command_whose_record_was_taken_out_is_found(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_record_was_taken_out_is_found_on_postgres() {
    a_command_whose_record_was_taken_out_is_found(Database::Postgres).await;
}

/// The place is a file that only the gates' machine has: the command succeeds, and warns that a removal of its record
/// would go unnoticed for now.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_cannot_keep_its_checkpoint_says_so() {
    let mut scene =
        scene(Database::Sqlite, Setup { audit: "checkpoint_file = \"elsewhere\"\n", ..Setup::V2 }).await;
    let here = scene.gate.folder().join("elsewhere");
    let (code, written) = scene.gate.complaint(&["flag", "rbac-v2", "on"]);
    assert_eq!((code, written.as_str()), (0, ""));
    let end = scene.world.store.control_chain().await.expect("the chain").end.expect("a row");
    let kept = std::fs::read_to_string(&here).expect("checkpoints");
    assert!(kept.contains(&end.mac), "no checkpoint of {end:?} in {kept}");
    scene.gate.signal("TERM");
    assert!(scene.gate.ends(Duration::from_secs(30)).await, "{}", scene.gate.log());
    std::fs::remove_file(&here).expect("the checkpoints");
    let (code, written) = scene.gate.complaint(&["flag", "rbac-v2", "on"]);
    assert!(code == 0 && written.contains("was created on this machine"), "{written}");
    std::fs::remove_file(&here).expect("the checkpoints");
    std::fs::create_dir(&here).expect("a folder of that name");
    for arguments in
        [&["flag", "rbac-v2", "off"][..], &["token", "create", "robot"], &["audit", "erase", "anna"]]
    {
        let (code, written) = scene.gate.complaint(arguments);
        assert_eq!(code, 0, "{written}");
        let warnings = written.matches("warning: the checkpoint of this change was not written to").count();
        assert!(warnings == 1 && written.contains("elsewhere"), "{arguments:?}: {written}");
    }
}

/// The next gate keeps what one that was killed had no time for, its chain's end and the commands'.
#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_was_killed_has_its_checkpoints_from_the_next() {
    let setup = Setup { audit: "checkpoint_file = \"checkpoints\"\n", ..Setup::V2 };
    let mut scene = scene(Database::Postgres, setup).await;
    for number in 1..=3 {
        scene.deny(number).await;
    }
    scene.gate.signal("KILL");
    assert!(scene.gate.ends(Duration::from_secs(30)).await);
    scene.gate.restart().await;
    scene.gate.signal("TERM");
    assert!(scene.gate.ends(Duration::from_secs(30)).await, "{}", scene.gate.log());
    let (_, kinds, report) = scene.verify(&[]);
    assert_eq!((kinds, &report["summary"]["chains_without_checkpoint"]), (Vec::new(), &json!(0)), "{report}");
    scene.tamper("DELETE FROM gate_audit_events WHERE path = '/denied/3'").await;
    assert_eq!(scene.verify(&[]).1, ["cut"]);
}

/// Another process's file that this gate may not read, and one that is no spool, keep it from nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_cannot_be_read_keeps_no_gate_from_starting() {
    let mut scene = scene(Database::Sqlite, Setup::V2).await;
    scene.gate.kill();
    let spool = |name: &str| scene.gate.folder().join("spool").join(name);
    let (folder, noise) = (spool("other.spool"), spool("noise.spool"));
    std::fs::create_dir(&folder).expect("what cannot be opened as a file");
    std::fs::write(&noise, "no row of any gate\n").expect("noise");
    scene.gate.restart().await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while noise.exists() || scene.readiness().await["unreadable_spools"] != json!([folder]) {
        assert!(Instant::now() < deadline, "{}", scene.gate.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(scene.gate.log().contains("other.spool") && scene.gate.log().contains("chown"));
    assert!(noise.with_extension("damaged").exists());
    assert_eq!(scene.gate.metric("gate_audit_spool_unreadable_files").await, Some(1.0));
    scene.deny(1).await;
    assert_eq!(scene.readiness().await["ready"], json!(true));
    assert_eq!(scene.verify(&[]).1, [""; 0]);
}

/// The database accepts no rows (and answers reads): denials are answered, and their rows are written later, in order,
/// once.
async fn rows_outlive_a_database_that_takes_none(database: Database) {
    let scene = scene(database, Setup::V2).await;
    let mut ids = vec![scene.deny(1).await];
    scene.world.execute("ALTER TABLE gate_audit_events RENAME TO away").await;
    for number in 2..=20 {
        ids.push(scene.deny(number).await);
    }
    let readiness = scene.readiness().await;
    assert_eq!((&readiness["audit"], &readiness["ready"]), (&json!("spool"), &json!(true)));
    assert_eq!(
        (&readiness["audit_problem"], &readiness["database_problem"]),
        (&json!("schema"), &Value::Null)
    );
    scene.world.execute("ALTER TABLE away RENAME TO gate_audit_events").await;
    scene.until_replayed().await;
    ids.push(scene.deny(21).await);
    for id in &ids {
        assert_eq!(scene.world.store.by_request(id).await.expect("the rows").len(), 1, "{id}");
    }
    let (_, kinds, report) = scene.verify(&[]);
    assert_eq!(kinds, [""; 0], "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_outlive_a_database_that_takes_none_on_sqlite() {
    rows_outlive_a_database_that_takes_none(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_outlive_a_database_that_takes_none_on_postgres() {
    rows_outlive_a_database_that_takes_none(Database::Postgres).await;
}

/// Killed with rows in its spool: the next gate on the machine brings them.
#[tokio::test(flavor = "multi_thread")]
async fn rows_outlive_the_gate_that_spooled_them() {
    let mut scene = scene(Database::Postgres, Setup::V2).await;
    scene.world.execute("ALTER TABLE gate_audit_events RENAME TO away").await;
    let id = scene.deny(1).await;
    scene.gate.signal("KILL");
    assert!(scene.gate.ends(Duration::from_secs(30)).await);
    scene.world.execute("ALTER TABLE away RENAME TO gate_audit_events").await;
    scene.gate.restart().await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while scene.world.store.by_request(&id).await.expect("the rows").is_empty() {
        assert!(Instant::now() < deadline, "{}", scene.gate.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(scene.verify(&[]).1, [""; 0]);
}

/// Neither the database nor the spool takes the row: 503, and never a 403 that leaves no trace.
#[tokio::test(flavor = "multi_thread")]
async fn a_denial_that_cannot_be_recorded_is_no_denial() {
    let scene = scene(Database::Postgres, Setup { audit: "spool_bytes = 0\n", ..Setup::V2 }).await;
    scene.world.execute("ALTER TABLE gate_audit_events RENAME TO away").await;
    let answer = scene.gate.send(&Ask::get("/denied/1").cookie(&scene.cookie)).await;
    assert_eq!(answer.status, 503);
    let readiness = scene.readiness().await;
    assert_eq!((&readiness["audit"], &readiness["ready"]), (&json!("nowhere"), &json!(false)));
    scene.world.execute("ALTER TABLE gate_flags RENAME TO other").await;
    let readiness = scene.readiness().await;
    assert_eq!((&readiness["database"], &readiness["database_problem"]), (&json!("down"), &json!("schema")));
    scene.world.execute("ALTER TABLE other RENAME TO gate_flags").await;
    scene.world.execute("ALTER TABLE away RENAME TO gate_audit_events").await;
    scene.until_replayed().await;
    scene.deny(2).await;
    assert_eq!(scene.verify(&[]).1, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_the_rows_of_its_time() {
    let scene = scene(Database::Sqlite, Setup::V2).await;
    let ids = [scene.deny(1).await, scene.deny(2).await];
    let (_, lines) = scene.gate.attempt(&["audit", "export", "--since", "2020-01-01", "--format", "jsonl"]);
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let denials: Vec<&Value> = rows.iter().filter(|row| row["event_type"] == "access_denied").collect();
    assert_eq!(denials.iter().map(|row| row["request_id"].as_str().unwrap_or("")).collect::<Vec<_>>(), ids);
    let (_, table) = scene.gate.attempt(&["audit", "export", "--since", "2020-01-01", "--format", "csv"]);
    assert!(table.starts_with("id,event_type,occurred_at_utc,actor_kind,actor_id,"), "{table}");
    assert_eq!(table.lines().count(), rows.len() + 1);
    let until = ["audit", "export", "--since", "2020-01-01", "--until", "2020-01-02"];
    assert_eq!(scene.gate.attempt(&until), (0, String::new()));
    assert_eq!(scene.gate.attempt(&["audit", "export", "--since", "yesterday"]).0, 2);
}

/// In each of its forms: who held what, what was changed, and who was denied; and it says whether the audit is clean.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_a_period_is_whole_and_says_whether_the_audit_is_clean() {
    for database in [Database::Sqlite, Database::Postgres] {
        let scene = scene(database, Setup::V2).await;
        scene.deny(1).await;
        scene.deny(2).await;
        scene.gate.run(&["group", "create", "night"]);
        scene.gate.run(&["group", "add", "night", "anna", "--reason", "<script>RAXX-7</script>"]);
        let report =
            |format: &str| scene.gate.attempt(&["audit", "report", "--since", "1h", "--format", format]);
        let (code, json) = report("json");
        let json: Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
        assert_eq!((code, &json["audit"]["clean"]), (0, &json!(true)), "{json:#}");
        let held = json["access"].as_array().expect("grants").iter();
        assert!(held.clone().any(|grant| grant["id"] == "anna" && grant["granted"] == "night"), "{json:#}");
        let denied: u64 = json["uses"]
            .as_array()
            .expect("uses")
            .iter()
            .map(|one| one["denied"].as_u64().unwrap_or(0))
            .sum();
        assert_eq!(denied, 2, "{json:#}");
        let (code, page) = report("html");
        assert_eq!(code, 0, "{page}");
        assert!(page.contains("The audit is clean") && page.contains("<td>night</td>"), "{page}");
        assert!(page.contains("RAXX-7") && !page.contains("<script"), "{page}");
        let (code, table) = report("csv");
        let records: Vec<&str> = table.lines().filter_map(|line| line.split(',').next()).collect();
        assert_eq!(code, 0, "{table}");
        for record in ["record", "period", "access", "change", "use", "not_known"] {
            assert!(records.contains(&record), "{record}: {table}");
        }
        let empty = scene.gate.attempt(&["audit", "report", "--since", "1h", "--until", "2h"]);
        assert_eq!(empty.0, 2, "{}", empty.1);
        let unlocked = match database {
            Database::Sqlite => "DROP TRIGGER gate_audit_events_refuse_update",
            Database::Postgres => "ALTER TABLE gate_audit_events DISABLE TRIGGER USER",
        };
        scene.world.execute(unlocked).await;
        scene
            .world
            .execute("UPDATE gate_audit_events SET actor_id = 'ben' WHERE event_type = 'access_denied'")
            .await;
        let (code, page) = report("html");
        assert_eq!(code, 1, "{page}");
        assert!(page.contains("NOT CLEAN"), "{page}");
    }
}

/// Deleting an admin requests the erasure; the name is blanked, the rows stay, and the chain verifies.
#[tokio::test(flavor = "multi_thread")]
async fn erasing_an_admin_leaves_the_chain_whole() {
    let scene = scene(Database::Postgres, Setup::V2).await;
    scene.deny(1).await;
    scene.deny(2).await;
    assert!(scene.gate.run(&["audit", "erase", "anna"]).starts_with("2 audit rows and 0 customers' events"));
    let (code, kinds, report) = scene.verify(&[]);
    assert_eq!((code, kinds), (0, Vec::new()));
    assert_eq!(report["summary"]["erased"], 2);
    assert!(!scene.gate.run(&["audit", "export", "--since", "2020-01-01"]).contains("anna"));
    // One more row without a name is one more than the event accounts for.
    let event = scene.world.store.recent(1).await.expect("the rows").remove(0);
    assert_eq!(event.event_type, "admin_erased");
    scene.world.admin("ben", &["raxx-support-team"], &[]).await;
    let ben = Ask::get("/denied/3").cookie(&scene.world.cookie("ben"));
    assert_eq!(scene.gate.send(&ben).await.status, 403);
    scene
        .tamper(&format!(
            "UPDATE gate_audit_events SET actor_id = NULL, session_id = NULL, client_address = NULL, path = NULL,
                    personal_salt = NULL, erased_by = '{}' WHERE path = '/denied/3'",
            event.id
        ))
        .await;
    assert_eq!(scene.verify(&[]).1, ["erasure_unaccounted"]);
}

/// A key that was lost and made anew under the same id would break the chain for good: nobody starts with it, and no command runs.
#[tokio::test(flavor = "multi_thread")]
async fn another_key_of_the_same_id_is_refused() {
    use crate::support::console::AUDIT_KEYS;
    const OTHER: &str = "audit:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=";
    for (database, has_fingerprint) in [
        (Database::Sqlite, true),
        (Database::Sqlite, false),
        (Database::Postgres, true),
        (Database::Postgres, false),
    ] {
        let mut scene = scene(database, Setup::V2).await;
        scene.deny(1).await;
        if !has_fingerprint {
            // As after an upgrade: rows, and no fingerprint yet.
            scene.world.execute("DELETE FROM gate_audit_keys").await;
        }
        let with = |gate: &Gate, keys: &str, arguments: &[&str]| {
            let mut command = gate.command(arguments);
            let output = command.env("CONSOLE_GATE_AUDIT_KEYS", keys).output().expect("the binary runs");
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            (output.status.code().expect("it ended by itself"), error)
        };
        let before = scene.world.store.recent(1000).await.expect("the audit");
        let changes: [&[&str]; 3] =
            [&["token", "create", "x"], &["audit", "verify"], &["flag", "rbac-v2", "off"]];
        for arguments in changes {
            let (code, error) = with(&scene.gate, OTHER, arguments);
            assert_eq!(code, 2, "{arguments:?}: {error}");
            assert!(error.contains("sealed with another key named `audit`"), "{arguments:?}: {error}");
        }
        assert_eq!(scene.world.store.recent(1000).await.expect("the audit").len(), before.len());
        // Under an id of its own it seals, and the old one verifies.
        let ring = format!("{},{AUDIT_KEYS}", OTHER.replace("audit:", "next:"));
        for arguments in [["token", "create", "x"].as_slice(), &["audit", "verify"]] {
            let (code, error) = with(&scene.gate, &ring, arguments);
            assert_eq!(code, 0, "{arguments:?}: {error}");
        }
        let kept = scene.world.store.audit_key("next").await.expect("a fingerprint");
        assert_eq!(kept.map(|fingerprint| fingerprint.len()), Some(16));
        scene.gate.stop().await;
        let (code, error) = with(&scene.gate, OTHER, &["serve"]);
        assert_eq!(code, 2, "{error}");
        assert!(error.contains("sealed with another key named `audit`"), "{error}");
    }
}

/// Two keys that nobody has named have two names.
#[tokio::test]
async fn keygen_names_keys_by_their_fingerprints() {
    let scene = scene(Database::Sqlite, Setup::V2).await;
    let [one, other] = [scene.gate.run(&["keygen"]), scene.gate.run(&["keygen"])];
    let ring = ledger::keys::KeyRing::parse(&format!("{one},{other}")).expect("two keys");
    for key in ring.iter() {
        assert_eq!(key.id(), format!("k-{}", &key.fingerprint()[..8]));
    }
    assert!(scene.gate.run(&["keygen", "--id", "2026-11"]).starts_with("2026-11:"));
}

const INGEST: Setup = Setup { sections: "[ingest]\nsources = [\"queue\"]\nper_minute = 10\n", ..Setup::V2 };

fn event(number: u32) -> Value {
    json!({
        "id": format!("01a1fc4e-30f0-737c-a378-{number:012}"),
        "tenant_id": "4711",
        "dimension": "operator_interaction",
        "action": "operator.rbac.grant",
        "occurred_at": "2026-11-21T03:00:00Z",
        "actor": { "kind": "admin", "id": "anna" },
        "detail": { "role": "raptor-audit-support", "weight": 0.5 },
    })
}

impl Scene {
    async fn report(&self, token: &str, body: &Value) -> Answer {
        let ask = Ask::new("POST", "/api/v1/audit/events").bearer(token).body(body.to_string());
        Client::to(&self.gate.admin_socket()).send(&ask.header("content-type", "application/json")).await
    }

    fn token(&self, name: &str) -> String {
        self.gate.run(&["token", "create", name]).trim().to_owned()
    }
}

async fn services_report_events(database: Database) {
    let scene = scene(database, INGEST).await;
    let token = scene.token("queue");
    let answer = scene.report(&token, &event(1)).await;
    assert_eq!((answer.status, answer.json()), (201, json!({ "accepted": 1, "known_already": 0 })));
    let many = json!({ "events": [event(1), event(2), event(3)] });
    let answer = scene.report(&token, &many).await;
    assert_eq!((answer.status, answer.json()), (201, json!({ "accepted": 2, "known_already": 1 })));
    let (code, _, report) = scene.verify(&[]);
    assert_eq!((code, &report["customer_events"]["rows"]), (0, &json!(3)), "{report}");

    assert!(scene.gate.run(&["audit", "erase", "anna"]).starts_with("0 audit rows and 3 customers' events"));
    let (_, kinds, report) = scene.verify(&[]);
    assert_eq!((kinds, &report["customer_events"]["erased"]), (Vec::new(), &json!(3)));
    assert_eq!(scene.report(&token, &event(4)).await.status, 201);
    // Three rows are erased in the name of an event: what is left of them is sealed all the same.
    scene.tamper("UPDATE customer_audit_events SET action = 'nothing' WHERE id LIKE '%3'").await;
    assert_eq!(scene.verify(&[]).1, ["edited"]);
    scene.tamper("UPDATE customer_audit_events SET action = 'operator.rbac.grant' WHERE id LIKE '%3'").await;
    scene.tamper("UPDATE customer_audit_events SET erased_by = 'x' WHERE id LIKE '%4'").await;
    assert_eq!(scene.verify(&[]).1, ["edited"], "erased by hand, and only in name");
    scene.tamper("UPDATE customer_audit_events SET erased_by = NULL WHERE id LIKE '%4'").await;
    assert_eq!(scene.verify(&[]).1, [""; 0]);
    scene.tamper("UPDATE customer_audit_events SET action = 'nothing' WHERE id LIKE '%4'").await;
    assert_eq!(scene.verify(&[]).1, ["edited"]);
    scene.tamper("UPDATE customer_audit_events SET actor_id = NULL, salt = NULL, erased_by = 'x' WHERE id LIKE '%4'").await;
    assert_eq!(scene.verify(&[]).1, ["edited", "erasure_unaccounted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn services_report_events_on_sqlite() {
    services_report_events(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_report_events_on_postgres() {
    services_report_events(Database::Postgres).await;
}

/// A service that repeats an event within a request gets that in the answer; two customers cannot share one event.
async fn an_id_twice_in_a_request_is_one_event(database: Database) {
    let scene = scene(database, INGEST).await;
    let token = scene.token("queue");
    let twice = json!({ "events": [event(1), event(2), event(1), event(1)] });
    let answer = scene.report(&token, &twice).await;
    assert_eq!((answer.status, answer.json()), (201, json!({ "accepted": 2, "known_already": 2 })));
    let (code, _, report) = scene.verify(&[]);
    assert_eq!((code, &report["customer_events"]["rows"]), (0, &json!(2)), "{report}");
    let mut others = event(3);
    others["tenant_id"] = json!("4712");
    let answer = scene.report(&token, &json!({ "events": [event(3), others] })).await;
    assert_eq!(answer.status, 409);
    assert_eq!(scene.verify(&[]).2["customer_events"]["rows"], 2, "none of a refused report is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_twice_in_a_request_is_one_event_on_sqlite() {
    an_id_twice_in_a_request_is_one_event(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_twice_in_a_request_is_one_event_on_postgres() {
    an_id_twice_in_a_request_is_one_event(Database::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_may_not_be_or_is_unsound_is_refused_whole() {
    let scene = scene(Database::Sqlite, INGEST).await;
    let (token, other) = (scene.token("queue"), scene.token("other"));
    assert_eq!(scene.report("cg_unknown", &event(1)).await.status, 401);
    assert_eq!(scene.report(&other, &event(1)).await.status, 403);
    assert_eq!(scene.report(&token, &json!("nothing")).await.status, 422);
    let mut bad = event(2);
    bad["occurred_at"] = json!("soon");
    bad["surprise"] = json!(1);
    let answer = scene.report(&token, &json!({ "events": [event(1), bad] })).await;
    assert_eq!((answer.status, answer.header("content-type")), (422, "application/problem+json"));
    let pointers: Vec<Value> = answer.json()["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|error| error["pointer"].clone())
        .collect();
    assert_eq!(pointers, ["/events/1/occurred_at", "/events/1/surprise"]);
    // None of a refused report is taken.
    assert_eq!(scene.verify(&[]).2["customer_events"]["rows"], 0);
    assert_eq!(scene.report(&token, &event(1)).await.status, 201);
    let mut others = event(1);
    others["tenant_id"] = json!("4712");
    assert_eq!(scene.report(&token, &others).await.status, 409);
    // Ten a minute; each event counts, whatever its outcome.
    let many = json!({ "events": (10..20).map(event).collect::<Vec<_>>() });
    let answer = scene.report(&token, &many).await;
    assert_eq!(answer.status, 429);
    assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| (1..=60).contains(&seconds)));
    scene.gate.run(&["token", "revoke", "queue"]);
    assert_eq!(scene.report(&token, &event(30)).await.status, 401);
}

/// The keys come wrapped and a service unwraps them; checkpoints are posted to an endpoint.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_unwrapped_by_a_service_and_checkpoints_are_posted() {
    let service = Transit::start().await;
    // Sealed at first, as after a restart of its own: the gate asks again.
    let wrapped = service.wrap("w1", &[7; 32], 2);
    let lines = format!(
        "checkpoint_url = \"http://{0}/checkpoints\"\ncheckpoint_token_env = \"PLACE\"\n[audit.kms]\n\
         url = \"http://{0}\"\nkey = \"audit\"\ntoken_env = \"VAULT\"\n",
        service.address
    );
    let variables = [
        ("CONSOLE_GATE_AUDIT_KEYS", wrapped),
        ("VAULT", TOKEN.to_owned()),
        ("PLACE", "for the place".to_owned()),
    ];
    let setup = Setup { audit: lines.leak(), variables: Some(variables.into()), ..Setup::V2 };
    let mut scene = scene(Database::Sqlite, setup).await;
    scene.deny(1).await;
    let rows = scene.world.store.recent(10).await.expect("the rows");
    let own = |row: &&store::audit::StoredEvent| row.event_type == "access_denied";
    assert_eq!(rows.iter().find(own).and_then(|row| row.key_id.as_deref()), Some("w1"));
    scene.gate.signal("TERM");
    assert!(scene.gate.ends(Duration::from_secs(30)).await, "{}", scene.gate.log());
    let checkpoints = service.checkpoints();
    let (authorization, last) = checkpoints.last().expect("a last checkpoint");
    assert_eq!(authorization, "Bearer for the place");
    assert_eq!(last["sequence"], 2, "`chain_started` and the denial: {last}");
    assert!(!scene.gate.log().contains(TOKEN));
}
