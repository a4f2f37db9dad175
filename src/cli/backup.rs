//! `console-gate backup` and `console-gate restore`: copies the SQLite database while gates serve, and restores it
//! while no gate does.
//!
//! A plain copy of a database in use may be damaged, and an old copy lacks rows that a checkpoint names.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use ledger::checkpoint::Checkpoint;
use store::DatabaseUrl;
use store::schema::backup::{self, Contents};

use super::help::Examples;
use super::{Common, Ended, announce};
use crate::settings::Settings;

pub(super) const EXAMPLES: Examples = &[
    ("backup", &["console-gate --config gate.toml backup gate-2026-11-22.sqlite"]),
    ("restore", &["console-gate --config gate.toml restore gate-2026-11-22.sqlite"]),
];

/// Copy the SQLite database into a file, while gates serve
///
/// The copy is of one moment. It is looked through page by page before it gets its name, and where the chains of its audit
/// end is printed. On Postgres, the command of pg_dump that does the same is named instead.
#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The file, which must not be there yet
    file: PathBuf,
}

/// Put a copy back in place of the SQLite database
///
/// Refuses while anybody has the database open, a copy that is damaged or that a newer release has migrated, and one whose
/// audit ends before a checkpoint of `checkpoint_file`: `audit verify` would report what lies between as cut off. The
/// database that was there is kept beside it.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The copy, as `backup` wrote it
    file: PathBuf,
    /// Put it back although checkpoints name later rows of the audit
    #[arg(long)]
    behind_checkpoints: bool,
}

pub(super) fn backup(command: &Backup, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    let database = database(&settings, &command.file)?;
    let target = &command.file;
    anyhow::ensure!(!target.exists(), "{} is there already: name another file", target.display());
    let unfinished = beside(target, "unfinished");
    // Left by an interrupted run.
    let _ = std::fs::remove_file(&unfinished);
    let contents = run(async {
        // No other user may read it, from its first byte on.
        File::create_new(&unfinished)
            .and_then(|file| file.set_permissions(std::fs::Permissions::from_mode(0o600)))
            .with_context(|| unfinished.display().to_string())?;
        backup::copy(database, &unfinished).await?;
        Ok(backup::inspect(&unfinished).await?)
    });
    let contents = contents.inspect_err(|_| drop(std::fs::remove_file(&unfinished)))?;
    settle(&unfinished, target)?;
    let bytes = std::fs::metadata(target).map(|file| file.len()).unwrap_or_default();
    announce(format_args!("{}: {bytes} bytes, every page is sound", target.display()));
    describe(&contents);
    Ok(Ended::Clean)
}

pub(super) fn restore(command: &Restore, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    let database = database(&settings, &command.file)?;
    run(async {
        let contents = backup::inspect(&command.file).await?;
        if let Some(newer) = contents.schema.newer() {
            anyhow::bail!("{}: {newer}", command.file.display());
        }
        let behind = behind_checkpoints(&settings, &contents)?;
        for line in &behind {
            announce(line);
        }
        anyhow::ensure!(
            behind.is_empty() || command.behind_checkpoints,
            "the copy ends before these checkpoints, so `audit verify` would report what lies between as cut off: restore a \
             newer copy, or add `--behind-checkpoints`"
        );
        let next = beside(database, "restoring");
        std::fs::copy(&command.file, &next).with_context(|| next.display().to_string())?;
        let put = put(database, &next).await;
        if put.is_err() {
            let _ = std::fs::remove_file(&next);
        }
        let kept = put?;
        announce(format_args!("{} is restored from {}", database.display(), command.file.display()));
        if let Some(kept) = kept {
            announce(format_args!("what was there is kept as {}", kept.display()));
        }
        describe(&contents);
        if !contents.schema.pending.is_empty() {
            announce(format_args!("run `console-gate migrate`: {}", contents.schema.pending.join(", ")));
        }
        Ok(Ended::Clean)
    })
}

