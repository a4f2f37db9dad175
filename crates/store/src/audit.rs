//! The append-only audit table, and the rows of customers' events that belong to it.

mod control;
mod exact;
mod grants;
mod keys;
mod rbac_writes;
mod stored;

use std::collections::HashSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::{Stream, TryStreamExt as _};
use ledger::chain::CONTROL;
use ledger::customer::CustomerEvent;
use ledger::event::{ChainHead, NAMED_HEADS};
use ledger::verify::GrantTable;
use ledger::{Entry, Note};
use sqlx::error::BoxDynError;
use tokio::sync::mpsc;
use uuid::Uuid;

use self::control::{CONTROL_CHAIN, ControlColumns, LEAVE_CONTROL, TAKE_CONTROL, control_head, control_row};
use self::exact::Exact;
use self::grants::GrantColumns;
use self::rbac_writes::erase_rbac_writes;
pub use self::stored::{ControlChain, Evidence, StoredCustomerEvent, StoredEvent};
use crate::engine::connection::Connection;
use crate::engine::rows::{self, ROWS_PER_STATEMENT, Row, Table, Values};
use crate::engine::sql::{Statement, sql};
use crate::evidence::erase_evidence;
use crate::{Store, StoreError};

/// Appends audit rows. A trait, because the tests of the audit's writer have a store of their own, which fails on purpose.
#[async_trait]
pub trait AuditStore: Send + Sync + 'static {
    /// As [`Store::append`].
    async fn append(&self, entries: &[Entry]) -> Result<(), StoreError>;

    /// As [`Store::append_missing`].
    async fn append_missing(&self, entries: &[Entry]) -> Result<u64, StoreError>;

    /// As [`Store::control_chain`].
    async fn control_chain(&self) -> Result<ControlChain, StoreError>;
}

#[async_trait]
impl AuditStore for Store {
    async fn append(&self, entries: &[Entry]) -> Result<(), StoreError> {
        Store::append(self, entries).await
    }

    async fn append_missing(&self, entries: &[Entry]) -> Result<u64, StoreError> {
        Store::append_missing(self, entries).await
    }

    async fn control_chain(&self) -> Result<ControlChain, StoreError> {
        Store::control_chain(self).await
    }
}

impl Store {
    /// Appends all rows in one transaction. When this returns, they are durable.
    pub async fn append(&self, entries: &[Entry]) -> Result<(), StoreError> {
        let entries: Vec<&Entry> = entries.iter().collect();
        // In a box, because it is large and would be moved into each future around it.
        let appending = Box::pin(async {
            let is_one_statement = entries.len() <= ROWS_PER_STATEMENT
                && entries.iter().all(|entry| entry.customer.is_none())
                && !self.mirrors_any(&entries);
            if is_one_statement {
                // One statement is one transaction, and saves a lone denial two round trips.
                let mut connection = self.audit_connections.take_or(&self.audit_pool).await?;
                insert(&mut connection, &entries).await?;
                connection.keep();
                return Ok(());
            }
            let mut transaction = self.audit_pool.begin().await?;
            insert(&mut transaction, &entries).await?;
            self.mirror_rows(&mut transaction, &entries).await?;
            transaction.commit().await
        });
        self.bounded(appending).await
    }

    /// Appends those that are not there yet, by their id, in one transaction, and returns how many. For rows of which it
    /// is not known whether they were committed.
    pub async fn append_missing(&self, entries: &[Entry]) -> Result<u64, StoreError> {
        self.bounded(async {
            let mut transaction = self.audit_pool.begin().await?;
            let mut known = HashSet::new();
            for rows in entries.chunks(ROWS_PER_STATEMENT) {
                let mut query = Statement::among(KNOWN, "");
                for entry in rows {
                    query.push(entry.record.id.to_string());
                }
                let found: Vec<(String,)> = transaction.all(query).await?;
                known.extend(found.into_iter().map(|(id,)| id));
            }
            let missing: Vec<&Entry> =
                entries.iter().filter(|entry| !known.contains(&entry.record.id.to_string())).collect();
            insert(&mut transaction, &missing).await?;
            self.mirror_rows(&mut transaction, &missing).await?;
            transaction.commit().await?;
            Ok(missing.len() as u64)
        })
        .await
    }

