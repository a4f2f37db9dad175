//! Environment variables that are probably misspelt: nothing reads them, so nothing else would report it.

use std::collections::BTreeSet;

use clap::Command;
use policy::diagnostic::closest;

use crate::settings::Settings;
use crate::settings::alerts::{Postmark, Slack, Smtp};

/// The prefix of every variable of the gate.
const PREFIX: &str = "CONSOLE_GATE_";
/// The variables that the package for Console reads (`deploy/flask`).
const OF_CONSOLE: [&str; 8] = [
    "CONSOLE_GATE_BIND",
    "CONSOLE_GATE_SOCKET",
    "CONSOLE_GATE_KEYS_FILE",
    "CONSOLE_GATE_JWKS",
    "CONSOLE_GATE_AUDIENCE",
    "CONSOLE_GATE_SCRIPT_NAME",
    "CONSOLE_GATE_EXEMPT_PATHS",
    "CONSOLE_GATE_REPLAY_CACHE",
];

/// Names each variable that resembles one that `command` or the settings read, but is not one.
pub(super) fn misspelt(command: &Command, names: impl Iterator<Item = String>) -> Vec<String> {
    let known = known(command);
    let known = || known.iter().map(String::as_str);
    let misspelt = names.filter_map(|name| {
        let own = name.strip_prefix(PREFIX).filter(|_| known().all(|known| known != name))?;
        let near = closest(own, known().filter_map(|known| known.strip_prefix(PREFIX)))?;
        Some(format!("nothing reads the environment variable {name}: did you mean {PREFIX}{near}?"))
    });
    misspelt.collect()
}

fn known(command: &Command) -> BTreeSet<String> {
    let settings = Settings::default();
    let of_settings = [
        settings.session.secret_key_env,
        settings.assertion.keys_env,
        settings.audit.keys_env,
        settings.probe.keys_env,
        settings.freescout.key_env,
        settings.freescout.webhook_secret_env,
        Slack::default().webhook_env,
        Smtp::default().password_env,
        Postmark::default().token_env,
    ];
    let mut known: BTreeSet<String> = of_settings.into();
    known.extend(OF_CONSOLE.map(ToOwned::to_owned));
    for one in std::iter::once(command).chain(command.get_subcommands()) {
        let names = one.get_arguments().filter_map(|argument| argument.get_env());
        known.extend(names.map(|name| name.to_string_lossy().into_owned()));
    }
    known
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::super::Arguments;
    use super::*;

    #[test]
    fn a_variable_that_is_like_another_is_named() {
        let found = |name: &str| misspelt(&Arguments::command(), std::iter::once(name.to_owned()));
        assert_eq!(
            found("CONSOLE_GATE_MAPING"),
            [
                "nothing reads the environment variable CONSOLE_GATE_MAPING: did you mean CONSOLE_GATE_MAPPING?"
            ]
        );
        for good in [
            "CONSOLE_GATE_LISTEN",
            "CONSOLE_GATE_AUDIT_KEYS",
            "CONSOLE_GATE_JWKS",
            "MAPING",
            "CONSOLE_GATE_X",
        ] {
            assert!(found(good).is_empty(), "{good}");
        }
    }
}
