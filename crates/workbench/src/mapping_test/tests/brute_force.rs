//! Invariants against every possible caller, one by one.

use std::collections::BTreeSet;
use std::sync::Arc;

use policy::rbac::LegacyRole;
use policy::rbac::census::BREAK_GLASS;
use proptest::prelude::*;

use super::*;
use crate::mapping_test::caller::{Caller, Holdings, Kind, Resolved, Share, TicketGrant};
use crate::mapping_test::invariants::judge;
use crate::mapping_test::judge::{Ground, Sent};

const GROUPS: [&str; 4] = ["team", "crew", "break-glass", "third"];
const ROLES: [&str; 4] = ["reader", "writer", "support", "keeper"];
const LEGACY: [&str; 3] = ["ops", "superadmin", "support"];

fn subsets<T: Clone>(all: &[T]) -> Vec<Vec<T>> {
    (0..1_u32 << all.len())
        .map(|mask| (0..all.len()).filter(|at| mask >> at & 1 == 1).map(|at| all[at].clone()).collect())
        .collect()
}

/// Every caller there can be, with at most one grant for a ticket.
fn everyone(rules: &BreakGlassRules) -> Vec<Caller> {
    let mut all = vec![Caller::bare(Kind::Anonymous), Caller::bare(Kind::Program)];
    let tickets =
        ROLES.iter().map(|role| Some(TicketGrant { of: None, role: Arc::from(*role), is_open: true }));
    let tickets: Vec<Option<TicketGrant>> = tickets.chain([None]).collect();
    for groups in subsets(&GROUPS) {
        let groups: BTreeSet<Arc<str>> = groups.into_iter().map(Arc::from).collect();
        for legacy in subsets(&LEGACY) {
            let legacy: BTreeSet<LegacyRole> = legacy.into_iter().map(LegacyRole::literal).collect();
            for share in [Share::Outside, Share::Inside] {
                let holdings =
                    Holdings { groups: groups.clone(), legacy: legacy.clone(), share, ..Holdings::default() };
                all.push(Caller::holding(Kind::Machine, holdings.clone()));
                for ticket in &tickets {
                    for break_glass in [false, true] {
                        if !break_glass || rules.allow(&groups) {
                            let ticket = ticket.clone();
                            let holdings = Holdings { break_glass, ticket, ..holdings.clone() };
                            all.push(Caller::holding(Kind::Admin, holdings));
                        }
                    }
                }
            }
        }
    }
    all
}

fn registry(edges: &[(usize, usize)], inherits: &[(usize, usize)], permits: &[(usize, bool)]) -> Catalog {
    let mut text: String = GROUPS.iter().map(|group| format!("[[group]]\nname = \"{group}\"\n")).collect();
    for (at, role) in ROLES.iter().enumerate() {
        let list =
            |names: Vec<&str>| names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let groups = edges.iter().filter(|(_, to)| *to == at).map(|(from, _)| GROUPS[*from]).collect();
        let parents =
            inherits.iter().filter(|(from, to)| from > to && *from == at).map(|(_, to)| ROLES[*to]).collect();
        let permissions = permits.iter().filter(|(to, _)| *to == at);
        let permissions = permissions.map(|(_, read)| if *read { "p:read" } else { "p:write" }).collect();
        text += &format!(
            "[[role]]\nname = \"{role}\"\ngroups = [{}]\ninherits = [{}]\npermissions = [{}]\n",
            list(groups),
            list(parents),
            list(permissions),
        );
    }
    Catalog::from_seed(&text).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// `never` and `only` find a witness exactly where one of all possible callers is one, and no smaller one exists.
    #[test]
    fn an_invariant_holds_if_it_holds_for_everyone(
        edges in prop::collection::vec((0..4_usize, 0..4_usize), 0..7),
        inherits in prop::collection::vec((0..4_usize, 0..4_usize), 0..4),
        permits in prop::collection::vec((0..4_usize, any::<bool>()), 0..5),
        barred in prop::collection::btree_set(0..12_usize, 1..5),
        under in 0..4_usize,
    ) {
        let mut scene = Scene::new(MAPPING);
        scene.catalog = registry(&edges, &inherits, &permits);
        scene.rules.eligible.insert("third".into());
        prop_assert!(scene.rules.eligible.contains(BREAK_GLASS));
        let names: Vec<String> = GROUPS.iter().map(|name| format!("group:{name}"))
            .chain(ROLES.iter().map(|name| format!("role:{name}")))
            .chain(LEGACY.iter().map(|name| format!("legacy:{name}")))
            .chain(["program".to_owned()])
            .collect();
        let not: Vec<String> = barred.iter().map(|at| format!("\"{}\"", names[*at])).collect();
        let under = ["file", "legacy", "v2", "kill-switch"][under];
        let rows: Vec<String> = scene.mapping.rows().iter().map(|row| row.route.to_string()).collect();
        let text: String = rows.iter().map(|row| format!(
            "[[never]]\nunder = \"{under}\"\nwho = {{ not = [{}] }}\nreaches = \"{row}\"\n", not.join(", "),
        )).collect();
        let file = scene.read(&text).unwrap();
        let world = scene.world();
        let ground = Ground::of(world.mapping, world.catalog, world.control);
        let everyone: Vec<(Caller, Resolved)> = everyone(world.break_glass)
            .into_iter()
            .map(|caller| (Resolved::of(&caller, world.catalog), caller))
            .map(|(resolved, caller)| (caller, resolved))
            .collect();
        for (invariant, judgement) in file.invariants.iter().zip(judge(&file, &world)) {
            let mut least: Option<usize> = None;
            for (caller, resolved) in &everyone {
                let Who::Without(grants) = &invariant.who[0] else { unreachable!() };
                let lacks = |grant: &GrantName| match grant {
                    GrantName::Group(name) => !caller.holdings.groups.contains(name),
                    GrantName::Role(name) => !resolved.access.roles.contains(name) && !resolved.has_for_ticket(name),
                    GrantName::Legacy(name) => !caller.holdings.legacy.contains(name),
                    GrantName::Program => caller.kind != Kind::Program,
                };
                if !grants.iter().all(lacks) {
                    continue;
                }
                for asked in invariant.requests.iter() {
                    let row = asked.row.map(|index| &world.mapping.rows()[index]);
                    let sent = Sent { caller, resolved, body: &invariant.body, under: invariant.under };
                    let mut passes = false;
                    ground.each(asked, row, sent, |verdict, _| passes |= verdict.outcome.is_ok());
                    if passes {
                        least = Some(least.map_or(caller.holdings.size(), |least| least.min(caller.holdings.size())));
                    }
                }
            }
            prop_assert!(judgement.complete);
            prop_assert_eq!(judgement.witness.is_some(), least.is_some(), "{} {:?}", judgement.statement, judgement.witness);
        }
    }
}
