//! The database URL may hold a password. No error and no debug form shows it.

use std::time::Duration;

use store::{DatabaseUrl, StoreError, StoreOptions};

use crate::audit::{denial, sealed};
use crate::database::options;
use crate::postgres::Postgres;

/// As it is written in the URL and as it is after decoding; neither may be seen.
const PASSWORDS: [&str; 3] = ["hunter2%2Fhunter2", "hunter2/hunter2", "hunter2"];

fn assert_hidden(what: &str, text: &str) {
    for password in PASSWORDS {
        assert!(!text.contains(password), "{what} shows the password: {text}");
    }
}

fn with_password(host: &str) -> String {
    format!("postgres://gate:{}@{host}", PASSWORDS[0])
}

#[tokio::test]
async fn no_debug_form_shows_the_password() {
    let url = with_password("localhost/gate");
    let options = options(&url, Duration::from_millis(200));
    assert_hidden("StoreOptions", &format!("{options:?} {options:#?}"));
    assert_hidden("DatabaseUrl", &format!("{:?} {:#?}", options.url, options.url));
    let store = store::open(&options).await.unwrap();
    assert_hidden("Store", &format!("{store:?} {store:#?}"));
}

/// Every way in which a URL with a password can go wrong.
#[tokio::test]
async fn no_error_shows_the_password() {
    let folder = tempfile::tempdir().unwrap();
    let urls = [
        with_password("no-such-host.invalid/gate"),
        with_password("127.0.0.1:1/gate"),
        with_password("localhost:not-a-port/gate"),
        with_password("localhost/gate?sslmode=nonsense"),
        with_password("localhost/gate?sslrootcert=/no/such/file&sslmode=verify-full"),
        with_password(&format!("localhost/gate?host={}", folder.path().display())),
        with_password("[::1/gate"),
        format!("postgres://gate:{}", PASSWORDS[0]),
        format!("postgres:gate:{}@localhost/gate", PASSWORDS[0]),
        format!("mysql://gate:{}@localhost/gate", PASSWORDS[0]),
        format!("gate:{}@localhost", PASSWORDS[0]),
    ];
    let mut errors = 0;
    for url in &urls {
        let options = match DatabaseUrl::parse(url) {
            Ok(url) => StoreOptions {
                url,
                max_connections: 1,
                timeout: Duration::from_millis(200),
                console: store::console::Relations::default(),
            },
            Err(message) => {
                errors += 1;
                assert_hidden("DatabaseUrl::parse", &message);
                continue;
            }
        };
        match store::open(&options).await {
            Err(error) => {
                errors += 1;
                assert_shows_nothing(&error);
            }
            Ok(store) => {
                for error in [store.control().await.unwrap_err(), store.migrate().await.unwrap_err()] {
                    errors += 1;
                    assert_shows_nothing(&error);
                }
            }
        }
    }
    assert!(errors >= urls.len(), "each URL is to fail");
}

fn assert_shows_nothing(error: &StoreError) {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text} {cause} {cause:?}");
        source = cause.source();
    }
    assert_hidden("StoreError", &text);
}

/// The server itself refuses: a wrong database, and an audit row, whose values are personal.
#[tokio::test]
async fn no_refusal_of_the_server_shows_the_password_or_a_bound_value() {
    let url = Postgres::shared().database().replacen("postgres@", &format!("postgres:{}@", PASSWORDS[0]), 1);
    assert!(url.contains(PASSWORDS[0]) || std::env::var_os("TEST_DATABASE_URL").is_some(), "{url}");
    let wrong = url.replace("gate_test_", "gate_absent_");
    let wrong = store::open(&options(&wrong, Duration::from_secs(30))).await.unwrap();
    assert_shows_nothing(&wrong.control().await.unwrap_err());

    let store = store::open(&options(&url, Duration::from_secs(30))).await.unwrap();
    store.migrate_seeded().await.unwrap();
    let mut record = denial(1);
    record.path = Some("hunter2".into());
    record.event_type = "".into();
    let error = store.append(&[sealed(record)]).await.unwrap_err();
    assert_shows_nothing(&error);
}

/// One of each, as an operator meets it.
#[test]
fn every_variant_reads_as_a_sentence() {
    let table = [
        (StoreError::Unavailable("no route".into()), "the database is unavailable: no route"),
        (StoreError::Timeout(Duration::from_millis(1500)), "the database did not answer within 1.5s"),
        (StoreError::Refused("no".into()), "the database refused a statement: no"),
        (StoreError::Conflict("there is no group `x`".into()), "there is no group `x`"),
        (StoreError::Broken("column 1".into()), "the database holds a broken row: column 1"),
        (StoreError::Schema("old".into()), "the schema needs attention: old"),
        (StoreError::Forbidden("no".into()), "the database role lacks a right: no"),
        (StoreError::ReadOnly("a standby".into()), "the database is read-only: a standby"),
        (StoreError::Busy("others".into()), "the database is busy: others"),
        (StoreError::Unusable("notes".into()), "the database cannot be used: notes"),
    ];
    for (error, text) in table {
        assert_eq!(error.to_string(), text);
    }
}
