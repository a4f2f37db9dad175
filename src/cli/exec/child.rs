//! The process that becomes Console.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::getppid;
use zeroize::Zeroizing;

use super::super::Ended;
use crate::settings::Settings;
use crate::settings::secrets::Secrets;
use crate::settings::values::AssertionAlgorithm;

/// The exit code of shells for a command that does not exist.
const NOT_FOUND: u8 = 127;
const GUNICORN_ARGUMENTS: &str = "GUNICORN_CMD_ARGS";

/// What Console is started with.
pub(super) struct Console<'a> {
    pub(super) settings: &'a Settings,
    pub(super) secrets: &'a Secrets,
    pub(super) socket: &'a Path,
}

impl Console<'_> {
    /// Whether the command starts gunicorn, which has its own ways of taking addresses and signals.
    pub(super) fn is_gunicorn(&self, words: &[OsString]) -> bool {
        let name = |word: &OsString| Path::new(word).file_name().map(OsStr::to_owned).unwrap_or_default();
        let is_itself = words.first().is_some_and(|word| name(word) == *"gunicorn");
        let is_module = words.windows(2).take(2).any(|pair| pair[0] == *"-m" && pair[1] == *"gunicorn");
        is_itself || is_module
    }

    /// The command, started through this program: only a process itself can ask to end with its parent.
    ///
    /// # Errors
    ///
    /// gunicorn is configured to listen elsewhere.
    pub(super) fn command(&self, words: &[OsString]) -> anyhow::Result<Command> {
        let own = |word: &OsString| contains(word, "{bind}") || contains(word, "{socket}");
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["exec", "--child-of", &std::process::id().to_string(), "--"]);
        command.args(words.iter().map(|word| self.replaced(word)));
        // In a group of its own, so that its children can be ended with it.
        command.process_group(0);
        if self.is_gunicorn(words) && !words.iter().any(own) {
            let given = std::env::var_os(GUNICORN_ARGUMENTS).unwrap_or_default();
            let given_words = given.to_string_lossy();
            let mut all = words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>();
            all.extend(given_words.split_whitespace().map(Into::into));
            let binds = |word: &str| {
                word == "-b"
                    || word.starts_with("--bind")
                    || (word.starts_with("-b") && !word.starts_with("--"))
            };
            anyhow::ensure!(
                !all.iter().any(|word| binds(word)),
                "gunicorn would listen at another address, where nobody has to pass the gate: leave `--bind` out, or \
                 write `--bind {{bind}}`"
            );
            let mut arguments = given.clone();
            arguments.push(format!(" --bind 'unix:{}'", self.socket.display()));
            command.env(GUNICORN_ARGUMENTS, arguments);
        }
        self.environment(&mut command);
        Ok(command)
    }

    /// Passes the variables that Console needs, and no other secret.
    fn environment(&self, command: &mut Command) {
        let settings = self.settings;
        for name in secret_variables(settings) {
            command.env_remove(name);
        }
        // These belong to the gate: a server that took them for its own would try to listen there, or tell the gate's
        // service manager that it is ready, as gunicorn does.
        for name in ["PORT", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
            command.env_remove(name);
        }
        command.env("CONSOLE_GATE_BIND", format!("unix:{}", self.socket.display()));
        command.env("CONSOLE_GATE_SOCKET", self.socket);
        if std::env::var_os("CONSOLE_GATE_AUDIENCE").is_none() {
            command.env("CONSOLE_GATE_AUDIENCE", &settings.assertion.audience);
        }
        if settings.assertion.algorithm == AssertionAlgorithm::Hs256 {
            // The keys that the gate signs with, wherever they come from; the package accepts only one source.
            let keys: Vec<Zeroizing<String>> = self
                .secrets
                .assertion_keys
                .iter()
                .map(|key| Zeroizing::new(format!("{}:{}", key.id, STANDARD.encode(key.secret.expose()))))
                .collect();
            let keys: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
            let keys = Zeroizing::new(keys.join(","));
            command.env("CONSOLE_GATE_KEYS", keys.as_str());
            command.env_remove("CONSOLE_GATE_KEYS_FILE").env_remove("CONSOLE_GATE_JWKS");
        }
    }

    /// The word with the address in place of `{bind}` and `{socket}`.
    fn replaced(&self, word: &OsStr) -> OsString {
        let socket = self.socket.as_os_str().as_bytes();
        let bind = [b"unix:", socket].concat();
        let bytes = replace(word.as_bytes(), b"{bind}", &bind);
        OsString::from_vec(replace(&bytes, b"{socket}", socket))
    }
}

fn contains(word: &OsStr, part: &str) -> bool {
    word.as_bytes().windows(part.len()).any(|window| window == part.as_bytes())
}

