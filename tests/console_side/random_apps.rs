//! Apps at random, run: `coverage` misses no request that no row decides, or the wrong one, and invents none.

use std::collections::BTreeMap;

use console_source::coverage::coverage;
use console_source::coverage::flask_routes::parse;
use console_source::coverage::route::ConsoleRoute;
use policy::mapping::{Mapping, Row};
use policy::method::Method;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde::Deserialize;
use workbench::report::{Finding, Level};

use crate::support::{outline, python};

const SEED: &str = "20261121";
const APPS: &str = "80";
const KINDS: [&str; 3] = ["session = true", "public = true", "machine = true"];

#[derive(Deserialize)]
struct Known {
    dump: serde_json::Value,
    /// Method, path, and the views that answer on some host, as a page or a WebSocket.
    answers: Vec<(String, String, Vec<String>)>,
}

/// An app beside a mapping, and the findings about them.
struct Case {
    routes: Vec<ConsoleRoute>,
    mapping: Mapping,
    findings: Vec<Finding>,
}

impl Case {
    fn of(known: &Known, random: &mut StdRng) -> Option<Case> {
        let listing = parse(&known.dump.to_string()).ok()?;
        let routes: Vec<ConsoleRoute> = listing
            .routes
            .into_iter()
            .map(|route| ConsoleRoute {
                place: None,
                name: route.endpoint,
                rule: route.rule,
                methods: route.methods,
                options: route.options,
            })
            .collect();
        let mapping = mapping(&routes, random);
        let findings = coverage(&routes, listing.has_order, "routes.toml", &mapping);
        Some(Case { routes, mapping, findings })
    }

    fn row(&self, method: &str, path: &str) -> Option<&Row> {
        self.mapping.find(path, Method::parse(method).unwrap()).row()
    }

    /// Whether a row is the one that a reader takes for the view's.
    fn is_meant(&self, row: &Row, view: &str) -> bool {
        let rules = self.routes.iter().filter(|route| route.name == view);
        rules.into_iter().any(|route| outline(&route.rule) == outline(row.pattern.as_str()))
    }
}

/// Rows as somebody might have written them for the routes: most as they are, some left out, some not quite right.
fn mapping(routes: &[ConsoleRoute], random: &mut StdRng) -> Mapping {
    let mut text = "version = 1\n[blueprints.all.routes]\n".to_owned();
    for route in routes {
        let kept = ["GET", "POST", "DELETE", "HEAD", "OPTIONS"];
        let methods: Vec<&str> = kept
            .into_iter()
            .filter(|method| route.methods.contains(Method::parse(method).unwrap()))
            .filter(|method| *method != "OPTIONS" || !route.options.automatic_options)
            .filter(|_| random.random_bool(0.9))
            .collect();
        let rule = match random.random_range(0..20) {
            0 | 1 => continue,
            2..=4 => format!("{}/", route.rule.trim_end_matches('/')),
            5 => route.rule.trim_end_matches('/').to_owned(),
            6 => route.rule.replace("<int", "<string").replace("(max=5)", ""),
            7 => format!("/{}/*", route.rule.split('/').nth(1).unwrap_or("a")),
            8 => route.rule.replace("<v", "<int:v"),
            _ => route.rule.clone(),
        };
        let line = format!("\"{} {rule}\" = {{ {} }}\n", methods.join(","), KINDS.choose(random).unwrap());
        if !methods.is_empty() && Mapping::parse("routes.toml", &format!("{text}{line}")).is_ok() {
            text.push_str(&line);
        }
    }
    Mapping::parse("routes.toml", &text).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn nothing_that_random_apps_serve_is_missed_and_nothing_is_invented() {
    let known: Vec<Known> =
        serde_json::from_str(&python("tests/console_side", &["random_apps.py", SEED, APPS])).unwrap();
    let mut random = StdRng::seed_from_u64(7);
    let cases: Vec<Option<Case>> = known.iter().map(|known| Case::of(known, &mut random)).collect();
    let (mut requests, mut strays) = (0, 0);
    for (known, case) in known.iter().zip(&cases) {
        let Some(case) = case else { continue };
        for (method, path, views) in &known.answers {
            for view in views {
                requests += 1;
                let row = case.row(method, path);
                if row.is_some_and(|row| case.is_meant(row, view)) {
                    continue;
                }
                strays += 1;
                let named = format!("`{view}`");
                let is_found = case.findings.iter().any(|finding| finding.message.contains(&named));
                let row = row.map_or("no row", |row| &row.route);
                let rules: Vec<_> =
                    case.routes.iter().map(|route| (&route.name, &route.rule, route.methods)).collect();
                assert!(
                    is_found,
                    "`{method} {path}` runs `{view}` and {row} decides: {rules:#?}\n{}\n{:#?}",
                    case.mapping.source(),
                    case.findings
                );
            }
        }
    }
    let said = examples(&cases);
    println!(
        "{requests} answers, {strays} of them with another row than the one meant, {} examples",
        said.len()
    );
    assert!(requests > 2_000 && strays > 500 && said.len() > 40, "the apps are too tame");
    hold(&said);
}

/// `serves METHOD PATH too` of a finding: the app, the request, the view, and who decides by the report.
struct Said {
    app: usize,
    method: String,
    path: String,
    view: String,
    message: String,
}

/// The examples of errors, after their claims about the rows were checked.
fn examples(cases: &[Option<Case>]) -> Vec<Said> {
    let mut all = Vec::new();
    for (app, case) in cases.iter().enumerate() {
        let Some(case) = case else { continue };
        let errors = case.findings.iter().filter(|finding| finding.level == Level::Error);
        for finding in errors.filter(|finding| matches!(finding.id, "path-without-row" | "other-row-decides"))
        {
            let quoted: Vec<&str> = finding.message.split('`').skip(1).step_by(2).collect();
            let [_, view, request, rest @ ..] = &quoted[..] else { panic!("{}", finding.message) };
            let (method, path) = request.split_once(' ').unwrap();
            let row = case.row(method, path).map(|row| row.route.to_string());
            assert_eq!(
                row.as_deref(),
                rest.first().copied(),
                "{}\n{}",
                finding.message,
                case.mapping.source()
            );
            let (method, path, view) = (method.to_owned(), path.to_owned(), (*view).to_owned());
            all.push(Said { app, method, path, view, message: finding.message.clone() });
        }
    }
    all
}

/// Asks the apps whether their views answer the examples.
fn hold(said: &[Said]) {
    let asked: Vec<(usize, &str, &str)> =
        said.iter().map(|said| (said.app, said.method.as_str(), said.path.as_str())).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), serde_json::to_string(&asked).unwrap()).unwrap();
    let arguments = ["random_apps.py", SEED, APPS, "--ask", file.path().to_str().unwrap()];
    let answers: Vec<Vec<String>> = serde_json::from_str(&python("tests/console_side", &arguments)).unwrap();
    let mut wrong: BTreeMap<&str, &Vec<String>> = BTreeMap::new();
    for (said, answers) in said.iter().zip(&answers) {
        if !answers.contains(&said.view) {
            wrong.insert(&said.message, answers);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
