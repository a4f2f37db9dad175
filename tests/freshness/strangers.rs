//! Tokens and session keys that nobody has: they cost little, and nothing that belongs to others.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::DateTime;
use console_gate::freshness::{AccessError, AccessResolver};
use policy::identity::Subject;
use policy::identity::machine_token::TokenDigest;
use policy::identity::session_key::{Lookup, TokenForm, TokenVerifier};
use policy::mapping::Freshness;
use policy::rbac::{Access, Standing};
use tokio::time::Instant;

use crate::fake::{Fake, LOOKUP, ROLE, admin};

fn token(name: &str) -> Subject {
    Subject::Machine(TokenDigest::of(name))
}

fn session(name: &str) -> Subject {
    let key_prefix = "session of ".to_owned();
    let verifier =
        TokenVerifier { form: TokenForm::Opaque, lookup: Lookup::Value, key_prefix, payload: None };
    let token = format!("12345678-{}", name.replace(' ', "-"));
    Subject::Session(verifier.verify(&token, DateTime::UNIX_EPOCH).unwrap())
}

/// What an unknown session key is enrolled as.
fn enrolled(subject: &Subject, name: &str) -> String {
    match subject {
        Subject::Session(key) => key.expose().unwrap().to_owned(),
        _ => name.to_owned(),
    }
}

/// As a request does it.
async fn ask(gate: &AccessResolver, subject: &Subject) -> Result<Arc<Access>, AccessError> {
    let control = gate.observe(Freshness::Strict).await?;
    gate.resolve(subject, control.epoch).await
}

fn loads(database: &Fake) -> u64 {
    database.loads.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_tokens_is_looked_up_one_at_a_time_and_the_rest_is_refused() {
    // Two strangers, and the token that is known.
    flood(token, 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_session_keys_is_looked_up_a_few_at_a_time_and_the_rest_is_refused() {
    // Five strangers, and the session that is known.
    flood(session, 6).await;
}

async fn flood(token: fn(&str) -> Subject, most: u64) {
    let database = Fake::new();
    let gate = database.gate();
    database.enrol(&enrolled(&token("known"), "known"));
    database.grant("anna");
    assert_eq!(ask(&gate, &token("known")).await.unwrap().standing, Standing::Active);
    ask(&gate, &admin("anna")).await.unwrap();

    let strangers = (0..2_000).map(|number| token(&format!("stranger {number}")));
    let flood: Vec<_> = strangers
        .map(|stranger| {
            let gate = gate.clone();
            tokio::spawn(async move { ask(&gate, &stranger).await })
        })
        .collect();
    tokio::task::yield_now().await;
    // Beside it: who is known waits for none of them, whether cached or to be loaded again.
    let started = Instant::now();
    for _ in 0..5 {
        assert!(ask(&gate, &admin("anna")).await.unwrap().roles.contains(ROLE));
        assert_eq!(ask(&gate, &token("known")).await.unwrap().standing, Standing::Active);
        database.grant("somebody else");
    }
    assert!(started.elapsed() <= LOOKUP * 6, "{:?}", started.elapsed());

    let (mut unknown, mut refused) = (0, 0);
    for asked in flood {
        match asked.await.unwrap() {
            Ok(access) => {
                assert_eq!(access.standing, Standing::Unknown);
                unknown += 1;
            }
            Err(error) => {
                assert!(matches!(error, AccessError::Crowded), "{error}");
                refused += 1;
            }
        }
    }
    assert!(unknown >= 200 && refused >= 1_000, "{unknown} looked up, {refused} refused");
    assert!(database.most_lookups.load(Ordering::SeqCst) <= most, "{:?}", database.most_lookups);
}

#[tokio::test(start_paused = true)]
async fn strangers_push_nobody_out() {
    let database = Fake::new();
    let gate = database.gate_that_keeps(10);
    for number in 0..10 {
        ask(&gate, &admin(&number.to_string())).await.unwrap();
    }
    for number in 0..1_000 {
        ask(&gate, &token(&number.to_string())).await.unwrap();
        ask(&gate, &session(&number.to_string())).await.unwrap();
    }
    let before = loads(&database);
    for number in 0..10 {
        ask(&gate, &admin(&number.to_string())).await.unwrap();
    }
    assert_eq!(loads(&database), before);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_is_looked_up_once_and_again_when_something_changed() {
    let database = Fake::new();
    let gate = database.gate();
    for expected in 1..=3 {
        for _ in 0..10 {
            assert_eq!(ask(&gate, &token("a")).await.unwrap().standing, Standing::Unknown);
        }
        assert_eq!(loads(&database), expected);
        database.log_in("somebody");
        ask(&gate, &token("a")).await.unwrap();
        assert_eq!(loads(&database), expected, "a login is nobody else's business");
        database.grant("somebody");
    }
    database.enrol("a");
    assert_eq!(ask(&gate, &token("a")).await.unwrap().standing, Standing::Active);
}

/// Any login may be this session's.
#[tokio::test(start_paused = true)]
async fn an_unknown_session_is_looked_up_again_when_anybody_logs_in() {
    let database = Fake::new();
    let gate = database.gate();
    for expected in 1..=3 {
        for _ in 0..10 {
            assert_eq!(ask(&gate, &session("a")).await.unwrap().standing, Standing::Unknown);
        }
        assert_eq!(loads(&database), expected);
        database.log_in("somebody");
    }
}
