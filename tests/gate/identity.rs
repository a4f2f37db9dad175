//! The gate logs people in: invitations, passkeys, sessions of its own, and what attackers try with them.
//!
//! The passkey is a software authenticator of its own; the browser is this file's, which keeps cookies as a browser does.

mod advisories;
mod model;
mod sessions;

use serde_json::{Value, json};
use webauthn_authenticator_rs::WebauthnAuthenticator as _;
use webauthn_authenticator_rs::prelude::Url;
use webauthn_authenticator_rs::softpasskey::SoftPasskey;

use crate::support::recorder::Recorder;
use crate::support::turned::Turned;
use crate::support::{Answer, Ask, Database, Gate, Setup, World};

const BOTH: [Database; 2] = [Database::Sqlite, Database::Postgres];
const API: &str = "/api/v1/auth";
const SESSION: &str = "__Host-gate";
const ORIGIN: &str = "https://console.test";

const MAPPING: &str = r#"
version = 1
clusters.V = "v2"
[blueprints.identity.routes]
"GET,POST /auth/*" = { identity = true }
"GET,POST,PATCH,DELETE /api/v1/auth/*" = { identity = true }
"GET /api/rbac/me" = { session = true, gate = true, unauthenticated = "401" }
[blueprints.home.routes]
"GET /home" = { session = true }
"GET /api/home" = { session = true, unauthenticated = "401" }
"GET,POST /danger" = { session = true, step_up = "15m" }
"GET /socket" = { session = true, websocket = true }
"GET /events" = { session = true }
[blueprints.v]
cluster = "V"
[blueprints.v.routes]
"GET /platform" = { legacy = ["nobody"], role = "console-user" }
"#;

/// A world, a gate, and who may log in.
struct Scene {
    world: World,
    gate: Gate,
    upstream: Recorder,
    clock: Turned,
}

impl Scene {
    async fn new(database: Database) -> Scene {
        Scene::with(database, "").await
    }

    /// With further lines of `[identity]`.
    async fn with(database: Database, identity: &str) -> Scene {
        let world = World::new(database).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        for admin in ["anna", "ben"] {
            world.admin(admin, &["raxx-platform-admins"], &[]).await;
        }
        let clock = Turned::new(world.folder());
        let gate = world.gate(&setup(&upstream, &clock, identity)).await;
        Scene { world, gate, upstream, clock }
    }

    /// Another gate on the same database.
    async fn another_gate(&self) -> Gate {
        self.world.gate(&setup(&self.upstream, &self.clock, "")).await
    }

    /// A browser of an invited person, with a passkey registered.
    async fn enrolled(&self, admin: &str) -> Browser {
        let mut browser = Browser::new();
        let code = self.gate.run(&["passkey", "invite", admin]);
        let redeemed = browser.post(&self.gate, "/invitations/redeem", &json!({ "code": code.trim() })).await;
        assert_eq!(redeemed.status, 200, "{}", text(&redeemed));
        let registered = browser.register(&self.gate, "laptop").await;
        assert_eq!(registered.status, 201, "{}", text(&registered));
        browser
    }

    /// The same, logged in.
    async fn logged_in(&self, admin: &str) -> Browser {
        let mut browser = self.enrolled(admin).await;
        let login = browser.log_in(&self.gate).await;
        assert_eq!(login.status, 200, "{}", text(&login));
        browser
    }

    /// How many sessions of an admin are live, as the table has them.
    async fn live(&self, admin: &str) -> usize {
        let now = chrono::Utc::now();
        self.world.store.sessions_of(admin, now).await.expect("the sessions").len()
    }
}

fn setup(upstream: &Recorder, clock: &Turned, identity: &str) -> Setup {
    let sections = format!("[break_glass]\norigin = \"{ORIGIN}\"\n[identity]\n{identity}");
    Setup {
        mapping: Some(MAPPING),
        upstream: Some(upstream.socket()),
        session: "kind = \"gate\"\n",
        sections: Box::leak(sections.into_boxed_str()),
        variables: Some(clock.variables()),
        forwarded: "trusted_hops = 1\n",
        ..Setup::V2
    }
}

/// What a person sits at.
struct Browser {
    key: SoftPasskey,
    /// What the person's passkey calls them: it is in no signature.
    handle: Value,
    credential_id: Value,
    cookies: Vec<(String, String)>,
    /// How many requests it has sent: each comes from an address of its own, where the gate believes that.
    sent: u32,
}

impl Browser {
    fn new() -> Browser {
        Browser {
            key: SoftPasskey::new(true),
            handle: Value::Null,
            credential_id: Value::Null,
            cookies: Vec::new(),
            sent: 0,
        }
    }

    fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn token(&self) -> &str {
        self.cookie(SESSION).expect("a session")
    }

    fn keep(&mut self, name: &str, value: &str) {
        self.cookies.retain(|(known, _)| known != name);
        self.cookies.push((name.to_owned(), value.to_owned()));
    }

    async fn send(&mut self, gate: &Gate, ask: Ask) -> Answer {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let ask = if cookies.is_empty() { ask } else { ask.header("cookie", cookies.join("; ")) };
        self.sent += 1;
        let ask = ask.header("x-forwarded-for", std::net::Ipv4Addr::from(self.sent).to_string());
        let answer = gate.send(&ask).await;
        if let Some((name, rest)) = answer.header("set-cookie").split_once('=') {
            let (name, value) = (name.to_owned(), rest.split(';').next().unwrap_or_default().to_owned());
            self.keep(&name, &value);
            if value.is_empty() {
                self.cookies.retain(|(known, _)| *known != name);
            }
        }
        answer
    }

    async fn get(&mut self, gate: &Gate, target: &str) -> Answer {
        self.send(gate, Ask::get(target).header("accept", "text/html")).await
    }

    async fn ask(&mut self, gate: &Gate, method: &str, path: &str, body: &Value) -> Answer {
        let ask = Ask::new(method, &format!("{API}{path}")).header("origin", ORIGIN);
        let ask = match body {
            Value::Null => ask,
            body => ask.header("content-type", "application/json").body(body.to_string()),
        };
        self.send(gate, ask).await
    }

    async fn post(&mut self, gate: &Gate, path: &str, body: &Value) -> Answer {
        self.ask(gate, "POST", path, body).await
    }

    async fn challenge(&mut self, gate: &Gate, purpose: &str) -> Value {
        let answer = self.post(gate, "/passkey/challenge", &json!({ "purpose": purpose })).await;
        assert_eq!(answer.status, 200, "{purpose}: {}", text(&answer));
        answer.json()
    }

    async fn register(&mut self, gate: &Gate, label: &str) -> Answer {
        let ask = json!({ "purpose": "register", "label": label });
        let asked = self.post(gate, "/passkey/challenge", &ask).await;
        if asked.status != 200 {
            return asked;
        }
        let answer = self.created(&asked.json());
        self.post(gate, "/passkeys", &answer).await
    }

    /// What the passkey makes of a challenge to register.
    fn created(&mut self, asked: &Value) -> Value {
        let mut options = asked["options"].clone();
        // The software passkey keeps no list of its owners, and says so where it is asked to.
        options["authenticatorSelection"]["residentKey"] = json!("discouraged");
        options["authenticatorSelection"]["requireResidentKey"] = json!(false);
        let options = serde_json::from_value(json!({ "publicKey": options })).expect("options");
        let credential = self.key.do_registration(origin(), options).expect("a credential");
        let credential = json!(credential);
        (self.handle, self.credential_id) =
            (asked["options"]["user"]["id"].clone(), credential["id"].clone());
        json!({ "challenge": asked["challenge"], "credential": credential })
    }

    /// What the passkey makes of a challenge to sign. The software passkey finds its key by a list alone, which a login's
    /// challenge does not have, and never says who its owner is.
    fn signed(&mut self, asked: &Value) -> Value {
        let mut options = asked["options"].clone();
        options["allowCredentials"] = json!([{ "type": "public-key", "id": self.credential_id }]);
        let options = serde_json::from_value(json!({ "publicKey": options })).expect("options");
        let credential = self.key.do_authentication(origin(), options).expect("a signature");
        let mut credential = json!(credential);
        credential["response"]["userHandle"] = self.handle.clone();
        json!({ "challenge": asked["challenge"], "credential": credential })
    }

    async fn log_in(&mut self, gate: &Gate) -> Answer {
        let asked = self.challenge(gate, "login").await;
        let answer = self.signed(&asked);
        self.post(gate, "/passkey/login", &answer).await
    }

    async fn step_up(&mut self, gate: &Gate) -> Answer {
        let asked = self.challenge(gate, "step_up").await;
        let answer = self.signed(&asked);
        self.post(gate, "/passkey/step-up", &answer).await
    }
}

fn origin() -> Url {
    ORIGIN.parse().expect("an origin")
}

fn text(answer: &Answer) -> String {
    format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body))
}

/// What a request without a session gets of a page and of an endpoint.
async fn assert_is_nobody(gate: &Gate, token: &str) {
    let ask = |target: &str| Ask::get(target).header("cookie", format!("{SESSION}={token}"));
    assert_eq!(gate.send(&ask("/home")).await.status, 302);
    assert_eq!(gate.send(&ask("/api/home")).await.status, 401);
}
