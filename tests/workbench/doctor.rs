//! `console-gate doctor`: a sound installation, and one thing wrong at a time.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use policy::identity::flask_cookie::SigningKeys;
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::support::{CommandOutput, Workbench};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const KEY: &str = "k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const MAPPING: &str = r#"version = 1
[clusters]
S1 = "v2"
[blueprints.flags]
cluster = "S1"
[blueprints.flags.routes]
"GET /console/flags" = { legacy = ["superadmin"], role = "console-flag-admin" }
"#;

/// Console as a doctor sees it: behind the middleware, with the given head before its `Content-Type`.
struct Console {
    port: u16,
    ends: Arc<AtomicBool>,
}

impl Console {
    fn start(health: &'static str, date: &'static str) -> Console {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let ends = Arc::new(AtomicBool::new(false));
        let ended = ends.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                let mut head = [0; 1024];
                let count = stream.read(&mut head).unwrap_or(0);
                let is_health = head[..count].starts_with(b"GET /healthz ");
                let (status, kind) = if is_health {
                    (health, "text/plain")
                } else {
                    ("403 Forbidden", "application/problem+json")
                };
                let date = if date.is_empty() { String::new() } else { format!("Date: {date}\r\n") };
                let _ = stream.write_all(
                    format!("HTTP/1.1 {status}\r\nServer: gunicorn\r\n{date}Content-Type: {kind}\r\nContent-Length: 0\r\n\r\n")
                        .as_bytes(),
                );
            }
        });
        Console { port, ends }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = std::net::TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// An installation in which nothing is wrong.
fn sound(console: &Console) -> Workbench {
    let bench = Workbench::new();
    bench.write("routes.toml", MAPPING);
    bench.write("session.key", SECRET);
    bench.write("assertion.keys", KEY);
    bench.write("gate.toml", &settings(console.port));
    bench.sql(
        "INSERT INTO admins (id, email) VALUES ('anna', 'a@example.com'), ('ben', 'b@example.com');
         UPDATE admins SET disabled_at_utc = '2026-01-01 00:00:00' WHERE id = 'ben';
         INSERT INTO admin_roles (admin_id, role) VALUES ('anna', 'superadmin')",
    );
    assert_eq!(bench.run(&["flag", "rbac-v2", "on"]).code, 0);
    bench
}

fn settings(console: u16) -> String {
    format!(
        "[listen]\nproxy = \"127.0.0.1:0\"\nadmin = \"127.0.0.2:0\"\n\
         [session]\nsecret_key_file = \"session.key\"\n[assertion]\nkeys_file = \"assertion.keys\"\n\
         [audit]\ncheckpoint_file = \"checkpoints.jsonl\"\n\
         [upstream]\nservers = [\"127.0.0.1:{console}\"]\nhealth_path = \"/healthz\"\n"
    )
}

fn doctor(bench: &Workbench, further: &[&str]) -> (CommandOutput, Vec<Value>) {
    let arguments = [&["--config", "gate.toml", "doctor", "--format", "json"], further].concat();
    let output = bench.run(&arguments);
    let report: Value =
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let lines = report["lines"].as_array().expect("the lines").clone();
    (output, lines)
}

/// The lines in a state.
fn of_state<'l>(lines: &'l [Value], state: &str) -> Vec<&'l Value> {
    lines.iter().filter(|line| line["state"] == state).collect()
}

/// Checks that this alone failed, and is said in these words. `check` may count it, too.
fn assert_failed(lines: &[Value], subject: &str, words: &str) {
    let mut failed = of_state(lines, "failed");
    failed.retain(|line| line["subject"] == subject || line["subject"] != "check");
    let [line] = failed.as_slice() else { panic!("{failed:#?}") };
    assert_eq!(line["subject"], subject, "{line}");
    assert!(line["found"].as_str().unwrap().contains(words), "{line}");
    assert!(!line["remedy"].as_str().unwrap().is_empty(), "{line}");
}

fn cookie(secret: &str, payload: &Value) -> String {
    let no_fallbacks: [&[u8]; 0] = [];
    SigningKeys::new(secret.as_bytes(), no_fallbacks).expect("a key").sign(payload, chrono::Utc::now())
}

