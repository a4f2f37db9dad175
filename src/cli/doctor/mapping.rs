//! The mapping, and whether V2 decides what the mapping says it decides.

use policy::mapping::{ClusterMode, Mapping};
use workbench::report::{Level, rules};

use super::report::Report;
use crate::facts::rolled_back::rolled_back;
use crate::freshness::Posture;
use crate::server::fallback::fallen_back;
use crate::settings::{Environment, Settings};
use crate::store::SharedStore;

pub(super) async fn examine(settings: &Settings, store: Option<&SharedStore>, report: &mut Report) {
    let file = settings.mapping.file.display().to_string();
    let mapping = match std::fs::read_to_string(&settings.mapping.file) {
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
    judge(&file, &mapping, store, report).await;
    rollback(&file, &mapping, store, report).await;
    flag(&mapping, settings, store, report).await;
}

async fn judge(file: &str, mapping: &Mapping, store: &SharedStore, report: &mut Report) {
    let catalog = match store.catalog().await {
        Ok(catalog) => catalog,
        Err(error) => return report.fail("mapping", error.to_string(), "correct what the message names"),
    };
    let rows = mapping.rows().len();
    let see = format!("`console-gate check {file}` shows them");
    if let Err(mistakes) = mapping.check_against(file, &catalog) {
        let found = format!(
            "{file}: {rows} rows, {} name what the database does not have",
            mistakes.findings().len()
        );
        return report.fail("mapping", found, see);
    }
    let warnings = mapping.review(Some(&catalog));
    let warnings = warnings.iter().filter(|found| rules::level_of(found.code) == Level::Warning).count();
    match warnings {
        0 => report.good("mapping", format!("{file}: {rows} rows")),
        warnings => report.warn("mapping", format!("{file}: {rows} rows, {warnings} warning(s)"), see),
    }
}

/// The rollback in force, and whether the file would bring back what it took back.
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
