//! Reviews of access: what they show, who may decide, what is overdue, and what the chain has of it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use console_gate::upkeep::Upkeep;
use console_gate::upkeep::reviews::ReviewRules;
use grants::reviews::{self, ReviewError, ReviewTerms};
use policy::mapping::Mapping;
use store::reviews::{Overdue, Review, ReviewItem};

use crate::database::{Database, literal, noon};
use crate::scene::{Scene, notary};

on_both!(
    every_live_grant_is_an_item_with_its_last_use,
    nobody_decides_about_access_of_their_own,
    what_is_revoked_is_gone_and_what_is_kept_stays,
    one_review_is_open_and_it_closes_when_all_is_decided,
    what_nobody_decides_is_kept_or_suspended_by_its_group,
    a_quarterly_review_opens_once,
    an_admin_who_is_erased_leaves_no_name_in_reviews,
);

const MAPPING: &str = r#"
version = 1
unmapped = "deny"
[clusters]
S1 = "v2"
[blueprints.audit]
cluster = "S1"
[blueprints.audit.routes]
"GET /audit" = { legacy = ["superadmin"], role = "console-audit-user" }
"#;

fn groups() -> BTreeMap<String, Overdue> {
    [("raxx-support-team".to_owned(), Overdue::Suspend)].into()
}

/// Anna in two groups, Ben in one and, for an hour more, in another; Carol is disabled; a ticket's grant for Anna.
async fn fill(scene: &Scene) {
    let join = |admin: &str, group: &str| {
        format!(
            "INSERT INTO rbac_user_groups (user_id, group_id, granted_by)
             SELECT '{admin}', g.id, 'olga' FROM rbac_groups g WHERE g.name = '{group}';"
        )
    };
    let (begun, over, later) =
        (noon() - TimeDelta::hours(8), noon() - TimeDelta::hours(1), noon() + TimeDelta::hours(1));
    let timed = |id: &str, ends: DateTime<Utc>| {
        format!(
            "INSERT INTO gate_grants (id, admin_id, group_id, origin, granted_at_utc, starts_at_utc, ends_at_utc, reason,
                                      granted_by)
             SELECT '{id}', 'ben', g.id, 'timed', {0}, {0}, {1}, 'x', 'olga' FROM rbac_groups g
              WHERE g.name = 'raxx-devops-team';",
            literal(begun),
            literal(ends)
        )
    };
    let statements = [
        "INSERT INTO admins (id, email) VALUES ('anna', 'anna@raxx.app'), ('ben', 'benjamin@raxx.app');".to_owned(),
        format!("INSERT INTO admins (id, email, disabled_at_utc) VALUES ('carol', 'c@raxx.app', {});", literal(over)),
        join("anna", "raxx-platform-admins"),
        join("anna", "raxx-support-team"),
        join("ben", "raxx-support-team"),
        join("carol", "raxx-support-team"),
        timed("over", over),
        timed("live", later),
        format!(
            "INSERT INTO rbac_ticket_grants (id, user_id, role_id, ticket_id, customer_id, granted_by, granted_at_utc)
             SELECT 'ticket', 'anna', r.id, '42', 7, 'olga', {} FROM rbac_roles r WHERE r.name = 'raptor-audit-support'",
            literal(begun)
        ),
    ];
    scene.database.execute(&statements.concat()).await;
}

async fn open(scene: &Scene) -> (Review, Vec<ReviewItem>) {
    let groups = groups();
    let terms =
        ReviewTerms { due_in: TimeDelta::days(14), overdue: Overdue::Keep, groups: &groups, log_days: 30 };
    let mapping = Mapping::parse("", MAPPING).unwrap();
    let store = &scene.database.store;
    let review =
        reviews::open(store, &notary(), &terms, Some(&mapping), ("olga", scene.now())).await.unwrap();
    let items = store.review_items(&review.id).await.unwrap();
    (review, items)
}

fn find<'i>(items: &'i [ReviewItem], admin: &str, granted: &str) -> &'i ReviewItem {
    items.iter().find(|item| item.admin.as_deref() == Some(admin) && item.granted == granted).unwrap()
}

