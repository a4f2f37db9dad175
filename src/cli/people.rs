//! Shared by the commands about people: the impact of a change, and how it is printed.

use std::io::Write as _;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::Args;
use grants::held::{self, Left};
use grants::record::{ActorKind, customers_events};
use grants::{AdminTable, By, Plan, State, Terms};
use ledger::event::Way;
use policy::mapping::Mapping;
use serde::Serialize;
use serde_json::{Value, json};
use store::rbac_changes::{RbacChange, StoredGrant, StoredWrite};
use store::{SharedStore, StoreError};

use super::settled::wait_and_report;
use super::{
    Common, Ended, TextOrJson, announce, checkpoint, diff, explain, operator, with_notary, with_store,
};
use crate::settings::Settings;
use workbench::impact::text::View;
use workbench::report::style::columns;
use workbench::report::text::wrapped;

/// How a change is made.
#[derive(Debug, Args)]
pub(super) struct How {
    /// Show which routes this opens and closes for whom, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// The output format
    #[arg(long, value_enum, default_value = "text")]
    format: TextOrJson,
}

impl How {
    pub(super) fn only_reads(&self) -> bool {
        self.dry_run
    }
}

/// Who owns the table of admins.
pub(super) async fn admin_table(store: &SharedStore) -> anyhow::Result<AdminTable> {
    Ok(if store.has_own_admins().await? { AdminTable::Gate } else { AdminTable::Console })
}

/// Makes the requested changes, or shows their impact.
pub(super) fn run(
    common: &Common,
    how: &How,
    wanted: &[RbacChange],
    unknown_admins: bool,
) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    let now = Utc::now();
    if how.dry_run {
        return with_store(&settings, async |store| {
            let terms = Terms { admins: admin_table(&store).await?, unknown_admins };
            let (state, plan) = grants::preview(&store, wanted, terms, now).await?;
            let mapping = mapping(&store, &settings, common).await;
            let report = PrintedChange {
                left: left(&store, wanted, &plan, now).await?,
                ..PrintedChange::of(&state, &plan, mapping.as_ref(), true)
            };
            print(&report, &state, &plan, mapping.as_ref(), how)?;
            Ok(Ended::Clean)
        });
    }
    with_notary(&settings, async |store, notary| {
        let terms = Terms { admins: admin_table(&store).await?, unknown_admins };
        let by = By { name: &operator(), reason: how.reason.as_deref(), way: Way::Command, now };
        let further = |plan: &Plan| customers_events(&notary, plan, by, ActorKind::System, None);
        let (state, plan) = grants::change_with(&store, &notary, wanted, terms, by, further).await?;
        checkpoint::keep(&settings, &store, &notary).await;
        let mapping = mapping(&store, &settings, common).await;
        // The committed change is reported and applied even if the remaining memberships cannot be read.
        let left = left(&store, wanted, &plan, now).await;
        let report = PrintedChange {
            left: left.as_ref().cloned().unwrap_or_default(),
            ..PrintedChange::of(&state, &plan, mapping.as_ref(), false)
        };
        print(&report, &state, &plan, mapping.as_ref(), how)?;
        settle(store, &plan, how.format).await?;
        let is_member = left.context("what is left")?.iter().any(|left| left.is_member);
        Ok(if is_member { Ended::Findings } else { Ended::Clean })
    })
}

/// What remains of the groups that an admin is removed from.
async fn left(
    store: &SharedStore,
    wanted: &[RbacChange],
    plan: &Plan,
    now: DateTime<Utc>,
) -> Result<Vec<Left>, StoreError> {
    let mut all = Vec::new();
    for change in wanted {
        if let RbacChange::LeaveWholly { admin, group } = change {
            all.extend(held::left(store, (admin, group), &plan.changes, now).await?);
        }
    }
    Ok(all)
}

/// Waits until every gate acts on the revocation.
pub(super) async fn settle(store: SharedStore, plan: &Plan, format: TextOrJson) -> anyhow::Result<()> {
    if !plan.changes.iter().any(RbacChange::takes_away) {
        return Ok(());
    }
    match format {
        TextOrJson::Text => wait_and_report(store).await,
        TextOrJson::Json => super::settled::wait(store).await,
    }
}

/// The mapping that a change is judged by, and its name: the one that the gates run, or the file.
pub(super) struct Judged {
    pub(super) name: String,
    pub(super) mapping: Mapping,
}

/// The mapping, or the reason why it cannot be read. A change is not refused for that.
pub(super) async fn mapping(
    store: &SharedStore,
    settings: &Settings,
    common: &Common,
) -> Result<Judged, String> {
    match explain::subject(store, settings, common.mapping.is_some()).await {
        Ok((name, running)) => Ok(Judged { name, mapping: running.mapping }),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// The whole JSON output.
#[derive(Serialize)]
struct PrintedChange<'t> {
    dry_run: bool,
    changes: &'t [RbacChange],
    already: &'t [String],
    /// The rows of `rbac_grants_audit`.
    audit: Vec<Value>,
    /// `None` if there is no mapping to judge by.
    mapping: Option<&'t str>,
    impact: Option<Value>,
    /// The same with every cluster on V2.
    impact_on_v2: Option<Value>,
    /// What still gives an admin the roles of a group that the admin was removed from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left: Vec<Left>,
}

impl<'t> PrintedChange<'t> {
    fn of(
        state: &State,
        plan: &'t Plan,
        mapping: Result<&'t Judged, &String>,
        dry_run: bool,
    ) -> PrintedChange<'t> {
        let judged = mapping.ok();
        let report = |mapping: &Mapping| grants::impact_in_json(mapping, state, plan);
        PrintedChange {
            dry_run,
            changes: &plan.changes,
            already: &plan.already,
            audit: plan.rows.iter().map(|row| json!(row)).collect(),
            mapping: judged.map(|judged| judged.name.as_str()),
            impact: judged.map(|judged| report(&judged.mapping)),
            impact_on_v2: judged.and_then(|judged| judged.mapping.on_v2()).map(report),
            left: Vec::new(),
        }
    }
}

