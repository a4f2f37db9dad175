//! Times as arguments.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

/// A time from a text; a day means its beginning, in UTC.
pub(super) fn time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(day.and_time(NaiveTime::MIN).and_utc());
    }
    let time = DateTime::parse_from_rfc3339(text);
    time.map(|time| time.with_timezone(&Utc)).map_err(|_| "is neither a date nor an RFC 3339 time".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_its_beginning() {
        assert_eq!(time("2026-11-21").unwrap().to_rfc3339(), "2026-11-21T00:00:00+00:00");
        assert_eq!(time("2026-11-21T06:00:00+02:00").unwrap().to_rfc3339(), "2026-11-21T04:00:00+00:00");
        assert!(time("yesterday").is_err());
    }
}
