//! Clusters turned over `/api/rbac` and its pages: by an operator alone, with the effect that was shown, in one step of one
//! file that two gates share.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use policy::ids::AdminId;
use policy::mapping::parse::sha256_of;
use policy::rbac::LegacyRole;
use serde_json::{Value, json};

use crate::people_pages::{Form, text};
use crate::rbac_api::openapi::compare;
use crate::support::recorder::Recorder;
use crate::support::{Answer, Ask, Database, Gate, Setup, World};

const MAPPING: &str = r#"# Which route needs which role.
version = 1

[clusters]     # the rollout
S1   = "legacy"	# first: CUT-7, S1 = "v2" by June
S2 = { mode = "v2", groups = ["raxx-support-team"] }

[soak]
shadow_days = 0
quiet_hours = 0
requests = 0
admins = 0

[blueprints.one]
cluster = "S1"
[blueprints.one.routes]
"GET /audit" = { legacy = ["ops"], role = "console-audit-user" }    # kept
"GET /secrets" = { legacy = ["superadmin"], role = "console-secrets-admin" }
[blueprints.two]
cluster = "S2"
[blueprints.two.routes]
"GET /later" = { legacy = ["ops"], role = "console-user" }
[blueprints.api.routes]
"GET /api/rbac/me" = { session = true, gate = true, unauthenticated = "401" }
"GET,POST /api/rbac/requests" = { session = true, gate = true, unauthenticated = "401" }
"GET /api/rbac/*" = { role = "console-audit-user", machine_or_session = true, gate = true, unauthenticated = "401" }
"POST,PUT,DELETE /api/rbac/*" = { role = "console-invite-admin", machine_or_session = true, gate = true, unauthenticated = "401" }
"GET,POST /console/rbac/*" = { session = true, gate = true }
"#;
/// The operator's permission, of the role `raptor-audit-admin`.
const OPERATE: &str = "operate = \"raptor:audit:read-admin\"\n";
const WRITES: &str = "write_mapping = true\n";
const OPERATOR: [&str; 3] = ["console-audit-user", "console-invite-admin", "raptor-audit-admin"];
const BOTH: [Database; 2] = [Database::Sqlite, Database::Postgres];

/// Two gates that watch one file.
struct Fleet {
    sessions: BTreeMap<&'static str, String>,
    world: World,
    gates: [Gate; 2],
    _upstream: Recorder,
}

impl Fleet {
    async fn new(database: Database, rbac_api: &str) -> Fleet {
        let world = World::new(database).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        let ops = [LegacyRole::literal("ops")];
        world.admin_holding("anna", &OPERATOR).await;
        world.store.add_legacy_role(&AdminId::new("anna"), &ops[0], "tests").await.expect("a role to hold");
        // Another operator, to whom V2 would open a route.
        world.admin_holding("olga", &OPERATOR).await;
        // Grants access, and operates nothing.
        world.admin_holding("ivan", &["console-audit-user", "console-invite-admin"]).await;
        world.admin("ben", &["raxx-support-team"], &[]).await;
        world.admin("carol", &[], &ops).await;
        let setup = Setup {
            mapping: Some(MAPPING),
            upstream: Some(upstream.socket()),
            sections: format!("[rbac_api]\n{rbac_api}").leak(),
            ..Setup::V2
        };
        let first = world.gate(&setup).await;
        let file = format!("file = \"{}\"\n", first.mapping_file().display());
        let second = world.gate(&Setup { mapping_settings: file.leak(), ..setup }).await;
        let sessions =
            ["anna", "olga", "ivan", "ben", "carol"].map(|admin| (admin, world.cookie(admin))).into();
        Fleet { sessions, world, gates: [first, second], _upstream: upstream }
    }

    fn file(&self) -> String {
        std::fs::read_to_string(self.gates[0].mapping_file()).expect("the mapping")
    }

