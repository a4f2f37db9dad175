//! A flood of machine tokens that nobody has, on a row that takes machines beside sessions: without the form of a token of
//! the gate's, and with it. Each token is sent once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use console_gate::random::machine_token;
use tokio::task::JoinSet;

use crate::callers::{Caller, Load, Outcome, Sample};
use crate::figures::{median, p99};
use crate::scene::{ALLOWED, get, people, setup};
use crate::support::http::HOST;
use crate::support::recorder::Recorder;
use crate::support::{Database, Gate, Setup, World};

const MAPPING: &str = "version = 1\n[clusters]\nC = \"v2\"\n[blueprints.t]\ncluster = \"C\"\n[blueprints.t.routes]\n\
    \"GET /gated/<name>\" = { legacy = [\"ops\"], role = \"console-user\" }\n\
    \"GET /metered\" = { role = \"console-user\", machine_or_session = true, unauthenticated = \"401\" }\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Odd,
    OfTheGates,
}

impl Form {
    fn token(self) -> String {
        let token = machine_token().expect("randomness");
        match self {
            Form::Odd => token.replacen("cgm_", "xyz_", 1),
            Form::OfTheGates => token.to_string(),
        }
    }
}

/// Callers with a new token for each request, until they are stopped.
struct Flood {
    stop: Arc<AtomicBool>,
    callers: JoinSet<BTreeMap<u16, usize>>,
}

impl Flood {
    fn start(gate: &Gate, form: Form, callers: usize, pause: Duration) -> Flood {
        let mut flood = Flood { stop: Arc::default(), callers: JoinSet::new() };
        for _ in 0..callers {
            let (stop, mut caller) = (flood.stop.clone(), Caller::to(&gate.socket()));
            flood.callers.spawn(async move {
                let mut statuses = BTreeMap::new();
                while !stop.load(Ordering::Relaxed) {
                    let token = form.token();
                    let request = format!(
                        "GET /metered HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n\r\n"
                    );
                    let Outcome::Answered { status, .. } = caller.ask(&request).await else {
                        panic!("a stranger gets an answer too");
                    };
                    *statuses.entry(status).or_default() += 1;
                    tokio::time::sleep(pause).await;
                }
                statuses
            });
        }
        flood
    }

    /// How often each status was the answer.
    async fn stop(mut self) -> BTreeMap<u16, usize> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeMap::new();
        while let Some(of_one) = self.callers.join_next().await {
            for (status, times) in of_one.expect("a caller does not panic") {
                *all.entry(status).or_default() += times;
            }
        }
        all
    }
}

async fn scene(database: Database) -> (World, Recorder, Gate) {
    let world = World::new(database).await;
    people(&world).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let setup = Setup { mapping: Some(MAPPING), ..setup(&upstream.socket()) };
    let gate = world.gate(&setup).await;
    (world, upstream, gate)
}

/// Requests that are allowed, each by a strict read of the epoch.
async fn allowed(world: &World, gate: &Gate, requests: usize) -> Vec<Sample> {
    let request = get("/gated/x", Some(&world.cookie("anna")));
    let load =
        Load::new().with(4, ALLOWED, &request, Duration::from_millis(5), || Caller::to(&gate.socket()));
    load.further(requests).await;
    let samples = load.stop().await;
    for sample in &samples {
        assert_eq!(sample.status(), 200, "{sample:?}");
    }
    samples
}

async fn loads(gate: &Gate) -> f64 {
    gate.metric("gate_access_loads_total").await.expect("the metric")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invented_tokens_are_refused_and_keep_nobody_out() {
    for database in [Database::Sqlite, Database::Postgres] {
        let (world, _upstream, gate) = scene(database).await;
        allowed(&world, &gate, 20).await;
        for form in [Form::Odd, Form::OfTheGates] {
            let before = loads(&gate).await;
            let flood = Flood::start(&gate, form, 64, Duration::ZERO);
            allowed(&world, &gate, 200).await;
            let statuses = flood.stop().await;
            assert!(statuses.keys().all(|status| [401, 503].contains(status)), "{form:?}: {statuses:?}");
            assert!(statuses[&401] > 0, "{form:?}: {statuses:?}");
            let loads = loads(&gate).await - before;
            assert!(loads > 0.0, "{form:?}: {loads} loads");
            println!("fault: flood of tokens ({form:?}) on {database:?}: {statuses:?}, {loads} lookups");
        }
    }
}

/// The flood keeps a steady rate, the same on every machine: one that took all of the processor would show how the
/// kernel shares it, and not how the gate does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make faults"]
async fn invented_tokens_do_not_slow_strict_reads() {
    const ROUNDS: usize = 7;
    for database in [Database::Sqlite, Database::Postgres] {
        let (world, _upstream, gate) = scene(database).await;
        allowed(&world, &gate, 500).await;
        for form in [Form::Odd, Form::OfTheGates] {
            let (mut alone, mut beside, mut rates) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                alone.push(times(&allowed(&world, &gate, 1_000).await));
                let flood = Flood::start(&gate, form, 32, Duration::from_millis(50));
                let started = Instant::now();
                beside.push(times(&allowed(&world, &gate, 1_000).await));
                let took = started.elapsed().as_secs_f64();
                rates.push(flood.stop().await.values().sum::<usize>() as f64 / took);
            }
            let of = |rounds: &[(Duration, Duration)]| {
                (
                    median(rounds.iter().map(|(p50, _)| *p50).collect()),
                    median(rounds.iter().map(|(_, p99)| *p99).collect()),
                )
            };
            let ratio = median(
                alone
                    .iter()
                    .zip(&beside)
                    .map(|(alone, beside)| beside.1.as_secs_f64() / alone.1.as_secs_f64())
                    .collect(),
            );
            println!(
                "fault: flood of tokens ({form:?}) on {database:?} at {:.0} a second: p50 and p99 of strict reads \
                 {:.2?}, without it {:.2?}, p99 ratio {ratio:.2} (medians of {ROUNDS} rounds in turn)",
                median(rates),
                of(&beside),
                of(&alone)
            );
            assert!(
                ratio <= 2.0,
                "{database:?}, {form:?}: the p99 of strict reads grows to {ratio:.2} of what it was"
            );
        }
    }
}

/// The p50 and the p99.
fn times(samples: &[Sample]) -> (Duration, Duration) {
    let times: Vec<Duration> = samples.iter().map(|sample| sample.took).collect();
    (median(times.clone()), p99(times))
}
