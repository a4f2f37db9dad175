//! What the gate reads of Console: admins, their legacy roles and sessions, each by a SELECT.
//!
//! An operator writes the SELECTs for the tables that Console has (`[console]`); without them they fit the tables that the
//! documents describe. Each becomes a part of the one statement, and so of the one snapshot, in which access is read
//! ([`compose`]). The columns are checked before ([`shape`]), and again when the database reports that something has
//! changed. Ids are opaque texts.

mod compose;
mod inspect;
pub mod mirror;
pub(super) mod reads;
pub mod select;
mod shape;
pub mod watch;

use std::fmt;
use std::sync::Arc;

pub(super) use compose::SessionRead;
pub(super) use compose::{GONE_FOR, Places, ReadPlan, is_false, read_end};
pub use inspect::{Proposal, Shown, SourceHints, Table, propose};
use select::Dialect;
pub use select::Select;
pub use shape::Mismatch;

use arc_swap::ArcSwapOption;

use crate::engine::sql::Statement;
use crate::{Store, StoreError};

/// Which of Console's relations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Relation {
    Admins,
    LegacyRoles,
    Sessions,
    AllAdmins,
    AllLegacyRoles,
}

impl Relation {
    /// Every relation.
    pub const ALL: [Relation; 5] = [
        Relation::Admins,
        Relation::LegacyRoles,
        Relation::Sessions,
        Relation::AllAdmins,
        Relation::AllLegacyRoles,
    ];

    /// The key of `[console]`.
    pub const fn key(self) -> &'static str {
        match self {
            Relation::Admins => "admins",
            Relation::LegacyRoles => "legacy_roles",
            Relation::Sessions => "sessions",
            Relation::AllAdmins => "all_admins",
            Relation::AllLegacyRoles => "all_legacy_roles",
        }
    }

    /// Whether its SELECT takes the id, `$1`.
    pub const fn takes_id(self) -> bool {
        matches!(self, Relation::Admins | Relation::LegacyRoles | Relation::Sessions)
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[console] {}", self.key())
    }
}

/// A SELECT, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The gate's own, for the table of the documents.
    Documents(Documented),
    /// An operator's.
    Written(Select),
    /// There is none.
    Absent,
}

/// A table of the documents, with its SELECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Documented {
    pub(super) table: &'static str,
    /// The column that `$1` is compared with: `$1` is given its type.
    pub(super) key: &'static str,
    text: &'static str,
}

/// Where to read what of Console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relations {
    pub admins: Source,
    pub legacy_roles: Source,
    pub sessions: Source,
    pub all_admins: Source,
    pub all_legacy_roles: Source,
    /// The column of Console's table that is an admin's id: where the row is deleted, the admin is erased.
    pub admins_key: Option<KeyColumn>,
    /// The column that is a session's id: a change of its row concerns that session alone.
    pub sessions_key: Option<KeyColumn>,
    /// Further tables that the SELECTs depend on.
    pub watch: Vec<TableName>,
    /// Whether the sessions SELECT returns a payload instead of the admin's id (`[session] payload`).
    pub session_payload: bool,
    /// Whether the gate begins sessions itself (`[identity]`).
    pub login_sessions: bool,
    /// Whether triggers may be put on Console's tables. Without them, Console is read for each request.
    pub triggers: bool,
}

impl Default for Relations {
    /// The documents' tables, in whatever schema they are.
    fn default() -> Self {
        let documents = |relation| Source::Documents(Documented::of(relation));
        Relations {
            admins: documents(Relation::Admins),
            legacy_roles: documents(Relation::LegacyRoles),
            sessions: documents(Relation::Sessions),
            all_admins: documents(Relation::AllAdmins),
            all_legacy_roles: documents(Relation::AllLegacyRoles),
            admins_key: Some(KeyColumn::known("admins", "id")),
            sessions_key: Some(KeyColumn::known("admin_sessions", "id")),
            watch: Vec::new(),
            session_payload: false,
            login_sessions: false,
            triggers: true,
        }
    }
}

