//! Two gates, each with a database of its own and the same people in it: one runs the old mapping, one the new.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use crate::callers::{Authorization, Caller, Cookie};
use crate::decision_model::Switches;
use crate::format::Mapping;
use crate::mappings::MARKER_PATH;
use crate::scenario::Request;
use crate::stand_in::{FIELD, StandIn};
use crate::support::{Answer, Ask, Client, Database, Gate, Setup, World as Home};
use crate::world::{API_TOKEN, MARKER, World, secret_of};
use crate::world_sql::{session_id, statements};

const LIMIT: Duration = Duration::from_secs(60);
/// Connections over which a gate is asked at once.
const CALLERS: usize = 16;
const SECTIONS: &str = "[api]\ncallers = [\"machine t-api\"]\nper_minute = 1000000000\n";
const WITH_SESSIONS: &str = "session_id_key = \"sid\"\n";
/// The key that the gate and `verify` share.
const PROBE_KEYS: &str = "probe:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
/// What a gate starts with, before the first scenario.
const EMPTY: &str = "version = 1\nunmapped = \"deny\"\n";

/// The response that a caller got.
#[derive(Clone, Debug)]
pub struct Seen {
    pub status: u16,
    /// Whether Console had the request.
    pub reached: bool,
    /// Whether htmx got the address to log in.
    pub to_login: bool,
    /// The reason of a 403, where it has one.
    pub reason: Option<String>,
}

/// What every caller saw of every request: by the request's number, then the caller's.
pub type Answers = Vec<Vec<Seen>>;

/// Where the gates run.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub database: Database,
    pub production: bool,
    pub keeps_sessions: bool,
}

pub struct Bench {
    pub old: Side,
    pub new: Side,
}

impl Bench {
    pub async fn start(place: Place) -> Bench {
        Bench { old: Side::start(place).await, new: Side::start(place).await }
    }
}

/// One gate.
pub struct Side {
    pub home: Home,
    pub gate: Gate,
    stand_in: StandIn,
    place: Place,
}

impl Side {
    async fn start(place: Place) -> Side {
        let home = Home::new(place.database).await;
        let stand_in = StandIn::start(home.folder());
        let setup = Setup {
            environment: if place.production { "production" } else { "staging" },
            upstream: Some(stand_in.socket()),
            mapping: Some(EMPTY),
            sections: SECTIONS,
            session: if place.keeps_sessions { WITH_SESSIONS } else { "" },
            variables: Some(vec![("CONSOLE_GATE_PROBE_KEYS", PROBE_KEYS.to_owned())]),
            ..Setup::V2
        };
        let gate = home.gate(&setup).await;
        Side { home, gate, stand_in, place }
    }

    /// Puts people into the database, forgets what was logged, and throws the switches. When it returns, the gate acts
    /// on all of it: the command that flips the flag waits for that.
    pub async fn install(&self, world: &World, switches: Switches) {
        self.home.execute(&statements(world)).await;
        self.home.execute("DELETE FROM gate_decisions; DELETE FROM gate_drift_events").await;
        let environment = if switches.promoted { "production" } else { "staging" };
        let promote = format!(
            "UPDATE console_flag_promotions SET current_env = '{environment}' WHERE flag = 'FLAG_RBAC_V2'"
        );
        self.home.execute(&promote).await;
        self.gate.run(&["flag", "rbac-v2", if switches.flag { "on" } else { "off" }]);
    }

