//! The database: whether it answers, has the gate's tables, and lets the gate read Console's.

use std::path::Path;
use std::time::Duration;

use chrono::Utc;
use ledger::Entry;
use ledger::chain::Chain;
use ledger::entry::Draft;
use ledger::event::AuditEvent;
use ledger::keys::KeyRing;
use store::schema::migrations::SchemaState;
use store::schema::rights;
use store::{DatabaseUrl, SharedStore, StoreError};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::place;
use super::report::Report;
use crate::cli::store_options;
use crate::server::{placement, set_mirror};
use crate::settings::{NewerSchema, Settings};

/// The store, if everything that a decision needs can be read.
pub(super) async fn examine(settings: &Settings, report: &mut Report) -> Option<SharedStore> {
    let url = &settings.database.url.0;
    if let DatabaseUrl::Sqlite(file) = url
        && !file.exists()
    {
        // Opening it would create it.
        report.warn(
            "database",
            format!("{} does not exist", file.display()),
            "the gate makes it at its start, without people and roles; `console-gate migrate --seed rbac-v2` fills it",
        );
        report.skip("schema", "there is no database");
        return None;
    }
    let store = match open(settings).await {
        Ok(store) => store,
        Err(error) => {
            report.fail("database", format!("{}: {error}", url.in_words()), "correct `url` in [database]");
            report.skip("schema", "the database does not answer");
            return None;
        }
    };
    let patience = settings.database.timeout_ms.duration();
    match within(patience, store.schema_state()).await {
        Err(error) if is_absent(&error) => {
            let remedy = match url {
                DatabaseUrl::Postgres(_) => {
                    "check that Postgres runs there and that pg_hba.conf, user and password admit this machine: \
                     `psql` with the same URL says more"
                }
                DatabaseUrl::Sqlite(_) => "check the file and who may read and write it and its folder",
            };
            report.fail("database", format!("{}: {error}", url.in_words()), remedy);
            report.skip("schema", "the database does not answer");
            None
        }
        state => {
            if let Err(error @ StoreError::ReadOnly(_)) = store.control().await {
                report.fail(
                    "database",
                    format!("{}: {error}", url.in_words()),
                    "name the primary in `url` of [database]",
                );
                report.skip("schema", "it is the primary's that counts");
                return None;
            }
            report.good("database", url.in_words());
            let is_sound = schema(&store, state, settings, report).await;
            if is_sound {
                writes(&store, url, patience, report).await;
            }
            is_sound.then_some(store)
        }
    }
}

/// Whether the database accepts an audit row now. The row is rolled back.
async fn writes(store: &SharedStore, url: &DatabaseUrl, patience: Duration, report: &mut Report) {
    const SUBJECT: &str = "database writes";
    // SQLite writes to the disk when it commits, so the disk is tested separately.
    if let DatabaseUrl::Sqlite(file) = url
        && let Err(error) = place::try_writing(file.parent().unwrap_or(Path::new("")))
    {
        let found = format!("the folder of {} cannot be written: {error}", file.display());
        return report.fail(SUBJECT, found, "free its disk, or correct who may write there");
    }
    match within(patience, store.rehearse_append(&probe())).await {
        Ok(()) => report.good(SUBJECT, "an audit row was taken, and rolled back"),
        Err(error) => report.fail(
            SUBJECT,
            format!("no audit row is taken, so denials go to the spool and changes are refused: {error}"),
            "end what holds a lock, or free the database's disk",
        ),
    }
}

/// Runs an operation within the time that a serving gate has for it.
async fn within<T>(
    patience: Duration,
    operation: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(patience, operation).await.unwrap_or(Err(StoreError::Timeout(patience)))
}

/// An audit row as large as a long one, sealed with a key that nothing knows.
fn probe() -> Vec<Entry> {
    let event = AuditEvent::MappingPinned { sha256: None, by: "doctor".repeat(512) };
    let key = ("doctor".to_owned(), Zeroizing::new(vec![0; 32]));
    let chain = format!("doctor/{}", uuid::Uuid::now_v7());
    KeyRing::from_keys(&[key])
        .map(|keys| vec![Draft::from(event.into_record(Utc::now())).seal(&mut Chain::new(chain, keys))])
        .unwrap_or_default()
}

