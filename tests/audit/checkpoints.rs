//! Cut tails, found by checkpoints and by the first row of the next chain.

use chrono::TimeDelta;
use console_gate::journal::checkpoint_sink::{CheckpointSink as _, FileSink};
use ledger::chain::{Chain, Head};
use ledger::checkpoint::{Checkpoint, CheckpointError, Pace};

use crate::support::*;

fn line(chain: &Chain) -> String {
    Checkpoint::make(&old_key(), chain.id(), chain.head(), start()).to_line()
}

#[test]
fn a_cut_tail_is_found() {
    let mut chain = Chain::new("a", old_key());
    let mut rows = extend(&mut chain, 5);
    let early = line(&chain);
    rows.extend(extend(&mut chain, 5));
    let late = line(&chain);
    let lines = [early.clone(), String::new(), late];
    assert_eq!(words_of(&verify_with(old_key(), &lines, &rows).0), [""; 0]);
    rows.truncate(7);
    assert_eq!(words_of(&verify_with(old_key(), &lines, &rows).0), ["a 8 cut head=10"]);
    assert_eq!(
        words_of(&verify_with(old_key(), &[early], &rows).0),
        [""; 0],
        "nobody saw the rows that are gone"
    );
    assert_eq!(words_of(&verify_with(old_key(), &lines, &[]).0), ["a 1 cut head=10"]);
}

#[test]
fn a_later_chain_knows_where_the_older_ones_ended() {
    let mut older = Chain::new("a", old_key());
    let mut rows = extend(&mut older, 5);
    let mut newer = Chain::new("b", old_key());
    rows.push(chain_started(&mut newer, vec![older.head().named("a")]));
    assert_eq!(words_of(&verify(&rows)), [""; 0]);
    let cut: Vec<_> = rows.iter().filter(|row| row.link.as_ref().unwrap().sequence != 5).cloned().collect();
    assert_eq!(words_of(&verify(&cut)), ["a 5 cut head=5"]);
    let gone: Vec<_> =
        rows.iter().filter(|row| row.link.as_ref().unwrap().chain_id != "a").cloned().collect();
    assert_eq!(words_of(&verify(&gone)), ["a 1 cut head=5"]);
    rows.extend(extend(&mut older, 3));
    assert_eq!(words_of(&verify(&rows)), [""; 0], "the older one went on");
}

#[test]
fn who_holds_the_key_cannot_rewrite_what_a_checkpoint_saw() {
    let mut chain = Chain::new("a", old_key());
    extend(&mut chain, 5);
    let seen = line(&chain);
    let again = rows("a", 9);
    assert_eq!(words_of(&verify_with(old_key(), std::slice::from_ref(&seen), &again).0), ["a 5 rewritten"]);
    let mut damaged = again;
    damaged[2].link.as_mut().unwrap().sequence = 7;
    damaged[6].link.as_mut().unwrap().sequence = 3;
    let words = words_of(&verify_with(old_key(), &[seen], &damaged).0);
    assert!(words.contains(&"a 5 rewritten".to_owned()), "in a window as well: {words:?}");
}

/// Somebody has cut the chain and set its head back, and commands went on: two checkpoints name one place.
#[test]
fn two_checkpoints_of_one_place_are_both_believed() {
    let mut chain = Chain::new("a", old_key());
    let mut rows = extend(&mut chain, 5);
    let cut = chain.head();
    rows.extend(extend(&mut chain, 3));
    let mut other = Chain::resume("a", old_key(), cut);
    let sealed_anew = [rows[..5].to_vec(), extend(&mut other, 3)].concat();
    for lines in [[line(&chain), line(&other)], [line(&other), line(&chain)]] {
        for rows in [&rows, &sealed_anew] {
            assert_eq!(words_of(&verify_with(old_key(), &lines, rows).0), ["a 8 rewritten"]);
        }
    }
}

/// The chain that commands share goes on behind what was cut, by honest commands: the first row of a gate's chain still
/// knows the row that was there.
#[test]
fn a_later_chain_knows_which_row_was_the_last() {
    let mut control = Chain::new("control", old_key());
    let mut rows = extend(&mut control, 3);
    let cut = control.head();
    extend(&mut control, 2);
    rows.push(chain_started(&mut Chain::new("b", old_key()), vec![control.head().named("control")]));
    let mut resumed = Chain::resume("control", old_key(), cut);
    rows.extend(extend(&mut resumed, 4));
    assert_eq!(words_of(&verify(&rows)), ["control 5 rewritten"]);
}

#[test]
fn chains_without_a_checkpoint_are_counted() {
    let mut chain = Chain::new("a", old_key());
    let mut all = extend(&mut chain, 2);
    all.extend(rows("b", 2));
    let (_, summary) = verify_with(old_key(), &[line(&chain)], &all);
    assert_eq!((summary.chains, summary.chains_without_checkpoint), (2, 1));
}

#[test]
fn a_forged_checkpoint_is_found() {
    let mut chain = Chain::new("a", old_key());
    let rows = extend(&mut chain, 5);
    let right = line(&chain);
    for (from, to) in [
        ("\"sequence\":5", "\"sequence\":4"),
        ("\"chain\":\"a\"", "\"chain\":\"b\""),
        ("2026-", "2025-"),
        ("\"v\":1", "\"v\":2"),
        ("\"key\":\"old\"", "\"key\":\"lost\""),
        ("\"mac\":\"", "\"mac\":\"0"),
        ("\"signature\":\"", "\"signature\":\"0"),
        ("{", "[{"),
    ] {
        let forged = right.replacen(from, to, 1);
        assert_ne!(forged, right);
        let (findings, _) = verify_with(old_key(), &[right.clone(), forged], &rows);
        assert_eq!(words_of(&findings), ["bad_checkpoint line=2"], "{from}");
    }
    let other = Checkpoint::parse(&right).unwrap();
    assert_eq!(other.check(&both_keys()).unwrap(), ("a", chain.head()));
    let unknown = ledger::keys::KeyRing::parse(NEW).unwrap();
    assert_eq!(other.check(&unknown), Err(CheckpointError::UnknownKey("old".to_owned())));
}

#[test]
fn a_checkpoint_is_due_after_a_minute_or_a_thousand_rows() {
    let head = |sequence| Head { sequence, mac: [0; 32] };
    let mut pace = Pace::new(head(10), start());
    let after = |seconds| start() + TimeDelta::seconds(seconds);
    for (sequence, seconds, expected) in [
        (10, 0, false),
        (10, 3600, false),
        (11, 59, false),
        (11, 60, true),
        (1009, 0, false),
        (1010, 0, true),
        (11, -5, true),
    ] {
        assert_eq!(pace.is_due(head(sequence), after(seconds)), expected, "{sequence} {seconds}");
    }
    pace.taken(head(1010), after(50));
    assert!(!pace.is_due(head(1011), after(109)));
    assert!(pace.is_due(head(1011), after(110)));
}

#[tokio::test]
async fn a_torn_line_in_the_file_swallows_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoints");
    std::fs::write(&path, "{\"at\":\"2026").unwrap();
    let mut chain = Chain::new("a", old_key());
    let rows = extend(&mut chain, 2);
    let sink = FileSink::open(&path).await.unwrap();
    let checkpoint = Checkpoint::make(&old_key(), "a", chain.head(), start());
    sink.put(&checkpoint).await.unwrap();
    sink.put(&checkpoint).await.unwrap();
    let lines: Vec<_> = std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines[1..], [checkpoint.to_line(), checkpoint.to_line()]);
    assert_eq!(words_of(&verify_with(old_key(), &lines, &rows).0), ["bad_checkpoint line=1"]);
}
