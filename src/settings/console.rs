//! `[console]`: what to read of Console's tables.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, Serializer};
use store::console::{KeyColumn, Relation, Relations, Select, Source, TableName};

/// `[console]`, or the file that it names: sound by existing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Console(
    pub Relations,
    /// The file that has the keys, until it is read.
    pub(super) Option<std::path::PathBuf>,
);

impl Serialize for Console {
    /// By the keys of the section; a missing key is not set.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            file: Option<&'a std::path::Path>,
            admins: Option<&'a str>,
            legacy_roles: Option<&'a str>,
            sessions: Option<&'a str>,
            all_admins: Option<&'a str>,
            all_legacy_roles: Option<&'a str>,
            admins_key: Option<String>,
            sessions_key: Option<String>,
            watch: Vec<String>,
            triggers: bool,
        }
        let relations = &self.0;
        let shown = Shown {
            file: self.1.as_deref(),
            admins: written(&relations.admins),
            legacy_roles: written(&relations.legacy_roles),
            sessions: written(&relations.sessions),
            all_admins: written(&relations.all_admins),
            all_legacy_roles: written(&relations.all_legacy_roles),
            admins_key: relations.admins_key.as_ref().map(ToString::to_string),
            sessions_key: relations.sessions_key.as_ref().map(ToString::to_string),
            watch: relations.watch.iter().map(ToString::to_string).collect(),
            triggers: relations.triggers,
        };
        shown.serialize(to)
    }
}

/// The SELECT of a source; `None` for the gate's own.
fn written(source: &Source) -> Option<&str> {
    match source {
        Source::Documents(_) => None,
        Source::Written(select) => Some(select.text()),
        Source::Absent => Some("none"),
    }
}

impl JsonSchema for Console {
    fn schema_name() -> Cow<'static, str> {
        "Console".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Written::json_schema(generator)
    }
}

/// What to read of Console's tables: its keys, or the file that has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Written {
    /// A file beside `gate.toml` with the other keys.
    pub(super) file: Option<std::path::PathBuf>,
    /// A SELECT of one admin: `id`, `disabled`, `label`; `$1` is the id.
    #[schemars(with = "Option<String>")]
    admins: Option<WithId>,
    /// A SELECT of one admin's legacy roles, or `none`.
    #[schemars(with = "Option<String>")]
    legacy_roles: Option<LegacyRoles>,
    /// A SELECT of one session.
    #[schemars(with = "Option<String>")]
    sessions: Option<WithId>,
    /// A SELECT of everybody.
    #[schemars(with = "Option<String>")]
    all_admins: Option<OfEverybody>,
    /// A SELECT of everybody's legacy roles.
    #[schemars(with = "Option<String>")]
    all_legacy_roles: Option<OfEverybody>,
    /// The column that is an admin's id: `table.column`.
    #[schemars(with = "Option<String>")]
    admins_key: Option<Key>,
    /// The column that is a session's id: `table.column`.
    #[schemars(with = "Option<String>")]
    sessions_key: Option<Key>,
    /// Further tables that the SELECTs depend on.
    #[schemars(with = "Vec<String>")]
    watch: Vec<Table>,
    /// Whether the gate may put triggers on Console's tables.
    triggers: Option<bool>,
}

/// A SELECT that takes an id.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct WithId(Select);

impl TryFrom<String> for WithId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let select = Select::parse(&text)?;
        if !select.takes_id() {
            return Err("it does not use `$1`, the id: an index on the id has to serve it".into());
        }
        Ok(WithId(select))
    }
}

/// A SELECT that lists everybody.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct OfEverybody(Select);

impl TryFrom<String> for OfEverybody {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let select = Select::parse(&text)?;
        if select.takes_id() {
            return Err("it lists everybody, and has no `$1`".into());
        }
        Ok(OfEverybody(select))
    }
}

/// A SELECT, or that there are no legacy roles.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
enum LegacyRoles {
    None,
    Read(Select),
}

