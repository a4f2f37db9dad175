//! Every session row of the table, by everybody whom it distinguishes, on both databases.

use policy::rbac::LegacyRole;

use crate::support::denial::Denial;
use crate::support::{
    Answer, Ask, Client, Console, CsvRow, Database, Findings, Probe, Seed, Setup, Status, World,
};

#[tokio::test]
async fn v2_on_sqlite() {
    under_v2(Database::Sqlite).await;
}

#[tokio::test]
async fn v2_on_postgres() {
    under_v2(Database::Postgres).await;
}

#[tokio::test]
async fn legacy_on_sqlite() {
    under_legacy(Database::Sqlite).await;
}

#[tokio::test]
async fn legacy_on_postgres() {
    under_legacy(Database::Postgres).await;
}

/// All clusters on V2. Decided rows: nobody logs in, the one role is enough, every other role is not, none is not.
/// Undecided rows: the legacy roles decide as ever (I-6).
async fn under_v2(database: Database) {
    let world = World::new(database).await;
    let seed = Seed::read();
    world.admin("no-role", &[], &[]).await;
    for role in asked_for() {
        world.admin_holding(&format!("only-{role}"), &[&role]).await;
        world.admin_holding(&format!("all-but-{role}"), &seed.all_but(&role)).await;
    }
    legacy_admins(&world).await;
    let gate = world.gate(&Setup::V2).await;
    let mut client = gate.client();
    let mut findings = Findings::default();
    let mut denials = 0;

    for row in CsvRow::gated() {
        for probe in row.probes() {
            nobody_logs_in(&mut findings, &mut client, &probe).await;
            if row.status == Status::Decided {
                let role = row.role.clone().expect("a decided row names its role");
                let case = Case { world: &world, row: &row, probe: &probe };
                case.runs_for(&mut findings, &mut client, &format!("only-{role}")).await;
                for without in ["no-role".to_owned(), format!("all-but-{role}")] {
                    let required = [role.clone()];
                    case.denies(&mut findings, &mut client, &without, "missing_role", &required).await;
                    denials += 1;
                }
            } else {
                denials += legacy_decides(&mut findings, &world, &mut client, &row, &probe).await;
                if let Some(proposed) = &row.role {
                    let case = Case { world: &world, row: &row, probe: &probe };
                    let without = format!("only-{proposed}");
                    case.denies(&mut findings, &mut client, &without, "missing_legacy_role", &row.legacy)
                        .await;
                    denials += 1;
                }
            }
        }
    }
    // One row a 403, and nothing else.
    findings.equal("denials in the audit table", world.denials().await, denials);
    findings.conclude(1_000);
}

/// All clusters on their legacy gate: each of the four roles passes exactly where the table lists it.
async fn under_legacy(database: Database) {
    let world = World::new(database).await;
    legacy_admins(&world).await;
    // An admin with every V2 role and no legacy role passes nowhere.
    world.admin_holding("every-v2-role", &Seed::read().roles()).await;
    let gate = world.gate(&Setup::LEGACY).await;
    let mut client = gate.client();
    let mut findings = Findings::default();
    let mut denials = 0;

    for row in CsvRow::gated() {
        for probe in row.probes() {
            nobody_logs_in(&mut findings, &mut client, &probe).await;
            denials += legacy_decides(&mut findings, &world, &mut client, &row, &probe).await;
            let case = Case { world: &world, row: &row, probe: &probe };
            case.denies(&mut findings, &mut client, "every-v2-role", "missing_legacy_role", &row.legacy)
                .await;
            denials += 1;
        }
    }
    findings.equal("denials in the audit table", world.denials().await, denials);
    findings.conclude(1_000);
}

/// The V2 roles that the table asks for or proposes.
fn asked_for() -> std::collections::BTreeSet<String> {
    CsvRow::gated().into_iter().filter_map(|row| row.role).collect()
}

/// An admin for each legacy role, called like it.
async fn legacy_admins(world: &World) {
    for role in four() {
        world.admin(role.as_str(), &[], std::slice::from_ref(&role)).await;
    }
}

/// The legacy roles of the documents.
fn four() -> [LegacyRole; 4] {
    ["superadmin", "ops", "support", "readonly"].map(LegacyRole::literal)
}

/// The four legacy admins, each let in if the row lists the role. Returns how many were not.
async fn legacy_decides(
    findings: &mut Findings,
    world: &World,
    client: &mut Client,
    row: &CsvRow,
    probe: &Probe,
) -> usize {
    let case = Case { world, row, probe };
    let mut denials = 0;
    for role in four() {
        if row.admits(&role) {
            case.runs_for(findings, client, role.as_str()).await;
        } else {
            case.denies(findings, client, role.as_str(), "missing_legacy_role", &row.legacy).await;
            denials += 1;
        }
    }
    denials
}

/// 302 to the login page. What can be repeated with GET names the way back; a form that was posted cannot.
async fn nobody_logs_in(findings: &mut Findings, client: &mut Client, probe: &Probe) {
    let answer = client.send(&Ask::new(probe.method, &probe.target)).await;
    let who = format!("{} {} as nobody", probe.method, probe.target);
    let expected = match probe.method {
        "GET" => format!("/auth/login?next={}", probe.target),
        _ => "/auth/login".to_owned(),
    };
    findings.equal(&format!("{who}: status"), answer.status, 302);
    findings.equal(&format!("{who}: location"), answer.header("location"), expected.as_str());
    findings.equal(&format!("{who}: Console saw"), Console::shared().saw(answer.request_id()), vec![]);
}

/// One request of one row.
struct Case<'a> {
    world: &'a World,
    row: &'a CsvRow,
    probe: &'a Probe,
}

impl Case<'_> {
    async fn ask(&self, client: &mut Client, admin: &str) -> (Ask, Answer) {
        let ask = Ask::new(self.probe.method, &self.probe.target).cookie(&self.world.cookie(admin));
        let answer = client.send(&ask).await;
        (ask, answer)
    }

    /// The row's own view runs, once, and learns who is there and by which row.
    async fn runs_for(&self, findings: &mut Findings, client: &mut Client, admin: &str) {
        let (_, answer) = self.ask(client, admin).await;
        let who = format!("{} {} as {admin}", self.probe.method, self.probe.target);
        findings.equal(&format!("{who}: status"), answer.status, 200);
        let view = answer.json();
        let found = serde_json::json!([
            view["blueprint"],
            view["rule"],
            view["method"],
            view["remote_user"],
            view["gate"]["route"],
        ]);
        let expected = serde_json::json!([
            self.row.blueprint,
            self.probe.rule,
            self.probe.method,
            admin,
            self.row.route(),
        ]);
        findings.equal(&format!("{who}: view"), found.to_string(), expected.to_string());
        let ran = Console::shared().saw(answer.request_id());
        findings.equal(&format!("{who}: Console saw"), ran, vec![answer.header("x-view").to_owned()]);
    }

    /// 403, one audit row, no view.
    async fn denies(
        &self,
        findings: &mut Findings,
        client: &mut Client,
        admin: &str,
        reason: &str,
        required: &[String],
    ) {
        let (ask, answer) = self.ask(client, admin).await;
        let route = self.row.route();
        let denial =
            Denial { actor_kind: "admin", actor: Some(admin), route: Some(&route), reason, required };
        denial.check(findings, self.world, &ask, &answer).await;
    }
}
