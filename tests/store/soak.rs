//! What the soak gate is judged by: the last flip, and what was judged in shadow.

use chrono::TimeDelta;
use policy::decision::Direction;
use policy::rbac::census::CallerKind;
use store::decisions::DecisionRecord;
use store::evidence::EvidenceKind::Decisions;
use store::soak::{Flip, StoredRequest, StoredUse};
use workbench::drift::Key;

use crate::audit::note;
use crate::database::{Database, noon};
use crate::decisions::decision;
use crate::evidence::mark;

async fn the_last_flip_is_reported(database: &Database) {
    assert_eq!(database.store.rbac_v2_flip().await.unwrap(), None);
    let at = |hours| noon() + TimeDelta::hours(hours);
    // Set again to what it is, it has not changed.
    let table = [(true, at(1)), (true, at(1)), (false, at(3)), (false, at(3)), (true, at(5))];
    for (number, (enabled, changed_at_utc)) in (1..).zip(table) {
        let note = note(number);
        database.store.set_rbac_v2(enabled, "anna", at(number as i64), &note).await.unwrap();
        let flip = Flip { enabled, changed_at_utc };
        assert_eq!(database.store.rbac_v2_flip().await.unwrap(), Some(flip));
    }
}

async fn requests_in_shadow_are_added_up_by_row_and_caller(database: &Database) {
    let hour = TimeDelta::hours(1);
    let of = |actor_id: &str, record: DecisionRecord| DecisionRecord { actor_id: actor_id.into(), ..record };
    let records = [
        decision("/x/1", noon(), 3),
        decision("/x/2", noon() + hour, 4),
        of("ben", decision("/x/1", noon(), 5)),
        DecisionRecord { actor_kind: "machine", ..of("ben", decision("/x/1", noon(), 6)) },
        DecisionRecord { route: "GET /y".into(), answer: "deny", ..decision("/y", noon(), 7) },
        // None of these counts.
        decision("/x/1", noon() - hour, 100),
        DecisionRecord { gate: "legacy", ..decision("/x/1", noon(), 100) },
        DecisionRecord { gate: "v2", ..decision("/x/1", noon(), 100) },
        DecisionRecord { cluster: "S2".into(), route: "GET /z".into(), ..decision("/z", noon(), 100) },
    ];
    database.store.log_decisions(&records, &mark(Decisions)).await.unwrap();
    let used = |route: &str, actor_kind: &str, actor_id: &str, count| StoredUse {
        route: route.into(),
        actor_kind: actor_kind.into(),
        actor_id: actor_id.into(),
        count,
    };
    let expected = [
        used("GET /x/<id>", "admin", "anna", 7),
        used("GET /x/<id>", "admin", "ben", 5),
        used("GET /x/<id>", "machine", "ben", 6),
        used("GET /y", "admin", "anna", 7),
    ];
    let since = DecisionRecord::hour_of(noon());
    let mut judged = database.store.judged_in_shadow("S1", since).await.unwrap();
    judged.sort_by_key(|one| (one.route.clone(), one.actor_kind.clone(), one.actor_id.clone()));
    assert_eq!(judged, expected);
}

async fn the_requests_behind_a_disagreement_are_the_most_frequent_ones(database: &Database) {
    let hour = TimeDelta::hours(1);
    let records = [
        decision("/x/1", noon(), 1),
        decision("/x/2", noon(), 3),
        decision("/x/2", noon() + hour, 4),
        decision("/x/3", noon(), 5),
        DecisionRecord { gate: "v2", ..decision("/x/1", noon(), 100) },
        DecisionRecord { actor_id: "ben".into(), ..decision("/x/1", noon(), 100) },
    ];
    database.store.log_decisions(&records, &mark(Decisions)).await.unwrap();
    let key = Key {
        route: "GET /x/<id>".into(),
        actor_kind: CallerKind::Admin,
        actor_id: "anna".into(),
        direction: Direction::WouldNewlyDeny,
    };
    let request = |path: &str, count, at| StoredRequest {
        method: "GET".into(),
        path: path.into(),
        answer: "allow".into(),
        count,
        last_seen_at_utc: at,
    };
    let expected = [request("/x/2", 7, noon() + hour), request("/x/3", 5, noon())];
    assert_eq!(database.store.requests_behind(&key, 2).await.unwrap(), expected);
}

on_both!(
    the_last_flip_is_reported,
    requests_in_shadow_are_added_up_by_row_and_caller,
    the_requests_behind_a_disagreement_are_the_most_frequent_ones,
);
