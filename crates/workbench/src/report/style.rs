//! Whether and how output is coloured.

use std::io::IsTerminal;

use annotate_snippets::Renderer;

use super::Level;

/// The columns that output is wrapped at.
pub const COLUMNS: usize = 80;

/// Coloured or plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    Coloured,
}

impl Style {
    /// Colours on a terminal, unless `NO_COLOR` is set (<https://no-color.org>) or the terminal is a dumb one.
    pub fn of(stream: &impl IsTerminal) -> Style {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if stream.is_terminal() && !is_set("NO_COLOR") && !is_dumb { Style::Coloured } else { Style::Plain }
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

    pub(super) fn renderer(self) -> Renderer {
        let renderer = match self {
            Style::Plain => Renderer::plain(),
            Style::Coloured => Renderer::styled(),
        };
        renderer.term_width(COLUMNS)
    }
}
