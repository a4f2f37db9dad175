//! Break-glass: for an emergency, a time-limited grant of the roles of the group `break-glass` (RBAC V2 design,
//! section 6).
//!
//! ```text
//! challenge -> a passkey signs who, why, how long -> alert accepted -> one transaction: audit rows, session, review
//!                                                           \-> by no channel: no session
//! session -> requests, each recorded before it is forwarded -> ended, or over -> another person closes the review
//! ```
//!
//! The rules about who may have a session, and for how long, apply where access is read, whatever wrote the row
//! ([`policy::rbac::break_glass`]). This module contains how the gate starts a session, and its records.
//!
//! A request uses a session if it would be refused without it: recording every request would bury the ones that needed
//! it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use clock::SharedClock;
use ledger::event::Way;
use ledger::{AuditEvent, Notary};
use policy::mapping::Mapping;
use policy::rbac::break_glass::LONGEST;
use policy::rbac::census::{BREAK_GLASS, CallerKind, Person};
use policy::text::is_line;
use serde::Serialize;
use serde_json::{Value, json};
use store::break_glass::{GlassStarted, NewGlass, StoredGlass};
use store::jobs::TimedWork;
use store::rbac_changes::{GlassSession, GrantRow, RbacChange, RbacWork};
use store::{SharedStore, StoreError};

use crate::alerts::{Alert, Alerts, NoChannel, Receipt};
use crate::apart::opened_by_session;
use crate::passkeys::{Answer, Asking, Challenge, PasskeyError, Passkeys, Purpose, sha256};
use crate::record::{ActorKind, customers_events_of};
use crate::{By, PeopleError, State};

/// The shortest reason, in characters without white space around it.
const SHORTEST_REASON: usize = 20;
const MOST_REASON: usize = 2_000;
const MOST_TICKET: usize = 200;
/// How long a session lasts unless the request specifies it.
const USUAL_MINUTES: i64 = 60;
/// How often a change is computed again if others change access at the same time.
const TRIES: usize = 20;
/// The most audit rows of requests that are read for one answer.
const MOST_EVENTS: u32 = 20_000;
/// The author of the records of expired sessions.
const BY_GATE: &str = "gate";

/// Why a session was not started, ended or reviewed.
#[derive(Debug, thiserror::Error)]
pub enum BreakGlassError {
    #[error(transparent)]
    People(#[from] PeopleError),
    #[error(transparent)]
    Passkey(#[from] PasskeyError),
    #[error("break-glass is not set up: set `origin` in [break_glass] to the origin of Console's pages")]
    NotSetUp,
    #[error("no session starts before the people on call are alerted: {0}")]
    NoAlert(#[from] NoChannel),
    #[error("only active members of {0} may do this")]
    NotEligible(String),
    #[error(
        "a reason of {SHORTEST_REASON} to {MOST_REASON} characters is needed: one line, without control and invisible characters"
    )]
    NoReason,
    #[error("a session lasts 1 to {} minutes", LONGEST.num_minutes())]
    BadSpan,
    #[error("`ticket` is 1 to {MOST_TICKET} characters, without control characters")]
    BadTicket,
    #[error("the review of your last session is open: somebody else has to close it first")]
    ReviewOpen,
    #[error("there is no break-glass session `{0}`")]
    Unknown(String),
    #[error("nobody closes the review of their own session")]
    OwnReview,
    #[error("the review is closed already")]
    ReviewClosed,
    #[error("the session is not over yet: end it first")]
    NotOver,
    #[error(
        "a comment of 1 to {MOST_REASON} characters is needed: one line, without control and invisible characters"
    )]
    NoComment,
    #[error("more requests were made than one answer can hold: read the audit")]
    TooManyRequests,
}

impl From<StoreError> for BreakGlassError {
    fn from(error: StoreError) -> Self {
        BreakGlassError::People(error.into())
    }
}

/// A checked request for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    reason: String,
    minutes: i64,
    ticket: Option<String>,
}

