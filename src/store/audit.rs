//! The append-only audit table, and the rows of customers' events that belong to it.

mod control;
mod exact;
mod stored;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use ledger::chain::CONTROL;
use ledger::customer::CustomerEvent;
use ledger::event::{ChainHead, NAMED_HEADS};
use ledger::{Entry, Note};
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use sqlx::{Executor as _, FromRow, QueryBuilder};
use tokio::sync::mpsc;

use self::control::{
    CONTROL_CHAIN, ControlColumns, HeadRow, LEAVE_CONTROL, TAKE_CONTROL, control_head, control_row,
};
use self::exact::Exact;
pub use self::stored::{ControlChain, Evidence, StoredCustomerEvent, StoredEvent};
use super::{PostgresStore, SqliteStore, StoreError, bounded};

/// Appends audit rows and reads them back.
#[async_trait]
pub trait AuditStore {
    /// Appends all rows in one transaction. When this returns, they are durable.
    async fn append(&self, entries: &[Entry]) -> Result<(), StoreError>;

    /// Appends those that are not there yet, by their id, in one transaction, and says how many. For rows of which it
    /// is not known whether they were committed.
    async fn append_missing(&self, entries: &[Entry]) -> Result<u64, StoreError>;

    /// Seals a note as the next row of the chain that commands share, and appends it.
    async fn record(&self, note: &Note) -> Result<(), StoreError>;

    /// The newest rows first, at most `limit` of them.
    async fn recent(&self, limit: u32) -> Result<Vec<StoredEvent>, StoreError>;

    /// The rows of one request, if it wrote any.
    async fn by_request(&self, request_id: &str) -> Result<Vec<StoredEvent>, StoreError>;

    /// The row with that id.
    async fn by_id(&self, id: uuid::Uuid) -> Result<Option<StoredEvent>, StoreError>;

    /// Sends everything that can be verified, as of one moment, in the order of [`Evidence`].
    ///
    /// # Errors
    ///
    /// The database went away in the middle, or holds a row that cannot be read.
    async fn send_evidence(&self, evidence: mpsc::Sender<Evidence>) -> Result<(), StoreError>;

    /// Sends the rows from `since` on and before `until`, in the order of their times, as of one moment.
    ///
    /// # Errors
    ///
    /// As [`AuditStore::send_evidence`].
    async fn send_by_time(
        &self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
        rows: mpsc::Sender<StoredEvent>,
    ) -> Result<(), StoreError>;

    /// Where the chains end, those with the newest rows first.
    async fn heads(&self) -> Result<Vec<ChainHead>, StoreError>;

    /// Where the chain that commands share ends, and where `gate_audit_control` says that it does.
    async fn control_chain(&self) -> Result<ControlChain, StoreError>;

    /// Admins whose rows are gone and whose traces in the audit are not.
    async fn pending_erasures(&self) -> Result<Vec<String>, StoreError>;

    /// How many rows name an actor: in the audit, and in the customers' events.
    async fn traces_of(&self, actor_id: &str) -> Result<(u64, u64), StoreError>;

    /// Blanks what is personal in every row that names `actor_id`, in the name of `note`, which tells how many rows
    /// these are, and removes the admin from drift, its sign-offs and the decision log; all in one transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when there are other numbers of rows by now than the note says; nothing was changed.
    async fn erase(&self, actor_id: &str, rows: (u64, u64), note: &Note) -> Result<(), StoreError>;
}

const INSERT: &str = "
    INSERT INTO gate_audit_events (
        id, event_type, occurred_at_utc, actor_kind, actor_id, session_id, request_id, client_address,
        method, path, route, reason, required, held, mapping_sha256, epoch, detail,
        chain_id, sequence, key_id, personal_salt, personal_digest, content_hash, mac
    ) ";

const INSERT_CUSTOMER: &str = "
    INSERT INTO customer_audit_events (
        id, tenant_id, dimension, action, occurred_at_utc, source, actor_kind, actor_id, subject_id, request_id, detail,
        salt
    ) ";

/// 24 values a row: SQLite takes 32,766 in a statement, Postgres 65,535.
const ROWS_PER_STATEMENT: usize = 1_000;

const RECENT: &str = "SELECT * FROM gate_audit_events ORDER BY occurred_at_utc DESC, id DESC LIMIT $1";

const BY_REQUEST: &str = "SELECT * FROM gate_audit_events WHERE request_id = $1 ORDER BY id";

const BY_ID: &str = "SELECT * FROM gate_audit_events WHERE id = $1";

const BY_CHAIN: &str = "SELECT * FROM gate_audit_events ORDER BY chain_id, sequence";

const BY_TIME: &str = "
    SELECT * FROM gate_audit_events
     WHERE occurred_at_utc >= $1 AND occurred_at_utc < $2
     ORDER BY occurred_at_utc, id";

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

