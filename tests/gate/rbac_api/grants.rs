//! What the API changes, and what it refuses to.

use serde_json::{Value, json};

use super::{Api, BOTH, direct, names, text};
use crate::support::{Ask, Database};

const SUPPORT: &str = "raxx-support-team";

/// A membership comes and goes, each with its rows: sealed, and in `rbac_grants_audit` (I-5, I-9).
#[tokio::test]
async fn a_membership_is_granted_and_revoked() {
    for database in BOTH {
        let api = Api::new(database).await;
        assert_eq!(api.get("carol", "/audit").await.status, 403);
        let made = api.grant("anna", "carol", SUPPORT).await;
        assert_eq!(made.status, 201, "{}", text(&made));
        let location = format!("/api/rbac/grants/{}", direct("carol", SUPPORT));
        assert_eq!(made.header("location"), location);
        assert_eq!(made.json()["id"], direct("carol", SUPPORT));
        assert_eq!(api.get("carol", "/audit").await.status, 200);
        assert_eq!(api.read("anna", &location).await["granted_by"], "anna");
        let again = api.grant("anna", "carol", SUPPORT).await;
        assert_eq!((again.status, again.header("location")), (200, location.as_str()));
        assert_eq!(api.revoke("anna", "carol", SUPPORT).await.status, 204);
        assert_eq!(api.get("carol", "/audit").await.status, 403);
        assert_eq!(api.revoke("anna", "carol", SUPPORT).await.status, 204, "again is no error");
        assert_eq!(api.revoke("anna", "carol", "raxx-devops-team").await.status, 404, "never was");
        assert_eq!(api.revoke("anna", "carol", "no-such-group").await.status, 404);
        assert_eq!(api.get("anna", &location).await.status, 404);
        let rows = api.read("anna", "/api/rbac/grants/audit?user=carol").await;
        let events: Vec<[&Value; 4]> = rows["events"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| [&row["event_type"], &row["group"], &row["granted_by"], &row["justification"]])
            .collect();
        let (group, by) = (json!(SUPPORT), json!("anna"));
        assert_eq!(
            events,
            [[&json!("revoke"), &group, &by, &Value::Null], [&json!("grant"), &group, &by, &json!("RAXX-7")],]
        );
        let sealed = api.world.store.recent(100).await.expect("the audit");
        assert_eq!(sealed.iter().filter(|event| event.event_type == "rbac_changed").count(), 2);
        let unknown = api.grant("anna", "nobody", SUPPORT).await;
        assert_eq!(unknown.status, 422, "{}", text(&unknown));
        let unknown = api.grant("anna", "carol", "raxx-suport-team").await;
        assert_eq!(unknown.status, 422);
        assert!(unknown.json()["detail"].as_str().is_some_and(|said| said.contains("raxx-support-team")));
    }
}

/// I-7: nobody grants themselves a role that they do not hold, by whatever way. The refusal names what is missing, and
/// nothing has changed.
#[tokio::test]
async fn nobody_grants_what_they_do_not_hold() {
    for database in BOTH {
        let api = Api::new(database).await;
        let before = api.everything().await;
        let own = api.grant("ivan", "ivan", "raxx-platform-admins").await;
        assert_eq!(own.status, 403, "{}", text(&own));
        let missing = names(&own.json()["missing_roles"]);
        assert!(
            missing.contains("console-manager") && missing.contains("console-secrets-user"),
            "{missing:?}"
        );
        assert!(
            !missing.contains("console-user") && !missing.contains("console-invite-admin"),
            "{missing:?}"
        );
        let other = api.grant("ivan", "carol", SUPPORT).await;
        assert_eq!(other.status, 403, "{}", text(&other));
        let expected = ["antlers-audit-self".to_owned(), "raptor-audit-support".to_owned()];
        assert_eq!(names(&other.json()["missing_roles"]), expected.into());
        assert_eq!(api.everything().await, before);
        // What one holds, one may give; and take from whomever.
        assert_eq!(api.grant("ivan", "carol", "watch").await.status, 201);
        assert_eq!(api.revoke("ivan", "ben", SUPPORT).await.status, 204);
        // An edit of what one's own group brings is a grant to oneself.
        let before = api.everything().await;
        for (target, on) in [
            ("/api/rbac/groups/ivan/roles/console-manager", "/api/rbac/groups/ivan"),
            ("/api/rbac/roles/console-user/inherits/console-manager", "/api/rbac/roles/console-user"),
            (
                "/api/rbac/roles/console-user/permissions/raptor:audit:read-admin",
                "/api/rbac/roles/console-user",
            ),
        ] {
            let etag = api.get("ivan", on).await.header("etag").to_owned();
            let ask = api.write("ivan", "PUT", target, &Value::Null).header("if-match", etag);
            let refused = api.send(&ask).await;
            assert_eq!(refused.status, 403, "{target}: {}", text(&refused));
            let problem = refused.json();
            let is_named = !names(&problem["missing_roles"]).is_empty()
                || names(&problem["missing_permissions"]).contains("raptor:audit:read-admin");
            assert!(is_named, "{problem}");
        }
        assert_eq!(api.everything().await, before);
    }
}

