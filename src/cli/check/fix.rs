//! `check --fix`: the file's own count of its rows.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use policy::mapping::counted;

/// Writes the number of rows into the file, unless it is there already, and returns the file's text. A file with other
/// mistakes is left as it is: the check reports them.
pub(super) fn fix(file: &Path, source: String) -> anyhow::Result<String> {
    let name = file.display();
    let Some(counted) = counted(&source) else {
        eprintln!("{name}: not fixed: correct the other errors first");
        return Ok(source);
    };
    if counted.text == source {
        return Ok(source);
    }
    // A symlink stays a symlink: its target is replaced.
    let target = file.canonicalize().with_context(|| format!("cannot write {name}"))?;
    replace(&target, &counted.text).with_context(|| format!("cannot write {name}"))?;
    let before = counted.before.map_or_else(String::new, |before| format!(" (was {before})"));
    eprintln!("{name}: fixed: `rows = {}`{before}", counted.rows);
    Ok(counted.text)
}

/// Replaces a file in one step, as a gate requires, and keeps its owner and mode.
pub(in crate::cli) fn replace(target: &Path, text: &str) -> std::io::Result<()> {
    let new = beside(target);
    let outcome = write(&new, target, text).and_then(|()| std::fs::rename(&new, target));
    if outcome.is_err() {
        // It may not exist. The first error is the one to report.
        let _ = std::fs::remove_file(&new);
    }
    outcome
}

fn beside(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    target.with_file_name(name)
}

fn write(new: &Path, target: &Path, text: &str) -> std::io::Result<()> {
    let kind = std::fs::metadata(target)?;
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (kind.uid(), kind.gid()) {
        fchown(&file, Some(kind.uid()), Some(kind.gid()))?;
    }
    file.set_permissions(kind.permissions())?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
