//! Machine tokens: enrolled in groups, named once, revoked once, and only their hashes kept.

use chrono::{DateTime, TimeDelta, Utc};
use policy::identity::Subject;
use policy::identity::machine_token::TokenDigest;
use policy::ids::MachineTokenId;
use policy::rbac::{LegacyRole, Standing};
use store::StoreError;
use store::tokens::{NewToken, StoredToken};

use crate::audit::{entry, note};
use crate::database::{Database, noon};

/// The secret of the token `name`.
fn secret(name: &str) -> String {
    format!("cgm_the-secret-of-{name}")
}

/// A new token that never expires.
pub(crate) fn token(name: &str, groups: &[&str]) -> NewToken {
    NewToken {
        id: MachineTokenId::new(format!("id of {name}")),
        name: name.into(),
        digest: TokenDigest::of(&secret(name)),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        legacy: Vec::new(),
        created_by: "anna".into(),
        created_at: noon(),
        expires_at: None,
    }
}

async fn standing(database: &Database, name: &str) -> Standing {
    let subject = Subject::Machine(TokenDigest::of(&secret(name)));
    database.store.access(&subject, noon()).await.unwrap().standing
}

async fn a_token_holds_what_its_groups_hold(database: &Database) {
    let robot = NewToken {
        // Whatever words Console has.
        legacy: ["ops", "Billing:Lesen"].map(LegacyRole::literal).to_vec(),
        ..token("robot", &["staging-admins", "raxx-support-team"])
    };
    database.store.create_token(&robot, &note(1)).await.unwrap();

    let subject = Subject::Machine(TokenDigest::of(&secret("robot")));
    let access = database.store.access(&subject, noon()).await.unwrap();
    assert_eq!(access.standing, Standing::Active);
    let identity = access.token.unwrap();
    assert_eq!((&*identity.id, &*identity.name), ("id of robot", "robot"));
    assert_eq!(access.legacy, ["ops", "Billing:Lesen"].map(LegacyRole::literal).into());
    assert_eq!(
        Vec::from_iter(access.groups.iter().map(|name| &**name)),
        ["raxx-support-team", "staging-admins"]
    );
    let roles = [
        "antlers-audit-self",
        "console-audit-user",
        "console-flag_promotion_queue-read",
        "console-staging-services-write",
        "console-user",
        "raptor-audit-support",
    ];
    assert_eq!(Vec::from_iter(access.roles.iter().map(|name| &**name)), roles);
    assert_eq!(access.valid_until, None);
}

async fn a_token_is_listed_without_its_hash(database: &Database) {
    let end = noon() + TimeDelta::days(1);
    let limited = NewToken { expires_at: Some(end), ..token("b", &[]) };
    database.store.create_token(&limited, &note(1)).await.unwrap();
    database.store.create_token(&token("a", &["ops-admins"]), &note(2)).await.unwrap();
    let stored = |name: &str, expires_at_utc: Option<DateTime<Utc>>| StoredToken {
        id: format!("id of {name}"),
        name: name.into(),
        created_by: "anna".into(),
        created_at_utc: Some(noon()),
        is_limited: expires_at_utc.is_some(),
        expires_at_utc,
        is_revoked: false,
        revoked_at_utc: None,
    };
    assert_eq!(database.store.tokens().await.unwrap(), [stored("a", None), stored("b", Some(end))]);
}

/// Invariant I-1: neither the token nor a part of it is anywhere in the database.
async fn only_the_hash_is_in_the_database(database: &Database) {
    database.store.create_token(&token("robot", &["ops-admins"]), &note(1)).await.unwrap();
    let everything = format!("{:?}", database.everything().await);
    assert!(everything.contains(&TokenDigest::of(&secret("robot")).to_hex()));
    assert!(!everything.contains("the-secret-of"));
}

async fn a_token_for_an_unknown_group_leaves_nothing(database: &Database) {
    let before = database.everything().await;
    for groups in [&["no-such-group"][..], &["ops-admins", "no-such-group"], &["Ops-Admins"]] {
        match database.store.create_token(&token("robot", groups), &note(1)).await {
            Err(StoreError::Conflict(message)) => {
                assert!(message.contains(groups.last().unwrap()), "{message}");
            }
            other => panic!("{groups:?}: {other:?}"),
        }
        assert_eq!(database.everything().await, before, "{groups:?}");
    }
}

async fn names_and_hashes_are_unique(database: &Database) {
    database.store.create_token(&token("robot", &[]), &note(1)).await.unwrap();
    let same_name =
        NewToken { id: MachineTokenId::new("2"), digest: TokenDigest::of("x"), ..token("robot", &[]) };
    let same_hash = NewToken {
        id: MachineTokenId::new("3"),
        digest: TokenDigest::of(&secret("robot")),
        ..token("other", &[])
    };
    for second in [same_name, same_hash] {
        let outcome = database.store.create_token(&second, &note(2)).await;
        assert!(matches!(outcome, Err(StoreError::Conflict(_))), "{second:?}: {outcome:?}");
    }
    assert_eq!(database.store.tokens().await.unwrap().len(), 1);
    assert_eq!(database.store.recent(10).await.unwrap().len(), 1);
}

