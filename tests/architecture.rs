//! The rules about dependencies that Cargo cannot guard: what the pure crates may use of `std` and of others, which
//! modules of the gate may not use which, and that no files use each other in a circle.
//!
//! The sources are parsed, so that every form of a path counts: `use a::{b, c}`, `super::super::x`, a path in an expression.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot do")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use syn::visit::{self, Visit};

/// The crates without I/O, and where their sources are.
const PURE: [(&str, &str); 4] = [
    ("console-gate-policy", "crates/policy/src"),
    ("console-gate-ledger", "crates/ledger/src"),
    ("console-gate-workbench", "crates/workbench/src"),
    ("console-gate-console-source", "crates/console-source/src"),
];

/// None of the pure crates links these, not even by way of another.
const IMPURE_CRATES: [&str; 8] = ["tokio", "sqlx", "sqlx-core", "axum", "pingora", "hyper", "notify", "moka"];

/// What is a clock, randomness or I/O of `std` or chrono.
const IMPURE_PATHS: [&[&str]; 12] = [
    &["std", "fs"],
    &["std", "net", "TcpStream"],
    &["std", "net", "TcpListener"],
    &["std", "net", "UdpSocket"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "os"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
    &["Instant", "now"],
    &["Utc", "now"],
    &["SystemTime", "now"],
];

/// `from` never uses `to`.
const NEVER: [(&str, &str, &str); 5] = [
    ("ruling", "edge", "a ruling knows no socket and no server"),
    ("ruling", "admin", "a ruling knows no socket and no server"),
    ("edge", "admin", "the proxy and the admin address are apart"),
    ("freshness", "edge", "freshness knows no requests"),
    ("journal", "edge", "the journal knows no requests"),
];

/// Rooms that reach the database only through others: a request through `freshness` and `journal`, the edge through `ruling`.
const WITHOUT_STORE: [&str; 2] = ["ruling", "edge"];

/// A file of one crate: its module, and every path that its code names, tests left out.
struct Source {
    module: Vec<String>,
    paths: BTreeSet<Vec<String>>,
    /// What `pub use` names here: the name, and what it leads to.
    exports: BTreeMap<String, Vec<String>>,
}

/// Collects paths.
#[derive(Default)]
struct Paths {
    paths: BTreeSet<Vec<String>>,
    exports: BTreeMap<String, Vec<String>>,
}

impl Paths {
    fn tree(&mut self, tree: &syn::UseTree, prefix: &[String], is_export: bool) {
        match tree {
            syn::UseTree::Path(path) => {
                let prefix = [prefix, &[path.ident.to_string()]].concat();
                self.tree(&path.tree, &prefix, is_export);
            }
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|one| self.tree(one, prefix, is_export));
            }
            syn::UseTree::Name(name) => self.named(prefix, &name.ident.to_string(), None, is_export),
            syn::UseTree::Rename(one) => {
                self.named(prefix, &one.ident.to_string(), Some(one.rename.to_string()), is_export);
            }
            syn::UseTree::Glob(_) => {
                self.paths.insert(prefix.to_vec());
            }
        }
    }

    fn named(&mut self, prefix: &[String], name: &str, rename: Option<String>, is_export: bool) {
        let path = if name == "self" { prefix.to_vec() } else { [prefix, &[name.to_owned()]].concat() };
        if is_export {
            self.exports.insert(rename.unwrap_or_else(|| name.to_owned()), path.clone());
        }
        self.paths.insert(path);
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_cfg_test = attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"));
        is_cfg_test || attribute.path().is_ident("test")
    })
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_test(&item.attrs) {
            let is_export = !matches!(item.vis, syn::Visibility::Inherited);
            self.tree(&item.tree, &[], is_export);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.paths.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The sources of a crate, without the files that only tests are made of.
fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    files(&root, &mut found);
    let mut sources = Vec::new();
    for file in found {
        let within = file.strip_prefix(&root).unwrap().with_extension("");
        let module: Vec<String> = within
            .iter()
            .map(|part| part.to_str().unwrap().to_owned())
            .filter(|part| part != "lib")
            .collect();
        if module.iter().any(|part| part.contains("tests") || part == "fixtures" || part == "main") {
            continue;
        }
        let parsed = syn::parse_file(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let mut paths = Paths::default();
        paths.visit_file(&parsed);
        sources.push(Source { module, paths: paths.paths, exports: paths.exports });
    }
    assert!(sources.len() > 5, "{folder}: the sources are not where they were");
    sources
}

/// The module in which a path ends, in the crate of `modules`; `None` where it leads out of the crate.
fn resolve<'m>(
    from: &[String],
    path: &[String],
    modules: &'m BTreeMap<Vec<String>, &Source>,
    depth: usize,
) -> Option<&'m Vec<String>> {
    let mut at: Vec<String> = match path.first()?.as_str() {
        "crate" => Vec::new(),
        "self" => from.to_vec(),
        "super" => from.get(..from.len().checked_sub(1)?)?.to_vec(),
        _ => from.to_vec(),
    };
    let is_named = ["crate", "self", "super"].contains(&path[0].as_str());
    let mut rest = if is_named { &path[1..] } else { path };
    while rest.first().is_some_and(|part| part == "super") {
        at.pop()?;
        rest = &rest[1..];
    }
    // A name without one of those is a child of this module, or of another crate.
    if !is_named && !modules.contains_key(&[at.as_slice(), &rest[..1]].concat()) {
        return None;
    }
    for (number, part) in rest.iter().enumerate() {
        let next = [at.as_slice(), std::slice::from_ref(part)].concat();
        if modules.contains_key(&next) {
            at = next;
        } else if let Some(export) = modules.get(&at).and_then(|source| source.exports.get(part))
            && depth < 5
        {
            let path = [export.as_slice(), &rest[number + 1..]].concat();
            return resolve(&at, &path, modules, depth + 1)
                .or(modules.get_key_value(&at).map(|(key, _)| key));
        } else {
            break;
        }
    }
    modules.get_key_value(&at).map(|(key, _)| key)
}