    /// Does all that [`append`](Self::append) does but commit: whether the database takes audit rows now.
    ///
    /// # Errors
    ///
    /// It does not: the reason that an append would have.
    pub async fn rehearse_append(&self, entries: &[Entry]) -> Result<(), StoreError> {
        let entries: Vec<&Entry> = entries.iter().collect();
        self.bounded(async {
            let mut transaction = self.audit_pool.begin().await?;
            insert(&mut transaction, &entries).await?;
            transaction.rollback().await
        })
        .await
    }

    /// Seals a note as the next row of the chain that commands share, and appends it.
    pub async fn record(&self, note: &Note) -> Result<(), StoreError> {
        self.change(note, async |_| Ok(())).await
    }

    /// The newest rows first, at most `limit` of them.
    pub async fn recent(&self, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        self.all(sql(RECENT).bind(i64::from(limit))).await
    }

    /// The rows of one request, if it wrote any.
    pub async fn by_request(&self, request_id: &str) -> Result<Vec<StoredEvent>, StoreError> {
        self.all(sql(BY_REQUEST).bind(request_id)).await
    }

    /// The row with that id.
    pub async fn by_id(&self, id: Uuid) -> Result<Option<StoredEvent>, StoreError> {
        self.first(sql(BY_ID).bind(id.to_string())).await
    }

    /// Sends everything that can be verified, as of one moment, in the order of [`Evidence`], for as long as that takes.
    ///
    /// # Errors
    ///
    /// The database went away in the middle, or holds a row that cannot be read.
    pub async fn send_evidence(&self, evidence: mpsc::Sender<Evidence>) -> Result<(), StoreError> {
        let mut snapshot = self.long_reader().await?;
        snapshot
            .run(match &snapshot {
                Connection::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                Connection::Sqlite(_) => "BEGIN",
            })
            .await?;
        let chain: ControlColumns = snapshot.one(sql(CONTROL_CHAIN)).await?;
        // A receiver that needs no more drops its end.
        if evidence.send(ControlChain::from(chain).into()).await.is_err() {
            return Ok(());
        }
        let rows = snapshot.stream(sql(BY_CHAIN))?.map_ok(|Exact::<StoredEvent>(row)| row);
        send(rows, &evidence).await?;
        let customers =
            snapshot.stream(sql(CUSTOMER_EVENTS))?.map_ok(|Exact::<StoredCustomerEvent>(row)| row);
        send(customers, &evidence).await?;
        for table in GrantTable::ALL {
            let statement = grants::compared(table, &snapshot);
            let grants =
                snapshot.stream::<GrantColumns>(statement)?.map_ok(|columns| columns.into_grant(table));
            send(grants, &evidence).await?;
        }
        snapshot.run("COMMIT").await
    }

    /// Sends the rows from `since` on and before `until`, in the order of their times, as of one moment, for as long as that
    /// takes.
    ///
    /// # Errors
    ///
    /// As [`Store::send_evidence`].
    pub async fn send_by_time(
        &self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
        rows: mpsc::Sender<StoredEvent>,
    ) -> Result<(), StoreError> {
        let mut connection = self.long_reader().await?;
        send(connection.stream::<StoredEvent>(sql(BY_TIME).bind(since).bind(until))?, &rows).await
    }

    /// The rows from `since` on and before `until` about changes of access or of the gate: all but those
    /// about single requests, customers' events and the chains themselves.
    pub async fn changes_between(
        &self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let mut connection = self.long_reader().await?;
        let changes = Statement::joined(&[CHANGES, ONLY_CHANGES, " ORDER BY occurred_at_utc, id"]);
        connection.all(changes.bind(since).bind(until)).await
    }