impl Documented {
    /// The table of the documents for a relation.
    pub const fn of(relation: Relation) -> Documented {
        match relation {
            Relation::Admins => Documented {
                table: "admins",
                key: "id",
                text: "SELECT id, disabled_at_utc IS NOT NULL AS disabled, email AS label FROM admins WHERE id = $1",
            },
            Relation::LegacyRoles => Documented {
                table: "admin_roles",
                key: "admin_id",
                text: "SELECT role FROM admin_roles WHERE admin_id = $1",
            },
            Relation::Sessions => Documented {
                table: "admin_sessions",
                key: "id",
                text: "SELECT id, admin_id, expires_at_utc AS ends, revoked_at_utc IS NOT NULL AS ended
                         FROM admin_sessions WHERE id = $1",
            },
            Relation::AllAdmins => Documented {
                table: "admins",
                key: "id",
                text: "SELECT id, disabled_at_utc IS NOT NULL AS disabled, email AS label FROM admins",
            },
            Relation::AllLegacyRoles => Documented {
                table: "admin_roles",
                key: "admin_id",
                text: "SELECT admin_id, role FROM admin_roles",
            },
        }
    }
}

impl Relations {
    /// Where a relation is read.
    pub fn source(&self, relation: Relation) -> &Source {
        match relation {
            Relation::Admins => &self.admins,
            Relation::LegacyRoles => &self.legacy_roles,
            Relation::Sessions => &self.sessions,
            Relation::AllAdmins => &self.all_admins,
            Relation::AllLegacyRoles => &self.all_legacy_roles,
        }
    }

    /// The SELECT of a relation, if it has one.
    pub fn select(&self, relation: Relation) -> Option<Select> {
        match self.source(relation) {
            Source::Documents(documented) => Some(Select::known(documented.text)),
            Source::Written(select) => Some(select.clone()),
            Source::Absent => None,
        }
    }

    /// Whether a relation is read from the documents' table.
    pub fn is_documented(&self, relation: Relation) -> bool {
        matches!(self.source(relation), Source::Documents(_))
    }

    /// A digest that identifies a set of SELECTs and keys: the triggers that are there were made for one of them.
    pub fn fingerprint(&self) -> String {
        let mut parts: Vec<String> = Relation::ALL
            .into_iter()
            .map(|relation| self.select(relation).map_or_else(String::new, |select| select.text().to_owned()))
            .collect();
        for key in [&self.admins_key, &self.sessions_key] {
            parts.push(key.as_ref().map_or_else(String::new, ToString::to_string));
        }
        parts.extend(self.watch.iter().map(ToString::to_string));
        parts.push(WATCHED_BESIDES.to_owned());
        policy::mapping::parse::sha256_of(&parts.join("\0")).to_string()
    }

    /// The first relation whose result changes without a write, and by which word.
    pub(super) fn changes_by_itself(&self, dialect: Dialect) -> Option<(Relation, String)> {
        Relation::ALL.into_iter().find_map(|relation| {
            let words = self.select(relation)?.words(dialect).ok()?;
            Some((relation, words.changes_by_itself()?.to_owned()))
        })
    }
}

/// Which tables are watched besides those of the SELECTs: what an earlier release has written down about fewer does not count.
const WATCHED_BESIDES: &str = "the tables of RBAC V2 and the gate's own";

/// The name of a table, with its schema or without.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableName {
    pub schema: Option<String>,
    pub name: String,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyColumn {
    pub table: TableName,
    pub column: String,
}

/// The names between the dots, without their quotes; a name without quotes is in lower case, as Postgres reads it.
fn names(text: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = text.trim();
    loop {
        let (name, after) = if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"')?;
            (quoted[..end].to_owned(), &quoted[end + 1..])
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            (rest[..end].to_lowercase(), &rest[end..])
        };
        if name.is_empty() || name.contains(char::is_whitespace) || name.contains(['"', '\'', ';', '(', ')'])
        {
            return None;
        }
        names.push(name);
        match after.strip_prefix('.') {
            Some(more) => rest = more,
            None if after.is_empty() => return Some(names),
            None => return None,
        }
    }
}