/// Console's own audit table: whether it accepts what the settings send it, and the rows that it did not accept.
pub(super) async fn mirror(settings: &Settings, store: Option<&SharedStore>, report: &mut Report) {
    const SUBJECT: &str = "mirror";
    let Some(mirror) = &settings.audit.mirror else { return };
    let Some(store) = store else { return report.skip(SUBJECT, "the database comes first") };
    if let Err(error) = store.check_mirror().await {
        report.fail(SUBJECT, error.to_string(), "correct [audit.mirror], or the table");
    }
    match store.mirror_outbox().await {
        Err(error) => report.fail(SUBJECT, error.to_string(), "correct what the message names"),
        Ok(left) if left.refused > 0 => {
            let why = left.refusal.map(|why| format!(": {why}")).unwrap_or_default();
            report.fail(
                SUBJECT,
                format!("`{}` refused {} row(s), which are set aside{why}", mirror.table, left.refused),
                "correct [audit.mirror] or the table; a gate that starts tries them again. The sealed rows are in \
                 gate_audit_events",
            );
        }
        Ok(left) if left.waiting > 0 => report.warn(
            SUBJECT,
            format!("{} row(s) wait for `{}`", left.waiting, mirror.table),
            "a running gate delivers them every second; its log says why they wait",
        ),
        Ok(_) => report.good(SUBJECT, format!("`{}` takes rows, and none waits", mirror.table)),
    }
}

async fn open(settings: &Settings) -> anyhow::Result<SharedStore> {
    // `check` reads everybody with a command's timeout. Whether the database answers and takes rows is tested with a
    // gate's.
    let store = store::open_at(&store_options(settings), placement(settings)).await?;
    store.set_production_words(&settings.environments.production);
    store.set_break_glass_rules(settings.break_glass.rules());
    set_mirror(&store, settings).await?;
    Ok(store)
}

/// Whether the database itself is missing, and not something in it.
fn is_absent(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_) | StoreError::Timeout(_) | StoreError::Unusable(_))
}

/// Whether a gate of this release starts on a newer schema.
fn may_serve(state: &SchemaState, newer: NewerSchema) -> bool {
    match newer {
        NewerSchema::Compatible => state.may_serve(),
        NewerSchema::Refuse => false,
        NewerSchema::Serve => true,
    }
}

async fn schema(
    store: &SharedStore,
    state: Result<SchemaState, StoreError>,
    settings: &Settings,
    report: &mut Report,
) -> bool {
    let migrates_itself = matches!(settings.database.url.0, DatabaseUrl::Sqlite(_));
    let mut is_sound = true;
    // First: to a role that may not read the ledger, every migration appears to be missing.
    match store.missing_rights().await {
        Ok((missing, _)) if missing.is_empty() => {
            report.good("rights", "the role has every right that the gate needs");
        }
        Ok((missing, role)) => {
            is_sound = false;
            let remedy = format!("as the owner: `console-gate migrate --grant-to {role}`");
            report.fail("rights", rights::message(&missing, &role), remedy);
        }
        Err(error) => {
            is_sound = false;
            report.fail("rights", error.to_string(), "correct what the message names");
        }
    }
    match state {
        Err(error) => {
            report.fail("schema", error.to_string(), "run `console-gate migrate`");
            return false;
        }
        Ok(state) => match (state.newer(), state.pending.as_slice()) {
            (Some(newer), _) if may_serve(&state, settings.database.newer_schema) => {
                let found = format!("it is newer than this program, which may serve on it: {newer}");
                report.warn("schema", found, "run the newer release on every machine soon");
            }
            (Some(newer), _) => {
                let found = format!("it is newer than this program: {newer}");
                report.fail("schema", found, "run the newer release");
                is_sound = false;
            }
            (None, []) => report.good("schema", "every migration is there"),
            (None, pending) if migrates_itself => {
                let found =
                    format!("{} migration(s) are missing; the gate applies them at its start", pending.len());
                report.good("schema", found);
                is_sound = false;
            }
            (None, pending) => {
                let found = match state.is_new {
                    true => "the gate's tables are not there".to_owned(),
                    false => {
                        format!("{} migration(s) are missing, the first is {}", pending.len(), pending[0])
                    }
                };
                report.fail("schema", found, "run `console-gate migrate` (`--plan` shows every statement)");
                is_sound = false;
            }
        },
    }
    if !is_sound {
        report.skip("console's tables", "the schema comes first");
        return false;
    }
    match store.console_mismatches().await {
        Ok(found) if found.is_empty() => report.good("console's tables", "can be read as [console] says"),
        Ok(found) => {
            for one in &found {
                let remedy = "correct [console]; `console-gate adopt --inspect` proposes it";
                match one.is_warning {
                    true => report.warn("console's tables", one.to_string(), remedy),
                    false => report.fail("console's tables", one.to_string(), remedy),
                }
            }
            is_sound = found.iter().all(|one| one.is_warning);
        }
        Err(error) => {
            report.fail("console's tables", error.to_string(), "correct what the message names");
            is_sound = false;
        }
    }
    is_sound
}
