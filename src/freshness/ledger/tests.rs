//! The ledger against the list of all changes that there were.

use policy::identity::session_key::{Lookup, TokenForm, TokenVerifier};
use policy::ids::AdminId;
use policy::rbac::SessionHolder;
use proptest::prelude::*;
use store::control::{ControlRow, SessionChange};

use super::*;

fn session(number: u8) -> SessionId {
    SessionId::new(format!("s{number}"))
}

fn subject(number: Option<u8>) -> Subject {
    Subject::Admin { id: AdminId::new("anna"), session: number.map(session) }
}

fn reading(epoch: i64, changes: &[(i64, u8)]) -> ControlReading {
    let changes =
        changes.iter().map(|(epoch, of)| SessionChange { epoch: Epoch(*epoch), session: session(*of) });
    ControlReading {
        row: ControlRow { epoch: Epoch(epoch), rbac_v2: None, promoted: false, console_watched: true },
        changes: changes.collect(),
    }
}

fn least(ledger: &Ledger, of: Option<u8>, observed: i64) -> i64 {
    ledger.terms(&subject(of), Epoch(observed)).least.0
}

/// The drawing above.
#[test]
fn a_number_that_is_listed_concerns_its_session_and_any_other_everybody() {
    let ledger = Ledger::default();
    ledger.learn(None, &reading(41, &[]));
    assert_eq!(ledger.known(), Some(Epoch(41)));
    ledger.learn(Some(Epoch(41)), &reading(44, &[(42, 7), (44, 9)]));
    assert_eq!(least(&ledger, None, 44), 43);
    assert_eq!(least(&ledger, Some(7), 44), 43);
    assert_eq!(least(&ledger, Some(9), 44), 44);
    ledger.learn(Some(Epoch(44)), &reading(46, &[(45, 7), (46, 7), (46, 8)]));
    assert_eq!(least(&ledger, None, 46), 43);
    assert_eq!(least(&ledger, Some(7), 46), 46);
    assert_eq!(least(&ledger, Some(8), 46), 46);
    assert_eq!(least(&ledger, Some(9), 46), 44);
}

/// An answer about a session key is about the row that it was read from; if that is not known, about all of them.
#[test]
fn a_session_key_is_concerned_by_its_row_or_by_every_row() {
    let ledger = Ledger::default();
    ledger.learn(None, &reading(41, &[]));
    ledger.learn(Some(Epoch(41)), &reading(44, &[(42, 7), (43, 9), (44, 9)]));
    let least = |concern| ledger.state().least(concern, Epoch(44)).0;
    assert_eq!(least(Concern::Row(RowDigest::of("s7"))), 42);
    assert_eq!(least(Concern::Row(RowDigest::of("s8"))), 41);
    assert_eq!(least(Concern::AnySession), 44);

    let verifier = TokenVerifier {
        form: TokenForm::Opaque,
        lookup: Lookup::Value,
        key_prefix: String::new(),
        payload: None,
    };
    let key = verifier.verify("a-token-of-anna", chrono::DateTime::UNIX_EPOCH).unwrap();
    let subject = Subject::Session(key.clone());
    let holder =
        |row| SessionHolder { admin: AdminId::new("anna"), id: key.shown_id(None), row, login: None };
    let access = |session| Access { session, ..Access::nothing(Epoch(43)) };
    let terms = ledger.terms(&subject, Epoch(44));
    assert_eq!(terms.least, Epoch(44), "not read yet");
    let least_of = |access: &Access| ledger.terms_of(access, &subject, Epoch(44), terms).least.0;
    assert_eq!(least_of(&access(Some(holder(Some(RowDigest::of("s7")))))), 42);
    assert_eq!(least_of(&access(Some(holder(None)))), 44, "read from a row of unknown key");
    assert_eq!(least_of(&access(None)), 44, "it had no holder when it was read");
}

#[test]
fn what_is_not_accounted_for_needs_an_answer_of_its_own_time() {
    let ledger = Ledger::default();
    assert_eq!(least(&ledger, None, 5), 5, "before the first read");
    ledger.learn(None, &reading(5, &[]));
    assert_eq!(least(&ledger, None, 9), 9, "observed by a reader that did not record it");
}

