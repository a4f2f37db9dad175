//! Passkeys of admins: the step-up that every break-glass session requires (RBAC V2 design, section 6).
//!
//! ```text
//! console-gate passkey invite -> code -> first passkey            (by the code and the admin's session)
//! a passkey signs             -> a further one
//! a passkey signs             -> its purpose: an admin, an action, a digest of the agreed terms
//! a passkey signs             -> a login: whose it is says the passkey
//! ```
//!
//! A challenge lives for a minute in the database, so that any gate can accept its answer, and is deleted at the first
//! answer, right or wrong. The stored part of a passkey is its public key and its signature count.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use ledger::{AuditEvent, Notary};
use policy::identity::Subject;
use policy::ids::AdminId;
use policy::rbac::Standing;
use policy::text::is_line;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use store::passkeys::{NewChallenge, NewInvite, Registered, StoredPasskey};
use store::{SharedStore, StoreError};
use webauthn_rs::prelude::{
    AuthenticationResult, DiscoverableAuthentication, DiscoverableKey, Passkey, PasskeyAuthentication,
    PasskeyRegistration, PublicKeyCredential, RegisterPublicKeyCredential, Url, Uuid, WebauthnError,
};
use webauthn_rs::{Webauthn, WebauthnBuilder};
use zeroize::Zeroizing;

/// How long a challenge waits for its answer.
const ANSWER_TIME: TimeDelta = TimeDelta::seconds(60);
/// How long a code is valid.
const CODE_TIME: TimeDelta = TimeDelta::minutes(10);
/// The longest name of a passkey, in characters.
const MOST_LABEL: usize = 80;
/// The most passkeys of one admin.
const MOST_PASSKEYS: usize = 20;

/// The purpose of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A passkey is being registered.
    Register,
    /// Another passkey of the same admin is to be registered.
    Add,
    /// A break-glass session is to start.
    Start,
    /// A login session proves again who holds it.
    StepUp,
    /// An admin logs in. Its challenge is not stored.
    Login,
}

impl Purpose {
    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Purpose::Register => "register",
            Purpose::Add => "add",
            Purpose::Start => "start",
            Purpose::StepUp => "step_up",
            Purpose::Login => "login",
        }
    }
}

/// Why a passkey was not registered, or an answer not accepted.
#[derive(Debug, thiserror::Error)]
pub enum PasskeyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("no passkey is registered: ask an operator for `console-gate passkey invite`")]
    NoPasskey,
    #[error(
        "there are passkeys already: a further one is registered with one of them, or after `console-gate passkey revoke`"
    )]
    HasPasskeys,
    #[error("{MOST_PASSKEYS} passkeys are registered: revoke one first")]
    TooMany,
    #[error("a name is needed, of {MOST_LABEL} characters at most and without control characters")]
    BadLabel,
    #[error("there is no active admin `{0}`")]
    NoAdmin(String),
    /// The word is for the audit and for tests; the caller learns only that the answer was refused.
    #[error("the passkey's answer was refused")]
    Refused(&'static str),
    #[error("the code is not valid: it is used up, too old or another admin's")]
    BadCode,
    #[error("`credential` does not have the form that WebAuthn gives it")]
    Malformed,
    #[error("a challenge could not be made: {0}")]
    Webauthn(WebauthnError),
    #[error("the operating system gave no randomness")]
    Random,
    #[error("a stored passkey cannot be read")]
    Unreadable,
}

/// A challenge for a client.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Challenge {
    pub challenge: String,
    /// The options of `navigator.credentials.get` or `create`, with bytes in base64url.
    pub options: Value,
    pub expires_at: DateTime<Utc>,
}

/// The answer of a client.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    pub challenge: String,
    /// The result of `navigator.credentials`, with bytes in base64url.
    pub credential: Value,
}

