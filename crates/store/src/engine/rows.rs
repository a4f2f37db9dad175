//! Rows that are inserted by the batch, by a statement whose text is one of a few.
//!
//! ```text
//! one row            INSERT INTO t (...) VALUES ($1, ...)             kept prepared
//! more on Postgres   INSERT INTO t (...) SELECT ... FROM unnest($1)   kept prepared: one array of records, of a type of the table's
//! more on SQLite     INSERT INTO t (...)                              kept prepared for 2, 4, 8, 16, ... rows
//!                    SELECT * FROM (VALUES (?, ...), (?, ...), ...)   filled up to the next of these numbers by lists
//!                     LIMIT ?                                         that are not bound, behind the limit
//! ```
//!
//! An `INSERT` with as many lists of values as there are rows would have another text for each number: the databases would
//! parse nearly each batch anew, which took as long as inserting it.
//!
//! On Postgres a batch is one write and one round trip, where a `COPY` is two of each.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgHasArrayType, PgTypeInfo};
use sqlx::sqlite::SqliteArguments;
use sqlx::types::Json;
use sqlx::{Arguments as _, AssertSqlSafe, Encode, Error, Postgres, Type};

use crate::StoreError;
use crate::engine::connection::Connection;

/// SQLite takes 32,766 values in a statement; and this much is in memory at a time.
pub(crate) const ROWS_PER_STATEMENT: usize = 1_000;

/// A row of one table.
pub(crate) trait Row {
    /// Where it goes.
    const TABLE: Table;

    /// Gives its values, in the order of the columns.
    ///
    /// # Errors
    ///
    /// A value cannot be encoded.
    fn write(&self, to: &mut impl Values) -> Result<(), BoxDynError>;
}

/// A table that rows are added to.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// Their names, with commas between them.
    pub(crate) columns: &'static str,
    /// How many these are.
    pub(crate) width: usize,
    /// Postgres's type of a record of these columns. Not the table's own, which gets a column when a later release needs one.
    pub(crate) record: &'static str,
}

/// What takes the values of a row: one way of encoding them for each way to send them.
pub(crate) trait Values {
    fn text(&mut self, value: Option<&str>) -> Result<(), BoxDynError>;
    fn integer(&mut self, value: Option<i64>) -> Result<(), BoxDynError>;
    fn time(&mut self, value: DateTime<Utc>) -> Result<(), BoxDynError>;
    fn json(&mut self, value: Option<&Value>) -> Result<(), BoxDynError>;
}

/// Inserts rows. Up to [`ROWS_PER_STATEMENT`] of them are one statement, which inserts all or none.
pub(crate) async fn insert<R: Row>(connection: &mut Connection, rows: &[&R]) -> Result<(), StoreError> {
    for rows in rows.chunks(ROWS_PER_STATEMENT) {
        let written = match (&mut *connection, rows) {
            (Connection::Postgres(to), _) => {
                let (text, values) = match rows {
                    [row] => of_one(*row)?,
                    _ => of_records(rows)?,
                };
                sqlx::query_with(AssertSqlSafe(text), values).execute(&mut **to).await?.rows_affected()
            }
            (Connection::Sqlite(to), _) => {
                let (text, values) = match rows {
                    [row] => of_one(*row)?,
                    _ => of_some(rows)?,
                };
                sqlx::query_with(AssertSqlSafe(text), values).execute(&mut **to).await?.rows_affected()
            }
        };
        if written != rows.len() as u64 {
            // Whatever answered, it was not the database's answer to this.
            connection.close_on_drop();
            let problem = format!("{written} of {} rows were taken", rows.len());
            return Err(StoreError::Unavailable(problem));
        }
    }
    Ok(())
}

/// The statement of one row. Both databases read it.
fn of_one<R: Row, V: Values + Default>(row: &R) -> Result<(String, V), Error> {
    let Table { name, columns, width, .. } = R::TABLE;
    let mut text = format!("INSERT INTO {name} ({columns}) VALUES ($1");
    for number in 2..=width {
        // Writing to a String cannot fail.
        let _ = write!(text, ", ${number}");
    }
    text.push(')');
    let mut values = V::default();
    row.write(&mut values).map_err(Error::Encode)?;
    Ok((text, values))
}

