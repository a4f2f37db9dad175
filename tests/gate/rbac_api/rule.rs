//! The rule about who may change access (docs/guards.md), where the model of tests/models/guards does not reach: requests that
//! wait, what their askers see, and what others do meanwhile.

use std::sync::Arc;

use serde_json::{Value, json};

use super::requests::{api, post, with_rules};
use super::{Api, BOTH, WRITER, direct, text};
use crate::support::Database;

const DEVOPS: &str = "raxx-devops-team";
/// Edits wait for approval, and what two people have to give can be given.
const RULE: &str = "\n[approval.edits]\nby = [\"raxx-platform-admins\"]\n";

fn ask_for(user: Option<&str>) -> Value {
    let mut body = json!({ "group": DEVOPS, "for": "2h", "reason": "an incident" });
    if let Some(user) = user {
        body["user"] = user.into();
    }
    body
}

async fn approve_as_shown(api: &Api, by: &str, place: &str, shown: &Value) -> crate::support::Answer {
    let body = json!({ "impact_sha256": shown["impact_sha256"] });
    post(api, by, &format!("{place}/approve"), &body).await
}

/// Membership of a group that approves is given by two people, whatever the group brings.
#[tokio::test]
async fn two_people_make_an_approver() {
    for database in BOTH {
        let api = with_rules(database, RULE).await;
        api.world.admin_holding("ivan", &WRITER).await;
        let own = api.grant("ivan", "ivan", "raxx-platform-admins").await;
        assert_eq!((own.status, &own.json()["rule"]), (403, &json!("a")), "{}", text(&own));
        let asked = api.grant("anna", "carol", "raxx-platform-admins").await;
        assert_eq!(asked.status, 202, "{}", text(&asked));
        assert!(!api.is_member("carol", "raxx-platform-admins").await);
        let place = asked.header("location").to_owned();
        let shown = api.read("paul", &place).await;
        let rights = &shown["impact"]["gains"][0]["rights"];
        let group = json!({ "right": { "group": "raxx-platform-admins" }, "way": "plain", "until": null });
        assert!(rights.as_array().is_some_and(|rights| rights.contains(&group)), "{rights:#}");
        assert_eq!(approve_as_shown(&api, "anna", &place, &shown).await.status, 403, "the asker");
        let made = approve_as_shown(&api, "paul", &place, &shown).await;
        assert_eq!(made.status, 200, "{}", text(&made));
        assert!(api.is_member("carol", "raxx-platform-admins").await);
    }
}

/// A role that no row asks for, and a permission of a role that is there already, are part of what is approved.
#[tokio::test]
async fn an_approval_covers_roles_and_permissions_that_open_no_route() {
    let api = api(Database::Sqlite).await;
    api.world
        .execute(
            "INSERT INTO rbac_roles (id, name) VALUES ('unmapped', 'unmapped');
             INSERT INTO rbac_permissions (id, name) VALUES ('x:y:z', 'x:y:z');",
        )
        .await;
    let edits: [&[&str]; 2] =
        [&["group", "grant-role", DEVOPS, "unmapped"], &["role", "permit", "unmapped", "x:y:z"]];
    let asked = post(&api, "carol", "/api/rbac/requests", &ask_for(None)).await;
    let place = asked.header("location").to_owned();
    for edit in edits {
        let shown = api.read("paul", &place).await;
        api.gate.run(edit);
        let stale = approve_as_shown(&api, "paul", &place, &shown).await;
        assert_eq!(stale.status, 412, "{edit:?}: {}", text(&stale));
    }
    let shown = api.read("paul", &place).await;
    assert!(shown["impact"]["gains"].to_string().contains("x:y:z"), "{shown:#}");
    assert_eq!(approve_as_shown(&api, "paul", &place, &shown).await.status, 200);
}

/// The asker sees what the request changes for the one who is to have it, and nobody else's groups.
#[tokio::test]
async fn an_asker_sees_nobody_elses_groups() {
    let api = api(Database::Sqlite).await;
    let asked = post(&api, "carol", "/api/rbac/requests", &ask_for(None)).await;
    let place = asked.header("location").to_owned();
    let [by_asker, by_approver] = [api.read("carol", &place).await, api.read("paul", &place).await];
    let impact = by_asker["impact"].to_string();
    for other in ["anna", "paul", "ben", "dora"] {
        assert!(!impact.contains(&format!("\"{other}\"")), "{other}: {impact}");
    }
    assert!(by_approver["impact"].to_string().contains("\"anna\""));
    assert_eq!(by_asker["impact_sha256"], by_approver["impact_sha256"]);
}

