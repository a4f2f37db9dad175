//! What a request pays on its way, step by step. `make bench` prints it; the README's table comes from here.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot do")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use console_gate::assertion::AssertionSigner;
use console_gate::clock::SystemClock;
use console_gate::freshness::push::PushTerms;
use console_gate::freshness::{AccessResolver, Posture};
use console_gate::journal::decision_log::{Decision, DecisionLog, Keeping};
use console_gate::settings::secrets::{NamedKey, Secret};
use console_gate::settings::values::AssertionAlgorithm;
use console_gate::store::{DatabaseUrl, StoreOptions};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use policy::decision::body::BodyFacts;
use policy::decision::{Caller, Control, Question, Target, decide};
use policy::firewall::{Policy, inspect};
use policy::identity::flask_cookie::{CookieLimits, CookieVerifier, SigningKeys};
use policy::identity::{Principal, Subject};
use policy::ids::{AdminId, Epoch, MappingSha256};
use policy::mapping::{Found, Freshness, Mapping};
use policy::method::Method;
use policy::rbac::{Access, LegacyRole, Standing};

use postgres::Postgres;

#[path = "../support/postgres.rs"]
mod postgres;

const HEAD: &[u8] = b"GET /console/customers/7/tickets?page=2 HTTP/1.1\r\nHost: console.example.com\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-GB,en;q=0.5\r\n\
Accept-Encoding: gzip, deflate, br\r\nReferer: https://console.example.com/console/customers/\r\n\
Cookie: theme=dark; session=eyJhZG1pbl9pZCI6ImFubmEifQ.awD7dQ.NuOARuKLLMvvK7Q19pp3ERxboas\r\n\
Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\n\r\n";

fn firewall(bench: &mut Criterion) {
    let policy = Policy::default();
    bench.bench_function("firewall/inspect", |bencher| {
        bencher.iter(|| inspect(black_box(HEAD), &policy).unwrap());
    });
}

/// A table like Console's, `rows` long.
fn table(rows: usize) -> Mapping {
    let mut file = "version = 1\n[blueprints.b.routes]\n".to_owned();
    for row in 0..rows / 2 {
        file.push_str(&format!("\"GET /console/area{row}/<id>/tickets\" = {{ session = true }}\n"));
        file.push_str(&format!("\"POST /console/area{row}/<int:id>\" = {{ session = true }}\n"));
    }
    Mapping::parse("bench.toml", &file).unwrap()
}

fn matching(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("match");
    for rows in [100, 10_000, 100_000] {
        let mapping = table(rows);
        let path = format!("/console/area{}/customer-7/tickets", rows / 4);
        group.bench_function(BenchmarkId::from_parameter(rows), |bencher| {
            bencher.iter(|| assert!(matches!(mapping.find(black_box(&path), Method::Get), Found::Row(_))));
        });
    }
    group.finish();
}

fn deciding(bench: &mut Criterion) {
    let file = include_str!("../../routes.toml").replace("= \"legacy\"", "= \"v2\"");
    let mapping = Mapping::parse("routes.toml", &file).unwrap();
    let Found::Row(row) = mapping.find("/console/customers/7/tickets", Method::Get) else { unreachable!() };
    let principal = Principal::Admin { id: AdminId::new("anna"), session: None };
    let access = Access {
        standing: Standing::Active,
        legacy: [LegacyRole::literal("ops")].into(),
        roles: ["console-user", "console-audit-user", "console-manager"].map(Arc::from).into(),
        ..Access::nothing(Epoch(1))
    };
    let control = Control { epoch: Epoch(1), rbac_v2: true, may_enforce: true };
    bench.bench_function("decide/allow", |bencher| {
        bencher.iter(|| {
            decide(black_box(&Question {
                upgrade: false,
                target: Target::Row(row, mapping.rollout_of(row)),
                caller: Caller::Known(&principal, &access),
                control: Some(&control),
                body: &BodyFacts::NotRead,
            }))
        });
    });
    let verdict = decide(&Question {
        upgrade: false,
        target: Target::Row(row, mapping.rollout_of(row)),
        caller: Caller::Known(&principal, &access),
        control: Some(&control),
        body: &BodyFacts::NotRead,
    });
    let Ok(permit) = verdict.outcome else { unreachable!() };
    for (name, algorithm) in [("HS256", AssertionAlgorithm::Hs256), ("EdDSA", AssertionAlgorithm::EdDsa)] {
        let key = NamedKey { id: "k1".into(), secret: Secret::new(vec![7; 32]) };
        let signer = AssertionSigner::new(algorithm, &[key], "console", 30).unwrap();
        let (id, now) = (console_gate::random::request_id(), Utc::now());
        bench.bench_function(&format!("assertion/{name}"), |bencher| {
            bencher.iter(|| {
                let path = "/console/customers/7/tickets";
                signer.sign(black_box(&permit), mapping.sha256(), Method::Get, path, id, now)
            });
        });
    }
}