/// SQLite's statement of several rows. How many of its lists count is its first argument: those behind are not bound.
fn of_some<R: Row>(rows: &[&R]) -> Result<(String, SqliteArguments), Error> {
    let Table { name, columns, width, .. } = R::TABLE;
    let room = rows.len().next_power_of_two().min(ROWS_PER_STATEMENT);
    let list = format!(", ({}?)", "?, ".repeat(width - 1));
    let mut text = String::with_capacity(columns.len() + 200 + room * list.len());
    let _ = write!(
        text,
        "WITH batch (size) AS (VALUES (?)) INSERT INTO {name} ({columns}) SELECT * FROM (VALUES "
    );
    text.push_str(&list[2..]);
    for _ in 1..room {
        text.push_str(&list);
    }
    text.push_str(") LIMIT (SELECT size FROM batch)");
    let mut values = SqliteArguments::default();
    values.reserve(rows.len() * width + 1, 0);
    values.add(i64::try_from(rows.len()).unwrap_or(i64::MAX)).map_err(Error::Encode)?;
    for row in rows {
        row.write(&mut values).map_err(Error::Encode)?;
    }
    Ok((text, values))
}

macro_rules! values_of_statements {
    ($($arguments:ty),*) => {$(
        impl Values for $arguments {
            fn text(&mut self, value: Option<&str>) -> Result<(), BoxDynError> {
                self.add(value)
            }

            fn integer(&mut self, value: Option<i64>) -> Result<(), BoxDynError> {
                self.add(value)
            }

            fn time(&mut self, value: DateTime<Utc>) -> Result<(), BoxDynError> {
                self.add(value)
            }

            fn json(&mut self, value: Option<&Value>) -> Result<(), BoxDynError> {
                self.add(value.map(Json))
            }
        }
    )*};
}

values_of_statements!(PgArguments, SqliteArguments);

/// Postgres's statement of several rows. The element type of the argument determines what `unnest` returns.
fn of_records<R: Row>(rows: &[&R]) -> Result<(String, PgArguments), Error> {
    let Table { name, columns, .. } = R::TABLE;
    let text = format!("INSERT INTO {name} ({columns}) SELECT {columns} FROM unnest($1)");
    let mut values = PgArguments::default();
    values.reserve(1, rows.len() * 1_024);
    values.add(rows.iter().map(|row| Record(*row)).collect::<Vec<_>>()).map_err(Error::Encode)?;
    Ok((text, values))
}

/// A row in Postgres's binary format of a composite type: the number of values, then each with its type and its length in
/// front (`record_send` in its `rowtypes.c`).
struct Record<'r, R>(&'r R);

impl<R: Row> Type<Postgres> for Record<'_, R> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name(R::TABLE.record)
    }
}

impl<R: Row> PgHasArrayType for Record<'_, R> {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::array_of(R::TABLE.record)
    }
}

impl<R: Row> Encode<'_, Postgres> for Record<'_, R> {
    fn encode_by_ref(&self, to: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        to.extend(i32::try_from(R::TABLE.width)?.to_be_bytes());
        self.0.write(&mut Fields(to))?;
        Ok(IsNull::No)
    }
}

/// The values of a [`Record`].
struct Fields<'b>(&'b mut Vec<u8>);

/// In place of a value's length.
const NULL: i32 = -1;

/// The version of `jsonb`'s format in front of the text.
const JSONB_VERSION: u8 = 1;

/// Postgres counts from the start of the year 2000.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

impl Fields<'_> {
    /// Adds a value of the type that has this number in every Postgres (its `pg_type.dat`).
    fn value(
        &mut self,
        oid: u32,
        write: impl FnOnce(&mut Vec<u8>) -> Result<IsNull, BoxDynError>,
    ) -> Result<(), BoxDynError> {
        self.0.extend(oid.to_be_bytes());
        let start = self.0.len();
        self.0.extend(NULL.to_be_bytes());
        if let IsNull::No = write(self.0)? {
            let length = i32::try_from(self.0.len() - start - 4)?;
            self.0[start..start + 4].copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }
}

