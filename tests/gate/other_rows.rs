//! The rows that no session opens, and the paths that no row covers.

use crate::support::denial::Denial;
use crate::support::{Answer, Ask, Client, Console, CsvRow, Database, Findings, Setup, Status, World};

fn rows_that_are(status: &Status) -> Vec<CsvRow> {
    CsvRow::all().into_iter().filter(|row| row.status == *status).collect()
}

/// The view of `blueprint` ran, and Console was sent no identity.
fn ran_for_nobody(findings: &mut Findings, who: &str, answer: &Answer, blueprint: &str) {
    findings.equal(&format!("{who}: status"), answer.status, 200);
    findings.equal(&format!("{who}: blueprint"), answer.json()["blueprint"].as_str(), Some(blueprint));
    findings.equal(&format!("{who}: remote user"), answer.json()["remote_user"].as_str(), Some(""));
    findings.equal(&format!("{who}: Console saw"), Console::shared().saw(answer.request_id()).len(), 1);
}

fn ran_for_none(findings: &mut Findings, who: &str, answer: &Answer, status: u16) {
    findings.equal(&format!("{who}: status"), answer.status, status);
    findings.equal(&format!("{who}: Console saw"), Console::shared().saw(answer.request_id()), vec![]);
}

/// Machine rows (I-7), ported blueprints (I-4), deleted rows and public pages are the same under every setting.
#[tokio::test]
async fn rows_without_a_session_gate() {
    let world = World::new(Database::Sqlite).await;
    world.admin_holding("anna", &["console-manager"]).await;
    let cookie = world.cookie("anna");
    let mut findings = Findings::default();
    for setup in [Setup::LEGACY, Setup { clusters: "shadow", ..Setup::V2 }, Setup::V2] {
        let gate = world.gate(&setup).await;
        let mut client = gate.client();
        for row in rows_that_are(&Status::Machine) {
            machine_row(&mut findings, &mut client, &row, &cookie).await;
        }
        for row in rows_that_are(&Status::AlreadyPorted) {
            for probe in row.probes() {
                let ask = Ask::new(probe.method, &probe.target);
                let who = format!("{} {} as nobody", probe.method, probe.target);
                ran_for_nobody(&mut findings, &who, &client.send(&ask).await, &row.blueprint);
            }
        }
        for row in rows_that_are(&Status::Deleted) {
            for probe in row.probes() {
                let ask = Ask::new(probe.method, &probe.target);
                let who = format!("{} {}", probe.method, probe.target);
                ran_for_none(&mut findings, &who, &client.send(&ask).await, 410);
                ran_for_none(&mut findings, &who, &client.send(&ask.cookie(&cookie)).await, 410);
            }
        }
        for (target, view) in [("/auth/login", "login"), ("/static/app.css", "static")] {
            for ask in [Ask::get(target), Ask::get(target).cookie("not.a.cookie")] {
                let answer = client.send(&ask).await;
                findings.equal(&format!("{target}: status"), answer.status, 200);
                findings.equal(&format!("{target}: view"), answer.header("x-view"), view);
            }
        }
    }
    findings.equal("denials", world.denials().await, 0);
    findings.conclude(200);
}

/// 401 without a credential, whatever session comes with it; with one, Console is asked, which knows its worth.
async fn machine_row(findings: &mut Findings, client: &mut Client, row: &CsvRow, cookie: &str) {
    for probe in row.probes() {
        let who = format!("{} {}", probe.method, probe.target);
        let ask = Ask::new(probe.method, &probe.target);
        ran_for_none(findings, &who, &client.send(&ask).await, 401);
        ran_for_none(findings, &who, &client.send(&ask.clone().cookie(cookie)).await, 401);
        let answer = client.send(&ask.bearer("console-knows-it")).await;
        ran_for_nobody(findings, &format!("{who} with a token"), &answer, &row.blueprint);
    }
}

