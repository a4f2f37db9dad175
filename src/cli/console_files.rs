//! Console's source on disk: which files are read.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use console_source::{ConsoleSource, PythonFile, read};

/// Folders that hold no views: what was installed, what was compiled, and tests, which speak of `require_role` a lot.
const SKIPPED: [&str; 6] = ["__pycache__", "node_modules", "site-packages", "venv", "tests", "test"];
/// The largest file that is read. Python's own library has none that is larger.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// The most files that are read: a folder with more is not Console's source.
const MAX_FILES: usize = 20_000;

/// How places name a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// By the path that leads there from here, as `grep` does.
    FromHere,
    /// By the path below the folder: the same wherever the command runs.
    BelowFolder,
}

/// Reads every Python file below `folder`, in the order of their paths; `gates` are the names of the decorator that asks
/// for a legacy role. Links are not followed: they may lead outside.
///
/// # Errors
///
/// A folder that cannot be read or holds no Python, so that a lint in the wrong place does not pass; or a file that is
/// too large or not UTF-8, because what is not read may hold a site.
pub(super) fn console_source(folder: &Path, names: Names, gates: &[String]) -> anyhow::Result<ConsoleSource> {
    let name = folder.display();
    let absolute = folder.canonicalize().with_context(|| format!("cannot read `{name}`"))?;
    let mut paths = Vec::new();
    collect(folder, &mut paths)?;
    if paths.is_empty() {
        bail!("`{name}` does not contain a Python file");
    }
    let files: Vec<PythonFile> =
        paths.iter().map(|path| read_file(folder, path, names)).collect::<anyhow::Result<_>>()?;
    Ok(read(&absolute.to_string_lossy(), &files, gates))
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let context = || format!("cannot read `{}`", folder.display());
    let entries: Vec<std::fs::DirEntry> =
        std::fs::read_dir(folder).and_then(Iterator::collect).with_context(context)?;
    for entry in entries {
        let (kind, name) = (entry.file_type().with_context(context)?, entry.file_name());
        let name = name.to_string_lossy();
        if kind.is_dir() && !name.starts_with('.') && !SKIPPED.contains(&&*name) {
            collect(&entry.path(), paths)?;
        } else if kind.is_file() && name.ends_with(".py") {
            paths.push(entry.path());
        }
        if paths.len() > MAX_FILES {
            bail!("more than {MAX_FILES} Python files: this is more than Console's source");
        }
    }
    paths.sort_unstable();
    Ok(())
}

fn read_file(folder: &Path, path: &Path, names: Names) -> anyhow::Result<PythonFile> {
    let name = path.display();
    let size = path.metadata().with_context(|| format!("cannot read `{name}`"))?.len();
    if size > MAX_FILE_BYTES {
        bail!("`{name}` is larger than {} MiB", MAX_FILE_BYTES >> 20);
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{name}`"))?;
    let below = path.strip_prefix(folder).unwrap_or(path);
    let words: Vec<String> =
        below.components().map(|word| word.as_os_str().to_string_lossy().into_owned()).collect();
    let below = words.join("/");
    let name = if names == Names::FromHere { name.to_string() } else { below.clone() };
    Ok(PythonFile { path: below, name, text })
}