/// Two readers: the slower has nothing new, or only a part.
#[test]
fn a_read_that_comes_late_changes_nothing() {
    let ledger = Ledger::default();
    ledger.learn(None, &reading(1, &[]));
    ledger.learn(Some(Epoch(1)), &reading(4, &[(2, 1), (3, 2), (4, 3)]));
    ledger.learn(Some(Epoch(1)), &reading(3, &[(2, 1), (3, 2)]));
    ledger.learn(None, &reading(2, &[]));
    assert_eq!((least(&ledger, None, 4), least(&ledger, Some(3), 4)), (1, 4));
    // Begun when 1 was known: what it lists of 2 to 4 is known already.
    ledger.learn(Some(Epoch(1)), &reading(5, &[(2, 1), (3, 2), (4, 3), (5, 1)]));
    assert_eq!((least(&ledger, None, 5), least(&ledger, Some(1), 5)), (1, 5));
}

#[test]
fn a_database_that_went_back_makes_all_worthless() {
    let ledger = Ledger::default();
    ledger.learn(None, &reading(10, &[]));
    let before = ledger.terms(&subject(None), Epoch(10));
    ledger.learn(Some(Epoch(10)), &reading(8, &[]));
    let after = ledger.terms(&subject(None), Epoch(8));
    assert_ne!(before.generation, after.generation);
    assert_eq!(after.least, Epoch(8));
    // A read that was under way then, and lists nothing of 9 and 10.
    ledger.learn(Some(Epoch(10)), &reading(12, &[(11, 1), (12, 2)]));
    assert_eq!(least(&ledger, None, 12), 10);
}

#[test]
fn more_sessions_than_are_remembered_concern_everybody() {
    let ledger = Ledger::default();
    ledger.learn(None, &reading(0, &[]));
    let most = i64::try_from(MOST).unwrap();
    let changes = (1..=most + 1)
        .map(|epoch| SessionChange { epoch: Epoch(epoch), session: SessionId::new(epoch.to_string()) });
    let row = reading(most + 1, &[]).row;
    ledger.learn(Some(Epoch(0)), &ControlReading { row, changes: changes.collect() });
    assert_eq!(least(&ledger, None, most + 1), most + 1);
}

/// What happens to the tables, or to a reader.
#[derive(Clone, Debug)]
enum Step {
    /// Every change concerns everybody, or some sessions.
    Change(Vec<u8>),
    /// The list is cut down to the newest.
    Forget(usize),
    /// A reader reads, and takes note after so many further steps.
    Read(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(0..4_u8, 1..3).prop_map(Step::Change),
        1 => Just(Step::Change(Vec::new())),
        1 => (0..3_usize).prop_map(Step::Forget),
        4 => (0..4_usize).prop_map(Step::Read),
    ]
}

proptest! {
    /// Nothing of a subject has changed since an answer that is taken for current; and no answer is
    /// dropped for a change of another's session, unless that was forgotten before it was read.
    #[test]
    fn no_change_is_missed(steps in prop::collection::vec(step(), 0..60)) {
        let ledger = Ledger::default();
        let mut changes: Vec<Vec<u8>> = vec![Vec::new()];
        let mut forgotten = 0;
        let mut under_way: Vec<(usize, Option<Epoch>, ControlReading)> = Vec::new();
        for step in steps {
            let epoch = i64::try_from(changes.len()).unwrap() - 1;
            match step {
                Step::Change(sessions) => changes.push(sessions),
                Step::Forget(kept) => forgotten = changes.len().saturating_sub(kept),
                Step::Read(steps) => {
                    let asked = ledger.known();
                    let since = asked.map_or(i64::MAX, |asked| asked.0);
                    let listed: Vec<(i64, u8)> = (0_i64..)
                        .zip(&changes)
                        .skip(forgotten)
                        .filter(|(epoch, _)| *epoch > since)
                        .flat_map(|(epoch, of)| of.iter().map(move |of| (epoch, *of)))
                        .collect();
                    under_way.push((steps, asked, reading(epoch, &listed)));
                }
            }
            for (left, asked, reading) in &mut under_way {
                if *left == 0 {
                    ledger.learn(*asked, reading);
                }
                *left = left.wrapping_sub(1);
            }
            under_way.retain(|(left, ..)| *left < usize::MAX / 2);
            let Some(known) = ledger.known() else { continue };
            for of in [None, Some(0), Some(1), Some(2), Some(3)] {
                let least = least(&ledger, of, known.0);
                prop_assert!(least <= known.0);
                for (number, concerned) in (0_i64..).zip(&changes).filter(|(number, _)| *number <= known.0) {
                    let concerns = concerned.is_empty() || of.is_some_and(|of| concerned.contains(&of));
                    prop_assert!(!concerns || number <= least || number == 0, "{of:?}: {number} is after {least}");
                }
            }
        }
    }
}
