//! The rules of break-glass sessions (RBAC V2 design, I-4 and section 6), regardless of who wrote the session.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::TimeDelta;

use super::census::BREAK_GLASS;
use super::grant::Span;

/// The longest time that a session lasts.
pub const LONGEST: TimeDelta = TimeDelta::hours(4);

/// Who may have a session. A session row of any other admin grants nothing: write access to the table does not decide
/// who may break glass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakGlassRules {
    /// The groups whose members may have one.
    pub eligible: BTreeSet<Arc<str>>,
}

impl Default for BreakGlassRules {
    /// The groups of the design, section 6.
    fn default() -> BreakGlassRules {
        BreakGlassRules { eligible: ["raxx-platform-admins", BREAK_GLASS].map(Arc::from).into() }
    }
}

impl BreakGlassRules {
    /// Whether a member of `groups` may have a session.
    pub fn allow(&self, groups: &BTreeSet<Arc<str>>) -> bool {
        !self.eligible.is_disjoint(groups)
    }
}

/// The span of a session with that row: it ends after [`LONGEST`] at the latest.
pub fn capped(row: Span) -> Span {
    let latest = row.starts.and_then(|starts| starts.checked_add_signed(LONGEST));
    Span { ends: row.ends.zip(latest).map(|(ends, latest)| ends.min(latest)), ..row }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_of_ten_years_is_one_of_four_hours() {
        let start = "2026-03-29T12:00:00Z".parse().unwrap();
        let row = |hours| Span { starts: Some(start), ends: Some(start + TimeDelta::hours(hours)) };
        for (hours, capped_at) in [(1, 1), (4, 4), (5, 4), (87_600, 4)] {
            assert_eq!(capped(row(hours)), row(capped_at), "{hours} h");
        }
        let without_start = Span { starts: None, ..row(1) };
        assert_eq!(capped(without_start).ends, None, "nothing is granted by a row without a start");
    }

    #[test]
    fn only_members_of_the_eligible_groups_may_have_one() {
        let rules = BreakGlassRules::default();
        let groups = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
        assert!(rules.allow(&groups(&["raxx-platform-admins"])));
        assert!(rules.allow(&groups(&["ops", "break-glass"])));
        assert!(!rules.allow(&groups(&["ops", "Break-Glass", "raxx-platform-admins "])));
        assert!(!rules.allow(&groups(&[])));
    }
}
