//! Random grants, requests, approvals, tickets, ends and break-glass sessions, through the real gate: after each step every
//! decision must be that of a model written from the documents ([`model`]).
//!
//! The clock is the gate's own, turned forward (libfaketime). What ends within seconds of a comparison could be judged
//! either way, so the clock is turned past such moments.

mod desk;
mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use chrono::TimeDelta;
use serde_json::{Value, json};

pub use self::desk::direct as direct_id;
use self::desk::{APPROVERS, CUSTOMERS, Desk, OPERATOR, SUBJECTS, TICKETS, direct, literal};
use self::model::{
    Approved, DECIDERS, GLASS, GROUPS, GUARDED, Grant, Model, Origin, PLATFORM, ROLES, Request, Session,
    State, TicketGrant,
};
use crate::random::Random;
use crate::support::Database;
use crate::support::tier::in_tier;

/// The number of steps without `GATE_MODELS`, quick and full. With it, so many pairs of request and caller are one step for a
/// hundred.
const SHORT: [usize; 2] = [90, 120];
/// How close to a comparison nothing may begin or end.
const MARGIN: TimeDelta = TimeDelta::seconds(4);
/// Steps that are shown with a disagreement.
const SHOWN: usize = 40;

struct Run {
    desk: Desk,
    model: Model,
    random: Random,
    history: Vec<String>,
    /// How often each step was made, by whether it succeeded.
    steps: BTreeMap<(&'static str, bool), usize>,
    /// How often each answer was compared.
    words: BTreeMap<String, usize>,
    /// The first digest that was shown of each request.
    first_shown: BTreeMap<String, String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_decision_is_the_models_after_every_change_on_sqlite() {
    run("sqlite", Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_decision_is_the_models_after_every_change_on_postgres() {
    run("postgres", Database::Postgres).await;
}

async fn run(name: &str, database: Database) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let wanted = number("GATE_MODELS").map(|pairs| usize::try_from(pairs / 100).expect("a number of pairs"));
    let seed = number("GATE_SEED").unwrap_or_else(|| wanted.map_or(1, |_| u64::from(rand::random::<u32>())));
    println!("grants ({name}): GATE_SEED={seed}");
    let (begun, count) = (Instant::now(), wanted.unwrap_or_else(|| in_tier(SHORT[0], SHORT[1])));
    let mut run = Run::new(Desk::new(database).await, seed).await;
    for _ in 0..count {
        run.step().await;
        run.compare().await;
    }
    let compared: usize = run.words.values().sum();
    println!("{:?}\n{:?}", run.steps, run.words);
    println!(
        "{compared} decisions after {count} steps agree ({name}, GATE_SEED={seed}, {:.0?})",
        begun.elapsed()
    );
    // A run that grants nothing would agree as well.
    for word in [
        "200",
        "missing_role",
        "missing_permission",
        "ticket_required",
        "no_ticket_grant",
        "ticket_grants_off",
    ] {
        assert!(run.words.contains_key(word), "the run was too short to meet `{word}`");
    }
    // Of a quick run, not every step need succeed.
    if count >= SHORT[1] {
        run.made_every_step();
    }
    assert_eq!(run.desk.reached(), run.words["200"], "Console gets what is let in, and nothing else");
    crate::verifies_beside(&run.desk.gate, &["rbac_break_glass_sessions"]);
}

impl Run {
    /// Panics unless each kind of step has succeeded once.
    fn made_every_step(&self) {
        let made: BTreeSet<&str> =
            self.steps.keys().filter(|(_, succeeded)| *succeeded).map(|(name, _)| *name).collect();
        for step in [
            "direct", "timed", "end", "ask", "approve", "deny", "withdraw", "ticket", "close", "glass",
            "turn",
        ] {
            assert!(made.contains(step), "the run was too short for `{step}`: {made:?}");
        }
    }

    async fn new(desk: Desk, seed: u64) -> Run {
        let mut model = Model::new();
        for ticket in TICKETS {
            desk.freescout.open(ticket);
            model.open.insert(ticket);
        }
        for approver in APPROVERS {
            model.grants.push(membership(approver, DECIDERS));
        }
        let random = Random::new(seed);
        let (steps, words, first_shown) = <_>::default();
        let mut run = Run { desk, model, random, history: Vec::new(), steps, words, first_shown };
        run.compare().await;
        run
    }

    /// One change, by somebody, of something.
    async fn step(&mut self) {
        self.leave_the_edge().await;
        match self.random.below(100) {
            0..5 => self.direct().await,
            5..19 => self.timed().await,
            19..30 => self.end().await,
            30..40 => self.ask().await,
            40..52 => self.approve().await,
            52..55 => self.deny().await,
            55..59 => self.withdraw().await,
            59..68 => self.ticket().await,
            68..71 => self.end_ticket().await,
            71..75 => self.close().await,
            75..79 => self.reopen(),
            79..86 => self.glass().await,
            86..88 => self.end_glass().await,
            88..90 => self.edit().await,
            90..91 => self.switch().await,
            91..92 => self.kill().await,
            92..94 => self.around().await,
            _ => self.turn().await,
        }
    }

    /// Notes a step: what happened must be what the model says.
    fn did(
        &mut self,
        step: &'static str,
        words: impl std::fmt::Display,
        expected: bool,
        happened: bool,
        said: &str,
    ) {
        self.history.push(format!("{step} {words}{}", if happened { "" } else { " (refused)" }));
        *self.steps.entry((step, happened)).or_default() += 1;
        assert!(
            expected == happened,
            "{step} {words}: should it succeed? {expected}; it said {said}\n{}",
            self.tail()
        );
    }

    fn tail(&self) -> String {
        let from = self.history.len().saturating_sub(SHOWN);
        format!("--- the last steps ---\n{}", self.history[from..].join("\n"))
    }

    fn subject(&mut self) -> &'static str {
        self.random.pick(&SUBJECTS)
    }

    fn anybody(&mut self) -> &'static str {
        match self.random.below(3) {
            0 => self.subject(),
            _ => self.random.pick(&APPROVERS),
        }
    }

    /// Few of them most of the time, so that somebody has several grants of one.
    fn group(&mut self) -> &'static str {
        if self.random.chance(60) { self.random.pick(&["blue", "green"]) } else { self.random.pick(&GROUPS) }
    }

