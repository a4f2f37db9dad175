//! The effective table, printed.

use std::fmt::Write as _;

use policy::mapping::effective::EffectiveRow;
use workbench::report::style::columns;
use workbench::report::text::{harmless, wrapped};

/// One line for each row, and a second one for its gates.
pub(super) fn text(rows: &[EffectiveRow<'_>]) -> String {
    let widest = |of: fn(&EffectiveRow<'_>) -> usize| rows.iter().map(of).max().unwrap_or_default();
    let cluster = widest(|row| cluster_name(row).chars().count());
    let decides = widest(|row| row.decides.len());
    let methods = widest(|row| row.methods.len());
    let mut text = String::from("the effective table while FLAG_RBAC_V2 is on:\n");
    for row in rows {
        let _ = writeln!(
            text,
            "{:cluster$}  {:decides$}  {:methods$}  {}",
            cluster_name(row),
            row.decides,
            row.methods,
            row.path
        );
        let gates = gates(row);
        if !gates.is_empty() {
            let _ = writeln!(text, "{}", wrapped(&gates, columns(), 4, 8));
        }
    }
    text
}

fn cluster_name(row: &EffectiveRow<'_>) -> String {
    row.cluster.map_or_else(|| "-".to_owned(), harmless)
}

fn gates(row: &EffectiveRow<'_>) -> String {
    let mut gates = Vec::new();
    gates.extend(row.legacy.as_ref().map(|roles| format!("legacy {}", roles.join(" "))));
    let ticket = row.ticket.as_ref().map_or_else(String::new, |ticket| format!(" {ticket}"));
    gates.extend(row.v2.as_ref().map(|requirement| format!("v2 {requirement}{ticket}")));
    gates.extend(row.when.iter().map(|rule| format!("and {rule}")));
    if !row.when.is_empty() {
        gates.push("v2 denies an unreadable or missing body".to_owned());
    }
    gates.extend(row.cohort.clone());
    gates.extend(row.undecided.map(|question| format!("undecided {question}")));
    gates.extend(row.decided.map(|decided| format!("decided: {decided}")));
    gates.extend(row.unreviewed.map(|reason| format!("left to Console, unreviewed: {reason}")));
    gates.extend(row.upstream.map(|name| format!("upstream {name}")));
    gates.extend((!row.notifies.is_empty()).then(|| format!("notifying for {}", row.notifies.join(" "))));
    gates.extend(row.flags.iter().map(|flag| (*flag).to_owned()));
    gates.join("; ")
}
