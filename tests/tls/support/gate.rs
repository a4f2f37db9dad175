//! A gate: the real binary, with a folder, settings, a mapping and people of its own.

use std::fs::Permissions;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use chrono::Utc;
use http_body_util::{BodyExt as _, Empty};
use policy::identity::flask_cookie::SigningKeys;
use policy::ids::AdminId;
use serde_json::json;
use store::{DatabaseUrl, StoreOptions};

use super::certificates::HOST;
use super::{Authority, Client, Console, Issued, PATIENCE, template};

const SECRET_KEY: &str = "a secret of the tests";
const GATE_KEYS: &str = "tests:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// `/audit` is for people with one role, everything below `/open` is for everybody.
const MAPPING: &str = r#"
version = 1
unmapped = "deny"
[clusters]
S1 = "v2"
[blueprints.audit]
cluster = "S1"
[blueprints.audit.routes]
"GET /audit" = { legacy = ["superadmin"], role = "console-audit-user" }
[blueprints.open.routes]
"* /open/*" = { public = true }
"#;

/// How a gate is started.
pub struct Setup {
    /// Lines of the section `tls`; `None`: no certificate, and so no TLS.
    pub tls: Option<&'static str>,
    /// Lines of the section `firewall`.
    pub firewall: &'static str,
    /// Further lines of the section `upstream`.
    pub upstream: &'static str,
}

impl Setup {
    /// TLS as it is by default.
    pub const TLS: Setup = Setup { tls: Some(""), firewall: "", upstream: "" };
    /// The default.
    pub const PLAIN: Setup = Setup { tls: None, ..Setup::TLS };

    pub const fn tls(lines: &'static str) -> Setup {
        Setup { tls: Some(lines), ..Setup::TLS }
    }
}

/// A running gate; it ends with this value.
pub struct Gate {
    pub address: SocketAddr,
    pub authority: Authority,
    /// The certificate that it has begun with.
    pub first: Issued,
    pub console: Console,
    keys: SigningKeys,
    process: Child,
    folder: tempfile::TempDir,
}

impl Gate {
    /// Starts a gate and waits until it takes requests.
    pub async fn start(setup: &Setup) -> Gate {
        // Not `temp_dir()`: the path of a socket is limited to 107 bytes.
        let folder = tempfile::Builder::new().prefix("gate-tls-").tempdir_in("/tmp").unwrap();
        let authority = Authority::new();
        let first = authority.issue();
        let console = Console::start(&folder.path().join("console.sock"));
        put_pair(folder.path(), &first.certificate, &first.key);
        let address = free_address();
        write_settings(folder.path(), address, setup);
        let mut process = program(folder.path(), "serve").spawn().unwrap();
        wait_until_ready(folder.path(), &mut process).await;
        people(folder.path()).await;
        let keys = SigningKeys::new(SECRET_KEY.as_bytes(), [""; 0]).unwrap();
        Gate { address, authority, first, console, keys, process, folder }
    }

    /// Puts another pair in the place of the one that is there, as a renewal does: each file beside the old one first,
    /// then over it.
    pub fn put_pair(&self, certificate: &str, key: &str) {
        put_pair(self.folder.path(), certificate, key);
    }

    /// A file of the gate's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A client that trusts this gate's authority.
    pub fn client(&self) -> Client {
        Client::trusting(&self.authority, self.address)
    }

    /// The Cookie header of somebody who is logged in.
    pub fn cookie(&self, admin: &str) -> String {
        format!("session={}", self.keys.sign(&json!({ "admin_id": admin }), Utc::now()))
    }

    /// One value of `/metrics`; `name` is with its labels.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let metrics = admin(self.folder.path(), "/metrics").await.unwrap_or_default();
        let line = metrics.lines().find(|line| line.split(' ').next() == Some(name))?;
        line.split(' ').nth(1)?.parse().ok()
    }

    /// What `/readyz` says, and with which status.
    pub async fn readiness(&self) -> (u16, serde_json::Value) {
        let (status, body) = ask_admin(self.folder.path(), "/readyz").await.unwrap();
        (status, serde_json::from_str(&body).unwrap())
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.process.id().to_string()).status();
        assert!(sent.unwrap().success());
    }

    /// Whether the process ends by itself.
    pub async fn ends(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.process.try_wait().unwrap().is_some() {
                return true;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        false
    }

    /// What the gate has logged.
    pub fn log(&self) -> String {
        log(self.folder.path())
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- the gate's log ---\n{}", self.log());
        }
    }
}