const TRACES: &str = "SELECT COUNT(*) FROM gate_audit_events WHERE actor_id = $1";

const ERASE: &str = "
    UPDATE gate_audit_events
       SET actor_id = NULL, session_id = NULL, client_address = NULL, path = NULL, personal_salt = NULL, erased_by = $2
     WHERE actor_id = $1";

const ERASED: &str = "DELETE FROM gate_pending_erasures WHERE actor_id = $1";

/// Hands rows on as they come. Whoever has heard enough drops the other end.
async fn send<T, E: From<T>>(
    mut rows: impl Stream<Item = Result<T, sqlx::Error>> + Unpin,
    to: &mpsc::Sender<E>,
) -> Result<(), StoreError> {
    while let Some(row) = rows.try_next().await? {
        if to.send(row.into()).await.is_err() {
            break;
        }
    }
    Ok(())
}

impl PostgresStore {
    // The gate's role may insert customers' events and not see them: functions of the owner's do this for it.
    const CUSTOMER_TRACES: &'static str = "SELECT gate_customer_traces($1)";

    const SNAPSHOT: &'static str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

    async fn erase_customer(
        connection: &mut sqlx::PgConnection,
        actor_id: &str,
        event: &str,
    ) -> Result<u64, StoreError> {
        let erase =
            sqlx::query_scalar("SELECT gate_erase_customer_traces($1, $2)").bind(actor_id).bind(event);
        let rows: i64 = erase.fetch_one(connection).await?;
        Ok(rows.unsigned_abs())
    }

    /// Reads rows to be verified. Postgres keeps each value in one spelling.
    fn exactly<'r, T>(
        rows: impl Stream<Item = Result<PgRow, sqlx::Error>> + Unpin + 'r,
    ) -> impl Stream<Item = Result<T, sqlx::Error>> + Unpin + 'r
    where
        T: for<'a> FromRow<'a, PgRow> + 'r,
    {
        rows.map(|row| T::from_row(&row?))
    }

    /// A connection whose statements may take as long as they like. It does not go back to the pool.
    async fn long_reader(&self) -> Result<super::postgres::Lease, StoreError> {
        let mut connection = self.pool.acquire().await?;
        connection.close_on_drop();
        sqlx::query("SET statement_timeout = 0").execute(&mut *connection).await?;
        Ok(connection)
    }
}

impl SqliteStore {
    const CUSTOMER_TRACES: &'static str = "SELECT COUNT(*) FROM customer_audit_events WHERE actor_id = $1";

    const SNAPSHOT: &'static str = "BEGIN";

    async fn erase_customer(
        connection: &mut sqlx::SqliteConnection,
        actor_id: &str,
        event: &str,
    ) -> Result<u64, StoreError> {
        let erase = "UPDATE customer_audit_events SET actor_id = NULL, salt = NULL, erased_by = $2 WHERE actor_id = $1";
        Ok(sqlx::query(erase).bind(actor_id).bind(event).execute(connection).await?.rows_affected())
    }

    /// Reads rows to be verified.
    fn exactly<'r, T>(
        rows: impl Stream<Item = Result<SqliteRow, sqlx::Error>> + Unpin + 'r,
    ) -> impl Stream<Item = Result<T, sqlx::Error>> + Unpin + 'r
    where
        Exact<T>: for<'a> FromRow<'a, SqliteRow>,
        T: 'r,
    {
        rows.map(|row| Exact::from_row(&row?).map(|Exact(row)| row))
    }

    /// A connection that does not go back to the pool: it may be left in the middle of a snapshot.
    async fn long_reader(&self) -> Result<sqlx::pool::PoolConnection<sqlx::Sqlite>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        connection.close_on_drop();
        Ok(connection)
    }
}

