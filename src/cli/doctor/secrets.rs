//! The secrets; all missing ones are reported at once.

use super::report::Report;
use crate::server::audit_keys;
use crate::settings::Settings;
use crate::settings::secrets::{
    NamedKey, SecretError, alert_secrets, assertion_keys, freescout_key, freescout_webhook, probe_keys,
    session_key,
};

/// Shorter keys can be guessed; Flask's documentation asks for random bytes.
const SHORT: usize = 16;

pub(super) async fn examine(settings: &Settings, report: &mut Report) {
    let environment = |name: &str| std::env::var(name).ok();
    session(settings, report);
    let remedy = "`console-gate keygen` prints a key; Console's middleware needs the same one";
    named(report, "assertion keys", assertion_keys(settings, environment), remedy);
    let remedy =
        "`console-gate keygen` prints a key; keep it where the database's administrators cannot read it";
    match audit_keys(settings).await {
        Ok(_) => report.good("audit keys", "can be read"),
        Err(error) => report.fail("audit keys", format!("{error:#}"), remedy),
    }
    match probe_keys(settings, environment) {
        Ok(keys) if keys.is_empty() => report.good("probe keys", "none: `verify` cannot ask this gate"),
        keys => named(report, "probe keys", keys, "`console-gate keygen` prints a key"),
    }
    if settings.freescout.url.is_some() {
        let remedy = "name the variable or file that holds it in [freescout]";
        match freescout_key(settings, environment).and_then(|_| freescout_webhook(settings, environment)) {
            Ok(Some(_)) => report.good("freescout", "the API key and the secret of webhooks can be read"),
            Ok(None) => report.good("freescout", "the API key can be read; no webhooks are taken"),
            Err(error) => report.fail("freescout", error.to_string(), remedy),
        }
    }
    alerts(settings, report);
}

/// The channels of alerts. If there is none and none is needed, nothing is reported.
fn alerts(settings: &Settings, report: &mut Report) {
    const SUBJECT: &str = "alerts";
    let channels = settings.alerts.channels();
    match (alert_secrets(settings, |name| std::env::var(name).ok()), channels.as_slice()) {
        (Err(error), _) => report.fail(
            SUBJECT,
            error.to_string(),
            "name the variable or file that holds it in the channel's section of [alerts]",
        ),
        (Ok(_), []) if settings.break_glass.origin.is_some() => report.fail(
            SUBJECT,
            "there is no channel, so no break-glass session can start",
            "set [alerts.slack], [alerts.smtp] or [alerts.postmark], better two of them",
        ),
        (Ok(_), []) => {}
        (Ok(_), [only]) => report.warn(
            SUBJECT,
            format!("{only} is the only channel: while it is down, no break-glass session can start"),
            "set a second one of [alerts.slack], [alerts.smtp] and [alerts.postmark]",
        ),
        (Ok(_), several) => {
            report.good(SUBJECT, format!("{}; `console-gate alert test` asks each", several.join(", ")));
        }
    }
}

fn session(settings: &Settings, report: &mut Report) {
    const SUBJECT: &str = "session key";
    if !settings.session.needs_secret() {
        return report.good(SUBJECT, "none is needed: sessions are looked up");
    }
    match session_key(settings, |name| std::env::var(name).ok()) {
        Err(error) => report.fail(
            SUBJECT,
            error.to_string(),
            "give the gate the SECRET_KEY of Console, in that variable or by `secret_key_file` in [session]",
        ),
        Ok(key) if key.expose().len() < SHORT => report.warn(
            SUBJECT,
            format!("it has {} bytes: somebody who guesses it logs in as anybody", key.expose().len()),
            "give Console and the gate a random one: `python3 -c 'import secrets; print(secrets.token_hex())'`",
        ),
        Ok(_) => report.good(SUBJECT, "can be read; `--cookie` says whether it is Console's"),
    }
}

fn named(report: &mut Report, subject: &'static str, keys: Result<Vec<NamedKey>, SecretError>, remedy: &str) {
    match keys {
        Ok(keys) => {
            let ids: Vec<&str> = keys.iter().map(|key| &*key.id).collect();
            report.good(subject, ids.join(", "));
        }
        Err(error) => report.fail(subject, error.to_string(), remedy),
    }
}
