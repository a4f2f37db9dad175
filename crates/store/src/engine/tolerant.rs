//! Columns of tables that are not the gate's own, read so that an odd value is a value and no error.

use chrono::{DateTime, Utc};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgTypeInfo, PgValueRef};
use sqlx::sqlite::{SqliteTypeInfo, SqliteValueRef};
use sqlx::{Database, Decode, Postgres, Sqlite, Type, TypeInfo as _, ValueRef as _};

/// The value of a column; `None` where there is none, or one of another type or form. For a field of a row,
/// `#[sqlx(try_from = "Lenient<String>")]` reads it into an `Option`.
///
/// Postgres has times that no calendar of ours has (`infinity`), on which sqlx panics. The statement leaves them out.
pub(crate) struct Lenient<T>(Option<T>);

impl<T> From<Lenient<T>> for Option<T> {
    fn from(value: Lenient<T>) -> Self {
        value.0
    }
}

impl<D: Database, T: Type<D>> Type<D> for Lenient<T> {
    fn type_info() -> D::TypeInfo {
        T::type_info()
    }

    fn compatible(_: &D::TypeInfo) -> bool {
        true
    }
}

impl<'r, D: Database, T: Decode<'r, D> + Type<D>> Decode<'r, D> for Lenient<T> {
    fn decode(value: D::ValueRef<'r>) -> Result<Self, BoxDynError> {
        if value.is_null() {
            return Ok(Lenient(None));
        }
        let is_readable = {
            let found = value.type_info();
            found.is_null() || T::compatible(&found)
        };
        Ok(Lenient(if is_readable { T::decode(value).ok() } else { None }))
    }
}

/// The bytes of a column, whether it is bytes, text or JSON.
pub(crate) struct Raw(pub(crate) Vec<u8>);

impl Type<Postgres> for Raw {
    fn type_info() -> PgTypeInfo {
        <Vec<u8> as Type<Postgres>>::type_info()
    }

    fn compatible(_: &PgTypeInfo) -> bool {
        true
    }
}

impl<'r> Decode<'r, Postgres> for Raw {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let is_jsonb = value.type_info().name() == "JSONB";
        let bytes = value.as_bytes()?;
        // A byte with the version of JSONB precedes its text.
        Ok(Raw(bytes.get(usize::from(is_jsonb)..).unwrap_or_default().to_vec()))
    }
}

impl Type<Sqlite> for Raw {
    fn type_info() -> SqliteTypeInfo {
        <Vec<u8> as Type<Sqlite>>::type_info()
    }

    fn compatible(_: &SqliteTypeInfo) -> bool {
        true
    }
}

impl<'r> Decode<'r, Sqlite> for Raw {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Raw(<Vec<u8> as Decode<Sqlite>>::decode(value)?))
    }
}

/// Times between these two can be read. They are bound, because a literal would be a text to SQLite and has to sort as
/// one: a text that is not a time mostly falls outside.
pub(crate) fn readable_times() -> (DateTime<Utc>, DateTime<Utc>) {
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
