//! Activated mappings: their texts, their history, and the pin of a rollback.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use ledger::Note;
use policy::ids::{MappingSha256, PinId};

use crate::audit::enter;
use crate::engine::sql::{Statement, sql};
use crate::{Store, StoreError, storable};

impl Store {
    /// Records an activation, or a refusal, with its audit record, in one transaction. The text is kept by its hash, so
    /// that it can be activated again.
    pub async fn record_activation(
        &self,
        activation: &Activation,
        content: &str,
        note: &Note,
    ) -> Result<(), StoreError> {
        self.record_activation_with(activation, content, note, &[]).await
    }

    /// The same with further audit records about it.
    pub async fn record_activation_with(
        &self,
        activation: &Activation,
        content: &str,
        note: &Note,
        further: &[Note],
    ) -> Result<(), StoreError> {
        let Activation { sha256, activated_at, .. } = activation;
        let keep = sql(KEEP_TEXT).bind(sha256.as_str()).bind(content).bind(*activated_at);
        let record = sql(RECORD)
            .bind(activation.id.to_string())
            .bind(sha256.as_str())
            .bind(*activated_at)
            .bind(&activation.activated_by)
            .bind(&activation.instance)
            .bind(activation.outcome)
            .bind(activation.diagnostics.as_deref().map(storable))
            .bind(activation.previous.as_ref().map(MappingSha256::as_str));
        self.change(note, async |change| {
            for note in further {
                enter(change, note).await?;
            }
            change.execute(keep).await?;
            change.execute(record).await.map(drop)
        })
        .await
    }

    /// The latest activations and refusals first.
    pub async fn activations(&self, limit: u32) -> Result<Vec<StoredActivation>, StoreError> {
        self.all(Statement::joined(&[HISTORY, LATEST_FIRST, "$1"]).bind(i64::from(limit))).await
    }

    /// The latest activation, refusals left out.
    pub async fn latest_activation(&self) -> Result<Option<StoredActivation>, StoreError> {
        self.first(latest("WHERE outcome = 'activated'")).await
    }

    /// The latest activation of any other mapping than `sha256`.
    pub async fn latest_activation_but(
        &self,
        sha256: &MappingSha256,
    ) -> Result<Option<StoredActivation>, StoreError> {
        let which = "WHERE outcome = 'activated' AND sha256 <> $1";
        self.first(latest(which).bind(sha256.as_str())).await
    }

    /// The latest activation of `sha256` that took another mapping's place.
    pub async fn latest_step_to(
        &self,
        sha256: &MappingSha256,
    ) -> Result<Option<StoredActivation>, StoreError> {
        let which = "WHERE outcome = 'activated' AND sha256 = $1 AND previous_sha256 <> sha256";
        self.first(latest(which).bind(sha256.as_str())).await
    }

    /// The mappings, two at most, that were activated and whose hash begins so. Hexadecimal digits only.
    pub async fn activated_beginning(&self, beginning: &str) -> Result<Vec<MappingSha256>, StoreError> {
        // A wildcard of LIKE is no digit.
        if !beginning.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Vec::new());
        }
        let found: Vec<(String,)> = self.all(sql(BEGINNING).bind(format!("{beginning}%"))).await?;
        Ok(found.into_iter().map(|(sha256,)| MappingSha256::new(sha256)).collect())
    }

    /// The text of a mapping that was once seen.
    pub async fn mapping_text(&self, sha256: &MappingSha256) -> Result<Option<String>, StoreError> {
        let text: Option<(String,)> = self.first(sql(TEXT).bind(sha256.as_str())).await?;
        Ok(text.map(|(text,)| text))
    }

    /// What the last rollback or release said.
    pub async fn pin(&self) -> Result<Pin, StoreError> {
        pin_of(self.all(sql(PIN)).await?)
    }

    /// Pins a mapping, or lets the files decide again, and records it, in one transaction. A mapping that is pinned
    /// replaces what every gate has reported, its file and what it runs, and `files` besides.
    pub async fn set_pin(
        &self,
        new: &NewPin,
        files: &[MappingSha256],
        note: &Note,
    ) -> Result<(), StoreError> {
        let sha256 = new.sha256.as_ref().map(MappingSha256::as_str);
        self.change(note, async |change| {
            // The same rollback once more still takes back what it took back.
            change.execute(sql(FORGET_FILES).bind(sha256)).await?;
            let set = sql(SET_PIN).bind(new.id.as_str()).bind(sha256).bind(&new.by).bind(new.at);
            change.execute(set).await?;
            if let Some(sha256) = sha256 {
                change.execute(sql(REPLACE_REPORTED).bind(sha256)).await?;
                for file in files {
                    change.execute(replace(&new.id, file)).await?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Adds a file that a gate had when it met the pin to those that the pin replaces, if it is still that pin.
    pub async fn replace_by_pin(&self, pin: &PinId, file: &MappingSha256) -> Result<(), StoreError> {
        self.execute(replace(pin, file)).await.map(drop)
    }
}

/// One activation or refusal.
#[derive(Clone, Debug)]
pub struct Activation {
    pub id: uuid::Uuid,
    pub sha256: MappingSha256,
    pub activated_at: DateTime<Utc>,
    /// `file of`, `signal of` or `start of` the file's owner, `fallback`, or `rollback by` or `release by` an operator.
    pub activated_by: String,
    pub instance: String,
    /// `activated` or `refused`.
    pub outcome: &'static str,
    pub diagnostics: Option<String>,
    pub previous: Option<MappingSha256>,
}

/// An activation as it is read back.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct StoredActivation {
    pub sha256: String,
    pub activated_at_utc: DateTime<Utc>,
    pub activated_by: String,
    pub instance: String,
    pub outcome: String,
    pub diagnostics: Option<String>,
    pub previous_sha256: Option<String>,
}

/// A rollback or a release, as it is ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPin {
    pub id: PinId,
    /// The mapping that is to run; `None` lets the files decide again.
    pub sha256: Option<MappingSha256>,
    /// Who ordered it.
    pub by: String,
    pub at: DateTime<Utc>,
}

/// What the last rollback or release said: this mapping decides at every gate, until the gate's file is none of those
/// that it replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Empty until a first rollback.
    pub id: PinId,
    /// `None`: the files decide.
    pub sha256: Option<MappingSha256>,
    /// Who ordered it.
    pub by: String,
    pub at: DateTime<Utc>,
    /// The files that it replaces.
    pub replaces: BTreeSet<MappingSha256>,
}

const KEEP_TEXT: &str = "
    INSERT INTO gate_mappings (sha256, content, first_seen_at_utc) VALUES ($1, $2, $3)
    ON CONFLICT (sha256) DO NOTHING";

const RECORD: &str = "
    INSERT INTO gate_mapping_activations (
        id, sha256, activated_at_utc, activated_by, instance, outcome, diagnostics, previous_sha256
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

/// The columns of [`StoredActivation`].
const HISTORY: &str = "
    SELECT sha256, activated_at_utc, activated_by, instance, outcome, diagnostics, previous_sha256
      FROM gate_mapping_activations ";

const LATEST_FIRST: &str = " ORDER BY activated_at_utc DESC, id DESC LIMIT ";

/// The latest activation of those that `which`, a condition, names.
fn latest<'q>(which: &'static str) -> Statement<'q> {
    Statement::joined(&[HISTORY, which, LATEST_FIRST, "1"])
}

