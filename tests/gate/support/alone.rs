//! A gate's process by itself: on settings of the test's own, on SQLite, and nothing is waited for.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::console::{AUDIT_KEYS, GATE_KEYS, SECRET_KEY};
use super::recorder::Recorder;

/// For what a busy machine is slow at.
pub const LIMIT: Duration = Duration::from_secs(60);

/// An address on loopback that nobody listens at now.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address")
}

/// The process; it ends with this value.
pub struct Alone {
    folder: PathBuf,
    log: PathBuf,
    pub process: Child,
}

impl Alone {
    /// A Console on 127.0.0.1, for as long as the test runs: it answers whatever it is asked.
    pub fn console() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        listener.set_nonblocking(true).expect("a socket for tokio");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a socket for tokio");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut head = [0; 4096];
                    while stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                    }
                });
            }
        });
        address
    }

    /// Starts a gate in `folder`, which is made where it is not there yet. Everything is public, so that an answer says
    /// no more than that somebody answers.
    pub fn serve(folder: &Path, settings: &str, arguments: &[&str]) -> Alone {
        Alone::serve_with(folder, settings, arguments, &[])
    }

    /// The same, with further variables.
    pub fn serve_with(
        folder: &Path,
        settings: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Alone {
        std::fs::create_dir_all(folder).expect("a folder");
        std::fs::write(folder.join("gate.toml"), settings).expect("settings");
        let mapping = "version = 1\n[blueprints.t.routes]\n\"* /*\" = { public = true }\n";
        std::fs::write(folder.join("routes.toml"), mapping).expect("a mapping");
        let number = std::fs::read_dir(folder).expect("the folder").count();
        let log = folder.join(format!("log-{number}"));
        let mut program = Command::new(env!("CARGO_BIN_EXE_console-gate"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CONSOLE_GATE_")) {
            program.env_remove(name);
        }
        program
            .env("CONSOLE_GATE_CONFIG", folder.join("gate.toml"))
            .env("CONSOLE_SECRET_KEY", SECRET_KEY)
            .env("CONSOLE_GATE_KEYS", GATE_KEYS)
            .env("CONSOLE_GATE_AUDIT_KEYS", AUDIT_KEYS);
        // A file is migrated once: a gate in the same folder later finds it as it is.
        if !folder.join("gate.sqlite").exists() {
            super::template::seeded().sqlite(&folder.join("gate.sqlite"));
        }
        let process = program
            .arg("serve")
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("the gate's binary runs");
        Alone { folder: folder.to_owned(), log, process }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.process.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name}");
    }

    /// The exit code, once the process has ended by itself.
    pub async fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.process.try_wait().expect("the gate's state") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the gate goes on:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until `/readyz` at `admin` has this status, and returns what it says.
    pub async fn ready(&mut self, admin: &Place, status: u16) -> serde_json::Value {
        let deadline = Instant::now() + LIMIT;
        loop {
            let answer = admin.get("/readyz").await;
            if let Some((answered, body)) = &answer
                && *answered == status
            {
                return serde_json::from_str(body).expect("JSON");
            }
            let ended = self.process.try_wait().expect("the gate's state");
            assert!(ended.is_none() && Instant::now() < deadline, "{ended:?} {answer:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the log has `text`.
    pub async fn logs(&self, text: &str) {
        let deadline = Instant::now() + LIMIT;
        while !self.log().contains(text) {
            assert!(Instant::now() < deadline, "`{text}` was not logged:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- the gate's log ---\n{}", self.log());
        }
    }
}

/// Where a gate answers.
#[derive(Clone, Debug)]
pub enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Place {
    /// As settings spell it.
    pub fn setting(&self) -> String {
        match self {
            Place::Tcp(address) => address.to_string(),
            Place::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// The status and the body of an answer over a connection of its own; `None` where there is none.
    pub async fn get(&self, target: &str) -> Option<(u16, String)> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: console.test\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        match self {
            Place::Tcp(address) => {
                let mut stream = TcpStream::connect(address).await.ok()?;
                stream.write_all(request.as_bytes()).await.ok()?;
                stream.read_to_string(&mut answer).await.ok()?;
            }
            Place::Unix(path) => {
                let mut stream = UnixStream::connect(path).await.ok()?;
                stream.write_all(request.as_bytes()).await.ok()?;
                stream.read_to_string(&mut answer).await.ok()?;
            }
        }
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }
}

/// A folder for sockets: not in `temp_dir()`, because the path of a socket is limited to 107 bytes.
pub fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("gate-").tempdir_in("/tmp").expect("a folder in /tmp")
}

/// Settings of a gate at these addresses.
pub fn settings(folder: &Path, proxy: &Place, admin: &Place, upstream: &Recorder) -> String {
    format!(
        "[listen]\nproxy = \"{}\"\nadmin = \"{}\"\nupgrade_socket = \"{}/upgrade.sock\"\ndrain_ms = 10000\n\
         [upstream]\nservers = [\"unix:{}\"]\nhealth_interval_ms = 100\n",
        proxy.setting(),
        admin.setting(),
        folder.display(),
        upstream.socket().display(),
    )
}
