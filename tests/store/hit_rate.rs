//! How often the cache has a current answer while people log in: by the resolver's own counters, on both databases.

use std::sync::Arc;

use clock::SystemClock;
use console_gate::freshness::{AccessResolver, Posture};
use metrics_exporter_prometheus::PrometheusBuilder;
use policy::identity::Subject;
use policy::ids::{AdminId, SessionId};
use policy::mapping::Freshness;

use crate::database::Database;

const ADMINS: usize = 200;
const REQUESTS: usize = 6_000;
/// Requests between two logins: with a login a second, 50 requests a second.
const BETWEEN_LOGINS: usize = 50;
/// Every admin fits, and not much more.
const CAPACITY: u64 = 250;

/// Some admins come often and most now and then, always the same ones in the same order.
struct Crowd(u64);

impl Crowd {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 1 and ADMINS")]
    fn next(&mut self) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let uniform = (self.0 >> 33) as f64 / f64::from(1_u32 << 31);
        // Zipf's law, as for an exponent of 1: the n-th comes in proportion to 1 / n.
        ((ADMINS as f64).powf(uniform) as usize).clamp(1, ADMINS) - 1
    }
}

async fn traffic(database: &Database) {
    let insert = |table: &str, columns: &str, row: &dyn Fn(usize) -> String| {
        let rows: Vec<String> = (0..ADMINS).map(|number| format!("({})", row(number))).collect();
        format!("INSERT INTO {table} ({columns}) VALUES {}", rows.join(", "))
    };
    database.execute(&insert("admins", "id, email", &|n| format!("'a{n}', 'a{n}@example.org'"))).await;
    database.execute(&insert("admin_sessions", "id, admin_id", &|n| format!("'s{n}', 'a{n}'"))).await;
    let posture = Posture { flag_at_start: None, production: false };
    let resolver = AccessResolver::start(database.store.clone(), Arc::new(SystemClock), posture, CAPACITY);
    let mut crowd = Crowd(1);
    for request in 0..REQUESTS {
        if request % BETWEEN_LOGINS == 0 {
            let session = SessionId::new(format!("login {request}"));
            database.store.add_session(&session, &AdminId::new("a0"), None).await.unwrap();
        }
        let number = crowd.next();
        let subject = Subject::Admin {
            id: AdminId::new(format!("a{number}")),
            session: Some(SessionId::new(format!("s{number}"))),
        };
        let epoch = resolver.observe(Freshness::Strict).await.unwrap().epoch;
        resolver.resolve(&subject, epoch).await.unwrap();
    }
}

/// On one thread, so that the counters are of this traffic alone.
fn hit_rate(open: impl Future<Output = Database>) -> f64 {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { traffic(&open.await).await });
    });
    let loads = handle.render().lines().find_map(|line| {
        line.strip_prefix("gate_access_loads_total ").and_then(|loads| loads.parse::<f64>().ok())
    });
    1.0 - loads.unwrap() / REQUESTS as f64
}

/// All but the first request of each admin.
const MOST: f64 = 1.0 - ADMINS as f64 / REQUESTS as f64;

#[test]
fn logins_leave_the_cache_as_it_is_on_sqlite() {
    let rate = hit_rate(Database::sqlite());
    println!("hit rate on SQLite, a login every {BETWEEN_LOGINS} requests: {rate:.3}");
    assert!(rate >= MOST, "{rate}");
}

#[test]
fn logins_leave_the_cache_as_it_is_on_postgres() {
    let rate = hit_rate(Database::postgres());
    println!("hit rate on Postgres, a login every {BETWEEN_LOGINS} requests: {rate:.3}");
    assert!(rate >= MOST, "{rate}");
}
