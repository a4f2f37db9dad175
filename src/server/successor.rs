//! SIGUSR2: the gate starts its successor itself, as it was started, and hands over to it.
//!
//! The program is found anew by its name, so it is the one that was installed meanwhile. It is a child in the same service,
//! which a service manager can follow ([`super::manager`]).

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::manager::WATCHDOG_PROCESS;

/// How long it may take until it waits for the sockets: it reads the settings, the database and the mapping first.
const PATIENCE: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(20);

/// The flag with which a gate waits for the sockets of another.
const UPGRADE: &str = "--upgrade";

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum SuccessorError {
    #[error("`{program}` could not be started: {error}")]
    NotStarted { program: String, error: std::io::Error },
    #[error("the next gate ended ({status}) before it waited for the sockets: its log shows why")]
    Ended { status: String },
    #[error(
        "the next gate did not wait for the sockets at {path} within {PATIENCE:?}: its log shows what it waits for, and where"
    )]
    Late { path: String },
}

/// The next gate. Unless it was left alone, it ends with this value.
pub(super) struct Successor(Child);

impl Successor {
    /// Starts it, and returns once it waits for the sockets at `path`.
    pub(super) async fn start(path: &Path) -> Result<Successor, SuccessorError> {
        // A socket that an earlier gate has left there does not mean that a gate waits.
        let _ = std::fs::remove_file(path);
        let mut command = again(std::env::args_os());
        let program = command.as_std().get_program().display().to_string();
        let child = command.spawn().map_err(|error| SuccessorError::NotStarted { program, error })?;
        let mut successor = Successor(child);
        let deadline = Instant::now() + PATIENCE;
        while !path.exists() {
            if let Ok(Some(status)) = successor.0.try_wait() {
                return Err(SuccessorError::Ended { status: status.to_string() });
            }
            if Instant::now() >= deadline {
                return Err(SuccessorError::Late { path: path.display().to_string() });
            }
            sleep(AGAIN).await;
        }
        Ok(successor)
    }

    /// It has the sockets, and goes on without this gate.
    pub(super) fn leave_alone(self) {
        // `kill_on_drop` is the only hold on it.
        std::mem::forget(self);
    }
}

/// The command by which this gate was started, for one that takes over from it.
fn again(arguments: impl Iterator<Item = OsString>) -> Command {
    let mut arguments = arguments.peekable();
    let mut command = Command::new(arguments.next().unwrap_or_default());
    let arguments: Vec<OsString> = arguments.collect();
    if !arguments.iter().any(|argument| argument == UPGRADE) {
        command.args(&arguments).arg(UPGRADE);
    } else {
        command.args(&arguments);
    }
    // The watchdog is the service's, whichever of its processes is the main one.
    command.env_remove(WATCHDOG_PROCESS).stdin(Stdio::null()).kill_on_drop(true);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_started_as_this_one_was() {
        let shown = |arguments: &[&str]| {
            let command = again(arguments.iter().map(OsString::from));
            let words: Vec<String> =
                command.as_std().get_args().map(|word| word.display().to_string()).collect();
            (command.as_std().get_program().display().to_string(), words.join(" "))
        };
        let first = shown(&["/usr/bin/console-gate", "serve", "--config", "/etc/gate.toml"]);
        assert_eq!(first, ("/usr/bin/console-gate".into(), "serve --config /etc/gate.toml --upgrade".into()));
        // The third of them.
        assert_eq!(shown(&["console-gate", "serve", "--upgrade"]).1, "serve --upgrade");
    }
}
