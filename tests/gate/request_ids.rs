//! The id of a request: the gate's own, or the one that a proxy in front gave it.

use crate::support::recorder::Recorder;
use crate::support::{Ask, Database, Setup, World};

const MAPPING: &str = "version = 1\n[clusters]\nV = \"v2\"\n[blueprints.v]\ncluster = \"V\"\n[blueprints.v.routes]\n\
    \"GET /gated\" = { legacy = [\"ops\"], role = \"console-user\" }\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_of_ones_own_proxy_is_in_the_answer_the_audit_the_log_and_at_console() {
    let longest = "x".repeat(128);
    let too_long = "x".repeat(129);
    let table: [(&'static str, &[&str], bool); 8] = [
        ("trusted_hops = 1\n", &["lb-42/a.b~{\"}"], true),
        ("trusted_hops = 1\n", &[&longest], true),
        ("trusted_hops = 1\n", &[&too_long], false),
        ("trusted_hops = 1\n", &["two words"], false),
        ("trusted_hops = 1\n", &[""], false),
        ("trusted_hops = 1\n", &["one", "two"], false),
        ("trusted_hops = 1\n", &["one", "one"], false),
        ("", &["lb-42"], false),
    ];
    let world = World::new(Database::Sqlite).await;
    world.admin("anna", &["raxx-support-team"], &[]).await;
    world.admin("ben", &[], &[]).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let setup = |forwarded| Setup {
        mapping: Some(MAPPING),
        upstream: Some(upstream.socket()),
        sections: "[log]\naccess = true\n",
        forwarded,
        ..Setup::V2
    };
    let behind = world.gate(&setup("trusted_hops = 1\n")).await;
    let alone = world.gate(&setup("")).await;
    for (forwarded, sent, is_kept) in table {
        let gate = if forwarded.is_empty() { &alone } else { &behind };
        let ask = |who: &str| {
            let ask = Ask::get("/gated").cookie(&world.cookie(who));
            sent.iter().fold(ask, |ask, id| ask.header("x-request-id", *id))
        };
        let allowed = gate.send(&ask("anna")).await;
        assert_eq!(allowed.status, 200, "{sent:?}");
        let id = allowed.request_id().to_owned();
        assert_eq!(sent.contains(&id.as_str()), is_kept, "{sent:?}: {id}");
        assert!(is_kept || id.parse::<uuid::Uuid>().is_ok(), "{id}");
        let reached = upstream.requests().pop().expect("a request");
        assert_eq!(reached.header("x-request-id"), Some(id.clone()), "one field, and the same id");

        let denied = gate.send(&ask("ben")).await;
        assert_eq!(denied.status, 403, "{sent:?}");
        let id = denied.request_id();
        assert_eq!(sent.contains(&id), is_kept, "{sent:?}: {id}");
        assert_eq!(denied.json()["request_id"], id, "the answer itself names it");
        let rows = world.store.by_request(id).await.expect("the audit");
        assert_eq!(rows.len(), 1, "{sent:?}: {id}");
        let line = format!("request_id={id}");
        for tries in 0.. {
            if gate.log().contains(&line) {
                break;
            }
            assert!(tries < 1_000, "no `{line}` in the log");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}