impl Wanted {
    /// Checks a request for a session.
    ///
    /// # Errors
    ///
    /// The reason is too short, or the session too long.
    pub fn new(reason: &str, minutes: Option<i64>, ticket: Option<&str>) -> Result<Wanted, BreakGlassError> {
        let reason = reason.trim();
        let long_enough = reason.chars().count() >= SHORTEST_REASON;
        if !long_enough || !is_line(reason, MOST_REASON) {
            return Err(BreakGlassError::NoReason);
        }
        let minutes = minutes.unwrap_or(USUAL_MINUTES);
        if !(1..=LONGEST.num_minutes()).contains(&minutes) {
            return Err(BreakGlassError::BadSpan);
        }
        let ticket = ticket.map(str::trim);
        if ticket.is_some_and(|ticket| ticket.is_empty() || !is_line(ticket, MOST_TICKET)) {
            return Err(BreakGlassError::BadTicket);
        }
        Ok(Wanted { reason: reason.to_owned(), minutes, ticket: ticket.map(ToOwned::to_owned) })
    }

    /// The digest that a passkey signs.
    fn bound(&self, admin: &str) -> String {
        sha256(json!([admin, self.reason, self.minutes, self.ticket]).to_string().as_bytes())
    }
}

/// A session that has started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Started {
    pub id: String,
    pub starts: DateTime<Utc>,
    pub ends: DateTime<Utc>,
    /// The channels that accepted the alert.
    pub alerted: Vec<String>,
}

/// The result of ending a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Now,
    /// It was already over.
    Before,
}

/// A request that a session permitted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GlassRequest {
    pub at: DateTime<Utc>,
    pub request_id: Option<String>,
    pub method: Option<String>,
    pub path: Option<String>,
    pub route: Option<String>,
    /// `None` if no answer is known.
    pub status: Option<u16>,
}

/// One requirement of break-glass, and whether it is met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DrillStep {
    pub name: &'static str,
    pub ok: bool,
    pub detail: String,
}

/// Starts sessions.
pub struct BreakGlass {
    pub store: SharedStore,
    pub notary: Notary,
    /// `None` if the settings specify no origin: no session can be started then.
    pub passkeys: Option<Passkeys>,
    pub alerts: Alerts,
}

impl BreakGlass {
    /// The passkeys.
    ///
    /// # Errors
    ///
    /// The settings specify no origin.
    pub fn passkeys(&self) -> Result<&Passkeys, BreakGlassError> {
        self.passkeys.as_ref().ok_or(BreakGlassError::NotSetUp)
    }

    /// The admin that asks, for the passkeys.
    pub fn asking<'a>(&'a self, admin: &'a str, now: DateTime<Utc>) -> Asking<'a> {
        Asking { store: &self.store, notary: &self.notary, admin, now }
    }

    /// Asks the admin's passkeys to sign for a session.
    ///
    /// # Errors
    ///
    /// The admin may not have a session now.
    pub async fn challenge(
        &self,
        admin: &str,
        wanted: &Wanted,
        now: DateTime<Utc>,
    ) -> Result<Challenge, BreakGlassError> {
        let passkeys = self.passkeys()?;
        self.may_start(admin, now).await?;
        Ok(passkeys.challenge(self.asking(admin, now), Purpose::Start, &wanted.bound(admin)).await?)
    }