    async fn direct(&mut self) {
        let (who, group) = (self.subject(), self.group());
        let body = json!({ "user": who, "group": group, "reason": "RAXX-7" });
        let answer = self.desk.api(OPERATOR, "POST", "/api/rbac/grants", &body).await;
        let is_new = !self.is_member(who, group);
        if GUARDED.contains(&group) && is_new {
            self.did("guarded", format!("{who} {group}"), false, answer.status == 201, &said(&answer));
            self.join_around(who, group).await;
            return;
        }
        if is_new {
            self.model.grants.push(membership(who, group));
        }
        let expected = if is_new { 201 } else { 200 };
        self.did("direct", format!("{who} {group}"), true, answer.status == expected, &said(&answer));
    }

    fn is_member(&self, who: &str, group: &str) -> bool {
        let is = |one: &Grant| {
            (one.who, one.group, one.origin, one.is_ended) == (who, group, Origin::Direct, false)
        };
        self.model.grants.iter().any(is)
    }

    async fn timed(&mut self) {
        let (who, group) = (self.subject(), self.group());
        let ends = self.desk.later(self.random.pick(&[20, 60, 90, 240, 600]));
        let body = json!({ "user": who, "group": group, "reason": "RAXX-7", "until": ends });
        let answer = self.desk.api(OPERATOR, "POST", "/api/rbac/grants", &body).await;
        if GUARDED.contains(&group) {
            self.did("guarded", format!("{who} {group}"), false, answer.status == 201, &said(&answer));
            return;
        }
        let id = answer.json()["id"].as_str().unwrap_or_default().to_owned();
        let grant = Grant { id, origin: Origin::Timed, who, group, ends: Some(ends), is_ended: false };
        self.model.grants.push(grant);
        self.did("timed", format!("{who} {group} until {ends}"), true, answer.status == 201, &said(&answer));
    }