/// The SQLite file that the settings name.
fn database<'s>(settings: &'s Settings, file: &Path) -> anyhow::Result<&'s Path> {
    let url = &settings.database.url.0;
    match (url, url.dump_commands(settings.database.schema.0.as_str(), file)) {
        (DatabaseUrl::Sqlite(database), _) => Ok(database),
        (DatabaseUrl::Postgres(_), Some([dump, restore])) => anyhow::bail!(
            "{}: Postgres has tools of its own, which copy while gates serve. Copy the gate's schema by\n  {dump}\nand, with \
             every gate stopped, put it back by\n  {restore}\nthen run `console-gate migrate`, which makes the triggers on \
             Console's tables anew",
            url.in_words()
        ),
        (DatabaseUrl::Postgres(_), None) => anyhow::bail!("the database URL is not usable"),
    }
}

/// Puts the file in the place of the database, and returns the name under which the old database is kept.
async fn put(database: &Path, next: &Path) -> anyhow::Result<Option<PathBuf>> {
    if !database.exists() {
        settle(next, database)?;
        return Ok(None);
    }
    // No process opens the database until the other file is in place.
    let alone = backup::alone(database).await?;
    let metadata = std::fs::metadata(database)?;
    std::fs::set_permissions(next, metadata.permissions())?;
    std::os::unix::fs::chown(
        next,
        Some(std::os::unix::fs::MetadataExt::uid(&metadata)),
        Some(std::os::unix::fs::MetadataExt::gid(&metadata)),
    )
    .with_context(|| format!("{} cannot be given to the owner of the database", next.display()))?;
    let kept = beside(database, &format!("before-{}", chrono::Utc::now().format("%Y%m%dT%H%M%SZ")));
    anyhow::ensure!(!kept.exists(), "{} is there already", kept.display());
    std::fs::rename(database, &kept).with_context(|| kept.display().to_string())?;
    if let Err(error) = settle(next, database) {
        // Restores the earlier state.
        let _ = std::fs::rename(&kept, database);
        return Err(error);
    }
    alone.release().await;
    Ok(Some(kept))
}

/// Gives a complete file its name, durably.
fn settle(from: &Path, to: &Path) -> anyhow::Result<()> {
    let place = || to.display().to_string();
    File::open(from).and_then(|file| file.sync_all()).with_context(place)?;
    std::fs::rename(from, to).with_context(place)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(place)
}

fn beside(file: &Path, what: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{what}"));
    name.into()
}

/// Compares the copy with the checkpoint file in the settings: a line for each chain with a checkpoint of a later row
/// than the copy has.
fn behind_checkpoints(settings: &Settings, contents: &Contents) -> anyhow::Result<Vec<String>> {
    let Some(file) = settings.audit.checkpoint_file.as_ref().filter(|file| file.exists()) else {
        if settings.audit.checkpoint_url.is_some() {
            announce("checkpoints are kept at `checkpoint_url` alone, and were not compared");
        }
        return Ok(Vec::new());
    };
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let mut reached: BTreeMap<String, i64> = BTreeMap::new();
    // The checkpoints are not verified: a caller that adds a forged line can only prevent the restore.
    for checkpoint in text.lines().filter_map(|line| Checkpoint::parse(line).ok()) {
        let (chain, sequence) = checkpoint.reach();
        let known = reached.entry(chain.to_owned()).or_default();
        *known = sequence.max(*known);
    }
    let has =
        |chain: &str| contents.heads.iter().find(|head| head.chain == chain).map_or(0, |head| head.sequence);
    let behind = reached.iter().filter(|(chain, sequence)| has(chain) < **sequence);
    Ok(behind
        .map(|(chain, sequence)| {
            format!("chain {chain}: the copy has {} rows, a checkpoint says {sequence}", has(chain))
        })
        .collect())
}

/// Prints where the audit chains of a copy end.
fn describe(contents: &Contents) {
    let newest = contents.newest.as_deref().unwrap_or("never");
    announce(format_args!(
        "audit: {} rows in {} chains, the newest {newest}",
        contents.rows,
        contents.heads.len()
    ));
    for head in &contents.heads {
        announce(format_args!("  chain {} ends at row {}, mac {}", head.chain, head.sequence, head.mac));
    }
}

fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
