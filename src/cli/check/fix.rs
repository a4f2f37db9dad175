//! `check --fix`: the file's own count of its rows.

use std::path::Path;

use anyhow::Context as _;
use policy::mapping::counted;

use crate::text_file::Replacement;

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
    Replacement::prepare(file, &counted.text)
        .and_then(Replacement::put)
        .with_context(|| format!("cannot write {name}"))?;
    let before = counted.before.map_or_else(String::new, |before| format!(" (was {before})"));
    eprintln!("{name}: fixed: `rows = {}`{before}", counted.rows);
    Ok(counted.text)
}
