//! Grants for tickets: for whom, which ticket and which customer one counts, and what each of its ends leaves behind.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use grants::record::{ActorKind, customers_events};
use grants::{AdminTable, By, PeopleError, Plan, Terms};
use ledger::event::Way;
use policy::decision::ticket::TicketName;
use policy::ids::AdminId;
use store::jobs::TimedWork;
use store::rbac_changes::{RbacChange, TicketEnd, TicketGrant};
use store::tickets::TicketAccess;

use crate::audit::notary;
use crate::database::{Database, literal, noon};

const TERMS: Terms = Terms { admins: AdminTable::Gate, unknown_admins: false };
const ROLE: &str = "raptor-audit-support";

fn granted(id: &str, admin: &str, ticket: &str, customer: i64, ends: Option<DateTime<Utc>>) -> TicketGrant {
    TicketGrant {
        id: id.into(),
        admin: admin.into(),
        role: ROLE.into(),
        ticket: ticket.into(),
        customer,
        ends,
    }
}

async fn change(database: &Database, wanted: &[RbacChange], now: DateTime<Utc>) -> Result<Plan, PeopleError> {
    let by = By { name: "olga", reason: Some("RAXX-7"), way: Way::Command, now };
    let notary = notary();
    let further = |plan: &Plan| customers_events(&notary, plan, by, ActorKind::Admin, None);
    grants::change_with(&database.store, &notary, wanted, TERMS, by, further).await.map(|(_, plan)| plan)
}

async fn grant(database: &Database, grant: TicketGrant) {
    change(database, &[RbacChange::TicketGrant { grant }], noon()).await.unwrap();
}

async fn access(
    database: &Database,
    admin: &str,
    ticket: &str,
    customer: i64,
    now: DateTime<Utc>,
) -> TicketAccess {
    let name = TicketName { ticket: ticket.into(), customer };
    database.store.ticket_access(&AdminId::new(admin), &name, now).await.unwrap()
}

async fn roles(
    database: &Database,
    admin: &str,
    ticket: &str,
    customer: i64,
    now: DateTime<Utc>,
) -> BTreeSet<String> {
    let holding = access(database, admin, ticket, customer, now).await.holding;
    holding.roles.iter().map(ToString::to_string).collect()
}

async fn people(database: &Database) {
    for admin in ["anna", "Anna", "ben"] {
        let address =
            format!("{}{}@example.org", admin.to_lowercase(), admin.len() + usize::from(admin == "Anna"));
        database.store.add_admin(&AdminId::new(admin), &address, admin).await.unwrap();
    }
}

async fn a_grant_counts_for_its_admin_its_ticket_and_its_customer(database: &Database) {
    people(database).await;
    let hour = noon() + TimeDelta::hours(1);
    grant(database, granted("a", "anna", "42", 7, None)).await;
    grant(database, granted("b", "anna", "43", 8, Some(hour))).await;
    let all: BTreeSet<String> = [ROLE, "antlers-audit-self"].map(str::to_owned).into();
    let none = BTreeSet::new();
    let microsecond = TimeDelta::microseconds(1);
    let table = [
        ("anna", "42", 7, noon(), &all),
        ("anna", "42", 7, noon() + TimeDelta::days(900), &all),
        ("anna", "42", 8, noon(), &none),
        ("anna", "43", 7, noon(), &none),
        ("anna", "4", 7, noon(), &none),
        ("anna", "42", 77, noon(), &none),
        ("ben", "42", 7, noon(), &none),
        ("Anna", "42", 7, noon(), &none),
        ("anna", "43", 8, hour - microsecond, &all),
        ("anna", "43", 8, hour, &none),
    ];
    for (admin, ticket, customer, now, expected) in table {
        let held = roles(database, admin, ticket, customer, now).await;
        assert_eq!(held, *expected, "{admin}, {ticket}, {customer}, {now}");
    }
    let permissions = access(database, "anna", "42", 7, noon()).await.holding.permissions;
    assert!(permissions.contains("raptor:audit:read-support"), "{permissions:?}");
    // It is no access for anything else.
    let subject = policy::identity::Subject::Admin { id: AdminId::new("anna"), session: None };
    assert!(database.store.access(&subject, noon()).await.unwrap().roles.is_empty());
    // An end that cannot be read ends it.
    let bad = if database.is_postgres() { "'infinity'" } else { "'2999-99-99T00:00:00+00:00'" };
    database.execute(&format!("UPDATE rbac_ticket_grants SET expires_at_utc = {bad} WHERE id = 'a'")).await;
    assert_eq!(roles(database, "anna", "42", 7, noon()).await, none);
}

