//! What `console-gate migrate` has put on Console's tables.

use store::console::watch::Watch;

use super::announce;

/// Says which tables are watched and why, or why none is.
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
