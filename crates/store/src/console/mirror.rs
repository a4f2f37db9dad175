//! Console's own audit table, where it keeps seeing the gate's denials (`[audit.mirror]`).
//!
//! ```text
//! append: sealed row --> gate_audit_events                    one transaction
//!            \--> Console's table, after a savepoint
//!            \--> gate_audit_outbox, where that fails, or rows wait there already, or the table is in another database
//! deliver: gate_audit_outbox, oldest first --> Console's table, once by id
//! ```
//!
//! Whatever is wrong with Console's table, the sealed row is committed, and in time.

mod deliver;
pub mod field;
mod fit;
mod prepare;
pub(crate) mod rights;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ledger::{AuditRecord, Entry};
use metrics::counter;

pub use self::deliver::Delivered;
pub use self::field::ColumnSource;
use self::prepare::Prepared;
use crate::engine::connection::Connection;
use crate::engine::sql::{Statement, sql};
use crate::{SharedStore, Store, StoreError};

/// What Console's audit table is called, and what its columns get.
#[derive(Clone, Debug, PartialEq)]
pub struct MirrorOptions {
    /// With its schema: `public.audit_log`.
    pub table: String,
    pub columns: BTreeMap<String, ColumnSource>,
    /// The types of events that are mirrored.
    pub events: Vec<String>,
}

/// The events mirrored by default.
pub fn denials() -> Vec<String> {
    vec!["access_denied".to_owned()]
}

/// The error of a mirror.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// Every mistake in the settings or the table.
    #[error("{}", .0.join("\n"))]
    Unsound(Vec<String>),
    /// It could not be looked at now.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A mirror that rows go to.
#[derive(Debug)]
pub(crate) struct Mirror {
    options: MirrorOptions,
    /// Where the table is in another database.
    remote: Option<SharedStore>,
    /// How long a statement on Console's table may take.
    limit: Duration,
    /// What was read of the table; read again after the table has changed.
    prepared: Mutex<Option<Arc<Prepared>>>,
    /// Whether rows may wait in the outbox, behind which new ones have to wait too.
    is_behind: AtomicBool,
    /// Whether rows are being put into the table. If this is found so, an earlier attempt ran out of time and was given up.
    is_trying: AtomicBool,
    /// What the last delivery left.
    delivered: Mutex<Delivered>,
}

impl Store {
    /// Mirrors events from here on; the first call counts. `remote` is the database of Console's table, where that is
    /// another one.
    pub fn set_mirror(&self, options: MirrorOptions, remote: Option<SharedStore>, limit: Duration) {
        let mirror = Mirror {
            options,
            remote,
            limit,
            prepared: Mutex::new(None),
            is_behind: AtomicBool::new(true),
            is_trying: AtomicBool::new(false),
            delivered: Mutex::default(),
        };
        if self.mirror.set(mirror).is_err() {
            tracing::debug!("the mirror is set already");
        }
    }

    /// Looks whether the table takes what the settings send it. Nothing is written.
    ///
    /// # Errors
    ///
    /// Every mistake at once, or the database did not answer.
    pub async fn check_mirror(&self) -> Result<(), MirrorError> {
        let Some(mirror) = self.mirror.get() else { return Ok(()) };
        let pool = mirror.remote.as_ref().map_or(&self.pool, |remote| &remote.pool);
        let check = async {
            let mut transaction = pool.begin().await?;
            let outcome = prepare::check(&mut transaction, mirror).await;
            transaction.rollback().await?;
            Ok::<_, StoreError>(outcome)
        };
        self.bounded(check).await?
    }

