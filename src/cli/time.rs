//! Times as arguments.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use policy::span::Unit;

use crate::settings::MAX_DAYS;

/// A time from a text; a day means its beginning, in UTC.
pub(super) fn time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(day.and_time(NaiveTime::MIN).and_utc());
    }
    let time = DateTime::parse_from_rfc3339(text);
    time.map(|time| time.with_timezone(&Utc)).map_err(|_| "is neither a date nor an RFC 3339 time".to_owned())
}

/// When something ends: a time, or a span from now on like `90m`, `8h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    Time(DateTime<Utc>),
    In(TimeDelta),
}

impl Until {
    /// The moment, counted from `now`; `None` if it is out of range.
    pub(super) fn from(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Until::Time(time) => Some(time),
            Until::In(span) => now.checked_add_signed(span),
        }
    }
}

/// An end from a text.
pub(super) fn until(text: &str) -> Result<Until, String> {
    if let Ok(time) = time(text) {
        return Ok(Until::Time(time));
    }
    let span = || {
        let unit = text.chars().next_back()?;
        let count: i64 = text.strip_suffix(unit)?.parse().ok().filter(|count| *count > 0)?;
        match unit {
            'm' => TimeDelta::try_minutes(count),
            'h' => TimeDelta::try_hours(count),
            'd' => TimeDelta::try_days(count),
            _ => None,
        }
    };
    span().map(Until::In).ok_or_else(|| {
        "is neither a span like `90m`, `8h` or `7d`, nor a date, nor an RFC 3339 time".to_owned()
    })
}

/// A time in the past from a text: a time, or a span before now like `90m`, `8h`, `7d`.
pub(super) fn past(text: &str) -> Result<DateTime<Utc>, String> {
    let ago = |span| Utc::now().checked_sub_signed(span);
    match until(text)? {
        Until::Time(time) => Ok(time),
        Until::In(span) => ago(span).ok_or_else(|| "is before all times".to_owned()),
    }
}

/// A number of days, at most the longest retention: `30`, `30d`, `48h`.
pub(super) fn days(text: &str) -> Result<u32, String> {
    let count = Unit::Days.count_in(text)?;
    let fits = u32::try_from(count).ok().filter(|days| (1..=MAX_DAYS).contains(days));
    fits.ok_or_else(|| format!("must be from 1 to {MAX_DAYS} days"))
}

/// A number of seconds: `300`, `5m`.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    Unit::Seconds.count_in(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_span_or_a_time() {
        let now = time("2026-11-21T06:00:00Z").unwrap();
        let ends = |text| until(text).ok().and_then(|until| until.from(now)).map(|end| end.to_rfc3339());
        assert_eq!(ends("90m").as_deref(), Some("2026-11-21T07:30:00+00:00"));
        assert_eq!(ends("8h").as_deref(), Some("2026-11-21T14:00:00+00:00"));
        assert_eq!(ends("7d").as_deref(), Some("2026-11-28T06:00:00+00:00"));
        assert_eq!(ends("2026-12-24").as_deref(), Some("2026-12-24T00:00:00+00:00"));
        for text in
            ["", "h", "0h", "-1h", "8", "8w", "8 h", "1.5h", "9223372036854775807d", "8\u{e9}", "soon"]
        {
            assert_eq!(ends(text), None, "{text}");
        }
    }

    #[test]
    fn the_past_is_a_span_or_a_time() {
        let days_ago = |text| past(text).map(|time| (Utc::now() - time).num_days());
        assert_eq!([days_ago("7d"), days_ago("48h")], [Ok(7), Ok(2)]);
        assert_eq!(past("2026-11-21").unwrap(), time("2026-11-21").unwrap());
        for text in ["", "7", "-7d", "soon", "9223372036854775807d", "99999999999d"] {
            assert!(past(text).is_err(), "{text}");
        }
    }

    #[test]
    fn days_are_a_number_or_a_span() {
        assert_eq!([days("30"), days("30d"), days("48h")], [Ok(30), Ok(30), Ok(2)]);
        for text in ["0", "0d", "36h", "99999999", "soon", "-1", ""] {
            assert!(days(text).is_err(), "{text}");
        }
        assert_eq!(seconds("5m"), Ok(300));
    }

    #[test]
    fn a_day_is_its_beginning() {
        assert_eq!(time("2026-11-21").unwrap().to_rfc3339(), "2026-11-21T00:00:00+00:00");
        assert_eq!(time("2026-11-21T06:00:00+02:00").unwrap().to_rfc3339(), "2026-11-21T04:00:00+00:00");
        assert!(time("yesterday").is_err());
    }
}
