//! Requests for access: who may ask, who may approve, on the basis of what, and what becomes of races.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use grants::authority::Powers;
use grants::requests::{
    ApprovalTerms, Decided, NewRequest, RequestError, approve, ask, deny, judge, withdraw,
};
use grants::{AdminTable, By, State, Terms};
use ledger::event::Way;
use policy::identity::Subject;
use policy::ids::AdminId;
use policy::mapping::Mapping;
use policy::rbac::break_glass::BreakGlassRules;
use store::access_requests::RequestState;
use store::rbac_changes::RbacChange;

use crate::audit::notary;
use crate::database::{Database, noon};

const GROUP: &str = "raxx-devops-team";

fn mapping(quorum: u32) -> Mapping {
    let text = format!(
        "version = 1
         [clusters]
         S1 = \"v2\"
         [approval]
         {GROUP} = {{ by = [\"raxx-platform-admins\"], quorum = {quorum}, longest = \"8h\" }}
         [blueprints.b]
         cluster = \"S1\"
         [blueprints.b.routes]
         \"GET /flags\" = {{ role = \"console-flag-admin\" }}
         \"GET /users\" = {{ role = \"console-user\" }}"
    );
    Mapping::parse("routes.toml", &text).unwrap()
}

/// What the mapping alone makes of names.
fn plain(mapping: &Mapping) -> Powers {
    Powers::of(mapping, &BreakGlassRules::default(), None, Vec::new())
}

/// Approvals by no more terms than that.
struct Plain<'m>(&'m Mapping);

impl ApprovalTerms for Plain<'_> {
    fn powers(&self, _state: &State) -> Powers {
        plain(self.0)
    }
}

/// Anna asks; Petra, Paul and Pia approve; Ben may not.
async fn with_people(database: &Database) {
    for id in ["anna", "ben", "petra", "paul", "pia"] {
        database.store.add_admin(&AdminId::new(id), &format!("{id}@example.org"), id).await.unwrap();
    }
    for id in ["petra", "paul", "pia"] {
        database.store.join_group(&AdminId::new(id), "raxx-platform-admins", "t").await.unwrap();
    }
    database.store.join_group(&AdminId::new("ben"), "raxx-support-team", "t").await.unwrap();
}

fn wanted(by: &str) -> NewRequest {
    NewRequest {
        admin: "anna".into(),
        requested_by: by.into(),
        group: GROUP.into(),
        span: TimeDelta::hours(2),
        reason: "flags for the release".into(),
        ticket: Some("T-7".into()),
        route: Some("GET /flags".into()),
        extends: None,
    }
}

async fn groups(database: &Database, now: DateTime<Utc>) -> BTreeSet<Arc<str>> {
    let subject = Subject::Admin { id: AdminId::new("anna"), session: None };
    database.store.access(&subject, now).await.unwrap().groups
}

async fn an_approved_request_is_a_grant_until_its_end(database: &Database) {
    with_people(database).await;
    let (store, mapping, now) = (&database.store, mapping(1), noon());
    let request = ask(store, &notary(), &mapping, wanted("anna"), now).await.unwrap();
    let judged = judge(store, &mapping, &request.id, now, |_| plain(&mapping)).await.unwrap();
    let rows = judged.impact["changes"].as_array().map_or(0, Vec::len);
    assert!(rows > 0 && judged.impact.to_string().contains("/flags"), "{:#}", judged.impact);
    assert!(groups(database, now).await.is_empty(), "a request grants nothing");
    let look = (request.id.as_str(), judged.impact_sha256.as_str());
    let decided = approve(store, &notary(), &mapping, look, "petra", now, Plain(&mapping)).await.unwrap();
    let Decided::Granted { grant } = decided else { panic!("{decided:?}") };
    assert!(groups(database, now).await.contains(GROUP));
    assert!(groups(database, now + TimeDelta::minutes(119)).await.contains(GROUP));
    assert!(groups(database, now + TimeDelta::hours(2)).await.is_empty());
    let stored = store.access_request(&request.id).await.unwrap().unwrap();
    assert_eq!((stored.state, stored.grant.as_deref()), (RequestState::Approved, Some(grant.as_str())));
    assert_eq!(stored.closed_by.as_deref(), Some("petra"));
    let row = "SELECT granted_by || ' ' || justification FROM rbac_grants_audit WHERE event_type = 'grant'";
    assert_eq!(database.texts(row).await, ["petra flags for the release"]);
    let origin = "SELECT origin || ' ' || request_id FROM gate_grants";
    assert_eq!(database.texts(origin).await, [format!("request {}", request.id)]);
    let steps: Vec<String> = store
        .recent(10)
        .await
        .unwrap()
        .into_iter()
        .filter(|event| event.event_type == "access_request")
        .map(|event| event.detail.unwrap().0["step"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(steps, ["approved", "requested"], "newest first, sealed");
    for event in store.recent(10).await.unwrap() {
        let sealed = event.detail.unwrap().0.to_string();
        assert!(!sealed.contains("anna"), "an erasure leaves details alone: {sealed}");
    }
    let again = approve(store, &notary(), &mapping, look, "paul", now, Plain(&mapping)).await;
    assert!(matches!(again, Err(RequestError::Closed("approved"))), "{again:?}");
}

async fn only_others_of_the_rules_groups_may_decide(database: &Database) {
    with_people(database).await;
    let (store, mapping, now) = (&database.store, mapping(1), noon());
    database.store.join_group(&AdminId::new("anna"), "raxx-platform-admins", "t").await.unwrap();
    // Petra asks for Anna: neither may approve.
    let request = ask(store, &notary(), &mapping, wanted("petra"), now).await.unwrap();
    let judged = judge(store, &mapping, &request.id, now, |_| plain(&mapping)).await.unwrap();
    let look = (request.id.as_str(), judged.impact_sha256.as_str());
    for (by, is_own) in [("anna", true), ("petra", true), ("ben", false), ("nobody", false)] {
        for error in [
            approve(store, &notary(), &mapping, look, by, now, Plain(&mapping)).await.unwrap_err(),
            deny(store, &notary(), &mapping, &request.id, (by, None), now).await.unwrap_err(),
        ] {
            let fits = matches!(
                (&error, is_own),
                (RequestError::OwnRequest, true) | (RequestError::NotAnApprover(_), false)
            );
            assert!(fits, "{by}: {error:?}");
        }
    }
    assert!(matches!(
        withdraw(store, &notary(), &request.id, "paul", now).await,
        Err(RequestError::NotRequester)
    ));
    // Paul leaves the group between his look and his approval.
    database.store.leave_group(&AdminId::new("paul"), "raxx-platform-admins").await.unwrap();
    let late = approve(store, &notary(), &mapping, look, "paul", now, Plain(&mapping)).await;
    assert!(
        matches!(late, Err(RequestError::NotAnApprover(_) | RequestError::ImpactChanged { .. })),
        "{late:?}"
    );
    assert_eq!(database.number("SELECT count(*) FROM gate_grants").await, 0);
    assert_eq!(database.number("SELECT count(*) FROM gate_access_votes").await, 0);
}

async fn what_cannot_be_asked_for_is_refused(database: &Database) {
    with_people(database).await;
    let (store, mapping, now) = (&database.store, mapping(1), noon());
    let refused = async |request: NewRequest| {
        ask(store, &notary(), &mapping, request, now).await.unwrap_err().to_string()
    };
    let table = [
        (NewRequest { group: "raxx-support-team".into(), ..wanted("anna") }, "has no rule for it"),
        (NewRequest { span: TimeDelta::hours(9), ..wanted("anna") }, "for 8h at most"),
        (NewRequest { reason: " \n".into(), ..wanted("anna") }, "a reason is needed"),
        (NewRequest { reason: "x".repeat(2_001), ..wanted("anna") }, "a reason is needed"),
        (NewRequest { admin: "annna".into(), ..wanted("anna") }, "there is no admin `annna`"),
    ];
    for (request, expected) in table {
        let message = refused(request.clone()).await;
        assert!(message.contains(expected), "{request:?}: {message}");
    }
    assert_eq!(database.number("SELECT count(*) FROM gate_access_requests").await, 0);
    ask(store, &notary(), &mapping, wanted("anna"), now).await.unwrap();
    assert!(refused(wanted("anna")).await.contains("already: request"));
    let gone = judge(store, &mapping, "no-such-request", now, |_| plain(&mapping)).await.err().unwrap();
    assert!(matches!(gone, RequestError::Unknown(_)));
}

async fn a_quorum_counts_approvals_of_one_impact(database: &Database) {
    with_people(database).await;
    let (store, mapping, now) = (&database.store, mapping(2), noon());
    let request = ask(store, &notary(), &mapping, wanted("anna"), now).await.unwrap();
    let sha =
        async || judge(store, &mapping, &request.id, now, |_| plain(&mapping)).await.unwrap().impact_sha256;
    let first = sha().await;
    let decided = approve(store, &notary(), &mapping, (&request.id, &first), "petra", now, Plain(&mapping))
        .await
        .unwrap();
    assert_eq!(decided, Decided::Counted { approvals: 1, quorum: 2 });
    let again = approve(store, &notary(), &mapping, (&request.id, &first), "petra", now, Plain(&mapping))
        .await
        .unwrap();
    assert_eq!(again, Decided::Counted { approvals: 1, quorum: 2 }, "the same approver counts once");
    assert!(groups(database, now).await.is_empty());
    // Now the group opens more than Petra was shown.
    let more = RbacChange::GrantRole { group: GROUP.into(), role: "console-secrets-admin".into() };
    let by = By { name: "olga", reason: None, way: Way::Command, now };
    let terms = Terms { admins: AdminTable::Gate, unknown_admins: false };
    let user = RbacChange::RevokeRole { group: GROUP.into(), role: "console-user".into() };
    grants::change(store, &notary(), &[more, user], terms, by).await.unwrap();
    let second = sha().await;
    assert_ne!(second, first, "another impact has another digest");
    let stale =
        approve(store, &notary(), &mapping, (&request.id, &first), "paul", now, Plain(&mapping)).await;
    assert!(
        matches!(&stale, Err(RequestError::ImpactChanged { current }) if *current == second),
        "{stale:?}"
    );
    let decided = approve(store, &notary(), &mapping, (&request.id, &second), "paul", now, Plain(&mapping))
        .await
        .unwrap();
    assert_eq!(
        decided,
        Decided::Counted { approvals: 1, quorum: 2 },
        "Petra's approval was of another impact"
    );
    let decided = approve(store, &notary(), &mapping, (&request.id, &second), "pia", now, Plain(&mapping))
        .await
        .unwrap();
    assert!(matches!(decided, Decided::Granted { .. }), "{decided:?}");
    assert!(groups(database, now).await.contains(GROUP));
}

async fn a_request_is_denied_withdrawn_or_too_old(database: &Database) {
    with_people(database).await;
    let (store, mapping, now) = (&database.store, mapping(1), noon());
    let one = ask(store, &notary(), &mapping, wanted("anna"), now).await.unwrap();
    let sha = judge(store, &mapping, &one.id, now, |_| plain(&mapping)).await.unwrap().impact_sha256;
    let denied =
        deny(store, &notary(), &mapping, &one.id, ("petra", Some("use staging")), now).await.unwrap();
    assert_eq!((denied.state, denied.comment.as_deref()), (RequestState::Denied, Some("use staging")));
    let late = approve(store, &notary(), &mapping, (&one.id, &sha), "paul", now, Plain(&mapping)).await;
    assert!(matches!(late, Err(RequestError::Closed("denied"))), "{late:?}");
    let two = ask(store, &notary(), &mapping, wanted("anna"), now).await.unwrap();
    assert_eq!(
        withdraw(store, &notary(), &two.id, "anna", now).await.unwrap().state,
        RequestState::Withdrawn
    );
    let three = ask(store, &notary(), &mapping, wanted("anna"), now).await.unwrap();
    let sha = judge(store, &mapping, &three.id, now, |_| plain(&mapping)).await.unwrap().impact_sha256;
    let week = now + TimeDelta::days(7);
    let old = approve(store, &notary(), &mapping, (&three.id, &sha), "paul", week, Plain(&mapping)).await;
    assert!(matches!(old, Err(RequestError::TooOld)), "{old:?}");
    assert!(
        ask(store, &notary(), &mapping, wanted("anna"), week).await.is_ok(),
        "one that is too old is in nobody's way"
    );
    assert_eq!(database.number("SELECT count(*) FROM gate_grants").await, 0);
}

/// Two approvers and the one who asked act at once, again and again: one of them wins, and there is one grant or none.
/// `GATE_ROUNDS` sets how often.
async fn races_have_one_winner(database: &Database) {
    with_people(database).await;
    let (store, now) = (&database.store, noon());
    let begun = std::time::Instant::now();
    let rounds =
        std::env::var("GATE_ROUNDS").map_or(12, |text| text.parse().expect("GATE_ROUNDS is a number"));
    let (mut taken_back, mut approving) = (0, std::time::Duration::ZERO);
    for round in 0..rounds {
        let mapping = mapping(1 + u32::from(round % 2 == 1));
        let request = ask(store, &notary(), &mapping, wanted("anna"), now).await.unwrap();
        let sha = judge(store, &mapping, &request.id, now, |_| plain(&mapping)).await.unwrap().impact_sha256;
        let look = (request.id.as_str(), sha.as_str());
        let (one_notary, two_notary, three_notary) = (notary(), notary(), notary());
        // An approval works the impact out first: taking a request back at once would win every time.
        let late = approving * (round * 37 % 150) / 100;
        let started = std::time::Instant::now();
        let first = async {
            let one = approve(store, &one_notary, &mapping, look, "petra", now, Plain(&mapping)).await;
            (one, started.elapsed())
        };
        let take_back = async {
            tokio::time::sleep(late).await;
            withdraw(store, &three_notary, &request.id, "anna", now).await
        };
        let second = approve(store, &two_notary, &mapping, look, "paul", now, Plain(&mapping));
        let ((one, took), two, three) = tokio::join!(first, second, take_back);
        approving = took;
        let granted = [&one, &two].iter().filter(|one| matches!(one, Ok(Decided::Granted { .. }))).count();
        let stored = store.access_request(&request.id).await.unwrap().unwrap();
        let grants = database.number("SELECT count(*) FROM gate_grants WHERE revoked_at_utc IS NULL").await;
        let context = format!("round {round}: {one:?}, {two:?}, {three:?}, {:?}", stored.state);
        let expected = match three {
            Ok(_) => {
                taken_back += 1;
                (0, 0, RequestState::Withdrawn)
            }
            Err(_) => (1, 1, RequestState::Approved),
        };
        assert_eq!((granted, grants, stored.state), expected, "{context}");
        for grant in store.timed_grants().await.unwrap() {
            let end = RbacChange::EndGrant { id: grant.id, admin: grant.admin, group: grant.group };
            let terms = Terms { admins: AdminTable::Gate, unknown_admins: false };
            let by = By { name: "olga", reason: None, way: Way::Command, now };
            grants::change(store, &notary(), &[end], terms, by).await.unwrap();
        }
    }
    let place = if database.is_postgres() { "Postgres" } else { "SQLite" };
    let granted = rounds - taken_back;
    // On so few rounds one side may win by chance, and on these not.
    assert!(
        rounds < 100 || (granted > rounds / 10 && taken_back > rounds / 10),
        "{granted} of {rounds}: no race"
    );
    println!(
        "{rounds} races of two approvers and one who asked on {place}: {granted} granted, {taken_back} taken back, one \
         winner each ({:.1?})",
        begun.elapsed()
    );
}

async fn an_erased_admin_leaves_no_request(database: &Database) {
    with_people(database).await;
    let (store, mapping, now) = (&database.store, mapping(2), noon());
    let request = ask(store, &notary(), &mapping, wanted("anna"), now).await.unwrap();
    let sha = judge(store, &mapping, &request.id, now, |_| plain(&mapping)).await.unwrap().impact_sha256;
    approve(store, &notary(), &mapping, (&request.id, &sha), "petra", now, Plain(&mapping)).await.unwrap();
    database.execute("DELETE FROM admins WHERE id = 'petra'").await;
    assert_eq!(database.number("SELECT count(*) FROM gate_access_votes").await, 0);
    database.execute("DELETE FROM admins WHERE id = 'anna'").await;
    assert_eq!(database.number("SELECT count(*) FROM gate_access_requests").await, 0);
}

on_both!(
    an_approved_request_is_a_grant_until_its_end,
    only_others_of_the_rules_groups_may_decide,
    what_cannot_be_asked_for_is_refused,
    a_quorum_counts_approvals_of_one_impact,
    a_request_is_denied_withdrawn_or_too_old,
    races_have_one_winner,
    an_erased_admin_leaves_no_request,
);
