//! `console-gate who`, as an auditor runs it. What it answers about the past is `tests/store/who.rs`'s.

use serde_json::Value;

use crate::support::Workbench;

const MAPPING: &str = r#"version = 1
[clusters]
S1 = "v2"
[blueprints.flags]
cluster = "S1"
[blueprints.flags.routes]
"GET /console/flags" = { legacy = ["superadmin"], role = "console-flag-admin" }
"GET /open" = { public = true }
"#;

fn bench() -> Workbench {
    let bench = Workbench::new().of_unknown_width();
    bench.write("routes.toml", MAPPING);
    bench.sql("INSERT INTO admins (id, email) VALUES ('anna', 'a@example.com'), ('=ben', 'b@example.com')");
    assert_eq!(bench.run(&["flag", "rbac-v2", "on"]).code, 0);
    for arguments in [
        ["group", "add", "raxx-devops-team", "=ben", "--until", "8h"].as_slice(),
        &["group", "add", "raxx-devops-team", "anna"],
    ] {
        let output = bench.run(arguments);
        assert_eq!(output.code, 0, "{output:?}");
    }
    bench
}

#[test]
fn who_can_is_printed_as_text_json_and_csv() {
    let bench = bench();
    let who = |further: &[&str]| {
        let output =
            bench.run(&[&["who", "GET", "/console/flags", "--mapping", "routes.toml"], further].concat());
        assert_eq!(output.code, 0, "{output:?}");
        output
    };
    let text = who(&[]).stdout;
    for words in [
        "GET /console/flags, at ",
        "`GET /console/flags` asks for a role, cluster S1 v2, decided by v2",
        "admin anna\n    raxx-devops-team -> console-flag-admin\n",
        "admin =ben\n    raxx-devops-team -> console-flag-admin (grant ",
        "Assumptions\n  the mapping ",
    ] {
        assert!(text.contains(words), "no `{words}` in {text}");
    }
    let json: Value = serde_json::from_str(&who(&["--format", "json"]).stdout).unwrap();
    assert_eq!(json["people"][1]["id"], "anna");
    assert_eq!(json["people"][1]["times"][0]["through"][0]["held_by"][0]["origin"], "direct");
    let csv = who(&["--format", "csv"]);
    assert!(csv.stdout.starts_with("record,kind,id,name,from,until,through,"), "{csv:?}");
    assert!(csv.stdout.contains("could,admin,'=ben,,"), "no cell is a formula: {csv:?}");
    assert!(csv.stderr.contains("the mapping"), "{csv:?}");

    let since = who(&["--from", "2020-01-01", "--did"]).stdout;
    for words in [
        "decided by legacy, FLAG_RBAC_V2 is off",
        "nothing is recorded, which proves nothing",
        "what was written before",
        "who was disabled",
    ] {
        assert!(since.contains(words), "no `{words}` in {since}");
    }
    let unknown = bench.run(&["who", "GET", "/console/flags", "--at", "2020-01-01"]).stdout;
    assert!(unknown.contains("not known for the time") && !unknown.contains("no admin and no"), "{unknown}");
    let open = bench.run(&["who", "GET", "/open", "--mapping", "routes.toml"]).stdout;
    assert!(open.contains("anybody, logged in or not") && !open.contains("admin anna"), "{open}");
}

#[test]
fn a_time_that_cannot_be_answered_for_is_refused() {
    let bench = bench();
    for (arguments, words) in [
        (["--at", "2999-01-01"].as_slice(), "in the future"),
        (&["--from", "2020-01-01", "--to", "2999-01-01"], "in the future"),
        (&["--from", "2020-01-02", "--to", "2020-01-01"], "--to must be later than --from"),
        (&["--to", "2020-01-01"], "--from"),
        (&["--at", "2020-01-01", "--from", "2020-01-01"], "cannot be used with"),
        (&["--at", "yesterday"], "neither a date nor"),
    ] {
        let output = bench.run(&[&["who", "GET", "/open"], arguments].concat());
        assert_eq!(output.code, 2, "{output:?}");
        assert!(output.stderr.contains(words), "{output:?}");
    }
}
