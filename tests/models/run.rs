//! One run: scenarios from a seed until enough pairs were compared, and what disagrees, made small.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::bench::{Answers, Bench, Place, Side};
use crate::decision_model::Switches;
use crate::disagreement::{Disagreement, Report};
use crate::random::Random;
use crate::round::{Round, Which};
use crate::scenario::Scenario;
use crate::shrink::{print, shrink};
use crate::tally::Tally;
use crate::{
    diff_brute_force, explain_report, gate_answers, replay_report, shares, test_report, verify_report,
};

/// How much is compared.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Pairs of request and caller, at the gates.
    pub pairs: usize,
    /// Admins and routes that `explain` is asked about, of each gate in each scenario.
    pub explained: usize,
    /// One scenario of so many has its gate verified by the command, which makes people for each row.
    pub verified_every: usize,
}

/// Sorts of disagreements that are made small and printed; the others are counted.
const SHOWN: usize = 12;

/// Compares until the extent is reached.
pub async fn run(name: &str, place: Place, extent: Extent, seed: u64) -> Tally {
    let begun = Instant::now();
    let bench = Bench::start(place).await;
    let shares = shares::measure(&bench.old).await;
    let mut random = Random::new(seed);
    let (mut tally, mut shown) = (Tally::default(), 0);
    // The first scenario is the seed's own, so that a seed that is printed with a disagreement leads straight to it.
    let mut next = seed;
    let mut number = 0;
    while tally.pairs(Report::Gate) < extent.pairs {
        let scenario = if number == 0 { Scenario::tour(seed, place) } else { Scenario::random(next, place) };
        let reports = reports(number % extent.verified_every == 0, place, scenario.switches);
        let found = play(&bench, &scenario, &shares, &reports, extent.explained, &mut tally).await;
        for one in tally.disagree(&found) {
            if shown < SHOWN {
                shown += 1;
                let (small, one) = shrink(&bench, scenario.clone(), one, &shares).await;
                print(&small, &one);
            }
        }
        if number > 0 {
            next = random.seed();
        }
        number += 1;
    }
    println!("{}", tally.sorts());
    println!("{} ({name}, GATE_SEED={seed}, {:.0?})", tally.line(), begun.elapsed());
    tally
}

/// What a scenario is compared with.
fn reports(verify: bool, place: Place, switches: Switches) -> Vec<Report> {
    let mut reports = vec![Report::Gate, Report::Drift];
    if place.keeps_sessions {
        // The reports are about admins and not about their single sessions.
        return reports;
    }
    if !place.production {
        // These two are about mappings, and take V2 to be promoted. Replay comes first, while the log holds the round's
        // requests and no others.
        if switches.flag {
            reports.push(Report::Replay);
        }
        reports.push(Report::Diff);
        reports.push(Report::Test);
    }
    reports.push(Report::Explain);
    if verify {
        reports.push(Report::Verify);
    }
    reports
}

/// Plays a scenario on both gates and compares.
pub async fn play(
    bench: &Bench,
    scenario: &Scenario,
    shares: &BTreeMap<String, u8>,
    reports: &[Report],
    explained: usize,
    tally: &mut Tally,
) -> Vec<Disagreement> {
    tally.met_people(scenario.world.admins.len() + scenario.world.tokens.len());
    for (side, mapping) in [(&bench.old, &scenario.old), (&bench.new, &scenario.new)] {
        tally.met(&mapping.text());
        side.install(&scenario.world, scenario.switches).await;
        if let Err(refusal) = side.swap(mapping).await {
            return vec![Disagreement::new(Report::Gate, "a mapping is refused", refusal)];
        }
    }
    let old = ask(&bench.old, scenario).await;
    let new = ask(&bench.new, scenario).await;
    let round = Round { bench, scenario, shares, old: old.answers, new: new.answers };
    let mut found = gate_answers::compare_counts(&round, Which::Old, old.reached, old.denials);
    found.extend(gate_answers::compare_counts(&round, Which::New, new.reached, new.denials));
    for report in reports {
        found.extend(compare(&round, *report, explained, tally).await);
    }
    // What these reports asked the gates must not be written among what the next scenario logs.
    let switches = scenario.switches;
    tokio::join!(bench.old.wait_for_the_logs(switches), bench.new.wait_for_the_logs(switches));
    found
}

async fn compare(
    round: &Round<'_>,
    report: Report,
    explained: usize,
    tally: &mut Tally,
) -> Vec<Disagreement> {
    let mut found = Vec::new();
    match report {
        Report::Gate => found.extend(gate_answers::compare_answers(round, tally)),
        Report::Drift => {
            let switches = round.scenario.switches;
            let (old, new) = (round.side(Which::Old), round.side(Which::New));
            tokio::join!(old.wait_for_the_logs(switches), new.wait_for_the_logs(switches));
            for which in Which::BOTH {
                found.extend(gate_answers::compare_drift(round, which, tally).await);
            }
        }
        Report::Replay => found.extend(replay_report::compare(round, tally)),
        Report::Diff => found.extend(diff_brute_force::compare(round, tally).await),
        Report::Explain => {
            for which in Which::BOTH {
                found.extend(explain_report::compare(round, which, explained, tally).await);
                let imagined = explain_report::compare_imagined(round, which, explained / 2, tally);
                found.extend(imagined.await);
            }
        }
        Report::Verify => found.extend(verify_report::compare(round, tally)),
        Report::Test => found.extend(test_report::compare(round, tally)),
    }
    found
}

/// What a gate answered, and what it did meanwhile.
struct Done {
    answers: Answers,
    /// Requests that reached Console.
    reached: usize,
    /// Denials that the audit has.
    denials: i64,
}

async fn ask(side: &Side, scenario: &Scenario) -> Done {
    let (reached, denials) = (side.reached(), side.denials().await);
    let answers = side.ask_all(&scenario.callers, &scenario.requests).await;
    Done { answers, reached: side.reached() - reached, denials: side.denials().await - denials }
}
