//! The gate that runs with these settings: its own reports, and the errors that it logged.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::report::Report;
use crate::cli::healthcheck;
use crate::outbound::{Outbound, OutboundError, Request, Url};
use crate::settings::Settings;

const PATIENCE: Duration = Duration::from_secs(5);
const MOST_BYTES: usize = 256 * 1024;
/// Errors that were last logged earlier are not reported.
const RECENT: TimeDelta = TimeDelta::hours(1);
/// At most this many errors are printed.
const MOST_ERRORS: usize = 5;

/// An error from the gate's log, as `/errors` returns it.
#[derive(Deserialize)]
struct Logged {
    message: String,
    #[serde(default)]
    fields: serde_json::Map<String, Value>,
    count: u64,
    last_at: DateTime<Utc>,
}

pub(super) async fn examine(settings: &Settings, report: &mut Report) {
    const SUBJECT: &str = "gate";
    let admin = &settings.listen.admin;
    let outbound = Outbound::new(Vec::new(), PATIENCE, MOST_BYTES);
    let (outbound, url) = match (outbound, healthcheck::url(admin)) {
        (Ok(outbound), Ok(url)) => (outbound, url),
        _ => return report.skip(SUBJECT, format!("{admin} cannot be asked")),
    };
    match outbound.send(&url.at("/readyz"), Request::Get, &[]).await {
        Err(OutboundError::Connect(_)) => report.skip(SUBJECT, format!("none runs at {admin}")),
        Err(error) => report.fail(
            SUBJECT,
            format!("{admin}: {error}"),
            "look into its log; it is alive and does not answer",
        ),
        Ok(reply) => {
            match serde_json::from_slice(&reply.body) {
                Ok(readiness) => judge(&readiness, report),
                Err(_) => report.fail(
                    SUBJECT,
                    format!("{admin} answers {} and no readiness", reply.status),
                    "something else listens there: correct `admin` in [listen]",
                ),
            }
            errors(&outbound, &url, report).await;
        }
    }
}

