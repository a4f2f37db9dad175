//! The endpoints: a passkey logs in or signs again, an invitation is redeemed, passkeys and sessions of one's own.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use grants::passkeys::{Answer, Asking, PasskeyError, Proof as PasskeyProof, Purpose};
use metrics::counter;
use policy::hex;
use policy::identity::login::{Method, MethodKind, Scope};
use policy::text::is_line;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use store::sessions::{Ending, Replacing, StoredSession};

use super::answers::{is_form, login_cookie, next, session_cookie, text};
use super::sessions::{Browser, Proof, SessionError, cookie, methods_of};
use super::{Identity, not_proved};
use crate::freshness::barrier::Barrier;
use crate::rbac_api::query::Query;
use crate::rbac_api::reply::{Outcome, Problem, Reply};
use crate::ruling::own_routes::OwnRequest;
use crate::settings::LONGEST_BARRIER;
use crate::settings::identity::LOGIN_COOKIE;

/// How long a login's challenge can be answered.
const CHALLENGE: TimeDelta = TimeDelta::minutes(5);
/// How long ago a passkey may have signed where passkeys are added or removed.
pub(super) const FRESH: Duration = Duration::from_secs(300);
/// The longest name of a passkey, in characters.
const LABEL: usize = 80;

/// `POST /api/v1/auth/passkey/challenge`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    purpose: Asked,
    /// The name of the passkey that is to be registered.
    #[serde(default)]
    label: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Asked {
    Login,
    StepUp,
    Register,
}

/// The answer to a challenge, and where the person wants to go.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answered {
    challenge: String,
    credential: Value,
    #[serde(default)]
    next: Option<String>,
}

/// A login's challenge, which its browser keeps: views of the login page write nothing.
#[derive(Serialize, Deserialize)]
struct Sealed {
    state: String,
    until: DateTime<Utc>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Code {
    code: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    label: String,
}

impl Identity {
    pub(super) async fn challenge(&self, asked: &OwnRequest<'_>) -> Outcome {
        self.attempt(asked.client)?;
        let Ask { purpose, label } = body(asked)?;
        match purpose {
            Asked::Login => self.login_challenge(asked),
            Asked::StepUp => {
                let session = self.full(asked).await?;
                let challenge = self
                    .passkeys
                    .challenge(self.asking(&session.admin), Purpose::StepUp, &bound(&session))
                    .await;
                Ok(Reply::ok(json!(challenge.map_err(|error| problem(&error))?)))
            }
            Asked::Register => {
                let session = self.registering(asked).await?;
                let label = label.unwrap_or_default();
                let proof = PasskeyProof::Session(&session.id);
                let challenge = self.passkeys.begin(self.asking(&session.admin), &label, proof).await;
                Ok(Reply::ok(json!(challenge.map_err(|error| problem(&error))?)))
            }
        }
    }

    fn login_challenge(&self, asked: &OwnRequest<'_>) -> Outcome {
        let browser = cookie(asked.request, LOGIN_COOKIE).filter(|value| value.len() == 32);
        let known = browser.is_some();
        let browser = browser.unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
        let (options, state) = self.passkeys.begin_login().map_err(|error| problem(&error))?;
        let until = self.clock.now() + CHALLENGE;
        let challenge = self.challenges.seal(&browser, &Sealed { state, until });
        let challenge =
            challenge.ok_or_else(|| Problem::unavailable(&"there is no key to seal a challenge"))?;
        let reply = Reply::ok(json!({ "challenge": challenge, "options": options, "expires_at": until }));
        Ok(if known { reply } else { reply.with("set-cookie", login_cookie(&browser)) })
    }

