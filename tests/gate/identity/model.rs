//! A model of sessions and passkeys, written from docs/identity.md, against the running gate with a clock that is turned.
//!
//! It knows who is active, which tokens were given out, when each was last used and when its passkey last signed, and says of
//! every token what a page answers. `GATE_STEPS` sets the number of steps (200), `GATE_SEED` what is drawn.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;

const IDLE: TimeDelta = TimeDelta::minutes(30);
const ABSOLUTE: TimeDelta = TimeDelta::minutes(120);
/// `step_up` of the row /danger.
const FRESH: TimeDelta = TimeDelta::minutes(15);
const MOST: usize = 3;
/// A use within a minute of the last one that counted does not move the end.
const SLIDES: TimeDelta = TimeDelta::seconds(60);
/// How near to an end the model says nothing: the clock goes on while a request is under way.
const NEAR: TimeDelta = TimeDelta::seconds(20);

/// A session that was given out.
#[derive(Clone, Debug)]
struct Session {
    token: String,
    admin: usize,
    began: DateTime<Utc>,
    /// The use that moved the idle end last.
    used: DateTime<Utc>,
    signed: DateTime<Utc>,
    has_ended: bool,
}

impl Session {
    fn end(&self) -> DateTime<Utc> {
        (self.used + IDLE).min(self.began + ABSOLUTE)
    }
}

struct Model {
    scene: Scene,
    admins: [&'static str; 2],
    active: [bool; 2],
    browsers: [Browser; 2],
    sessions: Vec<Session>,
    /// What the clock is turned by, in minutes.
    turned: i64,
    random: StdRng,
    seed: u64,
    step: u64,
    compared: u64,
    /// What was done, for who looks for a difference.
    trace: Vec<String>,
}

impl Model {
    async fn new(database: Database, seed: u64) -> Model {
        let terms = "idle_minutes = 30\nabsolute_minutes = 120\nsessions_per_admin = 3\n";
        let scene = Scene::with(database, terms).await;
        let browsers = [scene.enrolled("anna").await, scene.enrolled("ben").await];
        Model {
            scene,
            admins: ["anna", "ben"],
            active: [true, true],
            browsers,
            sessions: Vec::new(),
            turned: 0,
            random: StdRng::seed_from_u64(seed),
            seed,
            step: 0,
            compared: 0,
            trace: Vec::new(),
        }
    }

    fn now(&self) -> DateTime<Utc> {
        Utc::now() + TimeDelta::minutes(self.turned)
    }

    fn is_live(&self, session: &Session, now: DateTime<Utc>) -> bool {
        !session.has_ended && self.active[session.admin] && now < session.end()
    }

    fn is_near_an_end(&self, session: &Session, now: DateTime<Utc>) -> bool {
        let near = |end: DateTime<Utc>| (end - now).abs() < NEAR;
        near(session.end()) || near(session.signed + FRESH)
    }

    fn context(&self) -> String {
        let last = self.trace.len().saturating_sub(12);
        format!(
            "seed {}, step {}, {} min\n{}\n",
            self.seed,
            self.step,
            self.turned,
            self.trace[last..].join("\n")
        )
    }

    /// What a page, and one that asks for a fresh passkey, answer to a token.
    async fn compare(&mut self, index: usize) {
        let now = self.now();
        let session = self.sessions[index].clone();
        if self.is_near_an_end(&session, now) {
            return;
        }
        let is_live = self.is_live(&session, now);
        let cookie = format!("{SESSION}={}", session.token);
        let page = self.scene.gate.send(&Ask::get("/api/home").header("cookie", cookie.clone())).await;
        assert_eq!(page.status, if is_live { 200 } else { 401 }, "{}: {session:?}", self.context());
        if is_live && now - session.used >= SLIDES {
            self.note(format!("session {index} is used"));
            self.sessions[index].used = now;
        }
        let expected = match is_live {
            false => (302, "/auth/login?next=/danger"),
            true if now - session.signed <= FRESH => (200, ""),
            true => (302, "/auth/step-up?next=/danger"),
        };
        let ask = Ask::get("/danger").header("cookie", cookie).header("accept", "text/html");
        let danger = self.scene.gate.send(&ask).await;
        assert_eq!((danger.status, danger.header("location")), expected, "{}: {session:?}", self.context());
        self.compared += 2;
    }