    /// Starts a session, after a channel has accepted the alert.
    ///
    /// # Errors
    ///
    /// The admin may not have a session now, the passkey's answer was refused, or no channel accepted the alert. No
    /// session starts in these cases.
    pub async fn start(
        &self,
        admin: &str,
        wanted: &Wanted,
        answer: &Answer,
        request_id: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Started, BreakGlassError> {
        // The precision with which both databases store times.
        let now = now.trunc_subsecs(6);
        let asking = self.asking(admin, now);
        let passkey = self.passkeys()?.verify(asking, Purpose::Start, &wanted.bound(admin), answer).await?;
        // Before the people on call are alerted.
        self.may_start(admin, now).await?;
        let session = GlassSession {
            id: uuid::Uuid::new_v4().to_string(),
            admin: admin.to_owned(),
            starts: now,
            ends: now + TimeDelta::minutes(wanted.minutes),
        };
        let receipts = self.alert(&session, wanted).await?;
        let started = Box::pin(self.make(&session, wanted, (&passkey, &receipts), request_id)).await;
        if let Err(error) = &started {
            self.take_back(&session, error).await;
        }
        started?;
        let alerted = receipts.into_iter().map(|receipt| receipt.channel).collect();
        Ok(Started { id: session.id, starts: session.starts, ends: session.ends, alerted })
    }

    /// Whether the admin may start a session now.
    async fn may_start(&self, admin: &str, now: DateTime<Utc>) -> Result<State, BreakGlassError> {
        let state = State::read(&self.store, &[], now).await?;
        is_eligible(&self.store, &state, admin)?;
        let sessions = self.store.glass_sessions(None).await?;
        if sessions.iter().any(|session| session.admin == admin && session.is_open()) {
            return Err(BreakGlassError::ReviewOpen);
        }
        Ok(state)
    }

    async fn alert(&self, session: &GlassSession, wanted: &Wanted) -> Result<Vec<Receipt>, NoChannel> {
        let GlassSession { id, admin, ends, .. } = session;
        let ticket = wanted.ticket.as_deref().unwrap_or("none");
        let alert = Alert {
            key: format!("break_glass:{id}"),
            kind: "break_glass",
            subject: format!("Break-glass: {admin} starts a session of {} minutes", wanted.minutes),
            text: format!(
                "Admin: {admin}\nReason: {}\nTicket: {ticket}\nEnds: {}\nSession: {id}\n\nIf nobody knows of this: end it with \
                 `console-gate break-glass end {id}`.",
                wanted.reason,
                ends.format("%Y-%m-%d %H:%M UTC"),
            ),
        };
        self.alerts.deliver(&alert).await
    }

    /// Writes the session as of an epoch at which its admin may have it.
    async fn make(
        &self,
        session: &GlassSession,
        wanted: &Wanted,
        (passkey, receipts): (&str, &[Receipt]),
        request_id: Option<&str>,
    ) -> Result<(), BreakGlassError> {
        let (admin, now) = (session.admin.as_str(), session.starts);
        for _ in 0..TRIES {
            let state = self.may_start(admin, now).await?;
            let row = row_of(&session.admin, true, Some(session.ends), Some(&session.id));
            let by = By { name: admin, reason: Some(&wanted.reason), way: Way::Api, now };
            let detail = json!({
                "minutes": wanted.minutes, "ends_at_utc": session.ends, "ticket": wanted.ticket, "passkey": passkey,
                "alert_receipts": receipts, "grants": [row.id],
            });
            let note = record("started", Some((&session.id, admin)), by, detail);
            let rows = [row];
            let further = customers_events_of(&self.notary, &rows, by, ActorKind::Admin, request_id);
            let changes = [RbacChange::BreakGlass { session: session.clone() }];
            let work = work(&changes, &rows, &state, by, &self.notary);
            let ticket = wanted.ticket.as_deref();
            let new = NewGlass { id: &session.id, admin, ticket, work: &work, further: &further };
            match self.store.start_glass(&new, &self.notary.note(note)).await? {
                GlassStarted::Done => return Ok(()),
                GlassStarted::ReviewOpen => return Err(BreakGlassError::ReviewOpen),
                GlassStarted::Changed => {}
            }
        }
        Err(PeopleError::Changing.into())
    }

    /// Informs the people on call that the session of their alert did not start.
    async fn take_back(&self, session: &GlassSession, error: &BreakGlassError) {
        let alert = Alert {
            key: format!("break_glass:{}:not_started", session.id),
            kind: "break_glass",
            subject: format!("Break-glass: the session of {} did not start", session.admin),
            text: format!("Session: {}\nIt was announced, and did not start: {error}.", session.id),
        };
        if let Err(error) = self.alerts.enqueue(&alert).await {
            tracing::error!(%error, "an alert about a break-glass session that did not start was not kept");
        }
    }

    /// Checks everything that a session needs, without starting one.
    ///
    /// # Errors
    ///
    /// The database did not answer.
    pub async fn drill(
        &self,
        by: &str,
        mapping: Result<&Mapping, &str>,
        now: DateTime<Utc>,
    ) -> Result<Vec<DrillStep>, BreakGlassError> {
        let mut steps = Vec::new();
        let mut add = |name, outcome: Result<String, String>| {
            let ok = outcome.is_ok();
            steps.push(DrillStep { name, ok, detail: outcome.unwrap_or_else(|why| why) });
        };
        let settings = self.passkeys().map(|_| "`origin` is set".to_owned());
        add("settings", settings.map_err(|error| error.to_string()));
        let state = State::read(&self.store, &[], now).await?;
        let roles = state.registry.catalog.roles_of_group(BREAK_GLASS);
        add(
            "roles",
            match roles.len() {
                0 => Err(format!("the group `{BREAK_GLASS}` has no roles: a session would grant nothing")),
                count => Ok(format!("`{BREAK_GLASS}` has {count} roles")),
            },
        );
        let opened = mapping.map(|mapping| {
            let eligible = state.eligible.eligible.clone();
            opened_by_session(mapping, &state.registry.catalog, by, &eligible)
        });
        add(
            "routes",
            match opened {
                Err(problem) => Err(format!("which routes a session opens is not known: {problem}")),
                Ok(opened) if opened.now.is_empty() => Err(opened.of_session_in_words()),
                Ok(opened) => Ok(opened.of_session_in_words()),
            },
        );
        let rules = self.store.break_glass_rules();
        let is_eligible = |person: &&Person| person.kind == CallerKind::Admin && rules.allow(&person.groups);
        let eligible: BTreeSet<String> =
            state.registry.people.iter().filter(is_eligible).map(|person| person.id.to_string()).collect();
        let passkeys = self.store.passkeys(None, false).await?;
        let with: BTreeSet<String> = passkeys.into_iter().map(|passkey| passkey.admin).collect();
        let without: Vec<&str> = eligible.difference(&with).map(String::as_str).collect();
        add(
            "passkeys",
            match (eligible.is_empty(), without.is_empty()) {
                (true, _) => Err(format!(
                    "nobody may start a session: {} have no active members",
                    names(&rules.eligible)
                )),
                (false, false) => Err(format!("eligible, and without a passkey: {}", without.join(", "))),
                (false, true) => {
                    Ok(format!("{} admins may start a session, and each has a passkey", eligible.len()))
                }
            },
        );
        let alert = Alert {
            key: format!("break_glass_drill:{}", uuid::Uuid::new_v4()),
            kind: "break_glass_drill",
            subject: "Break-glass drill: this is a test".to_owned(),
            text: format!("{by} tests break-glass. No session starts."),
        };
        let accepted = self.alerts.deliver(&alert).await.map(|receipts| {
            let channels: Vec<String> = receipts.into_iter().map(|receipt| receipt.channel).collect();
            format!("accepted by {}", channels.join(", "))
        });
        add("alert", accepted.map_err(|error| error.to_string()));
        let failed: Vec<&str> = steps.iter().filter(|step| !step.ok).map(|step| step.name).collect();
        let by = By { name: by, reason: None, way: Way::Command, now };
        let note = self.notary.note(record("drill", None, by, json!({ "failed": failed })));
        let written = self.store.record(&note).await;
        steps.push(DrillStep {
            name: "audit",
            ok: written.is_ok(),
            detail: written.map_or_else(|error| error.to_string(), |()| "the drill is recorded".to_owned()),
        });
        Ok(steps)
    }
}

/// Ends a session early. An admin must be its holder, or be eligible to start one; an operator always may.
///
/// Returns when the end is committed; after a barrier (`freshness::barrier`), no gate acts on the session any more.
///
/// # Errors
///
/// There is no such session, or `by` may not end it. Nothing is changed in that case.
pub async fn end(
    store: &SharedStore,
    notary: &Notary,
    id: &str,
    (by, kind): (By<'_>, ActorKind),
    request_id: Option<&str>,
) -> Result<Ended, BreakGlassError> {
    for _ in 0..TRIES {
        let state = State::read(store, &[], by.now).await?;
        let session = session(store, id).await?;
        match kind {
            ActorKind::System => {}
            ActorKind::Admin if session.admin == by.name => {}
            ActorKind::Admin => is_eligible(store, &state, by.name)?,
            // Machines cannot start sessions.
            ActorKind::Service => {
                return Err(BreakGlassError::NotEligible(names(&store.break_glass_rules().eligible)));
            }
        }
        if session.is_revoked || session.over_at().is_none_or(|over| over <= by.now) {
            return Ok(Ended::Before);
        }
        // The session ends, but the membership that lets its holder start one remains.
        let rows = [row_of(&session.admin, false, None, Some(&session.id))];
        let further = customers_events_of(notary, &rows, by, kind, request_id);
        let changes = [RbacChange::EndBreakGlass { id: session.id.clone(), admin: session.admin.clone() }];
        let detail = json!({ "ends_at_utc": session.ends, "grants": [rows[0].id] });
        let note = notary.note(record("ended", Some((&session.id, &session.admin)), by, detail));
        let work = work(&changes, &rows, &state, by, notary);
        if store.end_glass(&session.id, &session.admin, &work, &note, &further).await? {
            return Ok(Ended::Now);
        }
    }
    Err(PeopleError::Changing.into())
}

/// Closes the review of a session that is over.
///
/// # Errors
///
/// There is no such session, it is not over, its review is closed, or it is the session of `by`.
pub async fn review(
    store: &SharedStore,
    notary: &Notary,
    id: &str,
    (by, comment): (&str, &str),
    now: DateTime<Utc>,
) -> Result<(), BreakGlassError> {
    let comment = comment.trim();
    if comment.is_empty() || !is_line(comment, MOST_REASON) {
        return Err(BreakGlassError::NoComment);
    }
    // Records sessions that have just expired, so that they count as over.
    look(store, notary, now).await?;
    let session = session(store, id).await?;
    if session.admin == by {
        return Err(BreakGlassError::OwnReview);
    }
    if session.closed_at.is_some() {
        return Err(BreakGlassError::ReviewClosed);
    }
    if session.ended_at.is_none() {
        return Err(BreakGlassError::NotOver);
    }
    let requests = i64::try_from(requests_of(store, &session, now).await?.len()).unwrap_or(i64::MAX);
    let by_whom = By { name: by, reason: Some(comment), way: Way::Api, now };
    let whose = Some((session.id.as_str(), session.admin.as_str()));
    let note = notary.note(record("closed", whose, by_whom, json!({ "requests": requests })));
    match store.close_glass_review(&session.id, (by, comment), requests, now, &note).await? {
        true => Ok(()),
        false => Err(BreakGlassError::ReviewClosed),
    }
}

/// The requests that a session permitted. The fact that they were read is recorded first.
///
/// # Errors
///
/// There is no such session, the audit has too many rows of break-glass requests from its time for one answer (the
/// reading is recorded by then), or the database did not answer.
pub async fn requests(
    store: &SharedStore,
    notary: &Notary,
    id: &str,
    by: &str,
    now: DateTime<Utc>,
) -> Result<Vec<GlassRequest>, BreakGlassError> {
    let session = session(store, id).await?;
    let by = By { name: by, reason: None, way: Way::Api, now };
    let whose = Some((session.id.as_str(), session.admin.as_str()));
    store.record(&notary.note(record("read", whose, by, Value::Null))).await?;
    requests_of(store, &session, now).await
}

/// The requests that a session permitted, without a record of reading them.
///
/// # Errors
///
/// There are too many, or the database did not answer.
async fn requests_of(
    store: &SharedStore,
    session: &StoredGlass,
    now: DateTime<Utc>,
) -> Result<Vec<GlassRequest>, BreakGlassError> {
    let Some(starts) = session.starts else { return Ok(Vec::new()) };
    // Gates' clocks differ a little, an answer comes after its request, and a request that began before the end may
    // take long.
    let around = TimeDelta::minutes(5);
    let to = session.over_at().unwrap_or(now) + LONGEST;
    let events = store.glass_events(starts - around, to, MOST_EVENTS).await?;
    if events.len() >= MOST_EVENTS as usize {
        return Err(BreakGlassError::TooManyRequests);
    }
    let is_of_it = |detail: &Value| {
        let sessions = detail["sessions"].as_array();
        sessions.is_some_and(|sessions| sessions.iter().any(|id| id.as_str() == Some(&*session.id)))
    };
    let (mut requests, mut answers) = (Vec::new(), BTreeMap::new());
    for event in events {
        let detail = event.detail.map(|detail| detail.0).unwrap_or_default();
        if !is_of_it(&detail) {
            continue;
        }
        if event.event_type == "break_glass_answered" {
            let status = detail["status"].as_u64().and_then(|status| u16::try_from(status).ok());
            answers.insert(event.request_id, status);
        } else {
            let (at, request_id) = (event.occurred_at, event.request_id);
            let (method, path, route) = (event.method, event.path, event.route);
            requests.push(GlassRequest { at, request_id, method, path, route, status: None });
        }
    }
    for request in &mut requests {
        request.status = answers.get(&request.request_id).copied().flatten();
    }
    Ok(requests)
}

/// Checks that an admin may start a session.
///
/// # Errors
///
/// The admin is in no eligible group, or is not active.
pub fn is_eligible(store: &SharedStore, state: &State, admin: &str) -> Result<(), BreakGlassError> {
    let rules = store.break_glass_rules();
    let is_it = |person: &&Person| person.kind == CallerKind::Admin && *person.id == *admin;
    let person = state.registry.people.iter().find(is_it);
    match person.is_some_and(|person| rules.allow(&person.groups)) {
        true => Ok(()),
        false => Err(BreakGlassError::NotEligible(names(&rules.eligible))),
    }
}

/// Records each session that is over, once, and opens the reviews of sessions that the gate did not start. Returns the
/// number of recorded sessions. Access does not depend on when this runs: a session that is over grants nothing.
///
/// # Errors
///
/// The database did not answer. Sessions recorded before that stay recorded.
pub async fn look(
    store: &SharedStore,
    notary: &Notary,
    now: DateTime<Utc>,
) -> Result<usize, BreakGlassError> {
    let mut recorded = 0;
    for session in store.glass_sessions(None).await? {
        // An unreadable session never granted anything.
        let (Some(_), Some(over)) = (session.starts, session.over_at()) else { continue };
        let by = By { name: BY_GATE, reason: None, way: Way::Gate, now };
        if session.opened_at.is_none() {
            if !session.is_live(now) {
                // It ended before there was a gate, or was not in effect while a gate ran.
                continue;
            }
            let detail = json!({ "granted_by": session.granted_by, "ends_at_utc": session.ends });
            let note = notary.note(record("found", Some((&session.id, &session.admin)), by, detail));
            store.find_glass(&session.id, &session.admin, now, &note).await?;
        }
        if session.ended_at.is_some() || over > now {
            continue;
        }
        // No action ends it: its row specifies when it is over.
        let row = row_of(&session.admin, false, session.ends, None);
        let rows = std::slice::from_ref(&row);
        let further = customers_events_of(notary, rows, by, ActorKind::System, None);
        let detail = json!({ "ended_at_utc": over, "grants": [row.id] });
        let note = record("expired", Some((&session.id, &session.admin)), by, detail);
        let work = RbacWork {
            changes: &[],
            rows,
            // Nothing changes: this only records the existing state.
            as_of: policy::ids::Epoch(0),
            by: by.name,
            way: by.way,
            notary,
            reason: session.reason.as_deref(),
            now,
            answer: None,
        };
        let done = store.expire_glass(&session.id, over, (&work, &row), &notary.note(note), &further).await?;
        recorded += usize::from(done);
    }
    Ok(recorded)
}

/// Checks the sessions periodically, as long as the task runs; at once if a check is overdue.
pub async fn follow(store: SharedStore, notary: Notary, clock: SharedClock, gate: String) {
    const PERIOD: Duration = Duration::from_secs(10);
    let work = TimedWork { name: "break_glass", period: PERIOD, lease: Duration::from_secs(60) };
    loop {
        if let Err(error) = look_when_due(&store, &notary, &clock, work, &gate).await {
            tracing::warn!(%error, "the look at break-glass sessions is delayed");
        }
        tokio::time::sleep(PERIOD / 2).await;
    }
}

async fn look_when_due(
    store: &SharedStore,
    notary: &Notary,
    clock: &SharedClock,
    work: TimedWork,
    gate: &str,
) -> Result<(), BreakGlassError> {
    if !store.take_on(work, gate, clock.now()).await? {
        return Ok(());
    }
    let found = look(store, notary, clock.now()).await;
    store.has_done(work, gate, clock.now()).await?;
    let recorded = found?;
    if recorded > 0 {
        tracing::info!(recorded, "break-glass sessions are over");
    }
    Ok(())
}

async fn session(store: &SharedStore, id: &str) -> Result<StoredGlass, BreakGlassError> {
    let found = store.glass_sessions(Some(id)).await?.into_iter().next();
    found.ok_or_else(|| BreakGlassError::Unknown(id.escape_debug().to_string()))
}

/// A session's row of `rbac_grants_audit`.
fn row_of(admin: &str, is_grant: bool, ends: Option<DateTime<Utc>>, session: Option<&str>) -> GrantRow {
    GrantRow {
        id: uuid::Uuid::now_v7(),
        is_grant,
        admin: admin.to_owned(),
        group: Some(BREAK_GLASS.to_owned()),
        role: None,
        ends,
        is_break_glass: true,
        ticket: None,
        grant: session.map(ToOwned::to_owned),
    }
}

fn work<'w>(
    changes: &'w [RbacChange],
    rows: &'w [GrantRow],
    state: &State,
    by: By<'w>,
    notary: &'w Notary,
) -> RbacWork<'w> {
    let By { name, reason, way, now } = by;
    RbacWork { changes, rows, as_of: state.epoch, by: name, way, notary, reason, now, answer: None }
}

