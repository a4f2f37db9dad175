//! One request's way to its decision: route, credential, access, body, verdict, audit.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ledger::event::{AccessDenied, AuditEvent, BreakGlassUsed, Held};
use metrics::counter;
use policy::decision::body::{self, BodyError, BodyFacts, ContentHeaders};
use policy::decision::ticket::TicketFacts;
use policy::decision::{
    Caller, Control, Drift, GateInForce, Outcome, Permit, Question, Rejection, Target, Verdict, decide,
    decide_with, gate_in_force, gate_word, outcome_word, rests_on_break_glass, stepped_up,
};
use policy::firewall::{Framing, Refusal, Request};
use policy::hex;
use policy::identity::flask_cookie::VerifiedSession;
use policy::identity::machine_token::presented;
use policy::identity::{NOT_ENROLLED, Principal, Subject};
use policy::ids::{AdminId, MachineTokenId, MappingSha256, RequestId, SessionId};
use policy::mapping::{Found, Freshness, Mapping, Row, RowKind, Unmapped, V2Gate};
use policy::method::Method;
use policy::rbac::{Access, BreakGlassPart, Standing};
use tokio::time::{Instant, timeout, timeout_at};

use super::client::kept_address;
use super::offer::Offer;
use super::probe::Accepted;
use super::remembered::Identified;
use super::response::{About, Response};
use super::settling::{Verified, choose};
use super::tickets::{Asker, with_state};
use super::troubles::Whose;
use super::{Gate, SessionCredential};
use crate::freshness::AccessError;
use crate::journal::AuditError;
use crate::journal::decision_log::Decision;
use crate::journal::drift::DriftEvent;
use crate::journal::repeats::{First, Statement};
use crate::spans::{Trace, span};

/// How long a denial waits for what it offers.
const OFFER_TIME: Duration = Duration::from_millis(500);

/// Reads a request's body for a body rule.
#[async_trait::async_trait]
pub trait BodySource: Send {
    /// The whole body, if it is at most `limit` bytes.
    async fn read(&mut self, limit: usize) -> Result<Vec<u8>, BodyError>;
}

/// A request as it arrived.
pub struct Incoming<'a> {
    pub request: &'a Request,
    pub id: RequestId,
    pub client: Option<IpAddr>,
    /// Of a probe, which is decided and audited like any request and does not count as use of a route.
    pub probe: Option<Accepted>,
    /// Whether it asks for a WebSocket.
    pub upgrade: bool,
    /// Whether the routes of the gate's own are served where it arrived; a denial offers to ask for access there.
    pub serves_own: bool,
    /// Where the request is traced.
    pub trace: Option<&'a Trace>,
}

/// A request that goes upstream, and the mapping under which it does.
pub struct Permitted {
    pub permit: Permit,
    pub mapping: MappingSha256,
    /// The sessions without which it would not go there.
    pub break_glass: Option<Arc<BreakGlassPart>>,
    /// The caller, where the row asks for one: for the record of a refusal, and for as long as the exchange lasts.
    pub(crate) admitted: Option<Admitted>,
}

/// A caller, and what it held when its request was decided.
pub(crate) struct Admitted {
    identified: Identified,
    access: Arc<Access>,
}

impl Admitted {
    /// By which the caller is known.
    pub(super) fn subject(&self) -> &Subject {
        &self.identified.subject
    }
}

/// The recorded data of a denial besides its request.
pub(super) struct Refused<'r> {
    pub(super) principal: &'r Principal,
    pub(super) route: Option<String>,
    pub(super) reason: &'static str,
    pub(super) required: Vec<String>,
}

/// An outcome, and what a permit rests on.
struct Decided {
    outcome: Outcome,
    break_glass: Option<Arc<BreakGlassPart>>,
    admitted: Option<Admitted>,
}

impl From<Outcome> for Decided {
    fn from(outcome: Outcome) -> Decided {
        Decided { outcome, break_glass: None, admitted: None }
    }
}

