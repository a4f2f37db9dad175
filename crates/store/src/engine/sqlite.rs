//! SQLite: how to open a file.
//!
//! A transaction that will write begins as a writer: one that has read first is refused at once when another has written.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::{OF_AUDIT, OF_CONTROL, StoreError, StoreOptions};

/// Opens the file, creating it where there is none: the pool for most statements, one of as many connections that only
/// read, one for the control row, and one for the audit.
///
/// # Errors
///
/// The file cannot be opened or is no database.
pub(crate) async fn open(path: &Path, options: &StoreOptions) -> Result<[SqlitePool; 4], StoreError> {
    make_private(path);
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        // A denial is durable before its 403 leaves, so a commit must reach the disk, not only the log's buffer.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(options.timeout)
        .disable_statement_logging();
    let reserved = |most| pool(most, options.timeout).connect_lazy_with(connect.clone());
    let opened = pool(options.max_connections, options.timeout).connect_with(connect.clone()).await;
    let opened = opened.map_err(|error| {
        let cause = match &error {
            sqlx::Error::Database(refusal) => refusal.message().to_owned(),
            other => other.to_string(),
        };
        StoreError::Unusable(format!("`{}` cannot be opened: {cause}", path.display()))
    })?;
    let reading = connect.clone().pragma("query_only", "ON");
    let reading = pool(options.max_connections, options.timeout).connect_lazy_with(reading);
    Ok([opened, reading, reserved(OF_CONTROL), reserved(OF_AUDIT)])
}

/// Makes the file where there is none, for this user alone, whatever the umask: it holds the audit. SQLite gives the files
/// beside it the same mode. Where this fails, opening it reports why.
fn make_private(path: &Path) {
    let _ = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
}

fn pool(most: u32, limit: Duration) -> SqlitePoolOptions {
    SqlitePoolOptions::new().max_connections(most).acquire_timeout(limit).test_before_acquire(false)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_new_file_is_for_its_user_alone_and_an_old_one_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gate.sqlite");
        let mode = || std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        make_private(&file);
        assert_eq!(mode(), 0o600);
        std::fs::write(&file, "x").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        make_private(&file);
        assert_eq!((mode(), std::fs::read_to_string(&file).unwrap().as_str()), (0o640, "x"));
    }
}