/// The proof that an admin may register a passkey.
#[derive(Clone, Copy, Debug)]
pub enum Proof<'p> {
    /// For the first passkey: a code.
    Code(&'p str),
    /// For a further passkey: the answer of an existing one.
    Passkey(&'p Answer),
    /// The login session that the request came with: one whose purpose this is, or one that a passkey has just proved. Its id.
    Session(&'p str),
}

/// The state stored while a passkey is being registered.
#[derive(Serialize, Deserialize)]
struct Registering {
    state: PasskeyRegistration,
    label: String,
    handle: Uuid,
    code_sha256: Option<String>,
    /// The login session that it belongs to, where it belongs to one.
    #[serde(default)]
    session: Option<String>,
}

/// The admin that asks, and where the steps are recorded.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    pub store: &'a SharedStore,
    pub notary: &'a Notary,
    pub admin: &'a str,
    pub now: DateTime<Utc>,
}

/// Registers passkeys, and verifies their signatures.
#[derive(Clone, Debug)]
pub struct Passkeys {
    webauthn: Webauthn,
}

impl Passkeys {
    /// Passkeys for the pages of `origin`, `https://console.example.org`; `rp_id` is its host, unless the passkeys
    /// belong to a domain above it.
    ///
    /// # Errors
    ///
    /// The form that the setting must have, in words.
    pub fn new(origin: &str, rp_id: Option<&str>) -> Result<Passkeys, String> {
        let url = Url::parse(origin).ok().filter(|url| {
            let is_local = url.host_str() == Some("localhost");
            let is_secure = url.scheme() == "https" || (url.scheme() == "http" && is_local);
            is_secure && url.domain().is_some() && url.origin().ascii_serialization() == origin
        });
        let url = url.ok_or(
            "`origin` must be the origin of Console's pages, as a browser names it: `https://console.example.org`, without \
             a path; `http` only for localhost",
        )?;
        let host = url.domain().unwrap_or_default().to_owned();
        let rp_id = rp_id.unwrap_or(&host);
        let built = WebauthnBuilder::new(rp_id, &url).and_then(|builder| {
            let time = ANSWER_TIME.to_std().unwrap_or_default();
            builder.rp_name("Console").timeout(time).build()
        });
        let webauthn = built
            .map_err(|_| format!("`rp_id` must be the host of `origin`, `{host}`, or a domain above it"))?;
        Ok(Passkeys { webauthn })
    }

    /// Asks the admin's passkeys to sign for a purpose, bound to the agreed terms.
    ///
    /// # Errors
    ///
    /// The admin has no passkey.
    pub async fn challenge(
        &self,
        asking: Asking<'_>,
        purpose: Purpose,
        bound_sha256: &str,
    ) -> Result<Challenge, PasskeyError> {
        let stored = asking.store.passkeys(Some(asking.admin), false).await?;
        if stored.is_empty() {
            return Err(PasskeyError::NoPasskey);
        }
        let credentials: Vec<Passkey> = stored.iter().map(credential_of).collect::<Result<_, _>>()?;
        let started = self.webauthn.start_passkey_authentication(&credentials);
        let (options, state) = started.map_err(PasskeyError::Webauthn)?;
        keep(asking, purpose, bound_sha256, &state, &options).await
    }

    /// Verifies the answer to such a challenge, and returns the id of the passkey. The challenge is used up, whatever
    /// the answer; a refusal is recorded.
    ///
    /// # Errors
    ///
    /// The answer does not match the challenge.
    pub async fn verify(
        &self,
        asking: Asking<'_>,
        purpose: Purpose,
        bound_sha256: &str,
        answer: &Answer,
    ) -> Result<String, PasskeyError> {
        let verified = Box::pin(self.verified(asking, purpose, bound_sha256, answer)).await;
        if let Err(PasskeyError::Refused(why)) = &verified {
            refuse(asking, purpose, why).await?;
        }
        verified
    }

    async fn verified(
        &self,
        asking: Asking<'_>,
        purpose: Purpose,
        bound_sha256: &str,
        answer: &Answer,
    ) -> Result<String, PasskeyError> {
        let credential: PublicKeyCredential = read(&answer.credential)?;
        let state = take(asking, purpose, bound_sha256, &answer.challenge).await?;
        given_in_own_page(&answer.credential)?;
        let state: PasskeyAuthentication =
            serde_json::from_str(&state).map_err(|_| PasskeyError::Unreadable)?;
        let handle = credential.response.user_handle.clone();
        // The passkeys at present, not those at the time of the challenge.
        let id = URL_SAFE_NO_PAD.encode(credential.get_credential_id());
        let stored = asking.store.passkeys(Some(asking.admin), false).await?;
        let stored = stored.into_iter().find(|passkey| passkey.credential_id == id);
        let webauthn = self.webauthn.clone();
        let verify = move || webauthn.finish_passkey_authentication(&credential, &state);
        let result = match apart(verify).await? {
            Ok(result) => result,
            Err(error) => {
                return Err(refused(asking.store, asking.notary, stored.as_ref(), &error, asking.now).await?);
            }
        };
        let stored = stored.ok_or(PasskeyError::Refused("revoked"))?;
        if let Some(handle) = &handle
            && handle.as_slice() != own_handle(&stored)?.as_bytes()
        {
            return Err(PasskeyError::Refused("another_user"));
        }
        note_use(asking.store, &stored, &result, asking.now).await?;
        Ok(stored.id)
    }

    /// Asks any passkey to log its owner in. Nothing is stored: the caller keeps the second part, and gives it back as it was.
    ///
    /// # Errors
    ///
    /// No challenge could be made.
    pub fn begin_login(&self) -> Result<(Value, String), PasskeyError> {
        let started = self.webauthn.start_discoverable_authentication();
        let (options, state) = started.map_err(PasskeyError::Webauthn)?;
        let mut options = serde_json::to_value(options).map_err(|_| PasskeyError::Unreadable)?;
        let state = serde_json::to_string(&state).map_err(|_| PasskeyError::Unreadable)?;
        Ok((options["publicKey"].take(), state))
    }

    /// Verifies the answer to such a challenge, and returns the passkey: whose it is says its stored row, not the answer.
    ///
    /// # Errors
    ///
    /// The answer does not match the challenge, or no live passkey has given it.
    pub async fn finish_login(
        &self,
        store: &SharedStore,
        notary: &Notary,
        state: &str,
        credential: &Value,
        now: DateTime<Utc>,
    ) -> Result<StoredPasskey, PasskeyError> {
        let answer: PublicKeyCredential = read(credential)?;
        given_in_own_page(credential)?;
        let state: DiscoverableAuthentication =
            serde_json::from_str(state).map_err(|_| PasskeyError::Unreadable)?;
        let (handle, id) = self
            .webauthn
            .identify_discoverable_authentication(&answer)
            .map_err(|_| PasskeyError::Refused("no_user_handle"))?;
        let stored = store.passkey_of(&URL_SAFE_NO_PAD.encode(id)).await?;
        let stored = stored.ok_or(PasskeyError::Refused("another_credential"))?;
        if stored.revoked_at.is_some() {
            return Err(PasskeyError::Refused("revoked"));
        }
        if handle != own_handle(&stored)? {
            return Err(PasskeyError::Refused("another_user"));
        }
        // By the id that the answer names, so that the library has this one alone to verify with.
        let key = DiscoverableKey::from(&credential_of(&stored)?);
        let webauthn = self.webauthn.clone();
        let verify = move || webauthn.finish_discoverable_authentication_v2(&answer, state, &key);
        match apart(verify).await? {
            Ok(result) => note_use(store, &stored, &result, now).await?,
            Err(error) => return Err(refused(store, notary, Some(&stored), &error, now).await?),
        }
        Ok(stored)
    }

    /// Begins to register a passkey.
    ///
    /// # Errors
    ///
    /// The proof does not suffice, or the name is not valid.
    pub async fn begin(
        &self,
        asking: Asking<'_>,
        label: &str,
        proof: Proof<'_>,
    ) -> Result<Challenge, PasskeyError> {
        let label = checked_label(label)?;
        let all = asking.store.passkeys(Some(asking.admin), true).await?;
        let live = || all.iter().filter(|passkey| passkey.revoked_at.is_none());
        let mut session = None;
        let code_sha256 = match proof {
            Proof::Session(id) => {
                session = Some(id.to_owned());
                None
            }
            Proof::Code(code) => {
                if live().next().is_some() {
                    return Err(PasskeyError::HasPasskeys);
                }
                let digest = digest_of_code(code);
                if !asking.store.is_passkey_invite(asking.admin, &digest, asking.now).await? {
                    refuse(asking, Purpose::Register, "bad_code").await?;
                    return Err(PasskeyError::BadCode);
                }
                Some(digest)
            }
            Proof::Passkey(answer) => {
                self.verify(asking, Purpose::Add, &sha256(label.as_bytes()), answer).await?;
                None
            }
        };
        if live().count() >= MOST_PASSKEYS {
            return Err(PasskeyError::TooMany);
        }
        let handle = all.first().and_then(|passkey| Uuid::parse_str(&passkey.user_handle).ok());
        let handle = handle.unwrap_or_else(Uuid::new_v4);
        let known: Vec<Vec<u8>> =
            live().filter_map(|passkey| URL_SAFE_NO_PAD.decode(&passkey.credential_id).ok()).collect();
        let (name, known) = (asking.admin, (!known.is_empty()).then_some(known));
        let started = self.webauthn.start_passkey_registration(handle, name, name, known);
        let (options, state) = started.map_err(PasskeyError::Webauthn)?;
        let bound = session.as_deref().unwrap_or_default().to_owned();
        let state = Registering { state, label, handle, code_sha256, session };
        let mut options = serde_json::to_value(options).map_err(|_| PasskeyError::Unreadable)?;
        if !bound.is_empty() {
            // The library asks for the opposite. Only a passkey that names its owner by itself can log in.
            options["publicKey"]["authenticatorSelection"] = json!({ "residentKey": "required", "requireResidentKey": true, "userVerification": "required" });
        }
        keep(asking, Purpose::Register, &bound, &state, &options).await
    }

    /// Asks a passkey of the admin to sign for the registration of a further one with that name.
    ///
    /// # Errors
    ///
    /// The admin has no passkey, or the name is not valid.
    pub async fn ask_for_another(&self, asking: Asking<'_>, label: &str) -> Result<Challenge, PasskeyError> {
        let label = checked_label(label)?;
        self.challenge(asking, Purpose::Add, &sha256(label.as_bytes())).await
    }

    /// Registers a passkey.
    ///
    /// # Errors
    ///
    /// The answer does not match the challenge, or the code has been used in the meantime.
    pub async fn register(&self, asking: Asking<'_>, answer: &Answer) -> Result<StoredPasskey, PasskeyError> {
        self.register_in(asking, "", answer).await
    }

    /// The same, for the login session in which the registration began.
    ///
    /// # Errors
    ///
    /// As of [`Passkeys::register`], or it began in another session.
    pub async fn register_in(
        &self,
        asking: Asking<'_>,
        session: &str,
        answer: &Answer,
    ) -> Result<StoredPasskey, PasskeyError> {
        let registered = Box::pin(self.registered(asking, session, answer)).await;
        match &registered {
            Err(PasskeyError::Refused(why)) => refuse(asking, Purpose::Register, why).await?,
            Err(PasskeyError::BadCode) => refuse(asking, Purpose::Register, "bad_code").await?,
            _ => {}
        }
        registered
    }

    async fn registered(
        &self,
        asking: Asking<'_>,
        session: &str,
        answer: &Answer,
    ) -> Result<StoredPasskey, PasskeyError> {
        let credential: RegisterPublicKeyCredential = read(&answer.credential)?;
        let state = take(asking, Purpose::Register, session, &answer.challenge).await?;
        given_in_own_page(&answer.credential)?;
        let Registering { state, label, handle, code_sha256, session } =
            serde_json::from_str(&state).map_err(|_| PasskeyError::Unreadable)?;
        let webauthn = self.webauthn.clone();
        let passkey = apart(move || webauthn.finish_passkey_registration(&credential, &state)).await?;
        let passkey = passkey.map_err(|error| PasskeyError::Refused(word_of(&error)))?;
        let text = serde_json::to_value(&passkey).map_err(|_| PasskeyError::Unreadable)?;
        // Whatever the stored state asked for (CVE-2026-47841).
        if text["cred"]["user_verified"] != json!(true) {
            return Err(PasskeyError::Refused("user_not_verified"));
        }
        let stored = StoredPasskey {
            id: uuid::Uuid::new_v4().to_string(),
            admin: asking.admin.to_owned(),
            user_handle: handle.to_string(),
            credential_id: URL_SAFE_NO_PAD.encode(passkey.cred_id()),
            credential: text.to_string(),
            counter: 0,
            label,
            registered_at: asking.now.trunc_subsecs(6),
            last_used_at: None,
            revoked_at: None,
            revoked_by: None,
        };
        let proof = match (&code_sha256, &session) {
            (Some(_), _) => "code",
            (None, Some(_)) => "session",
            (None, None) => "passkey",
        };
        let detail = json!({ "proof": proof, "session": session });
        let note = note(asking, "registered", Some(&stored.id), detail, asking.admin);
        match asking.store.add_passkey(&stored, code_sha256.as_deref(), &note).await? {
            Registered::Done => Ok(stored),
            Registered::NoInvite => Err(PasskeyError::BadCode),
        }
    }
}

/// Makes a code with which an admin registers a first passkey, and returns it. Only its digest is stored.
///
/// # Errors
///
/// There is no such admin, or the admin already has a passkey.
pub async fn invite(asking: Asking<'_>, by: &str) -> Result<Zeroizing<String>, PasskeyError> {
    let subject = Subject::Admin { id: AdminId::new(asking.admin), session: None };
    if asking.store.access(&subject, asking.now).await?.standing != Standing::Active {
        return Err(PasskeyError::NoAdmin(asking.admin.to_owned()));
    }
    if !asking.store.passkeys(Some(asking.admin), false).await?.is_empty() {
        return Err(PasskeyError::HasPasskeys);
    }
    let code = one_time_code().map_err(|_| PasskeyError::Random)?;
    let (id, digest) = (uuid::Uuid::new_v4().to_string(), digest_of_code(&code));
    let expires = asking.now + CODE_TIME;
    let invite =
        NewInvite { id: &id, admin: asking.admin, code_sha256: &digest, by, at: asking.now, expires };
    let detail = json!({ "invite": id, "expires_at_utc": expires });
    asking.store.invite_passkey(&invite, &note(asking, "invited", None, detail, by)).await?;
    Ok(code)
}

/// Revokes a passkey; `false` if there is none with that id, or it is already revoked. `asking` names its holder.
///
/// # Errors
///
/// The database operation failed.
pub async fn revoke(asking: Asking<'_>, id: &str, by: &str) -> Result<bool, PasskeyError> {
    let note = note(asking, "revoked", Some(id), Value::Null, by);
    Ok(asking.store.revoke_passkey(id, by, asking.now, &note).await?)
}

/// The user handle of the passkey's owner.
fn own_handle(stored: &StoredPasskey) -> Result<Uuid, PasskeyError> {
    Uuid::parse_str(&stored.user_handle).map_err(|_| PasskeyError::Unreadable)
}

/// Notes that a passkey has signed, with its person verified.
async fn note_use(
    store: &SharedStore,
    stored: &StoredPasskey,
    result: &AuthenticationResult,
    now: DateTime<Utc>,
) -> Result<(), PasskeyError> {
    if !result.user_verified() {
        return Err(PasskeyError::Refused("user_not_verified"));
    }
    let mut passkey = credential_of(stored)?;
    passkey.update_credential(result);
    let text = serde_json::to_string(&passkey).map_err(|_| PasskeyError::Unreadable)?;
    match store.use_passkey(&stored.id, &text, i64::from(result.counter()), now).await? {
        true => Ok(()),
        // Another answer with the same signature count came first, or the passkey was revoked just now.
        false => Err(PasskeyError::Refused("counter_went_back")),
    }
}

/// Why the library refused an answer. A passkey whose signature count went back may have been copied (WebAuthn 6.1.1): it is
/// revoked, and its sessions end.
async fn refused(
    store: &SharedStore,
    notary: &Notary,
    stored: Option<&StoredPasskey>,
    error: &WebauthnError,
    now: DateTime<Utc>,
) -> Result<PasskeyError, PasskeyError> {
    if let (WebauthnError::CredentialPossibleCompromise, Some(stored)) = (error, stored) {
        let detail = json!({ "why": "counter_went_back" });
        let asking = Asking { store, notary, admin: &stored.admin, now };
        let note = note(asking, "revoked", Some(&stored.id), detail, "gate");
        store.revoke_passkey(&stored.id, "gate", now, &note).await?;
    }
    Ok(PasskeyError::Refused(word_of(error)))
}

/// The audit row of a passkey that its own admin removes.
pub fn revoked_note(asking: Asking<'_>, id: &str, by: &str) -> ledger::Note {
    note(asking, "revoked", Some(id), Value::Null, by)
}

/// Verifies a signature on a separate thread: it takes a while, and needs more stack than a worker has left.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, PasskeyError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| PasskeyError::Unreadable)
}

