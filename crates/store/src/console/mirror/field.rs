//! What a column of Console's audit table gets: a constant, a field of the record, or some of them as JSON.

use chrono::SecondsFormat;
use ledger::AuditRecord;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, json};

/// Where a column's value comes from, as the settings say.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "RawSource")]
pub enum ColumnSource {
    Field(String),
    Constant(String),
    Json(Vec<String>),
}

impl Serialize for ColumnSource {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            ColumnSource::Field(name) => to.collect_map([("field", name)]),
            ColumnSource::Constant(text) => to.collect_map([("constant", text)]),
            ColumnSource::Json(names) => to.collect_map([("json", names)]),
        }
    }
}

impl JsonSchema for ColumnSource {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ColumnSource".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        RawSource::json_schema(generator)
    }
}

/// One of `{ field = "NAME" }`, `{ constant = "TEXT" }` and `{ json = ["NAME", ...] }`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawSource {
    field: Option<String>,
    #[schemars(with = "Option<serde_json::Value>", extend("type" = ["string", "integer", "boolean"]))]
    constant: Option<toml::Value>,
    json: Option<Vec<String>>,
}

impl TryFrom<RawSource> for ColumnSource {
    type Error = &'static str;

    fn try_from(raw: RawSource) -> Result<ColumnSource, &'static str> {
        match (raw.field, raw.constant, raw.json) {
            (Some(field), None, None) => Ok(ColumnSource::Field(field)),
            (None, Some(toml::Value::String(text)), None) => Ok(ColumnSource::Constant(text)),
            (None, Some(value @ (toml::Value::Integer(_) | toml::Value::Boolean(_))), None) => {
                Ok(ColumnSource::Constant(value.to_string()))
            }
            (None, None, Some(fields)) => Ok(ColumnSource::Json(fields)),
            _ => Err("a column of the mirror is one of { field = \"NAME\" }, { constant = \"TEXT\" } and \
                      { json = [\"NAME\", ...] }"),
        }
    }
}

/// A field of an audit record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    EventId,
    Event,
    Time,
    ActorKind,
    Actor,
    Session,
    Request,
    ClientAddress,
    Method,
    Path,
    Route,
    Reason,
    Required,
    Held,
    Mapping,
    Epoch,
    Detail,
}

impl Field {
    /// Every field by the name that the settings use.
    pub const ALL: [(&'static str, Field); 17] = [
        ("event_id", Field::EventId),
        ("event", Field::Event),
        ("time", Field::Time),
        ("actor_kind", Field::ActorKind),
        ("actor", Field::Actor),
        ("session", Field::Session),
        ("request", Field::Request),
        ("client_address", Field::ClientAddress),
        ("method", Field::Method),
        ("path", Field::Path),
        ("route", Field::Route),
        ("reason", Field::Reason),
        ("required", Field::Required),
        ("held", Field::Held),
        ("mapping", Field::Mapping),
        ("epoch", Field::Epoch),
        ("detail", Field::Detail),
    ];

    /// The field of that name.
    pub fn parse(name: &str) -> Option<Field> {
        Field::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, field)| field)
    }

    /// The record's value; null where it has none.
    pub(super) fn of(self, record: &AuditRecord) -> Value {
        let text = |value: Option<&str>| value.map_or(Value::Null, Value::from);
        match self {
            Field::EventId => record.id.to_string().into(),
            Field::Event => record.event_type.as_ref().into(),
            Field::Time => record.occurred_at.to_rfc3339_opts(SecondsFormat::Micros, false).into(),
            Field::ActorKind => record.actor_kind.as_ref().into(),
            Field::Actor => text(record.actor_id.as_deref()),
            Field::Session => text(record.session_id.as_deref()),
            Field::Request => text(record.request_id.as_deref()),
            Field::ClientAddress => text(record.client_address.as_deref()),
            Field::Method => text(record.method.as_deref()),
            Field::Path => text(record.path.as_deref()),
            Field::Route => text(record.route.as_deref()),
            Field::Reason => text(record.reason.as_deref()),
            Field::Required => record.required.clone().unwrap_or_default(),
            Field::Held => record.held.clone().unwrap_or_default(),
            Field::Mapping => text(record.mapping_sha256.as_deref()),
            Field::Epoch => record.epoch.map_or(Value::Null, Value::from),
            Field::Detail => record.detail.clone().unwrap_or_default(),
        }
    }

    /// Values of every form that the field can have: a column fits that takes one of them.
    pub(super) fn samples(self) -> Vec<Value> {
        match self {
            Field::EventId => vec![json!("019ab9a0-0000-7000-8000-000000000000")],
            // Console's own ids may be of any type.
            Field::Actor | Field::Session => {
                vec![json!("anna"), json!("7"), json!("019ab9a0-0000-7000-8000-000000000000")]
            }
            Field::Request => vec![json!("019ab9a0-0000-7000-8000-000000000000"), json!("r")],
            Field::Time => vec![json!("2026-11-21T03:00:00.123456+00:00")],
            Field::ClientAddress => vec![json!("203.0.113.0")],
            Field::Epoch => vec![json!(7)],
            Field::Required => vec![json!(["role x"])],
            Field::Held | Field::Detail => vec![json!({ "roles": [] })],
            Field::Event
            | Field::ActorKind
            | Field::Method
            | Field::Path
            | Field::Route
            | Field::Reason
            | Field::Mapping => vec![json!("word")],
        }
    }
}

/// A source whose fields exist.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Given {
    Field(Field),
    Constant(String),
    Json(Vec<(String, Field)>),
}

impl Given {
    pub(super) fn of(&self, record: &AuditRecord) -> Value {
        match self {
            Given::Field(field) => field.of(record),
            Given::Constant(text) => text.as_str().into(),
            Given::Json(fields) => {
                let fields = fields.iter().map(|(name, field)| (name.clone(), field.of(record)));
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }

    pub(super) fn samples(&self) -> Vec<Value> {
        match self {
            Given::Field(field) => field.samples(),
            Given::Constant(text) => vec![text.as_str().into()],
            Given::Json(_) => vec![json!({ "method": "GET" })],
        }
    }
}