    /// Edits the file as a person does, and waits until both gates run it.
    async fn edit(&self, mapping: &str) {
        let file = self.gates[0].mapping_file();
        std::fs::write(file.with_extension("new"), mapping).expect("a new file");
        std::fs::rename(file.with_extension("new"), file).expect("a rename");
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let gates = self.world.store.running_gates().await.expect("the gates");
            if gates.iter().filter(|gate| gate.runs.mapping == sha256_of(mapping)).count() == 2 {
                return;
            }
            assert!(Instant::now() < deadline, "{}", self.gates[0].log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn send(&self, ask: &Ask) -> Answer {
        let answer = self.gates[0].send(ask).await;
        assert!(answer.status < 500, "{} {}: {}", ask.method, ask.target, text(&answer));
        if answer.status == 403 {
            let rows = self.world.store.by_request(answer.request_id()).await.expect("the audit");
            let denied = rows.iter().filter(|row| row.event_type == "access_denied").count();
            assert_eq!(denied, 1, "{} {}", ask.method, ask.target);
        }
        answer
    }

    async fn page(&self, admin: &str, path: &str) -> String {
        let ask = Ask::get(&format!("/console/rbac{path}")).cookie(&self.sessions[admin]);
        let answer = self.send(&ask.header("accept", "text/html")).await;
        assert_eq!(answer.status, 200, "{path}: {}", text(&answer));
        text(&answer)
    }

    async fn submit(&self, admin: &str, form: &Form) -> Answer {
        let ask = Ask::new("POST", &form.action).cookie(&self.sessions[admin]).header("accept", "text/html");
        self.send(&ask.header("content-type", "application/x-www-form-urlencoded").body(form.body())).await
    }

    /// The page that shows what a turn would do.
    async fn review(&self, admin: &str, mode: &str, reason: &str) -> String {
        let form = Form::of(&self.page(admin, "/cutover/S1").await, "/console/rbac/cutover/S1");
        let answer = self.submit(admin, &form.with("mode", mode).with("reason", reason)).await;
        assert_eq!(answer.status, 200, "{}", text(&answer));
        text(&answer)
    }

    async fn confirm(&self, admin: &str, page: &str) -> Answer {
        self.submit(admin, &Form::of(page, "/console/rbac/cutover/S1/confirm")).await
    }

    /// A turn by a program.
    async fn turn(
        &self,
        admin: &str,
        cluster: &str,
        query: &str,
        known: Option<&str>,
        body: &Value,
    ) -> Answer {
        let target = format!("/api/rbac/clusters/{cluster}/mode{query}");
        let ask = Ask::new("POST", &target).cookie(&self.sessions[admin]);
        let ask = ask.header("sec-fetch-site", "same-origin").header("content-type", "application/json");
        let ask = known.map_or(ask.clone(), |known| ask.header("if-match", known));
        self.send(&ask.body(body.to_string())).await
    }

    /// What each gate answers now.
    async fn both(&self, admin: &str, target: &str) -> [u16; 2] {
        let ask = Ask::get(target).cookie(&self.sessions[admin]);
        [self.gates[0].send(&ask).await.status, self.gates[1].send(&ask).await.status]
    }
}

/// Every answer has the form that the OpenAPI document states.
#[tokio::test(flavor = "multi_thread")]
async fn the_document_describes_the_answers() {
    let fleet = Fleet::new(Database::Sqlite, &[OPERATE, WRITES].concat()).await;
    let get = async |target: &str| fleet.send(&Ask::get(target).cookie(&fleet.sessions["anna"])).await;
    let document = get("/api/rbac/openapi.json").await.json();
    let sha256 = sha256_of(MAPPING);
    for (template, target) in [
        ("/api/rbac/fleet", "/api/rbac/fleet".to_owned()),
        ("/api/rbac/clusters", "/api/rbac/clusters".to_owned()),
        ("/api/rbac/clusters/{name}", "/api/rbac/clusters/S1".to_owned()),
        ("/api/rbac/clusters/{name}", "/api/rbac/clusters/none".to_owned()),
        ("/api/rbac/mapping", "/api/rbac/mapping".to_owned()),
        ("/api/rbac/mapping/history", "/api/rbac/mapping/history?limit=2".to_owned()),
        ("/api/rbac/mapping/diff", format!("/api/rbac/mapping/diff?from={0}&to={0}", sha256.short())),
        ("/api/rbac/mapping/{sha256}", format!("/api/rbac/mapping/{}", sha256.short())),
    ] {
        compare(&document, "GET", template, &get(&target).await);
    }
    let template = "/api/rbac/clusters/{name}/mode";
    let preview = fleet.turn("anna", "S1", "?dry_run=true", None, &to("shadow")).await;
    compare(&document, "POST", template, &preview);
    let query = format!("?expect={}", preview.json()["preview_sha256"].as_str().expect("a digest"));
    let turned = fleet.turn("anna", "S1", &query, Some(preview.header("etag")), &to("shadow")).await;
    assert_eq!(turned.json()["gates"].as_array().map(Vec::len), Some(2), "{}", text(&turned));
    compare(&document, "POST", template, &turned);
    compare(&document, "GET", "/api/rbac/clusters/{name}", &get("/api/rbac/clusters/S1").await);
    let ask = Ask::new("POST", "/api/rbac/mapping/compare").cookie(&fleet.sessions["anna"]);
    let ask = ask.header("sec-fetch-site", "same-origin").header("content-type", "application/json");
    let compared = fleet.send(&ask.body(json!({ "text": MAPPING }).to_string())).await;
    compare(&document, "POST", "/api/rbac/mapping/compare", &compared);
}

fn etag(mapping: &str) -> String {
    format!("\"{}\"", sha256_of(mapping).as_str())
}

fn to(mode: &str) -> Value {
    json!({ "mode": mode, "reason": "CUT-7" })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_turns_a_cluster_to_shadow_and_v2_and_back() {
    for database in BOTH {
        let fleet = Fleet::new(database, &[OPERATE, WRITES].concat()).await;
        let list = fleet.page("anna", "/cutover").await;
        assert!(list.contains("Turn to shadow") && list.contains("2 gates serve"), "{list}");
        let review = fleet.review("anna", "shadow", "CUT-7 <b>").await;
        assert!(review.contains("No route opens or closes for anybody.") && review.contains("CUT-7 &#60;b"));
        let turned = fleet.confirm("anna", &review).await;
        assert_eq!((turned.status, turned.header("location")), (303, "/console/rbac/cutover/S1"));
        let shadow = MAPPING.replace("S1   = \"legacy\"\t#", "S1   = \"shadow\"\t#");
        assert_eq!(fleet.file(), shadow, "comments, order and layout stay");
        assert!(fleet.page("anna", "/cutover/S1").await.contains("S1 is on shadow in both gates since "));

        assert!(fleet.page("anna", "/cutover").await.contains("Turn to v2"));
        let review = fleet.review("anna", "v2", "CUT-8").await;
        for said in ["carol loses 1 route at once", "1 route at once", "Soak passed", "+S1   = &#34;v2&#34;"]
        {
            assert!(review.contains(said), "{said}: {review}");
        }
        assert_eq!(fleet.confirm("anna", &review).await.status, 303);
        // It is answered once every gate has it.
        assert_eq!(fleet.both("ben", "/audit").await, [200, 200]);
        assert_eq!(fleet.both("carol", "/audit").await, [403, 403]);
        let v2 = shadow.replace("S1   = \"shadow\"", "S1   = \"v2\"");
        assert_eq!(fleet.file(), v2);

        // What was shown once is not made again, and forward is no way back.
        assert_eq!(fleet.confirm("anna", &review).await.status, 303, "the same answer by its key");
        assert_eq!(fleet.turn("anna", "S1", "", Some(&etag(&v2)), &to("legacy")).await.status, 428);
        let page = fleet.page("anna", "/cutover/S1").await;
        assert!(page.contains("S1 is on v2 in both gates since ") && page.contains("CUT-8"), "{page}");
        let back = Form::of(&page, "/console/rbac/cutover/S1/back");
        assert_eq!(fleet.submit("anna", &back).await.status, 303);
        assert_eq!(fleet.file(), shadow);
        assert_eq!(fleet.both("ben", "/audit").await, [403, 403]);
        assert!(!fleet.page("anna", "/cutover/S1").await.contains("/S1/back"), "forward is no way back");

        let turns = fleet.world.store.recent(10_000).await.expect("the audit").into_iter();
        let turns: Vec<_> = turns.filter(|row| row.event_type == "cluster_turned").collect();
        assert_eq!(turns.len(), 3);
        let of_v2 = turns.iter().find(|row| row.reason.as_deref() == Some("CUT-8")).expect("the turn to v2");
        assert_eq!(of_v2.actor_id.as_deref(), Some("anna"));
        assert_eq!(of_v2.mapping_sha256.as_deref(), Some(sha256_of(&v2).as_str()));
        let detail = json!({
            "cluster": "S1", "before": "shadow", "after": "v2", "previous": sha256_of(&shadow).as_str(),
        });
        assert_eq!(of_v2.detail.as_ref().map(|detail| &detail.0), Some(&detail));
        let history = fleet.gates[0].run(&["history"]);
        assert!(history.contains("turn by anna on ") && history.contains("S1 to v2: CUT-8"), "{history}");
        let (code, said) = fleet.gates[0].attempt(&["audit", "verify"]);
        assert_eq!(code, 0, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_since_it_was_shown_is_not_turned() {
    for database in BOTH {
        let fleet = Fleet::new(database, &[OPERATE, WRITES].concat()).await;
        let review = fleet.review("anna", "v2", "CUT-8").await;
        fleet.world.admin("dora", &["raxx-support-team"], &[]).await;
        let stale = fleet.confirm("anna", &review).await;
        assert_eq!((stale.status, fleet.file().as_str()), (412, MAPPING), "somebody was granted access");
        let shown = text(&stale);
        assert!(shown.contains("Nothing was changed") && shown.contains("dora"), "{shown}");
        let edited = format!("{MAPPING}# by hand\n");
        fleet.edit(&edited).await;
        let stale = fleet.confirm("anna", &shown).await;
        assert_eq!((stale.status, fleet.file()), (412, edited.clone()), "somebody edited the file");
        assert_eq!(fleet.confirm("anna", &text(&stale)).await.status, 303);
        assert_eq!(fleet.file(), edited.replace("S1   = \"legacy\"", "S1   = \"v2\""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_turn_a_cluster_does_not() {
    for database in BOTH {
        let fleet = Fleet::new(database, &[OPERATE, WRITES].concat()).await;
        let (known, dry) = (etag(MAPPING), "?dry_run=true");
        let (known, v2) = (Some(known.as_str()), to("v2"));
        let other = Some("\"0\"");
        for (admin, cluster, query, known, body, expected, said) in [
            ("carol", "S1", dry, known, &v2, 403, "console-invite-admin"),
            ("ivan", "S1", dry, known, &v2, 403, "holders of the permission `raptor:audit:read-admin`"),
            ("ivan", "S1", "", known, &v2, 403, "holders of the permission"),
            // Who grants access, and who would open a route to themselves.
            ("olga", "S1", dry, known, &v2, 403, "GET /audit to you"),
            ("olga", "S1", "", known, &v2, 403, "another operator"),
            ("anna", "S1", "", None, &v2, 428, "If-Match"),
            ("anna", "S1", "", known, &v2, 428, "expect"),
            ("anna", "S1", "?expect=0", known, &v2, 412, "look at it again"),
            ("anna", "S1", "?expect=0", other, &v2, 412, "look at it again"),
            ("anna", "S3", dry, known, &v2, 404, "no such cluster"),
            ("anna", "S1", dry, known, &to("legacy"), 422, "already"),
            ("anna", "S1", dry, known, &to("on"), 422, "`mode` is"),
            ("anna", "S2", dry, known, &to("shadow"), 422, "cohort"),
            ("anna", "S1", dry, known, &json!({ "mode": "v2", "reason": " " }), 422, "reason"),
            ("anna", "S1", "?dry=1", known, &v2, 400, "unknown parameter"),
        ] {
            let answer = fleet.turn(admin, cluster, query, known, body).await;
            let shown = text(&answer);
            assert!(answer.status == expected && shown.contains(said), "{admin} {query} {body}: {shown}");
        }
        assert_eq!(fleet.file(), MAPPING);
        let page = fleet.page("ivan", "/cutover/S1").await;
        assert!(
            !page.contains("action=\"/console/rbac/cutover/S1\""),
            "no form that leads to a refusal: {page}"
        );
        // A turn that opens nothing to the one who makes it.
        assert_eq!(fleet.turn("olga", "S1", dry, known, &to("shadow")).await.status, 200);
    }
    let fleet = Fleet::new(Database::Sqlite, WRITES).await;
    let answer = fleet.turn("anna", "S1", "?dry_run=true", None, &to("shadow")).await;
    let shown = text(&answer);
    assert!(answer.status == 403 && shown.contains("names no permission"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_may_not_write_offers_the_patch() {
    for database in BOTH {
        let fleet = Fleet::new(database, OPERATE).await;
        let review = fleet.review("anna", "shadow", "CUT-7").await;
        assert!(
            !review.contains("/S1/confirm") && review.contains("does not write")
                || review.contains("may not write")
        );
        let preview = fleet.turn("anna", "S1", "?dry_run=true", None, &to("shadow")).await.json();
        let query = format!("?expect={}", preview["preview_sha256"].as_str().expect("a digest"));
        let answer = fleet.turn("anna", "S1", &query, Some(&etag(MAPPING)), &to("shadow")).await;
        assert_eq!((answer.status, fleet.file().as_str()), (409, MAPPING));
        // The patch is one that `patch` takes, and makes exactly that turn.
        let folder = fleet.gates[0].folder().join("elsewhere");
        std::fs::create_dir(&folder).expect("a folder");
        std::fs::write(folder.join("routes.toml"), MAPPING).expect("a copy");
        let patch = answer.json()["patch"].as_str().expect("a patch").to_owned();
        std::fs::write(folder.join("turn.patch"), patch).expect("the patch");
        let applied =
            std::process::Command::new("git").args(["apply", "turn.patch"]).current_dir(&folder).status();
        assert!(applied.expect("git").success());
        let patched = std::fs::read_to_string(folder.join("routes.toml")).expect("the patched copy");
        assert_eq!(patched, MAPPING.replace("S1   = \"legacy\"", "S1   = \"shadow\""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_turned_while_a_rollback_is_in_force() {
    for database in BOTH {
        let fleet = Fleet::new(database, &[OPERATE, WRITES].concat()).await;
        let v2 = MAPPING.replace("S1   = \"legacy\"", "S1   = \"v2\"");
        fleet.edit(&v2).await;
        let to_legacy = sha256_of(MAPPING);
        let (code, said) = fleet.gates[0].attempt(&["rollback", "--to", to_legacy.short(), "--yes"]);
        assert_eq!(code, 0, "{said}");
        let answer = fleet.turn("anna", "S1", "?dry_run=true", None, &to("shadow")).await;
        let shown = text(&answer);
        let expected = "A rollback is in force: S1 runs as legacy although the file has v2.";
        assert!(answer.status == 409 && shown.contains(expected), "{shown}");
        let page = fleet.page("anna", "/people").await;
        assert!(page.contains("A rollback is in force: "), "{page}");
        assert!(!fleet.page("carol", "/me").await.contains("A rollback is in force"), "it is for readers");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mapping_is_read_by_readers_and_a_candidate_activates_nothing() {
    for database in BOTH {
        let fleet = Fleet::new(database, &[OPERATE, WRITES].concat()).await;
        let v2 = MAPPING.replace("S1   = \"legacy\"", "S1   = \"v2\"");
        fleet.edit(&v2).await;
        let page = fleet.page("ivan", "/mapping").await;
        for said in ["2 gates serve", "S1 = &#34;v2&#34; by June", "Changes<span", "id=\"L5\""] {
            assert!(page.contains(said), "{said}: {page}");
        }
        let (from, to) = (sha256_of(MAPPING), sha256_of(&v2));
        let diff =
            fleet.page("ivan", &format!("/mapping/diff?from={}&to={}", from.short(), to.short())).await;
        assert!(
            diff.contains("carol loses 1 route at once") && diff.contains("+S1   = &#34;v2&#34;"),
            "{diff}"
        );
        assert!(fleet.page("ivan", &format!("/mapping/{}", from.as_str())).await.contains("id=\"L5\""));
        for (admin, target, expected) in [
            ("carol", "/api/rbac/mapping".to_owned(), 403),
            ("carol", "/api/rbac/clusters".to_owned(), 403),
            ("carol", "/console/rbac/mapping".to_owned(), 403),
            ("ivan", "/api/rbac/mapping/ffffff".to_owned(), 404),
            ("ivan", "/api/rbac/mapping/%25%25%25%25%25%25".to_owned(), 400),
            ("ivan", format!("/api/rbac/mapping/diff?from={}", from.short()), 400),
        ] {
            let answer = fleet.send(&Ask::get(&target).cookie(&fleet.sessions[admin])).await;
            assert_eq!(answer.status, expected, "{admin} {target}: {}", text(&answer));
        }
        let form = Form::of(&fleet.page("anna", "/mapping").await, "/console/rbac/mapping/compare");
        let sound = fleet.submit("anna", &form.clone().with("text", &MAPPING.replace('\n', "\r\n"))).await;
        let shown = text(&sound);
        assert!(sound.status == 200 && shown.contains("carol gains 1 route at once"), "{shown}");
        let broken = fleet.submit("anna", &form.clone().with("text", "version = 1\nrows = 7\n")).await;
        assert!(text(&broken).contains("opens and closes nothing"), "{}", text(&broken));
        assert_eq!(fleet.submit("ivan", &Form::of(&page, "/console/rbac/mapping/compare")).await.status, 403);
        assert_eq!(fleet.file(), v2);
    }
}