    /// How many rows of each table of grants no sealed row has or names.
    pub async fn unsealed_grants(&self) -> Result<Vec<(&'static str, u64)>, StoreError> {
        let mut connection = self.long_reader().await?;
        let mut counts = Vec::new();
        for table in GrantTable::ALL {
            let mut count = 0;
            let statement = grants::compared(table, &connection);
            let mut rows = connection.stream::<GrantColumns>(statement)?;
            while let Some(row) = rows.try_next().await? {
                count += u64::from(row.is_unsealed());
            }
            counts.push((table.name(), count));
        }
        Ok(counts)
    }

    /// Where the chains end, those with the newest rows first.
    pub async fn heads(&self) -> Result<Vec<ChainHead>, StoreError> {
        let heads: Vec<(String, i64, String)> = self.all(sql(HEADS).bind(NAMED_HEADS as i64)).await?;
        Ok(heads.into_iter().map(|(chain, sequence, mac)| ChainHead { chain, sequence, mac }).collect())
    }

    /// Where the chain that commands share ends, and where it ends according to `gate_audit_control`.
    pub async fn control_chain(&self) -> Result<ControlChain, StoreError> {
        let row: ControlColumns =
            self.bounded(async { self.pool.acquire().await?.one(sql(CONTROL_CHAIN)).await }).await?;
        Ok(row.into())
    }

    /// Admins whose rows are gone and whose traces in the audit are not.
    pub async fn pending_erasures(&self) -> Result<Vec<String>, StoreError> {
        let pending: Vec<(String,)> = self.all(sql(PENDING_ERASURES)).await?;
        Ok(pending.into_iter().map(|(actor_id,)| actor_id).collect())
    }

    /// How many rows name an actor: in the audit, and in the customers' events.
    pub async fn traces_of(&self, actor_id: &str) -> Result<(u64, u64), StoreError> {
        self.bounded(async {
            let mut connection = self.pool.acquire().await?;
            let (rows,): (i64,) = connection.one(sql(TRACES).bind(actor_id)).await?;
            let customers = Statement::of(
                "SELECT gate_customer_traces($1)",
                "SELECT COUNT(*) FROM customer_audit_events WHERE actor_id = $1",
            );
            let (customers,): (i64,) = connection.one(customers.bind(actor_id)).await?;
            Ok((rows.unsigned_abs(), customers.unsigned_abs()))
        })
        .await
    }

    /// Blanks the personal data in every row that names `actor_id`, recorded by `note`, which states how many rows these
    /// are, and removes the admin from drift, its sign-offs and the decision log; all in one transaction, for as long as
    /// that takes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when the numbers of rows differ from the note's by now; nothing was changed.
    pub async fn erase(&self, actor_id: &str, rows: (u64, u64), note: &Note) -> Result<(), StoreError> {
        self.long_change(note, async |change| {
            let event = change.event().to_owned();
            let erased = change.execute(sql(ERASE).bind(actor_id).bind(&event)).await?;
            let customers = erase_customer(change, actor_id, &event).await?;
            if (erased, customers) != rows {
                change.undo();
                return Err(StoreError::Conflict("rows were added meanwhile".into()));
            }
            erase_evidence(change, actor_id, note.record().occurred_at).await?;
            erase_rbac_writes(change, actor_id).await?;
            change.execute(sql(ERASED).bind(actor_id)).await.map(drop)
        })
        .await
    }

    /// A connection whose statements may take as long as they like. It does not go back to the pool: it may be left in
    /// the middle of a snapshot.
    pub(crate) async fn long_reader(&self) -> Result<Connection, StoreError> {
        let mut connection = self.pool.acquire().await?;
        connection.close_on_drop();
        if let Connection::Postgres(_) = connection {
            connection.run("SET statement_timeout = 0").await?;
        }
        Ok(connection)
    }
}

const KNOWN: &str = "SELECT id FROM gate_audit_events WHERE id IN ";