    /// Ends one grant, live or not, of those that ever were.
    async fn end(&mut self) {
        let now = self.desk.now();
        let of_subjects = self.model.grants.iter().filter(|grant| SUBJECTS.contains(&grant.who));
        let all: Vec<Grant> = of_subjects.cloned().collect();
        let is_live = |grant: &&Grant| !grant.is_ended && grant.ends.is_none_or(|end| now < end);
        let live: Vec<Grant> = all.iter().filter(is_live).cloned().collect();
        let limited: Vec<Grant> = live.iter().filter(|grant| grant.ends.is_some()).cloned().collect();
        let from = match self.random.below(100) {
            0..60 if !limited.is_empty() => limited,
            0..85 if !live.is_empty() => live,
            _ => all,
        };
        if from.is_empty() {
            return;
        }
        let id = self.random.pick(&from).id;
        let answer = self.desk.api(OPERATOR, "DELETE", &format!("/api/rbac/grants/{id}"), &Value::Null).await;
        let mut words = id.clone();
        for grant in self.model.grants.iter_mut().filter(|grant| grant.id == id) {
            grant.is_ended = true;
            words = format!("{:?} {} {} {id}", grant.origin, grant.who, grant.group);
        }
        self.did("end", words, true, answer.status == 204, &said(&answer));
    }

    async fn ask(&mut self) {
        let (who, group) =
            (self.subject(), self.random.pick(&["blue", "green", "green", "red", PLATFORM, GLASS]));
        let by = if self.random.chance(75) { who } else { self.anybody() };
        let minutes = self.random.pick(&[20, 45, 60, 90, 121]);
        let body =
            json!({ "user": who, "group": group, "for": format!("{minutes}m"), "reason": "an incident" });
        let answer = self.desk.api(by, "POST", "/api/rbac/requests", &body).await;
        let made = self.desk.now();
        let expected = self.model.may_ask((by, who), group, minutes, made);
        if expected {
            let id = answer.json()["id"].as_str().unwrap_or_default().to_owned();
            let (state, approvals) = (State::Pending, BTreeMap::new());
            self.model.requests.push(Request { id, who, by, group, minutes, made, state, approvals });
        }
        let words = format!("{by} for {who}: {group} for {minutes}m");
        self.did("ask", words, expected, answer.status == 201, &said(&answer));
    }

    /// One of the requests, of those that wait mostly.
    fn request(&mut self) -> Option<usize> {
        let waiting: Vec<usize> = (0..self.model.requests.len())
            .filter(|place| self.model.requests[*place].state == State::Pending)
            .collect();
        match waiting.as_slice() {
            [] if self.model.requests.is_empty() => None,
            [] => Some(self.random.below(self.model.requests.len())),
            _ if self.random.chance(10) => Some(self.random.below(self.model.requests.len())),
            waiting => Some(self.random.pick(waiting)),
        }
    }