    /// The outcome of this process's last delivery; `None` where nothing is mirrored.
    pub fn mirror_delivered(&self) -> Option<Delivered> {
        let mirror = self.mirror.get()?;
        Some(mirror.delivered.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Puts the rows that are mirrored into Console's table or the outbox, in the transaction that appends them.
    pub(crate) async fn mirror_rows(
        &self,
        connection: &mut Connection,
        entries: &[&Entry],
    ) -> Result<(), StoreError> {
        let Some(mirror) = self.mirror.get() else { return Ok(()) };
        let records: Vec<&AuditRecord> =
            entries.iter().map(|entry| &entry.record).filter(|record| mirror.takes(record)).collect();
        if records.is_empty() {
            return Ok(());
        }
        let was_given_up = mirror.is_trying.swap(false, Ordering::Relaxed);
        if mirror.remote.is_none() && !was_given_up && !mirror.is_behind(connection).await? {
            mirror.is_trying.store(true, Ordering::Relaxed);
            let outcome = mirror.put(connection, &records).await;
            mirror.is_trying.store(false, Ordering::Relaxed);
            match outcome? {
                Ok(()) => {
                    counter!("gate_audit_mirrored_total", "way" => "at once").increment(records.len() as u64);
                    return Ok(());
                }
                Err(error) => {
                    counter!("gate_audit_mirror_failures_total", "kind" => error.kind()).increment(1);
                    tracing::error!(
                        error = %without_values(&error),
                        table = %mirror.options.table,
                        "Console's audit table does not take rows: they wait in gate_audit_outbox"
                    );
                }
            }
        }
        mirror.is_behind.store(true, Ordering::Relaxed);
        enqueue(connection, &records).await
    }

    /// Lets a row of the commands' chain wait for a running gate.
    pub(crate) async fn mirror_note(
        &self,
        connection: &mut Connection,
        record: &AuditRecord,
    ) -> Result<(), StoreError> {
        match self.mirror.get() {
            Some(mirror) if mirror.takes(record) => enqueue(connection, &[record]).await,
            _ => Ok(()),
        }
    }

    /// Whether any of these rows is mirrored.
    pub(crate) fn mirrors_any(&self, entries: &[&Entry]) -> bool {
        self.mirror.get().is_some_and(|mirror| entries.iter().any(|entry| mirror.takes(&entry.record)))
    }
}

impl Mirror {
    fn takes(&self, record: &AuditRecord) -> bool {
        self.options.events.iter().any(|event| *event == record.event_type)
    }

    /// Whether rows wait. One task appends a gate's rows, so what it does not see here is of no earlier row of its own.
    async fn is_behind(&self, connection: &mut Connection) -> Result<bool, StoreError> {
        if !self.is_behind.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let waiting: Option<(i64,)> = connection.first(sql(OLDEST)).await?;
        self.is_behind.store(waiting.is_some(), Ordering::Relaxed);
        Ok(waiting.is_some())
    }

    /// Puts rows into Console's table, or leaves the transaction as it was. The outer error is that of the transaction.
    async fn put(
        &self,
        connection: &mut Connection,
        records: &[&AuditRecord],
    ) -> Result<Result<(), StoreError>, StoreError> {
        connection.run("SAVEPOINT gate_mirror").await?;
        match self.try_to_put(connection, records).await {
            Ok(()) => {
                if let Connection::Postgres(_) = connection {
                    connection.run(AS_BEFORE).await?;
                }
                connection.run("RELEASE SAVEPOINT gate_mirror").await?;
                Ok(Ok(()))
            }
            Err(error) => {
                connection.run("ROLLBACK TO SAVEPOINT gate_mirror").await?;
                connection.run("RELEASE SAVEPOINT gate_mirror").await?;
                // The table may be another one now.
                self.forget();
                Ok(Err(error))
            }
        }
    }

    async fn try_to_put(
        &self,
        connection: &mut Connection,
        records: &[&AuditRecord],
    ) -> Result<(), StoreError> {
        self.hurry(connection).await?;
        let prepared = self.prepared(connection).await?;
        if let Connection::Postgres(_) = connection {
            // The table's own triggers find what they name where Console finds it.
            let path = sql("SELECT set_config('search_path', $1, true)").bind(prepared.search_path.clone());
            let _: (String,) = connection.one(path).await?;
        }
        for statement in prepared.inserts(records, self.remote.is_some()) {
            connection.execute(statement).await?;
        }
        if let Connection::Postgres(_) = connection {
            // A constraint that fails only at the end of the transaction would roll back the sealed row.
            connection.run("SET CONSTRAINTS ALL IMMEDIATE").await?;
        }
        Ok(())
    }

    /// Bounds the statements that follow, until the transaction or its savepoint ends.
    async fn hurry(&self, connection: &mut Connection) -> Result<(), StoreError> {
        if let Connection::Postgres(_) = connection {
            let limit = format!("{}ms", self.limit.as_millis().max(1));
            let _: (String, String) = connection.one(sql(HURRY).bind(limit)).await?;
        }
        Ok(())
    }

    async fn prepared(&self, connection: &mut Connection) -> Result<Arc<Prepared>, StoreError> {
        if let Some(prepared) = &*self.prepared.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(prepared.clone());
        }
        let prepared = match prepare::prepare(connection, &self.options, self.remote.is_some()).await {
            Ok(prepared) => Arc::new(prepared),
            Err(MirrorError::Store(error)) => return Err(error),
            Err(MirrorError::Unsound(problems)) => return Err(StoreError::Schema(problems.join("; "))),
        };
        *self.prepared.lock().unwrap_or_else(PoisonError::into_inner) = Some(prepared.clone());
        Ok(prepared)
    }

    fn forget(&self) {
        *self.prepared.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

async fn enqueue(connection: &mut Connection, records: &[&AuditRecord]) -> Result<(), StoreError> {
    let mut insert = Statement::insert(
        "INSERT INTO gate_audit_outbox (event_id) ",
        1,
        " ON CONFLICT (event_id) DO NOTHING",
    )
    .once();
    for record in records {
        insert.push(record.id.to_string());
    }
    connection.execute(insert).await.map(drop)
}

/// A database's error about a row, without the values that it quotes: they may be personal.
fn without_values(error: &StoreError) -> String {
    let message = error.to_string();
    message.split(": \"").next().unwrap_or_default().to_owned()
}

const OLDEST: &str = "SELECT seq FROM gate_audit_outbox WHERE refused IS NULL ORDER BY seq LIMIT 1";

/// What follows in the transaction is the gate's own.
const AS_BEFORE: &str = "SET LOCAL lock_timeout TO DEFAULT; SET LOCAL statement_timeout TO DEFAULT;
    SET LOCAL search_path TO DEFAULT";

const HURRY: &str = "SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', $1, true)";
