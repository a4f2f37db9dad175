//! `console-gate exec -- COMMAND`: the gate with Console behind it, as one process.

mod child;
mod supervisor;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use zeroize::Zeroizing;

use self::child::Console;
use self::supervisor::{Stopped, Supervisor};
use super::help::Examples;
use super::serve::{self, LogFormat};
use super::time::seconds;
use super::{Common, Ended, keygen};
use crate::server;
use crate::settings::secrets::Secrets;
use crate::settings::{Address, Settings};

pub(super) const EXAMPLES: Examples = &[(
    "exec",
    &[
        "console-gate --config gate.toml exec -- gunicorn app:app",
        "console-gate --config gate.toml exec --listen 0.0.0.0:8080 -- uvicorn --uds {socket} app:app",
    ],
)];

/// The bytes that a Unix socket's address has room for, besides the byte that ends it.
const MOST_SOCKET_BYTES: usize = 107;

/// Run the gate with Console behind it, as one process
///
/// Starts COMMAND, waits until it listens at a Unix socket in a private folder, and serves in front of it. When one of them
/// ends, the other one does too: SIGTERM drains the gate and then ends Console, and where Console ends by itself, its exit
/// code is that of this command. gunicorn learns the socket by itself, and also gets SIGHUP, SIGUSR1, SIGUSR2, SIGTTIN and
/// SIGTTOU. For other servers write `{bind}` (`unix:/path`) or `{socket}` (`/path`) where they take an address; both are in
/// CONSOLE_GATE_BIND and CONSOLE_GATE_SOCKET too. Where the command is a shell, let it `exec` the server.
///
/// Without `--listen`, the gate listens at `$PORT` on every network, if that is set. Console gets the gate's assertion keys
/// as CONSOLE_GATE_KEYS; where none are set, they are made for this run. It gets none of the gate's other secrets.
#[derive(Debug, Args)]
pub(super) struct Exec {
    /// The address for callers: `host:port` or `unix:/path`; without it, `$PORT`, else that of the settings
    #[arg(long, env = "CONSOLE_GATE_LISTEN")]
    listen: Option<Address>,
    /// The address for health, metrics and the API: `host:port` or `unix:/path`
    #[arg(long, env = "CONSOLE_GATE_ADMIN")]
    admin: Option<Address>,
    /// How long Console may take until it listens: `90`, `2m`
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = seconds)]
    wait: u64,
    /// How long Console may take until it has ended, before it is killed: `30`, `1m`
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = seconds)]
    grace: u64,
    /// The format of the log
    #[arg(long, env = "CONSOLE_GATE_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,
    /// The process is the one that becomes Console, started by this one
    #[arg(long, hide = true, value_name = "PID")]
    child_of: Option<i32>,
    /// The command that starts Console
    #[arg(required = true, last = true)]
    command: Vec<OsString>,
}

pub(super) fn run(command: &Exec, common: &Common) -> anyhow::Result<Ended> {
    if let Some(parent) = command.child_of {
        return Ok(child::become_console(parent, &command.command));
    }
    let folder = folder()?;
    let socket = folder.path().join("console.sock");
    anyhow::ensure!(
        socket.as_os_str().as_bytes().len() <= MOST_SOCKET_BYTES,
        "{} is too long for a socket: set TMPDIR to a folder with a shorter name",
        socket.display()
    );
    let mut settings = common.settings()?;
    settings.listen.proxy = match (&command.listen, std::env::var("PORT")) {
        (Some(address), _) => address.clone(),
        (None, Ok(port)) => of_port(&port)?,
        (None, Err(_)) => settings.listen.proxy,
    };
    if let Some(address) = &command.admin {
        settings.listen.admin.clone_from(address);
    }
    settings.upstream.servers = vec![Address::Unix(socket.clone())];
    let assertion = &settings.assertion;
    let has_keys = assertion.keys_file.is_some() || std::env::var_os(&assertion.keys_env).is_some();
    let made = if has_keys { None } else { Some(keygen::fresh_key("exec")?) };
    let environment = |name: &str| variable(name, &settings, made.as_ref());
    // Console is not started for a gate that cannot start.
    let _flush = serve::ready(&settings, common, command.log_format)?;
    let secrets = Secrets::load(&settings, environment)?;
    let console = Console { settings: &settings, secrets: &secrets, socket: &socket };
    let mut supervisor = Supervisor::new(console.is_gunicorn(&command.command))?;
    supervisor.start(console.command(&command.command)?)?;
    let grace = Duration::from_secs(command.grace);
    let listening = supervisor.until_listening(&socket, Duration::from_secs(command.wait));
    let outcome = match listening {
        Err(error) => Err(error),
        Ok(Stopped::ByConsole | Stopped::BySignal) => Ok(()),
        Ok(Stopped::NotYet) => {
            serve::flags_at_start().and_then(|start| server::run(&settings, &secrets, start, || ()))
        }
    };
    let code = supervisor.end(grace);
    outcome?;
    Ok(Ended::Code(code))
}

/// A variable, or the key that was made for this run.
fn variable(name: &str, settings: &Settings, made: Option<&Zeroizing<String>>) -> Option<String> {
    match made {
        Some(key) if name == settings.assertion.keys_env => Some(key.to_string()),
        _ => std::env::var(name).ok(),
    }
}

/// A folder for this user alone.
fn folder() -> anyhow::Result<tempfile::TempDir> {
    let of_user = ["RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"]
        .into_iter()
        .find_map(|name| std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_dir()));
    let parent = of_user.unwrap_or_else(std::env::temp_dir);
    // Made with the mode 0700.
    let made = tempfile::Builder::new().prefix("console-gate-").tempdir_in(&parent);
    made.with_context(|| format!("no folder for Console's socket can be made in {}", parent.display()))
}

/// The address that `$PORT` conventionally means: every network.
fn of_port(port: &str) -> anyhow::Result<Address> {
    let number: u16 = port.parse().ok().filter(|number| *number > 0).with_context(|| {
        format!("PORT is `{port}`, which is no port: set it to a number from 1 to 65535, or name an address with --listen")
    })?;
    Ok(Address::Tcp(format!("0.0.0.0:{number}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_on_every_network() {
        assert_eq!(of_port("8000").unwrap().to_string(), "0.0.0.0:8000");
        for port in ["", "0", "http", "70000", "-1"] {
            assert!(of_port(port).unwrap_err().to_string().contains("PORT is"), "{port}");
        }
    }
}