const RECENT: &str = "SELECT * FROM gate_audit_events ORDER BY occurred_at_utc DESC, id DESC LIMIT $1";

const BY_REQUEST: &str = "SELECT * FROM gate_audit_events WHERE request_id = $1 ORDER BY id";

const BY_ID: &str = "SELECT * FROM gate_audit_events WHERE id = $1";

const BY_CHAIN: &str = "SELECT * FROM gate_audit_events ORDER BY chain_id, sequence";

const BY_TIME: &str = "
    SELECT * FROM gate_audit_events
     WHERE occurred_at_utc >= $1 AND occurred_at_utc < $2
     ORDER BY occurred_at_utc, id";

const CHANGES: &str = "
    SELECT * FROM gate_audit_events
     WHERE occurred_at_utc >= $1 AND occurred_at_utc < $2 AND ";

/// As the index of changes has it (migration 0403).
pub(crate) const ONLY_CHANGES: &str = "event_type NOT IN ('access_denied', 'denials_repeated', 'break_glass_used', \
                                       'break_glass_answered', 'customer_event', 'chain_started')";

const HEADS: &str = "
    SELECT e.chain_id AS chain, e.sequence AS sequence, e.mac AS mac
      FROM gate_audit_events e
      JOIN (SELECT chain_id, MAX(sequence) AS sequence FROM gate_audit_events GROUP BY chain_id) last
        ON last.chain_id = e.chain_id AND last.sequence = e.sequence
     ORDER BY e.occurred_at_utc DESC, e.id DESC LIMIT $1";

const CUSTOMER_EVENTS: &str = "
    SELECT COALESCE(c.id, e.id) AS id, c.tenant_id, c.dimension, c.action, c.occurred_at_utc, c.source, c.actor_kind,
           c.actor_id, c.subject_id, c.request_id, c.detail, c.salt, c.erased_by, e.detail AS twin
      FROM customer_audit_events c
      FULL JOIN (SELECT id, detail FROM gate_audit_events WHERE event_type = 'customer_event') e ON e.id = c.id";

const TRACES: &str = "SELECT COUNT(*) FROM gate_audit_events WHERE actor_id = $1 OR subject_id = $1";

const PENDING_ERASURES: &str = "SELECT actor_id FROM gate_pending_erasures ORDER BY requested_at_utc";

const ERASE: &str = "
    UPDATE gate_audit_events
       SET actor_id = NULL, subject_id = NULL, session_id = NULL, client_address = NULL, path = NULL, note = NULL,
           personal_salt = NULL, erased_by = $2
     WHERE actor_id = $1 OR subject_id = $1";

const ERASE_CUSTOMER: &str = "
    UPDATE customer_audit_events SET actor_id = NULL, salt = NULL, erased_by = $2 WHERE actor_id = $1";

const ERASED: &str = "DELETE FROM gate_pending_erasures WHERE actor_id = $1";

