//! The kinds of body that a row distinguishes: what reports state about bodies that were never sent.

use std::fmt;

use serde::Serialize;

use super::{BodyError, BodyFacts};
use crate::mapping::{BodyField, BodyRule};
use crate::method::Method;

/// A kind of body, as the rules of a row distinguish it. A body that meets several rules is not a separate kind: it
/// lacks what one of the rules requires, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyKind<'r> {
    /// It is readable and meets no rule.
    NoRule,
    /// Its field has the value that a rule names, and it meets no rule about another field or value.
    Rule(&'r BodyField, &'r str),
    /// There is no body, or the rules cannot read it.
    Unreadable,
}

impl<'r> BodyKind<'r> {
    /// Every kind that a request with this method can have; empty if the row does not examine bodies.
    pub fn all(rules: &'r [BodyRule], method: Method) -> Vec<BodyKind<'r>> {
        if rules.is_empty() {
            return Vec::new();
        }
        let mut kinds = Vec::new();
        if method.carries_body() {
            kinds.push(BodyKind::NoRule);
            for rule in rules {
                let kind = BodyKind::Rule(&rule.field, &rule.equals);
                if !kinds.contains(&kind) {
                    kinds.push(kind);
                }
            }
        }
        kinds.push(BodyKind::Unreadable);
        kinds
    }

    /// Whether such a body meets a rule.
    pub fn meets(self, rule: &BodyRule) -> bool {
        self == BodyKind::Rule(&rule.field, &rule.equals)
    }

    /// What the gate would know about such a body.
    pub fn facts(self, rules: &[BodyRule]) -> BodyFacts {
        match self {
            _ if rules.is_empty() => BodyFacts::NotRead,
            BodyKind::Unreadable => BodyFacts::Unreadable(BodyError::NoSuchField),
            BodyKind::NoRule | BodyKind::Rule(..) => {
                BodyFacts::Read(rules.iter().map(|rule| self.meets(rule)).collect())
            }
        }
    }

    /// The kind as data.
    pub fn report(self) -> BodyReport {
        match self {
            BodyKind::NoRule => BodyReport::NoRule,
            BodyKind::Rule(field, equals) => {
                BodyReport::Rule { field: field.name().to_owned(), equals: equals.to_owned() }
            }
            BodyKind::Unreadable => BodyReport::Unreadable,
        }
    }
}

/// A kind of body, for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum BodyReport {
    NoRule,
    Rule { field: String, equals: String },
    Unreadable,
}

/// In words, after "for" or "with".
impl fmt::Display for BodyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyReport::NoRule => f.write_str("a body that matches no rule"),
            BodyReport::Rule { field, equals } => write!(f, "a body with {field} = {equals}"),
            BodyReport::Unreadable => f.write_str("an unreadable or missing body"),
        }
    }
}
