//! Raptor's audit reader as a second upstream (RBAC V2 design, OQ-1, 3.3 and 11): two Flask apps under gunicorn behind one
//! gate, each with keys of its own.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::console::RAPTOR_KEYS;
use crate::support::freescout::{FreeScout, KEY, MAILBOX};
use crate::support::recorder::Recorder;
use crate::support::scene::create_token;
use crate::support::{Answer, Ask, Client, Console, Database, Gate, Setup, World};

/// The four audit roles: who reads which dimensions of whom.
const MAPPING: &str = r#"
version = 1
clusters.V = "v2"
[blueprints.console]
cluster = "V"
routes."GET /console/flags" = { session = true }
[blueprints.raptor]
cluster = "V"
[blueprints.raptor.routes]
"GET /api/customer-audit/<int:id>" = { role = "raptor-audit-support", upstream = "raptor", notifies = "raptor-audit-admin", ticket = { query = "ticket_id", customer = "path:id", without = ["raptor-audit-admin", "raptor-audit-compliance"] } }
"GET /api/customer-audit/me" = { machine = true, upstream = "raptor" }
"GET /api/customer-audit/report" = { role = "raptor-audit-support", machine_or_session = true, upstream = "raptor" }
"#;
const BOTH: [Database; 2] = [Database::Sqlite, Database::Postgres];

struct Scene {
    world: World,
    gate: Gate,
    freescout: FreeScout,
}

/// A gate before both apps, or before `raptor` instead of Raptor.
async fn scene(database: Database, raptor: &std::path::Path) -> Scene {
    let world = World::new(database).await;
    world.admin("ben", &["raxx-support-team"], &[]).await;
    world.admin("anna", &["raxx-platform-admins"], &[]).await;
    world.admin_holding("cleo", &["raptor-audit-compliance"]).await;
    world.admin_holding("both", &["raptor-audit-compliance", "raptor-audit-admin"]).await;
    world.admin("dan", &[], &[]).await;
    let freescout = FreeScout::start().await;
    freescout.open(42);
    let sections = format!(
        "[upstreams.raptor]\nservers = [\"unix:{}\"]\nhost = \"raptor.internal\"\n[api]\nforward_auth = true\n{}",
        raptor.display(),
        freescout.settings(20_000)
    );
    let setup = Setup {
        mapping: Some(MAPPING),
        sections: sections.leak(),
        variables: Some(vec![
            ("CONSOLE_GATE_FREESCOUT_KEY", KEY.to_owned()),
            ("CONSOLE_GATE_RAPTOR_KEYS", RAPTOR_KEYS.to_owned()),
        ]),
        ..Setup::V2
    };
    let gate = world.gate(&setup).await;
    Scene { world, gate, freescout }
}

impl Scene {
    async fn get(&self, admin: &str, target: &str) -> Answer {
        let cookie = format!("theme=dark; session={}; raptor=1", self.world.cookie(admin));
        self.gate.send(&Ask::get(target).header("cookie", cookie).header("accept", "application/json")).await
    }

