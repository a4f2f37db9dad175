//! The report, line by line.

use std::io::Write as _;

use serde::Serialize;
use workbench::report::Level;
use workbench::report::style::{Style, columns};
use workbench::report::text::{harmless, wrapped};

/// The state of one checked item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Good,
    /// It works, but needs attention.
    Warning,
    Failed,
    /// It could not be checked.
    Skipped,
}

/// One checked item.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub state: State,
    /// The item: a stable word.
    pub subject: &'static str,
    pub found: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// All lines, in the order in which a request needs the items.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    lines: Vec<Line>,
}

impl Report {
    pub(super) fn good(&mut self, subject: &'static str, found: impl Into<String>) {
        self.add(State::Good, subject, found, None);
    }

    pub(super) fn warn(
        &mut self,
        subject: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(State::Warning, subject, found, Some(remedy.into()));
    }

    pub(super) fn fail(
        &mut self,
        subject: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(State::Failed, subject, found, Some(remedy.into()));
    }

    pub(super) fn skip(&mut self, subject: &'static str, found: impl Into<String>) {
        self.add(State::Skipped, subject, found, None);
    }

    fn add(&mut self, state: State, subject: &'static str, found: impl Into<String>, remedy: Option<String>) {
        self.lines.push(Line { state, subject, found: found.into(), remedy });
    }

    #[cfg(test)]
    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Whether nothing failed.
    pub(super) fn is_sound(&self) -> bool {
        self.lines.iter().all(|line| line.state != State::Failed)
    }

    fn count(&self, state: State) -> usize {
        self.lines.iter().filter(|line| line.state == state).count()
    }

    /// Writes the report to standard output.
    pub(super) fn print(&self) -> std::io::Result<()> {
        let style = Style::of(&std::io::stdout());
        let mut out = std::io::stdout().lock();
        let width = self.lines.iter().map(|line| line.subject.len()).max().unwrap_or_default();
        // ` FAIL  subject  `
        let indent = 6 + 2 + width + 2;
        for line in &self.lines {
            let (word, level) = match line.state {
                State::Good => ("ok", Some(Level::Note)),
                State::Warning => ("look", Some(Level::Warning)),
                State::Failed => ("FAIL", Some(Level::Error)),
                State::Skipped => ("skip", None),
            };
            let word = format!("{word:>6}");
            let word = level.map_or_else(|| word.clone(), |level| style.paint(level, &word));
            let found = match line.found.contains('\n') {
                // An excerpt of a file keeps its lines.
                true => {
                    line.found.lines().map(harmless).collect::<Vec<_>>().join(&format!("\n{:indent$}", ""))
                }
                false => wrapped(&line.found, columns(), indent, indent),
            };
            writeln!(out, "{word}  {:width$}  {}", line.subject, found.trim_start())?;
            if let Some(remedy) = &line.remedy {
                writeln!(out, "{}", wrapped(&format!("-> {remedy}"), columns(), indent, indent + 3))?;
            }
        }
        let [failed, warnings, skipped] =
            [State::Failed, State::Warning, State::Skipped].map(|state| self.count(state));
        let mut sum = vec![match (failed, warnings) {
            (0, 0) if skipped == 0 => "everything that a gate needs is there".to_owned(),
            (0, 0) => "nothing is wrong".to_owned(),
            (0, _) => "a gate can run".to_owned(),
            (failed, _) => format!("{failed} wrong; mend the first one first"),
        }];
        sum.extend((warnings > 0).then(|| format!("{warnings} to look at")));
        sum.extend((skipped > 0).then(|| format!("{skipped} not looked at")));
        writeln!(out, "{}", style.bold(&sum.join("; ")))
    }
}