async fn the_switch_is_on_until_somebody_turns_it_off(database: &Database) {
    people(database).await;
    grant(database, granted("a", "anna", "42", 7, None)).await;
    let set = async |enabled: bool| {
        let event =
            ledger::AuditEvent::FlagFlipped { name: "FLAG_TICKET_SCOPED_GRANTS", enabled, by: "olga".into() };
        let note = notary().note(event.into_record(noon()));
        database.store.set_ticket_grants_flag(enabled, "olga", noon(), &note).await.unwrap();
    };
    assert!(access(database, "anna", "42", 7, noon()).await.is_enabled);
    let before = database.epoch().await;
    set(false).await;
    assert!(!access(database, "anna", "42", 7, noon()).await.is_enabled);
    assert!(database.epoch().await > before);
    set(true).await;
    assert!(access(database, "anna", "42", 7, noon()).await.is_enabled);
}

/// Section 5 of the RBAC V2 design: each way into each state, with its rows.
async fn every_end_leaves_its_rows(database: &Database) {
    people(database).await;
    let ends = [
        ("m", TicketEnd::Manual, "manual", "revoke"),
        ("t", TicketEnd::TicketClosed, "ticket_closed", "ticket_expire"),
        ("e", TicketEnd::Expired, "expired", "ticket_expire"),
    ];
    for (minutes, (id, reason, word, event)) in (5..).zip(ends) {
        let given = granted(id, "anna", "42", 7, Some(noon() + TimeDelta::hours(1)));
        grant(database, given.clone()).await;
        let before = database.epoch().await;
        let later = noon() + TimeDelta::minutes(minutes);
        let end = RbacChange::EndTicketGrant { grant: given.clone(), reason };
        assert_eq!(change(database, std::slice::from_ref(&end), later).await.unwrap().changes.len(), 1);
        assert!(database.epoch().await > before, "{word}");
        assert_eq!(roles(database, "anna", "42", 7, noon()).await, BTreeSet::new(), "{word}");
        let row = database
            .texts(&format!(
                "SELECT revoke_reason FROM rbac_ticket_grants WHERE id = '{id}' AND revoked_at_utc = {}",
                literal(later)
            ))
            .await;
        assert_eq!(row, [word]);
        let rows = database
            .texts(
                "SELECT event_type || ' ' || target_user_id || ' ' || ticket_id || ' ' || CAST(customer_id AS TEXT)
                        || ' ' || granted_by FROM rbac_grants_audit ORDER BY created_at_utc DESC, event_type",
            )
            .await;
        assert_eq!(rows[0], format!("{event} anna 42 7 olga"));
        // What has ended stays ended, and nothing is written again.
        let count = rows.len();
        let again = change(database, &[end], later + TimeDelta::hours(1)).await.unwrap();
        assert!(again.changes.is_empty() && again.already.len() == 1);
        assert_eq!(database.number("SELECT count(*) FROM rbac_grants_audit").await, count as i64);
        database.execute("DELETE FROM rbac_ticket_grants").await;
    }
    let count = |kind: &str| format!("SELECT count(*) FROM rbac_grants_audit WHERE event_type = '{kind}'");
    assert_eq!(database.number(&count("ticket_grant")).await, 3);
    assert_eq!(database.number(&count("ticket_expire")).await, 2);
    assert_eq!(database.number(&count("revoke")).await, 1);
    let events = database
        .texts(
            "SELECT tenant_id || ' ' || dimension || ' ' || action || ' ' || source FROM customer_audit_events
              ORDER BY action, occurred_at_utc",
        )
        .await;
    let [granted, revoked] =
        ["grant", "revoke"].map(|what| format!("7 operator_interaction operator.rbac.{what} console-gate"));
    assert_eq!(events, [granted.as_str(); 3].into_iter().chain([revoked.as_str(); 3]).collect::<Vec<_>>());
    assert_eq!(database.number("SELECT count(*) FROM gate_rbac_changes").await, 0, "no raw writes");
}

