//! A gate: the real binary, with a folder, settings and a mapping of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::console::{AUDIT_KEYS, GATE_KEYS, SECRET_KEY};
use super::http::HOST;
use super::{Answer, Ask, Client, Console, project_text};

const START_LIMIT: Duration = Duration::from_secs(60);
/// For one operation of the database. A busy machine can stall for longer than the default of 2 s, and the 503 that is
/// right then would hide what most tests ask.
const PATIENCE_MS: u64 = 30_000;

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
    /// The same at a TCP address.
    pub tcp_upstream: Option<SocketAddr>,
    /// Beside it.
    pub second_upstream: Option<PathBuf>,
    /// Instead of routes.toml.
    pub mapping: Option<&'static str>,
    /// Further lines of [access], [listen], [upstream], [firewall] and [mapping].
    pub access: &'static str,
    pub listen: &'static str,
    pub upstream_settings: &'static str,
    pub firewall: &'static str,
    pub mapping_settings: &'static str,
    /// `settle_ms` of [mapping].
    pub settle_ms: u64,
    /// The lines of [forwarded].
    pub forwarded: &'static str,
    /// Further lines of [audit].
    pub audit: &'static str,
    /// Further sections.
    pub sections: &'static str,
    /// The lines of [session], and further ones of [database].
    pub session: &'static str,
    pub database: &'static str,
    /// `timeout_ms` of [database] and of [audit].
    pub patience_ms: u64,
    /// Further variables of the environment.
    pub variables: Option<Vec<(&'static str, String)>>,
}

impl Setup {
    /// V2 decides everywhere.
    pub const V2: Setup = Setup {
        clusters: "v2",
        flag: Some("1"),
        environment: "staging",
        upstream: None,
        tcp_upstream: None,
        second_upstream: None,
        mapping: None,
        access: "",
        listen: "",
        upstream_settings: "",
        firewall: "",
        mapping_settings: "",
        settle_ms: 100,
        forwarded: "",
        audit: "",
        sections: "",
        session: "",
        database: "",
        patience_ms: PATIENCE_MS,
        variables: None,
    };
    /// The legacy roles decide everywhere.
    pub const LEGACY: Setup = Setup { clusters: "legacy", ..Setup::V2 };
}

/// A running gate; it ends with this value.
pub struct Gate {
    folder: PathBuf,
    database_url: String,
    flag: Option<&'static str>,
    variables: Vec<(&'static str, String)>,
    process: Child,
}

impl Gate {
    /// Starts a gate and waits until it takes requests. `folder` must not exist yet.
    pub async fn start(folder: PathBuf, database_url: &str, setup: &Setup) -> Gate {
        std::fs::create_dir(&folder).expect("a new folder");
        let first = match (setup.tcp_upstream, &setup.upstream) {
            (Some(address), _) => address.to_string(),
            (None, Some(socket)) => unix(socket),
            (None, None) => unix(&Console::shared().socket()),
        };
        let second = setup.second_upstream.as_deref().map(unix);
        let servers: Vec<String> =
            std::iter::once(first).chain(second).map(|server| format!("\"{server}\"")).collect();
        let settings = format!(
            "environment = \"{environment}\"\n\
             [listen]\n\
             proxy = \"unix:{folder}/proxy.sock\"\n\
             admin = \"unix:{folder}/admin.sock\"\n\
             upgrade_socket = \"{folder}/upgrade.sock\"\n\
             {listen}\
             [upstream]\n\
             servers = [{servers}]\n\
             {upstream_settings}\
             [database]\n\
             timeout_ms = {patience_ms}\n\
             {database}\
             [access]\n\
             {access}\
             [audit]\n\
             timeout_ms = {patience_ms}\n\
             {audit}\
             [firewall]\n\
             allowed_hosts = [\"{HOST}\"]\n\
             {firewall}\
             [mapping]\n\
             settle_ms = {settle_ms}\n\
             {mapping_settings}\
             [forwarded]\n\
             {forwarded}\
             [session]\n\
             {session}\
             {sections}",
            environment = setup.environment,
            folder = folder.display(),
            access = setup.access,
            listen = setup.listen,
            servers = servers.join(", "),
            upstream_settings = setup.upstream_settings,
            firewall = setup.firewall,
            mapping_settings = setup.mapping_settings,
            settle_ms = setup.settle_ms,
            forwarded = setup.forwarded,
            audit = setup.audit,
            sections = setup.sections,
            session = setup.session,
            database = setup.database,
            patience_ms = setup.patience_ms,
        );
        std::fs::write(folder.join("gate.toml"), settings).expect("settings");
        let mapping = match setup.mapping {
            Some(mapping) => mapping.to_owned(),
            None => in_mode(&project_text("routes.toml"), setup.clusters),
        };
        std::fs::write(folder.join("routes.toml"), mapping).expect("a mapping");
        let variables = setup.variables.clone().unwrap_or_default();
        let process = serve(&folder, database_url, setup.flag, &variables, &[]);
        let database_url = database_url.to_owned();
        let mut gate = Gate { folder, database_url, flag: setup.flag, variables, process };
        gate.wait_until_ready().await;
        gate
    }

