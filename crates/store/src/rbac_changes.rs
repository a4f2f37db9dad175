//! Changes of who holds what: memberships, group roles, roles and their edges, and the admins themselves.
//!
//! A change is sealed in the gate's audit first, then recorded in `rbac_grants_audit`, then made, all in one
//! transaction and as of the epoch at which it was computed. Writes of others are recorded by trigger (migration 0401).

mod columns;
mod effect;
mod read;

use chrono::{DateTime, Utc};
use ledger::event::{GrantRecorded, Way};
use ledger::verify::GrantTable;
use ledger::{AuditEvent, AuditRecord, Notary, Note};
use policy::ids::Epoch;
use policy::rbac::grant::Origin;
use serde::{Deserialize, Serialize};

pub(super) use self::columns::Columns;
pub use self::effect::in_minutes;
pub use self::read::{StoredGrant, StoredMembership, StoredTimedGrant, StoredWrite};
use crate::control::{ControlReading, ProductionWords, control};
use crate::engine::change::Change;
use crate::engine::connection::Connection;
use crate::engine::sql::{Statement, sql};
use crate::grantors::{ADD_GRANTOR, REMOVE_GRANTOR, Target};
use crate::idempotency::{OnceAnswer, answer_in};
use crate::{Store, StoreError};

/// One change. Groups, roles and permissions are named; an admin is known by its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum RbacChange {
    AddAdmin {
        admin: String,
        email: String,
        name: Option<String>,
    },
    /// In the table of admins, which is the gate's own.
    DisableAdmin {
        admin: String,
    },
    EnableAdmin {
        admin: String,
    },
    /// In the gate's own table, where Console keeps the admins.
    BlockAdmin {
        admin: String,
    },
    UnblockAdmin {
        admin: String,
    },
    CreateGroup {
        group: String,
        description: String,
    },
    Join {
        admin: String,
        group: String,
    },
    Leave {
        admin: String,
        group: String,
    },
    /// Whatever puts an admin into a group, lasting or until a time. A plan names each: this itself is made nowhere.
    LeaveWholly {
        admin: String,
        group: String,
    },
    /// A membership until a time, in a row of its own: it ends without ending another.
    GrantUntil {
        #[serde(flatten)]
        grant: TimedGrant,
    },
    /// Ends such a membership before its time.
    EndGrant {
        id: String,
        admin: String,
        group: String,
    },
    /// A role for one ticket and one customer.
    TicketGrant {
        #[serde(flatten)]
        grant: TicketGrant,
    },
    /// Ends such a grant.
    EndTicketGrant {
        #[serde(flatten)]
        grant: TicketGrant,
        reason: TicketEnd,
    },
    /// A break-glass session: the roles of the group `break-glass`, granted to one admin for a time.
    BreakGlass {
        #[serde(flatten)]
        session: GlassSession,
    },
    /// Ends a break-glass session before its time.
    EndBreakGlass {
        id: String,
        admin: String,
    },
    GrantRole {
        group: String,
        role: String,
    },
    RevokeRole {
        group: String,
        role: String,
    },
    CreateRole {
        role: String,
        description: String,
    },
    Inherit {
        role: String,
        parent: String,
    },
    Disinherit {
        role: String,
        parent: String,
    },
    CreatePermission {
        permission: String,
    },
    Permit {
        role: String,
        permission: String,
    },
    Forbid {
        role: String,
        permission: String,
    },
    /// Lets the members of the group `by` give something to others without holding it.
    AddGrantor {
        of: Target,
        by: String,
        with_approval: bool,
    },
    RemoveGrantor {
        of: Target,
        by: String,
    },
}

/// A membership until a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedGrant {
    /// A UUID v4 that is in no row yet.
    pub id: String,
    pub admin: String,
    pub group: String,
    pub origin: Origin,
    /// The request that was approved, where it comes from one.
    pub request: Option<String>,
    pub starts: DateTime<Utc>,
    pub ends: DateTime<Utc>,
}

/// A role for one ticket and one customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketGrant {
    /// A UUID v4: in no row yet where it is to be granted.
    pub id: String,
    pub admin: String,
    pub role: String,
    /// FreeScout's number of the conversation.
    pub ticket: String,
    pub customer: i64,
    /// `None`: it ends with its ticket.
    pub ends: Option<DateTime<Utc>>,
}

