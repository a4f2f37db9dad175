//! Sessions of the gate's own: begun by a proof, rotated by a further one, ended by their holder or an operator.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use clock::SharedClock;
use ledger::event::AuditEvent;
use ledger::{Notary, Note};
use metrics::counter;
use policy::firewall::Request;
use policy::hex;
use policy::identity::Subject;
use policy::identity::login::{Method, RANDOM_BYTES, Scope, TokenKeys};
use policy::ids::AdminId;
use policy::rbac::Standing;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use store::sessions::{Begun, Ending, NewSession, Replacing, StoredSession};
use store::{SharedStore, StoreError};
use zeroize::Zeroizing;

use crate::ruling::client::kept_address;
use crate::settings::AddressDetail;
use crate::settings::identity::{COOKIE, Identity as Terms};

/// How long a session lasts that is for registering a passkey alone.
const LESSER: chrono::TimeDelta = chrono::TimeDelta::minutes(15);
/// The longest device name, in characters.
const DEVICE: usize = 80;

/// Why a session did not begin or change.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The admin is disabled, blocked or gone: looked at when the session begins, whatever was looked at before.
    #[error("the admin may not log in")]
    Standing,
    /// What the proof rests on has been used.
    #[error("the proof has been used up")]
    UsedUp,
    #[error("the session has ended meanwhile")]
    Ended,
    #[error("the operating system gave no randomness, or the gate has no key")]
    NoToken,
}

/// Begins, rotates and ends sessions.
pub struct Sessions {
    pub(super) store: SharedStore,
    pub(super) notary: Notary,
    pub(super) clock: SharedClock,
    pub(super) tokens: TokenKeys,
    pub(super) terms: Terms,
    pub(super) address_detail: AddressDetail,
}

/// What a session rests on.
#[derive(Debug)]
pub(super) struct Proof<'p> {
    pub(super) admin: &'p str,
    pub(super) scope: Scope,
    pub(super) methods: Vec<Method>,
    /// When a passkey signed in this session.
    pub(super) signed_at: Option<DateTime<Utc>>,
    pub(super) replacing: Replacing<'p>,
}

/// The browser that a session is for.
#[derive(Clone, Copy)]
pub(super) struct Browser<'b> {
    pub(super) request: &'b Request,
    pub(super) client: Option<IpAddr>,
}

impl Browser<'_> {
    /// A name for people, such as `Firefox on Linux`.
    fn device(&self) -> String {
        let agent =
            self.request.fields().value("user-agent").map(String::from_utf8_lossy).unwrap_or_default();
        let first = |names: &[(&str, &'static str)]| {
            names.iter().find(|(mark, _)| agent.contains(mark)).map_or("", |(_, name)| *name)
        };
        // In this order: each of the later ones is in the texts of the earlier ones too.
        let browser = first(&[
            ("Edg/", "Edge"),
            ("OPR/", "Opera"),
            ("Firefox/", "Firefox"),
            ("Chrome/", "Chrome"),
            ("Safari/", "Safari"),
            ("curl/", "curl"),
        ]);
        let system = first(&[
            ("Windows", "Windows"),
            ("Android", "Android"),
            ("iPhone", "iPhone"),
            ("iPad", "iPad"),
            ("Mac OS X", "macOS"),
            ("CrOS", "ChromeOS"),
            ("Linux", "Linux"),
        ]);
        let name = match (browser, system) {
            ("", "") => "an unknown browser".to_owned(),
            ("", system) => format!("a browser on {system}"),
            (browser, "") => browser.to_owned(),
            (browser, system) => format!("{browser} on {system}"),
        };
        name.chars().take(DEVICE).collect()
    }
}

impl Sessions {
    /// The live session that a request came with, if its admin may still log in. It may be of a lesser scope.
    ///
    /// # Errors
    ///
    /// The database could not be read.
    pub(super) async fn current(&self, request: &Request) -> Result<Option<StoredSession>, StoreError> {
        let Some(token) = cookie(request, COOKIE) else { return Ok(None) };
        let Ok(key) = self.tokens.verify(&token) else { return Ok(None) };
        let (Some(token_sha256), now) = (key.expose(), self.clock.now()) else { return Ok(None) };
        let Some(session) = self.store.session_of_token(token_sha256, now).await? else { return Ok(None) };
        Ok(self.may_log_in(&session.admin).await?.then_some(session))
    }

    async fn may_log_in(&self, admin: &str) -> Result<bool, StoreError> {
        let subject = Subject::Admin { id: AdminId::new(admin), session: None };
        Ok(self.store.access(&subject, self.clock.now()).await?.standing == Standing::Active)
    }

