//! What holders do about their own grants: see their end come, ask for more time, and say that they are done.

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use super::openapi::compare;
use super::requests::{api, post};
use super::{Api, BOTH, direct, text};
use crate::support::Database;

const DEVOPS: &str = "raxx-support-team";

/// Grants until a time from now on, and returns the id.
async fn grant(api: &Api, user: &str, minutes: i64) -> String {
    let until = Utc::now() + TimeDelta::minutes(minutes);
    let body = json!({ "user": user, "group": DEVOPS, "reason": "an incident", "until": until });
    let made = post(api, "anna", "/api/rbac/grants", &body).await;
    assert_eq!(made.status, 201, "{}", text(&made));
    made.json()["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_holder_says_done_without_a_permission() {
    for database in BOTH {
        let api = api(database).await;
        let (one, other) = (grant(&api, "carol", 20).await, grant(&api, "carol", 120).await);
        let of_ben = grant(&api, "ben", 60).await;
        let me = api.get("carol", "/api/rbac/me").await;
        compare(&api.read("anna", "/api/rbac/openapi.json").await, "GET", "/api/rbac/me", &me);
        let marked = |id: &str| {
            let me = me.json();
            let found =
                me["grants"].as_array().unwrap().iter().find(|grant| grant["id"] == id).cloned().unwrap();
            [found["ends_soon"].clone(), found["can_end"].clone(), found["can_extend"].clone()]
        };
        assert_eq!(marked(&one), [true, true, true].map(Value::from));
        assert_eq!(marked(&other), [false, true, true].map(Value::from));
        let done = async |admin: &str, id: &str| {
            let ask = api.write(admin, "DELETE", &format!("/api/rbac/me/grants/{id}"), &Value::Null);
            api.send(&ask).await.status
        };
        assert_eq!(api.get("carol", "/audit").await.status, 200);
        assert_eq!(done("carol", &of_ben).await, 404);
        assert_eq!(done("carol", &direct("ben", DEVOPS)).await, 404);
        assert_eq!(done("ben", &direct("ben", DEVOPS)).await, 422, "a membership is not ended by its holder");
        assert_eq!(done("carol", "x").await, 404);
        assert_eq!(done("carol", &one).await, 204);
        assert_eq!(api.get("carol", "/audit").await.status, 200, "the other grant is live");
        assert_eq!((done("carol", &one).await, done("carol", &other).await), (204, 204));
        assert_eq!(api.get("carol", "/audit").await.status, 403);
        assert_eq!(api.get("ben", "/audit").await.status, 200);
    }
}

/// A break-glass session ends at the word of its holder, and at that of those who may revoke.
#[tokio::test]
async fn a_session_of_break_glass_is_ended() {
    for database in BOTH {
        let api = api(database).await;
        let group = "INSERT INTO rbac_roles (id, name) VALUES ('glass', 'glass');
                     INSERT INTO rbac_group_roles (group_id, role_id)
                     SELECT id, 'glass' FROM rbac_groups WHERE name = 'break-glass';";
        api.world.execute(group).await;
        let (now, end) = (Utc::now() - TimeDelta::minutes(1), Utc::now() + TimeDelta::minutes(50));
        for (id, user) in [("1", "anna"), ("2", "anna"), ("3", "paul")] {
            let id = format!("6f9619ff-8b86-4011-b42d-00cf4fc9640{id}");
            let (now, end) = (now.to_rfc3339(), end.to_rfc3339());
            api.world
                .execute(&format!(
                    "INSERT INTO rbac_break_glass_sessions (id, user_id, justification, granted_by, granted_at_utc, expires_at_utc)
                     VALUES ('{id}', '{user}', 'the database is on fire', '{user}', '{now}', '{end}')"
                ))
                .await;
        }
        let holds = async |admin: &str| {
            let me = api.read(admin, "/api/rbac/me").await;
            me["roles"].as_array().unwrap().contains(&json!("glass"))
        };
        assert_eq!((holds("anna").await, holds("paul").await), (true, true));
        let place =
            |own: &str, id: u8| format!("/api/rbac/{own}grants/6f9619ff-8b86-4011-b42d-00cf4fc9640{id}");
        let end =
            async |admin: &str, place: &str| api.send(&api.write(admin, "DELETE", place, &Value::Null)).await;
        assert_eq!(end("anna", &place("me/", 3)).await.status, 404);
        let dry = end("anna", &format!("{}?dry_run=true", place("me/", 1))).await;
        assert_eq!(
            (dry.status, &dry.json()["audit"][0]["group"]),
            (200, &json!("break-glass")),
            "{}",
            text(&dry)
        );
        assert_eq!(end("anna", &place("me/", 1)).await.status, 204);
        assert!(holds("anna").await, "another session is live");
        assert_eq!(end("anna", &place("me/", 2)).await.status, 204);
        assert_eq!((holds("anna").await, holds("paul").await), (false, true));
        assert_eq!(end("anna", &place("", 3)).await.status, 204);
        assert!(!holds("paul").await);
        assert_eq!(end("anna", &place("", 3)).await.status, 204, "again is no error");
    }
}

/// More time is asked for with what is known of the grant, approved anew on the basis of what it opens after the first has
/// ended, and is a grant of its own.
#[tokio::test]
async fn a_grant_is_extended_by_asking_again() {
    for database in BOTH {
        let api = api(database).await;
        let ask = json!({ "group": DEVOPS, "for": "2h", "reason": "an incident", "ticket": "T-7" });
        let first = post(&api, "carol", "/api/rbac/requests", &ask).await.header("location").to_owned();
        let approve = async |place: &str| {
            let shown = api.read("anna", place).await;
            let body = json!({ "impact_sha256": shown["impact_sha256"] });
            let done = post(&api, "anna", &format!("{place}/approve"), &body).await;
            assert_eq!(done.status, 200, "{}", text(&done));
            (shown, done.json()["grant"].as_str().unwrap().to_owned())
        };
        let (opened, grant) = approve(&first).await;
        let more = post(&api, "carol", "/api/rbac/requests", &json!({ "extends": grant })).await;
        assert_eq!(more.status, 201, "{}", text(&more));
        let document = api.read("anna", "/api/rbac/openapi.json").await;
        compare(&document, "POST", "/api/rbac/requests", &more);
        let prefilled = more.json();
        assert_eq!(
            [
                &prefilled["group"],
                &prefilled["minutes"],
                &prefilled["reason"],
                &prefilled["ticket"],
                &prefilled["extends"]
            ],
            [&json!(DEVOPS), &json!(120), &json!("an incident"), &json!("T-7"), &json!(grant)]
        );
        // Carol is in the group: what is shown is what it opens after that.
        let (shown, second) = approve(more.header("location")).await;
        assert_eq!(shown["impact"]["changes"], opened["impact"]["changes"], "{shown:#}");
        assert!(shown["impact"]["changes"].to_string().contains("/audit"), "{shown:#}");
        assert_ne!(grant, second);
        let end = api.write("carol", "DELETE", &format!("/api/rbac/me/grants/{grant}"), &Value::Null);
        assert_eq!((api.send(&end).await.status, api.get("carol", "/audit").await.status), (204, 200));
        for (case, body) in [
            ("it has ended", json!({ "extends": grant })),
            ("of another", json!({ "extends": self::grant(&api, "dora", 30).await })),
            ("no end", json!({ "extends": direct("ben", DEVOPS) })),
            ("for another", json!({ "extends": second, "user": "dora" })),
            ("another group", json!({ "extends": second, "group": "raxx-devops-team" })),
            ("too long", json!({ "extends": second, "for": "9h" })),
        ] {
            let refused = post(&api, "carol", "/api/rbac/requests", &body).await;
            assert_eq!(refused.status, 422, "{case}: {}", text(&refused));
        }
    }
}

/// An approval that waits while the first grant ends counts: its basis is what opens after that end.
#[tokio::test]
async fn the_end_of_the_first_grant_leaves_the_impact_of_its_extension() {
    let api = api(Database::Sqlite).await;
    let grant = grant(&api, "carol", 45).await;
    let more = post(&api, "carol", "/api/rbac/requests", &json!({ "extends": grant, "for": "1h" })).await;
    assert_eq!(more.status, 201, "{}", text(&more));
    let place = more.header("location");
    let before = api.read("anna", place).await["impact_sha256"].clone();
    let end = api.write("carol", "DELETE", &format!("/api/rbac/me/grants/{grant}"), &Value::Null);
    assert_eq!(api.send(&end).await.status, 204);
    assert_eq!(api.read("anna", place).await["impact_sha256"], before);
}
