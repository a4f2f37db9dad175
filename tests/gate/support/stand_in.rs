//! The stand-in app of `tests/data/werkzeug` under gunicorn: it says which view ran, and has no middleware.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::project_file;

const START_LIMIT: Duration = Duration::from_secs(60);
const LOG_LIMIT: Duration = Duration::from_secs(20);

/// Ends gunicorn when its own input closes, so also when this process ends.
const KEEPER: &str = r#"
"$PYTHON" -m gunicorn --chdir "$APP" -k "$WORKER" --workers 2 --threads "$THREADS" --no-control-socket \
    --access-logfile "$FOLDER/requests" --access-logformat '%(r)s' \
    --bind "unix:$FOLDER/app.sock" app:application </dev/null >"$FOLDER/log" 2>&1 & app=$!
cat >/dev/null
kill -QUIT "$app"
wait "$app"
rm -rf "$FOLDER"
"#;

/// A running stand-in; it ends with this value.
pub struct StandIn {
    folder: PathBuf,
    /// Its input is what keeps the app alive.
    _keeper: Child,
}

impl StandIn {
    /// Starts the app with gunicorn's workers of this class.
    pub fn start(worker: &str) -> StandIn {
        let python = std::env::var_os("CONSOLE_PYTHON")
            .map_or_else(|| project_file(".venv/bin/python"), PathBuf::from);
        // Not `temp_dir()`: the path of a socket is limited to 107 bytes.
        let folder = tempfile::Builder::new().prefix("gate-stand-in-").tempdir_in("/tmp");
        let folder = folder.expect("a folder in /tmp").keep();
        let keeper = Command::new("/bin/sh")
            .args(["-c", KEEPER])
            .env("PYTHON", python)
            .env("APP", project_file("tests/data/werkzeug"))
            .env("FOLDER", &folder)
            .env("WORKER", worker)
            .env("THREADS", if worker == "sync" { "1" } else { "4" })
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("/bin/sh runs");
        let app = StandIn { folder, _keeper: keeper };
        let deadline = Instant::now() + START_LIMIT;
        while std::os::unix::net::UnixStream::connect(app.socket()).is_err() {
            let log = std::fs::read_to_string(app.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the stand-in did not start:\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
        app
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("app.sock")
    }

    /// The request lines that gunicorn served, the gate's health checks left out: at least `least` of them.
    ///
    /// gunicorn writes the line after it has answered, so the last ones may be on their way.
    pub async fn served(&self, least: usize) -> Vec<String> {
        let deadline = Instant::now() + LOG_LIMIT;
        loop {
            let log = std::fs::read_to_string(self.folder.join("requests")).unwrap_or_default();
            let lines = log.lines().filter(|line| !line.starts_with("GET /healthz "));
            let lines: Vec<String> = lines.map(str::to_owned).collect();
            if lines.len() >= least || Instant::now() > deadline {
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
