//! `gate.toml`: read whole or refused with places inside it, and never with the password of a database in the answer.

use console_gate::settings::Settings;

const PASSWORD: &str = "hunter2secret";
/// The words that an input has in place of a URL with a password in it.
const PLACEHOLDERS: [(&str, &str); 2] = [
    ("{url}", "postgres://gate:hunter2secret@db.internal/console"),
    ("{query}", "postgres://db.internal/console?user=gate&password=hunter2secret"),
];

/// The bytes are a `gate.toml`.
pub fn settings(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    if text.contains(PASSWORD) {
        // Outside of a URL nobody can know that it is a password.
        return false;
    }
    let text = PLACEHOLDERS.iter().fold(text.to_owned(), |text, (name, url)| text.replace(name, url));
    match Settings::parse("gate.toml", &text) {
        Ok(settings) => {
            check_settings(&settings);
            true
        }
        Err(diagnostics) => {
            assert!(!diagnostics.findings().is_empty());
            for finding in diagnostics.findings() {
                let span = finding.span.clone();
                assert!(text.get(span.clone()).is_some(), "{}: {span:?} of {}", finding.code, text.len());
                diagnostics.position(finding);
            }
            for shown in [
                diagnostics.to_string(),
                diagnostics.one_line_each(),
                format!("{:?}", diagnostics.findings()),
            ] {
                assert!(!shown.is_empty() && !shown.contains(PASSWORD), "{shown}");
            }
            false
        }
    }
}

/// What the gate relies on without looking again.
fn check_settings(settings: &Settings) {
    assert!(!settings.upstream.servers.is_empty());
    assert!((1..=60).contains(&settings.assertion.lifetime_seconds));
    assert!((1..=64 * 1024).contains(&settings.firewall.body_rule_bytes.0));
    assert!(settings.firewall.head_timeout_ms.0 > 0 && settings.firewall.idle_timeout_ms.0 > 0);
    assert!(settings.firewall.target_bytes.0 > 0 && settings.firewall.head_bytes.0 > 0);
    assert!(settings.firewall.max_connections.0 > 0 && settings.access.cache_capacity.0 > 0);
    assert!(settings.audit.timeout_ms.0 > 0 && settings.database.timeout_ms.0 > 0);
    assert!(settings.session.login_path.starts_with('/') && !settings.session.login_path.starts_with("//"));
    assert!(!format!("{:?}", settings.database).contains(PASSWORD));
}