impl TableName {
    /// Parses `table` or `schema.table`.
    ///
    /// # Errors
    ///
    /// It is neither.
    pub fn parse(text: &str) -> Result<TableName, String> {
        match names(text).as_deref() {
            Some([name]) => Ok(TableName { schema: None, name: name.clone() }),
            Some([schema, name]) => Ok(TableName { schema: Some(schema.clone()), name: name.clone() }),
            _ => Err(format!("`{text}` is neither `table` nor `schema.table`")),
        }
    }
}

impl KeyColumn {
    fn known(table: &str, column: &str) -> KeyColumn {
        KeyColumn { table: TableName { schema: None, name: table.into() }, column: column.into() }
    }

    /// Parses `table.column` or `schema.table.column`.
    ///
    /// # Errors
    ///
    /// It is neither.
    pub fn parse(text: &str) -> Result<KeyColumn, String> {
        let (schema, name, column) = match names(text).as_deref() {
            Some([name, column]) => (None, name.clone(), column.clone()),
            Some([schema, name, column]) => (Some(schema.clone()), name.clone(), column.clone()),
            _ => return Err(format!("`{text}` is neither `table.column` nor `schema.table.column`")),
        };
        Ok(KeyColumn { table: TableName { schema, name }, column })
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{}.{}", quoted(schema), quoted(&self.name)),
            None => f.write_str(&quoted(&self.name)),
        }
    }
}

impl fmt::Display for KeyColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, quoted(&self.column))
    }
}

/// A name as SQL takes it: with quotes where it needs them.
pub(super) fn quoted(name: &str) -> String {
    let is_plain = |letter: char| letter == '_' || letter.is_ascii_lowercase() || letter.is_ascii_digit();
    if name.chars().all(is_plain) && !name.starts_with(|first: char| first.is_ascii_digit()) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// The relations of a store, and the statement that was put together from them.
#[derive(Debug)]
pub(super) struct Console {
    pub(super) relations: Relations,
    pub(super) dialect: Dialect,
    /// What the triggers on Console's tables must have been made for; `None` where none are wanted, or would not help.
    pub(super) expected: Option<Arc<str>>,
    plan: ArcSwapOption<ReadPlan>,
    token: ArcSwapOption<Arc<str>>,
}

impl Console {
    /// # Errors
    ///
    /// A SELECT is none in the words of this database.
    pub(super) fn new(relations: Relations, dialect: Dialect) -> Result<Console, StoreError> {
        let mistakes: Vec<String> = Relation::ALL
            .into_iter()
            .filter_map(|relation| {
                let words = relations.select(relation)?.words(dialect);
                Some(format!("{relation}: {}", words.err()?))
            })
            .collect();
        if !mistakes.is_empty() {
            return Err(StoreError::Unusable(mistakes.join("; ")));
        }
        let is_watchable = relations.triggers && relations.changes_by_itself(dialect).is_none();
        let expected = is_watchable.then(|| Arc::from(relations.fingerprint()));
        let (plan, token) = (ArcSwapOption::empty(), ArcSwapOption::empty());
        Ok(Console { relations, dialect, expected, plan, token })
    }

    /// Forgets what was put together: the database has changed.
    pub(super) fn forget(&self) {
        self.plan.store(None);
        self.token.store(None);
    }
}

impl Store {
    /// The relations that the store reads of Console.
    pub fn relations(&self) -> &Relations {
        &self.console.relations
    }

    /// The tables that SELECTs of the settings name without a schema, where there are schemas.
    pub fn unqualified_tables(&self) -> Vec<(Relation, String)> {
        let console = &self.console;
        if console.dialect == Dialect::Sqlite {
            return Vec::new();
        }
        let mut tables = Vec::new();
        for relation in Relation::ALL {
            if let Source::Written(select) = console.relations.source(relation) {
                let unqualified = select.unqualified(console.dialect).unwrap_or_default();
                tables.extend(unqualified.into_iter().map(|table| (relation, table)));
            }
        }
        tables
    }

    /// The expression by which a writer gives an id, argument number `argument`, to a column: `rbac_*` tables of
    /// Console's own may have ids of any type, and it is the argument that is cast, so that an index on the column serves.
    pub(super) async fn id_argument(
        &self,
        table: &'static str,
        column: &'static str,
        argument: usize,
    ) -> Result<String, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let types = shape::column_types(&mut connection, &[(table, column)]).await?;
        Ok(shape::cast(&format!("${argument}"), types.get(&(table, column)).map(String::as_str)))
    }

    /// The statement by which one admin's access is read, put together when it is first needed.
    pub(super) async fn read_plan(&self) -> Result<Arc<ReadPlan>, StoreError> {
        if let Some(plan) = self.console.plan.load_full().filter(|plan| !plan.has_lapsed()) {
            return Ok(plan);
        }
        let mut connection = self.access_pool.acquire().await?;
        let plan = Arc::new(ReadPlan::make(&self.console, &mut connection).await?);
        self.console.plan.store(Some(plan.clone()));
        Ok(plan)
    }

    /// The same for a token.
    pub(super) async fn token_statement<'q>(&self) -> Result<Statement<'q>, StoreError> {
        let text = match self.console.token.load_full() {
            Some(text) => text,
            None => {
                let mut connection = self.access_pool.acquire().await?;
                let text = Arc::new(compose::token(&self.console, &mut connection).await?);
                self.console.token.store(Some(text.clone()));
                text
            }
        };
        Ok(composed(Arc::<str>::clone(&text)))
    }
}