async fn keep(
    asking: Asking<'_>,
    purpose: Purpose,
    bound_sha256: &str,
    state: &impl Serialize,
    options: &impl Serialize,
) -> Result<Challenge, PasskeyError> {
    let id = uuid::Uuid::new_v4().to_string();
    let state = serde_json::to_string(state).map_err(|_| PasskeyError::Unreadable)?;
    let mut options = serde_json::to_value(options).map_err(|_| PasskeyError::Unreadable)?;
    let expires = asking.now + ANSWER_TIME;
    let challenge = NewChallenge {
        id: &id,
        admin: asking.admin,
        purpose: purpose.word(),
        bound_sha256,
        state: &state,
        expires,
    };
    asking.store.add_challenge(&challenge, asking.now).await?;
    Ok(Challenge { challenge: id, options: options["publicKey"].take(), expires_at: expires })
}

/// Takes the challenge with that id, and checks that it belongs to this admin and purpose, and has not expired.
async fn take(
    asking: Asking<'_>,
    purpose: Purpose,
    bound_sha256: &str,
    id: &str,
) -> Result<String, PasskeyError> {
    let taken = asking.store.take_challenge(id).await?.ok_or(PasskeyError::Refused("no_such_challenge"))?;
    if taken.admin != asking.admin {
        return Err(PasskeyError::Refused("another_admin"));
    }
    if taken.purpose != purpose.word() {
        return Err(PasskeyError::Refused("another_purpose"));
    }
    if taken.bound_sha256 != bound_sha256 {
        return Err(PasskeyError::Refused("another_agreement"));
    }
    if taken.expires <= asking.now {
        return Err(PasskeyError::Refused("too_late"));
    }
    Ok(taken.state)
}