    /// The live sessions of an admin, none of which is near its end.
    fn live(&self, admin: usize) -> Option<Vec<usize>> {
        let now = self.now();
        let of_admin = (0..self.sessions.len()).filter(|index| self.sessions[*index].admin == admin);
        let known: Vec<usize> = of_admin.filter(|index| !self.sessions[*index].has_ended).collect();
        if known.iter().any(|index| self.is_near_an_end(&self.sessions[*index], now)) {
            return None;
        }
        Some(known.into_iter().filter(|index| self.is_live(&self.sessions[*index], now)).collect())
    }

    fn note(&mut self, what: String) {
        let at = self.now().format("%H:%M:%S");
        self.trace.push(format!("{at}  step {}: {what}", self.step));
    }

    async fn log_in(&mut self, admin: usize) {
        let Some(mut live) = self.live(admin) else { return };
        // Those that were used longest ago end, beyond the most. Which those are is clear after a while alone.
        live.sort_by_key(|index| self.sessions[*index].used);
        let over = (live.len() + 1).saturating_sub(MOST);
        let used = |place: usize| self.sessions[live[place]].used;
        if over > 0 && over < live.len() && used(over) - used(over - 1) < TimeDelta::seconds(30) {
            return;
        }
        self.settle().await;
        let browser = &mut self.browsers[admin];
        browser.cookies.retain(|(name, _)| name != SESSION);
        let asked = browser.challenge(&self.scene.gate, "login").await;
        let answer = browser.signed(&asked);
        let login = browser.post(&self.scene.gate, "/passkey/login", &answer).await;
        assert_eq!(login.status, if self.active[admin] { 200 } else { 401 }, "{}", self.context());
        let again = browser.post(&self.scene.gate, "/passkey/login", &answer).await;
        assert_eq!(again.status, 401, "{}: the same answer again", self.context());
        if !self.active[admin] {
            return;
        }
        let (token, now) = (self.browsers[admin].token().to_owned(), self.now());
        self.note(format!("login of {admin}: session {}, live {live:?}, {over} over", self.sessions.len()));
        for index in &live[..over] {
            self.sessions[*index].has_ended = true;
        }
        self.sessions.push(Session { token, admin, began: now, used: now, signed: now, has_ended: false });
    }

    async fn step_up(&mut self, index: usize) {
        let now = self.now();
        let session = self.sessions[index].clone();
        if self.is_near_an_end(&session, now) {
            return;
        }
        let browser = &mut self.browsers[session.admin];
        browser.keep(SESSION, &session.token);
        let ask = json!({ "purpose": "step_up" });
        let asked = browser.post(&self.scene.gate, "/passkey/challenge", &ask).await;
        let is_live = self.is_live(&session, now);
        assert_eq!(asked.status, if is_live { 200 } else { 401 }, "{}: {session:?}", self.context());
        if !is_live {
            return;
        }
        let browser = &mut self.browsers[session.admin];
        let answer = browser.signed(&asked.json());
        let signed = browser.post(&self.scene.gate, "/passkey/step-up", &answer).await;
        assert_eq!(signed.status, 200, "{}: {}", self.context(), text(&signed));
        let (token, now) = (self.browsers[session.admin].token().to_owned(), self.now());
        self.note(format!("session {index} steps up: {}", self.sessions.len()));
        self.sessions[index].has_ended = true;
        self.sessions.push(Session { token, began: now, used: now, signed: now, ..session });
    }