const BEGINNING: &str = "
    SELECT m.sha256
      FROM gate_mappings m
     WHERE m.sha256 LIKE $1
       AND EXISTS (SELECT 1 FROM gate_mapping_activations a WHERE a.sha256 = m.sha256 AND a.outcome = 'activated')
     ORDER BY m.sha256
     LIMIT 2";

const TEXT: &str = "SELECT content FROM gate_mappings WHERE sha256 = $1";

/// One statement, and so one snapshot: a pin never comes with another one's files.
const PIN: &str = "
    SELECT p.pin_id, p.sha256, p.pinned_by, p.pinned_at_utc, f.file_sha256
      FROM gate_mapping_pin p
      LEFT JOIN gate_mapping_pin_files f ON p.sha256 IS NOT NULL
     WHERE p.id = 1";

const SET_PIN: &str = "
    INSERT INTO gate_mapping_pin (id, pin_id, sha256, pinned_by, pinned_at_utc) VALUES (1, $1, $2, $3, $4)
    ON CONFLICT (id) DO UPDATE
       SET pin_id = excluded.pin_id, sha256 = excluded.sha256, pinned_by = excluded.pinned_by,
           pinned_at_utc = excluded.pinned_at_utc";

const FORGET_FILES: &str = "
    DELETE FROM gate_mapping_pin_files
     WHERE NOT EXISTS (SELECT 1 FROM gate_mapping_pin WHERE id = 1 AND sha256 = CAST($1 AS TEXT))";

/// A file that is the pinned mapping is not replaced by it.
const REPLACE_REPORTED: &str = "
    INSERT INTO gate_mapping_pin_files (file_sha256)
    SELECT reported.sha256
      FROM (SELECT file_sha256 AS sha256 FROM gate_running WHERE file_sha256 IS NOT NULL
             UNION SELECT mapping_sha256 FROM gate_running) reported
     WHERE reported.sha256 <> $1
    ON CONFLICT (file_sha256) DO NOTHING";

const REPLACE: &str = "
    INSERT INTO gate_mapping_pin_files (file_sha256)
    SELECT $1 FROM gate_mapping_pin WHERE id = 1 AND pin_id = $2 AND sha256 IS NOT NULL AND sha256 <> $1
    ON CONFLICT (file_sha256) DO NOTHING";

fn replace<'q>(pin: &'q PinId, file: &'q MappingSha256) -> Statement<'q> {
    sql(REPLACE).bind(file.as_str()).bind(pin.as_str())
}

#[derive(sqlx::FromRow)]
struct PinRow {
    pin_id: String,
    sha256: Option<String>,
    pinned_by: String,
    pinned_at_utc: DateTime<Utc>,
    file_sha256: Option<String>,
}

fn pin_of(rows: Vec<PinRow>) -> Result<Pin, StoreError> {
    let mut rows = rows.into_iter();
    let first = rows.next().ok_or_else(|| StoreError::Broken("gate_mapping_pin has no row".into()))?;
    let files = rows.filter_map(|row| row.file_sha256);
    Ok(Pin {
        id: PinId::new(first.pin_id),
        sha256: first.sha256.map(MappingSha256::new),
        by: first.pinned_by,
        at: first.pinned_at_utc,
        replaces: first.file_sha256.into_iter().chain(files).map(MappingSha256::new).collect(),
    })
}
