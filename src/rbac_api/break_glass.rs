//! Break-glass over the API: passkeys, sessions, their requests and reviews.
//!
//! The rules are in [`grants::break_glass`] and [`grants::passkeys`]. Here is who may see what.

use chrono::{DateTime, Utc};
use grants::By;
use grants::apart::{Opens, opened_by_session};
use grants::authority::Sentence;
use grants::break_glass::{self, BreakGlassError, Wanted};
use grants::passkeys::{Answer, PasskeyError, Proof};
use ledger::event::Way;
use policy::decision::Reason;
use policy::rbac::census::CallerKind;
use serde::Deserialize;
use serde_json::{Value, json};
use store::break_glass::StoredGlass;
use store::passkeys::StoredPasskey;

use super::query::Query;
use super::reply::{Outcome, Problem, Reply};
use super::routes::Endpoint;
use super::writes::body;
use super::{Caller, RbacApi};
use crate::ruling::own_routes::OwnRequest;

/// `POST /api/rbac/break-glass/challenge`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    reason: String,
    #[serde(default)]
    minutes: Option<i64>,
    #[serde(default)]
    ticket: Option<String>,
}

impl Ask {
    fn wanted(&self) -> Result<Wanted, BreakGlassError> {
        Wanted::new(&self.reason, self.minutes, self.ticket.as_deref())
    }
}

/// `POST /api/rbac/break-glass`: the same again, with the passkey's answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    reason: String,
    #[serde(default)]
    minutes: Option<i64>,
    #[serde(default)]
    ticket: Option<String>,
    answer: Answer,
}

/// `POST /api/rbac/break-glass/{id}/review`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Review {
    comment: String,
}

/// `POST /api/rbac/passkeys/challenge`: with a code for a first passkey, with neither to ask one that is there, with its answer
/// for a further one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    label: String,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    answer: Option<Answer>,
}

impl RbacApi {
    /// Answers one request about break-glass; `None` where the endpoint is another.
    pub(super) async fn break_glass(
        &self,
        asked: &OwnRequest<'_>,
        caller: &Caller,
        endpoint: Endpoint,
        values: &[&str],
    ) -> Option<Outcome> {
        let now = self.parts.clock.now();
        // An end says why in its query.
        if endpoint != Endpoint::EndGlass
            && is_ours(endpoint)
            && let Err(problem) = Query::parse(asked.request.target().query(), &[])
        {
            return Some(Err(problem));
        }
        Some(match (endpoint, values) {
            (Endpoint::GlassSessions, _) => self.sessions(caller, now).await,
            // Where the page was until it became one of the others.
            (Endpoint::GlassPage, _) => Ok(Reply::empty(308).with("location", "/console/rbac/break-glass")),
            (Endpoint::GlassOpens, _) => self.glass_opens(caller).await,
            (Endpoint::GlassChallenge, _) => self.glass_challenge(asked, caller, now).await,
            (Endpoint::StartGlass, _) => self.start_glass(asked, caller, now).await,
            (Endpoint::GlassSession, [id]) => self.session(caller, id, now).await,
            (Endpoint::EndGlass, [id]) => self.end_glass(asked, caller, id, now).await,
            (Endpoint::GlassRequests, [id]) => self.glass_requests(caller, id, now).await,
            (Endpoint::ReviewGlass, [id]) => self.review_glass(asked, caller, id, now).await,
            (Endpoint::Passkeys, _) => self.passkeys(caller).await,
            (Endpoint::PasskeyChallenge, _) => self.begin_passkey(asked, caller, now).await,
            (Endpoint::PostPasskey, _) => self.add_passkey(asked, caller, now).await,
            _ => return None,
        })
    }

    /// Whether the caller may see others' sessions and close their reviews.
    fn may_review(&self, caller: &Caller) -> bool {
        let is_eligible = self.parts.store.break_glass_rules().allow(&caller.access.groups);
        (caller.kind() == CallerKind::Admin && is_eligible) || caller.holds(self.parts.review.as_ref())
    }

    fn may_see_session(&self, caller: &Caller, session: &StoredGlass) -> bool {
        let is_own = caller.kind() == CallerKind::Admin && session.admin == caller.id();
        is_own || self.may_review(caller)
    }

