//! What each running gate decides by, as it reports it itself.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use policy::ids::{InstanceId, MappingSha256, PinId};

use super::{PostgresStore, SqliteStore, StoreError, bounded, storable};

/// What a gate decides by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runs {
    pub mapping: MappingSha256,
    /// The gate's own file as it settled last; `None` where it could not be read.
    pub file: Option<MappingSha256>,
    /// The last rollback or release that the gate has acted on.
    pub pin: PinId,
    /// Whether that rollback rules here, and not the file.
    pub is_held: bool,
    /// Why what should run does not.
    pub problem: Option<String>,
}

/// What a gate writes when it reports.
#[derive(Clone, Debug)]
pub struct RunningReport {
    pub instance: InstanceId,
    /// Host and process id, for people.
    pub name: String,
    /// The gate's wall clock, for people: nothing rests on it.
    pub now: DateTime<Utc>,
    /// For how long the gate may be silent before it is taken for stopped.
    pub lease: Duration,
    pub runs: Runs,
}

/// A gate that has reported and has not left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningGate {
    pub instance: InstanceId,
    pub name: String,
    /// Which report it is: a gate that is silent does not count on.
    pub reports: i64,
    pub lease: Duration,
    pub runs: Runs,
}

/// Keeps what the gates report.
#[async_trait]
pub trait RunningStore {
    /// Writes what a gate runs. When this returns, everybody who asks reads it.
    async fn report_running(&self, report: &RunningReport) -> Result<(), StoreError>;

    /// The gates that have reported and have not left, by name. One that was killed is among them until it is forgotten.
    async fn running_gates(&self) -> Result<Vec<RunningGate>, StoreError>;

    /// Forgets gates that were silent for longer than their lease, each only if it has not reported since it was read.
    async fn forget_silent(&self, gates: &[RunningGate]) -> Result<(), StoreError>;

    /// Forgets a gate that stops.
    async fn stop_running(&self, instance: &InstanceId) -> Result<(), StoreError>;
}

const REPORT: &str = "
    INSERT INTO gate_running (instance_id, name, reports, lease_ms, reported_at_utc,
                              mapping_sha256, file_sha256, pin_id, is_held, problem)
    VALUES ($1, $2, 1, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (instance_id) DO UPDATE
       SET reports = gate_running.reports + 1, lease_ms = excluded.lease_ms,
           reported_at_utc = excluded.reported_at_utc, mapping_sha256 = excluded.mapping_sha256,
           file_sha256 = excluded.file_sha256, pin_id = excluded.pin_id, is_held = excluded.is_held,
           problem = excluded.problem";

const GATES: &str = "
    SELECT instance_id, name, reports, lease_ms, mapping_sha256, file_sha256, pin_id, is_held, problem
      FROM gate_running
     ORDER BY name, instance_id";

const FORGET: &str = "DELETE FROM gate_running WHERE instance_id = $1 AND reports = $2";
const STOP: &str = "DELETE FROM gate_running WHERE instance_id = $1";

#[derive(sqlx::FromRow)]
struct GateRow {
    instance_id: String,
    name: String,
    reports: i64,
    lease_ms: i64,
    mapping_sha256: String,
    file_sha256: Option<String>,
    pin_id: String,
    is_held: bool,
    problem: Option<String>,
}

impl TryFrom<GateRow> for RunningGate {
    type Error = StoreError;

    fn try_from(row: GateRow) -> Result<Self, StoreError> {
        let lease = u64::try_from(row.lease_ms)
            .map_err(|_| StoreError::Broken("a lease in gate_running has no length".into()))?;
        Ok(RunningGate {
            instance: InstanceId::new(row.instance_id),
            name: row.name,
            reports: row.reports,
            lease: Duration::from_millis(lease),
            runs: Runs {
                mapping: MappingSha256::new(row.mapping_sha256),
                file: row.file_sha256.map(MappingSha256::new),
                pin: PinId::new(row.pin_id),
                is_held: row.is_held,
                problem: row.problem,
            },
        })
    }
}

macro_rules! running_store {
    ($store:ty) => {
        #[async_trait]
        impl RunningStore for $store {
            async fn report_running(&self, report: &RunningReport) -> Result<(), StoreError> {
                let RunningReport { instance, name, now, lease, runs } = report;
                let lease = i64::try_from(lease.as_millis())
                    .map_err(|_| StoreError::Refused("a lease of that length".into()))?;
                bounded(self.limit, async {
                    sqlx::query(REPORT)
                        .bind(instance.as_str())
                        .bind(name)
                        .bind(lease)
                        .bind(*now)
                        .bind(runs.mapping.as_str())
                        .bind(runs.file.as_ref().map(MappingSha256::as_str))
                        .bind(runs.pin.as_str())
                        .bind(runs.is_held)
                        .bind(runs.problem.as_deref().map(storable))
                        .execute(&self.pool)
                        .await?;
                    Ok(())
                })
                .await
            }

            async fn running_gates(&self) -> Result<Vec<RunningGate>, StoreError> {
                bounded(self.limit, async {
                    let rows: Vec<GateRow> = sqlx::query_as(GATES).fetch_all(&self.pool).await?;
                    rows.into_iter().map(TryInto::try_into).collect()
                })
                .await
            }

            async fn forget_silent(&self, gates: &[RunningGate]) -> Result<(), StoreError> {
                bounded(self.limit, async {
                    for gate in gates {
                        sqlx::query(FORGET)
                            .bind(gate.instance.as_str())
                            .bind(gate.reports)
                            .execute(&self.pool)
                            .await?;
                    }
                    Ok(())
                })
                .await
            }

            async fn stop_running(&self, instance: &InstanceId) -> Result<(), StoreError> {
                bounded(self.limit, async {
                    sqlx::query(STOP).bind(instance.as_str()).execute(&self.pool).await?;
                    Ok(())
                })
                .await
            }
        }
    };
}

running_store!(PostgresStore);
running_store!(SqliteStore);
