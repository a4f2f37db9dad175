//! The pages at `/console/rbac`, as a browser without a script uses them: forms are read from the page and sent back.

mod break_glass;
mod compare;
mod recorded;
mod registry;
mod viewed;

use std::collections::BTreeMap;

use policy::rbac::LegacyRole;

use crate::support::freescout::{FreeScout, KEY, MAILBOX};
use crate::support::recorder::Recorder;
use crate::support::{Answer, Ask, Database, Gate, Setup, World};

const MAPPING: &str = r#"
version = 1
clusters.V = "v2"
clusters.L = "legacy"
[approval]
raxx-support-team = { by = ["raxx-platform-admins"], longest = "8h" }
[blueprints.v]
cluster = "V"
[blueprints.v.routes]
"GET /audit" = { legacy = ["ops"], role = "console-audit-user" }
"GET /secrets" = { legacy = ["superadmin"], role = "console-secrets-admin" }
"GET /customers/<int:id>" = { role = "raptor-audit-support", ticket = { query = "ticket_id", customer = "path:id" } }
[blueprints.l]
cluster = "L"
[blueprints.l.routes]
"GET /later" = { legacy = ["ops"], role = "console-user" }
[blueprints.api.routes]
"GET /api/rbac/me" = { session = true, gate = true, unauthenticated = "401" }
"GET,POST /api/rbac/requests" = { session = true, gate = true, unauthenticated = "401" }
"GET /api/rbac/requests/<id>" = { session = true, gate = true, unauthenticated = "401" }
"POST /api/rbac/requests/<id>/<step>" = { session = true, gate = true, unauthenticated = "401" }
"GET,POST /api/rbac/break-glass" = { session = true, gate = true, unauthenticated = "401" }
"GET,POST,DELETE /api/rbac/break-glass/*" = { session = true, gate = true, unauthenticated = "401" }
"GET,POST /api/rbac/passkeys" = { session = true, gate = true, unauthenticated = "401" }
"DELETE /api/rbac/me/grants/<id>" = { session = true, gate = true, unauthenticated = "401" }
"GET /api/rbac/*" = { role = "console-audit-user", machine_or_session = true, gate = true, unauthenticated = "401" }
"POST,PUT,DELETE /api/rbac/*" = { role = "console-invite-admin", machine_or_session = true, gate = true, unauthenticated = "401" }
"GET,POST /console/rbac/*" = { session = true, gate = true }
"#;
const SUPPORT: &str = "raxx-support-team";
const PLATFORM: &str = "raxx-platform-admins";

struct Desk {
    /// One session each: a form's token is of the session that was shown it.
    sessions: BTreeMap<&'static str, String>,
    world: World,
    gate: Gate,
    freescout: FreeScout,
    _upstream: Recorder,
}

/// A form of a page: where it is sent, and its fields with their values.
#[derive(Clone, Debug)]
pub struct Form {
    pub action: String,
    fields: BTreeMap<String, String>,
    /// Further values of fields that are repeated.
    further: Vec<(String, String)>,
}

impl Form {
    /// The form of a page that is sent to this address.
    pub fn of(page: &str, action: &str) -> Form {
        let wanted = format!("action=\"{action}\"");
        let form = page.split("<form").find(|form| form.contains(&wanted));
        let form = form.unwrap_or_else(|| panic!("no form to {action}: {page}"));
        let form = form.split("</form>").next().unwrap_or_default();
        let (mut fields, mut further) = (BTreeMap::new(), Vec::new());
        for input in form.split("<input").skip(1) {
            let tag = input.split('>').next().unwrap_or_default();
            let attribute = |name: &str| {
                let rest = tag.split_once(&format!("{name}=\""))?.1;
                Some(unescaped(rest.split('"').next()?))
            };
            // A box that is not checked is not sent.
            let name = attribute(" name").filter(|_| !tag.contains("type=\"checkbox\""));
            if let Some(name) = name {
                let before = fields.insert(name.clone(), attribute(" value").unwrap_or_default());
                further.extend(before.map(|value| (name, value)));
            }
        }
        Form { action: action.to_owned(), fields, further }
    }

