//! Tables of grants are compared with the sealed rows, both ways: what is changed, removed or added there is found.

use chrono::{DateTime, TimeDelta, Utc};
use console_gate::journal::erasure;
use grants::{AdminTable, By, Terms};
use ledger::AuditEvent;
use ledger::event::Way;
use ledger::verify::{Kind, Summary, Verifier};
use policy::ids::AdminId;
use policy::rbac::grant::Origin;
use store::audit::Evidence;
use store::rbac_changes::{RbacChange, TicketEnd, TicketGrant, TimedGrant};

use crate::audit::notary;
use crate::database::{Database, literal, noon};

const TERMS: Terms = Terms { admins: AdminTable::Gate, unknown_admins: false };
const REASON: &str = "anna-covers-for-ben";

/// What `audit verify` finds: the table and what is wrong there, `-` where it is no row of one.
pub(crate) async fn verified(database: &Database) -> (Vec<(String, String)>, Summary) {
    let (sender, mut evidence) = tokio::sync::mpsc::channel(64);
    let mut findings = Vec::new();
    let mut verifier = Verifier::new(notary().keys().clone(), |fault| {
        let kind = match &fault.kind {
            Kind::Edited => "edited".to_owned(),
            Kind::Removed => "removed".to_owned(),
            Kind::Unrecorded { table, found, before } => format!("unrecorded in {table}: {found}, {before}"),
            other => format!("{other:?}"),
        };
        findings.push((fault.table.unwrap_or("-").to_owned(), kind));
    });
    let reading = async {
        while let Some(piece) = evidence.recv().await {
            match piece {
                Evidence::ControlChain(chain) => verifier.control_head(chain.head.as_ref()),
                Evidence::Row(row) => verifier.row(row.into_row()),
                Evidence::Customer(row) => verifier.customer(&row.into_row()),
                Evidence::Grant(grant) => verifier.grant(&grant, noon() - TimeDelta::days(7 * 365)),
            }
        }
        verifier.finish()
    };
    let (sent, summary) = futures::future::join(database.store.send_evidence(sender), reading).await;
    sent.unwrap();
    (findings, summary)
}

/// As `migrate` records it with the migration that brings the sealing.
async fn sealing_begins(database: &Database) {
    let counts = database.store.unsealed_grants().await.unwrap();
    let unsealed: serde_json::Map<_, _> =
        counts.into_iter().map(|(table, count)| (table.to_owned(), count.into())).collect();
    let (migrations, by) = (vec!["0400 baseline".to_owned()], "olga".to_owned());
    let event = AuditEvent::MigrationApplied { migrations, unsealed: Some(unsealed.into()), by };
    database.store.record(&notary().note(event.into_record(noon()))).await.unwrap();
}

async fn change(database: &Database, change: RbacChange, now: DateTime<Utc>) {
    let by = By { name: "ben", reason: Some(REASON), way: Way::Api, now };
    grants::change(&database.store, &notary(), &[change], TERMS, by).await.unwrap();
}

fn timed(id: &str) -> RbacChange {
    let (starts, ends) = (noon(), noon() + TimeDelta::hours(8));
    let (admin, group) = ("anna".to_owned(), "raxx-devops-team".to_owned());
    let grant =
        TimedGrant { id: id.into(), admin, group, origin: Origin::Timed, request: None, starts, ends };
    RbacChange::GrantUntil { grant }
}

fn ticket(id: &str) -> TicketGrant {
    let (admin, role) = ("anna".to_owned(), "raptor-audit-support".to_owned());
    TicketGrant { id: id.into(), admin, role, ticket: "42".into(), customer: 7, ends: None }
}