    async fn seen_session(&self, caller: &Caller, id: &str) -> Result<StoredGlass, Problem> {
        let found = self.parts.store.glass_sessions(Some(id)).await?.into_iter().next();
        let found = found.filter(|session| self.may_see_session(caller, session));
        found.ok_or_else(|| BreakGlassError::Unknown(String::new()).into())
    }

    async fn sessions(&self, caller: &Caller, now: DateTime<Utc>) -> Outcome {
        let mut sessions = self.parts.store.glass_sessions(None).await?;
        sessions.retain(|session| self.may_see_session(caller, session));
        let sessions: Vec<Value> = sessions.iter().map(|session| view(session, now)).collect();
        Ok(Reply::ok(json!({ "sessions": sessions })))
    }

    async fn session(&self, caller: &Caller, id: &str, now: DateTime<Utc>) -> Outcome {
        Ok(Reply::ok(view(&self.seen_session(caller, id).await?, now)))
    }

    async fn glass_challenge(&self, asked: &OwnRequest<'_>, caller: &Caller, now: DateTime<Utc>) -> Outcome {
        is_admin(caller)?;
        let ask: Ask = body(asked)?;
        let challenge = self.parts.break_glass.challenge(caller.id(), &ask.wanted()?, now).await?;
        Ok(Reply::ok(json!(challenge)))
    }

    async fn start_glass(&self, asked: &OwnRequest<'_>, caller: &Caller, now: DateTime<Utc>) -> Outcome {
        is_admin(caller)?;
        let Start { reason, minutes, ticket, answer } = body(asked)?;
        let wanted = Ask { reason, minutes, ticket }.wanted()?;
        let id = asked.id.to_string();
        let glass = &self.parts.break_glass;
        let started = Box::pin(glass.start(caller.id(), &wanted, &answer, Some(&id), now)).await?;
        let location = format!("/api/rbac/break-glass/{}", started.id);
        let mut started = json!(started);
        // The session is there, whether or not it can be said what it opens.
        let opened = self.opened(caller).await.ok();
        started["opens"] = opened.as_ref().map(|opened| opened.now.len()).into();
        started["once_on_v2"] = opened.as_ref().map(|opened| opened.once_on_v2.len()).into();
        started["summary"] = opened.map(|opened| opened.of_session_in_words()).into();
        Ok(Reply::ok(started).with_status(201).with("location", location))
    }

    /// What a session of the caller would open, and whether it may start one.
    async fn glass_opens(&self, caller: &Caller) -> Outcome {
        let rules = self.parts.store.break_glass_rules();
        let opened = self.opened(caller).await?;
        Ok(Reply::ok(json!({
            "eligible": caller.kind() == CallerKind::Admin && rules.allow(&caller.access.groups),
            "eligible_groups": rules.eligible,
            "longest_minutes": policy::rbac::break_glass::LONGEST.num_minutes(),
            "now": opened.now,
            "once_on_v2": opened.once_on_v2,
            "summary": opened.of_session_in_words(),
        })))
    }

    /// The sessions that run now, the caller's own first: `is_reader` sees those of others, which are among the grants.
    pub(super) async fn running_sessions(
        &self,
        caller: &Caller,
        is_reader: bool,
    ) -> Result<Vec<StoredGlass>, Problem> {
        let now = self.parts.clock.now();
        let mut sessions = self.parts.store.glass_sessions(None).await?;
        sessions.retain(|one| one.is_live(now) && (is_reader || self.may_see_session(caller, one)));
        sessions.sort_by_key(|one| one.admin != caller.id());
        Ok(sessions)
    }

    /// What a session of the caller opens.
    async fn opened(&self, caller: &Caller) -> Result<Opens, Problem> {
        let catalog = self.parts.store.catalog().await?;
        let mapping = self.parts.mappings.running();
        let opened = opened_by_session(&mapping, &catalog, caller.id(), &caller.access.groups);
        let is_on = caller.control.rbac_v2 && caller.control.may_enforce;
        Ok(if is_on { opened } else { opened.while_off() })
    }