    pub fn with(mut self, name: &str, value: &str) -> Form {
        self.fields.insert(name.to_owned(), value.to_owned());
        self
    }

    fn with_all(mut self, name: &str, values: &[&str]) -> Form {
        self.further.extend(values.iter().map(|value| (name.to_owned(), (*value).to_owned())));
        self
    }

    pub fn body(&self) -> String {
        let further = self.further.iter().map(|(name, value)| (name, value));
        let pairs =
            self.fields.iter().chain(further).map(|(name, value)| format!("{name}={}", encoded(value)));
        pairs.collect::<Vec<_>>().join("&")
    }
}

fn unescaped(text: &str) -> String {
    text.replace("&#60;", "<")
        .replace("&#62;", ">")
        .replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&#38;", "&")
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

impl Desk {
    async fn new(database: Database) -> Desk {
        Desk::set_up(database, MAPPING, "").await
    }

    async fn on(database: Database, mapping: &'static str) -> Desk {
        Desk::set_up(database, mapping, "").await
    }

    /// With further settings.
    async fn with(database: Database, sections: &str) -> Desk {
        Desk::set_up(database, MAPPING, sections).await
    }

    async fn set_up(database: Database, mapping: &'static str, sections: &str) -> Desk {
        let world = World::new(database).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        for admin in ["anna", "paul"] {
            world.admin(admin, &[PLATFORM], &[]).await;
        }
        world.admin("ben", &[SUPPORT], &[]).await;
        world.admin("carol", &[], &[LegacyRole::literal("ops")]).await;
        world.execute(&super::rbac_api::delegations(&[SUPPORT, "night"])).await;
        let freescout = FreeScout::start().await;
        freescout.open(42);
        let setup = Setup {
            mapping: Some(mapping),
            upstream: Some(upstream.socket()),
            sections: format!("{sections}{}", freescout.settings(20_000)).leak(),
            variables: Some(vec![("CONSOLE_GATE_FREESCOUT_KEY", KEY.to_owned())]),
            ..Setup::V2
        };
        let gate = world.gate(&setup).await;
        // A writer in a group that others may name as grantors.
        world.admin("dora", &[PLATFORM, "raxx-devops-team"], &[]).await;
        let sessions =
            ["anna", "paul", "ben", "carol", "dora"].map(|admin| (admin, world.cookie(admin))).into();
        Desk { sessions, world, gate, freescout, _upstream: upstream }
    }

    fn ask(&self, admin: &str, method: &str, target: &str) -> Ask {
        Ask::new(method, target).cookie(&self.sessions[admin]).header("accept", "text/html")
    }

    /// A request, of which every answer keeps the rules of the pages.
    async fn send(&self, ask: &Ask) -> Answer {
        let answer = self.gate.send(ask).await;
        let text = text(&answer);
        assert!(answer.status < 500, "{} {}: {text}", ask.method, ask.target);
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"), "{text}");
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"));
        // No script but the gate's own file, and no style within the page.
        assert_eq!(
            text.matches("<script").count(),
            text.matches("<script src=\"/console/rbac/assets/").count(),
            "{text}"
        );
        assert!(!text.contains(" style=") && !text.contains(" onclick="), "{text}");
        if answer.status == 403 {
            let rows = self.world.store.by_request(answer.request_id()).await.expect("the audit");
            assert_eq!(rows.iter().filter(|row| row.event_type == "access_denied").count(), 1, "{text}");
        }
        answer
    }

    async fn get(&self, admin: &str, path: &str) -> Answer {
        self.send(&self.ask(admin, "GET", &format!("/console/rbac{path}"))).await
    }

    async fn page(&self, admin: &str, path: &str) -> String {
        let answer = self.get(admin, path).await;
        assert_eq!(answer.status, 200, "{path}: {}", text(&answer));
        text(&answer)
    }

    /// Sends a form as a browser does that sends neither `Origin` nor `Sec-Fetch-Site`: its token says whose it is.
    async fn submit(&self, admin: &str, form: &Form) -> Answer {
        let ask = self.ask(admin, "POST", &form.action);
        self.send(&ask.header("content-type", "application/x-www-form-urlencoded").body(form.body())).await
    }

    async fn is_member(&self, user: &str, group: &str) -> bool {
        let memberships = self.world.store.memberships().await.expect("the memberships");
        memberships.iter().any(|one| *one.admin == *user && *one.group == *group)
    }

    async fn status(&self, admin: &str, target: &str) -> u16 {
        self.gate.send(&Ask::get(target).cookie(&self.world.cookie(admin))).await.status
    }
}

pub fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.to_vec()).expect("a page")
}