async fn a_token_is_revoked_once(database: &Database) {
    database.store.create_token(&token("robot", &["ops-admins"]), &note(1)).await.unwrap();
    database.store.create_token(&token("other", &["ops-admins"]), &note(2)).await.unwrap();
    let later = noon() + TimeDelta::microseconds(5);
    let table = [("nobody", 3, false), ("ROBOT", 4, false), ("robot", 5, true), ("robot", 6, false)];
    let mut audited = 2;
    for (name, record, expected) in table {
        let revoked = database.store.revoke_token(name, later, &note(record)).await.unwrap();
        assert_eq!(revoked, expected, "{name}");
        audited += usize::from(expected);
        assert_eq!(
            database.store.recent(10).await.unwrap().len(),
            audited,
            "{name}: what was not done is not audited"
        );
    }
    assert_eq!(standing(database, "robot").await, Standing::Disabled);
    assert_eq!(standing(database, "other").await, Standing::Active);
    let revoked: Vec<_> =
        database.store.tokens().await.unwrap().iter().map(|token| token.revoked_at_utc).collect();
    assert_eq!(revoked, [None, Some(later)]);
}

async fn a_change_that_cannot_be_audited_does_not_happen(database: &Database) {
    database.store.append(&[entry(1)]).await.unwrap();
    database.store.create_token(&token("robot", &[]), &note(1)).await.unwrap_err();
    assert_eq!(database.store.tokens().await.unwrap(), []);

    database.store.create_token(&token("robot", &[]), &note(2)).await.unwrap();
    database.store.revoke_token("robot", noon(), &note(1)).await.unwrap_err();
    assert_eq!(standing(database, "robot").await, Standing::Active);
}

/// Written by hand: times that no calendar of ours has. Neither the list nor another token minds.
async fn a_token_with_odd_times_is_listed_and_holds_nothing(database: &Database) {
    database.store.create_token(&token("odd", &["ops-admins"]), &note(1)).await.unwrap();
    database.store.create_token(&token("sound", &["ops-admins"]), &note(2)).await.unwrap();
    let (end, time) = match database.is_postgres() {
        true => ("'infinity'", "'-infinity'"),
        // What the table's own check takes for a time.
        false => ("'2099-99-99T99:99:99+00:00'", "'soon'"),
    };
    database
        .execute(&format!(
            "UPDATE gate_machine_tokens SET expires_at_utc = {end}, created_at_utc = {time} WHERE name = 'odd'"
        ))
        .await;
    assert_eq!(standing(database, "odd").await, Standing::Disabled);
    assert_eq!(standing(database, "sound").await, Standing::Active);
    let listed = database.store.tokens().await.unwrap();
    assert_eq!(
        (listed[0].created_at_utc, listed[0].is_limited, listed[0].expires_at_utc),
        (None, true, None)
    );
    let people = database.store.census(noon()).await.unwrap();
    assert_eq!(people.iter().map(|person| &*person.id).collect::<Vec<_>>(), ["id of sound"]);

    database
        .execute(&format!("UPDATE gate_machine_tokens SET revoked_at_utc = {time} WHERE name = 'sound'"))
        .await;
    assert_eq!(standing(database, "sound").await, Standing::Disabled);
    let listed = database.store.tokens().await.unwrap();
    assert_eq!((listed[1].is_revoked, listed[1].revoked_at_utc), (true, None));
}

/// Settings name tokens, so a name is free again once its token has ended, and a token can be replaced under it.
async fn a_name_outlives_its_token(database: &Database) {
    let first = NewToken { legacy: vec![LegacyRole::literal("ops")], ..token("robot", &["ops-admins"]) };
    database.store.create_token(&first, &note(1)).await.unwrap();
    let rotate = async |name: &str, number: u32| {
        let (id, digest) =
            (MachineTokenId::new(format!("id {number}")), TokenDigest::of(&secret(&number.to_string())));
        let notes = (&note(number), &note(number + 100));
        database.store.rotate_token(name, (&id, digest), noon(), notes).await.unwrap()
    };
    assert!(rotate("robot", 2).await);
    assert_eq!(standing(database, "robot").await, Standing::Disabled);
    let subject = Subject::Machine(TokenDigest::of(&secret("2")));
    let access = database.store.access(&subject, noon()).await.unwrap();
    assert_eq!(
        (access.standing, access.token.as_ref().map(|token| &*token.name)),
        (Standing::Active, Some("robot"))
    );
    assert_eq!(access.legacy, [LegacyRole::literal("ops")].into());
    assert!(access.groups.contains("ops-admins"));
    assert!(!rotate("nobody", 3).await);
    assert!(database.store.revoke_token("robot", noon(), &note(4)).await.unwrap());
    assert!(!rotate("robot", 5).await, "one that was revoked has nothing to hand on");
    let again =
        NewToken { id: MachineTokenId::new("again"), digest: TokenDigest::of("x"), ..token("robot", &[]) };
    database.store.create_token(&again, &note(6)).await.unwrap();
    let names = "SELECT count(*) FROM gate_machine_tokens WHERE name = 'robot' AND revoked_at_utc IS NULL";
    assert_eq!(database.number(names).await, 1);
    assert_eq!(database.rows("gate_machine_tokens").await.len(), 3);
}

on_both!(
    a_name_outlives_its_token,
    a_token_with_odd_times_is_listed_and_holds_nothing,
    a_token_holds_what_its_groups_hold,
    a_token_is_listed_without_its_hash,
    only_the_hash_is_in_the_database,
    a_token_for_an_unknown_group_leaves_nothing,
    names_and_hashes_are_unique,
    a_token_is_revoked_once,
    a_change_that_cannot_be_audited_does_not_happen,
);
