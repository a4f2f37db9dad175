//! The mapping, the people and the requests that the faults happen to.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::callers::{Caller, Load, Sample};
use crate::support::http::HOST;
use crate::support::{Setup, World};

/// A route that needs a role, one that needs the role of the break-glass group, and those that need nothing of the
/// database.
pub const MAPPING: &str = "version = 1\n[clusters]\nC = \"v2\"\n[blueprints.t]\ncluster = \"C\"\n[blueprints.t.routes]\n\
    \"GET /gated/<name>\" = { legacy = [\"ops\"], role = \"console-user\" }\n\
    \"GET /glass\" = { legacy = [\"ops\"], role = \"console-secrets-admin\" }\n\
    \"* /open/*\" = { public = true }\n\"GET /never\" = { public = true }\n\
    \"* /machine/*\" = { machine = true }\n";

/// A caller who holds the role of `/gated/`.
pub const ALLOWED: &str = "allowed";
/// One who does not.
pub const DENIED: &str = "denied";
pub const PUBLIC: &str = "public";
pub const MACHINE: &str = "machine";

/// The time limits that the gate ships with.
pub fn setup(upstream: &Path) -> Setup {
    let upstream = Some(upstream.to_owned());
    Setup { mapping: Some(MAPPING), upstream, patience_ms: 2_000, settle_ms: 500, ..Setup::V2 }
}

/// The head of a GET.
pub fn get(target: &str, cookie: Option<&str>) -> String {
    let cookie = cookie.map(|cookie| format!("Cookie: session={cookie}\r\n")).unwrap_or_default();
    format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\nAccept: application/json\r\n{cookie}\r\n")
}

/// A machine's request: what its token is worth, only Console knows.
pub fn machine_get() -> String {
    format!("GET /machine/x HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer x\r\n\r\n")
}

/// Anna holds the role, Bob holds nothing.
pub async fn people(world: &World) {
    world.admin("anna", &["raxx-support-team"], &[]).await;
    world.admin("bob", &[], &[]).await;
}

/// `each` callers of every kind, with kept connections.
pub fn everybody(world: &World, socket: &Path, each: usize, pause: Duration) -> Load {
    let caller = || Caller::to(socket);
    let allowed = get("/gated/x", Some(&world.cookie("anna")));
    let denied = get("/gated/x", Some(&world.cookie("bob")));
    Load::new()
        .with(each, ALLOWED, &allowed, pause, caller)
        .with(each, DENIED, &denied, pause, caller)
        .with(each, PUBLIC, &get("/open/x", None), pause, caller)
        .with(each, MACHINE, &machine_get(), pause, caller)
}

/// The requests of a kind.
pub fn of<'s>(samples: &'s [Sample], kind: &'s str) -> impl Iterator<Item = &'s Sample> {
    samples.iter().filter(move |sample| sample.kind == kind)
}

/// What no fault of the database may change: only callers who hold the role are let in, and
/// what needs nothing of the database is served all the time.
pub fn hold_to_the_promises(samples: &[Sample]) {
    for (kind, statuses) in
        [(ALLOWED, &[200, 503][..]), (DENIED, &[403, 503]), (PUBLIC, &[200]), (MACHINE, &[200])]
    {
        let mut count = 0;
        for sample in of(samples, kind) {
            assert!(statuses.contains(&sample.status()), "{kind}: {sample:?}");
            count += 1;
        }
        assert!(count > 0, "nobody asked as {kind}");
    }
}

/// Those of the 403s that were received whose audit row is missing.
pub async fn unaudited<'s>(world: &World, request_ids: impl Iterator<Item = &'s str>) -> Vec<&'s str> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut request_ids: Vec<&str> = request_ids.collect();
    loop {
        match world.store.recent(4_000_000).await {
            Ok(events) => {
                let audited: BTreeSet<String> =
                    events.into_iter().filter_map(|event| event.request_id).collect();
                request_ids.retain(|id| id.is_empty() || !audited.contains(*id));
            }
            // The test's own connections are from before the fault.
            Err(error) => assert!(Instant::now() < deadline, "the audit rows: {error}"),
        }
        // Rows that the spool took meanwhile follow within moments.
        if request_ids.is_empty() || Instant::now() >= deadline {
            return request_ids;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The request ids of the 403s.
pub fn denials(samples: &[Sample]) -> impl Iterator<Item = &str> {
    samples.iter().filter(|sample| sample.status() == 403).map(Sample::request_id)
}
