//! Bringing a schema up to date, and saying what was done.
//!
//! A database gets the files that it lacks, from the baseline on. Everything is checked before the first
//! statement ([`preflight`]). Nothing of Console's is changed but its triggers ([`triggers`]), and rows only where
//! the operator asks for a [`Seed`]. On Postgres, where others use the same tables, [`patience`] waits for locks in turns.

mod batch;
mod patience;
mod postgres;
mod preflight;
pub mod progress;
mod seed;
mod sqlite;
mod triggers;

use std::collections::BTreeSet;
use std::fmt;

pub use seed::Seed;
use sqlx::migrate::{Migration, Migrator};

use self::batch::Roles;
use self::progress::Progress;
use crate::console::watch::Watch;
use crate::engine::connection::Pool;
use crate::schema::placement::{DOCUMENTS_TABLES, LEDGER, SHARED_TABLES};
pub use crate::schema::terms::MigrationTerms;
use crate::{Store, StoreError};

/// What a migration run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigrationReport {
    /// Files that were applied now, `0400 baseline`.
    pub applied: Vec<String>,
    /// How many had been applied before.
    pub already_applied: usize,
    /// Tables that are new.
    pub created_tables: Vec<String>,
    /// Tables that were there before the gate's first migration and were taken as they are: `public.admins`.
    pub adopted_tables: Vec<String>,
    /// Triggers that were put on tables that may be Console's: `gate_epoch_on_write on public.admins`.
    pub triggers: Vec<String>,
    /// What the database was seeded with.
    pub seeded: Option<Seed>,
    /// The state of the triggers on Console's tables, where it was checked.
    pub watch: Watch,
}

/// How a schema differs from the one that this release knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaState {
    /// Migrations that are not applied, `0400 baseline`.
    pub pending: Vec<String>,
    /// Migrations that are applied and that this release does not have.
    pub unknown: Vec<UnknownMigration>,
    /// Whether no gate has ever migrated it, as far as the role can see.
    pub is_new: bool,
    /// The last migration that this release has.
    pub newest: i64,
}

impl SchemaState {
    /// The message about a schema that a newer release has migrated; `None` if none has.
    pub fn newer(&self) -> Option<String> {
        (!self.unknown.is_empty()).then(|| {
            let unknown: Vec<String> = self.unknown.iter().map(ToString::to_string).collect();
            format!(
                "a newer release migrated it: this one ({}, migrations up to {:04}) does not know {}. Run the newer \
                 release",
                env!("CARGO_PKG_VERSION"),
                self.newest,
                unknown.join(", ")
            )
        })
    }

    /// Whether every migration that this release does not know allows this release to serve on it.
    pub fn may_serve(&self) -> bool {
        self.unknown.iter().all(|migration| migration.serves.is_some_and(|least| least <= self.newest))
    }
}

/// A migration of a newer release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownMigration {
    /// `0340 gate notes`.
    pub label: String,
    /// When it was applied, in UTC, as far as the ledger records it.
    pub applied: Option<String>,
    /// The migration that a release must know to serve on a schema with this one; `None` if it does not specify one.
    pub serves: Option<i64>,
}

impl UnknownMigration {
    /// From a row of the ledger. A file's name ends in the releases that it serves: `0340_gate_notes_serves_0330.sql`.
    fn of((version, description, _, applied): &Applied) -> UnknownMigration {
        let (name, serves) = match description.rsplit_once(" serves ") {
            Some((name, least)) => (name, least.parse().ok()),
            None => (description.as_str(), None),
        };
        UnknownMigration { label: label(*version, name), applied: applied.clone(), serves }
    }
}

impl fmt::Display for UnknownMigration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UnknownMigration { label, applied, serves } = self;
        let applied = applied.as_ref().map_or_else(String::new, |at| format!("applied {at} UTC, "));
        match serves {
            Some(least) => write!(f, "{label} ({applied}for releases that know {least:04})"),
            None => write!(f, "{label} ({applied}for no earlier release)"),
        }
    }
}

/// What a run is to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Order {
    pub terms: MigrationTerms,
    /// Rows to write besides the schema; without it, none.
    pub seed: Option<Seed>,
}

