//! `console-gate diff`: on the documents' own table, compared with what follows from their data files alone.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::seed::Seed;
use crate::support::{CommandOutput, Workbench, assert_golden, project_file, project_text};

/// Which groups the documents' reader takes the flat roles for (product, "What a person meets").
const LEGACY_AS: [(&str, Option<&str>); 4] = [
    ("superadmin", Some("raxx-platform-admins")),
    ("ops", Some("raxx-devops-team")),
    ("support", Some("raxx-support-team")),
    ("readonly", None),
];

/// The documents' table, every cluster going V2.
fn everything_to_v2(format: &str) -> CommandOutput {
    let bench = Workbench::new();
    bench.write("routes.toml", &project_text("routes.toml"));
    let seed = project_file("tests/data/rbac_seed.toml");
    let legacy_as: Vec<String> =
        LEGACY_AS.iter().map(|(role, group)| format!("{role}={}", group.unwrap_or_default())).collect();
    let clusters: Vec<String> = (1..=9).map(|number| format!("S{number}=v2")).collect();
    let mut arguments =
        vec!["diff", "routes.toml", "--format", format, "--seed", seed.to_str().expect("UTF-8")];
    let legacy_as = legacy_as.join(",");
    arguments.extend(["--legacy-as", &legacy_as]);
    arguments.extend(clusters.iter().flat_map(|cluster| ["--cluster", cluster]));
    bench.run(&arguments)
}

