//! Grants for tickets: given while a ticket is open, and ended with it (RBAC V2 design, section 5).
//!
//! ```text
//! a request that names the ticket --+
//! FreeScout's webhook --------------+-> the ticket is not open -> its grants end: audit rows, then the change, at once
//! every two minutes, all tickets ---+                             (opened again, it brings none of them back)
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clock::SharedClock;
use grants::record::{ActorKind, customers_events};
use grants::{AdminTable, By, PeopleError, Plan, State, Terms};
use ledger::Notary;
use ledger::event::Way;
use metrics::counter;
use policy::decision::ticket::ticket_id;
use store::jobs::TimedWork;
use store::rbac_changes::{RbacChange, TicketEnd, TicketGrant};
use store::tickets::StoredTicketGrant;
use store::{SharedStore, StoreError};

use crate::outbound::freescout::{Conversation, FreeScout, FreeScoutError, TicketState};
use crate::ruling::tickets::{TicketDesk, TicketUnknown};

/// The actors, in the audit, that end grants whose ticket is not open, and expired grants.
const BY_FREESCOUT: &str = "freescout";
const BY_GATE: &str = "gate";

/// Why a grant for a ticket was not given, or not ended.
#[derive(Debug, thiserror::Error)]
pub enum TicketError {
    #[error(transparent)]
    People(#[from] PeopleError),
    #[error(transparent)]
    FreeScout(#[from] FreeScoutError),
    #[error("{0}, so nothing can be granted for ticket {1}")]
    NotOpen(&'static str, String),
    #[error("`{0}` is not the number of a ticket")]
    NoTicket(String),
}

impl From<StoreError> for TicketError {
    fn from(error: StoreError) -> Self {
        TicketError::People(error.into())
    }
}

/// Grants a role for a ticket, if FreeScout reports the ticket as open.
///
/// # Errors
///
/// The ticket is not open, or its state is unknown; or there is no such role or admin. In each case nothing was
/// granted.
pub async fn grant(
    store: &SharedStore,
    notary: &Notary,
    freescout: &FreeScout,
    grant: TicketGrant,
    terms: Terms,
    (by, kind): (By<'_>, ActorKind),
) -> Result<(State, Plan), TicketError> {
    must_be_open(freescout, &grant.ticket).await?;
    let wanted = [RbacChange::TicketGrant { grant }];
    let further = |plan: &Plan| customers_events(notary, plan, by, kind, None);
    Ok(grants::change_with(store, notary, &wanted, terms, by, further).await?)
}

/// Checks that FreeScout reports a ticket as open, as any grant for a ticket requires.
///
/// # Errors
///
/// The ticket is not open, or its state is unknown.
pub async fn must_be_open(freescout: &FreeScout, ticket: &str) -> Result<(), TicketError> {
    let ticket = ticket_id(ticket).ok_or_else(|| TicketError::NoTicket(ticket.escape_debug().to_string()))?;
    match freescout.ticket(&ticket).await? {
        TicketState::Open => Ok(()),
        TicketState::Ended(fate) => Err(TicketError::NotOpen(fate.in_words(), ticket)),
    }
}

/// Ends grants for tickets; those that have already ended stay as they are. Returns the changes.
///
/// # Errors
///
/// The database did not do it, and nothing was ended.
pub async fn end(
    store: &SharedStore,
    notary: &Notary,
    grants: &[StoredTicketGrant],
    reason: TicketEnd,
    (by, kind): (By<'_>, ActorKind),
) -> Result<(State, Plan), TicketError> {
    let wanted: Vec<RbacChange> =
        grants.iter().map(|grant| RbacChange::EndTicketGrant { grant: grant.into(), reason }).collect();
    // A grant of a deleted admin can still be ended.
    let terms = Terms { admins: AdminTable::Gate, unknown_admins: true };
    let further = |plan: &Plan| customers_events(notary, plan, by, kind, None);
    Ok(grants::change_with(store, notary, &wanted, terms, by, further).await?)
}

/// The result of a look at all tickets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Reconciled {
    /// Tickets with grants.
    pub tickets: usize,
    /// Grants that were ended: their tickets are not open, or their time is over.
    pub ended: usize,
    /// Tickets that are not known to be open or ended.
    pub unknown: usize,
}

/// Keeps grants in step with their tickets.
pub struct Tickets {
    store: SharedStore,
    notary: Notary,
    clock: SharedClock,
    freescout: FreeScout,
}

impl Tickets {
    /// Asks `freescout`, and ends grants in `store`.
    pub fn new(store: SharedStore, notary: Notary, clock: SharedClock, freescout: FreeScout) -> Tickets {
        Tickets { store, notary, clock, freescout }
    }

    /// The help desk.
    pub fn freescout(&self) -> &FreeScout {
        &self.freescout
    }

    /// The store that the grants are in.
    pub fn store(&self) -> &SharedStore {
        &self.store
    }

    /// The present time.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Ends the grants for a ticket that is no longer open, and returns their number; with `until`, only grants from
    /// before that time.
    async fn end_for(
        &self,
        ticket: &str,
        why: &'static str,
        until: Option<DateTime<Utc>>,
    ) -> Result<usize, TicketError> {
        let mut grants = self.store.ticket_grants(Some(ticket)).await?;
        grants.retain(|grant| until.is_none_or(|until| grant.granted_at.is_none_or(|at| at <= until)));
        self.end(&grants, TicketEnd::TicketClosed, (BY_FREESCOUT, why)).await
    }

    async fn end(
        &self,
        grants: &[StoredTicketGrant],
        reason: TicketEnd,
        (name, why): (&str, &'static str),
    ) -> Result<usize, TicketError> {
        if grants.is_empty() {
            return Ok(0);
        }
        let by = By { name, reason: Some(why), way: Way::Gate, now: self.clock.now() };
        let done = end(&self.store, &self.notary, grants, reason, (by, ActorKind::System)).await;
        let ended = done?.1.changes.len();
        counter!("gate_ticket_grants_ended_total", "reason" => reason.word()).increment(ended as u64);
        Ok(ended)
    }

    /// Looks at every ticket with grants, and ends the grants that are over.
    ///
    /// # Errors
    ///
    /// The database did not answer. Grants that were already ended stay ended.
    pub async fn reconcile(&self) -> Result<Reconciled, TicketError> {
        let now = self.clock.now();
        let (expired, live): (Vec<_>, Vec<_>) =
            self.store.ticket_grants(None).await?.into_iter().partition(|grant| grant.has_expired(now));
        let ended = self.end(&expired, TicketEnd::Expired, (BY_GATE, "its time is over")).await?;
        let mut found = Reconciled { ended, ..Reconciled::default() };
        let mut tickets: BTreeMap<String, Vec<StoredTicketGrant>> = BTreeMap::new();
        for grant in live {
            tickets.entry(grant.ticket.clone()).or_default().push(grant);
        }
        found.tickets = tickets.len();
        for (ticket, grants) in tickets {
            // No request can name a ticket that is not a number, such as one entered by hand.
            let Some(id) = ticket_id(&ticket) else {
                found.unknown += 1;
                continue;
            };
            match self.freescout.ticket(&id).await {
                Ok(TicketState::Open) => {}
                Ok(TicketState::Ended(fate)) => {
                    let by = (BY_FREESCOUT, fate.in_words());
                    found.ended += self.end(&grants, TicketEnd::TicketClosed, by).await?;
                }
                Err(error) => {
                    tracing::warn!(%error, ticket = %id, "whether a ticket with grants is open is not known");
                    found.unknown += 1;
                }
            }
        }
        Ok(found)
    }

    /// Handles a webhook's report on a conversation, and returns how many grants that ended. It ends the grants that
    /// were given by then. The others count only if FreeScout reports the ticket as open now, so an old message ends no
    /// grant that was given after it.
    ///
    /// # Errors
    ///
    /// The database or FreeScout did not answer: the message should be sent again.
    pub async fn heard(&self, conversation: &Conversation, is_gone: bool) -> Result<usize, TicketError> {
        let ticket = conversation.id.to_string();
        let (state, at) = (conversation.state(self.freescout.mailboxes()), conversation.changed_at());
        let mut ended = 0;
        if let (Ok(TicketState::Ended(fate)), Some(at), false) = (state, at, is_gone) {
            ended += self.end_for(&ticket, fate.in_words(), Some(at)).await?;
        }
        if self.store.ticket_grants(Some(&ticket)).await?.is_empty() {
            return Ok(ended);
        }
        match self.freescout.ticket(&ticket).await? {
            TicketState::Open => Ok(ended),
            TicketState::Ended(fate) => Ok(ended + self.end_for(&ticket, fate.in_words(), None).await?),
        }
    }
}

#[async_trait::async_trait]
impl TicketDesk for Tickets {
    async fn is_open(&self, ticket: &str) -> Result<bool, TicketUnknown> {
        match self.freescout.ticket(ticket).await {
            Ok(TicketState::Open) => Ok(true),
            Ok(TicketState::Ended(fate)) => {
                if let Err(error) = self.end_for(ticket, fate.in_words(), None).await {
                    // The request is refused nevertheless, and the next look at all tickets ends them.
                    tracing::error!(%error, ticket, "the grants for a ticket that is not open could not be ended");
                }
                Ok(false)
            }
            Err(error) => Err(TicketUnknown(error.to_string())),
        }
    }
}

/// Looks at all tickets every `period`, once across all gates, for as long as the task runs; immediately if a look is
/// overdue.
pub async fn follow(tickets: std::sync::Arc<Tickets>, gate: String, period: Duration) {
    let work = TimedWork { name: "tickets", period, lease: Duration::from_secs(60).max(period) };
    let look = Duration::from_secs(5).min(period / 2);
    loop {
        if let Err(error) = look_when_due(&tickets, work, &gate).await {
            tracing::warn!(%error, "the look at tickets with grants is delayed");
        }
        tokio::time::sleep(look).await;
    }
}

/// Looks at all tickets if that is due; `None` if it is not, or if another gate does it.
///
/// # Errors
///
/// The database did not answer.
pub async fn look_when_due(
    tickets: &Tickets,
    work: TimedWork,
    gate: &str,
) -> Result<Option<Reconciled>, TicketError> {
    if !tickets.store.take_on(work, gate, tickets.clock.now()).await? {
        return Ok(None);
    }
    let found = tickets.reconcile().await;
    // Failed or not: the next look is due after the period, and not immediately.
    tickets.store.has_done(work, gate, tickets.clock.now()).await?;
    let found = found?;
    if found.ended > 0 {
        tracing::info!(
            found.tickets,
            found.ended,
            found.unknown,
            "grants whose tickets are not open were ended"
        );
    }
    Ok(Some(found))
}