/// A break-glass session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlassSession {
    /// A UUID v4 that is in no row yet.
    pub id: String,
    pub admin: String,
    pub starts: DateTime<Utc>,
    pub ends: DateTime<Utc>,
}

/// Why a grant for a ticket ends: the states of the RBAC V2 design, section 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TicketEnd {
    /// An admin or operator ended it.
    Manual,
    /// The ticket is closed, spam, deleted or in a mailbox that does not count.
    TicketClosed,
    /// Its time is over.
    Expired,
}

impl TicketEnd {
    /// The stable word, as `rbac_ticket_grants.revoke_reason` has it.
    pub const fn word(self) -> &'static str {
        match self {
            TicketEnd::Manual => "manual",
            TicketEnd::TicketClosed => "ticket_closed",
            TicketEnd::Expired => "expired",
        }
    }

    /// The event in `rbac_grants_audit`.
    const fn event(self) -> &'static str {
        match self {
            TicketEnd::Manual => "revoke",
            TicketEnd::TicketClosed | TicketEnd::Expired => "ticket_expire",
        }
    }
}

impl RbacChange {
    /// Whether it is an edit of groups, roles or permissions, and not about one admin.
    pub fn is_edit(&self) -> bool {
        matches!(
            self,
            RbacChange::CreateGroup { .. }
                | RbacChange::GrantRole { .. }
                | RbacChange::RevokeRole { .. }
                | RbacChange::CreateRole { .. }
                | RbacChange::Inherit { .. }
                | RbacChange::Disinherit { .. }
                | RbacChange::CreatePermission { .. }
                | RbacChange::Permit { .. }
                | RbacChange::Forbid { .. }
                | RbacChange::AddGrantor { .. }
                | RbacChange::RemoveGrantor { .. }
        )
    }

    /// Whether it can wait for approval, as an edit or as a grant that two people have to give.
    pub fn can_wait(&self) -> bool {
        let is_grant = matches!(
            self,
            RbacChange::Join { .. } | RbacChange::GrantUntil { .. } | RbacChange::TicketGrant { .. }
        );
        is_grant || self.is_edit()
    }

    fn creates_what_rows_name(&self) -> bool {
        matches!(
            self,
            RbacChange::AddAdmin { .. } | RbacChange::CreateGroup { .. } | RbacChange::CreateRole { .. }
        )
    }
}

/// A row of `rbac_grants_audit`: what a change grants to an admin, or takes away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GrantRow {
    pub id: uuid::Uuid,
    pub is_grant: bool,
    pub admin: String,
    pub group: Option<String>,
    pub role: Option<String>,
    /// When the grant ends by itself.
    pub ends: Option<DateTime<Utc>>,
    /// Whether it is a break-glass session that starts, or whose time is over.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_break_glass: bool,
    /// The ticket and the customer for which it is granted, and why it ends, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketOfRow>,
    /// The id of the row of another table that grants it: of `gate_grants`, or of the tables of tickets and sessions.
    #[serde(skip)]
    pub grant: Option<String>,
}

/// A row's data about a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TicketOfRow {
    pub ticket: String,
    pub customer: i64,
    pub end: Option<TicketEnd>,
}

impl GrantRow {
    fn event(&self) -> &'static str {
        match (&self.ticket, self.is_grant) {
            (Some(TicketOfRow { end: Some(end), .. }), _) => end.event(),
            (Some(_), true) => "ticket_grant",
            (None, true) if self.is_break_glass => "break_glass_grant",
            (None, false) if self.is_break_glass => "break_glass_expire",
            (None, true) => "grant",
            (_, false) => "revoke",
        }
    }

    /// The table that [`GrantRow::grant`] is of.
    fn table(&self) -> GrantTable {
        match (&self.ticket, self.is_break_glass) {
            (Some(_), _) => GrantTable::Ticket,
            (None, true) => GrantTable::BreakGlass,
            (None, false) => GrantTable::Timed,
        }
    }

    /// The row, whole, as it is sealed.
    fn sealed(&self, work: &RbacWork<'_>, change: &str) -> AuditRecord {
        let recorded = GrantRecorded {
            id: self.id,
            event: self.event(),
            admin: self.admin.clone(),
            group: self.group.clone(),
            role: self.role.clone(),
            ticket: self.ticket.as_ref().map(|of| of.ticket.clone()),
            customer: self.ticket.as_ref().map(|of| of.customer),
            ends: self.ends,
            grant: self.grant.as_ref().map(|id| (self.table().name(), id.clone(), self.is_grant)),
            reason: work.reason.map(ToOwned::to_owned),
            change: change.to_owned(),
            way: work.way,
            by: work.by.to_owned(),
        };
        AuditEvent::GrantRecorded(Box::new(recorded)).into_record(work.now)
    }
}