    async fn grant(&self, admin: &str) {
        let arguments =
            ["ticket", "grant", admin, "raptor-audit-support", "--ticket", "42", "--customer", "7"];
        let mut command = self.gate.command(&arguments);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it ends");
        let output = output.expect("the binary runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn of(answer: &Answer) -> (u16, Value) {
    (answer.status, answer.json())
}

#[tokio::test]
async fn each_audit_role_reads_what_it_may_and_the_customer_is_notified_of_admins() {
    let raptor = Console::raptor();
    for database in BOTH {
        let scene = scene(database, &raptor.socket()).await;
        scene.grant("ben").await;
        let notified = raptor.notifications().len();
        let table = [
            // A support agent with a ticket, and without; for its customer, and for another.
            ("ben", "/api/customer-audit/7?ticket_id=42", Some("")),
            ("ben", "/api/customer-audit/7", None),
            ("ben", "/api/customer-audit/8?ticket_id=42", None),
            // Admins read everything, and each customer is notified.
            ("anna", "/api/customer-audit/7", Some("customer")),
            ("anna", "/api/customer-audit/8?ticket_id=42", Some("customer")),
            // Auditors read everything, and nobody is notified.
            ("cleo", "/api/customer-audit/8", Some("")),
            ("both", "/api/customer-audit/9", Some("customer")),
            ("dan", "/api/customer-audit/7", None),
        ];
        for (admin, target, notify) in table {
            let (status, body) = of(&scene.get(admin, target).await);
            let Some(notify) = notify else {
                assert_eq!(status, 403, "{database:?}: {admin} {target}: {body}");
                continue;
            };
            assert_eq!((status, &body["server"]), (200, &json!("raptor")), "{admin} {target}: {body}");
            assert_eq!((&body["subject"], &body["notify"]), (&json!(admin), &json!(notify)), "{body}");
            assert_eq!(body["gate"], "v2");
            // Console's session is not for Raptor; its own cookies are.
            assert_eq!(body["cookie"], "theme=dark; raptor=1", "{admin} {target}");
            assert_eq!(body["host"], "raptor.internal");
        }
        let queued = raptor.notifications().split_off(notified);
        assert_eq!(queued, ["7 anna", "8 anna", "9 both"], "{database:?}");
        // Its own ticket is closed: what is granted ends, at Raptor too.
        scene.freescout.put(42, "closed", "published", MAILBOX);
        assert_eq!(scene.get("ben", "/api/customer-audit/7?ticket_id=42").await.status, 403);
        // The rest is Console's.
        let page = scene.get("dan", "/console/flags").await;
        let id = page.request_id().to_owned();
        assert_eq!((page.status, Console::shared().saw(&id).len()), (200, 1));
    }
}

/// Raptor's own users are no admins: the gate asks for a token, and what it is worth only Raptor knows.
#[tokio::test]
async fn product_users_are_raptors_own() {
    let raptor = Console::raptor();
    let scene = scene(Database::Sqlite, &raptor.socket()).await;
    let own =
        |token: &str| Ask::get("/api/customer-audit/me").bearer(token).cookie(&scene.world.cookie("anna"));
    let answer = scene.gate.send(&own("raptor-user-7")).await;
    let (status, body) = of(&answer);
    assert_eq!((status, &body["role"], &body["customer"]), (200, &json!("user"), &json!(7)), "{body}");
    assert_eq!(
        (&body["subject"], &body["kind"], &body["cookie"]),
        (&json!(""), &json!("anonymous"), &json!(""))
    );
    // It sets its own cookie, and not Console's.
    assert_eq!(answer.header("set-cookie"), "raptor=1; Path=/");
    assert_eq!(scene.gate.send(&own("raptor-admin-1")).await.json()["role"], "admin");
    assert_eq!(scene.gate.send(&own("of-nobody")).await.status, 401);
    let without = Ask::get("/api/customer-audit/me").cookie(&scene.world.cookie("anna"));
    assert_eq!(scene.gate.send(&without).await.status, 401, "without a token nobody asks Raptor");
}

/// What one server takes, the other does not: it can neither repeat an assertion there nor make one.
#[tokio::test]
async fn an_assertion_and_a_credential_are_for_one_server() {
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    let recorder = Recorder::start(folder.path(), "raptor.sock");
    let scene = scene(Database::Sqlite, &recorder.socket()).await;
    let token = create_token(&scene.gate, "robot", &["--group", "raxx-support-team"]);
    let report = Ask::get("/api/customer-audit/report").bearer(&token);
    assert_eq!(scene.gate.send(&report).await.status, 200);
    assert_eq!(scene.get("anna", "/api/customer-audit/7").await.status, 200);
    let requests = recorder.requests();
    assert_eq!(requests[0].header("authorization"), None, "a token that the gate has verified");
    assert_eq!(requests[1].header("cookie").as_deref(), Some("theme=dark; raptor=1"));
    let assertion = requests[1].header("x-console-gate-assertion").expect("an assertion");
    let id = requests[1].header("x-request-id").expect("an id");
    for (server, status) in [(Console::raptor(), 200), (Console::shared(), 403)] {
        let repeated = Ask::get("/api/customer-audit/7")
            .header("x-console-gate-assertion", assertion.clone())
            .header("x-request-id", id.clone());
        assert_eq!(Client::to(&server.socket()).send(&repeated).await.status, status);
    }
    let ready = Client::to(&scene.gate.admin_socket()).send(&Ask::get("/readyz")).await;
    assert_eq!(ready.json()["upstreams"], json!({ "raptor": "up" }));
    // Forward-auth's proxy would take it to Console.
    for (path, status) in [("/console/flags", 200), ("/api/customer-audit/7", 503)] {
        let asked =
            Ask::get("/forward-auth").header("x-original-method", "GET").header("x-original-uri", path);
        let asked = asked.cookie(&scene.world.cookie("anna"));
        assert_eq!(Client::to(&scene.gate.admin_socket()).send(&asked).await.status, status, "{path}");
    }
}

/// An interim response passes on no more than the last one: no cookie of Console's, and nothing that is the gate's to say.
#[tokio::test]
async fn an_interim_answer_sets_no_cookie_of_consoles() {
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    let socket = folder.path().join("raptor.sock");
    let listener = tokio::net::UnixListener::bind(&socket).expect("a socket");
    let fields = "Set-Cookie: session=evil; Path=/\r\nset-cookie: SESSION=evil\r\nSet-Cookie: raptor=1\r\n\
                  X-Request-Id: theirs\r\nX-Console-Gate-Refused: clock; time=1\r\nLink: </style.css>\r\n";
    let answer =
        format!("HTTP/1.1 103 Early Hints\r\n{fields}\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut room = [0; 16 * 1024];
            let _ = stream.read(&mut room).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let scene = scene(Database::Sqlite, &socket).await;
    let cookie = scene.world.cookie("anna");
    let mut client = tokio::net::UnixStream::connect(scene.gate.socket()).await.expect("the gate");
    let request = format!(
        "GET /api/customer-audit/7 HTTP/1.1\r\nHost: console.test\r\nCookie: session={cookie}\r\nConnection: close\r\n\r\n"
    );
    client.write_all(request.as_bytes()).await.expect("it is sent");
    let mut answered = String::new();
    client.read_to_string(&mut answered).await.expect("an answer");
    let (interim, last) = answered.split_once("\r\n\r\n").expect("an interim response");
    assert!(interim.starts_with("HTTP/1.1 103 ") && last.starts_with("HTTP/1.1 200 "), "{answered}");
    let names: Vec<String> = interim.lines().skip(1).map(str::to_ascii_lowercase).collect();
    assert_eq!(names, ["set-cookie: raptor=1", "link: </style.css>"]);
}

/// A name that gate.toml does not have keeps a mapping from being activated, and a gate from starting with it.
#[tokio::test]
async fn an_unknown_upstream_is_refused() {
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    let recorder = Recorder::start(folder.path(), "raptor.sock");
    let mut scene = scene(Database::Sqlite, &recorder.socket()).await;
    let config = scene.gate.folder().join("gate.toml");
    let config = config.display().to_string();
    let wrong = scene.gate.folder().join("wrong.toml");
    std::fs::write(&wrong, MAPPING.replace("upstream = \"raptor\"", "upstream = \"rapter\""))
        .expect("a file");
    let check = ["--config", &config, "check", &wrong.display().to_string(), "--format", "text"];
    let (code, printed) = scene.gate.attempt(&check);
    assert!(code == 1 && printed.contains("unknown-upstream"), "{code}: {printed}");
    assert!(printed.contains("did you mean `raptor`?"), "{printed}");
    let before = scene.gate.metric("gate_mapping_reloads_total{outcome=\"refused\"}").await;
    std::fs::rename(&wrong, scene.gate.mapping_file()).expect("a swap");
    scene.gate.signal("HUP");
    let began = std::time::Instant::now();
    while !scene.gate.log().contains("unknown-upstream") {
        assert!(began.elapsed().as_secs() < 20, "{before:?}\n{}", scene.gate.log());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(scene.get("anna", "/api/customer-audit/7").await.status, 200, "the running mapping stays");
    scene.gate.stop().await;
    // A key that both share would let each make what the other takes.
    let mut command = scene.gate.command(&["serve"]);
    command.env("CONSOLE_GATE_RAPTOR_KEYS", crate::support::console::GATE_KEYS);
    let output = command.output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("make one of its own"), "{said}");
}

/// Where Raptor is away, its rows are 502, and Console's go on.
#[tokio::test]
async fn without_raptor_console_is_served() {
    let scene = scene(Database::Sqlite, std::path::Path::new("/tmp/there-is-no-raptor.sock")).await;
    assert_eq!(scene.get("anna", "/api/customer-audit/7").await.status, 502);
    assert_eq!(scene.get("anna", "/console/flags").await.status, 200);
    let ready = Client::to(&scene.gate.admin_socket()).send(&Ask::get("/readyz")).await;
    assert_eq!((ready.status, &ready.json()["upstreams"]), (200, &json!({ "raptor": "down" })));
}
