//! A cluster that enforces V2 for a cohort first: the cohort by its V2 role, the rest by the legacy roles, in shadow.

use policy::rbac::LegacyRole;

use crate::support::recorder::Recorder;
use crate::support::{Ask, Database, Setup, World};

const MAPPING: &str = "version = 1\n[clusters]\nC = { mode = \"v2\", groups = [\"ops-admins\"] }\n\
    [blueprints.t]\ncluster = \"C\"\n[blueprints.t.routes]\n\
    \"GET /x\" = { legacy = [\"ops\"], role = \"console-prod-services-write\" }\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_cohort_is_on_v2_and_the_rest_on_the_legacy_gate() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    // Ops-admins hold the V2 role (migration 0097); olaf has the legacy role alone, and nina neither.
    world.admin("first", &["ops-admins"], &[]).await;
    world.admin("olaf", &[], &[LegacyRole::literal("ops")]).await;
    world.admin("nina", &["staging-admins"], &[]).await;
    let upstream = Some(upstream.socket());
    let gate = world.gate(&Setup { mapping: Some(MAPPING), upstream, ..Setup::V2 }).await;
    let activated = "clusters=C=v2 for ops-admins, shadow for the rest";
    assert!(gate.log().contains(activated), "a cohort is not a flip: {}", gate.log());
    for (admin, expected) in [("first", 200), ("olaf", 200), ("nina", 403)] {
        let answer = gate.send(&Ask::get("/x").cookie(&world.cookie(admin))).await;
        assert_eq!(answer.status, expected, "{admin}");
    }
}
