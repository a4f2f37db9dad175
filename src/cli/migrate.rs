//! `console-gate migrate`

use super::{Common, Finding, operator, with_notary};
use crate::audit::AuditEvent;

pub(super) fn run(common: &Common) -> anyhow::Result<Finding> {
    let settings = common.settings()?;
    with_notary(&settings, async |store, notary| {
        let report = store.migrate().await?;
        if !report.applied.is_empty() {
            let event = AuditEvent::MigrationApplied { migrations: report.applied.clone(), by: operator() };
            store.record(&notary.note(event.into_record(chrono::Utc::now()))).await?;
        }
        for table in &report.adopted_tables {
            println!("adopted  table {table}: it was here already and was left as it is");
        }
        for table in &report.created_tables {
            println!("created  table {table}");
        }
        for migration in &report.applied {
            println!("applied  {migration}");
        }
        println!(
            "{} migration(s) applied, {} had been applied before",
            report.applied.len(),
            report.already_applied
        );
        Ok(Finding::Clean)
    })
}
