//! What the API answers without changing anything.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Api, BOTH, direct, names, text};
use crate::support::scene::create_token;
use crate::support::{Ask, Database, Seed};

#[tokio::test]
async fn everybody_reads_what_it_holds_itself() {
    let seed = Seed::read();
    for database in BOTH {
        let api = Api::new(database).await;
        let me = api.read("anna", "/api/rbac/me").await;
        let roles: BTreeSet<String> = seed
            .roles()
            .into_iter()
            .filter(|role| seed.group_holds("raxx-platform-admins", role))
            .map(ToOwned::to_owned)
            .collect();
        assert_eq!(names(&me["roles"]), roles);
        assert_eq!(
            (&me["subject"], &me["kind"], &me["rbac_v2"]),
            (&json!("anna"), &json!("admin"), &json!(true))
        );
        assert_eq!(me["legacy_roles"], json!(["superadmin"]));
        assert!(names(&me["permissions"]).contains("raptor:audit:read-admin"));
        let grant = json!([{
            "id": direct("anna", "raxx-platform-admins"), "origin": "direct", "group": "raxx-platform-admins",
            "until": null, "ends_soon": false, "can_end": false, "can_extend": false, "granted_by": "tests", "reason": null,
            "starts_at_utc": null, "last_used_at_utc": null,
            "use_known_since_utc": me["grants"][0]["use_known_since_utc"],
        }]);
        assert_eq!((&me["grants"], &me["ticket_grants"]), (&grant, &json!([])));
        assert!(me["csrf_token"].as_str().is_some_and(|token| token.len() > 20));
        let nothing = api.read("carol", "/api/rbac/me").await;
        assert_eq!((&nothing["roles"], &nothing["grants"]), (&json!([]), &json!([])));
        assert_ne!(nothing["csrf_token"], me["csrf_token"]);
        assert_eq!(api.gate.send(&Ask::get("/api/rbac/me")).await.status, 401);
    }
}

/// RBAC V2 design, 3.4, step by step: a permission is held through a group, its roles and what they inherit.
#[tokio::test]
async fn one_permission_is_checked() {
    for database in BOTH {
        let api = Api::new(database).await;
        let machine = create_token(&api.gate, "raptor", &["--group", "raxx-support-team"]);
        let check = |permission: &str, user: &str| {
            let user = if user.is_empty() { String::new() } else { format!("&user={user}") };
            format!("/api/rbac/permissions/check?permission={permission}{user}")
        };
        for (user, permission, allowed) in [
            ("anna", "raptor:audit:read-admin", true),
            // Inherited: admin inherits support inherits self.
            ("anna", "raptor:audit:read-self", true),
            ("anna", "raptor:audit:read-compliance", false),
            ("ben", "raptor:audit:read-support", true),
            ("ben", "raptor:audit:read-admin", false),
            ("carol", "raptor:audit:read-self", false),
            ("nobody", "raptor:audit:read-self", false),
            ("anna", "no:such:permission", false),
        ] {
            let asked = api.read("anna", &check(permission, user)).await;
            assert_eq!(
                (&asked["allowed"], &asked["subject"]),
                (&json!(allowed), &json!(user)),
                "{user} {permission}"
            );
            assert_eq!(asked["through"].as_array().is_some_and(|ways| !ways.is_empty()), allowed);
            let by_machine = api.gate.send(&Ask::get(&check(permission, user)).bearer(&machine)).await;
            assert_eq!(by_machine.json()["allowed"], allowed, "{}", text(&by_machine));
        }
        let way = api.read("ben", &check("raptor:audit:read-self", "")).await;
        assert_eq!(way["subject"], "ben");
        assert_eq!(way["through"][0]["roles"], json!(["raptor-audit-support", "antlers-audit-self"]));
        assert_eq!(way["through"][0]["permission"], "raptor:audit:read-self");
        let own = api.gate.send(&Ask::get(&check("raptor:audit:read-support", "")).bearer(&machine)).await;
        assert_eq!((&own.json()["kind"], &own.json()["allowed"]), (&json!("machine"), &json!(true)));
        // Who may not ask about others asks about itself.
        api.world.add_reader("dora").await;
        let own = api.read("dora", &check("console:audit:read", "dora")).await;
        assert_eq!(own["subject"], "dora");
    }
}

impl crate::support::World {
    async fn add_reader(&self, id: &str) {
        self.admin_holding(id, &["console-audit-user"]).await;
    }
}