/// A decision or its audit row failed: 503. Never an allow, never an unaudited 403.
#[derive(Debug, thiserror::Error)]
enum Unavailable {
    #[error("a decision was not possible: {0}")]
    Access(#[from] AccessError),
    #[error("a denial, or a use of break-glass, could not be audited: {0}")]
    Audit(#[from] AuditError),
}

impl Gate {
    /// Decides one request: a permit, or the answer instead. The audit row of a 403 is durable by then.
    ///
    /// # Errors
    ///
    /// The response of a request that does not go upstream.
    pub async fn authorize(
        &self,
        incoming: &Incoming<'_>,
        body: &mut dyn BodySource,
    ) -> Result<Permitted, Response> {
        let mapping = self.mappings.running();
        let (request, id) = (incoming.request, incoming.id);
        if !request.dropped_fields().is_empty() {
            counter!("gate_dropped_fields_total").increment(request.dropped_fields().len() as u64);
        }
        let matching = span(incoming.trace, "match");
        let target = target(&mapping, request);
        drop(matching);
        match self.decide(&mapping, target, incoming, body).await {
            Ok(Decided { outcome: Ok(permit), break_glass, admitted }) => {
                Ok(Permitted { permit, mapping: mapping.sha256().clone(), break_glass, admitted })
            }
            Ok(Decided { outcome: Err(rejection), .. }) => {
                if rejection == Rejection::Upgrade {
                    let (method, raw) = (request.method().as_str(), request.target().raw());
                    self.refused.observe(Refusal::Upgrade, method.as_bytes(), raw.as_bytes(), id);
                }
                let offer = self.offer(&mapping, incoming, &rejection).await;
                let about = about(&target, Some(&rejection));
                Err(Response::to_rejection(&rejection, self.asked(request, id), offer.as_ref()).about(about))
            }
            Err(error) => {
                let about = about(&target, None);
                let (method, route) = (request.method().as_str(), about.route.as_deref());
                let whose = Whose { method, route, actor: None, upstream: "", id };
                let kind = match &error {
                    Unavailable::Access(_) => "access",
                    Unavailable::Audit(_) => "audit",
                };
                // A flood of unknown tokens must not fill the log as well; they are counted.
                if !matches!(error, Unavailable::Access(AccessError::Crowded)) {
                    self.troubles.unavailable(&whose, kind, &error);
                }
                if let Unavailable::Access(_) = error {
                    counter!("gate_unavailable_total").increment(1);
                }
                Err(Response::unavailable(self.asked(request, id)).about(about))
            }
        }
    }

    /// What a denial offers. The answer does not wait for it long, and is the same 403 without it.
    async fn offer(
        &self,
        mapping: &Mapping,
        incoming: &Incoming<'_>,
        rejection: &Rejection,
    ) -> Option<Offer> {
        let (Rejection::Denied(denial), Some(own)) = (rejection, &self.own_routes) else { return None };
        if !incoming.serves_own || incoming.probe.is_some() {
            return None;
        }
        timeout(OFFER_TIME, own.offer(mapping, incoming.request, denial)).await.ok().flatten()
    }

    async fn decide(
        &self,
        mapping: &Mapping,
        target: Target<'_>,
        incoming: &Incoming<'_>,
        body: &mut dyn BodySource,
    ) -> Result<Decided, Unavailable> {
        let request = incoming.request;
        if let Some(permit) = preflight(mapping, request) {
            return Ok(Ok(permit).into());
        }
        let trace = incoming.trace;
        match target {
            // The caller is not identified: a flood of such requests costs neither the database nor the audit anything.
            Target::Unmapped(Unmapped::Quiet) => counter!("gate_quiet_total").increment(1),
            Target::Unmapped(_) if !request.target().is_asterisk() => {
                counter!("gate_unmapped_total").increment(1);
            }
            Target::Unmapped(_) | Target::Row(..) => {}
        }
        let asks_who = asks_who(&target);
        let identifying = span(trace, "identity");
        self.settle_session(request, &target, asks_who).await?;
        let takes_machines =
            matches!(target, Target::Row(Row { kind: RowKind::Gated { machine: true, .. }, .. }, _));
        let presents = (takes_machines || !asks_who) && presents_machine_credential(request);
        let identified = asks_who.then(|| self.identify(incoming, &target)).flatten();
        drop(identifying);
        let Some(identified) = identified else {
            let caller = if presents { Caller::Presented } else { Caller::Nobody };
            let control = match takes_machines && presents {
                true => Some(self.switches(self.freshness(&target)).await?),
                false => None,
            };
            let (control, body) = (control.as_ref(), &BodyFacts::NotRead);
            let deciding = span(trace, "decide");
            let verdict = decide(&Question { upgrade: incoming.upgrade, target, caller, control, body });
            drop(deciding);
            if let (Caller::Presented, Some(control)) = (caller, control) {
                self.count_presented(&verdict, &target, mapping, control, incoming);
            }
            self.log(&verdict, &target, None, mapping, incoming);
            return Ok(verdict.outcome.into());
        };
        let freshness = self.freshness(&target);
        let mut deadline = Instant::now() + self.options.decision_time;
        let observing = span(trace, "access");
        let (mut control, mut access) = self.observe(&identified.subject, freshness, deadline).await?;
        drop(observing);
        let mut principal = principal_of(&identified.subject, &access);
        if principal.is_none() {
            self.strangers.unknown(&identified.subject, access.standing);
        }
        let facts = self.body_facts(&target, &control, principal.as_ref(), &access, request, body).await;
        if facts != BodyFacts::NotRead {
            // The client decides how long its body takes. A caller who loses a role meanwhile is judged by what it holds
            // at the end.
            deadline = Instant::now() + self.options.decision_time;
            let _observing = span(trace, "access");
            (control, access) = self.observe(&identified.subject, freshness, deadline).await?;
            principal = principal_of(&identified.subject, &access);
        }
        let mut ticket = TicketFacts::NotAsked;
        if let Target::Row(row, _) = target
            && row.ticket().is_some()
        {
            let granted = async |control: &Control, principal: Option<&Principal>, access: &Access| {
                let asker = Asker { subject: &identified.subject, principal, control, access };
                let question = self.ticket_question(mapping, &target, &asker, request);
                self.in_time(deadline, self.granted_for_ticket(&question, control.epoch)).await
            };
            let (facts, unverified) = granted(&control, principal.as_ref(), &access).await?;
            ticket = facts;
            if let Some(name) = unverified {
                let is_open = self.in_time(deadline, self.is_ticket_open(&name)).await?;
                if is_open {
                    // FreeScout decides how long that takes: what counts is what the caller holds at the end.
                    (control, access) = self.observe(&identified.subject, freshness, deadline).await?;
                    principal = principal_of(&identified.subject, &access);
                    (ticket, _) = granted(&control, principal.as_ref(), &access).await?;
                }
                ticket = with_state(ticket, is_open);
            }
        }
        // A revoked or expired token is known, and does not identify a machine.
        let is_known_machine =
            matches!(identified.subject, Subject::Machine(_)) && access.standing != Standing::Unknown;
        let caller = match &principal {
            Some(principal) => Caller::Known(principal, &access),
            None if presents && !is_known_machine => Caller::Presented,
            None => Caller::Nobody,
        };
        let question =
            Question { upgrade: incoming.upgrade, target, caller, control: Some(&control), body: &facts };
        let deciding = span(trace, "decide");
        let mut verdict = decide_with(&question, &ticket);
        drop(deciding);
        if incoming.probe.is_none() {
            let now = self.steady_clock.now();
            if let Some(slides) = &self.slides {
                slides.used(&access, now);
            }
            verdict.outcome = stepped_up(verdict.outcome, &target, access.login().map(AsRef::as_ref), now);
        }
        if let Caller::Presented = caller {
            self.count_presented(&verdict, &target, mapping, &control, incoming);
        }
        self.log(&verdict, &target, principal.as_ref(), mapping, incoming);
        if let (Some(drift), Some(principal), Target::Row(row, _)) = (&verdict.drift, &principal, target)
            && incoming.probe.is_none()
        {
            let actor = (principal.kind(), principal.id());
            self.drift.report(&drift_event(drift, row, actor, mapping, &control, incoming, self));
        }
        if let Err(Rejection::Denied(denial)) = &verdict.outcome {
            let refused = Refused {
                principal: &denial.principal,
                route: target.row().map(|row| row.route.to_string()),
                reason: denial.lack.reason.word(),
                required: denial.lack.required.clone(),
            };
            let admitted = Admitted { identified: identified.clone(), access: access.clone() };
            let event = access_denied(refused, &admitted, mapping.sha256(), incoming, self);
            let may_repeat = incoming.probe.is_none() && is_nowhere(mapping, request);
            let auditing = span(trace, "audit");
            self.record(event, may_repeat, deadline).await?;
            drop(auditing);
            counter!("gate_denials_total", "reason" => denial.lack.reason.word()).increment(1);
        }
        let mut break_glass = None;
        if let (Ok(permit), Some(part), None) = (&verdict.outcome, &access.break_glass, &incoming.probe)
            && rests_on_break_glass(&question, &ticket)
        {
            let used = break_glass_used(permit, part, &identified, &access, mapping, incoming, self);
            let record = AuditEvent::BreakGlassUsed(Box::new(used)).into_record(self.clock.now());
            let late = Err(AuditError::Late(self.options.decision_time));
            let auditing = span(trace, "audit");
            timeout_at(deadline, self.audit.write(record)).await.unwrap_or(late)?;
            drop(auditing);
            counter!("gate_break_glass_requests_total").increment(1);
            break_glass = Some(part.clone());
        }
        let admitted = verdict.outcome.is_ok().then_some(Admitted { identified, access });
        Ok(Decided { outcome: verdict.outcome, break_glass, admitted })
    }

    /// Records in the background how a request that rested on break-glass was answered; 0 where it was not. The request
    /// itself is recorded already.
    pub fn break_glass_answered(&self, part: &BreakGlassPart, id: RequestId, status: u16) {
        let event = AuditEvent::BreakGlassAnswered {
            sessions: part.sessions.iter().map(ToString::to_string).collect(),
            request_id: id.to_string(),
            status: (status != 0).then_some(status),
        };
        let (record, audit) = (event.into_record(self.clock.now()), self.audit.clone());
        tokio::spawn(async move {
            if let Err(error) = audit.write(record).await {
                tracing::error!(%error, request_id = %id, "the answer to a request of break-glass was not recorded");
            }
        });
    }

    /// Makes a denial durable. One that equals a durable row of the last hour is counted there, where it `may_repeat`.
    async fn record(
        &self,
        denied: AccessDenied,
        may_repeat: bool,
        deadline: Instant,
    ) -> Result<(), AuditError> {
        let statement = may_repeat.then(|| Statement::of(&denied));
        let id = &denied.request_id;
        if let Some(row) = statement.as_ref().and_then(|statement| self.repeats.count(statement, id)) {
            tracing::info!(request_id = id, %row, "a denial repeats the one of this audit row; it is counted");
            return Ok(());
        }
        let (method, reason) = (denied.method, denied.reason);
        let mapping = denied.mapping_sha256.clone();
        let record = AuditEvent::AccessDenied(Box::new(denied)).into_record(self.clock.now());
        let first = First { row: record.id, method, reason, mapping };
        let late = Err(AuditError::Late(self.options.decision_time));
        timeout_at(deadline, self.audit.write(record)).await.unwrap_or(late)?;
        if let Some(statement) = statement {
            self.repeats.begin(statement, first);
        }
        Ok(())
    }

    /// Counts a request that is left to Console on a row that asks for a role. V2 will refuse it, which is drift in shadow
    /// mode, also where a WebSocket is refused in the end: the two gates disagree all the same.
    fn count_presented(
        &self,
        verdict: &Verdict,
        target: &Target<'_>,
        mapping: &Mapping,
        control: &Control,
        incoming: &Incoming<'_>,
    ) {
        let (Target::Row(row, _), None) = (target, &incoming.probe) else { return };
        if verdict.outcome.is_ok() {
            counter!("gate_unknown_machines_total", "route" => row.route.to_string()).increment(1);
        }
        if let Some(drift) = &verdict.drift {
            let actor = ("machine", NOT_ENROLLED);
            self.drift.report(&drift_event(drift, row, actor, mapping, control, incoming, self));
        }
    }

    /// Logs the answers to people, and those for paths without a row. What strangers get from known rows is of no use.
    fn log(
        &self,
        verdict: &Verdict,
        target: &Target<'_>,
        principal: Option<&Principal>,
        mapping: &Mapping,
        incoming: &Incoming<'_>,
    ) {
        // A path that exists for no caller is not a decision: a quiet path, a row of the gate's own while V2 is off.
        // Nor is it decided before the caller's passkey has signed.
        let is_noise = matches!(verdict.outcome, Err(Rejection::Quiet | Rejection::StepUp(_)));
        let log = self.decisions.as_ref().filter(|_| incoming.probe.is_none() && !is_noise);
        let Some(log) = log else { return };
        let row = target.row();
        if row.is_some() && principal.is_none() {
            return;
        }
        let reason = match &verdict.outcome {
            Err(Rejection::Denied(denial)) => denial.lack.reason.word(),
            _ => "",
        };
        log.report(&Decision {
            at: self.clock.now(),
            method: incoming.request.method().as_str(),
            path: incoming.request.target().path(),
            route: row.map(|row| &row.route),
            cluster: row.and_then(|row| row.cluster.as_ref()),
            gate: gate_word(verdict.gate),
            actor: principal.map(|principal| (principal.kind(), principal.id())),
            answer: outcome_word(&verdict.outcome),
            reason,
            mapping: mapping.sha256(),
        });
    }

    /// The row's freshness, else that of the settings. For a path that no row covers nothing may relax it.
    pub(super) fn freshness(&self, target: &Target<'_>) -> Freshness {
        match target {
            Target::Row(row, _) => row.freshness.unwrap_or(self.options.freshness),
            Target::Unmapped(_) => Freshness::Strict,
        }
    }

    /// The switches alone, within the time of a decision.
    async fn switches(&self, freshness: Freshness) -> Result<Control, AccessError> {
        let limit = self.options.decision_time;
        let observed = tokio::time::timeout(limit, self.access.observe(freshness)).await;
        observed.unwrap_or(Err(AccessError::Late(limit)))
    }

    /// The switches, and what the subject holds, both as of now or as `freshness` allows. One deadline for both: who
    /// waits for the answer does not care how many reads it took.
    pub(super) async fn observe(
        &self,
        subject: &Subject,
        freshness: Freshness,
        deadline: Instant,
    ) -> Result<(Control, Arc<Access>), AccessError> {
        // Pinned here, because it is kilobytes large and would be moved otherwise.
        let both = pin!(async {
            let control = self.access.observe(freshness).await?;
            let access = self.access.resolve(subject, control.epoch).await?;
            Ok((control, access))
        });
        self.in_time(deadline, both).await
    }

    /// The result of a lookup within the time of a decision.
    async fn in_time<T>(
        &self,
        deadline: Instant,
        lookup: impl Future<Output = Result<T, AccessError>>,
    ) -> Result<T, AccessError> {
        timeout_at(deadline, lookup).await.unwrap_or(Err(AccessError::Late(self.options.decision_time)))
    }

    /// The verified credential of the kind that the row takes.
    fn identify(&self, incoming: &Incoming<'_>, target: &Target<'_>) -> Option<Identified> {
        if let Some(stated) = incoming.probe.as_ref().and_then(|probe| probe.stated.as_ref()) {
            return Some(Identified { subject: Subject::Stated(stated.clone()), session: None });
        }
        let request = incoming.request;
        let takes_machines =
            matches!(target, Target::Row(Row { kind: RowKind::Gated { machine: true, .. }, .. }, _));
        if takes_machines && let Some(authorization) = request.authorization() {
            // A caller who presents a token is judged by it, never by a cookie beside it.
            let digest = std::str::from_utf8(authorization).ok().and_then(presented)?;
            return Some(Identified { subject: Subject::Machine(digest), session: None });
        }
        let Some(cookie) = request.session_cookie() else {
            self.strangers.nameless(request, &self.options.cookie_name);
            return None;
        };
        let identified = match &self.cookies {
            SessionCredential::Flask(cookies) => {
                let (cookie, now) = (unquoted(cookie), self.steady_clock.now());
                self.remembered.identify(cookies, cookie, now, |session| self.identify_flask(session))
            }
            credential @ (SessionCredential::Token(_) | SessionCredential::Gate(_)) => credential
                .key_of(unquoted(cookie), self.steady_clock.now())
                .map(|key| Some(Identified { subject: Subject::Session(key), session: None })),
        };
        identified.unwrap_or_else(|error| {
            self.strangers.unverified(error);
            None
        })
    }

    /// Settles which of several session cookies counts, before anything is read from one: Console gets no other.
    ///
    /// A token has to be looked up to know whose it is. That is done only where the row asks who it is.
    async fn settle_session(
        &self,
        request: &Request,
        target: &Target<'_>,
        asks_who: bool,
    ) -> Result<(), AccessError> {
        let sessions = request.unsettled_sessions();
        if sessions.is_empty() {
            return Ok(());
        }
        let now = self.steady_clock.now();
        let mut verified = Vec::new();
        match &self.cookies {
            SessionCredential::Flask(cookies) => {
                for (index, cookie) in sessions.iter().enumerate() {
                    let Ok(session) = cookies.verify(unquoted(cookie), now) else { continue };
                    let admin =
                        self.identify_flask(&session).and_then(|identified| match identified.subject {
                            Subject::Admin { id, .. } => Some(id.as_str().to_owned()),
                            _ => None,
                        });
                    verified.push(Verified { index, issued_at: Some(session.issued_at), admin });
                }
            }
            credential @ (SessionCredential::Token(_) | SessionCredential::Gate(_)) => {
                let keys: Vec<_> = sessions
                    .iter()
                    .enumerate()
                    .filter_map(|(index, cookie)| {
                        Some((index, credential.key_of(unquoted(cookie), now).ok()?))
                    })
                    .collect();
                let looks_up = asks_who && keys.len() > 1;
                let deadline = Instant::now() + self.options.decision_time;
                for (index, key) in keys {
                    let mut admin = None;
                    if looks_up {
                        let subject = Subject::Session(key);
                        let (_, access) = self.observe(&subject, self.freshness(target), deadline).await?;
                        admin = principal_of(&subject, &access).map(|principal| principal.id().to_owned());
                    }
                    verified.push(Verified { index, issued_at: None, admin });
                }
            }
        }
        let chosen = choose(&verified).unwrap_or_else(|_| {
            counter!("gate_cookies_refused_total", "reason" => "two-people").increment(1);
            None
        });
        request.settle_session(chosen);
        Ok(())
    }

    /// The admin that Flask's session names.
    fn identify_flask(&self, session: &VerifiedSession) -> Option<Identified> {
        let Some(id) = session.field_as_id(&self.options.admin_id_key) else {
            self.strangers.without("admin_id_key", &self.options.admin_id_key);
            return None;
        };
        let (session_id, name) = match &self.options.session_id {
            Some(field) => {
                // A cookie without its session id could never be revoked, so it does not identify an admin.
                let Some(id) = field.of(session) else {
                    self.strangers.without("session_id_key", &field.key);
                    return None;
                };
                (Some(SessionId::new(id.clone())), id)
            }
            None => (None, hex::lower(&session.digest[..16])),
        };
        let subject = Subject::Admin { id: AdminId::new(id), session: session_id };
        Some(Identified { subject, session: Some(name.into()) })
    }

    /// How audit rows name the login session: never by its id.
    fn session_name(&self, identified: &Identified, principal: Option<&Principal>) -> Option<String> {
        let id = identified.session.as_deref();
        let id = id.or_else(|| principal?.session().map(SessionId::as_str))?;
        Some(self.audit_keys.sealing().session_name(id))
    }

    /// Reads the body where a body rule will be asked about it.
    pub(super) async fn body_facts(
        &self,
        target: &Target<'_>,
        control: &Control,
        principal: Option<&Principal>,
        access: &Access,
        request: &Request,
        body: &mut dyn BodySource,
    ) -> BodyFacts {
        let (Target::Row(row, rollout), Some(principal)) = (target, principal) else {
            return BodyFacts::NotRead;
        };
        let RowKind::Gated { v2: v2 @ V2Gate::Requires { when, .. }, .. } = &row.kind else {
            return BodyFacts::NotRead;
        };
        let gate = gate_in_force(v2, rollout.mode_for(principal.id(), &access.groups), control);
        if when.is_empty() || matches!(gate, GateInForce::Legacy(_)) {
            return BodyFacts::NotRead;
        }
        if !request.method().carries_body() {
            return BodyFacts::Unreadable(BodyError::NoBody);
        }
        let limit = self.options.body_rule_bytes;
        let fits = match request.framing() {
            Framing::None => true,
            Framing::Length(length) => usize::try_from(length).is_ok_and(|length| length <= limit),
            // In shadow mode a request must go on whatever its body turns out to be, and a body of unknown length
            // could outgrow what can be held back.
            Framing::Chunked => gate == GateInForce::V2,
        };
        if !fits {
            return BodyFacts::Unreadable(BodyError::TooLarge);
        }
        let text = |name| request.fields().value(name).and_then(|value| std::str::from_utf8(value).ok());
        let headers =
            ContentHeaders { content_type: text("content-type"), content_encoding: text("content-encoding") };
        match body.read(limit).await {
            Ok(bytes) => body::read(when, headers, &bytes),
            Err(error) => BodyFacts::Unreadable(error),
        }
    }
}

/// A cookie's value without the quotes that it may have (RFC 6265 4.1.1); Werkzeug and Django take them off too. One with
/// a backslash in it stays as it is, and does not verify: no credential has one.
fn unquoted(cookie: &str) -> &str {
    let inner = cookie.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.filter(|inner| !inner.contains('\\')).unwrap_or(cookie)
}

/// Leave for a CORS preflight (Fetch 4.8): a browser sends it without credentials and without a body, before a request of
/// another origin. One with credentials is an OPTIONS like any other.
fn preflight(mapping: &Mapping, request: &Request) -> Option<Permit> {
    if request.method() != Method::Options {
        return None;
    }
    let text = |name| request.fields().value(name).and_then(|value| std::str::from_utf8(value).ok());
    let has_credentials = request.session_cookie().is_some()
        || !request.unsettled_sessions().is_empty()
        || presents_machine_credential(request);
    let has_body = !matches!(request.framing(), Framing::None | Framing::Length(0));
    if has_credentials || has_body || request.upgrade() {
        return None;
    }
    text("origin")?;
    let requested = Method::parse(text("access-control-request-method")?)?;
    policy::decision::preflight(mapping, request.target().path(), requested)
}

/// The row that a request's method and path match, or why there is none.
pub(super) fn target<'m>(mapping: &'m Mapping, request: &Request) -> Target<'m> {
    Target::of(mapping, request.target().path(), request.method())
}

