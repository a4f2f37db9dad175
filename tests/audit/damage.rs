//! Every kind of damage, at the first row, in the middle and at the last.

use ledger::AuditEvent;
use ledger::chain::{Chain, Link};
use ledger::verify::StoredRow;

use crate::support::*;

const COUNT: i64 = 9;

fn link(row: &mut StoredRow) -> &mut Link {
    row.link.as_mut().unwrap()
}

fn at(rows: &mut [StoredRow], sequence: i64) -> &mut StoredRow {
    rows.iter_mut().find(|row| row.link.as_ref().unwrap().sequence == sequence).unwrap()
}

/// Rows as somebody without the key would make them: everything is right except the mac.
fn forged(sequence: i64) -> StoredRow {
    let key = ledger::keys::KeyRing::parse("old:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
    let mut chain = Chain::new("a", key);
    let mut row = stored(chain.seal(denial(1000 + sequence.rem_euclid(1000))));
    link(&mut row).sequence = sequence;
    row
}

fn damaged(change: impl FnOnce(&mut Vec<StoredRow>)) -> Vec<String> {
    let mut rows = rows("a", COUNT);
    change(&mut rows);
    words_of(&verify(&rows))
}

#[test]
fn an_untouched_chain_is_clean() {
    for count in [0, 1, 2, 63, 64, 65, 200] {
        let (findings, summary) = verify_with(old_key(), &[], &rows("a", count));
        assert_eq!(words_of(&findings), [""; 0]);
        assert!(summary.is_clean());
        assert_eq!((summary.rows, summary.chains), (count.cast_unsigned(), u64::from(count > 0)));
        assert_eq!(summary.first_at, (count > 0).then(|| denial(1).occurred_at));
        assert_eq!(summary.last_at, (count > 0).then(|| denial(count).occurred_at));
    }
}

#[test]
fn edited() {
    for place in [1, 5, COUNT] {
        let expected = [format!("a {place} edited")];
        let field = damaged(|rows| at(rows, place).record.reason = Some("nothing".into()));
        assert_eq!(field, expected, "a field");
        let personal = damaged(|rows| at(rows, place).record.path = None);
        assert_eq!(personal, expected, "a personal field");
        let salt = damaged(|rows| link(at(rows, place)).personal_salt = None);
        assert_eq!(salt, expected, "the salt");
        let hash = damaged(|rows| link(at(rows, place)).content_hash = "00".repeat(32));
        assert_eq!(hash, expected, "the hash");
        let consistent = damaged(|rows| {
            let other = forged(place);
            let mac = link(at(rows, place)).mac.clone();
            *at(rows, place) = other;
            link(at(rows, place)).mac = mac;
        });
        if place < COUNT {
            assert_eq!(consistent, expected, "content and hash, the mac kept");
            let mac = damaged(|rows| link(at(rows, place)).mac = "00".repeat(32));
            assert_eq!(mac, expected, "the mac");
            assert_eq!(damaged(|rows| *at(rows, place) = forged(place)), expected, "the whole row");
        } else {
            // Nothing follows, so a last row that is whole and has no place could as well have been appended.
            assert_eq!(consistent, ["a 9 inserted"]);
        }
    }
}

#[test]
fn two_neighbours_edited() {
    for place in [1, 5, COUNT - 1] {
        let both = damaged(|rows| {
            at(rows, place).record.reason = None;
            at(rows, place + 1).record.reason = None;
        });
        assert_eq!(both, [format!("a {place} edited"), format!("a {} edited", place + 1)]);
    }
}

#[test]
fn removed() {
    for (first, last) in [(1, 1), (5, 5), (1, 3), (4, 6), (2, 8), (1, 8)] {
        let left =
            damaged(|rows| rows.retain(|row| !(first..=last).contains(&row.link.as_ref().unwrap().sequence)));
        let range = if first == last { format!("{first}") } else { format!("{first}-{last}") };
        assert_eq!(left, [format!("a {range} removed")]);
    }
    let ends = [(1, "a 1 removed"), (5, "a 5 removed")];
    for (gap, expected) in ends {
        let renumbered = damaged(|rows| {
            rows.retain(|row| row.link.as_ref().unwrap().sequence != gap);
            rows.iter_mut().map(link).filter(|link| link.sequence > gap).for_each(|link| link.sequence -= 1);
        });
        let moved = format!("a {gap}-8 reordered belongs_at={}", gap + 1);
        assert_eq!(renumbered, [expected.to_owned(), moved]);
    }
}

#[test]
fn a_long_gap_and_one_in_a_long_chain() {
    let mut rows = rows("a", 500);
    rows.retain(|row| !(100..=300).contains(&row.link.as_ref().unwrap().sequence));
    at(&mut rows, 400).record.reason = None;
    assert_eq!(words_of(&verify(&rows)), ["a 100-300 removed", "a 400 edited"]);
}

#[test]
fn inserted() {
    for place in [1, 5, COUNT] {
        let double = damaged(|rows| rows.insert(0, forged(place)));
        assert_eq!(double, [format!("a {place} inserted")], "under a number that is taken");
        let copy = damaged(|rows| {
            let mut copy = at(rows, place).clone();
            copy.record.id = uuid::Uuid::now_v7();
            rows.insert(0, copy);
        });
        assert_eq!(copy, [format!("a {place} inserted")], "a copy");
        let pushed = damaged(|rows| {
            rows.iter_mut()
                .map(link)
                .filter(|link| link.sequence >= place)
                .for_each(|link| link.sequence += 1);
            rows.push(forged(place));
        });
        let range = if place == COUNT { "10".to_owned() } else { format!("{}-10", place + 1) };
        let moved = format!("a {range} reordered belongs_at={place}");
        assert_eq!(pushed, [format!("a {place} inserted"), moved], "the rest renumbered");
    }
    let appended = damaged(|rows| rows.extend([forged(10), forged(11)]));
    assert_eq!(appended, ["a 10 inserted", "a 11 inserted"]);
    let before = damaged(|rows| rows.push(forged(0)));
    assert_eq!(before, ["a 0 inserted"]);
}

#[test]
fn renumbering_is_reported_once_however_long_the_chain() {
    let mut rows = rows("a", 300);
    rows.iter_mut().map(link).filter(|link| link.sequence >= 50).for_each(|link| link.sequence += 1);
    rows.push(forged(50));
    assert_eq!(words_of(&verify(&rows)), ["a 50 inserted", "a 51-301 reordered belongs_at=50"]);
}

#[test]
fn numbers_at_the_ends_of_their_range_are_only_findings() {
    for number in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX] {
        for place in [1, 5, COUNT] {
            let found = damaged(|rows| {
                let mut copy = at(rows, place).clone();
                link(&mut copy).sequence = number;
                rows.extend([forged(number), copy]);
                link(at(rows, place)).sequence = number;
            });
            assert!(found.iter().any(|one| one.starts_with(&format!("a {number} "))), "{found:?}");
        }
    }
}

