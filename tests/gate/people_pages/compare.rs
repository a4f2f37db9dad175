//! Two people beside each other, and what one has given to the other: each group by a review of its own.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_one_has_is_compared_and_given_group_by_group() {
    for database in BOTH {
        let desk = Desk::new(database).await;
        desk.world.execute(&crate::rbac_api::delegations(&["raxx-devops-team"])).await;
        desk.world
            .execute(
                "INSERT INTO rbac_user_groups (user_id, group_id)
                 SELECT 'ben', id FROM rbac_groups WHERE name IN ('raxx-devops-team', 'break-glass')",
            )
            .await;
        let page = desk.page("anna", "/people/compare?a=ben&b=carol").await;
        assert!(page.contains("only <bdi>ben</bdi>") && page.contains("raxx-support-team"), "{page}");
        assert!(page.contains("GET /audit") && page.contains("once on V2"), "{page}");
        // A membership of break-glass is shown, and not given on.
        let form = Form::of(&page, "/console/rbac/people/compare/give");
        assert!(
            page.contains("groups/break-glass") && page.matches("type=\"checkbox\"").count() == 2,
            "{page}"
        );
        assert_eq!(form.fields["b"], "carol");
        for group in ["break-glass", PLATFORM, "nothing"] {
            let path = format!("/people/compare/give?a=ben&b=carol&reason=x&g0={group}");
            let refused = desk.get("anna", &path).await;
            assert_eq!(refused.status, 422, "{group}: {}", text(&refused));
        }
        // Two groups: the review of the first leads to that of the second, and that back.
        let path = format!(
            "/people/compare/give?a=ben&b=carol&reason=as%20ben&until=&g0=raxx-devops-team&g1={SUPPORT}"
        );
        let first = desk.page("anna", &path).await;
        assert!(
            first.contains("Grant raxx-devops-team to carol") && first.contains("<dt>Next</dt>"),
            "{first}"
        );
        assert!(!desk.is_member("carol", "raxx-devops-team").await);
        let confirm = Form::of(&first, "/console/rbac/change/confirm");
        // The address after it is one of these pages, whatever the form has.
        for elsewhere in ["https://evil.test/", "//evil.test", "/console/rbac/people/compare\r\nX: y"] {
            let answer = desk.submit("anna", &confirm.clone().with("then", elsewhere)).await;
            assert_eq!(answer.header("location"), "/console/rbac/people/carol", "{}", text(&answer));
        }
        assert!(desk.is_member("carol", "raxx-devops-team").await);
        let done = desk.submit("anna", &confirm).await;
        assert_eq!(done.status, 303, "{}", text(&done));
        let next = done.header("location").strip_prefix("/console/rbac").expect("a page").to_owned();
        let second = desk.page("anna", &next).await;
        assert!(
            second.contains("permission raptor:audit:read-support")
                && second.contains("as ben")
                && !second.contains("<dt>Next</dt>"),
            "{second}"
        );
        let done = desk.submit("anna", &Form::of(&second, "/console/rbac/change/confirm")).await;
        assert_eq!(
            (done.status, done.header("location")),
            (303, "/console/rbac/people/compare?a=ben&b=carol"),
            "{}",
            text(&done)
        );
        assert!(desk.is_member("carol", SUPPORT).await);
        let page = desk.page("anna", "/people/compare?a=ben&b=carol").await;
        assert!(!page.contains("type=\"checkbox\""), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_compares_and_gives_nothing() {
    let desk = Desk::new(Database::Sqlite).await;
    let page = desk.page("ben", "/people/compare?a=anna&b=carol").await;
    assert!(
        page.contains(PLATFORM) && !page.contains("type=\"checkbox\"") && !page.contains("id=\"give\""),
        "{page}"
    );
    let path = format!("/people/compare/give?a=anna&b=carol&reason=x&g0={PLATFORM}");
    assert_eq!(desk.get("ben", &path).await.status, 403);
    assert_eq!(desk.get("carol", "/people/compare?a=anna&b=ben").await.status, 403);
    assert_eq!(desk.get("anna", "/people/compare?a=anna&b=anna").await.status, 422);
    // From a person's page and from a search.
    assert!(desk.page("ben", "/people/anna").await.contains("action=\"/console/rbac/people/compare\""));
    assert!(desk.page("ben", "/search?q=a").await.contains("action=\"/console/rbac/people/compare\""));
}