/// Changes with what records them.
#[derive(Clone, Debug)]
pub struct RbacWork<'w> {
    pub changes: &'w [RbacChange],
    pub rows: &'w [GrantRow],
    /// The epoch at which this was computed.
    pub as_of: Epoch,
    pub by: &'w str,
    pub way: Way,
    /// Seals each row with its content.
    pub notary: &'w Notary,
    pub reason: Option<&'w str>,
    pub now: DateTime<Utc>,
    /// What the request's key is answered with, kept with the changes.
    pub answer: Option<OnceAnswer<'w>>,
}

impl Store {
    /// Whether the table of admins is the gate's own: beside its other tables, or made by its seed; else it is Console's. SQLite
    /// has one place for both.
    pub async fn has_own_admins(&self) -> Result<bool, StoreError> {
        if self.placement.console_is_given {
            return Ok(false);
        }
        let statement = Statement::of(OWN_ADMINS, "SELECT 1 = 1");
        let row: Option<(bool,)> = self.first(statement).await?;
        Ok(row.is_some_and(|(is_own,)| is_own))
    }

    /// Makes all changes in one transaction, with their rows; `false` where access has changed since `as_of`, and nothing
    /// was done. Sessions that came or went since do not count.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when something that is named is not there, or there already.
    pub async fn change_rbac(&self, work: &RbacWork<'_>, note: &Note) -> Result<bool, StoreError> {
        self.change_rbac_with(work, note, &[]).await
    }

    /// The same with further notes, each in a row of its own, written before the change as the rows are.
    ///
    /// # Errors
    ///
    /// As [`Store::change_rbac`].
    pub async fn change_rbac_with(
        &self,
        work: &RbacWork<'_>,
        note: &Note,
        further: &[Note],
    ) -> Result<bool, StoreError> {
        self.change(note, async |change| carry_out(change, work, further).await).await
    }
}

/// Makes the changes within the transaction of `change`; `false`, with everything undone, where access is not as it was when
/// they were worked out.
pub(super) async fn carry_out(
    change: &mut Change,
    work: &RbacWork<'_>,
    further: &[Note],
) -> Result<bool, StoreError> {
    if !is_current(change, work.as_of).await? {
        change.undo();
        return Ok(false);
    }
    let event = change.event().to_owned();
    // Names the sealed row to the triggers that record the writes of others.
    change.execute(sql("INSERT INTO gate_rbac_command (event_id) VALUES ($1)").bind(event)).await?;
    let columns = Columns::read(change).await?;
    // What a row names has to be there before it.
    let (created, others): (Vec<_>, Vec<_>) =
        work.changes.iter().partition(|change| change.creates_what_rows_name());
    for one in created {
        make(change, one, work, &columns).await?;
    }
    for row in work.rows {
        record(change, row, work, &columns).await?;
    }
    for note in further {
        change.enter(note).await?;
    }
    for one in others {
        make(change, one, work, &columns).await?;
    }
    change.execute(sql("DELETE FROM gate_rbac_command")).await?;
    answer_in(change, work.answer).await?;
    Ok(true)
}

/// Whether access is as it was at `as_of`. From here on it stays so: each write to an access table raises the epoch,
/// whose row is held until the transaction ends. On SQLite the transaction is the only writer.
pub(super) async fn is_current(connection: &mut Connection, as_of: Epoch) -> Result<bool, StoreError> {
    one_at_a_time(connection).await?;
    let rows = connection.all(control(Some(as_of), &ProductionWords::default(), None)).await?;
    let reading = ControlReading::of(rows, None)?;
    Ok(reading.only_sessions_changed_since(as_of))
}