const BOTH: [Database; 2] = [Database::Sqlite, Database::Postgres];

#[tokio::test(flavor = "multi_thread")]
async fn an_approver_approves_exactly_what_was_read() {
    for database in BOTH {
        let desk = Desk::new(database).await;
        let form = Form::of(&desk.page("carol", "/requests/new").await, "/console/rbac/requests");
        let form =
            form.with("group", SUPPORT).with("for", "2h").with("reason", "<b>a refund</b>").with("route", "");
        let asked = desk.submit("carol", &form).await;
        assert_eq!(asked.status, 303, "{}", text(&asked));
        let place = asked.header("location").to_owned();
        let path = place.strip_prefix("/console/rbac").expect("a page").to_owned();
        // Who asked sees what concerns them, and no decision.
        let own = desk.page("carol", &path).await;
        assert!(!own.contains("value=\"approve\"") && own.contains("value=\"withdraw\""), "{own}");
        let home = desk.page("anna", "").await;
        assert!(
            home.contains("1 request waits for your decision")
                && home.contains("Opens 2 routes now, 1 later"),
            "{home}"
        );
        let shown = desk.page("anna", &path).await;
        assert!(
            shown.contains("carol gains 2 routes at once, and 1 more once their clusters are on V2."),
            "{shown}"
        );
        assert!(shown.contains("&#60;b&#62;a refund") && !shown.contains("<b>a refund"), "{shown}");
        let decision = Form::of(&shown, &place).with("step", "approve");
        // A third person changes what the group brings.
        desk.world.execute("INSERT INTO rbac_group_roles (group_id, role_id) SELECT g.id, r.id FROM rbac_groups g, rbac_roles r \
                            WHERE g.name = 'raxx-support-team' AND r.name = 'console-secrets-admin'").await;
        let stale = desk.submit("anna", &decision).await;
        assert_eq!(stale.status, 412, "{}", text(&stale));
        assert!(
            text(&stale).contains("Nothing was approved") && text(&stale).contains("GET /secrets"),
            "{}",
            text(&stale)
        );
        assert_eq!(desk.status("carol", "/audit").await, 403);
        let again = Form::of(&text(&stale), &place).with("step", "approve");
        let done = desk.submit("anna", &again).await;
        assert_eq!(done.status, 303, "{}", text(&done));
        assert_eq!(
            (desk.status("carol", "/audit").await, desk.status("carol", "/secrets").await),
            (200, 200)
        );
        assert!(desk.page("anna", &path).await.contains("approved"));
        // To decline takes a reason.
        let asked = desk
            .submit(
                "ben",
                &form
                    .clone()
                    .with(
                        "csrf_token",
                        &Form::of(&desk.page("ben", "/requests/new").await, "/console/rbac/requests").fields
                            ["csrf_token"],
                    )
                    .with("group", SUPPORT),
            )
            .await;
        assert_eq!(asked.status, 303, "{}", text(&asked));
        let place = asked.header("location").to_owned();
        let path = place.strip_prefix("/console/rbac").expect("a page").to_owned();
        let decline = Form::of(&desk.page("anna", &path).await, &place).with("step", "deny");
        assert_eq!(desk.submit("anna", &decline).await.status, 422);
        assert_eq!(desk.submit("anna", &decline.with("comment", "no")).await.status, 303);
        assert!(desk.page("ben", &path).await.contains("denied"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_reviewed_confirmed_and_ended() {
    for database in BOTH {
        let desk = Desk::new(database).await;
        let form = Form::of(&desk.page("anna", "/grants/new?user=carol").await, "/console/rbac/change");
        let review = desk.submit("anna", &form.with("group", SUPPORT).with("reason", "joins")).await;
        assert_eq!(review.status, 200, "{}", text(&review));
        assert!(text(&review).contains("carol gains 2 routes at once"), "{}", text(&review));
        assert!(!desk.is_member("carol", SUPPORT).await);
        let confirm = Form::of(&text(&review), "/console/rbac/change/confirm");
        // Other fields than those that were shown are another change.
        let other = desk.submit("anna", &confirm.clone().with("group", PLATFORM)).await;
        assert!([403, 412].contains(&other.status), "{}", text(&other));
        assert!(!desk.is_member("carol", PLATFORM).await);
        // A right that no row asks for opens nothing, and is no part of what was read.
        desk.world
            .execute(
                "INSERT INTO rbac_permissions (id, name) VALUES ('new', 'console:new');
                 INSERT INTO rbac_role_permissions (role_id, permission_id)
                 SELECT id, 'new' FROM rbac_roles WHERE name = 'console-user'",
            )
            .await;
        let stale = desk.submit("anna", &confirm).await;
        assert_eq!(stale.status, 412, "{}", text(&stale));
        assert!(text(&stale).contains("permission console:new"), "{}", text(&stale));
        assert!(!desk.is_member("carol", SUPPORT).await);
        let confirm = Form::of(&text(&stale), "/console/rbac/change/confirm");
        let done = desk.submit("anna", &confirm).await;
        assert_eq!(
            (done.status, done.header("location")),
            (303, "/console/rbac/people/carol"),
            "{}",
            text(&done)
        );
        assert!(desk.is_member("carol", SUPPORT).await);
        // The same form once more, by a double click, is the same answer and not another grant.
        assert_eq!(desk.submit("anna", &confirm).await.status, 303);
        let events = desk.world.store.grants_audit(Some("carol"), None, 10).await.expect("rows");
        assert_eq!(events.len(), 1, "{events:#?}");
        let person = desk.page("anna", "/people/carol").await;
        let id = person
            .split("/console/rbac/grants/")
            .filter_map(|rest| rest.split("/end").next())
            .find(|id| id.starts_with("direct."));
        let review = desk.page("anna", &format!("/grants/{}/end", id.expect("a grant to end"))).await;
        assert!(review.contains("carol loses 2 routes at once"), "{review}");
        let ending = Form::of(&review, "/console/rbac/change/confirm").with("reason", "left the team");
        let done = desk.submit("anna", &ending).await;
        assert_eq!(done.status, 303, "{}", text(&done));
        assert!(!desk.is_member("carol", SUPPORT).await);
        let events = desk.world.store.grants_audit(Some("carol"), None, 1).await.expect("rows");
        assert_eq!(events[0].justification.as_deref(), Some("left the team"));
        let timeline = desk.page("anna", "/timeline?user=carol").await;
        assert!(timeline.contains("granted") && timeline.contains("revoked"), "{timeline}");
        let form = Form::of(&desk.page("anna", "/grants/new?user=carol").await, "/console/rbac/change");
        let form = form.with("group", SUPPORT).with("reason", "an age").with("until", "106751991167d");
        assert_eq!(desk.submit("anna", &form).await.status, 422);
        // With an end: it is shown, and what was shown is what is made.
        let form = Form::of(&desk.page("anna", "/grants/new?user=carol").await, "/console/rbac/change");
        let form = form.with("group", SUPPORT).with("reason", "a night").with("until", "8h");
        let review = desk.submit("anna", &form).await;
        let confirm = Form::of(&text(&review), "/console/rbac/change/confirm");
        assert!(confirm.fields["until"].ends_with('Z'), "the end does not move: {confirm:?}");
        assert_eq!(desk.submit("anna", &confirm).await.status, 303);
        assert_eq!(desk.status("carol", "/audit").await, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_support_lead_gives_and_ends_a_ticket_grant() {
    for database in BOTH {
        let desk = Desk::new(database).await;
        let panel = desk.page("anna", "/customers/7/tickets").await;
        let form = Form::of(&panel, "/console/rbac/change")
            .with("user", "carol")
            .with("role", "raptor-audit-support");
        let form = form.with("ticket", "42").with("reason", "a refund");
        desk.freescout.put(42, "closed", "published", MAILBOX);
        let closed = desk.submit("anna", &form).await;
        assert_eq!(closed.status, 422, "{}", text(&closed));
        assert!(text(&closed).contains("Nothing was changed"), "{}", text(&closed));
        desk.freescout.open(42);
        let review = desk.submit("anna", &form).await;
        assert!(text(&review).contains("for ticket 42 and customer 7"), "{}", text(&review));
        let done = desk.submit("anna", &Form::of(&text(&review), "/console/rbac/change/confirm")).await;
        assert_eq!(
            (done.status, done.header("location")),
            (303, "/console/rbac/customers/7/tickets"),
            "{}",
            text(&done)
        );
        assert_eq!(desk.status("carol", "/customers/7?ticket_id=42").await, 200);
        let panel = desk.page("anna", "/customers/7/tickets").await;
        assert!(panel.contains("carol") && panel.contains(">anna<"), "{panel}");
        assert!(!desk.page("anna", "/customers/8/tickets").await.contains("carol"), "another customer's");
        let id = panel
            .split("/console/rbac/grants/")
            .nth(1)
            .and_then(|rest| rest.split("/end").next())
            .expect("a grant");
        let review = desk.page("anna", &format!("/grants/{id}/end")).await;
        let done = desk.submit("anna", &Form::of(&review, "/console/rbac/change/confirm")).await;
        assert_eq!((done.status, done.header("location")), (303, "/console/rbac/customers/7/tickets"));
        assert_eq!(desk.status("carol", "/customers/7?ticket_id=42").await, 403);
        // For Console's page: the part alone.
        let ask = desk.ask("anna", "GET", "/console/rbac/customers/7/tickets").header("hx-request", "true");
        let fragment = text(&desk.send(&ask).await);
        assert!(
            fragment.contains("Ticket grants for customer 7") && !fragment.contains("<html"),
            "{fragment}"
        );
    }
}

/// A page has no authority of its own: each person sees and changes what the API lets them.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_shows_nobody_more_than_the_api_does() {
    let desk = Desk::new(Database::Sqlite).await;
    // Carol reads nothing of others; ben reads, and writes nothing.
    let reads = [
        "/people",
        "/people/anna",
        "/groups",
        "/groups/raxx-support-team",
        "/roles",
        "/roles/console-user",
        "/grants",
        "/timeline",
        "/matrix",
        "/try?method=GET&path=/audit&as=anna",
        "/search?q=a",
        "/customers/7/tickets",
        "/grants/new",
    ];
    for path in reads {
        let refused = desk.get("carol", path).await;
        assert_eq!(refused.status, 403, "{path}: {}", text(&refused));
        assert!(!text(&refused).contains("anna"), "{path}: {}", text(&refused));
        assert!(text(&refused).contains("Who could"), "{path}");
        desk.page("ben", path).await;
    }
    for own in ["", "/me", "/requests", "/requests/new"] {
        let page = desk.page("carol", own).await;
        assert!(!page.contains("/console/rbac/people\"") && !page.contains("anna"), "{own}: {page}");
    }
    // The navigation has what can be opened.
    assert!(desk.page("ben", "").await.contains("/console/rbac/matrix"));
    let token = |page: &str| Form::of(page, "/console/rbac/requests").fields["csrf_token"].clone();
    let bens = token(&desk.page("ben", "/requests/new").await);
    let form = |token: &str| Form {
        action: "/console/rbac/change".to_owned(),
        fields: [
            ("what", "grant"),
            ("user", "ben"),
            ("group", PLATFORM),
            ("reason", "me"),
            ("csrf_token", token),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        further: Vec::new(),
    };
    let refused = desk.submit("ben", &form(&bens)).await;
    assert_eq!(refused.status, 403, "{}", text(&refused));
    // Another site's page, or another session's token.
    for (admin, form, site) in
        [("anna", form(""), None), ("anna", form(&bens), None), ("anna", form(&bens), Some("cross-site"))]
    {
        let mut ask =
            desk.ask(admin, "POST", &form.action).header("content-type", "application/x-www-form-urlencoded");
        if let Some(site) = site {
            ask = ask.header("sec-fetch-site", site);
        }
        let refused = desk.send(&ask.body(form.body())).await;
        assert_eq!(refused.status, 403, "{}", text(&refused));
    }
    // Nobody who is not logged in sees a page.
    let stranger = desk.gate.send(&Ask::get("/console/rbac").header("accept", "text/html")).await;
    assert_eq!(stranger.status, 302);
    assert_eq!(desk.get("anna", "/nothing").await.status, 404);
}

/// Each use of a break-glass session is recorded where its row is decided, so a page, which is a client of the API, counts none.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_counts_no_break_glass_session() {
    let desk = Desk::new(Database::Sqlite).await;
    desk.world
        .execute(
            "INSERT INTO rbac_group_roles (group_id, role_id) SELECT g.id, r.id FROM rbac_groups g, rbac_roles r
              WHERE g.name = 'break-glass' AND r.name = 'console-audit-user';
             INSERT INTO rbac_user_groups (user_id, group_id) SELECT 'carol', id FROM rbac_groups WHERE name = 'break-glass';
             INSERT INTO rbac_break_glass_sessions (id, user_id, justification, granted_by, granted_at_utc, expires_at_utc)
             VALUES ('s', 'carol', 'fire', 'carol', strftime('%Y-%m-%dT%H:%M:%f', 'now', '-1 minute') || '+00:00',
                     strftime('%Y-%m-%dT%H:%M:%f', 'now', '+1 hour') || '+00:00')",
        )
        .await;
    let answer = desk.gate.send(&desk.ask("carol", "GET", "/api/rbac/admins")).await;
    assert_eq!(answer.status, 200, "{}", text(&answer));
    let rows = desk.world.store.by_request(answer.request_id()).await.expect("the audit");
    assert!(rows.iter().any(|row| row.event_type == "break_glass_used"), "{rows:#?}");
    assert_eq!(desk.get("carol", "/people").await.status, 403);
}

/// Names that a page must not become.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_text() {
    let desk = Desk::new(Database::Postgres).await;
    let hostile = "<img src=x onerror=alert(1)>\"'&\u{202e}";
    desk.world.admin(hostile, &[SUPPORT], &[]).await;
    let long = "x".repeat(5_000);
    desk.world.admin(&long, &[SUPPORT], &[]).await;
    for path in ["", "/people", "/groups/raxx-support-team", "/grants", "/matrix", "/search?q=x", "/timeline"]
    {
        let page = desk.page("anna", path).await;
        assert!(!page.contains("<img"), "{path}: {page}");
    }
    let hostile = "<img src=x onerror=alert(1)>";
    desk.world.admin(hostile, &[SUPPORT], &[]).await;
    let page = desk.page("anna", &format!("/people/{}", encoded(hostile))).await;
    assert!(page.contains("&#60;img src=x onerror") && !page.contains("<img"), "{page}");
    for path in [
        "/people/%2e%2e",
        "/groups/%0d%0aX:%20y",
        "/grants/%00/end",
        "/requests/x",
        "/customers/x/tickets",
        "/customers/99999999999999999999/tickets",
        "/try?method=G%20T&path=/x",
    ] {
        // Some of these the firewall refuses.
        let answer = desk.gate.send(&desk.ask("anna", "GET", &format!("/console/rbac{path}"))).await;
        assert!((400..500).contains(&answer.status) || answer.status == 200, "{path}: {}", answer.status);
    }
}

/// The tester explains any request of any kind of caller, and a cell of the matrix leads to its own explanation.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_any_caller_can_be_tried() {
    let desk = Desk::new(Database::Sqlite).await;
    desk.gate.run(&["token", "create", "robot", "--group", SUPPORT]);
    let page = unescaped(&desk.page("anna", "/matrix").await);
    let robot = page.split("kind=machine&amp;as=").nth(1).or_else(|| page.split("kind=machine&as=").nth(1));
    let robot = robot.and_then(|rest| rest.split('#').next()).expect("a column of the machine").to_owned();
    let table = [
        ("GET", "/audit", "admin", "ben", "allowed"),
        ("GET", "/secrets", "admin", "ben", "denied: missing_role"),
        ("GET", "/later", "admin", "carol", "allowed"),
        ("GET", "/later", "admin", "ben", "denied: missing_legacy_role"),
        ("GET", "/audit", "machine", &robot, "sent to the login"),
        ("GET", "/api/rbac/admins", "machine", &robot, "allowed"),
        ("POST", "/api/rbac/grants", "machine", &robot, "denied: missing_role"),
        ("GET", "/audit", "group", SUPPORT, "allowed"),
        ("GET", "/later", "legacy_role", "ops", "allowed"),
        ("GET", "/audit", "unauthenticated", "", "sent to the login"),
        ("GET", "/api/rbac/me", "unauthenticated", "", "401"),
    ];
    for (method, path, kind, who, expected) in table {
        let target = format!("/try?method={method}&path={}&kind={kind}&as={}", encoded(path), encoded(who));
        let page = desk.page("anna", &target).await;
        let badge = page.split("id=\"answer\"").nth(1).and_then(|rest| rest.split("badge").nth(1));
        let badge = badge.unwrap_or_default();
        assert!(badge.contains(&format!(">{expected}<")), "{method} {path} {kind} {who}: {badge}");
    }
    for unknown in ["kind=machine&as=none", "kind=group&as=none", "kind=legacy_role&as=none"] {
        assert_eq!(desk.get("anna", &format!("/try?path=/audit&{unknown}")).await.status, 422, "{unknown}");
    }
    assert_eq!(desk.get("anna", "/try?path=/audit&kind=everyone&as=ben").await.status, 400);

    let page = desk.page("anna", "/matrix?cluster=V&route=secrets").await;
    let cell = page.split("<a href=\"").find(|link| link.contains("ben, GET /secrets")).expect("a cell");
    let target = unescaped(cell.split('"').next().unwrap_or_default()).replace("&amp;", "&");
    let target =
        target.strip_prefix("/console/rbac").and_then(|rest| rest.split('#').next()).expect("a page");
    let page = desk.page("anna", target).await;
    assert!(page.contains("denied: missing_role") && page.contains("role console-secrets-admin"), "{page}");
    // A column for machines, of which the row takes none, and one for callers without a session.
    assert!(page.contains(">n/a<") && page.contains(">login<"), "{page}");
}

/// Each cell of the matrix is what the gate answers to the same caller.
#[tokio::test(flavor = "multi_thread")]
async fn the_matrix_says_what_the_gate_answers() {
    let desk = Desk::new(Database::Sqlite).await;
    for (who, kind) in [("anna", "paul"), ("ben", "ben"), ("carol", "carol")] {
        let page = desk.page("anna", &format!("/matrix?who={kind}")).await;
        for path in ["/audit", "/secrets", "/later"] {
            let label = format!("{kind}, GET {path}: ");
            let cell = page
                .split(&label)
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .unwrap_or_else(|| panic!("{label} {page}"));
            let answer = desk.status(who, path).await;
            assert_eq!(cell.ends_with("now allowed"), answer == 200, "{who} {path}: {cell} {answer}");
        }
    }
}
