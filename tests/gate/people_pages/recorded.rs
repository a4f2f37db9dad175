//! Why a grant was given, since when, and whether it was used: by the records that the gate keeps, and as far as they go.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::*;

async fn grants(desk: &Desk, query: &str) -> Vec<Value> {
    let ask = Ask::get(&format!("/api/rbac/grants?{query}")).cookie(&desk.sessions["anna"]);
    let answer = desk.gate.send(&ask).await;
    assert_eq!(answer.status, 200, "{}", text(&answer));
    answer.json()["grants"].as_array().cloned().unwrap_or_default()
}

/// Asks until the decision log, which is written behind the answers, has a use.
async fn used(desk: &Desk, query: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let last = grants(desk, query).await[0]["last_used_at_utc"].clone();
        if !last.is_null() {
            return last;
        }
        assert!(Instant::now() < deadline, "no use of {query} was recorded");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_shows_why_it_was_given_since_when_and_its_last_use() {
    for database in BOTH {
        let desk = Desk::new(database).await;
        let form = Form::of(&desk.page("anna", "/grants/new?user=carol").await, "/console/rbac/change");
        let review = desk.submit("anna", &form.with("group", SUPPORT).with("reason", "joins RAXX-9")).await;
        let confirm = Form::of(&text(&review), "/console/rbac/change/confirm");
        assert_eq!(desk.submit("anna", &confirm).await.status, 303);
        let of_carol = &grants(&desk, "user=carol").await[0];
        assert_eq!(of_carol["reason"], "joins RAXX-9", "{of_carol:#}");
        assert!(
            of_carol["starts_at_utc"].is_string() && of_carol["last_used_at_utc"].is_null(),
            "{of_carol:#}"
        );
        // The log began with the gate, and the grant later: from then on every use is known.
        assert_eq!(of_carol["use_known_since_utc"], of_carol["starts_at_utc"]);
        for (who, path) in [
            ("anna", "/people/carol"),
            ("anna", "/grants?user=carol"),
            ("anna", "/groups/raxx-support-team"),
            ("carol", "/me"),
        ] {
            let page = desk.page(who, path).await;
            assert!(page.contains("joins RAXX-9") && page.contains("no use known since"), "{path}: {page}");
        }
        assert_eq!(desk.status("carol", "/audit").await, 200);
        used(&desk, "user=carol").await;
        assert!(!desk.page("carol", "/me").await.contains("no use known since"));
        // Ben was put into the group by other means than the gate, and used nothing.
        let of_ben = &grants(&desk, "user=ben").await[0];
        assert!(of_ben["reason"].is_null() && of_ben["starts_at_utc"].is_null(), "{of_ben:#}");
        assert!(
            of_ben["last_used_at_utc"].is_null() && of_ben["use_known_since_utc"].is_string(),
            "{of_ben:#}"
        );
        // The membership goes and comes back by other means: what was recorded is of another one.
        desk.world.execute("DELETE FROM rbac_user_groups WHERE user_id = 'carol'").await;
        desk.world
            .execute(
                "INSERT INTO rbac_user_groups (user_id, group_id, granted_by)
                 SELECT 'carol', id, 'console' FROM rbac_groups WHERE name = 'raxx-support-team'",
            )
            .await;
        let again = &grants(&desk, "user=carol").await[0];
        assert!(again["reason"].is_null() && again["granted_by"] == "console", "{again:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_is_no_edit_and_a_ticket_grant_states_that_its_use_is_not_recorded() {
    for database in BOTH {
        let desk = Desk::new(database).await;
        let panel = desk.page("anna", "/customers/7/tickets").await;
        let form = Form::of(&panel, "/console/rbac/change").with("user", "carol");
        let form = form.with("role", "raptor-audit-support").with("ticket", "42").with("reason", "a refund");
        let review = desk.submit("anna", &form).await;
        let confirm = Form::of(&text(&review), "/console/rbac/change/confirm");
        assert_eq!(desk.submit("anna", &confirm).await.status, 303);
        let grant = &grants(&desk, "customer=7").await[0];
        assert_eq!((&grant["reason"], &grant["origin"]), (&Value::from("a refund"), &Value::from("ticket")));
        assert!(grant["starts_at_utc"].is_string() && grant["use_known_since_utc"].is_null(), "{grant:#}");
        assert!(desk.page("anna", "/customers/7/tickets").await.contains("a refund"));
        assert!(desk.page("carol", "/me").await.contains("not recorded"));
        // The ETag of a group is that of what an edit changes.
        let group = Ask::get("/api/rbac/groups/raxx-support-team").cookie(&desk.sessions["anna"]);
        let before = desk.gate.send(&group).await.header("etag").to_owned();
        assert_eq!(desk.status("ben", "/audit").await, 200);
        used(&desk, "user=ben").await;
        assert_eq!(desk.gate.send(&group).await.header("etag"), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_decision_log_no_use_is_claimed_either_way() {
    let desk = Desk::with(Database::Sqlite, "[decisions]\nlog = false\n").await;
    let of_ben = &grants(&desk, "user=ben").await[0];
    assert!(of_ben["use_known_since_utc"].is_null(), "{of_ben:#}");
    assert!(desk.page("anna", "/people/ben").await.contains("not recorded"));
}