/// A row of before the sealing; a membership, two timed ones of which one has ended, and the same for a ticket.
async fn scene(database: &Database) {
    for id in ["anna", "ben"] {
        database.store.add_admin(&AdminId::new(id), &format!("{id}@example.org"), id).await.unwrap();
    }
    database
        .execute(
            "INSERT INTO rbac_grants_audit (id, event_type, target_user_id, granted_by)
             VALUES ('00000000-0000-4000-8000-000000000001', 'grant', 'ben', 'olga')",
        )
        .await;
    sealing_begins(database).await;
    let join = RbacChange::Join { admin: "anna".into(), group: "ops-admins".into() };
    change(database, join, noon()).await;
    for id in ["t1", "t2"] {
        change(database, timed(id), noon()).await;
    }
    let (admin, group) = ("anna".to_owned(), "raxx-devops-team".to_owned());
    change(database, RbacChange::EndGrant { id: "t2".into(), admin, group }, noon()).await;
    for id in ["k1", "k2"] {
        change(database, RbacChange::TicketGrant { grant: ticket(id) }, noon()).await;
    }
    let end = RbacChange::EndTicketGrant { grant: ticket("k2"), reason: TicketEnd::Manual };
    change(database, end, noon()).await;
    let keeps: &[&str] = match database.is_postgres() {
        true => &[
            "ALTER TABLE rbac_grants_audit DISABLE TRIGGER USER",
            "ALTER TABLE gate_grants DISABLE TRIGGER USER",
        ],
        false => &[
            "DROP TRIGGER rbac_grants_audit_refuse_delete",
            "DROP TRIGGER rbac_grants_audit_refuse_update",
            "DROP TRIGGER gate_grants_keep_update",
            "DROP TRIGGER gate_grants_keep_delete",
        ],
    };
    for statement in keeps {
        database.execute(statement).await;
    }
}

const HISTORY: &str = "rbac_grants_audit";

/// What an owner of the tables does, and what is found.
fn cases() -> Vec<(String, Vec<(&'static str, &'static str)>)> {
    let at = |hours| literal(noon() + TimeDelta::hours(hours));
    let of_group = "WHERE group_id = 'ops-admins'";
    let history = |set: &str| format!("UPDATE rbac_grants_audit SET {set} {of_group}");
    let case = |statement: String, table, kind| (statement, vec![(table, kind)]);
    vec![
        ("SELECT 1".to_owned(), vec![]),
        case(history("granted_by = 'olga'"), HISTORY, "edited"),
        case(history("target_user_id = 'ben'"), HISTORY, "edited"),
        case(history("justification = 'an order'"), HISTORY, "edited"),
        case(history("event_type = 'revoke'"), HISTORY, "edited"),
        case(history("group_id = 'raxx-devops-team'"), HISTORY, "edited"),
        case(history("group_id = NULL"), HISTORY, "edited"),
        case(history("role_id = 'console-user'"), HISTORY, "edited"),
        case(history(&format!("created_at_utc = {}", at(-9))), HISTORY, "edited"),
        case(history(&format!("expires_at_utc = {}", at(9))), HISTORY, "edited"),
        case(
            "UPDATE rbac_grants_audit SET customer_id = 8 WHERE event_type = 'ticket_grant' AND id IN
             (SELECT min(id) FROM rbac_grants_audit WHERE event_type = 'ticket_grant')"
                .to_owned(),
            HISTORY,
            "edited",
        ),
        case(format!("DELETE FROM rbac_grants_audit {of_group}"), HISTORY, "removed"),
        case(
            "INSERT INTO rbac_grants_audit (id, event_type, target_user_id, granted_by)
             VALUES ('00000000-0000-4000-8000-000000000002', 'grant', 'ben', 'olga')"
                .to_owned(),
            "-",
            "unrecorded in rbac_grants_audit: 2, 1",
        ),
        case(
            format!("UPDATE gate_grants SET ends_at_utc = {} WHERE id = 't1'", at(90)),
            "gate_grants",
            "edited",
        ),
        case("UPDATE gate_grants SET admin_id = 'ben' WHERE id = 't1'".to_owned(), "gate_grants", "edited"),
        case(
            "UPDATE gate_grants SET revoked_at_utc = NULL, revoked_by = NULL WHERE id = 't2'".to_owned(),
            "gate_grants",
            "edited",
        ),
        case("DELETE FROM gate_grants WHERE id = 't1'".to_owned(), "gate_grants", "removed"),
        case(
            "UPDATE rbac_ticket_grants SET customer_id = 8 WHERE id = 'k1'".to_owned(),
            "rbac_ticket_grants",
            "edited",
        ),
        case(
            "UPDATE rbac_ticket_grants SET granted_by = 'x' WHERE id = 'k1'".to_owned(),
            "rbac_ticket_grants",
            "edited",
        ),
        case(
            "UPDATE rbac_ticket_grants SET revoked_at_utc = NULL WHERE id = 'k2'".to_owned(),
            "rbac_ticket_grants",
            "edited",
        ),
        case("DELETE FROM rbac_ticket_grants WHERE id = 'k1'".to_owned(), "rbac_ticket_grants", "removed"),
        case(
            "INSERT INTO rbac_ticket_grants (id, user_id, role_id, ticket_id, customer_id, granted_by)
             VALUES ('k9', 'ben', 'raptor-audit-support', '42', 7, 'olga')"
                .to_owned(),
            "-",
            "unrecorded in rbac_ticket_grants: 1, 0",
        ),
        case(
            format!(
                "INSERT INTO rbac_break_glass_sessions
                        (id, user_id, justification, granted_by, granted_at_utc, expires_at_utc)
                 VALUES ('s', 'ben', 'fire', 'self', {}, {})",
                at(0),
                at(1)
            ),
            "-",
            "unrecorded in rbac_break_glass_sessions: 1, 0",
        ),
        // A group that is gone took its name, and its memberships, along.
        ("DELETE FROM rbac_groups WHERE id = 'ops-admins'".to_owned(), vec![]),
    ]
}

