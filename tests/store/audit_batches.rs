//! Rows of the audit by the batch: each is stored as it is alone, and an answer is never another batch's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::TimeDelta;
use ledger::chain::Chain;
use ledger::customer::CustomerEvent;
use ledger::verify::Verifier;
use ledger::{AuditRecord, Draft, Entry};
use serde_json::json;
use sqlx::{Connection as _, Executor as _, PgConnection};
use store::audit::StoredEvent;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::audit::{by_chain, denial, entry, notary, sparse};
use crate::database::{Database, Raw, noon};
use crate::stored_event::as_stored;

/// Larger and smaller ones in turn: a statement that is kept for more rows must not add those of the batch before.
const SIZES: [u32; 14] = [1, 2, 3, 2, 63, 64, 63, 65, 5, 999, 1_000, 7, 1_001, 1];

async fn batches_of_any_size_read_back_and_verify(database: &Database) {
    let texts = [
        "",
        "NULL",
        "\\N",
        "\\.",
        "{a,\"b\"}",
        "it's \"quoted\" \\ {}",
        "tab\tnew\nline",
        "漢字 🔒 é",
        "a\0b",
    ];
    let mut chain = Chain::new("one", notary().keys().clone());
    let (mut number, mut expected) = (0, Vec::new());
    for size in SIZES {
        let mut batch = Vec::new();
        for _ in 0..size {
            number += 1;
            let text = texts[number as usize % texts.len()];
            let record = match number % 3 {
                0 => sparse(number),
                1 => AuditRecord {
                    reason: Some(text.into()),
                    detail: Some(json!({ text: [text, 1] })),
                    ..denial(number)
                },
                _ => AuditRecord { path: Some(text.into()), epoch: Some(i64::MIN), ..denial(number) },
            };
            batch.push(Draft::from(record).seal(&mut chain));
        }
        database.store.append(&batch).await.unwrap();
        expected.extend(batch.iter().map(as_stored));
        let stored = database.number("SELECT count(*) FROM gate_audit_events").await;
        assert_eq!(stored, i64::from(number), "after a batch of {size}");
    }
    let rows: Vec<StoredEvent> = by_chain(database).await;
    assert_eq!(rows, expected);
    let mut findings = Vec::new();
    let mut verifier = Verifier::new(notary().keys().clone(), |finding| findings.push(finding));
    for row in rows {
        verifier.row(row.into_row());
    }
    assert_eq!((verifier.finish().rows, findings), (u64::from(number), Vec::new()));
}

/// The customers' events of a batch are in their own table, with every value that may be NULL and without.
async fn customers_events_of_a_batch_read_back(database: &Database) {
    let mut chain = Chain::new("one", notary().keys().clone());
    let events: Vec<CustomerEvent> = (1..=70_u32)
        .map(|number| {
            let text = (number % 2 == 0).then(|| format!("it's {number} \\ {{}}"));
            CustomerEvent {
                id: Uuid::from_u128(u128::from(number) << 64),
                tenant_id: format!("tenant {number}"),
                dimension: "operator_interaction".into(),
                action: "operator.rbac.grant".into(),
                occurred_at: noon() + TimeDelta::microseconds(i64::from(number)),
                source: "service".into(),
                actor_kind: "admin".into(),
                actor_id: text.clone(),
                subject_id: text.clone(),
                request_id: text.clone(),
                detail: text.map(|text| json!({ "text": text })),
                salt: None,
            }
        })
        .collect();
    let drafts = events.iter().map(|event| Draft::of_customer(event.clone(), noon()));
    let drafts = drafts.chain([Draft::from(denial(1))]);
    let batch: Vec<Entry> = drafts.map(|draft| draft.seal(&mut chain)).collect();
    database.store.append(&batch).await.unwrap();
    assert_eq!(by_chain(database).await, batch.iter().map(as_stored).collect::<Vec<_>>());
    let text = if database.is_postgres() { "detail->>'text'" } else { "json_extract(detail, '$.text')" };
    let texts = format!(
        "SELECT tenant_id || ': ' || COALESCE(actor_id, '-') || COALESCE(subject_id, '-') || COALESCE(request_id, '-')
                || COALESCE({text}, '-')
           FROM customer_audit_events WHERE salt IS NOT NULL ORDER BY id"
    );
    let expected: Vec<String> = events
        .iter()
        .map(|event| format!("{}: {}", event.tenant_id, event.actor_id.as_deref().unwrap_or("-").repeat(4)))
        .collect();
    assert_eq!(database.texts(&texts).await, expected);
}

/// Counts, over TCP to the server of `url`, how often a client writes once more before the server has said anything. Where the
/// socket has no `TCP_NODELAY`, as with sqlx 0.9, the second write waits for the acknowledgement of the first: 40 ms.
struct Wire {
    url: String,
    unasked: Arc<AtomicU64>,
}

