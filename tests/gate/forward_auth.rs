//! A proxy in front of Console that asks the gate: by the fields that it sends, and with a real nginx.

use std::collections::BTreeMap;

use crate::support::nginx::Nginx;
use crate::support::scene::{REQUESTS, Scene};
use crate::support::{Answer, Ask, Client, Database, Findings, Setup, World};

const API: &str = "[api]\nforward_auth = true\n";
const ASSERTION: &str = "x-console-gate-assertion";
const ADMINS: [&str; 6] = ["anna", "ben", "carol", "dora", "eve", "nobody"];

/// How Traefik asks about a request.
fn traefik(method: &str, target: &str) -> Ask {
    Ask::get("/forward-auth")
        .header("x-forwarded-method", method)
        .header("x-forwarded-uri", target)
        .header("x-forwarded-host", "console.test")
        .header("x-forwarded-for", "203.0.113.9")
}

/// How nginx asks about a request.
fn nginx(method: &str, target: &str) -> Ask {
    Ask::get("/forward-auth").header("x-original-method", method).header("x-original-uri", target)
}

/// For each admin and request: what the gate does, as a proxy, to a request without a body.
async fn what_the_gate_does(scene: &Scene) -> Vec<(&'static str, &'static str, &'static str, Answer)> {
    let mut client = scene.gate.client();
    let mut done = Vec::new();
    for admin in ADMINS {
        for (method, target, _) in REQUESTS.into_iter().filter(|(_, _, body)| body.is_none()) {
            let ask = Ask::new(method, target).cookie(&scene.world.cookie(admin));
            done.push((admin, method, target, client.send(&ask).await));
        }
    }
    done
}

/// What Traefik hands on is what the gate would have answered, and a denial is as durable.
#[tokio::test]
async fn a_ruling_is_the_gates_own() {
    let scene = Scene::new(Database::Sqlite, API).await;
    let mut findings = Findings::default();
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for (admin, method, target, done) in what_the_gate_does(&scene).await {
        let cookie = scene.world.cookie(admin);
        let who = format!("{admin} {method} {target}");
        let said = scene.send(&traefik(method, target).cookie(&cookie)).await;
        findings.equal(&who, said.status, done.status);
        findings.equal(&who, said.header("location"), done.header("location"));
        findings.equal(
            &who,
            said.header(ASSERTION).split('.').count(),
            if done.status == 200 { 3 } else { 1 },
        );
        *statuses.entry(said.status).or_default() += 1;
        let to_nginx = scene.send(&nginx(method, target).cookie(&cookie)).await;
        // That denial repeats the one of the proxy, from no address: it is counted there.
        let repeats = target == "/nowhere";
        for (said, has_row) in [(said, true), (to_nginx, !repeats)] {
            let rows = scene.world.store.by_request(said.request_id()).await.expect("the audit rows");
            let expected = usize::from(said.status == 403 && has_row);
            findings.equal(&format!("{who}: audit rows"), rows.len(), expected);
        }
    }
    assert_eq!(statuses.keys().copied().collect::<Vec<u16>>(), [200, 302, 400, 401, 403, 410]);
    findings.conclude(400);
}

/// `auth_request` knows 2xx, 401 and 403.
#[tokio::test]
async fn nginx_gets_401_where_others_are_redirected() {
    let scene = Scene::new(Database::Sqlite, API).await;
    let login = scene.send(&nginx("GET", "/v/audit?a=b")).await;
    assert_eq!((login.status, login.header("location")), (401, "/auth/login?next=/v/audit%3Fa%3Db"));
    let fragment = scene.send(&nginx("GET", "/v/audit").header("hx-request", "true")).await;
    assert_eq!((fragment.status, fragment.header("hx-redirect")), (401, "/auth/login?next=/v/audit"));
    let allowed = scene.send(&nginx("GET", "/v/audit").cookie(&scene.world.cookie("carol"))).await;
    assert_eq!(allowed.status, 200);
    assert!(!allowed.request_id().is_empty() && allowed.body.is_empty());
}

