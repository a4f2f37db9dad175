//! The append-only audit table.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::QueryBuilder;
use sqlx::types::Json;

use super::{PostgresStore, SqliteStore, StoreError, bounded};
use crate::audit::AuditRecord;

/// Appends audit records and reads them back.
#[async_trait]
pub trait AuditStore {
    /// Appends all records in one transaction. When this returns, they are durable.
    async fn append(&self, records: &[AuditRecord]) -> Result<(), StoreError>;

    /// The newest records first, at most `limit` of them.
    async fn recent(&self, limit: u32) -> Result<Vec<StoredEvent>, StoreError>;

    /// The record of one request, if it wrote one.
    async fn by_request(&self, request_id: &str) -> Result<Vec<StoredEvent>, StoreError>;
}

/// An audit row as it is read back.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow, serde::Serialize)]
pub struct StoredEvent {
    pub id: String,
    pub event_type: String,
    pub occurred_at_utc: DateTime<Utc>,
    pub actor_kind: String,
    pub actor_id: Option<String>,
    pub session_id: Option<String>,
    pub request_id: Option<String>,
    pub client_address: Option<String>,
    pub method: Option<String>,
    pub path: Option<String>,
    pub route: Option<String>,
    pub reason: Option<String>,
    pub required: Option<Json<serde_json::Value>>,
    pub held: Option<Json<serde_json::Value>>,
    pub mapping_sha256: Option<String>,
    pub epoch: Option<i64>,
    pub detail: Option<Json<serde_json::Value>>,
}

const INSERT: &str = "
    INSERT INTO gate_audit_events (
        id, event_type, occurred_at_utc, actor_kind, actor_id, session_id, request_id, client_address,
        method, path, route, reason, required, held, mapping_sha256, epoch, detail
    ) ";

/// 17 values a row: SQLite takes 32,766 in a statement, Postgres 65,535.
const ROWS_PER_STATEMENT: usize = 1_000;

const RECENT: &str = "SELECT * FROM gate_audit_events ORDER BY occurred_at_utc DESC, id DESC LIMIT $1";

const BY_REQUEST: &str = "SELECT * FROM gate_audit_events WHERE request_id = $1 ORDER BY id";

macro_rules! audit_store {
    ($store:ty, $database:ty, $connection:ty) => {
        impl $store {
            /// Inserts records on a connection that may be inside a transaction.
            pub(super) async fn insert_records(
                connection: &mut $connection,
                records: &[AuditRecord],
            ) -> Result<(), StoreError> {
                for rows in records.chunks(ROWS_PER_STATEMENT) {
                    let mut insert = QueryBuilder::<$database>::new(INSERT);
                    insert.push_values(rows, |mut values, record| {
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
                            .push_bind(record.detail.as_ref().map(Json));
                    });
                    insert.build().execute(&mut *connection).await?;
                }
                Ok(())
            }
        }

        #[async_trait]
        impl AuditStore for $store {
            async fn append(&self, records: &[AuditRecord]) -> Result<(), StoreError> {
                bounded(self.limit, async {
                    if records.len() <= ROWS_PER_STATEMENT {
                        // One statement is one transaction, and saves a lone denial two round trips.
                        let mut connection = self.pool.acquire().await?;
                        return Self::insert_records(&mut connection, records).await;
                    }
                    let mut transaction = self.pool.begin().await?;
                    Self::insert_records(&mut transaction, records).await?;
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
        }
    };
}

audit_store!(PostgresStore, sqlx::Postgres, sqlx::PgConnection);
audit_store!(SqliteStore, sqlx::Sqlite, sqlx::SqliteConnection);
