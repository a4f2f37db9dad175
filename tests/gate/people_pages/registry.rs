//! Groups, roles and permissions in the pages: created with their parts as one change, given by grantors, and drawn.

use serde_json::{Value, json};

use super::{BOTH, Database, Desk, Form, PLATFORM, SUPPORT, encoded, text};
use crate::support::Ask;

const CHANGE: &str = "/console/rbac/change";
const CONFIRM: &str = "/console/rbac/change/confirm";

/// The mapping of the other tests, on which two people make an edit.
fn with_edits() -> &'static str {
    let rule = "[approval]\nedits = { by = [\"raxx-platform-admins\"] }";
    super::MAPPING.replace("[approval]", rule).leak()
}

impl Desk {
    /// A form of a page.
    async fn form(&self, admin: &str, path: &str, what: &str) -> Form {
        let page = self.page(admin, path).await;
        let wanted = format!("name=\"what\" value=\"{what}\"");
        let form = page.split("<form").find(|form| form.contains(&wanted));
        let form = form.unwrap_or_else(|| panic!("{path}: no form for {what}: {page}"));
        Form::of(&format!("<form{form}"), CHANGE)
    }

    /// Confirms what a form leads to; what the review shows, and where the browser is sent.
    async fn confirmed(&self, admin: &str, form: &Form) -> (String, String) {
        let review = self.submit(admin, form).await;
        assert_eq!(review.status, 200, "{}", text(&review));
        let shown = text(&review);
        let done = self.submit(admin, &Form::of(&shown, CONFIRM)).await;
        assert_eq!(done.status, 303, "{shown}\n{}", text(&done));
        (shown, done.header("location").to_owned())
    }

    /// Approves the request at that address by its page.
    async fn approve(&self, admin: &str, place: &str) {
        let path = place.strip_prefix("/console/rbac").expect("a page");
        let page = self.page(admin, path).await;
        let done = self.submit(admin, &Form::of(&page, place).with("step", "approve")).await;
        assert_eq!(done.status, 303, "{page}\n{}", text(&done));
        assert!(self.page(admin, path).await.contains("approved"), "{place}");
    }
}

