//! Columns of tables that are not the gate's own, read so that an odd value is a value and no error.

use chrono::{DateTime, Utc};
use sqlx::{ColumnIndex, Decode, Error, Row, Type};

/// The text of a column; `None` where there is none, or none that can be read.
pub(super) fn text<'r, R>(row: &'r R, column: &'static str) -> Result<Option<String>, Error>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    Option<String>: Decode<'r, R::Database> + Type<R::Database>,
{
    readable(row.try_get(column))
}

/// The time of a column; `None` where there is none, or none that can be read.
///
/// Postgres has times that no calendar of ours has (`infinity`), on which sqlx panics. The statement leaves them out.
pub(super) fn time<'r, R>(row: &'r R, column: &'static str) -> Result<Option<DateTime<Utc>>, Error>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    Option<DateTime<Utc>>: Decode<'r, R::Database> + Type<R::Database>,
{
    readable(row.try_get(column))
}

/// A value that is of another type or form is none. Any other error is one of the statement or the connection.
fn readable<T>(outcome: Result<Option<T>, Error>) -> Result<Option<T>, Error> {
    match outcome {
        Err(Error::ColumnDecode { .. }) => Ok(None),
        outcome => outcome,
    }
}

/// Times between these two can be read. They are bound, because a literal would be a text to SQLite and has to sort as
/// one: what is no time at all mostly falls outside.
pub(super) fn readable_times() -> (DateTime<Utc>, DateTime<Utc>) {
    let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    // The years 1 and 9999, the first and the last that have four digits.
    (at(-62_135_596_800), at(253_370_764_800))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readable_times_have_four_digits() {
        let (first, last) = readable_times();
        assert_eq!(first.to_rfc3339(), "0001-01-01T00:00:00+00:00");
        assert_eq!(last.to_rfc3339(), "9999-01-01T00:00:00+00:00");
    }
}
