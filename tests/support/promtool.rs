//! Prometheus's own tool, which checks metrics and rules.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// `promtool` of this machine, or the one that `tests/setup.sh test` has put into `target/tools`.
pub(crate) fn promtool() -> Result<PathBuf, String> {
    let installed = PathBuf::from(concat!(env!("CARGO_TARGET_TMPDIR"), "/../tools/promtool"));
    let candidates = [PathBuf::from("promtool"), installed];
    let runs = |program: &PathBuf| Command::new(program).arg("--version").output().is_ok();
    let found = candidates.into_iter().find(runs);
    found.ok_or_else(|| {
        "there is no promtool: `tests/setup.sh test` takes it from Debian's `prometheus`".to_owned()
    })
}

/// Runs it with something on its input: everything that it printed, and whether it was content.
pub(crate) fn run(program: &PathBuf, arguments: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    let mut to = child.stdin.take().expect("its input");
    to.write_all(input.as_bytes()).expect("it reads its input");
    drop(to);
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    (status.success(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}