/// I-9: whichever of the rows cannot be written, nothing is granted and nothing ends.
async fn without_its_rows_nothing_changes(database: &Database) {
    people(database).await;
    let given = granted("a", "anna", "42", 7, None);
    let add = RbacChange::TicketGrant { grant: given.clone() };
    let end = RbacChange::EndTicketGrant { grant: given.clone(), reason: TicketEnd::TicketClosed };
    for table in ["customer_audit_events", "rbac_grants_audit", "gate_audit_events"] {
        let sealed = "SELECT count(*) FROM rbac_ticket_grants";
        for (step, before) in [(&add, 0), (&end, 1)] {
            if before == 1 {
                change(database, std::slice::from_ref(&add), noon()).await.unwrap();
            }
            database.execute(&format!("ALTER TABLE {table} RENAME TO away_{table}")).await;
            let refused = change(database, std::slice::from_ref(step), noon()).await;
            database.execute(&format!("ALTER TABLE away_{table} RENAME TO {table}")).await;
            assert!(refused.is_err(), "{table}: {:?}", step.in_words());
            assert_eq!(database.number(sealed).await, before, "{table}");
            let live = database.store.ticket_grants(Some("42")).await.unwrap();
            assert_eq!(live.len() as i64, before, "{table}");
        }
        database.execute("DELETE FROM rbac_ticket_grants").await;
    }
}

async fn what_cannot_be_a_grant_is_refused(database: &Database) {
    people(database).await;
    let sound = granted("a", "anna", "42", 7, None);
    let refused = [
        TicketGrant { role: "no-such-role".into(), ..sound.clone() },
        TicketGrant { admin: "nobody".into(), ..sound.clone() },
        TicketGrant { ticket: "042".into(), ..sound.clone() },
        TicketGrant { ticket: "T-1".into(), ..sound.clone() },
        TicketGrant { ticket: "42/../43".into(), ..sound.clone() },
        TicketGrant { customer: 0, ..sound.clone() },
        TicketGrant { customer: -7, ..sound.clone() },
        TicketGrant { ends: Some(noon()), ..sound.clone() },
    ];
    for grant in refused {
        let outcome = change(database, &[RbacChange::TicketGrant { grant: grant.clone() }], noon()).await;
        assert!(outcome.is_err(), "{grant:?}");
    }
    assert_eq!(database.number("SELECT count(*) FROM rbac_ticket_grants").await, 0);
    assert_eq!(database.number("SELECT count(*) FROM rbac_grants_audit").await, 0);
}

async fn one_of_all_gates_does_what_is_due(database: &Database) {
    let (store, minute) = (&database.store, Duration::from_secs(60));
    let work = TimedWork { name: "tickets", period: 2 * minute, lease: minute };
    let at = |seconds: i64| noon() + TimeDelta::seconds(seconds);
    let takes = async |gate: &str, seconds: i64| store.take_on(work, gate, at(seconds)).await.unwrap();
    assert!(takes("one", 0).await, "never done is overdue");
    assert!(!takes("two", 1).await, "the first one is at it");
    store.has_done(work, "one", at(2)).await.unwrap();
    assert!(!takes("two", 3).await);
    assert!(!takes("two", 121).await);
    assert!(takes("two", 122).await);
    // The second one dies: somebody else takes it on when its time is over, and what it says later counts no more.
    assert!(!takes("one", 181).await);
    assert!(takes("one", 182).await);
    store.has_done(work, "two", at(183)).await.unwrap();
    assert!(!takes("three", 184).await);
    store.has_done(work, "one", at(185)).await.unwrap();
    // All gates were down for a day.
    assert!(takes("four", 86_400).await);
    // A clock that was a year ahead puts nothing off.
    store.has_done(work, "four", at(365 * 86_400)).await.unwrap();
    assert!(takes("five", 86_500).await);
}

on_both!(
    a_grant_counts_for_its_admin_its_ticket_and_its_customer,
    the_switch_is_on_until_somebody_turns_it_off,
    every_end_leaves_its_rows,
    without_its_rows_nothing_changes,
    what_cannot_be_a_grant_is_refused,
    one_of_all_gates_does_what_is_due,
);