/// Open question 6: a token that is enrolled in a group acts instead of a session on the rows that say so, and nowhere
/// else; an unknown one identifies nobody; a revoked one stops with the command that revokes it.
#[tokio::test]
async fn machine_tokens() {
    for database in [Database::Sqlite, Database::Postgres] {
        let world = World::new(database).await;
        world.admin_holding("auditors", &["console-audit-user"]).await;
        world.admin_holding("users", &["console-user"]).await;
        let gate = world.gate(&Setup::V2).await;
        let mut client = gate.client();
        let mut findings = Findings::default();
        let create = |name: &str, group: &str| {
            gate.run(&["token", "create", name, "--group", group]).trim_end().to_owned()
        };
        let (auditor, user) = (create("auditor", "auditors"), create("user", "users"));
        let tokens = [("console-audit-user", &auditor), ("console-user", &user)];

        let rows: Vec<CsvRow> = CsvRow::gated().into_iter().filter(CsvRow::takes_machines).collect();
        assert_eq!(rows.len(), 2, "two rows have @machine_auth_or_session");
        for row in &rows {
            let (route, role) = (row.route(), row.role.clone().expect("decided"));
            for probe in row.probes() {
                let ask = Ask::new(probe.method, &probe.target);
                for (held, token) in tokens {
                    let who = format!("{} {} with a token that holds {held}", probe.method, probe.target);
                    let ask = ask.clone().bearer(token);
                    let answer = client.send(&ask).await;
                    if held == role {
                        findings.equal(&who, answer.status, 200);
                        findings.equal(&who, answer.json()["gate"]["kind"].as_str(), Some("machine"));
                        findings.equal(&who, answer.json()["remote_user"].as_str(), Some(""));
                    } else {
                        let (required, route) = (std::slice::from_ref(&role), Some(route.as_str()));
                        let (actor_kind, actor, reason) = ("machine", None, "missing_role");
                        let denial = Denial { actor_kind, actor, route, reason, required };
                        denial.check(&mut findings, &world, &ask, &answer).await;
                    }
                }
                // In the form of the gate's own, and in another.
                for token in [&format!("cgm_{}", "A".repeat(43)), "cg_nobody-knows-it"] {
                    let unknown = client.send(&ask.clone().bearer(token)).await;
                    ran_for_none(&mut findings, "an unknown token", &unknown, 302);
                }
                // A caller with a token is judged by it, not by a session beside it.
                let both = ask.bearer("cg_nobody-knows-it").cookie(&world.cookie("auditors"));
                ran_for_none(&mut findings, "an unknown token and a session", &client.send(&both).await, 302);
            }
        }
        let elsewhere = Ask::get("/dashboard").bearer(&user);
        ran_for_none(&mut findings, "a token on a session row", &client.send(&elsewhere).await, 302);

        gate.run(&["token", "revoke", "user"]);
        let revoked = client.send(&Ask::get("/api/status/sites").bearer(&user)).await;
        ran_for_none(&mut findings, "a revoked token", &revoked, 302);
        let other = client.send(&Ask::get("/api/status/builds").bearer(&auditor)).await;
        findings.equal("the token that was not revoked", other.status, 200);
        findings.conclude(40);
    }
}

/// `unmapped = "deny"`: an admin is denied and audited; a stranger cannot distinguish such a path from others.
#[tokio::test]
async fn unmapped_paths() {
    for database in [Database::Sqlite, Database::Postgres] {
        let world = World::new(database).await;
        world.admin_holding("anna", &["console-manager"]).await;
        let gate = world.gate(&Setup::V2).await;
        let mut findings = Findings::default();
        // The first two exist in Console; DELETE is a method that no row of the path has.
        for (method, target) in
            [("GET", "/__test/echo"), ("POST", "/__test/echo"), ("GET", "/nowhere"), ("DELETE", "/dashboard")]
        {
            let ask = Ask::new(method, target);
            ran_for_none(&mut findings, &format!("{method} {target}"), &gate.send(&ask).await, 302);
            let ask = ask.cookie(&world.cookie("anna"));
            let answer = gate.send(&ask).await;
            let denial = Denial {
                actor_kind: "admin",
                actor: Some("anna"),
                route: None,
                reason: "unmapped_route",
                required: &[],
            };
            denial.check(&mut findings, &world, &ask, &answer).await;
        }
        findings.equal("denials", world.denials().await, 4);
        findings.conclude(20);
    }
}

/// `next` holds the whole target, so that its query cannot become a parameter of the login page.
#[tokio::test]
async fn the_way_back_after_login() {
    let world = World::new(Database::Sqlite).await;
    let gate = world.gate(&Setup::V2).await;
    let answer = gate.send(&Ask::get("/console/audit?page=2&next=//evil.example&q=a%20b")).await;
    assert_eq!(answer.status, 302);
    assert_eq!(
        answer.header("location"),
        "/auth/login?next=/console/audit%3Fpage%3D2%26next%3D//evil.example%26q%3Da%2520b"
    );
    let answer = gate.send(&Ask::get("/console/audit").header("hx-request", "true")).await;
    assert_eq!(answer.header("hx-redirect"), "/auth/login?next=/console/audit");
    assert!(
        !answer.header("hx-redirect").is_empty() && answer.status != 302,
        "htmx would follow a 302 unseen"
    );
}

/// The other half of every 200 in these tests: Console itself refuses requests that come round the gate.
#[tokio::test]
async fn console_takes_nothing_that_came_round_the_gate() {
    let world = World::new(Database::Sqlite).await;
    let console = Console::shared().socket();
    let ask = Ask::get("/dashboard").cookie(&world.cookie("anna"));
    assert_eq!(Client::to(&console).send(&ask).await.status, 403);
}