/// Waits until this transaction is the only one that changes access or requests.
pub(super) async fn one_at_a_time(connection: &mut Connection) -> Result<(), StoreError> {
    if let Connection::Postgres(_) = connection {
        let _: (i64,) = connection.one(sql("SELECT epoch FROM gate_epoch WHERE id = 1 FOR UPDATE")).await?;
    }
    Ok(())
}

/// Writes a row of `rbac_grants_audit`, sealed first.
pub(super) async fn record(
    change: &mut Change,
    row: &GrantRow,
    work: &RbacWork<'_>,
    columns: &Columns,
) -> Result<(), StoreError> {
    if let Some(of) = &row.ticket {
        columns.grant_customer.check(of.customer, "the customer")?;
    }
    let event = change.event().to_owned();
    change.enter(&work.notary.note(row.sealed(work, &event))).await?;
    let text = format!(
        "INSERT INTO rbac_grants_audit
                (id, event_type, target_user_id, group_id, role_id, justification, granted_by, created_at_utc,
                 expires_at_utc, ticket_id, customer_id)
         SELECT {id}, $2, {admin}, (SELECT g.id FROM rbac_groups g WHERE g.name = $4),
                (SELECT r.id FROM rbac_roles r WHERE r.name = $5), $6, {by}, $8, $9, {ticket}, {customer}",
        id = columns.grant_id.cast(1),
        admin = columns.grant_admin.cast(3),
        by = columns.grant_by.cast(7),
        ticket = columns.grant_ticket.cast(10),
        customer = columns.grant_customer.cast(11),
    );
    let insert = Statement::composed_once(text)
        .bind(row.id.to_string())
        .bind(row.event())
        .bind(row.admin.as_str())
        .bind(row.group.as_deref())
        .bind(row.role.as_deref())
        .bind(work.reason)
        .bind(work.by)
        .bind(work.now)
        .bind(row.ends)
        .bind(row.ticket.as_ref().map(|of| of.ticket.as_str()))
        .bind(row.ticket.as_ref().map(|of| of.customer));
    change.execute(insert).await.map(drop)
}