#[test]
fn a_sound_installation_is_sound_and_stays_as_it_is() {
    let console = Console::start("200 OK", "");
    let bench = sound(&console);
    let before = std::fs::read(bench.path("routes.toml")).unwrap();
    let audit = bench.run(&["audit", "tail"]).stdout;
    let given = cookie(SECRET, &json!({ "admin_id": "anna" }));
    let (output, lines) = doctor(&bench, &["--cookie", &given]);
    assert_eq!(output.code, 0, "{output:?}");
    let (failed, warnings) = (of_state(&lines, "failed"), of_state(&lines, "warning"));
    // A session that has no row is a warning of `check`.
    let [check] = warnings.as_slice() else { panic!("{lines:#?}") };
    assert!(failed.is_empty(), "{lines:#?}");
    assert!(
        check["subject"] == "check" && check["found"].as_str().unwrap().starts_with("1 warning: "),
        "{check}"
    );
    let found = |subject: &str| -> String {
        let line =
            lines.iter().find(|line| line["subject"] == subject).unwrap_or_else(|| panic!("{subject}"));
        line["found"].as_str().unwrap().to_owned()
    };
    assert!(found("console").contains("200 from gunicorn"));
    assert!(found("middleware").contains("refuses requests that did not come through the gate"));
    assert!(found("session cookie").contains("admin `anna`; legacy roles: superadmin"));
    assert!(found("admins").starts_with("1 active"));
    assert!(found("flag").contains("V2 decides 1 cluster"));
    assert!(found("database writes").contains("rolled back"));
    assert_eq!(std::fs::read(bench.path("routes.toml")).unwrap(), before);
    assert_eq!(bench.run(&["audit", "tail"]).stdout, audit, "what it wrote was rolled back");
    // The gate may be another user, who could not write to what this one makes.
    assert!(
        found("checkpoints").contains("makes it at its start") && !bench.path("checkpoints.jsonl").exists()
    );
    let text = bench.run(&["--config", "gate.toml", "doctor"]);
    assert!(text.stdout.ends_with("a gate can run; 1 to look at; 3 not looked at\n"), "{}", text.stdout);
}

/// What verifies assertions may have another clock than the server in front of it.
#[test]
fn the_clock_of_the_middleware_is_compared_by_itself() {
    let now = chrono::Utc::now();
    let date = now.format("%a, %d %b %Y %H:%M:%S GMT");
    let behind = now.timestamp() - 60;
    let fields: &'static str = format!("{date}\r\nX-Console-Gate-Refused: malformed; time={behind}").leak();
    let console = Console::start("200 OK", fields);
    let (output, lines) = doctor(&sound(&console), &[]);
    assert_eq!(output.code, 1, "{output:?}");
    let failed = of_state(&lines, "failed");
    let [clocks] = failed.as_slice() else { panic!("{failed:#?}") };
    assert_eq!(clocks["subject"], "clocks");
    let found = clocks["found"].as_str().unwrap();
    assert!(found.contains("its middleware, is 6") && found.contains("s behind this machine"), "{found}");
}

/// Everything secret that is missing, at once; and what depends on it is skipped.
#[test]
fn all_missing_secrets_are_named_at_once() {
    let console = Console::start("200 OK", "");
    let bench = sound(&console);
    bench.write("gate.toml", "[listen]\nproxy = \"127.0.0.1:0\"\nadmin = \"127.0.0.2:0\"\n");
    let output = bench.run(&["--config", "gate.toml", "doctor"]);
    assert_eq!(output.code, 1, "{output:?}");
    let printed = output.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for name in ["CONSOLE_SECRET_KEY", "CONSOLE_GATE_KEYS"] {
        assert!(printed.contains(&format!("{name} is not set")), "{}", output.stdout);
    }
}

