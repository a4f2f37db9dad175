//! The gates' answers and the drift that they wrote, with the models.

use std::collections::BTreeMap;

use crate::callers::Caller;
use crate::decision_model::{Ending, decide};
use crate::disagreement::{Disagreement, Report};
use crate::paths::find;
use crate::round::{Round, Which};
use crate::scenario::Request;
use crate::tally::Tally;
use crate::world::MARKER;

/// Each answer of each gate: the status, whether Console had the request, and the reason of a 403.
pub fn compare_answers(round: &Round<'_>, tally: &mut Tally) -> Vec<Disagreement> {
    let mut found = Vec::new();
    for which in Which::BOTH {
        let facts = round.facts(which);
        for (request, caller, seen) in round.each(which) {
            tally.count(Report::Gate);
            let said = decide(&facts, caller, request);
            let expected = said.ending.status(request.htmx);
            let reached = said.ending == Ending::Forwarded;
            let same_reason = match &seen.reason {
                Some(reason) if seen.status == 403 => said.reasons.contains(&reason.as_str()),
                // htmx is answered with a fragment for a person.
                _ => seen.status != 403 || request.method == "HEAD" || request.htmx,
            };
            if seen.status == expected && seen.reached == reached && same_reason {
                continue;
            }
            let message = format!(
                "the model says {expected}{} for {:?}: {}\nthe gate with the {} mapping answered {}{} for {:?}",
                if reached { ", forwarded" } else { "" },
                said.reasons,
                said.because,
                which.word(),
                seen.status,
                if seen.reached { ", forwarded" } else { "" },
                seen.reason,
            );
            let kind = format!("{} instead of {expected}, {:?}", seen.status, seen.reason);
            found.push(Disagreement::new(Report::Gate, kind, message).by(caller).at(request));
        }
    }
    found
}

/// What reached Console, and which denials the audit has, are exactly the answers that say so.
pub fn compare_counts(round: &Round<'_>, which: Which, reached: usize, denials: i64) -> Vec<Disagreement> {
    let count = |wanted: &[Ending]| {
        let facts = round.facts(which);
        let all = round.each(which);
        all.filter(|(request, caller, _)| wanted.contains(&decide(&facts, caller, request).ending)).count()
    };
    let answered = round.each(which).filter(|(_, _, seen)| seen.status == 200).count();
    let mut found = Vec::new();
    if reached != answered {
        let message = format!("{reached} requests reached Console, and {answered} were answered 200");
        found.push(Disagreement::new(Report::Gate, "requests at Console", message));
    }
    let denied = count(&[Ending::Denied, Ending::DeniedToLogin]);
    if usize::try_from(denials).ok() != Some(denied) {
        let message = format!("the audit has {denials} denials, and the model counts {denied}");
        found.push(Disagreement::new(Report::Gate, "audited denials", message));
    }
    found
}

/// Who, where and which way.
type Key = (String, String, String, String);

/// The drift rows: each disagreement of the two gates, counted.
pub async fn compare_drift(round: &Round<'_>, which: Which, tally: &mut Tally) -> Vec<Disagreement> {
    let facts = round.facts(which);
    let mut expected: BTreeMap<Key, (i64, &Request, &Caller)> = BTreeMap::new();
    for (request, caller, _) in round.each(which) {
        tally.count(Report::Drift);
        let said = decide(&facts, caller, request);
        let (Some(drift), Some((kind, id))) = (said.drift, said.actor) else { continue };
        if id == MARKER {
            continue;
        }
        let row = find(facts.mapping, request.method, &request.path).row().expect("a gate was asked");
        let route = facts.mapping.rows()[row].route();
        let key = (kind.to_owned(), id, route, drift.word().to_owned());
        expected.entry(key).or_insert((0, request, caller)).0 += 1;
    }
    let rows = round.side(which).home.store.drift().await.expect("the drift rows");
    let mut written: BTreeMap<Key, i64> = BTreeMap::new();
    for row in rows.into_iter().filter(|row| row.actor_id != MARKER) {
        *written.entry((row.actor_kind, row.actor_id, row.route, row.direction)).or_default() += row.count;
    }
    let mut found = Vec::new();
    for (key, (count, request, caller)) in &expected {
        let wrote = written.remove(key).unwrap_or_default();
        if wrote != *count {
            let gate = format!("the gate with the {} mapping wrote {wrote}", which.word());
            let message = format!("{key:?}: the model counts {count}, {gate}");
            let kind = if wrote < *count { "missing drift" } else { "too much drift" };
            found.push(Disagreement::new(Report::Drift, kind, message).by(caller).at(request));
        }
    }
    for (key, count) in written {
        let message = format!("{key:?}: the model counts none, the gate wrote {count}");
        found.push(Disagreement::new(Report::Drift, "invented drift", message));
    }
    found
}
