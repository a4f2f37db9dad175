//! A gate: the real binary, with a folder, settings and a mapping of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::console::{GATE_KEYS, SECRET_KEY};
use super::http::HOST;
use super::{Answer, Ask, Client, Console, project_text};

const START_LIMIT: Duration = Duration::from_secs(60);

/// How a gate is started.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The mode of every cluster.
    pub clusters: &'static str,
    /// `FLAG_RBAC_V2` in the environment.
    pub flag: Option<&'static str>,
    pub environment: &'static str,
    /// Instead of Console.
    pub upstream: Option<PathBuf>,
}

impl Setup {
    /// V2 decides everywhere.
    pub const V2: Setup = Setup { clusters: "v2", flag: Some("1"), environment: "staging", upstream: None };
    /// The legacy roles decide everywhere.
    pub const LEGACY: Setup = Setup { clusters: "legacy", ..Setup::V2 };
}

/// A running gate; it ends with this value.
pub struct Gate {
    folder: PathBuf,
    database_url: String,
    process: Child,
}

impl Gate {
    /// Starts a gate and waits until it takes requests. `folder` must not exist yet.
    pub async fn start(folder: PathBuf, database_url: &str, setup: &Setup) -> Gate {
        std::fs::create_dir(&folder).expect("a new folder");
        let upstream = setup.upstream.clone().unwrap_or_else(|| Console::shared().socket());
        let settings = format!(
            "environment = \"{environment}\"\n\
             [listen]\n\
             proxy = \"unix:{folder}/proxy.sock\"\n\
             admin = \"unix:{folder}/admin.sock\"\n\
             upgrade_socket = \"{folder}/upgrade.sock\"\n\
             [upstream]\n\
             servers = [\"unix:{upstream}\"]\n\
             [firewall]\n\
             allowed_hosts = [\"{HOST}\"]\n",
            environment = setup.environment,
            folder = folder.display(),
            upstream = upstream.display(),
        );
        std::fs::write(folder.join("gate.toml"), settings).expect("settings");
        let mapping = in_mode(&project_text("routes.toml"), setup.clusters);
        std::fs::write(folder.join("routes.toml"), mapping).expect("a mapping");
        let log = std::fs::File::create(folder.join("log")).expect("a log file");
        let mut serve = program(&folder, database_url);
        serve.arg("serve").stdout(Stdio::null()).stderr(log).stdin(Stdio::null());
        if let Some(flag) = setup.flag {
            serve.env("FLAG_RBAC_V2", flag);
        }
        let process = serve.spawn().expect("the gate's binary runs");
        let mut gate = Gate { folder, database_url: database_url.to_owned(), process };
        gate.wait_until_ready().await;
        gate
    }

    async fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + START_LIMIT;
        let admin = self.folder.join("admin.sock");
        let is_open = |socket: &Path| std::os::unix::net::UnixStream::connect(socket).is_ok();
        loop {
            if is_open(&admin) && is_open(&self.socket()) {
                let answer = Client::to(&admin).send(&Ask::get("/readyz")).await;
                if answer.status == 200 {
                    return;
                }
            }
            let ended = self.process.try_wait().expect("the gate's state").is_some();
            assert!(!ended && Instant::now() < deadline, "the gate did not start:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("proxy.sock")
    }

    /// A caller of this gate.
    pub fn client(&self) -> Client {
        Client::to(&self.socket())
    }

    /// One request over a connection of its own.
    pub async fn send(&self, ask: &Ask) -> Answer {
        self.client().send(ask).await
    }

    /// Runs another subcommand of the binary beside the gate, with the same settings, and expects it to succeed.
    pub fn run(&self, arguments: &[&str]) -> String {
        run(&mut program(&self.folder, &self.database_url), arguments)
    }

    /// What the gate has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- the gate's log ---\n{}", last_lines(&self.log(), 80));
            if let Some(console) = Console::started() {
                eprintln!("--- Console's log ---\n{}", last_lines(&console.output(), 40));
            }
        }
    }
}

/// Brings a database's schema up to date by `console-gate migrate`.
pub fn migrate(database_url: &str) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_console-gate"));
    program.env("CONSOLE_GATE_DATABASE_URL", database_url);
    run(&mut program, &["migrate"]);
}

/// The mapping with every cluster in one mode.
fn in_mode(mapping: &str, mode: &str) -> String {
    let (before, after) = mapping.split_once("\n[clusters]\n").expect("routes.toml has its clusters");
    let end = after.find("\n[").expect("the clusters are not the last table");
    let (clusters, rest) = after.split_at(end);
    let switched: Vec<String> = clusters
        .lines()
        .map(|line| match line.split_once(" = ") {
            Some((name, _)) if !line.starts_with('#') => format!("{name} = \"{mode}\""),
            _ => line.to_owned(),
        })
        .collect();
    format!("{before}\n[clusters]\n{}{rest}", switched.join("\n"))
}

/// The binary, without anything that the tests' own environment may say to it.
fn program(folder: &Path, database_url: &str) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_console-gate"));
    for name in ["FLAG_RBAC_V2", "CONSOLE_GATE_ENVIRONMENT", "CONSOLE_GATE_MAPPING", "CONSOLE_GATE_UPSTREAM"]
    {
        program.env_remove(name);
    }
    program
        .env("CONSOLE_GATE_CONFIG", folder.join("gate.toml"))
        .env("CONSOLE_GATE_DATABASE_URL", database_url)
        .env("CONSOLE_SECRET_KEY", SECRET_KEY)
        .env("CONSOLE_GATE_KEYS", GATE_KEYS);
    program
}

fn run(program: &mut Command, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = program.args(arguments).output().expect("the binary runs");
    assert!(status.success(), "console-gate {arguments:?}: {status}\n{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("the binary writes UTF-8")
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