/// A row says whether it takes a WebSocket. Where it does not, the answer is 400, and not 403: the caller was not denied,
/// and every 403 has an audit row.
#[tokio::test]
async fn an_upgrade_is_for_rows_that_allow_it() {
    let scene = Scene::new(Database::Sqlite, API).await;
    let cookie = scene.world.cookie("carol");
    for ask in [nginx("GET", "/v/audit"), traefik("GET", "/v/audit")] {
        let plain = scene.send(&ask.clone().cookie(&cookie)).await;
        assert_eq!(plain.status, 200);
        for field in ["x-forwarded-upgrade", "upgrade"] {
            let upgrade = scene.send(&ask.clone().cookie(&cookie).header(field, "websocket")).await;
            assert_eq!(upgrade.status, 400, "{field}");
            let rows = scene.world.store.by_request(upgrade.request_id()).await.expect("the audit rows");
            assert_eq!(rows.len(), 0, "the caller was not denied");
        }
    }
}

/// The audit row is about the person's request and the person's address, not about the proxy's.
#[tokio::test]
async fn a_denial_is_recorded_as_the_request_that_it_is_about() {
    let scene = Scene::new(Database::Sqlite, API).await;
    let ask = traefik("POST", "/v/deploys?x=1").cookie(&scene.world.cookie("carol"));
    let denied = scene.send(&ask).await;
    // The body is not there to be read.
    assert_eq!(denied.json()["type"], "urn:console-gate:body_unreadable");
    let rows = scene.world.store.by_request(denied.request_id()).await.expect("the audit rows");
    let row = rows.first().expect("an audit row");
    let found = (row.method.as_deref(), row.path.as_deref(), row.client_address.as_deref());
    assert_eq!(found, (Some("POST"), Some("/v/deploys"), Some("203.0.113.0/24")));
}

/// A client that can write only some of the fields cannot choose which request is ruled on.
#[tokio::test]
async fn fields_that_disagree_are_refused() {
    let scene = Scene::new(Database::Sqlite, API).await;
    let cookie = scene.world.cookie("carol");
    let table = [
        (Ask::get("/forward-auth"), 400),
        (
            nginx("GET", "/v/audit").header("x-forwarded-method", "GET").header("x-forwarded-uri", "/public"),
            400,
        ),
        (nginx("GET", "/v/audit").header("x-forwarded-uri", "/v/audit"), 400),
        (nginx("GET", "/v/audit").header("x-original-uri", "/v/audit"), 400),
        (nginx("GET /public HTTP/1.1", "/v/audit"), 400),
        (nginx("GET", "/public HTTP/1.1"), 400),
        (nginx("get", "/v/audit"), 400),
        (nginx("GET", "/v//audit"), 400),
        (nginx("GET", "/v/%2Faudit"), 400),
        // Another spelling of the same path, to the proxy and to Console.
        (nginx("GET", "/v/%61udit"), 200),
        // The proxy forwards both Cookie fields, so neither counts.
        (nginx("GET", "/v/audit").header("cookie", "session=x"), 401),
        (traefik("GET", "/v/audit").header("x-forwarded-host", "evil.test"), 400),
        (nginx("GET", "/v/audit"), 200),
        (traefik("GET", "/v/audit"), 200),
    ];
    for (ask, expected) in table {
        let answer = scene.send(&ask.clone().cookie(&cookie)).await;
        assert_eq!(answer.status, expected, "{ask:?}");
        assert_eq!(answer.header(ASSERTION).is_empty(), expected != 200);
    }
}

#[tokio::test]
async fn without_the_database_nobody_passes_by_a_role() {
    let scene = Scene::new(Database::Sqlite, API).await;
    let cookie = scene.world.cookie("carol");
    scene.world.execute("ALTER TABLE gate_epoch RENAME TO gate_epoch_away").await;
    for (target, expected) in [("/v/audit", 503), ("/public", 200)] {
        for ask in [nginx("GET", target), traefik("GET", target)] {
            assert_eq!(scene.send(&ask.cookie(&cookie)).await.status, expected, "{target}");
        }
    }
}

