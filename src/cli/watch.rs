//! What `console-gate migrate` puts on Console's tables.

use super::announce;
use crate::store::Store;
use crate::store::migrations::MigrationTerms;

/// Puts the triggers there, and says which and why.
pub(super) async fn install(store: &Store, terms: MigrationTerms) -> anyhow::Result<()> {
    let watch = store.install_triggers_within(terms).await?;
    let word = if watch.is_new { "watching" } else { "watched " };
    for table in &watch.tables {
        announce(format_args!("{word} {table}"));
    }
    for gap in &watch.gaps {
        announce(format_args!("unheard  {gap}"));
    }
    if !watch.gaps.is_empty() {
        announce("no trigger was put on Console's tables: what is read of Console is read for each request");
    }
    Ok(())
}
