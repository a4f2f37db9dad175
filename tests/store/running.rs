//! What each gate reports that it runs.

use std::time::Duration;

use policy::ids::{InstanceId, PinId};
use store::running::{RunningGate, RunningReport, Runs};

use crate::database::{Database, noon};
use crate::mappings::sha256;

const LEASE: Duration = Duration::from_secs(10);

/// A report of the gate `instance`, which runs the mapping `mapping` and has the file `file`.
pub(crate) fn report(instance: &str, mapping: char, file: Option<char>) -> RunningReport {
    RunningReport {
        instance: InstanceId::new(instance),
        name: format!("host/{instance}"),
        now: noon(),
        lease: LEASE,
        runs: Runs {
            mapping: sha256(mapping),
            file: file.map(sha256),
            pin: PinId::new("p"),
            is_held: true,
            problem: Some("no file: `x`\n漢".into()),
        },
    }
}

fn as_read(report: RunningReport, reports: i64) -> RunningGate {
    let RunningReport { instance, name, lease, runs, .. } = report;
    RunningGate { instance, name, reports, lease, runs }
}

async fn a_report_is_read_as_it_was_written_and_counted(database: &Database) {
    let store = &database.store;
    assert_eq!(store.running_gates().await.unwrap(), []);
    let mut second = report("2", 'b', None);
    second.runs = Runs { pin: PinId::new(""), is_held: false, problem: None, ..second.runs };
    for report in
        [report("1", 'a', Some('a')), second.clone(), report("1", 'c', None), report("1", 'b', Some('c'))]
    {
        store.report_running(&report).await.unwrap();
    }
    let expected = [as_read(report("1", 'b', Some('c')), 3), as_read(second, 1)];
    assert_eq!(store.running_gates().await.unwrap(), expected);
}

/// Somebody has seen a report stay the same; in the meantime the gate is back.
async fn a_silent_gate_is_forgotten_only_as_it_was_read(database: &Database) {
    let store = &database.store;
    for instance in ["1", "2"] {
        store.report_running(&report(instance, 'a', None)).await.unwrap();
    }
    let read = store.running_gates().await.unwrap();
    store.report_running(&report("2", 'a', None)).await.unwrap();
    store.forget_silent(&read).await.unwrap();
    assert_eq!(store.running_gates().await.unwrap(), [as_read(report("2", 'a', None), 2)]);
    store.forget_silent(&[]).await.unwrap();
    store.stop_running(&InstanceId::new("2")).await.unwrap();
    store.stop_running(&InstanceId::new("2")).await.unwrap();
    assert_eq!(store.running_gates().await.unwrap(), []);
}

/// A mistake quotes the file, and a TOML string can hold U+0000: a gate that could not report it would look dead.
async fn a_problem_that_quotes_a_nul_is_reported(database: &Database) {
    let mut quoting = report("1", 'a', None);
    quoting.runs.problem = Some("`a\0b` means nothing".into());
    database.store.report_running(&quoting).await.unwrap();
    let gates = database.store.running_gates().await.unwrap();
    assert_eq!(gates[0].runs.problem.as_deref(), Some("`a\u{fffd}b` means nothing"));
}

/// Reports come every two seconds from every gate: they must not make anybody's cache worthless.
async fn a_report_does_not_raise_the_epoch(database: &Database) {
    let before = database.epoch().await;
    database.store.report_running(&report("1", 'a', None)).await.unwrap();
    database.store.stop_running(&InstanceId::new("1")).await.unwrap();
    assert_eq!(database.epoch().await, before);
}

on_both!(
    a_report_is_read_as_it_was_written_and_counted,
    a_silent_gate_is_forgotten_only_as_it_was_read,
    a_problem_that_quotes_a_nul_is_reported,
    a_report_does_not_raise_the_epoch,
);
