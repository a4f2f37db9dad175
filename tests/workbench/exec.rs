//! `console-gate exec`: the gate with a real gunicorn behind it, killed from both sides.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Workbench, project_file};

const PATIENCE: Duration = Duration::from_secs(60);

/// Says who answers, and whether the request came through the gate whose keys it has.
const APP: &str = r#"
import os, sys
from console_gate.assertion import ENVIRON_KEY, Verifier, environment_setting, keys_from, wsgi_request
setting = environment_setting()
verifier = Verifier(keys_from(setting), setting("AUDIENCE"))
secrets = [name for name in ("CONSOLE_GATE_AUDIT_KEYS", "CONSOLE_GATE_DATABASE_URL", "PORT") if name in os.environ]

def app(environ, start_response):
    verified = "nobody" if environ["PATH_INFO"] == "/healthz" else "no"
    if environ.get(ENVIRON_KEY):
        verifier.verify(environ[ENVIRON_KEY], wsgi_request(environ))
        verified = "yes"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"worker={os.getpid()} console={os.getppid()} verified={verified} secrets={secrets}\n".encode()]
"#;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

struct Running {
    process: Child,
    port: u16,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn bench() -> Workbench {
    let bench = Workbench::new();
    bench.write("app.py", APP);
    bench.write("routes.toml", "version = 1\n[blueprints.t.routes]\n\"* /*\" = { public = true }\n");
    bench
}

fn gunicorn() -> String {
    let program = project_file(".venv/bin/gunicorn");
    assert!(program.exists(), "tests/setup.sh makes {}", program.display());
    program.display().to_string()
}

/// Starts it at `$PORT`, without keys for assertions.
fn start(bench: &Workbench, options: &[&str], console: &[&str]) -> Running {
    let (port, admin) = (free_port(), format!("127.0.0.1:{}", free_port()));
    let python = project_file("deploy/flask").display().to_string();
    let port_text = port.to_string();
    let variables =
        [("PORT", port_text.as_str()), ("CONSOLE_SECRET_KEY", "of the tests"), ("PYTHONPATH", &python)];
    let arguments = [&["exec", "--admin", &admin], options, &["--"], console].concat();
    let log = std::fs::File::create(bench.path("log")).unwrap();
    let mut program = bench.program(&arguments);
    program.env_remove("XDG_RUNTIME_DIR").env_remove("RUNTIME_DIRECTORY").env("TMPDIR", bench.path(""));
    program.envs(variables).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    Running { process: program.spawn().unwrap(), port }
}

fn until<T>(bench: &Workbench, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        let log = || std::fs::read_to_string(bench.path("log")).unwrap_or_default();
        assert!(began.elapsed() < PATIENCE, "{what}\n{}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Running {
    fn ask(&self) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.write_all(b"GET /hello HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(answer)
    }

    /// The processes of a worker and of gunicorn itself.
    fn console(&self, bench: &Workbench) -> (i32, i32) {
        let answer = until(bench, "it does not answer", || self.ask());
        assert!(answer.contains("verified=yes secrets=[]"), "{answer}");
        let number = |name: &str| -> i32 {
            answer.split(&format!("{name}=")).nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
        };
        (number("worker"), number("console"))
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.process.id()).unwrap()), signal).unwrap();
    }

    fn exit_code(&mut self, bench: &Workbench) -> Option<i32> {
        until(bench, "it does not end", || self.process.try_wait().unwrap()).code()
    }
}

fn is_gone(process: i32) -> bool {
    // One that nobody has waited for yet is gone too.
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    state.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'))
}

fn all_gone(bench: &Workbench, processes: &[i32]) {
    until(bench, "a process of Console's is left", || {
        processes.iter().all(|one| is_gone(*one)).then_some(())
    });
}

#[test]
fn gunicorn_serves_behind_the_gate_and_ends_with_it() {
    let bench = bench();
    let gunicorn = gunicorn();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut running = start(&bench, &[], &[&gunicorn, "app:app"]);
        let (worker, console) = running.console(&bench);
        running.signal(signal);
        assert_eq!(running.exit_code(&bench), Some(0), "{signal}");
        assert!(is_gone(worker) && is_gone(console), "{signal}");
    }
    // Nothing is left of its folder either.
    let left = std::fs::read_dir(bench.path("")).unwrap().filter_map(Result::ok);
    let left = left.filter(|entry| entry.file_name().to_string_lossy().starts_with("console-gate-"));
    assert_eq!(left.count(), 0);
}

#[test]
fn neither_outlives_the_other() {
    let bench = bench();
    let gunicorn = gunicorn();
    // The gate is killed.
    let mut running = start(&bench, &[], &[&gunicorn, "app:app"]);
    let (worker, console) = running.console(&bench);
    running.signal(Signal::SIGKILL);
    assert_eq!(running.exit_code(&bench), None);
    all_gone(&bench, &[worker, console]);
    // Console is killed.
    let mut running = start(&bench, &[], &[&gunicorn, "app:app"]);
    let (worker, console) = running.console(&bench);
    kill(Pid::from_raw(console), Signal::SIGKILL).unwrap();
    assert_eq!(running.exit_code(&bench), Some(137));
    all_gone(&bench, &[worker, console]);
    assert!(TcpStream::connect(("127.0.0.1", running.port)).is_err());
    // A shell between them is no hiding place.
    let script = format!("{gunicorn} --bind {{bind}} app:app & wait");
    let mut running = start(&bench, &[], &["sh", "-c", &script]);
    let (worker, console) = running.console(&bench);
    running.signal(Signal::SIGTERM);
    assert_eq!(running.exit_code(&bench), Some(0));
    all_gone(&bench, &[worker, console]);
}

#[test]
fn a_hangup_reloads_gunicorn_and_ends_nothing() {
    let bench = bench();
    let mut running = start(&bench, &[], &[&gunicorn(), "app:app"]);
    let (worker, console) = running.console(&bench);
    running.signal(Signal::SIGHUP);
    let (_, still) = until(&bench, "gunicorn has not reloaded", || {
        let now = running.console(&bench);
        (now.0 != worker).then_some(now)
    });
    assert_eq!(still, console);
    running.signal(Signal::SIGTERM);
    assert_eq!(running.exit_code(&bench), Some(0));
}

#[test]
fn what_never_listens_is_said_and_ended() {
    let bench = bench();
    let log = || std::fs::read_to_string(bench.path("log")).unwrap();
    let code = |options: &[&str], console: &[&str]| start(&bench, options, console).exit_code(&bench);
    assert_eq!(code(&[], &["sh", "-c", "exit 7"]), Some(7));
    assert_eq!(code(&[], &["no-such-program"]), Some(127));
    assert!(log().contains("Console cannot be started: no-such-program"), "{}", log());
    assert_eq!(code(&["--wait", "1s"], &["sh", "-c", "echo $$ > pid; exec sleep 600"]), Some(2));
    assert!(log().contains("did not listen at") && log().contains("`{bind}`"), "{}", log());
    let pid = std::fs::read_to_string(bench.path("pid")).unwrap();
    assert!(is_gone(pid.trim().parse().unwrap()));
    assert_eq!(code(&[], &[&gunicorn(), "--bind", "127.0.0.1:0", "app:app"]), Some(2));
    assert!(log().contains("leave `--bind` out"), "{}", log());
    let mut asked = start(&bench, &[], &["sh", "-c", "echo $$ > pid2; exec sleep 600"]);
    until(&bench, "it was not started", || Path::new(&bench.path("pid2")).exists().then_some(()));
    asked.signal(Signal::SIGTERM);
    assert_eq!(asked.exit_code(&bench), Some(0));
}
