//! The output of a command's findings.

use serde::Serialize;
use workbench::report::style::Style;
use workbench::report::{Finding, Format, Level, json, sarif, text};

use super::Ended;

/// Prints findings; in JSON, with the command's own counts.
pub(super) fn print_findings(
    summary: impl Serialize,
    findings: &[Finding],
    format: Format,
) -> anyhow::Result<()> {
    match format {
        Format::Text => {
            let style = Style::of(&std::io::stdout());
            findings.iter().for_each(|finding| println!("{}", text::finding(finding, style).trim_end()));
        }
        Format::Json => println!("{}", serde_json::to_string_pretty(&json::Report { summary, findings })?),
        Format::Sarif => println!("{}", sarif::log(findings)?),
    }
    Ok(())
}

/// The exit code for the findings: notes do not stop a pipeline.
pub(super) fn outcome(findings: &[Finding]) -> Ended {
    let counts = findings.iter().any(|finding| finding.level < Level::Note);
    if counts { Ended::Findings } else { Ended::Clean }
}