/// The permission of `grant_any` is for others: it lets nobody raise themselves.
#[tokio::test]
async fn whoever_may_grant_anything_still_grants_themselves_nothing() {
    let api = Api::new(Database::Sqlite).await;
    let seed = "INSERT INTO rbac_roles (id, name) VALUES ('granter', 'granter');
                INSERT INTO rbac_permissions (id, name) VALUES ('rbac:grant:any', 'rbac:grant:any');
                INSERT INTO rbac_role_permissions (role_id, permission_id) VALUES ('granter', 'rbac:grant:any');";
    api.world.execute(seed).await;
    api.world.admin_holding("greta", &["granter", "console-invite-admin"]).await;
    assert_eq!(api.grant("greta", "carol", "raxx-devops-team").await.status, 201);
    let two = api.grant("greta", "carol", "raxx-platform-admins").await;
    assert_eq!((two.status, &two.json()["rule"]), (403, &json!("c")), "{}", text(&two));
    let own = api.grant("greta", "greta", "raxx-platform-admins").await;
    assert_eq!(own.status, 403, "{}", text(&own));
    assert!(names(&own.json()["missing_roles"]).contains("console-manager"));
    assert!(!api.is_member("greta", "raxx-platform-admins").await);
}

/// Edits need the ETag of what was read, and a circle of roles is refused by its name.
#[tokio::test]
async fn groups_roles_and_edges_are_edited() {
    for database in BOTH {
        let api = Api::new(database).await;
        let put = |target: &str| api.write("anna", "PUT", target, &json!({ "reason": "RAXX-8" }));
        let created = api.send(&put("/api/rbac/groups/night-shift").header("if-none-match", "*")).await;
        assert_eq!(created.status, 201, "{}", text(&created));
        assert_eq!(api.send(&put("/api/rbac/groups/night-shift")).await.status, 428);
        assert_eq!(
            api.send(&put("/api/rbac/groups/night-shift").header("if-none-match", "*")).await.status,
            412
        );
        assert_eq!(api.send(&put("/api/rbac/groups/a%20b").header("if-none-match", "*")).await.status, 422);
        let edge = "/api/rbac/groups/night-shift/roles/console-audit-user";
        assert_eq!(api.send(&put(edge)).await.status, 428);
        assert_eq!(api.send(&put(edge).header("if-match", "\"other\"")).await.status, 412);
        assert_eq!(api.send(&put(edge).header("if-match", "*")).await.status, 412);
        let etag = api.get("anna", "/api/rbac/groups/night-shift").await.header("etag").to_owned();
        let edited = api.send(&put(edge).header("if-match", etag.clone())).await;
        assert_eq!(edited.status, 200, "{}", text(&edited));
        assert_eq!(edited.json()["roles"], json!(["console-audit-user"]));
        let read = api.get("anna", "/api/rbac/groups/night-shift").await;
        assert_eq!((read.header("etag"), read.json()), (edited.header("etag"), edited.json()));
        assert_eq!(api.send(&put(edge).header("if-match", etag)).await.status, 412, "the ETag of before");
        assert_eq!(api.grant("anna", "carol", "night-shift").await.status, 201);
        assert_eq!(api.get("carol", "/audit").await.status, 200);
        let etag = api.get("anna", "/api/rbac/groups/night-shift").await.header("etag").to_owned();
        let gone = api.write("anna", "DELETE", edge, &Value::Null).header("if-match", etag);
        assert_eq!(api.send(&gone).await.status, 200);
        assert_eq!(api.get("carol", "/audit").await.status, 403);

        for name in ["one", "two", "three"] {
            let created =
                api.send(&put(&format!("/api/rbac/roles/{name}")).header("if-none-match", "*")).await;
            assert_eq!(created.status, 201, "{}", text(&created));
        }
        let created = api.send(&put("/api/rbac/permissions/x:y:z").header("if-none-match", "*")).await;
        assert_eq!(created.status, 201, "{}", text(&created));
        // Whoever creates a role holds it by no group, so somebody who may grant anything has to hand it out.
        for (child, parent) in [("one", "two"), ("two", "three"), ("three", "one")] {
            let etag = api.get("anna", &format!("/api/rbac/roles/{child}")).await.header("etag").to_owned();
            let target = format!("/api/rbac/roles/{child}/inherits/{parent}");
            let answer = api.send(&put(&target).header("if-match", etag)).await;
            assert_eq!(
                answer.status,
                if child == "three" { 422 } else { 403 },
                "{target}: {}",
                text(&answer)
            );
            if child == "three" {
                assert_eq!(answer.json()["cycle"], json!(["three", "one", "two", "three"]));
            } else {
                api.world.store.add_inheritance(child, parent).await.expect("an edge");
            }
        }
    }
}

