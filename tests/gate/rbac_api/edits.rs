//! Four eyes: with `[approval.edits]`, an edit of groups, roles and permissions is made when others have approved it.

use serde_json::{Value, json};

use super::openapi::compare;
use super::requests::{post, with_rules};
use super::{Api, BOTH, text};
use crate::support::{Answer, Ask, Database};

const RULE: &str = "edits = { by = [\"raxx-platform-admins\"] }\n";
const EDGE: &str = "/api/rbac/groups/raxx-support-team/roles/console-manager";

/// An edit of the group, by what it is now.
async fn edit(api: &Api, admin: &str, method: &str, target: &str, on: &str) -> Answer {
    let etag = api.get(admin, on).await.header("etag").to_owned();
    api.send(&api.write(admin, method, target, &Value::Null).header("if-match", etag)).await
}

async fn approve(api: &Api, by: &str, place: &str) -> Answer {
    let shown = api.read(by, place).await;
    let body = json!({ "impact_sha256": shown["impact_sha256"] });
    post(api, by, &format!("{place}/approve"), &body).await
}

async fn holds(api: &Api, role: &str) -> bool {
    let group = api.read("anna", "/api/rbac/groups/raxx-support-team").await;
    group["roles"].as_array().expect("a list").contains(&json!(role))
}

#[tokio::test]
async fn an_edit_is_made_when_others_have_approved_it() {
    for database in BOTH {
        let api = with_rules(database, RULE).await;
        let document = api.read("anna", "/api/rbac/openapi.json").await;
        let group = "/api/rbac/groups/raxx-support-team";
        let dry = edit(&api, "anna", "PUT", &format!("{EDGE}?dry_run=true"), group).await;
        assert_eq!(dry.status, 200, "{}", text(&dry));
        let before = api.everything().await;
        let asked = edit(&api, "anna", "PUT", &format!("{EDGE}?reason=RAXX-7"), group).await;
        assert_eq!(asked.status, 202, "{}", text(&asked));
        compare(&document, "PUT", "/api/rbac/groups/{name}/roles/{role}", &asked);
        assert_eq!(api.everything().await, before, "nothing has changed yet");
        let place = asked.header("location").to_owned();
        assert_eq!(asked.json()["edit"]["change"], "grant_role");
        assert_eq!((&asked.json()["kind"], &asked.json()["group"]), (&json!("edit"), &Value::Null));
        let again = edit(&api, "anna", "PUT", EDGE, group).await;
        assert_eq!((again.status, &again.json()["request"]), (409, &asked.json()["id"]));
        compare(&document, "GET", "/api/rbac/requests/{id}", &api.get("paul", &place).await);
        // Neither who asked nor who is no approver, and not on the basis of anything else.
        assert_eq!(approve(&api, "anna", &place).await.status, 403);
        assert_eq!(api.get("dora", &place).await.status, 404);
        let stale = json!({ "impact_sha256": "0".repeat(64) });
        assert_eq!(post(&api, "paul", &format!("{place}/approve"), &stale).await.status, 412);
        assert!(!holds(&api, "console-manager").await);
        let done = approve(&api, "paul", &place).await;
        assert_eq!((done.status, &done.json()["state"]), (200, &json!("approved")), "{}", text(&done));
        compare(&document, "POST", "/api/rbac/requests/{id}/approve", &done);
        assert!(holds(&api, "console-manager").await);
        assert_eq!(approve(&api, "paul", &place).await.status, 409, "once");
        let rows = api.read("anna", "/api/rbac/grants/audit?user=ben&role=console-manager").await;
        assert_eq!(rows["events"][0]["granted_by"], "paul", "{rows:#}");
        // What takes away goes the same way, and what is so already needs nobody.
        let asked = edit(&api, "anna", "DELETE", EDGE, group).await;
        assert_eq!((asked.status, holds(&api, "console-manager").await), (202, true));
        assert_eq!(approve(&api, "paul", asked.header("location")).await.status, 200);
        assert!(!holds(&api, "console-manager").await);
        assert_eq!(edit(&api, "anna", "DELETE", EDGE, group).await.status, 200);
        // Memberships are not edits.
        assert_eq!(api.grant("anna", "carol", "raxx-support-team").await.status, 201);
    }
}

