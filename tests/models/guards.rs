//! Who may change access: random people, among whom are attackers, each trying to end with more than they may, through the real
//! API; each answer must be that of a model of the rule ([`model`]), which was written from docs/guards.md.
//!
//! An attempt, by an admin or by an admin's machine, is looked at (`?dry_run=true`), which says what the rule makes of it; some are
//! made, by which the world goes on to the next attempt, and an edit or a grant that takes two is approved by somebody, or is
//! not. Between attempts, and between the look at a request and its approval, an operator, whom the rule does not bind, changes
//! something by a command or by SQL.

mod model;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use chrono::{DateTime, SecondsFormat, SubsecRound as _, TimeDelta, Utc};
use serde_json::{Value, json};

use self::model::{
    BOT, Change, ENDS, GROUPS, LATER, PEOPLE, PERMISSIONS, ROLES, State, TICKET, Timed, Verdict,
};
use crate::random::Random;
use crate::support::freescout::{FreeScout, KEY, SECRET};
use crate::support::{Answer, Ask, Database, Gate, Setup, World};
use crate::world::secret_of;
use sha2::{Digest as _, Sha256};

/// Without `GATE_MODELS`.
const SHORT: usize = 250;
/// Attempts in one world.
const IN_A_WORLD: usize = 25;
/// Before how many attempts of a hundred an operator changes something.
const OPERATED: usize = 8;

const SECTIONS: &str = "[rbac_api]\ngrant_any = \"grant:any\"\n[break_glass]\neligible = [\"medics\"]\n";
const MAPPING: &str = r#"
version = 1
clusters.V = "v2"
clusters.P = { mode = "v2", groups = ["pilot"] }
[approval.edits]
by = ["leads"]
[blueprints.v]
cluster = "V"
[blueprints.v.routes]
"GET /r0" = { role = "r0" }
[blueprints.p]
cluster = "P"
[blueprints.p.routes]
"GET /r1" = { legacy = ["ops"], role = "r1" }
"GET /desk/<int:id>" = { role = "r2", ticket = { query = "ticket_id", customer = "path:id" } }
[blueprints.api.routes]
"GET /api/rbac/*" = { session = true, gate = true, unauthenticated = "401" }
"POST,PUT,DELETE /api/rbac/*" = { role = "writer", machine_or_session = true, gate = true, unauthenticated = "401" }
"DELETE /api/rbac/me/grants/<id>" = { session = true, gate = true, unauthenticated = "401" }
"GET,POST /api/rbac/requests" = { session = true, gate = true, unauthenticated = "401" }
"GET /api/rbac/requests/<id>" = { session = true, gate = true, unauthenticated = "401" }
"POST /api/rbac/requests/<id>/<step>" = { session = true, gate = true, unauthenticated = "401" }
"#;

