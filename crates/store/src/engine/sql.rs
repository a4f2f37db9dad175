//! Statements as plain values: the database that runs one is known only when it runs.
//!
//! A [`Statement`] is a text that both databases read, with `$1`, `$2` for its arguments. An argument is whatever sqlx
//! can encode for both databases, and a row is whatever it can decode from both, so neither needs a type of our own.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, Encode, Error, FromRow, Postgres, SqlSafeStr as _, Sqlite, Type};

/// A statement with its arguments.
pub(crate) struct Statement<'q> {
    text: Text,
    arguments: Vec<Box<dyn Argument<'q> + 'q>>,
    is_kept: bool,
}

enum Text {
    Both(Cow<'static, str>),
    /// Put together at run time, once for many runs.
    Composed(Arc<str>),
    Each {
        postgres: &'static str,
        sqlite: &'static str,
    },
    Lists {
        head: [&'static str; 2],
        columns: usize,
        tail: &'static str,
    },
}

/// A statement that both databases read.
pub(crate) fn sql<'q>(text: &'static str) -> Statement<'q> {
    Statement::new(Text::Both(Cow::Borrowed(text)))
}

impl<'q> Statement<'q> {
    fn new(text: Text) -> Self {
        Statement { text, arguments: Vec::new(), is_kept: true }
    }

    /// A statement whose text is the parts one after the other.
    pub(crate) fn joined(parts: &[&'static str]) -> Self {
        Statement::new(Text::Both(Cow::Owned(parts.concat())))
    }

    /// A statement whose text was put together from the gate's own words, names of the catalog and the settings' SELECTs;
    /// never from what a request brings.
    pub(crate) fn composed(text: Arc<str>) -> Self {
        Statement::new(Text::Composed(text))
    }

    /// The same for a text that is needed once.
    pub(crate) fn composed_once(text: String) -> Self {
        Statement::new(Text::Both(Cow::Owned(text)))
    }

    /// A statement that the databases spell differently.
    pub(crate) fn of(postgres: &'static str, sqlite: &'static str) -> Self {
        Statement::new(Text::Each { postgres, sqlite })
    }

    /// An `INSERT` with `VALUES ($1, $2), ($3, $4)` between `head` and `tail`: as many rows of `columns` values each as
    /// arguments are pushed.
    pub(crate) fn insert(head: &'static str, columns: usize, tail: &'static str) -> Self {
        Statement::new(Text::Lists { head: [head, "VALUES "], columns, tail })
    }

    /// A statement with `($1, $2, $3)` between `head` and `tail`: as many values as arguments are pushed.
    pub(crate) fn among(head: &'static str, tail: &'static str) -> Self {
        Statement::new(Text::Lists { head: [head, ""], columns: usize::MAX, tail })
    }

    /// The statement with one more argument.
    pub(crate) fn bind(mut self, argument: impl Argument<'q> + 'q) -> Self {
        self.push(argument);
        self
    }

    /// Adds one more argument.
    pub(crate) fn push(&mut self, argument: impl Argument<'q> + 'q) -> &mut Self {
        self.arguments.push(Box::new(argument));
        self
    }

    /// The statement, not kept prepared: the next one has another number of rows.
    pub(crate) fn once(mut self) -> Self {
        self.is_kept = false;
        self
    }

    /// The statement as Postgres takes it.
    ///
    /// # Errors
    ///
    /// An argument cannot be encoded.
    pub(crate) fn for_postgres(self) -> Result<Query<'static, Postgres, PgArguments>, Error> {
        let text = match self.text {
            Text::Both(text) => AssertSqlSafe(text).into_sql_str(),
            Text::Composed(text) => AssertSqlSafe(text).into_sql_str(),
            Text::Each { postgres, .. } => postgres.into_sql_str(),
            Text::Lists { head, columns, tail } => {
                let lists = with_lists(head, columns, tail, self.arguments.len(), |text, number| {
                    // Writing to a String cannot fail.
                    let _ = write!(text, "${number}");
                });
                AssertSqlSafe(lists).into_sql_str()
            }
        };
        let mut arguments = PgArguments::default();
        for argument in self.arguments {
            argument.add_to_postgres(&mut arguments).map_err(Error::Encode)?;
        }
        Ok(sqlx::query_with(text, arguments).persistent(self.is_kept))
    }