/// What was asked for is judged again when it is approved: by what the group is then, and by what who asked may do then.
#[tokio::test]
async fn what_has_changed_meanwhile_is_not_approved() {
    let api = with_rules(Database::Sqlite, RULE).await;
    let group = "/api/rbac/groups/raxx-support-team";
    let asked = edit(&api, "anna", "PUT", EDGE, group).await;
    let place = asked.header("location").to_owned();
    let shown = api.read("paul", &place).await;
    // Somebody else comes into the group: another impact.
    api.world.admin("erik", &["raxx-support-team"], &[]).await;
    let body = json!({ "impact_sha256": shown["impact_sha256"] });
    assert_eq!(post(&api, "paul", &format!("{place}/approve"), &body).await.status, 412);
    // Who asked holds less now than the edit gives.
    api.world.store.leave_group(&policy::ids::AdminId::new("anna"), "raxx-platform-admins").await.unwrap();
    let refused = approve(&api, "paul", &place).await;
    assert_eq!(refused.status, 403, "{}", text(&refused));
    assert!(text(&refused).contains("may not make it any more"), "{}", text(&refused));
    api.world
        .store
        .join_group(&policy::ids::AdminId::new("anna"), "raxx-platform-admins", "t")
        .await
        .unwrap();
    // Another way has led there meanwhile.
    api.gate.run(&["group", "grant-role", "raxx-support-team", "console-manager"]);
    let refused = approve(&api, "paul", &place).await;
    assert_eq!(refused.status, 409, "{}", text(&refused));
    // It can still be taken back.
    assert_eq!(post(&api, "anna", &format!("{place}/withdraw"), &Value::Null).await.status, 200);
    // The guard is judged when it is asked for, too.
    api.world.admin_holding("ivan", &super::WRITER).await;
    let etag = api.get("ivan", group).await.header("etag").to_owned();
    let ask = api.write(
        "ivan",
        "PUT",
        "/api/rbac/groups/raxx-support-team/roles/console-secrets-admin",
        &Value::Null,
    );
    assert_eq!(api.send(&ask.header("if-match", etag)).await.status, 403);
}

/// Where the API's row asks for two permissions, who has lost the second is let in no more.
#[tokio::test]
async fn each_permission_of_the_row_is_judged_again() {
    let row = "[blueprints.lists.routes]
        \"PUT /api/rbac/roles/<role>/permissions/<permission>\" = { permission = [\"raptor:audit:read-self\", \"raptor:audit:read-admin\"], gate = true }\n";
    let api = with_rules(Database::Sqlite, &format!("{RULE}{row}")).await;
    let seed = "INSERT INTO rbac_permissions (id, name) VALUES ('p:q:r', 'p:q:r');
                INSERT INTO rbac_roles (id, name)
                    VALUES ('holder', 'holder'), ('other', 'other'), ('second', 'second');
                INSERT INTO rbac_role_permissions (role_id, permission_id) VALUES ('holder', 'p:q:r');
                INSERT INTO rbac_role_permissions (role_id, permission_id)
                SELECT CASE name WHEN 'raptor:audit:read-self' THEN 'holder' ELSE 'second' END, id FROM rbac_permissions
                 WHERE name IN ('raptor:audit:read-self', 'raptor:audit:read-admin');";
    api.world.execute(seed).await;
    api.world.admin_holding("greta", &["holder", "console-audit-user"]).await;
    api.world.store.add_group("seconds", &["second"]).await.unwrap();
    let greta = policy::ids::AdminId::new("greta");
    let ask = async || {
        let etag = api.get("greta", "/api/rbac/roles/other").await.header("etag").to_owned();
        let target = "/api/rbac/roles/other/permissions/p:q:r";
        api.send(&api.write("greta", "PUT", target, &Value::Null).header("if-match", etag)).await
    };
    assert_eq!(ask().await.status, 403, "one of two");
    api.world.store.join_group(&greta, "seconds", "t").await.unwrap();
    let asked = ask().await;
    assert_eq!(asked.status, 202, "{}", text(&asked));
    let place = asked.header("location");
    api.world.store.leave_group(&greta, "seconds").await.unwrap();
    let refused = approve(&api, "paul", place).await;
    assert!(
        refused.status == 403 && text(&refused).contains("may not make it any more"),
        "{}",
        text(&refused)
    );
    api.world.store.join_group(&greta, "seconds", "t").await.unwrap();
    assert_eq!(approve(&api, "paul", place).await.status, 200);
}

