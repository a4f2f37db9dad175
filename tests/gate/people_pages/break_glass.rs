//! Break-glass in the pages: what it would open, the strip while a session runs, its end, and its review by another person.
//! `tests/browser/break_glass.py` starts a session with a passkey.

use super::*;

/// Gives the group of break-glass a role.
async fn bring(desk: &Desk, role: &str) {
    desk.world
        .execute(&format!(
            "INSERT INTO rbac_group_roles (group_id, role_id) SELECT g.id, r.id FROM rbac_groups g, rbac_roles r
              WHERE g.name = 'break-glass' AND r.name = '{role}'"
        ))
        .await;
}

/// A session of anna's that began a minute ago.
async fn session(desk: &Desk, database: Database) {
    let [begin, end] = match database {
        Database::Sqlite => ["-1 minute", "+1 hour"]
            .map(|by| format!("strftime('%Y-%m-%dT%H:%M:%f', 'now', '{by}') || '+00:00'")),
        Database::Postgres => {
            ["- interval '1 minute'", "+ interval '1 hour'"].map(|by| format!("now() {by}"))
        }
    };
    desk.world
        .execute(&format!(
            "INSERT INTO rbac_break_glass_sessions (id, user_id, justification, granted_by, granted_at_utc, expires_at_utc)
             VALUES ('8c0b8ec4-25d5-4c5c-8d4d-6f8a7f6d1a11', 'anna', 'the <b>house</b> is on fire', 'anna', {begin}, {end})"
        ))
        .await;
}

const PLACE: &str = "/console/rbac/break-glass/8c0b8ec4-25d5-4c5c-8d4d-6f8a7f6d1a11";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_has_a_form_only_where_a_session_would_open_something() {
    for database in BOTH {
        let desk = Desk::new(database).await;
        desk.world
            .execute(
                "DELETE FROM rbac_group_roles WHERE group_id IN (SELECT id FROM rbac_groups WHERE name = 'break-glass')",
            )
            .await;
        let nothing = desk.page("anna", "/break-glass").await;
        assert!(nothing.contains("Break-glass would open nothing now. Ask for access instead."), "{nothing}");
        assert!(!nothing.contains("id=\"start\""), "{nothing}");
        // A row on a legacy cluster is opened by no session either.
        bring(&desk, "console-user").await;
        assert!(!desk.page("anna", "/break-glass").await.contains("id=\"start\""));
        bring(&desk, "console-secrets-admin").await;
        let page = desk.page("anna", "/break-glass").await;
        assert!(
            page.contains("A session opens 1 route; a legacy gate") && page.contains("GET /secrets"),
            "{page}"
        );
        // Without a script the form stays hidden, and the page states why.
        assert!(page.contains("<form id=\"start\" class=\"card pad stack\" hidden>"), "{page}");
        assert!(page.contains("this page needs JavaScript"), "{page}");
        let others = desk.page("carol", "/break-glass").await;
        assert!(
            others.contains("You cannot start a session") && !others.contains("id=\"start\""),
            "{others}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_on_top_of_each_page_and_is_ended_and_reviewed() {
    for database in BOTH {
        let desk = Desk::new(database).await;
        session(&desk, database).await;
        assert!(desk.page("anna", "/me").await.contains("Break-glass: your session runs until <time"));
        // Paul may review it, ben reads grants; carol may do neither.
        for reader in ["paul", "ben"] {
            let home = desk.page(reader, "").await;
            assert!(home.contains("the session of <bdi>anna</bdi> runs until"), "{reader}: {home}");
        }
        let carols = desk.page("carol", "/break-glass").await;
        assert!(!carols.contains("anna") && !carols.contains("class=\"strip\""), "{carols}");
        let path = PLACE.strip_prefix("/console/rbac").expect("a page");
        assert_eq!(desk.get("carol", path).await.status, 404);
        // The gate finds the session that it did not start, and opens its review.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !desk.page("paul", "/break-glass").await.contains("badge undecided\">open<") {
            assert!(std::time::Instant::now() < deadline, "no review was opened");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        let page = desk.page("paul", path).await;
        assert!(page.contains("the &#60;b&#62;house&#60;/b&#62; is on fire"), "{page}");
        // To end it, and to close its review, is shown first.
        let shown = desk.submit("paul", &Form::of(&page, PLACE).with("text", "a drill")).await;
        assert_eq!(shown.status, 200, "{}", text(&shown));
        assert!(text(&shown).contains("anna loses at once what only this session opens"), "{}", text(&shown));
        assert!(desk.page("anna", "/me").await.contains("your session runs until"));
        let ended = desk.submit("paul", &Form::of(&text(&shown), PLACE)).await;
        assert_eq!((ended.status, ended.header("location")), (303, PLACE), "{}", text(&ended));
        assert!(!desk.page("anna", "/me").await.contains("your session runs until"));
        // Anna cannot close the review of her own session, by the form neither.
        let own = desk.page("anna", path).await;
        assert!(
            own.contains("another person has to close its review") && !own.contains("name=\"step\""),
            "{own}"
        );
        let page = desk.page("paul", path).await;
        let review = Form::of(&page, PLACE);
        assert_eq!(desk.submit("paul", &review).await.status, 422, "a review takes a comment");
        let token = Form::of(&desk.page("anna", "/requests/new").await, "/console/rbac/requests").fields["csrf_token"].clone();
        let forged = review.clone().with("text", "fine").with("confirmed", "yes").with("csrf_token", &token);
        assert_eq!(desk.submit("anna", &forged).await.status, 403);
        let shown = desk.submit("paul", &review.with("text", "a drill")).await;
        assert!(
            text(&shown).contains("The review is closed with 0 requests and your comment"),
            "{}",
            text(&shown)
        );
        // Not what was read: another number of requests.
        let confirm = Form::of(&text(&shown), PLACE);
        let stale = desk.submit("paul", &confirm.clone().with("requests", "7")).await;
        assert_eq!(stale.status, 412, "{}", text(&stale));
        assert_eq!(desk.submit("paul", &confirm).await.status, 303);
        let closed = desk.page("anna", path).await;
        assert!(closed.contains("closed by <bdi>paul</bdi>") && closed.contains("a drill"), "{closed}");
    }
}
