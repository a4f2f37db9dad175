//! The form of the chain is fixed: rows that another program sealed, from the description alone, verify here.

use std::path::Path;
use std::process::Command;

use ledger::AuditRecord;
use ledger::canonical;
use ledger::chain::{Chain, Head, Link};
use ledger::checkpoint::Checkpoint;
use ledger::hexadecimal;
use ledger::keys::KeyRing;
use ledger::verify::StoredRow;
use zeroize::Zeroizing;

use crate::support::*;

#[derive(serde::Deserialize)]
struct Golden {
    keys: std::collections::BTreeMap<String, String>,
    rows: Vec<Row>,
    checkpoint: String,
}

#[derive(serde::Deserialize)]
struct Row {
    canonical: String,
    canonical_personal: String,
    record: AuditRecord,
    link: Link,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("data/golden_chain.json")).unwrap()
}

fn keys(golden: &Golden) -> KeyRing {
    let bytes = |text: &str| hexadecimal_bytes(text);
    // The second key is what seals at the end.
    let keys: Vec<_> =
        golden.keys.iter().rev().map(|(id, key)| (id.clone(), Zeroizing::new(bytes(key)))).collect();
    KeyRing::from_keys(&keys).unwrap()
}

fn hexadecimal_bytes(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    bytes.map(|pair| hexadecimal::decode::<1>(pair).unwrap()[0]).collect()
}

#[test]
fn the_canonical_form_is_the_other_programs() {
    for row in golden().rows {
        let (mut rest, mut personal) = (String::new(), String::new());
        canonical::record(&row.record, &row.link.personal_digest, &mut rest);
        canonical::personal(&row.record, &mut personal);
        assert_eq!(rest, row.canonical);
        assert_eq!(personal, row.canonical_personal);
    }
}

#[test]
fn the_other_programs_chain_and_checkpoint_verify() {
    let golden = golden();
    let keys = keys(&golden);
    let row =
        |row: &Row| StoredRow { record: row.record.clone(), link: Some(row.link.clone()), erased_by: None };
    let mut rows: Vec<_> = golden.rows.iter().map(row).collect();
    let lines = [golden.checkpoint.clone()];
    let (findings, summary) = verify_with(keys.clone(), &lines, &rows);
    assert_eq!(words_of(&findings), [""; 0]);
    assert_eq!((summary.rows, summary.chains, summary.checkpoints), (4, 1, 1));
    rows.pop();
    assert_eq!(words_of(&verify_with(keys, &lines, &rows).0), ["0198f00d-ü 4 cut head=4"]);
}

#[test]
fn checkpoints_are_made_as_the_other_program_makes_them() {
    let golden = golden();
    let last = &golden.rows[3].link;
    let head = Head::from_columns(last.sequence, &last.mac).unwrap();
    let at = "2026-11-21T04:42:00Z".parse().unwrap();
    let made = Checkpoint::make(&keys(&golden), &last.chain_id, head, at);
    assert_eq!(made.to_line(), golden.checkpoint);
}

#[test]
fn a_chain_goes_on_behind_the_other_programs() {
    let golden = golden();
    let row = |row: Row| StoredRow { record: row.record, link: Some(row.link), erased_by: None };
    let keys = keys(&golden);
    let last = &golden.rows[3].link;
    let head = Head::from_columns(last.sequence, &last.mac).unwrap();
    let mut chain = Chain::resume(last.chain_id.clone(), keys.clone(), head);
    let mut rows: Vec<_> = golden.rows.into_iter().map(row).collect();
    rows.extend(extend(&mut chain, 3));
    assert_eq!(words_of(&verify_with(keys, &[], &rows).0), [""; 0]);
}

/// Python 3 is what Console runs on; where there is none, this test fails.
#[test]
fn the_file_is_what_the_other_program_writes() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audit/data/golden_chain.py");
    let checked = Command::new("python3").arg(script).arg("--check").status().unwrap();
    assert!(checked.success());
}
