//! Callers and bodies as tables.

use std::ops::Range;

use policy::diagnostic::Diagnostic;
use policy::mapping::reader::Reader;
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::mapping_test::caller::{Caller, Holdings, Kind, TicketGrant};
use crate::mapping_test::judge::Body;
use crate::mapping_test::names::Names;
use crate::mapping_test::requests::Mistake;

const CALLER_KEYS: [&str; 6] = ["legacy", "groups", "roles", "machine", "break_glass", "ticket"];
const TICKET_KEYS: [&str; 4] = ["id", "customer", "role", "closed"];
/// How deeply a body may nest, so that a hostile file does not exhaust the stack.
const DEEPEST: usize = 32;

/// Reports a name that does not exist.
pub(super) fn named<T>(reader: &mut Reader, found: Result<T, Mistake>, span: Range<usize>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err((message, help)) => {
            let finding = Diagnostic::new("unknown-name", span, message);
            reader.report(match help {
                Some(help) => finding.suggest(help),
                None => finding,
            });
            None
        }
    }
}

/// `{ legacy = ["ops"], groups = ["raxx-devops-team"], machine = true }`.
pub(super) fn caller_table(reader: &mut Reader, names: &Names<'_>, table: &DeTable<'_>) -> Option<Caller> {
    let before = reader.findings.len();
    reader.no_unknown_keys(table, &CALLER_KEYS, "a caller");
    let mut list = |key: &str| match table.get(key) {
        Some(value) => reader.strings(value, key).unwrap_or_default(),
        None => Vec::new(),
    };
    let (legacy, groups, roles) = (list("legacy"), list("groups"), list("roles"));
    let mut holdings = Holdings::default();
    for role in legacy {
        holdings.legacy.extend(named(reader, names.legacy(role.get_ref()), role.span()));
    }
    for group in groups {
        holdings.groups.extend(named(reader, names.group(group.get_ref()), group.span()));
    }
    for role in roles {
        holdings.roles.extend(named(reader, names.role(role.get_ref()), role.span()));
    }
    let mut switch = |key: &str| table.get(key).and_then(|value| reader.switch(value, key)).is_some();
    let is_machine = switch("machine");
    holdings.break_glass = switch("break_glass");
    holdings.ticket = table.get("ticket").and_then(|value| ticket(reader, names, value));
    let kind = if is_machine { Kind::Machine } else { Kind::Admin };
    (reader.findings.len() == before).then(|| Caller::holding(kind, holdings))
}

/// `{ id = "42", customer = 7, role = "raptor-support" }`, or `{ role = "..." }` for the ticket that the request names.
fn ticket(reader: &mut Reader, names: &Names<'_>, value: &Spanned<DeValue<'_>>) -> Option<TicketGrant> {
    let table = reader.table(value, "ticket")?;
    reader.no_unknown_keys(table, &TICKET_KEYS, "a ticket");
    let is_open = table.get("closed").and_then(|value| reader.switch(value, "closed")).is_none();
    let id = table.get("id").and_then(|value| reader.string(value, "id"));
    let customer = table.get("customer").and_then(|value| reader.integer(value, "customer", 0..=u32::MAX));
    if id.is_some() != customer.is_some() {
        let message = "a grant is for a ticket and a customer: name `id` and `customer`, or neither";
        reader.report(Diagnostic::new("missing-key", value.span(), message));
    }
    let Some(role) = table.get("role") else {
        reader.report(Diagnostic::new("missing-key", value.span(), "the ticket does not name its `role`"));
        return None;
    };
    let text = reader.string(role, "role")?;
    let role_name = named(reader, names.role(&text), role.span())?;
    Some(TicketGrant { of: id.zip(customer.map(i64::from)), role: role_name, is_open })
}

/// The body that a table states; `None` if it states none.
pub(super) fn sent_body(reader: &mut Reader, table: &DeTable<'_>) -> Option<Body> {
    let given: Vec<(&str, &Spanned<DeValue<'_>>)> = ["json", "form", "body"]
        .into_iter()
        .filter_map(|key| table.get(key).map(|value| (key, value)))
        .collect();
    let (key, value) = *given.first()?;
    if let Some((other, second)) = given.get(1) {
        let message = format!("`{key}` and `{other}` exclude each other: a request has one body");
        reader.report(Diagnostic::new("contradiction", second.span(), message));
    }
    match key {
        "json" => match json(value.get_ref(), 0) {
            Some(body) => Some(Body::Sent { content_type: "application/json", text: body.to_string() }),
            None => {
                let message = "`json` holds a value that JSON does not have, or nests too deeply";
                reader.report(Diagnostic::new("wrong-type", value.span(), message));
                None
            }
        },
        "form" => {
            let fields = reader.table(value, "form")?;
            let mut pairs = form_urlencoded(reader, fields);
            pairs.sort_unstable();
            let content_type = "application/x-www-form-urlencoded";
            Some(Body::Sent { content_type, text: pairs.join("&") })
        }
        _ => reader.word(value, "body", &[("none", ())]).map(|()| Body::Missing),
    }
}

fn form_urlencoded(reader: &mut Reader, fields: &DeTable<'_>) -> Vec<String> {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut pairs = Vec::new();
    for (name, value) in fields.iter() {
        let value = reader.string(value, name.get_ref());
        pairs.extend(value.map(|value| format!("{}={}", encode(name.get_ref()), encode(&value))));
    }
    pairs
}

fn json(value: &DeValue<'_>, depth: usize) -> Option<Value> {
    if depth > DEEPEST {
        return None;
    }
    Some(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => Value::from(i64::from_str_radix(number.as_str(), number.radix()).ok()?),
        DeValue::Boolean(is) => Value::Bool(*is),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| json(item.get_ref(), depth + 1));
            Value::Array(items.collect::<Option<Vec<Value>>>()?)
        }
        DeValue::Table(table) => {
            let members = table
                .iter()
                .map(|(key, value)| Some((key.get_ref().to_string(), json(value.get_ref(), depth + 1)?)));
            Value::Object(members.collect::<Option<Map<String, Value>>>()?)
        }
        DeValue::Float(_) | DeValue::Datetime(_) => return None,
    })
}