fn replace(text: &[u8], part: &[u8], by: &[u8]) -> Vec<u8> {
    let (mut replaced, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.windows(part.len()).position(|window| window == part) {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(by);
        rest = &rest[at + part.len()..];
    }
    replaced.extend_from_slice(rest);
    replaced
}

/// The variables whose values are for the gate alone.
fn secret_variables(settings: &Settings) -> Vec<String> {
    let mut names = vec![
        settings.assertion.keys_env.clone(),
        settings.audit.keys_env.clone(),
        settings.probe.keys_env.clone(),
        settings.freescout.key_env.clone(),
        settings.freescout.webhook_secret_env.clone(),
        "CONSOLE_GATE_DATABASE_URL".to_owned(),
    ];
    names.extend(settings.audit.checkpoint_token_env.clone());
    names.extend(settings.audit.kms.as_ref().map(|kms| kms.token_env.clone()));
    let alerts = &settings.alerts;
    names.extend(alerts.slack.as_ref().map(|slack| slack.webhook_env.clone()));
    names.extend(alerts.smtp.as_ref().map(|smtp| smtp.password_env.clone()));
    names.extend(alerts.postmark.as_ref().map(|postmark| postmark.token_env.clone()));
    names.extend(settings.upstreams.iter().map(|(name, upstream)| upstream.keys_env(name)));
    names
}

/// Ends with the process that started this one, and becomes the command.
pub(super) fn become_console(parent: i32, words: &[OsString]) -> Ended {
    if let Err(error) = prctl::set_pdeathsig(Signal::SIGTERM) {
        eprintln!("console-gate: Console would not end with the gate: {error}");
        return Ended::Code(NOT_FOUND);
    }
    // The parent may have ended before the signal was requested.
    if getppid().as_raw() != parent {
        return Ended::Code(NOT_FOUND);
    }
    let Some((program, arguments)) = words.split_first() else { return Ended::Code(NOT_FOUND) };
    let error = Command::new(program).args(arguments).exec();
    eprintln!("console-gate: Console cannot be started: {}: {error}", program.display());
    Ended::Code(NOT_FOUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    /// The arguments, and the variables that are set or taken out.
    type Started = (Vec<String>, Vec<(String, Option<String>)>);

    fn command(line: &str) -> Result<Started, String> {
        let mut settings = Settings::parse(
            "gate.toml",
            "[audit]\ncheckpoint_token_env = \"POINTS\"\n[upstreams.raptor-eu]\nservers = [\"h:1\"]\n",
        )
        .unwrap();
        settings.assertion.keys_env = "OF_THE_GATE".into();
        let keys = format!("k1:{},k0:{}", STANDARD.encode([7; 32]), STANDARD.encode([8; 32]));
        let raptor = format!("r:{}", STANDARD.encode([9; 32]));
        let secrets = Secrets::load(&settings, |name| {
            Some(if name == "CONSOLE_GATE_RAPTOR_EU_KEYS" { raptor.clone() } else { keys.clone() })
        });
        let secrets = secrets.unwrap();
        let console =
            Console { settings: &settings, secrets: &secrets, socket: Path::new("/run/x/console.sock") };
        let command = console.command(&words(line)).map_err(|error| error.to_string())?;
        let text = |text: &OsStr| text.to_string_lossy().into_owned();
        let arguments = command.get_args().skip(4).map(text).collect();
        Ok((arguments, command.get_envs().map(|(name, value)| (text(name), value.map(text))).collect()))
    }

    #[test]
    fn each_server_learns_the_socket_in_its_way() {
        let bound = |line: &str| -> (String, Option<String>) {
            let (arguments, environment) = command(line).unwrap();
            let gunicorn = environment.into_iter().find(|(name, _)| name == GUNICORN_ARGUMENTS);
            (arguments.join(" "), gunicorn.and_then(|(_, value)| value))
        };
        for line in ["gunicorn app:app", ".venv/bin/gunicorn app:app", "python -m gunicorn app:app"] {
            let (arguments, gunicorn) = bound(line);
            assert_eq!(arguments, line);
            assert!(gunicorn.unwrap().ends_with("--bind 'unix:/run/x/console.sock'"), "{line}");
        }
        for (line, expected) in [
            ("gunicorn --bind {bind} app:app", "gunicorn --bind unix:/run/x/console.sock app:app"),
            ("uvicorn --uds {socket} app:app", "uvicorn --uds /run/x/console.sock app:app"),
            (
                "waitress-serve --unix-socket={socket} app:app",
                "waitress-serve --unix-socket=/run/x/console.sock app:app",
            ),
        ] {
            assert_eq!(bound(line), (expected.to_owned(), None), "{line}");
        }
        for line in ["gunicorn -b :8000 app:app", "gunicorn --bind=:8000 app:app", "gunicorn -b:8000 app:app"]
        {
            assert!(command(line).unwrap_err().contains("leave `--bind` out"), "{line}");
        }
    }

    #[test]
    fn console_gets_the_assertion_keys_and_no_other_secret() {
        let (_, environment) = command("gunicorn app:app").unwrap();
        let value =
            |name: &str| environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let keys = format!("k1:{},k0:{}", STANDARD.encode([7; 32]), STANDARD.encode([8; 32]));
        assert_eq!(value("CONSOLE_GATE_KEYS"), Some(Some(keys)));
        for taken in [
            "OF_THE_GATE",
            "CONSOLE_GATE_AUDIT_KEYS",
            "CONSOLE_GATE_PROBE_KEYS",
            "CONSOLE_GATE_DATABASE_URL",
            "CONSOLE_GATE_RAPTOR_EU_KEYS",
            "POINTS",
            "PORT",
            "NOTIFY_SOCKET",
            "WATCHDOG_USEC",
            "WATCHDOG_PID",
        ] {
            assert_eq!(value(taken), Some(None), "{taken}");
        }
    }
}
