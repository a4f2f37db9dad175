//! A cluster's soak gate for a human reader, one block per cluster.

use std::fmt::Write as _;

use policy::decision::LetInBy;

use super::{ClusterState, Shadow};

/// The indentation of the lines that belong to a cluster.
const INDENT: &str = "    ";

/// The block of a cluster, with a newline at its end.
pub fn block(state: &ClusterState) -> String {
    let mut text = format!("{}  {}: {}\n", state.cluster, state.rollout, state.verdict.word());
    if let Some(shadow) = &state.shadow {
        for line in measures(state, shadow) {
            let _ = writeln!(text, "{INDENT}{line}");
        }
    }
    let of_legacy = state.refusals.iter().filter(|one| one.gate == LetInBy::Legacy.word());
    let refused: u64 = of_legacy.map(|one| one.count).sum();
    if refused > 0 {
        let _ = writeln!(text, "{INDENT}Console refused {refused} request(s) that the legacy gate allowed");
    }
    for missing in &state.missing {
        let _ = writeln!(text, "{INDENT}missing: {missing}");
    }
    text
}

fn measures(state: &ClusterState, shadow: &Shadow) -> Vec<String> {
    let line = |name: &str, is: u64, needed: u64, beside: String| {
        format!("{name:<21}{is:>8} of {needed:<8}{beside}").trim_end().to_owned()
    };
    let time = |time: chrono::DateTime<chrono::Utc>| time.format("since %Y-%m-%d %H:%MZ").to_string();
    let terms = &state.terms;
    let mut lines = vec![
        line("days in shadow", shadow.days.into(), terms.shadow_days.into(), time(shadow.since_utc)),
        line(
            "hours without drift",
            shadow.quiet_hours.into(),
            terms.quiet_hours.into(),
            time(shadow.quiet_since_utc),
        ),
        line("requests", shadow.requests, terms.requests.into(), String::new()),
    ];
    for role in &shadow.admins {
        let name = format!("admins: {}", role.role);
        lines.push(line(&name, role.seen as u64, role.needed as u64, String::new()));
    }
    if shadow.unexplained + shadow.signed_off > 0 {
        lines.push(format!(
            "disagreements: {} unexplained, {} signed off",
            shadow.unexplained, shadow.signed_off
        ));
    }
    if shadow.undecided_rows > 0 {
        lines.push(format!("{} row(s) are undecided: the legacy gate decides them", shadow.undecided_rows));
    }
    lines
}
