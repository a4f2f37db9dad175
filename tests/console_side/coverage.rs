//! `console-gate coverage`

use std::path::Path;

use crate::support::{gate, gate_in, golden, project_file, python, source_of_the_table};

const TREE: &str = "tests/data/console_src";
const TREES_MAPPING: &str = "tests/console_side/golden/import.toml";

fn written(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_real_console_against_the_shipped_mapping() {
    let folder = tempfile::tempdir().unwrap();
    for extra in [&[][..], &["--all-methods"], &["--sort", "rule"]] {
        let listed = python("tests/console", &[&["-m", "flask", "--app", "app", "routes"], extra].concat());
        let file = written(folder.path(), "routes.txt", &listed);
        std::fs::copy(project_file("routes.toml"), folder.path().join("routes.toml")).unwrap();
        let ran = gate_in(folder.path(), &["coverage", "--flask-routes", "routes.txt"]);
        if extra.is_empty() {
            golden("coverage_console.txt", &ran.stdout);
        }
        // Whatever the order of the lines, and with HEAD and OPTIONS or without: the same findings.
        assert_eq!(messages(&file, &[]), messages_of_the_plain_listing(folder.path()), "{extra:?}");
        assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    }
}

#[test]
fn the_dump_says_what_flask_routes_says() {
    let folder = tempfile::tempdir().unwrap();
    let dumped = python("tests/console", &["../../deploy/flask/dump_routes.py", "app:app"]);
    let file = written(folder.path(), "routes.json", &dumped);
    let ran = gate(&["coverage", "--flask-routes", &file]);
    assert_eq!(messages(&file, &[]), messages_of_the_plain_listing(folder.path()));
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
}

fn golden_text(name: &str) -> String {
    std::fs::read_to_string(project_file("tests/console_side/golden").join(name)).unwrap()
}

/// What was found, wherever.
fn messages(listing: &str, more: &[&str]) -> Vec<String> {
    let arguments = [&["coverage", "--flask-routes", listing, "--format", "json"], more].concat();
    let report: serde_json::Value = serde_json::from_str(&gate(&arguments).stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    assert!(!findings.is_empty());
    let mut messages: Vec<String> = findings
        .iter()
        // What the table leaves out, and the dump does not.
        .filter(|finding| finding["id"] != "unlisted")
        .map(|finding| {
            format!("{} [{}]", finding["message"].as_str().unwrap(), finding["id"].as_str().unwrap())
        })
        .collect();
    messages.sort();
    messages
}

fn messages_of_the_plain_listing(folder: &Path) -> Vec<String> {
    let listed = python("tests/console", &["-m", "flask", "--app", "app", "routes"]);
    messages(&written(folder, "plain.txt", &listed), &[])
}

/// Each kind of finding once, against a mapping of a few rows.
#[test]
fn every_kind_of_difference_is_found() {
    for (unmapped, name) in [("deny", "coverage_kinds.txt"), ("forward", "coverage_kinds_forward.txt")] {
        let folder = tempfile::tempdir().unwrap();
        let routes = "\
Endpoint        Methods            Rule
--------------  -----------------  -------------------------
same            GET                /same/<customer>
twice           GET, POST          /two-rows
no_row          GET, POST          /no-row
no_method       GET, DELETE        /no-method
converter       GET                /converter/<int:id>
narrower        GET                /narrower/<id>
range           GET                /range/<int:id>
slash           GET                /slash/
wider           GET                /wider/export
prefix          PATCH              /prefix/below
deleted         GET                /deleted
custom          GET                /custom/<slug:name>
trace           TRACE              /trace
this is no line
only_options    OPTIONS            /only-options
";
        let rows = [
            "\"GET /same/<id>\" = { session = true }",
            "\"GET /two-rows\" = { session = true }",
            "\"POST /two-rows\" = { session = true }",
            "\"GET,PUT /no-method\" = { session = true }",
            "\"GET /converter/<id>\" = { session = true }",
            "\"GET /narrower/<int:id>\" = { session = true }",
            "\"GET /range/<int(min=5):id>\" = { session = true }",
            "\"GET /slash\" = { session = true }",
            "\"GET /wider/<id>\" = { session = true }",
            "\"* /prefix/*\" = { session = true }",
            "\"* /deleted\" = { gone = true }",
            "\"* /deleted-indeed\" = { gone = true }",
            "\"* /no-route\" = { session = true }",
            "\"* /only-options\" = { session = true }",
        ];
        let mapping =
            format!("version = 1\nunmapped = \"{unmapped}\"\n[blueprints.all.routes]\n{}\n", rows.join("\n"));
        written(folder.path(), "routes.txt", routes);
        written(folder.path(), "routes.toml", &mapping);
        let ran = gate_in(folder.path(), &["coverage", "--flask-routes", "routes.txt"]);
        golden(name, &ran.stdout);
        assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    }
}

#[test]
fn a_tree_and_its_own_mapping_agree() {
    let ran = gate(&["coverage", "--console-src", TREE, "--mapping", TREES_MAPPING]);
    golden("coverage_tree.txt", &ran.stdout);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

#[test]
fn unreadable_source_is_reported() {
    let mapping = "tests/console_side/golden/import_odd.toml";
    let ran = gate(&["coverage", "--console-src", "tests/data/console_src_odd", "--mapping", mapping]);
    golden("coverage_odd.txt", &ran.stdout);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
}

/// Flask itself lists the routes of the small tree, and the source was read right: both lists are one.
#[test]
fn the_source_says_what_flask_says() {
    let folder = tempfile::tempdir().unwrap();
    let dumped = python("tests/data", &["../../deploy/flask/dump_routes.py", "console_src:create_app"]);
    let file = written(folder.path(), "routes.json", &dumped);
    let both =
        gate(&["coverage", "--flask-routes", &file, "--console-src", TREE, "--mapping", TREES_MAPPING]);
    // One rule of Flask, with GET and POST, is two routes of the source: a `MethodView` gates each by itself.
    let expected = golden_text("coverage_tree.txt").replacen("19 routes", "18 routes", 1);
    assert_eq!((both.code, both.stdout), (0, expected));
}

#[test]
fn a_route_of_one_list_alone_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    source_of_the_table(folder.path());
    let listed = python("tests/console", &["-m", "flask", "--app", "app", "routes"]);
    let file = written(folder.path(), "routes.txt", &listed);
    let views = "from flask import Blueprint\nbp = Blueprint('extra', __name__)\n\n@bp.get('/dashboard/extra')\ndef extra(): pass\n";
    written(folder.path(), "extra.py", views);
    let all = messages(&file, &["--console-src", folder.path().to_str().unwrap()]);
    let one_sided: Vec<&String> = all.iter().filter(|line| line.ends_with("[only-in-one-list]")).collect();
    let source = one_sided.iter().filter(|line| line.contains("not listed by Flask")).count();
    assert_eq!(source, 1, "{one_sided:#?}");
    let extra = "`GET /dashboard/extra` of `extra` is in the source, but not listed by Flask";
    assert!(one_sided.iter().any(|line| line.starts_with(extra)), "{one_sided:#?}");
    // Of the stand-in's routes, 30 are made up for blueprints without paths, 4 are public and 6 are for the tests.
    assert_eq!(one_sided.len() - source, 40);
}

#[test]
fn findings_for_programs() {
    for (format, extension) in [("json", "json"), ("sarif", "sarif")] {
        let ran = gate(&[
            "coverage",
            "--console-src",
            "tests/data/console_src_odd",
            "--mapping",
            "tests/console_side/golden/import_odd.toml",
            "--format",
            format,
        ]);
        golden(&format!("coverage_odd.{extension}"), &ran.stdout);
        serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap();
        assert_eq!(ran.code, 1);
    }
}

#[test]
fn the_wrong_file_is_a_failure_and_no_clean_console() {
    let folder = tempfile::tempdir().unwrap();
    let text = written(folder.path(), "routes.txt", "no table\n");
    let json = written(folder.path(), "routes.json", "[]");
    let cases: [&[&str]; 5] = [
        &["coverage"],
        &["coverage", "--flask-routes", &text],
        &["coverage", "--flask-routes", &json],
        &["coverage", "--flask-routes", "no/such/file"],
        &["coverage", "--console-src", "no/such/folder"],
    ];
    for arguments in cases {
        let ran = gate(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}: {}", ran.stderr);
    }
}
