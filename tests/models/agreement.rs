//! Everything that says who may do what says the same: the matrix, the tester's page, `explain`, `GET /api/rbac/who`,
//! `/api/rbac/admins/A/routes` and AuthZEN, for random people, grants, legacy roles, machines and modes of
//! clusters. Each is compared with what the proxy answers to the same caller: a page that is wrong is worse than none.
//!
//! What a page or an answer has about many cells is asked for once; the tester and the command, which answer about one cell, are
//! asked about some.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Instant;

use chrono::{SecondsFormat, TimeDelta, Utc};
use policy::rbac::LegacyRole;
use serde_json::{Value, json};

use crate::random::Random;
use crate::support::recorder::Recorder;
use crate::support::scene::create_token;
use crate::support::{Answer, Ask, Client, Database, Gate, Setup, World, tier};

/// Cells on each database: quick, and full.
const CELLS: [usize; 2] = [600, 5_000];
const ADMINS: usize = 18;
const MACHINES: usize = 3;
const ROWS: usize = 30;
const GROUPS: usize = 8;
const ROLES: usize = 9;
const PERMISSIONS: usize = 4;
const LEGACY: [&str; 4] = ["superadmin", "ops", "support", "readonly"];
const CLUSTERS: usize = 5;
/// Cells of each admin that the tester's page is asked about, and of each world that the command is asked about.
const TRIED: usize = 3;
const EXPLAINED: usize = 4;

const API: &str = r#"[blueprints.api.routes]
"GET /api/rbac/me" = { session = true, gate = true, unauthenticated = "401" }
"GET /api/rbac/*" = { role = "console-audit-user", gate = true, unauthenticated = "401" }
"GET,POST /console/rbac/*" = { session = true, gate = true }
"#;

/// One source's answers: who, which path, and whether it is let in.
type Cells = BTreeMap<(String, String), bool>;