async fn refuse(asking: Asking<'_>, purpose: Purpose, why: &'static str) -> Result<(), PasskeyError> {
    tracing::warn!(
        admin = asking.admin,
        purpose = purpose.word(),
        why,
        "the answer of a passkey was refused"
    );
    let detail = json!({ "purpose": purpose.word(), "why": why });
    Ok(asking.store.record(&note(asking, "refused", None, detail, asking.admin)).await?)
}

fn note(
    asking: Asking<'_>,
    step: &'static str,
    passkey: Option<&str>,
    detail: Value,
    by: &str,
) -> ledger::Note {
    let event =
        AuditEvent::Passkey { step, passkey: passkey.map(ToOwned::to_owned), detail, by: by.to_owned() };
    asking.notary.note(event.into_record(asking.now))
}

fn credential_of(stored: &StoredPasskey) -> Result<Passkey, PasskeyError> {
    serde_json::from_str(&stored.credential).map_err(|_| PasskeyError::Unreadable)
}

fn read<T: DeserializeOwned>(credential: &Value) -> Result<T, PasskeyError> {
    T::deserialize(credential).map_err(|_| PasskeyError::Malformed)
}

/// Refuses an answer that was given in a frame on another origin's page, which could have tricked the user into giving
/// it (Web Authentication Level 3, sections 5.8.1 and 7.2, step 14). The signature covers the data that the browser
/// collected.
fn given_in_own_page(credential: &Value) -> Result<(), PasskeyError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Collected {
        #[serde(default)]
        cross_origin: bool,
        top_origin: Option<Value>,
    }
    let text = credential["response"]["clientDataJSON"].as_str().ok_or(PasskeyError::Malformed)?;
    let text = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| PasskeyError::Malformed)?;
    let collected: Collected = serde_json::from_slice(&text).map_err(|_| PasskeyError::Malformed)?;
    match collected.cross_origin || collected.top_origin.is_some() {
        true => Err(PasskeyError::Refused("cross_origin")),
        false => Ok(()),
    }
}