    pub(super) async fn login(&self, asked: &OwnRequest<'_>) -> Outcome {
        self.attempt(asked.client)?;
        let Answered { challenge, credential, next: wanted } = body(asked)?;
        let browser = cookie(asked.request, LOGIN_COOKIE).ok_or_else(not_proved)?;
        let sealed: Sealed = self.challenges.open(&browser, &challenge).ok_or_else(not_proved)?;
        let now = self.clock.now();
        if sealed.until <= now {
            return Err(not_proved());
        }
        // Before the signature is looked at: an answer that is sent twice must not pass for a copy of the passkey.
        let used = hex::lower(Sha256::digest(challenge.as_bytes()));
        if !self.store.use_once("login", &used, sealed.until, now).await? {
            return Err(not_proved());
        }
        let finished =
            self.passkeys.finish_login(&self.store, &self.notary, &sealed.state, &credential, now).await;
        let passkey = finished.map_err(|error| refused("login", &error))?;
        // The session that the browser had ends: nothing of it goes over to the new one.
        let before = self.sessions.current(asked.request).await?;
        let replacing =
            Replacing { session: before.as_ref().map(|session| session.id.as_str()), ..Replacing::default() };
        let method = Method { kind: MethodKind::Passkey, passkey: Some(passkey.id.clone()), at: now };
        let proof = Proof {
            admin: &passkey.admin,
            scope: Scope::Full,
            methods: vec![method],
            signed_at: Some(now),
            replacing,
        };
        let token =
            self.sessions.begin(proof, browser_of(asked)).await.map_err(|error| no_session(&error))?;
        if before.is_some() {
            self.settle().await?;
        }
        let next = next(wanted.as_deref(), &self.path, &asked.options.pages.home_path);
        Ok(Reply::ok(json!({ "next": next })).with("set-cookie", session_cookie(&token)))
    }

    pub(super) async fn step_up(&self, asked: &OwnRequest<'_>) -> Outcome {
        self.attempt(asked.client)?;
        let session = self.full(asked).await?;
        let Answered { challenge, credential, next: wanted } = body(asked)?;
        let answer = Answer { challenge, credential };
        let asking = self.asking(&session.admin);
        let verified = self.passkeys.verify(asking, Purpose::StepUp, &bound(&session), &answer).await;
        let passkey = verified.map_err(|error| refused("step_up", &error))?;
        let method = Method { kind: MethodKind::Passkey, passkey: Some(passkey), at: self.clock.now() };
        let rotated = self.sessions.rotate(&session, method, "stepped_up").await;
        let token = rotated.map_err(|error| no_session(&error))?;
        self.settle().await?;
        let next = next(wanted.as_deref(), &self.path, &asked.options.pages.home_path);
        Ok(Reply::ok(json!({ "next": next })).with("set-cookie", session_cookie(&token)))
    }

    /// Uses an invitation up: its admin may register a passkey, and nothing else.
    pub(super) async fn redeem(&self, asked: &OwnRequest<'_>, code: &str) -> Result<String, Problem> {
        super::count(&self.codes, asked.client)?;
        let (digest, now) = (grants::passkeys::digest_of_code(code), self.clock.now());
        let admin = self.store.invited(&digest, now).await?.ok_or_else(not_proved)?;
        let before = self.sessions.current(asked.request).await?;
        let replacing = Replacing {
            session: before.as_ref().map(|session| session.id.as_str()),
            invitation: Some(&digest),
            ..Replacing::default()
        };
        let method = Method { kind: MethodKind::Invitation, passkey: None, at: now };
        let proof =
            Proof { admin: &admin, scope: Scope::Enrol, methods: vec![method], signed_at: None, replacing };
        let token =
            self.sessions.begin(proof, browser_of(asked)).await.map_err(|error| no_session(&error))?;
        if before.is_some() {
            self.settle().await?;
        }
        Ok(session_cookie(&token))
    }

    pub(super) async fn redeem_json(&self, asked: &OwnRequest<'_>) -> Outcome {
        let Code { code } = body(asked)?;
        let cookie = self.redeem(asked, &code).await?;
        Ok(Reply::ok(json!({ "next": format!("{}/enrol", self.path) })).with("set-cookie", cookie))
    }

    pub(super) async fn register(&self, asked: &OwnRequest<'_>) -> Outcome {
        self.attempt(asked.client)?;
        let session = self.registering(asked).await?;
        let Answered { challenge, credential, .. } = body(asked)?;
        let answer = Answer { challenge, credential };
        let registered = self.passkeys.register_in(self.asking(&session.admin), &session.id, &answer).await;
        let passkey = registered.map_err(|error| refused("register", &error))?;
        let reply = Reply::ok(json!({ "id": passkey.id, "label": passkey.label })).with_status(201);
        if session.scope == Scope::Full.word() {
            return Ok(reply);
        }
        // The new passkey logs in by itself: what the invitation opened is over.
        let ending = Ending::One(&session.id);
        self.sessions.end(&session.admin, ending, &session.admin, "registered").await?;
        self.settle().await?;
        Ok(reply)
    }

