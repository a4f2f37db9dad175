//! A test that runs itself again as somebody else, where its result depends on who runs it; and what is reported where
//! nobody can show it.
//!
//! A test that returns early passes, and libtest hides what a passing test prints. So a test either arranges what it
//! needs, or says `SKIPPED` where it is seen: on the error stream itself, and in a file that `make test` ends with.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output};

/// Set for the process in which a test runs again.
const AGAIN: &str = "GATE_TEST_AGAIN";

/// Whether this is the process in which a test runs again.
pub(crate) fn is_again() -> bool {
    std::env::var_os(AGAIN).is_some()
}

/// Runs one test of this binary again as a user and group, and panics unless it passes.
pub(crate) fn as_user(test: &str, (user, group): (u32, u32)) {
    // By this name the kernel finds the program wherever it is: the user need not be able to reach its folder.
    let mut command = Command::new("/proc/self/exe");
    command.uid(user).gid(group).current_dir("/");
    passes(test, &mut command);
}

/// Runs one test of this binary again as root of a namespace of its own, which may mount what it likes there, and panics
/// unless it passes.
///
/// # Errors
///
/// Why there are no such namespaces here.
pub(crate) fn as_root_of_a_namespace(test: &str) -> Result<(), String> {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount"]);
        command
    };
    let tried = unshare().args(["mount", "-t", "tmpfs", "gate-test", "/tmp"]).output();
    let tried = tried.map_err(|error| format!("`unshare` does not run: {error}"))?;
    if !tried.status.success() {
        return Err(String::from_utf8_lossy(&tried.stderr).trim().to_owned());
    }
    let program = std::env::current_exe().expect("the test's own program");
    passes(test, unshare().arg(program));
    Ok(())
}

fn passes(test: &str, command: &mut Command) {
    let ran = command.args(["--exact", test, "--nocapture"]).env(AGAIN, "1").output();
    let Output { status, stdout, stderr } = ran.expect("the test's own program runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    // What it has measured.
    stdout.lines().filter(|line| line.starts_with("fault:")).for_each(|line| println!("{line}"));
    assert!(
        status.success() && stdout.contains("1 passed"),
        "`{test}` as somebody else:\n{stdout}\n{stderr}"
    );
}

/// Says that a test shows nothing here, where it is seen although the test passes.
pub(crate) fn skip(test: &str, why: &str) {
    let line = format!("SKIPPED: {test}: {why}\n");
    // Not `eprintln!`, which libtest keeps to itself.
    let _ = std::io::stderr().write_all(line.as_bytes());
    let list = concat!(env!("CARGO_TARGET_TMPDIR"), "/skipped.txt");
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(list);
    let _ = opened.and_then(|mut file| file.write_all(line.as_bytes()));
}