    async fn end_glass(
        &self,
        asked: &OwnRequest<'_>,
        caller: &Caller,
        id: &str,
        now: DateTime<Utc>,
    ) -> Outcome {
        let query = Query::parse(asked.request.target().query(), &["reason"])?;
        if !asked.body.is_empty() {
            return Err(Problem::new(400, "a DELETE has no body; say why as `?reason=`"));
        }
        let reason = super::writes::checked_reason(query.get("reason"))?;
        self.seen_session(caller, id).await?;
        let (store, notary) = (&self.parts.store, &self.parts.notary);
        let by = By { name: caller.id(), reason: reason.as_deref(), way: Way::Api, now };
        let request = asked.id.to_string();
        Box::pin(break_glass::end(store, notary, id, (by, caller.kind().into()), Some(&request))).await?;
        self.settle().await?;
        Ok(Reply::empty(204))
    }

    async fn glass_requests(&self, caller: &Caller, id: &str, now: DateTime<Utc>) -> Outcome {
        self.seen_session(caller, id).await?;
        let (store, notary) = (&self.parts.store, &self.parts.notary);
        let requests = break_glass::requests(store, notary, id, caller.id(), now).await?;
        Ok(Reply::ok(json!({ "requests": requests })))
    }

    async fn review_glass(
        &self,
        asked: &OwnRequest<'_>,
        caller: &Caller,
        id: &str,
        now: DateTime<Utc>,
    ) -> Outcome {
        is_admin(caller)?;
        let session = self.seen_session(caller, id).await?;
        if session.admin != caller.id() && !self.may_review(caller) {
            let required = self.parts.review.iter().map(|name| format!("permission `{name}`"));
            let word = Reason::MissingPermission.word();
            let could =
                ["members of the groups that may start break-glass, and holders of `[break_glass] review`"];
            return Err(Problem::forbidden(word, "you may not close reviews", &could).requiring(required));
        }
        let Review { comment } = body(asked)?;
        let (store, notary) = (&self.parts.store, &self.parts.notary);
        Box::pin(break_glass::review(store, notary, id, (caller.id(), &comment), now)).await?;
        Ok(Reply::ok(view(&self.seen_session(caller, id).await?, now)))
    }

    async fn passkeys(&self, caller: &Caller) -> Outcome {
        is_admin(caller)?;
        let passkeys = self.parts.store.passkeys(Some(caller.id()), false).await?;
        let passkeys: Vec<Value> = passkeys.iter().map(of_passkey).collect();
        Ok(Reply::ok(json!({ "passkeys": passkeys })))
    }

    async fn begin_passkey(&self, asked: &OwnRequest<'_>, caller: &Caller, now: DateTime<Utc>) -> Outcome {
        is_admin(caller)?;
        let Begin { label, code, answer } = body(asked)?;
        let glass = &self.parts.break_glass;
        let (passkeys, asking) = (glass.passkeys()?, glass.asking(caller.id(), now));
        let (purpose, challenge) = match (code, answer) {
            (Some(_), Some(_)) => {
                return Err(Problem::new(
                    422,
                    "send `code` or `answer`: a first passkey is registered with a code",
                ));
            }
            (None, None) => ("add", passkeys.ask_for_another(asking, &label).await?),
            (Some(code), None) => ("register", passkeys.begin(asking, &label, Proof::Code(&code)).await?),
            (None, Some(answer)) => {
                ("register", passkeys.begin(asking, &label, Proof::Passkey(&answer)).await?)
            }
        };
        let mut challenge = json!(challenge);
        challenge["purpose"] = purpose.into();
        Ok(Reply::ok(challenge))
    }

    async fn add_passkey(&self, asked: &OwnRequest<'_>, caller: &Caller, now: DateTime<Utc>) -> Outcome {
        is_admin(caller)?;
        let answer: Answer = body(asked)?;
        let glass = &self.parts.break_glass;
        let stored = glass.passkeys()?.register(glass.asking(caller.id(), now), &answer).await?;
        Ok(Reply::ok(of_passkey(&stored)).with_status(201))
    }
}

