//! Rows to damage.

use chrono::{DateTime, TimeDelta, Utc};
use ledger::chain::{Chain, Sealed};
use ledger::event::ChainHead;
use ledger::keys::KeyRing;
use ledger::verify::{Fault, StoredRow, Summary, Verifier};
use ledger::{AuditEvent, AuditRecord};
use serde_json::json;

pub(crate) const OLD: &str = "old:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
pub(crate) const NEW: &str = "new:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";

pub(crate) fn old_key() -> KeyRing {
    KeyRing::parse(OLD).unwrap()
}

/// The new key seals, both verify.
pub(crate) fn both_keys() -> KeyRing {
    KeyRing::parse(&format!("{NEW},{OLD}")).unwrap()
}

pub(crate) fn start() -> DateTime<Utc> {
    "2026-11-21T04:41:45.123456Z".parse().unwrap()
}

/// A denial of the `number`th person.
pub(crate) fn denial(number: i64) -> AuditRecord {
    let at = start() + TimeDelta::seconds(number);
    let event = AuditEvent::MigrationApplied {
        migrations: Vec::new(),
        unsealed: None,
        by: format!("admin-{number}"),
    };
    AuditRecord {
        event_type: "access_denied".into(),
        actor_kind: "admin".into(),
        session_id: Some(format!("session-{number}")),
        request_id: Some(format!("request-{number}")),
        client_address: Some("192.0.2.0/24".to_owned()),
        method: Some("POST".into()),
        path: Some(format!("/console/customers/{number}")),
        route: Some("POST /console/customers/<id>".to_owned()),
        reason: Some("role_missing".into()),
        required: Some(json!(["console-manager"])),
        held: Some(json!({ "legacy": ["ops"], "roles": [] })),
        mapping_sha256: Some("ab".repeat(32)),
        epoch: Some(number),
        detail: Some(json!({ "b": 1, "a": null })),
        ..event.into_record(at)
    }
}

pub(crate) fn stored(sealed: Sealed) -> StoredRow {
    StoredRow { record: sealed.record, link: Some(sealed.link), erased_by: None }
}

pub(crate) fn extend(chain: &mut Chain, count: i64) -> Vec<StoredRow> {
    let first = chain.head().sequence + 1;
    (first..first + count).map(|number| stored(chain.seal(denial(number)))).collect()
}

pub(crate) fn rows(id: &str, count: i64) -> Vec<StoredRow> {
    extend(&mut Chain::new(id, old_key()), count)
}

pub(crate) fn event(chain: &mut Chain, event: AuditEvent) -> StoredRow {
    stored(chain.seal(event.into_record(start())))
}

pub(crate) fn chain_started(chain: &mut Chain, heads: Vec<ChainHead>) -> StoredRow {
    event(chain, AuditEvent::ChainStarted { heads })
}

/// As the store's query orders them.
pub(crate) fn sort(rows: &mut [StoredRow]) {
    rows.sort_by_key(|row| row.link.as_ref().map(|link| (link.chain_id.clone(), link.sequence)));
}

pub(crate) fn verify_with(
    keys: KeyRing,
    checkpoints: &[String],
    rows: &[StoredRow],
) -> (Vec<Fault>, Summary) {
    let mut rows = rows.to_vec();
    sort(&mut rows);
    let mut findings = Vec::new();
    let mut verifier = Verifier::new(keys, |finding| findings.push(finding));
    for (number, line) in (1..).zip(checkpoints) {
        verifier.checkpoint(number, line);
    }
    rows.into_iter().for_each(|row| verifier.row(row));
    let summary = verifier.finish();
    assert_eq!(summary.findings, u64::try_from(findings.len()).unwrap());
    (findings, summary)
}

pub(crate) fn verify(rows: &[StoredRow]) -> Vec<Fault> {
    verify_with(both_keys(), &[], rows).0
}

/// `chain 3-5 removed`: short enough for a table.
pub(crate) fn words_of(findings: &[Fault]) -> Vec<String> {
    findings.iter().map(in_words).collect()
}

fn in_words(finding: &Fault) -> String {
    let value = serde_json::to_value(finding).unwrap();
    let mut text = finding.chain.clone().unwrap_or_default();
    match (finding.sequence, finding.last) {
        (Some(first), Some(last)) if first != last => text += &format!(" {first}-{last}"),
        (Some(first), _) => text += &format!(" {first}"),
        _ => {}
    }
    text += &format!(" {}", value["kind"].as_str().unwrap());
    for name in ["belongs_at", "head", "key", "line", "found", "expected"] {
        if let Some(value) = value.get(name) {
            text += &format!(" {name}={}", value.to_string().replace('"', ""));
        }
    }
    text.trim().to_owned()
}