/// A statement that was put together. Safe to run: it holds the gate's own text and the SELECTs of the operator's settings
/// file, whose author can do with the database whatever the gate can. No request's value is in it; those are bound.
pub(super) fn composed<'q>(text: impl Into<Arc<str>>) -> Statement<'q> {
    Statement::composed(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_table_and_its_column() {
        let table = [
            ("public.users.id", Ok("public.users.id")),
            ("users.id", Ok("users.id")),
            ("\"App\".\"User\".id", Ok("\"App\".\"User\".id")),
            ("Users.ID", Ok("users.id")),
            ("users", Err(())),
            ("a.b.c.d", Err(())),
            ("users.", Err(())),
            ("users.id; DROP TABLE users", Err(())),
            ("\"users.id", Err(())),
        ];
        for (text, expected) in table {
            let parsed = KeyColumn::parse(text).map(|key| key.to_string());
            assert_eq!(parsed.as_deref().map_err(drop), expected, "{text}");
        }
        assert_eq!(TableName::parse("Audit.Log").unwrap().to_string(), "audit.log");
        assert!(TableName::parse("a.b.c").is_err());
    }

    #[test]
    fn different_selects_have_different_fingerprints() {
        let defaults = Relations::default();
        assert_eq!(defaults.fingerprint(), Relations::default().fingerprint());
        let others = [
            Relations { sessions: Source::Absent, ..Relations::default() },
            Relations { watch: vec![TableName::parse("more").unwrap()], ..Relations::default() },
            Relations { sessions_key: None, ..Relations::default() },
        ];
        for other in others {
            assert_ne!(other.fingerprint(), defaults.fingerprint());
        }
    }

    #[test]
    fn the_documents_selects_are_sound_on_both_databases() {
        for dialect in [Dialect::Postgres, Dialect::Sqlite] {
            let console = Console::new(Relations::default(), dialect).unwrap();
            assert!(console.expected.is_some());
            for relation in Relation::ALL {
                let select = console.relations.select(relation).unwrap();
                let parameters = select.words(dialect).unwrap().parameters.len();
                assert_eq!(parameters, usize::from(relation.takes_id()), "{relation}");
            }
        }
    }
}
