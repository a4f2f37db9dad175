//! Whether a mutant changes any decision.

use std::collections::BTreeSet;

use policy::decision::body::{BodyFacts, BodyKind};
use policy::mapping::{Rollout, Row};
use policy::method::Method;
use policy::rbac::break_glass::BreakGlassRules;

use crate::mapping_test::caller::{Caller, Resolved};
use crate::mapping_test::judge::{Answer, Asked, Ground, Under};
use crate::mapping_test::space;

/// What a mutant changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    /// Not decided, because there are too many callers or paths.
    Unknown,
    /// One caller for which the answer differs.
    Differs {
        caller: String,
        under: Under,
        answers: [Answer; 2],
    },
}

impl Effect {
    pub(super) fn in_words(&self) -> Option<String> {
        let Effect::Differs { caller, under, answers: [before, after] } = self else { return None };
        let under = if *under == Under::File { String::new() } else { format!(" under {}", under.word()) };
        Some(format!("{caller}{under}: {} -> {}", before.word(), after.word()))
    }
}

/// Two rows that decide the same requests, each on its ground.
pub(super) struct Pair<'g, 'a> {
    pub grounds: [&'g Ground<'a>; 2],
    pub rows: [Option<&'g Row>; 2],
    /// A request; `None` for any that the rows decide.
    pub asked: Option<Asked>,
}

impl Pair<'_, '_> {
    /// The first difference, in one of these modes.
    pub(super) fn effect(&self, modes: &BTreeSet<Under>, rules: &BreakGlassRules) -> Effect {
        let asked = self.asked.clone().unwrap_or_else(|| {
            let methods = self.rows.into_iter().flatten().map(|row| row.methods);
            let method = methods.flat_map(|methods| methods.iter().collect::<Vec<Method>>());
            let method = method.into_iter().max_by_key(|method| method.carries_body()).unwrap_or(Method::Get);
            Asked { method, path: "/".to_owned(), query: None, row: None, refused: None }
        });
        let mut complete = true;
        for under in modes {
            let mut callers: BTreeSet<Caller> = BTreeSet::new();
            for ((ground, row), (_, other)) in
                self.grounds.iter().zip(self.rows).zip(self.grounds.iter().zip(self.rows).rev())
            {
                // Also on the other's side of a cohort.
                for rollout_of in [row, other].into_iter().flatten() {
                    let rollout = ground.rollout(rollout_of, *under);
                    let space = space::of_row(row, &rollout, ground.catalog, rules);
                    complete &= space.complete;
                    callers.extend(space.callers);
                }
                callers.extend(space::of_row(None, &Rollout::LEGACY, ground.catalog, rules).callers);
            }
            for caller in callers {
                if let Some(answers) = self.difference(&caller, &asked, *under) {
                    return Effect::Differs { caller: caller.to_string(), under: *under, answers };
                }
            }
        }
        if complete { Effect::None } else { Effect::Unknown }
    }

    /// The two answers, if they differ for one kind of body.
    fn difference(&self, caller: &Caller, asked: &Asked, under: Under) -> Option<[Answer; 2]> {
        let resolved = self.grounds.map(|ground| Resolved::of(caller, ground.catalog));
        for facts in self.bodies(asked.method) {
            let [before, after] = [0, 1].map(|side| {
                let (ground, row) = (self.grounds[side], self.rows[side]);
                Answer::of(&ground.verdict(asked, row, (caller, &resolved[side]), under, &facts[side]))
            });
            if before != after {
                return Some([before, after]);
            }
        }
        None
    }

    /// Each kind of body that one of the rows distinguishes, as each of them reads it.
    fn bodies(&self, method: Method) -> Vec<[BodyFacts; 2]> {
        let rules = self.rows.map(|row| row.map_or(&[][..], |row| row.kind.body_rules()));
        let facts = |kind: BodyKind<'_>| rules.map(|rules| kind.facts(rules));
        let mut all = vec![facts(BodyKind::Unreadable)];
        for kind in rules.iter().flat_map(|rules| BodyKind::all(rules, method)) {
            all.push(facts(kind));
        }
        // A body without a field that only one of the rows reads.
        for side in [0, 1] {
            let lacks =
                rules[1 - side].iter().any(|rule| rules[side].iter().all(|own| own.field != rule.field));
            if lacks {
                let mut pair = facts(BodyKind::NoRule);
                pair[1 - side] = BodyKind::Unreadable.facts(rules[1 - side]);
                all.push(pair);
            }
        }
        if all.len() == 1 { vec![rules.map(|_| BodyFacts::NotRead)] } else { all }
    }
}