/// What a run would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Every text that would be sent, each under a name for people, in order.
    pub statements: Vec<(String, String)>,
    /// Tables that would be taken as they are.
    pub adopted_tables: Vec<String>,
    /// Who would hold other roles than now.
    pub changes: Vec<RolesChange>,
    /// Why changes of Console's tables would go unheard.
    pub gaps: Vec<String>,
}

/// What a seed would give to a member of Console's groups, or take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolesChange {
    /// The admin's id.
    pub member: String,
    pub gained: Vec<String>,
    pub lost: Vec<String>,
}

impl RolesChange {
    /// The members whose roles differ.
    fn between(before: &Roles, after: &Roles) -> Vec<RolesChange> {
        let members: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let nothing = BTreeSet::new();
        let changes = members.into_iter().map(|member| {
            let had = before.get(member).unwrap_or(&nothing);
            let has = after.get(member).unwrap_or(&nothing);
            RolesChange {
                member: member.clone(),
                gained: has.difference(had).cloned().collect(),
                lost: had.difference(has).cloned().collect(),
            }
        });
        changes.filter(|change| !change.gained.is_empty() || !change.lost.is_empty()).collect()
    }
}

/// Receives the progress of a run.
pub type Watcher<'a> = &'a (dyn Fn(Progress) + Send + Sync);

impl Store {
    /// Applies the missing migrations, and puts the triggers on Console's tables. Safe to repeat, and to run from several
    /// machines at once.
    ///
    /// # Errors
    ///
    /// [`StoreError::Schema`] when something is in the way: an applied file was edited, the database is from a newer
    /// gate, Console's tables are ambiguous or lack a column; [`StoreError::Forbidden`] when the role lacks a right;
    /// otherwise what the database said. A run that fails leaves Console's tables, triggers and rows as they were.
    pub async fn migrate(&self) -> Result<MigrationReport, StoreError> {
        self.migrate_watched(Order::default(), &|_| {}).await
    }

    /// As [`Store::migrate`], with the tables, groups and roles of the documents: for the demo and for tests.
    ///
    /// # Errors
    ///
    /// As [`Store::migrate`].
    pub async fn migrate_seeded(&self) -> Result<MigrationReport, StoreError> {
        self.migrate_watched(Order { seed: Some(Seed::RbacV2), ..Order::default() }, &|_| {}).await
    }

    /// As [`Store::migrate`], reporting to `watcher` each step and each wait.
    ///
    /// # Errors
    ///
    /// As [`Store::migrate`].
    pub async fn migrate_watched(
        &self,
        order: Order,
        watcher: Watcher<'_>,
    ) -> Result<MigrationReport, StoreError> {
        // On the heap, what takes long: a caller's own future need not hold it.
        // Where the control row cannot be read, no file is applied yet, or the role may only look.
        let is_watched = self.control().await.map_or(true, |row| row.console_watched);
        let outcome = match &self.pool {
            Pool::Postgres(pool) => {
                Box::pin(postgres::migrate(pool, &self.console, &order, is_watched, watcher)).await
            }
            Pool::Sqlite(pool) => {
                Box::pin(sqlite::migrate(pool, &self.placement, &self.console, &order, watcher)).await
            }
        };
        self.console.forget();
        outcome
    }

    /// What a run would do, down to who would gain which roles: it is done, looked at and undone, and Console's tables are
    /// not locked for it.
    ///
    /// # Errors
    ///
    /// As [`Store::migrate`].
    pub async fn plan(&self, order: Order) -> Result<Plan, StoreError> {
        let is_watched = self.control().await.map_or(true, |row| row.console_watched);
        match &self.pool {
            Pool::Postgres(pool) => Box::pin(postgres::plan(pool, &self.console, &order, is_watched)).await,
            Pool::Sqlite(pool) => Box::pin(sqlite::plan(pool, &self.placement, &self.console, &order)).await,
        }
    }