    /// The statement as SQLite takes it.
    ///
    /// # Errors
    ///
    /// An argument cannot be encoded.
    pub(crate) fn for_sqlite(self) -> Result<Query<'static, Sqlite, SqliteArguments>, Error> {
        let text = match self.text {
            Text::Both(text) => AssertSqlSafe(text).into_sql_str(),
            Text::Composed(text) => AssertSqlSafe(text).into_sql_str(),
            Text::Each { sqlite, .. } => sqlite.into_sql_str(),
            // Not by number: SQLite would look up each of thousands by its name.
            Text::Lists { head, columns, tail } => {
                let lists = with_lists(head, columns, tail, self.arguments.len(), |text, _| text.push('?'));
                AssertSqlSafe(lists).into_sql_str()
            }
        };
        let mut arguments = SqliteArguments::default();
        for argument in self.arguments {
            argument.add_to_sqlite(&mut arguments).map_err(Error::Encode)?;
        }
        Ok(sqlx::query_with(text, arguments).persistent(self.is_kept))
    }
}

fn with_lists(
    head: [&str; 2],
    columns: usize,
    tail: &str,
    arguments: usize,
    placeholder: impl Fn(&mut String, usize),
) -> Cow<'static, str> {
    let mut text = String::with_capacity(head[0].len() + tail.len() + arguments * 8);
    text.extend(head);
    for number in 0..arguments {
        text.push_str(match (number, number % columns) {
            (0, _) => "(",
            (_, 0) => "), (",
            _ => ", ",
        });
        placeholder(&mut text, number + 1);
    }
    text.push(')');
    text.push_str(tail);
    text.into()
}

/// A value that both databases can encode.
pub(crate) trait Argument<'q>: Send {
    fn add_to_postgres(self: Box<Self>, arguments: &mut PgArguments) -> Result<(), BoxDynError>;
    fn add_to_sqlite(self: Box<Self>, arguments: &mut SqliteArguments) -> Result<(), BoxDynError>;
}

impl<'q, T> Argument<'q> for T
where
    T: Encode<'q, Postgres> + Type<Postgres> + Encode<'q, Sqlite> + Type<Sqlite> + Send,
{
    fn add_to_postgres(self: Box<Self>, arguments: &mut PgArguments) -> Result<(), BoxDynError> {
        arguments.add(*self)
    }

    fn add_to_sqlite(self: Box<Self>, arguments: &mut SqliteArguments) -> Result<(), BoxDynError> {
        arguments.add(*self)
    }
}

/// A row that both databases can decode: a tuple, or a struct with `derive(sqlx::FromRow)`.
pub(crate) trait Record:
    for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin
{
}

impl<T> Record for T where T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin {}

#[cfg(test)]
mod tests {
    use sqlx::Execute as _;

    use super::*;

    #[test]
    fn rows_are_written_as_each_database_reads_them() {
        let insert = |arguments: i64| {
            let mut insert = Statement::insert("INSERT INTO t ", 2, " RETURNING id");
            for number in 0..arguments {
                insert.push(number);
            }
            insert
        };
        let postgres = insert(4).for_postgres().unwrap();
        assert_eq!(postgres.sql().as_str(), "INSERT INTO t VALUES ($1, $2), ($3, $4) RETURNING id");
        let sqlite = insert(2).once().for_sqlite().unwrap();
        assert_eq!(sqlite.sql().as_str(), "INSERT INTO t VALUES (?, ?) RETURNING id");
        let among = Statement::among("SELECT id FROM t WHERE id IN ", "").bind("a").bind("b");
        assert_eq!(among.for_postgres().unwrap().sql().as_str(), "SELECT id FROM t WHERE id IN ($1, $2)");
    }

    #[test]
    fn a_statement_can_be_spelled_twice_or_put_together() {
        let each = || Statement::of("SELECT 1::bigint", "SELECT 1");
        assert_eq!(each().for_postgres().unwrap().sql().as_str(), "SELECT 1::bigint");
        assert_eq!(each().for_sqlite().unwrap().sql().as_str(), "SELECT 1");
        let joined = Statement::joined(&["SELECT ", "$1"]).bind("x");
        assert_eq!(joined.for_sqlite().unwrap().sql().as_str(), "SELECT $1");
    }
}