/// Each on a database of its own.
async fn finds(open: impl AsyncFn() -> Database) {
    for (statement, expected) in cases() {
        let database = open().await;
        scene(&database).await;
        database.execute(&statement).await;
        let (found, summary) = verified(&database).await;
        let found: Vec<(&str, &str)> =
            found.iter().map(|(table, kind)| (table.as_str(), kind.as_str())).collect();
        assert_eq!(found, expected, "{statement}");
        assert!(summary.grants > 0 && summary.grants_before_sealing > 0, "{summary:?}");
    }
}

#[tokio::test]
async fn what_is_done_to_grants_is_found_on_sqlite() {
    finds(Database::sqlite).await;
}

#[tokio::test]
async fn what_is_done_to_grants_is_found_on_postgres() {
    finds(Database::postgres).await;
}

/// I-6: who is deleted is nowhere afterwards, nor is what was written about them; and the chain and the tables agree, also
/// between the two.
async fn an_erasure_takes_what_was_written_about_a_person(database: &Database) {
    scene(database).await;
    database.execute("DELETE FROM admins WHERE id = 'anna'").await;
    assert_eq!(verified(database).await.0, []);
    let erased = erasure::erase(&database.store, &notary(), "anna", "gate", noon()).await.unwrap();
    assert_eq!(erased.rows, 7, "a row for each grant and each end");
    let (found, summary) = verified(database).await;
    assert_eq!((found.as_slice(), summary.erased), ([].as_slice(), 7));
    for (table, rows) in database.everything().await {
        for row in rows {
            assert!(!row.contains("anna"), "{table}: {row}");
        }
    }
}

/// The rule of docs/guards.md is for the API: a change by command says so in its sealed rows.
async fn a_change_says_by_which_way_it_came(database: &Database) {
    scene(database).await;
    let by = By { name: "olga", reason: None, way: Way::Command, now: noon() };
    let join = [RbacChange::Join { admin: "ben".into(), group: "ops-admins".into() }];
    grants::change(&database.store, &notary(), &join, TERMS, by).await.unwrap();
    let ways = "SELECT event_type || ' ' || actor_id || ' ' || COALESCE(subject_id, '-') || ' ' || (detail ->> 'way')
                  FROM gate_audit_events WHERE event_type IN ('rbac_changed', 'grant_recorded')
                 ORDER BY sequence";
    let ways = database.texts(ways).await;
    assert_eq!(ways[..2], ["rbac_changed ben - api", "grant_recorded ben anna api"]);
    assert_eq!(ways[ways.len() - 2..], ["rbac_changed olga - command", "grant_recorded olga ben command"]);
}

on_both!(an_erasure_takes_what_was_written_about_a_person, a_change_says_by_which_way_it_came);
