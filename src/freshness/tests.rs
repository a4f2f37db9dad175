//! The kill-switch's truth table, and freshness on a real SQLite file.

use chrono::{TimeDelta, Utc};
use clock::ManualClock;
use policy::ids::AdminId;
use policy::rbac::Standing;
use store::{DatabaseUrl, SharedStore, StoreOptions};

use super::*;

#[test]
fn off_in_either_place_is_off() {
    let table = [
        (None, None, false),
        (None, Some(true), true),
        (None, Some(false), false),
        (Some(true), None, true),
        (Some(true), Some(true), true),
        (Some(true), Some(false), false),
        (Some(false), None, false),
        (Some(false), Some(true), false),
    ];
    for (flag_at_start, rbac_v2, expected) in table {
        let row = ControlRow { epoch: Epoch(1), rbac_v2, promoted: false, console_watched: true };
        let posture = Posture { flag_at_start, production: false };
        assert_eq!(posture.control(&row).rbac_v2, expected, "{flag_at_start:?} {rbac_v2:?}");
    }
}

#[test]
fn production_enforces_only_what_was_promoted() {
    for (production, promoted, expected) in
        [(false, false, true), (false, true, true), (true, false, false), (true, true, true)]
    {
        let row = ControlRow { epoch: Epoch(1), rbac_v2: Some(true), promoted, console_watched: true };
        let posture = Posture { flag_at_start: None, production };
        assert_eq!(posture.control(&row).may_enforce, expected);
    }
}

async fn resolver(folder: &tempfile::TempDir) -> (AccessResolver, SharedStore, Arc<ManualClock>) {
    let options = StoreOptions {
        url: DatabaseUrl::Sqlite(folder.path().join("gate.sqlite")),
        max_connections: 4,
        timeout: std::time::Duration::from_secs(5),
        console: store::console::Relations::default(),
    };
    let store = store::open(&options).await.unwrap();
    store.migrate_seeded().await.unwrap();
    let clock = Arc::new(ManualClock::starting_at(Utc::now()));
    let posture = Posture { flag_at_start: None, production: false };
    (AccessResolver::start(store.clone(), clock.clone(), posture, 100), store, clock)
}

#[tokio::test]
async fn a_committed_revoke_is_seen_by_the_next_request() {
    let folder = tempfile::tempdir().unwrap();
    let (resolver, store, _clock) = resolver(&folder).await;
    let anna = AdminId::new("anna");
    store.add_admin(&anna, "anna@example.com", "Anna").await.unwrap();
    let subject = Subject::Admin { id: anna.clone(), session: None };
    for _ in 0..50 {
        store.join_group(&anna, "raxx-devops-team", "test").await.unwrap();
        let epoch = resolver.observe(Freshness::Strict).await.unwrap().epoch;
        assert!(resolver.resolve(&subject, epoch).await.unwrap().roles.contains("console-flag-admin"));
        store.leave_group(&anna, "raxx-devops-team").await.unwrap();
        let epoch = resolver.observe(Freshness::Strict).await.unwrap().epoch;
        assert!(resolver.resolve(&subject, epoch).await.unwrap().roles.is_empty());
    }
}

#[tokio::test]
async fn an_unchanged_epoch_needs_no_second_load() {
    let folder = tempfile::tempdir().unwrap();
    let (resolver, store, _clock) = resolver(&folder).await;
    let anna = AdminId::new("anna");
    store.add_admin(&anna, "anna@example.com", "Anna").await.unwrap();
    let subject = Subject::Admin { id: anna, session: None };
    let epoch = resolver.observe(Freshness::Strict).await.unwrap().epoch;
    let first = resolver.resolve(&subject, epoch).await.unwrap();
    let second = resolver.resolve(&subject, epoch).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second));
}

#[tokio::test]
async fn a_cached_answer_ends_with_the_session_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let (resolver, store, clock) = resolver(&folder).await;
    let (anna, session) = (AdminId::new("anna"), policy::ids::SessionId::new("s1"));
    store.add_admin(&anna, "anna@example.com", "Anna").await.unwrap();
    store.add_session(&session, &anna, Some(clock.now() + TimeDelta::seconds(60))).await.unwrap();
    let subject = Subject::Admin { id: anna, session: Some(session) };
    let epoch = resolver.observe(Freshness::Strict).await.unwrap().epoch;
    assert_eq!(resolver.resolve(&subject, epoch).await.unwrap().standing, Standing::Active);
    clock.turn(TimeDelta::seconds(61));
    let epoch = resolver.observe(Freshness::Strict).await.unwrap().epoch;
    assert_eq!(resolver.resolve(&subject, epoch).await.unwrap().standing, Standing::SessionEnded);
}

/// The same by the session's key, as an opaque cookie has it; and a session that begins after it was unknown.
#[tokio::test]
async fn a_session_key_begins_and_ends_with_its_session() {
    use policy::identity::session_key::{Lookup, TokenForm, TokenVerifier};
    let folder = tempfile::tempdir().unwrap();
    let (resolver, store, clock) = resolver(&folder).await;
    let verifier = TokenVerifier {
        form: TokenForm::Opaque,
        lookup: Lookup::Value,
        key_prefix: String::new(),
        payload: None,
    };
    let (anna, token) = (AdminId::new("anna"), "a-session-of-annas");
    let subject = Subject::Session(verifier.verify(token, clock.now()).unwrap());
    let standing = async || {
        let epoch = resolver.observe(Freshness::Strict).await.unwrap().epoch;
        resolver.resolve(&subject, epoch).await.unwrap().standing
    };
    store.add_admin(&anna, "anna@example.com", "Anna").await.unwrap();
    assert_eq!(standing().await, Standing::Unknown);
    let session = policy::ids::SessionId::new(token);
    store.add_session(&session, &anna, Some(clock.now() + TimeDelta::seconds(60))).await.unwrap();
    assert_eq!(standing().await, Standing::Active);
    clock.turn(TimeDelta::seconds(59));
    assert_eq!(standing().await, Standing::Active);
    clock.turn(TimeDelta::seconds(2));
    assert_eq!(standing().await, Standing::SessionEnded);
    let shown = format!("{:?}", resolver.cache.iter().map(|(subject, _)| subject).collect::<Vec<_>>());
    assert!(shown.contains("SessionKey") && !shown.contains(token), "{shown}");
    assert!(resolver.cache.iter().all(|(subject, _)| match &*subject {
        Subject::Session(key) => key.expose().is_none(),
        _ => true,
    }));
}

#[tokio::test]
async fn an_answer_from_the_past_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (resolver, _store, _clock) = resolver(&folder).await;
    let subject = Subject::Admin { id: AdminId::new("anna"), session: None };
    let outcome = resolver.resolve(&subject, Epoch(i64::MAX)).await;
    assert!(matches!(outcome, Err(AccessError::Backwards { .. })));
}