fn is_ours(endpoint: Endpoint) -> bool {
    matches!(
        endpoint,
        Endpoint::GlassSessions
            | Endpoint::GlassPage
            | Endpoint::GlassOpens
            | Endpoint::GlassChallenge
            | Endpoint::StartGlass
            | Endpoint::GlassSession
            | Endpoint::EndGlass
            | Endpoint::GlassRequests
            | Endpoint::ReviewGlass
            | Endpoint::Passkeys
            | Endpoint::PasskeyChallenge
            | Endpoint::PostPasskey
    )
}

/// A machine has no passkey, and nobody behind it.
fn is_admin(caller: &Caller) -> Result<(), Problem> {
    match caller.kind() {
        CallerKind::Admin => Ok(()),
        CallerKind::Machine => {
            let could = ["a member of a group that `[break_glass] eligible` names"];
            Err(Problem::forbidden("people_only", "break-glass is for people", &could))
        }
    }
}

fn of_passkey(passkey: &StoredPasskey) -> Value {
    json!({
        "id": passkey.id,
        "label": passkey.label,
        "registered_at": passkey.registered_at,
        "last_used_at": passkey.last_used_at,
    })
}

fn view(session: &StoredGlass, now: DateTime<Utc>) -> Value {
    let state = match (session.opened_at, session.closed_at) {
        (None, _) => "none",
        (Some(_), None) => "open",
        (Some(_), Some(_)) => "closed",
    };
    json!({
        "id": session.id,
        "user": session.admin,
        "reason": session.reason,
        "ticket": session.ticket,
        "granted_by": session.granted_by,
        "starts_at_utc": session.starts,
        "ends_at_utc": session.over_at(),
        "live": session.is_live(now),
        "ended_by": session.ended_by,
        "review": {
            "state": state,
            "closed_at_utc": session.closed_at,
            "closed_by": session.closed_by,
            "comment": session.comment,
            "requests": session.requests,
        },
    })
}

impl From<PasskeyError> for Problem {
    fn from(error: PasskeyError) -> Problem {
        let said = error.to_string();
        match error {
            PasskeyError::Store(error) => error.into(),
            PasskeyError::Refused(_) | PasskeyError::BadCode => {
                Problem::forbidden("passkey_refused", said, &["the admin whose passkey it is"])
            }
            PasskeyError::NoPasskey | PasskeyError::HasPasskeys | PasskeyError::TooMany => {
                Problem::new(409, said)
            }
            PasskeyError::BadLabel | PasskeyError::Malformed | PasskeyError::NoAdmin(_) => {
                Problem::new(422, said)
            }
            PasskeyError::Webauthn(_) | PasskeyError::Random | PasskeyError::Unreadable => {
                tracing::error!(%error, "break-glass: a passkey could not be used");
                Problem::new(
                    503,
                    "the passkey could not be used; an operator finds the cause in the gate's log",
                )
            }
        }
    }
}

impl From<BreakGlassError> for Problem {
    fn from(error: BreakGlassError) -> Problem {
        let said = error.to_string();
        match error {
            BreakGlassError::People(error) => error.into(),
            BreakGlassError::Passkey(error) => error.into(),
            BreakGlassError::Unknown(_) => Problem::new(404, "there is no such session"),
            // Nothing that passes by itself: to this gate there is no such thing.
            BreakGlassError::NotSetUp => Problem::new(404, said),
            BreakGlassError::NoAlert(_) => {
                tracing::error!(cause = said, "a break-glass session did not start");
                Problem::new(503, "no channel accepted the alert, so no session was started")
            }
            BreakGlassError::NotEligible(groups) => {
                Problem::forbidden("not_eligible", said, &[&format!("active members of {groups}")])
            }
            BreakGlassError::OwnReview => Problem::forbidden("own_review", said, &["another reviewer"])
                .with("rule", Sentence::Own.letter().to_string()),
            BreakGlassError::NoReason
            | BreakGlassError::BadSpan
            | BreakGlassError::BadTicket
            | BreakGlassError::NoComment => Problem::new(422, said),
            BreakGlassError::ReviewOpen | BreakGlassError::ReviewClosed | BreakGlassError::NotOver => {
                Problem::new(409, said)
            }
            BreakGlassError::TooManyRequests => Problem::new(503, said),
        }
    }
}