#[test]
fn one_thing_wrong_is_named_with_what_to_do() {
    let console = Console::start("200 OK", "");
    let port = console.port;
    type Break = fn(&Workbench, u16);
    let broken: [(&str, Break, &str, &str); 15] = [
        (
            "routes.toml is gone",
            |bench, _| std::fs::remove_file(bench.path("routes.toml")).unwrap(),
            "mapping",
            "No such file",
        ),
        (
            "a mistake in it",
            |bench, _| bench.write("routes.toml", &MAPPING.replace("legacy =", "legasy =")),
            "mapping",
            "mistake",
        ),
        (
            "a role that is not there",
            |bench, _| {
                bench.write("routes.toml", &MAPPING.replace("console-flag-admin", "console-flag-admn"));
            },
            "check",
            "console-flag-admn",
        ),
        (
            "a misspelt legacy role in every row",
            |bench, _| {
                let text = MAPPING.replace("superadmin", "superadmn").replace("\"v2\"", "\"legacy\"");
                bench.write("routes.toml", &text);
            },
            "legacy roles",
            "rows accept `superadmn`, people hold `superadmin`",
        ),
        (
            "a misspelt legacy role in the table",
            |bench, _| {
                bench.write("routes.toml", &MAPPING.replace("\"v2\"", "\"legacy\""));
                bench.sql("PRAGMA ignore_check_constraints = ON; UPDATE admin_roles SET role = 'superadmim'");
            },
            "legacy roles",
            "rows accept `superadmin`, people hold `superadmim`",
        ),
        (
            "a full spool",
            |bench, port| {
                let text = settings(port).replace("[audit]\n", "[audit]\nspool_bytes = 4096\n");
                bench.write("gate.toml", &text);
                std::fs::create_dir(bench.path("spool")).unwrap();
                bench.write("spool/one.spool", &"x".repeat(4000));
            },
            "spool",
            "4000 of 4096 bytes",
        ),
        (
            "no folder for bodies",
            |bench, port| {
                let buffers = "[buffers]\nfolder = \"/nowhere\"\n";
                bench.write("gate.toml", &(settings(port) + buffers));
            },
            "buffers",
            "/nowhere cannot be written",
        ),
        (
            "rows that Console's table refused",
            |bench, port| {
                let mirror = "[audit.mirror]\ntable = \"audit_log\"\n[audit.mirror.columns]\n\
                              id = { field = \"event_id\" }\n";
                bench.write("gate.toml", &(settings(port) + mirror));
                bench.sql(
                    "CREATE TABLE audit_log (id VARCHAR(36) PRIMARY KEY);
                     INSERT INTO gate_audit_outbox (event_id, refused)
                     SELECT id, 'FOREIGN KEY constraint failed' FROM gate_audit_events LIMIT 1",
                );
            },
            "mirror",
            "refused 1 row(s), which are set aside: FOREIGN KEY constraint failed",
        ),
        (
            "nobody there",
            |bench, _| bench.sql("DELETE FROM admin_roles; DELETE FROM admins"),
            "admins",
            "there is none",
        ),
        (
            "a wrong health path",
            |bench, port| bench.write("gate.toml", &settings(port).replace("/healthz", "/nowhere")),
            "console",
            "403 from gunicorn, and only a 2xx is healthy",
        ),
        ("Console elsewhere", |bench, _| bench.write("gate.toml", &settings(1)), "console", "cannot connect"),
        (
            "no folder for the spool",
            |bench, port| {
                bench.write("file", "");
                let text = settings(port).replace("[audit]\n", "[audit]\nspool_folder = \"file/spool\"\n");
                bench.write("gate.toml", &text);
            },
            "spool",
            "cannot be written",
        ),
        (
            "a file that is no database",
            |bench, port| {
                bench
                    .write("other.sqlite", "this is no SQLite database, whatever its name says.............");
                bench.write("gate.toml", &(settings(port) + "[database]\nurl = \"sqlite:other.sqlite\"\n"));
            },
            "database",
            "other.sqlite",
        ),
        (
            "nobody to alert",
            |bench, port| {
                let glass = "[break_glass]\norigin = \"https://console.example.org\"\n";
                bench.write("gate.toml", &(settings(port) + glass));
            },
            "alerts",
            "no break-glass session can start",
        ),
        (
            "no certificate",
            |bench, port| {
                let tls = "[tls]\ncertificate_file = \"gate.pem\"\nkey_file = \"gate.key\"\n";
                bench.write("gate.toml", &(settings(port) + tls));
            },
            "certificate",
            "gate.pem",
        ),
    ];
    for (what, break_it, subject, words) in broken {
        let bench = sound(&console);
        break_it(&bench, port);
        let arguments = ["--config", "gate.toml", "doctor", "--format", "json"];
        let output = match what {
            // The variable would win over the file.
            "a file that is no database" => {
                bench.run(&[&arguments[..], &["--database", "sqlite:other.sqlite"]].concat())
            }
            _ => bench.run(&arguments),
        };
        let report: Value =
            serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{what}: {output:?}"));
        assert_eq!(output.code, 1, "{what}: {output:?}");
        assert_failed(report["lines"].as_array().unwrap(), subject, words);
    }
}

/// Bytes are written, and not only files made: on a full disk a file can be made.
#[test]
fn a_disk_that_takes_no_bytes_is_seen() {
    let console = Console::start("200 OK", "");
    let bench = sound(&console);
    // The file system takes no file beyond 128 KiB.
    let script = "trap '' XFSZ; ulimit -f 256; console-gate --config gate.toml doctor --format json || true";
    let output = bench.run_script(script);
    let report: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let lines = report["lines"].as_array().unwrap().clone();
    let failed: Vec<&str> =
        of_state(&lines, "failed").iter().map(|line| line["subject"].as_str().unwrap()).collect();
    assert_eq!(failed, ["database writes", "spool", "checkpoints", "buffers"], "{lines:#?}");
}