    async fn approve(&mut self) {
        let Some(place) = self.request() else { return };
        let request = self.model.requests[place].clone();
        let by = self.anybody();
        let target = format!("/api/rbac/requests/{}", request.id);
        // Who asked may always look.
        let look = self.desk.api(request.by, "GET", &target, &Value::Null).await;
        let current = look.json()["impact_sha256"].as_str().unwrap_or_default().to_owned();
        let first = self.first_shown.entry(request.id.clone()).or_insert_with(|| current.clone()).clone();
        let shown = if self.random.chance(15) { first } else { current.clone() };
        let body = json!({ "impact_sha256": shown });
        let answer = self.desk.api(by, "POST", &format!("{target}/approve"), &body).await;
        let now = self.desk.now();
        let expected = self.model.approve(place, by, &shown, &current, now);
        let happened = match (answer.status, answer.json()["state"].as_str()) {
            (200, Some("approved")) => Approved::Granted,
            (200, Some("pending")) => Approved::Counted,
            _ => Approved::Refused,
        };
        let words =
            format!("{by}: {} for {} until {}m: {expected:?}", request.group, request.who, request.minutes);
        let refused = expected == Approved::Refused;
        assert_eq!(expected, happened, "{words}: {}\n{}", said(&answer), self.tail());
        if expected == Approved::Granted {
            let id = answer.json()["grant"].as_str().unwrap_or_default().to_owned();
            let shown =
                self.desk.api(OPERATOR, "GET", &format!("/api/rbac/grants/{id}"), &Value::Null).await.json();
            let ends = shown["ends_at_utc"].as_str().and_then(|text| text.parse().ok());
            let ends: model::Time = ends.unwrap_or_else(|| panic!("{shown}"));
            let late = ends - now - TimeDelta::minutes(request.minutes);
            assert!(late.abs() < TimeDelta::seconds(30), "asked for {} minutes: {shown}", request.minutes);
            let (who, group) = (request.who, request.group);
            let grant = Grant { id, origin: Origin::Request, who, group, ends: Some(ends), is_ended: false };
            self.model.grants.push(grant);
        }
        self.did("approve", words, !refused, !refused, "");
    }

    async fn deny(&mut self) {
        let Some(place) = self.request() else { return };
        let (id, by) = (self.model.requests[place].id.clone(), self.anybody());
        let answer = self.desk.api(by, "POST", &format!("/api/rbac/requests/{id}/deny"), &json!({})).await;
        let expected = self.model.may_decide(place, by, self.desk.now());
        if expected {
            self.model.requests[place].state = State::Denied;
        }
        self.did("deny", format!("{by} {id}"), expected, answer.status == 200, &said(&answer));
    }

    async fn withdraw(&mut self) {
        let Some(place) = self.request() else { return };
        let request = self.model.requests[place].clone();
        let by = if self.random.chance(70) { request.who } else { self.anybody() };
        let target = format!("/api/rbac/requests/{}/withdraw", request.id);
        let answer = self.desk.api(by, "POST", &target, &json!({})).await;
        let expected = self.model.may_withdraw(place, by, self.desk.now());
        if expected {
            self.model.requests[place].state = State::Withdrawn;
        }
        self.did("withdraw", format!("{by} {}", request.id), expected, answer.status == 200, &said(&answer));
    }

    async fn ticket(&mut self) {
        let (who, role) = (self.subject(), self.random.pick(&["t-desk", "t-lead", "r-reader"]));
        let (ticket, customer) = (self.random.pick(&TICKETS), self.random.pick(&CUSTOMERS));
        let (number, of) = (ticket.to_string(), customer.to_string());
        let mut arguments =
            vec!["ticket", "grant", who, role, "--ticket", &number, "--customer", &of, "--format", "json"];
        if self.random.chance(50) {
            arguments.extend(["--until", self.random.pick(&["20m", "2h"])]);
        }
        let (succeeded, printed, error) = self.desk.command(&arguments).await;
        let expected = self.model.open.contains(&ticket);
        if expected {
            let change = &printed["changes"][0];
            let id = change["id"].as_str().unwrap_or_default().to_owned();
            let ends = change["ends"].as_str().and_then(|text| text.parse().ok());
            assert_eq!(ends.is_some(), arguments.contains(&"--until"), "{printed}");
            self.model.tickets.push(TicketGrant { id, who, role, ticket, customer, ends, is_ended: false });
        }
        self.did("ticket", arguments[2..].join(" "), expected, succeeded, &error);
    }

    async fn end_ticket(&mut self) {
        let live: Vec<usize> =
            (0..self.model.tickets.len()).filter(|place| !self.model.tickets[*place].is_ended).collect();
        if live.is_empty() {
            return;
        }
        let place = self.random.pick(&live);
        let id = self.model.tickets[place].id.clone();
        let (succeeded, _, error) = self.desk.command(&["ticket", "end", &id]).await;
        let now = self.desk.now();
        // A gate may have noted the end of one whose time is over.
        let is_live = self.model.tickets[place].ends.is_none_or(|end| now < end);
        self.model.tickets[place].is_ended = true;
        self.did("end-ticket", id, is_live || succeeded, succeeded, &error);
    }

