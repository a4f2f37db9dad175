//! Reviews of access over the API and on the pages: who may decide what, and what an insider tries.

use serde_json::{Value, json};

use super::Office;
use crate::rbac_api::openapi::compare;
use crate::rbac_api::{BOTH, text};

fn item_of<'r>(review: &'r Value, admin: &str, granted: &str) -> &'r Value {
    let items = review["items"].as_array().expect("items");
    let found = items.iter().find(|item| item["admin"] == admin && item["granted"] == granted);
    found.unwrap_or_else(|| panic!("no item of {admin} and {granted}: {review:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_grant_is_kept_or_ended_by_another_person() {
    for database in BOTH {
        let office = Office::new(database).await;
        office
            .world
            .store
            .join_group(&policy::ids::AdminId::new("carol"), "night", "tests")
            .await
            .expect("a member");
        office.gate.run(&["review", "open"]);
        let document = office.read("ben", "/api/rbac/openapi.json").await;
        let listed = office.get("ben", "/api/rbac/reviews").await;
        compare(&document, "GET", "/api/rbac/reviews", &listed);
        let list = listed.json();
        let id = list["reviews"][0]["id"].as_str().expect("a review").to_owned();
        let place = format!("/api/rbac/reviews/{id}");
        let shown = office.get("anna", &place).await;
        compare(&document, "GET", "/api/rbac/reviews/{id}", &shown);
        let review = shown.json();
        let items = review["items"].as_array().expect("items").len();
        assert_eq!((&review["total"], &review["undecided"]), (&json!(items), &json!(items)));
        let sha256 = review["sha256"].clone();
        let own = item_of(&review, "anna", super::PLATFORM);
        assert_eq!((&own["is_own"], &own["can_decide"]), (&json!(true), &json!(false)));
        let at = |item: &Value| format!("{place}/items/{}", item["id"].as_str().expect("an id"));
        let (own, of_carol) = (at(own), at(item_of(&review, "carol", "night")));
        let keep = json!({ "decision": "keep" });
        let end = json!({ "decision": "end", "reason": "not used" });
        // An insider: one's own item; no right to write; a name in the body; another review's address; no reason.
        let table = [
            ("anna", own.clone(), &keep, 403),
            ("anna", own.clone(), &end, 403),
            ("ben", of_carol.clone(), &keep, 403),
            ("carol", of_carol.clone(), &keep, 403),
            ("anna", of_carol.clone(), &json!({ "decision": "keep", "by": "paul" }), 400),
            ("anna", of_carol.clone(), &json!({ "decision": "kept" }), 400),
            ("anna", of_carol.clone(), &json!({ "decision": "end" }), 422),
            ("anna", of_carol.clone(), &json!({ "decision": "end", "reason": "a\nb" }), 422),
            ("anna", of_carol.replace(&id, "0199f3c2-7d1e-7cc0-8b1c-2f6d1f9b7a10"), &keep, 404),
            ("anna", format!("{place}/items/x"), &keep, 404),
        ];
        for (who, target, body, status) in table {
            let answer = office.send(who, "POST", &target, body).await;
            let expected = if status == 400 { vec![400, 422] } else { vec![status] };
            assert!(expected.contains(&answer.status), "{who} {target} {body}: {}", text(&answer));
        }
        assert_eq!(office.read("anna", &place).await["sha256"], sha256, "nothing was decided");
        assert_eq!(office.send("anna", "POST", &format!("{place}/close"), &Value::Null).await.status, 409);

        // The page shows the effect of an end, and makes it only if it is still that.
        let page = office.page("anna", &format!("/reviews/{id}")).await;
        assert!(
            page.contains("Your own: another reviewer decides")
                && page.contains(sha256.as_str().expect("a digest")),
            "{page}"
        );
        let path = of_carol.replace("/api/rbac", "");
        let shown = office.page("anna", &format!("{path}/end")).await;
        assert!(shown.contains("End night of carol") && shown.contains("name=\"reason\""), "{shown}");
        let template = "/api/rbac/reviews/{id}/items/{item}";
        compare(&document, "GET", template, &office.get("anna", &of_carol).await);
        let dry = office.send("anna", "POST", &format!("{of_carol}?dry_run=true"), &end).await;
        compare(&document, "POST", template, &dry);
        let dry = office.done("anna", "POST", &format!("{of_carol}?dry_run=true"), &end).await;
        let stale = office.send("anna", "POST", &format!("{of_carol}?expect=0"), &end).await;
        assert_eq!(stale.status, 412, "{}", text(&stale));
        let expected = format!("{of_carol}?expect={}", dry["preview_sha256"].as_str().expect("a digest"));
        let ended = office.done("anna", "POST", &expected, &end).await;
        assert_eq!(
            (&ended["decision"], &ended["decided_by"], &ended["comment"]),
            (&json!("revoked"), &json!("anna"), &json!("not used"))
        );
        let members = office.world.store.memberships().await.expect("members");
        assert!(!members.iter().any(|one| &*one.admin == "carol" && &*one.group == "night"));
        // Decided twice, and by another.
        for who in ["anna", "paul"] {
            assert_eq!(office.send(who, "POST", &of_carol, &keep).await.status, 409, "{who}");
        }
        // The chain has the decision and the end, both with the reviewer.
        let rows = office.read("ben", "/api/rbac/timeline?user=carol&limit=2").await;
        let rows: Vec<_> =
            super::events(&rows).iter().map(|one| (one["kind"].clone(), one["by"].clone())).collect();
        assert_eq!(rows, [(json!("review"), json!("anna")), (json!("revoke"), json!("anna"))]);

        // The rest is kept, each by another person than its holder; then the review is closed, and stays so.
        let review = office.read("anna", &format!("{place}?undecided=true&limit=500")).await;
        let mut last = String::new();
        for item in review["items"].as_array().expect("items") {
            let by = if item["admin"] == "anna" { "paul" } else { "anna" };
            last = at(item);
            compare(&document, "POST", template, &office.send(by, "POST", &last, &keep).await);
        }
        let closed = office.done("anna", "POST", &format!("{place}/close"), &Value::Null).await;
        assert_eq!(closed["closed_by"], "anna");
        assert_eq!(office.send("anna", "POST", &format!("{place}/close"), &Value::Null).await.status, 409);
        assert_eq!(office.send("anna", "POST", &last, &end).await.status, 409);
        let whole = office.read("anna", &place).await;
        assert_ne!(whole["sha256"], sha256);
        let sealed = super::events(&office.read("ben", "/api/rbac/timeline?kind=review&limit=1").await);
        let sealed = office
            .read("ben", &format!("/api/rbac/timeline/{}", sealed[0]["id"].as_str().expect("an id")))
            .await;
        assert_eq!(sealed["record"]["detail"]["detail"]["sha256"], whole["sha256"], "{sealed:#}");
        assert!(office.page("anna", "/reviews").await.contains("closed"));
    }
}

/// A review is no way around the rule of who may change access: whoever cannot empty a group cannot do so by a review either.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_judged_as_every_other_revocation() {
    let office = Office::new(crate::support::Database::Sqlite).await;
    office.world.store.add_group("approvers", &[]).await.expect("a group");
    office
        .world
        .store
        .join_group(&policy::ids::AdminId::new("carol"), "approvers", "tests")
        .await
        .expect("a member");
    // Its members may give the group `night`: a power, which nobody outside of it may take by emptying it.
    office
        .world
        .execute(
            "INSERT INTO gate_grantors (kind, name, grantor_group, with_approval, added_by, added_at_utc)
         VALUES ('group', 'night', 'approvers', FALSE, 'tests', '2026-03-29T12:00:00+00:00')",
        )
        .await;
    office.gate.run(&["review", "open"]);
    let list = office.read("ben", "/api/rbac/reviews").await;
    let place = format!("/api/rbac/reviews/{}", list["reviews"][0]["id"].as_str().expect("a review"));
    let review = office.read("anna", &place).await;
    let item = item_of(&review, "carol", "approvers")["id"].as_str().expect("an id").to_owned();
    let end = json!({ "decision": "end", "reason": "x" });
    let answer = office.send("anna", "POST", &format!("{place}/items/{item}"), &end).await;
    assert_eq!((answer.status, &answer.json()["rule"]), (403, &json!("d")), "{}", text(&answer));
    let members = office.world.store.memberships().await.expect("members");
    assert!(members.iter().any(|one| &*one.admin == "carol" && &*one.group == "approvers"));
    assert_eq!(office.read("anna", &format!("{place}/items/{item}")).await["decision"], Value::Null);
}