/// Another process holds the right to write: reads work, and every change and every denial fails.
#[test]
fn a_locked_database_is_seen() {
    let console = Console::start("200 OK", "");
    let bench = sound(&console);
    bench.write("gate.toml", &(settings(console.port) + "[database]\ntimeout_ms = 300\n"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let url = format!("sqlite:{}", bench.path("gate.sqlite").display());
    let _locked = runtime.block_on(async {
        let mut connection = sqlx::SqliteConnection::connect(&url).await.expect("the database");
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.expect("the right to write");
        connection
    });
    let (output, lines) = doctor(&bench, &[]);
    assert_eq!(output.code, 1, "{output:?}");
    assert_failed(&lines, "database writes", "no audit row is taken");
}

/// What makes a login loop, each with its own cause.
#[test]
fn a_cookie_that_is_nobodys_says_why() {
    let console = Console::start("200 OK", "");
    let bench = sound(&console);
    for (given, words) in [
        (
            cookie("another key of some other app..", &json!({ "admin_id": "anna" })),
            "signature does not match",
        ),
        (
            cookie(SECRET, &json!({ "_user_id": "anna", "csrf_token": "x" })),
            "it has `_user_id`, `csrf_token`",
        ),
        (cookie(SECRET, &json!({ "admin_id": "zoe" })), "whom the tables do not have"),
        (cookie(SECRET, &json!({ "admin_id": "ben" })), "who is disabled"),
        ("sessionid=abc; other=x".to_owned(), "there is no cookie `session`"),
        ("abc".to_owned(), "does not consist of"),
    ] {
        let (output, lines) = doctor(&bench, &["--cookie", &given]);
        assert_eq!(output.code, 1, "{given}: {output:?}");
        assert_failed(&lines, "session cookie", words);
    }
}

#[test]
fn a_clock_that_is_wrong_is_seen() {
    let behind = " s behind this machine, and refuses the gate's assertions";
    let ahead = " s ahead of this machine, and refuses the gate's assertions";
    for (date, words) in [("Thu, 01 Jan 2026 00:00:00 GMT", behind), ("Fri, 01 Jan 2100 00:00:00 GMT", ahead)]
    {
        let console = Console::start("200 OK", date);
        let bench = sound(&console);
        let (_, lines) = doctor(&bench, &[]);
        assert_failed(&lines, "clocks", words);
        assert!(lines.iter().all(|line| !line["found"].as_str().unwrap().contains(" -")), "{lines:#?}");
    }
}

/// The archive has no secret, and the password of the database is starred out.
#[test]
fn a_bundle_has_no_secret() {
    let console = Console::start("200 OK", "");
    let bench = sound(&console);
    let url = "postgres://gate:hunter2@127.0.0.1:1/console?password=hunter3";
    bench.write("gate.toml", &(settings(console.port) + &format!("[database]\nurl = \"{url}\"\n")));
    let output =
        bench.run(&["--config", "gate.toml", "--database", url, "doctor", "--bundle", "report.tar.gz"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stdout.contains("database `console` at 127.0.0.1:1 as `gate`"), "{output:?}");
    let archive = std::fs::File::open(bench.path("report.tar.gz")).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    let mut names = Vec::new();
    let mut text = String::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        names.push(entry.path().unwrap().display().to_string());
        entry.read_to_string(&mut text).unwrap();
    }
    let expected =
        ["doctor.json", "version.txt", "gate.toml", "routes.toml"].map(|name| format!("console-gate/{name}"));
    assert_eq!(names, expected);
    for secret in ["hunter2", "hunter3", SECRET, KEY] {
        assert!(!text.contains(secret) && !output.stdout.contains(secret), "{secret} in {text}");
    }
    assert!(text.contains("GET /console/flags"), "{text}");
    let again = bench.run(&["--config", "gate.toml", "doctor", "--bundle", "report.tar.gz"]);
    assert_eq!(again.code, 2, "a file that is there is not replaced: {again:?}");
}

#[test]
fn one_channel_for_alerts_is_one_too_few() {
    let bench = Workbench::new();
    bench.write("slack.key", "https://hooks.slack.test/services/x\n");
    let doctor = |sections: &str| {
        bench.write("gate.toml", sections);
        let printed = bench.run(&["--config", "gate.toml", "doctor"]).stdout;
        printed.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let slack = "[alerts.slack]\nwebhook_file = \"slack.key\"\n";
    let mail = "[alerts.smtp]\nhost = \"h\"\nfrom = \"a@b.example\"\nto = [\"c@b.example\"]\n";
    let one = doctor(slack);
    assert!(one.contains("slack is the only channel"), "{one}");
    let two = doctor(&format!("{slack}{mail}"));
    assert!(two.contains("slack, smtp") && !two.contains("only channel"), "{two}");
    let without = doctor("[alerts.slack]\n");
    assert!(without.contains("CONSOLE_GATE_SLACK_WEBHOOK is not set"), "{without}");
}