async fn make(
    connection: &mut Connection,
    change: &RbacChange,
    work: &RbacWork<'_>,
    columns: &Columns,
) -> Result<(), StoreError> {
    let (by, now) = (work.by, work.now);
    let statement = match change {
        RbacChange::AddAdmin { admin, email, name } => {
            sql(ADD_ADMIN).bind(admin.as_str()).bind(email.as_str()).bind(name.as_deref()).bind(now)
        }
        RbacChange::DisableAdmin { admin } => sql(DISABLE).bind(admin.as_str()).bind(now),
        RbacChange::EnableAdmin { admin } => sql(ENABLE).bind(admin.as_str()),
        RbacChange::BlockAdmin { admin } => {
            sql(BLOCK).bind(admin.as_str()).bind(by).bind(now).bind(work.reason)
        }
        RbacChange::UnblockAdmin { admin } => sql(UNBLOCK).bind(admin.as_str()),
        RbacChange::CreateGroup { group, description } => {
            columns.group_id.insert("rbac_groups", group, description)
        }
        RbacChange::CreateRole { role, description } => {
            columns.role_id.insert("rbac_roles", role, description)
        }
        RbacChange::CreatePermission { permission } => {
            columns.permission_id.insert("rbac_permissions", permission, "")
        }
        RbacChange::Join { admin, group } => {
            let text = format!(
                "INSERT INTO rbac_user_groups (user_id, group_id, granted_by)
                 SELECT {admin}, g.id, {by} FROM rbac_groups g WHERE g.name = $2",
                admin = columns.member.cast(1),
                by = columns.member_by.cast(3),
            );
            Statement::composed_once(text).bind(admin.as_str()).bind(group.as_str()).bind(by)
        }
        RbacChange::Leave { admin, group } => {
            let text = format!(
                "DELETE FROM rbac_user_groups
                  WHERE user_id = {admin} AND group_id IN (SELECT g.id FROM rbac_groups g WHERE g.name = $2)",
                admin = columns.member.cast(1),
            );
            Statement::composed_once(text).bind(admin.as_str()).bind(group.as_str())
        }
        RbacChange::LeaveWholly { .. } => {
            return Err(StoreError::Conflict("a plan lists what ends a membership wholly".to_owned()));
        }
        RbacChange::GrantUntil { grant } => sql(GRANT_UNTIL)
            .bind(grant.id.as_str())
            .bind(grant.admin.as_str())
            .bind(grant.group.as_str())
            .bind(grant.origin.word())
            .bind(grant.request.as_deref())
            .bind(work.reason)
            .bind(by)
            .bind(now)
            .bind(grant.starts)
            .bind(grant.ends),
        RbacChange::EndGrant { id, .. } => sql(END_GRANT).bind(id.as_str()).bind(now).bind(by),
        RbacChange::TicketGrant { grant } => {
            columns.ticket_customer.check(grant.customer, "the customer")?;
            let text = format!(
                "INSERT INTO rbac_ticket_grants
                        (id, user_id, role_id, ticket_id, customer_id, granted_by, granted_at_utc, expires_at_utc)
                 SELECT {id}, {admin}, r.id, {ticket}, {customer}, {by}, $7, $8
                   FROM rbac_roles r WHERE r.name = $3",
                id = columns.ticket_grant_id.cast(1),
                admin = columns.ticket_admin.cast(2),
                ticket = columns.ticket_ticket.cast(4),
                customer = columns.ticket_customer.cast(5),
                by = columns.ticket_by.cast(6),
            );
            Statement::composed_once(text)
                .bind(grant.id.as_str())
                .bind(grant.admin.as_str())
                .bind(grant.role.as_str())
                .bind(grant.ticket.as_str())
                .bind(grant.customer)
                .bind(by)
                .bind(now)
                .bind(grant.ends)
        }
        RbacChange::EndTicketGrant { grant, reason } => {
            sql(END_TICKET_GRANT).bind(grant.id.as_str()).bind(now).bind(reason.word())
        }
        RbacChange::BreakGlass { session } => {
            let text = format!(
                "INSERT INTO rbac_break_glass_sessions
                        (id, user_id, justification, granted_by, granted_at_utc, expires_at_utc)
                 VALUES ({id}, {admin}, $3, {by}, $5, $6)",
                id = columns.glass_id.cast(1),
                admin = columns.glass_admin.cast(2),
                by = columns.glass_by.cast(4),
            );
            Statement::composed_once(text)
                .bind(session.id.as_str())
                .bind(session.admin.as_str())
                .bind(work.reason.unwrap_or_default())
                .bind(by)
                .bind(session.starts)
                .bind(session.ends)
        }
        RbacChange::EndBreakGlass { id, .. } => {
            // Whichever way it ends: its review records it, where it has one.
            connection.execute(sql(END_REVIEW).bind(id.as_str()).bind(now).bind(by)).await?;
            sql(END_BREAK_GLASS).bind(id.as_str()).bind(now)
        }
        RbacChange::GrantRole { group, role } => sql(GRANT_ROLE).bind(group.as_str()).bind(role.as_str()),
        RbacChange::RevokeRole { group, role } => sql(REVOKE_ROLE).bind(group.as_str()).bind(role.as_str()),
        RbacChange::Inherit { role, parent } => sql(INHERIT).bind(role.as_str()).bind(parent.as_str()),
        RbacChange::Disinherit { role, parent } => sql(DISINHERIT).bind(role.as_str()).bind(parent.as_str()),
        RbacChange::Permit { role, permission } => sql(PERMIT).bind(role.as_str()).bind(permission.as_str()),
        RbacChange::Forbid { role, permission } => sql(FORBID).bind(role.as_str()).bind(permission.as_str()),
        RbacChange::AddGrantor { of, by: grantors, with_approval } => {
            let add = sql(ADD_GRANTOR).bind(of.kind()).bind(of.name()).bind(grantors.as_str());
            add.bind(*with_approval).bind(by).bind(now)
        }
        RbacChange::RemoveGrantor { of, by: grantors } => {
            sql(REMOVE_GRANTOR).bind(of.kind()).bind(of.name()).bind(grantors.as_str())
        }
    };
    if connection.execute(statement).await? == 0 {
        // It was worked out as of this epoch, so this is a table that does not hold what the reports read from it.
        return Err(StoreError::Conflict(format!("this change found nothing to change: {change:?}")));
    }
    Ok(())
}

