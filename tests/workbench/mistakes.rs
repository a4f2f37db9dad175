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