async fn decide(scene: &Scene, item: &ReviewItem, keeps: bool, by: &str) -> Result<(), ReviewError> {
    let by = (by, Some("looked at it"), scene.now());
    reviews::decide(&scene.database.store, &notary(), &item.id, keeps, by).await.map(drop)
}

async fn members(scene: &Scene, group: &str) -> Vec<String> {
    let members = scene.database.store.memberships().await.unwrap();
    members.into_iter().filter(|one| *one.group == *group).map(|one| one.admin.to_string()).collect()
}

async fn steps(scene: &Scene) -> Vec<String> {
    let detail =
        if scene.database.is_postgres() { "detail->>'step'" } else { "json_extract(detail, '$.step')" };
    let query = format!(
        "SELECT {detail} FROM gate_audit_events WHERE event_type = 'access_review' ORDER BY occurred_at_utc, id"
    );
    scene.database.texts(&query).await
}

async fn every_live_grant_is_an_item_with_its_last_use(database: Database) {
    let scene = Scene::new(database);
    fill(&scene).await;
    let used = noon() - TimeDelta::days(3);
    let decision = |hash: &str, actor: &str, answer: &str, at: DateTime<Utc>| {
        let key = if scene.database.is_postgres() { format!("'\\x{hash}'") } else { format!("x'{hash}'") };
        format!(
            "INSERT INTO gate_decisions (row_sha256, hour_utc, method, path, route, cluster, gate, actor_kind, actor_id,
                                         answer, reason, mapping_sha256, count, last_seen_at_utc)
             VALUES ({key}, {0}, 'GET', '/audit', 'GET /audit', 'S1', 'v2', 'admin', '{actor}', '{answer}', '', 'm', 1, {0});",
            literal(at)
        )
    };
    let (first, second, third) = ("01".repeat(32), "02".repeat(32), "03".repeat(32));
    scene
        .database
        .execute(
            &[
                decision(&first, "anna", "allow", used - TimeDelta::days(1)),
                decision(&second, "anna", "allow", used),
                decision(&third, "anna", "deny", noon() - TimeDelta::days(1)),
            ]
            .concat(),
        )
        .await;
    let (review, items) = open(&scene).await;
    let shown: Vec<_> = items
        .iter()
        .map(|item| {
            (
                item.admin.as_deref().unwrap(),
                item.granted.as_str(),
                item.origin.as_str(),
                item.overdue.as_str(),
            )
        })
        .collect();
    let expected = [
        ("anna", "raptor-audit-support", "ticket", "keep"),
        ("anna", "raxx-platform-admins", "direct", "keep"),
        ("anna", "raxx-support-team", "direct", "suspend"),
        ("ben", "raxx-devops-team", "timed", "keep"),
        ("ben", "raxx-support-team", "direct", "suspend"),
    ];
    assert_eq!(shown, expected);
    let with_role = |item: &&ReviewItem| item.roles.contains("\"console-audit-user\"");
    let of_anna = items.iter().filter(|item| item.admin.as_deref() == Some("anna"));
    for item in of_anna.clone().filter(with_role) {
        assert_eq!(item.last_used, Some(used), "{item:?}");
    }
    assert!(of_anna.clone().any(|item| with_role(&item)), "one of the groups brings the role");
    assert!(items.iter().filter(|item| !with_role(item)).all(|item| item.last_used.is_none()), "{items:?}");
    let is_bens = |item: &&ReviewItem| item.admin.as_deref() == Some("ben");
    assert!(items.iter().filter(is_bens).all(|item| item.last_used.is_none()), "it was not Ben who used it");
    assert_eq!(review.used_since, noon() - TimeDelta::days(30));
    assert_eq!(steps(&scene).await, ["opened"]);
}