    async fn close(&mut self) {
        let open: Vec<u64> = self.model.open.iter().copied().collect();
        if open.is_empty() {
            return;
        }
        let (ticket, way) = (self.random.pick(&open), self.random.below(5));
        let (event, body) = self.desk.close(ticket, way);
        if self.random.chance(50) {
            self.desk.webhook(event, &body).await;
        } else {
            // Nobody says so: the first request that names it finds out, or the look at all tickets.
            self.model.open.remove(&ticket);
            self.compare().await;
            let (looked, _, error) = self.desk.command(&["ticket", "check", "--end"]).await;
            assert!(looked, "{error}");
        }
        self.model.close(ticket);
        self.did("close", format!("{ticket} {event}"), true, true, "");
    }

    fn reopen(&mut self) {
        let closed: Vec<u64> =
            TICKETS.into_iter().filter(|ticket| !self.model.open.contains(ticket)).collect();
        if closed.is_empty() {
            return;
        }
        let ticket = self.random.pick(&closed);
        self.desk.freescout.open(ticket);
        self.model.open.insert(ticket);
        self.did("reopen", ticket.to_string(), true, true, "");
    }

    /// A session that somebody writes into the table, however far beyond the rules.
    async fn glass(&mut self) {
        let (who, id) = (self.subject(), format!("session-{}", self.model.sessions.len()));
        let starts = self.desk.later(self.random.pick(&[-300, -60, -5, 0, 0, 30]));
        let ends = starts + TimeDelta::minutes(self.random.pick(&[60, 90, 240, 600, 5_256_000]));
        self.desk
            .world
            .execute(&format!(
                "INSERT INTO rbac_break_glass_sessions
                        (id, user_id, justification, granted_by, granted_at_utc, expires_at_utc)
                 VALUES ('{id}', '{who}', 'the pager says so, twice', 'self', {}, {})",
                literal(starts),
                literal(ends)
            ))
            .await;
        self.model.sessions.push(Session { id, who, starts, ends, is_ended: false });
        self.did("glass", format!("{who} from {starts} until {ends}"), true, true, "");
    }

    async fn end_glass(&mut self) {
        let live: Vec<usize> =
            (0..self.model.sessions.len()).filter(|place| !self.model.sessions[*place].is_ended).collect();
        if live.is_empty() {
            return;
        }
        let place = self.random.pick(&live);
        let (id, now) = (self.model.sessions[place].id.clone(), literal(self.desk.now()));
        let end = format!("UPDATE rbac_break_glass_sessions SET revoked_at_utc = {now} WHERE id = '{id}'");
        self.desk.world.execute(&end).await;
        self.model.sessions[place].is_ended = true;
        self.did("end-glass", id, true, true, "");
    }

    /// A role of a group comes or goes.
    async fn edit(&mut self) {
        let edge = (self.random.pick(&GROUPS), self.random.pick(&ROLES));
        let is_new = self.model.group_roles.insert(edge);
        if !is_new {
            self.model.group_roles.remove(&edge);
        }
        let method = if is_new { "PUT" } else { "DELETE" };
        let answer = self.desk.edit(method, edge.0, edge.1).await;
        let happened = (200..300).contains(&answer.status);
        self.did("edit", format!("{method} {edge:?}"), true, happened, &said(&answer));
    }

    async fn switch(&mut self) {
        let on = !self.model.tickets_count;
        let word = if on { "on" } else { "off" };
        let (thrown, _, error) = self.desk.command(&["flag", "ticket-grants", word]).await;
        self.model.tickets_count = on;
        self.did("switch", word.to_owned(), true, thrown, &error);
        if !on {
            self.compare().await;
            // Not for long: nothing else would be seen of tickets.
            let (thrown, _, error) = self.desk.command(&["flag", "ticket-grants", "on"]).await;
            self.model.tickets_count = true;
            self.did("switch", "on".to_owned(), true, thrown, &error);
        }
    }

