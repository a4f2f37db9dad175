//! What a service manager hears of a gate, and a gate that starts its own successor.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::again::skip;
use crate::support::alone::{Alone, LIMIT, Place, folder, free_address, settings};
use crate::support::recorder::Recorder;

/// A manager that listens.
struct Manager(UnixDatagram, PathBuf);

impl Manager {
    fn at(folder: &Path) -> Manager {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(LIMIT)).expect("a timeout");
        Manager(socket, path)
    }

    fn path(&self) -> String {
        self.1.display().to_string()
    }

    fn hears(&self) -> String {
        let mut buffer = [0; 1_024];
        let length = self.0.recv(&mut buffer).expect("a message of the gate");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    /// What is heard next, besides signs of life.
    fn hears_next(&self) -> String {
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            let heard = self.hears();
            if heard != "WATCHDOG=1" {
                return heard;
            }
        }
        panic!("nothing but signs of life");
    }
}

fn addresses() -> [Place; 2] {
    [Place::Tcp(free_address()), Place::Tcp(free_address())]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_hears_when_the_gate_listens_reloads_and_stops() {
    let folder = folder();
    let upstream = Recorder::start(folder.path(), "upstream.sock");
    let addresses = addresses();
    let manager = Manager::at(folder.path());
    let variables = [("NOTIFY_SOCKET", &*manager.path()), ("WATCHDOG_USEC", "200000")];
    let settings = settings(folder.path(), &addresses[0], &addresses[1], &upstream);
    let mut gate = Alone::serve_with(folder.path(), &settings, &[], &variables);
    assert_eq!(manager.hears(), "READY=1\nSTATUS=The gate listens");
    // Not a moment too early.
    assert_eq!(addresses[0].get("/x").await.expect("it serves").0, 200);
    assert!(addresses[1].get("/healthz").await.is_some());
    for _ in 0..3 {
        assert_eq!(manager.hears(), "WATCHDOG=1");
    }
    gate.signal("HUP");
    assert_eq!([manager.hears_next(), manager.hears_next()], ["RELOADING=1", "READY=1"]);
    gate.signal("TERM");
    assert_eq!(manager.hears_next(), "STOPPING=1\nSTATUS=The gate drains");
    assert_eq!(gate.exit_code().await, Some(0), "{}", gate.log());
}

/// The process of a gate that another gate has started.
struct Next(String);

impl Next {
    fn is_there(&self) -> bool {
        // One that has ended and that nobody has asked about is none.
        std::fs::read_to_string(format!("/proc/{}/stat", self.0))
            .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
    }

    fn signal(&self, name: &str) {
        let _ = Command::new("kill").args([&format!("-{name}"), &self.0]).status();
    }
}

/// Ends with this value whatever process has been started with settings in a folder.
struct Strays(PathBuf);

impl Drop for Strays {
    fn drop(&mut self) {
        let folder = self.0.display().to_string();
        for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let id = process.file_name().to_string_lossy().into_owned();
            let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
            let is_gate = String::from_utf8_lossy(&environment)
                .split('\0')
                .any(|variable| variable.starts_with("CONSOLE_GATE_CONFIG=") && variable.contains(&folder));
            if is_gate && id.parse::<u32>().is_ok() {
                Next(id).signal("KILL");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_starts_its_successor_and_names_it_to_the_manager() {
    let folder = folder();
    let _strays = Strays(folder.path().to_owned());
    let upstream = Recorder::start(folder.path(), "upstream.sock");
    let addresses = addresses();
    let manager = Manager::at(folder.path());
    let settings = settings(folder.path(), &addresses[0], &addresses[1], &upstream);
    let variables = [("NOTIFY_SOCKET", &*manager.path())];
    let mut old = Alone::serve_with(folder.path(), &settings, &[], &variables);
    assert!(manager.hears().starts_with("READY=1"));
    old.signal("USR2");
    let log = folder.path().to_owned();
    let ending = tokio::spawn(async move { (old.exit_code().await, old) });
    // Nobody notices.
    while !ending.is_finished() {
        assert_eq!(addresses[0].get("/x").await.expect("the proxy answers").0, 200, "{}", log.display());
        assert!(addresses[1].get("/healthz").await.is_some(), "the admin address answers");
    }
    let (code, old) = ending.await.expect("it ended");
    assert_eq!(code, Some(0), "{}", old.log());
    // Each says so by itself; which is heard first, nobody knows.
    let mut heard = [manager.hears(), manager.hears()];
    heard.sort();
    let [main, ready] = heard;
    assert!(ready.starts_with("READY=1"), "{ready}");
    let next = Next(main.strip_prefix("MAINPID=").expect("the next gate").to_owned());
    assert!(next.0 != old.process.id().to_string() && next.is_there(), "{main}");
    assert_eq!(addresses[0].get("/x").await.expect("the next gate serves").0, 200);
    // The log went on in the same file.
    assert!(old.log().contains("SIGUSR2: the next gate is started"), "{}", old.log());
    next.signal("TERM");
    assert!(manager.hears().starts_with("STOPPING=1"));
    let deadline = Instant::now() + LIMIT;
    while next.is_there() {
        assert!(Instant::now() < deadline, "the next gate goes on:\n{}", old.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_whose_successor_cannot_start_goes_on_and_says_so() {
    let folder = folder();
    let _strays = Strays(folder.path().to_owned());
    let upstream = Recorder::start(folder.path(), "upstream.sock");
    let addresses = addresses();
    let settings = settings(folder.path(), &addresses[0], &addresses[1], &upstream);
    let mut gate = Alone::serve(folder.path(), &settings, &[]);
    gate.ready(&addresses[1], 200).await;
    std::fs::write(folder.path().join("gate.toml"), "[upstream\n").expect("settings that are none");
    gate.signal("USR2");
    gate.logs("the next gate ended (exit status: 2) before it waited for the sockets").await;
    assert_eq!(addresses[0].get("/x").await.expect("it serves").0, 200);
    // One that waits for what does not come does not keep this one from being stopped.
    std::fs::write(folder.path().join("gate.toml"), settings).expect("settings");
    gate.signal("USR2");
    gate.signal("TERM");
    assert_eq!(gate.exit_code().await, Some(0), "{}", gate.log());
}

/// Without anybody at the other side, each says what it looked for, and what to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_hand_over_that_lacks_one_side_is_explained() {
    let folder = folder();
    let upstream = Recorder::start(folder.path(), "upstream.sock");
    let addresses = addresses();
    let settings = settings(folder.path(), &addresses[0], &addresses[1], &upstream);
    let mut gate = Alone::serve(folder.path(), &settings, &[]);
    gate.ready(&addresses[1], 200).await;
    gate.signal("QUIT");
    gate.logs("no gate took the sockets; this one continues").await;
    let socket = format!("{}/upgrade.sock", folder.path().display());
    let log = gate.log();
    assert!(log.contains(&format!("no gate is waiting at {socket}")), "{log}");
    assert!(log.contains("start the next gate with `serve --upgrade` first"), "{log}");
    let next = Alone::serve(folder.path(), &settings, &["--upgrade"]);
    next.logs("waiting for the running gate's sockets: send it SIGQUIT").await;
    assert!(next.log().contains(&socket), "{}", next.log());
}

/// The unit is one, with the program of these tests in the place of the installed one.
#[test]
fn systemd_takes_the_unit() {
    const TEST: &str = "systemd::systemd_takes_the_unit";
    let folder = folder();
    let unit = crate::support::project_text("deploy/systemd/console-gate.service");
    for line in ["Type=notify", "NotifyAccess=main", "WatchdogSec=", "ExecReload=/bin/kill -HUP $MAINPID"] {
        assert!(unit.lines().any(|found| found.starts_with(line)), "{line} is not in the unit");
    }
    let unit = unit.replace("/usr/local/bin/console-gate", env!("CARGO_BIN_EXE_console-gate"));
    let file = folder.path().join("console-gate.service");
    std::fs::write(&file, &unit).expect("a unit");
    let Ok(verified) = Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&file).output()
    else {
        return skip(TEST, "systemd-analyze is not installed");
    };
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    // Units of the machine itself may have their own troubles.
    let about: Vec<&str> = said.lines().filter(|line| line.contains("console-gate")).collect();
    assert!(verified.status.success() && about.is_empty(), "{said}");
    std::fs::write(&file, unit.replace("Type=notify", "Type=notified")).expect("a unit");
    let wrong = Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&file).output();
    let wrong = String::from_utf8_lossy(&wrong.expect("systemd-analyze").stderr).into_owned();
    assert!(wrong.contains("notified"), "it finds nothing: {wrong}");
}