#[tokio::test]
async fn the_registry_is_read_as_it_is_seeded() {
    let seed = Seed::read();
    for database in BOTH {
        let api = Api::new(database).await;
        let roles = api.read("ben", "/api/rbac/roles").await;
        let by_name: BTreeMap<String, &Value> = roles["roles"]
            .as_array()
            .expect("roles")
            .iter()
            .map(|role| (role["name"].as_str().expect("a name").to_owned(), role))
            .collect();
        assert_eq!(
            by_name.keys().map(String::as_str).collect::<BTreeSet<_>>(),
            seed.roles().into_iter().collect()
        );
        for (name, role) in &by_name {
            let mut closure = names(&role["inherited_roles"]);
            closure.insert(name.clone());
            let expected: BTreeSet<String> = seed.closure(name).into_iter().map(ToOwned::to_owned).collect();
            assert_eq!(closure, expected, "{name}");
        }
        for group in seed.groups() {
            let read = api.read("ben", &format!("/api/rbac/groups/{group}")).await;
            let expected: BTreeSet<String> = seed
                .roles()
                .into_iter()
                .filter(|role| seed.group_holds(group, role))
                .map(ToOwned::to_owned)
                .collect();
            assert_eq!(names(&read["effective_roles"]), expected, "{group}");
        }
        let group = api.read("ben", "/api/rbac/groups/raxx-support-team").await;
        let member = json!([{
            "user": "ben", "grant": direct("ben", "raxx-support-team"), "origin": "direct", "until": null,
            "granted_by": "tests", "reason": null, "starts_at_utc": null, "last_used_at_utc": null,
            "use_known_since_utc": group["members"][0]["use_known_since_utc"],
        }]);
        assert_eq!(group["members"], member);
        assert!(
            names(&api.read("ben", "/api/rbac/permissions").await["permissions"])
                .contains("console:audit:read")
        );
        let groups = api.read("ben", "/api/rbac/groups").await;
        assert!(names(&groups["groups"]).contains("raxx-compliance-auditors"));
        for missing in [
            "/api/rbac/roles/none",
            "/api/rbac/groups/none",
            "/api/rbac/admins/none",
            "/api/rbac/admins/none/routes",
        ] {
            assert_eq!(api.get("ben", missing).await.status, 404, "{missing}");
        }
        let admins = api.read("ben", "/api/rbac/admins").await;
        let ids: Vec<&str> = admins["admins"]
            .as_array()
            .expect("admins")
            .iter()
            .filter_map(|one| one["id"].as_str())
            .collect();
        assert_eq!(ids, ["anna", "ben", "carol", "ivan"]);
        let anna = api.read("ben", "/api/rbac/admins/anna").await;
        let of_me = api.read("anna", "/api/rbac/me").await;
        assert_eq!(names(&anna["roles"]), names(&of_me["roles"]));
        assert_eq!(names(&anna["permissions"]), names(&of_me["permissions"]));
        for held in anna["roles"].as_array().expect("roles") {
            let first = &held["through"][0];
            assert_eq!(first["grant"]["group"], "raxx-platform-admins", "{held}");
            assert_eq!(first["roles"].as_array().and_then(|way| way.last()), held.get("name"), "{held}");
        }
    }
}

/// "What can U do" and "who can do X" say what the gate then does.
#[tokio::test]
async fn reports_about_routes_are_what_the_gate_answers() {
    let api = Api::new(Database::Sqlite).await;
    let rows = [
        ("GET /audit", "/audit"),
        ("GET /secrets", "/secrets"),
        ("GET /permission", "/permission"),
        ("GET /account", "/account"),
        ("GET /public", "/public"),
        ("GET /gone", "/gone"),
        ("GET /api/rbac/me", "/api/rbac/me"),
    ];
    for admin in ["anna", "ben", "carol", "ivan"] {
        let report = api.read("anna", &format!("/api/rbac/admins/{admin}/routes")).await;
        let routes: BTreeSet<&str> = report["routes"]
            .as_array()
            .expect("routes")
            .iter()
            .filter_map(|route| route["route"].as_str())
            .collect();
        for (route, path) in rows {
            let status = api.get(admin, path).await.status;
            assert_eq!(routes.contains(route), status == 200, "{admin} {route}: {status}");
            let who = api.read("anna", &format!("/api/rbac/who?route=GET+{path}")).await;
            assert_eq!(who["route"], route);
            assert_eq!(who["anyone"], route == "GET /public");
            let is_named = who["who"].as_array().expect("people").iter().any(|one| one["subject"] == admin);
            assert_eq!(is_named, status == 200, "{admin} {route}");
        }
    }
    let who = api.read("anna", "/api/rbac/who?permission=raptor:audit:read-self").await;
    let subjects: Vec<&str> =
        who["who"].as_array().expect("people").iter().filter_map(|one| one["subject"].as_str()).collect();
    assert_eq!(subjects, ["anna", "ben"]);
    let who = api.read("anna", "/api/rbac/who?role=console-invite-admin").await;
    assert_eq!(who["who"].as_array().map(Vec::len), Some(2));
    let deploys = api.read("anna", "/api/rbac/who?route=POST%20/deploys").await;
    let rule =
        json!([{ "field": "/target", "equals": "prod", "requires": "role console-prod-services-write" }]);
    assert_eq!(deploys["body_rules"], rule);
    for (query, status) in [
        ("", 400),
        ("?role=a&permission=b", 400),
        ("?role=none", 404),
        ("?permission=none", 404),
        ("?route=x", 400),
        ("?route=GET%20x", 400),
        ("?route=FETCH%20/x", 400),
    ] {
        assert_eq!(api.get("anna", &format!("/api/rbac/who{query}")).await.status, status, "{query}");
    }
}

