//! An archive for a bug report: what was found, the settings without passwords, the mapping.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::report::Report;
use crate::settings::Settings;
use crate::settings::load::without_passwords;

pub(super) fn write(
    file: &Path,
    config: Option<&Path>,
    settings: Option<&Settings>,
    report: &Report,
) -> anyhow::Result<()> {
    let place = || file.display().to_string();
    let options = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let mut archive = tar::Builder::new(GzEncoder::new(options.with_context(place)?, Compression::default()));
    let mut add = |name: &str, content: &str| -> std::io::Result<()> {
        let mut head = tar::Header::new_gnu();
        head.set_size(content.len() as u64);
        head.set_mode(0o600);
        head.set_mtime(u64::try_from(chrono::Utc::now().timestamp()).unwrap_or_default());
        archive.append_data(&mut head, Path::new("console-gate").join(name), content.as_bytes())
    };
    add("doctor.json", &serde_json::to_string_pretty(report)?)?;
    add("version.txt", &format!("console-gate {}\n", crate::version::version()))?;
    // The settings name secrets and contain none, except for the password in the database's address.
    if let Some(text) = config.and_then(|config| std::fs::read_to_string(config).ok()) {
        add("gate.toml", &without_passwords(&text))?;
    }
    if let Some(text) = settings.and_then(|one| std::fs::read_to_string(&one.mapping.file).ok()) {
        add("routes.toml", &text)?;
    }
    archive.into_inner().and_then(GzEncoder::finish).and_then(|mut file| file.flush()).with_context(place)
}
