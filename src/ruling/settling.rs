//! Which of several session cookies counts.
//!
//! A browser sends every cookie of the name that Console, an older Console or a sibling on the parent domain has set.
//! One that does not verify is ignored. Between cookies of two people the gate never chooses: an attacker who can plant
//! the second cookie would choose who the caller is.

use chrono::{DateTime, Utc};

/// A session cookie that verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verified {
    /// Its place among the session cookies.
    pub index: usize,
    /// When the cookie was signed, where it has a timestamp.
    pub issued_at: Option<DateTime<Utc>>,
    /// The admin's id; `None` for a session without a login.
    pub admin: Option<String>,
}

/// The place of the cookie that counts: the newest of the only person's or, without a person, the newest of all; of
/// several that are equally new, the first, which Console would read too. An error if they belong to two people.
pub(super) fn choose(verified: &[Verified]) -> Result<Option<usize>, TwoPeople> {
    let mut of_people = verified.iter().filter(|one| one.admin.is_some());
    let (first, is_anybodys) = match of_people.next() {
        Some(first) if of_people.any(|other| other.admin != first.admin) => return Err(TwoPeople),
        Some(first) => (Some(first), true),
        None => (verified.first(), false),
    };
    let candidates = verified.iter().filter(|one| one.admin.is_some() == is_anybodys);
    let newer = |newest: &Verified, one: &Verified| one.issued_at > newest.issued_at;
    Ok(candidates
        .fold(first, |newest, one| newest.map(|newest| if newer(newest, one) { one } else { newest }))
        .map(|one| one.index))
}

/// The cookies belong to two people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TwoPeople;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_persons_newest_session_counts_and_two_peoples_never() {
        let one = |index, seconds: Option<i64>, admin: Option<&str>| Verified {
            index,
            issued_at: seconds.map(|seconds| DateTime::from_timestamp(seconds, 0).unwrap()),
            admin: admin.map(str::to_owned),
        };
        type Row<'t> = (&'t [Verified], Result<Option<usize>, TwoPeople>);
        let table: [Row<'_>; 12] = [
            (&[], Ok(None)),
            (&[one(1, Some(5), Some("anna"))], Ok(Some(1))),
            (&[one(0, Some(5), Some("anna")), one(1, Some(5), Some("ben"))], Err(TwoPeople)),
            (
                &[one(0, None, Some("anna")), one(1, None, Some("anna")), one(2, None, Some("ben"))],
                Err(TwoPeople),
            ),
            (&[one(0, Some(5), Some("anna")), one(2, Some(6), Some("anna"))], Ok(Some(2))),
            (&[one(0, Some(6), Some("anna")), one(2, Some(5), Some("anna"))], Ok(Some(0))),
            (&[one(1, Some(5), Some("anna")), one(2, Some(5), Some("anna"))], Ok(Some(1))),
            (&[one(0, Some(9), None), one(1, Some(5), Some("anna"))], Ok(Some(1))),
            (&[one(0, Some(5), Some("anna")), one(1, Some(9), None)], Ok(Some(0))),
            (&[one(0, Some(5), None), one(1, Some(6), None)], Ok(Some(1))),
            (&[one(3, None, None), one(4, None, None)], Ok(Some(3))),
            (&[one(3, None, Some("anna")), one(4, None, Some("anna"))], Ok(Some(3))),
        ];
        for (verified, expected) in table {
            assert_eq!(choose(verified), expected, "{verified:?}");
        }
    }
}
