//! What a request pays on its way, step by step. `make bench` prints it; the table of docs/performance.md comes from here.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot do")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use clock::SystemClock;
use console_gate::freshness::push::PushTerms;
use console_gate::freshness::{AccessResolver, Posture};
use console_gate::journal::decision_log::{Decision, DecisionLog, Keeping};
use console_gate::settings::values::AssertionAlgorithm;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use policy::decision::body::BodyFacts;
use policy::decision::{Caller, Control, Question, Target, decide};
use policy::firewall::{Policy, inspect};
use policy::identity::Subject;
use policy::ids::{AdminId, Epoch, MappingSha256};
use policy::mapping::{Found, Freshness, Mapping};
use policy::method::Method;
use store::{DatabaseUrl, StoreOptions};

use fixture::PATH;
use postgres::Postgres;

mod fixture;
#[path = "../support/postgres.rs"]
mod postgres;

fn firewall(bench: &mut Criterion) {
    let policy = Policy::default();
    let head = fixture::head(&fixture::cookie(Utc::now()).1);
    bench.bench_function("firewall/inspect", |bencher| {
        bencher.iter(|| inspect(black_box(&head), &policy).unwrap());
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
    let mapping = fixture::mapping();
    let Found::Row(row) = mapping.find(PATH, Method::Get) else { unreachable!() };
    let (principal, access) = fixture::anna();
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
        let signer = fixture::signer(algorithm);
        let (id, now) = (console_gate::random::request_id(), Utc::now());
        bench.bench_function(&format!("assertion/{name}"), |bencher| {
            bencher.iter(|| signer.sign(black_box(&permit), mapping.sha256(), Method::Get, PATH, id, now));
        });
    }
}

fn cookie(bench: &mut Criterion) {
    let now = Utc::now();
    let (verifier, cookie) = fixture::cookie(now);
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
        console: store::console::Relations::default(),
    };
    let log = runtime.block_on(async {
        let store = store::open(&options).await.unwrap();
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
        console: store::console::Relations::default(),
    };
    let store = store::open(&options).await.unwrap();
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