impl Values for Fields<'_> {
    fn text(&mut self, value: Option<&str>) -> Result<(), BoxDynError> {
        self.value(25, |bytes| {
            let Some(text) = value else { return Ok(IsNull::Yes) };
            bytes.extend(text.as_bytes());
            Ok(IsNull::No)
        })
    }

    fn integer(&mut self, value: Option<i64>) -> Result<(), BoxDynError> {
        self.value(20, |bytes| {
            let Some(integer) = value else { return Ok(IsNull::Yes) };
            bytes.extend(integer.to_be_bytes());
            Ok(IsNull::No)
        })
    }

    fn time(&mut self, value: DateTime<Utc>) -> Result<(), BoxDynError> {
        self.value(1184, |bytes| {
            bytes.extend((value.timestamp_micros() - POSTGRES_EPOCH_MICROS).to_be_bytes());
            Ok(IsNull::No)
        })
    }

    fn json(&mut self, value: Option<&Value>) -> Result<(), BoxDynError> {
        self.value(3802, |bytes| {
            let Some(value) = value else { return Ok(IsNull::Yes) };
            bytes.push(JSONB_VERSION);
            serde_json::to_writer(bytes, value)?;
            Ok(IsNull::No)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A row with each kind of value, or with none.
    struct Any(bool);

    impl Row for Any {
        const TABLE: Table = Table { name: "t", columns: "a, b, c, d", width: 4, record: "r" };

        fn write(&self, to: &mut impl Values) -> Result<(), BoxDynError> {
            let (text, value) = ("ä", json!({ "k": 1 }));
            to.text(self.0.then_some(text))?;
            to.integer(self.0.then_some(-2))?;
            to.time("2000-01-01T00:00:01.000002Z".parse()?)?;
            to.json(self.0.then_some(&value))
        }
    }

    fn of(rows: usize) -> (String, SqliteArguments) {
        let rows: Vec<Any> = (0..rows).map(|_| Any(true)).collect();
        of_some(&rows.iter().collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn batches_of_similar_size_share_a_text() {
        let (text, values) = of(3);
        let expected = "WITH batch (size) AS (VALUES (?)) INSERT INTO t (a, b, c, d) SELECT * FROM (VALUES \
                        (?, ?, ?, ?), (?, ?, ?, ?), (?, ?, ?, ?), (?, ?, ?, ?)) LIMIT (SELECT size FROM batch)";
        assert_eq!((text.as_str(), values.len()), (expected, 1 + 3 * 4));
        for (fewest, most) in [(3, 4), (5, 8), (513, ROWS_PER_STATEMENT)] {
            assert_eq!(of(fewest).0, of(most).0);
            assert_ne!(of(fewest - 1).0, of(fewest).0);
        }
        // SQLite's own limit of values.
        const { assert!(Any::TABLE.width < 32_766 / ROWS_PER_STATEMENT) };
    }

    #[test]
    fn one_row_has_a_text_that_both_read() {
        let (text, _) = of_one::<_, PgArguments>(&Any(true)).unwrap();
        assert_eq!(text, "INSERT INTO t (a, b, c, d) VALUES ($1, $2, $3, $4)");
        assert_eq!(of_one::<_, SqliteArguments>(&Any(true)).unwrap().0, text);
    }

    /// The format of Postgres's source, byte by byte.
    #[test]
    fn a_record_is_in_postgres_binary_format() {
        let encoded = |row: &Any| {
            let mut bytes = PgArgumentBuffer::default();
            let _ = Record(row).encode_by_ref(&mut bytes).unwrap();
            bytes.to_vec()
        };
        let time = [0, 0, 4, 0xa0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0x0f, 0x42, 0x42];
        let of_values = [
            [0, 0, 0, 4].as_slice(),
            &[0, 0, 0, 25, 0, 0, 0, 2, 0xc3, 0xa4],
            &[0, 0, 0, 20, 0, 0, 0, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe],
            time.as_slice(),
            b"\0\0\x0e\xda\0\0\0\x08\x01{\"k\":1}",
        ];
        assert_eq!(encoded(&Any(true)), of_values.concat());
        let of_nulls = [
            [0, 0, 0, 4].as_slice(),
            &[0, 0, 0, 25, 0xff, 0xff, 0xff, 0xff],
            &[0, 0, 0, 20, 0xff, 0xff, 0xff, 0xff],
            time.as_slice(),
            &[0, 0, 0x0e, 0xda, 0xff, 0xff, 0xff, 0xff],
        ];
        assert_eq!(encoded(&Any(false)), of_nulls.concat());
    }
}