/// The record of a step, with the id and the admin of a session.
fn record(
    step: &'static str,
    session: Option<(&str, &str)>,
    by: By<'_>,
    detail: Value,
) -> ledger::AuditRecord {
    let event = AuditEvent::BreakGlass {
        step,
        session: session.map(|(id, _)| id.to_owned()),
        about: session.map(|(_, admin)| admin.to_owned()),
        reason: by.reason.map(ToOwned::to_owned),
        detail,
        by: by.name.to_owned(),
    };
    event.into_record(by.now)
}

fn names(groups: &BTreeSet<Arc<str>>) -> String {
    let names: Vec<String> = groups.iter().map(|group| format!("`{group}`")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const REASON: &str = "the database is down";

    #[test]
    fn a_reason_has_twenty_characters_and_a_session_at_most_four_hours() {
        assert_eq!(REASON.len(), 20);
        for (reason, minutes, ticket, fits) in [
            (REASON, None, None, true),
            (REASON, Some(240), Some("RAXX-7"), true),
            ("  the database is down\n", Some(1), None, true),
            ("the database is dow ", None, None, false),
            ("                        ", None, None, false),
            ("äöüäöüäöüäöüäöüäöüä", None, None, false),
            ("the database\0is down now", None, None, false),
            (REASON, Some(241), None, false),
            (REASON, Some(0), None, false),
            (REASON, Some(-60), None, false),
            (REASON, None, Some("  "), false),
        ] {
            assert_eq!(
                Wanted::new(reason, minutes, ticket).is_ok(),
                fits,
                "{reason:?} {minutes:?} {ticket:?}"
            );
        }
        assert_eq!(Wanted::new(REASON, None, None).unwrap().minutes, 60);
    }

    #[test]
    fn what_a_passkey_signs_for_is_one_admin_reason_duration_and_ticket() {
        let wanted = |reason: &str, minutes, ticket| Wanted::new(reason, Some(minutes), ticket).unwrap();
        let one = wanted(REASON, 60, Some("RAXX-7"));
        let others = [
            one.bound("ben"),
            wanted("the database is up again", 60, Some("RAXX-7")).bound("anna"),
            wanted(REASON, 61, Some("RAXX-7")).bound("anna"),
            wanted(REASON, 60, Some("RAXX-8")).bound("anna"),
            wanted(REASON, 60, None).bound("anna"),
        ];
        assert!(!others.contains(&one.bound("anna")));
        assert_eq!(one.bound("anna"), wanted(" the database is down ", 60, Some("RAXX-7")).bound("anna"));
    }
}