    pub(super) async fn own_passkeys(&self, asked: &OwnRequest<'_>) -> Outcome {
        let session = self.full(asked).await?;
        let passkeys = self.store.passkeys(Some(&session.admin), false).await?;
        Ok(Reply::ok(json!({ "passkeys": passkeys })))
    }

    pub(super) async fn name_passkey(&self, asked: &OwnRequest<'_>, id: &str) -> Outcome {
        let session = self.full(asked).await?;
        let Named { label } = body(asked)?;
        if label.trim().is_empty() || !is_line(&label, LABEL) {
            return Err(Problem::new(422, "a name has at most 80 characters, all of them visible"));
        }
        match self.store.name_passkey(id, &session.admin, label.trim()).await? {
            true => Ok(Reply::empty(204)),
            false => Err(super::nothing_here()),
        }
    }

    /// Removes a passkey of one's own. The last one stays: without it, nobody could log in as that person any more.
    pub(super) async fn remove_passkey(&self, asked: &OwnRequest<'_>, id: &str) -> Result<(), Problem> {
        let session = self.full(asked).await?;
        self.fresh(&session)?;
        let own = self.store.passkeys(Some(&session.admin), false).await?;
        if !own.iter().any(|passkey| passkey.id == id) {
            return Err(super::nothing_here());
        }
        let note = grants::passkeys::revoked_note(self.asking(&session.admin), id, &session.admin);
        match self.store.revoke_own_passkey(id, &session.admin, self.clock.now(), &note).await? {
            true => self.settle().await,
            false => Err(Problem::new(409, "it is your last passkey: register another one first")),
        }
    }

    pub(super) async fn own_sessions(&self, asked: &OwnRequest<'_>) -> Outcome {
        let current = self.full(asked).await?;
        let sessions = self.store.sessions_of(&current.admin, self.clock.now()).await?;
        let views = sessions.iter().filter(|session| session.scope == Scope::Full.word()).map(|session| {
            json!({
                "id": session.id,
                "is_current": session.id == current.id,
                "device": session.device,
                "address": session.address,
                "began_at_utc": session.created_at,
                "last_used_at_utc": session.last_used_at,
                "ends_at_utc": session.idle_end.min(session.absolute_end),
                "methods": methods_of(session),
            })
        });
        Ok(Reply::ok(json!({ "sessions": views.collect::<Vec<_>>() })))
    }

    pub(super) async fn end_one(&self, asked: &OwnRequest<'_>, id: &str) -> Result<(), Problem> {
        let current = self.full(asked).await?;
        let ended = self.sessions.end(&current.admin, Ending::One(id), &current.admin, "ended").await?;
        self.settle().await?;
        if ended == 0 { Err(super::nothing_here()) } else { Ok(()) }
    }

    pub(super) async fn end_others(&self, asked: &OwnRequest<'_>) -> Result<(), Problem> {
        let current = self.full(asked).await?;
        self.sessions.end(&current.admin, Ending::Others(&current.id), &current.admin, "ended").await?;
        self.settle().await
    }

    pub(super) async fn end_many(&self, asked: &OwnRequest<'_>) -> Outcome {
        let query = Query::parse(asked.request.target().query(), &["which"])?;
        match query.get("which") {
            Some("others") => self.end_others(asked).await?,
            Some("all") => {
                let current = self.full(asked).await?;
                self.sessions.end(&current.admin, Ending::All, &current.admin, "ended").await?;
                self.settle().await?;
            }
            _ => return Err(Problem::new(400, "say which: `which=others` or `which=all`")),
        }
        Ok(Reply::empty(204))
    }

    /// The session of the request, for everything that its admin may.
    pub(super) async fn full(&self, asked: &OwnRequest<'_>) -> Result<StoredSession, Problem> {
        let session = self.sessions.current(asked.request).await?;
        let session = session.filter(|session| session.scope == Scope::Full.word());
        session.ok_or_else(|| Problem::new(401, "log in first"))
    }