macro_rules! audit_store {
    ($store:ty, $database:ty, $connection:ty) => {
        impl $store {
            /// Seals a note as the next row of the chain that commands share, and inserts it. The first thing in a
            /// transaction: it takes the chain, and on SQLite the right to write.
            pub(super) async fn enter(
                connection: &mut $connection,
                note: &Note,
            ) -> Result<String, StoreError> {
                let row: Option<HeadRow> =
                    sqlx::query_as(TAKE_CONTROL).fetch_optional(&mut *connection).await?;
                let head = control_head(row)?;
                let (sealed, head) = note.seal(head);
                let mac = head.named(CONTROL).mac;
                sqlx::query(LEAVE_CONTROL).bind(mac).execute(&mut *connection).await?;
                let id = sealed.record.id.to_string();
                Self::insert(connection, &[&Entry::from(sealed)]).await.map_err(control_row)?;
                Ok(id)
            }

            async fn insert(connection: &mut $connection, entries: &[&Entry]) -> Result<(), StoreError> {
                for rows in entries.chunks(ROWS_PER_STATEMENT) {
                    let mut insert = QueryBuilder::<$database>::new(INSERT);
                    insert.push_values(rows, |mut values, entry| {
                        let Entry { record, link, .. } = entry;
                        values
                            .push_bind(record.id.to_string())
                            .push_bind(record.event_type.as_ref())
                            .push_bind(record.occurred_at)
                            .push_bind(record.actor_kind.as_ref())
                            .push_bind(record.actor_id.as_deref())
                            .push_bind(record.session_id.as_deref())
                            .push_bind(record.request_id.as_deref())
                            .push_bind(record.client_address.as_deref())
                            .push_bind(record.method.as_deref())
                            .push_bind(record.path.as_deref())
                            .push_bind(record.route.as_deref())
                            .push_bind(record.reason.as_deref())
                            .push_bind(record.required.as_ref().map(Json))
                            .push_bind(record.held.as_ref().map(Json))
                            .push_bind(record.mapping_sha256.as_deref())
                            .push_bind(record.epoch)
                            .push_bind(record.detail.as_ref().map(Json))
                            .push_bind(link.chain_id.as_str())
                            .push_bind(link.sequence)
                            .push_bind(link.key_id.as_str())
                            .push_bind(link.personal_salt.as_deref())
                            .push_bind(link.personal_digest.as_str())
                            .push_bind(link.content_hash.as_str())
                            .push_bind(link.mac.as_str());
                    });
                    insert.build().execute(&mut *connection).await?;
                }
                let customers: Vec<&CustomerEvent> =
                    entries.iter().filter_map(|entry| entry.customer.as_deref()).collect();
                for rows in customers.chunks(ROWS_PER_STATEMENT) {
                    let mut insert = QueryBuilder::<$database>::new(INSERT_CUSTOMER);
                    insert.push_values(rows, |mut values, event| {
                        values
                            .push_bind(event.id.to_string())
                            .push_bind(event.tenant_id.as_str())
                            .push_bind(event.dimension.as_str())
                            .push_bind(event.action.as_str())
                            .push_bind(event.occurred_at)
                            .push_bind(event.source.as_str())
                            .push_bind(event.actor_kind.as_str())
                            .push_bind(event.actor_id.as_deref())
                            .push_bind(event.subject_id.as_deref())
                            .push_bind(event.request_id.as_deref())
                            .push_bind(event.detail.as_ref().map(Json))
                            .push_bind(event.salt.as_deref());
                    });
                    insert.build().execute(&mut *connection).await?;
                }
                Ok(())
            }
        }

        #[async_trait]
        impl AuditStore for $store {
            async fn append(&self, entries: &[Entry]) -> Result<(), StoreError> {
                let entries: Vec<&Entry> = entries.iter().collect();
                bounded(self.limit, async {
                    let is_one_statement = entries.len() <= ROWS_PER_STATEMENT
                        && entries.iter().all(|entry| entry.customer.is_none());
                    if is_one_statement {
                        // One statement is one transaction, and saves a lone denial two round trips.
                        let mut connection = self.audit_pool.acquire().await?;
                        return Self::insert(&mut connection, &entries).await;
                    }
                    let mut transaction = self.begin_audit().await?;
                    Self::insert(&mut transaction, &entries).await?;
                    Ok(transaction.commit().await?)
                })
                .await
            }

            async fn append_missing(&self, entries: &[Entry]) -> Result<u64, StoreError> {
                bounded(self.limit, async {
                    let mut transaction = self.begin_audit().await?;
                    let mut known = std::collections::HashSet::new();
                    for rows in entries.chunks(ROWS_PER_STATEMENT) {
                        let mut query =
                            QueryBuilder::<$database>::new("SELECT id FROM gate_audit_events WHERE id IN ");
                        query.push_tuples(rows, |mut values, entry| {
                            values.push_bind(entry.record.id.to_string());
                        });
                        let found: Vec<String> =
                            query.build_query_scalar().fetch_all(&mut *transaction).await?;
                        known.extend(found);
                    }
                    let missing: Vec<&Entry> = entries
                        .iter()
                        .filter(|entry| !known.contains(&entry.record.id.to_string()))
                        .collect();
                    Self::insert(&mut transaction, &missing).await?;
                    transaction.commit().await?;
                    Ok(missing.len() as u64)
                })
                .await
            }

            async fn record(&self, note: &Note) -> Result<(), StoreError> {
                bounded(self.limit, async {
                    let mut transaction = self.begin().await?;
                    Self::enter(&mut transaction, note).await?;
                    Ok(transaction.commit().await?)
                })
                .await
            }

            async fn recent(&self, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
                bounded(self.limit, async {
                    Ok(sqlx::query_as(RECENT).bind(i64::from(limit)).fetch_all(&self.pool).await?)
                })
                .await
            }

            async fn by_request(&self, request_id: &str) -> Result<Vec<StoredEvent>, StoreError> {
                bounded(self.limit, async {
                    Ok(sqlx::query_as(BY_REQUEST).bind(request_id).fetch_all(&self.pool).await?)
                })
                .await
            }

            async fn by_id(&self, id: uuid::Uuid) -> Result<Option<StoredEvent>, StoreError> {
                bounded(self.limit, async {
                    Ok(sqlx::query_as(BY_ID).bind(id.to_string()).fetch_optional(&self.pool).await?)
                })
                .await
            }

            async fn send_evidence(&self, evidence: mpsc::Sender<Evidence>) -> Result<(), StoreError> {
                let mut snapshot = self.long_reader().await?;
                snapshot.execute(Self::SNAPSHOT).await?;
                let chain: ControlColumns = sqlx::query_as(CONTROL_CHAIN).fetch_one(&mut *snapshot).await?;
                let head = stream::iter([Ok(ControlChain::from(chain))]);
                send(head, &evidence).await?;
                let rows = Self::exactly::<StoredEvent>(sqlx::query(BY_CHAIN).fetch(&mut *snapshot));
                send(rows, &evidence).await?;
                let customers = sqlx::query(CUSTOMER_EVENTS).fetch(&mut *snapshot);
                send(Self::exactly::<StoredCustomerEvent>(customers), &evidence).await?;
                snapshot.execute("COMMIT").await?;
                Ok(())
            }

            async fn send_by_time(
                &self,
                since: DateTime<Utc>,
                until: DateTime<Utc>,
                rows: mpsc::Sender<StoredEvent>,
            ) -> Result<(), StoreError> {
                let mut connection = self.long_reader().await?;
                send(sqlx::query_as(BY_TIME).bind(since).bind(until).fetch(&mut *connection), &rows).await
            }

            async fn heads(&self) -> Result<Vec<ChainHead>, StoreError> {
                bounded(self.limit, async {
                    let heads: Vec<(String, i64, String)> =
                        sqlx::query_as(HEADS).bind(NAMED_HEADS as i64).fetch_all(&self.pool).await?;
                    let named =
                        heads.into_iter().map(|(chain, sequence, mac)| ChainHead { chain, sequence, mac });
                    Ok(named.collect())
                })
                .await
            }

            async fn control_chain(&self) -> Result<ControlChain, StoreError> {
                bounded(self.limit, async {
                    let row: ControlColumns = sqlx::query_as(CONTROL_CHAIN).fetch_one(&self.pool).await?;
                    Ok(row.into())
                })
                .await
            }

            async fn pending_erasures(&self) -> Result<Vec<String>, StoreError> {
                bounded(self.limit, async {
                    Ok(sqlx::query_scalar(
                        "SELECT actor_id FROM gate_pending_erasures ORDER BY requested_at_utc",
                    )
                    .fetch_all(&self.pool)
                    .await?)
                })
                .await
            }

            async fn traces_of(&self, actor_id: &str) -> Result<(u64, u64), StoreError> {
                bounded(self.limit, async {
                    let rows: i64 = sqlx::query_scalar(TRACES).bind(actor_id).fetch_one(&self.pool).await?;
                    let customers: i64 = sqlx::query_scalar(Self::CUSTOMER_TRACES)
                        .bind(actor_id)
                        .fetch_one(&self.pool)
                        .await?;
                    Ok((rows.unsigned_abs(), customers.unsigned_abs()))
                })
                .await
            }

            async fn erase(&self, actor_id: &str, rows: (u64, u64), note: &Note) -> Result<(), StoreError> {
                let mut transaction = self.begin().await?;
                let event = Self::enter(&mut transaction, note).await?;
                let erased =
                    sqlx::query(ERASE).bind(actor_id).bind(&event).execute(&mut *transaction).await?;
                let customers = Self::erase_customer(&mut transaction, actor_id, &event).await?;
                if (erased.rows_affected(), customers) != rows {
                    transaction.rollback().await?;
                    return Err(StoreError::Conflict("rows were added meanwhile".into()));
                }
                Self::erase_evidence(&mut transaction, actor_id, note.record().occurred_at).await?;
                sqlx::query(ERASED).bind(actor_id).execute(&mut *transaction).await?;
                Ok(transaction.commit().await?)
            }
        }
    };
}

audit_store!(PostgresStore, sqlx::Postgres, sqlx::PgConnection);
audit_store!(SqliteStore, sqlx::Sqlite, sqlx::SqliteConnection);
