//! The auditor's pages and their API, as docs/rbac-api.md, docs/pages.md and docs/access-reviews.md have them: the timeline, the audit,
//! and reviews of access.

mod reviews;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use grants::{AdminTable, By, Terms};
use ledger::event::{AuditEvent, Way};
use ledger::keys::KeyRing;
use ledger::{AuditRecord, Notary};
use policy::rbac::grant::Origin;
use serde_json::{Value, json};
use store::rbac_changes::{RbacChange, TimedGrant};

use crate::rbac_api::{BOTH, direct, text};
use crate::support::console::AUDIT_KEYS;
use crate::support::freescout::{FreeScout, KEY};
use crate::support::recorder::Recorder;
use crate::support::{Answer, Ask, Database, Gate, Setup, World};

const MAPPING: &str = r#"
version = 1
clusters.V = "v2"
[approval]
raxx-support-team = { by = ["raxx-platform-admins"], longest = "8h" }
[blueprints.v]
cluster = "V"
[blueprints.v.routes]
"GET /audit" = { legacy = ["ops"], role = "console-audit-user" }
"GET /customers/<int:id>" = { role = "raptor-audit-support", ticket = { query = "ticket_id", customer = "path:id" } }
[blueprints.api.routes]
"GET /api/rbac/me" = { session = true, gate = true, unauthenticated = "401" }
"GET,POST /api/rbac/requests" = { session = true, gate = true, unauthenticated = "401" }
"GET /api/rbac/requests/<id>" = { session = true, gate = true, unauthenticated = "401" }
"POST /api/rbac/requests/<id>/<step>" = { session = true, gate = true, unauthenticated = "401" }
"GET /api/rbac/*" = { role = "console-audit-user", machine_or_session = true, gate = true, unauthenticated = "401" }
"POST,PUT,DELETE /api/rbac/*" = { role = "console-invite-admin", machine_or_session = true, gate = true, unauthenticated = "401" }
"GET,POST /console/rbac/*" = { session = true, gate = true }
"#;
const SUPPORT: &str = "raxx-support-team";
const PLATFORM: &str = "raxx-platform-admins";

/// A gate with people: anna and paul may read and write, ben may read, carol may do neither.
/// Whether an event is of a filter.
type Holds = fn(&Value) -> bool;

struct Office {
    world: World,
    gate: Gate,
    _freescout: FreeScout,
    _upstream: Recorder,
}

impl Office {
    async fn new(database: Database) -> Office {
        let world = World::new(database).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        for admin in ["anna", "paul"] {
            world.admin(admin, &[PLATFORM], &[]).await;
        }
        world.admin("ben", &[SUPPORT], &[]).await;
        world.admin("carol", &[], &[]).await;
        world.store.add_group("night", &["console-user"]).await.expect("a group");
        world.execute(&crate::rbac_api::delegations(&[SUPPORT, "night"])).await;
        let freescout = FreeScout::start().await;
        freescout.open(42);
        let setup = Setup {
            mapping: Some(MAPPING),
            upstream: Some(upstream.socket()),
            sections: freescout.settings(20_000).leak(),
            variables: Some(vec![("CONSOLE_GATE_FREESCOUT_KEY", KEY.to_owned())]),
            audit: "checkpoint_file = \"checkpoints\"\n",
            ..Setup::V2
        };
        let gate = world.gate(&setup).await;
        Office { world, gate, _freescout: freescout, _upstream: upstream }
    }

    async fn ask(&self, ask: &Ask) -> Answer {
        let answer = self.gate.send(ask).await;
        assert!(answer.status < 500, "{} {}: {}", ask.method, ask.target, text(&answer));
        if answer.status == 403 {
            let rows = self.world.store.by_request(answer.request_id()).await.expect("the audit");
            assert_eq!(
                rows.iter().filter(|row| row.event_type == "access_denied").count(),
                1,
                "{}",
                text(&answer)
            );
        }
        answer
    }

    async fn get(&self, admin: &str, target: &str) -> Answer {
        self.ask(&Ask::get(target).cookie(&self.world.cookie(admin))).await
    }

    async fn read(&self, admin: &str, target: &str) -> Value {
        let answer = self.get(admin, target).await;
        assert_eq!(answer.status, 200, "{target}: {}", text(&answer));
        answer.json()
    }