/// Pages are whole while rows come and go: nothing that was there all the time is missed or shown twice.
#[tokio::test]
async fn pages_are_whole_while_rows_arrive() {
    for database in BOTH {
        let api = Api::new(database).await;
        for number in 0..23 {
            api.world.admin(&format!("m{number:02}"), &["raxx-support-team"], &[]).await;
        }
        for group in ["raxx-devops-team", "raxx-support-team"] {
            for number in 0..6 {
                let user = format!("m{number:02}");
                assert!(api.grant("anna", &user, group).await.status < 300);
            }
        }
        let lists = [
            ("/api/rbac/grants?group=raxx-support-team", "grants", "user", 24),
            ("/api/rbac/grants/audit?event=grant&by=anna", "events", "user", 6),
            ("/api/rbac/admins?", "admins", "id", 27),
        ];
        for (list, name, key, expected) in lists {
            let mut seen = Vec::new();
            let mut target = format!("{list}&limit=5").replace("?&", "?");
            let mut pages = 0;
            loop {
                let page = api.read("anna", &target).await;
                seen.extend(page[name].as_array().expect("rows").iter().map(|row| {
                    row.get("id").and_then(Value::as_str).unwrap_or_default().to_owned()
                        + &row[key].to_string()
                }));
                pages += 1;
                // Rows at the beginning and in the middle arrive while the pages are read.
                let user = format!("{}{pages}{name}", if pages % 2 == 0 { "a" } else { "m1" });
                api.world.admin(&user, &["raxx-support-team"], &[]).await;
                let _ = api.grant("anna", &user, "raxx-devops-team").await;
                let Some(next) = page["next"].as_str() else { break };
                target = format!("{list}&limit=5&cursor={next}").replace("?&", "?");
                assert!(pages < 20, "{list} does not end");
            }
            let distinct: BTreeSet<&String> = seen.iter().collect();
            assert_eq!(distinct.len(), seen.len(), "{list}: {seen:?}");
            assert!(seen.len() >= expected, "{list}: {} of {expected}", seen.len());
        }
        let page = api.read("anna", "/api/rbac/grants?limit=2").await;
        let cursor = page["next"].as_str().expect("a next page");
        for bad in [
            format!("/api/rbac/grants?limit=2&user=ben&cursor={cursor}"),
            format!("/api/rbac/admins?limit=2&cursor={cursor}"),
            format!("/api/rbac/grants?limit=2&cursor={cursor}x"),
            "/api/rbac/grants?cursor=".to_owned(),
            "/api/rbac/grants?cursor=e30.e30".to_owned(),
        ] {
            assert_eq!(api.get("anna", &bad).await.status, 400, "{bad}");
        }
    }
}

#[tokio::test]
async fn grants_are_filtered() {
    let api = Api::new(Database::Sqlite).await;
    for (query, expected) in [
        ("", 4),
        ("?user=ben", 1),
        ("?group=raxx-platform-admins", 1),
        ("?origin=direct", 4),
        ("?origin=timed", 0),
        ("?live=true", 4),
        ("?live=false", 0),
        ("?user=ben&group=ivan", 0),
    ] {
        let list = api.read("anna", &format!("/api/rbac/grants{query}")).await;
        assert_eq!(list["grants"].as_array().map(Vec::len), Some(expected), "{query}: {list}");
    }
    let one = api.read("anna", &format!("/api/rbac/grants/{}", direct("ben", "raxx-support-team"))).await;
    assert_eq!(
        (&one["user"], &one["origin"], &one["granted_by"]),
        (&json!("ben"), &json!("direct"), &json!("tests"))
    );
    for id in ["x", "direct.", &direct("ben", "ivan"), "6f9619ff-8b86-4011-b42d-00cf4fc964ff"] {
        assert_eq!(api.get("anna", &format!("/api/rbac/grants/{id}")).await.status, 404, "{id}");
    }
}
