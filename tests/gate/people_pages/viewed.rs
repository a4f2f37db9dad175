//! To look as another person: what they see, by the looker's own right, without a form, and recorded.

use super::*;

const ASKS_ABOUT_OTHERS: &str = "[rbac_api]\ncheck_others = \"console:audit:read\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn another_person_is_looked_at_without_a_form_and_each_look_is_recorded() {
    for database in BOTH {
        let desk = Desk::with(database, ASKS_ABOUT_OTHERS).await;
        // Carol asks for a group; ben asks for more, which approvers alone see.
        for (who, reason) in [("carol", "a refund"), ("ben", "a secret of ben")] {
            let form = Form::of(&desk.page(who, "/requests/new").await, "/console/rbac/requests");
            let form = form.with("group", SUPPORT).with("for", "2h").with("reason", reason).with("route", "");
            assert_eq!(desk.submit(who, &form).await.status, 303);
        }
        let answer = desk.get("anna", "/as/carol").await;
        let page = text(&answer);
        assert_eq!(answer.status, 200, "{page}");
        let strip =
            "You look as <bdi>carol</bdi>. You are still <bdi>anna</bdi>, and nothing here can be changed.";
        assert!(page.contains(strip), "{page}");
        assert!(page.contains("a refund") && page.contains("GET /later"), "{page}");
        // What anna alone may read is not there: others' requests, and pages that carol cannot open.
        for not_carols in ["a secret of ben", "Timeline", "Matrix", ">People<", PLATFORM] {
            assert!(!page.contains(not_carols), "{not_carols}: {page}");
        }
        let form = Form::of(&desk.page("anna", "/requests/new").await, "/console/rbac/requests");
        let token = form.fields["csrf_token"].clone();
        for part in ["<form", "<button", "<input", "csrf_token", token.as_str()] {
            assert!(!page.contains(part), "{part}: {page}");
        }
        // An approver has them waiting, and reads more.
        let pauls = desk.page("anna", "/as/paul").await;
        assert!(pauls.contains("a refund") && pauls.contains("Timeline"), "{pauls}");
        let events = desk.world.store.recent(500).await.expect("the audit");
        let mut looks: Vec<_> = events
            .into_iter()
            .filter(|event| event.event_type == "access_viewed")
            .map(|event| (event.actor_id.unwrap_or_default(), event.subject_id.unwrap_or_default()))
            .collect();
        looks.sort();
        assert_eq!(
            looks,
            [("anna", "carol"), ("anna", "paul")].map(|(by, of)| (by.to_owned(), of.to_owned()))
        );
        // Nothing is changed as another person: neither below the address, nor by a parameter, nor by a field.
        let fields = [
            ("csrf_token", token.as_str()),
            ("what", "grant"),
            ("user", "anna"),
            ("group", SUPPORT),
            ("reason", "x"),
        ];
        let fields: BTreeMap<String, String> =
            fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        for action in
            ["/console/rbac/as/carol", "/console/rbac/as/carol/change", "/console/rbac/change?as=carol"]
        {
            let form = Form { action: action.to_owned(), fields: fields.clone(), ..form.clone() };
            let refused = desk.submit("anna", &form).await;
            assert_eq!(refused.status, 403, "{action}: {}", text(&refused));
            assert!(text(&refused).contains("nothing can be changed there"), "{}", text(&refused));
        }
        let form = Form { action: "/console/rbac/change".to_owned(), fields, ..form }.with("as", "carol");
        assert_eq!(desk.submit("anna", &form).await.status, 400);
        assert_eq!(desk.get("anna", "/as/nobody").await.status, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_who_may_ask_about_others_look_as_another() {
    let desk = Desk::with(Database::Sqlite, ASKS_ABOUT_OTHERS).await;
    assert_eq!(desk.get("carol", "/as/anna").await.status, 403);
    assert!(desk.page("anna", "/people/carol").await.contains("/console/rbac/as/carol"));
    // Without the setting no caller may, and no page links to it.
    let desk = Desk::new(Database::Sqlite).await;
    let refused = desk.get("anna", "/as/carol").await;
    assert_eq!(refused.status, 403, "{}", text(&refused));
    assert!(!desk.page("anna", "/people/carol").await.contains("/console/rbac/as/carol"));
}
