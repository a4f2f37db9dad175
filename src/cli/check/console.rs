//! Findings about Console's tables.

use std::time::Instant;

use policy::identity::Subject;
use policy::ids::AdminId;
use store::{Store, StoreError};
use workbench::report::{Finding, rules};

/// The mismatches, and what the gate does about each; the most severe first.
pub(super) async fn findings(store: &Store) -> Result<Vec<Finding>, StoreError> {
    let mut findings: Vec<Finding> = Vec::new();
    for mismatch in store.console_mismatches().await? {
        let id = if mismatch.is_warning { "console-relation" } else { "console-select" };
        findings.push(finding(id, mismatch.to_string()));
    }
    for (relation, table) in store.unqualified_tables() {
        findings
            .push(finding("console-unqualified", format!("{relation}: `{table}` is named without a schema")));
    }
    if !store.control().await?.console_watched {
        // A role with only a serving gate's rights may not look for gaps itself.
        let gaps = store.unheard().await.unwrap_or_default();
        let why = match (store.relations().triggers, gaps.is_empty()) {
            (false, _) => "`triggers` is false".to_owned(),
            (true, false) => gaps.join("; "),
            (true, true) => {
                "the triggers on Console's tables are missing, are for other SELECTs, or a column that is \
                             read was changed: run `console-gate migrate`"
                    .to_owned()
            }
        };
        let cost = cost(store).await.unwrap_or_default();
        findings.push(finding(
            "console-unheard",
            format!("[console]: {why}, so access is read for each request{cost}"),
        ));
    }
    findings.sort_by_key(|finding| finding.level);
    Ok(findings)
}

fn finding(id: &'static str, message: String) -> Finding {
    let suggestion = rules::rule(id).map(|rule| rule.help.to_owned());
    Finding { suggestion, ..Finding::new(id, None, message) }
}

/// How long one read of access takes here: the fastest of a few, for an existing caller.
async fn cost(store: &Store) -> Option<String> {
    let id = store.census(chrono::Utc::now()).await.ok()?.first().map(|person| AdminId::new(&*person.id))?;
    let subject = Subject::Admin { id, session: None };
    let mut best = None;
    for _ in 0..5 {
        let began = Instant::now();
        store.access(&subject, chrono::Utc::now()).await.ok()?;
        let took = began.elapsed();
        best = Some(best.map_or(took, |best: std::time::Duration| best.min(took)));
    }
    Some(format!(": {:.1} ms and one connection of the database each", best?.as_secs_f64() * 1_000.0))
}