/// A cookie is sent by the browser whichever page asks: the request has to show that it is one of this site's.
#[tokio::test]
async fn another_site_changes_nothing() {
    let api = Api::new(Database::Sqlite).await;
    let token = api.read("anna", "/api/rbac/me").await["csrf_token"].as_str().expect("a token").to_owned();
    let of_ben = api.read("ben", "/api/rbac/me").await["csrf_token"].as_str().expect("a token").to_owned();
    let earlier = chrono::Utc::now() - chrono::TimeDelta::minutes(1);
    let cookie = api.world.sign(&json!({ "admin_id": "anna" }), earlier);
    let of_cookie = {
        let me = api.gate.send(&Ask::get("/api/rbac/me").cookie(&cookie)).await;
        me.json()["csrf_token"].as_str().expect("a token").to_owned()
    };
    let body = json!({ "user": "carol", "group": SUPPORT, "reason": "x" }).to_string();
    let bare = || Ask::new("POST", "/api/rbac/grants").cookie(&cookie).body(body.clone());
    let ask = || bare().header("content-type", "application/json");
    let site = "sec-fetch-site";
    let refused = [
        ask(),
        ask().header(site, "cross-site"),
        ask().header(site, "same-site"),
        ask().header(site, "none"),
        ask().header(site, ""),
        ask().header(site, "same-origin").header(site, "cross-site"),
        ask().header("origin", "https://evil.test"),
        ask().header("origin", "null"),
        ask().header("origin", "https://console.test.evil.test"),
        ask().header("origin", "https://console.test").header("origin", "https://evil.test"),
        ask().header(site, "same-origin").header("origin", "https://evil.test"),
        ask().header(site, "cross-site").header("origin", "https://console.test"),
        ask().header(site, "cross-site").header("x-csrf-token", of_cookie.clone()),
        ask().header("origin", "https://evil.test").header("x-csrf-token", of_cookie.clone()),
        ask().header("x-csrf-token", ""),
        ask().header("x-csrf-token", of_ben),
        ask().header("x-csrf-token", of_cookie.clone() + "x"),
        ask().header("x-csrf-token", of_cookie.clone()).header("x-csrf-token", of_cookie.clone()),
    ];
    for (number, ask) in refused.iter().enumerate() {
        // The firewall takes no repeated Origin.
        let status = api.ask(ask).await.status;
        assert!([400, 403].contains(&status) && (status == 403 || number == 9), "{number}: {status} {ask:?}");
    }
    // Another cookie of the same admin is another session.
    assert_eq!(api.send(&ask().header("x-csrf-token", token)).await.status, 403);
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx"]
    {
        let ask = bare().header("content-type", kind).header(site, "same-origin");
        assert_eq!(api.send(&ask).await.status, 415, "{kind}");
    }
    assert_eq!(api.send(&bare().header(site, "same-origin")).await.status, 415);
    assert!(!api.is_member("carol", SUPPORT).await);
    let allowed = [
        ask().header(site, "same-origin"),
        ask().header(site, "same-origin").header("origin", "https://console.test"),
        ask().header("origin", "https://console.test"),
        ask().header("origin", "http://CONSOLE.test:80"),
        ask().header("x-csrf-token", of_cookie),
        bare().header("content-type", "Application/JSON; charset=utf-8").header(site, "same-origin"),
    ];
    for (number, ask) in allowed.iter().enumerate() {
        assert!(api.send(ask).await.status < 300, "{number}: {ask:?}");
    }
    let gone = Ask::new("DELETE", &format!("/api/rbac/grants/{}", direct("carol", SUPPORT))).cookie(&cookie);
    assert_eq!(api.send(&gone).await.status, 403);
    assert!(api.is_member("carol", SUPPORT).await);
}

