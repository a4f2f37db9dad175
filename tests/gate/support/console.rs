//! Console: the Flask app of `tests/console` under gunicorn, once for the whole test process.
//!
//! Its legacy decorators are off, as after the cutover, and the middleware of `deploy/flask` refuses every request
//! that does not carry the gate's assertion: a view that runs was let in by the gate.

use std::collections::HashMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::project_file;
pub(crate) use super::template::AUDIT_KEYS;

/// Flask's SECRET_KEY, shared with the gates.
pub const SECRET_KEY: &str = "a secret of the tests";
/// The key of the assertions for Raptor.
pub const RAPTOR_KEYS: &str = "raptor:cmFwdG9yLXJhcHRvci1yYXB0b3ItcmFwdG9yLXJhcHQ=";
/// The key of the assertions: an id and 32 bytes.
pub const GATE_KEYS: &str = "tests:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

const START_LIMIT: Duration = Duration::from_secs(60);

/// A `static` is never dropped, so a shell watches it: when this process ends, for whatever reason, the shell's input
/// closes and it ends gunicorn and removes the folder.
const KEEPER: &str = r#"
"$PYTHON" -m gunicorn --chdir "$APP" -k "$WORKER" --workers 2 --threads "$THREADS" --keep-alive 60 --no-control-socket \
    --bind "unix:$FOLDER/console.sock" app:application </dev/null >"$FOLDER/log" 2>&1 & console=$!
cat >/dev/null
kill -QUIT "$console"
wait "$console"
rm -rf "$FOLDER"
"#;

static SHARED: OnceLock<Console> = OnceLock::new();
static SYNC: OnceLock<Console> = OnceLock::new();
static RAPTOR: OnceLock<Console> = OnceLock::new();

/// A Flask app, and what it takes assertions by.
#[derive(Clone, Copy)]
struct App {
    folder: &'static str,
    keys: &'static str,
    audience: &'static str,
}

const OF_CONSOLE: App = App { folder: "tests/console", keys: GATE_KEYS, audience: "console" };

/// A running Console.
pub struct Console {
    folder: PathBuf,
    /// Its input is what keeps Console alive.
    _keeper: Child,
    log: Mutex<RequestLog>,
}

/// The request log as far as it was read: request id -> endpoints.
#[derive(Default)]
struct RequestLog {
    read_bytes: u64,
    endpoints: HashMap<String, Vec<String>>,
}

impl Console {
    /// The Console of this test process, started on first use.
    pub fn shared() -> &'static Console {
        SHARED.get_or_init(|| Console::start("gthread", "4", OF_CONSOLE))
    }

    /// Another one, whose workers serve one connection at a time and close it after its response.
    pub fn sync() -> &'static Console {
        SYNC.get_or_init(|| Console::start("sync", "1", OF_CONSOLE))
    }

    /// Raptor: another app, with keys and an audience of its own.
    pub fn raptor() -> &'static Console {
        RAPTOR.get_or_init(|| {
            Console::start(
                "gthread",
                "4",
                App { folder: "tests/raptor", keys: RAPTOR_KEYS, audience: "raptor" },
            )
        })
    }

    /// The customers whom Raptor has to notify, and of whom.
    pub fn notifications(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("notifications")).unwrap_or_default();
        text.lines().map(ToOwned::to_owned).collect()
    }

    /// The same, if anything has needed it yet.
    pub fn started() -> Option<&'static Console> {
        SHARED.get()
    }

    fn start(worker: &str, threads: &str, app: App) -> Console {
        let python = python();
        // Not `temp_dir()`: the path of a socket is limited to 107 bytes.
        let folder = tempfile::Builder::new().prefix("gate-console-").tempdir_in("/tmp");
        let folder = folder.expect("a folder in /tmp").keep();
        let keeper = Command::new("/bin/sh")
            .args(["-c", KEEPER])
            .env("PYTHON", python)
            .env("APP", project_file(app.folder))
            .env("FOLDER", &folder)
            .env("WORKER", worker)
            .env("THREADS", threads)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("CONSOLE_DECORATORS", "off")
            .env("CONSOLE_SECRET_KEY", SECRET_KEY)
            .env("CONSOLE_REQUEST_LOG", folder.join("requests"))
            .env("CONSOLE_GATE_KEYS", app.keys)
            .env("CONSOLE_GATE_AUDIENCE", app.audience)
            .env("RAPTOR_NOTIFICATIONS", folder.join("notifications"))
            .env("CONSOLE_GATE_EXEMPT_PATHS", "/healthz")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A group of its own: Ctrl-C must end the tests and leave the shell alive to clean up after them.
            .process_group(0)
            .spawn()
            .expect("/bin/sh runs");
        let console = Console { folder, _keeper: keeper, log: Mutex::default() };
        let deadline = Instant::now() + START_LIMIT;
        while std::os::unix::net::UnixStream::connect(console.socket()).is_err() {
            assert!(Instant::now() < deadline, "Console did not start:\n{}", console.output());
            std::thread::sleep(Duration::from_millis(20));
        }
        console
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("console.sock")
    }

    /// What Console did with a request: the endpoint whose view ran; with a `!` before it when Console stopped the
    /// request itself; `-` when no view has the path. Nothing: the request never came. Console writes the line before
    /// it answers, so after an answer there is nothing to wait for.
    pub fn saw(&self, request_id: &str) -> Vec<String> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.read_on(&self.folder.join("requests"));
        log.endpoints.get(request_id).cloned().unwrap_or_default()
    }

    /// What gunicorn wrote.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl RequestLog {
    fn read_on(&mut self, path: &Path) {
        let Ok(mut file) = std::fs::File::open(path) else { return };
        let mut news = String::new();
        file.seek(SeekFrom::Start(self.read_bytes)).expect("a file can be read from its middle");
        file.read_to_string(&mut news).expect("the request log is UTF-8");
        let whole_lines = news.rfind('\n').map_or("", |end| &news[..=end]);
        self.read_bytes += whole_lines.len() as u64;
        for line in whole_lines.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [_method, _path, endpoint, request_id] = fields[..] else { panic!("request log: `{line}`") };
            self.endpoints.entry(request_id.to_owned()).or_default().push(endpoint.to_owned());
        }
    }
}

fn python() -> PathBuf {
    let python =
        std::env::var_os("CONSOLE_PYTHON").map_or_else(|| project_file(".venv/bin/python"), PathBuf::from);
    let output = Command::new(&python).args(["-c", "import flask, gunicorn"]).output();
    assert!(
        output.is_ok_and(|output| output.status.success()),
        "`{}` has no flask and gunicorn: `make test` prepares it, or name one in CONSOLE_PYTHON",
        python.display()
    );
    python
}