/// Whether no row covers the path for any method. A denial where the mapping has the path, though not the method, has a
/// row of its own each time (I-2); so has `OPTIONS *`.
fn is_nowhere(mapping: &Mapping, request: &Request) -> bool {
    let target = request.target();
    !target.is_asterisk() && matches!(mapping.find(target.path(), request.method()), Found::Nothing)
}

/// Whether the decision depends on who asks, and so on the database.
fn asks_who(target: &Target<'_>) -> bool {
    match target {
        Target::Row(row, _) => row.kind.asks_who(),
        Target::Unmapped(unmapped) => *unmapped == Unmapped::Deny,
    }
}

/// A bearer token or an HMAC signature (cutover design, I-7). Only that there is one: Console knows what it is worth.
fn presents_machine_credential(request: &Request) -> bool {
    let is_signature = |name: &str| name.ends_with("-signature") || name.contains("-signature-");
    request.authorization().is_some_and(|value| !value.is_empty())
        || request.fields().iter().any(|(name, value)| is_signature(name) && !value.is_empty())
}

/// What a request is about that goes no further.
fn about(target: &Target<'_>, rejection: Option<&Rejection>) -> About {
    let row = target.row();
    let denial = match rejection {
        Some(Rejection::Denied(denial)) => Some(denial),
        _ => None,
    };
    About {
        route: row.map(|row| Arc::clone(&row.route)),
        cluster: row.and_then(|row| row.cluster.clone()),
        actor: denial.map(|denial| denial.principal.id().to_owned()),
        reason: denial.map(|denial| denial.lack.reason.word()),
    }
}