/// The sample of `deploy/nginx` in front of Console does what the gate does in front of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_nginx_does_what_the_gate_does() {
    let scene = Scene::new(Database::Sqlite, API).await;
    let done = what_the_gate_does(&scene).await;
    let folder = scene.world.folder().join("nginx");
    let nginx = Nginx::start(folder, &scene.upstream.socket(), &scene.gate.admin_socket()).await;
    let mut client = Client::to(&nginx.socket());
    let mut findings = Findings::default();
    let before = scene.upstream.requests().len();
    let (mut let_through, mut forged) = (0, Vec::new());
    for (admin, method, target, done) in done {
        let ask = Ask::new(method, target)
            .cookie(&scene.world.cookie(admin))
            .header(ASSERTION, "forged")
            .header("x-request-id", "forged")
            .header("x-original-uri", "/public")
            .header("x-forwarded-uri", "/public")
            .header("x-forwarded-method", "GET");
        let answer = client.send(&ask).await;
        let who = format!("{admin} {method} {target}");
        findings.equal(&who, answer.status, done.status);
        findings.equal(&who, answer.header("location"), done.header("location"));
        let_through += usize::from(answer.status == 200);
        if answer.status == 403 {
            let rows = scene.world.store.by_request(answer.request_id()).await.expect("the audit rows");
            // That one repeats the denial of the proxy and is counted there.
            let expected = usize::from(target != "/nowhere");
            findings.equal(&format!("{who}: audit rows"), rows.len(), expected);
        }
    }
    let reached = scene.upstream.requests().split_off(before);
    // The gate asks Console for its health, too.
    let reached: Vec<_> = reached.into_iter().filter(|request| !request.head.contains("/healthz")).collect();
    findings.equal("requests that Console saw", reached.len(), let_through);
    for request in &reached {
        let assertion = request.header(ASSERTION).unwrap_or_default();
        findings.equal("the parts of the assertion", assertion.split('.').count(), 3);
        findings.equal("the host", request.header("host").as_deref(), Some("console.example.com"));
        forged.extend(["x-request-id", "x-original-uri", "x-forwarded-uri"].map(|name| request.header(name)));
    }
    findings
        .check(!forged.contains(&Some("forged".into())) && !forged.contains(&Some("/public".into())), || {
            format!("a client's field reached Console: {forged:?}")
        });
    findings.conclude(250);
}

/// A Console whose answers have heads of nearly 12 KiB.
fn console_with_large_cookies(socket: &std::path::Path) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::UnixListener::bind(socket).expect("a socket");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let cookies: String = ["session", "other", "third"]
                .map(|name| format!("Set-Cookie: {name}={}; Path=/\r\n", "x".repeat(4_000)))
                .concat();
            let answer =
                format!("HTTP/1.1 200 OK\r\n{cookies}Content-Length: 2\r\nConnection: close\r\n\r\nok");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
}

/// nginx takes a head only where it fits one buffer, and knows no 404 of who it asks.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_nginx_passes_large_heads_and_quiet_paths() {
    const MAPPING: &str = "version = 1\nquiet = [\"/favicon.ico\"]\n[blueprints.t.routes]\n\
        \"GET /public\" = { public = true }\n";
    let world = World::new(Database::Sqlite).await;
    let console = world.folder().join("console.sock");
    console_with_large_cookies(&console);
    let setup = Setup { mapping: Some(MAPPING), upstream: Some(console.clone()), sections: API, ..Setup::V2 };
    let gate = world.gate(&setup).await;
    let nginx = Nginx::start(world.folder().join("nginx"), &console, &gate.admin_socket()).await;
    let mut client = Client::to(&nginx.socket());
    let large = Ask::get("/public").header("cookie", format!("other={}", "x".repeat(12_000)));
    let answer = client.send(&large).await;
    assert_eq!((answer.status, answer.header("set-cookie").len()), (200, 4_000 + "session=; Path=/".len()));
    assert_eq!(client.send(&Ask::get("/favicon.ico")).await.status, 404);
}
