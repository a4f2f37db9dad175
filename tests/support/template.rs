//! A migrated database, made once and copied for each test: a migration takes a second, a copy a twentieth of that.
//!
//! A template is named by the program that migrates, and by the time at which that program was built, so a changed
//! migration never meets an old template.

// Each test binary includes this file and uses its own part of it.
#![allow(dead_code, clippy::panic)]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

/// What the tests' gates seal their audit with.
pub(crate) const AUDIT_KEYS: &str = "audit:OTg3NjU0MzIxMDk4NzY1NDMyMTA5ODc2NTQzMjEwOTg=";

/// How an empty database becomes a migrated one.
pub(crate) struct Template {
    /// One name per kind of content.
    pub(crate) name: &'static str,
    /// The program whose migrations these are.
    pub(crate) program: PathBuf,
    /// Migrates the empty database at this URL. On Postgres no connection to it may be left open.
    pub(crate) migrate: fn(&str),
}

/// What `console-gate migrate --seed rbac-v2` makes of an empty database.
pub(crate) fn seeded() -> Template {
    Template {
        name: "seeded",
        program: env!("CARGO_BIN_EXE_console-gate").into(),
        migrate: |url| migrate(url, AUDIT_KEYS),
    }
}

/// Brings a database's schema up to date by `console-gate migrate`.
pub(crate) fn migrate(database_url: &str, audit_keys: &str) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_console-gate"));
    program.env("CONSOLE_GATE_DATABASE_URL", database_url).env("CONSOLE_GATE_AUDIT_KEYS", audit_keys);
    let output = program.args(["migrate", "--seed", "rbac-v2"]).output().expect("the binary runs");
    let Output { status, stderr, .. } = output;
    assert!(status.success(), "console-gate migrate: {status}\n{}", String::from_utf8_lossy(&stderr));
}

impl Template {
    /// Name and build of the template, as a part of a file's or a database's name.
    pub(crate) fn key(&self) -> String {
        let built = std::fs::metadata(&self.program).and_then(|program| program.modified());
        let built = built.expect("the program's file").duration_since(SystemTime::UNIX_EPOCH);
        format!("{}_{}", self.name, built.expect("a time after 1970").as_micros())
    }

    /// Makes a migrated SQLite file at `file`, which must not exist yet.
    pub(crate) fn sqlite(&self, file: &Path) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("templates");
        let template = folder.join(format!("{}.sqlite", self.key()));
        if !template.exists() {
            std::fs::create_dir_all(&folder).expect("a folder below target");
            let making = tempfile::tempdir_in(&folder).expect("a folder below target");
            let made = making.path().join("gate.sqlite");
            (self.migrate)(&format!("sqlite:{}", made.display()));
            write_back(&made);
            // The gate makes it for its owner alone, and some tests run as somebody else.
            std::fs::set_permissions(&made, Permissions::from_mode(0o644)).expect("one's own file");
            // Of two processes that make it at once, each puts a whole one in place.
            std::fs::rename(&made, &template).expect("a file can be renamed");
            self.remove_older(&folder, &template);
        }
        std::fs::copy(&template, file).expect("a template can be copied");
    }

    fn remove_older(&self, folder: &Path, current: &Path) {
        let prefix = format!("{}_", self.name);
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let of_this_name = entry.file_name().to_string_lossy().starts_with(&prefix);
            if of_this_name && entry.path() != current {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// Writes what is in the write-ahead log of a SQLite file back into the file.
fn write_back(file: &Path) {
    let options = SqliteConnectOptions::new().filename(file);
    let written = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime for one connection").block_on(async {
            let mut connection = options.connect().await?;
            let checkpoint =
                sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut connection).await;
            connection.close().await?;
            checkpoint
        })
    });
    let (is_busy, ..): (i64, i64, i64) =
        written.join().expect("the thread of one connection does not panic").expect("a checkpoint");
    assert_eq!(is_busy, 0, "the template is in use: {}", file.display());
}
