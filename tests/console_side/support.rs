//! Running the binary, golden files, and the source of a Console that is the documents' table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The result of a command.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the binary in the project's folder, with nothing of this process's own settings.
pub fn gate(arguments: &[&str]) -> Ran {
    gate_in(&project_file(""), arguments)
}

/// Runs the binary in a folder: what it prints has no path of this machine then.
pub fn gate_in(folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_console-gate"));
    command.args(arguments).current_dir(folder).env("COLUMNS", "80");
    ran(command, "CONSOLE_GATE")
}

pub fn project_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Runs a tool of the Python that runs Console, in a folder of the project.
pub fn python(folder: &str, arguments: &[&str]) -> String {
    let ran = python_in(&project_file(folder), arguments);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.stdout
}

/// Runs it in any folder, whatever its exit code.
pub fn python_in(folder: &Path, arguments: &[&str]) -> Ran {
    let python = project_file(".venv/bin/python");
    assert!(python.exists(), "tests/setup.sh makes {}", python.display());
    let mut command = Command::new(python);
    command.args(arguments).current_dir(folder).env("PYTHONDONTWRITEBYTECODE", "1").env_remove("FLASK_APP");
    ran(command, "CONSOLE_")
}

/// Runs a command without the variables of this process that begin so.
fn ran(mut command: Command, prefix: &str) -> Ran {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with(prefix) {
            command.env_remove(name);
        }
    }
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A rule without the names and converters of its variables, and without a slash at its end.
pub fn outline(rule: &str) -> String {
    let mut outline = String::new();
    let mut depth = 0;
    for character in rule.chars() {
        match character {
            '<' => depth += 1,
            '>' => {
                depth -= 1;
                outline.push_str("<>");
            }
            '/' if outline.ends_with('/') => {}
            _ if depth == 0 => outline.push(character),
            _ => {}
        }
    }
    outline.trim_end_matches('/').to_owned()
}

/// Compares a text with `tests/console_side/golden/NAME`.
pub fn golden(name: &str, text: &str) {
    let path = project_file("tests/console_side/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "differs from {}", path.display());
}

/// Writes the documents' table as Console's source: a file for each blueprint, the legacy gates as decorators. Rows
/// without a path and deleted ones have no view, and the methods that are not stated are GET and POST.
pub fn source_of_the_table(folder: &Path) {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut table = csv::Reader::from_path(project_file("tests/data/console_routes.csv")).unwrap();
    for (number, row) in table.records().enumerate() {
        let row = row.unwrap();
        let (blueprint, methods, path, roles) = (&row[1], &row[3], &row[4], &row[5]);
        let (totp, status) = (&row[7], &row[8]);
        if path.is_empty() || status == "deleted" {
            continue;
        }
        let file = files.entry(format!("{blueprint}.py")).or_insert_with(|| {
            format!("from auth import *\nfrom flask import Blueprint\n\nbp = Blueprint(\"{blueprint}\", __name__)\n")
        });
        let methods = if methods == "*" { "\"GET\", \"POST\"".to_owned() } else { format!("\"{methods}\"") };
        write!(file, "\n\n@bp.route(\"{path}\", methods=[{methods}])\n").unwrap();
        if !roles.is_empty() {
            let roles: Vec<String> = roles.split('|').map(|role| format!("\"{role}\"")).collect();
            writeln!(file, "@require_role({})", roles.join(", ")).unwrap();
        }
        if totp == "elevation" {
            file.push_str("@require_totp_elevation\n");
        }
        write!(file, "def view_{number}(**arguments):\n    return \"\"\n").unwrap();
    }
    for (name, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
    }
}