/// A field of readiness, its acceptable values, and the remedy for others.
type Rule = (&'static str, &'static [&'static str], &'static str);

/// In the order in which a request needs them. An absent field is acceptable.
const RULES: [Rule; 7] = [
    ("waiting_for", &[], "it serves when the database answers"),
    ("listener", &["open"], "wait until it has started, or start it again"),
    ("certificate", &["valid", "none"], "renew it; the gate takes the new files by itself"),
    ("database", &["up"], "see `database` below"),
    ("upstream", &["up"], "see `console` below"),
    ("audit", &["database"], "see `database` and `spool` below"),
    ("mapping", &[], "correct the file: `console-gate check` shows every mistake; the earlier mapping runs"),
];

/// Adds a line for each problem that `/readyz` reports.
fn judge(readiness: &Value, report: &mut Report) {
    const SUBJECT: &str = "gate";
    let text = |name: &str| readiness[name].as_str();
    let number = |name: &str| readiness[name].as_u64().unwrap_or(0);
    let mut is_sound = true;
    for (name, good, remedy) in RULES {
        let Some(word) = text(name).filter(|word| !good.contains(word)) else { continue };
        is_sound = false;
        let why = text(&format!("{name}_problem")).map(|why| format!(" ({why})")).unwrap_or_default();
        let found = format!("the running gate's {name}: {word}{why}");
        // Denials are answered as long as the spool takes their rows.
        if (name, word) == ("audit", "spool") {
            report.warn(SUBJECT, found, remedy);
        } else {
            report.fail(SUBJECT, found, remedy);
        }
    }
    if readiness["ready"] == false && is_sound {
        is_sound = false;
        report.fail(SUBJECT, "the running gate is not ready", "look into its log");
    }
    let spools = readiness["unreadable_spools"].as_array().map_or(0, Vec::len);
    let (waits, lost) = (text("evidence") == Some("memory"), number("evidence_lost"));
    let mirrored = readiness["mirror"]["waiting"].as_u64().unwrap_or(0);
    for (is_wrong, found, remedy) in [
        (
            spools > 0,
            format!("{spools} spool(s) cannot be read"),
            "give the gate's user the files: /readyz names them",
        ),
        (waits, "drift and decisions wait for the database".to_owned(), "see `database` below"),
        (
            lost > 0,
            format!("{lost} observation(s) of drift and decisions were lost"),
            "`console-gate soak` says of when",
        ),
        (
            mirrored > 0,
            format!("{mirrored} row(s) wait for Console's own audit table"),
            "see `mirror` below; they are delivered when it takes them",
        ),
    ] {
        if is_wrong {
            is_sound = false;
            report.warn(SUBJECT, format!("the running gate: {found}"), remedy);
        }
    }
    if is_sound {
        report.good(SUBJECT, "one is running, and is ready");
    }
}

async fn errors(outbound: &Outbound, url: &Url, report: &mut Report) {
    const SUBJECT: &str = "last errors";
    let reply = outbound.send(&url.at("/errors"), Request::Get, &[]).await;
    let logged = reply.ok().filter(|reply| reply.status == 200);
    let Some(logged) = logged.and_then(|reply| serde_json::from_slice::<Vec<Logged>>(&reply.body).ok())
    else {
        return report
            .skip(SUBJECT, "the running gate does not tell: it is of an earlier release, or just starts");
    };
    let now = Utc::now();
    let recent: Vec<&Logged> = logged.iter().filter(|one| now - one.last_at < RECENT).collect();
    if recent.is_empty() {
        return report.good(SUBJECT, "the running gate has logged none in the last hour");
    }
    for one in recent.iter().take(MOST_ERRORS) {
        report.warn(SUBJECT, one.in_words(), "the gate's log has the whole of it");
    }
    if let Some(more) = recent.len().checked_sub(MOST_ERRORS).filter(|more| *more > 0) {
        report.warn(SUBJECT, format!("{more} other error(s) in the last hour"), "look into the gate's log");
    }
}

impl Logged {
    fn in_words(&self) -> String {
        let field = |name: &str| self.fields.get(name).and_then(Value::as_str);
        let why = field("spool").or_else(|| field("error")).or_else(|| field("diagnostics"));
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        let times = if self.count > 1 { format!(", {} times", self.count) } else { String::new() };
        let at = self.last_at.format("%Y-%m-%d %H:%M:%S UTC");
        format!("{}{why} (last at {at}{times})", self.message)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::doctor::report::State;

    #[test]
    fn each_field_of_readiness_that_is_wrong_is_a_line() {
        let sound = json!({
            "ready": true, "listener": "open", "certificate": "none", "database": "up", "upstream": "up",
            "audit": "database", "evidence": "database", "evidence_lost": 0,
            "mirror": { "waiting": 0, "refused": 0 },
        });
        for (field, value, state, words) in [
            ("ready", json!(true), State::Good, "is ready"),
            ("ready", json!(false), State::Failed, "not ready"),
            ("listener", json!("draining"), State::Failed, "listener: draining"),
            ("certificate", json!("expired"), State::Failed, "certificate: expired"),
            ("database", json!("down"), State::Failed, "database: down"),
            ("waiting_for", json!("database"), State::Failed, "waiting_for: database"),
            ("upstream", json!("down"), State::Failed, "upstream: down"),
            ("mapping", json!("refused"), State::Failed, "mapping: refused"),
            ("mapping", json!("missing"), State::Failed, "mapping: missing"),
            ("audit", json!("spool"), State::Warning, "audit: spool"),
            ("audit", json!("nowhere"), State::Failed, "audit: nowhere"),
            ("unreadable_spools", json!(["/x.spool"]), State::Warning, "1 spool(s) cannot be read"),
            ("evidence", json!("memory"), State::Warning, "wait for the database"),
            ("evidence_lost", json!(3), State::Warning, "3 observation(s)"),
            ("mirror", json!({ "waiting": 2 }), State::Warning, "2 row(s) wait for Console's"),
        ] {
            let mut readiness = sound.clone();
            readiness[field] = value;
            let mut report = Report::default();
            judge(&readiness, &mut report);
            let [line] = report.lines() else { panic!("{field}: {:?}", report.lines()) };
            assert_eq!(line.state, state, "{field}: {line:?}");
            assert!(line.found.contains(words), "{field}: {line:?}");
        }
    }
}
