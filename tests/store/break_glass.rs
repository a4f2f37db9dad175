//! Break-glass: what a passkey has to sign, what has to be accepted before a session starts, and how it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clock::SystemClock;
use grants::alerts::{Alerts, Channel, ChannelError, Message};
use grants::break_glass::{BreakGlass, BreakGlassError, Ended, Started, Wanted, end, look, requests, review};
use grants::passkeys::{Answer, Challenge, PasskeyError, Passkeys, Proof, invite, revoke};
use grants::record::ActorKind;
use grants::{AdminTable, By, Terms};
use ledger::AuditEvent;
use ledger::event::BreakGlassUsed;
use ledger::event::Way;
use policy::identity::Subject;
use policy::ids::AdminId;
use policy::method::Method;
use policy::rbac::Access;
use serde_json::{Value, json};
use store::rbac_changes::RbacChange;
use webauthn_authenticator_rs::WebauthnAuthenticator as _;
use webauthn_authenticator_rs::prelude::Url;
use webauthn_authenticator_rs::softpasskey::SoftPasskey;

use crate::audit::notary;
use crate::database::{Database, literal, noon};

const ORIGIN: &str = "https://console.example.org";
const REASON: &str = "the database is down, and nobody on call answers";

/// A channel that accepts alerts while it is up.
#[derive(Default)]
struct Slack {
    is_down: AtomicBool,
    accepted: AtomicUsize,
}

#[async_trait::async_trait]
impl Channel for Slack {
    fn name(&self) -> &'static str {
        "slack"
    }

    async fn send(&self, message: Message<'_>) -> Result<String, ChannelError> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(ChannelError::Unreachable("connection refused".to_owned()));
        }
        let number = self.accepted.fetch_add(1, Ordering::SeqCst);
        Ok(format!("{number}:{}", message.key))
    }
}

/// Anna and Petra may have sessions, Ben may not.
struct Scene<'d> {
    database: &'d Database,
    glass: BreakGlass,
    slack: Arc<Slack>,
    key: SoftPasskey,
    now: DateTime<Utc>,
}

