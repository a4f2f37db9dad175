//! A real nginx with the sample of `deploy/nginx`, on sockets of the test's own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::project_text;

const START_LIMIT: Duration = Duration::from_secs(20);

/// A running nginx; it ends with this value.
pub struct Nginx {
    folder: PathBuf,
    process: Child,
}

impl Nginx {
    /// Starts the sample in front of `console`, with `gate` asked. `folder` must not exist yet.
    pub async fn start(folder: PathBuf, console: &Path, gate: &Path) -> Nginx {
        std::fs::create_dir(&folder).expect("a new folder");
        let listen = format!("listen unix:{}/nginx.sock;", folder.display());
        let server = |socket: &Path| format!("server unix:{};", socket.display());
        let sample =
            replaced(&project_text("deploy/nginx/forward-auth.conf"), "listen 127.0.0.1:8088;", &listen);
        let sample = replaced(&sample, "server 127.0.0.1:8000;", &server(console));
        let sample = replaced(&sample, "server 127.0.0.1:9901;", &server(gate));
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/{kind};", folder.display()))
            .join("\n");
        // Its workers stay in the group and the account of the test.
        let configuration = format!(
            "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/log;\nevents {{}}\n\
             http {{\naccess_log off;\n{temporary}\n{sample}\n}}\n",
            folder = folder.display()
        );
        std::fs::write(folder.join("nginx.conf"), configuration).expect("a configuration");
        let process = Command::new(program())
            .arg("-p")
            .arg(&folder)
            .arg("-c")
            .arg(folder.join("nginx.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed: `tests/setup.sh test` does it");
        let nginx = Nginx { folder, process };
        let deadline = Instant::now() + START_LIMIT;
        while std::os::unix::net::UnixStream::connect(nginx.socket()).is_err() {
            let log = std::fs::read_to_string(nginx.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "nginx did not start:\n{log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        nginx
    }

    /// Where it takes requests.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("nginx.sock")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the sample has no `{from}`");
    text.replace(from, to)
}

/// Debian puts it where only root's path leads.
fn program() -> &'static str {
    if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" }
}