fn cookie(bench: &mut Criterion) {
    let keys = SigningKeys::new(b"a secret of some length", [b"an older one"]).unwrap();
    let verifier = CookieVerifier::new(keys, CookieLimits::default());
    let now = Utc::now();
    let cookie = verifier.sign(&serde_json::json!({ "admin_id": "anna", "_fresh": true }), now);
    bench.bench_function("cookie/verify", |bencher| {
        bencher.iter(|| verifier.verify(black_box(&cookie), now).unwrap());
    });
}

/// What the decision log costs a request that repeats another of the same second, as nearly all do.
fn reporting(bench: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        url: DatabaseUrl::parse(&format!("sqlite:{}", folder.path().join("gate.sqlite").display())).unwrap(),
        max_connections: 4,
        timeout: Duration::from_secs(5),
        console: console_gate::store::console::Relations::default(),
    };
    let log = runtime.block_on(async {
        let store = console_gate::store::open(&options).await.unwrap();
        store.migrate_seeded().await.unwrap();
        let keeping = Keeping { days: 30, paths_an_hour: 5_000, anonymous_paths_an_hour: 1_000 };
        DecisionLog::start(store, Arc::new(SystemClock), keeping, "bench/1").await.unwrap()
    });
    let (route, cluster) = ("GET /console/customers/<id>/tickets".into(), "S3".into());
    let mapping = MappingSha256::new("ab".repeat(32));
    bench.bench_function("decision log/a repeat", |bencher| {
        bencher.iter(|| {
            log.report(black_box(&Decision {
                at: Utc::now(),
                method: "GET",
                path: "/console/customers/7/tickets",
                route: Some(&route),
                cluster: Some(&cluster),
                gate: "shadow",
                actor: Some(("admin", "0190163d-8694-739b-aea5-966c26f8ad91")),
                answer: "allow",
                reason: "",
                mapping: &mapping,
            }));
        });
    });
}

/// The whole of "proven current": what is known about the epoch, and the cache. Strict reads the epoch: a lone caller
/// pays the read alone, together they share it. Push already knows.
fn warm_access(bench: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let urls = [
        ("sqlite", format!("sqlite:{}", folder.path().join("gate.sqlite").display())),
        ("postgres", Postgres::shared().database()),
    ];
    let subject = Subject::Admin { id: AdminId::new("anna"), session: None };
    let one = async |resolver: &AccessResolver, freshness| {
        let control = resolver.observe(freshness).await.unwrap();
        resolver.resolve(&subject, control.epoch).await.unwrap()
    };
    for (database, url) in urls {
        let resolver = runtime.block_on(resolver(&url));
        for (name, freshness) in [("strict", Freshness::Strict), ("push", Freshness::Push)] {
            bench.bench_function(&format!("access/{database}/{name}/1 at a time"), |bencher| {
                bencher.to_async(&runtime).iter(|| one(&resolver, freshness));
            });
            bench.bench_function(&format!("access/{database}/{name}/256 at a time"), |bencher| {
                let all = || futures::future::join_all((0..256).map(|_| one(&resolver, freshness)));
                bencher.to_async(&runtime).iter(all);
            });
        }
        let epoch = runtime.block_on(async { resolver.observe(Freshness::Strict).await.unwrap().epoch });
        bench.bench_function(&format!("access/{database}/cache alone"), |bencher| {
            bencher.to_async(&runtime).iter(|| async { resolver.resolve(&subject, epoch).await.unwrap() });
        });
    }
}

/// A resolver that is pushed to, once it has a lease.
async fn resolver(url: &str) -> AccessResolver {
    let options = StoreOptions {
        url: DatabaseUrl::parse(url).unwrap(),
        max_connections: 4,
        timeout: Duration::from_secs(5),
        console: console_gate::store::console::Relations::default(),
    };
    let store = console_gate::store::open(&options).await.unwrap();
    store.migrate_seeded().await.unwrap();
    store.add_admin(&AdminId::new("anna"), "anna@example.com", "Anna").await.unwrap();
    let posture = Posture { flag_at_start: None, production: false };
    let terms = PushTerms { name: "bench".into(), max_staleness: Duration::from_secs(2) };
    let resolver =
        AccessResolver::start(store.clone(), Arc::new(SystemClock), posture, 1_000).with_push(terms);
    let epoch = resolver.observe(Freshness::Push).await.unwrap().epoch;
    while store.leases().await.unwrap().iter().all(|lease| lease.acknowledged < epoch) {
        tokio::task::yield_now().await;
    }
    resolver
}

criterion_group!(hot_path, firewall, matching, deciding, cookie, reporting, warm_access);
criterion_main!(hot_path);