const OWN_ADMINS: &str = "
    SELECT COALESCE((SELECT c.relnamespace = g.relnamespace
                            OR obj_description(c.oid, 'pg_class') = 'console-gate: made by migrate --seed' FROM pg_catalog.pg_class c, pg_catalog.pg_class g
                      WHERE c.oid = to_regclass('admins') AND g.oid = to_regclass('gate_epoch')), false)";
const ADD_ADMIN: &str =
    "INSERT INTO admins (id, email, display_name, created_at_utc) VALUES ($1, $2, $3, $4)";
const DISABLE: &str = "UPDATE admins SET disabled_at_utc = $2 WHERE id = $1 AND disabled_at_utc IS NULL";
const ENABLE: &str = "UPDATE admins SET disabled_at_utc = NULL WHERE id = $1 AND disabled_at_utc IS NOT NULL";
const BLOCK: &str = "
    INSERT INTO gate_blocked_admins (admin_id, blocked_by, blocked_at_utc, reason) VALUES ($1, $2, $3, $4)";
const UNBLOCK: &str = "DELETE FROM gate_blocked_admins WHERE admin_id = $1";
const GRANT_UNTIL: &str = "
    INSERT INTO gate_grants
           (id, admin_id, group_id, origin, request_id, reason, granted_by, granted_at_utc, starts_at_utc, ends_at_utc)
    SELECT $1, $2, CAST(g.id AS TEXT), $4, $5, $6, $7, $8, $9, $10 FROM rbac_groups g WHERE g.name = $3";
const END_GRANT: &str = "
    UPDATE gate_grants SET revoked_at_utc = $2, revoked_by = $3 WHERE id = $1 AND revoked_at_utc IS NULL";
const END_TICKET_GRANT: &str = "
    UPDATE rbac_ticket_grants SET revoked_at_utc = $2, revoke_reason = $3
     WHERE CAST(id AS TEXT) = $1 AND revoked_at_utc IS NULL";
const END_BREAK_GLASS: &str = "
    UPDATE rbac_break_glass_sessions SET revoked_at_utc = $2
     WHERE CAST(id AS TEXT) = $1 AND revoked_at_utc IS NULL";
const END_REVIEW: &str = "
    UPDATE gate_break_glass_reviews SET ended_at_utc = $2, ended_by = $3 WHERE session_id = $1 AND ended_at_utc IS NULL";
const GRANT_ROLE: &str = "
    INSERT INTO rbac_group_roles (group_id, role_id)
    SELECT g.id, r.id FROM rbac_groups g, rbac_roles r WHERE g.name = $1 AND r.name = $2";
const REVOKE_ROLE: &str = "
    DELETE FROM rbac_group_roles
     WHERE group_id IN (SELECT g.id FROM rbac_groups g WHERE g.name = $1)
       AND role_id IN (SELECT r.id FROM rbac_roles r WHERE r.name = $2)";
const INHERIT: &str = "
    INSERT INTO rbac_role_inheritance (child_role_id, parent_role_id)
    SELECT c.id, p.id FROM rbac_roles c, rbac_roles p WHERE c.name = $1 AND p.name = $2";
const DISINHERIT: &str = "
    DELETE FROM rbac_role_inheritance
     WHERE child_role_id IN (SELECT c.id FROM rbac_roles c WHERE c.name = $1)
       AND parent_role_id IN (SELECT p.id FROM rbac_roles p WHERE p.name = $2)";
const PERMIT: &str = "
    INSERT INTO rbac_role_permissions (role_id, permission_id)
    SELECT r.id, p.id FROM rbac_roles r, rbac_permissions p WHERE r.name = $1 AND p.name = $2";
const FORBID: &str = "
    DELETE FROM rbac_role_permissions
     WHERE role_id IN (SELECT r.id FROM rbac_roles r WHERE r.name = $1)
       AND permission_id IN (SELECT p.id FROM rbac_permissions p WHERE p.name = $2)";