/// Grants with an end beside the membership without one: each by its own id, and ending one never ends another.
#[tokio::test]
async fn grants_with_an_end_are_grants_of_their_own() {
    for database in BOTH {
        let api = Api::new(database).await;
        let until = |hours| (chrono::Utc::now() + chrono::TimeDelta::hours(hours)).to_rfc3339();
        let timed = |by: &str, user: &str, group: &str, hours: i64| {
            let body = json!({ "user": user, "group": group, "reason": "RAXX-9", "until": until(hours) });
            api.write(by, "POST", "/api/rbac/grants", &body)
        };
        let mut ids = Vec::new();
        for hours in [1, 2] {
            let made = api.send(&timed("anna", "carol", SUPPORT, hours)).await;
            assert_eq!(made.status, 201, "{}", text(&made));
            let id = made.json()["id"].as_str().expect("an id").to_owned();
            assert_eq!(made.header("location"), format!("/api/rbac/grants/{id}"));
            assert_eq!((&made.json()["origin"], &made.json()["live"]), (&json!("timed"), &json!(true)));
            ids.push(id);
        }
        assert_eq!(api.grant("anna", "carol", SUPPORT).await.status, 201);
        ids.push(direct("carol", SUPPORT));
        let me = api.read("carol", "/api/rbac/me").await;
        let mut held: Vec<&str> =
            me["grants"].as_array().expect("grants").iter().filter_map(|one| one["id"].as_str()).collect();
        held.sort_unstable();
        let mut all: Vec<&str> = ids.iter().map(String::as_str).collect();
        all.sort_unstable();
        assert_eq!(held, all);
        let list = api.read("anna", "/api/rbac/grants?user=carol&origin=timed&live=true").await;
        assert_eq!(list["grants"].as_array().map(Vec::len), Some(2));
        let audit = api.read("anna", "/api/rbac/grants/audit?user=carol&event=grant").await;
        let ends =
            audit["events"].as_array().expect("rows").iter().filter(|row| row["expires_at_utc"].is_string());
        assert_eq!(ends.count(), 2);
        for (number, id) in ids.iter().enumerate() {
            assert_eq!(api.get("carol", "/audit").await.status, 200, "{number}");
            let target = format!("/api/rbac/grants/{id}?reason=done");
            let ask = api.write("anna", "DELETE", &target, &Value::Null);
            assert_eq!(api.send(&ask).await.status, 204);
            assert_eq!(api.send(&ask).await.status, 204, "again");
        }
        assert_eq!(api.get("carol", "/audit").await.status, 403);
        let ended = api.read("anna", &format!("/api/rbac/grants/{}", ids[0])).await;
        assert_eq!((&ended["live"], &ended["revoked_by"]), (&json!(false), &json!("anna")));
        // The guards are those of a membership, and what one holds until a time is nothing to make lasting grants from.
        let refused = api.send(&timed("ivan", "carol", SUPPORT, 1)).await;
        assert_eq!(refused.status, 403, "{}", text(&refused));
        // Two people make somebody a platform admin, who may write and start break-glass; here an operator does.
        api.gate.run(&["group", "add", "raxx-platform-admins", "ivan", "--until", "1h"]);
        assert_eq!(api.get("ivan", "/secrets").await.status, 200);
        for ask in [
            timed("ivan", "ivan", "raxx-platform-admins", 8),
            api.write(
                "ivan",
                "POST",
                "/api/rbac/grants",
                &json!({ "user": "ivan", "group": SUPPORT, "reason": "x" }),
            ),
            timed("ivan", "carol", "raxx-platform-admins", 1),
        ] {
            let refused = api.send(&ask).await;
            assert_eq!(refused.status, 403, "{}", text(&refused));
            assert!(!names(&refused.json()["missing_roles"]).is_empty());
        }
        for hours in [-1, 0, 24 * 367] {
            assert_eq!(api.send(&timed("anna", "carol", SUPPORT, hours)).await.status, 422, "{hours}");
        }
    }
}
