//! Random requests to random mappings: certain answers of a replay are right, and the right one is among the possible.

use proptest::prelude::*;

use super::super::*;
use crate::impact::tests::model::{Sent, Who, ends, mappings, people, requests};
use crate::impact::{LegacyAs, Population, ProfileKind};

/// The request as a gate logs it; `None` where it does not.
fn logged(then: &Arc<Mapping>, sent: &Sent, who: Who<'_>) -> Option<Recorded> {
    let (answer, gate) = ends(then, sent, who);
    let target = Target::of(then, sent.path, sent.method);
    // Where no session is asked for, no caller is looked up.
    // A quiet path is not logged.
    if then.is_quiet(sent.path) {
        return None;
    }
    let is_asked = match target {
        Target::Row(row, _) => row.kind.asks_who(),
        Target::Unmapped(unmapped) => unmapped == Unmapped::Deny,
    };
    let known = match who {
        Who::Member(profile, id) if is_asked => match (profile.kind, target.row().map(|row| &row.kind)) {
            (ProfileKind::Machine, Some(RowKind::Gated { machine: true, .. })) => {
                Some((CallerKind::Machine, id.to_string()))
            }
            (ProfileKind::Machine, _) => None,
            _ => Some((CallerKind::Admin, id.to_string())),
        },
        _ => None,
    };
    if target.row().is_some() && known.is_none() {
        return None;
    }
    Some(Recorded {
        method: sent.method.as_str().to_owned(),
        path: sent.path.to_owned(),
        caller: known,
        gate: gate.to_owned(),
        answer: answer.to_owned(),
        count: 1,
        mapping: Some(then.clone()),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_replay_is_certain_of_what_is_so_and_allows_for_it((old, new) in mappings()) {
        let (old, new) =
            (Arc::new(Mapping::parse("old", &old).unwrap()), Mapping::parse("new", &new).unwrap());
        let (catalog, people) = (crate::impact::tests::catalog(), people());
        let population = Population::new(&catalog, &people, &LegacyAs::new(), &[&old, &new]);
        let real = population
            .profiles()
            .iter()
            .filter(|profile| matches!(profile.kind, ProfileKind::Admin | ProfileKind::Machine));
        let members = real.flat_map(|profile| profile.members.iter().map(move |one| Who::Member(profile, one)));
        let everybody: Vec<Who<'_>> = [Who::Anonymous, Who::Presented].into_iter().chain(members).collect();
        for sent in requests().iter().filter(|sent| !sent.upgrade) {
            for who in &everybody {
                let Some(record) = logged(&old, sent, *who) else { continue };
                let before = record.answer.clone();
                let (after, _) = ends(&new, sent, *who);
                let replay = replay(&[record], &new, &catalog, &people);
                let reported: Vec<(&str, bool)> =
                    replay.changed.iter().map(|one| (one.after, one.certain)).collect();
                let holds = match reported.as_slice() {
                    [] => before == after,
                    [(end, true)] => *end == after,
                    several => before == after || several.contains(&(after, false)),
                };
                prop_assert!(
                    holds,
                    "{:?} {:?}: {} -> {}, {:?}\n{}\n{}", who, sent, before, after, reported, old.source(), new.source()
                );
                // Nothing has changed but the mapping.
                prop_assert!(replay.changed.iter().all(|one| one.because == Because::Mapping || one.after != after || before == after));
            }
        }
    }
}