impl<'d> Scene<'d> {
    async fn new(database: &'d Database) -> Scene<'d> {
        for id in ["anna", "petra", "ben"] {
            database.store.add_admin(&AdminId::new(id), &format!("{id}@example.org"), id).await.unwrap();
        }
        for id in ["anna", "petra"] {
            database.store.join_group(&AdminId::new(id), "raxx-platform-admins", "t").await.unwrap();
        }
        let role = "only-in-emergencies".to_owned();
        let wanted = [
            RbacChange::CreateRole { role: role.clone(), description: String::new() },
            RbacChange::GrantRole { group: "break-glass".into(), role },
        ];
        let terms = Terms { admins: AdminTable::Gate, unknown_admins: false };
        let by = By { name: "olga", reason: None, way: Way::Command, now: noon() };
        grants::change(&database.store, &notary(), &wanted, terms, by).await.unwrap();
        let slack = Arc::new(Slack::default());
        let store = database.store.clone();
        let channels: Vec<Arc<dyn Channel>> = vec![slack.clone()];
        let alerts = Alerts::new(store.clone(), Arc::new(SystemClock), channels, Duration::from_secs(20));
        let passkeys = Some(Passkeys::new(ORIGIN, None).unwrap());
        let glass = BreakGlass { store, notary: notary(), passkeys, alerts };
        Scene { database, glass, slack, key: SoftPasskey::new(true), now: noon() }
    }

    /// With a passkey of Anna's.
    async fn with_passkey(database: &'d Database) -> Scene<'d> {
        let mut scene = Scene::new(database).await;
        let mut key = SoftPasskey::new(true);
        scene.register("anna", &mut key).await;
        scene.key = key;
        scene
    }

    async fn register(&self, admin: &str, key: &mut SoftPasskey) {
        let code = invite(self.glass.asking(admin, self.now), "olga").await.unwrap();
        let asking = self.glass.asking(admin, self.now);
        let passkeys = self.glass.passkeys().unwrap();
        let challenge = passkeys.begin(asking, "in software", Proof::Code(&code)).await.unwrap();
        passkeys.register(asking, &created(key, &challenge, ORIGIN, |_| {})).await.unwrap();
    }

    async fn challenge(&self) -> Challenge {
        self.glass.challenge("anna", &wanted(), self.now).await.unwrap()
    }

    async fn start(&self, answer: &Answer) -> Result<Started, BreakGlassError> {
        self.glass.start("anna", &wanted(), answer, Some("r-1"), self.now).await
    }

    async fn started(&mut self) -> Started {
        let challenge = self.challenge().await;
        let answer = signed(&mut self.key, &challenge, ORIGIN, |_| {});
        self.start(&answer).await.unwrap()
    }

    async fn access(&self, at: DateTime<Utc>) -> Access {
        let subject = Subject::Admin { id: AdminId::new("anna"), session: None };
        self.database.store.access(&subject, at).await.unwrap()
    }

    async fn holds(&self, at: DateTime<Utc>) -> bool {
        self.access(at).await.roles.contains("only-in-emergencies")
    }

    async fn sessions(&self) -> i64 {
        self.database.number("SELECT count(*) FROM rbac_break_glass_sessions").await
    }

    /// The steps that the audit has, the newest first.
    async fn steps(&self, event_type: &str) -> Vec<String> {
        let events = self.database.store.recent(100).await.unwrap();
        let events = events.into_iter().filter(|event| event.event_type == event_type);
        events
            .map(|event| {
                let detail = event.detail.unwrap().0;
                let why = detail["detail"]["why"].as_str().unwrap_or_default();
                [detail["step"].as_str().unwrap(), why].join(" ").trim_end().to_owned()
            })
            .collect()
    }
}

fn wanted() -> Wanted {
    Wanted::new(REASON, None, Some("RAXX-7")).unwrap()
}

/// What a browser sends back, after `odd` has changed what it was asked for.
fn signed(
    key: &mut SoftPasskey,
    challenge: &Challenge,
    origin: &str,
    odd: impl FnOnce(&mut Value),
) -> Answer {
    let mut options = challenge.options.clone();
    odd(&mut options);
    let options = serde_json::from_value(json!({ "publicKey": options })).unwrap();
    let credential = key.do_authentication(Url::parse(origin).unwrap(), options).unwrap();
    Answer { challenge: challenge.challenge.clone(), credential: serde_json::to_value(credential).unwrap() }
}

fn created(
    key: &mut SoftPasskey,
    challenge: &Challenge,
    origin: &str,
    odd: impl FnOnce(&mut Value),
) -> Answer {
    let mut options = challenge.options.clone();
    odd(&mut options);
    let options = serde_json::from_value(json!({ "publicKey": options })).unwrap();
    let credential = key.do_registration(Url::parse(origin).unwrap(), options).unwrap();
    Answer { challenge: challenge.challenge.clone(), credential: serde_json::to_value(credential).unwrap() }
}

fn refusal(outcome: Result<Started, BreakGlassError>) -> &'static str {
    match outcome {
        Err(BreakGlassError::Passkey(PasskeyError::Refused(why))) => why,
        other => panic!("{other:?}"),
    }
}

async fn a_session_starts_with_a_passkey_and_ends_by_itself(database: &Database) {
    let mut scene = Scene::with_passkey(database).await;
    let now = scene.now;
    assert!(!scene.holds(now).await, "the roles of break-glass are nobody's without a session");
    let started = scene.started().await;
    assert_eq!(scene.slack.accepted.load(Ordering::SeqCst), 1);
    assert_eq!(started.ends, now + TimeDelta::minutes(60));
    assert!(scene.holds(now).await && scene.holds(now + TimeDelta::minutes(59)).await);
    assert!(!scene.holds(now + TimeDelta::minutes(60)).await);
    let part = scene.access(now).await.break_glass.expect("the access says what break-glass brings");
    assert!(part.sessions.contains(started.id.as_str()));
    assert!(!part.roles_without.contains("only-in-emergencies"));
    assert_eq!(scene.access(now + TimeDelta::hours(1)).await.break_glass, None);
    // The rows: what was granted, until when, why, and who was alerted.
    let row = "SELECT event_type || ' ' || target_user_id || ' ' || granted_by || ' ' || justification FROM rbac_grants_audit";
    let row = format!("{row} WHERE event_type LIKE 'break%'");
    assert_eq!(database.texts(&row).await, [format!("break_glass_grant anna anna {REASON}")]);
    let sealed = database.store.recent(50).await.unwrap();
    let sealed = sealed.into_iter().find(|event| event.event_type == "break_glass").unwrap();
    let detail = sealed.detail.unwrap().0;
    assert_eq!(detail["detail"]["alert_receipts"][0]["channel"], "slack", "{detail}");
    assert!(!detail.to_string().contains("anna"), "an erasure leaves details alone: {detail}");
    let events = "SELECT count(*) FROM customer_audit_events WHERE action = 'operator.rbac.grant'";
    assert_eq!(database.number(events).await, 1);
    // Over is recorded once, at the next look, however late.
    assert_eq!(look(&database.store, &notary(), now + TimeDelta::minutes(59)).await.unwrap(), 0);
    let late = now + TimeDelta::days(2);
    let looks = tokio::join!(
        look(&database.store, &scene.glass.notary, late),
        look(&database.store, &scene.glass.notary, late),
    );
    assert_eq!(looks.0.unwrap() + looks.1.unwrap(), 1);
    assert_eq!(look(&database.store, &notary(), late).await.unwrap(), 0);
    let over = "SELECT count(*) FROM rbac_grants_audit WHERE event_type = 'break_glass_expire'";
    assert_eq!(database.number(over).await, 1);
    assert_eq!(scene.steps("break_glass").await, ["expired", "started"]);
}

async fn only_the_right_answer_of_the_right_passkey_starts_one(database: &Database) {
    let mut scene = Scene::with_passkey(database).await;
    let mut other = SoftPasskey::new(true);
    scene.register("petra", &mut other).await;
    let mut key = std::mem::take(&mut scene.key);

    let challenge = scene.challenge().await;
    assert_eq!(challenge.options["userVerification"], "required");
    let unverified = |options: &mut Value| options["userVerification"] = "discouraged".into();
    let answer = signed(&mut key, &challenge, ORIGIN, unverified);
    assert_eq!(refusal(scene.start(&answer).await), "user_not_verified");

    let answer = signed(&mut key, &scene.challenge().await, "https://sub.console.example.org", |_| {});
    assert_eq!(refusal(scene.start(&answer).await), "another_origin");

    let elsewhere = |options: &mut Value| options["rpId"] = "example.org".into();
    let answer = signed(&mut key, &scene.challenge().await, ORIGIN, elsewhere);
    assert_eq!(refusal(scene.start(&answer).await), "another_relying_party");

    let of_petra = database.texts("SELECT credential_id FROM gate_passkeys WHERE admin_id = 'petra'").await;
    let theirs = |options: &mut Value| options["allowCredentials"][0]["id"] = of_petra[0].as_str().into();
    let answer = signed(&mut other, &scene.challenge().await, ORIGIN, theirs);
    assert_eq!(refusal(scene.start(&answer).await), "another_credential");

    // A minute is a minute.
    let challenge = scene.challenge().await;
    let answer = signed(&mut key, &challenge, ORIGIN, |_| {});
    let late = scene.now + TimeDelta::seconds(60);
    let outcome = scene.glass.start("anna", &wanted(), &answer, None, late).await;
    assert_eq!(refusal(outcome), "too_late");
    assert_eq!(refusal(scene.start(&answer).await), "no_such_challenge", "an answer uses its challenge up");

    // What was signed for is an admin, a reason, a duration and a ticket.
    for changed in [
        Wanted::new("another reason, as long as the first one", None, Some("RAXX-7")).unwrap(),
        Wanted::new(REASON, Some(240), Some("RAXX-7")).unwrap(),
        Wanted::new(REASON, None, None).unwrap(),
    ] {
        let answer = signed(&mut key, &scene.challenge().await, ORIGIN, |_| {});
        let outcome = scene.glass.start("anna", &changed, &answer, None, scene.now).await;
        assert_eq!(refusal(outcome), "another_agreement");
    }
    let answer = signed(&mut key, &scene.challenge().await, ORIGIN, |_| {});
    let outcome = scene.glass.start("petra", &wanted(), &answer, None, scene.now).await;
    assert_eq!(refusal(outcome), "another_admin");

    // The answer to one challenge is none to the next.
    let mut answer = signed(&mut key, &scene.challenge().await, ORIGIN, |_| {});
    answer.challenge = scene.challenge().await.challenge;
    assert_eq!(refusal(scene.start(&answer).await), "another_challenge");

    let another = signed(&mut key, &scene.challenge().await, ORIGIN, |_| {});
    let mut answer = signed(&mut key, &scene.challenge().await, ORIGIN, |_| {});
    answer.credential["response"]["signature"] = another.credential["response"]["signature"].clone();
    assert_eq!(refusal(scene.start(&answer).await), "bad_signature");

    // Registering is another purpose.
    let asking = scene.glass.asking("anna", scene.now);
    let add = scene.glass.passkeys().unwrap().ask_for_another(asking, "x").await.unwrap();
    let answer = signed(&mut key, &add, ORIGIN, |_| {});
    assert_eq!(refusal(scene.start(&answer).await), "another_purpose");

    assert_eq!(scene.sessions().await, 0);
    assert_eq!(scene.slack.accepted.load(Ordering::SeqCst), 0, "nobody is woken up for a refusal");
    let refused = scene.steps("passkey").await.into_iter().filter(|step| step.starts_with("refused")).count();
    assert_eq!(refused, 13, "{:?}", scene.steps("passkey").await);

    // The same passkey, rightly.
    scene.key = key;
    scene.started().await;
    assert_eq!(scene.sessions().await, 1);
}

async fn a_count_of_signatures_never_goes_back(database: &Database) {
    let mut scene = Scene::with_passkey(database).await;
    let mut key = std::mem::take(&mut scene.key);
    // Two answers under way at once: the second to arrive was signed first.
    let (first, second) = (scene.challenge().await, scene.challenge().await);
    let first = signed(&mut key, &first, ORIGIN, |_| {});
    let second = signed(&mut key, &second, ORIGIN, |_| {});
    scene.start(&second).await.unwrap();
    assert_eq!(refusal(scene.start(&first).await), "counter_went_back");
    // A copy of the key that has signed less.
    database
        .execute("UPDATE gate_break_glass_reviews SET closed_at_utc = opened_at_utc, closed_by = 'petra'")
        .await;
    database.execute("UPDATE gate_passkeys SET counter = 1000").await;
    let answer = signed(&mut key, &scene.challenge().await, ORIGIN, |_| {});
    assert_eq!(refusal(scene.start(&answer).await), "counter_went_back");
    // A revoked passkey.
    database.execute("UPDATE gate_passkeys SET counter = 0").await;
    let challenge = scene.challenge().await;
    let id = database.texts("SELECT id FROM gate_passkeys").await.remove(0);
    assert!(revoke(scene.glass.asking("anna", scene.now), &id, "olga").await.unwrap());
    assert!(!revoke(scene.glass.asking("anna", scene.now), &id, "olga").await.unwrap());
    assert_eq!(refusal(scene.start(&signed(&mut key, &challenge, ORIGIN, |_| {})).await), "revoked");
    let none = scene.glass.challenge("anna", &wanted(), scene.now).await;
    assert!(matches!(none, Err(BreakGlassError::Passkey(PasskeyError::NoPasskey))), "{none:?}");
    assert_eq!(scene.sessions().await, 1);
}

async fn without_an_accepted_alert_no_session_starts(database: &Database) {
    let mut scene = Scene::with_passkey(database).await;
    let mut key = std::mem::take(&mut scene.key);
    scene.slack.is_down.store(true, Ordering::SeqCst);
    let answer = signed(&mut key, &scene.challenge().await, ORIGIN, |_| {});
    let outcome = scene.start(&answer).await;
    assert!(matches!(outcome, Err(BreakGlassError::NoAlert(_))), "{outcome:?}");
    assert_eq!(scene.sessions().await, 0);
    assert_eq!(database.number("SELECT count(*) FROM gate_break_glass_reviews").await, 0);
    let rows = "SELECT count(*) FROM rbac_grants_audit WHERE event_type LIKE 'break%'";
    assert_eq!(database.number(rows).await, 0);
    // Without channels there is none that could accept it.
    scene.glass.alerts =
        Alerts::new(database.store.clone(), Arc::new(SystemClock), Vec::new(), Duration::from_secs(1));
    let answer = signed(&mut key, &scene.challenge().await, ORIGIN, |_| {});
    assert!(matches!(scene.start(&answer).await, Err(BreakGlassError::NoAlert(_))));
    // Without an origin there are no passkeys.
    scene.glass.passkeys = None;
    assert!(matches!(scene.start(&answer).await, Err(BreakGlassError::NotSetUp)));
    assert!(!scene.holds(scene.now).await);
}

/// Makes every insert into a table fail, or takes that back.
async fn break_inserts(database: &Database, table: &str, broken: bool) {
    let statement = match (database.is_postgres(), broken) {
        (false, true) => format!(
            "CREATE TRIGGER broken_{table} BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'broken'); END"
        ),
        (false, false) => format!("DROP TRIGGER broken_{table}"),
        (true, true) => format!(
            "CREATE OR REPLACE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'broken'; END $$;
             CREATE TRIGGER aaa_broken BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION broken()"
        ),
        (true, false) => format!("DROP TRIGGER aaa_broken ON {table}"),
    };
    database.execute(&statement).await;
}

/// Each insert of a start is made to fail; then nothing has changed (I-9).
async fn a_start_is_recorded_or_does_not_happen(database: &Database) {
    let mut scene = Scene::with_passkey(database).await;
    let mut key = std::mem::take(&mut scene.key);
    for table in [
        "gate_audit_events",
        "rbac_grants_audit",
        "customer_audit_events",
        "rbac_break_glass_sessions",
        "gate_break_glass_reviews",
    ] {
        let answer = signed(&mut key, &scene.challenge().await, ORIGIN, |_| {});
        break_inserts(database, table, true).await;
        let outcome = scene.start(&answer).await;
        break_inserts(database, table, false).await;
        assert!(outcome.is_err(), "{table}: {outcome:?}");
        for what in [
            "rbac_break_glass_sessions",
            "gate_break_glass_reviews",
            "rbac_grants_audit WHERE event_type LIKE 'break%'",
            "gate_audit_events WHERE event_type = 'break_glass'",
            "customer_audit_events",
        ] {
            let count = database.number(&format!("SELECT count(*) FROM {what}")).await;
            assert_eq!(count, 0, "{table}: {what}");
        }
    }
    assert!(!scene.holds(scene.now).await);
}

async fn only_members_of_eligible_groups_may_have_one(database: &Database) {
    let mut scene = Scene::with_passkey(database).await;
    let mut key = SoftPasskey::new(true);
    scene.register("ben", &mut key).await;
    let refused = scene.glass.challenge("ben", &wanted(), scene.now).await;
    assert!(matches!(refused, Err(BreakGlassError::NotEligible(_))), "{refused:?}");
    // Anna leaves the group between the challenge and the answer.
    let mut key = std::mem::take(&mut scene.key);
    let answer = signed(&mut key, &scene.challenge().await, ORIGIN, |_| {});
    database.store.leave_group(&AdminId::new("anna"), "raxx-platform-admins").await.unwrap();
    assert!(matches!(scene.start(&answer).await, Err(BreakGlassError::NotEligible(_))));
    assert_eq!(scene.slack.accepted.load(Ordering::SeqCst), 0);
    // One who is disabled is nobody.
    database.store.join_group(&AdminId::new("anna"), "raxx-platform-admins", "t").await.unwrap();
    let answer = signed(&mut key, &scene.challenge().await, ORIGIN, |_| {});
    let disable = format!("UPDATE admins SET disabled_at_utc = {} WHERE id = 'anna'", literal(noon()));
    database.execute(&disable).await;
    assert!(matches!(scene.start(&answer).await, Err(BreakGlassError::NotEligible(_))));
    assert_eq!(scene.sessions().await, 0);
}

async fn those_who_could_start_one_end_it(database: &Database) {
    let mut scene = Scene::with_passkey(database).await;
    let (store, now) = (database.store.clone(), scene.now);
    let started = scene.started().await;
    let later = now + TimeDelta::minutes(5);
    let by = |name| By { name, reason: Some("a false alarm"), way: Way::Command, now: later };
    let ended = async |name, kind| end(&store, &notary(), &started.id, (by(name), kind), None).await;
    assert!(matches!(ended("ben", ActorKind::Admin).await, Err(BreakGlassError::NotEligible(_))));
    assert!(
        matches!(ended("anna", ActorKind::Service).await, Err(BreakGlassError::NotEligible(_))),
        "a machine"
    );
    assert!(scene.holds(later).await);
    assert_eq!(ended("petra", ActorKind::Admin).await.unwrap(), Ended::Now);
    assert!(!scene.holds(later).await);
    assert_eq!(ended("anna", ActorKind::Admin).await.unwrap(), Ended::Before);
    assert_eq!(ended("olga", ActorKind::System).await.unwrap(), Ended::Before);
    let gone = end(&store, &notary(), "none", (by("olga"), ActorKind::System), None).await;
    assert!(matches!(gone, Err(BreakGlassError::Unknown(_))));
    let rows =
        "SELECT event_type || ' ' || granted_by FROM rbac_grants_audit ORDER BY created_at_utc, event_type";
    assert_eq!(database.texts(rows).await, ["break_glass_grant anna", "break_glass_expire petra"]);
    // It has ended already: its time is not over as well.
    assert_eq!(look(&store, &notary(), now + TimeDelta::hours(5)).await.unwrap(), 0);
    let who = "SELECT ended_by FROM gate_break_glass_reviews";
    assert_eq!(database.texts(who).await, ["petra"]);
}

async fn an_open_review_blocks_the_next_session(database: &Database) {
    let mut scene = Scene::with_passkey(database).await;
    let (store, now) = (database.store.clone(), scene.now);
    let started = scene.started().await;
    let blocked = scene.glass.challenge("anna", &wanted(), now).await;
    assert!(matches!(blocked, Err(BreakGlassError::ReviewOpen)), "{blocked:?}");
    let closing = async |by, comment, at| review(&store, &notary(), &started.id, (by, comment), at).await;
    assert!(matches!(closing("petra", "seen", now).await, Err(BreakGlassError::NotOver)));
    let later = now + TimeDelta::hours(2);
    scene.now = later;
    let blocked = scene.glass.challenge("anna", &wanted(), later).await;
    assert!(matches!(blocked, Err(BreakGlassError::ReviewOpen)), "over, and not reviewed");
    assert!(matches!(closing("petra", "  ", later).await, Err(BreakGlassError::NoComment)));
    assert!(matches!(closing("anna", "all well", later).await, Err(BreakGlassError::OwnReview)));
    // Two requests, one of them answered; one of another session.
    for (number, session) in [(1, started.id.as_str()), (2, started.id.as_str()), (3, "another")] {
        let used = BreakGlassUsed {
            sessions: vec![session.to_owned()],
            actor_kind: "admin",
            actor_id: "anna".into(),
            login: None,
            request_id: format!("r-{number}"),
            client_address: None,
            method: Method::Get,
            path: "/secrets".into(),
            route: Some("GET /secrets".into()),
            used: vec!["only-in-emergencies".into()],
            mapping_sha256: policy::ids::MappingSha256::new("ab".repeat(32)),
            epoch: None,
        };
        let record = AuditEvent::BreakGlassUsed(Box::new(used)).into_record(now + TimeDelta::minutes(number));
        store.record(&notary().note(record)).await.unwrap();
    }
    let sessions = vec![started.id.clone()];
    let answered = AuditEvent::BreakGlassAnswered { sessions, request_id: "r-2".into(), status: Some(200) };
    store.record(&notary().note(answered.into_record(now + TimeDelta::minutes(2)))).await.unwrap();
    let read = requests(&store, &notary(), &started.id, "petra", later).await.unwrap();
    let read: Vec<_> = read.iter().map(|one| (one.request_id.as_deref().unwrap(), one.status)).collect();
    assert_eq!(read, [("r-1", None), ("r-2", Some(200))]);
    assert_eq!(scene.steps("break_glass").await[0], "read", "who reads them is recorded");
    closing("petra", "it was right", later).await.unwrap();
    assert!(matches!(closing("petra", "again", later).await, Err(BreakGlassError::ReviewClosed)));
    let closed =
        "SELECT closed_by || ' ' || comment || ' ' || CAST(requests AS TEXT) FROM gate_break_glass_reviews";
    assert_eq!(database.texts(closed).await, ["petra it was right 2"]);
    assert_eq!(scene.steps("break_glass").await[0], "closed");
    // Now it may be.
    scene.started().await;
    assert_eq!(scene.sessions().await, 2);
}

/// Somebody writes a session by SQL: somebody else has to look at it.
async fn a_session_that_the_gate_has_not_started_is_reviewed_too(database: &Database) {
    let scene = Scene::with_passkey(database).await;
    let now = scene.now;
    let insert = |id: &str, starts: DateTime<Utc>| {
        format!(
            "INSERT INTO rbac_break_glass_sessions (id, user_id, justification, granted_by, granted_at_utc, expires_at_utc)
             VALUES ('{id}', 'anna', 'none', 'self', {}, {})",
            literal(starts),
            literal(starts + TimeDelta::hours(9)),
        )
    };
    database.execute(&insert("by-sql", now)).await;
    database.execute(&insert("long-ago", now - TimeDelta::days(9))).await;
    look(&database.store, &notary(), now).await.unwrap();
    look(&database.store, &notary(), now).await.unwrap();
    assert_eq!(scene.steps("break_glass").await, ["found"]);
    let blocked = scene.glass.challenge("anna", &wanted(), now).await;
    assert!(matches!(blocked, Err(BreakGlassError::ReviewOpen)), "{blocked:?}");
    // It is over after four hours, whatever it says.
    assert_eq!(look(&database.store, &notary(), now + TimeDelta::hours(4)).await.unwrap(), 1);
}

async fn a_first_passkey_needs_a_code_and_a_further_one_a_passkey(database: &Database) {
    let scene = Scene::new(database).await;
    let (now, passkeys) = (scene.now, scene.glass.passkeys().unwrap());
    let anna = scene.glass.asking("anna", now);
    let nobody = invite(scene.glass.asking("nobody", now), "olga").await;
    assert!(matches!(nobody, Err(PasskeyError::NoAdmin(_))), "{nobody:?}");
    let old = invite(anna, "olga").await.unwrap();
    let code = invite(anna, "olga").await.unwrap();
    let kept = database.texts("SELECT code_sha256 FROM gate_passkey_invites").await;
    assert!(kept.len() == 1 && !kept[0].contains(code.as_str()), "{kept:?}");
    let later = scene.glass.asking("anna", now + TimeDelta::minutes(15));
    for (asking, code) in [
        (anna, "ABCD-EFGH-JKLM-NPQR-STUV-WXYZ"),
        (anna, old.as_str()),
        (scene.glass.asking("petra", now), code.as_str()),
        (later, code.as_str()),
    ] {
        let refused = passkeys.begin(asking, "key", Proof::Code(code)).await;
        assert!(matches!(refused, Err(PasskeyError::BadCode)), "{refused:?}");
    }
    let mut key = SoftPasskey::new(true);
    // Without verification of the user it is no passkey; and a code that did not register one is still good.
    let challenge = passkeys.begin(anna, "key", Proof::Code(&code)).await.unwrap();
    let unverified = |options: &mut Value| {
        options["authenticatorSelection"]["userVerification"] = "discouraged".into();
    };
    let answer = created(&mut key, &challenge, ORIGIN, unverified);
    let refused = passkeys.register(anna, &answer).await;
    assert!(matches!(refused, Err(PasskeyError::Refused("user_not_verified"))), "{refused:?}");
    let (one, two) = (
        passkeys.begin(anna, "key", Proof::Code(&code)).await.unwrap(),
        passkeys.begin(anna, "key", Proof::Code(&code.to_lowercase().replace('-', ""))).await.unwrap(),
    );
    let answer = created(&mut key, &one, ORIGIN, |_| {});
    passkeys.register(anna, &answer).await.unwrap();
    let again = passkeys.register(anna, &answer).await;
    assert!(matches!(again, Err(PasskeyError::Refused("no_such_challenge"))), "{again:?}");
    let used = passkeys.register(anna, &created(&mut key, &two, ORIGIN, |_| {})).await;
    assert!(matches!(used, Err(PasskeyError::BadCode)), "a code registers one: {used:?}");
    assert!(matches!(invite(anna, "olga").await, Err(PasskeyError::HasPasskeys)));
    // A further one.
    let another = passkeys.ask_for_another(anna, "second").await.unwrap();
    let answer = signed(&mut key, &another, ORIGIN, |_| {});
    let renamed = passkeys.begin(anna, "third", Proof::Passkey(&answer)).await;
    assert!(matches!(renamed, Err(PasskeyError::Refused("another_agreement"))), "{renamed:?}");
    let another = passkeys.ask_for_another(anna, "second").await.unwrap();
    let answer = signed(&mut key, &another, ORIGIN, |_| {});
    let challenge = passkeys.begin(anna, "second", Proof::Passkey(&answer)).await.unwrap();
    let mut second = SoftPasskey::new(true);
    passkeys.register(anna, &created(&mut second, &challenge, ORIGIN, |_| {})).await.unwrap();
    let stored = database.store.passkeys(Some("anna"), false).await.unwrap();
    assert_eq!(stored.len(), 2);
    assert_eq!(stored[0].user_handle, stored[1].user_handle, "a handle is an admin's, and no name");
    assert!(uuid::Uuid::parse_str(&stored[0].user_handle).is_ok());
    // Nothing that signs is stored (I-1).
    let text = &stored[0].credential;
    assert!(!text.contains("private") && text.contains("cred_id"), "{text}");
    // All of it goes with its admin.
    invite(scene.glass.asking("petra", now), "olga").await.unwrap();
    database.execute("DELETE FROM admins WHERE id IN ('anna', 'petra')").await;
    for table in ["gate_passkeys", "gate_passkey_invites", "gate_webauthn_challenges"] {
        assert_eq!(database.number(&format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
    }
}

async fn a_drill_tests_all_but_the_session(database: &Database) {
    let scene = Scene::with_passkey(database).await;
    let mapping = |mode: &str| {
        let text = format!(
            "version = 1\n[clusters]\nC = \"{mode}\"\n[blueprints.t]\ncluster = \"C\"\n[blueprints.t.routes]\n\
             \"GET /x\" = {{ legacy = [\"ops\"], role = \"console-manager\" }}\n"
        );
        policy::mapping::Mapping::parse("t", &text).unwrap()
    };
    let v2 = mapping("v2");
    // A session opens nothing where a legacy gate decides.
    let steps = scene.glass.drill("olga", Ok(&mapping("legacy")), scene.now).await.unwrap();
    let routes = steps.iter().find(|step| step.name == "routes").unwrap();
    assert!(!routes.ok && routes.detail.contains("a legacy gate decides the 1 route"), "{steps:?}");
    let steps = scene.glass.drill("olga", Ok(&v2), scene.now).await.unwrap();
    let failed: Vec<&str> = steps.iter().filter(|step| !step.ok).map(|step| step.name).collect();
    assert_eq!(failed, ["passkeys"], "{steps:?}");
    assert!(steps.iter().any(|step| step.detail.contains("petra")), "{steps:?}");
    scene.register("petra", &mut SoftPasskey::new(true)).await;
    let steps = scene.glass.drill("olga", Ok(&v2), scene.now).await.unwrap();
    assert!(steps.iter().all(|step| step.ok), "{steps:?}");
    assert_eq!(scene.sessions().await, 0);
    assert_eq!(scene.steps("break_glass").await, ["drill", "drill", "drill"]);
    scene.slack.is_down.store(true, Ordering::SeqCst);
    let steps = scene.glass.drill("olga", Ok(&v2), scene.now).await.unwrap();
    let failed: Vec<&str> = steps.iter().filter(|step| !step.ok).map(|step| step.name).collect();
    assert_eq!(failed, ["alert"], "{steps:?}");
}

on_both!(
    a_session_starts_with_a_passkey_and_ends_by_itself,
    only_the_right_answer_of_the_right_passkey_starts_one,
    a_count_of_signatures_never_goes_back,
    without_an_accepted_alert_no_session_starts,
    a_start_is_recorded_or_does_not_happen,
    only_members_of_eligible_groups_may_have_one,
    those_who_could_start_one_end_it,
    an_open_review_blocks_the_next_session,
    a_session_that_the_gate_has_not_started_is_reviewed_too,
    a_first_passkey_needs_a_code_and_a_further_one_a_passkey,
    a_drill_tests_all_but_the_session,
);
