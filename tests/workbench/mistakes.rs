//! Mistakes that people make, and what is said of them: `mistakes/*.txt` has one after the other, the golden file what is
//! printed. Read it as somebody who made the mistake: does it say what, where, and how to mend it?

use crate::support::{Workbench, assert_golden, project_text};

/// The cases of a file: `--- title`, then the text.
fn cases(file: &str) -> Vec<(String, String)> {
    let text = project_text(&format!("tests/workbench/mistakes/{file}"));
    let cases = text.split("\n--- ").skip(1).filter_map(|case| case.split_once('\n'));
    cases.map(|(title, text)| (title.to_owned(), format!("{}\n", text.trim_end()))).collect()
}

/// Runs a command on each case, and compares all that is printed with the golden file.
fn compare(file: &str, run: impl Fn(&Workbench, &str) -> String) -> usize {
    let bench = Workbench::new();
    let cases = cases(file);
    let mut printed = String::new();
    for (title, text) in &cases {
        printed += &format!("--- {title}\n{text}\n{}\n", run(&bench, text));
    }
    assert_golden(&format!("mistakes/{file}"), &printed);
    cases.len()
}

/// The row or rows of a mapping that is sound but for them; or, where it has a version of its own, the whole mapping.
fn mapping(text: &str) -> String {
    if text.contains("version") {
        return text.to_owned();
    }
    format!("version = 1\nclusters.S1 = \"v2\"\nblueprints.b.cluster = \"S1\"\n[blueprints.b.routes]\n{text}")
}

#[test]
fn each_mistake_says_what_where_and_how_to_mend_it() {
    let in_mapping = compare("mapping.txt", |bench, text| {
        bench.write("routes.toml", &mapping(text));
        bench.run(&["check", "--offline", "routes.toml"]).text()
    });
    let in_settings = compare("settings.txt", |bench, text| {
        bench.write("gate.toml", text);
        bench.write("routes.toml", "version = 1\n");
        bench.run(&["--config", "gate.toml", "check", "--offline", "routes.toml"]).text()
    });
    let in_commands = compare("commands.txt", |bench, text| {
        bench
            .write("routes.toml", &mapping("\"GET /x\" = { legacy = [\"ops\"], role = \"console-user\" }\n"));
        let arguments: Vec<&str> =
            text.split_whitespace().map(|word| if word == "''" { "" } else { word }).collect();
        bench.run(&arguments).text()
    });
    let all = in_mapping + in_settings + in_commands;
    assert!(all >= 150, "{all} mistakes: {in_mapping}, {in_settings}, {in_commands}");
}

/// What a command ends with, for a pipeline: 0 where it did what it was asked for, 1 where a person has to look.
#[test]
fn commands_end_as_they_say() {
    let bench = Workbench::new();
    bench.write("routes.toml", &mapping("\"GET /x\" = { legacy = [\"ops\"], role = \"console-user\" }\n"));
    std::fs::create_dir(bench.path("src")).unwrap();
    bench.write(
        "src/app.py",
        "from flask import Flask\napp = Flask(__name__)\n@app.get('/a')\ndef a(): pass\n",
    );
    std::fs::create_dir(bench.path("guarded")).unwrap();
    bench.write(
        "guarded/app.py",
        "from flask import Flask\nfrom guards import api_or_session\napp = Flask(__name__)\n\
         @app.get('/a')\n@api_or_session('ops')\ndef a(): pass\n",
    );
    bench.write("latin.toml", "");
    std::fs::write(bench.path("latin.toml"), b"version = 1\n# caf\xe9\n").unwrap();
    assert_eq!(bench.run(&["review", "open"]).code, 0);
    for (arguments, code, words) in [
        ("audit erase TYPO", 1, "no audit row names `TYPO`, and Console has no such admin"),
        ("review list", 0, "open until"),
        ("token list --format json", 0, "[]"),
        ("flag rbac-v2 show --format json", 0, "\"enabled\""),
        ("flag ticket-grants show --format json", 0, "\"enabled\": true"),
        ("history --format json", 0, "\"activations\": []"),
        ("history --people --format json", 0, "\"grants\""),
        ("audit tail --format json", 0, "[\n  {\n"),
        ("audit tail --format text", 0, "  access_review  "),
        ("audit tail", 0, "{\"id\":"),
        ("audit export --since 7d", 0, "\"event_type\""),
        ("audit export --since 7d --until 1d", 0, ""),
        ("explain get /x --legacy-role ops", 0, "GET /x"),
        ("import --console-src src", 0, "2 left to Console"),
        (
            "import --console-src guarded",
            1,
            "the route of `a` is left to Console: no @require_role, but @api_or_session",
        ),
        ("check --offline latin.toml", 2, "line 2 is not UTF-8 (byte 0xe9)"),
    ] {
        let output = bench.run(&arguments.split(' ').collect::<Vec<_>>());
        assert_eq!(output.code, code, "{arguments}: {output:?}");
        assert!(output.text().contains(words), "{arguments}: {}", output.text());
    }
}
