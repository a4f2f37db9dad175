//! Where each id falls among a hundred, which decides about `percent`.
//!
//! The documents say what a share must be (an admin in 10 % is in 20 % too, in every cluster and gate; by SHA-256 of
//! the id), and not the formula. So it is measured once, on a gate, and from then on has to hold everywhere.

use std::collections::BTreeMap;

use crate::bench::Side;
use crate::bodies::Body;
use crate::callers::Caller;
use crate::decision_model::Switches;
use crate::format::{Blueprint, Cluster, Gated, Kind, Mapping, Methods, Need, Rollout, Row, V2};
use crate::mappings::with_marker;
use crate::paths::{Pattern, Segment};
use crate::scenario::Request;
use crate::world::World;

/// `n1` to `n99`, as parts of paths.
fn part(percent: u8) -> String {
    format!("n{percent}")
}

/// Asks a gate with a cluster of each share as people who pass the legacy gate alone: V2 denies those in the share.
pub async fn measure(side: &Side) -> BTreeMap<String, u8> {
    let world = World::of_ops();
    let switches = Switches { flag: true, production: false, promoted: true, keeps_sessions: false };
    side.install(&world, switches).await;
    side.swap(&with_marker(mapping())).await.expect("a sound mapping");
    let requests: Vec<Request> = (1..=99).map(request).collect();
    let admins = world.admins.iter().map(|admin| (admin.id.clone(), Caller::admin(&admin.id)));
    let tokens = world.tokens.iter().map(|token| (token.id.clone(), Caller::machine(&token.id)));
    let (ids, callers): (Vec<String>, Vec<Caller>) = admins.chain(tokens).unzip();
    let answers = side.ask_all(&callers, &requests).await;
    // What is written behind the answers must not come among the next scenario's.
    side.wait_for_the_logs(switches).await;
    let mut shares = BTreeMap::new();
    for (number, id) in ids.into_iter().enumerate() {
        let statuses: Vec<u16> = answers.iter().map(|row| row[number].status).collect();
        let outside = statuses.iter().take_while(|status| **status == 200).count();
        let is_one_step = statuses[outside..].iter().all(|status| *status == 403);
        assert!(is_one_step, "{id} is in a share and not in a larger one: {statuses:?}");
        shares.insert(id, u8::try_from(outside).expect("there are 99"));
    }
    shares
}

fn request(percent: u8) -> Request {
    Request::plain("GET", &format!("/share/{}", part(percent)), Body::none())
}

fn mapping() -> Mapping {
    let clusters = (1..=99).map(|percent| Cluster {
        name: part(percent),
        rollout: Rollout::Cohort { groups: Vec::new(), percent: Some(percent) },
    });
    let blueprints = (1..=99).map(|percent| Blueprint {
        name: part(percent),
        cluster: Some(usize::from(percent) - 1),
        freshness: None,
        rows: vec![row(percent)],
    });
    Mapping {
        unmapped: None,
        counts_rows: false,
        clusters: clusters.collect(),
        blueprints: blueprints.collect(),
    }
}

fn row(percent: u8) -> Row {
    // A role that a group holds in the world of this test, and nobody is in a group.
    let world = World::of_ops();
    let (_, role) = *world.group_roles.first().expect("a group holds a role");
    let v2 = V2::Needs { base: Need::Role(role), when: Vec::new(), decided: false, ticket: None };
    // One part for each share, for the life of the test.
    let last = Segment::Static(Box::leak(part(percent).into_boxed_str()));
    let path = Pattern { segments: vec![Segment::Static("share"), last], slash: false, prefix: false };
    let kind = Kind::Gated(Gated { legacy: Some(vec!["ops"]), v2, machines: true });
    Row::plain(Methods::Some(vec!["GET"]), path, kind)
}