    /// Kills the process at once: SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill().expect("the gate is a child of this process");
        self.process.wait().expect("a killed process ends");
    }

    /// Stops the gate as an operator does, with SIGTERM.
    pub async fn stop(&mut self) {
        self.signal("TERM");
        assert!(self.ends(Duration::from_secs(30)).await, "the gate did not end:\n{}", self.log());
    }

    /// Starts the gate again, after it has ended, in the same folder.
    pub async fn restart(&mut self) {
        self.restart_without_waiting();
        self.wait_until_ready().await;
    }

    /// The same, for a test that does something before the gate is ready.
    pub fn restart_without_waiting(&mut self) {
        let _ = std::fs::remove_file(self.socket());
        self.process = serve(&self.folder, &self.database_url, self.flag, &self.variables, &[]);
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Starts the gate that takes this one's sockets over, and returns when it waits for them.
    pub async fn successor(&self) -> Gate {
        let process = serve(&self.folder, &self.database_url, self.flag, &self.variables, &["--upgrade"]);
        let gate = Gate {
            folder: self.folder.clone(),
            database_url: self.database_url.clone(),
            flag: self.flag,
            variables: self.variables.clone(),
            process,
        };
        let handed_over = self.folder.join("upgrade.sock");
        let deadline = Instant::now() + START_LIMIT;
        while !handed_over.exists() {
            assert!(Instant::now() < deadline, "the successor does not wait:\n{}", gate.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        gate
    }

    /// Sends a signal by its name, `HUP`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.process.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name}");
    }

    /// Whether the process has ended by itself within `limit`.
    pub async fn ends(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if self.process.try_wait().expect("the gate's state").is_some() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }

    /// The mapping file that the gate watches.
    pub fn mapping_file(&self) -> PathBuf {
        self.folder.join("routes.toml")
    }

    /// Waits until the gate takes requests.
    pub async fn wait_until_ready(&mut self) {
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

    /// Where it takes requests.
    pub fn socket(&self) -> PathBuf {
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

    /// Runs another subcommand, whatever becomes of it: its exit code and what it printed.
    pub fn attempt(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.command(arguments).output().expect("the binary runs");
        let printed = String::from_utf8(output.stdout).expect("the binary writes UTF-8");
        (output.status.code().expect("it ended by itself"), printed)
    }

    /// Another subcommand beside the gate, with the same settings, for a test that has its own ways with it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(&self.folder, &self.database_url);
        command.envs(self.variables.iter().map(|(name, value)| (*name, value))).args(arguments);
        command
    }

    /// As [`Gate::attempt`], with what it wrote to standard error.
    pub fn complaint(&self, arguments: &[&str]) -> (i32, String) {
        let output = program(&self.folder, &self.database_url)
            .envs(self.variables.iter().map(|(name, value)| (*name, value)))
            .args(arguments)
            .output()
            .expect("the binary runs");
        let written = String::from_utf8(output.stderr).expect("the binary writes UTF-8");
        (output.status.code().expect("it ended by itself"), written)
    }

    /// The gate's folder, with its settings and its spool.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where health, metrics and the events of services are.
    pub fn admin_socket(&self) -> PathBuf {
        self.folder.join("admin.sock")
    }

    /// Runs another subcommand of the binary beside the gate, with the same settings, and expects it to succeed.
    pub fn run(&self, arguments: &[&str]) -> String {
        run(&mut program(&self.folder, &self.database_url), arguments)
    }

    /// The same as another role of the database, whose URL this is.
    pub fn run_at(&self, database_url: &str, arguments: &[&str]) -> String {
        run(&mut program(&self.folder, database_url), arguments)
    }

    /// A metric, as `/metrics` spells it with its labels, as it is now; `None` where the gate has none of that name.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let answer = Client::to(&self.folder.join("admin.sock")).send(&Ask::get("/metrics")).await;
        let text = String::from_utf8(answer.body.to_vec()).expect("metrics are text");
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
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

/// A socket as the settings have it.
fn unix(socket: &Path) -> String {
    format!("unix:{}", socket.display())
}

fn serve(
    folder: &Path,
    database_url: &str,
    flag: Option<&str>,
    variables: &[(&'static str, String)],
    arguments: &[&str],
) -> Child {
    let log =
        std::fs::File::options().create(true).append(true).open(folder.join("log")).expect("a log file");
    let mut serve = program(folder, database_url);
    serve.envs(variables.iter().map(|(name, value)| (name, value)));
    serve.arg("serve").args(arguments).stdout(Stdio::null()).stderr(log).stdin(Stdio::null());
    if let Some(flag) = flag {
        serve.env("FLAG_RBAC_V2", flag);
    }
    serve.spawn().expect("the gate's binary runs")
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
        .env("COLUMNS", "80")
        .env("CONSOLE_GATE_CONFIG", folder.join("gate.toml"))
        .env("CONSOLE_GATE_DATABASE_URL", database_url)
        .env("CONSOLE_SECRET_KEY", SECRET_KEY)
        .env("CONSOLE_GATE_KEYS", GATE_KEYS)
        .env("CONSOLE_GATE_AUDIT_KEYS", AUDIT_KEYS);
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
