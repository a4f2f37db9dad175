//! Whether and how output is coloured, and where its lines are wrapped.

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use annotate_snippets::Renderer;

use super::Level;

/// The columns that reports are laid out for.
pub const USUAL_COLUMNS: usize = 80;
/// Wider than any line, so that nothing is wrapped.
const UNBOUNDED: usize = 1 << 20;

/// The columns of this process's output.
static COLUMNS: AtomicUsize = AtomicUsize::new(USUAL_COLUMNS);
/// This process's [`Colours`].
static COLOURS: AtomicU8 = AtomicU8::new(Colours::Auto as u8);

/// The width at which output is wrapped.
pub fn columns() -> usize {
    COLUMNS.load(Ordering::Relaxed)
}

/// Sets the width for this process: `None` turns wrapping off.
pub fn wrap_at(columns: Option<usize>) {
    COLUMNS.store(columns.map_or(UNBOUNDED, |columns| columns.clamp(40, UNBOUNDED)), Ordering::Relaxed);
}

/// When output is coloured (`--color`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Colours {
    /// On a terminal, unless `NO_COLOR` is set; elsewhere, if `CLICOLOR_FORCE` is
    #[default]
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

impl Colours {
    /// Sets it for this process.
    pub fn choose(self) {
        COLOURS.store(self as u8, Ordering::Relaxed);
    }

    fn chosen() -> Colours {
        let chosen = COLOURS.load(Ordering::Relaxed);
        [Colours::Always, Colours::Never]
            .into_iter()
            .find(|one| *one as u8 == chosen)
            .unwrap_or(Colours::Auto)
    }

    /// Whether output to a terminal, or not to one, is coloured, given the environment's `variable`.
    fn applies(self, is_terminal: bool, variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> bool {
        let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
        let is_dumb = variable("TERM").is_some_and(|term| term == *OsStr::new("dumb"));
        match self {
            Colours::Always => true,
            Colours::Never => false,
            // <https://no-color.org>, <https://bixense.com/clicolors>
            Colours::Auto if is_set("NO_COLOR") => false,
            Colours::Auto
                if variable("CLICOLOR_FORCE")
                    .is_some_and(|value| !value.is_empty() && value != *OsStr::new("0")) =>
            {
                true
            }
            Colours::Auto => is_terminal && !is_dumb,
        }
    }
}

/// Coloured or plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    Coloured,
}

impl Style {
    /// Follows `--color`; by default, colours on a terminal that is not a dumb one, unless the environment specifies
    /// otherwise.
    pub fn of(stream: &impl IsTerminal) -> Style {
        let applies = Colours::chosen().applies(stream.is_terminal(), |name| std::env::var_os(name));
        if applies { Style::Coloured } else { Style::Plain }
    }

    /// `text` in the colour of a level.
    pub fn paint(self, level: Level, text: &str) -> String {
        let colour = match level {
            Level::Error => "1;91",
            Level::Warning => "1;33",
            Level::Note => "1;92",
        };
        self.escape(colour, text)
    }

    /// `text` in bold.
    pub fn bold(self, text: &str) -> String {
        self.escape("1", text)
    }

    fn escape(self, code: &str, text: &str) -> String {
        match self {
            Style::Plain => text.to_owned(),
            Style::Coloured => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }

    pub(crate) fn renderer(self) -> Renderer {
        let renderer = match self {
            Style::Plain => Renderer::plain(),
            Style::Coloured => Renderer::styled(),
        };
        renderer.term_width(columns())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_where_they_are_asked_for() {
        let applies = |colours: Colours, is_terminal: bool, set: &[(&str, &str)]| {
            colours.applies(is_terminal, |name| {
                set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into())
            })
        };
        for (colours, is_terminal, set, expected) in [
            (Colours::Auto, true, &[][..], true),
            (Colours::Auto, false, &[], false),
            (Colours::Auto, true, &[("NO_COLOR", "1")], false),
            (Colours::Auto, true, &[("NO_COLOR", "")], true),
            (Colours::Auto, true, &[("TERM", "dumb")], false),
            (Colours::Auto, false, &[("CLICOLOR_FORCE", "1")], true),
            (Colours::Auto, false, &[("CLICOLOR_FORCE", "0")], false),
            (Colours::Auto, false, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
            (Colours::Always, false, &[("NO_COLOR", "1")], true),
            (Colours::Never, true, &[("CLICOLOR_FORCE", "1")], false),
        ] {
            assert_eq!(applies(colours, is_terminal, set), expected, "{colours:?} {is_terminal} {set:?}");
        }
    }
}
