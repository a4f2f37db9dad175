//! Console's source on disk: the files to read.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use console_source::{ConsoleSource, Guards, Meaning, PythonFile, read};

/// Folders without views: installed packages, compiled files, and tests, which mention `require_role` often.
const SKIPPED: [&str; 6] = ["__pycache__", "node_modules", "site-packages", "venv", "tests", "test"];
/// The largest file to read. Python's own library has no larger one.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// The most files to read: a folder with more is not Console's source.
const MAX_FILES: usize = 20_000;

/// How a place names its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// By its path from the working directory, as `grep` does.
    FromHere,
    /// By its path below the folder, which is the same wherever the command runs.
    BelowFolder,
}

/// What Console's decorators are called.
#[derive(Debug, Args)]
pub(super) struct GuardNames {
    /// Another decorator that requires one of its roles, beside `require_role`; may be repeated
    #[arg(long, value_name = "NAME")]
    require_role: Vec<String>,
    /// What a decorator of Console's asks for; may be repeated
    ///
    /// `role`: one of the roles that it is given. `machine-or-session`: a program's token, or one of the roles that it is given.
    /// `session`: a login. `machine`: a program's token.
    #[arg(long, value_name = "NAME=MEANING", value_parser = guard)]
    guard: Vec<(String, Meaning)>,
}

impl GuardNames {
    /// The usual decorators, and those of the arguments.
    pub(super) fn guards(&self) -> Guards {
        let roles = self.require_role.iter().map(|name| (name.clone(), Meaning::Role));
        Guards::default().and(roles.chain(self.guard.iter().cloned()))
    }
}

fn guard(text: &str) -> Result<(String, Meaning), String> {
    let words = [
        ("role", Meaning::Role),
        ("machine-or-session", Meaning::MachineOrSession),
        ("session", Meaning::Session),
        ("machine", Meaning::Machine),
    ];
    let (name, word) = text.split_once('=').ok_or("write NAME=MEANING, such as `login_required=session`")?;
    let meaning = words.iter().find(|(known, _)| *known == word).map(|(_, meaning)| *meaning);
    let meaning = meaning.ok_or("a guard asks for `role`, `machine-or-session`, `session` or `machine`")?;
    let is_name = !name.is_empty() && name.chars().all(|letter| letter == '_' || letter.is_alphanumeric());
    if is_name { Ok((name.to_owned(), meaning)) } else { Err(format!("`{name}` is not a name of Python's")) }
}

/// Reads every Python file below `folder`, in the order of their paths. Links are not followed: they may lead outside.
///
/// # Errors
///
/// The folder cannot be read or holds no Python, so that a lint in the wrong place does not pass; or a file is too
/// large or not UTF-8, because an unread file may contain a site.
pub(super) fn console_source(folder: &Path, names: Names, guards: &Guards) -> anyhow::Result<ConsoleSource> {
    let name = folder.display();
    let absolute = folder.canonicalize().with_context(|| format!("cannot read `{name}`"))?;
    Ok(read(&absolute.to_string_lossy(), &python_files(folder, names)?, guards))
}

/// The Python files below a folder; errors as those of [`console_source`].
pub(super) fn python_files(folder: &Path, names: Names) -> anyhow::Result<Vec<PythonFile>> {
    let name = folder.display();
    let mut paths = Vec::new();
    collect(folder, &mut paths)?;
    if paths.is_empty() {
        bail!("`{name}` does not contain a Python file");
    }
    paths.iter().map(|path| read_file(folder, path, names)).collect()
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
