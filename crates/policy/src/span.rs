//! Spans of time as people write them: `90m`, `8h`, `7d`.

use chrono::TimeDelta;

/// What a span may look like, for messages.
pub const FORM: &str = "a span like `90m`, `8h` or `7d`";

/// The span of a text; `None` if it has another form, is zero, or is beyond all times.
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

/// A span in the largest unit that it is a whole number of.
pub fn in_words(span: TimeDelta) -> String {
    let minutes = span.num_minutes();
    match (minutes % (24 * 60), minutes % 60) {
        (0, _) if minutes > 0 => format!("{}d", minutes / (24 * 60)),
        (_, 0) if minutes > 0 => format!("{}h", minutes / 60),
        _ => format!("{minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