impl Wire {
    async fn to(url: &str) -> Wire {
        let server = url.split('@').nth(1).and_then(|place| place.split('/').next()).unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap().to_string();
        let (url, unasked) = (url.replace(&server, &here), Arc::<AtomicU64>::default());
        let count = unasked.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                server.set_nodelay(true).unwrap();
                tokio::spawn(Wire::pass(client, server, count.clone()));
            }
        });
        Wire { url, unasked }
    }

    async fn pass(mut client: TcpStream, mut server: TcpStream, unasked: Arc<AtomicU64>) {
        let (mut asked, mut said) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        let mut is_waiting = false;
        loop {
            tokio::select! {
                Ok(length @ 1..) = client.read(&mut asked) => {
                    unasked.fetch_add(u64::from(is_waiting), Ordering::Relaxed);
                    is_waiting = true;
                    server.write_all(&asked[..length]).await.unwrap();
                }
                Ok(length @ 1..) = server.read(&mut said) => {
                    is_waiting = false;
                    client.write_all(&said[..length]).await.unwrap();
                }
                else => return,
            }
        }
    }
}

#[tokio::test]
async fn over_tcp_a_batch_is_one_write() {
    let database = Database::postgres().await;
    let wire = Wire::to(&database.url).await;
    let gate = Database::open(&wire.url).await;
    let mut chain = Chain::new("one", notary().keys().clone());
    let mut number = 0;
    for size in [1, 2, 16] {
        // The first of a size prepares its statement.
        for _ in 0..2 {
            let rows = number + 1..=number + size;
            let batch: Vec<_> = rows.map(|row| Draft::from(denial(row)).seal(&mut chain)).collect();
            gate.store.append(&batch).await.unwrap();
            number += size;
        }
        assert_eq!(wire.unasked.load(Ordering::Relaxed), 0, "after batches of {size}");
    }
    assert_eq!(database.number("SELECT count(*) FROM gate_audit_events").await, i64::from(number));
    // Larger ones, and those over TLS, are more than one write in any case.
    let port = wire.url.rsplit(':').next().and_then(|rest| rest.split('/').next()?.parse().ok()).unwrap();
    assert_eq!(sockets::send_at_once(port).unwrap(), 0, "connections that wait for acknowledgements");
    // What it would show: the data of a COPY and its end.
    let mut connection = PgConnection::connect(&wire.url).await.unwrap();
    connection.execute("CREATE TABLE copied (line TEXT)").await.unwrap();
    let mut copy = connection.copy_in_raw("COPY copied FROM STDIN").await.unwrap();
    copy.send(b"a\n".as_slice()).await.unwrap();
    copy.finish().await.unwrap();
    assert_eq!(wire.unasked.load(Ordering::Relaxed), 1);
}

/// Inserts the row of this number around the gate and leaves the transaction open: whoever inserts it too waits.
async fn hold(database: &Database, number: u32) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let Raw::Postgres(pool) = &database.raw else { unreachable!("a test of Postgres") };
    let mut transaction = pool.begin().await.unwrap();
    let row = "INSERT INTO gate_audit_events (id, event_type, actor_kind, chain_id, sequence, key_id, personal_digest,
                                              content_hash, mac)
               VALUES ($1, 'x', 'gate', 'other', $2, 'k', 'd', 'h', 'm')";
    let id = Uuid::from_u128(number.into()).to_string();
    sqlx::query(row).bind(id).bind(i64::from(number)).execute(&mut *transaction).await.unwrap();
    transaction
}

/// Returns when a statement of the gate waits for another transaction.
async fn until_one_waits(database: &Database) {
    let waiting = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query NOT LIKE '%pg_stat%'";
    while database.number(waiting).await == 0 {
        tokio::task::yield_now().await;
    }
}

/// A batch that takes too long is given up in the middle. What the database says of it afterwards must not be taken for
/// the outcome of a later row, which may not be committed by then.
#[tokio::test]
async fn a_batch_that_was_given_up_answers_for_no_later_row() {
    let database = Database::postgres().await;
    // So that the connection is one that is kept.
    database.store.append(&[entry(10)]).await.unwrap();
    let (held, batch) = (hold(&database, 1).await, [entry(2), entry(1)]);
    tokio::select! {
        outcome = database.store.append(&batch) => panic!("the row is held: {outcome:?}"),
        () = until_one_waits(&database) => {}
    }
    held.rollback().await.unwrap();
    let is_used = || database.store.pools().iter().any(|pool| pool.name == "audit" && pool.used > 0);
    while database.store.recent(10).await.unwrap().len() < 3 || is_used() {
        tokio::task::yield_now().await;
    }

    let (held, row) = (hold(&database, 3).await, [entry(3)]);
    tokio::select! {
        outcome = database.store.append(&row) => panic!("the row is held: {outcome:?}"),
        () = until_one_waits(&database) => {}
    }
    held.rollback().await.unwrap();
    database.store.append(&[entry(4), entry(5)]).await.unwrap();
    let later = [4, 5].map(Uuid::from_u128);
    for id in later {
        assert!(database.store.by_id(id).await.unwrap().is_some());
    }
}

on_both!(batches_of_any_size_read_back_and_verify, customers_events_of_a_batch_read_back);
