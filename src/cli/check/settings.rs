//! Findings in the files of settings.

use policy::diagnostic::Lines;
use workbench::report::style::Style;
use workbench::report::{Finding, Level, Location, rules, text};

use super::counted;
use crate::settings::load::Looked;
use crate::settings::{HOSTS_ARE_NEEDED, Settings};

/// The mistakes in the files, with their places.
pub(super) fn findings(looked: &[Looked]) -> Vec<Finding> {
    let of_file = |file: &Looked| {
        let lines = Lines::new(&file.source);
        file.mistakes.iter().map(|found| Finding::in_file(&file.name, &lines, found)).collect::<Vec<_>>()
    };
    looked.iter().flat_map(of_file).collect()
}

/// Writes the mistakes with the lines that they are about.
pub(super) fn write(output: &mut String, looked: &[Looked], style: Style) {
    for file in looked {
        let lines = Lines::new(&file.source);
        for found in &file.mistakes {
            output.push_str(&text::excerpt(&file.name, &lines, found, style));
            output.push('\n');
        }
    }
}

/// A line for each file: whether a gate would start with it.
pub(super) fn sums(looked: &[Looked], further: &[Finding]) -> Vec<String> {
    let of_file = |(number, file): (usize, &Looked)| {
        // Errors in the settings as a whole are counted for the first file, which names the others.
        let further = further.iter().filter(|finding| number == 0 && finding.level == Level::Error);
        match file.mistakes.len() + further.count() {
            0 => format!("{}: sound", file.name),
            errors => format!("{}: refused, {}", file.name, counted(errors, "error")),
        }
    };
    looked.iter().enumerate().map(of_file).collect()
}

/// The files that the settings name and that cannot be read.
pub(super) fn unreadable(settings: &Settings, looked: &[Looked]) -> Vec<Finding> {
    const ID: &str = "unreadable-file";
    let finding = |(key, path): (String, &std::path::Path)| {
        let error = std::fs::File::open(path).err()?;
        let message = format!("`{key}` is {}, which cannot be read: {error}", path.display());
        let suggestion = rules::rule(ID).map(|rule| rule.help.to_owned());
        Some(Finding { suggestion, ..Finding::new(ID, place(&key, looked), message) })
    };
    settings.files().into_iter().filter_map(finding).collect()
}

/// Production with any Host. With valid files, only a flag or a variable can cause it.
pub(super) fn without_hosts(settings: &Settings) -> Option<Finding> {
    settings.lacks_hosts().then(|| {
        let suggestion = Some("set `allowed_hosts` in [firewall] to the names of Console".to_owned());
        Finding { suggestion, ..Finding::new("bad-setting", None, format!("[firewall] {HOSTS_ARE_NEEDED}")) }
    })
}

/// The place where a key is set.
fn place(key: &str, looked: &[Looked]) -> Option<Location> {
    looked.iter().find_map(|file| {
        let (_, span) = file.places.iter().find(|(name, _)| name == key)?;
        let (line, column) = Lines::new(&file.source).position(span.start);
        Some(Location { file: file.name.clone(), line, column })
    })
}
