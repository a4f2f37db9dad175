//! `console-gate backup` and `restore`: copies under writes, and what is not put back.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::Workbench;

const SETTINGS: &str = "[audit]\ncheckpoint_file = \"points.jsonl\"\n[mapping]\nfile = \"routes.toml\"\n";

fn bench() -> Workbench {
    let bench = Workbench::new();
    bench.write("gate.toml", SETTINGS);
    bench.write("routes.toml", "version = 1\n[blueprints.t.routes]\n\"* /*\" = { public = true }\n");
    bench
}

fn run(bench: &Workbench, arguments: &[&str]) -> crate::support::CommandOutput {
    bench.run(&[&["--config", "gate.toml"], arguments].concat())
}

fn groups(bench: &Workbench) -> String {
    run(bench, &["group", "list"]).stdout
}

/// Each copy that is taken while commands write is one moment of the database: its chain is whole, and its head is the
/// one that the control row names.
#[test]
fn a_copy_under_writes_is_of_one_moment() {
    let bench = bench();
    let (done, created) = (AtomicBool::new(false), AtomicUsize::new(0));
    let copies = 5;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // It ends where the other thread has failed, too.
            while !done.load(Ordering::Relaxed) && created.load(Ordering::SeqCst) < 200 {
                let number = created.load(Ordering::SeqCst);
                let output = run(&bench, &["group", "create", &format!("group-{number}")]);
                assert_eq!(output.code, 0, "{output:?}");
                created.fetch_add(1, Ordering::SeqCst);
            }
        });
        for number in 0..copies {
            let before = created.load(Ordering::SeqCst);
            let output = run(&bench, &["backup", &format!("copy-{number}.sqlite")]);
            assert_eq!(output.code, 0, "{output:?}");
            assert!(
                output.stdout.contains("every page is sound")
                    && output.stdout.contains("chain control ends at row"),
                "{output:?}"
            );
            // All that was committed before it began.
            let copy = format!("sqlite:copy-{number}.sqlite");
            let listed = bench.run(&["--database", &copy, "group", "list"]).stdout;
            assert!(
                (0..before).all(|number| listed.contains(&format!("group-{number}"))),
                "{before}: {listed}"
            );
        }
        done.store(true, Ordering::Relaxed);
    });
    for number in 0..copies {
        let copy = format!("sqlite:copy-{number}.sqlite");
        // Checkpoints name later rows, which the copy cannot have.
        bench.write("empty.jsonl", "");
        let verified = bench.run(&["--database", &copy, "audit", "verify", "--checkpoints", "empty.jsonl"]);
        assert_eq!(verified.code, 0, "{verified:?}");
    }
    let again = run(&bench, &["backup", "copy-0.sqlite"]);
    assert!(again.code == 2 && again.stderr.contains("is there already"), "{again:?}");
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(bench.path("copy-0.sqlite")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_copy_is_put_back_when_nobody_serves_and_not_behind_a_checkpoint() {
    let bench = bench();
    assert_eq!(run(&bench, &["group", "create", "before"]).code, 0);
    assert_eq!(run(&bench, &["backup", "copy.sqlite"]).code, 0);
    // Nothing has happened since: it goes back without a word.
    let same = run(&bench, &["restore", "copy.sqlite"]);
    assert_eq!(same.code, 0, "{same:?}");
    assert_eq!(run(&bench, &["group", "create", "after"]).code, 0);
    assert!(groups(&bench).contains("after"));

    let behind = run(&bench, &["restore", "copy.sqlite"]);
    assert!(behind.code == 2 && behind.stderr.contains("--behind-checkpoints"), "{behind:?}");
    assert!(behind.stdout.contains("chain control: the copy has"), "{behind:?}");
    assert!(groups(&bench).contains("after"));

    let admin = format!("unix:{}", bench.path("admin.sock").display());
    let gate = format!("unix:{}", bench.path("gate.sock").display());
    let mut serving =
        bench.program(&["--config", "gate.toml", "serve", "--listen", &gate, "--admin", &admin]);
    serving.env("CONSOLE_SECRET_KEY", "of the tests");
    serving.env("CONSOLE_GATE_KEYS", "tests:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
    let mut serving = serving.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while bench.run(&["healthcheck", "--ready", "--admin", &admin]).stdout.contains("cannot connect") {
        assert!(began.elapsed() < Duration::from_secs(60), "the gate does not serve");
    }
    let served = run(&bench, &["restore", "copy.sqlite", "--behind-checkpoints"]);
    assert!(served.code == 2 && served.stderr.contains("stop every gate on it"), "{served:?}");
    assert!(served.stderr.contains(&format!("/{}", serving.id())), "it names the gate: {served:?}");
    // A copy can be taken all the same, and the gate goes on.
    assert_eq!(run(&bench, &["backup", "served.sqlite"]).code, 0);
    assert!(serving.try_wait().unwrap().is_none());
    serving.kill().unwrap();
    serving.wait().unwrap();

    let restored = run(&bench, &["restore", "copy.sqlite", "--behind-checkpoints"]);
    assert_eq!(restored.code, 0, "{restored:?}");
    let listed = groups(&bench);
    assert!(listed.contains("before") && !listed.contains("after"), "{listed}");
    assert!(restored.stdout.contains("what was there is kept as"), "{restored:?}");
    let kept = restored.stdout.split("kept as ").nth(1).unwrap().lines().next().unwrap();
    let kept = format!("sqlite:{kept}");
    let before = bench.run(&["--database", &kept, "group", "list"]).stdout;
    assert!(before.contains("after"), "{before}");
    // As the refusal said.
    let verified = run(&bench, &["audit", "verify"]);
    assert!(verified.code == 1 && verified.stdout.contains("cut off"), "{verified:?}");
}

#[test]
fn what_is_no_sound_copy_is_not_put_back() {
    let bench = bench();
    assert_eq!(run(&bench, &["backup", "copy.sqlite"]).code, 0);
    let copy = std::fs::read(bench.path("copy.sqlite")).unwrap();
    let refused = |name: &str, why: &str| {
        let output = run(&bench, &["restore", name]);
        assert!(output.code == 2 && output.stderr.contains(why), "{output:?}");
        assert_eq!(run(&bench, &["audit", "verify"]).code, 0);
    };
    let mut damaged = copy.clone();
    let middle = damaged.len() / 2;
    damaged[middle - 40_000..middle].fill(0x5a);
    std::fs::write(bench.path("damaged.sqlite"), damaged).unwrap();
    refused("damaged.sqlite", "damaged.sqlite`");
    std::fs::write(bench.path("cut.sqlite"), &copy[..middle]).unwrap();
    refused("cut.sqlite", "cut.sqlite`");
    bench.write("text.sqlite", "no database");
    refused("text.sqlite", "text.sqlite`");
    refused("nowhere.sqlite", "there is no such file");
    std::fs::write(bench.path("newer.sqlite"), &copy).unwrap();
    bench.sql_of(
        "newer.sqlite",
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'of the future', TRUE, X'00', 0)",
    );
    refused("newer.sqlite", "9999 of the future");
}

#[test]
fn postgres_is_left_to_its_own_tools() {
    let bench = bench();
    let database = "postgres://gate:hunter2@db.example.org:5433/console?sslmode=require";
    let output = bench.run(&["--database", database, "backup", "copy.dump"]);
    assert_eq!(output.code, 2);
    let command = "pg_dump --format=custom --schema='console_gate' --file='copy.dump' --host='db.example.org' --port=5433 \
                   --username='gate' --dbname='console'";
    assert!(output.stderr.contains(command) && output.stderr.contains("pg_restore "), "{output:?}");
    assert!(!output.stderr.contains("hunter2"), "{output:?}");
}
