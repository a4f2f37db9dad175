//! Spans of time as people write them: `90m`, `8h`, `7d`.

use chrono::TimeDelta;

/// The form of a span, for messages.
pub const FORM: &str = "a span like `90m`, `8h` or `7d`";

/// The span of a text; `None` if it has another form, is zero, or is too large.
pub fn parse(text: &str) -> Option<TimeDelta> {
    let unit = text.chars().next_back()?;
    let count = text.strip_suffix(unit)?;
    if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count = count.parse().ok().filter(|count: &i64| *count > 0)?;
    match unit {
        'm' => TimeDelta::try_minutes(count),
        'h' => TimeDelta::try_hours(count),
        'd' => TimeDelta::try_days(count),
        _ => None,
    }
}

/// A span in the largest unit of which it is a whole number.
pub fn in_words(span: TimeDelta) -> String {
    let minutes = span.num_minutes();
    match (minutes % (24 * 60), minutes % 60) {
        (0, _) if minutes > 0 => format!("{}d", minutes / (24 * 60)),
        (_, 0) if minutes > 0 => format!("{}h", minutes / 60),
        _ => format!("{minutes}m"),
    }
}

/// The unit of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Milliseconds,
    Seconds,
    Minutes,
    Hours,
    Days,
}

impl Unit {
    const ALL: [Unit; 5] = [Unit::Milliseconds, Unit::Seconds, Unit::Minutes, Unit::Hours, Unit::Days];

    /// The plural.
    pub const fn word(self) -> &'static str {
        match self {
            Unit::Milliseconds => "milliseconds",
            Unit::Seconds => "seconds",
            Unit::Minutes => "minutes",
            Unit::Hours => "hours",
            Unit::Days => "days",
        }
    }

    const fn letters(self) -> &'static str {
        match self {
            Unit::Milliseconds => "ms",
            Unit::Seconds => "s",
            Unit::Minutes => "m",
            Unit::Hours => "h",
            Unit::Days => "d",
        }
    }

    const fn milliseconds(self) -> u64 {
        match self {
            Unit::Milliseconds => 1,
            Unit::Seconds => 1_000,
            Unit::Minutes => 60_000,
            Unit::Hours => 3_600_000,
            Unit::Days => 86_400_000,
        }
    }

    /// The number of units in a text: `90s`, `30m`, `24h`, `7d`, `500ms`. A number alone is in the unit itself.
    ///
    /// # Errors
    ///
    /// The text has another form, is too large, or is not a whole number of the unit. The error is a phrase that begins
    /// with `must`.
    pub fn count_in(self, text: &str) -> Result<u64, String> {
        let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
        let (count, letters) = text.split_at(digits);
        let unit = match letters {
            "" => Some(self),
            letters => Unit::ALL.into_iter().find(|unit| unit.letters() == letters),
        };
        let word = self.word();
        let malformed =
            || format!("must be a number of {word}, or text with a unit as `90s`, `30m`, `24h`, `7d`");
        let (Some(unit), Ok(count)) = (unit, count.parse::<u64>()) else { return Err(malformed()) };
        let whole = count.checked_mul(unit.milliseconds()).ok_or_else(malformed)?;
        if whole % self.milliseconds() != 0 {
            return Err(format!("must be a whole number of {word}, which {text} is not"));
        }
        Ok(whole / self.milliseconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_unit_that_is_asked_for() {
        for (unit, text, count) in [
            (Unit::Milliseconds, "1500", 1_500),
            (Unit::Milliseconds, "2s", 2_000),
            (Unit::Milliseconds, "500ms", 500),
            (Unit::Seconds, "90", 90),
            (Unit::Seconds, "30m", 1_800),
            (Unit::Seconds, "3000ms", 3),
            (Unit::Minutes, "24h", 1_440),
            (Unit::Hours, "7d", 168),
            (Unit::Days, "48h", 2),
            (Unit::Days, "0", 0),
        ] {
            assert_eq!(unit.count_in(text), Ok(count), "{text} in {}", unit.word());
        }
        for (unit, text) in [
            (Unit::Seconds, "500ms"),
            (Unit::Days, "36h"),
            (Unit::Minutes, ""),
            (Unit::Minutes, "h"),
            (Unit::Minutes, "-1h"),
            (Unit::Minutes, "1.5h"),
            (Unit::Minutes, "1 h"),
            (Unit::Minutes, "1H"),
            (Unit::Minutes, "1w"),
            (Unit::Minutes, "18446744073709551615d"),
            (Unit::Minutes, "99999999999999999999m"),
        ] {
            assert!(unit.count_in(text).is_err_and(|error| error.starts_with("must ")), "{text}");
        }
    }

    #[test]
    fn a_span_has_a_count_and_a_unit() {
        for (text, minutes) in [("1m", 1), ("90m", 90), ("8h", 480), ("7d", 10_080), ("36500d", 52_560_000)] {
            assert_eq!(parse(text), Some(TimeDelta::minutes(minutes)), "{text}");
        }
        for text in [
            "",
            "h",
            "0h",
            "-1h",
            "+1h",
            "8",
            "8w",
            "8 h",
            "1.5h",
            "9223372036854775807d",
            "8\u{e9}",
            "8H",
            " 8h",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn words_are_read_back() {
        for text in ["1m", "90m", "8h", "7d", "1d"] {
            assert_eq!(parse(text).map(in_words).as_deref(), Some(text));
        }
        assert_eq!(in_words(TimeDelta::minutes(120)), "2h");
    }
}