#[test]
fn a_chain_of_nothing_but_damage_ends() {
    let mut rows = rows("a", 300);
    rows.iter_mut().for_each(|row| row.record.reason = None);
    let words = words_of(&verify(&rows));
    assert_eq!(words.len(), 300);
    assert!(words.iter().all(|word| word.ends_with("edited")));
}

#[test]
fn reordered() {
    for (one, other) in [(1, 2), (4, 5), (8, 9), (1, 9), (3, 7)] {
        let swapped = damaged(|rows| {
            let (a, b) = (one - 1, other - 1);
            link(&mut rows[usize::try_from(a).unwrap()]).sequence = other;
            link(&mut rows[usize::try_from(b).unwrap()]).sequence = one;
        });
        let expected = [
            format!("a {one} reordered belongs_at={other}"),
            format!("a {other} reordered belongs_at={one}"),
        ];
        assert_eq!(swapped, expected);
    }
}

#[test]
fn unsealed_and_unknown_keys() {
    for place in [1, 5, COUNT] {
        let bare = damaged(|rows| rows.push(StoredRow { record: denial(0), link: None, erased_by: None }));
        assert_eq!(bare, ["unsealed"]);
        let unknown = damaged(|rows| link(at(rows, place)).key_id = "lost".to_owned());
        assert_eq!(unknown, [format!("a {place} unknown_key key=lost")]);
        let other = damaged(|rows| link(at(rows, place)).key_id = "new".to_owned());
        assert_eq!(other.len(), 1, "{other:?}");
    }
    let mut chain = Chain::new("a", old_key());
    let mut rows = extend(&mut chain, 100);
    rows.extend(extend(&mut Chain::resume("a", both_keys(), chain.head()), 100));
    assert_eq!(words_of(&verify(&rows)), [""; 0], "rotated in the middle");
    let (findings, _) = verify_with(old_key(), &[], &rows);
    assert_eq!(words_of(&findings), ["a 101-200 unknown_key key=new"]);
    let (findings, _) = verify_with(support_new_only(), &[], &rows);
    assert_eq!(words_of(&findings), ["a 1-100 unknown_key key=old"]);
}

