//! The mapping with all findings of `check`, whether anybody passes its rows, and whether V2 decides the rows that the
//! mapping assigns to it.

use std::collections::BTreeSet;
use std::path::Path;

use chrono::Utc;
use policy::mapping::{ClusterMode, Mapping};
use policy::rbac::LegacyRole;
use store::SharedStore;
use workbench::report::Level;

use super::report::Report;
use crate::cli::check;
use crate::facts::rolled_back::rolled_back;
use crate::freshness::Posture;
use crate::server::fallback::fallen_back;
use crate::settings::{Environment, Settings};

pub(super) async fn examine(
    settings: &Settings,
    config: Option<&Path>,
    store: Option<&SharedStore>,
    report: &mut Report,
) {
    let file = settings.mapping.file.display().to_string();
    let mapping = match crate::text_file::read(&settings.mapping.file) {
        Err(error) => {
            let found = format!("{file}: {error}");
            report.fail(
                "mapping",
                found,
                "correct `file` in [mapping], or `console-gate import` writes a first one",
            );
            return report.skip("flag", "the mapping comes first");
        }
        Ok(text) => match Mapping::parse(&file, &text) {
            Err(mistakes) => {
                let found = format!("{file}: {} mistake(s)", mistakes.findings().len());
                report.fail("mapping", found, format!("`console-gate check {file}` shows them"));
                return report.skip("flag", "the mapping comes first");
            }
            Ok(mapping) => mapping,
        },
    };
    let Some(store) = store else {
        report.good(
            "mapping",
            format!("{file}: {} rows; not compared with the database", mapping.rows().len()),
        );
        return report.skip("flag", "the database comes first");
    };
    report.good("mapping", format!("{file}: {} rows", mapping.rows().len()));
    judge(settings, config, store, report).await;
    legacy_roles(&mapping, store, report).await;
    rollback(&file, &mapping, store, report).await;
    flag(&mapping, settings, store, report).await;
}

/// At most this many findings are printed; all are counted.
const MOST_FINDINGS: usize = 3;

/// Reports the findings of `check`, with their numbers.
async fn judge(settings: &Settings, config: Option<&Path>, store: &SharedStore, report: &mut Report) {
    const SUBJECT: &str = "check";
    let findings = match check::everything(settings, config, store).await {
        Ok(findings) => findings,
        Err(error) => return report.fail(SUBJECT, format!("{error:#}"), "correct what the message names"),
    };
    let of = |level| findings.iter().filter(move |finding| finding.level == level);
    let counted: Vec<String> = [Level::Error, Level::Warning]
        .into_iter()
        .map(|level| (of(level).count(), level.word()))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| check::counted(count, word))
        .collect();
    if counted.is_empty() {
        return report.good(SUBJECT, "`console-gate check` finds no error and no warning");
    }
    let worst: Vec<&str> = of(Level::Error).chain(of(Level::Warning)).map(|one| &*one.message).collect();
    let more = worst.len().saturating_sub(MOST_FINDINGS);
    let mut found = format!("{}: {}", counted.join(", "), worst[..worst.len() - more].join("; "));
    if more > 0 {
        found.push_str(&format!("; and {more} more"));
    }
    let remedy = "`console-gate check` with the same settings shows where, and what to do";
    match of(Level::Error).next() {
        Some(_) => report.fail(SUBJECT, found, remedy),
        None => report.warn(SUBJECT, found, remedy),
    }
}

/// Where legacy gates decide and no caller holds any role that they accept, no caller passes them: the role is misspelt
/// in every row, or for every admin.
async fn legacy_roles(mapping: &Mapping, store: &SharedStore, report: &mut Report) {
    let Ok(people) = store.census(Utc::now()).await else { return };
    let held: BTreeSet<LegacyRole> = people.iter().flat_map(|person| person.legacy.iter().cloned()).collect();
    let accepted = mapping.legacy_roles();
    let decides = mapping.clusters().values().any(|rollout| rollout.mode != ClusterMode::V2);
    if !decides || held.is_empty() || accepted.is_empty() || accepted.iter().any(|role| held.contains(*role))
    {
        return;
    }
    let listed =
        |roles: Vec<&LegacyRole>| roles.iter().map(|role| format!("`{role}`")).collect::<Vec<_>>().join(", ");
    report.fail(
        "legacy roles",
        format!(
            "nobody holds a role that any row accepts: rows accept {}, people hold {}",
            listed(accepted.into_iter().collect()),
            listed(held.iter().collect()),
        ),
        "correct the roles in the mapping, or those in Console's table",
    );
}

/// The rollback in force, and whether the file contains parts that it took back.
async fn rollback(file: &str, mapping: &Mapping, store: &SharedStore, report: &mut Report) {
    const SUBJECT: &str = "rollback";
    let found = match rolled_back(store, mapping).await {
        Ok(Some(found)) => found,
        Ok(None) => return,
        Err(error) => return report.fail(SUBJECT, error.to_string(), "correct what the message names"),
    };
    let pin = &found.pin;
    let to = pin.sha256.as_ref().map(|sha256| sha256.short().to_owned()).unwrap_or_default();
    let at = pin.at.format("%Y-%m-%d %H:%M UTC");
    match found.finding() {
        Some(finding) => report.warn(
            SUBJECT,
            format!("{file}: {}", finding.message),
            "no gate activates the file: correct it, or `console-gate rollback --release` if it is meant",
        ),
        None => report.warn(
            SUBJECT,
            format!(
                "a rollback to {to} by {} at {at} is not released; {file} contains nothing that it took back",
                pin.by
            ),
            "once what was rolled back may come again: `console-gate rollback --release`",
        ),
    }
}

async fn flag(mapping: &Mapping, settings: &Settings, store: &SharedStore, report: &mut Report) {
    const SUBJECT: &str = "flag";
    let row = match store.control().await {
        Ok(row) => row,
        Err(error) => return report.fail(SUBJECT, error.to_string(), "correct what the message names"),
    };
    let flag_at_start = match super::super::serve::flag_at_start("FLAG_RBAC_V2") {
        Ok(flag) => flag,
        Err(error) => return report.fail(SUBJECT, error.to_string(), "set it to 1 or 0, or remove it"),
    };
    let posture = Posture { flag_at_start, production: settings.environment == Environment::Production };
    let control = posture.control(&row);
    let fallen = fallen_back(mapping, &control);
    let names: Vec<&str> = fallen.keys().map(String::as_str).collect();
    let on_v2 = mapping.clusters().values().filter(|rollout| rollout.mode == ClusterMode::V2).count();
    let word = if control.rbac_v2 { "on" } else { "off" };
    match fallen.values().next() {
        None if on_v2 == 0 => report.good(SUBJECT, format!("FLAG_RBAC_V2 is {word}; no cluster is on V2")),
        None => report.good(SUBJECT, format!("FLAG_RBAC_V2 is on, and V2 decides {on_v2} cluster(s)")),
        Some(&"not_promoted") => report.warn(
            SUBJECT,
            format!(
                "{}: the legacy gate decides, as FLAG_RBAC_V2 is not promoted to production",
                names.join(", ")
            ),
            "`console-gate promote --environment production`",
        ),
        Some(_) => {
            let remedy = match flag_at_start {
                Some(false) => "FLAG_RBAC_V2=0 in the environment: remove it and start the gate again",
                _ => "`console-gate flag rbac-v2 on`",
            };
            let found = format!("{}: the legacy gate decides, as FLAG_RBAC_V2 is off", names.join(", "));
            report.warn(SUBJECT, found, remedy);
        }
    }
}