    /// Begins a session, and returns its token: the one secret of it, which is nowhere else.
    ///
    /// # Errors
    ///
    /// The admin may not log in, or what the session rests on has been used.
    pub(super) async fn begin(
        &self,
        proof: Proof<'_>,
        browser: Browser<'_>,
    ) -> Result<Zeroizing<String>, SessionError> {
        if !self.may_log_in(proof.admin).await? {
            return Err(SessionError::Standing);
        }
        let (token, token_sha256) = self.token()?;
        let now = self.clock.now();
        let (absolute, idle) = match proof.scope {
            Scope::Full => (self.terms.absolute(), self.terms.idle()),
            Scope::Enrol | Scope::Recovery => (LESSER, LESSER),
        };
        let id = uuid::Uuid::new_v4().to_string();
        let (methods, device) = (json!(proof.methods).to_string(), browser.device());
        let address = kept_address(browser.client, self.address_detail);
        let session = NewSession {
            id: &id,
            token_sha256: &token_sha256,
            admin: proof.admin,
            scope: proof.scope.word(),
            methods: &methods,
            stepped_up_at: proof.signed_at,
            at: now,
            absolute_end: now + absolute,
            idle_end: now + idle,
            device: &device,
            address: address.as_deref(),
        };
        let detail = json!({ "scope": proof.scope.word(), "methods": proof.methods, "device": device });
        let note = self.note("minted", &id, proof.admin, detail, proof.admin);
        let replacing = Replacing { most: self.terms.sessions_per_admin.into(), ..proof.replacing };
        match self.store.begin_session(&session, replacing, &note).await? {
            Begun::Yes => {
                counter!("gate_logins_total", "scope" => proof.scope.word()).increment(1);
                Ok(token)
            }
            Begun::UsedUp => Err(SessionError::UsedUp),
        }
    }

    /// Gives a session another token after a further proof, and its whole time again (NIST 800-63B-4, 5.2). The old token is
    /// of no use from then on.
    ///
    /// # Errors
    ///
    /// The session has ended.
    pub(super) async fn rotate(
        &self,
        session: &StoredSession,
        method: Method,
        step: &'static str,
    ) -> Result<Zeroizing<String>, SessionError> {
        let (token, token_sha256) = self.token()?;
        let now = self.clock.now();
        let mut methods = methods_of(session);
        methods.retain(|one| (one.kind, &one.passkey) != (method.kind, &method.passkey));
        let signed_at = method.at;
        methods.push(method);
        let text = json!(methods).to_string();
        let rotated = NewSession {
            id: &session.id,
            token_sha256: &token_sha256,
            admin: &session.admin,
            scope: Scope::Full.word(),
            methods: &text,
            stepped_up_at: Some(signed_at),
            at: now,
            absolute_end: now + self.terms.absolute(),
            idle_end: now + self.terms.idle(),
            device: &session.device,
            address: None,
        };
        let note =
            self.note(step, &session.id, &session.admin, json!({ "methods": methods }), &session.admin);
        match self.store.rotate_session(&rotated, &note).await? {
            true => Ok(token),
            false => Err(SessionError::Ended),
        }
    }

    /// Ends sessions of an admin, and returns how many. It is effective on every gate once the barrier has settled.
    ///
    /// # Errors
    ///
    /// The database could not be written.
    pub async fn end(
        &self,
        admin: &str,
        which: Ending<'_>,
        by: &str,
        reason: &'static str,
    ) -> Result<u64, StoreError> {
        end(&self.store, &self.notary, self.clock.now(), admin, which, by, reason).await
    }

    fn token(&self) -> Result<(Zeroizing<String>, String), SessionError> {
        let mut random = Zeroizing::new([0_u8; RANDOM_BYTES]);
        OsRng.try_fill_bytes(random.as_mut()).map_err(|_| SessionError::NoToken)?;
        let token = self.tokens.token(&random).ok_or(SessionError::NoToken)?;
        let digest = hex::lower(Sha256::digest(token.as_bytes()));
        Ok((token, digest))
    }

    fn note(&self, step: &'static str, session: &str, about: &str, detail: Value, by: &str) -> Note {
        note(&self.notary, self.clock.now(), step, Some(session), about, detail, by)
    }
}

/// Ends sessions of an admin, and returns how many.
///
/// # Errors
///
/// The database could not be written.
pub async fn end(
    store: &SharedStore,
    notary: &Notary,
    now: DateTime<Utc>,
    admin: &str,
    which: Ending<'_>,
    by: &str,
    reason: &'static str,
) -> Result<u64, StoreError> {
    let (session, of) = match which {
        Ending::One(id) => (Some(id), "one"),
        Ending::Others(id) => (Some(id), "others"),
        Ending::All => (None, "all"),
    };
    let note = note(notary, now, reason, session, admin, json!({ "which": of }), by);
    store.end_sessions(admin, which, (by, reason), now, &note).await
}

fn note(
    notary: &Notary,
    now: DateTime<Utc>,
    step: &'static str,
    session: Option<&str>,
    about: &str,
    detail: Value,
    by: &str,
) -> Note {
    let event = AuditEvent::Identity {
        step,
        session: session.map(str::to_owned),
        about: Some(about.to_owned()),
        detail,
        by: by.to_owned(),
    };
    notary.note(event.into_record(now))
}

/// The methods of a stored session.
pub(super) fn methods_of(session: &StoredSession) -> Vec<Method> {
    serde_json::from_str(&session.methods).unwrap_or_default()
}

/// The value of a cookie that the request has once; of several with that name none counts.
pub(super) fn cookie(request: &Request, name: &str) -> Option<String> {
    let fields = request.fields().iter().filter(|(field, _)| *field == "cookie");
    let text =
        fields.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect::<Vec<_>>().join(";");
    let mut values = text.split(';').filter_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key.trim() == name).then(|| value.trim().trim_matches('"').to_owned())
    });
    let first = values.next()?;
    values.next().is_none().then_some(first)
}
