//! The progress of a long operation, shown only on a terminal.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Overwrites itself on standard error, a few times a second.
pub(super) struct Progress {
    what: &'static str,
    all: usize,
    done: usize,
    /// `None` if standard error is not a terminal.
    printed: Option<Instant>,
}

const EVERY: Duration = Duration::from_millis(200);

impl Progress {
    pub(super) fn new(what: &'static str, all: usize) -> Progress {
        Progress { what, all, done: 0, printed: std::io::stderr().is_terminal().then(Instant::now) }
    }

    pub(super) fn step(&mut self) {
        self.done += 1;
        if self.printed.is_some_and(|printed| printed.elapsed() >= EVERY) {
            eprint!("\r{} {} of {}", self.what, self.done, self.all);
            let _ = std::io::stderr().flush();
            self.printed = Some(Instant::now());
        }
    }

    /// Clears the line.
    pub(super) fn end(self) {
        if self.printed.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
