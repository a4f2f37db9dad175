//! `ticket`: the row requires a grant for the ticket and the customer that the request names.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::contradiction;
use crate::diagnostic::{Diagnostic, closest};
use crate::mapping::pattern::Pattern;
use crate::mapping::reader::{Reader, distinct};
use crate::mapping::table::{CustomerPlace, TicketRule};
use crate::rbac::Requirement;

pub(in crate::mapping) const KEYS: [&str; 3] = ["query", "customer", "without"];
/// The keys that contradict `ticket` in the same row, with reasons.
const NOT_BESIDE: [(&str, &str); 3] = [
    ("undecided", "`ticket` needs a decided role"),
    (
        "machine_or_session",
        "tickets are granted to admins: `ticket` and `machine_or_session` exclude each other",
    ),
    ("websocket", "a WebSocket would outlast its ticket: `ticket` and `websocket` exclude each other"),
];

/// Reads the rule; `None` if there is a mistake.
pub(super) fn rule(
    reader: &mut Reader,
    row: &DeTable<'_>,
    value: &Spanned<DeValue<'_>>,
) -> Option<TicketRule> {
    let table = reader.table(value, "ticket")?;
    reader.no_unknown_keys(table, &KEYS, "`ticket`");
    for (key, message) in NOT_BESIDE {
        if row.contains_key(key) {
            contradiction(reader, &value.span(), message);
            return None;
        }
    }
    let query = needed(reader, table, "query", value);
    let customer = needed(reader, table, "customer", value);
    let without = match table.get("without") {
        None => Some(Vec::new()),
        Some(value @ one) if matches!(one.get_ref(), DeValue::String(_)) => {
            reader.string(value, "without").map(|role| vec![role])
        }
        Some(value) => {
            reader.strings(value, "without").map(|roles| roles.into_iter().map(Spanned::into_inner).collect())
        }
    };
    let (query, customer, without) = (query?, customer?, without?);
    let query = parameter(reader, &query, table.get("query")?.span())?;
    let place = table.get("customer")?.span();
    let customer = match customer.split_once(':') {
        Some(("path", name)) => CustomerPlace::Path(name.into()),
        Some(("query", name)) => CustomerPlace::Query(parameter(reader, name, place.clone())?),
        _ => {
            reader.report(
                Diagnostic::new("bad-ticket", place, format!("`{customer}` names no place of the customer"))
                    .suggest("write `path:NAME` for a variable of the path, or `query:NAME` for a parameter"),
            );
            return None;
        }
    };
    if customer == CustomerPlace::Query(query.clone()) {
        contradiction(reader, &place, "the ticket and the customer cannot be one parameter");
        return None;
    }
    let roles = distinct(without.iter().map(|role| Requirement::Role(role.as_str().into())));
    let Ok(without) = roles else {
        reader.report(Diagnostic::new("repeated-role", value.span(), "`without` names a role twice"));
        return None;
    };
    Some(TicketRule { query, customer, without })
}

/// Reports a variable that the row's path does not have.
pub(in crate::mapping) fn names_a_variable(
    reader: &mut Reader,
    rule: Option<&TicketRule>,
    pattern: &Pattern,
    place: Range<usize>,
) -> bool {
    let Some(TicketRule { customer: CustomerPlace::Path(name), .. }) = rule else { return true };
    let names = || pattern.variables().iter().map(crate::mapping::pattern::Variable::name);
    if names().any(|known| known == &**name) {
        return true;
    }
    let message = format!("`ticket` takes the customer from `{name}`, which is no variable of `{pattern}`");
    let finding = Diagnostic::new("bad-ticket", place, message);
    reader.report(match closest(name, names()) {
        Some(near) => finding.suggest(format!("did you mean `path:{near}`?")),
        None => finding.suggest("name a variable of the path, or a parameter as `query:NAME`"),
    });
    false
}

fn needed(
    reader: &mut Reader,
    table: &DeTable<'_>,
    key: &str,
    whole: &Spanned<DeValue<'_>>,
) -> Option<String> {
    let Some(text) = table.get(key) else {
        reader.report(
            Diagnostic::new("missing-key", whole.span(), format!("`ticket` must name its `{key}`"))
                .suggest("write `ticket = { query = \"ticket_id\", customer = \"path:id\" }`"),
        );
        return None;
    };
    reader.string(text, key)
}

/// A parameter's name, restricted to characters that every server spells and reads the same way.
fn parameter(reader: &mut Reader, name: &str, place: Range<usize>) -> Option<Arc<str>> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if !name.is_empty() && name.bytes().all(fits) {
        return Some(name.into());
    }
    let message = format!("`{}` cannot be the name of a parameter here", name.escape_debug());
    reader.report(
        Diagnostic::new("bad-ticket", place, message)
            .suggest("names are of letters, digits, `_`, `-` and `.`"),
    );
    None
}