/// Who the subject is, if it is active.
pub(super) fn principal_of(subject: &Subject, access: &Access) -> Option<Principal> {
    if access.standing != Standing::Active {
        return None;
    }
    match subject {
        Subject::Admin { id, session } => Some(Principal::Admin { id: id.clone(), session: session.clone() }),
        Subject::Stated(stated) => {
            Some(Principal::Admin { id: AdminId::new(stated.id.as_str()), session: None })
        }
        Subject::Session(_) => access
            .session
            .as_ref()
            .map(|session| Principal::Admin { id: session.admin.clone(), session: Some(session.id.clone()) }),
        Subject::Machine(_) | Subject::Enrolled(_) => access
            .token
            .as_ref()
            .map(|token| Principal::Machine { id: MachineTokenId::new(token.id.clone()) }),
    }
}

fn break_glass_used(
    permit: &Permit,
    part: &BreakGlassPart,
    identified: &Identified,
    access: &Access,
    mapping: &Mapping,
    incoming: &Incoming<'_>,
    gate: &Gate,
) -> BreakGlassUsed {
    let (principal, request) = (permit.principal(), incoming.request);
    BreakGlassUsed {
        sessions: part.sessions.iter().map(ToString::to_string).collect(),
        actor_kind: principal.map_or("admin", Principal::kind),
        actor_id: principal.map(|principal| principal.id().to_owned()).unwrap_or_default(),
        login: gate.session_name(identified, principal),
        request_id: incoming.id.to_string(),
        client_address: kept_address(incoming.client, gate.options.address_detail),
        method: request.method(),
        path: request.target().path_raw().to_owned(),
        route: permit.route().map(ToString::to_string),
        used: permit.roles_used().iter().map(ToString::to_string).collect(),
        mapping_sha256: mapping.sha256().clone(),
        epoch: Some(access.epoch),
    }
}