impl TryFrom<String> for LegacyRoles {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.trim() == "none" {
            return Ok(LegacyRoles::None);
        }
        WithId::try_from(text).map(|WithId(select)| LegacyRoles::Read(select))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Key(KeyColumn);

impl TryFrom<String> for Key {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        KeyColumn::parse(&text).map(Key)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Table(TableName);

impl TryFrom<String> for Table {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        TableName::parse(&text).map(Table)
    }
}

impl Written {
    /// The relations that the keys make together, and what does not go together.
    pub(super) fn relations(self) -> (Relations, Vec<String>) {
        let mut mistakes = Vec::new();
        let mut relations = Relations::default();
        let has_own_admins = self.admins.is_some() || self.all_admins.is_some();
        let mut pair = |keys: [&str; 2], one: bool, all: bool| {
            if one != all {
                let [there, missing] = if one { keys } else { [keys[1], keys[0]] };
                mistakes.push(format!("`{there}` is set and `{missing}` is not: both read the same table"));
            }
        };
        pair(["admins", "all_admins"], self.admins.is_some(), self.all_admins.is_some());
        let is_read = matches!(self.legacy_roles, Some(LegacyRoles::Read(_)));
        pair(["legacy_roles", "all_legacy_roles"], is_read, self.all_legacy_roles.is_some());
        if has_own_admins && self.legacy_roles.is_none() && self.all_legacy_roles.is_none() {
            mistakes.push(
                "`admins` is set and `legacy_roles` is not: write its SELECT, or `legacy_roles = \"none\"`"
                    .into(),
            );
        }
        let written = |select: Option<Select>, otherwise: Source| select.map_or(otherwise, Source::Written);
        relations.admins = written(self.admins.map(|WithId(select)| select), relations.admins);
        relations.all_admins =
            written(self.all_admins.map(|OfEverybody(select)| select), relations.all_admins);
        match self.legacy_roles {
            Some(LegacyRoles::None) => {
                (relations.legacy_roles, relations.all_legacy_roles) = (Source::Absent, Source::Absent);
            }
            Some(LegacyRoles::Read(select)) => relations.legacy_roles = Source::Written(select),
            None => {}
        }
        if let Some(OfEverybody(select)) = self.all_legacy_roles {
            relations.all_legacy_roles = Source::Written(select);
        }
        // Without the documents' admins there are no sessions of theirs either.
        relations.sessions = match self.sessions {
            Some(WithId(select)) => Source::Written(select),
            None if has_own_admins => Source::Absent,
            None => relations.sessions,
        };
        let key = |key: Option<Key>, relation, known: Option<KeyColumn>| match key {
            Some(Key(key)) => Some(key),
            None => known.filter(|_| relations.is_documented(relation)),
        };
        let admins_key = key(self.admins_key, Relation::Admins, relations.admins_key.clone());
        let sessions_key = key(self.sessions_key, Relation::Sessions, relations.sessions_key.clone());
        if sessions_key.is_some() && relations.sessions == Source::Absent {
            mistakes.push("`sessions_key` is set and `sessions` is not".into());
        }
        let watch = self.watch.into_iter().map(|Table(name)| name).collect();
        let triggers = self.triggers.unwrap_or(true);
        (Relations { admins_key, sessions_key, watch, triggers, ..relations }, mistakes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn parsed(section: &str) -> Result<Relations, String> {
        let outcome = Settings::parse("gate.toml", &format!("[console]\n{section}"));
        outcome.map(|settings| settings.console.0).map_err(|mistakes| mistakes.one_line_each())
    }

    const SHOP: &str = r#"
admins = "SELECT u.id, NOT u.is_active AS disabled, u.email AS label FROM public.users u WHERE u.id = $1::uuid"
all_admins = "SELECT u.id, NOT u.is_active AS disabled, u.email AS label FROM public.users u"
legacy_roles = "SELECT role FROM public.user_roles WHERE user_id = $1::uuid"
all_legacy_roles = "SELECT user_id AS admin_id, role FROM public.user_roles"
"#;

    #[test]
    fn without_a_key_the_documents_tables_are_read() {
        assert_eq!(parsed(""), Ok(Relations::default()));
        let own = parsed(SHOP).unwrap();
        assert!(
            matches!(own.admins, Source::Written(_)) && matches!(own.all_legacy_roles, Source::Written(_))
        );
        assert_eq!((own.sessions, own.sessions_key, own.admins_key), (Source::Absent, None, None));
        let none = parsed("legacy_roles = \"none\"").unwrap();
        assert_eq!((none.legacy_roles, none.all_legacy_roles), (Source::Absent, Source::Absent));
        assert_eq!(none.admins, Relations::default().admins);
        let watched = parsed("watch = [\"public.more\"]\ntriggers = false").unwrap();
        assert_eq!((watched.watch.len(), watched.triggers), (1, false));
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let section = "admins = \"SELECT id FROM users\"\nall_admins = \"SELECT id FROM users WHERE id = $1\"\n\
                       sessions = \"DELETE FROM sessions\"\nadmins_key = \"users\"\nwatch = [\"a.b.c\"]\n\
                       legacy_role = \"x\"";
        let report = parsed(section).unwrap_err();
        for mistake in [
            "gate.toml:2:10: [console] it does not use `$1`",
            "gate.toml:3:14: [console] it lists everybody",
            "gate.toml:4:12: [console] it begins with `DELETE`",
            "gate.toml:5:14: [console] `users` is neither",
            "`a.b.c` is neither",
            "`legacy_role` is not a key here",
        ] {
            assert!(report.contains(mistake), "{mistake}\nis not in\n{report}");
        }
    }

    #[test]
    fn what_belongs_together_is_asked_for() {
        let table = [
            ("legacy_roles = \"SELECT role FROM r WHERE u = $1\"", "`all_legacy_roles` is not"),
            ("all_admins = \"SELECT id FROM u\"", "`admins` is not"),
            (
                "admins = \"SELECT id FROM u WHERE id = $1\"\nall_admins = \"SELECT id FROM u\"",
                "`legacy_roles` is not",
            ),
        ];
        for (section, message) in table {
            let mistakes = parsed(section).unwrap_err();
            assert!(mistakes.contains(message), "{section}: {mistakes}");
        }
        let keyed = format!("{SHOP}sessions_key = \"sessions.id\"");
        assert!(parsed(&keyed).unwrap_err().contains("`sessions` is not"));
    }
}
