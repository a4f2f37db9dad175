//! The facts about the ticket that a request names, on a row that requires one (RBAC V2 design, section 9.3).

use std::collections::BTreeSet;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use crate::mapping::{CustomerPlace, Mapping, TicketRule};
use crate::method::Method;
use crate::rbac::Requirement;

/// The known facts about the ticket and the customer that a request names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TicketFacts {
    /// The ticket was not looked up: the row requires none, V2 is not consulted, or there is no request.
    #[default]
    NotAsked,
    /// `FLAG_TICKET_SCOPED_GRANTS` is off, or the gate has no FreeScout to ask.
    Off,
    /// The request does not name one ticket and one customer.
    Unnamed,
    /// The caller's grants for exactly that ticket and that customer.
    Named(TicketHolding),
}

/// A caller's grants for one ticket and one customer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TicketHolding {
    /// Includes every inherited role.
    pub roles: BTreeSet<Arc<str>>,
    pub permissions: BTreeSet<Arc<str>>,
    /// Whether FreeScout reports the ticket as open. Without a grant, FreeScout is not asked.
    pub is_open: bool,
}

impl TicketFacts {
    /// The most that a ticket can grant: every requirement, and the ticket is open.
    pub fn of_all(required: &[&Requirement]) -> TicketFacts {
        let mut holding = TicketHolding { is_open: true, ..TicketHolding::default() };
        for requirement in required {
            match requirement {
                Requirement::Role(name) => holding.roles.insert(name.clone()),
                Requirement::Permission(name) => holding.permissions.insert(name.clone()),
            };
        }
        TicketFacts::Named(holding)
    }
}

impl TicketHolding {
    /// Whether the requirement is granted.
    pub fn meets(&self, requirement: &Requirement) -> bool {
        match requirement {
            Requirement::Role(name) => self.roles.contains(name),
            Requirement::Permission(name) => self.permissions.contains(name),
        }
    }
}

/// A ticket and a customer: the ids of a FreeScout conversation and of a Raptor customer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TicketName {
    pub ticket: String,
    pub customer: i64,
}

impl TicketName {
    /// The ticket and customer that a request names, by a row's rule. `None` unless the request names each exactly
    /// once, as a decimal number without sign and leading zeros: two spellings of one number are two texts to some
    /// readers and one number to others.
    pub fn of(
        rule: &TicketRule,
        mapping: &Mapping,
        path: &str,
        query: Option<&str>,
        method: Method,
    ) -> Option<TicketName> {
        let query = query.unwrap_or_default();
        let customer = match &rule.customer {
            CustomerPlace::Path(name) => mapping.value_at(path, method, name)?.to_owned(),
            CustomerPlace::Query(name) => single(query, name)?,
        };
        TicketName::parse(&single(query, &rule.query)?, &customer)
    }

    /// A ticket and a customer from their texts, each a number in its only spelling.
    pub fn parse(ticket: &str, customer: &str) -> Option<TicketName> {
        Some(TicketName { ticket: ticket_id(ticket)?, customer: number(customer)? })
    }
}

/// A ticket's id, if the text can be one: FreeScout numbers its conversations from 1.
pub fn ticket_id(text: &str) -> Option<String> {
    number(text).map(|_| text.to_owned())
}

/// A positive number in its only spelling.
fn number(text: &str) -> Option<i64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_plain)
}

/// The value of a parameter that occurs once in the query. Some servers also separate parameters by `;`, so the value
/// has to be the same with either reading.
fn single(query: &str, name: &str) -> Option<String> {
    let [by_ampersand, by_both] = [&['&'][..], &['&', ';'][..]].map(|separators| {
        let mut values = query.split(separators).filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key) == name).then(|| decoded(value))
        });
        values.next().filter(|_| values.next().is_none())
    });
    by_ampersand.filter(|value| by_both.as_ref() == Some(value))
}

fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
version = 1
[clusters]
V = "v2"
[blueprints.v]
cluster = "V"
[blueprints.v.routes]
"GET /audit/<id>" = { role = "r", ticket = { query = "ticket_id", customer = "path:id" } }
"GET /audit" = { role = "r", ticket = { query = "ticket_id", customer = "query:customer" } }
"#;

    #[test]
    fn a_ticket_and_a_customer_are_named_once_and_plainly() {
        let mapping = Mapping::parse("t", FILE).unwrap();
        let table = [
            ("/audit/7?ticket_id=42", Some(("42", 7))),
            ("/audit/7?page=2&ticket_id=42", Some(("42", 7))),
            ("/audit/7?ticket%5Fid=4%32", Some(("42", 7))),
            ("/audit/7", None),
            ("/audit/7?ticket_id=", None),
            ("/audit/7?ticket_id", None),
            ("/audit/7?ticket_id=42&ticket_id=42", None),
            ("/audit/7?ticket_id=42&ticket_id=43", None),
            ("/audit/7?ticket_id=42&ticket%5fid=43", None),
            ("/audit/7?a=1;ticket_id=43&ticket_id=42", None),
            ("/audit/7?ticket_id=42;a=1", None),
            ("/audit/7?Ticket_id=42", None),
            ("/audit/7?ticket_id=042", None),
            ("/audit/7?ticket_id=0", None),
            ("/audit/7?ticket_id=-42", None),
            ("/audit/7?ticket_id=%2B42", None),
            ("/audit/7?ticket_id=42%20", None),
            ("/audit/7?ticket_id=\u{664}", None),
            ("/audit/7?ticket_id=42%00", None),
            ("/audit/7?ticket_id=4/../2", None),
            ("/audit/7?ticket_id=9223372036854775808", None),
            ("/audit/007?ticket_id=42", None),
            ("/audit/x?ticket_id=42", None),
            ("/audit/7.0?ticket_id=42", None),
            ("/audit?ticket_id=42&customer=7", Some(("42", 7))),
            ("/audit?ticket_id=42&customer=7&customer=7", None),
            ("/audit?ticket_id=42", None),
        ];
        for (target, expected) in table {
            let (path, query) =
                target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
            let row = mapping.find(path, Method::Get).row().unwrap();
            let named = TicketName::of(row.ticket().unwrap(), &mapping, path, query, Method::Get);
            let expected = expected.map(|(ticket, customer)| TicketName { ticket: ticket.into(), customer });
            assert_eq!(named, expected, "{target}");
        }
    }
}
