//! Lists that are read along an index, the newest first, in windows: a filter never makes a page read a whole table. A window that has
//! no more matches ends the page early, and the next page begins at its end.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::engine::connection::Connection;
use crate::engine::sql::Statement;
use crate::storable;

/// The most rows of an index that one page reads.
pub const WINDOW: u32 = 5_000;

/// A place in a list that is ordered by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    pub at: DateTime<Utc>,
    pub id: String,
}

/// A statement that is being put together.
pub(crate) struct Draft<'q> {
    pub(crate) text: String,
    arguments: Vec<Bound<'q>>,
    pub(crate) is_postgres: bool,
}

pub(crate) enum Bound<'q> {
    Text(Cow<'q, str>),
    Time(DateTime<Utc>),
    Number(i64),
}

impl<'q> Draft<'q> {
    pub(crate) fn bind(&mut self, argument: Bound<'q>) -> String {
        self.arguments.push(argument);
        format!("${}", self.arguments.len())
    }

    pub(crate) fn text(&mut self, text: &'q str) -> String {
        self.bind(Bound::Text(storable(text)))
    }

    /// A time as JSON in a sealed row has it: a text of one form, in the order of time.
    pub(crate) fn time_as_text(&mut self, time: DateTime<Utc>) -> String {
        self.bind(Bound::Text(time.to_rfc3339_opts(SecondsFormat::Micros, true).into()))
    }

    /// The condition that a row comes after a place in an order from the newest to the oldest.
    pub(crate) fn after(&mut self, (time, id): (&str, &str), (at, last): (&str, &'q str)) -> String {
        let last = self.text(last);
        // Whatever order the database has for texts, identifiers have this one.
        let order = if self.is_postgres { "COLLATE \"C\"" } else { "" };
        format!("{time} <= {at} AND ({time} < {at} OR {id} {order} < {last})")
    }

    pub(crate) fn statement(self) -> Statement<'q> {
        let statement = Statement::composed_once(self.text).once();
        self.arguments.into_iter().fold(statement, |statement, argument| match argument {
            Bound::Text(text) => statement.bind(text.into_owned()),
            Bound::Time(time) => statement.bind(time),
            Bound::Number(number) => statement.bind(number),
        })
    }
}

impl Draft<'_> {
    pub(crate) fn new(connection: &Connection) -> Self {
        let is_postgres = matches!(connection, Connection::Postgres(_));
        Draft { text: String::new(), arguments: Vec::new(), is_postgres }
    }
}
