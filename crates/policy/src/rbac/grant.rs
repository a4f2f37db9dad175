//! Grants: why a principal holds something. Each grant has an origin and a time.
//!
//! Access is the union of the live grants. Ending one never ends another.

use std::fmt;

use chrono::{DateTime, Utc};

/// The origin of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A membership without an end: a row of `rbac_user_groups`.
    Direct,
    /// A membership with an end: a row of `gate_grants`.
    Timed,
    /// The same, for an approved request.
    Request,
    /// A role for one ticket and one customer: a row of `rbac_ticket_grants`.
    Ticket,
    /// The roles of the break-glass group: a row of `rbac_break_glass_sessions`.
    BreakGlass,
}

impl Origin {
    /// Every origin.
    pub const ALL: [Origin; 5] =
        [Origin::Direct, Origin::Timed, Origin::Request, Origin::Ticket, Origin::BreakGlass];

    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Origin::Direct => "direct",
            Origin::Timed => "timed",
            Origin::Request => "request",
            Origin::Ticket => "ticket",
            Origin::BreakGlass => "break_glass",
        }
    }

    /// The origin of a stable word.
    pub fn parse(word: &str) -> Option<Origin> {
        Origin::ALL.into_iter().find(|origin| origin.word() == word)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The start and the end of a grant, as stated by its row; `None` if the value cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub starts: Option<DateTime<Utc>>,
    pub ends: Option<DateTime<Utc>>,
}

/// Whether something is granted at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Live until that time.
    Live(DateTime<Utc>),
    /// Live from that time on.
    Later(DateTime<Utc>),
    Over,
    /// Its start or its end cannot be read, so it grants nothing.
    NoStart,
    NoEnd,
}

impl Span {
    /// Whether it is live at `now`. At the end itself it is no longer live.
    pub fn at(self, now: DateTime<Utc>) -> Liveness {
        match (self.starts, self.ends) {
            (None, _) => Liveness::NoStart,
            (_, None) => Liveness::NoEnd,
            (Some(starts), Some(ends)) if ends <= starts || ends <= now => Liveness::Over,
            (Some(starts), _) if starts > now => Liveness::Later(starts),
            (_, Some(ends)) => Liveness::Live(ends),
        }
    }

    /// Whether it is live at `now`.
    pub fn is_live(self, now: DateTime<Utc>) -> bool {
        matches!(self.at(now), Liveness::Live(_))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_span_is_live_from_its_start_until_just_before_its_end() {
        let noon: DateTime<Utc> = "2026-03-29T12:00:00Z".parse().unwrap();
        let at = |minutes: i64| noon + TimeDelta::minutes(minutes);
        let table = [
            (Some(-10), Some(10), Liveness::Live(at(10))),
            (Some(0), Some(10), Liveness::Live(at(10))),
            (Some(-10), Some(0), Liveness::Over),
            (Some(-10), Some(-5), Liveness::Over),
            (Some(5), Some(10), Liveness::Later(at(5))),
            (Some(10), Some(10), Liveness::Over),
            (Some(10), Some(5), Liveness::Over),
            (None, Some(10), Liveness::NoStart),
            (Some(-10), None, Liveness::NoEnd),
            (None, None, Liveness::NoStart),
        ];
        for (starts, ends, expected) in table {
            let span = Span { starts: starts.map(at), ends: ends.map(at) };
            assert_eq!(span.at(noon), expected, "{starts:?} to {ends:?}");
        }
    }

    #[test]
    fn each_word_is_that_of_one_origin() {
        for origin in Origin::ALL {
            assert_eq!(Origin::parse(origin.word()), Some(origin));
        }
        assert_eq!(Origin::parse("Direct"), None);
    }
}