fn support_new_only() -> ledger::keys::KeyRing {
    ledger::keys::KeyRing::parse(NEW).unwrap()
}

#[test]
fn two_chains_do_not_disturb_each_other() {
    let (mut a, mut b) = (Chain::new("a", old_key()), Chain::new("b", old_key()));
    let mut rows = Vec::new();
    for _ in 0..5 {
        rows.extend(extend(&mut a, 1));
        rows.extend(extend(&mut b, 2));
    }
    assert_eq!(words_of(&verify(&rows)), [""; 0]);
    let mut moved = rows.clone();
    moved.iter_mut().map(link).filter(|link| link.chain_id == "a" && link.sequence == 5).for_each(|link| {
        link.chain_id = "b".to_owned();
        link.sequence = 11;
    });
    assert_eq!(words_of(&verify(&moved)), ["b 11 inserted"]);
    rows.iter_mut()
        .filter(|row| row.link.as_ref().unwrap().sequence == 3)
        .for_each(|row| row.record.epoch = None);
    assert_eq!(words_of(&verify(&rows)), ["a 3 edited", "b 3 edited"]);
}

fn erase(row: &mut StoredRow, event: &str) {
    let record = &mut row.record;
    (record.actor_id, record.session_id, record.client_address, record.path) = (None, None, None, None);
    link(row).personal_salt = None;
    row.erased_by = Some(event.to_owned());
}

#[test]
fn erasure() {
    for place in [1, 5, COUNT] {
        let with_event = |named: u64, blanked: &[i64]| {
            let mut rows = rows("a", COUNT);
            let mut control = Chain::new("control", old_key());
            let event = event(
                &mut control,
                AuditEvent::AdminErased { rows: named, customer_rows: 0, by: "operator".to_owned() },
            );
            let id = event.record.id.to_string();
            rows.push(event);
            for place in blanked {
                erase(&mut rows[usize::try_from(*place - 1).unwrap()], &id);
            }
            rows
        };
        let (findings, summary) = verify_with(old_key(), &[], &with_event(1, &[place]));
        assert_eq!((words_of(&findings), summary.erased), (vec![], 1), "legitimate");

        let too_many = with_event(1, &[place, 3]);
        assert_eq!(words_of(&verify(&too_many)), ["erasure_unaccounted found=2 expected=1"]);
        let too_few = with_event(2, &[place]);
        assert_eq!(words_of(&verify(&too_few)), ["erasure_unaccounted found=1 expected=2"]);

        let mut returned = with_event(1, &[place]);
        at(&mut returned[..9], place).record.actor_id = Some("somebody else".to_owned());
        assert_eq!(words_of(&verify(&returned)), [format!("a {place} edited")]);

        let forged = damaged(|rows| erase(at(rows, place), &uuid::Uuid::now_v7().to_string()));
        assert_eq!(forged, ["erasure_unaccounted found=1 expected=null"]);
        let mut raised = with_event(1, &[place, 3]);
        raised[9].record.detail = Some(serde_json::json!({ "rows": 2 }));
        assert_eq!(
            words_of(&verify(&raised)),
            ["control 1 edited", "erasure_unaccounted found=2 expected=null"]
        );
    }
}