/// Writes both files under another name and moves them into place.
pub fn put_pair(folder: &Path, certificate: &str, key: &str) {
    for (name, text) in [("tls.crt", certificate), ("tls.key", key)] {
        let new = folder.join(format!("{name}.new"));
        std::fs::write(&new, text).unwrap();
        std::fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(&new, folder.join(name)).unwrap();
    }
}

/// Everything in the folder that a gate needs to start but the pair itself.
pub fn write_settings(folder: &Path, address: SocketAddr, setup: &Setup) {
    let tls = setup.tls.map_or_else(String::new, |lines| {
        format!("[tls]\ncertificate_file = \"tls.crt\"\nkey_file = \"tls.key\"\n{lines}\n")
    });
    let settings = format!(
        "[listen]\nproxy = \"{address}\"\nadmin = \"unix:{folder}/admin.sock\"\n\
         upgrade_socket = \"{folder}/upgrade.sock\"\nthreads = 2\n{tls}\
         [upstream]\nservers = [\"unix:{folder}/console.sock\"]\n{upstream}\
         [firewall]\nallowed_hosts = [\"{HOST}\"]\n{firewall}\n",
        folder = folder.display(),
        firewall = setup.firewall,
        upstream = setup.upstream,
    );
    std::fs::write(folder.join("gate.toml"), settings).unwrap();
    std::fs::write(folder.join("routes.toml"), MAPPING).unwrap();
    template::seeded().sqlite(&folder.join("gate.sqlite"));
}

/// The binary, without anything that the tests' own environment may say to it.
pub fn program(folder: &Path, command: &str) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_console-gate"));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CONSOLE_GATE_")) {
            program.env_remove(name);
        }
    }
    program
        .arg(command)
        .env("CONSOLE_GATE_CONFIG", folder.join("gate.toml"))
        .env("CONSOLE_SECRET_KEY", SECRET_KEY)
        .env("CONSOLE_GATE_KEYS", GATE_KEYS)
        .env("CONSOLE_GATE_AUDIT_KEYS", template::AUDIT_KEYS)
        .env("FLAG_RBAC_V2", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(folder.join("log")).unwrap());
    program
}

pub fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}

/// An address that nobody listens on now.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn wait_until_ready(folder: &Path, process: &mut Child) {
    let deadline = Instant::now() + PATIENCE;
    while admin(folder, "/readyz").await.is_none() {
        let ended = process.try_wait().unwrap().is_some();
        assert!(!ended && Instant::now() < deadline, "the gate did not start:\n{}", log(folder));
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// What the admin address answers, if that is a 200.
async fn admin(folder: &Path, target: &str) -> Option<String> {
    ask_admin(folder, target).await.filter(|(status, _)| *status == 200).map(|(_, body)| body)
}

async fn ask_admin(folder: &Path, target: &str) -> Option<(u16, String)> {
    let stream = tokio::net::UnixStream::connect(folder.join("admin.sock")).await.ok()?;
    let stream = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.ok()?;
    let connection = tokio::spawn(connection);
    let request = http::Request::get(target).header("host", "gate").body(Empty::<bytes::Bytes>::new());
    let response = sender.send_request(request.unwrap()).await.ok()?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.ok()?.to_bytes();
    connection.abort();
    Some((status, String::from_utf8_lossy(&body).into_owned()))
}

/// `auditor` holds the role of `/audit`; `guest` holds none.
async fn people(folder: &Path) {
    let url = DatabaseUrl::parse(&format!("sqlite:{}/gate.sqlite", folder.display())).unwrap();
    let store = store::open(&StoreOptions {
        url,
        max_connections: 1,
        timeout: PATIENCE,
        console: store::console::Relations::default(),
    })
    .await
    .unwrap();
    store.add_group("auditors", &["console-audit-user"]).await.unwrap();
    for id in ["auditor", "guest"] {
        store.add_admin(&AdminId::new(id), &format!("{id}@example.com"), id).await.unwrap();
    }
    store.join_group(&AdminId::new("auditor"), "auditors", "tests").await.unwrap();
}