    /// Takes the gate's triggers off Console's tables, and returns their names and tables. Console's writes do not reach
    /// the gate from then on.
    ///
    /// # Errors
    ///
    /// The role does not own the tables, or others held their locks for too long; then every trigger is still there.
    pub async fn release(
        &self,
        terms: MigrationTerms,
        watcher: Watcher<'_>,
    ) -> Result<Vec<String>, StoreError> {
        match &self.pool {
            Pool::Postgres(pool) => Box::pin(postgres::release(pool, terms, watcher)).await,
            Pool::Sqlite(pool) => Box::pin(sqlite::release(pool)).await,
        }
    }

    /// How the schema differs from the one that this release knows.
    ///
    /// # Errors
    ///
    /// The database did not answer, or the role may not read its ledger of migrations.
    pub async fn schema_state(&self) -> Result<SchemaState, StoreError> {
        self.bounded(async {
            Ok(match &self.pool {
                Pool::Postgres(pool) => {
                    let ledger = postgres::ledger(pool).await?;
                    postgres::RELEASES.state(ledger.as_deref())
                }
                Pool::Sqlite(pool) => {
                    let ledger = sqlite::read_ledger(&mut *pool.acquire().await?).await?;
                    sqlite::RELEASES.state(ledger.as_deref())
                }
            })
        })
        .await
    }

    /// The migrations that are not applied, `0400 baseline`; empty when the schema is current.
    ///
    /// # Errors
    ///
    /// As [`Store::schema_state`].
    pub async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.schema_state().await?.pending)
    }
}

/// A row of the ledger: its version, its description, the checksum of its file, and when it was applied.
type Applied = (i64, String, Vec<u8>, Option<String>);
/// How the schema of a SQLite file relates to this release.
pub(crate) async fn state_of_file(
    connection: &mut sqlx::SqliteConnection,
) -> Result<SchemaState, StoreError> {
    let ledger = sqlite::read_ledger(connection).await?;
    Ok(sqlite::RELEASES.state(ledger.as_deref()))
}

/// The query of the ledger, with the column or expression that gives in UTC when a file was applied.
fn ledger_rows(ledger: &str, applied: &str) -> String {
    format!(
        "SELECT version, description, checksum, substr(CAST({applied} AS TEXT), 1, 16) FROM {ledger} ORDER BY version"
    )
}

/// The last version that a seed comes after.
const BEFORE_THE_SEED: i64 = 400;

fn label(version: i64, description: &str) -> String {
    format!("{version:04} {description}")
}

/// The files of this release.
struct Releases(&'static Migrator);

impl Releases {
    /// The version of the baseline; earlier ones are of builds before the first release.
    fn first(&self) -> i64 {
        self.0.iter().map(|file| file.version).min().unwrap_or_default()
    }

    /// What the ledger, if there is one, means for this release.
    fn state(&self, ledger: Option<&[Applied]>) -> SchemaState {
        let rows = ledger.unwrap_or_default();
        let known: BTreeSet<i64> = self.0.iter().map(|file| file.version).collect();
        let applied: BTreeSet<i64> = rows.iter().map(|(version, ..)| *version).collect();
        let pending = self.0.iter().filter(|file| !applied.contains(&file.version));
        let unknown = rows.iter().filter(|(version, ..)| !known.contains(version));
        let newest = self.0.iter().map(|file| file.version).max().unwrap_or_default();
        SchemaState {
            pending: pending.map(|file| label(file.version, &file.description)).collect(),
            unknown: unknown.map(UnknownMigration::of).collect(),
            is_new: ledger.is_none(),
            newest,
        }
    }

    /// The files to apply, unless the ledger shows that a newer release has migrated.
    fn to_apply(&self, ledger: Option<&[Applied]>) -> Result<Vec<&'static Migration>, StoreError> {
        if let Some((version, description, ..)) =
            ledger.unwrap_or_default().iter().find(|row| row.0 < self.first())
        {
            return Err(StoreError::Schema(format!(
                "a build before the first release migrated it ({}), from which no migration leads here. Migrate a new \
                 database or schema",
                label(*version, description)
            )));
        }
        if let Some(newer) = self.state(ledger).newer() {
            return Err(StoreError::Schema(newer));
        }
        let mut missing = Vec::new();
        for file in self.0.iter() {
            let applied = ledger.unwrap_or_default().iter().find(|(version, ..)| *version == file.version);
            match applied {
                None => missing.push(file),
                Some((_, _, checksum, _)) if *checksum == *file.checksum => {}
                Some((version, ..)) => {
                    return Err(StoreError::Schema(format!(
                        "migration {version:04} was applied from a file with other contents"
                    )));
                }
            }
        }
        Ok(missing)
    }
}

