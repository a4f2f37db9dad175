//! Rows of the tables of grants, each compared with the sealed row that has its content, in both directions.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Fault, Kind, Verifier};

/// A table whose rows record grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantTable {
    /// The history: `rbac_grants_audit`.
    History,
    /// Memberships with an end: `gate_grants`.
    Timed,
    /// `rbac_ticket_grants`, with its archive.
    Ticket,
    /// `rbac_break_glass_sessions`.
    BreakGlass,
}

impl GrantTable {
    pub const ALL: [GrantTable; 4] =
        [GrantTable::History, GrantTable::Timed, GrantTable::Ticket, GrantTable::BreakGlass];

    /// Its name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            GrantTable::History => "rbac_grants_audit",
            GrantTable::Timed => "gate_grants",
            GrantTable::Ticket => "rbac_ticket_grants",
            GrantTable::BreakGlass => "rbac_break_glass_sessions",
        }
    }
}

/// The content of a row; `None` if its table has no such column, or the value is missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GrantContent {
    pub event: Option<String>,
    pub group: Option<String>,
    pub role: Option<String>,
    pub ticket: Option<String>,
    pub customer: Option<String>,
    pub ends: Option<DateTime<Utc>>,
    /// When it was written; only in the history.
    pub at: Option<DateTime<Utc>>,
    /// Personal, like the two below: an erasure of the admin, or of the author of the grant, removes them from the
    /// sealed row.
    pub admin: Option<String>,
    pub by: Option<String>,
    pub reason: Option<String>,
}

/// A sealed row about a grant.
#[derive(Clone, Debug, PartialEq)]
pub struct SealedGrant {
    pub content: GrantContent,
    pub at: DateTime<Utc>,
    /// Its personal values are blanked, or about to be: the admin and its rows no longer exist.
    pub is_erased: bool,
}

/// A row of a table of grants and its sealed row; one of them may be missing.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredGrant {
    pub table: GrantTable,
    pub id: String,
    pub stored: Option<GrantContent>,
    /// Whether the grant was ended early, according to the row, and according to a sealed row.
    pub is_ended: bool,
    pub is_end_sealed: bool,
    pub sealed: Option<SealedGrant>,
    /// Whether a sealed row of an earlier release names the row, without its content.
    pub is_named: bool,
}

impl<F: FnMut(Fault)> Verifier<F> {
    /// Takes a row of a table of grants. Rows of the history that are older than `kept_since` may have been removed,
    /// because their retention period is over. The sealed row was already proved, or found to be changed, as a row of
    /// its chain.
    pub fn grant(&mut self, grant: &StoredGrant, kept_since: DateTime<Utc>) {
        if let Some(kind) = self.grant_kind(grant, kept_since) {
            self.summary.findings += 1;
            let row = Some(grant.id.clone());
            (self.report)(Fault { table: Some(grant.table.name()), row, ..Fault::of(kind) });
        }
    }

    fn grant_kind(&mut self, grant: &StoredGrant, kept_since: DateTime<Utc>) -> Option<Kind> {
        let is_history = grant.table == GrantTable::History;
        match (&grant.stored, &grant.sealed) {
            (Some(stored), Some(sealed)) => {
                self.summary.grants += 1;
                let is_ended_alike = is_history || grant.is_ended == grant.is_end_sealed;
                (!stored.is(sealed) || !is_ended_alike).then_some(Kind::Edited)
            }
            (Some(_), None) => {
                self.summary.grants_before_sealing += 1;
                if !grant.is_named {
                    self.claims.unsealed(grant.table.name());
                }
                // A grant whose end is sealed has come back.
                (grant.is_end_sealed && !grant.is_ended).then_some(Kind::Edited)
            }
            (None, Some(sealed)) => {
                let may_be_gone = sealed.is_erased || is_history && sealed.at < kept_since;
                (!may_be_gone).then_some(Kind::Removed)
            }
            (None, None) => None,
        }
    }
}

impl GrantContent {
    /// Whether it equals the sealed content, as far as an erasure has left that.
    fn is(&self, sealed: &SealedGrant) -> bool {
        let SealedGrant { content, is_erased, .. } = sealed;
        let text = |one: &Option<String>, other: &Option<String>| {
            one.as_deref().unwrap_or_default() == other.as_deref().unwrap_or_default()
        };
        let is_same = text(&self.event, &content.event)
            && text(&self.group, &content.group)
            && text(&self.role, &content.role)
            && text(&self.ticket, &content.ticket)
            && text(&self.customer, &content.customer)
            && is_same_time(self.ends, content.ends)
            && is_same_time(self.at, content.at);
        let is_personal_same = || {
            text(&self.admin, &content.admin)
                && text(&self.by, &content.by)
                && text(&self.reason, &content.reason)
        };
        is_same && (*is_erased || is_personal_same())
    }
}

/// One of Console's columns may not keep fractions of a second.
fn is_same_time(one: Option<DateTime<Utc>>, other: Option<DateTime<Utc>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() < TimeDelta::seconds(1),
        (one, other) => one.is_none() && other.is_none(),
    }
}