async fn nobody_decides_about_access_of_their_own(database: Database) {
    let scene = Scene::new(database);
    fill(&scene).await;
    let (_, items) = open(&scene).await;
    let item = find(&items, "ben", "raxx-support-team");
    for name in ["ben", "Ben", "benjamin@raxx.app", "benjamin"] {
        for keeps in [true, false] {
            let outcome = decide(&scene, item, keeps, name).await;
            assert!(matches!(outcome, Err(ReviewError::OwnAccess(_))), "{name}: {outcome:?}");
        }
    }
    assert!(members(&scene, "raxx-support-team").await.contains(&"ben".to_owned()));
    assert_eq!(steps(&scene).await, ["opened"]);
    decide(&scene, item, true, "anna").await.unwrap();
    let outcome = decide(&scene, item, false, "olga").await;
    assert!(matches!(outcome, Err(ReviewError::Decided)), "{outcome:?}");
    assert!(members(&scene, "raxx-support-team").await.contains(&"ben".to_owned()), "it was kept");
}

async fn what_is_revoked_is_gone_and_what_is_kept_stays(database: Database) {
    let scene = Scene::new(database);
    fill(&scene).await;
    let (_, items) = open(&scene).await;
    let before = scene.database.epoch().await;
    decide(&scene, find(&items, "ben", "raxx-support-team"), false, "olga").await.unwrap();
    assert!(scene.database.epoch().await > before, "no gate may act on what it knew");
    decide(&scene, find(&items, "ben", "raxx-devops-team"), false, "olga").await.unwrap();
    decide(&scene, find(&items, "anna", "raptor-audit-support"), false, "olga").await.unwrap();
    decide(&scene, find(&items, "anna", "raxx-support-team"), true, "olga").await.unwrap();
    assert_eq!(members(&scene, "raxx-support-team").await, ["anna", "carol"]);
    let store = &scene.database.store;
    assert!(store.timed_grants().await.unwrap().iter().all(|grant| grant.id != "live"));
    assert_eq!(store.ticket_grants(None).await.unwrap(), []);
    let recorded = "SELECT count(*) FROM rbac_grants_audit WHERE event_type = 'revoke' AND justification LIKE 'access review %'";
    assert_eq!(scene.database.number(recorded).await, 3);
    assert_eq!(steps(&scene).await, ["opened", "revoked", "revoked", "revoked", "kept"]);
}

async fn one_review_is_open_and_it_closes_when_all_is_decided(database: Database) {
    let scene = Scene::new(database);
    fill(&scene).await;
    let (review, items) = open(&scene).await;
    let store = &scene.database.store;
    let groups = groups();
    let terms =
        ReviewTerms { due_in: TimeDelta::days(1), overdue: Overdue::Keep, groups: &groups, log_days: 1 };
    let again = reviews::open(store, &notary(), &terms, None, ("olga", scene.now())).await;
    assert!(matches!(again, Err(ReviewError::OpenAlready)), "{again:?}");
    let close = async || reviews::close(store, &notary(), &review.id, ("olga", scene.now())).await;
    let early = close().await;
    assert!(matches!(early, Err(ReviewError::Undecided(5))), "{early:?}");
    for item in &items {
        decide(&scene, item, true, "olga").await.unwrap();
    }
    close().await.unwrap();
    assert!(matches!(close().await, Err(ReviewError::Closed)));
    // What the sealed row says of the decisions is what the tables say.
    let items = store.review_items(&review.id).await.unwrap();
    let details = scene
        .database
        .texts("SELECT CAST(detail AS TEXT) FROM gate_audit_events WHERE event_type = 'access_review'")
        .await;
    assert!(
        details.iter().any(|detail| detail.contains("closed") && detail.contains(&reviews::digest(&items)))
    );
}

fn upkeep(scene: &Scene, period: Option<TimeDelta>) -> Upkeep {
    Upkeep {
        store: scene.database.store.clone(),
        notary: notary(),
        clock: scene.clock.clone(),
        alerts: scene.alerts(),
        gate: "gate a".into(),
        remind: None,
        retention_days: None,
        reviews: ReviewRules {
            period,
            due_in: TimeDelta::days(14),
            overdue: Overdue::Keep,
            groups: groups(),
            log_days: 30,
        },
    }
}

async fn subjects(scene: &Scene) -> Vec<String> {
    scene.alerts().send_due().await.unwrap();
    scene.smtp.take();
    scene.slack.take().into_iter().map(|sent| sent.subject).collect()
}