    /// Ends sessions by a session: this one, the others, or all.
    async fn end(&mut self, index: usize, which: &str) {
        let now = self.now();
        let session = self.sessions[index].clone();
        if self.is_near_an_end(&session, now) {
            return;
        }
        let is_live = self.is_live(&session, now);
        let browser = &mut self.browsers[session.admin];
        browser.keep(SESSION, &session.token);
        if which == "this" {
            let logout = Ask::new("POST", "/auth/logout").header("origin", ORIGIN);
            assert_eq!(browser.send(&self.scene.gate, logout).await.status, 303);
        } else {
            let path = format!("/sessions?which={which}");
            let ended = browser.ask(&self.scene.gate, "DELETE", &path, &Value::Null).await;
            assert_eq!(
                ended.status,
                if is_live { 204 } else { 401 },
                "{which}, {}: {session:?}",
                self.context()
            );
        }
        if !is_live {
            return;
        }
        self.note(format!("session {index} ends {which}"));
        for (other, one) in self.sessions.iter_mut().enumerate().filter(|(_, one)| one.admin == session.admin)
        {
            one.has_ended |= match which {
                "this" => other == index,
                "others" => other != index,
                _ => true,
            };
        }
    }

    /// Console disables an admin, or takes that back: sessions that did not end meanwhile are theirs again.
    async fn toggle(&mut self, admin: usize) {
        self.active[admin] = !self.active[admin];
        self.note(format!("{admin} is active: {}", self.active[admin]));
        let value = if self.active[admin] { "NULL" } else { "'2026-01-01T00:00:00+00:00'" };
        let id = self.admins[admin];
        self.scene
            .world
            .execute(&format!("UPDATE admins SET disabled_at_utc = {value} WHERE id = '{id}'"))
            .await;
    }

    /// Waits until every use is in the table, then turns the clock.
    async fn turn(&mut self, minutes: i64) {
        self.settle().await;
        self.turned += minutes;
        self.scene.clock.turn(&format!("+{}m", self.turned));
    }

    /// Waits until the table has the last use of every session that lasts.
    async fn settle(&self) {
        let now = self.now();
        // Of disabled admins too: who is enabled again has them again.
        let lasts = |session: &&Session| !session.has_ended && now < session.end();
        let live: Vec<&Session> = self.sessions.iter().filter(lasts).collect();
        for _ in 0..400 {
            let mut stored = Vec::new();
            for id in self.admins {
                stored
                    .extend(self.scene.world.store.sessions_of(id, Utc::now()).await.expect("the sessions"));
            }
            let is_there = |session: &&Session| {
                let near = |at: DateTime<Utc>| (at - session.used).abs() < TimeDelta::seconds(5);
                let place = stored.iter().position(|one| near(one.last_used_at));
                place.map(|place| stored.remove(place)).is_some()
            };
            if live.iter().all(is_there) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("uses do not reach the table: {}", self.context());
    }

    async fn run(&mut self, steps: u64) {
        for step in 0..steps {
            self.step = step;
            let admin = self.random.random_range(0..2);
            let any = (!self.sessions.is_empty()).then(|| self.random.random_range(0..self.sessions.len()));
            let dice = self.random.random_range(0..100);
            match (dice, any) {
                (0..25, _) | (_, None) => self.log_in(admin).await,
                (25..35, Some(one)) => self.step_up(one).await,
                (35..41, Some(one)) => self.end(one, "this").await,
                (41..45, Some(one)) => self.end(one, "others").await,
                (45..48, Some(one)) => self.end(one, "all").await,
                (48..54, _) => self.toggle(admin).await,
                (54..64, _) => {
                    let minutes = self.random.random_range(1..=20);
                    self.turn(minutes).await;
                }
                (_, Some(one)) => self.compare(one).await,
            }
            // The newest ones, which are the likeliest to live.
            for back in 1..=3.min(self.sessions.len()) {
                self.compare(self.sessions.len() - back).await;
            }
        }
    }
}

async fn agrees(database: Database) {
    let number =
        |name: &str, usual| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let mut model = Model::new(database, number("GATE_SEED", 7)).await;
    model.run(number("GATE_STEPS", 200)).await;
    println!(
        "{database:?}: {} answers compared, {} sessions, 0 differences",
        model.compared,
        model.sessions.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_agrees_with_the_model_on_sqlite() {
    agrees(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_agrees_with_the_model_on_postgres() {
    agrees(Database::Postgres).await;
}