/// Which modules each module uses. A module and those within it are one thing: the outer one re-exports, the inner ones
/// use its types.
fn uses(sources: &[Source]) -> BTreeMap<&Vec<String>, BTreeSet<&Vec<String>>> {
    let modules: BTreeMap<Vec<String>, &Source> =
        sources.iter().map(|source| (source.module.clone(), source)).collect();
    let own: BTreeMap<&[String], &Vec<String>> =
        sources.iter().map(|source| (source.module.as_slice(), &source.module)).collect();
    let mut uses = BTreeMap::new();
    for source in sources {
        let resolved = source.paths.iter().filter_map(|path| resolve(&source.module, path, &modules, 0));
        let others = resolved
            .filter(|other| !other.starts_with(&source.module) && !source.module.starts_with(other))
            .map(|other| own[other.as_slice()]);
        uses.insert(&source.module, others.collect());
    }
    uses
}

#[test]
fn pure_crates_link_nothing_that_does_io() {
    for (package, _) in PURE {
        let tree = Command::new(env!("CARGO"))
            .args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none", "-p", package])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
        let tree = String::from_utf8(tree.stdout).unwrap();
        let linked: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(linked.len() > 10, "{tree}");
        let impure: Vec<&&str> = IMPURE_CRATES.iter().filter(|name| linked.contains(**name)).collect();
        assert!(impure.is_empty(), "`{package}` links {impure:?}");
    }
}

#[test]
fn pure_crates_use_no_clock_and_no_io_of_std() {
    for (package, folder) in PURE {
        for source in sources(folder) {
            let impure: Vec<&Vec<String>> = source
                .paths
                .iter()
                .filter(|path| {
                    IMPURE_PATHS.iter().any(|impure| path.windows(impure.len()).any(|part| part == *impure))
                })
                .collect();
            assert!(impure.is_empty(), "`{package}` {:?} uses {impure:?}", source.module);
        }
    }
}

#[test]
fn rooms_do_not_reach_round_each_other() {
    let sources = sources("src");
    let uses = uses(&sources);
    let rooms: BTreeSet<&String> = sources.iter().filter_map(|source| source.module.first()).collect();
    for (from, to, why) in NEVER {
        assert!(rooms.contains(&from.to_owned()) && rooms.contains(&to.to_owned()), "{from} or {to} is gone");
        for (module, others) in &uses {
            let reaches = module.first().is_some_and(|room| room == from)
                && others.iter().any(|other| other.first().is_some_and(|room| room == to));
            assert!(!reaches, "{module:?} uses `{to}`: {why}");
        }
    }
}

#[test]
fn sql_is_in_the_store_alone() {
    for source in sources("src") {
        let uses = |name: &str| source.paths.iter().any(|path| path[0] == name);
        assert!(!uses("sqlx"), "{:?} uses sqlx", source.module);
        let room = source.module.first().map(String::as_str).unwrap_or_default();
        assert!(!uses("store") || !WITHOUT_STORE.contains(&room), "{:?} uses the store", source.module);
    }
}

/// A circle of files is one thing in several files: nobody can read, test or replace one of them by itself.
#[test]
fn no_files_use_each_other_in_a_circle() {
    let mut circles = Vec::new();
    for folder in
        ["src", "crates/store/src", "crates/grants/src"].into_iter().chain(PURE.map(|(_, folder)| folder))
    {
        let sources = sources(folder);
        let uses = uses(&sources);
        for start in uses.keys() {
            // The shortest way back to it.
            let mut ways: Vec<Vec<&Vec<String>>> = vec![vec![*start]];
            let mut seen = BTreeSet::new();
            while let Some(way) = (!ways.is_empty()).then(|| ways.remove(0)) {
                for next in &uses[way[way.len() - 1]] {
                    if next == start && way.iter().min() == Some(start) {
                        let names: Vec<String> = way.iter().map(|module| module.join("::")).collect();
                        circles.push(format!("{folder}: {}", names.join(" -> ")));
                    } else if seen.insert(*next) {
                        ways.push([way.as_slice(), &[*next]].concat());
                    }
                }
            }
        }
    }
    circles.sort();
    assert!(circles.is_empty(), "{} circles:\n{}", circles.len(), circles.join("\n"));
}
