//! Times, addresses and counts as a page has them.

use chrono::{DateTime, TimeDelta, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::PREFIX;

/// A value that a template hands over: itself, or by reference.
pub(crate) trait Given<T> {
    fn given(&self) -> T;
}

impl Given<DateTime<Utc>> for DateTime<Utc> {
    fn given(&self) -> DateTime<Utc> {
        *self
    }
}

impl Given<Option<DateTime<Utc>>> for Option<DateTime<Utc>> {
    fn given(&self) -> Option<DateTime<Utc>> {
        *self
    }
}

impl Given<i64> for i64 {
    fn given(&self) -> i64 {
        *self
    }
}

impl Given<usize> for usize {
    fn given(&self) -> usize {
        *self
    }
}

impl<T, G: Given<T>> Given<T> for &G {
    fn given(&self) -> T {
        (**self).given()
    }
}

/// What needs no escape in a part of a path, or in a value of a query.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The most characters of a name that are shown.
const MOST_NAME: usize = 80;

/// A part of an address.
pub(super) fn part(text: &str) -> String {
    utf8_percent_encode(text, PART).to_string()
}

/// The address of a page about something.
pub(super) fn place(kind: &str, name: &str) -> String {
    format!("{PREFIX}/{kind}/{}", part(name))
}

/// A name, cut where it is too long to read.
pub(super) fn name(text: &str) -> String {
    match text.char_indices().nth(MOST_NAME) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The first digits of an id or a digest.
pub(super) fn short(text: &str) -> &str {
    text.get(..8).unwrap_or(text)
}

/// The word for where a grant comes from.
pub(super) fn origin(word: &str) -> &str {
    match word {
        "direct" => "member",
        "break_glass" => "break-glass",
        other => other,
    }
}

/// A time in UTC, for a person.
pub(crate) fn exact(time: impl Given<DateTime<Utc>>) -> String {
    time.given().format("%e %b %Y %H:%M UTC").to_string().trim().to_owned()
}

/// The same, or nothing.
pub(super) fn exact_or(time: impl Given<Option<DateTime<Utc>>>, otherwise: &str) -> String {
    time.given().map_or_else(|| otherwise.to_owned(), exact)
}

/// How long ago, or how long until.
pub(crate) fn relative(now: impl Given<DateTime<Utc>>, time: impl Given<DateTime<Utc>>) -> String {
    let (now, time) = (now.given(), time.given());
    let (span, is_past) = if time <= now { (now - time, true) } else { (time - now, false) };
    let text = match span {
        span if span < TimeDelta::minutes(1) => {
            return if is_past { "just now" } else { "in a moment" }.to_owned();
        }
        span if span < TimeDelta::hours(1) => format!("{} min", span.num_minutes()),
        span if span < TimeDelta::days(2) => {
            format!("{} h {} min", span.num_hours(), span.num_minutes() % 60)
        }
        span => format!("{} days", span.num_days()),
    };
    if is_past { format!("{text} ago") } else { format!("in {text}") }
}

/// When a grant was last used, as far as that is recorded.
pub(super) fn last_use(
    now: impl Given<DateTime<Utc>>,
    last: impl Given<Option<DateTime<Utc>>>,
    known_since: impl Given<Option<DateTime<Utc>>>,
) -> String {
    match (last.given(), known_since.given()) {
        (Some(last), _) => relative(now, last),
        (None, Some(since)) => format!("no use known since {}", exact(since)),
        (None, None) => "not recorded".to_owned(),
    }
}

/// `2 h`, `30 min`, `3 days`.
pub(super) fn minutes(count: impl Given<i64>) -> String {
    let count = usize::try_from(count.given()).unwrap_or_default();
    match count {
        count if count % 1_440 == 0 && count > 0 => counted(count / 1_440, "day"),
        count if count % 60 == 0 && count > 0 => counted(count / 60, "hour"),
        count => counted(count, "minute"),
    }
}

/// `1 route`, `2 routes`.
pub(super) fn counted(count: impl Given<usize>, one: &str) -> String {
    let count = count.given();
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_counts_read_as_a_person_would_say_them() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        for (seconds, expected) in [
            (-5, "just now"),
            (-480, "8 min ago"),
            (5_280, "in 1 h 28 min"),
            (30, "in a moment"),
            (-259_200, "3 days ago"),
        ] {
            assert_eq!(relative(now, now + TimeDelta::seconds(seconds)), expected);
        }
        assert_eq!(
            [minutes(120), minutes(90), minutes(1_440), minutes(1)],
            ["2 hours", "90 minutes", "1 day", "1 minute"]
        );
        assert_eq!(place("people", "a/b ?é"), "/console/rbac/people/a%2Fb%20%3F%C3%A9");
        assert_eq!(name(&"é".repeat(81)), format!("{}…", "é".repeat(80)));
    }
}
