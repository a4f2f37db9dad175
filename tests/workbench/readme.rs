//! The README's section "Cut over one cluster", line by line on the demo; and the demo's tour.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::support::project_text;

/// The demo, ended with this value.
struct Demo {
    process: Child,
    folder: String,
    port: u16,
}

impl Drop for Demo {
    fn drop(&mut self) {
        // SIGINT, as Ctrl-C: the demo removes its folder.
        let _ = Command::new("kill").args(["-INT", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn demo() -> Demo {
    demo_on(free_port())
}

fn demo_on(port: u16) -> Demo {
    let admin_port = free_port();
    let mut process = Command::new(env!("CARGO_BIN_EXE_console-gate"))
        .args(["demo", "--port", &port.to_string(), "--admin-port", &admin_port.to_string()])
        // As a person starts it: cargo gives a test larger stacks.
        .env_remove("RUST_MIN_STACK")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the demo starts");
    let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
    let folder = lines
        .find_map(|line| {
            let line = line.expect("text");
            line.strip_prefix("Files: ").and_then(|rest| rest.split_whitespace().next()).map(str::to_owned)
        })
        .expect("the demo says where its files are");
    // Nobody reads what it logs from here on, but it must not meet a closed pipe.
    std::thread::spawn(move || lines.for_each(drop));
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while std::net::TcpStream::connect(address).is_err() {
        assert!(std::time::Instant::now() < deadline, "the demo does not listen");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Demo { process, folder, port }
}

/// The lines of the section's first block.
fn script() -> String {
    let readme = project_text("README.md");
    let section = readme.split("## Cut over one cluster\n").nth(1).expect("the section");
    let block = section.split("```bash\n").nth(1).expect("its block");
    block.split("```").next().expect("the block's end").to_owned()
}

#[test]
fn a_new_user_cuts_one_cluster_over_and_back() {
    let demo = demo();
    let script = script()
        .replace("/tmp/console-gate-demo-8080/env", &format!("{}/env", demo.folder))
        .replace("127.0.0.1:8080", &format!("127.0.0.1:{}", demo.port));
    let mut shell = Command::new("bash");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CONSOLE_GATE_")) {
        shell.env_remove(name);
    }
    let output = shell.args(["-c", &script]).output().expect("bash");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), errors.as_str()), (Some(0), ""), "{printed}");
    // In this order: what each step is there to show.
    let mut rest = printed.as_str();
    for expected in [
        "sound, 116 rows",
        "Clusters\n  S3  legacy -> v2\n",
        "answer     allowed (by the legacy gate)",
        "\n200\n",
        "1 would newly be denied, 0 would newly be allowed",
        "S3  would_newly_deny  GET /console/customers/",
        "lacks role",
        " is signed off: ",
        "S3  shadow: not ready",
        "v2 for raxx-support-team, shadow for the rest",
        "part       in the cohort",
        "legacy-ops: allow -> deny, 1 time(s)",
        "17 rows, 120 requests: all as expected",
        "activated  ",
        "rolled back to ",
        "v2 for raxx-support-team, shadow for the rest",
    ] {
        let at = rest.find(expected).unwrap_or_else(|| panic!("`{expected}` is missing after\n{rest}"));
        rest = &rest[at + expected.len()..];
    }
}

#[test]
fn the_tour_of_the_demo_ends_as_it_says() {
    let demo = demo();
    let mut tour = Command::new("bash");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CONSOLE_GATE_")) {
        tour.env_remove(name);
    }
    let output = tour.arg(format!("{}/tour.sh", demo.folder)).output().expect("bash");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let commands = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{printed}\n{commands}");
    // The tour compares each status for itself: here, that it did ask.
    let statuses: Vec<&str> =
        printed.lines().filter(|line| line.len() == 3 && line.parse::<u16>().is_ok()).collect();
    assert_eq!(statuses, ["403", "200", "403", "403", "200", "403", "403", "403", "403"], "{printed}");
    assert!(printed.contains("you cannot approve a request that you made or that benefits you"), "{printed}");
    assert!(printed.contains("clean: 0 finding(s)"), "{printed}");
    let key = std::fs::read_to_string(format!("{}/freescout.key", demo.folder)).expect("its key");
    assert!(!commands.contains(&key), "the tour prints FreeScout's key");
}

/// The form on the page of a denial, without any script.
#[test]
fn a_denied_person_asks_by_the_form() {
    let demo = demo();
    let script = format!(
        ". {}/env
        curl -s -o /dev/null -c jar -d as=in-raxx-support-team $GATE/auth/login
        page=$(curl -s -b jar -H 'Accept: text/html' $GATE/console/flags)
        token=$(printf '%s' \"$page\" | grep -o 'csrf_token\" value=\"[^\"]*' | cut -d'\"' -f3)
        curl -s -b jar -H 'Accept: text/html' --data-urlencode \"csrf_token=$token\" \\
            -d 'route=GET+/console/flags' -d reason=release -d ticket= -d for=2h -w '%{{http_code}}' $GATE/api/rbac/requests
        curl -s -b jar $GATE/api/rbac/requests",
        demo.folder
    );
    let output = Command::new("bash").args(["-c", &script]).output().expect("bash");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(printed.contains("201") && printed.contains("\"state\":\"pending\""), "{printed}");
}

/// Two demos at once have folders of their own, and what a killed one has left is used again.
#[test]
fn demos_side_by_side_have_folders_and_ports_of_their_own() {
    let first = demo();
    let refused = Command::new(env!("CARGO_BIN_EXE_console-gate"))
        .args(["demo", "--port", &first.port.to_string()])
        .output()
        .expect("the demo runs");
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{errors}");
    assert!(errors.contains(&format!("a demo on port {} is running already", first.port)), "{errors}");
    assert!(std::path::Path::new(&format!("{}/routes.toml", first.folder)).exists());

    let port = free_port();
    let left = std::env::temp_dir().join(format!("console-gate-demo-{port}"));
    std::fs::create_dir(&left).expect("a folder");
    std::fs::write(left.join("lock"), "").expect("a file");
    std::fs::write(left.join("gate.db"), "what a killed demo has left").expect("a file");
    let second = demo_on(port);
    assert_eq!(second.folder, left.display().to_string());
    assert_ne!(second.folder, first.folder);
}