    async fn page(&self, admin: &str, path: &str) -> String {
        let ask = Ask::get(&format!("/console/rbac{path}")).cookie(&self.world.cookie(admin));
        let answer = self.ask(&ask.header("accept", "text/html")).await;
        assert_eq!(answer.status, 200, "{path}: {}", text(&answer));
        text(&answer)
    }

    async fn send(&self, admin: &str, method: &str, target: &str, body: &Value) -> Answer {
        let ask = Ask::new(method, target)
            .cookie(&self.world.cookie(admin))
            .header("sec-fetch-site", "same-origin");
        let ask = match body {
            Value::Null => ask,
            body => ask.header("content-type", "application/json").body(body.to_string()),
        };
        self.ask(&ask).await
    }

    async fn done(&self, admin: &str, method: &str, target: &str, body: &Value) -> Value {
        let answer = self.send(admin, method, target, body).await;
        assert!(answer.status < 300, "{method} {target}: {}", text(&answer));
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    /// Seals an event that takes more than a request to bring about.
    async fn record(&self, event: AuditEvent) {
        let record: AuditRecord = event.into_record(Utc::now());
        self.world.store.record(&self.world.note(record)).await.expect("a sealed row");
    }

    /// Gives a membership that has ended by now.
    async fn grant_past(&self, admin: &str, group: &str, ends: DateTime<Utc>) {
        let starts = ends - TimeDelta::hours(1);
        let grant = TimedGrant {
            id: uuid::Uuid::new_v4().to_string(),
            admin: admin.to_owned(),
            group: group.to_owned(),
            origin: Origin::Timed,
            request: None,
            starts,
            ends,
        };
        let notary = Notary::new(KeyRing::parse(AUDIT_KEYS).expect("the keys of the tests"));
        let by = By { name: "olga", reason: Some("a night"), way: Way::Command, now: starts };
        let terms = Terms { admins: AdminTable::Gate, unknown_admins: false };
        let change = [RbacChange::GrantUntil { grant }];
        grants::change(&self.world.store, &notary, &change, terms, by).await.expect("a grant");
    }
}

fn micros(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn events(page: &Value) -> Vec<Value> {
    page["events"].as_array().expect("events").clone()
}

/// What is done, each with the row that the timeline has of it: kind, event, author, person, and a part of the sentence.
#[tokio::test(flavor = "multi_thread")]
async fn each_thing_that_was_done_has_one_row_in_order() {
    for database in BOTH {
        let office = Office::new(database).await;
        let from = micros(Utc::now());
        let past = Utc::now() - TimeDelta::minutes(5);
        let grant = json!({ "user": "carol", "group": SUPPORT, "reason": "joins" });
        let until = micros(Utc::now() + TimeDelta::hours(1));
        let timed = json!({ "user": "carol", "group": "night", "reason": "a night", "until": until });
        let ticket = json!({ "user": "carol", "role": "raptor-audit-support", "ticket": "42", "customer": 7, "reason": "a refund" });
        let ask = json!({ "group": SUPPORT, "for": "1h", "reason": "please" });

        office.done("anna", "POST", "/api/rbac/grants", &grant).await;
        office.done("anna", "POST", "/api/rbac/grants", &timed).await;
        let target = format!("/api/rbac/grants/{}?reason=left", direct("carol", SUPPORT));
        office.done("anna", "DELETE", &target, &Value::Null).await;
        let made = office.done("anna", "POST", "/api/rbac/grants/ticket-scoped", &ticket).await;
        let target = format!("/api/rbac/grants/{}", made["id"].as_str().expect("an id"));
        office.done("anna", "DELETE", &target, &Value::Null).await;
        for step in ["approve", "deny", "withdraw"] {
            let request = office.done("carol", "POST", "/api/rbac/requests", &ask).await;
            let place = format!("/api/rbac/requests/{}", request["id"].as_str().expect("an id"));
            match step {
                "approve" => {
                    let sha256 = office.read("anna", &place).await["impact_sha256"].clone();
                    let body = json!({ "impact_sha256": sha256 });
                    office.done("anna", "POST", &format!("{place}/approve"), &body).await;
                }
                "deny" => {
                    office.done("paul", "POST", &format!("{place}/deny"), &json!({ "comment": "no" })).await;
                }
                _ => {
                    office.done("carol", "POST", &format!("{place}/withdraw"), &Value::Null).await;
                }
            }
        }
        office.gate.run(&["group", "grant-role", "night", "console-audit-user", "--reason", "RAXX-7"]);
        office.gate.run(&["flag", "rbac-v2", "off"]);
        office.gate.run(&["flag", "rbac-v2", "on"]);
        let glass = |step| AuditEvent::BreakGlass {
            step,
            session: Some("s".to_owned()),
            about: Some("ben".to_owned()),
            reason: None,
            detail: Value::Null,
            by: "ben".to_owned(),
        };
        office.record(glass("started")).await;
        office.record(glass("ended")).await;
        office.gate.run(&["review", "open"]);
        office
            .world
            .execute(
                "INSERT INTO rbac_user_groups (user_id, group_id, granted_by)
             SELECT 'paul', id, 'x' FROM rbac_groups WHERE name = 'night'",
            )
            .await;

        let expected: [(&str, &str, &str, &str, &str); 18] = [
            ("grant", "grant", "anna", "carol", "gave membership of raxx-support-team"),
            ("grant", "grant", "anna", "carol", "gave membership of night"),
            ("revoke", "revoke", "anna", "carol", "ended membership of raxx-support-team"),
            ("grant", "ticket_grant", "anna", "carol", "gave role raptor-audit-support for ticket 42"),
            ("revoke", "revoke", "anna", "carol", "ended role raptor-audit-support for ticket 42"),
            ("request", "requested", "carol", "carol", "asked for raxx-support-team"),
            ("request", "approved", "anna", "carol", "approved the request for raxx-support-team"),
            ("request", "requested", "carol", "carol", "asked for"),
            ("request", "denied", "paul", "carol", "denied the request"),
            ("request", "requested", "carol", "carol", "asked for"),
            ("request", "withdrawn", "carol", "carol", "withdrew the request"),
            ("edit", "rbac_changed", "*", "", "console-audit-user"),
            ("flag", "flag_flipped", "*", "", "turned FLAG_RBAC_V2 off"),
            ("flag", "flag_flipped", "*", "", "turned FLAG_RBAC_V2 on"),
            ("break_glass", "started", "ben", "ben", "started a break-glass session"),
            ("break_glass", "ended", "ben", "ben", "ended a break-glass session"),
            ("review", "opened", "*", "", "opened a review of access"),
            ("outside", "outside_write", "*", "paul", "added a row of rbac_user_groups without the gate"),
        ];
        let page = office.read("ben", &format!("/api/rbac/timeline?from={from}&limit=500")).await;
        let mut shown = events(&page);
        shown.reverse();
        let said = |one: &Value| {
            ["kind", "event", "by", "user", "what"].map(|name| one[name].as_str().unwrap_or("").to_owned())
        };
        let rows: Vec<[String; 5]> = shown.iter().map(said).collect();
        assert_eq!(rows.len(), expected.len(), "{database:?} {rows:#?}");
        for (row, (kind, event, by, user, what)) in rows.iter().zip(&expected) {
            assert_eq!(
                (row[0].as_str(), row[1].as_str(), row[3].as_str()),
                (*kind, *event, *user),
                "{row:?}"
            );
            assert!(*by == "*" || row[2] == *by, "{row:?}");
            assert!(row[4].contains(what), "{row:?}");
        }
        let times: Vec<&str> = shown.iter().filter_map(|one| one["at_utc"].as_str()).collect();
        assert!(times.is_sorted(), "{times:?}");

        // An end that passed is an event of its own, although no row was written then; one that was ended before is not.
        office.grant_past("ben", "night", past).await;
        let passed = events(&office.read("ben", "/api/rbac/timeline?kind=expiry").await);
        assert_eq!(passed.len(), 1, "{passed:#?}");
        assert_eq!(
            passed[0]["at_utc"].as_str().map(|at| at[..19].to_owned()),
            Some(micros(past)[..19].to_owned())
        );
        assert_eq!(
            (&passed[0]["user"], &passed[0]["what"]),
            (&json!("ben"), &json!("membership of night ended by itself"))
        );
        assert_eq!(passed[0]["chain"]["state"], "derived");
        // So is a request that nobody decided in time.
        office.done("carol", "POST", "/api/rbac/requests", &ask).await;
        office
            .world
            .execute(
                "UPDATE gate_access_requests SET closes_at_utc = requested_at_utc WHERE state = 'pending'",
            )
            .await;
        let lapsed = events(
            &office.read("ben", &format!("/api/rbac/timeline?kind=request&group={SUPPORT}&limit=1")).await,
        );
        assert!(lapsed[0]["event"] == "request_lapsed" || lapsed[0]["event"] == "requested", "{lapsed:#?}");
        let both = events(&office.read("ben", "/api/rbac/timeline?kind=request&limit=2").await);
        assert!(
            both.iter().any(|one| one["event"] == "request_lapsed" && one["user"] == "carol"),
            "{both:#?}"
        );

        filters(&office, &from).await;
        permalinks(&office).await;
        // What is yet to end has not ended, whoever asks for it by its address.
        let live =
            &events(&office.read("ben", "/api/rbac/timeline?kind=grant&group=night&user=carol").await)[0];
        let id = format!("expiry.{}", live["id"].as_str().expect("an id"));
        assert!(live["ends_at_utc"].is_string());
        assert_eq!(office.get("ben", &format!("/api/rbac/timeline/{id}")).await.status, 404);
    }
}

/// Each filter has the rows that fit, and only those; pages of any size are the same rows.
async fn filters(office: &Office, from: &str) {
    let all = events(&office.read("ben", "/api/rbac/timeline?limit=500").await);
    let table: [(&str, Holds); 10] = [
        ("user=carol", |one| one["user"] == "carol"),
        ("by=anna", |one| one["by"] == "anna"),
        ("group=night", |one| {
            one["group"] == "night"
                || one["what"]
                    .as_str()
                    .is_some_and(|what| what.contains("`night`") || what.contains("without the gate"))
        }),
        ("role=raptor-audit-support", |one| one["role"] == "raptor-audit-support"),
        ("ticket=42", |one| one["ticket_id"] == "42"),
        ("customer=7", |one| one["customer_id"] == 7),
        ("kind=flag", |one| one["kind"] == "flag"),
        ("kind=flag&kind=review", |one| one["kind"] == "flag" || one["kind"] == "review"),
        ("kind=grant", |one| one["kind"] == "grant"),
        ("kind=revoke,expiry", |one| one["kind"] == "revoke" || one["kind"] == "expiry"),
    ];
    for (query, fits) in table {
        let expected: Vec<&Value> = all.iter().filter(|one| fits(one)).map(|one| &one["id"]).collect();
        let mut seen = Vec::new();
        let mut target = format!("/api/rbac/timeline?{query}&limit=2");
        loop {
            let page = office.read("ben", &target).await;
            seen.extend(events(&page).into_iter().map(|one| one["id"].clone()));
            match page["next"].as_str() {
                Some(next) => target = format!("/api/rbac/timeline?{query}&limit=2&cursor={next}"),
                None => break,
            }
        }
        if query == "group=night" {
            // A write to another group without the gate is another's.
            assert!(!seen.is_empty() && seen.iter().all(|id| expected.contains(&id)), "{query}: {seen:?}");
        } else {
            assert_eq!(seen.iter().collect::<Vec<_>>(), expected, "{query}");
        }
        assert!(!seen.is_empty(), "{query}");
    }
    let none = office.read("ben", "/api/rbac/timeline?to=2020-01-01&from=2019-01-01").await;
    assert_eq!((events(&none).len(), &none["next"]), (0, &Value::Null));
    let day = office.read("ben", &format!("/api/rbac/timeline?from={from}&kind=flag")).await;
    assert_eq!(events(&day).len(), 2);
    let page = office.read("ben", "/api/rbac/timeline?limit=1").await;
    let cursor = page["next"].as_str().expect("a next page");
    for query in [
        "kind=x".to_owned(),
        "from=soon".to_owned(),
        "to=99999-01-01".to_owned(),
        "limit=0".to_owned(),
        "user=a&user=b".to_owned(),
        "x=1".to_owned(),
        "cursor=e30.e30".to_owned(),
        format!("user=carol&cursor={cursor}"),
        "format=xml".to_owned(),
    ] {
        assert_eq!(office.get("ben", &format!("/api/rbac/timeline?{query}")).await.status, 400, "{query}");
    }
}

/// Each event has an address of its own, with its record; no other id leads anywhere, and no denial is there.
async fn permalinks(office: &Office) {
    for event in events(&office.read("ben", "/api/rbac/timeline?limit=500").await) {
        let id = event["id"].as_str().expect("an id");
        let one = office.read("ben", &format!("/api/rbac/timeline/{id}")).await;
        assert_eq!(
            (&one["id"], &one["what"], &one["at_utc"]),
            (&event["id"], &event["what"], &event["at_utc"])
        );
        assert!(one["record"].is_object() && one["record"]["personal_salt"].is_null(), "{one:#}");
        let page = office.page("ben", &format!("/timeline/{id}")).await;
        assert!(page.contains("The record"), "{page}");
    }
    office.world.admin("dora", &[], &[]).await;
    assert_eq!(office.get("dora", "/api/rbac/timeline").await.status, 403);
    let denials = office.read("ben", "/api/rbac/audit?kind=access_denied").await;
    let denial = denials["rows"][0]["id"].as_str().expect("a denial").to_owned();
    for id in [
        &denial,
        "x",
        "expiry.x",
        "outside.x",
        "outside.99999999999999999999",
        "lapse.",
        "%00",
        "a%27%20OR%201=1",
        &"9".repeat(4_000),
    ] {
        let answer = office
            .gate
            .send(&Ask::get(&format!("/api/rbac/timeline/{id}")).cookie(&office.world.cookie("ben")))
            .await;
        assert!([400, 404, 414].contains(&answer.status), "{id}: {}", text(&answer));
    }
}

/// A file has exactly the events of the filter, and its first line states the filter, the time, the number and the end of the chain.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_the_events_of_the_filter() {
    for database in BOTH {
        let office = Office::new(database).await;
        let long = "n".repeat(10_000);
        for (user, reason) in
            [("=cmd|' /C calc'!A0", "=1+1"), ("\u{202e}gnp.exe", "a, \"b\""), (long.as_str(), "+44")]
        {
            office.world.admin(user, &[], &[]).await;
            let notary = Notary::new(KeyRing::parse(AUDIT_KEYS).expect("the keys of the tests"));
            let by = By { name: "olga", reason: Some(reason), way: Way::Command, now: Utc::now() };
            let join = [RbacChange::Join { admin: user.to_owned(), group: "night".to_owned() }];
            let terms = Terms { admins: AdminTable::Gate, unknown_admins: false };
            grants::change(&office.world.store, &notary, &join, terms, by).await.expect("a membership");
        }
        let filter = "group=night&kind=grant";
        let screen = events(&office.read("ben", &format!("/api/rbac/timeline?{filter}")).await);
        assert_eq!(screen.len(), 3);
        let lines = office.get("ben", &format!("/api/rbac/timeline?{filter}&format=jsonl")).await;
        assert_eq!(lines.header("content-type"), "application/jsonl");
        assert!(lines.header("content-disposition").contains("timeline.jsonl"));
        let lines = String::from_utf8(lines.body.to_vec()).expect("UTF-8");
        let mut lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let head = lines.next().expect("a head")["export"].clone();
        assert_eq!(head["filter"], json!({ "group": "night", "kind": "grant" }));
        assert_eq!(
            (&head["events"], &head["complete"], &head["made_by"]),
            (&json!(3), &json!(true), &json!("ben"))
        );
        assert!(head["chain_head"]["sequence"].is_u64() && head["made_at_utc"].is_string(), "{head}");
        assert_eq!(lines.collect::<Vec<_>>(), screen);
        let table = office.get("ben", &format!("/api/rbac/timeline?{filter}&format=csv")).await;
        assert_eq!(table.header("content-type"), "text/csv; charset=utf-8");
        let table = String::from_utf8(table.body.to_vec()).expect("UTF-8");
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(table.as_bytes());
        let rows: Vec<Vec<String>> =
            reader.records().map(|row| row.expect("CSV").iter().map(str::to_owned).collect()).collect();
        assert!(
            rows[0][0].starts_with("# timeline of console-gate: {") && rows[0][0].contains("\"events\":3"),
            "{rows:?}"
        );
        assert_eq!(rows.len(), 2 + 3);
        let users: Vec<&str> = rows[2..].iter().map(|row| row[4].as_str()).collect();
        assert_eq!(users, [long.as_str(), "\\u{202e}gnp.exe", "'=cmd|' /C calc'!A0"]);
        assert!(rows.iter().flatten().all(|cell| !cell.starts_with(['=', '+', '-', '@'])), "{rows:?}");
        // The page links to both, with its filter; names are text there.
        let page = office.page("ben", "/timeline?group=night&kind=grant").await;
        for format in ["csv", "jsonl"] {
            let link =
                format!("/api/rbac/timeline?limit=50&#38;group=night&#38;kind=grant&amp;format={format}");
            assert!(page.contains(&link), "{link} {page}");
        }
        assert!(!page.contains(&format!("<bdi>{}", "n".repeat(81))), "long names are cut");
    }
}

/// Who may not read the API reads no page and no file of it, and each refusal is in the audit.
#[tokio::test(flavor = "multi_thread")]
async fn others_read_nothing() {
    let office = Office::new(Database::Sqlite).await;
    for path in [
        "/api/rbac/timeline",
        "/api/rbac/timeline?format=csv",
        "/api/rbac/timeline/x",
        "/api/rbac/audit",
        "/api/rbac/audit/state",
        "/api/rbac/audit/x",
        "/api/rbac/reviews",
        "/api/rbac/reviews/x",
        "/console/rbac/timeline",
        "/console/rbac/timeline/x",
        "/console/rbac/audit",
        "/console/rbac/reviews",
        "/console/rbac/reviews/x",
    ] {
        assert_eq!(office.get("carol", path).await.status, 403, "{path}");
    }
    let home = office.page("carol", "").await;
    assert!(!home.contains("/console/rbac/audit") && !home.contains("/console/rbac/reviews"), "{home}");
}

/// The audit by filter, and the state of its chains.
#[tokio::test(flavor = "multi_thread")]
async fn the_audit_is_read_by_filter_and_verified() {
    for database in BOTH {
        let office = Office::new(database).await;
        for _ in 0..3 {
            assert_eq!(office.get("carol", "/audit").await.status, 403);
        }
        let grant = json!({ "user": "carol", "group": "night", "reason": "joins" });
        office.done("anna", "POST", "/api/rbac/grants", &grant).await;
        for (query, count) in [
            ("kind=access_denied&by=carol", 3),
            ("kind=access_denied&route=GET+/audit", 3),
            ("kind=grant_recorded", 1),
            ("kind=grant_recorded&by=carol", 0),
            ("user=carol", 1),
            ("kind=rbac_changed&by=anna", 1),
        ] {
            let page = office.read("ben", &format!("/api/rbac/audit?{query}")).await;
            assert_eq!(page["rows"].as_array().map(Vec::len), Some(count), "{query}: {page:#}");
        }
        let mut seen = Vec::new();
        let mut target = "/api/rbac/audit?kind=access_denied&limit=1".to_owned();
        loop {
            let page = office.read("ben", &target).await;
            seen.extend(page["rows"].as_array().expect("rows").iter().map(|row| row["id"].to_string()));
            let Some(next) = page["next"].as_str() else { break };
            target = format!("/api/rbac/audit?kind=access_denied&limit=1&cursor={next}");
        }
        seen.dedup();
        assert_eq!(seen.len(), 3);
        let id = seen[0].trim_matches('"').to_owned();
        let row = office.read("ben", &format!("/api/rbac/audit/{id}")).await;
        assert_eq!((&row["actor_id"], &row["personal_salt"]), (&json!("carol"), &Value::Null));
        let state = office.read("ben", "/api/rbac/audit/state").await;
        assert_eq!(state["verified"]["changed"], json!([]), "{state:#}");
        assert!(state["verified"]["rows"].as_u64() > Some(4), "{state:#}");
        assert_eq!(state["checkpoints_readable"], true);
        // A command writes a checkpoint of its own before it ends, so its row is covered.
        office.gate.run(&["flag", "rbac-v2", "on"]);
        let flag = &events(&office.read("ben", "/api/rbac/timeline?kind=flag").await)[0];
        assert_eq!(flag["chain"]["state"], "checkpointed", "{flag:#}");
        assert!(flag["chain"]["checkpoint"].as_i64() >= flag["chain"]["sequence"].as_i64());
        let page = office.page("ben", "/audit?kind=access_denied").await;
        assert!(page.contains("are as they were sealed") && page.contains("GET /audit"), "{page}");
        office.page("ben", &format!("/audit/{id}")).await;
        // A row that was changed around the gate is found.
        let (before, after) = match database {
            Database::Sqlite => ("DROP TRIGGER gate_audit_events_refuse_update", ""),
            Database::Postgres => ("ALTER TABLE gate_audit_events DISABLE TRIGGER USER", ""),
        };
        office
            .world
            .execute(&format!(
                "{before};{after}UPDATE gate_audit_events SET actor_id = 'x' WHERE id = '{id}'"
            ))
            .await;
        let state = office.read("ben", "/api/rbac/audit/state").await;
        assert_eq!(state["verified"]["changed"], json!([id]), "{state:#}");
        assert!(office.page("ben", "/audit").await.contains("not as they were sealed"));
    }
}

/// How long a page takes with 100,000 changes and as many denials, by filter: `cargo test --release --test gate many_rows -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures"]
async fn a_page_of_many_rows_takes_less_than_100_ms() {
    for database in BOTH {
        let office = Office::new(database).await;
        let (series, at) = match database {
            Database::Sqlite => (
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)",
                "strftime('%Y-%m-%dT%H:%M:%f', 'now', '-' || (200000 - i) || ' seconds') || '+00:00'",
            ),
            Database::Postgres => (
                "WITH n(i) AS (SELECT generate_series(1, 100000))",
                "now() - make_interval(secs => 200000 - i)",
            ),
        };
        let detail = "'{\"event\":\"grant\",\"way\":\"api\",\"change\":\"none\",\"group\":\"g' || (i % 500) || '\",\"ends_at_utc\":\"2026-01-01T00:00:00.000000Z\",\"table\":\"gate_grants\",\"grant\":\"' || i || '\",\"begins\":true}'";
        let cast = if database == Database::Postgres {
            format!("CAST({detail} AS JSONB)")
        } else {
            detail.to_owned()
        };
        for (kind, detail, chain) in
            [("grant_recorded", cast.as_str(), "many"), ("access_denied", "NULL", "denials")]
        {
            office.world.execute(&format!(
                "INSERT INTO gate_audit_events (id, event_type, occurred_at_utc, actor_kind, actor_id, subject_id, detail, chain_id,
                                                sequence, key_id, personal_digest, content_hash, mac)
                 {series} SELECT '{chain}-' || i, '{kind}', {at}, 'admin', 'a' || (i % 100), 'u' || (i % 1000), {detail}, '{chain}', i, 'k', 'x', 'x', 'x'
                 FROM n"
            )).await;
        }
        if database == Database::Postgres {
            office.world.execute("ANALYZE gate_audit_events").await;
        }
        let page = office.read("ben", "/api/rbac/timeline?kind=grant&limit=50").await;
        let deep = format!("kind=grant&limit=50&cursor={}", page["next"].as_str().expect("more"));
        for query in [
            "limit=50",
            "user=u7&limit=50",
            "by=a7&limit=50",
            "group=g7&limit=50",
            "group=none",
            "kind=flag",
            "kind=expiry&limit=50",
            deep.as_str(),
            "from=2019-01-01&to=2020-01-01",
        ] {
            let cookie = office.world.cookie("ben");
            let mut times = Vec::new();
            for _ in 0..11 {
                let begun = std::time::Instant::now();
                let answer =
                    office.gate.send(&Ask::get(&format!("/api/rbac/timeline?{query}")).cookie(&cookie)).await;
                times.push(begun.elapsed().as_millis());
                assert_eq!(answer.status, 200, "{}", text(&answer));
            }
            times.sort_unstable();
            println!("{database:?} {query:.60}: median {} ms, most {} ms", times[5], times[10]);
        }
    }
}
