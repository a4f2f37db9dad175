//! How long a schema change waits for locks of others.

use std::time::Duration;

/// How patient a migration run is where others hold what it needs. SQLite waits as any statement does.
#[derive(Clone, Copy, Debug)]
pub struct MigrationTerms {
    /// How long one try waits for a lock. The statements behind it wait for as long, so it is short.
    pub lock_timeout: Duration,
    /// How long all tries of one step may take.
    pub patience: Duration,
}

impl Default for MigrationTerms {
    fn default() -> Self {
        MigrationTerms { lock_timeout: Duration::from_millis(500), patience: Duration::from_secs(300) }
    }
}
