//! What each running gate decides by, as it reports it itself.

use std::time::Duration;

use chrono::{DateTime, Utc};
use policy::ids::{InstanceId, MappingSha256, PinId};

use crate::engine::sql::sql;
use crate::instances::{lease_millis, lease_of};
use crate::{Store, StoreError, storable};

/// What a gate decides by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runs {
    pub mapping: MappingSha256,
    /// The gate's own file as it settled last; `None` where it could not be read.
    pub file: Option<MappingSha256>,
    /// The last rollback or release that the gate has acted on.
    pub pin: PinId,
    /// Whether that rollback decides here, and not the file.
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
    /// How long the gate may be silent before it counts as stopped.
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

impl Store {
    /// Writes what a gate runs. When this returns, everybody who asks reads it.
    pub async fn report_running(&self, report: &RunningReport) -> Result<(), StoreError> {
        let RunningReport { instance, name, now, lease, runs } = report;
        let lease = lease_millis(*lease)?;
        let report = sql(REPORT)
            .bind(instance.as_str())
            .bind(name)
            .bind(lease)
            .bind(*now)
            .bind(runs.mapping.as_str())
            .bind(runs.file.as_ref().map(MappingSha256::as_str))
            .bind(runs.pin.as_str())
            .bind(runs.is_held)
            .bind(runs.problem.as_deref().map(storable));
        self.execute(report).await.map(drop)
    }

    /// The gates that have reported and have not left, by name. One that was killed is among them until it is forgotten.
    pub async fn running_gates(&self) -> Result<Vec<RunningGate>, StoreError> {
        let rows: Vec<GateRow> = self.all(sql(GATES)).await?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// Forgets gates that were silent for longer than their lease, each only if it has not reported since it was read.
    /// Each is a change of its own.
    pub async fn forget_silent(&self, gates: &[RunningGate]) -> Result<(), StoreError> {
        self.bounded(async {
            let mut connection = self.pool.acquire().await?;
            for gate in gates {
                connection.execute(sql(FORGET).bind(gate.instance.as_str()).bind(gate.reports)).await?;
            }
            Ok(())
        })
        .await
    }

    /// Forgets a gate that stops.
    pub async fn stop_running(&self, instance: &InstanceId) -> Result<(), StoreError> {
        self.execute(sql(STOP).bind(instance.as_str())).await.map(drop)
    }
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
        Ok(RunningGate {
            instance: InstanceId::new(row.instance_id),
            name: row.name,
            reports: row.reports,
            lease: lease_of(row.lease_ms, "gate_running")?,
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
