//! `console-gate serve` where it must not start.

use crate::support::Workbench;

/// The file's own check is not final: a flag can make it production afterwards.
#[test]
fn production_by_a_flag_needs_its_hosts_named_too() {
    let bench = Workbench::new();
    for arguments in
        [&["serve", "--environment", "production"][..], &["--environment", "production", "serve"]]
    {
        let output = bench.run(arguments);
        assert_eq!(output.code, 2, "{output:?}");
        assert!(output.stderr.contains("production requires `allowed_hosts`"), "{output:?}");
    }
}

#[test]
fn a_token_cannot_outlive_the_calendar() {
    let bench = Workbench::new();
    let output = bench.run(&["token", "create", "robot", "--days", "4294967295"]);
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains("must be from 1 to 36500 days"), "{output:?}");
}
