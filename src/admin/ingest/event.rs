//! One reported event, read strictly: all its faults are reported at once, each with its place.

use chrono::{DateTime, TimeDelta, Utc};
use ledger::customer::CustomerEvent;
use serde_json::{Map, Value};

/// How far ahead of the gate's clock an event may be.
const MOST_AHEAD: TimeDelta = TimeDelta::minutes(5);
/// The longest text of one field, in bytes.
const LONGEST: usize = 256;
/// The most bytes of `detail`.
const LARGEST_DETAIL: usize = 16 * 1024;
const ACTOR_KINDS: [&str; 4] = ["admin", "customer", "service", "system"];
const FIELDS: [&str; 9] =
    ["id", "tenant_id", "dimension", "action", "occurred_at", "actor", "subject_id", "request_id", "detail"];

/// The mistake in one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// A JSON pointer (RFC 6901) from the event on.
    pub(super) pointer: String,
    pub(super) detail: String,
}

/// Reads an event that `source` reported.
///
/// # Errors
///
/// Every fault.
pub(super) fn read(value: &Value, source: &str, now: DateTime<Utc>) -> Result<CustomerEvent, Vec<Fault>> {
    let Value::Object(fields) = value else {
        return Err(vec![Fault { pointer: String::new(), detail: "an event must be an object".to_owned() }]);
    };
    let mut reader = Reader { fields, place: "", faults: Vec::new() };
    reader.only(&FIELDS);
    let id = reader.parsed("id", "a UUID", |text| uuid::Uuid::try_parse(text).ok());
    let tenant_id = reader.text("tenant_id");
    let dimension = reader.name("dimension");
    let action = reader.name("action");
    let occurred_at = reader.parsed("occurred_at", "an RFC 3339 time", |text| {
        DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc))
    });
    if occurred_at.is_some_and(|at| at > now + MOST_AHEAD) {
        reader.fault("occurred_at", "is in the future");
    }
    let subject_id = reader.optional_text("subject_id");
    let request_id = reader.optional_text("request_id");
    let detail = reader.detail();
    let (actor_kind, actor_id) = reader.actor();
    let mut faults = reader.faults;
    match (id, tenant_id, dimension, action, occurred_at, actor_kind) {
        (Some(id), Some(tenant_id), Some(dimension), Some(action), Some(occurred_at), Some(actor_kind))
            if faults.is_empty() =>
        {
            let source = source.to_owned();
            Ok(CustomerEvent {
                id,
                tenant_id,
                dimension,
                action,
                occurred_at,
                source,
                actor_kind,
                actor_id,
                subject_id,
                request_id,
                detail,
                salt: None,
            })
        }
        _ => {
            faults.sort_by(|one, other| one.pointer.cmp(&other.pointer));
            Err(faults)
        }
    }
}

