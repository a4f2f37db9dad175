//! The triggers that `console-gate migrate` put on Console's tables.

use store::console::watch::Watch;

use super::announce;

/// Prints which tables are watched, or why none is.
pub(super) fn show(watch: &Watch) {
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
}
