//! What is allocated.

use std::time::Duration;

use chrono::Utc;
use console_gate::admin::metrics::keep_up;
use metrics::histogram;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use stats_alloc::Region;

use crate::scene::{Database, Requests, log, store};
use crate::{ALLOCATOR, alone};

/// The fewest allocations of some runs: threads of the database and of the test's frame allocate now and then.
fn fewest(mut run: impl FnMut()) -> usize {
    let counted = (0..5).map(|_| {
        let region = Region::new(ALLOCATOR);
        run();
        region.change().allocations
    });
    counted.min().unwrap_or(usize::MAX)
}

/// On one thread, so that the writer does not run between.
#[test]
fn a_repeat_allocates_nothing() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let log = log(store(Database::Sqlite, &folder).await).await;
        let requests = Requests::different(1_000);
        let now = Utc::now();
        let nobody = |number| console_gate::journal::decision_log::Decision {
            actor: None,
            ..requests.one(number, now)
        };
        for number in 0..1_000 {
            log.report(&requests.one(number, now));
            log.report(&nobody(number));
        }
        let people = fewest(|| {
            for _ in 0..20 {
                for number in 0..1_000 {
                    log.report(&requests.one(number, now));
                }
            }
        });
        assert_eq!(people, 0, "repeats of people");
        // Beyond the bound of what is kept of strangers' paths, too: each is another path, and one row.
        let strangers = fewest(|| {
            for number in 0..1_000 {
                log.report(&nobody(number));
            }
        });
        assert_eq!(strangers, 0, "a scanner's");
    });
}

/// A gate that nobody scrapes keeps each sample until somebody sorts it.
#[test]
fn histograms_do_not_grow_without_a_scrape() {
    const SAMPLES: usize = 200_000;
    const ROUNDS: usize = 20;
    let _alone = alone();
    let matcher = Matcher::Suffix("_seconds".into());
    let recorder =
        PrometheusBuilder::new().set_buckets_for_metric(matcher, &[0.1, 1.0]).unwrap().build_recorder();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let sample = || {
        metrics::with_local_recorder(&recorder, || {
            (0..SAMPLES).for_each(|_| histogram!("gate_request_seconds").record(0.5));
        });
    };
    let held = |region: &Region<'_, _>| {
        let change = region.change();
        change.bytes_allocated as i64 - change.bytes_deallocated as i64 + change.bytes_reallocated as i64
    };
    runtime.block_on(async {
        tokio::spawn(keep_up(recorder.handle()));
        sample();
        tokio::time::sleep(Duration::from_secs(6)).await;
        let region = Region::new(ALLOCATOR);
        for _ in 0..ROUNDS {
            sample();
            // The runtime's clock goes by itself.
            tokio::time::sleep(Duration::from_secs(6)).await;
        }
        let held = held(&region);
        println!("evidence: {} samples without a scrape: {held} bytes", SAMPLES * ROUNDS);
        assert!(held < (SAMPLES * 8 * 3) as i64, "{held} bytes");
    });
    assert!(
        recorder
            .handle()
            .render()
            .contains(&format!("gate_request_seconds_count {}", SAMPLES * (ROUNDS + 1)))
    );
}