struct Run {
    world: World,
    gate: Gate,
    state: State,
    /// When the state was made: its minutes count from here.
    began: DateTime<Utc>,
    random: Random,
    /// How often each word of the rule was met.
    words: BTreeMap<String, usize>,
    history: Vec<String>,
    is_postgres: bool,
    /// The id of the machine's token, where the world has one.
    bot: Option<String>,
    /// When memberships begin that have not begun yet; by their ids.
    later: BTreeMap<String, i64>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_ends_with_more_than_they_may_on_sqlite() {
    run("sqlite", Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_ends_with_more_than_they_may_on_postgres() {
    run("postgres", Database::Postgres).await;
}

async fn run(name: &str, database: Database) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let wanted = number("GATE_MODELS").map(|count| usize::try_from(count).expect("a number of attempts"));
    let seed = number("GATE_SEED").unwrap_or_else(|| wanted.map_or(1, |_| u64::from(rand::random::<u32>())));
    println!("guards ({name}): GATE_SEED={seed}");
    let began = Instant::now();
    let mut run = Run::new(database, seed).await;
    let count = wanted.unwrap_or(SHORT);
    let mut attempts = 0;
    while attempts < count {
        run.next_world().await;
        for _ in 0..IN_A_WORLD {
            if run.random.chance(OPERATED) {
                let who = run.random.pick(&PEOPLE);
                let change = run.random_change(who);
                run.operate(change).await;
            }
            attempts += usize::from(run.attempt().await);
        }
    }
    println!(
        "{attempts} attempts agree ({name}, GATE_SEED={seed}, {:.0?}): {:?}",
        began.elapsed(),
        run.words
    );
    // A run that met one word alone would agree as well.
    let words = ["allow", "approve", "refuse a", "refuse b", "refuse d", "made", "approved", "not approved"];
    for word in words.into_iter().chain(["by command", "by SQL", "by a machine"]) {
        assert!(run.words.contains_key(word), "the run was too short to meet `{word}`: {:?}", run.words);
    }
    crate::verifies_beside(&run.gate, &["gate_grants", "rbac_ticket_grants"]);
}

impl Run {
    async fn new(database: Database, seed: u64) -> Run {
        let world = World::new(database).await;
        let freescout = FreeScout::start().await;
        freescout.open(TICKET.0);
        let mut catalog = String::new();
        for group in GROUPS.into_iter().filter(|group| *group != "break-glass") {
            write!(catalog, "INSERT INTO rbac_groups (id, name) VALUES ('{group}', '{group}');")
                .expect("text");
        }
        for role in ROLES {
            write!(catalog, "INSERT INTO rbac_roles (id, name) VALUES ('{role}', '{role}');").expect("text");
            // A gate starts on a mapping whose roles some group has.
            write!(catalog, "INSERT INTO rbac_group_roles (group_id, role_id) VALUES ('red', '{role}');")
                .expect("text");
        }
        for name in PERMISSIONS {
            write!(catalog, "INSERT INTO rbac_permissions (id, name) VALUES ('{name}', '{name}');")
                .expect("text");
        }
        world.execute(&catalog).await;
        for person in PEOPLE {
            world.admin(person, &[], &[]).await;
        }
        let sections = format!("{SECTIONS}{}", freescout.settings(20_000));
        let variables = vec![
            ("CONSOLE_GATE_FREESCOUT_KEY", KEY.to_owned()),
            ("CONSOLE_GATE_FREESCOUT_WEBHOOK_SECRET", SECRET.to_owned()),
        ];
        let setup = Setup {
            mapping: Some(MAPPING),
            sections: sections.leak(),
            variables: Some(variables),
            ..Setup::V2
        };
        let gate = world.gate(&setup).await;
        // It serves as long as the process runs.
        std::mem::forget(freescout);
        Run {
            world,
            gate,
            state: State::default(),
            began: Utc::now(),
            random: Random::new(seed),
            words: BTreeMap::new(),
            history: Vec::new(),
            is_postgres: database == Database::Postgres,
            bot: None,
            later: BTreeMap::new(),
        }
    }

    /// Other grants for everybody, by SQL.
    async fn next_world(&mut self) {
        let state = self.random_state();
        let began = Utc::now().trunc_subsecs(0);
        let mut text = String::new();
        for table in
            ["rbac_user_groups", "rbac_group_roles", "rbac_role_inheritance", "rbac_role_permissions"]
        {
            writeln!(text, "DELETE FROM {table};").expect("text");
        }
        let now = format!("'{}'", began.to_rfc3339_opts(SecondsFormat::Micros, false));
        text += "DELETE FROM gate_grantors;\n";
        write!(
            text,
            "UPDATE gate_grants SET revoked_at_utc = {now}, revoked_by = 'test' WHERE revoked_at_utc IS NULL;
             UPDATE rbac_ticket_grants SET revoked_at_utc = {now}, revoke_reason = 'manual' WHERE revoked_at_utc IS NULL;
             UPDATE gate_access_requests SET state = 'withdrawn', closed_at_utc = {now}, closed_by = 'test'
              WHERE state = 'pending';
             UPDATE gate_machine_tokens SET revoked_at_utc = {now} WHERE revoked_at_utc IS NULL;\n"
        )
        .expect("text");
        let members = state.members.iter().map(|(who, group)| (None, Change::Join(who, group)));
        let timed = state
            .timed
            .iter()
            .map(|(id, grant)| (Some(id.as_str()), Change::Until(grant.who, grant.group, grant.end)));
        let tickets = state.tickets.iter().map(|(who, role)| (None, Change::Ticket(who, role)));
        let roles =
            state.group_roles.iter().map(|(group, role)| (None, Change::GroupRole(group, role, true)));
        let parents =
            state.inherits.iter().map(|(child, parent)| (None, Change::Inherit(child, parent, true)));
        let permits = state.permits.iter().map(|(role, name)| (None, Change::Permit(role, name, true)));
        let grantors = state
            .grantors
            .iter()
            .map(|((what, by), with_approval)| (None, Change::Grantor(what.clone(), by, *with_approval)));
        self.began = began;
        self.later = timed_later(&state);
        let mut bot = None;
        for (id, change) in
            members.chain(timed).chain(tickets).chain(roles).chain(parents).chain(permits).chain(grantors)
        {
            text += &self.sql_of(&change, id);
            text.push('\n');
        }
        if let Some((owner, groups)) = &state.bot {
            let id = uuid::Uuid::new_v4();
            let digest: String =
                Sha256::digest(secret_of(&id.to_string())).iter().map(|byte| format!("{byte:02x}")).collect();
            bot = Some(id.to_string());
            writeln!(
                text,
                "INSERT INTO gate_machine_tokens (id, name, token_sha256, created_by, created_at_utc)
                 VALUES ('{id}', '{BOT}-{id}', '{digest}', '{owner}', {now});"
            )
            .expect("text");
            for group in groups {
                let group = id_of("rbac_groups", group);
                writeln!(
                    text,
                    "INSERT INTO gate_machine_token_groups (token_id, group_id, granted_by, granted_at_utc)
                     VALUES ('{id}', CAST({group} AS TEXT), 'test', {now});"
                )
                .expect("text");
            }
        }
        self.world.execute(&text).await;
        self.bot = bot;
        self.state = state;
        self.history = vec![format!("{:#?}", self.state)];
    }

    /// What makes a change by SQL; `id` is that of a membership until a time.
    fn sql_of(&self, change: &Change, id: Option<&str>) -> String {
        let time = |minutes: i64| {
            let time = self.began + TimeDelta::minutes(minutes);
            format!("'{}'", time.to_rfc3339_opts(SecondsFormat::Micros, false))
        };
        let edge = |table: &str, columns: (&str, String), others: (&str, String), adds: bool| match adds {
            true => format!(
                "INSERT INTO {table} ({}, {}) VALUES ({}, {});",
                columns.0, others.0, columns.1, others.1
            ),
            false => format!(
                "DELETE FROM {table} WHERE {} = {} AND {} = {};",
                columns.0, columns.1, others.0, others.1
            ),
        };
        let (group_of, role_of) =
            (|name: &str| id_of("rbac_groups", name), |name: &str| id_of("rbac_roles", name));
        let now = time(0);
        match change {
            Change::Join(who, group) => format!(
                "INSERT INTO rbac_user_groups (user_id, group_id, granted_by) VALUES ('{who}', {}, 'test');",
                group_of(group)
            ),
            Change::Leave(who, group) => {
                let (who, group) = (("user_id", format!("'{who}'")), ("group_id", group_of(group)));
                edge("rbac_user_groups", who, group, false)
            }
            Change::Until(who, group, minutes) => {
                let new = uuid::Uuid::new_v4().to_string();
                let start = id.and_then(|id| self.later.get(id)).copied().unwrap_or(-1);
                let (id, group, ends, starts) =
                    (id.unwrap_or(&new), group_of(group), time(*minutes), time(start));
                format!(
                    "INSERT INTO gate_grants (id, admin_id, group_id, origin, granted_by, granted_at_utc, starts_at_utc, \
                     ends_at_utc) VALUES ('{id}', '{who}', CAST({group} AS TEXT), 'timed', 'test', {now}, {starts}, {ends});"
                )
            }
            Change::End(id) | Change::EndOwn(id) => {
                format!(
                    "UPDATE gate_grants SET revoked_at_utc = {now}, revoked_by = 'test' WHERE id = '{id}';"
                )
            }
            Change::Ticket(who, role) => {
                let (id, role, (ticket, customer)) = (uuid::Uuid::new_v4(), role_of(role), TICKET);
                format!(
                    "INSERT INTO rbac_ticket_grants (id, user_id, role_id, ticket_id, customer_id, granted_by, granted_at_utc)
                     VALUES ('{id}', '{who}', {role}, '{ticket}', {customer}, 'test', {now});"
                )
            }
            Change::GroupRole(group, role, adds) => {
                let (group, role) = (("group_id", group_of(group)), ("role_id", role_of(role)));
                edge("rbac_group_roles", group, role, *adds)
            }
            Change::Inherit(child, parent, adds) => {
                let (child, parent) =
                    (("child_role_id", role_of(child)), ("parent_role_id", role_of(parent)));
                edge("rbac_role_inheritance", child, parent, *adds)
            }
            Change::Permit(role, name, adds) => {
                let name = ("permission_id", id_of("rbac_permissions", name));
                edge("rbac_role_permissions", ("role_id", role_of(role)), name, *adds)
            }
            Change::Grantor(what, by, with_approval) => {
                let (kind, name) = what.split_once(':').expect("a kind and a name");
                let flag = match (self.is_postgres, with_approval) {
                    (true, flag) => flag.to_string(),
                    (false, flag) => u8::from(*flag).to_string(),
                };
                format!(
                    "INSERT INTO gate_grantors (kind, name, grantor_group, with_approval, added_by, added_at_utc)
                     VALUES ('{kind}', '{name}', '{by}', {flag}, 'test', {now});"
                )
            }
            Change::NoGrantor(what, by) => {
                let (kind, name) = what.split_once(':').expect("a kind and a name");
                format!(
                    "DELETE FROM gate_grantors WHERE kind = '{kind}' AND name = '{name}' AND grantor_group = '{by}';"
                )
            }
        }
    }

    /// An operator's change, by a command or by SQL. The rule binds no operator, so it is made whatever the rule says, and
    /// everybody's next attempt is judged by what it left.
    async fn operate(&mut self, change: Change) {
        let Some(mut after) = self.state.after(&change) else { return };
        let id = uuid::Uuid::new_v4().to_string();
        if let Some(grant) = after.timed.remove("new") {
            after.timed.insert(id.clone(), grant);
        }
        let command = command_of(&change).filter(|_| self.random.chance(50));
        match &command {
            Some(command) => {
                let command: Vec<&str> = command.iter().map(String::as_str).collect();
                self.gate.run(&command);
                if let Change::Leave(who, group) = change {
                    // It leaves wholly.
                    after.timed.retain(|_, grant| (grant.who, grant.group) != (who, group));
                }
            }
            None => self.world.execute(&self.sql_of(&change, Some(&id))).await,
        }
        let way = if command.is_some() { "by command" } else { "by SQL" };
        *self.words.entry(way.to_owned()).or_default() += 1;
        self.history.push(format!("an operator, {way}: {change:?}"));
        self.state = after;
    }

    /// What an operator changes between the look at a request and its approval: mostly what the requested group or role brings.
    fn meanwhile(&mut self, asked: &Change) -> Change {
        let (role, permission) = (self.random.pick(&ROLES), self.random.pick(&PERMISSIONS));
        match asked {
            Change::Join(_, group) | Change::Until(_, group, _) if self.random.chance(70) => {
                Change::GroupRole(group, role, true)
            }
            Change::Ticket(_, given)
            | Change::GroupRole(_, given, true)
            | Change::Inherit(_, given, true)
                if self.random.chance(70) =>
            {
                Change::Permit(given, permission, true)
            }
            _ => {
                let who = self.random.pick(&PEOPLE);
                self.random_change(who)
            }
        }
    }

    /// A few edges of each kind. Most people can write, so that there is something to be refused.
    fn random_state(&mut self) -> State {
        let random = &mut self.random;
        let mut state = State::default();
        // The API's rows ask for these.
        state.group_roles.extend([("red", "writer"), ("red", "reader"), ("blue", "reader")]);
        for person in PEOPLE {
            if random.chance(70) {
                state.members.insert((person, "red"));
            }
            for group in random.some(&GROUPS[1..], 0, 3) {
                state.members.insert((person, group));
            }
            if random.chance(40) {
                let (group, end) = (random.pick(&GROUPS), random.pick(&ENDS));
                let start = if end > LATER && random.chance(40) { LATER } else { 0 };
                let grant = Timed { who: person, group, start, end };
                state.timed.insert(uuid::Uuid::new_v4().to_string(), grant);
            }
            if random.chance(15) {
                state.tickets.insert((person, random.pick(&ROLES[2..])));
            }
        }
        for _ in 0..random.below(7) {
            state.group_roles.insert((random.pick(&GROUPS), random.pick(&ROLES[2..])));
        }
        for _ in 0..random.below(3) {
            let (child, parent) = (random.below(4), random.below(4));
            // Only upwards, so that there is no cycle.
            if child < parent {
                state.inherits.insert((ROLES[2 + child], ROLES[2 + parent]));
            }
        }
        for _ in 0..random.below(3) {
            state.permits.insert((random.pick(&ROLES[2..]), random.pick(&PERMISSIONS)));
        }
        if random.chance(40) {
            state.bot = Some((random.pick(&PEOPLE), random.some(&GROUPS[..5], 1, 2).into_iter().collect()));
        }
        for _ in 0..random.below(3) {
            let what = target(random);
            state.grantors.insert((what, random.pick(&["hosts", "leads"])), random.chance(30));
        }
        state
    }

    fn random_change(&mut self, who: &'static str) -> Change {
        let random = &mut self.random;
        // An attacker prefers itself and what it is in.
        let to = if random.chance(40) { who } else { random.pick(&PEOPLE) };
        let (group, role) = (random.pick(&GROUPS), random.pick(&ROLES));
        let adds = random.chance(70);
        // Ids are the gate's and random: in their order, a run would not be its seed's.
        let mut grants: Vec<_> = self.state.timed.iter().collect();
        grants.sort_by_key(|(_, grant)| **grant);
        let timed: Vec<String> = grants.iter().map(|(id, _)| (*id).clone()).collect();
        let own: Vec<String> =
            grants.iter().filter(|(_, grant)| grant.who == who).map(|(id, _)| (*id).clone()).collect();
        match random.below(12) {
            0..2 => Change::Join(to, group),
            2 => Change::Until(to, group, random.pick(&ENDS)),
            3 => Change::Leave(to, group),
            4 if !timed.is_empty() => Change::End(random.pick(&timed)),
            5 if !own.is_empty() => Change::EndOwn(random.pick(&own)),
            4..6 => Change::Ticket(to, role),
            6..8 => Change::GroupRole(group, role, adds),
            8 => Change::Inherit(random.pick(&ROLES), role, adds),
            9 => Change::Permit(role, random.pick(&PERMISSIONS), adds),
            10 => Change::Grantor(target(random), random.pick(&["hosts", "leads", group]), random.chance(50)),
            _ => {
                let all: Vec<_> = self.state.grantors.keys().cloned().collect();
                match all.is_empty() {
                    true => Change::Ticket(to, role),
                    false => {
                        let (what, by) = random.pick(&all);
                        Change::NoGrantor(what, by)
                    }
                }
            }
        }
    }

    /// One attempt; `false` where it would change nothing or nobody could make it.
    async fn attempt(&mut self) -> bool {
        let who = match self.bot.is_some() && self.random.chance(30) {
            true => BOT,
            false => self.random.pick(&PEOPLE),
        };
        let person = self.state.acts_for(who);
        let change = self.random_change(person);
        // An own end is of a person's.
        if who == BOT && matches!(change, Change::EndOwn(_)) {
            return false;
        }
        let Some(after) = self.state.after(&change) else { return false };
        if !self.state.may_write(who) && !matches!(change, Change::EndOwn(_)) {
            return false;
        }
        let verdict = self.state.judge(who, &change, &after);
        let looked = self.send(who, &change, true).await;
        let words = format!("{who}: {change:?}: {verdict:?}");
        self.history.push(words.clone());
        let found = verdict_of(&looked);
        assert_eq!(found.as_ref(), Some(&verdict), "{words}\n{}\n{}", said(&looked), self.history.join("\n"));
        *self.words.entry(word(&verdict)).or_default() += 1;
        *self.words.entry(if who == BOT { "by a machine" } else { "by a person" }.to_owned()).or_default() +=
            1;
        // The API's rows for requests are for sessions.
        if who != BOT && self.random.chance(25) {
            self.make(who, &change, &verdict, after).await;
        }
        true
    }

    /// Makes a change, with an approval where it waits for one, and notes the state that it leaves.
    async fn make(&mut self, who: &'static str, change: &Change, verdict: &Verdict, mut after: State) {
        let is_edit = !matches!(
            change,
            Change::Join(..)
                | Change::Until(..)
                | Change::Ticket(..)
                | Change::Leave(..)
                | Change::End(_)
                | Change::EndOwn(_)
        );
        let made = self.send(who, change, false).await;
        let waits = *verdict == Verdict::Approve || is_edit && *verdict == Verdict::Allow;
        let expected: &[u16] = match (verdict, waits) {
            (Verdict::Refuse(_), _) => &[403],
            (_, true) => &[202],
            (_, false) => &[200, 201, 204],
        };
        assert!(expected.contains(&made.status), "{who}: {change:?}\n{}", said(&made));
        if let Verdict::Refuse(_) = verdict {
            return;
        }
        let mut made_id = made.json()["id"].as_str().unwrap_or_default().to_owned();
        if waits {
            let target = format!("/api/rbac/requests/{made_id}");
            let shown = self.get(who, &target).await;
            let digest = json!({ "impact_sha256": shown.json()["impact_sha256"] });
            let shown_gains = PEOPLE.map(|one| self.state.gains(&after, one));
            let looked_at = self.state.clone();
            if self.random.chance(35) {
                let meanwhile = self.meanwhile(change);
                self.operate(meanwhile).await;
            }
            let moved = self.state != looked_at;
            let (prefers_approvers, anybody) = (self.random.chance(60), self.random.below(PEOPLE.len()));
            let now = self.state.after(change);
            // Approvers for as long as it lasts, who neither asked nor gain, and whom it is not for; of what the asker may still do;
            // and of no more than was shown.
            let counts = |by: &str| {
                let Some(now) = &now else { return false };
                by != who
                    && change.is_for() != Some(by)
                    && self.state.leads_during(by, change)
                    && !self.state.gains_by(now, by)
                    && (self.state.may_write(who)
                        && !matches!(self.state.judge(who, change, now), Verdict::Refuse(_)))
                    && PEOPLE
                        .iter()
                        .zip(&shown_gains)
                        .all(|(one, shown)| self.state.gains(now, one).is_subset(shown))
            };
            let approvers: Vec<_> = PEOPLE.into_iter().filter(|by| counts(by)).collect();
            let by = match approvers.len() {
                1.. if prefers_approvers => approvers[anybody % approvers.len()],
                _ => PEOPLE[anybody],
            };
            let counts = counts(by);
            let ask =
                self.ask(by, "POST", &format!("{target}/approve")).header("content-type", "application/json");
            let answer = self.gate.send(&ask.body(digest.to_string())).await;
            // What an operator changed meanwhile may change what is shown for another reason: then it has to be looked at again.
            let is_as_said =
                if moved { answer.status != 200 || counts } else { (answer.status == 200) == counts };
            assert!(
                is_as_said,
                "{by} approves what {who} asked for ({counts}): {change:?}\n{}\n{}",
                said(&answer),
                self.history.join("\n")
            );
            let counts = answer.status == 200;
            if moved {
                let word =
                    if counts { "approved, changed meanwhile" } else { "not approved, changed meanwhile" };
                *self.words.entry(word.to_owned()).or_default() += 1;
            }
            *self.words.entry(if counts { "approved" } else { "not approved" }.to_owned()).or_default() += 1;
            self.history.push(format!("{by} approves: {counts}"));
            if !counts {
                // Else the same edit would be refused the next time.
                let ask = self.ask(who, "POST", &format!("{target}/withdraw"));
                let answer = self.gate.send(&ask.header("content-type", "application/json").body("{}")).await;
                assert_eq!(answer.status, 200, "{}", said(&answer));
                return;
            }
            made_id = answer.json()["grant"].as_str().unwrap_or_default().to_owned();
            after = now.expect("what is approved changes something");
        }
        *self.words.entry("made".to_owned()).or_default() += 1;
        assert!(!self.state.gains_by(&after, who), "{who} has gained by {change:?}");
        if let Some(grant) = after.timed.remove("new") {
            after.timed.insert(made_id, grant);
        }
        self.history.push("made".to_owned());
        self.state = after;
    }

    fn ask(&self, who: &str, method: &str, target: &str) -> Ask {
        let ask = Ask::new(method, target);
        match (&self.bot, who) {
            (Some(id), BOT) => ask.bearer(&secret_of(id)),
            _ => ask.cookie(&self.world.cookie(who)).header("sec-fetch-site", "same-origin"),
        }
    }

    async fn get(&self, who: &str, target: &str) -> Answer {
        self.gate.send(&self.ask(who, "GET", target)).await
    }

    async fn send(&self, who: &str, change: &Change, is_dry: bool) -> Answer {
        let (method, target, subject, body) = self.request(change);
        let sign = if target.contains('?') { '&' } else { '?' };
        let target = if is_dry { format!("{target}{sign}dry_run=true") } else { target };
        let mut ask = self.ask(who, method, &target);
        if let Some(subject) = subject {
            // Everybody who is logged in may read here.
            let reader = if who == BOT { PEOPLE[0] } else { who };
            let tag = self.get(reader, &subject).await.header("etag").to_owned();
            ask = ask.header("if-match", tag);
        }
        let ask = match body {
            Value::Null => ask,
            body => ask.header("content-type", "application/json").body(body.to_string()),
        };
        self.gate.send(&ask).await
    }

    /// Method, target, what an edit is made on, and the body.
    fn request(&self, change: &Change) -> (&'static str, String, Option<String>, Value) {
        let verb = |adds: &bool| if *adds { "PUT" } else { "DELETE" };
        let of_target = |what: &str| {
            let (kind, name) = what.split_once(':').expect("a kind and a name");
            format!("/api/rbac/{kind}s/{name}")
        };
        match change {
            Change::Join(user, group) => {
                let body = json!({ "user": user, "group": group, "reason": "a model" });
                ("POST", "/api/rbac/grants".to_owned(), None, body)
            }
            Change::Until(user, group, minutes) => {
                let until = self.began + TimeDelta::minutes(*minutes);
                let body = json!({ "user": user, "group": group, "reason": "a model", "until": until });
                ("POST", "/api/rbac/grants".to_owned(), None, body)
            }
            Change::Ticket(user, role) => {
                let (ticket, customer) = (TICKET.0.to_string(), TICKET.1);
                let body = json!({ "user": user, "role": role, "ticket": ticket, "customer": customer, "reason": "a model" });
                ("POST", "/api/rbac/grants/ticket-scoped".to_owned(), None, body)
            }
            Change::Leave(user, group) => {
                let id = crate::grants::direct_id(user, group);
                ("DELETE", format!("/api/rbac/grants/{id}"), None, Value::Null)
            }
            Change::End(id) => ("DELETE", format!("/api/rbac/grants/{id}"), None, Value::Null),
            Change::EndOwn(id) => ("DELETE", format!("/api/rbac/me/grants/{id}"), None, Value::Null),
            Change::GroupRole(group, role, adds) => {
                let subject = format!("/api/rbac/groups/{group}");
                (verb(adds), format!("{subject}/roles/{role}"), Some(subject), Value::Null)
            }
            Change::Inherit(child, parent, adds) => {
                let subject = format!("/api/rbac/roles/{child}");
                (verb(adds), format!("{subject}/inherits/{parent}"), Some(subject), Value::Null)
            }
            Change::Permit(role, permission, adds) => {
                let subject = format!("/api/rbac/roles/{role}");
                (verb(adds), format!("{subject}/permissions/{permission}"), Some(subject), Value::Null)
            }
            Change::Grantor(what, by, with_approval) => {
                let subject = of_target(what);
                let body = json!({ "with_approval": with_approval });
                ("PUT", format!("{subject}/grantors/{by}"), Some(subject), body)
            }
            Change::NoGrantor(what, by) => {
                let subject = of_target(what);
                ("DELETE", format!("{subject}/grantors/{by}"), Some(subject), Value::Null)
            }
        }
    }
}

/// The command that makes a change, where there is one.
fn command_of(change: &Change) -> Option<Vec<String>> {
    let words = match change {
        Change::Join(who, group) => format!("group add {group} {who}"),
        Change::Leave(who, group) => format!("group remove {group} {who}"),
        Change::End(id) | Change::EndOwn(id) => format!("grant end {id}"),
        Change::GroupRole(group, role, true) => format!("group grant-role {group} {role}"),
        Change::GroupRole(group, role, false) => format!("group revoke-role {group} {role}"),
        Change::Inherit(child, parent, true) => format!("role inherit {child} {parent}"),
        Change::Inherit(child, parent, false) => format!("role disinherit {child} {parent}"),
        Change::Permit(role, name, true) => format!("role permit {role} {name}"),
        Change::Permit(role, name, false) => format!("role forbid {role} {name}"),
        Change::Grantor(what, by, with_approval) => {
            let (kind, name) = what.split_once(':')?;
            let flag = if *with_approval { " --with-approval" } else { "" };
            format!("grantors add --{kind} {name} {by}{flag}")
        }
        Change::NoGrantor(what, by) => {
            let (kind, name) = what.split_once(':')?;
            format!("grantors remove --{kind} {name} {by}")
        }
        Change::Until(..) | Change::Ticket(..) => return None,
    };
    Some(words.split(' ').map(ToOwned::to_owned).collect())
}

/// The beginnings of the memberships that have not begun.
fn timed_later(state: &State) -> BTreeMap<String, i64> {
    let later = state.timed.iter().filter(|(_, grant)| grant.start > 0);
    later.map(|(id, grant)| (id.clone(), grant.start)).collect()
}

/// The row of a table of Console's by its name.
fn id_of(table: &str, name: &str) -> String {
    format!("(SELECT id FROM {table} WHERE name = '{name}')")
}

/// `group:red` or `role:r1`.
fn target(random: &mut Random) -> String {
    match random.chance(60) {
        true => format!("group:{}", random.pick(&["blue", "leads", "pilot", "red"])),
        false => format!("role:{}", random.pick(&ROLES[2..])),
    }
}

/// What a look at a change says of the rule.
fn verdict_of(answer: &Answer) -> Option<Verdict> {
    let body = answer.json();
    match answer.status {
        200 if body["needs_approval"].as_array().is_some_and(Vec::is_empty) => Some(Verdict::Allow),
        200 => Some(Verdict::Approve),
        403 => body["rule"].as_str().and_then(|rule| rule.chars().next()).map(Verdict::Refuse),
        _ => None,
    }
}

fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Allow => "allow".to_owned(),
        Verdict::Approve => "approve".to_owned(),
        Verdict::Refuse(letter) => format!("refuse {letter}"),
    }
}

fn said(answer: &Answer) -> String {
    format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))
}