fn print(
    report: &PrintedChange<'_>,
    state: &State,
    plan: &Plan,
    mapping: Result<&Judged, &String>,
    how: &How,
) -> anyhow::Result<()> {
    if how.format == TextOrJson::Json {
        announce(serde_json::to_string_pretty(report)?);
        return Ok(());
    }
    for sentence in &plan.already {
        announce(sentence);
    }
    for change in &plan.changes {
        announce(format_args!("{} {}", if how.dry_run { "would" } else { "done:" }, change.in_words()));
    }
    match plan.changes.is_empty() {
        true => announce("Nothing to change."),
        false => impact_in_words(state, plan, mapping, how.dry_run)?,
    }
    for left in &report.left {
        announce(format_args!("left: {}; ends with: {}", left.what, left.end_with));
    }
    if how.dry_run && !plan.changes.is_empty() {
        announce("\nNothing was changed (--dry-run).");
    }
    Ok(())
}

/// What a change opens and closes: route by route if requested, otherwise in one line.
pub(super) fn impact_in_words(
    state: &State,
    plan: &Plan,
    mapping: Result<&Judged, &String>,
    in_full: bool,
) -> anyhow::Result<()> {
    let judged = match mapping {
        Ok(judged) => judged,
        Err(problem) => {
            announce(format_args!("Which routes this opens and closes is not known: {problem}"));
            return Ok(());
        }
    };
    let mut text = Vec::new();
    write_apart(&mut text, &judged.mapping, state, plan)?;
    grants::impact_of(&judged.mapping, state, plan, |impact| match in_full {
        true => diff::write_text(&mut text, impact, &judged.name, View::default()),
        false => writeln!(text, "{}: {}", judged.name, impact.in_one_line()),
    })?;
    if let Some(on_v2) = judged.mapping.on_v2() {
        let written = grants::impact_of(on_v2, state, plan, |impact| match in_full && !impact.is_neutral() {
            true => {
                writeln!(text, "\nWith every cluster on V2:")?;
                diff::write_text(&mut text, impact, &judged.name, View::default())
            }
            false => writeln!(text, "With every cluster on V2: {}", impact.in_one_line()),
        });
        written.context("the impact")?;
    }
    announce(format_args!("\n{}", String::from_utf8_lossy(&text).trim_end()));
    Ok(())
}

/// The changes for tickets and in break-glass sessions; the text after them then concerns groups and legacy roles
/// alone.
fn write_apart(out: &mut Vec<u8>, mapping: &Mapping, state: &State, plan: &Plan) -> std::io::Result<()> {
    let apart = grants::apart::apart(mapping, state, plan);
    for one in &apart {
        writeln!(out, "{}", wrapped(&one.in_words(), columns(), 0, 4))?;
    }
    if apart.is_empty() { Ok(()) } else { writeln!(out, "Through groups and legacy roles:") }
}

/// At most this many rows of history are shown for one admin or group.
pub(super) const SHOWN: u32 = 20;

/// The names in a row, or `none`.
pub(super) fn or_none<T: AsRef<str>>(names: &[T]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

/// The records of the commands, and the changes by other writers.
pub(super) fn print_history(grants: &[StoredGrant], writes: &[StoredWrite]) {
    if !grants.is_empty() {
        println!("Recorded grants, the latest first:");
    }
    for grant in grants {
        let at = grant.created_at_utc.map_or_else(
            || "at an unreadable time".to_owned(),
            |at| at.format("%Y-%m-%d %H:%M:%SZ").to_string(),
        );
        let what = match (&grant.group, &grant.role) {
            (Some(group), None) => format!("group {group}"),
            (Some(group), Some(role)) => format!("role {role} through {group}"),
            (None, Some(role)) => format!("role {role}"),
            (None, None) => "the account".to_owned(),
        };
        let by = grant.granted_by.as_deref().unwrap_or("unknown");
        let why = grant.justification.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        println!("  {at}  {} {what}  {}  by {by}{why}", grant.event_type, grant.admin);
    }
    if !writes.is_empty() {
        println!("Written around console-gate, the latest first:");
    }
    for write in writes {
        let by = match (&write.written_by, &write.application) {
            (Some(role), Some(application)) if !application.is_empty() => format!("{role} ({application})"),
            (Some(role), _) => role.clone(),
            (None, _) => "unknown".to_owned(),
        };
        let unnamed = || "everything".to_owned();
        println!(
            "  {}  {} {} {} - {}  by {by}",
            write.at_utc.format("%Y-%m-%d %H:%M:%SZ"),
            write.change,
            write.relation,
            write.subject.clone().unwrap_or_else(unnamed),
            write.object.clone().unwrap_or_else(unnamed),
        );
    }
}