    /// The session of the request, if a passkey may be registered in it: one that is for that alone, or one whose passkey has
    /// just signed.
    async fn registering(&self, asked: &OwnRequest<'_>) -> Result<StoredSession, Problem> {
        let session = self.sessions.current(asked.request).await?;
        let session = session.ok_or_else(|| Problem::new(401, "log in first"))?;
        if session.scope == Scope::Full.word() {
            self.fresh(&session)?;
        }
        Ok(session)
    }

    /// Refuses a session whose passkey has not signed for a while (RFC 9470).
    pub(super) fn fresh(&self, session: &StoredSession) -> Result<(), Problem> {
        let age = TimeDelta::from_std(FRESH).unwrap_or_default();
        let is_fresh = session.stepped_up_at.is_some_and(|at| {
            let since = self.clock.now() - at;
            since >= TimeDelta::zero() && since <= age
        });
        if is_fresh {
            return Ok(());
        }
        let challenge =
            format!("Bearer error=\"insufficient_user_authentication\", max_age=\"{}\"", FRESH.as_secs());
        Err(Problem::new(401, "your passkey has to sign first").with_field("www-authenticate", challenge))
    }

    fn asking<'a>(&'a self, admin: &'a str) -> Asking<'a> {
        Asking { store: &self.store, notary: &self.notary, admin, now: self.clock.now() }
    }

    /// Waits until every gate acts on what was written.
    ///
    /// # Errors
    ///
    /// 503: it is written, and a gate did not say that it knows.
    pub(super) async fn settle(&self) -> Result<(), Problem> {
        let barrier = Barrier::new(self.store.clone(), self.clock.clone());
        barrier.settle_now(LONGEST_BARRIER).await.map(drop).map_err(|error| {
            tracing::error!(%error, "a session has ended, and whether every gate knows is not known");
            Problem::new(
                503,
                "it is done, but whether every gate knows it yet could not be determined; repeat it",
            )
        })
    }
}

fn browser_of<'a>(asked: &OwnRequest<'a>) -> Browser<'a> {
    Browser { request: asked.request, client: asked.client }
}

/// What a signature of a step-up is bound to: this session, and no other of the same admin.
fn bound(session: &StoredSession) -> String {
    hex::lower(Sha256::digest(session.id.as_bytes()))
}

fn body<T: DeserializeOwned>(asked: &OwnRequest<'_>) -> Result<T, Problem> {
    if is_form(asked.request) || text(asked.body).is_none() {
        return Err(Problem::new(415, "send the body as `Content-Type: application/json`"));
    }
    serde_json::from_slice(asked.body)
        .map_err(|_| Problem::new(400, "the body is not what this address takes"))
}

/// Why a passkey did not do, for a person who has a session.
fn problem(error: &PasskeyError) -> Problem {
    match error {
        PasskeyError::Store(error) => Problem::unavailable(error),
        PasskeyError::NoPasskey | PasskeyError::TooMany => Problem::new(409, error.to_string()),
        PasskeyError::BadLabel => Problem::new(422, error.to_string()),
        error => refused("challenge", error),
    }
}

/// A proof that failed. Its reason is for the log and the audit alone.
fn refused(purpose: &'static str, error: &PasskeyError) -> Problem {
    match error {
        PasskeyError::Store(error) => return Problem::unavailable(error),
        PasskeyError::Malformed => return Problem::new(400, error.to_string()),
        _ => {}
    }
    let why = if let PasskeyError::Refused(why) = error { why } else { "other" };
    counter!("gate_logins_refused_total", "purpose" => purpose, "reason" => why).increment(1);
    tracing::warn!(purpose, why, %error, "the proof of a login was refused");
    not_proved()
}

fn no_session(error: &SessionError) -> Problem {
    match error {
        SessionError::Store(error) => Problem::unavailable(error),
        SessionError::NoToken => Problem::unavailable(&error),
        SessionError::Standing | SessionError::UsedUp => {
            tracing::warn!(%error, "no session began");
            not_proved()
        }
        SessionError::Ended => Problem::new(401, "log in first"),
    }
}