struct Round {
    world: World,
    gate: Gate,
    admins: Vec<String>,
    /// The ids of their tokens, and the tokens.
    machines: Vec<(String, String)>,
    token: String,
    _upstream: Recorder,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_view_says_what_the_gate_answers_on_sqlite() {
    run("sqlite", Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_view_says_what_the_gate_answers_on_postgres() {
    run("postgres", Database::Postgres).await;
}

async fn run(name: &str, database: Database) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let wanted = number("GATE_MODELS").map(|count| usize::try_from(count).expect("a number of cells"));
    let seed = number("GATE_SEED").unwrap_or_else(|| wanted.map_or(1, |_| u64::from(rand::random::<u32>())));
    println!("agreement ({name}): GATE_SEED={seed}");
    let wanted = wanted.unwrap_or_else(|| tier::in_tier(CELLS[0], CELLS[1]));
    let began = Instant::now();
    let mut random = Random::new(seed);
    let (mut cells, mut allowed, mut said) = (0, 0, BTreeMap::<&str, usize>::new());
    while cells < wanted {
        let round = Round::new(database, &mut random).await;
        let truth = round.proxy().await;
        cells += truth.len();
        allowed += truth.values().filter(|is_let_in| **is_let_in).count();
        for (view, answers) in [
            ("matrix", round.matrix().await),
            ("who", round.who().await),
            ("routes of an admin", round.routes().await),
            ("authzen", round.authzen().await),
            ("tester", round.tester(&mut random).await),
            ("explain", round.explain(&mut random)),
        ] {
            *said.entry(view).or_default() += answers.len();
            let differs = |(cell, answer): &(&(String, String), &bool)| truth.get(*cell) != Some(*answer);
            let different: Vec<String> = answers
                .iter()
                .filter(differs)
                .map(|(cell, answer)| format!("{cell:?}: {view} {answer}, the gate {:?}", truth.get(cell)))
                .collect();
            assert!(different.is_empty(), "GATE_SEED={seed}, {name}:\n{}", different.join("\n"));
        }
    }
    println!(
        "{cells} cells agree ({name}, GATE_SEED={seed}, {:.0?}), {allowed} allowed: {said:?}",
        began.elapsed()
    );
    // Everybody let in everywhere, or nobody anywhere, would agree as well.
    assert!(allowed * 10 > cells && allowed * 10 < cells * 9, "{allowed} of {cells}");
    assert!(said.values().all(|answers| *answers > 0), "{said:?}");
}

impl Round {
    async fn new(database: Database, random: &mut Random) -> Round {
        let world = World::new(database).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        world.execute(&registry(random)).await;
        world.admin("auditor", &["raxx-platform-admins"], &[]).await;
        let groups: Vec<String> = (0..GROUPS).map(|number| format!("g{number}")).collect();
        let admins: Vec<String> = (0..ADMINS).map(|number| format!("a{number:02}")).collect();
        let mut grants = String::new();
        for admin in &admins {
            let held = random.some(&groups, 0, 2);
            let held: Vec<&str> = held.iter().map(String::as_str).collect();
            let legacy = random.some(&LEGACY, 0, 1);
            let legacy: Vec<LegacyRole> = legacy.into_iter().map(LegacyRole::literal).collect();
            world.admin(admin, &held, &legacy).await;
            grants += &further(random, admin, &groups);
        }
        if !grants.is_empty() {
            world.execute(&grants).await;
        }
        let setup = Setup {
            mapping: Some(mapping(random).leak()),
            upstream: Some(upstream.socket()),
            sections: "[api]\ncallers = [\"asker\"]\n",
            ..Setup::V2
        };
        let gate = world.gate(&setup).await;
        let token = create_token(&gate, "asker", &[]);
        let mut machines = Vec::new();
        for number in 0..MACHINES {
            let name = format!("m{number}");
            let (group, legacy) = (random.pick(&groups), random.pick(&LEGACY));
            let further: &[&str] = match random.below(3) {
                0 => &["--group", &group],
                1 => &["--legacy-role", legacy],
                _ => &["--group", &group, "--legacy-role", legacy],
            };
            let token = create_token(&gate, &name, further);
            let tokens = world.store.tokens().await.expect("tokens");
            let id = tokens.iter().find(|token| token.name == name).expect("the machine").id.clone();
            machines.push((id, token));
        }
        Round { world, gate, admins, machines, token, _upstream: upstream }
    }

    fn paths() -> impl Iterator<Item = String> {
        (0..ROWS).map(|number| format!("/r{number:02}"))
    }

    async fn get(&self, target: &str) -> Answer {
        let ask = Ask::get(target).cookie(&self.world.cookie("auditor"));
        let answer = self.gate.send(&ask).await;
        assert_eq!(answer.status, 200, "{target}: {}", String::from_utf8_lossy(&answer.body));
        answer
    }

    async fn page(&self, target: &str) -> String {
        String::from_utf8(self.get(target).await.body.to_vec()).expect("a page")
    }

    /// The real answers.
    async fn proxy(&self) -> Cells {
        let (mut cells, mut client) = (Cells::new(), self.gate.client());
        for path in Round::paths() {
            for admin in &self.admins {
                let answer = client.send(&Ask::get(&path).cookie(&self.world.cookie(admin))).await;
                assert!([200, 403].contains(&answer.status), "{admin} {path}: {}", answer.status);
                cells.insert((admin.clone(), path.clone()), answer.status == 200);
            }
            for (machine, token) in &self.machines {
                let answer = client.send(&Ask::get(&path).bearer(token)).await;
                cells.insert((machine.clone(), path.clone()), answer.status == 200);
            }
        }
        cells
    }

    /// A page for each admin: its rows are on one.
    async fn matrix(&self) -> Cells {
        let mut cells = Cells::new();
        for admin in &self.admins {
            let page = self.page(&format!("/console/rbac/matrix?who={admin}&route=/r")).await;
            for path in Round::paths() {
                let label = format!("\"{admin}, GET {path}: ");
                let words = page.split(&label).nth(1).and_then(|rest| rest.split('"').next());
                let words = words.unwrap_or_else(|| panic!("no cell {label} in {page}"));
                cells.insert((admin.clone(), path), words.ends_with("now allowed"));
            }
        }
        cells
    }

    /// An answer for each route, about everybody.
    async fn who(&self) -> Cells {
        let mut cells = Cells::new();
        for path in Round::paths() {
            let said = self.get(&format!("/api/rbac/who?route=GET+{path}")).await.json();
            let listed = said["who"].as_array().expect("a list");
            let who: BTreeSet<&str> = listed.iter().filter_map(|one| one["subject"].as_str()).collect();
            let machines = self.machines.iter().map(|(machine, _)| machine);
            for one in self.admins.iter().chain(machines) {
                cells.insert((one.clone(), path.clone()), who.contains(one.as_str()));
            }
        }
        cells
    }

    /// An answer for each admin, about every route.
    async fn routes(&self) -> Cells {
        let mut cells = Cells::new();
        for admin in &self.admins {
            let said = self.get(&format!("/api/rbac/admins/{admin}/routes")).await.json();
            let listed = said["routes"].as_array().expect("a list");
            let routes: BTreeSet<&str> = listed.iter().filter_map(|one| one["route"].as_str()).collect();
            for path in Round::paths() {
                let is_listed = routes.contains(format!("GET {path}").as_str());
                cells.insert((admin.clone(), path), is_listed);
            }
        }
        cells
    }

    /// An answer for each caller, about every route.
    async fn authzen(&self) -> Cells {
        let (mut cells, mut client) = (Cells::new(), Client::to(&self.gate.admin_socket()));
        let admins = self.admins.iter().map(|admin| ("admin", admin));
        let machines = self.machines.iter().map(|(machine, _)| ("machine", machine));
        for (kind, id) in admins.chain(machines) {
            let questions: Vec<Value> = Round::paths()
                .map(|path| json!({ "action": { "name": "GET" }, "resource": { "type": "route", "id": path } }))
                .collect();
            let body = json!({ "subject": { "type": kind, "id": id }, "evaluations": questions });
            let ask = Ask::new("POST", "/access/v1/evaluations").bearer(&self.token);
            let ask = ask.header("content-type", "application/json").body(body.to_string());
            let answer = client.send(&ask).await;
            assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
            let said = answer.json();
            let decisions = said["evaluations"].as_array().expect("a list");
            for (path, one) in Round::paths().zip(decisions) {
                cells.insert((id.clone(), path), one["decision"] == true);
            }
        }
        cells
    }

    async fn tester(&self, random: &mut Random) -> Cells {
        let (mut cells, paths) = (Cells::new(), Round::paths().collect::<Vec<_>>());
        let admins = self.admins.iter().map(|admin| ("admin", admin));
        let machines = self.machines.iter().map(|(machine, _)| ("machine", machine));
        for (kind, id) in admins.chain(machines) {
            for path in random.some(&paths, TRIED, TRIED) {
                let target = format!("/console/rbac/try?method=GET&path={path}&kind={kind}&as={id}");
                let page = self.page(&target).await;
                let answer = page.split("id=\"answer\"").nth(1);
                let badge = answer.and_then(|answer| answer.split("class=\"badge ").nth(1));
                let badge = badge.unwrap_or_else(|| panic!("no answer: {page}"));
                cells.insert((id.clone(), path), badge.starts_with("allow"));
            }
        }
        cells
    }

    /// The command's exit code.
    fn explain(&self, random: &mut Random) -> Cells {
        let (mut cells, paths) = (Cells::new(), Round::paths().collect::<Vec<_>>());
        for _ in 0..EXPLAINED {
            let (admin, path) = (random.pick(&self.admins), random.pick(&paths));
            let mut command = self.gate.command(&["explain", "GET", &path, "--as", &admin]);
            // The gate's own setting: off in either place is off.
            let ran = command.env("FLAG_RBAC_V2", "1").output().expect("the binary runs");
            let (code, said) = (ran.status.code(), String::from_utf8_lossy(&ran.stdout).into_owned());
            let is_allowed = said.lines().any(|line| line.starts_with("answer     allowed"));
            assert_eq!(code, Some(i32::from(!is_allowed)), "{admin} {path}: {said}");
            cells.insert((admin, path), is_allowed);
        }
        cells
    }
}

/// Groups, roles and permissions with random edges; a role inherits only later ones, so there is no circle.
fn registry(random: &mut Random) -> String {
    let mut text = String::new();
    for (table, letter, count) in
        [("rbac_groups", 'g', GROUPS), ("rbac_roles", 'r', ROLES), ("rbac_permissions", 'p', PERMISSIONS)]
    {
        for number in 0..count {
            writeln!(text, "INSERT INTO {table} (id, name) VALUES ('{letter}{number}', '{letter}{number}');")
                .expect("text");
        }
    }
    let mut edge = |table: &str, columns: &str, from: String, to: String| {
        writeln!(text, "INSERT INTO {table} ({columns}) VALUES ('{from}', '{to}');").expect("text");
    };
    let numbers = |count: usize| (0..count).collect::<Vec<usize>>();
    for group in 0..GROUPS {
        for role in random.some(&numbers(ROLES), 1, 2) {
            edge("rbac_group_roles", "group_id, role_id", format!("g{group}"), format!("r{role}"));
        }
    }
    for role in 0..ROLES {
        for parent in random.some(&numbers(ROLES), 0, 2).into_iter().filter(|parent| *parent > role) {
            let columns = "child_role_id, parent_role_id";
            edge("rbac_role_inheritance", columns, format!("r{role}"), format!("r{parent}"));
        }
        for permission in random.some(&numbers(PERMISSIONS), 0, 2) {
            let columns = "role_id, permission_id";
            edge("rbac_role_permissions", columns, format!("r{role}"), format!("p{permission}"));
        }
    }
    // A gate starts on a mapping whose roles and permissions some group has.
    for role in 0..ROLES {
        edge("rbac_group_roles", "group_id, role_id", "all".to_owned(), format!("r{role}"));
    }
    for permission in 0..PERMISSIONS {
        edge("rbac_role_permissions", "role_id, permission_id", "any".to_owned(), format!("p{permission}"));
    }
    edge("rbac_group_roles", "group_id, role_id", "all".to_owned(), "any".to_owned());
    format!(
        "INSERT INTO rbac_groups (id, name) VALUES ('all', 'all'); INSERT INTO rbac_roles (id, name) VALUES ('any', 'any');\n{text}"
    )
}

/// Grants with an end that are live, over or to begin, grants for tickets, which no row here counts, and a disabled admin.
fn further(random: &mut Random, admin: &str, groups: &[String]) -> String {
    let now = Utc::now();
    let at = |minutes: i64| {
        let time = now + TimeDelta::minutes(minutes);
        format!("'{}'", time.to_rfc3339_opts(SecondsFormat::Micros, false))
    };
    let mut text = String::new();
    if random.chance(60) {
        let (group, id) = (random.pick(groups), uuid::Uuid::new_v4());
        let (starts, ends) = random.pick(&[(-60, 600), (-60, -1), (60, 600)]);
        writeln!(
            text,
            "INSERT INTO gate_grants (id, admin_id, group_id, origin, granted_by, granted_at_utc, starts_at_utc, ends_at_utc)
             VALUES ('{id}', '{admin}', '{group}', 'timed', 'test', {}, {}, {});",
            at(-90),
            at(starts),
            at(ends)
        )
        .expect("text");
    }
    if random.chance(40) {
        let (role, id) = (random.below(ROLES), uuid::Uuid::new_v4());
        writeln!(
            text,
            "INSERT INTO rbac_ticket_grants (id, user_id, role_id, ticket_id, customer_id, granted_by, granted_at_utc)
             VALUES ('{id}', '{admin}', 'r{role}', '42', 7, 'test', {});",
            at(-5)
        )
        .expect("text");
    }
    text
}

/// Rows that ask for a legacy role and for a role or permission, in clusters of random modes.
fn mapping(random: &mut Random) -> String {
    let mut text = "version = 1\n[clusters]\n".to_owned();
    for cluster in 0..CLUSTERS {
        let mode = random.pick(&["legacy", "shadow", "v2", "v2"]);
        writeln!(text, "C{cluster} = \"{mode}\"").expect("text");
    }
    let mut rows: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for path in Round::paths() {
        let legacy = random.some(&LEGACY, 1, 2).join("\", \"");
        let asks = match random.chance(70) {
            true => format!("role = \"r{}\"", random.below(ROLES)),
            false => format!("permission = \"p{}\"", random.below(PERMISSIONS)),
        };
        let machines = if random.chance(50) { ", machine_or_session = true" } else { "" };
        let row = format!("\"GET {path}\" = {{ legacy = [\"{legacy}\"], {asks}{machines} }}");
        rows.entry(random.below(CLUSTERS)).or_default().push(row);
    }
    for (cluster, rows) in rows {
        let rows = rows.join("\n");
        writeln!(
            text,
            "[blueprints.b{cluster}]\ncluster = \"C{cluster}\"\n[blueprints.b{cluster}.routes]\n{rows}"
        )
        .expect("text");
    }
    text + API
}