    /// Nothing that was answered may be lost.
    async fn kill(&mut self) {
        self.desk.gate.kill();
        self.desk.gate.restart().await;
        self.did("kill", String::new(), true, true, "");
    }

    /// Console, or somebody with a database client, writes a membership around the gate.
    async fn around(&mut self) {
        let (who, group) = (self.subject(), self.random.pick(&GROUPS));
        if self.is_member(who, group) {
            let ids = "SELECT id FROM rbac_groups WHERE name";
            let leave = format!(
                "DELETE FROM rbac_user_groups WHERE user_id = '{who}' AND group_id = ({ids} = '{group}')"
            );
            self.desk.world.execute(&leave).await;
            let id = direct(who, group);
            self.model
                .grants
                .iter_mut()
                .filter(|grant| grant.id == id)
                .for_each(|grant| grant.is_ended = true);
        } else {
            self.join_around(who, group).await;
        }
        self.did("around", format!("{who} {group}"), true, true, "");
    }

    async fn join_around(&mut self, who: &'static str, group: &'static str) {
        let join = format!(
            "INSERT INTO rbac_user_groups (user_id, group_id, granted_by)
             SELECT '{who}', id, 'console' FROM rbac_groups WHERE name = '{group}'"
        );
        self.desk.world.execute(&join).await;
        self.model.grants.push(membership(who, group));
    }

    async fn turn(&mut self) {
        let minutes = self.random.pick(&[6, 15, 15, 40, 40, 100, 300]);
        // Now and then until the requests expire that nobody decided.
        let minutes = if self.random.chance(4) { 7 * 24 * 60 } else { minutes };
        self.desk.turn(TimeDelta::minutes(minutes)).await;
        self.did("turn", format!("{minutes}m"), true, true, "");
    }

    /// Goes on to a moment at which nothing is about to begin or end.
    async fn leave_the_edge(&mut self) {
        loop {
            let now = self.desk.now();
            if !self.model.edges().any(|edge| (edge - now).abs() < MARGIN) {
                return;
            }
            self.desk.turn(MARGIN * 2).await;
        }
    }

    /// Asks everything as everybody.
    async fn compare(&mut self) {
        self.leave_the_edge().await;
        let now = self.desk.now();
        let answers = self.desk.answers().await;
        for (who, words) in answers {
            for (target, word) in self.desk.targets.iter().zip(words) {
                let expected = self.model.expected(who, target, now);
                assert!(
                    expected.contains(&word.as_str()),
                    "{who} {}: {word}, and the model says {expected:?}, at {now}\n{}\n{:#?}",
                    target.path,
                    self.tail(),
                    self.model
                        .grants
                        .iter()
                        .filter(|grant| grant.who == who && !grant.is_ended)
                        .collect::<Vec<_>>(),
                );
                *self.words.entry(word).or_default() += 1;
            }
        }
        let live = |ends: Option<model::Time>, is_ended: bool| !is_ended && ends.is_none_or(|end| now < end);
        let tickets = self.model.tickets.iter().map(|grant| &grant.id);
        let others: BTreeSet<&String> =
            tickets.chain(self.model.sessions.iter().map(|session| &session.id)).collect();
        for who in SUBJECTS {
            let of = self.model.grants.iter().filter(|grant| grant.who == who);
            let live = of.filter(|grant| live(grant.ends, grant.is_ended));
            let mut expected: Vec<&String> = live.map(|grant| &grant.id).collect();
            expected.sort();
            let listed = self.desk.live(who).await;
            let listed: Vec<&String> = listed.iter().filter(|id| !others.contains(id)).collect();
            assert_eq!(listed, expected, "the grants of {who}, as the API lists them\n{}", self.tail());
        }
    }
}

fn membership(who: &'static str, group: &'static str) -> Grant {
    Grant { id: direct(who, group), origin: Origin::Direct, who, group, ends: None, is_ended: false }
}

fn said(answer: &crate::support::Answer) -> String {
    format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))
}