/// Who gains by an edit does not approve it, and a key answers with the one request.
#[tokio::test]
async fn who_gains_by_an_edit_does_not_approve_it() {
    let api = with_rules(Database::Sqlite, RULE).await;
    let seed = "INSERT INTO rbac_permissions (id, name) VALUES ('p:q:r', 'p:q:r');
                INSERT INTO rbac_roles (id, name) VALUES ('holder', 'holder'), ('other', 'other');
                INSERT INTO rbac_role_permissions (role_id, permission_id) VALUES ('holder', 'p:q:r');";
    api.world.execute(seed).await;
    api.world.admin_holding("greta", &["holder", "console-audit-user", "console-invite-admin"]).await;
    api.world.admin("gus", &["greta"], &[]).await;
    api.world.admin("paula", &["raxx-platform-admins"], &[]).await;
    // Paula holds the role to which the permission comes.
    api.world.store.add_group("others", &["other"]).await.unwrap();
    api.world.store.join_group(&policy::ids::AdminId::new("paula"), "others", "t").await.unwrap();
    let etag = api.get("greta", "/api/rbac/roles/other").await.header("etag").to_owned();
    let ask: Ask = api
        .write("greta", "PUT", "/api/rbac/roles/other/permissions/p:q:r", &Value::Null)
        .header("if-match", etag)
        .header("idempotency-key", "once");
    let asked = api.send(&ask).await;
    assert_eq!(asked.status, 202, "{}", text(&asked));
    let again = api.send(&ask).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (202, "true"));
    assert_eq!(again.json()["id"], asked.json()["id"]);
    let place = asked.header("location");
    assert_eq!(approve(&api, "paula", place).await.status, 403);
    assert_eq!(approve(&api, "paul", place).await.status, 200);
}

/// Of two who decide at the same time, one does: an edit is made once, or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_decisions_one_wins() {
    for database in BOTH {
        let api = with_rules(database, RULE).await;
        api.world.admin("pia", &["raxx-platform-admins"], &[]).await;
        let group = "/api/rbac/groups/raxx-support-team";
        for round in 0..6 {
            let method = if round % 2 == 0 { "PUT" } else { "DELETE" };
            let asked = edit(&api, "anna", method, EDGE, group).await;
            assert_eq!(asked.status, 202, "{}", text(&asked));
            let place = asked.header("location");
            let shown = api.read("paul", place).await;
            let body = json!({ "impact_sha256": shown["impact_sha256"] });
            let approve = api.write("paul", "POST", &format!("{place}/approve"), &body);
            let other = match round < 4 {
                true => api.write("pia", "POST", &format!("{place}/approve"), &body),
                false => api.write("pia", "POST", &format!("{place}/deny"), &json!({ "comment": "no" })),
            };
            let (one, other) = tokio::join!(api.gate.send(&approve), api.gate.send(&other));
            let mut both = [one.status, other.status];
            both.sort_unstable();
            assert_eq!(both, [200, 409], "round {round}: {} {}", text(&one), text(&other));
            let state = api.read("paul", place).await["state"].clone();
            let is_made = holds(&api, "console-manager").await == (method == "PUT");
            assert_eq!(is_made, state == "approved", "round {round}");
            if state != "approved" {
                break;
            }
        }
        let rows = api.read("anna", "/api/rbac/grants/audit?user=ben&role=console-manager").await;
        let made = rows["events"].as_array().map_or(0, Vec::len);
        assert!((4..=6).contains(&made), "a row for each edit that was made: {rows:#}");
    }
}