struct Reader<'v> {
    fields: &'v Map<String, Value>,
    place: &'static str,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn fault(&mut self, field: &str, detail: impl Into<String>) {
        let escaped = field.replace('~', "~0").replace('/', "~1");
        self.faults.push(Fault { pointer: format!("{}/{escaped}", self.place), detail: detail.into() });
    }

    /// An unknown field would be lost without notice.
    fn only(&mut self, known: &[&str]) {
        let unknown: Vec<&String> = self.fields.keys().filter(|key| !known.contains(&key.as_str())).collect();
        for key in unknown {
            self.fault(key, "is not a known field");
        }
    }

    fn optional_text(&mut self, field: &'static str) -> Option<String> {
        match self.fields.get(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if !text.is_empty() && text.len() <= LONGEST => Some(text.clone()),
            Some(_) => {
                self.fault(field, format!("must be a string of 1 to {LONGEST} bytes"));
                None
            }
        }
    }

    fn text(&mut self, field: &'static str) -> Option<String> {
        if self.fields.get(field).is_none_or(Value::is_null) {
            self.fault(field, "is missing");
        }
        self.optional_text(field)
    }

    /// Words of `[a-z0-9_]` with points between them: what reports are grouped by.
    fn name(&mut self, field: &'static str) -> Option<String> {
        let text = self.text(field)?;
        let is_word = |word: &str| {
            !word.is_empty() && word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        };
        if !text.split('.').all(is_word) {
            self.fault(field, "must be words of a-z, 0-9 and _, separated by dots");
            return None;
        }
        Some(text)
    }

    fn parsed<T>(&mut self, field: &'static str, what: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(field)?;
        let parsed = parse(&text);
        if parsed.is_none() {
            self.fault(field, format!("must be {what}"));
        }
        parsed
    }

    fn detail(&mut self) -> Option<Value> {
        match self.fields.get("detail") {
            None | Some(Value::Null) => None,
            Some(detail @ Value::Object(_)) if detail.to_string().len() <= LARGEST_DETAIL => {
                Some(detail.clone())
            }
            Some(_) => {
                self.fault("detail", format!("must be an object of at most {LARGEST_DETAIL} bytes"));
                None
            }
        }
    }

    fn actor(&mut self) -> (Option<String>, Option<String>) {
        let Some(Value::Object(fields)) = self.fields.get("actor") else {
            self.fault("actor", "must be an object with `kind`");
            return (None, None);
        };
        let mut actor = Reader { fields, place: "/actor", faults: Vec::new() };
        actor.only(&["kind", "id"]);
        let is_kind = |kind: &str| ACTOR_KINDS.contains(&kind).then(|| kind.to_owned());
        let kind = actor.parsed("kind", "admin, customer, service or system", is_kind);
        let id = actor.optional_text("id");
        self.faults.append(&mut actor.faults);
        (kind, id)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sound() -> Value {
        json!({
            "id": "01a1fc4e-30f0-737c-a378-ddef7ae73cc2",
            "tenant_id": "4711",
            "dimension": "operator_interaction",
            "action": "operator.rbac.grant",
            "occurred_at": "2026-11-21T11:59:00.123456789+01:00",
            "actor": { "kind": "admin", "id": "anna" },
            "subject_id": "ben",
            "request_id": "r1",
            "detail": { "role": "raptor-audit-support" },
        })
    }

    fn read_now(value: &Value) -> Result<CustomerEvent, Vec<Fault>> {
        read(value, "queue", "2026-11-21T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn a_sound_event_is_read_whole() {
        let event = read_now(&sound()).unwrap();
        assert_eq!(event.tenant_id, "4711");
        assert_eq!(event.occurred_at.to_rfc3339(), "2026-11-21T10:59:00.123456789+00:00");
        assert_eq!((event.actor_kind.as_str(), event.actor_id.as_deref()), ("admin", Some("anna")));
        assert_eq!(event.source, "queue");
        let mut least = sound();
        for field in ["subject_id", "request_id", "detail"] {
            least.as_object_mut().unwrap().remove(field);
        }
        assert!(read_now(&least).is_ok());
    }

    #[test]
    fn each_fault_names_its_field() {
        let long = "x".repeat(LONGEST + 1);
        let table = [
            ("/id", json!("7")),
            ("/id", json!(7)),
            ("/id", Value::Null),
            ("/tenant_id", json!("")),
            ("/tenant_id", json!(long)),
            ("/dimension", json!("Operator Interaction")),
            ("/action", json!("operator..grant")),
            ("/occurred_at", json!("yesterday")),
            ("/occurred_at", json!("2026-11-21T12:06:00Z")),
            ("/actor", json!("anna")),
            ("/actor/kind", json!({ "id": "anna" })),
            ("/actor/kind", json!({ "kind": "ghost" })),
            ("/actor/name", json!({ "kind": "admin", "name": "Anna" })),
            ("/subject_id", json!(1)),
            ("/detail", json!([])),
            ("/detail", json!({ "x": "y".repeat(LARGEST_DETAIL) })),
            ("/a~1b~0c", json!(1)),
        ];
        for (pointer, value) in table {
            let mut event = sound();
            let field = pointer.split('/').nth(1).unwrap().replace("~1", "/").replace("~0", "~");
            event[field] = value;
            let faults = read_now(&event).unwrap_err();
            assert_eq!(faults.iter().map(|fault| fault.pointer.as_str()).collect::<Vec<_>>(), [pointer]);
        }
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let faults = read_now(&json!({ "id": 1, "surprise": true })).unwrap_err();
        let places: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(
            places,
            ["/action", "/actor", "/dimension", "/id", "/occurred_at", "/surprise", "/tenant_id"]
        );
        assert_eq!(read_now(&json!([])).unwrap_err()[0].pointer, "");
    }
}