async fn what_nobody_decides_is_kept_or_suspended_by_its_group(database: Database) {
    let scene = Scene::new(database);
    fill(&scene).await;
    let (review, items) = open(&scene).await;
    decide(&scene, find(&items, "anna", "raxx-support-team"), true, "olga").await.unwrap();
    scene.turn(TimeDelta::days(11));
    upkeep(&scene, None).review().await.unwrap();
    assert!(subjects(&scene).await[0].contains("is due at"), "somebody hears of it in time");
    assert_eq!(members(&scene, "raxx-support-team").await, ["anna", "ben", "carol"]);
    scene.turn(TimeDelta::days(3));
    upkeep(&scene, None).review().await.unwrap();
    let sent = subjects(&scene).await;
    assert!(sent.len() == 1 && sent[0].contains("was overdue"), "{sent:?}");
    // Ben's membership is suspended; Anna's was kept by somebody; Carol is disabled, and so not under review.
    assert_eq!(members(&scene, "raxx-support-team").await, ["anna", "carol"]);
    assert_eq!(members(&scene, "raxx-platform-admins").await, ["anna"]);
    let store = &scene.database.store;
    let review = store.review(&review.id).await.unwrap().unwrap();
    assert_eq!(review.closed_by.as_deref(), Some("console-gate"));
    let items = store.review_items(&review.id).await.unwrap();
    let decision = |admin, granted| find(&items, admin, granted).decision.clone().unwrap();
    assert_eq!(decision("ben", "raxx-support-team"), "suspended");
    assert_eq!(decision("anna", "raxx-platform-admins"), "kept_overdue");
    assert_eq!(decision("anna", "raxx-support-team"), "kept");
    scene.turn(TimeDelta::days(1));
    upkeep(&scene, None).review().await.unwrap();
    assert_eq!(subjects(&scene).await, Vec::<String>::new());
}

async fn a_quarterly_review_opens_once(database: Database) {
    let scene = Scene::new(database);
    fill(&scene).await;
    let count = async || scene.database.store.reviews(100).await.unwrap().len();
    let quarter = Some(TimeDelta::days(91));
    upkeep(&scene, None).review().await.unwrap();
    assert_eq!(count().await, 0, "only where the settings say so");
    scene.turn(TimeDelta::hours(1));
    upkeep(&scene, quarter).review().await.unwrap();
    upkeep(&scene, quarter).review().await.unwrap();
    assert_eq!(count().await, 1);
    assert!(subjects(&scene).await[0].contains("is open until"));
    scene.turn(TimeDelta::days(90));
    upkeep(&scene, quarter).review().await.unwrap();
    assert_eq!(count().await, 1, "it was overdue, is closed, and no quarter is over");
    scene.turn(TimeDelta::days(1));
    upkeep(&scene, quarter).review().await.unwrap();
    assert_eq!(count().await, 2);
}

async fn an_admin_who_is_erased_leaves_no_name_in_reviews(database: Database) {
    let scene = Scene::new(database);
    fill(&scene).await;
    let (review, items) = open(&scene).await;
    decide(&scene, find(&items, "ben", "raxx-support-team"), true, "anna").await.unwrap();
    let before = reviews::digest(&scene.database.store.review_items(&review.id).await.unwrap());
    scene.database.execute("DELETE FROM admins WHERE id = 'ben'").await;
    let items = scene.database.store.review_items(&review.id).await.unwrap();
    assert_eq!(items.len(), 5);
    assert!(items.iter().all(|item| item.admin.as_deref() != Some("ben")), "{items:?}");
    assert_eq!(items.iter().filter(|item| item.admin.is_none()).count(), 2);
    assert_eq!(reviews::digest(&items), before, "what was decided can still be proven");
    // What is about nobody can still be decided.
    let left: Vec<_> = items.iter().filter(|item| item.decision.is_none()).collect();
    for item in left {
        decide(&scene, item, false, "olga").await.unwrap();
    }
    reviews::close(&scene.database.store, &notary(), &review.id, ("olga", scene.now())).await.unwrap();
}