/// docs/guards.md, "Delegation": the whole of it without a shell.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_created_with_its_grantors_who_then_give_it() {
    for database in BOTH {
        let desk = Desk::on(database, with_edits()).await;
        let form = desk.form("anna", "/groups/new", "new-group").await;
        let form = form.with("group", "night-desk").with("description", "At night").with("reason", "RAXX-7");
        let form =
            form.with("with_approval", "false").with_all("roles", &["console-user", "console-audit-user"]);
        // By a group of her own she would be able to let others give her what she made: rule a.
        let own = desk.submit("anna", &form.clone().with_all("grantors", &[PLATFORM])).await;
        assert_eq!(own.status, 403, "{}", text(&own));
        assert!(text(&own).contains("Rule a") && text(&own).contains("Who could"), "{}", text(&own));
        let form = form.with_all("grantors", &["raxx-devops-team"]);
        let (review, request) = desk.confirmed("anna", &form).await;
        for expected in [
            "night-desk",
            "console-audit-user",
            "raxx-devops-team",
            "At night",
            "Another person has to approve this",
            "A member of raxx-platform-admins decides",
        ] {
            assert!(review.contains(expected), "{expected}: {review}");
        }
        assert_eq!(desk.get("anna", "/groups/night-desk").await.status, 404, "it waits");
        let waits = desk.page("paul", request.strip_prefix("/console/rbac").expect("a page")).await;
        assert!(
            waits.contains("create the group `night-desk`") && waits.contains("raxx-devops-team"),
            "{waits}"
        );
        desk.approve("paul", &request).await;
        let group = desk.page("anna", "/groups/night-desk").await;
        assert!(group.contains("console-audit-user") && group.contains("raxx-devops-team"), "{group}");
        // A grantor gives it to another, and not to herself; who is none does not give it.
        let form = desk.form("dora", "/grants/new?group=night-desk", "grant").await;
        let form = form.with("group", "night-desk").with("reason", "the night");
        let (_, back) = desk.confirmed("dora", &form.clone().with("user", "carol")).await;
        assert_eq!(back, "/console/rbac/people/carol");
        assert!(desk.is_member("carol", "night-desk").await);
        let own = desk.submit("dora", &form.with("user", "dora")).await;
        assert_eq!(own.status, 403, "{}", text(&own));
        let other = desk.form("anna", "/grants/new", "grant").await;
        let other = other.with("group", "night-desk").with("user", "ben").with("reason", "me too");
        let refused = desk.submit("anna", &other).await;
        assert_eq!(refused.status, 403, "{}", text(&refused));
        assert!(
            text(&refused).contains("members of `raxx-devops-team`, who are grantors"),
            "{}",
            text(&refused)
        );
        // The delegation is ended by the page of the group, which a member may do.
        let end = desk.form("dora", "/groups/night-desk", "no-grantor").await;
        assert_eq!(
            desk.submit("anna", &Form { fields: end.fields.clone(), ..end.clone() }).await.status,
            403
        );
        let (_, request) = desk.confirmed("dora", &end).await;
        desk.approve("paul", &request).await;
        assert!(!desk.page("anna", "/groups/night-desk").await.contains("no-grantor"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_created_with_what_it_brings_and_edited() {
    for database in BOTH {
        let desk = Desk::on(database, with_edits()).await;
        // Its author may put it into a group in the same change, with another person.
        let form = desk.form("anna", "/roles/new", "new-role").await;
        let form =
            form.with("role", "night-reader").with("reason", "RAXX-8").with_all("parents", &["console-user"]);
        let form = form.with_all("groups", &[SUPPORT]);
        let (review, request) = desk.confirmed("anna", &form).await;
        assert!(review.contains("it gives role `night-reader`"), "{review}");
        desk.approve("paul", &request).await;
        let role = desk.page("anna", "/roles/night-reader").await;
        assert!(role.contains("<svg") && role.contains("/console/rbac/roles/console-user"), "{role}");
        assert!(role.contains(&format!("/console/rbac/groups/{SUPPORT}")), "{role}");
        // Later she holds it no more than anybody: the page names the rule and who could.
        let put =
            desk.form("anna", "/roles/night-reader", "group-role").await.with("group", "raxx-devops-team");
        let refused = desk.submit("anna", &put).await;
        assert_eq!(refused.status, 403, "{}", text(&refused));
        assert!(
            text(&refused).contains("Rule b") && text(&refused).contains("members of `raxx-support-team`"),
            "{}",
            text(&refused)
        );
        // A circle is refused, and names itself.
        let circle = desk.form("anna", "/roles/console-user", "inherit").await.with("parent", "night-reader");
        let refused = desk.submit("anna", &circle).await;
        assert!([403, 422].contains(&refused.status), "{}", text(&refused));
        // A permission, and who may have it.
        let form = desk.form("anna", "/permissions/new", "new-permission").await;
        let (_, request) =
            desk.confirmed("anna", &form.with("permission", "night:read").with("reason", "RAXX-9")).await;
        desk.approve("paul", &request).await;
        assert!(desk.page("anna", "/roles").await.contains("night:read"));
        let permit =
            desk.form("anna", "/roles/night-reader", "permit").await.with("permission", "night:read");
        let refused = desk.submit("anna", &permit).await;
        assert_eq!(refused.status, 403, "{}", text(&refused));
    }
}

/// Without approvers of edits, the page says that an operator has to do it.
#[tokio::test(flavor = "multi_thread")]
async fn what_takes_two_people_says_so_where_nobody_is_named() {
    let desk = Desk::new(Database::Sqlite).await;
    let form = desk.form("anna", "/groups/new", "new-group").await;
    let plain = form.with("group", "plain").with("reason", "RAXX-7").with_all("roles", &["console-user"]);
    let (_, back) = desk.confirmed("anna", &plain).await;
    assert_eq!(back, "/console/rbac/groups/plain");
    let form = desk.form("anna", &format!("/groups/{SUPPORT}"), "grantor").await;
    let review =
        desk.submit("anna", &form.with("by", "raxx-devops-team").with("with_approval", "true")).await;
    let shown = text(&review);
    assert!(review.status == 200 && shown.contains("an operator can do this by a command"), "{shown}");
    assert!(!shown.contains(CONFIRM), "{shown}");
    // Who writes nothing sees no form for it, and is refused by the address.
    for path in ["/groups", "/roles", "/groups/plain", "/roles/console-user"] {
        let page = desk.page("ben", path).await;
        assert!(!page.contains(CHANGE) && !page.contains("/new\""), "{path}: {page}");
    }
    // Of a link that leads nowhere, there is none.
    let home = desk.page("carol", "").await;
    assert!(!home.contains("/console/rbac/grants?"), "{home}");
}

/// A group that is created with grantors is not made around the row for grantors.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_decided_by_its_own_row() {
    let stronger = "\"PUT /api/rbac/groups/<group>/grantors/<by>\" = { role = \"console-prod-services-write\", gate = true, \
                    unauthenticated = \"401\" }\n\"GET,POST /console/rbac/*\"";
    let mapping = with_edits().replace("\"GET,POST /console/rbac/*\"", stronger).leak();
    let desk = Desk::on(Database::Sqlite, mapping).await;
    desk.world.execute("DELETE FROM rbac_group_roles WHERE role_id = (SELECT id FROM rbac_roles WHERE name = 'console-prod-services-write')").await;
    let body = json!({ "roles": ["console-user"], "grantors": [{ "group": "raxx-devops-team" }] });
    let put = |body: &Value| {
        let ask = Ask::new("PUT", "/api/rbac/groups/x").cookie(&desk.sessions["anna"]);
        let ask = ask.header("sec-fetch-site", "same-origin").header("if-none-match", "*");
        ask.header("content-type", "application/json").body(body.to_string())
    };
    let refused = desk.gate.send(&put(&body)).await;
    assert_eq!(refused.status, 403, "{}", text(&refused));
    assert!(text(&refused).contains("row for this part does not let you in"), "{}", text(&refused));
    let asked = desk.gate.send(&put(&json!({ "roles": ["console-user"] }))).await;
    assert_eq!(asked.status, 202, "{}", text(&asked));
}

/// A name is refused where its address could not be written, and is text where it can.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_has_an_address_or_is_refused() {
    for database in BOTH {
        let desk = Desk::new(database).await;
        let long = "x".repeat(10_000);
        let refused = [
            "a/b",
            "..",
            ".",
            "a\\b",
            "%2f",
            "a%2Fb",
            "a b",
            "a?b",
            "a#b",
            "\u{202e}evil",
            "a\u{200b}b",
            &long,
            "\"><svg/onload=alert(1)>",
            "<img src=x onerror=alert(1)>",
        ];
        for (path, what, field) in [
            ("/groups/new", "new-group", "group"),
            ("/roles/new", "new-role", "role"),
            ("/permissions/new", "new-permission", "permission"),
        ] {
            let form = desk.form("anna", path, what).await.with("reason", "RAXX-7");
            for name in refused {
                let answer = desk.submit("anna", &form.clone().with(field, name)).await;
                assert!((400..500).contains(&answer.status), "{what} {name:.40}: {}", answer.status);
                assert!(
                    !text(&answer).contains("<img") && !text(&answer).contains("<svg"),
                    "{}",
                    text(&answer)
                );
                assert!(text(&answer).len() < 20_000, "{what} {name:.40}");
            }
        }
        let odd = "<b>&;=@:+~!$(é)[1]";
        let form = desk.form("anna", "/groups/new", "new-group").await.with("reason", "RAXX-7");
        let (_, back) = desk.confirmed("anna", &form.with("group", odd)).await;
        let page = desk.page("anna", back.strip_prefix("/console/rbac").expect("a page")).await;
        assert!(page.contains("&#60;b&#62;") && !page.contains("<b>&"), "{page}");
        assert!(desk.page("anna", "/groups").await.contains(&back), "{back}");
        assert_eq!(desk.get("anna", &format!("/groups/{}", encoded(odd))).await.status, 200);
        // Console's own tables may have any name: its page is missing, and no page breaks.
        desk.world.execute("INSERT INTO rbac_groups (id, name) VALUES ('odd', 'a/b'), ('dots', '..')").await;
        for path in ["/groups", "/groups/new", "/roles/new", "/roles/console-user", "/grants/new"] {
            desk.page("anna", path).await;
        }
        let missing = desk.gate.send(&desk.ask("anna", "GET", "/console/rbac/groups/a%2Fb")).await;
        assert!((400..500).contains(&missing.status), "{}", missing.status);
    }
}
