//! Who may import whom: the rules of ARCHITECTURE.md, held against the `use crate::` lines.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot do")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Modules that know nothing of I/O, and what of the crate they may know.
const PURE: [(&str, &[&str]); 20] = [
    ("ids", &[]),
    ("clock", &[]),
    ("method", &[]),
    ("diagnostic", &[]),
    ("report", &["diagnostic"]),
    ("rbac", &["ids"]),
    ("mapping", &["ids", "method", "diagnostic", "rbac"]),
    ("firewall", &["method"]),
    ("identity", &["ids"]),
    ("decision", &["ids", "method", "mapping", "rbac", "identity"]),
    ("drift", &["ids", "mapping", "rbac", "decision"]),
    ("soak", &["mapping", "rbac", "decision", "drift"]),
    ("impact", &["ids", "method", "diagnostic", "mapping", "rbac", "decision"]),
    ("verify", &["method", "mapping", "rbac", "decision"]),
    ("replay", &["ids", "method", "mapping", "rbac", "identity", "decision"]),
    ("console_source", &["method", "report", "diagnostic"]),
    ("coverage", &["method", "report", "diagnostic", "mapping"]),
    ("lint", &["method", "report", "mapping", "console_source", "coverage"]),
    ("import", &["method", "report", "mapping", "rbac", "console_source", "coverage"]),
    (
        "explanation",
        &[
            "ids",
            "method",
            "diagnostic",
            "report",
            "mapping",
            "rbac",
            "firewall",
            "identity",
            "decision",
            "impact",
        ],
    ),
];

/// Crates that do I/O.
const IMPURE_CRATES: [&str; 7] = ["tokio", "sqlx", "axum", "pingora", "hyper", "notify", "reqwest"];

/// `from` never imports `to`.
const NEVER: [(&str, &str, &str); 13] = [
    ("gate", "store", "the gate reaches the store only through access and audit"),
    ("gate", "proxy", "the gate knows no socket and no server"),
    ("gate", "api", "the gate knows no socket and no server"),
    ("proxy", "store", "the proxy reaches the store only through the gate"),
    ("proxy", "api", "the proxy and the api stand apart"),
    ("api", "proxy", "the proxy and the api stand apart"),
    ("tls", "proxy", "TLS hands a stream on and knows no request"),
    ("store", "access", "the store serves, it does not know whom"),
    ("store", "settings", "settings name the store's options, not the other way round"),
    ("firewall", "settings", "settings imports no module that uses it"),
    ("access", "proxy", "control publishes, the proxy borrows"),
    ("audit", "proxy", "control publishes, the proxy borrows"),
    ("decision", "settings", "the decision depends on its question alone"),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// For each top-level module: the modules and the crates that its code, tests left out, names.
fn imports() -> BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut imports: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    for file in files {
        let within = file.strip_prefix(&root).unwrap();
        if within.to_str().unwrap().contains("tests") {
            continue;
        }
        let first = within.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs").to_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let (modules, crates) = imports.entry(module.clone()).or_default();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for (place, _) in line.match_indices("crate::") {
                let rest = &line[place + "crate::".len()..];
                let name: String =
                    rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
                if !name.is_empty() && name != module {
                    modules.insert(name);
                }
            }
            for name in IMPURE_CRATES {
                if line.contains(&format!("{name}::")) {
                    crates.insert(name.to_owned());
                }
            }
        }
    }
    imports
}

#[test]
fn pure_modules_know_only_pure_modules_and_no_io() {
    let imports = imports();
    for (module, allowed) in PURE {
        let (modules, crates) = &imports[module];
        let allowed: BTreeSet<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
        let forbidden: Vec<&String> = modules.difference(&allowed).collect();
        assert!(forbidden.is_empty(), "`{module}` imports {forbidden:?}");
        assert!(crates.is_empty(), "`{module}` is pure and uses {crates:?}");
    }
}

#[test]
fn layers_do_not_reach_round_each_other() {
    let imports = imports();
    for (from, to, why) in NEVER {
        assert!(!imports[from].0.contains(to), "`{from}` imports `{to}`: {why}");
    }
}

#[test]
fn sql_is_in_the_store_alone() {
    for (module, (_, crates)) in imports() {
        assert!(module == "store" || !crates.contains("sqlx"), "`{module}` uses sqlx");
    }
}