/// Passes rows on as they come, until the receiver drops its end.
async fn send<T, E: From<T>>(
    mut rows: impl Stream<Item = Result<T, StoreError>> + Unpin,
    to: &mpsc::Sender<E>,
) -> Result<(), StoreError> {
    while let Some(row) = rows.try_next().await? {
        if to.send(row.into()).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Seals a note as the next row of the chain that commands share, inserts it, and returns its id. The first thing in a
/// transaction: it takes the chain, and on SQLite the right to write.
pub(super) async fn enter(connection: &mut Connection, note: &Note) -> Result<String, StoreError> {
    let head = control_head(connection.first(sql(TAKE_CONTROL)).await?)?;
    let (sealed, head) = note.seal(head);
    connection.execute(sql(LEAVE_CONTROL).bind(head.named(CONTROL).mac)).await?;
    let id = sealed.record.id.to_string();
    let entry = Entry { customer: note.customer().cloned().map(Box::new), ..Entry::from(sealed) };
    insert(connection, &[&entry]).await.map_err(control_row)?;
    Ok(id)
}

async fn insert(connection: &mut Connection, entries: &[&Entry]) -> Result<(), StoreError> {
    rows::insert(connection, entries).await?;
    let customers: Vec<&CustomerEvent> =
        entries.iter().filter_map(|entry| entry.customer.as_deref()).collect();
    rows::insert(connection, &customers).await
}

impl Row for Entry {
    const TABLE: Table = Table {
        name: "gate_audit_events",
        columns: "id, event_type, occurred_at_utc, actor_kind, actor_id, session_id, request_id, client_address, \
                  method, path, route, reason, required, held, mapping_sha256, epoch, detail, \
                  chain_id, sequence, key_id, personal_salt, personal_digest, content_hash, mac, subject_id, note",
        width: 26,
        record: "gate_audit_row",
    };

    fn write(&self, to: &mut impl Values) -> Result<(), BoxDynError> {
        let Entry { record, link, .. } = self;
        to.text(Some(record.id.hyphenated().encode_lower(&mut Uuid::encode_buffer())))?;
        to.text(Some(&record.event_type))?;
        to.time(record.occurred_at)?;
        to.text(Some(&record.actor_kind))?;
        to.text(record.actor_id.as_deref())?;
        to.text(record.session_id.as_deref())?;
        to.text(record.request_id.as_deref())?;
        to.text(record.client_address.as_deref())?;
        to.text(record.method.as_deref())?;
        to.text(record.path.as_deref())?;
        to.text(record.route.as_deref())?;
        to.text(record.reason.as_deref())?;
        to.json(record.required.as_ref())?;
        to.json(record.held.as_ref())?;
        to.text(record.mapping_sha256.as_deref())?;
        to.integer(record.epoch)?;
        to.json(record.detail.as_ref())?;
        to.text(Some(&link.chain_id))?;
        to.integer(Some(link.sequence))?;
        to.text(Some(&link.key_id))?;
        to.text(link.personal_salt.as_deref())?;
        to.text(Some(&link.personal_digest))?;
        to.text(Some(&link.content_hash))?;
        to.text(Some(&link.mac))?;
        to.text(record.subject_id.as_deref())?;
        to.text(record.note.as_deref())
    }
}

impl Row for CustomerEvent {
    const TABLE: Table = Table {
        name: "customer_audit_events",
        columns: "id, tenant_id, dimension, action, occurred_at_utc, source, actor_kind, actor_id, subject_id, \
                  request_id, detail, salt",
        width: 12,
        record: "gate_customer_row",
    };

    fn write(&self, to: &mut impl Values) -> Result<(), BoxDynError> {
        to.text(Some(self.id.hyphenated().encode_lower(&mut Uuid::encode_buffer())))?;
        to.text(Some(&self.tenant_id))?;
        to.text(Some(&self.dimension))?;
        to.text(Some(&self.action))?;
        to.time(self.occurred_at)?;
        to.text(Some(&self.source))?;
        to.text(Some(&self.actor_kind))?;
        to.text(self.actor_id.as_deref())?;
        to.text(self.subject_id.as_deref())?;
        to.text(self.request_id.as_deref())?;
        to.json(self.detail.as_ref())?;
        to.text(self.salt.as_deref())
    }
}

/// Blanks the personal data in the customers' events that name `actor_id`, and returns their number. On Postgres, the
/// gate's role may insert these and not see them: functions of the owner's count and blank them.
async fn erase_customer(connection: &mut Connection, actor_id: &str, event: &str) -> Result<u64, StoreError> {
    match connection {
        Connection::Postgres(_) => {
            let erase = sql("SELECT gate_erase_customer_traces($1, $2)").bind(actor_id).bind(event);
            let (rows,): (i64,) = connection.one(erase).await?;
            Ok(rows.unsigned_abs())
        }
        Connection::Sqlite(_) => connection.execute(sql(ERASE_CUSTOMER).bind(actor_id).bind(event)).await,
    }
}