/// Equal requests at once are one; those of others for somebody do not keep that person from asking; and there is a limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_requests_at_once_are_one() {
    for database in BOTH {
        let api = Arc::new(api(database).await);
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..10 {
            let api = api.clone();
            asking
                .spawn(async move { post(&api, "carol", "/api/rbac/requests", &ask_for(None)).await.status });
        }
        let mut statuses = asking.join_all().await;
        statuses.sort_unstable();
        assert_eq!(statuses, [[201].as_slice(), &[409; 9]].concat(), "{database:?}");
        assert_eq!(post(&api, "ben", "/api/rbac/requests", &ask_for(Some("dora"))).await.status, 201);
        assert_eq!(post(&api, "dora", "/api/rbac/requests", &ask_for(None)).await.status, 201);
        for number in 0..19 {
            let name = format!("p{number}");
            api.world.admin(&name, &[], &[]).await;
            assert_eq!(post(&api, "ben", "/api/rbac/requests", &ask_for(Some(&name))).await.status, 201);
        }
        let crowded = post(&api, "ben", "/api/rbac/requests", &ask_for(Some("anna"))).await;
        assert_eq!(crowded.status, 429, "{}", text(&crowded));
    }
}

/// An approver's own membership lasts as long as what is given, and the one who is to have it is active.
#[tokio::test]
async fn an_approval_is_judged_when_it_takes_effect() {
    let api = api(Database::Sqlite).await;
    let asked = post(&api, "carol", "/api/rbac/requests", &ask_for(None)).await;
    let place = asked.header("location").to_owned();
    for (span, status) in [("1h", 403), ("3h", 200)] {
        let name = format!("for-{span}");
        api.world.admin(&name, &[], &[]).await;
        api.gate.run(&["group", "add", "raxx-platform-admins", &name, "--until", span]);
        let answer = approve_as_shown(&api, &name, &place, &api.read(&name, &place).await).await;
        assert_eq!(answer.status, status, "{span}: {}", text(&answer));
    }
    let asked = post(&api, "dora", "/api/rbac/requests", &ask_for(None)).await;
    let place = asked.header("location").to_owned();
    api.gate.run(&["admin", "disable", "dora"]);
    let gone = approve_as_shown(&api, "paul", &place, &api.read("paul", &place).await).await;
    assert_eq!(gone.status, 409, "{}", text(&gone));
}

/// A reason is a line that shows what it contains.
#[tokio::test]
async fn a_reason_forges_no_line() {
    let api = Api::new(Database::Sqlite).await;
    for reason in ["one\nBreak-glass: approved", "a\u{202e}b", "a\u{200b}b", "a\u{2028}b", " "] {
        let body = json!({ "user": "carol", "group": "raxx-support-team", "reason": reason });
        let answer = api.send(&api.write("anna", "POST", "/api/rbac/grants", &body)).await;
        assert_eq!(answer.status, 422, "{reason:?}: {}", text(&answer));
    }
}

/// Others write 25 times a second, and a revocation waits its turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_waits_its_turn() {
    let api = Arc::new(Api::new(Database::Postgres).await);
    let writer = {
        let api = api.clone();
        tokio::spawn(async move {
            let mut times = tokio::time::interval(std::time::Duration::from_millis(40));
            for round in 0_u64.. {
                times.tick().await;
                let statement =
                    format!("UPDATE rbac_groups SET description = 'round {round}' WHERE name = 'ivan'");
                api.world.execute(&statement).await;
            }
        })
    };
    for round in 0..40 {
        let member = format!("m{round}");
        api.world.admin(&member, &["raxx-support-team"], &[]).await;
        let target = format!("/api/rbac/grants/{}", direct(&member, "raxx-support-team"));
        let answer = api.send(&api.write("anna", "DELETE", &target, &Value::Null)).await;
        assert_eq!(answer.status, 204, "{round}: {}", text(&answer));
        assert!(!api.is_member(&member, "raxx-support-team").await);
    }
    writer.abort();
}