/// Everything that is recorded of a denial.
pub(super) fn access_denied(
    refused: Refused<'_>,
    Admitted { identified, access }: &Admitted,
    mapping: &MappingSha256,
    incoming: &Incoming<'_>,
    gate: &Gate,
) -> AccessDenied {
    let names = |set: &std::collections::BTreeSet<Arc<str>>| set.iter().map(ToString::to_string).collect();
    AccessDenied {
        actor_kind: refused.principal.kind(),
        actor_id: refused.principal.id().to_owned(),
        session: gate.session_name(identified, Some(refused.principal)),
        request_id: incoming.id.to_string(),
        client_address: kept_address(incoming.client, gate.options.address_detail),
        method: incoming.request.method(),
        path: incoming.request.target().path_raw().to_owned(),
        route: refused.route,
        reason: refused.reason,
        required: refused.required,
        held: Held {
            legacy: access.legacy.iter().map(|role| role.as_str().to_owned()).collect(),
            groups: names(&access.groups),
            roles: names(&access.roles),
            permissions: names(&access.permissions),
        },
        mapping_sha256: mapping.clone(),
        epoch: Some(access.epoch),
    }
}

fn drift_event<'r>(
    drift: &Drift,
    row: &'r Row,
    (actor_kind, actor_id): (&'static str, &'r str),
    mapping: &'r Mapping,
    control: &Control,
    incoming: &Incoming<'_>,
    gate: &Gate,
) -> DriftEvent<'r> {
    use policy::decision::Direction;
    let (legacy_answer, v2_answer) = match drift.direction {
        Direction::WouldNewlyDeny => ("allow", "deny"),
        Direction::WouldNewlyAllow => ("deny", "allow"),
    };
    DriftEvent {
        at: gate.clock.now(),
        cluster: row.cluster.as_ref(),
        route: &row.route,
        method: incoming.request.method().as_str(),
        actor_kind,
        actor_id,
        direction: drift.direction.word(),
        legacy_answer,
        v2_answer,
        reason: drift.reason.word(),
        mapping: mapping.sha256(),
        epoch: control.epoch.0,
        request_id: incoming.id,
    }
}