    /// Has the gate run this mapping.
    ///
    /// # Errors
    ///
    /// The gate refuses it: what `check` prints.
    pub async fn swap(&self, mapping: &Mapping) -> Result<(), String> {
        let text = mapping.text();
        let sha256: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
        if self.running().await == sha256 {
            return Ok(());
        }
        let file = self.gate.mapping_file();
        let new = file.with_extension("new");
        std::fs::write(&new, &text).expect("a file");
        std::fs::rename(&new, &file).expect("a swap");
        self.gate.signal("HUP");
        let begun = Instant::now();
        let mut checked = false;
        while self.running().await != sha256 {
            if begun.elapsed() > Duration::from_secs(2) && !checked {
                checked = true;
                let name = file.display().to_string();
                let (_, output) = self.gate.attempt(&["check", &name, "--deny", "error"]);
                if output.contains("refused") {
                    return Err(output);
                }
            }
            assert!(begun.elapsed() < LIMIT, "the mapping is not taken up:\n{text}\n{}", self.gate.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// The sum of the mapping that runs.
    async fn running(&self) -> String {
        let (_, answer) = self.api("/api/gate/mapping").await;
        answer["sha256"].as_str().unwrap_or_default().to_owned()
    }

    /// Asks the gate's API.
    pub async fn api(&self, target: &str) -> (u16, Value) {
        let ask = Ask::get(target).bearer(&secret_of(API_TOKEN));
        let answer = Client::to(&self.gate.admin_socket()).send(&ask).await;
        (answer.status, answer.json())
    }

    /// Asks everything as everybody, over several connections.
    pub async fn ask_all(&self, callers: &[Caller], requests: &[Request]) -> Answers {
        let credentials: Arc<Vec<Vec<(&'static str, String)>>> =
            Arc::new(callers.iter().map(|caller| self.credentials(caller)).collect());
        let mut asking = JoinSet::new();
        let chunk = requests.len().div_ceil(CALLERS).max(1);
        for (number, requests) in requests.chunks(chunk).enumerate() {
            let (requests, credentials) = (requests.to_vec(), credentials.clone());
            let mut client = self.gate.client();
            asking.spawn(async move {
                let mut answers = Vec::new();
                for request in requests {
                    let mut row = Vec::new();
                    for fields in credentials.iter() {
                        row.push(seen(&client.send(&ask(&request, fields)).await));
                    }
                    answers.push(row);
                }
                (number, answers)
            });
        }
        let mut chunks = BTreeMap::new();
        while let Some(done) = asking.join_next().await {
            let (number, answers) = done.expect("a caller does not panic");
            chunks.insert(number, answers);
        }
        chunks.into_values().flatten().collect()
    }

    fn credentials(&self, caller: &Caller) -> Vec<(&'static str, String)> {
        let mut fields = vec![("accept", "application/json".to_owned())];
        let payload = |id: &str| match self.place.keeps_sessions {
            true => json!({ "admin_id": id, "sid": session_id(id) }),
            false => json!({ "admin_id": id }),
        };
        let now = Utc::now();
        let cookie = caller.cookie.as_ref().map(|cookie| match cookie {
            Cookie::Of(id) => self.home.sign(&payload(id), now),
            Cookie::Old(id) => self.home.sign(&payload(id), now - TimeDelta::days(40)),
            Cookie::OfNobody => self.home.sign(&json!({ "theme": "dark" }), now),
            Cookie::Forged(id) => {
                let sound = self.home.sign(&payload(id), now);
                let (signed, signature) = sound.rsplit_once('.').expect("payload, time and signature");
                format!("{signed}.{}", signature.chars().rev().collect::<String>())
            }
        });
        fields.extend(cookie.map(|cookie| ("cookie", format!("session={cookie}"))));
        let authorization = caller.authorization.as_ref().map(|authorization| match authorization {
            Authorization::Token(id) => format!("Bearer {}", secret_of(id)),
            Authorization::UnknownToken => format!("Bearer {}", secret_of("unknown")),
            Authorization::Basic => "Basic YW5uYTpzZWNyZXQ=".to_owned(),
        });
        fields.extend(authorization.map(|value| ("authorization", value)));
        if caller.signature {
            fields.push(("x-hub-signature", "sha256=00".to_owned()));
        }
        fields
    }

    /// How many requests have reached Console.
    pub fn reached(&self) -> usize {
        self.stand_in.reached()
    }

    /// How many denials the audit has: rows, and those that a row is to count.
    pub async fn denials(&self) -> i64 {
        let repeated = self.gate.metric("gate_denials_repeated_total").await.expect("the metric");
        #[expect(clippy::cast_possible_truncation, reason = "a count of this test's own requests")]
        let repeated = repeated as i64;
        self.denial_rows().await + repeated
    }

    async fn denial_rows(&self) -> i64 {
        let count = "SELECT count(*) FROM gate_audit_events WHERE event_type = 'access_denied'";
        if self.home.database_url.starts_with("sqlite:") {
            use sqlx::Connection as _;
            let mut connection =
                sqlx::SqliteConnection::connect(&self.home.database_url).await.expect("SQLite");
            sqlx::query_scalar(count).fetch_one(&mut connection).await.expect("a count")
        } else {
            use sqlx::Connection as _;
            let mut connection =
                sqlx::PgConnection::connect_with(&self.home.around()).await.expect("Postgres");
            sqlx::query_scalar(count).fetch_one(&mut connection).await.expect("a count")
        }
    }

    /// Waits until the logs have everything that was asked so far. A first marker shows that its batch is being written,
    /// in no order; a second one, which is in a later batch, that the first is complete.
    pub async fn wait_for_the_logs(&self, switches: Switches) {
        for _ in 0..2 {
            let before = self.marks(switches).await;
            let ask = Ask::get(MARKER_PATH).header("cookie", self.cookie_of(&Caller::admin(MARKER)));
            let answer = self.gate.send(&ask).await;
            assert_eq!(answer.status, 200, "the marker has the legacy role of its row");
            let begun = Instant::now();
            while self.marks(switches).await == before {
                assert!(begun.elapsed() < LIMIT, "the logs lack the marker:\n{}", self.gate.log());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// How often both logs have the marker: the decision log, and the drift where there is any.
    async fn marks(&self, switches: Switches) -> i64 {
        let since = Utc::now() - TimeDelta::days(1);
        let logged = self.home.store.decisions(since).await.expect("the decision log");
        let drifted = self.home.store.drift().await.expect("the drift rows");
        let logged: i64 = logged.iter().filter(|one| one.path == MARKER_PATH).map(|one| one.count).sum();
        let is_marked = |actor: &str, route: &str| actor == MARKER && route.ends_with(MARKER_PATH);
        let drifted = drifted.iter().filter(|one| is_marked(&one.actor_id, &one.route)).map(|one| one.count);
        if switches.flag { logged.min(drifted.sum()) } else { logged }
    }

    fn cookie_of(&self, caller: &Caller) -> String {
        let fields = self.credentials(caller);
        fields.into_iter().find(|(name, _)| *name == "cookie").expect("it has a cookie").1
    }
}

fn ask(request: &Request, fields: &[(&'static str, String)]) -> Ask {
    let mut ask = Ask::new(request.method, &request.path);
    for (name, value) in fields {
        ask = ask.header(name, value.clone());
    }
    if request.htmx {
        ask = ask.header("hx-request", "true");
    }
    if request.upgrade {
        let handshake = [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        for (name, value) in handshake {
            ask = ask.header(name, value);
        }
    }
    if let Some(content_type) = request.body.content_type {
        ask = ask.header("content-type", content_type);
    }
    ask.body(request.body.bytes.clone())
}

fn seen(answer: &Answer) -> Seen {
    let problem = answer.json();
    let reason = problem["type"].as_str().and_then(|word| word.strip_prefix("urn:console-gate:"));
    Seen {
        status: answer.status,
        reached: !answer.header(FIELD).is_empty(),
        to_login: !answer.header("hx-redirect").is_empty(),
        reason: reason.map(str::to_owned),
    }
}