/// Whether the gate makes a table of that name, or adopts one.
fn is_ours(table: &str) -> bool {
    table == LEDGER
        || table == "rbac_ticket_grants_archive"
        || DOCUMENTS_TABLES.contains(&table)
        || SHARED_TABLES.contains(&table)
        || table.starts_with("gate_")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ledger of a database that this release has migrated, and further rows.
    fn state(further: &[(i64, &str)]) -> SchemaState {
        let own = sqlite::RELEASES.0.iter();
        let own = own.map(|file| (file.version, file.description.to_string(), file.checksum.to_vec(), None));
        let applied = Some("2026-11-22 13:05".to_owned());
        let further =
            further.iter().map(|(version, name)| (*version, (*name).to_owned(), vec![], applied.clone()));
        let ledger: Vec<Applied> = own.chain(further).collect();
        sqlite::RELEASES.state(Some(&ledger))
    }

    #[test]
    fn a_release_serves_on_a_newer_schema_if_each_new_migration_says_so() {
        let newest = state(&[]).newest;
        let serves = |least: i64| format!("gate notes serves {least:04}");
        let may = |names: &[&str]| {
            let rows: Vec<_> = (9_000..).zip(names.iter().copied()).collect();
            state(&rows).may_serve()
        };
        assert!(may(&[]) && state(&[]).newer().is_none());
        assert!(may(&[&serves(newest)]) && may(&[&serves(newest - 1), &serves(newest)]));
        assert!(!may(&[&serves(newest + 1)]), "it needs what this release does not have");
        assert!(!may(&[&serves(newest), "gate notes"]), "one of two does not specify it");
        assert!(!may(&["gate notes serves none"]) && !may(&["gate notes serves "]) && !may(&["serves 0001"]));
    }

    #[test]
    fn a_newer_schema_is_described() {
        let newer = state(&[(9_000, "gate notes serves 0300"), (9_001, "gate roles serves none")]).newer();
        let newer = newer.expect("there are two");
        for words in [
            "9000 gate notes (applied 2026-11-22 13:05 UTC, for releases that know 0300), ",
            "9001 gate roles (applied 2026-11-22 13:05 UTC, for no earlier release). Run the newer release",
        ] {
            assert!(newer.contains(words), "{newer}");
        }
    }

    /// The baseline serves no earlier release: there is none.
    const BASELINE: i64 = 401;

    fn says_whom_it_serves(description: &str, version: i64) -> bool {
        match description.rsplit_once(" serves ") {
            Some((_, "none")) => true,
            Some((_, least)) => least.len() == 4 && least.parse().is_ok_and(|least: i64| least < version),
            None => false,
        }
    }

    /// `0340_gate_notes_serves_0330.sql`, or `_serves_none` where an earlier release would decide otherwise on the new schema.
    #[test]
    fn each_migration_says_which_releases_may_serve_on_it() {
        assert!(
            says_whom_it_serves("gate notes serves 0330", 340)
                && says_whom_it_serves("gate notes serves none", 340)
        );
        for wrong in ["gate notes", "gate notes serves 0340", "gate notes serves 330", "gate notes serves"] {
            assert!(!says_whom_it_serves(wrong, 340), "{wrong}");
        }
        for releases in [&sqlite::RELEASES, &postgres::RELEASES] {
            for file in releases.0.iter().filter(|file| file.version > BASELINE) {
                let (version, description) = (file.version, &file.description);
                assert!(
                    says_whom_it_serves(description, version),
                    "{version:04} {description}: let its name end in `_serves_NNNN`, the last migration of the oldest \
                     release that may serve on it, or in `_serves_none` (docs/upgrades.md)"
                );
            }
        }
    }
}