fn checked_label(label: &str) -> Result<String, PasskeyError> {
    let label = label.trim();
    let fits = !label.is_empty() && is_line(label, MOST_LABEL);
    fits.then(|| label.to_owned()).ok_or(PasskeyError::BadLabel)
}

/// The code may be typed with or without its hyphens, and in any letter case.
pub fn digest_of_code(code: &str) -> String {
    let bare: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    sha256(bare.to_ascii_uppercase().as_bytes())
}

/// The SHA-256 of bytes, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    policy::hex::lower(Sha256::digest(bytes))
}

/// A stable word for the audit. The library's own messages may change.
fn word_of(error: &WebauthnError) -> &'static str {
    match error {
        WebauthnError::MismatchedChallenge => "another_challenge",
        WebauthnError::InvalidRPOrigin => "another_origin",
        WebauthnError::InvalidRPIDHash => "another_relying_party",
        WebauthnError::UserNotPresent => "user_not_present",
        WebauthnError::UserNotVerified => "user_not_verified",
        WebauthnError::CredentialNotFound => "another_credential",
        WebauthnError::CredentialPossibleCompromise => "counter_went_back",
        WebauthnError::AuthenticationFailure => "bad_signature",
        _ => "malformed",
    }
}

/// The characters of a code: capital letters and digits without I and 1, O and 0, which look alike.
const OF_CODES: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// A new one-time code of 120 random bits, in groups of four characters. It is printed once and wiped when dropped.
///
/// # Errors
///
/// The operating system gave no randomness.
fn one_time_code() -> Result<Zeroizing<String>, rand::rand_core::OsError> {
    let mut bytes = Zeroizing::new([0_u8; 24]);
    OsRng.try_fill_bytes(bytes.as_mut())?;
    let mut code = Zeroizing::new(String::with_capacity(30));
    for (place, byte) in bytes.iter().enumerate() {
        if place > 0 && place % 4 == 0 {
            code.push('-');
        }
        // 256 is a multiple of 32, so each character is as likely as any other.
        code.push(char::from(OF_CODES[usize::from(byte % 32)]));
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_names() {
        for (origin, rp_id, fits) in [
            ("https://console.example.org", None, true),
            ("https://console.example.org:8443", None, true),
            ("https://console.example.org", Some("example.org"), true),
            ("http://localhost:8080", None, true),
            ("https://console.example.org", Some("other.org"), false),
            ("https://console.example.org", Some("sole.example.org"), false),
            ("http://console.example.org", None, false),
            ("https://console.example.org/", None, false),
            ("https://console.example.org/console", None, false),
            ("https://u:p@console.example.org", None, false),
            ("https://192.0.2.7", None, false),
            ("console.example.org", None, false),
            ("", None, false),
        ] {
            assert_eq!(Passkeys::new(origin, rp_id).is_ok(), fits, "{origin} {rp_id:?}");
        }
    }

    #[test]
    fn a_code_is_the_same_however_it_is_typed() {
        let code = one_time_code().unwrap();
        let typed = code.to_lowercase().replace('-', " ");
        assert_eq!(digest_of_code(&code), digest_of_code(&typed));
        assert_ne!(digest_of_code(&code), digest_of_code(&one_time_code().unwrap()));
    }
}