/// One cell that changes: who, where, which way.
type Cell = (String, String, String, &'static str);

/// What follows from the route table and the seed, without the mapping's code: each decided row lets in whom its legacy
/// column names before, and the holders of its V2 role after.
fn expected() -> BTreeSet<Cell> {
    let seed = Seed::read();
    let of_roles = LEGACY_AS.iter().map(|(role, group)| ("legacy_role", *role, Some(*role), *group));
    let named: BTreeSet<&str> = LEGACY_AS.iter().filter_map(|(_, group)| *group).collect();
    let others = seed.groups().into_iter().filter(|group| !named.contains(group));
    let of_groups = others.map(|group| ("group", group, None, Some(group)));
    let people: Vec<_> = of_roles.chain(of_groups).collect();
    let text = project_text("tests/data/console_routes.csv");
    let mut table = csv::Reader::from_reader(text.as_bytes());
    let mut cells = BTreeSet::new();
    for row in table.records() {
        let row = row.expect("a row of the table");
        let (methods, path, legacy, role, status) = (&row[3], &row[4], &row[5], &row[6], &row[8]);
        if status != "decided" {
            continue;
        }
        for (kind, name, legacy_role, group) in &people {
            let before = legacy_role.is_some_and(|held| legacy.split('|').any(|one| one == held));
            let after = group.is_some_and(|group| seed.group_holds(group, role));
            let direction = match (before, after) {
                (false, true) => "gain",
                (true, false) => "loss",
                _ => continue,
            };
            cells.insert(((*kind).to_owned(), (*name).to_owned(), format!("{methods} {path}"), direction));
        }
    }
    cells
}

/// What the command reports.
fn reported(report: &Value) -> BTreeSet<Cell> {
    let profiles = report["profiles"].as_array().expect("profiles");
    let mut cells = BTreeSet::new();
    for change in report["changes"].as_array().expect("changes") {
        for (key, direction) in [("gains", "gain"), ("losses", "loss")] {
            for who in change[key].as_array().expect("a list") {
                let profile = &profiles[usize::try_from(who["profile"].as_u64().expect("an index")).unwrap()];
                let text = |value: &Value| value.as_str().expect("text").to_owned();
                let route = text(&change["route"]);
                assert!(
                    who["through"].as_array().is_some_and(|ways| !ways.is_empty()),
                    "{route}: by no way?"
                );
                cells.insert((text(&profile["kind"]), text(&profile["members"][0]), route, direction));
            }
        }
    }
    cells
}

#[test]
fn the_documents_table_changes_exactly_what_follows_from_its_data() {
    let output = everything_to_v2("json");
    assert_eq!(output.code, 1, "{}", output.stderr);
    let report: Value = serde_json::from_str(&output.stdout).expect("JSON");
    let (reported, expected) = (reported(&report), expected());
    let missing: Vec<&Cell> = expected.difference(&reported).collect();
    let invented: Vec<&Cell> = reported.difference(&expected).collect();
    assert!(missing.is_empty() && invented.is_empty(), "missing {missing:#?}\ninvented {invented:#?}");
    let sum = |kind: &str, direction: &str| {
        expected.iter().filter(|cell| cell.0 == kind && cell.3 == direction).count() as u64
    };
    for (key, kind) in [("legacy_roles", "legacy_role"), ("groups", "group")] {
        assert_eq!(report["summary"][key]["gains"], sum(kind, "gain"));
        assert_eq!(report["summary"][key]["losses"], sum(kind, "loss"));
    }
    // The mapping as designed is not neutral: a careful reader finds both by hand (product).
    assert!(sum("legacy_role", "gain") > 0 && sum("legacy_role", "loss") > 0);
}

#[test]
fn a_reviewer_pastes_it_into_a_pull_request() {
    assert_golden("diff/documents.txt", &everything_to_v2("text").text());
}

#[test]
fn a_code_host_reads_it_as_sarif() {
    let output = everything_to_v2("sarif");
    let log: Value = serde_json::from_str(&output.stdout).expect("JSON");
    let results = log["runs"][0]["results"].as_array().expect("results");
    assert!(results.iter().all(|result| {
        let id = result["ruleId"].as_str().unwrap_or_default();
        let place = &result["locations"][0]["physicalLocation"];
        ["access-gain", "access-loss"].contains(&id) && place["artifactLocation"]["uri"] == "routes.toml"
    }));
    let rules = log["runs"][0]["tool"]["driver"]["rules"].as_array().expect("rules");
    assert!(rules.iter().all(|rule| rule["shortDescription"]["text"].is_string()), "{rules:?}");
}

/// The database's own people, by name, with what each gains or loses.
#[test]
fn admins_come_from_the_database() {
    let bench = Workbench::new();
    bench.write("routes.toml", &project_text("routes.toml"));
    bench.sql(
        "INSERT INTO admins (id, email) VALUES ('olaf', 'olaf@example.org'), ('sue', 'sue@example.org'),
             ('gone', 'gone@example.org');
         UPDATE admins SET disabled_at_utc = '2026-01-01T00:00:00+00:00' WHERE id = 'gone';
         INSERT INTO admin_roles (admin_id, role, granted_by) VALUES ('olaf', 'ops', 't'), ('sue', 'support', 't'),
             ('gone', 'ops', 't');
         INSERT INTO rbac_user_groups (user_id, group_id, granted_by)
             SELECT 'olaf', id, 't' FROM rbac_groups WHERE name = 'raxx-devops-team';
         INSERT INTO rbac_user_groups (user_id, group_id, granted_by)
             SELECT 'sue', id, 't' FROM rbac_groups WHERE name = 'raxx-support-team';",
    );
    let output = bench.run(&["diff", "routes.toml", "--cluster", "S3=v2"]);
    assert_golden("diff/one-cluster.txt", &output.text());
}

#[test]
fn what_changes_nothing_is_0() {
    let bench = Workbench::new();
    bench.write("routes.toml", &project_text("routes.toml"));
    bench.write("commented.toml", &format!("# looked at\n{}", project_text("routes.toml")));
    let output = bench.run(&["diff", "routes.toml", "commented.toml"]);
    assert_eq!(
        (output.code, output.stdout.lines().next()),
        (0, Some("106 routes: no one gains or loses access"))
    );
    // The kill-switch puts every row on its legacy gate: then a flip changes nothing either.
    let off = bench.run(&["diff", "routes.toml", "--cluster", "S3=v2", "--flag", "off"]);
    assert_eq!(off.code, 0, "{}", off.stdout);
}

/// Rows of some kinds in a cluster of this mode.
fn small(unmapped: &str, mode: &str) -> String {
    format!(
        "version = 1\nunmapped = \"{unmapped}\"\n[clusters]\nD = \"{mode}\"\n[blueprints.b]\ncluster = \"D\"\n\
         [blueprints.b.routes]\n\"GET /home\" = {{ session = true }}\n\
         \"POST /deploys\" = {{ legacy = [\"ops\"], role = \"console-staging-services-write\", when = [{{ json = \"/target\", equals = \"prod\", role = \"console-prod-services-write\" }}] }}\n"
    )
}

/// Two small files, compared for roles and groups alone.
fn compared(old: &str, new: &str, format: &str) -> CommandOutput {
    let bench = Workbench::new();
    bench.write("old.toml", old);
    bench.write("new.toml", new);
    let seed = project_file("tests/data/rbac_seed.toml");
    let seed = seed.to_str().expect("UTF-8");
    bench.run(&["diff", "old.toml", "new.toml", "--seed", seed, "--format", format])
}

/// Nothing of what nobody wrote down changes hands unseen: it is the first line, and exit code 1.
#[test]
fn a_change_of_unmapped_paths_is_reported_first() {
    let (deny, forward) = (small("deny", "v2"), small("forward", "v2"));
    let opened = compared(&deny, &forward, "text");
    assert!(opened.stdout.starts_with("what no row covers opens to anyone, logged in or not"), "{opened:?}");
    assert_golden("diff/unmapped-opened.txt", &opened.text());
    assert_golden("diff/unmapped-closed.txt", &compared(&forward, &deny, "text").text());
    let report: Value = serde_json::from_str(&compared(&deny, &forward, "json").stdout).expect("JSON");
    let change = &report["changes"][0];
    assert_eq!(change["route"], Value::Null);
    assert_eq!((&change["strangers"], &change["machines_of_console"]), (&"gain".into(), &"gain".into()));
    assert_eq!(change["methods"].as_array().map(Vec::len), Some(7));
    assert_eq!(report["warnings"].as_array().map(Vec::len), Some(1));
}

/// Each kind of body that the row distinguishes, one that it cannot read too.
#[test]
fn bodies_that_a_row_distinguishes_are_reported_one_by_one() {
    let output = compared(&small("deny", "shadow"), &small("deny", "v2"), "text");
    assert_golden("diff/body-rules.txt", &output.text());
    let output = compared(&small("deny", "shadow"), &small("deny", "v2"), "json");
    let report: Value = serde_json::from_str(&output.stdout).expect("JSON");
    let kinds: Vec<&Value> =
        report["changes"].as_array().expect("changes").iter().map(|change| &change["body"]["kind"]).collect();
    assert_eq!(kinds, ["no_rule", "rule", "unreadable"]);
}

#[test]
fn what_cannot_be_compared_is_2_and_says_why() {
    let bench = Workbench::new();
    bench.write("routes.toml", &project_text("routes.toml"));
    bench.write("broken.toml", "version = 1\nunmaped = \"deny\"\n");
    let table: [(&[&str], &str); 8] = [
        (&["diff", "routes.toml"], "give the current mapping as OLD: no gate has activated a mapping"),
        (&["diff", "routes.toml", "nowhere.toml"], "cannot read nowhere.toml"),
        (&["diff", "routes.toml", "broken.toml"], "`unmaped` is not a key of the top level"),
        (&["diff", "routes.toml", "--cluster", "S33=v2"], "there is no cluster `S33`; there are S1, S2"),
        (&["diff", "routes.toml", "--cluster", "S3=V2"], "the modes are legacy, shadow and v2"),
        (
            &["diff", "routes.toml", "--cluster", "S3=v2", "--legacy-as", "ops=nobody"],
            "there is no group `nobody`",
        ),
        (
            &["diff", "routes.toml", "--cluster", "S3=v2", "--legacy-as", "boss=x"],
            "there is no legacy role `boss`; there are ops, readonly, superadmin, support",
        ),
        (
            &["diff", "routes.toml", "--cluster", "S3=v2", "--database", "sqlite:/nowhere/x.sqlite"],
            "use --seed",
        ),
    ];
    for (arguments, says) in table {
        let output = bench.run(arguments);
        assert_eq!(output.code, 2, "{arguments:?}: {}", output.stdout);
        assert!(output.stderr.contains(says), "{arguments:?}: {}", output.stderr);
        assert_eq!(output.stdout, "", "{arguments:?}");
    }
}

/// The report says what a gate would refuse, besides who gains and loses; with an override it says that it would not.
#[test]
fn a_flip_before_its_time_is_reported() {
    let bench = Workbench::new();
    let new = project_text("tests/workbench/mappings/out-of-order.toml");
    bench.write("old.toml", &new.replace("mode = \"v2\"", "mode = \"shadow\""));
    bench.write("new.toml", &new);
    let output = bench.run(&["diff", "old.toml", "new.toml"]);
    assert_eq!(output.code, 1, "{output:?}");
    let (_, order) = output.stdout.split_once("\nOrder\n").unwrap_or_else(|| panic!("{}", output.stdout));
    let words: Vec<&str> = order.split_whitespace().collect();
    let missing = "`S1` is shadow in this file; `S2` has been in shadow for 0 of 24 hours";
    assert_eq!(words.join(" "), format!("`S2` cannot go to v2 yet: {missing}"));
    assert!(order.lines().all(|line| line.chars().count() <= 80), "{order}");
    let json: Value =
        serde_json::from_str(&bench.run(&["diff", "old.toml", "new.toml", "--format", "json"]).stdout)
            .unwrap();
    assert_eq!(json["order"][0]["cluster"], "S2");
    assert_eq!(json["order"][0]["override"], Value::Null);
    let sarif = bench.run(&["diff", "old.toml", "new.toml", "--format", "sarif"]).stdout;
    assert!(sarif.contains("out-of-order"), "{sarif}");
    // Nothing to refuse: nothing to report.
    let output = bench.run(&["diff", "old.toml", "old.toml"]);
    assert!(!output.stdout.contains("Order"), "{output:?}");
    bench.write("new.toml", &project_text("tests/workbench/mappings/order-overridden.toml"));
    let output = bench.run(&["diff", "old.toml", "new.toml"]);
    let words: Vec<&str> = output.stdout.split_whitespace().collect();
    assert!(words.join(" ").contains("by override: an incident (#1502)"), "{}", output.stdout);
}
